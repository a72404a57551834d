"""A Task -> facts about it, for people and for the plan."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from autoclimb.data.checks import check_facts
from autoclimb.data.decoding import most_pictures, sizes_of
from autoclimb.data.glance import LISTED, glance_at
from autoclimb.data.sources import parts_of
from autoclimb.types import Column, Form, Metadata, Metric, Note, Task, least_certain_first

MOST_SIZES = 5  # named one by one
MOST_HEADERS = 50  # pictures whose size a plan goes by
UNKNOWN_SIDE = 64  # pixels, where none can be read
BITS = {"1": 1, "I": 32, "F": 32}  # a channel, of Pillow's modes of other than 8


def facts_of(task: Task) -> dict[str, Any]:
    """The facts of a task as json values. Reads the headers and pixels of some thousand pictures at most.

    The keys are the same for every task; a value is null, 0 or empty where a fact does not apply.

    - name, kind; train, test: items
    - check: evidence that the folder was read rightly, see `checks.check_facts`
    - classes: name -> train rows; imbalance: (commonest, rarest: class names; ratio of their rows), null for numbers
    - labels_per_item: mean, of sets; unlabelled: rows with an empty set; target: min, median, mean, max of numbers
    - pictures: train and test, each null or (sampled, sizes: the commonest, "500x375" -> count, distinct_sizes, width,
      height, sides: each smallest, median, largest, sides of the longer one, aspect: median of width / height,
      modes: name -> count, bits: of a channel -> count)
    - channels: of a picture as it is read; pictures_per_item: smallest, median, largest
    - looked_at: (train, test, side) the number of items that were decoded for the next facts, and their pixels a side
    - unreadable: of those; missing: ids without a picture, of all. Both: train and test, each (count, first: five ids)
    - duplicates: of those looked at, see `duplicates.duplicate_facts`; drift: of those looked at, see `drift.drift_of`
    - groups: null or (column, null where groups come from no column; count; largest: rows; why)
    - columns: of the train table, each (name, role: target, group, metadata, leak or unused; values: different ones;
      blank: share; why)
    - metadata: the columns that are learned from, each (name, type: numbers or words; words; blank_train, blank_test:
      shares that are blank or no known word)
    - other_files: ending -> files that nothing reads
    - form: the submission's columns, cell (see types.Form), rows, separator, whole_numbers, at_most, sums_to_one, first
      (the beginning of the sample's first row, empty without a sample)
    - metric, where the command was given the folder: (name, greater_is_better, proposed: bool, why)
    - notes: other observations of the reading, the least certain first, each (kind, about, text, sure: sure, likely
      or guessed)
    """
    glance = glance_at(task)
    numbers = task.kind == "regression"
    counts = class_counts(task)
    per_item = [len(parts_of(file)) for file in (*task.train_files, *task.test_files) if file]
    return {
        "name": task.name,
        "kind": task.kind,
        "train": len(task.train_ids),
        "test": len(task.test_ids),
        "check": check_facts(task),
        "classes": counts,
        "imbalance": imbalance(counts),
        "labels_per_item": round(float(task.target.sum(1).mean()), 3) if task.kind == "multilabel" else None,
        "unlabelled": int((task.target.sum(1) == 0).sum()) if task.kind == "multilabel" else 0,
        "target": number_facts(task.target) if numbers else None,
        "pictures": {split: picture_facts(sizes) for split, sizes in glance.sizes.items()},
        "channels": task.channels,
        "pictures_per_item": low_middle_high(per_item) if per_item else None,
        **glance.facts,
        "missing": {
            "train": first_of(task.unreadable_train),
            "test": first_of(task.unreadable_test),
        },
        "groups": group_facts(task),
        "columns": [
            {"name": c.name, "role": c.role, "values": c.values, "blank": round(c.blank, 4), "why": c.why}
            for c in task.columns
        ],
        "metadata": metadata_facts(task.metadata),
        "other_files": dict(task.other_files),
        "form": form_facts(task.form),
        "notes": [asdict(note) for note in least_certain_first(task.notes) if not shown_by_column(note, task.columns)],
    }


def plan_facts(task: Task, metric: Metric) -> dict[str, Any]:
    """The facts of the task and its metric that a plan depends on, by the names of `search.situation.Situation`.

    Reads the headers of a hundred pictures at most.
    """
    sides = [min(width, height) for width, height, _ in sizes_of(task.train_files, MOST_HEADERS, task.channels)]
    return {
        "kind": task.kind,
        "answered": len(task.test_ids),
        "side": int(np.median(sides or [UNKNOWN_SIDE])),
        "pictures": most_pictures(task.train_files, MOST_HEADERS, task.channels),
        "channels": task.channels,
        "width": task.width,
        "imbalance": imbalance_of(task),
        "metric": metric.name,
        "wants": metric.wants,
        "beta": metric.beta,
        "average": metric.average,
        "by_class": task.kind in metric.by_class,
    }


def imbalance_of(task: Task) -> float:
    """The ratio of train rows of the most frequent class to those of the rarest that has any; 1 for numbers."""
    counts = [n for n in class_counts(task).values() if n]
    return max(counts) / min(counts) if counts else 1.0


def shown_by_column(note: Note, columns: Sequence[Column]) -> bool:
    """Whether the note is the reason that one of the columns gives."""
    return any(column.name == note.about and column.why == note.text for column in columns)


def class_counts(task: Task) -> dict[str, int]:
    """The number of train rows of each class, in class order."""
    if task.kind == "regression":
        return {}
    counts = task.target.sum(0) if task.kind == "multilabel" else np.bincount(task.target, minlength=task.width)
    return {name: int(n) for name, n in zip(task.classes, counts, strict=True)}


def imbalance(counts: dict[str, int]) -> dict[str, Any] | None:
    """The commonest and the rarest class, and the ratio of their rows."""
    if not counts:
        return None
    commonest, rarest = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    ratio = round(counts[commonest] / counts[rarest], 2) if counts[rarest] else None
    return {"commonest": commonest, "rarest": rarest, "ratio": ratio}


def number_facts(target: np.ndarray) -> dict[str, float]:
    """The minimum, median, mean and maximum of numbers."""
    facts = {"min": target.min(), "median": np.median(target), "mean": target.mean(), "max": target.max()}
    return {name: round(float(value), 6) for name, value in facts.items()}


def picture_facts(sizes: Sequence[tuple[int, int, str]]) -> dict[str, Any] | None:
    """The facts in the headers of some pictures (`size_of`), None for no pictures."""
    if not sizes:
        return None
    return {
        "sampled": len(sizes),
        "sizes": dict(Counter(f"{w}x{h}" for w, h, _ in sizes).most_common(MOST_SIZES)),
        "distinct_sizes": len({(w, h) for w, h, _ in sizes}),
        "width": low_middle_high([w for w, _, _ in sizes]),
        "height": low_middle_high([h for _, h, _ in sizes]),
        "sides": low_middle_high([max(w, h) for w, h, _ in sizes]),
        "aspect": round(float(np.median([w / h for w, h, _ in sizes])), 3),
        "modes": dict(Counter(mode for _, _, mode in sizes).most_common()),
        "bits": {str(bits): n for bits, n in Counter(bits_of(mode) for _, _, mode in sizes).most_common()},
    }


def bits_of(mode: str) -> int:
    """The bits of a channel, by the mode that `size_of` gives: "RGB", "I;16", "float32 x 2"."""
    name = mode.split(" x ")[0]
    if ";" in name:
        return int("".join(c for c in name.split(";")[1] if c.isdigit()) or 8)
    if name in BITS or name.isupper() or name in ("RGBa", "La"):
        return BITS.get(name, 8)
    return np.dtype(name).itemsize * 8


def low_middle_high(numbers: Sequence[int]) -> list[int]:
    """The smallest, median and largest number."""
    ordered = sorted(numbers)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def first_of(ids: Sequence[str]) -> dict[str, Any]:
    """The number of ids, and the first of them."""
    return {"count": len(ids), "first": list(ids[:LISTED])}


def group_facts(task: Task) -> dict[str, Any] | None:
    """The facts of the groups of rows, None where there are none."""
    if task.groups is None:
        return None
    sizes = np.unique(task.groups, return_counts=True)[1]
    column = next((c for c in task.columns if c.role == "group"), None)
    return {
        "column": column.name if column else None,
        "count": len(sizes),
        "largest": int(sizes.max()),
        "why": column.why if column else "rows that show the same thing",
    }


def metadata_facts(metadata: Metadata | None) -> list[dict[str, Any]]:
    """The facts of the columns beside the pictures that are learned from."""
    if metadata is None:
        return []
    blank = [np.isnan(values).mean(0) for values in (metadata.train, metadata.test)]
    return [
        {
            "name": name,
            "type": "words" if words else "numbers",
            "words": len(words),
            "blank_train": round(float(blank[0][i]), 4),
            "blank_test": round(float(blank[1][i]), 4),
        }
        for i, (name, words) in enumerate(zip(metadata.names, metadata.categories, strict=True))
    ]


def form_facts(form: Form) -> dict[str, Any]:
    """The facts of the submission's form."""
    return {
        "columns": list(form.columns),
        "cell": form.cell,
        "rows": len(form.ids),
        "separator": form.separator,
        "whole_numbers": form.whole_numbers,
        "at_most": form.at_most,
        "sums_to_one": form.sums_to_one,
        "first": list(form.first),
    }
