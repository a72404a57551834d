"""Trials -> members: what a blend is made of, and which of them may be compared."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoclimb.arrays import ByRow, Mean, predicted_rows
from autoclimb.config import Config
from autoclimb.seeds import rng
from autoclimb.types import Trial

FEWEST_ROWS = 20  # on fewer common rows a narrower set of members is not considered
MOST_NETS = 40  # nets of a search, the best: others are hardly ever the best of other rows (assumption)
# What a quick blend looks at: its score's error is then .0035 for an accuracy of .5 in 100 classes, and the blend in
# depth at the end looks at all rows. Without it publishing 100 trials read every row of each picked member four times.
QUICK_CELLS, FEWEST_QUICK = 1 << 21, 5_000


@dataclass(frozen=True, eq=False)
class Member:
    """Trials that differ in nothing but their seed, as one: `oof` and `test` are the means of theirs."""

    trials: tuple[Trial, ...]
    oof: ByRow = field(repr=False)
    test: ByRow = field(repr=False)

    @property
    def is_net(self) -> bool:
        """Whether nets were trained for it, rather than heads on frozen features."""
        return self.trials[0].config.train == "net"

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


def compared_nets(trials: Sequence[Trial], usable: np.ndarray) -> tuple[list[ByRow], np.ndarray]:
    """What the nets that were tried on one fold alone predict, best first, and the `usable` rows `(N,)` of them all.

    It is by these rows that a search chooses which nets are trained over all folds.
    """
    tried = [t for t in trials if t.status == "done" and t.oof is not None and t.config.train == "net"]
    folds = Counter(t.config.folds for t in tried if len(t.config.folds) == 1)
    if not folds:
        return [], np.zeros(len(usable), bool)
    (fold, _), *_ = folds.most_common(1)
    nets = sorted((t for t in tried if t.config.folds == fold), key=lambda t: -t.score)[:MOST_NETS]
    predictions = [t.oof for t in nets if t.oof is not None]
    return predictions, np.logical_and.reduce([usable, *map(predicted_rows, predictions)])


def quick_rows(members: Sequence[Member], usable: np.ndarray) -> np.ndarray:
    """Which rows `(N,)` a quick blend looks at: the usable ones, of very many that members cover some drawn by lot.

    Each row's place in the lot is the same in every blend of a run: while members cover the same rows the same ones are
    looked at, and members that were ranked before are known. Where a trial covers more, they are ranked anew.
    """
    covered = np.flatnonzero(np.logical_or.reduce([predicted_rows(m.oof) for m in members]) & usable)
    most = max(FEWEST_QUICK, QUICK_CELLS // members[0].oof.shape[1])
    if len(covered) <= most:
        return usable
    places = rng(0, "quick rows", len(usable)).random(len(usable))[covered]
    some = np.zeros(len(usable), bool)
    some[covered[np.argpartition(places, most)[:most]]] = True
    return some


def coverages(
    members: list[Member], usable: np.ndarray, looked_at: np.ndarray, most: int
) -> list[tuple[list[Member], np.ndarray]]:
    """Sets of members with the rows `(N,)`, of those `looked_at`, that all of each set cover, most rows first.

    Every distinct coverage of a member gives the set of members that cover at least it. At most `most` sets stay: the
    widest, then those of the most members. Once a net covers all `usable` rows, the widest set alone: an out-of-fold
    prediction is one net's, the test prediction of a net on five folds the mean of five, so a crowd of nets of one fold
    looks better beside it than on the test (simulated: taken in 10 of 15 runs, for .004 to .010 of accuracy).
    """
    covered = [predicted_rows(m.oof) & usable for m in members]
    masks = [rows & looked_at for rows in covered]
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
    nets = [rows for m, rows in zip(members, covered, strict=True) if m.is_net]
    if any(rows.sum() == usable.sum() for rows in nets):  # the lot of a quick blend is no measure of it
        return sets[:1]
    others = [s for s in sets[1:] if s[1].sum() >= FEWEST_ROWS]
    others = sorted(others, key=lambda s: -len(s[0]))[: most - 1]
    return [sets[0], *sorted(others, key=lambda s: -int(s[1].sum()))]


def _mean(arrays: Sequence[ByRow | None]) -> ByRow:
    """The mean, made where it is looked at."""
    known = tuple(p for p in arrays if p is not None)
    return known[0] if len(known) == 1 else Mean(known)
