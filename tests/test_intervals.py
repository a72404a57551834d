"""Intervals of scores: they cover what new rows score, with and without groups, and allow for what was never seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.score.crossfit import standard_error
from autoclimb.score.intervals import interval
from autoclimb.score.luck import luck_of_best
from autoclimb.score.metrics import metric_named
from autoclimb.types import Goal, Metric

pytestmark = pytest.mark.long

ACCURACY = Goal(metric_named("accuracy"), "binary")


@pytest.mark.parametrize("name", ["accuracy", "f1"])
@pytest.mark.parametrize("copies", [1, 5])
def test_an_interval_covers_the_true_score_about_as_often_as_it_says(name, copies):
    """150 draws of 100 rows, of which five each are one picture's: by rows alone .47 to .73 of them were covered."""
    goal, covered, true = Goal(metric_named(name), "binary"), [], 0.8
    for seed in range(150):
        r = np.random.default_rng(seed)
        truth = np.arange(100 // copies) % 2
        right = r.random(len(truth)) < 0.8
        truth, answers = (np.repeat(x, copies) for x in (truth, np.where(right, truth, 1 - truth)))
        low, high = interval(goal, truth, answers, np.repeat(np.arange(100 // copies), copies))
        covered.append(low <= true <= high)
    assert 0.88 <= np.mean(covered) <= 0.995


@pytest.mark.parametrize(
    ("name", "sites", "draws"), [("accuracy", 2, 80), ("accuracy", 3, 80), ("accuracy", 6, 80), ("f1", 2, 40)]
)
def test_an_interval_of_few_groups_covers_the_score_of_new_ones(name, sites, draws):
    """Sites of 20 rows that differ in how hard they are: of two or three .67 to .83 of these held the truth."""
    goal, covered, true = Goal(metric_named(name), "binary"), [], 0.75
    for seed in range(draws):
        r = np.random.default_rng(seed)
        truth, site = np.arange(20 * sites) % 2, np.arange(20 * sites) // 20
        right = r.random(20 * sites) < r.beta(6, 2, sites)[site]
        low, high = interval(goal, truth, np.where(right, truth, 1 - truth), site)
        covered.append(low <= true <= high)
    assert 0.9 <= np.mean(covered) <= 0.999


@pytest.mark.parametrize(("groups", "size"), [(15, 20), (40, 5)])
@pytest.mark.parametrize("name", ["f1-macro", "qwk", "auc", "log-loss"])
def test_that_all_groups_were_answered_rightly_does_not_make_a_wrong_one_impossible(name, groups, size):
    """Three of a hundred patients are answered wrongly, with all of their pictures: by single rows .46 to .84 held."""
    goal, covered = Goal(metric_named(name), "ordinal" if name == "qwk" else "binary"), []

    def answered(count, copies, r):
        truth = np.arange(count) % 2
        answers = np.where(r.random(count) < 0.03, 1 - truth, truth)
        truth, answers = np.repeat(truth, copies), np.repeat(answers, copies)
        if name in ("auc", "log-loss"):
            return truth, np.clip(0.05 + 0.9 * np.eye(2)[answers] + 0.02 * r.random((len(truth), 2)), 0, 1)
        return truth, answers

    true = goal.score(*answered(20_000, 1, np.random.default_rng(99)))
    for seed in range(30):
        low, high = interval(goal, *answered(groups, size, np.random.default_rng(seed)), np.repeat(range(groups), size))
        covered.append(low <= true <= high)
    assert np.mean(covered) > 0.9


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1-macro", "auc", "log-loss", "rmse"])
def test_no_interval_ends_above_the_best_value_there_is(name):
    r = np.random.default_rng(0)
    goal = Goal(metric_named(name), "regression" if name == "rmse" else "binary")
    truth = np.arange(40) % 2
    answers = np.where(r.random(40) < 0.97, truth, 1 - truth)
    if name in ("auc", "log-loss"):
        answers = 0.01 + 0.98 * np.eye(2)[answers]
    best = 1.0 if goal.metric.greater_is_better else 0.0
    for groups in (None, np.arange(40) // 20, np.arange(40) // 5):
        low, high = interval(goal, truth, answers, groups)
        assert low <= goal.score(truth, answers) <= high <= best


def test_no_error_among_few_rows_does_not_make_errors_impossible():
    truth = np.arange(20) % 2
    low, high = interval(ACCURACY, truth, truth)
    assert 0.75 < low < 0.9  # Clopper and Pearson: .832
    assert high == 1.0


def test_the_interval_of_a_log_loss_says_how_bad_it_can_be():
    """102 rows answered rightly at .994 promised .0059 +- .0026; 3 of 218 new ones were wrong and made it .0627."""
    truth = np.arange(102) % 2
    p = np.where(np.eye(2)[truth] > 0, 0.994, 0.006)
    goal = Goal(metric_named("log-loss"), "binary")
    low, high = interval(goal, truth, p)
    assert -low > 0.0627
    assert -high < 0.0061


def test_rows_of_a_group_count_together_in_a_standard_error():
    r = np.random.default_rng(0)
    truth, groups = r.integers(0, 2, 60), np.arange(60)
    answers = np.where(r.random(60) < 0.8, truth, 1 - truth)
    for name in ("accuracy", "f1-macro"):
        goal = Goal(metric_named(name), "binary")
        single = standard_error(goal, truth, answers, groups)
        fivefold = standard_error(goal, *(np.repeat(x, 5) for x in (truth, answers, groups)))
        assert fivefold == pytest.approx(single, rel=0.4)
        assert standard_error(goal, np.repeat(truth, 5), np.repeat(answers, 5)) < 0.7 * fivefold


@pytest.mark.parametrize("name", ["accuracy", "f1", "log-loss", "auc"])
@pytest.mark.parametrize("apart", [0.0, 0.2])
def test_the_luck_of_the_best_of_many_is_about_what_it_is_on_new_rows(name, apart):
    """The best of ten that are equally good, or not: how much better it looks than it is, and what its rows say.

    Three fifths of it were estimated where they are equally good, for the scores that resamples start from are lucky.
    """
    goal, seen, estimated = Goal(metric_named(name), "binary"), [], []
    for seed in range(40):
        r = np.random.default_rng(seed)
        truth = r.integers(0, 2, 2100)
        z = (2 * truth - 1)[:, None] + (1 + apart * r.random(10)) * r.normal(size=(2100, 10))
        yes = 1 / (1 + np.exp(-2 * z))
        answers = [np.stack([1 - p, p], 1) if name in ("log-loss", "auc") else (p > 0.5).astype(int) for p in yes.T]
        off = np.array([goal.score(truth[:100], a[:100]) - goal.score(truth[100:], a[100:]) for a in answers])
        best = int(np.argmax([goal.score(truth[:100], a[:100]) for a in answers]))
        seen.append(off[best] - off.mean())
        estimated.append(luck_of_best(goal, truth[:100], [a[:100] for a in answers]))
    assert 0.75 * np.mean(seen) < np.mean(estimated) < 1.25 * np.mean(seen)


@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 99))
def test_answers_that_are_the_same_leave_nothing_to_luck(n, count, seed):
    r = np.random.default_rng(seed)
    truth, same = r.integers(0, 2, n), r.integers(0, 2, n)
    assert luck_of_best(ACCURACY, truth, [same] * count) < 1e-12
    assert luck_of_best(ACCURACY, truth, [same, r.integers(0, 2, n)], np.arange(n) // 2) >= 0


def test_nothing_is_luck_where_a_metric_of_ones_own_has_no_value():
    r, own = np.random.default_rng(0), Metric("mine", lambda truth, answers: float("nan"), "label")
    truth, *answers = r.integers(0, 2, (3, 40))
    assert luck_of_best(Goal(own, "binary"), truth, answers) == 0


def test_an_interval_of_a_metric_that_has_a_value_on_all_rows_alone_is_without_ends():
    goal = Goal(Metric("mine", lambda t, a: float(len(set(t)) == 8) or np.nan, "label"), "multiclass")
    assert interval(goal, np.arange(8), np.arange(8)) == (-np.inf, np.inf)


def test_choosing_anew_widens_an_interval_by_the_luck_of_the_choice():
    """Twelve candidates of the same skill, errors of their own: whichever wins was lucky."""
    r = np.random.default_rng(0)
    truth = r.integers(0, 2, 200)
    rivals = [np.where(r.random(200) < 0.7, truth, 1 - truth) for _ in range(12)]
    for name in ("accuracy", "f1"):
        goal = Goal(metric_named(name), "binary")
        best = max(rivals, key=lambda answers: goal.score(truth, answers))
        plain, anew = interval(goal, truth, best), interval(goal, truth, best, None, rivals)
        assert anew[1] - anew[0] > plain[1] - plain[0]
        assert interval(goal, truth, best, None, [best]) == plain
