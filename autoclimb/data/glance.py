"""A glance at some thousand pictures at a small size: copies, unreadable ones, drift."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.data.decoding import Decoding, size_of
from autoclimb.data.drift import drift_of
from autoclimb.data.duplicates import duplicate_facts, duplicates_of
from autoclimb.data.pixels import build_pixels
from autoclimb.data.sources import parts_of
from autoclimb.seeds import rng
from autoclimb.types import Task

MOST = 4000  # pictures decoded
MOST_PIXELS = 2e9  # in them, by their headers: some ten seconds on two cores for JPEGs
FEWEST = 200  # pictures decoded however large they are
PROBED = 50  # headers read to estimate the pictures' size
SIDE = 64
LISTED = 5

Size = tuple[int, int, str]  # width, height, mode


@dataclass(frozen=True)
class Glance:
    """The facts of a sample of the pictures. `sizes` are of those whose headers could be read."""

    sizes: dict[str, list[Size]]  # by split
    facts: dict[str, Any]


def glance_at(task: Task) -> Glance:
    """The facts of a sample of the pictures, decoded into a temporary folder that is removed again.

    Keys of `facts`: looked_at (train, test: sampled items; side: pixels), unreadable (train, test: count and first ids
    of the sampled items), duplicates (`duplicate_facts` of the sample), drift (`drift_of`).
    """
    train, test = some_rows(task)
    part = replace(
        task,
        train_ids=chosen(task.train_ids, train),
        train_files=chosen(task.train_files, train),
        target=task.target[train],
        test_ids=chosen(task.test_ids, test),
        test_files=chosen(task.test_files, test),
    )
    files = [*part.train_files, *part.test_files]
    sizes = [size_of(file, task.channels) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        pixels = build_pixels(files, Decoding(SIDE, "squash", task.channels), Path(folder))
        duplicates = duplicates_of(part, pixels)
        good = ~pixels.bad
        groups = duplicates.cluster_of.copy()
        if task.groups is not None:
            groups[: len(train)] = len(files) + task.groups[train]
        counts = np.array([len(parts_of(file)) for file in files])
        measures = {
            "width": np.array([size[0] if size else 0 for size in sizes]),
            "height": np.array([size[1] if size else 0 for size in sizes]),
            **({"pictures": counts} if len(set(counts.tolist())) > 1 else {}),
        }
        tested = np.arange(len(files)) >= len(train)
        drift = drift_of(
            pixels.array[good], {name: m[good] for name, m in measures.items()}, tested[good], groups[good]
        )
        bad = pixels.bad.copy()
    return Glance(
        {
            "train": [size for size in sizes[: len(train)] if size],
            "test": [size for size in sizes[len(train) :] if size],
        },
        {
            "looked_at": {"train": len(train), "test": len(test), "side": SIDE},
            "unreadable": {
                "train": listed(part.train_ids, bad[: len(train)]),
                "test": listed(part.test_ids, bad[len(train) :]),
            },
            "duplicates": duplicate_facts(part, duplicates),
            "drift": drift,
        },
    )


def some_rows(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Train and test rows that have a picture, in order: all, or as many as can be decoded in some ten seconds.

    A third of a sample are test rows, more where there are few train rows.
    """
    have = [np.flatnonzero([bool(file) for file in files]) for files in (task.train_files, task.test_files)]
    probed = [
        size[0] * size[1]
        for rows, files in zip(have, (task.train_files, task.test_files), strict=True)
        for i in rows[:: max(1, -(-len(rows) // PROBED))]
        if (size := size_of(files[i], task.channels))
    ]
    each = float(np.mean(probed)) if probed else 1.0
    most = int(min(MOST, max(FEWEST, MOST_PIXELS / each)))
    tests = min(len(have[1]), max(most // 3, most - len(have[0])))
    draw = rng(0, "glance")
    return drawn(have[0], most - tests, draw), drawn(have[1], tests, draw)


def drawn(rows: np.ndarray, most: int, draw: np.random.Generator) -> np.ndarray:
    """At most `most` of the rows, in order."""
    return rows if len(rows) <= most else np.sort(draw.choice(rows, most, replace=False))


def chosen(values: Sequence[str], rows: np.ndarray) -> tuple[str, ...]:
    """The values of these rows."""
    return tuple(values[i] for i in rows)


def listed(ids: Sequence[str], marked: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """The number of marked ids, and the first of them."""
    names = [name for name, is_marked in zip(ids, marked, strict=True) if is_marked]
    return {"count": len(names), "first": names[:LISTED]}
