"""Tests by hand-made features of whether mirroring and turning keep the label, which decide a search's first policy."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autoclimb.config import Config
from autoclimb.learn.batches import pictures_of_rows
from autoclimb.learn.closed_form import (
    RIDGES,
    WIDTHS,
    Head,
    head_predictions,
    kernel_of,
    leave_one_out,
    mean_distance,
    mean_loss,
)
from autoclimb.learn.material import Fold, Material
from autoclimb.policies import MIRRORED_ROWS, SAME, SYMMETRY_ROWS
from autoclimb.seeds import rng
from autoclimb.types import Kind

Extract = Callable[[np.ndarray], np.ndarray]  # pictures (R, S, S, C) to features (R, D)


def symmetries(
    config: Config, features: np.ndarray, head: Head, extract: Extract, material: Material, fold: Fold
) -> dict[str, float | tuple[float, float]]:
    """The facts `mirror` and `turn`, and `mirrored_copies` where mirrored pictures are recognised less well."""
    few = fold.valid_rows[:SYMMETRY_ROWS]
    ratios = symmetry_ratios(head, extract, material.pixels[few], material.targets(few), material.kind)
    if ratios["mirror"] < SAME:
        return {**ratios}
    return {**ratios, "mirrored_copies": gain_of_mirrored(config, features, head, extract, material, fold)}


def symmetry_ratios(
    head: Head, extract: Extract, pictures: np.ndarray, target: np.ndarray, kind: Kind
) -> dict[str, float]:
    """The mean losses of held-out pictures `(R, S, S, C)` mirrored and turned, over that of the originals.

    They are near 1 where mirroring or turning does not change the label: 1.0 for photos, more for digits. They mean
    nothing without `skill`.
    """
    views = {"": pictures, "mirror": pictures[:, :, ::-1], "turn": np.rot90(pictures, 1, (1, 2))}
    losses = {
        name: mean_loss(head_predictions(head, extract(np.ascontiguousarray(x)), kind), target, kind)
        for name, x in views.items()
    }
    plain = losses.pop("")
    floor = 0.0 if kind == "regression" else 0.05  # where next to nothing is wrong, ratios of losses are noise
    return {name: round((value + floor) / max(plain + floor, 1e-9), 3) for name, value in losses.items()}


def gain_of_mirrored(
    config: Config, features: np.ndarray, head: Head, extract: Extract, material: Material, fold: Fold
) -> tuple[float, float]:
    """The effect of mirrored copies of train pictures on a kernel machine's error on held-out ones, with its error.

    It is the mean change of the squared error, relative to the error without copies. Leaves that all lie one way are
    predicted worse mirrored, and yet their copies help: -.06 to -.09; copies of signs, whose labels mirroring changes,
    do harm: +.04 to +.1 (LOG.md).
    """
    few = np.sort(rng(config.seed, "mirrored").permutation(fold.train_rows)[:MIRRORED_ROWS])
    judged = np.sort(rng(config.seed, "judged").permutation(fold.valid_rows)[:SYMMETRY_ROWS])
    mirrored = extract(np.ascontiguousarray(pictures_of_rows(material.pixels, few, config.size)[:, :, ::-1]))
    x, copies, held_out = (
        (torch.from_numpy(np.ascontiguousarray(rows)).float() - head["mean"]) / head["deviation"]
        for rows in (features[few], mirrored, features[judged])
    )
    y, truth = (torch.from_numpy(material.targets(rows)).double() for rows in (few, judged))
    plain = _held_out_errors(x, y, held_out, truth)
    errors = _held_out_errors(torch.cat([x, copies]), torch.cat([y, y]), held_out, truth)
    change = (errors - plain) / plain.mean().clamp(min=1e-9)
    return round(float(change.mean()), 4), round(float(change.std(correction=0)) / math.sqrt(len(change)), 4)


def _held_out_errors(x: Tensor, y: Tensor, held_out: Tensor, truth: Tensor) -> Tensor:
    """Squared errors `(R,)` on held-out rows of the Gaussian kernel ridge with the smallest mean."""
    scale, mean = mean_distance(x), y.mean(0)
    errors = []
    for width in WIDTHS:
        kernel, across = kernel_of(x, x, width, scale), kernel_of(held_out, x, width, scale)
        for ridge in RIDGES:
            weights, _ = leave_one_out(kernel, y - mean, ridge)
            errors.append(((across @ weights + mean - truth) ** 2).sum(1))
    return min(errors, key=lambda by_row: float(by_row.mean()))
