"""The losses of nets. They take outputs `(B, W)` and soft targets `(B, C)`, so that mixed pictures are no special case.

Targets are one-hot rows (binary, multiclass, ordinal), 0/1 rows (multilabel) or standardised numbers (regression).
Outputs are a logit per class unless the loss says otherwise; it then also says how predictions follow from them. A loss
gives a value per row, `(B,)`, unless it is over the whole batch.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from autoclimb.errors import Mistake
from autoclimb.learn import grades
from autoclimb.types import Kind

SCALE, MARGIN = 30.0, 0.3  # of ArcFace: the paper's 64 and 0.5 are for a million faces; own choice for fewer classes


@dataclass(frozen=True)
class Loss:
    """A loss, its kinds of task, and the outputs, layer and start that it needs where they are not the default."""

    of: Callable[..., Tensor]  # (outputs, target) -> (B,); over_batch: (outputs, target, weight of rows) -> ()
    kinds: tuple[Kind, ...]
    over_batch: bool = False
    answer: Callable[[Tensor, int], Tensor] | None = None  # outputs, C -> predictions (B, C); None is the kind's own
    outputs: Callable[[int], int] = lambda classes: classes
    layer: str = ""  # the last layer: a row of heads.LAYERS, "" for the net's own
    start: Callable[[Tensor], Tensor] | None = None  # shares of the classes (C,) -> the last layer's first biases


# --- one label a picture ---------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against soft rows."""
    return -(target * F.log_softmax(logits, 1)).sum(1)


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence from soft rows, such as shares of votes: zero where predictions equal them."""
    return (torch.xlogy(target, target) - target * F.log_softmax(logits, 1)).sum(1)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy with easy rows weighted down (Lin et al. 2017, arXiv 1708.02002)."""
    log_p = F.log_softmax(logits, 1)
    return -(target * (1 - log_p.exp()) ** gamma * log_p).sum(1)


def sparsemax(logits: Tensor) -> Tensor:
    """The nearest point of the probability simplex, with zeros (Martins and Astudillo 2016, arXiv 1602.02068)."""
    high = logits.sort(1, descending=True).values
    k = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)
    support = 1 + k * high > high.cumsum(1)
    count = support.sum(1, keepdim=True)
    threshold = ((high * support).sum(1, keepdim=True) - 1) / count
    return (logits - threshold).clamp(min=0)


def sparse(logits: Tensor, target: Tensor) -> Tensor:
    """The loss whose gradient is sparsemax minus target (Martins and Astudillo 2016), here against soft rows.

    It is the maximum over p of p.z - |p|^2 / 2, which sparsemax attains, minus the same for the target; at the maximum
    the gradient through p vanishes.
    """
    p = sparsemax(logits.detach())
    return ((p - target) * logits).sum(1) + (target.square().sum(1) - p.square().sum(1)) / 2


def arcface(cosines: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of scaled cosines, a margin added to the true class's angle (Deng et al. 2019, arXiv 1801.07698).

    In a mixed row each class's margin is proportional to its share. Beyond pi minus the margin, where a wider angle
    would raise the cosine again, it falls linearly instead.
    """
    cosine = cosines.clamp(-1 + 1e-6, 1 - 1e-6)
    margin = MARGIN * target
    widened = cosine * margin.cos() - (1 - cosine**2).sqrt() * margin.sin()
    line = cosine - margin * margin.sin()
    return cross_entropy(SCALE * torch.where(cosine > -margin.cos(), widened, line), target)


def scaled_softmax(cosines: Tensor, classes: int) -> Tensor:
    """Probabilities from cosines to the classes' centres."""
    return (SCALE * cosines).softmax(1)


def softmax_f(logits: Tensor, target: Tensor, weight: Tensor, beta: float) -> Tensor:
    """One minus the mean F-beta of the batch's classes with probabilities for decisions, plus a third of cross-entropy.

    It is soft_f_macro for pictures with one label.
    """
    f = _f_of_columns(logits.softmax(1), target, weight, beta)
    return 1 - f + (cross_entropy(logits, target) * weight).mean() / 3


# --- any number of labels a picture ----------------------------------------------------------------------------------


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over labels."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)


def binary_focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy with easy labels weighted down."""
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * (1 - (-each).exp()) ** gamma).mean(1)


def asymmetric(logits: Tensor, target: Tensor, gamma_negative: float = 4.0, shift: float = 0.05) -> Tensor:
    """Binary cross-entropy with easy negatives nearly ignored (Ridnik et al. 2021, arXiv 2009.14119)."""
    p = logits.sigmoid()
    shifted = (p - shift).clamp(min=0)
    positive = target * F.logsigmoid(logits)
    negative = (1 - target) * torch.log((1 - shifted).clamp(min=1e-6)) * shifted**gamma_negative
    return -(positive + negative).mean(1)


def soft_f(logits: Tensor, target: Tensor, beta: float) -> Tensor:
    """One minus F-beta of each row with probabilities for decisions (Inclusive Images, Planet).

    A third of binary cross-entropy is added: alone, its gradient vanishes while all probabilities are small.
    """
    p = logits.sigmoid()
    f = (1 + beta**2) * (p * target).sum(1) / (beta**2 * target.sum(1) + p.sum(1)).clamp(min=1e-6)
    return 1 - f + bce(logits, target) / 3


def soft_f_macro(logits: Tensor, target: Tensor, weight: Tensor, beta: float) -> Tensor:
    """soft_f of each label over the batch's rows, then the mean, so that rare labels count as much as frequent ones."""
    f = _f_of_columns(logits.sigmoid(), target, weight, beta)
    return 1 - f + (bce(logits, target) * weight).mean() / 3


def _f_of_columns(p: Tensor, target: Tensor, weight: Tensor, beta: float) -> Tensor:
    """Mean F-beta over the labels that occur in the batch; F of the others is 0 whatever is predicted."""
    p, true = p * weight[:, None], target * weight[:, None]
    f = (1 + beta**2) * (p * target).sum(0) / (beta**2 * true.sum(0) + p.sum(0)).clamp(min=1e-6)
    occurs = true.sum(0) > 0
    return (f * occurs).sum() / occurs.sum().clamp(min=1)


def label_start(shares: Tensor) -> Tensor:
    """Logits of the labels' frequencies."""
    return torch.logit(shares, eps=1e-3)


# --- numbers ---------------------------------------------------------------------------------------------------------


def squared(outputs: Tensor, target: Tensor) -> Tensor:
    """Squared error."""
    return F.mse_loss(outputs, target, reduction="none").mean(1)


def smooth_l1(outputs: Tensor, target: Tensor) -> Tensor:
    """Huber's loss: squares near zero, absolute values beyond one standard deviation."""
    return F.smooth_l1_loss(outputs, target, reduction="none").mean(1)


def absolute(outputs: Tensor, target: Tensor) -> Tensor:
    """Absolute error."""
    return F.l1_loss(outputs, target, reduction="none").mean(1)


# --- the menu --------------------------------------------------------------------------------------------------------


ROWS: tuple[Kind, ...] = ("binary", "multiclass", "ordinal")
LOSSES: dict[str, Loss] = {
    "ce": Loss(cross_entropy, ROWS),
    "kl": Loss(divergence, ROWS),
    "focal": Loss(focal, ROWS),
    "sparsemax": Loss(sparse, ROWS, answer=lambda z, classes: sparsemax(z)),
    "arcface": Loss(arcface, ROWS, answer=scaled_softmax, layer="cosine"),
    "subcentre-arcface": Loss(arcface, ROWS, answer=scaled_softmax, layer="subcentres"),
    "softmax-f1-macro": Loss(partial(softmax_f, beta=1.0), ROWS, over_batch=True),
    "expected-grade": Loss(grades.expected_grade, ("ordinal",)),
    "soft-grades": Loss(grades.soft_grades, ("ordinal",)),
    "emd": Loss(grades.earth_mover, ("ordinal",)),
    "corn": Loss(
        grades.corn,
        ("ordinal",),
        answer=lambda z, classes: grades.corn_answer(z),
        outputs=lambda classes: classes - 1,
        start=grades.corn_start,
    ),
    "coral": Loss(
        grades.coral,
        ("ordinal",),
        answer=lambda z, classes: grades.coral_answer(z),
        outputs=lambda classes: classes - 1,
        layer="ranks",
        start=grades.coral_start,
    ),
    "grade-mse": Loss(
        grades.squared_grade,
        ("ordinal",),
        answer=grades.number_answer,
        outputs=lambda classes: 1,
        start=grades.number_start,
    ),
    "grade-smooth-l1": Loss(
        grades.huber_grade,
        ("ordinal",),
        answer=grades.number_answer,
        outputs=lambda classes: 1,
        start=grades.number_start,
    ),
    "bce": Loss(bce, ("multilabel",), start=label_start),
    "binary-focal": Loss(binary_focal, ("multilabel",), start=label_start),
    "asymmetric": Loss(asymmetric, ("multilabel",), start=label_start),
    "soft-f1": Loss(partial(soft_f, beta=1.0), ("multilabel",), start=label_start),
    "soft-f2": Loss(partial(soft_f, beta=2.0), ("multilabel",), start=label_start),
    "soft-f1-macro": Loss(partial(soft_f_macro, beta=1.0), ("multilabel",), over_batch=True, start=label_start),
    "soft-f2-macro": Loss(partial(soft_f_macro, beta=2.0), ("multilabel",), over_batch=True, start=label_start),
    "mse": Loss(squared, ("regression",)),
    "smooth-l1": Loss(smooth_l1, ("regression",)),
    "mae": Loss(absolute, ("regression",)),
}
# forms of names that hold a number: the row that they extend, and the function for the number
NUMBERED: dict[str, tuple[str, Callable[[float], Callable[..., Tensor]]]] = {
    "focal-{}": ("focal", lambda gamma: partial(focal, gamma=gamma)),
    "binary-focal-{}": ("binary-focal", lambda gamma: partial(binary_focal, gamma=gamma)),
    "soft-f{}": ("soft-f1", lambda beta: partial(soft_f, beta=beta)),
    "soft-f{}-macro": ("soft-f1-macro", lambda beta: partial(soft_f_macro, beta=beta)),
    "softmax-f{}-macro": ("softmax-f1-macro", lambda beta: partial(softmax_f, beta=beta)),
}
DEFAULTS: dict[Kind, str] = {
    "binary": "ce",
    "multiclass": "ce",
    "ordinal": "expected-grade",
    "multilabel": "bce",
    "regression": "smooth-l1",
}


def find_loss(name: str) -> Loss | None:
    """The loss of that name; None for "default" and unknown names."""
    if name in LOSSES:
        return LOSSES[name]
    for form, (row, function_for) in NUMBERED.items():
        before, after = form.split("{}")
        if number := re.fullmatch(rf"{before}(\d+(?:\.\d+)?){after}", name):
            return replace(LOSSES[row], of=function_for(float(number[1])))
    return None


def loss_named(name: str, kind: Kind) -> Loss:
    """The loss of that name for that kind of task; "default" is the kind's own. Raises Mistake with the list."""
    loss = find_loss(DEFAULTS[kind] if name == "default" else name)
    if loss is None or kind not in loss.kinds:
        forms = [form.format("<number>") for form, (row, _) in NUMBERED.items() if kind in LOSSES[row].kinds]
        menu = ["default", *(row for row, other in LOSSES.items() if kind in other.kinds), *forms]
        raise Mistake(f"loss {name!r} is not one for a {kind} task; choose from {', '.join(menu)}")
    return loss


def loss_value(loss: Loss, outputs: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean loss of a batch, its rows weighted by `weight` `(B,)`, whose mean over all rows should be one."""
    if loss.over_batch:
        return loss.of(outputs, target, torch.ones_like(target[:, 0]) if weight is None else weight)
    rows = loss.of(outputs, target)
    return rows.mean() if weight is None else (rows * weight).mean()


def predictions_of(outputs: Tensor, kind: Kind, loss: str = "default", classes: int = 0) -> Tensor:
    """Predictions `(B, C)` from the outputs of a net trained on the loss: probabilities, or the numbers unchanged.

    `classes` is C, needed only where there is not one output for each class.
    """
    answer = loss_named(loss, kind).answer
    if answer is not None:
        return answer(outputs, classes or outputs.shape[1])
    if kind == "regression":
        return outputs
    return outputs.sigmoid() if kind == "multilabel" else outputs.softmax(1)
