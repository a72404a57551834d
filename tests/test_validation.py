"""Validation rows are learned from; of several rows an id the label that most have counts."""

import pytest
from folders import competition, metric, picture, table

from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.parts import names_parts, part_of


def with_validation_table(root, name="val.csv", folder="val"):
    competition(root)
    for i in range(6):
        picture(root / folder / f"v_{i}.jpg", seed=100 + i)
    table(root / name, ("id", "label"), *((f"v_{i}", ("cat", "dog")[i % 2]) for i in range(6)))
    return root


@pytest.mark.parametrize(
    ("name", "folder"), [("val.csv", "val"), ("labels/valid.csv", "valid"), ("dev_set.csv", "dev")]
)
def test_rows_of_a_validation_table_are_train_rows(tmp_path, name, folder):
    task = read_folder(with_validation_table(tmp_path, name, folder), metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (18, 4)
    assert task.train_ids[12:14] == ("v_0", "v_1")
    assert [task.classes[i] for i in task.target[12:14]] == ["cat", "dog"]
    assert all(folder in file for file in task.train_files[12:])
    assert any(f"6 rows of {name}" in note.text for note in task.notes)


def test_a_validation_table_that_test_asks_for_is_not_learned_from(tmp_path):
    root = with_validation_table(tmp_path)
    table(root / "sample_submission.csv", ("id", "label"), *((f"v_{i}", "cat") for i in range(6)))
    task = read_folder(root, metric("label"))
    assert len(task.train_ids) == 12
    assert task.test_ids == tuple(f"v_{i}" for i in range(6))


def test_a_table_of_train_ids_is_no_second_set_of_rows(tmp_path):
    root = with_validation_table(tmp_path)
    table(root / "val.csv", ("id", "label"), *((f"a_{i:03d}", "cat") for i in range(6)))
    assert len(read_folder(root, metric("label")).train_ids) == 12


def test_class_folders_of_validation_pictures_are_train_pictures(tmp_path):
    for i in range(12):
        picture(tmp_path / "train" / "ab"[i % 2] / f"{i}.jpg", seed=i)
    for i in range(4):
        picture(tmp_path / "valid" / "ab"[i % 2] / f"v{i}.jpg", seed=20 + i)
        picture(tmp_path / "test" / f"t{i}.jpg", seed=30 + i)
    task = read_folder(tmp_path, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (16, 4)
    assert sorted(task.target[12:].tolist()) == [0, 0, 1, 1]
    assert any("4 pictures more" in note.text for note in task.notes if note.kind == "split")


def test_the_label_that_most_rows_of_an_id_have_counts(tmp_path):
    root = competition(tmp_path, train=12)
    rows = [(f"a_{i:03d}", ("cat", "dog")[i % 2]) for i in range(12)]
    more = [("a_000", "dog"), ("a_000", "dog"), ("a_001", ""), ("a_002", "dog")]
    table(root / "train.csv", ("id", "label"), *rows, *more)
    task = read_folder(root, metric("label", "multiclass", "binary"))
    assert [task.classes[i] for i in task.target[:3]] == ["dog", "dog", "cat"]
    assert any("4 train rows repeat" in note.text and "2 ids have" in note.text for note in task.notes)


def tables_of(root, **rows):
    """A table and a folder of pictures for each name, with so many rows, all with a label."""
    for name, count in rows.items():
        for i in range(count):
            picture(root / name / f"{name}_{i}.jpg", seed=i)
        table(root / f"{name}.csv", ("id", "label"), *((f"{name}_{i}", ("cat", "dog")[i % 2]) for i in range(count)))
    return root


def test_a_validation_table_is_the_test_only_where_nothing_else_could_be(tmp_path):
    root = tables_of(tmp_path, train=12, val=6)
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), task.test_ids) == (12, tuple(f"val_{i}" for i in range(6)))
    assert any("nothing else could be the test: the 6 rows of val.csv" in note.text for note in task.notes)
    for i in range(4):
        picture(root / "test" / f"{i}.jpg", seed=i)
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (18, 4)
    assert any("6 rows of val.csv, a validation table, are learned from" in note.text for note in task.notes)


def test_a_test_table_may_hold_labels_which_are_not_looked_at(tmp_path):
    task = read_folder(tables_of(tmp_path, train=12, valid=6, test=4), metric("label"))
    assert (len(task.train_ids), task.test_ids) == (18, tuple(f"test_{i}" for i in range(4)))
    assert any("labels of test.csv are not looked at" in note.text for note in task.notes)


def test_a_validation_table_without_the_target_is_the_test(tmp_path):
    root = tables_of(tmp_path, train=12, val=6)
    table(root / "val.csv", ("id", "age"), *((f"val_{i}", i) for i in range(6)))
    table(root / "train.csv", ("id", "age", "label"), *((f"train_{i}", i, "ab"[i % 2]) for i in range(12)))
    task = read_folder(root, metric("label"))
    assert (task.classes, len(task.train_ids), len(task.test_ids)) == (("a", "b"), 12, 6)


def split_table(root, parts, labels):
    """labels.csv of pictures in one folder with a column `split`."""
    for i in range(len(parts)):
        picture(root / "images" / f"p{i:02d}.jpg", seed=i)
    rows = zip((f"p{i:02d}" for i in range(len(parts))), labels, parts, strict=True)
    table(root / "labels.csv", ("id", "species", "split"), *rows)
    return root


def test_a_column_of_parts_is_followed_with_and_without_a_sample(tmp_path):
    parts = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    root = split_table(tmp_path, parts, ["cat", "dog"] * 6 + ["fox"] * 4)  # what test rows hold stands for no label
    for _ in range(2):
        task = read_folder(root, metric("label"))
        assert (task.classes, len(task.train_ids)) == (("cat", "dog"), 12)
        assert task.test_ids == ("p12", "p13", "p14", "p15")
        assert "split" not in {column.name for column in task.columns}
        table(root / "sample_submission.csv", ("id", "species"), *((f"p{i}", "cat") for i in range(12, 16)))


def test_validation_rows_of_a_table_are_the_test_where_it_has_no_others(tmp_path):
    root = split_table(tmp_path, ["train"] * 8 + ["val"] * 4, ["cat", "dog"] * 6)
    task = read_folder(root, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (8, 4)


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("Training", "train"),
        ("PublicTest", "test"),
        ("id_val", "validation"),
        ("TEST", "test"),
        ("train_test", ""),
        ("bus", ""),
        ("a train on its way to a test", ""),
        ("", ""),
    ],
)
def test_a_cell_names_one_part_or_none(cell, part):
    assert part_of(cell) == part


def test_a_column_that_holds_other_words_too_names_no_parts():
    assert names_parts(["train", "val", "train"])
    assert not names_parts(["train", "bus", "test"])
    assert not names_parts(["train", "train"])
    assert not names_parts(["val", "test"])
