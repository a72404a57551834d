"""A run directory -> what its page is made from, and the page itself, within the time that the budget leaves for it."""

import csv
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autoclimb.budget import SLACK, Clock, in_words, seconds_for_report
from autoclimb.data.drift import drift_of
from autoclimb.data.pixels import pixels_in
from autoclimb.data.stored import PictureRows, open_rows
from autoclimb.disk import read_json, whole_file
from autoclimb.errors import Mistake
from autoclimb.report.charts import import_library
from autoclimb.report.cleaner import suspects_in, suspects_page, suspects_table
from autoclimb.report.page import report_page
from autoclimb.report.record import RunRecord
from autoclimb.run import store
from autoclimb.run.deadlines import outcome_within
from autoclimb.seeds import rng
from autoclimb.types import Blend, Event, Goal, Metric, Rule, Tell

MOST_LOOKED_AT = 600  # train pictures, and test pictures, that drift is measured on: its area is known to .02
LARGEST_SIDE = 160  # pixels of decoded pictures that thumbnails are made from


class Recorded(Protocol):
    """What a page reads of a run: `result.Run` has it."""

    @property
    def blend(self) -> Blend | None: ...
    @property
    def finished(self) -> bool: ...
    @property
    def folder(self) -> Path: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def rule(self) -> dict[str, Any]: ...
    @property
    def spent(self) -> float: ...
    @property
    def submission(self) -> Path: ...
    @property
    def task(self) -> dict[str, Any]: ...
    @property
    def words(self) -> str: ...


def has_record(folder: Path) -> bool:
    """Whether the run came as far as its folds, without which there is nothing to show."""
    return all((folder / name).exists() for name in ("task.json", "target.npy", "fold_of.npy"))


def record_of(run: Recorded, drift: bool = False) -> RunRecord:
    """The run as a page needs it, with its `drift` measured if asked for.

    Raises Mistake where it stopped before its folds were made.
    """
    folder = run.folder
    if not has_record(folder):
        raise Mistake(f"{folder} stopped before its data were read; give fit the same command to continue it")
    target = np.load(folder / "target.npy", mmap_mode="r", allow_pickle=False)
    ids_file, groups_file = folder / "train_ids.json", folder / "groups.npy"
    groups = np.load(groups_file, allow_pickle=False) if groups_file.exists() else None
    values = store.read_run(folder)
    form = run.task["form"]
    answered = len(set(form["ids"]))
    fingerprint = values.get("fingerprint", {})
    return RunRecord(
        name=run.task["name"],
        goal=Goal(run.metric, run.task["kind"], tuple(run.task["grades"])),
        finished=run.finished,
        words=run.words,
        budget=values["budget"],
        spent=run.spent,
        classes=tuple(run.task["classes"]),
        trials=tuple(store.all_trials(folder)),
        target=target,
        fold_of=np.load(folder / "fold_of.npy", allow_pickle=False),
        ids=tuple(read_json(ids_file)) if ids_file.exists() else (),
        groups=groups,
        slices=slices_in(folder, run.task, groups),
        drift=measured_drift(folder, len(target), answered, groups) if drift else {},
        blend=run.blend,
        rule=Rule.from_json(run.rule) if run.rule else None,
        events=store.read_events(folder),
        settings={
            "metric": run.metric.name,
            "budget": in_words(values["budget"]),
            "seed": fingerprint.get("seed", ""),
            "folds": fingerprint.get("folds", ""),
            "pretrained": "allowed" if fingerprint.get("pretrained", True) else "no",
            "groups": "rows of a group share a fold" if fingerprint.get("groups") else "none",
            "hardware": values.get("hardware", "unknown"),
        },
        versions=values.get("versions", {}),
        pictures=decoded_pictures(folder, len(target), answered),
        submission=run.submission.name if run.submission.exists() else "",
        answered=len(form["ids"]) if run.submission.exists() else 0,
    )


def slices_in(folder: Path, task: dict[str, Any], groups: np.ndarray | None) -> dict[str, tuple[str, ...]]:
    """What train rows can be told apart by: their group, and each column beside the pictures, numbers by quarters."""
    slices = {} if groups is None else {"group": tuple(f"group {number}" for number in groups.tolist())}
    if not (folder / "metadata.npy").exists():
        return slices
    table = np.load(folder / "metadata.npy", allow_pickle=False)
    for name, words, values in zip(task["metadata"], task["categories"], table.T, strict=True):
        known = np.isfinite(values)
        if words:
            slices[name] = tuple(words[int(v)] if k else "blank" for v, k in zip(values, known, strict=True))
        elif known.any():
            edges = np.quantile(values[known], (0.25, 0.5, 0.75))
            quarter = np.searchsorted(edges, values)
            low, high = (np.array([*ends]) for ends in ((-np.inf, *edges), (*edges, np.inf)))
            named = [f"over {a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True)]
            slices[name] = tuple(named[q] if k else "blank" for q, k in zip(quarter, known, strict=True))
    return slices


def measured_drift(folder: Path, rows: int, answered: int, groups: np.ndarray | None) -> dict[str, Any]:
    """How well test pictures are told from train pictures, measured once on the decoded ones; {} where it cannot be."""

    def measure() -> dict[str, Any]:
        fitting = fitting_arrays(folder, rows, answered)
        if not fitting or not answered:
            return {}
        _, path, bad = min(fitting)
        draw, good = rng(0, "drift"), np.ones(rows + answered, bool)
        good[bad] = False
        parts = [np.flatnonzero(good[:rows]), rows + np.flatnonzero(good[rows:])]
        some = np.sort(np.concatenate([draw.choice(p, min(len(p), MOST_LOOKED_AT), replace=False) for p in parts]))
        alone = np.arange(rows + answered)
        if groups is not None:
            alone[:rows] = rows + answered + groups
        pictures = open_rows(path)[some]
        return drift_of(pictures, {}, some >= rows, alone[some])

    return store.recall(folder / "facts.json", "drift", measure)


def decoded_pictures(folder: Path, rows: int, answered: int) -> PictureRows | None:
    """The largest decoded pictures in the cache, train rows first, to make thumbnails of; None where it is empty.

    Squashed ones, as they show the whole picture.
    """
    fitting = fitting_arrays(folder, rows, answered)
    return open_rows(max(fitting)[1]) if fitting else None


def fitting_arrays(folder: Path, rows: int, answered: int) -> list[tuple[int, Path, list[int]]]:
    """(side, path, unreadable rows) of the decoded pictures in the cache that are those of this run."""
    fitting = []
    for path in pixels_in(folder / "cache"):
        facts = read_json(path.with_suffix(".json"))
        whole = path.name.startswith("squash-") and path.suffix != ".sources"
        if whole and facts["rows"] == rows + answered and facts["size"] <= LARGEST_SIDE:
            fitting.append((facts["size"], path, facts["bad"]))
    return fitting


def write_report(run: Recorded, drawn: bool = True, left: Callable[[], float] | None = None) -> Path:
    """The path of `report.html`, written now. `left()` are the seconds left for it, a minute by default."""
    start = time.monotonic()
    left = left or (lambda: 60.0 - (time.monotonic() - start))
    page = report_page(record_of(run, drift=drawn and left() > SLACK.report_drift), drawn, left)
    path = run.folder / "report.html"
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return path


def write_suspects(run: Recorded) -> tuple[Path, int]:
    """The path of `suspects.html`, and how many suspects there are; `suspects.csv` lists the same beside it.

    Raises Mistake where nothing is blended yet.
    """
    record = record_of(run)
    if record.blend is None:
        raise Mistake(f"{run.folder} has no finished trial yet; run fit with a larger budget")
    suspects = suspects_in(record)
    with whole_file(run.folder / "suspects.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(suspects_table(record, suspects))
    path = run.folder / "suspects.html"
    with whole_file(path) as part:
        part.write_text(suspects_page(record, suspects), encoding="utf-8", errors="replace")
    return path, len(suspects)


def import_ahead(budget: float) -> None:
    """Imports what a page needs while the first trial trains, where the end of a run has no second left for that."""
    if seconds_for_report(budget) < SLACK.report_import_ahead:
        threading.Thread(target=import_library, daemon=True).start()


def report_in_time(run: Recorded, clock: Clock, tell: Tell) -> None:
    """Writes the run's report within its share of the budget: with tables first, then with charts if there is time.

    It never costs the run: whatever goes wrong here, a bug too, is a note, since the submission is written.
    """
    start = clock.spent()
    most = min(seconds_for_report(clock.budget), clock.left())

    def left() -> float:
        return most - (clock.spent() - start)

    path, error = outcome_within(left(), lambda: write_report(run, False, left))
    if path is not None and left() > SLACK.report_drawing:
        drawn, error = outcome_within(left(), lambda: write_report(run, True, left))
        path = drawn or path
    if error is not None:
        tell(Event("note", f"the report failed ({type(error).__name__}: {error}); the submission stands"))
    elif path is None:
        tell(Event("note", f"no time was left for the report; `autoclimb report {run.folder}` writes it"))
    else:
        tell(Event("note", f"report: {path}", {"report": str(path)}))
