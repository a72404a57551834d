"""A net cut in two: the outputs of its frozen stages are computed once and stored, and only the stages above train.

On a processor the lower stages, whose maps are large, cost most, and their pretrained filters are useful as they are.
All folds share the stored features, since the frozen stages never saw a label.
"""

import copy
import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows, file_of
from autoclimb.disk import whole_file
from autoclimb.learn.backbones import Built, build_net, place
from autoclimb.learn.batches import BLOCK, BatchMaker, BatchSpec, blocks_of, prefetch, to_input
from autoclimb.learn.devices import exact_where_needed, prediction_autocast
from autoclimb.learn.faults import STATUSES, OutOfTime, Unbuildable, logged_kind
from autoclimb.learn.lean import for_prediction
from autoclimb.learn.material import Material, Report, StoredFeatures, Watch
from autoclimb.learn.memory import in_parts
from autoclimb.learn.optim import layers_of
from autoclimb.learn.threads import TRIED, settle_again
from autoclimb.learn.views import RESIZING, View, views_named
from autoclimb.processors import usable_cores
from autoclimb.seeds import seed_of

MOST_BYTES = 3e9  # of stored features on disk, beyond which the least recently used ones are deleted
LARGEST = 6e4  # that a feature is clamped to, since float16 ends at 65,504

# --- the cut ---------------------------------------------------------------------------------------------------------


def cut(built: Built, top: int, size: int) -> tuple[nn.Sequential, Built]:
    """The frozen stages, and the net above them: its `top` last stages and the head, under the full net's names.

    Both share their modules with the net. The upper part takes float16 maps, channels last, as pictures. Raises
    Unbuildable where the net is no chain of stages, or has too few.
    """
    net, device = built.net, next(built.net.parameters()).device
    layer_of = layers_of(net, built.head, coarse=True)
    lowest = max(layer_of.values()) - top  # the first stage that trains
    if lowest < 1:
        stages = max(layer_of.values()) - 1
        raise Unbuildable(
            f"{type(net).__name__} has {stages} stages between stem and head; top {top} leaves none frozen"
        )
    frozen, upper = _parted(net, {name for name, layer in layer_of.items() if layer >= lowest})
    trunk = nn.Sequential(*frozen)
    training = net.training
    net.eval()
    try:
        with torch.inference_mode():
            x = torch.rand(1, len(built.mean), size, size, device=device)
            maps = trunk(x)
            uncut, parted = net.forward_features(x), upper.forward_features(maps)  # type: ignore[operator]
            same = uncut.shape == parted.shape and torch.allclose(uncut, parted, rtol=1e-3, atol=1e-4)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise Unbuildable(f"{type(net).__name__} cannot be cut above its frozen stages: {error}") from error
    if not same or maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise Unbuildable(f"{type(net).__name__} is no chain of stages: it cannot be cut above its frozen ones")
    net.train(training)
    channels = maps.shape[1]
    # batches.to_input divides by 255, so with this deviation features pass unchanged
    return trunk, replace(built, net=upper, mean=(0.0,) * channels, std=(1 / 255,) * channels, forward=None)


def _parted(module: nn.Module, training: set[str], prefix: str = "") -> tuple[list[nn.Module], nn.Module]:
    """The first children, which have no parameter that trains, and the module with identities in their place."""
    upper = copy.copy(module)
    upper._modules = dict(module._modules)
    frozen: list[nn.Module] = []
    for name, child in module.named_children():
        inside = f"{prefix}{name}."
        if any(parameter.startswith(inside) for parameter in training):
            if isinstance(child, nn.Sequential):
                inner, rest = _parted(child, training, inside)
                frozen += inner
                upper._modules[name] = rest if inner else child
            break
        frozen.append(child)
        upper._modules[name] = nn.Identity()
    return frozen, upper


def maps_of(
    trunk: nn.Module, built: Built, pictures: np.ndarray, device: torch.device, view: View | None = None
) -> np.ndarray:
    """The frozen stages' features `(B, h, w, channels)` float16 of pictures `(B, S, S, C)` in a view."""
    x = to_input(pictures, built.mean, built.std, device, built.format.layout)
    with torch.inference_mode(), prediction_autocast(device):
        seen = x if view is None else view(x)
        maps = exact_where_needed(partial(in_parts, trunk, seen)).float().clamp(-LARGEST, LARGEST)
    return maps.half().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def above(built: Built, material: Material, config: Config) -> tuple[Built, Material, Config]:
    """The upper part of the net, the material with stored features as its pictures, and the config for them."""
    assert material.stored is not None
    first = material.stored.views[0]
    upper = cut(built, config.top, config.size)[1]
    return upper, replace(material, pixels=first), config.vary(size=first.shape[1], test_size=0)


# --- features of several layers --------------------------------------------------------------------------------------


def frozen_net(config: Config, channels: int) -> Built:
    """The config's net with an unused head, so that its stages are numbered as in training."""
    return build_net(config.vary(loss="default", pool="", neighbours=0), 2, channels)


def frozen_on(config: Config, channels: int, device: torch.device) -> Built:
    """`frozen_net` on the device, ready to predict, the outputs of its stages as they were."""
    built = frozen_net(config, channels)
    built = for_prediction(built, device, config.size, stages_of(built))
    place(built, device).eval()
    return built


def pooled(net: nn.Module, built: Built, layers: int) -> Callable[[Tensor], Tensor]:
    """A function from a batch to features `(B, D)`: the net's own, and its last stages' averaged over places.

    `net` is that of `built`, or its upper part; its head is removed. Raises Unbuildable where it has too few stages, or
    their outputs are no maps.
    """
    names = stages_of(built)
    if layers - 1 > len(names):
        raise Unbuildable(f"{type(net).__name__} has {len(names)} stages; layers {layers} are too many")
    outputs: list[Tensor] = []

    def collect(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] != output.shape[3]:
            raise Unbuildable(f"the stages of {type(net).__name__} give no maps; only layers=1 can be had")
        outputs.append(output.mean((2, 3)))

    for name in names[len(names) - (layers - 1) :]:
        net.get_submodule(name).register_forward_hook(collect)
    net.reset_classifier(0)  # type: ignore[operator]

    def features(x: Tensor) -> Tensor:
        outputs.clear()
        own = net(x)
        return torch.cat([own, *outputs], 1) if outputs else own

    return features


def stages_of(built: Built) -> list[str]:
    """The names of the modules that end, or are, the stages between stem and head, lowest first."""
    layer_of = layers_of(built.net, built.head, coarse=True)
    names: dict[int, str] = {}
    for name, child in built.net.named_children():
        inner = [f"{name}.{part}" for part, _ in child.named_children()] if isinstance(child, nn.Sequential) else []
        several = len({layer for parameter, layer in layer_of.items() if parameter.startswith(f"{name}.")}) > 1
        for module in inner if several else [name]:
            layers = {layer for parameter, layer in layer_of.items() if parameter.startswith(f"{module}.")}
            if len(layers) == 1:
                # the first module of a layer, as a convolution between the last stage and the head shares its layer
                names.setdefault(layers.pop(), module)
    return [names[layer] for layer in range(1, max(layer_of.values())) if layer in names]


# --- stored features -------------------------------------------------------------------------------------------------


def keep(
    config: Config, material: Material, cache: Path, device: torch.device, report: Report, seconds: float
) -> dict[str, Any]:
    """Computes a trial's stored features ahead of it. A fault is in the reply only: the trial will meet it too."""
    try:
        stored_features(config, material, cache, device, Watch(deadline=time.monotonic() + seconds, report=report))
    except STATUSES as error:
        return {"note": str(error), "fault": logged_kind(error)}
    return {}


def stored_features(
    config: Config,
    material: Material,
    cache: Path,
    device: torch.device,
    watch: Watch,
) -> StoredFeatures:
    """The features that the config's top trains on and predicts from, read from the cache if they exist.

    Raises Unbuildable for a config that cannot have them, OutOfTime where the watch's deadline comes first.
    """
    views = stored_views(config, material.pixels, cache, device, watch)
    rows = len(material.target)
    varied = []
    for number in range(config.variants - len(views)):
        variant = f"{config.policy} {number} {material.pipelines.get(config.policy)}"
        path = _path(cache, config, material.pixels, variant)
        if not path.exists():
            blocks = _varied(config, replace(material, stored=None), rows, number)
            _write(path, rows, _maps_of_blocks(config, blocks, material.channels, device), watch)
        varied.append(_opened(path))
    return StoredFeatures(views, tuple(varied))


def stored_views(
    config: Config,
    pixels: PictureRows,
    cache: Path,
    device: torch.device,
    watch: Watch,
) -> tuple[np.ndarray, ...]:
    """The features `(R, h, w, channels)` of all R pictures in each view of the config's `tta`."""
    if not config.weights:
        raise Unbuildable("features of frozen stages are stored for pretrained nets only; give weights, or top 0")
    if config.sizes or config.scales or config.grid or config.test_size not in (0, config.size):
        raise Unbuildable("a net that trains its top alone sees pictures of one size, an item's as one")
    if config.tta in (*RESIZING, "auto"):
        raise Unbuildable(f"a net that trains its top alone cannot predict in the views of tta {config.tta}")
    views = []
    for number, view in enumerate(views_named(config.tta)):
        path = _path(cache, config, pixels, f"{config.tta} {number}" if number else "")
        if not path.exists():
            blocks = blocks_of(pixels, config.size)
            maps = _maps_of_blocks(config, blocks, pixels.shape[-1], device, view if number else None)
            _write(path, len(pixels), maps, watch)
        views.append(_opened(path))
    return tuple(views)


def _opened(path: Path) -> np.ndarray:
    """The features at `path`, mapped; the file counts as used now."""
    os.utime(path)
    return np.load(path, mmap_mode="r")


def _path(cache: Path, config: Config, pixels: PictureRows, variant: str) -> Path:
    """The file of one variant's features, named after the net, the pictures and the variant."""
    net = (config.backbone, config.weights, config.model_args, config.fine_stem, config.top)
    pictures = (config.size, config.preprocess, pixels.shape, file_of(pixels))
    name = hashlib.blake2b(repr((net, pictures, variant)).encode(), digest_size=8).hexdigest()
    return cache / f"trunk-{name}.npy"


def _varied(config: Config, material: Material, rows: int, number: int) -> Iterator[np.ndarray]:
    """Blocks of train pictures, varied by the policy, the same for every seed so that folds and seeds share them."""
    maker = BatchMaker(material, config)
    for start in range(0, rows, BLOCK):
        block = np.arange(start, min(start + BLOCK, rows))
        yield maker[BatchSpec(0, block, config.size, seed_of(0, "variant", number, start) % 2**31)][1].numpy()


def _maps_of_blocks(
    config: Config, blocks: Iterator[np.ndarray], channels: int, device: torch.device, view: View | None = None
) -> Iterator[np.ndarray]:
    """The frozen stages' features of blocks of pictures in a view."""
    built = for_prediction(frozen_net(config, channels), device, config.size)
    place(built, device).eval()
    trunk = cut(built, config.top, config.size)[0].eval()
    for number, block in enumerate(prefetch(blocks, device)):
        if not number and device.type == "cpu":
            settle_again(partial(maps_of, trunk, built, block[:TRIED], device), usable_cores())
        yield maps_of(trunk, built, block, device, view)


def _write(
    path: Path,
    rows: int,
    blocks: Iterator[np.ndarray],
    watch: Watch,
) -> None:
    """Writes features block by block, since a full disk is an error of a write, but kills the process of a memory map.

    Raises OutOfTime where the next block would not be done by the watch's deadline.
    """
    done, begun = 0, watch.now()
    with whole_file(path) as part, part.open("wb") as file:
        while done < rows:
            ahead = (watch.now() - begun) / done * min(BLOCK, rows - done) if done else 0.0
            if watch.now() + ahead >= watch.deadline:
                raise OutOfTime(f"features of the frozen stages were made of {done} of {rows} pictures by the deadline")
            maps = next(blocks)
            if not done:
                shape = (rows, *maps.shape[1:])
                _make_room(path.parent, maps.itemsize * math.prod(shape))
                header = {"descr": maps.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(maps.tobytes())
            done += len(maps)
            watch.report({"progress": done / rows, "what": "features"})


def _make_room(cache: Path, needed: int) -> None:
    """Deletes stored features, the least recently used first, until `needed` more bytes fit.

    Within MOST_BYTES, and into the free disk.
    """
    files = sorted(cache.glob("trunk-*.npy"), key=lambda file: file.stat().st_mtime_ns)
    total = sum(file.stat().st_size for file in files)
    while files and (total + needed > MOST_BYTES or needed > shutil.disk_usage(cache).free):
        oldest = files.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
