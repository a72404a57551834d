"""Losses by row: proper, blank where nothing was predicted, one number a row."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fakes import trial
from folders import task
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.run.setup import Setup
from autoclimb.run.trials import lift_of_trial, losses_of_trials
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.metrics import metric_named
from autoclimb.types import Goal, Kind

CASES = {
    "binary": ("accuracy", np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])),
    "multiclass": ("accuracy", np.array([0, 2, 1]), np.eye(3)[[0, 2, 1]]),
    "ordinal": ("qwk", np.array([0, 2, 1]), np.eye(3)[[0, 2, 1]]),
    "multilabel": ("f2", np.array([[1, 0], [1, 1], [0, 0]]), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])),
    "regression": ("rmse", np.array([1.0, 2.5, -3.0]), np.array([[1.0], [2.5], [-3.0]])),
}
each_kind = pytest.mark.parametrize("kind", CASES)


def goal(kind: str) -> Goal:
    return Goal(metric_named(CASES[kind][0]), cast("Kind", kind), (0.0, 1.0, 2.0) if kind == "ordinal" else ())


@each_kind
def test_a_perfect_prediction_has_the_lowest_loss_in_every_row(kind):
    _, truth, perfect = CASES[kind]
    worse = perfect + 0.3 * (0.5 - perfect) if kind != "regression" else perfect + 0.3
    assert (losses_by_row(goal(kind), truth, perfect) < losses_by_row(goal(kind), truth, worse)).all()


@each_kind
def test_rows_that_were_not_predicted_are_blank(kind):
    _, truth, perfect = CASES[kind]
    partly = perfect.astype(np.float32)
    partly[1] = np.nan
    assert np.isnan(losses_by_row(goal(kind), truth, partly)).tolist() == [False, True, False]


@given(p=st.floats(0.05, 0.95), q=st.floats(0.05, 0.95))
def test_the_true_probability_has_the_lowest_expected_loss(p, q):
    def expected(answer: float) -> float:
        predicted = np.array([[1 - answer, answer]] * 2)
        losses = losses_by_row(goal("binary"), np.array([0, 1]), predicted)
        return (1 - p) * losses[0] + p * losses[1]

    assert expected(p) <= expected(q) + 1e-12


def test_a_run_asks_for_losses_of_the_same_rows_again_and_again():
    target = np.arange(40) % 2
    nobody: Any = None
    setup = Setup(task(target=target), goal("binary"), target % 2, Path(), nobody, nobody, Clock(60.0), nobody)
    losses = losses_of_trials(setup)
    oof = np.eye(2, dtype=np.float32)[target]
    trained = replace(trial(Config()), oof=oof)
    assert losses(trained) is losses(trained)
    assert np.allclose(losses(trained), 0.0)  # type: ignore[arg-type]
    assert losses(trial(Config(seed=1))) is None
    worse = replace(trained, oof=np.where(np.arange(40)[:, None] % 4, oof, oof[::-1]).astype(np.float32))
    assert lift_of_trial(setup, trained, trained) == (0.0, 0.0)
    lift, stderr = lift_of_trial(setup, trained, worse) or (0.0, 0.0)
    assert (lift, stderr) == (pytest.approx(0.25), pytest.approx(np.sqrt(0.25 * 0.75 / 39)))
    assert lift_of_trial(setup, trained, trial(Config(seed=1))) is None
