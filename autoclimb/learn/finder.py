"""A learning rate chosen by an exponential sweep over train rows, where the loss falls (Smith 2015)."""

import math

import torch

from autoclimb.config import Config
from autoclimb.learn.backbones import Built, place, place_to_train
from autoclimb.learn.batches import batch_bytes, batch_of, endless_batches, load_batches, loader_processes
from autoclimb.learn.loop import Pace, model_inputs, size_at, targets_on
from autoclimb.learn.losses import loss_named, loss_value
from autoclimb.learn.material import Fold, Material
from autoclimb.learn.optim import optimizer_of
from autoclimb.seeds import rng

LOW, HIGH = 1e-5, 1.0  # rates of the sweep in units of Config.lr, which are AdamW's; other optimisers scale it
SWEEP_STEPS = 100  # as in fastai
SWEEP_SHARE = 0.1  # of a fold's seconds, at most; own choice
LEAST_STEPS = 15  # below which the curve is noise, so that the default rate is kept
Curve = list[tuple[float, float]]  # (learning rate, smoothed loss)


def find_rate(built: Built, material: Material, config: Config, fold: Fold, pace: Pace) -> tuple[float, Curve]:
    """A peak learning rate for the config, and the curve that it was chosen from; the net's weights are restored.

    The rate rises at every step from LOW to HIGH until `pace` or SWEEP_STEPS are over or the loss has exploded
    (arXiv 1506.01186); the chosen rate is the valley's, fastai's default rule.
    """
    net = place(built, fold.device)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.random.fork_rng([fold.device] if fold.device.type == "cuda" else []):
        curve = smoothed(sweep_losses(built, material, config, fold, pace))
    net.load_state_dict(before)
    net.zero_grad(set_to_none=True)
    return (valley(curve) if len(curve) >= LEAST_STEPS else Config().lr), curve


def sweep_losses(built: Built, material: Material, config: Config, fold: Fold, pace: Pace) -> Curve:
    """Rates and losses of the sweep's steps, not smoothed."""
    net, device, criterion = place_to_train(built, fold.device), fold.device, loss_named(config.loss, material.kind)
    forward = net if built.forward is None else built.forward
    optimizer = optimizer_of(net, built.head, config.vary(lr=1.0))
    target, weight = targets_on(device, material, fold, config)
    mix_draw = rng(config.seed, "sweep", fold.number)
    scaler = built.format.scaler(device)
    batch = batch_of(config, fold)
    size = size_at(0.0, config)
    curve: Curve = []
    recent, lowest = 0.0, math.inf
    processes = loader_processes(device, batch_bytes(material, config, batch, size))
    specs = endless_batches(material, fold, config, size, batch)
    img_s = built.format.img_s * (config.size / size) ** 2
    for spec, pictures in load_batches(specs, material, config, device, processes, img_s):
        step = len(curve)
        progress = max(pace.progress(step), step / SWEEP_STEPS)
        if progress >= 1:
            break
        rate = LOW * (HIGH / LOW) ** progress
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate * batch / config.batch
        rows = torch.from_numpy(spec.rows).to(device)
        x, y, w = model_inputs(built, pictures, target[rows], weight[rows], config, mix_draw, device)
        with built.format.autocast(device):
            outputs = forward(x)
        loss = loss_value(criterion, outputs.float(), y, w)
        scaler.scale(loss).backward()
        value = float(loss.detach())
        recent = value if not curve else 0.8 * recent + 0.2 * value
        lowest = min(lowest, recent)
        if not math.isfinite(value) or recent > 4 * lowest:
            break  # the loss has exploded, so higher rates would show nothing more
        curve.append((rate, value))
        if config.clip:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    return curve


def smoothed(curve: Curve) -> Curve:
    """The curve with exponentially averaged losses, debiased; the decay is fastai's 0.98 for a hundred steps."""
    keep = 1 - 2 / max(len(curve), 10)
    mean = 0.0
    averaged: Curve = []
    for step, (rate, loss) in enumerate(curve, 1):
        mean = keep * mean + (1 - keep) * loss
        averaged.append((float(f"{rate:.4g}"), round(mean / (1 - keep**step), 5)))
    return averaged


def valley(curve: Curve) -> float:
    """The rate in the middle of the longest falling subsequence of the curve, without its first tenth and last steps.

    It is fastai's rule of that name.
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
