"""Reading a folder without a run: the Task in it, the metric that fits it, the facts that `inspect` shows."""

from pathlib import Path
from typing import Any

from autoclimb.data.facts import facts_of
from autoclimb.data.read.folder import layout_of, read_folder, task_of
from autoclimb.score.own import metric_from
from autoclimb.score.propose import proposed_metric
from autoclimb.types import Metric, Task


def read_task(
    folder: str | Path,
    metric: str | Metric | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> Task:
    """The competition in a folder, as `fit` reads it: ids, files, labels, groups, the submission's form, and notes.

    `metric` is a name, a Metric, or `path/to/file.py:name`; where labels may be of two kinds it decides, and without
    one the likelier kind is taken. `id_column`, `target` (several columns with commas between) and `group` ("none" for
    no groups) overrule what the folder says. Opens tables, no pictures: 200,000 files take seconds.

    Raises Mistake, one line that says what was found and what to do, where the folder cannot be understood.
    """
    return read_folder(Path(folder), None if metric is None else as_metric(metric), id_column, target, group)


def inspect(
    folder: str | Path,
    metric: str | Metric | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> dict[str, Any]:
    """The facts of a folder that `autoclimb inspect --json` prints; `data.facts.facts_of` explains the keys.

    Takes what `read_task` takes; without a metric the one that fits the task is proposed, and `["metric"]["why"]` says
    why. Looks at the headers of some thousand pictures and decodes a sample of them small, to find copies and drift.
    Writes nothing and needs no torch.

    Raises Mistake where the folder cannot be understood.
    """
    return understood(folder, metric, id_column, target, group)[1]


def understood(
    folder: str | Path,
    metric: str | Metric | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
) -> tuple[Task, dict[str, Any]]:
    """The task in a folder and the facts that `inspect` returns."""
    task, scorer, why = read_for_metric(folder, metric, id_column, target, group)
    better = {"name": scorer.name, "greater_is_better": scorer.greater_is_better}
    return task, {**facts_of(task), "metric": {**better, "proposed": metric is None, "why": why}}


def read_for_metric(
    folder: str | Path, metric: str | Metric | None, id_column: str | None, target: str | None, group: str | None
) -> tuple[Task, Metric, str]:
    """The task as read for a metric, that metric, and why it fits where none is given ("" else).

    Without one it is the metric that most competitions of the task's kind use.
    """
    if metric is not None:
        scorer = as_metric(metric)
        return read_folder(Path(folder), scorer, id_column, target, group), scorer, ""
    layout = layout_of(Path(folder), id_column, target, group)
    scorer, why = proposed_metric(task_of(layout, None))
    return task_of(layout, scorer), scorer, why


def as_metric(metric: str | Metric) -> Metric:
    """The metric itself, whether given by name, as `path/to/file.py:name`, or made in Python."""
    return metric_from(metric) if isinstance(metric, str) else metric
