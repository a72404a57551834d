"""The gallery of a report: maps of where a net saw evidence for the run's mistakes, and a sheet of augmented pictures.

Only a worker with nets can make them: at the end of a run, within the report's time, and into the run folder. Parts for
which there was no time are made once when a report is written later.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from autoclimb.config import Config
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import pixels_in
from autoclimb.disk import read_json, write_json
from autoclimb.errors import Mistake
from autoclimb.protocol import DrawSheet, Explain, Hello
from autoclimb.report import findings
from autoclimb.report.findings import Errors
from autoclimb.report.page_data import example_blocks
from autoclimb.report.page_errors import MISTAKES
from autoclimb.report.record import Gallery, RunRecord
from autoclimb.run import store
from autoclimb.run.setup import Setup
from autoclimb.run.worker import Died, Late, Worker, command_of, log_of
from autoclimb.types import Trial

MAPS, SHEET, NOTES = "maps.npz", "sheet.jpg", "gallery.json"  # in the folder `gallery` of a run
NO_TIME = "there was no time to ask the nets; on a finished run `autoclimb report RUN` does"
SHARE_FOR_MAPS = 0.7  # of the seconds left: a fold that was begun is finished, and a late reply is lost
SECONDS_LATER = 600.0  # for the gallery of a finished run; own choice
NOT_CACHED = "its pictures are not in the cache any more"
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, UnidentifiedImageError)


@dataclass(frozen=True, eq=False)
class GallerySource:
    """The means to make a gallery: the run folder, its decoded pictures, a worker, and the seconds left."""

    folder: Path  # of the run
    pixels: Callable[[Config], Path | None]  # decoded for a config; None where they are not on disk any more
    ask: Callable[[dict[str, Any], float], dict[str, Any]]  # a worker's reply to a request within some seconds
    left: Callable[[], float]  # seconds


def fill_gallery(setup: Setup, record: RunRecord, errors: Errors | None, seconds: float) -> None:
    """Has the run's worker make the gallery within some seconds and writes it to the run folder.

    For a part that there is nothing to show in, or no time to make, a note says why.
    """
    end = setup.clock.spent() + seconds

    def left() -> float:
        return end - setup.clock.spent()

    def decoded_already(config: Config) -> Path | None:
        pixels = setup.decoded.decoded_already(config.cached_size, config.preprocess, config.grid)
        return pixels.path if pixels else None

    fill(GallerySource(setup.folder, decoded_already, setup.worker.ask, left), record, errors, list(PARTS))


def complete_gallery(
    folder: Path, record: RunRecord, errors: Errors | None, items: int, hello: Callable[[Path], Hello]
) -> None:
    """Makes the parts of a finished run's gallery that there was no time for at its end, by a worker of its own.

    `items` is the number of decoded items; `hello(place)` is the greeting of a worker that works in that folder. Parts
    that failed for another reason are not tried again.
    """
    notes = _notes_in(folder)
    lacking = [name for name in PARTS if notes.get(name, {}).get("note", NO_TIME) == NO_TIME]
    if not (record.finished and record.blend and lacking):
        return
    workers, until = list[Worker](), time.monotonic() + SECONDS_LATER
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)

        def ask(request: dict[str, Any], seconds: float) -> dict[str, Any]:
            if not workers:  # started at the first request only, since its imports take seconds
                workers.append(Worker(command_of(), log_of(folder, place)))
                target, fold_of = str(folder / "target.npy"), str(folder / "fold_of.npy")
                workers[0].greet(replace(hello(place), target=target, fold_of=fold_of).to_json(), seconds)
            return workers[0].ask(request, seconds)

        try:
            pixels = partial(cached_pixels, folder / "cache", items)
            source = GallerySource(folder, pixels, ask, lambda: until - time.monotonic())
            fill(source, record, errors, lacking)
        finally:
            for worker in workers:
                worker.end()


def fill(source: GallerySource, record: RunRecord, errors: Errors | None, names: Sequence[str]) -> None:
    """Makes these parts of the gallery, and writes the outcome of each before the next is begun."""
    place = source.folder / "gallery"
    place.mkdir(exist_ok=True)
    values = _notes_in(source.folder)
    for name in names:
        try:
            values[name] = PARTS[name](source, record, errors, place) if source.left() > 0 else {"note": NO_TIME}
        except Late:
            values[name] = {"note": NO_TIME}
        except (Died, Mistake, RuntimeError) as error:  # for a bug in the worker, the last line of its traceback
            values[name] = {"note": str(error).strip().rpartition("\n")[2][:200] or type(error).__name__}
        write_json(place / NOTES, values)


def _notes_in(folder: Path) -> dict[str, Any]:
    """The outcome of each part of a run's gallery so far, by name."""
    try:
        return dict(read_json(folder / "gallery" / NOTES))
    except DAMAGED:
        return {}


def cached_pixels(cache: Path, items: int, config: Config) -> Path | None:
    """The path of a run's pictures decoded for a config, at its size or a larger one; None where they are gone."""
    fitting, how = [], Decoding(config.cached_size, config.preprocess, grid=config.grid)
    for path in pixels_in(cache):
        facts = read_json(path.with_suffix(".json"))
        same = (facts["rows"], facts.get("preprocess"), facts.get("grid")) == (items, how.preprocess, how.grid)
        if same and facts["size"] >= how.side and path.suffix != ".sources":
            fitting.append((facts["size"], path))
    return min(fitting)[1] if fitting else None


def make_maps(source: GallerySource, record: RunRecord, errors: Errors | None, place: Path) -> dict[str, Any]:
    """Has the heaviest member that can explain the worst mistakes; the trial, or a note on why none could."""
    rows = [row for row, _ in findings.mistakes(record, errors, MISTAKES)] if errors else []
    if errors is None or not rows:
        return {"note": ""}
    outputs, note = findings.wrong_outputs(record, errors, rows), NO_TIME
    for trial in members_by_weight(record):
        if source.left() <= 0:
            break
        pixels = source.pixels(trial.config)
        if pixels is None:
            note = NOT_CACHED
            continue
        request = Explain(
            trial.config,
            pixels=str(pixels),
            nets=str(store.nets_folder(source.folder, trial.config)),
            rows=rows,
            outputs=outputs,
            seconds=SHARE_FOR_MAPS * source.left(),
            save=str(place / MAPS),
        )
        reply = source.ask(request.to_json(), max(source.left(), 0.0))
        if reply["shown"]:
            return {"trial": trial.key, "note": reply["note"]}
        note = reply["note"] or note
    return {"note": note}


def make_sheet(source: GallerySource, record: RunRecord, errors: Errors | None, place: Path) -> dict[str, Any]:
    """Has the heaviest augmented member draw the sheet; the trial and the blocks of train rows, or a note."""
    trained = [trial for trial in members_by_weight(record) if trial.config.train == "net"]
    augmented = [trial for trial in trained if trial.config.policy != "none"]
    if not augmented:
        why = "its nets see pictures as they are" if trained else "its features are frozen or made by hand"
        return {"note": f"the blend was trained without augmentation, for {why}"}
    blocks = [rows for _, rows in example_blocks(record)]
    for trial in augmented:
        pixels = source.pixels(trial.config)
        if pixels is not None and blocks:
            request = DrawSheet(trial.config, str(pixels), blocks, str(place / SHEET))
            source.ask(request.to_json(), max(source.left(), 0.0))
            return {"trial": trial.key, "note": "", "blocks": blocks}
    return {"note": NOT_CACHED}


PARTS: dict[str, Callable[[GallerySource, RunRecord, Errors | None, Path], dict[str, Any]]] = {
    "maps": make_maps,
    "sheet": make_sheet,
}


def members_by_weight(record: RunRecord) -> list[Trial]:
    """The blend's recorded members, heaviest first; best first where the blend has no weights."""
    if record.blend is None:
        return []
    weights = record.blend.weights or (math.nan,) * len(record.blend.members)
    weight_of = dict(zip(record.blend.members, weights, strict=True))
    members = [trial for trial in record.trials if trial.key in weight_of]
    return sorted(members, key=lambda t: (-np.nan_to_num(weight_of[t.key]), -t.score))


def read_gallery(folder: Path) -> Gallery:
    """The gallery in a run folder; empty but for a note where it was not made yet, or is damaged."""
    place, none = folder / "gallery", Gallery(maps_note=NO_TIME, sheet_note=NO_TIME)
    if not (place / NOTES).exists():
        return none
    try:
        values = read_json(place / NOTES)
        maps, sheet = values.get("maps", {}), values.get("sheet", {})
        shown: dict[tuple[int, int], np.ndarray] = {}
        if maps.get("trial"):
            with np.load(place / MAPS, allow_pickle=False) as arrays:
                rows = zip(arrays["rows"].tolist(), arrays["outputs"].tolist(), arrays["maps"], strict=True)
                shown = {(row, output): picture for row, output, picture in rows}
        picture = None
        if sheet.get("trial"):
            with Image.open(place / SHEET) as image:
                picture = np.asarray(image.convert("RGB"))
        return Gallery(
            maps=shown,
            looked=maps.get("trial", ""),
            maps_note=maps.get("note", ""),
            sheet=picture,
            blocks=tuple(tuple(block) for block in sheet.get("blocks", ())),
            augmented=sheet.get("trial", ""),
            sheet_note=sheet.get("note", ""),
        )
    except DAMAGED:
        return none


def forget_gallery(folder: Path) -> None:
    """Deletes the gallery of a run that was continued, since its mistakes have changed."""
    shutil.rmtree(folder / "gallery", ignore_errors=True)
