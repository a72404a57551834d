"""Tables in json: COCO-style annotations, lists of rows, columns, names with a value each, labelling tools' exports."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from autoclimb.data.files.table import Table, TableFile
from autoclimb.data.files.text import text_of
from autoclimb.data.sources import channels, inside, unspeakable
from autoclimb.errors import first_line

FEWEST_PIXELS = 64  # numbers in a list from which it is a picture
MOST_FIELDS = 10  # of an object that is a row
ATTRIBUTES = re.compile(r"attributes?$|^(labels?|tags?|properties|meta|metadata|classification)$", re.IGNORECASE)


class Pixels(int):
    """The stand-in for a long list of numbers: their count. The numbers themselves are dropped at once."""


def tables_in(file: TableFile) -> list[Table]:
    """The tables in a json file, none with a note where it holds none.

    Numbers keep their spelling. Lists of numbers are dropped while the text is read, so that 200 MB of pixels leave
    a few of rows.
    """
    text = text_of(file.name, file.read(), file.notes)
    try:
        value = loaded(text)
    except (ValueError, RecursionError) as error:
        file.notes.append(f"{file.name} is no json and is ignored ({first_line(error)})")
        return []
    if lists_pictures(value, file.is_picture):
        pairs = [(name, label) for label, names in value.items() for name in names]
        return [Table(file.name, {"file": [name for name, _ in pairs], "label": [label for _, label in pairs]})]
    return list(tables_of(file.name, value, file.source))


def lists_pictures(value: Any, is_picture: Callable[[str], bool]) -> bool:
    """Whether a value has a list of pictures for each of several labels."""
    if not isinstance(value, dict) or len(value) < 2:
        return False
    lists = [v for v in value.values() if isinstance(v, list) and v and all(isinstance(name, str) for name in v)]
    return len(lists) == len(value) and all(is_picture(names[0]) and is_picture(names[-1]) for names in lists)


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


Place = Callable[[int, str], str]  # the number of a row and the name of a field -> the source of what is there


def tables_of(name: str, value: Any, source: str) -> Iterator[Table]:
    """The tables that a json value holds."""
    if is_rows(value) and all(is_labelstudio(row) for row in value):
        yield rows_table(name, [labelstudio_row(row) for row in value])
    elif is_rows(value):
        rows = [with_class_names(row) for row in value]
        yield rows_table(name, rows, lambda row, field: inside(source, row, field))
    if not isinstance(value, dict) or not value:
        return
    images, annotations = value.get("images"), value.get("annotations")
    if is_rows(images) and (is_rows(annotations) or images[0].keys() & {"id", "image_id"}):
        yield coco_table(name, images, annotations if is_rows(annotations) else [], value.get("categories"))
        return
    if is_fiftyone(value):
        yield fiftyone_table(name, value["classes"], value["labels"])
        return
    if is_split(value):
        yield Table(
            name, {str(title): [cell(row[i]) for row in value["data"]] for i, title in enumerate(value["columns"])}
        )
        return
    values = list(value.values())
    if all(isinstance(v, dict) for v in values):
        yield table_of_objects(name, value, source)
    elif not any(isinstance(v, dict) or is_rows(v) for v in values):
        if same_length(values):
            yield Table(name, {key: [cell(v) for v in column] for key, column in value.items()})
        else:
            yield Table(name, {"key": list(value), "value": [cell(v) for v in values]})
    for key, inner in value.items():
        if is_rows(inner):
            yield rows_table(f"{name}/{key}", inner)


def table_of_objects(name: str, objects: dict[str, dict], source: str) -> Table:
    """The table of an object of objects, which are its columns or its rows."""
    keys = list(dict.fromkeys(key for one in objects.values() for key in one))
    if not are_columns(objects, keys):
        names = list(objects)
        rows = [{"key": key, **row} for key, row in objects.items()]
        return rows_table(name, rows, lambda row, field: inside(source, names[row], field))
    rows = [{title: column.get(key) for title, column in objects.items()} for key in keys]
    if not are_counted(keys):
        rows = [{"key": key, **row} for key, row in zip(keys, rows, strict=True)]
    return rows_table(name, rows, lambda row, field: inside(source, field, keys[row]))


def is_split(value: dict[str, Any]) -> bool:
    """Whether these are the columns and rows that pandas writes with orient="split"."""
    columns, data = value.get("columns"), value.get("data")
    return (
        isinstance(columns, list)
        and isinstance(data, list)
        and bool(columns and data)
        and all(isinstance(row, list) and len(row) == len(columns) for row in data)
    )


def are_columns(value: dict[str, dict], keys: list[str]) -> bool:
    """Whether an object of objects holds columns, as pandas writes them unasked, rather than rows.

    Every column then has all the inner keys, which are more than there are columns and numbers counted from 0 (or, of
    rows with names, more than an object has fields).
    """
    if len(keys) <= len(value) or any(len(column) != len(keys) for column in value.values()):
        return False
    return are_counted(keys) or len(keys) > MOST_FIELDS


def are_counted(keys: list[str]) -> bool:
    """Whether the keys are numbers counted from 0."""
    return keys == [str(i) for i in range(len(keys))]


def is_rows(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Whether this is a list of rows."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def same_length(values: list[Any]) -> bool:
    """Whether these are columns: lists of one length, two or more."""
    return all(isinstance(v, list) for v in values) and len(values) > 1 and len({len(v) for v in values}) == 1


def rows_table(name: str, rows: list[dict[str, Any]], place: Place | None = None) -> Table:
    """The table of a list of rows; fields that hold pictures become the channels of each row's picture.

    Without a place for them pictures are left out. Fields that hold attributes of the picture are taken apart.
    """
    rows = [with_attributes(row) for row in rows]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    bands = [
        k
        for k in keys
        if place and not unspeakable(k) and sum(isinstance(row.get(k), Pixels) for row in rows) > len(rows) / 2
    ]
    cells = {k: [cell(row.get(k)) for row in rows] for k in keys if k not in bands}
    cells = {k: column for k, column in cells.items() if any(column)}
    if not bands or place is None:
        return Table(name, cells)
    sources = tuple(
        channels(place(i, k) for k in bands) if all(isinstance(row.get(k), Pixels) for k in bands) else ""
        for i, row in enumerate(rows)
    )
    if not cells:
        cells = {"row": [str(i) for i in range(len(rows))]}
    return Table(name, cells, sources, len(bands) if len(bands) > 1 else 3)


def with_attributes(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the attributes in it as fields of their own, as in VIA's `file_attributes: {"class": "cat"}`."""
    nested = {k: v for k, v in row.items() if isinstance(v, dict) and ATTRIBUTES.search(k)}
    if not nested:
        return row
    return {**{k: v for attributes in nested.values() for k, v in attributes.items()}, **row}


def coco_table(name: str, images: list[dict], annotations: list[dict], categories: Any) -> Table:
    """One row an annotation, with what is said of its image and category, and one an image that has none."""
    ids = ("id", "image_id")
    id_name = next((k for k in (ids if any("id" in image for image in images) else ids[::-1]) if k in images[0]), "")
    of_image = {cell(image.get(id_name)): image for image in images}
    names = {}
    if is_rows(categories):
        key = "id" if "id" in categories[0] else "category_id"
        title = next((k for k in ("name", "scientificName") if k in categories[0]), "")
        names = {cell(c.get(key)): cell(c.get(title)) for c in categories if title}
    annotated = {cell(one.get("image_id")) for one in annotations}
    negatives = [{"image_id": i[id_name]} for i in images if id_name and cell(i.get(id_name)) not in annotated]
    rows = []
    for one in [*annotations, *negatives]:
        image = of_image.get(cell(one.get("image_id")), {})
        row = {"image_id": one.get("image_id")}
        row |= {k: v for k, v in one.items() if k not in ("id", "image_id")}
        row |= {k: v for k, v in image.items() if k not in (id_name, *row)}
        if cell(row.get("category_id")) in names:
            row["category_name"] = names[cell(row["category_id"])]
        rows.append(row)
    return rows_table(name, rows)


def is_labelstudio(row: dict[str, Any]) -> bool:
    """Whether this is a task as Label Studio exports it: its data, and annotations of several results each."""
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations", row.get("completions")), list)


def labelstudio_row(task: dict[str, Any]) -> dict[str, Any]:
    """A task's data, and what its last annotation that was not cancelled says, a field a control."""
    row = {key: path_in(v) if isinstance(v, str) else v for key, v in task["data"].items()}
    annotations = as_list(task.get("annotations", task.get("completions")))
    done = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    for result in done[-1].get("result", []) if done else []:
        if not isinstance(result, dict) or not isinstance(value := result.get("value"), dict):
            continue
        content = value.get(str(result.get("type", "")), next(iter(value.values()), None))
        title = str(result.get("from_name", "label"))
        row[title] = [*as_list(row[title]), *as_list(content)] if title in row else content
    return row


def path_in(address: str) -> str:
    """The path in the address of a file that Label Studio serves from its own disk."""
    return address.split("?d=", 1)[1] if "?d=" in address else address


def as_list(value: Any) -> list:
    """The value as a list."""
    return value if isinstance(value, list) else [value]


def is_fiftyone(value: dict[str, Any]) -> bool:
    """Whether this maps names of pictures to labels, numbers of a list of classes beside them (FiftyOne)."""
    return isinstance(value.get("labels"), dict) and isinstance(value.get("classes"), list)


def fiftyone_table(name: str, classes: list, labels: dict[str, Any]) -> Table:
    """A row a picture, its classes by name."""
    named = {str(i): class_name for i, class_name in enumerate(classes)}

    def names(label: Any) -> Any:
        return [named.get(one, one) for one in label] if isinstance(label, list) else named.get(label, label)

    return Table(name, {"key": list(labels), "label": [cell(names(label)) for label in labels.values()]})


def with_class_names(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a labelling job's manifest with the names of its classes in place of their numbers, others as they are.

    SageMaker Ground Truth writes `job: 2` and `job-metadata: {"class-name": "red", ...}` beside it.
    """
    about = {key: value for key, value in row.items() if key.endswith("-metadata") and isinstance(value, dict)}
    for key, value in about.items():
        names = value.get("class-name", list(value.get("class-map", {}).values()) or None)
        if names is not None:
            row = {**row, key.removesuffix("-metadata"): names}
    return row


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
