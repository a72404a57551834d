"""Which columns of a train table hold the target: what the sample submission asks for and the table has."""

import re
from collections import Counter
from collections.abc import Sequence

from autoclimb.data.files.table import Table
from autoclimb.data.read.identifiers import why_it_names_rows
from autoclimb.data.read.items import Listed
from autoclimb.data.read.raw import Overrides
from autoclimb.data.read.values import ABSENT, BLANK, are_marks, are_numbers, are_whole, flags_of, same_name, tokens_of
from autoclimb.errors import Mistake
from autoclimb.types import Note

LABEL_WORDS = re.compile(
    r"^(labels?|targets?|class(es|_?name|_?id)?|category(_?id)?|tags?|y|diagnosis|species|breed|label_?(name|id)s?)$"
)
RARER_LABEL_WORDS = re.compile(
    r"^(choices?|annotations?|outcome|severity|grade|level|dx|disease|consensus|majority([_ ]vote)?|"
    r"(final|gold)[_ ]label|ground[_ ]?truth|gt|truth|answer|finding labels)$"
)
GROUP_WORDS = re.compile(
    r"(^|[_ ])(patient|subject|person|clip|video|sequence|location|site|group|series|plate|experiment|session|slide|"
    r"camera|case|study|user|farm|field|scene|plot|track|seq|donor|specimen|recording|burst|batch)s?"
    r"([_ ]?(id|no|nr|num|number|name|code|uid))?$",
    re.IGNORECASE,
)
WEIGHT_WORDS = re.compile(r"confidence|probability|score$|certainty", re.IGNORECASE)  # how sure a label is
NAMES_OF_COCO = "category_name"  # beside category_id; a sample of numbers asks for the latter
REGIONS = re.compile(  # boxes and masks in a cell
    r"^(bbox(es)?|boxes|prediction_?string|encoded_?pixels|rles?|masks?|segmentations?|polygons?)$", re.IGNORECASE
)
CORNER = re.compile(r"^([xy]_?(min|max|1|2|cent(er|re))|(cent(er|re)_?)?[xy]|w|h|width|height)$", re.IGNORECASE)
CORNERS = 3  # columns of a sample that are called as sides of a box are, from which it asks for boxes
FEWEST_FLAGS = 3  # columns of flags at the end of a table that are its labels
NO_TARGET = re.compile(  # parts of the data, annotators, geometry
    r"^(is_?)?(train|valid|validation|val|test)$|^(split|k?fold|subset|partition|usage|annotator|labell?er|rater)(_?id)?$"
    r"|^(image|original_?(image)?|img)?_?(width|height|size|channels|area)(\[.*|_?(px|pixels))?$|^[xywh](_?(min|max|1|2))?$"
    r"|^bbox|pixel_?spacing",
    re.IGNORECASE,
)


def find_targets(
    listed: Listed, sample: Listed | None, known: tuple[str, ...], asked_for: Overrides
) -> tuple[list[str], list[Note]]:
    """The train columns that hold the target, and notes on how they were found.

    `known` are the columns that test rows have too: no target is among them. Raises Mistake where no column or
    several unrelated ones could be meant.
    """
    train, columns = listed.table, listed.others
    if asked_for.target:
        by_name = {same_name(c): c for c in columns}
        named = [c if c in columns else by_name.get(same_name(c), "") for c in asked_for.target]
        if not all(named):
            absent = asked_for.target[named.index("")]
            raise Mistake(f"{train.name} has no column {absent!r}; it has {shortened(columns)}")
        return named, []
    asked = sample.others if sample else []
    regions = [c for c in asked if REGIONS.match(c) and not repeats(train, c)]
    boxes = regions or [c for c in asked if CORNER.match(c)]
    if max(CORNERS, len(asked) / 2) <= len(boxes) or (regions and len(asked) == 1):
        raise Mistake(
            f"the sample asks for {shortened(boxes, 4)}: boxes or masks are not learned; to learn a label of "
            f"{train.name} all the same, name one of {shortened(columns, 6)} with --target"
        )
    if sample and len(asked) > 1:  # a row number or a confidence beside the answer
        asked = [c for c in asked if not WEIGHT_WORDS.search(c) and not names_rows(c, sample.table)] or asked
    by_name = {same_name(c): c for c in columns}
    have = [by_name.get(same_name(c), "") if c not in columns else c for c in asked]
    if asked and all(have):
        return have, []
    if len(asked) > 1:
        return by_asked_columns(train, columns, sample.table if sample else None, asked, have)
    free = [c for c in columns if c not in known]
    if sample and asked:
        by_cells = by_asked_cells(train, free, asked[0], sample.table.cells[asked[0]])
        if by_cells:
            return by_cells
    return by_elimination(train, free, asked, asked_for)


def by_asked_columns(
    train: Table, columns: list[str], sample: Table | None, asked: list[str], have: list[str]
) -> tuple[list[str], list[Note]]:
    """The target where the sample has several columns: columns called so, or one whose values they are.

    `have` is the train column of each asked one, "" for none.
    """
    lacking = [c for c, there in zip(asked, have, strict=True) if not there]
    if sum(map(bool, have)) > 1:
        text = f"the sample asks for {shortened(lacking)} too, which {train.name} lacks"
        return [c for c in have if c], [Note("classes", text, train.name)]
    fitting = [c for c in columns if names_columns(train.cells[c], asked)]
    if fitting:
        text = f"the sample's columns are the values of {fitting[0]!r}"
        return fitting[:1], [Note("target", text, fitting[0], "likely")]
    if any(have):
        column = next(c for c in have if c)
        text = f"the sample asks for {shortened(lacking)} beside {column!r}, which is the target"
        return [column], [Note("target", text, column, "likely")]
    counted = [c for c in columns if len(set(train.cells[c]) - BLANK) == len(asked) and not names_rows(c, train)]
    numbers = sample is not None and all(are_numbers(sample.cells[a]) for a in asked)
    if len(counted) == 1 and numbers and are_whole(core_of(a, asked) for a in asked):
        text = f"the sample's numbered columns are taken to be the values of {counted[0]!r}"
        return counted, [Note("target", text, counted[0], "guessed")]
    raise Mistake(
        f"the sample asks for {shortened(asked, 5)}; {train.name} has no such columns and no column with such "
        f"values, only {shortened(columns)}; name it with --target"
    )


def by_asked_cells(
    train: Table, free: list[str], asked: str, cells: Sequence[str]
) -> tuple[list[str], list[Note]] | None:
    """The target by what the cells of the sample's one column hold, None where they do not tell."""
    shown = set(cells) - BLANK
    flags = [c for c in free if are_marks(train.cells[c])]
    pieces = {t for cell in shown for t in tokens_of(cell, " ")}
    if len(flags) > 1 and pieces and pieces <= set(flags):
        text = f"the sets asked for in {asked!r} are made of the columns {', '.join(flags[:4])} ..."
        return flags, [Note("target", text, sure="likely")]
    holding = without_codes(train, [c for c in free if holds(train.cells[c], shown)])
    if len(holding) != 1:
        return None
    text = f"the sample's column {asked!r} holds values of {holding[0]!r} of {train.name}"
    return holding, [Note("target", text, holding[0], "likely")]


def by_elimination(
    train: Table, free: list[str], asked: list[str], asked_for: Overrides
) -> tuple[list[str], list[Note]]:
    """The target as the one column that may be it: by its values first, then by its name."""
    explained = [c for c in free if not GROUP_WORDS.search(c) and c != asked_for.group and varies(train.cells[c])]
    if len(explained) > 1 and all(are_marks(train.cells[c]) for c in explained):
        text = f"the sample's column {asked[0]!r} is filled from the columns {shortened(explained, 4)}" if asked else ""
        return explained, [Note("target", text, asked[0], "likely")] if asked else []
    chosen, notes = explained, []
    for words in (LABEL_WORDS, RARER_LABEL_WORDS):
        named = [c for c in chosen if words.match(c.lower()) or (not asked and c.lower() == NAMES_OF_COCO)]
        if len(chosen) > 1 and named:
            chosen = named if len(without_codes(train, named)) == 1 else chosen
            break
    if len(without_codes(train, chosen)) < len(chosen):
        first = without_codes(train, chosen)[0]
        text = f"{' and '.join(repr(c) for c in chosen)} say the same; {first!r} is the target"
        chosen, notes = [first], [Note("target", text, first, "likely")]
    if len(chosen) > 1:
        one_hot = [c for c in chosen if are_marks(train.cells[c])] if not asked else []
        likely = [c for c in chosen if not NO_TARGET.search(c) and not WEIGHT_WORDS.search(c)]
        likely = [c for c in likely if not names_rows(c, train)]
        if len(one_hot) > 1 and one_each(train, one_hot):
            text = f"every row of {train.name} has one of the columns {shortened(one_hot, 4)}: they are the target"
            return one_hot, [Note("target", text, one_hot[0], "likely")]
        tail = flags_at_the_end(train, chosen)
        if not asked and len(tail) >= FEWEST_FLAGS:
            text = f"the target is taken to be the flags at the end of {train.name}: {shortened(tail, 4)}"
            ask = f"write --target {','.join(tail[:2])},... if it is others"
            return tail, [*notes, Note("target", text, tail[0], "guessed", ask)]
        if len(likely) == 1:
            rest = ", ".join(repr(c) for c in chosen if c != likely[0])
            text = f"the target is taken to be {likely[0]!r}, as {rest} are no labels; name another with --target"
            return likely, [*notes, Note("target", text, likely[0], "guessed")]
    if len(chosen) == 1:
        if asked:
            text = f"the sample's column {asked[0]!r} is taken to be {chosen[0]!r} of {train.name}"
            notes.append(Note("target", text, chosen[0], "guessed"))
        return chosen, notes
    if not explained and len(free) == 1:
        return free, []
    raise Mistake(
        f"several columns of {train.name} could be the target: {shortened(chosen or free)}; name it with --target"
        if chosen or free
        else f"{train.name} has no column that could be the target, only {shortened(train.columns)}"
    )


def repeats(train: Table, column: str) -> bool:
    """Whether the cells of a column are few different ones, as labels are: `mask` says whether a face has one."""
    cells = [c for c in train.cells.get(column, ()) if c not in BLANK]
    return len(set(cells)) < len(cells) / 2


def flags_at_the_end(train: Table, columns: list[str]) -> list[str]:
    """The columns of flags that a table ends with, [] where its last column is none."""
    tail: list[str] = []
    for column in reversed(columns if columns[-1] == train.columns[-1] else []):
        if not are_marks(train.cells[column]):
            break
        tail.insert(0, column)
    return tail


def names_rows(column: str, table: Table) -> bool:
    """Whether a column only names its rows."""
    return bool(why_it_names_rows(column, [c for c in table.cells[column] if c not in ABSENT], ()))


def without_codes(train: Table, columns: list[str]) -> list[str]:
    """The one of several columns that say the same, words rather than their codes; all where they differ."""
    if len(columns) < 2:
        return columns
    first = train.cells[columns[0]]
    for column in columns[1:]:
        pairs = set(zip(first, train.cells[column], strict=True))
        if not len(pairs) == len(set(first)) == len(set(train.cells[column])):
            return columns
    words = [c for c in columns if not are_numbers(train.cells[c])]
    return (words or columns)[:1]


def one_each(train: Table, columns: list[str]) -> bool:
    """Whether nearly every row has a 1 in exactly one of these columns of flags."""
    flags = [flags_of(train.cells[c]) or [] for c in columns]
    ones = sum(1 for row in zip(*flags, strict=True) if row.count("1") == 1)
    return ones >= 0.99 * train.rows


def holds(cells: Sequence[str], shown: set[str]) -> bool:
    """Whether a column's values, or the names in its cells, include what is shown; numbers prove nothing."""
    if not shown or are_numbers(shown):
        return False
    values = {same_name(c) for c in set(cells)}
    if {same_name(c) for c in shown} <= values:
        return True
    pieces = {t for cell in shown for t in tokens_of(cell, " ")}
    if are_numbers(pieces):
        return False
    return pieces <= set(cells) or any(
        {t for cell in shown for t in tokens_of(cell, s)} <= {t for c in set(cells) for t in tokens_of(c, s)}
        for s in (" ", "|", ",", ";")
    )


def varies(cells: list[str]) -> bool:
    """Whether a column may be a target: it has two values or more, and is no text of its own in nearly every row."""
    distinct = set(cells) - BLANK
    if len(distinct) == 1:  # a mark where something is there
        return bool(BLANK & set(cells)) and are_marks(cells)
    return len(distinct) > 1 and (are_numbers(distinct) or len(distinct) <= max(0.9 * len(cells), 2))


def shortened(names: list[str], most: int = 12) -> str:
    """The names with commas, the first ones of very many."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} columns)" if len(names) > most else "")


def names_columns(cells: list[str], asked: list[str]) -> bool:
    """Whether the values of a column, or the tokens of its cells, are names of the asked columns."""
    seen = {same_name(c) for c in set(cells) - BLANK}
    if not seen:
        return False
    names = {same_name(name) for a in asked for name in (a, core_of(a, asked))}
    if sum(1 for v in seen if v in names) > len(seen) / 2:
        return True
    for separator in ("|", ",", ";", " "):
        pieces = Counter(same_name(t) for c in set(cells) for t in tokens_of(c, separator))
        if pieces and sum(1 for piece in pieces if piece in names) > len(pieces) / 2:
            return True
    return False


def core_of(column: str, asked: Sequence[str]) -> str:
    """The column's name without what all asked columns begin or end with: label_3 -> 3, red_prob -> red."""
    if len(asked) < 2:
        return column
    begin = 0
    while all(len(a) > begin + 1 and a[begin] == asked[0][begin] for a in asked):
        begin += 1
    while begin and asked[0][begin - 1].isalnum() and not asked[0][:begin].isalpha():
        begin -= 1
    rest = [a[begin:] for a in asked]
    end = 0
    while all(len(a) > end + 1 and a[-1 - end] == rest[0][-1 - end] for a in rest):
        end += 1
    while end and rest[0][-end].isalnum():  # cat, bat and rat end alike, but not in a word of its own
        end -= 1
    return column[begin : len(column) - end]
