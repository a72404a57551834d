"""Rows of the pixel cache -> varied batches, prepared ahead of the net."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from autoclimb.learn.samplers import ordered
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


def shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    """One picture at `size` pixels a side."""
    if picture.shape[0] == size:
        return picture
    if picture.shape[2] > 4:  # OpenCV shrinks no more at once
        fours = [np.ascontiguousarray(picture[..., c : c + 4]) for c in range(0, picture.shape[2], 4)]
        return np.concatenate([shrunk(four, size) for four in fours], 2)
    way = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=way).reshape(size, size, -1)  # it drops a single channel


def epoch(material: Material, rows: np.ndarray, config: Config, size: int, batch: int, fold: int, number: int):
    """One pass over the rows in random order: `(pictures (B, s, s, C) uint8, rows (B,))`, a short last batch dropped.

    With a sampler as many rows are drawn, some of them more than once.

    Order and variation depend only on (seed, fold, epoch).
    """
    from autoclimb.learn.policies import pipeline_of, varied  # albumentations: more than a second, not for features

    purpose = (config.seed, "epoch", fold, number)
    drawn, pipelines = rng(*purpose, "scale"), {}
    order = ordered(rows, material.target, material.kind, config, rng(*purpose))
    for start in range(0, max(len(order) - batch + 1, 1), batch):
        chosen = order[start : start + batch]
        side = scaled(size, config.scales, drawn)
        if side not in pipelines:
            seed = seed_of(*purpose) % 2**31
            pipelines[side] = pipeline_of(config.policy, side, seed, material.pipelines, material.pixels.shape[-1])
        yield np.stack([varied(pipelines[side], shrunk(material.pixels[row], side)) for row in chosen]), chosen


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
    pictures: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    layout: torch.memory_format = torch.channels_last,
) -> Tensor:
    """Pictures `(B, S, S, C)` uint8 as a normalised float batch `(B, C, S, S)` in that layout, on the device."""
    x = torch.from_numpy(pictures)
    if device.type == "cuda":
        x = x.pin_memory().to(device, non_blocking=True)
    x = x.permute(0, 3, 1, 2).float()  # the memory stays as it is: channels last
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, -1, 1, 1)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device).view(1, -1, 1, 1)
    return (x * scale - shift).contiguous(memory_format=layout)
