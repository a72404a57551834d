"""Class names as the sample submission shows them: by number where train rows have words, or the other way round."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from autoclimb.data.files.table import Table
from autoclimb.data.read.class_lists import names_of_numbers, numbers_of_classes
from autoclimb.data.read.labels import Labels
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.targets import core_of
from autoclimb.data.read.values import BLANK, are_flags, are_numbers, are_whole, number_of, plain
from autoclimb.types import Metric, Note

LARGEST_MAP = 100_000  # rows of a table that may say which number stands for which name
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.capitalize,
    str.title,
    str.upper,
    str.lower,
    lambda name: name.replace("_", " "),
    lambda name: name.replace(" ", "_"),
    lambda name: name.replace("_", " ").title(),
    lambda name: name.lower().replace(" ", "_"),
)


def as_the_sample_shows(
    raw: RawTask, labels: Labels, survey: Survey, metric: Metric | None
) -> tuple[Labels, tuple[Note, ...]]:
    """The labels with their classes renamed where the sample has other names for them, and notes.

    A table that holds both names says which is which, or a file that lists the classes in order; where the sample has
    several numbers from 0 and train rows have words, numbers follow the alphabet, which is a guess. One number in
    every cell of the sample is a placeholder and proves nothing.
    """
    if raw.sample is None or not raw.answers or labels.kind not in ("multiclass", "binary"):
        return labels, ()
    one = len(raw.answers) == 1
    cells = raw.sample.cells[raw.answers[0]] if one else [core_of(a, raw.answers) for a in raw.answers]
    shown = set(plain([c for c in cells if c not in BLANK]))
    classes = set(labels.classes)
    if not shown or any(" " in c and c not in classes and are_numbers(c.split()) for c in shown) or shown & classes:
        return labels, ()
    spelled = next((s for s in SPELLINGS if shown <= {s(c) for c in classes}), None)
    if spelled and len({spelled(c) for c in classes}) == len(classes):
        text = f"classes are spelled as in the sample: {spelled(labels.classes[0])!r} for {labels.classes[0]!r}"
        return replace(labels, classes=tuple(map(spelled, labels.classes))), (Note("classes", text, sure="likely"),)
    if one and metric and metric.wants == "probability" and are_numbers(shown):
        return labels, ()
    name_of, table = by_table(classes, shown, [t for t in survey.tables if t is not raw.sample])
    if name_of:
        text = f"classes are written as {table} says"
        return replace(labels, classes=tuple(name_of[c] for c in labels.classes)), (
            Note("classes", text, table, "likely"),
        )
    return by_number(raw, labels, shown, survey, one)


def by_table(classes: Collection[str], shown: set[str], tables: Sequence[Table]) -> tuple[dict[str, str], str]:
    """What the sample calls each class by a table with both names, and what says so; ({}, "") where none does."""
    for table in tables:
        if table.sources or not 1 < table.rows <= LARGEST_MAP:
            continue
        for column, names in table.cells.items():
            if not set(classes) <= set(names):
                continue
            for other, values in table.cells.items():
                if other == column or not shown <= set(plain(values)):
                    continue
                pairs = {(n, v) for n, v in zip(names, plain(values), strict=True) if n in classes}
                if len(pairs) == len(classes) == len({v for _, v in pairs}):  # one to one
                    return dict(pairs), f"{table.name}, by {other!r} for {column!r},"
    return {}, ""


def by_number(
    raw: RawTask, labels: Labels, shown: set[str], survey: Survey, one: bool
) -> tuple[Labels, tuple[Note, ...]]:
    """The labels renamed where either they or the sample's names are numbers, by a list of the classes or guessed."""
    classes = labels.classes
    if are_numbers(classes) and not are_numbers(shown):
        named, file = names_of_numbers(survey.root, classes, shown)
        if named:
            text = f"classes are written as {file} names them: {classes[0]} {named[classes[0]]!r} ..."
            return replace(labels, classes=tuple(named[c] for c in classes)), (Note("classes", text, file, "likely"),)
        return labels, ()
    largest = max((number_of(c) or 0.0 for c in shown), default=0.0)
    if not are_whole(shown) or are_numbers(classes) or largest > len(classes):
        return labels, ()
    numbers, file = numbers_of_classes(survey.root, classes)
    from_one = "0" not in shown and largest == len(classes)
    if numbers and from_one and 0 in numbers.values():
        numbers = {c: n + 1 for c, n in numbers.items()}
    if numbers and labels.kind == "binary" and one and are_flags(list(shown)):
        return in_listed_order(labels, numbers, file)
    if numbers:
        first = min(classes, key=lambda c: numbers[c])
        text = f"classes are written as {file} counts them: {numbers[first]} {first!r} ..."
        return replace(labels, classes=tuple(str(numbers[c]) for c in classes)), (
            Note("classes", text, file, "likely"),
        )
    if labels.kind == "binary" and are_flags(list(shown)):
        return labels, ()
    if one and len(shown) == 1 and raw.sample is not None and raw.sample.rows > 1:
        text = f"every cell of the sample holds {next(iter(shown))}, which says nothing: classes are written by name"
        return labels, (Note("classes", text, sure="guessed"),)
    renamed = tuple(str(i + from_one) for i in range(len(classes)))
    few = ", ".join(f"{i + from_one} {c}" for i, c in enumerate(classes[:3]))
    text = "the sample asks for numbers; classes count "
    if len(raw.labels) > 1:
        note = Note("classes", f"{text}in the order of their columns: {few} ...", sure="likely")
    else:
        ask = "list the classes in their order in a classes.txt in the folder"
        note = Note("classes", f"{text}by the alphabet: {few} ...", sure="guessed", ask=ask)
    return replace(labels, classes=renamed), (note,)


def in_listed_order(labels: Labels, numbers: dict[str, int], file: str) -> tuple[Labels, tuple[Note, ...]]:
    """Two classes in the order of a list, the second the positive one."""
    ordered = sorted(labels.classes, key=lambda c: numbers[c])
    target = np.array([ordered.index(c) for c in labels.classes], np.int64)[labels.target]
    text = f"{ordered[1]!r} is the positive class, as {file} counts the classes"
    notes = tuple(n for n in labels.notes if n.kind != "positive")
    return replace(labels, classes=tuple(ordered), target=target, notes=notes), (Note("positive", text, ordered[1]),)
