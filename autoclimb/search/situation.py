"""Situation: the facts a plan depends on, and the speed of a net."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoclimb.search.space import SearchSpace
from autoclimb.types import Config, Kind, Trial

FIRST_SIZE = 64  # pixels a side of the first array: decoding it also tells which pictures cannot be read
FIRST_PICTURES = (FIRST_SIZE, "squash", 0)  # that array, as search.cost.pictures_of names it


@dataclass(frozen=True)
class Speed:
    """Pictures a second: trained on (forward, backward, step) and predicted. 0 where the net could not be run."""

    train: float
    predict: float
    precision: str = "fp32"  # the number format that training was fastest in: fp32, bf16 or fp16
    channels_last: bool = True  # whether it was with pictures and filters in that layout
    batch: int = 0  # the batch that this was measured with, where a larger one than the config's was faster
    fault: str = ""  # why the net could not be run: a kind of learn.faults
    fixed_bytes: float = 0.0  # of memory that training takes beside its pictures; 0 where it was not measured
    picture_bytes: float = 0.0  # of memory more for each picture of a batch
    cold: float = 0.0  # seconds until a card has its kernels for batches of a shape that is new to it


@dataclass(frozen=True, eq=False)
class Situation:
    """The facts a plan depends on: data, metric, clock, device, pretrained nets. Only `left` changes during a run.

    The functions are the run's own: a stage measures, decides and prepares through them, so that a fake clock and fake
    nets can stand behind a plan.
    """

    kind: Kind
    rows: int  # train items
    answered: int  # test items
    side: int  # pixels, the median shorter side
    pictures: int  # of the item that has most of them
    folds: int
    budget: float  # seconds of the whole run
    device: str  # "cpu" or "cuda"
    seed: int
    metric: str
    wants: str
    beta: float  # of an F-beta, 0 where the metric is another
    average: str  # of an F-beta: samples, macro, micro, weighted, "" for the usual one of the kind of task
    by_class: bool  # whether the metric averages over classes, so that rare ones count like frequent ones
    imbalance: float  # rows of the most frequent class for one of the rarest
    pretrained: tuple[dict[str, Any], ...]  # rows of backbone, weights, model_args, parameters; smallest first
    space: SearchSpace
    measure: Callable[[Config], Speed] = field(repr=False)  # asked once per backbone and size, remembered on disk
    left: Callable[[], float] = field(repr=False)  # seconds left for trials, the reserve taken off
    remember: Callable[[str, Callable[[], Any]], Any] = field(repr=False)  # a decision taken once, replayed later
    prepare: Callable[[Config], None] = field(default=lambda config: None, repr=False)  # decodes what a trial will need
    folds_done: Callable[[Config], int] = field(default=lambda config: 0, repr=False)  # of a trial that was broken off
    row_losses: Callable[[Trial], np.ndarray | None] = field(default=lambda trial: None, repr=False)  # (rows,) of its
    # out-of-fold predictions, NaN where not predicted; None where they are not at hand
    groups: np.ndarray | None = field(default=None, repr=False)  # (rows,) of these, whose errors go together in a group
    pixel_bytes: float = math.inf  # of disk that decoded pictures may take
    reading: Callable[[int, str, int], float] = field(default=lambda size, preprocess, grid: 0.0, repr=False)  # seconds
    # that reading a picture adds to a net's work: nothing where its pixels fit on the disk as an array
    channels: int = 3  # of a picture
    memory_gb: float = math.inf  # that training may take: of the card, or of the control group without one
    kept: Mapping[Config, int] = field(default_factory=dict)  # variants of the pictures whose features at a net's cut
    # are on the disk, by what search.cost.trunk_of says of a config
    on_disk: Collection[Config] = ()  # features that are on the disk, as search.cost.features_like names them
    decoded: Collection[tuple[int, str, int]] = (FIRST_PICTURES,)  # what was decoded, as search.cost.pictures_of says
    warm: Collection[tuple[Any, ...]] = ()  # shapes of batches that a card has its kernels for, as search.cost.shapes
    width: int = 1  # columns of a prediction: one per class
    hardware: str = ""  # that speeds are measured on; trials made on other hardware say nothing of them


def rows_of_fold(situation: Situation) -> int:
    """Train rows that one fold's net sees."""
    return max(1, round(situation.rows * (1 - 1 / situation.folds)))
