"""Answers -> submission.csv, in the sample's own columns, rows and cells, checked by reading it back."""

import csv
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from autoclimb.types import Metric, Task


def write_submission(
    task: Task, answers: np.ndarray, path: Path, metric: Metric, probability: np.ndarray | None = None
) -> None:
    """Writes the submission: the sample's columns and rows, each cell in the sample's form; whole or not at all.

    `answers` are for `task.test_ids` in order, in the form of `metric.wants` (see types.Metric). `probability` `(M, C)`
    fills cells that hold probabilities where the answers are labels (a sample with a column per class).
    """
    answers = np.asarray(answers)
    assert len(answers) == len(task.test_ids), f"{len(answers)} answers for {len(task.test_ids)} test items"
    rows = CELLS[task.form.cell](task, answers, metric, probability)
    place = {name: i for i, name in enumerate(task.test_ids)}
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(task.form.columns)
        for name in task.form.ids:
            writer.writerow([name, *rows[place[name]]])
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)
    check_submission(task, path)


def label_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """One class name a row."""
    return [[task.classes[i]] for i in class_of(task, answers, metric)]


def set_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """Class names joined by the separator: a set, or a ranking with the best first."""
    join = task.form.separator.join
    if metric.wants == "ranking":
        most = task.form.at_most or answers.shape[1]
        return [[join(task.classes[i] for i in row[:most] if i >= 0)] for row in answers]
    if answers.ndim == 2 and task.kind == "multilabel":
        chosen = answers if metric.wants != "probability" else answers >= 0.5
        return [[join(task.classes[i] for i in np.flatnonzero(row))] for row in chosen]
    if task.form.at_most > 1 and probability is not None:
        order = np.argsort(-probability, axis=1, kind="stable")[:, : task.form.at_most]
        return [[join(task.classes[i] for i in row)] for row in order]
    return [[task.classes[i]] for i in class_of(task, answers, metric)]


def number_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """A probability of the positive class, a grade or a quantity."""
    if task.kind == "binary":
        if metric.wants in ("label", "labels", "ranking"):
            return [[str(i)] for i in class_of(task, answers, metric)]
        return [[shortest(v)] for v in (answers[:, -1] if answers.ndim == 2 else answers)]
    if task.kind == "ordinal" and metric.wants in ("label", "labels"):
        answers = np.asarray(task.grades)[class_of(task, answers, metric)]
    if task.form.whole_numbers and metric.wants in ("label", "labels", "grade"):
        return [[str(round(float(v)))] for v in answers]
    return [[shortest(v)] for v in answers]


def column_cells(task: Task, answers: np.ndarray, metric: Metric, probability: np.ndarray | None) -> list[list[str]]:
    """One number per asked class: a probability, or 0 and 1 where the metric wants labels; 0 for unknown classes."""
    if metric.wants in ("label", "labels", "ranking"):
        flags = answers if answers.ndim == 2 and metric.wants == "labels" else one_hot(task, answers, metric)
        table = [[str(int(v)) for v in row] for row in flags]
    else:
        table = [[shortest(v) for v in row] for row in answers]
    return [[row[c] if c >= 0 else "0" for c in task.form.column_of] for row in table]


CELLS: dict[str, Callable[[Task, np.ndarray, Metric, np.ndarray | None], list[list[str]]]] = {
    "label": label_cells,
    "labels": set_cells,
    "number": number_cells,
    "columns": column_cells,
}


def class_of(task: Task, answers: np.ndarray, metric: Metric) -> np.ndarray:
    """`(M,)` class index, whatever form the answers have."""
    if metric.wants == "grade":
        return np.array([int(np.argmin(np.abs(np.asarray(task.grades) - g))) for g in answers], np.int64)
    if metric.wants == "ranking":
        return answers[:, 0].astype(np.int64)
    if answers.ndim == 2:
        return answers.argmax(1)
    return answers.astype(np.int64)


def one_hot(task: Task, answers: np.ndarray, metric: Metric) -> np.ndarray:
    """`(M, C)` 0/1 of the class answered."""
    return np.eye(task.width, dtype=np.int64)[class_of(task, answers, metric)]


def shortest(value: float) -> str:
    """The number with the fewest digits that read back as its float32, never in exponent form."""
    assert math.isfinite(value), f"answer {value} is no finite number"
    return np.format_float_positional(np.float32(value), trim="-") if value else "0"


def check_submission(task: Task, path: Path) -> None:
    """Reads the file back and asserts the sample's columns, ids, order and full, finite, known cells."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == task.form.columns, f"{path} has the columns {header}, the sample {task.form.columns}"
    ids = tuple(row[0] for row in rows)
    assert ids == task.form.ids, f"the ids of {path} are not the sample's"
    assert all(len(row) == len(header) for row in rows), f"{path} has a row of another length"
    known = set(task.classes)
    for row in rows:
        for cell in row[1:]:
            if task.form.cell in ("number", "columns"):
                assert math.isfinite(float(cell)), f"{path} holds {cell!r} for {row[0]!r}"
            elif task.form.cell == "label":
                assert cell in known, f"{path} holds {cell!r} for {row[0]!r}, no class"
            else:
                names = cell.split(task.form.separator) if cell else []
                assert all(n in known for n in names), f"{path} holds {cell!r} for {row[0]!r}"
                assert cell or task.kind == "multilabel", f"{path} is blank for {row[0]!r}"


def constant_prediction(task: Task, rows: Sequence[int] | None = None, median: bool = False) -> np.ndarray:
    """`(M, C)` for the test items, the same in each row: class shares, label frequencies, or the target's mean.

    `rows` are the train rows to take it from (all of them), `median` takes the target's median (best for MAE).
    """
    target = task.target if rows is None else task.target[np.asarray(rows)]
    if task.kind == "regression":
        value = np.array([np.median(target) if median else np.mean(target)])
    elif task.kind == "multilabel":
        value = target.mean(0)
    else:
        value = np.bincount(target, minlength=task.width) / len(target)
    return np.repeat(value[None, :].astype(np.float64), len(task.test_ids), 0)
