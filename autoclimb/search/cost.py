"""Seconds a config will take, from what was measured on this machine and this data."""

from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import Any

from autoclimb.budget import SLACK
from autoclimb.search.nets import net_named
from autoclimb.search.situation import FIRST_SIZE, Situation, Speed, rows_of_fold
from autoclimb.types import Config, History, Trial

SWEEP_STEPS = 100  # of learn.finder, beside the epochs that are counted
NEIGHBOUR_SECONDS = 1e-7  # per row squared of a head that votes by neighbours
HEAD_SECONDS = 4e-11  # a head's cross-validation: seconds per row cubed (2 cores: 4,000 rows, 2.5 s a fold)
LINEAR_SECONDS = 6e-11  # of a linear one, to as many rows as features have columns; 404 to 2,001 rows took .6 to 3.5 s
HAND_MADE = {"gradients": 900.0, "patches": 280.0}  # rows a second on 2 cores, low; benchmarks/LOG.md
DOWNLOAD = 20e6  # bytes a second from the hub (assumption; Kaggle and Colab are faster, homes are slower)
# pictures of 500 x 375 px a second that one core decodes (benchmarks/RESULTS.md, cache.py); others by their area
DECODED, DECODED_AREA = 508.0, 500.0 * 375.0
CORES = {"cpu": 2, "cuda": 8}  # that decode, where the search does not know (assumption)
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
    decoded = frozenset({FIRST_SIZE, *(trial.config.cached_size for trial in history.done())})
    return replace(situation, kept=kept, on_disk=on_disk, warm=warm, decoded=decoded)


def shapes(config: Config) -> frozenset[tuple[Any, ...]]:
    """The shapes of batches that a trial's net sees, as far as a card chooses its kernels by them."""
    net = config.backbone, config.model_args, config.fine_stem, config.train, config.batch
    sizes = (config.size,) if config.train == "features" else (config.size, config.seen_size, *config.sizes)
    return frozenset((*net, size) for size in sizes)


def ready_seconds(config: Config, situation: Situation) -> float:
    """Seconds until a card has recorded the trial's nets, and has its kernels for what is new to it."""
    if situation.device == "cpu" or config.backbone in HAND_MADE:
        return 0.0
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
    return SLACK.trial_margin * pictures / speed + download_seconds(config) if speed else float("inf")


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


def full_cost(config: Config, situation: Situation) -> float:
    """Seconds that the trial takes from nothing, whatever of it is done already: what a replay must plan with."""
    fresh = replace(situation, folds_done=lambda config: 0, on_disk=(), warm=())
    return cost_of(config, fresh)


def features_seconds(config: Config, situation: Situation) -> float:
    """Seconds to make the features of every item; no time once they are in the cache."""
    everything = situation.rows + situation.answered
    if config.backbone in HAND_MADE:
        return SLACK.trial_margin * everything / HAND_MADE[config.backbone]
    speed = speed_of(config, situation).predict * (0.5 if config.tta == "flip" else 1.0)
    return SLACK.trial_margin * everything / speed + download_seconds(config) if speed else float("inf")


def head_seconds(config: Config, folds: int, situation: Situation) -> float:
    """Seconds to fit and apply a head on features, on so many folds."""
    rows = rows_of_fold(situation)
    if config.head == "kernel":
        return 1 + folds * (0.5 + HEAD_SECONDS * min(rows, 6000) ** 3)
    if config.head == "knn":
        return 1 + folds * (0.5 + NEIGHBOUR_SECONDS * min(rows, 20_000) ** 2)
    return 0.5 + folds * (0.1 + LINEAR_SECONDS * min(rows, 2000) ** 3 + 1e-4 * rows)


def decoding_seconds(situation: Situation, cores: int) -> float:
    """Seconds to decode every picture once, by that many cores."""
    each = max(situation.side**2, 1) * situation.pictures / DECODED_AREA / DECODED
    return (situation.rows + situation.answered) * each / cores


def decoding_of(config: Config, situation: Situation) -> float:
    """Seconds to decode the pictures that the config looks at, about; 0 where that was done."""
    known = config.cached_size in situation.decoded
    return 0.0 if known else decoding_seconds(situation, CORES[situation.device])


def download_seconds(config: Config) -> float:
    """Seconds until the net's weights are here; 0 where they are already, or where nothing is downloaded."""
    return 4e6 * net_named(config.backbone).parameters / DOWNLOAD if config.weights == "hub" else 0.0


def corrected(history: History, situation: Situation) -> Situation:
    """The situation with every net's speed as its finished trials had it, other nets' by the median of all.

    A probe of a second misses what a training of minutes meets: preparing batches, warm caches, other work. Trainings
    and frozen features are corrected apart, these by trials that neither decoded pictures first nor found a part of
    their features on the disk.
    """
    ratios: dict[str, dict[str, list[float]]] = {"net": {}, "features": {}}
    pixels: set[tuple[int, str, int]] = set()
    features: set[Config] = set()
    for trial in history.done():
        config = trial.config
        pictures = config.cached_size, config.preprocess, config.grid
        tells = config.train == "net" or (
            pictures in pixels and not {features_like(config), trunk_of(config)} & features
        )
        ratio = speed_ratio(trial, situation) if tells else 0.0
        if ratio:
            rows = ratios[config.train].setdefault(config.backbone, [])
            rows.append(min(max(ratio, PLAUSIBLE[0]), PLAUSIBLE[1]))
        pixels.add(pictures)
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

    Nor does one of a run that went on from other hardware.
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
    planned_s = full_cost(config, situation)
    return planned_s / trial.seconds if planned_s < float("inf") else 0.0


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
