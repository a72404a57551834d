"""What only nets can show: where one looked in the pictures that a run gets wrong, and what augmentation made of some.

The worker is asked at the end of a run, within the report's time; what it shows lies in the run folder. What there was
no time for is asked for when a report is written later, once.
"""

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from autoclimb.data.pixels import pixels_in
from autoclimb.data.stored import side_of
from autoclimb.disk import read_json, write_json
from autoclimb.errors import Mistake
from autoclimb.report import findings
from autoclimb.report.findings import Errors
from autoclimb.report.page_data import example_blocks
from autoclimb.report.page_errors import MISTAKES
from autoclimb.report.record import Gallery, RunRecord
from autoclimb.run import store
from autoclimb.run.setup import Setup
from autoclimb.run.worker import Died, Late, Worker, log_of
from autoclimb.types import Config, Trial

MAPS, SHEET, NOTES = "maps.npz", "sheet.jpg", "gallery.json"  # in the folder `gallery` of a run
NO_TIME = "there was no time to ask the nets; on a finished run `autoclimb report RUN` does"
SHARE_TO_LOOK = 0.7  # of the seconds left: a fold's look that was begun is ended, and late is lost
LATER = 600.0  # seconds that nets of a finished run may show things in; own choice
NOT_AT_HAND = "its pictures are not in the cache any more"
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, UnidentifiedImageError)


@dataclass(frozen=True, eq=False)
class Asking:
    """What a gallery is asked for through: where decoded pictures lie, a worker, and the seconds that are left."""

    folder: Path  # of the run
    pixels: Callable[[Config], Path | None]  # as a config's nets look at them; None where they are not at hand
    ask: Callable[[dict[str, Any], float], dict[str, Any]]  # a worker's reply to a request, within so many seconds
    left: Callable[[], float]


def fill_gallery(setup: Setup, record: RunRecord, errors: Errors | None, seconds: float) -> None:
    """Has the worker show where a net looked and how pictures were augmented, within so many seconds, and keeps it.

    Where there is nothing to show, or no time, a note says why.
    """
    end = setup.clock.spent() + seconds

    def left() -> float:
        return end - setup.clock.spent()

    def at_hand(config: Config) -> Path | None:
        pixels = setup.decoded.at_hand(config.cached_size, config.preprocess, config.grid)
        return pixels.path if pixels else None

    fill(Asking(setup.folder, at_hand, setup.worker.ask, left), record, errors, list(SHOWN))


def complete_gallery(
    folder: Path, record: RunRecord, errors: Errors | None, items: int, hello: Callable[[Path], dict[str, Any]]
) -> None:
    """Has nets of a finished run show what there was no time for at its end, by a worker of their own.

    `items` were decoded, and `hello` gives what a worker is told that works in a place. Nothing is tried twice that
    had its time.
    """
    before = _notes_in(folder)
    lacking = [name for name in SHOWN if before.get(name, {}).get("note", NO_TIME) == NO_TIME]
    if not (record.finished and record.blend and lacking):
        return
    workers, until = list[Worker](), time.monotonic() + LATER
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)

        def ask(request: dict[str, Any], seconds: float) -> dict[str, Any]:
            if not workers:  # it imports for seconds, which a gallery without pictures need not wait for
                workers.append(Worker([sys.executable, "-m", "autoclimb.learn.worker"], log_of(folder, place)))
                learned = {"target": str(folder / "target.npy"), "fold_of": str(folder / "fold_of.npy")}
                workers[0].greet({**hello(place), **learned}, seconds)
            return workers[0].ask(request, seconds)

        try:
            pixels = partial(kept_pixels, folder / "cache", items)
            asking = Asking(folder, pixels, ask, lambda: until - time.monotonic())
            fill(asking, record, errors, lacking)
        finally:
            for worker in workers:
                worker.end()


def fill(asking: Asking, record: RunRecord, errors: Errors | None, names: Sequence[str]) -> None:
    """Asks for these parts of the gallery and writes what came of each, before the next is asked for."""
    place = asking.folder / "gallery"
    place.mkdir(exist_ok=True)
    values = _notes_in(asking.folder)
    for name in names:
        try:
            values[name] = SHOWN[name](asking, record, errors, place) if asking.left() > 0 else {"note": NO_TIME}
        except Late:
            values[name] = {"note": NO_TIME}
        except (Died, Mistake, RuntimeError) as error:  # of a bug in the worker the last line says what it was
            values[name] = {"note": str(error).strip().splitlines()[-1][:200]}
        write_json(place / NOTES, values)


def _notes_in(folder: Path) -> dict[str, Any]:
    """What came of each part of a run's gallery so far."""
    try:
        return dict(read_json(folder / "gallery" / NOTES))
    except DAMAGED:
        return {}


def kept_pixels(cache: Path, items: int, config: Config) -> Path | None:
    """Where a run keeps its pictures as a config's nets look at them, or larger; None where it does not any more."""
    fitting = []
    for path in pixels_in(cache):
        facts = read_json(path.with_suffix(".json"))
        same = (facts["rows"], facts.get("preprocess"), facts.get("grid")) == (items, config.preprocess, config.grid)
        large = facts["size"] >= side_of(config.cached_size, config.grid)
        if same and large and path.suffix != ".sources":
            fitting.append((facts["size"], path))
    return min(fitting)[1] if fitting else None


def ask_maps(asking: Asking, record: RunRecord, errors: Errors | None, place: Path) -> dict[str, Any]:
    """The trial whose nets looked at the worst mistakes, the heaviest member that can; or a note on why none did."""
    rows = [row for row, _ in findings.mistakes(record, errors, MISTAKES)] if errors else []
    if errors is None or not rows:
        return {"note": ""}
    outputs, note = findings.wrong_outputs(record, errors, rows), NO_TIME
    for trial in members_by_weight(record):
        if asking.left() <= 0:
            break
        pixels = asking.pixels(trial.config)
        if pixels is None:
            note = NOT_AT_HAND
            continue
        request = {
            "do": "explain",
            "config": trial.config.to_json(),
            "pixels": str(pixels),
            "nets": str(store.nets_folder(asking.folder, trial.config)),
            "rows": rows,
            "outputs": outputs,
            "seconds": SHARE_TO_LOOK * asking.left(),
            "save": str(place / MAPS),
        }
        reply = asking.ask(request, max(asking.left(), 0.0))
        if reply["shown"]:
            return {"trial": trial.key, "note": reply["note"]}
        note = reply["note"] or note
    return {"note": note}


def ask_sheet(asking: Asking, record: RunRecord, errors: Errors | None, place: Path) -> dict[str, Any]:
    """The trial whose augmentation the sheet shows, its blocks of train rows, and their layout; or a note."""
    trained = [trial for trial in members_by_weight(record) if trial.config.train == "net"]
    varied = [trial for trial in trained if trial.config.policy != "none"]
    if not varied:
        why = "its nets see pictures as they are" if trained else "its features are frozen or made by hand"
        return {"note": f"the blend was trained without augmentation, for {why}"}
    blocks = [rows for _, rows in example_blocks(record)]
    for trial in varied:
        pixels = asking.pixels(trial.config)
        if pixels is not None and blocks:
            request = {
                "do": "sheet",
                "config": trial.config.to_json(),
                "pixels": str(pixels),
                "blocks": blocks,
                "save": str(place / SHEET),
            }
            asking.ask(request, max(asking.left(), 0.0))
            return {"trial": trial.key, "note": "", "blocks": blocks}
    return {"note": NOT_AT_HAND}


SHOWN: dict[str, Callable[[Asking, RunRecord, Errors | None, Path], dict[str, Any]]] = {
    "maps": ask_maps,
    "sheet": ask_sheet,
}


def members_by_weight(record: RunRecord) -> list[Trial]:
    """The blend's members on record, the heaviest first; where it has no weights, the best first."""
    if record.blend is None:
        return []
    weights = record.blend.weights or (math.nan,) * len(record.blend.members)
    weight_of = dict(zip(record.blend.members, weights, strict=True))
    members = [trial for trial in record.trials if trial.key in weight_of]
    return sorted(members, key=lambda t: (-np.nan_to_num(weight_of[t.key]), -t.score))


def read_gallery(folder: Path) -> Gallery:
    """What the gallery of a run folder holds; empty but for a note where it was not filled yet, or was damaged."""
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
    """Deletes what nets showed of a run that was gone on with: its mistakes are others now."""
    shutil.rmtree(folder / "gallery", ignore_errors=True)
