"""Grades in words -> their order, by the meaning of common words or by a file that lists them."""

import re
from collections.abc import Collection
from pathlib import Path

from autoclimb.data.read.class_lists import numbers_of_classes
from autoclimb.data.read.values import same_name

SCALES: tuple[dict[str, int], ...] = (
    {
        **dict.fromkeys(("no", "none", "normal", "healthy", "absent"), 0),
        **dict.fromkeys(("doubtful", "questionable", "minimal"), 1),
        **dict.fromkeys(("mild", "slight", "minor", "light", "early"), 2),
        **dict.fromkeys(("moderate", "medium", "intermediate"), 3),
        **dict.fromkeys(("severe", "major", "heavy", "serious", "advanced"), 4),
        **dict.fromkeys(("extreme", "critical", "proliferative", "proliferate"), 5),
    },
    {"none": 0, "low": 1, **dict.fromkeys(("medium", "mid", "moderate", "average"), 2), "high": 3},
    {
        **dict.fromkeys(("terrible", "awful"), 0),
        **dict.fromkeys(("bad", "poor"), 1),
        **dict.fromkeys(("fair", "average", "acceptable", "ok", "okay"), 2),
        "good": 3,
        **dict.fromkeys(("excellent", "perfect"), 4),
    },
    {"tiny": 0, "small": 1, "medium": 2, **dict.fromkeys(("large", "big"), 3), **dict.fromkeys(("huge", "giant"), 4)},
)
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
STRONGER = ("very", "extremely")  # move a word away from the middle: very low is below low, very high above high
MIDDLE = 2.2  # of each of SCALES


def grades_in_words(classes: Collection[str], root: Path | None) -> tuple[dict[str, float], str]:
    """The grade of each class, and the evidence in words; ({}, "") where the order is not known.

    The evidence is Roman numerals, words such as mild, moderate and severe, which are counted from 0, or else a file in
    the folder `root` that lists the classes: many list them by the alphabet, so words that have an order go first.
    """
    if len(classes) > 1 and set(classes) <= set(ROMAN):
        return {name: float(ROMAN.index(name) + 1) for name in classes}, "Roman numerals count"
    for scale in SCALES:
        ranks = {name: rank_in(scale, name) for name in classes}
        if None not in ranks.values() and len(set(ranks.values())) == len(ranks) > 1:
            ordered = sorted(classes, key=lambda name: ranks[name] or 0.0)
            return {name: float(place) for place, name in enumerate(ordered)}, "their words say"
    numbers, file = numbers_of_classes(root, classes) if root else ({}, "")
    return {name: float(number) for name, number in numbers.items()}, f"{file} lists them" if numbers else ""


def rank_in(scale: dict[str, int], name: str) -> float | None:
    """The rank of the one word of a scale in a name, None where there is none or several."""
    words = re.findall(r"[^\W\d_]+", same_name(name))
    ranks = [scale[word] for word in words if word in scale]
    if len(ranks) != 1:
        return None
    stronger = any(word in STRONGER for word in words)
    return ranks[0] + (0.5 if ranks[0] > MIDDLE else -0.5) * stronger
