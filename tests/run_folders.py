"""Run directories written without training: predictions drawn by lot around the truth, any labels one likes."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autoclimb.arrays import write_predictions
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.disk import write_array, write_json
from autoclimb.report.page_data import example_blocks
from autoclimb.run import store
from autoclimb.run.reporting import record_of
from autoclimb.run.result import describe_metric, open_run
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Blend, Event, Goal, Trial

METRICS = {"multiclass": "accuracy", "multilabel": "f2", "regression": "mae", "ordinal": "qwk", "binary": "auc"}
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "x" * 4000,
    "\u202eevil\u202c שלום عليكم",
    "a'b\"c & {{ 7 * 7 }} $\\frac{$",
    "javascript:alert(1)\n\t\0",
)


def run_folder(
    folder: Path,
    kind: str = "multiclass",
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    rows: int = 90,
    blended: bool = True,
    finished: bool = True,
    ids: tuple[str, ...] = (),
    name: str = "pets",
    trials: int = 3,
    answered: int = 2,
) -> Path:
    """A run of so many trials on so many rows, with 12 px pictures in its cache."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    metric = metric_named(METRICS[kind])
    grades = tuple(map(float, range(len(classes)))) if kind == "ordinal" else ()
    classes = () if kind == "regression" else classes[:2] if kind == "binary" else classes
    goal = Goal(metric, kind, grades)  # type: ignore[arg-type]
    width = len(classes) or 1
    if kind == "regression":
        truth = draw.gamma(4, 3, rows)
        target = truth[:, None]
    elif kind == "multilabel":
        truth = (draw.random((rows, width)) < 0.4).astype(np.uint8)
        target = truth.astype(float)
    else:
        truth = draw.integers(0, width, rows)
        target = np.eye(width)[truth]
    fold_of = np.arange(rows) % 5
    clock = Clock(600.0, start=time.monotonic() - 77)
    write_array(folder / "target.npy", target.astype(np.float32) if kind == "regression" else truth)
    write_array(folder / "fold_of.npy", fold_of)
    write_json(folder / "train_ids.json", ids or [f"r{i}" for i in range(rows)])
    form = {"columns": ["id", "label"], "ids": [f"t{i}" for i in range(answered)], "cell": "label"}
    about = {"name": name, "kind": kind, "classes": classes, "grades": grades, "form": form}
    write_json(folder / "task.json", about)
    (folder / "submission.csv").write_text("id,label\nt1,a\nt2,b\n")
    store.update_run(
        folder,
        clock,
        metric=describe_metric(metric),
        finished=finished,
        words="3 trials" if finished else "not finished",
        fingerprint={"seed": 0, "folds": 5},
        versions={"python": "3.11"},
    )
    tell = store.recorded(folder, clock, lambda event: None)
    tell(Event("note", f"{name}: {kind}"))
    tell(Event("stage", "nets", {"stage": "nets"}))
    done: list[Trial] = []
    for number in range(trials):
        config = Config(seed=number, mixup=0.1 * number, folds=(0, 1, 2, 3, 4))
        mixed = 0.5 * target + draw.random(target.shape) * (target.mean() if kind == "regression" else 1)
        oof = (
            mixed / mixed.sum(1, keepdims=True) if kind in ("multiclass", "ordinal", "binary") else mixed.clip(0, None)
        )
        oof = oof.clip(0, 1) if kind == "multilabel" else oof
        scored = cross_fitted_score(TrainRows(goal, truth, fold_of), oof)
        place = store.trial_folder(folder, config)
        place.mkdir(parents=True)
        write_predictions(place / "oof", oof)
        np.save(place / "test.npy", oof[:2])
        facts = training_facts(number)
        trial = Trial(config, "nets", "done", scored.score, scored.stderr, 9.5, oof, oof[:2], facts=facts)
        tell(Event("start", "", {"trial": config.key, "stage": "nets"}))
        store.save_trial(folder, trial)
        tell(Event("trial", "", {"trial": config.key, "stage": "nets"}))
        done.append(trial)
    if blended and done:
        oof = np.mean([t.oof for t in done], axis=0)
        scored = cross_fitted_score(TrainRows(goal, truth, fold_of), oof)
        keys, weights = tuple(t.key for t in done), (1 / trials,) * trials
        tried = {"mean": scored.score, "best": scored.score - 0.01}
        ends = (scored.score - 2 * scored.stderr, scored.score + 2 * scored.stderr)
        model = {"method": "mean", "kind_of_task": kind, "weights": weights, "sharpness": 1.0}
        model["seeds"] = [[at] for at in range(trials)]
        facts_of_score = (scored.score, scored.stderr, rows, tried)
        blend = Blend("mean", keys, weights, oof, oof[:2], *facts_of_score, interval=ends, stacker=model)
        store.save_blend(folder, blend, learn_rule(goal, truth, oof).to_json())
        tell(Event("blend", "", {"best": metric.shown(scored.score)}))
    pixels = draw.integers(0, 255, (rows + answered, 12, 12, 3), np.uint8)
    (folder / "cache").mkdir(exist_ok=True)
    write_array(folder / "cache" / "squash-12-0123456789abcdef.npy", pixels)
    decoded: dict[str, Any] = {"rows": rows + answered, "size": 12, "channels": 3, "bad": []}
    (folder / "cache" / "squash-12-0123456789abcdef.json").write_text(json.dumps(decoded))
    return folder


def training_facts(number: int) -> dict[str, Any]:
    """The facts of a net whose rate was swept and whose loss fell."""
    loss = [(epoch, 1.2 / (1 + epoch) + 0.1 * number) for epoch in range(1, 9)]
    sweep = [(1e-5 * 2.0**i, 1.0 - 0.05 * min(i, 8) + 0.2 * max(i - 10, 0)) for i in range(15)]
    return {"loss_curve": loss, "lr_curve": sweep, "lr": 0.0026, "epochs": 8.0}


def with_data_facts(folder: Path) -> Path:
    """The run with sizes of its pictures on record, and copies of which a pair disagrees."""
    rows = len(np.load(folder / "target.npy"))
    ids = json.loads((folder / "train_ids.json").read_text())
    sizes = [[row, 40 + 8 * (row % 5), 40 + 4 * (row % 3)] for row in range(rows)]
    write_json(folder / "facts.json", {"sizes": {"train": sizes, "test": [[40, 40], [48, 44]]}})
    copies = {"train": 2, "test": 1, "conflicts": 1, "conflicting": [[ids[0], ids[1]]]}
    tell = store.recorded(folder, Clock(600.0), lambda event: None)
    tell(Event("note", "near-duplicates", {"copies": copies}))
    return folder


def with_gallery(folder: Path) -> Path:
    """The run with what its nets showed: a map for every row and output, and a sheet."""
    run = open_run(folder)
    record = record_of(run)
    keys = [(row, output) for row in range(len(record.target)) for output in range(record.target.shape[1])]
    maps = np.random.default_rng(0).integers(0, 256, (len(keys), 4, 4), np.uint8)
    place = folder / "gallery"
    place.mkdir()
    np.savez(place / "maps.npz", rows=[k for k, _ in keys], outputs=[k for _, k in keys], maps=maps)
    blocks = [rows for _, rows in example_blocks(record)]
    pixels = np.random.default_rng(1).integers(0, 256, (len(blocks) * 2 * 32, 4 * 32, 3), np.uint8)
    Image.fromarray(pixels).save(place / "sheet.jpg")
    trial = record.trials[0].key
    sheet = {"trial": trial, "note": "", "blocks": blocks}
    write_json(place / "gallery.json", {"maps": {"trial": trial, "note": ""}, "sheet": sheet})
    return folder
