"""Several pictures of an item, seen one by one: their order and empty places do not matter, what they show does."""

import numpy as np
import pytest
import torch
from fakes import situation
from hypothesis import given
from hypothesis import strategies as st
from nets import CPU, fold_over
from PIL import Image
from test_learn import TINY

from autoclimb.config import Config
from autoclimb.data.decoding import Decoding, decode, most_pictures
from autoclimb.data.pixels import build_pixels
from autoclimb.data.sources import pictures
from autoclimb.data.steps import GREY
from autoclimb.data.stored import picture_of, tiles_of
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import BatchMaker, endless_batches, resized
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.material import Material
from autoclimb.learn.several import join_tiles, split_tiles
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.learn.views import VIEWS, per_tile
from autoclimb.search.stages import resize
from autoclimb.types import History

draws = np.random.default_rng(0)
EACH = TINY.vary(grid=2, size=64, policy="flip", tta="flip")


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))
def test_what_is_taken_apart_can_be_joined_again(grid, side, channels):
    picture = draws.integers(0, 256, (grid * side, grid * side, channels), np.uint8)
    tiles = tiles_of(picture, grid)
    assert tiles.shape == (grid * grid, side, side, channels)
    assert (tiles[grid * grid - 1] == picture[-side:, -side:]).all()
    assert (picture_of(tiles, grid) == picture).all()
    for size, tiles_a_side in ((grid * side + grid - 1, grid), (grid * side, 0)):
        assert Decoding(size, "squash", grid=tiles_a_side).side == grid * side


@given(st.integers(1, 4), st.sampled_from([torch.channels_last, torch.contiguous_format]))
def test_batches_come_apart_as_pictures_do_and_keep_their_layout(grid, layout):
    pictures = draws.integers(0, 256, (3, grid * 4, grid * 4, 2), np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().contiguous(memory_format=layout)
    tiles = split_tiles(x, grid)
    expected = np.concatenate([tiles_of(picture, grid) for picture in pictures])
    assert (tiles.permute(0, 2, 3, 1).numpy() == expected).all()
    assert tiles.is_contiguous(memory_format=layout)
    assert torch.equal(join_tiles(tiles, grid), x)


def files_of(folder, count, side=40):
    results = []
    for k in range(count):
        Image.fromarray(draws.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{k}.png")
        results.append(str(folder / f"{k}.png"))
    return results


def test_in_a_grid_each_item_lies_in_tiles_of_the_same_size_and_the_rest_is_grey(tmp_path):
    files = files_of(tmp_path, 3, side=32)
    one, three = (decode(pictures(f), Decoding(65, "squash", grid=2)) for f in (files[:1], files))
    assert one.shape == (65, 65, 3)  # what builds pixels brings the size down to a multiple
    built = build_pixels([pictures(files[:1]), pictures(files)], Decoding(65, "squash", grid=2), tmp_path / "cache")
    assert built.array.shape == (2, 64, 64, 3)
    alone, tiles = (tiles_of(item, 2) for item in built.array)
    for k, file in enumerate(files):
        assert (tiles[k] == np.asarray(Image.open(file))).all()
    assert (alone[0] == tiles[0]).all()
    assert (alone[1:] == GREY).all()
    assert (tiles[3] == GREY).all()
    assert three is not None


def test_the_slices_in_a_file_are_pictures_too(tmp_path):
    slices = draws.integers(0, 256, (5, 32, 32), np.uint8)
    np.save(tmp_path / "volume.npy", slices)
    source = str(tmp_path / "volume.npy")
    assert most_pictures([source]) == 5
    tiles = tiles_of(decode(source, Decoding(96, "squash", grid=3)), 3)
    assert (tiles[:5] == slices[..., None]).all()
    assert (tiles[5:] == GREY).all()


def test_pixels_in_a_grid_and_without_are_not_mistaken_for_each_other(tmp_path):
    source = [pictures(files_of(tmp_path, 2))]
    plain, grid = (build_pixels(source, Decoding(64, "squash", grid=g), tmp_path / "cache") for g in (0, 2))
    assert plain.path != grid.path
    assert (plain.array != grid.array).any()


@pytest.mark.parametrize("backbone", ["resnet10t", "test_convnext", "mobilenetv3_small_050", "test_efficientnet"])
def test_an_answer_does_not_depend_on_the_order_of_pictures_nor_on_empty_places(backbone):
    torch.manual_seed(0)
    built = build_net(Config(backbone=backbone, grid=2, size=128), 3)
    net = built.net.eval()
    tiles = torch.randn(4, 3, 64, 64)
    empty = torch.full((1, 3, 64, 64), 0.3)

    def answer(*parts):
        with torch.inference_mode():
            return net(join_tiles(torch.cat(parts), 2))[0]

    assert torch.allclose(answer(tiles), answer(tiles.flip(0)), atol=1e-4)
    one = tiles[:1]
    alone = net.forward_head(net.forward_features(one))[0]
    assert torch.allclose(answer(one, empty, empty, empty), alone, atol=1e-4)
    assert torch.allclose(answer(empty, one, empty, empty), alone, atol=1e-4)
    assert torch.isfinite(answer(empty, empty, empty, empty)).all()


def test_each_picture_is_varied_by_itself_and_empty_places_stay_empty():
    pixels = np.zeros((2, 64, 64, 3), np.uint8)
    pixels[:, :32, :32] = draws.integers(0, 256, (2, 32, 32, 3), np.uint8)
    pixels[:, 32:, 32:] = pixels[:, :32, :32]
    material = Material("multiclass", 2, np.eye(2, dtype=np.float32), np.zeros(2, int), pixels)
    config = EACH.vary(policy="flip")
    spec = next(endless_batches(material, fold_over(range(2)), config, 64, 2))
    for picture in BatchMaker(material, config)[spec][1].numpy():
        first, *empty, last = tiles_of(picture, 2)
        assert all((tile == 0).all() for tile in empty)
        assert (first != last).any()  # the same picture, moved or mirrored otherwise


def test_pictures_of_a_grid_are_shrunk_each_by_itself():
    pixels = draws.integers(0, 256, (64, 64, 3), np.uint8)
    result = resized(pixels, 33, 2)
    assert result.shape == (32, 32, 3)
    assert (tiles_of(result, 2)[1] == resized(pixels[:32, 32:].copy(), 16)).all()


@pytest.mark.parametrize("name", ["flip", "dihedral", "five-crop", "multi-scale", "shift"])
def test_views_are_of_each_picture_by_itself(name):
    tiles = torch.randn(8, 3, 32, 32)
    for view in VIEWS[name]:
        result = split_tiles(per_tile(view, 2)(join_tiles(tiles, 2)), 2)
        assert torch.allclose(result, view(tiles), atol=1e-5)


def items_with_a_mark(count):
    """Items of four places, some empty; class 1 where one of the pictures, anywhere, is striped."""
    pixels = np.full((count, 64, 64, 3), GREY, np.uint8)
    label = np.arange(count) % 2
    for item in range(count):
        tiles = tiles_of(pixels[item], 2).copy()
        have = draws.permutation(4)[: draws.integers(1, 5)]
        tiles[have] = draws.integers(90, 160, (len(have), 32, 32, 3), np.uint8)
        if label[item]:
            tiles[have[0], ::4] = 240
        pixels[item] = picture_of(tiles, 2)
    return pixels, label


@pytest.mark.usefixtures("in_fp32")
def test_a_trial_finds_the_picture_that_tells_and_answers_again_from_its_files(tmp_path):
    pixels, label = items_with_a_mark(160)
    fold_of = np.arange(128) // 2 % 2
    material = Material("multiclass", 2, np.eye(2, dtype=np.float32)[label[:128]], fold_of, pixels)
    config = EACH.vary(epochs=20, policy="none", tta="flip")
    result = run_trial(config, material, tmp_path, tmp_path / "nets", tmp_path, CPU)
    assert result["status"] == "done"
    test = np.load(tmp_path / "test.npy")
    assert (test.argmax(1) == label[128:]).mean() > 0.75  # of 32; half of them by guessing
    again = predict_again(config, material, tmp_path / "nets", tmp_path, CPU, lambda facts: None)
    assert np.allclose(again[128:], test, atol=1e-5)


def test_a_config_that_cannot_take_pictures_one_by_one_is_named():
    with pytest.raises(Unbuildable, match="one size only"):
        build_net(Config(backbone="vit_tiny_patch16_224", size=64, grid=2, model_args=(("depth", 1),)), 3)
    with pytest.raises(Unbuildable, match="grid of 1"):
        build_net(EACH.vary(grid=1), 3)


def test_pictures_one_by_one_are_tried_where_items_have_several():
    def tried(pictures):
        s = situation(pictures=pictures, budget=3600.0)
        return [batch[0].grid for batch in resize(History(), s)]

    assert tried(1)
    assert not any(tried(1))
    assert tried(5)[0] == 3
