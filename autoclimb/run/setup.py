"""Setting up a run: the context that its trials share, the worker's greeting, folds, pretrained nets, equipment."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from autoclimb.arrays import as_stored, stored_precision
from autoclimb.budget import NETS_GB, SLACK, Clock, seconds_kept
from autoclimb.data.nearness import folds_as_far, in_groups
from autoclimb.data.pixels import Pixels
from autoclimb.disk import write_array
from autoclimb.errors import Mistake
from autoclimb.protocol import CheckNames, Hello, ListNets
from autoclimb.run import store
from autoclimb.run.checks import check_folds
from autoclimb.run.decoded import Decoded, OutOfTime
from autoclimb.run.worker import Late, Worker
from autoclimb.score.train_rows import TrainRows
from autoclimb.search.nets import with_hub
from autoclimb.search.space import SearchSpace
from autoclimb.types import Event, Goal, Task, Tell, least_certain_first

DECISIVE = ("autoclimb", "torch", "timm", "scikit-learn", "lightgbm", "optuna", "albumentations", "pillow", "numpy")
MOST_NOTES = 15  # of the task that a run repeats


class NoDevice(Mistake):
    """The requested device does not exist or cannot be used now."""


@dataclass(frozen=True, eq=False)
class Setup:
    """The context that the trials of a run share. It does not change; what a run learns is in its folder."""

    task: Task
    goal: Goal
    fold_of: np.ndarray  # (N,) int, -1 for rows that are not learned from
    folder: Path
    worker: Worker
    decoded: Decoded
    clock: Clock
    tell: Tell = field(repr=False)
    label_shift: bool = True  # whether answers allow for other shares of the classes in the test rows, on evidence
    nets_limit: float = 1e9 * NETS_GB  # bytes; beyond them the weights of the worst trials outside the blend go
    device: str = "cpu"  # that trials are trained on, or "cuda"
    hardware: str = ""  # on which trials are trained; speeds are compared within one hardware only

    @cached_property
    def rows(self) -> np.ndarray:
        """The train rows that are learned from."""
        return np.flatnonzero(self.fold_of >= 0)

    @property
    def train(self) -> TrainRows:
        """The train rows as predictions are scored and blended on them."""
        task = self.task
        return TrainRows(self.goal, task.truth, self.fold_of, task.groups, task.metadata)

    def quick_blend(self) -> float:
        """Seconds of a quick blend, by the last ones of this run."""
        seconds: float = store.read_run(self.folder).get("quick_blend", SLACK.first_quick_blend)
        return seconds

    def reserve(self) -> float:
        """Seconds kept for the end."""
        return seconds_kept(self.clock.budget, self.quick_blend())


def with_folds(
    folder: Path, task: Task, pixels: Pixels, deal: Callable[[Task], np.ndarray], tell: Tell
) -> tuple[Task, np.ndarray]:
    """The task, grouped where test pictures lie far from train pictures, and the fold `(N,)` of each row by `deal`.

    A continued run takes the groups that it began with, since another processor may find a pair more or less.
    """
    place, groups = folder / store.FACTS, store.read_groups(folder)
    near = store.recalled(place).get("nearness")
    if near is None or (near.get("words") and groups is None):
        task, fold_of, near = folds_as_far(task, pixels, deal, tell)
    else:
        if near.get("words") and groups is not None:
            task = in_groups(task, groups, near["words"])
            tell(Event("note", near["words"]))
        fold_of = deal(task)
    check_folds(folder, fold_of)
    store.recall(place, "nearness", lambda: near)
    return task, fold_of


def introduce(
    worker: Worker,
    task: Task,
    goal: Goal,
    fold_of: np.ndarray,
    folder: Path,
    device: str,
    space: SearchSpace,
    clock: Clock,
) -> dict[str, Any]:
    """Greets the worker with the task and returns its reply: device, name, threads, torch's version.

    Raises NoDevice where it cannot train on the device, OutOfTime where it is not ready within the budget.
    """
    if task.groups is not None:
        write_array(folder / "groups.npy", task.groups)
    if task.metadata is not None:
        write_array(folder / "metadata.npy", task.metadata.train)
    precision, pipelines = precision_for(goal, task, fold_of), space.pipelines()
    hello = hello_of(task, fold_of, folder, folder / "cache", device, precision, pipelines)
    try:
        return worker.greet(hello.to_json(), max(clock.left() - SLACK.worker_start, 1))
    except Late:
        raise OutOfTime from None
    except Mistake as mistake:
        raise NoDevice(str(mistake)) from mistake


def hello_of(
    task: Task,
    fold_of: np.ndarray,
    folder: Path,
    cache: Path,
    device: str,
    precision: str,
    pipelines: dict[str, Any],
) -> Hello:
    """What a worker needs to know of the task, the arrays of its train rows written into the folder."""
    write_array(folder / "fold_of.npy", fold_of)
    write_array(folder / "target.npy", learning_target(task))
    return Hello(
        device=device,
        kind=task.kind,
        width=task.width,
        target=str(folder / "target.npy"),
        fold_of=str(folder / "fold_of.npy"),
        cache=str(cache),
        pipelines=pipelines,
        precision=precision,
    )


def learning_target(task: Task) -> np.ndarray:
    """The target in the form of `arrays.read_target`: class indices, 0/1 rows, indices of labels, shares, numbers."""
    if task.soft is not None:
        return task.soft.astype(np.float32)
    if task.kind == "regression":
        return task.target.astype(np.float32)[:, None]
    return as_stored(task.target)


def precision_for(goal: Goal, task: Task, fold_of: np.ndarray) -> str:
    """The dtype to store trials' predictions in, by the cells of one fold's and of the test rows' predictions."""
    held_out = int(np.bincount(fold_of[fold_of >= 0]).max(initial=0))
    return stored_precision(goal.metric.wants, max(held_out, len(task.test_ids)) * task.width)


def check_space(worker: Worker, space: SearchSpace, clock: Clock) -> None:
    """Raises Mistake for a name in the space that its menu does not have, OutOfTime without a reply in time.

    Otherwise it would be noticed by the trial that is named so, which may come after hours.
    """
    if names := space.named():
        try:
            worker.ask(CheckNames(names).to_json(), max(clock.left() - SLACK.worker_start, 1))
        except Late:
            raise OutOfTime from None


def find_nets(
    worker: Worker, weights: str | Path | None, pretrained: bool, device: str, clock: Clock, tell: Tell
) -> tuple[dict[str, Any], ...]:
    """Pretrained nets to start from, cheapest first: those of `weights`, else of the hub, else of the box.

    On a processor the box's nets come before the hub's: they are small, need no download, and serve as frozen features.
    () where the user wants none. Raises Mistake where `weights` and `pretrained=False` contradict each other, OutOfTime
    where the worker does not reply within the budget.
    """
    if not pretrained:
        if weights:
            raise Mistake("--weights and --no-pretrained contradict each other; give one of them")
        tell(Event("note", "training from scratch, as asked"))
        return ()
    request = ListNets(str(weights) if weights else "")
    try:
        reply = worker.ask(request.to_json(), max(clock.left() - SLACK.worker_start, 1))
    except Late:
        raise OutOfTime from None
    if reply["found"]:
        tell(Event("note", "pretrained: " + ", ".join(row["backbone"] for row in reply["found"])))
        return tuple(reply["found"])
    if reply["hub"]:
        tell(Event("note", "pretrained weights come from timm's hub"))
        return with_hub(device, reply["box"])
    if reply["box"]:
        names = ", ".join(row["backbone"] for row in reply["box"])
        tell(Event("note", f"pretrained: {names}, installed with autoclimb; timm's hub cannot be reached"))
        return tuple(reply["box"])
    tell(Event("note", "timm's hub cannot be reached and no --weights were given: training from scratch"))
    return ()


def task_words(task: Task) -> str:
    """The task in a line: name, kind, number of classes and of items."""
    targets = f"{task.width} {'labels' if task.kind == 'multilabel' else 'classes'}" if task.classes else "numbers"
    return f"{task.name}: {task.kind}, {targets}, {len(task.train_ids)} train and {len(task.test_ids)} test items"


def notes_of(task: Task) -> list[str]:
    """The task's notes, a line each, least certain first; at most MOST_NOTES of them."""
    notes = [
        " ".join(f"{note.sure + ': ' if note.sure == 'guessed' else ''}{note.text}".split())
        for note in least_certain_first(task.notes)
    ]
    if len(notes) <= MOST_NOTES:
        return notes
    return [*notes[:MOST_NOTES], f"and {len(notes) - MOST_NOTES} more notes, which `autoclimb inspect` shows"]


def hardware_words(greeting: dict[str, Any]) -> str:
    """The hardware that trials run on, in words."""
    threads = "" if greeting["device"] == "cuda" else f"{greeting['threads']} threads of "
    return f"{threads}{greeting['name']}"


def command_line(words: Sequence[str]) -> str:
    """The command of a process with these words (`sys.argv`); "" where it is not autoclimb's."""
    program = Path(words[0])
    ours = program.name == "autoclimb" or program.parts[-2:] == ("autoclimb", "__main__.py")
    return shlex.join(["autoclimb", *words[1:]]) if ours else ""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a run's numbers depend on, by name."""
    packages = {name: metadata.version(name) for name in DECISIVE}
    return {"python": python_version(), **packages}


def equipment_of(greeting: dict[str, Any], nets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The equipment of trials, for run.json: versions, hardware, and the pretrained nets with their sources."""
    names = [f"{row['backbone']} ({row['weights']})" for row in nets]
    hardware = f"{hardware_words(greeting)}, torch {greeting['torch']}"
    return {"versions": versions(), "hardware": hardware, "nets": names}


def equipment_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A sentence for each difference between the equipment of a run's earlier calls and of this one."""
    old, new = (
        {**values.get("versions", {}), "hardware": _without_torch(values.get("hardware")), "nets": values.get("nets")}
        for values in (before, now)
    )
    changed = [name for name in new if old.get(name) not in (None, new[name])]
    return [
        f"this run was begun with {name} {_listed(old[name])} and goes on with {_listed(new[name])}" for name in changed
    ]


def _without_torch(hardware: str | None) -> str | None:
    """The hardware without torch's version, which is among the versions."""
    return hardware and hardware.partition(", torch ")[0]


def _listed(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"
