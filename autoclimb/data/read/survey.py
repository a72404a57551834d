"""Survey: the contents of a folder, pictures by path and tables by content, each looked at once."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from autoclimb.data.files.formats import PHOTOS, RASTER, ending, stem_of, unread_words
from autoclimb.data.files.npy import array_tables
from autoclimb.data.files.starts import stand_in, start_of
from autoclimb.data.files.table import Table
from autoclimb.data.files.table_formats import tables_at
from autoclimb.data.read.below import files_below
from autoclimb.data.read.naming import folded, path_parts
from autoclimb.data.read.splits import SIDES, parts_of_folders
from autoclimb.data.sources import unspeakable
from autoclimb.errors import Mistake
from autoclimb.types import Note

MOST_XML = 5  # where there are more, each is about the boxes of one picture
MOST_SIDECARS = 5  # files called as pictures are; where there are more, each is about that picture
MOST_TABLES = 60  # where there are more, each is about one item and none lists them
STAND_INS_LOOKED_AT = 5  # pictures whose first bytes are looked at: the rest of a checkout is like them


@dataclass(frozen=True, eq=False)
class Survey:
    """The contents of a folder. `pictures` are paths below `root` with forward slashes, sorted; `sources` say where.

    A picture in an archive has the path it would have if the archive were unpacked into a folder of its name.
    """

    root: Path
    pictures: tuple[str, ...]
    sources: tuple[str, ...] = field(repr=False)
    tables: tuple[Table, ...]
    other: Counter  # extensions that are neither picture nor table -> files
    notes: tuple[Note, ...]

    def file(self, index: int) -> str:
        """The source of a picture, "" for -1."""
        return self.sources[index] if index >= 0 else ""

    @cached_property
    def parts(self) -> list[str]:
        """Of each picture the part of the data that its folders say: train, validation, test, or "" for none."""
        return [self.part_of_folder.get(where.rpartition("/")[0], "") for where in self.pictures]

    @cached_property
    def part_of_folder(self) -> dict[str, str]:
        """The part of the data of each folder that is a split or lies in one."""
        return parts_of_folders(self.pictures)

    @cached_property
    def sides(self) -> list[int]:
        """1 for each picture of train, -1 for each of test, 0 for others."""
        return [SIDES.get(part, 0) for part in self.parts]

    def only(self, rows: Sequence[int]) -> "Survey":
        """The same folder with these pictures alone."""
        return replace(
            self, pictures=tuple(self.pictures[i] for i in rows), sources=tuple(self.sources[i] for i in rows)
        )

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """File name, regardless of case and composed accents -> indices into pictures."""
        index: dict[str, list[int]] = {}
        for i, where in enumerate(self.pictures):
            index.setdefault(folded(where.rsplit("/", 1)[-1]), []).append(i)
        return index

    @cached_property
    def by_stem(self) -> dict[str, list[int]]:
        """The same without the extension."""
        index: dict[str, list[int]] = {}
        for name, places in self.by_name.items():
            stem = name.rsplit(".", 1)[0]
            index[stem] = index[stem] + places if stem in index else places
        return index

    @cached_property
    def by_folder(self) -> dict[str, list[int]]:
        """Name of a folder, regardless of case -> the pictures at any depth below such folders."""
        index: dict[str, list[int]] = {}
        for i, where in enumerate(self.pictures):
            for folder in set(folded(where).split("/")[:-1]):
                index.setdefault(folder, []).append(i)
        return index

    @cached_property
    def by_prefix(self) -> dict[str, list[int]]:
        """The part of a file name before each separator -> pictures: a_1_red is under a_1 and a."""
        index: dict[str, list[int]] = {}
        for stem, places in self.by_stem.items():
            for cut in re.finditer(r"[_\-. ]", stem):
                if cut.start():
                    index.setdefault(stem[: cut.start()], []).extend(places)
        return index


def survey_of(path: Path) -> Survey:
    """All pictures and tables below `path`. Opens tables and tables of contents; a picture is known by its extension.

    Raises Mistake where the folder is missing, is no folder, or holds no picture.
    """
    shown = repr(str(path)) if len(str(path)) < 200 else f"{str(path)[:200]!r}..."
    if not os.path.exists(path):
        raise Mistake(f"folder {shown} does not exist; give the folder that holds the pictures and tables")
    if not os.path.isdir(path):
        packed = "it: archives in a folder are read as they are" if stem_of(path.name) else "the pictures and tables"
        raise Mistake(f"{shown} is a file; give the folder that holds {packed}")
    root = Path(os.path.abspath(path))
    if unspeakable(str(root)):
        raise Mistake(f"folder {shown} has control characters or no UTF-8 in its name; rename it")
    below = files_below(root)
    pictures, notes = below.pictures, list(below.notes)
    arrays = [w for w in pictures if w.lower().endswith(".npy")] if len(below.arrays) < 1000 else []
    plain = set(below.arrays)
    arrays += [w for w in below.arrays if not w.endswith(".gz") or w.removesuffix(".gz") not in plain]
    about_arrays: list[str] = []
    stacked, _ = array_tables(root, sorted(set(arrays)), about_arrays)
    notes += [Note("arrays", text) for text in about_arrays]
    for table in stacked:
        pictures.pop(table.name, None)
    ordered = sorted(pictures)
    survey = Survey(root, tuple(ordered), tuple(pictures[w] for w in ordered), (), below.other, ())
    tables = [*read_tables_of(survey, below.tables, notes), *stacked]
    if not ordered and not any(t.sources for t in tables):
        raise Mistake(no_pictures(path, below.other, notes))
    refuse_stand_ins(survey)
    photos = {e: n for e, n in below.other.items() if e in PHOTOS}
    if photos:
        notes.append(Note("left", unread_words(photos).removeprefix("; "), sure="likely"))
    if below.records:
        notes.append(Note("left", f"{below.records} TFRecord files are not read; the pictures beside them are"))
    return Survey(root, survey.pictures, survey.sources, tuple(tables), below.other, tuple(dict.fromkeys(notes)))


def refuse_stand_ins(survey: Survey) -> None:
    """Raises Mistake where pictures are pointers of Git LFS or web pages: all of some that are looked at."""
    step = max(1, len(survey.sources) // STAND_INS_LOOKED_AT)
    lies = [stand_in(start_of(source)) for source in survey.sources[::step]]  # a member of an archive has none
    if lies and all(lies):
        raise Mistake(f"{survey.pictures[0]} is {lies[0]}; other pictures are such files too")


def read_tables_of(survey: Survey, files: dict[str, str], notes: list[Note]) -> list[Table]:
    """The tables in csv, json and bson files, those nearest to the top first."""
    ordered = sorted(files, key=lambda t: (t.count("/"), t))
    for kind in sorted({ending(where) for where in ordered}):
        about = [where for where in ordered if ending(where) == kind]
        aside = [w for w in about if folded(w.rsplit("/", 1)[-1].rsplit(".", 1)[0]) in survey.by_stem]
        if len(aside) > max(MOST_SIDECARS, len(about) / 2):
            text = (
                f"{len(aside)} {kind} files such as {aside[0]} are about one picture each and are not read; to learn "
                f"from them, write a csv of file and label"
            )
            notes.append(Note("ignored", text, aside[0]))
            gone = set(aside)
            ordered = [where for where in ordered if where not in gone]
    boxes = [where for where in ordered if ending(where) == ".xml"]
    if len(boxes) > MOST_XML:
        notes.append(Note("ignored", f"{len(boxes)} .xml files are not read ({boxes[0]} ...)", boxes[0]))
        ordered = [where for where in ordered if ending(where) != ".xml"]
    if len(ordered) > MOST_TABLES:
        notes.append(Note("ignored", f"of {len(ordered)} tables the first {MOST_TABLES} are read"))
    is_picture = partial(names_file, survey=survey)
    tables: list[Table] = []
    for where in ordered[:MOST_TABLES]:
        faults: list[str] = []
        tables_here = tables_at(where, files[where], faults, is_picture)
        tables += tables_here
        notes += [Note("file" if tables_here else "ignored", text, where) for text in faults]
    return numbered(tables)


def numbered(tables: list[Table]) -> list[Table]:
    """The tables, rows without ids that are pictures numbered as a table of as many rows says: ImageId 1, 2, 3, ..."""
    counted: dict[int, tuple[str, list[str]]] = {}
    for table in tables:
        for column, cells in table.cells.items():
            first = cells[0] if not table.sources else ""
            if first in ("0", "1") and cells == [str(i) for i in range(int(first), int(first) + len(cells))]:
                counted.setdefault(table.rows, (column, cells))
    with_ids = []
    for table in tables:
        if table.sources and list(table.cells) == ["row"] and table.rows in counted:
            column, cells = counted[table.rows]
            table = replace(table, cells={column: cells})
        with_ids.append(table)
    return with_ids


def no_pictures(path: Path, other: Counter, notes: list[Note]) -> str:
    """The sentence for a folder without pictures, naming what it holds instead."""
    broken = next((note.text for note in notes if note.kind in ("archive", "ignored", "refused")), "")
    counts = ", ".join(f"{n} {extension}" for extension, n in other.most_common(5))
    unread = unread_words(other).removeprefix("; ")
    hint = broken or unread or f"pictures are {', '.join(sorted(RASTER))}, dcm, npy, also inside archives"
    return f"folder {str(path)!r} holds no pictures{f' ({counts})' if counts else ''}; {hint}"


def names_file(name: str, survey: Survey) -> bool:
    """Whether a cell is a picture's file name, with or without its extension."""
    base = folded(path_parts(name)[-1])
    return bool(base) and (base in survey.by_name or base in survey.by_stem)
