"""What a label cell is: a set or a name, blank or a class called null, a flag, a number, a code beside a name."""

import pytest
from folders import competition, metric, picture, table
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.values import flags_of, separator_of, tokens_of, with_points
from autoclimb.errors import Mistake
from autoclimb.score.metrics import metric_named

CARS = [f"{make}, {colour}" for make in ("Corolla", "Civic", "Golf") for colour in ("red", "blue", "white")]
CARDS = [f"{rank} of {suit}" for rank in ("ace", "two", "king") for suit in ("clubs", "hearts", "spades")] + ["joker"]
TAGS = ["clear", "clear road", "haze", "haze water", "road water", "clear road water", "road"]
# a thing, the weather and the light, each in a place of its own, and sometimes a fourth word: sets all the same
SLOTS = [
    f"{thing} {weather} {light}" for thing in ("bolt", "nut", "wire", "tape wire") for weather in ("dry", "wet")
    for light in ("dark", "dim", "bright")
]  # fmt: skip


def columns(root, names, rows, sample=None):
    """train.csv of rows with an id before each, 0.jpg to ..., and a sample."""
    for i in range(len(rows)):
        picture(root / "train" / f"a_{i:03d}.jpg", seed=i)
    for i in range(4):
        picture(root / "test" / f"b_{i:03d}.jpg", seed=1000 + i)
    table(root / "train.csv", ("id", *names), *((f"a_{i:03d}", *row) for i, row in enumerate(rows)))
    if sample:
        table(root / "sample_submission.csv", *sample)
    return root


@pytest.mark.parametrize(
    ("cells", "name", "kind"),
    [
        (CARS, "accuracy", "multiclass"),
        (CARS, "f1-macro", "multiclass"),  # pieces have places of their own, as the parts of a name have
        (CARS, "f1-samples", "multilabel"),  # which scores nothing but sets
        (CARDS, "accuracy", "multiclass"),
        (CARDS, "f1-macro", "multiclass"),
        (TAGS, "f2", "multilabel"),
        (TAGS, "f1-macro", "multilabel"),
        (SLOTS, "f2", "multilabel"),  # as nearly every competition that scores by F2 asks for sets
        (SLOTS, "accuracy", "multiclass"),
    ],
)
def test_a_cell_is_a_set_where_metric_and_pieces_say_so(tmp_path, cells, name, kind):
    root = competition(tmp_path, label=lambda i: cells[i % len(cells)], sample=cells[0], train=2 * len(cells))
    task = read_folder(root, metric_named(name))
    assert task.kind == kind
    assert kind == "multilabel" or set(task.classes) == set(cells)


@pytest.mark.parametrize(("name", "asks"), [("f1-macro", False), (None, True)])
def test_names_made_of_few_words_are_a_guess_and_a_note(tmp_path, name, asks):
    root = competition(tmp_path, label=lambda i: SLOTS[i % len(SLOTS)], sample=SLOTS[0], train=48)
    task = read_folder(root, metric_named(name) if name else None)
    (note,) = [n for n in task.notes if n.kind == "cells"]
    assert (task.kind, note.sure, bool(note.ask)) == ("multiclass", "guessed", asks)
    assert "24 names" in note.text
    assert "9 words" in note.text


def test_real_sets_are_not_read_as_names_for_a_metric_of_one_label(tmp_path):
    root = competition(tmp_path, label=lambda i: TAGS[i % 7], sample="clear", train=28)
    with pytest.raises(Mistake, match=r"multilabel.*accuracy does not score; try --metric f2"):
        read_folder(root, metric_named("accuracy"))


def test_a_combination_in_the_sample_that_no_train_row_has_speaks_for_sets(tmp_path):
    cells = ["sun sea", "sun hill", "wood sea", "wood hill", "sun", "wood"]
    root = competition(tmp_path, label=lambda i: cells[i % 6], sample="hill sea sun", train=24)
    assert read_folder(root, metric_named("f1-macro")).classes == ("hill", "sea", "sun", "wood")


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1), min_size=30, max_size=60))
def test_sorted_sets_of_any_sizes_are_known_for_sets(sets):
    cells = [" ".join(sorted(s)) for s in sets]
    if len(set(cells)) > 12:
        assert separator_of(cells) == " "


@given(st.permutations(range(4)))
def test_names_of_two_parts_in_any_order_are_no_sets(order):
    firsts, lasts = ("red", "green", "blue", "grey"), ("apple", "pear", "plum", "fig")
    cells = [f"{firsts[i]} {lasts[j]}" for i in order for j in range(4)]
    assert separator_of(cells) == ""
    assert separator_of([c.replace(" ", ", ") for c in cells]) == ""


@pytest.mark.parametrize(
    ("cell", "pieces"),
    [
        ("['leaf rust', 'scab']", ["leaf rust", "scab"]),
        ("['leaf rust' 'scab']", ["leaf rust", "scab"]),
        ('["leaf, rust"]', ["leaf, rust"]),
        ("[1, 3]", ["1", "3"]),
        ("{scab,rust}", ["scab", "rust"]),
        ("[]", []),
    ],
)
def test_lists_are_read_as_python_json_and_numpy_write_them(cell, pieces):
    assert tokens_of(cell, ",") == pieces


def test_lists_of_one_name_each_are_names(tmp_path):
    root = competition(tmp_path, label=lambda i: str([("cat", "dog", "fox")[i % 3]]), sample="cat")
    assert read_folder(root, metric_named("accuracy")).classes == ("cat", "dog", "fox")


@pytest.mark.parametrize("word", ["null", "nan", "none", "NA", "cat dog", "a|b"])
def test_the_name_of_a_folder_is_a_class_whatever_it_is(tmp_path, word):
    for name in (word, "palm", "fist"):
        for i in range(4):
            picture(tmp_path / "train" / name / f"{name[:2]}{i}.jpg".replace("|", ""), seed=i)
    task = read_folder(tmp_path, metric_named("accuracy"))
    assert word in task.classes
    assert len(task.train_ids) == 12


@pytest.mark.parametrize(
    ("cells", "sample", "classes", "rows"),
    [
        (["null", "palm", "fist"], "palm", 3, 12),  # as frequent as the others
        (["palm", "fist"] * 5 + ["null", "palm"], "palm", 2, 11),  # rare
        (["palm", "fist"] * 5 + ["null", "palm"], "null", 3, 12),  # shown
        (["palm", "fist"] * 4 + ["null", "", "", "palm"], "palm", 3, 10),  # blank cells are blank already
        (["palm", "nan", "fist"], "palm", 2, 8),
        (["none", "palm", "fist"], "palm", 3, 12),
        (["0", "1", "NA", "2"], "0", 3, 9),  # among numbers
    ],
)
def test_a_word_for_nothing_is_a_class_where_evidence_says_so(tmp_path, cells, sample, classes, rows):
    root = competition(tmp_path, label=lambda i: cells[i % len(cells)], sample=sample)
    task = read_folder(root, metric_named("accuracy"))
    assert (len(task.classes), len(task.train_ids)) == (classes, rows)


@pytest.mark.parametrize(
    ("cells", "flags"),
    [
        (["True", "False"], ["1", "0"]),
        (["Yes", "no", ""], ["1", "0", ""]),
        (["1.0", "0"], ["1", "0"]),
        (["-1", "1"], ["-1", "1"]),
        (["x", "", "x"], ["1", "", "1"]),
        (["x", "y"], None),
        (["2", "1"], None),
    ],
)
def test_flags_are_known_in_whatever_words(cells, flags):
    assert flags_of(cells) == flags


@pytest.mark.parametrize("sign", ["|", ";", ",", "/", "+", " & ", " "])
def test_names_are_joined_by_many_signs(tmp_path, sign):
    cells = [sign.join(names) for names in (("rust", "scab"), ("rust",), ("scab",), ("mould", "rust"), ("mould",))]
    root = competition(tmp_path, label=lambda i: cells[i % 5], sample="rust", train=25)
    assert read_folder(root, metric_named("f1-samples")).classes == ("mould", "rust", "scab")


def test_commas_between_thousands_are_no_decimals(tmp_path):
    root = competition(tmp_path, label=lambda i: f"{1000 + 37 * i:,}", sample=0, column="weight")
    assert read_folder(root, metric_named("rmse")).target[1] == 1037


def test_a_rare_spelling_is_the_usual_one_but_letters_stay_apart(tmp_path):
    root = competition(tmp_path / "a", label=lambda i: "Green " if i == 4 else ("red", "green")[i % 2], train=24)
    assert read_folder(root, metric_named("accuracy")).classes == ("green", "red")
    root = competition(tmp_path / "b", label=lambda i: "A" if i == 4 else ("a", "b")[i % 2], sample="a", train=24)
    assert read_folder(root, metric_named("accuracy")).classes == ("A", "a", "b")


@pytest.mark.parametrize(("one", "none"), [("True", "False"), ("yes", "no"), ("1", "-1"), ("x", ""), ("1", "")])
def test_columns_of_flags_in_whatever_words_are_labels(tmp_path, one, none):
    rows = [[one if i % 4 == k else none for k in range(3)] for i in range(12)]  # every fourth row has none
    task = read_folder(columns(tmp_path, ("red", "green", "blue"), rows), metric_named("f1-samples"))
    assert (task.kind, len(task.train_ids)) == ("multilabel", 12)
    assert task.target[:4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_minus_one_beside_nought_is_unsure(tmp_path):
    rows = [[(1, 0, -1)[(i + k) % 3] for k in range(3)] for i in range(12)]
    task = read_folder(columns(tmp_path, ("red", "green", "blue"), rows), metric_named("roc-auc"))
    assert any("unsure" in note.text for note in task.notes)


def test_decimal_commas_are_numbers_where_numbers_are_asked_for(tmp_path):
    root = competition(tmp_path, label=lambda i: f"{i % 4},{i % 10}5", sample="0,5", column="weight")
    task = read_folder(root, metric_named("rmse"))
    assert (task.kind, task.target[3]) == ("regression", 3.35)
    assert with_points(["1,2,3", "1"]) is None
    assert with_points(["a", "1,5"]) is None


def test_of_a_code_and_a_name_the_name_is_the_target(tmp_path):
    rows = [(i % 3, ("red", "green", "blue")[i % 3]) for i in range(12)]
    task = read_folder(columns(tmp_path, ("label", "class_name"), rows), metric_named("accuracy"))
    assert task.classes == ("blue", "green", "red")


@pytest.mark.parametrize(
    ("names", "row", "target"),
    [
        (("width", "height", "shape"), lambda i: (100 + i % 7, 90 + i % 5, "ab"[i % 2]), "shape"),
        (("choice", "created_at", "lead"), lambda i: ("ab"[i % 2], f"2020-01-{1 + i:02d}", i % 5), "choice"),
        (("is_valid", "kind"), lambda i: (i % 4 == 0, "abc"[i % 3]), "kind"),
        (("dx", "age", "sex"), lambda i: ("abc"[i % 3], 30 + i % 7, "mf"[i % 2]), "dx"),
    ],
)
def test_columns_that_are_no_labels_leave_the_one_that_is(tmp_path, names, row, target):
    task = read_folder(columns(tmp_path, names, [row(i) for i in range(24)]), metric_named("accuracy"))
    assert [c.name for c in task.columns if c.role == "target"] == [target]


def test_one_hot_columns_beside_others_are_the_target(tmp_path):
    rows = [(*(int(k == i % 3) for k in range(3)), 20 + i % 9, "mf"[i % 2]) for i in range(24)]
    task = read_folder(columns(tmp_path, ("red", "green", "blue", "age", "sex"), rows), metric("label"))
    assert task.classes == ("red", "green", "blue")


def test_a_target_is_named_in_any_case(tmp_path):
    root = columns(tmp_path, ("Finding Labels", "age"), [("ab"[i % 2], i % 5) for i in range(12)])
    assert read_folder(root, metric("label"), target="finding_labels").classes == ("a", "b")
