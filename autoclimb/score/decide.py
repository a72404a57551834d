"""Probabilities to answers: argmax, thresholds, expected F, cut points, top-k. Every rule is learned, then applied.

A prediction `p` is `(N, C)`: class probabilities, one probability per label, or `(N, 1)` numbers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from autoclimb.score.classes import FBeta, different, kappa, same
from autoclimb.score.expected import calibrated, expected_f_sets, platt, temper, temperature
from autoclimb.score.numbers import absolute, rmsle, spearman
from autoclimb.score.probabilities import ProbabilisticF, WeightedLogLoss, kl_rows, log_loss_rows
from autoclimb.score.ranking import Columnwise
from autoclimb.score.sweep import (
    PRIOR_ROWS,
    best_called,
    best_of,
    cut_points,
    label_thresholds,
    pooled_threshold,
    row_threshold,
    two_class_threshold,
    weights_for_classes,
)
from autoclimb.types import Goal, Kind, Metric

MOST_CALLED = 200_000  # cells of the rows on which a metric that can only be called is tried
FLOOR = 1e-6  # no probability says never: a wrong certain row costs 13.8 nats, not 36


@dataclass(frozen=True)
class Rule:
    """How predictions become answers: a row of RULES and the numbers it takes."""

    name: str
    values: tuple[float, ...] = ()
    grades: tuple[float, ...] = ()
    k: int = 0

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back to an equal rule."""
        return asdict(self) | {"values": list(self.values), "grades": list(self.grades)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Rule":
        """The rule that `to_json` wrote."""
        return cls(values["name"], tuple(values["values"]), tuple(values["grades"]), values["k"])


def number_of(p: np.ndarray, grades: tuple[float, ...]) -> np.ndarray:
    """One number a row `(N,)`: the prediction itself, or the expected grade."""
    p = np.asarray(p, float)
    if p.shape[1] == 1:
        return p[:, 0]
    return p @ np.asarray(grades or range(p.shape[1]), float) / np.maximum(p.sum(1), 1e-12)


def truth_for(goal: Goal, truth: np.ndarray) -> np.ndarray:
    """The truth that the metric's function takes: grade numbers where it grades or measures classes, else as it is."""
    if goal.metric.wants in ("grade", "number") and goal.kind != "regression":
        return np.asarray(goal.grades or range(int(truth.max()) + 1), float)[truth.astype(int)]
    return truth


def _argmax(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.argmax(p * np.asarray(rule.values) if rule.values else p, axis=1)


def _positive(rule: Rule, p: np.ndarray) -> np.ndarray:
    return (p[:, -1] > rule.values[0]).astype(np.int64)


def _thresholds(rule: Rule, p: np.ndarray) -> np.ndarray:
    return (p > np.asarray(rule.values)).astype(np.uint8)


def _threshold_or_top(rule: Rule, p: np.ndarray) -> np.ndarray:
    said = _thresholds(rule, p)
    none = ~said.any(1)  # an empty answer scores 0 whatever is true, so the likeliest label can only help
    said[none, p[none].argmax(1)] = 1
    return said


def _expected_f(rule: Rule, p: np.ndarray) -> np.ndarray:
    beta, slope, shift = rule.values
    return expected_f_sets(calibrated(p, slope, shift), beta)


def _cuts(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.asarray(rule.grades)[np.searchsorted(rule.values, number_of(p, rule.grades))]


def _median(rule: Rule, p: np.ndarray) -> np.ndarray:
    below = np.cumsum(p, axis=1)
    return np.asarray(rule.grades)[(below >= below[:, -1:] / 2).argmax(1)]  # least expected absolute error


def _top(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.argsort(-p, axis=1, kind="stable")[:, : rule.k]


def _as_is(rule: Rule, p: np.ndarray) -> np.ndarray:
    return p


def _certain(rule: Rule, p: np.ndarray) -> np.ndarray:
    yes = _positive(rule, p).astype(float)
    return np.stack([1 - yes, yes], axis=1)


def _tempered(rule: Rule, p: np.ndarray) -> np.ndarray:
    slope, *weights = rule.values
    q = np.clip(temper(p * np.asarray(weights) if weights else p, slope), FLOOR, None)
    return q / q.sum(1, keepdims=True)


def _calibrated(rule: Rule, p: np.ndarray) -> np.ndarray:
    slope, shift, *of_labels = rule.values
    return np.clip(calibrated(p, slope, shift + np.asarray(of_labels) if of_labels else shift), FLOOR, 1 - FLOOR)


def _number(rule: Rule, p: np.ndarray) -> np.ndarray:
    low, high = rule.values
    return np.clip(number_of(p, rule.grades), low, high)


def _whole_number(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.rint(_number(rule, p))


def _log_number(rule: Rule, p: np.ndarray) -> np.ndarray:
    low, high, shift = rule.values
    return np.clip(np.expm1(_log_of(p, rule.grades) + shift), low, high)


def _log_of(p: np.ndarray, grades: tuple[float, ...]) -> np.ndarray:
    """log(1 + x) of a number, or its mean over grades."""
    if p.shape[1] == 1:
        return np.log1p(np.maximum(p[:, 0], 0))
    return number_of(p, tuple(np.log1p(np.maximum(grades or range(p.shape[1]), 0))))


RULES: dict[str, Callable[[Rule, np.ndarray], np.ndarray]] = {
    "argmax": _argmax,
    "positive": _positive,
    "thresholds": _thresholds,
    "threshold or top": _threshold_or_top,
    "expected F": _expected_f,
    "cuts": _cuts,
    "median": _median,
    "top": _top,
    "as is": _as_is,
    "certain": _certain,
    "tempered": _tempered,
    "calibrated": _calibrated,
    "number": _number,
    "whole number": _whole_number,
    "log number": _log_number,
}


def answer(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The answers of a rule to predictions `(N, C)`, in the form its metric wants."""
    return RULES[rule.name](rule, p)


def fixed_rule(goal: Goal) -> Rule | None:
    """The rule of a metric that needs no learning, None where there is something to learn."""
    metric = goal.metric
    if metric.wants == "ranking":
        return Rule("top", k=metric.k)
    if isinstance(metric.function, Columnwise):
        return Rule("as is")  # only the order counts
    if _of_rows(metric) in (same, different):
        return Rule("argmax")
    if metric.wants == "labels" and goal.kind != "multilabel" and metric.average in ("micro", "samples"):
        return Rule("argmax")  # with one label a row these are accuracy
    return None


def _of_rows(metric: Metric) -> Any:
    return getattr(metric.function, "per_row", None)


def learn_rule(goal: Goal, truth: np.ndarray, p: np.ndarray, *, quick: bool = False) -> Rule:
    """The rule that does best on these rows: what turns `p` `(N, C)` into the answers `metric` wants.

    `truth` is the task's target. Scoring the rule on its own rows flatters it: `score.crossfit` does not.
    `quick` leaves out the expected-F maximiser, for use inside a search over blends.
    """
    metric, kind, grades = goal.metric, goal.kind, goal.grades
    assert kind in metric.kinds
    assert len(truth) == len(p) > 0
    fixed = fixed_rule(goal)
    if fixed is not None:
        return fixed
    p = np.asarray(p, np.float64)
    if metric.wants == "probability":
        return _probability_rule(metric, kind, truth, p)
    if metric.wants == "number":
        return _number_rule(metric, grades, truth_for(goal, truth), p)
    if metric.wants == "grade":
        return _grade_rule(metric, grades, truth_for(goal, truth), p)
    if kind == "multilabel":
        return _set_rule(metric, truth, p, quick)
    if p.shape[1] == 2:
        return Rule("positive", (two_class_threshold(metric, truth, p[:, 1]),))
    return Rule("argmax", weights_for_classes(metric, truth, p))


def _best(metric: Metric, rules: list[Rule], truth: np.ndarray, p: np.ndarray) -> Rule:
    """The rule of greatest metric on these rows, the first of equals."""
    return rules[best_of([metric.score(truth, answer(rule, p)) for rule in rules])] if len(rules) > 1 else rules[0]


def _probability_rule(metric: Metric, kind: Kind, truth: np.ndarray, p: np.ndarray) -> Rule:
    f = metric.function
    if isinstance(f, ProbabilisticF):
        # linear over linear in each probability, so nothing between no and yes is better than both; measured on 300
        # rows, 10 % positive, 20 draws: 0.37 cross-fitted, the probabilities as they are 0.21, thrice as steep 0.29
        return Rule("certain", (two_class_threshold(replace(metric, function=FBeta(f.beta)), truth, p[:, -1]),))
    if isinstance(f, WeightedLogLoss):
        return _weighted_rule(f, kind, truth, p)
    learned = (
        Rule("calibrated", platt(p, truth)) if kind == "multilabel" else Rule("tempered", (temperature(p, truth),))
    )
    if _of_rows(metric) in (log_loss_rows, kl_rows):
        return learned
    return _best(metric, [Rule("as is"), learned], truth, p)


def _weighted_rule(f: WeightedLogLoss, kind: Kind, truth: np.ndarray, p: np.ndarray) -> Rule:
    """The rule for a log loss with weights: its best answer is not p but p times the weights, normalised.

    Frequencies are those the predictions expect, not those of the truth: a class that is rare in the other parts is
    frequent in this one, so weights from the truth would tell (measured on noise, 150 rows: 0.005 of 0.69).
    """
    expected = p.sum(0) + 1
    if kind != "multilabel":
        w = f.of_classes(expected)
        w = w / w.mean()
        reweighted = p * w / np.maximum((p * w).sum(1, keepdims=True), 1e-12)
        of_rows = w[truth.astype(int)]
        return Rule("tempered", (temperature(reweighted, truth, of_rows / of_rows.mean()), *(float(v) for v in w)))
    yes = truth.sum(0, dtype=float)
    if f.weights:
        f.of_classes(yes)  # as many as labels, or a Mistake
        return Rule("calibrated", platt(p, truth))
    odds = expected / (len(p) + 2 - expected)
    n = len(truth) / 2
    weight = np.where(truth.astype(bool), n / np.maximum(yes, 1), n / np.maximum(len(truth) - yes, 1))
    slope, shift = platt(calibrated(p, 1, -np.log(odds)), truth, weight)
    return Rule("calibrated", (slope, shift, *(float(v) for v in -slope * np.log(odds))))


def _number_rule(metric: Metric, grades: tuple[float, ...], truth: np.ndarray, p: np.ndarray) -> Rule:
    ends = (float(truth.min()), float(truth.max()))
    widest = (-np.finfo(float).max, np.finfo(float).max)
    clipped, free = (Rule("number", e, tuple(grades)) for e in (ends, widest))
    if metric.function is spearman:
        return free  # clipping would tie what is ranked
    if metric.function is rmsle:
        off = np.log1p(np.maximum(truth, 0)) - _log_of(p, grades)
        return Rule("log number", (*ends, float(off.sum() / (len(off) + PRIOR_ROWS))), tuple(grades))
    if _of_rows(metric) is absolute:
        rules = [clipped, Rule("median", (), tuple(grades))] if grades else [clipped]
        if np.array_equal(truth, np.rint(truth)):
            rules.append(Rule("whole number", ends, tuple(grades)))
        return _best(metric, rules, truth, p)
    ours = getattr(metric.function, "__module__", "").startswith("autoclimb.score.")
    return clipped if ours else _best(metric, [clipped, free], truth, p)


def _grade_rule(metric: Metric, grades: tuple[float, ...], truth: np.ndarray, p: np.ndarray) -> Rule:
    known = tuple(float(g) for g in (grades or np.unique(truth)))

    def cut(power: int) -> Rule:
        place = np.searchsorted(known, truth)
        return Rule("cuts", cut_points(place, number_of(p, known), np.asarray(known), power), known)

    if metric.function is kappa:
        return cut(2)
    if getattr(metric.function, "func", None) is kappa:
        return cut(1)
    rules = [Rule("cuts", tuple((a + b) / 2 for a, b in pairwise(known)), known)]
    if p.shape[1] > 1:
        rules.append(Rule("median", (), known))
    if _of_rows(metric) is not absolute:
        rules += [cut(1), cut(2)]  # of a user's own, nothing is known but that it grades
    return _best(metric, rules, truth, p)


def _set_rule(metric: Metric, truth: np.ndarray, p: np.ndarray, quick: bool) -> Rule:
    f = metric.function
    if not isinstance(f, FBeta):
        return _called_set_rule(metric, truth, p)
    if metric.average == "micro":
        return Rule("thresholds", (pooled_threshold(f, truth, p),))
    if metric.average in ("macro", "weighted"):
        return Rule("thresholds", label_thresholds(f, truth, p))
    threshold = Rule("threshold or top", (row_threshold(f, truth, p),))
    if quick:
        return threshold
    maximiser = Rule("expected F", (f.beta, *platt(p, truth)))
    # 500 rows tell which of the two is better to a third of a standard error of what all rows would say
    some = np.linspace(0, len(p) - 1, min(len(p), 500)).astype(int)
    return _best(metric, [threshold, maximiser], truth[some], p[some])


def _called_set_rule(metric: Metric, truth: np.ndarray, p: np.ndarray) -> Rule:
    """One threshold for all labels, for a metric of sets of which nothing is known but its values."""
    some = np.linspace(0, len(p) - 1, max(1, min(len(p), MOST_CALLED // p.shape[1]))).astype(int)
    true, q = truth[some], p[some]
    at = best_called(metric, true, q, lambda t: (q > t).astype(np.uint8))
    return _best(metric, [Rule("thresholds", (at,)), Rule("threshold or top", (at,))], true, q)
