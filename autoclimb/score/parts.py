"""Rows in parts and in lots, those of one group always together: on both sides of a split they would confirm anything.

Pictures of one patient, one site, one sequence are alike, so that whatever was learned from some of them seems to hold
for the others. Every split of rows that something is chosen, learned or scored by is one of these.
"""

from collections.abc import Iterator

import numpy as np

from autoclimb.seeds import rng

MOST_DRAWN, FEWEST_DRAWN = 20_000, 500  # cells of the answers that a resample takes, and rows, if those are more


def groups_that_differ(groups: np.ndarray | None) -> np.ndarray | None:
    """The groups, None where all rows are of one: it cannot say how groups differ, its rows say the least they can."""
    return None if groups is None or (groups == groups[:1]).all() else groups


def unit_of(n: int, groups: np.ndarray | None) -> np.ndarray:
    """`(n,)` which unit each row belongs to, from 0 on: its group, or itself where rows count one by one."""
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def units_of(n: int, groups: np.ndarray | None) -> int | list[np.ndarray]:
    """What is drawn as one: `n` rows, or the row indices of each group."""
    if groups is None:
        return n
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def dealt(n: int, parts: int, groups: np.ndarray | None, *purpose: str) -> np.ndarray:
    """`(n,)` which of so many parts each row is in, dealt by lot; rows of one of `groups` `(n,)` go together.

    Rows of a single group are dealt one by one: what was learned on the very rows that it is scored on would be less
    honest still. scikit-learn's GroupKFold raises there, and wherever groups are fewer than parts.
    """
    unit = unit_of(n, groups_that_differ(groups))
    count = int(unit.max(initial=-1)) + 1
    return (rng(0, *purpose, count).permutation(count) % parts)[unit]


def parts_within(part_of: np.ndarray, most: int = 0, groups: np.ndarray | None = None) -> np.ndarray:
    """A partition `(n,)` with at least three parts where rows allow it, so that one can be left out and two remain.

    The given one, its parts halved by lot where it has two; five parts drawn by lot where it has but one. Few parts are
    what remains when only one or two folds were predicted; those predictions are out-of-fold all the same, so any split
    of the rows is honest that keeps `groups` together. A rule that is tried on parts before it is taken is then scored
    as it is learned for new pictures. `most` merges parts down to that many.
    """
    names, places = np.unique(part_of, return_inverse=True)
    if len(names) == 2:
        halves, groups = np.zeros_like(places), groups_that_differ(groups)
        for inside in (places == 0, places == 1):
            own = None if groups is None else groups[inside]
            if own is None or groups_that_differ(own) is not None:  # a part that is one group of several stays whole
                halves[inside] = dealt(int(inside.sum()), 2, own, "halves of parts")
        places = np.unique(2 * places + halves, return_inverse=True)[1]
    elif len(names) < 2:
        units = int(unit_of(len(part_of), groups_that_differ(groups)).max()) + 1
        places = dealt(len(part_of), min(5, max(2, units)), groups, "parts")
    return places % most if most and places.max() >= most else places


def parts_to_try(n: int, part_of: np.ndarray | None, most: int, *purpose: str) -> np.ndarray:
    """`(n,)` parts to learn a rule without and to try it on: the given ones, merged to `most`; dealt if none are given.

    A single part stays one: whoever gave it could not divide its rows, and so nothing can be tried on them.
    """
    if part_of is None:
        return dealt(n, most, None, *purpose)
    return np.unique(part_of, return_inverse=True)[1] % most


def share_drawn(n: int, answers: np.ndarray) -> float:
    """The share of `n` rows, or of their groups, that is enough to score `answers` `(., C)` on many resamples.

    Scores on fewer rows vary more: their deviations are those of all rows divided by the root of this share.
    """
    width = answers.shape[1] if answers.ndim == 2 else 1
    return min(1.0, max(FEWEST_DRAWN, MOST_DRAWN // width) / n)


def resamples(n: int, units: int | list[np.ndarray], times: int, share: float = 1.0) -> Iterator[np.ndarray]:
    """Row indices drawn with replacement, `times` times: rows, or whole groups of them."""
    lots = rng(0, "resample", n)
    count = len(units) if isinstance(units, list) else units
    for _ in range(times):
        drawn = lots.integers(0, count, max(2, round(share * count)))
        yield np.concatenate([units[i] for i in drawn]) if isinstance(units, list) else drawn
