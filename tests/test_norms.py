"""Batch norms that keep their statistics: the same net, the same gradients, in fewer passes through memory."""

import pytest
import torch
from nets import CPU, TINY, material_of
from safetensors.torch import load_file, save_file

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import build_net, norms_of, place_to_train
from autoclimb.learn.norms import norms_in_convolutions
from autoclimb.learn.optim import Unfreezing
from autoclimb.learn.trial import run_trial

NETS = ["resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050", "regnetx_002", "efficientnet_b0"]


def built_of(backbone, **changes):
    """A net in training whose norms have learned something."""
    torch.manual_seed(0)
    built = build_net(Config(backbone=backbone, size=64, frozen_norms=True, **changes), 3)
    with torch.no_grad():
        for norm in norms_of(built.net):
            norm.running_mean.normal_(0.0, 0.1)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0.0, 0.1)
    return built


def gradients(built, x):
    net = place_to_train(built, CPU)
    torch.manual_seed(1)
    outputs = net(x)
    outputs.square().mean().backward()
    taken = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad(set_to_none=True)
    return outputs.detach(), taken


@pytest.mark.parametrize("backbone", NETS)
def test_outputs_and_gradients_are_those_of_the_net_with_its_norms_in_evaluation_mode(backbone):
    built = built_of(backbone)
    x = torch.randn(4, 3, 64, 64)
    outputs, expected = gradients(built, x)
    state = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    with norms_in_convolutions(built, CPU, 64):
        assert sum("forward" in vars(module) for module in built.net.modules()) > len(norms_of(built.net))
        quick, taken = gradients(built, x)
    torch.testing.assert_close(quick, outputs, rtol=1e-3, atol=1e-4)
    for name, grad in expected.items():
        # an activation that the last bits of a float switch changes single gradients, of filters below it most
        assert (taken[name] - grad).norm() <= 0.02 * grad.norm() + 1e-6, name
    assert not any("forward" in vars(module) for module in built.net.modules())
    after = built.net.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A tiny net that keeps its statistics, with weights from a file."""
    file = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(build_net(TINY, 2).net.state_dict(), file)
    return TINY.vary(weights=str(file), frozen_norms=True)


def means_after(config, folder):
    """The norms' means as a fold's net is saved."""
    assert run_trial(config, material_of(n=48), folder, folder, folder, CPU)["status"] == "done"
    return {n: t for n, t in load_file(folder / "fold0.safetensors").items() if n.endswith("running_mean")}


def test_statistics_are_those_of_the_pretrained_net_after_training_and_without_asking_they_are_not(
    pretrained, tmp_path
):
    before = load_file(pretrained.weights)
    after = means_after(pretrained, tmp_path / "kept")
    assert after
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    learned = means_after(pretrained.vary(frozen_norms=False), tmp_path / "by batch")
    assert not all(torch.equal(tensor, before[name]) for name, tensor in learned.items())


def test_a_net_from_scratch_has_no_statistics_to_keep(tmp_path):
    with pytest.raises(Mistake, match="name `weights`"):
        run_trial(TINY.vary(frozen_norms=True), material_of(), tmp_path, tmp_path, tmp_path, CPU)


def test_a_net_that_thaws_keeps_its_statistics_too():
    built = built_of("resnet10t")
    net = place_to_train(built, CPU)
    for frozen_norms, training in ((True, False), (False, True)):
        Unfreezing(net, built.head, 0.5, frozen_norms).at(1.0)
        assert {norm.training for norm in norms_of(net)} == {training}


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"swa": 0.5}, {"unfreeze": 0.4}, {"lr": 0.0}, {"retrain_head": 0.3}])
def test_statistics_are_kept_in_every_kind_of_training(pretrained, tmp_path, changes):
    before = load_file(pretrained.weights)
    after = means_after(pretrained.vary(**changes), tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
