"""Class weights and samplers: rows of rare classes weigh more in the loss, or are drawn more often."""

from collections.abc import Callable
from typing import Any

import numpy as np

from autoclimb.arrays import ByRow, LabelSets, take_rows
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.types import Kind

# number of rows of a class -> weight of each of its rows in the loss or in the draw, up to a factor
CLASS_WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "effective": lambda n: 1 / (1 - 0.999**n),  # effective number of samples (Cui et al. 2019, arXiv 1901.05555)
    "inverse-sqrt": lambda n: n**-0.5,
}
SAMPLERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced": lambda n: 1 / n,  # each class as often as any other
    "sqrt": lambda n: n**-0.5,  # half way there (Mahajan et al. 2018, arXiv 1805.00932)
}


def rarest_label_counts(target: Any, kind: Kind) -> np.ndarray:
    """For each row of `target` `(R, C)` the number of rows with its rarest label; rows without labels form a class.

    Raises Mistake for numbers, which have no classes.
    """
    if kind == "regression":
        raise Mistake("class_weights, sampler and retrain_head are for classes; the target here is a number")
    if isinstance(target, LabelSets):
        of_labels = np.append(target.sum(0).astype(np.float64), np.inf)  # the last is that of -1, which is no label
        counts = of_labels[target.ones].min(1, initial=np.inf)
        return np.where(np.isfinite(counts), counts, (~target.any(1)).sum())
    has_label = target > 0.5
    counts = np.where(has_label, has_label.sum(0), np.inf).min(1, initial=np.inf)
    return np.where(np.isfinite(counts), counts, (~has_label.any(1)).sum())


def check_class_weights(name: str) -> None:
    """Raises Mistake for a name that is not in CLASS_WEIGHTS; "" is none."""
    if name not in ("", *CLASS_WEIGHTS):
        raise Mistake(f"class_weights {name!r} are unknown; choose from {', '.join(CLASS_WEIGHTS)}, or '' for none")


def check_sampler(name: str) -> None:
    """Raises Mistake for a name that is not in SAMPLERS; "" draws each row once."""
    if name not in ("", *SAMPLERS):
        raise Mistake(f"sampler {name!r} is unknown; choose from {', '.join(SAMPLERS)}, or '' for each once")


def row_weights(name: str, target: ByRow, kind: Kind) -> np.ndarray:
    """The weight of each row of `target` `(R, C)` in the loss, `(R,)` float32 of mean 1, by a row of CLASS_WEIGHTS."""
    check_class_weights(name)
    if not name:
        return np.ones(len(target), np.float32)
    weights = CLASS_WEIGHTS[name](rarest_label_counts(target, kind))
    return (weights / weights.mean()).astype(np.float32)


def epoch_order(rows: np.ndarray, target: ByRow, kind: Kind, config: Config, draw: np.random.Generator) -> np.ndarray:
    """The rows of one epoch in their order: each once, or as many drawn with replacement by a row of SAMPLERS."""
    check_sampler(config.sampler)
    if not config.sampler:
        return draw.permutation(rows)
    odds = SAMPLERS[config.sampler](rarest_label_counts(take_rows(target, rows), kind))
    return draw.choice(rows, len(rows), p=odds / odds.sum())
