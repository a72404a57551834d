"""Rows set aside for validation by whoever made the folder: labelled too, so they are learned from like train rows."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from autoclimb.data.files.table import Table
from autoclimb.data.read.parts import WORDS, for_validation
from autoclimb.data.read.places import ENOUGH, Located, locate
from autoclimb.data.read.scan import Survey

SHARED = 0.1  # of its ids in train or test, from which a table is no split of its own


def with_validation(
    train: Table,
    where: Located,
    id_name: str,
    targets: list[str],
    tables: Sequence[Table],
    found: Survey,
    asked: Collection[str],
    used: set[str],
) -> tuple[Table, Located, list[str]]:
    """The train table and its pictures with the rows of validation tables below it, and notes on them.

    Such a table of `tables` says so in its name, or is a part of the same table as `train` (test rows with a label are
    given where others without are the test), is none of `used`, has the ids' and targets' columns and ids of its own
    that name pictures; `asked` are the ids that test asks for.
    """
    notes = []
    for table in tables:
        aside = for_validation(table) if table.part in ("", "validation") else table.part == "test"
        if not aside or table.whole not in ("", train.whole) or table.name in used:
            continue
        if not {id_name, *targets} <= set(table.columns):
            continue
        ids = table.cells[id_name]
        if table.sources and id_name == "row" and not table.part:  # counted anew in every table
            ids = [f"{table.name} {i}" for i in ids]
        known = {*train.cells[id_name], *asked}
        if bool(train.sources) != bool(table.sources) or sum(1 for i in ids if i in known) > SHARED * len(ids):
            continue
        place = locate(ids, table, id_name, found, -1 if table.part == "test" else 1)
        if place.share <= ENOUGH or place.channels != where.channels:
            continue
        below = {**table.cells, id_name: ids}
        cells = {c: [*held, *below.get(c, [""] * table.rows)] for c, held in train.cells.items()}
        train = replace(train, cells=cells, sources=(*train.sources, *table.sources))
        where = Located([*where.files, *place.files], where.channels, where.notes)
        what = "" if table.part else ", a validation table,"
        notes.append(f"the {table.rows} rows of {table.name}{what} are learned from too")
        used.add(table.name)
    return train, where, notes


def validation_folders(pictures: Sequence[str], root: str, classes: Collection[str]) -> list[tuple[int, str]]:
    """The pictures in class folders of a validation folder beside those of `root`, by number, and their classes."""
    made = []
    inside = f"{root}/"
    for i, path in enumerate(pictures):
        *folders, _ = path.split("/")
        if len(folders) < 2 or folders[-1] not in classes or path.startswith(inside):
            continue
        if any(WORDS.search(folder.lower()) for folder in folders[:-1]):
            made.append((i, folders[-1]))
    return made
