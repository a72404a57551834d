"""Views of a picture in prediction: every row of the menu, that flips flip, and the choice among rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import CPU
from test_learn import TINY, hits, material_of, stripes

from autoclimb.arrays import read_predictions
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import build_net
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.learn.views import (
    CHOICES,
    RESIZING,
    VIEWS,
    cheapest_of_the_best,
    filled,
    predict_rows,
    row_losses,
    seconds_a_picture,
    views_named,
    views_to_predict,
)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("side", [16, 33])
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_shows_a_square_within_the_pictures_values_as_large_as_before(name, side, channels):
    x = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    for view in VIEWS[name]:
        result = view(x.contiguous(memory_format=torch.channels_last))
        assert result.shape[:2] == x.shape[:2]
        assert result.shape[2] == result.shape[3]
        assert result.shape == x.shape or name in RESIZING
        assert torch.isfinite(result).all()
        assert x.min() <= result.min()
        assert result.max() <= x.max()


@pytest.mark.parametrize("name", VIEWS)
def test_the_views_of_a_row_are_all_different(name):
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    views = [view(x) for view in VIEWS[name]]
    for i, one in enumerate(views):
        assert not any(one.shape == other.shape and torch.allclose(one, other) for other in views[:i])


def test_flips_flip_and_turns_turn():
    x = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    assert torch.equal(VIEWS["flip"][1](x), x.flip(3))
    assert torch.equal(VIEWS["vertical"][1](x), x.flip(2))
    assert torch.equal(VIEWS["flips"][3](x), x.flip(2).flip(3))
    seen = {tuple(view(x).flatten().tolist()) for view in VIEWS["dihedral"]}
    expected = [torch.rot90(y, k, (2, 3)) for k in range(4) for y in (x, x.flip(3))]
    assert seen == {tuple(y.flatten().tolist()) for y in expected}


def test_crops_are_of_the_corners_and_the_middle():
    x = torch.zeros(1, 1, 16, 16)
    x[..., :2, :2] = 1
    light = [float(view(x).sum()) for view in VIEWS["five-crop"]]
    assert light[1] == max(light)
    assert light[4] == 0
    mirrored = [float(view(x)[..., -1].sum()) for view in VIEWS["ten-crop"]]
    assert [i for i, value in enumerate(mirrored) if value > 0] == [5, 6]


@pytest.mark.parametrize("name", VIEWS)
def test_predictions_are_averaged_to_probabilities(name):
    material = replace(material_of(), pixels=stripes(5)[0], width=3)
    built = build_net(TINY, 3)
    p = predict_rows(built, material, np.arange(5), CPU, 32, name, batch=2)
    assert p.shape == (5, 3)
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    assert np.allclose(p[3:], predict_rows(built, material, np.array([3, 4]), CPU, 32, name), atol=1e-5)
    assert views_to_predict(100, name, fixed=False) == 100 * len(VIEWS[name])
    assert seconds_a_picture(built, material.pixels, CPU, 32) > 0


def test_no_view_is_unknown_and_none_is_of_another_size_to_a_net_of_one():
    with pytest.raises(Mistake, match=r"dihedral.*auto"):
        views_named("upside-down")
    with pytest.raises(Unbuildable, match="multi-scale"):
        views_named("multi-scale", fixed=True)
    assert len(views_named("auto", fixed=True)) == 12


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4))
def test_among_equals_the_cheapest_is_chosen_and_a_clear_winner_wins(noise):
    row = np.array([1.0, 1.2, 0.8, 1.1]) + noise
    assert cheapest_of_the_best({"none": row, "flip": row, "dihedral": row}) == "none"
    assert cheapest_of_the_best({"none": row, "flip": row - 0.1, "dihedral": row}) == "flip"
    assert cheapest_of_the_best({"none": row, "flip": row + np.array([1, -1, 1, -1.1])}) == "none"


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "multilabel", "regression"])
def test_a_row_predicted_right_loses_less(kind):
    target = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    right, wrong = (row_losses(p, target, kind) for p in (target * 0.8 + 0.1, 1 - target))
    assert right.shape == (2,)
    assert (right < wrong).all()
    assert np.isfinite(wrong).all()


@pytest.mark.usefixtures("in_fp32")
def test_auto_finds_out_that_stripes_may_be_mirrored_but_not_turned(tmp_path):
    material = material_of(n=120)
    config = TINY.vary(folds=(0,), epochs=8, tta="auto")
    result = run_trial(config, material, tmp_path / "out", tmp_path / "nets", tmp_path, CPU)
    assert result["status"] == "done", result
    assert result["facts"]["tta"] in set(CHOICES) - {"dihedral"}
    assert hits(material, np.asarray(read_predictions(tmp_path / "out" / "oof"))) > 0.8
    again = predict_again(config, material, tmp_path / "nets", tmp_path, CPU, lambda facts: None)
    assert np.abs(again[material.test_rows] - np.load(tmp_path / "out" / "test.npy")).max() < 1e-4


def test_a_wrong_tta_is_said_before_training(tmp_path):
    with pytest.raises(Mistake, match="'mirrors'"):
        run_trial(TINY.vary(tta="mirrors"), material_of(), tmp_path / "o", tmp_path / "n", tmp_path, CPU)


def test_a_last_batch_is_filled_up_with_its_last_picture():
    block = np.arange(3)[:, None]
    assert filled(block, 5)[:, 0].tolist() == [0, 1, 2, 2, 2]
    assert filled(block, 3) is block
