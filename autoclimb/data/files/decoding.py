"""A place -> its pictures: opened, refused by header where they claim too much, made bytes of so many channels.

Deep numbers (more than 8 bits) become bytes by one range a channel for the whole set: what is bright in one item is as
bright in all. The range is learnt from a sample: of each sampled item the 0.1 and 99.9 percentiles, of these over the
items the 5 and 95 percentiles, so that neither a hot pixel nor a strange item decides. Whoever decodes other items of
the same kind must be given it. A single picture without a set is scaled by its own depth (`to_bytes`).
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from tokenize import TokenError

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from autoclimb.data.files.containers import MOST_MEMBER, Stretch
from autoclimb.data.files.opening import found_at, only_array, whole_array
from autoclimb.data.sources import parts_of

GREY = 128  # fills the rows of unreadable pictures and what tiles leave free
MOST_PIXELS = 178_956_970  # a header that claims more is taken for a bomb (Pillow's own bound)
MOST_TILES = 16  # pictures of one item; of more, so many evenly spread
MOST_CHANNELS = 16  # an axis this short holds channels or a stack's pictures, not rows of pixels
BROKEN = (
    OSError,
    SyntaxError,  # Pillow's for broken PNG chunks
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,  # AVIF's
    MemoryError,
    ZeroDivisionError,
    TokenError,  # numpy's for the header of an npy
    LZMAError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)
Place = tuple[str, ...]  # a file and the steps into it
Picture = Image.Image | np.ndarray  # an array is (h, w, c)
Ranges = tuple[tuple[float, float], ...]  # of deep numbers, a channel each


@contextmanager
def pictures_at(place: Place, channels: int) -> Iterator[list[Picture]]:
    """The pictures at a place: one, or those of a stack. Raises one of BROKEN, or Mistake where a package is missing.

    Pillow's are opened, not decoded, so that headers are cheap and JPEGs can be drafted.
    """
    file, *way = place
    name, data = found_at(file, *way) if way else (file, None)
    if isinstance(data, Stretch) and data.length > MOST_MEMBER:
        raise ValueError(f"{name} has {data.length >> 20} MB")
    if isinstance(data, np.ndarray):
        yield views_of(data, channels)
        return
    ending = name.lower().rpartition(".")[2]
    if ending in ARRAYS:
        yield views_of(ARRAYS[ending](data if data is not None else file), channels)
        return
    bits: bytes | str = data.read() if isinstance(data, Stretch) else data if data is not None else file
    try:
        image = Image.open(io.BytesIO(bits) if isinstance(bits, bytes) else bits)
    except UnidentifiedImageError:
        yield views_of(_other(bits), channels)
        return
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{name} claims {image.width}x{image.height} pixels")
        deep = _deep_bands(image, bits, channels)
        yield [image] if deep is None else views_of(deep, channels)


def _npy(data: str | bytes | Stretch) -> np.ndarray:
    return whole_array(_stretched(data))


def _npz(data: str | bytes | Stretch) -> np.ndarray:
    return only_array(_stretched(data))


def _dicom(data: str | bytes | Stretch) -> np.ndarray:
    from autoclimb.data.files.dicom import dicom_array  # pydicom: a quarter of a second, for few competitions

    return dicom_array(data)


def _stretched(data: str | bytes | Stretch) -> bytes | Stretch:
    if not isinstance(data, str):
        return data
    whole = found_at(data)[1]
    assert isinstance(whole, Stretch)
    return whole


ARRAYS = {"npy": _npy, "npz": _npz, "dcm": _dicom, "dicom": _dicom}


def _other(bits: bytes | str) -> np.ndarray:
    """What Pillow does not know: DICOM or npy without an ending, TIFF of other bands than its own."""
    if isinstance(bits, str):
        with open(bits, "rb") as file:
            head = file.read(132)
    else:
        head = bits[:132]
    if head[128:] == b"DICM":
        return _dicom(bits)
    if head[:6] == b"\x93NUMPY":
        return _npy(bits)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return tiff_array(bits)
    raise UnidentifiedImageError("neither a picture nor an array")


def tiff_array(bits: bytes | str) -> np.ndarray:
    """A TIFF's first picture with all its bands, `(h, w)` or `(h, w, c)`, as deep as it is."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(bits) if isinstance(bits, bytes) else bits) as file:
        page = file.pages.first
        if math.prod(page.shape) > 4 * MOST_PIXELS:
            raise ValueError(f"a TIFF that claims {page.shape} is taken for a bomb")
        array = page.asarray()
        return np.moveaxis(array, 0, -1) if array.ndim == 3 and page.planarconfig == 2 else array


def _deep_bands(image: Image.Image, bits: bytes | str, channels: int) -> np.ndarray | None:
    """The bands of a picture that Pillow would cut to 8 bits, or to colours where the bands are wanted; else None."""
    if image.format == "TIFF":
        depths = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        if len(depths) > 1 and (max(depths) > 8 or channels not in (1, 3)):
            try:
                return tiff_array(bits)
            except ValueError:  # LZW and others need a package of codecs; OpenCV reads up to four bands of them
                return _by_opencv(bits)
    if image.format == "PNG" and image.mode in ("RGB", "RGBA") and _is_deep_png(image):
        return _by_opencv(bits)
    return None


def _is_deep_png(image: Image.Image) -> bool:
    """Whether a PNG has 16 bits a channel, which Pillow's mode of colours does not say."""
    return any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # tile[1] is the size: 160, 116


def _by_opencv(bits: bytes | str) -> np.ndarray | None:
    """The picture in its own depth, red first; None where OpenCV does not read it either."""
    raw = np.frombuffer(bits, np.uint8) if isinstance(bits, bytes) else np.fromfile(bits, np.uint8)
    array = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim < 3:
        return array
    return array[..., [2, 1, 0, *range(3, array.shape[2])]] if array.shape[2] > 2 else array


def views_of(array: np.ndarray, channels: int) -> list[Picture]:
    """An array as pictures `(h, w, c)`: one where its short axis fits the channels, those of a stack where it does not.

    Flat numbers are a square, of one channel or of three (red, green, blue of a pixel together: an assumption).
    An axis of up to four last is channels; else one of `channels`, last or first; else the shortest counts pictures.
    """
    if array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(f"an array of {array.dtype} {array.shape} is no picture")
    if array.ndim == 1:
        side = math.isqrt(array.size)
        coloured = math.isqrt(array.size // 3)
        if side * side == array.size:
            array = array.reshape(side, side)
        elif 3 * coloured * coloured == array.size:
            array = array.reshape(coloured, coloured, 3)
        else:
            raise ValueError(f"{array.size} numbers are no square picture")
    if array.ndim == 2:
        return [array[..., None]]
    if array.ndim == 4:
        return [view for one in thinned(array) for view in views_of(one, channels)][:MOST_TILES]
    if array.ndim != 3:
        raise ValueError(f"an array of {array.ndim} axes is no picture")
    first, last = array.shape[0], array.shape[2]
    if last <= 4 or (last == channels and first > last):
        return [array]
    if first == channels or first <= 4:
        return [np.moveaxis(array, 0, 2)]
    stack = np.moveaxis(array, 2, 0) if last < first and last <= MOST_CHANNELS else array
    return [one[..., None] for one in thinned(stack)]


def thinned(things: Sequence | np.ndarray, most: int = MOST_TILES) -> list:
    """All things, or so many of them evenly spread."""
    if len(things) <= most:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, most).round().astype(int)]


# --- bytes of so many channels ---------------------------------------------------------------------------------------


def is_deep(picture: Picture) -> bool:
    """Whether a picture has more than 8 bits a channel."""
    if isinstance(picture, np.ndarray):
        return picture.dtype not in (np.uint8, bool)
    return picture.mode[0] in "IF"


def in_bytes(picture: Picture, channels: int, ranges: Ranges = (), first: int = 0) -> Picture:
    """The picture, upright, as RGB by Pillow for 3 channels or as `(h, w, channels)` uint8.

    `ranges[first + c]` is the range of channel c of deep numbers. One channel is repeated; of too many the first are
    taken, too few are filled with zeros; where one is wanted of several, it is the brightest (a stain's channel saved
    in its colour is as bright as saved in grey, and grey saved as RGB stays what it is).
    """
    if isinstance(picture, np.ndarray) or is_deep(picture):
        array = picture if isinstance(picture, np.ndarray) else np.asarray(_upright(picture))[..., None]
        if array.dtype == bool:
            array = array * np.uint8(255)
        if array.dtype != np.uint8:
            array = _scaled(array, ranges, first)
        fitted = np.ascontiguousarray(_fitted(array, channels))
        return Image.fromarray(fitted) if channels == 3 else fitted
    if channels == 3:
        return to_rgb(picture)
    picture.load()
    upright = _upright(picture)
    if upright.mode not in ("L", "RGB", "RGBA") or (upright.mode == "RGBA" and channels < 4):
        upright = to_rgb(upright) if channels != 4 else upright.convert("RGBA")
    array = np.asarray(upright)
    return _fitted(array if array.ndim == 3 else array[..., None], channels)


def _fitted(array: np.ndarray, channels: int) -> np.ndarray:
    given = array.shape[2]
    if given == 1:
        return np.repeat(array, channels, 2)
    if channels == 1:
        return array.max(2, keepdims=True)
    if given >= channels:
        return array[..., :channels]
    return np.concatenate([array, np.zeros((*array.shape[:2], channels - given), np.uint8)], 2)


def _scaled(array: np.ndarray, ranges: Ranges, first: int) -> np.ndarray:
    if not ranges:
        return to_bytes(array)
    made = np.empty(array.shape, np.uint8)
    for c in range(array.shape[2]):
        low, high = ranges[min(first + c, len(ranges) - 1)]
        values = np.nan_to_num(array[..., c].astype(np.float32), nan=low, posinf=high, neginf=low)
        made[..., c] = ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255)
    return made


def to_rgb(image: Image.Image) -> Image.Image:
    """The first frame as RGB, upright: EXIF rotation applied, alpha on white, deep pictures scaled to 8 bits."""
    image.load()
    upright = _upright(image)
    if upright.mode == "RGB" and "transparency" not in upright.info:
        return upright
    if upright.mode.startswith("I") or upright.mode == "F":
        return Image.fromarray(to_bytes(np.asarray(upright))).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        over = upright.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The picture as EXIF says that it was held; broken EXIF says nothing."""
    try:
        turned = image.getexif().get(0x0112, 1) not in (0, 1)
    except BROKEN:
        turned = False
    return ImageOps.exif_transpose(image) if turned else image


def to_bytes(deep: np.ndarray) -> np.ndarray:
    """A picture of more than 8 bits as uint8, by itself.

    Whole numbers are divided by the largest value of their depth, taken as the least of 8, 10, 12, 14, 16 bits that
    holds the picture's maximum (an assumption: a dark 16-bit picture passes for a 12-bit one); others by their range.
    """
    values = np.nan_to_num(deep.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if deep.dtype.kind in "iu" and low >= 0 and high < 65536:
        low, high = 0.0, float(next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits))
    return ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)


# --- one range for a set ---------------------------------------------------------------------------------------------

SAMPLED = 64  # items that the ranges are learnt from
VALUES = 1 << 16  # of a sampled channel that are looked at


def sample_for_ranges(sources: Sequence[str]) -> list[str]:
    """The sources that the ranges of a set are learnt from, the same whenever they are asked for."""
    return thinned([source for source in sources if source], SAMPLED)


def extremes_of(source: str, channels: int) -> list[tuple[int, float, float]]:
    """Channel, 0.1 and 99.9 percentile of each deep channel of an item; nothing is decoded that is not deep."""
    seen = []
    for one in thinned(parts_of(source)):
        for i, place in enumerate(one):
            try:
                with pictures_at(place, 1 if len(one) > 1 else channels) as pictures:
                    for picture in filter(is_deep, pictures):
                        array = np.asarray(picture)
                        array = array if array.ndim == 3 else array[..., None]
                        for c in range(array.shape[2]):
                            values = array[..., c].ravel()
                            values = values[:: max(1, len(values) // VALUES)].astype(np.float64)
                            values = values[np.isfinite(values)]
                            if len(values):
                                low, high = np.percentile(values, [0.1, 99.9])
                                seen.append((i if len(one) > 1 else c, float(low), float(high)))
            except BROKEN:
                continue
    return seen


def ranges_from(extremes: Iterable[list[tuple[int, float, float]]]) -> Ranges:
    """One range a channel from the extremes of sampled items, () where nothing was deep."""
    lows: dict[int, list[float]] = {}
    highs: dict[int, list[float]] = {}
    for c, low, high in (one for item in extremes for one in item):
        lows.setdefault(c, []).append(low)
        highs.setdefault(c, []).append(high)
    if not lows:
        return ()
    every = [value for values in lows.values() for value in values]
    most = [value for values in highs.values() for value in values]
    made = []
    for c in range(max(lows) + 1):
        low = float(np.percentile(lows.get(c, every), 5))
        high = float(np.percentile(highs.get(c, most), 95))
        made.append((low, high if high > low else max(highs.get(c, most))))
    return tuple(made)


def quiet() -> None:
    """Stops the warnings of Pillow, OpenCV and tifffile of files that they then refuse or mend."""
    warnings.filterwarnings("ignore", module="PIL")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
