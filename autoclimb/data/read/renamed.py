"""Class names as the sample submission shows them: by number where train rows have words, or the other way round."""

from collections.abc import Sequence
from dataclasses import replace

from autoclimb.data.files.table import Table
from autoclimb.data.read.found import Found
from autoclimb.data.read.kinds import Labels
from autoclimb.data.read.values import BLANK, are_flags, are_numbers, are_whole, number_of, plain
from autoclimb.types import Metric

LARGEST_MAP = 100_000  # rows of a table that may say which number stands for which name


def as_the_sample_shows(
    found: Found, labels: Labels, tables: Sequence[Table], metric: Metric | None
) -> tuple[Labels, tuple[str, ...]]:
    """The labels with their classes renamed where the sample's cells are other names for them, and a note.

    A table that holds both names says which is which; where the sample has the numbers from 0 and train rows have
    words, numbers follow the alphabet.
    """
    if found.sample is None or len(found.answers) != 1 or labels.kind not in ("multiclass", "binary"):
        return labels, ()
    cells = [c for c in found.sample.cells[found.answers[0]] if c not in BLANK]
    shown = set(plain(cells))
    classes = set(labels.classes)
    if not shown or any(" " in c and c not in classes and are_numbers(c.split()) for c in shown) or shown & classes:
        return labels, ()
    if metric and metric.wants == "probability" and are_numbers(shown):
        return labels, ()
    for table in tables:
        if table is found.sample or table.sources or not 1 < table.rows <= LARGEST_MAP:
            continue
        for column, names in table.cells.items():
            if not classes <= set(names):
                continue
            for other, values in table.cells.items():
                if other != column and shown <= set(plain(values)):
                    word = dict(zip(names, plain(values), strict=True))
                    said = f"classes are written as {table.name} says, by {other!r} for {column!r}"
                    renamed = tuple(word[c] for c in labels.classes)
                    if len(set(renamed)) == len(renamed):
                        return replace(labels, classes=renamed), (said,)
    numbers = are_whole(shown) and not are_numbers(classes) and max(number_of(c) or 0.0 for c in shown) < len(classes)
    if not numbers or (labels.kind == "binary" and are_flags(list(shown))):
        return labels, ()
    ordered = sorted(labels.classes)
    renamed = tuple(str(ordered.index(c)) for c in labels.classes)
    few = ", ".join(f"{i} {c}" for i, c in enumerate(ordered[:3]))
    return replace(labels, classes=renamed), (f"the sample asks for numbers; classes count by the alphabet: {few} ...",)
