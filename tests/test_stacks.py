"""What the axes of arrays mean is decided once for a set; all bands are read, and decoders write nothing."""

import numpy as np
import pytest
import tifffile
from folders import competition, metric, table

from autoclimb.data.decoding import Decoding, decode, most_pictures, sizes_of
from autoclimb.data.files.npy import array_tables, is_stack
from autoclimb.data.files.stacks import axes_of
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([(64, 64)], ("picture", 3)),
        ([(64, 64, 3)], ("picture", 3)),
        ([(64, 64, 12)], ("channels last", 12)),
        ([(64, 80, 12), (50, 70, 12)], ("channels last", 12)),
        ([(6, 64, 64)], ("channels first", 6)),
        ([(1, 64, 64)], ("channels first", 3)),
        ([(12, 64, 64), (14, 64, 64)], ("slices", 3)),
        ([(40, 64, 64), (31, 64, 64)], ("slices", 3)),
        ([(64, 64, 200)], ("picture", 3)),  # many bands: so many of them as pictures
        ([(64, 64, 12), (64, 64, 12), (64, 64)], ("channels last", 12)),
        ([(20, 64, 64, 3)], ("slices", 3)),
    ],
)
def test_the_axis_of_channels_is_short_and_as_long_in_all_files(shapes, axes):
    assert axes_of(shapes) == axes


@pytest.mark.parametrize(
    ("shape", "stack"),
    [
        ((1797, 8, 8), True),
        ((60000, 28, 28), True),
        ((500, 32, 32, 3), True),
        ((64, 64, 12), False),
        ((64, 64, 3), False),
        ((12, 64, 64), False),
        ((64, 64), False),
    ],
)
def test_an_array_of_a_split_has_a_picture_a_row(shape, stack):
    assert is_stack(shape) == stack


def test_many_volumes_are_items_and_a_few_with_labels_beside_them_are_splits(tmp_path):
    names = [f"{i}.npy" for i in range(12)]
    for name in names:
        np.save(tmp_path / name, np.zeros((20, 24, 24), np.uint8))
    assert array_tables(tmp_path, names, []) == ([], names)
    np.save(tmp_path / "labels.npy", np.arange(20))
    tables, left = array_tables(tmp_path, [*names, "labels.npy"], [])
    assert (len(tables), left) == (12, [])
    assert tables[0].columns == ["row", "label"]


def arrays(root, shape, extension=".npy", count=12):
    """A competition of arrays; channel k of every picture is 10 k."""
    competition(root, train=count)
    for split in ("train", "test"):
        for file in list((root / split).iterdir()):
            values = np.zeros(shape, np.uint8) + np.arange(shape[-1], dtype=np.uint8) * 10
            if extension == ".npy":
                np.save(file.with_suffix(".npy"), values)
            else:
                tifffile.imwrite(file.with_suffix(extension), values, photometric="minisblack", planarconfig="contig")
            file.unlink()
    return root


@pytest.mark.parametrize("extension", [".npy", ".tif"])
@pytest.mark.parametrize("in_folders", [False, True])
def test_all_channels_are_read_and_decoders_write_nothing(tmp_path, capfd, extension, in_folders):
    root = arrays(tmp_path / "c", (20, 24, 13), extension)
    if in_folders:
        for name in ("train.csv", "sample_submission.csv"):
            (root / name).unlink()
        for i, file in enumerate(sorted((root / "train").iterdir())):
            folder = root / ("left", "right")[i % 2]
            folder.mkdir(exist_ok=True)
            file.rename(folder / file.name)
    task = read_folder(root, metric("label"))
    assert task.channels == 13
    assert any("13" in note.text and note.kind == "channels" for note in task.notes)
    pixels = build_pixels(task.train_files, Decoding(16, "squash", 13), tmp_path / "px")
    assert (pixels.array == np.arange(13) * 10).all()
    assert sizes_of(task.train_files, channels=13)[0] == (24, 20, "uint8 x 13")
    assert most_pictures(task.train_files, channels=13) == 1
    assert capfd.readouterr() == ("", "")


def test_volumes_of_different_depth_each_give_their_own_slices(tmp_path):
    for i in range(12):
        np.save(tmp_path / f"v{i:02d}.npy", np.full((20 + i, 24, 30), i, np.uint8))
    table(tmp_path / "train.csv", ("id", "label"), *((f"v{i:02d}", "ab"[i % 2]) for i in range(12)))
    task = read_folder(tmp_path, metric("label"))
    assert len(task.train_files) == 12
    for i, source in enumerate(task.train_files):
        assert (decode(source, Decoding(32, "squash")) == i).all()
