"""The application of `blend.BLENDERS` in torch, for a graph that predicts without the package.

`tests/test_export.py` compares every row with the blender of its name; a blender without a row has no graph.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autoclimb.types import Kind

TINY = 1e-7  # that probabilities are clipped to, as in score.calibrate
Model = dict[str, Any]


def logits(p: Tensor, least: float = TINY) -> Tensor:
    """Log odds of probabilities."""
    p = p.clamp(least, 1 - least)
    return p.log() - (1 - p).log()


def sharpened(kind: Kind, p: Tensor, factor: float) -> Tensor:
    """Predictions with log odds times the factor."""
    if factor == 1.0 or kind == "regression":
        return p
    return (factor * logits(p)).sigmoid() if kind == "multilabel" else (factor * p.clamp(min=TINY).log()).softmax(1)


def combined(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    """The blend described by `model` of its members' predictions; for a mixture the mean of its parts."""
    if "parts" not in model:
        return COMBINED[model["method"]](model, predictions)
    parts = [(part, [predictions[i] for i in part["members_at"]]) for part in model["parts"]]
    return _total([part["share"] * COMBINED[part["method"]](part, own) for part, own in parts])


def without_graph(model: Model) -> list[str]:
    """The blenders in a model that have no graph."""
    return [part["method"] for part in model.get("parts", [model]) if part["method"] not in COMBINED]


def _repeated(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    return torch.tensor(model["value"]) + torch.zeros_like(predictions[0])


def _weighted(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    return _total([weight * p for weight, p in zip(model["weights"], predictions, strict=True)])


def _log_odds_mean(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    if model["kind"] == "multilabel":
        return torch.stack([logits(p) for p in predictions]).mean(0).sigmoid()
    return torch.stack([p.clamp(TINY, 1.0).log() for p in predictions]).mean(0).softmax(1)


def _rank_mean(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    ranks = [_places(p, torch.tensor(known)) for p, known in zip(predictions, model["quantiles"], strict=True)]
    mean = torch.stack(ranks).mean(0)
    return torch.stack([1 - mean[:, 1], mean[:, 1]], 1) if model["kind"] == "binary" else mean


def _places(x: Tensor, known: Tensor) -> Tensor:
    """Places `(B, C)` of numbers among the quantiles `(C, Q)`: linear between them, saturating beyond them."""
    low, high = known[:, :-1], known[:, 1:]
    steps = ((x[:, :, None] - low) / (high - low).clamp(min=1e-12)).clamp(0.0, 1.0)
    at = steps.mean(2)
    scale = (known[:, -1] - known[:, 0]).clamp(min=1e-12)
    over, under = (x - known[:, -1]).clamp(min=0.0) / scale, (known[:, 0] - x).clamp(min=0.0) / scale
    return 0.01 + 0.98 * at + 0.01 * (over / (1 + over) - under / (1 + under))


def _median(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    ordered = torch.stack(list(predictions)).sort(0).values
    return (ordered[(len(predictions) - 1) // 2] + ordered[len(predictions) // 2]) / 2


def _log_mean(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    return torch.stack([(1 + p.clamp(min=0.0)).log() for p in predictions]).mean(0).exp() - 1


def _vote(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    classes = torch.arange(predictions[0].shape[1])
    votes = [(p.argmax(1, keepdim=True) == classes).float() for p in predictions]
    return 0.99 * torch.stack(votes).mean(0) + 0.01 * torch.stack(list(predictions)).mean(0)


def _linear(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    link = model["link"]
    columns = [p if link == "number" else _logs(p, link) for p in predictions]
    weights = [torch.tensor(w) for w in model["weights"]]
    z = _total([w * x for w, x in zip(weights, columns, strict=True)]) + torch.tensor(model["bias"])
    if link == "number":
        return z
    return z.sigmoid() if link == "labels" else z.softmax(1)


def _logs(p: Tensor, link: str) -> Tensor:
    logs = p.clamp(1e-6, 1.0).log()
    return logs if link == "classes" else logs - (1 - p).clamp(1e-6, 1.0).log()


def _two_level_ridge(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    parts = []
    for p, member, weight in zip(predictions, model["members"], model["weights_of_labels"], strict=True):
        corrected = p + p @ torch.tensor(member["matrix"]) + torch.tensor(member["shift"])
        parts.append(torch.tensor(weight) * corrected)
    return _total(parts).clamp(1e-6, 1 - 1e-6)


def _beneath(model: Model, predictions: Sequence[Tensor]) -> Tensor:
    """Predictions for pictures that come without the columns beside them."""
    return _linear(model["linear"], predictions)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)


COMBINED: dict[str, Callable[[Model, Sequence[Tensor]], Tensor]] = {
    "constant": _repeated,
    "best": _weighted,
    "mean": _weighted,
    "greedy": _weighted,
    "log odds mean": _log_odds_mean,
    "rank mean": _rank_mean,
    "median": _median,
    "log mean": _log_mean,
    "vote": _vote,
    "linear": _linear,
    "two-level ridge": _two_level_ridge,
    "linear+metadata": _beneath,
    "lightgbm+metadata": _beneath,
}
