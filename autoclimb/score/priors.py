"""Classes that are more or less frequent among test rows than among train rows: estimated, proven, allowed for.

The test rows' shares of the classes are those that make calibrated predictions likeliest (Saerens, Latinne and
Decaestecker 2002; with the classes' own shifts calibrated, Alexandari, Kundaje and Shrikumar 2020, arXiv 1901.06852).
Out-of-fold rows have the train rows' shares, so a correction cannot be cross-fitted as such. What can be asked is
whether such shares come about by chance, whether other shares alone explain how test predictions differ, and whether
train rows drawn to these shares are answered better with the correction: all three must be so.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from autoclimb.arrays import ByRow, by_blocks
from autoclimb.score.crossfit import standard_error
from autoclimb.score.decide import learn_rule, likely, shares, truth_for
from autoclimb.score.parts import dealt, unit_of
from autoclimb.score.rules import answer
from autoclimb.seeds import rng, some_of
from autoclimb.types import Goal, How, Rule

FEWEST = 100  # test rows, and rows of a class in training on average
MOST_CLASSES = 100
MOST_CELLS = 60_000  # of train rows, and of test rows, that shares are estimated on
DRAWS = 99  # of as many train rows as if they were a test set
ROUNDS = 40  # of expectation and maximisation, fewer where shares move by less than CLOSE
CLOSE = 1e-4
PRIOR_ROWS = 20.0  # rows of the train rows' shares that the estimate is drawn by (assumption)
BEYOND = 1.5  # times the greatest gain of those draws that the test rows' must be
EXPLAINED = 0.9  # of the difference in how test and train rows are predicted that shares must explain
PARTS = 3  # that a rule is tried on: of groups, and of rows drawn with replacement, copies of one together
MARGIN = 1.0  # standard errors that the gain on train rows drawn to the shares must be


@dataclass(frozen=True, eq=False)
class LabelShift:
    """The classes' `shares` `(C,)` in the test rows and what allowing for them takes.

    `rule` is for predictions that `allowed` was applied to. `gain`, higher is better, and `stderr` are the metric's on
    train rows drawn to these shares.
    """

    shares: np.ndarray
    gain: float
    stderr: float
    rule: Rule
    calibration: Rule = field(repr=False)
    factors: np.ndarray = field(repr=False)  # (C,) on calibrated probabilities

    def allowed(self, p: ByRow) -> np.ndarray:
        """Probabilities `(M, C)` of the classes where they have the test rows' shares."""
        return by_blocks(lambda rows: weighted(answer(self.calibration, p[rows]), self.factors), *p.shape)


def label_shift(
    goal: Goal, truth: np.ndarray, oof: ByRow, test: ByRow, groups: np.ndarray | None = None
) -> LabelShift | None:
    """What the test rows' classes are shifted by, None without proof: see the head of this file.

    `truth` `(N,)` class indices, out-of-fold predictions `oof` `(N, C)` and `groups` `(N,)` of the same rows, `test`
    `(M, C)`.
    """
    if goal.kind not in ("binary", "multiclass", "ordinal") or goal.metric.order_only or truth.ndim != 1:
        return None
    width = test.shape[1]
    if width > MOST_CLASSES or len(test) < FEWEST or len(oof) < FEWEST * width or width < 2:
        return None
    some, tested = (some_of(len(p), MOST_CELLS // width, "label shift") for p in (oof, test))
    units = unit_of(len(some), None if groups is None else groups[some])
    independent = len(np.unique(units)) / len(some)
    truth, known = truth[some].astype(int), np.asarray(oof[some], np.float64)
    calibration, prior = likely(goal, truth, known, How(quick=True)), shares(truth, known)
    own, new = answer(calibration, known), answer(calibration, np.asarray(test[tested], np.float64))
    balance = _balance(own, prior)
    own, new = weighted(own, balance), weighted(new, balance)
    there = shares_of(new, prior)
    if not _beyond_chance(own, new, prior, there, independent) or not _explained(truth, own, new, there / prior):
        return None
    shift = LabelShift(there, 0.0, 0.0, calibration, calibration, balance * there / prior)
    return _if_it_pays(goal, truth, known, units, shift)


def weighted(p: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Class probabilities `(N, C)` times factors `(C,)`, summing to one again."""
    q = p * factors
    return np.asarray(q / q.sum(1, keepdims=True))


def shares_of(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The shares `(C,)` of the classes that make rows likeliest whose probabilities `p` hold for shares `prior`."""
    there = prior
    for _ in range(ROUNDS):
        before, there = there, (weighted(p, there / prior).sum(0) + PRIOR_ROWS * prior) / (len(p) + PRIOR_ROWS)
        if np.abs(there - before).max() < CLOSE:
            break
    return there


def _balance(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The factors `(C,)`, a shift of each class, that bring the mean of probabilities to the shares of the classes."""
    factors = np.ones(len(prior))
    for _ in range(ROUNDS):
        factors *= prior / weighted(p, factors).mean(0)
    return factors


def _likelier(p: np.ndarray, ratio: np.ndarray) -> float:
    """How much likelier a row is on the mean, in nats, where classes are as many times as frequent as `ratio` says."""
    return float(np.log(p @ ratio).mean())


def _beyond_chance(own: np.ndarray, new: np.ndarray, prior: np.ndarray, there: np.ndarray, independent: float) -> bool:
    """Whether test rows gain more by shares of their own than any draw of as many train rows does.

    The train rows' shares are known no better than their number allows, so a draw has fewer rows than either, and as
    many fewer as there are fewer groups than rows.
    """
    gain, random = _likelier(new, there / prior) / BEYOND, rng(0, "label shift", len(own))
    rows = max(2, round(independent / (1 / len(own) + 1 / len(new))))
    for _ in range(DRAWS):
        drawn = own[random.integers(0, len(own), rows)]
        if _likelier(drawn, shares_of(drawn, prior) / prior) >= gain:
            return False
    return True


def _explained(truth: np.ndarray, own: np.ndarray, new: np.ndarray, ratio: np.ndarray) -> bool:
    """Whether train rows in the test rows' shares are predicted as test rows are, so that shares are what differs.

    Compared is how many rows are answered by each class surely and unsurely.
    """
    answers, sure = own.argmax(1), own.max(1)
    width = own.shape[1]
    middle = np.array([np.median(sure[answers == c]) if (answers == c).any() else 0.5 for c in range(width)])

    def cells(p: np.ndarray, weight: np.ndarray) -> np.ndarray:
        place = p.argmax(1)
        return np.bincount(2 * place + (p.max(1) > middle[place]), weight, 2 * width) / weight.sum()

    seen, plain, drawn = cells(new, np.ones(len(new))), cells(own, np.ones(len(own))), cells(own, ratio[truth])
    scale = 1 / (plain + drawn + 1 / len(new))
    noise = (drawn * scale).sum() * (1 / len(new) + 1 / len(own))  # what equal shares would differ by
    before, after = ((scale * (seen - expected) ** 2).sum() for expected in (plain, drawn))
    return bool(after - noise <= (1 - EXPLAINED) * (before - noise))


def _if_it_pays(
    goal: Goal, truth: np.ndarray, oof: np.ndarray, units: np.ndarray, shift: LabelShift
) -> LabelShift | None:
    """The shift with its rule, where train rows drawn to its shares are answered better by it than without it.

    Learned on one half of the `units` `(N,)`, rows or groups of them, and tried on the other.
    """
    random, allowed = rng(0, "drawn to shares", len(oof)), shift.allowed(oof)
    odds = (shift.shares / np.bincount(truth, minlength=len(shift.shares)).clip(1))[truth]
    half, parts = dealt(len(oof), 2, units, "drawn to shares") == 0, dealt(len(oof), PARTS, units, "parts of shares")
    drawn, plain, better = [], [], []
    for own, rest in ((half, ~half), (~half, half)):
        to_learn, to_score = (_drawn(np.flatnonzero(rows), odds, random) for rows in (rest, own))
        rule = learn_rule(goal, truth[to_learn], allowed[to_learn], part_of=parts[to_learn])
        usual = learn_rule(goal, truth[rest], oof[rest], part_of=parts[rest])
        drawn.append(to_score)
        better.append(answer(rule, allowed[to_score]))
        plain.append(answer(usual, oof[to_score]))
    rows, with_it, without = (np.concatenate(parts) for parts in (drawn, better, plain))
    target = truth_for(goal, truth[rows])
    gain = goal.score(target, with_it) - goal.score(target, without)
    stderr = standard_error(goal, target, with_it, units[rows], without)
    if not gain > MARGIN * stderr:
        return None
    every = _drawn(np.arange(len(oof)), odds, random)
    rule = learn_rule(goal, truth[every], allowed[every], part_of=parts[every])
    return replace(shift, gain=gain, stderr=stderr, rule=rule)


def _drawn(rows: np.ndarray, odds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many of the rows, by index, drawn with replacement by their odds."""
    return random.choice(rows, len(rows), p=odds[rows] / odds[rows].sum())
