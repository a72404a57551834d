import json

import numpy as np
import pytest

from autoclimb.blend.blenders import BLENDERS
from autoclimb.blend.choose import apply_blend, blend_of
from autoclimb.score.metrics import metric_named
from autoclimb.types import Config, Goal, Trial


def trial(seed, oof, test=None, status="done"):
    return Trial(Config(seed=seed), "s", status, 0.0, 0.0, 1.0, oof=oof, test=oof[:7].copy() if test is None else test)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


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
    return z.argmax(1), [trial(i, softmax(s)) for i, s in enumerate(seen)]


PLAIN = [name for name, b in BLENDERS.items() if name != "lightgbm" and not b.needs_metadata]
CASES = [
    ("f2", "multilabel"),
    ("log-loss", "multiclass"),
    ("auc", "binary"),
    ("qwk", "ordinal"),
    ("rmse", "regression"),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("method", PLAIN)
def test_a_blender_predicts_every_row_and_comes_back_from_json(method, name, kind):
    truth, trials = world(kind, 150)
    grades = (0.0, 1.0, 2.0) if kind == "ordinal" else ()
    blend = blend_of(trials, Goal(metric_named(name), kind, grades), truth, np.arange(150) % 5, allow=[method])
    assert blend.method == method
    assert list(blend.tried) == [method]
    assert blend.rows == 150
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
    blend = blend_of(trials, Goal(metric_named(name), kind), truth, np.arange(2000) % 2, allow=["lightgbm"])
    single = blend_of(trials, Goal(metric_named(name), kind), truth, np.arange(2000) % 2, allow=["best"])
    assert blend.method == "lightgbm"
    assert blend.score > single.score - single.stderr
    members = {t.key: t for t in trials}
    again = apply_blend(json.loads(json.dumps(blend.stacker)), [members[key].test for key in blend.members])
    assert np.allclose(again, blend.test)


@pytest.mark.parametrize("method", [None, *PLAIN])
def test_no_blender_claims_skill_on_noise(method):
    scores = []
    for seed in range(20):
        r = np.random.default_rng(seed)
        truth, part_of = np.arange(100) % 2, np.arange(100) // 20
        trials = [trial(i, softmax(r.normal(size=(100, 2)))) for i in range(30)]
        allow = None if method is None else [method]
        blend = blend_of(trials, Goal(metric_named("accuracy"), "binary"), truth, part_of, allow=allow)
        scores.append(blend.score)
    # one run stderrs 0.075, as a lucky member is taken for all parts; scored on their own rows these claim 0.65 to 0.8
    assert abs(np.mean(scores) - 0.5) < 3 * 0.075 / 20**0.5


def test_averaging_helps_members_of_independent_errors():
    truth, trials = world("multiclass", 400, members=5)
    blend = blend_of(trials, Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(400) % 5)
    assert blend.method != "best"
    assert blend.score > blend.tried["best"]
    assert set(blend.tried) == {"best", "mean", "greedy", "linear"}


def test_a_single_best_trial_is_preferred_where_nothing_is_gained():
    truth, trials = world("multiclass", 300, members=1, noise=0.1)
    r = np.random.default_rng(1)
    bad = [trial(10 + i, softmax(r.normal(size=(300, 3)))) for i in range(3)]
    blend = blend_of([*trials, *bad], Goal(metric_named("accuracy"), "multiclass"), truth, np.arange(300) % 5)
    assert blend.method == "best"
    assert blend.members == (trials[0].key,)
    assert blend.weights == (1.0,)
    assert np.array_equal(blend.test, trials[0].test)


def test_good_nets_on_one_fold_are_taken_over_weak_trials_on_all_rows():
    truth, nets = world("multiclass", 300, members=2, noise=0.2)
    for net in nets:
        net.oof[60:] = np.nan
    r = np.random.default_rng(1)
    weak = [trial(10 + i, softmax(np.eye(3)[truth] + r.normal(size=(300, 3)) * 2)) for i in range(3)]
    blend = blend_of([*nets, *weak], Goal(metric_named("accuracy"), "multiclass"), truth, np.repeat(np.arange(5), 60))
    assert blend.rows == 60
    assert np.isfinite(blend.oof[:60]).all()
    assert np.isnan(blend.oof[60:]).all()
    assert set(blend.members) & {t.key for t in nets}


def test_a_weak_net_on_one_fold_does_not_narrow_the_rows():
    truth, good = world("multiclass", 300, members=2, noise=0.2)
    net = trial(9, np.full((300, 3), np.nan), test=np.full((7, 3), 1 / 3))
    net.oof[:60] = softmax(np.random.default_rng(1).normal(size=(60, 3)))
    blend = blend_of([*good, net], Goal(metric_named("accuracy"), "multiclass"), truth, np.repeat(np.arange(5), 60))
    assert blend.rows == 300
    assert net.key not in blend.members


def test_unfinished_trials_are_ignored_and_none_left_is_a_bug():
    truth, trials = world("binary", 60, members=1)
    late = trial(5, trials[0].oof, status="late")
    blend = blend_of([late, *trials], Goal(metric_named("auc"), "binary"), truth, np.zeros(60, int), quick=True)
    assert blend.members == (trials[0].key,)
    with pytest.raises(AssertionError):
        blend_of([late], Goal(metric_named("auc"), "binary"), truth, np.zeros(60, int))


def test_the_same_trials_give_the_same_blend():
    truth, trials = world("multilabel", 120)
    once, twice = (
        blend_of(trials, Goal(metric_named("f1-macro"), "multilabel"), truth, np.arange(120) % 5) for _ in range(2)
    )
    assert once.tried == twice.tried
    assert np.array_equal(once.test, twice.test)
