"""What lies in the folder: pictures by path and tables by content, each looked at once."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from autoclimb.errors import Mistake

PICTURES = {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}
TABLES = {".csv", ".tsv"}
SKIPPED = {"__MACOSX", "__pycache__", "node_modules"}
DEEPEST = 12  # folders below the given one


@dataclass(frozen=True)
class Table:
    """One csv as text: `cells[column]` holds a list of stripped strings, all of one length."""

    name: str  # path below the folder, lower case kept as found
    cells: dict[str, list[str]] = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """The column names in the file's order."""
        return list(self.cells)

    @property
    def rows(self) -> int:
        """Rows below the header."""
        return len(next(iter(self.cells.values()), []))


@dataclass(frozen=True, eq=False)
class Survey:
    """What lies in a folder. `pictures` are paths below `root` with forward slashes, sorted."""

    root: Path
    pictures: tuple[str, ...]
    tables: tuple[Table, ...]
    by_name: dict[str, list[int]] = field(repr=False)  # lower-case file name -> indices into pictures
    by_stem: dict[str, list[int]] = field(repr=False)  # the same without the extension
    other: Counter  # extensions that are neither picture nor table -> files
    notes: tuple[str, ...]

    def file(self, index: int) -> str:
        """The path of a picture, "" for -1."""
        return os.path.join(self.root, self.pictures[index]) if index >= 0 else ""


def survey(path: Path) -> Survey:
    """All pictures and tables below `path`. Opens only tables; a picture is known by its extension.

    Raises Mistake where the folder is missing, is no folder, or holds no picture.
    """
    if not path.exists():
        raise Mistake(f"folder {str(path)!r} does not exist; give the folder that holds the pictures and tables")
    if not path.is_dir():
        raise Mistake(f"{str(path)!r} is a file; give the folder that holds the pictures and tables")
    root = Path(os.path.abspath(path))
    pictures: list[str] = []
    tables: list[str] = []
    other: Counter = Counter()
    notes: list[str] = []
    waiting = [("", 0)]
    while waiting:
        below, depth = waiting.pop()
        with os.scandir(os.path.join(root, below)) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name in SKIPPED:
                    continue
                where = f"{below}/{name}" if below else name
                extension = os.path.splitext(name)[1].lower()
                if entry.is_dir():
                    upwards = entry.is_symlink() and entry.path.startswith(os.path.realpath(entry.path) + os.sep)
                    if depth < DEEPEST and not upwards:
                        waiting.append((where, depth + 1))
                elif extension in PICTURES:
                    pictures.append(where)
                elif extension in TABLES and depth <= 2:
                    tables.append(where)
                else:
                    other[extension or name] += 1
    if not pictures:
        raise Mistake(no_pictures(path, other))
    pictures.sort()
    by_name: dict[str, list[int]] = {}
    by_stem: dict[str, list[int]] = {}
    for i, where in enumerate(pictures):
        name = where.rsplit("/", 1)[-1].lower()
        by_name.setdefault(name, []).append(i)
        by_stem.setdefault(name.rsplit(".", 1)[0], []).append(i)
    read = []
    for where in sorted(tables, key=lambda t: (t.count("/"), t)):
        table = read_table(root, where, notes)
        if table is not None:
            read.append(table)
    return Survey(root, tuple(pictures), tuple(read), by_name, by_stem, other, tuple(notes))


def no_pictures(path: Path, other: Counter) -> str:
    """The sentence for a folder without pictures, naming what it holds instead."""
    if not other:
        return f"folder {str(path)!r} holds no pictures"
    packed = {".zip", ".7z", ".gz", ".tar", ".tgz", ".rar"} & set(other)
    held = ", ".join(f"{n} {extension}" for extension, n in other.most_common(5))
    hint = "; unpack the archives first" if packed else f"; pictures are {', '.join(sorted(PICTURES))}"
    return f"folder {str(path)!r} holds no pictures ({held}){hint}"


def read_table(root: Path, where: str, notes: list[str]) -> Table | None:
    """The table as text, or None with a note where the file cannot be read as one."""
    path = root / where
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        try:
            with open(path, encoding=encoding) as file:
                header = file.readline()
        except (UnicodeError, OSError):
            continue
        break
    else:
        notes.append(f"{where} could not be opened and is ignored")
        return None
    separator = max(",;\t|", key=header.count) if header.strip() else ","
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            encoding=encoding,
            encoding_errors="replace",
            skipinitialspace=True,
            index_col=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, ValueError, OSError) as error:
        notes.append(f"{where} could not be read as a table and is ignored ({str(error).strip().splitlines()[0]})")
        return None
    cells = {str(name).strip(): [str(c).strip() for c in frame.iloc[:, i]] for i, name in enumerate(frame.columns)}
    unnamed = [name for name in cells if name.startswith("Unnamed:") or not name]  # a saved index
    for name in unnamed:
        del cells[name]
    if not cells or not len(frame):
        notes.append(f"{where} has no rows and is ignored")
        return None
    return Table(where, cells)


def candidates(name: str, found: Survey) -> list[int]:
    """The pictures an id may mean: by file name, by name without extension, or by the end of the path."""
    low = name.replace("\\", "/").removeprefix("./").lower()
    base = low.rsplit("/", 1)[-1]
    hits = found.by_name.get(base) or found.by_stem.get(base)
    if not hits and os.path.splitext(base)[1] in PICTURES:  # the table says .jpg, the folder has .png
        hits = found.by_stem.get(os.path.splitext(base)[0])
    if not hits or "/" not in low:
        return hits or []
    exact = [i for i in hits if ends_with(found.pictures[i].lower(), low)]
    return exact or hits


def ends_with(path: str, end: str) -> bool:
    """Whether the path, with or without its extension, ends with these folders and this name."""
    whole = "/" + path
    return whole.endswith("/" + end) or os.path.splitext(whole)[0].endswith("/" + end)


def side(path: str) -> int:
    """1 for a path below a folder that says train, -1 below one that says test, 0 where folders say neither."""
    folders = path.lower().split("/")[:-1]
    if any("train" in f for f in folders):
        return 1
    return -1 if any("test" in f or "pred" in f for f in folders) else 0


def match(ids: Sequence[str], found: Survey, split: int) -> list[int]:
    """The picture of each id, -1 where there is none.

    `split` is 1 for train ids, -1 for test ids: where an id fits pictures in several folders, the folder named after
    the split wins, then the one that holds more of the ids. A lone match on the other split's side is no match.
    """
    hits = [candidates(name, found) for name in ids]
    folder = [path.rsplit("/", 1)[0] if "/" in path else "" for path in found.pictures]
    held = Counter(folder[i] for row in hits for i in row)
    sides = {name: side(name + "/x") * split for name in held}
    chosen = [min(row, key=lambda i: (-sides[folder[i]], -held[folder[i]], i)) if row else -1 for row in hits]
    own = sum(1 for i in chosen if i >= 0 and sides[folder[i]] > 0)
    if own:
        chosen = [-1 if i >= 0 and sides[folder[i]] < 0 else i for i in chosen]
    return chosen


def id_column(table: Table, found: Survey) -> tuple[str, float]:
    """The column whose values name pictures, and the share of its values that do.

    Columns are ranked by that share times the share of distinct values: digits 0-9 as labels fit files 0.jpg to 9.jpg
    too, but repeat.
    """
    best, best_rank, best_share = table.columns[0], 0.0, 0.0
    step = max(1, table.rows // 500)
    for column in table.columns:
        cells = table.cells[column][::step]
        share = sum(1 for c in cells if c and candidates(c, found)) / len(cells)
        rank = share * len(set(cells)) / len(cells)
        if rank > best_rank:
            best, best_rank, best_share = column, rank, share
    return best, best_share
