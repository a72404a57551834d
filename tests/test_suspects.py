"""Suspects: rows that out-of-fold predictions contradict, and a person's decisions about them."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import HOSTILE, METRICS, run_folder
from typer.testing import CliRunner

from autoclimb.cli import app
from autoclimb.errors import Mistake
from autoclimb.report.cleaner import card, suspects_in
from autoclimb.run.checks import check_decisions
from autoclimb.run.reporting import record_of
from autoclimb.run.result import open_run
from autoclimb.run.verdicts import Verdict, apply_verdicts, read_verdicts
from autoclimb.score.suspects import REASONS, suspects_of
from autoclimb.types import Form, Task


def noisy_classes(flipped: float, seed: int = 0, n: int = 2000, width: int = 5):
    """True classes predicted well, labels of which a share was flipped, and which rows those are."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, width, n)
    logits = draw.normal(0, 1, (n, width))
    logits[np.arange(n), true] += 4
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = draw.random(n) < flipped
    label = np.where(wrong, (true + draw.integers(1, width, n)) % width, true)
    return np.eye(width)[label], p, wrong, true


@pytest.mark.parametrize("flipped", [0.05, 0.1])
def test_flipped_labels_are_found_and_the_true_class_is_proposed(flipped):
    target, p, wrong, true = noisy_classes(flipped)
    listed = [s for s in suspects_of("multiclass", target, p) if s.reason == "contradicted"]
    rows = np.array([s.row for s in listed])
    assert wrong[rows].mean() > 0.75  # precision
    assert wrong[rows].sum() / wrong.sum() > 0.7  # recall: rows that are predicted without confidence stay out
    assert np.mean([s.proposed == true[s.row] for s in listed if wrong[s.row]]) > 0.95


def test_the_most_doubtful_come_first_within_a_reason():
    target, p, wrong, _ = noisy_classes(0.1)
    listed = [s for s in suspects_of("multiclass", target, p) if s.reason == "contradicted"]
    doubts = [s.doubt for s in listed]
    assert doubts == sorted(doubts, reverse=True)
    assert wrong[[s.row for s in listed[:50]]].mean() > 0.95


def test_a_row_between_two_classes_is_torn():
    target = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    p = 0.9 * target + 0.1 / 3
    p[0] = (0.52, 0.46, 0.02)
    torn = [s for s in suspects_of("multiclass", target, p) if s.reason == "torn"]
    assert [(s.row, s.proposed) for s in torn] == [(0, 1)]


def test_a_label_that_lacks_and_one_too_many_are_found():
    draw = np.random.default_rng(0)
    true = draw.random((400, 4)) < 0.4
    p = np.where(true, 0.95, 0.05) + draw.uniform(-0.04, 0.04, true.shape)
    target = true.copy()
    target[3, 2], target[7, 1] = ~true[3, 2], ~true[7, 1]
    by_row = {s.row: s for s in suspects_of("multilabel", target.astype(float), p)}
    for row, label in ((3, 2), (7, 1)):
        assert by_row[row].proposed == label
        assert by_row[row].reason == ("label unlikely" if target[row, label] else "label missing")


def test_a_number_far_off_is_found():
    draw = np.random.default_rng(0)
    true = draw.normal(50, 10, 300)
    p = true + draw.normal(0, 2, 300)
    true[17] += 60
    listed = suspects_of("regression", true[:, None], p[:, None])
    assert listed[0].row == 17
    assert len(listed) < 5


@given(st.integers(0, 40), st.sampled_from(["multiclass", "multilabel", "regression", "binary", "ordinal"]))
def test_whatever_is_predicted_a_row_is_listed_once_with_a_doubt_from_0_to_1(seed, kind):
    draw = np.random.default_rng(seed)
    n, width = int(draw.integers(1, 40)), 1 if kind == "regression" else int(draw.integers(2, 5))
    p = draw.random((n, width))
    target = (draw.random((n, width)) < 0.5).astype(float) if kind in ("multilabel", "regression") else None
    target = np.eye(width)[draw.integers(0, width, n)] if target is None else target
    p = p if kind in ("multilabel", "regression") else p / p.sum(1, keepdims=True)
    p[draw.random(n) < 0.2] = np.nan
    listed = suspects_of(kind, target, p)
    assert len({s.row for s in listed}) == len(listed)
    assert all(0 <= s.doubt <= 1 and s.reason in REASONS for s in listed)
    assert not [s for s in listed if np.isnan(p[s.row]).any()]


# --- a person's decisions --------------------------------------------------------------------------------------------


def task_of_kind(kind: str) -> Task:
    target = {
        "multiclass": np.array([0, 1, 1]),
        "multilabel": np.array([[1, 0], [0, 1], [1, 1]], np.uint8),
        "regression": np.array([1.0, 2.0, 3.0]),
    }[kind]
    classes = () if kind == "regression" else ("a, b", "c")
    form = Form(("id", "label"), (), "label")
    return Task("t", kind, classes, ("x", "y", "z"), ("", "", ""), target, (), (), form)  # type: ignore[arg-type]


def saved(path: Path, *rows: tuple[str, str, str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "decision", "label"), *rows])
    return path


@pytest.mark.parametrize(
    ("kind", "label", "becomes"), [("multiclass", "c", 1), ("multilabel", '["c"]', [0, 1]), ("regression", "7.5", 7.5)]
)
def test_rows_are_kept_dropped_and_relabelled(tmp_path, kind, label, becomes):
    path = saved(tmp_path / "decisions.csv", ("y", "drop", ""), ("x", "relabel", label), ("z", "keep", ""))
    task = task_of_kind(kind)
    verdicts, digest = read_verdicts(path)
    changed, dropped, words = apply_verdicts(task, verdicts)
    assert dropped.tolist() == [False, True, False]
    assert np.array_equal(changed.target[0], becomes)
    assert np.array_equal(changed.target[1:], task.target[1:])
    assert words == "decisions: 1 rows kept, 1 dropped, 1 relabelled"
    assert digest == read_verdicts(path)[1]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("nobody", "drop", ""), "no train row has the id 'nobody'"),
        (("x", "burn", ""), "line 2: write an id, then keep, drop or relabel"),
        (("x", "relabel", "d"), "'d' is no class"),
    ],
)
def test_what_decisions_cannot_mean_is_a_mistake(tmp_path, row, says):
    with pytest.raises(Mistake, match=says):
        apply_verdicts(task_of_kind("multiclass"), read_verdicts(saved(tmp_path / "d.csv", row))[0])


def test_another_file_is_no_decisions(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Mistake, match="must begin with the line id,decision,label"):
        read_verdicts(tmp_path / "d.csv")
    with pytest.raises(Mistake, match="cannot be read"):
        read_verdicts(tmp_path / "missing.csv")


def test_a_run_begun_without_decisions_does_not_go_on_with_some(tmp_path):
    check_decisions(tmp_path, {}, "new")
    check_decisions(tmp_path, {"fingerprint": {"decisions": "new"}}, "new")
    with pytest.raises(Mistake, match="other --decisions"):
        check_decisions(tmp_path, {"fingerprint": {}}, "new")


@pytest.mark.parametrize("kind", sorted(METRICS))
def test_every_choice_of_the_page_is_a_verdict_that_fit_takes(tmp_path, kind):
    record = record_of(open_run(run_folder(tmp_path / "run", kind)))
    task = replace(
        task_of_kind("multiclass"),
        kind=kind,
        classes=record.classes,
        train_ids=record.ids,
        target=record.truth,
        grades=record.goal.grades,
    )
    suspects = suspects_in(record)
    assert suspects or kind == "regression"
    for suspect in suspects:
        for choice in card(record, suspect)["choices"]:
            verdict = Verdict(record.id_of(suspect.row), "relabel", choice["label"], 2)
            changed, _, _ = apply_verdicts(task, [verdict])
            assert not np.array_equal(changed.target[suspect.row], task.target[suspect.row])


def test_the_command_writes_the_page_and_the_list(tmp_path):
    folder = run_folder(tmp_path / "run", "multilabel", HOSTILE, name=HOSTILE[0])
    result = CliRunner().invoke(app, ["suspects", str(folder)])
    assert result.exit_code == 0, result.output
    text = (folder / "suspects.html").read_text()
    assert text.count("<script") == 2  # the data and the page's own
    assert text.count("</script") == 2
    with (folder / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert result.stdout.startswith(f"{len(rows)} suspects: ")
    assert rows
