"""A run says which fact of its data changed what, and nothing where the data are as most are."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import LOCAL, situation, trial

from autoclimb.config import Config
from autoclimb.search.nets import from_hub
from autoclimb.search.regions import JUDGED_AT, WHOLE, cropped, cuts, seen_at, start_chain
from autoclimb.search.starting import base_config, base_policy, candidates
from autoclimb.search.steering import FACTS, notes_after, steering_words
from autoclimb.types import History

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


@pytest.mark.parametrize(
    ("by_hand", "pretrained", "budget", "said"),
    [
        (0.02, 0.11, 300.0, "by 11%, too little"),
        (0.84, 0.88, 300.0, "hand-made ones by 84%"),
        (0.3, 0.8, 300.0, ""),
        (0.84, 0.88, 36 * 3600.0, ""),
    ],
)
def test_that_a_small_net_from_scratch_is_trained_in_place_of_pretrained_ones_is_said_with_the_reason(
    by_hand, pretrained, budget, said
):
    features = GRADIENTS.vary(backbone="a", weights="box")
    rows = [(GRADIENTS, by_hand), (features, pretrained)]
    history = History([replace(trial(config), facts={"skill": skill}) for config, skill in rows])
    line = words("pretrained", history, rows=2000, budget=budget)
    assert said in line
    s = situation(**{**PLAIN, "rows": 2000, "budget": budget})
    assert bool(base_config(history, s).weights) != bool(line)


def test_a_part_that_is_cut_off_is_said_also_where_no_net_is_trained():
    probe = GRADIENTS.vary(backbone="a", weights="box", size=JUDGED_AT, head="linear")
    low = (1 / 3, 0.0, 1.0, 1.0)
    cut = next(box for box in cuts(WHOLE) if box[0] == pytest.approx(low[0], abs=0.01) and box[1:] == low[1:])
    losses = np.random.default_rng(0).gamma(2.0, 0.5, 500)
    for budget in (60.0, 3600.0):
        s = situation(**{**PLAIN, "budget": budget})
        looks = [probe, probe.vary(preprocess=cropped(cut, s), size=seen_at(cut, WHOLE))]
        history = History([replace(trial(config), facts={"skill": 0.8}) for config in looks])
        s = replace(s, row_losses=lambda t: losses * (0.5 if "box:" in t.config.preprocess else 1.0))
        assert start_chain(history, s) == cropped(cut, s)
        [line] = [line for line in steering_words(history, s) if line.startswith("region")]
        assert "33% to 100% of their height, 0% to 100% of their width" in line
        history.trials.pop()
        assert not any(line.startswith("region") for line in steering_words(history, s))


def test_large_pictures_are_said_with_the_nets_that_would_see_them_too_small():
    hub = tuple(from_hub("cuda"))
    line = words("large pictures", side=2_000, rows=3_600, pretrained=hub, device="cuda")
    assert "2000 px" in line
    assert "swin_large_patch4_window7_224" in line
    assert "swin_large_patch4_window12_384" not in line
    left_out = set(line.rpartition("(")[2].rstrip(")").split(", "))
    s = situation(**{**PLAIN, "side": 2_000, "rows": 3_600, "pretrained": hub, "device": "cuda"})
    assert left_out == {row["backbone"].split(".")[0] for row in hub} - {
        c.backbone.split(".")[0] for c in candidates(s)
    }


def test_very_many_rows_are_said_with_their_one_holdout():
    assert "one holdout of 10%" in words("many rows", rows=220_000, folds=10)


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
