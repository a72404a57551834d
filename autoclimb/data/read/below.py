"""The files below a folder and in its archives, by what their endings say: pictures, tables, arrays, others."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from autoclimb.data.files.archives import UNREADABLE, members_of
from autoclimb.data.files.formats import MOST_MEMBERS, NOT_READ, PICTURES, ending, stem_of
from autoclimb.data.files.idx import NAME as IDX
from autoclimb.data.files.starts import begins_as_picture, start_of
from autoclimb.data.files.table_formats import TABLE_FORMATS
from autoclimb.data.read.splits import side
from autoclimb.data.sources import inside, unspeakable
from autoclimb.errors import first_line
from autoclimb.types import Note

SKIPPED = {"__MACOSX", "__pycache__", "node_modules", "autoclimb-runs"}
UNSPEAKABLE = "files have names with control signs or no UTF-8 and are left; rename them"
DEEPEST = 12  # folders below the given one
DEEPEST_TABLE = 2
BARE_LOOKED_AT = 40  # files without an ending by which it is judged whether such files are pictures


@dataclass
class Below:
    """The files below a folder and in its archives, by what their endings say; it grows as they are come across.

    Paths are below the root; what lies in an archive has the path it would have if that were unpacked beside it.
    """

    pictures: dict[str, str] = field(default_factory=dict)  # path -> source
    tables: dict[str, str] = field(default_factory=dict)  # path -> source
    archives: dict[str, tuple[str, ...]] = field(default_factory=dict)  # path -> the file, or the way into it
    arrays: list[str] = field(default_factory=list)  # .npz and idx
    bare: dict[str, str] = field(default_factory=dict)  # path -> source, without an ending or with one of digits (UIDs)
    other: Counter = field(default_factory=Counter)
    records: int = 0
    passed: dict[str, tuple[int, str]] = field(default_factory=dict)  # why files are not looked at -> how many, one
    notes: list[Note] = field(default_factory=list)

    def leave(self, where: str, why: str) -> None:
        """Counts what is not looked at."""
        n, first = self.passed.get(why, (0, ascii(where)))
        self.passed[why] = n + 1, first

    def add(self, where: str, depth: int, *place: str) -> None:
        """Takes in a file `depth` folders below the root; `place` is its path or the way to it in an archive."""
        name = where.rpartition("/")[2]
        extension = ending(name)
        if extension in PICTURES:
            self.pictures[where] = inside(*place)
        elif IDX.search(name):
            self.arrays.append(where)
        elif extension in TABLE_FORMATS and depth <= DEEPEST_TABLE:
            self.tables[where] = inside(*place)
        elif stem_of(name):
            self.archives[where] = place
        elif extension == ".npz":
            self.arrays.append(where)
        elif not extension or (extension[1:].isdigit() and extension not in NOT_READ):
            self.bare[where] = inside(*place)
        else:
            self.records += extension in (".tfrec", ".tfrecord", ".tfrecords")
            self.other[extension] += 1


def files_below(root: Path) -> Below:
    """The files below a folder, those in archives too."""
    below = walk(root)
    take_bare_pictures(below)
    below.notes += [Note("left", f"{n} {what} ({first})") for what, (n, first) in below.passed.items()]
    for where in sorted(below.archives, key=lambda a: (a.count("/"), a)):
        add_archive(below, where, *below.archives[where])
    return below


def pictures_below(path: Path) -> list[str]:
    """The sources of all pictures below a folder, or in an archive, in the order of their paths."""
    if stem_of(path.name) and path.is_file():
        below = Below()
        add_archive(below, path.name, str(path))
    else:
        below = files_below(Path(os.path.abspath(path)))
    return [below.pictures[where] for where in sorted(below.pictures)]


def walk(root: Path) -> Below:
    """Every file below the root, without a look at any of them; linked folders are followed once.

    What is neither a file nor a folder (a pipe would be waited for), has a name that a submission could not hold or
    leads nowhere is left, and counted.
    """
    below, base = Below(), str(root) + os.sep
    linked: set[str] = set()
    waiting = [("", 0)]  # folders, by their paths below the root, and how deep they are
    while waiting:
        folder, depth = waiting.pop()
        here = os.path.join(root, folder)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(".") or name in SKIPPED:
                        continue
                    where = f"{folder}/{name}" if folder else name
                    try:
                        is_folder, is_file = entry.is_dir(), entry.is_file()
                    except OSError:  # a link to itself
                        is_folder = is_file = False
                    if unspeakable(name):
                        below.leave(where, UNSPEAKABLE)
                        continue
                    if not is_folder:
                        if is_file:
                            below.add(where, depth, base + where)
                        else:
                            below.leave(where, "links lead nowhere" if entry.is_symlink() else "are no regular files")
                        continue
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        if real in linked or (os.path.realpath(here) + os.sep).startswith(real + os.sep):
                            continue
                        linked.add(real)
                    if depth < DEEPEST:
                        waiting.append((where, depth + 1))
                    else:
                        below.leave(where, f"folders are more than {DEEPEST} deep and not looked into")
        except OSError as error:
            text = f"{folder or '.'} cannot be opened and is ignored ({error.strerror})"
            below.notes.append(Note("ignored", text, folder))
    return below


def take_bare_pictures(below: Below) -> None:
    """Counts files without an ending as pictures where their first bytes say so, else among the others.

    Where few of some are pictures, none is opened: a folder may hold a million files of another kind.
    """

    def is_picture(where: str) -> bool:
        return begins_as_picture(start_of(below.bare[where]))

    bare = list(below.bare)
    some = bare[:: max(1, len(bare) // BARE_LOOKED_AT)]
    taken = {where for where in bare if is_picture(where)} if sum(map(is_picture, some)) > len(some) / 2 else set()
    below.pictures |= {where: source for where, source in below.bare.items() if where in taken}
    below.other.update(where.rpartition("/")[2] for where in bare if where not in taken)


def add_archive(below: Below, where: str, *place: str) -> None:
    """Adds what an archive holds, unless it lies unpacked beside it; archives inside it too.

    `place` is the archive's file and, where it lies in another archive, the way into it.
    """
    home = stem_of(where)
    if len(place) == 1 and not where.lower().endswith((".zip", ".7z")):  # to list a packed tar is to read it all
        beside = sum(1 for path in below.pictures if path.startswith(home + "/"))
        if beside:
            text = f"{where} is not read: {home}/ beside it holds {beside} pictures"
            below.notes.append(Note("archive", text, where))
            return
    try:
        inner = files_in(where, *place)
    except UNREADABLE as error:
        text = f"{where} cannot be read as an archive and is ignored ({first_line(error)})"
        below.notes.append(Note("ignored", text, where))
        below.other[os.path.splitext(where)[1].lower()] += 1
        return
    below.notes += inner.notes
    fresh = {path: source for path, source in inner.pictures.items() if path not in below.pictures}
    if inner.pictures and (not fresh or have_elsewhere(fresh, below.pictures)):
        text = f"{where} holds pictures that lie unpacked beside it; those are read"
        below.notes.append(Note("archive", text, where))
        fresh = {}
    below.pictures |= fresh
    if fresh:
        below.notes.append(Note("archive", f"{len(fresh)} pictures are read from inside {where}", where))
    below.tables = inner.tables | below.tables
    below.other.update(inner.other)
    below.other.update(path.rpartition("/")[2] for path in inner.bare)
    below.other.update(os.path.splitext(path)[1].lower() for path in inner.arrays)  # only plain files of them are read
    for path, way in inner.archives.items():
        if len(place) < 2:
            add_archive(below, path, *way)
        else:
            text = f"{path} is an archive in an archive in an archive and is ignored"
            below.notes.append(Note("ignored", text, path))


def files_in(where: str, *place: str) -> Below:
    """The files in an archive, whose own archives are not looked into; members that lead out of it are left.

    Raises one of UNREADABLE where it is damaged, or holds more than MOST_MEMBERS files.
    """
    home = stem_of(where)
    above, _, folder = home.rpartition("/")
    inner = Below()
    refused: Counter = Counter()
    count = 0
    for member in members_of(*place):
        if member.refused:
            refused[member.refused] += 1
            continue
        parts = member.path.split("/")
        if any(part.startswith(".") or part in SKIPPED for part in parts):
            continue
        if parts[0].lower() == folder.lower():  # a folder of the archive's own name, which it is unpacked to
            path = "/".join([above, *parts] if above else parts)
        else:
            path = "/".join([home, *parts])
        inner.add(path, 0 if len(parts) <= DEEPEST_TABLE + 1 else DEEPEST_TABLE + 1, *place, member.name)
        count += 1
        if count > MOST_MEMBERS:
            raise ValueError(f"more than {MOST_MEMBERS:,} files")
    inner.notes += [Note("refused", f"{where}: {n} members refused ({why})", where) for why, n in refused.items()]
    return inner


def have_elsewhere(fresh: Collection[str], pictures: Collection[str]) -> bool:
    """Whether nearly all of these pictures lie unpacked, by folder, name and split, though not at that very path."""
    have = {(side(w), *w.lower().split("/")[-2:]) for w in pictures}
    return sum(1 for w in fresh if (side(w), *w.lower().split("/")[-2:]) in have) >= 0.9 * len(fresh)
