"""What finished trials say of planned seconds: speeds and heads corrected by them, and the plan's errors in words."""

import math
from dataclasses import replace
from statistics import median

from autoclimb.config import Config
from autoclimb.search.cost import (
    decoding_of,
    download_seconds,
    features_like,
    features_seconds,
    head_seconds,
    pictures_of,
    ready_seconds,
    speed_of,
    trunk_of,
)
from autoclimb.search.situation import FIRST_PICTURES, Situation, Speed
from autoclimb.types import History, Trial

MANY = 10  # trials from which the 90th percentile of their errors says something
PLAUSIBLE = (0.2, 3.0)  # factors by which a finished trial may correct a speed; beyond them something else happened


def corrected(history: History, situation: Situation) -> Situation:
    """The situation with each net's speed corrected by its finished trials, other nets' by the median of all.

    The seconds of heads come first, since a trial of features includes its heads: on an Intel Xeon kernel ones took .5
    of the planned, linear ones .7. A probe of a second misses what a training of minutes meets: preparing batches, warm
    caches, other work. Trainings and frozen features are corrected separately, the latter by trials that neither waited
    for the worker's imports, as the first one does, nor found a part of their features on disk.
    """
    ratios: dict[str, dict[str, list[float]]] = {"net": {}, "features": {}}
    heads: dict[str, list[float]] = {}
    for trial in history.done(train="features"):
        if ratio := head_ratio(trial, situation):
            heads.setdefault(trial.config.head, []).append(ratio)
    if heads:
        situation = replace(situation, heads={head: median(known) for head, known in heads.items()})
    pixels: set[tuple[int, str, int]] = set()
    features: set[Config] = set()
    downloaded: set[str] = set()
    for trial in history.done():
        config = trial.config
        new = not {features_like(config), trunk_of(config)} & features
        informative = config.train == "net" or (new and bool(pixels))
        before = situation
        if informative and config.train == "features":
            before = replace(situation, decoded={FIRST_PICTURES} | pixels, downloaded=downloaded)
        ratio = speed_ratio(trial, before) if informative else 0.0
        if ratio:
            rows = ratios[config.train].setdefault(config.backbone, [])
            rows.append(min(max(ratio, PLAUSIBLE[0]), PLAUSIBLE[1]))
        pixels.add(pictures_of(config))
        downloaded |= {config.backbone} if config.weights == "hub" else set()
        features |= {features_like(config)} if config.train == "features" else set()
        features |= {trunk_of(config)} if config.top else set()
    if not any(ratios.values()):
        return situation

    def measure(config: Config) -> Speed:
        speed, by_net = situation.measure(config), ratios[config.train]
        factor = median(by_net.get(config.backbone) or [ratio for row in by_net.values() for ratio in row] or [1.0])
        train, predict, step = speed.train * factor, speed.predict * factor, speed.step / factor
        return replace(speed, train=train, predict=predict, step=step)

    return replace(situation, measure=measure)


def head_ratio(trial: Trial, situation: Situation) -> float:
    """The seconds of the trial's heads over the planned ones; 0 where the trial does not tell."""
    seconds, here = trial.facts.get("head_s", 0.0), trial.facts.get("hardware", "") == situation.hardware
    ratio = seconds / head_seconds(trial.config, 1, replace(situation, heads={})) if here else 0.0
    return min(max(ratio, PLAUSIBLE[0]), PLAUSIBLE[1]) if ratio else 0.0


def speed_ratio(trial: Trial, situation: Situation) -> float:
    """The speed of the trial's net over the planned one; 0 where the trial does not tell.

    A trial on other hardware does not tell, nor does one of features whose time went largely into decoding or a head.
    """
    config = trial.config
    if trial.facts.get("hardware", "") != situation.hardware:
        return 0.0
    if config.train == "net":
        rate = trial.facts.get("img_s", 0.0)
        if not rate or config.sizes or config.scales:  # img_s counts pictures of all sizes the same
            return 0.0
        planned = speed_of(config, situation).train
        return rate / planned if planned else 0.0
    if not config.weights or not trial.seconds or download_seconds(config, situation):  # hand-made ones have no speed
        return 0.0
    planned_s, decoding = features_seconds(config, situation), decoding_of(config, situation)
    other_work = ready_seconds(config, situation) + decoding + head_seconds(config, len(config.folds), situation)
    seconds = trial.seconds - other_work
    informative = planned_s < float("inf") and seconds > trial.seconds / 3 and decoding < trial.seconds / 6
    return planned_s / seconds if informative else 0.0


def speed_words(history: History, situation: Situation) -> str:
    """The error of the speeds that trials were planned with, in words; "" where no net was trained."""
    ratios = [ratio for trial in history.done(train="net") if (ratio := speed_ratio(trial, situation))]
    return _ratio_words("nets trained at {} of the speed that was measured before", ratios)


def seconds_words(history: History) -> str:
    """The error of the seconds that trials were planned to take, in words; "" where none was planned and finished."""
    ratios = [trial.seconds / trial.facts["planned_s"] for trial in history.done() if trial.facts.get("planned_s")]
    return _ratio_words("trials took {} of the seconds planned for them", ratios)


def _ratio_words(sentence: str, ratios: list[float]) -> str:
    """The sentence with the median of trials' ratios in it, their range, of many the error's 90th percentile.

    It is "" without any.
    """
    if not ratios:
        return ""
    spread = f", {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} trials" if len(ratios) > 1 else ""
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    within = errors[math.ceil(0.9 * len(errors)) - 1]
    most = f", nine of ten within {within:.0%}" if len(errors) >= MANY else ""
    return sentence.format(f"{median(ratios):.2f}") + spread + most
