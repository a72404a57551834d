"""`python -m autoclimb.learn.worker [DEVICE [hub]]`: the process that trains.

While the parent reads the data, the worker imports, gets the device ready, and with `hub` asks whether timm's hub
answers. Requests are lines of json (`protocol`). Replies are `{"event": ...}` while it works, then `{"end": ...}`. The
worker ends when its standard input does, that is, with its parent.
"""

import gc
import importlib
import json
import math
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoclimb.arrays import read_target
from autoclimb.config import Config
from autoclimb.data.stored import open_rows
from autoclimb.disk import write_array
from autoclimb.errors import Mistake, first_line, full_disk, no_room
from autoclimb.learn.boxed import boxed_nets
from autoclimb.learn.devices import (
    device_named,
    prediction_autocast,
    usable_memory,
    warm_up,
    why_no_card,
    why_unusable,
)
from autoclimb.learn.faults import STATUSES, Unbuildable, logged_kind
from autoclimb.learn.hub import hub_answers
from autoclimb.learn.material import Format, Material
from autoclimb.learn.memory import free_memory
from autoclimb.learn.phases import log, phase, seconds_alive
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.processors import processor_name, usable_cores
from autoclimb.protocol import (
    CheckNames,
    DrawSheet,
    Explain,
    Export,
    Hello,
    KeepFeatures,
    ListNets,
    MeasureSpeed,
    OfPictures,
    Predict,
    Request,
    RunTrial,
    request_of,
)

NO_PIXELS = np.zeros((0, 1, 1, 3), np.uint8)
CPU = torch.device("cpu")  # on which exported files run
NOTHING = Material("multiclass", 0, np.zeros((0, 0), np.float32), np.zeros(0, np.int64), NO_PIXELS)


# What trainings import, in the order that it is needed: timm takes seconds, during which first features can be computed
# without it on a processor. A card waits for the rest as well: what varies pictures, and what torch imports when the
# first optimiser is made
LIBRARIES = ("autoclimb.learn.fold",)
OF_A_CARD = ("autoclimb.learn.pipelines", "torch._dynamo")


@dataclass(frozen=True)
class Setting:
    """The contents of `hello`, the context of every later request."""

    material: Material  # pixels come with each request
    device: torch.device
    cache: Path
    hub: Future[bool] | None = None  # whether timm's answers, where that was asked ahead


@dataclass(frozen=True)
class Ahead:
    """What is got ready while the parent still reads the data."""

    device: str  # its name, "" where it was not known
    imports: Future[None]
    card: Future[None]  # the device's libraries and first kernels, if it is a card
    hub: Future[bool] | None


def main(arguments: Sequence[str] = ()) -> None:
    """Serves requests until standard input ends."""
    log(f"worker {os.getpid()} began {seconds_alive():.1f} s ago; torch {torch.__version__} is imported")
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that the output of a library does not look like a reply

    def send(**reply: Any) -> None:
        out.write(json.dumps(reply) + "\n")

    def report(facts: dict[str, Any]) -> None:
        send(event=facts)

    requests = incoming_requests()
    ahead = begin_ahead(arguments[0] if arguments else "", "hub" in arguments[1:])
    send(end={"ready": True})
    setting = Setting(NOTHING, torch.device("cpu"), Path())
    while True:
        values = requests.get()
        try:
            request = request_of(values)
            if isinstance(request, Hello):
                setting = setting_of(request, ahead)
            if isinstance(request, FORKING) and request.config.train != "features":
                with phase("waiting for imports"):  # a process that is forked amid an import may wait for it for ever
                    ahead.imports.result()
            with phase(words_of(request)):
                reply = reply_to(request, setting, report)
            send(end=reply)
        except Mistake as mistake:
            send(end={"mistake": str(mistake)})
        except BaseException as error:  # a bug: the parent raises it, and this process ends
            if no_room(error):
                send(end={"mistake": full_disk(setting.cache, error)})
                continue
            send(end={"bug": traceback.format_exc()})
            raise


FORKING = (RunTrial, MeasureSpeed)  # requests that may fork processes


def begin_ahead(device: str = "", hub: bool = False) -> Ahead:
    """Begins the imports of trainings, gets the card ready where the device of that name is one, and asks the hub."""
    threads = ThreadPoolExecutor(3)
    imports, card = threads.submit(import_libraries, device), threads.submit(warm_up_named, device or "cpu")
    return Ahead(device, imports, card, threads.submit(hub_answers) if hub else None)


def import_libraries(device: str) -> None:
    """Imports what trainings on the device of that name need."""
    on_card = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    for name in (*LIBRARIES, *(OF_A_CARD if on_card else ())):
        with phase(f"importing {name}"):
            importlib.import_module(name)
    # what libraries consist of stays: looking through these 430,000 objects takes the garbage collector .34 s (an AMD
    # EPYC), several times a look and once a fold on a card, and processes that are forked copy less of them
    gc.freeze()


def warm_up_named(device: str) -> None:
    """Gets the card of that name ready; raises Mistake or RuntimeError where it cannot train."""
    card = device_named(device)
    if card.type == "cuda":
        with phase("getting the card ready"):
            warm_up(card)


def words_of(request: Request) -> str:
    """What is asked for, for the log."""
    if not isinstance(request, OfPictures):
        return request.name
    config = request.config
    return f"{request.name} {config.train} {config.backbone} @{config.size}"


def reply_to(request: Request, setting: Setting, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The reply to a request; `report` gets the events until then."""
    material, cache, device = setting.material, setting.cache, setting.device
    if isinstance(request, OfPictures):
        try:
            material = replace(material, pixels=open_rows(Path(request.pixels)))
        except STATUSES as error:
            return without_pixels(request, error)
    match request:
        case Hello():
            return describe(device, request.device)
        case ListNets():
            return list_weights(request.path, setting.hub)
        case CheckNames():
            from autoclimb.learn.names import check_names  # timm

            check_names(request.names, material.kind)
        case MeasureSpeed(config=config):
            from autoclimb.learn.probe import measure_speed  # timm

            return measure_speed(config, material, device, request.look, request.leisure, request.largest_batch)
        case KeepFeatures(config=config):
            from autoclimb.learn.trunk import keep

            return keep(config, material, cache, device, report, request.seconds)
        case RunTrial(config=config):
            folders = (Path(request.out), Path(request.nets), cache)
            format = Format(request.precision, request.channels_last, request.img_s)
            return run_trial(config, material, *folders, device, report, format=format, seconds=request.seconds)
        case Predict(config=config):
            with faults_as_mistakes("predicting"):
                weights = Path(request.weights)
                predictions = predict_again(config, material, weights, cache, device, report, request.exactly)
            write_array(Path(request.save), predictions)
        case Explain(config=config):
            from autoclimb.learn.gradcam import explain  # timm

            asked = dict(zip(request.rows, request.outputs, strict=True))
            left = seconds_from_now(request.seconds)
            return explain(config, material, Path(request.nets), asked, device, Path(request.save), left)
        case DrawSheet(config=config):
            from autoclimb.learn.sheet import write_sheet  # albumentations

            write_sheet(config, material, request.blocks, Path(request.save))
        case Export():
            with faults_as_mistakes("exporting"):
                return write_export(request, setting)
    return {}


def without_pixels(request: OfPictures, error: Exception) -> dict[str, Any]:
    """The reply to a request of a search whose pixels cannot be opened: a fault, as others of its trial are.

    Raises the error again for any other request, and where it is a bug.
    """
    match request:
        case MeasureSpeed():
            from autoclimb.learn.probe import UNUSABLE  # timm

            return {**UNUSABLE, "note": str(error), "fault": logged_kind(error)}
        case KeepFeatures():
            return {"note": str(error), "fault": logged_kind(error)}
        case RunTrial():
            return {"status": "failed", "note": str(error), "facts": {"fault": logged_kind(error)}, "folds": 0}
    raise error


@contextmanager
def faults_as_mistakes(doing: str) -> Iterator[None]:
    """A block outside of a search, where nothing else is tried in place of what fails: a fault becomes a Mistake."""
    try:
        yield
    except Unbuildable as error:  # most often because the run's pretrained weights were moved
        raise Mistake(f"a net of the blend cannot be built again: {error}") from error
    except STATUSES as error:
        kind, why = logged_kind(error), first_line(error, 300)
        if kind == "disk":  # `main` says how much room there is
            raise
        advice = "give fewer or smaller pictures, or more memory" if kind == "memory" else "worker.log says where"
        raise Mistake(f"{doing} failed ({kind}: {why}); {advice}") from error


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


def setting_of(hello: Hello, ahead: Ahead | None = None) -> Setting:
    """The setting of a `hello`: kind, width, targets, folds, device, the user's pipelines, precision of predictions.

    Raises Mistake where the device is not there, or is a card that cannot train.
    """
    device = device_named(hello.device)
    if device.type == "cpu":
        torch.set_num_threads(usable_cores())
    else:
        torch.set_float32_matmul_precision("high")
        if device.index is not None:
            torch.cuda.set_device(device)  # new streams and graphs belong to the current card
        try:
            if ahead is not None and ahead.device == hello.device:
                ahead.card.result()
            else:
                warm_up(device)
        except RuntimeError as error:
            raise Mistake(why_unusable(error, device)) from error
        free_memory()
    material = Material(
        kind=hello.kind,
        width=hello.width,
        target=read_target(Path(hello.target), hello.width) if hello.target else NOTHING.target,
        fold_of=np.load(hello.fold_of) if hello.fold_of else np.zeros(0, np.int64),
        pixels=NO_PIXELS,
        pipelines=hello.pipelines,
        precision=hello.precision,
    )
    return Setting(material, device, Path(hello.cache), ahead.hub if ahead else None)


def describe(device: torch.device, asked_for: str) -> dict[str, Any]:
    """The device's facts: kind, name, threads, torch's version, and the memory for training where it is known.

    A `note` says why there is no card where `asked_for` is "auto".
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    threads, memory = torch.get_num_threads(), usable_memory(device)
    facts = {"device": device.type, "name": name, "threads": threads, "torch": torch.__version__}
    why = why_no_card() if asked_for == "auto" and device.type == "cpu" else ""
    return facts | ({"memory_gb": round(memory / 1e9, 2)} if memory < math.inf else {}) | ({"note": why} if why else {})


def list_weights(path: str, hub: Future[bool] | None) -> dict[str, Any]:
    """The pretrained nets of a path; without a path those of the box, and whether the hub answers."""
    if path:
        from autoclimb.learn.weights import find_weights  # timm

        return {"found": find_weights(path), "hub": False, "box": []}
    return {"found": [], "hub": hub.result() if hub else hub_answers(), "box": boxed_nets()}


def write_export(request: Export, setting: Setting) -> dict[str, Any]:
    """Writes the blend of an `export` request as a file, saves the file's predictions for the pictures, and times it.

    The reply's `seconds_a_picture` are those of the `file` and of the `nets`.
    """
    from autoclimb.learn import graph_files
    from autoclimb.learn.graph import BlendGraph, Part  # timm

    file, inputs = Path(request.file), request.inputs
    parts = [Part(Config.from_json(p["config"]), Path(p["weights"]), p["source"]) for p in request.parts]
    graph = BlendGraph(parts, request.blend, setting.material, request.channels, setting.cache)
    graph_files.write_graph(graph, inputs, file, request.description)
    arrays = [np.load(array) for array in request.arrays]
    with prediction_autocast(CPU):  # the format that `predict` uses
        _, by_nets = graph_files.timed_predictions(graph_files.by_graph(graph), arrays)
    predictions, by_file = graph_files.timed_predictions(graph_files.opened(file, inputs), arrays)
    write_array(Path(request.save), predictions)
    return {"seconds_a_picture": {"nets": by_nets, "file": by_file}}


if __name__ == "__main__":
    main(sys.argv[1:])
