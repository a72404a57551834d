"""Checks before anything is trained (places, guesses, readable pictures), and the fingerprint that identifies a run."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.arrays import as_stored
from autoclimb.errors import Mistake
from autoclimb.run import store
from autoclimb.score.own import source_of
from autoclimb.search.recipes import Given
from autoclimb.types import Event, Metric, Task, Tell

FEWEST_PICTURES = 4  # readable train pictures: two folds with two rows each


def check_places(data: str | Path | Task, folder: Path, weights: str | Path | None, device: str) -> None:
    """Raises Mistake for weights that do not exist, an unknown device, and a run folder among the data.

    The first two would otherwise be noticed only after all pictures are decoded.
    """
    if weights and not os.path.exists(Path(weights).expanduser()):
        raise Mistake(f"--weights {weights} does not exist; give a folder of timm hub-form folders or a file")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise Mistake(f"--device {device!r} is unknown; write auto, cpu, cuda or cuda:1")
    if isinstance(data, Task):
        return
    above, below = Path(os.path.realpath(data)), Path(os.path.realpath(folder))
    if above in below.parents and "autoclimb-runs" not in below.relative_to(above).parts:  # the reader skips that one
        raise Mistake(f"--out {folder} lies inside the data and would be read as a part of it; name a folder elsewhere")


def check_guesses(task: Task, yes: bool) -> None:
    """Raises Mistake for a guess of consequence that the reading rests on, unless the user accepts it by `yes`."""
    for note in task.notes:
        if note.ask and not yes:
            raise Mistake(f"{note.text}; {note.ask}, or add --yes to go on all the same")


def fingerprint_of(task: Task, metric: Metric, seed: int, folds: int, given: Given) -> dict[str, Any]:
    """The values, by name, that may not change between two calls that share a run folder."""
    digest = hashlib.blake2b(digest_size=8)
    for ids in (task.train_ids, task.test_ids, task.form.ids, task.form.columns):
        digest.update("\0".join(ids).encode())
    digest.update(np.ascontiguousarray(as_stored(task.truth)).data)
    search = json.dumps([given.space.to_json(), given.plan_names()], sort_keys=True, default=str)
    return {
        "data": digest.hexdigest(),
        "metric": " ".join(filter(None, (metric.name, source_of(metric)))),
        "seed": seed,
        "folds": folds,
        "groups": None if task.groups is None else hashlib.blake2b(task.groups.tobytes(), digest_size=4).hexdigest(),
        "search space": hashlib.blake2b(search.encode(), digest_size=8).hexdigest(),
        "pretrained": given.pretrained,
    }


def check_decisions(folder: Path, before: dict[str, Any], digest: str) -> None:
    """Raises Mistake where the run in the folder was begun with other decisions about its rows, or with none."""
    if before and before.get("fingerprint", {}).get("decisions", "") != digest:
        raise Mistake(f"{folder} was begun with other --decisions, or with none; name another folder with --out")


def check_fingerprint(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises Mistake where the fingerprint of the run in the folder differs from that of this call."""
    for name, value in before.items():
        if now.get(name) != value:
            raise Mistake(f"{folder} is a run with another {name}; name another folder with --out, or delete it")


def check_folds(folder: Path, fold_of: np.ndarray) -> None:
    """Raises Mistake where the run in the folder has other folds, for its nets have seen rows that are now held out."""
    recorded = store.read_folds(folder)
    if len(recorded) and not np.array_equal(recorded, fold_of):
        raise Mistake(
            f"{folder} was begun with other folds, by another version or with other pictures; name another folder with "
            "--out, or delete it"
        )


def without_unreadable(task: Task, bad: np.ndarray, tell: Tell) -> Task:
    """The task with the ids of its unreadable pictures, `bad` `(N + M,)` bool, each of which is noted.

    Raises Mistake where fewer than FEWEST_PICTURES train pictures can be read, or all of those have one target.
    """
    n = len(task.train_ids)
    train = tuple(task.train_ids[i] for i in np.flatnonzero(bad[:n]))
    test = tuple(task.test_ids[i] for i in np.flatnonzero(bad[n:]))
    for ids, fate in ((train, "left out of training"), (test, "answered by the constant prediction")):
        if ids:
            names = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            tell(Event("note", f"{len(ids)} unreadable pictures {fate}: {names}"))
    readable = as_stored(task.truth)[~bad[:n]]
    if len(readable) < FEWEST_PICTURES:
        raise Mistake(f"only {len(readable)} of {n} training pictures can be read; check that the files are pictures")
    if task.kind in ("regression", "multilabel") or task.soft is not None:
        constant = bool((readable == readable[0]).all())
    else:
        constant = len(np.unique(readable)) < 2
    if constant:
        raise Mistake("all readable training pictures have the same target; no net can learn from that")
    return replace(task, unreadable_train=train, unreadable_test=test)
