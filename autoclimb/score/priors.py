"""Label shift: classes that are more or less frequent among test rows than among train rows.

The estimated shares of the classes in the test rows are those of greatest likelihood for calibrated predictions
(Saerens, Latinne and Decaestecker 2002; with a calibrated shift for each class, Alexandari, Kundaje and Shrikumar 2020,
arXiv 1901.06852). Out-of-fold rows have the train rows' shares, so a correction cannot be cross-fitted on them as they
are. It is used where three tests pass: such shares do not come about by chance, they explain how test predictions
differ from train predictions, and train rows resampled to these shares are answered better with the correction.
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
DRAWS = 99  # samples of train rows in the place of a test set
ROUNDS = 40  # of expectation and maximisation at most
CLOSE = 1e-4  # change of the shares below which the rounds end
PRIOR_ROWS = 20.0  # weight of the train rows' shares in the estimate, in rows (assumption)
BEYOND = 1.5  # factor by which the test rows' gain must exceed the greatest of those samples
EXPLAINED = 0.9  # of the difference between test and train predictions that the shares must explain
PARTS = 3  # on which a rule is tried: of groups, or of resampled rows with copies of a row together
MARGIN = 1.0  # standard errors that the gain on resampled train rows must exceed


@dataclass(frozen=True, eq=False)
class LabelShift:
    """The classes' `shares` `(C,)` in the test rows, and the correction for them.

    `rule` is for predictions that `corrected` was applied to. `gain` (higher is better) and its standard error are the
    metric's on train rows resampled to these shares.
    """

    shares: np.ndarray
    gain: float
    stderr: float
    rule: Rule
    calibration: Rule = field(repr=False)
    factors: np.ndarray = field(repr=False)  # (C,) on calibrated probabilities

    def corrected(self, p: ByRow) -> np.ndarray:
        """The probabilities `(M, C)` of the classes where these have the test rows' shares."""
        return by_blocks(lambda rows: weighted(answer(self.calibration, p[rows]), self.factors), *p.shape)


def label_shift(
    goal: Goal, truth: np.ndarray, oof: ByRow, test: ByRow, groups: np.ndarray | None = None
) -> LabelShift | None:
    """The label shift of the test rows, None where one of the three tests at the head of this file fails.

    `truth` `(N,)` class indices, out-of-fold predictions `oof` `(N, C)` and `groups` `(N,)` are of the train rows,
    predictions `test` `(M, C)` of the test rows.
    """
    if goal.kind not in ("binary", "multiclass", "ordinal") or goal.metric.order_only or truth.ndim != 1:
        return None
    width = test.shape[1]
    if width > MOST_CLASSES or len(test) < FEWEST or len(oof) < FEWEST * width or width < 2:
        return None
    train_rows, test_rows = (some_of(len(p), MOST_CELLS // width, "label shift") for p in (oof, test))
    units = unit_of(len(train_rows), None if groups is None else groups[train_rows])
    independent = len(np.unique(units)) / len(train_rows)
    truth, p = truth[train_rows].astype(int), np.asarray(oof[train_rows], np.float64)
    calibration, prior = likely(goal, truth, p, How(quick=True)), shares(truth, p)
    train_p, test_p = answer(calibration, p), answer(calibration, np.asarray(test[test_rows], np.float64))
    balance = _balance(train_p, prior)
    train_p, test_p = weighted(train_p, balance), weighted(test_p, balance)
    test_shares = shares_of(test_p, prior)
    if not _beyond_chance(train_p, test_p, prior, test_shares, independent):
        return None
    if not _explained(truth, train_p, test_p, test_shares / prior):
        return None
    shift = LabelShift(test_shares, 0.0, 0.0, calibration, calibration, balance * test_shares / prior)
    return _if_better(goal, truth, p, units, shift)


def weighted(p: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Class probabilities `(N, C)` times factors `(C,)`, summing to one again."""
    q = p * factors
    return np.asarray(q / q.sum(1, keepdims=True))


def shares_of(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The shares `(C,)` of greatest likelihood for rows whose probabilities `p` are right for the shares `prior`."""
    estimate = prior
    for _ in range(ROUNDS):
        before = estimate
        estimate = (weighted(p, before / prior).sum(0) + PRIOR_ROWS * prior) / (len(p) + PRIOR_ROWS)
        if np.abs(estimate - before).max() < CLOSE:
            break
    return estimate


def _balance(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The factors `(C,)` on probabilities, one for each class, that make their mean the shares of the classes."""
    factors = np.ones(len(prior))
    for _ in range(ROUNDS):
        factors *= prior / weighted(p, factors).mean(0)
    return factors


def _likelier(p: np.ndarray, ratio: np.ndarray) -> float:
    """The gain in mean log likelihood, in nats, where classes are `ratio` `(C,)` times as frequent."""
    return float(np.log(p @ ratio).mean())


def _beyond_chance(
    train_p: np.ndarray, test_p: np.ndarray, prior: np.ndarray, test_shares: np.ndarray, independent: float
) -> bool:
    """Whether test rows gain more by their own shares than any random sample of train rows gains by its own.

    The train rows' shares are estimates too, so a sample has fewer rows than either set, and fewer again by the ratio
    of groups to rows, `independent`.
    """
    gain, random = _likelier(test_p, test_shares / prior) / BEYOND, rng(0, "label shift", len(train_p))
    rows = max(2, round(independent / (1 / len(train_p) + 1 / len(test_p))))
    for _ in range(DRAWS):
        sample = train_p[random.integers(0, len(train_p), rows)]
        if _likelier(sample, shares_of(sample, prior) / prior) >= gain:
            return False
    return True


def _explained(truth: np.ndarray, train_p: np.ndarray, test_p: np.ndarray, ratio: np.ndarray) -> bool:
    """Whether train rows weighted to the test rows' shares are predicted as test rows are.

    Compared are the shares of rows that are answered by each class, with a top probability above the class's median
    and below it.
    """
    answers, top = train_p.argmax(1), train_p.max(1)
    width = train_p.shape[1]
    middle = np.array([np.median(top[answers == c]) if (answers == c).any() else 0.5 for c in range(width)])

    def cells(p: np.ndarray, weight: np.ndarray) -> np.ndarray:
        place = p.argmax(1)
        return np.bincount(2 * place + (p.max(1) > middle[place]), weight, 2 * width) / weight.sum()

    of_test, of_train = (cells(p, np.ones(len(p))) for p in (test_p, train_p))
    of_weighted = cells(train_p, ratio[truth])
    scale = 1 / (of_train + of_weighted + 1 / len(test_p))
    noise = (of_weighted * scale).sum() * (1 / len(test_p) + 1 / len(train_p))  # expected distance of equal shares
    before, after = ((scale * (of_test - expected) ** 2).sum() for expected in (of_train, of_weighted))
    return bool(after - noise <= (1 - EXPLAINED) * (before - noise))


def _if_better(
    goal: Goal, truth: np.ndarray, oof: np.ndarray, units: np.ndarray, shift: LabelShift
) -> LabelShift | None:
    """The shift with its rule, where train rows resampled to its shares are answered better by it, else None.

    The rules are learned on one half of the `units` `(N,)`, rows or groups of them, and scored on the other.
    """
    random, corrected = rng(0, "drawn to shares", len(oof)), shift.corrected(oof)
    odds = (shift.shares / np.bincount(truth, minlength=len(shift.shares)).clip(1))[truth]
    half, parts = dealt(len(oof), 2, units, "drawn to shares") == 0, dealt(len(oof), PARTS, units, "parts of shares")
    scored, answers_with, answers_without = [], [], []
    for own, rest in ((half, ~half), (~half, half)):
        to_learn, to_score = (_resampled(np.flatnonzero(rows), odds, random) for rows in (rest, own))
        rule = learn_rule(goal, truth[to_learn], corrected[to_learn], part_of=parts[to_learn])
        usual = learn_rule(goal, truth[rest], oof[rest], part_of=parts[rest])
        scored.append(to_score)
        answers_with.append(answer(rule, corrected[to_score]))
        answers_without.append(answer(usual, oof[to_score]))
    rows, with_it, without = (np.concatenate(halves) for halves in (scored, answers_with, answers_without))
    target = truth_for(goal, truth[rows])
    gain = goal.score(target, with_it) - goal.score(target, without)
    stderr = standard_error(goal, target, with_it, units[rows], without)
    if not gain > MARGIN * stderr:
        return None
    rows = _resampled(np.arange(len(oof)), odds, random)
    rule = learn_rule(goal, truth[rows], corrected[rows], part_of=parts[rows])
    return replace(shift, gain=gain, stderr=stderr, rule=rule)


def _resampled(rows: np.ndarray, odds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many of these row indices, drawn with replacement in proportion to `odds`."""
    return random.choice(rows, len(rows), p=odds[rows] / odds[rows].sum())
