"""Nearness: whether test pictures lie farther from train pictures than held-out ones do; folds as hard as the test.

Later frames of the train pictures' clips do not differ from train pictures as a set, yet a held-out frame has a more
similar train picture than a later frame has. Then folds keep together pictures that are more alike than test and train
pictures are, so that a held-out picture lies as far from the others as a test picture does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from autoclimb.data.drift import FEWEST, error_of
from autoclimb.data.duplicates import chunks, joined, mean_picture, small, with_clusters
from autoclimb.data.pixels import Pixels
from autoclimb.data.stored import PictureRows
from autoclimb.seeds import rng
from autoclimb.types import Event, Note, Task, Tell

MOST_KNOWN = 5_000  # train pictures among which the nearest is sought
MOST_ASKED = 1_000  # test pictures, and held-out ones, whose nearest is sought
# By how much the chance that a test picture lies farther must differ from a half, and by how many standard errors.
# Measured on real sets: .545 ± .015 on later frames of the train pictures' clips, .486 to .536 ± .013 to .033 on five
# others ("Folds as far as the test" in benchmarks/LOG.md). A false alarm groups folds a little for nothing.
APART, ERRORS = 0.03, 2.5
MOST_MATCHED = 5_000  # train rows that are compared with each other, twice; 6.5 s for 10,000 on two cores
STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # shares of rows whose nearest row is put into their fold
LARGEST = 0.1  # of the train rows: a group beyond it would make folds uneven


def nearness_of(pixels: PictureRows, fold_of: np.ndarray, bad: np.ndarray) -> dict[str, Any]:
    """How much farther test pictures lie from their nearest train picture than held-out ones do, as json values.

    `pixels` `(R, S, S, C)`, train rows first, `fold_of` `(N,)` the fold of each train row, `bad` `(R,)` bool marks rows
    without a picture. The nearest of a held-out picture is sought in the other folds, that of a test picture in all but
    one fold, and the mean is taken over that one. The distance is 1 minus the correlation of thumbnails less the set's
    mean picture.

    Keys: auc (the chance that a test picture lies farther than a held-out one), stderr, verdict (farther, nearer,
    alike), test and held_out (median distances). {} where there are too few of either.
    """
    lots = _lots(fold_of, bad)
    if not lots:
        return {}
    rows = np.unique(np.concatenate(lots))
    points = thumbnails(pixels, rows, mean_picture(pixels, lots[0]))
    return _compared(_likenesses(points, rows, lots), fold_of, lots)


Lots = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows of known train pictures, of held-out ones, of test pictures


def _lots(fold_of: np.ndarray, bad: np.ndarray) -> Lots | None:
    """The rows that are compared, None where there are too few."""
    n, draw = len(fold_of), rng(0, "nearness")
    train, test = (np.flatnonzero(~bad[:n] & (fold_of >= 0)), n + np.flatnonzero(~bad[n:]))
    if min(len(train), len(test)) < FEWEST:
        return None
    known, asked, test = (
        np.sort(draw.choice(rows, min(len(rows), most), replace=False))
        for rows, most in ((train, MOST_KNOWN), (train, MOST_ASKED), (test, MOST_ASKED))
    )
    return known, asked, test


def _likenesses(points: np.ndarray, rows: np.ndarray, lots: Lots) -> tuple[np.ndarray, np.ndarray]:
    """The likeness of held-out and of test pictures to the known train pictures; `points` belong to rising `rows`."""
    known, asked, test = (points[np.searchsorted(rows, lot)] for lot in lots)
    return asked @ known.T, test @ known.T


def _compared(likenesses: tuple[np.ndarray, np.ndarray], fold_of: np.ndarray, lots: Lots) -> dict[str, Any]:
    """The facts of `nearness_of` for these folds."""
    known, asked, test = lots
    folds = fold_of[known]
    held_out = distances(likenesses[0], fold_of[asked], folds)
    of_test = np.stack([distances(likenesses[1], np.full(len(test), k), folds) for k in np.unique(folds)])
    auc = float(np.mean([farther(of_net, held_out) for of_net in of_test]))
    stderr = error_of(auc, len(test), len(asked))
    apart = max(APART, ERRORS * stderr)
    return {
        "auc": round(auc, 3),
        "stderr": round(stderr, 3),
        "verdict": "farther" if auc - 0.5 > apart else "nearer" if 0.5 - auc > apart else "alike",
        "test": round(float(np.median(of_test)), 4),
        "held_out": round(float(np.median(held_out)), 4),
    }


def folds_as_far(
    task: Task, pixels: Pixels, folds: Callable[[Task], np.ndarray], tell: Tell
) -> tuple[Task, np.ndarray, dict[str, Any]]:
    """The task, its folds by `folds`, and how near test pictures are (`nearness_of`).

    Where test pictures lie farther, the task is grouped so that held-out pictures lie as far. On later frames of the
    train pictures' clips a head on frozen features had F2 .960 out of fold and .936 on the test; with such groups .938
    and .936 (fod_multilabel; benchmarks/LOG.md).
    """
    fold_of = folds(task)
    n, lots = len(fold_of), _lots(fold_of, pixels.bad)
    if not lots or n > MOST_MATCHED or task.test_groups is not None:  # the user's groups, over which answers are means
        return task, fold_of, nearness_of(pixels.array, fold_of, pixels.bad)
    rows = np.concatenate([np.arange(n), lots[2]])
    points = thumbnails(pixels.array, rows, mean_picture(pixels.array, lots[0]))
    likenesses, good = _likenesses(points, rows, lots), np.flatnonzero(fold_of >= 0)
    near = _compared(likenesses, fold_of, lots)
    if near["verdict"] != "farther":
        return task, fold_of, near
    apart, nearest = _pairs(points[good])  # unreadable pictures are all alike
    tried: list[tuple[dict[str, Any], np.ndarray | None, np.ndarray]] = [(near, task.groups, fold_of)]
    for share in STEPS:
        limit = np.quantile(nearest, share)
        pairs = np.concatenate([p[d <= limit] for p, d in apart])
        groups = with_clusters(task.groups, joined(n, good[pairs]))
        if np.unique(groups[good], return_counts=True)[1].max() > LARGEST * len(good):
            break
        matched = folds(replace(task, groups=groups))
        tried.append((_compared(likenesses, matched, lots), groups, matched))
        if tried[-1][0]["auc"] <= 0.5 + near["stderr"]:
            break
    now, alike, matched = min(tried, key=lambda row: abs(row[0]["auc"] - 0.5))
    if alike is None or now is near:
        return task, fold_of, near
    text = (
        f"test pictures lie farther from train pictures than rows dealt by lot do (in {near['auc']:.1%} of pairs), so "
        f"pictures that look alike share a fold, {len(np.unique(alike)):,} groups of {n:,}: in "
        f"{now['auc']:.1%} then"
    )
    tell(Event("note", text))
    return in_groups(task, alike, text), matched, {**now, "words": text}


def in_groups(task: Task, alike: np.ndarray, text: str) -> Task:
    """The task in these groups `(N,)`, with a note of the reason."""
    return replace(task, groups=alike, notes=(*task.notes, Note("nearness", text)))


def _pairs(points: np.ndarray) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Pairs of rows with their distance, without those that no step of STEPS joins, and the nearest distance `(N,)`."""
    parts, nearest = [], np.empty(len(points))
    for part in chunks(np.arange(len(points))):
        distance = 1 - points[part] @ points.T
        distance[np.arange(len(part)), part] = 2
        nearest[part] = distance.min(1)
    most = np.quantile(nearest, STEPS[-1])
    for part in chunks(np.arange(len(points))):
        distance = 1 - points[part] @ points[part[0] :].T
        row, other = np.nonzero(distance <= most)
        above = other > row
        parts.append((part[0] + np.column_stack([row, other])[above], distance[row, other][above]))
    return parts, nearest


def thumbnails(pixels: PictureRows, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The pictures less the mean one, at 32 px, as rows of length one `(n, D)`."""
    parts = []
    for part in chunks(rows):
        x = (small(pixels[part]) - mean).reshape(len(part), -1)
        x -= x.mean(1, keepdims=True)
        parts.append(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6))
    return np.concatenate(parts)


def distances(likeness: np.ndarray, without: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The distance `(A,)` of each row to its nearest point outside one fold; 2 at most.

    `likeness` is `(A, P)` of rows to points, `without` `(A,)` the fold left out for each row, `folds` `(P,)` that of
    each point.
    """
    return np.asarray(1 - np.where(without[:, None] == folds, -1, likeness).max(1))


def farther(one: np.ndarray, other: np.ndarray) -> float:
    """The chance that a number of one set exceeds a number of the other, equal ones counting half."""
    ranked = np.sort(other)
    places = np.searchsorted(ranked, one, "left") + np.searchsorted(ranked, one, "right")
    return float(places.mean() / 2 / len(other))
