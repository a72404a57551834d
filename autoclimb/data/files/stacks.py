"""Arrays as pictures: which axis is channels, which rows of pixels, and which the pictures of a stack."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

MOST_TILES = 16  # pictures of one item that are used; of more, so many evenly spread
MOST_CHANNELS = 16  # an axis this short holds channels or a stack's pictures, not rows of pixels

Picture = Image.Image | np.ndarray  # an array is (h, w, c)


def views_of(array: np.ndarray, channels: int) -> list[Picture]:
    """The pictures `(h, w, c)` of an array: one where an axis is channels, else those of a stack.

    Flat numbers are a square, of one channel or of three (red, green, blue of a pixel together: an assumption). A last
    axis of up to four is channels; else an axis of `channels`, last or first; else the shortest axis counts pictures.
    Raises ValueError for arrays that are no pictures.
    """
    if array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"an array of {array.dtype} {array.shape} is no picture")
    if array.ndim == 1:
        side = math.isqrt(array.size)
        coloured = math.isqrt(array.size // 3)
        if side * side == array.size:
            array = array.reshape(side, side)
        elif 3 * coloured * coloured == array.size:
            array = array.reshape(coloured, coloured, 3)
        else:
            raise ValueError(f"{array.size} numbers are no square picture")
    if array.ndim == 2:
        return [array[..., None]]
    if array.ndim == 4:
        return [view for one in thinned(array) for view in views_of(one, channels)][:MOST_TILES]
    if array.ndim != 3:
        raise ValueError(f"an array of {array.ndim} axes is no picture")
    first, last = array.shape[0], array.shape[2]
    if last <= 4 or (last == channels and first > last):
        return [array]
    if first == channels or first <= 4:
        return [np.moveaxis(array, 0, 2)]
    stack = np.moveaxis(array, 2, 0) if last_counts(array.shape) else array
    return [one[..., None] for one in thinned(stack)]


def last_counts(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes counts pictures or channels, the others being rows and columns of pixels."""
    first, second, last = shape
    return (last < first and last <= MOST_CHANNELS) or first == second != last


Axes = Literal["picture", "channels first", "channels last", "slices"]


def axes_of(shapes: Sequence[tuple[int, ...]]) -> tuple[Axes, int]:
    """The meaning of the axes of a set of arrays, each one item, and the channels of a picture.

    It is decided once for the set: an axis of channels is short, at most MOST_CHANNELS, and equally long in all arrays;
    rows and columns are longer. Where neither the first nor the last axis is one, the items are slices.
    """
    axes, _ = Counter(len(shape) for shape in shapes).most_common(1)[0]
    same = [shape for shape in shapes if len(shape) == axes]
    if axes != 3:
        return ("picture" if axes < 3 else "slices"), 3
    first, second, last = ({shape[k] for shape in same} for k in range(3))
    if max(last) <= 4:
        return "picture", 3
    if len(last) == 1 and max(last) <= MOST_CHANNELS < min(first | second):
        return "channels last", max(last)
    if len(first) == 1 and max(first) <= MOST_CHANNELS:
        return "channels first", max(first) if max(first) > 1 else 3
    return ("picture" if all(map(last_counts, same)) else "slices"), 3


def thinned(things: Sequence | np.ndarray, most: int = MOST_TILES) -> list:
    """All things, or `most` of them evenly spread, with the first and the last."""
    if len(things) <= most:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, most).round().astype(int)]
