"""The sample submission's cells and the labels -> the form of the submission."""

import re
from collections.abc import Sequence
from dataclasses import replace

from autoclimb.data.read.identifiers import why_it_names_rows
from autoclimb.data.read.labels import Labels, described, sum_to_one
from autoclimb.data.read.long import Unfolded
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.targets import WEIGHT_WORDS, core_of, names_columns
from autoclimb.data.read.values import (
    BLANK,
    SEPARATORS,
    are_flags,
    are_lists,
    are_numbers,
    are_whole,
    plain,
    same_name,
    tokens_of,
)
from autoclimb.errors import Mistake
from autoclimb.types import Form, Metric, Note


def read_form(raw: RawTask, labels: Labels, metric: Metric | None) -> tuple[Form, tuple[Note, ...]]:
    """The submission's form, from the sample or, without one, of our own, and notes."""
    if raw.sample is None:
        form = own_form(raw, labels, metric)
        text = f"no sample submission: the answer is written as {','.join(form.columns[:4])}"
        return form, (Note("form", text, sure="guessed"),) if raw.test_ids else ()
    if not raw.answers:
        raise Mistake(f"{raw.sample.name} has only the column {raw.sample_id!r}; nothing is asked for")
    columns = (raw.sample_id, *raw.answers)
    ids = tuple(raw.sample.cells[raw.sample_id])
    cells = [c for a in raw.answers for c in raw.sample.cells[a] if c not in BLANK]
    whole_numbers = bool(cells) and are_whole(cells)
    if len(raw.answers) > 1:
        form, notes = columns_form(raw, columns, ids, whole_numbers, labels, metric)
    else:
        form, notes = one_column_form(columns, ids, cells, whole_numbers, labels, metric)
    form = as_the_file_has_it(form, raw)
    if isinstance(raw.sample, Unfolded):
        text = f"{raw.sample.name} has a row an item and class, and so has the submission"
        notes = (*notes, Note("form", text, raw.sample.name))
    return form, notes


def columns_form(
    raw: RawTask,
    columns: tuple[str, ...],
    ids: tuple[str, ...],
    whole_numbers: bool,
    labels: Labels,
    metric: Metric | None,
) -> tuple[Form, tuple[Note, ...]]:
    """The form of a sample with a column per class."""
    short = [core_of(a, raw.answers) for a in raw.answers]
    column_of = tuple(place_of(a, s, labels.classes) for a, s in zip(raw.answers, short, strict=True))
    if all(c < 0 for c in column_of):
        raise Mistake(
            f"the sample asks for {', '.join(raw.answers[:4])}, but the labels are {described(labels)}; its columns "
            f"have to be called as classes are, or one column has to hold the answer"
        )
    one = labels.kind in ("binary", "multiclass") and (metric is None or metric.wants == "probability")
    sums = one and sum_to_one(raw)
    form = Form(columns, ids, "columns", column_of=column_of, whole_numbers=whole_numbers, sums_to_one=sums)
    lacking = [a for a, c in zip(raw.answers, column_of, strict=True) if c < 0]
    unasked = [c for i, c in enumerate(labels.classes) if i not in column_of]
    notes = []
    if lacking:
        some = f"{', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}"
        notes.append(Note("classes", f"{len(lacking)} classes of the sample have no train picture ({some})"))
    if unasked:
        text = f"{len(unasked)} classes are not asked for by the sample ({', '.join(unasked[:3])})"
        notes.append(Note("classes", text))
    return form, tuple(notes)


def as_the_file_has_it(form: Form, raw: RawTask) -> Form:
    """The form with what the sample's file is like: delimiter, header or none, the order of its columns, columns that
    are no answers, a row an item and class.
    """
    sample = raw.sample
    assert sample is not None
    decimal = "," if set(raw.answers) & set(sample.decimal_commas) else "."
    form = replace(form, delimiter=sample.separator, decimal=decimal, header=not sample.headless)
    if isinstance(sample, Unfolded):
        place = {a: i for i, a in enumerate(raw.answers)}
        rows = tuple((i, place[c]) for i, c in zip(sample.row_items, sample.row_classes, strict=True))
        named = [(sample.class_column, sample.row_classes)] if sample.class_column else []
        return replace(
            form,
            columns=(raw.sample_id, sample.value),
            ids=sample.row_ids,
            rows=rows,
            beside=tuple(named),
            order=sample.file_columns,
            sums_to_one=False,
        )
    if tuple(sample.columns) == form.columns:
        return form
    beside = tuple((c, () if WEIGHT_WORDS.search(c) else tuple(sample.cells[c])) for c in raw.beside)
    return replace(form, beside=beside, order=tuple(sample.columns))


def columns_beside(raw: RawTask) -> tuple[str, ...]:
    """The columns of the sample that are no answers: a row number, a confidence, what else stands beside the label.

    Where columns are called as classes or as target columns are, those are the answers.
    """
    answers = raw.answers
    if raw.sample is None or len(answers) < 2:
        return ()
    targets = {same_name(name) for name in raw.labels}
    named = [a for a in answers if same_name(a) in targets]
    if len(raw.labels) > 1:
        others = [a for a in answers if a not in named]
        return tuple(a for a in others if named and is_beside(raw, a))
    ((_, cells),) = raw.labels.items()
    if names_columns(cells, answers):
        return ()
    if not named:
        named = [a for a in answers if not is_beside(raw, a)]
    return tuple(a for a in answers if a not in named) if len(named) == 1 else ()


def is_beside(raw: RawTask, column: str) -> bool:
    """Whether a column of the sample is no answer by what it is called or holds."""
    assert raw.sample is not None
    cells = [c for c in raw.sample.cells[column] if c not in BLANK]
    return bool(WEIGHT_WORDS.search(column)) or bool(why_it_names_rows(column, cells, ()))


def place_of(column: str, short: str, classes: tuple[str, ...]) -> int:
    """The class a sample column asks for, -1 where the train rows lack it."""
    for name in (column, short):
        if name in classes:
            return classes.index(name)
    folded = [same_name(c) for c in classes]
    for name in (same_name(column), same_name(short)):
        if folded.count(name) == 1:
            return folded.index(name)
    return -1


def one_column_form(
    columns: tuple[str, ...],
    ids: tuple[str, ...],
    cells: list[str],
    whole_numbers: bool,
    labels: Labels,
    metric: Metric | None,
) -> tuple[Form, tuple[Note, ...]]:
    """The form of a sample with one column to fill."""
    wants = metric.wants if metric else ""
    if labels.kind == "ordinal" and not are_numbers(labels.classes) and cells and not are_numbers(cells):
        return Form(columns, ids, "label"), ()
    if labels.kind in ("regression", "ordinal"):
        return Form(columns, ids, "number", whole_numbers=whole_numbers), ()
    if labels.kind == "multilabel":
        return sets_form(columns, ids, cells, labels)
    if are_lists(cells):
        form, notes = sets_form(columns, ids, cells, labels)
        most = max(len(tokens_of(c, ",")) for c in cells)
        return replace(form, at_most=max(most, metric.k if metric else 0, 1)), notes
    separator, most = ranking_of(cells, labels.classes)
    if most > 1 or wants == "ranking":
        most = most if most > 1 else (metric.k if metric else 0)
        return Form(columns, ids, "labels", separator=separator, at_most=most), ()
    numbers = bool(cells) and are_numbers(cells)
    if labels.kind == "binary":
        flags = are_flags(labels.classes)
        if wants == "probability" or (numbers and flags) or (numbers and not set(plain(cells)) <= set(labels.classes)):
            return Form(columns, ids, "number", whole_numbers=whole_numbers), ()
        return Form(columns, ids, "label"), ()
    unknown = sorted(set(plain(cells)) - set(labels.classes))
    text = f"the sample holds {unknown[0]!r}, which is no class of the train rows" if unknown else ""
    return Form(columns, ids, "label"), (Note("classes", text, unknown[0]),) if unknown else ()


def sets_form(
    columns: tuple[str, ...], ids: tuple[str, ...], cells: Sequence[str], labels: Labels
) -> tuple[Form, tuple[Note, ...]]:
    """The form of a sample with several names in a cell."""
    if are_lists(cells):
        most = max(cells, key=len)
        quote = next((c for c in most[1:-1] if c in "'\""), "")
        spaced = re.search(rf"{quote}(,?\s*){quote}", most[2:-2]) if quote else re.search(r",\s*", most)
        separator = (spaced[0].strip(quote) if quote else spaced[0]) if spaced else ", "
        return Form(columns, ids, "labels", separator=separator, brackets=(most[0], most[-1], quote)), ()
    known = {same_name(c) for c in labels.classes}
    for separator in SEPARATORS:
        split = [tokens_of(c, separator) for c in set(cells) if separator in c and same_name(c) not in known]
        if any(len(names) > 1 and all(same_name(n) in known for n in names) for names in split):
            return Form(columns, ids, "labels", separator=separator), ()
    separator = labels.separator or next((s for s in "|;" if any(s in c for c in cells)), "")
    if separator:
        return Form(columns, ids, "labels", separator=separator), ()
    separator = next((s for s in (" ", ",", "|") if not any(s in c for c in labels.classes)), "|")
    text = f"the sample shows no two names in a cell: they are joined by {separator!r}"
    return Form(columns, ids, "labels", separator=separator), (Note("form", text, columns[1], "guessed"),)


def ranking_of(cells: list[str], classes: tuple[str, ...]) -> tuple[str, int]:
    """The separator and the most names in a cell of the sample, where train rows have one name each."""
    known = set(classes)
    for separator in (" ", ",", ";", "|"):
        split = [tokens_of(c, separator) for c in set(cells) if c not in known]
        named = [len(t) for t in split if len(t) > 1 and sum(1 for x in t if x in known) * 2 >= len(t)]
        if named:
            return separator, max(named)
    return " ", 1


def own_form(raw: RawTask, labels: Labels, metric: Metric | None) -> Form:
    """A form for a competition without a sample: the id and what the metric wants."""
    wants = metric.wants if metric else ""
    name = next(iter(raw.labels)) if len(raw.labels) == 1 else "label"
    ids = tuple(raw.test_ids)
    if labels.kind == "ordinal" and not are_numbers(labels.classes):
        return Form((raw.id_name, name), ids, "label")
    if labels.kind in ("regression", "ordinal"):
        return Form((raw.id_name, name), ids, "number", whole_numbers=labels.kind == "ordinal")
    if wants == "probability" and labels.kind == "binary":
        return Form((raw.id_name, name), ids, "number")
    if wants == "probability":
        return Form((raw.id_name, *labels.classes), ids, "columns", column_of=tuple(range(len(labels.classes))))
    if labels.kind == "multilabel":
        return Form((raw.id_name, name), ids, "labels", separator=labels.separator or " ")
    if wants == "ranking":
        return Form((raw.id_name, name), ids, "labels", at_most=metric.k if metric else 0)
    return Form((raw.id_name, name), ids, "label")
