"""Evidence that a folder was read rightly: some train rows, how ids match files, labels against the names of files."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.data.read.values import same_name
from autoclimb.data.sources import parts_of
from autoclimb.seeds import rng, some_of
from autoclimb.types import Note, Task

ROWS = 6  # train rows shown
LOOKED_AT = 5_000  # train rows whose file names are compared with their labels
FEWEST = 10  # of them that name a class, from which contradictions count
MANY = 0.2  # share of contradictions from which a run should not start unasked
BEFORE_NUMBER = re.compile(r"([^\W\d][^\d]*?)[._ \-]*\(?\d")  # the word of cat.12.jpg
RULES = ("path", "name", "stem", "case", "other")  # an id is the end of a path, a file's name, that without ending, ...


def check_facts(task: Task) -> dict[str, Any]:
    """The evidence that the folder was read rightly, as json values.

    - rows: six train rows drawn at random, each (id, file: its path, label)
    - matched: rule -> share of ids that match their file by it, see RULES
    - named: sampled train rows whose folder or file has the name of a class; contradicting: those with another label
    """
    base = base_of(task)
    rows = rows_to_show(task)
    named, wrong = named_otherwise(task)
    shown = [(task.train_ids[i], path_of(task.train_files[i], base), label_of(task, i)) for i in rows]
    return {
        "rows": [dict(zip(("id", "file", "label"), row, strict=True)) for row in shown],
        "matched": matched(task),
        "named": len(named),
        "contradicting": len(wrong),
    }


def rows_to_show(task: Task) -> list[int]:
    """Six train rows with a picture, drawn at random, always the same for a task."""
    pictured = np.flatnonzero([bool(file) for file in task.train_files])
    return sorted(rng(0, "rows to show").choice(pictured, min(ROWS, len(pictured)), replace=False).tolist())


def thumbnails_of(task: Task, side: int) -> list[np.ndarray | None]:
    """The pictures of `rows_to_show` as `(side, side, 3)` uint8, None for one that cannot be read."""
    from autoclimb.data.decoding import Decoding
    from autoclimb.data.pixels import build_pixels  # OpenCV: 20 MB that reading a folder can do without

    files = [task.train_files[i] for i in rows_to_show(task)]
    with tempfile.TemporaryDirectory() as folder:
        pixels = build_pixels(files, Decoding(side, "squash", task.channels), Path(folder))
        array = np.array(pixels.array)
        bad = pixels.bad.copy()
    shown = array[..., :3] if array.shape[-1] >= 3 else np.repeat(array[..., :1], 3, -1)
    return [None if unreadable else picture for picture, unreadable in zip(shown, bad, strict=True)]


def label_of(task: Task, row: int) -> str:
    """The label of a train row as text."""
    if task.kind == "regression":
        return f"{task.target[row]:g}"
    if task.kind == "multilabel":
        return ", ".join(task.classes[k] for k in np.flatnonzero(task.target[row])) or "none"
    return task.classes[int(task.target[row])]


def base_of(task: Task) -> str:
    """The lowest folder that holds the first thousand train and test pictures."""
    files = [f for f in (*task.train_files[:1000], *task.test_files[:1000]) if f]
    folders = {os.path.dirname(parts_of(f)[0][0][0]) for f in files}
    return os.path.commonpath(folders) if folders else ""


def path_of(source: str, base: str) -> str:
    """The path of a source's first picture, relative to `base`."""
    file, *steps = parts_of(source)[0][0]
    return "/".join([os.path.relpath(file, base or "."), *steps])


def matched(task: Task) -> dict[str, float]:
    """The share of train ids that match their file by each rule."""
    rows = [i for i in some_of(len(task.train_ids), LOOKED_AT, "ids") if task.train_files[i]]
    counts = Counter(rule_of(task.train_ids[i], path_of(task.train_files[i], "/")) for i in rows)
    return {rule: round(counts[rule] / len(rows), 4) for rule in RULES if counts[rule]}


def rule_of(name: str, path: str) -> str:
    """The rule, one of RULES, by which an id names the file at a path."""
    name = name.replace("\\", "/").removeprefix("./")
    for at, rule in ((path, ""), (path.lower(), "case")):
        low = name.lower() if rule else name
        if "/" in low and (f"/{at}".endswith(f"/{low}") or os.path.splitext(f"/{at}")[0].endswith(f"/{low}")):
            return rule or "path"
        base = at.rsplit("/", 1)[-1]
        if low == base:
            return rule or "name"
        if low == os.path.splitext(base)[0]:
            return rule or "stem"
    return "other"


def named_otherwise(task: Task) -> tuple[list[int], list[int]]:
    """The sampled train rows whose folder or file has the name of a class, and those of them with another label."""
    if task.kind not in ("binary", "multiclass"):
        return [], []
    class_of = {same_name(c): k for k, c in enumerate(task.classes) if re.search(r"[^\W\d]{3}", c)}
    named, wrong = [], []
    for i in some_of(len(task.train_ids), LOOKED_AT, "names") if class_of else ():
        if task.train_files[i]:
            classes = {class_of[w] for w in words_of(path_of(task.train_files[i], "/")) if w in class_of}
            if len(classes) == 1:
                named.append(int(i))
                wrong += [int(i)] * (classes != {int(task.target[i])})
    return named, wrong


def words_of(path: str) -> Sequence[str]:
    """The names of the last three folders of a path, and the word before the number in the file's name."""
    *folders, name = path.split("/")
    word = BEFORE_NUMBER.match(name)
    return [same_name(w) for w in (*folders[-3:], *([word[1]] if word else []))]


def contradiction(task: Task) -> list[Note]:
    """A note where names of folders or files contradict the labels of their rows, none where they agree."""
    named, wrong = named_otherwise(task)
    if len(named) < FEWEST or not wrong:
        return []
    first = wrong[0]
    text = (
        f"{len(wrong)} of {len(named)} train pictures looked at have another class in their path than their label "
        f"({path_of(task.train_files[first], base_of(task))} is labelled {label_of(task, first)!r})"
    )
    ask = "name the right columns with --id and --target" if len(wrong) > MANY * len(named) else ""
    return [Note("contradiction", text, sure="guessed", ask=ask)]
