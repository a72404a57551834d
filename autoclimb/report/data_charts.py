"""Figures of a run's pictures: their sizes, their looks in train and test, and scores by slices of rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoclimb.report.charts import ACCENT, BAD, BAND, INK, SECOND, SOFT, in_style, new_figure, panels_of, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = {"train": ACCENT, "test": SECOND}


@in_style
def sizes_figure(sizes: dict[str, Sequence[tuple[int, int, int]]]) -> "Figure":
    """Widths and heights of train and test pictures, given as (width, height, count); a dot's area is the count's."""
    figure, axes = new_figure(2.9)
    for (side, colour), marker in zip(SIDES.items(), "os", strict=True):
        rows = sizes.get(side, ())
        total = sum(n for *_, n in rows)
        if rows:
            areas = [10 + 300 * n / total for *_, n in rows]
            x, y = [w for w, _, _ in rows], [h for _, h, _ in rows]
            axes.scatter(x, y, areas, color=colour, marker=marker, alpha=0.45, linewidths=0, label=side)
    axes.set_xlabel("width, px")
    axes.set_ylabel("height, px")
    axes.set_xlim(0)
    axes.set_ylim(0)
    if all(sizes.get(side) for side in SIDES):
        axes.legend(fontsize=8, handlelength=1.2, markerscale=0.7)
    return figure


@in_style
def looks_figure(looks: dict[str, dict[str, Sequence[float]]]) -> "Figure":
    """Histograms of train pictures, filled, and of test pictures, outlined, of each look."""
    figure, panels = panels_of(len(looks), 1.75)
    for axes, (name, look) in zip(panels, looks.items(), strict=True):
        axes.stairs(look["train"], look["edges"], fill=True, color=ACCENT, alpha=0.35, label="train")
        if any(look["test"]):
            axes.stairs(look["test"], look["edges"], color=SECOND, lw=1.5, label="test")
        axes.set_xlabel(name, color=INK)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=4)
    panels[0].legend(fontsize=8, handlelength=1.2)
    return figure


@in_style
def slices_figure(
    names: Sequence[str],
    scores: Sequence[float],
    errors: Sequence[float],
    worse: Sequence[bool],
    metric: str,
    all_rows: float,
) -> "Figure":
    """The score of each slice with its standard error, the first on top, beside that of all rows."""
    figure, axes = new_figure(0.75 + 0.26 * len(names))
    places = np.arange(len(names))[::-1]
    axes.axvline(all_rows, color=SOFT, lw=1, ls=(0, (4, 3)))
    for place, score, error, bad in zip(places, scores, errors, worse, strict=True):
        colour = BAD if bad else ACCENT
        axes.axhline(place, color=BAND, lw=1, zorder=0)
        axes.errorbar(score, place, xerr=error, fmt="o", ms=5, lw=1.4, color=colour)
    axes.set_yticks(places, [plain(name, 28) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"{metric} and its standard error")
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure
