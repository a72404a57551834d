"""What tests of training share: a processor, a tiny net, pictures that it can tell apart, and a fold made from rows."""

from typing import Any

import numpy as np
import torch

from autoclimb.config import Config
from autoclimb.learn.material import Fold, Material

CPU = torch.device("cpu")
TINY = Config(
    backbone="resnet10t",
    model_args=(("channels", (4, 4, 8, 8)),),
    size=16,
    epochs=2,
    batch=8,
    policy="none",
    lr=5e-3,
)


def material_of(n: int = 24, m: int = 4, size: int = 16) -> Material:
    """Dark and light pictures in noise."""
    draw = np.random.default_rng(0)
    label = np.arange(n + m) % 2
    pictures = draw.normal(90 + 60 * label[:, None, None, None], 20, (n + m, size, size, 3))
    target = np.eye(2, dtype=np.float32)[label[:n]]
    return Material("multiclass", 2, target, np.arange(n) // 2 % 4, pictures.clip(0, 255).astype(np.uint8))


def fold_over(train_rows: Any, valid_rows: Any = (), number: int = 0, **changes: Any) -> Fold:
    """A fold of these rows on the processor; nobody listens to its report and its clock stands still."""
    values = {"device": CPU, "report": lambda facts: None, "now": lambda: 0.0, **changes}
    return Fold(number, np.asarray(train_rows, np.int64), np.asarray(valid_rows, np.int64), **values)
