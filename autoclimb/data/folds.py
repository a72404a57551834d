"""Rows -> folds, stratified by classes, labels or numbers; rows of one group share a fold."""

import numpy as np

from autoclimb.arrays import LabelSets, take_rows
from autoclimb.errors import Mistake
from autoclimb.seeds import rng
from autoclimb.types import Kind, Task

BINS = 10  # quantiles as classes of a number where groups are dealt
MOST_COUNTS = 1 << 26  # groups x classes whose rows are counted; the rarest of more classes are counted together
MOSTLY_SINGLE = 0.8  # groups per row from which groups are copies of rows, not sources


def make_folds(task: Task, k: int, seed: int, bad: np.ndarray | None = None) -> np.ndarray:
    """The fold of each train row, `(N,)` int64, -1 for rows in the bool mask `bad`. The same for the same seed.

    k is lowered to the number of usable rows or groups; without groups, folds differ by one row at most. The rows of a
    class with fewer than k rows are in different folds.

    - classes and grades: each class is dealt out in turn
    - sets of labels: iterative stratification, rarest label first (Sechidis, Tsoumakas, Vlahavas 2011)
    - numbers: neighbours in value go to different folds
    - groups: greedily, groups of most unequal content first (as in scikit-learn's StratifiedGroupKFold); where nearly
      all groups are single rows, their first rows are dealt as if there were no groups

    Raises Mistake where fewer than two rows or groups are usable.
    """
    fold_of = np.full(len(task.train_ids), -1, np.int64)
    rows = np.arange(len(fold_of)) if bad is None else np.flatnonzero(~np.asarray(bad, bool))
    k = folds_possible(task, k, rows)
    random = rng(seed, "folds", k)
    target = take_rows(task.target, rows)
    if task.groups is not None:
        _, first, group_of, sizes = np.unique(
            task.groups[rows], return_index=True, return_inverse=True, return_counts=True
        )
        if len(sizes) < MOSTLY_SINGLE * len(rows) or sizes.max() * 20 * k > len(rows):
            fold_of[rows] = by_groups(*indicated(task.kind, target), task.groups[rows], k, random)
        else:  # a few near-duplicates: only the first of each is dealt, so that folds are as even as without groups
            fold_of[rows] = by_target(task.kind, take_rows(target, first), k, random)[group_of]
    else:
        fold_of[rows] = by_target(task.kind, target, k, random)
    return fold_of


def folds_possible(task: Task, k: int, rows: np.ndarray) -> int:
    """k, lowered to the number of those rows or of their groups; raises Mistake where that is less than two."""
    parts = len(rows) if task.groups is None else len(np.unique(task.groups[rows]))
    if min(k, parts) < 2:
        units = "train rows with a readable picture" if task.groups is None else "groups"
        raise Mistake(f"{parts} {units}; two are needed to hold some out")
    return min(k, parts)


def by_target(kind: Kind, target: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Folds for rows without groups."""
    deal = {"multilabel": by_labels, "regression": by_value}.get(kind, by_class)
    return deal(target, k, random)


def by_class(target: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Folds for class indices: rows sorted by class, shuffled within, are dealt like cards."""
    order = np.lexsort((random.random(len(target)), target))
    fold_of = np.empty(len(target), np.int64)
    fold_of[order] = np.arange(len(target)) % k
    return fold_of


def by_value(target: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Folds for numbers: of each k neighbours in value, one goes to each fold."""
    order = np.lexsort((random.random(len(target)), target))
    blocks = -(-len(target) // k)
    deal = np.concatenate([random.permutation(k) for _ in range(blocks)])
    fold_of = np.empty(len(target), np.int64)
    fold_of[order] = deal[: len(target)]
    return fold_of


def by_labels(target: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Folds for `(N, C)` 0/1 labels by iterative stratification, with fold sizes kept equal to within one row."""
    n = len(target)
    fold_of = np.full(n, -1, np.int64)
    row_of, label_of = pairs_of(target)
    labels_of = np.split(label_of, np.searchsorted(row_of, np.arange(1, n)))
    left = np.bincount(label_of, minlength=target.shape[1])
    needed = np.repeat(left.astype(float)[:, None] / k, k, 1)  # (C, k) positives that a fold should still get
    size = np.zeros(k, np.int64)
    small, large = n // k, n % k  # `large` folds hold one row more than `small`
    order = random.permutation(n)
    turn = np.empty(n, np.int64)
    turn[order] = np.arange(n)
    by_label = np.lexsort((turn[row_of], label_of))
    rows_of = np.split(row_of[by_label], np.searchsorted(label_of[by_label], np.arange(1, target.shape[1])))

    def put(row: int, need: np.ndarray) -> None:
        open_ = size < small + (int((size > small).sum()) < large)
        best = np.flatnonzero(open_ & (need >= need[open_].max()))
        best = best[size[best] == size[best].min()]
        fold = int(best[0] if len(best) == 1 else random.choice(best))
        fold_of[row] = fold
        size[fold] += 1
        needed[labels_of[row], fold] -= 1
        left[labels_of[row]] -= 1

    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, n + 1)))
        for row in rows_of[label]:
            if fold_of[row] < 0:
                put(row, needed[label])
    for row in order:
        if fold_of[row] < 0:
            put(row, -size.astype(float))
    return fold_of


def pairs_of(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row and the label of each 1 in label sets, in the order of rows."""
    if isinstance(target, LabelSets):
        rows, places = np.nonzero(target.ones >= 0)
        return rows, target.ones[rows, places].astype(np.int64)
    rows, labels = np.nonzero(target)
    return rows, labels


def indicated(kind: Kind, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The pairs (row, class) of all rows, and the number of classes, which may be labels or quantiles of numbers."""
    if kind == "multilabel":
        return *pairs_of(target), target.shape[1]
    if kind == "regression":
        edges = np.unique(np.quantile(target, np.linspace(0, 1, BINS + 1)[1:-1]))
        target = np.searchsorted(edges, target, side="right")
    return np.arange(len(target)), target, int(target.max()) + 1


def by_groups(
    row_of: np.ndarray, class_of: np.ndarray, classes: int, groups: np.ndarray, k: int, random: np.random.Generator
) -> np.ndarray:
    """Folds for rows in groups: each group goes to the fold where shares of the classes become most equal.

    Row `row_of[i]` has the class or label `class_of[i]` of `classes`.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    most = max(BINS, MOST_COUNTS // len(names))
    if classes > most:  # the most frequent by themselves, all others together
        rank = np.empty(classes, np.int64)
        rank[np.argsort(-np.bincount(class_of, minlength=classes), kind="stable")] = np.arange(classes)
        class_of, classes = np.minimum(rank[class_of], most - 1), most
    contents = np.zeros((len(names), classes + 1))
    np.add.at(contents, (group_of[row_of], class_of), 1)
    contents[:, -1] = np.bincount(group_of)
    share = contents / np.maximum(contents.sum(0), 1)
    order = np.lexsort((random.random(len(names)), -contents[:, -1], -share[:, :-1].std(1)))
    filled = np.zeros((k, contents.shape[1]))
    fold_of_group = np.empty(len(names), np.int64)
    for turn, group in enumerate(order):
        empty = np.flatnonzero(filled[:, -1] == 0)
        # every fold gets a group: the last groups are reserved for folds that have none
        allowed = empty if len(empty) >= len(names) - turn else np.arange(k)
        uneven = []
        for fold in allowed:
            filled[fold] += share[group]
            uneven.append(filled.std(0).mean())
            filled[fold] -= share[group]
        best = allowed[int(np.argmin(np.round(uneven, 12)))]
        filled[best] += share[group]
        fold_of_group[group] = best
    return fold_of_group[group_of]
