"""Config -> predictions: every fold of one config, out of fold and for the test, on disk."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autoclimb.learn.backbones import Built, Unbuildable, build_net
from autoclimb.learn.batches import Material
from autoclimb.learn.features import features_of, fit_head, head_predictions
from autoclimb.learn.loop import Diverged, OutOfMemory, Pace, train
from autoclimb.learn.predict import predict, seconds_to_predict
from autoclimb.seeds import seed_of
from autoclimb.types import Config

Report = Callable[[dict[str, Any]], None]
SCALE, INPUT = "autoclimb.scale", "autoclimb.input"  # tensors beside the net's own
LATE = 1.15  # predicting has been measured on two batches only; the rest is allowed to be this much slower


def run_trial(
    config: Config,
    material: Material,
    out: Path,
    cache: Path,
    device: torch.device,
    report: Report = lambda facts: None,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """What happened: `status`, `note`, `facts`; if "done", `oof.npy`, `test.npy` and weights lie in `out`.

    What training is allowed to fail of is a status: no memory, a loss that is no number, a net that cannot be built.
    """
    try:
        return _run(config, material, out, cache, device, report, now)
    except (Diverged, OutOfMemory, Unbuildable) as error:
        return {"status": "failed", "note": str(error), "facts": {}}


def _run(config, material, out, cache, device, report, now) -> dict[str, Any]:
    oof = np.full((len(material.target), material.width), np.nan, np.float32)
    test = np.zeros((len(material.test_rows), material.width), np.float32)
    facts: dict[str, Any] = {}
    out.mkdir(parents=True, exist_ok=True)
    features = None
    if config.train == "features":
        features = features_of(config, material.pixels, cache, device, report)
    for done, fold in enumerate(config.folds):
        inside = np.flatnonzero((material.fold_of != fold) & (material.fold_of >= 0))
        outside = np.flatnonzero(material.fold_of == fold)

        def at(told: dict[str, Any], done: int = done) -> None:
            report({**told, "fold": done + 1, "folds": len(config.folds)})

        if features is None:
            held, answered, fold_facts = _net_fold(config, material, inside, outside, fold, out, device, at, now)
        else:
            head = fit_head(config, features[inside], material.target[inside], material.kind)
            save_file(head, out / f"fold{fold}.safetensors")
            held = head_predictions(head, features[outside], material.kind)
            answered = head_predictions(head, features[material.test_rows], material.kind)
            fold_facts = {"features": int(features.shape[1])}
            at({"progress": 1.0})
        if not (np.isfinite(held).all() and np.isfinite(answered).all()):
            raise Diverged("the net's predictions are no numbers")
        oof[outside] = held
        test += answered / len(config.folds)
        facts = {**facts, **fold_facts} if not done else _together(facts, fold_facts)
    np.save(out / "oof.npy", oof)
    np.save(out / "test.npy", test)
    return {"status": "done", "note": facts.pop("note", ""), "facts": facts}


def _together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The facts of folds so far: the least of what was trained."""
    return {k: min(v, second[k]) if isinstance(v, float) and k in second else v for k, v in first.items()}


def _net_fold(config, material, inside, outside, fold, out, device, report, now):
    """Predictions of one fold's net for its held-out rows and for the test, and the facts of its training."""
    start = now()
    torch.manual_seed(seed_of(config.seed, "net", config.backbone, fold))
    built = build_net(config, material.width)
    built.net.to(device, memory_format=torch.channels_last)
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
        later = LATE * seconds_to_predict(built, material.pixels, rows, device, config.size, config.tta) + 0.3
        whole = config.seconds - (now() - start) - later
        pace = Pace(now, now(), seconds=max(whole, 0.3 * config.seconds))
    else:
        batch = max(2, min(config.batch, len(inside)))
        per_epoch = max(len(inside) // batch, 1)
        pace = Pace(now, now(), steps=max(1, round(config.epochs * per_epoch)))
    _start_bias(built.head, scaled, inside)
    net, facts = train(built, scaled, inside, config, fold, pace, device, report)
    trained = now()
    built = replace(built, net=net)
    save_net(built, centre, scale, out / f"fold{fold}.safetensors")
    how = (material.kind, device, config.size, config.tta)
    held = predict(built, material.pixels, outside, *how) * scale + centre
    answered = predict(built, material.pixels, material.test_rows, *how) * scale + centre
    facts["train_s"] = round(trained - pace.start, 2)
    facts["predict_s"] = round(now() - trained, 2)
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


def _start_bias(head: torch.nn.Module, material: Material, rows: np.ndarray) -> None:
    """Starts a multi-label head at the labels' frequencies, so that the first steps are not spent on learning them."""
    bias = getattr(head, "bias", None)
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


def predict_again(
    config: Config, material: Material, weights: Path, cache: Path, device: torch.device, report: Report
) -> np.ndarray:
    """A finished trial's predictions `(R, width)` for the R pictures of `material`, averaged over its folds' nets."""
    pixels, kind, rows = material.pixels, material.kind, np.arange(len(material.pixels))
    total = np.zeros((len(pixels), material.width), np.float32)
    features = features_of(config, pixels, cache, device, report) if config.train == "features" else None
    for done, fold in enumerate(config.folds):
        tensors = load_file(weights / f"fold{fold}.safetensors")
        if features is not None:
            total += head_predictions(tensors, features, kind)
        else:
            centre, scale = tensors.pop(SCALE).tolist()
            mean, std = tensors.pop(INPUT).tolist()
            built = replace(build_net(config.vary(weights=""), material.width), mean=tuple(mean), std=tuple(std))
            built.net.load_state_dict(tensors)
            built.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            total += predict(built, pixels, rows, kind, device, config.size, config.tta) * scale + centre
        report({"progress": (done + 1) / len(config.folds)})
    return total / len(config.folds)
