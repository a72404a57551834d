"""Bson (bsonspec.org): a row for each document, and the pictures in it, by one walk over a document's fields.

It is own code since pymongo's reader comes with a database driver and makes a Python object of every value; here the
bytes of pictures are skipped until one is read.
"""

import mmap
import struct

from autoclimb.data.files.formats import MOST_DOCUMENT_BYTES
from autoclimb.data.files.spool import Stretch
from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.sources import inside, pictures

DOUBLE, STRING, DOCUMENT, LIST, BINARY, OBJECT_ID, BOOL, DATE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09
REGEX, REFERENCE, CODE, SYMBOL, SCOPED_CODE, INT, LONG = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x12
LENGTHS = {DOUBLE: 8, OBJECT_ID: 12, BOOL: 1, DATE: 8, INT: 4, 0x11: 8, LONG: 8, 0x13: 16}
LENGTHS |= dict.fromkeys((0x06, 0x0A, 0x7F, 0xFF), 0)
COUNTED = {  # kinds whose length stands before them: bytes before the value, bytes after what is counted, least length
    STRING: (4, 0, 1),
    CODE: (4, 0, 1),
    SYMBOL: (4, 0, 1),
    BINARY: (5, 0, 0),
    REFERENCE: (4, 12, 1),
    SCOPED_CODE: (0, 0, 5),
}
INT32 = struct.Struct("<i").unpack_from
FEWEST_BYTES = 64  # of a binary field from which it is a picture; shorter ones are ids and hashes
DEEPEST = 20

Buffer = bytes | mmap.mmap


Field = tuple[int, int, int, int, int, int]  # depth, kind, name from, to, value from, its length


def fields_of(data: Buffer, start: int, end: int) -> list[Field]:
    """The plain fields of the document that starts at a byte, in order, with those of inner documents and lists.

    `end` is the byte before which the document must end. Raises ValueError where there is no valid document.
    """
    fields: list[Field] = []
    try:
        _walk(data, start, end, 0, fields)
    except struct.error:
        raise ValueError("a bson value is longer than its document") from None
    return fields


def _walk(data: Buffer, start: int, end: int, depth: int, fields: list[Field]) -> int:
    """Appends the fields of a document and returns the byte after it. Appending is a third faster than a generator."""
    (length,) = INT32(data, start)
    if not 5 <= length <= end - start:
        raise ValueError("a bson document is longer than what holds it")
    if depth > DEEPEST:
        raise ValueError("a bson document is nested too deeply")
    at, after_document = start + 4, start + length
    end = after_document - 1
    while at < end:
        kind, name_end = data[at], data.find(b"\0", at + 1, end)
        if name_end < 0:
            raise ValueError("a bson field has no name")
        value = name_end + 1
        if kind in (DOCUMENT, LIST):
            at = _walk(data, value, end, depth + 1, fields)
            continue
        if kind in LENGTHS:
            length = LENGTHS[kind]
        elif kind in COUNTED:
            before, after, least = COUNTED[kind]
            (length,) = INT32(data, value)
            if length < least:  # it must not lead backwards
                raise ValueError("a bson value has a negative length")
            value, length = value + before, length + after
        elif kind == REGEX:
            length = data.find(b"\0", data.find(b"\0", value, end) + 1, end) + 1 - value
        else:
            raise ValueError(f"a bson value of kind {kind:#x} is not read")
        if length < 0 or value + length > end:
            raise ValueError("a bson value is longer than its document")
        fields.append((depth, kind, at + 1, name_end, value, length))
        at = value + length
    return after_document


def is_picture(field: Field) -> bool:
    """Whether a field is taken for a picture, so that listing and reading count the same pictures."""
    return field[1] == BINARY and field[5] >= FEWEST_BYTES


def tables_in(file: TableFile) -> list[Table]:
    """The table of a row for each document: its plain fields as text, and a source with the pictures in it.

    A file that ends within a document is read up to there, with a note.
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
                    if is_picture(field):
                        count += 1
                    elif not field[0] and (text := text_of_field(data, field)) is not None:
                        row[data[field[2] : field[3]].decode("utf-8", "replace")] = text
            except ValueError as error:
                file.notes.append(f"{file.name} breaks off after {len(rows)} documents ({error})")
                break
            rows.append(row)
            start = at - file.data.start
            sources.append(pictures(inside(file.source, start, k) for k in range(count)) if count else "")
            at += INT32(data, at)[0]
        else:
            if at < end:
                file.notes.append(f"{file.name} breaks off after {len(rows)} documents; {end - at} bytes are left over")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not rows or not keys:
        return []
    cells = {k: [row.get(k, "") for row in rows] for k in keys}
    return [Table(file.name, cells, tuple(sources) if any(sources) else ())]


def text_of_field(data: Buffer, field: Field) -> str | None:
    """A field as a table's cell, None for kinds that have no text."""
    _, kind, _, _, start, length = field
    if kind in (INT, LONG, DATE):
        return str(int.from_bytes(data[start : start + length], "little", signed=True))
    if kind == STRING:
        return data[start : start + length - 1].decode("utf-8", "replace")
    if kind == DOUBLE:
        return f"{struct.unpack_from('<d', data, start)[0]:.12g}"
    if kind == BOOL:
        return str(data[start])
    return data[start : start + length].hex() if kind == OBJECT_ID else None


def picture_in(data: Stretch, steps: tuple[str, ...]) -> tuple[str, bytes]:
    """The k-th picture of the document that begins at a byte, and its name; the steps are that byte and k.

    Raises ValueError, EOFError or IndexError where there is none.
    """
    offset, index = int(steps[0]), int(steps[1]) if len(steps) > 1 else 0
    if offset < 0:
        raise IndexError("a document begins at a byte of the file")
    length = int.from_bytes(data.read(offset, 4), "little", signed=True)
    if not 5 <= length <= MOST_DOCUMENT_BYTES:
        raise ValueError(f"no bson document at byte {offset}")
    document = data.read(offset, length)
    if len(document) != length:
        raise EOFError("the document ends early")
    for number, field in enumerate(filter(is_picture, fields_of(document, 0, length))):
        if number == index:
            return f"{index}", document[field[4] : field[4] + field[5]]
    raise IndexError(f"the document at byte {offset} has no picture {index}")
