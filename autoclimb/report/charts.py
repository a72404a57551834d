"""Figures of a run: as matplotlib's, for notebooks, and as static SVG that follows the page's colours.

Matplotlib because everybody knows how to continue from its figures, its SVG is text, and it draws without a browser.
pyplot is not used: it has global state, and windows.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec
from xml.etree import ElementTree

import numpy as np

from autoclimb.report.words import score_words, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
# colours by meaning; in a page each is a custom property of the style sheet, which has a light and a dark value
INK, SOFT, ACCENT, SECOND, GOOD, BAD, BAND = "#1b1f24", "#5d6670", "#1f6feb", "#b35900", "#1a7f37", "#c4322b", "#eef1f4"
ROLES = {INK: "ink", SOFT: "soft", ACCENT: "accent", SECOND: "second", GOOD: "good", BAD: "bad", BAND: "band"}
COLOURS = (ACCENT, SECOND, GOOD, BAD, INK, SOFT)  # of lines that a figure tells apart, in this order
WIDTH = 5.0  # inches, 360 points: the width of a phone, so that text is 9 px there and larger elsewhere
ACROSS = 2  # panels side by side
MOST_SIGNS = 24  # characters of a label in a chart
FAR, FEWEST_SCORES = 3.0, 4  # of worst_shown: where an axis ends, and the scores it takes at least; own choice
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "text.parse_math": False,  # labels hold dollars
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "axes.titlecolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}
SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"


def plain(text: str, most: int = MOST_SIGNS) -> str:
    """A label on one line without control characters, its middle cut out where it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return short(line, most)


def import_library() -> None:
    """Imports the libraries of a page: matplotlib, which takes a second, Jinja2 and scipy.special."""
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import scipy.special  # noqa: F401


def in_style(draw: Callable[P, "Figure"]) -> Callable[P, "Figure"]:
    """The drawing function, run with STYLE; the caller's own matplotlib settings stay as they are."""

    @wraps(draw)
    def styled(*args: P.args, **options: P.kwargs) -> "Figure":
        from matplotlib import rc_context

        with rc_context(STYLE):  # type: ignore[arg-type]
            return draw(*args, **options)

    return styled


def new_figure(height: float) -> "tuple[Figure, Axes]":
    """An empty figure of the page's width, `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH, height))
    return figure, figure.subplots()


def panels_of(count: int, height: float) -> "tuple[Figure, list[Axes]]":
    """A figure of the page's width with `count` panels, each `height` inches high."""
    from matplotlib.figure import Figure

    down = math.ceil(count / ACROSS)
    across = min(ACROSS, count)
    figure = Figure((WIDTH, down * height))
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def svg_of(figure: "Figure", name: str) -> str:
    """The figure as an SVG element for a page, its ids prefixed by `name` and its colours the page's custom properties.

    A content security policy forbids style attributes, so their values become attributes of their own.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    settings = {**STYLE, "svg.hashsalt": name}
    with rc_context(settings), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore")  # a character that matplotlib's font lacks is drawn by the reader's
        for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set_facecolor("none")
        # figure.savefig would draw once more for the layout alone, which is a sixth of the time
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = set(re.findall(r"#([\w-]+)", " ".join(v for e in root.iter() for v in e.attrib.values() if "#" in v)))
    for element in root.iter():
        _plain_attributes(element, name, used)
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "aria-hidden": "true",
        "focusable": "false",
        "stroke-linejoin": "round",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _plain_attributes(element: ElementTree.Element, name: str, used: set[str]) -> None:
    """Turns style into attributes, prefixes the ids in `used` by the chart's name, and drops the other ids."""
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = part.partition(":")
        if key.strip() == "font":
            key, value = "font-size", next(iter(re.findall(r"[\d.]+px", value)), "9px")
        if key.strip() and key.strip() != "font-family":
            element.set(key.strip(), value.strip())
    if LINK in element.attrib:
        element.set("href", element.attrib.pop(LINK))
    for key, value in element.attrib.items():
        if value in ROLES:
            element.set(key, f"var(--{ROLES[value]})")
        elif key == "href" or value.startswith("url(#"):
            element.set(key, value.replace("#", f"#{name}-"))
    if "id" in element.attrib:
        identity = element.attrib.pop("id")
        if identity in used:
            element.set("id", f"{name}-{identity}")


@in_style
def climb_figure(
    trials: Sequence[tuple[float, float, float, bool]],
    blends: Sequence[tuple[float, float]],
    stages: Sequence[tuple[float, float, str]],
    metric: str,
    higher: bool,
) -> "Figure":
    """Score against time.

    `trials` are (seconds, score, stderr, whether in the blend), `blends` (seconds, score), `stages` (start, end, name)
    with both times in seconds.
    """
    figure, axes = new_figure(3.1)
    latest = max([row[0] for row in (*trials, *blends)], default=0.0)
    unit, word = (60.0, "minutes") if latest > 180 else (1.0, "seconds")
    _draw_stages(axes, stages, unit)
    edge = worst_shown([t[1] for t in trials], higher)
    for seconds, score, stderr, member in trials:
        colour = ACCENT if member else SOFT
        if edge is not None and (score < edge if higher else score > edge):
            _draw_beyond(axes, seconds / unit, edge, score, higher, colour)
        else:
            fill = colour if member else "none"
            axes.errorbar(seconds / unit, score, stderr, fmt="o", ms=4.5, lw=1, color=colour, mfc=fill)
    if blends:
        _draw_blends(axes, [(seconds / unit, score) for seconds, score in blends], higher)
    if edge is not None:
        axes.set_ylim(bottom=edge if higher else None, top=None if higher else edge)
    axes.set_xlabel(f"{word} of the budget")
    axes.set_ylabel(f"{metric}, {'higher' if higher else 'lower'} is better")
    return figure


def _draw_beyond(axes: "Axes", at: float, edge: float, score: float, higher: bool, colour: str) -> None:
    """Draws a score that is worse than the worst shown: an arrow at the chart's edge, and the score in digits."""
    axes.plot(at, edge, "v" if higher else "^", ms=5, color=colour, clip_on=False)
    offset = 5, 3 if higher else -10
    axes.annotate(f"{score:.3g}", (at, edge), offset, textcoords="offset points", fontsize=7.5, color=colour)


def _draw_blends(axes: "Axes", blends: Sequence[tuple[float, float]], higher: bool) -> None:
    """Draws the (time, score) of the blends as steps, the last one with its score."""
    times, scores = zip(*blends, strict=True)
    axes.step(times, scores, where="post", color=SECOND, lw=1.8, zorder=3)
    axes.plot(times[-1], scores[-1], "D", ms=5.5, color=SECOND, zorder=4)
    axes.annotate(
        f"blend {score_words(scores[-1])}",
        (times[-1], scores[-1]),
        (-6, 7 if higher else -13),
        textcoords="offset points",
        ha="right",
        color=SECOND,
        fontweight="bold",
    )


def _draw_stages(axes: "Axes", stages: Sequence[tuple[float, float, str]], unit: float) -> None:
    """Draws the (start, end, name) of stages as bands with slanted names above; `unit` is the seconds of a tick."""
    for number, (start, end, name) in enumerate(stages):
        if number % 2 == 0:
            axes.axvspan(start / unit, end / unit, color=BAND, lw=0, zorder=0)
        axes.text(
            (start + end) / 2 / unit,
            1.01,
            plain(name, 16),
            transform=axes.get_xaxis_transform(),
            ha="left",
            va="bottom",
            fontsize=7.5,
            color=SOFT,
            rotation=35,
            rotation_mode="anchor",
        )


def worst_shown(scores: Sequence[float], higher: bool) -> float | None:
    """The score at which an axis ends, so that outliers do not flatten the others; None where there is no outlier.

    An outlier is more than FAR times as far from the best score as the middle score is.
    """
    ordered = sorted(scores, reverse=higher)
    if len(ordered) < FEWEST_SCORES:
        return None
    edge = ordered[0] + FAR * (ordered[len(ordered) // 2] - ordered[0])
    beyond = ordered[-1] < edge if higher else ordered[-1] > edge
    return edge if beyond and edge != ordered[0] else None


@in_style
def bars_figure(
    names: Sequence[str],
    values: Sequence[float],
    errors: Sequence[float] | None = None,
    label: str = "",
    colours: Sequence[str] | None = None,
    written: Sequence[str] | None = None,
) -> "Figure":
    """A horizontal bar for each name, the first on top, with error bars and numbers beside them where given."""
    figure, axes = new_figure(0.75 + 0.24 * len(names))
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, height=0.7, color=list(colours) if colours else ACCENT)
    if errors is not None:
        axes.errorbar(values, places, xerr=errors, fmt="none", ecolor=INK, lw=1)
    for place, value, text in zip(places, values, written or (), strict=False):
        axes.annotate(text, (max(value, 0), place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [plain(name, 34) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    if written:
        axes.margins(x=0.12)
    if min(values, default=0) < 0:
        axes.axvline(0, color=SOFT, lw=0.8)
    axes.locator_params(axis="x", nbins=5)  # numbers of four decimals would overlap at the phone's width
    axes.set_xlabel(label)
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure


@in_style
def matrix_figure(names: Sequence[str], table: np.ndarray, across: str, down: str, shares: np.ndarray) -> "Figure":
    """A table `(n, n)` of numbers as cells, coloured by `shares` in 0..1: the diagonal in GOOD, the others in BAD."""
    n = len(names)
    figure, axes = new_figure(min(1.6 + 0.3 * n, 5.6))
    from matplotlib.patches import Rectangle

    for i in range(n):
        for j in range(n):
            strength = 0.55 * float(np.clip(shares[i, j], 0, 1))
            if strength > 0.004:
                colour = GOOD if i == j else BAD
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, alpha=strength, lw=0))
            if n <= 12 and table[i, j]:
                text = f"{table[i, j]:.2g}" if table.dtype.kind == "f" else f"{table[i, j]:,}"
                axes.text(j, i, text, ha="center", va="center", fontsize=8 if n <= 8 else 6.5)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    shown = [plain(name, 14) for name in names]
    short = max(map(len, shown), default=0) <= 3
    slanted: dict[str, Any] = {} if short else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(n), shown, fontsize=8 if n <= 12 else 6.5, **slanted)
    axes.set_yticks(range(n), shown, fontsize=8 if n <= 12 else 6.5)
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    return figure


@in_style
def calibration_figure(predicted: Sequence[float], observed: Sequence[float], errors: Sequence[float]) -> "Figure":
    """A reliability diagram: observed frequency against predicted probability by bins, with the line of equality."""
    figure, axes = new_figure(2.9)
    axes.plot([0, 1], [0, 1], color=SOFT, lw=1, ls=(0, (4, 3)))
    axes.errorbar(predicted, observed, errors, fmt="o-", color=ACCENT, ms=4.5, lw=1.4)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed frequency")
    return figure


@in_style
def numbers_figure(truth: np.ndarray, answers: np.ndarray) -> "Figure":
    """True numbers against answers, and the line where they are equal."""
    figure, axes = new_figure(3.2)
    low, high = float(min(truth.min(), answers.min())), float(max(truth.max(), answers.max()))
    axes.plot([low, high], [low, high], color=SOFT, lw=1, ls=(0, (4, 3)))
    axes.plot(truth, answers, "o", ms=3.5, color=ACCENT, alpha=0.45, mew=0)
    axes.set_xlabel("true number")
    axes.set_ylabel("answer, out of fold")
    return figure


@in_style
def histogram_figure(counts: Sequence[int], edges: Sequence[float], label: str) -> "Figure":
    """A histogram of `counts` between `edges`, one more of them."""
    figure, axes = new_figure(2.3)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=ACCENT, alpha=0.85)
    axes.set_xlabel(label)
    axes.set_ylabel("rows")
    return figure
