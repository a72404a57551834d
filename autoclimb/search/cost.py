"""The seconds that a config will take, from measurements on this machine and this data."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.policies import MIRRORED_ROWS, SYMMETRY_ROWS
from autoclimb.search.nets import net_named
from autoclimb.search.rates import STEP
from autoclimb.search.situation import FIRST_PICTURES, Situation, Speed, rows_of_fold
from autoclimb.types import History

SWEEP_STEPS = 100  # of learn.finder, beside the epochs of the config
NEIGHBOUR_SECONDS = 1e-7  # of a nearest-neighbour head, per row squared
# of a kernel head on 2 cores: per row squared of the thousand rows that choose its width, and per row cubed of all
CHOICE_SECONDS, HEAD_SECONDS = 5.5e-7, 4e-11
LINEAR_SECONDS = 6e-11  # of a linear head, per row cubed, for up to as many rows as features (benchmarks/LOG.md)
HAND_MADE = {"gradients": 1700.0, "patches": 350.0}  # pictures a second on 2 cores; benchmarks/LOG.md
DOWNLOAD = 20e6  # bytes a second from the hub (assumption; Kaggle and Colab are faster, homes are slower)
# seconds of a core to open a picture, to decode one of its pixels, and to make a pixel of the result
# (benchmarks/LOG.md)
OPENED, DECODED, KEPT = 3e-4, 6e-9, 7e-9
CORES = {"cpu": 2, "cuda": 8}  # for decoding, where the search does not know their number (assumption)
READY = 0.8  # seconds of a trial of features on a processor beside the features: building the net, recording the trial
# shares of a net's pass over pictures: up to its cut, its features written to disk, and above it. Their sum is from
# records of runs; one measurement had .78 to .99 and .18 to .27
TO_CUT, ABOVE_CUT = 0.85, 0.25
FORWARD = 1 / 3  # of a card's time until it has kernels for a new shape, where nothing is trained (assumption)
RECORDING = 0.5  # seconds until a card has recorded the graphs of a fold's net: .3 to .6 on an H100 (benchmarks/LOG.md)
VIEWS, MOST_VIEWS = {"none": 1, "flip": 2, "vertical": 2}, 8  # pictures of a row of learn.views, and of any other row


def speed_of(config: Config, situation: Situation) -> Speed:
    """The config's speed at its own size, with the time to read its pictures."""
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
    """The speed of the config that stands for this one (`measured`), scaled to this one's size.

    A picture takes time in proportion to its pixels; what a step takes beside its pictures stays.
    """
    size = measured(config).size
    train, predict = speed.train, speed.predict * (size / config.seen_size) ** 2
    if train:
        whole = config.batch / train  # seconds of a step
        beside = min(speed.step, whole)
        train = config.batch / (beside + (whole - beside) * (config.size / size) ** 2)
    return replace(speed, train=train, predict=predict)


@lru_cache(4096)  # every decision calls it for every trial
def measured(config: Config) -> Config:
    """The config whose speed stands for this one's: at one small size, of a net of fixed sizes the smallest of them."""
    size = min(config.size, 64) if not config.weights else 128
    size = min(net_named(config.backbone).sizes, default=size)
    top = config.top if config.train == "net" else 0  # frozen features pass through all stages
    return config.vary(size=size, sizes=(), scales=(), test_size=0, top=top)


def looked_at(config: Config, device: str) -> Config:
    """The config for which a net is looked at where the speed of this one is asked for.

    On a card a look at training, which every candidate gets, times predictions in the batches of features as well.
    """
    return config.vary(train="net", top=0) if device == "cuda" and config.train == "features" else config


def look_of(config: Config) -> str:
    """The name of the look at a net by which the config's speed is measured, once for all configs of that name."""
    name = f"{config.backbone}|{config.model_args}|{config.size}|{config.batch}|{config.fine_stem}"
    name += f"|{config.pool}" if config.pool else ""  # not every net can be built with every pool
    name += "|frozen norms" if config.frozen_norms else ""
    name += f"|grid {config.grid}" if config.grid else ""
    name += f"|top {config.top}" if config.top else ""
    return name + ("|features" if config.train == "features" else "")  # for which training is not measured


def epoch_seconds(config: Config, situation: Situation) -> float:
    """Seconds for one pass over a fold's train rows, with a student's pictures that its teachers label.

    Progressive resizing and several scales are taken into account. Infinite where the net has no speed.
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
    if situation.device == "cuda" and labelled < config.batch:  # a step takes as long however few pictures it has
        speed = min(speed, labelled / STEP)
    taught = config.taught_share(labelled, situation.answered + situation.rows - labelled)
    return labelled / (1 - taught) / speed * share


@lru_cache(4096)
def trunk_of(config: Config) -> Config:
    """A config of the values that decide the features at a net's cut: equal for configs that share those features."""
    names = ("backbone", "weights", "model_args", "fine_stem", "size", "preprocess", "grid", "top")
    return Config(**{name: getattr(config, name) for name in names})


def with_kept(history: History, situation: Situation) -> Situation:
    """The situation with what finished trials left behind: features, pictures, kernels of a card, downloads."""
    kept: dict[Config, int] = {}
    for trial in history.done():
        if trial.config.top:
            trunk = trunk_of(trial.config)
            kept[trunk] = max(kept.get(trunk, 0), variants_kept(trial.config))
    on_disk = frozenset(features_like(trial.config) for trial in history.done(train="features"))
    warm = frozenset(shape for trial in history.done() for shape in shapes(trial.config))
    decoded = frozenset({FIRST_PICTURES, *(pictures_of(trial.config) for trial in history.done())})
    downloaded = frozenset(trial.config.backbone for trial in history.done() if trial.config.weights == "hub")
    return replace(situation, kept=kept, on_disk=on_disk, warm=warm, decoded=decoded, downloaded=downloaded)


def after(config: Config, situation: Situation) -> Situation:
    """The situation once a trial of the config is done, as far as the next ones need not decode or download again."""
    return replace(
        situation,
        warm=frozenset(situation.warm) | shapes(config),
        decoded=frozenset({*situation.decoded, pictures_of(config)}),
        downloaded=frozenset({*situation.downloaded, *([config.backbone] if config.weights == "hub" else [])}),
    )


def pictures_of(config: Config) -> tuple[int, str, int]:
    """The key of the pixels that a trial reads: size, preprocess and grid."""
    return config.cached_size, config.preprocess, config.grid


def shapes(config: Config) -> frozenset[tuple[Any, ...]]:
    """The shapes of the batches of a trial's net, by which a card chooses its kernels."""
    net = config.backbone, config.model_args, config.fine_stem, config.train, config.batch
    sizes = (config.size,) if config.train == "features" else (config.size, config.seen_size, *config.sizes)
    return frozenset((*net, size) for size in sizes)


def ready_seconds(config: Config, situation: Situation) -> float:
    """Seconds until a card has recorded the graphs of the trial's nets and has kernels for their new shapes.

    On a processor they are the seconds until features can be computed: building a frozen net, or learning a dictionary.
    On both they include the download of a net that trains; that of a frozen one is counted with its features.
    """
    downloaded = 0.0 if config.train == "features" or config.top else download_seconds(config, situation)
    if situation.device == "cpu" or config.backbone in HAND_MADE:
        return READY if config.train == "features" else downloaded
    frozen = config.train == "features"
    new = shapes(config) - set(situation.warm) - (frozenset() if frozen else shapes(measured(config)))
    changing = config.unfreeze or config.grid or config.scales  # the graphs of such nets are not recorded
    folds = max(len(config.folds) - situation.folds_done(config), 0)
    recorded = 0.0 if frozen or changing else RECORDING * folds
    cold = situation.measure(measured(config)).cold * (FORWARD if frozen else 1.0) if new else 0.0
    return downloaded + recorded + len(new) * cold


@lru_cache(4096)
def features_like(config: Config) -> Config:
    """A config of the values that decide the features below a head: equal for configs that share those features."""
    names = ("train", "backbone", "weights", "model_args", "layers", "size", "preprocess", "grid", "tta")
    return Config(**{name: getattr(config, name) for name in names})


def variants_kept(config: Config) -> int:
    """The number of variants of each train picture whose features a trial stores; for a head it is its views."""
    views = _views(config)
    return views if config.train == "features" else max(views, config.variants)


def _views(config: Config) -> int:
    return VIEWS.get(config.tta, MOST_VIEWS)


def trunk_seconds(config: Config, situation: Situation) -> float:
    """Seconds to store the features that the top of a net trains on; 0 where the full net trains."""
    if not config.top:
        return 0.0
    kept = situation.kept.get(trunk_of(config), 0)
    pictures = situation.rows * max(variants_kept(config) - kept, 0)
    pictures += situation.answered * max(_views(config) - kept, 0)
    if not pictures:
        return 0.0
    speed = speed_of(config.vary(top=0, train="features"), situation).predict
    if not speed:
        return float("inf")
    return SLACK.trial_margin * TO_CUT * pictures / speed + download_seconds(config, situation)


def predict_seconds(config: Config, situation: Situation) -> float:
    """Seconds to predict a fold's held-out rows, and the test rows if asked for, with one net and one view."""
    speed = speed_of(config, situation).predict
    rows = situation.rows / situation.folds + (situation.answered if config.predict_test else 0)
    return rows / speed if speed else float("inf")


def cost_of(config: Config, situation: Situation) -> float:
    """Seconds that the trial will still take: folds that are done, and features that are stored, cost nothing more."""
    done = situation.folds_done(config)
    folds = max(len(config.folds) - done, 0)
    if config.train == "features":
        there = features_like(config) in situation.on_disk
        features = 0.0 if there else features_seconds(config, situation) + ready_seconds(config, situation)
        return features + head_seconds(config, folds, situation)
    ready = ready_seconds(config, situation)
    # folds of a trial that was only compared: their nets have the test rows left to predict
    compared = situation.folds_done(config.vary(predict_test=False)) - done if folds and config.predict_test else 0
    if compared:
        ready += compared * situation.answered / (speed_of(config, situation).predict or math.inf)
        folds -= compared
    if config.seconds:
        least = SLACK.least_training_share * config.seconds + predict_seconds(config, situation)
        return max(config.seconds, least) * folds + SLACK.trial_overhead + ready
    sweep = 0 if config.lr else SWEEP_STEPS * config.batch / max(rows_of_fold(situation), 1)  # epochs
    each = (config.epochs + sweep) * epoch_seconds(config, situation) + predict_seconds(config, situation)
    return SLACK.trial_margin * folds * (each + SLACK.beside_fold) + ready


def asked_cost(config: Config, history: History, situation: Situation) -> float:
    """Seconds that a trial takes if it is run now.

    Pictures that are not decoded yet are decoded first, and a first trial of features waits for the worker's imports.
    """
    waits = config.train == "features" and not history.trials
    decoding = 0.0 if situation.is_decoded(config) else decoding_of(config, situation)
    return cost_of(config, situation) + decoding + (SLACK.first_features if waits else 0.0)


def full_cost(config: Config, situation: Situation, earlier: Iterable[Config] = ()) -> float:
    """Seconds that the trial takes from the beginning, whatever is done already, as a replay must plan it.

    Trials of `earlier` configs come before it, so that it downloads nothing that they did.
    """
    fresh = replace(situation, folds_done=lambda config: 0, on_disk=(), warm=(), kept={}, downloaded=())
    for config_before in earlier:
        fresh = after(config_before, fresh)
    return cost_of(config, fresh)


def features_seconds(config: Config, situation: Situation) -> float:
    """Seconds to compute the features of every item; fewer where the features at the net's cut are stored."""
    everything = situation.rows + situation.answered
    if config.backbone in HAND_MADE:
        held_out = min(SYMMETRY_ROWS, situation.rows / situation.folds)
        pictures = everything + 2 * held_out + min(MIRRORED_ROWS, situation.rows) / 2  # needed by about half the sets
        return SLACK.trial_margin * pictures / HAND_MADE[config.backbone]
    views = 2 if config.tta == "flip" else 1
    passes = views * 1.0
    if config.top:
        passes = views * ABOVE_CUT + max(views - situation.kept.get(trunk_of(config), 0), 0) * TO_CUT
    speed = speed_of(config, situation).predict
    if not speed:
        return float("inf")
    return SLACK.trial_margin * passes * everything / speed + download_seconds(config, situation)


def head_seconds(config: Config, folds: int, situation: Situation) -> float:
    """Seconds to fit and apply a head on features, over `folds` folds."""
    rows = rows_of_fold(situation)
    folds_here = folds * situation.heads.get(config.head, 1.0)
    if config.head == "kernel":
        return folds_here * (0.05 + CHOICE_SECONDS * min(rows, 1000) ** 2 + HEAD_SECONDS * min(rows, 6000) ** 3)
    if config.head == "knn":
        return 1 + folds_here * (0.5 + NEIGHBOUR_SECONDS * min(rows, 20_000) ** 2)
    return folds_here * (0.05 + LINEAR_SECONDS * min(rows, 2000) ** 3 + 1e-4 * rows)


def decoding_seconds(situation: Situation, cores: int, size: int) -> float:
    """Seconds to decode every picture once at `size` pixels a side on `cores` cores."""
    each = situation.pictures * (OPENED + DECODED * situation.side**2) + KEPT * size**2
    return (situation.rows + situation.answered) * each / cores


def decoding_of(config: Config, situation: Situation) -> float:
    """Seconds to decode the config's pictures, roughly; 0 where they are decoded already."""
    known = pictures_of(config) in situation.decoded
    return 0.0 if known else decoding_seconds(situation, cores_of(situation), config.cached_size)


def cores_of(situation: Situation) -> int:
    """Cores that decode."""
    return situation.cores or CORES[situation.device]


def download_seconds(config: Config, situation: Situation) -> float:
    """Seconds to download the net's weights; 0 for those of an earlier trial, or that do not come from the hub."""
    here = config.weights != "hub" or config.backbone in situation.downloaded
    return 0.0 if here else 4e6 * net_named(config.backbone).parameters / DOWNLOAD
