"""A competition's folder as the peers' adapters see it, and the submission from their predictions.

Needs pandas and Pillow only: it runs in the environments of the peers, which do not have autoclimb.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

NUMBERS = ("mae", "rmse", "rmsle", "qwk", "r2")
SETS = ("f1-samples", "f2", "f1-micro")
SIZES = (224, 192, 160, 128, 96, 64)
ENOUGH = {True: 6, False: 15}  # epochs, fine-tuned or from scratch, that a size must leave time for
LOOKED_AT = 50  # pictures whose size is read


@dataclass(frozen=True)
class Competition:
    """Train rows (file, target) and test files, in the form of the sample submission."""

    metric: str
    kind: Literal["classes", "sets", "numbers"]
    train: pd.DataFrame  # columns file, target
    test: list[str]
    sample: pd.DataFrame
    side: int  # pixels, the median longer side

    @property
    def grades(self) -> np.ndarray | None:
        """The grades in order where the metric is quadratic kappa, None otherwise."""
        return np.unique(self.train["target"]) if self.metric == "qwk" else None


def arguments() -> argparse.Namespace:
    """What every adapter is given."""
    parser = argparse.ArgumentParser(description="A peer as a solver of autoclimb bench.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--budget", type=float, required=True, help="seconds of wall time")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", choices=("none", "lite0"), default="none")
    parser.add_argument("--place", type=Path, required=True, help="folder of the environments and of the weights")
    return parser.parse_args()


def read(data: Path, metric: str) -> Competition:
    """The competition in a folder of train/, test/, train.csv and sample_submission.csv."""
    table = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    sample = pd.read_csv(data / "sample_submission.csv", dtype=str, keep_default_na=False)
    key = sample.columns[0]
    target = sample.columns[1] if sample.columns[1] in table else table.columns[-1]
    kind: Literal["classes", "sets", "numbers"] = "classes"
    if metric in NUMBERS:
        kind = "numbers"
    elif metric in SETS:
        kind = "sets"
    train = pd.DataFrame({"file": files_of(data / "train", table[key]), "target": table[target]})
    if kind == "numbers":
        train["target"] = train["target"].astype(float)
    sides = [max(Image.open(file).size) for file in train["file"][:: max(1, len(train) // LOOKED_AT)]]
    return Competition(metric, kind, train, files_of(data / "test", sample[key]), sample, int(np.median(sides)))


def files_of(folder: Path, ids: Sequence[str]) -> list[str]:
    """The file of each id, which may lack the ending."""
    by_name = {path.name: str(path) for path in folder.iterdir()}
    by_stem = {path.stem: str(path) for path in folder.iterdir()}
    return [by_name.get(name) or by_stem[name] for name in ids]


def size_for(seen: Competition, rate: float, rate_size: int, seconds: float, tuned: bool) -> int:
    """The largest size at which `seconds` are enough epochs, given the pictures a second at another size."""
    most = max(1.3 * seen.side, 128 if tuned else 64)
    sizes = [size for size in SIZES if size <= most]
    for size in sizes:
        if seconds * rate * (rate_size / size) ** 2 / len(seen.train) >= ENOUGH[tuned]:
            return size
    return sizes[-1]


def write(
    seen: Competition, out: Path, predictions: np.ndarray, classes: Sequence[str] = (), threshold: float = 0.5
) -> None:
    """The submission: the likeliest class, the first k, the labels over the threshold, or the number."""
    table = seen.sample.copy()
    names = np.asarray(classes, dtype=object)
    if seen.kind == "numbers":
        numbers = predictions.reshape(-1)
        grades = seen.grades
        if grades is not None:
            numbers = grades[np.abs(numbers[:, None] - grades[None]).argmin(1)]
        table[table.columns[1]] = [f"{value:g}" for value in numbers]
    elif seen.kind == "sets":
        chosen = predictions > threshold
        chosen[np.arange(len(chosen)), predictions.argmax(1)] = True
        table[table.columns[1]] = [" ".join(names[row]) for row in chosen]
    elif seen.metric.startswith(("map@", "top")):
        most = int(seen.metric.rpartition("@")[2] or 5)
        table[table.columns[1]] = [" ".join(names[row]) for row in np.argsort(-predictions, 1)[:, :most]]
    elif len(table.columns) > 2:
        place = {name: i for i, name in enumerate(classes)}
        for name in table.columns[1:]:
            table[name] = predictions[:, place[name]]
    elif seen.metric in ("auc", "log-loss"):
        table[table.columns[1]] = predictions[:, -1]
    else:
        table[table.columns[1]] = names[predictions.argmax(1)]
    table.to_csv(out, index=False)


def best_threshold(truth: np.ndarray, predictions: np.ndarray, beta: float) -> float:
    """The threshold of the greatest F-beta over rows, on rows that were held out."""

    def f_beta(threshold: float) -> float:
        chosen = predictions > threshold
        hits = (chosen & (truth > 0)).sum(1)
        return float(((1 + beta**2) * hits / np.maximum(beta**2 * truth.sum(1) + chosen.sum(1), 1e-9)).mean())

    return max(np.linspace(0.05, 0.7, 27), key=f_beta)
