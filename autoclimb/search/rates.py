"""DEVICES: the speed of nets on other machines, from published and measured figures, for dry runs.

Every row names the source of its figures; of the cards only the H100 was measured by this project.
"""

import math
from dataclasses import dataclass

from autoclimb.config import Config
from autoclimb.search.nets import FAMILIES, Net, deeper_top_of, net_named
from autoclimb.search.situation import Speed

RTX_3090 = 1218.0  # training pictures a second of a ResNet-50 at 224 px on the card of timm's published figures
RESNET50_GMACS = 4.089
# speed of predicting over that of training: a forward pass is a third of the multiply-adds of a step. On a processor
# nets are made lean for it (learn/lean.py): by the probe 4.6 to 5.5 times for two ResNets, convnext_atto and the box's
# nets (LOG.md)
PREDICTING = {"cpu": 5.0, "cuda": 3.0}
# 1e9 multiply-adds a second in training on 2 cores of an AMD EPYC, from benchmarks: resnet18 at 64 px 419 pictures a
# second, tf_efficientnet_lite0 at 128 px 112 (of its two upper stages 412, of lite2's 350), convnext_atto at 64 px 515
CPU_GMACS = {"plain": 62.0, "depthwise": 16.0, "convnext": 23.0}
LOOK = {"cpu": 2.0, "cuda": 2.0}  # seconds of a look at a net's speed, roughly: on an H100 2.2 to 3.7 before looks were
# made shorter (LOG.md)
COLD = 0.6  # seconds until an H100 had its kernels for a new shape: lite0 .6, resnet18 .3, resnet50 .5 (learn/probe.py)
STEP = 1.85e-3  # seconds of Python for a step whose graphs are replayed, beside an H100 (resnet18 at 64 px)
# time of a step of the top alone over that of the full net: 112 pictures a second and 412, of lite0; a deeper top is
# .43 times as fast, by 231 and 539 at 128 px on two cores of an Intel Xeon with AMX
TOP_SHARE, DEEPER_SHARE = 0.27, 0.63
# how much faster a processor trains a net whose norms keep their statistics: lite0 and mobilenetv2_100 1.4 times, lite2
# 1.3 (LOG.md, "Norms that keep their statistics")
NORMS_KEPT = 1.35
# seconds of a processor's step that no picture adds to, for each million parameters: on that Xeon the upper stages of
# lite0 took 16 ms, of lite2 26, all of lite0 34, resnet18 53, half a resnet10t 11 (LOG.md, "Steps of several sizes")
CPU_STEP = 4.5e-3
# cost of a ResNet with half the channels over the full one's: a quarter, and memory. Half a resnet10t at 64 px was seen
# at 726 to 773 pictures a second on the EPYC, at 897 on the Xeon (LOG.md)
FROM_SCRATCH_HALF = {"cpu": 0.9, "cuda": 0.3}


@dataclass(frozen=True)
class Device:
    """The figures of a machine that a plan depends on."""

    kind: str  # "cpu" or "cuda"
    name: str
    resnet50: float  # training pictures a second at 224 px in the card's fastest format; 0 for a processor
    cores: int
    memory_gb: float  # of the card, or of the machine where there is none
    disk_gb: float  # that decoded pixels may take
    source: str


DEVICES: dict[str, Device] = {
    "cpu": Device("cpu", "2 cores", 0.0, 2, 16.0, 20.0, "measured on 2 cores of an AMD EPYC (benchmarks/RESULTS.md)"),
    "t4": Device(
        "cuda", "NVIDIA T4", 300.0, 4, 16.0, 40.0,
        "estimated: a V100's published 829 img/s by the cards' memory bandwidth (320 of 900 GB/s)",
    ),
    "p100": Device(
        "cuda", "NVIDIA P100", 220.0, 4, 16.0, 40.0,
        "estimated: a V100's published 364 img/s in fp32 by the cards' fp32 rate (9.5 of 15.7 TFLOPS); "
        "torch 2.15 has no kernels for it",
    ),
    "a100": Device("cuda", "NVIDIA A100", 2470.0, 12, 80.0, 200.0, "published: NVIDIA, 2,470 img/s"),
    "h100": Device(
        "cuda", "NVIDIA H100", 3877.0, 16, 80.0, 200.0,
        "measured: 3,877 img/s (benchmarks/LOG.md); published: 2,616 to 2,791",
    ),
}  # fmt: skip
# pictures of 224 px that one core prepares in a second: Pillow makes 1,282 random-resized crops, OpenCV 4,300
FEED = 1500.0


def speed_on(device: Device, config: Config) -> Speed:
    """Pictures a second of the config's net on that device, at most the rate at which its cores prepare batches."""
    net = net_named(config.backbone)
    half = FROM_SCRATCH_HALF[device.kind] if config.model_args else 1.0
    if device.kind == "cpu":
        compute = _cpu_gmacs(net) / (net.gmacs_at(config.size) * half) / _share_trained(config)
    else:
        published = net.rate or RTX_3090 * RESNET50_GMACS / net.gmacs * _efficiency(net)
        compute = published * (net.size / config.size) ** 2 * device.resnet50 / RTX_3090 / half
    feed = FEED * device.cores * (224 / config.size) ** 2
    if device.kind == "cpu":
        train = compute * (NORMS_KEPT if config.frozen_norms else 1.0)
    else:
        train = min(compute, feed, config.batch / STEP)
    parameters = net.parameters / (4 if config.model_args else 1)
    cold, step = (0.0, CPU_STEP * parameters) if device.kind == "cpu" else (COLD, 0.0)
    predict = min(PREDICTING[device.kind] * compute, feed if device.kind != "cpu" else math.inf)
    return Speed(round(train, 1), round(predict, 1), cold=cold, step=step)


def _share_trained(config: Config) -> float:
    if not config.top:
        return 1.0
    return DEEPER_SHARE if config.top == deeper_top_of(config.backbone) else TOP_SHARE


def _efficiency(net: Net) -> float:
    """Multiply-adds a second relative to a ResNet-50's, for nets whose rate was not published.

    It is a ViT-Base's 393 img/s at 17.6 GMACs for transformers, a ConvNeXt-Base's 340 at 15.4 for ConvNeXts, an
    EfficientNet B0's 1,779 at .386 for other depthwise convolutions. By the last an H100 trains tf_efficientnet_lite0
    at 224 px at 5,660 img/s and lite2 at 3,380; 4,879 and 3,720 were measured.
    """
    family = FAMILIES[net.family]
    if family.transformer:
        return 393 * 17.6 / (RTX_3090 * RESNET50_GMACS)
    if net.family == "convnext":
        return 340 * 15.4 / (RTX_3090 * RESNET50_GMACS)
    return 1779 * 0.386 / (RTX_3090 * RESNET50_GMACS) if family.depthwise else 1.0


def processor_cost(net: Net) -> float:
    """The relative cost of a picture on a processor: multiply-adds divided by the rate of their kind."""
    return net.gmacs / _cpu_gmacs(net)


def _cpu_gmacs(net: Net) -> float:
    if net.family == "convnext":
        return CPU_GMACS["convnext"]
    return CPU_GMACS["depthwise" if FAMILIES[net.family].depthwise else "plain"]


def memory_gb(config: Config) -> float:
    """Gigabytes that training takes, estimated where they were not measured: weights, gradients and AdamW's two moments
    in fp32, and the numbers kept for the backward pass, two bytes each and half as much again for copies."""
    net = net_named(config.backbone)
    kept = FAMILIES[net.family].activations * net.gmacs_at(config.size) * 1e6 * config.batch
    return (16e6 * net.parameters + 3.0 * kept) / 1e9
