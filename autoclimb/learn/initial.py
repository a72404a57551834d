"""How a net begins: a head that knows how frequent the classes are, first filters that know the pictures."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import Material, shrunk, to_input
from autoclimb.learn.losses import loss_named
from autoclimb.seeds import rng
from autoclimb.types import Config

PATCHES = 100_000  # that filters are made from: 59 MB of 7 x 7 x 3; own choice
FLOOR = 5e-4  # added to the patches' variances, as airbench does; a direction that varies less is rounding: 1 of 255


def start_head(head: nn.Module, material: Material, rows: np.ndarray, loss: str, anew: bool) -> None:
    """Starts a head where the loss says it answers with the classes' shares: the first steps need not learn them.

    Over pretrained features, and where it learns `anew`, a head starts at zero: timm's random one gave MobileNetV2
    logits so large that the first epochs went into unlearning them (benchmarks/LOG.md), and its gradients spoil the
    features (arXiv 2202.10054).
    """
    start = loss_named(loss, material.kind).start
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if anew and isinstance(weight, nn.Parameter):
        with torch.no_grad():
            weight.zero_()
            if isinstance(bias, nn.Parameter):
                bias.zero_()
    if start is not None and isinstance(bias, nn.Parameter):
        with torch.no_grad():
            bias.copy_(start(torch.from_numpy(material.target[rows].mean(0))).to(bias))


def whiten(built: Built, material: Material, rows: np.ndarray, config: Config, fold: int) -> None:
    """Starts the first convolution as the principal directions of the pictures' patches, whitened, with both signs.

    From Jordan's airbench (arXiv 2404.00498), there frozen and for 94 % on CIFAR-10, here trained on. Filters that are
    left where there are more than two a direction stay random: grey pictures vary in a third of the directions only.
    """
    first = next((m for m in built.net.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.in_channels != material.pixels.shape[-1]:
        return
    sides, wide = first.kernel_size, first.weight[0].numel()
    each = (config.size // sides[0]) * (config.size // sides[1])
    few = max(1, min(len(rows), PATCHES // max(each, 1)))
    chosen = rng(config.seed, "whiten", fold).choice(rows, few, replace=False)
    pictures = np.stack([shrunk(material.pixels[row], config.size, built.grid) for row in chosen])
    x = to_input(pictures, built.mean, built.std, torch.device("cpu"))
    patches = F.unfold(x, sides, stride=sides).transpose(1, 2).reshape(-1, wide)
    variances, directions = torch.linalg.eigh(torch.cov(patches.T).double())  # in rising order
    kept = min(first.out_channels // 2, int((variances > FLOOR).sum()))
    filters = (directions / (variances.clamp(min=0) + FLOOR).sqrt()).T.flip(0)[:kept].float()
    filters = filters.reshape(kept, *first.weight[0].shape)
    with torch.no_grad():
        first.weight[: 2 * kept] = torch.cat([filters, -filters]).to(first.weight)
