"""Measurements of a run's pictures for its report, stored in facts.json (drift, looks, sizes), and slices of rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.data.decoding import size_of
from autoclimb.data.drift import drift_of, looks_of
from autoclimb.data.pixels import pixels_in
from autoclimb.data.stored import PictureRows, open_rows
from autoclimb.disk import read_json
from autoclimb.run import store
from autoclimb.seeds import rng
from autoclimb.types import Task

MOST_LOOKED_AT = 600  # train pictures, and test pictures, that drift is measured on: its AUC is then known to .02
MOST_SLICED = 1000  # train rows whose looks are measured for slices: .3 s at 64 px, quarters of 250
MOST_HEADERS = 800  # of train pictures, and of test pictures, that sizes are read from
LARGEST_SIDE = 160  # pixels of decoded pictures that thumbnails are made from
BINS = 24  # of a histogram of looks


def facts_in(folder: Path) -> dict[str, Any]:
    """The measurements so far, by name."""
    return store.recalled(folder / store.FACTS)


def fitting_arrays(folder: Path, rows: int, answered: int) -> list[tuple[int, Path, list[int]]]:
    """(side, path, unreadable rows) of the run's cached pixels of full pictures, up to LARGEST_SIDE."""
    fitting = []
    for path in pixels_in(folder / "cache"):
        facts = read_json(path.with_suffix(".json"))
        full_pictures = path.name.startswith("squash-") and path.suffix != ".sources"
        if full_pictures and facts["rows"] == rows + answered and facts["size"] <= LARGEST_SIDE:
            fitting.append((facts["size"], path, facts["bad"]))
    return fitting


def decoded_pictures(folder: Path, rows: int, answered: int) -> PictureRows | None:
    """The largest decoded pictures in the cache, train rows first, for thumbnails; None where there are none."""
    fitting = fitting_arrays(folder, rows, answered)
    return open_rows(max(fitting)[1]) if fitting else None


def sampled_pictures(folder: Path, rows: int, answered: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The smallest decoded pictures of readable items, at most MOST_LOOKED_AT of train and of test, and their rows."""
    fitting = fitting_arrays(folder, rows, answered)
    if not fitting:
        return None
    _, path, bad = min(fitting)
    random, readable = rng(0, "drift"), np.ones(rows + answered, bool)
    readable[bad] = False
    parts = [np.flatnonzero(readable[:rows]), rows + np.flatnonzero(readable[rows:])]
    sample = np.sort(np.concatenate([random.choice(p, min(len(p), MOST_LOOKED_AT), replace=False) for p in parts]))
    return open_rows(path)[sample], sample


def measured_drift(folder: Path, rows: int, answered: int, groups: np.ndarray | None) -> dict[str, Any]:
    """The drift from train to test pictures, measured once on decoded ones; {} where there are none."""

    def measure() -> dict[str, Any]:
        if not answered or (sample := sampled_pictures(folder, rows, answered)) is None:
            return {}
        pictures, sampled_rows = sample
        group_of = np.arange(rows + answered)  # each row its own, but for train rows of groups
        if groups is not None:
            group_of[:rows] = rows + answered + groups
        return drift_of(pictures, {}, sampled_rows >= rows, group_of[sampled_rows])

    return store.recall(folder / store.FACTS, "drift", measure)


def measured_looks(folder: Path, rows: int, answered: int) -> dict[str, Any]:
    """Name -> `edges` of bins and the shares of `train` and `test` pictures in each; {} where none are decoded."""

    def measure() -> dict[str, Any]:
        sample = sampled_pictures(folder, rows, answered)
        if sample is None:
            return {}
        pictures, sampled_rows = sample
        of_test = sampled_rows >= rows
        return {name: histograms_of(v, of_test) for name, v in looks_of(pictures).items() if np.ptp(v) > 0}

    return store.recall(folder / store.FACTS, "looks", measure)


def histograms_of(values: np.ndarray, of_test: np.ndarray) -> dict[str, list[float]]:
    """Edges of bins of equal width over all values, and the shares of train and of test values in each bin."""
    edges = np.histogram_bin_edges(values, BINS)
    splits = {"train": values[~of_test], "test": values[of_test]}
    shares = {split: np.histogram(v, edges)[0] / max(len(v), 1) for split, v in splits.items()}
    return {"edges": edges.round(3).tolist(), **{split: s.round(4).tolist() for split, s in shares.items()}}


def measured_sizes(folder: Path, task: Task, left: Callable[[], float]) -> dict[str, Any]:
    """`train`: [row, width, height] and `test`: [width, height] of a random sample of pictures, from their headers."""

    def sizes_in(files: tuple[str, ...]) -> list[list[int]]:
        sample = rng(0, "sizes").permutation([row for row, file in enumerate(files) if file])[:MOST_HEADERS]
        sizes = []
        for row in sample.tolist():
            if left() <= 0:
                break
            if size := size_of(files[row], task.channels):
                sizes.append([row, *size[:2]])
        return sorted(sizes)

    def measure() -> dict[str, Any]:
        return {"train": sizes_in(task.train_files), "test": [size[1:] for size in sizes_in(task.test_files)]}

    return store.recall(folder / store.FACTS, "sizes", measure)


# --- slices ----------------------------------------------------------------------------------------------------------

Slices = dict[str, tuple[str, ...]]  # name -> a word for each train row, "" where it is not known


def slices_in(folder: Path, task: dict[str, Any], groups: np.ndarray | None) -> Slices:
    """Slices of the train rows by their group and by each metadata column, numbers by quarters."""
    slices = {} if groups is None else {"group": tuple(f"group {number}" for number in groups.tolist())}
    if not (folder / "metadata.npy").exists():
        return slices
    table = np.load(folder / "metadata.npy", allow_pickle=False)
    for name, words, values in zip(task["metadata"], task["categories"], table.T, strict=True):
        known = np.isfinite(values)
        if words:
            slices[name] = tuple(words[int(v)] if k else "blank" for v, k in zip(values, known, strict=True))
        elif known.any():
            slices[name] = by_quarters(values, "blank")
    return slices


def slices_by_size(sizes: dict[str, Any], rows: int) -> Slices:
    """Train rows by the quarter of the root of their picture's area, where pictures are of several sizes."""
    values = np.full(rows, np.nan)
    for row, width, height in sizes.get("train", ()):
        values[row] = (width * height) ** 0.5
    if len(np.unique(values[np.isfinite(values)])) < 2:
        return {}
    return {"picture size": by_quarters(values, "")}


def slices_by_looks(folder: Path, rows: int, answered: int) -> Slices:
    """Some train rows by the quarter of their picture's brightness, contrast, colour and sharpness."""
    fitting = fitting_arrays(folder, rows, answered)
    if not fitting:
        return {}
    sample = np.unique(np.linspace(0, rows - 1, min(rows, MOST_SLICED)).astype(int))
    pictures = open_rows(min(fitting)[1])[sample]
    slices = {}
    for name, measured in looks_of(pictures).items():
        if np.ptp(measured) == 0:  # grey pictures have no colour
            continue
        values = np.full(rows, np.nan)
        values[sample] = measured
        slices[name] = by_quarters(values, "")
    return slices


def by_quarters(values: np.ndarray, unknown: str) -> tuple[str, ...]:
    """The quarter of the finite values that each value lies in, in words; `unknown` for the others."""
    known = np.isfinite(values)
    edges = np.quantile(values[known], (0.25, 0.5, 0.75))
    quarter = np.searchsorted(edges, values)
    roundings = [[f"{edge:.{digits}g}" for edge in edges] for digits in (3, 4, 5)]
    a, b, c = next((texts for texts in roundings if len(set(texts)) == 3), roundings[-1])
    names = [f"up to {a}", f"{a} to {b}", f"{b} to {c}", f"over {c}"]
    return tuple(names[q] if k else unknown for q, k in zip(quarter, known, strict=True))
