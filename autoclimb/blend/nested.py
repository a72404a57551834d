"""Every blender fitted without each part of the rows, and without each two: what an honest choice among them takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from autoclimb.arrays import blocks, working_precision
from autoclimb.blend.blenders import BLENDERS, Model
from autoclimb.blend.mixture import apply, mixed
from autoclimb.blend.rows import FEWEST, Rows
from autoclimb.score.crossfit import cross_answers, resampled_scores
from autoclimb.score.decide import truth_for
from autoclimb.seeds import some_of

MOST_COMPARED = 200_000  # cells of the rows that blenders are compared on; the chosen one predicts all rows
LEAST = 0.1  # of the resamples: a blend that is chosen less often moves little and costs its members' nets
TIE = 1e-12
QUICK, INNER = 0.25, 0.3  # shares of a fit's work: in haste, and where it only serves the choice


@dataclass(frozen=True, eq=False)
class Nested:
    """Blenders `names` on the rows that all members cover.

    For part k of the rows blenders are chosen by how those fitted without part k did on the others: there each other
    part j was predicted by a fit without k and j. One fit serves both orders of a pair. So neither weights, nor rule,
    nor the choice among blenders has seen the part that is scored. Where the choice looked at fits that had seen it, 60
    runs of noise claimed an AUC of .527 +- .012.
    """

    every: Rows  # all n of them
    parts: np.ndarray  # (n,)
    names: tuple[str, ...]
    quick: bool = False
    _models: dict[tuple[str, tuple[int, ...]], Model] = field(default_factory=dict)
    _rows: dict[tuple[int, ...], Rows] = field(default_factory=dict)

    @cached_property
    def target(self) -> np.ndarray:
        """The truth as the metric takes it."""
        return truth_for(self.every.goal, self.every.truth)

    @cached_property
    def compared(self) -> np.ndarray:
        """The rows `(m,)` that blenders are compared on."""
        return some_of(len(self.parts), max(FEWEST, MOST_COMPARED // self.every.width), "compared")

    @property
    def part_names(self) -> list[int]:
        """The parts there are."""
        return [int(k) for k in np.unique(self.parts)]

    def model(self, name: str, without: tuple[int, ...]) -> Model:
        """The blender fitted without some parts, once."""
        if len(self.every.predictions) == 1 and name == "best":
            return {"picked": [0], "weights": [1.0]}
        if (name, without) not in self._models:
            if without not in self._rows:  # all blenders share one ranking of the members
                rows = np.flatnonzero(~np.isin(self.parts, without))
                effort = (QUICK if self.quick else 1.0) * (INNER if len(without) > 1 else 1.0)
                self._rows[without] = replace(self.every, rows=rows, effort=effort)
            self._models[name, without] = BLENDERS[name].learn(self._rows[without])
        return self._models[name, without]

    def predicted(self, name: str, rows: np.ndarray, without: int | None = None) -> np.ndarray:
        """The blender's predictions of rows by index `(m, C)`, each by a fit without its part, and `without` that."""
        width = self.every.width
        out = np.empty((len(rows), width), working_precision(len(rows) * width, self.every.predictions[0]))
        for j in np.unique(self.parts[rows]):
            left_out = {int(j)} if without is None else {int(j), without}
            model = self.model(name, tuple(sorted(left_out)))
            here = np.flatnonzero(self.parts[rows] == j)
            for block in blocks(len(here), width * len(model["picked"])):  # of all members at a time
                out[here[block]] = self.applied(model | {"method": name}, rows[here[block]])
        return out

    def applied(self, model: Model, rows: np.ndarray) -> np.ndarray:
        """A model's predictions `(m, C)` of rows by index."""
        beside = None if self.every.beside is None else self.every.beside.values[rows]
        return apply(model, [self.every.predictions[i][rows] for i in model["picked"]], beside)

    def tried(self, without: int | None = None) -> dict[str, np.ndarray]:
        """Each blender's cross-fitted answers, by quick rules, on the compared rows or those of them outside a part."""
        rows = self.rows_outside(without)
        return {
            name: cross_answers(
                self.every.goal,
                self.every.truth[rows],
                self.predicted(name, rows, without),
                self.parts[rows],
                quick=True,
            )
            for name in self.names
        }

    def mixed_model(self, shares: Mapping[str, float], without: tuple[int, ...]) -> Model:
        """The blenders fitted without some parts, in these shares."""
        return mixed([(name, share, self.model(name, without)) for name, share in shares.items()])

    def rows_outside(self, part: int | None) -> np.ndarray:
        """The compared rows that are not of a part."""
        return self.compared if part is None else self.compared[self.parts[self.compared] != part]

    @cached_property
    def answers_tried(self) -> dict[str, np.ndarray]:
        """Each blender's cross-fitted answers on the compared rows."""
        return self.tried()

    @cached_property
    def shares(self) -> dict[str, float]:
        """The blenders to take, and the share of each in what is predicted."""
        return self._shares(self.answers_tried, self.compared)

    def mixed_predictions(
        self, shares: Mapping[str, float], rows: np.ndarray, without: int | None = None
    ) -> np.ndarray:
        """The mean, in these shares, of the blenders' `predicted`."""
        name, *others = shares
        total = self.predicted(name, rows, without)
        if others:
            total *= shares[name]
        for other in others:
            total += shares[other] * self.predicted(other, rows, without)
        return total

    def shares_without(self, k: int) -> dict[str, float]:
        """The blenders to take for a part, and their shares, chosen by the rows outside of it."""
        if self.few_parts or len(self.names) == 1:
            return {"best" if self.few_parts else self.names[0]: 1.0}
        return self._shares(self.tried(k), self.rows_outside(k))

    @property
    def few_parts(self) -> bool:
        """Whether without two of the parts no row is left to fit on: a handful of rows."""
        return len(self.part_names) < 3

    def _shares(self, answers: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
        """How often each blender would be chosen by other rows like these, the rarely chosen left out.

        Which of several blends is best is mostly luck, so the choice is smoothed: the blends are averaged in proportion
        to how often resampled rows choose each (Efron 2014, "Estimation and accuracy after model selection"). On six
        collections of kept runs that took 2 to 3 % off the errors of the one chosen by all rows (LOG.md). Columns
        beside the pictures are read only where the choice by all rows reads them.
        """
        goal, target = self.every.goal, self.target[rows]
        groups = None if self.every.groups is None else self.every.groups[rows]
        names = list(answers)
        if len(names) == 1:
            return {names[0]: 1.0}
        drawn = resampled_scores(goal, target, list(answers.values()), groups)
        errors = np.array([drawn.T[i] - drawn.T for i in range(len(names))]).std(2)
        scores = np.array([goal.score(target, answers[name]) for name in names])
        if not BLENDERS[names[simplest(scores, errors, names)]].needs_metadata:
            plain = [i for i, name in enumerate(names) if not BLENDERS[name].needs_metadata]
            names, drawn, errors = [names[i] for i in plain], drawn[:, plain], errors[np.ix_(plain, plain)]
        times = Counter(names[simplest(row, errors, names)] for row in drawn)
        enough = min(LEAST * len(drawn), max(times.values()))
        times = Counter({name: times[name] for name in names if times[name] >= enough})
        return {name: count / times.total() for name, count in times.items()}


def simplest(scores: np.ndarray, errors: np.ndarray, names: Sequence[str]) -> int:
    """The blender to take by these scores, by index: a more complex one must gain beyond its margin.

    `errors` `(K, K)` are those of the differences.
    """
    now = 0
    for i in range(1, len(names)):
        gain = scores[i] - scores[now]
        if gain > TIE and gain > BLENDERS[names[i]].margin * errors[i, now]:
            now = i
    return now
