"""Pictures by row, however they are kept: an array, JPEGs in one file, the source files."""

import multiprocessing
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import TINY, fold_over, material_of
from PIL import Image

from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels, costs_of, intact, leave_in_sources, open_pixels, room_in
from autoclimb.data.stored import LazyPictures, open_rows, packed, picture_of, unpacked
from autoclimb.learn.batches import BatchMaker, endless_batches, is_blank, load_batches
from autoclimb.learn.faults import kind_of
from autoclimb.learn.features import features_of
from autoclimb.learn.material import Watch
from autoclimb.learn.trial import run_trial

CPU = torch.device("cpu")
FORKS = "fork" in multiprocessing.get_all_start_methods()


def photographs(folder, count=12, channels=3):
    """Files of smooth pictures of 40 x 30 px, one of them no picture."""
    draw, files = np.random.default_rng(0), []
    for i in range(count):
        smooth = cv2.resize(draw.integers(0, 256, (4, 5, 3), np.uint8), (40, 30), interpolation=cv2.INTER_CUBIC)
        file = folder / f"{i}.{'png' if channels != 3 else 'jpg'}"
        if channels > 3:
            file = folder / f"{i}.npy"
            np.save(file, np.repeat(smooth, 2, 2)[..., :channels])
        else:
            Image.fromarray(smooth if channels == 3 else smooth[..., 0]).save(file)
        files.append(str(file))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return [*files, str(folder / "broken.jpg")]


def kept_as(kind, files, folder, size=16, channels=3, grid=0):
    """The pixels kept in one of the three ways."""
    array = build_pixels(files, Decoding(size, "squash", channels, grid=grid), folder)
    if kind == ".npy":
        return array
    if kind == ".jpegs":
        return build_pixels(files, Decoding(size, "squash", channels, grid=grid), folder, jpegs=True)
    return leave_in_sources(files, Decoding(size, "squash", channels, array.ranges, grid), folder, array.bad)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [".npy", ".jpegs", ".sources"])
def test_rows_are_read_alike_however_they_are_kept(tmp_path, kind, channels):
    files = photographs(tmp_path, channels=channels)
    array = np.array(build_pixels(files, Decoding(16, "squash", channels), tmp_path / "px").array)
    pixels = kept_as(kind, files, tmp_path / "px", channels=channels)
    assert pixels.path.suffix == kind
    assert pixels.bad.tolist() == [False] * 12 + [True]
    rows = open_rows(pixels.path)
    assert rows.shape == array.shape == (13, 16, 16, channels)
    assert len(rows) == 13
    near = 0 if kind != ".jpegs" else 32
    for chosen in (3, -1, np.int64(2), slice(2, 9, 3), [4, 4, 0], np.arange(13) % 2 == 1, np.empty(0, int), range(5)):
        seen = rows[chosen]
        assert seen.shape == array[chosen].shape, chosen
        assert seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - array[chosen]).max(initial=0) <= near, chosen
    assert np.abs(np.stack(list(rows)).astype(int) - array).mean() <= (4 if near else 0)


@pytest.mark.parametrize("kind", [".npy", ".jpegs", ".sources"])
def test_a_net_trains_and_features_are_made_on_pictures_however_they_are_kept(tmp_path, kind):
    files = photographs(tmp_path)
    files = [*files[:12], *files[:12], *files[:4]]
    material = replace(material_of(), pixels=kept_as(kind, files, tmp_path / "px").array)
    reply = run_trial(TINY, material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert reply["status"] == "done", reply
    assert np.isfinite(np.load(tmp_path / "t" / "test.npy")).all()
    config = TINY.vary(train="features", backbone="gradients")
    features = features_of(config, material.pixels, tmp_path, CPU, Watch())
    plain = features_of(config, np.array(material.pixels[:]), tmp_path, CPU, Watch())
    np.testing.assert_array_equal(features, plain)


@pytest.mark.skipif(not FORKS, reason="loaders fork")
@pytest.mark.parametrize("kind", [".jpegs", ".sources"])
def test_forked_loaders_read_what_a_thread_does(tmp_path, kind):
    material = replace(material_of(n=9, m=4), pixels=kept_as(kind, photographs(tmp_path), tmp_path / "px").array)
    material.pixels[np.arange(13)]  # the threads of this process are not those of its children
    fold = fold_over(range(9))
    config, read = TINY.vary(policy="flip", batch=4), []
    for processes in (0, 2):
        specs = endless_batches(material, fold, config, 16, 4)
        batches = load_batches(specs, material, config, CPU, processes)
        read.append([next(batches)[1].numpy().copy() for _ in range(3)])
        batches.close()
    np.testing.assert_array_equal(*read)


@given(st.integers(1, 5), st.integers(2, 20), st.integers(0, 255), st.sampled_from([0, 2, 3]))
@settings(max_examples=30, deadline=None)
def test_what_is_packed_is_unpacked_in_its_shape_and_one_colour_stays_one(channels, side, colour, grid):
    side = side * (grid or 1)
    draw = np.random.default_rng(side)
    picture = cv2.resize(draw.integers(0, 256, (2, 2, channels), np.uint8), (side, side)).reshape(side, side, channels)
    if grid:
        picture[-(side // grid) :, -(side // grid) :] = colour
    blocks = [np.frombuffer(block, np.uint8) for block in packed(picture, grid)]
    again = unpacked(blocks, channels, grid)
    assert again.shape == picture.shape
    assert again.dtype == np.uint8
    assert np.abs(again.astype(int) - picture).mean() < 8
    if grid:
        assert is_blank(again[-(side // grid) :, -(side // grid) :]), "an empty tile is still known as one"


def test_a_grid_of_pictures_is_cut_into_tiles_before_it_is_packed(tmp_path):
    draw = np.random.default_rng(0)
    tiles = draw.integers(0, 256, (4, 9, 9, 3), np.uint8)
    tiles[2:] = 128
    assert len(packed(picture_of(tiles, 2), 2)) == 4
    material = replace(
        material_of(n=4, m=0), pixels=kept_as(".jpegs", photographs(tmp_path, 3), tmp_path, 18, grid=2).array
    )
    spec = next(endless_batches(material, fold_over(range(4)), TINY, 18, 4))
    assert BatchMaker(material, TINY.vary(grid=2))[spec][1].shape == (4, 18, 18, 3)


def test_damaged_jpegs_are_a_fault_of_the_trial_and_built_again_by_the_next_run(tmp_path):
    files = photographs(tmp_path)
    pixels = kept_as(".jpegs", files, tmp_path / "px")
    was, data = pixels.array[:], bytearray(pixels.path.read_bytes())
    assert intact(pixels.path)
    data[:200] = bytes(200)
    pixels.path.write_bytes(bytes(data))
    with pytest.raises(OSError, match=r"picture 0 of .* is damaged") as error:
        open_rows(pixels.path)[0]
    assert kind_of(error.value) == "files"
    assert not intact(pixels.path)
    again = kept_as(".jpegs", files, tmp_path / "px")
    assert "decoded again" in again.note
    np.testing.assert_array_equal(again.array[:], was)
    again.path.write_bytes(again.path.read_bytes()[:-16])
    with pytest.raises(ValueError, match="is not what its json says"):
        open_pixels(again.path)


def test_a_picture_that_never_could_be_read_is_grey_and_one_that_vanished_is_a_fault_of_the_trial(tmp_path):
    files = photographs(tmp_path)
    rows = kept_as(".sources", files, tmp_path / "px").array
    assert isinstance(rows, LazyPictures)
    assert (rows[12] == 128).all()
    (tmp_path / "3.jpg").unlink()
    with pytest.raises(OSError, match=r"can no longer be read: .*3\.jpg; put it back") as error:
        rows[3]
    assert kind_of(error.value) == "pictures"
    material = replace(material_of(n=9, m=4), pixels=rows)
    reply = run_trial(TINY, material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "pictures")
    assert "3.jpg" in reply["note"]


def test_jpegs_are_a_fraction_of_the_array_and_their_cost_is_known_before(tmp_path):
    files = photographs(tmp_path, 40)
    array, jpegs = (kept_as(kind, files, tmp_path / "px", 64) for kind in (".npy", ".jpegs"))
    size = jpegs.path.stat().st_size
    assert size < 0.3 * array.path.stat().st_size
    costs = costs_of(files, Decoding(64, "squash"))
    assert 0.8 * size < costs.packed_bytes * 40 < 1.2 * size
    assert costs.decode > 0
    assert costs.unpack > 0
    assert costs_of([""], Decoding(64, "squash")).packed_bytes == 0
    assert room_in(tmp_path / "px", 1e6, {jpegs.path}) == 1e6 - size
