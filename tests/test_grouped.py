"""Predictions drawn to their group's mean: where rows of a group have one label, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from autoclimb.blend.choose import blend_of
from autoclimb.blend.grouped import by_group, drawn_to_groups
from autoclimb.config import Config
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal, Trial

ACCURACY = Goal(metric_named("accuracy"), "multiclass")


def patients(of_one_label, seed=0, n=150, of=4):
    """Truth and a blend's trial: `of` pictures of each of n train patients, and as many new ones, with their groups."""
    r = np.random.default_rng(seed)
    groups = np.repeat(np.arange(2 * n), of)
    truth = r.integers(0, 3, 2 * n)[groups] if of_one_label else r.integers(0, 3, 2 * n * of)
    z = np.eye(3)[truth] + 1.2 * r.normal(size=(len(truth), 3))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    rows = n * of
    trial = Trial(Config(), "made", "done", 0.0, 0.0, 1.0, oof=p[:rows], test=p[rows:])
    part_of = groups[:rows] % 5
    blend = blend_of([trial], TrainRows(ACCURACY, truth[:rows], part_of, groups[:rows]))
    return truth, groups, part_of, blend, rows


def test_pictures_of_one_patient_are_answered_together_where_they_have_one_label():
    truth, groups, part_of, blend, rows = patients(True)
    better = by_group(blend, TrainRows(ACCURACY, truth[:rows], part_of, groups[:rows]), groups[rows:])
    before, after = ((b.test.argmax(1) == truth[rows:]).mean() for b in (blend, better))
    assert after > before + 0.1
    assert better.score == pytest.approx(after, abs=3 * better.stderr)
    assert better.interval[0] < better.score < better.interval[1]
    assert better.stacker["group_share"] > 0


def test_what_an_interval_allows_for_beside_its_rows_chance_stands_where_groups_are_answered_together():
    truth, groups, part_of, blend, rows = patients(True)
    careful = replace(blend, interval=(blend.score - 9 * blend.stderr, blend.interval[1]))
    better = by_group(careful, TrainRows(ACCURACY, truth[:rows], part_of, groups[:rows]), groups[rows:])
    assert better.stacker["group_share"] > 0
    assert better.interval[0] == pytest.approx(better.score - 9 * better.stderr)


@pytest.mark.parametrize("name", ["accuracy", "f1-macro"])
def test_no_promise_passes_the_best_score_there_is(name):
    """What a blend is promised is nested, what its groups gain is not: together they came to an accuracy of 1.02."""
    r = np.random.default_rng(32)
    groups, goal = np.repeat(np.arange(15), 4), Goal(metric_named(name), "multiclass")
    truth = r.integers(0, 3, 15)[groups]
    z = np.eye(3)[truth] * 1.5 + r.normal(size=(60, 3))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    z = np.eye(3)[truth] * 4 + r.normal(size=(60, 3))
    other = np.where((groups % 3 == 0)[:, None], np.exp(z) / np.exp(z).sum(1, keepdims=True), np.nan)
    trials = [Trial(Config(lr=lr), "made", "done", 0.0, 0.0, 1.0, oof=q, test=p) for lr, q in ((1.0, p), (2.0, other))]
    blend = blend_of(trials, TrainRows(goal, truth, groups % 3, groups), quick=True)
    better = by_group(blend, TrainRows(goal, truth, groups % 3, groups), groups)
    assert better.stacker["group_share"] > 0
    assert better.interval[0] < better.score <= better.interval[1] == 1.0


def test_pictures_that_have_nothing_but_the_patient_in_common_are_not():
    for seed in range(5):
        truth, groups, part_of, blend, rows = patients(False, seed)
        assert by_group(blend, TrainRows(ACCURACY, truth[:rows], part_of, groups[:rows]), groups[rows:]) is blend


def test_a_blend_stays_as_it_is_where_groups_are_unknown():
    truth, groups, part_of, blend, rows = patients(True)
    assert by_group(blend, TrainRows(ACCURACY, truth[:rows], part_of), groups[rows:]) is blend
    assert by_group(blend, TrainRows(ACCURACY, truth[:rows], part_of, groups[:rows]), None) is blend


def test_groups_of_one_row_each_change_nothing():
    truth, groups, part_of, blend, rows = patients(True)
    single = np.arange(len(groups))
    assert by_group(blend, TrainRows(ACCURACY, truth[:rows], part_of, single[:rows]), single[rows:]) is blend


@pytest.mark.parametrize("sites", [1, 2])
def test_predictions_of_one_or_two_groups_are_no_evidence(sites):
    """A net of the first fold predicts one site of five: its rows have nothing to be compared with."""
    truth, groups, _, blend, rows = patients(True, n=50)
    site = groups[:rows] * sites // (groups[rows - 1] + 1)
    assert by_group(blend, TrainRows(ACCURACY, truth[:rows], site, site), groups[rows:]) is blend


def test_a_mean_over_a_group_is_the_same_for_all_its_rows():
    p = np.array([[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]])
    assert drawn_to_groups(p, np.array([7, 7, 3]), 1.0).tolist() == [[0.2, 0.8], [0.2, 0.8], [1.0, 0.0]]
    assert drawn_to_groups(p, np.array([7, 7, 3]), 0.5)[0] == pytest.approx([0.1, 0.9])
