"""What a page says of a run, as numbers: lifts, errors by class, calibration, what each member adds, where time went.

All from the record; what was learned from predictions is cross-fitted here as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from autoclimb.arrays import ByRow, Predictions, predicted_rows
from autoclimb.report.leaderboard import net_words, words_of
from autoclimb.report.record import RunRecord
from autoclimb.score.crossfit import cross_answers, standard_error
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.parts import parts_within, unit_of
from autoclimb.score.rules import answer, number_of
from autoclimb.types import Config, Trial

MOST_ROWS = 20_000  # that errors are looked at on: a share is known to .4 % of them
MOST_CELLS = 20_000_000  # of them and classes
ROWS_PAIRED = 4_000  # that two trials are compared on
MOST_MOVES = 24  # trials that are compared with what was best before them
ROWS_OF_SLICE = 20  # fewest on either side
MOST_SLICES = 50  # values of one column
UNLIKELY = 0.01  # probability of folds that differ so by chance, from which they are said to disagree


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
    """What a trial changed in the best one before it, and what that was worth; positive is better."""

    number: int
    stage: str
    words: str
    brief: str  # the net, and what differs from the first trial of it
    lift: float
    stderr: float
    seconds: float
    adopted: bool  # it was the best from then on


def thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def errors_of(record: RunRecord) -> Errors | None:
    """What the blend answers out of fold, None where there is no blend."""
    rows = thinned(record.predicted, min(MOST_ROWS, MOST_CELLS // max(len(record.classes), 1)))
    if record.blend is None or len(rows) < 2:
        return None
    p = np.asarray(record.blend.oof[rows], np.float64)
    answers = cross_answers(record.goal, record.truth[rows], p, parts_of(record, rows), quick=True)
    return Errors(rows, p, answers, picked_by(record, p, answers))


def parts_of(record: RunRecord, rows: np.ndarray) -> np.ndarray:
    """The parts `(n,)` of rows that rules are cross-fitted over: their folds, of a single one parts of its groups."""
    return parts_within(record.fold_of[rows], 0, record.groups_of(rows))


def picked_by(record: RunRecord, p: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Answers as classes, sets or numbers, whatever the metric wants; its own decision wherever it makes one."""
    wants = record.metric.wants
    if record.goal.kind == "regression":
        return np.asarray(answers, float).reshape(len(p), -1)[:, 0]
    if record.goal.kind == "multilabel":
        return np.asarray(answers, np.uint8) if wants == "labels" else (p > 0.5).astype(np.uint8)
    if wants == "label":
        return np.asarray(answers).astype(np.int64)
    if wants == "grade":
        grades = np.asarray(record.goal.grades or range(p.shape[1]), float)
        return np.abs(np.asarray(answers, float)[:, None] - grades).argmin(1)
    return p.argmax(1)


def fold_scores(record: RunRecord, errors: Errors) -> list[tuple[int, int, float, float]]:
    """(fold, rows, score, stderr) of each fold that has rows enough, scores as the metric shows them."""
    rows = []
    for fold in np.unique(record.fold_of[errors.rows]):
        inside = record.fold_of[errors.rows] == fold
        true, answers = record.scored_truth[errors.rows][inside], errors.answers[inside]
        if len(true) >= 5:
            score = record.goal.score(true, answers)
            stderr = standard_error(record.goal, true, answers, record.groups_of(errors.rows[inside]))
            rows.append((int(fold), len(true), record.metric.shown(score), stderr))
    return [row for row in rows if np.isfinite(row[2])]


def folds_disagree(scores: Sequence[tuple[int, int, float, float]]) -> bool:
    """Whether folds differ by more than their standard errors allow (chi-squared, at UNLIKELY)."""
    known = [(score, stderr) for _, _, score, stderr in scores if stderr > 0]
    if len(known) < 3:
        return False
    from scipy.special import chdtrc  # scipy.stats would take a second to import

    value, weight = np.array([s for s, _ in known]), np.array([1 / e**2 for _, e in known])
    mean = (value * weight).sum() / weight.sum()
    return bool(chdtrc(len(known) - 1, ((value - mean) ** 2 * weight).sum()) < UNLIKELY)


@dataclass(frozen=True)
class Slice:
    """The score on rows that share something, as the metric shows it. `worse` says that chance would hardly make it."""

    of: str
    value: str
    rows: int
    score: float
    stderr: float
    worse: bool


def slices_of(record: RunRecord, errors: Errors) -> list[Slice]:
    """The score of each slice of rows against the others', the most surely worse first; rows of "" are in neither.

    "Worse" is at a level of UNLIKELY over all the slices looked at (Bonferroni), one-sided.
    """
    from scipy.special import ndtr

    goal, true = record.goal, record.scored_truth[errors.rows]
    found: list[tuple[float, Slice]] = []
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
                groups = record.groups_of(errors.rows[rows])
                scores.append((score, standard_error(goal, true[rows], errors.answers[rows], groups)))
            (inside, stderr), (outside, other) = scores
            error = float(np.hypot(stderr, other))
            if np.isfinite(inside - outside) and error > 0:
                shown = Slice(
                    name, str(value), int((of_row == value).sum()), record.metric.shown(inside), stderr, False
                )
                found.append((float(ndtr((inside - outside) / error)), shown))
    found.sort(key=lambda pair: pair[0])
    return [replace(one, worse=p * len(found) < UNLIKELY) for p, one in found]


def constant_score(record: RunRecord) -> float:
    """The metric's value where every row gets the same best answer, NaN where it has none for that."""
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
    """`(C, C)` counts: true classes down, answered ones across."""
    n = len(record.classes)
    pairs = record.class_of[errors.rows] * n + errors.picked
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def label_rows(record: RunRecord, errors: Errors) -> list[tuple[str, int, int, int]]:
    """(name, true rows, answered rows, both) of each class or label."""
    n = len(record.classes)
    if record.goal.kind == "multilabel":
        true, picked = record.truth[errors.rows].astype(bool), errors.picked.astype(bool)
    else:
        true, picked = np.eye(n, dtype=bool)[record.class_of[errors.rows]], np.eye(n, dtype=bool)[errors.picked]
    both, of_truth, of_answers = (true & picked).sum(0), true.sum(0), picked.sum(0)
    return [(name, int(of_truth[i]), int(of_answers[i]), int(both[i])) for i, name in enumerate(record.classes)]


def mistakes(record: RunRecord, errors: Errors, most: int) -> list[tuple[int, float]]:
    """(train row, how sure or how far off) of the worst mistakes, worst first.

    Of classes the probability of the wrong answer, of sets the largest error of a label's probability among wrong
    labels, of numbers the distance.
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
    """`(n, C)` errors of labels' probabilities at these places of `errors`, 0 where a label was answered right."""
    true = record.truth[errors.rows[at]]
    return np.abs(errors.p[at] - true) * (errors.picked[at] != true)


def wrong_outputs(record: RunRecord, errors: Errors, rows: Sequence[int]) -> list[int]:
    """The output that each row's mistake is about: the class answered, the label most wrong, 0 for a number."""
    if record.goal.kind == "regression":
        return [0] * len(rows)
    at = np.searchsorted(errors.rows, rows)
    wrong = errors.picked[at] if record.one_class else off_by(record, errors, at).argmax(1)
    return [int(output) for output in wrong]


def reliability(record: RunRecord, errors: Errors, bins: int = 10) -> list[tuple[float, float, float, int]]:
    """(mean probability, share that was so, its stderr, cells) by bins of equal width, empty ones left out.

    Of classes the likeliest one's probability, of sets every label's. Errors count a row's labels together, and the
    rows of a group.
    """
    if record.one_class:
        p = errors.p.max(1)
        so = errors.p.argmax(1) == record.class_of[errors.rows]
    else:
        p, so = errors.p.ravel(), record.truth[errors.rows].ravel() > 0
    unit = np.repeat(unit_of(len(errors.rows), record.groups_of(errors.rows)), len(p) // len(errors.rows))
    place = np.clip((p * bins).astype(int), 0, bins - 1)
    rows = []
    for k in range(bins):
        inside = place == k
        n = int(inside.sum())
        if n >= 5:
            share = float(so[inside].mean())
            off = np.bincount(unit[inside], so[inside] - share)  # of units of one cell, squared, n share (1 - share)
            each = n / len(np.unique(unit[inside]))  # a unit more is the least that is not known
            rows.append((float(p[inside].mean()), share, float(np.sqrt(off @ off + each**2) / n), n))
    return rows


def calibration_error(rows: Sequence[tuple[float, float, float, int]]) -> float:
    """The mean distance of predicted probability and share, weighed by cells."""
    total = sum(n for *_, n in rows)
    return sum(abs(p - share) * n for p, share, _, n in rows) / total if total else float("nan")


def moves_of(record: RunRecord) -> list[Move]:
    """What each trial was worth against the best one before it, paired by row; the last MOST_MOVES of very many.

    Both are scored on the rows that both predicted, their decision rules cross-fitted there.
    """
    done = [t for t in record.trials if t.status == "done" and t.oof is not None and np.isfinite(t.score)]
    moves: list[Move] = []
    first_of: dict[str, Config] = {}  # by net
    best: Trial | None = None
    for number, trial in enumerate(done, 1):
        if best is not None and len(done) - number < MOST_MOVES:
            paired = lift_of(record, trial.oof, best.oof)
            if paired is not None:
                words = words_of(replace(trial.config, folds=best.config.folds), against=best.config)
                brief = net_words(trial.config)
                if brief in first_of:
                    brief += ", " + words_of(replace(trial.config, folds=first_of[brief].folds), first_of[brief])
                moves.append(
                    Move(number, trial.stage, words, brief, *paired, trial.seconds, adopted=trial.score > best.score)
                )
        first_of.setdefault(net_words(trial.config), trial.config)
        if best is None or trial.score > best.score:
            best = trial
    return moves


def lift_of(record: RunRecord, new: ByRow | None, old: ByRow | None) -> tuple[float, float] | None:
    """How much better the new predictions are, and its standard error; None where they share too few rows."""
    if new is None or old is None:
        return None
    both = predicted_rows(new) & predicted_rows(old) & (record.fold_of >= 0)
    rows = thinned(np.flatnonzero(both), ROWS_PAIRED)
    if len(rows) < 20:
        return None
    goal, truth, parts = record.goal, record.truth[rows], parts_of(record, rows)
    first, second = (cross_answers(goal, truth, np.asarray(p[rows], np.float64), parts, quick=True) for p in (new, old))
    true = truth_for(goal, truth)
    lift = goal.score(true, first) - goal.score(true, second)
    return (lift, standard_error(goal, true, first, record.groups_of(rows), second)) if np.isfinite(lift) else None


def ablation(record: RunRecord) -> list[tuple[Trial, float, float]]:
    """(member, what the blend loses without it, stderr): its place is taken by the mean of the others, by weight.

    The blend's own numbers stand as they were learned on all rows; the decision rules are cross-fitted.
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
    whole = Predictions.of(rows, blended(p), len(record.fold_of))
    weights = np.asarray(blend.weights if len(blend.weights) == len(p) else np.ones(len(p)))
    out = []
    for i, member in enumerate(members):
        rest = np.where(np.arange(len(p)) == i, 0.0, weights)
        if member is None or rest.sum() <= 0:
            continue
        others = np.average(p, 0, rest)
        without = blended([others if j == i else each for j, each in enumerate(p)])
        paired = lift_of(record, whole, Predictions.of(rows, without, len(record.fold_of)))
        if paired is not None:
            out.append((member, *paired))
    return out


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
    off = [
        (number_of(t.oof[rows], ()) - record.truth[rows] if numbers else (t.oof[rows] - record.target[rows]).ravel())  # type: ignore[index]
        for t in members
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return members, np.nan_to_num(np.atleast_2d(np.corrcoef(np.stack(off))))


def stage_spans(record: RunRecord) -> list[tuple[float, float, str]]:
    """(from, to, name) of the stages that ran trials, in seconds of budget."""
    starts = [(e["spent"], e["facts"].get("stage") or e["text"]) for e in record.events if e["name"] == "stage"]
    ends = [*(spent for spent, _ in starts[1:]), record.spent]
    ran = {t.stage for t in record.trials}
    return [(start, end, name) for (start, name), end in zip(starts, ends, strict=False) if name in ran and end > start]


def trial_ends(record: RunRecord) -> dict[str, float]:
    """Seconds of budget at which each trial ended, by key; of one that no event is on record of, the sum so far."""
    known = {e["facts"]["trial"]: e["spent"] for e in record.events if e["name"] == "trial" and "trial" in e["facts"]}
    total, ends = 0.0, {}
    for trial in record.trials:
        total += trial.seconds
        ends[trial.key] = known.get(trial.key, total)
    return ends


def blend_scores(record: RunRecord) -> list[tuple[float, float]]:
    """(seconds of budget, score as shown) of each blend that was published."""
    known = [(e["spent"], e["facts"].get("best")) for e in record.events if e["name"] == "blend"]
    return [(spent, best) for spent, best in known if isinstance(best, (int, float)) and np.isfinite(best)]


def time_ledger(record: RunRecord) -> list[tuple[str, float]]:
    """Where the budget went: (what, seconds), in order, from one event to the next."""
    ledger: dict[str, float] = {}
    stage, doing, before = "", "reading and decoding", 0.0
    marks = [(e["spent"], e["name"], e["facts"]) for e in record.events]
    for (spent, name, facts), following in pairwise([*marks, (record.spent, "end", {})]):
        if not ledger:
            ledger[doing] = spent
        if name == "stage":
            stage, doing = facts.get("stage") or "", "planning and measuring"
        elif name == "start":
            doing = f"trials: {facts.get('stage') or stage}"
        elif name == "trial":
            doing = "blending"
        elif name == "blend":
            doing = "planning and measuring"
        elif name == "done":
            doing = "the report"
        elif "report" in facts:
            doing = "idle, between calls"
        before = max(following[0] - spent, 0.0)
        ledger[doing] = ledger.get(doing, 0.0) + before
    return [(what, seconds) for what, seconds in ledger.items() if seconds >= 0.05]
