"""The parts of a page (charts, tables, pictures, facts, sentences) and the templates that turn them into one file.

Text is hostile until Jinja2 escapes it; only SVG drawn by charts.py is inserted unescaped.
"""

import base64
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from autoclimb.budget import SLACK
from autoclimb.report.words import number

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure
    from PIL.Image import Image

T = TypeVar("T")
STYLES = {"page.html": ("page.css",), "suspects.html": ("page.css", "suspects.css")}
SCRIPTS = {"suspects.html": "suspects.js"}
GLOW = ((120, 235, 255), (0, 80, 225), (60, 20, 90))  # red, green and blue, each for no, half and full evidence
THUMBNAIL = 96  # pixels of the longer side, as decoded and as shown
LONGEST = 90  # characters of a label in running text


@dataclass(frozen=True)
class Words:
    """A sentence in a tone: "plain", "quiet" or "warning"."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows under a head, folded away until the reader opens them unless `shown`. Numbers are aligned right."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]
    shown: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure, a sentence that explains it, and its numbers. `svg` is empty where there was no time to draw."""

    title: str
    says: str
    svg: str
    table: Table | None = None


@dataclass(frozen=True)
class Picture:
    """A thumbnail with a caption and a second line; `beside` is a second picture. Pictures are data URIs."""

    source: str
    title: str
    text: str = ""
    beside: str = ""
    sides: tuple[int, int] = (96, 96)  # width and height in pixels


@dataclass(frozen=True)
class Pictures:
    """Thumbnails in rows."""

    title: str
    says: str
    pictures: Sequence[Picture]

    @property
    def widest(self) -> str:
        """The widest layout among the pictures: "one", "two" side by side, or a "strip" of several."""
        if any(picture.sides[0] > THUMBNAIL for picture in self.pictures):
            return "strip"
        return "two" if any(picture.beside for picture in self.pictures) else "one"


Part = Words | Facts | Table | Chart | Pictures


@dataclass(frozen=True)
class Section:
    """A heading and the parts under it; `key` is its anchor."""

    key: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Headline:
    """The head of a page: a name, its score with the error, what the score is, and the state of the run."""

    name: str
    score: str
    error: str
    about: str
    state: str


def safe(text: object, most: int = LONGEST) -> str:
    """Text on one line without control characters or lone surrogates, its middle cut out where it is long."""
    from autoclimb.report.charts import plain

    return plain(str(text).encode("utf-8", "replace").decode(), most)


def with_code(text: str) -> str:
    """The text as escaped HTML, with code elements for the parts between backticks."""
    from markupsafe import Markup, escape

    parts = [
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def rendered(template: str, **values: object) -> str:
    """The template of that name, filled, with its styles and script inline: the only ones that its policy allows."""
    styles = [_text(name) for name in STYLES.get(template, ())]
    script = _text(SCRIPTS[template]) if template in SCRIPTS else ""
    inline = {"style": "".join(styles), "script": script}
    hashes = {f"{name}_hash": _hash_of(text) for name, text in inline.items()}
    return _template(template).render(**values, **inline, **hashes)


def page_style() -> str:
    """The style sheet of a page."""
    return _text("page.css")


def _hash_of(text: str) -> str:
    """The text's SHA-256 as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template(name: str) -> "Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_text),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "safe_text": safe,
        "with_code": with_code,
        "cell": _cell,
        "cell_class": _class_of,
        "kind": lambda part: type(part).__name__.lower(),
    }
    environment.tests["numeric"] = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
    return environment.get_template(name)


def _text(name: str) -> str:
    return resources.files("autoclimb.report").joinpath(name).read_text(encoding="utf-8")


def _cell(value: str | float | int) -> str:
    return safe(value, 200) if isinstance(value, str) else number(value)


def _class_of(value: str | float | int) -> str:
    return "number" if not isinstance(value, str) else "short" if len(value) <= 20 else "long"


@dataclass(frozen=True)
class Pen:
    """Draws the charts of a page while there is time, and reuses them in later versions of the page.

    `left()` is the number of seconds left for the page. `drawn` holds what was made before, by name. A `dry` pen draws
    nothing.
    """

    left: Callable[[], float]
    dry: bool = False
    drawn: dict[str, Any] = field(default_factory=dict, repr=False)

    def may_draw(self, name: str) -> bool:
        """Whether a chart of that name is there already, or there is time to draw it."""
        return not self.dry and (name in self.drawn or self.left() > SLACK.report_chart)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The value stored under the name, made and stored now where there is none."""
        if name not in self.drawn:
            self.drawn[name] = make()
        return self.drawn[name]


def unhurried() -> Pen:
    """A new pen that has time for everything."""
    return Pen(lambda: math.inf)


def chart(
    title: str, says: str, key: str, pen: Pen, table: Table | None, draw: "Callable[..., Figure]", *values: Any
) -> Chart:
    """The chart of the figure `draw(*values)`, without a drawing where the pen may not draw it."""
    from autoclimb.report.charts import svg_of

    svg = pen.once(key, lambda: svg_of(draw(*values), key)) if pen.may_draw(key) else ""
    return Chart(title, says, svg, table)


def thumbnail(pixels: np.ndarray, quality: int = 78, evidence: np.ndarray | None = None) -> str:
    """The picture `(h, w, channels)` uint8 as a JPEG in a data URI; of more than three channels the first three.

    With `evidence`, `(h, w)` uint8 of any size, the picture is dark and grey and glows where the evidence lies.
    """
    from PIL import Image

    pixels = np.asarray(pixels)
    picture = Image.fromarray(pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0])
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    if evidence is not None:
        heat = Image.fromarray(evidence).resize(picture.size, Image.Resampling.BICUBIC)
        picture = Image.fromarray(glowing(np.asarray(picture.convert("L")), np.asarray(heat)))
    return jpeg(picture, quality)


def glowing(grey: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """A grey picture `(h, w)` with a glow on it, `(h, w, 3)` uint8: none, red, orange, yellow as evidence nears 255."""
    strength = evidence.astype(np.float32) / 255
    glow = np.stack([np.interp(strength, (0.0, 0.5, 1.0), channel) for channel in GLOW], -1)
    cover = 0.7 * strength[..., None] ** 1.6  # weak evidence leaves the picture visible
    return ((0.85 * grey[..., None]) * (1 - cover) + glow * cover).clip(0, 255).astype(np.uint8)


def jpeg(picture: "Image", quality: int) -> str:
    """The picture as a JPEG in a data URI."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
