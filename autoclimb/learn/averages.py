"""Weights averaged over the end of a training, and the statistics that go with them (SWA, arXiv 1803.05407)."""

import math
from collections.abc import Iterator
from itertools import islice

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.optim.swa_utils import update_bn

from autoclimb.config import Config
from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import batch_bytes, batch_of, epoch_batches, load_batches, loader_processes, to_input
from autoclimb.learn.faults import OutOfMemory
from autoclimb.learn.material import Fold, Material
from autoclimb.learn.memory import free_memory

SNAPSHOTS = 20  # spread evenly over the last share of the training; own choice, the paper takes one per epoch
EMA_STEPS = 8  # between two updates of a moving average: one of EfficientNet-Lite2 takes 8 ms on an H100, a step 14
NORM_ROWS = 2048  # train pictures for the statistics of batch norms, which need no full epoch
FORWARD = 3.0  # times as fast as training: of its step a forward pass is a third
AFTERWARDS = 1_000_000  # number of the epoch that they are drawn from, which no training reaches


class Ema(ModelEmaV3):
    """A moving average that is updated every EMA_STEPS steps, with the decay of as many updates."""

    def get_decay(self, step: int | None = None) -> float:
        """The share of the old average in an update after `step` steps."""
        return float(super().get_decay(step)) ** EMA_STEPS


def recompute_norms(built: Built, material: Material, config: Config, fold: Fold, until: float = math.inf) -> None:
    """Gives the batch norms of averaged weights the statistics of up to NORM_ROWS augmented train pictures.

    At least one batch is used, and further ones until the time `until`; where memory runs out, batches are halved.
    Raises OutOfMemory where not even two pictures fit.
    """
    batch = batch_of(config, fold)
    plain = config.vary(scales=())
    specs = islice(epoch_batches(material, fold, plain, config.size, batch, AFTERWARDS), -(-NORM_ROWS // batch))
    device, layout = fold.device, built.format.layout
    processes = loader_processes(device, batch_bytes(material, plain, batch, config.size))

    def inputs() -> Iterator[Tensor]:
        rate = FORWARD * built.format.img_s
        for number, (_, pictures) in enumerate(load_batches(specs, material, config, device, processes, rate)):
            if number and fold.now() >= until:
                return
            yield to_input(pictures, built.mean, built.std, device, layout)

    try:
        with built.format.autocast(device):
            update_bn(inputs(), built.net)
        return
    except torch.OutOfMemoryError as error:
        if batch <= 2:
            raise OutOfMemory(f"the norms of {config.backbone} cannot be averaged: two pictures do not fit") from error
    free_memory()
    recompute_norms(built, material, config.vary(batch=batch // 2), fold, until)
