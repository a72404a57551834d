"""Layouts with a train table, be it csv, json, bson or an array; pictures anywhere, perhaps a sample and test table."""

from collections.abc import Sequence
from dataclasses import replace

from autoclimb.data.files.table import Table, with_rows, without_columns
from autoclimb.data.read.choosing import shifted
from autoclimb.data.read.joins import joined_tables
from autoclimb.data.read.matching import ENOUGH, Located, column_of, locate
from autoclimb.data.read.parts import in_parts, unlabelled, with_validation
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.roles import find_sample, find_test, sample_id_column, train_id, train_tables
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import WEIGHT_WORDS, find_targets
from autoclimb.data.read.test_set import rows_of_ids, test_items, without_label
from autoclimb.data.read.values import ABSENT, BLANK, are_flags, number_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

MOST_TORN = 0.05  # share of pictures with rows of different ids and labels, from which ids are no names of pictures


def read_tables(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its tables, or None where no table holds train labels.

    Raises Mistake where the tables contradict each other or leave the target open.
    """
    sample = find_sample(survey, asked_for.target)
    sample_id = sample_id_column(sample, survey, asked_for) if sample else ""
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    named = {c for c in (asked_for.group, *(asked_for.target or ()), *answers) if c}
    asked_ids = set(sample.cells[sample_id]) if sample else set()
    joint = joined_tables([t for t in survey.tables if t is not sample], survey, asked_ids, answers, named)
    tables, parted = in_parts(joint.tables, named)
    contenders = train_tables(tables, survey, sample, sample_id, asked_for, set(joint.links))
    if not contenders:
        return None
    located = []
    for table in contenders:
        name = table.whole or table.name
        key = joint.ids.get(name) or joint.links.get(name, ("",))[0] if sample is None else ""
        id_name = asked_for.id_column or key or train_id(table, survey, sample, sample_id)
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
            f"no picture (such as {lost!r}); pictures look like {looks}; "
            + (
                "complete the download"
                if asked_for.id_column
                else "name the right column with --id, or complete the download"
            )
        )
    if where.doubt:
        raise Mistake(f"{train.name}: {where.doubt}")
    if where.names and len(set(ids)) < len(set(where.names)):
        train = replace(train, cells={**train.cells, id_name: list(where.names)})
    test, test_id = find_test(tables, survey, train, sample, sample_id, id_name, asked_for, set(where.files))
    if sample is None and test is None and train.name in joint.links:
        test, test_id = unlabelled_sources(train, id_name, *joint.links[train.name])
    shared = test.columns if test and not set(train.columns) <= set(test.columns) else []
    known = (*(c for c in shared if c != test_id), *joint.known.get(train.whole or train.name, ()))
    targets, notes = find_targets(train, id_name, sample, sample_id, known, asked_for)
    notes += [*joint.notes, *([parted[train.whole]] if train.whole else [])]
    spare = None
    if sample is None and test and test.part and set(targets) <= set(test.columns):
        test, spare = unlabelled(test, targets)
    asked = sample.cells[sample_id] if sample else test.cells[test_id] if test else []
    used = {t.name for t in (train, test, sample) if t}
    aside = [*(t for t in tables if t.part != "test"), *([spare] if spare else [])]
    joined, placed, more = with_validation(train, where, id_name, targets, aside, survey, asked, used)
    if sample is None and test is None and not without_label(survey, set(placed.files)):
        test, test_id = find_test(tables, survey, train, None, "", id_name, asked_for, set(), last_resort=True)
        if test:
            text = f"nothing else could be the test: the {test.rows} rows of {test.name} are, not learned from"
            notes.append(Note("test", text, test.name, "guessed"))
            used.add(test.name)
            joined, placed, more = train, where, []
    train, where = joined, placed
    if sample is None and test is None and not without_label(survey, set(where.files)):
        train, where, test, more_test = blanks_as_test(train, where, targets)
        test_id = id_name
        notes += more_test
    if test and set(targets) <= set(test.columns):
        if any(cell not in BLANK for t in targets for cell in test.cells[t]):
            notes.append(Note("test", f"the labels of {test.name} are not looked at", test.name))
        test = without_columns(test, targets)
    ids = train.cells[id_name]
    where_notes = shared_pictures(ids, where.files, [train.cells[t] for t in targets])
    keep, less = positives(train, targets, id_name)
    source = joint.sources.get(train.whole or train.name, "")
    if source:
        text = f"rows of one {source!r} share a label and stay in one fold; --group none deals rows freely"
        notes.append(Note("group", text, source))
    unasked = asked_ids if sample else set(test.cells[test_id]) if test else set()
    keep = [i for i in keep if ids[i] not in unasked or any(train.cells[t][i] not in BLANK for t in targets)]
    tested = test_items(survey, sample, sample_id, test, test_id, set(where.files))
    number = {source: i for i, source in enumerate(survey.sources)}
    together = [*zip(ids, where.files, strict=True), *zip(tested.ids, tested.files, strict=True)]
    if sum(not file for _, file in together) == 1 and len(set(ids) & set(tested.ids)) == 0:
        doubt = shifted([name for name, _ in together], [number.get(file, -1) for _, file in together], survey, 0)
        if doubt:
            raise Mistake(f"{train.name}: {doubt}")
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
        versions=[train.cells[source][i] for i in keep] if source else None,
        notes=(
            Note("labels", f"labels from {train.name}, {train.rows} rows", train.name),
            *dict.fromkeys((*where_notes, *notes, *more, *less, *where.notes, *tested.notes)),
        ),
    )


def unlabelled_sources(train: Table, id_name: str, key: str, other: Table) -> tuple[Table | None, str]:
    """The sources of pictures in another table that have no label, as a table, and its column."""
    column = next(c for c in other.columns if set(train.cells[key]) & set(other.cells[c]))
    known = set(train.cells[key])
    free = [c for c in dict.fromkeys(other.cells[column]) if c not in known]
    return (Table(f"{other.name} without labels", {id_name: free}), id_name) if free else (None, "")


def shared_pictures(ids: Sequence[str], files: Sequence[str], labels: Sequence[Sequence[str]]) -> list[Note]:
    """A note where different ids have one picture. Raises Mistake where many such rows have different labels."""
    used = [f for f in files if f]
    if len(set(used)) == len(used):
        return []
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


def blanks_as_test(
    train: Table, where: Located, targets: Sequence[str]
) -> tuple[Table, Located, Table | None, list[Note]]:
    """The train table and its pictures without the rows that have no label, which are the test where nothing else is.

    A word such as `?` or `NA` is none where all rows that have it lie together at one end of the table.
    """
    bare = [i for i in range(train.rows) if all(train.cells[t][i] in BLANK for t in targets)]
    if not bare:
        marked = [i for i in range(train.rows) if all(train.cells[t][i] in ABSENT for t in targets)]
        block = bool(marked) and marked[-1] - marked[0] + 1 == len(marked)
        bare = marked if block and (marked[0] == 0 or marked[-1] == train.rows - 1) else []
    bare = [i for i in bare if where.files[i]]
    if not bare or len(bare) > train.rows - 2:
        return train, where, None, []
    keep = sorted(set(range(train.rows)) - set(bare))
    text = f"{len(bare)} rows of {train.name} have no label and nothing else could be the test: they are answered"
    located = replace(where, files=[where.files[i] for i in keep])
    return (
        with_rows(train, keep),
        located,
        without_columns(with_rows(train, bare), targets),
        [Note("test", text, sure="likely")],
    )


def left_over(
    survey: Survey, used: set[str], targets: list[str], asked_ids: set[str], notes: Sequence[Note]
) -> list[Note]:
    """Notes on tables that were not used, but for those that a note is about."""
    free = [t for t in survey.tables if t.name not in used]
    labelled = [t.name for t in free if set(targets) <= set(t.columns)]
    spoken = {note.about for note in notes}
    asking = [t.name for t in free if t.name not in spoken and column_of(t, asked_ids, 0.05)]
    known = {*labelled, *asking, *spoken}
    idle = [t.name for t in free if t.name not in known]
    unused = [Note("unused", f"{', '.join(labelled[:3])} hold {targets[0]!r} too, not used")] if labelled else []
    unused += [Note("unused", f"{name} speaks of test items too and is not used", name) for name in asking]
    if idle:
        some = f"{', '.join(idle[:3])}{' ...' if len(idle) > 3 else ''}"
        unused.append(Note("unused", f"{some} held nothing that was looked for, not used"))
    return unused


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
    at = rows_of_ids(ids, table.cells[key])
    return {c: [cells[i] if i >= 0 else "" for i in at] for c, cells in table.cells.items() if c != key}
