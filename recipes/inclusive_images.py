"""Inclusive Images (many labels a picture, no pretrained nets allowed): a plain resnet50 on the soft F2 itself.

    autoclimb fit ./inclusive --metric f2 --budget 1d12h --recipe inclusive-images

Its teams reported soft F2 as the loss, growing pictures, another optimiser once training stagnates, and mirrored views
in prediction for steadier scores (thresholds come with the metric). Expect a first net of one fold in a fifth of the
time, then the same net larger, over as many folds as get enough epochs, then other seeds. Train and test come from
different parts of the world there, so out-of-fold scores are likely to be too high.
"""

from collections.abc import Iterator
from typing import Any

from autoclimb import Config, History, SearchSpace, Situation

SIZES = (224, 192, 160, 128, 96, 64, 48, 32)
ENOUGH = 15  # epochs a net from scratch should get (assumption)
START = {"optimizer": "adamw", "switch_to": "sgd", "schedule": "cosine"}
SPACE = SearchSpace(backbones=["resnet50"], policies=["flip"], tta=["flip"], features=False, start=START)


def plain_resnet50(history: History, s: Situation) -> Iterator[list[Config]]:
    """One fold early, so that there is an answer, then all folds in the remaining time."""
    net = Config(backbone="resnet50", policy="flip", tta="flip", seed=s.seed).vary(**s.space.start)
    if s.kind == "multilabel":
        net = net.vary(loss="soft-f2")
    if s.folds * epoch_seconds(net.vary(size=32), s) < 0.02 * s.budget:
        yield [Config.from_json(s.remember("first", lambda: fitted(net, 0.2, 1, s)))]
    yield [Config.from_json(s.remember("every fold", lambda: fitted(net, 0.97, s.folds, s)))]


def epoch_seconds(net: Config, s: Situation) -> float:
    """Seconds for one pass over a fold's training rows, from the speed measured at 64 px."""
    speed = s.measure(net.vary(size=64, sizes=())).train or 1e-9
    return s.rows * (1 - 1 / s.folds) / speed * (net.size / 64) ** 2


def fitted(net: Config, share: float, most: int, s: Situation) -> dict[str, Any]:
    """The net at the largest size and over as many folds as that share of the time is enough for."""
    time = max(share * s.left() - 2, 1.0)
    size, folds = SIZES[-1], 0.0
    for size in [n for n in SIZES if n <= max(64, 1.3 * s.side)]:
        folds = time / (ENOUGH * epoch_seconds(net.vary(size=size), s) + 2)
        if folds >= most:
            break
    folds = max(1, min(int(folds), most))
    steps = tuple(n for n in (size // 2, size * 3 // 4) if n >= 32)  # multi-scale: the net pools whatever size is left
    every = tuple(range(int(folds)))
    return net.vary(size=size, sizes=steps, folds=every, seconds=round(time / folds - 0.1, 1)).to_json()


RECIPE = {"space": SPACE, "plan": [plain_resnet50, "rest"], "folds": 5, "pretrained": False}
