"""Bson -> a Table: documents are walked by their lengths, picture bytes are skipped, not read."""

import mmap
import struct
from pathlib import Path

from autoclimb.data.files.table import Table
from autoclimb.data.sources import inside, pictures

FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
FEWEST_BYTES = 64  # of a binary field from which it is a picture; shorter ones are ids and hashes
DEEPEST = 6


def table_of_bson(name: str, path: Path, notes: list[str]) -> Table | None:
    """One row a document: its plain fields as text, and a source for each picture in it.

    A file cut off within a document is read up to there, with a note.
    """
    rows: list[dict[str, str]] = []
    sources: list[str] = []
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at, end = 0, len(data)
            while at + 5 <= end:
                (length,) = struct.unpack_from("<i", data, at)
                if length < 5 or at + length > end:
                    break
                row: dict[str, str] = {}
                found = walk(data, at, row, 0)
                rows.append(row)
                sources.append(pictures(inside(str(path), at, k) for k in range(found)) if found else "")
                at += length
    except (OSError, ValueError, struct.error, IndexError, UnicodeDecodeError) as error:
        notes.append(f"{name} breaks off after {len(rows)} documents ({str(error)[:80]})")
    else:
        if at < end:
            notes.append(f"{name} breaks off after {len(rows)} documents; {end - at} bytes are left over")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not rows or not keys:
        return None
    return Table(name, {k: [row.get(k, "") for row in rows] for k in keys}, tuple(sources) if any(sources) else ())


def walk(data: mmap.mmap, at: int, row: dict[str, str], depth: int) -> int:
    """Fills `row` with the plain fields of the document at a byte and returns its number of pictures."""
    (length,) = struct.unpack_from("<i", data, at)
    end, at = at + length - 1, at + 4
    found = 0
    while at < end:
        kind = data[at]
        stop = data.find(b"\0", at + 1, end)
        if stop < 0:
            raise ValueError("a field without a name")
        name = data[at + 1 : stop].decode("utf-8", "replace") if depth == 0 else ""
        at = stop + 1
        if kind in (0x02, 0x05, 0x0D, 0x0E):
            (size,) = struct.unpack_from("<i", data, at)
            if size < 0 or at + 4 + size > end + 1:
                raise ValueError("a field longer than its document")
            if kind == 0x05:
                found += size >= FEWEST_BYTES
                at += 5 + size
                continue
            if depth == 0:
                row[name] = data[at + 4 : at + 3 + size].decode("utf-8", "replace")
            at += 4 + size
        elif kind in (0x03, 0x04):
            (size,) = struct.unpack_from("<i", data, at)
            if size < 5 or at + size > end or depth >= DEEPEST:
                raise ValueError("a field longer than its document")
            found += walk(data, at, row, depth + 1)
            at += size
        elif kind in FIXED:
            if depth == 0 and (text := plain_value(data, kind, at)) is not None:
                row[name] = text
            at += FIXED[kind]
        else:
            raise ValueError(f"a field of the unknown type {kind}")
    return found


def plain_value(data: mmap.mmap, kind: int, at: int) -> str | None:
    """A field of fixed length as text, None for kinds that are not of use."""
    if kind == 0x10:
        return str(struct.unpack_from("<i", data, at)[0])
    if kind in (0x12, 0x09):
        return str(struct.unpack_from("<q", data, at)[0])
    if kind == 0x01:
        return f"{struct.unpack_from('<d', data, at)[0]:.12g}"
    if kind == 0x08:
        return str(data[at])
    return data[at : at + 12].hex() if kind == 0x07 else None
