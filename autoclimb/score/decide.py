"""Probabilities to answers: argmax, thresholds, expected F, cut points, top-k. Every rule is learned, then applied.

A prediction `p` is `(N, C)`: class probabilities, one probability per label, or `(N, 1)` numbers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoclimb.score.expected import calibrated, expected_f_sets, platt, temper, temperature
from autoclimb.score.metrics import FBeta, kappa
from autoclimb.score.sweep import (
    cut_points,
    label_thresholds,
    pooled_threshold,
    row_threshold,
    two_class_threshold,
    weights_for_classes,
)
from autoclimb.types import Kind, Metric

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


def truth_for(metric: Metric, kind: Kind, grades: tuple[float, ...], truth: np.ndarray) -> np.ndarray:
    """The truth that `metric.function` takes: grade numbers where it grades or measures classes, else as it is."""
    if metric.wants in ("grade", "number") and kind != "regression":
        return np.asarray(grades or range(int(truth.max()) + 1), float)[truth.astype(int)]
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


def _top(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.argsort(-p, axis=1, kind="stable")[:, : rule.k]


def _as_is(rule: Rule, p: np.ndarray) -> np.ndarray:
    return p


def _tempered(rule: Rule, p: np.ndarray) -> np.ndarray:
    q = np.clip(temper(p, rule.values[0]), FLOOR, None)
    return q / q.sum(1, keepdims=True)


def _calibrated(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.clip(calibrated(p, *rule.values), FLOOR, 1 - FLOOR)


def _number(rule: Rule, p: np.ndarray) -> np.ndarray:
    low, high = rule.values
    return np.clip(number_of(p, rule.grades), low, high)


def _whole_number(rule: Rule, p: np.ndarray) -> np.ndarray:
    return np.rint(_number(rule, p))


RULES: dict[str, Callable[[Rule, np.ndarray], np.ndarray]] = {
    "argmax": _argmax,
    "positive": _positive,
    "thresholds": _thresholds,
    "threshold or top": _threshold_or_top,
    "expected F": _expected_f,
    "cuts": _cuts,
    "top": _top,
    "as is": _as_is,
    "tempered": _tempered,
    "calibrated": _calibrated,
    "number": _number,
    "whole number": _whole_number,
}


def answer(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The answers of a rule to predictions `(N, C)`, in the form its metric wants."""
    return RULES[rule.name](rule, p)


def fixed_rule(metric: Metric, kind: Kind) -> Rule | None:
    """The rule of a metric that needs no learning, None where there is something to learn."""
    if metric.wants == "ranking":
        return Rule("top", k=metric.k)
    if metric.wants == "probability" and metric.name != "log-loss":
        return Rule("as is")
    if metric.name in ("accuracy", "error"):
        return Rule("argmax")
    if metric.wants == "labels" and kind != "multilabel" and metric.average in ("micro", "samples"):
        return Rule("argmax")  # with one label a row these are accuracy
    return None


def learn_rule(
    metric: Metric, kind: Kind, grades: tuple[float, ...], truth: np.ndarray, p: np.ndarray, *, quick: bool = False
) -> Rule:
    """The rule that does best on these rows: what turns `p` `(N, C)` into the answers `metric` wants.

    `truth` is the task's target. Scoring the rule on its own rows flatters it: `score.crossfit` does not.
    `quick` leaves out the expected-F maximiser, for use inside a search over blends.
    """
    assert kind in metric.kinds
    assert len(truth) == len(p) > 0
    fixed = fixed_rule(metric, kind)
    if fixed is not None:
        return fixed
    p = np.asarray(p, np.float64)
    if metric.wants == "probability":
        return Rule("calibrated", platt(p, truth)) if kind == "multilabel" else Rule("tempered", temperature(p, truth))
    if metric.wants == "number":
        return _number_rule(metric, grades, truth_for(metric, kind, grades, truth), p)
    if metric.wants == "grade":
        return _cut_rule(metric, grades, truth_for(metric, kind, grades, truth), p)
    if kind == "multilabel":
        return _set_rule(metric, truth, p, quick)
    if p.shape[1] == 2:
        return Rule("positive", (two_class_threshold(metric, truth, p[:, 1]),))
    return Rule("argmax", weights_for_classes(metric, truth, p))


def _number_rule(metric: Metric, grades: tuple[float, ...], truth: np.ndarray, p: np.ndarray) -> Rule:
    ends = (float(truth.min()), float(truth.max()))
    if metric.name == "spearman":
        ends = (-np.finfo(float).max, np.finfo(float).max)  # clipping would tie what is ranked
    rules = [Rule("number", ends, tuple(grades))]
    if metric.name == "mae" and np.array_equal(truth, np.rint(truth)):
        rules.append(Rule("whole number", ends, tuple(grades)))
    return max(rules, key=lambda rule: metric.score(truth, answer(rule, p)))


def _cut_rule(metric: Metric, grades: tuple[float, ...], truth: np.ndarray, p: np.ndarray) -> Rule:
    known = np.asarray(grades, float) if grades else np.unique(truth)
    power = 2 if metric.function is kappa else 1
    cuts = cut_points(np.searchsorted(known, truth), number_of(p, tuple(known)), known, power)
    return Rule("cuts", cuts, tuple(float(g) for g in known))


def _set_rule(metric: Metric, truth: np.ndarray, p: np.ndarray, quick: bool) -> Rule:
    f = metric.function
    assert isinstance(f, FBeta)
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
    return max((threshold, maximiser), key=lambda rule: metric.score(truth[some], answer(rule, p[some])))
