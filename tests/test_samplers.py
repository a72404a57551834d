"""Rare classes: weights and samplers by contract, mixed batches, a head learned again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import fold_over
from test_heads import TINY, bars

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import epoch_batches
from autoclimb.learn.fold import retrain_head, run_fold
from autoclimb.learn.loop import Pace, mixed, train
from autoclimb.learn.losses import loss_named, loss_value
from autoclimb.learn.samplers import CLASS_WEIGHTS, SAMPLERS, epoch_order, rarest_label_counts, row_weights

FEW = np.eye(3, dtype=np.float32)[[0] * 90 + [1] * 9 + [2]]
SETS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_row_is_as_rare_as_its_rarest_label_and_no_label_is_a_class():
    assert list(rarest_label_counts(FEW, "multiclass")[[0, 95, 99]]) == [90, 9, 1]
    assert list(rarest_label_counts(SETS, "multilabel")) == [4, 2, 4, 1, 1]
    with pytest.raises(Mistake, match="number"):
        rarest_label_counts(FEW, "regression")


@pytest.mark.parametrize("name", CLASS_WEIGHTS)
def test_rare_rows_weigh_more_and_all_weigh_one_on_average(name):
    weights = row_weights(name, FEW, "multiclass")
    assert weights[0] < weights[95] < weights[99]
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert weights.dtype == np.float32
    assert np.allclose(row_weights(name, np.eye(3, dtype=np.float32), "multiclass"), 1)


def test_effective_numbers_are_those_of_the_paper():
    weights = row_weights("effective", FEW, "multiclass")
    assert weights[0] / weights[99] == pytest.approx((1 - 0.999) / (1 - 0.999**90), rel=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_draws_as_many_rows_and_rare_ones_more_often(name):
    rows = np.arange(1000, 1100)
    target = np.zeros((1100, 3), np.float32)
    target[1000:] = FEW
    drawn = np.concatenate([epoch_order(rows, target, "multiclass", Config(sampler=name), rng(i)) for i in range(50)])
    assert len(drawn) == 50 * 100
    assert set(drawn) <= set(rows)
    shares = target[drawn].mean(0)
    expected = {"balanced": [1 / 3] * 3, "sqrt": np.sqrt([90, 9, 1]) / np.sqrt([90, 9, 1]).sum()}[name]
    assert np.allclose(shares, expected, atol=0.03)


def test_without_a_sampler_each_row_comes_once():
    rows = np.arange(7, 50)
    assert sorted(epoch_order(rows, np.zeros((50, 1)), "regression", Config(), rng())) == list(rows)


def test_an_unknown_name_is_answered_with_the_list():
    with pytest.raises(Mistake, match=r"cubed.*effective"):
        row_weights("cubed", FEW, "multiclass")
    with pytest.raises(Mistake, match=r"cubed.*balanced"):
        epoch_order(np.arange(9), FEW, "multiclass", Config(sampler="cubed"), rng())


def test_the_order_with_a_sampler_depends_on_seed_fold_and_epoch_only():
    material, config = bars(), TINY.vary(sampler="balanced")
    seen = [
        np.concatenate([b.rows for b in epoch_batches(material, fold_over(range(40)), config, 32, 10, k)])
        for k in (0, 0, 1)
    ]
    assert (seen[0] == seen[1]).all()
    assert (seen[0] != seen[2]).any()


# --- mixed batches ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 9),
    labels=st.booleans(),
    change=st.sampled_from([(0.4, 0), (0, 1.0), (1.0, 1.0)]),
    seed=st.integers(0, 99),
)
def test_targets_and_weights_are_mixed_like_the_pictures(n, labels, change, seed):
    """Each picture is one value and its target a function of it, so what is left of the two can be compared."""
    value = torch.arange(float(n))
    x = value.view(n, 1, 1, 1).expand(n, 3, 16, 16).contiguous()
    y = (value.long()[:, None] >> torch.arange(4) & 1).float() if labels else torch.eye(n)
    config = Config(mixup=change[0], cutmix=change[1])
    mixed_x, mixed_y, mixed_w = mixed(x, y, value.clone(), config, rng(seed))
    assert torch.allclose(mixed_x.mean((1, 2, 3)), mixed_w, atol=1e-4)
    shown = mixed_y @ 2.0 ** torch.arange(4) if labels else mixed_y @ value
    assert torch.allclose(shown, mixed_w, atol=1e-4)
    assert labels or torch.allclose(mixed_y.sum(1), torch.ones(n), atol=1e-5)
    assert ((mixed_y >= 0) & (mixed_y <= 1 + 1e-6)).all()


@pytest.mark.parametrize(("name", "kind"), [("ce", "multiclass"), ("corn", "ordinal"), ("bce", "multilabel")])
def test_a_mixed_rows_loss_is_the_mixture_of_both_losses(name, kind):
    loss = loss_named(name, kind)
    outputs = torch.randn(2, 1, loss.outputs(4))
    one, other = torch.eye(4)[[0]], torch.eye(4)[[3]]
    for z in outputs:
        parts = 0.3 * loss_value(loss, z, one) + 0.7 * loss_value(loss, z, other)
        assert torch.allclose(loss_value(loss, z, 0.3 * one + 0.7 * other), parts, atol=1e-5)


# --- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"class_weights": "effective", "mixup": 0.4},
        {"class_weights": "inverse-sqrt", "sampler": "sqrt", "cutmix": 1.0},
        {"retrain_head": 0.5, "ema": 0.9},
        {"retrain_head": 0.3, "loss": "arcface", "neighbours": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("timed", [False, True])
def test_tricks_for_rare_classes_give_finite_predictions(tmp_path, change, timed):
    material = bars(31, 4)
    config = TINY.vary(epochs=0 if timed else 2, seconds=0.5 if timed else 0, **change)
    events = []
    clock = iter(np.arange(0, 99, 0.002)).__next__
    fold = fold_over(range(8, 31), range(8), report=events.append, now=clock)
    oof_pred, test_pred, facts = run_fold(config, 0.5, material, fold, tmp_path)
    assert np.isfinite(oof_pred).all()
    assert np.isfinite(test_pred).all()
    assert ("head_steps" in facts) == bool(config.retrain_head)
    assert facts.get("head_steps", 1) > 0
    progress = [facts["progress"] for facts in events if "progress" in facts]
    assert progress == sorted(progress)


def test_a_head_learned_again_leaves_everything_below_it_as_it_was():
    material = bars()
    built = build_net(TINY, 3)
    before = {name: value.clone() for name, value in built.net.state_dict().items()}
    pace = Pace(lambda: 0.0, 0.0, steps=3)
    net, facts = train(built, material, TINY, fold_over(range(40)), pace, only_head=True)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert facts["steps"] == 3


def test_a_head_without_time_to_be_learned_again_stays_as_it_was():
    material = bars()
    built = build_net(TINY.vary(loss="arcface"), 3)
    before = {name: value.clone() for name, value in built.net.state_dict().items()}
    over = Pace(iter(range(99)).__next__, 0.0, seconds=1.0)
    built, steps = retrain_head(built, material, TINY.vary(retrain_head=0.3), fold_over(range(40)), over)
    assert steps == 0
    assert all(torch.equal(value, before[name]) for name, value in built.net.state_dict().items())
