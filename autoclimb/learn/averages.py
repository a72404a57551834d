"""Weights averaged over the end of a training, and the statistics that go with them (SWA, arXiv 1803.05407)."""

from itertools import islice

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import Material, epoch, fed, makers, to_input
from autoclimb.types import Config

SNAPSHOTS = 20  # spread evenly over the last share of the training; own choice, the paper took one an epoch
NORM_ROWS = 2048  # train pictures that batch norms see afterwards: their means need no whole epoch
AFTERWARDS = 1_000_000  # number of the epoch that these are drawn from: none that was trained on


def fresh_norms(
    built: Built, material: Material, rows: np.ndarray, config: Config, fold: int, device: torch.device
) -> None:
    """Gives the batch norms of averaged weights the statistics of up to NORM_ROWS train pictures, varied as before."""
    batch = max(2, min(config.batch, len(rows)))
    plain = config.vary(scales=())
    drawn = islice(epoch(material, rows, plain, config.size, batch, fold, AFTERWARDS), -(-NORM_ROWS // batch))
    batches = fed(drawn, material, config, makers(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=built.bf16):
        update_bn((to_input(p, built.mean, built.std, device, built.layout) for _, p in batches), built.net)
