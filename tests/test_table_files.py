"""Tables in xlsx, parquet and json of every form that tools write, and what is said where they cannot be read."""

import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from folders import competition, metric, picture
from pyarrow import parquet

from autoclimb.data.decoding import Decoding, decode
from autoclimb.data.files.table import Table
from autoclimb.data.files.table_formats import TABLE_FORMATS, tables_at
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake

ROWS = [{"file": f"a_{i:03d}.jpg", "label": ["red", "green", "blue"][i % 3], "age": i + 1} for i in range(12)]
CELLS = {key: [str(row[key]) for row in ROWS] for key in ROWS[0]}


def tables(path: Path) -> tuple[list[Table], list[str]]:
    notes: list[str] = []
    return tables_at(path.name, str(path), notes, lambda cell: False), notes


def only(path: Path) -> Table:
    (table,), notes = tables(path)
    assert not notes
    return table


def written(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl", "t.xlsx", "t.parquet"])
def test_every_format_gives_back_the_cells_that_were_written(tmp_path, name):
    frame, path = pd.DataFrame(ROWS), tmp_path / name
    {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".json": lambda: path.write_text(json.dumps(ROWS)),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        ".xlsx": lambda: frame.to_excel(path, index=False),
        ".parquet": lambda: frame.to_parquet(path),
    }[path.suffix]()
    assert only(path).cells == CELLS


@pytest.mark.parametrize("ending", TABLE_FORMATS)
@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04" + bytes(200), b"PAR1" + bytes(64) + b"PAR1", b"\xff\xfe", b'{"a"'],
    ids=["nothing", "zip", "parquet", "utf-16", "json"],
)
def test_no_bytes_are_a_crash(tmp_path, ending, data):
    (tmp_path / f"t{ending}").write_bytes(data)
    read, notes = tables(tmp_path / f"t{ending}")
    assert not read
    assert len(notes) <= 1


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
@pytest.mark.parametrize("keyed", [False, True])
def test_json_as_pandas_writes_it_is_a_table(tmp_path, orient, keyed):
    frame = pd.DataFrame(ROWS)
    if keyed:
        if orient == "records":
            pytest.skip("records have no keys")
        frame = frame.set_index("file")
    frame.to_json(tmp_path / "t.json", orient=orient)
    cells = only(tmp_path / "t.json").cells
    assert cells["label"] == CELLS["label"]
    if keyed and orient != "split":
        assert CELLS["file"] in (cells.get("key"), cells.get("file"))
    elif not keyed:
        assert cells["file"] == CELLS["file"]


def test_probabilities_by_class_number_are_rows_not_columns(tmp_path):
    value = {f"{i}.jpg": {str(k): 0.1 * k for k in range(3)} for i in range(12)}
    assert only(written(tmp_path / "t.json", value)).cells["key"] == list(value)


def test_pictures_in_columns_of_json_are_found_again(tmp_path):
    bands = {"band": {str(i): [i] * 64 for i in range(9)}, "label": {str(i): "ab"[i % 2] for i in range(9)}}
    table = only(written(tmp_path / "t.json", bands))
    assert table.cells == {"label": ["ab"[i % 2] for i in range(9)]}
    assert [decode(source, Decoding(8, "squash", 1, ((0.0, 255.0),))).max() for source in table.sources] == list(
        range(9)
    )


def test_label_studio_s_tasks_are_rows(tmp_path):
    def task(i: int, *choices: str, **more: object) -> dict:
        result = {"from_name": "kind", "type": "choices", "value": {"choices": list(choices)}}
        data = {"image": f"/data/local-files/?d=images/{i}.jpg", "site": "x"}
        return {"id": i, "data": data, "annotations": [{"result": [result], **more}], "meta": {}}

    tasks = [task(0, "red"), task(1, "red", "blue"), task(2, "red", was_cancelled=True)]
    table = only(written(tmp_path / "t.json", tasks))
    assert table.cells == {
        "image": [f"images/{i}.jpg" for i in range(3)],
        "site": ["x"] * 3,
        "kind": ["red", "red|blue", ""],
    }


def test_fiftyone_and_ground_truth_name_their_classes(tmp_path):
    fiftyone = {"classes": ["red", "blue"], "labels": {"a": 1, "b": [0, 1], "c": "blue"}}
    assert only(written(tmp_path / "t.json", fiftyone)).cells == {
        "key": ["a", "b", "c"],
        "label": ["blue", "red|blue", "blue"],
    }
    lines = [{"source-ref": f"s3://b/{k}.jpg", "job": k, "job-metadata": {"class-name": "xy"[k]}} for k in range(2)]
    manifest = "\n".join(map(json.dumps, lines))
    assert only(written(tmp_path / "t.manifest", manifest)).cells == {
        "source-ref": ["s3://b/0.jpg", "s3://b/1.jpg"],
        "job": ["x", "y"],
    }


def test_pictures_without_annotations_are_rows_of_coco_too(tmp_path):
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(3)],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 4}],
        "categories": [{"id": 4, "name": "crack"}],
    }
    table = only(written(tmp_path / "t.json", coco))
    rows = dict(zip(table.cells["file_name"], table.cells["category_name"], strict=True))
    assert rows == {"1.jpg": "crack", "0.jpg": "", "2.jpg": ""}


# --- xlsx ------------------------------------------------------------------------------------------------------------


def test_a_sheet_may_begin_below_and_hold_days_and_blanks(tmp_path):
    book = openpyxl.Workbook()
    book.active.append([])
    book.active.append(["id", None, "when", "x", "x"])
    book.active.append(["a", "no name", pd.Timestamp("2024-05-01"), 1.0, None])
    book.active.append([])
    book.active.append(["b", None, pd.Timestamp("2024-05-01 10:00"), 0.5, True])
    book.create_sheet("empty")
    book.save(tmp_path / "t.xlsx")
    assert only(tmp_path / "t.xlsx").cells == {
        "id": ["a", "b"],
        "when": ["2024-05-01", "2024-05-01 10:00:00"],
        "x": ["1", "0.5"],
        "x.1": ["", "True"],
    }


def test_every_sheet_of_a_workbook_is_a_table(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        for sheet in ("train", "test"):
            pd.DataFrame(ROWS).to_excel(book, sheet_name=sheet, index=False)
    read, _ = tables(tmp_path / "t.xlsx")
    assert [table.name for table in read] == ["t.xlsx/train", "t.xlsx/test"]


def test_a_competition_of_workbooks_is_read(tmp_path):
    root = competition(tmp_path / "c")
    for name in ("train", "sample_submission"):
        pd.read_csv(root / f"{name}.csv").to_excel(root / f"{name}.xlsx", index=False)
        (root / f"{name}.csv").unlink()
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids), task.classes) == (12, 4, ("cat", "dog", "fox"))


@pytest.mark.parametrize(("package", "name"), [("openpyxl", "labels.xlsx"), ("pyarrow", "labels.parquet")])
def test_a_missing_package_is_named_where_labels_would_be_guessed_instead(tmp_path, monkeypatch, package, name):
    for i in range(24):
        picture(tmp_path / "train" / f"{('cat', 'dog')[i % 2]}_{i:04d}.jpg", seed=i)
    pd.DataFrame(ROWS).to_csv(tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Mistake, match=rf"{name} .*pip install 'autoclimb\[tables\]'.*names of pictures"):
        read_folder(tmp_path, metric("label"))


# --- parquet ---------------------------------------------------------------------------------------------------------


def jpeg(value: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("records", [False, True])
def test_pictures_inside_of_parquet_are_read_and_classes_named_by_the_schema(tmp_path, records):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    for part, count in (("train", 20), ("test", 6)):
        contents = [jpeg(10 * i) for i in range(count)]
        column = [{"bytes": c, "path": f"{i}.png"} for i, c in enumerate(contents)] if records else contents
        labels = [i % 2 for i in range(count)] if part == "train" else [-1] * count
        frame = pa.table({"image": column, "label": labels})
        frame = frame.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (tmp_path / "data").mkdir(exist_ok=True)
        parquet.write_table(frame, tmp_path / "data" / f"{part}-00000-of-00001.parquet", row_group_size=7)
    read, notes = tables(tmp_path / "data" / "train-00000-of-00001.parquet")
    assert notes == ["train-00000-of-00001.parquet holds the pictures, in column 'image'"]
    assert read[0].cells["label"] == ["cat", "dog"] * 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = build_pixels(read[0].sources, Decoding(8, "squash"), tmp_path / "px")
    assert pixels.array[:, 0, 0, 0].tolist() == [10 * i for i in range(20)]
