"""Pictures in json, which are lists of numbers: all of a file's as float32, found again by row and field."""

import codecs
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from autoclimb.data.files.formats import MOST_DOCUMENT_BYTES
from autoclimb.data.files.npy import one_item
from autoclimb.data.files.spool import Stretch, need_room, temporary

PIECE = 1 << 22  # bytes of text that are read at once

Spots = dict[str, dict[tuple[str, ...], tuple[int, tuple[int, ...]]]]  # row -> steps into it -> offset, shape


def keep_numbers(name: str, data: Stretch) -> tuple[Stretch, Spots]:
    """All lists of numbers of a json file as float32 in a nameless file, and where each is.

    Parsed once and row by row: a band of 5,625 numbers takes 22 KB so, 180 KB as Python's floats. A row of a list (or
    a line of json lines) is known by its number, a value of an object by its name.
    """
    need_room(name, data.length)  # float32 is never longer than its text
    out, at = temporary(), 0
    spots: Spots = {}
    for row, value in _rows(name, data):
        spots[row] = {}
        for steps, numbers in _numbers(value):
            spots[row][steps] = at, numbers.shape
            out.write(numbers.tobytes())
            at += numbers.nbytes
    out.flush()
    return Stretch(out, 0, at), spots


def numbers_at(numbers: Stretch, spots: Spots, steps: tuple[str, ...]) -> np.ndarray:
    """The numbers of a field of a row. Raises KeyError, IndexError or ValueError where there are none."""
    row = spots[steps[0]]
    for end in range(1, len(steps) + 1):
        if steps[1:end] in row:
            at, shape = row[steps[1:end]]
            values = np.frombuffer(numbers.read(at, 4 * math.prod(shape)), np.float32).reshape(shape)
            return one_item(values, steps[end:])
    raise KeyError(f"no numbers at {steps}")


def _numbers(value: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, (*steps, name))
    elif isinstance(value, list) and value and isinstance(value[0], int | float | list | None):
        try:
            yield steps, np.asarray(value, np.float32)
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
            if over or len(text) - at > MOST_DOCUMENT_BYTES:
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
