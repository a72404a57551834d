"""Whether a training may go on from a shorter one's net: E epochs in one go against E/3, annealed, and then 2E/3.

    uv run python benchmarks/continuing.py --sets sign_digits:24:scratch,leaf99:9:box [--folds 2]

A finalist that repeats a trial of the search may start from that trial's net of the same fold, which saves a third of
the fold's time. Each row is one way to train the plan's first net for so many epochs on some folds of a set, from
scratch or from the weights that come with the installation. The last column but one is the difference of losses by row
to one go; that of another seed says what chance alone makes of it. Lengths are epochs: other work on the machine
changes the seconds, not the scores.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lab import SUITE, Lab, opened
from record import append, heading

from autoclimb.arrays import read_predictions
from autoclimb.run.store import nets_folder
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.search.nets import fine_tuning, from_box, from_scratch
from autoclimb.types import Config

ONE_GO = "one go"
LONGEST = 7200.0  # seconds of one cell
HEADER = (
    "| set | net | trained | epochs | out of fold | loss against one go | seconds |\n|---|---|---|---|---|---|---|\n"
)


def ways(base: Config, epochs: float) -> dict[str, Config]:
    """The ways to train, the shorter training before those that go on from it."""
    third, whole = base.vary(epochs=round(epochs / 3, 2)), base.vary(epochs=epochs)
    on = whole.vary(continues=third.nets_key)
    return {
        "a third": third,
        ONE_GO: whole,
        "a third, then on": on,
        "a third, then on at half the rate": on.vary(lr=base.lr / 2),
        "one go, another seed": whole.vary(seed=1),
    }


def rows_of(lab: Lab, name: str, base: Config, epochs: float, most: int) -> Iterator[str]:
    """The table's rows for one set, of the first ways."""
    configs = dict(list(ways(base, epochs).items())[:most])
    cells = {way: trained_cell(lab, config) for way, config in configs.items()}
    losses = {way: losses_by_row(lab.goal, lab.task.truth, oof) for way, (oof, _) in cells.items()}
    for way, (oof, seconds) in cells.items():
        scored = cross_fitted_score(lab.goal, lab.task.truth, oof, lab.fold_of)
        known = np.isfinite(losses[way])
        gap, usual = (losses[way] - losses[ONE_GO])[known], losses[ONE_GO][known].mean()
        yield (
            f"| {name} | {base.backbone} {base.size} px | {way} | {configs[way].epochs:g} "
            f"| {lab.metric.shown(scored.score):.4f} ± {scored.stderr:.4f} "
            f"| {gap.mean():+.4f} ± {gap.std() / np.sqrt(len(gap)):.4f} of {usual:.4f} "
            f"| {seconds:.0f} |\n"
        )


def trained_cell(lab: Lab, config: Config) -> tuple[np.ndarray, float]:
    """Out-of-fold predictions `(N, C)`, NaN where not predicted, and the seconds that the trial took."""
    out, start = lab.folder / config.key, time.monotonic()
    reply = lab.trial(config, out, LONGEST, nets_folder(lab.folder, config))
    if reply["status"] != "done" or (config.continues and "epochs_before" not in reply["facts"]):
        raise SystemExit(f"{config.nets_key}: {reply['status']} {reply['note']}")
    return np.asarray(read_predictions(out / "oof")), time.monotonic() - start


def base_of(source: str, folds: int) -> Config:
    """The plan's first net of that source: "scratch" or "box"."""
    how = {"policy": "flip", "tta": "none", "smoothing": 0.1, "folds": tuple(range(folds))}
    if source == "scratch":
        return from_scratch("cpu")[0].vary(size=64, **how)
    return fine_tuning(from_box(), "cpu")[0].vary(size=96, **how)


def main() -> None:
    """Train every cell and append a table."""
    parser = argparse.ArgumentParser(description="Compare trainings in one go with such that go on from a shorter one.")
    parser.add_argument("--sets", default="sign_digits:24:scratch,leaf99:9:box", help="name:epochs:scratch or box")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--ways", type=int, default=5, help="how many of the ways, the first of them the question")
    parser.add_argument("--folder", type=Path, help="where trials are kept, to go on where a measurement was stopped")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    append(asked.out, heading("trainings that go on from a shorter one") + HEADER)
    for entry in asked.sets.split(","):
        name, epochs, source = entry.split(":")
        with (
            tempfile.TemporaryDirectory(prefix="autoclimb-on-") as folder,
            opened(SUITE, name, asked.folder / name if asked.folder else Path(folder)) as lab,
        ):
            for row in rows_of(lab, name, base_of(source, asked.folds), float(epochs), asked.ways):
                append(asked.out, row)
                print(row, end="", flush=True)


if __name__ == "__main__":
    main()
