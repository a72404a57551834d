"""bench(): compare solvers on sets whose answers are known; the whole story in one function."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoclimb.contest.cells import (
    Outcome,
    answers_on_disk,
    check_answers,
    outcomes_on_disk,
    run_cells,
    write_results,
)
from autoclimb.contest.machine import stopped_as_by_ctrl_c
from autoclimb.contest.page import bench_page
from autoclimb.contest.suite import Suite, check_out, read_suite, selected
from autoclimb.contest.text import report_text
from autoclimb.disk import lock_folder, write_text
from autoclimb.errors import room_on_disk
from autoclimb.types import Tell

PAGE_AFTER = 10.0  # seconds of a cell above which the page is written after it: its charts take one or two seconds


@dataclass(frozen=True, eq=False)
class Bench:
    """A bench on disk: `results` are the rows of results.json, `page` is bench.html; `str()` is the report as text."""

    suite: Suite
    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def results(self) -> list[dict[str, Any]]:
        """A row for each finished cell: solver, set, metric, scores, seconds, memory; None for what is not reported."""
        return [outcome.row() for outcome in self.outcomes]

    @property
    def page(self) -> Path:
        """The path of the page."""
        return self.folder / "bench.html"

    def __str__(self) -> str:
        return report_text(self.suite, self.outcomes, answers_on_disk(self.folder, self.suite))


def bench(
    suite: str | Path,
    *,
    solvers: Sequence[str] | None = None,
    sets: Sequence[str] | None = None,
    budgets: Sequence[str | float] | None = None,
    seeds: Sequence[str | int] | None = None,
    out: str | Path | None = None,
    retry: bool = False,
    tell: Tell | None = None,
) -> Bench:
    """The finished bench: every solver of the suite on every set, at every budget, with every seed, one at a time.

    `suite` is a TOML file (docs/bench.md). `solvers` and `sets` select some of its rows by name, `budgets` and `seeds`
    replace its values. After each cell `results.json` in `out` is written again, after long cells and at the end
    `bench.html` too; both hold every recorded cell of the suite as it now is. A recorded cell is not run again, a
    failed one only with `retry`.

    Raises Mistake for whatever the caller can mend, before any cell is run.
    """
    full_suite = read_suite(suite)
    selection = selected(full_suite, solvers=solvers, sets=sets, budgets=budgets, seeds=seeds)
    folder = (Path(out) if out else Path("autoclimb-bench") / full_suite.name).resolve()
    check_out(selection, folder)
    with lock_folder(folder, "bench"), room_on_disk(folder), stopped_as_by_ctrl_c():
        check_answers(full_suite, folder)
        for outcome in run_cells(selection, folder, retry, tell or (lambda event: None)):
            if outcome.seconds > PAGE_AFTER:
                publish(full_suite, folder)
            else:
                write_results(folder, outcomes_on_disk(folder, full_suite))
        return publish(full_suite, folder)


def publish(suite: Suite, folder: Path) -> Bench:
    """Writes results.json and bench.html of all recorded cells, and returns the bench."""
    outcomes = outcomes_on_disk(folder, suite)
    write_results(folder, outcomes)
    bench = Bench(suite, folder, tuple(outcomes))
    write_text(bench.page, bench_page(suite, outcomes, answers_on_disk(folder, suite)))
    return bench
