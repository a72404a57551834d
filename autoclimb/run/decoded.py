"""The decoded pixels of a run: made when first asked for, kept within a limit of disk.

Where the array of a size does not fit beside those in use, its pictures are read from JPEGs of that size, from pixels
of a larger size, or from the source files, whichever costs least beside the net's work.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

from autoclimb.budget import SLACK, Clock
from autoclimb.data.pixels import (
    Costs,
    NoRoom,
    Pixels,
    build_pixels,
    costs_of,
    leave_in_sources,
    mark_used,
    path_of,
    room_in,
)
from autoclimb.data.stored import side_of
from autoclimb.processors import allowed_cores
from autoclimb.types import Event, Tell

ENOUGH = 0.9  # of the training rate on an array, above which no faster form is built
SAMPLE_ERROR = 1.15  # factor on the bytes of JPEGs, which are estimated from a sample
Key = tuple[int, str, int]  # size, preprocess, grid


class OutOfTime(Exception):
    """The budget ended before anything could be learned; the constant submission stands."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded pixels of all items, train first, by size, preprocessing and grid.

    `opened` are the pixels that this run has opened: they are in use, so nothing is built in their place. `costs` are
    the measured costs of decoding.
    """

    folder: Path
    files: tuple[str, ...]
    clock: Clock
    tell: Tell
    channels: int = 3
    limit: float = 3e9  # bytes; beyond it the least recently used pixels are deleted
    opened: dict[Key, Pixels] = field(default_factory=dict, repr=False)
    costs: dict[Key, Costs] = field(default_factory=dict, repr=False)
    reserve: Callable[[], float] = field(default=lambda: 0.0, repr=False)  # seconds of the budget for other work

    def at(self, size: int, preprocess: str, grid: int = 0, rate: float = 0.0) -> Pixels:
        """The pixels for pictures of this size; they may be larger, for the reader to shrink.

        `rate` is the net's own speed in pictures a second, 0 where it is unknown. Raises OutOfTime where the budget
        does not allow for decoding, NoRoom where the disk is full.
        """
        key = size, preprocess, grid
        pixels = self.opened.get(key)
        if pixels is None or not pixels.path.exists():
            for gone in [other for other, opened in self.opened.items() if not opened.path.exists()]:
                del self.opened[gone]
            pixels = self.opened[key] = self._open(key, rate)
        mark_used(pixels.path)
        return pixels

    def decoded_already(self, size: int, preprocess: str, grid: int = 0) -> Pixels | None:
        """The pixels for pictures of this size, None where they would have to be decoded first."""
        key = size, preprocess, grid
        if (pixels := self.opened.get(key)) is not None and pixels.path.exists():
            return pixels
        return self.at(*key) if self._is_kept(key, ".npy") else None

    def reading_seconds(self, size: int, preprocess: str, grid: int = 0) -> float:
        """Seconds of all cores to read a picture of this size: 0 where it is a row of an array."""
        key = size, preprocess, grid
        pixels = self.opened.get(key)
        if pixels is None:
            in_array = self._fits_as_array(key) or self._in_larger_array(key)
            ending = ".npy" if in_array else ".jpegs" if self._fits_as_jpegs(key) else ".sources"
        else:
            ending = pixels.path.suffix
        return self._seconds(key, ending) / allowed_cores()

    def _open(self, key: Key, rate: float) -> Pixels:
        if self._fits_as_array(key):
            return self._build(key, jpegs=False, limit=self.limit)
        if not self.opened:  # the first pixels must exist: they show which pictures are unreadable, which duplicates
            return self._jpegs_within_limit(key) or self._first_beyond_limit(key)
        seconds, ready = self._best_without_building(key)
        enough = not seconds or (rate > 0 and 1 / (1 + rate * seconds / allowed_cores()) >= ENOUGH)
        return (None if enough else self._jpegs_within_limit(key)) or ready()

    def _jpegs_within_limit(self, key: Key) -> Pixels | None:
        if self._fits_as_jpegs(key):
            with suppress(NoRoom):  # the estimate from a sample was too low
                return self._build(key, jpegs=True, limit=self.limit)
        return None

    def _first_beyond_limit(self, key: Key) -> Pixels:
        text = f"pixels at {key[0]} px take more than the cache's {self.limit / 1e9:g} GB even as JPEGs"
        self.tell(Event("note", text))
        return self._build(key, jpegs=True, limit=math.inf)

    def _best_without_building(self, key: Key) -> tuple[float, Callable[[], Pixels]]:
        """The cheapest pixels that need no room: seconds of a core a picture, and a function that opens them."""
        size, preprocess, grid = key
        first = next(iter(self.opened.values()))

        def sources() -> Pixels:
            self.tell(Event("note", f"pictures at {size} px are decoded from their files whenever they are read"))
            facts = (first.bad, self.channels, first.ranges, grid)
            return leave_in_sources(self.files, size, preprocess, self.folder, *facts)

        choices: list[tuple[float, Callable[[], Pixels]]] = [(self._costs(key).decode, sources)]
        for other, pixels in self.opened.items():
            if other[1:] == key[1:] and other[0] > size and pixels.path.suffix != ".sources":
                choices.append((self._seconds(other, pixels.path.suffix), lambda pixels=pixels: pixels))  # type: ignore[misc]
        return min(choices, key=lambda choice: choice[0])

    def _seconds(self, key: Key, ending: str) -> float:
        """Seconds of one core to read a picture from a file of that ending."""
        if ending == ".npy":
            return 0.0
        return self._costs(key).unpack if ending == ".jpegs" else self._costs(key).decode

    def _in_larger_array(self, key: Key) -> bool:
        arrays = [other for other, pixels in self.opened.items() if pixels.path.suffix == ".npy"]
        return any(other[1:] == key[1:] and other[0] > key[0] for other in arrays)

    def _array_bytes(self, key: Key) -> int:
        size, _, grid = key
        side = side_of(size, grid)
        return len(self.files) * side * side * self.channels

    def _room(self) -> float:
        return room_in(self.folder, self.limit, {pixels.path for pixels in self.opened.values()})

    def _fits_as_array(self, key: Key) -> bool:
        return self._array_bytes(key) <= self._room() or self._is_kept(key, ".npy")

    def _fits_as_jpegs(self, key: Key) -> bool:
        needed = SAMPLE_ERROR * len(self.files) * self._costs(key).packed_bytes
        return needed <= self._room() or self._is_kept(key, ".jpegs")

    def _is_kept(self, key: Key, ending: str) -> bool:
        """Whether these pixels are on disk already."""
        size, preprocess, grid = key
        side = side_of(size, grid)
        if not any(self.folder.glob(f"{escape(preprocess)}-{side}-*{ending}")):
            return False  # path_of would stat every source file
        return path_of(self.files, side, preprocess, self.folder, self.channels, None, grid, ending).exists()

    def _costs(self, key: Key) -> Costs:
        if key not in self.costs:
            size, preprocess, grid = key
            ranges = next((pixels.ranges for pixels in self.opened.values()), ())
            self.costs[key] = costs_of(self.files, size, preprocess, self.channels, ranges, grid)
        return self.costs[key]

    def _build(self, key: Key, jpegs: bool, limit: float) -> Pixels:
        size, preprocess, grid = key
        texts = [f"decoding {len(self.files)} pictures at {size} px" + (" into JPEGs" if jpegs else "")]

        def progress(done: int, total: int) -> None:
            self.tell(Event("progress", texts.pop() if texts else "", {"done": done, "total": total}))
            if self.clock.left() < max(SLACK.decoding_stops_at, self.reserve()):
                raise OutOfTime

        pixels = build_pixels(
            self.files,
            size,
            preprocess,
            self.folder,
            progress,
            channels=self.channels,
            limit=limit,
            grid=grid,
            jpegs=jpegs,
            keep={pixels.path for pixels in self.opened.values()},
        )
        if pixels.note:
            self.tell(Event("note", pixels.note))
        return pixels
