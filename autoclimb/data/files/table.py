"""Table, the text that formats with rows are read into, and TableFile, the file that it is read from."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from autoclimb.data.files.formats import MOST_TABLE_BYTES
from autoclimb.data.files.spool import Stretch


@dataclass(frozen=True)
class Table:
    """A table as text: `cells[column]` holds a list of stripped strings, all of one length.

    `sources` are the sources of each row's pixels when the table itself holds them (json, bson, arrays).
    """

    name: str  # path below the folder
    cells: dict[str, list[str]] = field(repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    channels: int = 3  # of the pictures of `sources`
    separator: str = ","  # between the cells of its file
    decimal_commas: tuple[str, ...] = ()  # columns whose numbers have a comma in the file, and a point here
    headless: bool = False  # the file has no header; its columns are named here
    part: str = ""  # "train", "validation" or "test" where these are the rows of `whole` that a column assigns to it
    whole: str = ""  # the name of the table that this is a part of, "" for none

    @property
    def columns(self) -> list[str]:
        """The column names in the file's order."""
        return list(self.cells)

    @property
    def rows(self) -> int:
        """Rows below the header."""
        return len(next(iter(self.cells.values()), []))


def with_rows(table: Table, rows: Sequence[int]) -> Table:
    """The table with these rows only."""
    cells = {c: [values[i] for i in rows] for c, values in table.cells.items()}
    return replace(table, cells=cells, sources=tuple(table.sources[i] for i in rows) if table.sources else ())


def without_columns(table: Table, columns: Collection[str]) -> Table:
    """The table without these columns."""
    return replace(table, cells={c: values for c, values in table.cells.items() if c not in columns})


@dataclass(frozen=True, eq=False)
class TableFile:
    """A file that may hold tables. Its faults are added to `notes`, a sentence each."""

    name: str  # path below the folder
    source: str  # where it is (data/sources.py)
    data: Stretch  # its bytes, decompressed
    notes: list[str]
    is_picture: Callable[[str], bool]  # whether a cell names a picture of the folder

    def read(self) -> bytes:
        """All bytes. Raises ValueError where they are more than may be read as a whole."""
        if self.data.length > MOST_TABLE_BYTES:
            raise ValueError(f"it is larger than {MOST_TABLE_BYTES >> 30} GB")
        return self.data.read()
