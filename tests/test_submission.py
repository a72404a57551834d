import csv
from dataclasses import replace

import numpy as np
import pytest
from folders import metric, task
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.report.submission import check_row, check_submission, constant_prediction, write_submission
from autoclimb.types import Form

IDS = ("t1", "t2", "t3")
P = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])


def written(tmp_path, toy, answers, wants, probability=None):
    path = tmp_path / "submission.csv"
    write_submission(toy, np.asarray(answers), path, wants, probability)
    assert [f.name for f in tmp_path.iterdir()] == ["submission.csv"]
    with open(path, newline="") as file:
        return list(csv.reader(file))


def cells(rows):
    return [row[1] for row in rows[1:]]


def test_labels_are_class_names(tmp_path):
    rows = written(tmp_path, task(), [2, 0, 1], metric("label"))
    assert rows == [["id", "label"], ["t1", "fox"], ["t2", "cat"], ["t3", "dog"]]


def test_sets_are_joined_by_the_samples_separator(tmp_path):
    form = Form(("id", "tags"), IDS, "labels", separator=",")
    toy = task("multilabel", np.eye(4, 3, dtype=np.uint8), form=form)
    assert cells(written(tmp_path, toy, [[1, 0, 1], [0, 0, 0], [0, 1, 0]], metric("labels"))) == ["cat,fox", "", "dog"]


def test_rankings_are_cut_to_the_samples_length(tmp_path):
    toy = task(form=Form(("id", "label"), IDS, "labels", at_most=2))
    ranked = np.argsort(-P, axis=1)
    assert cells(written(tmp_path, toy, ranked, metric("ranking", k=3))) == ["dog fox", "cat dog", "fox cat"]


@pytest.mark.parametrize("answers", [[[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]], [0.2, 0.5, 0.9]])
def test_a_number_is_the_probability_of_the_positive_class(tmp_path, answers):
    toy = task("binary", [0, 1, 0], ("cat", "dog"), Form(("id", "dog"), IDS, "number", whole_numbers=True))
    assert cells(written(tmp_path, toy, answers, metric("probability"))) == ["0.2", "0.5", "0.9"]


@pytest.mark.parametrize("answers", [[1, 0, 1], [[0, 1], [1, 0], [0, 1]]])
def test_binary_labels_go_into_a_number_column_as_flags(tmp_path, answers):
    toy = task("binary", [0, 1, 0], ("0", "1"), Form(("id", "y"), IDS, "number"))
    assert cells(written(tmp_path, toy, answers, metric("labels"))) == ["1", "0", "1"]


def test_grades_are_whole_where_the_samples_are(tmp_path):
    form = Form(("id", "grade"), IDS, "number", whole_numbers=True)
    toy = task("ordinal", [0, 1, 2], ("0", "1", "3"), form, grades=(0.0, 1.0, 3.0))
    assert cells(written(tmp_path, toy, [0.0, 3.0, 1.0], metric("grade"))) == ["0", "3", "1"]
    assert cells(written(tmp_path, toy, [0, 2, 1], metric("label"))) == ["0", "3", "1"]
    assert cells(written(tmp_path, toy, [0.5, 2.25, 1], metric("number"))) == ["0.5", "2.25", "1"]


def test_a_quantity_is_not_rounded_though_the_sample_holds_zeros(tmp_path):
    form = Form(("id", "y"), IDS, "number", whole_numbers=True)
    toy = task("regression", [-1.5, 15.5], (), form)
    assert cells(written(tmp_path, toy, [11.38, -0.25, 1e-7], metric("number"))) == ["11.38", "-0.25", "0.0000001"]


def test_columns_follow_the_sample_and_unknown_classes_get_nothing(tmp_path):
    toy = task(form=Form(("id", "fox", "yak", "cat"), IDS, "columns", column_of=(2, -1, 0)))
    rows = written(tmp_path, toy, P, metric("probability"))
    assert rows[:2] == [["id", "fox", "yak", "cat"], ["t1", "0.3", "0", "0.2"]]
    assert written(tmp_path, toy, [1, 0, 2], metric("label"))[2] == ["t2", "0", "0", "1"]


def test_the_name_of_a_column_may_hold_any_letter(tmp_path):
    columns = ("id", "a\rb", 'a "b"', "a,b")
    toy = task(form=Form(columns, IDS, "columns", column_of=(0, 1, 2)))
    assert tuple(written(tmp_path, toy, P, metric("probability"))[0]) == columns


def test_flags_fill_columns_where_the_metric_wants_labels(tmp_path):
    form = Form(("id", "cat", "dog", "fox"), IDS, "columns", column_of=(0, 1, 2))
    toy = task("multilabel", np.eye(3, dtype=np.uint8), form=form)
    answers = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert written(tmp_path, toy, answers, metric("labels"))[1] == ["t1", "1", "0", "1"]


def test_rows_are_repeated_and_ordered_as_in_the_sample(tmp_path):
    toy = task(form=Form(("id", "label"), ("t3", "t1", "t3", "t2"), "label"))
    rows = written(tmp_path, toy, [0, 1, 2], metric("label"))
    assert rows[1:] == [["t3", "fox"], ["t1", "cat"], ["t3", "fox"], ["t2", "dog"]]


names = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=" "), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.lists(names, min_size=2, max_size=5, unique=True), st.lists(names, min_size=1, max_size=8), st.data())
def test_what_is_written_reads_back(tmp_path_factory, classes, ids, data):
    path = tmp_path_factory.mktemp("s") / "s.csv"
    tests = tuple(dict.fromkeys(ids))
    index = st.integers(0, len(classes) - 1)
    chosen = np.array(data.draw(st.lists(index, min_size=len(tests), max_size=len(tests))))
    toy = task(target=[0, 1], classes=classes, form=Form(("id", "a,b"), tuple(ids), "label"), test_ids=tests)
    write_submission(toy, chosen, path, metric("label"))
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == ids
    assert [row[1] for row in rows[1:]] == [classes[chosen[tests.index(i)]] for i in ids]


@pytest.mark.parametrize(
    ("old", "new"),
    [("id,label", "id,target"), ("t1,", "t9,"), ("t1,fox\n", ""), ("fox", "yak"), ("fox", ""), ("t1,fox", "t1,fox,1")],
)
def test_a_file_that_was_changed_does_not_pass(tmp_path, old, new):
    path = tmp_path / "s.csv"
    write_submission(task(), np.array([2, 0, 1]), path, metric("label"))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(AssertionError):
        check_submission(task(), path)


def test_a_refused_answer_leaves_the_good_file_where_it_is(tmp_path):
    path, toy = tmp_path / "s.csv", task(classes=("cat", "dog", "fox"), form=Form(("id", "tags"), IDS, "labels"))
    write_submission(toy, np.array([[2, 0], [0, 1], [1, 2]]), path, metric("ranking", k=2))
    before = path.read_text()
    with pytest.raises(AssertionError, match="repeats a name"):
        write_submission(toy, np.array([[2, 2], [0, 1], [1, 2]]), path, metric("ranking", k=2))
    assert path.read_text() == before
    assert [f.name for f in tmp_path.iterdir()] == ["s.csv"]


def test_class_names_may_hold_the_separator_of_a_ranking(tmp_path):
    toy = task(classes=("fin whale", "whale", "fin"), form=Form(("id", "Id"), IDS, "labels", at_most=2))
    rows = written(tmp_path, toy, [[0, 1], [1, 0], [2, 1]], metric("ranking", k=2))
    assert cells(rows) == ["fin whale whale", "whale fin whale", "fin whale"]


def test_names_that_are_made_of_other_names_are_ranked_too(tmp_path):
    form = Form(("id", "label"), IDS, "labels", at_most=3)
    toy = task(classes=("red fox", "fox", "red"), form=form)
    rows = written(tmp_path, toy, [[0, 1, 2], [2, 1, 0], [1, 0, 2]], metric("ranking", k=3))
    assert cells(rows) == ["red fox fox red", "red fox red fox", "fox red fox red"]
    for cell in ("fox fox", "red fox red fox red fox", "red fox red fox fox red"):
        with pytest.raises(AssertionError, match=r"repeats a name|too many"):
            check_row(toy, tmp_path, ["t1", cell], set(toy.classes), empty=False)


@pytest.mark.parametrize(("wants", "answers"), [("grade", [0.0, 2.0, 1.0]), ("number", [-0.1, 1.7, 0.9])])
def test_grades_over_a_column_per_class_are_flags(tmp_path, wants, answers):
    form = Form(("id", "0", "1", "3"), IDS, "columns", column_of=(0, 1, 2), sums_to_one=True)
    toy = task("ordinal", [0, 1, 2], ("0", "1", "2"), form, grades=(0.0, 1.0, 2.0))
    rows = written(tmp_path, toy, answers, metric(wants), P)
    assert rows[1:] == [["t1", "1", "0", "0"], ["t2", "0", "0", "1"], ["t3", "0", "1", "0"]]


def test_a_number_is_answered_by_the_name_of_the_nearest_grade(tmp_path):
    toy = task(
        "ordinal", [0, 1, 2], ("none", "mild", "grave"), Form(("id", "label"), IDS, "label"), grades=(0.0, 1.0, 5.0)
    )
    assert cells(written(tmp_path, toy, [0.8, 4.2, 0.2], metric("number"))) == ["mild", "grave", "none"]


def test_a_ranking_metric_over_a_column_per_class_is_answered_by_probabilities(tmp_path):
    toy = task(form=Form(("id", "cat", "dog", "fox"), IDS, "columns", column_of=(0, 1, 2)))
    rows = written(tmp_path, toy, np.argsort(-P, axis=1), metric("ranking", k=3), P)
    assert np.array(rows[1:])[:, 1:].astype(float) == pytest.approx(P)


def test_probabilities_near_one_do_not_tie(tmp_path):
    toy = task("binary", [0, 1, 0], ("cat", "dog"), Form(("id", "dog"), IDS, "number"))
    near = [1 - 1e-9, 1 - 2e-9, 1 - 3e-9]
    assert [float(cell) for cell in cells(written(tmp_path, toy, near, metric("probability")))] == near


def test_grades_in_half_steps_are_not_rounded_though_the_sample_shows_whole_ones(tmp_path):
    form = Form(("id", "grade"), IDS, "number", whole_numbers=True)
    toy = task("ordinal", [0, 1, 2], ("0", "0.5", "1"), form, grades=(0.0, 0.5, 1.0))
    assert cells(written(tmp_path, toy, [0.0, 0.5, 1.0], metric("grade"))) == ["0", "0.5", "1"]


def test_a_prediction_that_is_no_number_is_never_written(tmp_path):
    toy = task("regression", [0.5, 1.5], (), Form(("id", "y"), IDS, "number"))
    with pytest.raises(AssertionError):
        write_submission(toy, np.array([1.0, np.nan, 2.0]), tmp_path / "s.csv", metric("number"))
    assert not list(tmp_path.iterdir())


def test_the_constant_is_what_train_rows_hold_on_average():
    assert constant_prediction(task(target=[0, 0, 1, 2])).tolist() == [[0.5, 0.25, 0.25]] * 3
    sets = task("multilabel", np.array([[1, 0], [1, 1]], np.uint8), "ab")
    assert constant_prediction(sets).tolist() == [[1.0, 0.5]] * 3
    numbers = task("regression", np.array([0.0, 1.0, 8.0]), ())
    assert constant_prediction(numbers).tolist() == [[3.0]] * 3
    assert constant_prediction(numbers, constant="median").tolist() == [[1.0]] * 3
    assert constant_prediction(replace(numbers), rows=[0, 1]).tolist() == [[0.5]] * 3


def test_no_set_is_empty_where_no_train_rows_is(tmp_path):
    toy = task("multilabel", np.eye(3, dtype=np.uint8), form=Form(("id", "tags"), IDS, "labels"))
    assert cells(written(tmp_path, toy, np.zeros((3, 3), int), metric("labels"), P)) == ["dog", "cat", "fox"]


def test_rows_sum_to_one_with_a_little_for_classes_never_seen(tmp_path):
    form = Form(("id", "fox", "yak", "cat"), IDS, "columns", column_of=(2, -1, 0), sums_to_one=True)
    rows = written(tmp_path, task(form=form), P, metric("probability"))[1:]
    assert [sum(map(float, row[1:])) for row in rows] == pytest.approx([1, 1, 1], abs=1e-6)
    assert all(0 < float(row[2]) < 1e-5 for row in rows)


def test_a_quantity_stays_within_what_train_rows_hold(tmp_path):
    toy = task("regression", [1.0, 100.0], (), Form(("id", "y"), IDS, "number"))
    assert cells(written(tmp_path, toy, [-3.0, 50.5, 104.0], metric("number"))) == ["1", "50.5", "100"]


def test_numbers_of_new_pictures_are_written_without_train_rows(tmp_path):
    toy = task("regression", np.zeros(0), (), Form(("id", "y"), IDS, "number"))
    write_submission(toy, np.arange(float(len(IDS))), tmp_path / "s.csv", metric("mae"))
    assert (tmp_path / "s.csv").read_text().splitlines()[1].startswith(f"{IDS[0]},0")
