"""Augmented batches from the pictures of rows, prepared ahead of the net."""

import math
import multiprocessing
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, count
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows, picture_of, tiles_of
from autoclimb.learn.material import Fold, Material
from autoclimb.learn.moves import augmented, moves_of
from autoclimb.learn.samplers import epoch_order
from autoclimb.processors import usable_cores
from autoclimb.seeds import rng, seed_of

LONGEST_WAIT = 240.0  # seconds for a batch, after which its process counts as hung; slow sources take a minute
PREFETCHED = 2  # batches that each process prepares ahead; a thread prepares one more
IN_TURN = 0.2  # of the net's time, below which items are made between its steps; see prefetch
FIRST_ITEMS = 4  # made in turn before that is decided; the first one, which builds pipelines, does not count
# pictures that a process is timed with before others are forked, and the factor on the number of processes that would
# feed the net by that: on an H100's 16 cores fifteen took half a second to begin in every fold (runs of three minutes)
TIMED, SURE = 8, 3.0
SHARED_SHARE = 0.8  # of /dev/shm for prepared batches; a full one ends a process by a bus error
BLOCK = 128  # pictures of a block of `blocks_of`
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class BatchSpec:
    """A batch before its pictures are made, which follow from it alone, in whatever process they are made."""

    epoch: int
    rows: np.ndarray  # (B,) into Material.pixels
    size: int  # pixels a side
    seed: int  # of the augmentation


class BatchMaker(Dataset[tuple[BatchSpec, Tensor]]):
    """Makes the pictures of batches. It is not thread-safe, since each policy's pipeline has a state."""

    def __init__(self, material: Material, config: Config) -> None:
        self.material, self.policy, self.grid = material, config.policy, config.grid or 1
        self.pipeline_of_size = dict[int, Any]()
        if material.stored is None:
            self._pipeline(config.size // self.grid)  # before processes are forked: see there

    def __getitem__(self, spec: BatchSpec) -> tuple[BatchSpec, Tensor]:
        """A batch's pictures `(B, size, size, C)` uint8 beside its spec; stored features are float16."""
        if self.material.stored is not None:
            return spec, torch.from_numpy(self.material.stored.drawn(spec.rows, spec.seed))
        pixels, size = self.material.pixels, spec.size // self.grid
        pixels = np.asarray(pixels) if isinstance(pixels, np.ndarray) else pixels  # rows of a memmap are slow memmaps
        pipeline = self._pipeline(size)
        pipeline.set_random_seed(spec.seed)

        def picture(row: int) -> np.ndarray:
            if self.grid == 1:
                return augmented(pipeline, resized(pixels[row], size))
            tiles = [resized(tile, size) for tile in tiles_of(pixels[row], self.grid)]
            return picture_of(
                np.stack([tile if is_blank(tile) else augmented(pipeline, tile) for tile in tiles]), self.grid
            )

        return spec, torch.from_numpy(np.stack([picture(row) for row in spec.rows]))

    def _pipeline(self, size: int) -> Any:
        """The policy's pipeline for pictures of that size. Albumentations, where it needs that, imports for seconds."""
        if size not in self.pipeline_of_size:
            own, channels = self.material.pipelines, self.material.channels
            pipeline = moves_of(self.policy, size, 0, own)
            if pipeline is None:
                from autoclimb.learn.pipelines import pipeline_of

                pipeline = pipeline_of(self.policy, size, 0, own, channels)
            self.pipeline_of_size[size] = pipeline
        return self.pipeline_of_size[size]


def epoch_batches(
    material: Material, fold: Fold, config: Config, size: int, batch: int, epoch: int
) -> Iterator[BatchSpec]:
    """One pass over the fold's train rows in random order; a short last batch is dropped.

    With a sampler as many rows are drawn, with repetition. In a student's batches the rows that its teachers label come
    last. Everything follows from (seed, fold, epoch).
    """
    purpose = (config.seed, "epoch", fold.number, epoch)
    size_draw, first_seed = rng(*purpose, "scale"), seed_of(*purpose)
    order = epoch_order(fold.train_rows, material.target, material.kind, config, rng(*purpose))
    labelled = labelled_in(batch, config, fold)
    starts = range(0, max(len(order) - labelled + 1, 1), labelled)
    taught = taught_order(fold, len(starts) * (batch - labelled), rng(*purpose, "taught"))
    for start, others in zip(starts, np.split(taught, len(starts)), strict=True):
        batch_size = scaled_size(size, config.scales, size_draw)
        rows = np.concatenate([order[start : start + labelled], others])
        yield BatchSpec(epoch, rows, batch_size, (first_seed + start) % 2**31)


def taught_order(fold: Fold, count: int, draw: np.random.Generator) -> np.ndarray:
    """`count` of the rows that the fold's teachers label, in random order: each once, then all of them again."""
    return np.resize(draw.permutation(fold.taught.rows), count) if fold.taught and count else np.zeros(0, np.int64)


def endless_batches(
    material: Material, fold: Fold, config: Config, size: int, batch: int, first_epoch: int = 0
) -> Iterator[BatchSpec]:
    """The batches of one epoch after the other, without a pause in between."""
    for epoch in count(first_epoch):
        yield from epoch_batches(material, fold, config, size, batch, epoch)


def batch_of(config: Config, fold: Fold) -> int:
    """The number of rows of a step: the config's batch, at most the fold's rows, at least two for batch norms."""
    return max(2, min(config.batch, len(fold.train_rows)))


def labelled_in(batch: int, config: Config, fold: Fold) -> int:
    """The number of train rows in a step of `batch` rows: all but those that a student's teachers label."""
    others = len(fold.taught.rows) if fold.taught else 0
    return max(1, batch - round(batch * config.taught_share(len(fold.train_rows), others)))


def loader_processes(device: torch.device, batch_bytes: int) -> int:
    """The number of processes that prepare batches: 0 for a processor, where `prefetch` does it.

    For a GPU it is all cores but one, however many GPUs there are: a run uses one, and Kaggle has four cores beside two
    T4. It is 0 without fork, where each process would import torch again for every training. Batches pass through
    /dev/shm, of which Docker gives 64 MB, so there are no more processes than it holds batches for; a thread prepares
    them where it holds too few.
    """
    if device.type == "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    cores = max(1, min(usable_cores() - 1, 16))
    each = (PREFETCHED + 1) * max(batch_bytes, 1)  # with the one being made
    return min(cores, int(SHARED_SHARE * shared_memory() / each))


def shared_memory() -> float:
    """Free bytes of /dev/shm, through which processes pass tensors; infinite where it does not exist."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return math.inf


def batch_bytes(material: Material, config: Config, batch: int, size: int) -> int:
    """Bytes of a batch's pictures at the largest scale; stored features take two bytes a number."""
    largest = max(size, sides_of_batches(size, config.scales)[-1])
    return batch * largest**2 * material.channels * (1 if material.stored is None else 2)


def load_batches(
    specs: Iterator[BatchSpec],
    material: Material,
    config: Config,
    device: torch.device,
    processes: int = 0,
    rate: float = 0.0,
) -> Iterator[tuple[BatchSpec, Tensor]]:
    """Batches with their pictures, in order, prepared ahead by processes or by `prefetch`, with equal results.

    Where the net's `rate` in pictures is known, at most as many of the `processes` are begun as it needs.
    """
    maker = BatchMaker(material, config)
    if not processes:
        yield from prefetch((maker[spec] for spec in specs), device)
        return
    if rate and (first := next(specs, None)) is not None:
        processes = min(processes, processes_for(rate, maker, first))
        specs = chain([first], specs)
    yield from DataLoader(
        maker,
        batch_size=None,
        sampler=specs,
        num_workers=processes,
        prefetch_factor=PREFETCHED,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",
        worker_init_fn=_one_thread,
        timeout=LONGEST_WAIT,
    )


def processes_for(rate: float, maker: BatchMaker, spec: BatchSpec, now: Callable[[], float] = time.perf_counter) -> int:
    """Processes that prepare pictures at SURE times that rate and one more, by the time that TIMED ones take here.

    The maker has its pipeline then, which processes that are forked need not build.
    """
    few = replace(spec, rows=spec.rows[:TIMED])
    maker[replace(spec, rows=spec.rows[:1])]
    start = now()
    maker[few]
    return 1 + math.ceil(SURE * rate * (now() - start) / len(few.rows))


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork


def prefetch(items: Iterator[T], device: torch.device, now: Callable[[], float] = time.perf_counter) -> Iterator[T]:
    """The same items, made by a thread in advance; an error there is raised here.

    On a processor, items that take a small part of a net's step are made between steps: a thread would take a core from
    one of the net's own, for which the others wait, and the interpreter's lock (LOG.md).
    """
    making = using = 0.0
    for number, (item, seconds) in enumerate(_with_seconds(items, now) if device.type == "cpu" else ()):
        start = now()
        yield item
        if number:
            making, using = making + seconds, using + now() - start
        if number + 1 >= FIRST_ITEMS and making > IN_TURN * using:
            break
    yield from _made_ahead(items)


def _with_seconds(items: Iterator[T], now: Callable[[], float]) -> Iterator[tuple[T, float]]:
    """The items, each with the seconds of making it."""
    start = now()
    for item in items:
        yield item, now() - start
        start = now()


def _made_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made by a thread while earlier ones are used."""
    ready: queue.Queue = queue.Queue(PREFETCHED + 1)
    end, consumer_left = object(), threading.Event()

    def offer(item: object) -> bool:
        while not consumer_left.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not offer(item):
                    return
            offer(end)
        except BaseException as error:  # noqa: BLE001 - passed on and raised in the consumer
            offer(error)

    threading.Thread(target=produce, daemon=True).start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        consumer_left.set()


def is_blank(picture: np.ndarray) -> bool:
    """Whether a picture is of one colour, as the tiles of a grid are for which an item has no picture."""
    return bool((picture == picture[0, 0]).all())


def blocks_of(pixels: PictureRows, size: int) -> Iterator[np.ndarray]:
    """All pictures in blocks `(BLOCK, size, size, C)`, the last one shorter."""
    for start in range(0, len(pixels), BLOCK):
        yield pictures_of_rows(pixels, np.arange(start, min(start + BLOCK, len(pixels))), size)


def pictures_of_rows(pixels: PictureRows, rows: np.ndarray, size: int, grid: int = 0) -> np.ndarray:
    """The pictures `(len(rows), size, size, C)` of those rows, not augmented."""
    return np.stack([resized(picture, size, grid) for picture in pixels[rows]])


def filled(block: np.ndarray, batch: int) -> np.ndarray:
    """The block with its last picture repeated until there are `batch` of them."""
    missing = batch - len(block)
    return np.concatenate([block, np.repeat(block[-1:], missing, 0)]) if missing > 0 else block


def resized(picture: np.ndarray, size: int, grid: int = 0) -> np.ndarray:
    """A picture at `size` pixels a side; of a grid each tile by itself, at `size // grid`."""
    if grid:
        return picture_of(np.stack([resized(tile, size // grid) for tile in tiles_of(picture, grid)]), grid)
    if picture.shape[0] == size:
        return picture
    if picture.shape[2] > 4:  # OpenCV resizes at most four channels
        fours = [np.ascontiguousarray(picture[..., c : c + 4]) for c in range(0, picture.shape[2], 4)]
        return np.concatenate([resized(four, size) for four in fours], 2)
    rule = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=rule).reshape(size, size, -1)  # it drops a lone channel


def scaled_size(size: int, scales: tuple[float, ...], draw: np.random.Generator) -> int:
    """The side of a batch's pictures, drawn from `sides_of_batches`."""
    sides = sides_of_batches(size, scales)
    return sides[int(draw.integers(len(sides)))] if scales else size


def sides_of_batches(size: int, scales: tuple[float, ...]) -> range:
    """The sides that batches may have: `size` alone, or with `scales` (low, high) the multiples of a step between them.

    The step is 32 px as in YOLOv2 (Redmon and Farhadi 2017, arXiv 1612.08242), 16 for sizes under 128.
    """
    if not scales:
        return range(size, size + 1)
    step = 32 if size >= 128 else 16
    low, high = (max(1, round(size * scale / step)) for scale in scales)
    return range(step * low, step * max(low, high) + 1, step)


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
    side, channels = x.shape[2:]
    scale, shift = _statistics(mean, std, side, device)
    # by rows of pixels and in place: 32 pictures of 224 px take 4.4 ms, by channels and copied 13.9 (2 threads, medians
    # of 6 interleaved rounds), as loops over three channels are short
    x = x.flatten(2).to(torch.float32, copy=True).mul_(scale).sub_(shift)
    # a view, so that memory stays channels last
    return x.unflatten(2, (side, channels)).permute(0, 3, 1, 2).contiguous(memory_format=layout)


@cache
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], side: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and offset `(S * C,)` of a row of pixels, cached, since copying them synchronises the GPU."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device)
    return scale.repeat(side), shift.repeat(side)
