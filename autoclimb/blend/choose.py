"""Trials to a Blend: every blender cross-fitted, the simplest that does as well taken and refitted on all rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoclimb.blend.blenders import BLENDERS, MARGIN, Model
from autoclimb.blend.rows import Beside, Rows
from autoclimb.score.crossfit import (
    cross_answers,
    cross_fit,
    parts_within,
    standard_error,
    standard_error_of_difference,
)
from autoclimb.score.decide import truth_for
from autoclimb.types import Blend, Goal, Metadata, Trial

FEWEST_ROWS = 20  # on fewer common rows a narrower set of trials is not considered


@dataclass(frozen=True, eq=False)
class _Candidate:
    """The best blend of one set of trials on the rows all of them cover."""

    trials: list[Trial]
    kept: np.ndarray  # (N,) bool
    method: str
    oof: np.ndarray = field(repr=False)  # (rows, C), cross-fitted
    answers: np.ndarray = field(repr=False)  # cross-fitted, the choice of the blender too
    tried: dict[str, float]
    model: Model


def blend_of(
    trials: Sequence[Trial],
    goal: Goal,
    truth: np.ndarray,
    part_of: np.ndarray,
    *,
    allow: Collection[str] | None = None,
    quick: bool = False,
    metadata: Metadata | None = None,
) -> Blend:
    """The blend of the finished trials with the best cross-fitted score; simpler blends are preferred where close.

    `score` is of answers for which weights, decision rule and the choice of the blender were, for each part of the
    rows, learned on the other parts. The choice looks at blends fitted with the part it is for, a second-order leak: 40
    runs of pure noise, 100 rows, claimed 0.521 +- 0.012 accuracy, each blender alone 0.496 to 0.504.

    `oof` is the chosen blender's, cross-fitted; the rule for the test rows is to be learned on it. Trials may cover
    different rows: all trials on their common rows are compared with the widely covered ones, on the rows both have.
    `allow` names the rows of BLENDERS to consider; `quick` leaves out the stackers and shortens the rest. `metadata`
    are columns of the train rows and of the test rows; stackers that read them are tried where there are any.
    """
    done = [t for t in trials if t.status == "done" and t.oof is not None and t.test is not None]
    assert done, "no finished trial to blend"
    assert allow is None or set(allow) <= set(BLENDERS), f"blenders are {', '.join(BLENDERS)}"
    winner: _Candidate | None = None
    for some, kept in _coverages(done, part_of >= 0, 2 if quick else 3):
        candidate = _candidate(goal, some, kept, truth, part_of, allow, quick, metadata)
        if winner is None or _beats(goal, candidate, winner, truth):
            winner = candidate
    assert winner is not None
    return _refitted(goal, winner, truth, metadata)


def apply_blend(
    blend: Blend | Mapping[str, Any], predictions: Sequence[np.ndarray], beside: np.ndarray | None = None
) -> np.ndarray:
    """The blend's predictions `(M, C)` for new pictures, given its members', each `(M, C)`, in the order of `members`.

    Takes a Blend or what its `stacker` holds. `beside` are the new pictures' metadata `(M, K)`; without them a blend
    that was fitted with metadata answers by the linear stacker beneath.
    """
    if not len(predictions[0]):
        return np.zeros_like(predictions[0])
    model = dict(blend.stacker if isinstance(blend, Blend) else blend.get("stacker", blend))
    return BLENDERS[model["method"]].apply(model, predictions, beside)


def needs_metadata(blend: Blend) -> bool:
    """Whether the blend was fitted with columns beside the pictures."""
    return BLENDERS[blend.method].needs_metadata


def _coverages(done: list[Trial], usable: np.ndarray, most: int) -> list[tuple[list[Trial], np.ndarray]]:
    """Sets of trials with the rows that all of each set cover, most rows first.

    Every distinct coverage of a trial gives the set of trials that cover at least it. At most `most` sets stay: the
    widest, then those of the most trials.
    """
    masks = [np.isfinite(np.asarray(t.oof)).all(1) & usable for t in done]
    distinct = {m.tobytes(): m for m in masks if m.any()}
    assert distinct, "no row was predicted by a finished trial"
    # where nets were trained on different folds, what all of them share may be a row set that no single trial has
    shared = np.logical_and.reduce(list(distinct.values()))
    if shared.sum() >= FEWEST_ROWS:
        distinct[shared.tobytes()] = shared
    sets = [
        ([t for t, m in zip(done, masks, strict=True) if not (kept & ~m).any()], kept) for kept in distinct.values()
    ]
    sets.sort(key=lambda s: -int(s[1].sum()))
    others = [s for s in sets[1:] if s[1].sum() >= FEWEST_ROWS]
    others = sorted(others, key=lambda s: -len(s[0]))[: most - 1]
    return [sets[0], *sorted(others, key=lambda s: -int(s[1].sum()))]


def _candidate(
    goal: Goal,
    trials: list[Trial],
    kept: np.ndarray,
    truth: np.ndarray,
    part_of: np.ndarray,
    allow: Collection[str] | None,
    quick: bool,
    metadata: Metadata | None,
) -> _Candidate:
    predictions = tuple(np.asarray(t.oof)[kept] for t in trials)
    true, parts = truth[kept], parts_within(part_of[kept], 3 if quick else 5)
    target = truth_for(goal, true)
    beside = None if metadata is None else Beside(metadata.train[kept], tuple(map(len, metadata.categories)))
    fits: dict[int, Rows] = {}  # by part left out, so that all blenders share one ranking of the members

    def rows_of(rows: np.ndarray) -> Rows:
        left_out = int(parts[~rows][0])
        if left_out not in fits:
            fits[left_out] = Rows(goal, predictions, true, np.flatnonzero(rows), quick, beside)
        return fits[left_out]

    names = [
        name
        for name, b in BLENDERS.items()
        if (allow is None or name in allow)
        and len(trials) >= b.fewest_members
        and len(true) >= b.fewest_rows
        and (b.when_quick or not quick)
        and (beside is not None or not b.needs_metadata)
    ] or ["best"]
    oofs, answers = {}, {}
    for name in names:
        blender = BLENDERS[name]
        oofs[name] = (
            np.asarray(predictions[0], np.float64)
            if len(true) == 1 or (len(trials) == 1 and not blender.needs_metadata)
            else cross_fit(
                parts,
                lambda rows, b=blender: b.learn(rows_of(rows)),  # type: ignore[misc]
                lambda model, rows, b=blender: b.apply(  # type: ignore[misc]
                    model,
                    [predictions[i][rows] for i in model["picked"]],
                    None if beside is None else beside.values[rows],
                ),
            )
        )
        answers[name] = cross_answers(goal, true, oofs[name], parts, quick=quick)
    tried = {name: goal.score(target, a) for name, a in answers.items()}
    chosen = _simplest(goal, target, answers)
    everyone = np.ones(len(true), bool)
    method = chosen(everyone)
    by_part = {int(k): chosen(parts != k) if len(names) > 1 else method for k in np.unique(parts)}
    if quick:  # the choice was made with quick rules, the score is of the real ones
        answers = {name: cross_answers(goal, true, oofs[name], parts) for name in {*by_part.values(), method}}
    pooled = answers[method].copy()
    for k, name in by_part.items():
        pooled[parts == k] = answers[name][parts == k]
    model = BLENDERS[method].learn(Rows(goal, predictions, true, np.arange(len(true)), quick, beside))
    return _Candidate(trials, kept, method, oofs[method], pooled, tried, model | {"method": method})


def _simplest(goal: Goal, target: np.ndarray, answers: dict[str, np.ndarray]) -> Any:
    """A function from rows to the name of the blender to take by these rows."""
    errors: dict[tuple[str, str], float] = {}  # of differences, over all rows: only scores depend on the rows asked

    def chosen(rows: np.ndarray) -> str:
        names = list(answers)
        scores = {name: goal.score(target[rows], answers[name][rows]) for name in names}
        now = names[0]
        for name in names[1:]:
            if scores[name] <= scores[now]:
                continue
            if (now, name) not in errors:
                errors[now, name] = standard_error_of_difference(goal, target, answers[name], answers[now])
            if scores[name] > scores[now] + BLENDERS[name].margin * errors[now, name]:
                now = name
        return now

    return chosen


def _beats(goal: Goal, narrow: _Candidate, wide: _Candidate, truth: np.ndarray) -> bool:
    """Whether the narrower candidate's gain on the common rows is beyond the margin; without such rows it is not."""
    common = narrow.kept & wide.kept
    if common.sum() < FEWEST_ROWS:
        return False
    true = truth_for(goal, truth)[common]
    ours, theirs = narrow.answers[common[narrow.kept]], wide.answers[common[wide.kept]]
    gain = goal.score(true, ours) - goal.score(true, theirs)
    return gain > MARGIN * standard_error_of_difference(goal, true, ours, theirs) and gain > 0


def _refitted(goal: Goal, winner: _Candidate, truth: np.ndarray, metadata: Metadata | None) -> Blend:
    members = [winner.trials[i] for i in winner.model["picked"]]
    stacker = {name: value for name, value in winner.model.items() if name != "picked"}
    target = truth_for(goal, truth)[winner.kept]
    oof = np.full((len(truth), winner.oof.shape[1]), np.nan)
    oof[winner.kept] = winner.oof
    plain = winner.method in ("best", "mean", "greedy")
    return Blend(
        method=winner.method,
        members=tuple(t.key for t in members),
        weights=tuple(stacker["weights"]) if plain else (),
        oof=oof,
        test=apply_blend(stacker, [np.asarray(t.test) for t in members], None if metadata is None else metadata.test),
        score=goal.score(target, winner.answers),
        stderr=standard_error(goal, target, winner.answers),
        rows=int(winner.kept.sum()),
        tried=winner.tried,
        stacker=stacker,
    )
