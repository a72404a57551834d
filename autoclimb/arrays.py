"""Arrays `(N, C)` too large for memory, read by row: sets of labels, stored predictions, views of others.

`p[rows]` is a plain array of those rows. A million rows of seven thousand classes are 56 GB as float64, and three
labels for each row 12 MB: so no array here is materialised in full unless numpy is asked for it (`np.asarray(p)`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autoclimb.disk import write_array

BLOCK = 1 << 23  # cells processed at a time: 64 MB as float64
LARGE = 1 << 26  # cells above which an array is kept in its stored dtype instead of float64 (half a gigabyte)
DENSE = 1 << 27  # cells up to which label sets are stored as a byte each


class ByRow(Protocol):
    """Anything whose rows `(len(rows), C)` can be taken by index, slice or mask, as a numpy array's can."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class RowArray:
    """The methods that follow from shape and `__getitem__`: number of axes, length, conversion to a numpy array."""

    @property
    def ndim(self: ByRow) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self: ByRow) -> int:
        return self.shape[0]

    def __array__(self: ByRow, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True, eq=False)
class LabelSets(RowArray):
    """Rows `(N, width)` of zeros and ones, stored as the places of their ones; a one-hot row has a single one.

    `ones` is `(N, k)` of integers: the labels of each row, padded with -1. Rows come as uint8.
    """

    ones: np.ndarray
    width: int

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and labels."""
        return len(self.ones), self.width

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows `(len(rows), width)`, or one row `(width,)`; `sets[rows, label]` is 1 where a row has the label."""
        if isinstance(rows, tuple):
            rows, label = rows
            return (self.ones[rows] == label).any(-1).astype(np.uint8)
        ones = self.ones[rows]
        many = ones.reshape(-1, ones.shape[-1])
        dense = np.zeros((len(many), self.width), np.uint8)
        row, place = np.nonzero(many >= 0)
        dense[row, many[row, place]] = 1
        return dense.reshape(*ones.shape[:-1], self.width)

    def take(self, rows: Any) -> "LabelSets":
        """The sets of these rows, still as sets."""
        return LabelSets(self.ones[rows], self.width)

    def sum(self, axis: int) -> np.ndarray:
        """The number of rows with each label (axis 0), or of labels in each row (axis 1)."""
        if axis == 1:
            return (self.ones >= 0).sum(1)
        return np.bincount(self.ones[self.ones >= 0], minlength=self.width)

    def mean(self, axis: int) -> np.ndarray:
        """The share of rows with each label (axis 0), or of labels in each row (axis 1)."""
        return self.sum(axis) / max(self.shape[axis], 1)

    def any(self, axis: int) -> np.ndarray:
        """Whether each label has a row (axis 0), or each row a label (axis 1)."""
        return self.sum(axis) > 0

    def argmax(self, axis: int) -> np.ndarray:
        """The first label of each row, 0 where it has none."""
        assert axis == 1, "only along rows"
        first = np.where(self.ones >= 0, self.ones, self.width).min(1)
        return np.where(first < self.width, first, 0).astype(np.int64)

    def changed(self, rows: np.ndarray, dense: np.ndarray) -> "LabelSets":
        """The sets with some rows replaced by `dense` `(len(rows), width)` zeros and ones."""
        new = [np.flatnonzero(row) for row in dense]
        ones = np.full((len(self.ones), max(self.ones.shape[1], *map(len, new))), -1, self.ones.dtype)
        ones[:, : self.ones.shape[1]] = self.ones
        for row, labels in zip(rows, new, strict=True):
            ones[row] = -1
            ones[row, : len(labels)] = labels
        return LabelSets(ones, self.width)


def label_sets(sets: Sequence[Sequence[int]], width: int) -> Any:
    """Rows `(N, width)` of zeros and ones from each row's labels: a uint8 array, LabelSets where that is too large."""
    longest = max((len(labels) for labels in sets), default=0)
    if len(sets) * width <= DENSE or 4 * longest >= width:
        dense = np.zeros((len(sets), width), np.uint8)
        for row, labels in enumerate(sets):
            dense[row, list(labels)] = 1
        return dense
    ones = np.full((len(sets), longest), -1, np.int32)
    for row, labels in enumerate(sets):
        ones[row, : len(labels)] = sorted(labels)
    return LabelSets(ones, width)


def take_rows(target: Any, rows: Any) -> Any:
    """These rows of the target, as LabelSets where it is LabelSets."""
    return target.take(rows) if isinstance(target, LabelSets) else target[rows]


def as_stored(target: Any) -> np.ndarray:
    """The target as the array that is written to disk: of LabelSets the labels of each row, padded with -1."""
    return target.ones if isinstance(target, LabelSets) else target


def row_keys(target: Any) -> list[Any]:
    """A hashable key for each row of a target, equal for equal rows."""
    if target.ndim == 1:
        return target.tolist()
    return [row.tobytes() for row in as_stored(target)]


@dataclass(frozen=True, eq=False)
class Predictions(RowArray):
    """Predictions `(N, C)` for some of N rows: `place` `(N,)` is a row's index in `values` `(R, C)`, -1 for no value.

    Rows come as float32 where values are stored in half precision, and as NaN where they were not predicted.
    """

    values: Any  # ByRow
    place: Any

    @classmethod
    def of(cls, rows: np.ndarray, values: np.ndarray, count: int) -> "Predictions":
        """Predictions for `count` rows of which `rows` (indices) have `values`."""
        place = np.full(count, -1, np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        return cls(values, place)

    @property
    def shape(self) -> tuple[int, ...]:
        """All rows, predicted or not, and columns."""
        return len(self.place), self.values.shape[1]

    @property
    def precision(self) -> np.dtype:
        """The dtype that the values are stored in."""
        return self.values.dtype

    @cached_property
    def predicted(self) -> np.ndarray:
        """`(N,)` bool: the rows that have a value."""
        return np.asarray(self.place) >= 0

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        place = np.asarray(self.place[rows])
        if place.ndim == 0:
            return self[[rows]][0]
        known = place >= 0
        if known.all():
            return in_single(self.values[place])
        out = np.full((len(place), self.values.shape[1]), np.nan, np.promote_types(self.precision, np.float32))
        out[known] = self.values[place[known]]
        return out


@dataclass(frozen=True, eq=False)
class View(RowArray):
    """Some rows of an array by row, in an order of their own, read when they are asked for."""

    source: Any  # ByRow
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of these rows, and the source's columns."""
        return len(self.rows), *self.source.shape[1:]

    @property
    def precision(self) -> np.dtype:
        """The dtype that the source is stored in."""
        return precision_of(self.source)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return in_single(self.source[self.rows[rows]])


@dataclass(frozen=True, eq=False)
class Mean(RowArray):
    """The mean of several predictions of the same rows; a row that one of them lacks is NaN."""

    sources: tuple[Any, ...]  # ByRow

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that all sources have."""
        return self.sources[0].shape

    @property
    def precision(self) -> np.dtype:
        """The dtype that the sources are stored in."""
        return precision_of(self.sources[0])

    @cached_property
    def predicted(self) -> np.ndarray:
        """`(N,)` bool: the rows that every source has."""
        return np.logical_and.reduce([predicted_rows(source) for source in self.sources])

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return np.mean([in_single(source[rows]) for source in self.sources], axis=0)


def in_single(values: np.ndarray) -> np.ndarray:
    """The values, half precision widened to single: sums and logarithms in half precision lose too much."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def precision_of(p: Any) -> np.dtype:
    """The dtype that predictions are stored in."""
    return p.precision if hasattr(p, "precision") else p.dtype


def stored_precision(wants: str, cells: int) -> str:
    """The dtype to store predictions in, by the answers that a metric wants (see types.Metric) and the number of cells.

    It is single precision, and half where that is exact enough and saves much. Half precision is accurate to .05 %, and
    to .0005 near 1: enough for the likeliest class, the first few, or a set cut off at a threshold. It is too coarse
    where rows are ranked by probabilities near 1, which would tie, and where a logarithm is taken of 1 - p.
    """
    return "float16" if cells > LARGE and wants in ("label", "labels", "ranking") else "float32"


def working_precision(cells: int, p: Any) -> np.dtype:
    """The dtype to compute with predictions in: double precision, or their own where cells are very many."""
    return np.dtype(np.float64) if cells <= LARGE else precision_of(p)


def predicted_rows(p: Any) -> np.ndarray:
    """`(N,)` bool: the rows of predictions `(N, C)` whose values are all finite."""
    if hasattr(p, "predicted"):
        return p.predicted
    return by_blocks(lambda rows: np.isfinite(p[rows]).all(1), *p.shape)


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices over `count` rows of `width` columns, about BLOCK cells each; a single empty slice where count is 0."""
    step = max(1, BLOCK // max(width, 1))
    for start in range(0, max(count, 1), step):
        yield slice(start, min(start + step, count))


def by_blocks(function: Callable[[slice], np.ndarray], count: int, width: int, dtype: Any = None) -> np.ndarray:
    """`function(slice)` for all `count` rows of `width` columns, computed a block at a time and joined by row."""
    out = None
    for rows in blocks(count, width):
        part = function(rows)
        if len(part) == count:  # a single block: no copy
            return part if dtype is None else part.astype(dtype, copy=False)
        if out is None:
            out = np.empty((count, *part.shape[1:]), dtype or part.dtype)
        out[rows] = part
    assert out is not None
    return out


@dataclass(frozen=True, eq=False)
class OnDisk(RowArray):
    """The array of a `.npy` file that is open only while rows are read: trials may outnumber the files one may open."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, path: Path) -> "OnDisk":
        """The array of that file. Raises ValueError, OSError or EOFError where the file is incomplete."""
        array = mapped(path)
        return cls(path, array.shape, array.dtype)

    def __getitem__(self, rows: Any, /) -> Any:
        return mapped(self.path)[rows]


# --- on disk ---------------------------------------------------------------------------------------------------------


def write_predictions(path: Path, p: Any) -> None:
    """Writes `<path>.npy`, the predicted rows, and then `<path>_place.npy`.

    Rows added to predictions come last in `values`, so that a `place` read before an addition fits the values after it.
    """
    if not isinstance(p, Predictions):
        rows = np.flatnonzero(predicted_rows(p))
        p = Predictions.of(rows, np.asarray(p[rows]), len(p))
    write_array(path.with_name(f"{path.name}.npy"), p.values)
    write_array(path.with_name(f"{path.name}_place.npy"), p.place)


def read_predictions(path: Path, open_file: Callable[[Path], Any] | None = None) -> Predictions:
    """The predictions that `write_predictions` wrote, read row by row when they are asked for.

    `open_file` opens each of the two files: `OnDisk.of` (the default), or `mapped` for files that another process may
    replace meanwhile.
    """
    values, place = (path.with_name(f"{path.name}{part}.npy") for part in ("", "_place"))
    return Predictions(*((open_file or OnDisk.of)(file) for file in (values, place)))


def mapped(path: Path) -> np.ndarray:
    """The array of a `.npy` file, memory-mapped."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # a file of no rows cannot be mapped
        return np.load(path, allow_pickle=False)


def read_target(path: Path, width: int) -> Any:
    """The target `(N, width)` of a `target.npy`: LabelSets where the file holds integers, `(N,)` or `(N, k)` labels.

    Other arrays are returned unchanged: bytes of 0/1, shares of votes, numbers.
    """
    values = np.load(path, allow_pickle=False)
    return LabelSets(values.reshape(len(values), -1), width) if values.dtype.kind == "i" else values
