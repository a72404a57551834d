"""Rows of the pixel cache -> varied batches, prepared ahead of the net."""

import multiprocessing
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from autoclimb.learn.samplers import ordered
from autoclimb.learn.several import tiles_in, together
from autoclimb.seeds import rng, seed_of
from autoclimb.types import Config, Kind

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Material:
    """What every trial of a run is trained on. N train rows come first in `pixels`, then M test rows."""

    kind: Kind
    width: int  # logits
    target: np.ndarray  # (N, width) float32: one-hot rows, 0/1 rows, or numbers
    fold_of: np.ndarray  # (N,) int, -1 for rows left out
    pixels: np.ndarray  # (N + M, S, S, channels) uint8
    pipelines: dict[str, str] = field(default_factory=dict)  # a user's policies, as json

    @property
    def test_rows(self) -> np.ndarray:
        """Where the test items lie in `pixels`."""
        return np.arange(len(self.target), len(self.pixels))


@dataclass(frozen=True, eq=False)
class Drawn:
    """A batch before its pictures are made: they follow from this alone, wherever and whenever that is done."""

    epoch: int
    rows: np.ndarray  # (B,) into Material.pixels
    side: int
    seed: int  # of how its pictures vary


class Maker(Dataset[tuple[Drawn, Tensor]]):
    """Makes the pictures of drawn batches; not for two threads at once, each policy's pipeline has a state."""

    def __init__(self, material: Material, config: Config) -> None:
        # albumentations takes over a second: not for features, and before processes are forked, not in each of them
        from autoclimb.learn import policies

        self.material, self.policy, self.grid = material, config.policy, config.grid or 1
        self.policies, self.pipelines = policies, dict[int, Any]()

    def __getitem__(self, drawn: Drawn) -> tuple[Drawn, Tensor]:
        """The pictures `(B, side, side, C)` uint8 of a batch, beside what it was drawn as."""
        pipeline_of, varied = self.policies.pipeline_of, self.policies.varied
        pixels, side = np.asarray(self.material.pixels), drawn.side // self.grid  # memmap makes every row a memmap
        if side not in self.pipelines:
            self.pipelines[side] = pipeline_of(self.policy, side, 0, self.material.pipelines, pixels.shape[-1])
        pipeline = self.pipelines[side]
        pipeline.set_random_seed(drawn.seed)

        def made(row: int) -> np.ndarray:
            if self.grid == 1:
                return varied(pipeline, shrunk(pixels[row], side))
            tiles = [shrunk(tile, side) for tile in tiles_in(pixels[row], self.grid)]
            return together(np.stack([tile if is_even(tile) else varied(pipeline, tile) for tile in tiles]), self.grid)

        return drawn, torch.from_numpy(np.stack([made(row) for row in drawn.rows]))


def epoch(
    material: Material, rows: np.ndarray, config: Config, size: int, batch: int, fold: int, number: int
) -> Iterator[Drawn]:
    """One pass over the rows in random order, a short last batch dropped.

    With a sampler as many rows are drawn, some of them more than once. All follows from (seed, fold, epoch).
    """
    purpose = (config.seed, "epoch", fold, number)
    sides, first = rng(*purpose, "scale"), seed_of(*purpose)
    order = ordered(rows, material.target, material.kind, config, rng(*purpose))
    for start in range(0, max(len(order) - batch + 1, 1), batch):
        side = scaled(size, config.scales, sides)
        yield Drawn(number, order[start : start + batch], side, (first + start) % 2**31)


def endless(
    material: Material, rows: np.ndarray, config: Config, size: int, batch: int, fold: int, first: int = 0
) -> Iterator[Drawn]:
    """Epoch after epoch from that number on, so that no batch of one waits for the end of another."""
    for number in count(first):
        yield from epoch(material, rows, config, size, batch, fold, number)


def makers(device: torch.device) -> int:
    """Processes that prepare batches: none for a processor, which a thread beside the training keeps busy.

    On a GPU all cores but one, shared out among the GPUs. Without fork each would load torch anew for every training.
    """
    if device.type == "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // max(torch.cuda.device_count(), 1) - 1, 16))


def fed(
    batches: Iterator[Drawn], material: Material, config: Config, processes: int = 0
) -> Iterator[tuple[Drawn, Tensor]]:
    """Drawn batches with their pictures, in order, prepared ahead by a thread or by processes; the same either way."""
    maker = Maker(material, config)
    if not processes:
        yield from ahead(maker[drawn] for drawn in batches)
        return
    yield from DataLoader(
        maker,
        batch_size=None,
        sampler=batches,
        num_workers=processes,
        prefetch_factor=2,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",
        worker_init_fn=_alone,
    )


def _alone(worker: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's threads do not live on in a forked process


def ahead(things: Iterator[T], depth: int = 3) -> Iterator[T]:
    """The same things, made by a thread up to `depth` in advance; an error there is raised here."""
    ready: queue.Queue = queue.Queue(depth)
    over, gone = object(), threading.Event()

    def offer(thing: object) -> bool:
        while not gone.is_set():
            try:
                ready.put(thing, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for thing in things:
                if not offer(thing):
                    return
            offer(over)
        except BaseException as error:  # noqa: BLE001 - handed over, raised by the one who waits
            offer(error)

    threading.Thread(target=make, daemon=True).start()
    try:
        while (thing := ready.get()) is not over:
            if isinstance(thing, BaseException):
                raise thing
            yield thing
    finally:
        gone.set()


def is_even(picture: np.ndarray) -> bool:
    """Whether a picture is all of one colour: the place of one that an item does not have."""
    return bool((picture == picture[0, 0]).all())


def shrunk(picture: np.ndarray, size: int, grid: int = 0) -> np.ndarray:
    """One picture at `size` pixels a side; of a grid each tile by itself, `size` brought down to a multiple of it."""
    if grid:
        return together(np.stack([shrunk(tile, size // grid) for tile in tiles_in(picture, grid)]), grid)
    if picture.shape[0] == size:
        return picture
    if picture.shape[2] > 4:  # OpenCV shrinks no more at once
        fours = [np.ascontiguousarray(picture[..., c : c + 4]) for c in range(0, picture.shape[2], 4)]
        return np.concatenate([shrunk(four, size) for four in fours], 2)
    way = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=way).reshape(size, size, -1)  # it drops a single channel


def scaled(size: int, scales: tuple[float, ...], draw: np.random.Generator) -> int:
    """The side of a batch's pictures: `size`, or one of its neighbours in whole steps between its (low, high) scales.

    Steps are of 32 px as in YOLOv2 (Redmon and Farhadi 2017, arXiv 1612.08242), of 16 where a size is under 128.
    """
    if not scales:
        return size
    step = 32 if size >= 128 else 16
    low, high = (max(1, round(size * scale / step)) for scale in scales)
    return step * int(draw.integers(low, max(low, high) + 1))


def to_input(
    pictures: np.ndarray | Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    layout: torch.memory_format = torch.channels_last,
) -> Tensor:
    """Pictures `(B, S, S, C)` uint8 as a normalised float batch `(B, C, S, S)` in that layout, on the device."""
    x = torch.from_numpy(pictures) if isinstance(pictures, np.ndarray) else pictures
    if device.type == "cuda":
        x = (x if x.is_pinned() else x.pin_memory()).to(device, non_blocking=True)
    x = x.permute(0, 3, 1, 2).float()  # the memory stays as it is: channels last
    scale, shift = _statistics(mean, std, device)
    return (x * scale - shift).contiguous(memory_format=layout)


@cache
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and offset `(1, C, 1, 1)` of the normalisation, kept: copying them for each batch makes a GPU wait."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, -1, 1, 1)
    return scale, torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device).view(1, -1, 1, 1)
