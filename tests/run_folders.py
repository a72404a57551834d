"""Run directories written without training: predictions drawn by lot around the truth, any labels one likes."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.budget import Clock
from autoclimb.disk import write_array, write_json
from autoclimb.run import store
from autoclimb.run.result import describe_metric
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.types import Blend, Config, Event, Goal, Trial

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
    write_array(folder / "target.npy", target.astype(np.float32))
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
        scored = cross_fitted_score(goal, truth, oof, fold_of)
        place = store.trial_folder(folder, config)
        place.mkdir(parents=True)
        for array, values in (("oof", oof), ("test", oof[:2])):
            np.save(place / f"{array}.npy", values)
        trial = Trial(config, "nets", "done", scored.score, scored.stderr, 9.5, oof, oof[:2])
        tell(Event("start", "", {"trial": config.key, "stage": "nets"}))
        store.save_trial(folder, trial)
        tell(Event("trial", "", {"trial": config.key, "stage": "nets"}))
        done.append(trial)
    if blended and done:
        oof = np.mean([t.oof for t in done], axis=0)
        scored = cross_fitted_score(goal, truth, oof, fold_of)
        keys, weights = tuple(t.key for t in done), (1 / trials,) * trials
        tried = {"mean": scored.score, "best": scored.score - 0.01}
        ends = (scored.score - 2 * scored.stderr, scored.score + 2 * scored.stderr)
        blend = Blend("mean", keys, weights, oof, oof[:2], scored.score, scored.stderr, rows, tried, interval=ends)
        store.save_blend(folder, blend, learn_rule(goal, truth, oof).to_json())
        tell(Event("blend", "", {"best": metric.shown(scored.score)}))
    pixels = draw.integers(0, 255, (rows + answered, 12, 12, 3), np.uint8)
    (folder / "cache").mkdir(exist_ok=True)
    write_array(folder / "cache" / "squash-12-0123456789abcdef.npy", pixels)
    facts: dict[str, Any] = {"rows": rows + answered, "size": 12, "channels": 3, "bad": []}
    (folder / "cache" / "squash-12-0123456789abcdef.json").write_text(json.dumps(facts))
    return folder
