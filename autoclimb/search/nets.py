"""NETS: the pretrained nets of timm's hub that are tried by default, and the nets that are trained from scratch.

No torch here. Names are timm 1.0.31's. Rates are timm's own published training figures (RTX 3090, mixed
precision, channels last: results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv); 0.0 where that table has none.
Multiply-adds and parameters were counted with torch's FlopCounterMode.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from autoclimb.config import Config


@dataclass(frozen=True)
class Net:
    """A pretrained net: its cost, its rates for fine-tuning, and the licence of its weights.

    Nets of one family make similar errors, so finalists come from several. `body_lr` is the peak rate of everything
    below the head, which learns ten times as fast. `sizes` are the only sizes at which a net of fixed input is used.
    """

    backbone: str
    family: str
    size: int  # pixels a side that it was trained at, and that the figures below are for
    gmacs: float  # 1e9 multiply-adds a picture
    parameters: float  # millions
    rate: float  # training pictures a second on an RTX 3090
    body_lr: float
    layer_decay: float = 1.0
    drop_path: float = 0.0
    sizes: tuple[int, ...] = ()
    licence: str = "apache-2.0"

    def gmacs_at(self, size: int) -> float:
        """1e9 multiply-adds for a picture of another size."""
        return self.gmacs * (size / self.size) ** 2


@dataclass(frozen=True)
class Family:
    """The properties that nets of a family share.

    On a card bodies learn at rates within `body_lr`, in batches of 64, the head ten times as fast. A net that has no
    row in NETS gets the upper end and the family's `layer_decay`.
    """

    transformer: bool
    activations: float  # millions of numbers kept for the backward pass per 1e9 multiply-adds (timm's published macts)
    body_lr: tuple[float, float]
    layer_decay: float = 1.0
    depthwise: bool = False  # most multiply-adds are cheap and memory-bound: slower than their count says
    batch_norms: bool = False  # after its convolutions; others normalise each picture by itself
    one_size: bool = False  # a net is built for one size of pictures, and takes no other while it trains


# Sources of the rates, in the order of the rows; none was measured on a card here.
# - convolutions: between AutoGluon's 1e-4 for any of timm's nets (AdamW, layer decay .9) and the 6e-4 that gained on a
#   processor, where mobilenetv2_100 reached .910 after 2.7 epochs and .882 at 2e-4 (benchmarks/LOG.md); own choice
# - ConvNeXt: its own fine-tuning from ImageNet-22k takes 5e-5 for 512 pictures and decay .8, over 30 epochs; here, for
#   fewer, the larger nets have AutoGluon's 1e-4 and .9, the smaller ones twice that
# - CAFormer: AutoGluon's 1e-4 and .9 for its default net
# - Swin: from its own fine-tuning (2e-5 for 512 pictures, all layers alike) to AutoGluon's
# - EVA-02: half of its own fine-tuning, whose batches are 16 times as large: small 1e-4, decay .8; base 1e-4, .7
# - other ViTs: as EVA-02, the most as MAE's ViT-Base (5e-4 for 256 pictures, decay .65); own choice
CONVOLUTIONS, VITS = (1e-4, 4e-4), (5e-5, 1e-4)
FAMILIES = {
    "resnet": Family(False, 2.7, CONVOLUTIONS, batch_norms=True),
    "mobilenet": Family(False, 20.0, (1e-4, 6e-4), depthwise=True, batch_norms=True),
    "regnet": Family(False, 8.0, CONVOLUTIONS, depthwise=True, batch_norms=True),
    "efficientnet": Family(False, 10.0, CONVOLUTIONS, depthwise=True, batch_norms=True),
    "efficientnetv2": Family(False, 4.5, CONVOLUTIONS, depthwise=True, batch_norms=True),
    "convnext": Family(False, 1.9, (5e-5, 2e-4), 0.9, depthwise=True),
    "caformer": Family(True, 4.5, (1e-4, 1e-4), 0.9),
    "swin": Family(True, 3.1, (2e-5, 1e-4), 0.9, one_size=True),
    "eva02": Family(True, 2.5, (4e-5, 1e-4), 0.8, one_size=True),
    "dinov3": Family(True, 2.3, VITS, 0.75, one_size=True),
    "siglip2": Family(True, 2.3, VITS, 0.75, one_size=True),
    "vit": Family(True, 2.3, VITS, 0.8, one_size=True),
    "other": Family(False, 4.0, CONVOLUTIONS, depthwise=True),
}
NON_COMMERCIAL = ("-nc-", "noncommercial")  # words of licences whose weights are never used by default

B0 = Net("tf_efficientnet_b0.ns_jft_in1k", "efficientnet", 224, 0.386, 5.3, 1779.0, 4e-4)
NANO = Net("convnext_nano.in12k_ft_in1k", "convnext", 224, 2.446, 15.6, 1250.0, 2e-4, 0.9)
# Cheapest first within a device; on a processor those smaller than the box's nets are for installations without them
# (`with_hub`). The sources of body rates and decays are at FAMILIES.
NETS: dict[str, tuple[Net, ...]] = {
    "cpu": (
        Net("mobilenetv3_small_100.lamb_in1k", "mobilenet", 224, 0.057, 2.5, 8035.0, 6e-4),
        Net("resnet18.a1_in1k", "resnet", 224, 1.814, 11.7, 3482.0, 4e-4),
        Net("mobilenetv3_large_100.ra_in1k", "mobilenet", 224, 0.217, 5.5, 2732.0, 6e-4),
        B0,
        NANO,
    ),
    "cuda": (
        B0,
        NANO,
        Net("tf_efficientnet_b1.ns_jft_in1k", "efficientnet", 240, 0.687, 7.8, 1098.0, 4e-4, 1.0, 0.1),
        Net("tf_efficientnet_b2.ns_jft_in1k", "efficientnet", 260, 0.994, 9.1, 848.0, 4e-4, 1.0, 0.1),
        Net("convnext_tiny.in12k_ft_in1k", "convnext", 224, 4.456, 28.6, 819.0, 2e-4, 0.9, 0.1),
        Net("caformer_s18.sail_in22k_ft_in1k", "caformer", 224, 4.107, 26.3, 0.0, 1e-4, 0.9, 0.1),
        Net("vit_small_patch16_dinov3.lvd1689m", "dinov3", 256, 6.245, 21.6, 0.0, 5e-5, 0.75, 0.1, (224, 256, 384),
            "dinov3-license"),
        Net("tf_efficientnet_b3.ns_jft_in1k", "efficientnet", 300, 1.827, 12.2, 492.0, 4e-4, 1.0, 0.1),
        Net("tf_efficientnetv2_s.in21k_ft_in1k", "efficientnetv2", 300, 5.308, 21.5, 489.0, 3e-4, 1.0, 0.1),
        Net("swin_small_patch4_window7_224.ms_in22k_ft_in1k", "swin", 224, 8.741, 49.6, 400.0, 1e-4, 0.9, 0.1, (224,),
            "mit"),
        Net("convnext_small.in12k_ft_in1k", "convnext", 224, 8.684, 50.2, 490.0, 1e-4, 0.9, 0.1),
        Net("eva02_small_patch14_336.mim_in22k_ft_in1k", "eva02", 336, 15.451, 22.1, 0.0, 5e-5, 0.8, 0.1, (224, 336),
            "mit"),
        Net("convnext_base.fb_in22k_ft_in1k", "convnext", 224, 15.355, 88.6, 340.0, 1e-4, 0.9, 0.2),
        Net("vit_base_patch16_siglip_224.v2_webli", "siglip2", 224, 17.708, 92.9, 0.0, 5e-5, 0.75, 0.1,
            (224, 256, 384)),
        Net("tf_efficientnet_b4.ns_jft_in1k", "efficientnet", 380, 4.394, 19.3, 241.0, 3e-4, 1.0, 0.2),
        Net("vit_base_patch16_dinov3.lvd1689m", "dinov3", 256, 23.575, 85.6, 0.0, 5e-5, 0.75, 0.1, (224, 256, 384),
            "dinov3-license"),
        Net("tf_efficientnetv2_m.in21k_ft_in1k", "efficientnetv2", 384, 15.737, 54.1, 175.0, 2e-4, 1.0, 0.2),
        Net("caformer_b36.sail_in22k_ft_in1k", "caformer", 224, 23.16, 98.8, 0.0, 1e-4, 0.9, 0.2),
        Net("swin_large_patch4_window7_224.ms_in22k_ft_in1k", "swin", 224, 34.476, 196.5, 154.0, 6e-5, 0.9, 0.2, (224,),
            "mit"),
        Net("tf_efficientnet_b5.ns_jft_in1k", "efficientnet", 456, 10.266, 30.4, 111.0, 3e-4, 1.0, 0.2),
        Net("swin_large_patch4_window12_384.ms_in22k_ft_in1k", "swin", 384, 103.919, 196.7, 41.75, 6e-5, 0.9, 0.2,
            (384,), "mit"),
        Net("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", "eva02", 448, 106.886, 87.1, 0.0, 4e-5, 0.8, 0.1,
            (224, 336, 448), "mit"),
    ),
}  # fmt: skip

HALF = (("channels", (32, 64, 128, 256)),)  # a ResNet with half the channels: 3 times as fast on a processor
ModelArgs = tuple[tuple[str, Any], ...]
# From scratch, cheapest first: (backbone, model_args). Residual nets learn fastest from few pictures, so other families
# are only added in a long run.
SCRATCH: dict[str, Sequence[tuple[str, ModelArgs]]] = {
    "cpu": (("resnet10t", HALF), ("resnet14t", HALF), ("resnet10t", ()), ("resnet18", HALF), ("resnet18d", ())),
    "cuda": (("resnet18", HALF), ("resnet18", ()), ("resnet34", ()), ("resnet50d", ())),
}
# further families, cheapest first: the first two were weaker on intel_scenes (LOG.md), a ConvNeXt needs hundreds of
# epochs from scratch (its paper trains for 300 on 1.28 million pictures) and was not measured
OTHER_SCRATCH: dict[str, Sequence[str]] = {
    "cpu": ("mobilenetv4_conv_small", "regnety_004"),
    "cuda": ("mobilenetv4_conv_small", "regnety_004", "convnext_nano"),
}
BOX = ("tf_efficientnet_lite0", "tf_efficientnet_lite2")  # rows of learn.boxed.BOXED, smallest first
# 1e9 multiply-adds and millions of parameters at 224 px, for nets without a row in NETS
COUNTED = {
    "resnet10t": (1.097, 5.4),
    "resnet14t": (1.677, 10.1),
    "resnet18": (1.814, 11.7),
    "resnet18d": (2.054, 11.7),
    "resnet34": (3.664, 21.8),
    "resnet50": (4.089, 25.6),
    "resnet50d": (4.329, 25.6),
    "mobilenetv2_100": (0.301, 3.5),
    "tf_efficientnet_lite0": (0.385, 4.7),
    "tf_efficientnet_lite1": (0.502, 5.4),
    "tf_efficientnet_lite2": (0.577, 6.1),
    "regnety_004": (0.402, 4.3),
    "mobilenetv4_conv_small": (0.186, 3.8),
}
PATTERNS = (  # pattern of a name -> its family
    (r"dinov3", "dinov3"),
    (r"siglip", "siglip2"),
    (r"eva", "eva02"),
    (r"swin", "swin"),
    (r"former", "caformer"),
    (r"convnext", "convnext"),
    (r"efficientnetv2", "efficientnetv2"),
    (r"mobilenet|mnasnet|ghostnet", "mobilenet"),
    (r"efficientnet", "efficientnet"),
    (r"regnet", "regnet"),
    (r"resne", "resnet"),
    (r"vit|deit|beit", "vit"),
)
TOPS = (  # pattern of a name -> stages of its top, and of a deeper one (0 for none); transformers cannot be cut
    (r"mobilenetv1|ghostnet", (1, 0)),
    (r"mobilenet|efficientnet|mnasnet", (2, 4)),  # on maps at a sixteenth of the side, and at an eighth
    (r"resne|regnet|convnext", (1, 0)),  # deeper ones have several times as many numbers to store
)
# pattern of a name -> numbers at a place of the maps at its cut, and at its deeper cut, whose maps have twice the side:
# 112 and 4 x 40 of EfficientNet-Lite0 and B0, 120 and 4 x 48 of Lite2 and B2
AT_CUT = (
    (r"efficientnet_(lite[0-2]|b[0-2])\b", (120, 192)),
    (r"mobilenetv1", (512, 0)),
)
USUAL_AT_CUT = (256, 320)  # a ResNet-18's, and 4 x 80 of an EfficientNet-B7
_BY_NAME = {net.backbone: net for row in NETS.values() for net in row}
_BY_ARCHITECTURE = {name.split(".")[0]: net for name, net in _BY_NAME.items()}


@cache  # every estimate of a config's seconds asks for it
def net_named(backbone: str) -> Net:
    """The row of a net, named with or without the tag of its weights; for any other net its family's usual values."""
    known = _BY_NAME.get(backbone) or _BY_ARCHITECTURE.get(backbone.split(".")[0])
    if known:
        return known
    family = family_of(backbone)
    gmacs, parameters = COUNTED.get(backbone.split(".")[0], (4.0, 25.0))  # a ResNet-50's for nets not counted
    usual = FAMILIES[family]
    return Net(backbone, family, 224, gmacs, parameters, 0.0, usual.body_lr[1], usual.layer_decay)


def family_of(backbone: str) -> str:
    """The family of a timm name: a row of FAMILIES."""
    return next((family for pattern, family in PATTERNS if re.search(pattern, backbone)), "other")


def top_of(backbone: str) -> int:
    """The number of stages in a net's top, for training that alone; 0 where the net cannot be cut."""
    return _tops_of(backbone)[0]


def deeper_top_of(backbone: str) -> int:
    """The number of stages that train in place of the top's where there is time; 0 where there is no such cut."""
    return _tops_of(backbone)[1]


@cache
def _tops_of(backbone: str) -> tuple[int, int]:
    return next((tops for pattern, tops in TOPS if re.search(pattern, backbone)), (0, 0))


def channels_at_cut(backbone: str, top: int = 0) -> int:
    """The channels of the maps below the net's top, or a deeper one, roughly, were they a sixteenth of the side."""
    usual, deeper = next((channels for pattern, channels in AT_CUT if re.search(pattern, backbone)), USUAL_AT_CUT)
    return deeper if top and top == deeper_top_of(backbone) else usual


def may_use(net: Net) -> bool:
    """Whether the licence of the weights allows their use without asking the user."""
    return not any(word in net.licence for word in NON_COMMERCIAL)


def from_scratch(device: str) -> list[Config]:
    """The nets for training without pretrained weights: residual ones, cheapest first, then other families.

    The learning rate is that of all comparisons in benchmarks/LOG.md; twice as much gained .004 ± .003 there.
    """
    batch = 64 if device == "cpu" else 128
    rows = [*SCRATCH[device], *((name, ()) for name in OTHER_SCRATCH[device])]
    return [
        Config(backbone=name, model_args=args, whitened=True, lr=2e-3, weight_decay=0.05, batch=batch)
        for name, args in rows
    ]


def from_hub(device: str) -> list[dict[str, Any]]:
    """Rows as `Situation.pretrained` holds them, for nets that timm would download."""
    return [
        {"backbone": net.backbone, "weights": "hub", "model_args": {}, "parameters": round(net.parameters * 1e6)}
        for net in NETS[device]
        if may_use(net)
    ]


def with_hub(device: str, box: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Rows for a machine that reaches the hub; on a processor they come after those of the box, which need no download.

    There, nets smaller than all of the box are left out: they would be trained in full, where the top of a better net
    is worth more.
    """
    if device != "cpu":
        return tuple(from_hub(device))
    least = min((row["parameters"] for row in box), default=0)
    return (*box, *(row for row in from_hub(device) if row["parameters"] >= least))


def from_box() -> list[dict[str, Any]]:
    """Rows as `Situation.pretrained` holds them, for the nets that come with autoclimb's own dependencies."""
    return [
        {"backbone": name, "weights": "box", "model_args": {}, "parameters": round(net_named(name).parameters * 1e6)}
        for name in BOX
    ]


def fine_tuning(pretrained: Sequence[dict[str, Any]], device: str) -> list[Config]:
    """The pretrained nets with their rates, in the order given (smallest first).

    On a processor trainings are short, and the body learns at .3 of the head's rate whatever the net is: after 2.7
    epochs of mobilenetv2_100 a tenth reached .882 where .3 reached .910 (benchmarks/LOG.md).
    """
    configs = []
    for row in pretrained:
        net = net_named(row["backbone"])
        config = Config(
            backbone=row["backbone"],
            weights=row["weights"],
            model_args=tuple(sorted(row["model_args"].items())),
            lr=2e-3,
            backbone_lr=0.3,
            weight_decay=0.05,
            batch=32,
            frozen_norms=device == "cpu" and FAMILIES[net.family].batch_norms,
        )
        if device != "cpu":
            config = config.vary(
                lr=round(10 * net.body_lr, 6),
                backbone_lr=0.1,
                layer_decay=net.layer_decay,
                drop_path=net.drop_path,
                batch=64,
            )
        configs.append(config)
    return configs
