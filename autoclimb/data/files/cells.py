"""Pictures whose pixels are in the cells of a csv.

They have a column for each pixel (label,pixel0,pixel1,..., as MNIST), or all pixels in one cell (emotion,pixels,Usage
with "70 80 82 ...", as FER2013).
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import numpy as np
import pandas as pd

from autoclimb.data.files.delimiters import LOOKED_AT, separator_of
from autoclimb.data.files.spool import Stretch, need_room, temporary

FEWEST = 64  # pixels of a picture, 8 x 8
PIECE = 2_000  # rows parsed at a time
NUMBERED = re.compile(r"(\D*)(\d+)(?:x(\d+))?$", re.IGNORECASE)
BETWEEN = str.maketrans("[],;", "    ")  # of the numbers in one cell


def pixel_columns(header: Sequence[str]) -> range | None:
    """The indices of the columns that hold pixels, None where the header names none.

    They are adjacent, have a common beginning and rising numbers (pixel0, pixel1, ... or 1x1, 1x2, ...), and make a
    square of one value a pixel or of three.
    """
    parts = [NUMBERED.fullmatch(word.strip().strip('"')) for word in header]
    first = 0
    while first < len(parts):
        last = first
        while last + 1 < len(parts) and follows(parts[last], parts[last + 1]):
            last += 1
        count = last + 1 - first
        if is_picture(count):
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


def is_picture(count: int) -> bool:
    """Whether `count` numbers make a square of one value a pixel or of three."""
    return count >= FEWEST and (is_square(count) or (count % 3 == 0 and is_square(count // 3)))


def is_square(count: int) -> bool:
    """Whether `count` pixels make a square."""
    return int(count**0.5 + 0.5) ** 2 == count


def pixel_string(lines: Sequence[str], separator: str) -> tuple[int, int] | None:
    """The index of the column whose cells are pictures, and the numbers in each cell; None where there is none.

    `lines` are the first below the header. Equal cells are a sample submission's sets of labels, not pictures.
    """
    if not any(len(line) >= 2 * FEWEST for line in lines):
        return None
    try:
        rows = pd.read_csv(
            io.StringIO("".join(lines)),
            sep=separator,
            header=None,
            dtype=str,
            na_filter=False,
            skipinitialspace=True,
            index_col=False,
        )
    except ValueError:  # pandas' error for text that is no table
        return None
    for place in range(rows.shape[1]):
        cells = [str(cell) for cell in rows.iloc[:, place]]
        if len(set(cells)) == 1 < len(cells):
            continue
        count, alike = Counter(len(numbers_in(cell)) for cell in cells).most_common(1)[0]
        if is_picture(count) and alike > len(cells) / 2:
            return place, count
    return None


def numbers_in(cell: str) -> np.ndarray:
    """The numbers in one cell, none where it holds anything else."""
    try:
        return np.fromstring(cell.translate(BETWEEN), np.float32, sep=" ")
    except ValueError:
        return np.empty(0, np.float32)


def pixel_rows(name: str, data: Stretch) -> tuple[np.ndarray, frozenset[int]]:
    """The pixels of a csv `(rows, pixels)`, mapped from a nameless file, and the numbers of rows that hold no picture.

    Raises ValueError where the table has no pixels.
    """
    need_room(name, data.length)  # a pixel takes two bytes of text at least, four as float32
    out = temporary()
    count, kind, lost = keep_pixels(data.stream(), out)
    out.flush()
    return np.memmap(out, kind, "r").reshape(-1, count), lost


def keep_pixels(source: BinaryIO, out: BinaryIO) -> tuple[int, np.dtype, frozenset[int]]:
    """Writes all pixels to `out`; returns their number a row, their type, and the rows that hold no picture.

    The type is uint8 where all numbers are 0 to 255, else float32. Rows without a picture are written as zeros. Raises
    ValueError where the table has no pixels, or where a cell in a column of pixels is no number.
    """
    lines = [line.decode("utf-8-sig", "replace") for line in islice(source, LOOKED_AT + 1)]
    separator, before = separator_of(lines)
    source.seek(0)
    header = [source.readline() for _ in range(before + 1)][-1].decode("utf-8-sig", "replace").rstrip("\r\n")
    start = source.tell()
    read, count = reader_of(header.split(separator), source, separator)
    for kind in (np.dtype(np.uint8), np.dtype(np.float32)):
        source.seek(start)
        out.seek(0)
        out.truncate()
        lost: list[int] = []
        for first, values, unread in read():
            if kind == np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.round(values))).all():
                break
            out.write(values.astype(kind).tobytes())
            lost += [first + row for row in unread]
        else:
            return count, kind, frozenset(lost)
    raise AssertionError("numbers are kept as float32 at the latest")


Pieces = Iterator[tuple[int, np.ndarray, list[int]]]  # the first row's number, (rows, pixels), rows without a picture


def reader_of(header: list[str], source: BinaryIO, separator: str) -> tuple[Callable[[], Pieces], int]:
    """A function that reads the pixels from the first row on, and their number a row.

    Raises ValueError where the table has no pixels.
    """
    places = pixel_columns(header)
    if places is not None:
        return lambda: from_columns(source, separator, places), len(places)
    in_one_cell = pixel_string([line.decode("latin-1") for line in islice(source, LOOKED_AT)], separator)
    if in_one_cell is None:
        raise ValueError("the table has no pixels")
    return lambda: from_strings(source, separator, *in_one_cell), in_one_cell[1]


def from_columns(source: BinaryIO, separator: str, places: range) -> Pieces:
    """The pixels that have a column each. Raises ValueError where one is no number."""
    for piece in pd.read_csv(
        source, sep=separator, header=None, usecols=list(places), chunksize=PIECE, dtype=np.float32
    ):
        yield int(piece.index[0]), piece.to_numpy(np.float32), []


def from_strings(source: BinaryIO, separator: str, place: int, count: int) -> Pieces:
    """The pixels that lie in one cell a row, zeros for a cell that is no picture."""
    for piece in pd.read_csv(
        source,
        sep=separator,
        header=None,
        usecols=[place],
        chunksize=PIECE,
        dtype=str,
        na_filter=False,
        skipinitialspace=True,
        encoding="latin-1",  # digits are the same in every encoding, and the words beside them are not used
    ):
        pictures = [numbers_in(str(cell)) for cell in piece.iloc[:, 0]]
        lost = [i for i, numbers in enumerate(pictures) if len(numbers) != count]
        values = np.stack([n if len(n) == count else np.zeros(count, np.float32) for n in pictures])
        yield int(piece.index[0]), values, lost
