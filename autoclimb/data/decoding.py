"""Sources -> uint8 pictures: items are decoded, preprocessed and resized; sizes are read from headers."""

import math
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from autoclimb.data.depth import Ranges, in_bytes
from autoclimb.data.files.opening import UNREADABLE, Place, pictures_at
from autoclimb.data.files.stacks import MOST_TILES, Picture, thinned
from autoclimb.data.sources import parts_of
from autoclimb.data.steps import Chain, chain_of, columns_of, in_grid, shrunk, sides_of

LARGE = 40_000_000  # pixels from which pictures are decoded one at a time, not one in each thread
one_large = threading.RLock()


@dataclass(frozen=True)
class Decoding:
    """How items become pictures: size in pixels, preprocessing, channels, ranges of deep numbers, tiles of a grid.

    Three channels are RGB. `ranges` of None are learned from the items where a set is decoded; a single item is then
    scaled by its own depth. An item of several pictures is a grid of `grid` tiles a side, of as many as it needs for 0.
    """

    size: int
    preprocess: str
    channels: int = 3
    ranges: Ranges | None = None
    grid: int = 0

    @property
    def side(self) -> int:
        """The pixels a side of an item: `size`, rounded down to a multiple of the grid's tiles."""
        return self.size // self.grid * self.grid if self.grid else self.size


def decode(source: str, how: Decoding) -> np.ndarray | None:
    """The item as `(size, size, channels)` uint8, None where it cannot be read.

    Several pictures become tiles of a square grid, each preprocessed by itself; one that cannot be read stays grey.
    """
    if not source:
        return None
    chosen = thinned(parts_of(source), how.grid**2 or MOST_TILES)
    if how.grid and len(chosen) == len(chosen[0]) == 1:
        try:  # it may be a stack
            return at_place(chosen[0][0], how)
        except UNREADABLE:
            return None
    of_tile = replace(how, size=how.size // (how.grid or columns_of(len(chosen))), grid=0)
    tiles: list[np.ndarray | None] = []
    for places in chosen:
        try:
            tiles.append(one_picture(places, of_tile))
        except UNREADABLE:
            tiles.append(None)
    if all(picture is None for picture in tiles):
        return None
    return in_grid(tiles, how.size, how.channels, how.grid)


def one_picture(places: list[Place], how: Decoding) -> np.ndarray:
    """One picture of an item, its channels together or each from a place of its own. Raises one of UNREADABLE."""
    if len(places) == 1:
        return at_place(places[0], how)
    chain, places, one_channel = chain_of(how.preprocess), places[: how.channels], replace(how, channels=1)
    if chain.joint:  # a step that depends on the picture needs all its channels together
        planes = [plane_at(place, one_channel, i) for i, place in enumerate(places)]
        height, width = planes[0].shape[:2]
        planes = [plane if plane.shape == planes[0].shape else shrunk(plane, width, height) for plane in planes]
    else:
        planes = [at_place(place, one_channel, i) for i, place in enumerate(places)]
    planes += [np.zeros_like(planes[0])] * (how.channels - len(planes))
    picture = np.concatenate(planes, 2)
    return chain.applied(picture, how.size) if chain.joint else picture


def plane_at(place: Place, how: Decoding, channel: int) -> np.ndarray:
    """The channel at one place, `(h, w, 1)`, before any step; of a stack the middle one."""
    with pictures_at(place, 1) as pictures:
        picture = drafted(pictures[len(pictures) // 2], how.size, chain_of(how.preprocess))
        return np.asarray(in_bytes(picture, 1, how.ranges or (), channel))


def at_place(place: Place, how: Decoding, first: int = 0) -> np.ndarray:
    """The picture at one place, `(size, size, channels)` uint8, a stack as a grid. Raises one of UNREADABLE.

    `first` is the number of its first channel among those of the item.
    """
    chain = chain_of(how.preprocess)
    with pictures_at(place, how.channels) as pictures:
        tile = how.size // (how.grid or columns_of(len(pictures)))
        tiles = []
        for picture in thinned(pictures, how.grid**2 or MOST_TILES):
            drafted(picture, tile, chain)
            with one_large if math.prod(sides_of(picture)) > LARGE else nullcontext():
                tiles.append(chain.applied(in_bytes(picture, how.channels, how.ranges or (), first), tile))
    return in_grid(tiles, how.size, how.channels, how.grid)


def drafted(picture: Picture, size: int, chain: Chain) -> Picture:
    """The picture, set to decode at 1/2, 1/4 or 1/8 if it is a JPEG and both sides stay as large as the chain needs."""
    if isinstance(picture, Image.Image) and chain.decoded < math.inf:
        least = math.ceil(size * chain.decoded)
        picture.draft("RGB", (least, least))
    return picture


def most_pictures(files: Sequence[str], limit: int = 50, channels: int = 3) -> int:
    """The largest number of pictures, or slices of a stack, of up to `limit` items spread over the list."""
    most = 1
    for source in evenly([f for f in files if f], limit):
        places = thinned(parts_of(source))
        most = max(most, len(places))
        if len(places) == len(places[0]) == 1:
            with suppress(*UNREADABLE), pictures_at(places[0][0], channels) as pictures:
                most = max(most, len(pictures))
    return most


def sizes_of(files: Sequence[str], limit: int = 200, channels: int = 3) -> list[tuple[int, int, str]]:
    """Width, height and mode of up to `limit` readable items spread over the list (`size_of`)."""
    return [size for source in evenly([f for f in files if f], limit) if (size := size_of(source, channels))]


def evenly(files: Sequence[str], limit: int) -> Sequence[str]:
    """Every n-th of the files, so that there are at most `limit`."""
    return files[:: max(1, -(-len(files) // limit))]


def size_of(source: str, channels: int = 3) -> tuple[int, int, str] | None:
    """Width, height and mode of an item, from its first picture's header alone; None where it cannot be read.

    `channels` are those of a picture of the set. An item of several pictures has the sides of their grid; the mode of
    an array is its type and channels, "float32 x 2".
    """
    places, *others = thinned(parts_of(source))
    try:
        with pictures_at(places[0], 1 if len(places) > 1 else channels) as pictures:
            picture = pictures[0]
            mode = picture.mode if isinstance(picture, Image.Image) else f"{picture.dtype} x {picture.shape[2]}"
            width, height = sides_of(picture)
            for count in (len(others) + 1, len(pictures)):
                across = columns_of(count)
                width, height = width * across, height * -(-count // across)
            return width, height, mode if len(places) == 1 else f"{mode} x {len(places)}"
    except UNREADABLE:
        return None
