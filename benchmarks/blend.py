"""Does the blend hold what it promises? Errors on rows kept back, the intervals' coverage, and claims on noise.

    python benchmarks/blend.py --json blend.json [--only NAME ...] [--runs RUN ...]

Collections of out-of-fold predictions are made on the spot: synthetic members that see the truth through noise of
their own, and models of scikit-learn on its own small data sets. `--runs` adds kept runs: half of their train rows is
blended, the other half scored. For each collection the file holds

- best_single, mean, greedy, chosen: the error on the rows kept back, lower is better (one minus the score of a metric
  that grows), of the member with the best out-of-fold score, two fixed blenders and the one that was chosen
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
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from autoclimb.arrays import predicted_rows
from autoclimb.blend.choose import blend_of
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.score.crossfit import cross_answers, cross_fitted_score
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.intervals import interval
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.types import Config, Goal, Kind, Trial

RESAMPLES = 200
DRAWS = 8  # of noise
NOISE_ROWS = 300


@dataclass(frozen=True, eq=False)
class Collection:
    """Members' predictions: `trials` of the blended rows with truth and folds, their `test` and its truth."""

    name: str
    goal: Goal
    trials: list[Trial]
    truth: np.ndarray
    fold_of: np.ndarray
    test_truth: np.ndarray


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


def real(data: str, metric: str, kind: Kind) -> Collection:
    """Nine models of scikit-learn on one of its data sets, half of whose rows are kept back."""
    from sklearn import datasets, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    order = np.random.default_rng(0).permutation(len(x))
    x, y, n = x[order] + np.random.default_rng(1).normal(size=x.shape) * 0.8, y[order], len(x) // 2  # else too easy
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


def kept(folder: Path) -> Collection:
    """A kept run's trials that cover all its rows, half of which are blended and half kept back."""
    record = record_of(open_run(folder))
    rows = np.flatnonzero(record.fold_of >= 0)
    half = np.random.default_rng(0).permutation(len(rows)) < len(rows) // 2
    trials = []
    for t in record.trials:
        if t.oof is not None and predicted_rows(t.oof)[rows].all():
            own, others = (np.asarray(t.oof[rows[some]]) for some in (half, ~half))
            trials.append(replace(t, oof=own, test=others, config=t.config.vary(folds=(0,))))
    truth = np.asarray(record.truth[rows])
    return Collection(folder.name, record.goal, trials, truth[half], np.arange(half.sum()) % 5, truth[~half])


COLLECTIONS: dict[str, Callable[[], Collection]] = {
    "synthetic-accuracy": lambda: synthetic("accuracy", "multiclass"),
    "synthetic-log-loss": lambda: synthetic("log-loss", "multiclass"),
    "synthetic-auc": lambda: synthetic("roc-auc", "binary"),
    "synthetic-f2": lambda: synthetic("f2", "multilabel"),
    "synthetic-f1-macro": lambda: synthetic("f1-macro", "multilabel"),
    "synthetic-qwk": lambda: synthetic("qwk", "ordinal"),
    "synthetic-rmse": lambda: synthetic("rmse", "regression"),
    "digits-accuracy": lambda: real("digits", "accuracy", "multiclass"),
    "digits-log-loss": lambda: real("digits", "log-loss", "multiclass"),
    "digits-qwk": lambda: real("digits", "qwk", "ordinal"),
    "digits-map@3": lambda: real("digits", "map@3", "multiclass"),
    "cancer-auc": lambda: real("breast_cancer", "roc-auc", "binary"),
    "cancer-f1": lambda: real("breast_cancer", "f1", "binary"),
    "diabetes-rmse": lambda: real("diabetes", "rmse", "regression"),
    "diabetes-mae": lambda: real("diabetes", "mae", "regression"),
}


# --- measurements ----------------------------------------------------------------------------------------------------


def error_kept_back(c: Collection, allow: list[str] | None = None) -> float:
    """The error on the rows kept back, by the decision learned out of fold; `allow` names the blenders considered."""
    blend = blend_of(c.trials, c.goal, c.truth, c.fold_of, allow=allow)
    rule = learn_rule(c.goal, c.truth, blend.oof)
    score = c.goal.score(truth_for(c.goal, c.test_truth), answer(rule, blend.test))
    return 1 - score if c.goal.metric.greater_is_better else -score


def coverage(c: Collection) -> float:
    """The share of resamples of the blended rows whose interval holds the score of all of them."""
    blend = blend_of(c.trials, c.goal, c.truth, c.fold_of, allow=["mean"])
    answers = cross_answers(c.goal, c.truth, blend.oof, c.fold_of)
    target, random = truth_for(c.goal, c.truth), np.random.default_rng(0)
    score, held = c.goal.score(target, answers), 0
    for _ in range(RESAMPLES):
        lot = random.integers(0, len(target), len(target))
        low, high = interval(c.goal, target[lot], answers[lot])
        held += low <= score <= high
    return held / RESAMPLES


def noise_claim(c: Collection) -> tuple[float, float]:
    """What members dealt out by lot claim over the constant prediction, and its standard error over draws."""
    claims, n = [], min(len(c.truth), NOISE_ROWS)
    truth, fold_of = c.truth[:n], np.arange(n) % 5
    if c.goal.kind in ("regression", "multilabel"):
        constant = np.repeat(np.atleast_2d(truth.mean(0)), n, axis=0)
    else:
        width = c.trials[0].oof.shape[1]  # type: ignore[union-attr]
        constant = np.repeat(np.bincount(truth, minlength=width)[None, :] / n, n, axis=0)
    nothing = cross_fitted_score(c.goal, truth, constant, fold_of).score
    for draw in range(DRAWS):
        lot = np.random.default_rng(draw).permutation(n)
        dealt = [replace(t, oof=t.oof[:n][lot]) for t in c.trials]  # type: ignore[index]
        claims.append(blend_of(dealt, c.goal, truth, fold_of, quick=True).score - nothing)
    return float(np.mean(claims)), float(np.std(claims, ddof=1) / DRAWS**0.5)


def measured(c: Collection) -> dict[str, float | str]:
    """One object of the file."""
    start = time.monotonic()
    claim, error = noise_claim(c)
    row: dict[str, float | str] = {"name": c.name}
    for name, allow in (("best_single", ["best"]), ("mean", ["mean"]), ("greedy", ["greedy"]), ("chosen", None)):
        row[name] = round(error_kept_back(c, allow), 5)
    row |= {"coverage": coverage(c), "noise_claim": round(claim, 5), "noise_error": round(error, 5)}
    return row | {"seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    """Measures the collections asked for and writes the file after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(COLLECTIONS), default=list(COLLECTIONS))
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    rows = []
    for make in [*(COLLECTIONS[name] for name in asked.only), *((lambda f=f: kept(f)) for f in asked.runs)]:
        rows.append(measured(make()))
        print(" ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        asked.json.write_text(json.dumps(rows, indent=1))
    ratio = [float(r["chosen"]) / max(float(r["best_single"]), 1e-9) for r in rows]
    gain = [float(r["chosen"]) / max(float(r["greedy"]), 1e-9) for r in rows]
    print(f"chosen / best single: {np.mean(ratio):.3f}, at most {max(ratio):.3f}; chosen / greedy: {np.mean(gain):.3f}")


if __name__ == "__main__":
    main()
