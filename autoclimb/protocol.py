"""The protocol between a run and its worker process: a request is a line of json, and so is its reply.

`run.worker` sends requests and `learn.worker` replies to them. Files and folders are paths, "" for none.
"""

from dataclasses import dataclass, fields
from typing import Any

from autoclimb.config import Config
from autoclimb.types import Kind


@dataclass(frozen=True)
class Request:
    """A request; as json it is its fields and, as `do`, its name in REQUESTS."""

    @property
    def name(self) -> str:
        """The request's name in REQUESTS."""
        return next(name for name, kind in REQUESTS.items() if kind is type(self))

    def to_json(self) -> dict[str, Any]:
        """The request as it is sent."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"do": self.name} | {n: v.to_json() if isinstance(v, Config) else v for n, v in values.items()}


@dataclass(frozen=True)
class Hello(Request):
    """The task, which every later request is about; the reply describes the device."""

    device: str
    kind: Kind
    width: int  # of the predictions
    target: str  # arrays.read_target reads it
    fold_of: str
    cache: str  # folder of features
    pipelines: dict[str, Any]  # the user's own policies
    precision: str  # dtype to store predictions in


@dataclass(frozen=True)
class ListNets(Request):
    """Which pretrained nets there are: those of a path, without one those of the box, and whether the hub answers."""

    path: str


@dataclass(frozen=True)
class CheckNames(Request):
    """Names of menus by field of Config, see learn.names.check_names; the reply is empty."""

    names: dict[str, list[str]]


@dataclass(frozen=True)
class OfPictures(Request):
    """A request about a config and the pixels that its nets see."""

    config: Config
    pixels: str


@dataclass(frozen=True)
class MeasureSpeed(OfPictures):
    """Pictures a second of the config's net, see learn.probe.measure_speed."""

    look: float  # seconds
    leisure: bool
    largest_batch: int


@dataclass(frozen=True)
class KeepFeatures(OfPictures):
    """Features of the net's frozen stages, stored ahead of a trial."""

    seconds: float


@dataclass(frozen=True)
class RunTrial(OfPictures):
    """The config's trial, see learn.trial.run_trial; the format is the one that a probe found fastest."""

    out: str  # folder of the predictions
    nets: str
    precision: str
    channels_last: bool
    img_s: float
    seconds: float


@dataclass(frozen=True)
class Predict(OfPictures):
    """Predictions of a finished trial's nets, saved as an array; `exactly` as an exported file makes them."""

    weights: str
    save: str
    exactly: bool


@dataclass(frozen=True)
class Explain(OfPictures):
    """Maps of the evidence for an output of some train rows, see learn.gradcam.explain."""

    nets: str
    rows: list[int]
    outputs: list[int]
    seconds: float
    save: str


@dataclass(frozen=True)
class DrawSheet(OfPictures):
    """A picture of blocks of train rows, as decoded and as augmented."""

    blocks: list[list[int]]
    save: str


@dataclass(frozen=True)
class Export(Request):
    """The blend written into a file, and that file's predictions for arrays of pictures, one for each input."""

    parts: list[dict[str, Any]]  # of each member: config, weights (folder), source (number of its input)
    blend: dict[str, Any]
    channels: int
    inputs: list[dict[str, Any]]  # of each input: name, size, channels, preprocess, grid
    arrays: list[str]
    description: dict[str, Any]
    file: str
    save: str


REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "weights": ListNets,
    "names": CheckNames,
    "speed": MeasureSpeed,
    "keep": KeepFeatures,
    "trial": RunTrial,
    "predict": Predict,
    "explain": Explain,
    "sheet": DrawSheet,
    "export": Export,
}


def request_of(values: dict[str, Any]) -> Request:
    """The request that `to_json` made these values of."""
    given = {name: value for name, value in values.items() if name != "do"}
    if "config" in given:
        given["config"] = Config.from_json(given["config"])
    return REQUESTS[values["do"]](**given)
