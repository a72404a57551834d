"""Exporting a run's blend as one file that predicts without autoclimb, ONNX or torch's, checked against `predict`."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.blend.choose import apply_blend, blend_of, needs_metadata
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels, open_pixels, pixels_in
from autoclimb.disk import whole_file, write_array, write_json
from autoclimb.errors import Mistake, room_on_disk, writing_to
from autoclimb.protocol import Export, Predict
from autoclimb.report.leaderboard import words_of
from autoclimb.run import store
from autoclimb.run.reporting import record_of
from autoclimb.run.worker import Worker, command_of, ends_as_mistakes, log_of
from autoclimb.score.crossfit import rule_of
from autoclimb.types import Blend, Event, Tell, Trial

if TYPE_CHECKING:
    from autoclimb.run.result import Run

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}  # what --format may say
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": ()}  # needed beyond torch to write and check a file
MOST_CHECKED = 32  # pictures
MOST_OFF = 1e-4  # deviation of probabilities, or of numbers relative to the largest of them
LONG = 3600.0  # seconds: a graph of forty nets is written in minutes, so a worker silent for an hour is dead


@dataclass(frozen=True)
class Exported:
    """An exported file, and its largest deviation from `predict` on the pictures of the check."""

    path: Path
    deviation: float
    pictures: int

    @property
    def words(self) -> str:
        """The file's size and deviation in words."""
        size = self.path.stat().st_size / 1e6
        return f"{size:.1f} MB, at most {self.deviation:.1e} off predict on {self.pictures} pictures"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions `(R, C)` by `predict`'s own code and by a file, and the seconds that both took for a picture."""

    expected: np.ndarray
    predicted: np.ndarray
    seconds_a_picture: dict[str, float]  # of "nets", of "file"

    @property
    def deviation(self) -> float:
        """The largest difference, divided by the largest number where that is above one."""
        return float(np.abs(self.expected - self.predicted).max()) / max(1.0, float(np.abs(self.expected).max()))


@dataclass(frozen=True)
class Inputs:
    """A graph's inputs, each with its name and the decoding of its pictures, and the index of the one of each trial."""

    decodings: dict[str, Decoding]
    of_trial: list[int]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The inputs as json: name, size, channels, preprocess and grid."""
        return [
            {"name": name, **{key: getattr(how, key) for key in ("size", "channels", "preprocess", "grid")}}
            for name, how in self.decodings.items()
        ]


def export_run(run: "Run", format: str, best: bool, out: Path | None, files: list[str] | None, tell: Tell) -> Exported:
    """Writes the blend, or its best trial alone, with its description beside it as json; see `Run.export`.

    The file is written in a temporary folder, compared with `predict` there, and put in place only if it agrees.
    """
    if format not in ENDINGS:
        raise Mistake(f"--format {format!r} is unknown; choose from {', '.join(ENDINGS)}")
    path = out or place_of(run.folder, "best" if best else "blend", format)
    if path.suffix != ENDINGS[format]:
        raise Mistake(f"--out {path} must end with {ENDINGS[format]} for --format {format}")
    lacking = [name for name in PACKAGES[format] if find_spec(name) is None]
    if lacking:
        raise Mistake(f"--format {format} needs {', '.join(lacking)}: pip install 'autoclimb[export]'")
    trials = trials_of(run)
    if best:
        run, trials = best_alone(run, trials)
    with writing_to(path, "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
    inputs = inputs_for(run, trials)
    description = describe(run, trials, inputs)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        arrays = pictures_to_check(run, inputs, files, place)
        tell(Event("note", f"writing and comparing {len(trials)} members; many folds take minutes"))
        compared = write_and_compare(run, trials, inputs, arrays, description, place / path.name)
        deviation = compared.deviation
        if not deviation <= MOST_OFF:  # also where it is NaN
            raise Mistake(
                f"the exported {'trial' if best else 'blend'} is up to {deviation:.1e} off what predict says, over "
                f"{MOST_OFF:g}: nothing was written; try {'--format torch' if format == 'onnx' else '--best'}"
            )
        with room_on_disk(path.parent), whole_file(path) as part:
            shutil.copyfile(place / path.name, part)
    checked = {"pictures": len(arrays[0]), "largest_deviation": deviation, "from": "autoclimb predict"}
    checked |= {"seconds_a_picture": compared.seconds_a_picture}
    write_json(description_of(path), {**description, "check": checked})
    return Exported(path, deviation, len(arrays[0]))


def place_of(folder: Path, what: str, format: str) -> Path:
    """The default path of an export of a run, `what` being "blend" or "best"."""
    return folder / "export" / f"{what}{ENDINGS[format]}"


def description_of(file: Path) -> Path:
    """The path of an exported file's description: `blend.onnx.json`, since a blend may be exported in both formats."""
    return file.with_name(f"{file.name}.json")


def digest_of(blend: Blend, trials: Sequence[Trial]) -> str:
    """A digest of a blend's method, parameters and members, and of their scores, which change with their nets."""
    contents = [blend.method, blend.stacker, [(trial.key, trial.score) for trial in trials]]
    return hashlib.blake2b(json.dumps(contents, sort_keys=True).encode(), digest_size=16).hexdigest()


def trials_of(run: "Run") -> list[Trial]:
    """The trials of the blend, in its order. Raises Mistake where there is none, or their nets are not there."""
    blend, trials = run.finished_blend(), {trial.key: trial for trial in store.all_trials(run.folder)}
    if not set(blend.members) <= set(trials):  # a config of older code may have another key today
        raise Mistake(f"{run.folder} was made by an older autoclimb, which names its nets otherwise; run its fit again")
    members = [trials[key] for key in blend.members]
    without_nets = [trial for trial in members if not store.has_weights(run.folder, trial.config)]
    if without_nets:
        raise Mistake(
            f"nets of {len(without_nets)} members of the blend were deleted to save disk; give fit a larger nets_gb"
        )
    return members


def best_alone(run: "Run", trials: Sequence[Trial]) -> tuple["Run", list[Trial]]:
    """The run as if its blend were its best trial alone, with that trial's decision rule and score."""
    trial, record = max(trials, key=lambda t: t.score), record_of(run)
    blend = blend_of([trial], record.train)
    rule = rule_of(record.train, blend.oof)
    return replace(run, blend=blend, rule=rule.to_json()), [trial]


def inputs_for(run: "Run", trials: Sequence[Trial]) -> Inputs:
    """An input for each decoding that the trials need."""
    decodings = [replace(how, size=how.side) for how in (run.decoding(trial.config) for trial in trials)]
    distinct = list(dict.fromkeys(decodings))
    names = [_name(at, distinct) for at in range(len(distinct))]
    return Inputs(dict(zip(names, distinct, strict=True)), [distinct.index(how) for how in decodings])


def _name(at: int, distinct: Sequence[Decoding]) -> str:
    """`pictures` for the only input, `pictures_128` for one whose size no other has, else with its number too."""
    size = distinct[at].size
    if len(distinct) == 1:
        return "pictures"
    same_size = sum(other.size == size for other in distinct) > 1
    return f"pictures_{size}_{at}" if same_size else f"pictures_{size}"


def describe(run: "Run", trials: Sequence[Trial], inputs: Inputs) -> dict[str, Any]:
    """The description of the file as json, which is written into it and beside it."""
    kind, blend = run.task["kind"], run.finished_blend()
    sums = "rows sum to one" if kind in ("binary", "multiclass", "ordinal") else "labels are independent"
    members = [{"config": words_of(t.config), "score": run.metric.shown(t.score), "key": t.key} for t in trials]
    for member, weight in zip(members, blend.weights, strict=False):  # a stacker holds more than weights
        member["weight"] = weight
    return {
        "written_by": f"autoclimb {version('autoclimb')}",
        "task": run.task["name"],
        "kind": kind,
        "classes": run.task["classes"],
        "grades": run.task["grades"],
        "metric": run.metric.name,
        "score": run.score,
        "stderr": run.stderr,
        "interval": list(run.interval),
        "inputs": inputs.rows,
        "input_form": "uint8 (batch, size, size, channels), RGB where there are three channels, decoded by Pillow as "
        "autoclimb.data.decoding.decode does: docs/export.md has it in ten lines",
        "ranges": run.task.get("ranges", ()),
        "output": "prediction: numbers (batch, 1)"
        if kind == "regression"
        else f"prediction: probabilities (batch, {len(run.task['classes'])}) of the classes in their order; {sums}",
        "decision": run.rule,
        "blend": blend.method,
        "digest": digest_of(blend, trials),
        "sharpness": blend.stacker["sharpness"],
        "columns_left_out": run.task.get("metadata", ()) if needs_metadata(blend) else (),
        "members": members,
    }


def pictures_to_check(run: "Run", inputs: Inputs, files: list[str] | None, place: Path) -> list[np.ndarray]:
    """Up to 32 pictures `(R, size, size, channels)` for each input: of `files`, else the run's decoded test pictures.

    Without test pictures they are train pictures. Pictures of another size are brought to the input's by leaving out or
    repeating pixels, since the check needs any pictures as long as both sides get the same. Raises Mistake where there
    are none.
    """
    if files is not None:
        return [_decoded(how, files[:MOST_CHECKED], place) for how in inputs.decodings.values()]
    rows = len(np.load(run.folder / "fold_of.npy", mmap_mode="r"))
    for path in reversed(pixels_in(run.folder / "cache")):
        pixels = open_pixels(path)
        readable = np.flatnonzero(~pixels.bad)
        of_test = readable[readable >= rows]
        usable = of_test if len(of_test) else readable
        if len(pixels.bad) >= rows and len(usable):
            pictures = np.asarray(pixels.array[usable[:: -(-len(usable) // MOST_CHECKED)]])
            return [_at_size(pictures, how.size) for how in inputs.decodings.values()]
    raise Mistake(f"the decoded pictures of {run.folder} were deleted; name others to check with: --images FOLDER")


def _decoded(how: Decoding, files: list[str], place: Path) -> np.ndarray:
    """The files decoded for an input."""
    pixels = build_pixels(files, how, place)
    if pixels.bad.any():
        raise Mistake(
            f"{int(pixels.bad.sum())} of the pictures to check with cannot be read; name others with --images"
        )
    return np.asarray(pixels.array)


def _at_size(pictures: np.ndarray, size: int) -> np.ndarray:
    at = np.arange(size) * pictures.shape[1] // size
    return np.ascontiguousarray(pictures[:, at][:, :, at])


@ends_as_mistakes()
def write_and_compare(
    run: "Run",
    trials: Sequence[Trial],
    inputs: Inputs,
    arrays: Sequence[np.ndarray],
    description: dict[str, Any],
    file: Path,
) -> Comparison:
    """Writes the file; the blend's predictions by `predict`'s own code, in float32, beside those of the file."""
    place, blend = file.parent, run.finished_blend()
    pixels = [place / f"input{number}.npy" for number in range(len(arrays))]
    for path, array in zip(pixels, arrays, strict=True):
        write_array(path, array)
        rows, size, _, channels = array.shape
        write_json(path.with_suffix(".json"), {"rows": rows, "size": size, "channels": channels})
    predictions, parts = [], []
    worker = Worker(command_of(), log_of(run.folder, place))
    try:
        # on the processor, since on a card nets predict in bfloat16, which deviates by itself
        hello = replace(run.hello(place), device="cpu", fold_of=str(run.folder / "fold_of.npy"))
        worker.greet(hello.to_json(), LONG)
        for trial, source in zip(trials, inputs.of_trial, strict=True):
            weights, save = str(store.nets_folder(run.folder, trial.config)), place / f"{trial.key}.npy"
            worker.ask(Predict(trial.config, str(pixels[source]), weights, str(save), exactly=True).to_json(), LONG)
            predictions.append(np.load(save))
            parts.append({"config": trial.config.to_json(), "weights": weights, "source": source})
        request = Export(
            parts=parts,
            blend=blend.stacker,
            channels=run.task.get("channels", 3),
            inputs=inputs.rows,
            arrays=[str(path) for path in pixels],
            description=description,
            file=str(file),
            save=str(place / "exported.npy"),
        )
        seconds = worker.ask(request.to_json(), LONG)["seconds_a_picture"]
    finally:
        worker.end()
    return Comparison(apply_blend(blend, predictions), np.load(place / "exported.npy"), seconds)
