"""Building timm nets from a config: their heads, their weights, and the statistics of their input."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.boxed import BOX, boxed_tensors
from autoclimb.learn.depthwise import quicken_gradients
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.heads import POOLS, set_last_layer, use_gem
from autoclimb.learn.losses import find_loss
from autoclimb.learn.material import PLAIN, Format
from autoclimb.learn.several import see_tiles
from autoclimb.learn.weights import INPUT, load_fitting, tensors_of

# errors of timm for nets that it cannot make, of the hub's client for broken connections, of safetensors for files
BROKEN = (TypeError, RuntimeError, OSError, ValueError, AssertionError, HTTPError, SafetensorError)


@dataclass(frozen=True, eq=False)
class Built:
    """A net with `(B, W)` outputs, its last layer, and the statistics of the input it was made for."""

    net: nn.Module
    head: nn.Module
    mean: tuple[float, ...]  # of pixels from 0 to 1, a number for each channel
    std: tuple[float, ...]
    note: str = ""  # which of the given weights fitted
    fixed: bool = False  # takes pictures of one size only
    format: Format = PLAIN
    forward: Callable | None = None  # run in training instead of `net`: the same net, compiled or as a card's graphs
    loss: str = "default"  # the meaning of the outputs: a row of losses.LOSSES
    width: int = 0  # classes predicted, where there is not one output for each
    grid: int = 0  # pictures a side of an item's grid, each seen by itself
    batch: int = 0  # pictures of a training batch, and of a batch predicted on a card
    frozen_norms: bool = False  # batch norms keep their statistics in training
    exactly: bool = False  # predicts as an exported file does, in float32 on a processor


def place(built: Built, device: torch.device) -> nn.Module:
    """The net, moved to the device and into its layout."""
    return built.net.to(device, memory_format=built.format.layout)  # type: ignore[call-overload]


def place_to_train(built: Built, device: torch.device) -> nn.Module:
    """The net on the device, ready to train."""
    net = place(built, device).train()
    for norm in norms_of(net) if built.frozen_norms else ():
        norm.eval()
    return net


def norms_of(net: nn.Module) -> list[nn.Module]:
    """The net's batch norms."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def has_depthwise(net: nn.Module) -> bool:
    """Whether the net has depthwise convolutions."""
    return any(isinstance(m, nn.Conv2d) and 1 < m.in_channels == m.groups for m in net.modules())


def check_pool(name: str) -> None:
    """Raises Mistake for a name that is not in POOLS; "" is the net's own."""
    if name not in ("", *POOLS):
        raise Mistake(f"pool {name!r} is unknown; choose from {', '.join(POOLS)}, or '' for the net's own")


def check_backbone(name: str) -> None:
    """Raises Mistake for a name that timm does not know."""
    if not timm.is_model(name):
        raise Mistake(f"backbone {name!r} is not a timm model; timm.list_models() names them")


def build_net(config: Config, width: int, channels: int = 3) -> Built:
    """The config's net for pictures of so many channels, with a new head for `width` classes (0: features come out).

    The head has the layer and outputs that the loss needs, most often a logit per class. Pretrained first layers are
    adapted to other channels by timm: red, green and blue filters in turn, scaled down. Raises Mistake for an unknown
    name, Unbuildable where the net, its weights and the config do not fit together.
    """
    loss = find_loss(config.loss) if width else None
    outputs = loss.outputs(width) if loss else width
    source = Path(config.weights) if config.weights not in ("", "hub", BOX) else None
    if source is not None and not source.exists():
        raise Unbuildable(f"weights {config.weights}: no such file or folder; write a path, 'hub' or '{BOX}'")
    check_pool(config.pool)
    check_backbone(config.backbone)
    fixed = getattr(timm.get_pretrained_cfg(config.backbone), "fixed_input_size", False)
    net = _created(config, source, outputs, channels, fixed)
    quicken_gradients(net)
    if config.pool == "gem":
        use_gem(net)
    note, tensors = _loaded(net, config, source)
    if config.fine_stem:
        _refine_stem(net)
    head = set_last_layer(net, loss.layer if loss else "", outputs, config.neighbours)
    if config.grid:
        if fixed:
            raise Unbuildable(f"{config.backbone} takes pictures of one size only; it cannot see those of a grid")
        see_tiles(net, config.grid)
    if config.pool or config.grid:
        _try(net, config, channels, fixed)
    mean, std = _statistics_of(net, tensors, channels)
    built = Built(net, head, mean, std, note, fixed, loss=config.loss, width=width, grid=config.grid)
    return replace(built, frozen_norms=config.frozen_norms)


def _created(config: Config, source: Path | None, outputs: int, channels: int, fixed: bool) -> nn.Module:
    """timm's net, with weights where they are the hub's or those of a folder in the hub's form."""
    in_hub_form = source is not None and source.is_dir()
    name = f"local-dir:{source}" if in_hub_form else config.backbone
    options = _options(config, channels, fixed)
    if config.weights == "hub" and (file := downloaded(name)):
        options["pretrained_cfg_overlay"] = {"file": file}
    try:
        return timm.create_model(
            name, pretrained=in_hub_form or config.weights == "hub", num_classes=outputs, **options
        )
    except BROKEN as error:
        pool = f" with pool {config.pool!r}" if config.pool else ""
        raise Unbuildable(f"{config.backbone}{pool}: {error}") from error


def _loaded(net: nn.Module, config: Config, source: Path | None) -> tuple[str, dict[str, torch.Tensor]]:
    """The note of `load_fitting` where weights are the box's or a file's, loaded by it, and the file's tensors."""
    if config.weights == BOX:
        return load_fitting(net, boxed_tensors(config.backbone, net), "the box"), {}
    if source is not None and source.is_file():
        tensors = tensors_of(source)
        return load_fitting(net, tensors, source.name), tensors
    return "", {}


def downloaded(name: str) -> str:
    """The file of a hub's net that is here already, "" where there is none.

    Asked for by its name alone, timm asks the hub for each fold whether there is a newer one, and where the network has
    gone meanwhile waits for it.
    """
    source = timm.get_pretrained_cfg(name)
    if source is None or not source.hf_hub_id or source.hf_hub_filename or source.custom_load:
        return ""
    repository, _, revision = source.hf_hub_id.partition("@")
    file = try_to_load_from_cache(repository, "model.safetensors", revision=revision or None)
    return file if isinstance(file, str) else ""


def _options(config: Config, channels: int, fixed: bool) -> dict[str, Any]:
    """The arguments of timm.create_model that the config asks for."""
    options: dict[str, Any] = dict(config.model_args)
    if config.dropout:
        options["drop_rate"] = config.dropout
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    if config.pool not in ("", "gem"):
        options["global_pool"] = config.pool
    if channels != 3:
        options["in_chans"] = channels
    if fixed:
        options["img_size"] = config.size
    return options


def _statistics_of(
    net: nn.Module, tensors: dict[str, torch.Tensor], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels that the net was trained on, for each channel; ImageNet's where unknown."""
    statistics = dict(getattr(net, "pretrained_cfg", {}))
    if INPUT in tensors:  # a net of a run, with the statistics that it was trained with
        statistics["mean"], statistics["std"] = tensors[INPUT].tolist()
    mean, std = statistics.get("mean", (0.485, 0.456, 0.406)), statistics.get("std", (0.229, 0.224, 0.225))
    mean, std = (tuple(values[c % len(values)] for c in range(channels)) for values in (mean, std))
    return mean, std


def _try(net: nn.Module, config: Config, channels: int, fixed: bool) -> None:
    """Raises Unbuildable where the net fails on a picture: some accept a pool whose features do not fit their head."""
    side = config.size if fixed else 64 * (config.grid or 1)
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        grid = f" and grid {config.grid}" if config.grid else ""
        raise Unbuildable(f"{config.backbone} with pool {config.pool!r}{grid}: {error}") from error
    net.train()


def _refine_stem(net: nn.Module) -> None:
    """Keeps the resolution of small pictures: first convolution at stride 1, no max-pool (as ResNets for CIFAR)."""
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None:
        first.stride = (1, 1)
    if hasattr(net, "maxpool"):
        net.maxpool = nn.Identity()
