"""Two pools of members: beside all of them the nets alone, whose own blend has a share in what is predicted.

Out of fold a row is predicted by one net of a config, a test row by the mean of all folds' nets. The mean is worth
more: to nets, which differ from fold to fold, more than to heads on frozen features, which hardly do. So weights that
are learned out of fold are too large for features. How much, cannot be seen there; it was seen on rows that no net of
a blend had been trained on (benchmarks/nested.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoclimb.arrays import by_blocks
from autoclimb.blend.blenders import BLENDERS, Model
from autoclimb.blend.mixture import mixed
from autoclimb.blend.nested import Nested
from autoclimb.blend.rows import own_score
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import pooled
from autoclimb.score.decide import learn_rule, rows_to_learn_from
from autoclimb.score.metrics import best_score
from autoclimb.score.rules import answer
from autoclimb.types import Goal

# Of the nets' own blend where its loss out of fold is that of all members' blend; less by the excess of its loss. In 34
# blends of three sets that took .2 to 1.6 % off the loss on folds left out; twice the loss gives none (LOG.md).
NETS_SHARE = 0.4
TINY = 1e-12  # a loss of none at all


@dataclass(frozen=True, eq=False)
class Pool:
    """Blenders of some members, which are `members` of the whole by index."""

    nested: Nested
    members: Sequence[int]


def fitted(pools: Sequence[Pool], most: float) -> tuple[Model, np.ndarray]:
    """The model of the pools in their shares, fitted on all rows, and the cross-fitted predictions `(n, C)` of these.

    The first pool is of all members; a second, of the nets alone, has a share of at `most` so much.
    """
    every = pools[0].nested.every
    p = [pool.nested.mixed_predictions(pool.nested.shares, every.rows) for pool in pools]
    shares = _shares(every.goal, every.truth, p, most)
    blends: dict[str, tuple[str, float, Model]] = {}
    for pool, share in zip(pools, shares, strict=False):  # nets without a share are left out
        for name, own in pool.nested.shares.items():
            model = BLENDERS[name].learn(pool.nested.every)
            model |= {"picked": [pool.members[i] for i in model["picked"]]}
            key = json.dumps([name, model])  # where a net is the best of all, both pools consist of it
            known = blends[key][1] if key in blends else 0.0
            blends[key] = (name, known + share * own, model)
    return mixed(list(blends.values())), _mean(shares, p)


def cross_fitted_answers(pools: Sequence[Pool], most: float) -> np.ndarray:
    """The cross-fitted answers of all rows; the choices among blenders and the pools' shares are cross-fitted too."""
    whole, pieces = pools[0].nested, []
    goal, truth, width = whole.every.goal, whole.every.truth, whole.every.width
    for k in whole.part_names:
        own, some = np.flatnonzero(whole.parts == k), rows_to_learn_from(goal, whole.rows_outside(k), width)
        chosen = [pool.nested.shares_without(k) for pool in pools]
        without = None if whole.few_parts else k
        p = [pool.nested.mixed_predictions(c, some, without) for pool, c in zip(pools, chosen, strict=True)]
        shares = _shares(goal, truth[some], p, most)
        rule = learn_rule(goal, truth[some], _mean(shares, p), part_of=whole.parts[some])
        models = [pool.nested.mixed_model(c, (k,)) for pool, c in zip(pools, chosen, strict=True)]

        def answers(block: slice, models=models, shares=shares, rule=rule, own=own) -> np.ndarray:
            applied = [pool.nested.applied(m, own[block]) for pool, m in zip(pools, models, strict=True)]
            return answer(rule, _mean(shares, applied))

        pieces.append((own, by_blocks(answers, len(own), width * sum(len(m["picked"]) for m in models))))
    return pooled(pieces, len(whole.parts))


def _shares(goal: Goal, truth: np.ndarray, p: Sequence[np.ndarray], most: float) -> list[float]:
    """The share of each pool, by its cross-fitted predictions of some rows; nets that are far worse have none."""
    if len(p) == 1:
        return [1.0]
    whole, nets = (_loss(goal, truth, predicted) for predicted in p)
    share = min(max(0.0, most - (nets - whole) / max(whole, TINY)), most)
    return [1 - share, share] if share else [1.0]


def _loss(goal: Goal, truth: np.ndarray, p: np.ndarray) -> float:
    """The mean loss by row; of a metric of order alone, for which ranks and probabilities are alike, what it lacks."""
    if goal.metric.order_only:
        return best_score(goal.metric) - own_score(goal, truth, p)
    return float(losses_by_row(goal, truth, p).mean())


def _mean(shares: Sequence[float], p: Sequence[np.ndarray]) -> np.ndarray:
    """The mean in these shares; a single array as it is."""
    if len(shares) == 1:
        return p[0]
    return shares[0] * p[0] + shares[1] * p[1]
