"""A small multi-label competition made from real handwritten digits, for the README's first command and for tests."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.score.crossfit import standard_error
from autoclimb.score.metrics import metric_named
from autoclimb.seeds import rng
from autoclimb.types import Goal

SIDE = 64  # pixels of a scene
TRAIN, TEST = 800, 300
VERSION = 1  # raised when the scenes change
MARK = ".autoclimb-demo.json"  # identifies a folder as a demo of this version and seed; hidden, so reading skips it


def make_demo(folder: Path, seed: int = 0) -> Path:
    """The folder, filled with a competition that asks which digits each 64x64 scene shows.

    800 train and 300 test scenes of one to four handwritten digits on textured grounds, from scikit-learn's bundled
    1,797, none of which is in both; `train.csv` (id,labels as "1 4 7"), `sample_submission.csv`, `train/`, `test/`. The
    truth of the test scenes is written beside the folder, to `<name>-answers.csv`, which nothing reads. The same seed
    gives the same bytes; a demo that exists is left as it is.

    Raises Mistake where the folder holds anything else.
    """
    folder = Path(folder)
    mark = {"made by": "autoclimb demo", "version": VERSION, "seed": seed}
    if folder.exists():
        if is_complete(folder, mark):
            return folder
        if not folder.is_dir() or any(folder.iterdir()):
            raise Mistake(f"{str(folder)!r} exists and is not this demo; give a folder that does not exist yet")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    digits = split_digits(seed)
    write_table(partial / "train.csv", draw_split(partial / "train", digits["train"], TRAIN, seed))
    answers = draw_split(partial / "test", digits["test"], TEST, seed)
    write_table(answers_of(folder), answers)
    write_table(partial / "sample_submission.csv", {name: [1] for name in answers})
    (partial / MARK).write_text(json.dumps(mark) + "\n")
    if folder.exists():
        folder.rmdir()  # empty, as checked above
    partial.rename(folder)
    return folder


def f2_on_test_set(folder: Path, submission: Path) -> tuple[float, float]:
    """The mean F2 of a demo's submission, and its standard error over the test scenes."""
    scenes, named = digits_in(answers_of(folder)), digits_in(submission)
    digits = sorted(set().union(*scenes.values(), *named.values()))
    truth, answers = (np.array([[d in sets[i] for d in digits] for i in scenes]) for sets in (scenes, named))
    goal = Goal(metric_named("f2"), "multilabel")
    return goal.score(truth, answers), standard_error(goal, truth, answers)


def digits_in(table: Path) -> dict[str, set[str]]:
    """The digits in each scene by id, in the order of a table of id and labels."""
    with open(table, newline="") as file:
        return {row["id"]: set(row["labels"].split()) for row in csv.DictReader(file)}


def answers_of(folder: Path) -> Path:
    """The file with the truth of a demo's test scenes, outside the competition."""
    return folder.with_name(f"{folder.name}-answers.csv")


def is_complete(folder: Path, mark: dict) -> bool:
    """Whether the folder is the demo of this mark, complete and with its answers."""
    path = folder / MARK
    if not path.is_file() or not answers_of(folder).is_file():
        return False
    try:
        return json.loads(path.read_text()) == mark
    except ValueError:
        return False


def split_digits(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`(images (n, 8, 8) in 0..1, digits (n,))` for train and test, no sample in both."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = rng(seed, "demo", "digits").permutation(len(bunch.target))
    cut = round(0.7 * len(order))
    return {
        split: (bunch.images[rows] / 16.0, bunch.target[rows])
        for split, rows in (("train", order[:cut]), ("test", order[cut:]))
    }


def draw_split(folder: Path, digits: tuple[np.ndarray, np.ndarray], count: int, seed: int) -> dict[str, list[int]]:
    """The digits of each scene by id; the scenes are written to the folder as PNG."""
    from PIL import Image

    folder.mkdir()
    images, values = digits
    sets = {}
    for i in range(count):
        random = rng(seed, "demo", folder.name, i)
        scene, shown = draw_scene(images, values, random)
        name = hashlib.blake2b(f"{seed}{folder.name}{i}".encode(), digest_size=5).hexdigest()
        Image.fromarray(scene).save(folder / f"{name}.png", compress_level=6)
        sets[name] = sorted(shown)
    return dict(sorted(sets.items()))


def draw_scene(images: np.ndarray, values: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, set[int]]:
    """A `(64, 64, 3)` uint8 scene and the digits it shows."""
    scene = texture(random)
    covered = np.zeros((SIDE, SIDE), bool)
    shown: set[int] = set()
    bright = random.random() < 0.7  # ink lighter or darker than the ground
    for _ in range(random.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15])):
        pick = int(random.integers(len(values)))
        for _ in range(30):  # attempts to place the digit before it is left out
            ink = scaled_and_turned(images[pick], random)
            top, left = random.integers(0, SIDE - ink.shape[0] + 1), random.integers(0, SIDE - ink.shape[1] + 1)
            where = np.s_[top : top + ink.shape[0], left : left + ink.shape[1]]
            if covered[where].mean() < 0.06:  # share of the digit's box: corners may overlap, strokes hardly do
                break
        else:
            continue
        strength = random.uniform(60, 130) * (1 if bright else -1)
        tint = random.uniform(0.75, 1.0, 3)
        scene[where] += strength * ink[:, :, None] * tint
        covered[where] = True
        shown.add(int(values[pick]))
    noisy = scene + random.normal(0, 5, scene.shape)
    return noisy.clip(0, 255).astype(np.uint8), shown


def scaled_and_turned(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A digit's picture in 0..1, scaled to 20-33 pixels a side and turned by up to 15 degrees."""
    from PIL import Image

    side = int(random.integers(20, 34))
    angle = float(random.uniform(-15, 15))
    picture = Image.fromarray((np.pad(image, 1) * 255).astype(np.uint8))  # a margin, so that turning cuts no strokes
    large = picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(large.rotate(angle, Image.Resampling.BILINEAR, expand=False), np.float64) / 255


def texture(random: np.random.Generator) -> np.ndarray:
    """A `(64, 64, 3)` background: a colour, slow waves and blotches."""
    from PIL import Image

    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    colour = random.uniform(70, 150, 3)
    waves = np.zeros((SIDE, SIDE))
    for _ in range(3):
        fx, fy = random.uniform(-4, 4, 2)
        waves += random.uniform(3, 9) * np.sin(2 * np.pi * (fx * x + fy * y) + random.uniform(0, 6.28))
    coarse = random.integers(0, 256, (8, 8), dtype=np.uint8)
    blotches = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
    return colour + (waves + (blotches - 128) * 0.12)[:, :, None]


def write_table(path: Path, sets: dict[str, list[int]]) -> None:
    """Writes id,labels with the digits joined by spaces."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "labels"])
        writer.writerows([name, " ".join(map(str, digits))] for name, digits in sets.items())
