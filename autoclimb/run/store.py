"""The run directory: the only state that outlives a process.

    run.json                fingerprint, metric, versions, the user's policies, budget spent, how the run ended
    events.jsonl            the events of the run, a line each, with the seconds of budget spent until then
    task.json               facts for predicting new pictures: kind, classes, the submission's form
    train_ids.json          ids of the train rows, in the order of the arrays
    fold_of.npy, and groups.npy, metadata.npy where train rows have them
    target.npy              the nets' target: class indices (N,), 0/1 rows, indices of labels (N, k), shares, numbers
    facts.json              measurements for the report: drift, looks and sizes of pictures
    speeds.json             measured pictures a second by hardware, so that a replay plans with the same numbers
    decisions.json          decisions that depended on the clock, by device, so that a replay takes them again
    dictionary-<way>.npz    patches for hand-made features, by how their pictures are preprocessed
    trials/<key>/           oof.npy (the predicted rows), oof_place.npy (each train row's index in it, or -1),
                            test.npy where it predicted the test rows, and last of all trial.json
    nets/<key>/             fold<k>.safetensors, fold<k>.npz (its predictions; fold<k>-held-out.npz without those of the
                            test rows), and last of all fold<k>.json; the key is the config's without its folds, so that
                            a trial over more folds continues from these
    blend.json, blend_oof.npy, blend_oof_place.npy, blend_test.npy
    submission.csv, and submission-train-shares.csv where it allows for other shares of the classes in the test rows
    report.html             the run as a page
    gallery/                maps.npz (evidence in pictures), sheet.jpg (augmented pictures), and last gallery.json
    model_card.md           the run as the Hugging Face hub shows a model
    tracked.json            what the trackers of --track have received; their records and track.log lie beside it
    export/                 files written by `autoclimb export`
    suspects.html, .csv     train rows with doubtful labels, written by `autoclimb suspects`
    study.journal           Optuna's own
    cache/                  pixels and features; may be deleted at any time
    worker.log              the standard error of the worker

Every file is written by disk.py, complete or not at all; a trial without its json never happened. No pickle.
"""

import json
import math
import os
import shutil
import traceback
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.arrays import OnDisk, Predictions, mapped, read_predictions, write_predictions
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.disk import append_json, read_json, read_lines, whole_file, write_array, write_json
from autoclimb.errors import Mistake, no_room, writing_to
from autoclimb.types import Blend, Event, Tell, Trial

DEVICE = "device"  # a fault of the card: it is gone, or cannot compute any more
FORMAT = 3  # raised when older run directories cannot be continued
# files that several modules read or write
TASK, TRAIN_IDS, BLEND, SUBMISSION = "task.json", "train_ids.json", "blend.json", "submission.csv"
FACTS, SPEEDS, DECISIONS = "facts.json", "speeds.json", "decisions.json"


def open_folder(folder: Path) -> Path:
    """The run folder, created if need be; raises Mistake where it cannot be written or holds something else."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise Mistake(f"--out {folder} is a file; name a folder for the run")
    with writing_to(folder, "folder"):
        if os.path.isdir(folder) and not (folder / "run.json").exists() and not _only_ours(folder):
            raise Mistake(f"--out {folder} holds other things than a run; name a new or empty folder")
        for inner in ("trials", "cache"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "cache" / "can-write") as part:
            part.write_text("yes")
        (folder / "cache" / "can-write").unlink()
    return folder


def _only_ours(folder: Path) -> bool:
    """Whether the folder holds nothing but files that a run killed in its first moments leaves."""
    return all(
        p.name in ("trials", "cache", "worker.log", "lock") or p.name.startswith(".part-") for p in folder.iterdir()
    )


def read_run(folder: Path) -> dict[str, Any]:
    """The values of `run.json`, {} where there is none; raises Mistake where it is damaged or of another version."""
    path = folder / "run.json"
    if not os.path.exists(path):  # Path.exists() would raise for a name that is too long
        return {}
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}); delete that run folder or name another with --out") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise Mistake(f"{folder} was written by another version of autoclimb; name another folder with --out")
    return values


def update_run(folder: Path, clock: Clock, **values: Any) -> None:
    """Updates `run.json` by these values and the budget spent, which a killed run must know when it is continued."""
    spent = {"format": FORMAT, "budget": clock.budget, "spent": round(clock.spent(), 2)}
    contents = {**read_run(folder), **values, **spent}
    retry_with_room(folder, lambda: write_json(folder / "run.json", contents))


def recorded(folder: Path, clock: Clock, tell: Tell) -> Tell:
    """A function that appends events to the journal, except passing ones, and passes every event on to `tell`."""

    def record_and_tell(event: Event) -> None:
        if not event.passing:
            line = {"spent": round(clock.spent(), 2), "name": event.name, "text": event.text, "facts": event.facts}
            try:
                append_json(folder / "events.jsonl", line)
            except OSError as error:  # a line lost to a full disk does not end the run
                if not no_room(error):
                    raise
        tell(event)

    return record_and_tell


def failure_note(text: str, error: BaseException) -> Event:
    """The note of an error that does not end the run; its traceback is in the journal, so that a bug can be found."""
    return Event("note", text, {"traceback": "".join(traceback.format_exception(error))})


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The recorded events, dicts of spent (seconds), name, text and facts, in order."""
    return [line for line in read_lines(folder / "events.jsonl") if isinstance(line, dict)]


def read_folds(folder: Path) -> np.ndarray:
    """The recorded fold `(N,)` of each train row, empty where the run has none yet."""
    path = folder / "fold_of.npy"
    return np.load(path, allow_pickle=False) if path.exists() else np.zeros(0, np.int64)


def read_groups(folder: Path) -> np.ndarray | None:
    """The recorded group `(N,)` of each train row; None where rows have none."""
    path = folder / "groups.npy"
    return np.load(path, allow_pickle=False) if path.exists() else None


def recall(path: Path, key: str, make: Callable[[], Any]) -> Any:
    """The value under a key of a json file of a run's folder; made and written where it is missing, for a replay."""
    values = recalled(path)
    if key not in values:
        value = make()
        values = recalled(path)  # read again, since another thread may have written while it was made
        values[key] = value
        retry_with_room(path.parent, partial(write_json, path, values))
    return values[key]


def recalled(path: Path) -> dict[str, Any]:
    """All values that `recall` has written to a json file, by key."""
    return dict(read_json(path)) if path.exists() else {}


def trial_folder(folder: Path, config: Config) -> Path:
    """The folder of a config's trial."""
    return folder / "trials" / config.key


def nets_folder(folder: Path, config: Config) -> Path:
    """The folder of a config's nets, the same for trials over other folds."""
    return folder / "nets" / config.nets_key


def folds_done(folder: Path, config: Config) -> int:
    """The number of the config's folds that are trained, and have predicted all that the config asks for."""
    place = nets_folder(folder, config)
    trained = [fold for fold in config.folds if (place / f"fold{fold}.json").exists()]
    return sum((place / f"fold{fold}.npz").exists() for fold in trained) if config.predict_test else len(trained)


def save_trial(folder: Path, trial: Trial) -> None:
    """Records a trial, whose arrays and weights are in its folder already, by writing its json."""
    place = trial_folder(folder, trial.config)
    place.mkdir(parents=True, exist_ok=True)
    write_json(
        place / "trial.json",
        {
            "config": trial.config.to_json(),
            "stage": trial.stage,
            "status": trial.status,
            "score": trial.score,
            "stderr": trial.stderr,
            "seconds": trial.seconds,
            "note": trial.note,
            "facts": trial.facts,
        },
    )


def recall_trial(folder: Path, config: Config) -> Trial | None:
    """The trial of this config, None where it is not on disk or incomplete."""
    return _read_trial(trial_folder(folder, config))


def all_trials(folder: Path) -> list[Trial]:
    """Every complete trial on disk, oldest first; its arrays are read by row when they are used."""
    places = sorted(folder.glob("trials/*/trial.json"), key=lambda p: p.stat().st_mtime_ns)
    trials = (_read_trial(place.parent) for place in places)
    return [trial for trial in trials if trial is not None]


def count_trials(folder: Path) -> int:
    """The number of recorded trials, whatever their status."""
    return sum(1 for _ in folder.glob("trials/*/trial.json"))


def predictions_of(folder: Path, config: Config) -> tuple[Predictions, OnDisk | None]:
    """A trial's `oof` `(N, C)` and `test` `(M, C)`, None if not predicted, read by row when they are used."""
    return _predictions_in(trial_folder(folder, config), config)


def _predictions_in(place: Path, config: Config) -> tuple[Predictions, OnDisk | None]:
    return read_predictions(place / "oof"), OnDisk.of(place / "test.npy") if config.predict_test else None


def _read_trial(place: Path) -> Trial | None:
    path = place / "trial.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        values["config"] = Config.from_json(values["config"])
        if values["status"] != "done":
            return Trial(**values)
        oof, test = _predictions_in(place, values["config"])
        return Trial(**values, oof=oof, test=test)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError):  # damaged from outside: run again
        return None


def save_blend(folder: Path, blend: Blend, rule: dict[str, Any]) -> None:
    """Records the blend and its decision rule (as json)."""
    write_predictions(folder / "blend_oof", blend.oof)
    write_array(folder / "blend_test.npy", blend.test)
    write_json(
        folder / BLEND,
        {
            "method": blend.method,
            "members": blend.members,
            "weights": blend.weights,
            "score": blend.score,
            "stderr": blend.stderr,
            "interval": blend.interval,
            "rows": blend.rows,
            "tried": blend.tried,
            "stacker": blend.stacker,
            "rule": rule,
        },
    )


def read_blend(folder: Path) -> tuple[Blend, dict[str, Any]] | None:
    """The blend on disk, its arrays mapped, and its decision rule; None where there is none yet."""
    path = folder / BLEND
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    rule = values.pop("rule")
    arrays: dict[str, Any] = {"oof": read_predictions(folder / "blend_oof", mapped)}
    arrays["test"] = mapped(folder / "blend_test.npy")
    for name in ("members", "weights", "interval"):
        values[name] = tuple(values[name])
    return Blend(**values, **arrays), rule


def blend_score(folder: Path) -> float | None:
    """The score of the blend on disk, None where there is none yet."""
    path = folder / BLEND
    return read_json(path)["score"] if path.exists() else None


def blend_members(folder: Path) -> list[str]:
    """The keys of the members of the blend on disk, [] where there is none yet."""
    path = folder / BLEND
    return list(read_json(path)["members"]) if path.exists() else []


def cut_short(folder: Path, config: Config, folds: int) -> Config:
    """The config over its first `folds` folds only, after renaming the longer trial's folder to its own."""
    shorter = config.vary(folds=config.folds[:folds])
    place, to = trial_folder(folder, config), trial_folder(folder, shorter)
    if to != place:
        if to.exists():
            shutil.rmtree(to)
        place.rename(to)
    return shorter


def forget_weights(folder: Path, keep: set[str]) -> None:
    """Deletes the nets' weights of every trial but those whose keys are in `keep`; trials' predictions stay."""
    needed = {nets_folder(folder, trial.config).name for trial in all_trials(folder) if trial.key in keep}
    for place in folder.glob("nets/*"):
        if place.name not in needed:
            _forget_weights_in(place)


def _forget_weights_in(place: Path) -> None:
    """Deletes the weights in a folder of nets.

    The fold of one that had the test rows left to predict is not done without them: its record goes first.
    """
    for file in place.glob("*.safetensors"):
        if not file.with_suffix(".npz").exists():
            file.with_suffix(".json").unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def limit_weights(folder: Path, keep: set[str], limit: float) -> int:
    """Deletes the worst trials' weights until the nets on disk take at most `limit` bytes; the bytes they take then.

    The weights of the trials whose keys are in `keep` stay, and so do all trials' predictions.
    """
    size_of = {place: sum(f.stat().st_size for f in place.glob("*.safetensors")) for place in folder.glob("nets/*")}
    total = sum(size_of.values())
    if total <= limit:
        return total
    best: dict[str, float] = {}  # score of the trials that share a folder of nets; failed trials have none
    needed = set()
    for trial in all_trials(folder):
        name = nets_folder(folder, trial.config).name
        best[name] = max(best.get(name, -math.inf), trial.score)
        if trial.key in keep:
            needed.add(name)
    for place in sorted(size_of, key=lambda place: best.get(place.name, -math.inf)):
        if total <= limit:
            break
        if place.name not in needed:
            total -= size_of[place]
            _forget_weights_in(place)
    return total


def make_room(folder: Path, keep: Collection[str] = ()) -> None:
    """Deletes stored features, and the nets' weights of every trial outside the blend on disk and outside `keep`."""
    for file in (*folder.glob("cache/trunk-*.npy"), *folder.glob("cache/features-*.npy")):
        file.unlink(missing_ok=True)  # who reads them reads on, and they can be computed again
    blend = read_blend(folder)
    limit_weights(folder, {*keep, *(blend[0].members if blend else ())}, 0.0)


def retry_with_room(folder: Path, write: Callable[[], None], keep: Collection[str] = ()) -> None:
    """Calls `write`, and once more after `make_room` where the disk is full; raises OSError where it stays full."""
    try:
        write()
    except OSError as error:
        if not no_room(error):
            raise
        make_room(folder, keep)
        write()


def has_weights(folder: Path, config: Config) -> bool:
    """Whether the nets of all the config's folds are on disk."""
    return all((nets_folder(folder, config) / f"fold{fold}.safetensors").exists() for fold in config.folds)


def forget_unfinished(folder: Path) -> None:
    """Deletes the folders of trials that have no json, which never happened."""
    for place in (folder / "trials").iterdir():
        if place.is_dir() and not (place / "trial.json").exists():
            shutil.rmtree(place)


def forget_failures_of_device(folder: Path) -> None:
    """Deletes trials and speeds that failed because of the device, which may work again when a run is continued."""
    for trial in all_trials(folder):
        if trial.status == "failed" and trial.facts.get("fault") == DEVICE:
            shutil.rmtree(trial_folder(folder, trial.config))
    path = folder / SPEEDS
    speeds = recalled(path)
    valid = {key: value for key, value in speeds.items() if not isinstance(value, dict) or value.get("fault") != DEVICE}
    if len(valid) < len(speeds):
        write_json(path, valid)


def has_unblended(folder: Path) -> bool:
    """Whether a trial was finished after the blend on disk, since the process ended between the two."""
    blend = folder / BLEND
    done = [trial_folder(folder, t.config) / "trial.json" for t in all_trials(folder) if t.test is not None]
    return bool(done) and (not blend.exists() or done[-1].stat().st_mtime_ns > blend.stat().st_mtime_ns)
