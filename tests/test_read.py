import shutil
import sys

import numpy as np
import pytest
from folders import competition, metric, picture, table

from autoclimb.data.read.folder import joined_sets, read_folder, with_pictures, without_repeats
from autoclimb.data.read.raw import RawTask
from autoclimb.data.read.values import separator_of
from autoclimb.errors import Mistake


def test_names_in_a_train_table_are_classes(tmp_path):
    task = read_folder(competition(tmp_path / "c"), metric("label"))
    assert (task.kind, task.classes, task.form.cell) == ("multiclass", ("cat", "dog", "fox"), "label")
    assert task.target.tolist() == [0, 1, 2] * 4
    assert task.target.dtype == np.int64
    assert task.train_ids[1] == "a_001"
    assert task.train_files[1].endswith("/train/a_001.jpg")
    assert task.test_ids == ("b_000", "b_001", "b_002", "b_003")
    assert task.form.columns == ("id", "label")


@pytest.mark.parametrize(
    "name",
    [
        lambda split, i: f"{split}_{i}.jpg",
        lambda split, i: f"00{i}{'0' if split == 'a' else '1'}",
        lambda split, i: f"1.2.826.{split}.{i}",
    ],
    ids=["extension", "leading zeros", "dots"],
)
def test_ids_keep_their_text_and_find_their_pictures(tmp_path, name):
    root = competition(tmp_path, name=name, extension="" if name("a", 0).endswith(".jpg") else ".jpg")
    task = read_folder(root, metric("label"))
    assert task.train_ids[3] == name("a", 3)
    assert all(task.train_files)
    assert all(task.test_files)


def test_ids_may_differ_from_files_in_case_of_the_extension(tmp_path):
    task = read_folder(competition(tmp_path, extension=".JPG"), metric("label"))
    assert task.test_files[0].endswith("b_000.JPG")


def test_ids_may_be_paths(tmp_path):
    root = competition(tmp_path, name=lambda split, i: f"{split}{i}")
    table(root / "train.csv", ("path", "label"), *((f"train/a{i}.jpg", "cat" if i % 2 else "dog") for i in range(12)))
    task = read_folder(root, metric("label"))
    assert task.train_ids[0] == "train/a0.jpg"
    assert task.kind == "binary"


def test_equal_ids_in_train_and_test_find_the_folder_of_their_split(tmp_path):
    task = read_folder(competition(tmp_path, name=lambda split, i: str(i)), metric("label"))
    assert all("/train/" in f for f in task.train_files)
    assert all("/test/" in f for f in task.test_files)


def test_a_missing_train_picture_is_not_taken_from_the_test_folder(tmp_path):
    root = competition(tmp_path, name=lambda split, i: str(i))
    (root / "train" / "2.jpg").unlink()
    task = read_folder(root, metric("label"))
    assert task.unreadable_train == ("2",)
    assert "2" not in task.train_ids


def test_digit_labels_are_not_mistaken_for_picture_names(tmp_path):
    root = competition(tmp_path, label=lambda i: i % 4, sample=0, name=lambda split, i: f"{split}{i}")
    for i in range(4):
        picture(root / "train" / f"{i}.jpg")
    task = read_folder(root, metric("label"))
    assert task.train_ids[0] == "a0"
    assert task.classes == ("0", "1", "2", "3")


def test_both_splits_may_share_a_folder(tmp_path):
    root = competition(tmp_path)
    for file in [*(root / "train").iterdir(), *(root / "test").iterdir()]:
        (root / "images").mkdir(exist_ok=True)
        shutil.move(file, root / "images" / file.name)
    task = read_folder(root, metric("label"))
    assert len(task.train_ids) == 12
    assert all("/images/b_" in f for f in task.test_files)


def test_numbers_are_what_the_metric_wants(tmp_path):
    root = competition(tmp_path, label=lambda i: i % 3, sample=0)
    assert read_folder(root, metric("label")).kind == "multiclass"
    assert read_folder(root, metric("number")).kind == "regression"
    graded = read_folder(root, metric("grade"))
    assert (graded.kind, graded.grades, graded.classes) == ("ordinal", (0.0, 1.0, 2.0), ("0", "1", "2"))
    assert graded.form.whole_numbers
    assert read_folder(root).kind == "multiclass"


def test_fractions_are_a_quantity_without_a_metric(tmp_path):
    task = read_folder(competition(tmp_path, label=lambda i: i / 7, sample=0.5))
    assert (task.kind, task.classes, task.target.dtype) == ("regression", (), np.float64)


def test_flags_are_binary_with_the_positive_last(tmp_path):
    task = read_folder(competition(tmp_path, label=lambda i: i % 2, sample=0.5), metric("probability"))
    assert (task.kind, task.classes, task.form.cell) == ("binary", ("0", "1"), "number")
    words = read_folder(competition(tmp_path / "w", label=lambda i: ("yes", "no")[i % 2], sample=0), metric("label"))
    assert words.classes == ("no", "yes")


def test_the_samples_column_names_the_positive_class(tmp_path):
    root = competition(tmp_path, label=lambda i: ("apple", "pear")[i % 2], column="apple", sample=0)
    assert read_folder(root, metric("probability")).classes == ("pear", "apple")


def test_a_column_of_sets_is_multilabel(tmp_path):
    sets = ["a b", "b", "c a", "b c", "a", "a b c"]
    task = read_folder(competition(tmp_path, label=lambda i: sets[i % 6], sample="a b"), metric("labels"))
    assert (task.kind, task.classes, task.form.cell) == ("multilabel", ("a", "b", "c"), "labels")
    assert task.target[:3].tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_an_empty_set_is_a_label_too(tmp_path):
    sets = ["a|b", "b", "", "b|c", "a|c", "a"]
    task = read_folder(competition(tmp_path, label=lambda i: sets[i % 6], sample="a|b"), metric("labels"))
    assert task.target[2].tolist() == [0, 0, 0]
    assert task.form.separator == "|"


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["Common wheat", "Fat Hen", "Sugar beet", "Common Chickweed", "Black-grass", "Cleavers"], ""),
        (["red apple", "green apple", "red pear", "green pear"], ""),
        (["no finding", "finding"], ""),
        (["Pneumonia|Mass", "Mass", "Pneumonia", "Edema|Mass", "Edema"], "|"),
        (["0 16", "16", "0", "25 16"], " "),
        (["1,000", "2,000"], ""),
        (["cat", "dog"], ""),
        ([], ""),
    ],
)
def test_sets_are_told_from_names_with_spaces(cells, separator):
    assert separator_of(cells) == separator


def test_several_flag_columns_are_multilabel_and_the_sample_says_which(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", i % 2, (i // 2) % 2, 1, "p" + str(i % 3)) for i in range(12)]
    table(root / "train.csv", ("id", "left arm", "right arm", "head", "patient"), *rows)
    table(root / "sample_submission.csv", ("id", "right arm", "left arm"), *((f"b_{i:03d}", 0, 0) for i in range(4)))
    task = read_folder(root, metric("probability"))
    assert (task.kind, task.classes) == ("multilabel", ("right arm", "left arm"))
    assert task.form.column_of == (0, 1)
    assert {c.name: c.role for c in task.columns} == {
        "right arm": "target",
        "left arm": "target",
        "head": "unused",
        "patient": "unused",
    }
    assert any("--group patient" in note.text for note in task.notes)


def test_flag_columns_that_sum_to_one_are_classes(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", *(int(i % 3 == c) for c in range(3))) for i in range(12)]
    table(root / "train.csv", ("id", "x", "y", "z"), *rows)
    table(root / "sample_submission.csv", ("id", "x", "y", "z"), *((f"b_{i:03d}", 0.3, 0.3, 0.4) for i in range(4)))
    task = read_folder(root, metric("probability"))
    assert (task.kind, task.form.cell, task.target.tolist()[:3]) == ("multiclass", "columns", [0, 1, 2])


def test_a_column_a_class_in_the_sample_matches_values_of_the_train_table(tmp_path):
    root = competition(tmp_path, column="breed")
    columns = ("id", "wolf", "fox", "dog", "cat")
    table(root / "sample_submission.csv", columns, *((f"b_{i:03d}", *[0.25] * 4) for i in range(4)))
    task = read_folder(root, metric("probability"))
    assert task.form.column_of == (-1, 2, 1, 0)
    assert any("wolf" in note.text for note in task.notes)


def test_numbered_columns_of_the_sample_match_class_numbers(tmp_path):
    root = competition(tmp_path, label=lambda i: i % 3)
    columns = ("id", "label_0", "label_1", "label_2")
    table(root / "sample_submission.csv", columns, *((f"b_{i:03d}", 0, 0, 0) for i in range(4)))
    assert read_folder(root, metric("probability")).form.column_of == (0, 1, 2)


def test_several_names_in_a_sample_cell_make_a_ranking(tmp_path):
    task = read_folder(competition(tmp_path, sample="cat dog"), metric("ranking", k=5))
    assert (task.kind, task.form.cell, task.form.at_most) == ("multiclass", "labels", 2)


def test_a_sample_column_of_another_name_means_the_only_unexplained_one(tmp_path):
    root = competition(tmp_path, column="species")
    table(root / "sample_submission.csv", ("id", "Predicted"), *((f"b_{i:03d}", "") for i in range(4)))
    task = read_folder(root, metric("label"))
    assert task.classes == ("cat", "dog", "fox")
    assert any("'Predicted'" in note.text for note in task.notes)


def test_train_only_columns_that_give_the_label_away_are_named(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", "cat" if i % 2 else "dog", i % 2, i % 5) for i in range(12)]
    table(root / "train.csv", ("id", "label", "code", "other"), *rows)
    notes = read_folder(root, metric("label")).notes
    assert any("'code' gives the label away" in note.text for note in notes)
    assert not any("'other' gives" in note.text for note in notes)


def test_options_overrule_the_folder(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", f"a_{11 - i:03d}", "x" if i % 2 else "y", i % 4, "cat") for i in range(12)]
    table(root / "train.csv", ("id", "twin", "first", "farm", "label"), *rows)
    task = read_folder(root, metric("label"), id_column="twin", target="first", group="farm")
    assert task.train_ids[0] == "a_011"
    assert task.classes == ("x", "y")
    assert task.groups is not None
    assert task.groups.tolist()[:5] == [0, 1, 2, 3, 0]


def test_rows_a_picture_and_label_are_joined_to_sets(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", name) for i in range(12) for name in ("sky", "sea", "sun")[: 1 + i % 3]]
    table(root / "train.csv", ("id", "label"), *rows)
    task = read_folder(root, metric("labels"))
    assert task.kind == "multilabel"
    assert task.target.sum(1).tolist()[:3] == [1, 2, 3]


def test_repeated_train_ids_count_once(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", "cat" if i % 2 else "dog") for i in range(12)]
    table(root / "train.csv", ("id", "label"), *rows, rows[0], (rows[1][0], "dog"))
    task = read_folder(root, metric("label", "binary", "multiclass"))
    assert len(task.train_ids) == 12
    assert any("2 train rows repeat" in note.text and "1 id has" in note.text for note in task.notes)


def test_repeated_test_rows_are_kept_in_the_form_and_counted_once(tmp_path):
    root = competition(tmp_path)
    table(root / "sample_submission.csv", ("id", "label"), *((f"b_{i % 2:03d}", "cat") for i in range(4)))
    task = read_folder(root, metric("label"))
    assert task.test_ids == ("b_000", "b_001")
    assert task.form.ids == ("b_000", "b_001", "b_000", "b_001")


@pytest.mark.parametrize("nest", ["train", "seg_train/seg_train", "data/train"])
def test_class_folders_are_labels(tmp_path, nest):
    for i in range(6):
        picture(tmp_path / nest / ("Common wheat", "Fat Hen")[i % 2] / f"{i}.png", seed=i)
        picture(tmp_path / nest.replace("train", "test") / f"t{i}.png", seed=i)
    table(tmp_path / "sample_submission.csv", ("file", "species"), *((f"t{i}.png", "Fat Hen") for i in range(6)))
    task = read_folder(tmp_path, metric("label"))
    assert task.classes == ("Common wheat", "Fat Hen")
    assert task.train_ids[0] == "0.png"
    assert len(task.test_ids) == 6
    assert task.form.columns == ("file", "species")


def test_class_folders_need_no_table(tmp_path):
    for i in range(8):
        picture(tmp_path / "train" / ("ant", "bee")[i % 2] / f"{i // 2}.jpg", seed=i)
        picture(tmp_path / "test" / f"{i}.jpg", seed=i)
    task = read_folder(tmp_path, metric("probability"))
    assert task.train_ids[0] == "train/ant/0.jpg"
    assert task.form.columns == ("id", "label")
    assert task.form.cell == "number"
    assert any("no sample submission" in note.text for note in task.notes)


def test_a_test_table_lists_the_test_items_where_no_sample_does(tmp_path):
    root = competition(tmp_path)
    (root / "sample_submission.csv").unlink()
    table(root / "test.csv", ("id",), ("b_003",), ("b_001",))
    assert read_folder(root, metric("label")).test_ids == ("b_003", "b_001")


def test_without_a_sample_probabilities_get_a_column_a_class(tmp_path):
    root = competition(tmp_path)
    (root / "sample_submission.csv").unlink()
    task = read_folder(root, metric("probability"))
    assert task.form.columns == ("id", "cat", "dog", "fox")
    assert task.test_ids[0] == "b_000.jpg"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_byte_order_mark_are_read(tmp_path, separator):
    root = competition(tmp_path)
    text = (root / "train.csv").read_text().replace(",", separator)
    (root / "train.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert read_folder(root, metric("label")).train_ids[0] == "a_000"


def test_many_files_are_read_without_being_opened(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for i in range(5000):
        (tmp_path / "train" / f"{i}.jpg").touch()
    for i in range(50):
        (tmp_path / "test" / f"x{i}.jpg").touch()
    table(tmp_path / "train.csv", ("id", "label"), *((i, "ab"[i % 2]) for i in range(5000)))
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((f"x{i}", "a") for i in range(50)))
    opened = []
    watched = str(tmp_path)  # a hook cannot be taken off again: it looks at this folder only

    def hook(event, arguments):
        if event == "open" and str(arguments[0]).startswith(watched) and str(arguments[0]).endswith(".jpg"):
            opened.append(arguments[0])

    sys.addaudithook(hook)
    assert len(read_folder(tmp_path, metric("label")).train_ids) == 5000
    assert len(opened) < 100


def test_a_metric_that_cannot_score_the_labels_is_refused_with_those_that_can(tmp_path):
    root = competition(tmp_path)
    with pytest.raises(Mistake, match=r"multiclass.*accuracy"):
        read_folder(root, metric("labels", "multilabel"))


def test_file_names_may_begin_with_the_label(tmp_path):
    for i in range(12):
        picture(tmp_path / "train" / f"{('cat', 'dog')[i % 2]}.{i}.jpg", seed=i)
        picture(tmp_path / "test" / f"{i}.jpg", seed=i)
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((i, 0.5) for i in range(12)))
    task = read_folder(tmp_path, metric("probability"))
    assert (task.kind, task.classes) == ("binary", ("cat", "dog"))
    assert task.test_files[3].endswith("/test/3.jpg")


def test_words_that_are_no_groups_are_not_suggested_as_such(tmp_path):
    root = competition(tmp_path)
    rows = [(f"a_{i:03d}", "cat" if i % 2 else "dog", i % 3, i % 3) for i in range(12)]
    table(root / "train.csv", ("id", "label", "anatom_site_general", "PatientID"), *rows)
    notes = " ".join(note.text for note in read_folder(root, metric("label")).notes)
    assert "--group PatientID" in notes
    assert "--group anatom" not in notes


@pytest.mark.parametrize(
    ("fewer", "sources"),
    [
        (without_repeats, list("pqrs")),
        (with_pictures, list("pqs")),
        (lambda raw: joined_sets(raw, None), list("pqrs")),
    ],
    ids=["repeats", "without pictures", "sets"],
)
def test_train_rows_that_go_take_their_source_along(fewer, sources):
    files = ["a.jpg", "", "b.jpg", "", "d.jpg"]
    raw = RawTask(list("abbcd"), files, {"label": list("xxyxy")}, [], [], "id", None, "", versions=list("pqqrs"))
    assert fewer(raw).versions == sources
