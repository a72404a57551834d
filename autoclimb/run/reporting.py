"""From a run directory to the record that a page is made from, and to the page, within the budget's time for it."""

import csv
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.arrays import read_target
from autoclimb.blend.choose import apply_blend, needs_metadata
from autoclimb.budget import SLACK, Clock, in_words, seconds_for_report
from autoclimb.deadlines import outcome_within, run_beside
from autoclimb.disk import read_json, whole_file, write_text
from autoclimb.errors import Mistake
from autoclimb.report.charts import import_library
from autoclimb.report.cleaner import suspects_in, suspects_page, suspects_table
from autoclimb.report.doubts import doubts_of
from autoclimb.report.findings import Errors, errors_of
from autoclimb.report.page import report_page
from autoclimb.report.parts import Pen, unhurried
from autoclimb.report.record import RunRecord
from autoclimb.run import store
from autoclimb.run.gallery import complete_gallery, read_gallery
from autoclimb.run.measurements import (
    decoded_pictures,
    facts_in,
    measured_drift,
    measured_looks,
    measured_sizes,
    slices_by_looks,
    slices_by_size,
    slices_in,
)
from autoclimb.types import Event, Goal, Rule, Task, Tell

if TYPE_CHECKING:
    from autoclimb.run.result import Run


def has_record(folder: Path) -> bool:
    """Whether the run has its folds, without which there is nothing to show."""
    return all((folder / name).exists() for name in (store.TASK, "target.npy", "fold_of.npy"))


def record_of(run: "Run") -> RunRecord:
    """The record of a run for its page; raises Mistake where the run stopped before its folds were made."""
    folder = run.folder
    if not has_record(folder):
        raise Mistake(f"{folder} stopped before its data were read; give fit the same command to continue it")
    target = read_target(folder / "target.npy", len(run.task["classes"]) or 1)
    ids_file, groups = folder / store.TRAIN_IDS, store.read_groups(folder)
    values = store.read_run(folder)
    form = run.task["form"]
    rows, facts = len(target), facts_in(folder)
    slices = slices_in(folder, run.task, groups) | slices_by_size(facts.get("sizes", {}), rows)
    fingerprint, events = values.get("fingerprint", {}), store.read_events(folder)
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
        fold_of=store.read_folds(folder),
        ids=tuple(read_json(ids_file)) if ids_file.exists() else (),
        groups=groups,
        slices=slices,
        drift=facts.get("drift", {}),
        nearness=facts.get("nearness", {}),
        looks=facts.get("looks", {}),
        sizes=facts.get("sizes", {}),
        copies=copies_in(events),
        gallery=read_gallery(folder),
        blend=run.blend,
        blended=partial(apply_blend, run.blend) if run.blend and not needs_metadata(run.blend) else None,
        rule=Rule.from_json(run.rule) if run.rule else None,
        events=events,
        settings={
            "command": values.get("command", "not on record") or "none, it was started from Python",
            "metric": run.metric.name,
            "budget": in_words(values["budget"]),
            "seed": fingerprint.get("seed", ""),
            "folds": fingerprint.get("folds", ""),
            "pretrained": "allowed" if fingerprint.get("pretrained", True) else "no",
            "groups": "rows of a group share a fold" if fingerprint.get("groups") else "none",
            "hardware": values.get("hardware", "unknown"),
        },
        versions=values.get("versions", {}),
        pictures=decoded_pictures(folder, rows, items_of(run) - rows),
        submission=run.submission.name if run.submission.exists() else "",
        answered=len(form["ids"]) if run.submission.exists() else 0,
    )


def with_measurements(run: "Run", record: RunRecord, seconds: float) -> RunRecord:
    """The run's record with measurements of its pictures, as far as `seconds` allow, and its gallery.

    Looks are measured with more than SLACK.report_looks seconds, drift with more than SLACK.report_drift.
    """
    folder, rows, answered = run.folder, len(record.target), items_of(run) - len(record.target)
    slices = record.slices
    if seconds > SLACK.report_looks:
        measured_looks(folder, rows, answered)
        slices = slices | slices_by_looks(folder, rows, answered)
    if seconds > SLACK.report_drift:
        measured_drift(folder, rows, answered, record.groups)
    facts = facts_in(folder)
    drift, looks = facts.get("drift", {}), facts.get("looks", {})
    return replace(record, drift=drift, looks=looks, slices=slices, gallery=read_gallery(folder))


def items_of(run: "Run") -> int:
    """The number of decoded items: train rows and test items, each of which may have several rows in the submission."""
    return len(np.load(run.folder / "fold_of.npy", mmap_mode="r")) + len(set(run.task["form"]["ids"]))


def copies_in(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The facts on near-duplicates that the run reported last, {} without any."""
    reported = [event["facts"]["copies"] for event in events if "copies" in event["facts"]]
    return reported[-1] if reported else {}


def write_report(run: "Run") -> Path:
    """The path of `report.html`, written with all measurements and the gallery, whatever time they take."""
    record, pen = record_of(run), unhurried()
    errors = errors_of(record)
    complete_gallery(run.folder, record, errors, items_of(run), run.hello)
    return write_page(run.folder, report_page(with_measurements(run, record, pen.left()), errors, pen))


def write_page(folder: Path, page: str) -> Path:
    """The path of `report.html`, written with this content."""
    path = folder / "report.html"
    write_text(path, page)
    return path


def write_suspects(run: "Run") -> tuple[Path, int]:
    """The path of `suspects.html`, and the number of suspects; `suspects.csv` beside it lists the same.

    Raises Mistake where the run has no blend yet.
    """
    record = record_of(run)
    run.finished_blend()  # raises Mistake where there is none
    suspects = suspects_in(record)
    with whole_file(run.folder / "suspects.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(suspects_table(record, suspects))
    path = run.folder / "suspects.html"
    write_text(path, suspects_page(record, suspects))
    return path, len(suspects)


def import_ahead(budget: float) -> None:
    """Imports the libraries of a page while the first trial trains, where the budget leaves no second for it later."""
    if seconds_for_report(budget) < SLACK.report_import_ahead:
        run_beside(import_library)


def report_in_time(
    run: "Run",
    clock: Clock,
    tell: Tell,
    show: Callable[[RunRecord, Errors | None, float], None] | None = None,
    record: Callable[[], RunRecord] | None = None,
) -> None:
    """Writes the run's report within its share of the budget, in up to three versions, each over the one before.

    The first has tables, the second charts, and the third the gallery that `show(record, errors, seconds)` has the nets
    make. `record` returns the run's record, by default read from disk when it is needed. Any error here, a bug too,
    becomes a note, since the submission is written already.
    """
    start = clock.spent()
    allowed = min(seconds_for_report(clock.budget), clock.left())

    def left() -> float:
        return allowed - (clock.spent() - start)

    plain = record or cache(partial(record_of, run))
    measured = cache(lambda: with_measurements(run, plain(), left()))
    errors = cache(lambda: errors_of(plain()))
    pen = Pen(left)

    def write(record: RunRecord, pen: Pen) -> Path:
        return write_page(run.folder, report_page(record, errors(), pen))

    path, error = outcome_within(left(), lambda: write(plain(), replace(pen, dry=True)))
    if path is not None and left() > SLACK.report_drawing:
        drawn, error = outcome_within(left(), lambda: write(measured(), pen))
        if drawn is not None and show is not None and (seconds := for_gallery(left())):
            _, no_gallery = outcome_within(seconds, lambda: show(plain(), errors(), seconds))
            if no_gallery is not None:
                reason = f"{type(no_gallery).__name__}: {no_gallery}"
                tell(store.failure_note(f"the report cannot show what the nets see ({reason})", no_gallery))
            _, error = outcome_within(left(), lambda: write(replace(measured(), gallery=read_gallery(run.folder)), pen))
    if error is not None:
        text = f"the report failed ({type(error).__name__}: {error}); the submission stands"
        tell(store.failure_note(text, error))
    elif path is None:
        tell(Event("note", f"no time was left for the report; `autoclimb report {run.folder}` writes it"))
    else:
        tell(Event("note", f"report: {path}", {"report": str(path)}))
    if path is not None and run.blend is not None:
        drift = facts_in(run.folder).get("drift", {})
        doubts, error = outcome_within(left(), lambda: doubts_of(replace(plain(), drift=drift), errors()))
        if error is not None:
            tell(store.failure_note(f"doubts about the run are not named ({type(error).__name__}: {error})", error))
        for doubt in doubts or ():
            tell(Event("note", doubt))


def for_gallery(left: float) -> float:
    """The seconds for a gallery, of those left for a report that has its charts; 0 where they are too few."""
    seconds = left - SLACK.report_rewriting
    return seconds if seconds >= SLACK.report_gallery_least else 0.0


def measure_ahead(folder: Path, task: Task, budget: float) -> None:
    """Measures picture sizes in the background, and drift where the budget has seconds for that.

    They are measured now since a report written later does not know the source files any more.
    """
    until = time.monotonic() + SLACK.sizes_ahead

    def measure() -> None:
        with suppress(Exception):  # a measurement that fails is missing from the report, which is harmless
            measured_sizes(folder, task, lambda: until - time.monotonic())
            if task.test_ids and budget >= SLACK.drift_ahead_from:
                measured_drift(folder, len(task.train_ids), len(task.test_ids), task.groups)

    run_beside(measure)
