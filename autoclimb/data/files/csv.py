"""Csv -> a Table of text, whatever its separator, encoding and header; single bad lines are mended or left out."""

import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from autoclimb.data.files.cells import pixel_columns, pixel_string
from autoclimb.data.files.delimiters import LOOKED_AT, first_lines, separator_of
from autoclimb.data.files.formats import ending
from autoclimb.data.files.mends import with_objects, without_headers, without_quotes, without_titles
from autoclimb.data.files.starts import STARTING_BYTES, stand_in
from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.files.text import NAMED, text_of
from autoclimb.data.sources import inside
from autoclimb.errors import first_line

LISTINGS = (".txt", ".lst")  # texts that may be anything, and are tables where they name pictures
MOST_COLUMNS = 20_000  # read of a wider table; a sample with a column per class has some 15,000 at most
FEWEST_ROWS = 10  # of a text that names no picture, from which it is taken for a table
MOST_BAD = 0.1  # share of lines that may be bad; of more the table is not what it is taken for
NAMED_WITHIN = 12  # first words of a table without a header, one of which names a picture
FEW_VALUES = 50  # different values up to which a column's cells are known by them
ID_WORDS = re.compile(r"(^|[_ ])(id|name|file|index|uid|uuid)s?$|[a-z]Id$")  # of a column that names rows
DECIMAL = re.compile(r"-?\d+,\d+")
PLAIN = re.compile(r"-?\d*")


@dataclass(frozen=True)
class Layout:
    """How the cells of a text lie."""

    separator: str
    header: list[str]  # the words of the first line, names or not
    headless: bool
    begin: int  # where the line below the first begins
    skipped: int  # lines of the file that stand before the first: comments, the separator
    pixels: range | None  # places of columns that hold pixels
    numbers: int  # of a picture that lies in one cell, 0 where pictures have a column a pixel


def tables_in(file: TableFile) -> list[Table]:
    """The table of a csv, none with a note where it holds none. Of a listing only where a column names pictures."""
    listing = ending(file.name) in LISTINGS
    notes: list[str] = []
    data = file.read()
    text = text_of(file.name, data, notes)
    if text and (words := stand_in(data[:STARTING_BYTES])) and not listing:
        notes.append(f"{file.name} is {words}")
        table = None
    elif not text:
        notes.append(f"{file.name} {'holds no text' if data else 'has no rows'} and is ignored")
        table = None
    elif "\0" in text:  # pandas would end the cell there
        notes.append(f"{file.name} holds NUL bytes, so it is damaged, and is ignored")
        table = None
    elif listing and (names := names_on_lines(text)) and all(map(file.is_picture, names[:LOOKED_AT])):
        return [Table(file.name, {"column 1": names}, headless=True)]
    else:
        table = table_of(file, text, notes)
    if listing:
        names_pictures = table and len(table.cells) > 1 and any(file.is_picture(c[0]) for c in table.cells.values())
        relation = table is not None and is_relation(table, file.is_picture)
        if table and table.headless and are_boxes(list(table.cells.values())[1:]):
            file.notes.append(f"{file.name} holds boxes, which are not read")
            return []
        if not names_pictures and not relation:
            return []
        if table and table.headless and len(table.cells) == 2:
            table = named_by_file(table, relation)
    file.notes.extend(notes)
    return [table] if table else []


def are_boxes(columns: list[list[str]]) -> bool:
    """Whether these columns beside a picture's name are the corners of a box in it: left, top, right, bottom."""
    if len(columns) != 4 or not all(cell.isdigit() for cells in columns for cell in cells):
        return False
    corners = [tuple(map(int, row)) for row in zip(*columns, strict=True)]
    return all(left < right and top < bottom for left, top, right, bottom in corners)


def is_relation(table: Table, is_picture: Callable[[str], bool]) -> bool:
    """Whether rows begin with different whole numbers that name no pictures, but may be those of a table that does."""
    first = next(iter(table.cells.values()))
    return (
        not is_picture(first[0])
        and table.headless
        and len(table.cells) > 1
        and FEWEST_ROWS <= len(first) == len(set(first))
    )


def named_by_file(table: Table, relation: bool) -> Table:
    """The table of two columns with its second called as its file is, where that tells what it holds: image_labels.txt
    of numbers and values, train_test_split.txt (1 is train), list_eval_partition.txt.
    """
    first, second = table.columns
    stem = table.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    split = re.search(r"split|partition", stem.lower())
    if split:
        second = (
            "train" if re.match(r"train_?test", stem.lower()) and set(table.cells[second]) == {"0", "1"} else split[0]
        )
    elif relation:
        second = stem
    return replace(table, cells=dict(zip(("number" if relation else first, second), table.cells.values(), strict=True)))


def names_on_lines(text: str) -> list[str]:
    """The lines of a text that lists one name a line, [] where a line holds more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    some = lines[:LOOKED_AT]
    numbered = all(len(words := line.split()) > 1 and words[0].isdigit() for line in some)  # 1 a/b.jpg
    return [] if len(lines) < 2 or numbered or any(sign in line for line in some for sign in ",;\t|") else lines


def table_of(file: TableFile, text: str, notes: list[str]) -> Table | None:
    """The table in a text, or None with a note. Columns of pixels are not read; the rows' sources lead to them."""
    name = file.name
    text, layout = layout_of(text, file.is_picture)
    wide = len(layout.header) > MOST_COLUMNS
    if wide:
        notes.append(f"{name} has {len(layout.header):,} columns, of which the first {MOST_COLUMNS:,} are read")
    columns = [i for i in range(len(layout.header)) if layout.pixels is None or i not in layout.pixels][:MOST_COLUMNS]
    chosen = (columns or [0]) if wide or layout.pixels is not None else None
    try:
        frame = frame_of(text, layout, chosen)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError, OSError) as error:
        fault = first_line(error, 200)
        if isinstance(error, pd.errors.ParserWarning):
            fault = "rows have more cells than its header"
        try:
            if layout.pixels is not None:
                raise ValueError(fault)
            frame = frame_of(mended(name, text, layout, notes), layout, chosen)
        except (pd.errors.ParserWarning, ValueError, OSError, csv.Error):
            notes.append(f"{name} could not be read as a table and is ignored ({fault})")
            return None
    if short := short_lines(text, layout):
        notes.append(f"{name}: {shown(short)} fewer cells than the header; the last are blank")
    cells, decimals = cells_of(file, frame, layout, notes)
    if not cells or not len(frame):
        notes.append(f"{name} has no rows and is ignored")
        return None
    if layout.headless:
        notes.append(f"{name} has no header; its columns are {', '.join(list(cells)[:4])}")
    if layout.pixels is None:
        table = Table(name, cells, headless=layout.headless, separator=layout.separator)
        return replace(table, decimal_commas=decimals)
    count = layout.numbers or len(layout.pixels)
    notes.append(f"{name} holds the pictures in its cells, {count} numbers each")
    cells = cells if columns else {}
    if not any(ID_WORDS.search(title) for title in cells):
        cells = {"row": [str(i) for i in range(len(frame))], **cells}
    sources = tuple(inside(file.source, i) for i in range(len(frame)))
    return Table(name, cells, sources, separator=layout.separator)


def layout_of(text: str, is_picture: Callable[[str], bool]) -> tuple[str, Layout]:
    """The text without a line that declares its separator, and how its cells lie.

    Where the first line names a picture, it is a row, not a header.
    """
    breaks = text.count("\n")
    text = without_titles(without_comments(text))
    text = from_spaces(text, is_picture)
    lines = first_lines(text, count=LOOKED_AT + 1)
    separator, before = separator_of(lines)
    for line in lines[:before]:
        text = text.removeprefix(line)
    first = text[: text.find("\n")] if "\n" in text else text
    words = [w.strip().strip('"') for w in first.split(separator)]
    if len(words) == 1 and " " in first.strip() and is_picture(first.split()[0]):
        separator, words = " ", first.split()
    likely = [w for i, w in enumerate(words[:NAMED_WITHIN]) if "." in w or (i < 4 and re.search(r"\d", w))]
    headless = len(words) > 1 and any(map(is_picture, likely))
    headless |= len(words) > 1 and words[0].isdigit()
    begin = len(first) + 1
    pixels = None if headless else pixel_columns(words)
    in_one_cell = None if headless or pixels else pixel_string(first_lines(text, begin), separator)
    if in_one_cell:
        pixels = range(in_one_cell[0], in_one_cell[0] + 1)
    skipped = max(0, breaks - text.count("\n"))
    return text, Layout(separator, words, headless, begin, skipped, pixels, in_one_cell[1] if in_one_cell else 0)


def without_comments(text: str) -> str:
    """The text without lines of `#` at its beginning; a lone one of as many words as the next line is a header."""
    end = 0
    while text.startswith("#", end):
        end = text.find("\n", end) + 1 or len(text)
    first, *following = first_lines(text, count=2) if end else [""]
    for sign in (",", ";", "\t", None):
        if len(first) == end > 0 and following and 1 < len(following[0].split(sign)) == len(first[1:].split(sign)):
            return text[1:]
    return text[end:]


def from_spaces(text: str, is_picture: Callable[[str], bool]) -> str:
    """The text with tabs in place of spaces where any number of those stand between cells, one of which names a
    picture. A line with the count of rows, above the header, is left out; a header may lack the name of its first cell.
    """
    lines = first_lines(text, count=LOOKED_AT)
    if len(lines) > 2 and lines[0].strip().isdigit() and len(lines[1].split()) > 1:
        lines, text = lines[1:], text[len(lines[0]) :]
    if lines and all(": " in line and is_picture(line.partition(": ")[0].strip()) for line in lines):  # a.jpg: cat
        text = "\n".join("\t".join(line.split(": ", 1)) for line in text.splitlines()) + "\n"
        lines = first_lines(text, count=LOOKED_AT)
    cut = [line.split() for line in lines]
    if len(lines) < 2 or any(sign in line for line in lines for sign in ",;\t|") or len({len(c) for c in cut[1:]}) > 1:
        return text
    width = len(cut[1])
    if width < 2 or len(cut[0]) not in (width, width - 1):
        return text
    if not any(is_picture(word) for word in cut[1][:4]) and not all(c[0].isdigit() for c in cut):
        return text
    rows = ("\t".join(line.split()) for line in text.splitlines())
    return "\n".join([*(["image\t" + next(rows)] if len(cut[0]) < width else []), *rows]) + "\n"


def frame_of(text: str, layout: Layout, columns: list[int] | None) -> pd.DataFrame:
    """The cells as text. Raises ParserError or ParserWarning for rows of more cells than the header has names."""
    separator, begin = layout.separator, layout.begin
    ends = text.count(f"{separator}\n", begin) + text.count(f"{separator}\r\n", begin) + text.endswith(separator)
    lines = text.count("\n", begin) + (len(text) > begin and text[-1] != "\n")
    trailing = not text[:begin].rstrip().endswith(separator) and ends >= lines
    with warnings.catch_warnings():  # rows longer than the header are cut: only where what is cut is blank
        warnings.simplefilter("ignore" if trailing else "error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            dtype=str,
            header=None if layout.headless else "infer",
            usecols=columns,
            keep_default_na=False,
            na_filter=False,
            skipinitialspace=True,
            index_col=False,
        )


def cells_of(
    file: TableFile, frame: pd.DataFrame, layout: Layout, notes: list[str]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The columns of a frame, stripped, a saved index left out unless it names pictures, decimal commas made points,
    objects of json taken apart; and which had decimal commas.
    """
    name = file.name
    decimals: list[str] = []
    repeated = [w for w, n in Counter(layout.header).items() if w and n > 1]
    if repeated and not layout.headless:
        notes.append(f"{name}: column {repeated[0]!r} occurs twice; the second is called {repeated[0] + '.1'!r}")
    cells = {}
    for i, column in enumerate(frame.columns):
        title = f"column {i + 1}" if layout.headless else str(column).strip()
        cells[title] = ["" if c is None or c != c else str(c).strip() for c in frame.iloc[:, i]]
        broken = sum("\n" in c for c in cells[title])
        if broken:
            notes.append(f"{name}: {broken} cells of {title!r} hold line breaks; is a quote not closed?")
    for title in [t for t in cells if t.startswith("Unnamed:") or not t]:  # a saved index
        names = cells.pop(title)
        if names and file.is_picture(names[0]) and file.is_picture(names[-1]) and not names[0].isdigit():
            cells = {"index": names, **cells}
    cells = without_quotes(cells)
    if len(cells) > 1 and not layout.headless and layout.pixels is None:
        cells = without_headers(name, cells, notes)
    cells = with_objects(cells)
    if layout.separator != ",":
        for title in [t for t in cells if are_decimals(cells[t])]:
            cells[title] = [c.replace(",", ".") for c in cells[title]]
            decimals.append(title)
            notes.append(f"{name}: the numbers of {title!r} have decimal commas")
    return cells, tuple(decimals)


def are_decimals(cells: list[str]) -> bool:
    """Whether cells are numbers with a decimal comma: all are numbers, half of them have one, and
    they are not pairs of ascending codes."""
    different = set(cells)
    with_comma = {c for c in different if "," in c}
    if 2 * len(with_comma) < len(different - {""}) or not with_comma:
        return False
    if not all(DECIMAL.fullmatch(c) if c in with_comma else PLAIN.fullmatch(c) for c in different):
        return False
    parts = [c.lstrip("-").split(",") for c in with_comma]
    as_sets = all(int(a) < int(b) and b[0] != "0" for a, b in parts) and len({a for a, _ in parts}) > 1
    return not as_sets  # 1,2 and 3,7: pairs of codes in order


# --- bad lines -------------------------------------------------------------------------------------------------------


def mended(name: str, text: str, layout: Layout, notes: list[str]) -> str:
    """The text with every row as long as the header: a row with cells too many is joined where only one place fits
    what the other rows hold there, or else left out; a quote that is never closed is taken off.

    Raises ValueError where more than MOST_BAD of the rows are bad.
    """
    text, unclosed = with_quotes_closed(text)
    width = len(layout.header)
    rows: list[list[str]] = []
    numbers: list[int] = []  # of the line where a row ends
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator, skipinitialspace=True)
    for row in reader:
        if row:
            rows.append(row if len(row) <= width or any(row[width:]) else row[:width])
            numbers.append(reader.line_num + layout.skipped)
    bad = [i for i, row in enumerate(rows) if len(row) > width]
    if len(bad) > MOST_BAD * len(rows):
        raise ValueError(f"{len(bad)} of {len(rows)} rows have more cells than its header")
    fits = fitting_cells([row for row in rows if len(row) == width])
    joined, left_out = [], []
    for i in bad:
        fitting = [row for row in joinings(rows[i], width, layout.separator) if all(map(lambda f, c: f(c), fits, row))]
        if len(fitting) == 1:
            rows[i] = fitting[0]
            joined.append(numbers[i])
        else:
            rows[i] = []
            left_out.append(numbers[i])
    if unclosed:
        notes.append(f"{name}: a quote in line {unclosed + layout.skipped} is never closed and is taken off")
    if joined:
        notes.append(f"{name}: {shown(joined)} more cells than the header, of which two or more are joined")
    if left_out:
        verb = "is" if len(left_out) == 1 else "are"
        notes.append(
            f"{name}: {shown(left_out)} more cells than the header and {verb} left out; quote cells with separators"
        )
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=layout.separator, lineterminator="\n").writerows(row for row in rows if row)
    return out.getvalue()


def shown(lines: list[int]) -> str:
    """The numbers of some lines, as the beginning of a sentence on them."""
    more = " ..." if len(lines) > NAMED else ""
    if len(lines) == 1:
        return f"line {lines[0]} has"
    return f"{len(lines)} lines ({', '.join(map(str, lines[:NAMED]))}{more}) have"


def short_lines(text: str, layout: Layout) -> list[int]:
    """The numbers of lines with fewer cells than the header; only looked for where no cell is quoted."""
    between = len(layout.header) - 1
    if '"' in text or layout.separator == " ":
        return []
    if text.count(layout.separator) >= between * (text.count("\n") + (not text.endswith("\n"))):
        return []
    lines = enumerate(text.splitlines(), 1 + layout.skipped)
    return [number for number, line in lines if line.strip() and line.count(layout.separator) < between]


def with_quotes_closed(text: str) -> tuple[str, int]:
    """The text, the last quote that opens and never closes taken off; and the number of its line, 0 for none."""
    if text.count('"') % 2 == 0:
        return text, 0
    lines = text.split("\n")
    open_since, is_open = 0, False
    for number, line in enumerate(lines):
        if line.count('"') % 2:
            is_open = not is_open
            open_since = number
    cut = lines[open_since].rfind('"')
    lines[open_since] = lines[open_since][:cut] + lines[open_since][cut + 1 :]
    return "\n".join(lines), open_since + 1


def joinings(row: list[str], width: int, separator: str) -> list[list[str]]:
    """The rows of so many cells that come from joining neighbours of a longer one, the last cells first."""
    more = len(row) - width + 1
    return [[*row[:k], separator.join(row[k : k + more]), *row[k + more :]] for k in reversed(range(width))]


def fitting_cells(rows: list[list[str]]) -> list[Callable[[str], bool]]:
    """For each column, whether a cell is like those of these rows: one of few values, a number among numbers, a
    cell as long as others."""
    tests: list[Callable[[str], bool]] = []
    for column in zip(*rows, strict=True):
        values = set(column[1:])
        if len(values) <= min(FEW_VALUES, len(column) / 2):
            tests.append(values.__contains__)
        elif all(re.fullmatch(r"-?\d+(\.\d+)?", v) for v in values):
            tests.append(lambda cell: re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None)
        elif not any(re.search(r"\s", v) for v in values):  # names, not free text
            tests.append(lambda cell: not re.search(r"\s", cell))
        else:
            tests.append(lambda cell: True)
    return tests
