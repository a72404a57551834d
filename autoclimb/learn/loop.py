"""THE training loop. Its variants are chosen before it starts; mixing, accumulation and averaging are lines in it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from autoclimb.arrays import ByRow, LabelSets, take_rows
from autoclimb.config import Config
from autoclimb.learn.averages import EMA_STEPS, SNAPSHOTS, Ema
from autoclimb.learn.backbones import Built, place_to_train
from autoclimb.learn.batches import (
    batch_bytes,
    batch_of,
    endless_batches,
    labelled_in,
    load_batches,
    loader_processes,
    to_input,
)
from autoclimb.learn.faults import Diverged, OutOfMemory
from autoclimb.learn.losses import loss_named, loss_value
from autoclimb.learn.material import Fold, Material, Taught
from autoclimb.learn.memory import free_memory
from autoclimb.learn.optim import Unfreezing, optimizer_of, schedule_named
from autoclimb.learn.phases import WaitedFor, log
from autoclimb.learn.replays import Launched, Replayed
from autoclimb.learn.samplers import row_weights
from autoclimb.learn.threads import Slowing, ThreadTuner
from autoclimb.policies import light_policy
from autoclimb.processors import usable_cores
from autoclimb.seeds import rng

STEPS_BETWEEN_READS = {"cpu": 8, "cuda": 64}  # reading a loss synchronises the GPU, so it is rare; own choice
SECONDS_BETWEEN_REPORTS = 1.0
LONGEST_SILENCE = 60.0  # seconds between reports of slow steps: a training silent for minutes counts as hung
CURVE_POINTS = 40  # of the recorded loss curve, at most
MOST_MICRO_BATCHES = 4  # a batch is halved twice at most: nets that need more are too large for the card


@dataclass(frozen=True)
class Pace:
    """The progress of a training: by the clock where it was given seconds, by steps where it was given epochs.

    By the clock, the schedule ends when the time does, however fast the machine is. With both, the one that ends first
    counts, so that a training of epochs that would miss its deadline anneals to end in time.
    """

    now: Callable[[], float]
    start: float
    seconds: float = math.inf
    steps: int = 0
    deadline: float = math.inf  # on that clock, for the work that follows the training
    after: float = 0.0  # seconds of that work, at the speed at which the training began

    def progress(self, step: int, slower: float = 1.0) -> float:
        """The share of the training done, 1 or more at its end; steps take `slower` times as long as at first."""
        seconds = min(self.seconds, self.deadline - slower * self.after - self.start)
        by_clock = (self.now() - self.start) / max(seconds, 1e-3) if seconds < math.inf else 0.0
        return max(by_clock, step / self.steps if self.steps else 0.0)


def train(
    built: Built, material: Material, config: Config, fold: Fold, pace: Pace, only_head: bool = False
) -> tuple[nn.Module, dict[str, Any]]:
    """The trained net (or its average) and the facts of its training: epochs, steps, pictures a second, last loss.

    With `only_head` everything below the head is frozen, batch-norm statistics included. Raises Diverged where the loss
    is no number, OutOfMemory where a batch does not fit even in MOST_MICRO_BATCHES parts.
    """
    net, device = place_to_train(built, fold.device), fold.device
    if only_head:
        net.eval().requires_grad_(False)
        built.head.train().requires_grad_()
    forward = net if built.forward is None else built.forward
    criterion = loss_named(config.loss, material.kind)
    optimizer, scaler = optimizer_of(net, built.head, config), built.format.scaler(device)
    schedule = schedule_named(config.schedule)
    ema = Ema(net, decay=config.ema, use_warmup=True) if config.ema and not config.swa else None
    swa = AveragedModel(net) if config.swa else None
    next_snapshot = 1 - config.swa
    unfreezing = Unfreezing(net, built.head, config.unfreeze, built.frozen_norms) if config.unfreeze else None
    mix_draw = rng(config.seed, "mix", fold.number)
    target, weight = targets_on(device, material, fold, config)
    batch = batch_of(config, fold)
    lr_scale = batch / config.batch  # the rate is given for a full batch; a fold of fewer rows takes smaller steps
    epochs_a_picture = labelled_in(batch, config, fold) / batch / len(fold.train_rows)  # of a step
    losses: deque[Tensor] = deque(maxlen=200)  # on the device: see STEPS_BETWEEN_READS
    curve: list[tuple[float, float]] = []  # (epochs, mean loss of the steps since the last point)
    micro_batches, switched, step, seen, epoch = 1, False, 0, 0, 0
    # a training that counts epochs is reproducible to the bit, which another number of threads would change
    tuner = None
    if device.type == "cpu" and config.seconds:
        usual = built.format.img_s * config.size**2
        tuner = ThreadTuner(usable_cores(), pace.now, threads=torch.get_num_threads(), usual=usual)
    launched: Launched | None = None
    if device.type == "cuda":
        launched = Launched(batch, built.format.img_s, torch.cuda.current_stream(device).record_event)
    # other work that slows the training will slow the predictions too; the steps of a thawing net are no measure of it
    watched = device.type == "cpu" and pace.deadline < math.inf and not unfreezing
    slowing = Slowing(pace.now) if watched else None
    progress = 0.0
    first_batch_at: float | None = None  # img/s count from here, without the time to start the loader
    reported_at = pace.start

    def progress_now() -> float:
        return max(progress, pace.progress(step, slowing.times() if slowing else 1.0))

    while (progress := progress_now()) < 1:
        # a loader makes batches of one size and recipe, so another one is opened where either changes
        size, light = phase_at(progress, config)
        recipe = lightened(config, material.pipelines) if light else config
        processes = loader_processes(device, batch_bytes(material, config, batch, size))
        specs = endless_batches(material, fold, config, size, batch, epoch)
        rate = built.format.img_s * (config.size / size) ** 2
        waiting = WaitedFor(load_batches(specs, material, recipe, device, processes, rate))
        for spec, pictures in waiting:
            first_batch_at = pace.now() if first_batch_at is None else first_batch_at
            progress = progress_now()
            if spec.epoch > epoch:
                epoch = spec.epoch
                fold.report({"epoch": epoch, "progress": min(progress, 1.0)})
            if progress >= 1 or phase_at(progress, config) != (size, light):
                break
            for group in optimizer.param_groups:
                # while snapshots are averaged the rate is constant, since a falling one would make them too similar
                group["lr"] = group["peak"] * schedule(min(progress, 1 - config.swa)) * lr_scale
            if unfreezing:
                unfreezing.at(progress)
            rows = torch.from_numpy(spec.rows).to(device, non_blocking=True)
            x, y, w = model_inputs(built, pictures, target[rows], weight[rows], recipe, mix_draw, device)
            while True:  # once, unless memory runs out: then in smaller parts, for this and all later steps
                outputs = share = None  # releases the graph that did not fit
                try:
                    loss = torch.zeros((), device=device)
                    parts = (tensor.tensor_split(micro_batches) for tensor in (x, y, w))
                    for part in zip(*parts, strict=True):
                        with built.format.autocast(device):
                            outputs = forward(part[0])
                        # the loss is in float32: sums over many classes lose too much in bfloat16's 8 bits
                        share = loss_value(criterion, outputs.float(), *part[1:]) * (len(part[0]) / len(x))
                        scaler.scale(share).backward()
                        loss += share.detach()
                    break
                except torch.OutOfMemoryError as error:
                    net.zero_grad(set_to_none=True)
                    outputs = share = None
                    if isinstance(forward, Replayed):
                        forward.graphs.clear()  # they hold the memory of a full batch, and parts have another shape
                    free_memory()
                    micro_batches *= 2
                    if micro_batches > min(MOST_MICRO_BATCHES, len(x) // 2):  # batch norms need two pictures
                        raise OutOfMemory(f"{len(x)} pictures of {x.shape[-1]} px do not fit even in parts") from error
            losses.append(loss)
            if config.clip:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            scaler.step(optimizer)  # skipped where a gradient overflowed; update() then halves the scale
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + len(x)
            if launched:
                launched.after_step()
            if tuner:
                tuner.after_step(len(x) * x.shape[-1] ** 2)
            if slowing:
                slowing.after_step(len(x) * x.shape[-1] ** 2)
            if ema and step % EMA_STEPS == 0:
                ema.update(net, step)
            if swa and progress >= next_snapshot:
                swa.update_parameters(net)
                next_snapshot = progress + config.swa / SNAPSHOTS
            if step % STEPS_BETWEEN_READS[device.type] and pace.now() < reported_at + LONGEST_SILENCE:
                continue
            recent_loss = mean_of(losses)
            if not math.isfinite(recent_loss):
                raise Diverged(f"loss {recent_loss} by step {step}, learning rate {config.lr:g}")
            curve.append((seen * epochs_a_picture, mean_of(losses, STEPS_BETWEEN_READS[device.type])))
            if pace.now() > reported_at + SECONDS_BETWEEN_REPORTS:
                reported_at = pace.now()
                fold.report({"epoch": epoch, "progress": min(progress, 1.0)})
            # neither in the first third, where the loss still jumps, nor at the end, where no optimiser changes much
            if config.switch_to and not switched and max(0.3, config.unfreeze) < progress < 0.9 and stagnates(losses):
                optimizer, switched = optimizer_of(net, built.head, config, config.switch_to), True
        epoch += 1
        log(
            f"  waited for batches of {size} px: {waiting.first:.2f} s for the first, {waiting.others:.2f} s for others"
        )
    if ema and step % EMA_STEPS:
        ema.update(net, step)
    last_loss = mean_of(losses, 50)
    fold.report({"epoch": epoch, "progress": 1.0})
    if losses and not math.isfinite(last_loss):
        raise Diverged(f"loss {last_loss} by step {step}, learning rate {config.lr:g}")

    spent = max(pace.now() - (first_batch_at if first_batch_at is not None else pace.start), 1e-6)
    facts = {
        "epochs": round(seen * epochs_a_picture, 2),
        "steps": step,
        "img_s": round(seen / spent, 1),
        "loss": round(last_loss, 4),
        "loss_curve": thinned_curve(curve),
        "micro_batches": micro_batches,
        "switched": switched,
    }
    if tuner:
        facts["threads"] = tuner.threads
    if swa:
        facts["snapshots"] = int(swa.n_averaged)
        return (swa.module if facts["snapshots"] else net), facts
    return (ema.module if ema else net), facts


class Targets:
    """Targets of all rows on a device; `targets[rows]` are those of a batch, `(B, width)` float32.

    Classes and large label sets are stored as label numbers, since a million one-hot rows of 7,000 classes are 28 GB.
    Labels are smoothed towards `even` by `smoothing`; the teachers' predictions for the rows of `taught` are not.
    """

    def __init__(
        self,
        target: ByRow,
        device: torch.device,
        smoothing: float = 0.0,
        even: float = 0.0,
        taught: Taught | None = None,
    ) -> None:
        self.width = target.shape[1]
        self.as_sets = isinstance(target, LabelSets)
        values = target.ones if isinstance(target, LabelSets) else np.asarray(target)
        self.values = torch.from_numpy(values).to(device)
        self.smoothing, self.even = smoothing, even
        self.place: Tensor | None = None  # index of each row in `taught`, -1 for none
        if taught is not None and len(taught.rows):
            place = torch.full((max(len(target), int(taught.rows.max()) + 1),), -1)
            place[torch.from_numpy(taught.rows)] = torch.arange(len(taught.rows))
            self.place, self.taught = place.to(device), torch.from_numpy(taught.target).to(device)

    def __getitem__(self, rows: Tensor) -> Tensor:
        if self.place is None:
            return self._labels(rows)
        place = self.place[rows]  # not a mask, since counting its rows would synchronise the GPU
        labels = self._labels(rows.clamp(max=len(self.values) - 1))
        return torch.where(place[:, None] < 0, labels, self.taught[place.clamp(min=0)])

    def _labels(self, rows: Tensor) -> Tensor:
        values = self.values[rows]
        if not self.as_sets:
            y = values.float()
        else:  # an extra column takes the padding of short sets
            dense = torch.zeros(len(values), self.width + 1, device=values.device)
            y = dense.scatter_(1, torch.where(values < 0, self.width, values).long(), 1.0)[:, :-1]
        return y * (1 - self.smoothing) + self.smoothing * self.even if self.smoothing else y


def targets_on(device: torch.device, material: Material, fold: Fold, config: Config) -> tuple[Targets, Tensor]:
    """Targets of all rows, and the rows' weights `(N + M,)` in the loss, on the device."""
    weight = torch.ones(len(material.pixels))
    rows = fold.train_rows
    weight[rows] = torch.from_numpy(row_weights(config.class_weights, take_rows(material.target, rows), material.kind))
    smoothing = config.smoothing if material.kind != "regression" else 0.0
    even = 0.5 if material.kind == "multilabel" else 1 / material.target.shape[1]
    return Targets(material.target, device, smoothing, even, fold.taught), weight.to(device)


def model_inputs(
    built: Built,
    pictures: Tensor,
    y: Tensor,
    w: Tensor,
    config: Config,
    mix_draw: np.random.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch, its targets and its rows' weights, normalised and mixed for net and loss."""
    x = to_input(pictures, built.mean, built.std, device, built.format.layout)
    return mixed(x, y, w, config, mix_draw) if config.mixup or config.cutmix else (x, y, w)


def phase_at(progress: float, config: Config) -> tuple[int, bool]:
    """Pixels a side at a share of the training, and whether it is the light end."""
    return size_at(progress, config), progress >= 1 - config.light_end


def lightened(config: Config, own: dict[str, str]) -> Config:
    """The config without mixing, with only the shifts and flips of its policy."""
    return config.vary(mixup=0.0, cutmix=0.0, policy=light_policy(config.policy, own))


def size_at(progress: float, config: Config) -> int:
    """Pixels a side at a share of the training: `sizes` for equal parts of its first half, then `size`."""
    if not config.sizes or progress >= 0.5:
        return config.size
    return config.sizes[min(int(progress * 2 * len(config.sizes)), len(config.sizes) - 1)]


def mean_of(losses: deque[Tensor], last: int = 0) -> float:
    """The mean of the last losses, of all where `last` is 0; NaN where there are none."""
    return float(torch.stack(list(losses)[-last:]).mean()) if losses else math.nan


def thinned_curve(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curve in at most CURVE_POINTS points, each the mean of as many neighbours."""
    size = -(-len(curve) // CURVE_POINTS) or 1
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [(float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in means]


def stagnates(losses: deque[Tensor]) -> bool:
    """Whether the mean loss of the last fifty steps is within 0.5 % of that of the fifty before them."""
    if len(losses) < 100:
        return False
    before, recent = torch.stack(list(losses)[-100:]).split(50)
    return float(recent.mean()) > 0.995 * float(before.mean())


def mixed(x: Tensor, y: Tensor, w: Tensor, config: Config, draw: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, targets and rows' weights mixed with those of a permutation, by mixup or cutmix.

    Mixup is arXiv 1710.09412, cutmix 1905.04899; where both are on, one of them is drawn for each batch.
    """
    cut = bool(config.cutmix) and (not config.mixup or draw.random() < 0.5)
    alpha = config.cutmix if cut else config.mixup
    share = float(draw.beta(alpha, alpha))
    other = torch.from_numpy(draw.permutation(len(x))).to(x.device, non_blocking=True)  # else a GPU is waited for
    if not cut:
        return _blended(share, x, other), _blended(share, y, other), _blended(share, w, other)
    cut_h, cut_w = (round(n * math.sqrt(1 - share)) for n in x.shape[-2:])
    top, left = int(draw.integers(0, x.shape[-2] - cut_h + 1)), int(draw.integers(0, x.shape[-1] - cut_w + 1))
    x = x.clone(memory_format=torch.preserve_format)
    x[..., top : top + cut_h, left : left + cut_w] = x[other][..., top : top + cut_h, left : left + cut_w]
    share = 1 - cut_h * cut_w / (x.shape[-2] * x.shape[-1])
    return x, _blended(share, y, other), _blended(share, w, other)


def _blended(share: float, values: Tensor, other: Tensor) -> Tensor:
    return share * values + (1 - share) * values[other]
