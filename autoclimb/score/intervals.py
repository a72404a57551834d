"""The interval a score is promised to lie in: as wide as its rows, or their groups, allow."""

from collections.abc import Sequence

import numpy as np

from autoclimb.score.metrics import row_values
from autoclimb.score.parts import groups_that_differ, resamples, unit_of, units_of
from autoclimb.seeds import rng
from autoclimb.types import Goal

RESAMPLES = 400  # the ends of a 95 % interval are then known to a tenth of its width
MOST_CELLS = 20_000  # of answers a resample of a metric that is no mean over rows looks at
TAIL = 0.025
MOST_RIVALS = 4  # the best ones, of a metric that is no mean over rows: others are hardly ever chosen anew
# Of the upper end: in the end answers are by a rule learned on all rows, better than those learned on four fifths that
# are scored. Without it intervals of F2 of two classes, macro-F1 and R2 held the truth in 85 to 95 of 100 draws, with
# it in 92 to 100 ("coverage of 95 % intervals" in benchmarks/RESULTS.md).
UPWARD = 1.3
RULE_UNITS = 4.0  # rows or groups at which the rules' own variance would double a deviation


def interval(
    goal: Goal,
    truth: np.ndarray,
    answers: np.ndarray,
    groups: np.ndarray | None = None,
    rivals: Sequence[np.ndarray] = (),
) -> tuple[float, float]:
    """The lower and upper end `(low, high)`, higher is better, of what the score on new rows is in 95 of 100 cases.

    By a bootstrap over rows, or groups of rows, to which one row more was added, the worst for the lower end and the
    best for the upper one: no error among n rows does not make one impossible. It is this row that makes an interval
    lopsided where errors are rare and dear, as in a log loss. `truth` is what the metric takes.

    `rivals` are the answers of all candidates that the scored ones were chosen among. Each resample chooses anew, and
    the interval is wider by how much the scores of those winners differ: other rows would have chosen otherwise
    (a bootstrap of the choice: Tsamardinos et al. 2018, arXiv 1708.07180; Paraschakis et al. 2024, arXiv 2406.08099).
    """
    if len(truth) < 2:
        return -np.inf, np.inf
    sign, groups = 1.0 if goal.metric.greater_is_better else -1.0, groups_that_differ(groups)
    values = row_values(goal, truth, answers)
    if values is not None:
        others = [sign * v for v in (row_values(goal, truth, r) for r in rivals) if v is not None]
        lows, highs = _of_means(sign * values, sign * _mismatched_values(goal, truth, answers), groups, others)
    else:
        lows, highs = _of_resamples(goal, truth, answers, groups, rivals)
    score = goal.score(truth, answers)  # of two or three groups each may score better alone than all together
    return min(float(np.quantile(lows, TAIL)), score), max(float(np.quantile(highs, 1 - TAIL)), score)


def _of_means(
    values: np.ndarray, mismatched: np.ndarray, groups: np.ndarray | None, rivals: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap means with the worst and with the best possible row added, in exponential weights (Rubin 1981)."""
    places = unit_of(len(values), groups)
    size = np.bincount(places).astype(float)
    total = np.bincount(places, values)
    worst, best = min(values.min(), mismatched.min()), max(values.max(), mismatched.max())
    # a group counts as one row more where its rows differ like any others, as all its rows where they are alike
    off, off_total = values - values.mean(), total - size * values.mean()
    alike = (off_total @ off_total) / max(off @ off, 1e-12) if off.any() else np.inf
    random, each = rng(0, "interval", len(size)), float(np.clip(alike, 1.0, size.mean()))
    lows, highs = np.empty(RESAMPLES), np.empty(RESAMPLES)
    totals = np.stack([np.bincount(places, v) for v in rivals]) if len(rivals) > 1 else None
    drawn = np.empty((RESAMPLES, len(rivals)))
    for i in range(RESAMPLES):
        weight, extra = random.exponential(size=len(size)), each * random.exponential()
        mass, above = weight @ size, weight @ total
        lows[i], highs[i] = (above + extra * np.array((worst, best))) / (mass + extra)
        if totals is not None:
            drawn[i] = totals @ weight / mass
    choice = 0.0 if totals is None else _chosen_anew(drawn, totals.sum(1) / size.sum())
    return lows + choice, highs + choice


def _chosen_anew(drawn: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The score on all rows of each resample's winner, less their mean `(B,)`.

    `drawn` `(B, K)` are the resampled scores, `scores` `(K,)` those on all rows. The mean is no bias of the score that
    is shown: the choice behind that was made on other rows than it is taken on.
    """
    winners = scores[np.nan_to_num(drawn, nan=-np.inf).argmax(1)]
    return np.asarray(winners - winners.mean())


def _mismatched_values(goal: Goal, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The values of rows whose truth is another row's: how bad, or good, a row may turn out."""
    values = row_values(goal, truth[rng(0, "mismatch", len(truth)).permutation(len(truth))], answers)
    assert values is not None
    return values


def _of_resamples(
    goal: Goal, truth: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, rivals: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Resampled scores: as they are for the upper end, with about one row mismatched for the lower.

    Not of numbers, whose errors come in all sizes: with such a row intervals of RMSE held .99 of the cases.
    """
    n, random = len(truth), rng(0, "interval", len(truth))
    units = units_of(n, groups)
    count = len(units) if isinstance(units, list) else n
    share = min(1.0, max(500, MOST_CELLS // (answers.shape[1] if answers.ndim == 2 else 1)) / n)
    score = goal.score(truth, answers)
    # fewer rows drawn spread more, few groups too little; and rules learned on few rows vary with them, which answers
    # drawn again do not show (measured for QWK, 40 groups of 5 rows: the score's deviation is .076, of resamples .064)
    stretch = np.sqrt(share * count / max(count - 1, 1)) * (1 + RULE_UNITS / count)
    scores = np.array([goal.score(truth, r) for r in rivals])
    rivals = [rivals[k] for k in np.argsort(-scores)[:MOST_RIVALS]] if len(rivals) > 1 else []
    scores = np.sort(scores)[::-1][: len(rivals)]
    lows, highs, of_rivals = [], [], []
    for lot in resamples(n, units, RESAMPLES // 2, share):
        highs.append(score + UPWARD * stretch * (goal.score(truth[lot], answers[lot]) - score))
        mismatched = 0 if goal.metric.wants == "number" else int(random.geometric(0.5)) - 1
        wrong, drawn = truth[lot], min(len(lot), mismatched)
        wrong[random.integers(0, len(lot), drawn)] = truth[random.integers(0, n, drawn)]
        lows.append(score + stretch * (goal.score(wrong, answers[lot]) - score))
        pairs = zip(scores, rivals, strict=True)
        of_rivals.append([s + stretch * (goal.score(truth[lot], r[lot]) - s) for s, r in pairs])
    choice = _chosen_anew(np.array(of_rivals), scores) if rivals else np.zeros(len(lows))
    ends = np.array([lows, highs]).T + choice[:, None]
    ends = ends[np.isfinite(ends).all(1)]
    return (ends[:, 0], ends[:, 1]) if len(ends) else (np.array([-np.inf]), np.array([np.inf]))
