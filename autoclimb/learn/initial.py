"""How a net begins: a head that knows how frequent the classes are, first filters that know the pictures."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autoclimb.arrays import take_rows
from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import pictures_of_rows, to_input
from autoclimb.learn.losses import loss_named
from autoclimb.learn.material import Fold, Material
from autoclimb.seeds import rng
from autoclimb.types import Config

PATCHES = 100_000  # that filters are made from: 59 MB of 7 x 7 x 3; own choice
FLOOR = 5e-4  # added to the patches' variances, as airbench does; a direction that varies less is rounding: 1 of 255


def start_head(head: nn.Module, material: Material, fold: Fold, loss: str, anew: bool) -> None:
    """Starts a head where it predicts the classes' shares, so that the first steps need not learn them.

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
            shares = np.asarray(take_rows(material.target, fold.train_rows).mean(0), np.float32)
            bias.copy_(start(torch.from_numpy(shares)).to(bias))


def whiten(built: Built, material: Material, config: Config, fold: Fold) -> None:
    """Starts the first convolution as the principal directions of the pictures' patches, whitened, with both signs.

    From Jordan's airbench (arXiv 2404.00498), there frozen and for 94 % on CIFAR-10, here trained on. Filters that are
    left where there are more than two a direction stay random: grey pictures vary in a third of the directions only.
    """
    first = next((m for m in built.net.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.in_channels != material.channels:
        return
    kernel, values = first.kernel_size, first.weight[0].numel()
    patches_each = (config.size // kernel[0]) * (config.size // kernel[1])
    count = max(1, min(len(fold.train_rows), PATCHES // max(patches_each, 1)))
    rows = rng(config.seed, "whiten", fold.number).choice(fold.train_rows, count, replace=False)
    pictures = pictures_of_rows(material.pixels, rows, config.size, built.grid)
    x = to_input(pictures, built.mean, built.std, torch.device("cpu"))
    patches = F.unfold(x, kernel, stride=kernel).transpose(1, 2).reshape(-1, values)
    variances, directions = torch.linalg.eigh(torch.cov(patches.T).double())  # in rising order
    kept = min(first.out_channels // 2, int((variances > FLOOR).sum()))
    filters = (directions / (variances.clamp(min=0) + FLOOR).sqrt()).T.flip(0)[:kept].float()
    filters = filters.reshape(kept, *first.weight[0].shape)
    with torch.no_grad():
        first.weight[: 2 * kept] = torch.cat([filters, -filters]).to(first.weight)
