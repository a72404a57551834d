"""Bson (bsonspec.org): one row a document, and the pictures in it, by one walk over a document's fields.

By hand: of 20 kinds of values a picture is one, and pymongo's reader comes with a whole driver and makes Python objects
of every value; here the bytes of pictures are skipped, not read, until one is asked for.
"""

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from autoclimb.data.files.formats import MOST_DOCUMENT_BYTES
from autoclimb.data.files.spool import Stretch
from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.sources import inside, pictures

DOUBLE, STRING, DOCUMENT, LIST, BINARY, OBJECT_ID, BOOL, DATE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09
REGEX, REFERENCE, CODE, SYMBOL, SCOPED_CODE, INT, LONG = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x12
LENGTHS = {DOUBLE: 8, OBJECT_ID: 12, BOOL: 1, DATE: 8, INT: 4, 0x11: 8, LONG: 8, 0x13: 16}
LENGTHS |= dict.fromkeys((0x06, 0x0A, 0x7F, 0xFF), 0)
FEWEST_BYTES = 64  # of a binary field from which it is a picture; shorter ones are ids and hashes
DEEPEST = 20

Buffer = bytes | mmap.mmap


class Field(NamedTuple):
    """A plain field of a document: how deep it lies, its name, its kind, and where its value is in the buffer."""

    depth: int
    name: bytes
    kind: int
    start: int
    length: int


def fields_of(data: Buffer, start: int, end: int, depth: int = 0) -> Iterator[Field]:
    """The plain fields of the document at a byte, in order, those of inner documents and lists in their place.

    `end` is where the document must have ended. Raises ValueError for what is no document.
    """
    length = _int(data, start, end)
    if not 5 <= length <= end - start:
        raise ValueError("a bson document is longer than what holds it")
    if depth > DEEPEST:
        raise ValueError("a bson document is nested too deeply")
    at, end = start + 4, start + length - 1
    while at < end:
        kind, stop = data[at], data.find(b"\0", at + 1, end)
        if stop < 0:
            raise ValueError("a bson field has no name")
        name, at = data[at + 1 : stop], stop + 1
        if kind in (DOCUMENT, LIST):
            yield from fields_of(data, at, end, depth + 1)
            at += _int(data, at, end)
            continue
        skipped, length = _span(data, kind, at, end)
        if length < 0 or at + skipped + length > end:
            raise ValueError("a bson value is longer than its document")
        yield Field(depth, name, kind, at + skipped, length)
        at += skipped + length


def _span(data: Buffer, kind: int, at: int, end: int) -> tuple[int, int]:
    """Bytes before the value of a field and bytes of the value."""
    if kind in LENGTHS:
        return 0, LENGTHS[kind]
    if kind in (STRING, CODE, SYMBOL):
        return 4, _int(data, at, end) if _int(data, at, end) > 0 else -1  # must not lead backwards
    if kind == BINARY:
        return 5, _int(data, at, end)
    if kind == REFERENCE:
        return 4, _int(data, at, end) + 12 if _int(data, at, end) > 0 else -1
    if kind == SCOPED_CODE:
        return 0, _int(data, at, end) if _int(data, at, end) > 4 else -1
    if kind == REGEX:
        first = data.find(b"\0", at, end)
        second = data.find(b"\0", first + 1, end)
        return 0, second + 1 - at if 0 <= first < second else -1
    raise ValueError(f"a bson value of kind {kind:#x} is not read")


def _int(data: Buffer, at: int, end: int) -> int:
    if at + 4 > end:
        raise ValueError("a bson value is longer than its document")
    return int.from_bytes(data[at : at + 4], "little", signed=True)


def is_picture(field: Field) -> bool:
    """Whether a field is taken for a picture: pictures are counted so when they are listed and when they are read."""
    return field.kind == BINARY and field.length >= FEWEST_BYTES


def tables_in(file: TableFile) -> list[Table]:
    """One row a document: its plain fields as text, and a source for each picture in it.

    A file cut off within a document is read up to there, with a note.
    """
    rows: list[dict[str, str]] = []
    sources: list[str] = []
    at, end = file.data.start, file.data.start + file.data.length
    if not file.data.length:
        return []
    with mmap.mmap(file.data.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while at + 5 <= end:
            row: dict[str, str] = {}
            count = 0
            try:
                for field in fields_of(data, at, end):
                    count += is_picture(field)
                    if not field.depth and (text := text_of_field(data, field)) is not None:
                        row[field.name.decode("utf-8", "replace")] = text
            except ValueError as error:
                file.notes.append(f"{file.name} breaks off after {len(rows)} documents ({error})")
                break
            rows.append(row)
            start = at - file.data.start
            sources.append(pictures(inside(file.source, start, k) for k in range(count)) if count else "")
            at += _int(data, at, end)
        else:
            if at < end:
                file.notes.append(f"{file.name} breaks off after {len(rows)} documents; {end - at} bytes are left over")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not rows or not keys:
        return []
    cells = {k: [row.get(k, "") for row in rows] for k in keys}
    return [Table(file.name, cells, tuple(sources) if any(sources) else ())]


def text_of_field(data: Buffer, field: Field) -> str | None:
    """A field as a table's cell, None for kinds that are of no use there."""
    value = data[field.start : field.start + field.length] if field.kind != BINARY else b""
    if field.kind == STRING:
        return value[:-1].decode("utf-8", "replace")
    if field.kind in (INT, LONG, DATE):
        return str(int.from_bytes(value, "little", signed=True))
    if field.kind == DOUBLE:
        return f"{struct.unpack('<d', value)[0]:.12g}"
    if field.kind == BOOL:
        return str(value[0])
    return value.hex() if field.kind == OBJECT_ID else None


def picture_in(data: Stretch, steps: tuple[str, ...]) -> tuple[str, bytes]:
    """The k-th picture of the document that begins at a byte, and its name; the steps are that byte and k.

    Raises ValueError, EOFError or IndexError where there is none.
    """
    offset, wanted = int(steps[0]), int(steps[1]) if len(steps) > 1 else 0
    if offset < 0:
        raise IndexError("a document begins at a byte of the file")
    start = data.read(offset, 4)
    length = _int(start, 0, len(start))
    if not 5 <= length <= MOST_DOCUMENT_BYTES:
        raise ValueError(f"no bson document at byte {offset}")
    document = data.read(offset, length)
    if len(document) != length:
        raise EOFError("the document ends early")
    for number, field in enumerate(filter(is_picture, fields_of(document, 0, length))):
        if number == wanted:
            return f"{wanted}", document[field.start : field.start + field.length]
    raise IndexError(f"the document at byte {offset} has no picture {wanted}")
