"""Seconds a config will take, from what was measured on this machine and this data."""

from dataclasses import replace

from autoclimb.search.situation import Situation, Speed, rows_of_fold
from autoclimb.types import Config

MARGIN = 1.1  # trials that count epochs take what they take; that much more is set aside for them
SWEEP_STEPS = 100  # of learn.finder, beside the epochs that are counted
HEAD_SECONDS = 4e-11  # a head's cross-validation: seconds per row cubed (2 cores: 4,000 rows, 2.5 s a fold)
HAND_MADE = {"gradients": 900.0, "patches": 160.0}  # rows a second on 2 cores, low; benchmarks/LOG.md


def speed_of(config: Config, situation: Situation) -> Speed:
    """The config's speed at its own size: measured at its backbone's first size, scaled by the pixels."""
    plain = measured(config)
    speed = situation.measure(plain)
    trained, seen = (plain.size / config.size) ** 2, (plain.size / config.seen_size) ** 2
    return replace(speed, train=speed.train * trained, predict=speed.predict * seen)


def measured(config: Config) -> Config:
    """The config whose speed tells this one's: at one size, and that small where the net has a choice."""
    size = min(config.size, 64) if not config.weights else min(config.size, 128)
    return config.vary(size=size, sizes=(), scales=(), test_size=0)


def epoch_seconds(config: Config, situation: Situation) -> float:
    """Seconds for one pass over a fold's training rows; progressive resizing and several scales taken into account."""
    speed = speed_of(config, situation).train
    if not speed:
        return float("inf")
    first_half = [(size / config.size) ** 2 for size in config.sizes]
    share = 0.5 + 0.5 * sum(first_half) / len(first_half) if first_half else 1.0
    if config.scales:
        low, high = config.scales
        share *= (low**2 + low * high + high**2) / 3  # the mean square of a factor drawn evenly
    return rows_of_fold(situation) / speed * share


def predict_seconds(config: Config, situation: Situation) -> float:
    """Seconds to predict a fold's held-out rows and the test with one net and one view."""
    speed = speed_of(config, situation).predict
    return (situation.rows / situation.folds + situation.answered) / speed if speed else float("inf")


def cost_of(config: Config, situation: Situation) -> float:
    """Seconds that the whole trial will take."""
    folds = max(len(config.folds) - situation.folds_done(config), 0)
    if config.train == "features":
        everything = situation.rows + situation.answered
        if config.backbone in HAND_MADE:
            making = everything / HAND_MADE[config.backbone]
        else:
            speed = speed_of(config, situation).predict * (0.5 if config.tta == "flip" else 1.0)
            making = everything / speed if speed else float("inf")
        return MARGIN * making + 1 + folds * (0.5 + HEAD_SECONDS * min(rows_of_fold(situation), 6000) ** 3)
    if config.seconds:
        most = 0.3 * config.seconds + predict_seconds(config, situation)  # training is never cut below 0.3 of the time
        return max(config.seconds, most) * folds + 0.5
    sweep = 0 if config.lr else SWEEP_STEPS * config.batch / max(rows_of_fold(situation), 1)  # epochs
    each = (config.epochs + sweep) * epoch_seconds(config, situation) + predict_seconds(config, situation)
    return MARGIN * folds * (each + 1)
