"""Json -> Tables: COCO-style annotations, lists of rows, names with a value each, pictures as lists of numbers."""

import json
import math
from collections.abc import Iterator
from typing import Any, TypeGuard

from autoclimb.data.files.table import Table
from autoclimb.data.sources import channels, inside, unspeakable

FEWEST_PIXELS = 64  # numbers in a list from which it is a picture
IMAGE_KEYS = ("id", "image_id", "file_name")


class Pixels(int):
    """What stands for a long list of numbers: how many there were. The numbers themselves are dropped at once."""


def tables_of_json(name: str, text: str, source: str, notes: list[str]) -> list[Table]:
    """The tables in a json file, none with a note where it holds none. `source` is where the file is.

    Numbers keep their spelling. Lists of numbers are dropped while the text is read, so that 200 MB of pixels leave
    a few of rows.
    """
    try:
        whole = loaded(text)
    except (ValueError, RecursionError) as error:
        notes.append(f"{name} is no json and is ignored ({str(error).splitlines()[0][:80]})")
        return []
    return list(tables_in(name, whole, source))


def loaded(text: str) -> Any:
    """The json value, or a list of the values on its lines."""
    options: dict[str, Any] = {
        "parse_float": str,
        "parse_int": str,
        "parse_constant": lambda word: "",
        "object_hook": without_pixels,
    }
    try:
        return json.loads(text, **options)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if "Extra data" not in str(error) or len(lines) < 2:
            raise
        return [json.loads(line, **options) for line in lines]


def without_pixels(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what is a picture turned to its number of values."""
    return {key: Pixels(count_of(value)) if count_of(value) >= FEWEST_PIXELS else value for key, value in row.items()}


def count_of(value: Any) -> int:
    """Numbers in a list, or in a list of lists; 0 for anything else."""
    if not isinstance(value, list) or not value:
        return 0
    if isinstance(value[0], list):
        return sum(map(count_of, value))
    return len(value) if isinstance(value[0], str) and is_number(value[0]) else 0


def tables_in(name: str, whole: Any, source: str) -> Iterator[Table]:
    """The tables that a json value holds."""
    if isinstance(whole, list):
        if whole and all(isinstance(row, dict) for row in whole):
            yield rows_table(name, whole, source)
        return
    if not isinstance(whole, dict) or not whole:
        return
    images, said = whole.get("images"), whole.get("annotations")
    if is_rows(images):
        yield coco_table(name, images, said if is_rows(said) else [], whole.get("categories"))
        return
    values = list(whole.values())
    if all(isinstance(v, dict) for v in values):
        yield rows_table(name, [{"key": key, **row} for key, row in whole.items()], "")
    elif not any(isinstance(v, dict) or is_rows(v) for v in values) and same_length(values):
        yield Table(name, {key: [cell(v) for v in column] for key, column in whole.items()})
    elif not any(isinstance(v, dict) or is_rows(v) for v in values):
        yield Table(name, {"key": list(whole), "value": [cell(v) for v in values]})
    for key, value in whole.items():
        if is_rows(value):
            yield rows_table(f"{name}/{key}", value, "")


def is_rows(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Whether this is a list of rows."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def same_length(values: list[Any]) -> bool:
    """Whether these are columns: lists of one length, two or more."""
    return all(isinstance(v, list) for v in values) and len(values) > 1 and len({len(v) for v in values}) == 1


def rows_table(name: str, rows: list[dict[str, Any]], source: str) -> Table:
    """The table of a list of rows; fields that hold pictures become the channels of each row's picture."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    bands = [
        k
        for k in keys
        if source and not unspeakable(k) and sum(isinstance(row.get(k), Pixels) for row in rows) > len(rows) / 2
    ]
    cells = {k: [cell(row.get(k)) for row in rows] for k in keys if k not in bands}
    cells = {k: column for k, column in cells.items() if any(column)}
    if not bands:
        return Table(name, cells)
    sources = tuple(
        channels(inside(source, i, k) for k in bands) if all(isinstance(row.get(k), Pixels) for k in bands) else ""
        for i, row in enumerate(rows)
    )
    if not cells:
        cells = {"row": [str(i) for i in range(len(rows))]}
    return Table(name, cells, sources, len(bands) if len(bands) > 1 else 3)


def coco_table(name: str, images: list[dict], said: list[dict], categories: Any) -> Table:
    """One row an annotation, or an image where nothing is annotated, with what is said of its image and category."""
    ids = ("id", "image_id")
    id_name = next((k for k in (ids if any("id" in image for image in images) else ids[::-1]) if k in images[0]), "")
    of_image = {cell(image.get(id_name)): image for image in images}
    names = {}
    if is_rows(categories):
        key = "id" if "id" in categories[0] else "category_id"
        title = next((k for k in ("name", "scientificName") if k in categories[0]), "")
        names = {cell(c.get(key)): cell(c.get(title)) for c in categories if title}
    rows = []
    for one in said or [{"image_id": image.get(id_name)} for image in images]:
        image = of_image.get(cell(one.get("image_id")), {})
        row = {"image_id": one.get("image_id")}
        row |= {k: v for k, v in one.items() if k not in ("id", "image_id")}
        row |= {k: v for k, v in image.items() if k not in (id_name, *row)}
        if cell(row.get("category_id")) in names:
            row["category_name"] = names[cell(row["category_id"])]
        rows.append(row)
    return rows_table(name, rows, "")


def cell(value: Any) -> str:
    """A json value as a table's cell: lists of words joined by bars."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Pixels):
        return ""
    if isinstance(value, list):
        return "|".join(cell(v) for v in value) if all(isinstance(v, str) for v in value) else ""
    return ""


def is_number(text: str) -> bool:
    """Whether this is a number's spelling."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
