"""Which columns of a train table hold the target: what the sample submission asks for and the table has."""

import re
from collections import Counter

from autoclimb.data.files.table import Table
from autoclimb.data.read.raw import Overrides
from autoclimb.data.read.values import BLANK, are_flags, are_numbers, tokens_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

LABEL_WORDS = re.compile(
    r"^(labels?|targets?|class(es|_?name|_?id)?|category(_?id)?|tags?|y|diagnosis|species|breed|label_?(name|id)s?)$"
)
GROUP_WORDS = re.compile(
    r"(^|[_ ])(patient|subject|person|clip|video|sequence|location|site|group|series|plate|experiment|session|slide|"
    r"camera|case|study|user|farm|field|scene|plot|track|seq|donor|specimen|recording|burst|batch)s?"
    r"([_ ]?(id|no|nr|num|number|name|code|uid))?$",
    re.IGNORECASE,
)


def find_targets(
    train: Table, id_name: str, sample: Table | None, sample_id: str, known: tuple[str, ...], asked_for: Overrides
) -> tuple[list[str], list[Note]]:
    """The train columns that hold the target, and notes on how they were found.

    `known` are the columns that test rows have too: no target is among them. Raises Mistake where no column or
    several unrelated ones could be meant.
    """
    columns = [c for c in train.columns if c != id_name]
    if asked_for.target:
        absent = [c for c in asked_for.target if c not in columns]
        if absent:
            raise Mistake(f"{train.name} has no column {absent[0]!r}; it has {shortened(columns)}")
        return list(asked_for.target), []
    asked = [c for c in sample.columns if c != sample_id] if sample else []
    by_lower = {c.lower(): c for c in columns}
    have = [by_lower.get(c.lower(), "") if c not in columns else c for c in asked]
    if asked and all(have):
        return have, []
    if sum(map(bool, have)) > 1:
        lacking = [c for c, there in zip(asked, have, strict=True) if not there]
        return [c for c in have if c], [
            Note("classes", f"the sample asks for {shortened(lacking)} too, which {train.name} lacks", train.name)
        ]
    if len(asked) > 1:
        fitting = [c for c in columns if names_columns(train.cells[c], asked)]
        if not fitting:
            raise Mistake(
                f"the sample asks for {shortened(asked, 5)}; {train.name} has no such columns and no column with such "
                f"values, only {shortened(columns)}; name it with --target"
            )
        return fitting[:1], [
            Note("target", f"the sample's columns are the values of {fitting[0]!r}", fitting[0], "likely")
        ]
    free = [c for c in columns if c not in known]
    if sample and asked:
        flags = [c for c in free if are_flags(train.cells[c])]
        words = {t for cell in sample.cells[asked[0]] for t in tokens_of(cell, " ")}
        if len(flags) > 1 and words and words <= set(flags):
            text = f"the sets asked for in {asked[0]!r} are made of the columns {', '.join(flags[:4])} ..."
            return flags, [Note("target", text, sure="likely")]
        holding = [c for c in free if holds(train.cells[c], words)]
        if len(holding) == 1:
            text = f"the sample's column {asked[0]!r} holds values of {holding[0]!r} of {train.name}"
            return holding, [Note("target", text, holding[0], "likely")]
    explained = [c for c in free if not GROUP_WORDS.search(c) and c != asked_for.group and varies(train.cells[c])]
    named = [c for c in explained if LABEL_WORDS.match(c.lower())]
    if len(explained) != 1 and len(named) == 1:
        explained = named
    if len(explained) == 1:
        if asked:
            text = f"the sample's column {asked[0]!r} is taken to be {explained[0]!r} of {train.name}"
            return explained, [Note("target", text, explained[0], "guessed")]
        return explained, []
    if len(explained) > 1 and not asked and all(are_flags(train.cells[c]) for c in explained):
        return explained, []
    if not explained and len(free) == 1:
        return free, []
    raise Mistake(
        f"several columns of {train.name} could be the target: {shortened(explained or free)}; name it with --target"
        if explained or free
        else f"{train.name} has no column that could be the target, only {shortened(train.columns)}"
    )


def holds(cells: list[str], words: set[str]) -> bool:
    """Whether a column's values, or the names in its cells, include these words; numbers prove nothing."""
    if not words or are_numbers(words):
        return False
    return words <= set(cells) or words <= {t for c in set(cells) for s in (" ", "|", ",") for t in tokens_of(c, s)}


def varies(cells: list[str]) -> bool:
    """Whether a column may be a target: it has two values or more, and is no text of its own in nearly every row."""
    distinct = set(cells) - BLANK
    return len(distinct) > 1 and (are_numbers(distinct) or len(distinct) <= max(0.9 * len(cells), 2))


def shortened(names: list[str], most: int = 12) -> str:
    """The names with commas, the first ones of very many."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} columns)" if len(names) > most else "")


def names_columns(cells: list[str], asked: list[str]) -> bool:
    """Whether the values of a column, or the tokens of its cells, are names of the asked columns."""
    seen = Counter(cells)
    if not seen:
        return False
    endings = set(asked) | {ending(a, asked) for a in asked}
    if sum(1 for v in seen if v in endings) > len(seen) / 2:
        return True
    for separator in ("|", ",", ";", " "):
        words = {t for v in seen for t in tokens_of(v, separator)}
        if words and sum(1 for w in words if w in endings) > len(words) / 2:
            return True
    return False


def ending(column: str, asked: list[str]) -> str:
    """The column's name without what all asked columns begin with: label_3 -> 3."""
    shared = 0
    while len(asked) > 1 and all(len(a) > shared + 1 and a[shared] == asked[0][shared] for a in asked):
        shared += 1
    while shared and asked[0][shared - 1].isalnum() and not asked[0][:shared].isalpha():
        shared -= 1
    return column[shared:]
