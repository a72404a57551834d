"""The nets among the finalists: which families the time pays for, which net stands for each, at what size."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.search.capacity import MOST_KEPT_IN_ALL, all_kept
from autoclimb.search.cost import decoding_of, epoch_seconds, ready_seconds
from autoclimb.search.effects import observed, single_fold, stderr_against
from autoclimb.search.fidelity import (
    LARGEST,
    LONG,
    MORE_THAN_ENOUGH,
    OWN_SHARE,
    WHOLE_SHARE,
    Level,
    at_its_size,
    epochs_for,
    epochs_paid,
    final_epochs,
    folds_of,
    kind_of,
    one_family,
    share_of_own_size,
    whole_pays,
    with_deeper_top,
    with_pixels,
    with_size,
    with_top,
)
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation
from autoclimb.search.stages import compared, leader, search_base, with_learnt
from autoclimb.search.starting import from_nothing, nets_are_useful, ranked
from autoclimb.types import History, Trial

KINDS = 3  # families that a budget should pay for before any net is trained for longer
MOST = 6  # finalists: a blend of more gains little


def family_heads(history: History, s: Situation) -> list[list[Config]]:
    """The configs that may represent each family, most promising first, families in the order of their best.

    Nets that were tried come first, beginning with the leader, which is the base where nothing was compared, and keep
    their size, or get a larger one where no other was tried. From scratch, each net counts as a family, but only those
    that were compared are taken, since nothing else says which suits the data. A processor compares complete nets, for
    which the strongest are too slow, but can train their tops: nets whose frozen features are better than those of all
    that were compared come right after the leader.
    """
    here = leader(history, s).vary(predict_test=True)
    near = _near(history, s)
    tried = [with_learnt(config, here).vary(seconds=here.seconds) for config in near]
    here = here if near else here.vary(seconds=0.0)  # the base was not tried at its size
    others = ranked(history, s) if s.pretrained else []
    # With pretrained nets of one family a net from scratch comes before the second of them, unless only frozen features
    # were compared and show that pretrained nets suit the pictures.
    scratch_first = one_family(s) and (compared(history, s) or not nets_are_useful(history))
    order = [*from_nothing(history, s), *others] if scratch_first else [*others, *from_nothing(history, s)]
    fresh = [with_learnt(net, here).vary(seconds=0.0) for net in order]
    first = [here, *tried]
    if s.budget < LONG:  # measuring a net's speed takes 2 s: only nets with frozen features on record, best first
        probed = {t.config.backbone for t in history.done(train="features") if t.config.weights}
        fresh = [config for config in fresh if config.backbone in probed or not config.weights]
        tuned = [config for config in fresh if config.weights]
        if scratch_first and tuned:
            tuned[1:1] = [config for config in fresh if not config.weights]
        first = first if compared(history, s) else [*tuned, here]
    if s.device == "cpu" and tried:
        first = [here, *(net for net in fresh if features_beat(net, first, history, s)), *tried]
    families: dict[str, list[Config]] = {}
    seen: set[tuple[Any, ...]] = set()
    for config in [*first, *fresh]:
        name = (config.backbone, config.model_args, config.weights)
        if name in seen or epoch_seconds(config, s) == math.inf:
            continue
        seen.add(name)
        family = kind_of(config.backbone, s) if config.weights else f"{config.backbone} {config.model_args}"
        families.setdefault(family, []).append(config)
    return list(families.values()) or [[here]]


def _near(history: History, s: Situation) -> list[Config]:
    """The single-fold trials whose loss, paired by row, is within two standard errors of the lowest, best first."""
    trials = single_fold(history, search_base(history, s))
    if not trials:
        return []
    loss, covariance, _ = observed(trials, s)
    best = int(loss.argmin())
    stderr = stderr_against(covariance, best)
    return [trials[i].config for i in np.argsort(loss, kind="stable") if loss[i] <= loss[best] + 2 * stderr[i]]


def features_beat(net: Config, others: list[Config], history: History, s: Situation) -> bool:
    """Whether the net's frozen features lower the loss of all others' by more than two standard errors, by row."""
    best: dict[str, Trial] = {}
    for trial in history.done(train="features"):
        name = trial.config.backbone
        best[name] = max(best.get(name, trial), trial, key=lambda t: t.score)
    own, theirs = best.get(net.backbone), [best[c.backbone] for c in others if c.backbone in best]
    if own is None or not theirs:
        return False
    loss, covariance, _ = observed([own, *theirs], s)
    return bool((loss > 2 * stderr_against(covariance, 0))[1:].all())


def settled_sizes(history: History, s: Situation) -> set[str]:
    """The nets that the search compared at several sizes, so that their size is settled."""
    sizes: dict[str, set[int]] = {}
    for trial in single_fold(history, search_base(history, s)):
        sizes.setdefault(trial.config.backbone, set()).add(trial.config.size)
    return {backbone for backbone, tried in sizes.items() if len(tried) > 1}


def families_paid(heads: list[list[Config]], time: float, s: Situation, settled: Collection[str] = ()) -> list[Config]:
    """One config of each family that the time pays for over all folds; [] where it pays for none.

    There are three families where each is trained soundly, and more where each is trained fully; else as many as are
    trained soundly; else two, if both get more than enough epochs, or enough where the search could not tell them
    apart; else one. No further family is added whose time would make the best one much smaller than it would be, or
    than it was made for.
    """
    tried = heads[0][0].size if heads[0][0].seconds else 0
    paid: list[Config] = []
    for n in range(1, KINDS + 1):
        sound = chosen(heads, n, time, "sound", s, settled=settled)
        if sound and sound[0].size >= OWN_SHARE * max(tried, least_beside(paid)):
            paid = sound
    if len(paid) < 2:
        # hand signs: a net from scratch and all of lite0, each with about enough epochs, had .72 of the loss that the
        # former had alone after twice as many (LOG.md, "A bank of six sets")
        equals = len(heads) > 1 and tried and any(config.seconds for config in heads[1])
        two = chosen(heads[:2], 2, time, "enough", s, settled=settled) if equals else []
        two = two or chosen(heads, 2, time, "enough", s, MORE_THAN_ENOUGH, settled)
        if two and two[0].size >= max(tried, OWN_SHARE * least_beside(paid)):
            return two
    while KINDS <= len(paid) < MOST:
        more = chosen(heads, len(paid) + 1, time, "full", s, settled=settled)
        if not {c.backbone for c in paid} <= {c.backbone for c in more}:  # one more family would cost smaller nets
            break
        paid = more
    return paid or chosen(heads, 1, time, "enough", s, settled=settled)


def least_beside(paid: list[Config]) -> int:
    """Pixels a side of which the best finalist needs OWN_SHARE beside more of them; 0 without any.

    They are those that it would have beside fewer, up to those it was made for.
    """
    return min(paid[0].size, net_named(paid[0].backbone).size) if paid else 0


def chosen(
    heads: list[list[Config]],
    n: int,
    time: float,
    level: Level,
    s: Situation,
    times: float = 1.0,
    settled: Collection[str] = (),
) -> list[Config]:
    """One config of each of n families that get `times` the level's epochs in their share; [] if fewer do.

    It is [] also where the first family does not, since nothing is known in favour of the others. Of the other
    pretrained nets, and within a family, those come first that are trained at about their own size. Where not all of
    the features that they train on would be kept on disk, each gets an equal part of it.
    """
    configs = one_each(heads, n, time, level, s, times, settled)
    if all_kept(configs, s):
        return configs
    return one_each(
        heads, n, time, level, replace(s, pixel_bytes=min(s.pixel_bytes, MOST_KEPT_IN_ALL / n)), times, settled
    )


def one_each(
    heads: list[list[Config]],
    n: int,
    time: float,
    level: Level,
    s: Situation,
    times: float,
    settled: Collection[str],
) -> list[Config]:
    """What `chosen` returns where each may store as many features as one alone."""
    rows: list[tuple[float, Config]] = []
    for i, family in enumerate(heads):
        if i and not rows:
            return []
        able: list[tuple[float, Config]] = []
        for config in family:
            share = time / n - beside_folds(config, n, s)
            most = config.size if config.seconds and config.backbone in settled else LARGEST
            share -= decoding_of(at_size(config, share, s), s)
            sized = at_size(config, share, s)
            if epochs_paid(share, sized, s) >= times * final_epochs(level, sized, s):
                largest = with_deeper_top(with_pixels(sized, s, share, most), s, share)
                # a top has learned most of what it will after enough epochs, a complete net has not
                own_size = share_of_own_size(largest if largest.top else sized, s)
                able.append((min(own_size, OWN_SHARE), largest))
        rows += sorted(able, key=lambda row: -row[0])[:1]
        if len(rows) >= n and all(own_size >= OWN_SHARE for own_size, _ in rows[1:n]):
            break
    tuned = iter(sorted((row for row in rows[1:] if row[1].weights), key=lambda row: -row[0]))
    others = [next(tuned) if row[1].weights else row for row in rows[1:]]
    return [config for _, config in [*rows[:1], *others][:n]] if len(rows) >= n else []


def beside_folds(config: Config, n: int, s: Situation) -> float:
    """Seconds that one of n finalists takes beside its folds, for a card's preparations and for its record.

    Of several finalists each first fold is a trial of its own, with a record of its own.
    """
    records = SLACK.trial_overhead * (2 if n > 1 else 1)
    return ready_seconds(config.vary(seconds=0.0, folds=tuple(range(folds_of(s)))), s) + records


def at_size(config: Config, seconds: float, s: Situation) -> Config:
    """The config at the size that `seconds` for all folds pay for, unchanged if they pay for it as it was tried.

    Only its top is trained where they do not pay for the full net at about its own size, see `whole_pays`.
    """
    if "size" in s.space.start:
        return config
    tried, topped = config.seconds > 0, with_top(config, s)
    net = config if topped is None or whole_pays(config, s, seconds) else topped

    def paid(net: Config, level: Level, times: float) -> bool:
        return epochs_paid(seconds, net, s) >= times * epochs_for(level, net, s)

    levels: tuple[tuple[Level, float], ...] = (("sound", 1.0), ("enough", MORE_THAN_ENOUGH), ("enough", 1.0))
    for level, times in levels:
        if tried and paid(config, level, times):
            return config
        sized = with_size(net, s, seconds, level, times)
        too_small = topped is not None and not net.top and not at_its_size(sized, s, WHOLE_SHARE)
        if paid(sized, level, times) and not too_small:
            return sized
    return with_size(config, s, seconds, "enough")
