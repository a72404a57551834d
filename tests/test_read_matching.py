"""Which picture an id means: one table of folders and ids as people have them, and of those that must be refused."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from folders import metric, picture, table

from autoclimb.data.files.table import Table
from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.matching import Located, locate
from autoclimb.data.read.picture_columns import id_column
from autoclimb.data.read.survey import Survey
from autoclimb.errors import Mistake

ACCENTED, DECOMPOSED = "Jäger", "Ja\u0308ger"


@dataclass(frozen=True)
class Ids:
    """Ids that mean these pictures, "" for none, among `more` pictures; `columns` stand beside them in the table."""

    ids: list[str]
    pictures: list[str]
    more: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)


def located(case: Ids, split: int = 1) -> Located:
    paths = sorted({*filter(None, case.pictures), *case.more})
    survey = Survey(Path("/data"), tuple(paths), tuple(f"/data/{p}" for p in paths), (), Counter(), ())
    rows = Table("train.csv", {"id": case.ids, **case.columns})
    return locate(case.ids, rows, "id", survey, split)


def counted(form: str, n: int = 12, start: int = 0) -> list[str]:
    return [form.format(i) for i in range(start, start + n)]


MEANT = {
    "file names": Ids(counted("a{}.jpg"), counted("train/a{}.jpg")),
    "names without endings": Ids(counted("a{}"), counted("train/a{}.jpg")),
    "other endings": Ids(counted("a{}.jpg"), counted("train/a{}.png")),
    "endings in other case": Ids(counted("a{}.JPG"), counted("train/a{}.jpg")),
    "names with dots": Ids(counted("1.3.6.{}"), counted("train/1.3.6.{}.jpg")),
    "other case": Ids(counted("A{}"), counted("train/a{}.jpg")),
    "case alone tells them apart": Ids(
        [*counted("A_{}.png"), *counted("a_{}.png")], [*counted("t/A_{}.png"), *counted("t/a_{}.png")]
    ),
    "an id whose case is another's": Ids([*counted("A_{}.png"), "a_3.png"], [*counted("t/A_{}.png"), ""]),
    "paths below the folder": Ids(
        ["s1/0.jpg", "s2/0.jpg", "s1/1.jpg"], ["images/s1/0.jpg", "images/s2/0.jpg", "images/s1/1.jpg"]
    ),
    "paths of another machine": Ids(
        counted("/home/ann/x/images/s1/{}.jpg"), counted("images/s1/{}.jpg"), counted("images/s2/{}.jpg")
    ),
    "paths upwards": Ids(counted("../../x/s2/{}.jpg"), counted("s2/{}.jpg"), counted("s1/{}.jpg")),
    "paths of windows": Ids(counted("C:\\x\\s2\\{}.jpg"), counted("s2/{}.jpg"), counted("s1/{}.jpg")),
    "paths in other case": Ids(counted("Images/S2/{}.jpg"), counted("images/s2/{}.jpg"), counted("images/s1/{}.jpg")),
    "web addresses": Ids(
        counted("https://h.org/b/s2/a%20{}.jpg?sig=x/y"), counted("s2/a {}.jpg"), counted("s1/a {}.jpg")
    ),
    "buckets": Ids(counted("gs://bucket/s2/{}.png"), counted("s2/{}.png"), counted("s1/{}.png")),
    "the given folder's own name": Ids(counted("data/s2/{}.jpg"), counted("s2/{}.jpg"), counted("s1/{}.jpg")),
    "zeros before": Ids(counted("{}"), counted("train/{:05d}.jpg")),
    "zeros before ids": Ids(counted("{:05d}"), counted("train/{}.jpg")),
    "zeros and endings": Ids(counted("{}.jpg"), counted("train/{:04d}.jpg")),
    "numbers of a spreadsheet": Ids(counted("{}.0"), counted("train/{}.jpg")),
    "numbers of a spreadsheet and zeros": Ids(counted("{}.0"), counted("train/{:06d}.jpg")),
    "large numbers of a spreadsheet": Ids(counted("1234567{:02d}.0"), counted("train/1234567{:02d}.jpg")),
    "words before the number": Ids(counted("{}"), counted("train/img_{:04d}.jpg")),
    "words behind the number": Ids(counted("{}"), counted("train/{:04d}_rgb.jpg")),
    "words before the id": Ids(counted("id-{}"), counted("train/{:04d}.jpg")),
    "words around names": Ids(
        [f"{w}{i}" for i, w in enumerate(("ash", "elm", "oak", "fir"))],
        [f"train/photo-{w}{i}-final.jpg" for i, w in enumerate(("ash", "elm", "oak", "fir"))],
    ),
    "accents composed otherwise": Ids(counted(ACCENTED + "{}.jpg"), counted(f"train/{DECOMPOSED}{{}}.jpg")),
    "hashes of an upload": Ids(
        [f"tree {i}.jpg" for i in range(12)], [f"train/{i * 7919 + 268435456:08x}-tree {i}.jpg" for i in range(12)]
    ),
    "hashes of an upload in the table": Ids(
        [f"/data/upload/3/{i * 7919 + 268435456:08x}-oak{i}x.jpg" for i in range(12)], counted("train/oak{}x.jpg")
    ),
    "hashes of an export": Ids(counted("oak{}x.jpg"), [f"train/oak{i}x_jpg.rf.{i * 7919:032x}.jpg" for i in range(12)]),
    "spaces and underscores": Ids(counted("great oak {}x.jpg"), counted("train/great_oak_{}x.jpg")),
    "folder and name joined": Ids(
        [f"{s}_{i}" for s in ("s1", "s2") for i in range(6)], [f"{s}/{i}.jpg" for s in ("s1", "s2") for i in range(6)]
    ),
    "folder and name joined by another sign": Ids(
        [f"{s}-{i}" for s in ("s1", "s2") for i in range(6)], [f"x/{s}/{i}.jpg" for s in ("s1", "s2") for i in range(6)]
    ),
    "the split's own folder": Ids(counted("{}.jpg"), counted("train/{}.jpg"), counted("test/{}.jpg")),
    "masks beside": Ids(counted("a{}"), counted("images/a{}.png"), counted("masks/a{}.png")),
    "plainer forms beside": Ids(counted("a{}"), counted("images/a{}.png"), counted("raw/a{}.tif")),
    "a column of folders": Ids(
        ["0.jpg", "1.jpg", "0.jpg"], ["s1/0.jpg", "s1/1.jpg", "s2/0.jpg"], columns={"site": ["s1", "s1", "s2"]}
    ),
    "a column of the folder's number": Ids(
        ["0.jpg", "1.jpg", "0.jpg"], ["site_01/0.jpg", "site_01/1.jpg", "site_02/0.jpg"], columns={"s": ["1", "1", "2"]}
    ),
    "two columns of folders": Ids(
        ["0.jpg"] * 4,
        ["s1/may/0.jpg", "s1/june/0.jpg", "s2/may/0.jpg", "s2/june/0.jpg"],
        columns={"site": ["s1", "s1", "s2", "s2"], "month": ["May", "June", "May", "June"]},
    ),
    "a file column beside numbers": Ids(
        counted("{}"), counted("x/{}.jpg", 12)[::-1], columns={"file": counted("{}.jpg", 12)[::-1]}
    ),
    "masks in a column": Ids(
        counted("a{}"), counted("i/a{}.png"), counted("masks/m{}.png"), {"mask": counted("masks/m{}.png")}
    ),
    "folders of slices by number": Ids(["1", "2", "3"], ["p/001/a.jpg", "p/002/a.jpg", "p/003/a.jpg"]),
}


@pytest.mark.parametrize("name", MEANT)
def test_ids_mean_the_pictures_that_people_mean(name):
    case = MEANT[name]
    matched = located(case)
    assert [f.removeprefix("/data/") for f in matched.files] == case.pictures
    assert not matched.doubt


NOT_MEANT = {
    "other letters": Ids(counted("a_{}"), [""] * 12, counted("train/b_{}.jpg")),
    "other numbers": Ids(counted("{}"), [""] * 12, counted("train/{:03d}.jpg", start=50)),
}


@pytest.mark.parametrize("name", NOT_MEANT)
def test_ids_that_name_no_picture_get_none(name):
    assert located(NOT_MEANT[name]).files == NOT_MEANT[name].pictures


DOUBTS = {
    "numbers in several folders": (Ids(counted("{}.jpg"), [], [*counted("s1/{}.jpg"), *counted("s2/{}.jpg")]), "s1/0"),
    "a row a folder, but none says which": (
        Ids(["a.jpg", "b.jpg"] * 2, [], ["s1/a.jpg", "s2/a.jpg", "s1/b.jpg", "s2/b.jpg"]),
        "s1/a.jpg, s2/a.jpg",
    ),
    "counted from 0 and from 1": (Ids(counted("{}"), [], counted("train/{}.jpg", start=1)), "count from 0 .* from 1"),
    "counted from 1 and from 0": (Ids(counted("{}", start=1), [], counted("train/{}.jpg")), "count from 1 .* from 0"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_nothing_tells_apart_is_a_doubt(name):
    case, words = DOUBTS[name]
    matched = located(case)
    assert matched.doubt
    assert re.search(words, matched.doubt)


def test_copies_in_another_folder_are_no_doubt(tmp_path):
    for i in range(6):
        for folder in ("a", "b"):
            picture(tmp_path / folder / f"{i}.jpg", seed=i)
    table(tmp_path / "train.csv", ("file", "label"), *((f"{i}.jpg", "xy"[i % 2]) for i in range(6)))
    task = read_folder(tmp_path, metric("label"))
    assert [Path(f).parent.name for f in task.train_files] == ["a"] * 6
    assert [n.sure for n in task.notes if n.kind == "match"] == ["sure"]


def test_sizes_of_named_pictures_are_a_guess_and_a_note(tmp_path):
    for i in range(6):
        for folder, size in (("large", 16), ("small", 8)):
            picture(tmp_path / folder / f"oak{i}x.jpg", (size, size), seed=i)
    table(tmp_path / "train.csv", ("file", "label"), *((f"oak{i}x.jpg", "xy"[i % 2]) for i in range(6)))
    notes = [n for n in read_folder(tmp_path, metric("label")).notes if n.kind == "match"]
    assert [n.sure for n in notes] == ["guessed"]
    assert "large, small" in notes[0].text


def test_pictures_that_folder_and_name_tell_apart_keep_a_row_each(tmp_path):
    rows = [(f"s{k}", f"{i}.jpg", "xy"[(i + k) % 2]) for k in (1, 2) for i in range(6)]
    for k, (folder, name, _) in enumerate(rows):
        picture(tmp_path / folder / name, seed=k)
    table(tmp_path / "train.csv", ("site", "name", "label"), *rows)
    task = read_folder(tmp_path, metric("label"))
    assert len(task.train_ids) == len(set(task.train_files)) == 12
    assert task.train_ids[0] == "s1/0.jpg"


def test_rows_that_share_a_picture_and_differ_in_their_labels_are_refused(tmp_path):
    for i in range(6):
        picture(tmp_path / f"{i}.jpg", seed=i)
    rows = [(f"cam{k}/{i}.jpg", "xy"[k]) for i in range(6) for k in (0, 1)]
    table(tmp_path / "train.csv", ("path", "label"), *rows)
    with pytest.raises(Mistake, match=r"12 rows share 6 pictures .*cam0/0.jpg.*--id"):
        read_folder(tmp_path, metric("label"))


def test_rows_that_share_a_picture_and_agree_are_a_note(tmp_path):
    for i in range(6):
        picture(tmp_path / f"{i}.jpg", seed=i)
    rows = [(f"cam{k}/{i}.jpg", "xy"[i % 2]) for i in range(6) for k in (0, 1)]
    table(tmp_path / "train.csv", ("path", "label"), *rows)
    notes = [n for n in read_folder(tmp_path, metric("label")).notes if "share" in n.text]
    assert [n.sure for n in notes] == ["guessed"]


def test_a_number_of_the_row_is_no_id_where_names_are_there():
    paths = counted("{}.jpg")
    survey = Survey(Path("/d"), tuple(paths), tuple(paths), (), Counter(), ())
    rows = Table("t.csv", {"index": counted("{}"), "image": paths[::-1], "label": ["x", "y"] * 6})
    assert id_column(rows, survey) == ("image", 1.0)
    rows = Table("t.csv", {"index": counted("{}"), "image": counted("{}")[::-1], "label": ["x", "y"] * 6})
    assert id_column(rows, survey)[0] == "image"


def test_pictures_that_another_table_names_in_files_beat_numbers(tmp_path):
    for i in range(12):
        picture(tmp_path / "images" / f"{i}.jpg", seed=i)
    table(tmp_path / "files.csv", ("id", "file"), *((i, f"{11 - i}.jpg") for i in range(12)))
    table(tmp_path / "train.csv", ("id", "label"), *((i, "xy"[i % 2]) for i in range(12)))
    task = read_folder(tmp_path, metric("label"))
    assert [Path(f).stem for f in task.train_files] == [str(11 - i) for i in range(12)]
