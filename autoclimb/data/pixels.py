"""Sources -> uint8 pixels: decoded once per (preprocess, size) into a memory-mapped array that workers share."""

import hashlib
import math
import os
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from autoclimb.data.depth import Ranges, extremes_of, in_bytes, ranges_from, sample_for_ranges
from autoclimb.data.files.opening import UNREADABLE, Place, pictures_at
from autoclimb.data.files.spool import keep_spools_in
from autoclimb.data.files.stacks import MOST_TILES, Picture, thinned
from autoclimb.data.sources import files_of, parts_of
from autoclimb.data.steps import GREY, Chain, chain_of, columns_of, in_grid, shrunk, sides_of
from autoclimb.disk import read_json, whole_file, write_json
from autoclimb.errors import Mistake

VERSION = 3  # of the pixels: raise when decoding or resizing changes
LARGE = 40_000_000  # pixels from which pictures are decoded one at a time, not one a thread
CHUNK_BYTES = 48 << 20  # decoded rows held at a time
NAMED = re.compile(r".+-\d+-[0-9a-f]{16}\.npy")  # arrays of pixels, not of features
one_large = threading.RLock()


class NoRoom(Mistake):
    """Pixels that do not fit on the disk, whatever else is deleted from the cache."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded items: `array` `(R, size, size, channels)` uint8, memory-mapped, and `bad` `(R,)` bool, its grey rows.

    Three channels are RGB. `ranges` made bytes of deep numbers; items decoded later must be given the same. `note`
    says which damaged pixels were built again, "" for none.
    """

    array: np.ndarray
    bad: np.ndarray
    path: Path
    ranges: Ranges = ()
    note: str = ""


def decode(
    source: str, size: int, preprocess: str, channels: int = 3, ranges: Ranges = (), grid: int = 0
) -> np.ndarray | None:
    """The item as `(size, size, channels)` uint8, None where it cannot be read.

    Several pictures become tiles of a square grid, each preprocessed by itself; one that cannot be read stays grey.
    `grid` tiles lie side by side, as many as the number of pictures asks for where it is 0.
    """
    if not source:
        return None
    chosen = thinned(parts_of(source), grid * grid or MOST_TILES)
    if grid and len(chosen) == len(chosen[0]) == 1:
        try:  # it may be a stack
            return at_place(chosen[0][0], size, preprocess, channels, ranges, 0, grid)
        except UNREADABLE:
            return None
    tile = size // (grid or columns_of(len(chosen)))
    tiles: list[np.ndarray | None] = []
    for places in chosen:
        try:
            tiles.append(one_picture(places, tile, preprocess, channels, ranges))
        except UNREADABLE:
            tiles.append(None)
    return in_grid(tiles, size, channels, grid) if any(picture is not None for picture in tiles) else None


def one_picture(places: list[Place], size: int, preprocess: str, channels: int, ranges: Ranges) -> np.ndarray:
    """One picture of an item, its channels together or each from a place of its own. Raises one of UNREADABLE."""
    if len(places) == 1:
        return at_place(places[0], size, preprocess, channels, ranges, 0)
    chain, places = chain_of(preprocess), places[:channels]
    if chain.joint:  # what looks at the picture must see all its channels: they are not cut apart
        planes = [plane_at(place, size, chain, ranges, i) for i, place in enumerate(places)]
        height, width = planes[0].shape[:2]
        planes = [plane if plane.shape == planes[0].shape else shrunk(plane, width, height) for plane in planes]
    else:
        planes = [at_place(place, size, preprocess, 1, ranges, i) for i, place in enumerate(places)]
    planes += [np.zeros_like(planes[0])] * (channels - len(planes))
    picture = np.concatenate(planes, 2)
    return chain.applied(picture, size) if chain.joint else picture


def plane_at(place: Place, size: int, chain: Chain, ranges: Ranges, channel: int) -> np.ndarray:
    """The channel that lies at one place, `(h, w, 1)`, before any step; of a stack the middle."""
    with pictures_at(place, 1) as pictures:
        picture = drafted(pictures[len(pictures) // 2], size, chain)
        return np.asarray(in_bytes(picture, 1, ranges, channel))


def at_place(
    place: Place, size: int, preprocess: str, channels: int, ranges: Ranges, first: int, grid: int = 0
) -> np.ndarray:
    """What lies at one place; a stack's pictures in a grid."""
    chain = chain_of(preprocess)
    with pictures_at(place, channels) as pictures:
        tile = size // (grid or columns_of(len(pictures)))
        tiles = []
        for picture in thinned(pictures, grid * grid or MOST_TILES):
            drafted(picture, tile, chain)
            with one_large if math.prod(sides_of(picture)) > LARGE else nullcontext():
                tiles.append(chain.applied(in_bytes(picture, channels, ranges, first), tile))
    return in_grid(tiles, size, channels, grid)


def drafted(picture: Picture, size: int, chain: Chain) -> Picture:
    """The picture; a JPEG set to be decoded at 1/2, 1/4 or 1/8, both sides still as large as the chain wants them."""
    if isinstance(picture, Image.Image) and chain.decoded < math.inf:
        least = math.ceil(size * chain.decoded)
        picture.draft("RGB", (least, least))
    return picture


def build_pixels(
    files: Sequence[str],
    size: int,
    preprocess: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    channels: int = 3,
    ranges: Ranges | None = None,
    limit: float = math.inf,
    grid: int = 0,
) -> Pixels:
    """The items of these sources in that order, decoded now or found in `folder` from an earlier call.

    The array is named after the files (paths, sizes, times), the size, the preprocess and VERSION, and appears whole
    or not at all. Memory held does not grow with the number of items. `progress(done, total)` is called now and then.
    `ranges` are those of the items that a model was trained on; None learns them from these. Pixels found damaged are
    built again. With `grid` an item is a grid of so many pictures a side, its size brought down to a multiple of that.
    Where those in `folder` would exceed `limit` bytes with the new ones, the least recently used go.

    Raises Mistake for an unknown preprocess, NoRoom for a full disk, Mistake for a kind of file whose package is not
    installed.
    """
    chain_of(preprocess)
    size = size // grid * grid if grid else size
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{preprocess}-{size}-{key_of(files, size, preprocess, channels, ranges, grid)}.npy"
    note = ""
    if path.with_suffix(".json").exists() and path.exists():
        if intact(path):
            mark_used(path)
            return open_pixels(path)
        forget(path)
        note = f"the pixels in {path.name} were damaged and are decoded again"
    make_room(folder, len(files) * size * size * channels, limit)
    keep_spools_in(folder)
    threads = threads or len(os.sched_getaffinity(0))
    bad = np.zeros(len(files), bool)
    chunk = min(max(CHUNK_BYTES // (size * size * channels), threads), 2048)
    part = np.empty((min(chunk, len(files)), size, size, channels), np.uint8)
    used_ranges: Ranges = ranges or ()
    checks = []

    def fill(row: int, into: int) -> None:
        picture = decode(files[row], size, preprocess, channels, used_ranges, grid)
        bad[row] = picture is None
        part[into] = GREY if picture is None else picture

    with whole_file(path) as part_file, open(part_file, "wb") as out, ThreadPoolExecutor(threads) as pool:
        if ranges is None:
            used_ranges = ranges_from(pool.map(lambda source: extremes_of(source, channels), sample_for_ranges(files)))
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size, channels)}
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, len(files), chunk):
            rows = range(start, min(start + chunk, len(files)))
            for done, _ in enumerate(pool.map(fill, rows, range(len(rows))), start + 1):
                if progress and (done % 50 == 0 or done == len(files)):
                    progress(done, len(files))
            out.write(part[: len(rows)].data)
            checks.append(zlib.crc32(part[: len(rows)].data))
    facts = {"rows": len(files), "size": size, "preprocess": preprocess, "bad": np.flatnonzero(bad).tolist()}
    facts |= {"channels": channels, "ranges": used_ranges, "chunk": chunk, "checks": checks}
    write_json(path.with_suffix(".json"), facts)
    return replace(open_pixels(path), note=note)


def open_pixels(path: Path) -> Pixels:
    """The pixels that `build_pixels` wrote to `path`, mapped, not read. Raises ValueError where they are not those."""
    path = Path(path)
    facts = read_json(path.with_suffix(".json"))
    array = np.load(path, mmap_mode="r") if facts["rows"] else np.load(path)
    shape = facts["rows"], facts["size"], facts["size"], facts["channels"]
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} is not what its json says")
    bad = np.zeros(facts["rows"], bool)
    bad[facts["bad"]] = True
    return Pixels(array, bad, path, as_ranges(facts["ranges"]))


def intact(path: Path) -> bool:
    """Whether the pixels at `path` are as they were written, every byte of them: 7 GB a second of one core."""
    try:
        array = open_pixels(path).array
        facts = read_json(path.with_suffix(".json"))
        blocks = range(0, len(array), facts["chunk"])
        checks = [zlib.crc32(array[start : start + facts["chunk"]].data) for start in blocks]
        return checks == facts["checks"]
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError):
        return False


# --- the disk --------------------------------------------------------------------------------------------------------


def mark_used(path: Path) -> None:
    """Notes that the pixels at `path` are used now."""
    os.utime(path.with_suffix(".json"))


def forget(path: Path) -> None:
    """Deletes the pixels at `path`, the json first: half deleted they never were. Who has them open can read on."""
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def make_room(folder: Path, needed: int, limit: float) -> None:
    """Deletes pixels, the least recently used first, until `needed` bytes more stay within the limit and the free disk.

    Raises NoRoom where they do not fit into the free disk even then; a limit too small for them alone is exceeded.
    """
    caches = [
        path for path in folder.glob("*.npy") if NAMED.fullmatch(path.name) and path.with_suffix(".json").exists()
    ]
    caches.sort(key=lambda path: path.with_suffix(".json").stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in caches)
    while caches and (total + needed > limit or needed > shutil.disk_usage(folder).free):
        oldest = caches.pop(0)
        total -= oldest.stat().st_size
        forget(oldest)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoom(
            f"{needed >> 20} MB of pixels do not fit into the {free >> 20} MB free in {str(folder)!r}; "
            "make room there, or put the run elsewhere with --out"
        )


def forget_half_built(folder: Path) -> None:
    """Deletes what builds that were killed left in the folder."""
    for path in [*folder.glob(".part-*"), *folder.glob("*.npy")]:
        if path.name.startswith(".") or (NAMED.fullmatch(path.name) and not path.with_suffix(".json").exists()):
            path.unlink(missing_ok=True)


def as_ranges(pairs: Sequence[Sequence[float]]) -> Ranges:
    """Ranges that json gave back as lists."""
    return tuple((float(low), float(high)) for low, high in pairs)


def key_of(
    files: Sequence[str], size: int, preprocess: str, channels: int = 3, ranges: Ranges | None = None, grid: int = 0
) -> str:
    """16 hex digits for the sources, their files' sizes and times, and what is made of them."""
    digest = hashlib.blake2b(f"{VERSION} {size} {preprocess} {channels} {ranges} {grid}".encode(), digest_size=8)

    @lru_cache(1024)  # an archive is looked at once, not once a member
    def state(file: str) -> str:
        try:
            stat = os.stat(file)
        except OSError:
            return "\0"
        return f"{stat.st_size}\0{stat.st_mtime_ns}"

    for source in files:
        digest.update(f"\0{source}\0{chr(0).join(map(state, files_of(source)))}".encode())
    return digest.hexdigest()


def most_pictures(files: Sequence[str], limit: int = 50, channels: int = 3) -> int:
    """Pictures of the item that has most of them, slices of a stack counted, of up to `limit` items over the list."""
    most = 1
    for source in evenly([f for f in files if f], limit):
        places = thinned(parts_of(source))
        most = max(most, len(places))
        if len(places) == len(places[0]) == 1:
            with suppress(*UNREADABLE), pictures_at(places[0][0], channels) as pictures:
                most = max(most, len(pictures))
    return most


def sizes_of(files: Sequence[str], limit: int = 200, channels: int = 3) -> list[tuple[int, int, str]]:
    """Width, height and mode of up to `limit` readable items spread over the list (`size_of`)."""
    return [size for source in evenly([f for f in files if f], limit) if (size := size_of(source, channels))]


def evenly(files: Sequence[str], limit: int) -> Sequence[str]:
    """Every n-th of the files, so that there are at most `limit`."""
    return files[:: max(1, -(-len(files) // limit))]


def size_of(source: str, channels: int = 3) -> tuple[int, int, str] | None:
    """Width, height and mode of an item, from its first picture's header alone; None where it cannot be read.

    `channels` are those of a picture of the set. An item of several pictures has the sides of their grid; the mode of
    an array is its type and channels, "float32 x 2".
    """
    places, *others = thinned(parts_of(source))
    try:
        with pictures_at(places[0], 1 if len(places) > 1 else channels) as pictures:
            picture = pictures[0]
            mode = picture.mode if isinstance(picture, Image.Image) else f"{picture.dtype} x {picture.shape[2]}"
            width, height = sides_of(picture)
            for count in (len(others) + 1, len(pictures)):
                across = columns_of(count)
                width, height = width * across, height * -(-count // across)
            return width, height, mode if len(places) == 1 else f"{mode} x {len(places)}"
    except UNREADABLE:
        return None
