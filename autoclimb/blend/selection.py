"""Greedy selection of members, with the real metric and its decision rule inside (Caruana et al. 2004)."""

from collections import Counter
from typing import Any

import numpy as np

from autoclimb.blend.rows import Rows
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.rules import answer
from autoclimb.seeds import rng

PATIENCE = 4  # picks without gain before selection stops; more are not expected to help (assumption)
MOST_PICKS = 25
MOST_MEMBERS = 40  # the best by their own score are candidates, so that the time of a blend is bounded
BAGS = 3  # each has two members of three and a third of the rows: together they cost about one pass over everything


def greedy(rows: Rows) -> dict[str, Any]:
    """Members picked one by one, with repeats, each the one whose addition scores best; weights are shares of picks.

    Picks are averaged over several bags of members and rows, since luck leads a single pass where members are many. The
    rule is learned once a round, on the mean so far. Each bag's picks end at its best mean of at most MOST_PICKS.
    """
    few, members = rows.few, sorted(rows.ranked[:MOST_MEMBERS])
    count = len(members)
    weights: dict[int, float] = {}
    bags = BAGS if count > 3 else 1
    random = rng(0, "bags", count)
    for _ in range(bags):
        sample = random.permutation(count)[: -(-2 * count // 3)].tolist()
        bag = sorted({rows.ranked[0], *(members[i] for i in sample)}) if bags > 1 else members
        some = few.at_most(len(few.rows) * few.width / few.effort / bags, few.width)
        picks = _picked(some, bag, rows.ranked[0])
        for member, times in picks.items():
            weights[member] = weights.get(member, 0.0) + times / picks.total() / bags
    return {"picked": list(weights), "weights": list(weights.values())}


def _picked(rows: Rows, members: list[int], first: int) -> Counter[int]:
    """How often each member was picked, from the best one on."""
    goal, truth = rows.goal, rows.true
    ps = [rows.of(i).astype(np.float64) for i in members]
    target = truth_for(goal, truth)
    picks, best_count, best_score = [members.index(first)], 1, -np.inf
    total = ps[picks[0]].copy()
    while True:
        rule = learn_rule(goal, truth, total / len(picks), quick=True)
        score = goal.score(target, answer(rule, total / len(picks)))
        if score > best_score + 1e-12:
            best_score, best_count = score, len(picks)
        if len(picks) == MOST_PICKS or len(picks) - best_count == PATIENCE:
            break
        scores = [goal.score(target, answer(rule, (total + p) / (len(picks) + 1))) for p in ps]
        picks.append(int(np.argmax(scores)))
        total += ps[picks[-1]]
    return Counter(members[i] for i in picks[:best_count])
