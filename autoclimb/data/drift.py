"""Drift: how well test pictures can be told from train pictures, so whether an out-of-fold score holds for them."""

from typing import Any

import numpy as np

from autoclimb.data.duplicates import small
from autoclimb.seeds import seed_of

FEWEST = 20  # pictures a side
FOLDS = 5
PLAIN, SLIGHT, CLEAR = 0.55, 0.65, 0.8  # areas from which drift is slight, clear, strong (ours: there is no standard)
NAMED = 0.6  # area of one measure alone from which it is named

MEANING = "0.5: alike, 1: told apart at a glance"


def drift_of(pixels: np.ndarray, measures: dict[str, np.ndarray], tested: np.ndarray, group_of: np.ndarray) -> dict:
    """How well a small classifier tells test from train pictures, cross-validated, as json values.

    `pixels` `(R, S, S, C)` uint8; `measures` are further numbers of each picture (width, height), `tested` `(R,)` bool
    marks test pictures, `group_of` `(R,)` int: near-duplicates and rows of one source share a fold, so that a picture
    is not recognised by its neighbour. A forest gets those numbers, brightness, contrast, colour, sharpness and a
    thumbnail of 4 x 4.

    Keys: auc (mean over folds), stderr (its standard error, Hanley and McNeil 1982), verdict (none, slight, clear,
    strong), train, test (pictures), most (name, auc, train, test: the measure that differs most, with the medians of
    both sides; null where none reaches NAMED), meaning. Where either side has fewer than FEWEST pictures auc is null
    and verdict "too few".
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    sides = {"train": int((~tested).sum()), "test": int(tested.sum())}
    nothing: dict[str, Any] = {"auc": None, "stderr": None, "verdict": "too few", **sides, "most": None}
    if min(sides.values()) < FEWEST or min(len(np.unique(group_of[side])) for side in (tested, ~tested)) < FOLDS:
        return {**nothing, "meaning": MEANING}
    named = {**measures, **looks_of(pixels)}
    features = np.column_stack([*named.values(), thumbnails(pixels)])
    seed = seed_of(0, "drift") % 2**32
    forest = ExtraTreesClassifier(100, min_samples_leaf=5, max_features=0.3, random_state=seed)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    # the mean over folds: pooled, all scores of a fold with few test pictures are low, and chance comes out as 0.4
    auc = float(np.nanmean(cross_val_score(forest, features, tested, groups=group_of, cv=folds, scoring="roc_auc")))
    stderr = error_of(auc, sides["test"], sides["train"])
    single = {name: float(roc_auc_score(tested, values)) for name, values in named.items()}
    name = max(single, key=lambda n: abs(single[n] - 0.5))
    most = None
    if abs(single[name] - 0.5) >= NAMED - 0.5:
        train, test = (round(float(np.median(named[name][side])), 3) for side in (~tested, tested))
        most = {"name": name, "auc": round(max(single[name], 1 - single[name]), 3), "train": train, "test": test}
    return {
        "auc": round(auc, 3),
        "stderr": round(stderr, 3),
        "verdict": verdict(auc, stderr),
        **sides,
        "most": most,
        "meaning": MEANING,
    }


def verdict(auc: float, stderr: float) -> str:
    """The degree of drift by its area: none, slight, clear or strong."""
    if auc < PLAIN or auc < 0.5 + 2 * stderr:
        return "none"
    return "slight" if auc < SLIGHT else "clear" if auc < CLEAR else "strong"


def error_of(auc: float, positives: int, negatives: int) -> float:
    """The standard error of an area under the curve (Hanley and McNeil 1982)."""
    area = max(auc, 1 - auc)
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    numerator = area * (1 - area) + (positives - 1) * (one - area**2) + (negatives - 1) * (two - area**2)
    return float(np.sqrt(max(numerator, 0.0) / (positives * negatives)))


def looks_of(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Brightness, contrast, colour and sharpness of each picture, `(R,)` each, in grey levels."""
    grey = pixels.mean(3, dtype=np.float32)
    looks = {"brightness": grey.mean((1, 2)), "contrast": grey.std((1, 2))}
    if pixels.shape[3] > 1:
        looks["colour"] = (pixels.max(3) - pixels.min(3)).mean((1, 2), dtype=np.float32)
    edges = np.abs(
        4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    )
    return {**looks, "sharpness": edges.mean((1, 2))}


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """The pictures at 4 x 4, `(R, 16 C)`."""
    reduced = small(pixels)
    side = reduced.shape[1] // 4
    cut = reduced[:, : 4 * side, : 4 * side].reshape(len(reduced), 4, side, 4, side, -1)
    return cut.mean((2, 4)).reshape(len(reduced), -1)
