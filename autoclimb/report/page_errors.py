"""The page's section on where a run errs: classes, labels or numbers, calibration, decision and the worst mistakes."""

from collections.abc import Sequence

import numpy as np

from autoclimb.report import charts, data_charts, findings
from autoclimb.report.findings import Errors, Slice
from autoclimb.report.leaderboard import net_words
from autoclimb.report.parts import Facts, Part, Pen, Picture, Pictures, Table, Words, chart, safe, thumbnail
from autoclimb.report.record import RunRecord
from autoclimb.report.words import counted, number
from autoclimb.score.rules import rule_words

MOST_CLASSES = 24  # drawn in a chart; tables hold up to MOST_ROWS
MOST_ROWS = 400  # of a table
MOST_PAIRS = 20  # of classes confused
MISTAKES = 24  # thumbnails of the worst mistakes
MOST_SLICES = 16  # drawn in a chart, the most doubtful
FEW_NUMBERS = 4  # of a decision, up to which they stand in its sentence


def error_parts(record: RunRecord, errors: Errors | None, pen: Pen) -> list[Part]:
    """Confusion, labels or residuals, by kind of task; then calibration, decision, slices and the worst mistakes."""
    if errors is None:
        return []
    slices = findings.slices_of(record, errors)
    parts: list[Part] = slice_warnings(slices)
    if record.goal.kind == "regression":
        parts += residual_parts(record, errors, pen)
    else:
        parts += class_parts(record, errors, pen)
        bins = findings.reliability(record, errors)
        if bins:
            error = findings.calibration_error(bins)
            table = Table("Calibration", ("predicted", "observed", "standard error", "cells"), bins)
            says = f"Predicted probabilities against observed frequencies; {error:.1%} apart on average."
            values = tuple([row[i] for row in bins] for i in range(3))
            parts.append(chart("Calibration", says, "calibration", pen, table, charts.calibration_figure, *values))
    parts += rule_parts(record)
    parts += slice_parts(record, errors, slices, pen)
    worst = findings.mistakes(record, errors, MISTAKES)
    if worst and record.pictures is not None:
        outputs = findings.wrong_outputs(record, errors, [row for row, _ in worst])
        shown = [
            mistake_picture(record, errors, row, badness, output)
            for (row, badness), output in zip(worst, outputs, strict=True)
        ]
        title = "Largest mistakes" if record.goal.kind == "regression" else "Most confident mistakes"
        parts.append(Pictures(title, mistake_words(record, shown), shown))
    return parts


def mistake_words(record: RunRecord, shown: Sequence[Picture]) -> str:
    """The caption of the mistakes: what glows in the pictures of evidence, or why there are none."""
    says = "Worst first. Some may be wrong labels."
    trial = next((t for t in record.trials if t.key == record.gallery.looked), None)
    if trial is not None and any(picture.beside for picture in shown):
        outputs = {"multilabel": "the label named", "regression": "a larger number"}
        output = outputs.get(record.goal.kind, "the wrong answer")
        return f"{says} What glows is evidence for {output} in {net_words(trial.config)} (Grad-CAM)."
    note = record.gallery.maps_note
    return f"{says} Where nets looked is not shown: {note}." if note else says


def slice_warnings(slices: Sequence[Slice]) -> list[Part]:
    """A warning that names the slices worse than chance explains; none where there are none."""
    worse = [s for s in slices if s.worse]
    if not worse:
        return []
    named = ", ".join(f"{safe(s.of, 40)}: {safe(s.value, 40)} ({number(s.score)})" for s in worse[:5])
    return [Words(f"Worse than chance would make it: {named}{', ...' if len(worse) > 5 else ''}.", "warning")]


def slice_parts(record: RunRecord, errors: Errors, slices: Sequence[Slice], pen: Pen) -> list[Part]:
    """The score of each slice of rows, the most doubtful first."""
    if not slices:
        return []
    head = ("of", "slice", "rows", record.metric.name, "standard error", "worse than chance")
    rows = [(s.of, s.value, s.rows, s.score, s.stderr, "yes" if s.worse else "no") for s in slices]
    table = Table("Scores by slices of rows", head, rows[:MOST_ROWS])
    worse = sum(s.worse for s in slices)
    subject = f"{worse} of {counted(len(slices), 'slice')} {'is' if worse == 1 else 'are'}" if worse else "None is"
    says = (
        f"{subject} worse than chance would make it, at 1 % over all of them. The dashed line is the score of all "
        f"rows; the most doubtful first."
    )
    few = slices[:MOST_SLICES]
    values = (
        [f"{s.of}: {s.value}" for s in few],
        [s.score for s in few],
        [s.stderr for s in few],
        [s.worse for s in few],
        record.metric.name,
        record.metric.shown(record.goal.score(record.train.target(errors.rows), errors.answers)),
    )
    figure = data_charts.slices_figure
    return [chart("Scores by slices of rows", says, "slices", pen, table, figure, *values)]


def mistake_picture(record: RunRecord, errors: Errors, row: int, badness: float, output: int) -> Picture:
    """A mistake's thumbnail with truth, answer and probability, and beside it the evidence for `output`, if known."""
    assert record.pictures is not None
    pixels, evidence = record.pictures[row], record.gallery.maps.get((row, output))
    source, beside = thumbnail(pixels), "" if evidence is None else thumbnail(pixels, evidence=evidence)
    at = int(np.flatnonzero(errors.rows == row)[0])
    if record.goal.kind == "regression":
        title = f"{number(float(record.truth[row]))}, answered {number(float(errors.picked[at]))}"
        return Picture(source, title, record.id_of(row), beside)
    if record.goal.kind == "multilabel":
        verb = "missed" if record.truth[row][output] else "not there:"
        title = f"{verb} {safe(record.classes[output], 40)}"
        text = f"p {errors.p[at, output]:.2f}, {record.id_of(row)}"
    else:
        true, picked = record.classes[record.class_of[row]], record.classes[output]
        title = f"{safe(true, 24)} → {safe(picked, 24)}"
        text = f"p {badness:.2f}, {record.id_of(row)}"
    return Picture(source, title, text, beside)


def class_parts(record: RunRecord, errors: Errors, pen: Pen) -> list[Part]:
    """The confusion matrix (of few classes), the pairs confused most, and precision and recall of each class."""
    parts: list[Part] = []
    names = record.classes
    if record.one_class:
        if len(names) <= MOST_CLASSES:
            table = findings.confusion(record, errors)
            shares = table / np.maximum(table.sum(1, keepdims=True), 1)
            head = ("true \\ answered", *names)
            numbers = Table("Confusion", head, [(name, *map(int, table[i])) for i, name in enumerate(names)])
            says = "True classes down, answers across; the stronger the colour, the larger the share of the row."
            values = (names, table, "answered", "true", shares)
            parts.append(chart("Confusion", says, "confusion", pen, numbers, charts.matrix_figure, *values))
        of_truth = np.bincount(record.class_of[errors.rows])
        pairs = findings.confused_pairs(record, errors)[:MOST_PAIRS]
        rows = [(names[true], names[picked], n, f"{n / of_truth[true]:.0%}") for true, picked, n in pairs]
        if rows:
            parts.append(Table("Classes confused most", ("true", "answered", "rows", "share of true"), rows))
    worst = label_scores(record, errors)
    head = ("class" if record.one_class else "label", "true rows", "answered", "precision", "recall", "F1")
    numbers = Table("Precision and recall", head, worst[:MOST_ROWS])
    few = worst[:MOST_CLASSES]
    says = f"Worst first{'' if len(few) == len(worst) else f', the worst {len(few)} of {len(worst):,}'}."
    bars = [r[0] for r in few], [r[5] for r in few], None, "F1", None, [f"{r[5]:.2f}" for r in few]
    parts.append(chart(f"F1 of each {head[0]}", says, "labels", pen, numbers, charts.bars_figure, *bars))
    return parts


def label_scores(record: RunRecord, errors: Errors) -> list[tuple[str, int, int, float, float, float]]:
    """(name, true rows, answered rows, precision, recall, F1) of each class or label, worst first."""
    rows = findings.label_rows(record, errors)
    scored = [(name, true, answered, *precision_recall_f1(true, answered, both)) for name, true, answered, both in rows]
    return sorted(scored, key=lambda row: row[5])


def precision_recall_f1(true: int, answered: int, both: int) -> tuple[float, float, float]:
    """Precision, recall and F1 from counts of rows; 0 where a denominator is 0."""
    return both / max(answered, 1), both / max(true, 1), 2 * both / max(true + answered, 1)


def residual_parts(record: RunRecord, errors: Errors, pen: Pen) -> list[Part]:
    """Answers against true numbers, and the residuals."""
    truth, picked = record.truth[errors.rows], errors.picked
    residual = picked - truth
    few = findings.thinned(np.arange(len(truth)), 700)
    quantiles = [
        (f"{q:.0%}", float(np.quantile(truth, q)), float(np.quantile(picked, q)), float(np.quantile(residual, q)))
        for q in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    ]
    table = Table("Quantiles", ("quantile", "true", "answered", "answer less truth"), quantiles)
    counts, edges = np.histogram(residual, bins=min(30, max(8, len(residual) // 20)))
    bins = [(f"{number(a)} to {number(b)}", int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]
    says = f"Answers on the line are right. {len(few):,} of {len(truth):,} rows are drawn."
    bias, error = number(float(residual.mean())), number(float(np.abs(residual).mean()))
    residuals = Table("Residuals", ("answer less truth", "rows"), bins)
    values = (counts, edges, "answer less truth")
    average = f"Off by {bias} on average: {error} in absolute value."
    return [
        chart("Answers and truth", says, "numbers", pen, table, charts.numbers_figure, truth[few], picked[few]),
        chart("Residuals", average, "residuals", pen, residuals, charts.histogram_figure, *values),
    ]


def rule_parts(record: RunRecord) -> list[Part]:
    """The decision rule in words, its numbers as a table where they are many."""
    rule = record.rule
    if rule is None:
        return []
    words, values = rule_words(rule), [float(v) for v in rule.values]
    if not values:
        return [Facts([("decision", words)])]
    if len(values) <= FEW_NUMBERS:
        return [Facts([("decision", f"{words} ({', '.join(f'{v:.4g}' for v in values)})")])]
    if rule.name in ("thresholds", "threshold or top", "argmax") and len(values) == len(record.classes):
        head = ("class", "factor" if rule.name == "argmax" else "threshold")
        rows = sorted(zip(record.classes, values, strict=True), key=lambda r: r[1])
    else:
        head, rows = ("number", "value"), [(str(i), v) for i, v in enumerate(values, 1)]
    return [Facts([("decision", words)]), Table(f"Decision: {rule.name}, its numbers", head, rows[:MOST_ROWS])]
