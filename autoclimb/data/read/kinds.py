"""Label cells and the metric -> kind, classes, target; the sample's cells -> the submission's form."""

from dataclasses import dataclass

import numpy as np

from autoclimb.data.read.found import Found
from autoclimb.data.read.targets import ending
from autoclimb.data.read.values import (
    BLANK,
    are_flags,
    are_numbers,
    are_whole,
    number_of,
    plain,
    separator_of,
    tokens_of,
)
from autoclimb.errors import Mistake
from autoclimb.types import Form, Kind, Metric

MANY_NUMBERS = 30  # distinct whole numbers from which a column is a quantity; grades and class codes stay below
MOST = 1e30  # a number to learn: its square must not leave float32's range by far, and sums must stay finite
OF_VOTES = "kl-divergence"  # the metric that takes several columns of one row for votes
POSITIVE = {"1", "true", "yes", "y", "positive", "pos", "present", "t"}
FITTING = {
    "binary": "auc, log-loss or accuracy",
    "multiclass": "accuracy, f1-macro or log-loss",
    "multilabel": "f2, f1-samples or auc",
    "ordinal": "qwk",
    "regression": "rmse or mae",
}


@dataclass(frozen=True, eq=False)
class Labels:
    """Kind, classes and target of the rows that have a label. `kept` marks them."""

    kind: Kind
    classes: tuple[str, ...]
    target: np.ndarray
    kept: np.ndarray  # (rows,) bool
    grades: tuple[float, ...] = ()
    separator: str = ""  # of a column of sets
    notes: tuple[str, ...] = ()
    soft: np.ndarray | None = None  # shares of votes, see types.Task


def read_labels(found: Found, metric: Metric | None) -> Labels:
    """The labels as a target array, by the cells' values and what the metric wants.

    Raises Mistake where the metric cannot score what the labels are.
    """
    labels = of_columns(found, metric) if len(found.labels) > 1 else of_one_column(found, metric)
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


def of_columns(found: Found, metric: Metric | None) -> Labels:
    """Labels of several columns: of 0/1, one label each row where every row sums to one, else sets; or votes."""
    names = list(found.labels)
    for name in names:
        cells = found.labels[name]
        wrong = next((c for c in cells if c not in BLANK and number_of(c) not in (0.0, 1.0, -1.0)), None)
        if wrong is None:
            continue
        if number_of(wrong) is not None and are_votes(found, metric):
            return of_votes(found)
        raise Mistake(
            f"several target columns must hold 0 and 1, but {name!r} holds {wrong!r}; name one target with --target, "
            f"or --metric {OF_VOTES} for votes"
        )
    table = np.array([[number_of(c) or 0.0 for c in found.labels[n]] for n in names]).T
    kept = np.array([any(c not in BLANK for c in row) for row in zip(*found.labels.values(), strict=True)])
    notes = []
    if (table < 0).any():
        notes.append(f"{int((table < 0).sum())} cells of -1 (unsure) count as 0")
    flags = (table[kept] > 0).astype(np.uint8)
    if not len(flags):
        raise Mistake(f"the columns {', '.join(names[:4])} hold no labels")
    one_each = bool((flags.sum(1) == 1).all())
    kind: Kind = "binary" if len(names) == 2 else "multiclass"
    if one_each and (metric is None or kind in metric.kinds):
        return of_classes(kind, tuple(names), flags.argmax(1).astype(np.int64), kept, tuple(notes))
    if metric is not None and are_votes(found, metric):
        return of_votes(found)
    if not flags.any():
        raise Mistake(f"the columns {', '.join(names[:4])} are 0 in every row")
    return Labels("multilabel", tuple(names), flags, kept, notes=tuple(notes))


def are_votes(found: Found, metric: Metric | None) -> bool:
    """Whether several columns are of votes: the metric says so or, without one, a sample whose rows sum to one."""
    if metric is not None:
        return metric.name == OF_VOTES
    return found.sample is not None and len(found.answers) == len(found.labels) and sum_to_one(found)


def of_votes(found: Found) -> Labels:
    """Labels of several columns of votes or shares: what share of each row's votes a class has."""
    names = list(found.labels)
    cells = [found.labels[n] for n in names]
    wrong = next((c for column in cells for c in column if c not in BLANK and (number_of(c) or 0) < 0), None)
    wrong = next((c for column in cells for c in column if c not in BLANK and number_of(c) is None), wrong)
    if wrong is not None:
        raise Mistake(f"votes are numbers from 0 on, but the columns {', '.join(names[:4])} hold {wrong!r}")
    table = np.array([[number_of(c) or 0.0 for c in column] for column in cells]).T
    kept = table.sum(1) > 0
    if not kept.any():
        raise Mistake(f"the columns {', '.join(names[:4])} hold no votes")
    soft = table[kept] / table[kept].sum(1, keepdims=True)
    if (soft == soft[0]).all():
        raise Mistake(f"every train row has the same votes in {', '.join(names[:4])}; there is nothing to learn")
    missing = int((~kept).sum())
    notes = ["the target columns hold votes: their shares are learned, and a row is shown as its most voted class"]
    notes += [f"{missing} train rows without a vote are left out"] if missing else []
    kind: Kind = "binary" if len(names) == 2 else "multiclass"
    return Labels(kind, tuple(names), soft.argmax(1).astype(np.int64), kept, notes=tuple(notes), soft=soft)


def of_classes(kind: Kind, classes: tuple[str, ...], target: np.ndarray, kept: np.ndarray, notes: tuple = ()) -> Labels:
    """Labels of one class a row. Raises Mistake where all rows have the same."""
    if len(np.unique(target)) < 2:
        raise Mistake(f"every train row has the label {classes[int(target[0])]!r}; two classes are needed to learn")
    return Labels(kind, classes, target, kept, notes=notes)


def of_one_column(found: Found, metric: Metric | None) -> Labels:
    """Labels of one column: numbers, grades, names or sets of names."""
    ((name, raw),) = found.labels.items()
    wants = metric.wants if metric else ""
    numeric = wants in ("number", "grade")
    blank = BLANK | {"NA", "N/A", "na", "None", "?"} if numeric else BLANK
    kept = np.array([c not in blank for c in raw])
    cells = [c for c in raw if c not in blank]
    if not cells:
        raise Mistake(f"column {name!r} holds no labels")
    missing = len(raw) - len(cells)
    notes = [f"{missing} train rows without a label are left out"] if missing else []
    if numeric and not are_numbers(cells):
        wrong = next(c for c in cells if number_of(c) is None)
        raise Mistake(
            f"{metric.name if metric else ''} needs numbers, but column {name!r} holds {wrong!r}; "
            f"name a numeric target with --target or another metric"
        )
    if wants == "number" or (not wants and is_quantity(cells, found)):
        values = np.array([float(c) for c in cells])
        if np.abs(values).max() > MOST:
            raise Mistake(
                f"column {name!r} holds {values[np.abs(values).argmax()]:g}, beyond the numbers that nets learn "
                f"(float32, up to {MOST:.0e}); rescale it"
            )
        if values.min() == values.max():
            raise Mistake(f"every train row has the value {values[0]:g} in column {name!r}")
        return Labels("regression", (), values, kept, notes=tuple(notes))
    if wants == "grade":
        return of_grades(name, cells, kept, tuple(notes))
    if are_numbers(cells) and not are_whole(cells) and len(set(cells)) > MANY_NUMBERS:
        raise Mistake(
            f"column {name!r} holds {len(set(cells))} different numbers, a quantity, which "
            f"{metric.name if metric else 'the metric'} does not score; try --metric {FITTING['regression']}"
        )
    separator = separator_of(cells) or separator_by_columns(cells, found.answers)
    if separator:
        if missing:
            notes = [f"{missing} train rows have an empty set of labels"]
        return of_sets([tokens_of(c, separator) if c not in BLANK else [] for c in raw], separator, tuple(notes))
    cells = plain(cells)
    classes = in_order(set(cells), found.answers)
    kind: Kind = "binary" if len(classes) == 2 else "multiclass"
    if kind == "binary":
        notes.append(f"{classes[1]!r} is the positive class, {classes[0]!r} the negative")
    if len(classes) == len(cells) > 2:
        numbers = f"for a quantity try --metric {FITTING['regression']}"
        instead = numbers if are_numbers(cells) else "name another target with --target"
        raise Mistake(
            f"no two train rows share a label: column {name!r} holds {len(cells)} different ones, such as "
            f"{cells[0][:60]!r}; {instead}"
        )
    place = {c: i for i, c in enumerate(classes)}
    return of_classes(kind, classes, np.array([place[c] for c in cells], np.int64), kept, tuple(notes))


def separator_by_columns(cells: list[str], answers: list[str]) -> str:
    """The separator whose tokens are the sample's columns, "" where cells are such columns as they are."""
    asked = set(answers)
    if len(asked) < 2 or set(cells) <= asked:
        return ""
    for separator in ("|", ";", ",", " "):
        if {t for c in set(cells) for t in tokens_of(c, separator)} <= asked:
            return separator
    return ""


def is_quantity(cells: list[str], found: Found) -> bool:
    """Whether numbers are a quantity rather than class codes, judged without a metric.

    Fractions and many different numbers are; so are numbers for which the sample holds a fraction, flags excepted.
    """
    if not are_numbers(cells):
        return False
    asked = [c for a in found.answers for c in found.sample.cells[a]] if found.sample else []
    fractions = len(found.answers) == 1 and are_numbers(asked) and not are_whole(asked)
    return not are_whole(cells) or len(set(cells)) > MANY_NUMBERS or (fractions and len(set(plain(cells))) > 2)


def of_grades(name: str, cells: list[str], kept: np.ndarray, notes: tuple[str, ...]) -> Labels:
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
    return Labels("ordinal", tuple(f"{g:g}" for g in grades), target, kept, tuple(grades), notes=notes)


def of_sets(sets: list[list[str]], separator: str, notes: tuple[str, ...]) -> Labels:
    """Multi-label labels of a column of sets; an empty set is a label too."""
    classes = in_order({t for s in sets for t in s}, [])
    place = {c: i for i, c in enumerate(classes)}
    target = np.zeros((len(sets), len(classes)), np.uint8)
    for row, names in enumerate(sets):
        target[row, [place[n] for n in names]] = 1
    return Labels("multilabel", classes, target, np.ones(len(sets), bool), separator=separator, notes=notes)


def in_order(names: set[str], answers: list[str]) -> tuple[str, ...]:
    """Class names by number where they are numbers, else by letter; of two, the positive last."""
    if are_numbers(names):
        ordered = sorted(names, key=lambda c: (number_of(c) or 0.0, c))
    else:
        ordered = sorted(names)
        if len(ordered) == 2:
            asked = {a.lower() for a in answers}
            ordered.sort(key=lambda c: (c.lower() in POSITIVE) + 2 * (c.lower() in asked and len(asked) == 1))
    return tuple(ordered)


def read_form(found: Found, labels: Labels, metric: Metric | None) -> tuple[Form, tuple[str, ...]]:
    """The submission's form, from the sample or, without one, of our own, and notes."""
    if found.sample is None:
        form = own_form(found, labels, metric)
        said = f"no sample submission: the answer is written as {','.join(form.columns[:4])}"
        return form, (said,) if found.test_ids else ()
    columns = (found.sample_id, *found.answers)
    ids = tuple(found.sample.cells[found.sample_id])
    cells = [c for a in found.answers for c in found.sample.cells[a] if c not in BLANK]
    whole = bool(cells) and are_whole(cells)
    if len(found.answers) > 1:
        short = [ending(a, found.answers) for a in found.answers]
        column_of = tuple(place_of(a, s, labels.classes) for a, s in zip(found.answers, short, strict=True))
        if all(c < 0 for c in column_of):
            raise Mistake(
                f"the sample asks for {', '.join(found.answers[:4])}, but the labels are {described(labels)}; "
                f"name the target with --target"
            )
        one = labels.kind in ("binary", "multiclass") and (metric is None or metric.wants == "probability")
        sums = one and sum_to_one(found)
        form = Form(columns, ids, "columns", column_of=column_of, whole_numbers=whole, sums_to_one=sums)
        lacking = [a for a, c in zip(found.answers, column_of, strict=True) if c < 0]
        unasked = [c for i, c in enumerate(labels.classes) if i not in column_of]
        notes = []
        if lacking:
            some = f"{', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}"
            notes.append(f"{len(lacking)} classes of the sample have no train picture ({some})")
        if unasked:
            notes.append(f"{len(unasked)} classes are not asked for by the sample ({', '.join(unasked[:3])})")
        return form, tuple(notes)
    if not found.answers:
        raise Mistake(f"{found.sample.name} has only the column {found.sample_id!r}; nothing is asked for")
    return one_column_form(columns, ids, cells, whole, labels, metric)


def sum_to_one(found: Found) -> bool:
    """Whether the numbers in every row of the sample sum to one."""
    assert found.sample is not None
    rows = zip(*(found.sample.cells[a] for a in found.answers), strict=True)
    return all(abs(sum(number_of(c) or 0.0 for c in row) - 1) < 1e-3 for row in rows)


def place_of(column: str, short: str, classes: tuple[str, ...]) -> int:
    """The class a sample column asks for, -1 where the train rows lack it."""
    for name in (column, short):
        if name in classes:
            return classes.index(name)
    lower = [c.lower() for c in classes]
    return lower.index(column.lower()) if lower.count(column.lower()) == 1 else -1


def one_column_form(
    columns: tuple[str, ...], ids: tuple[str, ...], cells: list[str], whole: bool, labels: Labels, metric: Metric | None
) -> tuple[Form, tuple[str, ...]]:
    """The form of a sample with one column to fill."""
    wants = metric.wants if metric else ""
    if labels.kind in ("regression", "ordinal"):
        return Form(columns, ids, "number", whole_numbers=whole), ()
    if labels.kind == "multilabel":
        separator = next((s for s in ("|", ";", ",", " ") if any(s in c for c in cells)), labels.separator or " ")
        return Form(columns, ids, "labels", separator=separator), ()
    separator, most = ranking_of(cells, labels.classes)
    if most > 1 or wants == "ranking":
        most = most if most > 1 else (metric.k if metric else 0)
        return Form(columns, ids, "labels", separator=separator, at_most=most), ()
    numbers = bool(cells) and are_numbers(cells)
    if labels.kind == "binary":
        flags = are_flags(labels.classes)
        if wants == "probability" or (numbers and flags) or (numbers and not set(plain(cells)) <= set(labels.classes)):
            return Form(columns, ids, "number", whole_numbers=whole), ()
        return Form(columns, ids, "label"), ()
    unknown = sorted(set(plain(cells)) - set(labels.classes))
    notes = (f"the sample holds {unknown[0]!r}, which is no class of the train rows",) if unknown else ()
    return Form(columns, ids, "label"), notes


def ranking_of(cells: list[str], classes: tuple[str, ...]) -> tuple[str, int]:
    """The separator and the most names in a cell of the sample, where train rows have one name each."""
    known = set(classes)
    for separator in (" ", ",", ";", "|"):
        split = [tokens_of(c, separator) for c in set(cells) if c not in known]
        named = [len(t) for t in split if len(t) > 1 and sum(1 for x in t if x in known) * 2 >= len(t)]
        if named:
            return separator, max(named)
    return " ", 1


def own_form(found: Found, labels: Labels, metric: Metric | None) -> Form:
    """A form for a competition without a sample: the id and what the metric wants."""
    wants = metric.wants if metric else ""
    name = next(iter(found.labels)) if len(found.labels) == 1 else "label"
    ids = tuple(found.test_ids)
    if labels.kind in ("regression", "ordinal"):
        return Form((found.id_name, name), ids, "number", whole_numbers=labels.kind == "ordinal")
    if wants == "probability" and labels.kind == "binary":
        return Form((found.id_name, name), ids, "number")
    if wants == "probability":
        return Form((found.id_name, *labels.classes), ids, "columns", column_of=tuple(range(len(labels.classes))))
    if labels.kind == "multilabel":
        return Form((found.id_name, name), ids, "labels", separator=labels.separator or " ")
    if wants == "ranking":
        return Form((found.id_name, name), ids, "labels", at_most=metric.k if metric else 0)
    return Form((found.id_name, name), ids, "label")
