"""The columns of a table that name its pictures: by ids, by paths, or as the names of files."""

from collections.abc import Sequence

from autoclimb.data.files.formats import PICTURES
from autoclimb.data.files.table import Table
from autoclimb.data.read.choosing import AUXILIARY, ENOUGH, extension, match_by_rule, named, some_columns
from autoclimb.data.read.naming import folded, is_bare, key_of, path_parts, whole
from autoclimb.data.read.survey import Survey

CERTAIN = 0.9  # share of ids that a column must hold in another spelling
MOST_KEYS, FIRST_COLUMNS = 50_000, 10  # ids, and columns of a table, that are compared in another spelling
SAMPLED = 500  # cells of a column that are used to judge it


def id_column(table: Table, survey: Survey) -> tuple[str, float]:
    """The column whose values name pictures, and the share of its values that do.

    Names rank above bare numbers, and these above numbers that count the rows. Columns are then ranked by that share
    times the share of distinct values: labels 0 to 9 are names of files 0.jpg to 9.jpg too, but they repeat. Where the
    table itself holds the pixels it is the first column of distinct values.
    """
    columns = some_columns(table)
    if table.sources:
        return next((c for c in columns if len(set(table.cells[c])) == table.rows), columns[0]), 1.0
    best, best_rank, best_share = columns[0], (False, False, 0.0), 0.0
    step = max(1, table.rows // SAMPLED)
    for column in columns:
        cells = table.cells[column][::step]
        share = sum(1 for c in cells if c and named(c, survey)) / len(cells)
        distinct = share * len(set(cells)) / len(cells)
        words = share > ENOUGH and sum(map(is_bare, cells)) < len(cells) / 2
        rank = (words, share > ENOUGH and distinct > ENOUGH and not counts_rows(table.cells[column]), distinct)
        if distinct and rank > best_rank:
            best, best_rank, best_share = column, rank, share
    if best_share > ENOUGH and best_rank[2] > ENOUGH * best_share:
        return best, best_share
    alone = [c for c in columns if len(set(table.cells[c])) == table.rows]
    shares = {c: names_pictures(table.cells[c], survey) for c in alone}
    if max(shares.values(), default=0.0) <= ENOUGH:
        likely = sorted(alone, key=lambda c: not are_files(table.cells[c][::step])) if best_share <= ENOUGH else []
        for column in likely[:3]:
            matched = match_by_rule(table.cells[column], None, column, survey, 0)
            shares[column] = max(shares[column], 1 - matched.rows.count(-1) / table.rows if matched else 0.0)
            if shares[column] > ENOUGH and are_files(table.cells[column][::step]):
                return column, shares[column]  # a counter beside it may fit other files' numbers
    for column, share in shares.items():
        if share > max(best_rank[2], ENOUGH if best_share > ENOUGH else 0.0):
            best, best_rank, best_share = column, (False, False, share), share
    return best, best_share


def names_pictures(cells: Sequence[str], survey: Survey) -> float:
    """The share of cells that name pictures: as files, as folders, or as the beginnings of file names."""
    step = max(1, len(cells) // SAMPLED)
    some = [c for c in cells[::step] if c]
    if not some:
        return 0.0
    of = len(cells[::step])
    share = sum(1 for c in some if named(c, survey)) / of
    if share > ENOUGH:
        return share
    low = [folded(path_parts(c)[-1]) for c in some]
    for index in (survey.by_folder, survey.by_prefix):
        share = max(share, sum(1 for c in low if c in index) / of)
    if share > ENOUGH:
        return share
    folders = {whole(f) for f in survey.by_folder}
    return max(share, sum(1 for c in low if is_bare(c) and whole(c) in folders) / of)


def path_column(table: Table, survey: Survey, but: str = "", files_only: bool = False) -> str:
    """The column whose values name pictures, one for most rows, "" where there is none; `but` is never taken.

    File names with endings rank above other names, and pictures above masks of them. With `files_only` only columns of
    file names or paths count.
    """
    best, best_rank = "", (False, False, 0.0)
    step = max(1, table.rows // SAMPLED)
    for column in some_columns(table):
        cells = table.cells[column][::step]
        if column == but or AUXILIARY.search(column.lower()):
            continue
        files = are_files(cells)
        if files_only and not files:
            continue
        hits = [named(c, survey) for c in cells if c]
        share = sum(1 for h in hits if h) / len(cells)
        masks = sum(1 for h in hits if h and AUXILIARY.search(survey.pictures[h[0]].lower())) > len(hits) / 2
        rank = (files, not masks, share * len(set(cells)) / len(cells))
        if share > ENOUGH and rank > best_rank:
            best, best_rank = column, rank
    return best


def column_of(table: Table, asked_ids: set[str], enough: float = ENOUGH) -> str:
    """The column of distinct values that holds more than a share `enough` of these ids, "" where none does."""
    for column in some_columns(table):
        values = set(table.cells[column])
        if len(values) > 1 and len(asked_ids & values) > enough * len(asked_ids):
            return column
    if len(asked_ids) > MOST_KEYS or enough < ENOUGH:
        return ""
    keys = {key_of(name) for name in asked_ids}
    for column in table.columns[:FIRST_COLUMNS]:
        values = set(map(key_of, table.cells[column]))
        if len(values) > 1 and len(keys & values) > CERTAIN * len(keys) and len(keys) == len(asked_ids):
            return column
    return ""


def are_files(cells: Sequence[str]) -> bool:
    """Whether most cells end like file names of pictures, or are paths."""
    return sum("/" in c or "\\" in c or extension(c) in PICTURES for c in cells) > len(cells) / 2


def counts_rows(cells: Sequence[str]) -> bool:
    """Whether cells count the rows in their order: 0, 1, 2, ... or 1, 2, 3, ..."""
    first = cells[0].strip() if cells else ""
    return first in ("0", "1", "0.0", "1.0") and all(whole(c) == str(i) for i, c in enumerate(cells, int(float(first))))
