"""The tricks of training, each by what would be missing without it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autoclimb.learn.averages import fresh_norms
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import Material, epoch, scaled
from autoclimb.learn.fold import Pace
from autoclimb.learn.loop import train
from autoclimb.learn.optim import Thaw, layers_of, optimizer_of
from autoclimb.learn.trial import run_trial
from autoclimb.types import Config

CPU = torch.device("cpu")
TINY = Config(
    backbone="resnet10t",
    model_args=(("channels", (4, 4, 8, 8)),),
    size=16,
    epochs=2,
    batch=8,
    policy="none",
    lr=5e-3,
)


def material_of(n: int = 24, m: int = 4, size: int = 16) -> Material:
    """Dark and light pictures in noise."""
    draw = np.random.default_rng(0)
    label = np.arange(n + m) % 2
    pictures = draw.normal(90 + 60 * label[:, None, None, None], 20, (n + m, size, size, 3))
    target = np.eye(2, dtype=np.float32)[label[:n]]
    return Material("multiclass", 2, target, np.arange(n) // 2 % 4, pictures.clip(0, 255).astype(np.uint8))


def trained(config: Config, material: Material, steps: int, report=lambda facts: None, **changes):
    """The built net before and after so many steps over all rows, and the facts."""
    torch.manual_seed(0)
    built = replace(build_net(config, 2), **changes)
    before = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    rows = np.arange(len(material.target))
    net, facts = train(built, material, rows, config, 0, Pace(lambda: 0.0, 0.0, steps=steps), CPU, report)
    return before, net, facts


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto", "mobilenetv3_small_050"])
def test_rates_fall_geometrically_from_the_head_to_the_stem(backbone):
    built = build_net(Config(backbone=backbone), 3)
    made = optimizer_of(built.net, built.head, Config(lr=1.0, backbone_lr=0.5, layer_decay=0.8))
    rate_of = {id(p): group["peak"] for group in made.param_groups for p in group["params"]}
    layer_of = layers_of(built.net, built.head)
    top = max(layer_of.values())
    assert top >= 5
    for name, p in built.net.named_parameters():
        below = 1.0 if name.startswith(("fc.", "head.fc.", "classifier.")) else 0.5
        assert rate_of[id(p)] == pytest.approx(below * 0.8 ** (top - layer_of[name])), name
    assert min(rate_of.values()) == pytest.approx(0.5 * 0.8**top)


def test_what_a_net_names_is_not_decayed():
    built = build_net(Config(backbone="vit_tiny_patch16_224", size=32, model_args=(("depth", 1),)), 3)
    made = optimizer_of(built.net, built.head, Config())
    decay_of = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert decay_of[id(built.net.pos_embed)] == decay_of[id(built.net.cls_token)] == 0
    assert decay_of[id(built.net.blocks[0].mlp.fc1.weight)] > 0


def test_a_net_thaws_head_first_and_frozen_batch_norms_keep_their_statistics():
    built = build_net(TINY, 2)
    built.net.train()
    thaw = Thaw(built.net, built.head, 0.5)
    stages = ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    for progress, free in ((0.0, 1), (0.09, 1), (0.11, 2), (0.45, 5), (0.5, 6), (0.99, 6)):
        thaw.at(progress)
        learning = {name.split(".")[0] for name, p in built.net.named_parameters() if p.requires_grad} - {"bn1"}
        assert learning == set(stages[-free:]), progress
        for name, module in built.net.named_modules():
            if isinstance(module, nn.BatchNorm2d) and not name.startswith("bn1"):
                assert module.training == (name.split(".")[0] in learning), (progress, name)


def test_the_first_steps_of_a_frozen_net_leave_all_below_its_head_as_it_was():
    halted = Pace(iter([0.0, 0.0, 0.0, 0.1, 0.1, 9.0, 9.0, 9.0, 9.0]).__next__, 0.0, seconds=1.0)
    built = build_net(TINY, 2)
    before = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    material = material_of()
    net, facts = train(built, material, np.arange(24), TINY.vary(unfreeze=1.0), 0, halted, CPU)
    assert facts["steps"] >= 1
    changed = {name for name, tensor in net.state_dict().items() if (before[name] != tensor).any()}
    assert changed == {"fc.weight", "fc.bias"}
    before, net, _ = trained(TINY.vary(unfreeze=1.0), material, steps=6)
    assert (before["layer4.0.conv1.weight"] != net.layer4[0].conv1.weight).any()


# --- averages --------------------------------------------------------------------------------------------------------


def test_averaged_weights_are_the_mean_of_the_snapshots_and_the_rate_stays_constant(monkeypatch):
    from autoclimb.learn import loop

    seen, rates = [], []
    original = loop.optimizer_of

    def spied(net, *rest):
        optimizer = original(net, *rest)
        step = optimizer.step

        def counted(*args):
            rates.append(optimizer.param_groups[0]["lr"])
            step(*args)
            seen.append({name: p.detach().clone() for name, p in net.named_parameters()})

        optimizer.step = counted
        return optimizer

    monkeypatch.setattr(loop, "optimizer_of", spied)
    _, net, facts = trained(TINY.vary(swa=0.5), material_of(), steps=8)
    assert facts["snapshots"] == 4
    assert len(set(rates[4:])) == 1
    assert len(set(rates[:4])) == 4
    for name, p in net.named_parameters():
        mean = torch.stack([weights[name] for weights in seen[4:]]).mean(0)
        assert torch.allclose(p, mean, atol=1e-6)
        assert name.startswith("bn") or len(p) < 2 or not torch.equal(p, seen[-1][name])


def test_batch_norms_of_averaged_weights_are_measured_anew():
    built, material = build_net(TINY, 2), material_of()
    first = built.net.conv1[1]
    assert not first.running_mean.any()
    fresh_norms(built, material, np.arange(24), TINY, 0, CPU)
    assert first.running_mean.any()
    assert int(first.num_batches_tracked) == 3
    seen = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    built.net.eval()
    from autoclimb.learn.batches import to_input

    built.net(to_input(material.pixels[:24], built.mean, built.std, CPU))
    assert torch.allclose(seen[0], first.running_mean, atol=1e-4)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_scales_are_whole_steps_around_the_size():
    draw = np.random.default_rng(0)
    assert {scaled(64, (0.75, 1.25), draw) for _ in range(60)} == {48, 64, 80}
    assert {scaled(224, (0.85, 1.15), draw) for _ in range(60)} == {192, 224, 256}
    assert scaled(100, (), draw) == 100


def test_batches_of_several_scales_have_different_sides_and_the_same_each_time():
    material, config = material_of(size=32), TINY.vary(size=32, scales=(0.5, 1.5), policy="flip")
    sides = [[len(p[0]) for p, _ in epoch(material, np.arange(24), config, 32, 2, 0, 0)] for _ in range(2)]
    assert set(sides[0]) == {16, 32, 48}
    assert sides[0] == sides[1]


def test_pictures_are_decoded_at_the_largest_size_that_is_looked_at():
    assert Config(size=64).cached_size == 64
    assert Config(size=64, test_size=80).cached_size == 80
    assert Config(size=64, test_size=48, scales=(0.5, 1.5)).cached_size == 96


def test_predictions_are_made_at_the_test_size(tmp_path, monkeypatch):
    from autoclimb.learn import views

    material, sides = material_of(size=32), []
    original = views.to_input
    monkeypatch.setattr(
        views, "to_input", lambda block, *rest: (sides.append(block.shape[1]), original(block, *rest))[1]
    )
    told = run_trial(TINY.vary(test_size=32), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert told["status"] == "done"
    assert set(sides) == {32}


@pytest.mark.parametrize("change", [{"scales": (0.5, 1.5)}, {"test_size": 64}], ids=str)
def test_a_net_of_one_size_refuses_several(tmp_path, change):
    config = TINY.vary(
        backbone="vit_tiny_patch16_224", model_args=(("depth", 1), ("patch_size", 16)), size=32, **change
    )
    told = run_trial(config, material_of(size=32), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert told["status"] == "failed"
    assert "one size" in told["note"]


@pytest.mark.parametrize(
    "change",
    [
        {"layer_decay": 0.7, "backbone_lr": 0.5},
        {"unfreeze": 0.4},
        {"swa": 0.4},
        {"scales": (0.5, 1.5), "sizes": (16,), "size": 32},
        {"test_size": 32},
        {"unfreeze": 0.3, "swa": 0.3, "layer_decay": 0.8, "optimizer": "lion"},
    ],
    ids=str,
)
def test_every_trick_gives_finite_predictions(tmp_path, change):
    material = material_of(size=32)
    told = run_trial(TINY.vary(**change), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert told["status"] == "done"
    assert np.isfinite(np.load(tmp_path / "t" / "test.npy")).all()
