"""The confidence interval of a score, by a bootstrap over its rows or their groups."""

from collections.abc import Sequence

import numpy as np

from autoclimb.score.metrics import best_score, row_values
from autoclimb.score.parts import groups_that_differ, resamples, share_drawn, unit_of, units_of
from autoclimb.seeds import rng
from autoclimb.types import Goal

RESAMPLES = 400  # with which the ends of a 95 % interval vary by a tenth of its width
TAIL = 0.025
NORMAL = 1.959964  # the normal distribution's quantile that leaves TAIL beyond it
MOST_RIVALS = 4  # the best, for a metric that is no mean over rows: others hardly ever win a resample
# Factor on the upper end: the final rule is learned on all rows and does better than the scored ones, learned on four
# fifths. Without it intervals of F2 of two classes, macro-F1 and R2 covered the truth in 85 to 95 of 100 draws, with it
# in 92 to 100 ("coverage of 95 % intervals" in benchmarks/RESULTS.md).
UPWARD = 1.3
RULE_UNITS = 4.0  # rows or groups at which the rules' own variance would double a deviation
FEWEST_TO_LEAN = 5  # units: resamples of fewer tell how far scores lie apart, not on which side of that of all rows
FEW = 100  # units below which a deviation estimated from them is itself so uncertain that it counts: by 1 % there


def interval(
    goal: Goal,
    truth: np.ndarray,
    answers: np.ndarray,
    groups: np.ndarray | None = None,
    rivals: Sequence[np.ndarray] = (),
) -> tuple[float, float]:
    """The ends `(low, high)`, higher is better, of the interval that covers the score on new rows in 95 of 100 cases.

    It is a bootstrap over rows, or groups of rows, with one row added: the worst for the lower end and the best for the
    upper one, since no error among n rows does not make one impossible. That row makes an interval asymmetric where
    errors are rare and costly, as in a log loss. `truth` is what the metric takes.

    Of few rows or groups the deviation is known badly, so that Student's quantiles take the place of normal ones.

    `rivals` are the answers of all candidates that the scored ones were chosen from. Each resample has a winner of its
    own, and the interval is widened by how much the scores of those winners differ (a bootstrap of the choice:
    Tsamardinos et al. 2018, arXiv 1708.07180; Paraschakis et al. 2024, arXiv 2406.08099).
    """
    if len(truth) < 2:
        return -np.inf, np.inf
    sign, groups = 1.0 if goal.metric.greater_is_better else -1.0, groups_that_differ(groups)
    values = row_values(goal, truth, answers)
    if values is not None:
        others = [sign * v for v in (row_values(goal, truth, r) for r in rivals) if v is not None]
        each = _rows_that_count_as_one(goal, truth, answers, groups, values)
        lows, highs = _of_means(sign * values, sign * _mismatched_values(goal, truth, answers), groups, others, each)
    else:
        lows, highs = _of_resamples(goal, truth, answers, groups, rivals)
    if not len(lows):
        return -np.inf, np.inf
    score = goal.score(truth, answers)  # with two or three groups each may score better alone than all together
    high = min(float(np.quantile(highs, 1 - TAIL)), best_score(goal.metric))
    return min(float(np.quantile(lows, TAIL)), score), max(high, score)


def _of_means(
    values: np.ndarray, mismatched: np.ndarray, groups: np.ndarray | None, rivals: Sequence[np.ndarray], each: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means over rows in exponential weights (Rubin 1981), with the worst and with the best possible row added.

    That row weighs as `each` of these do.
    """
    places = unit_of(len(values), groups)
    size = np.bincount(places).astype(float)
    total = np.bincount(places, values)
    worst, best = min(values.min(), mismatched.min()), max(values.max(), mismatched.max())
    random = rng(0, "interval", len(size))
    # means in these weights vary by one over the units plus one, not less one
    stretch = np.sqrt((len(size) + 1) / max(len(size) - 1, 1)) * of_few(len(size))
    lows, highs = np.empty(RESAMPLES), np.empty(RESAMPLES)
    totals = np.stack([np.bincount(places, v) for v in rivals]) if len(rivals) > 1 else None
    resampled = np.empty((RESAMPLES, len(rivals)))
    for i in range(RESAMPLES):
        weight, extra = random.exponential(size=len(size)), each * random.exponential()
        mass, above = weight @ size, weight @ total
        ends = (above + extra * np.array((worst, best))) / (mass + extra)
        lows[i], highs[i] = np.clip(ends + (stretch - 1) * (above / mass - values.mean()), worst, best)
        if totals is not None:
            resampled[i] = totals @ weight / mass
    choice = 0.0 if totals is None else _luck_of_choice(resampled, totals.sum(1) / size.sum())
    return lows + choice, highs + choice


def _rows_that_count_as_one(
    goal: Goal, truth: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, values: np.ndarray | None = None
) -> float:
    """As how many rows the added one counts: one where rows of a group differ like any others, a group if they do not.

    How alike they are is seen in the metric's `values` of rows, if it has any, and in which answers are right. Where
    all are, nobody knows how errors come, and a group counts. Intervals of F1, QWK, AUC and log loss for
    groups of 5 and 20 rows, right or wrong together, held the truth in .46 to .97 of draws by rows, now in .92 to 1.
    """
    if groups is None:
        return 1.0
    unit, known = unit_of(len(truth), groups), [] if values is None else [values]
    if goal.metric.wants != "number":
        known.append(_hits(goal, truth, answers))
    each, size = 1.0, np.bincount(unit).mean()
    for rows in known:
        centred = rows - rows.mean()
        totals = np.bincount(unit, centred)
        alike = (totals @ totals) / max(centred @ centred, 1e-12) if centred.any() else size
        each = max(each, float(min(alike, size)))
    return each


def _hits(goal: Goal, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """How right each row's answer is `(n,)`, 0 to 1, whatever the metric."""
    if truth.ndim == 2 and goal.metric.wants != "ranking":
        right = (answers >= 0.5) == (truth >= 0.5) if answers.ndim == 2 else answers == truth.argmax(1)
        return right.mean(1) if right.ndim == 2 else right.astype(float)
    named = answers
    if answers.ndim == 2:
        named = answers[:, 0] if goal.metric.wants == "ranking" else answers.argmax(1)
    if truth.ndim == 2:
        return np.take_along_axis(truth, named[:, None].astype(int), 1)[:, 0].astype(float)
    return (named == truth).astype(float)


def of_few(units: int) -> float:
    """The factor by which an error estimated from so many units must be greater than one that is known.

    It is the ratio of Student's 97.5 % quantile to the normal one: 6.5 for two units, 1.4 for five, 1.1 for twenty.
    """
    if not 2 <= units < FEW:
        return 1.0
    from scipy.special import stdtrit  # a tenth of a second to import

    return float(stdtrit(units - 1, 1 - TAIL) / NORMAL)


def _luck_of_choice(resampled: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The score on all rows of each resample's winner, minus their mean `(B,)`.

    `resampled` `(B, K)` are scores on the resamples, `scores` `(K,)` those on all rows. The mean is taken off since the
    reported score is not biased by the choice, which was made on other rows.
    """
    winners = scores[np.nan_to_num(resampled, nan=-np.inf).argmax(1)]
    return np.asarray(winners - winners.mean())


def _mismatched_values(goal: Goal, truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The values of rows with the truth of another row: how bad, or good, a new row may be."""
    values = row_values(goal, truth[rng(0, "mismatch", len(truth)).permutation(len(truth))], answers)
    assert values is not None
    return values


def _of_resamples(
    goal: Goal, truth: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, rivals: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores on resamples: as they are for the upper end, with about one row, or group, mismatched for the lower.

    There are none where the metric has a value on no resample, as one of the user's own may.

    Numbers, whose errors come in all sizes, have no mismatched row: with it intervals of RMSE covered .99 of the cases.
    """
    n, random = len(truth), rng(0, "interval", len(truth))
    units = units_of(n, groups)
    count = len(units) if isinstance(units, list) else n
    share = share_drawn(n, answers)
    score = goal.score(truth, answers)
    # scores on fewer rows vary more, on few groups too little; and rules learned on few rows vary with them, which
    # resampled answers do not show (measured for QWK, 40 groups of 5 rows: deviation .076, of resamples .064)
    stretch = np.sqrt(share * count / max(count - 1, 1)) * max(1 + RULE_UNITS / count, of_few(count))
    scores = np.array([goal.score(truth, r) for r in rivals])
    rivals = [rivals[k] for k in np.argsort(-scores)[:MOST_RIVALS]] if len(rivals) > 1 else []
    scores = np.sort(scores)[::-1][: len(rivals)]
    each = 0.0 if goal.metric.wants == "number" else _rows_that_count_as_one(goal, truth, answers, groups)
    lows, highs, of_rivals = [], [], []
    for lot in resamples(n, units, RESAMPLES // 2, share):
        drawn = goal.score(truth[lot], answers[lot])
        highs.append(score + UPWARD * stretch * (drawn - score))
        # one unit on average: single ones are whole, of a group's rows any number may be
        mismatched = round(each * (random.exponential() if each > 1 else int(random.geometric(0.5)) - 1))
        wrong, count_wrong = truth[lot], min(len(lot), mismatched)
        wrong[random.integers(0, len(lot), count_wrong)] = truth[random.integers(0, n, count_wrong)]
        lows.append(score + stretch * (drawn - score) + goal.score(wrong, answers[lot]) - drawn)
        pairs = zip(scores, rivals, strict=True)
        of_rivals.append([s + stretch * (goal.score(truth[lot], r[lot]) - s) for s, r in pairs])
    choice = _luck_of_choice(np.array(of_rivals), scores) if rivals else np.zeros(len(lows))
    if count < FEWEST_TO_LEAN:
        lows, highs = [score - abs(end - score) for end in lows], [score + abs(end - score) for end in highs]
    ends = np.array([lows, highs]).T + choice[:, None]
    ends = ends[np.isfinite(ends).all(1)]
    return ends[:, 0], ends[:, 1]
