import numpy as np
import pytest
from folders import task
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.data.folds import make_folds
from autoclimb.errors import Mistake

ks = st.integers(2, 6)
seeds = st.integers(0, 5)
class_targets = st.lists(st.integers(0, 3), min_size=2, max_size=40)
label_targets = st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=2, max_size=40)
few = settings(max_examples=40, deadline=None)


@few
@given(class_targets, ks, seeds)
def test_each_class_is_spread_as_evenly_as_it_can_be(target, k, seed):
    fold_of = make_folds(task(target=target, classes="abcd"), k, seed)
    k = min(k, len(target))
    assert set(fold_of) == set(range(k))
    for c in set(target):
        counts = np.bincount(fold_of[np.array(target) == c], minlength=k)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(fold_of)) <= 1


@few
@given(label_targets, ks, seeds)
def test_label_folds_have_equal_sizes_and_no_hole(target, k, seed):
    fold_of = make_folds(task("multilabel", np.array(target, np.uint8), "abcd"), k, seed)
    assert np.ptp(np.bincount(fold_of, minlength=min(k, len(target)))) <= 1


def test_rare_labels_are_spread_over_folds():
    random = np.random.default_rng(0)
    target = (random.random((200, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.025]).astype(np.uint8)
    fold_of = make_folds(task("multilabel", target, "abcdef"), 5, 0)
    counts = np.stack([target[fold_of == k].sum(0) for k in range(5)])
    assert (np.ptp(counts, axis=0) <= 2).all()


@few
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60), ks, seeds)
def test_number_folds_have_like_values(target, k, seed):
    fold_of = make_folds(task("regression", np.array(target), ()), k, seed)
    k = min(k, len(target))
    assert np.ptp(np.bincount(fold_of, minlength=k)) <= 1
    smallest = np.argsort(target, kind="stable")[:k]
    assert max(np.array(target)[fold_of == f].min() for f in range(k)) <= np.array(target)[smallest].max()


@few
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=2, max_size=60), ks, seeds)
def test_groups_stay_together_and_no_fold_is_empty(rows, k, seed):
    target, groups = (np.array(column) for column in zip(*rows, strict=True))
    toy = task(target=target, classes="abc", groups=groups)
    if len(set(groups.tolist())) < 2:
        with pytest.raises(Mistake, match="1 groups"):
            make_folds(toy, k, seed)
        return
    fold_of = make_folds(toy, k, seed)
    assert set(fold_of.tolist()) == set(range(min(k, len(set(groups.tolist())))))
    for g in set(groups.tolist()):
        assert len(set(fold_of[groups == g].tolist())) == 1


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_groups_are_stratified_for_every_kind(kind):
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 5)
    label = groups % 4
    target = {"multiclass": label, "multilabel": np.eye(4, dtype=np.uint8)[label], "regression": label.astype(float)}
    fold_of = make_folds(task(kind, target[kind], "abcd", groups=groups), 5, int(random.integers(9)))
    for fold in range(5):
        assert (np.bincount(label[fold_of == fold], minlength=4) == 10).all()


def test_bad_rows_get_no_fold_and_do_not_count():
    target = np.arange(20) % 2
    bad = np.arange(20) < 10
    fold_of = make_folds(task(target=target, classes="ab"), 5, 0, bad)
    assert (fold_of[:10] == -1).all()
    assert np.bincount(fold_of[10:]).tolist() == [2] * 5


def test_the_seed_decides_the_folds():
    toy = task(target=np.arange(60) % 3)
    assert (make_folds(toy, 5, 0) == make_folds(toy, 5, 0)).all()
    assert (make_folds(toy, 5, 0) != make_folds(toy, 5, 1)).any()


def test_one_row_cannot_be_held_out():
    with pytest.raises(Mistake, match="1 train rows"):
        make_folds(task(target=[0, 1]), 5, 0, np.array([True, False]))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_few_copies_leave_folds_as_even_as_none(kind):
    random = np.random.default_rng(0)
    label = np.arange(300) % 3
    groups = np.arange(300)
    groups[290:] = groups[:10] = random.permutation(10)
    target = {"multiclass": label, "multilabel": np.eye(3, dtype=np.uint8)[label], "regression": label.astype(float)}
    fold_of = make_folds(task(kind, target[kind], "abc", groups=groups), 5, 0)
    assert all(len(set(fold_of[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    counts = np.stack([np.bincount(label[fold_of == k], minlength=3) for k in range(5)])
    assert np.ptp(counts, axis=0).max() <= 6
