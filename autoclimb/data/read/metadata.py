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


def read_metadata(found: Found, keep: list[int]) -> Metadata | None:
    """The shared columns as numbers, train rows `keep` first, or None where there are none of use.

    A column of numbers is one as it is; a column of few words that repeat holds places in its sorted words. Columns
    that are constant, that are different in nearly every row, or whose test words train rows lack are left out.
    """
    names, categories, train, test = [], [], [], []
    for name in list(found.test_others)[:MOST_COLUMNS]:
        if name not in found.others:
            continue
        cells = [found.others[name][i] for i in keep]
        made = as_numbers(name, cells, found.test_others[name])
        if made is not None:
            names.append(name)
            categories.append(made[0])
            train.append(made[1])
            test.append(made[2])
    if not names:
        return None
    return Metadata(tuple(names), tuple(categories), np.column_stack(train), np.column_stack(test))


def as_numbers(name: str, cells: list[str], tested: list[str]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray] | None:
    """A column's words (() for numbers) and its values in train and test, None where it is of no use."""
    distinct, new = set(cells) - ABSENT, set(tested) - ABSENT
    known = sum(1 for c in tested if c in distinct) / max(1, sum(1 for c in tested if c in new))
    if len(distinct) < 2 or not new:
        return None
    if all(number_of(c) is not None for c in distinct | new):
        value = {c: float(c) for c in distinct | new}
        if GROUP_WORDS.search(name) and known < KNOWN:
            return None  # numbers that are names
        if len(set(value.values())) == len(cells) and all(v == int(v) for v in value.values()) and len(cells) > 20:
            return None  # a running number
        words: tuple[str, ...] = ()
    else:
        if len(distinct) > min(MOST_CATEGORIES, len(cells) / 4 + 2) or known < KNOWN:
            return None
        words = tuple(sorted(distinct))
        value = {word: float(place) for place, word in enumerate(words)}
    nan = float("nan")
    return words, np.array([value.get(c, nan) for c in cells]), np.array([value.get(c, nan) for c in tested])
