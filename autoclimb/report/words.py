"""Scores, numbers, kinds, drift and names as every page writes them. No numpy: a live view does not need it."""

import math
from typing import Any

WIDEST = 30  # characters of a name in a line
DEGREES = {  # of drift
    "none": "look like",
    "slight": "differ a little from",
    "clear": "differ clearly from",
    "strong": "differ strongly from",
}
PROMISES = {"clear": " The score may promise too much.", "strong": " The score may promise far too much."}


def score_words(value: float | None, sign: bool = False) -> str:
    """A score with four decimals, or four digits where it is ten and more; with `sign` a plus before a gain.

    "" for None, NaN and infinity.
    """
    if value is None or not math.isfinite(value):
        return ""
    if 1000 <= abs(value) < 1e7:  # four digits would be an exponent
        return f"{value:{'+' if sign else ''}.0f}"
    return f"{value:{'+' if sign else ''}{'.4f' if abs(value) < 10 else '.4g'}}"


def give_or_take(value: float | None, stderr: float | None) -> str:
    """`0.9123 ± 0.0061`, the score alone where its error is unknown, "" where both are."""
    score, error = score_words(value), score_words(stderr)
    return f"{score} ± {error}" if score and error else score


def kind_words(kind: str, classes: int, labels_per_item: float | None = None) -> str:
    """The kind of task: `3 classes, one an item (multiclass)`."""
    return {
        "binary": "two classes",
        "multiclass": f"{classes:,} classes, one an item",
        "multilabel": f"{classes:,} labels, {labels_per_item or 0:.2g} an item on average",
        "ordinal": f"{classes} grades in order",
        "regression": "a number an item",
    }[kind] + f" ({kind})"


def drift_words(drift: dict[str, Any]) -> str:
    """How well a classifier tells test pictures from train pictures, and what that means for the score.

    `drift` is that of `data.drift.drift_of`, where it was measured.
    """
    verdict = drift["verdict"]
    most_by = f", most by {drift['most']['name']}" if drift["most"] and verdict != "none" else ""
    return (
        f"Test pictures {DEGREES[verdict]} train pictures: a small classifier tells them apart with AUC "
        f"{drift['auc']:.2f} ± {drift['stderr']:.2f}, where 0.5 is chance"
        f"{most_by}.{PROMISES.get(verdict, '')}"
    )


def number(value: float) -> str:
    """A number for people: four digits, an en dash for none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4g}"


def counted(count: int, thing: str) -> str:
    """`1 value`, `2 values`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def short(name: str, most: int = WIDEST) -> str:
    """A name, its middle cut out where it is long."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"
