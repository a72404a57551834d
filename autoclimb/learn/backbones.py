"""timm nets and where their weights come from."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")  # a dead link must cost seconds, not the budget
os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")

import timm
import torch
from torch import nn

from autoclimb.errors import Mistake
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.heads import POOLS, with_layer, with_powers
from autoclimb.learn.losses import loss_asking
from autoclimb.learn.several import one_by_one
from autoclimb.learn.weights import INPUT, put_in, tensors_of
from autoclimb.types import Config


@dataclass(frozen=True, eq=False)
class Built:
    """A net that gives `(B, W)` outputs, its last layer, and the statistics of the input it wants (0..1 pixels)."""

    net: nn.Module
    head: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str = ""
    fixed: bool = False  # takes pictures of one size only
    channels_last: bool = True  # how pictures and filters lie in memory; torch's own layout otherwise
    compiled: Callable | None = None  # the same net as torch.compile made it: for training's forward
    bf16: bool = False  # whether training's forward and backward run under bfloat16 autocast
    loss: str = "default"  # what the outputs mean: a row of losses.LOSSES
    width: int = 0  # classes answered, where outputs are not one a class
    grid: int = 0  # pictures a side of an item's grid, each seen by itself

    @property
    def layout(self) -> torch.memory_format:
        """How its pictures and filters lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def build_net(config: Config, width: int, channels: int = 3) -> Built:
    """The config's net with a fresh head for `width` classes (0: none, features come out), for so many channels.

    The head has the layer and outputs that the loss asks for, a logit per class most often.
    Pretrained first layers are adapted by timm: red, green and blue filters in turn, scaled down.
    """
    wanted = loss_asking(config.loss)
    outputs = wanted.outputs(width) if width and wanted else width
    source = Path(config.weights) if config.weights not in ("", "hub") else None
    options: dict[str, Any] = dict(config.model_args)
    fixed = False
    if config.dropout:
        options["drop_rate"] = config.dropout
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    if config.pool not in ("", *POOLS):
        raise Mistake(f"pool {config.pool!r} is unknown; choose from {', '.join(POOLS)}, or '' for the net's own")
    if config.pool not in ("", "gem"):
        options["global_pool"] = config.pool
    if channels != 3:
        options["in_chans"] = channels
    name = config.backbone
    if source is not None and source.is_dir():
        name = f"local-dir:{source}"
    elif not timm.is_model(name):
        raise Mistake(f"backbone {name!r} is not a timm model; timm.list_models() names them")
    elif getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        options["img_size"], fixed = config.size, True
    pretrained = config.weights == "hub" or (source is not None and source.is_dir())
    try:
        net = timm.create_model(name, pretrained=pretrained, num_classes=outputs, **options)
    except (TypeError, RuntimeError, OSError, ValueError, AssertionError) as error:
        pool = f" with pool {config.pool!r}" if config.pool else ""
        raise Unbuildable(f"{config.backbone}{pool}: {error}") from error
    if config.pool == "gem":
        with_powers(net)
    note, told = "", {}
    if source is not None and source.is_file():
        told = tensors_of(source)
        note = put_in(net, told, source.name)
    if config.fine_stem:
        _refine_stem(net)
    head = with_layer(net, wanted.layer if width and wanted else "", outputs, config.neighbours)
    if config.grid:
        if fixed:
            raise Unbuildable(f"{config.backbone} takes pictures of one size only; it cannot see those of a grid")
        one_by_one(net, config.grid)
    if config.pool or config.grid:
        _try(net, config, channels, fixed)
    given = dict(getattr(net, "pretrained_cfg", {}))
    if INPUT in told:  # a net of a run: it was trained on pictures normalised like this
        given["mean"], given["std"] = told[INPUT].tolist()
    mean, std = given.get("mean", (0.485, 0.456, 0.406)), given.get("std", (0.229, 0.224, 0.225))
    mean, std = (tuple(values[c % len(values)] for c in range(channels)) for values in (mean, std))
    return Built(net, head, mean, std, note, fixed, loss=config.loss, width=width, grid=config.grid)


def _try(net: nn.Module, config: Config, channels: int, fixed: bool) -> None:
    """Raises Unbuildable if the net cannot take a picture: some accept a pool whose features their head cannot take."""
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


def hub_answers(seconds: float = 3.0) -> bool:
    """Whether timm's hub can be reached: one connection, given up after `seconds`."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    place = urlparse(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or 443), timeout=seconds):
            return True
    except OSError:
        return False
