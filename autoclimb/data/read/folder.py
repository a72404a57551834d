"""A folder as downloaded -> Task. Read by evidence, not by name; whatever was inferred is said in the notes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from autoclimb.arrays import row_keys
from autoclimb.data.checks import contradiction
from autoclimb.data.files.formats import ending, unread_words
from autoclimb.data.files.npy import MOST_SLICES, spread
from autoclimb.data.read.choosing import ENOUGH
from autoclimb.data.read.class_folders import read_class_folders, read_file_names
from autoclimb.data.read.class_names import as_the_sample_shows
from autoclimb.data.read.columns import other_columns, read_metadata, target_columns
from autoclimb.data.read.extras import masks_of
from autoclimb.data.read.form import columns_beside, read_form
from autoclimb.data.read.groups import grouping_of
from autoclimb.data.read.labels import read_labels
from autoclimb.data.read.levels import shown
from autoclimb.data.read.long import unfolded
from autoclimb.data.read.picture_columns import names_pictures
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.sidecars import refuse_unread_annotations
from autoclimb.data.read.survey import Survey, survey_of
from autoclimb.data.read.tables import read_tables
from autoclimb.data.read.targets import LABEL_WORDS
from autoclimb.data.read.values import BLANK, same_name
from autoclimb.data.sources import pictures
from autoclimb.errors import Mistake
from autoclimb.types import Metric, Note, Task

FAMILIES: dict[str, Callable[[Survey, Overrides], RawTask | None]] = {
    "tables": read_tables,
    "class folders": read_class_folders,
    "file names": read_file_names,
}
MANY_CONFLICTS = 0.2  # share of ids with rows of different labels, from which ids are hardly those of pictures
SHOWN = 6  # cells of the sample's first row that people see
BINARY_TABLES = (".xlsx", ".xlsm", ".parquet")  # which are where the labels are, or else nobody would keep them


@dataclass(frozen=True)
class Layout:
    """A folder as understood before a metric says what its labels are."""

    survey: Survey
    raw: RawTask
    group: str | None  # the column asked for, "none" for no groups


def read_folder(
    path: Path,
    metric: Metric | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> Task:
    """The competition in a folder. Opens tables, no pictures: 200,000 files take seconds.

    `metric` decides between kinds that look alike (grades or classes, counts or classes). `id_column`, `target`
    (several columns with commas between) and `group` ("none" for no groups) overrule what the folder says.

    Raises Mistake, one line that says what was found and what to do, where the folder cannot be understood.
    """
    return task_of(layout_of(path, id_column, target, group), metric)


def layout_of(path: Path, id_column: str | None = None, target: str | None = None, group: str | None = None) -> Layout:
    """The layout of a folder, of which `task_of` makes a task for one metric or another. Raises as `read_folder`."""
    path = Path(path)
    survey = survey_of(path)
    survey = replace(
        survey, tables=tuple(unfolded(t, lambda ids: names_pictures(ids, survey) > ENOUGH) for t in survey.tables)
    )
    named, positive = split_names(target, survey)
    asked_for = Overrides(id_column, named, group)
    lost = "".join(f"; {note.text}" for note in [n for n in survey.notes if n.kind in ("ignored", "refused")][:2])
    try:
        readings = ((name, read(survey, asked_for)) for name, read in FAMILIES.items())
        family, raw = next(((name, raw) for name, raw in readings if raw is not None), ("", None))
    except Mistake as mistake:
        raise Mistake(f"{mistake}{lost}") from None
    ignored = next((n for n in survey.notes if n.kind == "ignored" and ending(n.about) in BINARY_TABLES), None)
    if family == "file names" and ignored:
        raise Mistake(f"{ignored.text}; or take it out of the folder: labels would be taken from the names of pictures")
    if raw is None:
        tables = shown([t.name for t in survey.tables]) or "none"
        raise Mistake(
            f"no labels found in {str(path)!r}: no table has a column of picture names and a target (tables: "
            f"{tables}), no level of folders holds classes{seen_instead(survey)}{unread_words(survey.other)}{lost}; "
            f"{advice(asked_for)}"
        )
    if family != "tables":
        refuse_unread_labels(survey, raw)
        refuse_unread_annotations(raw)
    raw = replace(raw, literal=family != "tables", positive=positive)
    return Layout(survey, replace(raw, beside=columns_beside(raw)), group)


def seen_instead(survey: Survey) -> str:
    """What a folder without labels holds instead, the end of a sentence: masks, or pictures in one folder alone."""
    masks = masks_of(survey)
    if masks:
        return f"; {len(masks)} masks such as {survey.pictures[min(masks)]} are not learned"
    homes = {where.rpartition("/")[0] for where in survey.pictures}
    home = min(homes, default="")
    if len(homes) != 1 or not home:
        return ""
    return f"; all {len(survey.pictures)} pictures lie in the one folder {home}: a second class needs one of its own"


def refuse_unread_labels(survey: Survey, raw: RawTask) -> None:
    """Raises Mistake where labels would be taken from folders or names although a table of labels names no picture."""
    classes = {same_name(cell) for cells in raw.labels.values() for cell in cells}
    for table in survey.tables:
        column = next((c for c in table.columns if LABEL_WORDS.match(c.lower())), "")
        if not column or table is raw.sample or table.rows < len(raw.train_ids) / 2:
            continue
        values = {same_name(cell) for cell in table.cells[column]} - BLANK
        if len(values) > 1 and not values & classes:
            key = next(c for c in table.columns if c != column) if len(table.columns) > 1 else column
            raise Mistake(
                f"{table.name} has labels in {column!r} but names no picture (such as {table.cells[key][0][:40]!r} in "
                f"{key!r}), so labels would come from {shown(sorted(classes))}; make its names agree with the "
                f"files, or take it out of the folder"
            )


def advice(asked_for: Overrides) -> str:
    """What may help where no labels were found, but for what was given already."""
    given = [flag for flag, value in (("--id", asked_for.id_column), ("--target", asked_for.target)) if value]
    if not given:
        return "name columns with --id and --target, or write a csv of file and label if labels are in the file names"
    left = (
        ""
        if len(given) == 2
        else f", or name the column of {'labels with --target' if asked_for.id_column else 'pictures with --id'}"
    )
    return f"no table whose rows name pictures has the columns given with {' and '.join(given)}{left}"


def task_of(layout: Layout, metric: Metric | None) -> Task:
    """The task that a layout is with a metric, or as it looks without one. Raises as `read_folder`."""
    survey = layout.survey
    raw = without_repeats(joined_sets(layout.raw, metric))
    absent = tuple(n for n, f in zip(raw.train_ids, raw.train_files, strict=True) if not f)
    unseen = tuple(n for n, f in zip(raw.test_ids, raw.test_files, strict=True) if not f)
    raw = with_pictures(raw)
    labels = read_labels(raw, metric, survey.root)
    labels, renamed = as_the_sample_shows(raw, labels, survey, metric)
    form, form_notes = read_form(raw, labels, metric)
    if len(labels.rows) < 2:
        raise Mistake(f"{len(labels.rows)} train rows have both a label and a picture; that is too few to learn from")
    targets = target_columns(raw)
    raw = raw.only(labels.rows.tolist())
    grouping = grouping_of(raw, labels, layout.group, survey.root)
    label_of = row_keys(labels.target)
    metadata, useless = read_metadata(raw, label_of)
    others, column_notes = other_columns(raw, label_of, grouping, metadata, useless)
    task = Task(
        name=survey.root.name,
        kind=labels.kind,
        classes=labels.classes,
        train_ids=tuple(raw.train_ids),
        train_files=tuple(raw.train_files),
        target=labels.target,
        test_ids=tuple(raw.test_ids),
        test_files=tuple(raw.test_files),
        form=replace(form, first=first_row(raw)),
        groups=grouping.groups,
        test_groups=grouping.test_groups,
        grades=labels.grades,
        channels=raw.channels,
        metadata=metadata,
        soft=labels.soft,
        columns=(*targets, *others),
        other_files=tuple(sorted(survey.other.items(), key=lambda e: (-e[1], e[0]))),
        unreadable_train=absent,
        unreadable_test=unseen,
        notes=(
            *raw.notes,
            *labels.notes,
            *renamed,
            *form_notes,
            *without_picture(absent, "train ids have no picture and are left out"),
            *without_picture(unseen, "test ids have no picture and get a constant answer"),
            *grouping.notes,
            *column_notes,
            *survey.notes,
        ),
    )
    if raw.literal:
        return task
    return replace(task, notes=(*contradiction(task), *task.notes, *left_pictures(survey, task)))


def left_pictures(survey: Survey, task: Task) -> list[Note]:
    """A note on pictures that are neither train nor test items, by folder, none where all are."""
    items = (*task.train_files, *task.test_files)
    if len(survey.sources) <= len(items) or any("\x1d" in f or "\x1e" in f for f in items[:100]):
        return []
    used = set(items)
    left = [p for p, s in zip(survey.pictures, survey.sources, strict=True) if s not in used]
    if not left or len(left) == len(survey.pictures):  # arrays are opened by their rows
        return []
    folders = Counter(path.rpartition("/")[0] or "." for path in left)
    some = ", ".join(f"{n} in {folder}" for folder, n in folders.most_common(3))
    more = " ..." if len(folders) > 3 else ""
    return [
        Note("left", f"{len(left)} of {len(survey.pictures)} pictures are neither train nor test items: {some}{more}")
    ]


def first_row(raw: RawTask) -> tuple[str, ...]:
    """The first cells of the sample's first row, its id first."""
    if raw.sample is None:
        return ()
    return tuple(raw.sample.cells[c][0] for c in (raw.sample_id, *raw.answers[:SHOWN]))


def without_picture(ids: tuple[str, ...], what: str) -> list[Note]:
    """A note on ids without a picture, none where there are none."""
    some = ", ".join(i if len(i) < 60 else f"{i[:60]}..." for i in ids[:3])
    return [Note("missing", f"{len(ids)} {what} ({some}{' ...' if len(ids) > 3 else ''})")] if ids else []


def split_names(target: str | None, survey: Survey) -> tuple[tuple[str, ...] | None, str]:
    """The target columns the user named, None for none, and the positive class of two, "" where they name none.

    A name that a table has is one column; others are several with commas between, or `COLUMN=CLASS`, where the column
    may be left out.
    """
    if not target:
        return None, ""
    if any(target in t.columns for t in survey.tables):
        return (target,), ""
    column, _, positive = target.partition("=")
    names = tuple(part.strip() for part in column.split(",") if part.strip())
    return names or None, positive.strip()


def joined_sets(raw: RawTask, metric: Metric | None) -> RawTask:
    """The same with one row an id where the table has a row per picture and label and the metric scores sets."""
    if len(raw.labels) != 1 or (metric and ("multilabel" not in metric.kinds or metric.wants in ("number", "grade"))):
        return raw
    ((name, cells),) = raw.labels.items()
    sets: dict[str, dict[str, None]] = {}
    for i, cell in zip(raw.train_ids, cells, strict=True):
        sets.setdefault(i, {})[cell] = None
    several = sum(1 for s in sets.values() if len(s) > 1)
    empty = sum(1 for s in sets.values() if set(s) <= BLANK) if metric and metric.wants == "labels" else 0
    if (
        max(several, empty) < 0.1 * len(sets)
        or len({c for s in sets.values() for c in s}) > len(sets) / 2
        or any("|" in c for c in cells)
    ):
        return raw
    first = {i: row for row, i in reversed(list(enumerate(raw.train_ids)))}
    once = raw.only([first[i] for i in sets])
    text = f"{several} ids have several rows and {empty} no label: their labels {name!r} are read as sets"
    note = Note("cells", text, name, "likely")
    return replace(
        once,
        labels={name: ["|".join(c for c in s if c not in BLANK) for s in sets.values()]},
        joined=True,
        notes=(*raw.notes, note),
    )


def without_repeats(raw: RawTask) -> RawTask:
    """The same with every train id once: the label that most of its rows have counts, the first of equals."""
    repeats = len(raw.train_ids) - len(set(raw.train_ids))
    if not repeats:
        return raw
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(raw.train_ids):
        rows_of.setdefault(name, []).append(row)
    rows, conflicts = [], []
    several: dict[int, str] = {}
    for name, places in rows_of.items():
        labels = {row: tuple(cells[row] for cells in raw.labels.values()) for row in places}
        votes = Counter(label for label in labels.values() if not set(label) <= BLANK)
        winner = votes.most_common(1)[0][0] if votes else labels[places[0]]
        rows.append(next(row for row in places if labels[row] == winner))
        files = dict.fromkeys(raw.train_files[row] for row in places if raw.train_files[row])
        if len(files) > 1:
            several[rows[-1]] = pictures(list(files)[k] for k in spread(len(files), MOST_SLICES))
        if len(votes) > 1:
            conflicts.append(name)
    text = f"{repeats} train rows repeat an id and are left out"
    if several:
        text = f"{repeats} train rows repeat an id: their pictures are those of one item ({len(several)} have several)"
    if conflicts:
        who = f"{len(conflicts)} ids have" if len(conflicts) > 1 else "1 id has"
        text += (
            f"; {who} rows of different labels, of which the most frequent counts, the first of equals "
            f"({', '.join(conflicts[:3])})"
        )
    many = len(conflicts) > MANY_CONFLICTS * len(rows_of)
    ask = "leave one row an id, or name another column with --id" if many else ""
    note = Note("repeated", text, sure="guessed" if conflicts else "sure", ask=ask)
    files_of = [several.get(i, raw.train_files[i]) for i in rows]
    return replace(raw.only(rows), train_files=files_of, notes=(*raw.notes, note))


def with_pictures(raw: RawTask) -> RawTask:
    """The same with the train rows that have a picture: what others are called is no class that could be learned."""
    rows = [i for i, file in enumerate(raw.train_files) if file]
    return raw if len(rows) == len(raw.train_files) else raw.only(rows)
