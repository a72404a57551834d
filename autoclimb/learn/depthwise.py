"""Gradients of depthwise convolutions in bfloat16 on a processor, for the shapes where oneDNN has no fast kernels.

For 32 maps of 8 px and 672 channels the gradient of 3 by 3 filters takes .2 ms, of 5 by 5 filters 19, and with a stride
of 2 those of filters and maps take 83. So larger filters get theirs in parts of 3 by 3, and strided ones in float32.
On 2 cores of an AMD EPYC (torch 2.15) the two upper stages of tf_efficientnet_lite2 at 128 px then train at 350
pictures a second instead of 86, or 188 in float32; the whole of lite0 at 112 instead of 46, or 64; convnext_atto at
64 px at 318 instead of 292 (medians of 4; benchmarks/LOG.md).
"""

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

FAST = 3  # the side of filters whose gradient oneDNN computes fast
Pair = tuple[int, int]


def quicken_gradients(net: nn.Module) -> None:
    """Makes the net's depthwise convolutions compute their gradients by fast kernels; its outputs stay the same.

    On a card nothing changes.
    """
    for module in net.modules():
        if type(module) is nn.Conv2d and _gains(module):
            module.__class__ = Quick
        elif type(module) is Conv2dSame and _gains(module):
            module.__class__ = QuickSame


def _gains(conv: nn.Conv2d) -> bool:
    plain = conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and set(conv.dilation) == {1}
    depthwise = 1 < conv.in_channels == conv.groups == conv.out_channels
    return plain and depthwise and (min(conv.kernel_size) > FAST or max(conv.stride) > 1)


class Quick(nn.Conv2d):
    """A depthwise convolution with fast gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, C, H, W)`, equal to those of its base class."""
        if x.is_cuda or not torch.is_grad_enabled():
            return super().forward(x)
        return _ByFastKernels.apply(x, self.weight, self.bias, self.stride, self.padding)


class QuickSame(Conv2dSame):
    """The same with TensorFlow's padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, C, H, W)`, equal to those of its base class."""
        if x.is_cuda or not torch.is_grad_enabled():
            return super().forward(x)
        padded = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return _ByFastKernels.apply(padded, self.weight, self.bias, self.stride, (0, 0))


class _ByFastKernels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride_and_padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride_and_padding
        grad = grads[0].float() if max(stride) > 1 else grads[0]
        inputs, filters = x.to(grad.dtype), weight.to(grad.dtype)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _gradient(0, grad, inputs, filters, stride, padding).to(x.dtype)
        if ctx.needs_input_grad[1]:
            by_parts = grad.dtype == torch.bfloat16 and min(weight.shape[2:]) > FAST
            of_filters = _of_filters_by_parts if by_parts else partial(_gradient, 1)
            of_weight = of_filters(grad, inputs, filters, stride, padding).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3)).to(weight.dtype)
        return of_x, of_weight, of_bias, None, None


def _of_filters_by_parts(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of the filters `(C, 1, h, w)`, assembled from those of 3 by 3 parts on shifted maps."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    height, width = (stride[i] * (grad.shape[2 + i] - 1) + FAST for i in (0, 1))  # of a part's input
    total, part = torch.empty_like(weight), weight[:, :, :FAST, :FAST].contiguous()
    for top in _starts(weight.shape[2]):
        for left in _starts(weight.shape[3]):
            window = padded[:, :, top : top + height, left : left + width]
            window = window.contiguous(memory_format=torch.channels_last)
            total[:, :, top : top + FAST, left : left + FAST] = _gradient(1, grad, window, part, stride, (0, 0))
    return total


def _starts(side: int) -> list[int]:
    """The starts of parts that cover a side: 0 and 2 of 5. Where two of them overlap they give the same gradient."""
    return [*range(0, side - FAST, FAST), side - FAST]


def _gradient(which: int, grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """torch's gradient of the inputs (`which` 0) or of the filters (1)."""
    mask = [which == 0, which == 1, False]
    arguments = list(stride), list(padding), [1, 1], False, [0, 0], len(weight), mask
    return cast(Tensor, torch.ops.aten.convolution_backward(grad, x, weight, None, *arguments)[which])
