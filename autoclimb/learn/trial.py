"""Config -> predictions: every fold of one config, out of fold and for the test, on disk."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autoclimb.learn.batches import Material
from autoclimb.learn.faults import Diverged, OutOfMemory, Unbuildable
from autoclimb.learn.features import FEATURES, features_of, fit_head, head_predictions, symmetries
from autoclimb.types import Config

SEEN_TURNED = 400  # held-out pictures that are looked at mirrored and turned
Report = Callable[[dict[str, Any]], None]


def run_trial(
    config: Config,
    material: Material,
    out: Path,
    nets: Path,
    cache: Path,
    device: torch.device,
    report: Report = lambda facts: None,
    now: Callable[[], float] = time.monotonic,
    bf16: bool = False,
    channels_last: bool = True,
) -> dict[str, Any]:
    """What happened: `status`, `note`, `facts`; if "done", `oof.npy`, `test.npy` lie in `out`, weights in `nets`.

    Folds whose json lies in `nets` are taken from there.

    What training is allowed to fail of is a status: no memory, a loss that is no number, a net that cannot be built.
    """
    try:
        return _run(config, material, out, nets, cache, device, report, now, bf16, channels_last)
    except (Diverged, OutOfMemory, Unbuildable) as error:
        return {"status": "failed", "note": str(error), "facts": {}}


def _run(config, material, out, nets, cache, device, report, now, bf16, channels_last) -> dict[str, Any]:
    oof = np.full((len(material.target), material.width), np.nan, np.float32)
    test = np.zeros((len(material.test_rows), material.width), np.float32)
    facts: dict[str, Any] = {}
    out.mkdir(parents=True, exist_ok=True)
    nets.mkdir(parents=True, exist_ok=True)
    features = None
    if config.train == "features":
        features = features_of(config, material.pixels, cache, device, report)
    begun = now()
    for done, fold in enumerate(config.folds):
        # a fold that ran over its time takes it from the folds after it, not from the run
        seconds = (begun + config.seconds * len(config.folds) - now()) / (len(config.folds) - done)
        inside = np.flatnonzero((material.fold_of != fold) & (material.fold_of >= 0))
        outside = np.flatnonzero(material.fold_of == fold)

        def at(told: dict[str, Any], done: int = done) -> None:
            report({**told, "fold": done + 1, "folds": len(config.folds)})

        kept = _kept_fold(nets, fold)
        if kept is not None:
            held, answered, fold_facts = kept
        elif features is None:
            from autoclimb.learn.fold import run_fold  # timm: seconds, not for features

            held, answered, fold_facts = run_fold(
                config, seconds, material, inside, outside, fold, nets, device, at, now, bf16, channels_last
            )
        else:
            head = fit_head(config, features[inside], material.target[inside], material.kind, material.pixels.shape[-1])
            save_file(head, nets / f"fold{fold}.safetensors")
            held = head_predictions(head, features[outside], material.kind)
            answered = head_predictions(head, features[material.test_rows], material.kind)
            fold_facts = {"features": int(features.shape[1])}
            if config.backbone in FEATURES and not done:
                few = outside[:SEEN_TURNED]
                fold_facts |= symmetries(config, head, material.pixels[few], material.target[few], material.kind, cache)
            at({"progress": 1.0})
        if not (np.isfinite(held).all() and np.isfinite(answered).all()):
            raise Diverged("the net's predictions are no numbers")
        if kept is None:
            _keep_fold(nets, fold, held, answered, fold_facts)
        oof[outside] = held
        test += answered
        facts = {**facts, **fold_facts} if not done else _together(facts, fold_facts)
        np.save(out / "oof.npy", oof)  # after every fold: ended at the deadline, the folds until then are a trial
        np.save(out / "test.npy", test / (done + 1))
        report({"folds_done": done + 1, "facts": facts})
    return {"status": "done", "note": facts.pop("note", ""), "facts": facts}


def _keep_fold(nets: Path, fold: int, held: np.ndarray, answered: np.ndarray, facts: dict[str, Any]) -> None:
    """Records a finished fold beside its weights, the json last."""
    np.savez(nets / f"fold{fold}.npz", held=held, answered=answered)
    part = nets / f"fold{fold}.json.part"
    part.write_text(json.dumps(facts))
    part.rename(nets / f"fold{fold}.json")


def _kept_fold(nets: Path, fold: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """A fold finished before, None where there is none."""
    path = nets / f"fold{fold}.json"
    if not path.exists():
        return None
    with np.load(nets / f"fold{fold}.npz", allow_pickle=False) as kept:
        return kept["held"], kept["answered"], json.loads(path.read_text())


def _together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The facts of folds so far: the least of what was trained."""
    return {k: min(v, second[k]) if isinstance(v, float) and k in second else v for k, v in first.items()}


def predict_again(
    config: Config, material: Material, weights: Path, cache: Path, device: torch.device, report: Report
) -> np.ndarray:
    """A finished trial's predictions `(R, width)` for the R pictures of `material`, averaged over its folds' nets."""
    pixels, kind = material.pixels, material.kind
    total = np.zeros((len(pixels), material.width), np.float32)
    features = features_of(config, pixels, cache, device, report) if config.train == "features" else None
    for done, fold in enumerate(config.folds):
        tensors = load_file(weights / f"fold{fold}.safetensors")
        if features is not None:
            total += head_predictions(tensors, features, kind)
        else:
            from autoclimb.learn.fold import fold_predictions

            told = json.loads((weights / f"fold{fold}.json").read_text()) if config.tta == "auto" else {}
            total += fold_predictions(
                config.vary(tta=told.get("tta", config.tta)), tensors, pixels, kind, material.width, device
            )
        report({"progress": (done + 1) / len(config.folds)})
    return total / len(config.folds)
