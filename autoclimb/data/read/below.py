"""The files below a folder and in its archives, by what their endings say: pictures, tables, arrays, others."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from autoclimb.data.files.archives import UNREADABLE, members_of
from autoclimb.data.files.formats import MOST_MEMBERS, NOT_READ, PICTURES, ending, stem_of
from autoclimb.data.files.idx import NAME as IDX
from autoclimb.data.files.starts import begins_as_picture, start_of
from autoclimb.data.files.table_formats import TABLE_FORMATS
from autoclimb.data.read.splits import side
from autoclimb.data.sources import inside, unspeakable
from autoclimb.types import Note

SKIPPED = {"__MACOSX", "__pycache__", "node_modules", "autoclimb-runs"}
UNSPEAKABLE = "files have names with control signs or no UTF-8 and are left; rename them"
DEEPEST = 12  # folders below the given one
DEEPEST_TABLE = 2
BARE_LOOKED_AT = 40  # files without an ending by which it is judged whether such files are pictures


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


def files_below(root: Path, notes: list[Note]) -> tuple[Walked, dict[str, str], dict[str, str]]:
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
