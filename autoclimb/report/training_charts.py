"""Figures of training: losses over time, and the sweeps from which learning rates were chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoclimb.report.charts import COLOURS, in_style, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 0.17  # inches of a line of the legend
Line = tuple[str, Sequence[float], Sequence[float]]  # name, x, y


@in_style
def curves_figure(lines: Sequence[Line], ends: Sequence[float | None]) -> "Figure":
    """Each net's loss against the share of its training, with a diamond at its loss out of fold (`ends`) if known."""
    figure, axes = new_figure(2.5 + LINE * len(lines))
    for (name, x, y), end, colour in zip(lines, ends, COLOURS, strict=False):
        share = [100 * epoch / x[-1] for epoch in x]
        axes.plot(share, y, color=colour, lw=1.5, label=plain(name, 40))
        if end is not None:
            axes.plot(100, end, "D", ms=5.5, color=colour, clip_on=False, zorder=4)
    axes.set_xlim(0, 102)
    axes.set_xlabel("% of its training")
    axes.set_ylabel("loss")
    figure.legend(loc="outside lower left", fontsize=8, ncols=1, handlelength=1.4)
    return figure


@in_style
def sweep_figure(lines: Sequence[Line], rates: Sequence[float]) -> "Figure":
    """Each sweep's smoothed loss against the learning rate, with a dot at the chosen rate."""
    figure, axes = new_figure(2.5 + LINE * len(lines))
    for (name, x, y), rate, colour in zip(lines, rates, COLOURS, strict=False):
        axes.plot(x, y, color=colour, lw=1.5, label=plain(name, 40))
        nearest = min(range(len(x)), key=lambda i: abs(x[i] - rate))
        axes.plot(x[nearest], y[nearest], "o", ms=6, color=colour, zorder=4)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, smoothed")
    figure.legend(loc="outside lower left", fontsize=8, ncols=1, handlelength=1.4)
    return figure
