"""A logistic or ridge stacker whose weights per class are drawn to weights shared by all classes.

Priors are Gaussian and given as precisions. They centre on the plain mean of the members, so that few rows or noise
change little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autoclimb.arrays import blocks
from autoclimb.blend.rows import Rows
from autoclimb.seeds import rng
from autoclimb.types import Kind

MEMBERS = 12
SHARED, OWN, BIAS = 4.0, 44.0, 4.0  # standard deviations 0.5, 0.15, 0.5 in units of log odds (assumption)
MOST_CELLS = 1_000_000  # members x rows x classes a fit looks at
SEEN = 200  # classes of a row that it looks at, the likeliest: a step over all of 10,000 takes a tenth of a second
FLOOR = 1e-6  # of a probability whose log is taken


def _features(p: np.ndarray, link: str) -> np.ndarray:
    p = np.asarray(p, np.float64)
    if link == "number":
        return p
    logs = np.log(np.clip(p, FLOOR, 1))
    return logs if link == "classes" else logs - np.log(np.clip(1 - p, FLOOR, 1))


def link_of(kind: Kind) -> str:
    """What log odds stand for: one of the "classes", each of several "labels", or no odds but a "number"."""
    return {"multilabel": "labels", "regression": "number"}.get(kind, "classes")


def target_of(true: np.ndarray, width: int, link: str) -> np.ndarray:
    """The truth as what predictions `(n, C)` should be: class indices as one-hot rows, as shares of votes are."""
    if link == "number":
        return true.astype(np.float64)[:, None]
    if link == "labels":
        return true.astype(np.float64)
    return true if true.ndim == 2 else np.eye(width)[true.astype(int)]


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
    link = link_of(rows.goal.kind)
    width = rows.predictions[0].shape[1]
    sparse = width > SEEN and (link == "labels" or rows.truth.ndim == 1)
    rows = rows.at_most(MOST_CELLS, (SEEN if sparse else width) * len(picked))
    if sparse:
        cells = (cells_of_labels if link == "labels" else cells_of_classes)(rows, picked)
        weights, bias = _logistic_of_known(cells, width, link)
    else:
        z, true = np.stack([_features(rows.of(i), link) for i in picked]), rows.true
        if link == "number":
            weights, bias = _ridge(z[:, :, 0], true)
        else:
            weights, bias = _logistic(Cells(z, target_of(true, width, link)), width, link)
    return {"picked": picked, "link": link, "weights": weights.tolist(), "bias": bias.tolist()}


@dataclass(frozen=True, eq=False)
class Cells:
    """What the weights of classes or labels are fitted on: log odds `z` `(K, n, S)` of K members and `target` `(n, S)`.

    Where there are too many to look at, `columns` `(n, S)` say which classes or labels of each row these are. The other
    classes then stand as `others` that have the mean probability of theirs, the log of which is `left` `(K, n)`; of the
    other labels some are among the columns and count `weight` `(n, S)` times.
    """

    z: np.ndarray
    target: np.ndarray
    columns: np.ndarray | None = None
    others: int = 0
    left: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    weight: np.ndarray | float = 1.0

    def combined(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The log odds `(n, S)` by weights `(K, C)` and biases `(C,)`."""
        if self.columns is None:
            return np.einsum("knc,kc->nc", self.z, weights) + bias
        parts = (z * own[self.columns] for z, own in zip(self.z, weights, strict=True))
        return np.asarray(sum(parts, bias[self.columns]))

    def gathered(self, wrong: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The slopes of a loss in the weights `(K, C)` and the biases `(C,)` by its slope in `combined`, `(n, S)`."""
        if self.columns is None:
            return np.einsum("knc,nc->kc", self.z, wrong), wrong.sum(0)
        place = self.columns.ravel()
        slopes = [np.bincount(place, (z * wrong).ravel(), width) for z in self.z]
        return np.stack(slopes), np.bincount(place, wrong.ravel(), width)


def cells_of_classes(rows: Rows, picked: Sequence[int]) -> Cells:
    """Each row's SEEN likeliest classes by the mean of the members, the true one among them."""
    parts, width = [], rows.width
    for block in blocks(len(rows.rows), width * len(picked)):
        p, true = _members(rows, picked, block)
        mean = p.mean(0)
        mean[np.arange(len(mean)), true] += 1
        columns = np.argpartition(mean, width - SEEN, axis=1)[:, -SEEN:]
        seen = np.take_along_axis(p, columns[None], 2)
        left = np.log(np.clip((p.sum(2) - seen.sum(2)) / (width - SEEN), FLOOR, 1))
        parts.append((_features(seen, "classes"), (columns == true[:, None]).astype(np.float64), columns, left))
    odds, targets, places, rest = zip(*parts, strict=True)
    z = np.concatenate(odds, axis=1)
    return Cells(z, np.concatenate(targets), np.concatenate(places), width - SEEN, np.concatenate(rest, axis=1))


def cells_of_labels(rows: Rows, picked: Sequence[int]) -> Cells:
    """The likeliest labels of each row by the mean of the members, SEEN / 2, and as many of the others by lot.

    Never for being true: that would make unlikely labels look likelier than they are.
    """
    parts, width, half = [], rows.width, SEEN // 2
    random = rng(0, "labels", len(rows.rows))
    for block in blocks(len(rows.rows), width * len(picked)):
        p, true = _members(rows, picked, block)
        likeliest = np.argpartition(p.mean(0), width - half, axis=1)[:, -half:]
        lot = random.random(true.shape)
        np.put_along_axis(lot, likeliest, 2.0, 1)
        columns = np.concatenate([likeliest, np.argpartition(lot, half, axis=1)[:, :half]], axis=1)
        seen, target = np.take_along_axis(p, columns[None], 2), np.take_along_axis(true, columns, 1)
        parts.append((_features(seen, "labels"), target.astype(np.float64), columns))
    odds, targets, places = zip(*parts, strict=True)
    weight = np.repeat([1.0, (width - half) / half], half)
    return Cells(np.concatenate(odds, axis=1), np.concatenate(targets), np.concatenate(places), weight=weight)


def _members(rows: Rows, picked: Sequence[int], block: slice) -> tuple[np.ndarray, np.ndarray]:
    """What the picked members predict of a block of the rows `(K, b, C)`, and its truth."""
    some = rows.rows[block]
    return np.stack([rows.predictions[i][some] for i in picked]).astype(np.float64), rows.truth[some]


def apply(model: dict[str, Any], predictions: Sequence[np.ndarray]) -> np.ndarray:
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


def _logistic_of_known(cells: Cells, width: int, link: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(K, C)` and biases `(C,)`, of classes or labels that are never true here those shared by all, and 0.

    What rows say of those is that they are rare, and to be fitted to 10,000 of them takes twenty times as long.
    """
    assert cells.columns is not None
    known = np.unique(cells.columns[cells.target > 0])
    place = np.full(width, len(known))
    place[known] = np.arange(len(known))
    own, own_bias = _logistic(replace(cells, columns=place[cells.columns]), len(known) + 1, link, pinned=True)
    weights, bias = np.repeat(own[:, -1:], width, axis=1), np.zeros(width)
    weights[:, known], bias[known] = own[:, :-1], own_bias[:-1]
    return weights, bias


def _logistic(cells: Cells, width: int, link: str, pinned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(K, C)` and biases `(C,)`; with `pinned` the last column has but the shared weights and no bias."""
    from scipy.optimize import minimize  # half a second to import

    members, target = len(cells.z), cells.target

    def parts(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return flat[:members], flat[members : members + members * width].reshape(members, width), flat[-width:]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        shared, own, bias = parts(flat)
        x = cells.combined(shared[:, None] + own, bias)
        if link == "labels":
            wrong = cells.weight * (chances(x, link) - target)
            missed = float((cells.weight * (np.logaddexp(0, x) - target * x)).sum())
        else:
            every = np.column_stack([x, shared @ cells.left + np.log(cells.others)]) if cells.others else x
            q = chances(every, link)
            wrong, normal = q[:, : x.shape[1]] - target, every.max(1) - np.log(q.max(1))  # log of summed exponentials
            missed = float((normal - (target * x).sum(1)).sum())
        slope, of_bias = cells.gathered(wrong, width)
        of_shared = slope.sum(1) + (cells.left @ q[:, -1] if cells.others else 0.0)
        if pinned:
            slope[:, -1] = of_bias[-1] = 0.0
        away = shared - 1 / members
        prior = (SHARED * away @ away + OWN * (own**2).sum() + BIAS * bias @ bias) / 2
        pulls = (of_shared + SHARED * away, (slope + OWN * own).ravel(), of_bias + BIAS * bias)
        return missed + float(prior), np.concatenate(pulls)

    start = np.zeros(members + members * width + width)
    start[:members] = 1 / members
    # 30 steps: the remaining loss is far below what the rows can tell (assumption)
    shared, own, bias = parts(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 30}).x)
    return shared[:, None] + own, bias
