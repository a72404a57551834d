"""Seconds that trials were planned to take against those that they took, from the records of finished runs.

    uv run python benchmarks/costs.py RUN... [--each] [--anew]

A RUN is a run's folder, or a folder of runs such as a bench's. Every trial that ran to its end has on record what the
controller took it to cost when it began, corrected by the trials before it. The table gives, for each kind of trial,
the median and the 90th percentile of the error: how far the seconds were off, as a share of the plan. `--each` lists
trials. `--anew` plans them as this checkout does, from the speeds that each run measured and its trials in their order:
so a change of costs is tried on runs that are over. Runs on a processor only, of one picture an item.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import heading

from autoclimb.config import Config
from autoclimb.disk import read_json
from autoclimb.run.trials import speed_key
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import asked_cost, with_kept
from autoclimb.search.situation import Situation, Speed
from autoclimb.search.space import SearchSpace
from autoclimb.types import History, Trial

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


def by_time(paths: Iterable[Path]) -> list[Path]:
    """The files, oldest first."""
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)


def costs_in(folder: Path, anew: bool = False) -> Iterator[Cost]:
    """The costs of the finished trials of every run in the folder that were planned on record, or are planned anew."""
    plans: dict[Path, dict[str, float]] = {}
    for path in by_time(folder.glob("**/trials/*/trial.json")):
        record = json.loads(path.read_text())
        planned = record.get("facts", {}).get("planned_s", 0.0)
        if record["status"] != "done" or not planned:
            continue
        if anew:
            home = path.parents[2]
            plans[home] = plans.get(home) or planned_anew(home)
            planned = plans[home][path.parent.name]
            if planned == math.inf:  # its net was not measured by that name
                continue
        config = Config.from_json(record["config"])
        run = str(path.parents[2].relative_to(folder)) if path.parents[2] != folder else folder.name
        words = f"{config.backbone} {config.size} px, {len(config.folds)} folds"
        yield Cost(run, kind_of(config, record["stage"]), words, planned, record["seconds"])


def planned_anew(run: Path) -> dict[str, float]:
    """Seconds that this checkout would plan for each trial of a run on a processor when it began, by its key."""
    history, plans = History(), {}

    def folds_done(config: Config) -> int:
        same = [t.config for t in history.done() if t.config.nets_key == config.nets_key]
        answering = [other for other in same if other.predict_test or not config.predict_test]
        return len(set(config.folds) & {fold for other in answering for fold in other.folds})

    situation = replace(situation_of(run), folds_done=folds_done)
    for trial in trials_of(run):
        known = with_kept(history, corrected(history, situation))
        plans[trial.config.key] = asked_cost(trial.config, history, known)
        history.add(trial)
    return plans


def trials_of(run: Path) -> list[Trial]:
    """A run's trials in their order, without their predictions."""
    records = [read_json(path) for path in by_time(run.glob("trials/*/trial.json"))]
    return [Trial(**{**record, "config": Config.from_json(record["config"])}) for record in records]


def situation_of(run: Path) -> Situation:
    """What costs depend on, from a run's records."""
    speeds = read_json(run / "speeds.json")
    hardware = trials_of(run)[0].facts.get("hardware", "")
    setup: Any = SimpleNamespace(hardware=hardware)
    sizes = [min(height, width) for _, height, width in read_json(run / "facts.json")["sizes"]["train"]]
    nothing: dict[str, Any] = {"kind": "multiclass", "metric": "", "wants": "", "beta": 0.0, "average": ""}
    nothing |= {"by_class": False, "imbalance": 1.0, "pretrained": (), "space": SearchSpace(), "seed": 0}
    return Situation(
        **nothing,
        rows=len(read_json(run / "train_ids.json")),
        answered=len(np.load(run / "blend_test.npy", mmap_mode="r")),
        side=int(np.median(sizes)),
        pictures=1,
        folds=1 + int(np.load(run / "fold_of.npy").max()),
        budget=read_json(run / "run.json")["budget"],
        device="cpu",
        measure=lambda config: Speed(**speeds.get(speed_key(setup, config), {"train": 0.0, "predict": 0.0})),
        left=lambda: 0.0,
        remember=lambda name, make: make(),
        hardware=hardware,
    )


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
    parser.add_argument("--anew", action="store_true", help="against what this checkout would plan")
    options = parser.parse_args()
    costs = [cost for folder in options.runs for cost in costs_in(folder, options.anew)]
    if not costs:
        sys.exit("no finished trial there has its planned seconds on record")
    for cost in costs if options.each else ():
        print(
            f"{cost.run}: {cost.kind}, {cost.words}: {cost.planned:.1f} s, took {cost.taken:.1f} s, {cost.error:+.0%}"
        )
    title = f"planned {'anew ' if options.anew else ''}and real seconds of {len(costs)} trials"
    print(heading(title) + table(costs), end="")


if __name__ == "__main__":
    main()
