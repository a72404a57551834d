"""Marking a submission against the answers: both are read in the sample's form, then scored."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.report.submission import LONGEST_CELL, names_in, with_points, without_brackets
from autoclimb.score.crossfit import standard_error
from autoclimb.score.decide import truth_for
from autoclimb.score.rules import nearest_grade
from autoclimb.types import Form, Goal, Metric, Task


@dataclass(frozen=True, eq=False)
class Mark:
    """A submission's score, the metric's own value, with its standard error over the test rows.

    `truth` and `answers` are the metric's arguments, rows in the order of the known answers: all test rows, or some.
    """

    score: float
    stderr: float
    truth: np.ndarray = field(repr=False)
    answers: np.ndarray = field(repr=False)


def marked(task: Task, metric: Metric, submission: Path, answers: Path) -> Mark:
    """The mark of a submission. Raises Mistake where a file is not in the sample's form or answers other ids."""
    goal, form = Goal(metric, task.kind, task.grades), task.form
    check_scorable(task, metric)
    true_cells = cells_of(form, answers)
    cells = cells_of(form, submission)
    unknown = sorted(set(true_cells) - set(task.test_ids))
    if unknown:
        raise Mistake(
            f"{answers.name} answers {unknown[0]!r}, which is no test row of {task.name}; leave out such rows"
        )
    missing = [name for name in true_cells if name not in cells]
    unasked = sorted(set(cells) - set(task.test_ids))
    if missing or unasked:
        fault = f"lacks {missing[0]!r}" if missing else f"answers {unasked[0]!r}, which nobody asks for"
        raise Mistake(f"{submission.name} {fault}; it must answer the ids of {answers.name}")
    classes = [*task.classes]
    if form.cell in ("label", "labels"):  # the test rows may have classes that train rows lack
        true_names, names = (
            {name for row in table.values() for name in names_of(form, row[0], classes)}
            for table in (true_cells, cells)
        )
        if true_names and true_names.isdisjoint(classes):  # otherwise every solver would score 0
            raise Mistake(
                f"{answers.name} holds {min(true_names)!r}, and no label of a train row; is it of {task.name}?"
            )
        classes += sorted((true_names | names) - set(classes))
    try:
        truth = truth_in(task, metric, list(true_cells.values()), classes)
        predicted = answers_in(task, metric, [cells[name] for name in true_cells], classes)
    except ValueError as error:
        files = " or ".join({submission.name: None, answers.name: None})
        raise Mistake(f"{files} cannot be scored: {error}") from error
    return Mark(metric.shown(goal.score(truth, predicted)), standard_error(goal, truth, predicted), truth, predicted)


def check_scorable(task: Task, metric: Metric) -> None:
    """Raises Mistake where the sample's cells cannot hold what the metric scores."""
    number, name = task.form.cell == "number", task.form.cell in ("label", "labels")
    of_probabilities = metric.wants == "probability" and (name or (number and task.kind != "binary"))
    if of_probabilities or (metric.wants == "ranking" and number):
        wants = "probabilities" if of_probabilities else "rankings"
        cells = "class names" if name else "one number"
        raise Mistake(f"{metric.name} scores {wants}, but the sample's cells hold {cells}; name another metric")


def cells_of(form: Form, path: Path) -> dict[str, list[str]]:
    """The cells of each item under the sample's columns; of a sample with a row for each class, the item's rows."""
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, delimiter=form.delimiter) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"{path.name} cannot be read ({error}); it must be a csv like the sample") from error
    columns = list(form.order or form.columns)
    if form.header and lines:
        columns, lines = [name.strip() for name in lines[0]], lines[1:]
    lacking = [name for name in form.columns if name not in columns]
    if lacking:
        raise Mistake(f"{path.name} has no column {lacking[0]!r}, but {', '.join(columns) or 'nothing'}")
    if not lines:
        raise Mistake(f"{path.name} has no row")
    places = [columns.index(name) for name in form.columns]
    rows = [with_points(form, [line[place] if place < len(line) else "" for place in places]) for line in lines]
    asked = Counter(form.ids)  # a sample may repeat its ids
    counts = Counter(row[0] for row in rows)
    twice = next((name for name, count in counts.items() if count > max(1, asked[name])), None)
    if twice is not None:
        raise Mistake(f"{path.name} answers {twice!r} {'more often than the sample' if asked[twice] > 1 else 'twice'}")
    if not form.rows:
        return {row[0]: row[1:] for row in rows}
    cell_of = {row[0]: row[1] for row in rows}  # each id names an item and a class
    table: dict[str, list[str]] = {}
    for name, (item, _) in zip(form.ids, form.rows, strict=True):
        table.setdefault(item, []).append(cell_of.get(name, ""))
    return {item: row for item, row in table.items() if any(row)}


def names_of(form: Form, cell: str, classes: Sequence[str]) -> list[str]:
    """The class names in a cell, unknown ones too."""
    if form.cell == "label":
        return [cell]
    inner, separator = without_brackets(form, cell.strip())
    return names_in(inner, separator, set(classes)) or [name for name in inner.split(separator) if name]


def truth_in(task: Task, metric: Metric, cells: list[list[str]], classes: Sequence[str]) -> np.ndarray:
    """The truth as the metric's function takes it."""
    form, goal = task.form, Goal(metric, task.kind, task.grades)
    place = {name: i for i, name in enumerate(classes)}
    if form.cell in ("label", "labels"):
        names = [names_of(form, row[0], classes) for row in cells]
        if task.kind == "multilabel":
            return indicators(names, place)
        if not all(names):
            raise ValueError("an empty cell names no class")
        return truth_for(goal, with_grades(task, metric, [place[row[0]] for row in names], classes))
    numbers = numbers_in(cells)
    if form.cell == "columns":
        table = in_classes(task, numbers)
        if metric.votes:
            return table
        return (table >= 0.5).astype(np.uint8) if task.kind == "multilabel" else truth_for(goal, table.argmax(1))
    if task.kind == "regression" or metric.wants in ("grade", "number"):
        return numbers[:, 0]
    return nearest_grade(numbers[:, 0], task.grades) if task.kind == "ordinal" else numbers[:, 0].astype(np.int64)


def answers_in(task: Task, metric: Metric, cells: list[list[str]], classes: Sequence[str]) -> np.ndarray:
    """The answers as the metric's function takes them (see types.Metric)."""
    form, place = task.form, {name: i for i, name in enumerate(classes)}
    if form.cell in ("label", "labels"):
        names = [names_of(form, row[0], classes) for row in cells]
        if metric.wants == "ranking":
            ranked = np.full((len(names), metric.k or max(map(len, names), default=1) or 1), -1)
            for row, ranking in zip(ranked, names, strict=True):
                row[: len(ranking)] = [place[name] for name in ranking[: len(row)]]
            return ranked
        return indicators(names, place) if task.kind == "multilabel" else answered_class(task, metric, names, place)
    numbers = numbers_in(cells)
    if form.cell == "columns":
        table = in_classes(task, numbers)
        if metric.wants == "probability":
            return table
        if metric.wants == "ranking":
            return np.argsort(-table, axis=1, kind="stable")[:, : metric.k or table.shape[1]]
        return (table >= 0.5).astype(np.uint8) if task.kind == "multilabel" else table.argmax(1)
    if metric.wants == "probability":
        return np.stack([1 - numbers[:, 0], numbers[:, 0]], 1)
    if metric.wants in ("grade", "number"):
        return numbers[:, 0]
    return (
        nearest_grade(numbers[:, 0], task.grades) if task.kind == "ordinal" else (numbers[:, 0] >= 0.5).astype(np.int64)
    )


def numbers_in(cells: list[list[str]]) -> np.ndarray:
    """The cells as finite numbers `(N, columns)`; raises ValueError for any other cell."""
    try:
        numbers = np.array(cells, float)
    except ValueError as error:
        raise ValueError(f"it holds a cell that is no number ({error})") from error
    if not np.isfinite(numbers).all():
        raise ValueError("it holds a cell that is no number (NaN or infinity)")
    return numbers


def answered_class(task: Task, metric: Metric, names: list[list[str]], place: dict[str, int]) -> np.ndarray:
    """`(M,)` class index, -1 for an empty cell; the class's grade where the metric takes grades."""
    indices = with_grades(task, metric, [place[row[0]] if row else -1 for row in names], list(place))
    return truth_for(Goal(metric, task.kind, task.grades), indices)


def with_grades(task: Task, metric: Metric, indices: list[int], classes: Sequence[str]) -> np.ndarray:
    """The class indices; raises ValueError where the metric takes grades and a class has none."""
    graded = metric.wants in ("grade", "number") and task.grades
    strange = [i for i in indices if not 0 <= i < len(task.grades)] if graded else []
    if strange:
        raise ValueError(f"{classes[strange[0]] if strange[0] >= 0 else ''!r} is no grade of the train rows")
    return np.array(indices)


def in_classes(task: Task, numbers: np.ndarray) -> np.ndarray:
    """`(M, C)` in the order of the task's classes, from the columns of the sample."""
    table = np.zeros((len(numbers), task.width))
    for column, place in enumerate(task.form.column_of):
        if place >= 0:
            table[:, place] = numbers[:, column]
    return table


def indicators(names: list[list[str]], place: dict[str, int]) -> np.ndarray:
    """`(M, C)` 0/1 from sets of names."""
    table = np.zeros((len(names), len(place)), np.uint8)
    for row, labels in zip(table, names, strict=True):
        row[[place[name] for name in labels]] = 1
    return table
