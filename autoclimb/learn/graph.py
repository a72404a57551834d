"""A blend as one torch module, which `autoclimb export` writes: decoded pictures in, the blend's predictions out.

It suits `torch.export`: shapes are static but for the batch, and operations without an ONNX operator are products with
constant matrices. A trunk that several members share is in it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.blended import combined, sharpened, without_graph
from autoclimb.learn.closed_form import Head, head_probabilities, votes_of_nearest
from autoclimb.learn.fold import saved_net
from autoclimb.learn.handmade import (
    FEATURES,
    PATCH_SIDE,
    SHAPE_SIDE,
    Gradients,
    Patches,
    dictionary_file,
    read_dictionary,
)
from autoclimb.learn.losses import predictions_of
from autoclimb.learn.material import Material, rows_of_fold
from autoclimb.learn.several import EMPTY, OneByOne, join_tiles, split_tiles
from autoclimb.learn.trunk import LARGEST, cut, frozen_net, pooled
from autoclimb.learn.views import View, scaled_side, views_named, with_views_of
from autoclimb.types import Kind


@dataclass(frozen=True)
class Part:
    """A member of the blend: its config, the folder of its nets, and the number of its input in the graph."""

    config: Config
    nets: Path
    source: int


class Normalised(nn.Module):
    """From uint8 pictures `(B, S, S, C)` to a net's input: float `(B, C, S, S)`, normalised by its statistics."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1 / (255 * s) for s in std]).view(1, -1, 1, 1))
        shifts = [m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("shift", torch.tensor(shifts).view(1, -1, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.permute(0, 3, 1, 2).float() * self.scale - self.shift


class FrozenTrunk(nn.Module):
    """Features `(B, D)` of a pretrained net, summed over its views; `features.features_of` as a graph.

    At a cut they pass through float16, as the stored features of frozen stages do.
    """

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        built = frozen_net(config, channels)
        self.normalised, self.lower, upper = Normalised(built.mean, built.std), None, built.net
        if config.top:
            self.lower, above = cut(built, config.top, config.size)
            upper = above.net
        self.upper, self.features = upper, pooled(upper, built, config.layers)
        every = views_named(config.tta)
        self.views = [_in_graph(view) for view in (every if config.tta == "flip" else every[:1])]

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.normalised(pictures)
        seen = torch.cat([view(x) for view in self.views])
        if self.lower is not None:
            seen = self.lower(seen).clamp(-LARGEST, LARGEST).half().float()
        return self.features(seen).unflatten(0, (len(self.views), -1)).sum(0)


class ClosedForm(nn.Module):
    """A fitted head: predictions `(B, C)` of features `(B, D)`, its kernel or votes by the features of points."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    target_mean: Tensor
    slope: Tensor
    shift: Tensor

    def __init__(self, head: Head, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.width, self.scale = head["kernel"].tolist()  # of the Gaussian
        count, heat = head["neighbours"].tolist() if "neighbours" in head else (0.0, 1.0)
        self.count, self.heat = int(count), float(heat)
        for name in ("mean", "deviation", "weights", "target_mean", "slope", "shift"):
            self.register_buffer(name, head[name])

    def forward(self, features: Tensor, points: Tensor | None) -> Tensor:
        x = (features - self.mean) / self.deviation
        if points is not None and self.count:
            p = (points - self.mean) / self.deviation
            x = votes_of_nearest(F.normalize(x) @ F.normalize(p).T, self.count, self.heat)
        elif points is not None:
            p = (points - self.mean) / self.deviation
            squares = (x * x).sum(1, keepdim=True) + (p * p).sum(1) - 2 * (x @ p.T)
            x = torch.exp(-self.width / self.scale * squares.clamp(min=0.0))
        return head_probabilities(x @ self.weights + self.target_mean, self.slope, self.shift, self.kind)


class Heads(nn.Module):
    """The mean prediction `(B, C)` of the heads of several folds; `closed_form.head_predictions` as a graph.

    The kernels of five folds hold each train row four times, each time with another scale; the graph holds its features
    once (54 MB instead of 216 for 2,500 pictures' patches). `train_rows` are those that each head was fitted on.
    """

    points: Tensor

    def __init__(self, heads: Sequence[Head], train_rows: Sequence[np.ndarray], kind: Kind) -> None:
        super().__init__()
        self.heads = nn.ModuleList(ClosedForm(head, kind) for head in heads)
        self.kernel = "points" in heads[0]
        if not self.kernel:
            return
        raw = [(h["points"].double() * h["deviation"] + h["mean"]).float() for h in heads]
        if any(len(points) != len(rows) for points, rows in zip(raw, train_rows, strict=True)):  # landmarks
            ends = np.cumsum([len(points) for points in raw])
            train_rows = [np.arange(end - len(points), end) for points, end in zip(raw, ends, strict=True)]
        all_rows = np.unique(np.concatenate(train_rows))
        all_points = torch.empty(len(all_rows), raw[0].shape[1])
        for number, (rows, points) in enumerate(zip(train_rows, raw, strict=True)):
            at = torch.from_numpy(np.searchsorted(all_rows, rows))
            all_points[at] = points
            self.register_buffer(f"rows{number}", at)
        self.register_buffer("points", all_points)

    def forward(self, features: Tensor) -> Tensor:
        predictions = []
        for number, head in enumerate(self.heads):
            points = self.points[getattr(self, f"rows{number}")] if self.kernel else None
            predictions.append(head(features, points))
        return torch.stack(predictions).mean(0)


class Nets(nn.Module):
    """The mean prediction `(B, C)` of the nets of several folds."""

    def __init__(self, nets: Sequence["TrainedNet"]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.stack([net(pictures) for net in self.nets]).mean(0)


class TrainedNet(nn.Module):
    """Predictions `(B, C)` of the net of one fold, the mean over its views; `fold.predict_fold` as a graph."""

    def __init__(self, config: Config, file: Path, kind: Kind, width: int, channels: int) -> None:
        super().__init__()
        built, self.target_mean, self.target_std = saved_net(config, load_file(file), width, channels)
        if isinstance(built.net, OneByOne):
            _see_all_tiles(built.net)
        self.net, self.normalised, self.grid = built.net, Normalised(built.mean, built.std), built.grid
        self.views = [_in_graph(view) for view in views_named(config.tta, built.fixed)]
        self.kind, self.loss, self.width = kind, built.loss, built.width

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.normalised(pictures)
        pictures_by_view = [self._in_view(view, x) for view in self.views]
        total = torch.zeros(1, self.width)
        for side in dict.fromkeys(p.shape[-1] for p in pictures_by_view):  # views of one size pass the net together
            same_size = [p for p in pictures_by_view if p.shape[-1] == side]
            outputs = self.net(torch.cat(same_size))
            predictions = predictions_of(outputs, self.kind, self.loss, self.width)
            total = total + predictions.unflatten(0, (len(same_size), -1)).sum(0)
        return total / len(pictures_by_view) * self.target_std + self.target_mean

    def _in_view(self, view: View, x: Tensor) -> Tensor:
        return join_tiles(view(split_tiles(x, self.grid)), self.grid) if self.grid else view(x)


class BlendGraph(nn.Module):
    """The blend's predictions `(B, C)` of pictures `(B, S, S, C)` uint8, one batch for each input.

    `parts` are the blend's members in its order, `model` is `Blend.stacker`. `material` holds the task and the folds,
    `cache` is the run's, beside which its dictionaries lie.
    """

    def __init__(
        self, parts: Sequence[Part], model: dict[str, Any], material: Material, channels: int, cache: Path
    ) -> None:
        super().__init__()
        if lacking := without_graph(model):
            raise Mistake(
                f"a blend by {lacking[0]} cannot be exported, since trees have no form in a graph; "
                "export the best trial alone with --best"
            )
        kind, width = material.kind, material.width
        self.kind, self.model = kind, model
        self.trunks, self.members = nn.ModuleList(), nn.ModuleList()
        self.sources: list[int] = []  # the input of each trunk
        self.places: list[tuple[int, bool]] = []  # the input of each part, or its trunk (True) where it has features
        trunk_number: dict[tuple[Any, ...], int] = {}
        for part in parts:
            config, files = part.config, [part.nets / f"fold{fold}" for fold in part.config.folds]
            if config.train == "net":
                by_fold = [(with_views_of(config, file.with_name(f"{file.name}.json")), file) for file in files]
                nets = [TrainedNet(own, _weights(file), kind, width, channels) for own, file in by_fold]
                self.places.append((part.source, False))
                self.members.append(Nets(nets))
                continue
            net = (config.backbone, config.weights, config.model_args, config.layers, config.top)
            identity = (*net, part.source, config.tta)
            if identity not in trunk_number:
                trunk_number[identity] = len(self.trunks)
                self.trunks.append(trunk_of(config, channels, cache))
                self.sources.append(part.source)
            self.places.append((trunk_number[identity], True))
            rows = [rows_of_fold(material, fold)[0] for fold in config.folds]
            self.members.append(Heads([load_file(_weights(file)) for file in files], rows, kind))
        self.eval()

    def forward(self, *pictures: Tensor) -> Tensor:
        features = [trunk(pictures[i]) for trunk, i in zip(self.trunks, self.sources, strict=True)]
        predictions = []
        for (place, frozen), member in zip(self.places, self.members, strict=True):
            predictions.append(member(features[place] if frozen else pictures[place]))
        members = [torch.stack([predictions[i] for i in at]).mean(0) for at in self.model["seeds"]]
        return sharpened(self.kind, combined(self.model, members), self.model["sharpness"])


def trunk_of(config: Config, channels: int, cache: Path) -> nn.Module:
    """The module that computes a config's features. Raises Mistake for hand-made ones at an unsupported size."""
    if config.backbone not in FEATURES:
        return FrozenTrunk(config, channels)
    if config.size != SHAPE_SIDE:
        raise Mistake(
            f"features {config.backbone!r} of pictures of {config.size} px cannot be exported, only of {SHAPE_SIDE}; "
            "export the run's best net with --best"
        )
    gradients = Gradients(SHAPE_SIDE, PATCH_SIDE)
    if config.backbone == "gradients":
        return gradients
    return Patches(gradients, read_dictionary(dictionary_file(cache, config.preprocess)), PATCH_SIDE)


def _weights(file: Path) -> Path:
    return file.with_name(f"{file.name}.safetensors")


def _in_graph(view: View) -> View:
    """The view; one that resizes becomes a product with a matrix for each side, as ONNX's antialiasing differs."""
    factor = view.keywords.get("factor") if isinstance(view, partial) else None
    return partial(_scaled_by_matrix, factor=factor) if factor else view


def _scaled_by_matrix(x: Tensor, factor: float) -> Tensor:
    side = x.shape[-1]
    to = scaled_side(side, factor)
    one = torch.eye(side)[None, None]
    matrix = F.interpolate(one, (to, side), mode="bilinear", align_corners=False, antialias=True)[0, 0]
    return matrix @ x @ matrix.T


class _AllTiles(OneByOne):
    """Like OneByOne, but empty tiles pass the net too, with weight 0, since a choice by values has no static shape."""

    def forward(self, x: Tensor) -> Tensor:
        tiles = split_tiles(x, self.grid)
        present = ((tiles.amax((2, 3)) - tiles.amin((2, 3))).amax(1) > EMPTY).unflatten(0, (-1, self.grid**2))
        none = ~present.any(1, keepdim=True)
        present = torch.cat([present[:, :1] | none, present[:, 1:]], 1).float()
        features = self.forward_head(self.forward_features(tiles), pre_logits=True)  # type: ignore[attr-defined]
        features = features.unflatten(0, (-1, self.grid**2))
        mean = (features * present[:, :, None]).sum(1) / present.sum(1, keepdim=True)
        return self.get_classifier()(mean)  # type: ignore[attr-defined]


def _see_all_tiles(net: nn.Module) -> None:
    _, kind = type(net).__bases__
    net.__class__ = type(f"{kind.__name__}AllTiles", (_AllTiles, kind), {})
