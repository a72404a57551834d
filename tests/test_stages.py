"""The moves: what each stage asks for, from a history made up here."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import BOXED, LOCAL, SITUATIONS, check, losses_for, situation, speed, trial
from folders import task
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.data.facts import imbalance_of, plan_facts
from autoclimb.dry_run import plan
from autoclimb.run.setup import Setup
from autoclimb.run.trials import situation_of
from autoclimb.score.metrics import metric_named
from autoclimb.search import stages
from autoclimb.search.cost import cost_of, full_cost
from autoclimb.search.fidelity import (
    LADDER,
    THIRD,
    epochs_for,
    epochs_in,
    finalist_epochs,
    rung,
    search_seconds,
    slots,
)
from autoclimb.search.frozen import features_are_all, frozen_features, frozen_net
from autoclimb.search.instead import one_net, random_search
from autoclimb.search.nets import from_box, net_named, with_hub
from autoclimb.search.order import PLAN
from autoclimb.search.portfolio import loss_moves
from autoclimb.search.situation import Speed
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import leader
from autoclimb.search.starting import (
    base_config,
    candidates,
    from_nothing,
    ranked,
    with_batch,
    with_useful_nets,
)
from autoclimb.types import Goal, History

SEARCH = ("baseline", "resize", "augmentation", "backbone", "loss", "refine")
HOUR = 3600.0


def asked(stage: str, s, history: History | None = None, score=None) -> list[Config]:
    """What the stage asks for, every trial being done; `score(config)` is its score where given."""
    history = History() if history is None else history
    matches = []
    for batch in PLAN[stage](history, s):
        for config in batch:
            result = trial(config, stage)
            history.add(replace(result, score=score(config)) if score else result)
            matches.append(config)
    return matches


def after_baseline(s, score=None) -> History:
    history = History()
    asked("baseline", s, history, score)
    return history


def test_the_ladder_of_times_is_the_same_for_every_budget():
    assert sorted(LADDER) == LADDER
    assert rung(0.1) == LADDER[0]
    assert rung(LADDER[5]) == LADDER[5]
    assert rung(LADDER[5] + 0.05) == LADDER[6]


@pytest.mark.parametrize("stage", SEARCH)
@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_tried_before_the_finalists_does_not_depend_on_the_clock(stage, name):
    def left() -> float:
        raise AssertionError("a search stage looked at the clock")

    s = situation(**SITUATIONS[name], budget=HOUR, left=left)
    history = after_baseline(s) if stage != "baseline" else None
    for config in asked(stage, s, history):
        check(config, s)


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_larger_budget_never_starts_from_a_net_of_lower_standing(name):
    places = []
    for budget in (60.0, 300.0, 900.0, HOUR, 4 * HOUR, 36 * HOUR):
        s = situation(**SITUATIONS[name], budget=budget)
        base = base_config(History(), s)
        nets = [(net.backbone, net.model_args) for net in candidates(s)]
        places.append(nets.index((base.backbone, base.model_args)))
    assert places == sorted(places)


def test_the_users_preprocessing_is_where_everything_starts_and_its_others_are_tried():
    s = situation(budget=4 * HOUR, space=SearchSpace(preprocess=["trim+pad", "crop"]))
    history = after_baseline(s, score=lambda config: 0.5)
    assert {t.config.preprocess for t in history.trials} == {"trim+pad"}
    assert [c.preprocess for c in asked("resize", s, history, score=lambda c: 1.0)][:1] == ["crop"]
    assert {c.preprocess for c in asked("backbone", s, history)} == {"crop"}
    started = situation(budget=4 * HOUR, space=SearchSpace(start={"preprocess": "clahe"}))
    assert {t.config.preprocess for t in after_baseline(started).trials} == {"clahe"}


@settings(max_examples=40, deadline=None)
@given(budget=st.floats(10, 1e6), rows=st.integers(10, 10**6), side=st.integers(8, 2000), device=st.booleans())
def test_single_fold_trials_stay_within_their_share(budget, rows, side, device):
    s = situation(budget=budget, rows=rows, side=side, device="cuda" if device else "cpu")
    base = base_config(History(), s)
    assert slots(s, base) * search_seconds(base, s) <= 0.3 * budget + 1e-6
    history = after_baseline(s)
    nets = [config for stage in SEARCH[1:5] for config in asked(stage, s, history)]
    nets += [t.config for t in history.done(train="net") if t.stage == "baseline"]
    assert sum(config.seconds * len(config.folds) for config in nets) <= 0.3 * budget + 1e-6


# --- baseline -----------------------------------------------------------------------------------------------------


def test_the_baseline_is_whole_and_cheap_before_it_is_deep():
    s = situation(budget=900.0)
    first, *_, last = asked("baseline", s)
    assert first.train == "features"
    assert first.folds == tuple(range(s.folds))
    assert (last.train, last.folds) == ("net", (0,))
    assert cost_of(first, s) < 0.12 * s.budget


def frozen_in(configs: list[Config]) -> list[Config]:
    return [config for config in configs if config.train == "features" and config.weights]


def test_on_a_processor_frozen_features_of_every_net_come_first_then_the_best_with_other_settings():
    here = frozen_in(asked("baseline", situation(budget=HOUR, pretrained=LOCAL)))
    nets = [row["backbone"] for row in LOCAL]
    assert [config.backbone for config in here[:3]] == nets
    assert len({config.backbone for config in here[3:]}) <= 2
    assert {(c.size, c.head, c.tta) for c in here[3:]} - {(c.size, c.head, c.tta) for c in here[:3]}


@pytest.mark.parametrize("budget", [60.0, 300.0])
def test_short_budgets_compare_frozen_features_over_all_folds_within_their_share(budget):
    s = situation(budget=budget, pretrained=LOCAL)
    configs = [config for config in asked("baseline", s) if config.train == "features"]
    assert len(configs) >= (3 if budget < 100 else 4)
    assert {config.folds for config in configs} == {(0, 1, 2, 3, 4)}
    assert sum(cost_of(config, s) for config in configs if config.head == "kernel") <= 0.45 * budget


def test_on_a_card_frozen_probes_of_many_families_come_first_and_take_a_twentieth_of_the_budget():
    s = situation(**{**SITUATIONS["a card, with the hub"], "budget": 4 * HOUR})
    configs = asked("baseline", s)
    probes = frozen_in(configs)
    assert configs[: len(probes)] == probes
    assert len({net_named(config.backbone).family for config in probes}) >= 5
    assert sum(full_cost(config, s, probes[:i]) for i, config in enumerate(probes)) <= 0.05 * s.budget


def test_nets_are_ranked_by_their_size_and_their_probe_alike():
    s = situation(budget=HOUR, pretrained=LOCAL)
    assert [net.backbone for net in ranked(History(), s)] == [row["backbone"] for row in reversed(LOCAL)]
    scores = {"mobilenetv3_small_100": 0.5, "resnet18": 0.9, "convnext_nano": 0.1}
    history = History()
    asked("baseline", s, history, score=lambda config: scores.get(config.backbone, 0.0))
    assert [net.backbone for net in ranked(history, s)] == ["resnet18", "convnext_nano", "mobilenetv3_small_100"]


def test_on_a_processor_nets_of_box_and_hub_are_ranked_by_what_they_cost_and_no_short_run_waits_for_a_download():
    s = situation(budget=HOUR, pretrained=with_hub("cpu", from_box()))
    names = [net.backbone.split(".")[0] for net in ranked(History(), s)]
    assert names[0] == "convnext_nano"
    assert names[-1] == "mobilenetv3_large_100"
    assert "mobilenetv3_small_100" not in names
    assert "mobilenetv3_small_100.lamb_in1k" in {row["backbone"] for row in with_hub("cpu", [])}
    minutes = replace(s, budget=300.0)
    assert base_config(History(), minutes).weights == "box"
    assert {config.weights for config in asked("baseline", minutes) if config.weights} == {"box"}


def test_without_features_there_are_only_nets():
    s = situation(budget=4 * HOUR, pretrained=LOCAL, space=SearchSpace(features=False))
    assert {config.train for config in asked("baseline", s)} == {"net"}


# --- the user's space -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        {"mixup": 0.4},
        {"lr": 5e-4},
        {"switch_to": "sgd"},
        {"size": 80},
        {"tta": "shift"},
        {"policy": "none"},
    ],
    ids=str,
)
def test_every_start_value_reaches_the_base(start):
    base = base_config(History(), situation(budget=HOUR, space=SearchSpace(start=start)))
    assert {name: getattr(base, name) for name in start} == start


def test_the_users_lists_are_all_that_is_tried():
    space = SearchSpace(
        backbones=["resnet34", "densenet121"],
        sizes=[72, 144],
        policies=["none", "medium"],
        losses=["focal"],
        class_weights=["inverse-sqrt"],
        samplers=["balanced"],
        pools=["gem", "avgmax"],
        optimizers=["sgd"],
        schedules=["cosine"],
        tta=["flip"],
    )
    s = situation(budget=36 * HOUR, rows=500, space=space)
    history = after_baseline(s)
    for stage in SEARCH[1:]:
        asked(stage, s, history)
    asked("finalists", s, history)
    nets = [t.config for t in history.done(train="net")]
    for name, given_values in (
        ("backbone", space.backbones),
        ("size", space.sizes),
        ("policy", space.policies),
        ("loss", space.losses),
        ("class_weights", space.class_weights),
        ("sampler", space.samplers),
        ("pool", space.pools),
        ("optimizer", space.optimizers),
        ("schedule", space.schedules),
        ("tta", space.tta),
    ):
        assert {getattr(config, name) for config in nets} <= set(given_values), name  # type: ignore[arg-type]
    assert {config.backbone for config in nets} == {"resnet34", "densenet121"}
    assert {config.size for config in nets} == {72, 144}
    assert {config.pool for config in nets} == {"gem", "avgmax"}


@pytest.mark.parametrize("name", ["a processor, with weights", "a card, with the hub"])
def test_no_net_leaves_the_users_lists_and_ranges(name):
    space = SearchSpace(
        lr=(3e-4, 4e-4),
        weight_decay=(0.2, 0.3),
        mixup=[0.1, 0.2],
        cutmix=(0.0, 0.5),
        smoothing=(0.02, 0.05),
        dropout=[0.3],
    )
    s = situation(**{**SITUATIONS[name], "budget": 36 * HOUR, "space": space})
    history = after_baseline(s)
    for stage in (*SEARCH[1:], "finalists"):
        asked(stage, s, history)
    draws = [config for batch in islice(random_search(History(), s), 10) for config in batch]
    nets = [t.config for t in history.done(train="net")] + draws
    assert len(nets) > 10
    for config in nets:
        assert 3e-4 <= config.lr <= 4e-4
        assert 0.2 <= config.weight_decay <= 0.3
        assert config.mixup in (0.1, 0.2)
        assert 0.0 <= config.cutmix <= 0.5
        assert 0.02 <= config.smoothing <= 0.05
        assert config.dropout == 0.3


# --- moves --------------------------------------------------------------------------------------------------------


def test_the_leader_is_the_best_single_fold_net_so_far():
    s = situation(budget=HOUR)
    history = after_baseline(s)
    base = leader(history, s)
    better = base.vary(policy="trivial")
    history.add(replace(trial(better), score=2.0))
    history.add(replace(trial(base.vary(folds=(0, 1))), score=3.0))
    history.add(replace(trial(base.vary(policy="medium"), status="failed")))
    assert leader(history, s) == better


def test_a_lucky_trial_within_the_noise_does_not_become_the_leader():
    s = situation(budget=HOUR)
    history = after_baseline(s, score=lambda config: 0.5)
    base = leader(history, s)
    history.add(replace(trial(base.vary(policy="trivial")), score=0.501))
    assert leader(history, s) == base


def test_sizes_move_to_the_neighbours():
    s = situation(budget=4 * HOUR)
    history = after_baseline(s)
    here = leader(history, s)
    moves = asked("resize", s, history, score=lambda config: 0.1)
    assert moves
    for config in moves:
        assert config.vary(size=here.size, sizes=()) == here
        assert config != here


def test_each_policy_is_tried_on_top_of_the_best_so_far():
    s = situation(budget=36 * HOUR)
    history = after_baseline(s, score=lambda config: 0.5)
    moves = asked("augmentation", s, history, score=lambda config: 0.9 if config.policy == "medium" else 0.1)
    assert len({config.policy for config in moves}) >= 4
    mixed = [config for config in moves if config.mixup or config.cutmix]
    assert mixed
    assert {config.policy for config in mixed} == {"medium"}


@pytest.mark.parametrize("moves", range(1, 8))
def test_policies_and_mixing_together_keep_to_the_number_of_moves(moves, monkeypatch):
    monkeypatch.setattr(stages, "allowed", lambda s, base, stage, possible: min(moves, possible))
    for policy, possible in (("shift", 6), ("flip", 7)):
        s = situation(budget=36 * HOUR, space=SearchSpace(start={"policy": policy}))
        assert len(asked("augmentation", s, after_baseline(s, score=lambda config: 0.5))) == min(moves, possible)


@pytest.mark.parametrize("budget", [2 * HOUR, 9 * HOUR])
@pytest.mark.parametrize("name", ["a processor, with weights", "a card, with the hub"])
def test_no_size_or_net_is_compared_for_less_than_a_third_of_a_finalists_epochs(name, budget):
    s = situation(**{**SITUATIONS[name], "budget": budget})
    history = after_baseline(s)
    for stage in ("resize", "backbone"):
        configs = asked(stage, s, history)
        assert configs
        for config in configs:
            assert epochs_in(config.seconds, config, s) >= finalist_epochs(config, s) / THIRD


def test_a_card_that_was_faster_with_a_larger_batch_at_that_size_gets_it_and_a_higher_rate():
    config = Config(backbone="resnet18", batch=32, lr=1e-3)

    def measure(config):
        return Speed(1000.0, 3000.0, batch=128 if config.size <= 64 else 64)

    fast = situation(device="cuda", measure=measure)
    assert with_batch(config, fast) == config.vary(batch=128, lr=2e-3)
    assert with_batch(config.vary(size=224, sizes=(64,)), fast).batch == 64
    assert with_batch(config, situation(device="cuda")) == config
    assert with_batch(config, replace(fast, device="cpu")) == config
    assert with_batch(config, replace(fast, space=SearchSpace(start={"batch": 32}))) == config


def test_the_base_has_the_batch_of_its_own_size():
    def measure(config):
        return replace(speed(config, "cuda"), batch=2 * config.size)

    space = SearchSpace(start={"size": 160})
    s = situation(**{**SITUATIONS["a card, from scratch"], "budget": HOUR, "measure": measure, "space": space})
    assert base_config(History(), s).batch == 320


def test_nets_of_one_size_are_not_resized_while_they_train():
    for name, resized in (("vit_tiny_patch16_224", False), ("swin_tiny_patch4_window7_224", False), ("resnet18", True)):
        s = situation(budget=36 * HOUR, space=SearchSpace(backbones=[name]))
        moves = asked("resize", s, after_baseline(s, score=lambda config: 0.5))
        assert any(config.sizes for config in moves) == resized


def test_backbones_change_the_net_and_keep_what_was_learnt():
    s = situation(budget=36 * HOUR)
    history = after_baseline(s, score=lambda config: 0.5)
    best = leader(history, s).vary(policy="medium", mixup=0.3, loss="focal")
    history.add(replace(trial(best), score=0.99))
    moves = asked("backbone", s, history, score=lambda config: 0.1)
    assert moves
    for config in moves:
        assert (config.policy, config.mixup, config.loss) == ("medium", 0.3, "focal")
        assert (config.backbone, config.model_args) != (best.backbone, best.model_args)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal", "regression"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("average", ["", "samples", "macro", "micro", "weighted"])
def test_losses_fit_the_kind_of_task(kind, beta, average):
    s = situation(kind=kind, beta=beta, average=average, imbalance=50.0, budget=36 * HOUR)
    history = after_baseline(s)
    moves = asked("loss", s, history)
    assert moves
    assert {config.loss.replace("f2-macro", "f1-macro") for config in moves} <= losses_for(kind)


@pytest.mark.parametrize(
    ("kind", "beta", "average", "wanted"),
    [
        ("multilabel", 2.0, "", "soft-f2"),
        ("multilabel", 2.0, "samples", "soft-f2"),
        ("multilabel", 0.5, "macro", "soft-f0.5-macro"),
        ("multiclass", 1.0, "macro", "softmax-f1-macro"),
        ("ordinal", 0.0, "", "corn"),
    ],
)
def test_a_loss_like_the_metric_is_among_the_moves(kind, beta, average, wanted):
    s = situation(kind=kind, beta=beta, average=average, budget=36 * HOUR)
    assert wanted in [move.get("loss") for move in loss_moves(s)]


@pytest.mark.parametrize("metric", ["f2", "fairness", "frechet"])
def test_a_metric_is_an_f_by_its_beta_not_by_its_name(metric):
    own = situation(kind="multilabel", metric=metric, beta=0.0)
    assert not [move for move in loss_moves(own) if "soft-f" in move.get("loss", "")]
    assert [move for move in loss_moves(replace(own, beta=2.0)) if "soft-f" in move.get("loss", "")]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal", "regression"])
def test_rare_classes_are_made_to_count_more_only_where_there_are_some(kind):
    even, uneven = (loss_moves(situation(kind=kind, imbalance=ratio)) for ratio in (1.5, 30.0))
    assert not [move for move in even if "sampler" in move or "class_weights" in move]
    assert len(uneven) - len(even) == (0 if kind == "regression" else 2)


@pytest.mark.parametrize(
    ("metric", "beta", "average", "alike"),
    [
        ("balanced-accuracy", 0.0, "", True),
        ("f1", 1.0, "", True),
        ("f2-macro", 2.0, "macro", True),
        ("accuracy", 0.0, "", False),
        ("f1-micro", 1.0, "micro", False),
    ],
)
def test_where_every_class_counts_alike_rare_ones_are_seen_to_from_the_start(metric, beta, average, alike):
    s = situation(metric=metric, beta=beta, average=average, by_class=alike, imbalance=20.0, budget=36 * HOUR)
    history = after_baseline(s)
    assert {config.retrain_head for config in asked("loss", s, history)} == {0.2 if alike else 0.0}
    assert ("class_weights" in loss_moves(s)[0]) == alike
    even = replace(s, imbalance=1.5)
    assert {config.retrain_head for config in asked("loss", even, after_baseline(even))} == {0.0}
    own = replace(s, space=SearchSpace(class_weights=["effective"]))
    assert {config.retrain_head for config in asked("backbone", own, after_baseline(own))} == {0.0}


# --- finalists and the rest -------------------------------------------------------------------------------------------


def finals(s) -> list[Config]:
    return asked("finalists", s, after_baseline(s))


def longest(configs: list[Config]) -> list[Config]:
    """The configs without those whose folds are a part of another's: their nets are trained once."""
    folds = {config.vary(folds=()).key: len(config.folds) for config in sorted(configs, key=lambda c: len(c.folds))}
    return [config for config in configs if len(config.folds) == folds[config.vary(folds=()).key]]


def test_finalists_are_one_fold_where_time_is_short_and_all_folds_where_it_is_long():
    assert [len(config.folds) for config in finals(situation(budget=60.0, rows=20000))] == [1]
    assert all(len(config.folds) == 5 for config in longest(finals(situation(budget=4 * HOUR))))


@settings(max_examples=60, deadline=None)
@given(
    budget=st.floats(20, 2e5),
    share=st.floats(0.05, 0.9),
    rows=st.integers(10, 30000),
    answered=st.integers(1, 3000),
    name=st.sampled_from(sorted(SITUATIONS)),
)
def test_finalists_and_the_rest_fit_into_what_is_left(budget, share, rows, answered, name):
    left = share * budget
    given_values = {**SITUATIONS[name], "rows": rows, "answered": answered}
    s = situation(**given_values, budget=budget, left=lambda: left)
    time = sum(config.seconds * len(config.folds) for config in longest(finals(s)))
    assert time <= max(left, 5.0)
    history = after_baseline(s)
    first = next(iter(PLAN["rest"](history, s)), [])
    assert sum(config.seconds * len(config.folds) for config in first) <= left


def test_the_rest_is_the_best_again_from_other_seeds_until_the_time_is_up():
    now = {"left": 3000.0}
    decided: list[str] = []

    def remember(name, make):
        decided.append(name)
        return make()

    s = situation(budget=HOUR, left=lambda: now["left"], remember=remember)
    history = after_baseline(s)
    asked("finalists", s, history)
    seen = {t.key for t in history.trials}
    for batch in PLAN["rest"](history, s):
        for config in batch:
            check(config, s)
            assert config.key not in seen
            seen.add(config.key)
            now["left"] -= config.seconds * len(config.folds) + 0.5
            history.add(trial(config, "rest"))
    assert 0 <= now["left"] < 300
    assert len(decided) == len(set(decided)), "each decision has its own name"
    assert len({t.config.seed for t in history.trials}) > 1


def test_with_nothing_finished_there_is_no_rest():
    assert asked("rest", situation(budget=HOUR)) == []


@pytest.mark.parametrize(
    ("facts", "policy"),
    [
        ({"skill": 0.4, "mirror": 1.02, "turn": 1.04}, "dihedral"),
        ({"skill": 0.4, "mirror": 1.02, "turn": 1.3}, "flip"),
        ({"skill": 0.4, "mirror": 1.3, "turn": 1.3}, "shift"),
        ({"skill": 0.4, "mirror": 1.3, "turn": 1.3, "mirrored_copies": [-0.07, 0.02]}, "flip"),
        ({"skill": 0.4, "mirror": 1.3, "turn": 1.3, "mirrored_copies": [-0.03, 0.02]}, "shift"),
        ({"skill": 0.02, "mirror": 1.0, "turn": 1.0}, "shift"),
    ],
)
def test_pictures_are_mirrored_unasked_only_where_features_that_know_something_say_so(facts, policy):
    s = situation()
    history = History([replace(trial(Config(train="features", backbone="gradients")), facts=facts)])
    assert base_config(history, s).policy == policy


def test_a_net_on_few_rows_is_given_pictures_not_only_epochs():
    few, many = situation(rows=500), situation(rows=50_000)
    scratch, tuned = Config(), Config(weights="hub")
    assert epochs_for("enough", scratch, few) == 30_000 / 400
    assert epochs_for("enough", tuned, few) == 5_000 / 400
    assert epochs_for("enough", scratch, many) == 14
    assert epochs_for("enough", tuned, many) == 4


def test_few_rows_are_learnt_in_small_batches_unless_the_user_says_otherwise():
    assert base_config(History(), situation(rows=500)).batch == 32
    assert base_config(History(), situation(rows=5000)).batch == 64
    assert base_config(History(), situation(rows=500, space=SearchSpace(start={"batch": 16}))).batch == 16


# --- what a plan is made from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "beta", "average"), [("f2-macro", 2.0, "macro"), ("f0.5", 0.5, ""), ("auc", 0.0, "")])
def test_the_situation_knows_the_f_of_the_metric_and_how_rare_classes_are(name, beta, average, tmp_path):
    target = np.repeat([0, 1, 2], [60, 8, 2])
    goal = Goal(metric_named(name), "multiclass")
    nobody: Any = None
    decoded: Any = SimpleNamespace(limit=1e15)
    setup = Setup(task(target=target), goal, target % 2, tmp_path, nobody, decoded, Clock(60.0), nobody)
    s = situation_of(setup, 0, (), SearchSpace(), 8.0)
    assert (s.beta, s.average, s.imbalance, s.pixel_bytes, s.memory_gb) == (beta, average, 30.0, 1e15, 8.0)


@pytest.mark.parametrize("name", ["accuracy", "f2-macro", "log-loss"])
def test_a_plan_and_a_run_know_the_same_of_a_task(name, tmp_path):
    target = np.repeat([0, 1, 2], [60, 8, 2])
    read = task(target=target, test_ids=["t1", "t2"])
    goal = Goal(metric_named(name), "multiclass")
    nobody: Any = None
    decoded: Any = SimpleNamespace(limit=1e15)
    setup = Setup(read, goal, target % 2, tmp_path, nobody, decoded, Clock(60.0), nobody)
    run, dry = situation_of(setup, 0, (), SearchSpace(), 8.0), plan(read, metric=name, budget="60s").situation
    assert {fact: getattr(run, fact) for fact in plan_facts(read, goal.metric)} == {
        fact: getattr(dry, fact) for fact in plan_facts(read, goal.metric)
    }
    assert run.rows == dry.rows == len(target)


def test_numbers_and_classes_without_rows_are_no_imbalance():
    assert imbalance_of(task("regression", [0.5, 1.0], ())) == 1.0
    assert imbalance_of(task(target=[0, 0, 0, 2])) == 3.0


# --- pictures unlike ImageNet's ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("skill", "budget", "nets"), [(0.1, 90.0, 0), (0.6, 90.0, 3), (0.1, 3600.0, 3)])
def test_nets_whose_frozen_features_say_little_are_not_fine_tuned_in_minutes(skill, budget, nets):
    s = situation(budget=budget, pretrained=LOCAL)
    config = Config(train="features", backbone="a", weights="box", folds=(0, 1))
    history = History([replace(trial(config), facts={"skill": skill})])
    assert len(with_useful_nets(history, s).pretrained) == nets
    assert with_useful_nets(History(), s).pretrained == LOCAL


@pytest.mark.parametrize(
    ("by_hand", "pretrained", "nets"), [(0.84, 0.88, 0), (0.62, 0.82, 3), (0.76, 0.92, 3), (0.22, 0.32, 3)]
)
def test_plain_shapes_are_left_to_the_net_from_scratch(by_hand, pretrained, nets):
    s = situation(budget=90.0, pretrained=LOCAL)
    config = Config(train="features", backbone="a", weights="box", folds=(0, 1))
    drawn = config.vary(backbone="gradients", weights="")
    rows = [(config, pretrained), (drawn, by_hand)]
    history = History([replace(trial(c), facts={"skill": skill}) for c, skill in rows])
    assert len(with_useful_nets(history, s).pretrained) == nets


def test_features_that_were_cut_short_are_followed_by_features_over_all_folds():
    s, history, asked = situation(budget=300.0, pretrained=LOCAL), History(), []
    for batch in frozen_features(history, s):
        for config in batch:
            asked.append(config)
            done = config.vary(folds=(0, 1)) if config.weights and len(asked) == 2 else config
            history.add(trial(done))
    nets = [config for config in asked if config.weights]
    assert len(nets) > 1
    assert any(config.head == "linear" for config in nets)
    assert all(config.folds == (0, 1, 2, 3, 4) for config in asked)


@pytest.mark.parametrize(
    ("by_hand", "pretrained", "tried"),
    [(0.84, 0.88, True), (0.22, 0.32, True), (0.62, 0.82, False), (0.566, 0.722, False), (None, 0.92, True)],
)
def test_a_net_from_scratch_is_no_finalist_where_hand_made_features_leave_far_more_loss(by_hand, pretrained, tried):
    s = situation(budget=1800.0, pretrained=BOXED, measure=lambda config: Speed(1000.0, 3000.0))
    plain = Config(train="features", backbone="gradients")
    rows = [(frozen_net(BOXED[0], 128, s), pretrained), *([(plain, by_hand)] if by_hand is not None else [])]
    history = History([replace(trial(c), facts={"skill": skill}) for c, skill in rows])
    assert bool(from_nothing(history, s)) == tried
    finals = [config for batch in PLAN["finalists"](history, s) for config in batch]
    assert any(not config.weights for config in finals) == tried
    assert tried or {config.backbone for config in finals} == {row["backbone"] for row in BOXED}
    card = situation(budget=1800.0, pretrained=BOXED, device="cuda")
    assert from_nothing(history, card)


@pytest.mark.parametrize(("skill", "budget", "trains"), [(0.8, 60.0, False), (0.1, 60.0, True), (0.8, 540.0, True)])
def test_a_minute_with_useful_features_trains_no_net(skill, budget, trains):
    s = situation(budget=budget, pretrained=LOCAL)
    config = Config(train="features", backbone="a", weights="box", folds=(0, 1))
    history = History([replace(trial(config), facts={"skill": skill})])
    looks: list[Config] = []
    s = replace(s, measure=lambda config: looks.append(config) or speed(config))
    assert bool([batch for name in (*SEARCH[1:], "finalists") for batch in PLAN[name](history, s)]) == trains
    assert bool(looks) == trains  # not even at a net's speed


@pytest.mark.parametrize(("rows", "alone"), [(1_000, False), (200_000, True)])
def test_where_no_net_would_be_trained_over_all_folds_useful_features_are_all_for_minutes(rows, alone):
    s = situation(budget=300.0, pretrained=LOCAL, rows=rows)
    config = Config(train="features", backbone="a", weights="box", folds=(0, 1))
    history = History([replace(trial(config), facts={"skill": 0.8})])
    looks: list[Config] = []
    s = replace(s, measure=lambda config: looks.append(config) or speed(config))
    assert features_are_all(history, s) == alone
    assert len({look.top for look in looks if look.train == "net"}) == 1  # at the top or the full net, not at both
    assert not features_are_all(history, replace(s, budget=1200.0))


@pytest.mark.parametrize("stage", [one_net, random_search])
def test_what_the_user_fixed_holds_for_what_people_do_instead_of_a_search(stage):
    fixed = {"policy": "flip", "size": 96, "tta": "none", "mixup": 0.1}
    s = situation(budget=HOUR, space=SearchSpace(start=fixed))
    for config in next(iter(stage(History(), s))):
        assert {name: getattr(config, name) for name in fixed} == fixed
