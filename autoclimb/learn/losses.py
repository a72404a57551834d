"""What a net is trained on. Every loss takes logits `(B, C)` and soft targets `(B, C)`, so mixed pictures need no case.

Targets are one-hot rows (binary, multiclass, ordinal), 0/1 rows (multilabel) or standardised numbers (regression).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from autoclimb.errors import Mistake
from autoclimb.types import Kind

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy against soft rows."""
    return -(target * F.log_softmax(logits, 1)).sum(1).mean()


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy with easy rows weighted down (Lin et al. 2017, arXiv 1708.02002)."""
    log_p = F.log_softmax(logits, 1)
    return -(target * (1 - log_p.exp()) ** gamma * log_p).sum(1).mean()


def expected_grade(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus the squared error of the expected grade, which is what kappa's weights punish.

    The factor brings the squared error of a random guess among C grades, (C^2 - 1) / 6, near one.
    """
    steps = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    error = ((logits.softmax(1) - target) * steps).sum(1) ** 2
    return cross_entropy(logits, target) + error.mean() * 6 / max(logits.shape[1] ** 2 - 1, 1)


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy over all labels."""
    return F.binary_cross_entropy_with_logits(logits, target)


def binary_focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy with easy labels weighted down."""
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * (1 - (-each).exp()) ** gamma).mean()


def asymmetric(logits: Tensor, target: Tensor, gamma_negative: float = 4.0, shift: float = 0.05) -> Tensor:
    """Binary cross-entropy with easy negatives nearly ignored (Ridnik et al. 2021, arXiv 2009.14119)."""
    p = logits.sigmoid()
    missed = (p - shift).clamp(min=0)
    positive = target * F.logsigmoid(logits)
    negative = (1 - target) * torch.log((1 - missed).clamp(min=1e-6)) * missed**gamma_negative
    return -(positive + negative).mean()


def soft_f(beta: float) -> Loss:
    """A loss that is one minus F-beta with probabilities for decisions, over the rows; Inclusive Images, Planet.

    A third of binary cross-entropy is added: alone, its gradient vanishes while all probabilities are small.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        p = logits.sigmoid()
        hits = (p * target).sum(1)
        f = (1 + beta**2) * hits / (beta**2 * target.sum(1) + p.sum(1)).clamp(min=1e-6)
        return 1 - f.mean() + bce(logits, target) / 3

    return loss


def squared(logits: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(logits, target)


def smooth_l1(logits: Tensor, target: Tensor) -> Tensor:
    """Huber's loss: squares near zero, absolute values beyond one standard deviation."""
    return F.smooth_l1_loss(logits, target)


def absolute(logits: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(logits, target)


ROWS: tuple[Kind, ...] = ("binary", "multiclass", "ordinal")
LOSSES: dict[str, tuple[Loss, tuple[Kind, ...]]] = {
    "ce": (cross_entropy, ROWS),
    "focal": (focal, ROWS),
    "expected-grade": (expected_grade, ("ordinal",)),
    "bce": (bce, ("multilabel",)),
    "binary-focal": (binary_focal, ("multilabel",)),
    "asymmetric": (asymmetric, ("multilabel",)),
    "soft-f1": (soft_f(1.0), ("multilabel",)),
    "soft-f2": (soft_f(2.0), ("multilabel",)),
    "mse": (squared, ("regression",)),
    "smooth-l1": (smooth_l1, ("regression",)),
    "mae": (absolute, ("regression",)),
}
DEFAULTS: dict[Kind, str] = {
    "binary": "ce",
    "multiclass": "ce",
    "ordinal": "expected-grade",
    "multilabel": "bce",
    "regression": "smooth-l1",
}


def loss_named(name: str, kind: Kind) -> Loss:
    """The loss of that name for that kind of task; "default" is the kind's own."""
    wanted = DEFAULTS[kind] if name == "default" else name
    fitting = [row for row, (_, kinds) in LOSSES.items() if kind in kinds]
    if wanted not in fitting:
        raise Mistake(f"loss {name!r} is not one for a {kind} task; choose from {', '.join(['default', *fitting])}")
    return LOSSES[wanted][0]


def predictions_of(logits: Tensor, kind: Kind) -> Tensor:
    """Probabilities from logits; numbers stay as they are."""
    if kind == "regression":
        return logits
    return logits.sigmoid() if kind == "multilabel" else logits.softmax(1)
