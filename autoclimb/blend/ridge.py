"""The two-level ridge for sets of labels, as the winner of Planet 2017 used it: over labels, then over members."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoclimb.blend.rows import Rows

MEMBERS = 6
MOST_CELLS = 3_000_000  # members x rows x labels a fit looks at
LABEL_PRECISION = 100.0  # prior of what one label's probability says of another's: 0 +- 0.1 (assumption)
MEMBER_PRECISION = 25.0  # prior of a member's weight for a label: its equal share +- 0.2 (assumption)


def fitted(rows: Rows) -> dict[str, Any]:
    """For each member a matrix `(C, C)` from its labels' probabilities to their residuals; then weights `(K, C)`."""
    picked = rows.diverse[:MEMBERS]
    rows = rows.at_most(MOST_CELLS, rows.width * len(picked))
    truth, matrices, corrected = rows.true.astype(np.float64), [], []
    for i in picked:
        p = rows.of(i).astype(np.float64)
        x, residual = p - p.mean(0), truth - p
        noise = max(float(residual.var()), 1e-9)
        prior = LABEL_PRECISION * noise * np.eye(x.shape[1])
        matrix = np.linalg.solve(x.T @ x + prior, x.T @ (residual - residual.mean(0)))
        shift = residual.mean(0) - p.mean(0) @ matrix
        matrices.append({"matrix": matrix.tolist(), "shift": shift.tolist()})
        corrected.append(p + p @ matrix + shift)
    z = np.stack(corrected)
    weights = np.stack([_weights(z[:, :, c], truth[:, c]) for c in range(z.shape[2])], axis=1)
    return {"picked": picked, "members": matrices, "weights_of_labels": weights.tolist()}


def apply(model: dict[str, Any], predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The stacker's probabilities `(M, C)`."""
    total = np.zeros(predictions[0].shape)
    for p, member, weight in zip(predictions, model["members"], model["weights_of_labels"], strict=True):
        p = np.asarray(p, np.float64)
        total += np.asarray(weight) * (p + p @ np.asarray(member["matrix"]) + np.asarray(member["shift"]))
    return np.clip(total, 1e-6, 1 - 1e-6)


def _weights(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    start = np.full(len(z), 1 / len(z))
    residual = truth - start @ z
    noise = max(float(residual.var()), 1e-9)
    return np.asarray(start + np.linalg.solve(z @ z.T + MEMBER_PRECISION * noise * np.eye(len(z)), z @ residual))
