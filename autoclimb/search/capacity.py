"""Room for a config: in memory for its training, on disk for its pictures and the features of its frozen stages."""

import math
from collections.abc import Sequence

from autoclimb.config import Config
from autoclimb.search.cost import measured
from autoclimb.search.nets import channels_at_cut
from autoclimb.search.rates import memory_gb
from autoclimb.search.situation import Situation

SMALLEST_BATCH = 8  # below it batch norms have too few rows, and most memory is for weights
MEMORY_SHARE = 0.85  # of the memory that a training is planned to take, since the estimate is rough
MOST_KEPT = 1.5e9  # bytes of features at a net's cut that a plan stores for one net
MOST_KEPT_IN_ALL = 3e9  # and for all: beyond it learn.trunk deletes those of other nets


def pixel_bytes(size: int, s: Situation) -> float:
    """Bytes of an array of all decoded pictures at this size."""
    return float(s.rows + s.answered) * size * size * s.channels


def kept_bytes(config: Config, s: Situation) -> float:
    """Bytes on disk of the features at a net's cut, roughly: float16 maps of a sixteenth of the pictures' side."""
    channels = channels_at_cut(config.backbone, config.top)
    return 2.0 * channels * (config.size / 16) ** 2 * (s.rows + s.answered) * config.variants


def fits_disk(config: Config, s: Situation) -> bool:
    """Whether there is disk for the features at the net's cut, if it has one, at the config's size."""
    return not config.top or kept_bytes(config, s) <= min(s.pixel_bytes, MOST_KEPT)


def all_kept(configs: Sequence[Config], s: Situation) -> bool:
    """Whether the features that these configs train on stay on disk while all of them are trained."""
    return sum(kept_bytes(config, s) for config in configs if config.top) <= MOST_KEPT_IN_ALL


def within_memory(config: Config, s: Situation) -> Config:
    """The config with its batch halved until its training fits into the memory."""
    while config.batch > SMALLEST_BATCH and not fits_memory(config, s):
        config = config.vary(batch=max(SMALLEST_BATCH, config.batch // 2))
    return config


def fits_memory(config: Config, s: Situation, share: float = MEMORY_SHARE) -> bool:
    """Whether training the config is estimated to take at most that share of the memory."""
    return config.train != "net" or s.memory_gb == math.inf or memory_for(config, s) <= share * s.memory_gb


def memory_for(config: Config, s: Situation) -> float:
    """Gigabytes of training, by the probe of its net: linear in the number of pictures and in their area."""
    speed = s.measure(measured(config))
    if not speed.picture_bytes:
        return memory_gb(config)
    largest = config.size * max((1.0, *config.scales))
    pictures = config.batch * (largest / measured(config).size) ** 2
    copies = 1.25 if config.ema or config.swa else 1.0  # of weights, beside gradients and two moments
    return (copies * speed.fixed_bytes + speed.picture_bytes * pictures) / 1e9
