"""Ids -> where their pixels are: by file name, by a column of paths, by folder, by what file names begin with, or by
several columns that make up the path."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autoclimb.data.files.formats import PICTURES, RANK
from autoclimb.data.files.npy import shapes_of, source_of_array
from autoclimb.data.files.table import Table
from autoclimb.data.read.several import arrange
from autoclimb.data.read.splits import side
from autoclimb.data.read.survey import Survey
from autoclimb.data.sources import pictures
from autoclimb.types import Note

ENOUGH = 0.5  # share of ids that a way of finding pictures must explain
AUXILIARY = re.compile(r"(^|[^a-z])(masks?|annotations?|segmentations?|labels?|thumbs?|thumbnails?)([^a-z]|$)")


@dataclass(frozen=True)
class Located:
    """Where the pixels of some ids are: a source each, "" for none."""

    files: list[str] = field(repr=False)
    channels: int = 3
    notes: tuple[Note, ...] = ()

    @property
    def share(self) -> float:
        """The share of ids that have a source."""
        return sum(1 for f in self.files if f) / max(1, len(self.files))


Way = Callable[[Sequence[str], Table | None, str, Survey, int], Located | None]


def locate(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located:
    """Where the pixels of ids are: the first of WAYS that explains more than half of them, else the one that
    explains most. `table` has a row an id in column `id_name`, None where ids come from elsewhere; `split` is 1 for
    train ids, -1 for test ids.
    """
    best = Located(["" for _ in ids])
    for way in WAYS:
        tried = way(ids, table, id_name, survey, split)
        if tried is not None and tried.share > best.share:
            best = tried
            if best.share > ENOUGH:
                break
    return best


def by_own_pixels(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """The table itself holds the pixels."""
    if table is None or not table.sources or len(ids) != table.rows:
        return None
    return Located(list(table.sources), table.channels)


def by_file(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are file names."""
    return of_rows(match(ids, survey, split), survey)


def of_rows(rows: Sequence[int], survey: Survey) -> Located:
    """The sources of pictures by their numbers, arrays opened up to their channels, with a note on other forms."""
    files = [survey.file(i) for i in rows]
    first = next((i for i in rows if i >= 0), -1)
    if first < 0:
        return Located(files)
    notes: list[Note] = []
    kind = extension(survey.pictures[first])
    stem = os.path.splitext(survey.pictures[first].rsplit("/", 1)[-1])[0].lower()
    others = {extension(survey.pictures[i]) for i in survey.by_stem.get(stem, []) if i != first} - {kind}
    if others:
        text = f"pictures are there as {', '.join(sorted(others))} too; the {kind} files are read"
        notes.append(Note("files", text, sure="likely"))
    if kind != ".npy":
        return Located(files, 3, tuple(notes))
    shape = next(iter(shapes_of(files[rows.index(first)]).values()), ())
    if not shape:
        return Located(files, 3, tuple(notes))
    count = source_of_array("", shape)[1]
    text = f"a picture is an array of {' x '.join(map(str, shape))}, read with {count} channels"
    notes.append(Note("channels", text, sure="likely"))
    return Located([source_of_array(f, shape)[0] if f else "" for f in files], count, tuple(notes))


def by_path_column(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Another column, of this table or of one that has these ids, names the pictures; rows of one id are one item."""
    asked_ids = set(ids)
    for other in [table] if table is not None else survey.tables:
        if other is None:
            continue
        key = id_name if other is table else column_of(other, asked_ids)
        if not key:
            continue
        if other.sources and other is not table:
            place = dict(zip(other.cells[key], other.sources, strict=True))
            return Located([place.get(i, "") for i in ids], other.channels)
        paths = path_column(other, survey, key)
        if not paths:
            continue
        rows = match(other.cells[paths], survey, split)
        located = of_rows(rows, survey)
        if other is table:
            note = Note("match", f"pictures are named by column {paths!r}", paths, "likely")
            return Located(located.files, located.channels, (*located.notes, note))
        held: dict[str, list[str]] = {}
        for name, file in zip(other.cells[key], located.files, strict=True):
            if name in asked_ids and file:
                held.setdefault(name, []).append(file)
        most = max(map(len, held.values()), default=0)
        text = f"{other.name} says in {paths!r} which pictures the ids of {key!r} have"
        text += f", up to {most} each" if most > 1 else ""
        files = [pictures(dict.fromkeys(held[i])) if i in held else "" for i in ids]
        return Located(files, located.channels, (*located.notes, Note("match", text, other.name, "likely")))
    return None


def column_of(table: Table, asked_ids: set[str], enough: float = ENOUGH) -> str:
    """The column of distinct values that holds more than half of these ids, "" where none does."""
    for column in some_columns(table):
        held = set(table.cells[column])
        if len(held) > 1 and len(asked_ids & held) > enough * len(asked_ids):
            return column
    return ""


def path_column(table: Table, survey: Survey, but: str = "") -> str:
    """The column whose values name pictures, one each for most rows, "" where there is none."""
    best, best_rank = "", 0.0
    step = max(1, table.rows // 500)
    for column in some_columns(table):
        cells = table.cells[column][::step]
        if column == but:
            continue
        share = sum(1 for c in cells if c and candidates(c, survey)) / len(cells)
        rank = share * len(set(cells)) / len(cells)
        if share > ENOUGH and rank > best_rank:
            best, best_rank = column, rank
    return best


def some_columns(table: Table) -> list[str]:
    """The columns that may hold ids: all, or of very many the first and last."""
    columns = table.columns
    return columns if len(columns) <= 300 else [*columns[:150], *columns[-150:]]


def by_folder(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are names of folders that hold an item's pictures."""
    items = []
    for name in ids:
        low = name.lower().strip("/").rsplit("/", 1)[-1]
        places = on_side(survey.by_folder.get(low, []), survey, split)
        item = []
        for i in places:
            parts = survey.pictures[i].split("/")
            at = next(k for k in range(len(parts) - 1, -1, -1) if parts[k].lower() == low)
            item.append(("/".join(["", *parts[at + 1 :]]), survey.sources[i]))
        items.append(item)
    return arranged(items)


def by_prefix(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are what the names of an item's files begin with."""
    items = []
    for name in ids:
        low = name.replace("\\", "/").lower().rsplit("/", 1)[-1]
        places = survey.by_prefix.get(low) or survey.by_prefix.get(os.path.splitext(low)[0], [])
        items.append([(rest(survey.pictures[i], len(low)), survey.sources[i]) for i in on_side(places, survey, split)])
    return arranged(items)


def rest(path: str, begins: int) -> str:
    """What a file's name says after its first letters, without the separator and the extension."""
    return os.path.splitext(path.rsplit("/", 1)[-1])[0][begins:].lstrip("_-. ")


def arranged(items: list[list[tuple[str, str]]]) -> Located | None:
    """The items' sources, None where no item has a file."""
    if not any(items):
        return None
    files, channels, text = arrange(items)
    return Located(files, channels, (Note("files", text, sure="likely"),) if text else ())


def on_side(places: list[int], survey: Survey, split: int) -> list[int]:
    """Of these pictures, those of the split: in its folders, else in folders of neither; of one form, the plainest."""
    if not places:
        return []
    best = max(side(survey.pictures[i]) * split for i in places)
    kept = [i for i in places if side(survey.pictures[i]) * split == best] if best >= 0 else []
    low = min((rank(survey.pictures[i]) for i in kept), default=0)
    return [i for i in kept if rank(survey.pictures[i]) == low]


def by_columns(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """The path of an item's pictures is made of several columns, or of the parts of its id.

    For every level of the path, folders and file name, the column is taken whose values occur there, as they are or
    after letters (plate 1 in Plate1); the file's name may go on after a separator (B03_s1_w1).
    """
    columns = {}
    if table is not None and len(ids) == table.rows:
        columns = {c: table.cells[c] for c in some_columns(table) if c != id_name}
    cut = [re.split(r"[_/]", i) for i in ids]
    if len({len(c) for c in cut}) == 1 and len(cut[0]) > 1:
        columns |= {f"part {k + 1} of the id": [c[k] for c in cut] for k in range(len(cut[0]))}
    paths = [(i, p.lower().split("/")) for i, p in enumerate(survey.pictures) if side(p) * split >= 0]
    depth = Counter(len(p) for _, p in paths).most_common(1)[0][0] if paths else 0
    paths = [(i, p) for i, p in paths if len(p) == depth]
    chosen: list[tuple[int, str, int]] = []  # level, column, form of the value
    for level in reversed(range(depth)):
        held = [{level_key(p[level], level == depth - 1, f) for _, p in paths} for f in range(2)]
        if max(map(len, held)) < 2:
            continue
        fits = [
            (len(set(cells)), -f, table is not None and column in table.cells, column)
            for f in range(2)
            for column, cells in columns.items()
            if column not in {c for _, c, _ in chosen}
            and sum(1 for c in cells if c.lower() in held[f]) > 0.9 * len(cells)
        ]
        if fits:
            _, minus, _, column = max(fits)
            chosen.append((level, column, -minus))
        elif level == depth - 1:
            return None
    if len(chosen) < 2:
        return None
    index: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for i, parts in paths:
        key = tuple(level_key(parts[level], level == depth - 1, f) for level, _, f in chosen)
        index.setdefault(key, []).append((rest(survey.pictures[i], len(key[0])), survey.sources[i]))
    keys = list(zip(*([c.lower() for c in columns[column]] for _, column, _ in chosen), strict=True))
    if len(set(keys)) < 0.9 * len(set(ids)):
        return None
    located = arranged([index.get(key, []) for key in keys])
    if located is None:
        return None
    text = f"the path of a picture is made of {', '.join(c for _, c, _ in reversed(chosen))}"
    return Located(located.files, located.channels, (Note("match", text, sure="likely"), *located.notes))


def level_key(name: str, is_file: bool, which: int) -> str:
    """A folder's or file's name as a column may hold it: up to the first separator (files), or without letters too."""
    name = re.split(r"[_. ]", name)[0] if is_file else name
    return re.sub(r"^[a-z]+[_\- ]?0*(?=\d)", "", name) if which else name


WAYS: tuple[Way, ...] = (by_own_pixels, by_file, by_path_column, by_folder, by_prefix, by_columns)


def extension(path: str) -> str:
    """The lower-case extension."""
    return os.path.splitext(path)[1].lower()


def rank(path: str) -> int:
    """How plain a form of picture is: 0 for the ordinary ones."""
    return RANK.get(extension(path), 0)


def candidates(name: str, survey: Survey) -> list[int]:
    """The pictures an id may mean: by file name, by name without extension, or by the end of the path."""
    low = name.replace("\\", "/").removeprefix("./").lower()
    base = low.rsplit("/", 1)[-1]
    hits = survey.by_name.get(base) or survey.by_stem.get(base)
    if not hits and os.path.splitext(base)[1] in PICTURES:  # the table says .jpg, the folder has .png
        hits = survey.by_stem.get(os.path.splitext(base)[0])
    if not hits or "/" not in low:
        return hits or []
    exact = [i for i in hits if ends_with(survey.pictures[i].lower(), low)]
    return exact or hits


def ends_with(path: str, end: str) -> bool:
    """Whether the path, with or without its extension, ends with these folders and this name."""
    whole = "/" + path
    return whole.endswith("/" + end) or os.path.splitext(whole)[0].endswith("/" + end)


def match(ids: Sequence[str], survey: Survey, split: int) -> list[int]:
    """The picture of each id, -1 where there is none.

    `split` is 1 for train ids, -1 for test ids: where an id fits several pictures, the folder named after the split
    wins, then the plainest form (jpg over tif over dcm), a folder that is not of masks, and the folder that holds
    more of the ids. A lone match on the other split's side is no match.
    """
    hits = [candidates(name, survey) for name in ids]
    folder = {i: survey.pictures[i].rpartition("/")[0] for row in hits for i in row}
    held = Counter(folder[i] for row in hits for i in row)
    sides = {name: side(name + "/x") * split for name in held}
    masks = {name: AUXILIARY.search(name.lower()) is not None for name in held}

    def order(i: int) -> tuple:
        where = folder[i]
        return -sides[where], rank(survey.pictures[i]), masks[where], -held[where], i

    chosen = [row[0] if len(row) == 1 else min(row, key=order) if row else -1 for row in hits]
    own = sum(1 for i in chosen if i >= 0 and sides[folder[i]] > 0)
    if own:
        chosen = [-1 if i >= 0 and sides[folder[i]] < 0 else i for i in chosen]
    return chosen


def names_pictures(cells: Sequence[str], survey: Survey, split: int = 0) -> float:
    """The share of some cells that name pictures in whatever way an id alone can."""
    step = max(1, len(cells) // 500)
    some = [c for c in cells[::step] if c]
    if not some:
        return 0.0
    share = sum(1 for c in some if candidates(c, survey)) / len(cells[::step])
    if share > ENOUGH:
        return share
    low = [c.lower().rsplit("/", 1)[-1] for c in some]
    for index in (survey.by_folder, survey.by_prefix):
        share = max(share, sum(1 for c in low if c in index) / len(cells[::step]))
    return share


def id_column(table: Table, survey: Survey) -> tuple[str, float]:
    """The column whose values name pictures, and the share of its values that do.

    Columns are ranked by that share times the share of distinct values: digits 0-9 as labels fit files 0.jpg to 9.jpg
    too, but repeat. Where the table holds the pixels itself it is the first column of distinct values.
    """
    columns = some_columns(table)
    if table.sources:
        return next((c for c in columns if len(set(table.cells[c])) == table.rows), columns[0]), 1.0
    best, best_rank, best_share = columns[0], 0.0, 0.0
    step = max(1, table.rows // 500)
    for column in columns:
        cells = table.cells[column][::step]
        share = sum(1 for c in cells if c and candidates(c, survey)) / len(cells)
        if share * len(set(cells)) / len(cells) > best_rank:
            best, best_rank, best_share = column, share * len(set(cells)) / len(cells), share
    if best_share > ENOUGH:
        return best, best_share
    for column in columns:
        alone = len(set(table.cells[column])) == table.rows
        share = names_pictures(table.cells[column], survey) if alone else 0.0
        if share > best_rank:
            best, best_rank, best_share = column, share, share
    return best, best_share
