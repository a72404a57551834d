"""What fine-tuning's rate below the head is worth at several lengths, on the nets that come with the installation.

    uv run python benchmarks/rates.py --data DIR --answers DIR --sets leaf99 [--folds 2]

Each cell is `tf_efficientnet_lite0` trained on some folds for a number of epochs, its head at the plan's rate and
everything below at a share of it. All cells of a set are one run of `autoclimb.fit`, so they share folds and pixels.
The table gives the scores of held-out rows and of the test, and the difference of losses by row to the middle share.
Lengths are epochs, so other work on the machine changes the seconds and not the scores.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from record import append, heading
from run import METRIC, test_score

import autoclimb
from autoclimb import Config, History, Situation, Trial
from autoclimb.data.read.folder import read_folder
from autoclimb.report.submission import write_submission
from autoclimb.run import store
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.decide import learn_rule
from autoclimb.score.rules import answer
from autoclimb.search.nets import fine_tuning, from_box
from autoclimb.types import Goal

SHARES = (0.03, 0.1, 0.3)
MIDDLE = 0.1
LENGTHS = (2.0, 6.0, 12.0)
LONGEST = "1d"
COLUMNS = "| set | epochs | below the head | out of fold | loss against x0.1 | test | seconds |\n"
HEADER = COLUMNS + "|---|---|---|---|---|---|---|\n"


def cells(size: int, folds: int) -> list[Config]:
    """The configs of the table, short ones first."""
    base = fine_tuning(from_box(), "cpu")[0].vary(size=size, policy="flip", tta="flip", folds=tuple(range(folds)))
    return [base.vary(epochs=epochs, backbone_lr=share) for epochs in LENGTHS for share in SHARES]


def rows_of(name: str, asked: argparse.Namespace) -> Iterator[str]:
    """The table's rows for one set."""
    configs = cells(asked.size, asked.folds)

    def plan(history: History, s: Situation) -> Iterator[list[Config]]:
        for config in configs:
            yield [config]

    with tempfile.TemporaryDirectory(prefix="autoclimb-rates-") as temporary:
        folder = Path(temporary) / name
        metric = autoclimb.metric_named(METRIC[name])
        autoclimb.fit(asked.data / name, metric=metric, budget=LONGEST, out=folder, plan=[plan], yes=True)
        task = read_folder(asked.data / name, metric)
        goal = Goal(metric, task.kind, task.grades)
        trials = {t.key: t for t in store.all_trials(folder) if t.status == "done"}
        for config in configs:
            trial, middle = trials.get(config.key), trials.get(config.vary(backbone_lr=MIDDLE).key)
            if trial is None or middle is None:
                continue
            test, stderr = test_of(trial, task, goal, asked.answers / f"{name}.csv", Path(temporary))
            gain, error = paired(trial, middle, task, goal)
            yield (
                f"| {name} | {config.epochs:g} | x{config.backbone_lr:g} = {config.lr * config.backbone_lr:.1e} "
                f"| {metric.shown(trial.score):.4f} ± {trial.stderr:.4f} | {gain:+.3f} ± {error:.3f} "
                f"| {test:.4f} ± {stderr:.4f} | {trial.seconds:.0f} |\n"
            )


def paired(trial: Trial, other: Trial, task: autoclimb.Task, goal: Goal) -> tuple[float, float]:
    """The mean difference of the two trials' losses by row with its error; below 0 where the first is better."""
    assert trial.oof is not None
    assert other.oof is not None
    own, theirs = (losses_by_row(goal, task.truth, t.oof) for t in (trial, other))
    differences = (own - theirs)[np.isfinite(own) & np.isfinite(theirs)]
    return float(differences.mean()), float(differences.std() / np.sqrt(len(differences)))


def test_of(trial: Trial, task: autoclimb.Task, goal: Goal, answers: Path, folder: Path) -> tuple[float, float]:
    """The metric's own value of the trial's answers on the test, with its standard error."""
    assert trial.oof is not None
    assert trial.test is not None
    known = np.isfinite(trial.oof).all(1)
    rule = learn_rule(goal, task.truth[known], trial.oof[known])
    path = folder / f"{trial.key}.csv"
    write_submission(task, answer(rule, trial.test), path, goal.metric, trial.test)
    return test_score(goal.metric, path, answers, 0)


def main() -> None:
    """Train every cell and append a table."""
    parser = argparse.ArgumentParser(description="Measure rates below the head at several lengths.")
    parser.add_argument("--data", type=Path, required=True, help="folder of competitions")
    parser.add_argument("--answers", type=Path, required=True, help="folder of <set>.csv in the submission's form")
    parser.add_argument("--sets", default="leaf99")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    append(asked.out, heading("rates below the head, tf_efficientnet_lite0") + HEADER)
    for name in asked.sets.split(","):
        for row in rows_of(name, asked):
            append(asked.out, row)
            print(row, end="", flush=True)


if __name__ == "__main__":
    main()
