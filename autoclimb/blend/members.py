"""Trials -> members: what a blend is made of, and which of them may be compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoclimb.arrays import ByRow, Mean, predicted_rows
from autoclimb.types import Config, Trial

FEWEST_ROWS = 20  # on fewer common rows a narrower set of members is not considered


@dataclass(frozen=True, eq=False)
class Member:
    """Trials that differ in nothing but their seed, as one: `oof` and `test` are the means of theirs."""

    trials: tuple[Trial, ...]
    oof: ByRow = field(repr=False)
    test: ByRow = field(repr=False)

    @property
    def nets(self) -> int:
        """Nets that a test prediction is the mean of; an out-of-fold one is of one net a trial."""
        return len(self.trials[0].config.folds)


def members_of(trials: Sequence[Trial]) -> list[Member]:
    """The finished trials, those of one config but for the seed averaged: near-copies would crowd out the others."""
    alike: dict[Config, list[Trial]] = {}
    for trial in trials:
        if trial.status == "done" and trial.oof is not None and trial.test is not None:
            alike.setdefault(trial.config.vary(seed=0), []).append(trial)
    return [Member(tuple(some), _mean([t.oof for t in some]), _mean([t.test for t in some])) for some in alike.values()]


def coverages(members: list[Member], usable: np.ndarray, most: int) -> list[tuple[list[Member], np.ndarray]]:
    """Sets of members with the rows `(N,)` that all of each set cover, most rows first.

    Every distinct coverage of a member gives the set of members that cover at least it. At most `most` sets stay: the
    widest, then those of the most members. Once a net covers all rows, the widest set alone: an out-of-fold prediction
    is one net's, the test prediction of a net on five folds the mean of five, so a crowd of nets of one fold looks
    better beside it than on the test (simulated: taken in 10 of 15 runs, for .004 to .010 of accuracy).
    """
    masks = [predicted_rows(m.oof) & usable for m in members]
    distinct = {mask.tobytes(): mask for mask in masks if mask.any()}
    assert distinct, "no row was predicted by a finished trial"
    # where nets were trained on different folds, what all of them share may be a row set that no single member has
    shared = np.logical_and.reduce(list(distinct.values()))
    if shared.sum() >= FEWEST_ROWS:
        distinct[shared.tobytes()] = shared
    sets = [
        ([m for m, mask in zip(members, masks, strict=True) if not (rows & ~mask).any()], rows)
        for rows in distinct.values()
    ]
    sets.sort(key=lambda s: -int(s[1].sum()))
    whole, rows = sets[0]
    if rows.sum() == usable.sum() and any(m.trials[0].config.train == "net" for m in whole):
        return sets[:1]
    others = [s for s in sets[1:] if s[1].sum() >= FEWEST_ROWS]
    others = sorted(others, key=lambda s: -len(s[0]))[: most - 1]
    return [sets[0], *sorted(others, key=lambda s: -int(s[1].sum()))]


def _mean(arrays: Sequence[ByRow | None]) -> ByRow:
    """The mean, made where it is looked at."""
    known = tuple(p for p in arrays if p is not None)
    return known[0] if len(known) == 1 else Mean(known)
