import numpy as np
import pytest
from folders import competition, metric, table

from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.groups import find_group

ROWS = 120
LABELS = [(i % 3,) for i in range(ROWS)]


def cells(groups, prefix="s", start=0, rows=ROWS):
    return [f"{prefix}{start + i % groups}" for i in range(rows)]


@pytest.mark.parametrize(
    "name", ["patient_id", "PatientID", "location", "plate", "series", "track", "sequence", "clip"]
)
def test_a_train_only_column_of_sources_groups_rows_and_says_that_it_may_promise_too_little(name):
    group, notes = find_group({name: cells(20)}, {}, LABELS)
    assert group == name
    assert "20 of them" in notes[0].text
    assert "too little" in notes[0].text
    assert "--group none" in notes[0].text


@pytest.mark.parametrize("name", ["patient", "origin"])
def test_new_values_in_test_convince_whatever_the_name(name):
    group, notes = find_group({name: cells(20)}, {name: cells(8, start=50, rows=40)}, LABELS)
    assert group == name
    assert "in common" in notes[0].text


def test_values_that_test_shares_leave_rows_ungrouped_and_a_hint_how_to_group():
    group, notes = find_group({"patient": cells(20)}, {"patient": cells(20, rows=40)}, LABELS)
    assert group is None
    assert "100% of test rows" in notes[0].text
    assert "--group patient" in notes[0].text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient", [f"p{i}" for i in range(ROWS)]),  # never repeats
        ("camera", cells(2)),  # a category
        ("site", ["s0"] * 70 + [f"s{i % 10}" for i in range(50)]),  # one giant
        ("patient", [""] * 80 + cells(10, rows=40)),  # mostly blank
        ("colour", cells(20)),  # no name of a source, unknown in test
        ("field", [f"{0.5 * (i % 20)}" for i in range(ROWS)]),  # a measurement
        ("scene", [f"s{i % 3}" for i in range(ROWS)]),  # the label in other words
    ],
)
def test_what_is_no_source_groups_nothing(name, values):
    assert find_group({name: values}, {}, LABELS)[0] is None


def test_a_label_of_one_group_alone_says_that_test_must_share_groups():
    clips = cells(20)
    labels = [(f"thing of {c}",) if c < "s15" else ("nothing",) for c in clips]
    labels = [(*row, "day" if i % 2 else "night") for i, row in enumerate(labels)]
    group, notes = find_group({"clip": clips}, {}, labels)
    assert group is None
    assert "labels occur with one of them alone" in notes[0].text


def test_of_nested_columns_the_coarsest_with_enough_groups_is_taken():
    experiment = [f"e{i // 10}" for i in range(ROWS)]
    plate = [f"e{i // 10}p{i // 5}" for i in range(ROWS)]
    group, notes = find_group({"plate": plate, "experiment": experiment}, {}, LABELS)
    assert group == "experiment"
    assert any("'plate'" in note.text for note in notes)
    new = {"plate": ["p9"] * 30, "experiment": experiment[:30]}
    assert find_group({"plate": plate, "experiment": experiment}, new, LABELS)[0] == "plate"


def test_few_experiments_are_groups_where_those_of_test_are_new():
    experiment = [f"e{i % 4}" for i in range(ROWS)]
    assert find_group({"experiment": experiment}, {"experiment": ["e7"] * 9}, LABELS)[0] == "experiment"
    assert find_group({"experiment": experiment}, {}, LABELS)[0] is None


def test_numbers_have_no_labels_to_lose():
    assert find_group({"farm": cells(20)}, {}, None)[0] == "farm"


def with_patients(root):
    competition(root, train=60)
    rows = [(f"a_{i:03d}", ("cat", "dog", "fox")[i % 3], f"p{i // 4}") for i in range(60)]
    table(root / "train.csv", ("id", "label", "patient"), *rows)
    return root


def test_a_folder_is_grouped_by_what_was_found_unless_told_otherwise(tmp_path):
    root = with_patients(tmp_path)
    task = read_folder(root, metric("label"))
    assert np.array_equal(task.groups, np.arange(60) // 4)
    assert any("stay in one fold" in note.text for note in task.notes)
    assert [(c.name, c.role, c.values) for c in task.columns] == [("label", "target", 3), ("patient", "group", 15)]
    free = read_folder(root, metric("label"), group="none")
    assert free.groups is None
    assert not any("stay in one fold" in note.text for note in free.notes)


def test_groups_of_test_rows_are_known_where_their_table_has_the_column(tmp_path):
    root = with_patients(tmp_path)
    assert read_folder(root, metric("label")).test_groups is None
    rows = [(f"b_{i:03d}", f"q{i // 2}") for i in range(len(list((root / "test").iterdir())))]
    table(root / "test.csv", ("id", "patient"), *rows)
    task = read_folder(root, metric("label"))
    assert len(task.test_groups) == len(task.test_ids)
