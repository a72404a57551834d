"""`python -m autoclimb.learn.worker`: the process that trains. A request is a line of json, and so is each reply.

Requests are `hello` (the task), `weights`, `speed`, `keep`, `trial`, `predict`, `export`, and for the report `explain`
and `sheet`. Replies are `{"event": ...}` while it works, then `{"end": ...}`. The worker ends when its standard input
does, that is, with its parent.
"""

import importlib
import json
import math
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoclimb.arrays import read_target
from autoclimb.data.stored import open_rows
from autoclimb.disk import write_array
from autoclimb.errors import Mistake, full_disk, no_room
from autoclimb.learn.boxed import boxed_nets
from autoclimb.learn.devices import device_named, prediction_autocast, usable_memory, warm_up
from autoclimb.learn.faults import STATUSES, Unbuildable, free_memory, kind_of
from autoclimb.learn.hub import hub_answers
from autoclimb.learn.material import Format, Material
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.processors import usable_cores
from autoclimb.types import Config

NO_PIXELS = np.zeros((0, 1, 1, 3), np.uint8)
CPU = torch.device("cpu")  # on which exported files run
NOTHING = Material("multiclass", 0, np.zeros((0, 0), np.float32), np.zeros(0, np.int64), NO_PIXELS)


@dataclass(frozen=True)
class Setting:
    """The contents of `hello`, the context of every later request."""

    material: Material  # pixels come with each request
    device: torch.device
    cache: Path
    warming: threading.Thread | None = None  # loads libraries of a card while the first pictures are decoded


def main() -> None:
    """Serves requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that the output of a library does not look like a reply

    def send(**reply: Any) -> None:
        out.write(json.dumps(reply) + "\n")

    def report(facts: dict[str, Any]) -> None:
        send(event=facts)

    requests = incoming_requests()
    # timm takes seconds to import, in which the first features are computed without it
    threading.Thread(target=importlib.import_module, args=("autoclimb.learn.fold",), daemon=True).start()
    send(end={"ready": True})
    setting = Setting(NOTHING, torch.device("cpu"), Path())
    while True:
        request = requests.get()
        try:
            if request["do"] == "hello":
                setting = setting_of(request)
            send(end=reply_to(request, setting, report))
        except Mistake as mistake:
            send(end={"mistake": str(mistake)})
        except BaseException as error:  # a bug: the parent raises it, and this process ends
            if no_room(error):
                send(end={"mistake": full_disk(setting.cache, error)})
                continue
            send(end={"bug": traceback.format_exc()})
            raise


def reply_to(request: dict[str, Any], setting: Setting, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The reply to a request; `report` gets the events until then."""
    match request["do"]:
        case "hello":
            return describe(setting.device)
        case "weights":
            return list_weights(request["path"])
        case "speed":
            from autoclimb.learn.probe import measure_speed  # timm

            try:
                config, material = asked_for(request, setting)
            except STATUSES as error:
                return {"train": 0.0, "predict": 0.0, "note": str(error), "fault": kind_of(error)}
            return measure_speed(config, material, setting.device, request["look"], request["leisure"])
        case "keep":
            from autoclimb.learn.trunk import keep

            config, material = asked_for(request, setting)
            return keep(config, material, setting.cache, setting.device, report, request["seconds"])
        case "trial":
            try:
                config, material = asked_for(request, setting)
            except STATUSES as error:
                return {"status": "failed", "note": str(error), "facts": {"fault": kind_of(error)}, "folds": 0}
            folders = (Path(request["out"]), Path(request["nets"]), setting.cache)
            format = Format(request["precision"], request["channels_last"], request["img_s"])
            seconds = request["seconds"]
            return run_trial(config, material, *folders, setting.device, report, format=format, seconds=seconds)
        case "predict":
            config, material = asked_for(request, setting)
            nets = Path(request["weights"])
            try:
                where = (nets, setting.cache, setting.device)
                predictions = predict_again(config, material, *where, report, request["exactly"])
            except Unbuildable as error:  # most often because the run's pretrained weights were moved
                raise Mistake(f"a net of the blend cannot be built again: {error}") from error
            write_array(Path(request["save"]), predictions)
        case "explain":
            from autoclimb.learn.gradcam import explain  # timm

            config, material = asked_for(request, setting)
            asked = dict(zip(request["rows"], request["outputs"], strict=True))
            left = seconds_from_now(request["seconds"])
            return explain(config, material, Path(request["nets"]), asked, setting.device, Path(request["save"]), left)
        case "sheet":
            from autoclimb.learn.sheet import write_sheet  # albumentations

            config, material = asked_for(request, setting)
            write_sheet(config, material, request["blocks"], Path(request["save"]))
        case "export":
            return write_export(request, setting)
    return {}


def seconds_from_now(seconds: float) -> Callable[[], float]:
    """A function that returns how many of the seconds are left."""
    until = time.monotonic() + seconds
    return lambda: until - time.monotonic()


def incoming_requests() -> "queue.Queue[dict[str, Any]]":
    """The requests on standard input, read by a thread; the process ends when standard input does.

    It is not read through `sys.stdin`, which the forked processes that prepare batches close first: they would wait for
    ever for the lock that this thread holds while it reads.
    """
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    source = os.dup(0)

    def read() -> None:
        rest = b""
        while block := os.read(source, 1 << 16):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                requests.put(json.loads(line))
        os._exit(0)  # the parent is gone, so nobody will read the results

    threading.Thread(target=read, daemon=True).start()
    return requests


def setting_of(request: dict[str, Any]) -> Setting:
    """The setting of a `hello`: kind, width, targets, folds, device, the user's pipelines, precision of predictions."""
    device, warming = device_named(request["device"]), None
    if device.type == "cpu":
        torch.set_num_threads(usable_cores())
    else:
        torch.set_float32_matmul_precision("high")
        if device.index is not None:
            torch.cuda.set_device(device)  # new streams and graphs belong to the current card
        warming = threading.Thread(target=warm_up, args=(device,), daemon=True)
        warming.start()
    material = Material(
        kind=request["kind"],
        width=request["width"],
        target=read_target(Path(request["target"]), request["width"]) if request["target"] else NOTHING.target,
        fold_of=np.load(request["fold_of"]) if request["fold_of"] else np.zeros(0, np.int64),
        pixels=NO_PIXELS,
        pipelines=request["pipelines"],
        precision=request["precision"],
    )
    return Setting(material, device, Path(request["cache"]), warming)


def describe(device: torch.device) -> dict[str, Any]:
    """The device's facts: kind, name, threads, torch's version, and the memory for training where it is known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    threads, memory = torch.get_num_threads(), usable_memory(device)
    facts = {"device": device.type, "name": name, "threads": threads, "torch": torch.__version__}
    return facts | ({"memory_gb": round(memory / 1e9, 2)} if memory < math.inf else {})


def list_weights(path: str) -> dict[str, Any]:
    """The pretrained nets of a path; without a path those of the box, and whether the hub answers."""
    if path:
        from autoclimb.learn.weights import find_weights  # timm

        return {"found": find_weights(path), "hub": False, "box": []}
    return {"found": [], "hub": hub_answers(), "box": boxed_nets()}


def write_export(request: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Writes the blend of an `export` request as a file, saves the file's predictions for the pictures, and times it.

    The reply's `seconds_a_picture` are those of the `file` and of the `nets`.
    """
    from autoclimb.learn import graph_files
    from autoclimb.learn.graph import BlendGraph, Part  # timm

    file, inputs = Path(request["file"]), request["inputs"]
    parts = [Part(Config.from_json(p["config"]), Path(p["weights"]), p["source"]) for p in request["parts"]]
    try:
        graph = BlendGraph(parts, request["blend"], setting.material, request["channels"], setting.cache)
    except Unbuildable as error:
        raise Mistake(f"a net of the blend cannot be built again: {error}") from error
    graph_files.write_graph(graph, inputs, file, request["description"])
    arrays = [np.load(array) for array in request["arrays"]]
    with prediction_autocast(CPU):  # the format that `predict` uses
        _, by_nets = graph_files.timed_predictions(graph_files.by_graph(graph), arrays)
    predictions, by_file = graph_files.timed_predictions(graph_files.opened(file, inputs), arrays)
    write_array(Path(request["save"]), predictions)
    return {"seconds_a_picture": {"nets": by_nets, "file": by_file}}


def asked_for(request: dict[str, Any], setting: Setting) -> tuple[Config, Material]:
    """The config of a request and the material with the pixels that it names.

    Raises one of `faults.STATUSES` where these cannot be opened.
    """
    if setting.warming:
        setting.warming.join()
        free_memory()
    return Config.from_json(request["config"]), replace(setting.material, pixels=open_rows(Path(request["pixels"])))


if __name__ == "__main__":
    main()
