"""Every format that holds tables, by its ending."""

from collections.abc import Callable

from autoclimb.data.files import bson, csv, json, parquet, xlsx, xml
from autoclimb.data.files.archives import UNREADABLE, read_member
from autoclimb.data.files.formats import ending
from autoclimb.data.files.spool import decompressed, on_disk, stretch_of
from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.sources import parts_of
from autoclimb.errors import first_line

TABLE_FORMATS: dict[str, Callable[[TableFile], list[Table]]] = {
    ".csv": csv.tables_in,
    ".tsv": csv.tables_in,
    ".txt": csv.tables_in,
    ".lst": csv.tables_in,
    ".xml": xml.tables_in,
    ".json": json.tables_in,
    ".jsonl": json.tables_in,
    ".ndjson": json.tables_in,
    ".manifest": json.tables_in,
    ".bson": bson.tables_in,
    ".xlsx": xlsx.tables_in,
    ".xlsm": xlsx.tables_in,
    ".parquet": parquet.tables_in,
}


def tables_at(name: str, source: str, notes: list[str], is_picture: Callable[[str], bool]) -> list[Table]:
    """The tables in the file at a source, whose path below the folder is `name`; notes say what is wrong with it.

    `is_picture` tells whether a cell names a picture of the folder. Raises Mistake where a package is missing.
    """
    file, *steps = parts_of(source)[0][0]
    try:
        data = on_disk(name, read_member(file, *steps)) if steps else stretch_of(file)
        data = decompressed(name, data)
        tables = TABLE_FORMATS[ending(name)](TableFile(name, source, data, notes, is_picture))
        return [table for table in tables if table.cells]
    except UNREADABLE as error:
        notes.append(f"{name} could not be opened and is ignored ({first_line(error)})")
        return []
