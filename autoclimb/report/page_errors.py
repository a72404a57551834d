"""The page's section on where a run errs: classes, labels or numbers, calibration, decision and the worst mistakes."""

from collections.abc import Sequence

import numpy as np

from autoclimb.report import charts, findings
from autoclimb.report.findings import Errors
from autoclimb.report.parts import Facts, Part, Picture, Pictures, Table, Words, chart, number, safe, thumbnail
from autoclimb.report.record import RunRecord

MOST_CLASSES = 24  # drawn in a chart; tables hold up to MOST_ROWS
MOST_ROWS = 400  # of a table
MISTAKES = 24  # thumbnails of the worst mistakes


def error_parts(record: RunRecord, errors: Errors | None, drawn: bool) -> list[Part]:
    """Confusion, labels or residuals, as fits the kind; calibration, decision and the worst mistakes."""
    if errors is None:
        return []
    parts: list[Part] = []
    if record.goal.kind == "regression":
        parts += residual_parts(record, errors, drawn)
    else:
        parts += class_parts(record, errors, drawn)
        bins = findings.reliability(record, errors)
        if bins:
            off = findings.calibration_error(bins)
            table = Table("Calibration", ("predicted", "was so", "standard error", "cells"), bins)
            says = f"Predicted probabilities against what was so; {off:.1%} apart on average."
            values = tuple([row[i] for row in bins] for i in range(3))
            parts.append(chart("Calibration", says, "calibration", drawn, table, charts.calibration_figure, *values))
    parts += rule_parts(record)
    parts += slice_parts(record, errors)
    worst = findings.mistakes(record, errors, MISTAKES)
    if worst and record.pictures is not None:
        shown = [mistake_picture(record, errors, row, badness) for row, badness in worst]
        parts.append(Pictures("Most confident mistakes", "Worst first. Some may be wrong labels.", shown))
    return parts


def slice_parts(record: RunRecord, errors: Errors) -> list[Part]:
    """Scores by what rows share, and which are worse than chance would make them."""
    slices = findings.slices_of(record, errors)
    if not slices:
        return []
    head = ("column", "value", "rows", record.metric.name, "standard error", "worse than chance")
    rows = [(s.of, s.value, s.rows, s.score, s.stderr, "yes" if s.worse else "no") for s in slices]
    worse = sum(s.worse for s in slices)
    says = f"{worse} of {len(slices)} slices of rows are worse than chance would make them." if worse else ""
    words = [Words(says, "warning")] if worse else []
    return [*words, Table("Scores by slices of rows", head, rows[:MOST_ROWS], shown=bool(worse))]


def mistake_picture(record: RunRecord, errors: Errors, row: int, badness: float) -> Picture:
    """A mistake's thumbnail: what is true, what was answered, how surely."""
    assert record.pictures is not None
    at = int(np.flatnonzero(errors.rows == row)[0])
    if record.goal.kind == "regression":
        title = f"{number(float(record.truth[row]))}, answered {number(float(errors.picked[at]))}"
        return Picture(thumbnail(record.pictures[row]), title, record.id_of(row))
    if record.goal.kind == "multilabel":
        wrong = int((np.abs(errors.p[at] - record.truth[row]) * (errors.picked[at] != record.truth[row])).argmax())
        verb = "missed" if record.truth[row][wrong] else "not there:"
        title = f"{verb} {safe(record.classes[wrong], 40)}"
        text = f"p {errors.p[at, wrong]:.2f}, {record.id_of(row)}"
    else:
        true, picked = record.classes[record.class_of[row]], record.classes[errors.picked[at]]
        title = f"{safe(true, 24)} → {safe(picked, 24)}"
        text = f"p {badness:.2f}, {record.id_of(row)}"
    return Picture(thumbnail(record.pictures[row]), title, text)


def class_parts(record: RunRecord, errors: Errors, drawn: bool) -> list[Part]:
    """The confusion matrix of few classes, the pairs confused most of many, and precision and recall of each."""
    parts: list[Part] = []
    names = record.classes
    if record.one_class:
        table = findings.confusion(record, errors)
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        pairs = confused_pairs(names, table)
        if len(names) <= MOST_CLASSES:
            head = ("true \\ answered", *names)
            numbers = Table("Confusion", head, [(name, *map(int, table[i])) for i, name in enumerate(names)])
            says = "True classes down, answers across; the stronger the colour, the larger the share of the row."
            values = (names, table, "answered", "true", shares)
            parts.append(chart("Confusion", says, "confusion", drawn, numbers, charts.matrix_figure, *values))
        if pairs:
            parts.append(Table("Classes confused most", ("true", "answered", "rows", "share of true"), pairs[:20]))
    worst = label_scores(record, errors)
    head = ("class" if record.one_class else "label", "true rows", "answered", "precision", "recall", "F1")
    numbers = Table("Precision and recall", head, worst[:MOST_ROWS])
    few = worst[:MOST_CLASSES]
    says = f"Worst first{'' if len(few) == len(worst) else f', the worst {len(few)} of {len(worst):,}'}."
    what = [r[0] for r in few], [r[5] for r in few], None, "F1", None, [f"{r[5]:.2f}" for r in few]
    parts.append(chart(f"F1 of each {head[0]}", says, "labels", drawn, numbers, charts.bars_figure, *what))
    return parts


def label_scores(record: RunRecord, errors: Errors) -> list[tuple[str, int, int, float, float, float]]:
    """(name, true rows, answered rows, precision, recall, F1) of each class or label, worst first."""
    rows = findings.label_rows(record, errors)
    scored = [(name, true, answered, *precision_recall_f1(true, answered, both)) for name, true, answered, both in rows]
    return sorted(scored, key=lambda row: row[5])


def confused_pairs(names: Sequence[str], table: np.ndarray) -> list[tuple[str, str, int, str]]:
    """(true, answered, rows, share of the true class) of what is confused, the most rows first."""
    off = table - np.diag(np.diag(table))
    places = np.argwhere(off)
    order = sorted(places.tolist(), key=lambda ij: -off[ij[0], ij[1]])
    return [(names[i], names[j], int(off[i, j]), f"{off[i, j] / table[i].sum():.0%}") for i, j in order]


def precision_recall_f1(true: int, answered: int, both: int) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where there is nothing to share."""
    return both / max(answered, 1), both / max(true, 1), 2 * both / max(true + answered, 1)


def residual_parts(record: RunRecord, errors: Errors, drawn: bool) -> list[Part]:
    """True numbers against answers, and how far off they are."""
    truth, picked = record.truth[errors.rows], errors.picked
    off = picked - truth
    few = findings.thinned(np.arange(len(truth)), 700)
    quantiles = [
        (f"{q:.0%}", float(np.quantile(truth, q)), float(np.quantile(picked, q)), float(np.quantile(off, q)))
        for q in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    ]
    table = Table("Quantiles", ("quantile", "true", "answered", "answer less truth"), quantiles)
    counts, edges = np.histogram(off, bins=min(30, max(8, len(off) // 20)))
    bins = [(f"{number(a)} to {number(b)}", int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]
    says = f"On the line an answer is right. {len(few):,} of {len(truth):,} rows are drawn."
    mean = f"Off by {number(float(off.mean()))} on average: {number(float(np.abs(off).mean()))} in absolute value."
    return [
        chart("Answers and truth", says, "numbers", drawn, table, charts.numbers_figure, truth[few], picked[few]),
        chart(
            "Residuals",
            mean,
            "residuals",
            drawn,
            Table("Residuals", ("answer less truth", "rows"), bins),
            charts.histogram_figure,
            counts,
            edges,
            "answer less truth",
        ),
    ]


def rule_parts(record: RunRecord) -> list[Part]:
    """How predictions become answers."""
    rule = record.rule
    if rule is None:
        return []
    values = [float(v) for v in rule.values]
    per_class = len(values) == len(record.classes) > 1
    if rule.name in ("thresholds", "threshold or top", "argmax") and per_class:
        head = ("class", "factor" if rule.name == "argmax" else "threshold")
        rows = sorted(zip(record.classes, values, strict=True), key=lambda r: r[1])
        return [Table(f"Decision: {rule.name}, by class", head, rows[:MOST_ROWS])]
    if not values:
        return []
    word = "cut points" if rule.name == "cuts" else "values"
    return [Facts([("decision", f"{rule.name}; {word} {', '.join(f'{v:.4g}' for v in values[:30])}")])]
