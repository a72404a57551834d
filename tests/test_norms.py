"""Batch norms that keep their statistics: the same net, the same gradients, in fewer passes through memory."""

import numpy as np
import pytest
import torch
from nets import CPU, TINY, fold_over, material_of
from safetensors.torch import load_file

from autoclimb.learn.averages import recompute_norms
from autoclimb.learn.backbones import build_net, norms_of, place_to_train
from autoclimb.learn.norms import norms_in_convolutions
from autoclimb.learn.optim import Unfreezing
from autoclimb.learn.trial import run_trial
from autoclimb.types import Config

NETS = ["resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050", "regnetx_002", "efficientnet_b0"]
SMALL = TINY.vary(frozen_norms=True)


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


def test_statistics_do_not_change_in_training_and_those_of_other_nets_do(tmp_path):
    statistics = {}
    for frozen in (True, False):
        for epochs in (1, 3):
            config = SMALL.vary(frozen_norms=frozen, epochs=epochs)
            out = tmp_path / f"{frozen} {epochs}"
            run_trial(config, material_of(n=48), out, out, tmp_path, CPU)
            tensors = load_file(out / "fold0.safetensors")
            statistics[frozen, epochs] = {n: t for n, t in tensors.items() if n.endswith("running_mean")}
    for name, tensor in statistics[True, 1].items():
        assert torch.equal(tensor, statistics[True, 3][name])
    assert any(not torch.equal(t, statistics[False, 3][name]) for name, t in statistics[False, 1].items())


def test_the_kept_statistics_are_those_of_the_train_pictures():
    built = built_of("resnet10t")
    first = norms_of(built.net)[0]
    seen = []
    hook = first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    recompute_norms(built, material_of(n=40), SMALL, fold_over(np.arange(32)), rows=16)
    hook.remove()
    assert sum(len(batch) for batch in seen) == 16
    torch.testing.assert_close(first.running_mean, torch.stack([b.mean((0, 2, 3)) for b in seen]).mean(0))


def test_a_net_that_thaws_keeps_its_statistics_too():
    built = built_of("resnet10t")
    net = place_to_train(built, CPU)
    for frozen_norms, training in ((True, False), (False, True)):
        Unfreezing(net, built.head, 0.5, frozen_norms).at(1.0)
        assert {norm.training for norm in norms_of(net)} == {training}


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"swa": 0.5}, {"unfreeze": 0.4}, {"lr": 0.0}, {}])
def test_a_net_with_kept_norms_is_trained_and_predicts_as_it_was_saved(tmp_path, changes):
    result = run_trial(SMALL.vary(epochs=2, **changes), material_of(n=48), tmp_path, tmp_path, tmp_path, CPU)
    assert result["status"] == "done"
