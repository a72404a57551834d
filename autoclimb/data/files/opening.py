"""The contents of a place, the end of the steps into a file: pictures, opened or as arrays.

Files that have an inside (archives, arrays, json, bson, csv) are opened once a process, by whichever thread comes
first, and stay open until others are wanted more.
"""

import os
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from autoclimb.data.files import bson, idx, parquet
from autoclimb.data.files.archives import ArchiveKind, kind_of
from autoclimb.data.files.cells import pixel_rows
from autoclimb.data.files.formats import MOST_PICTURE_BYTES, ending
from autoclimb.data.files.image import opened_image
from autoclimb.data.files.json_numbers import keep_numbers, numbers_at
from autoclimb.data.files.npy import MAGIC, array_in, first_array_in, mapped, one_item
from autoclimb.data.files.spool import Stretch, decompressed, on_disk, stretch_of
from autoclimb.data.files.stacks import Picture, views_of
from autoclimb.data.files.tiff import MAGIC as TIFF
from autoclimb.data.files.tiff import tiff_array
from autoclimb.errors import Mistake

MOST_OPEN = 32  # containers held open, the least lately used closed first
ANY = 99  # steps into nested values
UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's for broken PNG chunks
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,  # AVIF's
    MemoryError,
    ZeroDivisionError,
    TokenError,  # numpy's for the header of an npy
    LZMAError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)  # what opening and decoding a picture may raise

Place = tuple[str, ...]  # a file and the steps into it
Content = tuple[str, bytes | Stretch | np.ndarray]  # a name whose ending says the kind, and what is there


# --- what lies inside of files ---------------------------------------------------------------------------------------

shelf: OrderedDict[tuple, Any] = OrderedDict()  # key -> what was opened, or the error that opening it raised
shelf_lock, opening_lock = threading.Lock(), threading.RLock()  # opening takes minutes; others' containers go on


@dataclass(frozen=True)
class Container:
    """An open file that has an inside: `read` takes up to `most_steps` steps and returns what is there."""

    most_steps: int
    read: Callable[[tuple[str, ...]], Content]


def content_at(file: str, *steps: str) -> Content:
    """The contents of a place. Raises ValueError, OSError, KeyError, IndexError or EOFError where none can be read.

    Containers on the way are opened once a process. Raises Mistake where a package or room on the disk is missing.
    """
    if not steps:
        return file, stretch_of(file)
    stat = os.stat(file)
    key: tuple = (file, stat.st_size, stat.st_mtime_ns)
    open_it: Callable[[], Container] = lambda: open_container(file, stretch_of(file))  # noqa: E731
    while True:
        container = once(key, open_it)
        if len(steps) <= container.most_steps:
            return container.read(steps)
        step, steps = steps[: container.most_steps], steps[container.most_steps :]
        key, open_it = (*key, *step), partial(_open_inner, container, step)


def once(key: tuple, make: Callable[[], Any]) -> Any:
    """The value that `make` returned for the key, called once a process; its error is raised again without a retry."""
    with shelf_lock:
        if key in shelf:
            shelf.move_to_end(key)
            return _result(shelf[key])
    with opening_lock:
        with shelf_lock:
            if key in shelf:
                return _result(shelf[key])
        result: Any
        try:
            result = make()
        except (ValueError, OSError, EOFError, Mistake) as error:
            result = error
        with shelf_lock:
            shelf[key] = result
            while len(shelf) > MOST_OPEN:
                shelf.popitem(last=False)  # closed when the last thread that reads it lets go
        return _result(result)


def _result(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


def _open_inner(container: Container, steps: tuple[str, ...]) -> Container:
    name, data = container.read(steps)
    if isinstance(data, np.ndarray):
        raise ValueError(f"nothing lies inside of {name}")
    return open_container(name, on_disk(name, data))


def open_container(name: str, data: Stretch) -> Container:
    """The container that first bytes or ending tell: an archive, array, json, bson or csv, compressed or not."""
    kind = kind_of(name, data.read(0, 512))
    if kind:
        return _archive(kind, name, data)
    data = decompressed(name, data)
    if data.read(0, len(MAGIC)) == MAGIC:
        array = mapped(data)
        return Container(ANY, lambda steps: (name, one_item(array, steps)))
    if idx.NAME.search(name):
        stack = idx.mapped(data)
        return Container(1, lambda steps: (name, one_item(stack, steps)))
    plain = ending(name.lower().removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz"))
    if plain in (".json", ".jsonl", ".ndjson"):
        numbers, spots = keep_numbers(name, data)
        return Container(ANY, lambda steps: (name, numbers_at(numbers, spots, steps)))
    if plain == ".bson":
        return Container(2, lambda steps: bson.picture_in(data, steps))
    if plain == ".parquet":
        return Container(2, partial(_parquet_row, name, data, {}))
    if plain in (".csv", ".tsv"):
        rows, lost = pixel_rows(name, data)
        return Container(1, partial(_row, name, rows, lost))
    raise ValueError(f"{name} has no inside that is read")


def _archive(kind: ArchiveKind, name: str, data: Stretch) -> Container:
    read = kind.open(name, data)
    suffix = ".npy" if name.lower().endswith(".npz") else ""
    return Container(1, lambda steps: (steps[0] + suffix, read(steps[0] + suffix)))


def _parquet_row(name: str, data: Stretch, columns: dict, steps: tuple[str, ...]) -> Content:
    """The picture in a column's row; a column is decompressed when first asked for."""
    column, row = steps
    with opening_lock:
        if column not in columns:
            columns[column] = parquet.keep_pictures(name, data, column)
    pictures, places = columns[column]
    return f"{row}", parquet.picture_in(pictures, places, int(row))


def _row(name: str, rows: np.ndarray, lost: frozenset[int], steps: tuple[str, ...]) -> Content:
    if int(steps[0]) in lost:
        raise ValueError(f"row {steps[0]} of {name} does not hold {rows.shape[1]} numbers as the others do")
    return name, one_item(rows, steps)


# --- pictures --------------------------------------------------------------------------------------------------------


@contextmanager
def pictures_at(place: Place, channels: int) -> Iterator[list[Picture]]:
    """The pictures at a place: one, or those of a stack. Raises one of UNREADABLE, Mistake where a package is missing.

    Pillow's are opened, not decoded.
    """
    file, *steps = place
    name, data = content_at(file, *steps) if steps else (file, None)
    if isinstance(data, Stretch) and data.length > MOST_PICTURE_BYTES:
        raise ValueError(f"{name} has {data.length >> 20} MB")
    if isinstance(data, np.ndarray):
        yield views_of(data, channels)
        return
    as_array = ARRAYS.get(ending(name))
    if as_array:
        yield views_of(as_array(stretch_of(file) if data is None else data), channels)
        return
    content = file if data is None else data.read() if isinstance(data, Stretch) else data
    with ExitStack() as stack:
        try:
            pictures = stack.enter_context(opened_image(name, content, channels))
        except UnidentifiedImageError:
            pictures = views_of(array_by_its_start(content), channels)
        yield pictures


def dicom_array(data: bytes | Stretch) -> np.ndarray:
    """The pixels of a DICOM file."""
    from autoclimb.data.files.dicom import pixels_in  # pydicom: a quarter of a second, for few competitions

    return pixels_in(data)


ARRAYS: dict[str, Callable[[bytes | Stretch], np.ndarray]] = {
    ".npy": array_in,
    ".npz": first_array_in,
    ".dcm": dicom_array,
    ".dicom": dicom_array,
}


def array_by_its_start(content: bytes | str) -> np.ndarray:
    """The array of a file that Pillow does not know: DICOM or npy without an ending, TIFF of other bands."""
    data = stretch_of(content) if isinstance(content, str) else content
    start = data.read(0, 132) if isinstance(data, Stretch) else data[:132]
    if start[128:] == b"DICM":
        return dicom_array(data)
    if start.startswith(MAGIC):
        return array_in(data)
    if start.startswith(TIFF):
        return tiff_array(content)
    raise UnidentifiedImageError("neither a picture nor an array")
