"""Tables whose rows are items, by the column of their ids and, of train items, their pictures; and what tells them."""

from dataclasses import dataclass

from autoclimb.data.files.table import Table
from autoclimb.data.read.matching import Located
from autoclimb.data.read.raw import Overrides
from autoclimb.data.read.survey import Survey


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


@dataclass(frozen=True, eq=False)
class Evidence:
    """What tables are judged by: the folder around them, its sample submission, and the columns that the user named."""

    survey: Survey
    sample: Listed | None
    asked_for: Overrides

    @property
    def answers(self) -> list[str]:
        """The columns of the sample that are to be filled."""
        return self.sample.others if self.sample else []

    @property
    def asked_ids(self) -> set[str]:
        """The ids of the sample."""
        return set(self.sample.ids) if self.sample else set()


@dataclass(frozen=True)
class Items(Listed):
    """A table with the column of its rows' ids, and where the pictures of the rows are."""

    where: Located
