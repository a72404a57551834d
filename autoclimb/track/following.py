"""The process beside a run that tells the trackers: `python -m autoclimb.track.following RUN NAME...`.

It reads the run folder at each line of its standard input, and once more when that ends. A tracker that fails is left
alone from then on and named on standard output; it can cost the run nothing, for it is another process.
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

RECORD = "tracked.json"  # of the run folder: what each tracker has been told, and its own state
KEPT = ("report.html", "model_card.md", "submission.csv")  # what is put beside a record that takes files
BLEND = "blend"  # what the record knows the last blend by


def main(arguments: Sequence[str]) -> None:
    """Follows the run until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a tracker prints goes to the log
    os.nice(10)  # the run beside it comes first
    sessions: dict[str, Session] = {}
    folder = Path(arguments[0])
    record = read_record(folder)

    def failed(name: str, error: BaseException) -> None:
        sessions.pop(name, None)
        out.write(json.dumps({"tracker": name, "error": f"{type(error).__name__}: {error}"[:300]}) + "\n")

    for name in arguments[1:]:
        try:
            sessions[name] = TRACKERS[name].opened(about_run(folder, name, record))
        except BaseException as error:  # noqa: BLE001 - whatever a tracker raises, the others go on
            failed(name, error)
    for _ in _lines():
        for name, session in [*sessions.items()]:
            try:
                tell_news(folder, name, session, record)
            except BaseException as error:  # noqa: BLE001
                failed(name, error)
    for name, session in [*sessions.items()]:
        try:
            session.end([folder / file for file in KEPT if (folder / file).exists()])
        except BaseException as error:  # noqa: BLE001
            failed(name, error)


def _lines() -> Iterator[str]:
    """The lines of standard input, and an empty one at its end."""
    yield from sys.stdin
    yield ""


def read_record(folder: Path) -> dict[str, Any]:
    """The entries that each tracker has got so far, by its name."""
    path = folder / RECORD
    return read_json(path) if path.exists() else {}


def about_run(folder: Path, name: str, record: dict[str, Any]) -> About:
    """The run as a tracker introduces it; its state is part of the record."""
    values = store.read_run(folder)
    task_file = folder / "task.json"
    task = read_json(task_file)["name"] if task_file.exists() else folder.name
    chosen = {
        key: value for key, value in values.get("fingerprint", {}).items() if isinstance(value, str | int | float)
    }
    settings = {**chosen, "budget": values["budget"], "hardware": values.get("hardware", "unknown")}
    metric = values["metric"]
    known = record.setdefault(name, {"told": [], "state": {}})
    better = metric["greater_is_better"]
    return About(folder, task, folder.resolve().name, metric["name"], better, settings, known["state"])


def tell_news(folder: Path, name: str, session: Session, record: dict[str, Any]) -> None:
    """Tells a tracker of the trials that it does not know yet and of a blend of another score, and notes it."""
    about, known = about_run(folder, name, record), record[name]
    trials = store.all_trials(folder)
    for number, trial in enumerate(trials, 1):
        if trial.key not in known["told"]:
            session.log_trial(entry_of(trial, number, about))
            known["told"].append(trial.key)
            write_json(folder / RECORD, record)
    path = folder / "blend.json"
    blend = read_json(path) if path.exists() else None
    if blend and blend["score"] != known.get(BLEND):
        metrics = {about.metric: shown(blend["score"], about), "stderr": blend["stderr"]}
        session.log_blend(BlendEntry(len(trials), metrics))
        known[BLEND] = blend["score"]
    write_json(folder / RECORD, record)


if __name__ == "__main__":
    main(sys.argv[1:])
