"""A column that says which part of the data each row is in -> a table for each part (FER2013's Usage: Training,
PublicTest, PrivateTest)."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache

from autoclimb.data.files.table import Table
from autoclimb.data.read.splits import SPLIT_WORDS
from autoclimb.data.read.values import BLANK

WORDS = re.compile(r"(^|[^a-z])(val|valid|validation|dev)([^a-z]|$)")  # of validation in a table's or folder's name
PART_WORDS = {w: "train" if side > 0 else "test" for w, side in SPLIT_WORDS.items()}
PART_WORDS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation")
MOST_WORDS = 3  # in a cell that names a part: in_domain_test; a caption about a train has more


def in_parts(tables: Sequence[Table], but: Collection[str | None]) -> tuple[list[Table], dict[str, str]]:
    """The tables, those with a column of parts as a table a part without that column, and by their names a note.

    No column of `but` is taken for one of parts.
    """
    made, notes = [], {}
    for table in tables:
        column = next((c for c in table.columns if c not in but and names_parts(table.cells[c])), "")
        if not column:
            made.append(table)
            continue
        cells = table.cells[column]
        said = []
        for part in ("train", "validation", "test"):
            rows = [i for i, cell in enumerate(cells) if part_of(cell) == part]
            if rows:
                one = with_rows(table, rows)
                del one.cells[column]
                made.append(replace(one, name=f"{table.name} ({part} rows)", part=part, whole=table.name))
                said.append(f"{len(rows)} {part} rows ({', '.join(sorted({cells[i] for i in rows})[:4])})")
        notes[table.name] = f"column {column!r} of {table.name} tells the parts: {', '.join(said)}"
    return made, notes


def names_parts(cells: Sequence[str]) -> bool:
    """Whether every cell names a part, some of them train and some another."""
    if part_of(cells[0]) == "":
        return False
    parts = {part_of(cell) for cell in set(cells)}
    return "" not in parts and "train" in parts and len(parts) > 1


@lru_cache(10_000)
def part_of(cell: str) -> str:
    """The part of the data that a cell names, "" for none: PublicTest, test_1, val, TRAINING."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", cell)]
    said = {PART_WORDS[w] for w in words if w in PART_WORDS}
    return said.pop() if len(said) == 1 and len(words) <= MOST_WORDS else ""


def says(table: Table) -> str:
    """The words, lower-case, that tell which part of the data a table holds: its part, else its name."""
    return table.part or table.name.lower()


def for_validation(table: Table) -> bool:
    """Whether a table says that its rows were set aside for validation."""
    return WORDS.search(says(table)) is not None and "train" not in says(table).rsplit("/", 1)[-1]


def with_rows(table: Table, rows: Sequence[int]) -> Table:
    """The table with these rows only."""
    cells = {c: [held[i] for i in rows] for c, held in table.cells.items()}
    return replace(table, cells=cells, sources=tuple(table.sources[i] for i in rows) if table.sources else ())


def without_columns(table: Table, columns: Collection[str]) -> Table:
    """The table without these columns."""
    return replace(table, cells={c: held for c, held in table.cells.items() if c not in columns})


def unlabelled(table: Table, targets: Sequence[str]) -> tuple[Table, Table | None]:
    """The rows of a part that have no label, and those that have one; all, and None, where all rows are alike."""
    bare = [i for i in range(table.rows) if all(table.cells[t][i] in BLANK for t in targets)]
    if len(bare) in (0, table.rows):
        return table, None
    labelled = sorted(set(range(table.rows)) - set(bare))
    return with_rows(table, bare), replace(with_rows(table, labelled), name=f"{table.name} with a label")
