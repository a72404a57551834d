"""Calibration: never worse than doing nothing, whatever the order of rows and however odd the predictions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.score import decide
from autoclimb.score.calibrate import along_curve, before_calibration, calibrated, curve, platt, temper, temperature
from autoclimb.score.crossfit import rule_of
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.score.probabilities import log_loss_rows
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal

LOG_LOSS = metric_named("log-loss")


def drawn(seed, n, scale=1.0, shift=0.0):
    """Truth `(n, 1)`, and probabilities whose log odds are scaled and shifted from the right ones."""
    r = np.random.default_rng(seed)
    z = r.normal(size=(n, 1)) * 2 - 1
    truth = (r.random((n, 1)) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    return truth, 1 / (1 + np.exp(-(scale * z + shift)))


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(-12, 12), st.floats(0.01, 40))
def test_calibrating_never_makes_the_rows_it_was_learned_on_less_likely(seed, n, shift, scale):
    truth, p = drawn(seed, n, scale, shift)
    after = calibrated(p, *platt(p, truth))
    assert log_loss_rows(truth, after).mean() <= log_loss_rows(truth, np.clip(p, 1e-7, 1 - 1e-7)).mean() + 1e-9
    two = np.concatenate([1 - p, p], axis=1)
    tempered = temper(two, temperature(two, truth[:, 0]))
    before = log_loss_rows(truth[:, 0], np.clip(two, 1e-7, 1)).mean()
    assert log_loss_rows(truth[:, 0], tempered).mean() <= before + 1e-6


def test_slope_and_shift_are_found_where_they_must_be():
    truth, p = drawn(0, 5000, scale=2.0, shift=4.0)
    slope, shift = platt(p, truth)
    assert slope == pytest.approx(0.5, abs=0.05)
    assert shift == pytest.approx(-2.0, abs=0.15)
    assert before_calibration(calibrated(p, slope, shift), slope, shift) == pytest.approx(p)


def test_the_order_of_rows_does_not_decide_what_is_learned():
    n = 240_000  # four times what is looked at, every second row of another kind
    truth, p = drawn(0, n)
    p[::2] = p[::2] ** 4
    shuffled = np.random.default_rng(1).permutation(n)
    assert platt(p, truth) == pytest.approx(platt(p[shuffled], truth[shuffled]), abs=0.05)
    two = np.concatenate([1 - p, p], axis=1)
    assert temperature(two, truth[:, 0]) == pytest.approx(temperature(two[shuffled], truth[shuffled, 0]), abs=0.05)


def test_of_thousands_of_classes_no_fewer_rows_are_looked_at_than_two_numbers_take():
    """Of 3,000 classes that many cells as suffice for two are twenty rows, and that many true labels."""
    r, seen = np.random.default_rng(0), []
    for _ in range(4):
        z = r.normal(size=(400, 3000))
        z[:, 0] += 7
        order = r.permuted(np.tile(np.arange(3000), (400, 1)), axis=1)
        right = np.exp(np.take_along_axis(z, order, 1))
        right /= right.sum(1, keepdims=True)
        truth = (r.random((400, 1)) > np.cumsum(right, axis=1)[:, :-1]).sum(1)
        sets = (r.random(right.shape) < right).astype(np.uint8)
        off = calibrated(right, 2.0, -1.0)
        losses = [log_loss_rows(sets, p).mean() for p in (calibrated(off, *platt(off, sets)), right, off)]
        seen.append([temperature(temper(right, 2.0), truth), (losses[0] - losses[1]) / (losses[2] - losses[1])])
    assert np.mean(seen, 0) == pytest.approx([0.5, 0.0], abs=0.06)
    assert np.std(seen, 0).max() < 0.06


@pytest.mark.parametrize("n", [20, 500])
def test_no_answer_is_surer_than_the_rows_it_was_learned_on_allow(n):
    """No error among n rows: by Laplace's rule the next one is an error with a chance of 1 / (n + 2)."""
    truth = np.arange(n) % 2
    p = np.eye(2)[truth] * (1 - 2e-9) + 1e-9
    answers = answer(learn_rule(Goal(LOG_LOSS, "binary"), truth, p), p)
    assert answers.max() == pytest.approx(1 - 0.5 / (n + 2), rel=1e-3)
    assert answers.sum(1) == pytest.approx(1)
    sets = answer(learn_rule(Goal(LOG_LOSS, "multilabel"), np.eye(2, dtype=np.uint8)[truth], p), p)
    assert sets.max() == pytest.approx(1 - 0.5 / (n + 2), rel=1e-3)


def test_what_is_given_up_for_it_is_little_where_predictions_are_right():
    truth, p = drawn(0, 1000)
    two = np.concatenate([1 - p, p], axis=1)
    goal = Goal(LOG_LOSS, "binary")
    rule = learn_rule(goal, truth[:, 0], two)
    assert goal.score(truth[:, 0], answer(rule, two)) > goal.score(truth[:, 0], two) - 0.001


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("bent", [False, True])
def test_a_curve_is_taken_where_a_line_will_not_do(kind, bent):
    r = np.random.default_rng(0)
    z = 2 * r.normal(size=(5000, 1))
    truth = (r.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    p = 1 / (1 + np.exp(-(np.where(z > 0, z, 4 * z) if bent else 2 * z)))
    if kind == "binary":
        p, truth = np.concatenate([1 - p, p], axis=1), truth[:, 0].astype(int)
    goal = Goal(LOG_LOSS, kind)
    rule, line = (learn_rule(goal, truth[:2000], p[:2000], quick=quick) for quick in (False, True))
    assert ("curve" in rule.name) == bent
    gain = goal.score(truth[2000:], answer(rule, p[2000:])) - goal.score(truth[2000:], answer(line, p[2000:]))
    assert gain > 0.003 if bent else gain == 0


@pytest.mark.parametrize("metric", [LOG_LOSS, replace(LOG_LOSS, name="called", decide=None)], ids=lambda m: m.name)
def test_pictures_of_one_patient_are_no_evidence_for_a_curve(metric):
    """A line is right; twenty pictures each of a hundred patients, their log odds off by as much as two models'.

    So it is with a metric of one's own, of which nothing is known but its values.
    """
    goal, taken, losses = Goal(metric, "binary"), [], []
    groups = np.repeat(np.arange(100), 20)
    for seed in range(12):
        r = np.random.default_rng(seed)
        z = r.normal(size=2100) * 2
        truth = (r.random(len(z)) < 1 / (1 + np.exp(-z))).astype(int)
        z = z + 0.7 * r.normal(size=len(z))
        of_rows = z[:100][groups] + 0.5 * r.normal(size=2000)
        p, new = (np.stack([1 / (1 + np.exp(x)), 1 / (1 + np.exp(-x))], axis=1) for x in (of_rows, z[100:]))
        known = truth[:100][groups]
        rules = rule_of(TrainRows(goal, known, groups % 5), p), learn_rule(goal, known, p, quick=True)
        taken.append(rules[0].name == "positive curve")
        losses.append([-goal.score(truth[100:], answer(rule, new)) for rule in rules])
    assert sum(taken) <= 3  # by thirds drawn by lot 8
    curve, line = np.mean(losses, axis=0)
    assert curve < line + 0.006  # by thirds .015 more


def test_a_curve_is_tried_a_few_times_however_many_folds_there_are(monkeypatch):
    curves = []
    monkeypatch.setattr(decide, "curved", lambda *given: curves.append(len(given[1])) or given[0])
    truth, p = drawn(0, 2000)
    learn_rule(Goal(LOG_LOSS, "multilabel"), truth, p, part_of=np.arange(2000) % 100)
    assert curves == [1600] * 5


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_a_curve_keeps_the_order_of_probabilities(seed, n):
    truth, p = drawn(seed, n, 2.0, 1.0)
    new = np.sort(np.random.default_rng(seed).random(50))
    after = along_curve(new, *curve(p, truth))
    assert (np.diff(after) >= -1e-12).all()
    assert (after > 0).all()
    assert (after < 1).all()
