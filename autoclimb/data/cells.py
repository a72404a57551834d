"""Pictures whose pixels are the cells of a csv, a column each: label,pixel0,...,pixel783 (as MNIST is handed out)."""

import re
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pandas as pd

FEWEST = 64  # pixels of a picture, 8 x 8
PIECE = 2_000  # rows parsed at a time
NUMBERED = re.compile(r"(\D*)(\d+)(?:x(\d+))?$", re.IGNORECASE)


def pixel_columns(header: Sequence[str]) -> range | None:
    """The places of the columns that hold pixels, None where the header names none.

    They stand side by side, share what they begin with and are counted (pixel0, pixel1, ... or 1x1, 1x2, ...), and make
    a square of one value a pixel or of three.
    """
    named = [NUMBERED.fullmatch(word.strip().strip('"')) for word in header]
    first = 0
    while first < len(named):
        last = first
        while last + 1 < len(named) and follows(named[last], named[last + 1]):
            last += 1
        count = last + 1 - first
        if count >= FEWEST and (is_square(count) or (count % 3 == 0 and is_square(count // 3))):
            return range(first, last + 1)
        first = last + 1
    return None


def follows(one: re.Match[str] | None, two: re.Match[str] | None) -> bool:
    """Whether a column is the next one after another by its number, or by row and column."""
    if one is None or two is None or one[1] != two[1] or (one[3] is None) != (two[3] is None):
        return False
    if one[3] is None:
        return int(two[2]) == int(one[2]) + 1
    return (two[2] == one[2] and int(two[3]) == int(one[3]) + 1) or int(two[2]) == int(one[2]) + 1


def is_square(count: int) -> bool:
    """Whether so many pixels make a square."""
    return int(count**0.5 + 0.5) ** 2 == count


def keep_pixels(source: BinaryIO, out: BinaryIO) -> tuple[int, np.dtype]:
    """The pixels a row and their type, all rows' written to `out`: bytes where all are 0 to 255, else float32.

    Raises ValueError where the table has no pixel columns, or a cell of them is no number.
    """
    header = source.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
    separator = max(",;\t", key=header.count)
    places = pixel_columns(header.split(separator))
    if places is None:
        raise ValueError("the table has no columns of pixels")
    kind: np.dtype = np.dtype(np.uint8)
    start = source.tell()
    while True:
        source.seek(start)
        out.seek(0)
        out.truncate()
        rows = pd.read_csv(source, sep=separator, header=None, usecols=list(places), chunksize=PIECE, dtype=np.float32)
        for piece in rows:
            values = piece.to_numpy(np.float32)
            if kind == np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.round(values))).all():
                kind = np.dtype(np.float32)
                break
            out.write(values.astype(kind).tobytes())
        else:
            return len(places), kind
