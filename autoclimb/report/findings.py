"""The numbers of a run's page: lifts, errors by class, calibration, the worth of each member.

All are computed from the record; decision rules are cross-fitted here as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoclimb.arrays import ByRow, Predictions, predicted_rows
from autoclimb.config import Config
from autoclimb.report.leaderboard import net_words, words_of
from autoclimb.report.record import RunRecord
from autoclimb.score.crossfit import ROWS_PAIRED, cross_answers, paired_lift, standard_error
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.parts import unit_of
from autoclimb.score.rules import answer, nearest_grade, number_of
from autoclimb.seeds import some_of
from autoclimb.types import Trial

MOST_ROWS = 20_000  # on which errors are analysed: a share of them is known to within .4 %
MOST_CELLS = 20_000_000  # rows times classes, to which those rows are limited too
MOST_MOVES = 24  # trials that are compared with the best one before them
ROWS_OF_SLICE = 20  # inside a slice and outside it, at least
MOST_SLICES = 50  # of one column
UNLIKELY = 0.01  # significance level of slices that are worse and of folds that disagree


@dataclass(frozen=True, eq=False)
class Errors:
    """The blend's cross-fitted answers on train rows, at most MOST_ROWS of them.

    `picked` are classes `(n,)` where a row has one, 0/1 `(n, C)` for sets, numbers `(n,)` else.
    """

    rows: np.ndarray  # (n,)
    p: np.ndarray  # (n, C) the blend's predictions
    answers: np.ndarray  # as the metric wants them
    picked: np.ndarray


@dataclass(frozen=True)
class Move:
    """A trial compared with the best one before it: what it changed, and its lift (positive is better)."""

    number: int
    stage: str
    words: str
    brief: str  # the net, and its difference from that net's first trial
    lift: float
    stderr: float
    seconds: float
    adopted: bool  # it was the best from then on


def thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, in their order, drawn by lot."""
    return rows[some_of(len(rows), most, "report")]


def errors_of(record: RunRecord) -> Errors | None:
    """The blend's answers out of fold, None where there is no blend."""
    rows = thinned(record.predicted, min(MOST_ROWS, MOST_CELLS // max(len(record.classes), 1)))
    if record.blend is None or len(rows) < 2:
        return None
    p = np.asarray(record.blend.oof[rows], np.float64)
    answers = cross_answers(record.goal, record.truth[rows], p, record.train.parts(rows), quick=True)
    return Errors(rows, p, answers, picked_by(record, p, answers))


def picked_by(record: RunRecord, p: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Answers as classes, sets or numbers (`Errors.picked`), by the metric's own decision wherever it makes one."""
    wants = record.metric.wants
    if record.goal.kind == "regression":
        return np.asarray(answers, float).reshape(len(p), -1)[:, 0]
    if record.goal.kind == "multilabel":
        return np.asarray(answers, np.uint8) if wants == "labels" else (p > 0.5).astype(np.uint8)
    if wants == "label":
        return np.asarray(answers).astype(np.int64)
    if wants == "grade":
        return nearest_grade(answers, record.goal.grades or range(p.shape[1]))
    return p.argmax(1)


def fold_scores(record: RunRecord, errors: Errors) -> list[tuple[int, int, float, float]]:
    """(fold, rows, score, stderr) of each fold of five rows or more, scores as the metric's own values."""
    rows = []
    for fold in np.unique(record.fold_of[errors.rows]):
        inside = record.fold_of[errors.rows] == fold
        true, answers = record.train.target(errors.rows[inside]), errors.answers[inside]
        if len(true) >= 5:
            score = record.goal.score(true, answers)
            stderr = standard_error(record.goal, true, answers, record.train.groups_of(errors.rows[inside]))
            rows.append((int(fold), len(true), record.metric.shown(score), stderr))
    return [row for row in rows if np.isfinite(row[2])]


def folds_disagree(scores: Sequence[tuple[int, int, float, float]]) -> bool:
    """Whether folds differ by more than their standard errors allow (chi-squared, at UNLIKELY).

    Folds that do not differ have a variance by row in common: a fold without an error, whose own is 0, counts with it.
    """
    if len(scores) < 3:
        return False
    from scipy.special import chdtrc  # scipy.stats would take a second to import

    rows, value, stderr = (np.array(column, float) for column in list(zip(*scores, strict=True))[1:])
    variance = float((rows**2 * stderr**2).sum() / rows.sum())
    if not variance:
        return False
    off = value - (value * rows).sum() / rows.sum()
    return bool(chdtrc(len(scores) - 1, (off**2 * rows).sum() / variance) < UNLIKELY)


@dataclass(frozen=True)
class Slice:
    """The metric's own value on rows that share a value; `worse` where it is significantly worse than on the others."""

    of: str  # name of the slices, such as a column
    value: str
    rows: int
    score: float
    stderr: float
    worse: bool


def slices_of(record: RunRecord, errors: Errors) -> list[Slice]:
    """The score of each slice against that of the other rows, the most surely worse first; rows of "" are in neither.

    `worse` is tested one-sided at a level of UNLIKELY over all slices (Bonferroni).
    """
    from scipy.special import ndtr

    goal, true = record.goal, record.train.target(errors.rows)
    tested: list[tuple[float, Slice]] = []  # with the p-value
    for name, words in record.slices.items():
        of_row = np.array([words[row] for row in errors.rows])
        known = of_row != ""
        values, counts = np.unique(of_row[known], return_counts=True)
        most = known.sum() - ROWS_OF_SLICE
        usual = [v for v, n in zip(values, counts, strict=True) if ROWS_OF_SLICE <= n <= most]
        for value in usual[:MOST_SLICES]:
            scores = []
            for rows in (of_row == value, known & (of_row != value)):
                score = goal.score(true[rows], errors.answers[rows])
                groups = record.train.groups_of(errors.rows[rows])
                scores.append((score, standard_error(goal, true[rows], errors.answers[rows], groups)))
            (inside, stderr), (outside, other) = scores
            error = float(np.hypot(stderr, other))
            if np.isfinite(inside - outside) and error > 0:
                shown = Slice(
                    name, str(value), int((of_row == value).sum()), record.metric.shown(inside), stderr, False
                )
                tested.append((float(ndtr((inside - outside) / error)), shown))
    tested.sort(key=lambda pair: pair[0])
    return [replace(one, worse=p * len(tested) < UNLIKELY) for p, one in tested]


def constant_score(record: RunRecord) -> float:
    """The metric's value where every row gets the same best answer, NaN without train rows."""
    most = min(MOST_ROWS, MOST_CELLS // max(len(record.classes), 1))
    rows = thinned(np.flatnonzero(record.fold_of >= 0), most)
    if not len(rows):
        return float("nan")
    median = record.goal.kind == "regression" and record.metric.constant == "median"
    mean = (np.median if median else np.mean)(np.asarray(record.target[rows], np.float64), axis=0)
    p = np.repeat(mean[None], len(rows), 0)
    truth = record.truth[rows]
    score = record.goal.score(truth_for(record.goal, truth), answer(learn_rule(record.goal, truth, p, quick=True), p))
    return record.metric.shown(score)


def confusion(record: RunRecord, errors: Errors) -> np.ndarray:
    """`(C, C)` numbers of rows: true classes down, answers across."""
    n = len(record.classes)
    pairs = record.class_of[errors.rows] * n + errors.picked
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def confused_pairs(record: RunRecord, errors: Errors) -> list[tuple[int, int, int]]:
    """(true class, answered class, rows) of each pair of classes confused, the most rows first."""
    n, true = len(record.classes), record.class_of[errors.rows]
    wrong = errors.picked != true
    pairs, counts = np.unique(true[wrong] * n + errors.picked[wrong], return_counts=True)
    return [(int(pairs[i]) // n, int(pairs[i]) % n, int(counts[i])) for i in np.argsort(-counts, kind="stable")]


def label_rows(record: RunRecord, errors: Errors) -> list[tuple[str, int, int, int]]:
    """(name, true rows, answered rows, both) of each class or label."""
    n = len(record.classes)
    if record.goal.kind == "multilabel":
        true, picked = record.truth[errors.rows].astype(bool), errors.picked.astype(bool)
        of_truth, of_answers, both = true.sum(0), picked.sum(0), (true & picked).sum(0)
    else:
        true, picked = record.class_of[errors.rows], errors.picked
        of_truth, of_answers, both = (np.bincount(c, minlength=n) for c in (true, picked, true[true == picked]))
    return [(name, int(of_truth[i]), int(of_answers[i]), int(both[i])) for i, name in enumerate(record.classes)]


def mistakes(record: RunRecord, errors: Errors, most: int) -> list[tuple[int, float]]:
    """(train row, size of the mistake) of the worst mistakes, worst first.

    The size is the probability of the wrong class, the largest error of a wrong label's probability, or the distance of
    numbers.
    """
    at = np.arange(len(errors.rows))
    if record.one_class:
        wrong = errors.picked != record.class_of[errors.rows]
        badness = errors.p[at, errors.picked]
    elif record.goal.kind == "multilabel":
        badness = off_by(record, errors, at).max(1)
        wrong = badness > 0
    else:
        badness = np.abs(errors.picked - record.truth[errors.rows])
        wrong = badness > 0
    order = [i for i in np.argsort(-badness, kind="stable") if wrong[i]][:most]
    return [(int(errors.rows[i]), float(badness[i])) for i in order]


def off_by(record: RunRecord, errors: Errors, at: np.ndarray) -> np.ndarray:
    """`(n, C)` errors of labels' probabilities at these indices of `errors`, 0 where a label was answered right."""
    true = record.truth[errors.rows[at]]
    return np.abs(errors.p[at] - true) * (errors.picked[at] != true)


def wrong_outputs(record: RunRecord, errors: Errors, rows: Sequence[int]) -> list[int]:
    """The output behind each row's mistake: the class answered, the label with the largest error, 0 for a number."""
    if record.goal.kind == "regression":
        return [0] * len(rows)
    at = np.searchsorted(errors.rows, rows)
    wrong = errors.picked[at] if record.one_class else off_by(record, errors, at).argmax(1)
    return [int(output) for output in wrong]


def reliability(record: RunRecord, errors: Errors, bins: int = 10) -> list[tuple[float, float, float, int]]:
    """(mean probability, observed frequency, its stderr, cells) of each bin of equal width that has 5 cells or more.

    Cells are rows with the likeliest class's probability, or rows times labels with every label's.
    The error counts a row's labels, and the rows of a group, as one observation.
    """
    if record.one_class:
        p = errors.p.max(1)
        true = errors.p.argmax(1) == record.class_of[errors.rows]
    else:
        p, true = errors.p.ravel(), record.truth[errors.rows].ravel() > 0
    unit = np.repeat(unit_of(len(errors.rows), record.train.groups_of(errors.rows)), len(p) // len(errors.rows))
    place = np.clip((p * bins).astype(int), 0, bins - 1)
    rows = []
    for k in range(bins):
        inside = place == k
        n = int(inside.sum())
        if n >= 5:
            share = float(true[inside].mean())
            # summed by unit; with units of one cell the sum of squares is n share (1 - share)
            residual = np.bincount(unit[inside], true[inside] - share)
            each = n / len(np.unique(unit[inside]))  # cells of a unit: one unit more is the least that is not known
            rows.append((float(p[inside].mean()), share, float(np.sqrt(residual @ residual + each**2) / n), n))
    return rows


def calibration_error(rows: Sequence[tuple[float, float, float, int]]) -> float:
    """The expected calibration error: the mean distance of probability and frequency, weighted by cells."""
    total = sum(n for *_, n in rows)
    return sum(abs(p - share) * n for p, share, _, n in rows) / total if total else float("nan")


def moves_of(record: RunRecord) -> list[Move]:
    """Each trial's lift over the best one before it, paired by row; of many trials the last MOST_MOVES.

    Both are scored on the rows that both predicted, with decision rules cross-fitted there.
    """
    done = [t for t in record.trials if t.has_score and t.oof is not None]
    moves: list[Move] = []
    first_of: dict[str, Config] = {}  # by net
    best: Trial | None = None
    for number, trial in enumerate(done, 1):
        if best is not None and len(done) - number < MOST_MOVES:
            paired = lift_of(record, trial.oof, best.oof)
            if paired is not None:
                words = changes_in_words(trial.config, best.config)
                brief = net_words(trial.config)
                if brief in first_of:
                    brief += ", " + changes_in_words(trial.config, first_of[brief])
                moves.append(
                    Move(number, trial.stage, words, brief, *paired, trial.seconds, adopted=trial.score > best.score)
                )
        first_of.setdefault(net_words(trial.config), trial.config)
        if best is None or trial.score > best.score:
            best = trial
    return moves


def changes_in_words(config: Config, other: Config) -> str:
    """What a config changes in another one, whatever rows both predict."""
    return words_of(config.vary(folds=other.folds, predict_test=other.predict_test), against=other)


def lift_of(record: RunRecord, new: ByRow | None, old: ByRow | None) -> tuple[float, float] | None:
    """The gain of the new predictions over the old and its standard error; None where they share under 20 rows."""
    return None if new is None or old is None else paired_lift(record.train, new, old)


def ablation(record: RunRecord) -> list[tuple[Trial, float, float]]:
    """(member, the blend's loss without it, stderr), where the weighted mean of the other members replaces it.

    The blend's weights stay as learned on all rows; the decision rules are cross-fitted.
    """
    blend, blended = record.blend, record.blended
    if blend is None or blended is None or len(blend.members) < 2:
        return []
    members = [next((t for t in record.trials if t.key == key), None) for key in blend.members]
    if any(t is None or t.oof is None for t in members):
        return []
    most = min(ROWS_PAIRED, MOST_CELLS // (max(len(record.classes), 1) * len(members)))
    rows = thinned(record.predicted, most)
    p = [np.asarray(t.oof[rows], np.float64) for t in members]  # type: ignore[index, union-attr]
    if not all(np.isfinite(each).all() for each in p):
        return []
    with_all = Predictions.of(rows, blended(p), len(record.fold_of))
    weights = np.asarray(blend.weights if len(blend.weights) == len(p) else np.ones(len(p)))
    losses = []
    for i, member in enumerate(members):
        other_weights = np.where(np.arange(len(p)) == i, 0.0, weights)
        if member is None or other_weights.sum() <= 0:
            continue
        others = np.average(p, 0, other_weights)
        without = blended([others if j == i else each for j, each in enumerate(p)])
        paired = lift_of(record, with_all, Predictions.of(rows, without, len(record.fold_of)))
        if paired is not None:
            losses.append((member, *paired))
    return losses


def member_correlation(record: RunRecord) -> tuple[list[Trial], np.ndarray]:
    """The blend's members and the correlation of their errors `(K, K)`, on the rows that all predicted."""
    keys = record.blend.members if record.blend else ()
    members = [t for t in record.trials if t.key in keys and t.oof is not None]
    if len(members) < 2:
        return [], np.zeros((0, 0))
    common = record.fold_of >= 0
    for member in members:
        common &= predicted_rows(member.oof)
    rows = thinned(np.flatnonzero(common), ROWS_PAIRED)
    if len(rows) < 20:
        return [], np.zeros((0, 0))
    numbers = record.goal.kind == "regression"
    errors = [
        (number_of(t.oof[rows], ()) - record.truth[rows] if numbers else (t.oof[rows] - record.target[rows]).ravel())  # type: ignore[index]
        for t in members
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return members, np.nan_to_num(np.atleast_2d(np.corrcoef(np.stack(errors))))
