"""Idx, the format of MNIST and similar downloads: one array after a header with its type and shape."""

import math
import re

import numpy as np

from autoclimb.data.files.spool import Stretch, decompressed, decompressing, stretch_of

NAME = re.compile(r"[-.]idx\d-[a-z]+(\.gz)?$", re.IGNORECASE)  # train-images-idx3-ubyte.gz
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # by the third byte
MOST_AXES = 4


def header_in(start: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and type of an idx file by its first bytes. Raises ValueError where they are no idx header."""
    axes = start[3] if len(start) > 3 else 0
    if start[:2] != b"\0\0" or start[2] not in TYPES or not 0 < axes <= MOST_AXES or len(start) < 4 + 4 * axes:
        raise ValueError("no idx file")
    shape = tuple(int.from_bytes(start[4 + 4 * k : 8 + 4 * k]) for k in range(axes))
    return shape, np.dtype(TYPES[start[2]])


def shape_of(path: str) -> tuple[int, ...]:
    """The shape of an idx file, compressed or not, by its header alone. Raises ValueError or OSError."""
    with decompressing(path, stretch_of(path)) as stream:
        return header_in(stream.read(4 + 4 * MOST_AXES))[0]


def mapped(data: Stretch) -> np.ndarray:
    """The array of an idx file, mapped, not read. Raises ValueError or EOFError."""
    shape, dtype = header_in(data.read(0, 4 + 4 * MOST_AXES))
    start = 4 + 4 * len(shape)
    if math.prod(shape) * dtype.itemsize > data.length - start:
        raise EOFError("the array is shorter than its header claims")
    return np.memmap(data.file, dtype, "r", data.start + start, shape)


def values_in(path: str) -> list:
    """The values of an idx file of one axis. Raises ValueError, EOFError or OSError."""
    return mapped(decompressed(path, stretch_of(path))).tolist()
