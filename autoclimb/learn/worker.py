"""`python -m autoclimb.learn.worker`: the process that trains. It reads one json line a request and answers in lines.

Requests: `hello` (what to train on), `weights`, `speed`, `trial`, `predict`. Answers: `{"event": ...}` while it goes,
then `{"end": ...}`. When the parent goes away, so does the worker: its standard input ends.
"""

import importlib
import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoclimb.errors import Mistake, full_disk, no_room
from autoclimb.learn.batches import Material
from autoclimb.learn.devices import device_named
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.types import Config

NO_PIXELS = np.zeros((0, 1, 1, 3), np.uint8)


def main() -> None:
    """Serves requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    requests: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(json.loads(line))
        os._exit(0)  # the parent is gone; nobody will read what is being trained

    threading.Thread(target=read, daemon=True).start()
    # timm takes seconds to import: meanwhile the first features can be computed without it
    threading.Thread(target=importlib.import_module, args=("autoclimb.learn.fold",), daemon=True).start()

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")

    say({"end": {"ready": True}})
    state: dict[str, Any] = {}
    while True:
        request = requests.get()
        try:
            say({"end": SERVED[request["do"]](request, state, lambda facts: say({"event": facts}))})
        except Mistake as mistake:
            say({"end": {"mistake": str(mistake)}})
        except BaseException as error:  # a bug: told to the parent, which raises it, and the process ends
            if no_room(error):
                say({"end": {"mistake": full_disk(state.get("cache", Path.cwd()), error)}})
                continue
            say({"end": {"bug": traceback.format_exc()}})
            raise


def take_task(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """Takes the task: kind, width, targets, folds, device, the user's pipelines."""
    device = device_named(request["device"])
    if device.type == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    else:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    state["device"] = device
    state["cache"] = Path(request["cache"])
    state["material"] = Material(
        kind=request["kind"],
        width=request["width"],
        target=np.load(request["target"]) if request["target"] else np.zeros((0, request["width"]), np.float32),
        fold_of=np.load(request["fold_of"]) if request["fold_of"] else np.zeros(0, np.int64),
        pixels=NO_PIXELS,
        pipelines=request["pipelines"],
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": device.type, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def list_weights(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """The pretrained nets of a path, or whether the hub answers."""
    from autoclimb.learn.backbones import hub_answers
    from autoclimb.learn.weights import find_weights

    if request["path"]:
        return {"found": find_weights(request["path"]), "hub": False}
    return {"found": [], "hub": hub_answers()}


def measure_speed(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """Pictures a second in training and in prediction, and the way of running the net that gave them."""
    from autoclimb.learn.probe import measured_speed

    config, material = Config.from_json(request["config"]), _with_pixels(request, state)
    return measured_speed(config, material, state["device"], request["seconds"])


def serve_trial(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """Runs one trial into `out`."""
    torch.cuda.empty_cache() if state["device"].type == "cuda" else None
    config = Config.from_json(request["config"])
    out, nets = Path(request["out"]), Path(request["nets"])
    how = {"report": report, "bf16": request["bf16"], "channels_last": request["channels_last"]}
    return run_trial(config, _with_pixels(request, state), out, nets, state["cache"], state["device"], **how)


def serve_predictions(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """Predictions of a finished trial for other pictures, saved as `save`."""
    material = _with_pixels(request, state)
    config = Config.from_json(request["config"])
    made = predict_again(config, material, Path(request["weights"]), state["cache"], state["device"], report)
    np.save(request["save"], made)
    return {}


def _with_pixels(request: dict[str, Any], state: dict[str, Any]) -> Material:
    return replace(state["material"], pixels=np.load(request["pixels"], mmap_mode="r"))


SERVED = {
    "hello": take_task,
    "weights": list_weights,
    "speed": measure_speed,
    "trial": serve_trial,
    "predict": serve_predictions,
}

if __name__ == "__main__":
    main()
