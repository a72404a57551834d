"""The metric to climb where the user named none."""

import re

from autoclimb.score.metrics import METRICS, metric_named
from autoclimb.types import Metric, Task

GRADED = re.compile(r"grade|level|severity|stage|rating|isup", re.IGNORECASE)


def proposed_metric(task: Task) -> tuple[Metric, str]:
    """The metric that most competitions with such a task use, and the reason as part of a sentence.

    It follows from the kind of task and the cells of the sample submission. `task` is as read without a metric.
    """
    name, reason = _name_and_reason(task)
    return METRICS.get(name) or metric_named(name), reason


def _name_and_reason(task: Task) -> tuple[str, str]:
    form = task.form
    if task.soft is not None:
        return "kl-divergence", "the targets are votes"
    if task.kind == "regression":
        return "rmse", "the targets are numbers"
    if task.kind == "ordinal":
        return "qwk", "the targets are grades"
    if task.kind == "multilabel":
        if form.cell == "columns":
            return "roc-auc", "the submission has a probability for each of several labels"
        return "f1-samples", "the submission's cells are sets of labels"
    if form.at_most > 1:
        return f"map@{form.at_most}", f"the submission ranks up to {form.at_most} labels a row"
    if form.cell == "columns":
        return "log-loss", "the submission has a probability for each class"
    if task.kind == "binary" and form.cell == "number":
        return "roc-auc", "the submission has one probability a row"
    if task.kind == "multiclass" and _are_grades(task):
        return "qwk", f"the column {form.columns[1]!r} holds {len(task.classes)} grades"
    return "accuracy", "the submission's cells are one class each"


def _are_grades(task: Task) -> bool:
    """Whether class names are 0, 1, 2, ... or 1, 2, 3, ... in a column whose name speaks of grades."""
    first = task.classes[0] == "1"
    counted = tuple(str(i + first) for i in range(len(task.classes)))
    return task.classes == counted and any(GRADED.search(column) for column in task.form.columns[1:])
