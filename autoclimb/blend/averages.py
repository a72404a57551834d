"""Blends without learned weights: means of the best members, each on the scale that suits some metric, or no member."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoclimb.blend.rows import Rows
from autoclimb.score.calibrate import TINY, logits, sigmoid

MEMBERS = 5
CONSTANT_CELLS = 1 << 24  # of the truth that a constant is the mean of, at most: a copy is made of them
PLACES = 201  # quantiles that describe a member's distribution, linear between them
Model = dict[str, Any]


def weighted(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The weighted mean `(M, C)` of the predictions."""
    total = np.zeros(predictions[0].shape)
    for weight, p in zip(model["weights"], predictions, strict=True):
        total += weight * np.asarray(p, np.float64)
    return total


def constant(rows: Rows) -> Model:
    """The model of the rows' mean, or of their median where the metric takes that: all that is known without a picture.

    It reads no member, but a blend has to have one.
    """
    true = rows.at_most(CONSTANT_CELLS, rows.width).true
    if rows.goal.kind == "regression":
        value = np.atleast_1d(np.median(true) if rows.goal.metric.constant == "median" else true.mean())
    else:
        value = true.mean(0) if true.ndim == 2 else np.bincount(true.astype(int), minlength=rows.width) / len(true)
    return {"picked": [rows.ranked[0]], "value": value.tolist()}


def repeated(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The constant, for each row `(M, C)`."""
    return np.tile(np.asarray(model["value"]), (len(predictions[0]), 1))


def best(rows: Rows) -> Model:
    """The model of the single member with the best score."""
    return {"picked": [rows.ranked[0]], "weights": [1.0]}


def mean(rows: Rows) -> Model:
    """The model of the plain mean of the best five members that differ, or of all where there are fewer."""
    picked = rows.diverse[:MEMBERS]
    return {"picked": picked, "weights": [1 / len(picked)] * len(picked)}


def plain(rows: Rows) -> Model:
    """The model of the best five members that differ, without weights."""
    return {"picked": rows.diverse[:MEMBERS], "kind": rows.goal.kind}


def log_odds_mean(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The probabilities of mean log odds, or mean log probabilities: one certain member outweighs several others."""
    if model["kind"] == "multilabel":
        return sigmoid(np.mean([logits(p) for p in predictions], axis=0))
    z = np.mean([np.log(np.clip(np.asarray(p, np.float64), TINY, 1)) for p in predictions], axis=0)
    q = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(q / q.sum(1, keepdims=True))


def median(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The members' median number, which one outlier changes little."""
    return np.median([np.asarray(p, np.float64) for p in predictions], axis=0)


def log_mean(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The number whose log(1 + x) is the members' mean: the scale of RMSLE."""
    return np.expm1(np.mean([np.log1p(np.maximum(np.asarray(p, np.float64), 0)) for p in predictions], axis=0))


def ranks(rows: Rows) -> Model:
    """The model of the best five members that differ, with the quantiles of each that turn predictions into ranks."""
    picked, few = rows.diverse[:MEMBERS], rows.few
    places = np.linspace(0, 1, PLACES)
    quantiles = [np.quantile(few.of(i).astype(np.float64), places, axis=0).T.tolist() for i in picked]
    return {"picked": picked, "quantiles": quantiles, "kind": rows.goal.kind}


def rank_mean(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over members of each prediction's place among the train rows', from 0 to 1: only order counts."""
    total = np.zeros(predictions[0].shape)
    for p, columns in zip(predictions, model["quantiles"], strict=True):
        for c, column in enumerate(columns):
            total[:, c] += _places(np.asarray(p[:, c], np.float64), np.asarray(column))
    total /= len(predictions)
    return np.stack([1 - total[:, 1], total[:, 1]], axis=1) if model["kind"] == "binary" else total


def _places(x: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The places, 0 to 1, of numbers in a distribution; beyond its ends they still rise, so that order is preserved."""
    at = np.interp(x, quantiles, np.linspace(0, 1, len(quantiles)))
    scale = max(float(quantiles[-1] - quantiles[0]), 1e-12)
    over, under = np.maximum(x - quantiles[-1], 0) / scale, np.maximum(quantiles[0] - x, 0) / scale
    return np.asarray((0.01 + 0.98 * at) + 0.01 * (over / (1 + over) - under / (1 + under)))


def vote(model: Model, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The shares of the members' votes for each class; the mean prediction breaks ties."""
    votes = np.mean([np.eye(p.shape[1])[p.argmax(1)] for p in predictions], axis=0)
    return np.asarray(0.99 * votes + 0.01 * np.mean(predictions, axis=0))
