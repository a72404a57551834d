"""Trackers: what a run tells them is what their own readers find, and none of them can cost a run anything."""

import errno
import json
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_folders import run_folder

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.run import store
from autoclimb.track import beside
from autoclimb.track.beside import Trackers
from autoclimb.track.entries import About, entry_of
from autoclimb.track.following import RECORD
from autoclimb.track.trackers import TRACKERS, check_trackers
from autoclimb.types import Event, Trial

Scores = dict[str, float]  # name of a trial, or "blend", -> its accuracy


def follow(folder: Path, *names: str, code: str = "") -> list[dict]:
    """The failures that a follower of this run told of, after one look at its folder."""
    command = [sys.executable, "-c", code] if code else beside.FOLLOWER
    done = subprocess.run([*command, str(folder), *names], input="", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- what each tracker's own reader finds ----------------------------------------------------------------------------


def in_tensorboard(folder: Path) -> Scores:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    runs = EventMultiplexer().AddRunsFromDirectory(str(folder / "tensorboard")).Reload()
    for name in runs.Runs():
        plugins = runs.GetAccumulator(name).summary_metadata
        assert name == "blend" or any(m.plugin_data.plugin_name == "hparams" for m in plugins.values())
    return {name: runs.Scalars(name, "accuracy")[-1].value for name in runs.Runs()}


def in_mlflow(folder: Path) -> Scores:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pets")
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    assert all(run.data.params["backbone"] == "resnet18" for run in children)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"submission.csv"}
    scores = {run.info.run_name: run.data.metrics["accuracy"] for run in children}
    return {**scores, "blend": parent.data.metrics["accuracy"]}


def records_of(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: after 7 bytes LevelDB's log, blocks of 32 KB whose pieces have a header of 7."""
    data, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def in_wandb(folder: Path) -> Scores:
    from wandb.proto import wandb_internal_pb2

    scores = {}
    for file in (folder / "wandb").glob("offline-run-*/run-*.wandb"):
        for data in records_of(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if "trial/accuracy" in values:
                scores[f"trial-{int(values['trial']):03d}"] = float(values["trial/accuracy"])
            if "blend/accuracy" in values:
                scores["blend"] = float(values["blend/accuracy"])
    return scores


def in_trackio(folder: Path) -> Scores:
    with sqlite3.connect(folder / "trackio" / "pets.db") as database:
        rows = database.execute("select run_name, metrics from metrics order by id").fetchall()
    return {name: json.loads(metrics)["accuracy"] for name, metrics in rows}


READERS: dict[str, Callable[[Path], Scores]] = {
    "tensorboard": in_tensorboard,
    "mlflow": in_mlflow,
    "wandb": in_wandb,
    "trackio": in_trackio,
}


# MLflow makes 40 tables and takes half a minute of a busy core for it
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "mlflow" else n for n in TRACKERS])
def test_a_trackers_own_reader_finds_every_trial_once_and_the_blend(name, tmp_path):
    pytest.importorskip(TRACKERS[name].module)
    folder = run_folder(tmp_path / "run")
    assert follow(folder, name) == []
    assert follow(folder, name) == []  # a run that is continued
    trials, (blend, _) = store.all_trials(folder), store.read_blend(folder)
    expected = {f"trial-{number:03d}": trial.score for number, trial in enumerate(trials, 1)} | {"blend": blend.score}
    assert READERS[name](folder) == pytest.approx(expected, abs=1e-6)
    assert json.loads((folder / RECORD).read_text())[name]["told"] == [trial.key for trial in trials]


# --- the process beside a run ----------------------------------------------------------------------------------------

ONE_BREAKS = """
import sys
from pathlib import Path
from autoclimb.track import following, trackers
from autoclimb.track.trackers import Tracker

class Writes:
    def __init__(self, about): self.lines = about.folder / "lines.txt"
    def log_trial(self, entry): self.lines.open("a").write(entry.name + "\\n")
    def log_blend(self, entry): self.lines.open("a").write("blend\\n")
    def end(self, files): self.lines.open("a").write("end\\n")

class Breaks(Writes):
    def log_trial(self, entry):
        print("chatter of a library")
        raise SystemExit("no licence")

trackers.TRACKERS |= {"breaks": Tracker(Breaks, "os", "", ""), "writes": Tracker(Writes, "os", "", "")}
following.main(sys.argv[1:])
"""


def test_a_tracker_that_fails_is_named_and_the_others_go_on(tmp_path):
    folder = run_folder(tmp_path / "run")
    failures = follow(folder, "breaks", "writes", code=ONE_BREAKS)
    assert failures == [{"tracker": "breaks", "error": "SystemExit: no licence"}]
    assert (folder / "lines.txt").read_text().split() == ["trial-001", "trial-002", "trial-003", "blend", "end"]


def test_no_name_starts_no_process(tmp_path):
    notes: list[Event] = []
    trackers = Trackers(tmp_path, (), notes.append)
    trackers.tell(Event("trial", "a"))
    trackers.end(9.0)
    assert trackers.process is None
    assert [event.text for event in notes] == ["a"]


def test_events_pass_on_and_the_end_says_how_to_look(tmp_path):
    pytest.importorskip("tensorboard")
    folder = run_folder(tmp_path / "run")
    notes: list[Event] = []
    trackers = Trackers(folder, ("tensorboard", "tensorboard"), notes.append)
    for name in ("note", "trial", "blend", "done"):
        trackers.tell(Event(name, name))
    trackers.end(30.0)
    assert [event.text for event in notes[:4]] == ["note", "trial", "blend", "done"]
    assert [event.text for event in notes[4:]] == [f"tracked: tensorboard --logdir {folder}/tensorboard"]


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import time; time.sleep(600)", "no time was left for tensorboard"),
        ("import sys; sys.exit(3)", "tracking ended with status 3"),
    ],
)
def test_a_process_that_hangs_or_dies_is_a_note(code, note, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(beside, "FOLLOWER", [sys.executable, "-c", code])
    notes: list[Event] = []
    trackers = Trackers(tmp_path, ("tensorboard",), notes.append)
    trackers.tell(Event("trial", ""))
    if "exit" in code:
        trackers.process.wait()
    trackers.tell(Event("trial", ""))
    trackers.end(0.0 if "sleep" in code else 30.0)
    assert note in notes[-1].text
    assert trackers.process.poll() is not None


def test_a_process_that_cannot_be_started_is_a_note(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def no_memory(*given, **how):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(beside.subprocess, "Popen", no_memory)
    notes: list[Event] = []
    trackers = Trackers(tmp_path, ("tensorboard",), notes.append)
    for _ in range(2):
        trackers.tell(Event("trial", ""))
    trackers.end(9.0)
    assert [event.text for event in notes if event.name == "note"] == [
        "tensorboard cannot follow the run (Cannot allocate memory); the same command completes the record"
    ]


def test_a_name_that_is_unknown_or_not_installed_is_said_before_anything_is_done(monkeypatch):
    with pytest.raises(Mistake, match="choose from tensorboard, mlflow, wandb, trackio"):
        check_trackers(["neptune"])
    monkeypatch.setattr("autoclimb.track.trackers.find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"pip install 'autoclimb\[mlflow\]'"):
        check_trackers(["mlflow"])


def test_an_entry_has_the_metrics_own_value_and_plain_parameters(tmp_path):
    about = About(tmp_path, "pets", "run", "mae", False, {}, {})
    config = Config(sizes=(32, 48), folds=(0, 1))
    entry = entry_of(Trial(config, "nets", "done", -2.5, 0.1, 9.0, facts={"epochs": 3, "tta": "flip"}), 7, about)
    assert entry.name == "trial-007"
    assert entry.metrics == {"seconds": 9.0, "mae": 2.5, "stderr": 0.1, "epochs": 3.0}
    assert entry.parameters["sizes"] == "(32, 48)"
    failed = entry_of(Trial(config, "nets", "failed", float("-inf"), 0.0, 9.0, note="no memory"), 8, about)
    assert "mae" not in failed.metrics
    assert (failed.status, failed.note) == ("failed", "no memory")
