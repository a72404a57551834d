"""METRICS: what competitions score by, in plain numpy that gives scikit-learn's and the graders' own numbers.

F-beta wants "labels" on every kind: 0/1 `(N, C)` for multilabel, class indices `(N,)` where a row has one label.
A metric that is a mean over rows is a callable with a `per_row`, which gives its standard error without resampling.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.types import Kind, Metric

ONE_LABEL: tuple[Kind, ...] = ("binary", "multiclass", "ordinal")
WITH_CLASSES: tuple[Kind, ...] = ("binary", "multiclass", "ordinal", "multilabel")
WITH_NUMBERS: tuple[Kind, ...] = ("regression", "ordinal")


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

    Undefined ratios count 0, as in scikit-learn; macro averages over the classes in truth or answers, as graders do.
    """

    beta: float
    average: str = ""

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        rows = self.per_row(truth, answers)
        if rows is not None:
            return float(rows.mean())
        hits, predicted, actual = _counts(truth, answers)
        if self.average == "micro":
            return float(self.of_counts(hits.sum(), predicted.sum(), actual.sum()))
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
            return (truth == answers).astype(float) if self.average in ("samples", "micro") else None
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


@dataclass(frozen=True)
class MapAt:
    """Mean average precision at k: for one true label a row 1/place among the first k, else 0."""

    k: int

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        return float(self.per_row(truth, answers).mean())

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The average precision of each row; several true labels divide by min(k, their number)."""
        ranked = answers[:, : self.k].astype(int)
        places = np.arange(1, ranked.shape[1] + 1)
        if truth.ndim == 1:
            return ((ranked == truth[:, None]) / places).sum(1)
        hits = np.take_along_axis(truth.astype(bool), ranked, axis=1)
        total = (hits * np.cumsum(hits, axis=1) / places).sum(1)
        return total / np.clip(truth.astype(int).sum(1), 1, self.k)


@dataclass(frozen=True)
class TopK:
    """The share of rows with a true label among the first k."""

    k: int

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value."""
        return float(self.per_row(truth, answers).mean())

    def per_row(self, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """One for each row whose label was named."""
        ranked = answers[:, : self.k].astype(int)
        if truth.ndim == 1:
            return (ranked == truth[:, None]).any(1).astype(float)
        return np.take_along_axis(truth.astype(bool), ranked, axis=1).any(1).astype(float)


def row_values(metric: Metric, truth: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
    """One value a row whose mean is the metric's value, None for a metric that is no mean over rows."""
    per_row = getattr(metric.function, "per_row", None)
    return None if per_row is None else per_row(truth, answers)


def _counts(truth: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if truth.ndim == 2:
        said, true = answers.astype(bool), truth.astype(bool)
        return (said & true).sum(0), said.sum(0), true.sum(0)
    truth, answers = truth.astype(int), answers.astype(int)
    size = int(max(truth.max(), answers.max())) + 1
    hits = np.bincount(truth[truth == answers], minlength=size)
    return hits, np.bincount(answers, minlength=size), np.bincount(truth, minlength=size)


def _same(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return (truth == answers).astype(float)


def _different(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return (truth != answers).astype(float)


def balanced_accuracy(truth: np.ndarray, answers: np.ndarray) -> float:
    """Mean recall of the classes in truth."""
    hits, _, actual = _counts(truth, answers)
    return float((hits[actual > 0] / actual[actual > 0]).mean())


def matthews(truth: np.ndarray, answers: np.ndarray) -> float:
    """Matthews correlation of any number of classes (Gorodkin 2004), 0 where undefined."""
    hits, predicted, actual = (c.astype(float) for c in _counts(truth, answers))
    n = len(truth)
    spread = (n**2 - predicted @ predicted) * (n**2 - actual @ actual)
    return float((hits.sum() * n - predicted @ actual) / np.sqrt(spread)) if spread > 0 else 0.0


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


def log_loss_rows(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """-log p of what is true, of each row; label sets are averaged over columns.

    Clipped to [2.2e-16, 1 - 2.2e-16] as scikit-learn does, then rows renormalised as Kaggle did.
    """
    tiny = np.finfo(np.float64).eps
    if truth.ndim == 2:
        right = np.where(truth.astype(bool), p, 1.0 - p.astype(np.float64))
        return -np.log(np.clip(right, tiny, 1 - tiny)).mean(1)
    total = np.maximum(np.einsum("nc->n", p.astype(np.float64)), tiny)
    own = p[np.arange(len(p)), truth.astype(int)] / total
    return -np.log(np.clip(own, tiny, 1 - tiny))


def _auc(positive: np.ndarray, scores: np.ndarray) -> float:
    # where every positive falls among the sorted negatives, ties one half: Mann-Whitney's U without ranking
    below = np.sort(scores[~positive])
    winners = scores[positive]
    places = np.searchsorted(below, winners, "left") + np.searchsorted(below, winners, "right")
    return float(places.mean() / (2 * len(below)))


def _average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    order = np.argsort(-scores, kind="stable")
    last = np.append(scores[order][1:] != scores[order][:-1], True)  # tied scores are one threshold
    hits = np.cumsum(positive[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (np.flatnonzero(last) + 1)).sum() / hits[-1])


def _weighted_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    # ALASKA2: the ROC area between TPR 0 and 0.4 weighs 2, from 0.4 to 1 weighs 1, divided by 1.4
    order = np.argsort(-scores, kind="stable")
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    tpr = np.append(0, np.cumsum(positive[order])[last] / positive.sum())
    fpr = np.append(0, np.cumsum(~positive[order])[last] / (~positive).sum())
    total = 0.0
    for low, high, weight in ((0.0, 0.4, 2.0), (0.4, 1.0, 1.0)):
        # the grader interpolates FPR linearly within a segment: clip the curve to the band, take its area over `low`
        at = np.unique(np.concatenate([fpr, np.interp([low, high], tpr, fpr)]))
        upper = np.clip(np.interp(at, fpr, tpr), low, high)
        ends = np.clip(tpr, low, high)
        jumps = np.concatenate([fpr, at]), np.concatenate([ends, upper])
        by = np.lexsort((jumps[1], jumps[0]))
        total += weight * float(np.trapezoid(jumps[1][by] - low, jumps[0][by]))
    return total / 1.4


def columnwise(
    truth: np.ndarray, p: np.ndarray, of_column: Callable[[np.ndarray, np.ndarray], float], otherwise: float
) -> float:
    """Mean of `of_column(positive, scores)` over columns with both outcomes in truth, `otherwise` where none has.

    Two columns and one label a row are binary: the last column alone counts. More are one against the rest.
    """
    if truth.ndim == 2:
        positive = truth.astype(bool).T
    else:
        columns = [1] if p.shape[1] == 2 else range(p.shape[1])
        positive = np.stack([truth == c for c in columns])
        p = p[:, 1:] if p.shape[1] == 2 else p
    scores = np.ascontiguousarray(p.T)
    found = [of_column(y, s) for y, s in zip(positive, scores, strict=True) if y.any() and not y.all()]
    return float(np.mean(found)) if found else otherwise


roc_auc = partial(columnwise, of_column=_auc, otherwise=0.5)
weighted_auc = partial(columnwise, of_column=_weighted_auc, otherwise=0.5)
average_precision = partial(columnwise, of_column=_average_precision, otherwise=0.0)


def rmse(truth: np.ndarray, answers: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((truth - answers) ** 2)))


def rmsle(truth: np.ndarray, answers: np.ndarray) -> float:
    """Root mean squared error of log(1 + x), answers below zero taken as zero."""
    return rmse(np.log1p(np.maximum(truth, 0)), np.log1p(np.maximum(answers, 0)))


def _absolute(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return np.abs(truth - answers)


def r2(truth: np.ndarray, answers: np.ndarray) -> float:
    """Share of variance explained; a constant truth gives 1 if met and 0 if not, as in scikit-learn."""
    missed, there = ((truth - answers) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
    return float(1 - missed / there) if there > 0 else float(missed == 0)


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def spearman(truth: np.ndarray, answers: np.ndarray) -> float:
    """Rank correlation, 0 where one side is constant."""
    a, b = ranks(truth), ranks(answers)
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else 0.0


def _f(beta: float, average: str) -> Metric:
    name = f"f{beta:g}" + (f"-{average}" if average else "")
    kinds = ("binary",) if average == "binary" else WITH_CLASSES
    return Metric(name, FBeta(beta, average), "labels", kinds=kinds, beta=beta, average=average)


def _map(k: int) -> Metric:
    return Metric(f"map@{k}", MapAt(k), "ranking", kinds=WITH_CLASSES, k=k)


def _top(k: int) -> Metric:
    return Metric(f"top-{k}", TopK(k), "ranking", kinds=WITH_CLASSES, k=k)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", RowMean(_same), "label", kinds=ONE_LABEL),
        Metric("error", RowMean(_different), "label", greater_is_better=False, kinds=ONE_LABEL),
        Metric("balanced-accuracy", balanced_accuracy, "label", kinds=ONE_LABEL),
        Metric("matthews", matthews, "label", kinds=ONE_LABEL),
        *(_f(beta, "") for beta in (1.0, 2.0, 0.5)),
        *(_f(1.0, average) for average in ("samples", "macro", "micro", "weighted")),
        *(_f(2.0, average) for average in ("samples", "macro", "micro")),
        Metric("log-loss", RowMean(log_loss_rows), "probability", greater_is_better=False, kinds=WITH_CLASSES),
        Metric("roc-auc", roc_auc, "probability", kinds=WITH_CLASSES),
        Metric("weighted-auc", weighted_auc, "probability", kinds=("binary",)),
        Metric("average-precision", average_precision, "probability", kinds=WITH_CLASSES),
        Metric("qwk", kappa, "grade", kinds=WITH_NUMBERS),
        Metric("kappa-linear", partial(kappa, power=1), "grade", kinds=WITH_NUMBERS),
        _map(3),
        _map(5),
        _top(5),
        Metric("rmse", rmse, "number", greater_is_better=False, kinds=WITH_NUMBERS),
        Metric("mae", RowMean(_absolute), "number", greater_is_better=False, kinds=WITH_NUMBERS),
        Metric("rmsle", rmsle, "number", greater_is_better=False, kinds=WITH_NUMBERS),
        Metric("r2", r2, "number", kinds=WITH_NUMBERS),
        Metric("spearman", spearman, "number", kinds=WITH_NUMBERS),
    )
}

ALIASES = {
    "accuracy": "acc accuracyscore categorizationaccuracy classificationaccuracy top1",
    "error": "errorrate classificationerror top1error",
    "balanced-accuracy": "balancedacc bacc balancedaccuracyscore",
    "matthews": "mcc matthewscorrcoef matthewscorrelation phi",
    "log-loss": "logarithmicloss crossentropy loglossbinary multiclassloss",
    "roc-auc": "auc auroc rocaucscore areaundertheroccurve meanauc meanrocauc meancolumnwiserocauc meancolumnwiseauc",
    "weighted-auc": "wauc alaskaweightedauc",
    "average-precision": "ap map meanaverageprecision averageprecisionscore prauc",
    "qwk": "kappa quadraticweightedkappa quadratickappa kappaquadratic weightedkappa cohenkappa",
    "kappa-linear": "linearkappa linearweightedkappa",
    "rmse": "rootmeansquarederror",
    "mae": "meanabsoluteerror",
    "rmsle": "rootmeansquaredlogarithmicerror",
    "r2": "r2score rsquared",
    "spearman": "spearmanr spearmancorrelation rankcorrelation",
}

_AVERAGES = "samples|macro|micro|weighted|binary"
_F = re.compile(rf"(?:mean|({_AVERAGES}))?f((?:0?\.\d*[1-9]\d*)|[1-9]\d*(?:\.\d+)?)(?:score)?({_AVERAGES})?")
_MAP = re.compile(r"(?:map|meanaverageprecision)(?:at)?([1-9]\d*)")
_TOP = re.compile(r"top([1-9]\d*)(?:accuracy|acc)?")


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower())


_BY_NAME = {_squeezed(name): metric for name, metric in METRICS.items()} | {
    alias: METRICS[name] for name, aliases in ALIASES.items() for alias in aliases.split()
}


def metric_named(text: str) -> Metric:
    """The metric of this name: a row of METRICS, an alias, any F-beta ("f0.5-macro") or any map@k.

    Case, spaces, hyphens and underscores do not matter. An unknown name raises Mistake with the nearest and the list.
    """
    name = _squeezed(text)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if (f := _F.fullmatch(name)) and not (f[1] and f[3]):
        return _f(float(f[2]), f[1] or f[3] or "")
    if at := _MAP.fullmatch(name):
        return _map(int(at[1]))
    if top := _TOP.fullmatch(name):
        return _top(int(top[1]))
    near = {_BY_NAME[n].name: None for n in difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.6)}
    guess = f"; did you mean {' or '.join(near)}?" if near else ";"
    raise Mistake(
        f"metric {text!r} is not known{guess} write one of {', '.join(METRICS)}, any f<beta>-<average> or any map@<k>"
    )
