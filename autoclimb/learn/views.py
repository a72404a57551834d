"""A net's predictions for rows of the cache, averaged over views of each picture (test-time augmentation)."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import ahead, shrunk, to_input
from autoclimb.learn.losses import predictions_of
from autoclimb.types import Kind

View = Callable[[Tensor], Tensor]


def _rolled(down: int, right: int) -> View:
    """The picture moved by an eighth of its size, the border repeated."""

    def view(x: Tensor) -> Tensor:
        step = max(x.shape[-1] // 16, 1)
        padded = torch.nn.functional.pad(x, (step, step, step, step), mode="replicate")
        a, b = step + down * step, step + right * step
        return padded[..., a : a + x.shape[-2], b : b + x.shape[-1]]

    return view


def _same(x: Tensor) -> Tensor:
    return x


def _turned(x: Tensor, quarters: int, mirrored: bool) -> Tensor:
    return torch.rot90(x.flip(3) if mirrored else x, quarters, (2, 3))


def _mirrored(x: Tensor) -> Tensor:
    return x.flip(3)


VIEWS: dict[str, Sequence[View]] = {
    "none": (_same,),
    "flip": (_same, _mirrored),
    "shift": (_same, _rolled(-1, -1), _rolled(-1, 1), _rolled(1, -1), _rolled(1, 1)),
    "flip-shift": (_same, _mirrored, _rolled(-1, -1), _rolled(1, 1)),
    "dihedral": tuple(partial(_turned, quarters=k, mirrored=m) for k in range(4) for m in (False, True)),
}


def predictions_for(
    built: Built,
    pixels: np.ndarray,
    rows: np.ndarray,
    kind: Kind,
    device: torch.device,
    size: int,
    tta: str = "none",
    batch: int = 128,
) -> np.ndarray:
    """Predictions `(len(rows), C)` float32, probabilities or standardised numbers, averaged over the views of `tta`."""
    views = VIEWS[tta]
    built.net.eval()
    parts = []

    def pictures():
        for start in range(0, len(rows), batch):
            yield np.stack([shrunk(pixels[row], size) for row in rows[start : start + batch]])

    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for block in ahead(pictures()):
            x = to_input(block, built.mean, built.std, device, built.layout)
            made = [predictions_of(built.net(view(x)).float(), kind, built.loss, built.width) for view in views]
            parts.append((sum(made) / len(made)).cpu().numpy())  # type: ignore[union-attr]
    return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)


def seconds_to_predict(
    built: Built, pixels: np.ndarray, rows: int, device: torch.device, size: int, tta: str = "none"
) -> float:
    """An estimate of what `predictions_for` will take for that many rows, from two batches (the first warms up)."""
    probe = np.stack([shrunk(pixels[row], size) for row in range(min(64, len(pixels)))])
    built.net.eval()
    spent = 0.0
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for _ in range(2):
            start = time.perf_counter()
            built.net(to_input(probe, built.mean, built.std, device, built.layout)).float().sum().item()
            spent = time.perf_counter() - start
    return spent / len(probe) * rows * len(VIEWS[tta])
