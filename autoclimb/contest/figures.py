"""Figures of a bench, in the style of a run's (report/charts.py)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autoclimb.budget import as_budget
from autoclimb.report.charts import ACCENT, ACROSS, COLOURS, INK, SECOND, SOFT, in_style, new_figure, panels_of, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = "osD^vPX*"
MOST_SIGNS = 18  # of a solver's name


@dataclass(frozen=True)
class Panel:
    """A set's part of a figure: (budget, score, error) points of each solver; `known` are others' (name, score)."""

    title: str
    points: Mapping[str, Sequence[tuple[float, float, float]]]
    higher_is_better: bool
    known: Sequence[tuple[str, float]] = ()


@in_style
def scores_figure(panels: Sequence[Panel]) -> "Figure":
    """A panel for each set, a line for each solver: its score with its error, better to the right; `known` dashed."""
    solvers = list(dict.fromkeys(name for panel in panels for name in panel.points))
    figure, axes = panels_of(len(panels), 0.75 + 0.2 * len(solvers))
    for panel, place in zip(panels, axes, strict=True):
        for row, name in enumerate(solvers):
            for _, score, error in panel.points.get(name, ()):
                place.errorbar(score, -row, xerr=error, fmt=MARKS[row % len(MARKS)], ms=4.5, lw=1.2, color=_colour(row))
        for _, value in panel.known:
            place.axvline(value, color=SOFT, lw=0.8, ls=(0, (4, 3)))
        place.set_yticks([-row for row in range(len(solvers))], [plain(name, MOST_SIGNS) for name in solvers])
        place.set_ylim(0.6 - len(solvers), 0.6)
        if not panel.higher_is_better:
            place.invert_xaxis()
        _finish(place, panel.title, "x")
    for place in axes[1::ACROSS]:
        place.set_yticklabels([])
    return figure


@in_style
def budgets_figure(panels: Sequence[Panel]) -> "Figure":
    """A panel for each set: each solver's score against its budget in seconds, on a log scale."""
    solvers = list(dict.fromkeys(name for panel in panels for name in panel.points))
    figure, axes = panels_of(len(panels), 1.75)
    budgets = sorted({x for panel in panels for points in panel.points.values() for x, _, _ in points})
    for panel, place in zip(panels, axes, strict=True):
        for row, name in enumerate(solvers):
            points = panel.points.get(name, ())
            if points:
                x, score, error = zip(*points, strict=True)
                mark, colour = MARKS[row % len(MARKS)], _colour(row)
                place.errorbar(
                    x, score, error, fmt=f"{mark}-", ms=4, lw=1.3, color=colour, label=plain(name, MOST_SIGNS)
                )
        place.set_xscale("log")
        place.minorticks_off()
        place.set_xticks(budgets, [as_budget(b) for b in budgets])
        if not panel.higher_is_better:
            place.invert_yaxis()
        _finish(place, panel.title, "y")
    handles = {str(h.get_label()): h for place in axes for h in place.get_legend_handles_labels()[0]}
    figure.legend(handles=list(handles.values()), loc="outside lower left", ncols=3, fontsize=8)
    return figure


def _finish(place: "Axes", title: str, of_scores: Literal["x", "y"]) -> None:
    """Sets the panel's title and ticks; `of_scores` is the axis of scores."""
    place.set_title(plain(title, 30), loc="left", fontsize=9)
    place.locator_params(axis=of_scores, nbins=4)
    place.tick_params(labelsize=7.5)


@in_style
def ranks_figure(ranks: Sequence[tuple[str, float]], critical: float, groups: Sequence[Sequence[str]]) -> "Figure":
    """Mean ranks on a line, best on the left; bars join the groups within the critical difference.

    After Demšar 2006, figure 1.
    """
    n, levels = len(ranks), len(groups)
    figure, axes = new_figure(0.9 + 0.22 * math.ceil(n / 2) + 0.14 * levels)
    down = math.ceil(n / 2)
    place_of = dict(ranks)
    axes.plot([1, n], [0, 0], color=INK, lw=1)
    for tick in range(1, n + 1):
        axes.plot([tick, tick], [0, 0.18], color=INK, lw=1)
        axes.text(tick, 0.28, str(tick), ha="center", va="bottom", fontsize=8)
    for level, group in enumerate(groups):
        ends = [place_of[name] for name in group]
        axes.plot([min(ends) - 0.03, max(ends) + 0.03], [-0.35 - 0.4 * level] * 2, color=SECOND, lw=3.5)
    margin = 0.12 * max(n - 1, 1)
    for i, (name, rank) in enumerate(ranks):
        left = i < down
        depth = -0.6 - 0.4 * levels - 0.75 * (i if left else n - 1 - i)
        edge = 1 - margin if left else n + margin
        axes.plot([rank, rank, edge], [0, depth, depth], color=SOFT, lw=0.9)
        text = f"{plain(name, MOST_SIGNS)} {rank:.2f}" if left else f"{rank:.2f} {plain(name, MOST_SIGNS)}"
        axes.text(edge + (-0.03 if left else 0.03), depth, text, ha="right" if left else "left", va="center")
    if math.isfinite(critical):
        width = min(critical, n - 1)
        axes.plot([1, 1 + width], [1.5, 1.5], color=INK, lw=1.5)
        more = "" if critical <= n - 1 else " (longer than the line)"
        axes.text(1, 1.65, f"critical difference {critical:.2f}{more}", va="bottom", fontsize=8, color=SOFT)
    axes.set_xlim(1 - 4.5 * margin, n + 4.5 * margin)
    axes.set_ylim(-0.8 - 0.4 * levels - 0.75 * (down - 1), 2.3 if math.isfinite(critical) else 1.2)
    axes.set_axis_off()
    return figure


@in_style
def dots_figure(rows: Mapping[str, Sequence[float]], lines: Sequence[float], label: str) -> "Figure":
    """A row of dots for each name, one for each value, and vertical `lines`."""
    figure, axes = new_figure(0.75 + 0.26 * len(rows))
    for value in lines:
        axes.axvline(value, color=SOFT, lw=0.8, ls=(0, (4, 3)))
    for row, values in enumerate(rows.values()):
        axes.plot(values, [-row] * len(values), "o", ms=5, color=ACCENT, alpha=0.55, mew=0)
    axes.set_yticks([-row for row in range(len(rows))], [plain(name, MOST_SIGNS) for name in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.set_xlabel(label)
    return figure


def _colour(row: int) -> str:
    return COLOURS[row % len(COLOURS)]
