"""Layouts with a train table, be it csv, json, bson or an array; pictures anywhere, perhaps a sample and test table."""

import re
from collections.abc import Sequence
from dataclasses import replace

from autoclimb.data.files.table import Table, without_columns
from autoclimb.data.read.matching import ENOUGH, column_of, id_column, locate, path_column
from autoclimb.data.read.parts import for_validation, in_parts, says, unlabelled, with_validation
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import WEIGHT_WORDS, find_targets
from autoclimb.data.read.test_set import test_items, without_label
from autoclimb.data.read.values import BLANK, are_flags, are_whole, number_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

MOST_TORN = 0.05  # share of pictures with rows of different ids and labels, from which ids are no names of pictures


def read_tables(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its tables, or None where no table holds train labels.

    Raises Mistake where the tables contradict each other or leave the target open.
    """
    sample = find_sample(survey)
    sample_id = sample_id_column(sample, survey, asked_for) if sample else ""
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    tables, parted = in_parts(
        [t for t in survey.tables if t is not sample], {asked_for.group, *(asked_for.target or ()), *answers}
    )
    contenders = train_tables(tables, survey, sample, sample_id, asked_for)
    if not contenders:
        return None
    located = []
    for table in contenders:
        id_name = asked_for.id_column or train_id(table, survey, sample_id)
        if id_name not in table.columns:
            raise Mistake(f"{table.name} has no column {id_name!r}; it has {', '.join(table.columns)}")
        where = locate(table.cells[id_name], table, id_name, survey, 1)
        located.append((where.share, table, id_name, where))
        if where.share > ENOUGH:
            break
    share, train, id_name, where = max(located, key=lambda row: row[0] > ENOUGH)
    ids = train.cells[id_name]
    if share <= ENOUGH:
        lost = next(name for name, file in zip(ids, where.files, strict=True) if not file)
        looks = repr(survey.pictures[0]) if survey.pictures else "none"
        raise Mistake(
            f"{sum(1 for f in where.files if not f)} of {len(ids)} values of column {id_name!r} in {train.name} name "
            f"no picture (such as {lost!r}); pictures look like {looks}; name the right column with --id, or complete "
            f"the download"
        )
    if where.doubt:
        raise Mistake(f"{train.name}: {where.doubt}")
    if where.names and len(set(ids)) < len(set(where.names)):
        train = replace(train, cells={**train.cells, id_name: list(where.names)})
    test, test_id = find_test(tables, survey, train, sample, sample_id, id_name, asked_for)
    shared = test.columns if test and not set(train.columns) <= set(test.columns) else []
    known = tuple(c for c in shared if c != test_id)
    targets, notes = find_targets(train, id_name, sample, sample_id, known, asked_for)
    notes += [parted[train.whole]] if train.whole else []
    spare = None
    if sample is None and test and test.part and set(targets) <= set(test.columns):
        test, spare = unlabelled(test, targets)
    asked = sample.cells[sample_id] if sample else test.cells[test_id] if test else []
    used = {t.name for t in (train, test, sample) if t}
    aside = [*(t for t in tables if t.part != "test"), *([spare] if spare else [])]
    joined, placed, more = with_validation(train, where, id_name, targets, aside, survey, asked, used)
    if sample is None and test is None and not without_label(survey, set(placed.files)):
        test, test_id = find_test(tables, survey, train, None, "", id_name, asked_for, last_resort=True)
        if test:
            text = f"nothing else could be the test: the {test.rows} rows of {test.name} are, not learned from"
            notes.append(Note("test", text, test.name, "guessed"))
            used.add(test.name)
            joined, placed, more = train, where, []
    train, where = joined, placed
    if test and set(targets) <= set(test.columns):
        if any(cell not in BLANK for t in targets for cell in test.cells[t]):
            notes.append(Note("test", f"the labels of {test.name} are not looked at", test.name))
        test = without_columns(test, targets)
    ids = train.cells[id_name]
    where_notes = shared_pictures(ids, where.files, [train.cells[t] for t in targets])
    keep, less = positives(train, targets, id_name)
    tested = test_items(survey, sample, sample_id, test, test_id, set(where.files))
    used |= {t.whole for t in tables if t.name in used}
    notes += left_over(survey, used, targets, set(tested.ids), (*notes, *less, *where.notes, *tested.notes))
    if where.channels != tested.channels and any(tested.files):
        text = f"train pictures have {where.channels} channels, test pictures {tested.channels}"
        notes.append(Note("channels", text))
    return RawTask(
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
            Note("labels", f"labels from {train.name}, {train.rows} rows", train.name),
            *dict.fromkeys((*where_notes, *notes, *more, *less, *where.notes, *tested.notes)),
        ),
    )


def shared_pictures(ids: Sequence[str], files: Sequence[str], labels: Sequence[Sequence[str]]) -> list[Note]:
    """A note where different ids have one picture. Raises Mistake where many such rows have different labels."""
    rows_of: dict[str, list[int]] = {}
    for row, file in enumerate(files):
        if file:
            rows_of.setdefault(file, []).append(row)
    shared = [rows for rows in rows_of.values() if len(rows) > 1 and len({ids[r] for r in rows}) > 1]
    if not shared:
        return []
    torn = [rows for rows in shared if len({tuple(cells[r] for cells in labels) for r in rows}) > 1]
    one, other = list(dict.fromkeys(ids[r] for r in (torn or shared)[0]))[:2]
    if len(torn) > MOST_TORN * len(rows_of):
        raise Mistake(
            f"{sum(map(len, shared))} rows share {len(shared)} pictures and {len(torn)} of these have different "
            f"labels, such as ids {one!r} and {other!r}; name the column that tells pictures apart with --id"
        )
    text = f"{sum(map(len, shared))} rows of different ids share {len(shared)} pictures, such as {one!r} and {other!r}"
    return [Note("match", text, sure="guessed")]


def left_over(
    survey: Survey, used: set[str], targets: list[str], asked_ids: set[str], notes: Sequence[Note]
) -> list[Note]:
    """Notes on tables that were not used, but for those that a note is about."""
    free = [t for t in survey.tables if t.name not in used]
    labelled = [t.name for t in free if set(targets) <= set(t.columns)]
    asking = [t.name for t in free if column_of(t, asked_ids, 0.05)]
    known = {*labelled, *asking, *(note.about for note in notes)}
    idle = [t.name for t in free if t.name not in known]
    unused = [Note("unused", f"{', '.join(labelled[:3])} hold {targets[0]!r} too, not used")] if labelled else []
    unused += [Note("unused", f"{name} speaks of test items too and is not used", name) for name in asking]
    if idle:
        some = f"{', '.join(idle[:3])}{' ...' if len(idle) > 3 else ''}"
        unused.append(Note("unused", f"{some} held nothing that was looked for, not used"))
    return unused


def find_sample(survey: Survey) -> Table | None:
    """The sample submission: a table that says so in its name, best by name, then by ids that name pictures."""

    def fit(table: Table) -> int:
        name = table.name.lower().rsplit("/", 1)[-1]
        if "train" in name or len(table.columns) < 2 or table.sources:
            return 0
        return 2 * ("sample" in name or "example" in name) + 2 * ("submi" in name)

    named = [t for t in survey.tables if fit(t)]
    if len(named) < 2:
        return named[0] if named else None
    return max(named, key=lambda t: (fit(t), id_column(t, survey)[1] > ENOUGH, -survey.tables.index(t)))


def sample_id_column(sample: Table, survey: Survey, asked_for: Overrides) -> str:
    """The sample's id column: the one whose values name pictures, else the first."""
    if asked_for.id_column in sample.columns and asked_for.id_column is not None:
        return asked_for.id_column
    column, share = id_column(sample, survey)
    return column if share > ENOUGH else sample.columns[0]


def train_id(table: Table, survey: Survey, sample_id: str) -> str:
    """The id column of a train table: the one whose values name pictures, else the one that the sample has."""
    column, share = id_column(table, survey)
    if table.sources or sample_id not in table.columns:
        return column
    direct = share > ENOUGH and path_column(table, survey) == column
    return column if direct else sample_id


def train_tables(
    tables: Sequence[Table], survey: Survey, sample: Table | None, sample_id: str, asked_for: Overrides
) -> list[Table]:
    """The tables that may hold train labels, likeliest first: they name pictures, are not about test ids and have the
    asked columns.
    """
    asked = {c.lower() for c in (asked_for.target or ([c for c in sample.columns if c != sample_id] if sample else ()))}
    test_ids = set(sample.cells[sample_id]) if sample else set()
    ranked = []
    for i, table in enumerate(tables):
        if len(table.columns) < 2:
            continue
        column, share = (asked_for.id_column, 1.0) if asked_for.id_column in table.columns else id_column(table, survey)
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
    survey: Survey,
    train: Table,
    sample: Table | None,
    sample_id: str,
    id_name: str,
    asked_for: Overrides,
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
            column = id_name if id_name in table.columns else id_column(table, survey)[0]
            cells = table.cells[column]
            counted = column == "row" and table.sources  # anew in every table
            own = counted or set(cells) - set(train.cells[id_name])
            if for_validation(table) and has_labels(table, train, id_name, asked_for):
                fits = last_resort
            else:
                fits = "test" in name or set(table.columns) < set(train.columns)
            if own and fits and locate(cells, table, column, survey, -1).share > ENOUGH:
                ranked.append((order, table, column))
    return max(ranked, key=lambda r: r[0])[1:] if ranked else (None, "")


def has_labels(table: Table, train: Table, id_name: str, asked_for: Overrides) -> bool:
    """Whether a table has the columns that would be the target if test rows had none."""
    try:
        targets, _ = find_targets(train, id_name, None, "", (), asked_for)
    except Mistake:
        return set(train.columns) <= set(table.columns)
    return set(targets) <= set(table.columns)


def positives(train: Table, targets: list[str], id_name: str) -> tuple[list[int], list[Note]]:
    """The rows that count, and a note: where a table says of each label whether it is there, those that are."""
    every = list(range(train.rows))
    ids = train.cells[id_name]
    if len(targets) != 1 or len(set(ids)) == len(ids):
        return every, []
    for column in train.columns:
        cells = train.cells[column]
        if WEIGHT_WORDS.search(column) and column not in targets and number_of(min(cells)) == 0 and are_flags(cells):
            keep = [i for i in every if number_of(cells[i]) == 1]
            text = f"{train.rows - len(keep)} rows say {column} 0, that a label is absent, and are left out"
            return keep, [Note("cells", text, column, "likely")]
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
