"""Situation: the facts a plan depends on, and the speed of a net."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoclimb.config import Config
from autoclimb.search.space import SearchSpace
from autoclimb.types import Kind, Trial

FIRST_SIZE = 64  # pixels a side of the first array, whose decoding also shows which pictures are unreadable
FIRST_PICTURES = (FIRST_SIZE, "squash", 0)  # that array, as search.cost.pictures_of names it


@dataclass(frozen=True)
class Speed:
    """Pictures a second in training (forward, backward, step) and in prediction; 0 where the net could not be run."""

    train: float
    predict: float
    precision: str = "fp32"  # the fastest format for training: fp32, bf16 or fp16
    channels_last: bool = True  # whether the fastest layout of pictures and filters was channels-last
    batch: int = 0  # the batch of this measurement, where a larger one than the config's was faster
    fault: str = ""  # why the net could not be run: a kind of learn.faults
    fixed_bytes: float = 0.0  # of memory for training beside its pictures; 0 where it was not measured
    picture_bytes: float = 0.0  # of memory for each picture of a batch
    cold: float = 0.0  # seconds until a card has kernels for batches of a new shape
    step: float = 0.0  # seconds of a step of training on a processor that no picture adds to: casts, the optimiser


@dataclass(frozen=True, eq=False)
class Situation:
    """The facts a plan depends on: data, metric, clock, device, pretrained nets.

    During a run `left`, `is_decoded` and `folds_done` change. Stages measure, decide and prepare through the functions,
    so that a plan can be tested with a fake clock and fake nets.
    """

    kind: Kind
    rows: int  # train items
    answered: int  # test items
    side: int  # pixels, the median shorter side
    pictures: int  # of the item that has the most
    folds: int
    budget: float  # seconds of the whole run
    device: str  # "cpu" or "cuda"
    seed: int
    metric: str
    wants: str
    beta: float  # of an F-beta, 0 where the metric is another
    average: str  # of an F-beta: samples, macro, micro, weighted, "" for the default of the kind of task
    by_class: bool  # whether the metric averages over classes, so that rare ones count as much
    imbalance: float  # rows of the most frequent class for one of the rarest
    pretrained: tuple[dict[str, Any], ...]  # rows of backbone, weights, model_args, parameters; smallest first
    space: SearchSpace
    measure: Callable[[Config], Speed] = field(repr=False)  # once for each backbone and size, then read from disk
    left: Callable[[], float] = field(repr=False)  # seconds left for trials, without the reserve
    remember: Callable[[str, Callable[[], Any]], Any] = field(repr=False)  # takes a decision once, and replays it later
    prepare: Callable[[Config], None] = field(default=lambda config: None, repr=False)  # decodes a trial's pictures
    is_decoded: Callable[[Config], bool] = field(default=lambda config: False, repr=False)  # whether a trial's pictures
    # are, for what it costs now; plans go by `decoded`, which a replay knows too
    # folds that are trained, and have predicted all that the config asks for
    folds_done: Callable[[Config], int] = field(default=lambda config: 0, repr=False)
    row_losses: Callable[[Trial], np.ndarray | None] = field(default=lambda trial: None, repr=False)  # (rows,) of its
    # out-of-fold predictions, NaN where not predicted; None without predictions
    lift: Callable[[Trial, Trial], tuple[float, float] | None] = field(default=lambda new, old: None, repr=False)  # of
    # the metric by the first trial over the second, with its standard error, paired by row; None without predictions
    groups: np.ndarray | None = field(default=None, repr=False)  # (rows,) of these rows; errors are correlated within
    pixel_bytes: float = math.inf  # of disk for decoded pictures
    reading: Callable[[int, str, int], float] = field(default=lambda size, preprocess, grid: 0.0, repr=False)  # seconds
    # that reading a picture adds to a net's work: 0 where its pixels fit on the disk as an array
    channels: int = 3  # of a picture
    cores: int = 0  # that decode; 0 where that is not known
    heads: Mapping[str, float] = field(default_factory=dict)  # Config.head -> its seconds over those of two cores of an
    # AMD EPYC
    memory_gb: float = math.inf  # for training: of the card, or of the control group without one
    kept: Mapping[Config, int] = field(default_factory=dict)  # search.cost.trunk_of -> variants of the pictures whose
    # features at that cut are on disk
    on_disk: Collection[Config] = ()  # search.cost.features_like of the features on disk
    decoded: Collection[tuple[int, str, int]] = (FIRST_PICTURES,)  # search.cost.pictures_of the decoded pictures
    warm: Collection[tuple[Any, ...]] = ()  # search.cost.shapes for which a card has kernels
    downloaded: Collection[str] = ()  # backbones whose weights came from the hub already
    replays: Callable[[str], Sequence[Config] | None] = field(default=lambda stage: None, repr=False)  # the configs on
    # record of a stage of which nothing else is tried any more, None of any other stage
    finalists_follow: bool = True  # the search, whose nets are only compared then
    width: int = 1  # columns of a prediction: one per class
    hardware: str = ""  # of the measured speeds, which trials on other hardware do not correct


def rows_of_fold(situation: Situation) -> int:
    """The number of train rows of one fold's net."""
    return max(1, round(situation.rows * (1 - 1 / situation.folds)))
