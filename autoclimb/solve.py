"""fit(): the whole story, in the README's order."""

import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autoclimb.budget import Clock, in_words, seconds_of
from autoclimb.data.duplicates import joined_duplicates
from autoclimb.data.folds import make_folds
from autoclimb.data.pixels import forget_half_built
from autoclimb.data.read.folder import layout_of, read_folder, task_of
from autoclimb.data.steps import chain_of
from autoclimb.disk import write_json
from autoclimb.errors import Mistake, full_disk, no_room, room_on_disk
from autoclimb.report.submission import constant_prediction, write_submission
from autoclimb.run import store
from autoclimb.run.result import Run, describe_task, open_run
from autoclimb.run.setup import find_nets, greet, situation_of
from autoclimb.run.trials import FIRST_SIZE, Cache, OutOfTime, Record, Team
from autoclimb.run.worker import Worker
from autoclimb.score.decide import learn_rule
from autoclimb.score.own import metric_from, source_of, tried
from autoclimb.score.propose import proposed_metric
from autoclimb.score.rules import answer
from autoclimb.search.climb import Stage, follow
from autoclimb.search.plan import plan_of
from autoclimb.search.recipes import load_recipe
from autoclimb.search.space import SearchSpace
from autoclimb.types import Event, Goal, History, Metric, Task, Tell, ranked

__all__ = ["Run", "fit", "open_run", "read_task"]
FOLDS = 5
NOTHING = np.zeros((0, 1, 1, 3), np.uint8)
NOTES = 15  # of what reading found that a run repeats
T = TypeVar("T")


def fit(
    data: str | Path,
    *,
    metric: str | Metric | None = None,
    budget: str | float,
    out: str | Path | None = None,
    seed: int = 0,
    folds: int | None = None,
    recipe: str | Path | None = None,
    space: SearchSpace | None = None,
    plan: Sequence[str | Stage | tuple[str, Stage]] | None = None,
    weights: str | Path | None = None,
    pretrained: bool = True,
    device: str = "auto",
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
    cache_gb: float = 3.0,
    nets_gb: float = 1.5,
    tell: Tell | None = None,
    started: float | None = None,
) -> Run:
    """The finished run: searched, blended, honestly scored, its submission written, all within the budget.

    `data` is a competition's folder, or a Task made in Python. `metric` is a name, a Metric, or `path/to/file.py:name`;
    without one the metric that fits the task is proposed and said. `budget` is wall time in words (`4h`) or seconds,
    counted from `started` (`time.monotonic()`), by default from this call. `space` says what may vary and `plan` which
    stages run, by name or as functions `(history, situation) -> iterator of lists of Config`. The same call again
    continues the run in `out`; a larger budget goes further. `cache_gb` is the disk that decoded pixels may take:
    beyond it the least recently used are deleted; those of a single size may exceed it. `nets_gb` is the disk for nets
    while the search goes on: beyond it the weights of the worst trials outside the blend are deleted.

    Raises Mistake for whatever the caller can mend, before anything is trained.
    """
    tell = tell or (lambda event: None)
    given = load_recipe(recipe, space=space, plan=plan, folds=folds, pretrained=pretrained)
    for chain in given.space.chains():
        chain_of(chain)  # a word that is none is said before anything is read
    goal, read = metric_of(metric, data, tell, id_column, target, group)
    clock = Clock(seconds_of(budget), start=started or time.monotonic())
    name = data.name if isinstance(data, Task) else Path(data).expanduser().resolve().name
    folder = Path(out) if out else Path("autoclimb-runs") / f"{name}-{goal.name}"
    check_places(data, folder, weights, device)
    before = store.read_run(folder)
    if before.get("finished") and clock.budget <= before["budget"] * 1.001:
        tell(Event("note", f"this run was finished before; a budget over {in_words(before['budget'])} goes further"))
        return open_run(folder, goal)
    store.open_folder(folder)
    store.forget_half_made(folder)
    clock = replace(clock, start=clock.start - before.get("spent", 0.0))

    worker = Worker([sys.executable, "-m", "autoclimb.learn.worker"], folder / "worker.log")  # imports while we read
    try:
        task = read or (data if isinstance(data, Task) else read_folder(Path(data), goal, id_column, target, group))
        fingerprint = fingerprint_of(task, goal, seed, given)
        for thing, value in (before.get("fingerprint") or {}).items():
            if fingerprint.get(thing) != value:
                raise Mistake(f"{folder} is a run with another {thing}; name another folder with --out, or delete it")
        tried(Goal(goal, task.kind, task.grades), task.target)
        record = Record(folder, clock, {"fingerprint": fingerprint, "metric": describe_metric(goal)})
        record.write(finished=False)
        if not before:
            publish_constant(task, goal, folder)
        tell(Event("note", task_words(task), {"submission": str(folder / "submission.csv") if task.test_ids else ""}))
        for note in notes_of(task):
            tell(Event("note", note))

        forget_half_built(folder / "cache")
        files = [*task.train_files, *task.test_files]
        cache = Cache(folder / "cache", files, clock, tell, task.channels, cache_gb * 1e9)
        first = replace(cache.pixels(FIRST_SIZE, "squash"), array=NOTHING)  # whom we hold cannot be deleted
        bad = first.bad
        task = without_unreadable(task, bad, tell)
        task = joined_duplicates(task, cache.pixels(FIRST_SIZE, "squash"), tell)
        fold_of = make_folds(task, given.folds or FOLDS, seed, bad[: len(task.train_ids)])
        if not before:
            publish_constant(task, goal, folder, fold_of)
        write_json(folder / "task.json", describe_task(task, first.ranges))
        greeting = greet(worker, task, fold_of, folder, device, given.space, clock)
        nets = find_nets(worker, weights, given.pretrained, greeting["device"], clock, tell)
        tell(Event("note", device_words(greeting)))

        team = Team(task, goal, fold_of, folder, worker, cache, clock, record, tell, nets_limit=nets_gb * 1e9)
        situation = situation_of(task, goal, fold_of, clock, greeting["device"], seed, nets, given.space, team)
        history, whole = follow(
            plan_of(given.plan, folder),
            situation,
            team.run,
            partial(store.recall_trial, folder),
            clock,
            team.reserve,
            team.publish,
            tell,
        )
        return finish(team, history, whole)
    except OutOfTime:
        with room_on_disk(folder):
            return finish_without(folder, goal, clock, tell)
    except OSError as error:
        if no_room(error):
            raise Mistake(full_disk(folder, error)) from error
        raise
    finally:
        worker.end()


def read_task(
    folder: str | Path,
    metric: str | Metric | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> Task:
    """The competition in a folder, as `fit` reads it: ids, files, labels, groups, the submission's form, and notes.

    `metric` is a name, a Metric, or `path/to/file.py:name`; it decides between kinds of labels that look alike, and
    without one they are what they look like. `id_column`, `target` (several columns with commas between) and `group`
    ("none" for no groups) overrule what the folder says. Opens tables, no pictures: 200,000 files take seconds.

    Raises Mistake, one line that says what was found and what to do, where the folder cannot be understood.
    """
    asked = metric_from(metric) if isinstance(metric, str) else metric
    return read_folder(Path(folder), asked, id_column, target, group)


def check_places(data: str | Path | Task, folder: Path, weights: str | Path | None, device: str) -> None:
    """Raises Mistake for what would be refused only once all pictures are decoded, and for a run among the data."""
    if weights and not os.path.exists(Path(weights).expanduser()):
        raise Mistake(f"--weights {weights}: there is nothing; give a folder of timm hub-form folders or a file")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise Mistake(f"--device {device!r} is not one; write auto, cpu, cuda or cuda:1")
    if isinstance(data, Task):
        return
    above, below = Path(os.path.realpath(data)), Path(os.path.realpath(folder))
    if above in below.parents and "autoclimb-runs" not in below.relative_to(above).parts:  # the reader skips that one
        raise Mistake(f"--out {folder} lies inside the data and would be read as a part of it; name a folder elsewhere")


# --- what a run is of ------------------------------------------------------------------------------------------------


def metric_of(
    metric: str | Metric | None,
    data: str | Path | Task,
    tell: Tell,
    id_column: str | None,
    target: str | None,
    group: str | None,
) -> tuple[Metric, Task | None]:
    """The metric meant; where none was, one that fits the folder, which is said, and the task as read with it."""
    if metric is not None:
        return metric_from(metric) if isinstance(metric, str) else metric, None
    if isinstance(data, Task):
        goal, why = proposed_metric(data)
        task = data
    else:
        layout = layout_of(Path(data), id_column, target, group)
        goal, why = proposed_metric(task_of(layout, None))
        task = task_of(layout, goal)
    tell(Event("note", f"no metric was given: climbing {goal.name}, as {why}; --metric NAME overrules it"))
    return goal, task


def fingerprint_of(task: Task, metric: Metric, seed: int, given: Any) -> dict[str, Any]:
    """What may not change between two calls that share a run folder."""
    made = hashlib.blake2b(digest_size=8)
    for ids in (task.train_ids, task.test_ids, task.form.ids, task.form.columns):
        made.update("\0".join(ids).encode())
    made.update(np.ascontiguousarray(task.truth).tobytes())
    search = json.dumps([given.space.to_json(), given.plan_names()], sort_keys=True, default=str)
    return {
        "data": made.hexdigest(),
        "metric": " ".join(filter(None, (metric.name, source_of(metric)))),
        "seed": seed,
        "folds": given.folds or FOLDS,
        "groups": None if task.groups is None else hashlib.blake2b(task.groups.tobytes(), digest_size=4).hexdigest(),
        "search space": hashlib.blake2b(search.encode(), digest_size=8).hexdigest(),
        "pretrained": given.pretrained,
    }


def describe_metric(metric: Metric) -> dict[str, Any]:
    """The metric as json: enough to answer and to show scores without its function."""
    functions = ("function", "decide", "on_kind")
    return {f.name: getattr(metric, f.name) for f in fields(metric) if f.name not in functions}


def task_words(task: Task) -> str:
    """One line about what was read."""
    what = f"{task.width} {'labels' if task.kind == 'multilabel' else 'classes'}" if task.classes else "numbers"
    return f"{task.name}: {task.kind}, {what}, {len(task.train_ids)} train and {len(task.test_ids)} test items"


def notes_of(task: Task) -> list[str]:
    """What reading noticed, a line each, what was guessed first; the first ones of very many."""
    notes = [
        " ".join(f"{note.sure + ': ' if note.sure == 'guessed' else ''}{note.text}".split())
        for note in ranked(task.notes)
    ]
    more = [f"and {len(notes) - NOTES} notes more, which `autoclimb inspect` shows"] if len(notes) > NOTES else []
    return [*notes[:NOTES], *more]


def device_words(greeting: dict[str, Any]) -> str:
    """One line about where trials run."""
    where = greeting["name"] if greeting["device"] == "cuda" else f"{greeting['threads']} processor threads"
    return f"training on {where}, torch {greeting['torch']}"


def without_unreadable(task: Task, bad: np.ndarray, tell: Tell) -> Task:
    """The task with its unreadable pictures named; says which, and stops where too few are left."""
    n = len(task.train_ids)
    train = tuple(task.train_ids[i] for i in np.flatnonzero(bad[:n]))
    test = tuple(task.test_ids[i] for i in np.flatnonzero(bad[n:]))
    for ids, what in ((train, "left out of training"), (test, "answered by the constant prediction")):
        if ids:
            named = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            tell(Event("note", f"{len(ids)} unreadable pictures {what}: {named}"))
    good = task.truth[~bad[:n]]
    if len(good) < 4:
        raise Mistake(f"only {len(good)} of {n} training pictures can be read; check that the files are pictures")
    if task.kind in ("regression", "multilabel") or task.soft is not None:
        nothing = bool((good == good[0]).all())
    else:
        nothing = len(np.unique(good)) < 2
    if nothing:
        raise Mistake("all readable training pictures have the same target; there is nothing to learn")
    return replace(task, unreadable_train=train, unreadable_test=test)


# --- ends ------------------------------------------------------------------------------------------------------------


def publish_constant(task: Task, metric: Metric, folder: Path, fold_of: np.ndarray | None = None) -> None:
    """Writes a submission of the same answer everywhere: valid from the first seconds on."""
    if not task.test_ids:
        return
    rows = np.arange(len(task.target)) if fold_of is None else np.flatnonzero(fold_of >= 0)
    p = constant_prediction(task, rows.tolist(), metric.constant)
    known = np.repeat(p[:1], len(rows), 0) if len(p) else p
    rule = learn_rule(Goal(metric, task.kind, task.grades), task.truth[rows], known)
    write_submission(task, answer(rule, p), folder / "submission.csv", metric, p)


def finish(team: Team, history: History, whole: bool) -> Run:
    """The run, after a last blend in depth if there is time for it; the quick one stands otherwise."""
    if not store.all_trials(team.folder) or not any(t.status == "done" for t in store.all_trials(team.folder)):
        return finish_without(team.folder, team.metric, team.clock, team.tell)
    team.worker.end()
    blend = within(team.clock.left() - min(1.5, 0.02 * team.clock.budget), lambda: team.blended(quick=False))
    if blend is not None:
        team.deliver(blend)
    elif team.blend is None:  # everything was recalled and nothing blended yet
        team.deliver(team.blended(quick=True))
    assert team.blend is not None
    store.forget_weights(team.folder, set(team.blend.members))
    done = [t for t in store.all_trials(team.folder) if t.status == "done"]
    why = "the plan is exhausted" if whole and team.clock.left() > 0.1 * team.clock.budget else "the budget is used"
    words = (
        f"{len(done)} trials, {team.blend.method} of {len(team.blend.members)}, {in_words(team.clock.spent())}: {why}"
    )
    team.record.write(finished=True, words=words)
    run = open_run(team.folder, team.metric)
    team.tell(Event("done", "", {"submission": str(run.submission) if team.task.test_ids else ""}))
    return run


def finish_without(folder: Path, metric: Metric, clock: Clock, tell: Tell) -> Run:
    """Ends a run that had no time for a single trial; what is on disk stands."""
    tell(Event("note", "the budget ended before anything was learnt: a submission is a constant; give more time"))
    record = Record(folder, clock, {k: v for k, v in store.read_run(folder).items() if k not in ("budget", "spent")})
    record.write(finished=True, words="nothing was learnt within the budget")
    return open_run(folder, metric)


def within(seconds: float, make: Callable[[], T]) -> T | None:
    """What `make` returns if it does so in time; None if not: it is then left alone and its result is not used."""
    box: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            box.append(make())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if failed:
        raise failed[0]
    return box[0] if box else None
