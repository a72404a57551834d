"""Suites for tests: small competitions with known answers, and solvers that are a few lines of Python."""

import json
import sys
from pathlib import Path
from typing import Any

from folders import competition, table

NAMES = ("cat", "dog", "fox")
SOLVER = """
import csv, sys
data, out, how, seed = sys.argv[1:]
if how == "crash":
    sys.exit("no <b>memory</b> | left")
rows = list(csv.reader(open(data + "/sample_submission.csv")))
if how == "mute":
    sys.exit()
with open(out, "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(rows[0])
    for i, row in enumerate(rows[1:]):
        right = {"good": True, "fair": i % 4 != int(seed) % 4, "bad": False}.get(how, True)
        writer.writerow([row[0] if how != "lost" else "x" + row[0], ("cat", "dog", "fox")[(i + (not right)) % 3]])
"""


def suite_file(folder: Path, solvers: dict[str, str], sets: tuple[str, ...] = ("pets",), more: str = "") -> Path:
    """A suite in the folder: sets of 24 test pictures, and solvers of these names that go so about it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "solver.py").write_text(SOLVER)
    lines = [more]
    for number, name in enumerate(sets):
        data = competition(folder / f"set{number}", lambda i: NAMES[i % 3], test=24)
        table(folder / f"answers{number}.csv", ("id", "label"), *((f"b_{i:03d}", NAMES[i % 3]) for i in range(24)))
        paths = f'data = "{data.name}"\nanswers = "answers{number}.csv"'
        lines.append(f'[sets.{json.dumps(name)}]\n{paths}\nmetric = "accuracy"')
    for name, how in solvers.items():
        words = [sys.executable, "solver.py", "{data}", "{out}", how, "{seed}"]
        lines.append(f"[solvers.{json.dumps(name)}]\ncommand = {json.dumps(words)}")
    path = folder / "suite.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def outcome(solver: str, score: float | None, name: str = "pets", seed: int = 0, **changes: Any) -> Any:
    """An outcome made up."""
    from autoclimb.contest.cells import Outcome

    values: dict[str, Any] = {"budget_s": 60, "seconds": 50.0, "trials": None, "peak_mb": None, "oof": None}
    values |= {"metric": "accuracy", "higher_is_better": True, "stderr": 0.01 if score is not None else None}
    return Outcome(solver=solver, set=name, seed=seed, score=score, **{**values, **changes})
