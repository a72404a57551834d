"""The page's section on the data of a run: balance, sizes, looks, copies, examples."""

from collections import Counter
from itertools import pairwise

import numpy as np

from autoclimb.arrays import take_rows
from autoclimb.config import Config
from autoclimb.report import charts, data_charts
from autoclimb.report.cleaner import given_words
from autoclimb.report.leaderboard import net_words
from autoclimb.report.page_errors import MOST_CLASSES, MOST_ROWS
from autoclimb.report.parts import Facts, Part, Pen, Picture, Pictures, Table, chart, jpeg, safe, thumbnail
from autoclimb.report.record import RunRecord
from autoclimb.report.words import counted, kind_words, number

EXAMPLES = 4  # thumbnails of a class
CLASSES_WITH_EXAMPLES = 12
QUARTERS = 4  # parts of equal size that ordered numbers are cut into


def data_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """Rows, balance, sizes, looks and copies of the data, and examples of each class."""
    learned = int((record.fold_of >= 0).sum())
    folds = len(np.unique(record.fold_of[record.fold_of >= 0]))
    labels_per_item = float(record.target.sum(1).mean()) if record.goal.kind == "multilabel" else None
    kind = kind_words(record.goal.kind, len(record.classes), labels_per_item)
    rows = [("train rows", f"{learned:,} in {folds} folds"), ("kind", kind)]
    if learned < len(record.fold_of):
        rows.append(("left out", f"{len(record.fold_of) - learned:,} train rows"))
    if record.answered:
        rows.append(("answered", f"{record.answered:,} rows"))
    sizes = {tuple(size[-2:]) for rows_of_split in record.sizes.values() for size in rows_of_split}
    if len(sizes) == 1:
        rows += [("picture size", f"all {w} x {h} px") for w, h in sizes]
    return [
        Facts(rows),
        numbers_chart(record, pen) if record.goal.kind == "regression" else balance_chart(record, pen),
        *size_parts(record, pen),
        *look_parts(record, pen),
        *copy_parts(record),
        *example_parts(record),
    ]


def numbers_chart(record: RunRecord, pen: Pen) -> Part:
    """A histogram of the train rows' numbers."""
    counts, edges = np.histogram(record.truth, bins=min(30, max(8, len(record.truth) // 20)))
    bins = [(f"{number(a)} to {number(b)}", int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]
    table = Table("Numbers", ("from, to", "rows"), bins)
    says = f"From {number(float(record.truth.min()))} to {number(float(record.truth.max()))}."
    values = (counts, edges, "number")
    return chart("Numbers to predict", says, "balance", pen, table, charts.histogram_figure, *values)


def balance_chart(record: RunRecord, pen: Pen) -> Part:
    """The train rows of each class or label, the most frequent drawn."""
    counts = np.asarray(record.target.sum(0), np.float64)
    order = np.argsort(-counts, kind="stable")
    balance = [(record.classes[i], float(counts[i]), f"{counts[i] / len(record.target):.1%}") for i in order]
    few = balance[:MOST_CLASSES]
    drawn = "" if len(few) == len(balance) else f" The {len(few)} most frequent of {len(balance):,} are drawn."
    ratio = counts[order[0]] / max(counts[order[-1]], 1)
    even = "about as many of one as of another"
    skew = f"the most frequent {ratio:,.3g} times the rarest" if ratio >= 1.05 else even
    says = f"Train rows of each, {skew}.{drawn}"
    values = [r[0] for r in few], [r[1] for r in few], None, "train rows", None, [f"{r[1]:,.0f}" for r in few]
    table = Table("Balance", ("class", "rows", "share"), balance[:MOST_ROWS])
    return chart("Balance", says, "balance", pen, table, charts.bars_figure, *values)


def size_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """Widths and heights of pictures, where they differ."""
    sizes: dict[str, list[tuple[int, int, int]]] = {}
    for split, measured in record.sizes.items():
        counts = Counter(tuple(size[-2:]) for size in measured)
        sizes[split] = [(int(w), int(h), n) for (w, h), n in counts.most_common()]
    distinct = {size[:2] for rows in sizes.values() for size in rows}
    if len(distinct) < 2:
        return []
    sampled = ", ".join(f"{sum(n for *_, n in rows):,} {split}" for split, rows in sizes.items() if rows)
    rows = [(split, f"{w} x {h}", n) for split, counted_sizes in sizes.items() for w, h, n in counted_sizes]
    table = Table("Picture sizes", ("of", "width x height", "pictures"), rows[:MOST_ROWS])
    says = f"{len(distinct):,} sizes, by the headers of {sampled} pictures; the larger a dot, the more of that size."
    return [chart("Picture sizes", says, "sizes", pen, table, data_charts.sizes_figure, sizes)]


def look_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """Brightness, contrast, colour and sharpness of train and test pictures, in which drift would show."""
    looks = record.looks
    if not looks:
        return []
    head = ("look", "from, to", "train", "test")
    rows = [
        (name, f"{number(a)} to {number(b)}", f"{train:.1%}", f"{test:.1%}")
        for name, look in looks.items()
        for (a, b), train, test in zip(pairwise(look["edges"]), look["train"], look["test"], strict=True)
    ]
    with_test = any(any(look["test"]) for look in looks.values())
    drift = "; where train and test lie apart, the score may promise too much" if with_test else ""
    says = f"In grey levels{drift}."
    table = Table("Looks of pictures", head, rows)
    return [chart("Looks of pictures", says, "looks", pen, table, data_charts.looks_figure, looks)]


def copy_parts(record: RunRecord) -> list[Part]:
    """The number of near-duplicates, and pictures of those whose labels differ."""
    copies = record.copies
    if not copies:
        return []
    lines = []
    if copies["train"]:
        lines.append(("copies", f"{counted(copies['train'], 'train row')} nearly another one; they share a fold"))
    if copies["test"]:
        lines.append(("copies in test", f"{counted(copies['test'], 'test row')} nearly a train row"))
    if copies["conflicts"]:
        lines.append(("copies that disagree", f"{counted(copies['conflicts'], 'pair')} of different targets"))
    parts: list[Part] = [Facts(lines)] if lines else []
    row_of = {name: row for row, name in enumerate(record.ids)} if copies["conflicting"] else {}
    pairs = [[row_of[name] for name in pair if name in row_of] for pair in copies["conflicting"]]
    pictures = record.pictures
    shown = [
        Picture(
            thumbnail(pictures[one]),
            f"{safe(given_words(record, one), 26)} | {safe(given_words(record, other), 26)}",
            f"{record.id_of(one)} | {record.id_of(other)}",
            thumbnail(pictures[other]),
        )
        for one, other in (pair for pair in pairs if len(pair) == 2)
        if pictures is not None
    ]
    if shown:
        says = "Nearly the same picture under two labels: one of them is wrong, or the label is not in the picture."
        parts.append(Pictures("Copies that disagree", says, shown))
    return parts


def example_blocks(record: RunRecord) -> list[tuple[str, list[int]]]:
    """(words, EXAMPLES train rows) of each class, of many the most frequent and the rarest; or of QUARTERS."""
    known = np.flatnonzero(record.fold_of >= 0)
    if record.goal.kind == "regression":
        ordered = known[np.argsort(record.truth[known], kind="stable")]
        quarters = [part for part in np.array_split(ordered, QUARTERS) if len(part)]
        ends = [(number(float(record.truth[part[0]])), number(float(record.truth[part[-1]]))) for part in quarters]
        return [
            (low if low == high else f"{low} to {high}", examples_of(part))
            for part, (low, high) in zip(quarters, ends, strict=True)
        ]
    counts = np.asarray(take_rows(record.target, known).sum(0), np.float64)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    if len(order) > CLASSES_WITH_EXAMPLES:  # the most frequent and the rarest
        half = CLASSES_WITH_EXAMPLES // 2
        order = np.concatenate([order[:half], order[-half:]])
    shares = (record.target[known, i] for i in order)  # zeros and ones, or shares of votes
    rows_of_class = [known[share == share.max()] for share in shares]
    return [(record.classes[i], examples_of(rows)) for i, rows in zip(order, rows_of_class, strict=True)]


def examples_of(rows: np.ndarray) -> list[int]:
    """EXAMPLES of the rows, evenly spread; where there are fewer rows, some are repeated."""
    spread = rows if len(rows) <= EXAMPLES else rows[np.linspace(0, len(rows) - 1, EXAMPLES).astype(int)]
    return [int(row) for row in np.resize(spread, EXAMPLES)]


def example_parts(record: RunRecord) -> list[Part]:
    """Train pictures of each class, or from small to large numbers, and below them as augmented in training."""
    blocks, gallery = example_blocks(record), record.gallery
    augmented = next((t.config for t in record.trials if t.key == gallery.augmented), None)
    shown_rows = tuple(tuple(rows) for _, rows in blocks)
    if gallery.sheet is not None and augmented is not None and gallery.blocks == shown_rows:
        return [sheet_part(gallery.sheet, [words for words, _ in blocks], augmented)]
    if record.pictures is None:
        return []
    numbers = record.goal.kind == "regression"
    shown = [
        Picture(thumbnail(record.pictures[row]), given_words(record, row) if numbers else words, record.id_of(row))
        for words, rows in blocks
        for row in dict.fromkeys(rows)
    ]
    order = "From small to large numbers" if numbers else f"{EXAMPLES} train pictures of a class"
    note = f" Augmented ones are not shown: {gallery.sheet_note}." if gallery.sheet_note else ""
    return [Pictures("Examples", f"{order}, decoded at {record.pictures.shape[1]} px.{note}", shown)]


def sheet_part(sheet: np.ndarray, names: list[str], config: Config) -> Part:
    """The sheet cut into its blocks, each under its class."""
    from PIL import Image

    halves = np.split(sheet, 2 * len(names))
    sides = halves[0].shape[1], halves[0].shape[0]
    shown = [
        Picture(jpeg(Image.fromarray(plain), 80), name, "", jpeg(Image.fromarray(augmented), 80), sides)
        for name, plain, augmented in zip(names, halves[::2], halves[1::2], strict=True)
    ]
    mixing = [word for word, alpha in (("mixup", config.mixup), ("cutmix", config.cutmix)) if alpha]
    mixed = f" {' and '.join(mixing)} then mixed pairs of them." if mixing else ""
    says = f"Above as decoded, below as augmented in training: {config.policy}, of {net_words(config)}.{mixed}"
    return Pictures("Examples, without and with augmentation", says, shown)
