"""Files -> uint8 pixels: decoded once per (preprocess, size) into a memory-mapped array that workers share."""

import hashlib
import json
import os
import shutil
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from autoclimb.errors import Mistake

VERSION = 1  # of the pixels: raise when decoding or resizing changes
GREY = 128  # fills the rows of unreadable pictures
MOST_PIXELS = 178_956_970  # a header that claims more is taken for a bomb (Pillow's own bound)
LARGE = 40_000_000  # pixels from which pictures are decoded one at a time, not one a thread
CHUNK_BYTES = 48 << 20  # decoded rows held at a time
BROKEN = (
    OSError,
    SyntaxError,  # Pillow's for broken PNG chunks
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    NotImplementedError,
    MemoryError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
one_large = threading.Lock()


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded pictures: `array` `(R, size, size, 3)` uint8 RGB, memory-mapped, and `bad` `(R,)` bool, its grey rows."""

    array: np.ndarray
    bad: np.ndarray
    path: Path


def squash(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture, its aspect lost."""
    return shrunk(image, size, size)


def pad(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture in its aspect, centred; the rest repeats the border pixels."""
    longest = max(image.size)
    width, height = (max(1, round(side * size / longest)) for side in image.size)
    small = shrunk(image, width, height)
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(small, ((top, size - height - top), (left, size - width - left), (0, 0)), mode="edge")


def crop(image: Image.Image, size: int) -> np.ndarray:
    """The centre of the picture in its aspect: the short side whole, the long side cut."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return shrunk(image, size, size, (left, top, left + side, top + side))


PREPROCESS: dict[str, Callable[[Image.Image, int], np.ndarray]] = {"squash": squash, "pad": pad, "crop": crop}


def shrunk(image: Image.Image, width: int, height: int, box: tuple | None = None) -> np.ndarray:
    """The RGB picture, or a box of it, at a size, antialiased.

    Hamming shrinks at the price of bilinear and nearly as sharp as bicubic, which took 1.8 times as long; Pillow's
    reducing_gap and OpenCV's INTER_AREA gained nothing (500x375 -> 224).
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    shrinks = right - left >= width and bottom - top >= height
    filter_ = Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC
    return np.asarray(image.resize((width, height), filter_, box=box))


def decode(file: str, size: int, preprocess: str) -> np.ndarray | None:
    """The picture as `(size, size, 3)` uint8, None where it cannot be read."""
    if not file:
        return None
    try:
        with Image.open(file) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft("RGB", (size, size))  # JPEG only: decodes at 1/2, 1/4 or 1/8, both sides still >= size
            if image.width * image.height > LARGE:
                with one_large:
                    return PREPROCESS[preprocess](to_rgb(image), size)
            return PREPROCESS[preprocess](to_rgb(image), size)
    except BROKEN:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """The first frame as RGB, upright: EXIF rotation applied, alpha on white, deep pictures scaled to 8 bits."""
    image.load()
    upright = ImageOps.exif_transpose(image) if turned(image) else image
    if upright.mode == "RGB" and "transparency" not in upright.info:
        return upright
    if upright.mode.startswith("I") or upright.mode == "F":
        return Image.fromarray(to_bytes(np.asarray(upright))).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        over = upright.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return upright.convert("RGB")


def turned(image: Image.Image) -> bool:
    """Whether EXIF says that the picture is not upright; broken EXIF says nothing."""
    try:
        return image.getexif().get(0x0112, 1) not in (0, 1)
    except BROKEN:
        return False


def to_bytes(deep: np.ndarray) -> np.ndarray:
    """A one-channel picture of more than 8 bits as uint8.

    Whole numbers are divided by the largest value of their depth, taken as the least of 8, 10, 12, 14, 16 bits that
    holds the picture's maximum (an assumption: a dark 16-bit picture passes for a 12-bit one); others by their range.
    """
    values = np.nan_to_num(deep.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if deep.dtype.kind in "iu" and low >= 0 and high < 65536:
        low, high = 0.0, float(next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits))
    return ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)


def build_pixels(
    files: Sequence[str],
    size: int,
    preprocess: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Pixels:
    """The pictures of `files` in that order, decoded now or found in `folder` from an earlier call.

    The array is named after the files (paths, sizes, times), the size, the preprocess and VERSION, and appears whole
    or not at all. Memory held does not grow with the number of files. `progress(done, total)` is called now and then.

    Raises Mistake for an unknown preprocess or a full disk.
    """
    if preprocess not in PREPROCESS:
        raise Mistake(f"unknown preprocess {preprocess!r}; one of {', '.join(PREPROCESS)}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{preprocess}-{size}-{key_of(files, size, preprocess)}.npy"
    if path.with_suffix(".json").exists() and path.exists():
        return open_pixels(path)
    needed, free = len(files) * size * size * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise Mistake(f"{needed >> 20} MB of pixels do not fit into the {free >> 20} MB free in {str(folder)!r}")
    warnings.filterwarnings("ignore", module="PIL")  # Pillow warns of files that it then refuses or mends
    threads = threads or len(os.sched_getaffinity(0))
    bad = np.zeros(len(files), bool)
    chunk = min(max(CHUNK_BYTES // (size * size * 3), threads), 2048)
    part = np.empty((min(chunk, len(files)), size, size, 3), np.uint8)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")

    def fill(row: int, into: int) -> None:
        picture = decode(files[row], size, preprocess)
        bad[row] = picture is None
        part[into] = GREY if picture is None else picture

    try:
        with open(temporary, "wb") as out, ThreadPoolExecutor(threads) as pool:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size, 3)}
            np.lib.format.write_array_header_1_0(out, header)
            for start in range(0, len(files), chunk):
                rows = range(start, min(start + chunk, len(files)))
                for done, _ in enumerate(pool.map(fill, rows, range(len(rows))), start + 1):
                    if progress and (done % 50 == 0 or done == len(files)):
                        progress(done, len(files))
                out.write(part[: len(rows)].data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    facts = {"rows": len(files), "size": size, "preprocess": preprocess, "bad": np.flatnonzero(bad).tolist()}
    write_json(path.with_suffix(".json"), facts)
    return open_pixels(path)


def open_pixels(path: Path) -> Pixels:
    """The pixels that `build_pixels` wrote to `path`, mapped, not read."""
    path = Path(path)
    facts = json.loads(path.with_suffix(".json").read_text())
    array = np.load(path, mmap_mode="r") if facts["rows"] else np.load(path)
    assert array.shape == (facts["rows"], facts["size"], facts["size"], 3), f"{path} is not what its json says"
    bad = np.zeros(facts["rows"], bool)
    bad[facts["bad"]] = True
    return Pixels(array, bad, path)


def key_of(files: Sequence[str], size: int, preprocess: str) -> str:
    """16 hex digits for the files' paths, sizes and times, and what is made of them."""
    made = hashlib.blake2b(f"{VERSION} {size} {preprocess}".encode(), digest_size=8)
    for file in files:
        try:
            stat = os.stat(file) if file else None
        except OSError:
            stat = None
        made.update(f"\0{file}\0{stat.st_size if stat else ''}\0{stat.st_mtime_ns if stat else ''}".encode())
    return made.hexdigest()


def write_json(path: Path, facts: dict) -> None:
    """Writes the facts so that the file is whole or absent."""
    temporary = path.with_suffix(f".{os.getpid()}.json.tmp")
    with open(temporary, "w") as out:
        json.dump(facts, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)


def sizes_of(files: Sequence[str], limit: int = 200) -> list[tuple[int, int, str]]:
    """Width, height and mode of up to `limit` readable files spread over the list, from their headers alone."""
    known = [f for f in files if f]
    step = max(1, -(-len(known) // limit))
    seen = []
    for file in known[::step]:
        try:
            with Image.open(file) as image:
                seen.append((image.width, image.height, image.mode))
        except BROKEN:
            continue
    return seen
