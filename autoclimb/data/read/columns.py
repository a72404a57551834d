"""What becomes of each column of the train table: target, group, metadata, a leak, or nothing."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from autoclimb.data.read.groups import Grouping
from autoclimb.data.read.identifiers import why_it_names_rows
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.targets import GROUP_WORDS
from autoclimb.data.read.values import ABSENT, BLANK, number_of, with_points
from autoclimb.types import Column, Metadata, Note

MOST_CATEGORIES = 200
MOST_COLUMNS = 2_000
KNOWN = 0.5  # share of a test column's words that train rows must know: ids and places that are new say nothing
TRAIN_ONLY = "test rows have no such column"
TOO_GOOD = "it tells the label of nearly every train row, so it is the answer in other words and is not learned from"
FEWEST_ROWS = 20  # with a number, from which one run of numbers for each label is no coincidence


def target_columns(raw: RawTask) -> tuple[Column, ...]:
    """The target columns, over all rows of the train table: blank cells show how many rows lack a label."""
    return tuple(Column(name, "target", *count(cells)) for name, cells in raw.labels.items())


def other_columns(
    raw: RawTask,
    label_of: Sequence[Hashable],
    grouping: Grouping,
    metadata: Metadata | None,
    useless: Mapping[str, str],
) -> tuple[tuple[Column, ...], list[Note]]:
    """The columns of the train table that are neither ids nor targets; and notes on them.

    `label_of` has a key for the label of each row. `metadata` are the columns that are learned from, `useless` says why
    the other shared ones are not.
    """
    why_group = {note.about: note.text for note in reversed(grouping.notes) if note.about}
    names_pictures = {note.about for note in raw.notes if note.kind == "match"}
    learned = metadata.names if metadata else ()
    columns: list[Column] = []
    notes: list[Note] = []
    for name, cells in raw.others.items():
        distinct, blank = count(cells)
        repeats = 1 < len(set(cells)) <= 0.9 * len(cells)
        known = why_group.get(name, "")
        free = not grouping.asked and grouping.column is None  # rows might be grouped by this column
        hint = source_hint(name, cells) if free and repeats and not known else ""
        leaks = name not in raw.test_columns and repeats and not is_source(name, cells)
        if name == grouping.column:
            columns.append(Column(name, "group", distinct, blank, known or "as asked"))
            continue
        why = f"column {name!r} gives the label away; it is known for train rows only"
        if useless.get(name) == TOO_GOOD:
            why = f"column {name!r} gives the label away: {TOO_GOOD}"
        if useless.get(name) == TOO_GOOD or (leaks and gives_away(cells, label_of)):
            columns.append(Column(name, "leak", distinct, blank, why))
            notes.append(Note("leak", why, name))
            continue
        if hint:
            notes.append(Note("group", hint, name, "guessed"))
        if name in learned:
            columns.append(Column(name, "metadata", distinct, blank, known or hint))
        else:
            names = "it names the pictures" if name in names_pictures else ""
            why = known or hint or names or useless.get(name, TRAIN_ONLY)
            columns.append(Column(name, "unused", distinct, blank, why))
    return tuple(columns), notes


def count(cells: list[str]) -> tuple[int, float]:
    """Different values, and the share of blank cells."""
    blank = sum(1 for c in cells if c in BLANK)
    return len(set(cells) - BLANK), blank / max(1, len(cells))


def is_source(name: str, values: list[str]) -> bool:
    """Whether a column's name says that its values are where rows come from."""
    return bool(GROUP_WORDS.search(name)) and not set(values) <= {"0", "1"}


def source_hint(name: str, values: list[str]) -> str:
    """How to group by a column whose values repeat and whose name is that of a source, "" for other columns."""
    if not is_source(name, values):
        return ""
    return f"{len(set(values))} values of {name!r} repeat; if they are one source each, add --group {name}"


def gives_away(values: Sequence[Hashable], label_of: Sequence[Hashable]) -> bool:
    """Whether rows with equal values nearly always (99 %) share a label although labels vary."""
    pairs = Counter(zip(values, label_of, strict=True))
    best: dict[Hashable, int] = {}
    for (value, _), n in pairs.items():
        best[value] = max(best.get(value, 0), n)
    rest = len(label_of) - max(Counter(label_of).values())  # rows that the commonest label gets wrong
    wrong = len(values) - sum(best.values())
    return rest > 0 and len(best) <= len(values) / 3 and wrong <= 0.01 * len(values) and wrong <= 0.1 * rest


def too_good(cells: Sequence[str], label_of: Sequence[Hashable]) -> bool:
    """Whether a column tells the label as no description of a picture does.

    By few values, by being filled in or not, or by numbers that fall into one run for each label.
    """
    if len(set(label_of)) < 2:
        return False
    if gives_away(cells, label_of) or gives_away(label_of, [c in ABSENT for c in cells]):
        return True
    numbers = [(value, label) for c, label in zip(cells, label_of, strict=True) if (value := number_of(c)) is not None]
    labels = {label for _, label in numbers}
    if len(numbers) < max(FEWEST_ROWS, len(cells) / 2) or not 1 < len(labels) <= len(numbers) / 10:
        return False
    ordered = sorted(numbers, key=lambda pair: (pair[0], repr(pair[1])))
    changes = sum(a[1] != b[1] for a, b in pairwise(ordered))
    return changes <= len(labels) - 1 + 0.01 * len(numbers)


def read_metadata(raw: RawTask, label_of: Sequence[Hashable]) -> tuple[Metadata | None, dict[str, str]]:
    """The shared columns as numbers, None where there are none of use; and why others are not.

    A column of numbers is one as it is; a column of few words that repeat holds places in its sorted words. Columns
    that are constant, that only name rows, whose test words train rows lack, or that tell the label too well are left
    out. `label_of` has a key for the label of each row.
    """
    names, categories, train, test = [], [], [], []
    useless = {}
    for name in list(raw.test_others)[:MOST_COLUMNS]:
        if name not in raw.others:
            continue
        cells = raw.others[name]
        values = as_numbers(name, cells, raw.test_others[name])
        if not isinstance(values, str) and too_good(cells, label_of):
            values = TOO_GOOD
        if isinstance(values, str):
            useless[name] = values
        else:
            names.append(name)
            categories.append(values[0])
            train.append(values[1])
            test.append(values[2])
    if not names:
        return None, useless
    return Metadata(tuple(names), tuple(categories), np.column_stack(train), np.column_stack(test)), useless


def as_numbers(name: str, cells: list[str], tested: list[str]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray] | str:
    """A column's words (() for numbers) and its values in train and test, or why it is of no use."""
    points = with_points([*cells, *tested])
    if points:
        cells, tested = points[: len(cells)], points[len(cells) :]
    distinct, new = set(cells) - ABSENT, set(tested) - ABSENT
    known = sum(1 for c in tested if c in distinct) / max(1, sum(1 for c in tested if c in new))
    if len(distinct) < 2 or not new:
        return "it says the same in every row" if new else "it is blank in every test row"
    why = why_it_names_rows(name, [c for c in cells if c not in ABSENT], [c for c in tested if c not in ABSENT])
    if why:
        return why
    if all(number_of(c) is not None for c in distinct | new):
        value = {c: float(c) for c in distinct | new}
        if GROUP_WORDS.search(name) and known < KNOWN:
            return "its numbers are names, and test rows have others"
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
