"""The first weights of a net: a head that predicts the classes' shares, and whitened first filters."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autoclimb.arrays import take_rows
from autoclimb.config import Config
from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import pictures_of_rows, to_input
from autoclimb.learn.losses import loss_named
from autoclimb.learn.material import Fold, Material
from autoclimb.seeds import rng

PATCHES = 100_000  # from which filters are computed: 59 MB of 7 x 7 x 3; own choice
FLOOR = 5e-4  # added to the patches' variances, as in airbench; directions that vary less are rounding (1 of 255)


def start_head(head: nn.Module, material: Material, fold: Fold, loss: str, anew: bool) -> None:
    """Sets a head to predict the classes' shares, so that the first steps need not learn them.

    With `anew`, which is used over pretrained features and for a head that is trained again, its weights are zero:
    timm's random ones gave MobileNetV2 logits so large that the first epochs went into unlearning them
    (benchmarks/LOG.md), and their gradients spoil the features (arXiv 2202.10054).
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
    """Sets the first convolution to the whitened principal directions of the pictures' patches, with both signs.

    It is from Jordan's airbench (arXiv 2404.00498), where these filters are frozen; here they are trained. Filters in
    excess of two per direction stay random: grey pictures vary in only a third of the directions.
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
    count = min(first.out_channels // 2, int((variances > FLOOR).sum()))
    filters = (directions / (variances.clamp(min=0) + FLOOR).sqrt()).T.flip(0)[:count].float()
    filters = filters.reshape(count, *first.weight[0].shape)
    with torch.no_grad():
        first.weight[: 2 * count] = torch.cat([filters, -filters]).to(first.weight)
