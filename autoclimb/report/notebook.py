"""A run in a notebook: the HTML of its cell, and its figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.report import charts, findings, training_charts
from autoclimb.report.findings import Errors
from autoclimb.report.page import climb_values, headline, leaderboard_parts, lift_values
from autoclimb.report.page_errors import label_scores
from autoclimb.report.page_made import curve_values
from autoclimb.report.parts import rendered
from autoclimb.report.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 40  # of a figure


@dataclass(frozen=True, eq=False)
class Plots:
    """The figures of a run as matplotlib's: continue with `figure.axes[0]`, write them with `figure.savefig`."""

    record: RunRecord

    def climb(self) -> "Figure":
        """Score against time: every trial with its standard error, and the blend. Raises Mistake without a trial."""
        values = climb_values(self.record)
        if not values[0]:
            raise Mistake("no trial has ended yet; a climb needs one")
        return charts.climb_figure(*values)

    def lifts(self) -> "Figure":
        """The lift of each trial over the best one before it. Raises Mistake where there are fewer than two."""
        moves = findings.moves_of(self.record)
        if not moves:
            raise Mistake("a lift needs two trials that predicted the same rows; this run has none yet")
        return charts.bars_figure(*lift_values(moves, self.record.metric.name))

    def confusion(self) -> "Figure":
        """True classes down, answers across. Raises Mistake where a row does not have one class."""
        if not self.record.one_class:
            raise Mistake(f"a {self.record.goal.kind} task has no confusion matrix; errors() shows how it errs")
        table = findings.confusion(self.record, self._errors())
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        return charts.matrix_figure(self.record.classes, table, "answered", "true", shares)

    def errors(self) -> "Figure":
        """F1 of each class or label, worst first; of numbers, answers against truth."""
        errors = self._errors()
        if self.record.goal.kind == "regression":
            return charts.numbers_figure(self.record.truth[errors.rows], errors.picked)
        worst = label_scores(self.record, errors)[:MOST_BARS]
        names, values = [row[0] for row in worst], [row[5] for row in worst]
        return charts.bars_figure(names, values, None, "F1", None, [f"{value:.2f}" for value in values])

    def curves(self) -> "Figure":
        """The training losses of nets over time. Raises Mistake where no net was trained."""
        values = curve_values(self.record)
        if not values[0]:
            raise Mistake("no net has been trained yet, or not for long enough to have a curve")
        return training_charts.curves_figure(*values)

    def _errors(self) -> Errors:
        errors = findings.errors_of(self.record)
        if errors is None:
            raise Mistake("nothing is blended yet; run fit with a larger budget")
        return errors


def notebook_html(record: RunRecord) -> str:
    """The run for a notebook's cell: score, climb and leaderboard, as HTML without scripts."""
    values = climb_values(record)
    svg = charts.svg_of(charts.climb_figure(*values), f"climb-{abs(hash(tuple(values[0])))}") if values[0] else ""
    return rendered("run.html", headline=headline(record), svg=svg, parts=leaderboard_parts(record)[:1])
