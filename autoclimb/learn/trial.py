"""From a config to its trial's predictions on disk: every fold, out of fold and for the test rows."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from autoclimb.arrays import Predictions, write_predictions
from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.disk import read_json, whole_file, write_array, write_json
from autoclimb.errors import Mistake, first_line
from autoclimb.learn.closed_form import fit_head, head_predictions, skill
from autoclimb.learn.faults import STATUSES, Diverged, OutOfTime, logged_kind
from autoclimb.learn.features import features_of
from autoclimb.learn.handmade import FEATURES, extractor_of
from autoclimb.learn.material import PLAIN, Fold, Format, Material, Report, Watch, rows_of_fold
from autoclimb.learn.memory import free_memory
from autoclimb.learn.symmetry import symmetries
from autoclimb.learn.taught import UNREADABLE, taught_by
from autoclimb.seeds import rng

HEAD_CELLS = 1 << 27  # rows x classes that a head is fitted to, at most, as they are held in double precision
SKILL_CELLS = 1 << 24  # rows x classes on which its skill is measured, at most
HELD_OUT = "-held-out"  # in the name of a fold's predictions where the test rows are not among them
FoldResult = tuple[np.ndarray, np.ndarray, dict[str, Any]]  # predictions of valid and test rows, facts


def run_trial(
    config: Config,
    material: Material,
    out: Path,
    nets: Path,
    cache: Path,
    device: torch.device,
    report: Report = lambda facts: None,
    now: Callable[[], float] = time.monotonic,
    format: Format = PLAIN,
    seconds: float = math.inf,
) -> dict[str, Any]:
    """Trains and predicts the config's folds; returns `status`, `note`, `facts` and the number of `folds` done.

    If the status is "done", predictions lie in `out` and weights in `nets`. Folds whose json is in `nets` are read from
    there, and a student's teachers are folders beside `nets`. An error of training is a status, with its kind in
    `facts["fault"]`; the folds finished before it, or before `seconds` are over, are a trial.
    """
    material = replace(material, predict_test=config.predict_test)
    held_out: list[tuple[np.ndarray, np.ndarray]] = []  # rows and their predictions, of each fold
    test_sum = np.zeros((len(material.test_rows), material.width), np.float32)
    nets_of_row = np.zeros((len(material.test_rows), 1), np.float32)  # number of nets that predicted each test row
    facts: dict[str, Any] = {}
    notes: list[str] = []
    done, status, ready_s = 0, "done", 0.0
    begun = now()
    deadline = begun + seconds - SLACK.worker_reply - _writing_seconds(config, material)
    watch = Watch(now, deadline=deadline, report=report)
    try:
        out.mkdir(parents=True, exist_ok=True)
        nets.mkdir(parents=True, exist_ok=True)
        features = None
        if config.train == "features":
            if config.teachers:
                raise Mistake('teachers are for nets; write train="net", or leave them out')
            features = features_of(config, material.pixels, cache, device, watch)
        elif config.top:
            from autoclimb.learn.trunk import stored_features  # timm

            stored = stored_features(config, material, cache, device, watch)
            material = replace(material, stored=stored)
        missing = sum(not _is_trained(nets, number, config) for number in config.folds)
        until, slowest = now() + config.seconds * missing, 0.0
        for number in config.folds:
            # a fold that overruns takes the time from later folds, not from the run, but leaves them SLACK.least_share
            fold_seconds = max((until - now()) / max(missing, 1), SLACK.least_share * config.seconds)
            if done and deadline - now() < SLACK.least_fold_share * slowest:
                notes.append(f"ended after {done} folds: there was no time for another")
                break

            def report_fold(event: dict[str, Any], done: int = done) -> None:
                report({**event, "fold": done + 1, "folds": len(config.folds)})

            fold = Fold(number, *rows_of_fold(material, number), device, report_fold, now, deadline, test_done=done > 0)
            result = _recorded_fold(nets, config, material, fold)
            if result is None:
                fold_begun = now()
                if features is None:
                    from autoclimb.learn.fold import run_fold  # timm: seconds, not for features

                    taught = taught_by(config, material, fold, nets.parent) if config.teachers else None
                    result = run_fold(config, fold_seconds, material, replace(fold, taught=taught), nets, format)
                else:
                    result = _run_head(config, features, material, fold, nets, cache, first=not done)
                result = _stored(result, material.precision)
                _record_fold(nets, number, result, config.predict_test)
                notes += _cut_words(number, result)
                slowest = max(slowest, now() - fold_begun)
                until += result[2].get("ready_s", 0.0)
                missing -= 1
            oof_pred, test_pred, fold_facts = result
            ready_s += fold_facts.pop("ready_s", 0.0)
            held_out.append((fold.valid_rows, oof_pred))
            reached = _reached(test_pred)[:, None]
            np.add(test_sum, test_pred, out=test_sum, where=reached)  # without a copy, since they may be gigabytes
            nets_of_row += reached
            facts = {**facts, **fold_facts} if not done else _least(facts, fold_facts)
            done += 1
            # after every fold, so that the folds done are a trial if the worker is killed
            write_predictions(out / "oof", _pooled(held_out, len(material.target)))
            if config.predict_test:
                write_array(out / "test.npy", (test_sum / nets_of_row).astype(material.precision, copy=False))
            report({"folds_done": done, "facts": facts})
    except STATUSES as error:
        facts["fault"] = kind = logged_kind(error)
        note = first_line(error, 300)
        if done:
            note = f"ended after {done} folds: {note}"
        else:
            status = "late" if kind == "late" else "failed"
        notes.append(note)
    if ready_s:
        facts["ready_s"] = round(ready_s, 2)
    if "fault" in facts:
        free_memory()  # outside of the except clause, since the error holds frames, and they hold tensors
    note = "; ".join(filter(None, (facts.pop("note", ""), *notes)))
    return {"status": status, "note": note, "facts": facts, "folds": done}


def _writing_seconds(config: Config, material: Material) -> float:
    """Seconds to write a last fold's predictions and the trial's; for a gigabyte they exceed SLACK.worker_reply."""
    rows = np.isin(material.fold_of, config.folds).sum() + len(material.test_rows)
    return 2 * float(rows) * material.width * np.dtype(material.precision).itemsize / SLACK.written


def _cut_words(number: int, result: FoldResult) -> list[str]:
    """A sentence on the rows of a fold that the deadline cut off; [] where there are none."""
    unreached = [int((~_reached(p)).sum()) for p in result[:2]]
    parts = [f"{count} {kind} rows" for count, kind in zip(unreached, ("held-out", "test"), strict=True) if count]
    return [f"fold {number}: the deadline came before {' and '.join(parts)}"] if parts else []


def _stored(result: FoldResult, precision: str) -> FoldResult:
    """A fold's result in the precision that it is stored in, so that a continued run equals one without a break."""
    oof_pred, test_pred, facts = result
    return oof_pred.astype(precision, copy=False), test_pred.astype(precision, copy=False), facts


def _reached(predictions: np.ndarray) -> np.ndarray:
    """`(R,)` bool: the rows of predictions `(R, C)` that no deadline cut off, which leaves a row NaN throughout."""
    return ~np.isnan(predictions[:, 0])


def _pooled(held_out: list[tuple[np.ndarray, np.ndarray]], count: int) -> Predictions:
    """The predictions of all folds' held-out rows, without rows that a deadline cut off."""
    reached = [_reached(p) for _, p in held_out]
    rows = np.concatenate([rows[r] for (rows, _), r in zip(held_out, reached, strict=True)])
    if len(held_out) == 1 and reached[0].all():  # without a copy, since they may be gigabytes
        return Predictions.of(rows, held_out[0][1], count)
    return Predictions.of(rows, np.concatenate([p[r] for (_, p), r in zip(held_out, reached, strict=True)]), count)


def _run_head(
    config: Config, features: np.ndarray, material: Material, fold: Fold, nets: Path, cache: Path, first: bool
) -> FoldResult:
    """A fold of a head in closed form on frozen features; the facts of the `first` fold hold skill and symmetries."""
    begun, rows, kind = fold.now(), fold.train_rows, material.kind
    most = max(HEAD_CELLS // material.width, 1)
    if len(rows) > most:
        rows = np.sort(rng(config.seed, "rows of the head", fold.number).choice(rows, most, replace=False))
    head = fit_head(config, features[rows], material.targets(rows), kind, material.channels)
    with whole_file(nets / f"fold{fold.number}.safetensors") as part:
        save_file(head, part)
    oof_pred, test_pred = (head_predictions(head, features[r], kind) for r in (fold.valid_rows, material.test_rows))
    if np.isnan(oof_pred).any() or np.isnan(test_pred).any():
        raise Diverged("the head's predictions are no numbers")
    facts: dict[str, Any] = {"features": int(features.shape[1]), "head_s": round(fold.now() - begun, 3)}
    if first:
        few = fold.valid_rows[: max(SKILL_CELLS // material.width, 1)]
        facts["skill"] = skill(oof_pred[: len(few)], material.targets(few), kind)
    if first and config.backbone in FEATURES:
        facts |= symmetries(config, features, head, extractor_of(config, material.pixels, cache), material, fold)
    fold.report({"progress": 1.0})
    return oof_pred, test_pred, facts


def _record_fold(nets: Path, number: int, result: FoldResult, predict_test: bool) -> None:
    """Records a finished fold beside its weights, the json last; a fold that lacks rows (NaN) is not recorded.

    A fold that did not predict the test rows is recorded under another name. Raises Diverged where predictions are
    infinite.
    """
    oof_pred, test_pred, facts = result
    if np.isinf(oof_pred).any() or np.isinf(test_pred).any():
        raise Diverged("the predictions are infinite as they are stored")
    if np.isfinite(oof_pred).all() and np.isfinite(test_pred).all():
        with whole_file(nets / f"fold{number}{'' if predict_test else HELD_OUT}.npz") as part:
            np.savez(part, oof_pred=oof_pred, test_pred=test_pred)
        write_json(nets / f"fold{number}.json", facts)


def _is_trained(nets: Path, number: int, config: Config) -> bool:
    """Whether a fold is recorded, with its net where that has test rows left to predict."""
    json, whole, net = (nets / f"fold{number}{ending}" for ending in (".json", ".npz", ".safetensors"))
    return json.exists() and (not config.predict_test or whole.exists() or net.exists())


def _recorded_fold(nets: Path, config: Config, material: Material, fold: Fold) -> FoldResult | None:
    """A recorded fold, None where there is none that can be read, so that it is trained again.

    Where it was recorded without test rows and they are asked for, its net predicts them now. Raises OutOfTime where it
    does not reach them all, unless another fold's net did.
    """
    names = (".json", ".npz", f"{HELD_OUT}.npz", ".safetensors")
    path, whole, held_out, net = (nets / f"fold{fold.number}{ending}" for ending in names)
    if not path.exists():
        return None
    lacking = config.predict_test and not whole.exists()
    try:
        with np.load(whole if whole.exists() else held_out, allow_pickle=False) as arrays:
            oof_pred, test_pred, facts = arrays["oof_pred"], arrays["test_pred"], read_json(path)
        tensors = load_file(net) if lacking else {}
    except (*UNREADABLE, SafetensorError):
        return None
    rows = material.test_rows
    if not lacking:
        return oof_pred, test_pred[: len(rows)], facts
    from autoclimb.learn.fold import predict_fold  # timm
    from autoclimb.learn.views import with_views_of

    chosen = with_views_of(config.vary(top=0), path)
    watch = Watch(fold.now, fold.deadline, fold.deadline, fold.report)
    test_pred = predict_fold(chosen, tensors, material, fold.device, rows=rows, watch=watch)
    reached = int(_reached(test_pred).sum())
    if reached < len(rows) and not fold.test_done:
        raise OutOfTime(f"the deadline came when {reached} of {len(rows)} test rows were predicted")
    result = _stored((oof_pred, test_pred, facts), material.precision)
    _record_fold(nets, fold.number, result, predict_test=True)
    if whole.exists():
        held_out.unlink(missing_ok=True)
    return result


def _least(facts: dict[str, Any], fold_facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of several folds; of float values, such as epochs, the smallest."""
    return {k: min(v, fold_facts[k]) if isinstance(v, float) and k in fold_facts else v for k, v in facts.items()}


def predict_again(
    config: Config,
    material: Material,
    weights: Path,
    cache: Path,
    device: torch.device,
    report: Report,
    exactly: bool = False,
) -> np.ndarray:
    """A finished trial's predictions `(R, width)` for the R pictures of `material`, averaged over its folds' nets.

    In the number format that the run predicted in, where the machine has it; `exactly` as an exported file does.
    """
    pixels = material.pixels
    total = np.zeros((len(pixels), material.width), np.float32)
    plain = config.vary(top=0)  # of new pictures nothing need be kept
    features = None
    if config.train == "features":
        features = features_of(plain, pixels, cache, device, Watch(report=report), exactly)
    for done, number in enumerate(config.folds):
        tensors = load_file(weights / f"fold{number}.safetensors")
        if features is not None:
            total += head_predictions(tensors, features, material.kind)
        else:
            from autoclimb.learn.fold import predict_fold
            from autoclimb.learn.views import with_views_of

            chosen = with_views_of(config, weights / f"fold{number}.json")
            total += predict_fold(chosen, tensors, material, device, exactly)
        report({"progress": (done + 1) / len(config.folds)})
    return total / len(config.folds)
