"""Excel workbooks -> a Table for each sheet that has a header and rows."""

import datetime
import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from autoclimb.data.files.table import Table, TableFile
from autoclimb.errors import first_line

INSTALL = "install what reads it with `pip install 'autoclimb[tables]'`"
MOST_ROWS = 1 << 20  # Excel's own bound


def tables_in(file: TableFile) -> list[Table]:
    """The sheets as tables, with hidden and without empty ones."""
    try:
        import openpyxl  # 0.2 s
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        file.notes.append(f"{file.name} is an Excel file and is ignored; {INSTALL}, or save it as csv")
        return []
    try:
        book = openpyxl.load_workbook(io.BytesIO(file.read()), read_only=True, data_only=True)
        sheets = {sheet.title: cells_of(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, SyntaxError) as error:
        fault = first_line(error)
        file.notes.append(f"{file.name} cannot be read as an Excel file and is ignored ({fault}); save it as csv")
        return []
    sheets = {title: cells for title, cells in sheets.items() if cells}
    if not sheets:
        file.notes.append(f"{file.name} has no sheet with a header and rows and is ignored")
    named = (f"{file.name}/{title}" if len(sheets) > 1 else file.name for title in sheets)
    return [Table(name, cells) for name, cells in zip(named, sheets.values(), strict=True)]


def cells_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[str]]:
    """The columns of a sheet, whose header is its first row that is not blank; {} where there are no rows below it."""
    filled = with_values(rows)
    header = next(filled, ())
    names = {i: text_of_value(value) for i, value in enumerate(header) if value is not None}
    body = list(filled)
    if not body:
        return {}
    cells: dict[str, list[str]] = {}
    for i, name in names.items():
        title = name if name not in cells else f"{name}.{sum(n.split('.')[0] == name for n in cells)}"
        cells[title] = [text_of_value(row[i]) if i < len(row) else "" for row in body]
    return cells


def with_values(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows that are not blank."""
    for number, row in enumerate(rows):
        if number > MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS:,} rows")
        if any(value is not None for value in row):
            yield row


def text_of_value(value: Any) -> str:
    """A cell as a csv would hold it: whole numbers without a point, days without an hour."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value).strip()
