"""How fast pixels are decoded into the cache: pictures a second and core, and memory.

    uv run python benchmarks/cache.py [--pictures 5000] [--size 224] [--preprocess squash]

Makes JPEGs of 500x375 px (smooth shapes, edges and noise; some 60 kB each, as photographs have) in a temporary folder
and caches them, once with one thread and once with all. The files are in memory when it starts, so the disk is not
measured.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from record import append, heading, show

from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels

DIFFERENT = 200  # pictures drawn; the others are their copies, which take as long to decode
HEADER = (
    "| threads | pictures/s | a core, by the clock | a core, by processor time | MB before | MB at the peak |\n"
    "|---|---|---|---|---|---|\n"
)


def main() -> None:
    """Makes, caches, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--preprocess", default="squash")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = photographs(folder, options.pictures)
        kilobytes = sum(os.path.getsize(file) for file in files) / len(files) / 1000
        what = f"decoding {len(files)} JPEGs of 500x375 px, {kilobytes:.0f} kB each, to {options.size} px"
        append(options.out, heading(f"{what} by {options.preprocess}") + HEADER)
        before = peak_mb()
        for threads in sorted({1, cores}):
            start = time.perf_counter(), time.process_time()
            how = Decoding(options.size, options.preprocess)
            build_pixels(files, how, folder / str(threads), threads=threads)
            wall, busy = time.perf_counter() - start[0], time.process_time() - start[1]
            rates = f"{len(files) / wall:.0f} | {len(files) / wall / threads:.0f} | {len(files) / busy:.0f}"
            row = f"| {threads} | {rates} | {before:.0f} | {peak_mb():.0f} |\n"
            show(options.out, row)


def photographs(folder: Path, count: int) -> list[str]:
    """Files of that many pictures, the same every time."""
    files = []
    for number in range(count):
        file = folder / f"{number:06d}.jpg"
        if number < DIFFERENT:
            Image.fromarray(photograph(number)).save(file, quality=90)
        else:
            file.write_bytes((folder / f"{number % DIFFERENT:06d}.jpg").read_bytes())
        files.append(str(file))
    return files


def photograph(number: int) -> np.ndarray:
    """A picture `(375, 500, 3)` with as much detail at each scale as photographs have, and some edges."""
    draw = np.random.default_rng(number)
    picture = np.zeros((375, 500, 3), np.float32)
    for cells in (3, 6, 12, 25, 50, 100, 200):  # equal strength an octave: the spectrum of natural pictures
        noise = draw.normal(size=(cells * 3 // 4 + 1, cells, 3)).astype(np.float32)
        picture += cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre, radius = draw.integers(0, (500, 375)), int(draw.integers(10, 80))
        colour = [float(value) for value in draw.normal(0, 3, 3)]
        cv2.circle(picture, [int(value) for value in centre], radius, colour, -1)
    return (128 + 28 * picture + draw.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def peak_mb() -> float:
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
