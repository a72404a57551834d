"""A column that says which part of the data each row is in -> a table for each part (FER2013's Usage: Training,
PublicTest, PrivateTest); rows set aside for validation are labelled, so they are learned from like train rows."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache

from autoclimb.data.files.table import Table, with_rows
from autoclimb.data.read.choosing import ENOUGH
from autoclimb.data.read.items import Items
from autoclimb.data.read.matching import Located, locate
from autoclimb.data.read.splits import SPLIT_WORDS, saying
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.values import BLANK, are_marks, flags_of
from autoclimb.types import Note

WORDS = re.compile(r"(^|[^a-z])(val|valid|validation|dev)([^a-z]|$)")  # of validation in a table's or folder's name
SHARED = 0.1  # of its ids in train or test, from which a table is no split of its own
CODED = re.compile(r"(data|image)?(split|partition|subset|set)(id|no|code|type)?")  # of a column of codes
FLAG_NAMES = {
    "is",
    "in",
    "for",
    "use",
    "used",
    "as",
    "the",
    "set",
    "image",
    "img",
    "row",
    "sample",
    "flag",
    "split",
    "data",
}
MOST_WORDS = 3  # in a cell that names a part: in_domain_test; a caption about a train has more


def in_parts(tables: Sequence[Table], but: Collection[str]) -> tuple[list[Table], dict[str, Note]]:
    """The tables, those with a column of parts as a table a part without that column, and by their names a note.

    No column of `but` is taken for one of parts.
    """
    split, notes = [], {}
    for table in tables:
        column = split_column(table, but)
        if not column:
            split.append(table)
            continue
        cells, parts = table.cells[column], parts_in(column, table.cells[column])
        counts = []
        for part in ("train", "validation", "test"):
            rows = [i for i, cell in enumerate(cells) if parts[cell] == part]
            if rows:
                one = with_rows(table, rows)
                del one.cells[column]
                split.append(replace(one, name=f"{table.name} ({part} rows)", part=part, whole=table.name))
                counts.append(f"{len(rows)} {part} rows ({', '.join(sorted({cells[i] for i in rows})[:4])})")
        text = f"column {column!r} of {table.name} tells the parts: {', '.join(counts)}"
        notes[table.name] = Note("split", text, table.name, "sure" if names_parts(cells) else "likely")
    return split, notes


def split_column(table: Table, but: Collection[str]) -> str:
    """The column that says which part of the data each row is in, "" where none does.

    Its cells name parts, or are flags under a name such as is_test, or the codes 0, 1, 2 of train, validation and test
    under a name such as split. Where several flags stand side by side a column called `train` is a label.
    """
    for column in table.columns:
        if column not in but and names_parts(table.cells[column]):
            return column
    flags = [c for c in table.columns if are_marks(table.cells[c])]
    for column in table.columns:
        if column not in but and parts_in(column, table.cells[column]):
            bare = column.lower() in SPLIT_WORDS
            if not (bare and len(flags) > 1):
                return column
    return ""


def parts_in(column: str, cells: Sequence[str]) -> dict[str, str]:
    """The part that each cell of a column stands for, {} where the column is not one of parts."""
    distinct = set(cells)
    if names_parts(cells):
        return {cell: part_of(cell) for cell in distinct}
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)]
    if CODED.fullmatch("".join(words)) and distinct == {"0", "1", "2"}:
        return {"0": "train", "1": "validation", "2": "test"}
    parts = {SPLIT_WORDS[w] for w in words if w in SPLIT_WORDS}
    flags = flags_of(list(cells)) if len(parts) == 1 and set(words) <= FLAG_NAMES | set(SPLIT_WORDS) else None
    if flags is None or set(flags) != {"0", "1"}:
        return {}
    part = parts.pop()
    if part == "validation":  # rows that their author validated on are labelled, so they are train rows
        return {}
    other = "test" if part == "train" else "train"
    return {cell: part if flag == "1" else other for cell, flag in zip(cells, flags, strict=True)}


def names_parts(cells: Sequence[str]) -> bool:
    """Whether every cell names a part, some of them train and some another."""
    if not cells or part_of(cells[0]) == "":
        return False
    parts = {part_of(cell) for cell in set(cells)}
    return "" not in parts and "train" in parts and len(parts) > 1


@lru_cache(10_000)
def part_of(cell: str) -> str:
    """The part of the data that a cell names, "" for none: PublicTest, test_1, val, TRAINING."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", cell)]
    parts = {SPLIT_WORDS[w] for w in words if w in SPLIT_WORDS}
    return parts.pop() if len(parts) == 1 and len(words) <= MOST_WORDS else ""


def says(table: Table) -> str:
    """The words, lower-case, that tell which part of the data a table holds: its part, else its name."""
    return table.part or table.name.lower()


def for_validation(table: Table) -> bool:
    """Whether a table says that its rows were set aside for validation."""
    return WORDS.search(says(table)) is not None and "train" not in says(table).rsplit("/", 1)[-1]


def unlabelled(table: Table, targets: Sequence[str]) -> tuple[Table, Table | None]:
    """The rows of a part that have no label, and those that have one; all, and None, where all rows are alike."""
    bare = [i for i in range(table.rows) if all(table.cells[t][i] in BLANK for t in targets)]
    if len(bare) in (0, table.rows):
        return table, None
    labelled = sorted(set(range(table.rows)) - set(bare))
    return with_rows(table, bare), replace(with_rows(table, labelled), name=f"{table.name} with a label")


def is_more(table: Table, train: Table) -> bool:
    """Whether a table says of other items what the train table says, as parts of a long table do."""
    split = saying(table.name.rsplit("/", 1)[-1].rsplit(".", 1)[0])
    test = table.part == "test" or (split is not None and split.part == "test")
    return not test and not train.part and set(table.columns) == set(train.columns)


def with_validation(
    items: Items,
    targets: list[str],
    tables: Sequence[Table],
    survey: Survey,
    asked: Collection[str],
    used: set[str],
) -> tuple[Items, list[Note]]:
    """The train items with the rows of validation tables below them, and notes on these tables.

    Such a table of `tables` says so in its name, or is a part of the same table as the items (test rows with a label
    are given where others without are the test), is none of `used`, has the ids' and targets' columns and ids of its
    own that name pictures; `asked` are the ids that test asks for.
    """
    train, where, id_name = items.table, items.where, items.id_name

    def files_of_test(table: Table) -> set[str]:
        """The test pictures where the table speaks of test items, as somebody's answers do."""
        same = set(asked).intersection(table.cells[id_name])
        return set(locate(sorted(same), None, "", survey, -1).files) if same else set()

    notes = []
    for table in tables:
        aside = for_validation(table) if table.part in ("", "validation") else table.part == "test"
        aside = aside or is_more(table, train)
        if not aside or table.whole not in ("", train.whole) or table.name in used:
            continue
        if not {id_name, *targets} <= set(table.columns):
            continue
        ids = table.cells[id_name]
        if table.sources and id_name == "row" and not table.part:  # counted anew in every table
            ids = [f"{table.name} {i}" for i in ids]
        known = {*train.cells[id_name], *asked}
        if is_more(table, train) and not table.sources and not known.isdisjoint(ids):  # each folder's table counts anew
            ids = [f"{table.name} {i}" for i in ids]
        if bool(train.sources) != bool(table.sources) or sum(1 for i in ids if i in known) > SHARED * len(ids):
            continue
        place = locate(
            table.cells[id_name] if not table.sources else ids,
            table,
            id_name,
            survey,
            -1 if table.part == "test" else 1,
        )
        if place.share <= ENOUGH or place.channels != where.channels or place.doubt:
            continue
        if is_more(table, train) and set(place.files) & (set(where.files) | files_of_test(table)) - {""}:
            continue
        below = {**table.cells, id_name: ids}
        cells = {c: [*column, *below.get(c, [""] * table.rows)] for c, column in train.cells.items()}
        train = replace(train, cells=cells, sources=(*train.sources, *table.sources))
        where = Located([*where.files, *place.files], where.channels, where.notes)
        what = "" if table.part or not for_validation(table) else ", a validation table,"
        notes.append(Note("split", f"the {table.rows} rows of {table.name}{what} are learned from too", table.name))
        used.add(table.name)
    return Items(train, id_name, where), notes
