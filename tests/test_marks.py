"""Marks: what autoclimb writes as a submission is marked as it was meant, in every form of a sample."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from folders import table, task

from autoclimb.contest.marks import marked
from autoclimb.errors import Mistake
from autoclimb.report.submission import write_submission
from autoclimb.score.metrics import METRICS, metric_named
from autoclimb.types import Form, Goal, Task

IDS = tuple(f"t{i}" for i in range(6))
TRUTH = np.array([0, 1, 2, 0, 1, 2])
SETS = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], np.uint8)
P = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.2, 0.3], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])


def form(cell: str, *columns: str, **more) -> Form:
    return Form(("id", *(columns or ("label",))), IDS, cell, **more)  # type: ignore[arg-type]


def of(kind: str, target: np.ndarray, some_form: Form, classes=("cat", "dog", "fox"), **more) -> Task:
    return task(kind, target, classes, some_form, IDS, **more)  # type: ignore[arg-type]


WIDE = form("columns", "cat", "dog", "fox", column_of=(0, 1, 2))
MIXED = form("columns", "fox", "cat", "dog", column_of=(2, 0, 1))
LONG = Form(
    ("id_class", "p"),
    tuple(f"{i}_{c}" for i in IDS for c in ("cat", "dog", "fox")),
    "columns",
    column_of=(0, 1, 2),
    rows=tuple((i, c) for i in IDS for c in range(3)),
)
QUOTED = form("labels", separator=", ", brackets=("[", "]", "'"))
TWO = np.array([0, 1, 1, 0, 1, 0])
PAIRS = np.stack([1 - P[:, 0], P[:, 0]], 1)
NUMBERS = np.array([1.5, 2.0, 0.25, 3.0, 1.0, 2.5])
GRADED = of("ordinal", TRUTH, form("number"), ("0", "1", "3"), grades=(0.0, 1.0, 3.0))
CASES = {
    "a class name": (of("multiclass", TRUTH, form("label")), "accuracy", P.argmax(1), TRUTH, None),
    "a class name for f1": (of("multiclass", TRUTH, form("label")), "f1-macro", P.argmax(1), TRUTH, None),
    "a set": (of("multilabel", SETS, form("labels")), "f2", (P > 0.25).astype(np.uint8), SETS, None),
    "a quoted list": (of("multilabel", SETS, QUOTED), "f2", (P > 0.25).astype(np.uint8), SETS, None),
    "a ranking": (of("multiclass", TRUTH, form("labels", at_most=2)), "map@2", np.argsort(-P)[:, :2], TRUTH, None),
    "columns": (of("multiclass", TRUTH, WIDE), "log-loss", P, TRUTH, P),
    "columns in another order": (of("multiclass", TRUTH, MIXED), "log-loss", P, TRUTH, P),
    "a row an item and class": (of("multiclass", TRUTH, LONG), "log-loss", P, TRUTH, P),
    "columns of labels": (of("multilabel", SETS, WIDE), "auc", P, SETS, P),
    "a probability": (of("binary", TWO, form("number"), ("no", "yes")), "auc", PAIRS, TWO, PAIRS),
    "a flag": (of("binary", TWO, form("number"), ("0", "1")), "f1", (PAIRS[:, 1] > 0.4).astype(int), TWO, None),
    "a grade": (
        GRADED,
        "qwk",
        np.array([0.0, 1.0, 1.0, 0.0, 3.0, 3.0]),
        np.array([0.0, 1.0, 3.0, 0.0, 1.0, 3.0]),
        None,
    ),
    "a quantity": (of("regression", NUMBERS, form("number"), ()), "mae", NUMBERS[::-1].copy(), NUMBERS, None),
    "a decimal comma": (
        of("regression", NUMBERS, form("number", delimiter=";", decimal=","), ()),
        "rmse",
        NUMBERS[::-1].copy(),
        NUMBERS,
        None,
    ),
}


def right_answers(toy: Task, truth: np.ndarray, metric) -> np.ndarray:
    """The truth as answers that `write_submission` takes."""
    if metric.wants == "probability" and truth.ndim == 1:
        return np.eye(toy.width)[truth]
    return truth[:, None] if metric.wants == "ranking" else truth.astype(float) if toy.kind == "ordinal" else truth


@pytest.mark.parametrize("case", CASES)
def test_a_written_submission_is_marked_as_the_metric_says(tmp_path, case):
    toy, name, answers, truth, p = CASES[case]
    metric = metric_named(name)
    write_submission(toy, answers, tmp_path / "mine.csv", metric, p)
    write_submission(toy, right_answers(toy, truth, metric), tmp_path / "answers.csv", metric)
    mark = marked(toy, metric, tmp_path / "mine.csv", tmp_path / "answers.csv")
    value = metric.shown(Goal(metric, toy.kind, toy.grades).score(truth, answers))
    assert mark.score == pytest.approx(value)
    assert mark.stderr > 0


def answered(tmp_path: Path, *rows: tuple, head: tuple = ("id", "label")) -> Path:
    return table(tmp_path / "mine.csv", head, *rows)


def test_rows_may_come_in_any_order_and_with_other_columns(tmp_path):
    toy = of("multiclass", TRUTH, form("label"))
    names = [("cat", "dog", "fox")[i] for i in TRUTH]
    right = table(tmp_path / "a.csv", ("usage", "id", "label"), *(("x", i, n) for i, n in zip(IDS, names, strict=True)))
    mine = answered(tmp_path, *reversed(list(zip(IDS, names, strict=True))))
    assert marked(toy, metric_named("accuracy"), mine, right).score == 1.0


def test_the_answers_may_be_known_for_some_rows_only(tmp_path):
    right = table(tmp_path / "a.csv", ("id", "label"), ("t0", "cat"), ("t3", "dog"))
    mine = answered(tmp_path, *((i, "cat") for i in IDS))
    mark = marked(of("multiclass", TRUTH, form("label")), metric_named("accuracy"), mine, right)
    assert (mark.score, len(mark.truth)) == (0.5, 2)


def test_a_class_that_train_rows_lack_counts_as_one_of_its_own(tmp_path):
    toy = of("multiclass", TRUTH, form("label"))
    right = table(tmp_path / "a.csv", ("id", "label"), *((i, "dog" if i == "t5" else "emu") for i in IDS))
    mine = answered(tmp_path, *((i, "emu" if i == "t0" else "cat") for i in IDS))
    assert marked(toy, metric_named("accuracy"), mine, right).score == pytest.approx(1 / 6)


@pytest.mark.parametrize("cell", ["label", "labels"])
def test_answers_without_any_label_of_the_train_rows_are_of_another_set(tmp_path, cell):
    toy = of("multiclass", TRUTH, form("label")) if cell == "label" else of("multilabel", SETS, form("labels"))
    others = answered(tmp_path, *((name, "3.02") for name in IDS))
    with pytest.raises(Mistake, match=r"'3\.02', and no label of a train row"):
        marked(toy, metric_named("accuracy" if cell == "label" else "f2"), others, others)


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ([(i, "cat") for i in IDS[1:]], ("id", "label"), "mine.csv lacks 't0'"),
        ([(i, "cat") for i in (*IDS, "t9")], ("id", "label"), "mine.csv answers 't9', which nobody asks for"),
        ([(i, "cat") for i in IDS], ("id", "class"), "mine.csv has no column 'label', but id, class"),
    ],
)
def test_a_submission_of_other_ids_or_columns_is_refused(tmp_path, rows, head, message):
    right = table(tmp_path / "a.csv", ("id", "label"), *((i, "cat") for i in IDS))
    with pytest.raises(Mistake, match=message):
        marked(
            of("multiclass", TRUTH, form("label")),
            metric_named("accuracy"),
            answered(tmp_path, *rows, head=head),
            right,
        )


@pytest.mark.parametrize("cell", ["many", "nan", "inf"])
def test_a_cell_that_is_no_number_is_refused(tmp_path, cell):
    right = table(tmp_path / "a.csv", ("id", "label"), *((i, "1") for i in IDS))
    mine = answered(tmp_path, *((i, cell) for i in IDS))
    with pytest.raises(Mistake, match="no number"):
        marked(of("regression", NUMBERS, form("number"), ()), metric_named("mae"), mine, right)


@pytest.mark.parametrize("again", ["cat", "dog"])
def test_an_id_that_is_answered_twice_is_named(tmp_path, again):
    toy = of("multiclass", TRUTH, form("label"))
    rows = [(name, "cat") for name in IDS]
    answers = table(tmp_path / "answers.csv", ("id", "label"), *rows)
    with pytest.raises(Mistake, match=r"mine\.csv answers 't0' twice"):
        marked(toy, metric_named("accuracy"), answered(tmp_path, *rows, ("t0", again)), answers)


def test_an_item_and_class_that_is_answered_twice_is_named(tmp_path):
    toy = of("multiclass", TRUTH, LONG)
    rows = [(name, 0.5) for name in LONG.ids]
    answers = table(tmp_path / "answers.csv", LONG.columns, *rows)
    mine = answered(tmp_path, *rows, ("t1_dog", 1.0), head=LONG.columns)
    with pytest.raises(Mistake, match=r"mine\.csv answers 't1_dog' twice"):
        marked(toy, metric_named("log-loss"), mine, answers)


def test_answers_for_rows_that_nobody_is_asked_for_are_named_before_anything_is_run(tmp_path):
    answers = table(tmp_path / "a.csv", ("id", "label"), *((i, "cat") for i in (*IDS, "t9")))
    with pytest.raises(Mistake, match=r"a\.csv answers 't9', which is no test row of toy; leave out such rows"):
        marked(of("multiclass", TRUTH, form("label")), metric_named("accuracy"), answers, answers)


def test_an_id_may_be_answered_as_often_as_the_sample_asks(tmp_path):
    twice = Form(("id", "label"), (*IDS, "t0"), "label")
    rows = [(name, "cat") for name in (*IDS, "t0")]
    answers = table(tmp_path / "answers.csv", ("id", "label"), *rows)
    toy = of("multiclass", TRUTH, twice)
    assert marked(toy, metric_named("accuracy"), answered(tmp_path, *rows), answers).score == 1.0
    with pytest.raises(Mistake, match="answers 't0' more often than the sample"):
        marked(toy, metric_named("accuracy"), answered(tmp_path, *rows, ("t0", "cat")), answers)


def test_items_with_a_row_for_each_class_may_be_known_in_part(tmp_path):
    toy = of("multiclass", TRUTH, LONG)
    rows = [(f"{i}_{c}", float(c == "dog")) for i in IDS for c in ("cat", "dog", "fox")]
    answers = table(tmp_path / "answers.csv", LONG.columns, *rows[:6])
    mine = answered(tmp_path, *rows, head=LONG.columns)
    assert len(marked(toy, metric_named("log-loss"), mine, answers).truth) == 2
    with pytest.raises(Mistake, match=r"mine\.csv lacks 't1'"):
        marked(toy, metric_named("log-loss"), answered(tmp_path, *rows[:3], head=LONG.columns), answers)


def test_files_without_a_header_are_read_by_the_order_of_all_columns(tmp_path):
    bare = Form(("id", "label"), IDS, "label", header=False, order=("id", "confidence", "label"))
    rows = [(name, 0.5, "cat") for name in IDS]
    text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
    (tmp_path / "mine.csv").write_text(text)
    mine = tmp_path / "mine.csv"
    mark = marked(of("multiclass", TRUTH, bare), metric_named("accuracy"), mine, mine)
    assert (mark.score, set(mark.truth)) == (1.0, {0})


@pytest.mark.parametrize("cell", ["2", ""])
def test_a_class_that_is_no_grade_cannot_be_scored_by_grades(tmp_path, cell):
    toy = of("ordinal", TRUTH, form("label"), ("0", "1", "3"), grades=(0.0, 1.0, 3.0))
    answers = table(tmp_path / "answers.csv", ("id", "label"), *((i, "1") for i in IDS))
    mine = answered(tmp_path, *((i, cell) for i in IDS))
    with pytest.raises(Mistake, match=f"cannot be scored: '{cell}' is no grade"):
        marked(toy, metric_named("qwk"), mine, answers)


def test_an_empty_cell_among_the_answers_is_no_class(tmp_path):
    toy = of("multiclass", TRUTH, form("labels", at_most=2))
    answers = table(tmp_path / "answers.csv", ("id", "label"), *((i, "cat" if i != "t3" else "") for i in IDS))
    with pytest.raises(Mistake, match=r"answers\.csv cannot be scored: an empty cell names no class"):
        marked(toy, metric_named("map@2"), answers, answers)


@pytest.mark.parametrize("case", CASES)
def test_every_metric_scores_the_answers_themselves_or_says_why_it_cannot(tmp_path, case):
    toy, name, _, truth, _ = CASES[case]
    write_submission(toy, right_answers(toy, truth, metric_named(name)), tmp_path / "a.csv", metric_named(name))
    for metric in (metric for metric in map(metric_named, METRICS) if toy.kind in metric.kinds):
        with suppress(Mistake):
            assert marked(toy, metric, tmp_path / "a.csv", tmp_path / "a.csv").score is not None


@pytest.mark.parametrize(
    ("case", "metric", "why"),
    [
        ("a class name", "log-loss", "log-loss scores probabilities, but the sample's cells hold class names"),
        ("a set", "roc-auc", "roc-auc scores probabilities, but the sample's cells hold class names"),
        ("a grade", "log-loss", "log-loss scores probabilities, but the sample's cells hold one number"),
        ("a flag", "map@3", "map@3 scores rankings, but the sample's cells hold one number"),
    ],
)
def test_a_metric_that_the_samples_cells_cannot_be_scored_by_is_refused(tmp_path, case, metric, why):
    toy, name, _, truth, _ = CASES[case]
    write_submission(toy, right_answers(toy, truth, metric_named(name)), tmp_path / "a.csv", metric_named(name))
    with pytest.raises(Mistake, match=f"{why}; name another metric"):
        marked(toy, metric_named(metric), tmp_path / "a.csv", tmp_path / "a.csv")
