"""The decoded pixels of a run: made when first asked for, kept within a limit of disk."""

from dataclasses import dataclass, field
from pathlib import Path

from autoclimb.budget import SLACK, Clock
from autoclimb.data.pixels import Pixels, build_pixels, mark_used
from autoclimb.types import Event, Tell

FIRST_SIZE = 64  # pixels a side of the first array: decoding it also tells which pictures cannot be read


class OutOfTime(Exception):
    """The budget ended before anything could be learnt; the constant submission stands."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded pixels of all items, train first, by size, preprocessing and grid; `opened` remembers what was opened."""

    folder: Path
    files: tuple[str, ...]
    clock: Clock
    tell: Tell
    channels: int = 3
    limit: float = 3e9  # bytes; beyond it the least recently used pixels are deleted
    opened: dict[tuple[int, str, int], Pixels] = field(default_factory=dict, repr=False)

    def at(self, size: int, preprocess: str, grid: int = 0) -> Pixels:
        """The pixels at this size; raises OutOfTime where they cannot be had within the budget."""
        pixels = self.opened.get((size, preprocess, grid))
        if pixels is None or not pixels.path.exists():
            pixels = self._build(size, preprocess, grid)
            for key in [key for key, other in self.opened.items() if not other.path.exists()]:
                del self.opened[key]
            self.opened[size, preprocess, grid] = pixels
        mark_used(pixels.path)
        return pixels

    def _build(self, size: int, preprocess: str, grid: int) -> Pixels:
        texts = [f"decoding {len(self.files)} pictures at {size} px"]  # shown once, with the first count
        needed = len(self.files) * size * size * self.channels
        if needed > self.limit:
            self.tell(Event("note", f"pixels at {size} px take {needed / 1e9:.1f} GB, over the limit of the cache"))

        def progress(done: int, total: int) -> None:
            self.tell(Event("progress", texts.pop() if texts else "", {"done": done, "total": total}))
            if self.clock.left() < SLACK.decoding_stops_at:
                raise OutOfTime

        pixels = build_pixels(
            self.files, size, preprocess, self.folder, progress, None, self.channels, None, self.limit, grid
        )
        if pixels.note:
            self.tell(Event("note", pixels.note))
        return pixels
