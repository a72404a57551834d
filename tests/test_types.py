"""The nouns: histories only grow, and higher scores are better."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoclimb.config import Config
from autoclimb.types import Form, Goal, History, Metric, Task, Trial


def trial(score: float, status: Any = "done", **changes: Any) -> Trial:
    return Trial(Config().vary(**changes), "stage", status, score, 0.01, 5.0)


def test_a_history_grows_in_the_order_asked_and_those_who_hold_it_see_it_grow():
    history = History()
    seen = history
    history.add(trial(0.5))
    history.add(trial(0.7))
    assert [t.score for t in seen.trials] == [0.5, 0.7]


def test_the_best_trial_is_the_finished_one_of_the_highest_score():
    history = History([trial(0.5), trial(0.7, size=96), trial(0.9, status="failed", size=128)])
    assert history.best() is history.trials[1]
    assert history.best(size=64) is history.trials[0]
    assert history.best(size=128) is None
    assert [t.score for t in history.done()] == [0.5, 0.7]


def test_an_empty_history_has_no_best():
    assert History().best() is None


@pytest.mark.parametrize(("up", "score"), [(True, 2.0), (False, -2.0)])
def test_higher_scores_are_better_whatever_the_metric_and_it_shows_its_own_value(up, score):
    metric = Metric("gap", lambda truth, answers: float(np.abs(truth - answers).mean()), "number", greater_is_better=up)
    assert Goal(metric, "regression").score(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == score
    assert metric.shown(score) == 2.0


def test_a_task_is_as_wide_as_its_classes_and_one_wide_for_a_number():
    task = Task("t", "multiclass", ("a", "b", "c"), (), (), np.zeros(0), (), (), Form(("id", "label"), (), "label"))
    assert task.width == 3
    assert replace(task, kind="regression", classes=()).width == 1
