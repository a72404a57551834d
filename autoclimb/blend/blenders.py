"""BLENDERS: the ways to combine members, simplest first.

A blender learns a plain dict (json) from Rows and applies it to the predictions of all members on any rows. The dict
holds "picked", the members it reads.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoclimb.blend import averages, boosted, linear, metadata, ridge, selection
from autoclimb.blend.rows import Rows
from autoclimb.types import Goal

Model = dict[str, Any]
# A more complex blend must gain a quarter of the standard error of the paired difference. At equal skill that retains
# the simpler one in 60 % of cases and halves the luck of choosing among five; a full standard error would reject real
# gains, which on 2,000 rows are seldom larger. (Reasoned, not measured.)
MARGIN = 0.25
# Columns without information change little, so luck decides whether they seem to help, and new pictures have no such
# columns. A full standard error keeps them out in five cases of six.
METADATA_MARGIN = 1.0
# Cells of predictions up to which the linear stacker takes .1 to .3 s in a quick blend; after 10 minutes of cifar10 it
# was worth .015 of accuracy out of fold (LOG.md)
QUICK_LINEAR = 600_000


def always(goal: Goal) -> bool:
    """True: the blender suits any goal."""
    return True


@dataclass(frozen=True)
class Blender:
    """How to learn a combination from rows and to apply it to predictions, one `(M, C)` for each picked member.

    Where it `needs_metadata`, `apply` takes a third argument: the columns beside the pictures, `(M, K)` or None.
    `suits` says whether it is tried for a goal. One that is `slow` takes several times what all others do together.
    """

    learn: Callable[[Rows], Model]
    apply: Callable[..., np.ndarray]
    suits: Callable[[Goal], bool] = always
    fewest_rows: int = 0
    fewest_members: int = 2
    most_columns: int = 0  # 0 for any number; a limit where the model's size grows with them
    quick_cells: float = math.inf  # rows x columns x members up to which a quick blend tries it
    margin: float = MARGIN
    slow: bool = False
    needs_metadata: bool = False

    def predict(self, model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
        """The combination `(M, C)`, by the columns beside the pictures too where it reads them."""
        return self.apply(model, predictions, beside) if self.needs_metadata else self.apply(model, predictions)


BLENDERS: dict[str, Blender] = {
    # a net of few epochs may be worse than no net: members of noise had an RMSE of .17 over the constant's (LOG.md)
    "constant": Blender(
        averages.constant, averages.repeated, suits=lambda g: not g.metric.order_only, fewest_members=1
    ),
    "best": Blender(averages.best, averages.weighted, fewest_members=1),
    "mean": Blender(averages.mean, averages.weighted),
    "log odds mean": Blender(
        averages.plain, averages.log_odds_mean, suits=lambda g: g.kind != "regression", quick_cells=0
    ),
    "rank mean": Blender(
        averages.ranks,
        averages.rank_mean,
        suits=lambda g: g.metric.order_only and g.kind in ("binary", "multilabel", "regression"),
        fewest_rows=50,
        most_columns=2000,
    ),
    "median": Blender(
        averages.plain,
        averages.median,
        suits=lambda g: g.metric.constant == "median" and g.kind == "regression",
        fewest_members=3,
    ),
    "log mean": Blender(averages.plain, averages.log_mean, suits=lambda g: g.metric.logs and g.kind == "regression"),
    "vote": Blender(
        averages.plain,
        averages.vote,
        suits=lambda g: g.metric.wants == "label",
        fewest_members=3,
        quick_cells=0,
    ),
    "greedy": Blender(selection.greedy, averages.weighted),
    # with one member it is vector scaling: a slope and a shift for each class, shrunk to shared ones
    "linear": Blender(linear.fitted, linear.apply, fewest_rows=50, fewest_members=1, quick_cells=QUICK_LINEAR),
    "two-level ridge": Blender(
        ridge.fitted,
        ridge.apply,
        suits=lambda g: g.kind == "multilabel",
        fewest_rows=200,
        quick_cells=0,
        most_columns=1000,
    ),
    "lightgbm": Blender(
        boosted.fitted, boosted.apply, suits=lambda g: boosted.can_boost(), fewest_rows=2000, quick_cells=0, slow=True
    ),
    "linear+metadata": Blender(
        metadata.fitted_linear,
        metadata.apply_linear,
        fewest_rows=50,
        fewest_members=1,
        quick_cells=0,
        margin=METADATA_MARGIN,
        needs_metadata=True,
    ),
    "lightgbm+metadata": Blender(
        metadata.fitted_boosted,
        metadata.apply_boosted,
        suits=lambda g: boosted.can_boost(),
        fewest_rows=2000,
        fewest_members=1,
        quick_cells=0,
        margin=METADATA_MARGIN,
        slow=True,
        needs_metadata=True,
    ),
}


def suitable(rows: Rows, allow: Collection[str] | None, quick: bool) -> tuple[str, ...]:
    """The names of the blenders to try on rows, simplest first: of those that `allow` names, of all where it is None.

    With `quick` they are those that take little time.
    """
    return tuple(
        name
        for name, b in BLENDERS.items()
        if (allow is None or name in allow)
        and len(rows.predictions) >= b.fewest_members
        and len(rows.rows) >= b.fewest_rows
        and rows.width <= (b.most_columns or rows.width)
        and (not quick or len(rows.rows) * rows.width * len(rows.predictions) <= b.quick_cells)
        and (rows.beside is not None or not b.needs_metadata)
        and b.suits(rows.goal)  # the last to be asked: it may take seconds
    ) or ("best",)
