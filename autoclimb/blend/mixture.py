"""A mixture of blends: the weighted mean of their predictions."""

from collections.abc import Iterator, Sequence

import numpy as np

from autoclimb.blend.averages import weighted
from autoclimb.blend.blenders import BLENDERS, Blender, Model

MIXTURE = "mixture"  # the method of a blend of several, which is no row of BLENDERS


def mixed(blends: Sequence[tuple[str, float, Model]]) -> Model:
    """One model, with its "method", of blenders by name with their shares; of one blender it is that blender's own."""
    if len(blends) == 1:
        ((name, _, model),) = blends
        return model | {"method": name}
    picked = list(dict.fromkeys(member for _, _, model in blends for member in model["picked"]))
    parts = [
        {key: value for key, value in model.items() if key != "picked"}
        | {"method": name, "share": share, "members_at": [picked.index(member) for member in model["picked"]]}
        for name, share, model in blends
    ]
    return {"picked": picked, "parts": parts, "method": MIXTURE}


def apply(model: Model, predictions: Sequence[np.ndarray], beside: np.ndarray | None = None) -> np.ndarray:
    """The predictions `(M, C)` of a model that `mixed` gave, as `Blender.predict` gives those of one blender."""
    if model["method"] != MIXTURE:
        return BLENDERS[model["method"]].predict(model, predictions, beside)
    total = np.zeros(predictions[0].shape)
    for part in model["parts"]:
        own = [predictions[i] for i in part["members_at"]]
        total += part["share"] * BLENDERS[part["method"]].predict(part, own, beside)
    return total


def blenders_in(model: Model) -> Iterator[Blender]:
    """The rows of BLENDERS that a model consists of."""
    for part in model.get("parts", [model]):
        yield BLENDERS[part["method"]]


def weights_in(model: Model, members: int) -> list[float]:
    """The weight of each of `members` members; empty where a blender learned more than weights."""
    if any(blender.apply is not weighted for blender in blenders_in(model)):
        return []
    total = [0.0] * members
    for part in model.get("parts", [{**model, "share": 1.0, "members_at": range(members)}]):
        for member, weight in zip(part["members_at"], part["weights"], strict=True):
            total[member] += part["share"] * weight
    return total
