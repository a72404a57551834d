"""Rows for RESULTS.md: is any competition's folder read, answered and accepted as it is downloaded?

    uv run python benchmarks/layouts.py --layouts DIR [--only ID,ID] [--budget 30s] [--jobs 1]
    uv run python benchmarks/layouts.py --layouts DIR --reading

DIR holds make_layout.py, which builds each competition of specs.py in miniature, and check_submission.py, which judges
and scores a submission as its grader would. The real command runs on each miniature, with no flag but the metric in the
name that the grader gives it. A constant answer, the one that a run writes before it has learnt anything, is scored by
the same grader. Rows are written one by one, so that what is done stays when the benchmark is interrupted. With
--reading nothing is trained and nothing written to RESULTS.md: each folder is read and its constant answer judged.
"""

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import append, heading, show

from autoclimb import read_task
from autoclimb.budget import seconds_of
from autoclimb.contest.machine import watched
from autoclimb.errors import Mistake
from autoclimb.run.answers import publish_constant
from autoclimb.score.metrics import metric_named
from autoclimb.types import Goal

HEADER = (
    "| competition | metric | read right | accepted | score | of a constant | better | seconds | peak GB |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
GRACE = 60.0  # seconds over the budget before a run is stopped
MAKING = ["--n-train", "120", "--n-test", "40"]


@dataclass(frozen=True)
class Row:
    """How one competition went. `text` is its row of the table, which says what was wrong."""

    name: str
    metric: str
    read: bool
    accepted: bool
    better: bool
    text: str


def main() -> None:
    """Run every competition asked for and append a table, the count last."""
    options = arguments()
    sys.path.insert(0, str(options.layouts))
    specs = importlib.import_module("specs").SPECS
    unknown = set(options.only.split(",")) - set(specs) if options.only else set()
    if unknown:
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(specs)}")
    names = options.only.split(",") if options.only else list(specs)
    if options.reading:
        sys.exit(sum(bool(reading_fault(specs[name], options.layouts)) for name in names))
    lower = importlib.import_module("metrics").LOWER
    append(options.out, heading(f"{len(names)} layouts, 120 train and 40 test items, {options.budget} each") + HEADER)
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = []
        for row in pool.map(lambda name: result(specs[name], specs[name].metric in lower, options), names):
            rows.append(row)
            show(options.out, row.text)
    of = len(rows)
    counted = (
        f"\n{sum(r.read for r in rows)} of {of} read right, {sum(r.accepted for r in rows)} accepted, "
        f"{sum(r.better for r in rows)} better than a constant.\n"
    )
    show(options.out, counted)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Run autoclimb on miniatures of real competitions.")
    parser.add_argument("--layouts", type=Path, required=True, help="folder of make_layout.py and check_submission.py")
    parser.add_argument("--only", default="", help="competitions, comma separated; default all")
    parser.add_argument("--budget", default="30s")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; they slow each other down")
    parser.add_argument("--reading", action="store_true", help="read each folder and judge its constant answer only")
    parser.add_argument("--keep", type=Path, help="folder to keep the runs in; default a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    return parser.parse_args()


def result(spec: Any, lower: bool, options: argparse.Namespace) -> Row:
    """The row of one competition, after making and running it."""
    with tempfile.TemporaryDirectory(prefix="autoclimb-layouts-") as temporary:
        place = (options.keep or Path(temporary)).resolve() / spec.name
        if place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True)
        data = place / spec.name
        command = [sys.executable, str(options.layouts / "make_layout.py"), spec.name, str(data), *MAKING]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "autoclimb", "fit", str(data), "--metric", spec.metric]
        command += ["--budget", options.budget]
        ended = watched(command, seconds_of(options.budget) + GRACE, place / "output.txt", place)
        climbed = place / "autoclimb-runs" / f"{spec.name}-{metric_named(spec.metric).name}"
        used = json.loads((place / f"{spec.name}.private" / "meta.json").read_text())["used"]
        wrong = misread(spec, used, *understood(climbed))
        score, refused = judged(spec.name, data, climbed / "submission.csv", options.layouts)
        refused = f"exit {ended.status}: {ended.last_line.replace('|', '/')}" if ended.status else refused
        constant, why = constant_score(spec, data, place, options.layouts)
    better = None not in (score, constant) and (score < constant if lower else score > constant)
    cells = [
        f"{spec.name}",
        spec.metric + (" (lower)" if lower else ""),
        wrong or "yes",
        refused or "yes",
        "" if score is None else f"{score:.4f}",
        why if constant is None else f"{constant:.4f}",
        "yes" if better else "no",
        f"{ended.seconds:.0f}/{seconds_of(options.budget):.0f}",
        f"{ended.peak_mb / 1000:.2f}",
    ]
    return Row(spec.name, spec.metric, not wrong, not refused, better, f"| {' | '.join(cells)} |\n")


def reading_fault(spec: Any, layouts: Path) -> str:
    """What is wrong with how a miniature is read or its constant answer taken, "" for nothing; printed as a line."""
    with tempfile.TemporaryDirectory(prefix="autoclimb-layouts-") as temporary:
        place = Path(temporary)
        data = place / spec.name
        making = [sys.executable, str(layouts / "make_layout.py"), spec.name, str(data), *MAKING]
        subprocess.run(making, check=True, stdout=subprocess.DEVNULL)
        used = json.loads((place / f"{spec.name}.private" / "meta.json").read_text())["used"]
        try:
            task = read_task(data, spec.metric)
            fault = misread(spec, used, task.kind, task.classes)
        except Mistake as mistake:
            fault = str(mistake)
        fault = fault or constant_score(spec, data, place, layouts)[1]
    print(f"{spec.name}: {fault or 'read right, its constant answer accepted'}", flush=True)
    return fault


def understood(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Kind and classes of what a run read, empty where it read nothing."""
    path = folder / "task.json"
    task = json.loads(path.read_text()) if path.is_file() else {"kind": "nothing", "classes": ()}
    return task["kind"], tuple(task["classes"])


def misread(spec: Any, used: list[Any], kind: str, names: tuple[str, ...]) -> str:
    """What was understood otherwise than the competition is meant, "" where kind and classes are right."""
    if kind != spec.task:
        return f"{kind} for {spec.task}"
    classes, meant = set(names), {str(label) for label in used}
    if len(spec.sub.cols) > 1:
        meant &= set(spec.sub.cols)
    if spec.task == "binary":  # the files may name them: cat and dog for 0 and 1
        return "" if len(classes) == 2 else f"{len(classes)} classes for 2"
    if spec.task == "regression" or classes == meant:
        return ""
    return f"{len(classes)} classes for {len(meant)}: {', '.join(sorted(classes ^ meant)[:3])}"


def judged(name: str, data: Path, submission: Path, layouts: Path) -> tuple[float | None, str]:
    """The grader's score, and why it refused the file, "" where it did not."""
    checked = [sys.executable, str(layouts / "check_submission.py"), name, str(data), str(submission)]
    grader = subprocess.run(checked, capture_output=True, text=True, check=False)
    if grader.returncode:
        return None, grader.stderr.strip().splitlines()[-1].replace("|", "/").replace(str(submission), submission.name)
    return float(grader.stdout.split()[2]), ""


def constant_score(spec: Any, data: Path, place: Path, layouts: Path) -> tuple[float | None, str]:
    """The grader's score of the constant submission that a run writes first, and why there is none."""
    metric = metric_named(spec.metric)
    try:
        task = read_task(data, metric)
        publish_constant(task, Goal(metric, task.kind, task.grades), place)
    except Mistake as mistake:
        return None, str(mistake).replace("|", "/")
    return judged(spec.name, data, place / "submission.csv", layouts)


if __name__ == "__main__":
    main()
