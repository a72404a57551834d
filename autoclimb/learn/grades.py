"""Losses for ordered grades, from outputs `(B, W)` and soft rows `(B, C)` of C grades to a value per row.

Where W is not C the outputs are not logits of grades, and a function `..._answer` turns them into probabilities.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

SOFT = 0.5  # deviation of soft grades, in grades: a grade keeps 0.79 and gives 0.11 to each neighbour


def _steps(like: Tensor, n: int) -> Tensor:
    return torch.arange(n, dtype=like.dtype, device=like.device)


def _at_least(target: Tensor) -> Tensor:
    """P(grade > k) for k in 0 .. C - 2, `(B, C - 1)`."""
    return target.flip(1).cumsum(1).flip(1)[:, 1:]


def expected_grade(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus the squared error of the expected grade, which quadratic kappa punishes.

    The factor brings the squared error of a random guess among C grades, (C^2 - 1) / 6, near one.
    """
    error = ((logits.softmax(1) - target) * _steps(logits, logits.shape[1])).sum(1) ** 2
    return -(target * F.log_softmax(logits, 1)).sum(1) + error * 6 / max(logits.shape[1] ** 2 - 1, 1)


def soft_grades(logits: Tensor, target: Tensor, deviation: float = SOFT) -> Tensor:
    """Cross-entropy against grades that leak to their neighbours like a Gaussian (Diaz and Marathe, CVPR 2019)."""
    steps = _steps(logits, logits.shape[1])
    leak = torch.exp(-((steps[:, None] - steps) ** 2) / (2 * deviation**2))
    return -((target @ (leak / leak.sum(1, keepdim=True))) * F.log_softmax(logits, 1)).sum(1)


def earth_mover(logits: Tensor, target: Tensor) -> Tensor:
    """Squared earth mover's distance between the two rows, grades a step apart (Hou et al. 2016, arXiv 1611.05916)."""
    return ((logits.softmax(1).cumsum(1) - target.cumsum(1)) ** 2).sum(1)


def corn(outputs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of C - 1 questions "higher than k, being at least k?" (Shi et al. 2021, arXiv 2111.08851).

    A row takes part in a question by its share of grades from k on, so that soft rows are possible; summed over the
    questions this is the cross-entropy of the grades that `corn_answer` gives.
    """
    return -(_at_least(target) * F.logsigmoid(outputs) + target[:, :-1] * F.logsigmoid(-outputs)).sum(1)


def corn_answer(outputs: Tensor) -> Tensor:
    """Probabilities of C grades from the C - 1 conditional answers."""
    return _grades(outputs.sigmoid().cumprod(1))


def corn_start(shares: Tensor) -> Tensor:
    """First biases, for which corn_answer gives the grades' shares."""
    above = _at_least(shares[None])[0]
    return torch.logit(above / (above + shares[:-1]).clamp(min=1e-6), eps=1e-3)


def coral(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of C - 1 questions "higher than k?" (Cao et al. 2020, arXiv 1901.07884).

    The questions share one score and differ in their biases only: heads.Ranks.
    """
    above = _at_least(target)
    return -(above * F.logsigmoid(outputs) + (1 - above) * F.logsigmoid(-outputs)).mean(1)


def coral_answer(outputs: Tensor) -> Tensor:
    """Probabilities of C grades from the C - 1 answers, made to fall from question to question."""
    return _grades(outputs.sigmoid().cummin(1).values)


def coral_start(shares: Tensor) -> Tensor:
    """First biases, for which coral_answer gives the grades' shares."""
    return torch.logit(_at_least(shares[None])[0], eps=1e-3)


def _grades(above: Tensor) -> Tensor:
    """Probabilities of C grades from P(grade > k), which falls with k."""
    ends = torch.ones_like(above[:, :1])
    return torch.cat([ends, above], 1) - torch.cat([above, 0 * ends], 1)


def number(outputs: Tensor, target: Tensor, smooth: bool) -> Tensor:
    """Squared error (or Huber's) of one output as the grade's number, 0 .. C - 1 (APTOS 2019, first place: Huber's).

    A soft row stands for its mean.
    """
    grade = (target * _steps(target, target.shape[1])).sum(1)
    error = F.smooth_l1_loss if smooth else F.mse_loss
    return error(outputs[:, 0], grade, reduction="none")


squared_grade = partial(number, smooth=False)
huber_grade = partial(number, smooth=True)


def number_answer(outputs: Tensor, grades: int) -> Tensor:
    """The two grades around the output, weighted so that their mean is the output."""
    at = outputs[:, :1].clamp(0, grades - 1)
    return (1 - (at - _steps(at, grades)).abs()).clamp(min=0)


def number_start(shares: Tensor) -> Tensor:
    """The mean grade."""
    return (shares * _steps(shares, len(shares))).sum()[None]
