"""TIFF of any depth and any number of bands, by tifffile; the number of bands of a set."""

import io
import logging
import math
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np

from autoclimb.data.files.archives import read_member
from autoclimb.data.files.formats import MOST_NUMBERS
from autoclimb.data.files.stacks import thinned
from autoclimb.data.sources import parts_of

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
ALPHA = (1, 2)  # kinds of extra samples
LOOKED_AT = 5  # files whose bands are taken for those of the set


@cache
def quiet_tifffile() -> None:
    """Stops tifffile from writing a line to standard error for each file that it refuses or repairs."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def tiff_array(content: bytes | str) -> np.ndarray:
    """A TIFF's first picture with all its bands, `(h, w)` or `(h, w, c)`, in the file's type. Raises ValueError."""
    import tifffile

    quiet_tifffile()
    with tifffile.TiffFile(io.BytesIO(content) if isinstance(content, bytes) else content) as file:
        page = file.pages.first
        if math.prod(page.shape) > MOST_NUMBERS:
            raise ValueError(f"a TIFF that claims {page.shape} is taken for a bomb")
        array = page.asarray()
        return np.moveaxis(array, 0, -1) if array.ndim == 3 and page.planarconfig == 2 else array


def channels_of_set(sources: Sequence[str]) -> int:
    """The channels of a set of TIFF files: the bands that a few of them share, 3 where those are grey or colours."""
    bands = {bands_at(source) for source in thinned([s for s in sources if s], LOOKED_AT)} - {0}
    count = bands.pop() if len(bands) == 1 else 3
    return 3 if count == 1 else count


def bands_at(source: str) -> int:
    """The bands of a TIFF's first picture by its header, without alpha; 0 where it cannot be read."""
    import tifffile

    quiet_tifffile()
    file, *steps = parts_of(source)[0][0]
    try:
        with tifffile.TiffFile(io.BytesIO(read_member(file, *steps)) if steps else file) as opened:
            page = opened.pages.first
            return int(page.samplesperpixel) - sum(extra in ALPHA for extra in page.extrasamples)
    except (OSError, EOFError, ValueError, KeyError, IndexError, RuntimeError, TypeError, struct.error):
        return 0
