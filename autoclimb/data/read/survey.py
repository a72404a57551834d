"""The contents of the folder and its archives: pictures by path and tables by content, each looked at once."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from autoclimb.data.files.archives import UNREADABLE, members_of
from autoclimb.data.files.formats import (
    MOST_MEMBERS,
    NOT_READ,
    PHOTOS,
    PICTURES,
    RASTER,
    ending,
    stem_of,
    unread_words,
)
from autoclimb.data.files.idx import NAME as IDX
from autoclimb.data.files.npy import array_tables
from autoclimb.data.files.starts import begins_as_picture, stand_in, start_of
from autoclimb.data.files.table import Table
from autoclimb.data.files.table_formats import TABLE_FORMATS, tables_at
from autoclimb.data.read.naming import folded, path_parts
from autoclimb.data.read.splits import SIDES, parts_of_folders, side
from autoclimb.data.sources import inside, unspeakable
from autoclimb.errors import Mistake
from autoclimb.types import Note

SKIPPED = {"__MACOSX", "__pycache__", "node_modules", "autoclimb-runs"}
UNSPEAKABLE = "files have names with control signs or no UTF-8 and are left; rename them"
DEEPEST = 12  # folders below the given one
DEEPEST_TABLE = 2
MOST_XML = 5  # where there are more, each is about the boxes of one picture
MOST_SIDECARS = 5  # files called as pictures are; where there are more, each is about that picture
MOST_TABLES = 60  # where there are more, each is about one item and none lists them
BARE_LOOKED_AT = 40  # files without an ending by which it is judged whether such files are pictures
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
    notes: list[Note] = []
    walked, pictures, files = files_below(root, notes)
    arrays = [w for w in pictures if w.lower().endswith(".npy")] if len(walked.arrays) < 1000 else []
    plain = set(walked.arrays)
    arrays += [w for w in walked.arrays if not w.endswith(".gz") or w.removesuffix(".gz") not in plain]
    about_arrays: list[str] = []
    stacked, _ = array_tables(root, sorted(set(arrays)), about_arrays)
    notes += [Note("arrays", text) for text in about_arrays]
    for table in stacked:
        pictures.pop(table.name, None)
    ordered = sorted(pictures)
    survey = Survey(root, tuple(ordered), tuple(pictures[w] for w in ordered), (), walked.other, ())
    tables = [*read_tables_of(survey, files, notes), *stacked]
    if not ordered and not any(t.sources for t in tables):
        raise Mistake(no_pictures(path, walked.other, notes))
    refuse_stand_ins(survey)
    photos = {e: n for e, n in walked.other.items() if e in PHOTOS}
    if photos:
        notes.append(Note("left", unread_words(photos).removeprefix("; "), sure="likely"))
    if walked.records:
        notes.append(Note("left", f"{walked.records} TFRecord files are not read; the pictures beside them are"))
    return Survey(root, survey.pictures, survey.sources, tuple(tables), walked.other, tuple(dict.fromkeys(notes)))


def files_below(root: Path, notes: list[Note]) -> tuple["Walked", dict[str, str], dict[str, str]]:
    """The files below a folder, and the sources of its pictures and tables by their paths, those in archives too."""
    walked = walk(root, notes)
    take_bare_pictures(walked, root)
    notes += [Note("left", f"{n} {what} ({first})") for what, (n, first) in walked.passed.items()]
    base = str(root) + os.sep
    pictures = {where: base + where for where in walked.pictures}
    tables = {where: base + where for where in walked.tables}
    for where in sorted(walked.archives, key=lambda a: (a.count("/"), a)):
        add_archive(where, (base + where,), pictures, tables, walked.other, notes)
    return walked, pictures, tables


def pictures_below(path: Path) -> list[str]:
    """The sources of all pictures below a folder, or in an archive, in the order of their paths."""
    notes: list[Note] = []
    if stem_of(path.name) and path.is_file():
        pictures: dict[str, str] = {}
        add_archive(path.name, (str(path),), pictures, {}, Counter(), notes)
    else:
        _, pictures, _ = files_below(Path(os.path.abspath(path)), notes)
    return [pictures[where] for where in sorted(pictures)]


@dataclass
class Walked:
    """Paths below the root, by what their extension says."""

    pictures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)  # .npz and idx
    bare: list[str] = field(default_factory=list)  # without an ending, or with one of digits, as UIDs have
    other: Counter = field(default_factory=Counter)
    records: int = 0
    passed: dict[str, tuple[int, str]] = field(default_factory=dict)  # why files are not looked at -> how many, one

    def leave(self, where: str, why: str) -> None:
        """Counts what is not looked at."""
        n, first = self.passed.get(why, (0, ascii(where)))
        self.passed[why] = n + 1, first

    def add(self, where: str, name: str, depth: int) -> None:
        """Takes a file in."""
        extension = ending(name)
        if extension in PICTURES:
            self.pictures.append(where)
        elif IDX.search(name):
            self.arrays.append(where)
        elif extension in TABLE_FORMATS and depth <= DEEPEST_TABLE:
            self.tables.append(where)
        elif stem_of(name):
            self.archives.append(where)
        elif extension == ".npz":
            self.arrays.append(where)
        elif not extension or (extension[1:].isdigit() and extension not in NOT_READ):
            self.bare.append(where)
        else:
            self.records += extension in (".tfrec", ".tfrecord", ".tfrecords")
            self.other[extension] += 1


def take_bare_pictures(walked: Walked, root: Path) -> None:
    """Counts files without an ending as pictures where their first bytes say so, else among the others.

    Where few of some are pictures, none is opened: a folder may hold a million files of another kind.
    """

    def is_picture(where: str) -> bool:
        return begins_as_picture(start_of(str(root / where)))

    some = walked.bare[:: max(1, len(walked.bare) // BARE_LOOKED_AT)]
    if sum(map(is_picture, some)) > len(some) / 2:
        walked.pictures += [where for where in walked.bare if is_picture(where)]
        taken = set(walked.pictures)
        walked.bare = [where for where in walked.bare if where not in taken]
    walked.other.update(where.rsplit("/", 1)[-1] for where in walked.bare)


def refuse_stand_ins(survey: Survey) -> None:
    """Raises Mistake where pictures are pointers of Git LFS or web pages: all of some that are looked at."""
    step = max(1, len(survey.sources) // STAND_INS_LOOKED_AT)
    lies = [stand_in(start_of(source)) for source in survey.sources[::step]]  # a member of an archive has none
    if lies and all(lies):
        raise Mistake(f"{survey.pictures[0]} is {lies[0]}; other pictures are such files too")


def walk(root: Path, notes: list[Note]) -> Walked:
    """Every file below the root, without a look at any of them; linked folders are followed once.

    What is neither a file nor a folder (a pipe would be waited for), has a name that a submission could not hold or
    leads nowhere is left, and counted.
    """
    walked = Walked()
    linked: set[str] = set()
    waiting = [("", 0)]
    while waiting:
        below, depth = waiting.pop()
        here = os.path.join(root, below)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(".") or name in SKIPPED:
                        continue
                    where = f"{below}/{name}" if below else name
                    try:
                        folder, file = entry.is_dir(), entry.is_file()
                    except OSError:  # a link to itself
                        folder = file = False
                    if unspeakable(name):
                        walked.leave(where, UNSPEAKABLE)
                        continue
                    if not folder:
                        if file:
                            walked.add(where, name, depth)
                        else:
                            walked.leave(where, "links lead nowhere" if entry.is_symlink() else "are no regular files")
                        continue
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        if real in linked or (os.path.realpath(here) + os.sep).startswith(real + os.sep):
                            continue
                        linked.add(real)
                    if depth < DEEPEST:
                        waiting.append((where, depth + 1))
                    else:
                        walked.leave(where, f"folders are more than {DEEPEST} deep and not looked into")
        except OSError as error:
            notes.append(Note("ignored", f"{below or '.'} cannot be opened and is ignored ({error.strerror})", below))
    return walked


def add_archive(
    where: str,
    place: tuple[str, ...],
    pictures: dict[str, str],
    files: dict[str, str],
    other: Counter,
    notes: list[Note],
) -> None:
    """Adds what an archive holds, unless it lies unpacked beside it; archives inside it too.

    `place` is the archive's file, and the way into it where the archive lies in another.
    """
    home = stem_of(where)
    above = home.rsplit("/", 1)[0] + "/" if "/" in home else ""
    if len(place) == 1 and not where.lower().endswith((".zip", ".7z")):  # to list a packed tar is to read it all
        beside = sum(1 for w in pictures if w.startswith(home + "/"))
        if beside:
            notes.append(Note("archive", f"{where} is not read: {home}/ beside it holds {beside} pictures", where))
            return
    inner = Walked()
    names: dict[str, str] = {}
    refused: Counter = Counter()
    try:
        for member in members_of(*place):
            if member.refused:
                refused[member.refused] += 1
                continue
            parts = member.path.split("/")
            if any(p.startswith(".") or p in SKIPPED for p in parts):
                continue
            twice = parts[0].lower() == home.rsplit("/", 1)[-1].lower()
            full = (above if twice else home + "/") + "/".join(parts)
            inner.add(full, parts[-1], 0 if len(parts) <= DEEPEST_TABLE + 1 else DEEPEST_TABLE + 1)
            names[full] = member.name
            if len(names) > MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS:,} files")
    except UNREADABLE as error:
        fault = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        notes.append(Note("ignored", f"{where} cannot be read as an archive and is ignored ({fault})", where))
        other[os.path.splitext(where)[1].lower()] += 1
        return
    for why, n in refused.items():
        notes.append(Note("refused", f"{where}: {n} members refused ({why})", where))
    fresh = [full for full in inner.pictures if full not in pictures]
    if inner.pictures and (not fresh or have_elsewhere(fresh, pictures)):
        notes.append(Note("archive", f"{where} holds pictures that lie unpacked beside it; those are read", where))
        fresh = []
    for full in fresh:
        pictures[full] = inside(*place, names[full])
    if fresh:
        notes.append(Note("archive", f"{len(fresh)} pictures are read from inside {where}", where))
    for full in inner.tables:
        files.setdefault(full, inside(*place, names[full]))
    other.update(inner.other)
    other.update(full.rsplit("/", 1)[-1] for full in inner.bare)
    other.update(os.path.splitext(full)[1].lower() for full in inner.arrays)  # arrays are read from plain files alone
    for full in inner.archives:
        if len(place) < 2:
            add_archive(full, (*place, names[full]), pictures, files, other, notes)
        else:
            notes.append(Note("ignored", f"{full} is an archive in an archive in an archive and is ignored", full))


def have_elsewhere(fresh: list[str], pictures: dict[str, str]) -> bool:
    """Whether nearly all of these pictures lie unpacked, by folder, name and split, though not at that very path."""
    have = {(side(w), *w.lower().split("/")[-2:]) for w in pictures}
    return sum(1 for w in fresh if (side(w), *w.lower().split("/")[-2:]) in have) >= 0.9 * len(fresh)


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
