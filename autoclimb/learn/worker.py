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
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoclimb.errors import Mistake, full_disk, no_room
from autoclimb.learn.batches import Material, epoch, to_input
from autoclimb.learn.devices import device_named
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.losses import loss_named, loss_value
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
    """Pictures a second in training and in prediction, measured for about `seconds`, and the faster number format.

    On a processor neither format wins for every net (bf16 against fp32 on one with AVX-512 BF16: 1.65 times for a
    narrow resnet10t at 64 px, 0.87 for mobilenetv1_100 at 128 px), so both are timed; CUDA trains in bf16.
    """
    from autoclimb.learn.backbones import build_net
    from autoclimb.learn.optim import optimizer_of

    config, material, device = Config.from_json(request["config"]), _with_pixels(request, state), state["device"]
    try:
        built = build_net(config, material.width, material.pixels.shape[-1])
    except Unbuildable as error:
        return {"note": str(error), "train": 0.0, "predict": 0.0, "bf16": False}
    net = built.net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = optimizer_of(net, built.head, config)
    wanted = loss_named(config.loss, material.kind)
    rows = np.flatnonzero(material.fold_of >= 0)
    batch = max(2, min(config.batch, len(rows)))
    pictures, chosen = next(epoch(material, rows, config, config.size, batch, 0, 0))
    y = torch.from_numpy(material.target[chosen]).to(device)
    x = to_input(pictures, built.mean, built.std, device)
    formats = (True,) if device.type == "cuda" else (False, True)

    def step(bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = net(x)
        loss = loss_value(wanted, logits.float(), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return time.perf_counter() - start

    try:
        took = {bf16: float(np.median(timed(partial(step, bf16), request["seconds"] / 2))) for bf16 in formats}
        net.eval()
        with torch.inference_mode():
            predicting = float(np.min(timed(lambda: _seconds_of(net, x), 0.0)))
    except torch.OutOfMemoryError:
        return {"note": "out of memory", "train": 0.0, "predict": 0.0, "bf16": False}
    best = min(took, key=lambda bf16: took[bf16])
    return {"train": len(pictures) / took[best], "predict": len(pictures) / predicting, "bf16": best}


def timed(step: Callable[[], float], seconds: float) -> list[float]:
    """What a step took, again and again for so many seconds, twice at least; the first, which warms up, left out."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while len(times) < 3 or (time.monotonic() < until and len(times) < 50):
        times.append(step())
    return times[1:]


def _seconds_of(net: torch.nn.Module, x: torch.Tensor) -> float:
    start = time.perf_counter()
    net(x).sum().item()
    return time.perf_counter() - start


def serve_trial(request: dict[str, Any], state: dict[str, Any], report) -> dict[str, Any]:
    """Runs one trial into `out`."""
    torch.cuda.empty_cache() if state["device"].type == "cuda" else None
    config = Config.from_json(request["config"])
    out, nets = Path(request["out"]), Path(request["nets"])
    how = {"report": report, "bf16": request["bf16"]}
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
