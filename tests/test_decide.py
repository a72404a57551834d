import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.errors import Mistake
from autoclimb.score.calibrate import calibrated, platt
from autoclimb.score.crossfit import cross_answers
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.expected import expected_f_sets, learnt_tilt
from autoclimb.score.metrics import METRICS, metric_named
from autoclimb.score.rules import RULES, answer, rule_words
from autoclimb.types import Goal, Rule

CASES = [(name, kind) for name, metric in METRICS.items() for kind in metric.kinds]
GRADES = (0.0, 1.0, 2.0, 4.0)


def some(kind, n, seed=0, classes=4):
    """Truth and predictions with some skill."""
    r = np.random.default_rng(seed)
    if kind == "regression":
        truth = r.integers(0, 5, n).astype(float)
        return truth, (truth + r.normal(size=n))[:, None]
    if kind == "multilabel":
        z = r.normal(size=(n, classes)) - 1
        return (r.random((n, classes)) < 1 / (1 + np.exp(-z))).astype(np.uint8), 1 / (1 + np.exp(-z))
    classes = 2 if kind == "binary" else classes
    p = r.dirichlet(np.full(classes, 0.5), n)
    return np.array([r.choice(classes, p=q) for q in p]), p


@pytest.mark.parametrize("n", [1, 3, 40, 400])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_learned_rule_answers_in_the_form_the_metric_wants(name, kind, n):
    metric = METRICS[name]
    truth, p = some(kind, n)
    goal = Goal(metric, kind, GRADES if kind == "ordinal" else ())
    rule = learn_rule(goal, truth, p)
    rule = Rule.from_json(json.loads(json.dumps(rule.to_json(), allow_nan=False)))
    new = some(kind, 25, seed=1)[1]
    answers = answer(rule, new)
    width = new.shape[1]
    if metric.wants == "probability":
        assert answers.shape == (25, width)
        assert (answers >= 0).all()
        assert (answers <= 1).all()
    elif metric.wants == "labels" and kind == "multilabel":
        assert answers.shape == (25, width)
        assert set(np.unique(answers)) <= {0, 1}
    elif metric.wants == "ranking":
        assert answers.shape == (25, min(metric.k, width))
    else:
        assert answers.shape == (25,)
    if metric.wants == "grade":
        assert set(answers) <= set(GRADES if kind == "ordinal" else truth)
    assert np.isfinite(answers).all()
    assert np.isfinite(goal.score(truth_for(goal, some(kind, 25, seed=1)[0]), answers))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_rule_survives_rows_of_one_class_and_certain_predictions(name, kind):
    metric = METRICS[name]
    truth, p = some(kind, 12)
    p = np.zeros_like(p) if kind in ("multilabel", "regression") else np.eye(p.shape[1])[np.zeros(12, int)]
    rule = learn_rule(Goal(metric, kind, GRADES if kind == "ordinal" else ()), np.zeros_like(truth), p)
    assert np.isfinite(answer(rule, p)).all()


@given(
    st.sampled_from(sorted(RULES)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    st.integers(0, 9),
)
def test_a_rule_comes_back_from_json_as_it_went(name, values, k):
    rule = Rule(name, tuple(values), tuple(values[:2]), k)
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_maximiser_of_expected_f_equals_trying_every_set(seed, beta):
    p = np.random.default_rng(seed).random((1, 5))
    metric = metric_named(f"f{beta}-samples")
    worlds = np.array(list(product([0, 1], repeat=5)))
    chance = np.prod(np.where(worlds, p, 1 - p), axis=1)

    def expected(answers):
        return chance @ metric.function.per_row(worlds, np.tile(answers, (32, 1)))

    expected_score = expected(expected_f_sets(p, beta)[0])
    assert expected_score == pytest.approx(max(expected(answers) for answers in worlds))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("f2", "multilabel"),
        ("f1-macro", "multilabel"),
        ("f1-micro", "multilabel"),
        ("f1", "binary"),
        ("qwk", "ordinal"),
    ],
)
def test_a_learned_rule_beats_the_plain_one_on_its_own_rows(name, kind):
    goal = Goal(metric_named(name), kind, GRADES if kind == "ordinal" else ())
    truth, p = some(kind, 600)
    p = p * 0.6 if kind == "multilabel" else p * [1.5, 0.5] if kind == "binary" else p
    true = truth_for(goal, truth)
    learned = goal.score(true, answer(learn_rule(goal, truth, p), p))
    plain = {
        "multilabel": Rule("thresholds", (0.5,)),
        "binary": Rule("positive", (0.5,)),
        "ordinal": Rule("cuts", (0.5, 1.5, 3.0), GRADES),
    }[kind]
    assert learned > goal.score(true, answer(plain, p))


def test_whether_numbers_of_labels_help_is_tried_on_groups_that_it_was_not_learned_from(monkeypatch):
    """Of rows of one group on both sides whatever was learned from the one would be confirmed by the other."""
    groups = np.repeat(np.arange(60), 5)
    _, p = some("multilabel", 60)
    p, truth = p[groups], some("multilabel", 60)[0][groups]  # a group's rows are alike, and known by their first label
    learned, tried = [], []

    def tilt(q, known):
        learned.append(set(np.round(q[:, 0], 12)))
        return learnt_tilt(q, known)

    def sets(q, beta, tilt=()):
        tried.append(set(np.round(q[:, 0], 12)))
        return expected_f_sets(q, beta, tilt)

    monkeypatch.setattr("autoclimb.score.decide.learnt_tilt", tilt)
    monkeypatch.setattr("autoclimb.score.decide.expected_f_sets", sets)
    learn_rule(Goal(metric_named("f2"), "multilabel"), truth, p, part_of=groups % 5)
    assert [len(rows & other) for rows, other in zip(learned[:2], tried[::2], strict=True)] == [0, 0]
    assert all(learned + tried)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_words_for_a_report(name):
    words = rule_words(Rule(name))
    assert words[0].isupper()
    assert words.rstrip(".") == words
    assert words != "None"


def test_a_threshold_is_found_where_it_must_be():
    truth = np.array([0] * 500 + [1] * 500)
    p = np.where(truth == 1, 0.3, 0.1)
    rule = learn_rule(Goal(metric_named("f1"), "binary"), truth, np.stack([1 - p, p], axis=1))
    assert 0.1 < rule.values[0] < 0.3


def test_cut_points_recover_shifted_grades():
    r = np.random.default_rng(0)
    truth = r.integers(0, 5, 500).astype(float)
    p = (truth * 0.5 + 3 + r.normal(size=500) * 0.05)[:, None]
    goal = Goal(metric_named("qwk"), "regression")
    rule = learn_rule(goal, truth, p)
    assert goal.score(truth, answer(rule, p)) > 0.99
    assert list(rule.values) == sorted(rule.values)


def test_overconfident_probabilities_are_tempered_for_log_loss():
    truth, p = some("multiclass", 800)
    sharp = np.clip(p, 1e-6, 1) ** 3
    sharp /= sharp.sum(1, keepdims=True)
    rule = learn_rule(Goal(metric_named("log-loss"), "multiclass"), truth, sharp)
    assert rule.values[0] == pytest.approx(1 / 3, abs=0.1)


def test_whole_numbers_are_rounded_for_mean_absolute_error_where_that_helps():
    truth = np.arange(40.0) % 4
    rule = learn_rule(Goal(metric_named("mae"), "regression"), truth, truth[:, None] + 0.2)
    assert rule.name == "whole number"


@pytest.mark.parametrize(
    ("name", "kind", "rule"),
    [
        ("accuracy", "multiclass", Rule("argmax")),
        ("f1-micro", "multiclass", Rule("argmax")),
        ("auc", "multilabel", Rule("as is")),
        ("map@5", "multiclass", Rule("top", k=5)),
    ],
)
def test_where_only_the_order_of_answers_counts_no_number_is_learned(name, kind, rule):
    assert learn_rule(Goal(metric_named(name), kind), *some(kind, 40)) == rule


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 5), st.sampled_from([1, 2, 17]))
def test_the_likeliest_of_many_classes_are_those_of_a_full_sort(seed, width, k, digits):
    p = np.round(np.random.default_rng(seed).random((7, width)), digits)  # of one digit: with many ties
    assert np.array_equal(answer(Rule("top", k=k), p), np.argsort(-p, axis=1, kind="stable")[:, :k])


NAIVE = {  # what one would answer without thinking of the metric
    "pf1": ("binary", Rule("as is")),
    "f2": ("multilabel", Rule("thresholds", (0.5,))),
    "f1-macro": ("multiclass", Rule("argmax")),
    "f1": ("binary", Rule("positive", (0.5,))),
    "cohen-kappa": ("binary", Rule("argmax")),
    "balanced-accuracy": ("multiclass", Rule("argmax")),
    "weighted-log-loss": ("multiclass", Rule("tempered", (1.0,))),
    "balanced-log-loss": ("multilabel", Rule("calibrated", (1.0, 0.0))),
    "weighted-log-loss@1,1,1,9": ("multiclass", Rule("tempered", (1.0,))),
    "ordinal-mae": ("ordinal", Rule("argmax")),
    "qwk": ("ordinal", Rule("argmax")),
    "mae": ("ordinal", Rule("number", (0.0, 4.0), GRADES)),
    "rmsle": ("ordinal", Rule("number", (0.0, 4.0), GRADES)),
}


@pytest.mark.parametrize("name", NAIVE)
def test_a_cross_fitted_rule_beats_the_naive_one_on_calibrated_probabilities(name):
    """Measured per draw of 500 rows: the mean gain of ten draws must be more than twice its standard error."""
    kind, naive = NAIVE[name]
    goal = Goal(metric_named(name), kind, GRADES if kind == "ordinal" else ())
    gains = []
    for seed in range(10):
        r = np.random.default_rng(seed)
        if kind == "multilabel":
            truth, p = some(kind, 500, seed)
        else:
            p = r.dirichlet([1.6, 0.4] if kind == "binary" else [1.5, 0.8, 0.4, 0.3], 500)
            truth = (r.random((500, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(1)
        true = truth_for(goal, truth)
        plain = answer(naive, p)
        plain = np.asarray(GRADES)[plain] if goal.metric.wants == "grade" else plain
        learned = cross_answers(goal, truth, p, np.arange(500) % 5)
        gains.append(goal.score(true, learned) - goal.score(true, plain))
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_the_whole_row_is_what_exact_match_is_decided_for():
    truth, p = some("multilabel", 400)
    rule = learn_rule(Goal(metric_named("exact-match"), "multilabel"), truth, p)
    assert rule.values[0] == pytest.approx(0.5, abs=0.15)


def test_weights_of_another_number_than_the_classes_are_a_mistake():
    for kind in ("multiclass", "multilabel"):
        truth, p = some(kind, 40)
        with pytest.raises(Mistake, match="given 3 weights, but there are 4 classes"):
            learn_rule(Goal(metric_named("weighted-log-loss@2,1,1"), kind), truth, p)


def test_soft_truth_is_tempered_like_hard_truth():
    truth, p = some("multiclass", 500)
    rules = [learn_rule(Goal(metric_named("kl"), "multiclass"), t, p) for t in (truth, np.eye(4)[truth] * 3)]
    assert rules[0].values == pytest.approx(rules[1].values)


def test_numbers_are_clipped_to_the_range_of_the_truth_but_not_where_ranks_count():
    truth, p = some("regression", 50)
    far = np.array([[-99.0], [99.0]])
    assert answer(learn_rule(Goal(metric_named("rmse"), "regression"), truth, p), far).tolist() == [0.0, 4.0]
    assert answer(learn_rule(Goal(metric_named("spearman"), "regression"), truth, p), far).tolist() == [-99.0, 99.0]


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_threshold_is_found_on_predictions_that_are_far_from_calibrated(kind):
    """Log odds shifted by 4, as after training on rare labels made frequent."""
    scores, possible = [], []
    metric = metric_named("f2" if kind == "binary" else "f2-macro")
    for seed in range(8):
        r = np.random.default_rng(seed)
        z = r.normal(size=(300, 4 if kind == "multilabel" else 1)) * 2 - 3.5
        truth = (r.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
        p = 1 / (1 + np.exp(-(z + 4)))
        goal = Goal(metric, kind)
        if kind == "binary":
            truth, p = truth[:, 0].astype(np.int64), np.concatenate([1 - p, p], axis=1)
        rules = [Rule("positive" if kind == "binary" else "thresholds", (t,)) for t in np.linspace(0.02, 0.99, 98)]
        possible.append(max(goal.score(truth, answer(rule, p)) for rule in rules))
        scores.append(goal.score(truth, cross_answers(goal, truth, p, np.arange(300) % 5)))
    assert np.mean(scores) > np.mean(possible) - 0.06


def test_equal_numbers_are_never_cut_apart():
    truth, x = np.array([0.0, 0.0, 0.0, 1.0]), np.array([[0.2], [0.2], [0.8], [0.8]])
    goal = Goal(metric_named("qwk"), "ordinal", (0.0, 1.0))
    learned = learn_rule(goal, truth.astype(int), np.concatenate([1 - x, x], axis=1))
    assert goal.score(truth, answer(learned, np.concatenate([1 - x, x], axis=1))) == pytest.approx(0.5)


@given(st.integers(0, 10_000), st.sampled_from(["qwk", "kappa-linear"]))
def test_learned_cut_points_are_never_worse_than_mid_points_on_their_own_rows(seed, name):
    r = np.random.default_rng(seed)
    truth, x = r.integers(0, 4, 30).astype(float), np.round(r.normal(1.5, 1, (30, 1)), 1)
    goal = Goal(metric_named(name), "regression")
    rule = learn_rule(goal, truth, x)
    middle = Rule("cuts", tuple((a + b) / 2 for a, b in zip(rule.grades, rule.grades[1:], strict=False)), rule.grades)
    assert goal.score(truth, answer(rule, x)) >= goal.score(truth, answer(middle, x)) - 1e-9


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 10))
def test_the_maximiser_of_expected_f_equals_trying_every_set_of_rare_and_frequent_labels(seed, beta, labels):
    r = np.random.default_rng(seed)
    p = r.random((1, labels)) ** r.integers(1, 6)
    metric = metric_named(f"f{beta}-samples")
    worlds = np.array(list(product([0, 1], repeat=labels)))
    chance = np.prod(np.where(worlds, p, 1 - p), axis=1)
    expected = [chance @ metric.function.per_row(worlds, np.tile(named, (len(worlds), 1))) for named in worlds]
    expected_score = chance @ metric.function.per_row(worlds, np.tile(expected_f_sets(p, beta)[0], (len(worlds), 1)))
    assert expected_score == pytest.approx(max(expected), abs=1e-6)


def test_the_maximiser_counts_labels_it_would_not_name():
    """60 labels of .1 each: 6 of them are true on average, so naming one of .3 alone would recall little."""
    p = np.concatenate([[[0.3]], np.full((1, 60), 0.1)], axis=1)
    assert expected_f_sets(p, 2.0).sum() > 30
    assert expected_f_sets(p[:, :1], 2.0).sum() == 1


def test_plain_f_is_told_by_the_kind_of_task_not_by_the_rows():
    metric = metric_named("f1")
    truth, named = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    assert Goal(metric, "binary").score(truth, named) == pytest.approx(2 / 3)
    assert Goal(metric, "multiclass").score(truth, named) == pytest.approx((4 / 5 + 2 / 3) / 2)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 7))
def test_the_maximiser_with_sizes_of_sets_equals_trying_every_set(seed, beta, labels):
    check_against_every_set(seed, beta, labels)


@pytest.mark.parametrize("seed", [1444, 2339])
def test_an_unlikely_label_is_named_where_rows_never_have_so_few(seed):
    """Chances below a thousandth were in no set, whatever is known of the number of labels: .27 and .04 of F lost."""
    check_against_every_set(seed, 2.0, 3)


def test_the_second_of_always_two_labels_is_named_however_unlikely_it_looks():
    p = np.array([[0.998, 0.0008, 0.0002]])
    assert expected_f_sets(p, 1.0, (1e-6, 1e-6, 1.0, 1e-6)).tolist() == [[1, 1, 0]]
    assert expected_f_sets(p, 1.0).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_the_maximisers_equal_trying_every_set_of_ten_labels(seed):
    check_against_every_set(seed, 2.0, 10)
    check_against_every_set(seed, 2.0, 10, tilted=False)


def check_against_every_set(seed, beta, labels, tilted=True):
    r = np.random.default_rng(seed)
    p = r.random((1, labels)) ** r.integers(1, 6)
    tilt = tuple(r.random(labels + 1) ** 2) if tilted else ()
    worlds = np.array(list(product([0, 1], repeat=labels)))
    chance = np.prod(np.where(worlds, p, 1 - p), axis=1) * (np.array(tilt)[worlds.sum(1)] if tilt else 1.0)
    sizes = np.arange(labels + 1)
    weight = (1 + beta**2) / (
        beta**2 * worlds.sum(1)[:, None] + np.maximum(sizes, 1)
    )  # of each true set and size of a named one
    common = worlds.astype(float) @ worlds.T.astype(float)  # numpy multiplies whole numbers slowly
    expected = (common * weight[:, worlds.sum(1)] * chance[:, None]).sum(0)  # of every named set
    named = expected_f_sets(p, beta, tilt)[0]
    expected_score = expected[int(np.flatnonzero((worlds == named).all(1))[0])]
    assert expected_score == pytest.approx(expected.max(), abs=1e-6 * chance.sum())


def test_rows_of_always_two_labels_are_answered_better_once_that_is_known():
    r = np.random.default_rng(0)
    z = r.normal(size=(1500, 10))
    truth = np.zeros(z.shape, np.uint8)
    np.put_along_axis(truth, np.argsort(-z, axis=1)[:, :2], 1, axis=1)
    p = 1 / (1 + np.exp(-(2 * (z + 0.8 * r.normal(size=z.shape)) - 2)))
    goal = Goal(metric_named("f2"), "multilabel")
    rule = learn_rule(goal, truth[:1000], p[:1000])
    assert rule.name == "expected F"
    assert len(rule.values) > 3
    independent = Rule("expected F", rule.values[:3])
    gain = goal.score(truth[1000:], answer(rule, p[1000:])) - goal.score(truth[1000:], answer(independent, p[1000:]))
    assert gain > 0.003


def test_where_labels_are_independent_their_number_is_not_learned():
    r = np.random.default_rng(1)
    p = r.random((600, 6)) ** 2
    truth = (r.random(p.shape) < p).astype(np.uint8)
    assert np.allclose(learnt_tilt(calibrated(p, *platt(p, truth)), truth)[1:4], 1, atol=0.5)
