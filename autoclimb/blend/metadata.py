"""Stackers that also read columns beside the pictures (age, site, angle): each corrects the linear stacker's log odds.

They build on the linear stacker so that pictures without such columns still have its predictions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoclimb.blend import boosted, linear
from autoclimb.blend.rows import Beside, Rows
from autoclimb.score.parts import dealt

# Prior precision of a column's effect on log odds, times the number of columns: at 1 all columns together are expected
# to change them by 1. Held-out rows decide which is used, since columns may hold all of the answer or nothing of it.
STRENGTHS = (0.1, 2.0, 40.0)
BIAS, SCALE = 4.0, 4.0  # precisions of a shift, and of a stretch of the linear stacker's log odds
FARTHEST = 5.0  # standard deviations at which a number's effect ends
STEPS = 12  # of an optimiser that knows the curvature; further ones are below the noise of the rows (assumption)
MOST_CELLS = 20_000_000  # rows x classes x columns a fit looks at: some seconds
Model = dict[str, Any]


def fitted_linear(rows: Rows) -> Model:
    """The linear stacker with an effect `(J, C)` of each number and category, shrunk to 0."""
    base, rows, z, beside = _start(rows)
    link, values = base["link"], beside.values[rows.rows]
    columns = _columns_of(values, beside.words)
    x, target = _encoded(columns, values), linear.target_of(rows.true, z.shape[1], link)
    valid = dealt(len(x), 3, None if rows.groups is None else rows.groups[rows.rows], "strength") == 0
    losses = []
    for strength in STRENGTHS:
        effects, shift, scale = _effects(x[~valid], z[~valid], target[~valid], link, strength * len(columns))
        losses.append(_loss(scale * z[valid] + x[valid] @ effects + shift, target[valid], link))
    effects, shift, scale = _effects(x, z, target, link, STRENGTHS[int(np.argmin(losses))] * len(columns))
    fitted = {"effects": effects.tolist(), "shift": shift.tolist(), "scale": float(scale)}
    return {"picked": base["picked"], "linear": base, "columns": columns, **fitted}


def apply_linear(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The stacker's predictions `(M, C)`; without columns those of its linear stacker."""
    z, link = linear.scores(model["linear"], predictions), model["linear"]["link"]
    if beside is not None:
        x = _encoded(model["columns"], beside)
        z = model["scale"] * z + x @ np.asarray(model["effects"]) + np.asarray(model["shift"])
    return linear.chances(z, link)


def fitted_boosted(rows: Rows) -> Model:
    """The linear stacker with trees that start from its log odds and see them, the class and the columns."""
    import lightgbm  # four seconds to import

    base, rows, z, beside = _start(rows)
    link, true = base["link"], rows.true
    cells, start = _cells(z, beside.values[rows.rows], link)
    target = boosted.cell_targets(linear.target_of(true, z.shape[1], link), link)
    named = [2 + i for i, n in enumerate(beside.words) if n]
    data = lightgbm.Dataset(cells, target, init_score=start, categorical_feature=named)
    settings = boosted.SETTINGS | {"objective": boosted.objective(rows.goal.kind, true)}
    text = lightgbm.train(settings, data, boosted.ROUNDS).model_to_string()
    return {"picked": base["picked"], "linear": base, "text": text}


def apply_boosted(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The stacker's predictions `(M, C)`; without columns those of its linear stacker."""
    z, link = linear.scores(model["linear"], predictions), model["linear"]["link"]
    if beside is None:
        return linear.chances(z, link)
    import lightgbm

    cells, start = _cells(z, beside, link)
    trees = lightgbm.Booster(model_str=model["text"])
    z_boosted = start + np.asarray(trees.predict(cells, raw_score=True, num_threads=1))
    p = z_boosted if link == "number" else linear.chances(z_boosted, "labels")
    return boosted.from_cells(p, z.shape, link)


def _start(rows: Rows) -> tuple[Model, Rows, np.ndarray, Beside]:
    """The linear stacker, the rows to fit effects on, its log odds `(n, C)` of them, and the columns."""
    assert rows.beside is not None, "no columns beside the pictures"
    base = linear.fitted(rows)
    beside = rows.beside
    wide = sum(beside.words) + len(beside.words)
    rows = rows.at_most(MOST_CELLS, rows.width * wide)
    z = linear.scores(base, [rows.of(i) for i in base["picked"]])
    return base, rows, z, beside


def _columns_of(values: np.ndarray, words: Sequence[int]) -> list[Model]:
    """How each column is encoded: its number of words, or its mean and deviation; and whether it has blanks."""
    columns = []
    for column, n in zip(values.T, words, strict=True):
        finite = column[np.isfinite(column)]
        encoding: Model = {"words": n, "blank": len(finite) < len(column)}
        if not n:
            encoding["mean"] = float(finite.mean()) if len(finite) else 0.0
            encoding["std"] = float(finite.std()) if len(finite) else 0.0
        columns.append(encoding)
    return columns


def _encoded(columns: list[Model], values: np.ndarray) -> np.ndarray:
    """The columns as numbers `(n, J)`: numbers in standard deviations with 0 for blank, words as 0/1 columns.

    A column with blanks has a 0/1 column for them. A word that the fit's table lacked is blank in `values`; one that no
    row of the fit had has no effect.
    """
    encoded = []
    for encoding, column in zip(columns, values.T, strict=True):
        blank = ~np.isfinite(column)
        if encoding["words"]:
            encoded.append((np.where(blank, -1, column)[:, None] == np.arange(encoding["words"])).astype(np.float64))
        else:
            deviation = np.where(blank, 0.0, column - encoding["mean"]) / (encoding["std"] or 1.0)
            encoded.append(np.clip(deviation, -FARTHEST, FARTHEST)[:, None])
        if encoding["blank"]:
            encoded.append(blank.astype(np.float64)[:, None])
    return np.concatenate(encoded, axis=1)


def _effects(
    x: np.ndarray, z: np.ndarray, target: np.ndarray, link: str, precision: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Effects `(J, C)`, shifts `(C,)` and the stretch of the log odds that fit best under the prior."""
    (_, width), j = z.shape, x.shape[1]
    if link == "number":
        residual = target - z
        centre, middle = x.mean(0), residual.mean(0)
        x = x - centre
        effects = np.linalg.solve(x.T @ x + precision * np.eye(j), x.T @ (residual - middle))
        return effects, middle - centre @ effects, 1.0
    from scipy.optimize import minimize  # half a second to import

    x = np.column_stack([x, np.ones(len(x))])
    prior = np.append(np.full(j, precision), BIAS)
    # in these coordinates the loss has about the same curvature in all directions, so that a few steps suffice
    back = np.linalg.inv(np.linalg.cholesky(x.T @ x / 4 + np.diag(prior))).T
    stretched = 1 / np.sqrt((z**2).sum() / 4 + SCALE)

    def parts(flat: np.ndarray) -> tuple[np.ndarray, float]:
        return back @ flat[:-1].reshape(-1, width), 1 + stretched * float(flat[-1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        effects, scale = parts(flat)
        q = scale * z + x @ effects
        error = linear.chances(q, link) - target
        penalty = (prior @ effects**2).sum() + SCALE * (scale - 1) ** 2
        slope = back.T @ (x.T @ error + prior[:, None] * effects)
        stretch = stretched * ((z * error).sum() + SCALE * (scale - 1))
        return _loss(q, target, link) + penalty / 2, np.append(slope, stretch)

    start = np.zeros((j + 1) * width + 1)
    effects, scale = parts(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x)
    return effects[:-1], effects[-1], scale


def _loss(q: np.ndarray, target: np.ndarray, link: str) -> float:
    """The summed loss of log odds (their negative log likelihood) or of numbers (squares)."""
    if link == "number":
        return float(((q - target) ** 2).sum())
    if link == "labels":
        return float((np.logaddexp(0, q) - target * q).sum())
    top = q.max(1)
    return float((top + np.log(np.exp(q - top[:, None]).sum(1)) - (q * target).sum(1)).sum())


def _cells(z: np.ndarray, values: np.ndarray, link: str) -> tuple[np.ndarray, np.ndarray]:
    """One row per item and class, its log odds, class and columns, and the log odds that trees start from."""
    if link == "classes" and z.shape[1] == 2:
        odds = z[:, 1:] - z[:, :1]
    elif link == "classes":
        p = np.clip(linear.chances(z, link), 1e-6, 1 - 1e-6)
        odds = np.log(p) - np.log1p(-p)
    else:
        odds = z
    width = odds.shape[1]
    place = np.tile(np.arange(width), len(z))
    cells = np.column_stack([odds.ravel(), place, np.repeat(values, width, axis=0)])
    return cells, odds.ravel()
