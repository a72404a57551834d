"""Layouts with a train table, be it csv, json, bson or an array; pictures anywhere, perhaps a sample and test table."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from autoclimb.data.files.formats import unread_words
from autoclimb.data.files.table import Table, with_rows, without_columns
from autoclimb.data.read.choosing import ENOUGH, named, shifted, some_columns
from autoclimb.data.read.items import Evidence, Items, Listed
from autoclimb.data.read.joins import Joined, joined_tables
from autoclimb.data.read.matching import Located, locate
from autoclimb.data.read.naming import is_bare
from autoclimb.data.read.parts import for_validation, in_parts, unlabelled, with_validation
from autoclimb.data.read.picture_columns import column_of
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.roles import find_sample, find_test, refuse_several, submits, train_id, train_tables
from autoclimb.data.read.splits import TRAIN
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import WEIGHT_WORDS, find_targets
from autoclimb.data.read.test_set import Tested, rows_of_ids, test_items, without_label
from autoclimb.data.read.values import ABSENT, BLANK, are_flags, are_whole, number_of
from autoclimb.data.sources import first_picture, parts_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

LOOKED_AT = 100  # rows from which a column is judged
MOST_TORN = 0.05  # share of pictures with rows of different ids and labels, from which ids are no names of pictures


def read_tables(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its tables, or None where no table holds train labels.

    Raises Mistake where the tables contradict each other or leave the target open.
    """
    refuse_several(survey)
    sample = find_sample(survey, asked_for, asked_for.target)
    evidence = Evidence(survey, sample, asked_for)
    named = {c for c in (asked_for.group, *(asked_for.target or ()), *evidence.answers) if c}
    others = [t for t in survey.tables if not sample or t is not sample.table]
    joint = joined_tables(others, evidence, named)
    tables, parted = in_parts(joint.tables, named)
    contenders = train_tables(tables, evidence, set(joint.links))
    if not contenders or (all(map(for_validation, contenders)) and has_train_folders(survey)):
        return None
    train = train_items(contenders, joint, evidence)
    name = train.table.whole or train.table.name
    test = find_test(tables, train, evidence)
    if sample is None and test is None and name in joint.links:
        test = unlabelled_sources(train, *joint.links[name])
    shared = test.others if test and not set(train.table.columns) <= set(test.table.columns) else []
    targets, notes = find_targets(train, sample, (*shared, *joint.known.get(name, ()), *train.where.views), asked_for)
    notes += [*joint.notes, *([parted[name]] if train.table.whole else [])]
    train, test, used, more = with_rows_aside(train, test, targets, tables, evidence)
    notes += more
    if test and set(targets) <= set(test.table.columns):
        if any(cell not in BLANK for t in targets for cell in test.table.cells[t]):
            notes.append(Note("test", f"the labels of {test.table.name} are not looked at", test.table.name))
        test = replace(test, table=without_columns(test.table, targets))
    labels = {target: train.table.cells[target] for target in targets}
    notes = [*rivals(train, survey), *shared_pictures(train.ids, train.where.files, [*labels.values()]), *notes]
    tested = test_items(survey, sample, test, set(train.where.files))
    refuse_shifted(train, tested, survey)
    where = as_tested(train.where, tested)
    rows, less = positives(train, targets)
    asked_ids = evidence.asked_ids if sample else set(test.ids) if test else set()
    rows = [i for i in rows if train.ids[i] not in asked_ids or any(cells[i] not in BLANK for cells in labels.values())]
    if sample is None and test is not None:  # a list of some of the labelled items
        tested_files = set(tested.files) - {""}
        rows = [i for i in rows if where.files[i] not in tested_files]
    used |= {t.whole for t in tables if t.name in used}
    if set(tested.files) - {""} and not {where.files[i] for i in rows} & set(tested.files):  # test rows were left out
        tested = replace(tested, notes=tuple(note for note in tested.notes if note.kind != "shared"))
    source = joint.sources.get(name, "")
    notes += [*less, *source_note(source)]
    notes += left_over(survey, used, targets, set(tested.ids), (*notes, *where.notes, *tested.notes))
    if where.channels != tested.channels and any(tested.files):
        text = f"train pictures have {where.channels} channels, test pictures {tested.channels}"
        notes.append(Note("channels", text))
    labels_from = Note("labels", f"labels from {train.table.name}, {train.table.rows} rows", train.table.name)
    raw = RawTask(
        train_ids=train.ids,
        train_files=where.files,
        labels=labels,
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=train.id_name,
        sample=sample.table if sample else None,
        sample_id=sample.id_name if sample else "",
        others={c: train.table.cells[c] for c in train.others if c not in targets},
        test_others=columns_for(tested.ids, test),
        channels=where.channels,
        versions=train.table.cells[source] if source else None,
        notes=(labels_from, *dict.fromkeys((*notes, *where.notes, *tested.notes))),
    )
    return raw.only(rows)


def as_tested(where: Located, tested: Tested) -> Located:
    """The train pictures as test items have them: one each, without other columns' pictures, where those have one."""
    files = [file for file in tested.files if file]
    if not where.views or where.names or not files or any(len(parts_of(file)) > 1 for file in files):
        return where
    notes = tuple(note for note in where.notes if note.about not in where.views)
    return replace(where, files=[first_picture(file) for file in where.files], notes=notes, views=())


def has_train_folders(survey: Survey) -> bool:
    """Whether train pictures lie in several folders, which may be classes."""
    homes = {w.rpartition("/")[0] for w, part in zip(survey.pictures, survey.parts, strict=True) if part == TRAIN}
    return len(homes) > 1


def train_items(contenders: Sequence[Table], joint: Joined, evidence: Evidence) -> Items:
    """The first of some tables whose ids have pictures, and where. Raises Mistake where none has, or none for sure."""
    survey, named_id = evidence.survey, evidence.asked_for.id_column
    located = []
    for table in contenders:
        name = table.whole or table.name
        key = joint.ids.get(name) or joint.links.get(name, ("",))[0] if evidence.sample is None else ""
        id_name = named_id or key or train_id(table, evidence)
        if id_name not in table.columns:
            raise Mistake(f"{table.name} has no column {id_name!r}; it has {', '.join(table.columns)}")
        located.append(Items(table, id_name, locate(table.cells[id_name], table, id_name, survey, 1)))
        if located[-1].where.share > ENOUGH:
            break
    train = max(located, key=lambda items: items.where.share > ENOUGH)
    ids, where = train.ids, train.where
    if where.share <= ENOUGH:
        lost = next(name for name, file in zip(ids, where.files, strict=True) if not file)
        looks = repr(survey.pictures[0]) if survey.pictures else "none"
        advice = "" if named_id else "name the right column with --id, or "
        unread = unread_words(survey.other)
        raise Mistake(
            f"{where.files.count('')} of {len(ids)} values of column {train.id_name!r} in {train.table.name} name no "
            f"picture (such as {lost!r}); pictures look like {looks}; {advice}complete the download{unread}"
        )
    if where.doubt:
        raise Mistake(f"{train.table.name}: {where.doubt}")
    if where.names and len(set(ids)) < len(set(where.names)):
        cells = {**train.table.cells, train.id_name: list(where.names)}
        return replace(train, table=replace(train.table, cells=cells))
    return train


def with_rows_aside(
    train: Items, test: Listed | None, targets: list[str], tables: Sequence[Table], evidence: Evidence
) -> tuple[Items, Listed | None, set[str], list[Note]]:
    """The train rows with those of tables set aside for validation, and the test: where nothing says what it is, such a
    table, or the rows without a label. Then the names of the tables used, and notes.
    """
    survey, sample, spare = evidence.survey, evidence.sample, None
    if sample is None and test and test.table.part and set(targets) <= set(test.table.columns):
        bare, spare = unlabelled(test.table, targets)
        test = replace(test, table=bare)
    asked = sample.ids if sample else test.ids if test else []
    used = {listed.table.name for listed in (train, test, sample) if listed}
    aside = [*(t for t in tables if t.part != "test" and not submits(t)), *([spare] if spare else [])]
    with_more, notes = with_validation(train, targets, aside, survey, asked, used)
    if sample is not None or test is not None or without_label(survey, set(with_more.where.files)):
        return with_more, test, used, notes
    test = find_test(tables, train, evidence, last_resort=True)
    if test:
        name = test.table.name
        text = f"nothing else could be the test: the {test.table.rows} rows of {name} are, not learned from"
        return train, test, used | {name}, [Note("test", text, name, "guessed")]
    labelled, test, more = blanks_as_test(with_more, targets)
    return labelled, test, used, [*notes, *more]


def rivals(train: Items, survey: Survey) -> list[Note]:
    """Notes on other columns of numbers that would name pictures too, and others than those taken."""
    notes = []
    taken = train.where.files[:LOOKED_AT]
    for column in some_columns(train.table):
        cells = train.table.cells[column][:LOOKED_AT]
        if column == train.id_name or len(set(cells)) < 0.9 * len(cells) or not all(map(is_bare, cells)):
            continue
        hits = [named(c, survey) for c in cells]
        other = [
            file for hit, file in zip(hits, taken, strict=True) if hit and file not in [survey.file(i) for i in hit]
        ]
        if sum(map(bool, hits)) > ENOUGH * len(hits) and len(other) > len(hits) / 2:
            text = (
                f"column {column!r} would name pictures too, others than {train.id_name!r} does; --id {column} takes it"
            )
            notes.append(Note("match", text, sure="guessed"))
    return notes


def source_note(source: str) -> list[Note]:
    """The note on labels that were given for all rows of one source, none without."""
    text = f"rows of one {source!r} share a label and stay in one fold; --group none deals rows freely"
    return [Note("group", text, source)] if source else []


def refuse_shifted(train: Items, tested: Tested, survey: Survey) -> None:
    """Raises Mistake where the ids of train and test together count from another number than the pictures do."""
    together = [*zip(train.ids, train.where.files, strict=True), *zip(tested.ids, tested.files, strict=True)]
    if sum(not file for _, file in together) != 1 or set(train.ids) & set(tested.ids):
        return
    number = {source: i for i, source in enumerate(survey.sources)}
    doubt = shifted([name for name, _ in together], [number.get(file, -1) for _, file in together], survey, 0)
    if doubt:
        raise Mistake(f"{train.table.name}: {doubt}")


def unlabelled_sources(train: Items, key: str, other: Table) -> Listed | None:
    """The sources of pictures in another table that have no label, as a table."""
    known = set(train.table.cells[key])
    column = next(c for c in other.columns if known & set(other.cells[c]))
    free = [c for c in dict.fromkeys(other.cells[column]) if c not in known]
    return Listed(Table(f"{other.name} without labels", {train.id_name: free}), train.id_name) if free else None


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


def blanks_as_test(train: Items, targets: Sequence[str]) -> tuple[Items, Listed | None, list[Note]]:
    """The train items without the rows that have no label, which are the test where nothing else is.

    A word such as `?` or `NA` is none where all rows that have it lie together at one end of the table, and so is -1.
    """
    table, files = train.table, train.where.files
    bare = [i for i in range(table.rows) if all(table.cells[t][i] in BLANK for t in targets)]
    ask = ""
    if not bare:
        marked = [i for i in range(table.rows) if all(table.cells[t][i] in ABSENT for t in targets)]
        if not marked and len(targets) == 1:
            marked = minus_ones(table.cells[targets[0]])
            if set(table.cells[targets[0]]) == {"-1", "0", "1"}:
                ask = "empty the cells of -1, or number the classes from 0 if it is one"
        block = bool(marked) and marked[-1] - marked[0] + 1 == len(marked)
        bare = marked if block and (marked[0] == 0 or marked[-1] == table.rows - 1) else []
    bare = [i for i in bare if files[i]]
    if not bare or len(bare) > table.rows - 2:
        return train, None, []
    keep = sorted(set(range(table.rows)) - set(bare))
    text = f"{len(bare)} rows of {table.name} have no label and nothing else could be the test: they are answered"
    labelled = Items(with_rows(table, keep), train.id_name, replace(train.where, files=[files[i] for i in keep]))
    test = Listed(without_columns(with_rows(table, bare), targets), train.id_name)
    return labelled, test, [Note("test", text, sure="guessed" if ask else "likely", ask=ask)]


def minus_ones(cells: list[str]) -> list[int]:
    """The rows of -1 among codes from 0 on, [] where rows are sorted by their code: then it may be a class."""
    codes = set(cells) - {"-1"}
    if "-1" not in cells or len(codes) < 2 or not are_whole(codes) or min(map(float, codes)) < 0:
        return []
    runs = 1 + sum(a != b for a, b in pairwise(cells))
    return [i for i, c in enumerate(cells) if c == "-1"] if runs > len(codes) + 1 else []


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


def positives(train: Items, targets: list[str]) -> tuple[list[int], list[Note]]:
    """The rows that count, and a note: where a table says of each label whether it is there, those that are."""
    every = list(range(train.table.rows))
    if len(targets) != 1 or len(set(train.ids)) == len(train.ids):
        return every, []
    for column, cells in train.table.cells.items():
        if WEIGHT_WORDS.search(column) and column not in targets and number_of(min(cells)) == 0 and are_flags(cells):
            keep = [i for i in every if number_of(cells[i]) == 1]
            text = f"{len(every) - len(keep)} rows say {column} 0, that a label is absent, and are left out"
            return keep, [Note("cells", text, column, "likely")]
    return every, []


def columns_for(ids: list[str], listed: Listed | None) -> dict[str, list[str]]:
    """The table's other columns in the order of some ids, blank where the table lacks an id."""
    if listed is None:
        return {}
    at = rows_of_ids(ids, listed.ids)
    return {c: [listed.table.cells[c][i] if i >= 0 else "" for i in at] for c in listed.others}
