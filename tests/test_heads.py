"""Last layers and pooling: contracts over the menus, and small real trainings that predict again from their weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import CPU
from safetensors.torch import load_file

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import build_net
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.fold import predict_fold
from autoclimb.learn.heads import LAYERS, POOLS, Cosine, GeM
from autoclimb.learn.losses import LOSSES, loss_named, loss_value, predictions_of
from autoclimb.learn.material import Material
from autoclimb.learn.trial import run_trial

TINY = Config(backbone="resnet10t", model_args=(("channels", (4, 4, 8, 8)),), size=32, epochs=20, batch=10, lr=1e-2)
TINY = TINY.vary(policy="none", folds=(0,))
CLASSES = 3


def bars(n: int = 52, m: int = 12, kind: str = "multiclass") -> Material:
    """Pictures of one to three bright bars, and how many they are."""
    draw = np.random.default_rng(0)
    count = np.arange(n + m) % CLASSES
    pictures = draw.normal(60, 10, (n + m, 32, 32, 3))
    for picture, bright in zip(pictures, count, strict=True):
        for bar in range(bright + 1):
            picture[4 + 10 * bar : 9 + 10 * bar] += 120
    target = np.eye(CLASSES, dtype=np.float32)[count[:n]]
    return Material(kind, CLASSES, target, np.arange(n) // CLASSES % 4, pictures.clip(0, 255).astype(np.uint8))


def kind_of(name: str):
    return LOSSES[name].kinds[-1]  # "ordinal" where grades are possible


WITH_OWN = [name for name in LOSSES if LOSSES[name].layer or LOSSES[name].answer]


@pytest.mark.parametrize("name", LOSSES)
def test_a_head_gives_what_its_loss_asks_for_and_every_parameter_learns(name):
    built = build_net(TINY.vary(loss=name), CLASSES)
    loss, kind = loss_named(name, kind_of(name)), kind_of(name)
    target = torch.eye(CLASSES)[torch.arange(6) % CLASSES]
    outputs = built.net(torch.randn(6, 3, 32, 32))
    assert outputs.shape == (6, loss.outputs(CLASSES))
    loss_value(loss, outputs, target).backward()
    assert all(p.grad is not None for p in built.net.parameters())  # blocks start at zero: some gradients do too
    assert all(p.grad.abs().sum() > 0 for p in [*built.head.parameters(), built.net.layer1[0].bn2.weight])
    assert predictions_of(outputs, kind, name, CLASSES).shape == (6, CLASSES)
    assert built.head is built.net.get_classifier()


def test_every_layer_is_asked_for_by_a_loss():
    assert {loss.layer for loss in LOSSES.values()} == {"", *LAYERS}


@pytest.mark.usefixtures("in_fp32")
@pytest.mark.parametrize("change", [*({"loss": name} for name in WITH_OWN), {"neighbours": 3}], ids=str)
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_net_learns_to_count_and_predicts_again_from_its_file(tmp_path, change, ema):
    config = TINY.vary(**{"loss": "arcface", **change}, tta="flip")
    if ema:  # few epochs: how right an averaged net is is not asserted
        config = config.vary(ema=ema, cutmix=0.5, epochs=4.0)
    material = bars(kind="ordinal")
    result = run_trial(config, material, tmp_path, tmp_path, tmp_path, CPU)
    assert result["status"] == "done", result
    oof, test = np.asarray(read_predictions(tmp_path / "oof")), np.load(tmp_path / "test.npy")
    held = material.fold_of == 0
    assert np.allclose(oof[held].sum(1), 1, atol=1e-5)
    assert ema or (oof[held].argmax(1) == material.target[held].argmax(1)).mean() > 0.6
    tensors = load_file(tmp_path / "fold0.safetensors")
    again = predict_fold(config, tensors, replace(material, pixels=material.pixels[material.test_rows]), CPU)
    assert np.allclose(again, test, atol=1e-5)


def test_neighbours_are_the_train_pictures_and_outvote_centres_that_know_nothing():
    head = Cosine(4, CLASSES, neighbours=2).eval()
    x = torch.eye(4)[:CLASSES]
    before = predictions_of(head(x), "multiclass", "arcface")
    head.remember(torch.cat([x, x]) + 0.01, torch.arange(CLASSES).repeat(2))
    after = predictions_of(head(x), "multiclass", "arcface")
    assert torch.allclose(after, (before + torch.eye(CLASSES)) / 2, atol=1e-3)
    assert torch.equal(head.train()(x), head.eval()(x)) is False


def test_more_neighbours_than_pictures_are_all_pictures():
    x = torch.nn.functional.normalize(torch.randn(5, 4))
    p = Cosine(4, CLASSES, neighbours=50).votes(x, torch.randn(2, 4), torch.tensor([0, 2]))
    assert torch.allclose(p.sum(1), torch.ones(5))
    assert (p[:, 1] == 0).all()


def test_only_so_many_pictures_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.learn.fold.REMEMBERED", 7)
    config = TINY.vary(loss="subcentre-arcface", neighbours=3, epochs=1)
    assert run_trial(config, bars(), tmp_path, tmp_path, tmp_path, CPU)["status"] == "done"
    assert len(load_file(tmp_path / "fold0.safetensors")["fc.known"]) == 7


def test_neighbours_without_features_to_compare_are_a_status(tmp_path):
    result = run_trial(TINY.vary(neighbours=3), bars(), tmp_path, tmp_path, tmp_path, CPU)
    assert result["status"] == "failed"
    assert "arcface" in result["note"]


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224", "test_resnet"])
@pytest.mark.parametrize("loss", ["arcface", "coral"])
def test_last_layers_fit_nets_of_other_families(backbone, loss):
    built = build_net(Config(backbone=backbone, loss=loss, size=32), 5)
    assert built.net.eval()(torch.randn(2, 3, 32, 32)).shape == (2, LOSSES[loss].outputs(5))
    assert isinstance(built.head, type(LAYERS[LOSSES[loss].layer](1, 1, 0)))


def test_a_net_without_a_linear_last_layer_is_a_status():
    with pytest.raises(Unbuildable, match="cosine"):
        build_net(Config(backbone="dla46_c", loss="arcface"), 3)  # a convolution


# --- pooling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("backbone", ["resnet10t", "test_byobnet", "test_convnext", "test_efficientnet"])
def test_a_pool_gives_one_output_per_class_and_its_parameters_learn_or_the_status_says_why(pool, backbone):
    config = Config(backbone=backbone, pool=pool)
    if (pool, backbone) == ("catavgmax", "test_convnext"):  # its norm after the pool is of the single width
        with pytest.raises(Unbuildable, match="catavgmax"):
            build_net(config, CLASSES)
        return
    net = build_net(config, CLASSES).net
    outputs = net(torch.randn(4, 3, 64, 64))
    assert outputs.shape == (4, CLASSES)
    outputs.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_power_of_one_is_the_mean_and_a_high_one_the_maximum():
    x = torch.rand(2, 3, 5, 5)
    pool = GeM(torch.nn.AdaptiveAvgPool2d(1))
    with torch.no_grad():
        pool.p.fill_(1.0)
        assert torch.allclose(pool(x), x.mean((2, 3), keepdim=True), atol=1e-5)
        pool.p.fill_(200.0)
        assert torch.allclose(pool(x), x.amax((2, 3), keepdim=True), atol=0.05)


def test_a_net_without_such_a_pool_is_a_status_and_an_unknown_pool_a_mistake():
    for pool in ("gem", "catavgmax"):
        with pytest.raises(Unbuildable, match=r"VisionTransformer|pool"):
            build_net(Config(backbone="test_vit", pool=pool, size=160), CLASSES)
    with pytest.raises(Mistake, match="avgmax"):
        build_net(TINY.vary(pool="median"), CLASSES)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("change", [{"pool": "gem"}, {"pool": "catavgmax", "loss": "arcface"}], ids=str)
def test_heads_go_with_pictures_of_any_number_of_channels(channels, change):
    built = build_net(TINY.vary(**change), CLASSES, channels)
    assert built.net(torch.randn(2, channels, 32, 32)).shape == (2, CLASSES)
    assert len(built.mean) == len(built.std) == channels
