"""Depthwise convolutions with fast gradients: the same outputs, the same gradients, the same net."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from autoclimb.config import Config
from autoclimb.learn.backbones import build_net
from autoclimb.learn.depthwise import Quick, QuickSame, quicken_gradients

CHANNELS = 6
CASES = [(kernel, stride, kind) for kernel in (3, 4, 5, 7) for stride in (1, 2) for kind in (nn.Conv2d, Conv2dSame)]


def gradients(net: nn.Module, x: torch.Tensor, bf16: bool) -> list[torch.Tensor]:
    """Outputs, and gradients of the inputs and of every parameter."""
    x = x.clone().requires_grad_()
    net.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False):
        y = net(x)
    torch.manual_seed(1)
    y.backward(torch.randn(y.shape).to(y.dtype))
    return [y.detach().float(), x.grad, *(p.grad.clone() for p in net.parameters())]


@pytest.mark.parametrize(("kernel", "stride", "kind"), CASES)
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_outputs_and_gradients_are_those_of_the_plain_convolution(kernel, stride, kind, bf16):
    torch.manual_seed(0)
    plain = nn.Sequential(kind(CHANNELS, CHANNELS, kernel, stride, kernel // 2, groups=CHANNELS))
    quick = copy.deepcopy(plain)
    quicken_gradients(quick)
    assert isinstance(quick[0], Quick | QuickSame) == (kernel > 3 or stride > 1)
    x = torch.randn(4, CHANNELS, 12, 10).contiguous(memory_format=torch.channels_last)
    tolerance = 0.02 if bf16 else 1e-5
    for expected, got in zip(gradients(plain, x, bf16), gradients(quick, x, bf16), strict=True):
        assert got.dtype == expected.dtype
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 3, groups=6),  # fast as it is
        nn.Conv2d(6, 6, 5),  # dense
        nn.Conv2d(6, 12, 5, groups=6),
        nn.Conv2d(6, 6, 5, groups=6, dilation=2),
        nn.Conv2d(6, 6, 5, groups=6, padding=2, padding_mode="reflect"),
        nn.Conv2d(6, 6, 5, groups=6, padding="same"),
    ],
    ids=str,
)
def test_what_would_not_gain_stays_what_it_is(conv):
    quicken_gradients(nn.Sequential(conv))
    assert type(conv) is nn.Conv2d


def test_a_quickened_net_is_saved_copied_and_answers_as_before():
    torch.manual_seed(0)
    net = build_net(Config(backbone="tf_efficientnet_lite0", size=32), 3).net.eval()
    plain, x = copy.deepcopy(net), torch.rand(2, 3, 32, 32)
    quicken_gradients(net)
    assert {type(module) for module in net.modules()} > {Quick, QuickSame}
    assert net.state_dict().keys() == plain.state_dict().keys()
    again = copy.deepcopy(net)
    again.load_state_dict(plain.state_dict())
    assert torch.equal(again(x), plain(x))
    with torch.inference_mode():
        assert torch.equal(net(x), plain(x))


def test_frozen_inputs_and_filters_get_no_gradient():
    conv = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 5, groups=CHANNELS, bias=False))
    quicken_gradients(conv)
    x = torch.randn(2, CHANNELS, 8, 8)
    conv(x).sum().backward()
    assert conv[0].weight.grad is not None
    conv.requires_grad_(False)
    x.requires_grad_()
    conv(x).sum().backward()
    assert x.grad is not None
