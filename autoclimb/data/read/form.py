"""The sample submission's cells and the labels -> the form of the submission."""

from autoclimb.data.read.labels import Labels, described, sum_to_one
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.targets import core_of
from autoclimb.data.read.values import BLANK, are_flags, are_numbers, are_whole, plain, tokens_of
from autoclimb.errors import Mistake
from autoclimb.types import Form, Metric, Note


def read_form(raw: RawTask, labels: Labels, metric: Metric | None) -> tuple[Form, tuple[Note, ...]]:
    """The submission's form, from the sample or, without one, of our own, and notes."""
    if raw.sample is None:
        form = own_form(raw, labels, metric)
        text = f"no sample submission: the answer is written as {','.join(form.columns[:4])}"
        return form, (Note("form", text, sure="guessed"),) if raw.test_ids else ()
    columns = (raw.sample_id, *raw.answers)
    ids = tuple(raw.sample.cells[raw.sample_id])
    cells = [c for a in raw.answers for c in raw.sample.cells[a] if c not in BLANK]
    whole = bool(cells) and are_whole(cells)
    if len(raw.answers) > 1:
        short = [core_of(a, raw.answers) for a in raw.answers]
        column_of = tuple(place_of(a, s, labels.classes) for a, s in zip(raw.answers, short, strict=True))
        if all(c < 0 for c in column_of):
            raise Mistake(
                f"the sample asks for {', '.join(raw.answers[:4])}, but the labels are {described(labels)}; "
                f"name the target with --target"
            )
        one = labels.kind in ("binary", "multiclass") and (metric is None or metric.wants == "probability")
        sums = one and sum_to_one(raw)
        form = Form(columns, ids, "columns", column_of=column_of, whole_numbers=whole, sums_to_one=sums)
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
    if not raw.answers:
        raise Mistake(f"{raw.sample.name} has only the column {raw.sample_id!r}; nothing is asked for")
    return one_column_form(columns, ids, cells, whole, labels, metric)


def place_of(column: str, short: str, classes: tuple[str, ...]) -> int:
    """The class a sample column asks for, -1 where the train rows lack it."""
    for name in (column, short):
        if name in classes:
            return classes.index(name)
    lower = [c.lower() for c in classes]
    return lower.index(column.lower()) if lower.count(column.lower()) == 1 else -1


def one_column_form(
    columns: tuple[str, ...], ids: tuple[str, ...], cells: list[str], whole: bool, labels: Labels, metric: Metric | None
) -> tuple[Form, tuple[Note, ...]]:
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
    text = f"the sample holds {unknown[0]!r}, which is no class of the train rows" if unknown else ""
    return Form(columns, ids, "label"), (Note("classes", text, unknown[0]),) if unknown else ()


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
