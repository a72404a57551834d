"""Layouts beyond a table and loose pictures: each family as a small folder made by hand."""

import gzip
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from folders import competition, metric, picture, table
from PIL import Image

from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.data.sources import parts_of


def test_pictures_only_in_archives_are_read_from_inside(tmp_path):
    root = competition(tmp_path / "c")
    for split in ("train", "test"):
        with zipfile.ZipFile(root / f"{split}.zip", "w") as archive:
            archive.writestr("../evil.jpg", b"x")
            for file in (root / split).iterdir():
                archive.write(file, file.name)
                file.unlink()
        (root / split).rmdir()
    task = read_folder(root, metric("label"))
    assert parts_of(task.train_files[0]) == [[(str(root / "train.zip"), "a_000.jpg")]]
    assert any("leads out of the archive" in note.text for note in task.notes)


def test_an_archive_beside_its_unpacked_pictures_is_not_read(tmp_path):
    root = competition(tmp_path / "c")
    with zipfile.ZipFile(root / "train.zip", "w") as archive:
        for file in (root / "train").iterdir():
            archive.write(file, file.name)
    assert read_folder(root, metric("label")).train_files[0] == str(root / "train" / "a_000.jpg")


def test_grey_files_of_one_item_are_channels(tmp_path):
    root = competition(tmp_path / "c", extension=".png")
    for split in ("train", "test"):
        for file in list((root / split).iterdir()):
            for colour in ("blue", "green", "red", "yellow"):
                Image.new("L", (8, 8)).save(file.with_name(f"{file.stem}_{colour}.png"))
            file.unlink()
    task = read_folder(root, metric("label"))
    (places,) = parts_of(task.train_files[0])
    assert task.channels == 4
    assert [p[0].rsplit("_", 1)[-1] for p in places] == ["red.png", "green.png", "blue.png", "yellow.png"]


def test_fields_of_json_rows_are_channels(tmp_path):
    def rows(split, n):
        return [{"id": f"{split}{i}", "band_1": [0.5] * 64, "band_2": [1.5] * 64, "angle": i / 7} for i in range(n)]

    train = [{**row, "ship": i % 2} for i, row in enumerate(rows("a", 12))]
    (tmp_path / "train.json").write_text(json.dumps(train))
    (tmp_path / "test.json").write_text(json.dumps(rows("b", 4)))
    table(tmp_path / "sample_submission.csv", ("id", "ship"), *((f"b{i}", 0.5) for i in range(4)))
    task = read_folder(tmp_path, metric("probability"))
    assert (task.kind, task.channels) == ("binary", 2)
    assert parts_of(task.train_files[1])[0][0] == (str(tmp_path / "train.json"), "1", "band_1")
    assert task.metadata is not None
    assert task.metadata.names == ("angle",)


def document(number, label, pictures):
    def sized(body):
        return struct.pack("<i", len(body) + 5) + body + b"\0"

    held = b"".join(
        b"\x03%d\0" % i + sized(b"\x05picture\0" + struct.pack("<i", len(p)) + b"\0" + p)
        for i, p in enumerate(pictures)
    )
    category = b"\x10category_id\0" + struct.pack("<i", label) if label is not None else b""
    return sized(b"\x10_id\0" + struct.pack("<i", number) + category + b"\x04imgs\0" + sized(held))


def test_bson_documents_hold_several_pictures(tmp_path):
    train = [document(i, i % 3, [b"x" * 100] * (1 + i % 2)) for i in range(12)]
    (tmp_path / "train.bson").write_bytes(b"".join(train))
    (tmp_path / "test.bson").write_bytes(b"".join(document(100 + i, None, [b"x" * 100]) for i in range(4)))
    table(tmp_path / "sample_submission.csv", ("_id", "category_id"), *((100 + i, 0) for i in range(4)))
    task = read_folder(tmp_path, metric("label"))
    assert task.classes == ("0", "1", "2")
    assert [p[0][1:] for p in parts_of(task.train_files[1])] == [(str(len(train[0])), k) for k in "01"]


def test_annotations_in_json_name_files_by_path(tmp_path):
    images = [{"id": i, "file_name": f"x/{i:03d}.jpg"} for i in range(12)]
    annotations = [{"id": 50 + i, "image_id": i, "category_id": 7 + i % 2} for i in range(12)]
    for split, names in (("train", images), ("test", images[:4])):
        for image in names:
            picture(tmp_path / split / image["file_name"])
    (tmp_path / "train.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    (tmp_path / "test.json").write_text(json.dumps({"images": images[:4]}))
    table(tmp_path / "sample.csv", ("Id", "Predicted"), *((i, 7) for i in range(4)))
    task = read_folder(tmp_path, metric("label"))
    assert task.classes == ("7", "8")
    assert all("/test/x/" in f for f in task.test_files)


def test_a_folder_of_slices_is_an_item_and_its_subfolders_are_channels(tmp_path):
    root = competition(tmp_path / "c", name=lambda split, i: f"{'01'[split == 'b']}00{i:02d}")
    for split in ("train", "test"):
        for file in list((root / split).iterdir()):
            file.unlink()
            for kind in ("T1", "T2"):
                (root / split / file.stem / kind).mkdir(parents=True)
                for k in range(20):
                    (root / split / file.stem / kind / f"Image-{k}.dcm").touch()
    task = read_folder(root, metric("label"))
    assert task.channels == 2
    assert len(parts_of(task.train_files[0])) == 16
    assert task.train_ids[0] == "00000"


def test_arrays_of_channels_are_opened_up(tmp_path):
    root = competition(tmp_path / "c")
    for split in ("train", "test"):
        for file in list((root / split).iterdir()):
            np.save(file.with_suffix(".npy"), np.zeros((6, 9, 8)))
            file.unlink()
    task = read_folder(root, metric("label"))
    assert (task.channels, len(parts_of(task.test_files[0])[0])) == (6, 6)


def test_versions_of_a_picture_in_class_folders_are_one_group(tmp_path):
    for i in range(6):
        for kind in ("Cover", "A", "B"):
            picture(tmp_path / kind / f"{i:05d}.jpg")
        picture(tmp_path / "Test" / f"{i + 10:05d}.jpg")
    table(tmp_path / "sample_submission.csv", ("Id", "Label"), *((f"{i + 10:05d}.jpg", 0) for i in range(6)))
    task = read_folder(tmp_path, metric("probability"))
    assert task.kind == "binary"
    assert task.groups is not None
    assert len(set(task.groups)) == 6


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def below(files, folder):
    """The files of a folder by their names in it."""
    return {name.split("/", 1)[1]: data for name, data in files.items() if name.startswith(f"{folder}/")}


def zips_in_a_zip(files):
    inner = {f"{split}.zip": zipped(below(files, split)) for split in ("train", "test")}
    inner["train.csv.zip"] = zipped({"train.csv": files["train.csv"]})
    return {"all.zip": zipped({**inner, "sample_submission.csv": files["sample_submission.csv"]})}


def tar_of_all(files):
    return {"data.tar.gz": tarred({f"data/{name}": data for name, data in files.items()})}


def packed_tables(files):
    packed = {name: data for name, data in files.items() if "/" in name}
    packed["train.csv.zip"] = zipped({"train.csv": files["train.csv"]})
    packed["sample_submission.csv.gz"] = gzip.compress(files["sample_submission.csv"])
    return packed


def tars_in_a_zip(files):
    inner = {f"{split}.tar.gz": tarred(below(files, split)) for split in ("train", "test")}
    tables = {name: gzip.compress(data) for name, data in files.items() if "/" not in name}
    return {"all.zip": zipped({**inner, **{f"{name}.gz": data for name, data in tables.items()}})}


@pytest.mark.parametrize("pack", [zips_in_a_zip, tar_of_all, packed_tables, tars_in_a_zip])
def test_a_packed_competition_is_read_like_the_unpacked_one(tmp_path, pack):
    plain = competition(tmp_path / "plain")
    files = {f.relative_to(plain).as_posix(): f.read_bytes() for f in sorted(plain.rglob("*")) if f.is_file()}
    for name, data in pack(files).items():
        (tmp_path / "packed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "packed" / name).write_bytes(data)
    seen = []
    for root in (plain, tmp_path / "packed"):
        before = sorted(root.rglob("*"))
        task = read_folder(root, metric("label"))
        pixels = build_pixels(
            [*task.train_files, *task.test_files], Decoding(8, "squash"), tmp_path / f"cache-{root.name}"
        )
        assert not pixels.bad.any()
        assert sorted(root.rglob("*")) == before
        seen.append((task.train_ids, task.test_ids, task.classes, task.target.tolist(), pixels.array.tobytes()))
    assert seen[0] == seen[1]


def test_a_packed_table_that_ends_early_is_said_and_left(tmp_path):
    root = competition(tmp_path)
    (root / "more.csv.gz").write_bytes(gzip.compress((root / "train.csv").read_bytes())[:-12])
    task = read_folder(root, metric("label"))
    assert len(task.train_ids) == 12
    assert any("more.csv.gz could not be opened" in note.text for note in task.notes)


def test_pixels_in_the_cells_of_a_packed_table_are_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (20, 64))
    rows = ((i % 2, " ".join(map(str, values[i])), "Training" if i < 14 else "PublicTest") for i in range(20))
    data = table(tmp_path / "made" / "fer2013.csv", ("emotion", "pixels", "Usage"), *rows).read_bytes()
    for name, packed in (("a.tar.gz", tarred({"fer2013/fer2013.csv": data})), ("fer2013.csv.gz", gzip.compress(data))):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(packed)
        task = read_folder(tmp_path / name, metric("label"))
        pixels = build_pixels([*task.train_files, *task.test_files], Decoding(8, "squash"), tmp_path / f"cache-{name}")
        assert np.array_equal(pixels.array[..., 0].reshape(20, 64), values)
