"""A Task -> what the plan and people may know of it."""

from collections import Counter
from typing import Any

import numpy as np

from autoclimb.data.pixels import sizes_of
from autoclimb.types import Task

LISTED = 12  # classes shown one by one
CELLS = {
    "label": "one class name",
    "labels": "class names",
    "number": "a number",
    "columns": "a number per class",
}


def facts_of(task: Task) -> dict[str, Any]:
    """What is known of the task without decoding pictures, as json values.

    Keys: name, kind, train, test (items), classes (name -> train rows), target (min, median, mean, max of numbers),
    labels_per_item, sizes ("500x375" -> count in a sample of headers), sides (smallest, median and largest of the
    longer side), aspect (median width / height), modes, groups, unreadable_train, unreadable_test, form, notes.
    """
    facts: dict[str, Any] = {
        "name": task.name,
        "kind": task.kind,
        "train": len(task.train_ids),
        "test": len(task.test_ids),
        "classes": class_counts(task),
        "groups": None if task.groups is None else len(np.unique(task.groups)),
        "unreadable_train": list(task.unreadable_train),
        "unreadable_test": list(task.unreadable_test),
        "form": {
            "columns": list(task.form.columns),
            "cell": task.form.cell,
            "rows": len(task.form.ids),
            "separator": task.form.separator,
            "whole_numbers": task.form.whole_numbers,
            "at_most": task.form.at_most,
        },
        "notes": list(task.notes),
    }
    if task.kind == "regression":
        t = task.target
        facts["target"] = {"min": t.min(), "median": np.median(t), "mean": t.mean(), "max": t.max()}
        facts["target"] = {name: round(float(v), 6) for name, v in facts["target"].items()}
    if task.kind == "multilabel":
        facts["labels_per_item"] = round(float(task.target.sum(1).mean()), 3)
    for split, files in (("train", task.train_files), ("test", task.test_files)):
        seen = sizes_of(files)
        if not seen:
            continue
        longer = sorted(max(w, h) for w, h, _ in seen)
        facts[f"{split}_pictures"] = {
            "sampled": len(seen),
            "sizes": dict(Counter(f"{w}x{h}" for w, h, _ in seen).most_common(5)),
            "distinct_sizes": len({(w, h) for w, h, _ in seen}),
            "sides": [longer[0], longer[len(longer) // 2], longer[-1]],
            "aspect": round(float(np.median([w / h for w, h, _ in seen])), 3),
            "modes": dict(Counter(mode for _, _, mode in seen)),
        }
    return facts


def class_counts(task: Task) -> dict[str, int]:
    """Train rows of each class, in class order."""
    if task.kind == "regression":
        return {}
    counts = task.target.sum(0) if task.kind == "multilabel" else np.bincount(task.target, minlength=task.width)
    return {name: int(n) for name, n in zip(task.classes, counts, strict=True)}


def facts_text(facts: dict[str, Any]) -> str:
    """The facts as lines for people: what `autoclimb inspect` prints."""
    lines = [
        f"{facts['name']}: {kind_words(facts)}",
        "",
        row("train", f"{facts['train']:,} pictures" + without(facts["unreadable_train"], "left out")),
        row("test", f"{facts['test']:,} pictures" + without(facts["unreadable_test"], "answered by a constant")),
    ]
    train, test = facts.get("train_pictures"), facts.get("test_pictures")
    if train:
        lines.append(row("pixels", pixel_words(train)))
    if train and test and looks(train) != looks(test):
        lines.append(row("", f"{pixel_words(test)} in test"))
    if facts["groups"]:
        lines.append(row("groups", f"{facts['groups']:,}; rows of one group stay in one fold"))
    if facts["classes"]:
        lines += class_lines(facts["classes"], facts["train"], facts["kind"] == "ordinal")
    if "target" in facts:
        t = facts["target"]
        lines.append(
            row("target", f"{t['min']:g} to {t['max']:g}, median {t['median']:g}, mean {t['mean']:.4g}"),
        )
    lines.append(row("answer", answer_words(facts)))
    lines += [row("notes" if i == 0 else "", note) for i, note in enumerate(facts["notes"])]
    return "\n".join(lines)


def looks(seen: dict[str, Any]) -> tuple:
    """What of a split's pictures is worth a second line where the other split's differs."""
    return seen["sides"], seen["distinct_sizes"] == 1, set(seen["modes"])


def row(name: str, text: str) -> str:
    """One line with its name in a column of its own."""
    return f"  {name:<9}{text}"


def without(ids: list[str], what: str) -> str:
    """The words for ids that have no picture, "" for none."""
    return f", {len(ids):,} ids without a picture {what}" if ids else ""


def kind_words(facts: dict[str, Any]) -> str:
    """The kind of task in words."""
    n = len(facts["classes"])
    return {
        "binary": "two classes",
        "multiclass": f"{n} classes, one a picture",
        "multilabel": f"{n} labels, {facts.get('labels_per_item', 0):.2g} a picture on average",
        "ordinal": f"{n} grades in order",
        "regression": "a number a picture",
    }[facts["kind"]] + f" ({facts['kind']})"


def pixel_words(seen: dict[str, Any]) -> str:
    """Sizes and modes in words."""
    low, middle, high = seen["sides"]
    if seen["distinct_sizes"] == 1:
        size = f"all {next(iter(seen['sizes']))}"
    elif seen["distinct_sizes"] <= 3:
        size = ", ".join(f"{s} ({n / seen['sampled']:.0%})" for s, n in seen["sizes"].items())
    else:
        longer = f"{low}" if low == high else f"{low} to {high}, median {middle}"
        size = f"{seen['distinct_sizes']} sizes, longer side {longer}"
    modes = ", ".join(
        f"{m} {n / seen['sampled']:.0%}" if len(seen["modes"]) > 1 else m for m, n in seen["modes"].items()
    )
    return f"{size}; {modes} ({seen['sampled']} headers read)"


def class_lines(classes: dict[str, int], train: int, as_given: bool) -> list[str]:
    """One line per class with its count and a bar, commonest first or as given; long lists are cut in the middle."""
    ordered = list(classes.items()) if as_given else sorted(classes.items(), key=lambda c: -c[1])
    shown = ordered
    cut = len(ordered) > LISTED + 1
    if cut:
        shown = [*ordered[: LISTED - 4], *ordered[-4:]]
    widest = min(32, max(len(name) for name, _ in shown))
    most = max(1, *classes.values())
    lines = []
    for i, (name, n) in enumerate(shown):
        if cut and i == LISTED - 4:
            between = [n for _, n in ordered[LISTED - 4 : -4]]
            low, high = min(between), max(between)
            lines.append(row("", f"... {len(between)} more with {f'{low:,} to {high:,}' if low < high else low} each"))
        label = name if len(name) <= 32 else name[:31] + "…"
        bar = "█" * round(20 * n / most) or "▏"
        lines.append(row("classes" if i == 0 else "", f"{label:<{widest}} {n:>7,} {n / train:>6.1%}  {bar}"))
    return lines


def answer_words(facts: dict[str, Any]) -> str:
    """The submission's form in words."""
    form = facts["form"]
    columns = form["columns"]
    shown = ",".join(columns) if len(columns) <= 5 else f"{','.join(columns[:3])},... ({len(columns)} columns)"
    cell = CELLS[form["cell"]]
    if form["cell"] == "labels":
        joined = {" ": "spaces", ",": "commas", "|": "bars", ";": "semicolons"}.get(form["separator"], "separators")
        cell = f"{form['at_most']} class names, best first," if form["at_most"] else "class names"
        cell += f" joined by {joined}"
    if form["cell"] == "number" and facts["kind"] == "binary":
        positive = list(facts["classes"])[-1]
        cell = f"the probability of {positive!r}, or 0/1"
    return f"{form['rows']:,} rows of {shown}; {cell}"
