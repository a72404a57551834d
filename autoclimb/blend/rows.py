"""What a blender is fitted on: some rows of the members' out-of-fold predictions, with the goal."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.rules import answer
from autoclimb.types import Goal

MOST_CELLS = 40_000  # rows x columns a search over members looks at; 12 trials x 2,000 x 36 then take about a second


@dataclass(frozen=True, eq=False)
class Beside:
    """Columns beside the pictures: `values` `(n, K)`, NaN where blank; how many `words` each has, 0 for numbers.

    A category is its place among the words of its column.
    """

    values: np.ndarray
    words: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of all members' predictions. `predictions` are each `(n, C)` over all rows, `rows` picks by index."""

    goal: Goal
    predictions: tuple[np.ndarray, ...]
    truth: np.ndarray  # of all rows
    rows: np.ndarray
    quick: bool = False
    beside: Beside | None = None  # of all rows

    def of(self, member: int) -> np.ndarray:
        """The member's predictions on these rows."""
        return self.predictions[member][self.rows]

    @property
    def true(self) -> np.ndarray:
        """The truth of these rows."""
        return self.truth[self.rows]

    @cached_property
    def few(self) -> "Rows":
        """An even choice of these rows, few enough to search on."""
        most = MOST_CELLS // self.predictions[0].shape[1] // (2 if self.quick else 1)
        if self.goal.metric.wants == "probability":
            most //= 2  # sorting columns or taking logs costs twice what counting does
        most = max(300, most)
        if len(self.rows) <= most:
            return self
        at = np.linspace(0, len(self.rows) - 1, most).astype(int)
        return Rows(self.goal, self.predictions, self.truth, self.rows[at], self.quick)

    @cached_property
    def ranked(self) -> list[int]:
        """The members, best first by their own score on `few`: shared by all blenders that start from it."""
        few = self.few
        scores = [own_score(self.goal, few.true, few.of(i)) for i in range(len(self.predictions))]
        return sorted(range(len(scores)), key=lambda i: -scores[i])


def shares_of(true: np.ndarray, width: int) -> np.ndarray:
    """Class indices `(n,)` as one-hot rows `(n, C)`; shares of votes are such rows already."""
    return true if true.ndim == 2 else np.eye(width)[true.astype(int)]


def own_score(goal: Goal, truth: np.ndarray, p: np.ndarray) -> float:
    """The score with a decision rule learned on the same rows: to compare by, never to report."""
    rule = learn_rule(goal, truth, p, quick=True)
    return goal.score(truth_for(goal, truth), answer(rule, p))
