"""Stages of the alternatives to a search: one net for all of the time, and random search.

The recipes `fixed` and `random-search` consist of them; they are the baselines for every change of the plan.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from autoclimb.search.capacity import within_memory
from autoclimb.search.fidelity import (
    LONG,
    Level,
    at_its_size,
    epochs_for,
    epochs_in,
    fold_seconds,
    folds_of,
    sizes_for,
    with_size,
)
from autoclimb.search.finals import fitted_in, least_again, most_epochs, usable
from autoclimb.search.frozen import SHORT
from autoclimb.search.portfolio import tta_for
from autoclimb.search.situation import Situation
from autoclimb.search.starting import candidates, is_other_scratch
from autoclimb.types import Config, History

DRAWING_SHARE = 1 / 3  # of the time for the draws of a random search; the rest is the best draw's
FEWEST_DRAWS, MOST_DRAWS = 3, 30
MOST_SEEDS = 1000  # a bound for budgets of days on a fast card
POLICIES = ("flip", "affine", "medium", "trivial")
MIXING: tuple[dict[str, Any], ...] = ({}, {"mixup": 0.3}, {"cutmix": 1.0})


def one_net(history: History, s: Situation) -> Iterator[list[Config]]:
    """The largest net and size that can be trained soundly over all folds in the time, with flips and one cycle."""
    row = s.remember("one net", lambda: largest_paid(s).to_json())
    yield from for_the_rest(Config.from_json(row), s)


def largest_paid(s: Situation) -> Config:
    """The largest net and size that get sound epochs on all folds, else enough epochs, else the cheapest net."""
    time, nets = usable(s), at_hand(s)
    levels: tuple[Level, ...] = ("sound", "enough")
    for level in levels:
        for net in reversed(nets):
            sized = sized_for(plain(net, s), s, time, level)
            paid = epochs_in(time / folds_of(s), sized, s) >= epochs_for(level, sized, s)
            if paid and at_its_size(sized, s):
                return sized
    return sized_for(plain(nets[0], s), s, time, "enough")


def sized_for(net: Config, s: Situation, time: float, level: Level) -> Config:
    """The net at the largest size at which the time pays for the level over all folds, or at the user's own size."""
    return within_memory(net, s) if "size" in s.space.start else with_size(net, s, time, level)


def at_hand(s: Situation) -> list[Config]:
    """The candidates, cheapest first; few where time is short, since measuring a net's speed takes seconds."""
    nets = [net for net in candidates(s) if not is_other_scratch(net, s)]
    return nets if s.budget >= LONG else nets[:2] if s.budget >= SHORT else nets[:1]


def plain(net: Config, s: Situation) -> Config:
    """The net with the first policy and its views."""
    policy = (s.space.names() or POLICIES)[0]
    return net.vary(policy=policy, tta=tta_for(policy, s.space)).vary(**s.space.start)


def for_all_folds(config: Config, s: Situation) -> Config:
    """The config over as many folds as get enough epochs, for all of the time, up to `most_epochs`."""
    time = usable(s)
    folds = max(1, min(folds_of(s), int(time / fold_seconds(epochs_for("enough", config, s), config, s))))
    longest = folds * fold_seconds(most_epochs(config, s), config, s)
    return fitted_in(config, min(time, longest), folds, s)


def for_the_rest(config: Config, s: Situation) -> Iterator[list[Config]]:
    """The config over all folds in the time left, then from other seeds while the time allows another one."""
    for i in range(MOST_SEEDS):
        source = config.vary(seed=s.seed + 100 * i)
        row = s.remember(f"seed {i}", partial(timed, source, i > 0, s))
        if row is None:
            return
        yield [Config.from_json(row)]


def timed(source: Config, again: bool, s: Situation) -> dict[str, Any] | None:
    """The config in the time left, as json; None for another seed where the time is too short."""
    return None if again and usable(s) < least_again(source, 1, s) else for_all_folds(source, s).to_json()


def random_search(history: History, s: Situation) -> Iterator[list[Config]]:
    """Draws of net, size, policy and mixing on one fold for a third of the time, then the best draw over all folds."""
    rows = s.remember("draws", lambda: [config.to_json() for config in draws(s)])
    configs = [Config.from_json(row) for row in rows]
    for config in configs:
        yield [config]
    keys = {config.key for config in configs}
    best = max((t for t in history.done() if t.key in keys), key=lambda t: t.score, default=None)
    source = best.config if best else plain(at_hand(s)[0], s)
    yield from for_the_rest(source, s)


def draws(s: Situation) -> list[Config]:
    """The random configs, each for an equal part of the time; [] where a few would not even be trained quickly."""
    time, nets = DRAWING_SHARE * usable(s), at_hand(s)
    cheapest = plain(nets[0], s).vary(size=min(sizes_for(nets[0], s)))
    quick = fold_seconds(epochs_for("quick", cheapest, s), cheapest, s)
    number = min(int(time / quick), MOST_DRAWS)
    if number < FEWEST_DRAWS:
        return []
    random = np.random.default_rng(s.seed)
    policies = s.space.names() or POLICIES
    configs = []
    for _ in range(number):
        net = nets[random.integers(len(nets))]
        policy = str(policies[random.integers(len(policies))])
        sizes = sizes_for(net, s)
        changes = {"size": sizes[random.integers(len(sizes))], **MIXING[random.integers(len(MIXING))]}
        drawn = plain(net, s).vary(policy=policy, tta=tta_for(policy, s.space), **changes).vary(**s.space.start)
        seconds = min(time / number, fold_seconds(most_epochs(drawn, s), drawn, s))
        configs.append(within_memory(drawn.vary(seconds=round(seconds, 1)), s))
    return configs
