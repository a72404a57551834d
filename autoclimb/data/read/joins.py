"""Tables that belong together, by a column they share: labels in one, file names or splits or sources in another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoclimb.data.files.table import Table, with_rows
from autoclimb.data.read.choosing import ENOUGH, some_columns
from autoclimb.data.read.items import Evidence
from autoclimb.data.read.naming import folded, is_bare, key_of, path_parts, stem_of
from autoclimb.data.read.parts import split_column
from autoclimb.data.read.picture_columns import id_column, path_column
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import LABEL_WORDS
from autoclimb.data.read.values import BLANK
from autoclimb.types import Note

COVERED = 0.9  # share of a table's keys that the other must have
FEWEST = 3  # keys
JOIN = " "


@dataclass(frozen=True)
class Joined:
    """Tables that belong together joined. By the name of such a table: `ids` is the column that its rows were found by,
    `known` are columns that it took from a table without labels, and `sources` is the column whose rows share a label
    that was given for all of them. `links` are a column whose values have several pictures each in another table, and
    that table.
    """

    tables: list[Table]
    ids: dict[str, str]
    known: dict[str, tuple[str, ...]]
    sources: dict[str, str]
    links: dict[str, tuple[str, Table]]
    notes: list[Note]


def joined_tables(tables: Sequence[Table], evidence: Evidence, but: set[str]) -> Joined:
    """The tables, those that lack something with the columns of the one that has it.

    A table of labels without file names takes them from a table that has one for each of its keys, and so it takes a
    column of splits. Where the sample asks for pictures and labels are by patient or sequence, each picture takes its
    source's label. Columns of `but` are none of splits.
    """
    notes: list[Note] = []
    result: list[Table] = []
    ids: dict[str, str] = {}
    known: dict[str, tuple[str, ...]] = {}
    sources: dict[str, str] = {}
    links: dict[str, tuple[str, Table]] = {}
    absorbed: set[int] = set()
    answers, asked_ids = set(evidence.answers), evidence.asked_ids
    spoken = {id(t): names_files(t, evidence.survey) for t in tables}
    for table in tables:
        if table.sources or len(table.columns) < 2:
            result.append(table)
            continue
        for other in tables:
            if other is table or other.sources:
                continue
            lacks_files = not spoken[id(table)] and spoken[id(other)]
            lacks_split = not split_column(table, but) and split_column(other, but)
            lacks_label = (
                spoken[id(table)]
                and not spoken[id(other)]
                and not answers & set(table.columns)
                and bool(answers & set(other.columns))
                and picture_level(table, asked_ids)
            )
            if not (lacks_files or lacks_split or lacks_label):
                continue
            pair = shared_key(table, other, partly=bool(lacks_label))
            both = shared_pair(table, other) if pair is None else None
            if both is not None:
                pair = (both[0].columns[0], both[1].columns[0])
            if pair is None:
                if lacks_files and not labelled(other) and (pair := shared_key(other, table, partly=True)):
                    links[table.name] = pair[1], other
                continue
            before = table
            one, two = both or (table, other)
            table = with_columns_of(one, two, *pair, only_known=bool(lacks_label))
            if table is not before:
                text = f"{table.name} and {other.name} belong together by {pair[0]!r}"
                notes.append(Note("join", text, other.name, "sure" if pair[0] == pair[1] else "likely"))
                spoken[id(table)] = spoken[id(before)] or bool(lacks_files)
                if lacks_label:
                    absorbed.add(id(other))
                    sources[table.name] = pair[0]
                else:
                    ids[table.name] = pair[0]
                    gained = tuple(c for c in table.columns if c not in before.columns)
                    if both is not None:
                        keys = {folded(c) for c in two.columns}
                        gained += tuple(c for c in before.columns if folded(c) in keys)
                    known[table.name] = (*known.get(table.name, ()), *gained)
        result.append(table)
    return Joined([t for t in result if id(t) not in absorbed], ids, known, sources, links, notes)


def labelled(table: Table) -> bool:
    """Whether a column of the table is called as labels are."""
    return any(LABEL_WORDS.match(column.lower()) for column in table.columns)


def names_files(table: Table, survey: Survey) -> bool:
    """Whether a column of the table names pictures, whole folders of them not counted."""
    return bool(table.sources) or bool(path_column(table, survey)) or id_column(table, survey)[1] > ENOUGH


def picture_level(table: Table, asked_ids: set[str]) -> bool:
    """Whether what is asked for are pictures that the table names, or named as its other pictures are."""
    if not asked_ids:
        return False
    asked = {stem_of(path_parts(name)[-1]) for name in asked_ids}
    for column in some_columns(table):
        cells = {stem_of(path_parts(c)[-1]) for c in table.cells[column]}
        if len(cells) == table.rows and len(asked & cells) > ENOUGH * len(asked):
            return True
    return False


def shared_key(table: Table, other: Table, partly: bool) -> tuple[str, str] | None:
    """The columns by which each row of a table has one row in the other: of one name, or of the same distinct words.

    `partly` lets rows have none.
    """
    for same in (True, False):
        for mine in some_columns(table):
            for theirs in some_columns(other):
                if same != (folded(mine) == folded(theirs)):
                    continue
                cells, keys = table.cells[mine], other.cells[theirs]
                if len(set(keys) - BLANK) < max(FEWEST, len(keys) * COVERED):
                    continue
                if not same and sum(map(is_bare, keys)) > len(keys) / 2:
                    continue
                known = {key_of(k) for k in keys}
                share = sum(key_of(c) in known for c in cells) / len(cells)
                if len(known) == len(set(keys)) and share >= (0.2 if partly else COVERED):
                    return mine, theirs
    return None


def shared_pair(table: Table, other: Table) -> tuple[Table, Table] | None:
    """Both tables with a column more, which joins the cells of all columns of one name, where those are a key."""
    names = [(c, d) for c in table.columns for d in other.columns if folded(c) == folded(d)]
    if len(names) < 2:
        return None
    one = [JOIN.join(key_of(table.cells[c][i]) for c, _ in names) for i in range(table.rows)]
    two = [JOIN.join(key_of(other.cells[d][i]) for _, d in names) for i in range(other.rows)]
    known = set(two)
    if len(known) < max(FEWEST, other.rows) or sum(k in known for k in one) < COVERED * len(one):
        return None
    title = " and ".join(c for c, _ in names)
    return replace(table, cells={title: one, **table.cells}), replace(other, cells={title: two, **other.cells})


def with_columns_of(table: Table, other: Table, mine: str, theirs: str, only_known: bool) -> Table:
    """The table with the other's columns that it lacks, in its own rows; `only_known` leaves out rows without one."""
    row = {key_of(k): i for i, k in reversed(list(enumerate(other.cells[theirs])))}
    if only_known:
        table = with_rows(table, [i for i, c in enumerate(table.cells[mine]) if key_of(c) in row])
    at = [row.get(key_of(c), -1) for c in table.cells[mine]]
    have = {folded(c) for c in table.columns}
    more = {
        column: [cells[i] if i >= 0 else "" for i in at]
        for column, cells in other.cells.items()
        if column != theirs and folded(column) not in have
    }
    return replace(table, cells={**table.cells, **more}) if more else table
