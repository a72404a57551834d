"""RULES: how predictions become answers. Rules are learned in decide.py; to apply one needs only this file.

The docstring of a rule is its description in reports.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autoclimb.arrays import LARGE, ByRow, by_blocks
from autoclimb.score.calibrate import along_curve, calibrated, temper
from autoclimb.score.expected import expected_f_sets
from autoclimb.types import Rule

MANY = 10  # times as many classes as answers from which selecting the top is faster than sorting
FLOOR = 1e-6  # lowest probability of an answer: a wrong certain row then costs 13.8 nats, not 36


def answer(rule: Rule, p: ByRow) -> np.ndarray:
    """The answers of a rule to predictions `(N, C)`, in the form its metric wants, computed by blocks of rows.

    Probabilities of very many cells are in single precision, whose steps are far below FLOOR.
    """
    if rule.name == "as is" and isinstance(p, np.ndarray):
        return p
    count, width = p.shape
    large = count * width > LARGE

    def answers(rows: slice) -> np.ndarray:
        values = RULES[rule.name](rule, p[rows])
        values = (1 - rule.share) * values + rule.share * np.asarray(rule.prior) if rule.share else values
        return values.astype(np.float32) if large and values.ndim == 2 and values.dtype == np.float64 else values

    return by_blocks(answers, count, width)


def rule_words(rule: Rule) -> str:
    """The description of a rule for reports, without a full stop."""
    return str(RULES[rule.name].__doc__).rstrip(".")


def number_of(p: np.ndarray, grades: tuple[float, ...]) -> np.ndarray:
    """One number a row `(N,)`: the prediction itself, or the expected grade."""
    p = np.asarray(p, float)
    if p.shape[1] == 1:
        return p[:, 0]
    return p @ np.asarray(grades or range(p.shape[1]), float) / np.maximum(p.sum(1), 1e-12)


def log_number_of(p: np.ndarray, grades: tuple[float, ...]) -> np.ndarray:
    """log(1 + x) of the number `(N,)`, or its mean over grades."""
    if p.shape[1] == 1:
        return np.log1p(np.maximum(p[:, 0], 0))
    return number_of(p, tuple(np.log1p(np.maximum(grades or range(p.shape[1]), 0))))


def nearest_grade(numbers: np.ndarray, grades: Sequence[float]) -> np.ndarray:
    """The index `(N,)` of the grade nearest to each number, the first of two that are as near."""
    values, steps = np.asarray(numbers, float), np.asarray(grades, float)
    return by_blocks(lambda rows: np.abs(values[rows, None] - steps).argmin(1), len(values), len(steps))


def _argmax(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The likeliest class, by probabilities times factors where the rule has any."""
    return np.argmax(p * np.asarray(rule.values) if rule.values else p, axis=1)


def _positive(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The positive class above a threshold."""
    return (p[:, -1] > rule.values[0]).astype(np.int64)


def _thresholds(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Every label above its threshold."""
    return (p > np.asarray(rule.values)).astype(np.uint8)


def _threshold_or_top(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Every label above the threshold, else the likeliest one."""
    sets = _thresholds(rule, p)
    empty = ~sets.any(1)  # an empty answer scores 0 whatever is true, so the likeliest label can only help
    sets[empty, p[empty].argmax(1)] = 1
    return sets


def _expected_f(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The set of labels whose F is expected to be highest."""
    beta, slope, shift, *tilt = rule.values
    return expected_f_sets(calibrated(p, slope, shift), beta, tilt)


def _cuts(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The grade between whose cut points the number lies."""
    return np.asarray(rule.grades)[np.searchsorted(rule.values, number_of(p, rule.grades))]


def _median(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The grade in the middle of the probability."""
    below = np.cumsum(p, axis=1)
    return np.asarray(rule.grades)[(below >= below[:, -1:] / 2).argmax(1)]  # least expected absolute error


def _top(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The likeliest classes in order."""
    low, k = -p, min(rule.k, p.shape[1])
    if p.shape[1] < MANY * k:
        return np.argsort(low, axis=1, kind="stable")[:, :k]
    # sorting ten thousand classes for the top five takes some twenty times as long as a partition
    top = np.sort(np.argpartition(low, k - 1, axis=1)[:, :k], axis=1)
    least = np.take_along_axis(low, top, axis=1)
    top = np.take_along_axis(top, np.argsort(least, axis=1, kind="stable"), axis=1)
    # a partition picks any of the classes that are tied for the last place
    tied = (low <= least.max(1, keepdims=True)).sum(1) > k
    top[tied] = np.argsort(low[tied], axis=1, kind="stable")[:, :k]
    return top


def _as_is(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The prediction as it is."""
    return p


def _certain(rule: Rule, p: np.ndarray) -> np.ndarray:
    """One or zero, by a threshold."""
    yes = _positive(rule, p).astype(float)
    return np.stack([1 - yes, yes], axis=1)


def _tempered(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Probabilities made as sure as they are right."""
    slope, *weights = rule.values
    q = np.clip(temper(p * np.asarray(weights) if weights else p, slope), FLOOR, None)
    return q / q.sum(1, keepdims=True)


def _calibrated(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Probabilities on a line in log odds, as they come true."""
    slope, shift, *of_labels = rule.values
    return np.clip(calibrated(p, slope, shift + np.asarray(of_labels) if of_labels else shift), FLOOR, 1 - FLOOR)


def _curve(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Probabilities on a curve, as they come true."""
    half = len(rule.values) // 2
    return np.clip(along_curve(p, np.asarray(rule.values[:half]), np.asarray(rule.values[half:])), FLOOR, 1 - FLOOR)


def _positive_curve(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Probabilities on a curve, as the positive class comes true."""
    yes = _curve(rule, p[:, 1])
    return np.stack([1 - yes, yes], axis=1)


def _number(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The number, within what was seen."""
    low, high = rule.values
    return np.clip(number_of(p, rule.grades), low, high)


def _whole_number(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The number, rounded and within what was seen."""
    return np.rint(_number(rule, p))


def _log_number(rule: Rule, p: np.ndarray) -> np.ndarray:
    """The number whose logarithm is expected, within what was seen."""
    low, high, shift = rule.values
    return np.clip(np.expm1(log_number_of(p, rule.grades) + shift), low, high)


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
    "curve": _curve,
    "positive curve": _positive_curve,
    "number": _number,
    "whole number": _whole_number,
    "log number": _log_number,
}
