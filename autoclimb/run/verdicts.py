"""Applying a person's verdicts on train rows, saved by suspects.html as decisions.csv, to a task."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoclimb.arrays import LabelSets
from autoclimb.errors import Mistake
from autoclimb.types import Task

HEAD = ["id", "decision", "label"]
LONGEST_CELL = 1 << 24


@dataclass(frozen=True)
class Verdict:
    """A person's decision on a train row: "keep", "drop" or "relabel" to `label`."""

    id: str
    decision: str
    label: str
    line: int  # of the file, for messages


def read_verdicts(path: Path) -> tuple[list[Verdict], str]:
    """The verdicts in a decisions.csv and a digest of them; raises Mistake where the file has another form.

    Its columns are id, decision (keep, drop or relabel) and label: a class name, a number, or for a set a json list of
    names.
    """
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise Mistake(f"--decisions {path} cannot be read ({error.strerror or error}); name the saved file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"--decisions {path} is no csv in UTF-8 ({error}); save it again from suspects.html") from error
    if not rows or [cell.strip().lower() for cell in rows[0]] != HEAD:
        raise Mistake(f"--decisions {path} must begin with the line {','.join(HEAD)}")
    verdicts = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(HEAD) or row[1].strip().lower() not in ("keep", "drop", "relabel"):
            raise Mistake(f"--decisions {path}, line {line}: write an id, then keep, drop or relabel, then a label")
        verdicts.append(Verdict(row[0], row[1].strip().lower(), row[2], line))
    text = json.dumps(sorted((v.id, v.decision, v.label) for v in verdicts))
    return verdicts, hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def apply_verdicts(task: Task, verdicts: list[Verdict]) -> tuple[Task, np.ndarray, str]:
    """The task with rows relabelled, `(N,)` bool of the rows to drop, and the changes in a sentence.

    Raises Mistake for an id that no train row has and for a label that the task does not know.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(task.train_ids):
        rows_of.setdefault(name, []).append(row)
    if task.soft is not None and any(v.decision == "relabel" for v in verdicts):
        raise Mistake("rows of votes cannot be relabelled; keep or drop them")
    dropped, new = np.zeros(len(task.train_ids), bool), dict[int, np.ndarray]()
    label_of = label_reader(task)
    for verdict in verdicts:
        if verdict.id not in rows_of:
            raise Mistake(f"decisions, line {verdict.line}: no train row has the id {verdict.id!r}")
        rows = rows_of[verdict.id]
        if verdict.decision == "drop":
            dropped[rows] = True
        elif verdict.decision == "relabel":
            new |= dict.fromkeys(rows, label_of(verdict))
    changed = sum(bool((label != task.target[row]).any()) for row, label in new.items())
    to_keep = sum(v.decision == "keep" for v in verdicts)
    words = f"decisions: {to_keep} rows kept, {int(dropped.sum())} dropped, {changed} relabelled"
    return replace(task, target=relabelled(task.target, new)), dropped, words


def relabelled(target: np.ndarray, new: dict[int, np.ndarray]) -> np.ndarray:
    """The target with the rows of `new` replaced by its values."""
    if not new:
        return target
    rows, values = np.array(list(new)), np.stack(list(new.values()))
    if isinstance(target, LabelSets):
        return target.changed(rows, values)
    changed = target.copy()
    changed[rows] = values
    return changed


def label_reader(task: Task) -> Callable[[Verdict], np.ndarray]:
    """A function from a verdict to the value that its row of `target` takes."""
    index = {name: i for i, name in enumerate(task.classes)}

    def index_of(name: str, verdict: Verdict) -> int:
        if name not in index:
            names = ", ".join(task.classes[:6])
            raise Mistake(f"decisions, line {verdict.line}: {name!r} is no class; the classes are {names}, ...")
        return index[name]

    def of_class(verdict: Verdict) -> np.ndarray:
        return np.asarray(index_of(verdict.label, verdict))

    def of_set(verdict: Verdict) -> np.ndarray:
        try:
            names = json.loads(verdict.label)
        except ValueError:
            names = None
        if not isinstance(names, list):
            raise Mistake(f'decisions, line {verdict.line}: write the set as a json list, ["a", "b"]')
        row = np.zeros(task.width, np.uint8)
        row[[index_of(str(name), verdict) for name in names]] = 1
        return row

    def of_number(verdict: Verdict) -> np.ndarray:
        try:
            value = float(verdict.label)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise Mistake(f"decisions, line {verdict.line}: {verdict.label!r} is no number")
        return np.asarray(value)

    return {"multilabel": of_set, "regression": of_number}.get(task.kind, of_class)
