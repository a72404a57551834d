"""Label cells and the metric -> kind, classes, target."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoclimb.arrays import label_sets
from autoclimb.data.read.grades import grades_in_words
from autoclimb.data.read.label_column import blanks_of, doubt_of_names, one_spelling, set_separator, tokens_of_sample
from autoclimb.data.read.positive import positive_last
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.values import (
    BLANK,
    are_lists,
    are_numbers,
    are_whole,
    flags_of,
    number_of,
    plain,
    tokens_of,
    with_points,
    without_spaces,
    without_unit,
)
from autoclimb.errors import Mistake
from autoclimb.types import Kind, Metric, Note

MANY_NUMBERS = 30  # distinct whole numbers from which a column is a quantity; grades and class codes stay below
MOST = 1e30  # a number to learn: its square must not leave float32's range by far, and sums must stay finite
OF_VOTES = "kl-divergence"  # the metric that takes several columns of one row for votes
FITTING = {
    "binary": "auc, log-loss or accuracy",
    "multiclass": "accuracy, f1-macro or log-loss",
    "multilabel": "f2, f1-samples or auc",
    "ordinal": "qwk",
    "regression": "rmse or mae",
}


@dataclass(frozen=True, eq=False)
class Labels:
    """Kind, classes and target of the rows of the train table that have a label."""

    kind: Kind
    classes: tuple[str, ...]
    target: np.ndarray  # as types.Task has it
    rows: np.ndarray  # (N,) indices of these rows in the table, rising
    grades: tuple[float, ...] = ()
    separator: str = ""  # of a column of sets
    notes: tuple[Note, ...] = ()
    soft: np.ndarray | None = None  # shares of votes, see types.Task


def read_labels(raw: RawTask, metric: Metric | None, root: Path | None = None) -> Labels:
    """The labels as a target array, by the cells' values and what the metric wants.

    In the folder `root` a file may list grades in their order. Raises Mistake where the metric cannot score what the
    labels are.
    """
    labels = of_columns(raw, metric) if len(raw.labels) > 1 else of_one_column(raw, metric, root)
    if metric and labels.kind not in metric.kinds:
        raise Mistake(
            f"the labels are {labels.kind} ({described(labels)}), which {metric.name} does not score; "
            f"try --metric {FITTING[labels.kind]}"
        )
    return labels


def described(labels: Labels) -> str:
    """The labels in a few words."""
    if labels.kind == "regression":
        return f"numbers from {labels.target.min():g} to {labels.target.max():g}"
    shown = ", ".join(labels.classes[:4]) + (", ..." if len(labels.classes) > 4 else "")
    return f"{len(labels.classes)} classes: {shown}"


def of_columns(raw: RawTask, metric: Metric | None) -> Labels:
    """Labels of several columns: of 0/1, one label each row where every row sums to one, else sets; or votes."""
    names = list(raw.labels)
    columns = []
    for name in names:
        signs = flags_of(raw.labels[name])
        if signs is not None or not set(raw.labels[name]) - BLANK:
            columns.append(signs or raw.labels[name])
            continue
        wrong = next(c for c in raw.labels[name] if c not in BLANK and flags_of([c]) is None)
        if number_of(wrong) is not None and are_votes(raw, metric):
            return of_votes(raw)
        raise Mistake(
            f"the target has the columns {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}, and several target "
            f"columns must hold 0 and 1, but {name!r} holds {wrong!r}; name one target with --target, or --metric "
            f"{OF_VOTES} for votes"
        )
    table = np.array([np.array([number_of(c) or 0 for c in cells], np.int8) for cells in columns]).T
    labelled = np.array([any(c not in BLANK for c in row) for row in zip(*columns, strict=True)])
    notes = []
    unsure = int((table < 0).sum())
    if unsure and any("0" in cells for cells in columns):
        notes.append(Note("cells", f"{unsure} cells of -1 (unsure) count as 0", sure="likely"))
    if not labelled.all() and not any({"0", "-1"} & set(cells) for cells in columns):
        text = f"blank cells count as 0: no column holds a 0, so the {int((~labelled).sum())} blank rows have no label"
        notes.append(Note("cells", text, sure="guessed"))
        labelled[:] = True
    rows = np.flatnonzero(labelled)
    flags = (table[rows] > 0).astype(np.uint8)
    if not len(flags):
        raise Mistake(f"the columns {', '.join(names[:4])} hold no labels")
    one_each = bool((flags.sum(1) == 1).all())
    kind: Kind = "binary" if len(names) == 2 else "multiclass"
    if one_each and (metric is None or kind in metric.kinds):
        return of_classes(kind, tuple(names), flags.argmax(1).astype(np.int64), rows, tuple(notes))
    if metric is not None and are_votes(raw, metric):
        return of_votes(raw)
    if not flags.any():
        raise Mistake(f"the columns {', '.join(names[:4])} are 0 in every row")
    return Labels("multilabel", tuple(names), flags, rows, notes=tuple(notes))


def are_votes(raw: RawTask, metric: Metric | None) -> bool:
    """Whether several columns are of votes: the metric says so or, without one, a sample whose rows sum to one."""
    if metric is not None:
        return metric.votes
    return raw.sample is not None and len(raw.answers) == len(raw.labels) and sum_to_one(raw)


def sum_to_one(raw: RawTask) -> bool:
    """Whether the numbers in every row of the sample sum to one."""
    assert raw.sample is not None
    rows = zip(*(raw.sample.cells[a] for a in raw.answers), strict=True)
    return all(abs(sum(number_of(c) or 0.0 for c in row) - 1) < 1e-3 for row in rows)


def of_votes(raw: RawTask) -> Labels:
    """Labels of several columns of votes or shares: what share of each row's votes a class has."""
    names = list(raw.labels)
    cells = [raw.labels[n] for n in names]
    wrong = next((c for column in cells for c in column if c not in BLANK and (number_of(c) or 0) < 0), None)
    wrong = next((c for column in cells for c in column if c not in BLANK and number_of(c) is None), wrong)
    if wrong is not None:
        raise Mistake(f"votes are numbers from 0 on, but the columns {', '.join(names[:4])} hold {wrong!r}")
    table = np.array([[number_of(c) or 0.0 for c in column] for column in cells]).T
    rows = np.flatnonzero(table.sum(1) > 0)
    if not len(rows):
        raise Mistake(f"the columns {', '.join(names[:4])} hold no votes")
    soft = table[rows] / table[rows].sum(1, keepdims=True)
    if (soft == soft[0]).all():
        raise Mistake(f"every train row has the same votes in {', '.join(names[:4])}; there is nothing to learn")
    missing = len(table) - len(rows)
    text = "the target columns hold votes: their shares are learned, and a row is shown as its most voted class"
    notes = [Note("cells", text, sure="likely")]
    notes += [Note("missing", f"{missing} train rows without a vote are left out")] if missing else []
    kind: Kind = "binary" if len(names) == 2 else "multiclass"
    return Labels(kind, tuple(names), soft.argmax(1).astype(np.int64), rows, notes=tuple(notes), soft=soft)


def of_classes(
    kind: Kind, classes: tuple[str, ...], target: np.ndarray, rows: np.ndarray, notes: tuple[Note, ...] = ()
) -> Labels:
    """Labels of one class a row. Raises Mistake where all rows have the same."""
    if len(np.unique(target)) < 2:
        raise Mistake(f"every train row has the label {classes[int(target[0])]!r}; two classes are needed to learn")
    return Labels(kind, classes, target, rows, notes=notes)


def of_one_column(raw: RawTask, metric: Metric | None, root: Path | None) -> Labels:
    """Labels of one column: numbers, grades, names or sets of names."""
    ((name, column),) = raw.labels.items()
    wants = metric.wants if metric else ""
    numeric = wants in ("number", "grade")
    if not raw.literal and (numeric or not set(tokens_of_sample(raw)) & set(column)):
        column = with_points(column) or column
    blank, blank_notes = blanks_of(name, column, raw, numeric)
    rows = np.flatnonzero([c not in blank for c in column])
    cells = [c for c in column if c not in blank]
    if not cells:
        raise Mistake(f"column {name!r} holds no labels")
    missing = len(column) - len(cells)
    notes = [Note("missing", f"{missing} train rows without a label are left out", name)] if missing else []
    notes += blank_notes
    if numeric:
        cells = without_spaces(cells) or cells
    if numeric and (bare := without_unit(cells)):
        notes.append(Note("cells", f"the numbers of {name!r} are read without {bare[1]!r}", name, "likely"))
        cells = bare[0]
    if numeric and not are_numbers(cells):
        if wants == "grade":
            cells, spelling_notes = (cells, []) if raw.literal else one_spelling(name, cells, raw)
            grade_of, why = grades_in_words(set(cells), root)
            if grade_of:
                return of_worded_grades(name, cells, rows, grade_of, why, (*notes, *spelling_notes))
        wrong = next(c for c in cells if number_of(c) is None)
        listed = "list the grades from the lowest on in a classes.txt in the folder, " if wants == "grade" else ""
        raise Mistake(
            f"{metric.name if metric else ''} needs numbers, but column {name!r} holds {wrong!r}; {listed}"
            f"name a numeric target with --target or another metric"
        )
    if wants == "number" or (not wants and is_quantity(cells, raw)):
        return of_numbers(name, cells, rows, tuple(notes))
    if wants == "grade":
        return of_grades(name, cells, rows, tuple(notes))
    if are_numbers(cells) and not are_whole(cells) and len(set(cells)) > MANY_NUMBERS:
        raise Mistake(
            f"column {name!r} holds {len(set(cells))} different numbers, a quantity, which "
            f"{metric.name if metric else 'the metric'} does not score; try --metric {FITTING['regression']}"
        )
    separator = set_separator(cells, raw, metric)
    if separator:
        if missing:
            notes = [Note("cells", f"{missing} train rows have an empty set of labels", name, "likely"), *blank_notes]
        return of_sets([tokens_of(c, separator) if c not in blank else [] for c in column], separator, tuple(notes))
    return of_names(name, cells, rows, raw, metric, notes)


def of_names(
    name: str, cells: list[str], rows: np.ndarray, raw: RawTask, metric: Metric | None, notes: list[Note]
) -> Labels:
    """Labels that are names of classes, one a row. Raises Mistake where no two rows share one."""
    if are_lists(cells) and not raw.literal and all(len(tokens_of(c, ",")) == 1 for c in set(cells)):
        cells = [tokens_of(c, ",")[0] for c in cells]  # ['cat']
    cells = plain(cells)
    if not raw.literal:
        doubts = doubt_of_names(name, cells, metric)
        cells, spelling_notes = one_spelling(name, cells, raw)
        notes = [*notes, *doubts, *spelling_notes]
    classes = in_order(set(cells))
    kind: Kind = "binary" if len(classes) == 2 else "multiclass"
    of_labels = metric is not None and metric.wants == "label"  # such a metric takes both classes alike
    if kind == "binary" and (raw.positive or not of_labels):
        classes, note = positive_last(classes, raw.answers, raw.positive)
        notes = [*notes, note]
    if len(classes) == len(cells) > 2:
        numbers = f"for a quantity try --metric {FITTING['regression']}"
        instead = numbers if are_numbers(cells) else "name another target with --target"
        raise Mistake(
            f"no two train rows share a label: column {name!r} holds {len(cells)} different ones, such as "
            f"{cells[0][:60]!r}; {instead}"
        )
    place = {c: i for i, c in enumerate(classes)}
    return of_classes(kind, classes, np.array([place[c] for c in cells], np.int64), rows, tuple(notes))


def of_numbers(name: str, cells: Sequence[str], rows: np.ndarray, notes: tuple[Note, ...]) -> Labels:
    """Labels that are quantities. Raises Mistake where nets cannot learn them: beyond float32, or all the same."""
    values = np.array([float(c) for c in cells])
    if np.abs(values).max() > MOST:
        raise Mistake(
            f"column {name!r} holds {values[np.abs(values).argmax()]:g}, beyond the numbers that nets learn "
            f"(float32, up to {MOST:.0e}); rescale it"
        )
    if values.min() == values.max():
        raise Mistake(f"every train row has the value {values[0]:g} in column {name!r}")
    return Labels("regression", (), values, rows, notes=notes)


def is_quantity(cells: list[str], raw: RawTask) -> bool:
    """Whether numbers are a quantity rather than class codes, judged without a metric.

    Fractions and many different numbers are; so are numbers for which the sample holds a fraction, flags excepted.
    """
    if not are_numbers(cells):
        return False
    asked = [c for a in raw.answers for c in raw.sample.cells[a]] if raw.sample else []
    fractions = len(raw.answers) == 1 and are_numbers(asked) and not are_whole(asked)
    return not are_whole(cells) or len(set(cells)) > MANY_NUMBERS or (fractions and len(set(plain(cells))) > 2)


def of_grades(name: str, cells: list[str], rows: np.ndarray, notes: tuple[Note, ...]) -> Labels:
    """Ordinal labels, classes sorted by grade. Raises Mistake where the numbers are no grades."""
    grades = sorted({float(c) for c in cells})
    if len(grades) > MANY_NUMBERS and not are_whole(cells):
        raise Mistake(
            f"column {name!r} holds {len(grades)} different numbers, more than grades have; "
            f"try --metric {FITTING['regression']}"
        )
    if len(grades) < 2:
        raise Mistake(f"every train row has the grade {grades[0]:g} in column {name!r}")
    place = {g: i for i, g in enumerate(grades)}
    target = np.array([place[float(c)] for c in cells], np.int64)
    return Labels("ordinal", tuple(f"{g:g}" for g in grades), target, rows, tuple(grades), notes=notes)


def of_worded_grades(
    name: str, cells: list[str], rows: np.ndarray, grade_of: dict[str, float], why: str, notes: tuple[Note, ...]
) -> Labels:
    """Ordinal labels that are words, in the order of their grades. Raises Mistake where all rows have the same."""
    classes = tuple(sorted(set(cells), key=lambda c: grade_of[c]))
    if len(classes) < 2:
        raise Mistake(f"every train row has the grade {classes[0]!r} in column {name!r}")
    place = {c: i for i, c in enumerate(classes)}
    text = f"grades in order, as {why}: {', '.join(f'{grade_of[c]:g} {c}' for c in classes)}"
    target = np.array([place[c] for c in cells], np.int64)
    grades = tuple(grade_of[c] for c in classes)
    return Labels("ordinal", classes, target, rows, grades, notes=(*notes, Note("grades", text, name, "likely")))


def of_sets(sets: list[list[str]], separator: str, notes: tuple[Note, ...]) -> Labels:
    """Multi-label labels of a column of sets; an empty set is a label too."""
    classes = in_order({t for s in sets for t in s})
    place = {c: i for i, c in enumerate(classes)}
    target = label_sets([[place[n] for n in names] for names in sets], len(classes))
    return Labels("multilabel", classes, target, np.arange(len(sets)), separator=separator, notes=notes)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Class names by number where they are numbers, else by letter."""
    return tuple(sorted(names, key=lambda c: (number_of(c) or 0.0, c)) if are_numbers(names) else sorted(names))
