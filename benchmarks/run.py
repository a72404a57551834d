"""Rows for RESULTS.md: run the real command on competitions whose answers are known, and score what it submitted.

    uv run python benchmarks/run.py --data DIR --answers DIR [--sets sign_digits,leaf99] [--budget 5m]

DIR/<set>/ holds a competition as downloaded, DIR/<set>.csv the answers in the submission's form. Rows are written
one by one, so an interrupted session keeps what it had.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from record import append, heading, run, seconds_of

import autoclimb

METRIC = {
    "intel_scenes": "accuracy",
    "cifar10": "accuracy",
    "sign_digits": "accuracy",
    "fod_multilabel": "f2",
    "elpv_defect": "qwk",
    "bccd_count": "mae",
    "leaf99": "map@5",
}
FLOOR = {  # a linear model on 16x16 pixels, HOG and PCA; for bccd_count, where that gives nothing, the constant's
    "intel_scenes": ".687",
    "cifar10": ".552",
    "sign_digits": ".855",
    "fod_multilabel": ".741",
    "elpv_defect": ".577",
    "bccd_count": "3.01",
    "leaf99": ".606 (accuracy)",
}
PEER = {  # the better of AutoGluon and fastai in 300 s from scratch
    "intel_scenes": ".723; .902 with weights",
    "cifar10": ".554",
    "sign_digits": ".960",
}
HEADER = (
    "| set | metric | test | ± | out of fold | over promise, sigmas | floor | peer | seconds | trials | peak GB |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)
RESAMPLES = 300  # of the test rows, for the standard error of the test score: known to 4 percent of itself
GRACE = 120.0  # seconds over the budget before a run is stopped


def main() -> None:
    """Run every set asked for and append a table."""
    asked = arguments()
    sets = asked.sets.split(",") if asked.sets else sorted(p.name for p in asked.data.iterdir() if p.is_dir())
    metric = {**METRIC, **(json.loads(asked.metrics.read_text()) if asked.metrics else {})}
    missing = [name for name in sets if not (asked.metric or name in metric)]
    if missing:
        sys.exit(f"no metric known for {', '.join(missing)}; give --metric or --metrics FILE.json")
    append(asked.out, heading(f"{asked.budget} a set, seed {asked.seed}") + HEADER)
    for name in sets:
        row = result(name, asked.metric or metric[name], asked)
        append(asked.out, row)
        print(row, end="", flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Run autoclimb on competitions with known answers.")
    parser.add_argument("--data", type=Path, required=True, help="folder of competitions")
    parser.add_argument("--answers", type=Path, required=True, help="folder of <set>.csv in the submission's form")
    parser.add_argument("--sets", default="", help="names, comma separated; default all")
    parser.add_argument("--metric", default="", help="one metric for all sets")
    parser.add_argument("--metrics", type=Path, help="json file: set to metric, for sets not named in this file")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--no-pretrained", action="store_true")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--keep", type=Path, help="folder to keep the runs in; default a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    return parser.parse_args()


def result(name: str, metric: str, asked: argparse.Namespace) -> str:
    """The row of one set, after running it."""
    with tempfile.TemporaryDirectory(prefix="autoclimb-bench-") as temporary:
        folder = (asked.keep or Path(temporary)) / name
        if folder.exists():
            shutil.rmtree(folder)
        data = asked.data / name
        command = [sys.executable, "-m", "autoclimb", "fit", str(data), "--metric", metric, "--budget", asked.budget]
        command += ["--out", str(folder), "--seed", str(asked.seed), "--device", asked.device]
        command += ["--weights", str(asked.weights)] if asked.weights else []
        command += ["--no-pretrained"] if asked.no_pretrained else []
        command += ["--recipe", asked.recipe] if asked.recipe else []
        budget = seconds_of(asked.budget)
        ran = run(command, budget + GRACE)
        used = f"{ran.seconds:.0f}/{budget:.0f} | {{trials}} | {ran.peak:.2f} |\n"
        near = f"{FLOOR.get(name, '')} | {PEER.get(name, '')}"
        if ran.status:
            return f"| {name} | {metric} | exit {ran.status}: {ran.words} | | | | {near} | {used.format(trials='')}"
        climbed = autoclimb.open_run(folder)
        test, error = test_score(climbed.metric, climbed.submission, asked.answers / f"{name}.csv", asked.seed)
        gained = climbed.metric.shown(test - climbed.score)  # above zero: better than promised, whichever way is up
        sigmas = gained / max(float(np.hypot(error, climbed.stderr)), 1e-12)
        trials = int((climbed.leaderboard()["stage"] != "blend").sum())
        return (
            f"| {name} | {metric} | {test:.4f} | {error:.4f} | {climbed.score:.4f} ± {climbed.stderr:.4f} "
            f"| {sigmas:+.1f} | {near} | {used.format(trials=trials)}"
        )


def test_score(metric: autoclimb.Metric, submission: Path, answers: Path, seed: int) -> tuple[float, float]:
    """The metric's own value on the answers, and its standard error from resampled test rows."""
    truth, said = arrays(metric, read(answers), read(submission))
    draw = np.random.default_rng(seed)
    again = []
    for _ in range(RESAMPLES):
        rows = draw.integers(0, len(truth), len(truth))
        again.append(metric.function(truth[rows], said[rows]))
    return float(metric.function(truth, said)), float(np.nanstd(again, ddof=1))


def read(path: Path) -> pd.DataFrame:
    """A table of text, by its first column."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.set_index(table.columns[0])


def arrays(metric: autoclimb.Metric, truth: pd.DataFrame, said: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answers as the metric takes them, rows in the truth's order. Refuses tables of different ids."""
    if sorted(truth.index) != sorted(said.index):
        sys.exit("the submission's ids are not those of the answers")
    said = said.loc[truth.index]
    there, given = truth.iloc[:, 0], said.iloc[:, 0]
    if metric.wants == "number" or metric.wants == "grade":
        return there.to_numpy(float), given.to_numpy(float)
    if metric.wants == "probability":
        if truth.shape[1] > 1:
            table = truth.to_numpy(float)
            one = bool(np.all(table.sum(1) == 1))
            return table.argmax(1) if one else table.astype(np.uint8), said[truth.columns].to_numpy(float)
        positive = given.to_numpy(float)
        return there.to_numpy(float).astype(np.int64), np.stack([1 - positive, positive], 1)
    cells = [cell.split() if metric.wants in ("labels", "ranking") else [cell] for cell in [*there, *given]]
    place = {name: i for i, name in enumerate(sorted({name for cell in cells for name in cell}))}
    known, answered = cells[: len(there)], cells[len(there) :]
    if metric.wants == "labels" and any(len(cell) != 1 for cell in cells):
        return indicators(known, place), indicators(answered, place)
    single = np.array([place[cell[0]] for cell in known])
    if metric.wants != "ranking":
        return single, np.array([place[cell[0]] for cell in answered])
    places = metric.k or max(map(len, answered))
    ranked = np.full((len(answered), places), -1)
    for row, cell in zip(ranked, answered, strict=True):
        row[: len(cell)] = [place[name] for name in cell[:places]]
    return single, ranked


def indicators(cells: list[list[str]], place: dict[str, int]) -> np.ndarray:
    """`(N, C)` 0/1 from sets of names."""
    table = np.zeros((len(cells), len(place)), np.uint8)
    for row, cell in zip(table, cells, strict=True):
        row[[place[name] for name in cell]] = 1
    return table


if __name__ == "__main__":
    main()
