"""Losses by row, which two trials are compared by: their noise is far smaller than the metric's."""

import numpy as np

from autoclimb.arrays import ByRow, by_blocks
from autoclimb.types import Goal

SURE = 0.01  # probabilities of a label are kept from 0 and 1 by as much: one confident slip is no catastrophe here


def losses_by_row(goal: Goal, truth: ByRow, predicted: ByRow) -> np.ndarray:
    """The loss `(N,)` of each row of predictions `(N, C)`, NaN where a row was not predicted; lower is better.

    Numbers have the squared error, grades the squared error of the expected grade; sets of labels the mean
    cross-entropy of the labels; classes and shares of votes the squared distance to them (Brier), which a few confident
    errors do not dominate. Each is proper: the true probabilities have the lowest expected loss.
    """
    return by_blocks(lambda rows: _losses(goal, truth[rows], predicted[rows]), *predicted.shape)


def _losses(goal: Goal, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    if goal.kind == "regression":
        return (predicted[:, 0].astype(np.float64) - truth) ** 2
    if goal.kind == "multilabel":
        p = np.clip(predicted.astype(np.float64), SURE, 1 - SURE)
        return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(1)
    if goal.kind == "ordinal" and truth.ndim == 1 and goal.grades:
        grades = np.asarray(goal.grades, np.float64)
        return (predicted.astype(np.float64) @ grades - grades[truth]) ** 2
    error = predicted.astype(np.float64)
    if truth.ndim == 2:
        error -= truth
    else:
        error[np.arange(len(error)), truth] -= 1.0
    return (error**2).sum(1)
