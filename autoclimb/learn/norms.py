"""Batch norms that keep a pretrained net's statistics while it is tuned, computed within the convolutions before them.

Batches of 32 tell statistics badly, and normalising by them takes further passes through memory, forward and back. On 2
cores of an Intel Xeon with AMX (torch 2.15, bfloat16) a step of tf_efficientnet_lite0 at 128 px takes 371 ms with norms
by batch and 262 so, of its four upper stages at 160 px 186 and 146 (benchmarks/LOG.md, "Norms that keep their
statistics").
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoclimb.learn.backbones import Built, place
from autoclimb.learn.lean import ATOL, RTOL, TRIED, UNFOLDED, outputs_and_pairs
from autoclimb.learn.phases import log_error


@contextmanager
def norms_in_convolutions(built: Built, device: torch.device, size: int) -> Iterator[None]:
    """Within it the net computes its frozen norms as parts of convolutions, with the same gradients; on a processor.

    Parameters and their names stay, so that it is trained, saved and used afterwards as any other net. Where outputs
    would change, and where norms learn from their batches, nothing is done.
    """
    patched: list[nn.Module] = []
    if built.frozen_norms and device.type == "cpu":
        net = place(built, device).eval()
        try:
            with torch.no_grad():
                draw = torch.Generator().manual_seed(0)  # its own, so that training's random numbers do not change
                x = torch.rand(TRIED, len(built.mean), size, size, generator=draw)
                x = x.contiguous(memory_format=built.format.layout)
                outputs, pairs = outputs_and_pairs(net, x)
                for conv, norm in pairs:
                    patched += _patched(net.get_submodule(conv), net.get_submodule(norm))
                if not torch.allclose(net(x), outputs, RTOL, ATOL):
                    _restore(patched)
        except UNFOLDED as error:
            log_error(error)
            _restore(patched)
    try:
        yield
    finally:
        _restore(patched)


def _patched(conv: nn.Module, norm: nn.Module) -> list[nn.Module]:
    """The two modules, the convolution now computing the norm as well, and the norm its activation alone."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.weight is None:
        return []
    vars(conv).update(forward=_with_norm(conv, norm, norm.running_mean, norm.running_var))
    # timm's norms go on to drop and to activate
    after = [child for child in norm.children() if not isinstance(child, nn.Identity)]
    vars(norm).update(forward=nn.Sequential(*after).forward if after else nn.Identity().forward)
    return [conv, norm]


def _with_norm(conv: nn.Conv2d, norm: _BatchNorm, mean: Tensor, var: Tensor) -> Callable[[Tensor], Tensor]:
    """The forward pass of both, by filters that are scaled as the norm would scale their outputs."""
    kind = type(conv)

    def forward(x: Tensor) -> Tensor:
        scale = norm.weight * (var + norm.eps).rsqrt()
        bias = norm.bias - mean * scale
        own = {"weight": conv.weight, "bias": conv.bias}
        if conv.bias is not None:
            bias = bias + conv.bias * scale
        # not by torch.func.functional_call, which takes a tenth of a millisecond for each of fifty convolutions
        parameters: dict[str, Any] = conv._parameters
        parameters |= {"weight": conv.weight * scale[:, None, None, None], "bias": bias}
        try:
            return kind.forward(conv, x)
        finally:
            parameters |= own

    return forward


def _restore(patched: list[nn.Module]) -> None:
    while patched:
        del patched.pop().forward
