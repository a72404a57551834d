"""Calibration: probabilities made as likely as they say, by two numbers for label sets and by one for classes."""

from collections.abc import Callable

import numpy as np

from autoclimb.seeds import some_of

TINY = 1e-7  # lowest probability whose log is taken
MOST_CELLS = 60_000  # two parameters need no more
FEWEST_ROWS = 300  # however many classes there are: of 10,000 that many cells are six rows
LIKELIEST = 100  # classes of a row that are told apart where they are very many: the others share what is left
STEPS = 30  # of a damped Newton; it ends after four or five where nothing is odd
SLOPE_PRECISION = 4.0  # prior of a slope: 1 +- 0.5
SHIFT_PRECISION = 0.25  # prior of a shift: 0 +- 2, as nets trained on rare labels made frequent are off by that much
LOWEST = 0.05  # slope: predictions that know nothing are made flat, never turned round
STEEPEST = 20.0  # slope of class probabilities


def logits(p: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, clipped to +-16."""
    p = np.clip(np.asarray(p, np.float64), TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Probabilities of log odds."""
    return 1 / (1 + np.exp(-np.clip(z, -700, 700)))


def calibrated(p: np.ndarray, slope: float, shift: float | np.ndarray) -> np.ndarray:
    """Probabilities with log odds scaled and shifted (Platt 1999)."""
    return sigmoid(slope * logits(p) + shift)


def before_calibration(q: float | np.ndarray, slope: float, shift: float | np.ndarray) -> np.ndarray:
    """The probability that `calibrated` makes `q`, so that a threshold found on calibrated ones fits the others."""
    return sigmoid((logits(np.asarray(q)) - shift) / slope)


def platt(p: np.ndarray, truth: np.ndarray, cell_weight: np.ndarray | None = None) -> tuple[float, float]:
    """Slope and shift of the log odds, shared by all labels, that make the labels likeliest.

    Gaussian priors (slope 1 +- 0.5, shift 0 +- 2) keep few rows near doing nothing. A cell counts `cell_weight` times.
    The result is never less likely than the probabilities as they are.
    """
    x, y, each = _cells(p, truth, cell_weight, "platt")

    def loss(line: np.ndarray) -> float:
        slope, shift = line
        z = slope * x + shift
        prior = SLOPE_PRECISION * (slope - 1) ** 2 + SHIFT_PRECISION * shift**2
        return float(each @ (np.logaddexp(0, z) - y * z) + prior / 2)

    def newton_step(line: np.ndarray) -> np.ndarray:
        slope, shift = line
        q = sigmoid(slope * x + shift)
        w, off = each * q * (1 - q), each * (q - y)
        gradient = np.array([off @ x + SLOPE_PRECISION * (slope - 1), off.sum() + SHIFT_PRECISION * shift])
        wx = w @ x
        curvature = np.array([[(w * x) @ x + SLOPE_PRECISION, wx], [wx, w.sum() + SHIFT_PRECISION]])
        return np.linalg.solve(curvature, gradient)

    slope, shift = newton_minimum(loss, newton_step, np.array([1.0, 0.0]), np.array([LOWEST, -np.inf]))
    return float(slope), float(shift)


def newton_minimum(
    loss: Callable[[np.ndarray], float],
    newton_step: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray | float = np.inf,
) -> np.ndarray:
    """The parameters `(k,)` of least loss within bounds, by a damped Newton: every step is halved until the loss falls.

    `newton_step` is what to subtract: the gradient over the curvature. The loss is never above that of `start`.
    """
    at, now = start, loss(start)
    for _ in range(STEPS):
        move, scale = newton_step(at), 1.0
        while scale > 1e-4:
            tried = np.clip(at - scale * move, lowest, highest)
            if (new := loss(tried)) < now:
                break
            scale /= 2
        else:
            break
        gain, at, now = now - new, tried, new
        if gain < 1e-6:
            break
    return at


def _cells(
    p: np.ndarray, truth: np.ndarray, cell_weight: np.ndarray | None, purpose: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log odds, truth and weight `(m,)` each of about MOST_CELLS cells of some rows.

    Of FEWEST_ROWS rows with more cells than that, it is all true cells, the likeliest half and a lot of the others,
    which stand for the rest: most labels of thousands are neither likely nor true.
    """
    some = some_of(len(p), max(FEWEST_ROWS, MOST_CELLS * len(p) // max(p.size, 1)), purpose)
    q, y = np.asarray(p[some], np.float64).ravel(), truth[some].ravel().astype(float)
    each = np.ones(len(q)) if cell_weight is None else cell_weight[some].ravel()
    if len(q) > MOST_CELLS:
        known = y > 0
        known[np.argpartition(q, -(MOST_CELLS // 2))[-(MOST_CELLS // 2) :]] = True
        others = np.flatnonzero(~known)
        drawn = others[some_of(len(others), MOST_CELLS // 2, purpose, "cells")]
        weight = np.where(known, each, 0.0)
        weight[drawn] = each[drawn] * len(others) / max(len(drawn), 1)
        cells = np.concatenate([np.flatnonzero(known), drawn])
        q, y, each = q[cells], y[cells], weight[cells]
    return logits(q), y, each


def temper(p: np.ndarray, slope: float) -> np.ndarray:
    """Class probabilities raised to `slope` and renormalised: temperature 1 / slope (Guo et al. 2017)."""
    x = slope * np.log(np.clip(np.asarray(p, np.float64), TINY, None))
    x -= x.max(1, keepdims=True)
    q = np.exp(x)
    return q / q.sum(1, keepdims=True)


def temperature(p: np.ndarray, truth: np.ndarray, row_weight: np.ndarray | None = None) -> float:
    """The slope for `temper` that makes the truth likeliest, with a Gaussian prior of 1 +- 0.5.

    Truth is class indices `(N,)` or shares of classes `(N, C)`; a row counts `row_weight` times, once if not given.
    """
    some = some_of(len(p), max(FEWEST_ROWS, MOST_CELLS * len(p) // max(p.size, 1)), "temperature")
    p, truth = p[some], truth[some]
    weight = np.ones(len(p)) if row_weight is None else row_weight[some]
    log_count: np.ndarray | float = 0.0
    if p.size > MOST_CELLS:
        x, log_count = _likeliest(p)
    else:
        x = np.log(np.clip(p, TINY, None))
    if truth.ndim == 2:
        own = (truth / np.maximum(truth.sum(1, keepdims=True), TINY) * np.log(np.clip(p, TINY, None))).sum(1)
    else:
        own = np.log(np.clip(p[np.arange(len(p)), truth.astype(int)], TINY, None))

    def loss(at: np.ndarray) -> float:
        slope = float(at[0])  # Python's float leaves x in single precision
        z = slope * x + log_count
        top = z.max(1)
        normal = top + np.log(np.exp(z - top[:, None]).sum(1))
        return float(weight @ (normal - slope * own) + SLOPE_PRECISION * (slope - 1) ** 2 / 2)

    def newton_step(at: np.ndarray) -> np.ndarray:
        slope = float(at[0])
        z = slope * x + log_count
        q = np.exp(z - z.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        mean = (q * x).sum(1)
        curvature = weight @ ((q * x * x).sum(1) - mean**2) + SLOPE_PRECISION
        return np.array([weight @ (mean - own) + SLOPE_PRECISION * (slope - 1)]) / curvature

    return float(newton_minimum(loss, newton_step, np.array([1.0]), np.array([LOWEST]), STEEPEST)[0])


def _likeliest(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logs of each row's likeliest probabilities and of what each other one has on average, and of how many these are.

    `(n, LIKELIEST + 1)` and `(LIKELIEST + 1,)`.
    """
    top = np.partition(p, -LIKELIEST, axis=1)[:, -LIKELIEST:]
    others = p.shape[1] - LIKELIEST
    left = np.maximum(p.sum(1, keepdims=True) - top.sum(1, keepdims=True), 0) / others
    x = np.log(np.clip(np.concatenate([top, left], axis=1), TINY, None))
    return x, np.append(np.zeros(LIKELIEST), np.log(others))


def curve(p: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots `(K,)`, rising, of log odds of `p` and of what they should be: isotonic regression on top of `platt`.

    Labels share one curve. A step's share is drawn to what Platt's line says of it by one cell, and log odds between
    the steps' middles are interpolated, so that no two probabilities become one.
    """
    from scipy.optimize import isotonic_regression  # half a second to import

    slope, shift = platt(p, truth)
    x, y, each = _cells(p, truth, None, "curve")
    order = np.argsort(x, kind="stable")
    x, y, each = x[order], y[order], each[order]
    line = sigmoid(slope * x + shift)
    starts = np.asarray(isotonic_regression(y, weights=each).blocks)[:-1]
    cells, positives, on_line = (np.add.reduceat(each * values, starts) for values in (np.ones(len(x)), y, line))
    middles = np.add.reduceat(each * x, starts) / cells
    share = (positives + on_line / cells) / (cells + 1)
    return middles, np.maximum.accumulate(logits(share))


def along_curve(p: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Probabilities by a `curve`; beyond its ends log odds go on as they came."""
    z = logits(p)
    ends = np.clip(z, knots[0], knots[-1])
    return sigmoid(np.interp(z, knots, values) + z - ends)
