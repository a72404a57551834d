"""AutoGluon multimodal as one who knows it runs it: a net, a size and epochs that fit the time, label smoothing.

What its users must know: `fit` has a time limit, but its schedule does not know of it, so epochs are planned here from
the net's speed; `pretrained=False` does not reach the image model, which would be downloaded, so a folder with weights
drawn by lot stands for it; sets of labels are not supported.
"""

import time

BEGAN = time.monotonic()  # imports are part of the budget

# ruff: noqa: E402
import json
import os
import sys
import tempfile
from pathlib import Path

import folder
import numpy as np
import pandas as pd
import speed
import timm
import torch
from autogluon.multimodal import MultiModalPredictor
from safetensors.torch import load_file

ARCHITECTURE = {"none": "resnet18", "lite0": "tf_efficientnet_lite0"}
STATS = {"none": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "lite0": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))}
BATCH = 64
# Of a bare training loop's speed that is planned with. With .6, for decoding, validation and checkpoints, it ended
# after 361 and 311 of 600 s on two cores of a Xeon: its own loop was 1.05 to 1.2 times as fast as the bare one
EFFICIENCY = 1.0
EVALUATED = {"accuracy": "accuracy", "f1-macro": "f1_macro", "log-loss": "log_loss", "auc": "roc_auc"}


def main() -> None:
    """Read, plan, fit, predict."""
    asked = folder.arguments()
    seen = folder.read(asked.data, asked.metric)
    if seen.kind == "sets":
        sys.exit("AutoGluon multimodal has no task of several labels a row")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tuned = asked.weights != "none"
    rate = EFFICIENCY * speed.pictures_a_second(ARCHITECTURE[asked.weights])
    until = BEGAN + asked.budget - 12 - 0.05 * asked.budget  # for loading the best checkpoint and the csv
    size = folder.size_for(seen, rate, 64, until - time.monotonic(), tuned)
    here = rate * (64 / size) ** 2
    seconds = until - time.monotonic() - len(seen.test) / (2 * here)
    epochs = max(1, int(seconds * here / len(seen.train)))
    print(f"{rate:.0f} pictures a second at 64 px; {size} px, {epochs} epochs in {seconds:.0f} s", flush=True)
    numbers = seen.kind == "numbers"
    with tempfile.TemporaryDirectory(prefix="autogluon-") as place:
        options = {
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": str(checkpoint(asked, Path(place))),
            "model.timm_image.image_size": size,
            "model.timm_image.train_transforms": ["resize_to_square", "random_horizontal_flip", "trivial_augment"],
            "model.timm_image.val_transforms": ["resize_to_square"],
            "env.num_gpus": torch.cuda.device_count(),
            "env.per_gpu_batch_size": BATCH,
            "env.batch_size": BATCH,
            "env.num_workers": 2,
            "optim.max_epochs": epochs,
            "optim.lr": 1e-3 if tuned else 2e-3,
            "optim.lr_choice": "layerwise_decay" if tuned else "single_stage",
            "optim.lr_decay": 0.9 if tuned else 1.0,
            "optim.weight_decay": 0.05,
            "optim.warmup_steps": 0.2,
            "optim.val_check_interval": 1.0,
            "optim.patience": 50,
            "optim.label_smoothing": 0.0 if numbers else 0.1,
            "optim.top_k": 3,
        }
        predictor = MultiModalPredictor(
            label="target",
            problem_type="regression" if numbers else "multiclass",
            eval_metric="rmse" if numbers else EVALUATED.get(seen.metric, "log_loss"),
            path=str(Path(place) / "model"),
            warn_if_exist=False,
        )
        predictor.fit(seen.train, hyperparameters=options, time_limit=int(seconds), seed=asked.seed)
        test = pd.DataFrame({"file": seen.test})
        if numbers:
            folder.write(seen, asked.out, np.asarray(predictor.predict(test, as_pandas=False), float))
        else:
            table = predictor.predict_proba(test, as_pandas=True)
            folder.write(seen, asked.out, table.to_numpy(), [str(name) for name in table.columns])
    print(f"{time.monotonic() - BEGAN:.0f} of {asked.budget:.0f} s", flush=True)


def checkpoint(asked: "folder.argparse.Namespace", place: Path) -> Path:
    """A folder that AutoGluon loads the body of the net from: the given weights, or ones drawn by lot."""
    torch.manual_seed(asked.seed)
    name = ARCHITECTURE[asked.weights]
    net = timm.create_model(name, pretrained=False, num_classes=0)
    if asked.weights == "lite0":
        tensors = load_file(asked.place / name / "model.safetensors")
        net.load_state_dict({key: value for key, value in tensors.items() if not key.startswith("classifier")})
    mean, std = STATS[asked.weights]
    known = {"mean": mean, "std": std, "input_size": [3, 224, 224], "num_classes": 0}
    config = {"architecture": name, "num_features": net.num_features, "pretrained_cfg": known}
    (place / "body").mkdir()
    torch.save(net.state_dict(), place / "body" / "pytorch_model.bin")  # it reads no other format
    (place / "body" / "config.json").write_text(json.dumps(config))
    return place / "body"


if __name__ == "__main__":
    main()
