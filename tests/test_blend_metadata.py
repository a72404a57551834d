"""Stackers that read columns beside the pictures."""

import json

import numpy as np
import pytest
from folders import picture
from folders import task as toy
from test_blend import softmax, trial

from autoclimb.arrays import write_predictions
from autoclimb.blend.blenders import BLENDERS
from autoclimb.blend.choose import apply_blend, blend_of, needs_metadata
from autoclimb.blend.metadata import fitted_linear
from autoclimb.blend.rows import Beside, Rows
from autoclimb.disk import write_array, write_json
from autoclimb.run import store
from autoclimb.run.result import describe_task, open_run
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Form, Goal, Metadata

pytestmark = pytest.mark.long

READ = [name for name, b in BLENDERS.items() if b.needs_metadata]


def columns(seed, n, signal=None):
    """A number, words and a column of blanks for n train rows and 7 test rows; `signal` is hidden in the first two."""
    r = np.random.default_rng(seed)
    signal = r.normal(size=n) if signal is None else signal
    words = np.where(signal + r.normal(size=n) * 0.5 > 0, 0.0, 1.0)
    values = np.column_stack([signal + r.normal(size=n) * 0.3, words, np.full(n, np.nan)])
    values[r.random(n) < 0.2, 0] = np.nan
    return Metadata(("age", "site", "empty"), ((), ("arm", "leg", "torso"), ()), values, values[:7].copy())


def world(kind, n, seed=0):
    """Truth that pictures tell half of; trials that saw them; the half they did not see."""
    r = np.random.default_rng(seed)
    seen, hidden = r.normal(size=(2, n)) * 1.5
    noise = [r.normal(size=n) for _ in range(2)]
    if kind == "regression":
        return seen + hidden, [trial(i, (seen + e)[:, None]) for i, e in enumerate(noise)], hidden
    if kind == "multilabel":
        z = [np.column_stack([seen, -seen]) + e[:, None] for e in noise]
        truth = np.column_stack([seen + hidden > 0, hidden - seen > 0]).astype(np.uint8)
        return truth, [trial(i, 1 / (1 + np.exp(-v))) for i, v in enumerate(z)], hidden
    if kind == "binary":
        z = [np.column_stack([np.zeros(n), seen + e]) for e in noise]
        return (seen + hidden > 0).astype(int), [trial(i, softmax(v)) for i, v in enumerate(z)], hidden
    z = [np.column_stack([np.zeros(n), seen + e, np.zeros(n)]) for e in noise]
    truth = np.column_stack([np.zeros(n), seen, hidden]).argmax(1)
    return truth, [trial(i, softmax(v)) for i, v in enumerate(z)], hidden


CASES = [("log-loss", "multiclass"), ("auc", "binary"), ("f2", "multilabel"), ("rmse", "regression")]


def blended(kind, name, n, metadata, seed=0, **more):
    truth, trials, hidden = world(kind, n, seed)
    table = metadata(hidden)
    return trials, blend_of(
        trials, TrainRows(Goal(metric_named(name), kind), truth, np.arange(n) % 5, metadata=table), **more
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("log-loss", "multiclass"), ("auc", "binary"), ("log-loss", "multilabel"), ("rmse", "regression")],
)
def test_columns_that_tell_what_pictures_do_not_are_taken_and_the_promise_holds(name, kind):
    trials, blend = blended(kind, name, 200, lambda hidden: columns(1, 200, hidden))
    assert blend.method == "linear+metadata"
    assert needs_metadata(blend)
    plain = max(score for method, score in blend.tried.items() if not BLENDERS[method].needs_metadata)
    assert blend.score > plain + 2 * blend.stderr
    assert blend.test.shape == trials[0].test.shape
    truth, fresh, hidden = world(kind, 2000, seed=1)  # rows that no fit has seen
    members = {t.key: t.oof for t in fresh}
    predicted = apply_blend(blend, [members[key] for key in blend.members], columns(2, 2000, hidden).train)
    rescored = cross_fitted_score(TrainRows(Goal(metric_named(name), kind), truth, np.arange(2000) % 5), predicted)
    assert abs(rescored.score - blend.score) < 4 * blend.stderr


def test_columns_of_pure_noise_are_seldom_taken_and_cost_little():
    taken = []
    for seed in range(12):
        n = 120
        _, blend = blended("binary", "log-loss", n, lambda _, s=seed: columns(100 + s, 120), seed=seed)
        taken.append(needs_metadata(blend))
        assert blend.tried["linear+metadata"] > blend.tried["linear"] - 0.05
    assert sum(taken) <= 3  # at equal skill a sixth would be


def test_how_much_columns_may_say_is_tried_on_groups_of_their_own():
    """What a patient's other pictures say of noise in a patient's columns is no reason to believe it."""
    goal, groups = Goal(metric_named("log-loss"), "binary"), np.repeat(np.arange(40), 8)
    sizes = {}
    for known in (None, groups):
        sizes[known is None] = []
        for seed in range(4):
            r = np.random.default_rng(seed)
            truth = r.integers(0, 2, 40)[groups]
            p = softmax(np.column_stack([np.zeros(320), 2 * truth - 1 + r.normal(size=320)]))
            beside = Beside(r.normal(size=(40, 12))[groups], (0,) * 12)
            rows = Rows(goal, (p,), truth, np.arange(320), 1.0, beside, known)
            sizes[known is None].append(np.abs(fitted_linear(rows)["effects"]).mean())
    assert np.mean(sizes[False]) < 0.5 * np.mean(sizes[True])


@pytest.mark.parametrize("method", READ)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_blend_with_metadata_comes_back_from_json(method, name, kind):
    n = BLENDERS[method].fewest_rows
    trials, blend = blended(kind, name, n, lambda hidden: columns(1, n, hidden), allow=[method])
    assert blend.method == method
    assert np.isfinite(blend.oof).all()
    stacker = json.loads(json.dumps(blend.stacker))
    members = {t.key: t for t in trials}
    tests = [members[key].test for key in blend.members]
    beside = columns(1, n, world(kind, n)[2]).test
    assert np.allclose(apply_blend(stacker, tests, beside), blend.test)
    if kind in ("binary", "multiclass"):
        assert np.allclose(blend.test.sum(1), 1)


@pytest.mark.parametrize("method", READ)
def test_blanks_and_words_never_seen_are_answered(method):
    n = BLENDERS[method].fewest_rows
    trials, blend = blended("binary", "auc", n, lambda hidden: columns(1, n, hidden), allow=[method])
    tests = [t.test for key in blend.members for t in trials if t.key == key]
    nothing = np.full((7, 3), np.nan)
    torso = np.column_stack([np.zeros(7), np.full(7, 2.0), np.zeros(7)])  # a word that no train row has
    for beside in (nothing, torso, torso * 1e6):
        predicted = apply_blend(blend, tests, beside)
        assert np.isfinite(predicted).all()
        assert np.allclose(predicted.sum(1), 1)


@pytest.mark.parametrize("method", READ)
def test_without_its_columns_a_blend_answers_as_the_linear_stacker(method):
    n = BLENDERS[method].fewest_rows
    trials, blend = blended("multiclass", "log-loss", n, lambda hidden: columns(1, n, hidden), allow=[method])
    _, plain = blended("multiclass", "log-loss", n, lambda _: None, allow=["linear"])
    members = {t.key: t for t in trials}
    assert blend.members == plain.members
    assert np.allclose(apply_blend(blend, [members[key].test for key in blend.members]), plain.test)


def test_a_single_trial_is_blended_with_metadata():
    truth, trials, hidden = world("binary", 200)
    metric, table = metric_named("auc"), columns(1, 200, hidden)
    blend = blend_of(trials[:1], TrainRows(Goal(metric, "binary"), truth, np.arange(200) % 5, metadata=table))
    assert blend.method == "linear+metadata"
    assert blend.members == (trials[0].key,)


def test_no_metadata_stacker_is_tried_without_metadata_or_in_haste():
    _, blend = blended("binary", "auc", 200, lambda _: None)
    assert not set(blend.tried) & set(READ)
    _, blend = blended("binary", "auc", 200, lambda hidden: columns(1, 200, hidden), quick=True)
    assert not set(blend.tried) & set(READ)


class Answering:
    """A worker that gives every picture the same chances."""

    def __init__(self, *words):
        pass

    def greet(self, hello, seconds):
        return {}

    def ask(self, request, seconds):
        np.save(request["save"], np.array([[0.8, 0.2]] * 2))

    def end(self):
        pass


def test_new_pictures_come_without_the_columns_and_predict_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.run.result.Worker", Answering)
    trials, blend = blended("binary", "auc", 200, lambda hidden: columns(1, 200, hidden), allow=["linear+metadata"])
    form = Form(("id", "label"), ("t",) * 7, "number")
    task = toy("binary", classes=("no", "yes"), form=form, metadata=columns(1, 200))
    store.open_folder(tmp_path)
    for t in trials:
        place = store.trial_folder(tmp_path, t.config)
        place.mkdir(parents=True)
        write_predictions(place / "oof", t.oof)
        write_array(place / "test.npy", t.test)
        store.save_trial(tmp_path, t)
        nets = store.nets_folder(tmp_path, t.config)
        nets.mkdir(parents=True)
        (nets / "fold0.safetensors").touch()
    write_json(tmp_path / "task.json", describe_task(task))
    write_json(tmp_path / "run.json", {"format": store.FORMAT, "metric": {"name": "roc-auc"}, "spent": 1.0})
    rule = learn_rule(Goal(metric_named("auc"), "binary"), world("binary", 200)[0], blend.oof)
    store.save_blend(tmp_path, blend, rule.to_json())
    new = [picture(tmp_path / "new" / f"{i}.png") for i in range(2)]
    events = []
    answers = open_run(tmp_path).predict(new, tell=events.append)
    assert answers["id"].tolist() == ["0", "1"]
    plain = apply_blend(blend, [np.array([[0.8, 0.2]])] * len(blend.members))[0, 1]
    assert answers["label"].tolist() == pytest.approx([plain] * 2)
    assert [e.text for e in events if e.name == "note"] == [
        "answered without the columns that linear+metadata also reads (age, site, empty)"
    ]
