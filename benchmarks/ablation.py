"""Each trick on against off, in equal wall time, on real sets: which of them pay, and where.

    uv run python benchmarks/ablation.py --sets intel_scenes,sign_digits,leaf99 --seconds 60 [--weights DIR]

A cell is one net trained for `--seconds` (prediction included) on four fifths of a set's train rows and scored on the
fifth that it did not see; test answers are not looked at. For each seed (each another fold) the base and all tricks run
one after the other, so differences are paired. The table gives the mean difference with its standard error over seeds,
and over all sets together. `--cells FILE` keeps every cell as a line of json: what it holds already is not run again.

`--tail 20` thins the classes that are trained on until the rarest has a twentieth of the most frequent one's rows, as
CIFAR-10-LT does (Cui et al. 2019); the held-out fifth stays as it is and is scored by macro-F1.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lab import FOLDS, STARTING, SUITE, Lab, opened
from record import append, heading, show

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.protocol import ListNets
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.own import metric_from
from autoclimb.search.nets import fine_tuning, from_scratch

# what a trick changes in the base; several names may be joined by + on the command line
TRICKS: dict[str, dict[str, Any]] = {
    "not whitened": {"whitened": False},
    "norms kept": {"frozen_norms": True},
    "norms by batch": {"frozen_norms": False},
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
    "random": {"policy": "random"},
    "dihedral": {"policy": "dihedral", "tta": "dihedral"},
    "crop": {"policy": "crop"},
    **{f"flip {name}": {"policy": f"flip+{name}"} for name in ("hsv", "light", "camera", "clahe", "cutout", "grid")},
    **{f"{name} once": {"preprocess": f"squash+{name}"} for name in ("clahe", "grey-world", "local-average")},
    "pad": {"preprocess": "pad"},
    "no tta": {"tta": "none"},
    **{
        f"{name} tta": {"tta": name} for name in ("flip-shift", "five-crop", "ten-crop", "multi-scale", "parts", "auto")
    },
    "focal": {"loss": "focal"},
    "dropout": {"dropout": 0.2},
    "drop path": {"drop_path": 0.1},
    "max pooling": {"pool": "max"},
    "avgmax pooling": {"pool": "catavgmax"},
    "gem pooling": {"pool": "gem"},
    "arcface": {"loss": "arcface"},
    "arcface neighbours": {"loss": "arcface", "neighbours": 5},
    "subcentre-arcface": {"loss": "subcentre-arcface"},
    "sparsemax": {"loss": "sparsemax"},
    "soft f1": {"loss": "softmax-f1-macro", "smoothing": 0.0},
    "class weights": {"class_weights": "effective"},
    "inverse-sqrt weights": {"class_weights": "inverse-sqrt"},
    "balanced sampler": {"sampler": "balanced"},
    "sqrt sampler": {"sampler": "sqrt"},
    "retrained head": {"retrain_head": 0.2},
    "ce": {"loss": "ce"},  # of grades from here on, the base being expected-grade
    "corn": {"loss": "corn"},
    "coral": {"loss": "coral"},
    "emd": {"loss": "emd"},
    "soft grades": {"loss": "soft-grades"},
    "grade-mse": {"loss": "grade-mse"},
    "asymmetric": {"loss": "asymmetric"},  # of sets of labels, the base being bce
    "binary focal": {"loss": "binary-focal"},
    "soft-f2": {"loss": "soft-f2"},
    "mse": {"loss": "mse"},  # of numbers, the base being smooth-l1
    "mae": {"loss": "mae"},
}


HEADER = (
    "| set | trick | base | with it | gain | ± over seeds | epochs of both | n |\n|---|---|---|---|---|---|---|---|\n"
)
Cell = dict[str, Any]  # set, start, trick, seed, seconds, score (higher is better), shown, epochs


def main() -> None:
    """Run every cell asked for and append a table as each set ends."""
    options = arguments()
    tricks = options.tricks.split(",") if options.tricks else list(TRICKS)
    unknown = [name for trick in tricks for name in trick.split("+") if name not in TRICKS]
    if unknown:
        sys.exit(f"no trick {', '.join(unknown)}; choose from {', '.join(TRICKS)}")
    cells = [json.loads(line) for line in options.cells.read_text().splitlines()] if options.cells.exists() else []
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="autoclimb-ablation-") as temporary:
            for cell in new_cells(name, tricks, options, Path(temporary), cells):
                cells.append(cell)
                append(options.cells, json.dumps(cell) + "\n")
    append(
        options.out,
        heading(f"tricks from {start_of(options)}, {options.seconds:g} s a cell, {options.seeds} seeds") + HEADER,
    )
    for line in table(options, tricks, cells):
        show(options.out, line)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Measure what each trick is worth in equal wall time.")
    parser.add_argument("--suite", type=Path, default=SUITE, help="names the sets, as autoclimb bench has them")
    parser.add_argument("--sets", default="intel_scenes,sign_digits,leaf99")
    parser.add_argument("--weights", type=Path, help="a hub-form folder or a folder of such; the smallest net is taken")
    parser.add_argument("--size", type=int, default=0, help="pixels; default 64 from scratch, 128 with weights")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tricks", default="", help="names, comma separated, joined by + to try together; default all")
    parser.add_argument("--tail", type=float, default=0, help="rows of the most frequent class for one of the rarest")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cells", type=Path, default=Path("ablation.jsonl"), help="every cell, one a line")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    return parser.parse_args()


def start_of(options: argparse.Namespace) -> str:
    """Where nets start from, in words."""
    return options.weights.name if options.weights else "scratch"


def new_cells(
    name: str, tricks: list[str], options: argparse.Namespace, folder: Path, known: list[Cell]
) -> Iterator[Cell]:
    """The cells of one set that are not known yet, seed by seed."""
    place = {"set": called(name, options), "start": start_of(options), "seconds": options.seconds}
    wanted = [{**place, "trick": trick, "seed": seed} for seed in range(options.seeds) for trick in ["", *tricks]]
    wanted = [cell for cell in wanted if not any(cell.items() <= other.items() for other in known)]
    if not wanted:
        return
    metric = metric_from("f1-macro") if options.tail else None
    with opened(options.suite, name, folder, options.device, metric) as lab:
        base = base_of(lab, options)
        for cell in wanted:
            fold = cell["seed"] % FOLDS
            if options.tail:
                thinned = long_tailed(lab.fold_of, lab.task.target, fold, options.tail)
                np.save(lab.hello.fold_of, thinned)
                lab.worker.greet(lab.hello.to_json(), STARTING)
            config = changed(base, cell["trick"]).vary(seed=cell["seed"], folds=(fold,))
            score, epochs = trained_cell(lab, config)
            shown = round(lab.metric.shown(score), 4)
            print(f"  {name} {cell['trick'] or 'base'} seed {cell['seed']}: {shown}", file=sys.stderr)
            yield {**cell, "score": score, "shown": shown, "epochs": epochs}


def called(name: str, options: argparse.Namespace) -> str:
    """The set's name in cells and tables."""
    return f"{name}, tail {options.tail:g}" if options.tail else name


def long_tailed(fold_of: np.ndarray, target: np.ndarray, fold: int, ratio: float) -> np.ndarray:
    """`fold_of` without rows of all other folds, -1 for them, so that the last class keeps one in `ratio`.

    Classes between keep shares that fall evenly on a log scale. The fold held out keeps its rows.
    """
    thinned = fold_of.copy()
    for rank, label in enumerate(classes := np.unique(target)):
        rows = np.flatnonzero((target == label) & (fold_of >= 0) & (fold_of != fold))
        count = max(1, round(len(rows) * ratio ** (-rank / (len(classes) - 1))))
        thinned[np.random.default_rng(fold).permutation(rows)[count:]] = -1
    return thinned


def table(options: argparse.Namespace, tricks: list[str], cells: list[Cell]) -> list[str]:
    """A row for each set and trick, then for each trick the mean over sets, in paired differences of the same seed."""
    place = {"start": start_of(options), "seconds": options.seconds}
    by = {(c["set"], c["trick"], c["seed"]): c for c in cells if place.items() <= c.items()}
    rows: list[str] = []
    gains: dict[str, list[list[float]]] = {trick: [] for trick in tricks}
    for name in (called(name, options) for name in options.sets.split(",")):
        for trick in tricks:
            pairs = [(by[name, "", seed], by[name, trick, seed]) for seed in range(options.seeds)]
            differences = [own["score"] - base["score"] for base, own in pairs]
            gains[trick].append(differences)
            base, own = (np.mean([pair[i]["shown"] for pair in pairs]) for i in (0, 1))
            epochs = " / ".join(f"{np.mean([pair[i]['epochs'] for pair in pairs]):.1f}" for i in (0, 1))
            rows.append(
                f"| {name} | {trick} | {base:.4f} | {own:.4f} | {spread(differences)} | {epochs} | {len(pairs)} |\n"
            )
    if len(gains[tricks[0]]) > 1:
        for trick in tricks:
            every = [gain for differences in gains[trick] for gain in differences]
            rows.append(f"| all | {trick} | | | {spread(every)} | | {len(every)} |\n")
    return rows


def spread(gains: list[float]) -> str:
    """Mean and standard error, as two cells of a row; above zero where the trick is better."""
    error = f"{np.std(gains, ddof=1) / np.sqrt(len(gains)):.4f}" if len(gains) > 1 else ""
    return f"{np.mean(gains):+.4f} | {error}"


def base_of(lab: Lab, options: argparse.Namespace) -> Config:
    """What the plan starts from: its first net, one-cycle, flips and shifts, smoothing where labels are answered."""
    if options.weights:
        weights = lab.worker.ask(ListNets(str(options.weights)).to_json(), 60)["found"]
        base = fine_tuning(weights)[0].vary(size=options.size or 128)
    else:
        base = from_scratch("cpu")[0].vary(size=options.size or 64)
    smooth = 0.1 if lab.task.kind == "multiclass" and lab.metric.wants != "probability" else 0.0
    return base.vary(policy="flip", tta="flip", smoothing=smooth, seconds=options.seconds)


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


def trained_cell(lab: Lab, config: Config) -> tuple[float, float]:
    """The score on the held-out fold and the epochs that the time allowed; NaN where the trial failed."""
    out = lab.folder / f"{config.key}-{time.monotonic_ns()}"
    reply = lab.trial(config, out, 3 * config.seconds + 120)
    if reply["status"] != "done":
        print(f"  {reply['note']}", file=sys.stderr)
        return float("nan"), 0.0
    scored = cross_fitted_score(lab.train, read_predictions(out / "oof"))
    return scored.score, reply["facts"].get("epochs", 0.0)


if __name__ == "__main__":
    main()
