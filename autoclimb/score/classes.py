"""Metrics of answered classes, label sets and grades: counting, no probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowMean:
    """The mean of `per_row(truth, answers)` over rows."""

    per_row: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        return float(np.mean(self.per_row(truth, answers)))


@dataclass(frozen=True)
class FBeta:
    """F-beta. Average "" means samples for label sets, the positive class where only 0 and 1 occur, else macro.

    Undefined ratios count 0, as in scikit-learn. As MLE-bench's graders do, macro averages over the classes in truth
    or answers, and micro over label sets leaves out labels that the truth never has (scikit-learn counts them).
    """

    beta: float
    average: str = ""

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        rows = self.per_row(truth, answers)
        if rows is not None:
            return float(rows.mean())
        hits, predicted, actual = counts(truth, answers)
        if self.average == "micro":
            return float(self.of_counts(hits.sum(), predicted[actual > 0].sum(), actual.sum()))
        each = self.of_counts(hits, predicted, actual)
        if truth.ndim == 1 and self.average in ("", "binary") and len(each) <= 2:
            return float(each[1]) if len(each) == 2 else 0.0
        if self.average == "weighted":
            return float(each @ actual / max(actual.sum(), 1))
        occurs = predicted + actual > 0
        return float(each[occurs].mean()) if occurs.any() else 0.0

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
        """The F of each row where the average is over rows, else None."""
        if truth.ndim == 1:
            return same(truth, answers) if self.average in ("samples", "micro") else None
        if self.average not in ("", "samples"):
            return None
        said, true = answers.astype(bool), truth.astype(bool)
        # einsum sums short rows faster than .sum(1), and a product with ones would wake the threads of the BLAS
        return self.of_counts(*(np.einsum("nc->n", m.astype(np.float64)) for m in (said & true, said, true)))

    def of_counts(self, hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """F-beta from counts, 0 where undefined."""
        squared = self.beta**2
        below = squared * actual + predicted
        return (1 + squared) * hits / np.where(below > 0, below, 1)


def counts(truth: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class `(C,)`: rows that have it and were given it, rows given it, rows that have it."""
    if truth.ndim == 2:
        said, true = answers.astype(bool), truth.astype(bool)
        return (said & true).sum(0), said.sum(0), true.sum(0)
    truth, answers = truth.astype(int), answers.astype(int)
    size = int(max(truth.max(), answers.max())) + 1
    hits = np.bincount(truth[truth == answers], minlength=size)
    return hits, np.bincount(answers, minlength=size), np.bincount(truth, minlength=size)


def same(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """One for each row answered rightly."""
    return (truth == answers).astype(float)


def different(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """One for each row answered wrongly."""
    return (truth != answers).astype(float)


def same_set(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """One for each row whose whole label set was answered."""
    return (truth.astype(bool) == answers.astype(bool)).all(1).astype(float)


def balanced_accuracy(truth: np.ndarray, answers: np.ndarray) -> float:
    """Mean recall of the classes in truth."""
    hits, _, actual = counts(truth, answers)
    return float((hits[actual > 0] / actual[actual > 0]).mean())


def matthews(truth: np.ndarray, answers: np.ndarray) -> float:
    """Matthews correlation of any number of classes (Gorodkin 2004), 0 where undefined."""
    hits, predicted, actual = (c.astype(float) for c in counts(truth, answers))
    n = len(truth)
    spread = (n**2 - predicted @ predicted) * (n**2 - actual @ actual)
    return float((hits.sum() * n - predicted @ actual) / np.sqrt(spread)) if spread > 0 else 0.0


def cohen_kappa(truth: np.ndarray, answers: np.ndarray) -> float:
    """Cohen's kappa without weights: agreement beyond chance; 1 where one class is all there is."""
    hits, predicted, actual = (c.astype(float) for c in counts(truth, answers))
    n = len(truth)
    chance = predicted @ actual / n
    return float((hits.sum() - chance) / (n - chance)) if chance < n else 1.0


def kappa(truth: np.ndarray, answers: np.ndarray, power: int = 2) -> float:
    """Cohen's kappa weighted by |i - j| ** power, i and j places among the grades that occur in truth or answers.

    One grade everywhere has no chance disagreement; it counts 1 here (scikit-learn: NaN).
    """
    occurring, places = np.unique(np.concatenate([truth, answers]), return_inverse=True)
    size = len(occurring)
    seen = np.bincount(places[: len(truth)] * size + places[len(truth) :], minlength=size * size).reshape(size, size)
    cost = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) ** power
    chance = np.outer(seen.sum(1), seen.sum(0)) / len(truth)
    expected = (cost * chance).sum()
    return float(1 - (cost * seen).sum() / expected) if expected > 0 else 1.0
