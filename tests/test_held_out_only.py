"""Nets that are only compared predict their held-out rows alone; whatever is to be a member predicts the test rows."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fakes import BOXED, SITUATIONS, World, situation, trial
from nets import CPU, TINY, material_of

from autoclimb.arrays import read_predictions
from autoclimb.blend.members import members_of
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.faults import OutOfTime
from autoclimb.learn.trial import run_trial
from autoclimb.run import store
from autoclimb.search.cost import cost_of, predict_seconds, speed_of
from autoclimb.search.effects import adopted, single_fold
from autoclimb.search.fidelity import THIRD, epochs_in, finalist_epochs
from autoclimb.search.order import plan_of
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import SEARCHING
from autoclimb.types import History

SEARCH = ("baseline", *SEARCHING)
HOURS = {"a card, with the hub": 4.0, "a processor, with weights": 8.0}


def climbed(name: str, plan=None, **changes) -> tuple[World, History]:
    world = World(situation(**{**SITUATIONS[name], "budget": 3600.0 * HOURS[name]}), **changes)
    return world, world.climb(plan_of(plan))[0]


@pytest.mark.parametrize("name", HOURS)
def test_trials_of_the_search_predict_no_test_rows_and_all_others_do(name):
    _, history = climbed(name)
    nets = [t for t in history.trials if t.config.train == "net"]
    assert {t.stage for t in nets} > {"baseline", "backbone", "finalists"}
    for t in history.trials:
        assert t.config.predict_test == (t.config.train == "features" or t.stage not in SEARCH)


def test_a_net_of_the_search_predicts_them_where_no_features_stand_for_it():
    space = SearchSpace(features=False)
    world = World(situation(**SITUATIONS["a card, with the hub"], budget=4 * 3600.0, space=space))
    history, _ = world.climb(plan_of(None))
    assert history.trials[0].stage == "baseline"
    assert history.trials[0].config.predict_test


def test_where_no_finalist_could_be_trained_the_best_net_of_the_search_predicts_them():
    name = "a card, with the hub"

    def ends(config: Config) -> str:
        trained = world.nets.get(config.vary(predict_test=False, folds=()))
        return "done" if config.train == "features" or not config.predict_test or trained else "failed"

    world = World(situation(**SITUATIONS[name], budget=3600.0 * HOURS[name]), ends=ends)
    history, _ = world.climb(plan_of(None))
    compared = [t for t in history.done(train="net") if not t.config.predict_test]
    answered = history.done(train="net", predict_test=True)
    best = max(compared, key=lambda t: t.score)
    assert best.config.vary(predict_test=True) in [t.config for t in answered]


def again(history: History, s) -> Iterator[list[Config]]:
    """A user's own stage: the best net from another seed."""
    best = history.best(train="net")
    assert best is not None
    yield [best.config.vary(seed=77)]


def test_a_users_stage_gets_members_of_the_blend_whatever_it_varies():
    _, history = climbed("a card, with the hub", ["baseline", "backbone", again, "finalists"])
    (own,) = [t for t in history.trials if t.stage == "again"]
    assert own.config.predict_test
    assert not all(t.config.predict_test for t in history.trials)


def test_without_finalists_every_net_predicts_the_test_rows():
    _, history = climbed("a card, with the hub", ["baseline", "augmentation", "refine"])
    assert {t.stage for t in history.done(train="net")} == {"baseline", "augmentation", "refine"}
    assert all(t.config.predict_test for t in history.trials)


def test_a_change_that_a_users_stage_compares_is_adopted_though_its_net_predicts_the_test_rows():
    def row_losses(t):
        return np.random.default_rng(0).gamma(2.0, 0.5, 800) * (0.7 if t.config.policy == "trivial" else 1.0)

    base = Config(seconds=60.0, size=96, predict_test=False)
    own = base.vary(policy="trivial", predict_test=True)
    history = History([trial(base, "baseline"), trial(own, "own")])
    assert adopted(history, base, situation(row_losses=row_losses)).policy == "trivial"


def test_a_net_that_was_compared_and_predicted_the_test_rows_later_is_compared_once():
    base = Config(seconds=60.0, size=96, predict_test=False)
    history = History([trial(c, "stage") for c in (base, base.vary(mixup=0.3), base.vary(predict_test=True))])
    assert [t.config for t in single_fold(history, base)] == [base, base.vary(mixup=0.3)]


def finals(history: History, s) -> Iterator[list[Config]]:
    """A user's own finalists: the best net over all folds."""
    best = history.best(train="net")
    assert best is not None
    yield [best.config.vary(folds=tuple(range(s.folds)))]


@pytest.mark.parametrize("own", [False, True], ids=["finalists", "the user's finalists"])
def test_the_search_predicts_the_test_rows_where_finalists_come_before_it(own):
    name = "a card, with the hub"
    last = ("finalists", finals) if own else "finalists"
    before, after = (climbed(name, plan)[1] for plan in (["baseline", last, "loss"], ["baseline", "loss", last]))
    assert {t.stage for t in before.trials} == {t.stage for t in after.trials} == {"baseline", "loss", "finalists"}
    assert all(t.config.predict_test for t in before.trials)
    assert not any(t.config.predict_test for t in after.trials if t.stage == "loss")


@pytest.mark.parametrize(
    ("plan", "features"), [(None, True), (None, False), (SEARCH, True)], ids=["usual", "no features", "no finalists"]
)
def test_a_search_trial_has_time_for_the_test_rows_where_it_predicts_them(plan, features):
    """At any ratio of test rows to train rows: on a ladder of seconds a single one may fit by chance."""
    moves = set()
    for times in (0.5, 1, 2, 3, 4):
        values = SITUATIONS["a card, with the hub"]
        answered = int(times * values["rows"])
        s = situation(**values, budget=4 * 3600.0, answered=answered, space=SearchSpace(features=features))
        history, _ = World(s).climb(plan_of(plan))
        for t in [t for t in history.done(train="net") if t.stage in SEARCH]:
            assert epochs_in(t.config.seconds, t.config, s) >= finalist_epochs(t.config, s) / THIRD
        moves |= {t.stage for t in history.done(train="net")}
    assert moves >= {"baseline", "augmentation", "backbone"}


def test_a_net_that_was_compared_costs_its_predictions_alone():
    s = situation(pretrained=BOXED, answered=5000)
    config = Config(backbone="resnet18", size=64, seconds=90.0)
    compared = config.vary(predict_test=False)
    assert predict_seconds(config, s) - predict_seconds(compared, s) == pytest.approx(
        5000 / speed_of(config, s).predict
    )
    after = replace(s, folds_done=lambda asked: int(not asked.predict_test))
    both = [cost_of(config, where) for where in (s, after)]
    assert both[0] - both[1] == pytest.approx(90.0 - 5000 / speed_of(config, s).predict)
    assert cost_of(compared, after) < both[1]


def test_the_space_cannot_decide_what_the_search_decides():
    with pytest.raises(Mistake, match="predict_test"):
        SearchSpace(start={"predict_test": False})
    with pytest.raises(Mistake, match="predict_test"):
        SearchSpace(also={"predict_test": [True, False]})


# --- in training -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_fp32")
@pytest.mark.parametrize("tta", ["none", "auto"])
def test_a_net_that_was_compared_predicts_the_test_rows_later_as_it_would_have_at_once(tmp_path, tta):
    material = material_of(160, 12)
    config = TINY.vary(epochs=2, tta=tta, folds=(0, 1))
    compared = config.vary(predict_test=False)

    def ran(config: Config, name: str) -> dict:
        return run_trial(config, material, tmp_path / name, tmp_path / f"nets of {name[0]}", tmp_path, CPU)

    assert ran(config, "at once")["status"] == "done"
    first = ran(compared, "compared")
    assert first["status"] == "done"
    assert not (tmp_path / "compared" / "test.npy").exists()
    trained = (tmp_path / "nets of c" / "fold0.safetensors").read_bytes()
    assert ran(config, "continued")["facts"]["train_s"] == first["facts"]["train_s"]
    assert (tmp_path / "nets of c" / "fold0.safetensors").read_bytes() == trained
    for name in ("compared", "continued"):
        oof, expected = (np.asarray(read_predictions(tmp_path / n / "oof")) for n in (name, "at once"))
        np.testing.assert_array_equal(oof, expected)
    test, expected = (np.load(tmp_path / n / "test.npy") for n in ("continued", "at once"))
    np.testing.assert_allclose(test, expected, atol=1e-6)
    ran(compared, "compared again")  # by nets that have predicted more than it asks for
    assert not (tmp_path / "compared again" / "test.npy").exists()


def test_a_net_whose_weights_are_gone_is_trained_again(tmp_path):
    material, config = material_of(), TINY.vary(epochs=1)
    run_trial(config.vary(predict_test=False), material, tmp_path / "out", tmp_path, tmp_path, CPU)
    (tmp_path / "fold0.safetensors").unlink()
    assert run_trial(config, material, tmp_path / "out", tmp_path, tmp_path, CPU)["status"] == "done"
    assert np.isfinite(np.load(tmp_path / "out" / "test.npy")).all()
    assert (tmp_path / "fold0.safetensors").exists()


@pytest.fixture
def compared_net(tmp_path):
    """A tiny net of one fold that predicted its held-out rows: the material, the config that asks for test rows too."""
    material, config = material_of(24, 300), TINY.vary(epochs=1)
    run_trial(config.vary(predict_test=False), material, tmp_path / "compared", tmp_path, tmp_path, CPU)
    return material, config


def test_a_net_that_predicts_the_test_rows_later_is_not_silent_meanwhile(compared_net, tmp_path):
    material, config = compared_net
    events = []
    run_trial(config, material, tmp_path / "out", tmp_path, tmp_path, CPU, events.append)
    assert [e for e in events if e.get("what") == "predicting"]  # a worker that is silent for minutes is ended


def test_a_deadline_that_cuts_off_late_predictions_of_test_rows_leaves_the_net_as_it_was(compared_net, tmp_path):
    material, config = compared_net
    times = iter(range(1000))  # seconds, one each time that the clock is read
    reply = run_trial(
        config, material, tmp_path / "out", tmp_path, tmp_path, CPU, now=lambda: float(next(times)), seconds=12.0
    )
    assert (reply["status"], reply["facts"]["fault"]) == ("late", "late")
    trained = (tmp_path / "fold0.safetensors").read_bytes()
    assert run_trial(config, material, tmp_path / "out", tmp_path, tmp_path, CPU)["status"] == "done"
    assert np.isfinite(np.load(tmp_path / "out" / "test.npy")).all()
    assert (tmp_path / "fold0.safetensors").read_bytes() == trained


def test_a_net_whose_weights_are_gone_is_trained_for_all_of_its_seconds(compared_net, tmp_path, monkeypatch):
    material, config = compared_net
    asked = []

    def run_fold(config, seconds, *others):
        asked.append(seconds)
        raise OutOfTime("long enough to see")

    monkeypatch.setattr("autoclimb.learn.fold.run_fold", run_fold)
    timed = config.vary(epochs=0.0, seconds=50.0)
    (tmp_path / "fold0.safetensors").unlink()
    run_trial(timed, material, tmp_path / "out", tmp_path, tmp_path, CPU, now=lambda: 0.0)
    assert asked == [50.0]


# --- on disk ---------------------------------------------------------------------------------------------------------


def test_on_disk_a_fold_is_done_when_it_predicted_what_is_asked_for(tmp_path):
    config = Config(folds=(0, 1))
    compared, nets = config.vary(predict_test=False), store.nets_folder(tmp_path, config)
    assert nets == store.nets_folder(tmp_path, compared)
    nets.mkdir(parents=True)
    (nets / "fold0.json").write_text("{}")
    assert (store.folds_done(tmp_path, config), store.folds_done(tmp_path, compared)) == (0, 1)
    (nets / "fold0.npz").write_bytes(b"")
    assert (store.folds_done(tmp_path, config), store.folds_done(tmp_path, compared)) == (1, 1)


@pytest.mark.parametrize("forget", [store.forget_weights, partial(store.limit_weights, limit=0.0)])
def test_without_its_weights_a_net_that_was_compared_is_to_be_trained_again(tmp_path, forget):
    config = Config(folds=(0, 1))
    compared, nets = config.vary(predict_test=False), store.nets_folder(tmp_path, config)
    nets.mkdir(parents=True)
    for name in ("fold0.json", "fold0.npz", "fold1.json", "fold1-held-out.npz"):
        (nets / name).write_text("{}")
    for fold in config.folds:
        (nets / f"fold{fold}.safetensors").write_bytes(b"w")
    assert (store.folds_done(tmp_path, config), store.folds_done(tmp_path, compared)) == (1, 2)
    forget(tmp_path, keep=set())
    assert not list(nets.glob("*.safetensors"))
    assert (store.folds_done(tmp_path, config), store.folds_done(tmp_path, compared)) == (1, 1)


def test_a_trial_without_test_predictions_is_no_member():
    p = np.full((4, 2), 0.5)
    trials = [replace(trial(Config(seed=i, lr=1e-3 * (i + 1))), oof=p, test=p if i else None) for i in range(2)]
    assert [m.trials[0].config.seed for m in members_of(trials)] == [1]
