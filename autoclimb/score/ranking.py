"""Metrics of order: areas under curves, and the places of true labels among ranked answers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Columnwise:
    """The mean of `of_column(positive, scores)` over columns with both outcomes in the truth; `otherwise` for none.

    With one label a row and two columns the last column alone counts; with more, each is one class against the rest.
    NaN among the scores, which has no place in an order, makes the metric NaN.
    """

    of_column: Callable[[np.ndarray, np.ndarray], float]
    otherwise: float  # the value of answers by chance

    def __call__(self, truth: np.ndarray, p: np.ndarray) -> float:
        """The metric's value."""
        if truth.ndim == 2:
            positive = np.ascontiguousarray(truth.T).astype(bool)
        else:
            p = p[:, 1:] if p.shape[1] == 2 else p
            first = 1 if p.shape[1] == 1 else 0
            positive = truth == np.arange(first, first + p.shape[1])[:, None]
        scores = np.ascontiguousarray(p.T)
        if np.isnan(scores).any():
            return float("nan")
        values = [self.of_column(y, s) for y, s in zip(positive, scores, strict=True) if y.any() and not y.all()]
        return float(np.mean(values)) if values else self.otherwise


@dataclass(frozen=True)
class PartialAuc:
    """The ROC area where the false positive rate is at most `most`, scaled to 0.5 for chance and 1 for perfect.

    McClish 1989, as scikit-learn's roc_auc_score(max_fpr=...).
    """

    most: float

    def __call__(self, positive: np.ndarray, scores: np.ndarray) -> float:
        """The area of one column."""
        fpr, tpr = roc(positive, scores)
        least = self.most**2 / 2
        return float((1 + (area_up_to(self.most, fpr, tpr) - least) / (self.most - least)) / 2)


@dataclass(frozen=True)
class AucAboveTpr:
    """The ROC area above a true positive rate of `least`, from 0 to `1 - least` (ISIC 2024: 0.8, so 0.2 at best)."""

    least: float

    def __call__(self, positive: np.ndarray, scores: np.ndarray) -> float:
        """The area of one column: the classes change places, then it is an area over false positive rates."""
        fpr, tpr = roc(~positive, -scores)
        return area_up_to(1 - self.least, fpr, tpr)


@dataclass(frozen=True)
class MapAt:
    """The mean average precision at k; with one true label a row 1 / its place among the first k, else 0."""

    k: int

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        return float(self.per_row(truth, answers).mean())

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The average precision of each row; several true labels divide by min(k, their number)."""
        ranked = answers[:, : self.k].astype(int)
        places = np.arange(1, ranked.shape[1] + 1)
        if truth.ndim == 1:
            return ((ranked == truth[:, None]) / places).max(1)  # the first place, were a label named twice
        hits = np.take_along_axis(truth.astype(bool), ranked, axis=1)
        total = (hits * np.cumsum(hits, axis=1) / places).sum(1)
        return total / np.clip(truth.astype(int).sum(1), 1, self.k)


@dataclass(frozen=True)
class TopK:
    """The share of rows with a true label among the first k; with `error` the share of rows without."""

    k: int
    error: bool = False

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        return float(self.per_row(truth, answers).mean())

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """1 for each row with a true label among the first k (with `error`, without), else 0: `(N,)` floats."""
        ranked = answers[:, : self.k].astype(int)
        if truth.ndim == 1:
            named = (ranked == truth[:, None]).any(1)
        else:
            named = np.take_along_axis(truth.astype(bool), ranked, axis=1).any(1)
        return (named != self.error).astype(float)


def roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1); tied scores are one step."""
    hits, predicted = at_thresholds(positive, scores)
    return np.append(0, (predicted - hits) / (~positive).sum()), np.append(0, hits / positive.sum())


def at_thresholds(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and rows at or above each score, the highest first; tied scores are one threshold."""
    order = np.argsort(-scores)
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    return np.cumsum(positive[order])[last], np.flatnonzero(last) + 1


def area_up_to(most: float, fpr: np.ndarray, tpr: np.ndarray) -> float:
    """The area under a curve from (0, 0) to (1, 1), as far as the false positive rate `most`."""
    inside = np.searchsorted(fpr, most, "right")
    end = np.interp(most, fpr, tpr) if inside < len(fpr) else tpr[-1]
    return float(np.trapezoid(np.append(tpr[:inside], end), np.append(fpr[:inside], most)))


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive outranks a negative, ties counting one half: Mann-Whitney's U without ranking."""
    negatives, positives = np.sort(scores[~positive]), scores[positive]
    places = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(places.mean() / (2 * len(negatives)))


def precision_area(positive: np.ndarray, scores: np.ndarray) -> float:
    """The average precision: the precision at each threshold, weighted by the recall that the threshold adds."""
    hits, predicted = at_thresholds(positive, scores)
    return float((np.diff(hits, prepend=0) * hits / predicted).sum() / hits[-1])


def alaska_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The ROC area with true positive rates below 0.4 weighing 2, those above 1, divided by 1.4 (ALASKA2)."""
    fpr, tpr = roc(positive, scores)
    area = float(np.trapezoid(tpr, fpr))
    # the area below 0.4 counts once more: that under the curve capped at 0.4, with the crossing point inserted
    at = np.searchsorted(tpr, 0.4, "right")
    step = (0.4 - tpr[at - 1]) / (tpr[at] - tpr[at - 1])
    crossing = fpr[at - 1] + step * (fpr[at] - fpr[at - 1])
    low = float(np.trapezoid(np.append(tpr[:at], 0.4), np.append(fpr[:at], crossing)))
    return (area + low + 0.4 * (1 - crossing)) / 1.4


roc_auc = Columnwise(auc, 0.5)
weighted_auc = Columnwise(alaska_auc, (0.5 + 0.32) / 1.4)  # of the diagonal: 0.08 below 0.4, 0.24 right of it
average_precision = Columnwise(precision_area, 0.0)
