"""THE training loop. What varies is picked before it starts; mixing, accumulation and averaging are lines in it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from autoclimb.learn.averages import SNAPSHOTS
from autoclimb.learn.backbones import Built
from autoclimb.learn.batches import Material, endless, fed, makers, to_input
from autoclimb.learn.faults import Diverged, OutOfMemory
from autoclimb.learn.losses import Loss, loss_named, loss_value
from autoclimb.learn.optim import Thaw, optimizer_of, schedule_named
from autoclimb.learn.samplers import row_weights
from autoclimb.seeds import rng
from autoclimb.types import Config, Kind

READ = {"cpu": 8, "cuda": 64}  # steps between looks at the loss: each empties a GPU's queue; own choice


@dataclass(frozen=True)
class Pace:
    """How far the training is: by the clock where it was given seconds, by steps where it was given epochs.

    By the clock, the schedule ends when the time does, however fast the machine turns out to be.
    """

    now: Callable[[], float]
    start: float
    seconds: float = 0.0
    steps: int = 0

    def progress(self, step: int) -> float:
        """The share of the training that is done, 1 or more when it is over."""
        return step / self.steps if self.steps else (self.now() - self.start) / max(self.seconds, 1e-3)


def train(
    built: Built,
    material: Material,
    rows: np.ndarray,
    config: Config,
    fold: int,
    pace: Pace,
    device: torch.device,
    report: Callable[[dict[str, Any]], None] = lambda facts: None,
    only_head: bool = False,
) -> tuple[nn.Module, dict[str, Any]]:
    """The trained net (or its average) and what happened: epochs, steps, pictures a second, last loss.

    With `only_head` everything below stays as it is, the statistics of its norms too.
    """
    net = built.net.to(device, memory_format=built.layout).train()  # type: ignore[call-overload]
    if only_head:
        net.eval().requires_grad_(False)
        built.head.train().requires_grad_()
    wanted = loss_named(config.loss, material.kind)
    optimizer = optimizer_of(net, built.head, config)
    height = schedule_named(config.schedule)
    averaged = ModelEmaV3(net, decay=config.ema, use_warmup=True) if config.ema and not config.swa else None
    mean_of_last = AveragedModel(net) if config.swa else None
    snapshot_at = 1 - config.swa
    thaw = Thaw(net, built.head, config.unfreeze) if config.unfreeze else None
    draw = rng(config.seed, "mix", fold)
    target, weight = targets_of(material, rows, config, device)
    batch = max(2, min(config.batch, len(rows)))
    rise = batch / config.batch  # the rate is given for a full batch
    losses: deque[Tensor] = deque(maxlen=200)  # read now and then only: reading one waits for a GPU to be done
    pieces, switched, step, seen, number = 1, False, 0, 0, 0
    first: float | None = None  # when the first batch was there

    while (progress := pace.progress(step)) < 1:
        size = config.size if built.fixed else size_at(progress, config)
        batches = endless(material, rows, config, size, batch, fold, number)
        for drawn, pictures in fed(batches, material, config, makers(device)):
            first = pace.now() if first is None else first
            progress = pace.progress(step)
            if drawn.epoch > number:
                number = drawn.epoch
                report({"epoch": number, "progress": min(progress, 1.0), "loss": mean_of(losses)})
            if progress >= 1 or not (built.fixed or size_at(progress, config) == size):
                break
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * height(min(progress, 1 - config.swa)) * rise
            if thaw:
                thaw.at(progress)
            of_batch = torch.from_numpy(drawn.rows).to(device, non_blocking=True)
            x, y, w = prepared(built, pictures, target[of_batch], weight[of_batch], material.kind, config, draw, device)
            value, pieces = backward(built, wanted, x, y, w, pieces)
            losses.append(value)
            if config.clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + len(x)
            if averaged:
                averaged.update(net, step)
            if mean_of_last and progress >= snapshot_at:
                mean_of_last.update_parameters(net)
                snapshot_at = progress + config.swa / SNAPSHOTS
            if step % READ[device.type]:
                continue
            if not math.isfinite(mean_of(losses)):
                raise Diverged(f"loss {mean_of(losses)} by step {step}, learning rate {config.lr:g}")
            if config.switch_to and not switched and max(0.3, config.unfreeze) < progress < 0.9 and stagnates(losses):
                optimizer, switched = optimizer_of(net, built.head, config, config.switch_to), True
        number += 1
    last = mean_of(losses, 50)
    report({"epoch": number, "progress": 1.0, "loss": last})
    if losses and not math.isfinite(last):
        raise Diverged(f"loss {last} by step {step}, learning rate {config.lr:g}")

    spent = max(pace.now() - (first if first is not None else pace.start), 1e-6)
    facts = {
        "epochs": round(seen / len(rows), 2),
        "steps": step,
        "img_s": round(seen / spent, 1),
        "loss": round(last, 4),
        "pieces": pieces,
        "switched": switched,
    }
    if mean_of_last:
        facts["snapshots"] = int(mean_of_last.n_averaged)
        return (mean_of_last.module if facts["snapshots"] else net), facts
    return (averaged.module if averaged else net), facts


def targets_of(material: Material, rows: np.ndarray, config: Config, device: torch.device) -> tuple[Tensor, Tensor]:
    """Targets `(N, width)` of all rows and the weights `(N,)` of those trained on, on the device."""
    weight = torch.ones(len(material.target))
    weight[rows] = torch.from_numpy(row_weights(config.class_weights, material.target[rows], material.kind))
    return torch.from_numpy(material.target).to(device), weight.to(device)


def prepared(
    built: Built,
    pictures: Tensor,
    y: Tensor,
    w: Tensor,
    kind: Kind,
    config: Config,
    draw: np.random.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch with its rows' weights as net and loss take it: normalised, smoothed, mixed, on the device."""
    x = to_input(pictures, built.mean, built.std, device, built.layout)
    if config.smoothing and kind != "regression":
        even = 1 / y.shape[1] if kind != "multilabel" else 0.5
        y = y * (1 - config.smoothing) + config.smoothing * even
    return mixed(x, y, w, config, draw) if config.mixup or config.cutmix else (x, y, w)


def backward(built: Built, wanted: Loss, x: Tensor, y: Tensor, w: Tensor, pieces: int) -> tuple[Tensor, int]:
    """The loss of a batch, its gradient in the net, and the pieces it was cut into: more than before if memory ran out.

    Raises OutOfMemory where a batch that was halved twice in a row still does not fit.
    """
    forward = built.net if built.compiled is None else built.compiled
    for halvings in range(3):
        try:
            return _backward(forward, wanted, x, y, w, pieces << halvings, built.bf16), pieces << halvings
        except torch.OutOfMemoryError as error:
            built.net.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            if halvings == 2 or pieces << halvings >= len(x):
                raise OutOfMemory(f"{len(x)} pictures of {x.shape[-1]} px do not fit even in pieces") from error
    raise AssertionError  # the third time returns or raises


def _backward(net: Callable, wanted: Loss, x: Tensor, y: Tensor, w: Tensor, pieces: int, bf16: bool) -> Tensor:
    """The loss of a batch, its gradient added up over the pieces."""
    total = torch.zeros((), device=x.device)
    for part, target, weight in zip(x.chunk(pieces), y.chunk(pieces), w.chunk(pieces), strict=True):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            logits = net(part)
        loss = loss_value(wanted, logits.float(), target, weight) * (len(part) / len(x))
        loss.backward()
        total += loss.detach()
    return total


def size_at(progress: float, config: Config) -> int:
    """Pixels a side at a share of the training: `sizes` for equal parts of its first half, then `size`."""
    if not config.sizes or progress >= 0.5:
        return config.size
    return config.sizes[min(int(progress * 2 * len(config.sizes)), len(config.sizes) - 1)]


def mean_of(losses: deque[Tensor], last: int = 0) -> float:
    """The mean of the last losses, of all where `last` is 0; NaN where there are none."""
    return float(torch.stack(list(losses)[-last:]).mean()) if losses else math.nan


def stagnates(losses: deque[Tensor], window: int = 50) -> bool:
    """Whether the mean loss of the last steps is within 0.5 % of the mean before them."""
    if len(losses) < 2 * window:
        return False
    recent = torch.stack(list(losses)[-2 * window :])
    return float(recent[window:].mean()) > 0.995 * float(recent[:window].mean())


def mixed(x: Tensor, y: Tensor, w: Tensor, config: Config, draw: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, targets and rows' weights mixed with those of another order.

    By mixup (arXiv 1710.09412) or cutmix (arXiv 1905.04899), where both are on by either.
    """
    cut = bool(config.cutmix) and (not config.mixup or draw.random() < 0.5)
    alpha = config.cutmix if cut else config.mixup
    share = float(draw.beta(alpha, alpha))
    other = torch.from_numpy(draw.permutation(len(x))).to(x.device)
    if not cut:
        return _blended(share, x, other), _blended(share, y, other), _blended(share, w, other)
    side_y, side_x = (round(n * math.sqrt(1 - share)) for n in x.shape[-2:])
    top, left = int(draw.integers(0, x.shape[-2] - side_y + 1)), int(draw.integers(0, x.shape[-1] - side_x + 1))
    x = x.clone(memory_format=torch.preserve_format)
    x[..., top : top + side_y, left : left + side_x] = x[other][..., top : top + side_y, left : left + side_x]
    share = 1 - side_y * side_x / (x.shape[-2] * x.shape[-1])
    return x, _blended(share, y, other), _blended(share, w, other)


def _blended(share: float, values: Tensor, other: Tensor) -> Tensor:
    return share * values + (1 - share) * values[other]
