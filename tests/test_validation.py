"""Validation rows are learned from; of several rows an id the label that most have counts."""

import pytest
from folders import competition, metric, picture, table

from autoclimb.data.read.folder import read_folder


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
    assert any(f"6 rows of {name}" in note for note in task.notes)


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
    assert any("4 of them from class folders of validation" in note for note in task.notes)


def test_the_label_that_most_rows_of_an_id_have_counts(tmp_path):
    root = competition(tmp_path, train=12)
    rows = [(f"a_{i:03d}", ("cat", "dog")[i % 2]) for i in range(12)]
    more = [("a_000", "dog"), ("a_000", "dog"), ("a_001", ""), ("a_002", "dog")]
    table(root / "train.csv", ("id", "label"), *rows, *more)
    task = read_folder(root, metric("label", "multiclass", "binary"))
    assert [task.classes[i] for i in task.target[:3]] == ["dog", "dog", "cat"]
    assert any("4 train rows repeat" in note and "2 ids have" in note for note in task.notes)
