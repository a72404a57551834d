"""What a run does when something fails: each fault put into a run of a quarter of an hour, by a clock of its own.

    python benchmarks/faults.py

Everything but the process that trains is the real thing: plan, trials and their record, statuses, blends. Only trials
move the clock, so the table takes seconds. The faults and where they hit are rows of FAULTS in tests/faulty.py.
"""

import argparse
import io
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from record import append, heading, show

if TYPE_CHECKING:
    from faulty import Ending

TESTS = Path(__file__).parents[1] / "tests"
BUDGET = 900.0
HEADER = "| fault injected | trials it hit | what the plan did | nets trained | answers | of the budget used |\n"
HEADER += "|---|---|---|---|---|---|\n"


def main() -> None:
    """Runs every fault and appends a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))  # the clock and the tiny nets are the tests' own
    import torch
    from faulty import FAULTS, faulty_run

    torch.set_num_threads(1)  # nets of a few thousand weights

    append(options.out, heading(f"faults in a run of {BUDGET:g} s") + HEADER)
    for name, fault in {"none": None, **FAULTS}.items():
        # trials print where an error came from, as they do into a worker's log
        with tempfile.TemporaryDirectory(prefix="autoclimb-faults-") as folder, redirect_stderr(io.StringIO()):
            row = row_of(name, faulty_run(Path(folder), fault, BUDGET))
        show(options.out, row)


def row_of(name: str, ending: "Ending") -> str:
    """The table's row of a run that a fault was put into."""
    counts = Counter(f"{trial.status}, {trial.facts.get('fault', 'cut short')}" for trial in ending.hit)
    hit = "; ".join(f"{count} {words}" for words, count in counts.items())
    steps = ending.retreat()
    if ending.restarts:
        steps.append(f"the worker started anew, {ending.restarts} in all")
    folds = [len(trial.config.folds) for trial in ending.hit if trial.status == "done"]
    if folds:
        steps.append(f"kept {', '.join(map(str, folds))} folds")
    nets = sum(trial.status == "done" and trial.config.train == "net" for trial in ending.trials)
    answers = "constant" if ending.answers == ending.constant else "learnt"
    return f"| {name} | {hit} | {'; '.join(steps)} | {nets} | {answers} | {ending.used:.2f} |\n"


if __name__ == "__main__":
    main()
