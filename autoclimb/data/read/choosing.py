"""Which picture an id means: by its text, then by folders that other columns name; or a doubt, no silent choice."""

import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from autoclimb.data.files.formats import PICTURES, RANK
from autoclimb.data.files.table import Table
from autoclimb.data.read.naming import PATH_RULE, RULES, file_stem, folded, is_bare, path_parts, stem_of, whole
from autoclimb.data.read.survey import Survey
from autoclimb.types import Note

ENOUGH = 0.5  # share of ids that a way of finding pictures must explain
CERTAIN = 0.9  # share of some ids that a column must tell apart
LOOKED_AT = 500  # ids from which a rule is learned
AUXILIARY = re.compile(r"(^|[^a-z])(masks?|annotations?|segmentations?|labels?|thumbs?|thumbnails?)([^a-z]|$)")


def named(name: str, survey: Survey) -> list[int]:
    """The pictures an id may mean by its text: by file name, by name without ending, another ending at last; of
    several those whose path agrees longest from its end, and in upper and lower case.
    """
    parts = path_parts(name)
    base = folded(parts[-1])
    hits = survey.by_name.get(base) or survey.by_stem.get(base)
    if not hits and extension(base) in PICTURES:  # the table says .jpg, the folder has .png
        hits = survey.by_stem.get(os.path.splitext(base)[0])
    if not hits:
        return []
    if len(hits) == 1:
        return hits
    if len(parts) == 1:
        return [i for i in hits if is_exact(survey.pictures[i].rsplit("/", 1)[-1], name)] or hits
    low = [folded(p) for p in parts]
    agree = [agreement(survey.pictures[i].split("/"), parts, low) for i in hits]
    best = max(agree)
    return [i for i, a in zip(hits, agree, strict=True) if a == best]


def agreement(path: list[str], parts: list[str], low: list[str]) -> tuple[int, bool, int]:
    """How many folders two paths share at their ends, whether the names are the same to the letter, and so folders."""
    alike = exact = 0
    for mine, theirs, other in zip(reversed(path[:-1]), reversed(parts[:-1]), reversed(low[:-1]), strict=False):
        if folded(mine) != other:
            break
        alike += 1
        exact += mine == theirs
    return alike, is_exact(path[-1], parts[-1]), exact


def is_exact(file: str, name: str) -> bool:
    """Whether a file is called so to the letter, with or without its ending."""
    return file == name or (file.startswith(name) and file.rfind(".") == len(name))


@dataclass(frozen=True)
class Match:
    """The picture of each id by its number, -1 where there is none; see Located for `doubt`."""

    rows: list[int]
    notes: tuple[Note, ...] = ()
    by_columns: tuple[str, ...] = ()  # that told pictures of one name apart
    doubt: str = ""


def match(
    ids: Sequence[str],
    survey: Survey,
    split: int,
    table: Table | None = None,
    id_name: str = "",
    hits: Sequence[list[int]] = (),
) -> Match:
    """The picture of each id, of those in `hits` or that its text names.

    `split` is 1 for train ids, -1 for test ids: where an id fits several pictures, the folder named after the split
    wins, then the plainest form (jpg over tif over dcm), a folder that is not of masks. Of those left, columns of the
    table may say which, or one folder that has them all; else there is a doubt. A lone match on the other split's side
    is no match, nor is one that fits another id to the letter.
    """
    by_text = not hits
    hits = hits or [named(name, survey) for name in ids]
    masks: dict[str, bool] = {}  # by folder

    def folder(i: int) -> str:
        return survey.pictures[i].rpartition("/")[0]

    def order(i: int) -> tuple:
        home = folder(i)
        if home not in masks:
            masks[home] = AUXILIARY.search(home.lower()) is not None
        return -survey.sides[i] * split, rank(survey.pictures[i]), masks[home]

    open_rows: dict[int, list[int]] = {}
    chosen = []
    for at, row in enumerate(hits):
        if len(row) > 1:
            least = min(map(order, row))
            row = [i for i in row if order(i) == least]
            if len(row) > 1 and len(set(map(folder, row))) > 1:
                open_rows[at] = row
        chosen.append(row[0] if row else -1)
    by_columns: tuple[str, ...] = ()
    notes: list[Note] = []
    doubt = ""
    if open_rows:
        open_rows = beside_table(open_rows, table, survey)
        by_columns, left = told_by_columns(open_rows, table, id_name, survey)
        for at, row in left.items():
            chosen[at] = row[0]
        left = {at: row for at, row in left.items() if len(row) > 1}
        if left:
            chosen, notes, doubt = from_one_folder(ids, chosen, left, survey)
    if any(i >= 0 and survey.sides[i] * split > 0 for i in chosen):
        chosen = [-1 if i >= 0 and survey.sides[i] * split < 0 else i for i in chosen]
    if by_text:
        chosen = without_claims(ids, chosen, survey)
    doubt = doubt or shifted(ids, chosen, survey, split)
    if by_columns:
        text = f"pictures are named by {' and '.join(map(repr, (*by_columns, id_name)))} together"
        notes.append(Note("match", text, id_name, "likely"))
    return Match(chosen, tuple(notes), by_columns, doubt)


def beside_table(open_rows: dict[int, list[int]], table: Table | None, survey: Survey) -> dict[int, list[int]]:
    """The pictures of each row, of those in the table's own folder, or in one called as the table is, if any."""
    if table is None:
        return open_rows
    home, _, name = (table.whole or table.name).rpartition("/")
    stem = folded(name.split(".")[0])
    for fits in (
        lambda where: bool(home) and where.startswith(f"{home}/"),
        lambda where: stem in map(folded, where.split("/")[:-1]),
    ):
        near = {at: [i for i in row if fits(survey.pictures[i])] for at, row in open_rows.items()}
        if sum(map(bool, near.values())) >= CERTAIN * len(near):
            open_rows = {at: row or open_rows[at] for at, row in near.items()}
    return open_rows


def told_by_columns(
    open_rows: dict[int, list[int]], table: Table | None, id_name: str, survey: Survey
) -> tuple[tuple[str, ...], dict[int, list[int]]]:
    """The columns whose cells are folders of the pictures, and the pictures of each row that they leave."""
    used: list[str] = []
    folders = {i: [folded(f) for f in survey.pictures[i].split("/")[:-1]] for row in open_rows.values() for i in row}
    while table is not None and any(len(row) > 1 for row in open_rows.values()):
        best, fewest = None, sum(map(len, open_rows.values()))
        for column in some_columns(table):
            if column == id_name or column in used:
                continue
            cells = table.cells[column]
            for which in (0, 1):
                left = {at: [i for i in row if lies_in(folders[i], cells[at], which)] for at, row in open_rows.items()}
                size = sum(map(len, left.values()))
                if size < fewest and sum(map(bool, left.values())) >= CERTAIN * len(left):
                    best, fewest = (column, left), size
        if best is None:
            break
        used.append(best[0])
        open_rows = {at: row or open_rows[at] for at, row in best[1].items()}
    return tuple(used), open_rows


def lies_in(folders: list[str], cell: str, which: int) -> bool:
    """Whether a cell names folders of a path, as they are or without the letters before their number."""
    parts = [folded(p) for p in path_parts(cell)]
    keys = [level_key(f, False, which) for f in folders] if which else folders
    return all((whole(p) if which else p) in keys for p in parts if p) and any(parts)


def level_key(name: str, is_file: bool, which: int) -> str:
    """A folder's or file's name as a column may hold it: up to the first separator (files), or without letters too."""
    name = re.split(r"[_. ]", name)[0] if is_file else name
    return re.sub(r"^[a-z]+[_\- ]?0*(?=\d)", "", name) if which else name


def some_columns(table: Table) -> list[str]:
    """The columns that may hold ids: all, or of very many the first and last."""
    columns = table.columns
    return columns if len(columns) <= 300 else [*columns[:150], *columns[-150:]]


def from_one_folder(
    ids: Sequence[str], chosen: list[int], open_rows: dict[int, list[int]], survey: Survey
) -> tuple[list[int], list[Note], str]:
    """The pictures where one folder has all those that several folders have: its own are taken, with a note.

    There is a doubt where no folder has them all, where each folder may be meant by a row of its own, or where names
    are mere numbers, which prove no relation.
    """
    rows_of = Counter(ids[at] for at in open_rows)
    at, row = next(iter(open_rows.items()))
    some = f"{survey.pictures[row[0]]}, {survey.pictures[row[1]]}"
    doubt = (
        f"{len(open_rows)} of {len(ids)} ids fit several pictures ({ids[at]!r} is {some}) and nothing says which is "
        f"meant; name a column that holds the folder too with --id, or take the folders away that are not meant"
    )
    homes: dict[str, dict[int, int]] = {}
    for at, row in open_rows.items():
        paths = [survey.pictures[i].split("/") for i in row]
        level = next(k for k in range(min(map(len, paths))) if len({p[k] for p in paths}) > 1)
        for i, path in zip(row, paths, strict=True):
            homes.setdefault("/".join(path[: level + 1]), {})[at] = i
    full = [home for home, places in homes.items() if len(places) >= CERTAIN * len(open_rows)]
    if not full:
        return chosen, [], doubt
    rest = Counter(home for i in chosen if i >= 0 for home in full if survey.pictures[i].startswith(f"{home}/"))
    home = min(full, key=lambda h: (-rest[h], len(h), h))
    chosen = list(chosen)
    copies: list[bool] = []
    for at, row in open_rows.items():
        chosen[at] = homes[home].get(at, chosen[at])
        if len(copies) < 20:
            copies.append(len({size_of(survey.sources[i]) for i in row}) == 1)
    if all(copies):
        text = f"{len(open_rows)} pictures lie in {', '.join(sorted(full)[:3])} alike; those of {home} are read"
        return chosen, [Note("match", text)], ""
    counters = sum(is_bare(stem_of(path_parts(ids[at])[-1])) for at in open_rows) > len(open_rows) / 2
    if counters or sum(rows_of[ids[at]] == len(row) for at, row in open_rows.items()) > len(open_rows) / 2:
        return chosen, [], doubt
    text = f"{len(open_rows)} pictures of one name lie in {', '.join(sorted(full)[:3])}; those of {home} are read"
    return chosen, [Note("match", text, sure="guessed")], ""


def size_of(source: str) -> int:
    """The bytes of a file, of nothing else than a plain file."""
    try:
        return os.path.getsize(source)
    except OSError:
        return -1 - hash(source)


def without_claims(ids: Sequence[str], chosen: list[int], survey: Survey) -> list[int]:
    """The pictures, but for those that an id fits only nearly and another to the letter."""
    used = [i for i in chosen if i >= 0]
    if len(set(used)) == len(used):
        return chosen
    seen: dict[int, set[str]] = {}
    for name, i in zip(ids, chosen, strict=True):
        if i >= 0:
            seen.setdefault(i, set()).add(name)
    shared = {i for i, names in seen.items() if len(names) > 1}
    if not shared:
        return chosen
    exact = {
        i for i in shared if any(is_exact(survey.pictures[i].rsplit("/", 1)[-1], path_parts(n)[-1]) for n in seen[i])
    }
    return [
        -1 if i in exact and not is_exact(survey.pictures[i].rsplit("/", 1)[-1], path_parts(name)[-1]) else i
        for name, i in zip(ids, chosen, strict=True)
    ]


def shifted(ids: Sequence[str], chosen: list[int], survey: Survey, split: int) -> str:
    """Why ids may count from another number than file names do, "" where they do not: 0 to 39 for 1.jpg to 40.jpg."""
    missing = [name for name, i in zip(ids, chosen, strict=True) if i < 0]
    if len(missing) != 1 or len(ids) < 3 or not all(map(is_bare, ids)):
        return ""
    numbers = sorted({int(whole(name)) for name in ids})
    used = set(chosen)
    free = {
        stem_of(p.rsplit("/", 1)[-1])
        for i, p in enumerate(survey.pictures)
        if i not in used and survey.sides[i] * split >= 0
    }
    if numbers[-1] - numbers[0] + 1 != len(numbers) or len(free) != 1 or not is_bare(min(free)):
        return ""
    left, lacking = int(whole(min(free))), int(whole(missing[0]))
    if (lacking, left) not in ((numbers[0], numbers[-1] + 1), (numbers[-1], numbers[0] - 1)):
        return ""
    return (
        f"ids count from {numbers[0]} and pictures from {min(left, numbers[0] + (lacking == numbers[0]))}: is "
        f"{ids[0]!r} the first of them, or the one called so? rename the pictures or the ids so that they agree"
    )


def match_by_rule(ids: Sequence[str], table: Table | None, id_name: str, survey: Survey, split: int) -> Match | None:
    """The pictures by the first of RULES that explains more than half of the ids and tells them apart, or None."""
    allowed = [i for i, side in enumerate(survey.sides) if side * split >= 0]
    if not allowed:  # tables hold the pixels
        return None
    stems = [file_stem(survey.pictures[i]) for i in allowed]
    plain = [stem_of(path_parts(name)[-1]) for name in ids]
    homes = [survey.pictures[i].rpartition("/")[0].rpartition("/")[2] for i in allowed]
    with_folder = [f"{home}/{stem}" for home, stem in zip(homes, stems, strict=True)]
    for words, rule, stems in (*((w, r, stems) for w, r in RULES.items()), (*PATH_RULE, with_folder)):
        keys = rule(plain[:: max(1, len(plain) // LOOKED_AT)], stems)
        if keys is None:
            continue
        of_id, of_stem = keys
        index: dict[Hashable, list[int]] = {}
        for i, stem in zip(allowed, stems, strict=True):
            if (key := of_stem(stem)) is not None:
                index.setdefault(key, []).append(i)
        key_of = {name: of_id(name) for name in dict.fromkeys(plain)}
        hits = [index.get(key, []) if (key := key_of[name]) is not None else [] for name in plain]
        share = sum(map(bool, hits)) / max(1, len(hits))
        if share <= ENOUGH or len({k for k in key_of.values() if k in index}) < sum(
            k in index for k in key_of.values()
        ):
            continue
        matched = match(ids, survey, split, table, id_name, hits)
        at = next((at for at, i in enumerate(matched.rows) if i >= 0), -1)
        if at < 0 or matched.doubt:
            continue
        text = f"ids are compared with file names {words}: {ids[at]!r} is {survey.pictures[matched.rows[at]]}"
        note = Note("match", text, sure="likely" if share > CERTAIN else "guessed")
        return replace(matched, notes=(*matched.notes, note))
    return None


def extension(path: str) -> str:
    """The lower-case extension; os.path.splitext takes three times as long, 200,000 times."""
    at = path.rfind(".")
    return path[at:].lower() if at > path.rfind("/") + 1 else ""


def rank(path: str) -> int:
    """How plain a form of picture is: 0 for the ordinary ones."""
    return RANK.get(extension(path), 0)
