"""A learning rate found by trying: an exponential sweep over train rows, read off where the loss falls (Smith 2015)."""

import math

import numpy as np
import torch

from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import Material, endless, fed, makers
from autoclimb.learn.loop import Pace, backward, prepared, size_at, targets_of
from autoclimb.learn.losses import loss_named
from autoclimb.learn.optim import optimizer_of
from autoclimb.seeds import rng
from autoclimb.types import Config

LOW, HIGH = 1e-5, 1.0  # of the sweep, as Config.lr counts: for AdamW, other optimisers scale it
SWEEP_STEPS = 100  # as fastai
SWEEP_SHARE = 0.1  # of a fold's seconds, where they end before the steps do; own choice
FEWEST = 15  # steps under which a curve tells nothing: the default rate stays
Curve = list[tuple[float, float]]  # (learning rate, smoothed loss)


def find_rate(
    built: Built, material: Material, rows: np.ndarray, config: Config, fold: int, pace: Pace, device: torch.device
) -> tuple[float, Curve]:
    """A peak learning rate for the config, and the curve that it was read from; the net is left as it was.

    The rate rises at every step from LOW to HIGH until `pace` or SWEEP_STEPS are over or the loss has exploded
    (arXiv 1506.01186); read off is the valley, fastai's rule unless told otherwise.
    """
    net = built.net.to(device, memory_format=built.layout)  # type: ignore[call-overload]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        curve = smoothed(swept(built, material, rows, config, fold, pace, device))
    net.load_state_dict(before)
    net.zero_grad(set_to_none=True)
    return (valley(curve) if len(curve) >= FEWEST else Config().lr), curve


def swept(
    built: Built, material: Material, rows: np.ndarray, config: Config, fold: int, pace: Pace, device: torch.device
) -> Curve:
    """Rates and losses of the sweep's steps, as they were."""
    net, wanted = built.net.train(), loss_named(config.loss, material.kind)
    optimizer = optimizer_of(net, built.head, config.vary(lr=1.0))
    target, weight = targets_of(material, rows, config, device)
    draw = rng(config.seed, "sweep", fold)
    batch = max(2, min(config.batch, len(rows)))
    size = config.size if built.fixed else size_at(0.0, config)
    curve: Curve = []
    recent, lowest, pieces = 0.0, math.inf, 1
    for drawn, pictures in fed(endless(material, rows, config, size, batch, fold), material, config, makers(device)):
        step = len(curve)
        progress = max(pace.progress(step), step / SWEEP_STEPS)
        if progress >= 1:
            break
        rate = LOW * (HIGH / LOW) ** progress
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate * batch / config.batch
        of_batch = torch.from_numpy(drawn.rows).to(device)
        x, y, w = prepared(built, pictures, target[of_batch], weight[of_batch], material.kind, config, draw, device)
        loss, pieces = backward(built, wanted, x, y, w, pieces)
        value = float(loss)
        recent = value if not curve else 0.8 * recent + 0.2 * value
        lowest = min(lowest, recent)
        if not math.isfinite(value) or recent > 4 * lowest:
            break
        curve.append((rate, value))
        if config.clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return curve


def smoothed(curve: Curve) -> Curve:
    """The curve with its losses averaged over the steps before, debiased; fastai's 0.98 for a hundred steps."""
    keep = 1 - 2 / max(len(curve), 10)
    mean, made = 0.0, []
    for step, (rate, loss) in enumerate(curve, 1):
        mean = keep * mean + (1 - keep) * loss
        made.append((float(f"{rate:.4g}"), round(mean / (1 - keep**step), 5)))
    return made


def valley(curve: Curve) -> float:
    """The rate in the middle of the longest falling run of the curve, its first tenth and last steps left out.

    A run may leave out steps that rise: it is the longest falling subsequence, as fastai's rule of that name takes it.
    """
    part = curve[len(curve) // 10 : -max(len(curve) // 20, 1)]
    losses = [loss for _, loss in part]
    longest, last = [1] * len(part), 0
    for i in range(1, len(part)):
        longest[i] += max((longest[j] for j in range(i) if losses[i] < losses[j]), default=0)
        if longest[i] > longest[last]:
            last = i
    first = last - longest[last] + 1
    return part[first + (last - first) // 2][0]
