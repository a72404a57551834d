"""Inclusive Images (many labels a picture, no pretrained nets allowed): a plain resnet50 on the soft F2 itself.

    autoclimb fit ./inclusive --metric f2 --budget 1d12h --recipe inclusive-images

What its teams reported: soft F2 as the loss, growing pictures, another optimiser once training stagnates, mirrored
views in prediction for steadier scores (thresholds come with the metric). Expect a first net of one fold in a fifth of
the time, then the same net larger, over as many folds as get enough epochs, then other seeds. Train and test came from
different parts of the world there, so out-of-fold scores are likely to be too hopeful.
"""

from collections.abc import Iterator
from typing import Any

from autoclimb import Config, History, SearchSpace

SIZES = (224, 192, 160, 128, 96, 64, 48, 32)
ENOUGH = 15  # epochs a net from scratch should get (assumption)
START = {"optimizer": "adamw", "switch_to": "sgd", "schedule": "cosine"}
SPACE = SearchSpace(backbones=["resnet50"], policies=["flip"], tta=["flip"], features=False, start=START)


def plain_resnet50(history: History, situation: Any) -> Iterator[list[Config]]:
    """One fold soon, so that there is an answer; then all the time for the folds."""
    net = Config(backbone="resnet50", policy="flip", tta="flip", seed=situation.seed).vary(**situation.space.start)
    if situation.kind == "multilabel":
        net = net.vary(loss="soft-f2")
    if situation.folds * epoch_seconds(net.vary(size=32), situation) < 0.02 * situation.budget:
        yield [Config.from_json(situation.remember("first", lambda: fitted(net, 0.2, 1, situation)))]
    yield [Config.from_json(situation.remember("whole", lambda: fitted(net, 0.97, situation.folds, situation)))]


def epoch_seconds(net: Config, situation: Any) -> float:
    """Seconds for one pass over a fold's training rows, from the speed measured at 64 px."""
    speed = situation.measure(net.vary(size=64, sizes=())).train or 1e-9
    return situation.rows * (1 - 1 / situation.folds) / speed * (net.size / 64) ** 2


def fitted(net: Config, share: float, most: int, situation: Any) -> dict[str, Any]:
    """The net at the largest size and over as many folds as that share of the time is enough for."""
    time = max(share * situation.left() - 2, 1.0)
    size, folds = SIZES[-1], 0.0
    for size in [n for n in SIZES if n <= max(64, situation.side)]:
        folds = time / (ENOUGH * epoch_seconds(net.vary(size=size), situation) + 2)
        if folds >= most:
            break
    folds = max(1, min(int(folds), most))
    steps = tuple(n for n in (size // 2, size * 3 // 4) if n >= 32)  # multi-scale: the net pools whatever size is left
    every = tuple(range(int(folds)))
    return net.vary(size=size, sizes=steps, folds=every, seconds=round(time / folds - 0.1, 1)).to_json()


RECIPE = {"space": SPACE, "plan": [plain_resnet50, "rest"], "folds": 5, "pretrained": False}
