"""A label column: which of its cells are blank, which spellings are one name, which cells are sets of names."""

from collections import Counter
from collections.abc import Sequence

from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.values import ABSENT, BLANK, are_lists, are_numbers, same_name, separator_of, tokens_of
from autoclimb.types import Metric, Note

RARE = 0.2  # rows with a spelling in rows with the usual one, up to which it is taken for a slip


def tokens_of_sample(raw: RawTask) -> list[str]:
    """The words that the sample's cells and its columns to be filled show."""
    cells = {c for a in raw.answers for c in raw.sample.cells[a]} - {""} if raw.sample else set()
    cells = cells if cells - (BLANK - {"null"}) else set()  # nan in every cell is no word
    return [*raw.answers, *cells, *(t for c in cells for s in ("|", ",", ";", " ") for t in tokens_of(c, s))]


def blanks_of(name: str, column: Sequence[str], raw: RawTask, numeric: bool) -> tuple[set[str], list[Note]]:
    """The cells of a label column that stand for no label, and a note where a word could be either.

    Among numbers NA, none and the like are blank. Among words nothing is but an empty cell and what programs write for
    one (nan, null), and that only where no evidence makes it a class: the sample shows it or, for `null`, empty cells
    are there besides, or it is about as frequent as other labels are. The name of a folder or file is never blank.
    """
    if raw.literal:
        return set(), []
    counts = Counter(column)
    numbers = are_numbers(set(counts) - ABSENT) and bool(set(counts) - ABSENT)
    if numeric or numbers:
        return set(ABSENT), []
    shown = set(tokens_of_sample(raw))
    classes = sorted(n for word, n in counts.items() if word not in BLANK)
    usual = classes[len(classes) // 2] if classes else 0
    blank, notes = {""}, []
    for word in sorted((BLANK & set(counts)) - {""}):
        null = word.lower() == "null"
        if word in shown or (null and counts[""]):
            continue
        if null and counts[word] >= usual / 2:
            text = (
                f"{word!r} is taken for a class, as {counts[word]} rows have it; empty the cells if it means no label"
            )
            notes.append(Note("blank", text, name, "guessed"))
            continue
        blank.add(word)
    return blank, notes


def one_spelling(name: str, cells: list[str], raw: RawTask) -> tuple[list[str], list[Note]]:
    """The cells with rare spellings of a name as the usual one: `Cat` in one row where forty have `cat`; and a note.

    Names that differ in case alone are taken for one, which asks where both are frequent; not where case tells letters
    apart (`a` and `A`, LaTeX's `\\delta` and `\\Delta`). Names of one or two letters stay apart, and so does what the
    sample shows.
    """
    counts = Counter(cells)
    usual: dict[str, str] = {}
    for word, _ in counts.most_common():
        usual.setdefault(same_name(word), word)
    shown = set(tokens_of_sample(raw))
    cased = any(len(word) == 1 and word != word.lower() in counts for word in counts)
    rare: dict[str, str] = {}
    ask = ""
    for word, n in counts.items():
        to = usual[same_name(word)]
        by_case = word.casefold() == to.casefold()
        if word == to or len(word) <= 2 or word in shown or (by_case and (cased or word.startswith("\\"))):
            continue
        slip = n <= RARE * counts[to]
        if slip or by_case:
            rare[word] = to
        if by_case and not slip:
            ask = "write them alike, or give them different names if they are different classes"
    if not rare:
        return cells, []
    some = ", ".join(f"{word!r} as {to!r}" for word, to in list(rare.items())[:3])
    text = f"{len(rare)} other spellings of {name!r} are read as the usual ones: {some}"
    return [rare.get(c, c) for c in cells], [Note("classes", text, name, "guessed", ask)]


def set_separator(cells: Sequence[str], raw: RawTask, metric: Metric | None) -> str:
    """The separator of label cells that are sets, "" where each holds one name.

    The family of layouts, the sample's columns, the metric, the sample's cells and the cells themselves say so, in
    this order.
    """
    if raw.literal:
        return ""
    if raw.joined:
        return "|"
    by_columns = separator_by_columns(cells, raw.answers)
    if by_columns:
        return by_columns
    one_label = metric is not None and "multilabel" not in metric.kinds
    of_sets_alone = metric is not None and (metric.kinds == ("multilabel",) or metric.average == "samples")
    if are_lists(cells) and any(len(tokens_of(c, ",")) > 1 for c in set(cells)):
        return ","
    shown = [c for a in raw.answers for c in set(raw.sample.cells[a])] if raw.sample and len(raw.answers) == 1 else []
    leaning = metric is not None and metric.beta not in (0, 1) and metric.average in ("", "samples")
    return separator_of(cells, one_label, of_sets_alone, shown, leaning)


def doubt_of_names(name: str, cells: Sequence[str], metric: Metric | None) -> list[Note]:
    """A note where cells that are taken for names are made of few words that recur, as sets of labels are."""
    separator = separator_of(cells, leaning=True)
    if not separator or (metric is not None and "multilabel" not in metric.kinds):
        return []
    pieces = {t for c in set(cells) for t in tokens_of(c, separator)}
    text = f"the cells of {name!r} are read as {len(set(cells))} names, though they are made of {len(pieces)} words"
    ask = "--metric f1-samples if they are sets of labels, --metric accuracy if they are names"
    return [Note("cells", text, name, "guessed", ask="" if metric is not None else ask)]


def separator_by_columns(cells: Sequence[str], answers: Sequence[str]) -> str:
    """The separator whose tokens are the sample's columns, "" where cells are such columns as they are."""
    asked = set(answers)
    if len(asked) < 2 or set(cells) <= asked:
        return ""
    for separator in ("|", ";", ",", " "):
        if {t for c in set(cells) for t in tokens_of(c, separator)} <= asked:
            return separator
    return ""
