"""How a net runs fastest here: number format, layout, batch and compiling, by short measurements."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from autoclimb.learn.backbones import Built, build_net
from autoclimb.learn.batches import Maker, Material, epoch, to_input
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.losses import loss_named, loss_value
from autoclimb.learn.optim import optimizer_of
from autoclimb.types import Config

# (bf16, channels last) in the order tried. On a processor no one is best: of 7 nets at 64 to 128 px (2 cores, AVX-512
# BF16, one run) 4 were fastest in bf16 and channels last (resnet18 429 img/s against 339 in fp32), mobilenetv2_100 and
# efficientnet_b0 in fp32 and torch's own layout (124 and 120 against 117 and 95); bf16 in torch's own never was.
WAYS: dict[str, tuple[tuple[bool, bool], ...]] = {
    "cpu": ((False, True), (True, True), (False, False)),
    "cuda": ((True, True), (True, False)),
}
CLOSE = 0.5  # of the best rate: such ways are measured once more; a neighbour's burst can halve one (benchmarks/LOG.md)
FASTER = 1.15  # img/s for which a batch is doubled: larger ones take fewer steps; own choice
STEPS = 20  # an epoch, at least, of a doubled batch
COMPILING = 120.0  # seconds that torch.compile may take for forward and backward of a net; a guess on the safe side
COMPILED = 1.15  # how much faster a compiled net trains at least; a guess too: none was measured on a card
Told = dict[str, Any]
NOTHING: Told = {"train": 0.0, "predict": 0.0, "bf16": False, "channels_last": True, "batch": 0}


def measured_speed(config: Config, material: Material, device: torch.device, seconds: float) -> Told:
    """Pictures a second in training and prediction, and the way (`bf16`, `channels_last`, `batch`) that gave them.

    It takes about `seconds`, more where a step does. `batch` is 0 on a processor: there larger ones gain little.
    """
    try:
        built = build_net(config, material.width, material.pixels.shape[-1])
    except Unbuildable as error:
        return {"note": str(error), **NOTHING}
    rows = np.flatnonzero(material.fold_of >= 0)
    first = max(2, min(config.batch, len(rows)))
    drawn, made = Maker(material, config)[next(epoch(material, rows, config, config.size, first, 0, 0))]
    pictures, target = made.numpy(), material.target[drawn.rows]
    ways = WAYS[device.type]

    def rate(bf16: bool, channels_last: bool, batch: int) -> float:
        way = replace(built, bf16=bf16, channels_last=channels_last)
        repeats = -(-batch // len(pictures))
        many, y = np.tile(pictures, (repeats, 1, 1, 1))[:batch], np.tile(target, (repeats, 1))[:batch]
        try:
            return batch / step_seconds(way, many, y, config, material, device, seconds / (2 * len(ways)))
        except torch.OutOfMemoryError:
            return 0.0

    rates = {way: rate(*way, len(pictures)) for way in ways}
    for near in [way for way in ways if rates[way] > CLOSE * max(rates.values())]:
        rates[near] = max(rates[near], rate(*near, len(pictures)))
    best = max(rates, key=lambda way: rates[way])
    if not rates[best]:
        return {"note": "out of memory", **NOTHING}
    batch, trained = 0, rates[best]
    if device.type == "cuda":
        batch, trained = best_batch(partial(rate, *best), first, len(rows) // STEPS, trained)
    way = replace(built, bf16=best[0], channels_last=best[1])
    x = to_input(pictures, built.mean, built.std, device, way.layout)
    net = placed(way, device).eval()
    with torch.inference_mode():
        predicting = float(np.min(timed(lambda: _seconds_of(net, x), 0.0)))
    predicted = len(pictures) / predicting
    return {"train": trained, "predict": predicted, "bf16": best[0], "channels_last": best[1], "batch": batch}


def best_batch(rate: Callable[[int], float], first: int, most: int, img_s: float) -> tuple[int, float]:
    """The batch, doubled up to twice while that makes training FASTER, and its img/s; `rate` is 0 without memory."""
    batch = first
    for _ in range(2):
        if 2 * batch > most or (faster := rate(2 * batch)) < FASTER * img_s:
            break
        batch, img_s = 2 * batch, faster
    return batch, img_s


def worth_compiling(device: torch.device, seconds: float, config: Config) -> bool:
    """Whether a training of so many seconds wins back what compiling costs: on a card only, at one size, never thawing.

    On a processor torch.compile took 46 to 71 s and trained no faster after it (torch 2.15, 2 cores).
    """
    changes = config.sizes or config.scales or config.unfreeze or config.retrain_head or config.grid  # compiled anew
    return device.type == "cuda" and not changes and seconds * (1 - 1 / COMPILED) > COMPILING


def placed(built: Built, device: torch.device) -> torch.nn.Module:
    """The net on the device, in its layout."""
    return built.net.to(device, memory_format=built.layout)  # type: ignore[call-overload]


def step_seconds(
    built: Built,
    pictures: np.ndarray,
    target: np.ndarray,
    config: Config,
    material: Material,
    device: torch.device,
    seconds: float,
) -> float:
    """What a step of training takes, the median of some seconds of them."""
    net = placed(built, device).train()
    optimizer = optimizer_of(net, built.head, config)
    wanted = loss_named(config.loss, material.kind)
    x = to_input(pictures, built.mean, built.std, device, built.layout)
    y = torch.from_numpy(target).to(device)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=built.bf16):
            logits = net(x)
        loss = loss_value(wanted, logits.float(), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return time.perf_counter() - start

    return float(np.median(timed(step, seconds, fewest=2)))


def timed(step: Callable[[], float], seconds: float, fewest: int = 3) -> list[float]:
    """What a step took, again and again for so many seconds; the first of `fewest`, which warms up, left out."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while len(times) < fewest or (time.monotonic() < until and len(times) < 50):
        times.append(step())
    return times[1:]


def _seconds_of(net: torch.nn.Module, x: torch.Tensor) -> float:
    start = time.perf_counter()
    net(x).sum().item()
    return time.perf_counter() - start
