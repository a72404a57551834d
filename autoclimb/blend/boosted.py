"""A boosted-tree stacker for many rows: one small model for all classes, fed one row per item and class."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from autoclimb.blend.linear import link_of, target_of
from autoclimb.blend.rows import Rows

MEMBERS = 8
MOST_CELLS = 200_000  # items x classes a fit looks at
ROUNDS = 80
SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 8,  # shallow: members are few and already good
    "min_data_in_leaf": 50,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "num_threads": 1,  # two threads on two busy cores spin for each other: 70 s instead of 2
    "deterministic": True,
    "seed": 0,
    "verbosity": -1,
}


@cache
def can_boost() -> bool:
    """Whether LightGBM loads: it needs OpenMP's library, which slim images of Linux lack. The import takes seconds."""
    try:
        import lightgbm  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def _cells(predictions: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """One row per item and class: the members' log odds there, their mean, its rank in the item, the class."""
    z = np.stack([np.asarray(p, np.float64) for p in predictions])
    if kind == "regression":
        return np.concatenate([z[:, :, 0].T, z[:, :, 0].mean(0)[:, None]], axis=1)
    z = np.clip(z, 1e-6, 1 - 1e-6)
    z = np.log(z) - np.log1p(-z)
    mean = z.mean(0)
    rank = np.argsort(np.argsort(-mean, axis=1), axis=1)
    if kind != "multilabel" and mean.shape[1] == 2:
        z, mean, rank = z[:, :, 1:], mean[:, 1:], rank[:, 1:]
    place = np.broadcast_to(np.arange(mean.shape[1]), mean.shape)
    return np.stack([*z, mean, rank, place], axis=-1).reshape(mean.size, -1)


def objective(kind: str, true: np.ndarray) -> str:
    """LightGBM's name of the loss: "binary" counts any share of votes above 0 as a yes, "cross_entropy" does not."""
    if kind == "regression":
        return "regression"
    return "cross_entropy" if kind != "multilabel" and true.ndim == 2 else "binary"


def cell_targets(target: np.ndarray, link: str) -> np.ndarray:
    """A target `(n, C)` with an entry for each row that trees are fed; of two classes the second is their only one."""
    return target[:, 1] if link == "classes" and target.shape[1] == 2 else target.ravel()


def from_cells(p: np.ndarray, shape: tuple[int, ...], link: str) -> np.ndarray:
    """Trees' predictions of the cells of `cell_targets` as predictions `(M, C)`, those of classes summing to one."""
    if link != "classes":
        return p.reshape(shape)
    if shape[1] == 2:
        return np.stack([1 - p, p], axis=1)
    chances = p.reshape(shape)
    return chances / chances.sum(1, keepdims=True)


def fitted(rows: Rows) -> dict[str, Any]:
    """The model as LightGBM's text, with the members it reads, the best eight that differ."""
    import lightgbm  # four seconds to import

    picked, kind = rows.diverse[:MEMBERS], rows.goal.kind
    width = rows.predictions[0].shape[1]
    rows = rows.at_most(MOST_CELLS, width)
    true = rows.true
    target = cell_targets(target_of(true, width, link_of(kind)), link_of(kind))
    data = lightgbm.Dataset(_cells([rows.of(i) for i in picked], kind), target)
    settings = SETTINGS | {"objective": objective(kind, true)}
    return {"picked": picked, "kind": kind, "text": lightgbm.train(settings, data, ROUNDS).model_to_string()}


def apply(model: dict[str, Any], predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The stacker's predictions `(M, C)`."""
    import lightgbm

    shape, kind = predictions[0].shape, model["kind"]
    p = np.asarray(lightgbm.Booster(model_str=model["text"]).predict(_cells(predictions, kind), num_threads=1))
    return from_cells(p, shape, link_of(kind))
