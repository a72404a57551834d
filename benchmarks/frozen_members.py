"""Many members in seconds: every head on every array of frozen features that kept runs hold in their caches.

    python benchmarks/frozen_members.py RUN ... --out DIR
    python benchmarks/blend.py --json FILE --only --runs DIR/* ...

DIR/<run> is a run of the same rows and folds whose trials are those heads over all folds, and their blend: a real
collection of out-of-fold predictions for `blend.py`, `members.py` and `shift.py`. Where a cache holds two arrays, both
side by side are a third; a run whose cache holds none is left out.
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from autoclimb.arrays import Predictions, write_predictions
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.disk import write_array
from autoclimb.learn.closed_form import HEADS, fit_head, head_predictions
from autoclimb.report.record import RunRecord
from autoclimb.run import store
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.score.crossfit import cross_fitted_score, rule_of
from autoclimb.types import Trial

KEPT = ("run.json", "task.json", "train_ids.json", "fold_of.npy", "target.npy", "groups.npy", "metadata.npy")


def main() -> None:
    """Makes a run of each of the runs asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)  # beside other work two threads wait for each other
    for folder in options.runs:
        record, out, start = record_of(open_run(folder)), options.out / folder.name, time.monotonic()
        answered = len(np.load(folder / "blend_test.npy", mmap_mode="r"))
        arrays = arrays_in(folder, len(record.fold_of) + answered)
        if not arrays:
            print(f"{folder}: its cache holds no frozen features of all its rows", flush=True)
            continue
        out.mkdir(parents=True)
        for name in KEPT:
            if (folder / name).exists():
                shutil.copy(folder / name, out)
        trials = [kept(out, record, *member) for member in members(record, arrays)]
        blend = blend_of(trials, record.train)
        rule = rule_of(record.train, blend.oof)
        store.save_blend(out, blend, rule.to_json())
        best = max(trials, key=lambda t: t.score)
        words = f"{len(trials)} trials, best {record.metric.shown(best.score):.4f}"
        print(
            f"{out}: {words}, blend {record.metric.shown(blend.score):.4f}, {time.monotonic() - start:.0f} s",
            flush=True,
        )


def arrays_in(folder: Path, rows: int) -> list[np.ndarray]:
    """The features `(R, D)` of train and test rows in a run's cache, two also side by side."""
    arrays = [np.load(path, mmap_mode="r") for path in sorted((folder / "cache").glob("features-*.npy"))]
    arrays = [a for a in arrays if len(a) == rows]
    return [*arrays, np.concatenate(arrays, axis=1)] if len(arrays) == 2 else arrays


def members(record: RunRecord, arrays: list[np.ndarray]) -> Iterator[tuple[Config, np.ndarray]]:
    """Each config with the features `(R, D)` of train and test rows that its head is on."""
    folds = tuple(range(int(record.fold_of.max()) + 1))
    for number, features in enumerate(arrays):
        for head in HEADS:
            yield Config(train="features", backbone=f"array {number}", head=head, folds=folds), features


def kept(out: Path, record: RunRecord, config: Config, features: np.ndarray) -> Trial:
    """The trial of a head over all folds, on record."""
    fold_of, n, kind = record.fold_of, len(record.fold_of), record.goal.kind
    target = np.asarray(record.target[:], np.float32)
    oof, test = np.zeros((n, target.shape[1]), np.float32), np.zeros((len(features) - n, target.shape[1]), np.float32)
    start = time.monotonic()
    for fold in config.folds:
        rows, held_out = np.flatnonzero((fold_of >= 0) & (fold_of != fold)), np.flatnonzero(fold_of == fold)
        head = fit_head(config, features[rows], target[rows], kind)
        oof[held_out] = head_predictions(head, features[held_out], kind)
        test += head_predictions(head, features[n:], kind) / len(config.folds)
    known = np.flatnonzero(fold_of >= 0)
    predictions = Predictions.of(known, oof[known], n)
    scored = cross_fitted_score(record.train, predictions)
    seconds = round(time.monotonic() - start, 2)
    trial = Trial(config, "features", "done", scored.score, scored.stderr, seconds, predictions, test)
    place = store.trial_folder(out, config)
    place.mkdir(parents=True)
    write_predictions(place / "oof", predictions)
    write_array(place / "test.npy", test)
    store.save_trial(out, trial)
    return trial


if __name__ == "__main__":
    main()
