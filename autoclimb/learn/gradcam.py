"""Maps of the evidence for a net's output: Grad-CAM of its last features (Selvaraju et al. 2017, arXiv 1610.02391).

It is written by hand, since the package of that name needs the layer of each net by name, where timm's nets give their
last features themselves, and depends on opencv-python, which cannot be installed beside the headless one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.disk import whole_file
from autoclimb.errors import first_line
from autoclimb.learn.backbones import Built, place
from autoclimb.learn.batches import pictures_of_rows, to_input
from autoclimb.learn.closed_form import head_outputs
from autoclimb.learn.faults import STATUSES, Unbuildable, logged_kind
from autoclimb.learn.fold import saved_net
from autoclimb.learn.handmade import FEATURES
from autoclimb.learn.losses import predictions_of
from autoclimb.learn.material import Material
from autoclimb.learn.trunk import frozen_net, pooled

BATCH = 8  # pictures at once: maps are few, and little memory may be left
MOST_PLACES = 16  # a side of a stored map: enough for a thumbnail
FEWEST_PLACES = 3  # a side, below which a map tells only left from right


Frozen = tuple[Built, Callable[[Tensor], Tensor]]


@dataclass(frozen=True, eq=False)
class Looking:
    """A net for maps: `see` takes a batch `(B, C, S, S)` to features by place, which need gradients, and outputs."""

    see: Callable[[Tensor], tuple[Tensor, Tensor]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int  # of the features


def explain(
    config: Config,
    material: Material,
    nets: Path,
    asked: dict[int, int],
    device: torch.device,
    save: Path,
    left: Callable[[], float] = lambda: math.inf,
) -> dict[str, Any]:
    """Writes maps of evidence, and returns the rows that have one, `shown`, and why others have none, `note`.

    `asked` are train rows and the output whose evidence each map shows: a class, a label, 0 for a number. A row's map
    is of the net of the fold that held it out. `save` becomes an npz of `rows` and `outputs` `(R,)` and `maps` `(R, h,
    w)` uint8.
    """
    shown: dict[int, np.ndarray] = {}
    note = ""
    try:
        if config.grid:
            raise Unbuildable("the net sees the pictures of an item one by one")
        if config.train == "features" and config.backbone in FEATURES:
            raise Unbuildable("hand-made features have no places to look at")
        # the heads of all folds share one frozen net
        frozen = _frozen_net(config, material.channels) if config.train == "features" else None
        for number in config.folds:
            rows = [row for row in asked if material.fold_of[row] == number]
            path = nets / f"fold{number}.safetensors"
            if rows and path.exists() and left() > 0:
                looking = looking_through(config, load_file(path), frozen, material, device)
                maps = class_maps(looking, material, rows, [asked[row] for row in rows], config.seen_size, device)
                shown |= dict(zip(rows, maps, strict=True))
    except STATUSES as error:
        logged_kind(error)  # raises a bug again
        note = first_line(error, 200)
    rows = list(shown)
    if rows:
        outputs = [asked[row] for row in rows]
        with whole_file(save) as part:
            np.savez(part, rows=rows, outputs=outputs, maps=np.stack([shown[row] for row in rows]))
    return {"shown": rows, "note": note}


def _frozen_net(config: Config, channels: int) -> Frozen:
    """A net without a head, and the function that computes its features of all layers."""
    built = frozen_net(config, channels)
    return built, pooled(built.net, built, config.layers)


def looking_through(
    config: Config, tensors: dict[str, Tensor], frozen: Frozen | None, material: Material, device: torch.device
) -> Looking:
    """A fold's net, or the frozen one with the fold's head on its features."""
    if frozen is None:
        built, *_ = saved_net(config, tensors, material.width, material.channels)

        def outputs_of(own: Tensor, x: Tensor) -> Tensor:
            if own.shape[1] == material.width:
                return own  # logits: a probability near 1 has next to no gradient
            return predictions_of(own, material.kind, config.loss, material.width).clamp(min=1e-6).log()

    else:
        built, all_features = frozen
        head = {name: tensor.to(device) for name, tensor in tensors.items()}

        def outputs_of(own: Tensor, x: Tensor) -> Tensor:
            with torch.no_grad():  # earlier layers and the mirrored picture count as constants
                rest = all_features(x)[:, own.shape[1] :]
                mirrored = all_features(x.flip(3)) if config.tta == "flip" else 0.0
            return head_outputs(head, torch.cat([own, rest], 1) + mirrored)

    net = place(built, device).eval().requires_grad_(False)
    see = _from_tokens(net) if getattr(net, "global_pool", "") == "token" else _from_features(net)

    def outputs_by_place(x: Tensor) -> tuple[Tensor, Tensor]:
        features, outputs = see(x)
        return features, outputs_of(outputs.float(), x)

    return Looking(outputs_by_place, built.mean, built.std, int(net.num_features))  # type: ignore[arg-type]


def _from_features(net: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The last features, which the net pools, and its outputs."""

    def see(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = net.forward_features(x)
        features = features.detach().requires_grad_()  # stages below need no gradient
        return features, net.forward_head(features)

    return see


def _from_tokens(net: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The tokens before the last block's attention, for nets whose outputs follow from a token without a place."""
    norm = getattr(list(net.blocks)[-1], "norm1", None) if hasattr(net, "blocks") else None
    if norm is None:
        raise Unbuildable(f"{type(net).__name__} answers from a token of its own, not from places of the picture")

    def see(x: Tensor) -> tuple[Tensor, Tensor]:
        leaves: list[Tensor] = []

        def cut(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        hook = norm.register_forward_hook(cut)
        try:
            outputs = net(x)
        finally:
            hook.remove()
        return leaves[0], outputs

    return see


def class_maps(
    looking: Looking, material: Material, rows: list[int], outputs: list[int], size: int, device: torch.device
) -> np.ndarray:
    """Maps `(R, h, w)` uint8 of the evidence in each place of a row's picture for its output, 255 at the most."""
    maps = []
    for start in range(0, len(rows), BATCH):
        pictures = pictures_of_rows(material.pixels, np.array(rows[start : start + BATCH]), size)
        features, all_outputs = looking.see(to_input(pictures, looking.mean, looking.std, device))
        explained = torch.tensor(outputs[start : start + BATCH], device=device)
        (gradient,) = torch.autograd.grad(all_outputs.gather(1, explained[:, None]).sum(), features)
        maps.append(weighted(*(in_places(x.detach().float(), looking.channels) for x in (features, gradient))))
    return torch.cat(maps).cpu().numpy()


def in_places(features: Tensor, channels: int) -> Tensor:
    """Features as `(B, channels, h, w)`, however the net lays them out. Raises Unbuildable where places are too few."""
    if features.ndim == 3:  # tokens, first those without a place
        side = math.isqrt(features.shape[1])
        features = features[:, -side * side :].unflatten(1, (side, side))
    if features.ndim == 4 and features.shape[1] != channels == features.shape[3]:
        features = features.permute(0, 3, 1, 2)
    if features.ndim != 4 or min(features.shape[2:]) < FEWEST_PLACES:
        shape = " x ".join(map(str, features.shape[2:]))
        raise Unbuildable(f"the net's last features are of {shape} places, too few to tell where it looks")
    return features


def weighted(features: Tensor, gradient: Tensor) -> Tensor:
    """The sum over channels, each by its mean gradient, negative places 0 and the largest 255: `(B, h, w)` uint8."""
    maps = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).clamp(min=0)
    if max(maps.shape[2:]) > MOST_PLACES:
        maps = F.adaptive_avg_pool2d(maps, MOST_PLACES)
    return (255 * maps / maps.amax((2, 3), keepdim=True).clamp(min=1e-12))[:, 0].round().to(torch.uint8)
