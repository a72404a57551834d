"""The page's sections on the data that a run learned from and on how it was made."""

import numpy as np

from autoclimb.budget import in_words
from autoclimb.report import charts, findings
from autoclimb.report.page_errors import MOST_CLASSES, MOST_ROWS
from autoclimb.report.parts import Facts, Part, Picture, Pictures, Table, chart, number, thumbnail
from autoclimb.report.record import RunRecord

EXAMPLES = 4  # thumbnails of a class
CLASSES_WITH_EXAMPLES = 12


def data_parts(record: RunRecord, drawn: bool) -> list[Part]:
    """What was learned from: rows, balance, and examples of each class."""
    learned = int((record.fold_of >= 0).sum())
    folds = len(np.unique(record.fold_of[record.fold_of >= 0]))
    rows = [("train rows", f"{learned:,} in {folds} folds"), ("kind", kind_words(record))]
    if learned < len(record.fold_of):
        rows.append(("left out", f"{len(record.fold_of) - learned:,} train rows"))
    if record.answered:
        rows.append(("answered", f"{record.answered:,} rows"))
    parts: list[Part] = [Facts(rows)]
    if record.goal.kind == "regression":
        counts, edges = np.histogram(record.truth, bins=min(30, max(8, len(record.truth) // 20)))
        bins = [(f"{number(a)} to {number(b)}", int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]
        table = Table("Numbers", ("from, to", "rows"), bins)
        parts.append(
            chart(
                "Numbers to predict",
                f"From {number(float(record.truth.min()))} to {number(float(record.truth.max()))}.",
                "balance",
                drawn,
                table,
                charts.histogram_figure,
                counts,
                edges,
                "number",
            )
        )
    else:
        counts = record.target.sum(0)
        order = np.argsort(-counts, kind="stable")
        balance = [(record.classes[i], float(counts[i]), f"{counts[i] / len(record.target):.1%}") for i in order]
        few = balance[:MOST_CLASSES]
        rest = "" if len(few) == len(balance) else f" The {len(few)} most frequent of {len(balance):,} are drawn."
        ratio = counts[order[0]] / max(counts[order[-1]], 1)
        says = f"Train rows of each, the most frequent {ratio:,.3g} times the rarest.{rest}"
        values = [r[0] for r in few], [r[1] for r in few], None, "train rows", None, [f"{r[1]:,.0f}" for r in few]
        table = Table("Balance", ("class", "rows", "share"), balance[:MOST_ROWS])
        parts.append(chart("Balance", says, "balance", drawn, table, charts.bars_figure, *values))
    return [*parts, *example_parts(record)]


def kind_words(record: RunRecord) -> str:
    """The kind of task in words."""
    n = len(record.classes)
    return {
        "binary": "one of two classes a row",
        "multiclass": f"one of {n:,} classes a row",
        "multilabel": f"a set of {n:,} labels a row, {record.target.sum(1).mean():.2g} on average",
        "ordinal": f"one of {n} grades in order",
        "regression": "a number a row",
    }[record.goal.kind]


def example_parts(record: RunRecord) -> list[Part]:
    """Train pictures as nets see them: some of each class, or from the smallest to the largest number."""
    if record.pictures is None:
        return []
    known = np.flatnonzero(record.fold_of >= 0)
    if record.goal.kind == "regression":
        rows = findings.thinned(known[np.argsort(record.truth[known], kind="stable")], 16)
        shown = [Picture(thumbnail(record.pictures[r]), number(float(record.truth[r])), record.id_of(r)) for r in rows]
        return [Pictures("Examples", "From the smallest to the largest number.", shown)]
    order = np.argsort(-record.target[known].sum(0), kind="stable")
    if len(order) > CLASSES_WITH_EXAMPLES:  # the most frequent and the rarest
        half = CLASSES_WITH_EXAMPLES // 2
        order = np.concatenate([order[:half], order[-half:]])
    shown = []
    for i in order:
        rows = findings.thinned(known[record.target[known, i] == record.target[known, i].max()], EXAMPLES)
        shown += [Picture(thumbnail(record.pictures[r]), record.classes[i], record.id_of(int(r))) for r in rows]
    side = record.pictures.shape[1]
    return [Pictures("Examples", f"{EXAMPLES} train pictures of a class, decoded at {side} px.", shown)]


def made_parts(record: RunRecord, drawn: bool) -> list[Part]:
    """Settings, the time ledger, versions, and every note."""
    parts: list[Part] = [Facts([(name, str(value)) for name, value in record.settings.items()])]
    ledger = findings.time_ledger(record)
    if ledger:
        total = max(sum(seconds for _, seconds in ledger), 1e-9)
        table = Table("Time", ("what", "seconds", "share"), [(w, s, f"{s / total:.0%}") for w, s in ledger])
        values = (
            [w for w, _ in ledger],
            [s for _, s in ledger],
            None,
            "seconds",
            None,
            [in_words(s) for _, s in ledger],
        )
        says = "Wall time from the command to the last file written."
        parts.append(chart("Where time went", says, "time", drawn, table, charts.bars_figure, *values))
    if record.versions:
        parts.append(Table("Versions", ("package", "version"), list(record.versions.items())))
    notes = [(in_words(e["spent"]), e["text"]) for e in record.events if e["name"] == "note" and e["text"]]
    if notes:
        parts.append(Table("Notes of the run", ("at", "note"), notes[-MOST_ROWS:], shown=True))
    return parts
