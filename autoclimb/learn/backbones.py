"""timm nets and where their weights come from."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")  # a dead link must cost seconds, not the budget
os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")

import timm
import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import nn

from autoclimb.errors import Mistake
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.heads import POOLS, with_layer, with_powers
from autoclimb.learn.losses import loss_asking
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
    bf16: bool = False  # whether training's forward and backward run under bfloat16 autocast
    loss: str = "default"  # what the outputs mean: a row of losses.LOSSES
    width: int = 0  # classes answered, where outputs are not one a class


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
    note = ""
    if source is not None and source.is_file():
        note = _load(net, source)
    if config.fine_stem:
        _refine_stem(net)
    head = with_layer(net, wanted.layer if width and wanted else "", outputs, config.neighbours)
    if config.pool:
        _try(net, config, channels, fixed)
    given = getattr(net, "pretrained_cfg", {})
    mean, std = given.get("mean", (0.485, 0.456, 0.406)), given.get("std", (0.229, 0.224, 0.225))
    mean, std = (tuple(values[c % len(values)] for c in range(channels)) for values in (mean, std))
    return Built(net, head, mean, std, note, fixed, loss=config.loss, width=width)


def _try(net: nn.Module, config: Config, channels: int, fixed: bool) -> None:
    """Raises Unbuildable if the net cannot take a picture: some accept a pool whose features their head cannot."""
    side = config.size if fixed else 64
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        raise Unbuildable(f"{config.backbone} with pool {config.pool!r}: {error}") from error
    net.train()


def _load(net: nn.Module, file: Path) -> str:
    """Puts the file's tensors that fit into the net; the sentence says how many did."""
    wanted = net.state_dict()
    found = load_file(file)
    for prefix in ("module.", "model.", "backbone.", "encoder."):
        if not set(found) & set(wanted):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    for key, value in found.items():
        fits = key in wanted and value.ndim == 4 and wanted[key].shape[2:] == value.shape[2:] and value.shape[1] == 3
        if fits and wanted[key].shape[1] != 3:
            found[key] = adapt_input_conv(wanted[key].shape[1], value)
    fitting = {key: value for key, value in found.items() if key in wanted and wanted[key].shape == value.shape}
    share = sum(v.numel() for v in fitting.values()) / max(sum(v.numel() for v in wanted.values()), 1)
    if share < 0.5:
        raise Unbuildable(f"{file.name} holds {share:.0%} of this net's weights; it is another architecture's")
    net.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(wanted)} tensors from {file.name}"


def _refine_stem(net: nn.Module) -> None:
    """Keeps the resolution of small pictures: first convolution at stride 1, no max-pool (as ResNets for CIFAR)."""
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None:
        first.stride = (1, 1)
    if hasattr(net, "maxpool"):
        net.maxpool = nn.Identity()


def find_weights(path: str) -> list[dict[str, Any]]:
    """The pretrained nets under a path: `{"backbone", "weights", "model_args", "parameters"}` each, smallest first.

    The path is a folder of hub-form folders (`config.json` + `model.safetensors`), one such folder, or one safetensors
    file whose name, or whose neighbour `config.json`, tells timm's architecture. Raises Mistake if there is none.
    """
    here = Path(path).expanduser().resolve()
    if not here.exists():
        raise Mistake(
            f"--weights {path}: there is nothing; give a folder of timm hub-form folders or a .safetensors file"
        )
    found: list[dict[str, Any]] = []
    if here.is_file():
        found.append(_single_file(here))
    else:
        for folder in [here, *sorted(p for p in here.iterdir() if p.is_dir())]:
            if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
                told = json.loads((folder / "config.json").read_text())
                if timm.is_model(told.get("architecture", "")):
                    row = {"backbone": told["architecture"], "weights": str(folder)}
                    size = (folder / "model.safetensors").stat().st_size // 4
                    found.append({**row, "model_args": told.get("model_args", {}), "parameters": size})
    if not found:
        raise Mistake(f"--weights {path}: no folder with config.json (of a timm net) and model.safetensors in it")
    return sorted(found, key=lambda row: row["parameters"])


def _single_file(file: Path) -> dict[str, Any]:
    if file.suffix != ".safetensors":
        raise Mistake(f"--weights {file.name}: only .safetensors files are read; other kinds can run code when loaded")
    beside = file.parent / "config.json"
    name = json.loads(beside.read_text()).get("architecture", "") if beside.is_file() else ""
    if not timm.is_model(name):
        stem = file.name.split(".")[0].replace("-", "_")
        name = max((m for m in timm.list_models() if stem.startswith(m)), key=len, default="")
    if not name:
        raise Mistake(f"--weights {file.name}: begin the file's name with timm's, like resnet18.safetensors")
    return {"backbone": name, "weights": str(file), "model_args": {}, "parameters": file.stat().st_size // 4}


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
