"""Layouts with a train table, be it csv, json, bson or an array; pictures anywhere, perhaps a sample and test table."""

import re
from collections.abc import Sequence

from autoclimb.data.files.table import Table
from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.parts import for_validation, in_parts, says, unlabelled, without_columns
from autoclimb.data.read.places import ENOUGH, column_of, id_column, locate, path_column
from autoclimb.data.read.scan import Survey
from autoclimb.data.read.targets import find_targets
from autoclimb.data.read.tested import test_items, without_label
from autoclimb.data.read.validation import with_validation
from autoclimb.data.read.values import BLANK, are_flags, are_whole, number_of
from autoclimb.errors import Mistake

WEIGHT_WORDS = re.compile(r"confidence|probability|score$|certainty", re.IGNORECASE)  # how sure a label is


def read_tables(found: Survey, wish: Wish) -> Found | None:
    """The competition by its tables, or None where no table holds train labels.

    Raises Mistake where the tables contradict each other or leave the target open.
    """
    sample = find_sample(found)
    sample_id = sample_id_column(sample, found, wish) if sample else ""
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    tables, parted = in_parts(
        [t for t in found.tables if t is not sample], {wish.group, *(wish.target or ()), *answers}
    )
    contenders = train_tables(tables, found, sample, sample_id, wish)
    if not contenders:
        return None
    located = []
    for table in contenders:
        id_name = wish.id_column or train_id(table, found, sample_id)
        if id_name not in table.columns:
            raise Mistake(f"{table.name} has no column {id_name!r}; it has {', '.join(table.columns)}")
        where = locate(table.cells[id_name], table, id_name, found, 1)
        located.append((where.share, table, id_name, where))
        if where.share > ENOUGH:
            break
    share, train, id_name, where = max(located, key=lambda row: row[0] > ENOUGH)
    ids = train.cells[id_name]
    if share <= ENOUGH:
        lost = next(name for name, file in zip(ids, where.files, strict=True) if not file)
        looks = repr(found.pictures[0]) if found.pictures else "none"
        raise Mistake(
            f"{sum(1 for f in where.files if not f)} of {len(ids)} values of column {id_name!r} in {train.name} name "
            f"no picture (such as {lost!r}); pictures look like {looks}; name the right column with --id, or complete "
            f"the download"
        )
    test, test_id = find_test(tables, found, train, sample, sample_id, id_name, wish)
    shared = test.columns if test and not set(train.columns) <= set(test.columns) else []
    known = tuple(c for c in shared if c != test_id)
    targets, notes = find_targets(train, id_name, sample, sample_id, known, wish)
    notes += [parted[train.whole]] if train.whole else []
    spare = None
    if sample is None and test and test.part and set(targets) <= set(test.columns):
        test, spare = unlabelled(test, targets)
    asked = sample.cells[sample_id] if sample else test.cells[test_id] if test else []
    used = {t.name for t in (train, test, sample) if t}
    aside = [*(t for t in tables if t.part != "test"), *([spare] if spare else [])]
    joined, placed, more = with_validation(train, where, id_name, targets, aside, found, asked, used)
    if sample is None and test is None and not without_label(found, set(placed.files)):
        test, test_id = find_test(tables, found, train, None, "", id_name, wish, last_resort=True)
        if test:
            notes.append(f"nothing else could be the test: the {test.rows} rows of {test.name} are, not learned from")
            used.add(test.name)
            joined, placed, more = train, where, []
    train, where = joined, placed
    if test and set(targets) <= set(test.columns):
        if any(cell not in BLANK for t in targets for cell in test.cells[t]):
            notes.append(f"the labels of {test.name} are not looked at")
        test = without_columns(test, targets)
    ids = train.cells[id_name]
    keep, less = positives(train, targets, id_name)
    tested = test_items(found, sample, sample_id, test, test_id, set(where.files))
    used |= {t.whole for t in tables if t.name in used}
    notes += left_over(found, used, targets, set(tested.ids), (*notes, *less, *where.notes, *tested.notes))
    if where.channels != tested.channels and any(tested.files):
        notes.append(f"train pictures have {where.channels} channels, test pictures {tested.channels}")
    return Found(
        train_ids=[ids[i] for i in keep],
        train_files=[where.files[i] for i in keep],
        labels={c: [train.cells[c][i] for i in keep] for c in targets},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=id_name,
        sample=sample,
        sample_id=sample_id,
        others={c: [cells[i] for i in keep] for c, cells in train.cells.items() if c != id_name and c not in targets},
        test_others=columns_for(tested.ids, test, test_id),
        channels=where.channels,
        notes=(
            f"labels from {train.name}, {train.rows} rows",
            *dict.fromkeys((*notes, *more, *less, *where.notes, *tested.notes)),
        ),
    )


def left_over(found: Survey, used: set[str], targets: list[str], asked: set[str], said: Sequence[str]) -> list[str]:
    """Notes on tables that were not used, those that `said` speaks of left out."""
    free = [t for t in found.tables if t.name not in used]
    also = [t.name for t in free if set(targets) <= set(t.columns)]
    notes = [f"{', '.join(also[:3])} hold {targets[0]!r} too, not used"] if also else []
    notes += [f"{t.name} speaks of test items too and is not used" for t in free if column_of(t, asked, 0.05)]
    idle = [t.name for t in free if not any(t.name in note for note in (*said, *notes))]
    if idle:
        some = f"{', '.join(idle[:3])}{' ...' if len(idle) > 3 else ''}"
        notes.append(f"{some} held nothing that was looked for, not used")
    return notes


def find_sample(found: Survey) -> Table | None:
    """The sample submission: a table that says so in its name, best by name, then by ids that name pictures."""

    def fit(table: Table) -> int:
        name = table.name.lower().rsplit("/", 1)[-1]
        if "train" in name or len(table.columns) < 2 or table.sources:
            return 0
        return 2 * ("sample" in name or "example" in name) + 2 * ("submi" in name)

    named = [t for t in found.tables if fit(t)]
    if len(named) < 2:
        return named[0] if named else None
    return max(named, key=lambda t: (fit(t), id_column(t, found)[1] > ENOUGH, -found.tables.index(t)))


def sample_id_column(sample: Table, found: Survey, wish: Wish) -> str:
    """The sample's id column: the one whose values name pictures, else the first."""
    if wish.id_column in sample.columns and wish.id_column is not None:
        return wish.id_column
    column, share = id_column(sample, found)
    return column if share > ENOUGH else sample.columns[0]


def train_id(table: Table, found: Survey, sample_id: str) -> str:
    """The id column of a train table: the one whose values name pictures, else the one that the sample has."""
    column, share = id_column(table, found)
    if table.sources or sample_id not in table.columns:
        return column
    direct = share > ENOUGH and path_column(table, found) == column
    return column if direct else sample_id


def train_tables(
    tables: Sequence[Table], found: Survey, sample: Table | None, sample_id: str, wish: Wish
) -> list[Table]:
    """The tables that may hold train labels, likeliest first: they name pictures, are not about test ids and have the
    asked columns.
    """
    asked = {c.lower() for c in (wish.target or ([c for c in sample.columns if c != sample_id] if sample else ()))}
    test_ids = set(sample.cells[sample_id]) if sample else set()
    ranked = []
    for i, table in enumerate(tables):
        if len(table.columns) < 2:
            continue
        column, share = (wish.id_column, 1.0) if wish.id_column in table.columns else id_column(table, found)
        if share <= ENOUGH and sample_id in table.columns:
            column = sample_id
        name = says(table)
        asked_share = len(asked & {c.lower() for c in table.columns}) / max(1, len(asked))
        if not share and not (asked_share and "test" not in name):
            continue
        ids = table.cells[column or table.columns[0]]
        about_test = sum(1 for i in ids if i in test_ids) > len(ids) / 2
        if about_test and not asked_share:
            continue
        if re.search(r"(^|[/_-])(sample|submission|test)", name) and "train" not in name and not asked_share:
            continue
        named = ("train" in name) + ("label" in table.name.lower()) - ("test" in name) - ("val" in name)
        sure = not any(WEIGHT_WORDS.search(c) and not are_whole(table.cells[c][:1000]) for c in table.columns)
        ranked.append(((not about_test, asked_share, named, share > ENOUGH, sure, table.rows, -i), table))
    return [table for _, table in sorted(ranked, key=lambda r: r[0], reverse=True)]


def find_test(
    tables: Sequence[Table],
    found: Survey,
    train: Table,
    sample: Table | None,
    sample_id: str,
    id_name: str,
    wish: Wish,
    last_resort: bool = False,
) -> tuple[Table | None, str]:
    """The table of test items and its id column: it has the sample's ids; without a sample it says test, or names
    pictures that the train table does not and lacks the labels. A `last_resort` is a validation table with labels.
    """
    wanted = set(sample.cells[sample_id]) if sample else set()
    ranked = []
    for i, table in enumerate(tables):
        if table is train:
            continue
        name = says(table)
        shared = len(set(table.columns) & set(train.columns))
        order = "test" in name, not table.part, shared, -i
        if wanted:
            column = column_of(table, wanted)
            if column and (shared > 1 or "test" in name or table.sources):
                ranked.append((order, table, column))
        elif "train" not in name:
            column = id_name if id_name in table.columns else id_column(table, found)[0]
            cells = table.cells[column]
            counted = column == "row" and table.sources  # anew in every table
            own = counted or set(cells) - set(train.cells[id_name])
            if for_validation(table) and has_labels(table, train, id_name, wish):
                fits = last_resort
            else:
                fits = "test" in name or set(table.columns) < set(train.columns)
            if own and fits and locate(cells, table, column, found, -1).share > ENOUGH:
                ranked.append((order, table, column))
    return max(ranked, key=lambda r: r[0])[1:] if ranked else (None, "")


def has_labels(table: Table, train: Table, id_name: str, wish: Wish) -> bool:
    """Whether a table has the columns that would be the target if test rows had none."""
    try:
        targets, _ = find_targets(train, id_name, None, "", (), wish)
    except Mistake:
        return set(train.columns) <= set(table.columns)
    return set(targets) <= set(table.columns)


def positives(train: Table, targets: list[str], id_name: str) -> tuple[list[int], list[str]]:
    """The rows that count, and a note: where a table says of each label whether it is there, those that are."""
    every = list(range(train.rows))
    ids = train.cells[id_name]
    if len(targets) != 1 or len(set(ids)) == len(ids):
        return every, []
    for column in train.columns:
        cells = train.cells[column]
        if WEIGHT_WORDS.search(column) and column not in targets and number_of(min(cells)) == 0 and are_flags(cells):
            keep = [i for i in every if number_of(cells[i]) == 1]
            return keep, [f"{train.rows - len(keep)} rows say {column} 0, that a label is absent, and are left out"]
    return every, []


def columns_for(ids: list[str], table: Table | None, key: str) -> dict[str, list[str]]:
    """The table's other columns in the order of some ids, blank where the table lacks an id."""
    if table is None:
        return {}
    row: dict[str, int] = {}
    for i, name in enumerate(table.cells[key]):
        row.setdefault(name, i)
    at = [row.get(name, -1) for name in ids]
    return {c: [cells[i] if i >= 0 else "" for i in at] for c, cells in table.cells.items() if c != key}
