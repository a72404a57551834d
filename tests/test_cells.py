"""Pictures in the cells of a csv: found by the header, read a row at a time, answered by the sample's numbers."""

import io

import numpy as np
import pytest
from folders import metric, table

from autoclimb.data.decoding import Decoding
from autoclimb.data.files.cells import keep_pixels, pixel_columns, pixel_string
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder

PIXELS = [f"pixel{i}" for i in range(64)]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["label", *PIXELS], range(1, 65)),
        ([*[f"{y}x{x}" for y in range(1, 9) for x in range(1, 9)], "label"], range(64)),
        (["id", *[str(i) for i in range(192)]], range(1, 193)),
        (["id", *[f"vote_{i}" for i in range(1, 11)]], None),
        (["id", *[f"class_{i}" for i in range(70)]], None),
        (["id", *PIXELS[:40], "label", *PIXELS[40:]], None),
    ],
)
def test_columns_of_pixels_are_counted_side_by_side_and_make_a_square(header, columns):
    assert pixel_columns(header) == columns


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
    pixels = build_pixels([*task.train_files, *task.test_files], Decoding(8, "squash"), tmp_path / "cache")
    assert not pixels.bad.any()
    assert np.array_equal(pixels.array[..., 0].reshape(32, 64), values)


def test_pixels_that_are_no_bytes_are_kept_as_numbers():
    out = io.BytesIO()
    count, kind, _ = keep_pixels(io.BytesIO(f"{','.join(PIXELS)}\n{','.join(['0.5'] * 64)}\n".encode()), out)
    assert (count, kind, np.frombuffer(out.getvalue(), np.float32).tolist()) == (64, np.float32, [0.5] * 64)


def test_pictures_of_a_table_with_a_word_among_its_pixels_cannot_be_read(tmp_path):
    digits(tmp_path)
    with open(tmp_path / "train.csv", "a") as file:
        file.write("1," + ",".join(["x"] * 64) + "\n")
    task = read_folder(tmp_path, metric("label"))
    assert build_pixels(list(task.train_files), Decoding(8, "squash"), tmp_path / "cache").bad.all()


def test_ids_beside_the_pixels_are_the_ids(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 64))
    rows = [(f"x{i}", *row) for i, row in enumerate(values)]
    table(tmp_path / "train.csv", ("image_id", *PIXELS, "label"), *((*row, i % 2) for i, row in enumerate(rows[:24])))
    table(tmp_path / "test.csv", ("image_id", *PIXELS), *rows[24:])
    task = read_folder(tmp_path, metric("label"))
    assert task.train_ids[:2] == ("x0", "x1")
    assert task.test_ids[0] == "x24"
    assert [(c.name, c.role) for c in task.columns] == [("label", "target")]


def written(values, form="{}", between=" "):
    """Each row's numbers as one cell."""
    return [form.format(between.join(map(str, row))) for row in values]


@pytest.mark.parametrize(("count", "side"), [(64, (8, 8)), (192, (8, 8, 3))])
@pytest.mark.parametrize(("form", "between"), [("{}", " "), ("[{}]", ", ")])
def test_pictures_written_into_one_cell_a_row_are_read(tmp_path, count, side, form, between):
    values = np.random.default_rng(0).integers(0, 256, (20, count))
    cells = written(values, form, between)
    table(tmp_path / "train.csv", ("emotion", " pixels"), *((i % 2, cells[i]) for i in range(14)))
    table(tmp_path / "test.csv", ("pixels",), *((cell,) for cell in cells[14:]))
    table(tmp_path / "sample_submission.csv", ("id", "emotion"), *((i, 0) for i in range(1, 7)))
    task = read_folder(tmp_path, metric("label"))
    assert (task.classes, task.test_ids[:2]) == (("0", "1"), ("1", "2"))
    assert any(f"in its cells, {count} numbers each" in note.text for note in task.notes)
    pixels = build_pixels([*task.train_files, *task.test_files], Decoding(8, "squash"), tmp_path / "cache")
    assert not pixels.bad.any()
    assert np.array_equal(pixels.array.reshape(20, 8, 8, 3)[..., : (side[2:] or (1,))[0]].reshape(20, count), values)


def test_a_cell_that_holds_fewer_numbers_than_others_is_an_unreadable_picture(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (20, 64))
    cells = written(values)
    cells[7], cells[9] = cells[7][:50], f"x {cells[9]}"
    table(tmp_path / "train.csv", ("label", "pixels"), *((i % 2, cells[i]) for i in range(14)))
    table(tmp_path / "test.csv", ("label", "pixels"), *(("", cell) for cell in cells[14:]))
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((i, 0) for i in range(6)))
    task = read_folder(tmp_path, metric("label"))
    pixels = build_pixels(list(task.train_files), Decoding(8, "squash"), tmp_path / "cache")
    assert np.flatnonzero(pixels.bad).tolist() == [7, 9]
    assert np.array_equal(pixels.array[13, ..., 0].ravel(), values[13])


@pytest.mark.parametrize(
    ("cells", "string"),
    [
        (written(np.arange(320).reshape(5, 64)), (1, 64)),
        (written(np.arange(310).reshape(5, 62)), None),  # no square
        (written([range(100)] * 5), None),  # a sample's hundred ranked labels
        (["word " * 64] * 4 + ["other " * 64], None),
    ],
)
def test_a_cell_is_a_picture_where_its_numbers_make_a_square_and_rows_differ(cells, string):
    assert pixel_string([f"7,{cell}\n" for cell in cells], ",") == string


def faces(root, usage, labels):
    """fer2013.csv of pictures of 8 x 8, a row a part of `usage` and a label of `labels`; returns the pixels."""
    values = np.random.default_rng(0).integers(0, 256, (len(usage), 64))
    rows = zip(labels, written(values), usage, strict=True)
    table(root / "fer2013.csv", ("emotion", "pixels", "Usage"), *rows)
    return values


def test_a_column_of_usage_tells_train_from_test_rows_where_no_test_table_does(tmp_path):
    usage = ["Training"] * 12 + ["PublicTest"] * 3 + ["PrivateTest"] * 3
    values = faces(tmp_path, usage, [i % 2 for i in range(18)])
    task = read_folder(tmp_path, metric("label"))
    assert task.train_ids == tuple(map(str, range(12)))
    assert task.test_ids == tuple(map(str, range(12, 18)))
    assert task.form.columns == ("row", "emotion")
    pixels = build_pixels([*task.train_files, *task.test_files], Decoding(8, "squash"), tmp_path / "cache")
    assert np.array_equal(pixels.array[..., 0].reshape(18, 64), values)
    assert any("12 train rows (Training), 6 test rows (PrivateTest, PublicTest)" in note.text for note in task.notes)
    assert any("labels" in note.text and "not looked at" in note.text for note in task.notes)


def test_test_rows_with_a_label_are_learned_from_where_others_have_none(tmp_path):
    usage = ["Training"] * 12 + ["PublicTest"] * 3 + ["PrivateTest"] * 3
    faces(tmp_path, usage, [*(i % 2 for i in range(15)), "", "", ""])
    task = read_folder(tmp_path, metric("label"))
    assert (len(task.train_ids), task.test_ids) == (15, ("15", "16", "17"))
    assert any("3 rows of fer2013.csv (test rows) with a label are learned from" in note.text for note in task.notes)


def test_tables_of_pixels_count_their_rows_anew_and_need_no_sample(tmp_path):
    for name, seed in (("train", 0), ("val", 1), ("test", 2)):
        values = np.random.default_rng(seed).integers(0, 256, (12, 64))
        rows = ((i % 2, cell) for i, cell in enumerate(written(values)))
        table(tmp_path / f"{name}.csv", ("label", "pixels"), *rows)
    task = read_folder(tmp_path, metric("label"))
    assert (len(task.train_ids), len(set(task.train_ids)), len(task.test_ids)) == (24, 24, 12)
    assert len({*task.train_files, *task.test_files}) == 36
