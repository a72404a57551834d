"""The finalists over all folds: nets of several families, or a few nets at several depths, each with its own size."""

from collections.abc import Iterator
from dataclasses import replace

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.policies import policy_named
from autoclimb.search.capacity import fits_memory
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import cost_of, decoding_of, epoch_seconds, pictures_of, ready_seconds, with_kept
from autoclimb.search.depths import at_depths, needs
from autoclimb.search.effects import observed, stderr_against
from autoclimb.search.families import KINDS, beside_folds, families_paid, family_heads, least_beside, settled_sizes
from autoclimb.search.fidelity import (
    LONG,
    LONGEST,
    OWN_SHARE,
    asked_seconds,
    epochs_asked,
    epochs_for,
    epochs_in,
    epochs_paid,
    fold_seconds,
    folds_of,
    resized,
    sound_at_its_size,
    with_size,
)
from autoclimb.search.frozen import of_nets
from autoclimb.search.nets import net_named
from autoclimb.search.rates import LOOK
from autoclimb.search.retreat import as_run
from autoclimb.search.situation import FIRST_SIZE, Situation, rows_of_fold
from autoclimb.search.stages import compared, search_base
from autoclimb.search.starting import base_config, from_nothing, nets_are_useful, with_batch, with_useful_nets
from autoclimb.types import History, Trial

LONG_RECIPE = 30.0  # affordable epochs from which a second, more varied and longer recipe is trained beside the first
LIGHT_END = 0.1  # of a long recipe's training, see `long_recipe`
MOST_OF_TIME = 0.4  # of the finalists' time that one of three or more may take, since a blend gains most from equals
LEAST = 1.0  # seconds of a fold: with 0 a config would count epochs, or train no step
HOPELESS = 1.5  # times the best finalist's loss on the first fold, significantly, at which other folds are skipped
AVERAGED = ((5_000, 0.999), (500, 0.99))  # (steps, decay): averaged weights that span a tenth of a training


@of_nets
def finalists(history: History, s: Situation) -> Iterator[list[Config]]:
    """Nets of several families, or a few nets at several depths, over all folds; most of the time is theirs.

    The first fold of each is trained first: a finalist that is significantly and far worse there gets no other folds.
    Where none could be trained, the best net of the search predicts the test rows.
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
    best = history.best(train="net")
    if best is not None and not history.done(train="net", predict_test=True):
        yield [best.config.vary(predict_test=True)]


def decide_finalists(history: History, s: Situation) -> list[Config]:
    """The finalists' configs with sizes, folds and seconds, for the time that is left.

    They are three families trained soundly over all folds, and more where each is trained fully; else two, else one.
    Where a single net does not get enough epochs on all folds there are fewer folds, shared with a net that was not
    compared; [] where frozen features over all folds are useful, beside which a blend has no use for such nets.
    """
    # which nets are useful was decided by the speeds before: a net that was compared may be a finalist
    s = with_kept(history, corrected(history, with_useful_nets(history, s)))
    heads = family_heads(history, s)
    deep = at_depths(heads, usable(s), s)
    looks = 0.0 if s.device == "cpu" else 2 * LOOK[s.device]  # of two nets at their sizes, for `with_batch`
    configs = deep or families_paid(heads, usable(s) - looks, s, settled_sizes(history, s))
    if not configs and not compared(history, s):  # a cheaper net with good frozen features may be affordable
        others = ([head] for head in heads[1:] if head[0].weights)
        configs = next(filter(None, (families_paid(one, usable(s), s) for one in others)), [])
    if not configs and s.device == "cpu" and s.budget < LONG and nets_are_useful(history) and s.pretrained:
        return []
    if not configs:
        return on_fewer_folds(history, heads[0], s)
    configs = beside_scratch(configs[0], history, s) if len(configs) == 1 else configs
    configs = [c if c.seconds else with_batch(c, s) for c in configs]  # a net that was tried keeps its batch
    decoding = sum({pictures_of(config): decoding_of(config, s) for config in configs}.values())
    beside = sum(beside_folds(config, len(configs) + 1, s) for config in [configs[0], *configs])
    configs = with_long_recipe(configs, usable(s) - decoding - beside, s, by_need=bool(deep))
    return [averaged(config, s) for config in timed(configs, s, by_need=bool(deep))]


def timed(configs: list[Config], s: Situation, by_need: bool) -> list[Config]:
    """The configs over all folds, with the seconds that are left once their pictures are decoded."""
    for config in sorted(configs, key=lambda c: -c.cached_size):  # smaller ones may be read from the largest pixels
        s.prepare(config)
    time = usable(s)
    time -= min(sum(beside_folds(c, len(configs), s) for c in configs), max(time, 0.0) / 2)
    seconds = used_up(configs, seconds_each(configs, time, s, by_need), time, s)
    every = tuple(range(folds_of(s)))
    asked = [asked_seconds(each, c, s) for c, each in zip(configs, seconds, strict=True)]
    return [c.vary(seconds=max(round(each, 1), LEAST), folds=every) for c, each in zip(configs, asked, strict=True)]


def with_long_recipe(configs: list[Config], time: float, s: Situation, by_need: bool = False) -> list[Config]:
    """The finalists with a long recipe beside the first that trains whole, if all stay sound with thirty epochs of it.

    It may have the time that the others cannot use, since further seeds of theirs gain less. Where rows are so many
    that a few epochs are a full training it gets an equal share only: more would be most of the time, for an unmeasured
    gain.
    """
    whole = next((c for c in configs if not c.top), None)
    if s.space.names() or whole is None:
        return configs
    long = long_recipe(whole, s)
    if not s.space.allows(mixup=long.mixup, cutmix=long.cutmix):
        return configs
    place = configs.index(whole) + 1
    more = [*configs[:place], long, *configs[place:]]
    seconds = [time / len(more) / folds_of(s)] * len(more)
    if by_need or epochs_for("full", whole, s) >= LONG_RECIPE / 2:
        seconds = seconds_each(more, time, s, by_need)
    epochs = [epochs_in(each, c, s) for each, c in zip(seconds, more, strict=True)]
    sound = all(e >= sound_at_its_size(c, s) for e, c in zip(epochs, more, strict=True))
    return more if sound and epochs[place] >= LONG_RECIPE else configs


def seconds_each(configs: list[Config], time: float, s: Situation, by_need: bool = False) -> list[float]:
    """Seconds of a fold for each config, where the time that one cannot use goes to the others.

    The shares are equal, or such that each config gets the same multiple of the epochs that it needs.
    """
    folds = folds_of(s)
    parts = [needs(c, s) if by_need else 1.0 for c in configs]
    most = [fold_seconds(most_epochs(c, s), c, s) for c in configs]
    if len(configs) >= KINDS and not by_need:
        most = [min(m, MOST_OF_TIME * time / folds) for m in most]
    each = [0.0] * len(configs)
    waiting = sorted(range(len(configs)), key=lambda i: most[i] / parts[i])
    for place, i in enumerate(waiting):
        share = parts[i] / sum(parts[j] for j in waiting[place:])
        each[i] = min(share * (time / folds - sum(each)), most[i])
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
    # a search may adopt trivial augmentation and cutmix, but trains no net with a light end
    return config.light_end > 0 and config.cutmix > 0 and config.policy.startswith("trivial")


def averaged(config: Config, s: Situation) -> Config:
    """The config with averaged weights where a card takes many steps and holds another copy of the net's weights.

    In short trainings they did not help (LOG.md).
    """
    steps = epochs_asked(config, s) * rows_of_fold(s) / config.batch
    decay = next((decay for least, decay in AVERAGED if steps >= least), 0.0)
    free = s.device != "cpu" and "ema" not in s.space.start and not config.swa
    both = config.vary(ema=decay)
    return both if free and fits_memory(both, s) else config


def hopeless(config: Config, configs: list[Config], history: History, s: Situation) -> bool:
    """Whether the finalist's first fold is significantly and far worse than the best one's."""
    keys = {c: as_run(c.vary(folds=c.folds[:1]), history, s).key for c in configs}
    firsts = [t for t in history.done() if t.key in keys.values()]
    own = next((t for t in firsts if t.key == keys[config]), None)
    if own is None:  # it failed, or there was no time: the controller decides about its other folds
        return False
    best = max(firsts, key=lambda t: t.score)
    return own is not best and far_worse(own, best, s)


def far_worse(trial: Trial, best: Trial, s: Situation) -> bool:
    """Whether a trial's loss by row exceeds HOPELESS times the best's by more than two standard errors."""
    loss, covariance, unit = observed([best, trial], s)
    if s.row_losses(best) is None:  # differences of scores are not ratios of losses
        return False
    return bool(loss[1] > (HOPELESS - 1) * unit + 2 * stderr_against(covariance, 0)[1])


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
    nets = [decoded_in(config, time / len(nets), s) for config in nets]
    if beside and epochs_in(time / 2 - decoding_of(nets[0], s), nets[0], s) < epochs_for("quick", nets[0], s):
        nets = nets[1:]
    configs: list[Config] = []
    for i, config in enumerate(nets):
        if decoding_of(config, s) < usable(s):
            s.prepare(config)
        share = usable(s) / len(nets) if not i else usable(s) / 2
        folds = int(share / fold_seconds(epochs_for("enough", config, s), config, s))
        configs.append(fitted_in(config, share - 0.5, max(1, min(folds_of(s), folds)), s))
    return configs


def decoded_in(config: Config, time: float, s: Situation) -> Config:
    """The config; at the size that is decoded already where decoding its own would take half of the time or more."""
    fixed = "size" in s.space.start or (config.weights and net_named(config.backbone).sizes)
    return config if fixed or decoding_of(config, s) < time / 2 else resized(config, FIRST_SIZE)


def usable(s: Situation, *configs: Config) -> float:
    """Seconds left for trials of these configs, less a card's preparations and a margin for misjudgements."""
    ready = sum(ready_seconds(config, s) for config in configs)
    return (1 - SLACK.misjudged) * s.left() - min(1.0, SLACK.misjudged * s.budget) - ready


def fitted_in(config: Config, time: float, folds: int, s: Situation) -> Config:
    """The config over `folds` folds in `time` seconds, or in what it can use; over fewer where these get too little.

    Predicting may take longer than the time, and a card's preparations may leave less than half of enough epochs.
    Without time it asks for a second, which the controller will refuse.
    """
    fitted = config
    for n in range(folds, 0, -1):
        fitted = config.vary(
            folds=tuple(range(n)), seconds=0.0
        )  # no fold of it is done, as may be one of a search trial
        each = max(time - ready_seconds(fitted, s), min(time, 1.0)) / n
        longest = fold_seconds(max(most_epochs(config, s), LONGEST), config, s)
        seconds = asked_seconds(min(each, longest), config, s)
        fitted = fitted.vary(seconds=max(round(seconds, 1), LEAST))
        if cost_of(fitted, s) <= time + 1 and epochs_asked(fitted, s) >= 0.5 * epochs_for("enough", fitted, s):
            break
    return fitted


def finals_of(history: History, s: Situation) -> list[Trial]:
    """The finalists over the most folds, or the search's nets where there are no finalists; best first."""
    nets = [t for t in history.done(train="net") if t.stage != "rest"]  # those are further seeds of the same nets
    searched = search_base(history, s).seconds if nets else 0.0
    finals = [t for t in nets if t.config.seconds > searched or t.stage == "finalists"]
    finals = [t for t in finals if len(t.config.folds) == max(len(f.config.folds) for f in finals)]
    return sorted(finals or nets, key=lambda t: -t.score)
