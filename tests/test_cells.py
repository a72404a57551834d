"""Pictures in the cells of a csv: found by the header, read a row at a time, answered by the sample's numbers."""

import io

import numpy as np
import pytest
from folders import metric, table

from autoclimb.data.cells import keep_pixels, pixel_columns
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder

PIXELS = [f"pixel{i}" for i in range(64)]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["label", *PIXELS], range(1, 65)),
        ([*[f"{y}x{x}" for y in range(1, 9) for x in range(1, 9)], "label"], range(64)),
        (["id", *[str(i) for i in range(192)]], range(1, 193)),
        (["id", *[f"vote_{i}" for i in range(1, 11)]], None),
        (["id", *[f"class_{i}" for i in range(70)]], None),
        (["id", *PIXELS[:40], "label", *PIXELS[40:]], None),
    ],
)
def test_columns_of_pixels_are_counted_side_by_side_and_make_a_square(header, found):
    assert pixel_columns(header) == found


def digits(root, first=1):
    """train.csv and test.csv of pictures of 8 x 8, the test rows without an id; returns all pixels, train first."""
    values = np.random.default_rng(0).integers(0, 256, (32, 64))
    table(root / "train.csv", ("label", *PIXELS), *((i % 2, *row) for i, row in enumerate(values[:24])))
    table(root / "test.csv", PIXELS, *values[24:])
    table(root / "sample_submission.csv", ("ImageId", "Label"), *((i + first, 0) for i in range(8)))
    return values


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_of_pixels_is_read_and_its_test_rows_bear_the_samples_numbers(tmp_path, first):
    values = digits(tmp_path, first)
    task = read_folder(tmp_path, metric("label"))
    assert (task.kind, task.classes) == ("binary", ("0", "1"))
    assert task.target.tolist() == [i % 2 for i in range(24)]
    assert task.test_ids == tuple(str(i + first) for i in range(8))
    pixels = build_pixels([*task.train_files, *task.test_files], 8, "squash", tmp_path / "cache")
    assert not pixels.bad.any()
    assert np.array_equal(pixels.array[..., 0].reshape(32, 64), values)


def test_pixels_that_are_no_bytes_are_kept_as_numbers():
    out = io.BytesIO()
    count, kind = keep_pixels(io.BytesIO(f"{','.join(PIXELS)}\n{','.join(['0.5'] * 64)}\n".encode()), out)
    assert (count, kind, np.frombuffer(out.getvalue(), np.float32).tolist()) == (64, np.float32, [0.5] * 64)


def test_pictures_of_a_table_with_a_word_among_its_pixels_cannot_be_read(tmp_path):
    digits(tmp_path)
    with open(tmp_path / "train.csv", "a") as file:
        file.write("1," + ",".join(["x"] * 64) + "\n")
    task = read_folder(tmp_path, metric("label"))
    assert build_pixels(list(task.train_files), 8, "squash", tmp_path / "cache").bad.all()


def test_ids_beside_the_pixels_are_the_ids(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 64))
    rows = [(f"x{i}", *row) for i, row in enumerate(values)]
    table(tmp_path / "train.csv", ("image_id", *PIXELS, "label"), *((*row, i % 2) for i, row in enumerate(rows[:24])))
    table(tmp_path / "test.csv", ("image_id", *PIXELS), *rows[24:])
    task = read_folder(tmp_path, metric("label"))
    assert task.train_ids[:2] == ("x0", "x1")
    assert task.test_ids[0] == "x24"
    assert [(c.name, c.role) for c in task.columns] == [("label", "target")]
