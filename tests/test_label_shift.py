"""Other shares of the classes in the test rows: found where they are, allowed for where that pays, else left alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from folders import task
from scipy.special import softmax

from autoclimb.blend.choose import blend_of
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.run import store
from autoclimb.run.answers import TRAIN_SHARES, deliver, shift_of
from autoclimb.run.setup import Setup
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.metrics import metric_named
from autoclimb.score.priors import label_shift, shares_of, weighted
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Event, Form, Goal, Kind, Trial

EVEN, TAIL = (1.0, 1.0, 1.0, 1.0), (1.0, 0.2, 0.2, 0.1)
CASES: dict[str, tuple[str, Kind]] = {
    "accuracy": ("accuracy", "multiclass"),
    "log loss": ("log-loss", "multiclass"),
    "f1": ("f1", "binary"),
    "qwk": ("qwk", "ordinal"),
}


def goal(case: str) -> Goal:
    name, kind = CASES[case]
    return Goal(metric_named(name), kind, (0.0, 1.0, 2.0, 3.0) if kind == "ordinal" else ())


def world(kind: Kind, odds: tuple[float, ...], seed: int = 0, n: int = 800, m: int = 800, far: float = 0.0):
    """Truth and overconfident predictions of train rows, and of test rows whose classes have these odds."""
    r, width = np.random.default_rng(seed), 2 if kind == "binary" else 4
    z = 2 * r.normal(size=(n + 10 * m, width))
    if kind == "ordinal":
        z = -((r.normal(1.5, 1.2, (len(z), 1)) - np.arange(4)) ** 2)
    truth = (r.random((len(z), 1)) > np.cumsum(softmax(z, axis=1), 1)[:, :-1]).sum(1)
    noise = r.normal(size=z.shape)
    noise[n:] += far * (noise[n:] + (np.arange(width) == 0))
    p = softmax(1.5 * (z + noise), axis=1)
    weight = np.asarray(odds)[truth[n:]]
    rows = n + r.choice(10 * m, m, replace=False, p=weight / weight.sum())
    return truth[:n], p[:n], truth[rows], p[rows]


def test_shares_are_those_of_the_test_rows_and_a_prior_that_holds_stays():
    r = np.random.default_rng(0)
    p = softmax(2 * r.normal(size=(20_000, 3)), axis=1)
    truth = (r.random((len(p), 1)) > np.cumsum(p, 1)[:, :-1]).sum(1)
    odds = np.array([1.0, 0.3, 0.1])[truth]
    some = r.choice(len(p), 4000, replace=False, p=odds / odds.sum())
    shares = shares_of(p[some], p.mean(0))
    assert np.abs(shares - np.bincount(truth[some]) / len(some)).max() < 0.03
    assert np.abs(shares_of(p, p.mean(0)) - p.mean(0)).max() < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_where_classes_are_as_frequent_nothing_is_done(case):
    for seed in range(6):
        truth, oof, _, test = world(CASES[case][1], EVEN, seed)
        assert label_shift(goal(case), truth, oof, test) is None


@pytest.mark.parametrize("case", CASES)
def test_rare_classes_are_allowed_for_and_test_rows_are_answered_better(case):
    gains, aim = [], goal(case)
    for seed in range(6):
        truth, oof, test_truth, test = world(aim.kind, TAIL, seed)
        shift = label_shift(aim, truth, oof, test)
        if shift is None:
            continue
        assert np.allclose(shift.corrected(test).sum(1), 1)
        assert np.isclose(shift.shares.sum(), 1)
        target = truth_for(aim, test_truth)
        plain = answer(learn_rule(aim, truth, oof), test)
        gains.append(aim.score(target, answer(shift.rule, shift.corrected(test))) - aim.score(target, plain))
    assert len(gains) >= 3
    assert np.mean(gains) > 0


def test_pictures_from_elsewhere_are_no_other_shares():
    taken = 0
    for seed in range(6):
        truth, oof, _, test = world("multiclass", EVEN, seed, far=1.0)
        taken += label_shift(goal("accuracy"), truth, oof, test) is not None
    assert taken <= 1


def test_train_rows_that_come_in_groups_prove_less():
    truth, oof, _, test = world("multiclass", TAIL, seed=1)
    assert label_shift(goal("accuracy"), truth, oof, test, np.arange(800)) is not None
    assert label_shift(goal("accuracy"), truth, oof, test, np.arange(800) % 20) is None


def test_copies_of_a_row_in_one_group_are_no_more_evidence_and_on_one_side_of_every_split(monkeypatch):
    truth, oof, _, test = world("multiclass", TAIL, seed=1)
    groups, aim, sides = np.repeat(np.arange(800), 3), goal("accuracy"), []

    def learn(goal, truth, p, **how):
        sides.append({tuple(row) for row in p})
        return learn_rule(goal, truth, p, **how)

    monkeypatch.setattr("autoclimb.score.priors.learn_rule", learn)
    known = label_shift(aim, truth[groups], oof[groups], test, groups)
    by_rule, by_usual, by_other_rule, by_other_usual = sides[:4]
    assert not by_rule & by_other_rule
    assert not by_usual & by_other_usual
    unknown = label_shift(aim, truth[groups], oof[groups], test)
    assert known.stderr > 1.3 * unknown.stderr


@pytest.mark.parametrize(("name", "kind"), [("auc", "binary"), ("auc", "multiclass"), ("f2", "multilabel")])
def test_where_only_order_counts_or_rows_have_several_labels_nothing_is_done(name, kind):
    truth, oof, _, test = world("multiclass", TAIL)
    if kind == "binary":
        truth, oof, test = truth % 2, oof[:, :2], test[:, :2]
    if kind == "multilabel":
        truth = np.eye(4, dtype=np.uint8)[truth]
    assert label_shift(Goal(metric_named(name), kind), truth, oof, test) is None


def test_weighted_probabilities_are_those_of_other_shares():
    p = np.array([[0.5, 0.5], [0.9, 0.1]])
    assert np.allclose(weighted(p, np.array([1.0, 3.0])), [[0.25, 0.75], [0.75, 0.25]])


@pytest.mark.parametrize("allowed", [True, False])
def test_a_run_answers_for_the_test_rows_shares_and_keeps_the_other_answers_beside(tmp_path, allowed):
    truth, oof, test_truth, test = world("multiclass", TAIL, seed=1)
    ids, nobody, events = tuple(f"t{i}" for i in range(len(test))), None, list[Event]()
    names = ("ant", "bee", "cow", "dog")
    toy = task(target=truth, classes=names, test_ids=ids, form=Form(("id", "label"), ids, "label"))
    setup: Any = Setup(
        toy,
        goal("accuracy"),
        np.arange(len(truth)) % 5,
        Path(tmp_path),
        nobody,
        nobody,
        Clock(60.0),
        events.append,
        allowed,
    )
    store.open_folder(tmp_path)
    trial = Trial(Config(folds=(0, 1, 2, 3, 4)), "s", "done", 0.0, 0.0, 1.0, oof=oof, test=test)
    blend = blend_of([trial], TrainRows(setup.goal, truth, setup.fold_of))
    deliver(setup, blend, shift_of(setup, blend))
    files = ("submission.csv", TRAIN_SHARES)
    right = [
        (pd.read_csv(tmp_path / name)["label"] == np.array(names)[test_truth]).mean()
        for name in files
        if (tmp_path / name).exists()
    ]
    notes = [event.text for event in events if event.name == "note"]
    if not allowed:
        assert (len(right), notes) == (1, [])
        return
    assert right[0] > right[1]
    assert "dog" in notes[0]
    assert TRAIN_SHARES in notes[0]
    deliver(setup, blend)
    assert not (tmp_path / TRAIN_SHARES).exists()
    assert np.allclose((pd.read_csv(tmp_path / files[0])["label"] == np.array(names)[test_truth]).mean(), right[1])
