"""Answers -> submission.csv, in the sample's own columns, rows and cells, checked by reading it back."""

import csv
import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from autoclimb.arrays import BLOCK, take_rows
from autoclimb.disk import whole_file
from autoclimb.score.rules import nearest_grade
from autoclimb.types import Form, Metric, Task

LONGEST_CELL = 1 << 30  # characters; csv's own limit of 131,072 is shorter than an id may be


def write_submission(
    task: Task, answers: np.ndarray, path: Path, metric: Metric, probability: np.ndarray | None = None
) -> None:
    """Writes the submission: the sample's columns and rows, each cell in the sample's form, checked before it is kept.

    Nothing is written for a task without test items. `answers` are for `task.test_ids` in order, in the form of
    `metric.wants` (see types.Metric). `probability` `(M, C)` fills cells that hold probabilities where the answers are
    labels (a sample with a column per class).
    """
    if not task.test_ids:
        return
    answers = np.asarray(answers)
    assert len(answers) == len(task.test_ids), f"{len(answers)} answers for {len(task.test_ids)} test items"
    form = task.form
    with whole_file(Path(path)) as part:
        with open(part, "w", newline="", encoding="utf-8") as out:
            plain = csv.writer(out, delimiter=form.delimiter, lineterminator="\n")
            # a lone \r needs quotes, which csv would not set by itself
            quoted = csv.writer(out, delimiter=form.delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
            head = [form.order or form.columns] if form.header else []
            for row in chain(head, rows_of(task, answers, metric, probability)):
                (quoted if any("\r" in cell for cell in row) else plain).writerow(row)
        check_submission(task, part)  # before it takes the place of the last good one


def rows_of(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> Iterator[list[str]]:
    """The file's rows below its header, in which the sample's ids may repeat."""
    form = task.form
    place = {name: i for i, name in enumerate(task.test_ids)}
    item_of = np.array([place[form.rows[row][0] if form.rows else name] for row, name in enumerate(form.ids)], np.int64)
    cells: dict[int, Sequence[str]] = {}
    step = len(form.ids) if form.cell in ("number", "label") else max(1, BLOCK // (8 * max(task.width, 1)))
    for row, (name, item) in enumerate(zip(form.ids, item_of.tolist(), strict=True)):
        if row % step == 0:  # the cells of all items would not fit in memory where classes are many
            cells = cells_of(task, np.unique(item_of[row : row + step]), answers, metric, probability)
        filled = [cells[item][form.rows[row][1]]] if form.rows else cells[item]
        if not form.order:
            yield [name, *filled]
            continue
        by_column = dict(zip(form.columns, (name, *filled), strict=True))
        for column, sample_cells in form.beside:
            confidence = 1.0 if probability is None else float(probability[item].max())
            by_column[column] = sample_cells[row] if sample_cells else shortest(confidence)
        yield [by_column[column] for column in form.order]


def cells_of(
    task: Task, items: np.ndarray, answers: np.ndarray, metric: Metric, probability: np.ndarray | None
) -> dict[int, Sequence[str]]:
    """The cells of some test items under `form.columns` but the id, by item."""
    form = task.form
    needs_probability = form.cell in ("labels", "columns")  # the other forms would copy it for nothing
    likely = probability[items] if probability is not None and needs_probability else None
    cells: list[list[str]] = CELLS[form.cell](task, answers[items], metric, likely)
    if form.decimal != "." and form.cell in ("number", "columns"):
        cells = [[cell.replace(".", form.decimal) for cell in row] for row in cells]
    return dict(zip(items.tolist(), cells, strict=True))


def joined(form: Form, names: Iterable[str]) -> str:
    """Class names as one cell."""
    begin, end, quote = form.brackets
    return begin + form.separator.join(f"{quote}{name}{quote}" for name in names) + end


def without_brackets(form: Form, cell: str) -> tuple[str, str]:
    """The inner part of a cell that `joined` made, without outer quotes, and the separator with the quotes in it."""
    begin, end, quote = form.brackets
    inner = cell.removeprefix(begin).removesuffix(end).removeprefix(quote).removesuffix(quote)
    return inner, f"{quote}{form.separator}{quote}"


def label_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """One class name a row."""
    return [[task.classes[i]] for i in class_of(task, answers, metric)]


def set_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """Class names joined by the separator: a set, or a ranking with the best first."""
    if metric.wants == "ranking":
        most = task.form.at_most or answers.shape[1]
        ranked = [[i for i in row[:most] if i >= 0] for row in answers]
    elif answers.ndim == 2 and task.kind == "multilabel":
        chosen = np.array(answers if metric.wants != "probability" else answers >= 0.5)
        if never_empty(task):
            likely = answers if metric.wants == "probability" else probability
            blank = np.flatnonzero(~chosen.any(1))
            chosen[blank, task.target.sum(0).argmax() if likely is None else likely[blank].argmax(1)] = 1
        ranked = [np.flatnonzero(row).tolist() for row in chosen]
    elif task.form.at_most > 1 and probability is not None:
        ranked = np.argsort(-probability, axis=1, kind="stable")[:, : task.form.at_most].tolist()
    else:
        ranked = [[i] for i in class_of(task, answers, metric)]
    return [[joined(task.form, (task.classes[i] for i in row))] for row in ranked]


def number_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """A probability of the positive class, a grade or a quantity."""
    if task.kind == "binary":
        if metric.wants in ("label", "labels", "ranking"):
            return [[str(i)] for i in class_of(task, answers, metric)]
        return [[shortest(v)] for v in (answers[:, -1] if answers.ndim == 2 else answers)]
    # no answer beyond the train rows' range: a grader refuses 101 in 1..100; `predict` has no train rows to clip to
    if task.kind == "regression" and len(task.target):
        answers = np.clip(answers, task.target.min(), task.target.max())
    if task.kind == "ordinal" and metric.wants in ("label", "labels"):
        answers = np.asarray(task.grades)[class_of(task, answers, metric)]
    graded = metric.wants in ("label", "labels", "grade")
    if task.form.whole_numbers and graded and all(float(v).is_integer() for v in answers):
        return [[str(int(v))] for v in answers]  # a grade of a half step is written as such, whatever the sample shows
    return [[shortest(v)] for v in answers]


def column_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """A number for each class of the sample: a probability, also where the metric ranks, else 0/1 of the classes named.

    Classes that train rows lack get 0, or, where rows must sum to one, the share that `of_sample_classes` gives them.
    """
    if metric.wants == "ranking" and probability is not None:
        answers = probability
    if answers.ndim == 1 or metric.wants in ("label", "labels") or (metric.wants == "ranking" and probability is None):
        flags = answers if answers.ndim == 2 and metric.wants == "labels" else one_hot(task, answers, metric)
        table = [[str(int(v)) for v in row] for row in flags]
    elif task.form.sums_to_one:
        return [[shortest(v) for v in row] for row in of_sample_classes(task, answers)]
    else:
        table = [[shortest(v) for v in row] for row in answers]
    return [[row[c] if c >= 0 else "0" for c in task.form.column_of] for row in table]


def of_sample_classes(task: Task, answers: np.ndarray) -> np.ndarray:
    """`(M, columns)` probabilities of the sample's classes, rows summing to one.

    Classes that train rows lack share the probability of unseen classes, estimated by the share of train rows whose
    class occurs once (Good 1953); each gets at least a millionth, for a grader's logarithm.
    """
    place = np.asarray(task.form.column_of)
    lacking = place < 0
    table = np.where(lacking, 0.0, np.asarray(answers, np.float64)[:, place])
    total = table.sum(1, keepdims=True)
    table = np.where(total > 0, table / np.where(total > 0, total, 1.0), ~lacking / max(1, (~lacking).sum()))
    if lacking.any():
        once = int((np.bincount(task.target, minlength=task.width) == 1).sum()) if task.target.ndim == 1 else 0
        share = min(0.5, max(once / len(task.target), 1e-6 * lacking.sum()))
        table = table * (1 - share)
        table[:, lacking] = share / lacking.sum()
    return table


def never_empty(task: Task) -> bool:
    """Whether every train row has a label, so that an empty set would be no valid answer."""
    return task.target.ndim == 2 and bool(task.target.any(1).all())


CELLS: dict[str, Callable[[Task, np.ndarray, Metric, np.ndarray | None], list[list[str]]]] = {
    "label": label_cells,
    "labels": set_cells,
    "number": number_cells,
    "columns": column_cells,
}


def class_of(task: Task, answers: np.ndarray, metric: Metric) -> np.ndarray:
    """`(M,)` class index, whatever form the answers have."""
    if metric.wants in ("grade", "number"):
        return nearest_grade(answers, task.grades or range(task.width))
    if metric.wants == "ranking":
        return answers[:, 0].astype(np.int64)
    if answers.ndim == 2:
        return answers.argmax(1)
    return answers.astype(np.int64)


def one_hot(task: Task, answers: np.ndarray, metric: Metric) -> np.ndarray:
    """`(M, C)` 0/1 of the class answered."""
    return np.eye(task.width, dtype=np.int64)[class_of(task, answers, metric)]


def shortest(value: float) -> str:
    """The number with the fewest digits that read back as the same number, never in exponent form.

    A value that float32 holds exactly is written with float32's digits. Others are not rounded to float32: there
    probabilities near 1 tied, and an AUC of .922 became .907.
    """
    assert math.isfinite(value), f"answer {value} is no finite number"
    short = np.float32(value)
    return np.format_float_positional(short if short == value else np.float64(value), trim="-") if value else "0"


def check_submission(task: Task, path: Path) -> None:
    """Reads the file back and asserts the sample's columns, ids and order, and that every cell is valid.

    A valid cell is filled, finite or a known name; rows sum to one where they must, sets hold a name where every train
    row's does, and rankings are short enough.
    """
    csv.field_size_limit(LONGEST_CELL)
    form = task.form
    order = form.order or form.columns
    known = set(task.classes)
    empty = task.kind == "multilabel" and not never_empty(task)
    places = [order.index(column) for column in form.columns]
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(file, delimiter=form.delimiter)
        header = next(lines, []) if form.header else list(order)
        assert tuple(header) == order, f"{path} has the columns {header}, the sample {order}"
        rows = 0
        for line in lines:
            assert len(line) == len(order), f"{path} has a row of another length"
            row = [line[p] for p in places]
            assert rows < len(form.ids), f"{path} has more rows than the sample"
            assert row[0] == form.ids[rows], f"the ids of {path} are not the sample's: {row[0]!r}"
            check_row(task, path, row, known, empty)
            rows += 1
        assert rows == len(form.ids), f"{path} has {rows} rows, the sample {len(form.ids)}"


def with_points(form: Form, row: list[str]) -> list[str]:
    """A row, whose first cell is the id, with points for the form's decimal sign in its numbers."""
    if form.decimal == "." or form.cell not in ("number", "columns"):
        return row
    return [row[0], *(cell.replace(form.decimal, ".") for cell in row[1:])]


def check_row(task: Task, path: Path, row: list[str], known: set[str], empty: bool) -> None:
    """Asserts that a row's cells are valid; its first cell is the id, and `empty` says whether a set may be empty."""
    form, row = task.form, with_points(task.form, row)
    if form.sums_to_one:
        total = math.fsum(map(float, row[1:]))
        assert abs(total - 1) < 1e-5, f"the probabilities of {row[0]!r} in {path} sum to {total}"
    for cell in row[1:]:
        if form.cell in ("number", "columns"):
            assert math.isfinite(float(cell)), f"{path} holds {cell!r} for {row[0]!r}"
        elif form.cell == "label":
            assert cell in known, f"{path} holds {cell!r} for {row[0]!r}, no class"
        else:
            inner, separator = without_brackets(form, cell)
            most = form.at_most or len(known)
            names = names_in(inner, separator, known)
            assert names is not None, f"{path} holds {cell!r} for {row[0]!r}"
            if len(set(names)) < len(names) or len(names) > most:  # "red fox red fox" may be red fox, red and fox
                fault = "repeats a name" if len(set(names)) < len(names) else "has too many names"
                assert has_distinct_names(inner.split(separator), separator, known, most), (
                    f"{path} {fault} for {row[0]!r}"
                )
            assert inner or empty, f"{path} is blank for {row[0]!r}"


def names_in(cell: str, separator: str, known: Container[str]) -> list[str] | None:
    """The known names that a cell joins, the longest possible where names hold the separator; None where unknown.

    "fin whale blue whale" joined by spaces is two names, if those are classes.
    """
    parts = cell.split(separator) if cell else []
    splits: list[list[str] | None] = [[]]  # [k]: the names that the first k parts join, None where they join none
    for end in range(1, len(parts) + 1):
        names = None
        for start, head in enumerate(splits[:end]):
            name = separator.join(parts[start:end])
            if head is not None and name in known:
                names = [*head, name]
                break
        splits.append(names)
    return splits[-1]


def has_distinct_names(parts: Sequence[str], separator: str, known: Container[str], most: int) -> bool:
    """Whether the parts of a cell can be read as known names, `most` at most, none of which occurs twice."""

    def read(start: int, before: frozenset[str]) -> bool:
        if start == len(parts):
            return True
        return len(before) < most and any(
            (name := separator.join(parts[start:end])) in known and name not in before and read(end, before | {name})
            for end in range(len(parts), start, -1)
        )

    return read(0, frozenset())


def constant_prediction(
    task: Task, rows: Sequence[int] | np.ndarray | None = None, constant: str = "mean"
) -> np.ndarray:
    """`(M, C)` for the test items, a view of one row: shares of classes or votes, frequencies of labels, or a number.

    It is computed from the train `rows`, by default all; `constant` is the metric's: mean or median of numbers.
    """
    target = task.truth if rows is None else take_rows(task.truth, np.asarray(rows))
    if task.kind == "regression":
        value = np.array([np.median(target) if constant == "median" else np.mean(target)])
    elif task.kind == "multilabel" or task.soft is not None:
        value = target.mean(0)
    else:
        value = np.bincount(target, minlength=task.width) / len(target)
    return np.broadcast_to(value.astype(np.float64), (len(task.test_ids), len(value)))
