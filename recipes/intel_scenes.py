"""Intel scene classification (six kinds of landscape, 150 px), after private rank 22 (accuracy 0.9499).

    autoclimb fit ./intel --metric accuracy --budget 4h --recipe intel-scenes --weights ./places365

Rank 22: a ResNet-50 from Places365 (not in timm's hub: give its file with --weights), progressive resizing, mixup, one
cycle, mirrored views, a vote of families; GAN images and cleaning by hand are not here. Expect one trial a family, over
all folds if time allows, then the best again from new seeds; the blend of all is the vote.
"""

import re
from collections.abc import Iterator
from typing import Any

from autoclimb import Config, History, SearchSpace, Situation

SCRATCH = ("resnet18", "regnetx_004", "mobilenetv3_large_100")
ENOUGH = {True: 5, False: 15}  # epochs that a net should get, fine-tuned or from scratch (assumption)
SPACE = SearchSpace(start={"mixup": 0.4, "schedule": "onecycle"}, policies=["flip"], tta=["flip"])


def families(history: History, s: Situation) -> Iterator[list[Config]]:
    """One net of each family, as many as fit into the budget, in equal shares of the time left."""
    affordable = nets(s)[: max(1, int(0.6 * s.budget / fold_seconds(nets(s)[0], s)))]
    for i, net in enumerate(affordable):
        row = s.remember(f"family-{i}", lambda net=net, i=i: fitted(net, len(affordable) - i, i == 0, s))
        yield [Config.from_json(row)] if row else []


def nets(s: Situation) -> list[Config]:
    """The largest pretrained net of each family, or small nets from scratch."""
    plain = Config(policy="flip", tta="flip", seed=s.seed).vary(**s.space.start)
    largest = {}
    for row in s.pretrained:
        own = {"weights": row["weights"], "model_args": tuple(sorted(row["model_args"].items())), "size": 128}
        family = re.sub(r"^tf_|\d.*|_.*", "", row["backbone"])
        largest[family] = plain.vary(backbone=row["backbone"], backbone_lr=0.3, batch=32, **own)
    return list(largest.values()) or [plain.vary(backbone=name) for name in SCRATCH]


def fold_seconds(net: Config, s: Situation) -> float:
    """Seconds for enough epochs over one fold's rows at the net's first size."""
    speed = s.measure(net).train or 1e-9
    return ENOUGH[bool(net.weights)] * s.rows * (1 - 1 / s.folds) / speed + 2


def fitted(net: Config, sharing: int, must: bool, s: Situation) -> dict[str, Any] | None:
    """The net at the largest size and over as many folds as its share of the time is enough for; None if for none."""
    time, size, folds = (0.97 * s.left() - 2) / sharing, net.size, 0.0
    for size in [n for n in (224, 192, 160, 128, 96, 64) if net.size <= n <= max(net.size, 1.3 * s.side)]:
        folds = time / (fold_seconds(net, s) * (size / net.size) ** 2)
        if folds >= s.folds:
            break
    if time < 3 or (folds < 0.5 and not must):
        return None
    many = max(1, min(int(folds), s.folds))
    grown = net.vary(size=size, sizes=(size // 2, size * 3 // 4), seconds=round(time / many - 0.1, 1))
    return grown.vary(folds=tuple(range(many))).to_json()


RECIPE = {"space": SPACE, "plan": ["baseline", families, "rest"], "folds": 5, "pretrained": True}
