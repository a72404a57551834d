"""The test items: from the sample submission, a test table, a test folder, or what no label was found for."""

import os
import re
from dataclasses import dataclass, field

from autoclimb.data.files.formats import unread_words
from autoclimb.data.files.table import Table
from autoclimb.data.read.choosing import AUXILIARY, ENOUGH
from autoclimb.data.read.items import Listed
from autoclimb.data.read.matching import Located, locate, of_rows
from autoclimb.data.read.naming import file_stem, key_of
from autoclimb.data.read.splits import VALIDATION
from autoclimb.data.read.survey import Survey
from autoclimb.data.sources import CHANNEL, PICTURE, files_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

COPY = re.compile(r"([ _-]+copy( ?\(?\d+\)?)?|[ _]?\(\d+\))$", re.IGNORECASE)  # of a file beside it: a - Copy, a (1)


@dataclass(frozen=True)
class Tested:
    """The test ids, each once and in order, and their sources, "" for none."""

    ids: list[str] = field(repr=False)
    files: list[str] = field(repr=False)
    channels: int = 3
    notes: tuple[Note, ...] = ()


def test_items(survey: Survey, sample: Listed | None, test: Listed | None, train_files: set[str]) -> Tested:
    """The test items, by the sample submission, else the test table, else the folders.

    There are none where nothing is asked for and every picture has a label. Raises Mistake where the ids asked for name
    no picture.
    """
    asking = sample or test
    if asking is None:
        return by_folders(survey, train_files)
    ids, name = list(dict.fromkeys(asking.ids)), asking.table.name
    rows = in_order_of(ids, test) if test else None
    where = locate(ids, rows, test.id_name if test else "", survey, -1)
    if rows is not None and where.share <= ENOUGH:
        other = locate(ids, None, "", survey, -1)
        where = other if other.share > where.share else where
    if where.loose and train_files & set(where.files):
        where = Located(["" for _ in ids])  # a likeness of names leads to train pictures: those asked for are not there
    if where.doubt:
        raise Mistake(f"{name}: {where.doubt}")
    missing = [lost for lost, file in zip(ids, where.files, strict=True) if not file]
    if where.share <= ENOUGH:
        looks = repr(survey.pictures[-1]) if survey.pictures else "none"
        raise Mistake(
            f"{len(missing)} of {len(ids)} ids of {name} name no picture (such as {missing[0]!r}); "
            f"pictures look like {looks}{unread_words(survey.other)}"
        )
    notes = not_asked(where.files, survey, name)
    shared = sum(1 for file in where.files if file and file in train_files)
    if shared:
        notes.append(Note("shared", f"{shared} test pictures are train pictures too"))
    folders = {os.path.dirname(files_of(f)[0]) for f in where.files if f}
    if 1 < len(folders) <= 4 and where.channels == 3:
        names = sorted(os.path.relpath(f, survey.root) for f in folders)
        notes.append(Note("test", f"test pictures lie in {', '.join(names)}"))
    return Tested(ids, where.files, where.channels, (*where.notes, *notes))


def not_asked(files: list[str], survey: Survey, name: str) -> list[Note]:
    """A note on pictures in test folders that no id asks for, none where all are asked for or items are of several."""
    asked = set(files)
    there = [
        (file_stem(path), s in asked)
        for path, s, side in zip(survey.pictures, survey.sources, survey.sides, strict=True)
        if side < 0
    ]
    forms = {stem for stem, taken in there if taken}  # of one picture: as dcm and as jpg
    left = sum(1 for stem, taken in there if not taken and stem not in forms)
    if not left or sum(taken for _, taken in there) < len(asked - {""}):  # several an item, other folders
        return []
    return [Note("unasked", f"{left} test pictures are not asked for by {name} and not answered", name)]


def rows_of_ids(ids: list[str], cells: list[str]) -> list[int]:
    """The first row of each id in a column, -1 for none: by its text or, where most lack one, by its key."""
    row: dict[str, int] = {}
    for i, name in enumerate(cells):
        row.setdefault(name, i)
    at = [row.get(name, -1) for name in ids]
    if at.count(-1) <= len(at) / 2:
        return at
    for i, name in enumerate(cells):
        row.setdefault(key_of(name), i)
    return [row.get(key_of(name), -1) for name in ids]


def in_order_of(ids: list[str], listed: Listed) -> Table | None:
    """The table with a row for each id in that order, None where ids lack a row or have several."""
    table, at = listed.table, rows_of_ids(ids, listed.ids)
    if len(set(listed.ids)) < table.rows or min(at, default=-1) < 0:
        return None
    cells = {c: [column[i] for i in at] for c, column in table.cells.items()}
    return Table(table.name, cells, tuple(table.sources[i] for i in at) if table.sources else (), table.channels)


def by_folders(survey: Survey, train_files: set[str]) -> Tested:
    """The pictures of test folders, else those in folders of no split that have no label."""
    rows = without_label(survey, train_files)
    if not rows:
        text = (
            "no test pictures: there is no sample submission, no test table, no folder whose name says test, and every "
            "picture has a label; a run ends with nets and their score, and `autoclimb predict` answers for pictures"
        )
        return Tested([], [], notes=(Note("test", text),))
    names = [survey.pictures[i].rsplit("/", 1)[-1] for i in rows]
    if len(set(names)) < len(names):
        names = [survey.pictures[i] for i in rows]
    where = sorted({survey.pictures[i].rpartition("/")[0] or "." for i in rows})
    text = f"no sample submission: the {len(rows)} pictures of {', '.join(where[:3])} are the test items"
    note = Note("test", text, sure="likely" if all(survey.sides[i] < 0 for i in rows) else "guessed")
    located = of_rows(rows, survey)
    return Tested(names, located.files, located.channels, (*located.notes, note))


def is_by_product(path: str, stems: set[str]) -> bool:
    """Whether a picture is a copy, a mask or a thumbnail of one of those with these stems."""
    stem, folder = file_stem(path), path.rpartition("/")[0].lower()
    return (stem in stems and bool(AUXILIARY.search(folder))) or (
        COPY.sub("", stem) != stem and COPY.sub("", stem) in stems
    )


def without_label(survey: Survey, train_files: set[str]) -> list[int]:
    """The pictures that no label was found for: those of test folders, else those in folders of no split."""
    used = (
        {f for source in train_files for f in files_of(source)}
        if any(CHANNEL in f or PICTURE in f for f in train_files)
        else set()
    )
    free = [i for i, s in enumerate(survey.sources) if s not in train_files and s not in used]
    stems = {file_stem(survey.pictures[i]) for i, s in enumerate(survey.sources) if s in train_files}
    free = [i for i in free if not is_by_product(survey.pictures[i], stems)]
    rows = [i for i in free if survey.sides[i] < 0]
    return rows or [i for i in free if survey.sides[i] == 0 and survey.parts[i] != VALIDATION]
