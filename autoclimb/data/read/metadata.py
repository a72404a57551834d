"""Columns beside the pictures that train and test rows share -> numbers with NaN where blank."""

import numpy as np

from autoclimb.data.read.found import Found
from autoclimb.data.read.targets import GROUP_WORDS
from autoclimb.data.read.values import BLANK, number_of
from autoclimb.types import Metadata

ABSENT = BLANK | {"NA", "N/A", "na", "n/a", "None", "none", "?", "-", "unknown", "Unknown"}
MOST_CATEGORIES = 200
MOST_COLUMNS = 2_000
KNOWN = 0.5  # share of a test column's words that train rows must know: ids and places that are new say nothing


def read_metadata(found: Found, keep: list[int]) -> tuple[Metadata | None, dict[str, str]]:
    """The shared columns as numbers, of the train rows `keep`, None where there are none of use; why others are not.

    A column of numbers is one as it is; a column of few words that repeat holds places in its sorted words. Columns
    that are constant, that are different in nearly every row, or whose test words train rows lack are left out.
    """
    names, categories, train, test = [], [], [], []
    useless = {}
    for name in list(found.test_others)[:MOST_COLUMNS]:
        if name not in found.others:
            continue
        cells = [found.others[name][i] for i in keep]
        made = as_numbers(name, cells, found.test_others[name])
        if isinstance(made, str):
            useless[name] = made
        else:
            names.append(name)
            categories.append(made[0])
            train.append(made[1])
            test.append(made[2])
    if not names:
        return None, useless
    return Metadata(tuple(names), tuple(categories), np.column_stack(train), np.column_stack(test)), useless


def as_numbers(name: str, cells: list[str], tested: list[str]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray] | str:
    """A column's words (() for numbers) and its values in train and test, or why it is of no use."""
    distinct, new = set(cells) - ABSENT, set(tested) - ABSENT
    known = sum(1 for c in tested if c in distinct) / max(1, sum(1 for c in tested if c in new))
    if len(distinct) < 2 or not new:
        return "it says the same in every row" if new else "it is blank in every test row"
    if all(number_of(c) is not None for c in distinct | new):
        value = {c: float(c) for c in distinct | new}
        if GROUP_WORDS.search(name) and known < KNOWN:
            return "its numbers are names, and test rows have others"
        if len(set(value.values())) == len(cells) and all(v == int(v) for v in value.values()) and len(cells) > 20:
            return "it is a running number"
        words: tuple[str, ...] = ()
    else:
        if known < KNOWN:
            return "test rows have other words than train rows"
        if len(distinct) > min(MOST_CATEGORIES, len(cells) / 4 + 2):
            return f"its {len(distinct):,} words are too many to learn from"
        words = tuple(sorted(distinct))
        value = {word: float(place) for place, word in enumerate(words)}
    nan = float("nan")
    return words, np.array([value.get(c, nan) for c in cells]), np.array([value.get(c, nan) for c in tested])
