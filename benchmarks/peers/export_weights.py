"""Writes the EfficientNet-Lite0 that autoclimb comes with as a folder that timm and AutoGluon load.

uv run python benchmarks/peers/export_weights.py FOLDER
"""

import json
import sys
from pathlib import Path

import timm
import torch
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
    torch.save(tensors, folder / "pytorch_model.bin")  # AutoGluon reads nothing else
    known = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 224, 224], "num_classes": 1000}
    config = {"architecture": NAME, "num_classes": 1000, "pretrained_cfg": {**known, "classifier": "classifier"}}
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
