"""Does the blend hold what it promises? Errors on rows kept back, the intervals' coverage, and claims on noise.

    python benchmarks/blend.py --json blend.json [--only NAME ...] [--runs RUN ...] [--draws N]

Collections of out-of-fold predictions are made on the spot: synthetic members that see the truth through noise of
their own, and models of scikit-learn on its own small data sets. `--runs` adds kept runs: half of their train rows is
blended, the other half scored. With `--draws` errors are means over several draws of the rows or of the halves. For
each collection the file holds

- best_single, mean, greedy, winner, chosen: the error on the rows kept back, lower is better (one minus the score of a
  metric that grows), of the member with the best out-of-fold score, two fixed blenders, the blender with the best
  cross-fitted score, and what is chosen, which may be the mean of several
- over_winner, over_winner_error: the error of the chosen one over that of the winner, less one, and its standard error
  over draws
- coverage: the share of 200 resamples of the blended rows whose 95 % interval holds the score of all of them
- noise_claim, noise_error: what a blend of the same members claims over the constant prediction once their rows were
  dealt out by lot, and the standard error of that over draws
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from autoclimb.arrays import predicted_rows
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.score.crossfit import cross_answers, cross_fitted_score, rule_of
from autoclimb.score.decide import truth_for
from autoclimb.score.intervals import interval
from autoclimb.score.metrics import metric_named
from autoclimb.score.parts import unit_of, units_of
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal, Kind, Trial

RESAMPLES = 200
DRAWS = 8  # of noise
NOISE_ROWS = 300


@dataclass(frozen=True, eq=False)
class Collection:
    """Members' predictions: `trials` of the blended rows with truth, folds and groups, their `test` and its truth."""

    name: str
    goal: Goal
    trials: list[Trial]
    truth: np.ndarray
    fold_of: np.ndarray
    test_truth: np.ndarray
    groups: np.ndarray | None = None

    @property
    def train(self) -> TrainRows:
        """The blended rows."""
        return TrainRows(self.goal, self.truth, self.fold_of, self.groups)


def member(number: int, oof: np.ndarray, test: np.ndarray) -> Trial:
    """A finished trial of five folds with these predictions."""
    return Trial(Config(lr=1.0 + number, folds=(0, 1, 2, 3, 4)), "made", "done", 0.0, 0.0, 1.0, oof=oof, test=test)


# --- collections -----------------------------------------------------------------------------------------------------


def synthetic(metric: str, kind: Kind, n: int = 600, members: int = 10, seed: int = 0) -> Collection:
    """Members of unequal skill, two of them near-copies; a test prediction is the mean of five nets."""
    r, m = np.random.default_rng(seed), 2000
    width = {"binary": 2, "multilabel": 8, "regression": 1}.get(kind, 4)
    z = r.normal(size=(n + m, width)) * 2 - (1.5 if kind == "multilabel" else 0)
    right = chances(z, kind)
    if kind == "regression":
        truth: np.ndarray = z[:, 0] + r.normal(size=n + m)
    elif kind == "multilabel":
        truth = (r.random(z.shape) < right).astype(np.uint8)
    else:
        truth = (r.random((n + m, 1)) > np.cumsum(right, axis=1)[:, :-1]).sum(1)
    trials, of_kind = [], r.normal(size=(members, *z.shape))
    of_kind[1] = of_kind[0] + 0.05 * of_kind[1]
    for i in range(members):
        own = [of_kind[i] + 0.7 * r.normal(size=z.shape) for _ in range(5)]
        nets = [chances(1.3 * (z + (0.8 + 0.1 * i) * noise), kind) for noise in own]
        trials.append(member(i, nets[0][:n], np.mean(nets, axis=0)[n:]))
    goal = Goal(metric_named(metric), kind, (0.0, 1.0, 2.0, 3.0) if kind == "ordinal" else ())
    return Collection(f"synthetic-{metric}-{kind}", goal, trials, truth[:n], r.permutation(n) % 5, truth[n:])


def chances(z: np.ndarray, kind: Kind) -> np.ndarray:
    """Predictions of log odds, or the numbers themselves."""
    if kind == "regression":
        return z
    return np.asarray(expit(z) if kind == "multilabel" else softmax(z, axis=1))


def real(data: str, metric: str, kind: Kind, draw: int = 0) -> Collection:
    """Nine models of scikit-learn on one of its data sets, half of whose rows are kept back."""
    from sklearn import datasets, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    order = np.random.default_rng(2 * draw).permutation(len(x))
    x, y, n = (
        x[order] + np.random.default_rng(2 * draw + 1).normal(size=x.shape) * 0.8,
        y[order],
        len(x) // 2,
    )  # else too easy
    fold_of = np.arange(n) % 5
    if kind == "regression":
        models = [linear_model.Ridge(a) for a in (1, 100)] + [svm.SVR(C=c) for c in (10, 100)]
        models += [neighbors.KNeighborsRegressor(k) for k in (5, 25)]
        models += [ensemble.RandomForestRegressor(60, random_state=0), ensemble.ExtraTreesRegressor(60, random_state=0)]
        models += [linear_model.HuberRegressor(max_iter=1000)]
    else:
        models = [linear_model.LogisticRegression(C=c, max_iter=500) for c in (0.01, 1)]
        models += [neighbors.KNeighborsClassifier(k) for k in (3, 15)]
        models += [
            ensemble.RandomForestClassifier(60, random_state=0),
            ensemble.ExtraTreesClassifier(60, random_state=0),
        ]
        models += [neural_network.MLPClassifier((h,), max_iter=60, random_state=0) for h in (16, 64)]
        models += [naive_bayes.GaussianNB()]
    trials = []
    warnings.simplefilter("ignore", ConvergenceWarning)
    for number, model in enumerate(models):
        parts = [model.fit(x[:n][fold_of != k], y[:n][fold_of != k]) and _of(model, x) for k in range(5)]
        oof = np.choose(fold_of[:, None], [p[:n] for p in parts])
        trials.append(member(number, oof, np.mean([p[n:] for p in parts], axis=0)))
    grades = tuple(float(g) for g in np.unique(y)) if kind == "ordinal" else ()
    goal = Goal(metric_named(metric), kind, grades)
    return Collection(f"{data}-{metric}", goal, trials, y[:n], fold_of, y[n:])


def _of(model: object, x: np.ndarray) -> np.ndarray:
    predict = getattr(model, "predict_proba", None)
    return np.asarray(predict(x) if predict else model.predict(x)[:, None])  # type: ignore[attr-defined]


def kept(folder: Path, draw: int = 0) -> Collection:
    """A kept run's trials that cover all its rows; half of them, or of their groups, is blended."""
    record = record_of(open_run(folder))
    rows = np.flatnonzero(record.fold_of >= 0)
    unit = unit_of(len(rows), record.train.groups_of(rows))
    count = int(unit.max()) + 1
    half = (np.random.default_rng(draw).permutation(count) < count // 2)[unit]
    trials = []
    for t in record.trials:
        if t.oof is not None and predicted_rows(t.oof)[rows].all():
            own, others = (np.asarray(t.oof[rows[some]]) for some in (half, ~half))
            trials.append(replace(t, oof=own, test=others, config=t.config.vary(folds=(0,))))
    truth, own_unit = np.asarray(record.truth[rows]), np.unique(unit[half], return_inverse=True)[1]
    groups = None if record.groups is None else own_unit
    return Collection(folder.name, record.goal, trials, truth[half], own_unit % 5, truth[~half], groups)


SYNTHETIC: dict[str, tuple[str, Kind]] = {
    "synthetic-accuracy": ("accuracy", "multiclass"),
    "synthetic-log-loss": ("log-loss", "multiclass"),
    "synthetic-auc": ("roc-auc", "binary"),
    "synthetic-f2": ("f2", "multilabel"),
    "synthetic-f1-macro": ("f1-macro", "multilabel"),
    "synthetic-qwk": ("qwk", "ordinal"),
    "synthetic-rmse": ("rmse", "regression"),
}
REAL: dict[str, tuple[str, str, Kind]] = {
    "digits-accuracy": ("digits", "accuracy", "multiclass"),
    "digits-log-loss": ("digits", "log-loss", "multiclass"),
    "digits-qwk": ("digits", "qwk", "ordinal"),
    "digits-map@3": ("digits", "map@3", "multiclass"),
    "cancer-auc": ("breast_cancer", "roc-auc", "binary"),
    "cancer-f1": ("breast_cancer", "f1", "binary"),
    "diabetes-rmse": ("diabetes", "rmse", "regression"),
    "diabetes-mae": ("diabetes", "mae", "regression"),
}


def collection(name: str, draw: int) -> Collection:
    """The collection of this name, from another draw of its rows for each number."""
    return synthetic(*SYNTHETIC[name], seed=draw) if name in SYNTHETIC else real(*REAL[name], draw=draw)


# --- measurements ----------------------------------------------------------------------------------------------------


def error_kept_back(c: Collection, allow: list[str] | None = None) -> tuple[float, str]:
    """The error on the rows kept back, by the decision learned out of fold, and the blender that scored best there.

    `allow` names the blenders considered.
    """
    blend = blend_of(c.trials, c.train, allow=allow)
    rule = rule_of(c.train, blend.oof)
    score = c.goal.score(truth_for(c.goal, c.test_truth), answer(rule, blend.test))
    return (1 - score if c.goal.metric.greater_is_better else -score), max(blend.tried, key=blend.tried.__getitem__)


def errors(c: Collection) -> dict[str, float]:
    """The errors on the rows kept back, by column of the file."""
    chosen, winner = error_kept_back(c)
    fixed = {"best_single": "best", "mean": "mean", "greedy": "greedy", "winner": winner}
    return {**{name: error_kept_back(c, [blender])[0] for name, blender in fixed.items()}, "chosen": chosen}


def coverage(c: Collection) -> float:
    """The share of resamples of the blended rows whose interval holds the score of all of them."""
    blend = blend_of(c.trials, c.train, allow=["mean"])
    answers = cross_answers(c.goal, c.truth, blend.oof, c.fold_of)
    target, random = truth_for(c.goal, c.truth), np.random.default_rng(0)
    score, held = c.goal.score(target, answers), 0
    units = units_of(len(target), unit_of(len(target), c.groups))
    assert isinstance(units, list)
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(units), len(units))
        lot = np.concatenate([units[i] for i in drawn])
        known = None if c.groups is None else np.repeat(np.arange(len(drawn)), [len(units[i]) for i in drawn])
        low, high = interval(c.goal, target[lot], answers[lot], known)
        held += low <= score <= high
    return held / RESAMPLES


def noise_claim(c: Collection) -> tuple[float, float]:
    """What members dealt out by lot claim over the constant prediction, and its standard error over draws."""
    claims, n = [], min(len(c.truth), NOISE_ROWS)
    truth, fold_of = c.truth[:n], np.arange(n) % 5
    if c.goal.kind in ("regression", "multilabel"):
        value = np.median(truth) if c.goal.metric.constant == "median" else truth.mean(0)
        constant = np.repeat(np.atleast_2d(value), n, axis=0)
    else:
        width = c.trials[0].oof.shape[1]  # type: ignore[union-attr]
        constant = np.repeat(np.bincount(truth, minlength=width)[None, :] / n, n, axis=0)
    nothing = cross_fitted_score(TrainRows(c.goal, truth, fold_of), constant).score
    for draw in range(DRAWS):
        lot = np.random.default_rng(draw).permutation(n)
        dealt = [replace(t, oof=t.oof[:n][lot]) for t in c.trials]  # type: ignore[index]
        claims.append(blend_of(dealt, TrainRows(c.goal, truth, fold_of), quick=True).score - nothing)
    return float(np.mean(claims)), float(np.std(claims, ddof=1) / DRAWS**0.5)


def measured(draw: Callable[[int], Collection], draws: int) -> dict[str, float | str]:
    """One object of the file; coverage and claims are of the first draw."""
    start = time.monotonic()
    c = draw(0)
    claim, error = noise_claim(c)
    drawn = [errors(c), *(errors(draw(number)) for number in range(1, draws))]
    row: dict[str, float | str] = {"name": c.name}
    row |= {name: round(float(np.mean([one[name] for one in drawn])), 5) for name in drawn[0]}
    over = np.array([one["chosen"] / max(one["winner"], 1e-9) - 1 for one in drawn])
    row["over_winner"] = round(float(over.mean()), 4)
    if draws > 1:
        row["over_winner_error"] = round(float(over.std(ddof=1) / draws**0.5), 4)
    row |= {"coverage": coverage(c), "noise_claim": round(claim, 5), "noise_error": round(error, 5)}
    return row | {"seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    """Measures the collections asked for and writes the file after each."""
    names = [*SYNTHETIC, *REAL]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    parser.add_argument("--draws", type=int, default=1)
    asked = parser.parse_args()
    rows = []
    sources = [*(partial(collection, name) for name in asked.only), *(partial(kept, folder) for folder in asked.runs)]
    for source in sources:
        rows.append(measured(source, asked.draws))
        print(" ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        asked.json.write_text(json.dumps(rows, indent=1))
    for other in ("best_single", "greedy", "winner"):
        ratio = [float(r["chosen"]) / max(float(r[other]), 1e-9) for r in rows]
        print(f"chosen / {other}: {np.mean(ratio):.3f}, at most {max(ratio):.3f}")


if __name__ == "__main__":
    main()
