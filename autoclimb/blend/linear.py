"""A logistic or ridge stacker whose weights per class are drawn to weights shared by all classes.

Priors are Gaussian and given as precisions. They centre on the plain mean of the members, so that few rows or noise
change little.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoclimb.blend.rows import Rows, shares_of

MEMBERS = 12
SHARED, OWN, BIAS = 4.0, 44.0, 4.0  # standard deviations 0.5, 0.15, 0.5 in units of log odds (assumption)
MOST_CELLS = 1_000_000  # members x rows x classes a fit looks at


def _features(p: np.ndarray, link: str) -> np.ndarray:
    p = np.asarray(p, np.float64)
    if link == "number":
        return p
    logs = np.log(np.clip(p, 1e-6, 1))
    return logs if link == "classes" else logs - np.log(np.clip(1 - p, 1e-6, 1))


def chances(x: np.ndarray, link: str) -> np.ndarray:
    """Log odds as probabilities: of "classes" rows sum to one, of "labels" each is its own; a "number" is itself."""
    if link == "number":
        return x
    if link == "labels":
        return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    q = np.exp(x - x.max(1, keepdims=True))
    return q / q.sum(1, keepdims=True)


def fitted(rows: Rows) -> dict[str, Any]:
    """The weights `(K, C)` and biases `(C,)` of the twelve best members' log odds, or of their numbers."""
    picked = rows.diverse[:MEMBERS]
    link = {"multilabel": "labels", "regression": "number"}.get(rows.goal.kind, "classes")
    width = rows.predictions[0].shape[1]
    rows = rows.at_most(MOST_CELLS, width * len(picked))
    z = np.stack([_features(rows.of(i), link) for i in picked])
    true = rows.true
    if link == "number":
        weights, bias = _ridge(z[:, :, 0], true)
    else:
        target = true.astype(np.float64) if link == "labels" else shares_of(true, width)
        weights, bias = _logistic(z, target, link)
    return {"picked": picked, "link": link, "weights": weights.tolist(), "bias": bias.tolist()}


def apply(model: dict[str, Any], predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The stacker's predictions `(M, C)`."""
    return chances(scores(model, predictions), model["link"])


def scores(model: dict[str, Any], predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The stacker's log odds, or its numbers, `(M, C)`."""
    weights, link = np.asarray(model["weights"]), model["link"]
    return sum((w * _features(p, link) for w, p in zip(weights, predictions, strict=True)), np.asarray(model["bias"]))


def _ridge(z: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = np.full(len(z), 1 / len(z))
    x = z - z.mean(1, keepdims=True)
    left = true - true.mean() - start @ x
    noise = max(float(left.var()), 1e-12)
    moved = np.linalg.solve(x @ x.T + SHARED * noise * np.eye(len(z)), x @ left)
    weights = start + moved
    return weights[:, None], np.array([true.mean() - weights @ z.mean(1)])


def _logistic(z: np.ndarray, target: np.ndarray, link: str) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import minimize  # half a second to import

    members, _, width = z.shape

    def parts(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return flat[:members], flat[members : members + members * width].reshape(members, width), flat[-width:]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        shared, own, bias = parts(flat)
        x = np.einsum("knc,kc->nc", z, shared[:, None] + own) + bias
        q = chances(x, link)
        wrong = q - target
        if link == "labels":
            missed = float((np.logaddexp(0, x) - target * x).sum())
        else:
            normal = x.max(1) - np.log(q.max(1))  # log of the summed exponentials
            missed = float((normal - (target * x).sum(1)).sum())
        away = shared - 1 / members
        prior = (SHARED * away @ away + OWN * (own**2).sum() + BIAS * bias @ bias) / 2
        slope = np.einsum("knc,nc->kc", z, wrong)
        pull = (slope.sum(1) + SHARED * away, (slope + OWN * own).ravel(), wrong.sum(0) + BIAS * bias)
        return missed + float(prior), np.concatenate(pull)

    start = np.zeros(members + members * width + width)
    start[:members] = 1 / members
    # 30 steps: the remaining loss is far below what the rows can tell (assumption)
    shared, own, bias = parts(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 30}).x)
    return shared[:, None] + own, bias
