"""Metrics of the probabilities themselves."""

from dataclasses import dataclass

import numpy as np

from autoclimb.errors import Mistake

EPSILON = np.finfo(np.float64).eps  # 2.2e-16: where scikit-learn and the graders clip


def log_loss_rows(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """-log p of the true class, for each row `(N,)`; of label sets it is the mean over labels.

    Clipped to [2.2e-16, 1 - 2.2e-16] as scikit-learn does, after rows are renormalised as Kaggle did.
    """
    if truth.ndim == 2:
        right = np.where(truth.astype(bool), p, 1.0 - p.astype(np.float64))
        return -np.log(np.clip(right, EPSILON, 1 - EPSILON)).mean(1)
    total = np.maximum(np.einsum("nc->n", p.astype(np.float64, copy=False)), EPSILON)
    own = p[np.arange(len(p)), truth.astype(int)] / total
    return -np.log(np.clip(own, EPSILON, 1 - EPSILON))


def kl_rows(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The Kullback-Leibler divergence of `p` from the truth, for each row `(N,)` (HMS brain activity 2024).

    Truth `(N, C)` holds votes or shares and is normalised by row; class indices `(N,)` are all votes for one class,
    which makes this the log loss. Where nobody voted for a class its probability costs nothing.
    """
    if truth.ndim == 1:
        return log_loss_rows(truth, p)
    share = truth / np.maximum(truth.sum(1, keepdims=True), EPSILON)
    q = np.clip(p / np.maximum(p.sum(1, keepdims=True), EPSILON), EPSILON, 1 - EPSILON)
    return (share * (np.log(np.maximum(share, EPSILON)) - np.log(q))).sum(1)


@dataclass(frozen=True)
class WeightedLogLoss:
    """The log loss with a weight for each class. Without weights all classes weigh the same.

    Weights are those of rows by their class (one label a row) or those of columns (label sets, as RSNA's haemorrhage
    contest of 2019 counted "any" twice); both are divided by their sum. Without weights the loss is the mean over
    classes of the mean over the class's rows (PLAsTiCC 2018), for label sets over the two outcomes of each column.
    """

    weights: tuple[float, ...] = ()

    def __call__(self, truth: np.ndarray, p: np.ndarray) -> float:
        """The metric's value. Raises Mistake where there are not as many weights as classes."""
        if truth.ndim == 1:
            at = truth.astype(int)
            w = self.of_classes(np.bincount(at, minlength=p.shape[1]))[at]
            return float(w @ log_loss_rows(truth, p) / w.sum())
        true = truth.astype(bool)
        loss = -np.log(np.clip(np.where(true, p, 1.0 - p.astype(np.float64)), EPSILON, 1 - EPSILON))
        if self.weights:
            return float(loss.mean(0) @ np.array(self.of_classes(true.sum(0))) / sum(self.weights))
        yes, no = true.sum(0), (~true).sum(0)
        of_yes = np.where(true, loss, 0).sum(0) / np.maximum(yes, 1)
        of_no = np.where(true, 0, loss).sum(0) / np.maximum(no, 1)
        return float(((of_yes + of_no) / ((yes > 0) + 0.0 + (no > 0))).mean())

    def of_classes(self, rows: np.ndarray) -> np.ndarray:
        """The weight of each class `(C,)`: the user's, or 1 / `rows`, the number of rows that have it.

        Raises Mistake where there are not as many weights as classes.
        """
        if not self.weights:
            return np.where(rows > 0, 1 / np.maximum(rows, 1.0), 0.0)
        if len(self.weights) != len(rows):
            raise Mistake(f"weighted-log-loss was given {len(self.weights)} weights, but there are {len(rows)} classes")
        return np.array(self.weights)


@dataclass(frozen=True)
class ProbabilisticF:
    """F-beta in which the probability of the positive class counts as that share of a yes (RSNA breast cancer 2022)."""

    beta: float = 1.0

    def __call__(self, truth: np.ndarray, p: np.ndarray) -> float:
        """The metric's value, 0 where there is no positive and no yes."""
        positive, yes = truth == 1, np.clip(p[:, -1], 0, 1)
        squared = self.beta**2
        below = squared * positive.sum() + yes.sum()
        return float((1 + squared) * yes[positive].sum() / below) if below != 0 else 0.0
