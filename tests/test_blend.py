import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy.special import softmax

from autoclimb.blend import boosted, linear
from autoclimb.blend.blenders import BLENDERS
from autoclimb.blend.choose import apply_blend, blend_of
from autoclimb.blend.pools import NETS_SHARE
from autoclimb.blend.rows import Rows
from autoclimb.config import Config
from autoclimb.run import store
from autoclimb.run.answers import blend_trials
from autoclimb.run.setup import Setup
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal, Trial


def trial(seed, oof, test=None, status="done"):
    return Trial(
        Config(lr=0.001 + seed), "s", status, 0.0, 0.0, 1.0, oof=oof, test=oof[:7].copy() if test is None else test
    )


def world(kind, n, members=4, classes=3, noise=1.5, seed=0):
    """Truth and trials that each see it through their own noise."""
    r = np.random.default_rng(seed)
    if kind == "regression":
        truth = r.normal(size=n)
        return truth, [trial(i, (truth + r.normal(size=n))[:, None]) for i in range(members)]
    classes = 2 if kind == "binary" else classes
    z = r.normal(size=(n, classes)) * 2
    seen = [z + r.normal(size=z.shape) * noise for _ in range(members)]
    if kind == "multilabel":
        truth = (r.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
        return truth, [trial(i, 1 / (1 + np.exp(-s))) for i, s in enumerate(seen)]
    return z.argmax(1), [trial(i, softmax(s, axis=1)) for i, s in enumerate(seen)]


PLAIN = [name for name, b in BLENDERS.items() if name != "lightgbm" and not b.needs_metadata]
CASES = [
    ("f2", "multilabel"),
    ("log-loss", "multiclass"),
    ("auc", "binary"),
    ("qwk", "ordinal"),
    ("rmse", "regression"),
    ("mae", "regression"),
    ("rmsle", "regression"),
    ("accuracy", "multiclass"),
]
SUITED = [(m, *case) for m in PLAIN for case in CASES if BLENDERS[m].suits(Goal(metric_named(case[0]), case[1]))]


def test_every_blender_suits_some_goal():
    assert {method for method, *_ in SUITED} == set(PLAIN)


@pytest.mark.parametrize(("method", "name", "kind"), SUITED)
def test_a_blender_predicts_every_row_and_comes_back_from_json(method, name, kind):
    n = max(150, BLENDERS[method].fewest_rows)
    truth, trials = world(kind, n)
    grades = (0.0, 1.0, 2.0) if kind == "ordinal" else ()
    blend = blend_of(trials, TrainRows(Goal(metric_named(name), kind, grades), truth, np.arange(n) % 5), allow=[method])
    assert blend.method == method
    assert list(blend.tried) == [method]
    assert blend.rows == n
    assert blend.interval[0] < blend.score < blend.interval[1]
    assert np.isfinite(blend.oof).all()
    assert np.isfinite(blend.score)
    members = {t.key: t for t in trials}
    again = apply_blend(json.loads(json.dumps(blend.stacker)), [members[key].test for key in blend.members])
    assert np.allclose(again, blend.test)
    assert blend.test.shape == trials[0].test.shape
    if kind in ("binary", "multiclass", "ordinal"):
        assert np.allclose(blend.test.sum(1), 1)


@pytest.mark.parametrize(("name", "kind"), [("f2", "multilabel"), ("accuracy", "multiclass")])
def test_boosted_trees_blend_many_rows(name, kind):
    truth, trials = world(kind, 2000, members=2)
    blend = blend_of(trials, TrainRows(Goal(metric_named(name), kind), truth, np.arange(2000) % 2), allow=["lightgbm"])
    single = blend_of(trials, TrainRows(Goal(metric_named(name), kind), truth, np.arange(2000) % 2), allow=["best"])
    assert blend.method == "lightgbm"
    assert blend.score > single.score - single.stderr
    members = {t.key: t for t in trials}
    again = apply_blend(json.loads(json.dumps(blend.stacker)), [members[key].test for key in blend.members])
    assert np.allclose(again, blend.test)


NOISE = [("accuracy", "binary"), ("auc", "binary"), ("qwk", "ordinal"), ("f2", "multilabel"), ("r2", "regression")]


@pytest.mark.parametrize(("name", "kind", "features"), [*((*case, 0) for case in NOISE), ("accuracy", "binary", 3)])
def test_a_blend_of_members_of_noise_claims_no_skill(name, kind, features):
    """Nothing is what a blend scores whose members were dealt out by lot; the choice of the blender counts too.

    So does the share of the nets' own blend beside frozen features.
    """
    claims, n = [], 60
    for seed in range(8):
        r = np.random.default_rng(seed)
        width = {"binary": 2, "ordinal": 3, "multilabel": 3, "regression": 1}[kind]
        z = r.normal(size=(5, n, width))
        truth: np.ndarray = r.permutation(np.arange(n) % width)
        if kind == "multilabel":
            truth = (r.random((n, width)) < 0.3).astype(np.uint8)
        elif kind == "regression":
            truth = r.normal(size=n)
        trials = [trial(i, v if kind == "regression" else softmax(v, axis=1)) for i, v in enumerate(z)]
        for i, t in enumerate(trials):
            changes = {"train": "features"} if i < features else {"folds": (0, 1, 2, 3, 4)}
            trials[i] = replace(t, config=t.config.vary(**changes))
        goal = Goal(metric_named(name), kind, (0.0, 1.0, 2.0) if kind == "ordinal" else ())
        train = TrainRows(goal, truth, np.arange(n) // 12)
        chance = {"accuracy": 0.5, "auc": 0.5, "qwk": 0.0}.get(name)
        if chance is None:
            dealt = [trial(i, v.oof[r.permutation(n)]) for i, v in enumerate(trials)]
            chance = blend_of(dealt, train, quick=True).score
        claims.append(blend_of(trials, train, quick=True).score - chance)
    assert np.mean(claims) < 2.5 * np.std(claims, ddof=1) / len(claims) ** 0.5


def test_where_lightgbm_does_not_load_a_blend_does_without(monkeypatch):
    truth, trials = world("multiclass", 2000, members=2)
    train = TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(2000) % 2)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    boosted.can_boost.cache_clear()
    try:
        assert set(blend_of(trials, train, allow=["best", "mean", "lightgbm"]).tried) == {"best", "mean"}
    finally:
        boosted.can_boost.cache_clear()


def test_a_quick_blend_does_not_wait_for_the_import_of_lightgbm(monkeypatch):
    def slow():
        raise AssertionError("its import takes seconds")

    truth, trials = world("multiclass", 2000, members=2)
    monkeypatch.setattr(boosted, "can_boost", slow)
    blend_of(trials, TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(2000) % 2), quick=True)


@pytest.mark.parametrize(("count", "stacks"), [(500, True), (60_000, False)])
def test_a_quick_blend_stacks_where_predictions_are_few(count, stacks):
    truth, trials = world("multiclass", count, members=4)
    train = TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(count) % 5)
    assert ("linear" in blend_of(trials, train, quick=True).tried) == stacks


@pytest.mark.parametrize(("budget", "quick", "stacks"), [(90.0, True, False), (600.0, True, True), (90.0, False, True)])
def test_amid_a_short_run_no_stacker_takes_its_time(tmp_path, monkeypatch, budget, quick, stacks):
    truth, trials = world("multiclass", 300, members=3)
    setup = SimpleNamespace(
        folder=tmp_path,
        clock=SimpleNamespace(budget=budget),
        train=TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(300) % 5),
        task=SimpleNamespace(test_groups=None),
    )
    monkeypatch.setattr(store, "all_trials", lambda folder: trials)
    blend = blend_trials(cast(Setup, setup), quick)
    assert ("linear" in blend.tried) == stacks
    assert "greedy" in blend.tried


@pytest.mark.parametrize(("name", "kind"), [("rmse", "regression"), ("mae", "regression"), ("accuracy", "binary")])
def test_where_members_are_worse_than_no_picture_at_all_the_constant_answers(name, kind):
    """A net of few epochs, whose numbers are far off or which names the rare class too often."""
    r = np.random.default_rng(0)
    truth = r.exponential(size=200) if kind == "regression" else (r.random(200) < 0.1).astype(int)
    noise = [r.normal(1, 2, (260, 1)) if kind == "regression" else r.dirichlet((1, 1), 260) for _ in range(3)]
    goal, trials = Goal(metric_named(name), kind), [trial(i, p[:200], p[200:]) for i, p in enumerate(noise)]
    blend = blend_of(trials, TrainRows(goal, truth, np.arange(200) % 5), quick=True)
    value = np.median(truth) if name == "mae" else truth.mean()
    known = np.full(200, value) if kind == "regression" else np.zeros(200, int)
    assert blend.method == "constant"
    assert np.allclose(blend.test[:, -1], value)
    assert blend.score == pytest.approx(goal.score(truth, known), rel=0.02)


def test_averaging_helps_members_of_independent_errors():
    truth, trials = world("multiclass", 400, members=5)
    blend = blend_of(trials, TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(400) % 5))
    assert blend.method != "best"
    assert blend.score > blend.tried["best"]
    assert set(blend.tried) == {"constant", "best", "mean", "log odds mean", "vote", "greedy", "linear"}


def test_a_single_best_trial_is_preferred_where_nothing_is_gained():
    truth, trials = world("multiclass", 300, members=1, noise=0.01)
    r = np.random.default_rng(1)
    bad = [trial(10 + i, softmax(r.normal(size=(300, 3)), axis=1)) for i in range(3)]
    blend = blend_of(
        [*trials, *bad], TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(300) % 5)
    )
    assert blend.method == "best"
    assert blend.members == (trials[0].key,)
    assert blend.weights == (1.0,)
    assert np.array_equal(blend.test, trials[0].test)


def test_good_nets_on_one_fold_are_taken_over_weak_trials_on_all_rows():
    truth, nets = world("multiclass", 300, members=2, noise=0.2)
    for net in nets:
        net.oof[60:] = np.nan
    r = np.random.default_rng(1)
    weak = [trial(10 + i, softmax(np.eye(3)[truth] + r.normal(size=(300, 3)) * 2, axis=1)) for i in range(3)]
    weak = [replace(t, config=t.config.vary(train="features")) for t in weak]
    blend = blend_of(
        [*nets, *weak], TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.repeat(np.arange(5), 60))
    )
    assert blend.rows == 60
    assert np.isfinite(blend.oof[:60]).all()
    assert np.isnan(blend.oof[60:]).all()
    assert set(blend.members) & {t.key for t in nets}


@pytest.mark.parametrize("name", ["accuracy", "f1-macro"])
def test_a_fold_whose_rows_are_all_of_one_site_is_blended(name):
    """Nets of one fold beside features over all folds, each fold a site: no part of that fold was left to learn on."""
    truth, trials = world("multiclass", 400, members=2, noise=6.0)
    _, better = world("multiclass", 400, members=3, noise=0.5)
    sites = np.arange(400) // 80
    for t in better:
        t.oof[sites > 0] = np.nan
    nets = [replace(t, config=t.config.vary(lr=0.5 + i)) for i, t in enumerate(better)]
    features = [replace(t, config=t.config.vary(train="features")) for t in trials]
    blend = blend_of([*features, *nets], TrainRows(Goal(metric_named(name), "multiclass"), truth, sites, sites))
    assert blend.rows == 80
    assert np.isfinite(blend.score)
    assert set(blend.tried) > {"best", "mean"}


def test_a_weak_net_on_one_fold_does_not_narrow_the_rows():
    truth, good = world("multiclass", 300, members=2, noise=0.2)
    net = trial(9, np.full((300, 3), np.nan), test=np.full((7, 3), 1 / 3))
    net.oof[:60] = softmax(np.random.default_rng(1).normal(size=(60, 3)), axis=1)
    blend = blend_of(
        [*good, net], TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.repeat(np.arange(5), 60))
    )
    assert blend.rows == 300
    assert net.key not in blend.members


def nets_beside_features(folds=(0, 1, 2, 3, 4), noise=0.7):
    """Truth, two heads on frozen features that see it well, and two nets that see it through `noise`."""
    truth, trials = world("multiclass", 300, members=2, noise=0.5)
    _, (*_, first, second) = world("multiclass", 300, members=4, noise=noise)
    features = [replace(t, config=t.config.vary(train="features")) for t in trials]
    nets = [replace(t, config=t.config.vary(lr=0.5 + i, folds=folds)) for i, t in enumerate((first, second))]
    return truth, features, nets


def test_the_nets_own_blend_has_the_larger_a_share_the_less_they_lose_out_of_fold():
    weights = []
    for noise in (0.5, 0.7, 0.9, 6.0):
        truth, features, nets = nets_beside_features(noise=noise)
        train = TrainRows(Goal(metric_named("log-loss"), "multiclass"), truth, np.arange(300) % 5)
        both, alone = (blend_of(some, train, allow=["mean"]) for some in ([*features, *nets], nets))
        plain = np.mean([t.oof for t in (*features, *nets)], 0)
        own = np.asarray(alone.oof[:])
        lost = losses_by_row(train.goal, truth, own).mean() / losses_by_row(train.goal, truth, plain).mean() - 1
        share = min(max(0.0, NETS_SHARE - lost), NETS_SHARE)
        assert np.allclose(both.oof[:], plain + share * (own - plain))
        of = dict(zip(both.members, both.weights, strict=True))
        assert sum(of.values()) == pytest.approx(1)
        weights.append(sum(of[t.key] for t in nets))
        assert weights[-1] == pytest.approx((1 - share) / 2 + share)
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 0.5 + NETS_SHARE / 4
    assert weights[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["best", "linear"])
def test_the_nets_share_is_scored_as_it_is_used(method):
    truth, features, nets = nets_beside_features()
    train = TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(300) % 5)
    blend = blend_of([*features, *nets], train, allow=[method])
    assert {t.key for t in nets} & set(blend.members)
    assert blend.score == pytest.approx(cross_fitted_score(train, blend.oof).score, abs=0.01)
    members = {t.key: t for t in (*features, *nets)}
    again = apply_blend(json.loads(json.dumps(blend.stacker)), [members[key].test for key in blend.members])
    assert np.allclose(again, blend.test)


def test_a_net_that_is_the_best_of_all_is_the_blend_and_no_mixture_of_itself():
    truth, features, nets = nets_beside_features(noise=0.3)
    train = TrainRows(Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(300) % 5)
    blend = blend_of([*features, *nets], train, allow=["best"])
    assert (blend.method, blend.weights) == ("best", (1.0,))
    assert set(blend.members) < {t.key for t in nets}


def test_where_order_alone_counts_the_nets_share_does_not_depend_on_how_sure_they_are():
    truth, (feature, *_) = world("binary", 300, members=1, noise=0.5)
    _, (_, *nets) = world("binary", 300, members=3, noise=0.55)
    feature = replace(feature, config=feature.config.vary(train="features"))
    nets = [replace(t, config=t.config.vary(folds=(0, 1, 2, 3, 4))) for t in nets]
    surer = [replace(t, oof=t.oof**4 / (t.oof**4).sum(1, keepdims=True)) for t in nets]
    train = TrainRows(Goal(metric_named("auc"), "binary"), truth, np.arange(300) % 5)
    plain, sure = (blend_of([feature, *some], train, allow=["best"]).stacker["parts"] for some in (nets, surer))
    assert 0 < plain[1]["share"] < NETS_SHARE
    assert sure[1]["share"] == pytest.approx(plain[1]["share"])


def test_nets_of_one_fold_have_no_share_of_their_own():
    """They answer test rows by one net each, as they do out of fold."""
    truth, features, nets = nets_beside_features(folds=(0,))
    train = TrainRows(Goal(metric_named("log-loss"), "multiclass"), truth, np.arange(300) % 5)
    blend = blend_of([*features, *nets], train, allow=["mean"])
    assert np.allclose(blend.oof[:], np.mean([t.oof for t in (*features, *nets)], 0))
    assert len(set(blend.weights)) == 1


def test_once_a_net_covers_all_rows_a_crowd_of_one_fold_is_no_candidate():
    truth, nets = world("multiclass", 300, members=6, noise=0.6)
    for net in nets[1:]:
        net.oof[60:] = np.nan
    goal, part_of = Goal(metric_named("accuracy"), "multiclass"), np.repeat(np.arange(5), 60)
    blend = blend_of(nets, TrainRows(goal, truth, part_of))
    assert (blend.members, blend.rows) == ((nets[0].key,), 300)
    features = replace(nets[0], config=nets[0].config.vary(train="features"))
    assert blend_of([features, *nets[1:]], TrainRows(goal, truth, part_of)).rows == 60


def test_the_interval_of_a_net_that_was_the_best_of_many_on_one_fold_reaches_further_down():
    truth, (net, *tried) = world("multiclass", 300, members=9)
    net = replace(net, config=net.config.vary(folds=(0, 1, 2, 3, 4)))
    for other in tried:
        other.oof[60:] = np.nan
    goal, part_of = Goal(metric_named("accuracy"), "multiclass"), np.repeat(np.arange(5), 60)
    alone, of_two, of_many = (blend_of([net, *tried[:count]], TrainRows(goal, truth, part_of)) for count in (0, 2, 8))
    assert alone.score == of_two.score == of_many.score
    assert alone.interval[0] > of_two.interval[0] > of_many.interval[0] > alone.interval[0] - 2 * alone.stderr
    assert alone.interval[1] == of_many.interval[1]
    one_tried = blend_of([net, tried[0]], TrainRows(goal, truth, part_of))
    assert one_tried.interval == alone.interval, "one net is no choice"


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_weights_fitted_on_the_likeliest_of_many_classes_are_nearly_those_of_all(kind, monkeypatch):
    r = np.random.default_rng(0)
    z = 3 * r.normal(size=(400, 250)) - 6
    right = softmax(z, axis=1) if kind == "multiclass" else 1 / (1 + np.exp(-z))
    truth = (r.random((400, 1)) > np.cumsum(right, axis=1)[:, :-1]).sum(1)
    truth = truth if kind == "multiclass" else (r.random(z.shape) < right).astype(np.uint8)
    seen = [1.5 * (z + noise * r.normal(size=z.shape)) for noise in (0.5, 1.0, 2.0)]
    members = tuple(softmax(s, axis=1) if kind == "multiclass" else 1 / (1 + np.exp(-s)) for s in seen)
    rows = Rows(Goal(metric_named("log-loss"), kind), members, truth, np.arange(400))
    predictions = []
    for width in (100, 1000):
        monkeypatch.setattr(linear, "SEEN", width)
        model = linear.fitted(rows)
        predictions.append(linear.apply(model, [members[i] for i in model["picked"]]))
    few, every = predictions
    assert np.abs(few - every).mean() < 0.5 * np.abs(members[0] - every).mean()
    losses = [-rows.goal.score(truth, np.clip(p, 1e-6, 1 - 1e-6)) for p in (few, every, *members)]
    assert losses[0] < 1.05 * losses[1] < min(losses[2:])


def test_seeds_of_one_config_are_averaged_and_count_once():
    truth, trials = world("multiclass", 200, members=4)
    copies = [replace(t, config=trials[0].config.vary(seed=i)) for i, t in enumerate(trials[:3])]
    goal = Goal(metric_named("log-loss"), "multiclass")
    blend = blend_of([*copies, trials[3]], TrainRows(goal, truth, np.arange(200) % 5), allow=["mean"])
    assert blend.weights == pytest.approx((1 / 6, 1 / 6, 1 / 6, 1 / 2)) or blend.weights[0] == pytest.approx(1 / 2)
    members = {t.key: t for t in [*copies, trials[3]]}
    tests = [members[key].test for key in blend.members]
    assert np.allclose(apply_blend(blend, tests), sum(w * p for w, p in zip(blend.weights, tests, strict=True)))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_mean_of_several_nets_is_made_as_sure_as_the_single_nets_its_rule_was_learned_on(kind):
    """Five nets of noise of their own: what each is sure of, their mean is not."""
    goal, losses = Goal(metric_named("log-loss"), kind), []
    for seed in range(6):
        r = np.random.default_rng(seed)
        z = r.normal(size=(600, 3)) * 2
        right = softmax(z, axis=1) if kind == "multiclass" else 1 / (1 + np.exp(-z))
        truth = (r.random((600, 1)) > np.cumsum(right, axis=1)[:, :-1]).sum(1)
        truth = truth if kind == "multiclass" else (r.random(z.shape) < right).astype(np.uint8)
        seen = [3 * (z + 1.5 * r.normal(size=z.shape)) for _ in range(5)]
        nets = [softmax(s, axis=1) if kind == "multiclass" else 1 / (1 + np.exp(-s)) for s in seen]
        net = trial(0, nets[0][:300], np.mean(nets, axis=0)[300:])
        row = []
        for folds in ((0,), (0, 1, 2, 3, 4)):
            full = replace(net, config=net.config.vary(folds=folds))
            blend = blend_of([full], TrainRows(goal, truth[:300], np.arange(300) % 5))
            rule = learn_rule(goal, truth[:300], blend.oof)
            row.append(-goal.score(truth[300:], answer(rule, blend.test)))
        losses.append(row)
    as_they_are, matched = np.mean(losses, axis=0)
    assert matched < as_they_are - 0.03


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("name", "kind"), [("f2", "multilabel"), ("log-loss", "multiclass"), ("rmse", "regression")])
def test_a_handful_of_rows_is_blended_all_the_same(name, kind, n):
    truth, trials = world(kind, n, members=3)
    for part_of in (np.arange(n) % 2, np.zeros(n, int), np.arange(n)):
        blend = blend_of(trials, TrainRows(Goal(metric_named(name), kind), truth, part_of, np.arange(n) // 2))
        assert np.isfinite(blend.score)
        assert np.isfinite(blend.test).all()


def test_rows_of_a_group_make_the_error_of_a_blend_larger():
    truth, trials = world("multiclass", 60, members=2)
    truth = np.repeat(truth, 4)
    trials = [replace(t, oof=np.repeat(t.oof, 4, axis=0)) for t in trials]
    groups = np.repeat(np.arange(60), 4)
    goal = Goal(metric_named("accuracy"), "multiclass")
    known, unknown = (blend_of(trials, TrainRows(goal, truth, groups % 5, g), allow=["mean"]) for g in (groups, None))
    assert known.score == unknown.score
    assert known.stderr > 1.7 * unknown.stderr
    assert known.interval[1] - known.interval[0] > 1.4 * (unknown.interval[1] - unknown.interval[0])


def test_unfinished_trials_are_ignored_and_none_left_is_a_bug():
    truth, trials = world("binary", 60, members=1)
    late = trial(5, trials[0].oof, status="late")
    blend = blend_of(
        [late, *trials], TrainRows(Goal(metric_named("auc"), "binary"), truth, np.zeros(60, int)), quick=True
    )
    assert blend.members == (trials[0].key,)
    with pytest.raises(AssertionError):
        blend_of([late], TrainRows(Goal(metric_named("auc"), "binary"), truth, np.zeros(60, int)))


def test_blends_that_rows_cannot_tell_apart_are_averaged():
    truth, trials = world("multiclass", 150, members=5)
    goal = Goal(metric_named("accuracy"), "multiclass")
    blend = blend_of(trials, TrainRows(goal, truth, np.arange(150) % 5))
    assert blend.method == "mixture"
    assert sum(part["share"] for part in blend.stacker["parts"]) == pytest.approx(1)
    members = {t.key: t for t in trials}
    again = apply_blend(json.loads(json.dumps(blend.stacker)), [members[key].test for key in blend.members])
    assert np.allclose(again, blend.test)
    assert len(set(blend.members)) == len(blend.members)


def test_a_mixture_of_weighted_means_has_a_weight_for_each_member():
    truth, trials = world("multiclass", 80, members=5, noise=2.5, seed=7)
    goal = Goal(metric_named("log-loss"), "multiclass")
    blend = blend_of(trials, TrainRows(goal, truth, np.arange(80) % 5), allow=["mean", "greedy"])
    assert blend.method == "mixture"
    assert sum(blend.weights) == pytest.approx(1)
    members = {t.key: t for t in trials}
    tests = [members[key].test for key in blend.members]
    assert np.allclose(blend.test, sum(w * p for w, p in zip(blend.weights, tests, strict=True)))


def test_an_average_of_blends_beats_the_one_of_them_that_scored_best():
    """Which of several scores best on few rows is luck."""
    gains, goal, n = [], Goal(metric_named("accuracy"), "multiclass"), 100
    for seed in range(8):
        truth, trials = world("multiclass", n + 1000, members=5, noise=2.5, seed=seed)
        trials = [replace(t, oof=t.oof[:n], test=t.oof[n:]) for t in trials]
        blend = blend_of(
            trials, TrainRows(goal, truth[:n], np.arange(n) % 5), allow=["mean", "log odds mean", "greedy"]
        )
        winner = max(blend.tried, key=blend.tried.__getitem__)
        chosen = blend_of(trials, TrainRows(goal, truth[:n], np.arange(n) % 5), allow=[winner])
        scores = [goal.score(truth[n:], b.test.argmax(1)) for b in (blend, chosen)]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.002


def test_the_same_trials_give_the_same_blend():
    truth, trials = world("multilabel", 120)
    once, twice = (
        blend_of(trials, TrainRows(Goal(metric_named("f1-macro"), "multilabel"), truth, np.arange(120) % 5))
        for _ in range(2)
    )
    assert once.tried == twice.tried
    assert np.array_equal(once.test, twice.test)


def test_one_member_alone_is_scaled_class_by_class_where_that_helps():
    """Vector scaling: a net that is too sure of one class and too shy of another."""
    r = np.random.default_rng(0)
    z = 2 * r.normal(size=(800, 3))
    truth = (r.random((800, 1)) > np.cumsum(softmax(z, axis=1), axis=1)[:, :-1]).sum(1)
    net = trial(
        0,
        softmax(z * (0.4, 1.0, 2.0) + (1.5, 0.0, -1.5), axis=1)[:400],
        softmax(z * (0.4, 1.0, 2.0) + (1.5, 0, -1.5), axis=1)[400:],
    )
    goal = Goal(metric_named("log-loss"), "multiclass")
    blend, single = (
        blend_of([net], TrainRows(goal, truth[:400], np.arange(400) % 5), allow=a) for a in (None, ["best"])
    )
    assert blend.method == "linear"
    scores = [goal.score(truth[400:], answer(learn_rule(goal, truth[:400], b.oof), b.test)) for b in (blend, single)]
    assert scores[0] > scores[1] + 0.05
