"""Calibration, and the label set of greatest expected F."""

import numpy as np

TINY = 1e-7
MOST_LABELS = 48  # a row's likeliest labels enter the maximiser; the rest count as absent (doubt: unmeasured above 48)


def logits(p: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, clipped to +-16."""
    p = np.clip(np.asarray(p, np.float64), TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def calibrated(p: np.ndarray, slope: float, shift: float | np.ndarray) -> np.ndarray:
    """Probabilities with log odds scaled and shifted (Platt 1999)."""
    return 1 / (1 + np.exp(-(slope * logits(p) + shift)))


def platt(p: np.ndarray, truth: np.ndarray, cell_weight: np.ndarray | None = None) -> tuple[float, float]:
    """Slope and shift of the log odds, shared by all labels, that make the labels likeliest.

    Gaussian priors (slope 1 +- 0.5, shift 0 +- 1) keep few rows near doing nothing. A cell counts `cell_weight` times.
    """
    step = max(1, p.size // 30_000)  # two parameters need no more than 30,000 cells
    x, y = logits(p[::step]).ravel(), truth[::step].ravel().astype(float)
    each = np.ones(len(x)) if cell_weight is None else cell_weight[::step].ravel()
    slope, shift = 1.0, 0.0
    for _ in range(12):
        q = 1 / (1 + np.exp(-(slope * x + shift)))
        w, off = each * q * (1 - q), each * (q - y)
        pull = np.array([off @ x + 4 * (slope - 1), off.sum() + shift])
        wx = w @ x
        bend = np.array([[(w * x) @ x + 4, wx], [wx, w.sum() + 1]])
        move = np.clip(np.linalg.solve(bend, pull), -1, 1)
        slope, shift = max(slope - move[0], 0.05), shift - move[1]
        if np.abs(move).max() < 1e-4:
            break
    return float(slope), float(shift)


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
    step = max(1, p.size // 60_000)
    p, truth = p[::step], truth[::step]
    weight = np.ones(len(p)) if row_weight is None else row_weight[::step]
    x = np.log(np.clip(p, TINY, None))
    if truth.ndim == 2:
        own = (truth / np.maximum(truth.sum(1, keepdims=True), TINY) * x).sum(1)
    else:
        own = x[np.arange(len(x)), truth.astype(int)]
    slope = 1.0
    for _ in range(12):
        q = temper(p, slope)
        mean = (q * x).sum(1)
        bend = weight @ ((q * x * x).sum(1) - mean**2) + 4
        move = np.clip((weight @ (mean - own) + 4 * (slope - 1)) / bend, -1, 1)
        slope = float(np.clip(slope - move, 0.05, 20))
        if abs(move) < 1e-4:
            break
    return slope


def expected_f_sets(p: np.ndarray, beta: float) -> np.ndarray:
    """The 0/1 sets `(N, C)` of greatest expected F-beta, the labels taken as independent.

    The best set of k labels is the k likeliest. For each k the numbers of true labels inside and outside the set are
    Poisson-binomial, and F depends on those two numbers alone (Dembczynski et al. 2011; Ye et al. 2012). Cubic in C.
    """
    order = np.argsort(-p, axis=1, kind="stable")[:, :MOST_LABELS]
    best = np.empty(len(p), int)
    for start in range(0, len(p), 256):  # 5 MB at 48 labels, and products too small to wake the threads of the BLAS
        rows = slice(start, start + 256)
        best[rows] = _best_sizes(np.take_along_axis(p[rows], order[rows], axis=1), beta)
    sets = np.zeros(p.shape, np.uint8)
    np.put_along_axis(sets, order, (np.arange(order.shape[1]) < best[:, None]).astype(np.uint8), axis=1)
    return sets


def _best_sizes(p: np.ndarray, beta: float) -> np.ndarray:
    n, size = p.shape
    outside = np.zeros((size + 1, n, size + 1))  # [k]: chances of 0, 1, ... true labels among those after the first k
    outside[size, :, 0] = 1
    for k in range(size - 1, -1, -1):
        _with_label(outside[k + 1], p[:, k], size - k, outside[k])
    inside = np.zeros((n, size + 1))
    inside[:, 0] = 1
    found = np.zeros((size + 1, n))  # the empty set scores 0
    for k in range(1, size + 1):
        inside = _with_label(inside, p[:, k - 1], k, np.zeros_like(inside))
        i, j = np.arange(k + 1)[:, None], np.arange(size - k + 1)[None, :]
        value = (1 + beta**2) * i / (beta**2 * (i + j) + k)
        found[k] = np.einsum("nj,nj->n", inside[:, : k + 1] @ value, outside[k][:, : size - k + 1])
    return found.argmax(0)


def _with_label(chances: np.ndarray, p: np.ndarray, labels: int, into: np.ndarray) -> np.ndarray:
    into[:, :labels] = chances[:, :labels] * (1 - p)[:, None]
    into[:, 1 : labels + 1] += chances[:, :labels] * p[:, None]
    return into
