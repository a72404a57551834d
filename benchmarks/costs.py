"""Seconds that trials were planned to take against those that they took, from the records of finished runs.

    uv run python benchmarks/costs.py RUN... [--each]

A RUN is a run's folder, or a folder of runs such as a bench's. Every trial that ran to its end has on record what the
controller took it to cost when it began, corrected by the trials before it. The table gives, for each kind of trial,
the median and the 90th percentile of the error: how far the seconds were off, as a share of the plan. `--each` lists
trials.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import heading

from autoclimb.types import Config

HEADER = "| kind | trials | median error | 90th percentile | planned s | taken s |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Cost:
    """What one trial was planned to take and took."""

    run: str
    kind: str
    words: str
    planned: float
    taken: float

    @property
    def error(self) -> float:
        """How far it was off, as a share of the plan; negative where it took less."""
        return self.taken / self.planned - 1


def kind_of(config: Config, stage: str) -> str:
    """What kind of trial it is, as far as its cost goes."""
    if config.train == "features":
        return "frozen features" if config.weights else "hand-made features"
    part = "top of a net" if config.top else "net"
    return f"{part}, {stage if stage in ('finalists', 'rest', 'one-net', 'random') else 'search'}"


def costs_in(folder: Path) -> Iterator[Cost]:
    """The costs of the finished trials of every run in the folder that were planned on record."""
    for path in sorted(folder.glob("**/trials/*/trial.json"), key=lambda path: path.stat().st_mtime_ns):
        record = json.loads(path.read_text())
        planned = record.get("facts", {}).get("planned_s", 0.0)
        if record["status"] != "done" or not planned:
            continue
        config = Config.from_json(record["config"])
        run = str(path.parents[2].relative_to(folder)) if path.parents[2] != folder else folder.name
        words = f"{config.backbone} {config.size} px, {len(config.folds)} folds"
        yield Cost(run, kind_of(config, record["stage"]), words, planned, record["seconds"])


def row(kind: str, costs: list[Cost]) -> str:
    """The table's row for some trials."""
    errors = np.abs([cost.error for cost in costs])
    planned, taken = sum(cost.planned for cost in costs), sum(cost.taken for cost in costs)
    figures = f"{np.median(errors):.0%} | {np.quantile(errors, 0.9):.0%} | {planned:.0f} | {taken:.0f}"
    return f"| {kind} | {len(costs)} | {figures} |\n"


def table(costs: list[Cost]) -> str:
    """The table: a row for each kind of trial, the last for all of them."""
    kinds = sorted({cost.kind for cost in costs})
    rows = [row(kind, [cost for cost in costs if cost.kind == kind]) for kind in kinds]
    return HEADER + "".join([*rows, row("all", costs)])


def main() -> None:
    """Print the table, with the heading that RESULTS.md wants."""
    parser = argparse.ArgumentParser(description="Compare planned with real seconds of trials.")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--each", action="store_true", help="a line for each trial too")
    asked = parser.parse_args()
    costs = [cost for folder in asked.runs for cost in costs_in(folder)]
    if not costs:
        sys.exit("no finished trial there has its planned seconds on record")
    for cost in costs if asked.each else ():
        print(
            f"{cost.run}: {cost.kind}, {cost.words}: {cost.planned:.1f} s, took {cost.taken:.1f} s, {cost.error:+.0%}"
        )
    print(heading(f"planned and real seconds of {len(costs)} trials") + table(costs), end="")


if __name__ == "__main__":
    main()
