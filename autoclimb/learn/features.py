"""Frozen features: pictures -> a row of numbers each, by a pretrained net or by hand, computed once and cached."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows, file_of
from autoclimb.disk import write_array
from autoclimb.learn.batches import BLOCK, blocks_of, filled, prefetch, to_input
from autoclimb.learn.devices import exact_where_needed, prediction_autocast
from autoclimb.learn.faults import OutOfTime, Unbuildable
from autoclimb.learn.handmade import FEATURES, extractor_of
from autoclimb.learn.material import Watch
from autoclimb.learn.memory import in_parts
from autoclimb.learn.threads import TRIED, settle_again
from autoclimb.processors import usable_cores


def features_of(
    config: Config,
    pixels: PictureRows,
    cache: Path,
    device: torch.device,
    watch: Watch,
    exactly: bool = False,
) -> np.ndarray:
    """Features `(R, D)` float32 of every row of `pixels` for the config's backbone, read from the cache if they exist.

    With `exactly` they are those of an exported file: on a processor a net without a cut computes in float32. Raises
    OutOfTime where the next block would not be done by the watch's deadline, so that the worker need not be killed.
    """
    mirrored = config.tta == "flip" and config.backbone not in FEATURES
    net = (config.backbone, config.weights, config.model_args, config.fine_stem, config.layers)
    identity = (*net, config.size, config.preprocess, pixels.shape, "mirrored" if mirrored else "", exactly)
    name = hashlib.blake2b(repr((identity, file_of(pixels))).encode(), digest_size=8).hexdigest()
    path = cache / f"features-{name}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    if config.backbone in FEATURES:
        blocks, extract = blocks_of(pixels, config.size), extractor_of(config, pixels, path.parent)
    elif config.top:
        blocks, extract = _frozen_above(config, pixels, cache, device, watch)
    else:
        blocks, extract = blocks_of(pixels, config.size), _frozen(config, device, pixels.shape[-1], exactly)
    features = np.empty((0, 0), np.float32)
    start, begun = 0, watch.now()
    for block in prefetch(blocks, device):
        if not start and device.type == "cpu":
            settle_again(partial(extract, block[:TRIED]), usable_cores())
        rows = extract(block)
        if not start:
            features = np.empty((len(pixels), rows.shape[1]), np.float32)
        features[start : start + len(rows)] = rows
        start += len(rows)
        watch.report({"progress": start / len(pixels), "what": "features"})
        if start < len(pixels) and watch.now() + (watch.now() - begun) / start * len(block) > watch.deadline:
            raise OutOfTime(f"features were made of {start} of {len(pixels)} pictures when their time was over")
    write_array(path, features)
    return features


def _frozen(config: Config, device: torch.device, channels: int, exactly: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pictures to pooled features of a pretrained net, summed with the mirror images' for tta flip."""
    from autoclimb.learn.trunk import frozen_on, pooled  # timm: seconds, which hand-made features do not need

    built = frozen_on(config, channels, device)
    features = pooled(built.net, built, config.layers)

    def features_of_batch(x: Tensor) -> Tensor:
        return features(x) + features(x.flip(3)) if config.tta == "flip" else features(x)

    @torch.inference_mode()
    def extract(block: np.ndarray) -> np.ndarray:
        # on a card every batch has one shape: for another one it would wait for its kernels
        some = filled(block, BLOCK) if device.type == "cuda" else block
        x = to_input(some, built.mean, built.std, device, built.format.layout)
        with prediction_autocast(device, exactly):
            rows = exact_where_needed(partial(in_parts, features_of_batch, x))
            return rows[: len(block)].float().cpu().numpy()

    return extract


def _frozen_above(
    config: Config,
    pixels: PictureRows,
    cache: Path,
    device: torch.device,
    watch: Watch,
) -> tuple[Iterator[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Blocks of stored maps of the frozen stages, one for each view, and a function from a block to features.

    The maps are stored because features of more layers, and a training of the top alone, start from them too.
    """
    from autoclimb.learn.trunk import cut, frozen_on, pooled, stored_views

    if config.layers > config.top + 2:
        raise Unbuildable(f"layers {config.layers} reach below what is kept of {config.backbone}: top {config.top}")
    if config.tta not in ("none", "flip"):
        raise Unbuildable(f"frozen features are made of the picture and its mirror image, not of tta {config.tta}")
    views = stored_views(config, pixels, cache, device, watch)
    built = frozen_on(config, pixels.shape[-1], device)
    upper = cut(built, config.top, config.size)[1]
    features = pooled(upper.net, built, config.layers)

    @torch.inference_mode()
    def extract(block: np.ndarray) -> np.ndarray:
        with prediction_autocast(device):
            inputs = [to_input(maps, upper.mean, upper.std, device) for maps in block]
            parts = [exact_where_needed(partial(in_parts, features, x)) for x in inputs]
            return torch.stack(parts).sum(0).float().cpu().numpy()

    blocks = (np.stack([view[start : start + BLOCK] for view in views]) for start in range(0, len(pixels), BLOCK))
    return blocks, extract
