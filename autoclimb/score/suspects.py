"""Train rows whose label their out-of-fold prediction contradicts, by confident learning.

A class's threshold is the mean probability of it among the rows that bear it (Northcutt, Jiang, Chuang: "Confident
Learning", JAIR 2021), or .9 where it is higher: a row is a suspect where another class passes its own threshold and is
likelier than the row's label. It is the model that says what is likely: a suspect is a question to a person.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from autoclimb.types import Kind

Reason = Literal["contradicted", "label missing", "label unlikely", "far off", "torn"]
REASONS: dict[Reason, str] = {
    "contradicted": "another class is confidently predicted",
    "label missing": "a label is confidently predicted that the row lacks",
    "label unlikely": "the row has a label that is predicted as unlikely as where it is absent",
    "far off": "the predicted number is far from the row's",
    "torn": "two classes are about as likely as each other",
}
SURE = 0.9  # probability that is confident whatever a class's threshold; a mean is missed by half of a sure net's
TORN = (0.4, 0.6)  # probability of each of two classes
FAR_OFF = 3.5  # robust standard deviations (1.4826 times the median distance) from which a residual is an outlier


@dataclass(frozen=True)
class Suspect:
    """A train row to look at again. `proposed` is a class or label index, -1 for numbers, whose proposal is `value`.

    `doubt` lies in 0 to 1, larger is more doubtful; it orders rows of one reason and is no probability of an error.
    """

    row: int
    reason: Reason
    doubt: float
    proposed: int
    value: float  # the proposed class's probability, or the predicted number


def suspects_of(kind: Kind, target: np.ndarray, p: np.ndarray) -> list[Suspect]:
    """The suspects by `target` `(N, C)` and out-of-fold predictions `p` `(N, C)`, NaN where a row was not predicted.

    They are in the order of REASONS, largest doubt first; a row is listed once. `target` is what nets learn: one-hot
    rows, shares of votes, 0/1 rows or numbers.
    """
    rows = np.flatnonzero(np.isfinite(p).all(1))
    if len(rows) < 2:
        return []
    predicted, true = np.asarray(p[rows], np.float64), np.asarray(target[rows], np.float64)
    if kind == "regression":
        suspects = _far_off(rows, true[:, 0], predicted[:, 0])
    elif kind == "multilabel":
        suspects = _wrong_sets(rows, true > 0.5, predicted)
    else:
        suspects = _wrong_classes(rows, true.argmax(1), predicted)
    order = list(REASONS)
    first_of_row: dict[int, Suspect] = {}
    for suspect in sorted(suspects, key=lambda s: (order.index(s.reason), -s.doubt)):
        first_of_row.setdefault(suspect.row, suspect)
    return list(first_of_row.values())


def _wrong_classes(rows: np.ndarray, label: np.ndarray, p: np.ndarray) -> list[Suspect]:
    """The rows of one class each that are contradicted, and those torn between two classes."""
    n, width = p.shape
    at = np.arange(n)
    of_label = p[at, label]
    counts = np.bincount(label, minlength=width)
    threshold = np.where(counts > 0, np.bincount(label, of_label, width) / np.maximum(counts, 1), np.inf)
    confident = np.where(p >= np.minimum(threshold, SURE), p, 0.0)
    confident[at, label] = 0.0
    other = confident.argmax(1)
    contradicted = confident[at, other] > of_label
    listed = [
        Suspect(int(rows[i]), "contradicted", float(p[i, other[i]] - of_label[i]), int(other[i]), float(p[i, other[i]]))
        for i in np.flatnonzero(contradicted)
    ]
    if width > 1:
        first, second = (np.argpartition(-p, 1, axis=1)[:, k] for k in (0, 1))
        a, b = p[at, first], p[at, second]
        torn = ~contradicted & (np.minimum(a, b) >= TORN[0]) & (np.maximum(a, b) <= TORN[1])
        for i in np.flatnonzero(torn):
            proposed = second[i] if first[i] == label[i] else first[i]
            listed.append(
                Suspect(int(rows[i]), "torn", float(1 - abs(a[i] - b[i])), int(proposed), float(p[i, proposed]))
            )
    return listed


def _wrong_sets(rows: np.ndarray, true: np.ndarray, p: np.ndarray) -> list[Suspect]:
    """The rows that lack a label predicted as where it is present, or have one predicted as where it is absent."""
    some, none = true.sum(0), (~true).sum(0)
    where_present = np.where(some > 0, (p * true).sum(0) / np.maximum(some, 1), np.inf)
    where_absent = np.where(none > 0, (p * ~true).sum(0) / np.maximum(none, 1), -np.inf)
    missing = ~true & (p >= np.minimum(where_present, SURE)) & (p > 0.5)
    unlikely = true & (p <= np.maximum(where_absent, 1 - SURE)) & (p < 0.5)
    listed = []
    cells: tuple[tuple[Reason, np.ndarray, np.ndarray], ...] = (
        ("label missing", missing, p),
        ("label unlikely", unlikely, 1 - p),
    )
    for reason, cell, doubt in cells:
        for i in np.flatnonzero(cell.any(1)):
            j = int(np.where(cell[i], doubt[i], -1).argmax())
            listed.append(Suspect(int(rows[i]), reason, float(doubt[i, j]), j, float(p[i, j])))
    return listed


def _far_off(rows: np.ndarray, true: np.ndarray, p: np.ndarray) -> list[Suspect]:
    """The rows of numbers whose residual is an outlier."""
    off = np.abs(p - true - np.median(p - true))
    scale = 1.4826 * float(np.median(off)) or float(off.mean())
    if scale <= 0:
        return []
    distance = off / scale
    far = np.flatnonzero(distance > FAR_OFF)
    return [Suspect(int(rows[i]), "far off", float(1 - FAR_OFF / distance[i] / 2), -1, float(p[i])) for i in far]
