"""Stretches of bytes: a file, a part of one, or data decompressed into a nameless temporary file."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from autoclimb.data.files.formats import bomb
from autoclimb.errors import Mistake, room_on_disk

RESERVE = 1 << 30  # bytes of disk that decompressed data leave free
PIECE = 1 << 20
CHECKED = 64 * PIECE  # bytes written between two checks of the free disk

spool_folder: list[Path] = []  # at most one


@dataclass(frozen=True, eq=False)
class Stretch:
    """Bytes `start` to `start + length` of an open file. Threads may read one at the same time."""

    file: BinaryIO
    start: int
    length: int

    def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """The bytes from an offset on, fewer at the end. Raises EOFError where the file ends too early."""
        left = max(0, self.length - offset if count is None else min(count, self.length - offset))
        parts = []
        while left > 0:
            part = os.pread(self.file.fileno(), min(left, CHECKED), self.start + offset)
            if not part:
                raise EOFError("the file ends early")
            parts.append(part)
            offset, left = offset + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self) -> BinaryIO:
        """The bytes as a file object with its own position."""
        return io.BufferedReader(_StretchReader(self), PIECE >> 3)


class _StretchReader(io.RawIOBase):
    def __init__(self, stretch: Stretch):
        self.stretch, self.position = stretch, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = max(0, offset + (0, self.position, self.stretch.length)[whence])
        return self.position

    def readinto(self, buffer: Any) -> int:
        part = self.stretch.read(self.position, len(buffer))
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)


def stretch_of(path: str) -> Stretch:
    """The stretch of a file on disk. Raises OSError."""
    file = open(path, "rb")  # noqa: SIM115 - closed with the stretch, which outlives this function
    return Stretch(file, 0, os.fstat(file.fileno()).st_size)


# --- compressed files ------------------------------------------------------------------------------------------------

COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def is_compressed(data: Stretch) -> bool:
    """Whether the data are gzip, bzip2 or xz by their first bytes."""
    return data.read(0, 5).startswith(tuple(COMPRESSED))


@contextmanager
def decompressing(name: str, data: Stretch) -> Iterator[BinaryIO]:
    """The contents of a gzip, bzip2 or xz file as a stream; other data as they are.

    Raises ValueError for broken data and for bombs, EOFError for data that end early.
    """
    start = data.read(0, 5)
    opened = next((opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), None)
    if opened is None:
        yield data.stream()
        return
    try:
        with opened(data.stream()) as file:
            yield io.BufferedReader(_BoundedReader(file, name, data.length), PIECE)
    except (lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{name}: {error}") from error


class _BoundedReader(io.RawIOBase):
    """A decompressed stream that raises ValueError once it has grown too much."""

    def __init__(self, file: Any, name: str, packed: int):
        self.file, self.name, self.packed, self.size = file, name, packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.file.read(len(buffer))
        buffer[: len(part)] = part
        self.size += len(part)
        if reason := bomb(self.size, self.packed):
            raise ValueError(f"{self.name} is {reason}")
        return len(part)


def decompressed(name: str, data: Stretch) -> Stretch:
    """The contents of a gzip, bzip2 or xz file in a nameless file; other data unchanged. Raises as `decompressing`."""
    if not is_compressed(data):
        return data
    with decompressing(name, data) as stream:
        return spooled(name, stream)


# --- nameless files --------------------------------------------------------------------------------------------------


def keep_spools_in(folder: Path) -> None:
    """Makes this folder the one for nameless files of decompressed data, in place of the system's temporary one."""
    spool_folder[:] = [folder]


def spools() -> Path:
    """The folder of nameless files."""
    return spool_folder[0] if spool_folder and spool_folder[0].is_dir() else Path(tempfile.gettempdir())


def temporary() -> BinaryIO:
    """A nameless file, gone with the process."""
    return tempfile.TemporaryFile(dir=spools())


def need_room(name: str, size: int) -> None:
    """Raises Mistake where the disk is too small for `size` bytes more."""
    free = max(0, shutil.disk_usage(spools()).free - RESERVE)
    if size > free:
        raise Mistake(
            f"{name} holds {size >> 20} MB, but {spools()} has room for {free >> 20} MB; unpack it on a larger disk"
        )


def spooled(name: str, stream: Any, size: int | None = None) -> Stretch:
    """All bytes of a stream in a nameless file; `size` where it was declared.

    Raises ValueError for a stream longer than it claims, Mistake where the disk is too small.
    """
    need_room(name, CHECKED if size is None else size)
    out, done, checked = temporary(), 0, 0
    while piece := stream.read(PIECE):
        done += len(piece)
        if size is not None and done > size:
            raise ValueError(f"{name} is larger than it claims")
        if size is None and done - checked >= CHECKED:
            need_room(name, CHECKED)
            checked = done
        with room_on_disk(spools()):
            out.write(piece)
    with room_on_disk(spools()):
        out.flush()
    return Stretch(out, 0, done)


def on_disk(name: str, data: bytes | Stretch) -> Stretch:
    """The bytes as a stretch of a file, from which an archive inside an archive can be opened."""
    return data if isinstance(data, Stretch) else spooled(name, io.BytesIO(data), len(data))
