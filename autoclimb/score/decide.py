"""Decisions: how a metric's rule, which turns predictions into its best answers, is learned from out-of-fold rows.

A prediction `p` is `(N, C)`: class probabilities, one probability per label, or `(N, 1)` numbers. A decision is a
function of (goal, truth, p, how), `truth` being what the metric's function takes. Rows of METRICS name theirs; a metric
that names none has that of its `wants` in CALLED, which can do no more than call it.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np

from autoclimb.score.calibrate import calibrated, curve, platt, temperature
from autoclimb.score.classes import FBeta
from autoclimb.score.expected import expected_f_sets, learnt_tilt
from autoclimb.score.parts import parts_to_try
from autoclimb.score.probabilities import WeightedLogLoss, log_loss_rows
from autoclimb.score.rules import answer, log_number_of, number_of
from autoclimb.score.sweep import (
    PRIOR_ROWS,
    Counted,
    best_called,
    best_of,
    counted_f,
    cut_points,
    label_thresholds,
    pooled_threshold,
    row_threshold,
    two_class_threshold,
    weights_for_classes,
)
from autoclimb.seeds import some_of
from autoclimb.types import Goal, How, Rule, Wants

PLAINLY = How()
Decision = Callable[[Goal, np.ndarray, np.ndarray, How], Rule]
MOST_CALLED = 200_000  # cells of the rows on which a metric that can only be called is evaluated
MOST_LEARNED = 1 << 25  # cells, in double precision, that a rule is learned from: enough for a few numbers
MOST_LEARNED_BY_CLASS = 1 << 27  # the same for a number per class, where the rarest classes have few rows
FEWEST_BENT = 1000  # rows from which isotonic calibration is tried: on fewer it loses to a line (assumption)
MOST_PARTS = 5  # on which it is tried: a run may have dozens of folds, and it is tried again in each
FEWEST_DEPENDENT = 200  # rows from which the number of true labels is tried as a help
MOST_DEPENDENT = 64  # labels up to which it is: the maximiser is cubic in them
COMPARED = 500  # rows on which two rules are compared: enough for a third of a standard error on all rows
WIDEST = (-np.finfo(float).max, np.finfo(float).max)


def learn_rule(
    goal: Goal, truth: np.ndarray, p: np.ndarray, *, quick: bool = False, part_of: np.ndarray | None = None
) -> Rule:
    """The rule of greatest metric on these rows, which turns `p` `(N, C)` into the answers that the metric wants.

    `truth` is the task's target. The rule's score on its own rows is too high: `score.crossfit` gives an honest one.
    `quick` leaves out the expected-F maximiser and isotonic curves, for use inside a search over blends. `part_of`
    `(N,)` are parts that keep rows of one group together, on which such options are compared; without them random
    parts of the rows are taken.
    """
    assert goal.kind in goal.metric.kinds
    assert len(truth) == len(p) > 0
    decide = goal.metric.decide or CALLED[goal.metric.wants]
    return decide(goal, truth_for(goal, truth), np.asarray(p, np.float64), How(quick, part_of))


def rows_to_learn_from(goal: Goal, rows: np.ndarray, width: int) -> np.ndarray:
    """The rows, by index, that a rule on predictions of `width` columns is learned from: all, or a random sample."""
    by_class = goal.kind in goal.metric.by_class or (
        goal.kind == "multilabel" and goal.metric.average in ("macro", "weighted")
    )
    most = max(COMPARED, (MOST_LEARNED_BY_CLASS if by_class else MOST_LEARNED) // width)
    return rows[some_of(len(rows), most, "rule")]


def truth_for(goal: Goal, truth: np.ndarray) -> np.ndarray:
    """The truth that the metric's function takes: the numbers of grades where it wants such, else `truth`."""
    if goal.metric.wants in ("grade", "number") and goal.kind != "regression":
        return np.asarray(goal.grades or range(int(truth.max()) + 1), float)[truth.astype(int)]
    return truth


def best_rule(goal: Goal, rules: list[Rule], truth: np.ndarray, p: np.ndarray) -> Rule:
    """The rule of greatest metric on these rows, the first of equals."""
    return rules[best_of([goal.score(truth, answer(rule, p)) for rule in rules])] if len(rules) > 1 else rules[0]


# --- classes and sets ------------------------------------------------------------------------------------------------


def likeliest(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The likeliest class."""
    return Rule("argmax")


def weighed(counted: Counted | None = None) -> Decision:
    """The decision for one class a row: a threshold of two classes, a weight a class of more."""

    def decide(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
        if p.shape[1] == 2:
            return Rule("positive", (two_class_threshold(goal, truth, p[:, 1], counted),))
        return Rule("argmax", weights_for_classes(goal, truth, p))

    return decide


def called_sets(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """One threshold for all labels, for a metric of sets that can only be called."""
    if goal.kind != "multilabel":
        return weighed()(goal, truth, p, how)
    some = some_of(len(p), max(1, MOST_CALLED // p.shape[1]), "called")
    true, q = truth[some], p[some]
    at = best_called(goal, true, q, lambda t: (q > t).astype(np.uint8))
    return best_rule(goal, [Rule("thresholds", (at,)), Rule("threshold or top", (at,))], true, q)


def f_beta(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The decision for an F-beta of any average, on any kind of task."""
    f = cast(FBeta, goal.function)
    if goal.kind != "multilabel":
        if f.average in ("micro", "samples"):
            return Rule("argmax")  # with one label a row these are accuracy
        return weighed(counted_f(f))(goal, truth, p, how)
    if f.average == "micro":
        return Rule("thresholds", (pooled_threshold(f, truth, p),))
    if f.average in ("macro", "weighted"):
        return Rule("thresholds", label_thresholds(f, truth, p))
    threshold = Rule("threshold or top", (row_threshold(f, truth, p),))
    if how.quick:
        return threshold
    line = platt(p, truth)
    maximiser = Rule("expected F", (f.beta, *line))
    if dependent(f, truth, calibrated(p, *line), how.part_of):
        maximiser = Rule("expected F", (f.beta, *line, *learnt_tilt(calibrated(p, *line), truth)))
    some = some_of(len(p), COMPARED, "maximiser")
    return best_rule(goal, [threshold, maximiser], truth[some], p[some])


def dependent(f: FBeta, truth: np.ndarray, q: np.ndarray, part_of: np.ndarray | None = None) -> bool:
    """Whether a tilt learned on one half of the rows raises the F of the sets of greatest expected F on the other half.

    `q` are calibrated probabilities. The gain must exceed half of its standard error. Halves consist of whole parts, so
    that they have no group in common; a single part cannot be halved, and the answer is False.
    """
    if len(q) < FEWEST_DEPENDENT or q.shape[1] > MOST_DEPENDENT:
        return False
    some, half = some_of(len(q), COMPARED, "dependent"), parts_to_try(len(q), part_of, 2, "halves")
    gains = []
    for own in (0, 1):
        rows, rest = some[half[some] == own], np.flatnonzero(half != own)
        if not len(rest):
            return False
        tilt = learnt_tilt(q[rest], truth[rest])
        values = [f.per_row(truth[rows], expected_f_sets(q[rows], f.beta, t)) for t in (tilt, ())]
        gains.append(values[0] - values[1])  # type: ignore[operator]
    gain = np.concatenate(gains)
    return bool(gain.mean() > 0.5 * gain.std() / len(gain) ** 0.5 and gain.mean() > 0)


# --- probabilities ---------------------------------------------------------------------------------------------------


def as_is(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The predictions as they are: only their order counts."""
    return Rule("as is")


def ranked(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The likeliest classes in order."""
    return Rule("top", k=goal.metric.k)


def likely(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """Calibrated probabilities, no more certain than the rows allow: the best answer to any proper score.

    No error among n rows does not make one impossible. By Laplace's rule of succession the next row is an error with a
    chance of 1 / (n + 2); that share of every answer is given to the classes' frequencies.
    """
    if goal.kind == "multilabel":
        prior, plain = (truth.sum(0) + 1) / (len(truth) + 2), Rule("calibrated", platt(p, truth))
    else:
        prior, plain = shares(truth, p), Rule("tempered", (temperature(p, truth),))
    rule = replace(plain, prior=floats(prior), share=1 / (len(p) + 2))
    return rule if how.quick or not bent(goal, truth, p, how.part_of) else curved(rule, truth, p)


def curved(rule: Rule, truth: np.ndarray, p: np.ndarray) -> Rule:
    """The rule with an isotonic curve in place of its line: of two classes for the positive, of sets for all labels."""
    if truth.ndim == 2:
        return replace(rule, name="curve", values=floats(np.concatenate(curve(p, truth))))
    knots = np.concatenate(curve(p[:, 1:], truth[:, None]))
    return replace(rule, name="positive curve", values=floats(knots))


def bent(goal: Goal, truth: np.ndarray, p: np.ndarray, part_of: np.ndarray | None = None) -> bool:
    """Whether an isotonic curve calibrates better than a line, each learned on the other parts and scored on one.

    It is tried for two classes and for sets, on FEWEST_BENT rows or more, and must gain more than its standard error.
    Parts are random thirds where none are given, MOST_PARTS at most; a single part gives False. Groups matter: where a
    line was right, in 60 draws of 100 patients with twenty pictures each, random thirds chose the curve in 31 and lost
    .020 of log loss by it, parts that keep patients together in 3 and .002.
    """
    if len(p) < FEWEST_BENT or not (goal.kind == "multilabel" or (truth.ndim == 1 and p.shape[1] == 2)):
        return False
    part = parts_to_try(len(p), part_of, 3 if part_of is None else MOST_PARTS, "thirds")
    gains = []
    for k in np.unique(part):
        rest, own = part != k, part == k
        if not rest.any():
            return False
        line = likely(goal, truth[rest], p[rest], How(quick=True))
        losses = [log_loss_rows(truth[own], answer(r, p[own])) for r in (line, curved(line, truth[rest], p[rest]))]
        gains.append(losses[0] - losses[1])
    gain = np.concatenate(gains)
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def called_probabilities(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """Probabilities calibrated or as they are, whichever has the better metric."""
    return best_rule(goal, [Rule("as is"), likely(goal, truth, p, how)], truth, p)


def certain(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """Yes or no as probabilities, for a probabilistic F-beta.

    The metric is a ratio of linear functions of each probability, so no value between 0 and 1 is better than both.
    Measured on 300 rows, 10 % positive, 20 draws: 0.37 cross-fitted, the probabilities as they are 0.21, with log odds
    times three 0.29.
    """
    hard = Goal(goal.metric, goal.kind)
    return Rule("certain", (two_class_threshold(hard, truth, p[:, -1], counted_f(FBeta(goal.metric.beta, "binary"))),))


def reweighted(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The decision for a log loss with weights: its best answer is not p but p times the weights, normalised.

    Frequencies are those that the predictions expect, not those of the truth: a class that is rare in the other parts
    is frequent in this one, so weights from the truth would leak (measured on noise, 150 rows: 0.005 of 0.69).
    """
    f = cast(WeightedLogLoss, goal.function)
    share, expected = 1 / (len(p) + 2), p.sum(0) + 1
    if goal.kind != "multilabel":
        w = f.of_classes(expected)
        w = w / w.mean()
        weighted = p * w / np.maximum((p * w).sum(1, keepdims=True), 1e-12)
        of_rows = w[truth.astype(int)]
        slope, prior = temperature(weighted, truth, of_rows / of_rows.mean()), shares(truth, p) * w
        return Rule("tempered", (slope, *floats(w)), prior=floats(prior / prior.sum()), share=share)
    yes = truth.sum(0, dtype=float)
    if f.weights:
        f.of_classes(yes)  # as many as labels, or a Mistake
        return likely(goal, truth, p, how)
    odds = expected / (len(p) + 2 - expected)
    n = len(truth) / 2
    weight = np.where(truth.astype(bool), n / np.maximum(yes, 1), n / np.maximum(len(truth) - yes, 1))
    slope, shift = platt(calibrated(p, 1, -np.log(odds)), truth, weight)
    even = (0.5,) * p.shape[1]  # with these weights both outcomes of a label are equally frequent
    return Rule("calibrated", (slope, shift, *floats(-slope * np.log(odds))), prior=even, share=share)


def shares(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """How frequent each class is `(C,)`, with one row more that is spread over all classes."""
    width = p.shape[1]
    if truth.ndim == 2:
        rows = (truth / np.maximum(truth.sum(1, keepdims=True), 1e-12)).sum(0)
    else:
        rows = np.bincount(truth.astype(int), minlength=width)
    return np.asarray((rows + 1 / width) / (len(truth) + 1))


def floats(values: np.ndarray) -> tuple[float, ...]:
    """The values as plain numbers, as json takes them."""
    return tuple(float(v) for v in values)


# --- numbers and grades ----------------------------------------------------------------------------------------------


def free(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The number as it is: clipping would make ties in a ranking."""
    return Rule("number", WIDEST, goal.grades)


def clipped(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The number, or the mean over grades, within the range of the truth."""
    return Rule("number", ends(truth), goal.grades)


def called_numbers(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The number clipped or free, whichever has the better metric."""
    return best_rule(goal, [clipped(goal, truth, p), free(goal, truth, p)], truth, p)


def log_number(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The number with its logarithm shifted so that its mean is the truth's; the shift is shrunk for few rows."""
    error = np.log1p(np.maximum(truth, 0)) - log_number_of(p, goal.grades)
    return Rule("log number", (*ends(truth), float(error.sum() / (len(error) + PRIOR_ROWS))), goal.grades)


def middle_number(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The number or the median over grades, rounded where the truth is whole and that helps: for absolute errors."""
    rules = [clipped(goal, truth, p)]
    if goal.grades:
        rules.append(Rule("median", (), goal.grades))
    if np.array_equal(truth, np.rint(truth)):
        rules.append(Rule("whole number", ends(truth), goal.grades))
    return best_rule(goal, rules, truth, p)


def ends(truth: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest number."""
    return float(truth.min()), float(truth.max())


def cuts(power: int) -> Decision:
    """The decision for a kappa weighted by the distance of two grades to this power."""

    def decide(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
        grades = grades_of(goal, truth)
        place = np.searchsorted(grades, truth)
        return Rule("cuts", cut_points(place, number_of(p, grades), np.asarray(grades), power), grades)

    return decide


def middle_grade(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The grade nearest to the mean, or the median grade: for absolute errors."""
    return best_rule(goal, _plain_grades(goal, truth, p), truth, p)


def called_grades(goal: Goal, truth: np.ndarray, p: np.ndarray, how: How = PLAINLY) -> Rule:
    """The nearest grade, the median grade, or cuts for either kappa: whichever has the best metric."""
    rules = [*_plain_grades(goal, truth, p), cuts(1)(goal, truth, p, how), cuts(2)(goal, truth, p, how)]
    return best_rule(goal, rules, truth, p)


def _plain_grades(goal: Goal, truth: np.ndarray, p: np.ndarray) -> list[Rule]:
    grades = grades_of(goal, truth)
    nearest = Rule("cuts", tuple((a + b) / 2 for a, b in pairwise(grades)), grades)
    return [nearest, Rule("median", (), grades)] if p.shape[1] > 1 else [nearest]


def grades_of(goal: Goal, truth: np.ndarray) -> tuple[float, ...]:
    """The task's grades, or those in the truth where it names none, in rising order."""
    return tuple(float(g) for g in (goal.grades or np.unique(truth)))


CALLED: dict[Wants, Decision] = {
    "label": weighed(),
    "labels": called_sets,
    "probability": called_probabilities,
    "ranking": ranked,
    "grade": called_grades,
    "number": called_numbers,
}
