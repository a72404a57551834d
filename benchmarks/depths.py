"""What do nets gain beside others: more seeds of their tops, deeper tops, or all of one of them?

    uv run python benchmarks/depths.py --sets cifar10,intel_scenes [--epochs 6] [--seeds 2]

The two EfficientNet-Lites are trained on the first fold of sets of suite.toml: their tops, deeper tops and all of them,
as finalists of a run with that time would be (160 px, all of a net at 128 px). Then those of each of search.depths'
lists, and of a few others, are blended for log loss, cross-fitted over five parts of the fold's held-out rows. A table
gives the seconds of all trainings of a blend, its log loss on those rows and its difference to both tops', paired by
row, mean over the seeds. Lengths are epochs, so other work on the machine changes the seconds alone.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lab import Lab, difference, opened_anew
from record import append, heading, show
from snapshots import trained

from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.search.depths import LISTS, TOPS
from autoclimb.search.nets import deeper_top_of, fine_tuning, from_box, top_of
from autoclimb.types import Goal, Trial

PARTS = 5
DEPTHS = {"top": top_of, "deeper": deeper_top_of, "all": lambda backbone: 0}
SIZES = {"top": 160, "deeper": 160, "all": 128}
Net = tuple[int, str, int]  # its place among the box's, how much of it trains, and by how much its seed is raised
HEADER = "| set | nets | seconds a fold | log loss | difference |\n|---|---|---|---|---|\n"


def pools() -> dict[str, list[Net]]:
    """What is blended, by name, both tops first."""
    lists = {", ".join(f"{depth} of {i}" for i, depth in row): [(i, depth, 0) for i, depth in row] for row in LISTS}
    singles = {f"{depth} of {i} alone": [(i, depth, 0)] for i in (0, 1) for depth in DEPTHS}
    seeds = [(i, depth, 100 * raised) for raised in (0, 1) for i, depth in TOPS]
    return {**lists, "both tops from two seeds": seeds, **singles}


def config_of(net: Net, seed: int, epochs: float) -> Config:
    """The config of a net on the first fold."""
    place, depth, raised = net
    base = fine_tuning(from_box(), "cpu")[place]
    own = {"top": DEPTHS[depth](base.backbone), "size": SIZES[depth], "epochs": epochs, "seed": seed + raised}
    return base.vary(policy="flip", tta="flip", smoothing=0.1, folds=(0,), **own)


def rows_of(lab: Lab, name: str, epochs: float, seeds: int) -> Iterator[str]:
    """The table's rows for one set of classes."""
    goal, rows = Goal(metric_named("log-loss"), lab.task.kind), lab.fold_of == 0
    part_of = np.where(rows, np.random.default_rng(0).integers(0, PARTS, len(rows)), -1)
    train = TrainRows(goal, lab.task.truth, part_of, None)
    trial_of: dict[Config, Trial] = {}
    usual, truth = np.zeros(0), np.asarray(lab.task.truth)
    classes = truth.argmax(1) if truth.ndim == 2 else truth.astype(int)
    for words, nets in pools().items():
        losses, seconds = [], 0.0
        for seed in range(seeds):
            configs = [config_of(net, seed, epochs) for net in nets]
            trial_of |= {config: trained(lab, config) for config in configs if config not in trial_of}
            members = [trial_of[config] for config in configs]
            predicted = np.asarray(blend_of(members, train).oof, np.float64)
            losses.append(-np.log(np.clip(predicted[np.arange(len(rows)), classes], 1e-9, 1)))
            seconds += sum(member.seconds for member in members) / seeds
        by_row = np.where(rows, np.mean(losses, 0), np.nan)
        usual = usual if len(usual) else by_row
        gap = difference(by_row, usual) if by_row is not usual else ""
        yield f"| {name} | {words} | {seconds:.0f} | {np.nanmean(by_row):.4f} | {gap} |\n"


def main() -> None:
    """Train the nets of each set and append a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="cifar10,intel_scenes")
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    append(asked.out, heading("nets at several depths, blended") + HEADER)
    for name in asked.sets.split(","):
        with opened_anew(name) as lab:
            for row in rows_of(lab, name, asked.epochs, asked.seeds):
                show(asked.out, row)


if __name__ == "__main__":
    main()
