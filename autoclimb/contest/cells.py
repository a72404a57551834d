"""Running a bench's cells one after the other, each in a folder of its own; cell.json, written last, is its record."""

import hashlib
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.budget import in_words
from autoclimb.contest.machine import Ended, hardware, watched
from autoclimb.contest.marks import marked
from autoclimb.contest.processes import RECORD as PROCESSES
from autoclimb.contest.processes import end_recorded
from autoclimb.contest.suite import PLACE, Cell, KnownSet, Suite
from autoclimb.data.read.folder import read_folder
from autoclimb.disk import read_json, write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.report.parts import safe
from autoclimb.report.words import give_or_take, score_words
from autoclimb.run import store
from autoclimb.run.result import open_run
from autoclimb.types import Event, Goal, Metric, Task, Tell

GRACE, GRACE_SHARE = 60.0, 0.1  # seconds and share of the budget by which a command may overrun before it is stopped
RECORD = "cell.json"
LONGEST_STATUS = 200  # characters of a command's last line that are shown


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. Scores are the metric's own values; None stands for what a solver does not report."""

    solver: str
    set: str
    metric: str
    higher_is_better: bool
    budget_s: float
    seed: int
    score: float | None  # on the answers; where it is None, `status` says why
    oof: float | None  # the out-of-fold score that the solver reported
    seconds: float
    trials: int | None
    peak_mb: float | None
    status: str = ""
    stderr: float | None = None  # of the score over the test rows
    oof_stderr: float | None = None
    kind: str = ""  # of the task; with the grades it is needed to score the answers on disk again
    grades: tuple[float, ...] = ()
    folder: str = ""  # name of the cell's folder, which holds the answers
    marked_with: str = ""  # digest of the file of known answers
    when: str = ""
    made_by: str = ""

    def row(self) -> dict[str, Any]:
        """The cell's row in results.json, with a `status` where it has no score."""
        names = [f.name for f in fields(self)]
        values = {name: getattr(self, name) for name in names[: names.index("status")]}
        return values if self.score is not None else {**values, "status": self.status}


Answers = Callable[[Outcome], tuple[np.ndarray, np.ndarray, Goal] | None]  # truth, answers and goal of a cell


def run_cells(suite: Suite, folder: Path, retry: bool, tell: Tell) -> Iterator[Outcome]:
    """Runs the suite's cells one at a time and yields their outcomes; recorded ones are skipped.

    With `retry`, recorded cells without a score are run again. What a killed bench left running is ended first. Raises
    Mistake where that fails, or a set or its answers cannot be read, before any cell is run.
    """
    end_leftovers(folder, tell)
    cells = suite.cells()
    on_disk = {outcome.folder: outcome for outcome in outcomes_on_disk(folder, suite)}
    recorded = {cell: on_disk.get(cell.folder) for cell in cells}
    to_run = [cell for cell, outcome in recorded.items() if outcome is None or (retry and outcome.score is None)]
    if to_run:
        longest = sum(cell.budget for cell in to_run)
        tell(Event("note", f"{len(to_run)} of {len(cells)} cells to run, {in_words(longest)} of budgets"))
    tasks = {known_set: task_of(suite, known_set) for known_set in {cell.known_set: None for cell in to_run}}
    for number, cell in enumerate(cells, 1):
        title = f"{number}/{len(cells)} {safe(cell.solver.name)} on {safe(cell.known_set.name)}, "
        title += f"{in_words(cell.budget)}, seed {cell.seed}"
        outcome = recorded[cell]
        if cell not in to_run and outcome is not None:
            tell(Event("note", f"{title}: on record, {outcome_words(outcome)}"))
            continue
        tell(Event("note", title))
        outcome = run_cell(cell, suite, folder / "cells" / cell.folder, tasks[cell.known_set])
        tell(Event("note", f"  {outcome_words(outcome)} in {in_words(outcome.seconds)}"))
        yield outcome


def end_leftovers(folder: Path, tell: Tell) -> None:
    """Ends the processes of cells whose bench was killed, since they would run beside those that follow."""
    for place in sorted(file.parent for file in folder.glob(f"cells/*/{PROCESSES}")):
        count, stuck = end_recorded(place)
        if stuck:
            pids = ", ".join(str(process.pid) for process in stuck)
            raise Mistake(f"{place.name} was interrupted and its processes ({pids}) do not end; end them and try again")
        if count:
            processes = "a process" if count == 1 else f"{count} processes"
            tell(Event("note", f"ended {processes} of {place.name}, which was interrupted"))


def task_of(suite: Suite, known_set: KnownSet) -> Task:
    """The set's task as autoclimb reads it; raises Mistake where it or the answers cannot be read."""
    try:
        task = read_folder(suite.folder / known_set.data, suite.metric_of(known_set))
        answers = suite.folder / known_set.answers
        marked(task, suite.metric_of(known_set), answers, answers)  # checks that they are in a submission's form
    except Mistake as mistake:
        raise Mistake(f"set {known_set.name!r}: {mistake}") from mistake
    return task


def outcome_words(outcome: Outcome) -> str:
    """The score with its error, or why there is none."""
    if outcome.score is None:
        return safe(outcome.status, LONGEST_STATUS)
    promised = f" (promised {score_words(outcome.oof)})" if outcome.oof is not None else ""
    return f"{outcome.metric} {give_or_take(outcome.score, outcome.stderr)}{promised}"


def run_cell(cell: Cell, suite: Suite, place: Path, task: Task) -> Outcome:
    """The outcome of a cell, run from the beginning in the folder `place` and recorded there."""
    try:
        shutil.rmtree(place)  # an interrupted cell starts over
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Mistake(f"{place} cannot be deleted ({error.strerror or error}); delete it and try again") from error
    place.mkdir(parents=True)
    metric = suite.metric_of(cell.known_set)
    command, submission = command_of(cell, suite, place)
    try:
        limit = cell.budget + GRACE + GRACE_SHARE * cell.budget
        ended = watched(command, limit, place / "output.txt", suite.folder)
    except OSError as error:
        ended = Ended(127, False, 0.0, 0.0, f"{command[0]}: {error.strerror or error}")
    outcome = Outcome(
        solver=cell.solver.name,
        set=cell.known_set.name,
        metric=metric.name,
        higher_is_better=metric.greater_is_better,
        budget_s=int(cell.budget) if cell.budget.is_integer() else cell.budget,
        seed=cell.seed,
        score=None,
        oof=None,
        seconds=round(ended.seconds, 2),
        trials=None,
        peak_mb=round(ended.peak_mb, 1) or None,
        folder=place.name,
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        made_by=f"autoclimb {version('autoclimb')}, {hardware()}",
    )
    if not cell.solver.command:
        outcome = with_promise(outcome, place / "run", metric)
    status = why_no_score(cell, ended, submission)
    outcome = replace(outcome, status=status) if status else with_score(outcome, cell, suite, task, submission, place)
    place.mkdir(parents=True, exist_ok=True)  # should the command have deleted it
    write_json(place / RECORD, {"definition": cell.definition, **asdict(outcome)})
    return outcome


def command_of(cell: Cell, suite: Suite, place: Path) -> tuple[list[str], Path]:
    """The command of a cell, and the path of the csv that it writes."""
    data = str((suite.folder / cell.known_set.data).resolve())
    metric = suite.metric_text(cell.known_set)
    if not cell.solver.command:
        # -P: a file of the suite's folder must not stand in for a module
        command = [sys.executable, "-P", "-m", "autoclimb", "fit", data, "--metric", metric]
        command += ["--budget", f"{cell.budget:.10g}s", "--seed", str(cell.seed), "--out", str(place / "run")]
        return [*command, *cell.solver.options], place / "run" / store.SUBMISSION
    out = place / "submission.csv"
    filled = {"data": data, "metric": metric, "budget": f"{cell.budget:.10g}", "out": str(out), "seed": str(cell.seed)}
    return [PLACE.sub(lambda place: filled[place[1]], word) for word in cell.solver.command], out


def with_promise(outcome: Outcome, run_folder: Path, metric: Metric) -> Outcome:
    """The outcome with the run's own figures: trials, out-of-fold score. The run's pixels and nets are deleted."""
    if not (run_folder / "run.json").exists():
        return outcome
    run = open_run(run_folder, metric)
    shutil.rmtree(run_folder / "cache", ignore_errors=True)
    store.forget_weights(run_folder, set())
    trials = store.count_trials(run_folder)
    if run.blend is None or not math.isfinite(run.score):
        return replace(outcome, trials=trials)
    return replace(outcome, trials=trials, oof=run.score, oof_stderr=run.stderr)


def why_no_score(cell: Cell, ended: Ended, submission: Path) -> str:
    """The reason why an ended command has no score, "" where its submission can be marked."""
    if ended.stopped:
        return f"stopped {in_words(ended.seconds - cell.budget)} after its budget had ended"
    if ended.status:
        return ended.why
    return "" if submission.is_file() else "it left no submission"


def with_score(outcome: Outcome, cell: Cell, suite: Suite, task: Task, submission: Path, place: Path) -> Outcome:
    """The outcome with its score, or with the reason why the submission cannot be marked.

    Truth and answers are written to the cell's folder, for comparisons that are paired by row.
    """
    metric, answers = suite.metric_of(cell.known_set), suite.folder / cell.known_set.answers
    try:
        mark = marked(task, metric, submission, answers)
    except Mistake as mistake:
        return replace(outcome, status=str(mistake))
    if not math.isfinite(mark.score):
        return replace(outcome, status=f"{metric.name} is {mark.score} on its answers")
    write_array(place / "truth.npy", mark.truth)
    write_array(place / "answers.npy", mark.answers)
    scored = replace(outcome, score=mark.score, stderr=mark.stderr, marked_with=digest_of(answers))
    return replace(scored, kind=task.kind, grades=task.grades)


# --- the record ------------------------------------------------------------------------------------------------------


def outcomes_on_disk(folder: Path, suite: Suite) -> list[Outcome]:
    """Every recorded outcome of the suite's solvers and sets, at any budget and seed, in the suite's order."""
    places = {
        Cell(solver, known_set, 1.0, 0).definition: (i, j)
        for i, known_set in enumerate(suite.sets)
        for j, solver in enumerate(suite.solvers)
    }
    rows = []
    for definition, outcome in filter(None, map(_recorded, folder.glob(f"cells/*/{RECORD}"))):
        if definition in places:
            i, j = places[definition]
            cell = Cell(suite.solvers[j], suite.sets[i], outcome.budget_s, outcome.seed)
            if cell.folder == outcome.folder:  # else a copy, or edited
                named = replace(outcome, solver=cell.solver.name, set=cell.known_set.name)
                rows.append((i, outcome.budget_s, j, outcome.seed, named))
    return [row[-1] for row in sorted(rows, key=lambda row: row[:-1])]


def _recorded(path: Path) -> tuple[str, Outcome] | None:
    """A cell's definition and outcome, None where its record is missing or damaged, so that it is run again."""
    names = {f.name for f in fields(Outcome)}
    try:
        values = read_json(path)
        own = {name: value for name, value in values.items() if name in names}
        own |= {"grades": tuple(values.get("grades", ())), "folder": path.parent.name}
        definition, outcome = str(values["definition"]), Outcome(**own)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return (definition, outcome) if _is_sound(outcome) else None


def _is_sound(o: Outcome) -> bool:
    """Whether an outcome's values are such as a bench writes: records are edited by hand, too."""
    texts = (o.metric, o.status, o.kind, o.when, o.made_by, o.marked_with)
    numbers = [o.budget_s, o.seed, o.seconds, *o.grades]
    numbers += [value for value in (o.score, o.oof, o.trials, o.peak_mb) if value is not None]
    errors = [value for value in (o.stderr, o.oof_stderr) if value is not None]  # NaN on a single row
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(o.higher_is_better, bool)
        and all(type(value) in (int, float) for value in (*numbers, *errors))
        and all(map(math.isfinite, numbers))
        and isinstance(o.seed, int)
        and o.budget_s > 0
    )


def check_answers(suite: Suite, folder: Path) -> None:
    """Raises Mistake where a recorded score is on other answers than the suite's file now holds."""
    answers = {known_set.name: known_set.answers for known_set in suite.sets}
    now = {name: digest_of(suite.folder / file) for name, file in answers.items()}
    for outcome in outcomes_on_disk(folder, suite):
        if outcome.marked_with and now[outcome.set] not in ("", outcome.marked_with):
            place = folder / "cells" / outcome.folder
            raise Mistake(
                f"{place} was scored on other answers than {answers[outcome.set]} now holds; "
                f"name another --out, or delete that folder to run the cell again"
            )


def digest_of(file: Path) -> str:
    """A digest of the file's contents, "" where it cannot be read."""
    try:
        return hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()
    except OSError:
        return ""


def answers_on_disk(folder: Path, suite: Suite) -> Answers:
    """A function that returns an outcome's truth and answers, as the metric takes them, and its goal; None if gone."""
    metrics = {known_set.name: suite.metric_of(known_set) for known_set in suite.sets}

    def answers(outcome: Outcome) -> tuple[np.ndarray, np.ndarray, Goal] | None:
        place = folder / "cells" / outcome.folder
        try:
            truth, predicted = (np.load(place / f"{n}.npy", allow_pickle=False) for n in ("truth", "answers"))
        except (OSError, ValueError, EOFError):
            return None
        return truth, predicted, Goal(metrics[outcome.set], outcome.kind, outcome.grades)  # type: ignore[arg-type]

    return answers


def write_results(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes results.json: a row for each cell."""
    write_json(folder / "results.json", [outcome.row() for outcome in outcomes])
