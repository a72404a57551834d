"""What a plan is made from: the worker told of the task, the nets to start from, the facts of data and clock."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.budget import Clock
from autoclimb.data.facts import class_counts
from autoclimb.data.pixels import most_pictures, sizes_of
from autoclimb.disk import write_array
from autoclimb.errors import Mistake
from autoclimb.run import store
from autoclimb.run.trials import FIRST_SIZE, OutOfTime, Team
from autoclimb.run.worker import Late, Worker
from autoclimb.search.portfolio import from_hub
from autoclimb.search.situation import Situation
from autoclimb.search.space import SearchSpace
from autoclimb.types import Event, Metric, Task, Tell


def greet(
    worker: Worker, task: Task, fold_of: np.ndarray, folder: Path, device: str, space: SearchSpace, clock: Clock
) -> dict[str, Any]:
    """What the worker says of itself once it knows the task."""
    write_array(folder / "fold_of.npy", fold_of)
    write_array(folder / "target.npy", learning_target(task))
    hello = {
        "do": "hello",
        "device": device,
        "kind": task.kind,
        "width": task.width,
        "target": str(folder / "target.npy"),
        "fold_of": str(folder / "fold_of.npy"),
        "cache": str(folder / "cache"),
        "pipelines": space.pipelines(),
    }
    try:
        return worker.greet(hello, max(clock.left() - 1, 1))
    except Late:
        raise OutOfTime from None


def learning_target(task: Task) -> np.ndarray:
    """Targets as a net takes them, `(N, width)` float32: one-hot rows, shares of votes, 0/1 rows or numbers."""
    if task.soft is not None:
        return task.soft.astype(np.float32)
    if task.kind == "regression":
        return task.target.astype(np.float32)[:, None]
    if task.kind == "multilabel":
        return task.target.astype(np.float32)
    return np.eye(task.width, dtype=np.float32)[task.target]


def find_nets(
    worker: Worker, weights: str | Path | None, pretrained: bool, device: str, clock: Clock, tell: Tell
) -> tuple[dict[str, Any], ...]:
    """Pretrained nets to start from, smallest first; none where there are none or the user wants none."""
    if not pretrained:
        if weights:
            raise Mistake("--weights and --no-pretrained contradict each other; give one of them")
        tell(Event("note", "training from scratch, as asked"))
        return ()
    try:
        told = worker.ask({"do": "weights", "path": str(weights) if weights else ""}, max(clock.left() - 1, 1))
    except Late:
        raise OutOfTime from None
    if told["found"]:
        tell(Event("note", "pretrained: " + ", ".join(row["backbone"] for row in told["found"])))
        return tuple(told["found"])
    if told["hub"]:
        tell(Event("note", "pretrained weights come from timm's hub"))
        return tuple(from_hub(device))
    tell(Event("note", "timm's hub cannot be reached and no --weights were given: training from scratch"))
    return ()


def imbalance_of(task: Task) -> float:
    """Train rows of the most frequent class for one of the rarest that has any; 1 for numbers."""
    counts = [n for n in class_counts(task).values() if n]
    return max(counts) / min(counts) if counts else 1.0


def situation_of(
    task: Task,
    metric: Metric,
    fold_of: np.ndarray,
    clock: Clock,
    device: str,
    seed: int,
    nets: tuple[dict[str, Any], ...],
    space: SearchSpace,
    team: Team,
) -> Situation:
    """What the plan is made from."""
    sides = [min(width, height) for width, height, _ in sizes_of([f for f in task.train_files if f], 50)]
    return Situation(
        kind=task.kind,
        rows=int((fold_of >= 0).sum()),
        answered=len(task.test_ids),
        side=int(np.median(sides or [FIRST_SIZE])),
        pictures=most_pictures(task.train_files),
        folds=int(fold_of.max()) + 1,
        budget=clock.budget,
        device=device,
        seed=seed,
        metric=metric.name,
        wants=metric.wants,
        beta=metric.beta,
        average=metric.average,
        by_class=task.kind in metric.by_class,
        imbalance=imbalance_of(task),
        pretrained=nets,
        space=space,
        measure=team.measure,
        left=lambda: max(0.0, clock.left() - team.reserve()),
        remember=team.remember,
        prepare=team.prepare,
        folds_done=partial(store.folds_done, team.folder),
    )
