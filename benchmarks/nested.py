"""What are frozen features worth beside nets on rows that no net of a blend has seen? Folds within folds of train rows.

    uv run python benchmarks/nested.py record --sets leaf99,intel_scenes [--first 8]
    uv run python benchmarks/nested.py blend --sets leaf99,intel_scenes

A blend learns its weights from predictions out of fold, each by one net, and answers test rows by the mean of all
folds' nets, which is worth more for nets than for heads on frozen features. How much more cannot be read off
predictions out of fold, and the answers of a benchmark must not say it. Here every pair of a set's five folds is left
out once: a config trained on the other three predicts both. So each fold is a test in turn, whose rows four nets of a
config answer together, as five do in a run, while the rows of the four other folds have predictions out of fold by one
net each.

`record` trains the bank's first configs of a set over the ten pairs, and keeps their predictions in `--work`; it goes
on from what is there. They take six fifths of what all folds take. `blend` appends a table: some nets with all
features, blended on four folds and scored on the fifth, each fold in turn: by weights learned out of fold alone ("no
share"), with the share of the nets' own blend that runs give it, with constant shares of it, and that blend alone.
Differences are of losses by row from "no share", paired, ± standard error.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from bank import BANK
from bank_rows import words_of
from lab import FOLDS, LONGEST, STARTING, SUITE, Lab, difference, opened
from record import append, heading, show
from recordings import load

from autoclimb.arrays import read_predictions
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.disk import write_array
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Trial

WORK = Path("autoclimb-runs") / "nested"
PAIRS = tuple(combinations(range(FOLDS), 2))
SHARES = (0.25, 0.5)  # of the nets' own blend
HEADER = (
    "| set | nets, with features | share | out of fold | on the fold left out | loss there | difference |\n"
    + "|---" * 7
    + "|\n"
)
Member = dict[tuple[int, int], np.ndarray]  # predictions (N, C) by pair of folds, NaN but for their rows


# --- recording -------------------------------------------------------------------------------------------------------


def recorded(lab: Lab, configs: Sequence[Config]) -> None:
    """Trains those of the configs that are not on disk yet; their predictions are kept as they come."""
    for config in configs:
        for pair in PAIRS:
            path = place_of(lab.folder, config, pair)
            if path.exists():
                continue
            left_out = np.isin(lab.fold_of, pair)
            np.save(lab.hello.fold_of, np.where(lab.fold_of < 0, -1, np.where(left_out, 0, 1)))
            lab.worker.greet(lab.hello.to_json(), STARTING)
            out = lab.folder / "trial"
            reply = lab.trial(config.vary(folds=(0,), predict_test=False), out, LONGEST)
            if reply["status"] != "done":
                raise SystemExit(reply["note"])
            write_array(path, np.asarray(read_predictions(out / "oof"), np.float32))
            shutil.rmtree(out)
        print(f"{lab.folder.name}: {words_of(config)}", flush=True)


def place_of(folder: Path, config: Config, pair: tuple[int, int]) -> Path:
    """The file of a config's predictions for a pair of folds, trained on the others."""
    return folder / f"{config.key}-{pair[0]}{pair[1]}.npy"


# --- blending --------------------------------------------------------------------------------------------------------


def rows_of(lab: Lab, name: str, configs: Sequence[Config]) -> Iterator[str]:
    """The table's rows for a set, of those of the configs that are recorded."""
    configs = [c for c in configs if all(place_of(lab.folder, c, pair).exists() for pair in PAIRS)]
    known = {c: {pair: np.load(place_of(lab.folder, c, pair)) for pair in PAIRS} for c in configs}
    features = [c for c in configs if c.train == "features"]
    nets = [c for c in configs if c.train == "net"]
    for words, some in {"all nets": nets, **{words_of(net): [net] for net in nets}}.items():
        beside, pool = [*features, *some], [known[c] for c in (*features, *some)]
        promised, plain = left_out_in_turn(lab, pool, beside, nets_share=0.0)
        blends = {"no share": (promised, plain), "as in a run": left_out_in_turn(lab, pool, beside)}
        promised, alone = left_out_in_turn(lab, [known[c] for c in some], some)
        blends |= {f"{share:g} of the nets": (np.nan, plain + share * (alone - plain)) for share in SHARES}
        blends["the nets alone"] = promised, alone
        base = losses_by_row(lab.goal, lab.task.truth, plain)
        for how, (promised, predicted) in blends.items():
            losses = losses_by_row(lab.goal, lab.task.truth, predicted)
            cells = [f"{lab.metric.shown(promised):.4f}" if np.isfinite(promised) else ""]
            cells += [
                f"{lab.metric.shown(cross_fitted_score(lab.train, predicted).score):.4f}",
                f"{np.nanmean(losses):.4f}",
            ]
            yield f"| {' | '.join([name, words, how, *cells, difference(losses, base)])} |\n"


def left_out_in_turn(
    lab: Lab, members: Sequence[Member], configs: Sequence[Config], **how: float
) -> tuple[float, np.ndarray]:
    """The mean score out of fold of the blends of four folds each, and what they answer the folds left out `(N, C)`."""
    predicted = np.full((len(lab.fold_of), lab.task.width), np.nan, np.float32)
    scores = []
    for fold in range(FOLDS):
        test, others = lab.fold_of == fold, [other for other in range(FOLDS) if other != fold]
        train = TrainRows(lab.goal, lab.task.truth, np.where(test, -1, lab.fold_of), lab.task.groups)
        trials = []
        for config, member in zip(configs, members, strict=True):
            oof = np.full_like(predicted, np.nan)
            for other in others:
                rows_there = lab.fold_of == other
                oof[rows_there] = member[tuple(sorted((fold, other)))][rows_there]  # type: ignore[index]
            on_test = np.mean([member[pair][test] for pair in PAIRS if fold in pair], 0)
            scored = cross_fitted_score(train, oof)
            trials.append(Trial(config, "nested", "done", scored.score, scored.stderr, 1.0, oof, on_test))
        blend = blend_of(trials, train, **how)  # type: ignore[arg-type]
        scores.append(blend.score)
        predicted[test] = blend.test
    return float(np.mean(scores)), predicted


def main() -> None:
    """Record, or append the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("record", "blend"))
    parser.add_argument("--sets", default="leaf99,intel_scenes")
    parser.add_argument("--first", type=int, default=13, help="configs of each set, the bank's most important ones")
    parser.add_argument("--work", type=Path, default=WORK, help="where recordings are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    if asked.step == "blend":
        append(asked.out, heading("folds left out in turn") + HEADER)
    for name in asked.sets.split(","):
        configs = [record.config for record in load(BANK / f"{name}.npz")[0][: asked.first]]
        with opened(SUITE, name, asked.work / name) as lab:
            if asked.step == "record":
                recorded(lab, configs)
            else:
                for row in rows_of(lab, name, configs):
                    show(asked.out, row)


if __name__ == "__main__":
    main()
