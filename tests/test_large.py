"""Data of any size: sets known by their labels, predictions by row, blends that read what they look at."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import task
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb import arrays
from autoclimb.arrays import (
    LabelSets,
    Mean,
    OnDisk,
    Predictions,
    View,
    label_sets,
    predicted_rows,
    read_predictions,
    write_predictions,
)
from autoclimb.blend import members, selection, sharpen
from autoclimb.blend import rows as blend_rows
from autoclimb.blend.choose import apply_blend, blend_of
from autoclimb.blend.nested import Nested
from autoclimb.config import Config
from autoclimb.data.facts import class_counts
from autoclimb.data.folds import make_folds
from autoclimb.data.read.folder import read_folder
from autoclimb.learn.loop import Targets
from autoclimb.learn.samplers import rarest_label_counts
from autoclimb.report.submission import constant_prediction
from autoclimb.run import setup as run_setup
from autoclimb.run import store
from autoclimb.run.checks import without_unreadable
from autoclimb.run.setup import learning_target, precision_for
from autoclimb.run.trials import losses_of_trials, scored
from autoclimb.run.verdicts import relabelled
from autoclimb.score.expected import expected_f_sets
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal, History, Trial

pytestmark = pytest.mark.long

few = settings(max_examples=40, deadline=None)
label_rows = st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=2, max_size=30)


@pytest.fixture(scope="module")
def large(benchmark_named):
    """The benchmark, whose cases are these at a smaller scale."""
    return benchmark_named("large")


@pytest.fixture
def small_blocks(monkeypatch):
    """Everything is large: 4,096 cells are worked on at a time, and more are not held in double precision."""
    for module in (arrays, sharpen):
        monkeypatch.setattr(module, "BLOCK", 1 << 12)
    for module in (arrays, blend_rows):
        monkeypatch.setattr(module, "LARGE", 1 << 12)
    monkeypatch.setattr(arrays, "DENSE", 100)


def sets_of(dense) -> LabelSets:
    dense = np.asarray(dense)
    ones = np.full((len(dense), dense.shape[1]), -1)
    for row, values in enumerate(dense):
        ones[row, : values.sum()] = np.flatnonzero(values)
    return LabelSets(ones, dense.shape[1])


# --- label sets ------------------------------------------------------------------------------------------------------


@few
@given(label_rows)
def test_label_sets_say_what_the_array_of_zeros_and_ones_says(values):
    dense = np.array(values, np.uint8)
    sets, some = sets_of(dense), np.arange(len(dense))[::2]
    np.testing.assert_array_equal(np.asarray(sets), dense)
    np.testing.assert_array_equal(sets[some], dense[some])
    np.testing.assert_array_equal(sets[dense[:, 0] > 0], dense[dense[:, 0] > 0])
    np.testing.assert_array_equal(sets[1], dense[1])
    np.testing.assert_array_equal(sets[some, 2], dense[some, 2])
    np.testing.assert_array_equal(np.asarray(sets.take(some)), dense[some])
    for axis in (0, 1):
        np.testing.assert_array_equal(sets.sum(axis), dense.sum(axis))
        np.testing.assert_array_equal(sets.any(axis), dense.any(axis))
        np.testing.assert_allclose(sets.mean(axis), dense.mean(axis))
    np.testing.assert_array_equal(sets.argmax(1), dense.argmax(1))
    assert (sets.shape, len(sets), sets.ndim) == (dense.shape, len(dense), 2)


@few
@given(label_rows)
def test_what_is_known_of_label_sets_is_what_is_known_of_their_rows(values):
    dense = np.array(values, np.uint8)
    plain = task(kind="multilabel", classes="abcde", target=dense)
    wide = task(kind="multilabel", classes="abcde", target=sets_of(dense))
    np.testing.assert_array_equal(make_folds(plain, 2, 0), make_folds(wide, 2, 0))
    assert class_counts(plain) == class_counts(wide)
    np.testing.assert_allclose(constant_prediction(plain), constant_prediction(wide))
    counts = rarest_label_counts(dense, "multilabel")
    np.testing.assert_array_equal(counts, rarest_label_counts(wide.target, "multilabel"))
    new = {1: np.array([1, 1, 1, 0, 1], np.uint8)}
    np.testing.assert_array_equal(relabelled(dense, new), np.asarray(relabelled(wide.target, new)))


def test_groups_of_label_sets_are_dealt_as_those_of_their_rows():
    dense = (np.random.default_rng(0).random((60, 5)) < 0.3).astype(np.uint8)
    groups = np.arange(60) // 3
    plain = task(kind="multilabel", classes="abcde", target=dense, groups=groups)
    wide = task(kind="multilabel", classes="abcde", target=sets_of(dense), groups=groups)
    np.testing.assert_array_equal(make_folds(plain, 4, 0), make_folds(wide, 4, 0))


def test_the_rarest_of_very_many_classes_are_counted_together_where_groups_are_dealt(monkeypatch):
    monkeypatch.setattr("autoclimb.data.folds.MOST_COUNTS", 400)
    target = np.concatenate([np.arange(40) % 2, np.arange(2, 62)])
    fold_of = make_folds(task(target=target, classes=[f"c{i}" for i in range(62)], groups=np.arange(100) // 5), 5, 0)
    assert set(np.bincount(fold_of)) == {20}
    assert np.bincount(fold_of[target == 0], minlength=5).min() >= 2


def test_sets_are_bytes_until_these_are_too_many(monkeypatch):
    sets = [[0, 5], [], [7]]
    assert isinstance(label_sets(sets, 20), np.ndarray)
    monkeypatch.setattr(arrays, "DENSE", 10)
    wide = label_sets(sets, 20)
    assert isinstance(wide, LabelSets)
    assert np.asarray(wide).sum(1).tolist() == [2, 0, 1]
    assert isinstance(label_sets(sets, 8), np.ndarray)  # as many indices would take more


def test_a_batchs_targets_are_made_from_classes_and_sets():
    device, rows = torch.device("cpu"), torch.tensor([2, 0])
    one = LabelSets(np.array([[1], [0], [2]]), 3)
    some = LabelSets(np.array([[0, 2], [1, -1], [-1, -1]], np.int32), 3)
    for target in (one, some, np.asarray(one), np.asarray(some, np.float32)):
        batch = Targets(target, device)[rows]
        assert batch.dtype == torch.float32
        np.testing.assert_array_equal(batch.numpy(), np.asarray(target)[[2, 0]])


# --- predictions -----------------------------------------------------------------------------------------------------


@few
@given(st.permutations(range(8)), st.integers(0, 8), st.sampled_from(["float16", "float32", "float64"]))
def test_predictions_give_their_rows_and_nan_for_others(order, count, dtype):
    rows = np.array(order[:count], np.int64)
    values = np.random.default_rng(0).random((count, 3)).astype(dtype)
    dense = np.full((8, 3), np.nan, "float32" if dtype == "float16" else dtype)
    dense[rows] = values
    p = Predictions.of(rows, values, 8)
    np.testing.assert_array_equal(np.asarray(p), dense)
    np.testing.assert_array_equal(p[order], dense[order])
    np.testing.assert_array_equal(p[3], dense[3])
    np.testing.assert_array_equal(p.predicted, np.isfinite(dense).all(1))
    np.testing.assert_array_equal(View(p, np.array([1, 0]))[:], dense[[1, 0]])
    np.testing.assert_array_equal(Mean((p, dense))[2:5], np.mean([dense[2:5]] * 2, axis=0))
    assert p[:].dtype == dense.dtype


def test_only_the_predicted_rows_are_on_disk_and_only_those_asked_for_are_read(tmp_path):
    dense = np.full((1000, 3), np.nan, np.float16)
    dense[100:300] = 0.25
    write_predictions(tmp_path / "oof", dense)
    assert (tmp_path / "oof.npy").stat().st_size == 200 * 3 * 2 + 128
    p = read_predictions(tmp_path / "oof")
    assert isinstance(p.values, OnDisk)
    assert p.precision == np.float16
    np.testing.assert_array_equal(np.asarray(p), dense.astype(np.float32))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_no_file_stays_open_however_many_predictions_are_known(tmp_path):
    write_predictions(tmp_path / "oof", np.ones((5, 2)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    many = [read_predictions(tmp_path / "oof") for _ in range(20)]
    assert all((p[[1, 3]] == 1).all() and p.predicted.all() for p in many)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_fold_added_to_predictions_leaves_the_places_of_before_right(tmp_path):
    first, second = np.full((2, 1), 0.1), np.full((2, 1), 0.9)
    write_predictions(tmp_path / "oof", Predictions.of(np.array([2, 3]), first, 4))
    before = np.array(read_predictions(tmp_path / "oof").place)
    write_predictions(tmp_path / "oof", Predictions.of(np.array([2, 3, 0, 1]), np.concatenate([first, second]), 4))
    torn = Predictions(read_predictions(tmp_path / "oof").values, before)  # ended between the two files
    np.testing.assert_array_equal(torn[[2, 3]], first)


def test_half_precision_is_for_large_predictions_of_which_no_order_near_one_is_asked(monkeypatch):
    some, fold_of = task(target=[0, 1, 2] * 10), np.arange(30) % 5

    def precision(metric: str) -> str:
        return precision_for(Goal(metric_named(metric), "multiclass"), some, fold_of)

    assert precision("accuracy") == "float32"
    monkeypatch.setattr(arrays, "LARGE", 10)
    assert [precision(m) for m in ("accuracy", "map@3", "f1-macro")] == ["float16"] * 3
    assert [precision(m) for m in ("roc-auc", "log-loss")] == ["float32"] * 2


# --- the way of the data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "metric"), [(1, "accuracy"), (3, "f2")])
def test_a_large_task_goes_through_and_is_answered_as_if_it_were_small(
    large, labels, metric, tmp_path, request, monkeypatch
):
    rows, classes, answered = 1500, 40, 200
    large.competition(tmp_path / "data", rows, answered, classes, labels)
    tested = np.random.default_rng(1).integers(0, classes, (answered, labels))
    written = []
    for blocks in (False, True):
        if blocks:
            request.getfixturevalue("small_blocks")
            monkeypatch.setattr(run_setup, "stored_precision", lambda wants, cells: "float32")
        read = read_folder(tmp_path / "data", metric_named(metric))
        assert isinstance(read.target, LabelSets) == (blocks and labels > 1)
        setup, scores = large.setup_of(read, metric, 5, tmp_path / f"run{blocks}"), {}
        assert learning_target(read).dtype.kind == ("u" if labels > 1 and not blocks else "i")
        without_unreadable(read, np.zeros(rows + answered, bool), setup.tell)
        for number in range(3):
            config = Config(seed=number, lr=0.001 * (1 + number), folds=(0, 1))
            large.trial_on_disk(setup, config, large.labels_of(read), tested, 7.0 + number)
            trial = scored(setup, config, "large", large.REPLY, 1.0)
            store.save_trial(setup.folder, trial)
            large.published(setup, History(), scores)
        losses = losses_of_trials(setup)(trial)
        assert (np.isfinite(losses) == (setup.fold_of < 2)).all()
        written.append((trial.score, (setup.folder / "submission.csv").read_text()))
    assert written[0][0] == pytest.approx(written[1][0])
    assert written[0][1] == written[1][1]


@pytest.mark.slow  # a quarter of a minute
def test_no_array_of_all_cells_is_made_of_many_rows_classes_and_trials(large, small_blocks, tmp_path, monkeypatch):
    for looked_at in ("blend.rows.MOST_CELLS", "blend.nested.MOST_COMPARED", "blend.sharpen.MOST_CELLS"):
        monkeypatch.setattr(f"autoclimb.{looked_at}", 4000)  # little beside one trial, as with large data
    monkeypatch.setattr("autoclimb.score.decide.MOST_LEARNED", 4000)
    for module in (arrays, sharpen):
        monkeypatch.setattr(module, "BLOCK", 1 << 16)  # a thousand rows of a member, forty of all of them
    rows, classes, answered, trials = 6000, 60, 600, 24
    draw = np.random.default_rng(0)
    truth, tested = draw.integers(0, classes, rows), draw.integers(0, classes, (answered, 1))
    about = task(
        target=truth,
        classes=[f"c{i}" for i in range(classes)],
        test_ids=[f"t{i}" for i in range(answered)],
    )
    setup, scores = large.setup_of(about, "accuracy", 5, tmp_path / "run"), {}
    for number in range(trials):
        config = Config(seed=number, lr=0.001 * (1 + number), folds=(0, 1, 2, 3, 4))
        large.trial_on_disk(setup, config, truth[:, None], tested, 4.0)
        store.save_trial(setup.folder, scored(setup, config, "large", large.REPLY, 1.0))
    large.published(setup, History(), scores)  # imports
    tracemalloc.start()
    large.published(setup, History(), scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one = rows * classes * 8  # a trial's predictions in double precision
    assert 3 * peak < trials * one, f"{peak / one:.1f} trials' predictions were in memory at once, of {trials}"


def test_trials_that_were_ranked_before_are_not_scored_again(large, tmp_path, monkeypatch):
    rows, answered = 200, 20
    truth, tested = np.arange(rows) % 3, np.arange(answered)[:, None] % 3
    setup = large.setup_of(task(target=truth, test_ids=[f"t{i}" for i in range(answered)]), "accuracy", 5, tmp_path)
    scores, computed = {}, []
    original = blend_rows.own_score
    monkeypatch.setattr(blend_rows, "own_score", lambda *about: computed.append(1) or original(*about))
    counts = []
    for number in range(4):
        config = Config(seed=number, lr=0.001 * (1 + number), folds=(0, 1, 2, 3, 4))
        large.trial_on_disk(setup, config, truth[:, None], tested, 3.0)
        store.save_trial(setup.folder, scored(setup, config, "large", large.REPLY, 1.0))
        computed.clear()
        large.published(setup, History(), scores)
        counts.append(len(computed))
    assert counts[3] == counts[2] > 0  # those of one trial


def test_a_quick_blend_looks_at_the_same_few_of_very_many_rows_each_time_and_the_one_in_depth_at_all(monkeypatch):
    monkeypatch.setattr(members, "QUICK_CELLS", 300)
    monkeypatch.setattr(members, "FEWEST_QUICK", 90)
    draw, truth, part_of = np.random.default_rng(0), np.arange(600) % 3, np.arange(600) // 3 % 5
    trials = []
    for seed in range(4):
        p = np.eye(3)[truth] + draw.random((600, 3))
        p = p / p.sum(1, keepdims=True)
        trials.append(Trial(Config(lr=0.001 + seed), "s", "done", 0.0, 0.0, 1.0, p, p[:9]))
    goal, scores = Goal(metric_named("accuracy"), "multiclass"), {}
    looked_at = []
    for count in (3, 4):
        blend = blend_of(trials[:count], TrainRows(goal, truth, part_of), quick=True, own_scores=scores)
        looked_at.append(np.flatnonzero(predicted_rows(blend.oof)))
        assert blend.rows == 100
        assert len(blend.test) == 9
    np.testing.assert_array_equal(*looked_at)
    assert blend_of(trials, TrainRows(goal, truth, part_of), allow=["best", "mean"]).rows == 600
    one_fold = np.where(part_of[:, None] == 0, trials[0].oof, np.nan)
    few = Trial(Config(), "s", "done", 0.0, 0.0, 1.0, one_fold, trials[0].test)
    assert blend_of([few], TrainRows(goal, truth, part_of), quick=True).rows == 100, "of 120 that it covers"


@pytest.mark.parametrize(("folds", "sets"), [(5, 1), (4, 2)])
def test_a_quick_blend_considers_the_sets_of_members_that_the_one_in_depth_does(folds, sets, monkeypatch):
    monkeypatch.setattr(members, "QUICK_CELLS", 300)
    monkeypatch.setattr(members, "FEWEST_QUICK", 90)
    part_of, usable = np.arange(600) % 5, np.ones(600, bool)
    trials = []
    for count in (folds, 1):
        oof = np.where(part_of[:, None] < count, np.full((600, 3), 1 / 3), np.nan)
        config = Config(lr=0.001 + count, folds=tuple(range(count)))
        trials.append(Trial(config, "s", "done", 0.0, 0.0, 1.0, oof, oof[:9]))
    some = members.members_of(trials)
    lot = members.quick_rows(some, usable)
    assert lot.sum() == 100
    quick, in_depth = (members.coverages(some, usable, rows, 3) for rows in (lot, usable))
    assert [found for found, _ in quick] == [found for found, _ in in_depth]
    assert len(quick) == sets


class Asked:
    """Predictions of which it is known how many rows were asked for at a time."""

    def __init__(self, rows: int, width: int) -> None:
        self.values, self.most = np.full((rows, width), 1 / width, np.float32), 0
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows):
        part = self.values[rows]
        self.most = max(self.most, len(part))
        return part


def test_blending_holds_one_block_of_all_its_members_together(small_blocks):
    parts = [Asked(3000, 4) for _ in range(16)]
    mean = {"method": "mean", "weights": [1 / 16] * 16, "seeds": [[i] for i in range(16)], "sharpness": 1.0}
    apply_blend({**mean, "kind_of_task": "multiclass"}, parts)
    assert sum(part.most for part in parts) * 4 <= arrays.BLOCK
    goal, truth = Goal(metric_named("accuracy"), "multiclass"), np.arange(3000) % 4
    for part in parts:
        part.most = 0
    nested = Nested(blend_rows.Rows(goal, tuple(parts), truth, np.arange(3000)), np.arange(3000) % 3, ("mean",))
    nested._models.update({("mean", (k,)): {"picked": list(range(16)), "weights": [1 / 16] * 16} for k in range(3)})
    nested.predicted("mean", np.arange(3000))
    assert sum(part.most for part in parts) * 4 <= arrays.BLOCK


# --- expected F ------------------------------------------------------------------------------------------------------


def test_seven_thousand_labels_are_decided_in_little_memory():
    draw = np.random.default_rng(0)
    p = draw.beta(0.02, 2, (24, 7000))
    tracemalloc.start()
    sets = expected_f_sets(p, 2.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sets.sum(1).min() > 48  # more than the likeliest few
    assert peak < 30 * p.nbytes + (200 << 20)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_sets_larger_than_are_worked_out_exactly_are_decided_as_well(beta, monkeypatch):
    p = np.sort(np.random.default_rng(1).beta(0.3, 2, 400))[::-1]
    exact = expected_f_sets(p[None], beta).sum()
    monkeypatch.setattr("autoclimb.score.expected.EXACT", 20)
    assert expected_f_sets(p[None], beta).sum() == pytest.approx(exact, abs=1)
    flat = np.full((1, 400), 0.05)
    assert expected_f_sets(flat, 2.0).sum() == 400  # by simulation naming all has the highest F


def test_selection_looks_at_the_best_members_however_many_there_are(monkeypatch):
    monkeypatch.setattr(selection, "MOST_MEMBERS", 2)
    draw, truth = np.random.default_rng(0), np.arange(90) % 3
    noises = (3.0, 0.5, 3.0, 0.8, 3.0)
    predictions = tuple(np.eye(3)[truth] + noise * draw.normal(size=(90, 3)) for noise in noises)
    rows = blend_rows.Rows(Goal(metric_named("accuracy"), "multiclass"), predictions, truth, np.arange(90))
    assert set(selection.greedy(rows)["picked"]) <= {1, 3}
