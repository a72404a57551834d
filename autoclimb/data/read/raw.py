"""RawTask, made of a folder by each family of layouts: ids, pictures, label cells as text, before kinds are decided."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoclimb.data.files.table import Table
from autoclimb.types import Note


@dataclass(frozen=True)
class Overrides:
    """The columns that the user named; None where the folder itself shall tell."""

    id_column: str | None = None
    target: tuple[str, ...] | None = None
    group: str | None = None


@dataclass(frozen=True)
class RawTask:
    """A competition as text. `train_files` and `test_files` hold "" where an id has no picture.

    `labels` maps each target column to its cells in train-row order; `others` the columns that are neither id nor
    target, `test_others` those of the test table, in the order of `test_ids`; `test_columns` are their names.
    """

    train_ids: list[str] = field(repr=False)
    train_files: list[str] = field(repr=False)
    labels: dict[str, list[str]] = field(repr=False)
    test_ids: list[str] = field(repr=False)
    test_files: list[str] = field(repr=False)
    id_name: str
    sample: Table | None
    sample_id: str
    others: dict[str, list[str]] = field(default_factory=dict, repr=False)
    test_others: dict[str, list[str]] = field(default_factory=dict, repr=False)
    channels: int = 3  # of a picture
    versions: list[str] | None = field(default=None, repr=False)  # what rows that show the same thing share
    literal: bool = False  # labels are names of folders or files: never blank, never a set
    positive: str = ""  # of two classes the positive one, where the user says so
    beside: tuple[str, ...] = ()  # columns of the sample that are no answers
    joined: bool = False  # label cells are sets joined by | here, of several rows an id
    notes: tuple[Note, ...] = ()

    def only(self, rows: Sequence[int]) -> "RawTask":
        """The same with these train rows, in this order."""
        return replace(
            self,
            train_ids=[self.train_ids[i] for i in rows],
            train_files=[self.train_files[i] for i in rows],
            labels={c: [cells[i] for i in rows] for c, cells in self.labels.items()},
            others={c: [cells[i] for i in rows] for c, cells in self.others.items()},
            versions=None if self.versions is None else [self.versions[i] for i in rows],
        )

    @property
    def test_columns(self) -> tuple[str, ...]:
        """The columns that test rows have too."""
        return tuple(self.test_others)

    @property
    def answers(self) -> list[str]:
        """The sample submission's columns that are to be filled."""
        free = self.sample.columns if self.sample else []
        return [c for c in free if c != self.sample_id and c not in self.beside]
