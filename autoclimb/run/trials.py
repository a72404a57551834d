"""The trials of a run: requested from the worker, scored and recorded. All state is in the run directory."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.arrays import View, predicted_rows
from autoclimb.budget import SLACK, in_words, seconds_until_ended
from autoclimb.config import Config
from autoclimb.data.facts import plan_facts
from autoclimb.data.pixels import NoRoom, Pixels
from autoclimb.data.stored import Vanished
from autoclimb.errors import no_room
from autoclimb.processors import allowed_cores
from autoclimb.protocol import KeepFeatures, MeasureSpeed, RunTrial
from autoclimb.report.leaderboard import words_of
from autoclimb.report.words import give_or_take
from autoclimb.run import store
from autoclimb.run.decoded import OutOfTime
from autoclimb.run.setup import Setup
from autoclimb.run.worker import Died, Late
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score, paired_lift
from autoclimb.search.corrections import seconds_words, speed_words
from autoclimb.search.cost import at_own_size, look_of, looked_at, measured
from autoclimb.search.situation import FIRST_SIZE, Situation, Speed
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import SEARCHING
from autoclimb.search.starting import LARGEST_BATCH
from autoclimb.types import Event, History, Trial

LOSS_ROWS = 100_000  # whose losses the search compares, at most: one fold of these separates effects
LONG_PROBES_FROM = 1800.0  # seconds of budget from which a speed probe may take a card a quarter of a minute
LOOK, LOOK_SHARE = 0.8, 0.005  # seconds of a speed probe beside its warm-up, and its share of the budget, at most
PROBE_ATTEMPTS = 2  # at a net that ends its worker: the result stays for the run, and the net may not be to blame
FATAL_FAULTS = ("device", "loader")  # faults after which a worker process cannot be used again


def run_trial(setup: Setup, config: Config, stage: str, planned: float = 0.0) -> Trial:
    """The config's trial, trained by the worker, scored and recorded; errors in training are its status.

    Where the worker dies or is ended at its deadline, the folds that it had finished are the trial. `planned` seconds
    are recorded with it, 0 for none.
    """
    number = store.count_trials(setup.folder) + 1
    event_facts = {"trial": config.key, "number": number, "config": words_of(config), "stage": stage}
    setup.tell(Event("start", f"trial {number}: {event_facts['config']}", event_facts))
    start = setup.clock.spent()
    finished: dict[str, Any] = {}  # the number of folds done, and their facts
    try:
        request = trial_request(setup, config)  # decoding and measuring take time, so the deadline is set after them
        seconds = seconds_for(setup, config)
        watch = partial(watch_trial, setup, event_facts, finished)
        request = replace(request, seconds=seconds)
        reply = setup.worker.ask(request.to_json(), seconds, watch, SLACK.worker_silence)
    except Vanished as error:
        reply = failure(error, "pictures")
    except (NoRoom, OSError) as error:
        if not (isinstance(error, NoRoom) or no_room(error)):
            raise
        reply = failure(error, "disk")
    except MemoryError as error:  # of decoding
        reply = failure(error, "memory")
    except Late as error:
        reply = failure(error, "late", finished)
    except Died as error:
        reply = failure(error, error.fault, finished)
    fault = reply["facts"].get("fault", "")
    if fault in FATAL_FAULTS:
        setup.worker.end()  # the next request starts another
    if fault == "disk":
        store.make_room(setup.folder)
    if reply["status"] == "done" and reply["folds"] < len(config.folds):
        config, planned = store.cut_short(setup.folder, config, reply["folds"]), 0.0
    if planned:
        reply["facts"]["planned_s"] = round(planned, 2)
    if setup.hardware:
        reply["facts"]["hardware"] = setup.hardware
    try:
        trial = scored(setup, config, stage, reply, setup.clock.spent() - start)
    except MemoryError as error:
        trial = scored(setup, config, stage, failure(error, "memory"), setup.clock.spent() - start)
    store.retry_with_room(setup.folder, partial(store.save_trial, setup.folder, trial))
    store.update_run(setup.folder, setup.clock)
    announce(setup, trial, event_facts)
    return trial


def seconds_for(setup: Setup, config: Config) -> float:
    """Seconds after which a trial is ended, whatever it was planned to take."""
    seconds = seconds_until_ended(setup.clock, setup.reserve())
    if config.train == "features" and store.blend_score(setup.folder) is None:
        seconds = min(seconds, SLACK.first_features_share * setup.clock.left())
    return max(seconds, 0.1)


def trial_request(setup: Setup, config: Config) -> RunTrial:
    """The request for a trial, its seconds still open; raises NoRoom where the pixels do not fit on the disk."""
    speed = measure(setup, measured(config)) if config.train == "net" else Speed(0.0, 0.0)
    pixels = pixels_for(setup, config)
    return RunTrial(
        config,
        pixels=str(pixels.path),
        out=str(store.trial_folder(setup.folder, config)),
        nets=str(store.nets_folder(setup.folder, config)),
        precision="fp32" if speed.precision == "fp16" and has_diverged(setup, config) else speed.precision,
        channels_last=speed.channels_last,
        img_s=round(at_own_size(speed, config).train, 1),
        seconds=math.inf,
    )


def has_diverged(setup: Setup, config: Config) -> bool:
    """Whether a training of the config's net diverged in this run: in fp16 its numbers may have left the range."""
    failed = (trial for trial in store.all_trials(setup.folder) if trial.facts.get("fault") == "diverged")
    return any(trial.config.backbone == config.backbone for trial in failed)


def watch_trial(setup: Setup, event_facts: dict[str, Any], finished: dict[str, Any], event: dict[str, Any]) -> None:
    """Tells of a worker's event with `event_facts`; an event on finished folds updates `finished` instead."""
    if "folds_done" in event:
        finished.update(event)
    elif event.get("what") == "features":
        setup.tell(Event("progress", "", {"done": event["progress"], "total": 1.0}))
    else:
        fold, total, progress = event.get("fold", 1), event.get("folds", 1), event.get("progress", 0.0)
        facts = {**event_facts, "fold": fold, "folds": total, "share": (fold - 1 + progress) / total}
        if "epoch" in event and progress:  # the total is an estimate, since a schedule is fitted to seconds
            facts |= {"epoch": event["epoch"], "epochs": round(event["epoch"] / progress)}
        setup.tell(Event("epoch", "", facts))


def scored(setup: Setup, config: Config, stage: str, reply: dict[str, Any], seconds: float) -> Trial:
    """The trial of a worker's reply, with its cross-fitted score."""
    trial = Trial(
        config, stage, reply["status"], -np.inf, 0.0, round(seconds, 2), None, None, reply["note"], reply["facts"]
    )
    if trial.status != "done":
        return trial
    oof, test = store.predictions_of(setup.folder, config)
    result = cross_fitted_score(setup.train, oof)
    return replace(trial, score=result.score, stderr=result.stderr, oof=oof, test=test)


def announce(setup: Setup, trial: Trial, event_facts: dict[str, Any]) -> None:
    """Tells of the trial's end, its score and its gain over the blend so far."""
    facts = {**event_facts, "seconds": trial.seconds}
    if trial.status != "done":
        text = f"trial {facts['number']} {trial.status}: {trial.note}"
        setup.tell(Event("trial", text, {**facts, "status": trial.status}))
        return
    metric = setup.goal.metric
    value = metric.shown(trial.score)
    score = give_or_take(value, trial.stderr)
    text = f"trial {facts['number']}: {metric.name} {score} in {in_words(trial.seconds)}"
    facts |= {"score": value, "stderr": trial.stderr}
    best = store.blend_score(setup.folder)
    if best is not None:
        facts["gain"] = trial.score - best
    setup.tell(Event("trial", text, facts))


def failure(error: Exception, fault: str, finished: dict[str, Any] | None = None) -> dict[str, Any]:
    """A reply in place of a worker that ended with this error: "done" with the folds that it had finished, if any."""
    if finished:
        folds = finished["folds_done"]
        note = f"ended after {folds} folds: {error}"
        return {"status": "done", "note": note, "facts": {**finished["facts"], "fault": fault}, "folds": folds}
    status = "late" if fault == "late" else "failed"
    return {"status": status, "note": str(error), "facts": {"fault": fault}, "folds": 0}


def prepare(setup: Setup, config: Config) -> None:
    """Decodes the pixels of a config's trial and computes the features it stores, before its time is planned."""
    with suppress(NoRoom, OSError, MemoryError, Late, Died):  # the trial itself will fail for the same reason
        pixels = pixels_for(setup, config)
        if config.top and config.train == "net":
            seconds = seconds_for(setup, config)
            request = KeepFeatures(config, str(pixels.path), seconds).to_json()
            watch = partial(watch_trial, setup, {}, {})
            setup.worker.ask(request, seconds + SLACK.worker_start, watch, SLACK.worker_silence)


def is_decoded(setup: Setup, config: Config) -> bool:
    """Whether the pictures of the config's trial need no decoding any more."""
    return setup.decoded.decoded_already(config.cached_size, config.preprocess, config.grid) is not None


def pixels_for(setup: Setup, config: Config) -> Pixels:
    """The pixels for the config's trial, stored in the form that suits its net's speed."""
    rate = 0.0
    if config.train == "net":
        rate = at_own_size(measure(setup, measured(config)), config).train
    elif config.weights:
        rate = at_own_size(measure(setup, measured(config)), config).predict
    return setup.decoded.at(config.cached_size, config.preprocess, config.grid, rate)


def reading_seconds(setup: Setup, size: int, preprocess: str, grid: int) -> float:
    """Seconds that reading a picture adds to a net's work, measured once in a run and then read from disk."""
    make = partial(setup.decoded.reading_seconds, size, preprocess, grid)
    seconds: float = store.recall(setup.folder / store.SPEEDS, reading_key(setup, size, preprocess, grid), make)
    return seconds


def reading_key(setup: Setup, size: int, preprocess: str, grid: int) -> str:
    """The key in speeds.json of a measurement by `reading_seconds`."""
    return f"reading {size} {preprocess} {grid}{on(setup.hardware)}"


def speed_key(setup: Setup, config: Config) -> str:
    """The key in speeds.json of a measurement by `measure`."""
    return look_of(config) + on(setup.hardware)


def on(where: str) -> str:
    """The suffix of a key for a value that holds on some hardware only; "" where the hardware is unknown."""
    return f" on {where}" if where else ""


def measure(setup: Setup, config: Config) -> Speed:
    """Pictures a second of the config's net at its size, measured once on this hardware and then read from disk."""
    config = looked_at(config, setup.device)
    key = speed_key(setup, config)
    plain = config.vary(weights="", policy="none") if config.weights != "hub" else config.vary(weights="")

    look = min(LOOK, LOOK_SHARE * setup.clock.budget)

    def ask() -> dict[str, Any]:
        pixels = setup.decoded.at(FIRST_SIZE, "squash")  # enlarged for the probe, for which any pictures do
        leisure, largest = setup.clock.budget >= LONG_PROBES_FROM, LARGEST_BATCH if config.weights else 0
        request = MeasureSpeed(plain, str(pixels.path), look, leisure, largest).to_json()
        reply: dict[str, Any] = {}
        for _ in range(PROBE_ATTEMPTS):
            try:
                left = max(setup.clock.left() - setup.reserve(), 0.1)
                reply = setup.worker.ask(request, left, lambda event: None, SLACK.worker_silence)
            except Died as error:
                reply = {"train": 0.0, "predict": 0.0, "fault": error.fault}
                if error.fault == "hung":  # another attempt would cost five minutes of silence again
                    break
                continue
            except Late:
                raise OutOfTime from None
            if reply.get("fault") not in FATAL_FAULTS:
                break
            setup.worker.end()
        return {name: value for name, value in reply.items() if name != "note"}

    return Speed(**store.recall(setup.folder / store.SPEEDS, key, ask))


def with_known_speeds(setup: Setup, situation: Situation) -> Situation:
    """The situation with the recorded speeds, 0 for nets that were not measured; measures nothing."""
    speeds = store.recalled(setup.folder / store.SPEEDS)
    return replace(
        situation,
        measure=lambda config: Speed(
            **speeds.get(speed_key(setup, looked_at(config, setup.device)), {"train": 0.0, "predict": 0.0})
        ),
        reading=lambda *pictures: speeds.get(reading_key(setup, *pictures), 0.0),
    )


def tell_error_of_speeds(setup: Setup, situation: Situation | None = None) -> None:
    """Tells the error of the seconds that trials were planned to take, and of the speeds that were measured of nets."""
    history = History(store.all_trials(setup.folder))
    of_nets = speed_words(history, with_known_speeds(setup, situation)) if situation else ""
    for words in filter(None, (seconds_words(history), of_nets)):
        setup.tell(Event("note", words))


def remember(folder: Path, budget: float, device: str, name: str, make: Callable[[], Any]) -> Any:
    """A decision that depends on the clock: taken once, then read from disk, so that a replay takes it again.

    Decisions are stored by device, since a run may be continued on another one.
    """
    return store.recall(folder / store.DECISIONS, decision_key(budget, device, name), make)


def decision_key(budget: float, device: str, name: str) -> str:
    """The key in decisions.json of a decision."""
    return f"{name}@{budget:g}{on(device)}"


def searched_on_record(folder: Path, stage: str) -> list[Config] | None:
    """The configs of a searching stage's trials, oldest first; None for the stages that follow the search.

    A run that goes on on other hardware after its finalists were decided has nothing more to compare: at other speeds
    the search would ask for other trials, and take its share of the budget again.
    """
    if stage not in ("baseline", *SEARCHING):
        return None
    return [trial.config for trial in store.all_trials(folder) if trial.stage == stage]


def situation_of(
    setup: Setup,
    seed: int,
    pretrained: tuple[dict[str, Any], ...],
    space: SearchSpace,
    memory_gb: float = math.inf,
) -> Situation:
    """The facts the plan depends on, with this run's measurements and decisions behind them."""
    clock, device = setup.clock, setup.device
    remembered = partial(remember, setup.folder, clock.budget, device)
    moved = remembered("hardware", lambda: setup.hardware) != setup.hardware
    decided = decision_key(clock.budget, device, "finalists") in store.recalled(setup.folder / store.DECISIONS)
    return Situation(
        **plan_facts(setup.task, setup.goal.metric),
        rows=len(setup.rows),
        folds=int(setup.fold_of.max()) + 1,
        budget=clock.budget,
        device=device,
        seed=seed,
        pretrained=pretrained,
        space=space,
        measure=cache(partial(measure, setup)),
        reading=cache(partial(reading_seconds, setup)),
        left=lambda: max(0.0, clock.left() - setup.reserve()),
        remember=remembered,
        prepare=partial(prepare, setup),
        is_decoded=partial(is_decoded, setup),
        folds_done=partial(store.folds_done, setup.folder),
        row_losses=losses_of_trials(setup),
        lift=partial(lift_of_trial, setup),
        groups=None if setup.task.groups is None else setup.task.groups[rows_of_losses(setup)],
        pixel_bytes=setup.decoded.limit,
        memory_gb=remembered("memory", lambda: memory_gb),
        hardware=setup.hardware,
        replays=partial(searched_on_record, setup.folder) if moved and decided else lambda stage: None,
        cores=remembered("cores", allowed_cores),
    )


def lift_of_trial(setup: Setup, new: Trial, old: Trial) -> tuple[float, float] | None:
    """The gain in the metric of a trial over another, with its standard error; None where one has no predictions."""
    return None if new.oof is None or old.oof is None else paired_lift(setup.train, new.oof, old.oof)


def rows_of_losses(setup: Setup) -> np.ndarray:
    """The train rows that losses of trials are compared on, at most LOSS_ROWS."""
    return setup.rows[:: len(setup.rows) // LOSS_ROWS + 1]


def losses_of_trials(setup: Setup) -> Callable[[Trial], np.ndarray | None]:
    """A function that returns a trial's loss on train rows, NaN where it did not predict; None without predictions.

    The rows are the same for all trials. Losses are cached, as the search needs each many times.
    """
    rows = rows_of_losses(setup)
    losses_of: dict[str, np.ndarray] = {}

    def row_losses(trial: Trial) -> np.ndarray | None:
        if trial.oof is None:
            return None
        if trial.key not in losses_of:
            losses = np.full(len(rows), np.nan, np.float32)
            places = np.flatnonzero(predicted_rows(trial.oof)[rows])
            truth, predicted = (View(p, rows[places]) for p in (setup.task.truth, trial.oof))
            losses[places] = losses_by_row(setup.goal, truth, predicted)
            losses_of[trial.key] = losses
        return losses_of[trial.key]

    return row_losses
