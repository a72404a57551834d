"""Seconds and memory that reading large folders takes: one row a layout, each read by a process of its own.

    uv run python benchmarks/reading.py [--files 200000] [--layouts csv,ids,classes,bson,zip]

The folders are made in a temporary folder and removed again. Files of `csv` are distinct tiny JPEGs, those of the other
layouts links to a few; the first reading is of a folder whose names the system has just written and so knows.
"""

import argparse
import csv
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from record import append, heading, show

HEADER = (
    "| layout | train | test | seconds, each reading | of a core, the least | MB before | MB at the peak |\n"
    "|---|---|---|---|---|---|---|\n"
)
TEST_SHARE = 4  # one of so many files is a test picture
CLASSES = 100
LINKS = 20_000  # names that one file may have: some file systems allow 65,000


def jpeg(seed: int) -> bytes:
    """A JPEG of 8x8 pixels of its own."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A csv."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def tables(root: Path, train: list[str], test: list[str]) -> None:
    """train.csv with labels, a group and a number, and the sample submission."""
    rows = [(name, f"class{i % CLASSES}", f"p{i % 5000}", i % 97) for i, name in enumerate(train)]
    write_table(root / "train.csv", ("id", "label", "patient_id", "age"), rows)
    write_table(root / "sample_submission.csv", ("id", "label"), [(name, "class0") for name in test])


def names(files: int) -> tuple[list[str], list[str]]:
    """Train and test ids that look like hashes."""
    ids = [f"{i * 2654435761 % 2**32:08x}{i:06x}" for i in range(files)]
    cut = files - files // TEST_SHARE
    return ids[:cut], ids[cut:]


def links(root: Path, wheres: list[str]) -> None:
    """So many names of a few pictures."""
    for folder in {os.path.dirname(w) for w in wheres}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, where in enumerate(wheres):
        if i % LINKS == 0:
            source = root / f".{i}.jpg"
            source.write_bytes(jpeg(i))
        os.link(source, root / where)


def make_csv(root: Path, files: int) -> None:
    """A table whose ids are file names; every file is a picture of its own."""
    train, test = names(files)
    for folder, ids in (("train", train), ("test", test)):
        (root / folder).mkdir()
        for i, name in enumerate(ids):
            (root / folder / f"{name}.jpg").write_bytes(jpeg(i))
    tables(root, [f"{n}.jpg" for n in train], [f"{n}.jpg" for n in test])


def make_ids(root: Path, files: int) -> None:
    """A table whose ids lack the extension, train and test pictures of the same names in sub-folders."""
    train, test = names(files)
    test = train[: len(test)]
    links(root, [f"train/{n[:2]}/{n}.jpg" for n in train] + [f"test/{n[:2]}/{n}.jpg" for n in test])
    tables(root, train, test)


def make_classes(root: Path, files: int) -> None:
    """Class folders."""
    train, test = names(files)
    links(root, [f"train/class{i % CLASSES}/{n}.jpg" for i, n in enumerate(train)] + [f"test/{n}.jpg" for n in test])
    write_table(root / "sample_submission.csv", ("id", "label"), [(f"{n}.jpg", "class0") for n in test])


def make_zip(root: Path, files: int) -> None:
    """Two archives and tables."""
    train, test = names(files)
    for folder, ids in (("train", train), ("test", test)):
        with zipfile.ZipFile(root / f"{folder}.zip", "w") as archive:
            for i, name in enumerate(ids):
                archive.writestr(f"{folder}/{name}.jpg", jpeg(i % 100))
    tables(root, train, test)


def make_bson(root: Path, files: int) -> None:
    """train.bson and test.bson, a document of one picture each."""
    train, test = names(files)
    several = [jpeg(i) for i in range(100)]

    def field(kind: int, name: str, value: bytes) -> bytes:
        return bytes([kind]) + name.encode() + b"\0" + value

    def document(*fields: bytes) -> bytes:
        inner = b"".join(fields) + b"\0"
        return struct.pack("<i", len(inner) + 4) + inner

    for split, ids in (("train", train), ("test", test)):
        with open(root / f"{split}.bson", "wb") as file:
            for i in range(len(ids)):
                data = several[i % 100]
                picture = document(field(5, "picture", struct.pack("<iB", len(data), 0) + data))
                fields = [field(16, "_id", struct.pack("<i", i + len(train) * (split == "test")))]
                if split == "train":
                    fields.append(field(16, "category_id", struct.pack("<i", 1000 + i % CLASSES)))
                file.write(document(*fields, field(4, "imgs", document(field(3, "0", picture)))))
    write_table(
        root / "sample_submission.csv", ("_id", "category_id"), [(i + len(train), 1000) for i in range(len(test))]
    )


LAYOUTS: dict[str, Callable[[Path, int], None]] = {
    "csv": make_csv,
    "ids": make_ids,
    "classes": make_classes,
    "zip": make_zip,
    "bson": make_bson,
}

READ = """
import resource, sys, time
from pathlib import Path
from autoclimb.data.read.folder import read_folder
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, busy = time.perf_counter(), time.process_time()
task = read_folder(Path(sys.argv[1]))
seconds, busy = time.perf_counter() - start, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(task.train_ids), len(task.test_ids), seconds, busy, before, peak)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--again", type=int, default=3, help="readings of each folder, each in a new process")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    unknown = set(options.layouts.split(",")) - set(LAYOUTS)
    if unknown:
        parser.error(f"unknown layouts {', '.join(sorted(unknown))}; choose from {', '.join(LAYOUTS)}")
    append(options.out, heading(f"reading {options.files:,} files, {options.again} times each") + HEADER)
    for layout in options.layouts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            LAYOUTS[layout](Path(folder), options.files)
            making = time.perf_counter() - start
            rows = []
            for _ in range(options.again):
                read = subprocess.run([sys.executable, "-c", READ, folder], capture_output=True, text=True, check=True)
                rows.append([float(word) for word in read.stdout.split()])
            train, test, _, _, before, _ = rows[0]
            seconds = " ".join(f"{row[2]:.2f}" for row in rows)
            busy, peak = min(row[3] for row in rows), max(row[5] for row in rows)
            cells = layout, f"{train:.0f}", f"{test:.0f}", seconds, f"{busy:.2f}", f"{before / 1024:.0f}"
            row = f"| {' | '.join(cells)} | {peak / 1024:.0f} |\n"
            show(options.out, row)
            print(f"{layout}: the folder was made in {making:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
