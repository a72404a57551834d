"""Seconds a config will take, from what was measured on this machine and this data."""

from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import Any

from autoclimb.budget import SLACK
from autoclimb.policies import MIRRORED_ROWS, SYMMETRY_ROWS
from autoclimb.search.nets import net_named
from autoclimb.search.situation import FIRST_PICTURES, Situation, Speed, rows_of_fold
from autoclimb.types import Config, History, Trial

SWEEP_STEPS = 100  # of learn.finder, beside the epochs that are counted
NEIGHBOUR_SECONDS = 1e-7  # per row squared of a head that votes by neighbours
# a kernel head's fit on 2 cores: per row squared of the thousand that its width is chosen on, and per row cubed of all
CHOICE_SECONDS, HEAD_SECONDS = 5.5e-7, 4e-11
LINEAR_SECONDS = 6e-11  # of a linear one, per row cubed, to as many rows as features have columns (benchmarks/LOG.md)
HAND_MADE = {"gradients": 1700.0, "patches": 350.0}  # pictures a second on 2 cores; benchmarks/LOG.md
DOWNLOAD = 20e6  # bytes a second from the hub (assumption; Kaggle and Colab are faster, homes are slower)
# seconds of a core to open a picture, to decode a pixel of it, and to make one of what is kept (benchmarks/LOG.md)
OPENED, DECODED, KEPT = 3e-4, 6e-9, 7e-9
CORES = {"cpu": 2, "cuda": 8}  # that decode, where the search does not know (assumption)
READY = 0.8  # seconds on a processor until features come, by records of runs: the net is built, the trial put on record
# of a net's pass over pictures: up to its cut, with what it made of them written down, and from there on. Their sum is
# of records of runs; one look had .78 to .99 and .18 to .27
TO_CUT, ABOVE_CUT = 0.85, 0.25
RECORDING = 0.5  # seconds until a card has recorded a fold's net: .3 to .6 on an H100 (benchmarks/LOG.md)
VIEWS, MOST_VIEWS = {"none": 1, "flip": 2, "vertical": 2}, 8  # pictures that a row of learn.views is; of any other
PLAUSIBLE = (0.2, 3.0)  # of a measured speed that a finished trial may correct it by; beyond, something else happened


def speed_of(config: Config, situation: Situation) -> Speed:
    """The config's speed at its own size, reading its pictures taken into account."""
    speed = at_own_size(situation.measure(measured(config)), config)
    seconds = situation.reading(config.cached_size, config.preprocess, config.grid)
    if not seconds:
        return speed
    if situation.device == "cpu":  # the same cores read and train
        train, predict = (rate / (1 + rate * seconds) for rate in (speed.train, speed.predict))
    else:
        train, predict = (min(rate, 1 / seconds) for rate in (speed.train, speed.predict))
    return replace(speed, train=train, predict=predict)


def at_own_size(speed: Speed, config: Config) -> Speed:
    """What was measured for the config (`measured`), at the config's own size: scaled by the pixels."""
    size = measured(config).size
    trained, seen = (size / config.size) ** 2, (size / config.seen_size) ** 2
    return replace(speed, train=speed.train * trained, predict=speed.predict * seen)


@lru_cache(4096)  # every decision asks it of every trial
def measured(config: Config) -> Config:
    """The config whose speed tells this one's: at one size, and that small where the net has a choice."""
    size = min(config.size, 64) if not config.weights else 128
    if net_named(config.backbone).sizes:
        size = config.size
    top = config.top if config.train == "net" else 0  # frozen features come through the whole net
    return config.vary(size=size, sizes=(), scales=(), test_size=0, top=top)


def epoch_seconds(config: Config, situation: Situation) -> float:
    """Seconds for one pass over a fold's training rows, with what a student's teachers answer for beside them.

    Progressive resizing and several scales are taken into account.
    """
    speed = speed_of(config, situation).train
    if not speed:
        return float("inf")
    first_half = [(size / config.size) ** 2 for size in config.sizes]
    share = 0.5 + 0.5 * sum(first_half) / len(first_half) if first_half else 1.0
    if config.scales:
        low, high = config.scales
        share *= (low**2 + low * high + high**2) / 3  # the mean square of a factor drawn evenly
    labelled = rows_of_fold(situation)
    taught = config.taught_share(labelled, situation.answered + situation.rows - labelled)
    return labelled / (1 - taught) / speed * share


def trunk_of(config: Config) -> Config:
    """What decides the features at a net's cut, all else left at its default: configs that share them have it alike."""
    names = ("backbone", "weights", "model_args", "fine_stem", "size", "preprocess", "grid", "top")
    return Config(**{name: getattr(config, name) for name in names})


def with_kept(history: History, situation: Situation) -> Situation:
    """The situation with the features that finished trials have made of the pictures, whole nets' and at their cuts."""
    kept: dict[Config, int] = {}
    for trial in history.done():
        if trial.config.top:
            trunk = trunk_of(trial.config)
            kept[trunk] = max(kept.get(trunk, 0), variants_kept(trial.config))
    on_disk = frozenset(features_like(trial.config) for trial in history.done(train="features"))
    warm = frozenset(shape for trial in history.done() for shape in shapes(trial.config))
    decoded = frozenset({FIRST_PICTURES, *(pictures_of(trial.config) for trial in history.done())})
    return replace(situation, kept=kept, on_disk=on_disk, warm=warm, decoded=decoded)


def pictures_of(config: Config) -> tuple[int, str, int]:
    """What decides the pixels that a trial looks at: size, preprocess and grid."""
    return config.cached_size, config.preprocess, config.grid


def shapes(config: Config) -> frozenset[tuple[Any, ...]]:
    """The shapes of batches that a trial's net sees, as far as a card chooses its kernels by them."""
    net = config.backbone, config.model_args, config.fine_stem, config.train, config.batch
    sizes = (config.size,) if config.train == "features" else (config.size, config.seen_size, *config.sizes)
    return frozenset((*net, size) for size in sizes)


def ready_seconds(config: Config, situation: Situation) -> float:
    """Seconds until a card has recorded the trial's nets, and has its kernels for what is new to it.

    On a processor those until features come: a frozen net is built, hand-made ones are learned.
    """
    if situation.device == "cpu" or config.backbone in HAND_MADE:
        return READY if config.train == "features" else 0.0
    new = shapes(config) - set(situation.warm) - shapes(measured(config))
    changing = config.unfreeze or config.grid or config.scales  # such nets are not recorded
    folds = max(len(config.folds) - situation.folds_done(config), 0)
    recorded = 0.0 if config.train == "features" or changing else RECORDING * folds
    return recorded + (len(new) * situation.measure(measured(config)).cold if new else 0.0)


def features_like(config: Config) -> Config:
    """What decides the features that a head is fitted on, all else left at its default."""
    names = ("train", "backbone", "weights", "model_args", "layers", "size", "preprocess", "grid", "tta")
    return Config(**{name: getattr(config, name) for name in names})


def variants_kept(config: Config) -> int:
    """Variants of the train pictures that a trial keeps features of: those trained on; for a head the views alone."""
    views = _views(config)
    return views if config.train == "features" else max(views, config.variants)


def _views(config: Config) -> int:
    return VIEWS.get(config.tta, MOST_VIEWS)


def trunk_seconds(config: Config, situation: Situation) -> float:
    """Seconds until the features are kept that the top of a net trains on; 0 where the whole net trains."""
    if not config.top:
        return 0.0
    kept = situation.kept.get(trunk_of(config), 0)
    pictures = situation.rows * max(variants_kept(config) - kept, 0)
    pictures += situation.answered * max(_views(config) - kept, 0)
    if not pictures:
        return 0.0
    speed = speed_of(config.vary(top=0, train="features"), situation).predict
    return SLACK.trial_margin * TO_CUT * pictures / speed + download_seconds(config) if speed else float("inf")


def predict_seconds(config: Config, situation: Situation) -> float:
    """Seconds to predict a fold's held-out rows and the test with one net and one view."""
    speed = speed_of(config, situation).predict
    return (situation.rows / situation.folds + situation.answered) / speed if speed else float("inf")


def cost_of(config: Config, situation: Situation) -> float:
    """Seconds that the rest of the trial will take: what is done of it already costs nothing more.

    That is its folds, and features that other trials have made.
    """
    folds = max(len(config.folds) - situation.folds_done(config), 0)
    if config.train == "features":
        there = features_like(config) in situation.on_disk
        made = 0.0 if there else features_seconds(config, situation) + ready_seconds(config, situation)
        return made + head_seconds(config, folds, situation)
    ready = ready_seconds(config, situation)
    if config.seconds:
        most = 0.3 * config.seconds + predict_seconds(config, situation)  # training is never cut below 0.3 of the time
        return max(config.seconds, most) * folds + SLACK.trial_overhead + ready
    sweep = 0 if config.lr else SWEEP_STEPS * config.batch / max(rows_of_fold(situation), 1)  # epochs
    each = (config.epochs + sweep) * epoch_seconds(config, situation) + predict_seconds(config, situation)
    return SLACK.trial_margin * folds * (each + 1) + ready


def asked_cost(config: Config, history: History, situation: Situation) -> float:
    """Seconds that a trial takes that is asked for now; features decode their pictures, and the first wait for imports.

    Nets' pictures are prepared before their time is planned.
    """
    cost = cost_of(config, situation)
    if config.train == "features":
        cost += decoding_of(config, situation) + (0.0 if history.trials else SLACK.first_features)
    return cost


def full_cost(config: Config, situation: Situation) -> float:
    """Seconds that the trial takes from nothing, whatever of it is done already: what a replay must plan with."""
    fresh = replace(situation, folds_done=lambda config: 0, on_disk=(), warm=(), kept={})
    return cost_of(config, fresh)


def features_seconds(config: Config, situation: Situation) -> float:
    """Seconds to make the features of every item; less where those at the net's cut are kept."""
    everything = situation.rows + situation.answered
    if config.backbone in HAND_MADE:
        held_out = min(SYMMETRY_ROWS, situation.rows / situation.folds)
        pictures = everything + 2 * held_out + min(MIRRORED_ROWS, situation.rows) / 2  # every other set needs those
        return SLACK.trial_margin * pictures / HAND_MADE[config.backbone]
    views = 2 if config.tta == "flip" else 1
    passes = views * 1.0
    if config.top:
        passes = views * ABOVE_CUT + max(views - situation.kept.get(trunk_of(config), 0), 0) * TO_CUT
    speed = speed_of(config, situation).predict
    return SLACK.trial_margin * passes * everything / speed + download_seconds(config) if speed else float("inf")


def head_seconds(config: Config, folds: int, situation: Situation) -> float:
    """Seconds to fit and apply a head on features, on so many folds."""
    rows = rows_of_fold(situation)
    if config.head == "kernel":
        return folds * (0.05 + CHOICE_SECONDS * min(rows, 1000) ** 2 + HEAD_SECONDS * min(rows, 6000) ** 3)
    if config.head == "knn":
        return 1 + folds * (0.5 + NEIGHBOUR_SECONDS * min(rows, 20_000) ** 2)
    return folds * (0.05 + LINEAR_SECONDS * min(rows, 2000) ** 3 + 1e-4 * rows)


def decoding_seconds(situation: Situation, cores: int, size: int) -> float:
    """Seconds to decode every picture once for items of so many pixels a side, by that many cores."""
    each = situation.pictures * (OPENED + DECODED * situation.side**2) + KEPT * size**2
    return (situation.rows + situation.answered) * each / cores


def decoding_of(config: Config, situation: Situation) -> float:
    """Seconds to decode the pictures that the config looks at, about; 0 where that was done."""
    known = pictures_of(config) in situation.decoded
    return 0.0 if known else decoding_seconds(situation, CORES[situation.device], config.cached_size)


def download_seconds(config: Config) -> float:
    """Seconds until the net's weights are here; 0 where they are already, or where nothing is downloaded."""
    return 4e6 * net_named(config.backbone).parameters / DOWNLOAD if config.weights == "hub" else 0.0


def corrected(history: History, situation: Situation) -> Situation:
    """The situation with every net's speed as its finished trials had it, other nets' by the median of all.

    A probe of a second misses what a training of minutes meets: preparing batches, warm caches, other work. Trainings
    and frozen features are corrected apart, these by trials that neither waited for the worker's imports, as the first
    does, nor found a part of their features on the disk.
    """
    ratios: dict[str, dict[str, list[float]]] = {"net": {}, "features": {}}
    pixels: set[tuple[int, str, int]] = set()
    features: set[Config] = set()
    for trial in history.done():
        config = trial.config
        new = not {features_like(config), trunk_of(config)} & features
        tells = config.train == "net" or (new and bool(pixels))
        ratio = speed_ratio(trial, replace(situation, decoded={FIRST_PICTURES} | pixels)) if tells else 0.0
        if ratio:
            rows = ratios[config.train].setdefault(config.backbone, [])
            rows.append(min(max(ratio, PLAUSIBLE[0]), PLAUSIBLE[1]))
        pixels.add(pictures_of(config))
        features |= {features_like(config)} if config.train == "features" else set()
        features |= {trunk_of(config)} if config.top else set()
    if not any(ratios.values()):
        return situation

    def measure(config: Config) -> Speed:
        speed, known = situation.measure(config), ratios[config.train]
        alike = known.get(config.backbone) or [ratio for row in known.values() for ratio in row] or [1.0]
        factor = median(alike)
        return replace(speed, train=speed.train * factor, predict=speed.predict * factor)

    return replace(situation, measure=measure)


def speed_ratio(trial: Trial, situation: Situation) -> float:
    """How many times faster than planned the trial's net was; 0 where the trial does not say.

    Nor does one of a run that went on from other hardware, or features that decoding or a head took much of.
    """
    config = trial.config
    if trial.facts.get("hardware", "") != situation.hardware:
        return 0.0
    if config.train == "net":
        rate = trial.facts.get("img_s", 0.0)
        if not rate or config.sizes or config.scales:  # img_s counts pictures of several sizes alike
            return 0.0
        planned = speed_of(config, situation).train
        return rate / planned if planned else 0.0
    if config.weights in ("", "hub") or not trial.seconds:  # hand-made ones have no speed, and hubs download
        return 0.0
    planned_s, decoding = features_seconds(config, situation), decoding_of(config, situation)
    beside = ready_seconds(config, situation) + decoding + head_seconds(config, len(config.folds), situation)
    taken = trial.seconds - beside
    tells = planned_s < float("inf") and taken > trial.seconds / 3 and decoding < trial.seconds / 6
    return planned_s / taken if tells else 0.0


def speed_words(history: History, situation: Situation) -> str:
    """How far the speeds that were planned with were off, "" where no net was trained."""
    ratios = [ratio for trial in history.done(train="net") if (ratio := speed_ratio(trial, situation))]
    return _ratio_words("nets trained at {} of the speed that was measured before", ratios)


def seconds_words(history: History) -> str:
    """How far off the seconds were that trials were planned to take, "" where none was planned and finished."""
    ratios = [trial.seconds / trial.facts["planned_s"] for trial in history.done() if trial.facts.get("planned_s")]
    return _ratio_words("trials took {} of the seconds planned for them", ratios)


def _ratio_words(sentence: str, ratios: list[float]) -> str:
    """The sentence with the median of trials' ratios in it, then their range; "" without any."""
    if not ratios:
        return ""
    spread = f", {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} trials" if len(ratios) > 1 else ""
    return sentence.format(f"{median(ratios):.2f}") + spread
