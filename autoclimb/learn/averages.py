"""Weights averaged over the end of a training, and the statistics that go with them (SWA, arXiv 1803.05407)."""

from itertools import islice

import torch
from torch.optim.swa_utils import update_bn

from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import batch_of, epoch_batches, load_batches, loader_processes, to_input
from autoclimb.learn.material import Fold, Material
from autoclimb.types import Config

SNAPSHOTS = 20  # spread evenly over the last share of the training; own choice, the paper took one an epoch
NORM_ROWS = 2048  # train pictures that batch norms see afterwards: their means need no whole epoch
AFTERWARDS = 1_000_000  # the epoch that these are drawn from: none that was trained on


def recompute_norms(built: Built, material: Material, config: Config, fold: Fold) -> None:
    """Gives the batch norms of averaged weights the statistics of up to NORM_ROWS augmented train pictures."""
    batch = batch_of(config, fold)
    plain = config.vary(scales=())
    specs = islice(epoch_batches(material, fold, plain, config.size, batch, AFTERWARDS), -(-NORM_ROWS // batch))
    batches = load_batches(specs, material, config, loader_processes(fold.device))
    with torch.autocast(fold.device.type, torch.bfloat16, enabled=built.format.bf16):
        update_bn(
            (to_input(pictures, built.mean, built.std, fold.device, built.format.layout) for _, pictures in batches),
            built.net,
        )
