"""fit(): the whole story, in the README's order."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from autoclimb.budget import CACHE_GB, NETS_GB, SLACK, Clock, in_words, seconds_of
from autoclimb.data.duplicates import joined_duplicates
from autoclimb.data.folds import make_folds
from autoclimb.data.pixels import forget_unfinished_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.data.steps import chain_of
from autoclimb.disk import lock_folder, write_json
from autoclimb.errors import Mistake, full_disk, no_room, room_on_disk
from autoclimb.reading import as_metric, read_for_metric
from autoclimb.report.view import notebook_tell
from autoclimb.run import store
from autoclimb.run.answers import finish, finish_without, publish_constant, publish_unblended
from autoclimb.run.checks import (
    check_decisions,
    check_fingerprint,
    check_guesses,
    check_places,
    fingerprint_of,
    without_unreadable,
)
from autoclimb.run.climbing import follow_plan
from autoclimb.run.decoded import Decoded, OutOfTime
from autoclimb.run.reporting import import_ahead, measure_ahead
from autoclimb.run.result import Run, describe_metric, describe_task, open_run
from autoclimb.run.setup import (
    NoDevice,
    Setup,
    check_space,
    command_line,
    equipment_changes,
    equipment_of,
    find_nets,
    hardware_words,
    introduce,
    notes_of,
    task_words,
    with_folds,
)
from autoclimb.run.trials import situation_of, tell_error_of_speeds
from autoclimb.run.verdicts import apply_verdicts, read_verdicts
from autoclimb.run.worker import Died, Worker, command_of
from autoclimb.score.own import check_metric
from autoclimb.score.propose import proposed_metric
from autoclimb.search.climb import Stage
from autoclimb.search.fidelity import folds_for
from autoclimb.search.order import plan_of
from autoclimb.search.recipes import load_recipe
from autoclimb.search.situation import FIRST_SIZE
from autoclimb.search.space import SearchSpace
from autoclimb.track.beside import Trackers
from autoclimb.types import Event, Goal, Metric, Task, Tell

__all__ = ["Run", "fit", "open_run"]


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
    yes: bool = False,
    decisions: str | Path | None = None,
    label_shift: bool = True,
    track: Sequence[str] = (),
    cache_gb: float = CACHE_GB,
    nets_gb: float = NETS_GB,
    tell: Tell | None = None,
    started: float | None = None,
) -> Run:
    """The finished run: searched, blended, honestly scored, its submission written, all within the budget.

    - `data` is a competition's folder, or a Task made in Python; `id_column`, `target` and `group` overrule what the
      folder says (see `read_task`).
    - `metric` is a name, a Metric, or `path/to/file.py:name`; without one the metric that fits the task is proposed.
    - `budget` is wall time in words (`4h`) or seconds, counted from `started` (`time.monotonic()`), by default from
      this call.
    - `out` is the run's folder. The same call again continues the run in it; a larger budget goes further.
    - `space` says what may vary, and `plan` which stages run, by name or as functions
      `(history, situation) -> iterator of lists of Config`; `recipe` names a file that sets both.
    - `weights` is a folder or file of pretrained weights, or an earlier run; without `pretrained` nets start from
      scratch.
    - `yes` continues where the reading rests on a guess of consequence, which is refused otherwise.
    - `decisions` is a decisions.csv that suspects.html saved: train rows to keep, drop or relabel.
    - `label_shift=False` ignores evidence that classes are more or less frequent in the test set than in train.
    - `cache_gb` is the disk for decoded pixels; pictures beyond it are stored as JPEGs or read from their files.
    - `nets_gb` is the disk for nets during the search; beyond it the weights of the worst trials outside the blend are
      deleted.
    - `track` names rows of TRACKERS, which record the trials in the run folder for those tools.
    - `tell` is called with every event; without one a notebook's cell shows the progress, and elsewhere nothing is
      printed.

    Raises Mistake for whatever the caller can mend, before anything is trained.
    """
    given = load_recipe(recipe, space=space, plan=plan, folds=folds, pretrained=pretrained)
    for chain in given.space.chains():
        chain_of(chain)  # raises Mistake for an unknown step, before anything is read
    clock = Clock(seconds_of(budget), start=started or time.monotonic())
    tell = tell or notebook_tell(clock.budget, lambda: clock.budget - clock.spent())
    scorer, task = metric_and_task(metric, data, tell, id_column, target, group)
    name = data.name if isinstance(data, Task) else Path(data).expanduser().resolve().name
    folder = Path(out) if out else Path("autoclimb-runs") / f"{name}-{scorer.name}"
    check_places(data, folder, weights, device)
    trackers = Trackers(folder, track, tell)
    before = store.read_run(folder)  # the record of earlier calls, {} without any
    verdicts, digest = read_verdicts(Path(decisions)) if decisions else ([], "")
    check_decisions(folder, before, digest)
    if before.get("finished") and not before.get("ended_early") and clock.budget <= before["budget"] * 1.001:
        tell(Event("note", f"this run was finished before; a budget over {in_words(before['budget'])} goes further"))
        trackers.update()
        trackers.end(SLACK.trackers_at_most)
        return open_run(folder, scorer)
    lock = lock_folder(store.open_folder(folder), "run")
    store.forget_unfinished(folder)
    store.forget_failures_of_device(folder)
    clock = replace(clock, start=clock.start - before.get("spent", 0.0))
    tell = store.recorded(folder, clock, trackers.tell)
    if spent := before.get("spent", 0.0):
        words = f"this run goes on: {in_words(spent)} of {in_words(clock.budget)} were spent before"
        tell(Event("note", words, {"spent_before": spent}))

    # imports while we read
    worker = Worker(command_of(device, hub=given.pretrained and not weights), folder / "worker.log")
    try:
        task = task or read_folder(Path(data), scorer, id_column, target, group)
        check_guesses(task, yes)
        folds = given.folds or folds_for(len(task.train_ids))
        task, dropped, verdict_words = apply_verdicts(task, verdicts)
        goal = Goal(scorer, task.kind, task.grades)
        fingerprint = {**fingerprint_of(task, scorer, seed, folds, given), "decisions": digest}
        check_fingerprint(folder, before.get("fingerprint") or {}, fingerprint)
        check_metric(goal, task.target)
        store.update_run(
            folder,
            clock,
            fingerprint=fingerprint,
            metric=describe_metric(scorer),
            command=command_line(sys.argv),
            finished=False,
            ended_early=False,
            words="not finished",
        )
        if not before:
            publish_constant(task, goal, folder)
        tell(Event("note", task_words(task), {"submission": str(folder / store.SUBMISSION) if task.test_ids else ""}))
        for note in [*notes_of(task), *([verdict_words] if verdicts else [])]:
            tell(Event("note", note))

        forget_unfinished_pixels(folder / "cache")
        files = (*task.train_files, *task.test_files)
        decoded = Decoded(folder / "cache", files, clock, tell, task.channels, cache_gb * 1e9)
        known = store.read_folds(folder)
        setup = Setup(task, goal, known, folder, worker, decoded, clock, tell, label_shift, nets_gb * 1e9)
        publish_unblended(setup)
        first = decoded.at(FIRST_SIZE, "squash")
        task = without_unreadable(task, first.bad, tell)
        task = joined_duplicates(task, first, tell)
        check_guesses(task, yes)
        deal = partial(make_folds, k=folds, seed=seed, bad=first.bad[: len(task.train_ids)] | dropped)
        task, fold_of = with_folds(folder, task, first, deal, tell)
        write_json(folder / store.TASK, describe_task(task, first.ranges))
        write_json(folder / store.TRAIN_IDS, task.train_ids)
        del first  # a file that is still mapped would not free its disk when it is deleted
        setup = replace(setup, task=task, fold_of=fold_of, decoded=replace(decoded, reserve=setup.reserve))
        greeting = introduce(worker, task, goal, fold_of, folder, device, given.space, clock)
        check_space(worker, given.space, clock)
        nets = find_nets(worker, weights, given.pretrained, greeting["device"], clock, tell)
        equipment = equipment_of(greeting, nets)
        for sentence in [*([greeting["note"]] if "note" in greeting else []), *equipment_changes(before, equipment)]:
            tell(Event("note", sentence))
        pipelines = given.space.pipelines()
        store.update_run(folder, clock, pipelines=pipelines, unreadable_test=task.unreadable_test, **equipment)
        tell(Event("note", f"training on {equipment['hardware']}"))
        setup = replace(setup, device=greeting["device"], hardware=hardware_words(greeting))

        import_ahead(clock.budget)
        measure_ahead(folder, task, clock.budget)
        if not before:
            publish_constant(task, goal, folder, setup.rows)
        memory_gb = greeting.get("memory_gb", math.inf)
        situation = situation_of(setup, seed, nets, given.space, memory_gb)
        plan_ended = follow_plan(setup, situation, plan_of(given.plan, folder))
        tell_error_of_speeds(setup, situation)
        return finish(setup, plan_ended)
    except OutOfTime:  # decoding is the first thing that takes time, so `setup` exists
        with room_on_disk(folder):
            tell_error_of_speeds(setup)
            return finish_without(folder, scorer, clock, tell)
    except (NoDevice, Died) as error:  # before any trial of this call: in a trial it is a status
        if any(trial.status == "done" for trial in store.all_trials(folder)):
            with room_on_disk(folder):
                tell_error_of_speeds(setup)
                return finish(setup, plan_ended=False, hindrance=str(error))
        if isinstance(error, NoDevice):
            raise
        raise Mistake(f"nothing can be trained here: {error} (run folder {folder})") from error
    except OSError as error:
        if no_room(error):
            raise Mistake(full_disk(folder, error)) from error
        raise
    finally:
        worker.end()
        trackers.end(clock.left())
        lock.close()


def metric_and_task(
    metric: str | Metric | None,
    data: str | Path | Task,
    tell: Tell,
    id_column: str | None,
    target: str | None,
    group: str | None,
) -> tuple[Metric, Task | None]:
    """The metric, and the task where it is known by now: made in Python, or read to propose a metric for it."""
    given_task = data if isinstance(data, Task) else None
    if metric is not None:
        return as_metric(metric), given_task
    if given_task is not None:
        task, (scorer, why) = given_task, proposed_metric(given_task)
    else:
        task, scorer, why = read_for_metric(data, None, id_column, target, group)  # type: ignore[arg-type]
    tell(Event("note", f"no --metric given: optimising {scorer.name} because {why}; --metric NAME overrules it"))
    return scorer, task
