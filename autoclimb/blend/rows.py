"""Rows: some rows of the members' out-of-fold predictions with the goal, which a blender is fitted on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from autoclimb.arrays import LARGE, ByRow, View
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.rules import answer
from autoclimb.seeds import some_of
from autoclimb.types import Goal, Metadata

MOST_CELLS = 40_000  # rows x columns a search over members looks at; 12 trials x 2,000 x 36 then take about a second
FEWEST = 300  # rows that a fit or a comparison looks at, however many columns there are
MOST_DIVERSE = 12
NEAR_COPY = 0.995  # correlation of two members' predictions from which the second adds next to nothing (assumption)


@dataclass(frozen=True, eq=False)
class Beside:
    """Columns beside the pictures: `values` `(n, K)`, NaN where blank; `words` has the number of words of each column.

    Columns of numbers have 0 words; a category is the index of its word in the column's list.
    """

    values: np.ndarray
    words: tuple[int, ...]

    @classmethod
    def of(cls, metadata: Metadata | None, rows: np.ndarray) -> "Beside | None":
        """The columns of some train rows, None where there are none."""
        if metadata is None:
            return None
        return cls(metadata.train[rows], tuple(map(len, metadata.categories)))


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of all members' predictions. `predictions` are each `(n, C)` over all rows, `rows` picks by index.

    Large predictions are read lazily: only the rows that are used, of the members that a blender picks. `effort` is the
    share of its usual work that a fit may do: fits that only serve to choose between blenders do less. `own_scores`
    caches the score of a member, by its name in `names`, on the few rows that members are ranked on, for the next blend
    of the same rows.
    """

    goal: Goal
    predictions: tuple[ByRow, ...]
    truth: np.ndarray  # of all rows
    rows: np.ndarray
    effort: float = 1.0
    beside: Beside | None = None  # of all rows
    groups: np.ndarray | None = None  # of all rows
    names: tuple[str, ...] = ()  # of the members on all rows; () for none
    own_scores: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, member: int) -> np.ndarray:
        """The member's predictions on these rows."""
        return self.predictions[member][self.rows]

    def of_members(self, some: Sequence[int]) -> "Rows":
        """The same rows of some members."""
        names = tuple(self.names[i] for i in some) if self.names else ()
        return replace(self, predictions=tuple(self.predictions[i] for i in some), names=names)

    @property
    def true(self) -> np.ndarray:
        """The truth of these rows."""
        return self.truth[self.rows]

    @property
    def width(self) -> int:
        """Columns of a prediction."""
        return int(self.predictions[0].shape[1])

    def at_most(self, cells: float, cells_a_row: int) -> "Rows":
        """These rows, or a random sample of at least FEWEST of them so that a fit reads at most `cells` cells."""
        most = max(FEWEST, int(cells * self.effort) // max(1, cells_a_row))
        if len(self.rows) <= most:
            return self
        some = self.rows[some_of(len(self.rows), most, "blend")]
        return replace(self, rows=some)

    @cached_property
    def few(self) -> "Rows":
        """A sample of these rows that is small enough for a search over members."""
        # sorting columns or taking logs costs twice what counting does
        most = MOST_CELLS // 2 if self.goal.metric.wants == "probability" else MOST_CELLS
        return self.at_most(most, self.width)

    @cached_property
    def ranked(self) -> list[int]:
        """The members, best first, by their own score on `few`."""
        few = self.few
        drawn = hashlib.blake2b(few.rows.tobytes(), digest_size=8).hexdigest()

        def score(member: int) -> float:
            key = (self.names[member] if self.names else str(member), drawn)
            if key not in self.own_scores:
                self.own_scores[key] = own_score(self.goal, few.true, few.of(member))
            return self.own_scores[key]

        scores = [score(i) for i in range(len(self.predictions))]
        return sorted(range(len(scores)), key=lambda i: -scores[i])

    @cached_property
    def diverse(self) -> list[int]:
        """The members, best first and MOST_DIVERSE at most, without near copies of a better one."""
        few = self.few
        picked: list[int] = []
        columns: list[np.ndarray] = []  # of those, centred, of length one
        for member in self.ranked:
            column = few.of(member).ravel().astype(np.float64)
            column -= column.mean()
            column /= max(float(np.sqrt(np.einsum("n,n->", column, column))), 1e-6)
            if not picked or max(float(np.einsum("n,n->", column, other)) for other in columns) < NEAR_COPY:
                picked.append(member)
                columns.append(column)
            if len(picked) == MOST_DIVERSE:
                break
        return picked


def of_rows(source: ByRow, rows: np.ndarray, members: int) -> ByRow:
    """These rows of a member's predictions: in memory, or as a view where those of all `members` would be too large."""
    view = View(source, rows)
    return view if members * len(rows) * source.shape[1] > LARGE else np.asarray(view)


def own_score(goal: Goal, truth: np.ndarray, p: np.ndarray) -> float:
    """The score with a decision rule learned on the same rows: for comparisons, never for reports."""
    rule = learn_rule(goal, truth, p, quick=True)
    return goal.score(truth_for(goal, truth), answer(rule, p))
