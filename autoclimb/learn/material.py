"""The nouns of training: the material of all trials of a run, and the context of training one fold."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from autoclimb.arrays import ByRow
from autoclimb.data.stored import PictureRows
from autoclimb.seeds import rng
from autoclimb.types import Kind

Report = Callable[[dict[str, Any]], None]  # takes facts on the progress: progress from 0 to 1, epoch


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Stored outputs of a net's frozen stages: float16 feature maps, treated as pictures of many channels."""

    views: tuple[np.ndarray, ...]  # (N + M, h, w, channels) each: of all pictures in each view of prediction
    varied: tuple[np.ndarray, ...]  # (N, h, w, channels) each: of the train pictures, varied as in training

    def drawn(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """The features `(B, h, w, channels)` of the rows, each of a random variant."""
        variants = (*self.views, *self.varied)
        which = rng(seed, "variant").integers(len(variants), size=len(rows))
        if self.varied:  # which train pictures alone have
            which = np.where(rows < len(self.varied[0]), which, which % len(self.views))
        features = np.empty((len(rows), *variants[0].shape[1:]), variants[0].dtype)
        for number, variant in enumerate(variants):
            features[which == number] = variant[rows[which == number]]
        return features


@dataclass(frozen=True, eq=False)
class Material:
    """The data that every trial of a run is trained on. N train rows come first in `pixels`, then M test rows."""

    kind: Kind
    width: int  # columns of a target: classes, labels, or 1 for a number
    target: ByRow  # (N, width): one-hot rows and large label sets as LabelSets; 0/1 rows, shares of votes or numbers
    fold_of: np.ndarray  # (N,) int, -1 for rows left out
    pixels: PictureRows  # (N + M, S, S, channels) uint8, or anything indexed like it
    pipelines: dict[str, str] = field(default_factory=dict)  # the user's own policies, as json
    precision: str = "float32"  # dtype to store predictions in
    stored: StoredFeatures | None = None  # input of nets that train only their top
    predict_test: bool = True

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of these rows, `(len(rows), width)` float32."""
        return np.asarray(self.target[rows], np.float32)

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return self.pixels.shape[-1]

    @property
    def test_rows(self) -> np.ndarray:
        """The indices of the test items in `pixels`; none where they are not to be predicted."""
        return np.arange(len(self.target), len(self.pixels) if self.predict_test else len(self.target))


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Format:
    """The number format and layout of training's forward and backward pass; the probe measures the fastest."""

    precision: str = "fp32"  # a row of DTYPES; fp16, for cards without bf16, needs a gradient scaler
    channels_last: bool = True  # layout of pictures and filters in memory; torch's own otherwise
    img_s: float = 0.0  # pictures a second in this format by the probe, at the config's size; 0 for unknown

    @property
    def layout(self) -> torch.memory_format:
        """The layout as a torch.memory_format."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context that training's forward runs in. Weights are cast where they are used, as graphs demand."""
        dtype, enabled = DTYPES[self.precision], self.precision != "fp32"
        return torch.autocast(device.type, dtype, enabled=enabled, cache_enabled=False)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """The scaler that keeps small gradients from vanishing in fp16's 5 bits of exponent; a no-op for the others."""
        return torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")


PLAIN = Format()


@dataclass(frozen=True, eq=False)
class Taught:
    """R pictures whose labels a training must not use, and the predictions of its teachers for them."""

    rows: np.ndarray  # (R,) into Material.pixels
    target: np.ndarray  # (R, width) float32: probabilities, or numbers in the units of Material.target


@dataclass(frozen=True)
class Watch:
    """The time that features and predictions may take, and who hears how far they are.

    At `deadline` they end; past `soft` each picture is predicted in one view.
    """

    now: Callable[[], float] = time.monotonic
    soft: float = math.inf
    deadline: float = math.inf
    report: Report = lambda facts: None
    each: float = 0.0  # seconds that a picture is expected to take in one view, 0 for unknown

    def allows(self, start: float, times: float) -> bool:
        """Whether so many times what was done since `start` can be done until `soft`."""
        return self.soft == math.inf or start + times * (self.now() - start) <= self.soft

    def share(self, part: float) -> "Watch":
        """The watch of what is done first and may take this part of the time until `soft`."""
        now = self.now()
        return replace(self, soft=now + part * (self.soft - now)) if self.soft < math.inf else self

    def pictures_until(self, seconds_each: float) -> float:
        """How many pictures can be predicted until `deadline`, where each takes so many seconds."""
        left = self.deadline - self.now()
        return 0 if left <= 0 else left / seconds_each if seconds_each else math.inf


@dataclass(frozen=True, eq=False)
class Fold:
    """The context of one training beside its config: rows, device, report, clock and deadline."""

    number: int
    train_rows: np.ndarray  # into Material.target and Material.pixels
    valid_rows: np.ndarray  # held out: predicted, their labels never trained on
    device: torch.device
    report: Report
    now: Callable[[], float]
    deadline: float = math.inf  # on that clock, when the worker is killed and unwritten results are lost
    taught: Taught | None = None  # of a student
    test_done: bool = False  # whether another fold of the trial has predicted every test row


def rows_of_fold(material: Material, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Train rows and held-out rows of the fold of that number; rows without a fold are in neither."""
    train_rows = np.flatnonzero((material.fold_of != number) & (material.fold_of >= 0))
    return train_rows, np.flatnonzero(material.fold_of == number)
