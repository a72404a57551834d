"""Counters, dates, hashes and ids are no metadata; measurements and categories are."""

import hashlib

import numpy as np
import pytest
from folders import metric, picture, table
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.data.read.columns import gives_away, too_good
from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.identifiers import why_it_names_rows

ROWS = 60
DRAW = np.random.default_rng(0)
NAMING = {
    "a counter": ("row", range(ROWS)),
    "a counter from a thousand down": ("x", range(1000, 1000 - ROWS, -1)),
    "a counter of every second row": ("batch_of", [i // 2 for i in range(ROWS)]),
    "a counter that begins anew": ("frame", [i % 20 for i in range(ROWS)]),
    "a shuffled counter": ("x", DRAW.permutation(ROWS)),
    "a counter with decimals": ("x", [f"{i}.0" for i in range(ROWS)]),
    "ids of five digits": ("case", 10000 + 37 * DRAW.permutation(ROWS)),
    "numbers called ids": ("image_id", 3 * DRAW.permutation(ROWS)),
    "hashes": ("h", [hashlib.md5(bytes([i])).hexdigest()[:12] for i in range(ROWS)]),
    "dates": ("taken", [f"2021-03-{1 + i // 4:02d}" for i in range(ROWS)]),
    "days as numbers": ("taken", [20210301 + i // 4 for i in range(ROWS)]),
    "seconds since 1970": ("stamp", 1_600_000_000 + 977 * DRAW.permutation(ROWS)),
    "folds": ("kfold", DRAW.integers(0, 5, ROWS)),
    "a clock": ("lead_time", [f"{0.13 * i:.2f}" for i in range(ROWS)]),
}
TELLING = {
    "ages": ("age", DRAW.integers(20, 80, ROWS)),
    "areas": ("area", (10 ** DRAW.uniform(1, 5, ROWS)).astype(int)),
    "shares": ("share", DRAW.random(ROWS).round(4)),
    "two sites, sorted": ("site", [i // 30 for i in range(ROWS)]),
    "words": ("colour", [("red", "green")[i % 2] for i in range(ROWS)]),
    "cameras": ("camera_id", DRAW.integers(0, 4, ROWS)),
    "a dozen ages in order": ("age", range(20, 32)),
}


def as_text(values):
    return [str(v) for v in values]


@pytest.mark.parametrize("case", NAMING)
def test_what_only_names_rows_is_known_by_its_values(case):
    name, values = NAMING[case]
    assert why_it_names_rows(name, as_text(values), as_text(range(ROWS, ROWS + 20)))


@pytest.mark.parametrize("case", TELLING)
def test_what_describes_pictures_is_no_name(case):
    name, values = TELLING[case]
    assert why_it_names_rows(name, as_text(values), as_text(values)) == ""


@given(st.lists(st.integers(0, 9), min_size=40, max_size=80))
def test_a_digit_in_any_order_is_no_id_but_for_a_count(values):
    why = why_it_names_rows("grade", as_text(values), as_text(values))
    steps = np.diff(values)
    assert why == "" or max((steps >= 0).mean(), (steps <= 0).mean()) >= 0.95 or (np.abs(steps) == 1).mean() >= 0.9


@pytest.mark.parametrize(
    ("cells", "telling"),
    [
        ([f"{i % 3}" for i in range(ROWS)], True),  # the label in other words
        (["2020" if i % 3 == 1 else "" for i in range(ROWS)], True),  # filled in for one label only
        ([f"{i % 3 * 10 + i / 100}" for i in range(ROWS)], True),  # a run of numbers for each label
        ([f"{i % 3 * 10 + i}" for i in range(ROWS)], False),
        (["m" if i % 2 else "f" for i in range(ROWS)], False),
    ],
)
def test_a_column_that_tells_the_label_too_well_is_a_leak(cells, telling):
    assert too_good(cells, [i % 3 for i in range(ROWS)]) == telling


def test_a_column_gives_nothing_away_where_one_label_is_nearly_all():
    labels = [int(i == 0) for i in range(200)]
    assert not gives_away(["x"] * 200, labels)
    assert gives_away([str(v) for v in [int(i % 10 == 0) for i in range(200)]], [int(i % 10 == 0) for i in range(200)])


def test_rows_sorted_by_class_are_not_learned_by_their_number(tmp_path):
    order = DRAW.permutation(84)
    for i in range(84):
        picture(tmp_path / ("train" if i < ROWS else "test") / f"{order[i]:04x}.png", seed=i)
    ages = DRAW.integers(20, 80, 84)
    rows = [(i, ages[i], "abc"[i * 3 // ROWS], f"{order[i]:04x}.png") for i in range(ROWS)]
    table(tmp_path / "train.csv", ("row", "age", "label", "file"), *rows)
    tests = [(i, ages[i], f"{order[i]:04x}.png") for i in range(ROWS, 84)]
    table(tmp_path / "test.csv", ("row", "age", "file"), *tests)
    task = read_folder(tmp_path, metric("label"))
    assert task.metadata.names == ("age",)
    assert {c.name: c.why for c in task.columns}["row"] == "it is a running number"
