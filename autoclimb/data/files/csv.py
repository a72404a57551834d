"""Bytes of a csv -> a Table of text: whatever its separator, encoding and header."""

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable

import pandas as pd

from autoclimb.data.files.cells import LOOKED_AT, pixel_columns, pixel_string
from autoclimb.data.files.table import Table
from autoclimb.data.files.text import text_of
from autoclimb.data.sources import inside

MOST_COLUMNS = 20_000  # read of a wider table; a sample with a column per class has some 15,000 at most
SEPARATORS = ",;\t|"
ID_WORDS = re.compile(r"(^|[_ ])(id|name|file|index|uid|uuid)s?$|[a-z]Id$")  # of a column that names rows


def table_of(
    name: str, data: bytes, notes: list[str], is_picture: Callable[[str], bool], source: str = ""
) -> Table | None:
    """The table in a csv's bytes, or None with a note where they hold none.

    Columns of pixels are not read; the rows' sources lead to them by the file's own `source`.
    `is_picture` tells whether a cell names a picture; where the first line does, it is a row, not a header.
    """
    text, encoding = text_of(data)
    if not text:
        notes.append(f"{name} {'holds no text' if data else 'has no rows'} and is ignored")
        return None
    if "\0" in text:  # pandas would end the cell there
        notes.append(f"{name} holds NUL bytes, so it is damaged, and is ignored")
        return None
    if encoding != "utf-8":
        notes.append(f"{name} is not UTF-8 and is read as {encoding}")
    first = text[: text.find("\n")] if "\n" in text else text
    separator = max(SEPARATORS, key=first.count) if first.strip() else ","
    words = [w.strip().strip('"') for w in first.split(separator)]
    if len(words) == 1 and " " in first.strip() and is_picture(first.split()[0]):
        separator, words = " ", first.split()
    headless = len(words) > 1 and any(is_picture(w) for w in words[:4] if re.search(r"\d", w) or "." in w)
    wide = len(words) > MOST_COLUMNS
    if wide:
        notes.append(f"{name} has {len(words):,} columns, of which the first {MOST_COLUMNS:,} are read")
    pixels = None if headless else pixel_columns(words)
    begin = len(first) + 1
    written = None if headless or pixels else pixel_string(first_lines(text, begin), separator)
    held = range(written[0], written[0] + 1) if written else pixels
    wanted = [i for i in range(len(words)) if held is None or i not in held][:MOST_COLUMNS]
    ends = text.count(f"{separator}\n", begin) + text.count(f"{separator}\r\n", begin) + text.endswith(separator)
    lines = text.count("\n", begin) + (len(text) > begin and text[-1] != "\n")
    trailing = not first.rstrip().endswith(separator) and ends >= lines
    try:
        with warnings.catch_warnings():  # rows longer than the header are cut: only where what is cut is blank
            warnings.simplefilter("ignore" if trailing else "error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                dtype=str,
                header=None if headless else "infer",
                usecols=(wanted or [0]) if wide or held is not None else None,
                keep_default_na=False,
                na_filter=False,
                skipinitialspace=True,
                index_col=False,
            )
    except pd.errors.ParserWarning:
        notes.append(
            f"{name} has rows with more cells than its header and is ignored; quote cells that hold separators"
        )
        return None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, ValueError, OSError) as error:
        notes.append(f"{name} could not be read as a table and is ignored ({str(error).strip().splitlines()[0]})")
        return None
    repeated = [w for w, n in Counter(words).items() if w and n > 1]
    if repeated and not headless:
        notes.append(f"{name}: column {repeated[0]!r} occurs twice; the second is called {repeated[0] + '.1'!r}")
    cells = {}
    for i, column in enumerate(frame.columns):
        title = f"column {i + 1}" if headless else str(column).strip()
        cells[title] = ["" if c is None or c != c else str(c).strip() for c in frame.iloc[:, i]]
        broken = sum("\n" in c for c in cells[title])
        if broken:
            notes.append(f"{name}: {broken} cells of {title!r} hold line breaks; is a quote not closed?")
    for title in [t for t in cells if t.startswith("Unnamed:") or not t]:  # a saved index
        del cells[title]
    if not cells or not len(frame):
        notes.append(f"{name} has no rows and is ignored")
        return None
    if headless:
        notes.append(f"{name} has no header; its columns are {', '.join(list(cells)[:4])}")
    if held is None:
        return Table(name, cells, headless=headless)
    notes.append(f"{name} holds the pictures in its cells, {written[1] if written else len(held)} numbers each")
    cells = cells if wanted else {}
    if not any(ID_WORDS.search(title) for title in cells):
        cells = {"row": [str(i) for i in range(len(frame))], **cells}
    return Table(name, cells, tuple(inside(source, i) for i in range(len(frame))))


def first_lines(text: str, begin: int) -> list[str]:
    """The first lines of a text from a place on."""
    lines: list[str] = []
    while len(lines) < LOOKED_AT and begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        lines.append(text[begin:end])
        begin = end
    return lines
