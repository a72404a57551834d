"""A run says which fact of its data changed what, and nothing where the data are as most are."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import LOCAL, situation, trial

from autoclimb.search.starting import base_config, base_policy
from autoclimb.search.steering import FACTS, notes_after, steering_words
from autoclimb.types import Config, History

PLAIN = {"rows": 20_000, "side": 300, "pretrained": LOCAL, "budget": 3600.0}
GRADIENTS = Config(train="features", backbone="gradients", folds=(0, 1, 2, 3, 4))


def words(fact: str, history: History | None = None, **changes) -> str:
    """What is said of one fact, "" where nothing is."""
    s = situation(**{**PLAIN, **changes})
    lines = [line for line in steering_words(history or History(), s) if line.startswith(fact)]
    assert len(lines) <= 1
    return "".join(lines)


def looked(**facts) -> History:
    return History([replace(trial(GRADIENTS), facts={"skill": 0.4, "mirror": 1.3, "turn": 1.3, **facts})])


@pytest.mark.parametrize("fact", FACTS)
def test_ordinary_data_change_nothing(fact):
    assert words(fact) == ""


@pytest.mark.parametrize(("pretrained", "epochs"), [((), "75"), (LOCAL, "12")])
def test_few_rows_are_said_with_the_epochs_and_batches_that_they_bring(pretrained, epochs):
    line = words("few rows", rows=500, pretrained=pretrained)
    assert "400" in line
    assert epochs in line
    batch = base_config(History(), situation(rows=500)).batch
    assert (f"batches of {batch}" in line) == (not pretrained)


@pytest.mark.parametrize(("pretrained", "to"), [((), "64 px"), (LOCAL, "96 to")])
def test_tiny_pictures_are_said_with_the_size_that_they_are_enlarged_to(pretrained, to):
    line = words("tiny pictures", side=28, pretrained=pretrained)
    assert "28 px" in line
    assert to in line


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"mirror": 1.02, "turn": 1.04}, "mirrored and turned"),
        ({"mirror": 1.02}, "may be mirrored"),
        (
            {"mirrored_copies": [-0.07, 0.02]},
            "may be mirrored (loss x1.30 mirrored, x1.30 turned, -7% with",
        ),
        ({}, "neither"),
        ({"skill": 0.02}, "too little"),
    ],
)
def test_what_turning_and_mirroring_do_is_said_with_the_policy_that_follows(facts, said):
    history = looked(**facts)
    line = words("orientation", history)
    assert said in line
    assert f"policy {base_policy(history)} " in line


def test_imbalance_is_said_with_what_is_done_and_tried_for_rare_classes():
    tried = words("imbalance", imbalance=20.0)
    assert "20 rows" in tried
    assert "class_weights=effective" in tried
    assert "retrain_head" not in tried
    assert "retrain_head=0.2" in words("imbalance", imbalance=20.0, by_class=True)
    assert words("imbalance", imbalance=20.0, kind="regression") == ""


@pytest.mark.parametrize(("share", "said"), [(0.1, "10%"), (0.01, "")])
def test_labels_that_features_surely_contradict_are_said_and_that_none_is_dropped(share, said):
    losses = np.where(np.arange(500) < 500 * share, 1.8, 0.1)
    line = words("noise", looked(), row_losses=lambda trial: losses)
    assert said in line
    assert ("all rows stay" in line) == bool(said)


def test_facts_are_said_once_after_the_first_stage():
    s = situation(**{**PLAIN, "rows": 300})
    assert notes_after("baseline", History(), s) == steering_words(History(), s) != []
    assert notes_after("finalists", History(), s) == []


@pytest.mark.parametrize(("skill", "there"), [(0.1, "to get 75 epochs"), (0.8, "")])
def test_a_minute_says_what_holds_for_the_net_that_it_trains_and_nothing_where_it_trains_none(skill, there):
    features = Config(train="features", backbone="a", weights="box", folds=(0, 1))
    history = History([replace(trial(features), facts={"skill": skill})])
    rows = {"rows": 500, "budget": 60.0}
    s = situation(**{**PLAIN, **rows})
    lines = steering_words(history, s)
    assert there in " ".join(lines)
    assert bool(lines) == bool(there)
