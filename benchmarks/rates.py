"""What fine-tuning's rate below the head is worth at several lengths, on the nets that come with the installation.

    uv run python benchmarks/rates.py --sets leaf99 [--folds 2]

Each cell is `tf_efficientnet_lite0` trained on some folds of a set of suite.toml for a number of epochs, its head at
the plan's rate and everything below at a share of it. The table gives the score of held-out rows and the difference of
losses by row to the middle share. Lengths are epochs: other work on the machine changes the seconds, not the scores.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lab import Lab, difference, opened_anew
from record import append, heading, show

from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.search.nets import fine_tuning, from_box

SHARES = (0.03, 0.1, 0.3)
MIDDLE = 0.1
LENGTHS = (2.0, 6.0, 12.0)
HEADER = "| set | epochs | below the head | out of fold | loss against x0.1 | seconds |\n|---|---|---|---|---|---|\n"


def rows_of(lab: Lab, name: str, size: int, folds: int) -> Iterator[str]:
    """The table's rows for one set, a length at a time."""
    base = fine_tuning(from_box(), "cpu")[0].vary(size=size, policy="flip", tta="flip", folds=tuple(range(folds)))
    for epochs in LENGTHS:
        cells = [base.vary(epochs=epochs, backbone_lr=share) for share in SHARES]
        trained = {config.backbone_lr: lab.trained(config) for config in cells}
        losses = {share: losses_by_row(lab.goal, lab.task.truth, oof) for share, (oof, _) in trained.items()}
        for share, (oof, seconds) in trained.items():
            scored = cross_fitted_score(lab.train, oof)
            yield (
                f"| {name} | {epochs:g} | x{share:g} = {base.lr * share:.1e} "
                f"| {lab.metric.shown(scored.score):.4f} ± {scored.stderr:.4f} "
                f"| {difference(losses[share], losses[MIDDLE])} | {seconds:.0f} |\n"
            )


def main() -> None:
    """Train every cell and append a table."""
    parser = argparse.ArgumentParser(description="Measure rates below the head at several lengths.")
    parser.add_argument("--sets", default="leaf99")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    append(options.out, heading("rates below the head, tf_efficientnet_lite0") + HEADER)
    for name in options.sets.split(","):
        with opened_anew(name) as lab:
            for row in rows_of(lab, name, options.size, options.folds):
                show(options.out, row)


if __name__ == "__main__":
    main()
