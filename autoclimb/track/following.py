"""The process beside a run that writes to the trackers: `python -m autoclimb.track.following RUN NAME...`.

It reads the run folder at each line of its standard input, and once more when that ends. A tracker that fails is not
used again and is named on standard output; it cannot harm the run, which is another process.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autoclimb.disk import read_json, write_json
from autoclimb.run import store
from autoclimb.track.entries import About, BlendEntry, Session, entry_of, shown
from autoclimb.track.trackers import TRACKERS

RECORD = "tracked.json"  # in the run folder: the trials that each tracker has, and its own state
FILES = ("report.html", "model_card.md", store.SUBMISSION)  # are added to a record that takes files
TRIALS = "told"  # key in the record: keys of the trials that a tracker has; runs on disk have the word
BLEND = "blend"  # key in the record: the score of the last blend


def main(arguments: Sequence[str]) -> None:
    """Follows the run until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a tracker's own output goes to the log
    os.nice(10)  # the run beside it comes first
    sessions: dict[str, Session] = {}
    folder = Path(arguments[0])
    record = read_record(folder)

    def failed(name: str, error: BaseException) -> None:
        sessions.pop(name, None)
        out.write(json.dumps({"tracker": name, "error": f"{type(error).__name__}: {error}"[:300]}) + "\n")

    for name in arguments[1:]:
        try:
            sessions[name] = TRACKERS[name].open_session(about_run(folder, name, record))
        except BaseException as error:  # noqa: BLE001 - whatever a tracker raises, the others go on
            failed(name, error)
    for _ in _lines():
        for name, session in [*sessions.items()]:
            try:
                update_tracker(folder, name, session, record)
            except BaseException as error:  # noqa: BLE001
                failed(name, error)
    for name, session in [*sessions.items()]:
        try:
            session.end([folder / file for file in FILES if (folder / file).exists()])
        except BaseException as error:  # noqa: BLE001
            failed(name, error)


def _lines() -> Iterator[str]:
    """The lines of standard input, and an empty line at its end."""
    yield from sys.stdin
    yield ""


def read_record(folder: Path) -> dict[str, Any]:
    """The record of what each tracker has, by its name; empty at the first start."""
    path = folder / RECORD
    return read_json(path) if path.exists() else {}


def about_run(folder: Path, name: str, record: dict[str, Any]) -> About:
    """The run as a tracker shows it; the tracker's state in it is part of `record`, and changes with it."""
    values = store.read_run(folder)
    task_file = folder / store.TASK
    task = read_json(task_file)["name"] if task_file.exists() else folder.name
    options = {
        key: value for key, value in values.get("fingerprint", {}).items() if isinstance(value, str | int | float)
    }
    return About(
        folder=folder,
        name=task,
        run=folder.resolve().name,
        metric=values["metric"]["name"],
        greater_is_better=values["metric"]["greater_is_better"],
        settings={**options, "budget": values["budget"], "hardware": values.get("hardware", "unknown")},
        state=record.setdefault(name, {TRIALS: [], "state": {}})["state"],
    )


def update_tracker(folder: Path, name: str, session: Session, record: dict[str, Any]) -> None:
    """Gives a tracker the trials that it lacks and a blend whose score changed, and writes the record."""
    about, entries = about_run(folder, name, record), record[name]
    trials = store.all_trials(folder)
    for number, trial in enumerate(trials, 1):
        if trial.key not in entries[TRIALS]:
            session.log_trial(entry_of(trial, number, about))
            entries[TRIALS].append(trial.key)
            write_json(folder / RECORD, record)
    path = folder / store.BLEND
    blend = read_json(path) if path.exists() else None
    if blend and blend["score"] != entries.get(BLEND):
        metrics = {about.metric: shown(blend["score"], about), "stderr": blend["stderr"]}
        session.log_blend(BlendEntry(len(trials), metrics))
        entries[BLEND] = blend["score"]
    write_json(folder / RECORD, record)


if __name__ == "__main__":
    main(sys.argv[1:])
