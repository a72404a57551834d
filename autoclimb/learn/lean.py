"""A net for prediction only: batch norms folded into the convolutions before them, in the fastest format.

On a processor a batch norm is another pass through memory. On 2 cores of an AMD EPYC (torch 2.15) a frozen
tf_efficientnet_lite0 predicts 292 pictures of 128 px a second unchanged, 375 folded, 699 folded and in bfloat16; at
224 px 70, 122 and 219; resnet10t at 64 px 1,017, 1,063 and 1,858 (medians of 5; benchmarks/LOG.md).
"""

import copy
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autoclimb.learn.backbones import Built, has_depthwise, place
from autoclimb.learn.phases import log_error

TRIED = 2  # pictures on which the folded net is compared
RTOL, ATOL = 1e-2, 1e-3  # tolerances, as folding changes the last bits of float32 in each layer
# errors of nets that access a norm's attributes, that cannot be copied, or for two of which there is no memory
UNFOLDED = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, MemoryError)


def for_prediction(built: Built, device: torch.device, size: int, looked_at: Collection[str] = ()) -> Built:
    """A net that was not trained in this process, for prediction of pictures of `size` pixels a side.

    On a processor it is `folded`; on a card it has a layout for which kernels need no compiling (learn/formats.py).
    """
    if device.type == "cuda" and has_depthwise(built.net):
        return replace(built, format=replace(built.format, channels_last=False))
    return folded(built, device, size, looked_at)


def folded(built: Built, device: torch.device, size: int, looked_at: Collection[str] = ()) -> Built:
    """The net for prediction of pictures of `size` pixels a side: on a processor a folded copy, on a card unchanged.

    It is unchanged, too, where no batch norm follows a convolution, and where a copy would give other outputs or cannot
    be made. No norm is folded into the modules of the names `looked_at`, so that their outputs stay the same.
    """
    if device.type != "cpu":
        return built
    net = place(built, device).eval()
    try:
        with torch.inference_mode():
            lean = _lean_copy(built, net, size, looked_at)
    except UNFOLDED as error:
        log_error(error)
        lean = None
    if lean is None:
        return built
    head = lean.get_classifier()  # type: ignore[operator]
    lean_format = replace(built.format, channels_last=True)  # in which all that was measured
    return replace(built, net=lean, head=head if isinstance(head, nn.Module) else built.head, format=lean_format)


def _lean_copy(built: Built, net: nn.Module, size: int, looked_at: Collection[str]) -> nn.Module | None:
    """The folded copy, None where no norm can be folded or the copy gives other outputs."""
    draw = torch.Generator().manual_seed(0)  # its own, so that training's random numbers do not change
    x = torch.rand(TRIED, len(built.mean), size, size, generator=draw).contiguous(memory_format=built.format.layout)
    outputs, pairs = outputs_and_pairs(net, x)
    pairs = [(conv, norm) for conv, norm in pairs if conv not in looked_at]
    if not pairs:
        return None
    lean = _with_folded(net, pairs)
    same = torch.allclose(lean(x.contiguous(memory_format=torch.channels_last)), outputs, RTOL, ATOL)
    return lean if same else None


def outputs_and_pairs(net: nn.Module, x: Tensor) -> tuple[Tensor, list[tuple[str, str]]]:
    """The net's outputs for `x`, and the names of convolutions whose output a batch norm takes, each run once."""
    outputs_of: dict[str, list[Tensor]] = defaultdict(list)
    inputs_of: dict[str, list[Tensor]] = defaultdict(list)
    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda m, ins, out, name=name: outputs_of[name].append(out)))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(lambda m, ins, name=name: inputs_of[name].append(ins[0])))
    try:
        outputs = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    # all these tensors are alive, so no two ids are equal
    producer = {id(tensors[0]): name for name, tensors in outputs_of.items() if len(tensors) == 1}
    ends = ((producer.get(id(tensors[0])), name) for name, tensors in inputs_of.items() if len(tensors) == 1)
    return outputs, [(conv, norm) for conv, norm in ends if conv is not None]


def _with_folded(net: nn.Module, pairs: list[tuple[str, str]]) -> nn.Module:
    """A copy of the net with those batch norms folded into those convolutions; a norm's activation stays."""
    lean = copy.deepcopy(net)
    for conv_name, norm_name in pairs:
        conv, norm = lean.get_submodule(conv_name), lean.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, _BatchNorm)
        lean.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms go on to drop and to activate
        after = [child for child in norm.children() if not isinstance(child, nn.Identity)]
        lean.set_submodule(norm_name, nn.Sequential(*after) if after else nn.Identity())
    return lean.to(memory_format=torch.channels_last)
