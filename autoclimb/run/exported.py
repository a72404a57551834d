"""Predictions by a run's exported ONNX file instead of its nets, where it is of the present blend and faster."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.config import Config
from autoclimb.data.stored import PictureRows, open_rows
from autoclimb.disk import read_json
from autoclimb.errors import Mistake
from autoclimb.graphs import AT_ONCE, by_session, described_in, open_session, predictions_for
from autoclimb.run.exporting import description_of, digest_of, inputs_for, place_of
from autoclimb.types import Event, Tell, Trial

if TYPE_CHECKING:
    from autoclimb.run.result import Run

DEVICES = Path("/dev")
CARDS = ("nvidia[0-9]*", "dxg", "kfd")  # device files of cards: NVIDIA's, one under Windows' WSL, AMD's
# Share of the nets' time that the file may take at most. The times were measured at the export, in batches that suit
# the file rather than the nets, and a deviation of 1e-4 is not worth saving a tenth of the time.
WORTH = 0.8


def predictions_by_export(
    run: "Run", trials: Sequence[Trial], pixels_for: Callable[[Config], Path], tell: Tell
) -> np.ndarray | None:
    """The predictions `(M, C)` of the run's blend by its exported file; None where the nets have to predict.

    `trials` are the blend's members; `pixels_for(config)` is the path of the pictures as decoded for a config. The nets
    predict where no ONNX file was exported, where it is of an earlier blend or not faster than they are, and where
    there may be a card.
    """
    file = place_of(run.folder, "blend", "onnx")
    description = description_in(file)
    if description is None or has_card():
        return None
    name = f"{file.parent.name}/{file.name}"
    if not matches_blend(description, run, trials):
        tell(Event("note", f"{name} is of an earlier blend: the nets predict; `autoclimb export` writes a new one"))
        return None
    seconds = description["check"]["seconds_a_picture"]
    if seconds["file"] > WORTH * seconds["nets"]:
        return None
    if find_spec("onnxruntime") is None:
        tell(Event("note", f"{name} would predict faster, with onnxruntime: pip install 'autoclimb[export]'"))
        return None
    inputs = inputs_for(run, trials)
    first_with = [inputs.of_trial.index(number) for number in range(len(inputs.decodings))]
    pictures = [open_rows(pixels_for(trials[at].config)) for at in first_with]
    try:
        digest = digest_of(run.finished_blend(), trials)
        return predictions_of_file(file, digest, list(inputs.decodings), pictures, tell)
    except Mistake as mistake:
        tell(Event("note", f"{mistake}: the nets predict"))
        return None


def description_in(file: Path) -> dict[str, Any] | None:
    """The description of an exported file; None where there is no such file, or no times of it and of the nets."""
    path = description_of(file)
    if not (file.exists() and path.exists()):
        return None
    try:
        description = read_json(path)
        seconds = description["check"]["seconds_a_picture"]
        return description if all(isinstance(seconds[by], int | float) for by in ("file", "nets")) else None
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged
        return None


def matches_blend(description: dict[str, Any], run: "Run", trials: Sequence[Trial]) -> bool:
    """Whether an exported file is of the run's present blend."""
    same_inputs = description.get("inputs") == inputs_for(run, trials).rows
    return same_inputs and description.get("digest") == digest_of(run.finished_blend(), trials)


def has_card(devices: Path = DEVICES) -> bool:
    """Whether there may be a card, judged without torch, whose import takes longer than a few predictions."""
    return any(True for pattern in CARDS for _ in devices.glob(pattern))


def predictions_of_file(
    file: Path, digest: str, names: Sequence[str], pictures: Sequence[PictureRows], tell: Tell
) -> np.ndarray:
    """Predictions `(M, C)` of an ONNX file for M pictures; `pictures` has their rows for each of the file's inputs.

    Raises Mistake where the file does not run, or where its own digest is another one.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    errors = tuple(e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception))  # no base
    name = f"{file.parent.name}/{file.name}"

    def progress(done: int, total: int) -> None:
        text = f"predicting by {name}" if done <= AT_ONCE else ""
        tell(Event("progress", text, {"done": done, "total": total}))

    try:
        session = open_session(file)
        if described_in(session).get("digest") != digest:
            raise Mistake(f"{name} holds another blend than {name}.json says; `autoclimb export` writes it again")
        return predictions_for(by_session(session, names), pictures, progress)
    except errors as error:
        raise Mistake(f"{file} does not run ({str(error).partition(chr(10))[0][:200]})") from error
