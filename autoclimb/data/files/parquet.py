"""Parquet: columns as text, and pictures as bytes in a column, as in the data sets of Hugging Face's hub."""

import json
from collections.abc import Iterator
from typing import Any

from autoclimb.data.files.spool import Stretch, temporary
from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.files.xlsx import INSTALL
from autoclimb.data.sources import inside, unspeakable
from autoclimb.errors import Mistake, first_line

FEWEST_BYTES = 64  # of a picture
BATCH = 256  # rows read at a time


def open_parquet(name: str, data: Stretch) -> Any:
    """The open file. Raises ValueError where it is no parquet file, Mistake where pyarrow is missing."""
    try:
        import pyarrow  # 0.3 s
        from pyarrow import parquet
    except ImportError:
        raise Mistake(f"{name} is a parquet file; {INSTALL}, or save it as csv") from None
    try:
        return parquet.ParquetFile(data.stream())
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"no parquet file: {first_line(error)}") from error


def tables_in(file: TableFile) -> list[Table]:
    """The table of the columns as text, with a source for each row where a column holds pictures.

    Class numbers of the hub's schema become names. Lists of words are joined by |; records are left out.
    """
    try:
        parquet = open_parquet(file.name, file.data)
        schema, count = parquet.schema_arrow, parquet.metadata.num_rows
        pictures = [n for n in schema.names if is_bytes(schema.field(n).type) and not unspeakable(n)]
        plain = [n for n in schema.names if n not in pictures]
        cells = {n: texts(parquet.read(columns=[n]).column(0).to_pylist(), names_of(schema, n)) for n in plain}
        paths = {n: paths_of(parquet, n) for n in pictures}
    except Mistake as mistake:  # the table may not be needed
        file.notes.append(str(mistake))
        return []
    except (ValueError, OSError, RuntimeError) as error:
        file.notes.append(f"{file.name} cannot be read as parquet and is ignored ({first_line(error)})")
        return []
    cells = {n: column for n, column in cells.items() if any(column)}
    cells |= {f"{n}.path": column for n, column in paths.items() if any(column)}
    if not count:
        file.notes.append(f"{file.name} has no rows and is ignored")
        return []
    if not pictures:
        return [Table(file.name, cells)] if cells else []
    file.notes.append(f"{file.name} holds the pictures, in column {pictures[0]!r}")
    cells = cells or {"row": [str(i) for i in range(count)]}
    return [Table(file.name, cells, tuple(inside(file.source, pictures[0], i) for i in range(count)))]


def is_bytes(kind: Any) -> bool:
    """Whether a column holds bytes, or records with a field `bytes`."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and is_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return types.is_binary(kind) or types.is_large_binary(kind)


def names_of(schema: Any, column: str) -> list[str]:
    """The names of a column's class numbers by the hub's schema, [] where it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return list(features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return []


def texts(values: list[Any], names: list[str]) -> list[str]:
    """Values as a table's cells."""
    return [text_of_value(value, names) for value in values]


def text_of_value(value: Any, names: list[str]) -> str:
    """A value as a cell."""
    if value is None or isinstance(value, dict | bytes):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return "|".join(text_of_value(v, names) for v in value)
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return str(value).strip()


def paths_of(parquet: Any, column: str) -> list[str]:
    """The paths in records of pictures, [] where they have none."""
    kind = parquet.schema_arrow.field(column).type
    if not hasattr(kind, "num_fields") or not any(kind.field(i).name == "path" for i in range(kind.num_fields)):
        return []
    values = parquet.read(columns=[f"{column}.path"]).column(0).to_pylist()
    return [str((value or {}).get("path") or "") for value in values]


# --- pixels ----------------------------------------------------------------------------------------------------------

Places = list[tuple[int, int]]  # offset and length of each row's picture


def keep_pictures(name: str, data: Stretch, column: str) -> tuple[Stretch, Places]:
    """The pictures of a column in a nameless file, and the place of each row's."""
    out, at = temporary(), 0
    places: Places = []
    for content in contents_of(open_parquet(name, data), column):
        out.write(content)
        places.append((at, len(content)))
        at += len(content)
    out.flush()
    return Stretch(out, 0, at), places


def contents_of(parquet: Any, column: str) -> Iterator[bytes]:
    """The bytes in each row of a column."""
    for batch in parquet.iter_batches(BATCH, columns=[column]):
        for value in batch.column(0).to_pylist():
            yield (value.get("bytes") if isinstance(value, dict) else value) or b""


def picture_in(pictures: Stretch, places: Places, row: int) -> bytes:
    """The picture of a row. Raises ValueError where there is none, IndexError beyond the last row."""
    if row < 0:
        raise IndexError("rows are counted from 0")
    start, length = places[row]
    if length < FEWEST_BYTES:
        raise ValueError(f"row {row} holds no picture")
    return pictures.read(start, length)
