"""What archives hold, by their tables of contents; nothing is unpacked to disk, archives in archives are read too."""

import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any

from autoclimb.data.sources import unspeakable
from autoclimb.errors import Mistake, room_on_disk

BROKEN: tuple[type[BaseException], ...] = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    KeyError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
MOST_MEMBERS = 5_000_000
MOST_BYTES = 4 << 30  # of a table, json or inner archive that is taken out as a whole
BOMB = 1000  # bytes out of one byte in from which a large member is taken for a bomb; real tables stay below 100
LARGE = 100 << 20


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path there, its bytes when unpacked, and why it must not be read ("" where it may)."""

    name: str
    size: int
    refused: str = ""


def members_of(path: str, *way: str) -> Iterator[Member]:
    """The files that an archive holds, or the archive at the end of `way` inside it.

    Raises one of `reading_errors()` where it cannot be read.
    """
    with opened(path, *way) as archive:
        if isinstance(archive, zipfile.ZipFile):
            for info in archive.infolist():
                if not info.is_dir():
                    locked = "locked by a password" if info.flag_bits & 1 else ""
                    yield Member(info.filename, info.file_size, locked or bomb(info.file_size, info.compress_size))
        elif isinstance(archive, tarfile.TarFile):
            for entry in archive:
                if not entry.isdir():
                    special = "" if entry.isfile() else "links and devices are not followed"
                    yield Member(entry.name, entry.size, special)
        else:
            locked = "locked by a password" if archive.needs_password() else ""
            for held in archive.list():
                if not held.is_directory:
                    size = held.uncompressed
                    yield Member(held.filename, size, locked or bomb(size, held.compressed or size))


def read_member(path: str, *way: str) -> bytes:
    """The bytes of the file at the end of `way` inside an archive. Raises one of `reading_errors()`."""
    *inner, name = way
    with opened(path, *inner) as archive:
        return taken(archive, name)


def taken(archive: Any, name: str) -> bytes:
    """A member's bytes; ValueError where there are more than are held at once."""
    if isinstance(archive, zipfile.ZipFile):
        info = archive.getinfo(name)
        refused = bomb(info.file_size, info.compress_size)
        if refused:
            raise ValueError(refused)
        with archive.open(info) as file:
            return at_most(file)
    if isinstance(archive, tarfile.TarFile):
        held = archive.extractfile(name)
        if held is None:
            raise KeyError(name)
        return at_most(held)
    from py7zr.io import BytesIOFactory

    factory = BytesIOFactory(MOST_BYTES)
    archive.extract(targets=[name], factory=factory)
    return factory.get(name).read()


def at_most(file: IO[bytes] | GzipFile) -> bytes:
    """What a file holds, if that is no more than MOST_BYTES; ValueError otherwise."""
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES >> 30} GB")
    return data


def bomb(size: int, packed: int) -> str:
    """Why a member is taken for a bomb, "" for an honest one."""
    return f"{size} bytes packed into {packed}" if size > LARGE and size > BOMB * max(packed, 1) else ""


@contextmanager
def opened(path: str, *way: str) -> Iterator[Any]:
    """The archive at the end of `way`, open for reading; inner archives lie in a temporary file while they are."""
    with open(path, "rb") as outer:
        archive = open_archive(path, outer)
        with archive:
            if not way:
                yield archive
                return
            with tempfile.TemporaryFile() as inner:
                data = taken(archive, way[0])
                with room_on_disk(Path(tempfile.gettempdir())):
                    inner.write(data)
                    inner.flush()
                inner.seek(0)
                with open_archive(way[0], inner) as deeper:
                    if len(way) > 1:
                        with io.BytesIO(taken(deeper, way[1])) as last, open_archive(way[1], last) as deepest:
                            yield deepest
                    else:
                        yield deeper


def open_archive(name: str, file: IO[bytes]) -> Any:
    """The archive in an open file, read as what its first bytes say; a .tar.gz may be a plain tar."""
    start = file.read(6)
    file.seek(0)
    if start == b"7z\xbc\xaf\x27\x1c":
        try:
            from py7zr import SevenZipFile  # 0.2 s to import
        except ImportError:
            raise Mistake(
                f"{name} is a 7z archive; install what reads it with `pip install 'autoclimb[archives]'`, or unpack it"
            ) from None
        return SevenZipFile(file, "r")
    if start[:2] == b"PK":
        return zipfile.ZipFile(file)
    return tarfile.open(name, "r:*", fileobj=file)


def reading_errors() -> tuple[type[BaseException], ...]:
    """What reading a broken archive may raise."""
    try:
        from py7zr.exceptions import ArchiveError
    except ImportError:
        return BROKEN
    return (*BROKEN, ArchiveError)


def unsafe(name: str) -> bool:
    """Whether a member's path leads out of its folder, or would if it were taken apart as a source."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or unspeakable(name)
