from pathlib import Path

import pytest
from folders import metric

from autoclimb import demo
from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "TRAIN", 30)
    monkeypatch.setattr(demo, "TEST", 10)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_the_demo_reads_as_a_multilabel_competition(tmp_path, small):
    folder = demo.make_demo(tmp_path / "demo")
    task = read_folder(folder, metric("labels"))
    assert (task.kind, task.classes) == ("multilabel", tuple("0123456789"))
    assert (len(task.train_ids), len(task.test_ids)) == (30, 10)
    assert 1 <= task.target.sum(1).min() <= task.target.sum(1).max() <= 4
    assert not task.unreadable_test


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path, small):
    first, again, other = (demo.make_demo(tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert contents(first) == contents(again)
    assert contents(first).keys() != contents(other).keys()


def test_the_truth_lies_outside_the_folder(tmp_path, small):
    folder = demo.make_demo(tmp_path / "demo")
    truth = demo.digits_in(demo.answers_of(folder))
    assert list(truth) == list(read_folder(folder, metric("labels")).test_ids)
    assert all(1 <= len(s) <= 4 and s <= set("0123456789") for s in truth.values())
    assert not list(folder.rglob("*answers*"))


def test_a_submission_is_scored_by_f2_whatever_the_order_of_its_rows(tmp_path):
    demo.write_table(demo.answers_of(tmp_path / "demo"), {"a": [1, 2], "b": [2, 3]})
    demo.write_table(tmp_path / "submission.csv", {"b": [2], "a": [1, 2]})
    score, stderr = demo.f2_on_test_set(tmp_path / "demo", tmp_path / "submission.csv")
    assert score == pytest.approx((1 + 5 / 9) / 2)  # a is right, b finds one of two: 5 * 1 / (4 * 2 + 1)
    assert stderr > 0


def test_train_and_test_scenes_show_different_handwriting():
    split = demo.split_digits(0)
    train, test = ({image.tobytes() for image in split[s][0]} for s in ("train", "test"))
    assert len(train) > 1200
    assert not train & test


def test_an_existing_demo_is_reused_and_a_foreign_folder_is_not_touched(tmp_path, small):
    folder = demo.make_demo(tmp_path / "demo")
    stamp = (folder / "train.csv").stat().st_mtime_ns
    assert (demo.make_demo(folder) / "train.csv").stat().st_mtime_ns == stamp
    with pytest.raises(Mistake, match="is not this demo"):
        demo.make_demo(folder, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(Mistake, match="is not this demo"):
        demo.make_demo(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
