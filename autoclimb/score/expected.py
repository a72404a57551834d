"""The label set of greatest expected F over all labels: exactly for sets of ordinary size, by moments for larger."""

from collections.abc import Sequence

import numpy as np

from autoclimb.seeds import some_of

ROWS = 256  # at a time: 5 MB at 48 labels, and products too small to wake the threads of the BLAS
CELLS = 1 << 23  # numbers in memory at a time (64 MB): fewer rows where many labels are likely
EXACT = 200  # labels in a set up to which its F is exact: the work is cubic in them
PRIOR_ROWS = 5.0  # weight of a set size's expected frequency, in rows (assumption)
MOST_ROWS = 4_000  # on which sizes of sets are counted
ROUNDS = 10  # of proportional fitting: expected sizes then match the counted ones to a thousandth
RARE = 1e-3  # labels less likely than this are counted together as a Poisson variable, off by their summed squares


def expected_f_sets(p: np.ndarray, beta: float, tilt: Sequence[float] = ()) -> np.ndarray:
    """The 0/1 sets `(N, C)` of greatest expected F-beta, with labels independent except for how many are true.

    The best set of k labels is the k likeliest. For each k the numbers of true labels inside and outside the set are
    Poisson-binomial, and F depends on those two numbers alone (Dembczynski et al. 2011; Ye et al. 2012). `tilt[j]` is
    how much likelier j true labels are than for independent labels (`learnt_tilt`), its last value for all larger j;
    () for no dependence.

    The work is cubic in the number of labels likely enough to be in a set; the others only count among the true labels
    outside. Where more than EXACT labels are that likely, larger sets compete too, with their F computed from the
    moments of those numbers, whose variance is small there.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(-p, axis=1, kind="stable")
    falling = np.take_along_axis(p, order, axis=1)
    # the bound on which labels may be in the best set holds for independent labels only
    likely = np.maximum((falling >= _rare(tilt)).sum(1), 1) if len(tilt) else _likely(falling, beta)
    best = np.empty(len(p), int)
    by_likely = np.argsort(likely, kind="stable")  # rows of as many likely labels go together
    start = 0
    while start < len(p):
        rows = by_likely[start : start + ROWS]
        size = min(int(likely[rows[-1]]), EXACT)
        rows = rows[: max(1, CELLS // ((size + 1) * (size + _most_rest(falling[rows, size:]))))]
        size = min(int(likely[rows[-1]]), EXACT)
        best[rows], value = _best_sizes(falling[rows], size, beta, np.asarray(tilt or [1.0]))
        if likely[rows[-1]] > EXACT:
            larger, by_moments = _best_large_sizes(falling[rows], beta)
            best[rows] = np.where(by_moments > value, larger, best[rows])
        start += len(rows)
    sets = np.zeros(p.shape, np.uint8)
    np.put_along_axis(sets, order, (np.arange(p.shape[1]) < best[:, None]).astype(np.uint8), axis=1)
    return sets


def learnt_tilt(p: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """How much likelier 0, 1, ... true labels are in rows of `truth` `(N, C)` than for independent labels of `p`.

    P(set) is modelled as the product of its labels' chances times the tilt of its size: the least change that gives
    sizes their counted frequency. It is fitted proportionally, each count shrunk to its expectation by PRIOR_ROWS.
    """
    some = some_of(len(p), MOST_ROWS, "tilt")
    chances = _rest_counts(-np.sort(-np.asarray(p[some], np.float64), axis=1))
    sizes = np.minimum(truth[some].sum(1).astype(int), chances.shape[1] - 1)
    rows = np.bincount(sizes, minlength=chances.shape[1])
    tilt = np.ones(chances.shape[1])
    for _ in range(ROUNDS):
        likely = chances * tilt
        expected = (likely / np.maximum(likely.sum(1, keepdims=True), 1e-300)).sum(0)
        tilt *= (rows + PRIOR_ROWS) / (expected + PRIOR_ROWS)
    return tuple(float(t) for t in tilt / tilt.max())


def _rare(tilt: Sequence[float]) -> float:
    """The chance below which a label is in no set: less where one true label more is much likelier than one less.

    Where all rows have two labels and one is sure, the likeliest of the others is true however unlikely it looked.
    """
    steps = np.asarray(tilt[1:]) / np.maximum(tilt[:-1], 1e-300)
    return RARE / 10 / max(1.0, float(steps.max(initial=1.0)))  # a tenth: two labels more may be likelier still


def _likely(falling: np.ndarray, beta: float) -> np.ndarray:
    """How many of a row's labels may be in its best set `(N,)`.

    A label raises the expected F where its chance is above about F / (1 + beta^2), and F is at least that of the
    likeliest label alone. The threshold is half of that, since the rule is exact only for very many labels (by brute
    force on up to 12 labels it is never too high).
    """
    least = falling[:, 0] / (beta**2 * (1 + falling[:, 1:].sum(1)) + 1)  # F of the likeliest label over 1 + beta^2
    return np.maximum((falling >= least[:, None] / 2).sum(1), 1)


def _best_sizes(falling: np.ndarray, size: int, beta: float, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The size of each row's best set of at most `size` labels, and its expected F, with a tilt up to a factor."""
    n, p = len(falling), falling[:, :size]
    rest = _rest_counts(falling[:, size:])
    most = size + rest.shape[1] - 1
    outside = np.zeros((size + 1, n, most + 1))  # [k]: chances of 0, 1, ... true labels among those after the first k
    outside[size, :, : rest.shape[1]] = rest
    for k in range(size - 1, -1, -1):
        _with_label(outside[k + 1], p[:, k], most - k, outside[k])
    tilt = tilt[np.minimum(np.arange(most + 1), len(tilt) - 1)]
    inside = np.zeros((n, size + 1))
    inside[:, 0] = 1
    values = np.zeros((size + 1, n))  # the empty set scores 0
    for k in range(1, size + 1):
        inside = _with_label(inside, p[:, k - 1], k, np.zeros_like(inside))
        i, j = np.arange(k + 1)[:, None], np.arange(most - k + 1)[None, :]
        value = tilt[i + j] * (1 + beta**2) * i / (beta**2 * (i + j) + k)
        values[k] = np.einsum("nj,nj->n", inside[:, : k + 1] @ value, outside[k][:, : most - k + 1])
    return values.argmax(0), values.max(0)


def _best_large_sizes(falling: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The size of each row's best set of more than EXACT labels, and its expected F by moments up to the second.

    With x true labels among k answered and y among the others F is (1 + beta^2) x / (k + beta^2 (x + y)); x and y are
    independent, and their variances are small against k.
    """
    square = beta**2
    mean, variance = np.cumsum(falling, axis=1), np.cumsum(falling * (1 - falling), axis=1)
    k = np.arange(1, falling.shape[1] + 1)
    below = k + square * mean[:, -1:]
    bend = -square * (below - square * mean) / below**3 * variance  # half the second derivative in x, times variance
    bend += square**2 * mean / below**3 * (variance[:, -1:] - variance)
    value = (1 + square) * (mean / below + bend)
    value[:, :EXACT] = -1.0
    at = value.argmax(1)
    return at + 1, value[np.arange(len(value)), at]


def _most_rest(p: np.ndarray) -> int:
    """The width of `_rest_counts`."""
    most = float(p.sum(1).max(initial=0.0))
    return 1 + min(p.shape[1], int(most + 8 * np.sqrt(most) + 8))


def _rest_counts(p: np.ndarray) -> np.ndarray:
    """Chances `(n, J)` of 0, 1, ... true labels among these, up to a count that is almost never exceeded."""
    width = _most_rest(p)
    each = int((p >= RARE).sum(1).max(initial=0))
    counts = np.zeros((len(p), width))
    counts[:, 0] = np.exp(-p[:, each:].sum(1))
    for j in range(1, width):
        counts[:, j] = counts[:, j - 1] * p[:, each:].sum(1) / j
    for k in range(each):
        counts = _with_label(counts, p[:, k], width - 1, np.zeros_like(counts))
    return counts


def _with_label(chances: np.ndarray, p: np.ndarray, labels: int, into: np.ndarray) -> np.ndarray:
    """The chances, written to `into`, of each count of true labels with one label more, `labels` labels in all."""
    into[:, :labels] = chances[:, :labels] * (1 - p)[:, None]
    into[:, 1 : labels + 1] += chances[:, :labels] * p[:, None]
    return into
