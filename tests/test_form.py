"""The submission is written as the sample is: delimiter, header, lists, rows an item and class, names."""

import csv

import numpy as np
import pytest
from folders import competition, picture, table

from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake
from autoclimb.report.submission import write_submission
from autoclimb.run.result import plain_form
from autoclimb.score.metrics import metric_named
from autoclimb.types import Form

COLOURS = ("red", "green", "blue")


def pictures(root, train=12, test=4):
    """train/a_000.jpg ... and test/b_000.jpg ..."""
    for i in range(train):
        picture(root / "train" / f"a_{i:03d}.jpg", seed=i)
    for i in range(test):
        picture(root / "test" / f"b_{i:03d}.jpg", seed=1000 + i)


def written(root, metric, answers, probability=None, **options):
    """The task and the lines of the submission that these answers make."""
    task = read_folder(root, metric_named(metric), **options)
    out = root.parent / "submission.csv"
    write_submission(task, np.asarray(answers), out, metric_named(metric), probability)
    return task, out.read_text().splitlines()


def with_text(root, text, name="sample_submission.csv"):
    """A sample of this text."""
    (root / name).write_text(text)
    return root


def sample(head, *cells):
    """The text of a sample, a row for b_000, b_001, ..."""
    return "\n".join([head, *(f"b_{i:03d},{cell}" for i, cell in enumerate(cells))]) + "\n"


def one_hot(root):
    """One-hot train columns, with an item of two labels."""
    pictures(root)
    rows = [(f"a_{i:03d}", *(int(k == i % 3 or (k == 0 and i == 7)) for k in range(3))) for i in range(12)]
    table(root / "train.csv", ("id", *COLOURS), *rows)
    return root


def test_new_pictures_are_answered_in_a_plain_table():
    form = Form(
        ("ID", "Label"),
        ("a_x", "a_y"),
        "columns",
        column_of=(1, -1, 0),
        rows=(("a", 0),),
        order=("n", "ID"),
        delimiter=";",
    )
    plain = plain_form(form, ("x", "y"))
    assert (plain.columns, plain.column_of, plain.delimiter) == (("ID", "y", "x"), (1, 0), ",")
    assert (plain.rows, plain.order, plain.header) == ((), (), True)


def test_semicolons_are_written_where_the_sample_has_them(tmp_path):
    root = with_text(competition(tmp_path / "c"), sample("id,label", *["cat"] * 4).replace(",", ";"))
    assert written(root, "accuracy", [0, 1, 2, 0])[1][:2] == ["id;label", "b_000;cat"]


def test_decimal_commas_are_written_where_the_sample_has_them(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: i / 4, column="weight")
    text = "id;weight\n" + "".join(f"b_{i:03d};0,0\n" for i in range(4))
    task, lines = written(with_text(root, text), "rmse", [0.25, 1.5, 2, 0])
    assert (task.kind, lines) == ("regression", ["id;weight", "b_000;0,25", "b_001;1,5", "b_002;2", "b_003;0"])


def test_a_sample_without_a_header_is_answered_without_one(tmp_path):
    root = competition(tmp_path / "c", name=lambda part, i: f"{part}_{i:03d}.jpg", extension="")
    with_text(root, "".join(f"b_{i:03d}.jpg,cat\n" for i in range(4)))
    assert written(root, "accuracy", [0, 1, 2, 0])[1] == [
        "b_000.jpg,cat",
        "b_001.jpg,dog",
        "b_002.jpg,fox",
        "b_003.jpg,cat",
    ]


@pytest.mark.parametrize(
    "cell", ["['scab', 'leaf rust']", '["scab", "leaf rust"]', "['scab','leaf rust']", "[scab, leaf rust]"]
)
def test_lists_are_written_as_the_sample_writes_them(tmp_path, cell):
    sets = ["leaf rust", "scab", "leaf rust,scab", "mildew,scab"]
    root = competition(tmp_path / "c", label=lambda i: sets[i % 4], train=16)
    table(root / "sample_submission.csv", ("id", "label"), *((f"b_{i:03d}", cell) for i in range(4)))
    task, lines = written(root, "f1-samples", [[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    assert task.classes == ("leaf rust", "mildew", "scab")
    both = cell.replace("scab", "X").replace("leaf rust", "scab").replace("X", "leaf rust")
    assert next(csv.reader(lines[1:])) == ["b_000", both]


def test_a_row_an_item_and_class_is_written_as_such(tmp_path):
    root = one_hot(tmp_path / "c")
    rows = [(f"b_{i:03d}_{c}", 0.5) for i in range(4) for c in ("blue", "red", "green")]
    table(root / "sample_submission.csv", ("ID", "Label"), *rows)
    task, lines = written(root, "roc-auc", np.arange(12).reshape(4, 3) / 12)
    assert (task.kind, task.test_ids[0], len(task.test_ids)) == ("multilabel", "b_000", 4)
    assert task.test_files[1].endswith("b_001.jpg")
    answers = dict(line.split(",") for line in lines[1:])
    assert lines[0] == "ID,Label"
    assert [round(12 * float(answers[f"b_001_{c}"])) for c in task.classes] == [3, 4, 5]


def test_train_rows_an_item_and_class_are_read_too(tmp_path):
    pictures(tmp_path / "c")
    rows = [(f"a_{i:03d}_{c}", int(k == i % 3 or i == 7)) for i in range(12) for k, c in enumerate(COLOURS)]
    table(tmp_path / "c" / "train.csv", ("ID", "Label"), *rows)
    tests = [(f"b_{i:03d}_{c}", 0.5) for i in range(4) for c in COLOURS]
    table(tmp_path / "c" / "sample_submission.csv", ("ID", "Label"), *tests)
    task = read_folder(tmp_path / "c", metric_named("roc-auc"))
    assert (task.kind, task.classes, len(task.train_ids)) == ("multilabel", COLOURS, 12)
    assert task.target[7].tolist() == [1, 1, 1]


def test_a_class_column_beside_the_id_makes_rows_an_item_and_class(tmp_path):
    root = one_hot(tmp_path / "c")
    rows = [(f"b_{i:03d}.jpg", c, 0.5) for i in range(4) for c in COLOURS]
    table(root / "sample_submission.csv", ("image", "class", "probability"), *rows)
    task, lines = written(root, "roc-auc", np.arange(12).reshape(4, 3) / 12)
    assert lines[:2] == ["image,class,probability", "b_000.jpg,red,0"]
    assert float(lines[2].removeprefix("b_000.jpg,green,")) == 1 / 12
    assert len(task.test_ids) == 4


def test_classes_before_the_id_are_cut_off_too(tmp_path):
    root = one_hot(tmp_path / "c")
    rows = [(f"{c}_b_{i:03d}", 0.5) for i in range(4) for c in COLOURS]
    table(root / "sample_submission.csv", ("ID", "Label"), *rows)
    assert written(root, "roc-auc", np.zeros((4, 3)))[1][1] == "red_b_000,0"


@pytest.mark.parametrize("columns", ["red_prob,green_prob,blue_prob", "p_red,p_green,p_blue", "Red,Green,Blue"])
def test_columns_of_classes_are_found_in_whatever_dress(tmp_path, columns):
    root = competition(tmp_path / "c", label=lambda i: COLOURS[i % 3])
    with_text(root, sample(f"id,{columns}", *["0.3,0.3,0.4"] * 4))
    task, lines = written(root, "log-loss", np.eye(3)[[0, 1, 2, 0]])
    assert lines[0] == f"id,{columns}"
    assert [float(v) for v in lines[1].split(",")[1:]] == [float(c == task.classes[0].lower()) for c in COLOURS]


@pytest.mark.parametrize(
    ("head", "cells"),
    [("id,label,confidence", "cat,0.5"), ("row,id,label", None), ("label,id", None), ("id,prediction,score", "cat,1")],
)
def test_columns_beside_the_answer_and_their_order_are_kept(tmp_path, head, cells):
    root = competition(tmp_path / "c")
    lines = [head]
    for i in range(4):
        values = {
            "id": f"b_{i:03d}",
            "row": str(i),
            "label": "cat",
            "prediction": "cat",
            "confidence": "1",
            "score": "1",
        }
        lines.append(",".join(values[c] for c in head.split(",")))
    with_text(root, "\n".join(lines))
    shares = np.array([[0.25, 0.5, 0.25]] * 4)
    task, out = written(root, "accuracy", [1, 1, 1, 1], shares)
    assert out[0] == head
    expected = {"id": "b_002", "row": "2", "label": "dog", "prediction": "dog", "confidence": "0.5", "score": "0.5"}
    assert out[3].split(",") == [expected[c] for c in head.split(",")]
    assert task.kind == "multiclass"


@pytest.mark.parametrize(
    ("train", "sample_cell", "separator"),
    [
        (("leaf rust, scab", "scab", "leaf rust", "mildew, scab"), "leaf rust", ","),
        (("leaf rust;scab", "scab", "leaf rust", "mildew;scab"), "scab|leaf rust", "|"),
        (("a b", "b", "c a", "a"), "a", " "),
        (("a b", "b", "c a", "a"), "", " "),
    ],
)
def test_sets_are_joined_as_the_sample_joins_known_names_else_as_train_rows_do(tmp_path, train, sample_cell, separator):
    root = competition(tmp_path / "c", label=lambda i: train[i % 4], sample=sample_cell, train=16)
    assert read_folder(root, metric_named("f1-samples")).form.separator == separator


def test_names_with_spaces_from_columns_are_not_joined_by_spaces(tmp_path):
    pictures(tmp_path / "c")
    rows = [(f"a_{i:03d}", int(i % 2), int(i % 3 == 0)) for i in range(12)]
    table(tmp_path / "c" / "train.csv", ("id", "leaf rust", "leaf spot"), *rows)
    table(tmp_path / "c" / "sample_submission.csv", ("id", "labels"), *((f"b_{i:03d}", "leaf rust") for i in range(4)))
    task = read_folder(tmp_path / "c", metric_named("f1-samples"), target="leaf rust,leaf spot")
    assert task.form.separator == ","
    assert [n.sure for n in task.notes if "joined by" in n.text] == ["guessed"]


@pytest.mark.parametrize(
    ("words", "positive", "sure"),
    [
        (("normal", "abnormal"), "abnormal", "likely"),
        (("Parasitized", "Uninfected"), "Parasitized", "likely"),
        (("infected", "uninfected"), "infected", "likely"),
        (("defect", "ok"), "defect", "likely"),
        (("fake", "real"), "fake", "likely"),
        (("bad", "good"), "bad", "likely"),
        (("benign", "malignant"), "malignant", "likely"),
        (("with_mask", "without_mask"), "with_mask", "likely"),
        (("smoking", "not smoking"), "smoking", "likely"),
        (("crack", "no_crack"), "crack", "likely"),
        (("False", "True"), "True", "likely"),
        (("0", "1"), "1", "likely"),
        (("-1", "1"), "1", "likely"),
        (("cat", "dog"), "dog", "guessed"),
    ],
)
def test_the_positive_class_is_the_one_that_words_speak_for(tmp_path, words, positive, sure):
    root = competition(tmp_path / "c", label=lambda i: words[i % 2])
    with_text(root, sample("id,target", *["0.5"] * 4))
    task = read_folder(root, metric_named("auc"))
    assert task.classes[-1] == positive
    assert [n.sure for n in task.notes if n.kind == "positive"] == [sure]


def test_the_user_may_say_which_class_is_positive(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("cat", "dog")[i % 2])
    with_text(root, sample("id,target", *["0.5"] * 4))
    assert read_folder(root, metric_named("auc"), target="label=cat").classes == ("dog", "cat")
    assert read_folder(root, metric_named("auc"), target="=cat").classes == ("dog", "cat")
    with pytest.raises(Mistake, match="'fox' is none of the two classes 'cat' and 'dog'"):
        read_folder(root, metric_named("auc"), target="label=fox")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "zebra\nant\nmole\n"),
        ("labels.txt", "0:zebra\n1:ant\n2:mole\n"),
        ("classes.txt", "0 zebra\n1 ant\n2 mole\n"),
        ("map.json", '{"0": "zebra", "1": "ant", "2": "mole"}'),
        ("map.json", '{"zebra": 0, "ant": 1, "mole": 2}'),
        ("info.json", '{"classes": ["zebra", "ant", "mole"]}'),
        ("data.yaml", "nc: 3\nnames: ['zebra', 'ant', 'mole']\n"),
        ("map.csv", "code,animal\n0,zebra\n1,ant\n2,mole\n"),
    ],
)
def test_a_file_that_lists_the_classes_gives_their_numbers(tmp_path, name, text):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3])
    with_text(root, sample("id,label", *"0120"))
    with_text(root, text, name)
    task, lines = written(root, "accuracy", [0, 0, 0, 0])
    assert [task.classes[k] for k in task.target[:3]] == ["0", "1", "2"]
    assert lines[1] == f"b_000,{task.classes[0]}"


def test_numbers_by_the_alphabet_are_a_guess_that_asks(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3])
    task = read_folder(with_text(root, sample("id,label", *"0120")), metric_named("accuracy"))
    assert [n.ask for n in task.notes if n.ask] == ["list the classes in their order in a classes.txt in the folder"]


def test_numbers_for_columns_of_flags_count_the_columns(tmp_path):
    root = one_hot(tmp_path / "c")
    table(
        root / "train.csv", ("id", *COLOURS), *((f"a_{i:03d}", *(int(k == i % 3) for k in range(3))) for i in range(12))
    )
    task = read_folder(with_text(root, sample("id,label", *"0120")), metric_named("accuracy"))
    assert [task.classes[k] for k in task.target[:3]] == ["0", "1", "2"]
    assert not [n.ask for n in task.notes if n.ask]


def test_columns_that_are_no_classes_are_refused_with_what_they_would_have_to_be(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: COLOURS[i % 3])
    with_text(root, sample("id,first,second", *["red,green"] * 4))
    with pytest.raises(Mistake, match="called as classes are, or one column has to hold the answer"):
        read_folder(root, metric_named("map@3"), target="label")


def test_a_list_counts_from_one_where_the_sample_does(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3])
    with_text(with_text(root, sample("id,label", *"1231")), "zebra\nant\nmole\n", "classes.txt")
    task = read_folder(root, metric_named("accuracy"))
    assert [task.classes[k] for k in task.target[:3]] == ["1", "2", "3"]


def test_a_list_gives_numbers_their_names_where_the_sample_shows_names(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: i % 3)
    with_text(with_text(root, sample("id,label", *["ant"] * 4)), "zebra\nant\nmole\n", "classes.txt")
    assert read_folder(root, metric_named("accuracy")).classes == ("zebra", "ant", "mole")


def test_a_list_says_which_of_two_classes_is_the_one(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("cat", "dog")[i % 2])
    with_text(with_text(root, sample("id,label", *"0101")), "dog\ncat\n", "classes.txt")
    task = read_folder(root, metric_named("accuracy"))
    assert task.classes == ("dog", "cat")
    assert task.target[:2].tolist() == [1, 0]


def test_one_number_in_every_cell_is_a_placeholder(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3], sample=0)
    task, lines = written(root, "accuracy", [0, 1, 2, 0])
    assert task.classes == ("ant", "mole", "zebra")
    assert lines[1] == "b_000,ant"
    assert any(n.sure == "guessed" and "says nothing" in n.text for n in task.notes)


def test_a_table_that_is_not_one_to_one_names_no_classes(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3], sample=0)
    rows = [(f"a_{i:03d}", ("zebra", "ant", "mole")[i % 3], i % 5) for i in range(12)]
    table(root / "train.csv", ("id", "label", "fold"), *rows)
    assert read_folder(root, metric_named("accuracy")).classes == ("ant", "mole", "zebra")


def test_numbered_columns_are_the_classes_by_their_list(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("zebra", "ant", "mole")[i % 3])
    with_text(
        with_text(root, sample("id,class_0,class_1,class_2", *["0.3,0.3,0.4"] * 4)), "zebra\nant\nmole\n", "classes.txt"
    )
    task = read_folder(root, metric_named("log-loss"))
    assert [task.classes[k] for k in task.target[:3]] == ["0", "1", "2"]
    assert sorted(task.form.column_of) == [0, 1, 2]
    assert [task.classes[c] for c in task.form.column_of] == ["0", "1", "2"]


def test_classes_are_spelled_as_the_sample_spells_them(tmp_path):
    root = competition(tmp_path / "c", label=lambda i: ("leaf_rust", "scab", "spot")[i % 3], sample="Leaf Rust")
    task = read_folder(root, metric_named("accuracy"))
    assert task.classes == ("Leaf Rust", "Scab", "Spot")
