"""A run on more pictures than their disk holds: peak disk, and how fast nets train from each kind of cache.

    uv run python benchmarks/limited.py [--pictures 100000] [--cache-gb 1] [--budget 4m]

Makes JPEGs of 96 to 128 px (one of five shapes on smooth colour, under noise) in a temporary folder. First a small net
and a larger one train on some of them from an array, from JPEGs and from the files, in turn; then the real command runs
with that limit, while the disk of its folder is looked at twice a second.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from record import append, heading

CLASSES = ("circle", "square", "triangle", "cross", "ring")
GROUNDS = 64  # smooth backgrounds, shared
RATED = 4000  # pictures that rates are measured on
NETS = (("resnet10t", 64), ("resnet18", 96))


def main() -> None:
    """Makes, measures, runs, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--cache-gb", type=float, default=1.0)
    parser.add_argument("--budget", default="4m")
    parser.add_argument("--trained", type=int, default=2000, help="pictures of each training measured, 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        files, kilobytes = competition(data, options.pictures)
        what = f"{options.pictures} JPEGs of 96 to 128 px, {kilobytes:.1f} kB each, within {options.cache_gb:g} GB"
        append(options.out, heading(what))
        if options.trained:
            append(options.out, rate_table(files[:RATED], Path(place) / "rates", options.trained, options.rounds))
        append(options.out, limited_run(data, Path(place) / "run", options))


def competition(folder: Path, count: int) -> tuple[list[str], float]:
    """The files of a competition written into the folder, a tenth of them to be answered, and their mean kilobytes."""
    (folder / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    grounds = [
        cv2.resize(draw.integers(30, 200, (5, 5, 3), np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC)
        for _ in range(GROUNDS)
    ]
    noise = draw.normal(0, 10, (160, 160, 3)).astype(np.int16)
    files = [str(folder / "images" / f"{i:06d}.jpg") for i in range(count)]

    def write(i: int) -> int:
        one = np.random.default_rng(i)
        side, (top, left) = int(one.integers(96, 129)), one.integers(0, 32, 2).tolist()
        picture = grounds[int(one.integers(GROUNDS))][top : top + side, left : left + side].astype(np.int16)
        picture = picture + np.roll(noise, int(one.integers(160)), 0)[left : left + side, top : top + side]
        picture = np.ascontiguousarray(picture.clip(0, 255).astype(np.uint8))
        shape(picture, i % len(CLASSES), one)
        cv2.imwrite(files[i], picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        return os.path.getsize(files[i])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        total = sum(pool.map(write, range(count), chunksize=256))
    train = count - count // 10
    with (folder / "train.csv").open("w", newline="") as file:
        rows = ([f"{i:06d}.jpg", CLASSES[i % len(CLASSES)]] for i in range(train))
        csv.writer(file).writerows([["image", "label"], *rows])
    with (folder / "sample_submission.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label"], *([f"{i:06d}.jpg", CLASSES[0]] for i in range(train, count))])
    return files, total / count / 1000


def shape(picture: np.ndarray, kind: int, draw: np.random.Generator) -> None:
    """Draws one of the shapes somewhere, in a colour of its own."""
    side, radius = picture.shape[0], int(draw.integers(12, 26))
    x, y = draw.integers(radius, side - radius, 2).tolist()
    colour = [int(value) for value in draw.integers(0, 256, 3)]
    if kind == 0:
        cv2.circle(picture, (x, y), radius, colour, -1)
    elif kind == 1:
        cv2.rectangle(picture, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
    elif kind == 2:
        corners = np.array([[x, y - radius], [x - radius, y + radius], [x + radius, y + radius]], np.int32)
        cv2.fillPoly(picture, [corners], colour)
    elif kind == 3:
        cv2.line(picture, (x - radius, y), (x + radius, y), colour, 7)
        cv2.line(picture, (x, y - radius), (x, y + radius), colour, 7)
    else:
        cv2.circle(picture, (x, y), radius, colour, 5)


def rate_table(files: list[str], folder: Path, trained: int, rounds: int) -> str:
    """Pictures a second of trainings from each kind of cache, as a table."""
    import torch

    from autoclimb.config import Config
    from autoclimb.data.decoding import Decoding
    from autoclimb.data.pixels import build_pixels, leave_in_sources
    from autoclimb.learn.material import Material
    from autoclimb.learn.trial import run_trial

    torch.set_num_threads(1)  # threads that wait for each other would count
    lines = [
        "| net | array: img/s | by processor time | JPEGs | of the array's | files | of the array's | array | JPEGs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    count = len(files) - 100
    target = np.eye(len(CLASSES), dtype=np.float32)[np.arange(count) % len(CLASSES)]
    for backbone, size in NETS:
        how = Decoding(size, "squash")
        array = build_pixels(files, how, folder)
        jpegs = build_pixels(files, how, folder, jpegs=True)
        kinds = {"array": array, "JPEGs": jpegs, "files": leave_in_sources(files, how, folder, array.bad)}
        wall: list[float] = []
        rates: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(rounds):
            for name, pixels in kinds.items():
                material = Material("multiclass", len(CLASSES), target, np.arange(count) % 40, pixels.array)
                config = Config(backbone=backbone, size=size, epochs=trained / count, seed=number)
                place = folder / f"{backbone}-{size}-{name}-{number}"
                if not number and name == "array":  # imports and first steps are not compared
                    few = config.vary(epochs=64 / count)
                    run_trial(few, material, place / "few", place / "few", folder, torch.device("cpu"))
                start = time.process_time()
                reply = run_trial(config, material, place, place, folder, torch.device("cpu"))
                rates[name].append(trained / (time.process_time() - start))
                wall += [reply["facts"]["img_s"]] if name == "array" else []
        middle = {name: statistics.median(values) for name, values in rates.items()}
        shares = [f"{middle[name]:.0f} | {middle[name] / middle['array']:.2f}" for name in ("JPEGs", "files")]
        megabytes = [path.stat().st_size / 1e6 for path in (array.path, jpegs.path)]
        cells = [f"{backbone} @{size}", f"{statistics.median(wall):.0f}", f"{middle['array']:.0f}", *shares]
        line = f"| {' | '.join([*cells, *(f'{mb:.0f} MB' for mb in megabytes)])} |"
        print(line, flush=True)
        lines.append(line)
    says = f"Medians of {rounds} trainings on {trained} pictures each in one thread, building and predicting included;"
    return "\n".join(lines) + f"\n\n{says} all rates but the first by processor time, which neighbours change little.\n"


def limited_run(data: Path, out: Path, options: argparse.Namespace) -> str:
    """What the real command did within the limit, in words."""
    peaks: dict[str, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            used: dict[str, int] = {}
            for file in out.rglob("*"):
                part = file.relative_to(out).parts[0]
                try:
                    used[part] = used.get(part, 0) + (file.stat().st_blocks * 512 if file.is_file() else 0)
                except FileNotFoundError:  # it was renamed while we looked
                    continue
            for part, size in {**used, "all": sum(used.values())}.items():
                peaks[part] = max(peaks.get(part, 0.0), size / 1e9)

    watcher = threading.Thread(target=look)
    watcher.start()
    command = [sys.executable, "-m", "autoclimb", "fit", str(data), "--metric", "accuracy", "--budget", options.budget]
    command += ["--cache-gb", str(options.cache_gb), "--out", str(out)]
    start = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True)
    ended.set()
    watcher.join()
    print(ran.stdout, ran.stderr, flush=True)
    with (data / "sample_submission.csv").open() as file:
        ids = [row[0] for row in csv.reader(file)]
    with (out / "submission.csv").open() as file:
        answers = list(csv.reader(file))
    complete = [row[0] for row in answers] == ids
    right = [row[1] == CLASSES[int(row[0][:6]) % len(CLASSES)] for row in answers[1:]]
    kinds = sorted(
        path.name.rpartition("-")[0] + path.suffix for path in out.glob("cache/*-*-*.*") if path.suffix != ".json"
    )
    disk = ", ".join(f"{part} {size:.2f}" for part, size in sorted(peaks.items()) if size >= 0.005)
    return (
        f"\n`autoclimb fit --budget {options.budget} --cache-gb {options.cache_gb:g}` ended with status "
        f"{ran.returncode} after {time.monotonic() - start:.0f} s; submission "
        f"{'complete' if complete else 'INCOMPLETE'}, accuracy {np.mean(right):.4f} on {len(right)} test pictures.\n\n"
        f"Peak disk in GB: {disk}. Kept in the cache: {', '.join(kinds)}.\n"
    )


if __name__ == "__main__":
    main()
