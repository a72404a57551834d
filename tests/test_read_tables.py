"""Tables that belong together, and which rows are test: joined by what they share, split by what columns say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from folders import metric, picture, table

from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake

KINDS = ("low", "mid", "high")


def shots(root: Path, *names: str) -> None:
    for k, name in enumerate(names):
        picture(root / name, seed=k)


def labels_by(root: Path, key: Callable[[int], object], other: Callable[[int], object], header: str = "uid") -> Path:
    """Labels by one text of a key, files by another, in tables of their own; the files' names say nothing."""
    files = [f"images/{(i * 7919 + 13) % 1000:03d}x.jpg" for i in range(16)]
    shots(root, *files)
    table(root / "train_labels.csv", ("uid", "level"), *((key(i), KINDS[i % 3]) for i in range(12)))
    table(root / "metadata.csv", (header, "file", "age"), *((other(i), files[i], 20 + i * 7 % 9) for i in range(16)))
    table(root / "sample_submission.csv", ("uid", "level"), *((key(i), "low") for i in range(12, 16)))
    return root


JOINS = {
    "the same text": (str, str, "uid"),
    "another header": (lambda i: f"u{i}", lambda i: f"u{i}", "case_no"),
    "floats": (str, lambda i: f"{i}.0", "uid"),
    "zeros": (str, lambda i: f"{i:04d}", "uid"),
    "other case": (lambda i: f"U{i}", lambda i: f"u{i}", "UID"),
}


@pytest.mark.parametrize("name", JOINS)
def test_labels_find_their_pictures_through_another_table(name, tmp_path):
    key, other, header = JOINS[name]
    root = labels_by(tmp_path, key, other, header)
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (12, 4)
    assert [Path(f).stem for f in task.train_files] == [f"{(i * 7919 + 13) % 1000:03d}x" for i in range(12)]
    assert [Path(f).stem for f in task.test_files] == [f"{(i * 7919 + 13) % 1000:03d}x" for i in range(12, 16)]


def test_two_columns_together_may_join_tables(tmp_path):
    shots(tmp_path, *(f"i/{i * 37 % 100}x.jpg" for i in range(12)))
    rows = [(f"p{i // 3}", i % 3) for i in range(12)]
    table(tmp_path / "labels.csv", ("patient", "visit", "ill"), *((*r, i % 2) for i, r in enumerate(rows)))
    table(
        tmp_path / "files.csv",
        ("patient", "visit", "file"),
        *((*r, f"{i * 37 % 100}x.jpg") for i, r in enumerate(rows)),
    )
    task = read_folder(tmp_path, metric("label"))
    assert [Path(f).stem for f in task.train_files] == [f"{i * 37 % 100}x" for i in range(12)]
    assert task.target.tolist() == [i % 2 for i in range(12)]


def test_a_split_in_another_table_keeps_test_rows_out_of_training(tmp_path):
    shots(tmp_path, *(f"i/{i}x.jpg" for i in range(16)))
    table(tmp_path / "labels.csv", ("uid", "level"), *((f"u{i}", KINDS[i % 3]) for i in range(16)))
    rows = ((f"u{i}", f"{i}x.jpg", "train" if i < 12 else "test") for i in range(16))
    table(tmp_path / "metadata.csv", ("uid", "file", "split"), *rows)
    task = read_folder(tmp_path, metric("label"))
    assert (len(task.train_ids), task.test_ids) == (12, ("u12", "u13", "u14", "u15"))


def test_labels_by_patient_are_those_of_each_picture_where_pictures_are_asked_for(tmp_path):
    shots(tmp_path, *(f"i/s{i:02d}.jpg" for i in range(24)))
    table(tmp_path / "images.csv", ("file", "patient"), *((f"s{i:02d}.jpg", f"P{i // 3}") for i in range(24)))
    table(tmp_path / "labels.csv", ("patient", "ill"), *((f"P{k}", k % 2) for k in range(6)))
    table(tmp_path / "sample_submission.csv", ("file", "ill"), *((f"s{i:02d}.jpg", 0.5) for i in range(18, 24)))
    task = read_folder(tmp_path, metric("probability"))
    assert (len(task.train_ids), len(task.test_ids)) == (18, 6)
    assert task.target.tolist() == [i // 3 % 2 for i in range(18)]
    assert task.groups is not None
    assert len(set(task.groups.tolist())) == 6


@pytest.mark.parametrize("asked", [True, False])
def test_labels_by_sequence_are_those_of_all_its_pictures(asked, tmp_path):
    shots(tmp_path, *(f"i/{s}_{k}x.jpg" for s in range(12) for k in range(3)))
    rows = ((f"s{s}", k, f"{s}_{k}x.jpg") for s in range(12) for k in range(3))
    table(tmp_path / "sequences.csv", ("seq", "frame", "file"), *rows)
    table(tmp_path / "outcome.csv", ("seq", "level"), *((f"s{s}", KINDS[s % 3]) for s in range(9)))
    if asked:
        table(tmp_path / "sample_submission.csv", ("seq", "level"), *((f"s{s}", "low") for s in range(9, 12)))
    task = read_folder(tmp_path, metric("label"))
    assert (task.train_ids[:2], task.test_ids) == (("s0", "s1"), ("s9", "s10", "s11"))
    assert set(task.classes) == set(KINDS)
    assert {len(f.split("\x1d")) for f in (*task.train_files, *task.test_files)} == {3}


def test_an_item_of_several_rows_has_all_their_pictures(tmp_path):
    shots(tmp_path, *(f"i/s{i:02d}.jpg" for i in range(24)))
    rows = [(f"P{i // 3}", f"s{i:02d}.jpg", i // 3 % 2) for i in range(24)]
    table(tmp_path / "train.csv", ("patient", "file", "ill"), *rows[:18])
    table(tmp_path / "test.csv", ("patient", "file"), *(row[:2] for row in rows[18:]))
    table(tmp_path / "sample_submission.csv", ("patient", "ill"), ("P6", 0.5), ("P7", 0.5))
    task = read_folder(tmp_path, metric("probability"))
    assert task.train_ids == tuple(f"P{k}" for k in range(6))
    assert [f.count("s") for f in (Path(p).name for p in task.train_files[0].split("\x1d"))] == [1, 1, 1]
    assert [len(f.split("\x1d")) for f in task.test_files] == [3, 3]


def one_table(root: Path, header: tuple[str, ...], row: Callable[[int], tuple], n: int = 16) -> Path:
    shots(root, *(f"i/a{i:02d}.jpg" for i in range(n)))
    table(root / "data.csv", header, *((f"a{i:02d}.jpg", *row(i)) for i in range(n)))
    return root


SPLITS = {
    "blank labels": (("label",), lambda i: (KINDS[i % 3] if i < 12 else "",)),
    "blank labels anywhere": (("label",), lambda i: (KINDS[i % 3] if i % 4 else "",)),
    "question marks at the end": (("label",), lambda i: (KINDS[i % 3] if i < 12 else "?",)),
    "NA at the end": (("label",), lambda i: (KINDS[i % 3] if i < 12 else "NA",)),
    "is_test": (("label", "is_test"), lambda i: (KINDS[i % 3], int(i >= 12))),
    "is_test in words": (("label", "isTest"), lambda i: (KINDS[i % 3], i >= 12)),
    "is_train": (("label", "is_training_image"), lambda i: (KINDS[i % 3], int(i < 12))),
    "a column called test": (("label", "test"), lambda i: (KINDS[i % 3], "yes" if i >= 12 else "no")),
    "split": (("label", "split"), lambda i: (KINDS[i % 3], "train" if i < 12 else "test")),
    "Usage": (("label", "Usage"), lambda i: (KINDS[i % 3], "Training" if i < 12 else "PrivateTest")),
}


@pytest.mark.parametrize("name", SPLITS)
def test_rows_that_are_test_are_told_by_a_column_or_by_what_they_lack(name, tmp_path):
    columns, row = SPLITS[name]
    task = read_folder(one_table(tmp_path, ("image", *columns), row), metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (12, 4)
    assert not set(task.train_ids) & set(task.test_ids)
    assert set(task.classes) == set(KINDS)
    assert task.metadata is None


def test_codes_of_splits_are_train_validation_and_test(tmp_path):
    root = one_table(tmp_path, ("image", "label", "partition"), lambda i: (KINDS[i % 3], (0, 0, 1, 2)[i // 4]))
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (12, 4)


def test_a_class_called_train_is_a_label_among_labels(tmp_path):
    row = lambda i: tuple(int(k == i % 3) for k in range(3))  # noqa: E731
    task = read_folder(one_table(tmp_path, ("image", "bus", "train", "tram"), row), metric("label"))
    assert set(task.classes) == {"bus", "train", "tram"}
    assert len(task.train_ids) == 16


def test_unlabelled_rows_are_left_out_where_a_test_folder_is_there(tmp_path):
    root = one_table(tmp_path, ("image", "label"), lambda i: (KINDS[i % 3] if i < 12 else "",))
    (root / "i").rename(root / "train")
    shots(root, *(f"test/t{i}.jpg" for i in range(5)))
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (12, 5)


@pytest.mark.parametrize("start", [0, 1])
def test_test_ids_may_count_anew(start, tmp_path):
    shots(tmp_path, *(f"train/{i}.jpg" for i in range(start, 12)), *(f"test/{i}.jpg" for i in range(start, 5)))
    table(tmp_path / "train.csv", ("id", "label"), *((i, KINDS[i % 3]) for i in range(start, 12)))
    table(tmp_path / "test.csv", ("id",), *((i,) for i in range(start, 5)))
    task = read_folder(tmp_path, metric("label"))
    assert task.test_ids == tuple(map(str, range(start, 5)))
    assert {Path(f).parent.name for f in task.test_files} == {"test"}


def class_folders(root: Path, *names: str) -> Path:
    shots(root, *(f"train/{name}/{name}_{i}.jpg" for name in names for i in range(4)))
    shots(root, *(f"test/t{i}.jpg" for i in range(4)))
    return root


CLASS_TABLES = {
    "names of codes": (("0", "1", "2"), ("ClassId", "Name"), [("0", "Speed limit"), ("1", "Horn"), ("2", "Go right")]),
    "families": (("ant", "bee", "moth"), ("species", "order"), [("ant", "hym"), ("bee", "hym"), ("moth", "lep")]),
    "synsets": (("n01", "n02", "n03"), ("id", "words"), [("n01", "a cat"), ("n02", "a dog"), ("n03", "a cow")]),
}


@pytest.mark.parametrize("name", CLASS_TABLES)
def test_a_table_of_classes_is_no_table_of_items(name, tmp_path):
    names, header, rows = CLASS_TABLES[name]
    root = class_folders(tmp_path, *names)
    table(root / "classes.csv", header, *rows)
    task = read_folder(root, metric("label"))
    assert (task.classes, len(task.train_ids), len(task.test_ids)) == (names, 12, 4)


def test_folders_of_an_items_pictures_are_items(tmp_path):
    shots(tmp_path, *(f"train/{i:03d}/{k}.jpg" for i in range(12) for k in range(3)))
    shots(tmp_path, *(f"test/{i:03d}/{k}.jpg" for i in range(12, 15) for k in range(3)))
    table(tmp_path / "train.csv", ("id", "ill"), *((f"{i:03d}", i % 2) for i in range(12)))
    task = read_folder(tmp_path, metric("label"))
    assert (task.classes, len(task.train_ids)) == (("0", "1"), 12)


def test_a_table_of_a_sample_of_pictures_is_no_sample_submission(tmp_path):
    shots(tmp_path, *(f"sample/images/{i:03d}.png" for i in range(12)))
    rows = ((f"{i:03d}.png", KINDS[i % 3], i % 5) for i in range(12))
    table(tmp_path / "sample_labels.csv", ("Image Index", "Finding", "Follow-up"), *rows)
    task = read_folder(tmp_path, metric("label"), target="Finding")
    assert (len(task.train_ids), task.form.columns[0]) == (12, "Image Index")


def test_a_refusal_does_not_ask_for_what_was_given(tmp_path):
    shots(tmp_path, *(f"i/a{i}.jpg" for i in range(12)))
    table(tmp_path / "train.csv", ("id", "label"), *((f"z{i}", "xy"[i % 2]) for i in range(12)))
    with pytest.raises(Mistake) as refusal:
        read_folder(tmp_path, metric("label"), id_column="id", target="label")
    assert "--id" not in str(refusal.value).replace("named by --id", "")
    assert "--target" not in str(refusal.value)


def test_more_tables_of_other_items_are_learned_from_too(tmp_path):
    shots(tmp_path, *(f"i/a{i:02d}.jpg" for i in range(16)))
    for part, rows in (("1", range(10)), ("2", range(10, 16))):
        table(tmp_path / f"labels_{part}.csv", ("image", "label"), *((f"a{i:02d}.jpg", KINDS[i % 3]) for i in rows))
    task = read_folder(tmp_path, metric("label"))
    assert len(set(task.train_ids)) == len(set(task.train_files)) == 16


@pytest.mark.parametrize("place", ["{}.csv", "{}/labels.csv"])
def test_a_table_a_folder_names_the_pictures_of_its_own(place, tmp_path):
    shots(tmp_path, *(f"{c}/{i}.jpg" for c in ("oslo", "rome") for i in range(6)))
    for k, c in enumerate(("oslo", "rome")):
        table(tmp_path / place.format(c), ("image", "label"), *((f"{i}.jpg", "xy"[(i + k) % 2]) for i in range(6)))
    task = read_folder(tmp_path, metric("label"))
    assert len(set(task.train_files)) == 12
    for file, label in zip(task.train_files, task.target, strict=True):
        assert task.classes[label] == "xy"[(int(Path(file).stem) + (Path(file).parent.name == "rome")) % 2]


def test_ids_that_count_from_another_number_than_pictures_are_refused_with_test_ids_too(tmp_path):
    shots(tmp_path, *(f"i/{i}.jpg" for i in range(1, 17)))
    table(tmp_path / "train.csv", ("id", "label"), *((i, KINDS[i % 3]) for i in range(12)))
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((i, "low") for i in range(12, 16)))
    with pytest.raises(Mistake, match="count from 0 and pictures from 1"):
        read_folder(tmp_path, metric("label"))


def test_asked_ids_without_pictures_are_not_likened_to_train_pictures(tmp_path):
    shots(tmp_path, *(f"data/{c}/{i}.jpg" for c in ("ill", "well") for i in range(6)))
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((f"t{i}.jpg", "ill") for i in range(4)))
    with pytest.raises(Mistake, match=r"4 of 4 ids of sample_submission\.csv name no picture"):
        read_folder(tmp_path, metric("label"))


def test_pictures_of_items_of_several_are_no_test_items(tmp_path):
    shots(tmp_path, *(f"{i:03d}/{s}/{k}.jpg" for i in range(12) for s in "ab" for k in range(2)))
    table(tmp_path / "labels.csv", ("case", "ill"), *((f"{i:03d}", i % 2) for i in range(12)))
    assert not read_folder(tmp_path, metric("label")).test_ids


def test_a_list_of_test_items_keeps_them_out_of_the_labelled(tmp_path):
    root = one_table(tmp_path, ("image", "label"), lambda i: (KINDS[i % 3],))
    (root / "test.txt").write_text("".join(f"a{i:02d}.jpg\n" for i in range(12, 16)))
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (12, 4)
    assert not set(task.train_files) & set(task.test_files)


def test_copies_beside_labelled_pictures_are_no_test_items(tmp_path):
    root = one_table(tmp_path, ("image", "label"), lambda i: (KINDS[i % 3],))
    shots(root, "i/a01 - Copy.jpg", "i/a02 (1).jpg", "i/thumbs/a03.jpg")
    assert not read_folder(root, metric("label")).test_ids


def test_another_column_of_numbers_that_names_pictures_too_is_a_note(tmp_path):
    shots(tmp_path, *(f"{i}.jpg" for i in range(24)))
    rows = ((i, 23 - i, KINDS[i % 3]) for i in range(12))
    table(tmp_path / "train.csv", ("id", "image_no", "label"), *rows)
    task = read_folder(tmp_path, metric("label"))
    assert Path(task.train_files[0]).name == "23.jpg"
    assert [n.sure for n in task.notes if "'id' would name pictures too" in n.text] == ["guessed"]


def test_labels_do_not_come_from_folders_while_a_table_of_labels_names_nothing(tmp_path):
    shots(tmp_path, *(f"{site}/x{i}.jpg" for site in ("oslo", "rome") for i in range(6)))
    table(tmp_path / "train.csv", ("code", "label"), *((f"q{i * 7}", KINDS[i % 3]) for i in range(12)))
    with pytest.raises(Mistake, match="labels in 'label' but names no picture"):
        read_folder(tmp_path, metric("label"))
