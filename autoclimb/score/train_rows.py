"""TrainRows: the train rows with all that their out-of-fold predictions are scored, decided and blended by."""

from dataclasses import dataclass, field

import numpy as np

from autoclimb.arrays import ByRow
from autoclimb.score.decide import truth_for
from autoclimb.score.parts import parts_within
from autoclimb.types import Goal, Metadata


@dataclass(frozen=True, eq=False)
class TrainRows:
    """The N train rows of a competition, as their out-of-fold predictions `(N, C)` meet them.

    Whatever is learned from predictions is learned without one part of the rows and scored on it, so rows of one group
    are in one part, and count together in a standard error. Methods take rows by index or by mask.
    """

    goal: Goal
    truth: ByRow = field(repr=False)  # as `Task.truth`
    part_of: np.ndarray = field(repr=False)  # (N,) int, their folds for most uses; a part below 0 leaves a row out
    groups: np.ndarray | None = field(default=None, repr=False)  # (N,) int
    metadata: Metadata | None = field(default=None, repr=False)  # columns beside the pictures, for stackers to read

    def target(self, rows: np.ndarray) -> np.ndarray:
        """The truth of some rows as the metric takes it."""
        return truth_for(self.goal, self.truth[rows])

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """The groups of some rows, None where rows count one by one."""
        return None if self.groups is None else self.groups[rows]

    def parts(self, rows: np.ndarray, most: int = 0) -> np.ndarray:
        """The parts of some rows, three or more where they allow it, merged to `most` where that is not 0."""
        return parts_within(self.part_of[rows], most, self.groups_of(rows))
