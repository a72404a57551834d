"""Optimisers, schedules and parameter groups."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import nn

from autoclimb.config import Config
from autoclimb.errors import Mistake


def onecycle(progress: float, warm_up: float = 0.25) -> float:
    """Cosine up for a quarter, cosine down to zero (Smith 2018, arXiv 1803.09820)."""
    if progress < warm_up:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / warm_up)) / 2
    return (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


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


def linear_decay(progress: float, warm_up: float = 0.1) -> float:
    """Linear up for a tenth, linear down to zero."""
    return progress / warm_up if progress < warm_up else (1 - progress) / (1 - warm_up)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "onecycle": onecycle,
    "cosine": cosine,
    "restarts": restarts,
    "linear": linear_decay,
}
# timm's name, and the factor on a learning rate that is given for AdamW (own choice after the papers' ratios)
OPTIMIZERS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "adamw": ("adamw", 1.0, {}),
    "sgd": ("sgd", 25.0, {"momentum": 0.9}),  # nesterov in timm
    "lion": ("lion", 0.2, {}),
    "nadamw": ("nadamw", 1.0, {}),
}
# with a fused kernel for all tensors, of torch's own optimisers; on a processor the upper stages of
# tf_efficientnet_lite2 train at 276 pictures a second with it instead of 254, resnet10t at 698 instead of 671 (medians
# of 6 interleaved rounds)
FUSED = ("adamw", "sgd")


def schedule_named(name: str) -> Callable[[float], float]:
    """The schedule of that name, from the share of the training to the share of the peak rate. Raises Mistake."""
    if name not in SCHEDULES:
        raise Mistake(f"schedule {name!r} is unknown; choose from {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def optimizer_named(name: str) -> tuple[str, float, dict[str, Any]]:
    """The optimiser's row. Raises Mistake."""
    if name not in OPTIMIZERS:
        raise Mistake(f"optimiser {name!r} is unknown; choose from {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def layers_of(net: nn.Module, head: nn.Module, coarse: bool = False) -> dict[str, int]:
    """The layer of each parameter by name, as timm groups them, from 0 for the stem to the head's; stages if coarse.

    A norm or convolution between the last stage and the head belongs to the head's layer. A net for which timm has no
    groups, as a CAFormer, has those of its names.
    """
    layer_of: dict[str, int]
    if hasattr(net, "group_matcher"):
        layer_of = group_parameters(net, net.group_matcher(coarse=coarse), reverse=True)  # type: ignore[operator]
    else:
        layer_of = layers_by_name([name for name, _ in net.named_parameters()], coarse)
    in_head = {id(p) for p in head.parameters()}
    top = max(layer_of.values())
    return {name: top if id(p) in in_head else layer_of[name] for name, p in net.named_parameters()}


NUMBERED = re.compile(r"\w+\.(\d+)\.(?:\w+\.(\d+)\.)?")  # stages.2.blocks.1.norm.weight, stages.2.downsample.weight


def layers_by_name(names: Sequence[str], coarse: bool) -> dict[str, int]:
    """The layer of each parameter by the numbers of stage and block in its name, in the order of the net.

    Those without a number are the stem's before the first that has one, and the last layer's after it.
    """
    places: dict[str, tuple[float, ...]] = {}
    unnumbered: tuple[float, ...] = (-math.inf, 0)
    for name in names:
        numbers = unnumbered
        if match := NUMBERED.match(name):
            numbers, unnumbered = (int(match[1]), int(match[2] or -1)), (math.inf, 0)
        places[name] = numbers[:1] if coarse else numbers
    order = {place: layer for layer, place in enumerate(sorted(set(places.values())))}
    return {name: order[place] for name, place in places.items()}


def optimizer_of(net: nn.Module, head: nn.Module, config: Config, name: str = "") -> torch.optim.Optimizer:
    """An optimiser over the net's parameters, in groups that store their peak rate as `peak`.

    Norms, biases and the net's own exceptions are not decayed; everything below the head runs at `backbone_lr` of the
    rate, and each layer at `layer_decay` of that of the layer above it (ULMFiT, arXiv 1801.06146; BEiT, 2106.08254).
    Raises Mistake for an unknown name.
    """
    name = name or config.optimizer
    timm_name, factor, options = optimizer_named(name)
    lr = config.lr * factor
    decay = config.weight_decay / (factor if timm_name in ("sgd", "lion") else 1.0)  # both decay by lr x decay
    in_head = {id(p) for p in head.parameters()}
    layer_of: dict[str, int] = layers_of(net, head) if config.layer_decay != 1 else {}
    top = max(layer_of.values(), default=0)
    not_decayed: set[str] = getattr(net, "no_weight_decay", set)()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for label, p in net.named_parameters():
        if p.requires_grad:
            share = 1.0 if id(p) in in_head else config.backbone_lr
            share *= config.layer_decay ** (top - layer_of.get(label, top))
            groups.setdefault((share, p.ndim <= 1 or label in not_decayed), []).append(p)
    param_groups = [
        {"params": parameters, "weight_decay": 0.0 if plain else decay, "lr": lr * share, "peak": lr * share}
        for (share, plain), parameters in groups.items()
    ]
    if timm_name in FUSED:
        options = {**options, "fused": True}
    return create_optimizer_v2(param_groups, opt=timm_name, lr=lr, weight_decay=decay, **options)


class Unfreezing:
    """Freezes a net below its head and unfreezes it stage by stage, from the head down (ULMFiT).

    A frozen stage gets no gradients, and its batch norms keep their statistics; with `frozen_norms` all always do.
    """

    def __init__(self, net: nn.Module, head: nn.Module, share: float, frozen_norms: bool = False) -> None:
        layer_of = layers_of(net, head, coarse=True)
        self.net, self.share, self.top, self.free = net, share, max(layer_of.values()), -1
        self.frozen_norms = frozen_norms
        self.layers = [(p, layer_of[name]) for name, p in net.named_parameters() if p.requires_grad]

    def at(self, progress: float) -> None:
        """Unfreezes the stages due at this share of the training, all of them from `share` on."""
        free = min(int(progress / self.share * self.top), self.top)  # stages below the head
        if free == self.free:
            return
        self.free = free
        for p, layer in self.layers:
            p.requires_grad_(layer >= self.top - free)
        frozen = {id(p) for p, layer in self.layers if layer < self.top - free}
        for module in self.net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.train(id(module.weight) not in frozen and not self.frozen_norms)
