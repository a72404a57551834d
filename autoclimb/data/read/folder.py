"""A folder as downloaded -> Task. Read by evidence, not by name; whatever was guessed is said in the notes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoclimb.data.read.class_folders import read_class_folders
from autoclimb.data.read.columns import column_notes, columns_of
from autoclimb.data.read.file_names import read_file_names
from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.groups import find_group
from autoclimb.data.read.kinds import Labels, read_form, read_labels
from autoclimb.data.read.metadata import read_metadata
from autoclimb.data.read.renamed import as_the_sample_shows
from autoclimb.data.read.scan import Survey, survey
from autoclimb.data.read.tables import read_tables
from autoclimb.data.read.values import BLANK
from autoclimb.errors import Mistake
from autoclimb.types import Metric, Task

FAMILIES: dict[str, Callable[[Survey, Wish], Found | None]] = {
    "tables": read_tables,
    "class folders": read_class_folders,
    "file names": read_file_names,
}
SHOWN = 6  # cells of the sample's first row that people see
UNREAD = (".tfrec", ".tfrecord", ".h5", ".hdf5", ".parquet", ".mat", ".pkl", ".rar", ".zip", ".7z")


@dataclass(frozen=True)
class Layout:
    """A folder as understood before a metric says what its labels are."""

    seen: Survey
    found: Found
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
    """What lies where in a folder: `task_of` makes a task of it, for one metric or another. Raises as `read_folder`."""
    path = Path(path)
    seen = survey(path)
    wish = Wish(id_column, split_names(target, seen), group)
    lost = "".join(f"; {note}" for note in [n for n in seen.notes if "ignored" in n or "refused" in n][:2])
    try:
        found = next((f for read in FAMILIES.values() if (f := read(seen, wish)) is not None), None)
    except Mistake as mistake:
        raise Mistake(f"{mistake}{lost}") from None
    if found is None:
        tables = ", ".join(t.name for t in seen.tables) or "none"
        unread = "".join(f"; {n} {e} files are not read" for e, n in seen.other.items() if e in UNREAD)
        raise Mistake(
            f"no labels found in {str(path)!r}: no table has a column of picture names and a target (tables: "
            f"{tables}), and no folder holds two class folders{unread}{lost}; name columns with --id and --target"
        )
    return Layout(seen, found, group)


def task_of(layout: Layout, metric: Metric | None) -> Task:
    """The task that a layout is with a metric, or as it looks without one. Raises as `read_folder`."""
    seen, group = layout.seen, layout.group
    found = joined_sets(layout.found, metric)
    found = without_repeats(found)
    labels = read_labels(found, metric)
    labels, renamed = as_the_sample_shows(found, labels, seen.tables, metric)
    form, form_notes = read_form(found, labels, metric)
    keep = [i for i in range(len(found.train_ids)) if labels.kept[i] and found.train_files[i]]
    place = np.cumsum(labels.kept) - 1  # row of the table -> row of the target
    absent = tuple(n for n, f in zip(found.train_ids, found.train_files, strict=True) if not f)
    unseen = tuple(n for n, f in zip(found.test_ids, found.test_files, strict=True) if not f)
    if len(keep) < 2:
        raise Mistake(f"{len(keep)} train rows have both a label and a picture; that is too few to learn from")
    rows = np.array([place[i] for i in keep])
    column, why_groups = group_column(found, labels, group)
    metadata, useless = read_metadata(found, keep)
    names = metadata.names if metadata else ()
    columns = columns_of(found, labels, column, why_groups, names, useless, group is not None)
    return Task(
        name=seen.root.name,
        kind=labels.kind,
        classes=labels.classes,
        train_ids=tuple(found.train_ids[i] for i in keep),
        train_files=tuple(found.train_files[i] for i in keep),
        target=labels.target[rows],
        test_ids=tuple(found.test_ids),
        test_files=tuple(found.test_files),
        form=replace(form, first=first_row(found)),
        groups=versions_of(found, keep) if found.versions and not group else groups_of(found, column, keep),
        grades=labels.grades,
        channels=found.channels,
        metadata=metadata,
        soft=None if labels.soft is None else labels.soft[rows],
        columns=columns,
        other_files=tuple(sorted(seen.other.items(), key=lambda e: (-e[1], e[0]))),
        unreadable_train=absent,
        unreadable_test=unseen,
        notes=(
            *found.notes,
            *labels.notes,
            *renamed,
            *form_notes,
            *without_picture(absent, "train ids have no picture and are left out"),
            *without_picture(unseen, "test ids have no picture and get a constant answer"),
            *why_groups,
            *column_notes(columns, why_groups),
            *order_note(found),
            *seen.notes,
        ),
    )


def first_row(found: Found) -> tuple[str, ...]:
    """The first cells of the sample's first row, its id first."""
    if found.sample is None:
        return ()
    return tuple(found.sample.cells[c][0] for c in (found.sample_id, *found.answers[:SHOWN]))


def without_picture(ids: tuple[str, ...], what: str) -> list[str]:
    """A note on ids without a picture, none where there are none."""
    some = ", ".join(i if len(i) < 60 else f"{i[:60]}..." for i in ids[:3])
    return [f"{len(ids)} {what} ({some}{' ...' if len(ids) > 3 else ''})"] if ids else []


def order_note(found: Found) -> list[str]:
    """A note where the sample's id column is not its first; graders read columns by name."""
    if found.sample is None or found.sample.columns[0] == found.sample_id:
        return []
    return [f"the sample's id column {found.sample_id!r} is not its first; it is written first"]


def split_names(target: str | None, seen: Survey) -> tuple[str, ...] | None:
    """The target columns the user named: one name that a table has, or several with commas between."""
    if not target:
        return None
    if any(target in t.columns for t in seen.tables):
        return (target,)
    return tuple(part.strip() for part in target.split(",") if part.strip())


def joined_sets(found: Found, metric: Metric | None) -> Found:
    """The same with one row an id where the table has a row per picture and label and the metric scores sets."""
    if len(found.labels) != 1 or (metric and ("multilabel" not in metric.kinds or metric.wants in ("number", "grade"))):
        return found
    ((name, cells),) = found.labels.items()
    sets: dict[str, dict[str, None]] = {}
    for i, cell in zip(found.train_ids, cells, strict=True):
        sets.setdefault(i, {})[cell] = None
    several = sum(1 for s in sets.values() if len(s) > 1)
    if (
        several < 0.1 * len(sets)
        or len({c for s in sets.values() for c in s}) > len(sets) / 2
        or any("|" in c for c in cells)
    ):
        return found
    first = {i: row for row, i in reversed(list(enumerate(found.train_ids)))}
    note = f"{several} ids have several rows: their labels {name!r} are read as sets"
    return replace(
        found,
        train_ids=list(sets),
        train_files=[found.train_files[first[i]] for i in sets],
        labels={name: ["|".join(c for c in s if c not in BLANK) for s in sets.values()]},
        others={c: [values[first[i]] for i in sets] for c, values in found.others.items()},
        notes=(*found.notes, note),
    )


def without_repeats(found: Found) -> Found:
    """The same with every train id once: the label that most of its rows have counts, the first of equals."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(found.train_ids):
        rows_of.setdefault(name, []).append(row)
    repeats = len(found.train_ids) - len(rows_of)
    if not repeats:
        return found
    rows, conflicts = [], []
    for name, places in rows_of.items():
        said = {row: tuple(cells[row] for cells in found.labels.values()) for row in places}
        votes = Counter(label for label in said.values() if not set(label) <= BLANK)
        winner = votes.most_common(1)[0][0] if votes else said[places[0]]
        rows.append(next(row for row in places if said[row] == winner))
        if len(votes) > 1:
            conflicts.append(name)
    note = f"{repeats} train rows repeat an id and are left out"
    if conflicts:
        who = f"{len(conflicts)} ids have" if len(conflicts) > 1 else "1 id has"
        note += (
            f"; {who} rows of different labels, of which the most frequent counts, the first of equals "
            f"({', '.join(conflicts[:3])})"
        )
    return replace(
        found,
        train_ids=[found.train_ids[i] for i in rows],
        train_files=[found.train_files[i] for i in rows],
        labels={c: [cells[i] for i in rows] for c, cells in found.labels.items()},
        others={c: [cells[i] for i in rows] for c, cells in found.others.items()},
        notes=(*found.notes, note),
    )


def versions_of(found: Found, keep: list[int]) -> np.ndarray:
    """The group number of each kept row where rows are versions of one picture."""
    assert found.versions is not None
    place = {name: i for i, name in enumerate(dict.fromkeys(found.versions))}
    return np.array([place[found.versions[i]] for i in keep], np.int64)


def group_column(found: Found, labels: Labels, group: str | None) -> tuple[str | None, list[str]]:
    """The train column to group by, as asked for or found by evidence, None for no groups; and sentences on why."""
    if group is not None:
        return (None if group == "none" and group not in found.others else group), []
    kept = np.flatnonzero(labels.kept)
    columns = {c: [cells[i] for i in kept] for c, cells in found.others.items()}
    names = None
    if labels.kind == "multilabel":
        names = [tuple(np.flatnonzero(row).tolist()) for row in labels.target]
    elif labels.kind != "regression":
        names = [(label,) for label in labels.target.tolist()]
    return find_group(columns, found.test_others, names)


def groups_of(found: Found, column: str | None, keep: list[int]) -> np.ndarray | None:
    """The group number of each kept row, None for no groups; a blank cell is a group of its own."""
    if column is None:
        return None
    if column not in found.others:
        have = ", ".join(found.others) or "no other columns"
        raise Mistake(f"the train table has no column {column!r} to group by; it has {have}")
    cells = [found.others[column][i] for i in keep]
    named = [c if c not in BLANK else f"\0{i}" for i, c in enumerate(cells)]
    place = {name: i for i, name in enumerate(dict.fromkeys(named))}
    if len(place) < 2:
        raise Mistake(f"column {column!r} has one value only; folds need at least two groups")
    return np.array([place[name] for name in named], np.int64)
