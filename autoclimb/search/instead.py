"""Stages of the alternatives to a search: one net for all of the time, and random search.

The recipes `fixed` and `random-search` consist of them; they are the baselines for every change of the plan.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.search.capacity import within_memory
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import after, decoding_of, ready_seconds, with_kept
from autoclimb.search.fidelity import (
    LONG,
    Level,
    at_its_size,
    epochs_for,
    epochs_in,
    epochs_paid,
    fold_seconds,
    folds_of,
    sizes_for,
    with_size,
)
from autoclimb.search.finals import decoded_in, fitted_in, least_again, most_epochs, usable
from autoclimb.search.frozen import SHORT
from autoclimb.search.nets import net_named
from autoclimb.search.portfolio import tta_for
from autoclimb.search.situation import FIRST_SIZE, Situation
from autoclimb.search.starting import candidates, is_other_scratch, within_ranges
from autoclimb.types import History

DRAWING_SHARE = 1 / 3  # of the time for the draws of a random search; the rest is the best draw's
DECODING_SHARE = 0.5  # of the draws' time, at most, for decoding pictures of the sizes that are drawn (own choice)
FEWEST_DRAWS, MOST_DRAWS = 3, 30
NEARLY = 0.9  # of enough epochs for which all folds are kept: the time of a choice that was just paid for runs on
MOST_SEEDS = 1000  # a bound for budgets of days on a fast card
POLICIES = ("flip", "affine", "medium", "trivial")
MIXING: tuple[dict[str, Any], ...] = ({}, {"mixup": 0.3}, {"cutmix": 1.0})


def one_net(history: History, s: Situation) -> Iterator[list[Config]]:
    """The largest net and size that can be trained soundly over all folds in the time, with flips and one cycle."""
    row = s.remember("one net", lambda: largest_sound(s).to_json())
    yield from for_the_rest(Config.from_json(row), history, s)


def largest_sound(s: Situation) -> Config:
    """The largest net and size that get sound epochs on all folds, else enough epochs, else the cheapest net.

    The time for them is what decoding the pictures leaves.
    """
    time, nets = usable(s), at_hand(s)
    levels: tuple[Level, ...] = ("sound", "enough")
    for level in levels:
        for net in reversed(nets):
            sized = sized_for(plain(net, s), s, time, level)
            left = time - decoding_of(sized, s)
            paid = epochs_in(left / folds_of(s), sized, s) >= epochs_for(level, sized, s)
            if paid and at_its_size(sized, s):
                return sized
    return cheapest(s, time)


def cheapest(s: Situation, time: float) -> Config:
    """The cheapest net, of pictures as they are decoded first where decoding others would take half of the time."""
    return decoded_in(sized_for(plain(at_hand(s)[0], s), s, time, "enough"), time, s)


def sized_for(net: Config, s: Situation, time: float, level: Level) -> Config:
    """The net at the largest size at which the level over all folds, and decoding, fit into the time.

    At the user's own size where there is one.
    """
    if "size" in s.space.start:
        return within_memory(net, s)
    largest = with_size(net, s, time, level)
    return with_size(net, s, time - decoding_of(largest, s), level)


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
    enough = NEARLY * epochs_for("enough", config, s)
    folds = max(1, min(folds_of(s), int(time / fold_seconds(enough, config, s))))
    longest = folds * fold_seconds(most_epochs(config, s), config, s)
    return fitted_in(config, min(time, longest), folds, s)


def for_the_rest(config: Config, history: History, s: Situation) -> Iterator[list[Config]]:
    """The config over all folds in the time left, then from other seeds while the time allows another one."""
    for i in range(MOST_SEEDS):
        source = config.vary(seed=s.seed + 100 * i)
        row = s.remember(f"seed {i}", partial(in_the_time_left, source, i > 0, history, s))
        if row is None:
            return
        yield [Config.from_json(row)]


def in_the_time_left(source: Config, again: bool, history: History, s: Situation) -> dict[str, Any] | None:
    """The config in the time that decoding its pictures leaves, as json; None for another seed in too little time."""
    s = with_kept(history, corrected(history, s))
    if decoding_of(source, s) < usable(s):
        s.prepare(source)
    return None if again and usable(s) < least_again(source, 1, s) else for_all_folds(source, s).to_json()


def random_search(history: History, s: Situation) -> Iterator[list[Config]]:
    """Draws of net, size, policy and mixing on one fold for a third of the time, then the best draw over all folds."""
    rows = s.remember("draws", lambda: [config.to_json() for config in draws(s)])
    configs = [Config.from_json(row) for row in rows]
    for config in configs:
        yield [config]
    keys = {config.key for config in configs}
    best = max((t for t in history.done() if t.key in keys), key=lambda t: t.score, default=None)
    source = best.config.vary(seconds=0.0) if best else cheapest(s, usable(s))
    yield from for_the_rest(source, history, s)


def draws(s: Situation) -> list[Config]:
    """The random configs, each for the same multiple of the epochs of a quick training; [] where few would get those.

    They are of nets and sizes that the rest of the time pays for over all folds. Decoding and downloads take part of
    the time; where the sizes drawn so far have taken much, others are drawn among them.
    """
    time = left = DRAWING_SHARE * usable(s)
    menu = drawable(usable(s) - time, s)
    random = np.random.default_rng(s.seed)
    policies = s.space.names() or POLICIES
    configs: list[Config] = []
    known, decoding = s, DECODING_SHARE * time
    for _ in range(MOST_DRAWS):
        rows = sizes_within(decoding, menu, known)
        net, sizes = rows[random.integers(len(rows))]
        policy = str(policies[random.integers(len(policies))])
        changes = {"size": sizes[random.integers(len(sizes))], **MIXING[random.integers(len(MIXING))]}
        drawn = plain(net, s).vary(policy=policy, tta=tta_for(policy, s.space), **changes).vary(**s.space.start)
        config = within_memory(within_ranges(drawn, s), s)
        quick = fold_seconds(epochs_for("quick", config, s), config, s)
        beside = decoding_of(config, known) + ready_seconds(config, known) + SLACK.trial_overhead
        if quick + beside > left:
            break
        left -= quick + beside
        decoding -= decoding_of(config, known)
        known = after(config, known)
        configs.append(config.vary(seconds=quick))
    if len(configs) < FEWEST_DRAWS:
        return []
    times = 1 + left / sum(config.seconds for config in configs)
    longest = (fold_seconds(most_epochs(config, s), config, s) for config in configs)
    return [c.vary(seconds=round(min(times * c.seconds, most), 1)) for c, most in zip(configs, longest, strict=True)]


def drawable(seconds: float, s: Situation) -> dict[Config, list[int]]:
    """The nets with their sizes at which the seconds pay for enough epochs over all folds; the cheapest if for none."""
    menu = {}
    for net in at_hand(s):
        sizes = [net.vary(size=n) for n in sizes_for(net, s)]
        menu[net] = [c.size for c in sizes if epochs_paid(seconds, c, s) >= epochs_for("enough", c, s)]
    paid = {net: sizes for net, sizes in menu.items() if sizes}
    return paid or {net: sizes_for(net, s) for net in at_hand(s)[:1]}


def sizes_within(seconds: float, menu: dict[Config, list[int]], s: Situation) -> list[tuple[Config, list[int]]]:
    """The nets of the menu with those of their sizes whose pictures are decoded in the seconds, or are already.

    A net without one takes pictures as they are decoded first, and is left out where it takes no other size.
    """
    rows = []
    for net, sizes in menu.items():
        within = [n for n in sizes if decoding_of(net.vary(size=n), s) <= seconds]
        fixed = net.weights and net_named(net.backbone).sizes
        if within or not fixed:
            rows.append((net, within or [FIRST_SIZE]))
    return rows or [(net, sizes[:1]) for net, sizes in menu.items()]
