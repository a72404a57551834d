"""Optimisers, schedules and parameter groups."""

import math
from collections.abc import Callable
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from autoclimb.errors import Mistake
from autoclimb.types import Config


def onecycle(progress: float, rise: float = 0.25) -> float:
    """Cosine up for a quarter, cosine down to zero (Smith 2018, arXiv 1803.09820)."""
    if progress < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / rise)) / 2
    return (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2


def cosine(progress: float, warm_up: float = 0.05) -> float:
    """A short linear warm-up, then cosine to zero."""
    if progress < warm_up:
        return progress / warm_up
    return (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def restarts(progress: float, cycles: int = 3) -> float:
    """Cosine falls from the top again, each cycle twice as long as the last (SGDR, arXiv 1608.03983)."""
    ends = [(2 ** (i + 1) - 1) / (2**cycles - 1) for i in range(cycles)]
    start = 0.0
    for end in ends:
        if progress < end:
            return (1 + math.cos(math.pi * (progress - start) / (end - start))) / 2
        start = end
    return 0.0


def ramp(progress: float, warm_up: float = 0.1) -> float:
    """A linear rise for a tenth, a linear fall to zero."""
    return progress / warm_up if progress < warm_up else (1 - progress) / (1 - warm_up)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "onecycle": onecycle,
    "cosine": cosine,
    "restarts": restarts,
    "linear": ramp,
}
# timm's name, and the factor on a learning rate that is given for AdamW (own choice after the papers' ratios)
OPTIMIZERS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "adamw": ("adamw", 1.0, {}),
    "sgd": ("sgd", 25.0, {"momentum": 0.9}),  # nesterov in timm
    "lion": ("lion", 0.2, {}),
    "nadamw": ("nadamw", 1.0, {}),
}


def schedule_named(name: str) -> Callable[[float], float]:
    """The schedule of that name: the share of the peak learning rate at a share of the training."""
    if name not in SCHEDULES:
        raise Mistake(f"schedule {name!r} is unknown; choose from {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def optimizer_of(net: nn.Module, head: nn.Module, config: Config, name: str = "") -> torch.optim.Optimizer:
    """An optimiser over the net's parameters, in groups that keep their own peak as `peak`.

    Norms and biases are not decayed; everything below the head runs at `backbone_lr` of the rate.
    """
    wanted = name or config.optimizer
    if wanted not in OPTIMIZERS:
        raise Mistake(f"optimiser {wanted!r} is unknown; choose from {', '.join(OPTIMIZERS)}")
    timm_name, factor, options = OPTIMIZERS[wanted]
    lr = config.lr * factor
    decay = config.weight_decay / (factor if timm_name in ("sgd", "lion") else 1.0)  # both decay by lr x decay
    in_head = {id(p) for p in head.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in net.parameters():
        if p.requires_grad:
            groups.setdefault((id(p) in in_head, p.ndim <= 1), []).append(p)
    made = [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else decay,
            "lr": lr * (1.0 if top else config.backbone_lr),
            "peak": lr * (1.0 if top else config.backbone_lr),
        }
        for (top, plain), parameters in groups.items()
    ]
    return create_optimizer_v2(made, opt=timm_name, lr=lr, weight_decay=decay, **options)
