"""Picture files: opened by Pillow, by tifffile and OpenCV where Pillow would cut depth or bands."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import cv2
import numpy as np
from PIL import Image

from autoclimb.data.files.formats import MOST_PIXELS
from autoclimb.data.files.heif import register_heif
from autoclimb.data.files.stacks import Picture, views_of
from autoclimb.data.files.tiff import quiet_tifffile, tiff_array

BITS_PER_SAMPLE = 258


@cache
def quiet_decoders() -> None:
    """Stops Pillow, OpenCV and tifffile from writing to standard error of each file that they refuse or mend."""
    warnings.filterwarnings("ignore", module="PIL")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    quiet_tifffile()


@contextmanager
def opened_image(name: str, content: bytes | str, channels: int) -> Iterator[list[Picture]]:
    """The pictures in a file's bytes, or in the file at a path: one, or those of a stack of bands.

    Pillow's are opened, not decoded, so that headers are cheap and JPEGs can be drafted. Raises UnidentifiedImageError
    for what is no picture, ValueError for bombs, and whatever else decoders raise (opening.UNREADABLE).
    """
    quiet_decoders()
    register_heif()
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{name} claims {image.width}x{image.height} pixels")
        array = array_beyond_pillow(image, content, channels)
        yield [image] if array is None else views_of(array, channels)


def array_beyond_pillow(image: Image.Image, content: bytes | str, channels: int) -> np.ndarray | None:
    """The bands of a picture that Pillow would cut to 8 bits, or to colours where the bands are wanted; else None."""
    if image.format == "TIFF":
        depths = image.tag_v2.get(BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        if len(depths) > 1 and (max(depths) > 8 or channels not in (1, 3)):
            try:
                return tiff_array(content)
            except ValueError:  # LZW and others need a package of codecs; OpenCV reads up to four bands of them
                return opencv_array(content)
    if image.format == "PNG" and image.mode in ("RGB", "RGBA") and is_deep_png(image):
        return opencv_array(content)
    return None


def is_deep_png(image: Image.Image) -> bool:
    """Whether a PNG has 16 bits a channel, which Pillow's mode of colours does not say."""
    return any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # tile[1] is the size: 160, 116


def opencv_array(content: bytes | str) -> np.ndarray | None:
    """The picture in its own depth, red first; None where OpenCV does not read it either."""
    raw = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else np.fromfile(content, np.uint8)
    array = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim < 3:
        return array
    return array[..., [2, 1, 0, *range(3, array.shape[2])]] if array.shape[2] > 2 else array
