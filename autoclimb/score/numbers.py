"""Metrics of numbers."""

import numpy as np


def rmse(truth: np.ndarray, answers: np.ndarray) -> float:
    """The root mean squared error."""
    return float(np.sqrt(np.mean((truth - answers) ** 2)))


def rmsle(truth: np.ndarray, answers: np.ndarray) -> float:
    """The root mean squared error of log(1 + x), with answers below zero as zero."""
    return rmse(np.log1p(np.maximum(truth, 0)), np.log1p(np.maximum(answers, 0)))


def squared(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The squared error of each row."""
    return (truth - answers) ** 2


def absolute(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The absolute error of each row."""
    return np.abs(truth - answers)


def r2(truth: np.ndarray, answers: np.ndarray) -> float:
    """The share of variance explained; a constant truth gives 1 if answered exactly, else 0, as in scikit-learn."""
    residual, total = ((truth - answers) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
    return float(1 - residual / total) if total > 0 else float(residual == 0)


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 0; ties share their mean rank."""
    _, value_of, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[value_of]


def spearman(truth: np.ndarray, answers: np.ndarray) -> float:
    """The rank correlation, 0 where one side is constant; NaN, which has no rank, makes it NaN."""
    if np.isnan(answers).any():
        return float("nan")
    a, b = ranks(truth), ranks(answers)
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else 0.0
