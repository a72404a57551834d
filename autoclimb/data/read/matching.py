"""Ids -> the sources of their pixels: by file name, by a column of paths, by folder, by the beginning of file names, or
by several columns that make up a path."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autoclimb.data.files.formats import PICTURES
from autoclimb.data.files.npy import sources_of_items
from autoclimb.data.files.table import Table, with_rows
from autoclimb.data.files.tiff import channels_of_set
from autoclimb.data.read.choosing import (
    AUXILIARY,
    ENOUGH,
    Match,
    extension,
    level_key,
    match,
    match_by_rule,
    rank,
    some_columns,
)
from autoclimb.data.read.naming import file_stem, folded, is_bare, key_of, path_parts, whole
from autoclimb.data.read.picture_columns import SAMPLED, are_files, column_of, path_column
from autoclimb.data.read.several import arrange
from autoclimb.data.read.survey import Survey
from autoclimb.data.sources import parts_of, pictures
from autoclimb.types import Note


@dataclass(frozen=True)
class Located:
    """The sources of the pixels of some ids, "" for none.

    `names` are the paths of the pictures where ids are ambiguous and other columns decide. `doubt` says why a picture
    may be another than the one meant, "" where there is no doubt. `loose` matches are those by one of RULES.
    """

    files: list[str] = field(repr=False)
    channels: int = 3
    notes: tuple[Note, ...] = ()
    names: tuple[str, ...] = field(default=(), repr=False)
    doubt: str = ""
    loose: bool = False
    views: tuple[str, ...] = ()  # columns whose pictures the items have too

    @property
    def share(self) -> float:
        """The share of ids that have a source."""
        return sum(1 for f in self.files if f) / max(1, len(self.files))


Matcher = Callable[[Sequence[str], Table | None, str, Survey, int], Located | None]


def locate(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located:
    """The sources of ids by the first of MATCHERS that locates more than half of them without a doubt, else by the one
    that locates most.

    `table` has a row for each id in column `id_name`, None where ids come from elsewhere; `split` is 1 for train ids,
    -1 for test ids.
    """
    best = Located(["" for _ in ids])
    for matcher in MATCHERS:
        located = matcher(ids, table, id_name, survey, split)
        if located is not None and (located.share > best.share or (best.doubt and located.share > ENOUGH)):
            best = located
            if best.share > ENOUGH and not best.doubt:
                break
    return with_other_views(best, ids, table, id_name, survey, split) if best.share > ENOUGH else best


def with_other_views(
    located: Located, ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int
) -> Located:
    """The items with further pictures that other columns of the table name: a left and a right eye, a pair of faces.

    Columns of the same pictures in another format, or of pictures that are items of their own, are left out.
    """
    first = next(filter(None, located.files), "")
    if table is None or table.sources or len(ids) != table.rows or located.channels != 3 or len(parts_of(first)) > 1:
        return located
    step = max(1, table.rows // SAMPLED)
    several = len(set(ids)) < len(ids)
    views, used = [located.files], [id_name]
    for column in some_columns(table):
        cells = table.cells[column]
        if column == id_name or not are_files(cells[::step]) or AUXILIARY.search(column.lower()):
            continue
        other = of_match(match(cells, survey, split), survey)
        pairs = [(a, b) for a, b in zip(located.files, other.files, strict=True) if a and b]
        same = sum(a.rsplit(".", 1)[0].rsplit("/", 1)[-1] == b.rsplit(".", 1)[0].rsplit("/", 1)[-1] for a, b in pairs)
        items = set(located.files)
        mingled = sum(b in items for _, b in pairs) > len(pairs) / 2 and not several
        if other.share > ENOUGH and not other.doubt and other.channels == 3 and same <= len(pairs) / 10 and not mingled:
            views.append(other.files)
            used.append(column)
    if len(views) == 1:
        return located
    files = [pictures(dict.fromkeys(filter(None, item))) for item in zip(*views, strict=True)]
    names = tuple(";".join(row) for row in zip(*(table.cells[c] for c in used), strict=True)) if several else ()
    text = f"an item has the pictures of {', '.join(map(repr, used[1:]))} too, one beside the other"
    note = Note("match", text, used[1], "likely")
    return replace(located, files=files, names=names, notes=(*located.notes, note), views=tuple(used[1:]))


def by_own_pixels(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """The table itself holds the pixels."""
    if table is None or not table.sources or len(ids) != table.rows:
        return None
    return Located(list(table.sources), table.channels)


def by_file(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are file names."""
    return of_names(ids, table, id_name, survey, split)


def of_names(names: Sequence[str], table: Table | None, column: str, survey: Survey, split: int) -> Located:
    """The sources of names; a name may be a list of several with a sign between, the pictures of one item."""
    sign = sign_between(names)
    if not sign:
        return of_match(match(names, survey, split, table, column), survey)
    cut = [[part.strip() for part in name.split(sign) if part.strip()] for name in names]
    located = of_match(match([part for parts in cut for part in parts], survey, split), survey)
    sources = iter(located.files)
    items = [[source for _, source in zip(parts, sources, strict=False) if source] for parts in cut]
    most = max(map(len, items))
    note = Note("match", f"cells of {column!r} name up to {most} pictures of an item", column, "likely")
    files = [pictures(dict.fromkeys(item)) if item else "" for item in items]
    return replace(located, files=files, names=(), notes=(*located.notes, note))


def sign_between(names: Sequence[str]) -> str:
    """The sign between several files in one cell, "" where cells hold one."""
    some = [name for name in names[:: max(1, len(names) // SAMPLED)] if name]
    for sign in (";", "|", ","):
        parts = [part.strip() for name in some if sign in name for part in name.split(sign)]
        if len(parts) > 1 and all(extension(part) in PICTURES for part in parts if part):
            return sign
    return ""


def of_match(matched: Match, survey: Survey) -> Located:
    """The sources of matched pictures."""
    located = of_rows(matched.rows, survey)
    names = tuple(survey.pictures[i] if i >= 0 else "" for i in matched.rows) if matched.by_columns else ()
    return replace(located, notes=(*located.notes, *matched.notes), names=names, doubt=matched.doubt)


def of_rows(rows: Sequence[int], survey: Survey) -> Located:
    """The sources of pictures by their numbers, arrays divided into channels, with a note on other formats."""
    files = [survey.file(i) for i in rows]
    first = next((i for i in rows if i >= 0), -1)
    if first < 0:
        return Located(files)
    notes: list[Note] = []
    kind = extension(survey.pictures[first])
    same_name = survey.by_stem.get(folded(file_stem(survey.pictures[first]).lower()), [])
    others = {extension(survey.pictures[i]) for i in same_name if i != first} - {kind}
    if others:
        text = f"pictures are there as {', '.join(sorted(others))} too; the {kind} files are read"
        notes.append(Note("files", text, sure="likely"))
    if kind in (".tif", ".tiff") and (count := channels_of_set(files)) != 3:
        text = f"pictures have {count} bands, which are all read"
        return Located(files, count, (*notes, Note("channels", text, sure="likely")))
    if kind != ".npy":
        return Located(files, 3, tuple(notes))
    sources, count, text = sources_of_items(files)
    if text:
        notes.append(Note("channels", text, sure="likely"))
    return Located(sources, count, tuple(notes))


def by_file_column(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are bare numbers, which prove nothing, and a column beside them holds file names with their endings."""
    if not ids or not all(map(is_bare, ids[:: max(1, len(ids) // SAMPLED)])):
        return None
    located = by_path_column(ids, table, id_name, survey, split, files_only=True)
    return located if located is not None and located.share > ENOUGH else None


def by_path_column(
    ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int, files_only: bool = False
) -> Located | None:
    """Another column, of this table or of one that has these ids, names the pictures; rows of one id are one item."""
    if table is not None and (paths := path_column(table, survey, id_name, files_only)):
        note = Note("match", f"pictures are named by column {paths!r}", paths, "likely")
        located = of_names(table.cells[paths], table, paths, survey, split)
        return replace(located, notes=(*located.notes, note), names=())
    asked_ids = set(ids)
    for other in survey.tables:
        if table is not None and other.name in (table.name, table.whole):
            continue
        key = column_of(other, asked_ids)
        if not key:
            continue
        if other.sources:
            place = dict(zip(other.cells[key], other.sources, strict=True))
            return Located([place.get(i, "") for i in ids], other.channels)
        paths = path_column(other, survey, key, files_only)
        if paths:
            return by_other_table(ids, other, key, paths, survey, split)
    return None


def by_other_table(ids: Sequence[str], other: Table, key: str, paths: str, survey: Survey, split: int) -> Located:
    """The pictures that another table names in column `paths` beside ids in `key`; several of an id are one item."""
    asked_ids = set(ids)
    same = len(asked_ids & set(other.cells[key])) > ENOUGH * len(asked_ids)
    text_of: Callable[[str], str] = str if same else key_of
    names = [text_of(name) for name in ids]
    asked_ids = set(names)
    rows = [i for i, name in enumerate(other.cells[key]) if text_of(name) in asked_ids]
    matched = match([other.cells[paths][i] for i in rows], survey, split, with_rows(other, rows), paths)
    located = of_match(matched, survey)
    files_of: dict[str, list[str]] = {}
    for i, file in zip(rows, located.files, strict=True):
        if file:
            files_of.setdefault(text_of(other.cells[key][i]), []).append(file)
    most = max(map(len, files_of.values()), default=0)
    text = f"{other.name} says in {paths!r} which pictures the ids of {key!r} have"
    text += f", up to {most} each" if most > 1 else ""
    files = [pictures(dict.fromkeys(files_of[name])) if name in files_of else "" for name in names]
    return replace(located, files=files, names=(), notes=(*located.notes, Note("match", text, other.name, "likely")))


def by_folder(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are names of folders that hold an item's pictures."""
    names = [folded(path_parts(name)[-1]) for name in ids]
    index: dict[str, list[int]] = survey.by_folder
    key: Callable[[str], str] = folded
    if sum(name in index for name in names) <= ENOUGH * len(names) and all(map(is_bare, names)):
        key = lambda name: whole(folded(name))  # noqa: E731
        index = {}
        for name, places in survey.by_folder.items():
            index.setdefault(whole(name), []).extend(places)
    items = []
    for name in map(key, names):
        item = []
        for i in on_side(index.get(name, []), survey, split):
            parts = survey.pictures[i].split("/")
            at = next(k for k in range(len(parts) - 2, -1, -1) if key(parts[k]) == name)
            item.append(("/".join(["", *parts[at + 1 :]]), survey.sources[i]))
        items.append(item)
    return arranged(items)


def by_prefix(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids are the beginnings of the names of an item's files."""
    items = []
    for name in ids:
        low = folded(path_parts(name)[-1])
        places = survey.by_prefix.get(low) or survey.by_prefix.get(os.path.splitext(low)[0], [])
        items.append([(rest(survey.pictures[i], len(low)), survey.sources[i]) for i in on_side(places, survey, split)])
    return arranged(items)


def rest(path: str, begins: int) -> str:
    """A file's name without its first `begins` letters, the separator after them, and the extension."""
    return file_stem(path)[begins:].lstrip("_-. ")


def arranged(items: list[list[tuple[str, str]]]) -> Located | None:
    """The items' sources, None where no item has a file."""
    if not any(items):
        return None
    files, channels, text = arrange(items)
    return Located(files, channels, (Note("files", text, sure="likely"),) if text else ())


def on_side(places: list[int], survey: Survey, split: int) -> list[int]:
    """These pictures in folders of the split, else in folders of neither, and only those of the plainest format."""
    if not places:
        return []
    best = max(survey.sides[i] * split for i in places)
    nearest = [i for i in places if survey.sides[i] * split == best] if best >= 0 else []
    low = min((rank(survey.pictures[i]) for i in nearest), default=0)
    return [i for i in nearest if rank(survey.pictures[i]) == low]


def by_columns(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """The path of an item's pictures consists of several columns, or of the parts of its id.

    Each level of the path, folder or file name, belongs to the column whose values occur there, as they are or after
    letters (plate 1 in Plate1); the file's name may continue after a separator (B03_s1_w1).
    """
    columns = {}
    if table is not None and len(ids) == table.rows:
        columns = {c: table.cells[c] for c in some_columns(table) if c != id_name}
    cut = [re.split(r"[_/]", i) for i in ids]
    if len({len(c) for c in cut}) == 1 and len(cut[0]) > 1:
        columns |= {f"part {k + 1} of the id": [c[k] for c in cut] for k in range(len(cut[0]))}
    paths = [(i, p.lower().split("/")) for i, p in enumerate(survey.pictures) if survey.sides[i] * split >= 0]
    depth = Counter(len(p) for _, p in paths).most_common(1)[0][0] if paths else 0
    paths = [(i, p) for i, p in paths if len(p) == depth]
    chosen: list[tuple[int, str, int]] = []  # level, column, form of the value
    for level in reversed(range(depth)):
        level_values = [{level_key(p[level], level == depth - 1, f) for _, p in paths} for f in range(2)]
        if max(map(len, level_values)) < 2:
            continue
        fits = [
            (len(set(cells)), -f, table is not None and column in table.cells, column)
            for f in range(2)
            for column, cells in columns.items()
            if column not in {c for _, c, _ in chosen}
            and sum(1 for c in cells if c.lower() in level_values[f]) > 0.9 * len(cells)
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


def by_rule(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Located | None:
    """Ids, or else the file names in another column, are file names except for differences that RULES allow."""
    matched = match_by_rule(ids, table, id_name, survey, split)
    if matched is not None or table is None or len(ids) != table.rows:
        return replace(of_match(matched, survey), loose=True) if matched else None
    step = max(1, table.rows // SAMPLED)
    for column in some_columns(table):
        cells = table.cells[column]
        if column != id_name and are_files(cells[::step]) and not AUXILIARY.search(column.lower()):
            matched = match_by_rule(cells, table, column, survey, split)
            if matched is not None:
                note = Note("match", f"pictures are named by column {column!r}", column, "likely")
                located = of_match(matched, survey)
                return replace(located, notes=(*located.notes, note), names=(), loose=True)
    return None


MATCHERS: tuple[Matcher, ...] = (
    by_own_pixels,
    by_file_column,
    by_file,
    by_path_column,
    by_folder,
    by_prefix,
    by_columns,
    by_rule,
)
