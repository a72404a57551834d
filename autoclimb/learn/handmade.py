"""Hand-made features (features.py) as modules for `torch.export`: without scatter and uneven pools.

The pictures are the decoded ones, `(B, S, S, C)` uint8.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoclimb.learn.features import CONTRAST, THUMBNAIL, Dictionary

BINS, CELL = 9, 8  # of features.gradients
POOL, THRESHOLD = 2, 0.25  # of features.patch_responses


class Gradients(nn.Module):
    """The picture very small, and histograms of its oriented gradients: `(B, D)`."""

    pool: Tensor
    bins: Tensor

    def __init__(self, side: int, small: int) -> None:
        super().__init__()
        assert side == 2 * small, f"{side} px are halved to {small} px by OpenCV's rule for two"
        self.register_buffer("pool", averaging_matrix(small, THUMBNAIL))
        self.register_buffer("bins", torch.arange(BINS).view(1, BINS, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.permute(0, 3, 1, 2).float()
        thumbnail = self.pool @ (halved(x) / 255) @ self.pool.T
        return torch.cat([thumbnail.flatten(1), self.histograms(x / 255)], 1)

    def histograms(self, x: Tensor) -> Tensor:
        """The blocks of 2x2 cells `(B, D)` of pictures `(B, C, S, S)` from 0 to 1."""
        wide, tall = F.pad(x, (1, 1, 0, 0), mode="replicate"), F.pad(x, (0, 0, 1, 1), mode="replicate")
        gx, gy = wide[..., 2:] - wide[..., :-2], tall[..., 2:, :] - tall[..., :-2, :]
        strength, channel = (gx**2 + gy**2).max(1, keepdim=True)
        angle = torch.atan2(gy.gather(1, channel), gx.gather(1, channel)) % math.pi / math.pi * BINS
        low = angle.floor()
        part = angle - low
        low = low % BINS
        high = (low + 1) % BINS
        votes = strength.sqrt() * ((low == self.bins) * (1 - part) + (high == self.bins) * part)
        cells = F.avg_pool2d(votes, CELL)
        blocks = torch.cat([cells[..., :-1, :-1], cells[..., 1:, :-1], cells[..., :-1, 1:], cells[..., 1:, 1:]], 1)
        blocks = (blocks / (_length(blocks) + 0.01)).clamp(max=0.2)
        return (blocks / (_length(blocks) + 0.01)).flatten(1)


class Patches(nn.Module):
    """What `Gradients` gives, and the pooled responses to a dictionary of patches: `(B, D)`."""

    filters: Tensor
    offset: Tensor
    pool: Tensor

    def __init__(self, gradients: Gradients, words: Dictionary, small: int) -> None:
        super().__init__()
        self.gradients, self.side = gradients, words.side
        channels = words.whiten.shape[0] // words.side**2
        filters = (words.whiten - words.whiten.mean(0)).T.reshape(-1, channels, words.side, words.side)
        self.register_buffer("filters", filters.contiguous())
        self.register_buffer("offset", words.offset.view(1, -1, 1, 1))
        self.register_buffer("pool", averaging_matrix(small - words.side + 1, POOL))
        self.values = words.side**2 * channels

    def forward(self, pictures: Tensor) -> Tensor:
        x = halved(pictures.permute(0, 3, 1, 2).float()) / 255
        first = F.avg_pool2d(x.mean(1, keepdim=True), self.side, 1)
        second = F.avg_pool2d((x**2).mean(1, keepdim=True), self.side, 1)
        variance = (second - first**2).clamp(min=0.0) * (self.values / (self.values - 1))
        responses = F.conv2d(x, self.filters) / (variance + CONTRAST).sqrt() - self.offset
        up, down = (responses - THRESHOLD).clamp(min=0.0), (-responses - THRESHOLD).clamp(min=0.0)
        pooled = [(self.pool @ part @ self.pool.T).flatten(1) for part in (up, down)]
        return torch.cat([self.gradients(pictures), *pooled], 1)


def averaging_matrix(side: int, to: int) -> Tensor:
    """The matrix `(to, side)` whose product is an adaptive average pool along one side."""
    return F.adaptive_avg_pool1d(torch.eye(side)[None], to)[0].T.contiguous()


def halved(x: Tensor) -> Tensor:
    """Pictures `(B, C, S, S)` of whole numbers at half their side, as OpenCV's INTER_AREA rounds them."""
    return (F.avg_pool2d(x, 2) + 0.5).floor()


def _length(blocks: Tensor) -> Tensor:
    return (blocks * blocks).sum(1, keepdim=True).sqrt()
