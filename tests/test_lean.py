"""A net that only predicts: folded, it answers as before, and training never notices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autoclimb.config import Config
from autoclimb.learn import lean
from autoclimb.learn.backbones import Built, build_net
from autoclimb.learn.devices import has_bf16, prediction_autocast
from autoclimb.learn.features import features_of
from autoclimb.learn.lean import folded
from autoclimb.learn.material import Watch

CPU = torch.device("cpu")
SIDE = 32
# a net of each kind of norm and of what stands between it and a convolution
NORMED = ("resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050", "regnetx_002", "densenet121", "repvgg_a0")


def built_with_statistics(name: str) -> Built:
    """The net with batch norms that have seen something, as after a training."""
    torch.manual_seed(0)
    built = build_net(Config(backbone=name, size=SIDE), 3)
    for module in built.net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return replace(built, net=built.net.eval())


def norms_in(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize("name", NORMED)
def test_a_folded_net_has_fewer_norms_and_the_same_answers(name):
    built = built_with_statistics(name)
    lean_net = folded(built, CPU, SIDE).net
    x = torch.rand(4, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.allclose(lean_net(x), built.net(x), rtol=1e-2, atol=1e-3)
    assert norms_in(lean_net) < norms_in(built.net)


def test_folding_leaves_the_net_and_the_random_numbers_as_they_were():
    built = built_with_statistics("resnet10t")
    before = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    random_before = torch.random.get_rng_state()
    copied = folded(built, CPU, SIDE)
    assert copied.net is not built.net
    assert copied.head is copied.net.get_classifier()
    assert torch.equal(torch.random.get_rng_state(), random_before)
    assert all(torch.equal(before[name], tensor) for name, tensor in built.net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in built.net.modules())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_a_net_without_batch_norms_is_taken_as_it_is(name):
    built = build_net(Config(backbone=name, size=224 if "vit" in name else SIDE), 3)
    assert folded(built, CPU, 224 if "vit" in name else SIDE) is built


class Branching(nn.Module):
    """The convolution's output is also used beside the norm, so the norm must not be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x):
        maps = self.conv(x)
        return self.head((self.norm(maps) + maps).mean((2, 3)))

    def get_classifier(self):
        return self.head


class Twice(Branching):
    """The same convolution and norm are run twice: what the norm does is not done to one convolution alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.norm(self.conv(self.norm(self.conv(x)))).mean((2, 3)))


class Plain(Branching):
    """Nothing else looks at what the convolution gives."""

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


class Reaching(Branching):
    """It looks at what its norm has, which a folded copy has no more."""

    def forward(self, x):
        return self.head((self.norm(self.conv(x)) * self.norm.weight[0]).mean((2, 3)))


@pytest.mark.parametrize("kind", [Branching, Twice, Reaching])
def test_a_norm_that_cannot_be_folded_is_left(kind):
    net = kind().eval()
    nn.init.constant_(net.norm.running_mean, 1.0)
    built = replace(built_with_statistics("resnet10t"), net=net, head=net.head)
    assert folded(built, CPU, SIDE) is built


@pytest.mark.parametrize("error", [MemoryError("no room for two"), RuntimeError("only leaves can be copied")])
def test_a_net_that_cannot_be_copied_predicts_as_it_is(monkeypatch, error):
    built = built_with_statistics("resnet10t")

    def broken(net):
        raise error

    monkeypatch.setattr(lean.copy, "deepcopy", broken)
    assert folded(built, CPU, SIDE) is built
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in built.net.modules())


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("how", [{"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str)
def test_a_norm_of_any_make_gives_what_it_gave(channels, how):
    torch.manual_seed(0)
    net = Plain()
    net.conv, net.norm = nn.Conv2d(channels, 4, 3, bias=False), nn.BatchNorm2d(4, **how)
    with torch.no_grad():
        net(torch.rand(8, channels, SIDE, SIDE))  # statistics that differ from nothing
    built = replace(built_with_statistics("resnet10t"), net=net, head=net.head, mean=(0.5,) * channels)
    lean_net = folded(built, CPU, SIDE).net
    x = torch.rand(3, channels, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.allclose(lean_net(x), net(x), rtol=1e-4, atol=1e-5)
    assert norms_in(lean_net) == (how.get("track_running_stats") is False)


def test_a_convolution_whose_output_is_looked_at_keeps_it():
    """Where each convolution is a stage, as in a VGG, features of several layers would be others than on a card."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    nn.init.constant_(net[4].running_mean, 1.0)
    net.get_classifier = nn.Identity
    built = replace(built_with_statistics("resnet10t"), net=net.eval(), head=nn.Identity())
    copied = folded(built, CPU, SIDE, looked_at=["3"]).net
    assert norms_in(copied) == 1
    x = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.allclose(copied[:4](x), net[:4](x), rtol=1e-4, atol=1e-5)
    assert norms_in(folded(built, CPU, SIDE).net) == 0


def test_a_card_takes_the_net_as_it_is():
    built = built_with_statistics("resnet10t")
    assert folded(built, torch.device("cuda"), SIDE) is built


def test_features_in_a_run_are_near_those_that_an_export_gives(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    config = Config(train="features", backbone="tf_efficientnet_lite0", weights="box", size=SIDE, layers=3)
    fast, exact = (features_of(config, pixels, tmp_path, CPU, Watch(), exactly=exactly) for exactly in (False, True))
    assert np.abs(fast - exact).max() < 0.05 * np.abs(exact).max()
    assert np.corrcoef(fast.ravel(), exact.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("known", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_a_processor_predicts_in_bf16_only_where_it_computes_in_it(known, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert has_bf16(CPU) is bool(known)
    assert prediction_autocast(CPU)._enabled is bool(known)
    assert not prediction_autocast(CPU, exactly=True)._enabled
