"""The leaderboard and configs in words."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from autoclimb.config import Config
from autoclimb.report.leaderboard import WORDS, leaderboard_frame, leaderboard_text, words_of
from autoclimb.types import Blend, Metric, Trial

F2 = Metric("f2", lambda truth, answers: 0.0, "labels")
MAE = Metric("mae", lambda truth, answers: 0.0, "number", greater_is_better=False)
CHANGED: dict[str, Any] = {"train": "features", "model_args": (("drop_rate", 0.1),), "sizes": (32, 48), "folds": (0, 1)}
CHANGED |= {"scales": (0.8, 1.2), "unfreeze": 0.3, "swa": 0.2, "teachers": ("a net",)}


def changed(name: str) -> Any:
    """Another value for this part of a config."""
    value = getattr(Config(), name)
    if name in CHANGED:
        return CHANGED[name]
    return "other" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1


def trial(score: float, status: Any = "done", **changes: Any) -> Trial:
    return Trial(Config().vary(**changes), "baseline", status, score, 0.01, 5.0, facts={"epochs": 2.5})


def blend(score: float, members: tuple[str, ...], weights: tuple[float, ...]) -> Blend:
    return Blend("greedy", members, weights, np.zeros((1, 1)), np.zeros((1, 1)), score, 0.005, 1)


def test_a_config_is_described_by_what_is_not_default():
    config = Config(policy="flip+crop", mixup=0.2, lr=1e-3)
    assert words_of(config) == "resnet18 @64 flip+crop, mixup 0.2, lr 1e-3, fold 0"
    assert words_of(Config(folds=(0, 1, 2))) == "resnet18 @64 flip, folds 0-2"
    assert words_of(Config(train="features", folds=(0, 2))) == "frozen resnet18 @64, folds 0,2"
    assert "weights mobilenetv2" in words_of(Config(weights="/far/away/mobilenetv2"))


def test_a_config_against_another_is_described_by_the_difference():
    assert words_of(Config(mixup=0.2, lr=5e-4), against=Config(mixup=0.2)) == "lr 5e-4"
    assert words_of(Config(), against=Config(mixup=0.2)) == "no mixup"
    assert words_of(Config(), against=Config()) == "the same"


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_every_field_of_a_config_has_words(name):
    other = Config().vary(**{name: changed(name)})
    assert name in WORDS
    assert words_of(other) != words_of(Config())
    assert words_of(other, against=Config()) not in ("", "the same")
    assert words_of(Config(), against=other).strip(", ")


def test_the_blend_is_on_top_and_trials_follow_best_first():
    low, high, lost = trial(0.7), trial(0.9, size=96), trial(-math.inf, "failed", size=128)
    frame = leaderboard_frame([low, lost, high], F2, blend(0.92, (high.key, low.key), (0.75, 0.25)))
    assert list(frame["key"]) == ["", high.key, low.key, lost.key]
    assert list(frame["rank"].dropna()) == [1, 2]
    assert list(frame["weight"][1:3]) == [0.75, 0.25]
    assert list(frame["member"]) == [False, True, True, False]
    assert math.isnan(frame["score"].iloc[-1])


def test_scores_are_the_metrics_own_where_less_is_better():
    frame = leaderboard_frame([trial(-3.0), trial(-2.0, size=96)], MAE, None)
    assert list(frame["score"]) == [2.0, 3.0]


def test_a_trial_asked_for_twice_is_one_row():
    assert len(leaderboard_frame([trial(0.7), trial(0.7)], F2, None)) == 1


def test_members_of_a_stacker_are_marked_though_they_have_no_weight():
    one = trial(0.7)
    frame = leaderboard_frame([one], F2, blend(0.8, (one.key,), ()))
    assert " in " in leaderboard_text(frame, width=120)


def test_an_empty_run_has_an_empty_table():
    frame = leaderboard_frame([], F2, None)
    assert len(frame) == 0
    assert "config" in leaderboard_text(frame, width=80)


def test_the_text_fits_the_width_and_shows_what_failed():
    trials = [trial(0.7, backbone="a_backbone_of_a_very_long_name" * 3), trial(-math.inf, "failed", size=128)]
    text = leaderboard_text(leaderboard_frame(trials, F2, None), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "0.7000 ± 0.0100" in text
    assert "failed" in text


@pytest.mark.parametrize("width", [80, 120])
def test_no_column_is_cut_off(width):
    text = leaderboard_text(leaderboard_frame([trial(12.7), trial(10.1)], MAE, None), width=width)
    assert "epochs" in text.splitlines()[0]
    assert ("key" in text.splitlines()[0]) == (width == 120)
