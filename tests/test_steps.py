"""What is done to a picture before it is cached: every step on every kind of picture, and what each is for."""

import numpy as np
import pytest
from folders import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoclimb.data.decoding import Decoding, decode
from autoclimb.data.pixels import build_pixels, open_pixels
from autoclimb.data.sources import channels
from autoclimb.data.steps import PREPROCESS, chain_of, trim
from autoclimb.errors import Mistake

NUMBERS = {"box": ":0.25,0,1,0.5", "tiles": ":4"}
EVERY = [name + NUMBERS.get(name, "") for name in PREPROCESS]
CHAINS = ["trim+circle+pad+local-average", "box:0.1,0.1,0.9,0.9+clahe+tiles:5+grey-world", "clahe+trim", "tiles:9,7"]


def spotted(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, count), dtype=np.uint8)


@pytest.mark.parametrize("preprocess", [*EVERY, *CHAINS])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_every_step_makes_a_square_of_any_picture_and_the_same_again(preprocess, count):
    for height, width in ((20, 40), (31, 7), (1, 1), (2, 300), (64, 64)):
        given_ = spotted(height, width, count)
        before = given_.copy()
        result = chain_of(preprocess).applied(given_, 16)
        assert (result.shape, result.dtype) == ((16, 16, count), np.uint8)
        assert (result == chain_of(preprocess).applied(given_, 16)).all()
        assert (given_ == before).all()


@pytest.mark.parametrize("name", [name for name, row in PREPROCESS.items() if row.part == "tone"])
def test_a_tone_changes_what_is_seen_and_not_the_size(name):
    given_ = spotted(40, 40, 3) // np.array([1, 2, 3], np.uint8)
    result = PREPROCESS[name].apply(given_)
    assert result.shape == given_.shape
    assert (result != given_).any()


@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0, 30, 255]), st.sampled_from([1, 3, 4]))
def test_trim_takes_off_empty_borders_of_any_colour_and_nothing_else(top, left, colour, count):
    content = spotted(24, 30, count) // 2 + 64
    full = np.full((24 + top + 3, 30 + left + 5, count), colour, np.uint8)
    full[top : top + 24, left : left + 30] = content
    assert trim(full).shape == content.shape
    assert (trim(trim(full)) == content).all()


def test_box_takes_the_shares_it_names(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[20:, 30:] = 200
    Image.fromarray(pixels).save(tmp_path / "p.png")
    assert (decode(str(tmp_path / "p.png"), Decoding(8, "box:0.5,0.5,1,1")) == 200).all()
    assert (decode(str(tmp_path / "p.png"), Decoding(8, "box:0,0,0.5,1")) == 0).all()


def test_a_box_of_a_large_jpeg_is_as_sharp_as_a_picture_of_its_own(tmp_path):
    wave = (128 + 100 * np.sin(np.arange(800) * 2 * np.pi / 25)).astype(np.uint8)
    Image.fromarray(np.repeat(np.tile(wave, (800, 1))[..., None], 3, 2)).save(tmp_path / "p.jpg", quality=95)
    whole, part = (decode(str(tmp_path / "p.jpg"), Decoding(32, name)) for name in ("squash", "box:0.4,0.4,0.6,0.6"))
    assert np.ptp(whole[16, 4:28].astype(int)) < 60
    assert np.ptp(part[16, 4:28].astype(int)) > 150


def test_circle_blackens_the_corners_and_keeps_the_middle():
    given_ = np.full((40, 40, 3), 90, np.uint8)
    given_[:2, :2] = given_[:2, -2:] = given_[-2:, :2] = given_[-2:, -2:] = 0
    result = chain_of("circle").applied(given_, 40)
    assert result[0, 0].tolist() == result[3, 3].tolist() == [0, 0, 0]
    assert (result[10:30, 10:30] == 90).all()
    assert result[20, 0].tolist() == [90, 90, 90]


def test_local_average_makes_one_of_pictures_lit_differently():
    detail = spotted(60, 60, 3, seed=1) // 8
    dark, light = (chain_of("squash+local-average").applied(detail + add, 60).astype(int) for add in (10, 180))
    assert abs(dark - light).mean() < 1
    assert abs(dark.mean() - 128) < 4


def test_grey_world_takes_out_a_tint_and_leaves_a_missing_channel_black():
    tinted = (spotted(30, 30, 4, seed=2) * np.array([0.9, 0.5, 0.3, 0])).astype(np.uint8)
    means = chain_of("grey-world").applied(tinted, 30).mean((0, 1))
    assert np.ptp(means[:3]) < 2
    assert means[3] == 0


def test_clahe_shows_what_is_dark():
    dim = spotted(64, 64, 3, seed=3) // 32 + 20
    assert chain_of("clahe").applied(dim, 64).std() > 1.5 * dim.std()


@pytest.mark.parametrize("background", [0, 245])
def test_tiles_are_those_where_something_is(background):
    slide = np.full((160, 320, 3), background, np.uint8)
    for number, (y, x) in enumerate([(0, 40), (40, 200), (80, 80), (120, 280)]):
        slide[y : y + 40, x : x + 40] = 100 + 10 * number
    result = chain_of("tiles:4,40").applied(slide, 80)
    assert [int(result[y, x, 0]) for y in (20, 60) for x in (20, 60)] == [100, 110, 120, 130]
    assert np.isin(result, [100, 110, 120, 130]).all()


def test_tiles_of_an_almost_empty_slide_are_filled_up_with_its_background():
    slide = np.full((30, 30, 3), 240, np.uint8)
    slide[:10, :10] = 7
    result = chain_of("tiles:16,15").applied(slide, 40)
    assert (result == 240).mean() > 0.8
    assert (result == 7).any()


def test_a_fit_is_put_after_the_last_cut_where_none_is_named():
    given_ = spotted(50, 70, 3)
    for short, long in (("trim", "trim+squash"), ("clahe", "squash+clahe"), ("trim+clahe", "trim+squash+clahe")):
        assert (chain_of(short).applied(given_, 16) == chain_of(long).applied(given_, 16)).all()
    before, after = (chain_of(name).applied(given_, 16) for name in ("clahe+squash", "squash+clahe"))
    assert (before != after).any()


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        ("stretch", ", ".join(PREPROCESS)),
        ("pad+Clahe", "'Clahe'"),
        ("", "one of"),
        ("pad+", "one of"),
        ("box", "box:top,left,bottom,right"),
        ("box:0.5,0,0.5,1", "box:top"),
        ("box:0,0,2,1", "box:top"),
        ("box:0,0,nan,1", "box:top"),
        ("box:a,b,c,d", "box:top"),
        ("tiles", "tiles:count"),
        ("tiles:0", "tiles:count"),
        ("tiles:2.5", "tiles:count"),
        ("tiles:65", "tiles:count"),
        ("tiles:4,inf", "tiles:count"),
        ("clahe:3", "clahe"),
        ("pad+crop", "twice"),
        ("pad+trim", "trim before pad"),
    ],
)
def test_what_is_no_chain_is_answered_with_what_is(preprocess, words):
    with pytest.raises(Mistake, match=words):
        chain_of(preprocess)


def test_the_cut_of_one_channel_is_the_cut_of_all(tmp_path):
    """Channels in files of their own stay on top of each other, whatever each shows."""
    files = []
    for number, (y, x) in enumerate([(5, 5), (20, 25)]):
        plane = np.zeros((40, 40), np.uint8)
        plane[y : y + 10, x : x + 10] = 200
        Image.fromarray(plane).save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    decoded = decode(channels(files), Decoding(30, "trim", 2))
    assert decoded[:8, :8].mean((0, 1)).tolist() == [200, 0]
    assert decoded[-8:, -8:].mean((0, 1)).tolist() == [0, 200]


def test_channels_of_several_sizes_meet_before_a_joint_step(tmp_path):
    files = [str(picture(tmp_path / f"{side}.png", (side, side))) for side in (20, 40)]
    assert decode(channels(files), Decoding(16, "grey-world", 2)).shape == (16, 16, 2)


def test_each_chain_has_pixels_of_its_own(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", (30, 20), i)) for i in range(3)]
    all_pixels = [
        build_pixels(files, Decoding(16, name), tmp_path / "px")
        for name in ("squash", "squash+clahe", "clahe", "trim+pad")
    ]
    assert len({pixels.path for pixels in all_pixels}) == 4
    assert (all_pixels[1].array == all_pixels[2].array).all()
    assert (all_pixels[0].array != all_pixels[1].array).any()
    assert all((open_pixels(pixels.path).array == pixels.array).all() for pixels in all_pixels)
