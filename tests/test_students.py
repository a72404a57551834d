"""Students: what they are taught, that no held-out label reaches them, and when a plan asks for one."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import LOCAL, Killed, World, check, situation, trial
from hypothesis import given
from hypothesis import strategies as st
from nets import CPU, TINY, fold_over

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.dry_run import rehearsed, situation_on
from autoclimb.errors import Mistake
from autoclimb.learn import taught
from autoclimb.learn.batches import batch_of, epoch_batches, labelled_in
from autoclimb.learn.loop import Targets, targets_on
from autoclimb.learn.material import Material, StoredFeatures, Taught, rows_of_fold
from autoclimb.learn.taught import taught_by
from autoclimb.learn.trial import run_trial
from autoclimb.search.cost import epoch_seconds
from autoclimb.search.fidelity import epochs_for, epochs_in, sound_at_its_size
from autoclimb.search.order import PLAN, plan_of
from autoclimb.search.rates import DEVICES
from autoclimb.search.retreat import instead_of
from autoclimb.search.space import SearchSpace
from autoclimb.search.starting import base_config
from autoclimb.search.students import LEAST, one_student, worth_teaching
from autoclimb.types import History

pytestmark = pytest.mark.long

KINDS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
N, M, FOLDS = 24, 10, 4


def material_of(kind: Any = "multiclass", width: int = 3) -> Material:
    """Pictures as bright as their class or number says, in noise."""
    draw = np.random.default_rng(0)
    label = np.arange(N + M) % width
    pictures = draw.normal(60 + 60 * label[:, None, None, None], 20, (N + M, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    target = np.eye(width, dtype=np.float32)[label[:N]]
    if kind == "multilabel":
        target[:, 0] = 1
    if kind == "regression":
        target = 100 + 50 * label[:N, None].astype(np.float32)
    return Material(kind, target.shape[1], target, np.arange(N) // 3 % FOLDS, pictures)


def run(config: Config, material: Material, folder: Path) -> dict[str, Any]:
    """The reply on a trial whose nets lie where students look for their teachers'."""
    return run_trial(config, material, folder / config.key, folder / "nets" / config.nets_key, folder, CPU)


def predictions(config: Config, folder: Path) -> list[np.ndarray]:
    return [np.load(folder / config.key / f"{part}.npy") for part in ("oof", "test")]


def fold_of(material: Material, number: int = 0, **changes: Any):
    return fold_over(*rows_of_fold(material, number), number, **changes)


# --- what is learned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_every_kind_of_task_learns_what_its_teachers_predict_of_held_out_and_test_rows(tmp_path, kind):
    material = material_of(kind, 2 if kind == "binary" else 3)
    teachers = [TINY.vary(folds=(0, 1), seed=seed) for seed in (0, 1)]
    student = TINY.vary(teachers=tuple(teacher.nets_key for teacher in teachers), folds=(0, 1), smoothing=0.1)
    for config in teachers:
        assert run(config, material, tmp_path)["status"] == "done"
    fold = fold_of(material, 1)
    taught = taught_by(student, material, fold, tmp_path / "nets")
    assert list(taught.rows) == [*fold.valid_rows, *material.test_rows]
    arrays = [np.load(tmp_path / "nets" / teacher.nets_key / "fold1.npz") for teacher in teachers]
    mean = np.mean([np.concatenate([each["oof_pred"], each["test_pred"]]) for each in arrays], 0)
    np.testing.assert_allclose(taught.target, mean, atol=1e-5)
    reply = run(student, material, tmp_path)
    assert reply["status"] == "done", reply["note"]
    assert reply["facts"]["taught"] == len(taught.rows)
    oof, test = predictions(student, tmp_path)
    assert np.isfinite(oof).all()
    assert np.isfinite(test).all()


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_no_label_of_a_held_out_row_reaches_the_student_of_its_fold(tmp_path, kind):
    material = material_of(kind)
    changed = material.target.copy()
    held_out = material.fold_of == 0
    changed[held_out] = np.roll(changed[held_out], 1, axis=0) if kind == "multiclass" else -1000
    answers = []
    for folder, target in ((tmp_path / "as it is", material.target), (tmp_path / "changed", changed)):
        student = TINY.vary(teachers=(TINY.nets_key,), mixup=0.2)
        for config in (TINY, student):
            assert run(config, replace(material, target=target), folder)["status"] == "done"
        answers.append(predictions(student, folder))
    for before, after in zip(*answers, strict=True):
        np.testing.assert_array_equal(before, after)


def test_labels_are_smoothed_and_what_teachers_answer_stays_as_it_is():
    taught = Taught(np.array([1, 4]), np.array([[0.7, 0.3], [0.2, 0.8]], np.float32))
    target = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    y = Targets(target, CPU, smoothing=0.2, even=0.5, taught=taught)[torch.tensor([0, 1, 2, 4])]
    np.testing.assert_allclose(y, [[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]], atol=1e-6)


def test_class_weights_are_of_labelled_rows_alone():
    material = material_of()
    fold = fold_of(material, taught=Taught(material.test_rows, np.full((M, 3), 1 / 3, np.float32)))
    _, weight = targets_on(CPU, material, fold, TINY.vary(class_weights="inverse-sqrt"))
    assert len(weight) == N + M
    assert (weight[material.test_rows] == 1).all()


@given(
    labelled=st.integers(2, 60),
    others=st.integers(0, 90),
    batch=st.integers(2, 32),
    share=st.sampled_from([0.1, 0.5, 0.9]),
    epoch=st.integers(0, 3),
)
def test_a_step_holds_no_more_taught_rows_than_its_share_and_an_epoch_is_one_of_train_rows(
    labelled, others, batch, share, epoch
):
    config = TINY.vary(batch=batch, teachers=("any",), taught=share)
    rows = np.arange(labelled, labelled + others)
    fold = fold_over(range(labelled), taught=Taught(rows, np.zeros((others, 2), np.float32)))
    material = Material("multiclass", 2, np.zeros((labelled, 2)), np.zeros(labelled), np.zeros((1, 1, 1, 3)))
    size = batch_of(config, fold)
    steps = [spec.rows for spec in epoch_batches(material, fold, config, 16, size, epoch)]
    assert {len(step) for step in steps} == {size}
    of_train = Counter(row for step in steps for row in step if row < labelled)
    of_teachers = Counter(row for step in steps for row in step if row >= labelled)
    assert max(of_train.values()) == 1
    assert labelled - len(of_train) < labelled_in(size, config, fold)
    for step in steps:
        assert (step >= labelled).sum() <= min(share, others / (labelled + others)) * size + 0.5
    assert max(of_teachers.values(), default=0) <= min(of_teachers.values(), default=0) + 1 or len(of_teachers) < others


def test_a_step_of_a_net_without_teachers_is_of_train_rows():
    fold = fold_over(range(9))
    assert labelled_in(8, TINY, fold) == 8


def test_where_classes_are_very_many_some_of_the_rows_are_taught(tmp_path, monkeypatch):
    material = material_of()
    run(TINY, material, tmp_path)
    student = TINY.vary(teachers=(TINY.nets_key,))
    full = taught_by(student, material, fold_of(material), tmp_path / "nets")
    monkeypatch.setattr(taught, "MOST_CELLS", 3 * 5)
    some = taught_by(student, material, fold_of(material), tmp_path / "nets")
    places = [list(full.rows).index(row) for row in some.rows]
    assert len(set(places)) == 5
    np.testing.assert_array_equal(some.target, full.target[places])


def test_a_test_row_has_the_views_that_are_kept_of_it_and_no_varied_picture():
    views = tuple(np.full((4, 1, 1, 1), n, np.float16) for n in range(2))
    stored = StoredFeatures(views, (np.full((2, 1, 1, 1), 2, np.float16),))
    seen = np.concatenate([stored.drawn(np.array([0, 3]), seed) for seed in range(40)], 1)[:, :, 0, 0]
    assert set(seen[0].ravel()) == {0, 1, 2}
    assert set(seen[1].ravel()) == {0, 1}


# --- what may go wrong ------------------------------------------------------------------------------------------------


def gone(folder: Path) -> None:
    (folder / "fold0.npz").unlink()


def damaged(folder: Path) -> None:
    (folder / "fold0.npz").write_bytes(b"PK")


def never_finished(folder: Path) -> None:
    (folder / "fold0.json").unlink()


def of_other_rows(folder: Path) -> None:
    np.savez(folder / "fold0.npz", oof_pred=np.zeros((2, 3)), test_pred=np.zeros((M, 3)))


def by_chosen_views(folder: Path) -> None:
    (folder / "fold0.json").write_text('{"tta": "flip"}')


@pytest.mark.parametrize("harm", [gone, damaged, never_finished, of_other_rows, by_chosen_views])
def test_teachers_that_cannot_teach_are_a_status_with_its_reason_and_nothing_comes_instead(tmp_path, harm):
    run(TINY, material_of(), tmp_path)
    harm(tmp_path / "nets" / TINY.nets_key)
    student = TINY.vary(teachers=(TINY.nets_key,))
    reply = run(student, material_of(), tmp_path)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "teacher")
    assert TINY.nets_key in reply["note"]
    failed = replace(trial(student.vary(seconds=9.0), status="failed"), facts=reply["facts"])
    assert instead_of(failed, History([failed]), situation()) is None


@pytest.mark.parametrize("change", [{"train": "features", "backbone": "gradients"}, {"taught": 0.0}, {"taught": 1.0}])
def test_what_has_no_students_is_a_mistake_that_says_what_to_write(tmp_path, change):
    with pytest.raises(Mistake, match="write"):
        run(TINY.vary(teachers=("any",), **change), material_of(), tmp_path)


# --- the stage --------------------------------------------------------------------------------------------------------

HOUR = 3600.0
WITH_STUDENTS = [*list(PLAN)[:-1], "students", "rest"]
TOO_LITTLE = {
    "few test pictures": {"answered": 100},
    "minutes": {"budget": 300.0},
    "views chosen by labels": {"space": SearchSpace(tta=["auto"])},
}


def climbed(plan: list[str] | None, **changes: Any) -> World:
    w = World(situation(**{"budget": 4 * HOUR, **changes}), opening=12.0)
    w.climb(plan_of(plan))
    return w


def students_in(w: World) -> list[Config]:
    return [config for config in w.ran if config.teachers]


def test_a_plan_has_students_only_where_it_names_them():
    assert "students" not in PLAN
    assert not students_in(climbed(None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_is_taught_by_the_best_finalists_over_all_folds_and_trained_soundly(kind):
    w = climbed(WITH_STUDENTS, kind=kind)
    student = students_in(w)[0]
    finals = [t for t in w.record.values() if t.stage == "finalists" and len(t.config.folds) == 5]
    best = max(finals, key=lambda t: t.score).config
    assert student.teachers[0] == best.nets_key
    assert set(student.teachers) <= {t.config.nets_key for t in finals}
    assert (student.backbone, student.size, student.folds) == (best.backbone, best.size, best.folds)
    assert epochs_in(student.seconds, student, w.situation) >= LEAST * sound_at_its_size(student, w.situation)
    for config in w.ran:
        check(config, w.situation)
    assert 0.9 * w.clock.budget <= w.clock.spent() + w.reserve() <= w.clock.budget + 1e-6


@pytest.mark.parametrize("name", TOO_LITTLE)
def test_where_a_student_would_not_pay_the_finalists_have_all_the_time(name):
    changes = TOO_LITTLE[name]
    w = climbed(WITH_STUDENTS, **changes)
    assert not students_in(w)
    assert w.ran == climbed(None, **changes).ran


def test_a_pretrained_net_that_pixels_came_first_for_is_taught_with_enough_epochs_at_its_size():
    s = situation(budget=4 * HOUR, side=200, answered=1000, pretrained=LOCAL[1:2])
    base = base_config(History(), s)
    assert epochs_for("enough", base, s) == sound_at_its_size(base, s) < epochs_for("sound", base, s)
    assert worth_teaching(History(), s)
    finalist = replace(trial(base.vary(folds=(0, 1, 2, 3, 4), seconds=300.0), "finalists"), score=0.9)
    assert list(one_student(History([finalist]), replace(s, left=lambda: 6000.0)))


def test_a_student_whose_time_is_gone_is_not_asked_for():
    config = Config(backbone="resnet10t", folds=(0, 1, 2, 3, 4), seconds=200.0)
    history = History([replace(trial(config, "finalists"), score=0.9)])
    assert not list(one_student(history, situation(budget=HOUR, left=lambda: 20.0)))
    assert list(one_student(history, situation(budget=HOUR, left=lambda: HOUR)))


@pytest.mark.parametrize("before", [0, 1])
def test_a_run_killed_at_its_student_or_at_a_teacher_goes_on_as_if_nothing_had_been(before):
    unharmed = climbed(WITH_STUDENTS)
    place = unharmed.ran.index(students_in(unharmed)[0]) + 1 - before
    killed = World(situation(budget=4 * HOUR), opening=12.0, kill_at=place, lose=0.0)
    with pytest.raises(Killed):
        killed.climb(plan_of(WITH_STUDENTS))
    killed.climb(plan_of(WITH_STUDENTS))
    assert killed.asked == unharmed.asked
    assert killed.record.keys() == unharmed.record.keys()


def test_an_epoch_of_a_student_takes_the_time_of_what_is_taught_beside():
    s = situation(rows=2000, answered=400)
    plain, student = Config(), Config(teachers=("any",), taught=0.5)
    assert epoch_seconds(student, s) == pytest.approx(epoch_seconds(plain, s) * 2400 / 1600)
    many = replace(s, answered=10_000)
    assert epoch_seconds(student, many) == pytest.approx(2 * epoch_seconds(plain, many))


def test_a_plan_that_is_not_run_shows_the_student_and_why():
    facts = {"kind": "multiclass", "rows": 2500, "answered": 2500, "side": 100, "pictures": 1, "folds": 5}
    facts |= {"metric": "accuracy", "wants": "label", "beta": 0.0, "average": "", "by_class": False, "imbalance": 1.0}
    s = situation_on(DEVICES["cpu"], hub=False, pretrained=True, budget=4 * HOUR, seed=0, space=SearchSpace(), **facts)
    plan = rehearsed(s, DEVICES["cpu"], WITH_STUDENTS)
    assert len([row for row in plan.trials if row.stage == "students"]) == 1
    assert "a student" in str(plan)
    assert plan.finalists
    assert plan.seconds <= 4 * HOUR
    assert math.isfinite(plan.seconds)


def test_the_predictions_of_a_student_are_those_of_its_folds(tmp_path):
    material = material_of()
    student = TINY.vary(teachers=(TINY.nets_key,), folds=(0, 1))
    run(TINY.vary(folds=(0, 1)), material, tmp_path)
    run(student.vary(folds=(0,)), material, tmp_path)
    files = (tmp_path / "nets" / student.nets_key).glob("fold0.*")
    before = {file: file.stat().st_mtime_ns for file in files}
    assert len(before) == 3
    assert run(student, material, tmp_path)["folds"] == 2
    assert {file: file.stat().st_mtime_ns for file in before} == before
    oof = read_predictions(tmp_path / student.key / "oof")
    assert (oof.predicted == np.isin(material.fold_of, (0, 1))).all()
