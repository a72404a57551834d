"""Competitions whose rows hold votes: shares are read, learned, blended and scored, not the most voted class alone."""

import csv

import numpy as np
import pytest
from folders import metric, polled
from test_blend import softmax, trial

from autoclimb.blend.choose import blend_of
from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake
from autoclimb.report.submission import constant_prediction
from autoclimb.run.answers import publish_constant
from autoclimb.run.setup import learning_target
from autoclimb.score.metrics import metric_named
from autoclimb.score.propose import proposed_metric
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Goal, Metadata

KL = metric_named("kl-divergence")
VOTES = [(3, 0, 1), (0, 5, 0), (1, 1, 2), (4, 4, 2), (0, 0, 7), (2, 6, 2)]


def test_votes_are_read_as_shares_and_shown_as_the_most_voted_class(tmp_path):
    task = read_folder(polled(tmp_path, VOTES), KL)
    assert task.kind == "multiclass"
    assert task.classes == ("calm_vote", "spike_vote", "other_vote")
    assert np.allclose(task.soft, np.array(VOTES) / np.sum(VOTES, axis=1, keepdims=True))
    assert task.target.tolist() == [0, 1, 2, 0, 2, 1]
    assert task.form.sums_to_one
    assert any("votes" in note.text for note in task.notes)
    assert np.allclose(learning_target(task), task.soft)


def test_shares_are_read_as_votes_are(tmp_path):
    shares = (np.array(VOTES) / np.sum(VOTES, axis=1, keepdims=True)).tolist()
    assert np.allclose(read_folder(polled(tmp_path, shares), KL).soft, shares)


def test_without_a_metric_votes_are_told_by_a_sample_of_shares(tmp_path):
    task = read_folder(polled(tmp_path, VOTES))
    assert task.soft is not None
    assert proposed_metric(task)[0].name == "kl-divergence"


def test_one_vote_a_row_is_a_class_a_row(tmp_path):
    task = read_folder(polled(tmp_path, [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]), KL)
    assert task.soft is None
    assert task.target.tolist() == [0, 1, 2, 0]


def test_rows_without_a_vote_are_left_out(tmp_path):
    task = read_folder(polled(tmp_path, [*VOTES, (0, 0, 0), ("", "", "")]), KL)
    assert len(task.train_ids) == len(task.soft) == len(VOTES)
    assert any("2 train rows without a vote" in note.text for note in task.notes)


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        ([*VOTES, (3, -2, 1)], "'-2'"),
        ([*VOTES, (3, "many", 1)], "'many'"),
        ([(1, 2, 3)] * 6, "same votes"),
    ],
)
def test_what_are_no_votes_is_a_mistake(tmp_path, votes, words):
    with pytest.raises(Mistake, match=words):
        read_folder(polled(tmp_path, votes), KL)


def test_a_metric_of_classes_points_to_the_one_of_votes(tmp_path):
    with pytest.raises(Mistake, match="kl-divergence for votes"):
        read_folder(polled(tmp_path, VOTES), metric("label"))


def test_the_constant_answer_is_the_mean_share(tmp_path):
    task = read_folder(polled(tmp_path, VOTES), KL)
    assert np.allclose(constant_prediction(task), task.soft.mean(0))
    publish_constant(task, Goal(KL, task.kind), tmp_path)
    with open(tmp_path / "submission.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "calm_vote", "spike_vote", "other_vote"]
    assert np.array(rows)[:, 1:].astype(float).sum(1) == pytest.approx(1)


def electorate(n, seed=0):
    """Shares of ten votes a row, and trials that see the chances behind them through noise of their own."""
    r = np.random.default_rng(seed)
    z = r.normal(size=(n, 3))
    votes = np.array([r.multinomial(10, p) for p in softmax(z, axis=1)]) / 10
    return votes, [trial(i, softmax(z + r.normal(size=z.shape), axis=1)) for i in range(3)], z


@pytest.mark.parametrize("method", ["mean", "greedy", "linear", "linear+metadata", "lightgbm", "lightgbm+metadata"])
def test_every_blender_learns_shares(method):
    n = 2000 if "lightgbm" in method else 300
    votes, trials, z = electorate(n)
    table = Metadata(("a", "b"), ((), ()), z[:, :2], z[:7, :2])
    blend = blend_of(trials, TrainRows(Goal(KL, "multiclass"), votes, np.arange(n) % 5, metadata=table), allow=[method])
    single = blend_of(trials, TrainRows(Goal(KL, "multiclass"), votes, np.arange(n) % 5), allow=["best"])
    assert blend.method == method
    assert blend.score > single.score
    assert np.allclose(blend.test.sum(1), 1)
    # as likely as it says: its mean share of a class is that of the votes
    assert np.allclose(np.asarray(blend.oof).mean(0), votes.mean(0), atol=0.03)
