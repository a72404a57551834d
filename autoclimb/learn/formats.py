"""The formats that a net may run in, and whether it is worth compiling: by rules, before anything is measured."""

from dataclasses import replace

import torch

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.learn.backbones import Built, has_depthwise, norms_of
from autoclimb.learn.batches import sides_of_batches
from autoclimb.learn.devices import has_bf16
from autoclimb.learn.material import Format
from autoclimb.processors import usable_cores

# In the order tried. A processor with instructions for bf16 is fastest in it (resnet18 429 img/s against 339 in fp32),
# nets with depthwise convolutions too since their gradients are quick (learn/depthwise.py); of 7 nets none was in bf16
# and torch's own layout. One without emulates bf16 slowly; there some nets are fastest in torch's own layout.
FORMATS: dict[str, tuple[Format, ...]] = {
    "cpu": (Format("bf16"), Format("fp32")),
    "cpu without bf16": (Format("fp32"), Format("fp32", channels_last=False)),
    # tensor cores take pictures channels last; but of depthwise convolutions cuDNN 9 compiles kernels for each shape:
    # 4 to 13 s for an EfficientNet on an H100, .6 s in torch's own layout, which trained at .9 of the speed (LOG.md)
    "cuda": (Format("bf16"),),
    "cuda, depthwise": (Format("bf16", channels_last=False),),
    "cuda, depthwise, at leisure": (Format("bf16", channels_last=False), Format("bf16")),
    # Kaggle's T4 and P100: which is faster is for the probe to find
    "cuda without bf16": (Format("fp16"), Format("fp16", channels_last=False), Format("fp32")),
    "cuda without bf16, depthwise": (Format("fp16", channels_last=False), Format("fp32", channels_last=False)),
    "cuda without bf16, depthwise, at leisure": (
        Format("fp16", channels_last=False),
        Format("fp16"),
        Format("fp32", channels_last=False),
    ),
}
# seconds of torch.compile for forward and backward on 16 cores: 33 of a ConvNeXt-T beside nine others (LOG.md). It uses
# all there are; fewer are taken to need longer in proportion, and a worker without a word for minutes is ended as hung
COMPILING, COMPILING_CORES = 60.0, 16
COMPILED = 1.5  # how much faster it trains then: 1.6 times as its graphs replayed (LOG.md)


def formats_for(net: torch.nn.Module, device: torch.device, leisure: bool = True) -> tuple[Format, ...]:
    """The formats that a net may run in on the device; at `leisure` also those that take seconds to get ready."""
    name = device.type if has_bf16(device) else f"{device.type} without bf16"
    if device.type == "cuda" and has_depthwise(net):
        name += ", depthwise, at leisure" if leisure else ", depthwise"
    return FORMATS[name]


def sound_format(built: Built, config: Config, channels: int, device: torch.device) -> Format:
    """The net's format, in fp32 where its gradients would be no numbers in bf16.

    On a processor oneDNN leaves a part of the filters' gradient in bf16 unwritten, whatever lay in that memory, where a
    dense convolution of stride 2 sees maps of a single pixel (torch 2.15; kernels of 3, 5 and 7, 8 to 64 channels): so
    it is in the last stage of a ResNet at 16 px.
    """
    if device.type != "cpu" or built.format.precision != "bf16":
        return built.format
    smallest = min(sides_of_batches(size, config.scales)[0] for size in (config.size, *config.sizes))
    speck = []

    def look(module: torch.nn.Conv2d, inputs: tuple[torch.Tensor, ...]) -> None:
        if max(module.stride) > 1 and max(module.kernel_size) > 1 and module.groups == 1:
            speck.append(inputs[0].shape[-1] == 1 or inputs[0].shape[-2] == 1)

    hooks = [m.register_forward_pre_hook(look) for m in built.net.modules() if isinstance(m, torch.nn.Conv2d)]
    with torch.inference_mode():
        built.net.eval()(torch.zeros(1, channels, smallest, smallest))
    for hook in hooks:
        hook.remove()
    return replace(built.format, precision="fp32") if any(speck) else built.format


def worth_compiling(net: torch.nn.Module, device: torch.device, seconds: float, config: Config) -> bool:
    """Whether a training of so many seconds wins back what compiling costs: on a card only, at one size, never thawing.

    Only without batch norms: a ResNet-50 and an EfficientNet gained nothing over their graphs replayed. On a processor
    torch.compile took 46 to 71 s and trained no faster after it (torch 2.15, 2 cores).
    """
    changes = config.sizes or config.scales or config.unfreeze or config.retrain_head or config.grid  # compiled anew
    compiling = COMPILING * max(1.0, COMPILING_CORES / usable_cores())
    pays = compiling < min(seconds * (1 - 1 / COMPILED), SLACK.worker_silence / 2)
    return device.type == "cuda" and not norms_of(net) and not changes and pays
