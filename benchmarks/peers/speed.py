"""How fast a bare loop trains a net here, from which the peers' adapters choose a size and a number of epochs."""

import time

import numpy as np
import timm
import torch

BATCH = 64
TIMED, WARM = 6, 2  # batches whose time is taken, after so many that warm up
LONGEST_LOOK = 4.0  # seconds of them


def pictures_a_second(architecture: str) -> float:
    """Pictures of 64 px a second, forward and backward."""
    net = timm.create_model(architecture, num_classes=10).train()
    x, seconds = torch.randn(BATCH, 3, 64, 64), list[float]()
    while len(seconds) < WARM + TIMED and sum(seconds) < LONGEST_LOOK:
        start = time.monotonic()
        net(x).sum().backward()
        seconds.append(time.monotonic() - start)
    return BATCH / float(np.median(seconds[WARM:] or seconds))
