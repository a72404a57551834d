"""Cross-fitted scores: the one honest way to score whatever was learned from out-of-fold predictions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.metrics import row_values
from autoclimb.score.rules import answer
from autoclimb.seeds import rng
from autoclimb.types import Goal

Learned = TypeVar("Learned")
RESAMPLES = 50  # a standard error is known to a tenth of itself
MOST_CELLS = 20_000  # of answers drawn per resample, but 500 rows at least; the error of n rows is scaled from it


@dataclass(frozen=True, eq=False)
class Scored:
    """A cross-fitted score: higher is better, `stderr` its standard error over rows, `answers` of the kept rows."""

    score: float
    stderr: float
    answers: np.ndarray = field(repr=False)
    rows: int
    kept: np.ndarray = field(repr=False)  # (N,) bool: which rows were scored


def cross_fit(
    fold_of: np.ndarray,
    learn: Callable[[np.ndarray], Learned],
    apply: Callable[[Learned, np.ndarray], np.ndarray],
) -> np.ndarray:
    """For each fold, the output of a rule learned on the other folds; in row order."""
    parts = [(fold_of == k, apply(learn(fold_of != k), fold_of == k)) for k in np.unique(fold_of)]
    out = np.empty((len(fold_of), *parts[0][1].shape[1:]), np.result_type(*(part for _, part in parts)))
    for rows, part in parts:
        out[rows] = part
    return out


def parts_within(part_of: np.ndarray, most: int = 0) -> np.ndarray:
    """A partition with at least two parts: the given one, or five drawn by lot where it has but one.

    One part is what remains when only one fold was predicted; those predictions are out-of-fold all the same, so any
    split of the rows is honest. `most` merges parts down to that many.
    """
    names, places = np.unique(part_of, return_inverse=True)
    if len(names) < 2:
        places = rng(0, "parts", len(part_of)).permutation(len(part_of)) % min(5, max(2, len(part_of)))
    return places % most if most and len(names) > most else places


def cross_answers(
    goal: Goal,
    truth: np.ndarray,
    p: np.ndarray,
    part_of: np.ndarray,
    *,
    quick: bool = False,
) -> np.ndarray:
    """The answers to predictions `(N, C)` by a decision rule that was, for each part, learned on the other parts.

    `quick` is that of `learn_rule`.
    """
    if len(p) == 1:
        return answer(learn_rule(goal, truth, p), p)
    return cross_fit(
        parts_within(part_of),
        lambda rows: learn_rule(goal, truth[rows], p[rows], quick=quick),
        lambda rule, rows: answer(rule, p[rows]),
    )


def cross_fitted_score(goal: Goal, truth: np.ndarray, p: np.ndarray, part_of: np.ndarray) -> Scored:
    """The score of predictions `(N, C)` whose decision rule was, for each part, learned on the other parts.

    Rows with NaN or part -1 are left out. The cross-fitted answers are pooled and scored once. Raises Mistake where
    that is NaN, which only a metric of the user's own can be.
    """
    kept = np.isfinite(p).all(1) & (part_of >= 0)
    assert kept.any(), "no row was predicted"
    if not kept.all():
        truth, p = truth[kept], p[kept]
    answers = cross_answers(goal, truth, p, part_of[kept])
    true = truth_for(goal, truth)
    score = goal.score(true, answers)
    if np.isnan(score):
        raise Mistake(f"metric {goal.metric.name} is NaN on {len(true)} rows; it needs a value there")
    return Scored(score, standard_error(goal, true, answers), answers, len(answers), kept)


def standard_error(goal: Goal, truth: np.ndarray, answers: np.ndarray) -> float:
    """The standard error over rows of a metric's value; `truth` as the metric takes it."""
    return _standard_error(goal, truth, answers, None)


def standard_error_of_difference(goal: Goal, truth: np.ndarray, answers: np.ndarray, others: np.ndarray) -> float:
    """The standard error over rows of the difference of two answers' scores, paired by row."""
    return _standard_error(goal, truth, answers, others)


def _standard_error(goal: Goal, truth: np.ndarray, answers: np.ndarray, others: np.ndarray | None) -> float:
    n = len(truth)
    if n < 2:
        return 0.0
    values = row_values(goal, truth, answers)
    if values is not None:
        minus = None if others is None else row_values(goal, truth, others)
        return float(np.std(values if minus is None else values - minus, ddof=1) / np.sqrt(n))
    drawn = min(n, max(500, MOST_CELLS // (answers.shape[1] if answers.ndim == 2 else 1)))
    lots = rng(0, "spread", n).integers(0, n, (RESAMPLES, drawn))
    found = [
        goal.score(truth[lot], answers[lot]) - (0.0 if others is None else goal.score(truth[lot], others[lot]))
        for lot in lots
    ]
    found = [v for v in found if np.isfinite(v)]  # a metric of the user's own may lack a value on some rows
    return float(np.std(found, ddof=1) * np.sqrt(drawn / n)) if len(found) > 1 else 0.0
