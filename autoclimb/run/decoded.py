"""The decoded pixels of a run: made when first asked for, kept within a limit of disk.

Where the array of a size does not fit beside those in use, its pictures are read from JPEGs of that size, from pixels
of a larger size, or from the source files, whichever costs least beside the net's work.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

import numpy as np

from autoclimb.budget import CACHE_GB, SLACK, Clock
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import (
    Costs,
    NoRoom,
    Pixels,
    array_bytes,
    build_pixels,
    costs_of,
    forget,
    leave_in_sources,
    mark_used,
    path_of,
    room_in,
)
from autoclimb.data.sources import shown
from autoclimb.data.stored import Vanished
from autoclimb.processors import allowed_cores
from autoclimb.report.words import counted
from autoclimb.types import Event, Tell

ENOUGH = 0.9  # of the training rate on an array, above which no faster form is built
SAMPLE_ERROR = 1.15  # factor on the bytes of JPEGs, which are estimated from a sample


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
    limit: float = 1e9 * CACHE_GB  # bytes; beyond it the least recently used pixels are deleted
    opened: dict[Decoding, Pixels] = field(default_factory=dict, repr=False)
    costs: dict[Decoding, Costs] = field(default_factory=dict, repr=False)
    reserve: Callable[[], float] = field(default=lambda: 0.0, repr=False)  # seconds of the budget for other work

    def at(self, size: int, preprocess: str, grid: int = 0, rate: float = 0.0) -> Pixels:
        """The pixels for pictures of this size; they may be larger, for the reader to shrink.

        `rate` is the net's own speed in pictures a second, 0 where it is unknown. Raises OutOfTime where the budget
        does not allow for decoding, NoRoom where the disk is full, Vanished where pictures can no longer be read.
        """
        how = self._how(size, preprocess, grid)
        pixels = self.opened.get(how)
        if pixels is None or not pixels.path.exists():
            for gone in [other for other, opened in self.opened.items() if not opened.path.exists()]:
                del self.opened[gone]
            pixels = self._open(how, rate)
            self._check_readable(pixels)
            self.opened[how] = pixels
        mark_used(pixels.path)
        return pixels

    def _check_readable(self, pixels: Pixels) -> None:
        """Raises Vanished where pixels are grey of pictures that could be read at first: nets would learn grey."""
        first = next(iter(self.opened.values()), pixels)
        lost = np.flatnonzero(pixels.bad & ~first.bad)
        if not lost.size:
            return
        forget(pixels.path)  # the pictures may come back
        names = ", ".join(shown(self.files[i]) for i in lost[:3])
        raise Vanished(f"{counted(lost.size, 'picture')} can no longer be read: {names}; put them back")

    def decoded_already(self, size: int, preprocess: str, grid: int = 0) -> Pixels | None:
        """The pixels for pictures of this size, None where they would have to be decoded first."""
        how = self._how(size, preprocess, grid)
        if (pixels := self.opened.get(how)) is not None and pixels.path.exists():
            return pixels
        return self.at(size, preprocess, grid) if self._is_kept(how, ".npy") else None

    def reading_seconds(self, size: int, preprocess: str, grid: int = 0) -> float:
        """Seconds of all cores to read a picture of this size: 0 where it is a row of an array."""
        how = self._how(size, preprocess, grid)
        pixels = self.opened.get(how)
        if pixels is None:
            in_array = self._fits_as_array(how) or ".npy" in (larger.path.suffix for _, larger in self._larger(how))
            ending = ".npy" if in_array else ".jpegs" if self._fits_as_jpegs(how) else ".sources"
        else:
            ending = pixels.path.suffix
        return self._seconds(how, ending) / allowed_cores()

    def _how(self, size: int, preprocess: str, grid: int) -> Decoding:
        return Decoding(size, preprocess, self.channels, grid=grid)

    def _open(self, how: Decoding, rate: float) -> Pixels:
        if self._fits_as_array(how):
            return self._build(how, jpegs=False, limit=self.limit)
        if not self.opened:  # the first pixels must exist: they show which pictures are unreadable, which duplicates
            return self._jpegs_within_limit(how) or self._first_beyond_limit(how)
        seconds, ready = self._best_without_building(how)
        enough = not seconds or (rate > 0 and 1 / (1 + rate * seconds / allowed_cores()) >= ENOUGH)
        return (None if enough else self._jpegs_within_limit(how)) or ready()

    def _jpegs_within_limit(self, how: Decoding) -> Pixels | None:
        if self._fits_as_jpegs(how):
            with suppress(NoRoom):  # the estimate from a sample was too low
                return self._build(how, jpegs=True, limit=self.limit)
        return None

    def _first_beyond_limit(self, how: Decoding) -> Pixels:
        text = f"pixels at {how.size} px take more than the cache's {self.limit / 1e9:g} GB even as JPEGs"
        self.tell(Event("note", text))
        return self._build(how, jpegs=True, limit=math.inf)

    def _best_without_building(self, how: Decoding) -> tuple[float, Callable[[], Pixels]]:
        """The cheapest pixels that need no room: seconds of a core a picture, and a function that opens them."""

        def sources() -> Pixels:
            self.tell(Event("note", f"pictures at {how.size} px are decoded from their files whenever they are read"))
            first = next(iter(self.opened.values()))
            return leave_in_sources(self.files, replace(how, ranges=first.ranges), self.folder, first.bad)

        choices: list[tuple[float, Callable[[], Pixels]]] = [(self._costs(how).decode, sources)]
        for larger, pixels in self._larger(how):
            if pixels.path.suffix != ".sources":
                choices.append((self._seconds(larger, pixels.path.suffix), lambda pixels=pixels: pixels))  # type: ignore[misc]
        return min(choices, key=lambda choice: choice[0])

    def _seconds(self, how: Decoding, ending: str) -> float:
        """Seconds of one core to read a picture from a file of that ending."""
        if ending == ".npy":
            return 0.0
        return self._costs(how).unpack if ending == ".jpegs" else self._costs(how).decode

    def _larger(self, how: Decoding) -> list[tuple[Decoding, Pixels]]:
        """The opened pixels that differ from these by a larger size alone."""
        return [
            (other, pixels)
            for other, pixels in self.opened.items()
            if other.size > how.size and replace(other, size=how.size) == how
        ]

    def _room(self) -> float:
        return room_in(self.folder, self.limit, {pixels.path for pixels in self.opened.values()})

    def _fits_as_array(self, how: Decoding) -> bool:
        return array_bytes(len(self.files), how) <= self._room() or self._is_kept(how, ".npy")

    def _fits_as_jpegs(self, how: Decoding) -> bool:
        needed = SAMPLE_ERROR * len(self.files) * self._costs(how).packed_bytes
        return needed <= self._room() or self._is_kept(how, ".jpegs")

    def _is_kept(self, how: Decoding, ending: str) -> bool:
        """Whether these pixels are on disk already."""
        if not any(self.folder.glob(f"{escape(how.preprocess)}-{how.side}-*{ending}")):
            return False  # path_of would stat every source file
        return path_of(self.files, how, self.folder, ending).exists()

    def _costs(self, how: Decoding) -> Costs:
        if how not in self.costs:
            ranges = next((pixels.ranges for pixels in self.opened.values()), ())
            self.costs[how] = costs_of(self.files, replace(how, ranges=ranges))
        return self.costs[how]

    def _build(self, how: Decoding, jpegs: bool, limit: float) -> Pixels:
        texts = [f"decoding {len(self.files)} pictures at {how.size} px" + (" into JPEGs" if jpegs else "")]

        def progress(done: int, total: int) -> None:
            self.tell(Event("progress", texts.pop() if texts else "", {"done": done, "total": total}))
            if self.clock.left() < max(SLACK.decoding_stops_at, self.reserve()):
                raise OutOfTime

        pixels = build_pixels(
            self.files,
            how,
            self.folder,
            progress,
            limit=limit,
            jpegs=jpegs,
            keep={pixels.path for pixels in self.opened.values()},
        )
        if pixels.note:
            self.tell(Event("note", pixels.note))
        return pixels
