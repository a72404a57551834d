"""The finalists: nets of several families over all folds, each with its own size and epochs."""

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from autoclimb.budget import SLACK
from autoclimb.policies import policy_named
from autoclimb.search.cost import corrected, cost_of, decoding_of, epoch_seconds, ready_seconds, with_kept
from autoclimb.search.effects import SEED_NOISE, observed, single_fold
from autoclimb.search.fidelity import (
    LARGEST,
    LONG,
    MORE_THAN_ENOUGH,
    OWN_SHARE,
    WHOLE_SHARE,
    Level,
    at_its_size,
    epochs_for,
    epochs_in,
    epochs_paid,
    final_epochs,
    fold_seconds,
    folds_of,
    kind_of,
    one_family,
    search_seconds,
    share_of_own_size,
    sound_at_its_size,
    whole_pays,
    with_deeper_top,
    with_pixels,
    with_size,
    with_top,
)
from autoclimb.search.frozen import of_nets
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.search.stages import compared, leader, search_base, with_learnt
from autoclimb.search.starting import (
    base_config,
    from_nothing,
    nets_are_useful,
    ranked,
    with_batch,
    with_useful_nets,
)
from autoclimb.types import Config, History, Trial

KINDS = 3  # families that a budget should pay for before any net is trained for longer
MOST = 6  # finalists: a blend of more gains little
LONG_RECIPE = 30.0  # affordable epochs from which a second, more varied and longer recipe is trained beside the first
LONGEST = 200.0  # epochs
LIGHT_END = 0.1  # of a long recipe's training, see `long_recipe`
MOST_OF_TIME = 0.4  # of the finalists' time that one of three or more may take, since a blend gains most from equals
LEAST = 1.0  # seconds of a fold: with 0 a config would count epochs, or train no step
HOPELESS = 1.5  # times the best finalist's loss on the first fold, significantly, at which other folds are skipped
AVERAGED = ((5_000, 0.999), (500, 0.99))  # (steps, decay): averaged weights that span a tenth of a training


@of_nets
def finalists(history: History, s: Situation) -> Iterator[list[Config]]:
    """Nets of several families over all folds, each as long as its share of the time allows; most time goes here.

    The first fold of each is trained first: a finalist that is significantly and far worse there gets no other folds.
    """
    rows = s.remember("finalists", lambda: [config.to_json() for config in decide_finalists(history, s)])
    configs = [Config.from_json(row) for row in rows]
    several = len(configs) > 1
    for config in configs if several else []:
        if len(config.folds) > 1:
            yield [config.vary(folds=config.folds[:1])]
    for config in configs:
        if not several or not hopeless(config, configs, history, s):
            yield [config]


def decide_finalists(history: History, s: Situation) -> list[Config]:
    """The finalists' configs with sizes, folds and seconds, for the time that is left.

    They are three families trained soundly over all folds, and more where each is trained fully; else two, else one.
    Where a single net does not get enough epochs on all folds there are fewer folds, shared with a net that was not
    compared; [] where frozen features over all folds are useful, beside which a blend has no use for such nets.
    """
    s = with_kept(history, with_useful_nets(history, corrected(history, s)))
    heads = family_heads(history, s)
    configs = families_paid(heads, usable(s), s, settled_sizes(history, s))
    if not configs and not compared(history, s):  # a cheaper net with good frozen features may be affordable
        others = ([head] for head in heads[1:] if head[0].weights)
        configs = next(filter(None, (families_paid(one, usable(s), s) for one in others)), [])
    if not configs and s.device == "cpu" and s.budget < LONG and nets_are_useful(history) and s.pretrained:
        return []
    if not configs:
        return on_fewer_folds(history, heads[0], s)
    configs = beside_scratch(configs[0], history, s) if len(configs) == 1 else configs
    configs = [c if c.seconds else with_batch(c, s) for c in configs]  # a net that was tried keeps its batch
    configs = with_long_recipe(configs, usable(s), s)
    for config in sorted(configs, key=lambda c: -c.cached_size):  # smaller ones may be read from the largest pixels
        s.prepare(config)
    every = tuple(range(folds_of(s)))
    time = usable(s)  # again, since decoding took some
    time -= min(sum(beside_folds(c, len(configs), s) for c in configs), max(time, 0.0) / 2)
    seconds = used_up(configs, seconds_each(configs, time, s), time, s)
    timed = [c.vary(seconds=round(each, 1), folds=every) for c, each in zip(configs, seconds, strict=True)]
    return [averaged(config, s) for config in timed]


def family_heads(history: History, s: Situation) -> list[list[Config]]:
    """The configs that may represent each family, most promising first, families in the order of their best.

    Nets that were tried come first, beginning with the leader, which is the base where nothing was compared, and keep
    their size, or get a larger one where no other was tried. From scratch, each net counts as a family, but only those
    that were compared are taken, since nothing else says which suits the data.
    """
    here = leader(history, s)
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
    """The single-fold trials that are within two standard errors of the best one, best first."""
    trials = sorted(single_fold(history, search_base(history, s)), key=lambda t: -t.score)
    return [t.config for t in trials if t.score > trials[0].score - 2 * trials[0].stderr]


def settled_sizes(history: History, s: Situation) -> set[str]:
    """The nets that the search compared at several sizes, so that their size is settled."""
    sizes: dict[str, set[int]] = {}
    for trial in single_fold(history, search_base(history, s)):
        sizes.setdefault(trial.config.backbone, set()).add(trial.config.size)
    return {backbone for backbone, tried in sizes.items() if len(tried) > 1}


def families_paid(heads: list[list[Config]], time: float, s: Situation, settled: Collection[str] = ()) -> list[Config]:
    """One config of each family that the time pays for over all folds; [] where it pays for none.

    There are three families where each is trained soundly, and more where each is trained fully; else as many as are
    trained soundly; else two, if both get more than enough epochs; else one. No further family is added whose time
    would make the best one much smaller than it would be, or than it was made for.
    """
    tried = heads[0][0].size if heads[0][0].seconds else 0
    paid: list[Config] = []
    for n in range(1, KINDS + 1):
        sound = chosen(heads, n, time, "sound", s, settled=settled)
        if sound and sound[0].size >= OWN_SHARE * max(tried, least_beside(paid)):
            paid = sound
    if len(paid) < 2:
        two = chosen(heads, 2, time, "enough", s, MORE_THAN_ENOUGH, settled)
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
    pretrained nets, and within a family, those come first that are trained at about their own size.
    """
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
                able.append((min(share_of_own_size(sized, s), OWN_SHARE), largest))
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


def with_long_recipe(configs: list[Config], time: float, s: Situation) -> list[Config]:
    """The finalists with a long recipe beside them, where all stay sound and it gets thirty epochs.

    It may have the time that the others cannot use, since further seeds of theirs gain less. Where rows are so many
    that a few epochs are a full training it gets an equal share only: more would be most of the time, for an unmeasured
    gain.
    """
    if s.space.names() or configs[0].top:
        return configs
    more = [configs[0], long_recipe(configs[0], s), *configs[1:]]
    seconds = [time / len(more) / folds_of(s)] * len(more)
    if epochs_for("full", configs[0], s) >= LONG_RECIPE / 2:
        seconds = seconds_each(more, time, s)
    epochs = [epochs_in(each, c, s) for each, c in zip(seconds, more, strict=True)]
    sound = all(e >= sound_at_its_size(c, s) for e, c in zip(epochs, more, strict=True))
    return more if sound and epochs[1] >= LONG_RECIPE else configs


def seconds_each(configs: list[Config], time: float, s: Situation) -> list[float]:
    """Seconds of a fold for each config: equal shares, where the time that one cannot use goes to the others."""
    folds = folds_of(s)
    most = [fold_seconds(most_epochs(c, s), c, s) for c in configs]
    if len(configs) >= KINDS:
        most = [min(m, MOST_OF_TIME * time / folds) for m in most]
    each = [0.0] * len(configs)
    for place, i in enumerate(sorted(range(len(configs)), key=lambda i: most[i])):
        share = (time / folds - sum(each)) / (len(configs) - place)
        each[i] = min(share, most[i])
    return each


def used_up(configs: list[Config], seconds: list[float], time: float, s: Situation) -> list[float]:
    """The seconds of a fold, increased in proportion where the time left would train no net from another seed."""
    planned = folds_of(s) * sum(seconds)
    left = time - planned
    if planned <= 0 or left <= 0 or left >= min(least_again(c, folds_of(s), s) for c in configs):
        return seconds
    return [each * time / planned for each in seconds]


def least_again(source: Config, folds: int, s: Situation) -> float:
    """Seconds below which training the source from another seed over `folds` folds is not worth it."""
    return max(folds * fold_seconds(0.5 * epochs_for("enough", source, s), source, s), 5.0)


def most_epochs(config: Config, s: Situation) -> float:
    """Epochs beyond which another net would gain more."""
    full = epochs_for("full", config, s)
    return max(LONGEST, full) if is_long(config) else full


def long_recipe(config: Config, s: Situation) -> Config:
    """The config for a long training: trivial augmentation, mixup and cutmix, drop-path, and a light end.

    The end without mixing is from YOLOX (arXiv 2107.08430: the last 15 of 300 epochs), a little longer by own choice.
    """
    policy = "trivial" if policy_named(config.policy, s.space.pipelines()).mirrors else "trivial-straight"
    drop_path = max(config.drop_path, 0.1)
    return config.vary(policy=policy, mixup=0.2, cutmix=1.0, drop_path=drop_path, light_end=LIGHT_END)


def is_long(config: Config) -> bool:
    """Whether the config is a long recipe."""
    return config.cutmix > 0 and config.policy.startswith("trivial")


def averaged(config: Config, s: Situation) -> Config:
    """The config with averaged weights where a card takes many steps; in short trainings they did not help (LOG.md)."""
    steps = epochs_in(config.seconds, config, s) * rows_of_fold(s) / config.batch
    decay = next((decay for least, decay in AVERAGED if steps >= least), 0.0)
    free = s.device != "cpu" and "ema" not in s.space.start and not config.swa
    return config.vary(ema=decay) if free else config


def hopeless(config: Config, configs: list[Config], history: History, s: Situation) -> bool:
    """Whether the finalist's first fold is significantly and far worse than the best one's."""
    keys = {c.vary(folds=c.folds[:1]).key for c in configs}
    firsts = [t for t in history.done() if t.key in keys]
    own = next((t for t in firsts if t.key == config.vary(folds=config.folds[:1]).key), None)
    if own is None:  # it failed, or there was no time: the controller decides about its other folds
        return False
    best = max(firsts, key=lambda t: t.score)
    return own is not best and far_worse(own, best, s)


def far_worse(trial: Trial, best: Trial, s: Situation) -> bool:
    """Whether a trial's loss by row exceeds HOPELESS times the best's by more than two standard errors."""
    loss, covariance, unit = observed([best, trial], s)
    if s.row_losses(best) is None:  # differences of scores are not ratios of losses
        return False
    stderr = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5 + SEED_NOISE * unit
    return float(loss[1]) > (HOPELESS - 1) * unit + 2 * stderr


def beside_scratch(alone: Config, history: History, s: Situation) -> list[Config]:
    """The only finalist, and a net from scratch where half of the time trains both over all folds.

    It was not compared with any other, unless its frozen features did well and its top is trained.
    """
    if alone.top or compared(history, s) or not from_nothing(history, s):
        return [alone]
    half = usable(s) / 2
    both = [with_size(alone, s, half, "enough"), base_config(history, replace(s, pretrained=()))]
    paid = all(epochs_paid(half - decoding_of(c, s), c, s) >= epochs_for("enough", c, s) for c in both)
    return both if paid and both[0].size >= OWN_SHARE * least_beside([alone]) else [alone]


def on_fewer_folds(history: History, family: list[Config], s: Situation) -> list[Config]:
    """The best net over as many folds as get enough epochs, and beside it a net from scratch where none was compared.

    The two share the time, and the blend's weights decide between them. A pretrained net that would not even be trained
    quickly leaves all of the time to the other: in 5 s, a third of an epoch, it added nothing to its frozen features
    (intel_scenes, 60 s).
    """
    time = usable(s)
    scratch = replace(s, pretrained=())
    best = family[0] if compared(history, s) else min(family, key=lambda config: epoch_seconds(config, s))
    beside = [] if compared(history, s) else [base_config(history, scratch) for _ in from_nothing(history, s)]
    nets = [with_size(best, s, time / (1 + len(beside)), "enough"), *beside]
    if beside and epochs_in(time / 2 - decoding_of(nets[0], s), nets[0], s) < epochs_for("quick", nets[0], s):
        nets = beside
    configs: list[Config] = []
    for i, config in enumerate(nets):
        s.prepare(config)
        share = usable(s) / len(nets) if not i else usable(s) / 2
        folds = int(share / fold_seconds(epochs_for("enough", config, s), config, s))
        configs.append(fitted_in(config, share - 0.5, max(1, min(folds_of(s), folds)), s))
    return configs


def usable(s: Situation, *configs: Config) -> float:
    """Seconds left for trials of these configs, less a card's preparations and a margin for misjudgements."""
    ready = sum(ready_seconds(config, s) for config in configs)
    return (1 - SLACK.misjudged) * s.left() - min(1.0, SLACK.misjudged * s.budget) - ready


def fitted_in(config: Config, time: float, folds: int, s: Situation) -> Config:
    """The config over `folds` folds in `time` seconds; over fewer folds where predicting alone would take longer.

    Without time it asks for a second, which the controller will refuse.
    """
    fitted = config
    for n in range(folds, 0, -1):
        fitted = config.vary(folds=tuple(range(n)))
        seconds = max(time - ready_seconds(fitted, s), min(time, 1.0)) / n
        fitted = fitted.vary(seconds=max(round(seconds, 1), LEAST))
        if cost_of(fitted, s) <= time + 1:
            break
    return fitted


def finals_of(history: History, s: Situation) -> list[Trial]:
    """The finalists over the most folds, or the search's nets where there are no finalists; best first."""
    nets = [t for t in history.done(train="net") if t.stage != "rest"]  # those are further seeds of the same nets
    searched = search_seconds(base_config(history, s), s) if nets else 0.0
    finals = [t for t in nets if t.config.seconds > searched or t.stage == "finalists"]
    finals = [t for t in finals if len(t.config.folds) == max(len(f.config.folds) for f in finals)]
    return sorted(finals or nets, key=lambda t: -t.score)
