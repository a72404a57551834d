"""Which rows belong together: by evidence, so that folds hold out what the test set holds out, or as asked for."""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoclimb.arrays import LabelSets
from autoclimb.data.read.labels import Labels
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.targets import GROUP_WORDS
from autoclimb.data.read.values import BLANK, are_numbers, are_whole
from autoclimb.data.sources import parts_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

SOURCE_FOLDER = re.compile(
    r"(patient|subject|person|participant|donor|specimen|animal|clip|video)s?[ _-]?\d+", re.IGNORECASE
)
PLENTY = 10  # groups from which five folds can be dealt evenly: two a fold
FEWEST = 3  # groups that a column must have where its name and the test set both say that sources are new there
LARGEST = 1 / 3  # of the rows: a larger group is a category (sex, camera) or leaves too little to learn from
ROWS_EACH = 1.5  # rows a group on average, below which next to nothing is held together
FEWEST_TEST = 20  # test rows that a column of an ordinary name must have before "no value in common" means anything
LOST_ROWS, LOST_LABELS = 0.1, 0.2  # shares with one group only, from which grouped folds cannot score (assumption)


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which rows belong together, so that a fold holds out all of them or none; None for no groups."""

    groups: np.ndarray | None  # (N,) int, of the train rows
    test_groups: np.ndarray | None = None  # (M,) int, whose numbers are not those of the train rows
    column: str | None = None  # that the groups are the values of
    asked: bool = False  # whether the user spoke of groups
    notes: tuple[Note, ...] = ()  # why rows are grouped so, or why by other columns they are not


def grouping_of(raw: RawTask, labels: Labels, asked_for: str | None, root: Path) -> Grouping:
    """How rows are grouped: by the column asked for ("none" for not at all), by versions of one picture, by evidence.

    `raw` holds the rows that `labels` are of. Evidence is a column or else, below `root`, folders of patients or clips.
    Raises Mistake where the train table has no such column, or it has one value only.
    """
    if asked_for is not None:
        column = None if asked_for == "none" and asked_for not in raw.others else asked_for
        return Grouping(_by_column(raw, column), _of_test_rows(raw, column), column, True)
    column, notes = find_group(raw.others, raw.test_others, classes_of(labels))
    if raw.versions:
        return Grouping(numbered(raw.versions), column=column, notes=tuple(notes))
    if column is None and not notes and not raw.literal:
        sources, notes = sources_in_paths(raw.train_files, raw.test_files, root)
        return Grouping(numbered(sources) if sources else None, notes=tuple(notes))
    return Grouping(_by_column(raw, column), _of_test_rows(raw, column), column, notes=tuple(notes))


def classes_of(labels: Labels) -> list[tuple[int, ...]] | None:
    """The indices of the classes that each row has, None for numbers."""
    if isinstance(labels.target, LabelSets):
        return [tuple(label for label in row if label >= 0) for row in labels.target.ones.tolist()]
    if labels.kind == "multilabel":
        return [tuple(np.flatnonzero(row).tolist()) for row in labels.target]
    return None if labels.kind == "regression" else [(label,) for label in labels.target.tolist()]


def _by_column(raw: RawTask, column: str | None) -> np.ndarray | None:
    """The group number of each train row by a column's cells."""
    if column is None:
        return None
    if column not in raw.others:
        have = ", ".join(raw.others) or "no other columns"
        raise Mistake(f"the train table has no column {column!r} to group by; it has {have}")
    numbers = numbered(raw.others[column])
    if numbers.max() < 1:
        raise Mistake(f"column {column!r} has one value only; folds need at least two groups")
    return numbers


def _of_test_rows(raw: RawTask, column: str | None) -> np.ndarray | None:
    """The group number of each test row, None where test rows lack the column."""
    return numbered(raw.test_others[column]) if column in raw.test_others else None


def numbered(cells: Sequence[str]) -> np.ndarray:
    """A number for each different cell, in the order of first occurrence; each blank cell has one of its own."""
    named = [c if c not in BLANK else f"\0{i}" for i, c in enumerate(cells)]
    place = {name: i for i, name in enumerate(dict.fromkeys(named))}
    return np.array([place[name] for name in named], np.int64)


@dataclass(frozen=True)
class _Source:
    """A column that may say where rows come from."""

    name: str
    groups: int
    largest: int  # rows of its largest group
    named: bool  # its name is one of GROUP_WORDS
    common: float | None  # share of test rows whose value train rows have too, None where test rows have no such column
    lost: int  # labels that one group alone has, 0 where they are few

    @property
    def new(self) -> bool:
        """Whether test rows come from sources that train rows do not."""
        return self.common is not None and self.common < 0.5


def find_group(
    columns: Mapping[str, Sequence[str]],
    test_columns: Mapping[str, Sequence[str]],
    labels: Sequence[Collection[Hashable]] | None = None,
) -> tuple[str | None, list[Note]]:
    """The train column whose values are sources that folds should hold out whole, or None; and notes on why.

    `columns` are cells in train-row order, `test_columns` those of test rows for the columns known there, `labels` the
    classes of each train row, None for numbers. A folder is judged so:

    - Values must repeat, be many and none too common; a column that tells the label is none (it is an answer or a
      category), nor are fractional numbers.
    - Test rows with other values: test asks about new sources, so folds must hold out whole ones. This convinces for
      any column name.
    - Test rows with the same values: test asks about known sources, so plain folds are the honest ones.
    - A column that test rows lack is grouped by where its name is that of a source, which is at worst pessimistic; but
      not where many labels occur in one group alone: grouped folds could never learn them, and a test set that asks
      for them must share groups with train.

    Of nested columns (experiment, plate) the coarsest that leaves two groups a fold is taken.
    """
    sources = [s for name, cells in columns.items() if (s := _source(name, cells, test_columns.get(name), labels))]
    notes: list[Note] = []
    fitting = []
    for s in sources:
        if s.new:
            if s.named or len(test_columns[s.name]) >= FEWEST_TEST:
                fitting.append(s)
        elif not s.named:
            continue
        elif s.common is not None:
            text = (
                f"{s.common:.0%} of test rows have a {s.name!r} of the train rows, so plain folds are like the test "
                f"set; to hold out each {s.name!r} whole, add --group {s.name}"
            )
            notes.append(Note("group", text, s.name, "likely"))
        elif s.lost:
            text = (
                f"{s.groups} values of {s.name!r} repeat, but {s.lost} labels occur with one of them alone: folds "
                f"without it could not learn what test asks for, so rows are not grouped, and the score may promise "
                f"too much where test rows are of others; to group them, add --group {s.name}"
            )
            notes.append(Note("group", text, s.name, "guessed"))
        else:
            fitting.append(s)
    if not fitting:
        return None, notes
    best = max(fitting, key=lambda s: (s.new, s.groups >= PLENTY, -s.groups if s.groups >= PLENTY else s.groups))
    why = (
        f"test rows have {'no' if not best.common else f'in {1 - best.common:.0%} of cases no'} such value in common "
        "with train rows"
        if best.new
        else "test rows have no such column, so this may promise too little if they share them"
    )
    text = f"rows of one {best.name!r} ({best.groups} of them) stay in one fold: {why}; --group none deals rows freely"
    notes.insert(0, Note("group", text, best.name, "likely" if best.new else "guessed"))
    others = ", ".join(repr(s.name) for s in fitting if s is not best)
    if others:
        notes.append(Note("group", f"{others} could be grouped by too; name one with --group", sure="guessed"))
    return best.name, notes


def sources_in_paths(files: Sequence[str], tested: Sequence[str], root: Path) -> tuple[list[str] | None, list[Note]]:
    """The patient, subject or clip whose folder below `root` each train picture lies in, and a note.

    None where no such folders are, where one holds too many pictures, or where most test pictures are of the same ones,
    so that plain folds are like the test set.
    """
    names = [source_in(file, root) for file in files]
    counts = Counter(names)
    count = len(counts)
    if "" in counts or count < PLENTY or len(names) < ROWS_EACH * count:
        return None, []
    if max(counts.values()) > LARGEST * len(names):
        return None, []
    asked = [name for name in (source_in(file, root) for file in tested) if name]
    if asked and sum(name in counts for name in asked) >= len(asked) / 2:
        return None, []
    text = f"pictures of one {names[0]} or the like ({count}) stay in one fold; --group none deals rows freely"
    return names, [Note("group", text, sure="likely")]


def source_in(source: str, root: Path) -> str:
    """The folder of a patient, subject or clip that a picture lies in below `root`, "" where there is none."""
    path = "/".join(parts_of(source)[0][0]).removeprefix(f"{root}/")
    return next((folder for folder in path.split("/")[:-1] if SOURCE_FOLDER.fullmatch(folder)), "")


def _source(
    name: str,
    cells: Sequence[str],
    test: Sequence[str] | None,
    labels: Sequence[Collection[Hashable]] | None,
) -> _Source | None:
    """The evidence that a column is one of sources, None where it cannot be one."""
    filled = [c for c in cells if c not in BLANK]
    count = Counter(filled)
    if len(filled) < 0.5 * len(cells) or len(count) < FEWEST or len(filled) < ROWS_EACH * len(count):
        return None
    named = GROUP_WORDS.search(name) is not None
    largest = max(count.values())
    if largest > LARGEST * len(cells) and not (named and len(count) >= PLENTY and largest < 0.5 * len(cells)):
        return None
    if are_numbers(count) and not are_whole(count):
        return None
    asked = [c for c in test if c not in BLANK] if test is not None else []
    common = sum(1 for c in asked if c in count) / len(asked) if asked else None
    if len(count) < PLENTY and not (named and common is not None and common < 0.5):
        return None
    if labels is not None and _is_label(cells, labels):
        return None
    return _Source(name, len(count), largest, named, common, _lost(cells, labels))


def _is_label(cells: Sequence[str], labels: Sequence[Collection[Hashable]]) -> bool:
    """Whether the column is the label in other words or a grouping of labels: each label has one value of it."""
    cells_of = _cells_of_labels(cells, labels)
    return len(cells_of) > 1 and sum(len(v) == 1 for v in cells_of.values()) > 0.9 * len(cells_of)


def _cells_of_labels(cells: Sequence[str], labels: Sequence[Collection[Hashable]]) -> dict[Hashable, set[str]]:
    """For each label the different cells of the rows that have it."""
    cells_of: dict[Hashable, set[str]] = {}
    for cell, row in zip(cells, labels, strict=True):
        for label in row:
            cells_of.setdefault(label, set()).add(cell)
    return cells_of


def _lost(cells: Sequence[str], labels: Sequence[Collection[Hashable]] | None) -> int:
    """The number of labels that rows of one group alone have, 0 where folds can do without them."""
    if labels is None:
        return 0
    groups = _cells_of_labels(cells, labels)
    alone = {label for label, seen in groups.items() if len(seen) == 1}
    rows = sum(1 for row in labels if alone.intersection(row))
    return len(alone) if rows > LOST_ROWS * len(labels) or len(alone) > LOST_LABELS * len(groups) else 0
