"""Heads in closed form on frozen features: a full cross-validation in seconds, and so the first score of a run.

On a few thousand pictures a kernel machine on hand-made features is hard to beat from scratch in minutes: on 4,000
CIFAR-10 pictures it reached .66 to .67 accuracy in half a minute where small nets reached .42 to .48 in one minute
(one split, 2 cores; benchmarks/LOG.md). A head is a dict of tensors, so that it is saved like a net.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.handmade import column_weights
from autoclimb.seeds import rng
from autoclimb.types import Kind

Head = dict[str, Tensor]
ROWS_TO_CHOOSE = 1000  # for choosing width and ridge by leave-one-out, which costs n^3 for each
LANDMARKS = 6000  # rows of a kernel machine, at most; with more rows these stand for all (Nystrom)
WIDTHS = (0.5, 1.0, 2.0)  # of the Gaussian, relative to the mean squared distance
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean of the kernel's diagonal
REMEMBERED = 20_000  # rows among which neighbours are searched
NEIGHBOURS = (5, 10, 20, 40)
HEATS = (0.03, 0.1, 0.3)  # temperatures: differences of cosines by which a neighbour's vote falls to a third


def fit_head(config: Config, features: np.ndarray, target: np.ndarray, kind: Kind, channels: int = 3) -> Head:
    """The head that the config names (a row of HEADS), fitted to features `(n, D)` and target `(n, C)`, and calibrated.

    Its parameters, and the scale that turns its outputs into probabilities, are chosen by leave-one-out on these rows
    alone (Rifkin and Lippert 2007). Raises Mistake for an unknown head.
    """
    if config.head not in HEADS:
        raise Mistake(f"head {config.head!r} is unknown; choose from {', '.join(HEADS)}")
    x = torch.from_numpy(np.ascontiguousarray(features)).float()
    y = torch.from_numpy(target).double()
    mean = x.mean(0)
    deviation = (x.std(0) + 1e-3 * x.std() + 1e-9) / column_weights(config.backbone, x.shape[1], channels)
    x = (x - mean) / deviation
    target_mean = y.mean(0)
    head, rows, outputs = HEADS[config.head](x, y - target_mean, config.seed)
    slope, shift = _calibrated(outputs.float() + target_mean.float(), y[rows].float(), kind)
    head |= {"mean": mean, "deviation": deviation, "slope": slope, "shift": shift, "target_mean": target_mean.float()}
    return {name: tensor.contiguous() for name, tensor in head.items()}


def _gaussian_ridge(x: Tensor, y: Tensor, seed: int) -> tuple[Head, Tensor, Tensor]:
    return _ridge(x, y, seed, WIDTHS)


def _linear_ridge(x: Tensor, y: Tensor, seed: int) -> tuple[Head, Tensor, Tensor]:
    return _ridge(x, y, seed, (0.0,))


def _ridge(x: Tensor, y: Tensor, seed: int, widths: tuple[float, ...]) -> tuple[Head, Tensor, Tensor]:
    """A ridge regression of `y` `(n, C)` on `x` `(n, D)` in closed form, in a Gaussian kernel or linear (width 0).

    Returned are the tensors for head_outputs, and the rows for calibration with their outputs by fits without them.
    """
    few = torch.from_numpy(np.sort(rng(seed, "head").permutation(len(x))[:ROWS_TO_CHOOSE]))
    errors = {}
    scale = mean_distance(x[few])
    for width in widths:
        kernel = kernel_of(x[few], x[few], width, scale)
        for ridge in RIDGES:
            outputs = leave_one_out(kernel, y[few] - y[few].mean(0), ridge)[1]
            errors[width, ridge] = float(((outputs - (y[few] - y[few].mean(0))) ** 2).mean())
    width, ridge = min(errors, key=lambda pair: errors[pair])
    points = x
    if not width and x.shape[1] < len(x):
        weights, outputs = _by_columns(x, y, ridge)
        points = torch.eye(x.shape[1])
    elif len(x) <= LANDMARKS:
        weights, outputs = leave_one_out(kernel_of(x, x, width, scale), y, ridge)
    else:
        points = x[torch.from_numpy(np.sort(rng(seed, "landmarks").permutation(len(x))[:LANDMARKS]))]
        weights, outputs = _through_landmarks(x, points, y, width, scale, ridge)
    every = torch.arange(len(x))
    if width:
        return {"points": points, "weights": weights.float(), "kernel": torch.tensor([width, scale])}, every, outputs
    return {"weights": points.T @ weights.float(), "kernel": torch.zeros(2)}, every, outputs


def _neighbours(x: Tensor, y: Tensor, seed: int) -> tuple[Head, Tensor, Tensor]:
    """The mean of `y` over the nearest rows by cosine, near ones counting more (Caron et al. 2021, arXiv 2104.14294).

    Returned are the tensors for head_outputs, and the rows for calibration with their outputs by the other rows.
    """
    remembered = torch.from_numpy(np.sort(rng(seed, "neighbours").permutation(len(x))[:REMEMBERED]))
    points, known = x[remembered], y[remembered].float()
    unit = F.normalize(points)
    judged = torch.from_numpy(np.sort(rng(seed, "judged").permutation(len(remembered))[:LANDMARKS]))
    counts = sorted({min(count, max(len(remembered) - 1, 1)) for count in NEIGHBOURS})
    every: dict[tuple[int, float], list[Tensor]] = {(count, heat): [] for count in counts for heat in HEATS}
    few = judged[torch.from_numpy(np.sort(rng(seed, "head").permutation(len(judged))[:ROWS_TO_CHOOSE]))]

    def others(rows: Tensor, settings: Iterable[tuple[int, float]]) -> Iterator[tuple[tuple[int, float], Tensor]]:
        for block in rows.split(1024):
            likeness = unit[block] @ unit.T
            likeness[torch.arange(len(block)), block] = -2.0  # no row is its own neighbour
            yield from ((setting, votes_of_nearest(likeness, *setting) @ known) for setting in settings)

    for setting, part in others(few, every):
        every[setting].append(part)
    errors = {setting: float(((torch.cat(parts) - known[few]) ** 2).mean()) for setting, parts in every.items()}
    best = min(errors, key=lambda setting: errors[setting])
    outputs = torch.cat([part for _, part in others(judged, [best])])
    head = {"points": points, "weights": known, "kernel": torch.zeros(2), "neighbours": torch.tensor(best)}
    return head, remembered[judged], outputs


HEADS: dict[str, Callable[[Tensor, Tensor, int], tuple[Head, Tensor, Tensor]]] = {
    "kernel": _gaussian_ridge,
    "linear": _linear_ridge,
    "knn": _neighbours,
}


def head_predictions(head: Head, features: np.ndarray, kind: Kind) -> np.ndarray:
    """Predictions `(R, C)` float32 of a fitted head."""
    parts = []
    for start in range(0, max(len(features), 1), 2048):
        x = torch.from_numpy(np.ascontiguousarray(features[start : start + 2048])).float()
        parts.append(head_probabilities(head_outputs(head, x), head["slope"], head["shift"], kind))
    return torch.cat(parts).numpy().astype(np.float32)


def head_outputs(head: Head, features: Tensor) -> Tensor:
    """Outputs `(B, C)` of a fitted head for features `(B, D)`, which head_probabilities turns into predictions."""
    width, scale = head["kernel"].tolist()
    x = (features - head["mean"]) / head["deviation"]
    if "neighbours" in head:
        count, heat = head["neighbours"].tolist()
        x = votes_of_nearest(F.normalize(x) @ F.normalize(head["points"]).T, int(count), heat)
    elif width:
        x = kernel_of(x, head["points"], width, scale).float()
    return x @ head["weights"] + head["target_mean"]


def skill(p: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """The share by which predictions `(R, width)` reduce the loss of the targets' mean; below 0 if they are worse."""
    constant = mean_loss(target.mean(0, keepdims=True), target, kind)
    return round(1 - mean_loss(p, target, kind) / max(constant, 1e-9), 3)


def mean_loss(p: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """The mean log loss, or squared error of numbers, of predictions `(R, width)` for targets `(R, width)`."""
    if kind == "regression":
        return float(((p - target) ** 2).mean())
    p = p.clip(1e-4, 1 - 1e-4)
    rest = (1 - target) * np.log(1 - p) if kind == "multilabel" else 0.0
    return float(-(target * np.log(p) + rest).sum(1).mean())


def mean_distance(x: Tensor) -> float:
    """The mean squared distance between rows; 1 where all rows are equal, as those of blank pictures are."""
    return float((torch.cdist(x, x) ** 2).mean()) or 1.0


def kernel_of(a: Tensor, b: Tensor, width: float, scale: float) -> Tensor:
    """The kernel between rows, in double precision: Gaussian, or linear for width 0."""
    if not width:
        return (a @ b.T).double()
    return torch.exp(-width / scale * torch.cdist(a, b) ** 2).double()


def votes_of_nearest(likeness: Tensor, count: int, heat: float) -> Tensor:
    """The weights `(A, B)` of the `count` most similar of B rows, summing to one, 0 for the others."""
    nearest, places = likeness.topk(count, 1)
    return torch.zeros_like(likeness).scatter(1, places, (nearest / heat).softmax(1))


def leave_one_out(kernel: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The ridge's weights, and for each row the output of a ridge fitted without it."""
    n = len(kernel)
    ridged = kernel + ridge * kernel.diagonal().mean() * torch.eye(n, dtype=kernel.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(ridged))
    weights = inverse @ y
    return weights, y - weights / inverse.diagonal()[:, None]


def _by_columns(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """`leave_one_out` for the linear kernel by a weight for each column, with the same outputs.

    It costs columns squared times rows instead of rows cubed.
    """
    damp = ridge * (x**2).sum(1).double().mean()
    gram, right = damp * torch.eye(x.shape[1], dtype=torch.double), torch.zeros(x.shape[1], y.shape[1]).double()
    for start in range(0, len(x), 4096):
        rows = x[start : start + 4096].double()
        gram += rows.T @ rows
        right += rows.T @ y[start : start + 4096]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse @ right
    parts = []
    for start in range(0, len(x), 4096):
        rows, known = x[start : start + 4096].double(), y[start : start + 4096]
        leverage = ((rows @ inverse) * rows).sum(1, keepdim=True)
        parts.append(known - (known - rows @ weights) / (1 - leverage).clamp(min=1e-6))
    return weights, torch.cat(parts)


def _through_landmarks(x, points, y, width: float, scale: float, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights of the landmarks, and outputs of all rows, in-sample but nearly unbiased if rows far outnumber them."""
    gram = kernel_of(points, points, width, scale)
    square, right = torch.zeros_like(gram), torch.zeros(len(points), y.shape[1], dtype=y.dtype)
    for start in range(0, len(x), 4096):
        cross = kernel_of(x[start : start + 4096], points, width, scale)
        square += cross.T @ cross
        right += cross.T @ y[start : start + 4096]
    damp = ridge * gram.diagonal().mean()
    jitter = 1e-6 * square.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.cholesky_solve(right, torch.linalg.cholesky(square + damp * gram + jitter))
    outputs = torch.cat([kernel_of(x[s : s + 4096], points, width, scale) @ weights for s in range(0, len(x), 4096)])
    return weights, outputs


def _calibrated(outputs: Tensor, y: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """The slope `(1,)` and shifts `(C,)` that turn outputs into log-odds (Platt 1999)."""
    slope = torch.ones(1)
    shift = torch.zeros(outputs.shape[1])
    if kind == "regression":
        return slope, shift
    slope *= 5
    parameters = [slope.requires_grad_(), shift.requires_grad_()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = outputs * slope + shift
        if kind == "multilabel":
            loss = F.binary_cross_entropy_with_logits(logits, y)
        else:
            loss = -(y * F.log_softmax(logits, 1)).sum(1).mean()
        loss = loss + 1e-4 * (shift**2).mean()  # otherwise the shift of a class without rows would go to infinity
        loss.backward()
        return loss

    optimizer.step(closure)
    return slope.detach(), shift.detach()


def head_probabilities(outputs: Tensor, slope: Tensor, shift: Tensor, kind: Kind) -> Tensor:
    """Predictions from a head's outputs: calibrated probabilities, or the numbers unchanged."""
    if kind == "regression":
        return outputs
    logits = outputs * slope + shift
    return logits.sigmoid() if kind == "multilabel" else logits.softmax(1)
