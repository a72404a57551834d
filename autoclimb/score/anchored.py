"""Scores of answers to some of the rows, freed from the luck of those rows by answers that cover more of them."""

import numpy as np

from autoclimb.score.crossfit import MOST_CELLS, units_of
from autoclimb.score.metrics import row_values
from autoclimb.seeds import rng
from autoclimb.types import Goal

RESAMPLES = 100  # that a metric which is no mean over rows takes to say how far two scores move together


def anchored_score(
    goal: Goal,
    truth: np.ndarray,
    some: np.ndarray,
    answers: np.ndarray,
    anchor: np.ndarray,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """The score, higher is better, that `answers` to `some` of the rows would have on all of them; its standard error.

    `anchor` answers all n rows, `some` `(n,)` bool says to which of them `answers` belong. Rows on which the anchor
    does better than on all are easy ones, and by as much (times how far both scores move together, at most once) the
    score is lowered: a control variate. Seen on a real set: frozen features had .932 on the first fold and .908 on all
    five; a blend scored on the first fold alone was promised .928 and had .894 on the test. `truth` is what the metric
    takes.
    """
    values, anchor_values = row_values(goal, truth[some], answers), row_values(goal, truth, anchor)
    sign = 1.0 if goal.metric.greater_is_better else -1.0
    if values is not None and anchor_values is not None:
        score, stderr = _of_means(sign * values, sign * anchor_values, some, groups)
    else:
        score, stderr = _of_resamples(goal, truth, some, answers, anchor, groups)
    best = max(0.0, sign)  # of most metrics; one that passes it has another
    passes = max(goal.score(truth[some], answers), goal.score(truth, anchor)) > best
    return (score if passes else min(score, best)), stderr


def _of_means(
    values: np.ndarray, anchor: np.ndarray, some: np.ndarray, groups: np.ndarray | None
) -> tuple[float, float]:
    n = len(anchor)
    unit_of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    off, anchor_off = values - values.mean(), anchor[some] - anchor[some].mean()
    sums, anchor_sums = (np.bincount(unit_of[some], x) for x in (off, anchor_off))
    slope = _slope(float(sums @ anchor_sums), float(anchor_sums @ anchor_sums))
    score = values.mean() - slope * (anchor[some].mean() - anchor.mean())
    moved = slope * (anchor - anchor.mean()) / n  # what each row moves the score by
    moved[some] += (off - slope * anchor_off) / len(values)
    by_unit = np.bincount(unit_of, moved)
    units = len(np.unique(unit_of[some]))
    return float(score), float(np.sqrt(max(units, 2) / max(units - 1, 1) * (by_unit @ by_unit)))


def _of_resamples(
    goal: Goal,
    truth: np.ndarray,
    some: np.ndarray,
    answers: np.ndarray,
    anchor: np.ndarray,
    groups: np.ndarray | None,
) -> tuple[float, float]:
    inside, outside = np.flatnonzero(some), np.flatnonzero(~some)
    place = np.cumsum(some) - 1  # of a row of `some` among the answers
    share = min(1.0, max(500, MOST_CELLS // (answers.shape[1] if answers.ndim == 2 else 1)) / len(truth))
    random, drawn = rng(0, "anchored", len(truth)), []
    units = [(rows, units_of(len(rows), None if groups is None else groups[rows])) for rows in (inside, outside)]

    def lot(rows: np.ndarray, of: int | list[np.ndarray]) -> np.ndarray:
        count = len(of) if isinstance(of, list) else of
        numbers = random.integers(0, max(count, 1), round(share * count))
        if isinstance(of, list):
            return rows[np.concatenate([of[i] for i in numbers])] if len(numbers) else rows[:0]
        return rows[numbers]

    for _ in range(RESAMPLES):
        of_some, of_rest = (lot(*pair) for pair in units)
        if len(of_some):
            everything = np.concatenate([of_some, of_rest])
            drawn.append(
                (
                    goal.score(truth[of_some], answers[place[of_some]]),
                    goal.score(truth[of_some], anchor[of_some]),
                    goal.score(truth[everything], anchor[everything]),
                )
            )
    scores = np.array([row for row in drawn if np.isfinite(row).all()])
    own, there = goal.score(truth[some], answers), goal.score(truth[some], anchor[some])
    if len(scores) < 2:
        return own, 0.0
    own_off, there_off = (scores[:, i] - scores[:, i].mean() for i in (0, 1))
    slope = _slope(float(own_off @ there_off), float(there_off @ there_off))
    stderr = float(np.std(scores[:, 0] - slope * (scores[:, 1] - scores[:, 2]), ddof=1) * np.sqrt(share))
    return own - slope * (there - goal.score(truth, anchor)), stderr


def _slope(covariance: float, variance: float) -> float:
    """How far a score moves with the anchor's; at most one for one, since few rows tell it badly."""
    return float(np.clip(covariance / variance, 0.0, 1.0)) if variance > 0 else 0.0
