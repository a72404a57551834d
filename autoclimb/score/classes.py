"""Metrics of classes, label sets and grades that are answered: they count, and look at no probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoclimb.arrays import by_blocks


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

    A metric on a kind of task never has the average "" (METRICS: `on_kind`), as few rows may show only two of three
    classes. Undefined ratios count 0, as in scikit-learn. Macro averages over all labels of sets, and with one class a
    row over the classes in truth or answers. Micro over sets leaves out labels that the truth never has, as MLE-bench's
    graders do (scikit-learn counts them).
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
        if truth.ndim == 2:
            return float(each.mean())
        occurs = predicted + actual > 0
        return float(each[occurs].mean()) if occurs.any() else 0.0

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
        """The F of each row where the average is over rows, else None."""
        if truth.ndim == 1:
            return same(truth, answers) if self.average in ("samples", "micro") else None
        if self.average not in ("", "samples"):
            return None

        def of_rows(rows: slice) -> np.ndarray:
            named, true = answers[rows].astype(bool), truth[rows].astype(bool)
            # einsum sums short rows faster than .sum(1), and a product with ones would wake the threads of the BLAS
            return self.of_counts(*(np.einsum("nc->n", m.astype(np.float64)) for m in (named & true, named, true)))

        return by_blocks(of_rows, *truth.shape)

    def of_counts(self, hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """F-beta from counts, 0 where undefined."""
        squared = self.beta**2
        below = squared * actual + predicted
        return (1 + squared) * hits / np.where(below > 0, below, 1)


def counts(truth: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three counts of rows for each class `(C,)`: those answered rightly with it, answered with it, and having it."""
    if truth.ndim == 2:
        named, true = answers.astype(bool), truth.astype(bool)
        return (named & true).sum(0), named.sum(0), true.sum(0)
    truth, answers = truth.astype(int), answers.astype(int)
    size = int(max(truth.max(), answers.max())) + 1
    hits = np.bincount(truth[truth == answers], minlength=size)
    return hits, np.bincount(answers, minlength=size), np.bincount(truth, minlength=size)


def same(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """1 for each row answered rightly, else 0: `(N,)` floats."""
    return (truth == answers).astype(float)


def different(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """1 for each row answered wrongly, else 0: `(N,)` floats."""
    return (truth != answers).astype(float)


def same_set(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """1 for each row all of whose labels are answered rightly, else 0: `(N,)` floats."""
    return (truth.astype(bool) == answers.astype(bool)).all(1).astype(float)


def balanced_accuracy(truth: np.ndarray, answers: np.ndarray) -> float:
    """The mean recall of the classes that occur in the truth."""
    hits, _, actual = counts(truth, answers)
    return float((hits[actual > 0] / actual[actual > 0]).mean())


def matthews(truth: np.ndarray, answers: np.ndarray) -> float:
    """The Matthews correlation of any number of classes (Gorodkin 2004), 0 where undefined."""
    hits, predicted, actual = (c.astype(float) for c in counts(truth, answers))
    n = len(truth)
    variances = (n**2 - predicted @ predicted) * (n**2 - actual @ actual)
    return float((hits.sum() * n - predicted @ actual) / np.sqrt(variances)) if variances > 0 else 0.0


def cohen_kappa(truth: np.ndarray, answers: np.ndarray) -> float:
    """Cohen's kappa without weights: agreement beyond chance; 1 where there is one class only."""
    hits, predicted, actual = (c.astype(float) for c in counts(truth, answers))
    n = len(truth)
    chance = predicted @ actual / n
    return float((hits.sum() - chance) / (n - chance)) if chance < n else 1.0


def kappa(truth: np.ndarray, answers: np.ndarray, power: int = 2) -> float:
    """Cohen's kappa weighted by |a - b| ** power of two grades a and b.

    Grades are numbers, as in the competitions' own code, which takes the range of grades: a grade that no row has still
    separates its neighbours (scikit-learn closes the gap). Where all rows have one grade there is no disagreement by
    chance, and kappa is 1 (scikit-learn: NaN). Time does not grow with the number of different grades.
    """
    truth, answers = np.asarray(truth, float), np.asarray(answers, float)
    missed = float((np.abs(truth - answers) ** power).mean())
    if power == 2:
        expected = float(truth.var() + answers.var() + (truth.mean() - answers.mean()) ** 2)
    else:
        assert power == 1, "kappa is linear or quadratic"
        expected = mean_distance(truth, answers)
    return 1 - missed / expected if expected != 0 else 1.0  # NaN, which has no grade, stays NaN


def mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The mean of |x - y| over all pairs of an x in `a` and a y in `b`."""
    ends = np.unique(np.concatenate([a, b]))
    of_a, of_b = (np.searchsorted(np.sort(x), ends[:-1], "right") / len(x) for x in (a, b))
    return float(((of_a * (1 - of_b) + of_b * (1 - of_a)) * np.diff(ends)).sum())
