"""What a place in a file holds, numbers or the bytes of a picture: in archives, npy, npz, json, bson."""

import codecs
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from autoclimb.data.files import containers
from autoclimb.data.files.cells import keep_pixels
from autoclimb.data.files.containers import Stretch, archive_kind, decompressed, on_disk, once, open_archive

MOST_NUMBERS = 4 * 178_956_970  # of one item: four bands of the largest picture that Pillow decodes
MOST_DOCUMENT = 1 << 28  # bytes of a bson document, or of a json file that has to be read whole
PIECE = 1 << 22

Found = tuple[str, bytes | Stretch | np.ndarray]  # a name whose ending tells the kind, and what is there


@dataclass(frozen=True)
class Container:
    """An open file that has an inside: `read` takes up to `takes` steps and gives what is there."""

    takes: int
    read: Callable[[tuple[str, ...]], Found]


def found_at(file: str, *way: str) -> Found:
    """What lies at a place. Raises ValueError, OSError, KeyError, IndexError or EOFError where nothing readable does.

    Containers on the way are opened once a process. Raises Mistake where a package or room on the disk is missing.
    """
    if not way:
        return file, containers.whole_file(file)
    key = containers.file_key(file)
    make: Callable[[], Container] = lambda: open_container(file, containers.whole_file(file))  # noqa: E731
    while True:
        container = once(key, make)
        if len(way) <= container.takes:
            return container.read(way)
        key, make = (*key, *way[: container.takes]), partial(_deeper, container, way[: container.takes])
        way = way[container.takes :]


def _deeper(container: Container, way: tuple[str, ...]) -> Container:
    name, data = container.read(way)
    if isinstance(data, np.ndarray):
        raise ValueError(f"nothing lies inside of {name}")
    return open_container(name, on_disk(name, data))


def open_container(name: str, data: Stretch) -> Container:
    """What has an inside by its first bytes or ending: an archive, npy, npz, json or bson, compressed or not."""
    ending = name.lower().removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz").rpartition(".")[2]
    kind = archive_kind(name, data.read(0, 512))
    if kind:
        member = open_archive(name, data)
        return Container(1, partial(_named if ending == "npz" else _member, member))
    data = decompressed(name, data)
    if data.read(0, 6) == b"\x93NUMPY":
        return Container(99, partial(_row, name, mapped(data)))
    if ending in JSON:
        return Container(99, partial(_field, *keep_numbers(name, data)))
    if ending == "bson":
        return Container(2, partial(_picture, data))
    if ending in ("csv", "tsv"):
        return Container(1, partial(_pixels, name, *pixel_rows(name, data)))
    raise ValueError(f"{name} has no inside that is read")


JSON = ("json", "jsonl", "ndjson")


def _member(member: containers.Archive, way: tuple[str, ...]) -> Found:
    return way[0], member(way[0])


def _named(member: containers.Archive, way: tuple[str, ...]) -> Found:
    return f"{way[0]}.npy", member(f"{way[0]}.npy")


# --- npy -------------------------------------------------------------------------------------------------------------


def mapped(data: Stretch) -> np.ndarray:
    """The array of an npy file, mapped, not read. Objects are refused: reading them would run code."""
    stream = data.stream()
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype} holds no pictures")
    at = stream.tell()
    if math.prod(shape) * dtype.itemsize > data.length - at:
        raise EOFError("the array is shorter than its header claims")
    return np.memmap(data.file, dtype, "r", data.start + at, shape, "F" if fortran else "C")


def _row(name: str, array: np.ndarray, way: tuple[str, ...]) -> Found:
    for step in way:
        array = array[int(step)]
    return name, in_memory(array)


def in_memory(array: np.ndarray) -> np.ndarray:
    """A copy of one item, refused where it is larger than any picture."""
    if array.size > MOST_NUMBERS:
        raise ValueError(f"an item of {array.size:,} numbers is taken for a bomb")
    return np.array(array)


def whole_array(data: bytes | Stretch) -> np.ndarray:
    """All of an npy file, which is one item."""
    if isinstance(data, Stretch):
        return in_memory(mapped(data))
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError("an array of this kind holds no pictures")
    return array


def only_array(data: bytes | Stretch) -> np.ndarray:
    """The first array of an npz file, which is one item."""
    source = data.stream() if isinstance(data, Stretch) else io.BytesIO(data)
    try:
        with zipfile.ZipFile(source) as archive:
            first = next(n for n in archive.infolist() if n.filename.endswith(".npy"))
            if first.file_size > containers.MOST_MEMBER:
                raise ValueError(f"{first.filename} claims {first.file_size >> 20} MB; taken for a bomb")
            return whole_array(archive.read(first))
    except (zipfile.BadZipFile, StopIteration, RuntimeError) as error:
        raise ValueError(f"no array in an npz file: {error}") from error


def pixel_rows(name: str, data: Stretch) -> tuple[np.ndarray, frozenset[int]]:
    """The pixels that a csv holds in its cells, a row a picture, mapped from a nameless file; rows that hold none."""
    containers.bounded(data.length, name, data.length)  # a pixel takes two bytes of text at least, four as float32
    out = containers.temporary()
    count, kind, lost = keep_pixels(data.stream(), out)
    out.flush()
    return np.memmap(out, kind, "r").reshape(-1, count), lost


def _pixels(name: str, rows: np.ndarray, lost: frozenset[int], way: tuple[str, ...]) -> Found:
    if int(way[0]) in lost:
        raise ValueError(f"row {way[0]} does not hold {rows.shape[1]} numbers as the others do")
    return _row(name, rows, way)


# --- json ------------------------------------------------------------------------------------------------------------

Spots = dict[str, dict[tuple[str, ...], tuple[int, tuple[int, ...]]]]  # row -> way into it -> offset, shape


def keep_numbers(name: str, data: Stretch) -> tuple[Stretch, Spots]:
    """All lists of numbers of a json file as float32 in a nameless file, and where each is.

    Parsed once and row by row: a band of 5,625 numbers takes 22 KB so, 180 KB as Python's floats. A row of a list (or
    a line of json lines) is known by its number, a value of an object by its name.
    """
    containers.bounded(data.length, name, data.length)  # float32 is never longer than its text
    out, at = containers.temporary(), 0
    spots: Spots = {}
    for row, value in _rows(name, data):
        spots[row] = {}
        for way, numbers in _numbers(value):
            spots[row][way] = at, numbers.shape
            out.write(numbers.tobytes())
            at += numbers.nbytes
    out.flush()
    return Stretch(out, 0, at), spots


def _field(kept: Stretch, spots: Spots, way: tuple[str, ...]) -> Found:
    row = spots[way[0]]
    for end in range(1, len(way) + 1):
        if way[1:end] in row:
            at, shape = row[way[1:end]]
            numbers = np.frombuffer(kept.read(at, 4 * math.prod(shape)), np.float32).reshape(shape)
            return _row("a field", numbers, way[end:])
    raise KeyError(f"no numbers at {way}")


def _numbers(value: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, (*way, name))
    elif isinstance(value, list) and value and isinstance(value[0], int | float | list | None):
        try:
            yield way, np.asarray(value, np.float32)
        except (ValueError, TypeError):
            return  # ragged, or words among them


def _rows(name: str, data: Stretch) -> Iterator[tuple[str, Any]]:
    """The rows of a list, the lines of json lines, or the values of one object; the text is held piece by piece."""
    stream, decode = data.stream(), json.JSONDecoder().raw_decode
    text, at, over = "", 0, False
    incremental = codecs.getincrementaldecoder("utf-8-sig")()

    def more() -> None:
        nonlocal text, at, over
        piece = stream.read(max(PIECE, len(text) - at))  # doubles, so that a long row is not parsed too often
        over = not piece
        text, at = text[at:] + incremental.decode(piece, over), 0

    def skip(signs: str) -> None:
        nonlocal at
        while True:
            while at < len(text) and text[at] in signs:
                at += 1
            if at < len(text) or over:
                return
            more()

    skip(" \t\r\n")
    listed = text[at : at + 1] == "["
    count = 0
    if listed:
        at += 1
    while True:
        skip(" \t\r\n,")
        if at >= len(text) or (listed and text[at] == "]"):
            break
        if text[at] not in "{[":
            raise ValueError(f"{name}: row {count} is no row of numbers")
        try:
            value, at = decode(text, at)
        except RecursionError as error:
            raise ValueError(f"{name}: row {count} is nested too deeply") from error
        except json.JSONDecodeError as error:
            if over or len(text) - at > MOST_DOCUMENT:
                raise ValueError(f"{name}: row {count}: {error}") from error
            more()
            continue
        if not listed and not count:  # one object, or the first line of many
            skip(" \t\r\n,")
            if at >= len(text):
                yield from value.items()
                return
        yield str(count), value
        count += 1
    if listed and at >= len(text):
        raise ValueError(f"{name} ends early")


# --- bson ------------------------------------------------------------------------------------------------------------

FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}


def _picture(data: Stretch, way: tuple[str, ...]) -> Found:
    """The k-th binary value of the document that begins at a byte; values that are no pictures count as well."""
    offset, wanted = int(way[0]), int(way[1]) if len(way) > 1 else 0
    if offset < 0:
        raise IndexError("a document begins at a byte of the file")
    (length,) = struct.unpack("<i", data.read(offset, 4))
    if not 5 <= length <= MOST_DOCUMENT:
        raise ValueError(f"no bson document at byte {offset}")
    document = data.read(offset, length)
    if len(document) != length:
        raise EOFError("the document ends early")
    for number, value in enumerate(binaries(document)):
        if number == wanted:
            return f"{wanted}", value
    raise IndexError(f"the document at byte {offset} has no picture {wanted}")


def binaries(document: bytes, depth: int = 0) -> Iterator[bytes]:
    """The binary values of a bson document in order, those of inner documents and lists in their place.

    By hand (bsonspec.org, 20 kinds of values, of which only the binary one is looked at): pymongo's reader comes with
    a whole driver and makes Python objects of everything.
    """
    at, end = 4, len(document) - 1
    while at < end:
        kind, at = document[at], document.index(b"\0", at + 1) + 1
        if kind in FIXED:
            at += FIXED[kind]
        elif kind in (0x02, 0x0D, 0x0E):
            at += 4 + max(1, struct.unpack_from("<i", document, at)[0])  # a length below 1 must not lead backwards
        elif kind == 0x05:
            (length,) = struct.unpack_from("<i", document, at)
            if not 0 <= length <= end - at - 5:
                raise ValueError("a bson value is longer than its document")
            yield document[at + 5 : at + 5 + length]
            at += 5 + length
        elif kind in (0x03, 0x04):
            (length,) = struct.unpack_from("<i", document, at)
            if not 5 <= length <= end - at or depth > 20:
                raise ValueError("a bson document is longer than the one around it")
            yield from binaries(document[at : at + length], depth + 1)
            at += length
        elif kind == 0x0B:
            at = document.index(b"\0", document.index(b"\0", at) + 1) + 1
        else:
            raise ValueError(f"bson value of kind {kind:#x} is not read")
