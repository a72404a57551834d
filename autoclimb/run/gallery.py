"""What only nets can show: where one looked in the pictures that a run gets wrong, and what augmentation made of some.

The worker is asked at the end of a run, within the report's time; what it shows lies in the run folder, so that a
report written later needs no net and no torch.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from autoclimb.disk import read_json, write_json
from autoclimb.report import findings
from autoclimb.report.page_data import example_blocks
from autoclimb.report.page_errors import MISTAKES
from autoclimb.report.record import Gallery, RunRecord
from autoclimb.run import store
from autoclimb.run.measurements import measured_sizes
from autoclimb.run.setup import Setup
from autoclimb.run.worker import Died, Late
from autoclimb.types import Trial

MAPS, SHEET, NOTES = "maps.npz", "sheet.jpg", "gallery.json"  # in the folder `gallery` of a run
NO_TIME = "there was no time left for it"
NOT_AT_HAND = "its pictures are not in the cache any more"
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, UnidentifiedImageError)


def fill_gallery(setup: Setup, record: RunRecord, seconds: float) -> None:
    """Has the worker show where a net looked and how pictures were augmented, within so many seconds, and keeps it.

    Where there is nothing to show, or no time, a note says why.
    """
    folder, end = setup.folder / "gallery", setup.clock.spent() + seconds

    def left() -> float:
        return end - setup.clock.spent()

    folder.mkdir(exist_ok=True)
    measured_sizes(setup.folder, setup.task, lambda: left() - 0.75 * seconds)
    values: dict[str, Any] = {}
    for name, ask in (("maps", ask_maps), ("sheet", ask_sheet)):
        try:
            values[name] = ask(setup, record, folder, left) if left() > 0 else {"note": NO_TIME}
        except Late:
            values[name] = {"note": NO_TIME}
        except Died as error:
            values[name] = {"note": str(error)}
        write_json(folder / NOTES, values)


def ask_maps(setup: Setup, record: RunRecord, folder: Path, left: Callable[[], float]) -> dict[str, Any]:
    """The trial whose nets looked at the worst mistakes, the heaviest member that can; or a note on why none did."""
    errors = findings.errors_of(record)
    rows = [row for row, _ in findings.mistakes(record, errors, MISTAKES)] if errors else []
    if errors is None or not rows:
        return {"note": ""}
    outputs, note = findings.wrong_outputs(record, errors, rows), NO_TIME
    for trial in members_by_weight(record):
        if left() <= 0:
            break
        pixels = setup.decoded.at_hand(trial.config.cached_size, trial.config.preprocess, trial.config.grid)
        if pixels is None:
            note = NOT_AT_HAND
            continue
        request = {
            "do": "explain",
            "config": trial.config.to_json(),
            "pixels": str(pixels.path),
            "nets": str(store.nets_folder(setup.folder, trial.config)),
            "rows": rows,
            "outputs": outputs,
            "seconds": left(),
            "save": str(folder / MAPS),
        }
        reply = setup.worker.ask(request, max(left(), 0.0))
        if reply["shown"]:
            return {"trial": trial.key, "note": reply["note"]}
        note = reply["note"] or note
    return {"note": note}


def ask_sheet(setup: Setup, record: RunRecord, folder: Path, left: Callable[[], float]) -> dict[str, Any]:
    """The trial whose augmentation the sheet shows, its blocks of train rows, and their layout; or a note."""
    trained = [trial for trial in members_by_weight(record) if trial.config.train == "net"]
    varied = [trial for trial in trained if trial.config.policy != "none"]
    if not varied:
        why = "its nets see pictures as they are" if trained else "its features are frozen or made by hand"
        return {"note": f"the blend was trained without augmentation: {why}"}
    blocks = [rows for _, rows in example_blocks(record)]
    for trial in varied:
        pixels = setup.decoded.at_hand(trial.config.cached_size, trial.config.preprocess, trial.config.grid)
        if pixels is not None and blocks:
            request = {
                "do": "sheet",
                "config": trial.config.to_json(),
                "pixels": str(pixels.path),
                "blocks": blocks,
                "save": str(folder / SHEET),
            }
            setup.worker.ask(request, max(left(), 0.0))
            return {"trial": trial.key, "note": "", "blocks": blocks}
    return {"note": NOT_AT_HAND}


def members_by_weight(record: RunRecord) -> list[Trial]:
    """The blend's members on record, the heaviest first; where it has no weights, the best first."""
    if record.blend is None:
        return []
    weights = record.blend.weights or (math.nan,) * len(record.blend.members)
    weight_of = dict(zip(record.blend.members, weights, strict=True))
    members = [trial for trial in record.trials if trial.key in weight_of]
    return sorted(members, key=lambda t: (-np.nan_to_num(weight_of[t.key]), -t.score))


def read_gallery(folder: Path) -> Gallery:
    """What the gallery of a run folder holds; empty where the run ended before it was filled, or it was damaged."""
    place = folder / "gallery"
    if not (place / NOTES).exists():
        return Gallery()
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
        return Gallery()
