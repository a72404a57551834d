import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.score.crossfit import (
    cross_answers,
    cross_fit,
    cross_fitted_score,
    rule_of,
    standard_error,
)
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.intervals import interval
from autoclimb.score.metrics import METRICS, metric_named
from autoclimb.score.parts import dealt, parts_within
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal


def test_a_rule_never_sees_the_rows_it_is_applied_to():
    part_of = np.array([0, 1, 2, 0, 1, 2])
    out = cross_fit(
        part_of, lambda rows: set(part_of[rows]), lambda seen, rows: np.array([k in seen for k in part_of[rows]])
    )
    assert not out.any()


def test_outputs_come_back_in_row_order():
    part_of = np.array([2, 0, 2, 1])
    x = np.arange(8.0).reshape(4, 2)
    assert np.array_equal(cross_fit(part_of, lambda rows: None, lambda _, rows: x[rows]), x)


def test_cut_points_learned_on_their_own_rows_are_not_what_is_scored():
    goal = Goal(metric_named("qwk"), "regression")
    flattering, cross_fitted = [], []
    for seed in range(10):
        r = np.random.default_rng(seed)
        truth, p = r.integers(0, 5, 40).astype(float), r.normal(2, 1, (40, 1))
        flattering.append(goal.score(truth, answer(learn_rule(goal, truth, p), p)))
        cross_fitted.append(cross_fitted_score(TrainRows(goal, truth, np.arange(40) % 5), p).score)
    assert np.mean(cross_fitted) < np.mean(flattering) - 0.1


def test_answers_are_pooled_and_scored_once():
    r = np.random.default_rng(0)
    truth = r.integers(0, 2, 90)
    p = np.clip(truth * 0.2 + r.random(90) * 0.8, 0, 1)
    p = np.stack([1 - p, p], axis=1)
    part_of = np.repeat([0, 1, 2], [10, 20, 60])
    goal = Goal(metric_named("auc"), "binary")
    scored = cross_fitted_score(TrainRows(goal, truth, part_of), p)
    assert scored.score == goal.score(truth, p)
    assert scored.score != np.mean([goal.score(truth[part_of == k], p[part_of == k]) for k in range(3)])


def test_rows_without_prediction_or_part_are_left_out():
    truth = np.array([0, 1, 0, 1, 1, 0])
    p = np.eye(2)[[0, 1, 0, 0, 0, 1]]
    p[3] = np.nan
    part_of = np.array([0, 1, 0, 1, -1, -1])
    scored = cross_fitted_score(TrainRows(Goal(metric_named("accuracy"), "binary"), truth, part_of), p)
    assert scored.score == 1.0
    assert list(scored.rows) == [0, 1, 2]
    assert list(scored.answers) == [0, 1, 0]


def test_one_part_is_split_so_that_a_rule_is_still_cross_fitted():
    parts = parts_within(np.zeros(23, int))
    assert len(np.unique(parts)) == 5
    assert np.bincount(parts).min() >= 4
    assert np.array_equal(parts, parts_within(np.zeros(23, int)))
    assert len(np.unique(parts_within(np.arange(23), 5))) == 5


@pytest.mark.parametrize("name", ["accuracy", "balanced-accuracy"])
def test_the_spread_is_that_of_repeating_the_competition(name):
    metric = metric_named(name)
    stderrs, scores = [], []
    for seed in range(60):
        r = np.random.default_rng(seed)
        truth = r.integers(0, 2, 200)
        p = np.eye(2)[np.where(r.random(200) < 0.8, truth, 1 - truth)]
        scored = cross_fitted_score(TrainRows(Goal(metric, "binary"), truth, np.arange(200) % 5), p)
        scores.append(scored.score)
        stderrs.append(scored.stderr)
    assert np.mean(stderrs) == pytest.approx(np.std(scores), rel=0.35)


def test_the_same_answers_do_not_differ():
    r = np.random.default_rng(0)
    truth, answers = r.integers(0, 3, 50), r.integers(0, 3, 50)
    for name in ("accuracy", "f1-macro"):
        assert standard_error(Goal(metric_named(name), "multiclass"), truth, answers, others=answers) == 0.0


def test_rows_of_one_group_alone_are_parted_all_the_same():
    assert len(np.unique(parts_within(np.zeros(23, int), 0, np.full(23, 7)))) == 5
    sites = np.arange(24) // 8
    parts = parts_within(np.zeros(24, int), 0, sites)
    assert len(np.unique(parts)) == 3
    assert all(len(np.unique(parts[sites == site])) == 1 for site in range(3))


@given(st.integers(3, 60), st.integers(1, 6), st.integers(0, 6), st.integers(0, 99))
def test_a_part_left_out_leaves_two_to_learn_and_try_on(n, folds, most, seed):
    """With one left a curve was never tried where it was scored, and always where new pictures were answered."""
    part_of = np.random.default_rng(seed).integers(0, folds, n)
    parts = parts_within(part_of, most and max(most, 3))
    assert len(np.unique(parts)) >= 3
    if len(np.unique(part_of)) > 2 and not most:
        assert all(len(set(part_of[parts == k])) == 1 for k in parts)


@given(st.integers(4, 60), st.integers(2, 6), st.integers(1, 2), st.integers(0, 99))
def test_parts_of_one_or_two_folds_have_no_group_in_common(n, of, folds, seed):
    groups = np.random.default_rng(seed).integers(0, of, n)
    parts = parts_within(groups % folds, 0, groups)
    if len(set(groups)) > 1:
        assert all(len(set(parts[groups == g])) == 1 for g in groups)


@given(st.integers(1, 60), st.integers(2, 5), st.integers(2, 12), st.integers(0, 99))
def test_rows_are_dealt_in_parts_that_have_no_group_in_common(n, count, of, seed):
    groups = np.random.default_rng(seed).integers(0, of, n)
    parts = dealt(n, count, groups, "a purpose")
    assert set(parts) <= set(range(count))
    if len(set(groups)) > 1:
        assert all(len(set(parts[groups == g])) == 1 for g in groups)
        assert len(set(parts)) == min(count, len(set(groups)))
    assert np.array_equal(dealt(n, count, None, "a purpose"), dealt(n, count, np.arange(n), "a purpose"))


@pytest.mark.parametrize("groups", [None, np.arange(3000) // 3])
def test_the_rule_for_new_pictures_is_learned_as_the_one_that_was_scored(groups):
    """Of a hundred thousand rows one fold alone is predicted; a curve was scored and a line answered."""
    r = np.random.default_rng(0)
    z = 2 * r.normal(size=3000)
    truth = (r.random(3000) < 1 / (1 + np.exp(-z))).astype(int)
    yes = 1 / (1 + np.exp(-np.where(z > 0, z, 4 * z)))
    p, one_fold = np.stack([1 - yes, yes], axis=1), np.zeros(3000, int)
    goal = Goal(metric_named("log-loss"), "binary")
    assert rule_of(TrainRows(goal, truth, one_fold, groups), p).name == "positive curve"
    assert rule_of(TrainRows(goal, truth, np.arange(3000) % 5, groups), p).name == "positive curve"


@pytest.mark.parametrize("name", ["accuracy", "f1-macro"])
def test_rows_of_one_group_alone_have_no_error_less_than_their_own(name):
    """A first fold may be one site of five: it was scored with an error of nothing."""
    r = np.random.default_rng(0)
    truth = r.integers(0, 3, 80)
    answers = np.where(r.random(80) < 0.7, truth, r.integers(0, 3, 80))
    goal, one = Goal(metric_named(name), "multiclass"), np.full(80, 7)
    assert standard_error(goal, truth, answers, one) == standard_error(goal, truth, answers) > 0
    assert interval(goal, truth, answers, one) == interval(goal, truth, answers)


@given(st.sampled_from(["accuracy", "f1-macro", "qwk", "log-loss"]), st.integers(0, 1000), st.integers(1, 4))
def test_a_score_lies_in_its_own_interval_however_few_its_groups_are(name, seed, groups):
    r = np.random.default_rng(seed)
    truth, p = r.integers(0, 3, 24), r.dirichlet(np.ones(3), 24)
    answers = p if name == "log-loss" else p.argmax(1)
    goal = Goal(metric_named(name), "ordinal" if name == "qwk" else "multiclass", (0.0, 1.0, 2.0))
    low, high = interval(goal, truth, answers, np.arange(24) * groups // 24)
    assert low <= goal.score(truth, answers) <= high


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, metric in METRICS.items() for kind in metric.kinds])
def test_on_pure_noise_no_rule_claims_more_than_the_same_answers_dealt_out_by_lot(name, kind):
    goal = Goal(METRICS[name], kind, (0.0, 1.0, 2.0, 3.0) if kind == "ordinal" else ())
    classes, n, gains = 2 if kind == "binary" else 4, 150, []
    for seed in range(12):
        r = np.random.default_rng(seed)
        if kind == "regression":
            truth, p = r.integers(0, 4, n).astype(float), r.normal(1.5, 1, (n, 1))
        elif kind == "multilabel":
            truth, p = (r.random((n, 4)) < 0.3).astype(np.uint8), r.random((n, 4))
        else:
            truth, p = r.integers(0, classes, n), r.dirichlet(np.ones(classes), n)
        answers = cross_answers(goal, truth, p, np.arange(n) % 5)
        true = truth_for(goal, truth)
        dealt = [goal.score(true[r.permutation(n)], answers) for _ in range(10)]
        gains.append(goal.score(true, answers) - np.mean(dealt))
    assert np.mean(gains) <= 3 * np.std(gains, ddof=1) / np.sqrt(len(gains)) + 1e-9
