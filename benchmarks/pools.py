"""What members of a bank gain beside others: out of fold, and on the test, where all folds' nets answer together.

    uv run python benchmarks/pools.py [--sets intel_scenes,cifar10]

The first table has each recorded trial of `bank/SET.npz`: its cross-fitted score, that of its first fold's net on the
test, and that of all its nets, which tells what their mean gains. The second has blends of some of them with the frozen
features that every plan has, and of nets without features: scores, and losses by row less those of both tops with
features, paired by row, ± standard errors. All trainings of a pool are the recorded ones, at 1.25 times enough epochs,
"brief" at .75.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bank import BANK
from bank_rows import words_of
from lab import SUITE, difference
from record import append, heading, show
from recordings import Record
from replays import Known, held_out, known_set, test_score

from autoclimb import Trial
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.score.by_row import losses_by_row
from autoclimb.search.nets import deeper_top_of, from_box, top_of

SMALL, LARGE = (row["backbone"] for row in from_box())
POOLS = {
    "both tops": ("top of small", "top of large"),
    "top of large": ("top of large",),
    "deeper top of small": ("deeper top of small",),
    "deeper top of small, top of large": ("deeper top of small", "top of large"),
    "both deeper tops": ("deeper top of small", "deeper top of large"),
    "all of small": ("all of small",),
    "all of small, top of large": ("all of small", "top of large"),
    "all of small, brief, top of large": ("all of small, brief", "top of large"),
    "all of small, both tops": ("all of small", "top of small", "top of large"),
}
TRIALS = "| set | trial | out of fold | test, one net | test, all nets |\n|---|---|---|---|---|\n"
BLENDS = (
    "\n| set | with features | nets | out of fold | test | loss out of fold, difference | on the test |\n"
    + "|---" * 7
    + "|\n"
)


def trial_of(known: Known, record: Record) -> Trial:
    """The record as a trial that is done."""
    oof, score, stderr = held_out(known, record, record.config.folds)
    return Trial(record.config, "bank", "done", score, stderr, 1.0, oof, record.test, facts=record.facts)


def named(config: Config) -> str:
    """A pretrained net of the pools in words; its size and length are the recorded ones."""
    part = {top_of(config.backbone): "top", deeper_top_of(config.backbone): "deeper top", 0: "all"}[config.top]
    return f"{part} of {'small' if config.backbone == SMALL else 'large'}"


def members(known: Known) -> dict[str, Trial]:
    """The first recorded net of each kind by name; of those that differ in length alone a shorter one is brief."""
    trials: dict[str, Trial] = {}
    for record in known.records:
        config = record.config
        if config.train != "net" or not config.weights:
            continue
        name = named(config)
        if name in trials:
            first = trials[name].config
            if config.vary(epochs=first.epochs) != first or config.epochs > first.epochs:
                continue
            name += ", brief"
        if name not in trials:  # adopted nets come last
            trials[name] = trial_of(known, record)
    return trials


def trial_rows(name: str, known: Known) -> Iterator[str]:
    """A row for each recorded trial."""
    for record in known.records:
        scores = [trial_of(known, record).score]
        scores += [test_score(known, record.oof, test) for test in (record.first, record.test)]
        cells = [f"{known.goal.metric.shown(score):.4f}" for score in scores]
        yield f"| {' | '.join([name, words_of(record.config), *cells])} |\n"


def pool_rows(name: str, known: Known) -> Iterator[str]:
    """A row for each pool that the bank has members of, those of both tops with features first."""
    nets = members(known)
    features = [trial_of(known, r) for r in known.records if r.config.train == "features"]
    truth = np.asarray(known.truth).astype(known.task.truth.dtype)
    base: list[np.ndarray] = []
    for beside in (True, False):
        for words, wanted in POOLS.items():
            if not set(wanted) <= nets.keys():
                continue
            blend = blend_of([*(features if beside else []), *(nets[net] for net in wanted)], known.train)
            losses = [
                losses_by_row(known.goal, labels, np.asarray(predicted))
                for labels, predicted in ((known.task.truth, blend.oof), (truth, blend.test))
            ]
            base = base or losses
            gaps = [difference(own, theirs) for own, theirs in zip(losses, base, strict=True)]
            scores = [blend.score, test_score(known, np.asarray(blend.oof), blend.test)]
            shown = [f"{known.goal.metric.shown(score):.4f}" for score in scores]
            cells = [name, "yes" if beside else "no", words, *shown, *gaps]
            yield f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Append both tables, and print them as they come."""
    parser = argparse.ArgumentParser(description="Blend the members of a bank.")
    parser.add_argument("--sets", default="", help="names, comma separated; default all in the bank")
    parser.add_argument("--bank", type=Path, default=BANK, help="folder of bank files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    names = options.sets.split(",") if options.sets else [path.stem for path in sorted(options.bank.glob("*.npz"))]
    sets = {name: known_set(SUITE, name, options.bank / f"{name}.npz") for name in names}
    append(options.out, heading("members of a bank, and their blends"))
    for head, table in ((TRIALS, trial_rows), (BLENDS, pool_rows)):
        append(options.out, head)
        for name, known in sets.items():
            for row in table(name, known):
                show(options.out, row)


if __name__ == "__main__":
    main()
