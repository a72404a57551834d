"""Cross-fitted scores: how everything learned from out-of-fold predictions is scored honestly."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from autoclimb.arrays import ByRow, View, predicted_rows
from autoclimb.errors import Mistake
from autoclimb.score.decide import learn_rule, rows_to_learn_from, truth_for
from autoclimb.score.metrics import row_values
from autoclimb.score.parts import groups_that_differ, parts_within, resamples, share_drawn, unit_of, units_of
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.seeds import rng, some_of
from autoclimb.types import Goal, Rule

Learned = TypeVar("Learned")
RESAMPLES = 50  # a standard error is known to a tenth of itself
ROWS_PAIRED = 4_000  # on which two trials are compared, at most
RESAMPLES_OF_MEANS = 200  # of a metric that is a mean over rows, which take next to no time


@dataclass(frozen=True, eq=False)
class Scored:
    """A cross-fitted score, higher is better, with its standard error over rows and the answers that were scored."""

    score: float
    stderr: float
    rows: np.ndarray = field(repr=False)  # (n,) indices of the train rows that were scored
    answers: np.ndarray = field(repr=False)  # to these rows


def cross_fit(
    fold_of: np.ndarray,
    learn: Callable[[np.ndarray], Learned],
    apply: Callable[[Learned, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The output of `apply`, in row order, for each fold by what `learn` gave on the other folds; both take masks."""
    return pooled(((fold_of == k, apply(learn(fold_of != k), fold_of == k)) for k in np.unique(fold_of)), len(fold_of))


def pooled(parts: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """One array of `count` rows from parts of it, each a pair of rows (mask or indices) and their values."""
    out = None
    for rows, part in parts:
        if out is None:
            out = np.empty((count, *part.shape[1:]), part.dtype)
        out = out.astype(np.result_type(out, part), copy=False)
        out[rows] = part
    assert out is not None, "no part of the rows"
    return out


def rule_of(train: TrainRows, oof: ByRow) -> Rule:
    """The rule for new pictures, learned from the predicted rows that belong to a part, or from a sample of many rows.

    Where there is one part only, it is split as for the score.
    """
    rows = np.flatnonzero(predicted_rows(oof) & (train.part_of >= 0))
    rows = rows_to_learn_from(train.goal, rows, oof.shape[1])
    return learn_rule(train.goal, train.truth[rows], oof[rows], part_of=train.parts(rows))


def cross_answers(
    goal: Goal,
    truth: ByRow,
    p: ByRow,
    part_of: np.ndarray,
    *,
    quick: bool = False,
) -> np.ndarray:
    """The answers to predictions `(N, C)` by a decision rule that is, for each part, learned on the other parts.

    `quick` is passed on to `learn_rule`. Rows of a single part are divided by lot.
    """
    if len(p) == 1:
        return answer(learn_rule(goal, truth[:], p[:]), p)

    parts = part_of if (part_of != part_of[:1]).any() else parts_within(part_of)

    def learn(others: np.ndarray) -> Rule:
        rows = rows_to_learn_from(goal, np.flatnonzero(others), p.shape[1])
        return learn_rule(goal, truth[rows], p[rows], quick=quick, part_of=parts[rows])

    return cross_fit(parts, learn, lambda rule, rows: answer(rule, View(p, np.flatnonzero(rows))))


def cross_fitted_score(train: TrainRows, p: ByRow) -> Scored:
    """The score of predictions `(N, C)` whose decision rule was, for each part, learned on the other parts.

    Rows with NaN or part -1 are left out. The cross-fitted answers are pooled and scored once. Raises Mistake where the
    score is NaN, as a metric of the user's own may be.
    """
    goal, rows = train.goal, np.flatnonzero(predicted_rows(p) & (train.part_of >= 0))
    assert len(rows), "no row was predicted"
    if len(rows) < len(p):
        p = View(p, rows)
    truth = train.truth[rows]
    answers = cross_answers(goal, truth, p, train.parts(rows))
    target = truth_for(goal, truth)
    score = goal.score(target, answers)
    if np.isnan(score):
        raise Mistake(f"metric {goal.metric.name} is NaN on {len(rows)} rows; it needs a value there")
    return Scored(score, standard_error(goal, target, answers, train.groups_of(rows)), rows, answers)


def paired_lift(train: TrainRows, new: ByRow, old: ByRow) -> tuple[float, float] | None:
    """The gain in the metric of the new predictions `(N, C)` over the old, and its standard error, paired by row.

    Both are scored on the rows that both predicted, at most ROWS_PAIRED drawn by lot, by rules that are cross-fitted
    there. None where they share under 20 rows, or the metric has no value on them.
    """
    shared = np.flatnonzero(predicted_rows(new) & predicted_rows(old) & (train.part_of >= 0))
    rows = shared[some_of(len(shared), ROWS_PAIRED, "paired lift")]
    if len(rows) < 20:
        return None
    goal, target, parts = train.goal, train.target(rows), train.parts(rows)
    first, second = (
        cross_answers(goal, train.truth[rows], np.asarray(p[rows], np.float64), parts, quick=True) for p in (new, old)
    )
    lift = goal.score(target, first) - goal.score(target, second)
    return (lift, standard_error(goal, target, first, train.groups_of(rows), second)) if np.isfinite(lift) else None


def standard_error(
    goal: Goal,
    truth: np.ndarray,
    answers: np.ndarray,
    groups: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> float:
    """The standard error of a metric's value over rows, or over groups of rows; `truth` as the metric takes it.

    With `others` it is that of the difference of two answers' scores, paired by row.
    """
    n, groups = len(truth), groups_that_differ(groups)
    units = units_of(n, groups)
    count = len(units) if isinstance(units, list) else n
    if count < 2:
        return 0.0
    values = row_values(goal, truth, answers)
    minus = None if others is None else row_values(goal, truth, others)
    if values is not None:
        differences = values if minus is None else values - minus
        sums = np.bincount(unit_of(n, groups), differences - differences.mean())
        return float(np.sqrt(count / (count - 1) * (sums @ sums)) / n)
    share = share_drawn(n, answers)
    scores = [
        goal.score(truth[lot], answers[lot]) - (0.0 if others is None else goal.score(truth[lot], others[lot]))
        for lot in resamples(n, units, RESAMPLES, share)
    ]
    scores = [v for v in scores if np.isfinite(v)]  # a metric of the user's own may lack a value on some rows
    return float(np.std(scores, ddof=1) * np.sqrt(share)) if len(scores) > 1 else 0.0


def resampled_scores(
    goal: Goal, truth: np.ndarray, answers: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> np.ndarray:
    """Scores `(B, K)`, higher is better, of K answers to the same rows, on B resamples of the rows.

    `truth` is what the metric takes; rows of one group are drawn together. A resample is the same for all answers, so
    that differences between them are paired. Resamples on which a score has no value are left out; if all are, the
    result is the scores on all rows, `(1, K)`.
    """
    n, groups = len(truth), groups_that_differ(groups)
    values = [row_values(goal, truth, a) for a in answers]
    if all(v is not None for v in values):  # a mean over rows: exponential weights (Rubin 1981) take no copies of rows
        sign = 1.0 if goal.metric.greater_is_better else -1.0
        unit = unit_of(n, groups)
        totals = np.stack([sign * np.bincount(unit, v) for v in values], axis=1)
        size, random = np.bincount(unit), rng(0, "resampled scores", n)
        weights = (random.exponential(size=len(size)) for _ in range(RESAMPLES_OF_MEANS))
        return np.array([w @ totals / (w @ size) for w in weights])
    share = share_drawn(n, answers[0])
    scores = np.array([goal.score(truth, a) for a in answers])
    lots = resamples(n, units_of(n, groups), RESAMPLES, share)
    resampled = np.array([[goal.score(truth[lot], a[lot]) for a in answers] for lot in lots])
    resampled = scores + np.sqrt(share) * (resampled - scores)
    finite = np.isfinite(resampled).all(1)
    return resampled[finite] if finite.any() else scores[None]
