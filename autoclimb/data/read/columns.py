"""What becomes of each column of the train table: target, group, metadata, a leak, or nothing."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from autoclimb.data.read.found import Found
from autoclimb.data.read.kinds import Labels
from autoclimb.data.read.targets import GROUP_WORDS
from autoclimb.data.read.values import BLANK
from autoclimb.types import Column

TRAIN_ONLY = "test rows have no such column"


def columns_of(
    found: Found,
    labels: Labels,
    group: str | None,
    said: list[str],
    metadata: tuple[str, ...],
    useless: Mapping[str, str],
    asked: bool,
) -> tuple[Column, ...]:
    """The train table's columns but its ids, targets first, over rows that have a label.

    `group` is the column that rows are grouped by, `said` are sentences on why, or why others are not; `metadata` names
    the columns that are learned from, `useless` says why the other shared ones are not; `asked` is whether the user
    spoke of groups.
    """
    kept = np.flatnonzero(labels.kept)
    label_of = [row.tobytes() for row in labels.target] if labels.target.ndim == 2 else labels.target.tolist()
    made = [Column(name, "target", *count(cells)) for name, cells in found.labels.items()]
    for name, cells in found.others.items():
        values = [cells[i] for i in kept]
        distinct, blank = count(values)
        told = len(set(values))
        repeats = 1 < told <= 0.9 * len(values)
        known = next((note for note in said if repr(name) in note), "")
        hint = known or (source_hint(name, values, asked or group is not None) if repeats else "")
        if name == group:
            made.append(Column(name, "group", distinct, blank, known or "as asked"))
        elif name in metadata:
            made.append(Column(name, "metadata", distinct, blank, hint))
        elif (
            name not in found.test_columns and repeats and not is_source(name, values) and gives_away(values, label_of)
        ):
            why = f"column {name!r} gives the label away; it is known for train rows only"
            made.append(Column(name, "leak", distinct, blank, why))
        else:
            names = "it names the pictures" if any(f"named by column {name!r}" in note for note in found.notes) else ""
            made.append(Column(name, "unused", distinct, blank, hint or names or useless.get(name, TRAIN_ONLY)))
    return tuple(made)


def column_notes(columns: tuple[Column, ...], told: list[str]) -> list[str]:
    """The sentences on columns that a reader should know, but for those told already."""
    notes = [c.why for c in columns if c.role == "leak"]
    hints = [c.why for c in columns if c.role in ("unused", "metadata") and "--group" in c.why]
    return notes + [why for why in hints if why not in told]


def count(cells: list[str]) -> tuple[int, float]:
    """Different values, and the share of blank cells."""
    blank = sum(1 for c in cells if c in BLANK)
    return len(set(cells) - BLANK), blank / max(1, len(cells))


def is_source(name: str, values: list[str]) -> bool:
    """Whether a column's name says that its values are where rows come from."""
    return bool(GROUP_WORDS.search(name)) and not set(values) <= {"0", "1"}


def source_hint(name: str, values: list[str], asked: bool) -> str:
    """How to group by a column that repeats and whose name is that of a source, "" for other columns."""
    if asked or not is_source(name, values):
        return ""
    return f"{len(set(values))} values of {name!r} repeat; if they are one source each, add --group {name}"


def gives_away(values: list[str], label_of: list) -> bool:
    """Whether rows with equal values nearly always (99 %) share a label although labels vary."""
    pairs = Counter(zip(values, label_of, strict=True))
    best: dict[str, int] = {}
    for (value, _), n in pairs.items():
        best[value] = max(best.get(value, 0), n)
    return sum(best.values()) >= 0.99 * len(values) and len(best) <= len(values) / 3
