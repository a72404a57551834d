"""Scores, numbers, counts and names as every page writes them. No numpy: a live view does not need it."""

import math

WIDEST = 30  # characters of a name in a line


def score_words(value: float, sign: bool = False) -> str:
    """A score with four decimals, or four digits where it is ten and more; with `sign` a plus before a gain."""
    return f"{value:{'+' if sign else ''}{'.4f' if abs(value) < 10 else '.4g'}}"


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
