"""Blends without weights: means of the best members, each on the scale that some metric asks for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoclimb.blend.rows import Rows
from autoclimb.score.calibrate import logits, sigmoid

MEMBERS = 5
PLACES = 201  # quantiles that a member's distribution is known by; between them it is straight
Model = dict[str, Any]


def weighted(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The weighted mean `(M, C)` of the predictions."""
    total = np.zeros(predictions[0].shape)
    for weight, p in zip(model["weights"], predictions, strict=True):
        total += weight * np.asarray(p, np.float64)
    return total


def best(rows: Rows) -> Model:
    """The single member of the best score."""
    return {"picked": [rows.ranked[0]], "weights": [1.0]}


def mean(rows: Rows) -> Model:
    """The plain average of the best five members that differ, all where there are fewer."""
    picked = rows.diverse[:MEMBERS]
    return {"picked": picked, "weights": [1 / len(picked)] * len(picked)}


def plain(rows: Rows) -> Model:
    """The best five members that differ."""
    return {"picked": rows.diverse[:MEMBERS], "kind": rows.goal.kind}


def log_odds_mean(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """Probabilities of the mean log odds, or log probabilities: one sure member outweighs several that are not."""
    if model["kind"] == "multilabel":
        return sigmoid(np.mean([logits(p) for p in predictions], axis=0))
    z = np.mean([np.log(np.clip(np.asarray(p, np.float64), 1e-7, 1)) for p in predictions], axis=0)
    q = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(q / q.sum(1, keepdims=True))


def median(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The members' median number: one that is far off moves it little."""
    return np.median([np.asarray(p, np.float64) for p in predictions], axis=0)


def log_mean(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The number whose log(1 + x) is the members' mean: the scale of RMSLE."""
    return np.expm1(np.mean([np.log1p(np.maximum(np.asarray(p, np.float64), 0)) for p in predictions], axis=0))


def ranks(rows: Rows) -> Model:
    """The best five members that differ, with the quantiles of each by which its predictions become ranks."""
    picked, few = rows.diverse[:MEMBERS], rows.few
    places = np.linspace(0, 1, PLACES)
    quantiles = [np.quantile(few.of(i).astype(np.float64), places, axis=0).T.tolist() for i in picked]
    return {"picked": picked, "quantiles": quantiles, "kind": rows.goal.kind}


def rank_mean(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The mean over members of each prediction's place among the train rows', from 0 to 1: only order counts."""
    total = np.zeros(predictions[0].shape)
    for p, columns in zip(predictions, model["quantiles"], strict=True):
        for c, known in enumerate(columns):
            total[:, c] += _places(np.asarray(p[:, c], np.float64), np.asarray(known))
    total /= len(predictions)
    return np.stack([1 - total[:, 1], total[:, 1]], axis=1) if model["kind"] == "binary" else total


def _places(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Places of numbers in a distribution; beyond its ends they go on, ever more slowly, so that order is kept."""
    at = np.interp(x, known, np.linspace(0, 1, len(known)))
    scale = max(float(known[-1] - known[0]), 1e-12)
    over, under = np.maximum(x - known[-1], 0) / scale, np.maximum(known[0] - x, 0) / scale
    return np.asarray((0.01 + 0.98 * at) + 0.01 * (over / (1 + over) - under / (1 + under)))


def vote(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """Shares of the members' votes for a class, the mean breaking ties."""
    votes = np.mean([np.eye(p.shape[1])[p.argmax(1)] for p in predictions], axis=0)
    return np.asarray(0.99 * votes + 0.01 * np.mean(predictions, axis=0))
