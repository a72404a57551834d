"""BLENDERS: the ways to combine members, simplest first.

A blender learns a plain dict (json) from Rows and applies it to the predictions of all members on any rows. The dict
holds "picked", the members it reads.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoclimb.blend import boosted, linear, metadata
from autoclimb.blend.rows import Rows
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.rules import answer

Model = dict[str, Any]
# A more complex blend must gain a quarter of the standard error of the paired difference. At equal skill that keeps
# the simpler one in 60 % of cases and halves what choosing among five adds by luck; a whole standard error would throw
# away real gains, which on 2,000 rows are seldom larger. (Reasoned, not measured.)
MARGIN = 0.25
# Columns that mean nothing change little, so luck decides whether they seem to help; and new pictures come without
# them. A whole standard error keeps such columns out in five cases of six.
METADATA_MARGIN = 1.0
PATIENCE = 4  # picks without gain before greedy selection stops; more never paid on 12 members (assumption)


@dataclass(frozen=True)
class Blender:
    """How to learn a combination from rows and to apply it to predictions, one `(M, C)` a picked member.

    `apply` also takes the columns beside the pictures, `(M, K)` or None.
    """

    learn: Callable[[Rows], Model]
    apply: Callable[[Model, Sequence[np.ndarray], np.ndarray | None], np.ndarray]
    fewest_rows: int = 0
    fewest_members: int = 2
    when_quick: bool = True
    margin: float = MARGIN
    needs_metadata: bool = False


def weighted(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The weighted mean `(M, C)` of the predictions."""
    total = np.zeros(predictions[0].shape)
    for weight, p in zip(model["weights"], predictions, strict=True):
        total += weight * np.asarray(p, np.float64)
    return total


def best(rows: Rows) -> Model:
    """The single member of the best score."""
    return {"picked": [rows.ranked[0]], "weights": [1.0]}


def mean(rows: Rows) -> Model:
    """The plain average of the best five members, all where there are fewer."""
    picked = rows.ranked[:5]
    return {"picked": picked, "weights": [1 / len(picked)] * len(picked)}


def greedy(rows: Rows) -> Model:
    """Members picked one by one, repeats allowed, each the one whose addition scores best (Caruana et al. 2004).

    The real metric and its decision rule are inside; the rule is learned once a round, on the average so far. The best
    prefix of at most 25 picks is kept.
    """
    goal, few = rows.goal, rows.few
    members = rows.ranked[: 6 if rows.quick else 12]
    ps = [few.of(i).astype(np.float64) for i in members]
    truth = few.true
    target = truth_for(goal, truth)
    picks, total, kept, top = [0], ps[0].copy(), 1, -np.inf
    while True:
        rule = learn_rule(goal, truth, total / len(picks), quick=True)
        now = goal.score(target, answer(rule, total / len(picks)))
        if now > top + 1e-12:
            top, kept = now, len(picks)
        if len(picks) == (8 if rows.quick else 25) or len(picks) - kept == PATIENCE:
            break
        scores = [goal.score(target, answer(rule, (total + p) / (len(picks) + 1))) for p in ps]
        picks.append(int(np.argmax(scores)))
        total += ps[picks[-1]]
    count = Counter(picks[:kept])
    return {"picked": [members[i] for i in count], "weights": [c / kept for c in count.values()]}


BLENDERS: dict[str, Blender] = {
    "best": Blender(best, weighted, fewest_members=1),
    "mean": Blender(mean, weighted),
    "greedy": Blender(greedy, weighted),
    "linear": Blender(linear.fitted, linear.apply, fewest_rows=50, when_quick=False),
    "lightgbm": Blender(boosted.fitted, boosted.apply, fewest_rows=2000, when_quick=False),
    "linear+metadata": Blender(
        metadata.fitted_linear,
        metadata.apply_linear,
        fewest_rows=50,
        fewest_members=1,
        when_quick=False,
        margin=METADATA_MARGIN,
        needs_metadata=True,
    ),
    "lightgbm+metadata": Blender(
        metadata.fitted_boosted,
        metadata.apply_boosted,
        fewest_rows=2000,
        fewest_members=1,
        when_quick=False,
        margin=METADATA_MARGIN,
        needs_metadata=True,
    ),
}
