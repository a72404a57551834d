"""Does allowing for other shares of the classes in the test rows pay, and does it ever hurt? Simulated, and kept runs.

    python benchmarks/shift.py [--draws 40] [--runs RUN ... --answers DIR] [--out FILE]

Each row is one metric in one world: how often the correction was taken, what it gained on the test rows of all draws,
and the worst of them. Worlds with the train rows' shares are where it must not be taken or not hurt: test predictions
surer or less sure than out-of-fold ones, and pictures that come from elsewhere. Kept runs have their own test rows, as
they are and thinned by class; their answers are DIR/<run>.csv in the submission's form.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blend import chances
from honesty import goal_of, head, mean_of, row, test_truth, world
from record import append, heading

from autoclimb.arrays import predicted_rows
from autoclimb.blend.sharpen import sharpened
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.priors import label_shift
from autoclimb.score.rules import answer
from autoclimb.types import Goal, Kind

METRICS: tuple[tuple[str, Kind], ...] = (
    ("accuracy", "multiclass"),
    ("log-loss", "multiclass"),
    ("f1-macro", "multiclass"),
    ("f1", "binary"),
    ("qwk", "ordinal"),
)
TEST_ROWS = 1000
POOL = 20_000  # rows that test rows are drawn from


@dataclass(frozen=True)
class World:
    """How test rows differ: the odds of the rarest class, how sure predictions are, a drift of the pictures."""

    rarest: float = 1.0
    sureness: float = 1.0
    drift: float = 0.0


WORLDS = {
    "as train": World(),
    "as train, test surer": World(sureness=1.4),
    "as train, test less sure": World(sureness=0.7),
    "as train, other pictures": World(drift=0.5),
    "as train, pictures from far away": World(drift=1.0),
    "rarest at half": World(rarest=0.5),
    "rarest at a fifth": World(rarest=0.2),
    "rarest at a fifth, test surer": World(rarest=0.2, sureness=1.4),
    "rarest at a fifth, test less sure": World(rarest=0.2, sureness=0.7),
    "rarest at a fifth, other pictures": World(rarest=0.2, drift=0.5),
}


def main() -> None:
    """Makes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = of_runs(options.runs, options.answers, options.draws) if options.runs else simulated(options.draws)
    if options.out:
        append(options.out, heading("other shares of classes in the test rows, allowed for on evidence"))
    for line in lines:
        print(line, flush=True)
        if options.out:
            append(options.out, line + "\n")


def simulated(draws: int) -> Iterator[str]:
    """A row for each world and metric: 1,000 train rows, as many test rows."""
    yield head("world", "metric", "taken", "gain on the test", "where taken", "worst draw")
    for name, how in WORLDS.items():
        for metric, kind in METRICS:
            yield row(name, metric, *summary([one_draw(metric, kind, how, seed) for seed in range(draws)]))


def summary(gains: list[float | None]) -> list[str]:
    """The cells from `taken` on: None is a draw in which nothing was taken."""
    taken = np.array([g for g in gains if g is not None])
    every = np.array([g or 0.0 for g in gains])
    worst = f"{every.min():+.4f}" if gains else ""
    return [f"{len(taken)} of {len(gains)}", mean_of(every), mean_of(taken), worst]


def one_draw(metric: str, kind: Kind, how: World, seed: int, n: int = 1000) -> float | None:
    """What the correction gains on the test rows, None where it was not taken."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n + POOL, random)
    noise, scale = random.normal(size=z.shape), np.ones((len(z), 1))
    scale[n:] += how.drift
    seen = z + scale * noise
    seen[n:, 0] += how.drift  # pictures from elsewhere look like the first class
    p = chances(1.3 * seen, kind)
    width = p.shape[1]
    odds = np.geomspace(1, how.rarest, width)[random.permutation(width)][truth[n:]]
    rows = n + random.choice(POOL, TEST_ROWS, replace=False, p=odds / odds.sum())
    return gained(goal, truth[:n], p[:n], sharpened(kind, p[rows], how.sureness), truth_for(goal, truth[rows]))


def gained(goal: Goal, truth: np.ndarray, oof: np.ndarray, test: np.ndarray, target: np.ndarray) -> float | None:
    """The score on test rows with the correction less the score without it."""
    shift = label_shift(goal, truth, oof, test)
    if shift is None:
        return None
    usual = goal.score(target, answer(learn_rule(goal, truth, oof), test))
    return goal.score(target, answer(shift.rule, shift.corrected(test))) - usual


def of_runs(folders: list[Path], answers: Path, draws: int) -> Iterator[str]:
    """Rows for kept runs: test rows as they are, and thinned by class to a fifth of the rarest, in draws."""
    yield head("run", "test rows", "metric", "taken", "gain on the test", "where taken", "worst draw")
    for folder in folders:
        run = open_run(folder)
        record = record_of(run)
        if record.blend is None or record.goal.kind in ("multilabel", "regression"):
            continue
        target = test_truth(run, answers)
        known = np.flatnonzero(predicted_rows(record.blend.oof))
        oof, test = np.asarray(record.blend.oof[known]), np.asarray(record.blend.test)
        of_class = np.unique(target, return_inverse=True)[1]
        truth = np.asarray(record.truth)[known]
        whole = gained(record.goal, truth, oof, test, target)
        yield row(record.name, len(test), run.metric.name, "yes" if whole is not None else "no", f"{whole or 0:+.4f}")
        lots = [thinned(of_class, seed) for seed in range(draws)]
        gains = [gained(record.goal, truth, oof, test[some], target[some]) for some in lots]
        if lots:
            yield row(record.name, f"thinned, {len(lots[-1])}", run.metric.name, *summary(gains))


def thinned(of_class: np.ndarray, seed: int) -> np.ndarray:
    """Rows by index, of one class all and of others as few as a fifth."""
    random, width = np.random.default_rng(seed), of_class.max() + 1
    odds = np.geomspace(1, 0.2, width)[random.permutation(width)][of_class]
    return np.flatnonzero(random.random(len(of_class)) < odds)


if __name__ == "__main__":
    main()
