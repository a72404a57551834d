"""Thresholds, class weights and cut points, each from one sorted sweep over the rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoclimb.arrays import blocks
from autoclimb.score.calibrate import before_calibration, calibrated, logits, platt, sigmoid
from autoclimb.score.classes import FBeta
from autoclimb.types import Goal

PRIOR_ROWS = 10.0  # weight of the plug-in threshold, in rows of the rarer outcome (assumption)
TRIES = 64  # thresholds tried where a metric can only be called
OWN_SHIFT_PRECISION = 4.0  # prior of a label's own shift of log odds beside the shared one: 0 +- 0.5


@dataclass(frozen=True)
class Counted:
    """A metric of two classes as a function of counts, and the threshold that theory gives its best value.

    `of_counts(hits, predicted, positives, n)` takes the first two as arrays. `plug_in(best, rate)` is the threshold on
    calibrated probabilities, given the best value reached and the share of positives.
    """

    of_counts: Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
    plug_in: Callable[[float, float], float]


def counted_f(f: FBeta) -> Counted:
    """F-beta of two classes: of the positive class, or averaged over both."""

    def positive(hits: np.ndarray, predicted: np.ndarray, positives: float, n: float) -> np.ndarray:
        return f.of_counts(hits, predicted, np.asarray(positives))

    def both(hits: np.ndarray, predicted: np.ndarray, positives: float, n: float) -> np.ndarray:
        other = f.of_counts(n - positives - predicted + hits, n - predicted, np.asarray(n - positives))
        share = positives / n if f.average == "weighted" else 0.5
        return share * positive(hits, predicted, positives, n) + (1 - share) * other

    if f.average in ("", "binary"):
        return Counted(positive, lambda best, rate: best / (1 + f.beta**2))  # Lipton et al. 2014, arXiv 1402.1892
    return Counted(both, lambda best, rate: 0.5)


def _kappa(hits: np.ndarray, predicted: np.ndarray, positives: float, n: float) -> np.ndarray:
    # twice the covariance over the disagreement that chance would give
    return 2 * (n * hits - predicted * positives) / (n * (predicted + positives) - 2 * predicted * positives)


def _matthews(hits: np.ndarray, predicted: np.ndarray, positives: float, n: float) -> np.ndarray:
    return (n * hits - predicted * positives) / np.sqrt(np.maximum(predicted * (n - predicted), 1))


def _balanced(hits: np.ndarray, predicted: np.ndarray, positives: float, n: float) -> np.ndarray:
    return hits / positives - (predicted - hits) / (n - positives)


COUNTED_KAPPA = Counted(_kappa, lambda best, rate: 0.5)
COUNTED_MATTHEWS = Counted(_matthews, lambda best, rate: 0.5)
COUNTED_BALANCED = Counted(_balanced, lambda best, rate: rate)


def two_class_threshold(goal: Goal, truth: np.ndarray, p: np.ndarray, counted: Counted | None = None) -> float:
    """The threshold on the positive's probability `p` `(N,)` of greatest metric, shrunk to theory's where rows are few.

    The sweep is on calibrated probabilities, for which theory holds; the result is a threshold on `p`. A metric without
    a formula in counts is called at TRIES quantiles, and its threshold shrunk to 0.5.
    """
    n, positives = float(len(truth)), float((truth == 1).sum())
    if positives in (0.0, n):
        return 0.5
    line = platt(p, truth == 1)
    q = calibrated(p, *line)
    if counted is None:
        at, plug_in = best_called(goal, truth, q, lambda t: (q > t).astype(np.int64)), 0.5
    else:
        order = np.argsort(-q, kind="stable")
        hits = np.append(0, np.cumsum(truth[order] == 1)).astype(float)
        values = counted.of_counts(hits, np.arange(len(q) + 1.0), positives, n)
        at, best = _best_cut(values, q[order])
        plug_in = counted.plug_in(best, positives / n)
    weight = min(positives, n - positives)
    return float(before_calibration((weight * at + PRIOR_ROWS * plug_in) / (weight + PRIOR_ROWS), *line))


def best_called(goal: Goal, truth: np.ndarray, p: np.ndarray, answers_at: Callable[[float], np.ndarray]) -> float:
    """The threshold among 0.5 and quantiles of `p` at which `answers_at(threshold)` scores best."""
    quantiles = np.quantile(p, np.linspace(0, 1, TRIES + 1)[1:-1]) if p.size else np.zeros(0)
    tries = [0.5, *np.unique(quantiles)]
    return float(tries[best_of([goal.score(truth, answers_at(t)) for t in tries])])


def best_of(scores: list[float]) -> int:
    """The index of the highest score, the first of equals; NaN is lowest."""
    return int(np.nan_to_num(scores, nan=-np.inf).argmax())


def _best_cut(scores: np.ndarray, falling: np.ndarray) -> tuple[float, float]:
    """The threshold between two of the falling probabilities at the best of `scores` `(n + 1,)`, and that score."""
    ends = np.concatenate([[2 * falling[0]], falling, [0.0]])
    scores = np.where(ends[:-1] > ends[1:], scores, -np.inf)  # equal probabilities cannot be told apart
    at = int(scores.argmax())
    return float(min((ends[at] + ends[at + 1]) / 2, 1 - 1e-9)), float(scores[at])


def pooled_threshold(f: FBeta, truth: np.ndarray, p: np.ndarray) -> float:
    """The threshold for all labels of greatest micro F."""
    flat, true = p.ravel(), truth.ravel().astype(bool)
    if not true.any():
        return 0.5
    order = np.argsort(-flat)
    hits = np.append(0, np.cumsum(true[order])).astype(float)
    return _best_cut(f.of_counts(hits, np.arange(len(flat) + 1.0), np.asarray(true.sum())), flat[order])[0]


def label_thresholds(f: FBeta, truth: np.ndarray, p: np.ndarray) -> tuple[float, ...]:
    """One threshold of greatest F for each label, those of rare labels shrunk to the plug-in one of the mean F.

    The sweep is on calibrated probabilities: with a shared slope and shift, and a shift of each label.
    """
    line = platt(p, truth)
    parts = [_swept_labels(f, truth[:, some], p[:, some], *line) for some in blocks(p.shape[1], len(p))]
    shifts, positives, best, swept = (np.concatenate(part) for part in zip(*parts, strict=True))
    # the plug-in t = F / (1 + beta^2) is for calibrated probabilities; rare labels use the labels' mean F
    plug_in = best[positives > 0].mean() / (1 + f.beta**2) if positives.any() else 0.5
    mixed = (positives * swept + PRIOR_ROWS * plug_in) / (positives + PRIOR_ROWS)
    return tuple(float(t) for t in before_calibration(mixed, line[0], shifts))


def _swept_labels(
    f: FBeta, truth: np.ndarray, p: np.ndarray, slope: float, shift: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each label its shift of log odds, its number of true rows, its greatest F, and the threshold of that F."""
    shifts = shift + own_shifts(slope * logits(p) + shift, truth)
    columns = np.ascontiguousarray(calibrated(p, slope, shifts).T)
    order = np.argsort(-columns, axis=1)
    falling = np.take_along_axis(columns, order, axis=1)
    true = np.take_along_axis(np.ascontiguousarray(truth.T).astype(np.int32), order, axis=1)
    positives = true.sum(1)
    scores = f.of_counts(np.cumsum(true, axis=1), np.arange(1.0, len(p) + 1), positives[:, None])
    after = np.concatenate([falling[:, 1:], np.zeros((len(falling), 1))], axis=1)
    scores = np.where(falling > after, scores, -1.0)
    at, row = scores.argmax(1), np.arange(len(scores))
    return shifts, positives, np.maximum(scores[row, at], 0), (falling[row, at] + after[row, at]) / 2


def own_shifts(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The shift `(C,)` of each label's log odds `z` `(N, C)` of greatest likelihood, under a prior around 0."""
    shifts = np.zeros(z.shape[1])
    for _ in range(5):  # the loss of one shift is nearly a parabola
        q = sigmoid(z + shifts)
        pull = (q - truth).sum(0) + OWN_SHIFT_PRECISION * shifts
        shifts -= np.clip(pull / ((q * (1 - q)).sum(0) + OWN_SHIFT_PRECISION), -1, 1)
    return shifts


def row_threshold(f: FBeta, truth: np.ndarray, p: np.ndarray) -> float:
    """The threshold for all labels of greatest F averaged over rows, the likeliest label named where none passes."""
    n = len(p)
    true = truth.astype(bool)
    rate = max(true.mean(), 1 / p.size)
    # 64 candidates that name between a fifth and five times as many labels as are true: free of p's scale
    shares = np.unique(np.clip(rate * np.geomspace(0.2, 5, 64), 0, 1))
    thresholds = np.unique(np.sort(p, axis=None)[((1 - shares) * (p.size - 1)).astype(int)])
    bins = len(thresholds) + 1
    passed = np.searchsorted(thresholds, p) + (np.arange(n) * bins)[:, None]
    named = np.bincount(passed.ravel(), minlength=n * bins).reshape(n, bins)
    hits = np.bincount(passed[true], minlength=n * bins).reshape(n, bins)
    named, hits = (c[:, ::-1].cumsum(1)[:, ::-1][:, 1:] for c in (named, hits))
    top = true[np.arange(n), p.argmax(1)]
    hits = np.where(named == 0, top[:, None], hits)
    scores = f.of_counts(hits, np.maximum(named, 1), true.sum(1)[:, None]).mean(0)
    return float(thresholds[scores.argmax()])


def weights_for_classes(goal: Goal, truth: np.ndarray, p: np.ndarray) -> tuple[float, ...]:
    """Factors `(C,)` on class probabilities before the argmax: prior ** -a with the a of greatest metric.

    a = 0 is plain argmax, a = 1 the Bayes answer for balanced accuracy; macro F lies between. One number is learned,
    so rare classes cannot be overfitted.
    """
    count = np.bincount(truth.astype(int), minlength=p.shape[1]) + 1.0
    candidates = [(count.mean() / count) ** a for a in np.linspace(0, 1.25, 11)]
    scores = [goal.score(truth, np.argmax(p * w, axis=1)) for w in candidates]
    return tuple(float(w) for w in candidates[best_of(scores)])


def cut_points(place: np.ndarray, x: np.ndarray, grades: np.ndarray, power: int) -> tuple[float, ...]:
    """Rising cut points `(G - 1,)` on the numbers `x` of greatest weighted kappa with the true grades.

    `place` are the indices of the true grades in `grades`. The search starts from mid-points and from the quantiles of
    the truth, moves one cut at a time to the best position between its neighbours until nothing improves, and returns
    the mid-points where that is no gain. Equal numbers always get the same grade.
    """
    size, n = len(grades), len(x)
    if size < 2:
        return ()
    middles = (grades[1:] + grades[:-1]) / 2
    if size > 40:  # nearly continuous: nothing to learn per cut
        return tuple(float(c) for c in middles)
    order = np.argsort(x, kind="stable")
    rising = x[order]
    before = np.zeros((n + 1, size))
    before[1:] = np.cumsum(np.eye(size)[place[order]], axis=0)
    cost = np.abs(np.subtract.outer(grades, grades)).astype(float) ** power
    seen = before @ cost  # [s, g]: what answering g for the first s rows costs
    chance = cost @ before[-1] / n  # what answering g for one row costs by chance
    open_at = np.concatenate([[0], np.flatnonzero(rising[1:] > rising[:-1]) + 1, [n]])  # ties stay together
    if len(open_at) > 400:  # finer than 400 places is noise
        open_at = open_at[np.linspace(0, len(open_at) - 1, 400).astype(int)]

    def loss(at: np.ndarray) -> float:
        ends = np.concatenate([[0], at, [n]])
        g = np.arange(size)
        expected = chance @ np.diff(ends)
        return float((seen[ends[1:], g] - seen[ends[:-1], g]).sum() / expected) if expected > 0 else 1.0

    by_rate = np.cumsum(before[-1])[:-1].astype(int)
    starts = [np.searchsorted(rising, middles, side="right"), open_at[np.searchsorted(open_at, by_rate)]]
    best = min((_descended(start, open_at, seen, chance, loss) for start in starts), key=loss)
    if loss(best) >= loss(starts[0]) - 1e-9:
        return tuple(float(c) for c in middles)
    low, high = rising[np.clip(best - 1, 0, n - 1)], rising[np.clip(best, 0, n - 1)]
    span = max(float(rising[-1] - rising[0]), 1e-6)
    cuts = np.where(best <= 0, rising[0] - span, np.where(best >= n, rising[-1] + span, (low + high) / 2))
    return tuple(float(c) for c in np.maximum.accumulate(cuts))


def _descended(
    start: np.ndarray, open_at: np.ndarray, seen: np.ndarray, chance: np.ndarray, loss: Callable[[np.ndarray], float]
) -> np.ndarray:
    at, n = start.copy(), len(seen) - 1
    for _ in range(20):
        moved = False
        for c in range(len(at)):
            low, high = (at[c - 1] if c else 0), (at[c + 1] if c + 1 < len(at) else n)
            tries = open_at[(open_at >= low) & (open_at <= high)]
            if not len(tries):
                continue
            ends = np.concatenate([[0], at, [n]])
            g = np.arange(len(at) + 1)
            cost = seen[ends[1:], g] - seen[ends[:-1], g]
            rest = np.delete(cost, [c, c + 1]).sum()
            rest_chance = np.delete(chance * np.diff(ends), [c, c + 1]).sum()
            above = rest + seen[tries, c] - seen[low, c] + seen[high, c + 1] - seen[tries, c + 1]
            below = rest_chance + chance[c] * (tries - low) + chance[c + 1] * (high - tries)
            losses = above / np.maximum(below, 1e-12)
            old = loss(at)
            if losses.min() < old - 1e-9:
                at[c] = tries[losses.argmin()]
                moved = True
        if not moved:
            break
    return at
