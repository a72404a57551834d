"""Each trick on against off, in equal wall time, on real sets: which of them pay, and where.

    uv run python benchmarks/ablation.py --data DIR --sets intel_scenes,sign_digits,leaf99 --seconds 60 [--weights DIR]

A cell is one net trained for `--seconds` (prediction included) on four fifths of a set's train rows and scored on the
fifth that it did not see; test answers are not looked at. For each seed the base and all tricks run one after the other
on the same fold, so differences are paired. The table gives the mean difference with its standard error over seeds.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from record import append, heading
from run import METRIC

from autoclimb import Metric, Task
from autoclimb.data.folds import make_folds
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.score.crossfit import honest
from autoclimb.score.own import metric_from
from autoclimb.search.portfolio import fine_tuning, from_scratch
from autoclimb.search.workers import Worker
from autoclimb.solve import learning_target
from autoclimb.types import Config

# what a trick changes in the base; several names may be joined by + on the command line
TRICKS: dict[str, dict[str, Any]] = {
    "no smoothing": {"smoothing": 0.0},
    "smoothing": {"smoothing": 0.1},
    "cosine": {"schedule": "cosine"},
    "linear": {"schedule": "linear"},
    "restarts": {"schedule": "restarts"},
    "lr finder": {"lr": 0.0},
    "lr x 2": {"lr": 4e-3},
    "lr / 2": {"lr": 1e-3},
    "sgd": {"optimizer": "sgd"},
    "lion": {"optimizer": "lion"},
    "nadamw": {"optimizer": "nadamw"},
    "switch to sgd": {"switch_to": "sgd"},
    "no clipping": {"clip": 0.0},
    "no decay": {"weight_decay": 0.0},
    "ema": {"ema": 0.99},
    "swa": {"swa": 0.25},
    "layer decay": {"layer_decay": 0.75},
    "unfreezing": {"unfreeze": 0.3},
    "batch 32": {"batch": 32},
    "batch 128": {"batch": 128},
    "progressive": {"sizes": (0.5, 0.75)},  # shares of the size
    "multi-scale": {"scales": (0.75, 1.25)},
    "larger in test": {"test_size": 1.25},  # a share of the size
    "mixup": {"mixup": 0.3},
    "cutmix": {"cutmix": 1.0},
    "no policy": {"policy": "none", "tta": "none"},
    "affine": {"policy": "affine", "tta": "none"},
    "flip-colour": {"policy": "flip-colour"},
    "medium": {"policy": "medium"},
    "trivial": {"policy": "trivial"},
    "no tta": {"tta": "none"},
    "flip-shift tta": {"tta": "flip-shift"},
    "focal": {"loss": "focal"},
    "dropout": {"dropout": 0.2},
    "drop path": {"drop_path": 0.1},
    "max pooling": {"pool": "max"},
    "avgmax pooling": {"pool": "catavgmax"},
    "gem pooling": {"pool": "gem"},
    "arcface": {"loss": "arcface"},
    "class weights": {"class_weights": "effective"},
    "balanced sampler": {"sampler": "balanced"},
    "retrained head": {"retrain_head": 0.2},
}


@dataclass(eq=False)
class Bench:
    """A set made ready: the worker that trains on it, its folds, pixels by size, and whether a net trains in bf16."""

    task: Task
    metric: Metric
    fold_of: np.ndarray
    folder: Path
    worker: Worker
    pixels: dict[int, str] = field(default_factory=dict)
    formats: dict[tuple[Any, ...], bool] = field(default_factory=dict)

    def pixels_at(self, size: int) -> str:
        """Where the pixels lie at this size."""
        if size not in self.pixels:
            files = [*self.task.train_files, *self.task.test_files]
            self.pixels[size] = str(build_pixels(files, size, "squash", self.folder, channels=self.task.channels).path)
        return self.pixels[size]


def main() -> None:
    """Run every cell asked for and append a table as each set ends."""
    asked = arguments()
    tricks = asked.tricks.split(",") if asked.tricks else list(TRICKS)
    unknown = [name for trick in tricks for name in trick.split("+") if name not in TRICKS]
    if unknown:
        sys.exit(f"no trick {', '.join(unknown)}; choose from {', '.join(TRICKS)}")
    start = "from " + (asked.weights.name if asked.weights else "scratch")
    append(asked.out, heading(f"tricks {start}, {asked.seconds:g} s a cell, {asked.seeds} seeds"))
    append(
        asked.out,
        "| set | trick | base | with it | gain | ± over seeds | epochs | n |\n|---|---|---|---|---|---|---|---|\n",
    )
    for name in asked.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="autoclimb-ablation-") as temporary:
            for line in rows_of(name, tricks, asked, Path(temporary)):
                append(asked.out, line)
                print(line, end="", flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Measure what each trick is worth in equal wall time.")
    parser.add_argument("--data", type=Path, required=True, help="folder of competitions")
    parser.add_argument("--sets", default="intel_scenes,sign_digits,leaf99")
    parser.add_argument("--weights", type=Path, help="a hub-form folder or a folder of such; the smallest net is taken")
    parser.add_argument("--size", type=int, default=0, help="pixels; default 64 from scratch, 128 with weights")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tricks", default="", help="names, comma separated, joined by + to try together; default all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    return parser.parse_args()


def rows_of(name: str, tricks: list[str], asked: argparse.Namespace, folder: Path) -> list[str]:
    """The table's rows of one set."""
    bench = made_ready(name, asked, folder)
    try:
        base = base_of(bench, asked)
        scores: dict[str, list[float]] = {"": []}
        epochs: dict[str, float] = {}
        for seed in range(asked.seeds):
            for trick in ["", *tricks]:
                config = changed(base, trick).vary(seed=seed)
                score, trained = cell(bench, config)
                scores.setdefault(trick, []).append(score)
                epochs[trick] = trained
                print(f"  {name} {trick or 'base'} seed {seed}: {bench.metric.shown(score):.4f}", file=sys.stderr)
    finally:
        bench.worker.end()
    return [row_of(name, trick, bench.metric, scores, epochs[trick]) for trick in tricks]


def row_of(name: str, trick: str, metric: Metric, scores: dict[str, list[float]], trained: float) -> str:
    """One row: means over seeds, and the paired difference, above zero where the trick is better."""
    gains = np.array(scores[trick]) - np.array(scores[""])
    error = f"{gains.std(ddof=1) / np.sqrt(len(gains)):.4f}" if len(gains) > 1 else ""
    base, own = (metric.shown(float(np.mean(scores[key]))) for key in ("", trick))
    gained = f"{gains.mean():+.4f} | {error}"
    return f"| {name} | {trick} | {base:.4f} | {own:.4f} | {gained} | {trained:.1f} | {len(gains)} |\n"


def made_ready(name: str, asked: argparse.Namespace, folder: Path) -> Bench:
    """The set read, its folds made as a run makes them, and a worker that knows it."""
    metric = metric_from(METRIC[name])
    task = read_folder(asked.data / name, metric)
    bad = np.zeros(len(task.train_ids), bool)
    fold_of = make_folds(task, 5, 0, bad)
    np.save(folder / "target.npy", learning_target(task))
    np.save(folder / "fold_of.npy", fold_of)
    worker = Worker([sys.executable, "-m", "autoclimb.learn.worker"], folder / "worker.log")
    hello = {"do": "hello", "device": asked.device, "kind": task.kind, "width": task.width, "pipelines": {}}
    files = {key: str(folder / f"{key}.npy") for key in ("target", "fold_of")}
    worker.greet({**hello, **files, "cache": str(folder)}, 120)
    return Bench(task, metric, fold_of, folder, worker)


def base_of(bench: Bench, asked: argparse.Namespace) -> Config:
    """What the plan starts from: its first net, one-cycle, flips and shifts, smoothing where labels are answered."""
    if asked.weights:
        found = bench.worker.ask({"do": "weights", "path": str(asked.weights)}, 60)["found"]
        base = fine_tuning(found)[0].vary(size=asked.size or 128)
    else:
        base = from_scratch("cpu")[0].vary(size=asked.size or 64)
    smooth = 0.1 if bench.task.kind == "multiclass" and bench.metric.wants != "probability" else 0.0
    return base.vary(policy="flip", tta="flip", smoothing=smooth, seconds=asked.seconds, folds=(0,))


def changed(base: Config, trick: str) -> Config:
    """The base with the trick's values; sizes given as shares become pixels in steps of 16."""
    changes: dict[str, Any] = {}
    for name in filter(None, trick.split("+")):
        changes |= TRICKS[name]

    def pixels(share: float) -> int:
        return round(share * base.size / 16) * 16

    if "sizes" in changes:
        changes["sizes"] = tuple(pixels(share) for share in changes["sizes"])
    if "test_size" in changes:
        changes["test_size"] = pixels(changes["test_size"])
    return base.vary(**changes)


def cell(bench: Bench, config: Config) -> tuple[float, float]:
    """The score on the held-out fold and the epochs that the time allowed; NaN where the trial failed."""
    pixels = bench.pixels_at(max(config.size, getattr(config, "test_size", 0)))
    kind = (config.backbone, config.model_args, config.size, config.batch)
    if kind not in bench.formats:
        plain = config.vary(loss="default", policy="none")
        speed = {"do": "speed", "config": plain.to_json(), "pixels": pixels, "seconds": 2.0}
        bench.formats[kind] = bench.worker.ask(speed, 120)["bf16"]
    out = bench.folder / f"{config.key}-{time.monotonic_ns()}"
    request = {"do": "trial", "config": config.to_json(), "pixels": pixels, "bf16": bench.formats[kind]}
    told = bench.worker.ask({**request, "out": str(out), "nets": str(out / "nets")}, 3 * config.seconds + 120)
    if told["status"] != "done":
        print(f"  {told['note']}", file=sys.stderr)
        return float("nan"), 0.0
    oof = np.load(out / "oof.npy")
    task = bench.task
    found = honest(bench.metric, task.kind, task.grades, task.target, oof, bench.fold_of)
    return found.score, told["facts"].get("epochs", 0.0)


if __name__ == "__main__":
    main()
