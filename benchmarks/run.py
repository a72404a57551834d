"""Rows for RESULTS.md: `autoclimb bench` on the sets of suite.toml, or of another suite, as a table with its heading.

    uv run python benchmarks/run.py --sets sign_digits,leaf99 --solvers autoclimb,fixed --budgets 5m --bench DIR

DIR keeps the cells: the same command goes on where it was stopped, and appends its rows when all are there.
"""

import argparse
import math
from pathlib import Path

from lab import SUITE
from record import append, heading

import autoclimb
from autoclimb.contest.cells import Outcome
from autoclimb.contest.standings import promises
from autoclimb.contest.suite import KnownSet, selected

HERE = Path(__file__).parent
HEADER = (
    "| set | solver | seed | metric | test | ± | out of fold | over promise, sigmas | known | seconds | trials "
    "| peak GB |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)
LISTS = ("sets", "solvers", "budgets", "seeds")


def main() -> None:
    """Run what is asked for and append a table."""
    options = arguments()
    lists = {name: getattr(options, name).split(",") if getattr(options, name) else None for name in LISTS}
    bench = autoclimb.bench(options.suite, **lists, out=options.bench, tell=lambda event: print(event.text, flush=True))
    print(bench)
    sets = {known_set.name: known_set for known_set in bench.suite.sets}
    cells = {cell.folder for cell in selected(bench.suite, **lists).cells()}
    rows = [o for o in bench.outcomes if o.folder in cells]  # the record may hold more
    append(options.out, heading("autoclimb bench") + HEADER + "".join(row_of(o, sets[o.set]) for o in rows))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Run autoclimb bench and keep its rows in RESULTS.md.")
    parser.add_argument("--suite", type=Path, default=SUITE)
    for name in LISTS:
        parser.add_argument(f"--{name}", default="", help="comma separated; default the suite's")
    parser.add_argument("--bench", type=Path, required=True, help="folder of the bench's cells")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    return parser.parse_args()


def row_of(o: Outcome, known_set: KnownSet) -> str:
    """An outcome's row."""
    known = "; ".join(f"{name} {value:g}" for name, value in known_set.known)
    cells = [o.set, o.solver, str(o.seed), o.metric, o.status.replace("|", "/")]
    if o.score is not None:
        cells[-1] = f"{o.score:.4f}"
    promised = "" if o.oof is None else f"{o.oof:.4f} ± {o.oof_stderr:.4f}"
    sigmas = [-p.sigmas for p in promises([o]) if not math.isnan(p.sigmas)]  # above zero: better than promised
    cells += ["" if o.stderr is None else f"{o.stderr:.4f}", promised, f"{sigmas[0]:+.1f}" if sigmas else "", known]
    peak = "" if o.peak_mb is None else f"{o.peak_mb / 1000:.2f}"
    cells += [f"{o.seconds:.0f}/{o.budget_s:.0f}", "" if o.trials is None else str(o.trials), peak]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
