"""Two pools of members: beside all of them the nets alone, whose own blend has a share in what is predicted.

Out of fold a row is answered by one net of a config, a test row by the mean of all folds' nets. The mean is worth more:
to nets, which differ from fold to fold, more than to heads on frozen features, which hardly do. So weights that are
learned out of fold are too large for features. How much, cannot be seen there; it was seen on rows that no net of a
blend had been trained on (benchmarks/nested.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoclimb.arrays import ByRow, by_blocks
from autoclimb.blend.blenders import BLENDERS, Model
from autoclimb.blend.mixture import mixed
from autoclimb.blend.nested import Nested
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import pooled
from autoclimb.score.decide import learn_rule, rows_to_learn_from
from autoclimb.score.rules import answer

# of the nets' own blend, where it is as good out of fold as that of all members; less by what its loss is above
NETS_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Pool:
    """Blenders of some members, which are `members` of the whole by index.

    `share` is the most that a second pool may have in what is predicted.
    """

    nested: Nested
    members: Sequence[int]
    share: float = NETS_SHARE


def fitted(pools: Sequence[Pool]) -> tuple[Model, np.ndarray]:
    """The model of the pools in their shares, fitted on all rows, and the cross-fitted predictions `(n, C)` of these.

    The first pool is of all members, a second of the nets alone.
    """
    every = pools[0].nested.every
    p = [pool.nested.mixed_predictions(pool.nested.shares, every.rows) for pool in pools]
    shares = _shares(pools, every.truth, p)
    blends = [
        (name, share * own, model | {"picked": [pool.members[i] for i in model["picked"]]})
        for pool, share in zip(pools, shares, strict=False)
        for name, own in pool.nested.shares.items()
        for model in [BLENDERS[name].learn(pool.nested.every)]
    ]
    return mixed(blends), _mean(shares, p)


def answered(pools: Sequence[Pool]) -> np.ndarray:
    """The cross-fitted answers of all rows; the choices among blenders and the pools' shares are cross-fitted too."""
    whole, pieces = pools[0].nested, []
    goal, truth, width = whole.every.goal, whole.every.truth, whole.every.width
    for k in whole.part_names:
        own, some = np.flatnonzero(whole.parts == k), rows_to_learn_from(goal, whole.rows_outside(k), width)
        chosen = [pool.nested.shares_without(k) for pool in pools]
        without = None if whole.few_parts else k
        p = [pool.nested.mixed_predictions(c, some, without) for pool, c in zip(pools, chosen, strict=True)]
        shares = _shares(pools, truth[some], p)
        rule = learn_rule(goal, truth[some], _mean(shares, p), part_of=whole.parts[some])
        models = [pool.nested.mixed_model(c, (k,)) for pool, c in zip(pools, chosen, strict=True)]

        def answers(block: slice, models=models, shares=shares, rule=rule, own=own) -> np.ndarray:
            applied = [pool.nested.applied(m, own[block]) for pool, m in zip(pools, models, strict=True)]
            return answer(rule, _mean(shares, applied))

        pieces.append((own, by_blocks(answers, len(own), width * sum(len(m["picked"]) for m in models))))
    return pooled(pieces, len(whole.parts))


def _shares(pools: Sequence[Pool], truth: ByRow, p: Sequence[np.ndarray]) -> list[float]:
    """The share of each pool, by its cross-fitted predictions of some rows; 0 for nets that are far worse."""
    if len(p) == 1:
        return [1.0]
    goal = pools[0].nested.every.goal
    whole, nets = (float(losses_by_row(goal, truth, predicted).mean()) for predicted in p)
    share = min(max(0.0, pools[1].share - (nets - whole) / max(whole, 1e-12)), 1.0)
    return [1 - share, share] if share else [1.0]


def _mean(shares: Sequence[float], p: Sequence[np.ndarray]) -> np.ndarray:
    """The mean in these shares; a single array as it is."""
    if len(shares) == 1:
        return p[0]
    return shares[0] * p[0] + shares[1] * p[1]
