"""Writes the EfficientNet-Lite0 that autoclimb comes with under timm's names, for the peers to load.

    uv run python benchmarks/peers/export_weights.py FOLDER

install.sh does it.
"""

import sys
from pathlib import Path

import timm
from safetensors.torch import save_file

from autoclimb.learn.boxed import boxed_tensors

NAME = "tf_efficientnet_lite0"


def main() -> None:
    """Write FOLDER/tf_efficientnet_lite0/."""
    folder = Path(sys.argv[1]) / NAME
    folder.mkdir(parents=True, exist_ok=True)
    net = timm.create_model(NAME, pretrained=False)
    net.load_state_dict(boxed_tensors(NAME, net))
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


if __name__ == "__main__":
    main()
