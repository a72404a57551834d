"""Items -> uint8 pixels on disk: decoded once per (preprocess, size) into an array or JPEGs that processes share."""

import hashlib
import math
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from autoclimb.data.decoding import Decoding, decode, evenly
from autoclimb.data.depth import Ranges, as_ranges, extremes_of, ranges_from, sample_for_ranges
from autoclimb.data.files.spool import keep_spools_in
from autoclimb.data.sources import files_of
from autoclimb.data.steps import GREY, chain_of
from autoclimb.data.stored import LazyPictures, PictureRows, keep_sources, offsets_as_bytes, open_rows, packed, unpacked
from autoclimb.disk import read_json, whole_file, write_json
from autoclimb.errors import Mistake
from autoclimb.processors import allowed_cores

VERSION = 3  # of the pixels: raise when decoding or resizing changes
CHUNK_BYTES = 48 << 20  # decoded rows held at a time
NAMED = re.compile(r".+-\d+-[0-9a-f]{16}\.(npy|jpegs|sources)")  # pixels
NPY_HEADER = 128  # bytes before an array of bytes in its file
SAMPLED = 24  # items that are decoded to know what decoding costs
# Where pictures are small, most of decoding holds the interpreter's lock, and threads keep each other waiting for it:
# sixteen decoded 1,400 pictures of 32 to 150 px a second on 16 cores (LOG.md). So the first items of a large set are
# decoded by all, by a few and by one, and the others by as many as were quickest.
FEW_THREADS, WARMING, TRIED, WORTH_TRYING = 4, 16, 96, 2000


class NoRoom(Mistake):
    """Pixels that do not fit on the disk, whatever else is deleted from the cache."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Items by row: `array` `(R, size, size, channels)` uint8 or what is indexed like one, and `bad` `(R,)` bool, its
    grey rows.

    Three channels are RGB. `ranges` made bytes of deep numbers; items decoded later must be given the same. `note`
    says which damaged pixels were built again, "" for none.
    """

    array: PictureRows
    bad: np.ndarray
    path: Path
    ranges: Ranges = ()
    note: str = ""


@dataclass(frozen=True)
class Costs:
    """The costs of an item at a size: seconds of one core, and bytes of disk; medians over some items."""

    decode: float  # from its source
    unpack: float  # from its JPEG
    packed_bytes: float  # of its JPEG, the mean


def build_pixels(
    files: Sequence[str],
    how: Decoding,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    threads: int | None = None,
    limit: float = math.inf,
    jpegs: bool = False,
    keep: Collection[Path] = (),
) -> Pixels:
    """The items of these sources in that order, `how.side` pixels a side, decoded now or found in `folder` from before.

    As an array, or as JPEGs that are nearly it in a fifth of its bytes. The file is named after the sources (paths,
    sizes, times), the decoding and VERSION, and appears whole or not at all. Memory held does not grow with the number
    of items. `progress(done, total)` is called now and then. Pixels found damaged are built again. Where those in
    `folder` would exceed `limit` bytes with the new ones, the least recently used go, but none in `keep`.

    Raises Mistake for an unknown preprocess, NoRoom for a full disk and for JPEGs over the limit, Mistake for a kind of
    file whose package is not installed.
    """
    chain_of(how.preprocess)
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(files, how, folder, ".jpegs" if jpegs else ".npy")
    note = ""
    if path.with_suffix(".json").exists() and path.exists():
        if intact(path):
            mark_used(path)
            return open_pixels(path)
        forget(path)
        note = f"the pixels in {path.name} were damaged and are decoded again"
    shape = how.side, how.side, how.channels
    if not jpegs:
        make_room(folder, array_bytes(len(files), how), limit, keep)
    keep_spools_in(folder)
    bad = np.zeros(len(files), bool)
    counts = [threads] if threads else counts_to_try(len(files))
    chunk = min(max(CHUNK_BYTES // math.prod(shape), counts[0]), 2048)
    used = as_used(how, learn_ranges(files, how.channels) if how.ranges is None else how.ranges)
    lengths: list[int] = []  # of what was written
    checks: list[tuple[int, int]] = []  # bytes of a block, and what they add up to

    def picture(row: int) -> Sequence[bytes | memoryview]:
        decoded = decode(files[row], used)
        bad[row] = decoded is None
        pixels = np.full(shape, GREY, np.uint8) if decoded is None else decoded
        return packed(pixels, used.grid) if jpegs else [np.ascontiguousarray(pixels).data]

    with whole_file(path) as part_file, open(part_file, "wb") as out:
        if not jpegs:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
            np.lib.format.write_array_header_1_0(out, header)
        for rows, pool in blocks_with_threads(len(files), chunk, counts):
            begin, check = out.tell(), 0
            for done, row in enumerate(pool.map(picture, rows), rows.start + 1):
                for block in row:
                    out.write(block)
                    check = zlib.crc32(block, check)
                    if jpegs:
                        lengths.append(len(block))
                if progress and (done % 50 == 0 or done == len(files)):
                    progress(done, len(files))
            checks.append((out.tell() - begin, check))
            if jpegs:  # how many bytes the others will take is not known
                ends = len(offsets_as_bytes(lengths))  # are written last
                make_room(folder, out.tell() - begin, limit, keep, written=out.tell() + ends)
        if jpegs:
            out.write(offsets_as_bytes(lengths))
    facts = {"rows": len(files), "bad": np.flatnonzero(bad).tolist(), "checks": checks}
    write_json(path.with_suffix(".json"), facts | asdict(used))
    return replace(open_pixels(path), note=note)


def counts_to_try(items: int) -> list[int]:
    """Numbers of threads that so many items may be decoded by, all cores first."""
    cores = allowed_cores()
    return sorted({cores, min(cores, FEW_THREADS), 1}, reverse=True) if items >= WORTH_TRYING else [cores]


def blocks_with_threads(
    items: int, chunk: int, counts: Sequence[int], now: Callable[[], float] = time.perf_counter
) -> Iterator[tuple[range, ThreadPoolExecutor]]:
    """The items in blocks of at most `chunk`, each with the threads that are to decode it.

    Where there are several `counts` of threads, each has a block first, after one that warms up; the others have the
    count that took the fewest seconds an item.
    """
    trials = [(WARMING, counts[0]), *((TRIED, count) for count in counts)] if len(counts) > 1 else []
    seconds_an_item: dict[int, float] = {}
    start = 0
    while start < items:
        trying = bool(trials)
        quickest = min(seconds_an_item, key=seconds_an_item.__getitem__, default=counts[0])
        most, count = trials.pop(0) if trying else (chunk, quickest)
        rows = range(start, min(start + min(most, chunk), items))
        begun = now()
        with ThreadPoolExecutor(count) as pool:
            yield rows, pool
        if trying:
            seconds_an_item[count] = (now() - begun) / len(rows)  # of counts[0] without the warm-up in the end
        start = rows.stop


def as_used(how: Decoding, ranges: Ranges) -> Decoding:
    """The decoding with the ranges that are used and the size that its grid leaves, as it is recorded."""
    return replace(how, size=how.side, ranges=ranges)


def leave_in_sources(files: Sequence[str], how: Decoding, folder: Path, bad: np.ndarray) -> Pixels:
    """The items, decoded from their sources whenever they are looked at: no disk but for a list of the sources."""
    path = path_of(files, how, folder, ".sources")
    facts = {"rows": len(files), "bad": np.flatnonzero(bad).tolist()} | asdict(as_used(how, how.ranges or ()))
    facts |= {"list": keep_sources(files, folder)}
    with whole_file(path) as part:
        part.touch()
    write_json(path.with_suffix(".json"), facts)
    return open_pixels(path)


def costs_of(files: Sequence[str], how: Decoding) -> Costs:
    """The costs of decoding an item, measured on some items spread over the list."""
    how = replace(how, size=how.side)
    decoding, unpacking, lengths = [], [], []
    for source in evenly([file for file in files if file], SAMPLED):
        start = time.perf_counter()
        picture = decode(source, how)
        decoded = time.perf_counter()
        if picture is None:
            continue
        blocks = packed(picture, how.grid)
        begun = time.perf_counter()
        unpacked([np.frombuffer(block, np.uint8) for block in blocks], how.channels, how.grid)
        decoding.append(decoded - start)
        unpacking.append(time.perf_counter() - begun)
        lengths.append(sum(map(len, blocks)))
    if not lengths:
        return Costs(0.0, 0.0, 0.0)
    return Costs(float(np.median(decoding)), float(np.median(unpacking)), float(np.mean(lengths)))


def learn_ranges(files: Sequence[str], channels: int) -> Ranges:
    """The ranges of deep numbers that a sample of the items tells; () where they are bytes."""
    with ThreadPoolExecutor(allowed_cores()) as pool:
        return ranges_from(pool.map(lambda source: extremes_of(source, channels), sample_for_ranges(files)))


def open_pixels(path: Path) -> Pixels:
    """The pixels that are kept at `path`, mapped, not read. Raises ValueError where they are not those."""
    path = Path(path)
    facts = read_json(path.with_suffix(".json"))
    bad = np.zeros(facts["rows"], bool)
    bad[facts["bad"]] = True
    return Pixels(open_rows(path), bad, path, as_ranges(facts["ranges"]))


def intact(path: Path) -> bool:
    """Whether the pixels at `path` are as they were written, every byte of them: 7 GB a second of one core."""
    try:
        rows = open_rows(path)
        checks = read_json(path.with_suffix(".json"))["checks"]
        with path.open("rb") as file:
            file.seek(0 if isinstance(rows, LazyPictures) else path.stat().st_size - rows.nbytes)
            return all(zlib.crc32(file.read(length)) == check for length, check in checks)
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


def pixels_in(folder: Path) -> list[Path]:
    """The pixels kept in a folder, the least recently used first."""
    files = [path for path in folder.glob("*-*-*.*") if NAMED.fullmatch(path.name) and _facts_of(path).exists()]
    return sorted(files, key=lambda path: _facts_of(path).stat().st_mtime_ns)


def _facts_of(path: Path) -> Path:
    return path.with_suffix(".json")


def array_bytes(count: int, how: Decoding) -> int:
    """Bytes of the file of that many items' pixels as an array."""
    return NPY_HEADER + count * how.side**2 * how.channels


def room_in(folder: Path, limit: float, keep: Collection[Path] = ()) -> float:
    """Bytes that further pixels may take there, once all but those in `keep` are deleted; within the free disk."""
    folder.mkdir(parents=True, exist_ok=True)
    size_of = {path: path.stat().st_size for path in pixels_in(folder)}
    staying = sum(size for path, size in size_of.items() if path in keep)
    free = shutil.disk_usage(folder).free + sum(size_of.values()) - staying
    return min(limit - staying, free)


def make_room(folder: Path, needed: int, limit: float, keep: Collection[Path] = (), written: int = 0) -> None:
    """Deletes pixels, the least recently used first, until `needed` bytes more stay within the limit and the free disk.

    None in `keep` go. `written` bytes of new pixels are on the disk already, and the limit is theirs too. Raises NoRoom
    where `needed` do not fit into the free disk even then, or what is written exceeds the limit; a limit too small for
    what is not begun is exceeded.
    """
    here = pixels_in(folder)
    caches = [path for path in here if path not in keep]
    total = sum(path.stat().st_size for path in here) + written
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
    if written and total > limit:
        raise NoRoom(f"the pixels take more than the {limit / 1e9:g} GB they may; give a larger --cache-gb")


def forget_unfinished_pixels(folder: Path) -> None:
    """Deletes what builds that were killed left in the folder."""
    for path in [*folder.glob(".part-*"), *folder.glob("*-*-*.*")]:
        if path.name.startswith(".") or (NAMED.fullmatch(path.name) and not _facts_of(path).exists()):
            path.unlink(missing_ok=True)


def path_of(files: Sequence[str], how: Decoding, folder: Path, ending: str = ".npy") -> Path:
    """Where these pixels are kept: named after the sources, their files' sizes and times, and what is made of them."""
    words = [VERSION, how.side, how.preprocess, how.channels, how.ranges, how.grid]
    text = " ".join(map(str, words)) + (ending if ending != ".npy" else "")
    digest = hashlib.blake2b(text.encode(), digest_size=8)

    @lru_cache(1024)  # an archive is looked at once, not once a member
    def state(file: str) -> str:
        try:
            stat = os.stat(file)
        except OSError:
            return "\0"
        return f"{stat.st_size}\0{stat.st_mtime_ns}"

    for source in files:
        digest.update(f"\0{source}\0{chr(0).join(map(state, files_of(source)))}".encode())
    return folder / f"{how.preprocess}-{how.side}-{digest.hexdigest()}{ending}"
