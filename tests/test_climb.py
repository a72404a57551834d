"""The whole plan in no time: budgets hold, nothing runs twice, and a killed run goes on as if nothing had been."""

from dataclasses import replace
from functools import cache
from itertools import cycle

import pytest
from fakes import BOXED, SITUATIONS, Killed, World, check, situation, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.budget import SLACK, seconds_of
from autoclimb.config import Config
from autoclimb.search.climb import follow
from autoclimb.search.cost import cost_of, decoding_of, full_cost, speed_of
from autoclimb.search.fidelity import epochs_in
from autoclimb.search.finals import is_long
from autoclimb.search.frozen import frozen_net
from autoclimb.search.order import PLAN, plan_of
from autoclimb.search.stages import SEARCHING
from autoclimb.types import History

BUDGETS = ("30s", "90s", "5m", "15m", "4h", "1d12h")
TOO_LITTLE = {("large data", "30s"), ("large data", "90s")}  # predicting alone takes 150 s there
each_world = pytest.mark.parametrize(
    ("name", "budget"), [(name, budget) for name in SITUATIONS for budget in BUDGETS], ids=str
)


def world(name: str = "a processor, from scratch", budget: str = "5m", **more) -> World:
    seconds = seconds_of(budget)
    return World(situation(**SITUATIONS[name], budget=seconds), opening=min(12.0, 0.4 * seconds), **more)


@cache
def climbed(name: str, budget: str) -> tuple[World, History, bool]:
    """The world after the whole plan, which many tests look at, and what that came to."""
    w = world(name, budget)
    return w, *w.climb(plan_of(None))


def stage_of(*configs: Config):
    def stage(history, s):
        for config in configs:
            yield [config]

    return stage


def short(number: int, **changes) -> Config:
    return Config(seconds=5.0, seed=number).vary(**changes)


@each_world
def test_the_plan_keeps_to_the_budget_and_uses_it(name, budget):
    w, history, whole = climbed(name, budget)
    spent = w.clock.spent()
    assert spent <= w.clock.budget - w.reserve() + 1e-6
    if (name, budget) not in TOO_LITTLE:
        assert history.done(), "nothing was tried"
        least = 0.8 if budget == "30s" else 0.9  # of which a trial of features takes a fifth
        assert whole or spent + w.reserve() >= least * w.clock.budget, f"{spent:.0f} s of {budget}"
    assert w.published == len(w.ran)
    for config in w.ran:
        check(config, w.situation)
    keys = [config.key for config in w.ran]
    assert len(keys) == len(set(keys))
    assert w.stages == list(PLAN)
    assert [t.key for t in history.trials] == keys


@each_world
def test_a_search_trial_gets_a_third_of_a_finalists_epochs_and_never_more_than_a_finalist(name, budget):
    w, history, _ = climbed(name, budget)
    searched = [t.config for t in history.trials if t.config.train == "net" and t.stage == "baseline"]
    for config in [t.config for t in history.trials if t.stage == "finalists"]:
        same = [
            c
            for c in searched
            if (c.backbone, c.model_args, c.size, c.sizes)
            == (config.backbone, config.model_args, config.size, config.sizes)
        ]
        for trial_config in same:
            assert trial_config.seconds <= config.seconds
            if not is_long(config):
                epochs = epochs_in(config.seconds, config, w.situation)
                assert epochs_in(trial_config.seconds, trial_config, w.situation) >= 0.9 * epochs / 3


@pytest.mark.parametrize("budget", ["15m", "4h"])
def test_a_plan_on_middling_data_does_not_end_early(budget):
    w = world(budget=budget)
    w.climb(plan_of(None))
    assert w.clock.spent() + w.reserve() >= 0.9 * w.clock.budget


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal", "regression"])
def test_every_kind_of_task_gets_valid_configs(kind):
    w = World(situation(kind=kind, budget=900.0, metric="f2" if kind == "multilabel" else "any"), opening=12)
    w.climb(plan_of(None))
    assert {t.stage for t in w.record.values()} >= {"baseline", "augmentation", "loss", "finalists"}
    for config in w.ran:
        check(config, w.situation)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_run_killed_at_any_trial_goes_on_as_if_nothing_had_been(data):
    budget = data.draw(st.sampled_from(["90s", "15m"]))
    name = data.draw(st.sampled_from(sorted(SITUATIONS)))
    unharmed, *_ = climbed(name, budget)
    killed = world(name, budget, kill_at=data.draw(st.integers(1, max(1, len(unharmed.ran)))), lose=0.0)
    if unharmed.ran:
        with pytest.raises(Killed):
            killed.climb(plan_of(None))
    finished = set(killed.record)
    killed.climb(plan_of(None))
    assert killed.asked == unharmed.asked
    assert not finished & {config.key for config in killed.ran}
    assert killed.record.keys() == unharmed.record.keys()


@settings(max_examples=12, deadline=None)
@given(at=st.integers(1, 20), lose=st.floats(0.1, 1.0), budget=st.sampled_from(["90s", "15m"]))
def test_a_kill_costs_its_time_but_no_finished_trial_and_not_the_budget(at, lose, budget):
    w = world(budget=budget, kill_at=at, lose=lose)
    try:
        w.climb(plan_of(None))
    except Killed:
        before, finished = list(w.asked), set(w.record)
        w.climb(plan_of(None))
        known = [key for key in before if key in finished]
        assert [key for key in w.asked if key in finished] == known
        assert not finished & {config.key for config in w.ran}
    assert w.clock.spent() <= max(w.clock.budget - w.reserve() + 1e-6, 0)


@pytest.mark.parametrize("pace", [0.5, 0.7, 1.5, 4.0])
def test_a_run_that_goes_on_at_another_pace_after_its_finalists_were_decided_compares_nothing_again(pace):
    unharmed, *_ = climbed("a card, with the hub", "1h")
    searched = [key for key in unharmed.asked if unharmed.record[key].stage in ("baseline", *SEARCHING)]
    w = world("a card, with the hub", "1h", kill_at=len(searched) + 1)
    with pytest.raises(Killed):
        w.climb(plan_of(None))
    finalists = w.decisions["finalists"]
    done, old = list(w.record.values()), w.situation.measure

    def measure(config):
        return replace(old(config), train=pace * old(config).train, predict=pace * old(config).predict)

    def on_record(stage):
        return [t.config for t in done if t.stage == stage] if stage in ("baseline", *SEARCHING) else None

    w.situation = replace(w.situation, measure=measure, replays=on_record)
    w.climb(plan_of(None))
    assert {w.record[config.key].stage for config in w.ran} <= {"finalists", "rest"}
    assert w.asked[: len(searched)] == searched
    assert w.decisions["finalists"] == finalists
    assert {Config.from_json(row).backbone for row in finalists} & {config.backbone for config in w.ran}


@pytest.mark.parametrize("lost", [0.2, 0.5])
def test_a_run_killed_within_its_last_net_trains_one_in_the_time_that_is_left(lost):
    unharmed, *_ = climbed("large data", "15m")
    [only] = unharmed.ran
    w = world("large data", "15m", kill_at=1, lose=lost)
    with pytest.raises(Killed):
        w.climb(plan_of(None))
    w.climb(plan_of(None))
    [shorter] = w.ran
    assert shorter == only.vary(seconds=shorter.seconds)
    assert (1 - lost) * 0.9 < shorter.seconds / only.seconds < (1 - lost) * 1.05


def test_a_run_killed_near_its_end_starts_nothing_that_has_no_time():
    w = world("large data", "15m", kill_at=1, lose=0.8)
    with pytest.raises(Killed):
        w.climb(plan_of(None))
    w.climb(plan_of(None))
    assert not w.ran


def test_a_finished_run_given_again_runs_nothing():
    w = world(budget="15m")
    first, _ = w.climb(plan_of(None))
    again, _ = w.climb(plan_of(None))
    assert not w.ran
    assert [t.key for t in again.trials] == [t.key for t in first.trials]


def test_a_larger_budget_finds_trials_of_the_smaller_one_on_record():
    small = world(budget="15m")
    small.climb(plan_of(None))
    large = world(budget="30m", record=dict(small.record))
    large.climb(plan_of(None))
    assert any(key in small.record for key in large.asked)


@pytest.mark.parametrize("status", ["failed", "late"])
@pytest.mark.parametrize("name", SITUATIONS)
def test_trials_that_fail_do_not_stop_the_climb(status, name):
    turns = cycle(["done", status, "done"])  # the first is done: large data have time for one trial only
    w = world(name, "15m", ends=lambda config: next(turns))
    history, _ = w.climb(plan_of(None))
    assert w.stages == list(PLAN)
    assert history.done()
    assert w.clock.spent() <= w.clock.budget - w.reserve() + 1e-6


def test_a_climb_in_which_everything_fails_ends():
    w = world(budget="15m", ends=lambda config: "failed")
    history, _ = w.climb(plan_of(None))
    assert history.best() is None
    assert not w.published
    assert w.stages == list(PLAN)


def test_a_failed_trial_is_not_tried_again_by_a_resumed_run():
    w = world(budget="5m", ends=lambda config: "failed")
    w.climb(plan_of(None))
    w.climb(plan_of(None))
    assert not w.ran


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1.0, 4.0), often=st.integers(1, 5), budget=st.sampled_from(["30s", "90s", "5m"]))
def test_a_trial_that_takes_longer_than_it_said_costs_no_more_than_its_own_overrun(factor, often, budget):
    w = world(budget=budget, overrun=lambda config: factor if int(config.key, 16) % often == 0 else 1.0)
    w.climb(plan_of(None))
    worst = max((t.seconds * (factor - 1) / factor for t in w.record.values()), default=0.0)
    assert w.clock.spent() <= w.clock.budget - w.reserve() + worst + 1e-6


@pytest.mark.parametrize("evicts", [False, True])
def test_features_that_find_nothing_kept_at_a_cut_are_ended_at_their_deadline(evicts):
    """A quarter of a pass was planned; where the kept maps were deleted a whole one follows, for which is no time."""
    w = World(situation(pretrained=BOXED, budget=155.0), evicts=evicts)
    kept = frozen_net(BOXED[0], 128, w.situation, tta="flip").vary(top=2)
    above, last = kept.vary(tta="none"), short(1, seconds=4.0)
    history, _ = w.climb([("s", stage_of(kept, above, last))])
    assert w.planned[above.key] < 0.4 * full_cost(above, w.situation)
    assert [t.status for t in history.trials] == (["done", "late"] if evicts else ["done", "done", "done"])
    assert w.clock.spent() <= w.clock.budget - (SLACK.worker_deadline_share if evicts else 1.0) * w.reserve() + 1e-6


def test_a_trial_is_run_with_the_seconds_that_finished_trials_make_of_its_plan():
    planned = []

    def run(config, stage, seconds):
        planned.append(seconds)
        return replace(w.run(config, stage, seconds), facts={"img_s": speed_of(config, w.situation).train / 2})

    w = world("a processor, from scratch", "1h")
    counted = [Config(epochs=2.0, seed=seed) for seed in (1, 2)]
    follow([("s", stage_of(*counted))], w.situation, run, w.recall, w.clock, w.reserve, w.publish)
    assert planned[0] == cost_of(counted[0], w.situation)
    assert planned[1] == pytest.approx(2 * planned[0], rel=0.05)


def test_features_that_come_first_wait_for_imports():
    planned = []

    def run(config, stage, seconds):
        planned.append(seconds)
        return w.run(config, stage, seconds)

    w = world("a processor, from scratch", "1h")
    configs = [Config(train="features", backbone="gradients", folds=(0, 1), size=size) for size in (64, 96)]
    follow([("s", stage_of(*configs))], w.situation, run, w.recall, w.clock, w.reserve, w.publish)
    costs = [cost_of(config, w.situation) for config in configs]
    assert planned == [costs[0] + SLACK.first_features, costs[1] + decoding_of(configs[1], w.situation)]


def test_features_over_fewer_folds_have_to_decode_their_pictures_too():
    w = world("a processor, from scratch", "1h")
    over_all_folds = Config(train="features", backbone="gradients", folds=(0, 1, 2, 3, 4), size=96)
    w.record[short(1).key] = trial(short(1))  # the features are no first trial, which waits for imports
    decoding = decoding_of(over_all_folds, w.situation)
    seconds = cost_of(over_all_folds.vary(folds=(0, 1, 2, 3)), w.situation) + decoding / 2
    w.clock = replace(w.clock, start=w.now - w.clock.budget + w.reserve() + seconds)
    w.climb([("s", stage_of(short(1), over_all_folds))])
    assert [len(config.folds) for config in w.ran] == [3]
    assert cost_of(w.ran[0], w.situation) + decoding <= seconds


def test_a_config_asked_for_twice_is_run_once():
    w = world()
    history, whole = w.climb([("one", stage_of(short(1), short(1), short(2))), ("two", stage_of(short(2), short(3)))])
    assert [config.seed for config in w.ran] == [1, 2, 3]
    assert [t.stage for t in history.trials] == ["one", "one", "two"]
    assert whole


def test_what_is_too_dear_is_left_out_and_what_is_cheap_still_runs():
    w = world(budget="90s")
    _, whole = w.climb([("s", stage_of(short(1, seconds=500.0), short(2)))])
    assert [config.seed for config in w.ran] == [2]
    assert not whole


@pytest.mark.parametrize(
    ("asked", "runs", "pace"),
    [({"folds": (0, 1, 2, 3, 4), "seconds": 20.0}, {"folds": (0, 1, 2)}, 1.0), ({"seconds": 100.0}, {}, 0.4)],
)
def test_a_trial_that_was_shortened_for_want_of_time_is_recalled_by_a_resumed_run(asked, runs, pace):
    w = world(budget="90s", overrun=lambda config: pace)
    plan = [("s", stage_of(short(1, **asked)))]
    first, _ = w.climb(plan)
    [shorter] = w.ran
    assert shorter == short(1, **asked).vary(seconds=shorter.seconds, **runs)
    again, whole = w.climb(plan)
    assert not w.ran
    assert [t.key for t in again.trials] == [t.key for t in first.trials]
    assert not whole


def test_a_shortened_trial_that_is_killed_is_tried_in_the_time_that_is_left():
    w = world(budget="5m", kill_at=1, lose=0.3)
    plan = [("s", stage_of(short(1, seconds=400.0)))]
    with pytest.raises(Killed):
        w.climb(plan)
    w.climb(plan)
    [shorter] = w.ran
    assert shorter.seconds < 0.75 * w.clock.budget
    w.climb(plan)
    assert not w.ran


def test_a_stage_sees_the_trials_it_asked_for():
    seen = []

    def stage(history, s):
        for number in (1, 2):
            yield [short(number)]
            seen.append([t.config.seed for t in history.trials])

    world().climb([("s", stage)])
    assert seen == [[1], [1, 2]]


def test_recalled_trials_are_in_the_history_but_are_not_published_again():
    w = world(record={short(1).key: trial(short(1))})
    history, _ = w.climb([("s", stage_of(short(1)))])
    assert len(history.trials) == 1
    assert w.published == 0


def test_no_trial_starts_when_what_must_be_kept_would_go():
    w = world(budget="30s")
    kept = 40.0
    history, whole = follow(
        [("s", stage_of(short(1)))], w.situation, w.run, w.recall, w.clock, lambda: kept, w.publish, w.tell
    )
    assert not history.trials
    assert not whole


def test_nets_that_cannot_be_run_do_not_stop_the_others():
    plain = situation(budget=900.0)

    def measure(config):
        speed = plain.measure(config)
        return replace(speed, train=0.0, predict=0.0) if config.backbone == "resnet10t" else speed

    w = World(replace(plain, measure=measure), opening=12)
    history, _ = w.climb(plan_of(None))
    assert history.done(train="net")
    assert all(config.backbone != "resnet10t" for config in w.ran)
