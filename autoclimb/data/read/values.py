"""The look of label cells: numbers, flags, sets."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

BLANK = {"", "nan", "NaN", "null", "NULL", "<NA>"}
SEPARATORS = ("|", ";", ",", "/", "+", "&", " ")
ABSENT = BLANK | {"NA", "N/A", "na", "n/a", "Null", "None", "none", "?", "-", "unknown", "Unknown"}  # among numbers
FLAG_WORDS = {"true": "1", "yes": "1", "y": "1", "t": "1", "false": "0", "no": "0", "n": "0", "f": "0"}
MARKS = {"x", "+", "\u2713", "\u2714"}
BRACKETS = ("[]", "{}", "()")
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
SPACED = re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f'\u2019]\d{3})*([.,]\d+)?")  # 1 234 567, 1'234.5
THOUSANDS = re.compile(r"[+-]?(\d{1,3}|[1-9]\d{0,2}(,\d{3})+)(\.\d+)?")
SPACES = " \u00a0\u202f'\u2019"
WITHOUT_SPACES = str.maketrans("", "", SPACES)
WHOLE = re.compile(r"[+-]?\d+\.0+")
UNIT = re.compile(r"([^\d\s.,+-]{0,12}\s?)([+-]?\d[\d.,]*)(\s?[^\d.,]{0,12})")  # around a number
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
FREE = 0.25  # share of pieces in other combinations from which a cell is a set: real sets .5 and more, names of parts 0


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


def flags_of(cells: Sequence[str]) -> list[str] | None:
    """The cells as 0, 1, -1 or blank where they are flags in whatever words, None where one of them is none.

    `x` and `+` are flags only among blank cells: a mark where something is there.
    """
    words = {c.strip().lower() for c in set(cells) - BLANK}
    if words <= MARKS and words and len(words) == 1:
        return ["1" if c not in BLANK else "" for c in cells]
    value = {c: FLAG_WORDS.get(c.lower(), c) for c in set(cells)}
    if any(number_of(v) not in (0.0, 1.0, -1.0) for c, v in value.items() if c not in BLANK):
        return None
    return ["" if c in BLANK else plain([value[c]])[0] for c in cells]


def are_marks(cells: Sequence[str]) -> bool:
    """Whether cells are flags in whatever words, at least one of them filled in."""
    return any(c not in BLANK for c in cells) and flags_of(cells) is not None


def with_points(cells: Sequence[str]) -> list[str] | None:
    """Numbers with decimal commas, or commas between thousands, as Python writes them; None for other cells."""
    filled = set(cells) - BLANK
    if any("," in c for c in filled) and all(THOUSANDS.fullmatch(c) for c in filled):
        return [c.replace(",", "") for c in cells]
    if not any("," in c for c in filled) or not all(DECIMAL_COMMA.fullmatch(c) for c in filled):
        return None
    return [c.replace(",", ".") for c in cells]


def without_spaces(cells: Sequence[str]) -> list[str] | None:
    """Numbers with spaces or apostrophes between thousands as Python writes them; None for other cells."""
    if not any(sign in c for c in cells for sign in SPACES) or not all(SPACED.fullmatch(c) for c in cells):
        return None
    bare = [c.translate(WITHOUT_SPACES) for c in cells]
    return with_points(bare) or bare


def without_unit(cells: Sequence[str]) -> tuple[list[str], str] | None:
    """Numbers that have one and the same sign or word around them, as 85% or $1,200 have, bare, and that; else None."""
    cut = [UNIT.fullmatch(c) for c in cells]
    frames = {(m[1].strip(), m[3].strip()) for m in cut if m}
    if not all(cut) or len(frames) != 1 or frames == {("", "")}:
        return None
    numbers = [m[2] for m in cut if m]
    numbers = with_points(numbers) or numbers
    return (numbers, " ".join(filter(None, min(frames)))) if are_numbers(numbers) else None


def tokens_of(cell: str, separator: str) -> list[str]:
    """The names in a cell, each once, in order; those of a list as Python or json writes it by their quotes."""
    if cell[:1] + cell[-1:] in BRACKETS:
        cell = cell[1:-1]
        quoted = [a or b for a, b in QUOTED.findall(cell)]
        if quoted:
            return list(dict.fromkeys(q.strip() for q in quoted if q.strip()))
    parts = cell.split(separator) if separator != " " else cell.split()
    return list(dict.fromkeys(p.strip().strip("'\"") for p in parts if p.strip().strip("'\"")))


def are_lists(cells: Iterable[str]) -> bool:
    """Whether every cell that is not blank is a list as Python or json writes it."""
    filled = set(cells) - BLANK
    return bool(filled) and all(len(c) > 1 and c[0] + c[-1] in BRACKETS for c in filled)


def separator_of(
    cells: Iterable[str],
    one_label: bool = False,
    of_sets: bool = False,
    shown: Iterable[str] = (),
    leaning: bool = False,
) -> str:
    """The separator of a column of sets, "" where cells are single names.

    A class name may hold spaces or commas ("Common wheat", "Corolla, red", "ace of clubs"), so splitting has to explain
    the column: most pieces recur in different cells, for spaces there are fewer pieces than different cells and cells
    differ in length (or pieces are few by far), and pieces recur in other combinations: many that stand behind another
    also stand alone or first, as the parts of a name do not. Where the metric scores one label a row (`one_label`) more
    is asked, where it scores sets only (`of_sets`), or the sample's cells (`shown`) hold new combinations, less. Where
    the metric is one that sets are mostly scored by (`leaning`), pieces may keep places of their own, as a thing, the
    weather and the light do, if there are few of them in sets of several sizes.
    """
    distinct = set(cells) - BLANK
    for separator in SEPARATORS:
        if not any(separator in c for c in distinct):
            continue
        split = [tokens_of(c, separator) for c in sorted(distinct)]
        lengths = {len(t) for t in split}
        if max(lengths) < 2:
            continue
        seen = Counter(t for tokens in split for t in tokens)
        recurring = sum(1 for n in seen.values() if n > 1) / len(seen)
        if recurring < 0.5 or len(seen) >= len(distinct) + (separator != " "):
            continue
        if separator == " " and len(lengths) == 1 and len(seen) > len(distinct) / 3:
            continue
        if separator == "," and are_numbers(distinct):
            continue
        free = share_free(split)
        new = any(c not in distinct and set(tokens_of(c, separator)) <= set(seen) for c in set(shown) - BLANK)
        if one_label and (free < 0.5 or len(lengths) == 1):
            continue
        slots = leaning and len(lengths) > 1 and len(seen) <= len(distinct) / 2
        if separator not in "|;" and not of_sets and not slots and not (new and not one_label) and free < FREE:
            continue
        return separator
    return ""


def share_free(split: Sequence[Sequence[str]]) -> float:
    """The share of pieces standing behind another that stand alone or first elsewhere; 0 where none stands behind."""
    first = {tokens[0] for tokens in split if tokens}
    behind = {t for tokens in split for t in tokens[1:]}
    return len(behind & first) / len(behind) if behind else 0.0


def same_name(name: str) -> str:
    """The name without what people write in two ways: case, and spaces, hyphens or underscores between words."""
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def plain(cells: Sequence[str]) -> list[str]:
    """The cells, whole numbers written as 3.0 or 3.000 turned to 3."""
    return [c.split(".")[0] if WHOLE.fullmatch(c) else c for c in cells]
