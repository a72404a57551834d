"""The nouns: equal configs are the same trial, and histories only grow."""

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from autoclimb.types import Config, Form, Goal, History, Metric, Task, Trial

FULL = Config(
    model_args=(("drop_rate", 0.1), ("strides", (1, 2))), sizes=(32, 48), scales=(0.8, 1.2), epochs=3.0, folds=(0, 2, 4)
)


def trial(score: float, status: Any = "done", **changes: Any) -> Trial:
    return Trial(Config().vary(**changes), "stage", status, score, 0.01, 5.0)


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, str):
        return f"{value}x"
    return (*value, 7) if isinstance(value, tuple) else not value if isinstance(value, bool) else value + 1


def test_equal_configs_have_equal_keys():
    assert Config(lr=1e-3).key == Config().vary(lr=1e-3).key
    assert len(Config().key) == 16


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_every_part_of_a_config_counts_in_its_key(name):
    assert Config().vary(**{name: changed(getattr(Config(), name))}).key != Config().key


def test_varying_leaves_the_original_alone_and_gives_what_is_equal_to_a_config_made_anew():
    before = Config()
    keys = before.key, before.nets_key  # known from now on
    varied = before.vary(size=96, folds=(1,))
    assert varied == Config(size=96, folds=(1,))
    assert (varied.key, varied.nets_key) == (Config(size=96, folds=(1,)).key, Config(size=96).nets_key)
    assert before == Config()
    assert (before.key, before.nets_key) == keys
    for config in (before, varied):
        with pytest.raises(FrozenInstanceError):
            config.size = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="sise"):
        before.vary(sise=96)


@pytest.mark.parametrize("config", [Config(), FULL])
def test_a_config_survives_json(config):
    read = Config.from_json(json.loads(json.dumps(config.to_json())))
    assert read == config
    assert read.key == config.key
    assert hash(read) == hash(config)


def test_a_config_written_by_a_later_version_is_read_without_what_is_new():
    assert Config.from_json({**FULL.to_json(), "invented_since": 3}) == FULL


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
