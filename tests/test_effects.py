"""What changes are worth: pooled over trials, paired by row, shrunk by a prior, adopted only beyond doubt."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import situation, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.config import Config
from autoclimb.search.effects import (
    SEED_NOISE,
    Effect,
    adopted,
    changes_of,
    covariance_of_means,
    lift_words,
    most_helpful,
    observed,
    posterior_effects,
)
from autoclimb.search.stages import account, leader, search_base
from autoclimb.types import History, Trial

BASE = Config(seconds=60.0, size=96)
ROWS = 800


def rows_of(changes: dict[str, float], noise: float = 0.02):
    """Losses by row whose mean is that of 1.0 with the effects added; hard rows are hard for every config."""
    hard = np.random.default_rng(0).gamma(2.0, 0.5, ROWS)

    def losses(t: Trial) -> np.ndarray:
        draw = np.random.default_rng(int(t.key[:8], 16))
        effect = sum(changes.get(name, 0.0) for name in changes_of(t.config, BASE))
        return hard * (1 + effect) + draw.normal(0, 0.2, ROWS) + draw.normal(0, noise)

    return losses


def history_of(*configs: Config) -> History:
    return History([replace(trial(config, "loss"), seconds=30.0) for config in configs])


TWO = history_of(BASE, BASE.vary(policy="trivial")).trials


def found(changes, *configs, **more):
    s = situation(row_losses=rows_of(changes, **more))
    trials = history_of(BASE, *configs).trials
    return posterior_effects(trials, trials[0], s)


def test_a_net_brings_its_own_values_and_is_one_change():
    other = BASE.vary(backbone="resnet34", lr=1e-3, batch=32, size=128, policy="trivial", tta="flip")
    assert set(changes_of(other, BASE)) == {"backbone=resnet34@128", "policy=trivial"}
    assert changes_of(BASE.vary(folds=(0, 1), seed=3, ema=0.9), BASE) == {}


def test_a_point_of_the_refinement_is_one_change():
    assert len(changes_of(BASE.vary(lr=1e-3, mixup=0.1, dropout=0.2), BASE)) == 1


def test_a_trial_that_changes_three_things_teaches_about_each():
    truth = {"policy=trivial": -0.2, "mixup=0.3": 0.2, "size=128": 0.0}
    three = BASE.vary(policy="trivial", mixup=0.3, size=128)
    table = found(truth, BASE.vary(policy="trivial"), BASE.vary(policy="trivial", size=128), three)
    assert table["policy=trivial"].mean < -0.05
    assert table["mixup=0.3"].mean > 0.05
    assert abs(table["size=128"].mean) < 0.06
    assert {effect.trials for effect in table.values()} == {3, 2, 1}
    assert table["policy=trivial"].seconds == 90.0


def test_pairing_by_row_makes_errors_far_smaller_than_those_of_the_scores():
    pair = found({}, BASE.vary(policy="trivial"), noise=0.0)["policy=trivial"]
    alone = 0.5 * 2**0.5 / ROWS**0.5 * 2  # of the difference of two means over such rows
    assert pair.stderr < alone


def test_more_trials_make_an_effect_surer():
    truth = {"policy=trivial": -0.1}
    once = found(truth, BASE.vary(policy="trivial"))["policy=trivial"]
    more = [BASE.vary(policy="trivial", size=size) for size in (64, 128)]
    often = found(truth, BASE.vary(policy="trivial"), *more, BASE.vary(size=64), BASE.vary(size=128))
    assert often["policy=trivial"].stderr < once.stderr


@settings(max_examples=25, deadline=None)
@given(effect=st.floats(-0.4, 0.4))
def test_a_posterior_lies_between_prior_and_trial(effect):
    seen = found({"size=128": effect}, BASE.vary(size=128), noise=0.0)["size=128"]
    assert abs(seen.mean) <= abs(effect) + 0.03
    assert seen.stderr < 0.08  # its prior's


@pytest.mark.parametrize(("effect", "taken"), [(-0.3, True), (-0.01, False), (0.3, False)])
def test_only_what_helps_beyond_doubt_is_adopted(effect, taken):
    s = situation(row_losses=rows_of({"policy=trivial": effect}))
    config = adopted(history_of(BASE, BASE.vary(policy="trivial", tta="flip")), BASE, s)
    assert (config.policy, config.tta) == (("trivial", "flip") if taken else (BASE.policy, BASE.tta))


def test_what_was_adopted_from_different_trials_is_joined():
    truth = {"policy=trivial": -0.3, "size=128": -0.3, "backbone=resnet34@96": -0.3}
    tries = (BASE.vary(policy="trivial"), BASE.vary(size=128), BASE.vary(backbone="resnet34", lr=1e-3))
    config = adopted(history_of(BASE, *tries), BASE, situation(row_losses=rows_of(truth)))
    assert (config.policy, config.backbone, config.lr) == ("trivial", "resnet34", 1e-3)


def test_trials_on_other_hardware_are_not_compared_as_the_same_seconds_were_other_epochs_there():
    truth = {"policy=trivial": -0.3}
    s = situation(row_losses=rows_of(truth))
    here, there = ({"hardware": name} for name in ("NVIDIA T4", "NVIDIA H100"))
    base, better = (replace(t, facts=here) for t in history_of(BASE, BASE.vary(policy="trivial")).trials)
    assert adopted(History([base, better]), BASE, s).policy == "trivial"
    assert adopted(History([base, replace(better, facts=there)]), BASE, s) == BASE


def test_without_losses_by_row_scores_decide_with_their_own_errors():
    s = situation()
    trials = [replace(t, score=0.5) for t in history_of(BASE, BASE.vary(policy="trivial")).trials]
    trials.append(replace(trial(BASE.vary(size=128)), score=0.7))
    table = posterior_effects(trials, trials[0], s)
    assert table["size=128"].adopted
    assert not table["policy=trivial"].adopted


def test_the_account_says_what_a_change_did_to_loss_and_metric_its_errors_its_cost_and_the_verdict():
    effect = Effect("policy=trivial", -0.123, 0.0456, 1, 30.0)
    line = lift_words(effect, {"policy=trivial"}, "f2", (0.0123, 0.0045))
    assert line == (
        "policy=trivial: loss -12.3 ± 4.6 %, lift of f2 +0.0123 ± 0.0045, 0.5 min (-24.6 % a minute), adopted"
    )
    assert lift_words(effect, {"policy=trivial"}) == (
        "policy=trivial: loss -12.3 ± 4.6 %, 0.5 min (-24.6 % a minute), adopted"
    )
    assert "not adopted: likely to help, but less than" in lift_words(effect, {"policy=medium"})


@pytest.mark.parametrize(
    "tries",
    [
        (BASE.vary(policy="trivial"), BASE.vary(policy="medium")),
        (BASE.vary(backbone="resnet34"), BASE.vary(size=128)),
        (BASE.vary(mixup=0.3), BASE.vary(lr=1e-3, mixup=0.2, dropout=0.2), BASE.vary(policy="medium")),
    ],
    ids=["two policies", "another net and another size", "mixup and a point of the refinement"],
)
def test_what_the_account_calls_adopted_is_what_later_trials_have(tries):
    first = trial(BASE.vary(size=BASE.size), "baseline")
    others = [replace(trial(config), seconds=30.0) for config in tries]
    names = [name for t in others for name in changes_of(t.config, BASE)]
    truth = {name: -0.5 + 0.1 * i for i, name in enumerate(names)}
    s, history = situation(row_losses=rows_of(truth)), History([first, *others])
    effects = posterior_effects(history.trials, first, s)
    assert all(effect.adopted for effect in effects.values())
    taken = {effect.change for effect in most_helpful(effects, history.trials, BASE).values()}
    lines = {name: lift_words(effects[name], taken) for name in names}
    told = {name for name, line in lines.items() if line.endswith(", adopted")}
    assert told == set(changes_of(adopted(history, BASE, s), BASE))
    assert len(told) < len(names)


def test_the_account_of_a_stage_takes_back_what_its_trials_refute():
    s = situation(budget=4 * 3600.0)
    base = search_base(History(), s)
    mixed = base.vary(mixup=0.3)
    later = [mixed.vary(loss="focal"), mixed.vary(loss="mae")]
    loss_of = {base.key: 1.0, mixed.key: 0.85, **{config.key: 1.2 for config in later}}
    hard = np.random.default_rng(0).gamma(2.0, 0.5, ROWS)
    s = replace(s, row_losses=lambda t: hard * loss_of[t.key])
    history = History([trial(base, "baseline"), trial(mixed, "augmentation")])
    assert [line.rpartition(", ")[2] for line in account("augmentation", history, s)] == ["adopted"]
    assert leader(history, s).mixup == 0.3
    history.trials += [trial(config, "loss") for config in later]
    lines = account("loss", history, s)
    assert leader(history, s).mixup == 0
    assert [line.startswith("now ") for line in lines] == [False, False, True]
    assert lines[-1].startswith("now mixup=0.3: ")
    assert lines[-1].endswith("not adopted")


@pytest.mark.parametrize("copies", [1, 4], ids=["each row for itself", "groups of four"])
def test_every_row_that_all_trials_predicted_counts_however_many_there_are(copies):
    rows = 20_000
    hard = np.random.default_rng(0).gamma(2.0, 0.5, rows)
    losses = {t.key: hard + np.random.default_rng(i).normal(0, 0.3, rows) for i, t in enumerate(TWO)}
    groups = np.repeat(np.arange(rows), copies) if copies > 1 else None
    s = situation(row_losses=lambda t: np.repeat(losses[t.key], copies), groups=groups)
    mean, covariance, unit = observed(TWO, s)
    table = np.stack([losses[t.key] for t in TWO])
    assert mean == pytest.approx(table.mean(1) - table[0].mean())
    assert covariance == pytest.approx(np.cov(table) / rows + (SEED_NOISE * unit) ** 2 * np.eye(2))


def test_the_lift_of_the_metric_is_that_of_two_trials_that_differ_in_nothing_else():
    s = situation(budget=4 * 3600.0, metric="f2")
    base = search_base(History(), s)
    score_of = {base: 0.5, base.vary(mixup=0.3): 0.6, base.vary(mixup=0.3, loss="focal"): 0.8}
    s = replace(s, lift=lambda new, old: (score_of[new.config] - score_of[old.config], 0.01))
    first, mixed, focal = score_of
    history = History([trial(first, "baseline")])
    for stage, config, lift in (("augmentation", mixed, 0.1), ("loss", focal, 0.2)):
        history.add(trial(config, stage))
        assert f", lift of f2 {lift:+.4f} ± 0.0100, " in account(stage, history, s)[0]
    history.add(trial(base.vary(policy="medium", pool="gem"), "refine"))
    both = [line for line in account("refine", history, s) if not line.startswith("now ")]
    assert ["lift" in line for line in both] == [False, False], "neither was tried without the other"


@given(st.integers(0, 99), st.integers(1, 5))
def test_copies_of_a_row_in_one_group_say_no_more_than_the_row(seed, copies):
    table = np.random.default_rng(seed).normal(size=(3, 40))
    many, groups = np.repeat(table, copies, axis=1), np.repeat(np.arange(40), copies)
    assert np.allclose(covariance_of_means(many, groups), covariance_of_means(table))
    assert np.allclose(covariance_of_means(table), np.cov(table) / 40)


def test_a_change_that_one_group_likes_is_not_adopted_where_its_rows_would_be_enough():
    losses = rows_of({"policy=trivial": -0.1})
    trials = history_of(BASE, BASE.vary(policy="trivial")).trials
    rows = ROWS // 4
    by_four = situation(row_losses=lambda t: np.repeat(losses(t)[:rows], 4), groups=np.repeat(np.arange(rows), 4))
    alone = replace(by_four, groups=None)
    surer, honest = (posterior_effects(trials, trials[0], s)["policy=trivial"] for s in (alone, by_four))
    assert surer.stderr < honest.stderr


def test_overclaim_is_a_fraction_of_the_raw_maximums():
    """Twenty changes that do nothing: what the best one claims, by its raw score and by its posterior."""
    s = situation(row_losses=rows_of({}, noise=0.03))
    raw, shrunk, adoptions = [], [], []
    for seed in range(10):
        trials = history_of(*(BASE.vary(policy=f"p{i}", seed=seed) for i in range(21))).trials
        table = posterior_effects(trials, trials[0], s)
        means = [float(s.row_losses(t).mean()) for t in trials]  # type: ignore[union-attr]
        raw.append(means[0] - min(means[1:]))
        shrunk.append(-min(effect.mean for effect in table.values()))
        adoptions.append(sum(effect.adopted for effect in table.values()))
    assert np.mean(shrunk) < 0.7 * np.mean(raw)
    assert np.mean(adoptions) <= 4
