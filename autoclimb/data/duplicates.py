"""Near-duplicate pictures: found on decoded pixels, put into one fold, reported where test has copies or labels differ.

Candidates come from a perceptual hash (the signs of the lowest cosine terms, as in Zauner 2010) with multi-index search
(Norouzi et al. 2012); the pictures themselves are then compared, since by a hash alone all solar cells or all digits of
a set are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from autoclimb.arrays import as_stored
from autoclimb.data.pixels import Pixels
from autoclimb.data.stored import PictureRows
from autoclimb.types import Event, Note, Task, Tell

SIDE = 32  # pixels a side at which pictures are compared
CHUNK = 1024  # pictures in memory at a time
BITS = 6  # bits of 64 in which hashes of candidates may differ; with up to four, two of six bands are sure to agree
BANDS = (11, 11, 11, 11, 10, 10)
WINDOW = 8  # neighbours compared in a sorted table, so that a table of n rows always takes 8 n comparisons
# Correlation of two pictures, less the set's mean picture, from which they are near-duplicates. By eye on seven real
# sets, pairs down to 0.93 were one scene moved, blurred or lit otherwise, except some plain solar cells and two leaves.
ALIKE = 0.95
DIFFERENCE = 8.0  # grey levels they may differ by on average
FLAT = 4.0  # grey levels: a picture that differs less from its own mean or the set's mean has nothing to compare
LARGEST = 0.05  # of all pictures: a larger cluster means that the set's pictures are alike, not copies
LARGE = 8  # pictures that a cluster may always have
STRICT = (ALIKE, 0.98, 0.995, 1.0)  # tried in turn where clusters are too large; 1 is exact copies
FEWEST_PAIRS = 20  # pairs from which different labels show that likeness means nothing
LISTED = 5


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Near-duplicates among R pictures: `pairs` `(P, 2)` of rows, the smaller first, and how `alike` `(P,)` they are.

    `cluster_of` `(R,)` is the first row of each picture's cluster, its own where it has no copy. `alike` is in 0 to 1,
    1 for equal pixels. `note` says which candidates were not accepted and why, "" where all were.
    """

    cluster_of: np.ndarray
    pairs: np.ndarray = field(repr=False)
    alike: np.ndarray = field(repr=False)
    note: str = ""

    @property
    def clusters(self) -> int:
        """The number of clusters of two pictures or more."""
        return int((np.bincount(self.cluster_of) > 1).sum()) if len(self.cluster_of) else 0


def find_duplicates(pixels: PictureRows, bad: np.ndarray | None = None, labels: np.ndarray | None = None) -> Duplicates:
    """Clusters of near-duplicates among `(R, H, W, C)` uint8 pictures, without those in the mask `bad`.

    Time and memory grow with R, not its square. The same pictures always give the same clusters. `labels` are class
    numbers of the first rows: where near-duplicates differ in them half as often as random pairs, likeness means
    nothing in this set (digits on white, cells on grey) and only exact copies count. Where clusters are larger than a
    twentieth of the set, stricter limits are tried, up to exact copies.
    """
    rows = np.arange(len(pixels)) if bad is None else np.flatnonzero(~bad)
    if len(rows) < 2:
        return Duplicates(np.arange(len(pixels)), np.empty((0, 2), np.int64), np.empty(0))
    mean = mean_picture(pixels, rows)
    codes, prints, flat = hashes_of(pixels, rows, mean)
    pairs = rows[candidates(codes, prints, flat)]
    alike = likeness(pixels, pairs, mean)
    pairs, alike = pairs[alike >= ALIKE], alike[alike >= ALIKE]
    note = ""
    if labels is not None and mistaken(pairs, alike, labels):
        note = "pictures of different classes look alike at small size here, so only exact copies count as duplicates"
        pairs, alike = pairs[alike == 1], alike[alike == 1]
    largest = max(LARGE, int(LARGEST * len(pixels)))
    for limit in STRICT:
        close = alike >= limit
        cluster_of = joined(len(pixels), pairs[close])
        if np.bincount(cluster_of).max() <= largest:
            break
    else:
        large = np.flatnonzero(np.bincount(cluster_of) > largest)
        close &= ~np.isin(cluster_of[pairs[:, 0]], large)
        cluster_of = joined(len(pixels), pairs[close])
        note = f"one picture is there more than {largest} times; its copies are not kept together"
    if limit > ALIKE and not note:
        note = "many pictures look alike at small size here, so only the closest count as duplicates"
    return Duplicates(cluster_of, pairs[close], alike[close], note)


def small(pixels: np.ndarray) -> np.ndarray:
    """The pictures `(n, H, W, C)` at 32 px or fewer, float32, by means of blocks."""
    step = max(1, pixels.shape[1] // SIDE)
    side = pixels.shape[1] // step
    cut = pixels[:, : side * step, : side * step]
    total = np.zeros((len(cut), side, side, cut.shape[3]), np.uint16 if step <= 16 else np.uint32)
    for row in range(step):  # sums of slices take a third of the time of a mean over short axes
        for column in range(step):
            total += cut[:, row::step, column::step]
    return total / np.float32(step * step)


def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in parts of CHUNK."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def mean_picture(pixels: PictureRows, rows: np.ndarray) -> np.ndarray:
    """The mean of up to 2,000 pictures of a set, at 32 px, which is subtracted: what all share is no sign of a copy."""
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 2000)).astype(int))]
    if len(some) < 20:  # a pair of copies would dominate the mean of so few
        return np.full((1, 1, 1), 128, np.float32)
    return np.sum([small(pixels[part]).sum(0) for part in chunks(some)], axis=0) / len(some)


def hashes_of(pixels: PictureRows, rows: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row a 64-bit perceptual hash, a 64-bit hash of the exact pixels, and whether the picture is flat."""
    side = len(small(pixels[:1])[0])
    wave = np.cos(np.pi / side * (np.arange(side) + 0.5) * np.arange(8)[:, None]).astype(np.float32)
    size = pixels[0].size
    odd = np.random.default_rng(0).integers(0, 2**63, -(-size // 8), np.uint64) * np.uint64(2) + np.uint64(1)
    codes, prints, flat = [], [], []
    for part in chunks(rows):
        pictures = np.ascontiguousarray(pixels[part])
        padded = np.zeros((len(part), len(odd) * 8), np.uint8)
        padded[:, :size] = pictures.reshape(len(part), -1)
        prints.append((padded.view(np.uint64) * odd).sum(1, dtype=np.uint64))
        thumbnails = small(pictures)
        own = np.abs(thumbnails - thumbnails.mean((1, 2), keepdims=True)).mean((1, 2, 3))
        flat.append((own < FLAT) | (np.abs(thumbnails - mean).mean((1, 2, 3)) < FLAT / 2))
        terms = (wave @ (thumbnails - mean).mean(3) @ wave.T).reshape(len(part), 64)
        terms[:, 0] = 0  # the mean brightness, in which copies may differ
        codes.append(np.packbits(terms > np.median(terms, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0])
    return np.concatenate(codes), np.concatenate(prints), np.concatenate(flat)


def candidates(codes: np.ndarray, prints: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Pairs `(P, 2)` of indices, the smaller first, whose `prints` are equal or whose `codes` differ in few bits.

    In each table codes are sorted by two bands, then by the rest, and compared with their next neighbours only: a pair
    that many similar pictures separate in one table is adjacent in another, or is joined through those. Codes of flat
    pictures are not compared. Where there are more than four pairs a picture, fewer bits may differ.
    """
    n = len(codes)
    shifts = np.cumsum((0, *BANDS[:-1]))
    masks = [np.uint64(((1 << width) - 1) << int(shift)) for width, shift in zip(BANDS, shifts, strict=True)]
    shown = np.flatnonzero(~flat)
    order = np.lexsort((np.arange(n), prints))
    exact = near(order, prints, 0, 1)
    close = [np.empty(0, np.int64)]
    for one, two in combinations(masks, 2):
        order = shown[np.lexsort((codes[shown], codes[shown] & (one | two)))]
        pairs = np.sort(near(order, codes, BITS, WINDOW), axis=1)
        close.append(pairs[:, 0] * n + pairs[:, 1])
    keys = np.unique(np.concatenate(close))
    bits = np.bitwise_count(codes[keys // n] ^ codes[keys % n])
    most = next((b for b in range(BITS, 0, -1) if (bits <= b).sum() <= 4 * n), 0)
    keys = np.unique(np.concatenate([keys[bits <= most], exact.min(1) * n + exact.max(1)]))
    return np.column_stack([keys // n, keys % n])


def near(order: np.ndarray, codes: np.ndarray, bits: int, window: int) -> np.ndarray:
    """Pairs of rows at most `window` places apart in `order` whose codes differ in at most `bits` bits."""
    ranked = codes[order]
    pairs = [np.empty((0, 2), np.int64)]
    for step in range(1, window + 1):
        close = np.flatnonzero(np.bitwise_count(ranked[step:] ^ ranked[:-step]) <= bits)
        pairs.append(np.column_stack([order[close], order[close + step]]))
    return np.concatenate(pairs)


def likeness(pixels: PictureRows, pairs: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The likeness `(P,)` of the pictures of each pair.

    It is 1 for equal pixels, 0 where they differ by too many grey levels, else the correlation, below 1, of their
    differences from the set's mean picture.
    """
    correlations = [np.empty(0)]
    for part in chunks(pairs):
        one, two = pixels[part[:, 0]], pixels[part[:, 1]]
        equal = (one == two).reshape(len(part), -1).all(1)
        a, b = small(one) - mean, small(two) - mean
        a, b = ((x - x.mean((1, 2), keepdims=True)).reshape(len(part), -1) for x in (a, b))
        both = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        alike = np.minimum((a * b).sum(1) / np.maximum(both, 1e-6), np.nextafter(1, 0))
        alike[np.abs(a - b).mean(1) > DIFFERENCE] = 0
        correlations.append(np.where(equal, 1.0, alike))
    return np.concatenate(correlations)


def mistaken(pairs: np.ndarray, alike: np.ndarray, labels: np.ndarray) -> bool:
    """Whether pairs that look alike but are not equal have different labels half as often as random pairs or more."""
    within = (pairs < len(labels)).all(1) & (alike < 1)
    if within.sum() < FEWEST_PAIRS:
        return False
    one, two = labels[pairs[within]].T
    share = np.bincount(labels) / len(labels)
    return float((one != two).mean()) > 0.5 * (1 - float((share**2).sum()))


def joined(rows: int, pairs: np.ndarray) -> np.ndarray:
    """The first row of each row's cluster `(rows,)`: the connected components of the pairs."""
    cluster_of = np.arange(rows)
    while len(pairs):
        least = cluster_of[pairs].min(1)
        before = cluster_of.copy()
        np.minimum.at(cluster_of, pairs.ravel(), np.repeat(least, 2))
        np.minimum.at(cluster_of, before[pairs].ravel(), np.repeat(least, 2))
        cluster_of = cluster_of[cluster_of]
        if (before == cluster_of).all():
            break
    return cluster_of


def duplicates_of(task: Task, pixels: Pixels) -> Duplicates:
    """The near-duplicates among a task's train and test pictures, train rows first."""
    assert len(pixels.array) == len(task.train_ids) + len(task.test_ids), "one picture an item, train first"
    return find_duplicates(pixels.array, pixels.bad, class_numbers(task))


def class_numbers(task: Task) -> np.ndarray | None:
    """A number for the class or the set of labels of each train row, None for numbers."""
    if task.kind == "regression":
        return None
    if task.kind == "multilabel":
        return np.unique(as_stored(task.target), axis=0, return_inverse=True)[1].reshape(-1)
    return task.target


def duplicate_facts(task: Task, duplicates: Duplicates) -> dict:
    """The facts of near-duplicates for people, as json values.

    Keys: clusters, largest, train (rows that are a copy of an earlier train row), test (rows with a copy in train),
    conflicts (pairs of train rows with other targets; for numbers, more than half a standard deviation apart),
    conflicting (up to five of them, as ids), note.
    """
    n = len(task.train_ids)
    train, test = duplicates.cluster_of[:n], duplicates.cluster_of[n:]
    both = duplicates.pairs[(duplicates.pairs < n).all(1)]
    numbers = class_numbers(task)
    if numbers is None:
        apart = np.abs(task.target[both[:, 0]] - task.target[both[:, 1]]) > task.target.std() / 2
    else:
        apart = numbers[both[:, 0]] != numbers[both[:, 1]]
    sizes = np.bincount(duplicates.cluster_of) if len(duplicates.cluster_of) else np.zeros(1, int)
    return {
        "clusters": duplicates.clusters,
        "largest": int(sizes.max()) if duplicates.clusters else 0,
        "train": n - len(np.unique(train)),
        "test": int(np.isin(test, train).sum()),
        "conflicts": int(apart.sum()),
        "conflicting": [[task.train_ids[a], task.train_ids[b]] for a, b in both[apart][:LISTED]],
        "note": duplicates.note,
    }


def duplicate_words(facts: dict) -> list[str]:
    """The facts as sentences, none where there are no near-duplicates."""
    sentences = []
    train, test, conflicts = facts["train"], facts["test"], facts["conflicts"]
    if train:
        sentences.append(
            f"near-duplicates: {train:,} train pictures are nearly another one; such pictures stay in one fold"
        )
    if test:
        sentences.append(
            f"near-duplicates: {test:,} test pictures are nearly a train picture, whose label nets may remember"
        )
    if conflicts:
        pairs = ", ".join(" = ".join(pair) for pair in facts["conflicting"])
        more = ", ..." if conflicts > len(facts["conflicting"]) else ""
        sentences.append(f"near-duplicates with different targets: {conflicts:,} ({pairs}{more})")
    return [*sentences, facts["note"]] if facts["note"] else sentences


def copies_contradict(task: Task, duplicates: Duplicates) -> list[Note]:
    """A note where equal train pictures have different labels half as often as random pairs or more."""
    numbers = class_numbers(task)
    n = len(task.train_ids)
    equal = duplicates.pairs[(duplicates.pairs < n).all(1) & (duplicates.alike == 1)]
    if numbers is None or len(equal) < FEWEST_PAIRS:
        return []
    apart = int((numbers[equal[:, 0]] != numbers[equal[:, 1]]).sum())
    by_chance = 1 - float(((np.bincount(numbers) / n) ** 2).sum())
    if apart < by_chance / 2 * len(equal):
        return []
    text = f"{apart} of {len(equal)} pairs of equal train pictures have different labels, as if labels were others' own"
    return [Note("contradiction", text, sure="guessed", ask="name the right columns with --id and --target")]


def joined_duplicates(task: Task, pixels: Pixels, tell: Tell) -> Task:
    """The task with near-duplicate train pictures in one group, joined with its own groups; tells of them."""
    duplicates = duplicates_of(task, pixels)
    facts = duplicate_facts(task, duplicates)
    sentences = duplicate_words(facts)
    notes = [*(Note("duplicates", text) for text in sentences), *copies_contradict(task, duplicates)]
    for text in sentences:
        tell(Event("note", text, {"copies": facts}))
    train = duplicates.cluster_of[: len(task.train_ids)]
    if len(np.unique(train)) == len(train):
        return replace(task, notes=(*task.notes, *notes))
    return replace(task, groups=with_clusters(task.groups, train), notes=(*task.notes, *notes))


def with_clusters(groups: np.ndarray | None, cluster_of: np.ndarray) -> np.ndarray:
    """Groups `(N,)` joined where rows share a cluster (`cluster_of` `(N,)`); the clusters where there are no groups."""
    if groups is None:
        return cluster_of
    first = np.unique(groups, return_index=True, return_inverse=True)
    # a row, its cluster's first row and its group's first row belong together
    links = [np.column_stack([np.arange(len(groups)), to]) for to in (cluster_of, first[1][first[2]])]
    return joined(len(groups), np.concatenate(links))
