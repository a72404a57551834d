"""How a net begins: its first filters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import CPU, TINY, fold_over, material_of
from safetensors.torch import save_file
from torch import nn

from autoclimb.arrays import read_predictions
from autoclimb.learn import fold, initial
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import to_input
from autoclimb.learn.initial import whiten
from autoclimb.learn.material import Material
from autoclimb.learn.trial import run_trial

ROWS = np.arange(24)
WHITE = TINY.vary(model_args=(("channels", (4, 4, 8, 8)), ("stem_width", 32)), whitened=True)


def painted(channels: int = 3) -> Material:
    """Pictures whose neighbouring pixels are alike, as in photographs, in so many channels."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (28, 4, 4, channels))
    pictures = np.repeat(np.repeat(coarse, 4, 1), 4, 2) + draw.integers(-9, 10, (28, 16, 16, channels))
    plain = material_of()
    return Material(plain.kind, 2, plain.target, plain.fold_of, pictures.clip(0, 255).astype(np.uint8))


def whitened(material: Material, config=WHITE, in_fold: int = 0) -> tuple[nn.Conv2d, torch.Tensor, torch.Tensor]:
    """The first convolution, its weights before, and what it says of the patches it was made from `(P, filters)`."""
    torch.manual_seed(0)
    built = build_net(config, 2, material.pixels.shape[-1])
    first = next(m for m in built.net.modules() if isinstance(m, nn.Conv2d))
    before = first.weight.detach().clone()
    whiten(built, material, config, fold_over(ROWS, number=in_fold))
    x = to_input(material.pixels[ROWS], built.mean, built.std, CPU)
    patches = F.unfold(x, first.kernel_size, stride=first.kernel_size).transpose(1, 2).flatten(0, 1)
    return first, before, (patches @ first.weight.flatten(1).T).detach()


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_whitened_filters_answer_alike_strongly_and_each_to_something_else(channels):
    first, before, responses = whitened(painted(channels))
    wide = 9 * channels
    whitened_filters = min(first.out_channels // 2, wide)  # noise keeps all directions alive
    moments = torch.cov(responses[:, :whitened_filters].T)
    # a direction that hardly varies stays below one, for the floor under its variance
    assert (moments.diagonal() <= 1 + 1e-3).all()
    assert moments.diagonal()[0] == pytest.approx(1, abs=0.01)
    assert (moments - torch.diag(moments.diagonal())).abs().max() < 0.02
    assert torch.equal(first.weight[whitened_filters : 2 * whitened_filters], -first.weight[:whitened_filters])
    assert torch.equal(first.weight[2 * whitened_filters :], before[2 * whitened_filters :])
    assert first.weight.requires_grad


def test_grey_pictures_leave_filters_random_that_would_see_nothing():
    grey = painted(1)
    first, before, responses = whitened(replace(grey, pixels=grey.pixels.repeat(3, 3)))
    assert responses[:, :18].std(0).min() > 0.5  # nine directions, each with both signs
    assert torch.equal(first.weight[18:], before[18:])
    black, before, _ = whitened(replace(grey, pixels=np.zeros((28, 16, 16, 3), np.uint8)))
    assert torch.equal(black.weight, before)


def test_the_same_seed_and_fold_make_the_same_filters_of_the_few_pictures_drawn(monkeypatch):
    monkeypatch.setattr(initial, "PATCHES", 75)  # three pictures' worth
    one, again, other = (whitened(painted(), in_fold=n)[0].weight for n in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=0.05)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(4, 6, 3), nn.Linear(3, 3)])
def test_a_net_that_starts_with_something_else_is_left_alone(layer):
    before = layer.weight.detach().clone()
    whiten(replace(build_net(TINY, 2), net=nn.Sequential(layer)), painted(), WHITE, fold_over(ROWS))
    assert torch.equal(layer.weight, before)


def test_only_nets_from_scratch_are_whitened(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(fold, "whiten", lambda *given: asked.append(given[2].weights))
    source = tmp_path / "net.safetensors"
    save_file(build_net(TINY, 2).net.state_dict(), source)
    for config in (TINY, TINY.vary(whitened=True, weights=str(source)), TINY.vary(whitened=True)):
        out = tmp_path / config.key
        result = run_trial(config.vary(epochs=1), material_of(), out, out, tmp_path, CPU)
        assert result["status"] == "done", result
    assert asked == [""]


def test_a_whitened_net_learns(tmp_path):
    material = material_of(n=64)
    out = tmp_path / "t"
    result = run_trial(TINY.vary(whitened=True, epochs=12), material, out, out, tmp_path, CPU)
    oof = np.asarray(read_predictions(out / "oof"))[material.fold_of == 0]
    assert result["status"] == "done", result
    assert (oof.argmax(1) == material.target[material.fold_of == 0].argmax(1)).mean() > 0.8
