"""One fold of one net: built, trained in its time, saved, and its predictions."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from autoclimb.learn.averages import NORM_ROWS, fresh_norms
from autoclimb.learn.backbones import Built, build_net
from autoclimb.learn.batches import Material
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.loop import Pace, train
from autoclimb.learn.views import predictions_for, seconds_to_predict
from autoclimb.seeds import seed_of
from autoclimb.types import Config, Kind

Report = Callable[[dict[str, Any]], None]
SCALE, INPUT = "autoclimb.scale", "autoclimb.input"  # tensors beside the net's own
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
    bf16: bool,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Predictions of one fold's net for its held-out rows and for the test, and the facts of its training."""
    start = now()
    torch.manual_seed(seed_of(config.seed, "net", config.backbone, fold))
    built = replace(build_net(config, material.width, material.pixels.shape[-1]), bf16=bf16)
    built.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    centre, scale = _scale_of(material, inside)
    scaled = Material(
        material.kind,
        material.width,
        (material.target - centre) / scale,
        material.fold_of,
        material.pixels,
        material.pipelines,
    )
    if config.seconds:
        rows = len(outside) + len(material.test_rows)
        later = LATE * seconds_to_predict(built, material.pixels, rows, device, config.seen_size, config.tta) + 0.3
        if config.swa:
            later += LATE * seconds_to_predict(built, material.pixels, min(len(inside), NORM_ROWS), device, config.size)
        whole = seconds - (now() - start) - later
        pace = Pace(now, now(), seconds=max(whole, 0.3 * seconds))
    else:
        batch = max(2, min(config.batch, len(inside)))
        per_epoch = max(len(inside) // batch, 1)
        pace = Pace(now, now(), steps=max(1, round(config.epochs * per_epoch)))
    _start_head(built.head, scaled, inside, bool(config.weights))
    if built.fixed and (config.scales or config.seen_size != config.size):
        raise Unbuildable(f"{config.backbone} takes pictures of one size only, not of several")
    net, facts = train(built, scaled, inside, config, fold, pace, device, report)
    built = replace(built, net=net)
    if config.swa:
        fresh_norms(built, scaled, inside, config, fold, device)
    trained = now()
    save_net(built, centre, scale, out / f"fold{fold}.safetensors")
    how = (material.kind, device, config.seen_size, config.tta)
    held = predictions_for(built, material.pixels, outside, *how) * scale + centre
    answered = predictions_for(built, material.pixels, material.test_rows, *how) * scale + centre
    facts["train_s"] = round(trained - pace.start, 2)
    facts["predict_s"] = round(now() - trained, 2)
    facts["bf16"] = bf16
    facts["parameters"] = sum(p.numel() for p in net.parameters())
    if built.note:
        facts["note"] = built.note
    return held, answered, facts


def _scale_of(material: Material, rows: np.ndarray) -> tuple[float, float]:
    """Mean and deviation that a regression's numbers are standardised by; (0, 1) for everything else."""
    if material.kind != "regression":
        return 0.0, 1.0
    known = material.target[rows]
    return float(known.mean()), float(known.std()) or 1.0


def _start_head(head: torch.nn.Module, material: Material, rows: np.ndarray, pretrained: bool) -> None:
    """Starts a multi-label head at the labels' frequencies, so that the first steps are not spent on learning them.

    Over pretrained features a head starts at zero: timm's random one gave MobileNetV2 logits so large that the first
    epochs went into unlearning them (benchmarks/LOG.md), and its gradients spoil the features (arXiv 2202.10054).
    """
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if pretrained and isinstance(weight, torch.nn.Parameter):
        with torch.no_grad():
            weight.zero_()
            if isinstance(bias, torch.nn.Parameter):
                bias.zero_()
    if material.kind == "multilabel" and isinstance(bias, torch.nn.Parameter):
        share = torch.from_numpy(material.target[rows].mean(0).clip(1e-3, 1 - 1e-3))
        with torch.no_grad():
            bias.copy_(torch.logit(share).to(bias))


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
