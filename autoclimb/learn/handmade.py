"""Hand-made features: as functions of batches, and as modules for `torch.export`, without scatter and uneven pools."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows
from autoclimb.disk import whole_file
from autoclimb.learn.batches import resized
from autoclimb.seeds import rng

FEATURES = ("gradients", "patches")
PATCH_SIDE, SHAPE_SIDE = 32, 64  # pixels a side at which patches and gradients are read
THUMBNAIL = 12  # pixels a side of the shrunk picture that is itself a feature
BINS, CELL = 9, 8  # of gradients: directions, and pixels a side of a histogram's cell
WORDS, WORD_SIDE = 400, 6  # patches of a dictionary, and pixels a side of each
CONTRAST = 10 / 255**2  # added to a patch's variance, as in Coates et al. (there for 0..255)
POOL, THRESHOLD = 2, 0.25  # of responses to patches: pooled places a side, and the threshold subtracted

# --- functions from pictures (B, C, S, S) in 0..1 to features (B, D) -------------------------------------------------


def gradients(x: Tensor) -> Tensor:
    """Histograms of oriented gradients of the strongest channel, in blocks of 2x2 cells (Dalal and Triggs 2005).

    OpenCV 5 has no HOGDescriptor in its main modules any more.
    """
    step = torch.tensor([-1.0, 0.0, 1.0])
    planes = x.flatten(0, 1)[:, None]
    gx = F.conv2d(F.pad(planes, (1, 1, 0, 0), mode="replicate"), step.view(1, 1, 1, 3)).view_as(x)
    gy = F.conv2d(F.pad(planes, (0, 0, 1, 1), mode="replicate"), step.view(1, 1, 3, 1)).view_as(x)
    strength, channel = (gx**2 + gy**2).max(1, keepdim=True)
    strength = strength.sqrt()
    angle = torch.atan2(gy.gather(1, channel), gx.gather(1, channel)) % math.pi / math.pi * BINS
    low = angle.floor()
    part = angle - low
    low_bin = low.long() % BINS
    votes = torch.zeros(x.shape[0], BINS, *x.shape[2:])
    votes.scatter_add_(1, low_bin, strength * (1 - part)).scatter_add_(1, (low_bin + 1) % BINS, strength * part)
    cells = F.avg_pool2d(votes, CELL)
    blocks = torch.cat([cells[..., :-1, :-1], cells[..., 1:, :-1], cells[..., :-1, 1:], cells[..., 1:, 1:]], 1)
    blocks = (blocks / (blocks.norm(dim=1, keepdim=True) + 0.01)).clamp(max=0.2)
    return (blocks / (blocks.norm(dim=1, keepdim=True) + 0.01)).flatten(1)


def thumbnail(x: Tensor) -> Tensor:
    """The picture shrunk to THUMBNAIL pixels a side."""
    return F.interpolate(x, size=(THUMBNAIL, THUMBNAIL), mode="area").flatten(1)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Whitened patches and their centres, learned without labels (Coates, Lee and Ng 2011)."""

    side: int
    whiten: Tensor  # (D, K): whitening and projection in one
    offset: Tensor  # (K,)


def learn_dictionary(pictures: Callable[[np.ndarray], Tensor], count: int) -> Dictionary:
    """A dictionary of WORDS patches by spherical k-means over 60,000 patches of up to 3,000 pictures."""
    draw = rng(0, "patches")
    chosen = draw.permutation(count)[:3000]
    x = pictures(np.sort(chosen))
    n, side = 60_000, WORD_SIDE
    top, left = (torch.from_numpy(draw.integers(0, x.shape[-1] - side + 1, n)) for _ in range(2))
    which = torch.from_numpy(draw.integers(0, len(x), n))
    grid = torch.arange(side)
    patches = x[which[:, None, None], :, (top[:, None] + grid)[:, :, None], (left[:, None] + grid)[:, None, :]]
    patches = patches.permute(0, 3, 1, 2).flatten(1)  # indices around a slice put the slice last
    patches = (patches - patches.mean(1, keepdim=True)) / (patches.var(1, keepdim=True) + CONTRAST).sqrt()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    whiten = vectors @ torch.diag((values + 0.1).rsqrt()) @ vectors.T
    white = (patches - mean) @ whiten
    centres = F.normalize(white[torch.from_numpy(draw.permutation(n)[:WORDS])])
    for _ in range(5):
        near, who = (white @ centres.T).max(1)
        centres = F.normalize(torch.zeros_like(centres).index_add_(0, who, white * near[:, None]) + 1e-6 * centres)
    projection = whiten @ centres.T
    return Dictionary(side, projection, mean @ projection)


def patch_responses(x: Tensor, words: Dictionary) -> Tensor:
    """Two-sided thresholded responses to the dictionary, averaged over a grid of POOL a side.

    It is one convolution: filters that sum to zero remove a patch's mean, and box filters give its deviation.
    """
    side, n = words.side, words.side**2 * x.shape[1]
    filters = (words.whiten - words.whiten.mean(0)).T.reshape(-1, x.shape[1], side, side)
    filters = filters.contiguous(memory_format=torch.channels_last)
    parts = []
    for block in x.contiguous(memory_format=torch.channels_last).split(64):
        first, second = (F.avg_pool2d(b.mean(1, keepdim=True), side, 1) for b in (block, block**2))
        deviation = ((second - first**2).clamp(min=0) * (n / (n - 1)) + CONTRAST).sqrt()
        responses = F.conv2d(block, filters).div_(deviation).sub_(words.offset.view(1, -1, 1, 1))
        up = F.adaptive_avg_pool2d((responses - THRESHOLD).clamp_(min=0), POOL)
        down = F.adaptive_avg_pool2d(responses.neg_().sub_(THRESHOLD).clamp_(min=0), POOL)
        parts.append(torch.cat([up, down], 1).flatten(1))
    return torch.cat(parts)


# --- as the run computes them ----------------------------------------------------------------------------------------


def _as_tensor(block: np.ndarray, size: int) -> Tensor:
    small = np.stack([resized(picture, size) for picture in block])
    return torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255


def extractor_of(config: Config, pixels: PictureRows, cache: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pictures `(B, S, S, C)` uint8 to the config's features `(B, D)`."""

    def simple(block: np.ndarray) -> np.ndarray:
        small, large = _as_tensor(block, PATCH_SIDE), _as_tensor(block, SHAPE_SIDE)
        return torch.cat([thumbnail(small), gradients(large)], 1).numpy()

    if config.backbone == "gradients":
        return simple
    words = _dictionary_for(config, pixels, cache)

    def rich(block: np.ndarray) -> np.ndarray:
        responses = patch_responses(_as_tensor(block, PATCH_SIDE), words)
        return np.concatenate([simple(block), responses.numpy()], 1)

    return rich


def column_weights(backbone: str, columns: int, channels: int) -> Tensor:
    """The factors of standardised columns: groups of hand-made features weigh the same, colours half."""
    if backbone not in FEATURES:
        return torch.full((columns,), 1 / math.sqrt(columns))
    small = channels * THUMBNAIL**2
    shapes = 4 * BINS * (SHAPE_SIDE // CELL - 1) ** 2
    groups = [(small, 0.5), (shapes, 1.0), (columns - small - shapes, 1.0)]
    return torch.cat([torch.full((n,), weight / math.sqrt(n)) for n, weight in groups if n])


def _dictionary_for(config: Config, pixels: PictureRows, cache: Path) -> Dictionary:
    """The run's dictionary, learned once and then read, so that new pictures get the same features."""
    path = dictionary_file(cache, config.preprocess)
    if path.exists():
        return read_dictionary(path)
    words = learn_dictionary(lambda rows: _as_tensor(pixels[rows], PATCH_SIDE), len(pixels))
    with whole_file(path) as part:
        np.savez(part, side=words.side, whiten=words.whiten.numpy(), offset=words.offset.numpy())
    return words


def dictionary_file(cache: Path, preprocess: str) -> Path:
    """The path of a run's dictionary, given its cache."""
    return cache.parent / f"dictionary-{preprocess}.npz"


def read_dictionary(path: Path) -> Dictionary:
    """The dictionary in a file."""
    with np.load(path, allow_pickle=False) as saved:
        return Dictionary(int(saved["side"]), torch.from_numpy(saved["whiten"]), torch.from_numpy(saved["offset"]))


# --- as modules: of decoded pictures (B, S, S, C) uint8 --------------------------------------------------------------


class Gradients(nn.Module):
    """The shrunk picture and the histograms of its oriented gradients, `(B, D)`."""

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
    """The features of `Gradients`, and the pooled responses to a dictionary of patches: `(B, D)`."""

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
