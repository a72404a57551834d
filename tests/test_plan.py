"""The plan of a run in the situations that competitions are: what a grandmaster would insist on, held as a rubric."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from fakes import FACTS
from folders import competition, task
from typer.testing import CliRunner

import autoclimb
from autoclimb.budget import CACHE_GB, SLACK, seconds_kept
from autoclimb.cli import app
from autoclimb.config import Config
from autoclimb.dry_run import Plan, rehearsed, situation_on
from autoclimb.errors import Mistake
from autoclimb.learn import boxed
from autoclimb.search.cost import decoding_seconds, epoch_seconds, look_of, looked_at, speed_of
from autoclimb.search.effects import changes_of
from autoclimb.search.fidelity import (
    LONGEST,
    MORE_THAN_ENOUGH,
    THIRD,
    epochs_for,
    final_epochs,
    finalist_epochs,
    folds_for,
    sound_at_its_size,
)
from autoclimb.search.finals import LONG_RECIPE, is_long
from autoclimb.search.nets import BOX, FAMILIES, net_named
from autoclimb.search.order import plan_of
from autoclimb.search.rates import DEVICES, LOOK, STEP, speed_on
from autoclimb.search.rehearsal import rehearse, stored_as
from autoclimb.search.situation import FIRST_SIZE, rows_of_fold
from autoclimb.search.stages import SEARCHING

MINUTE, HOUR = 60.0, 3600.0
DEPTHS = (0, 2, 4)  # stages below the head that train in an EfficientNet-Lite: all, its top, a deeper one


@cache
def plan_on(device: str, budget: float, rows: int, side: int, **more) -> Plan:
    """The plan for so many pictures of that side, a quarter more of them to be answered."""
    facts = {
        **FACTS,
        "rows": rows,
        "answered": rows // 4,
        "side": side,
        "folds": folds_for(rows),
        "budget": budget,
        **more,
    }
    hub, pretrained = facts.pop("hub", device != "cpu"), facts.pop("pretrained", True)
    s = situation_on(DEVICES[device], hub=hub, pretrained=pretrained, **facts)
    return rehearsed(s, DEVICES[device])


def two_cores(budget: float) -> Plan:
    return plan_on("cpu", budget, 2500, 100)


def families(rows) -> set[str]:
    return {net_named(row.config.backbone).family for row in rows}


def frozen(plan: Plan):
    return [row for row in plan.trials if row.config.train == "features"]


GRADES = {"kind": "ordinal", "metric": "qwk", "wants": "grade", "width": 5}
LABELS = {"kind": "multilabel", "metric": "f2", "wants": "labels", "beta": 2.0, "width": 7_000, "pretrained": False}
CHANCES = {"kind": "binary", "metric": "roc-auc", "wants": "probability"}
SITUATIONS = {
    "two cores, a minute": lambda: two_cores(MINUTE),
    "two cores, five minutes": lambda: two_cores(5 * MINUTE),
    "two cores, half an hour": lambda: two_cores(30 * MINUTE),
    "two cores, four hours": lambda: two_cores(4 * HOUR),
    "a T4 for nine hours": lambda: plan_on("t4", 9 * HOUR, 20_000, 500),
    "an H100 for four hours": lambda: plan_on("h100", 4 * HOUR, 20_000, 500),
    "an H100 for a minute and a quarter, offline": lambda: plan_on("h100", 1.25 * MINUTE, 5_000, 32, hub=False),
    "a T4 for ten minutes, offline": lambda: plan_on("t4", 10 * MINUTE, 2_500, 150, hub=False),
    "many small pictures": lambda: plan_on("h100", HOUR, 220_000, 96, **CHANCES),
    "few large pictures, grades": lambda: plan_on("h100", 4 * HOUR, 3_600, 2_000, **GRADES),
    "no weights, seven thousand labels": lambda: plan_on("h100", 24 * HOUR, 1_700_000, 500, **LABELS),
}
each_situation = pytest.mark.parametrize("name", SITUATIONS)


@each_situation
def test_a_plan_keeps_to_its_budget_and_uses_it(name):
    plan = SITUATIONS[name]()
    budget = plan.situation.budget
    end = seconds_kept(budget, SLACK.first_quick_blend)
    assert plan.seconds <= budget - end
    if budget >= 2 * MINUTE:
        assert plan.seconds + end >= 0.97 * budget
    assert plan.finalists or plan.situation.budget == MINUTE


@each_situation
def test_a_plan_fits_memory_and_disk(name):
    plan = SITUATIONS[name]()
    assert max(row.memory_gb for row in plan.trials) <= plan.device.memory_gb
    assert max(row.pixel_gb for row in plan.trials) <= CACHE_GB
    assert plan.oof_gb <= 16


@each_situation
def test_a_search_trial_gets_a_third_of_the_epochs_of_the_finalist_it_speaks_for(name):
    plan = SITUATIONS[name]()
    searched: dict[tuple[str, int], float] = {}
    for row in plan.trials:
        if row.config.train == "net" and row.stage in ("baseline", *SEARCHING):
            assert row.epochs >= 0.98 * finalist_epochs(row.config, plan.situation) / THIRD
            key = (row.config.backbone, row.config.size)
            searched[key] = min(row.epochs, searched.get(key, row.epochs))
    for row in plan.finalists:
        epochs = searched.get((row.config.backbone, row.config.size))
        if epochs and not row.config.cutmix:
            assert epochs >= 0.3 * row.epochs


@each_situation
def test_a_move_is_explained_by_what_it_changes_in_the_base(name):
    plan = SITUATIONS[name]()
    base = next((row.config for row in plan.trials if row.stage == "baseline" and row.config.train == "net"), Config())
    for row in plan.trials:
        if row.stage in SEARCHING:
            assert row.why == ", ".join(sorted(changes_of(row.config, base)))


@each_situation
def test_a_plan_prints_stages_nets_sizes_rates_folds_epochs_seconds_memory_and_disk(name):
    plan = SITUATIONS[name]()
    lines = str(plan).splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("stage "))
    assert lines[heading].split() == ["stage", "net", "px", "folds", "epochs", "img/s", "GB", "time", "why"]
    assert any(line.startswith("memory: ") and f"{plan.device.memory_gb:g} GB" in line for line in lines)
    assert any(line.startswith("disk: ") and f"{CACHE_GB:g} GB" in line for line in lines)
    assert lines[-1].startswith(f"{len(plan.trials)} trials, ")
    others = ("refine", "unused")  # suggestions are summed up
    shown = [line for line in lines[heading + 1 : -1] if not line.startswith(others)]
    for row, line in zip([row for row in plan.trials if row.stage != "refine"], shown, strict=True):
        assert line.startswith(row.stage)
        assert f" {row.config.size} " in line
        if row.config.train == "net":
            assert row.config.backbone[:30] in line
            assert f" {row.epochs:.1f} " in line
        if row.stage == "finalists":
            assert f"lr {row.config.lr:g}" in line


@each_situation
def test_every_line_of_a_plan_says_why(name):
    plan = SITUATIONS[name]()
    assert all(row.why for row in plan.trials)
    text = str(plan)
    assert plan.device.source in text
    assert "one holdout" in text or f"{plan.situation.folds} folds" in text


def test_a_large_card_trains_two_nets_over_all_rows_in_a_minute_and_a_quarter():
    plan = SITUATIONS["an H100 for a minute and a quarter, offline"]()
    assert plan.trials[0].config.train == "features"
    assert len(plan.trials[0].config.folds) == plan.situation.folds  # what the blend can use
    assert plan.trials[0].seconds < 0.15 * plan.situation.budget  # with four seconds that the worker imports for
    assert not [row for row in plan.trials if row.stage in ("resize", "augmentation", "loss", "refine")]
    over_all = [row for row in plan.finalists if len(row.config.folds) > 1]
    assert len({row.config.backbone for row in over_all}) == 2
    for row in over_all:
        assert row.epochs >= sound_at_its_size(row.config, plan.situation)


@pytest.mark.parametrize(("budget", "most"), [(60.0, 4), (180.0, 6), (600.0, 16), (3600.0, 30)])
def test_a_card_looks_at_no_more_nets_than_its_time_is_worth_and_the_plan_counts_the_looks(budget, most):
    looks: list[str] = []

    def measure(config: Config):
        sizes = net_named(config.backbone).sizes
        assert not sizes or config.size in sizes, f"{config.backbone} cannot be built at {config.size} px"
        looks.append(look_of(looked_at(config, "cuda")))
        return speed_on(plan.device, config)

    plan = plan_on.__wrapped__("h100", budget, 20_000, 500)
    rows, seconds = rehearse(replace(plan.situation, measure=measure), plan.device, plan_of(None))
    assert 0 < len(set(looks)) <= most
    s = plan.situation
    begun = SLACK.opening / 2 + decoding_seconds(s, plan.device.cores, FIRST_SIZE)
    assert seconds >= begun + sum(row.seconds for row in rows) + LOOK["cuda"] * len(set(looks)) - 1  # of rounding


def test_minutes_of_a_card_compare_nothing_until_a_net_is_trained_soundly_beside_another():
    for budget, compares in ((75.0, False), (120.0, False), (20 * MINUTE, True)):
        plan = plan_on("h100", budget, 20_000, 500, hub=False)
        assert any(row.stage in ("augmentation", "loss") for row in plan.trials) == compares
        assert all(len(row.config.folds) == 5 for row in plan.finalists)


def test_a_small_card_has_frozen_features_beside_the_only_net_that_it_trains():
    plan = plan_on("t4", 10 * MINUTE, 20_000, 500)
    assert len({row.config.backbone for row in plan.finalists}) == 1
    assert any(row.config.weights for row in frozen(plan))


def test_a_small_card_compares_before_it_trains_over_all_rows():
    plan = SITUATIONS["a T4 for ten minutes, offline"]()
    assert len({row.stage for row in plan.trials}) >= 4
    assert any(len(row.config.folds) == plan.situation.folds for row in plan.finalists)


@pytest.mark.parametrize(("budget", "several", "nets"), [(MINUTE, 3, {0}), (5 * MINUTE, 4, {1, 2})])
def test_on_two_cores_minutes_compare_frozen_features_over_all_folds_then_train_a_net_or_two(budget, several, nets):
    plan = two_cores(budget)
    assert len(frozen(plan)) >= several
    assert {row.config.folds for row in frozen(plan)} == {(0, 1, 2, 3, 4)}
    assert all(row.seconds <= 0.5 * budget for row in frozen(plan))
    compared = [row.config for row in frozen(plan) if row.config.weights]
    values = [{getattr(c, name) for c in compared} for name in ("backbone", "size", "layers", "tta", "head")]
    assert sum(len(value) - 1 for value in values) >= several - 2, "they differ in net, size, layers, views or head"
    assert len({row.config.backbone for row in plan.finalists}) in nets


def test_on_two_cores_two_hours_compare_nets_and_half_an_hour_ends_with_two_kinds_soundly_trained():
    half, two_hours = two_cores(30 * MINUTE), two_cores(2 * HOUR)
    assert len([row for row in two_hours.trials if row.stage in ("resize", "augmentation", "backbone", "loss")]) >= 3
    assert len({(row.config.backbone, bool(row.config.weights)) for row in half.finalists}) >= 2
    for row in half.finalists:
        assert row.epochs >= 0.98 * MORE_THAN_ENOUGH * epochs_for("enough", row.config, half.situation)


@pytest.mark.parametrize("hours", [1, 4])
def test_where_all_pretrained_nets_are_of_one_family_each_stands_for_itself(hours):
    plan = two_cores(hours * HOUR)
    kinds = [(row.config.backbone, bool(row.config.weights)) for row in plan.finalists]
    assert {name for name, tuned in kinds if tuned} == set(BOX)
    assert [tuned for _, tuned in kinds].count(False) == 0  # from scratch: photographs are far beyond it
    for row in plan.finalists:
        assert row.epochs >= 0.99 * MORE_THAN_ENOUGH * epochs_for("enough", row.config, plan.situation)


def test_on_two_cores_four_hours_search_in_every_way_and_end_with_both_nets_at_every_depth_over_all_folds():
    plan = two_cores(4 * HOUR)
    assert {row.stage for row in plan.trials} >= {"resize", "augmentation", "backbone", "loss"}
    assert {(row.config.backbone, row.config.top) for row in plan.finalists} == {
        (n, top) for n in BOX for top in DEPTHS
    }
    assert all(len(row.config.folds) == 5 for row in plan.finalists)
    assert all(row.epochs >= 0.99 * final_epochs("sound", row.config, plan.situation) for row in plan.finalists)


@pytest.mark.parametrize(("rows", "side"), [(5000, 32), (2500, 150), (1000, 300)])
def test_on_two_cores_more_time_trains_more_nets_at_more_depths(rows, side):
    plans = [plan_on("cpu", minutes * MINUTE, rows, side) for minutes in (10, 30, 60, 120)]
    depths = [{(row.config.backbone, row.config.top) for row in plan.finalists} for plan in plans]
    assert all(more >= fewer for fewer, more in pairwise(depths[1:]))
    assert len(depths[0]) <= len(depths[1]) >= 3
    assert len(depths[-1]) == 6
    for plan in plans[1:]:
        assert all(row.config.folds == (0, 1, 2, 3, 4) for row in plan.finalists)
        counts = [(row.epochs, epochs_for("enough", row.config, plan.situation)) for row in plan.finalists]
        multiples = [epochs / enough for epochs, enough in counts]
        assert min(multiples) >= 0.99 * MORE_THAN_ENOUGH
        alike = [
            m
            for m, (epochs, _), row in zip(multiples, counts, plan.finalists, strict=True)
            if epochs < 0.99 * epochs_for("full", row.config, plan.situation)
        ]
        assert max(alike, default=1.0) <= 1.1 * min(alike, default=1.0)  # the same multiple, for all that can use it


def test_a_t4_night_ends_with_three_families_over_five_folds():
    plan = SITUATIONS["a T4 for nine hours"]()
    assert len(families(plan.finalists)) >= 3
    for row in plan.finalists:
        assert len(row.config.folds) == 5
        assert row.config.size >= 192
        assert row.epochs >= sound_at_its_size(row.config, plan.situation)


def test_an_h100_probes_many_nets_within_a_twentieth_and_trains_families_as_the_field_does():
    plan = SITUATIONS["an H100 for four hours"]()
    probes = [row for row in frozen(plan) if row.config.weights]
    assert plan.trials[0] in probes
    probes = [row for row in probes if row.stage == "baseline"]  # others fill what is left at the end
    assert len({row.config.backbone for row in probes}) >= 5
    assert sum(row.seconds for row in probes) <= 0.05 * plan.situation.budget
    finalists = plan.finalists
    assert len(families(finalists)) >= 3
    for row in finalists:
        config = row.config
        assert len(config.folds) == 5
        assert row.epochs >= 8
        assert 224 <= config.size <= 512
        assert config.ema > 0
        assert 3e-5 <= config.lr * config.backbone_lr <= 4e-4
        assert config.layer_decay < 1 or not FAMILIES[net_named(config.backbone).family].transformer
    assert any(FAMILIES[family].transformer for family in families(finalists))
    total = sum(row.config.seconds * len(row.config.folds) for row in finalists)
    assert max(row.config.seconds * len(row.config.folds) for row in finalists) <= 0.5 * total


def test_many_small_pictures_stay_at_their_size_on_a_holdout_for_a_few_epochs():
    plan = SITUATIONS["many small pictures"]()
    for row in plan.finalists:
        assert row.config.size == 96
        assert len(row.config.folds) <= 2
        assert 3 <= row.epochs <= 5


def test_few_large_pictures_get_large_sizes_many_epochs_and_cut_points():
    plan = SITUATIONS["few large pictures, grades"]()
    assert len(families(plan.finalists)) >= 3
    assert all(row.config.size >= 380 and row.epochs >= 15 for row in plan.finalists)
    assert "cut points" in str(plan)


def test_without_weights_and_with_very_many_pictures_a_net_is_trained_from_scratch_on_one_holdout():
    plan = SITUATIONS["no weights, seven thousand labels"]()
    for row in plan.finalists:
        assert not row.config.weights
        assert row.config.folds == (0,)
        assert row.epochs >= 10
        assert row.config.size >= 224
        assert row.memory_gb <= 0.85 * plan.device.memory_gb
    assert max(row.pixel_gb for row in plan.trials) <= CACHE_GB
    assert plan.oof_gb * len(plan.finalists) < 20


def test_a_net_is_trained_again_from_another_seed_only_after_the_other_finalists():
    plan = SITUATIONS["many small pictures"]()
    again = [row.config.backbone for row in plan.trials if row.stage == "rest" and row.config.train == "net"]
    first = again[: len(plan.finalists)]
    assert len(set(first)) == len(first)


def test_further_seeds_of_a_net_are_trained_longer_each_time_it_is_their_turn():
    rows = SITUATIONS["many small pictures"]().trials
    again = [row for row in rows if row.stage == "rest" and row.config.train == "net"]
    first = [row.epochs for row in again if row.config.backbone == again[0].config.backbone]
    assert first[1] >= 1.9 * first[0]
    assert max(row.epochs for row in again) <= LONGEST


@pytest.mark.parametrize("rows", [4, 12, 20, 60, 300])
@pytest.mark.parametrize(("device", "pretrained"), [("cpu", True), ("h100", True), ("cpu", False)])
def test_however_few_the_rows_are_a_net_passes_over_them_a_bounded_number_of_times(rows, device, pretrained):
    plan = plan_on(device, 20 * MINUTE, rows, 100, pretrained=pretrained, hub=False, folds=min(5, rows))
    trained = [row for row in plan.trials if row.stage in ("finalists", "rest") and row.config.train == "net"]
    assert trained
    for row in trained:
        steps = row.epochs * max(1.0, rows_of_fold(plan.situation) / row.config.batch)
        enough = epochs_for("enough", row.config, plan.situation)
        assert row.epochs <= 1.3 * max(LONGEST, enough)  # seconds are rounded, and time for no further net is added
        assert steps >= 70, "and yet each takes as many steps as it needs"


def test_the_long_recipe_has_the_time_that_others_cannot_use():
    plan = plan_on("cpu", 8 * HOUR, 800, 64)
    long = [row for row in plan.finalists if is_long(row.config)]
    assert len(long) == 1
    assert long[0].epochs >= LONG_RECIPE
    assert long[0].config.light_end > 0
    for row in plan.finalists:
        assert row.epochs >= sound_at_its_size(row.config, plan.situation)
    assert sum(row.seconds for row in plan.trials if row.stage == "rest") < 0.2 * plan.situation.budget


def test_a_card_that_is_offline_ends_with_three_kinds_one_of_them_a_large_net_from_scratch():
    plan = plan_on("h100", 4 * HOUR, 20_000, 500, hub=False)
    scratch = [row.config for row in plan.finalists if not row.config.weights]
    assert len({(row.config.backbone, row.config.weights) for row in plan.finalists}) >= 3
    assert [net_named(config.backbone).family for config in scratch] == ["resnet"]
    assert net_named(scratch[0].backbone).gmacs > net_named("resnet18").gmacs


def test_a_card_without_weights_trains_its_largest_residual_net_first_and_other_kinds_beside_it():
    plan = plan_on("h100", 4 * HOUR, 20_000, 500, pretrained=False)
    nets = [net_named(row.config.backbone) for row in plan.finalists]
    assert nets[0].family == "resnet"
    assert nets[0].gmacs == max(net_named(row.config.backbone).gmacs for row in plan.trials)
    assert len({net.family for net in nets}) >= 3
    assert min(net.gmacs for net in nets) > net_named("mobilenetv4_conv_small").gmacs  # the smallest of all


@pytest.mark.parametrize(
    ("device", "budget", "rows", "answered", "side"),
    [("h100", 15 * MINUTE, 100_000, 100, 4_000), ("p100", 2 * HOUR, 10, 1_000_000, 1_500)],
)
def test_no_trial_begins_whose_pictures_cannot_be_decoded_in_the_time_left(device, budget, rows, answered, side):
    plan = plan_on(device, budget, rows, side, answered=answered, pretrained=False)
    assert plan.seconds <= budget
    assert plan.finalists


def test_pictures_of_another_size_are_compared_only_where_they_are_decoded_in_the_time_of_a_trial():
    plan = plan_on("h100", 5 * MINUTE, 10, 500, answered=1_000_000, pretrained=False)  # it takes two minutes
    assert {row.config.size for row in plan.trials} == {FIRST_SIZE}
    assert {len(row.config.folds) for row in plan.finalists} == {5}


@pytest.mark.parametrize(
    ("device", "budget", "rows", "side"), [("p100", 10 * MINUTE, 200, 150), ("a100", HOUR, 100_000, 500)]
)
def test_without_weights_a_small_net_of_large_pictures_comes_before_a_large_net_of_stamps(device, budget, rows, side):
    plan = plan_on(device, budget, rows, side, pretrained=False)
    assert max(row.config.size for row in plan.finalists) >= 0.66 * min(side, 224)


def test_comparisons_get_their_share_of_the_time_that_decoding_leaves():
    plan = plan_on("h100", 15 * MINUTE, 100_000, 4_000, answered=100, pretrained=False)  # decoding takes ten minutes
    assert [len(row.config.folds) for row in plan.finalists] == [5]
    compared = [row for row in plan.trials if row.stage not in ("finalists", "rest")]
    assert sum(row.seconds for row in compared) <= 0.4 * sum(row.seconds for row in plan.trials)


PREDICTING = [  # (device, budget, rows, pixels a side, what else) where predicting takes most of the time of a fold
    ("t4", HOUR, 20_000, 500, {"answered": 1_000_000, "cache_gb": 100.0}),
    ("h100", 5 * MINUTE, 2_500, 150, {"answered": 1_000_000, "cache_gb": 100.0, "hub": False}),
    ("p100", 10 * MINUTE, 101_000, 28, {"answered": 1_000_000, "cache_gb": 100.0}),
]


@pytest.mark.parametrize(
    ("device", "budget", "rows", "answered", "side", "hub"),
    [
        ("h100", 8 * MINUTE, 200, 1_000_000, 500, False),
        ("h100", 1.5 * MINUTE, 10, 2, 4_000, True),
        ("a100", HOUR, 200, 1_000_000, 1_500, True),
        ("p100", 4 * HOUR, 20, 1_000_000, 28, True),
    ],
)
def test_a_long_recipe_leaves_every_finalist_sound_once_its_pictures_are_decoded(
    device, budget, rows, answered, side, hub
):
    plan = plan_on(device, budget, rows, side, answered=answered, hub=hub)
    assert plan.finalists
    for row in plan.finalists:
        assert row.epochs >= epochs_for("enough", row.config, plan.situation)
        assert row.config.seconds > 0


@pytest.mark.parametrize(("device", "budget", "rows", "side", "more"), PREDICTING)
def test_where_predicting_takes_most_of_the_time_nets_still_train_on_every_fold(device, budget, rows, side, more):
    plan = plan_on(device, budget, rows, side, **more)
    assert 0.95 * budget <= plan.seconds + seconds_kept(budget, SLACK.first_quick_blend) <= budget
    assert [len(row.config.folds) for row in plan.finalists] == [1 if rows > 100_000 else 5] * len(plan.finalists)
    assert min(row.epochs for row in plan.finalists) >= 1


@pytest.mark.parametrize(
    ("device", "budget", "rows", "answered", "side", "hub"),
    [
        ("p100", 15 * MINUTE, 2_500, 1_000_000, 500, False),
        ("h100", 8 * MINUTE, 220_000, 55_000, 1_500, False),
        ("cpu", 30 * MINUTE, 100_000, 25_000, 1_500, True),
    ],
)
def test_pictures_too_large_to_be_decoded_twice_are_trained_on_as_they_are_decoded_first(
    device, budget, rows, answered, side, hub
):
    plan = plan_on(device, budget, rows, side, answered=answered, hub=hub)
    assert 0.9 * budget <= plan.seconds <= budget
    assert plan.finalists
    assert {row.config.size for row in plan.finalists} == {FIRST_SIZE}


def test_a_plan_says_which_facts_of_the_data_steer_it():
    facts = plan_on("cpu", HOUR, 600, 28, imbalance=20.0, by_class=True)
    text = str(facts)
    assert "few rows: " in text
    assert "tiny pictures: " in text
    assert "imbalance: 20 rows" in text
    assert "few rows" not in str(SITUATIONS["an H100 for four hours"]())


# --- the front door and the table of rates ----------------------------------------------------------------------------


def test_the_front_door_plans_a_task_and_says_what_it_found():
    plan = autoclimb.plan(task(target=[0, 1] * 40), metric="accuracy", budget="5m")
    assert str(plan).startswith("80 train and")
    with pytest.raises(Mistake, match="h100"):
        autoclimb.plan(task(target=[0, 1] * 40), metric="accuracy", budget="5m", device="tpu")


def test_a_plan_without_a_metric_is_of_the_task_that_a_run_reads(tmp_path):
    s = autoclimb.plan(competition(tmp_path, lambda i: i % 4, sample=0, column="grade"), budget="60s").situation
    assert (s.metric, s.kind) == ("qwk", "ordinal")


def test_the_command_plans_by_a_recipe(tmp_path):
    data = competition(tmp_path / "pets")
    words = ["plan", str(data), "--budget", "10m", "--device", "t4"]
    shown = {more: CliRunner().invoke(app, [*words, *more]).output for more in ((), ("--recipe", "fixed"))}
    assert "frozen features" in shown[()]
    assert "frozen features" not in shown["--recipe", "fixed"]
    assert shown["--recipe", "fixed"].rstrip().endswith(" of 10m00s")
    assert "of 3 GB for the pixels" in shown[()]
    assert "of 1.5 GB for the pixels" in CliRunner().invoke(app, [*words, "--cache-gb", "1.5"]).output


def test_stages_of_a_recipe_have_a_column_and_a_reason_of_their_own():
    def my_longest_stage(history, s):
        yield [Config(backbone="resnet18", seconds=60.0)]

    rows = task(target=[0, 1] * 40)
    text = str(autoclimb.plan(rows, metric="accuracy", budget="5m", stages=[my_longest_stage]))
    assert "my_longest_s resnet18 " in text
    fixed = str(autoclimb.plan(rows, metric="accuracy", budget="30m", device="t4", recipe="fixed"))
    assert "  as the stage one-net asks; lr 0." in fixed
    assert "base" not in fixed


def test_a_plan_of_a_budget_too_short_for_any_trial_says_what_is_left():
    plan = plan_on("cpu", 15, 2500, 100)
    assert not plan.trials
    assert str(plan).splitlines()[-1].startswith("no trial fits into 15s: by these estimates the first would start")
    assert "0 trials" not in str(plan)
    assert "stage " not in str(plan)


@pytest.mark.parametrize("rows", [30, 200])
def test_looks_at_nets_for_which_no_time_is_left_are_not_in_the_seconds_of_a_short_plan(rows):
    plan = plan_on("cpu", 20.0, rows, 100)
    assert plan.trials
    assert plan.seconds < 20
    assert re.search(r"\n1 trial, 1\ds of 20s$", str(plan))


def test_a_plan_in_which_nothing_fits_says_when_a_trial_would_start_whatever_nets_would_be_looked_at():
    starts = {str(plan_on("cpu", budget, 200, 100)).split("start after ")[1] for budget in (10.0, 12.0)}
    assert starts == {"10s"}


def test_a_plan_says_of_its_only_net_that_it_is_the_first_and_of_later_ones_that_they_are_further_seeds():
    (lone,) = (row for row in plan_on("cpu", MINUTE, 200, 32).trials if row.config.train == "net")
    assert (lone.stage, lone.why) == ("rest", "a first net in the time that frozen features left")
    again = [row for row in two_cores(4 * HOUR).trials if row.stage == "rest" and row.config.train == "net"]
    assert {row.why for row in again} == {"another seed in the time left"}


@pytest.mark.parametrize("hub", [False, True])
def test_a_net_whose_preparations_take_most_of_the_time_is_trained_on_fewer_folds_for_real_epochs(hub):
    plan = plan_on("t4", MINUTE, 1_000, 3_000, hub=hub)  # decoding takes most of the minute
    assert plan.finalists
    for row in plan.finalists:
        assert row.epochs >= 0.5 * epochs_for("enough", row.config, plan.situation)


def test_a_plan_that_leaves_a_twentieth_of_its_budget_says_why():
    plan = plan_on("h100", 24 * HOUR, 50, 100, hub=False)
    assert plan.seconds < 0.9 * plan.situation.budget
    assert re.search(r"^unused: \d+h\d+m, as 60 further trials are the most$", str(plan), re.MULTILINE)
    assert "unused" not in str(SITUATIONS["an H100 for four hours"]())


def test_a_plan_of_one_trial_counts_it_in_the_singular():
    assert "\n1 trial, " in str(plan_on("h100", 10 * MINUTE, 1_700_000, 500, **LABELS))


def test_a_plan_says_where_pictures_are_too_many_for_the_disk():
    text = str(plan_on("h100", 24 * HOUR, 16_000_000, 300))
    assert "disk: pictures of 256 px do not fit into 3 GB and are read from their files; as JPEGs they take 786" in text
    text = str(plan_on("h100", 5 * MINUTE, 20_000, 300))  # 25,000 pictures with those to be answered
    assert "disk: 0.8 of 3 GB for JPEGs of 224 px; their pixels take 3.8 GB" in text
    words = r"of 3 GB for the pixels of the largest size; 0\.\d GB for features of frozen stages"
    assert re.search(rf"disk: 0\.\d {words}", str(two_cores(5 * MINUTE)))


@pytest.mark.parametrize("form", ["array", "jpegs", ""])
def test_pictures_that_are_no_array_on_disk_are_read_while_nets_train(form):
    facts = {**FACTS, "rows": 20_000, "answered": 5_000, "side": 500, "folds": 5, "budget": HOUR}
    s = situation_on(DEVICES["cpu"], hub=False, pretrained=True, **facts, cache_gb=100.0)
    array = 25_000 * 128 * 128 * 3
    first = 25_000 * 64 * 64 * 3
    room = {"array": 1.01 * array, "jpegs": 0.5 * array, "": 0.1 * array}[form] + first
    limited = situation_on(DEVICES["cpu"], hub=False, pretrained=True, cache_gb=room / 1e9, **facts)
    assert stored_as(128, limited)[0] == form
    config = Config(backbone="resnet18", size=128)
    slower = speed_of(config, limited).train / speed_of(config, s).train
    assert slower == 1 if form == "array" else 0.2 < slower < 1


def test_a_plan_has_no_more_folds_than_rows_or_groups():
    rows = task(target=[0, 1] * 4)
    assert autoclimb.plan(rows, metric="accuracy", budget="5m", folds=20).situation.folds == 8
    grouped = replace(rows, groups=np.array([0, 0, 0, 1, 1, 1, 2, 2]))
    plan = autoclimb.plan(grouped, metric="accuracy", budget="5m")
    assert plan.situation.folds == 3
    assert "3 folds; rows of one group share a fold (3 groups, the largest of 3)" in str(plan)
    with pytest.raises(Mistake, match="1 groups; two are needed"):
        autoclimb.plan(replace(rows, groups=np.zeros(8, int)), metric="accuracy", budget="5m")


def test_further_frozen_features_say_what_differs_and_what_they_are_for():
    rows = frozen(two_cores(5 * MINUTE)) + frozen(two_cores(MINUTE))
    again = [row for row in rows if row.config.weights and row.stage == "baseline" and "ranks" not in row.why]
    assert again
    assert all(re.search(r"with .*(px|linear|layer|view)", row.why) for row in again)
    rest = {row.why for row in frozen(SITUATIONS["an H100 for four hours"]()) if row.stage == "rest"}
    assert rest == {"further frozen features for the blend, in the time left"}


@pytest.mark.parametrize("name", DEVICES)
def test_rates_have_a_source_and_fall_with_size_and_depth(name):
    device = DEVICES[name]
    assert device.source.startswith(("measured", "published", "estimated"))
    small = Config(backbone="resnet18", size=64)
    speed = speed_on(device, small)
    assert 0 < speed.train <= speed.predict
    assert speed_on(device, small.vary(size=224)).train < speed.train
    assert (
        speed_on(device, small.vary(backbone="resnet50", size=224)).train < speed_on(device, small.vary(size=224)).train
    )


def test_a_step_of_few_rows_takes_a_card_as_long_as_one_that_it_has_to_launch():
    four, many = (plan_on("h100", MINUTE, rows, 100, folds=4).situation for rows in (4, 4_000))
    config = Config(backbone="resnet18", size=64, batch=64)
    assert epoch_seconds(config, four) == pytest.approx(STEP)
    assert epoch_seconds(config, many) >= 0.99 * STEP * 3_000 / 64  # rates are rounded


def test_a_cards_rate_is_its_published_one():
    assert speed_on(DEVICES["a100"], Config(backbone="resnet50", size=224)).train == pytest.approx(2470, rel=0.02)


def test_the_nets_of_the_box_are_those_that_the_engine_has():
    assert tuple(boxed.BOXED) == BOX
