"""The pictures of a run by row, all with one interface: an array on disk, JPEGs in one file, or the source files."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from autoclimb.disk import read_json, write_json
from autoclimb.processors import allowed_cores

# JPEGs of this quality with colours at full resolution are 41, 43 and 44 dB from the pixels at 64, 128 and 224 px and
# take .27, .19 and .15 of their bytes; OpenCV decodes them in 47, 122 and 294 us on one core, Pillow in 93, 197 and
# 455, simplejpeg in 33, 99 and 266, which is no reason for one package more: a small net takes 2,400 us a picture on
# two cores. Lossless WebP takes .41, .33 and .22 of the bytes, 2.2 times as long to decode and 130 to write (120
# photographs of 150 px, 2 cores of an AMD EPYC).
QUALITY = 95
OFFSET = np.dtype("<i8")  # type of the byte at which a JPEG begins


@dataclass(frozen=True, eq=False)
class LazyPictures:
    """Pictures that are decoded on access; they are indexed as an array of that `shape` is.

    By a number, a slice, an array of rows or a mask: `(S, S, C)` or `(n, S, S, C)` uint8.
    """

    filename: str  # of the file on disk, as numpy's memory maps have it
    shape: tuple[int, int, int, int]
    picture: Callable[[int], np.ndarray]  # the picture of a row

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self.picture(range(len(self))[rows])
        chosen = np.arange(len(self))[rows]
        pictures = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        each = _pool(os.getpid()).map if len(chosen) > 1 else map
        for i, picture in enumerate(each(self.picture, chosen.tolist())):
            pictures[i] = picture
        return pictures

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.picture(row) for row in range(len(self)))


PictureRows = np.ndarray | LazyPictures


def file_of(pixels: PictureRows) -> str:
    """The file that the pictures lie in, by which what is computed from them is named; "memory" where there is none."""
    return str(getattr(pixels, "filename", None) or "memory")


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The decoding threads of this process: those of a parent do not exist in its forks."""
    return ThreadPoolExecutor(allowed_cores())


def open_rows(path: Path) -> PictureRows:
    """The pictures that `data.pixels` stored at that path, mapped, not read.

    Raises ValueError where they do not agree with the json beside them.
    """
    facts = read_json(path.with_suffix(".json"))
    shape = (facts["rows"], facts["size"], facts["size"], facts["channels"])
    if path.suffix == ".jpegs":
        return LazyPictures(str(path), shape, packed_pictures(path, shape, facts["grid"]))
    if path.suffix == ".sources":
        return LazyPictures(str(path), shape, pictures_of_sources(path, shape, facts))
    array = np.load(path, mmap_mode="r") if facts["rows"] else np.load(path)
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} is not what its json says")
    return array


# --- JPEGs in one file -----------------------------------------------------------------------------------------------


def tiles_of(picture: np.ndarray, grid: int) -> np.ndarray:
    """The tiles `(grid * grid, s, s, C)` of a picture `(S, S, C)`, row by row."""
    side, channels = picture.shape[0] // grid, picture.shape[2]
    rows = picture[: side * grid, : side * grid].reshape(grid, side, grid, side, channels)
    return rows.swapaxes(1, 2).reshape(grid * grid, side, side, channels)


def picture_of(tiles: np.ndarray, grid: int) -> np.ndarray:
    """The picture whose tiles these are: the inverse of `tiles_of`."""
    side, channels = tiles.shape[1], tiles.shape[3]
    return tiles.reshape(grid, grid, side, side, channels).swapaxes(1, 2).reshape(grid * side, grid * side, channels)


def packed(picture: np.ndarray, grid: int = 0) -> list[bytes]:
    """A picture `(S, S, C)` as JPEGs: one, or one for each tile of a grid, so that an empty tile stays of one colour.

    Channels other than one or three are stored below each other in grey.
    """
    if grid:
        return [packed(tile)[0] for tile in tiles_of(picture, grid)]
    height, width, channels = picture.shape
    if channels == 3:
        plane = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    else:
        plane = np.ascontiguousarray(picture.transpose(2, 0, 1)).reshape(channels * height, width)
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return [cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *full_colour])[1].tobytes()]


def unpacked(jpegs: Sequence[np.ndarray], channels: int, grid: int = 0) -> np.ndarray:
    """The picture `(S, S, C)`, nearly, from the bytes of `packed`. Raises ValueError where they are damaged."""
    if grid:
        return picture_of(np.stack([unpacked([jpeg], channels) for jpeg in jpegs]), grid)
    try:
        plane = cv2.imdecode(jpegs[0], cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        plane = None
    if plane is None:
        raise ValueError("a damaged JPEG")
    if channels == 3:
        return plane
    return np.ascontiguousarray(plane.reshape(channels, -1, plane.shape[1]).transpose(1, 2, 0))


def offsets_as_bytes(lengths: Sequence[int]) -> bytes:
    """The end of a file of JPEGs of these lengths: the offset at which each begins, and that at which the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(OFFSET).tobytes()


def packed_pictures(path: Path, shape: tuple[int, int, int, int], grid: int) -> Callable[[int], np.ndarray]:
    """A function that gives the picture of a row of a file of JPEGs, and raises OSError where it is damaged.

    Raises ValueError itself where the file is too short to hold so many.
    """
    rows, _, _, channels = shape
    each = grid * grid or 1
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    tail = OFFSET.itemsize * (rows * each + 1)
    offsets = np.frombuffer(data[-tail:].tobytes(), OFFSET)
    if len(offsets) != rows * each + 1 or offsets[-1] != len(data) - tail:
        raise ValueError(f"{path} is not what its json says")

    def picture(row: int) -> np.ndarray:
        bounds = offsets[row * each : (row + 1) * each + 1].tolist()
        try:
            return unpacked([data[a:b] for a, b in pairwise(bounds)], channels, grid)
        except ValueError as error:
            raise OSError(f"picture {row} of {path} is damaged") from error

    return picture


# --- source files ----------------------------------------------------------------------------------------------------


class Vanished(OSError):
    """Pictures that could be read when the run began cannot be read any more."""


def keep_sources(sources: Sequence[str], folder: Path) -> str:
    """The name of the file in the folder that lists the sources; pixels of every size share it."""
    digest = hashlib.blake2b("\0".join(sources).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    path = folder / f"list-{digest}.json"
    if not path.exists():
        write_json(path, list(sources))
    return path.name


@lru_cache(2)
def listed(path: Path) -> list[str]:
    """The sources that such a file lists; a process reads it once."""
    sources: list[str] = read_json(path)
    return sources


def pictures_of_sources(
    path: Path, shape: tuple[int, int, int, int], facts: dict[str, Any]
) -> Callable[[int], np.ndarray]:
    """A function that decodes the source of a row; grey where that could never be read.

    It raises Vanished where the source could be read when the run began: a net would learn and answer grey.
    """
    # pandas and all formats take a third of a second, which processes that only read arrays save
    from autoclimb.data.decoding import Decoding, decode
    from autoclimb.data.depth import as_ranges
    from autoclimb.data.files.spool import keep_spools_in
    from autoclimb.data.sources import shown
    from autoclimb.data.steps import GREY

    keep_spools_in(path.parent)
    sources = listed(path.parent / facts["list"])
    how = Decoding(**{field.name: facts[field.name] for field in fields(Decoding)})
    how = replace(how, ranges=as_ranges(facts["ranges"]))
    bad = frozenset(facts["bad"])

    def picture(row: int) -> np.ndarray:
        decoded = decode(sources[row], how)
        if decoded is None and row not in bad:
            raise Vanished(f"a picture can no longer be read: {shown(sources[row])}; put it back")
        return np.full(shape[1:], GREY, np.uint8) if decoded is None else decoded

    return picture
