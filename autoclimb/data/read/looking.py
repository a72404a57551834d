"""A look at a few pictures where names leave open whether they show the same thing."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from autoclimb.data.files.archives import UNREADABLE, read_member
from autoclimb.data.files.heif import register_heif
from autoclimb.data.sources import parts_of

NO_RASTER: tuple[type[Exception], ...] = (
    *UNREADABLE,
    UnidentifiedImageError,
    SyntaxError,
    Image.DecompressionBombError,
)
SIDE = 16  # pixels a side at which two pictures are compared
ALIKE = 0.95  # correlation from which they show the same (assumption: versions differ by compression or noise)


def look_alike(pairs: Sequence[tuple[str, str]]) -> bool | None:
    """Whether most of these pairs of sources show the same; None where too few could be opened to tell."""
    alike = []
    for one, other in pairs:
        a, b = thumbnail(one), thumbnail(other)
        if a is not None and b is not None:
            flat = a.std() == 0 or b.std() == 0
            alike.append(bool(np.array_equal(a, b)) if flat else bool(np.corrcoef(a, b)[0, 1] > ALIKE))
    return sum(alike) > len(alike) / 2 if alike else None


def thumbnail(source: str) -> np.ndarray | None:
    """The picture in grey at a small size as a row of numbers, None where it cannot be had cheaply."""
    try:
        with first_raster(source) as image:
            image.draft("L", (4 * SIDE, 4 * SIDE))
            return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64).ravel()
    except NO_RASTER:
        return None


def first_raster(source: str) -> Image.Image:
    """The first picture at a source by Pillow, opened but not decoded. Raises one of NO_RASTER."""
    register_heif()
    file, *members = parts_of(source)[0][0]
    return Image.open(BytesIO(read_member(file, *members)) if members else file)
