"""Columns that name rows instead of describing them: counters, dates, hashes and ids of any kind teach nothing."""

import re
from collections.abc import Sequence

import numpy as np

from autoclimb.data.read.values import number_of

ID_NAME = re.compile(
    r"^(unnamed.*|idx|index|row|level_0|id|uid|uuid|guid|hash|md5|serial|nr|no)$|(^|[ _-])(id|uid|uuid|idx|index|hash)$"
    r"|[a-z]I[dD]$|^(row|image|img|picture|photo|file|sample|record|item|entry)[ _-]?(no|nr|num|number)$",
    re.IGNORECASE,
)
DEALT = re.compile(r"^(k_?|cv_?)?folds?(_?id)?$|^(split|partition)$", re.IGNORECASE)
DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T _].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
)
DAY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")  # 20200131
SECOND = re.compile(r"(1[0-9]{9})([0-9]{3})?(\.[0-9]+)?")  # since 1970, from 2001 to 2033
HASH = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
FEWEST = 20  # values from which their order or their being all different is no coincidence (assumption)
NEARLY_ALL = 0.95


def why_it_names_rows(name: str, cells: Sequence[str], tested: Sequence[str]) -> str:
    """Why a column only names its rows, "" where it may describe them.

    `cells` are its values in train-row order, `tested` those of test rows, blank ones left out of both.
    """
    if not cells:
        return ""
    if DEALT.search(name):
        return "it says how somebody dealt the rows"
    few = len(set(cells)) <= len(cells) / 2
    for pattern, why in ((DATE, "its dates say when, not what"), (HASH, "its hashes name rows")):
        if share_of(pattern, cells) >= NEARLY_ALL:
            return why
    if all(number_of(c) is not None for c in cells):
        values = np.array([float(c) for c in cells])
        if share_of(DAY, cells) >= NEARLY_ALL or share_of(SECOND, cells) >= NEARLY_ALL:
            return "its dates say when, not what"
        why = why_numbers_name_rows(values, np.array([float(c) for c in tested if number_of(c) is not None]))
        if why:
            return why
    return "by its name and its values it is an id" if ID_NAME.search(name) and not few else ""


def why_numbers_name_rows(values: np.ndarray, tested: np.ndarray) -> str:
    """Why numbers in train-row order are a counter, a clock or ids, "" where they may be measurements."""
    if len(values) < FEWEST:
        return ""
    steps = np.diff(values)
    distinct = len(np.unique(values))
    if (np.abs(steps) == 1).mean() >= 0.9 and abs(np.sign(steps[np.abs(steps) == 1]).mean()) > 0.9:
        return "it is a running number"
    if distinct >= max(FEWEST, len(values) / 10) and max((steps >= 0).mean(), (steps <= 0).mean()) >= NEARLY_ALL:
        return "it grows with the rows, as a counter or a clock does"
    if distinct < NEARLY_ALL * len(values) or not (values == np.floor(values)).all():
        return ""
    together = np.unique(np.concatenate([values, tested]))
    if together[-1] - together[0] + 1 <= 2 * len(together):
        return "it is a running number in another order"
    digits = [len(f"{abs(v):.0f}") for v in values]
    usual = max(set(digits), key=digits.count)
    return "its numbers name rows" if usual >= 4 and digits.count(usual) >= 0.9 * len(digits) else ""


def share_of(pattern: re.Pattern[str], cells: Sequence[str]) -> float:
    """The share of cells that are what a pattern says, from first to last letter."""
    return sum(pattern.fullmatch(c) is not None for c in cells) / len(cells)
