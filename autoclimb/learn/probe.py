"""How fast a net runs here, in which format and batch, and the memory that takes, by short measurements."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from autoclimb.config import Config
from autoclimb.learn.backbones import Built, build_net, place, place_to_train
from autoclimb.learn.batches import (
    BLOCK,
    BatchMaker,
    batch_of,
    epoch_batches,
    pictures_of_rows,
    to_input,
)
from autoclimb.learn.devices import prediction_autocast
from autoclimb.learn.faults import STATUSES, Diverged, OutOfMemory, kind_of, logged_kind
from autoclimb.learn.formats import formats_for
from autoclimb.learn.lean import folded, for_prediction
from autoclimb.learn.losses import loss_named, loss_value
from autoclimb.learn.material import Fold, Format, Material
from autoclimb.learn.memory import free_memory, in_parts
from autoclimb.learn.norms import norms_in_convolutions
from autoclimb.learn.optim import optimizer_of
from autoclimb.learn.phases import phase
from autoclimb.learn.replays import replayed, shapes_of
from autoclimb.learn.threads import TRIED, settle_threads
from autoclimb.learn.trunk import cut, maps_of
from autoclimb.processors import usable_cores

CLOSE = 0.5  # of the best rate: such formats are measured twice, for a neighbour's burst can halve one (LOG.md)
FASTER = 1.15  # img/s for which a batch is doubled: larger ones take fewer steps; own choice
FEW = 8  # pictures of a first look at how long a step takes
LONGEST_STEP = 0.25  # seconds of a step that is measured, on a processor: in steps of 64 pictures at 128 px, looking at
# two EfficientNets took half a minute of a quiet machine and a minute and a half of a busy one
LOOKED_AT = 32  # pictures whose prediction is timed on a processor where a net's features are all that is wanted; a
# card gets its kernels for the batches that features are made in, and is not kept waiting for Python by smaller ones
HASTE = 0.5  # seconds asked for below which no format is measured twice
QUICK = 1.0  # seconds of getting ready on a card beyond which no other batch is tried; own choice
STEPS = 20  # an epoch, at least, of a doubled batch
LONG_STEP = 2.0  # seconds of a step on a processor after which it is not repeated
ADAMW_BYTES = 16  # of each parameter in training: weight, gradient, two moments
WORKSPACE = 1.5  # times what is kept for the backward pass: its gradients and libraries' buffers; own choice
UNUSABLE = {"train": 0.0, "predict": 0.0, "precision": "fp32", "channels_last": True, "batch": 0}


def measure_speed(
    config: Config,
    material: Material,
    device: torch.device,
    seconds: float,
    leisure: bool = True,
    largest: int = 0,
) -> dict[str, Any]:
    """Pictures a second in training and prediction, and the format and batch that gave them.

    It takes about `seconds`, more where a step does, and at `leisure` also looks at formats that take a card seconds to
    get ready: `cold` says how many. `batch`, at most `largest` if that is given, is 0 on a processor: there larger ones
    gain little. `step` is the seconds of a step on a processor that no picture adds to. Where the config asks for
    features alone only the prediction is timed. Rates are 0 where the net cannot be run, with a `note` and its `fault`.
    """
    try:
        if config.train == "features":
            return _prediction_speed(build_net(config, 0, material.channels), config, material, device)
        net = build_net(config, material.width, material.channels)
        return _speed_of(net, config, material, device, seconds, leisure, largest)
    except STATUSES as error:
        return {**UNUSABLE, "note": str(error), "fault": logged_kind(error)}


def _prediction_speed(built: Built, config: Config, material: Material, device: torch.device) -> dict[str, Any]:
    count = BLOCK if device.type == "cuda" else min(LOOKED_AT, len(material.pixels))
    rows = np.arange(count) % len(material.pixels)
    pictures = pictures_of_rows(material.pixels, rows, config.size, config.grid)
    rate, cold = _prediction_rate(for_prediction(built, device, config.size), pictures, device, settles=True)
    return {**UNUSABLE, "predict": rate, "cold": cold}


def _prediction_rate(
    built: Built, pictures: np.ndarray, device: torch.device, settles: bool = False
) -> tuple[float, float]:
    """Pictures a second that a net predicts, and seconds until a card has the kernels for it.

    Where it `settles`, a processor's number of threads is chosen first.
    """
    net = place(built, device).eval()
    x = to_input(pictures, built.mean, built.std, device, built.format.layout)
    with torch.inference_mode(), prediction_autocast(device):
        if settles and device.type == "cpu":
            settle_threads(lambda: _seconds_of(net, x[:TRIED]), usable_cores())
        begun = time.perf_counter()
        times = timed(lambda: _seconds_of(net, x), 0.0, device)
    seconds = min(times)
    cold = max(time.perf_counter() - begun - sum(times) - seconds, 0.0) if device.type == "cuda" else 0.0
    return len(x) / seconds, cold


def _speed_of(
    built: Built, config: Config, material: Material, device: torch.device, seconds: float, leisure: bool, largest: int
) -> dict[str, Any]:
    rows = np.flatnonzero(material.fold_of >= 0)
    fold = Fold(0, rows, rows[:0], device, lambda facts: None, time.monotonic)
    built, pictures, target = _first_step(built, config, material, fold)
    with norms_in_convolutions(built, device, pictures.shape[1]):
        facts = _training_speed(built, pictures, target, config, material, fold, seconds, leisure, largest)
    built = replace(built, format=Format(facts["precision"], facts["channels_last"]))
    return {**facts, "predict": _prediction_rate(folded(built, device, pictures.shape[1]), pictures, device)[0]}


def _training_speed(
    built: Built,
    pictures: np.ndarray,
    target: np.ndarray,
    config: Config,
    material: Material,
    fold: Fold,
    seconds: float,
    leisure: bool,
    largest: int,
) -> dict[str, Any]:
    """Pictures a second in training, by the fastest format and batch, and the memory that it takes."""
    device, rows, first = fold.device, fold.train_rows, batch_of(config, fold)
    formats = formats_for(built.net, device, leisure)
    cold: dict[Format, float] = {}
    peaks: dict[tuple[Format, int], float] = {}  # bytes of a card's memory, by format and batch

    def rate(format: Format, batch: int) -> float:
        repeats = -(-batch // len(pictures))
        many, y = np.tile(pictures, (repeats, 1, 1, 1))[:batch], np.tile(target, (repeats, 1))[:batch]
        try:
            formatted = replace(built, format=format)
            if device.type == "cuda":
                free_memory()
                torch.cuda.reset_peak_memory_stats(device)
            with phase(f"  trained in batches of {batch}, {format.precision}, channels last: {format.channels_last}"):
                each, ready = step_seconds(formatted, many, y, config, material, device, seconds / (2 * len(formats)))
            if device.type == "cuda":
                peaks[format, batch] = float(torch.cuda.max_memory_allocated(device))
            cold.setdefault(format, ready)
            return batch / each
        except STATUSES as error:
            if kind_of(error) not in ("memory", "diverged"):
                raise
        free_memory()
        return 0.0

    if device.type == "cpu":  # a busy minute's threads may be ten times slower than one, and the probe with them
        few = (pictures[:TRIED], target[:TRIED])
        place(built, device)
        settle_threads(lambda: step_seconds(built, *few, config, material, device, 0.0)[0], usable_cores())
    asked = len(pictures)
    rates = {format: rate(format, len(pictures)) for format in formats}
    while not any(rates.values()) and len(pictures) > FEW:  # the plan would train it in smaller batches
        pictures, target = pictures[: len(pictures) // 2], target[: len(pictures) // 2]
        rates = {format: rate(format, len(pictures)) for format in formats}
    # where steps are long a burst of a neighbour's is averaged out
    once = (len(pictures) < first and device.type == "cpu") or seconds < HASTE or len(formats) == 1
    for close in [] if once else [format for format in formats if rates[format] > CLOSE * max(rates.values())]:
        rates[close] = max(rates[close], rate(close, len(pictures)))
    best = max(rates, key=lambda format: rates[format])
    if not rates[best]:
        raise OutOfMemory("not one step of training fits")
    batch, train_rate, beside = 0, rates[best], 0.0
    if device.type == "cpu" and FEW < len(pictures) == asked and (rate_of_few := rate(best, FEW)):
        beside = beside_pictures(len(pictures), len(pictures) / train_rate, FEW / rate_of_few)
        train_rate = first / (beside + first * (1 / train_rate - beside / len(pictures)))
    if device.type == "cuda" and cold[best] < QUICK and len(pictures) == first:
        most = len(rows) // STEPS
        batch, train_rate = best_batch(partial(rate, best), first, min(most, largest or most), train_rate)
    built = replace(built, format=best)
    fixed_bytes, picture_bytes = memory_of(built, pictures, device, peaks.get((best, len(pictures)), 0.0))
    return {
        "train": train_rate,
        "precision": best.precision,
        "channels_last": best.channels_last,
        "batch": batch,
        "fixed_bytes": fixed_bytes,
        "picture_bytes": picture_bytes,
        "cold": cold[best] if device.type == "cuda" else 0.0,
        "step": beside,
    }


def _first_step(built: Built, config: Config, material: Material, fold: Fold) -> tuple[Built, np.ndarray, np.ndarray]:
    """The part of the net that trains, with the pictures and targets of its first step, fewer on a slow processor.

    Of a net whose top alone trains the pictures are maps of the stages below.
    """
    batches = epoch_batches(material, fold, config, config.size, batch_of(config, fold), 0)
    spec, tensor = BatchMaker(material, config)[next(batches)]
    pictures, target = tensor.numpy(), material.targets(spec.rows)
    if config.top:
        place(built, fold.device).eval()
        trunk, upper = cut(built, config.top, config.size)
        pictures, built = maps_of(trunk, built, pictures, fold.device), upper
    most = pictures_a_step(built, pictures, fold.device) if fold.device.type == "cpu" else len(pictures)
    return built, pictures[:most], target[:most]


def memory_of(built: Built, pictures: np.ndarray, device: torch.device, peak: float) -> tuple[float, float]:
    """Bytes of memory that training takes beside its pictures, and for each picture of a batch more.

    On a card from the peak of a step with these pictures, all that is not the weights' attributed to them. On a
    processor, where nobody counts, from what the forward passes of two batches keep for the backward, and WORKSPACE for
    what comes and goes.
    """
    weights = ADAMW_BYTES * sum(p.numel() for p in built.net.parameters())
    if device.type == "cuda":
        at_peak = weights / 2  # the weights and their gradients; the optimiser's moments come later
        return weights, max(peak - at_peak, 0.0) / len(pictures)
    many = min(FEW, len(pictures))
    few = many // 2
    if few < 2:
        return 0.0, 0.0

    def bytes_with(count: int) -> float:
        x = to_input(pictures[:count], built.mean, built.std, device, built.format.layout)
        return weights + WORKSPACE * kept_for_backward(built, x)

    less, more = bytes_with(few), bytes_with(many)
    each = max(more - less, 0.0) / (many - few)
    return max(less - few * each, weights), each


def kept_for_backward(built: Built, x: torch.Tensor) -> float:
    """Bytes that the forward pass of a batch keeps for the backward pass, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in built.net.parameters()}
    bytes_of: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            bytes_of[storage.data_ptr()] = storage.nbytes()
        return tensor

    place_to_train(built, x.device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), built.format.autocast(x.device):
        outputs = built.net(x)
    del outputs
    return float(sum(bytes_of.values()))


def pictures_a_step(built: Built, pictures: np.ndarray, device: torch.device) -> int:
    """How many of the pictures a step that is measured shall have, so that it takes LONGEST_STEP seconds, FEW at least.

    By a forward pass, which is a third of a step.
    """
    net = place(built, device).eval()
    few = pictures[:FEW]
    x = to_input(few, built.mean, built.std, device, built.format.layout)
    with torch.inference_mode():
        forward = float(np.min(timed(lambda: _seconds_of(net, x), 0.0, device)))
    return min(len(pictures), max(len(few), int(len(few) * LONGEST_STEP / (3 * forward))))


def beside_pictures(count: int, seconds: float, seconds_of_few: float) -> float:
    """Seconds of a step of training that no picture adds to, by those of steps of `count` and of FEW pictures."""
    beside = (count * seconds_of_few - FEW * seconds) / (count - FEW)
    return min(max(beside, 0.0), seconds, seconds_of_few)


def best_batch(rate: Callable[[int], float], first: int, most: int, img_s: float) -> tuple[int, float]:
    """The batch, doubled up to twice while that makes training FASTER, and its img/s; `rate` is 0 without memory."""
    batch = first
    for _ in range(2):
        if 2 * batch > most or (faster := rate(2 * batch)) < FASTER * img_s:
            break
        batch, img_s = 2 * batch, faster
    return batch, img_s


def step_seconds(
    built: Built,
    pictures: np.ndarray,
    target: np.ndarray,
    config: Config,
    material: Material,
    device: torch.device,
    seconds: float,
) -> tuple[float, float]:
    """Seconds of a step of training, the median of some seconds of them, and those until the first one was done.

    Raises Diverged where the first loss is no number in fp16: the net leaves its range, or the card computes wrongly in
    it, as GeForce 16 do (pytorch's issue 58123).
    """
    begun = time.perf_counter()
    net = place_to_train(built, device)
    optimizer = optimizer_of(net, built.head, config)
    criterion = loss_named(config.loss, material.kind)
    x = to_input(pictures, built.mean, built.std, device, built.format.layout)
    y = torch.from_numpy(target).to(device)
    recorded = replayed(built, shapes_of(config.vary(size=x.shape[-1]), *x.shape[:2]), device).forward
    forward = net if recorded is None else recorded
    losses: list[float] = []

    def step() -> float:
        start = time.perf_counter()
        with built.format.autocast(device):
            outputs = forward(x)
        loss = loss_value(criterion, outputs.float(), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        return time.perf_counter() - start

    times = timed(step, seconds, device, least=2)
    if built.format.precision == "fp16" and not math.isfinite(losses[0]):
        raise Diverged(f"the first loss in fp16 is {losses[0]}")
    each = float(np.median(times))
    return each, max(time.perf_counter() - begun - sum(times) - each, 0.0)


def timed(step: Callable[[], float], seconds: float, device: torch.device, least: int = 3) -> list[float]:
    """What `step` returns, for so many seconds and `least` times at least; the first, a warm-up, is left out.

    On a card it always is: there the first step loads kernels for seconds.
    """
    times = [step()]
    if times[0] > LONG_STEP and device.type == "cpu":  # so slow that a warm-up hardly counts
        return times
    until = time.monotonic() + seconds
    while len(times) < least or (time.monotonic() < until and len(times) < 50):
        times.append(step())
    return times[1:]


def _seconds_of(net: torch.nn.Module, x: torch.Tensor) -> float:
    start = time.perf_counter()
    in_parts(net, x).sum().item()
    return time.perf_counter() - start
