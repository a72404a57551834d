"""Tables whose rows are items: by the column of their ids and, where they are train items, their pictures."""

from dataclasses import dataclass

from autoclimb.data.files.table import Table
from autoclimb.data.read.matching import Located


@dataclass(frozen=True)
class Listed:
    """A table, and the column of it that holds the ids of its rows."""

    table: Table
    id_name: str

    @property
    def ids(self) -> list[str]:
        """The id of each row."""
        return self.table.cells[self.id_name]

    @property
    def others(self) -> list[str]:
        """The names of the other columns; those of a sample submission are to be filled."""
        return [c for c in self.table.columns if c != self.id_name]


@dataclass(frozen=True)
class Items(Listed):
    """A table with the column of its rows' ids, and where the pictures of the rows are."""

    where: Located
