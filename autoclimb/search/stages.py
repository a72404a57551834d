"""The searching stages. A stage is a function from the history to the next trials; order.PLAN is their order.

Times come from a ladder and never from the clock, so that a replay asks for the same trials, and a larger budget for
some of them.
"""

import math
from collections.abc import Iterator
from dataclasses import fields

from autoclimb.config import Config
from autoclimb.search.capacity import within_memory
from autoclimb.search.cost import decoding_of, epoch_seconds, pictures_of
from autoclimb.search.effects import WITH_NET, adopted, apart, lift_words, most_helpful, posterior_effects, single_fold
from autoclimb.search.fidelity import (
    LONG,
    SIZES,
    THIRD,
    at_its_size,
    epochs_for,
    epochs_in,
    final_seconds,
    finalist_epochs,
    resized,
    search_seconds,
    sizes_for,
    slots,
    with_pixels,
    with_size,
)
from autoclimb.search.frozen import features_are_all, frozen_features, of_nets
from autoclimb.search.nets import FAMILIES, net_named
from autoclimb.search.portfolio import loss_moves, policy_moves, tta_for
from autoclimb.search.situation import Situation
from autoclimb.search.starting import base_config, from_nothing, ranked, with_batch
from autoclimb.types import History

SEARCHING = ("resize", "augmentation", "backbone", "loss", "refine")  # stages whose trials are compared with the base
DOZEN = 12  # moves of the searching stages, beyond which half of the slots go to the refinement


def baseline(history: History, s: Situation) -> Iterator[list[Config]]:
    """Features with closed-form heads over all folds, which give a score within seconds; then the base net."""
    yield from frozen_features(history, s)
    if features_are_all(history, s):
        return
    base = first_net(history, s)
    if slots(s, base):
        yield [base.vary(seconds=search_seconds(base, s))]


def first_net(history: History, s: Situation) -> Config:
    """The most promising net as the search trains it, on one fold whose held-out rows alone it predicts.

    Its finalist predicts the test rows. Until then frozen features answer them; where there are none, it does.
    """
    only_compared = s.finalists_follow and bool(history.done(train="features"))
    return base_config(history, s).vary(predict_test=not only_compared)


def search_base(history: History, s: Situation) -> Config:
    """The config with which the search's trials are compared: that of the first one, or what the first one would be.

    It is read off the record rather than worked out again, since what it follows from changes: trials correct speeds,
    further frozen features rank the nets anew, and another config is trained in place of a base that fails.
    """
    first = next((t for t in history.done(train="net", folds=(0,)) if t.stage == "baseline" and t.config.seconds), None)
    if first is not None:
        return first.config
    base = first_net(history, s)
    return base.vary(seconds=search_seconds(base, s))


def leader(history: History, s: Situation) -> Config:
    """The base with every change so far that is likely to help."""
    return adopted(history, search_base(history, s), s)


def allowed(s: Situation, base: Config, stage: str, possible: int) -> int:
    """The number of moves of a stage: its part of the slots, dealt in rounds so that every stage gets a first move."""
    order = ("backbone", "augmentation", "resize", "loss")  # by what a first move was worth; benchmarks/LOG.md
    moves = max(0, slots(s, base) - 1)
    if moves > DOZEN:
        moves = DOZEN + (moves - DOZEN) // 2
    parts = dict.fromkeys(order, 0)
    for i in range(moves):
        parts[order[i % len(order)]] += 1
    return min(parts[stage], possible)


@of_nets
def resize(history: History, s: Situation) -> Iterator[list[Config]]:
    """The user's other preprocessing, an item's pictures one by one, neighbouring sizes, progressive resizing."""
    here = leader(history, s)
    if net_named(here.backbone).sizes and here.weights:
        ladder = sizes_for(here, s)
    else:
        ladder = sorted(s.space.sizes or [n for n in SIZES if n <= 1.5 * max(64, s.side) or n in sizes_for(here, s)])
    smaller = [n for n in ladder if n < here.size]
    larger = [n for n in ladder if n > here.size]
    moves = [here.vary(preprocess=chain) for chain in s.space.chains() if chain != here.preprocess]
    if s.pictures > 1 and not here.grid:
        moves.append(here.vary(grid=math.isqrt(s.pictures - 1) + 1))
    if here.size >= 64 and not FAMILIES[net_named(here.backbone).family].one_size:
        steps = (here.size // 2, here.size * 3 // 4)
        moves.append(here.vary(sizes=steps))
    sized = [within_memory(here.vary(size=n), s) for n in (*larger[:1], *smaller[-1:], *larger[1:2])]
    moves += [config for config in sized if worth_decoding(config, here, s)]
    moves = [config for config in moves if long_enough(config, s)]
    base = first_net(history, s)
    for config in moves[: allowed(s, base, "resize", len(moves))]:
        yield [config]


def long_enough(config: Config, s: Situation) -> bool:
    """Whether a search trial gets a third of the epochs that the config would get as a finalist, and quick ones."""
    least = max(epochs_for("quick", config, s), finalist_epochs(config, s) / THIRD)
    return epochs_in(config.seconds, config, s) >= least


def worth_decoding(config: Config, here: Config, s: Situation) -> bool:
    """Whether a search trial's pictures are those of the leader, or are decoded in no more time than it trains for."""
    return pictures_of(config) == pictures_of(here) or decoding_of(config, s) <= here.seconds


@of_nets
def augmentation(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other policies, then mixing, each on top of what was adopted so far."""
    base = first_net(history, s)
    moves = policy_moves(base.policy, s.space)
    others = [policy for policy in moves if policy != leader(history, s).policy]
    mixing: list[dict[str, float]] = [{"mixup": 0.3}, {"cutmix": 1.0, "mixup": 0.0}]
    mixing = [change for change in mixing if s.space.allows(**change)]
    steps = allowed(s, base, "augmentation", len(others) + len(mixing))
    for policy in others[:steps]:
        yield [leader(history, s).vary(policy=policy, tta=tta_for(policy, s.space))]
    for change in mixing[: max(0, steps - len(others))]:
        yield [leader(history, s).vary(**change)]


@of_nets
def backbone(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other nets with all other changes adopted so far: the most promising of each family, then the others."""
    here = leader(history, s)
    nets = [*from_nothing(history, s), *ranked(history, s)]
    nets = [n for n in nets if (n.backbone, n.model_args) != (here.backbone, here.model_args)]
    base = first_net(history, s)
    moves = allowed(s, base, "backbone", len(nets))
    if s.budget >= LONG:
        nets = [n for n in nets if epoch_seconds(n, s) < math.inf]
    seen: set[str] = {net_named(here.backbone).family}
    fresh = []
    for candidate in nets:
        family = net_named(candidate.backbone).family
        fresh.append(family not in seen)
        seen.add(family)
    nets = [nets[i] for i in sorted(range(len(nets)), key=lambda i: not fresh[i])]
    for net in nets:
        if not moves:
            return
        sized = with_size(net, s, final_seconds(s) / 3)
        smaller = [resized(sized, n) for n in reversed(sizes_for(sized, s)) if n < sized.size]
        for at_size in (
            with_pixels(sized, s, final_seconds(s) / 3),  # as the base,
            sized,  # as a finalist would be,
            *(config for config in smaller if at_its_size(config, s)),  # or the next smaller one
        ):
            if not long_enough(with_learnt(at_size, here), s):  # before a card looks at the net at this size
                continue
            config = with_learnt(with_batch(at_size, s), here)
            if long_enough(config, s) and worth_decoding(config, here, s):
                moves -= 1
                yield [config]
                break


def with_learnt(net: Config, learnt: Config) -> Config:
    """The net with the values that were adopted on another one, except those that belong to a net."""
    own = {*WITH_NET, "backbone", "sizes", "test_size", "scales"}
    values = {f.name: getattr(learnt, f.name) for f in fields(learnt) if f.name not in own}
    return net.vary(**values)


@of_nets
def loss(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other losses for the kind of task and the metric, and class weights and samplers for rare classes."""
    moves = [m for m in loss_moves(s) if leader(history, s).vary(**m) != leader(history, s)]
    for change in moves[: allowed(s, first_net(history, s), "loss", len(moves))]:
        yield [leader(history, s).vary(**change)]


def compared(history: History, s: Situation) -> bool:
    """Whether any trial was compared with the search's base."""
    return len(single_fold(history, search_base(history, s))) > 1


def account(stage: str, history: History, s: Situation) -> list[str]:
    """The effects of the changes that were new in a stage, by all trials so far: a line each, the best first.

    Then those of earlier changes that its trials made to be adopted, or to be adopted no longer.
    """
    tried = {t.key for t in history.trials if t.stage == stage and t.config.train == "net"}
    if stage not in SEARCHING or not tried:
        return []
    base = search_base(history, s)
    trials = single_fold(history, base)
    first = next((t for t in trials if t.key == base.key), None)
    if first is None:
        return []
    earlier = [t for t in trials if t.stage != stage]
    effects, before = (posterior_effects(some, first, s) for some in (trials, earlier))
    taken, taken_before = (
        {effect.change for effect in most_helpful(table, some, base).values()}
        for table, some in ((effects, trials), (before, earlier))
    )
    new = sorted(effects.keys() - before.keys(), key=lambda name: effects[name].mean)
    turned = sorted((taken ^ taken_before) & before.keys())

    def words(name: str) -> str:
        pair = apart(name, trials, base)
        return lift_words(effects[name], taken, s.metric, s.lift(*pair) if pair else None)

    return [*map(words, new), *(f"now {words(name)}" for name in turned)]
