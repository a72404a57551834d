"""Makers of small competition folders."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from autoclimb.arrays import LabelSets
from autoclimb.types import Form, Kind, Metric, Task, Wants


def picture(path: Path, size: tuple[int, int] = (8, 6), seed: int = 0) -> Path:
    """A picture of noise, in the format of the extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def table(path: Path, *rows: Sequence[object]) -> Path:
    """A csv of these rows, the header first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def competition(
    root: Path,
    label: Callable[[int], object] = lambda i: ("cat", "dog", "fox")[i % 3],
    sample: object = "cat",
    train: int = 12,
    test: int = 4,
    column: str = "label",
    name: Callable[[str, int], str] = lambda split, i: f"{split}_{i:03d}",
    extension: str = ".jpg",
) -> Path:
    """train.csv, sample_submission.csv, train/ and test/; `label(i)` is row i's cell, `sample` every sample cell."""
    for i in range(train):
        picture(root / "train" / f"{name('a', i)}{extension}", seed=i)
    for i in range(test):
        picture(root / "test" / f"{name('b', i)}{extension}", seed=1000 + i)
    table(root / "train.csv", ("id", column), *((name("a", i), label(i)) for i in range(train)))
    table(root / "sample_submission.csv", ("id", column), *((name("b", i), sample) for i in range(test)))
    return root


def polled(root: Path, votes: Sequence[Sequence[object]], names: Sequence[str] = ("calm", "spike", "other")) -> Path:
    """A competition whose train rows hold votes, one column a class, and whose sample asks for shares of them."""
    columns = ("id", *(f"{name}_vote" for name in names))
    for i in range(len(votes)):
        picture(root / "train" / f"a_{i:03d}.jpg", seed=i)
    for i in range(4):
        picture(root / "test" / f"b_{i:03d}.jpg", seed=1000 + i)
    table(root / "train.csv", columns, *((f"a_{i:03d}", *row) for i, row in enumerate(votes)))
    even = [1 / len(names)] * len(names)
    table(root / "sample_submission.csv", columns, *((f"b_{i:03d}", *even) for i in range(4)))
    return root


def metric(wants: Wants, *kinds: Kind, k: int = 0) -> Metric:
    """A metric that scores everything 0."""
    some = {"kinds": kinds} if kinds else {}
    return Metric(f"a {wants} metric", lambda truth, answers: 0.0, wants, k=k, **some)  # type: ignore[arg-type]


def task(
    kind: Kind = "multiclass",
    target: Sequence | np.ndarray = (0, 1, 2, 0, 1, 2),
    classes: Sequence[str] = ("cat", "dog", "fox"),
    form: Form | None = None,
    test_ids: Sequence[str] = ("t1", "t2", "t3"),
    **more: object,
) -> Task:
    """A task without pictures."""
    target = target if isinstance(target, LabelSets) else np.asarray(target)
    ids = tuple(str(i) for i in range(len(target)))
    form = form or Form(("id", "label"), tuple(test_ids), "label")
    classes, names = tuple(classes), tuple(test_ids)
    return Task("toy", kind, classes, ids, ids, target, names, names, form, **more)  # type: ignore[arg-type]
