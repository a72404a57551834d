"""Intel scene classification (six kinds of landscape, 150 px) in the way of private rank 22 (accuracy 0.9499).

    autoclimb fit ./intel --metric accuracy --budget 4h --recipe intel-scenes --weights ./places365

Rank 22 had a ResNet-50 from Places365 (not in timm's hub: give its file with --weights), progressive resizing, mixup,
one cycle, mirrored views and a vote of different families. Expect one trial a family, over all folds if the time allows
it, then the best of them from other seeds; the blend is the vote. Not here: GAN images, the learning-rate finder, and
dropping training pictures by hand. Without weights the families start from nothing.
"""

import re
from collections.abc import Iterator
from typing import Any

from autoclimb import Config, History, SearchSpace

SCRATCH = ("resnet18", "regnetx_004", "mobilenetv3_large_100")
ENOUGH = {True: 5, False: 15}  # epochs that a net should get, fine-tuned or from scratch (assumption)
SPACE = SearchSpace(start={"mixup": 0.4, "schedule": "onecycle"}, policies=["flip"], tta=["flip"])


def families(history: History, situation: Any) -> Iterator[list[Config]]:
    """One net of each family, the families sharing what is left of the time."""
    wanted = nets(situation)
    for i, net in enumerate(wanted):
        row = situation.remember(f"family-{i}", lambda net=net, i=i: fitted(net, len(wanted) - i, situation))
        if row is not None:
            yield [Config.from_json(row)]


def nets(situation: Any) -> list[Config]:
    """The largest pretrained net of each family, or small nets that start from nothing."""
    plain = Config(policy="flip", tta="flip", seed=situation.seed).vary(**situation.space.start)
    rows = {re.sub(r"^tf_|\d.*|_.*", "", row["backbone"]): row for row in situation.pretrained}
    found = [
        plain.vary(backbone=r["backbone"], weights=r["weights"], model_args=tuple(sorted(r["model_args"].items())))
        for r in rows.values()
    ]
    gentle = [net.vary(backbone_lr=0.3, batch=32) for net in found]
    return gentle or [plain.vary(backbone=name) for name in SCRATCH]


def fitted(net: Config, sharing: int, situation: Any) -> dict[str, Any] | None:
    """The net at the largest size and over as many folds as its share of the time is enough for; None if for none."""
    time = (0.97 * situation.left() - 2) / sharing
    least = 128 if net.weights else 64
    at_least = situation.rows * (1 - 1 / situation.folds) / (situation.measure(net.vary(size=least)).train or 1e-9)
    size, folds = least, 0.0
    for size in [n for n in (224, 192, 160, 128, 96, 64) if least <= n <= max(least, 1.3 * situation.side)]:
        folds = time / (ENOUGH[bool(net.weights)] * at_least * (size / least) ** 2 + 2)
        if folds >= situation.folds:
            break
    if time < 3 or (folds < 0.5 and sharing > 1):  # the last one is tried anyway: its share is all there is
        return None
    folds = max(1, min(int(folds), situation.folds))
    every, steps = tuple(range(int(folds))), (size // 2, size * 3 // 4)
    return net.vary(size=size, sizes=steps, folds=every, seconds=round(time / folds - 0.1, 1)).to_json()


RECIPE = {"space": SPACE, "plan": ["baseline", families, "rest"], "folds": 5, "pretrained": True}
