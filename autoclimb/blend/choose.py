"""Trials to a Blend: every blender cross-fitted; those that other rows would choose are refitted and averaged."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from autoclimb.arrays import ByRow, Predictions, by_blocks, in_single, working_precision
from autoclimb.blend import mixture
from autoclimb.blend.blenders import BLENDERS, MARGIN, Model, suitable
from autoclimb.blend.members import FEWEST_ROWS, Member, compared_nets, coverages, members_of, quick_rows
from autoclimb.blend.nested import MOST_COMPARED, Nested
from autoclimb.blend.pools import NETS_SHARE, Pool, cross_fitted_answers, fitted
from autoclimb.blend.rows import FEWEST, Beside, Rows, of_rows
from autoclimb.blend.sharpen import sharpened, sharpness
from autoclimb.score.anchored import anchored_score, believed
from autoclimb.score.crossfit import cross_answers, standard_error
from autoclimb.score.decide import learn_rule
from autoclimb.score.intervals import interval
from autoclimb.score.luck import luck_of_best
from autoclimb.score.metrics import best_score
from autoclimb.score.parts import parts_within
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.seeds import some_of
from autoclimb.types import Blend, Trial


@dataclass(frozen=True, eq=False)
class _Candidate:
    """The best blend of one set of members on the rows all of them cover."""

    members: list[Member]
    covered: np.ndarray  # (N,) bool
    oof: np.ndarray = field(repr=False)  # (rows, C), cross-fitted
    answers: np.ndarray = field(repr=False)  # cross-fitted, the choice among blenders too
    tried: dict[str, float]
    model: Model
    rivals: tuple[np.ndarray, ...] = field(default=(), repr=False)  # cross-fitted answers of each blender tried


def blend_of(
    trials: Sequence[Trial],
    train: TrainRows,
    *,
    allow: Collection[str] | None = None,
    quick: bool = False,
    own_scores: dict[tuple[str, str], float] | None = None,
    nets_share: float = NETS_SHARE,
) -> Blend:
    """The blend of the finished trials with the best cross-fitted score; simpler blends are preferred where close.

    Where rows cannot tell which of several blends is best, it is their mean (`Nested.shares`).
    `score` is of answers for which weights, decision rule and the choices of blenders and of the set of trials were,
    for each part of the rows, learned on the other parts (`Nested`). The interval's lower end allows for nets having
    been chosen by a search on one fold (not in a `quick` blend).

    `oof` is the chosen blenders', cross-fitted; the rule for the test rows is to be learned on it. Trials may cover
    different rows: all trials on their common rows are compared with the widely covered ones, on the rows both have.
    `allow` names the rows of BLENDERS to consider; `quick` leaves out those that would take long, shortens the rest and
    looks at some of very many rows. `own_scores` is filled: with it the next call ranks the trials that it knows
    without looking at them. `nets_share` is the share of the nets' own blend beside features where it is as good out of
    fold (`pools`); 0 for none.
    """
    members = members_of(trials)
    assert members, "no finished trial to blend"
    assert allow is None or set(allow) <= set(BLENDERS), f"blenders are {', '.join(BLENDERS)}"
    usable = train.part_of >= 0
    looked_at = quick_rows(members, usable) if quick else usable
    own_scores = {} if own_scores is None else own_scores
    with threadpool_limits(1):  # on two busy cores threads wait for each other: 2 s a stacker instead of .1
        candidates = (
            _candidate(train, some, covered, allow, quick, own_scores, nets_share)
            for some, covered in coverages(members, usable, looked_at, 2 if quick else 3)
        )
        widest = winner = next(candidates)
        for candidate in candidates:
            winner = _better(train, winner, candidate)
        luck = 0.0 if quick else _luck(train, trials, winner)
        return _refitted(train, winner, widest, luck)


def apply_blend(
    blend: Blend | Mapping[str, Any], predictions: Sequence[ByRow], beside: np.ndarray | None = None
) -> np.ndarray:
    """The blend's predictions `(M, C)` for new pictures, given its members', each `(M, C)`, in the order of `members`.

    Takes a Blend or what its `stacker` holds. `beside` are the new pictures' metadata `(M, K)`; without them a blend
    that was fitted with metadata answers by the linear stacker beneath.
    """
    if not len(predictions[0]):
        return np.zeros(predictions[0].shape)
    model = dict(blend.stacker if isinstance(blend, Blend) else blend.get("stacker", blend))

    def applied(rows: slice) -> np.ndarray:
        p = [in_single(np.asarray(member[rows])) for member in predictions]
        combined = [p[at[0]] if len(at) == 1 else np.mean([p[i] for i in at], axis=0) for at in model["seeds"]]
        blended = mixture.apply(model, combined, None if beside is None else beside[rows])
        return sharpened(model["kind_of_task"], blended, model["sharpness"])

    count, width = predictions[0].shape
    precision = working_precision(count * width, predictions[0])
    return by_blocks(applied, count, width * len(predictions), precision)  # of all members at a time


def needs_metadata(blend: Blend) -> bool:
    """Whether the blend was fitted with columns beside the pictures."""
    return any(blender.needs_metadata for blender in mixture.blenders_in(blend.stacker | {"method": blend.method}))


def _candidate(
    train: TrainRows,
    members: list[Member],
    covered: np.ndarray,
    allow: Collection[str] | None,
    quick: bool,
    own_scores: dict[tuple[str, str], float],
    nets_share: float,
) -> _Candidate:
    rows = np.flatnonzero(covered)
    on_rows = hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()
    every = Rows(
        train.goal,
        predictions=tuple(of_rows(m.oof, rows, len(members)) for m in members),
        truth=train.truth[rows],
        rows=np.arange(len(rows)),
        beside=Beside.of(train.metadata, rows),
        groups=train.groups_of(rows),
        names=tuple(" ".join([*(t.key for t in m.trials), on_rows]) for m in members),
        own_scores=own_scores,
    )
    nested = Nested(every, train.parts(rows, 3 if quick else 5), suitable(every, allow, quick), quick)
    if len(nested.part_names) < 2:  # one row, or one group of rows: there is nothing to cross-fit
        model = mixture.mixed([("best", 1.0, BLENDERS["best"].learn(every))])
        oof = np.asarray(every.predictions[model["picked"][0]][:], np.float64)
        return _Candidate(members, covered, oof, answer(learn_rule(train.goal, every.truth, oof), oof), {}, model)
    target = nested.target[nested.compared]
    tried = {name: train.goal.score(target, answers) for name, answers in nested.answers_tried.items()}
    rivals = tuple(nested.answers_tried.values()) if len(nested.compared) == len(rows) else ()
    pools = _pools(nested, members, allow) if nets_share else [Pool(nested, range(len(members)))]
    model, oof = fitted(pools, nets_share)
    answers = cross_fitted_answers(pools, nets_share)
    return _Candidate(members, covered, oof, answers, tried, model, rivals)


def _pools(whole: Nested, members: Sequence[Member], allow: Collection[str] | None) -> list[Pool]:
    """All members, and where several folds' nets answer test rows beside frozen features, the nets alone."""
    nets = [i for i, m in enumerate(members) if m.is_net]
    everything = Pool(whole, range(len(members)))
    if len(nets) in (0, len(members)) or min(members[i].nets for i in nets) < 2:
        return [everything]
    every = whole.every.of_members(nets)
    names = tuple(name for name in suitable(every, allow, whole.quick) if not BLENDERS[name].slow) or ("best",)
    return [everything, Pool(Nested(every, whole.parts, names, whole.quick), nets)]


def _better(train: TrainRows, wide: _Candidate, narrow: _Candidate) -> _Candidate:
    """The narrower candidate where its gain on the common rows is beyond the margin, else the wider one.

    For each part of those rows its answers are by the choice that the other parts make, so that none is promised what
    it was chosen for.
    """
    common = narrow.covered & wide.covered
    if common.sum() < FEWEST_ROWS:
        return wide
    goal, target = train.goal, train.target(common)
    ours, theirs = narrow.answers[common[narrow.covered]], wide.answers[common[wide.covered]]
    margin = MARGIN * standard_error(goal, target, ours, train.groups_of(common), theirs)

    def narrow_wins(rows: np.ndarray) -> bool:
        gain = goal.score(target[rows], ours[rows]) - goal.score(target[rows], theirs[rows])
        return gain > margin and gain > 0

    parts = train.parts(common, 5)
    pooled = np.array(theirs)
    for k in np.unique(parts):
        if narrow_wins(parts != k):
            pooled[parts == k] = ours[parts == k]
    winner = narrow if narrow_wins(np.ones(len(target), bool)) else wide
    answers = np.array(winner.answers)
    answers[common[winner.covered]] = pooled
    return replace(winner, answers=answers)


def _luck(train: TrainRows, trials: Sequence[Trial], winner: _Candidate) -> float:
    """How much too good the winner's score may be since its nets were the best of many on some of its rows, 0 or more.

    The choice among members is nested; which nets became members is not: a search compares them on one fold and
    trains the best over all. This is the most it can be, as a search that doubts what it sees chooses less by luck.
    """
    nets, compared = compared_nets(trials, winner.covered)
    over_several = any(t.config.train == "net" and len(t.config.folds) > 1 for m in winner.members for t in m.trials)
    if len(nets) < 2 or not over_several or compared.sum() < FEWEST_ROWS:
        return 0.0
    rows = np.flatnonzero(compared)
    some = rows[some_of(len(rows), max(FEWEST, MOST_COMPARED // nets[0].shape[1]), "luck")]
    groups, truth = train.groups_of(some), train.truth[some]
    parts = parts_within(np.zeros(len(some), int), 0, groups)
    answers = [cross_answers(train.goal, truth, in_single(p[some]), parts, quick=True) for p in nets]
    luck = luck_of_best(train.goal, train.target(some), answers, groups)
    return luck * float(np.sqrt(len(some) / len(rows)) * len(rows) / winner.covered.sum())


@dataclass(frozen=True)
class _Promise:
    """What a candidate is promised to score on new rows; higher is better."""

    score: float
    stderr: float
    interval: tuple[float, float]


def _promise(train: TrainRows, winner: _Candidate, widest: _Candidate, luck: float) -> _Promise:
    """The winner's cross-fitted score, anchored in the widest candidate's where that covers more rows.

    It may be too high by `luck`, so that the interval reaches as far down.
    """
    goal, true, groups = train.goal, train.target(winner.covered), train.groups_of(winner.covered)
    score, stderr = goal.score(true, winner.answers), standard_error(goal, true, winner.answers, groups)
    low, high = interval(goal, true, winner.answers, groups, winner.rivals)
    low -= luck
    common = winner.covered & widest.covered
    if not (widest.covered & ~common).any() or common.sum() < FEWEST_ROWS:
        return _Promise(score, stderr, (low, high))
    answers = winner.answers[common[winner.covered]]
    of_widest, all_groups = train.target(widest.covered), train.groups_of(widest.covered)
    anchored = anchored_score(goal, of_widest, common[widest.covered], answers, widest.answers, all_groups)
    promised = believed(goal.score(of_widest, widest.answers), anchored)
    narrower = min(1.0, anchored.stderr / stderr) if stderr > 0 else 1.0
    high = min(promised + narrower * (high - score), best_score(goal.metric))
    return _Promise(promised, anchored.stderr, (promised + narrower * (low - score), high))


def _refitted(train: TrainRows, winner: _Candidate, widest: _Candidate, luck: float) -> Blend:
    goal = train.goal
    members = [winner.members[i] for i in winner.model["picked"]]
    trials = [trial for member in members for trial in member.trials]
    ends = np.cumsum([len(m.trials) for m in members]).tolist()
    stacker = {name: value for name, value in winner.model.items() if name != "picked"} | {
        "kind_of_task": goal.kind,
        "seeds": [list(range(end - len(m.trials), end)) for m, end in zip(members, ends, strict=True)],
        "sharpness": 1.0,
    }
    tests = [t.test for t in trials if t.test is not None]
    test = apply_blend(stacker, tests, None if train.metadata is None else train.metadata.test)
    if not goal.metric.order_only and max(m.nets for m in members) > 1:
        stacker["sharpness"] = sharpness(goal.kind, winner.oof, test)
        test = sharpened(goal.kind, test, stacker["sharpness"])
    promise = _promise(train, winner, widest, luck)
    weights = zip(members, mixture.weights_in(stacker, len(members)), strict=False)  # none of a stacker
    return Blend(
        method=stacker["method"],
        members=tuple(t.key for t in trials),
        weights=tuple(w / len(m.trials) for m, w in weights for _ in m.trials),
        oof=Predictions.of(np.flatnonzero(winner.covered), winner.oof, len(winner.covered)),
        test=test,
        score=promise.score,
        stderr=promise.stderr,
        interval=promise.interval,
        rows=int(winner.covered.sum()),
        tried=winner.tried,
        stacker=stacker,
    )
