"""Archives, opened once a process: what lies inside them as bytes, nothing unpacked under a name of its own.

Members that can be had one by one (zip, plain tar) are read when asked for. Those that cannot (7z, compressed tar,
archives inside of archives) are decompressed once, in order, into one nameless temporary file in which a member is a
stretch of bytes: reading a solid 7z of n members one by one would decompress it n times, and reading in groups would
need the whole list beforehand, for every size anew. A member's name is looked up, never used as a path.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

from autoclimb.errors import Mistake, room_on_disk

MOST_MEMBER = 1 << 29  # bytes of a picture in an archive: the largest that is decoded has 179 million pixels
MOST_RATIO, FROM_BYTES = 300, 1 << 30  # an archive of more than this that grows more than 300-fold is a bomb
KEPT_FREE = 1 << 30  # bytes of disk that decompressed members leave alone
MOST_OPEN = 32  # containers held open, the least lately used closed first
PIECE = 1 << 20

shelf: OrderedDict[tuple, Any] = OrderedDict()  # key -> what was opened, or the error that opening it was
shelf_lock, opening = threading.Lock(), threading.RLock()  # opening takes minutes; others' open containers go on
spool_folder: list[Path] = []  # at most one


@dataclass(frozen=True, eq=False)
class Stretch:
    """Bytes `start` to `start + length` of an open file; read at any place by any thread at once."""

    file: BinaryIO
    start: int
    length: int

    def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """Bytes from an offset on, fewer at the end."""
        left = max(0, self.length - offset if count is None else min(count, self.length - offset))
        parts = []
        while left > 0:
            part = os.pread(self.file.fileno(), min(left, PIECE << 6), self.start + offset)
            if not part:
                raise EOFError("the file ends early")
            parts.append(part)
            offset, left = offset + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self) -> BinaryIO:
        """The bytes as a file of their own, with its own position."""
        return io.BufferedReader(_Reader(self), PIECE >> 3)


class _Reader(io.RawIOBase):
    def __init__(self, stretch: Stretch):
        self.stretch, self.at = stretch, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, self.stretch.length)[whence])
        return self.at

    def readinto(self, buffer: Any) -> int:
        part = self.stretch.read(self.at, len(buffer))
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


Archive = Callable[[str], bytes | Stretch]  # a member's name -> what it holds


def keep_spools_in(folder: Path) -> None:
    """From now on decompressed members go to a nameless file in this folder, else to the system's temporary one."""
    spool_folder[:] = [folder]


def once(key: tuple, make: Callable[[], Any]) -> Any:
    """What `make` gave for the key, made once a process; its error is raised again without another try."""
    with shelf_lock:
        if key in shelf:
            shelf.move_to_end(key)
            return _given(shelf[key])
    with opening:
        with shelf_lock:
            if key in shelf:
                return _given(shelf[key])
        made: Any
        try:
            made = make()
        except (ValueError, OSError, EOFError, Mistake) as error:
            made = error
        with shelf_lock:
            shelf[key] = made
            while len(shelf) > MOST_OPEN:
                shelf.popitem(last=False)  # closed when the last thread that reads it lets go
        return _given(made)


def _given(made: Any) -> Any:
    if isinstance(made, Exception):
        raise made
    return made


def file_key(file: str) -> tuple:
    """The key of a file as it is now: path, size and time."""
    stat = os.stat(file)
    return file, stat.st_size, stat.st_mtime_ns


def whole_file(file: str) -> Stretch:
    """All of a file on disk."""
    handle = open(file, "rb")  # noqa: SIM115 - closed with the stretch, which outlives this function
    return Stretch(handle, 0, os.fstat(handle.fileno()).st_size)


def archive_kind(name: str, head: bytes) -> str:
    """zip, 7z, tar, or "" by the first bytes, then by the name."""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[:6] == b"7z\xbc\xaf\x27\x1c":
        return "7z"
    if head[257:262] == b"ustar":
        return "tar"
    endings = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
    return "tar" if name.lower().endswith(endings) else ""


def open_archive(name: str, data: Stretch) -> Archive:
    """The members of an archive by name. Raises ValueError for what is none, Mistake where py7zr is needed."""
    kind = archive_kind(name, data.read(0, 512))
    if not kind:
        raise ValueError(f"{name} is no archive that is read ({', '.join(ARCHIVES)})")
    try:
        return ARCHIVES[kind](name, data)
    except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{name}: {error}") from error


def checked(name: str) -> str:
    """The name of a member if it stays below its archive, else a ValueError."""
    path = PureWindowsPath(name)  # knows both slashes and drives
    if path.is_absolute() or path.drive or path.root or ".." in path.parts:
        raise ValueError(f"member {name!r} points outside of its archive")
    return name


def _zip(name: str, data: Stretch) -> Archive:
    """Threads may read one ZipFile: each member has a position of its own behind the file's lock."""
    archive = zipfile.ZipFile(data.stream())

    def member(wanted: str) -> bytes | Stretch:
        info = archive.getinfo(checked(wanted))
        if info.flag_bits & 1:
            raise ValueError(f"{wanted} in {name} needs a password")
        if info.file_size > MOST_MEMBER:
            if info.file_size > MOST_RATIO * max(info.compress_size, 1):
                raise ValueError(f"{wanted} in {name} claims {info.file_size >> 20} MB; taken for a bomb")
            with archive.open(info) as file:
                return spooled(file, info.file_size, name, info.compress_size)
        try:
            with archive.open(info) as file:
                made = file.read(info.file_size)  # no more than was declared, whatever the stream holds
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"{wanted} in {name}: {error}") from error
        if len(made) != info.file_size:
            raise ValueError(f"{wanted} in {name} ends early")
        return made

    return member


def _tar(name: str, data: Stretch) -> Archive:
    """An index of stretches; a compressed tar is decompressed first."""
    plain = decompressed(name, data)
    at: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=plain.stream(), mode="r:") as archive:
        for info in archive:
            if info.isreg() and not info.issparse():  # links could point anywhere
                at[info.name] = info.offset_data, info.size
                at.setdefault(info.name.removeprefix("./"), at[info.name])
            archive.members = []  # type: ignore[attr-defined]  # it keeps every header otherwise
    return _stretches(plain, at)


def decompressed(name: str, data: Stretch) -> Stretch:
    """What a gzip, bzip2 or xz file holds; other data as they are."""
    opened = COMPRESSED.get(data.read(0, 2))
    if opened is None:
        return data
    try:
        with opened(data.stream()) as file:
            return spooled(file, None, name, data.length)
    except (lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{name}: {error}") from error


COMPRESSED: dict[bytes, Callable] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


def _stretches(data: Stretch, at: dict[str, tuple[int, int]]) -> Archive:
    def member(wanted: str) -> Stretch:
        start, length = at[checked(wanted)]
        if start + length > data.length:
            raise EOFError(f"{wanted} ends early")
        return Stretch(data.file, data.start + start, length)

    return member


def _seven_zip(name: str, data: Stretch) -> Archive:
    try:
        import py7zr
        from py7zr.exceptions import AbsolutePathError, ArchiveError, PasswordRequired
        from py7zr.io import NullIO, Py7zIO, WriterFactory
    except ImportError:
        raise Mistake(
            f"{name} is a 7z archive; install what reads it with `pip install 'autoclimb[archives]'`, or unpack it"
        ) from None

    class Slot(Py7zIO):
        """Takes a member's bytes to the stretch that its declared size reserved, not one byte more."""

        def __init__(self, file: BinaryIO, start: int, length: int):
            self.file, self.start, self.length, self.at = file, start, length, 0

        def write(self, s: bytes | bytearray) -> int:
            if self.at + len(s) > self.length:
                raise ValueError(f"a member of {name} is larger than it claims")
            rest = memoryview(s)
            while rest:
                with room_on_disk(spools()):
                    done = os.pwrite(self.file.fileno(), rest, self.start + self.at)
                self.at, rest = self.at + done, rest[done:]
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self.at

    class Slots(WriterFactory):
        """A slot for each member, a sink for those whose names point elsewhere."""

        def create(self, filename: str) -> Py7zIO:
            return Slot(out, *at[filename]) if filename in at else NullIO()

    try:
        with py7zr.SevenZipFile(data.stream(), "r") as archive:
            at, total = {}, 0
            for info in archive.list():
                with suppress(ValueError):
                    if not info.is_directory:
                        at[checked(info.filename)] = total, info.uncompressed
                total += info.uncompressed
            bounded(total, name, data.length)
            out = temporary()
            os.ftruncate(out.fileno(), total)
            archive.extractall(factory=Slots())
    except (ArchiveError, PasswordRequired, AbsolutePathError) as error:
        raise ValueError(f"{name}: {error}") from error
    return _stretches(Stretch(out, 0, total), at)


ARCHIVES: dict[str, Callable[[str, Stretch], Archive]] = {"zip": _zip, "tar": _tar, "7z": _seven_zip}


def spools() -> Path:
    """Where nameless files are made."""
    return spool_folder[0] if spool_folder and spool_folder[0].is_dir() else Path(tempfile.gettempdir())


def temporary() -> BinaryIO:
    """A nameless file, gone with the process."""
    return tempfile.TemporaryFile(dir=spools())


def room_to_spool() -> tuple[int, str]:
    """Bytes that may still be decompressed, and where."""
    return max(0, shutil.disk_usage(spools()).free - KEPT_FREE), str(spools())


def bounded(size: int, name: str, packed: int) -> None:
    """Raises ValueError for a bomb, Mistake where the disk is too small for `size` bytes more."""
    if size > FROM_BYTES and size > MOST_RATIO * packed:
        raise ValueError(f"{name} grows from {packed >> 10} KB to {size >> 20} MB; taken for a bomb")
    free, folder = room_to_spool()
    if size > free:
        raise Mistake(
            f"{name} holds {size >> 20} MB, but {folder} has room for {free >> 20} MB; unpack it on a larger disk"
        )


def spooled(file: Any, size: int | None, name: str, packed: int) -> Stretch:
    """All that a stream gives, in a nameless file; `size` where it was declared, else bounded as it comes."""
    bounded(size or 0, name, packed)
    out, done, looked = temporary(), 0, 0
    while piece := file.read(PIECE):
        done += len(piece)
        if size is not None and done > size:
            raise ValueError(f"{name} is larger than it claims")
        if done - looked > 64 * PIECE:
            bounded(done, name, packed)
            bounded(64 * PIECE, name, 1 << 62)
            looked = done
        with room_on_disk(spools()):
            out.write(piece)
    with room_on_disk(spools()):
        out.flush()
    return Stretch(out, 0, done)


def on_disk(name: str, data: bytes | Stretch) -> Stretch:
    """The bytes as a stretch of a file, which containers inside of containers are opened from."""
    return data if isinstance(data, Stretch) else spooled(io.BytesIO(data), len(data), name, len(data))
