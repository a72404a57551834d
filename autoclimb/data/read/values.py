"""What label cells look like: numbers, flags, sets."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

BLANK = {"", "nan", "NaN", "null", "NULL", "<NA>"}
SEPARATORS = ("|", ";", ",", " ")


def number_of(cell: str) -> float | None:
    """The cell as a finite number, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def are_numbers(cells: Iterable[str]) -> bool:
    """Whether every cell that is not blank is a finite number."""
    return all(number_of(c) is not None for c in set(cells) - BLANK)


def are_whole(cells: Iterable[str]) -> bool:
    """Whether every cell that is not blank is a whole number, 2.0 included."""
    return all((v := number_of(c)) is not None and v == int(v) for c in set(cells) - BLANK)


def are_flags(cells: Sequence[str]) -> bool:
    """Whether every cell that is not blank is 0 or 1."""
    return all(number_of(c) in (0.0, 1.0) for c in set(cells) - BLANK) and any(c not in BLANK for c in cells)


def tokens_of(cell: str, separator: str) -> list[str]:
    """The names in a cell, each once, in order."""
    if cell[:1] + cell[-1:] in ("[]", "{}", "()"):
        cell = cell[1:-1]
    parts = cell.split(separator) if separator != " " else cell.split()
    return list(dict.fromkeys(p.strip().strip("'\"") for p in parts if p.strip().strip("'\"")))


def separator_of(cells: Iterable[str]) -> str:
    """The separator of a column of sets, "" where cells are single names.

    A class name may hold spaces or commas ("Common wheat", "Loose Silky-bent"), so splitting has to explain the
    column: most tokens recur in different cells and, for spaces, there are fewer tokens than different cells and cells
    differ in length (or tokens are few by far).
    """
    distinct = Counter(c for c in cells if c not in BLANK)
    for separator in SEPARATORS:
        if not any(separator in c for c in distinct):
            continue
        split = {c: tokens_of(c, separator) for c in distinct}
        lengths = {len(t) for t in split.values()}
        if max(lengths) < 2:
            continue
        seen = Counter(t for tokens in split.values() for t in tokens)
        recurring = sum(1 for n in seen.values() if n > 1) / len(seen)
        if recurring < 0.5 or len(seen) >= len(distinct) + (separator != " "):
            continue
        if separator == " " and len(lengths) == 1 and len(seen) > len(distinct) / 3:
            continue
        if separator == "," and are_numbers(distinct):
            continue
        return separator
    return ""


def plain(cells: Sequence[str]) -> list[str]:
    """The cells, whole numbers written as 3.0 turned to 3."""
    return [c.split(".")[0] if c.endswith(".0") and number_of(c) is not None and "e" not in c else c for c in cells]
