"""The data of a page: a run as read from its directory, in nouns that know nothing of directories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from autoclimb.arrays import LabelSets, predicted_rows
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Blend, Goal, Metric, Rule, Trial


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures that the nets made at the end of the run: maps of evidence and augmented examples.

    `maps` are `(h, w)` uint8 by (train row, output), 255 where the net saw the most evidence for that output. `sheet`
    `(2 B tile, columns tile, 3)` uint8 holds B blocks of two rows: pictures as decoded, and augmented. Where `maps` is
    empty or `sheet` is None, its note says why.
    """

    maps: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)
    looked: str = ""  # key of the trial whose nets made the maps
    maps_note: str = ""
    sheet: np.ndarray | None = field(default=None, repr=False)
    blocks: tuple[tuple[int, ...], ...] = ()  # train rows of each block
    augmented: str = ""  # key of the trial that was trained with this augmentation
    sheet_note: str = ""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run on record, finished or not. N train rows, C classes (1 for numbers).

    `target` `(N, C)` is what nets learned: one-hot rows and large label sets as LabelSets, 0/1 rows, shares of votes or
    numbers. `events` are those of `run.store.read_events`. `pictures` `(N, side, side, channels)` uint8 are mapped,
    None where the cache was deleted.
    """

    name: str
    goal: Goal
    finished: bool
    words: str
    budget: float  # seconds
    spent: float  # seconds
    classes: tuple[str, ...]
    trials: tuple[Trial, ...]
    target: Any = field(repr=False)
    fold_of: np.ndarray = field(repr=False)  # (N,) int, -1 for rows that are not learned from
    ids: tuple[str, ...] = field(default=(), repr=False)  # of the train rows
    groups: np.ndarray | None = field(default=None, repr=False)  # (N,) int; errors count rows of one together
    blend: Blend | None = field(default=None, repr=False)
    blended: Callable[[Sequence[np.ndarray]], np.ndarray] | None = field(default=None, repr=False)  # of its members'
    rule: Rule | None = None
    events: Sequence[dict[str, Any]] = field(default=(), repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)  # name -> value, given or decided at the start
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    pictures: Any = field(default=None, repr=False)
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # name -> a word for each train row
    nearness: dict[str, Any] = field(default_factory=dict)  # of data.nearness.nearness_of
    drift: dict[str, Any] = field(default_factory=dict)  # of data.drift.drift_of, {} where it was not measured
    looks: dict[str, Any] = field(default_factory=dict)  # name -> {"edges", "train", "test"}: a histogram's shares
    # of a sample of pictures: "train" -> [row, width, height], "test" -> [width, height]
    sizes: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, Any] = field(default_factory=dict)  # of data.duplicates.duplicate_facts
    gallery: Gallery = field(default_factory=Gallery, repr=False)
    submission: str = ""  # its path, "" for none
    answered: int = 0  # rows of the submission

    @property
    def metric(self) -> Metric:
        """The run's metric."""
        return self.goal.metric

    @property
    def one_class(self) -> bool:
        """Whether a row has one class of several."""
        return self.goal.kind in ("binary", "multiclass", "ordinal")

    @cached_property
    def class_of(self) -> np.ndarray:
        """`(N,)` class index of each row, of votes the most frequent; only where a row has one class."""
        return self.target.argmax(1)

    @cached_property
    def truth(self) -> Any:
        """The target that is scored, as `Task.truth`."""
        if self.goal.kind == "regression":
            return self.target[:, 0].astype(np.float64)
        if self.goal.kind == "multilabel":
            return self.target
        return self.class_of if isinstance(self.target, LabelSets) else self.target.astype(np.float64)

    @property
    def train(self) -> TrainRows:
        """The train rows as predictions are scored and blended on them, without their metadata."""
        return TrainRows(self.goal, self.truth, self.fold_of, self.groups)

    @cached_property
    def predicted(self) -> np.ndarray:
        """`(n,)` the train rows that the blend predicts out of fold, none without a blend."""
        if self.blend is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero(predicted_rows(self.blend.oof) & (self.fold_of >= 0))

    def id_of(self, row: int) -> str:
        """The id of a train row, its number where ids are not on record."""
        return self.ids[row] if row < len(self.ids) else f"row {row}"
