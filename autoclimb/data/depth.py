"""Pictures -> bytes with a given number of channels: deep numbers are scaled by one range per channel for a set.

Deep numbers have more than 8 bits. One range for all items preserves their relative brightness. It comes from a sample:
the 0.1 and 99.9 percentiles of each sampled item, and of these the 5 and 95 percentiles over the items, so that neither
a hot pixel nor an odd item decides. Other items of the same kind must be decoded with the same range. A single picture
without a set is scaled by its own depth (`to_bytes`).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageOps

from autoclimb.data.files.opening import UNREADABLE, pictures_at
from autoclimb.data.files.stacks import Picture, thinned
from autoclimb.data.sources import parts_of

Ranges = tuple[tuple[float, float], ...]  # lowest and highest value of deep numbers, for each channel


def as_ranges(pairs: Iterable[Iterable[float]]) -> Ranges:
    """Ranges from the lists that json makes of them."""
    return tuple((float(low), float(high)) for low, high in pairs)


# --- bytes of a given number of channels -----------------------------------------------------------------------------


def is_deep(picture: Picture) -> bool:
    """Whether a picture has more than 8 bits a channel."""
    if isinstance(picture, np.ndarray):
        return picture.dtype not in (np.uint8, bool)
    return picture.mode[0] in "IF"


def in_bytes(picture: Picture, channels: int, ranges: Ranges = (), first: int = 0) -> Picture:
    """The picture, upright, as a Pillow image in RGB for 3 channels, else as `(h, w, channels)` uint8.

    `ranges[first + c]` is the range of channel c of deep numbers. One channel is repeated; of too many the first are
    taken; too few are filled with zeros. One channel of several is their maximum: a stain's channel that was saved in
    its colour is then as bright as if saved in grey, and grey saved as RGB does not change.
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
    count = array.shape[2]
    if count == 1:
        return np.repeat(array, channels, 2)
    if channels == 1:
        return array.max(2, keepdims=True)
    if count >= channels:
        return array[..., :channels]
    return np.concatenate([array, np.zeros((*array.shape[:2], channels - count), np.uint8)], 2)


def _scaled(array: np.ndarray, ranges: Ranges, first: int) -> np.ndarray:
    if not ranges:
        return to_bytes(array)
    scaled = np.empty(array.shape, np.uint8)
    for c in range(array.shape[2]):
        low, high = ranges[min(first + c, len(ranges) - 1)]
        values = np.nan_to_num(array[..., c].astype(np.float32), nan=low, posinf=high, neginf=low)
        scaled[..., c] = ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255)
    return scaled


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
    """The picture turned as its EXIF asks for; broken EXIF is ignored."""
    try:
        rotated = image.getexif().get(0x0112, 1) not in (0, 1)
    except UNREADABLE:
        rotated = False
    return ImageOps.exif_transpose(image) if rotated else image


def to_bytes(deep: np.ndarray) -> np.ndarray:
    """A single picture of more than 8 bits as uint8.

    Integers are divided by the largest value of their depth, which is assumed to be the least of 8, 10, 12, 14, 16 bits
    that holds the picture's maximum (so a dark 16-bit picture passes for a 12-bit one); other numbers by their range.
    """
    values = np.nan_to_num(deep.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if deep.dtype.kind in "iu" and low >= 0 and high < 65536:
        low, high = 0.0, float(next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits))
    return ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)


# --- one range for a set ---------------------------------------------------------------------------------------------

SAMPLED = 64  # items from which the ranges are learned
VALUES = 1 << 16  # used of a sampled channel


def sample_for_ranges(sources: Sequence[str]) -> list[str]:
    """The sources from which the ranges of a set are learned, always the same for a set."""
    return thinned([source for source in sources if source], SAMPLED)


def extremes_of(source: str, channels: int) -> list[tuple[int, float, float]]:
    """The channel, 0.1 and 99.9 percentile of each deep channel of an item; pictures that are not deep are skipped."""
    extremes = []
    for picture_places in thinned(parts_of(source)):
        for i, place in enumerate(picture_places):
            try:
                with pictures_at(place, 1 if len(picture_places) > 1 else channels) as pictures:
                    for picture in filter(is_deep, pictures):
                        array = np.asarray(picture)
                        array = array if array.ndim == 3 else array[..., None]
                        for c in range(array.shape[2]):
                            values = array[..., c].ravel()
                            values = values[:: max(1, len(values) // VALUES)].astype(np.float64)
                            values = values[np.isfinite(values)]
                            if len(values):
                                low, high = np.percentile(values, [0.1, 99.9])
                                extremes.append((i if len(picture_places) > 1 else c, float(low), float(high)))
            except UNREADABLE:
                continue
    return extremes


def ranges_from(extremes: Iterable[list[tuple[int, float, float]]]) -> Ranges:
    """One range a channel from the extremes of sampled items, () where nothing was deep."""
    lows: dict[int, list[float]] = {}
    highs: dict[int, list[float]] = {}
    for c, low, high in (channel for item in extremes for channel in item):
        lows.setdefault(c, []).append(low)
        highs.setdefault(c, []).append(high)
    if not lows:
        return ()
    all_lows = [value for values in lows.values() for value in values]
    all_highs = [value for values in highs.values() for value in values]
    ranges = []
    for c in range(max(lows) + 1):
        low = float(np.percentile(lows.get(c, all_lows), 5))
        high = float(np.percentile(highs.get(c, all_highs), 95))
        ranges.append((low, high if high > low else max(highs.get(c, all_highs))))
    return tuple(ranges)
