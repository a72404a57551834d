"""Zip, tar and 7z: tables of contents, single members, and all members; nothing is unpacked to a named file.

Members of a zip and of a plain tar are read one by one. A 7z and a compressed tar are decompressed once, in order, into
one nameless temporary file in which a member is a stretch of bytes: to read a solid 7z of n members one by one would
decompress it n times. A member's name is looked up, never used as a path.
"""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from autoclimb.data.files.formats import ARCHIVES, MOST_PICTURE_BYTES, MOST_TABLE_BYTES, bomb
from autoclimb.data.files.spool import (
    Stretch,
    decompressed,
    decompressing,
    is_compressed,
    need_room,
    on_disk,
    spooled,
    spools,
    stretch_of,
    temporary,
)
from autoclimb.data.sources import unspeakable
from autoclimb.errors import Mistake, room_on_disk

UNREADABLE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, KeyError)
LEADS_OUT = "its path leads out of the archive"
LOCKED = "locked by a password"

Archive = Callable[[str], bytes | Stretch]  # a member's name -> its contents


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name there, its bytes when unpacked, and why it is not read ("" where it is)."""

    name: str
    size: int
    refused: str = ""

    @property
    def path(self) -> str:
        """The name with forward slashes, which archives made on Windows may lack."""
        return self.name.replace("\\", "/").removeprefix("./")


@dataclass(frozen=True)
class ArchiveKind:
    """The operations on one kind of archive. Each function takes a name for messages and the archive's bytes.

    They raise ValueError, OSError, EOFError or KeyError where data cannot be read, Mistake where a package or room on
    the disk is missing.
    """

    members: Callable[[str, Stretch], Iterator[Member]]  # every file that it holds, nothing unpacked
    take: Callable[[str, Stretch, str], bytes]  # one member, nothing else unpacked
    open: Callable[[str, Stretch], Archive]  # access to all members


def kind_of(name: str, start: bytes) -> ArchiveKind | None:
    """The kind of archive by its first 512 bytes, then by its name; None for other files."""
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return KINDS["zip"]
    if start[:6] == b"7z\xbc\xaf\x27\x1c":
        return KINDS["7z"]
    if start[257:262] == b"ustar" or name.lower().endswith(tuple(e for e in ARCHIVES if e.startswith(".t"))):
        return KINDS["tar"]
    return None


def members_of(path: str, *steps: str) -> Iterator[Member]:
    """The files in an archive, or in the archive at the end of `steps` inside it. Raises one of UNREADABLE."""
    kind, name, data = _archive_at(path, *steps)
    yield from kind.members(name, data)


def read_member(path: str, *steps: str) -> bytes:
    """The bytes of the file at the end of `steps` inside an archive. Raises one of UNREADABLE."""
    kind, name, data = _archive_at(path, *steps[:-1])
    return kind.take(name, data, steps[-1])


def _archive_at(path: str, *steps: str) -> tuple[ArchiveKind, str, Stretch]:
    name, data = path, stretch_of(path)
    kind = known_kind(name, data)
    for inner in steps:
        name, data = inner, on_disk(inner, kind.take(name, data, inner))
        kind = known_kind(name, data)
    return kind, name, data


def known_kind(name: str, data: Stretch) -> ArchiveKind:
    """The archive's kind. Raises ValueError for a file that is none."""
    kind = kind_of(name, data.read(0, 512))
    if kind is None:
        raise ValueError(f"{name} is no archive that is read ({', '.join(KINDS)})")
    return kind


def refusal(name: str, size: int, packed: int, locked: bool) -> str:
    """Why a member is not read, "" where it is."""
    if unsafe(name):
        return LEADS_OUT
    return LOCKED if locked else bomb(size, packed)


def unsafe(name: str) -> bool:
    """Whether a member's path leads out of its folder, or would do so as part of a source."""
    path = name.replace("\\", "/")
    drive = path[1:2] == ":" and path[0].isalpha()
    return path.startswith("/") or drive or ".." in path.split("/") or unspeakable(name)


@contextmanager
def faults_named(name: str) -> Iterator[None]:
    """A block whose decoders' own errors become ValueErrors that name the archive or the member."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{name}: {error}") from error


# --- zip -------------------------------------------------------------------------------------------------------------


def _zip_refusal(info: zipfile.ZipInfo) -> str:
    return refusal(info.filename, info.file_size, info.compress_size, bool(info.flag_bits & 1))


def _zip_members(name: str, data: Stretch) -> Iterator[Member]:
    with faults_named(name):
        for info in zipfile.ZipFile(data.stream()).infolist():
            if not info.is_dir():
                yield Member(info.filename, info.file_size, _zip_refusal(info))


def _take_from_zip(name: str, data: Stretch, member: str) -> bytes:
    with faults_named(f"{member} in {name}"):
        archive = zipfile.ZipFile(data.stream())
        info = _info_of(archive, name, member)
        if info.file_size > MOST_TABLE_BYTES:
            raise ValueError(f"{member} in {name} has {info.file_size >> 20} MB")
        return _read_whole(archive, info, name)


def _open_zip(name: str, data: Stretch) -> Archive:
    """Threads may read one ZipFile: each member has a position of its own behind the file's lock."""
    with faults_named(name):
        archive = zipfile.ZipFile(data.stream())

    def read(member: str) -> bytes | Stretch:
        with faults_named(f"{member} in {name}"):
            info = _info_of(archive, name, member)
            if info.file_size <= MOST_PICTURE_BYTES:
                return _read_whole(archive, info, name)
            with archive.open(info) as file:
                return spooled(f"{member} in {name}", file, info.file_size)

    return read


def _info_of(archive: zipfile.ZipFile, name: str, member: str) -> zipfile.ZipInfo:
    info = archive.getinfo(member)
    if reason := _zip_refusal(info):
        raise ValueError(f"{member} in {name} is refused: {reason}")
    return info


def _read_whole(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    with archive.open(info) as file:
        content = file.read(info.file_size)  # the stream may hold more than was declared
    if len(content) != info.file_size:
        raise ValueError(f"{info.filename} in {name} ends early")
    return content


# --- tar -------------------------------------------------------------------------------------------------------------


@contextmanager
def _tar_entries(name: str, data: Stretch) -> Iterator[tuple[tarfile.TarFile, Iterator[tarfile.TarInfo]]]:
    """The archive and its entries in order; a compressed archive is a stream, so its entries can be read once."""
    with faults_named(name), decompressing(name, data) as stream:
        mode: Any = "r|" if is_compressed(data) else "r:"
        with tarfile.open(name, mode, fileobj=stream, bufsize=1 << 20) as archive:
            yield archive, _forgetting(archive)


def _forgetting(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The entries; tarfile would store every header, a kilobyte each."""
    for entry in archive:
        archive.members = []  # type: ignore[attr-defined]
        yield entry


def _tar_members(name: str, data: Stretch) -> Iterator[Member]:
    with _tar_entries(name, data) as (_, entries):
        for entry in entries:
            if not entry.isdir():
                plain = entry.isreg() and not entry.issparse()  # links could point anywhere
                reason = refusal(entry.name, 0, 0, False) or ("" if plain else "links and devices are not followed")
                yield Member(entry.name, entry.size, reason)


def _take_from_tar(name: str, data: Stretch, member: str) -> bytes:
    with _tar_entries(name, data) as (archive, entries):
        for entry in entries:
            if entry.name == member and entry.isreg() and not unsafe(member):
                if entry.size > MOST_TABLE_BYTES:
                    raise ValueError(f"{member} in {name} has {entry.size >> 20} MB")
                file = archive.extractfile(entry)
                assert file is not None
                return file.read()
    raise KeyError(member)


def _open_tar(name: str, data: Stretch) -> Archive:
    plain = decompressed(name, data)
    places: dict[str, tuple[int, int]] = {}
    with _tar_entries(name, plain) as (_, entries):
        for entry in entries:
            if entry.isreg() and not entry.issparse():
                places.setdefault(entry.name, (entry.offset_data, entry.size))
    return _at_places(plain, places)


def _at_places(data: Stretch, places: dict[str, tuple[int, int]]) -> Archive:
    def read(member: str) -> Stretch:
        if unsafe(member):
            raise ValueError(f"{member!r} is refused: {LEADS_OUT}")
        start, length = places[member]
        if start + length > data.length:
            raise EOFError(f"{member} ends early")
        return Stretch(data.file, data.start + start, length)

    return read


# --- 7z --------------------------------------------------------------------------------------------------------------


@contextmanager
def _seven_zip(name: str, data: Stretch) -> Iterator[Any]:
    try:
        import py7zr  # 0.2 s
        from py7zr.exceptions import AbsolutePathError, ArchiveError, PasswordRequired
    except ImportError:
        raise Mistake(
            f"{name} is a 7z archive; install what reads it with `pip install 'autoclimb[archives]'`, or unpack it"
        ) from None
    try:
        with faults_named(name), py7zr.SevenZipFile(data.stream(), "r") as archive:
            yield archive
    except (ArchiveError, PasswordRequired, AbsolutePathError) as error:
        raise ValueError(f"{name}: {error}") from error


def _seven_zip_members(name: str, data: Stretch) -> Iterator[Member]:
    with _seven_zip(name, data) as archive:
        locked = archive.needs_password()
        for info in archive.list():
            if not info.is_directory:
                packed = info.compressed or data.length  # of a solid block only the first member has a packed size
                reason = refusal(info.filename, info.uncompressed, packed, locked)
                yield Member(info.filename, info.uncompressed, reason)


def _take_from_seven_zip(name: str, data: Stretch, member: str) -> bytes:
    reason = next((entry.refused for entry in _seven_zip_members(name, data) if entry.name == member), "")
    if reason:
        raise ValueError(f"{member} in {name} is refused: {reason}")
    with _seven_zip(name, data) as archive:
        from py7zr.io import BytesIOFactory

        factory = BytesIOFactory(MOST_TABLE_BYTES)
        archive.extract(targets=[member], factory=factory)
        return factory.get(member).read()


def _open_seven_zip(name: str, data: Stretch) -> Archive:
    with _seven_zip(name, data) as archive:
        from py7zr.io import NullIO, Py7zIO, WriterFactory

        class Slot(Py7zIO):
            """Writes a member's bytes to the stretch reserved for its declared size; raises ValueError for more."""

            def __init__(self, file: BinaryIO, start: int, length: int):
                self.file, self.start, self.length, self.position = file, start, length, 0

            def write(self, s: bytes | bytearray) -> int:
                if self.position + len(s) > self.length:
                    raise ValueError(f"a member of {name} is larger than it claims")
                rest = memoryview(s)
                while rest:
                    with room_on_disk(spools()):
                        done = os.pwrite(self.file.fileno(), rest, self.start + self.position)
                    self.position, rest = self.position + done, rest[done:]
                return len(s)

            def read(self, size: int | None = None) -> bytes:
                return b""

            def seek(self, offset: int, whence: int = 0) -> int:
                return 0

            def flush(self) -> None:
                pass

            def size(self) -> int:
                return self.position

        class Slots(WriterFactory):
            """A slot for each member, a sink for those whose names lead out of the archive."""

            def create(self, filename: str) -> Py7zIO:
                return Slot(out, *places[filename]) if filename in places else NullIO()

        places, total = {}, 0
        for info in archive.list():
            if not info.is_directory and not unsafe(info.filename):
                places[info.filename] = total, info.uncompressed
            total += info.uncompressed
        if reason := bomb(total, data.length):
            raise ValueError(f"{name} is {reason}")
        need_room(name, total)
        out = temporary()
        os.ftruncate(out.fileno(), total)
        archive.extractall(factory=Slots())
    return _at_places(Stretch(out, 0, total), places)


KINDS: dict[str, ArchiveKind] = {
    "zip": ArchiveKind(_zip_members, _take_from_zip, _open_zip),
    "tar": ArchiveKind(_tar_members, _take_from_tar, _open_tar),
    "7z": ArchiveKind(_seven_zip_members, _take_from_seven_zip, _open_seven_zip),
}
