"""One fold of one net: built, trained in its time, saved, and its predictions."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from autoclimb.errors import Mistake
from autoclimb.learn.averages import NORM_ROWS, fresh_norms
from autoclimb.learn.backbones import Built, build_net
from autoclimb.learn.batches import Material, shrunk, to_input
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.finder import SWEEP_SHARE, SWEEP_STEPS, find_rate
from autoclimb.learn.heads import Cosine
from autoclimb.learn.initial import start_head, whiten
from autoclimb.learn.loop import Pace, train
from autoclimb.learn.probe import placed, worth_compiling
from autoclimb.learn.views import chosen_predictions, predictions_for, seconds_to_predict, views_named
from autoclimb.learn.weights import INPUT, SCALE
from autoclimb.seeds import rng, seed_of
from autoclimb.types import Config, Kind

Report = Callable[[dict[str, Any]], None]
REMEMBERED = 20_000  # train pictures that neighbours are sought among, drawn where there are more; own choice
LATE = 1.3  # predicting has been measured on two batches only; the rest is allowed to be this much slower


def run_fold(
    config: Config,
    seconds: float,
    material: Material,
    inside: np.ndarray,
    outside: np.ndarray,
    fold: int,
    out: Path,
    device: torch.device,
    report: Report,
    now: Callable[[], float],
    bf16: bool = False,
    channels_last: bool = True,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Predictions of one fold's net for its held-out rows and for the test, and the facts of its training."""
    start = now()
    if not 0 <= config.retrain_head < 1:
        raise Mistake(f"retrain_head {config.retrain_head:g} is no share of the training; write one under 1, like 0.2")
    torch.manual_seed(seed_of(config.seed, "net", config.backbone, fold))
    built = build_net(config, material.width, material.pixels.shape[-1])
    built = replace(built, bf16=bf16, channels_last=channels_last)
    placed(built, device)
    views_named(config.tta, built.fixed)  # what cannot be predicted is not trained
    centre, scale = _scale_of(material, inside)
    scaled = Material(
        material.kind,
        material.width,
        (material.target - centre) / scale,
        material.fold_of,
        material.pixels,
        material.pipelines,
    )
    steps = 0
    if config.seconds:
        rows = len(outside) + len(material.test_rows) + bool(config.neighbours) * min(len(inside), REMEMBERED)
        later = LATE * seconds_to_predict(built, material.pixels, rows, device, config.seen_size, config.tta) + 0.3
        if config.swa:
            later += LATE * seconds_to_predict(built, material.pixels, min(len(inside), NORM_ROWS), device, config.size)
        whole = max(seconds - (now() - start) - later, 0.3 * seconds)
    else:
        whole = 0.0
        batch = max(2, min(config.batch, len(inside)))
        per_epoch = max(len(inside) // batch, 1)
        steps = max(1, round(config.epochs * per_epoch * (1 - config.retrain_head)))
    start_head(built.head, scaled, inside, config.loss, anew=bool(config.weights))
    if config.whitened and not config.weights:
        whiten(built, scaled, inside, config, fold)
    if built.fixed and (config.scales or config.seen_size != config.size):
        raise Unbuildable(f"{config.backbone} takes pictures of one size only, not of several")
    found: dict[str, Any] = {}
    begun = now()
    if not config.lr:
        pace = Pace(now, begun, seconds=SWEEP_SHARE * whole) if whole else Pace(now, begun, steps=SWEEP_STEPS)
        rate, curve = find_rate(built, scaled, inside, config, fold, pace, device)
        config, found = config.vary(lr=rate), {"lr": rate, "lr_curve": curve}
    left = (whole - (now() - begun)) * (1 - config.retrain_head)
    pace = Pace(now, now(), seconds=left) if whole else Pace(now, now(), steps=steps)
    if worth_compiling(device, whole, config):
        torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
        built = replace(built, compiled=torch.compile(built.net))
        found["compiled"] = True
    net, facts = train(built, scaled, inside, config, fold, pace, device, _part(report, 0, 1 - config.retrain_head))
    built = replace(built, net=net, compiled=None, head=net.get_classifier())  # type: ignore[operator]
    if config.swa:
        fresh_norms(built, scaled, inside, config, fold, device)
    if config.retrain_head:
        built, facts["head_steps"] = retrained(built, scaled, inside, config, fold, pace, device, report)
    if config.neighbours:
        remember(built, material, inside, config, fold, device)
    trained = now()
    save_net(built, centre, scale, out / f"fold{fold}.safetensors")
    how = (material.kind, device, config.seen_size, config.tta)
    if config.tta == "auto":
        held, answered, facts["tta"] = chosen_predictions(built, scaled, outside, device, config.seen_size, config.seed)
    else:
        held, answered = (predictions_for(built, material.pixels, r, *how) for r in (outside, material.test_rows))
    held, answered = held * scale + centre, answered * scale + centre
    facts |= found
    facts["train_s"] = round(trained - pace.start, 2)
    facts["predict_s"] = round(now() - trained, 2)
    facts |= {"bf16": bf16, "channels_last": channels_last}
    facts["parameters"] = sum(p.numel() for p in net.parameters())
    if built.note:
        facts["note"] = built.note
    return held, answered, facts


def _part(report: Report, start: float, end: float) -> Report:
    """What reports a training that is a part of the whole."""
    return lambda facts: report({**facts, "progress": start + (end - start) * facts["progress"]})


def _scale_of(material: Material, rows: np.ndarray) -> tuple[float, float]:
    """Mean and deviation that a regression's numbers are standardised by; (0, 1) for everything else."""
    if material.kind != "regression":
        return 0.0, 1.0
    known = material.target[rows]
    return float(known.mean()), float(known.std()) or 1.0


def retrained(
    built: Built,
    material: Material,
    rows: np.ndarray,
    config: Config,
    fold: int,
    before: Pace,
    device: torch.device,
    report: Report,
) -> tuple[Built, int]:
    """The net with a head learned anew from classes drawn alike, all below kept (cRT, Kang et al. 2020), and the steps.

    It takes its share of the time of the training before it.
    """
    share = config.retrain_head / (1 - config.retrain_head)
    report = _part(report, 1 - config.retrain_head, 1)
    pace = replace(before, start=before.now(), seconds=share * before.seconds, steps=math.ceil(share * before.steps))
    plain = {"class_weights": "", "ema": 0.0, "swa": 0.0, "unfreeze": 0.0, "sizes": (), "switch_to": ""}
    start_head(built.head, material, rows, config.loss, anew=True)
    config = config.vary(sampler="balanced", schedule="cosine", **plain)
    net, facts = train(built, material, rows, config, fold, pace, device, report, only_head=True)
    return replace(built, net=net), facts["steps"]


def remember(
    built: Built,
    material: Material,
    rows: np.ndarray,
    config: Config,
    fold: int,
    device: torch.device,
    batch: int = 128,
) -> None:
    """Gives a net's cosine head the features and classes of train pictures, to find neighbours among."""
    assert isinstance(built.head, Cosine)
    if len(rows) > REMEMBERED:
        rows = rng(config.seed, "remember", fold).choice(rows, REMEMBERED, replace=False)
    seen: list[Tensor] = []
    hook = built.head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0].float()))
    built.net.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for start in range(0, len(rows), batch):
            chosen, size = rows[start : start + batch], config.seen_size
            pictures = np.stack([shrunk(material.pixels[row], size, built.grid) for row in chosen])
            built.net(to_input(pictures, built.mean, built.std, device))
    hook.remove()
    built.head.remember(torch.cat(seen), torch.from_numpy(material.target[rows].argmax(1)))


def save_net(built: Built, centre: float, scale: float, path: Path) -> None:
    """Writes a net's tensors, its input's statistics and its target's scale, half-written never."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in built.net.state_dict().items()}
    extra = {SCALE: torch.tensor([centre, scale]), INPUT: torch.tensor([built.mean, built.std])}
    half_made = path.with_suffix(".part")
    save_file({**tensors, **extra}, half_made)
    os.replace(half_made, path)


def fold_predictions(
    config: Config, tensors: dict[str, Tensor], pixels: np.ndarray, kind: Kind, width: int, device: torch.device
) -> np.ndarray:
    """Predictions `(R, width)` of a saved fold for the R pictures given, in target units."""
    centre, scale = tensors.pop(SCALE).tolist()
    mean, std = tensors.pop(INPUT).tolist()
    built = replace(build_net(config.vary(weights=""), width, pixels.shape[-1]), mean=tuple(mean), std=tuple(std))
    built.net.load_state_dict(tensors)
    built.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    made = predictions_for(built, pixels, np.arange(len(pixels)), kind, device, config.seen_size, config.tta)
    return made * scale + centre
