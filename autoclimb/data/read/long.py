"""Tables with a row for every item and class -> the same with a row an item and a column a class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autoclimb.data.files.table import Table
from autoclimb.data.read.values import BLANK, are_numbers

SIGNS = "_-/. :|,;"  # between an item's id and a class
MOST_CLASSES = 1000
PROBED = 50  # items that must name pictures


@dataclass(frozen=True)
class Unfolded(Table):
    """A table made wide, and the rows of its file: the id written there, and which item and class it is about."""

    row_ids: tuple[str, ...] = field(default=(), repr=False)
    row_items: tuple[str, ...] = field(default=(), repr=False)
    row_classes: tuple[str, ...] = field(default=(), repr=False)
    file_columns: tuple[str, ...] = ()
    value: str = ""  # the column of the file to be filled
    class_column: str = ""  # the column that names the class, "" where ids do


def unfolded(table: Table, names_pictures: Callable[[Sequence[str]], bool]) -> Table:
    """The table with a column a class where it has a row for every item and every class; otherwise as it is.

    Rows name their class in a column (id, class, probability) or in the id (b_000_red, red_b_000). Every item must have
    the same classes, once each, and be the name of pictures, which ids with a class in them are not.
    """
    if table.sources or table.rows < 4 or len(table.columns) not in (2, 3):
        return table
    if len(table.columns) == 3:
        return by_column(table, names_pictures) or table
    first, second = table.columns
    ids = table.cells[first]
    if len(set(ids)) < len(ids) or not are_numbers(table.cells[second]) or names_pictures(ids[:PROBED]):
        return table
    for cut in (cut_behind, cut_before):
        pairs = cut(ids, names_pictures)
        if pairs:
            return widened(table, first, second, "", pairs)
    return table


def by_column(table: Table, names_pictures: Callable[[Sequence[str]], bool]) -> Unfolded | None:
    """The table made wide where one of its columns names items, another classes, and the third is numbers."""
    for item in table.columns:
        items = table.cells[item]
        if len(set(items)) * 2 > len(items) or not names_pictures(list(dict.fromkeys(items))[:PROBED]):
            continue
        for named in table.columns:
            (value,) = (c for c in table.columns if c not in (item, named)) if named != item else ("",)
            pairs = list(zip(items, table.cells[named], strict=True)) if named != item else []
            if pairs and is_complete(pairs) and are_numbers(table.cells[value]) and not are_numbers(table.cells[named]):
                return widened(table, item, value, named, pairs)
    return None


def cut_behind(ids: Sequence[str], names_pictures: Callable[[Sequence[str]], bool]) -> list[tuple[str, str]]:
    """Items and classes of ids such as b_000_red, [] where ids are not of this kind."""
    first = ids[0]
    for place in reversed([k for k, sign in enumerate(first) if sign in SIGNS and 0 < k < len(first) - 1]):
        begin = first[: place + 1]
        classes = [i[place + 1 :] for i in ids if i.startswith(begin)]
        if not 1 < len(classes) <= MOST_CLASSES or len(ids) % len(classes):
            continue
        endings = sorted((first[place] + c for c in classes), key=len, reverse=True)
        pairs = [(i[: -len(e)], e[1:]) for i in ids for e in [next((e for e in endings if i.endswith(e)), "")] if e]
        if len(pairs) == len(ids) and is_complete(pairs) and names_pictures([item for item, _ in pairs[:PROBED]]):
            return pairs
    return []


def cut_before(ids: Sequence[str], names_pictures: Callable[[Sequence[str]], bool]) -> list[tuple[str, str]]:
    """Items and classes of ids such as red_b_000, [] where ids are not of this kind."""
    first = ids[0]
    for place in [k for k, sign in enumerate(first) if sign in SIGNS and 0 < k < len(first) - 1]:
        end = first[place:]
        classes = [i[: -len(end)] for i in ids if i.endswith(end)]
        if not 1 < len(classes) <= MOST_CLASSES or len(ids) % len(classes):
            continue
        begins = sorted((c + first[place] for c in classes), key=len, reverse=True)
        pairs = [(i[len(b) :], b[:-1]) for i in ids for b in [next((b for b in begins if i.startswith(b)), "")] if b]
        if len(pairs) == len(ids) and is_complete(pairs) and names_pictures([item for item, _ in pairs[:PROBED]]):
            return pairs
    return []


def is_complete(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether every item has every class once, and there are two of each or more."""
    items, classes = {item for item, _ in pairs}, {name for _, name in pairs}
    if not 1 < len(classes) <= MOST_CLASSES or len(items) < 2 or classes & BLANK:
        return False
    return len(items) * len(classes) == len(pairs) == len(set(pairs))


def widened(table: Table, item: str, value: str, named: str, pairs: Sequence[tuple[str, str]]) -> Unfolded:
    """The table with a row an item and a column a class, in the order in which they come."""
    cell_of = dict(zip(pairs, table.cells[value], strict=True))
    items = list(dict.fromkeys(i for i, _ in pairs))
    classes = list(dict.fromkeys(c for _, c in pairs))
    cells = {item: items, **{c: [cell_of[i, c] for i in items] for c in classes}}
    return Unfolded(
        table.name,
        cells,
        separator=table.separator,
        headless=table.headless,
        row_ids=tuple(table.cells[item]),
        row_items=tuple(i for i, _ in pairs),
        row_classes=tuple(c for _, c in pairs),
        file_columns=tuple(table.columns),
        value=value,
        class_column=named,
    )
