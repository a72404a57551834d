"""Recorded trials: the file of a set, and the recording that stands in for a trial that a controller asks for."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lab import FOLDS

from autoclimb.config import Config
from autoclimb.disk import whole_file
from autoclimb.search.nets import net_named

# Steps between the probabilities 0 and 1, of equal width in the arcsine of their root: fine near 0 and 1, as errors
# are. A probability is off by .0008 at most, one of .01 by .00015, and both bytes of it are packed into one; as float16
# they pack into 1.7 (a net's on cifar10).
STEPS = 1023
MISSING = STEPS + 1  # code of a row that was not predicted

ALIKE = ("policy", "mixup", "cutmix", "smoothing", "loss", "head", "layers", "tta")  # a stand-in should share these
# How much less like it, in the unit of one such value, is a net of which another part trains, and another net of its
# family; half the pixels a side or twice are 4. In equal time the top of a net and the whole net end as far apart as
# two nets do (LOG.md: cifar10 at 128 px, .235 and .251; lite0's top and lite2's, .235 and .222).
OTHER_PART, OTHER_NET = 5.0, 6.0
PIXELS = 4.0


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded trial over all folds: its config, what it told of itself, and its predictions."""

    config: Config
    facts: dict[str, Any]
    oof: np.ndarray  # (N, C)
    test: np.ndarray  # (M, C), the mean of all folds' nets
    first: np.ndarray  # (M, C), the first fold's net

    @property
    def epochs(self) -> float:
        """Its length, 0 for features."""
        return self.config.epochs

    def test_by(self, nets: int) -> np.ndarray:
        """The test predictions of the mean of so many folds' nets: exactly of one and of all, else as noisy as theirs.

        Nets that differ by chance alone are as far from their mean of all, in variance, as 1 / nets - 1 / FOLDS says.
        """
        noise = math.sqrt((1 / nets - 1 / FOLDS) / (1 - 1 / FOLDS))
        return self.test + np.float32(noise) * (self.first - self.test)


# --- on disk ---------------------------------------------------------------------------------------------------------


def coded(p: np.ndarray) -> np.ndarray:
    """Predictions `(...)` as two planes of bytes `(2, ...)`; unchanged where they are no probabilities."""
    if np.nanmin(p) < 0 or np.nanmax(p) > 1 + 1e-4:
        return p.astype(np.float32)
    angle = np.arcsin(np.sqrt(np.minimum(p.astype(np.float64), 1.0))) * (2 / np.pi)
    codes = np.where(np.isnan(angle), MISSING, np.rint(angle * STEPS)).astype(np.uint16)
    return np.stack([codes >> 8, codes & 255]).astype(np.uint8)


def decoded(stored: np.ndarray) -> np.ndarray:
    """The predictions, float32, that `coded` stored."""
    if stored.dtype != np.uint8:
        return stored
    codes = stored[0].astype(np.uint16) << 8 | stored[1]
    p = np.sin(codes * (np.pi / 2 / STEPS)) ** 2
    return np.where(codes == MISSING, np.nan, p).astype(np.float32)


def save(path: Path, records: Sequence[Record], fold_of: np.ndarray) -> None:
    """Writes the file of a set. Read and written again it is the same, so that records can be added to it."""
    rows = [{"config": record.config.to_json(), "facts": record.facts} for record in records]
    arrays = {name: coded(np.stack([getattr(r, name) for r in records])) for name in ("oof", "test", "first")}
    with whole_file(path) as part:
        np.savez_compressed(part, records=np.array(json.dumps(rows)), fold_of=fold_of.astype(np.int8), **arrays)


def load(path: Path) -> tuple[list[Record], np.ndarray]:
    """The records of a set's file, and the folds that they share."""
    with np.load(path, allow_pickle=False) as file:
        oof, test, first = (decoded(file[name]) for name in ("oof", "test", "first"))
        rows, fold_of = json.loads(str(file["records"])), file["fold_of"].astype(np.int64)
    configs = [Config.from_json(row["config"]) for row in rows]
    return [Record(c, row["facts"], *p) for c, row, *p in zip(configs, rows, oof, test, first, strict=True)], fold_of


# --- standing in -----------------------------------------------------------------------------------------------------


def stand_in(records: Sequence[Record], config: Config, epochs: float) -> Record | None:
    """The recorded trial most like the config after so many epochs; None where nothing of its kind was recorded.

    Features stand for features, nets for nets, and pretrained ones for pretrained ones. Of a net that was not recorded
    it is another one of its family, or else any. A shorter recording is preferred to one that is as much longer: a
    replay must not be kinder than the truth. Seeds take turns among those recorded.
    """
    alike = (config.train, bool(config.weights))
    kind = [r for r in records if (r.config.train, bool(r.config.weights)) == alike]
    nearest = min(kind, key=lambda record: distance(record.config, config, epochs), default=None)
    if nearest is None:
        return None
    twins = sorted(
        (r for r in kind if r.config.vary(seed=0) == nearest.config.vary(seed=0)), key=lambda r: r.config.seed
    )
    return twins[(config.seed // 100 + config.seed) % len(twins)]


def distance(own: Config, config: Config, epochs: float) -> float:
    """How unlike the config after so many epochs a recorded one is, in the unit of one value of ALIKE."""
    apart = PIXELS * abs(math.log2(own.size / config.size))
    apart += sum(getattr(own, name) != getattr(config, name) for name in ALIKE)
    if config.train == "net" and own.top != config.top:  # of features it says what is stored, not what is seen
        apart += OTHER_PART
    if (own.backbone, own.model_args) != (config.backbone, config.model_args):
        apart += OTHER_NET * (1 if net_named(own.backbone).family == net_named(config.backbone).family else 2)
    if epochs and own.epochs:
        length = math.log2(own.epochs / epochs)
        apart += 2 * max(length, 0.0) + max(-length, 0.0)
    return apart
