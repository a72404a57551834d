"""The run directory: what is on disk is whole or never happened."""

import contextlib
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import configs
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.arrays import OnDisk, write_predictions
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.disk import read_json, whole_file, write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.run import store
from autoclimb.types import Blend, Trial

OOF = np.array([[0.25, 0.75], [np.nan, np.nan], [0.5, 0.5]], np.float32)
TEST = np.array([[0.1, 0.9]], np.float32)
numbers = st.floats(allow_nan=False)
words = st.text(max_size=20)
facts = st.dictionaries(words, numbers | words | st.booleans() | st.integers(-9, 9), max_size=3)


def done(config: Config | None = None, score: float = 0.7, **more: Any) -> Trial:
    return Trial(config or Config(seconds=4.0), "baseline", "done", score, 0.01, 4.2, **more)


def saved(folder: Path, trial: Trial, oof: np.ndarray = OOF, test: np.ndarray = TEST) -> Path:
    """The trial's folder after the worker has put its arrays there and the parent its json."""
    place = store.trial_folder(folder, trial.config)
    place.mkdir(parents=True, exist_ok=True)
    write_predictions(place / "oof", oof)
    np.save(place / "test.npy", test)
    store.save_trial(folder, trial)
    return place


@pytest.fixture
def folder(tmp_path):
    return store.open_folder(tmp_path / "run")


# --- trials ---------------------------------------------------------------------------------------------------------


def test_a_trial_is_recalled_as_it_was(folder):
    saved(folder, done(note="fine", facts={"epochs": 3.5, "switched": True}))
    read = store.recall_trial(folder, Config(seconds=4.0))
    assert read is not None
    assert (read.config, read.stage, read.status) == (Config(seconds=4.0), "baseline", "done")
    assert (read.score, read.stderr, read.seconds, read.note) == (0.7, 0.01, 4.2, "fine")
    assert read.facts == {"epochs": 3.5, "switched": True}
    np.testing.assert_array_equal(read.oof, OOF)
    np.testing.assert_array_equal(read.test, TEST)


@settings(max_examples=30, deadline=None)
@given(config=configs(), score=st.floats(allow_nan=False), note=words, told=facts, stage=words)
def test_any_trial_survives_the_disk(config, score, note, told, stage):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trial = Trial(config, stage, "failed", score, 0.0, 1.5, note=note, facts=told)
        store.save_trial(folder, trial)
        read = store.recall_trial(folder, config)
        assert read is not None
        assert (read.config, read.key, read.score, read.note) == (config, config.key, score, note)
        assert (read.stage, read.facts) == (stage, told)


@settings(max_examples=50, deadline=None)
@given(configs())
def test_any_config_survives_json_with_its_key(config):
    read = Config.from_json(json.loads(json.dumps(config.to_json())))
    assert read == config
    assert read.key == config.key


def test_a_trial_that_was_not_asked_for_is_none(folder):
    assert store.recall_trial(folder, Config()) is None


def test_a_trial_without_its_json_never_happened(folder):
    place = saved(folder, done())
    (place / "trial.json").unlink()
    assert store.recall_trial(folder, Config(seconds=4.0)) is None
    assert store.all_trials(folder) == []


def test_the_json_comes_last(folder, monkeypatch):
    def torn(path: Path, values: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_json", torn)
    with pytest.raises(KeyboardInterrupt):
        saved(folder, done())
    assert store.recall_trial(folder, Config(seconds=4.0)) is None


def test_half_made_trials_are_cleared_away_and_whole_ones_stay(folder):
    place = saved(folder, done())
    half = store.trial_folder(folder, Config(seed=1))
    half.mkdir()
    (half / "oof.npy").write_bytes(b"half")
    (folder / "trials" / "stray.txt").write_text("not a folder")
    store.forget_unfinished(folder)
    assert place.is_dir()
    assert not half.exists()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_json_torn_anywhere_never_happened(data):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = saved(folder, done()) / "trial.json"
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        assert store.recall_trial(folder, Config(seconds=4.0)) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", "null", '{"status": "failed"}', '{"status": "done"}', "\0" * 80])
def test_a_damaged_json_never_happened(folder, text):
    (saved(folder, done()) / "trial.json").write_text(text)
    assert store.recall_trial(folder, Config(seconds=4.0)) is None
    assert store.all_trials(folder) == []


@pytest.mark.parametrize("name", ["oof.npy", "oof_place.npy", "test.npy"])
@pytest.mark.parametrize("contents", [None, b"", b"\x93NUMPY\x01\x00", b"garbage", b"\0" * 200])
def test_a_done_trial_without_whole_arrays_never_happened(folder, name, contents):
    path = saved(folder, done()) / name
    path.unlink() if contents is None else path.write_bytes(contents)
    assert store.recall_trial(folder, Config(seconds=4.0)) is None


def test_a_failed_trial_needs_no_arrays(folder):
    failed = replace(done(), status="failed", score=-np.inf, note="no memory")
    store.save_trial(folder, failed)
    read = store.recall_trial(folder, failed.config)
    assert read is not None
    assert (read.status, read.score, read.note, read.oof) == ("failed", -np.inf, "no memory", None)


def test_trials_are_listed_in_the_order_they_were_finished(folder):
    for number, seed in enumerate((5, 3, 4)):
        path = saved(folder, done(Config(seed=seed))) / "trial.json"
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    assert [trial.config.seed for trial in store.all_trials(folder)] == [5, 3, 4]


def test_forgetting_weights_keeps_the_members_and_every_prediction(folder):
    for seed in (1, 2):
        saved(folder, done(Config(seed=seed)))
        nets = store.nets_folder(folder, Config(seed=seed))
        nets.mkdir(parents=True)
        (nets / "fold0.safetensors").write_bytes(b"weights")
    store.forget_weights(folder, {Config(seed=1).key})
    member, gone = (store.nets_folder(folder, Config(seed=seed)) for seed in (1, 2))
    assert (member / "fold0.safetensors").exists()
    assert not (gone / "fold0.safetensors").exists()
    assert len(store.all_trials(folder)) == 2


def with_nets(folder, config, score, size=100, status="done"):
    trial = replace(done(config, score), status=status)
    saved(folder, trial)
    nets = store.nets_folder(folder, config)
    nets.mkdir(parents=True, exist_ok=True)
    (nets / "fold0.safetensors").write_bytes(b"w" * size)
    for name in ("fold0.npz", "fold0.json"):
        (nets / name).write_text("{}")


def test_beyond_the_limit_the_worst_trials_lose_their_weights_first_and_members_never(folder):
    scores = dict(enumerate((0.9, 0.5, 0.7, 0.6)))
    for seed, score in scores.items():
        with_nets(folder, Config(seed=seed), score)
    keep = {Config(seed=1).key}

    def left():
        return [seed for seed in scores if store.has_weights(folder, Config(seed=seed))]

    assert store.limit_weights(folder, keep, 400) == 400
    assert left() == [0, 1, 2, 3]
    assert store.limit_weights(folder, keep, 250) == 200
    assert left() == [0, 1]
    assert store.limit_weights(folder, keep, 50) == 100
    assert left() == [1]
    assert len(store.all_trials(folder)) == 4
    assert store.folds_done(folder, Config(seed=2)) == 1


def test_nets_of_trials_that_failed_go_before_those_of_any_other(folder):
    with_nets(folder, Config(seed=0), 0.1)
    with_nets(folder, Config(seed=1), -np.inf, status="failed")
    store.limit_weights(folder, set(), 150)
    assert store.has_weights(folder, Config(seed=0))
    assert not store.has_weights(folder, Config(seed=1))


def test_a_trial_over_more_folds_finds_the_nets_of_one_over_fewer(folder):
    one, more = Config(folds=(0,)), Config(folds=(0, 1))
    assert store.nets_folder(folder, one) == store.nets_folder(folder, more)
    assert store.trial_folder(folder, one) != store.trial_folder(folder, more)
    nets = store.nets_folder(folder, one)
    nets.mkdir(parents=True)
    for name in ("fold0.npz", "fold0.json"):
        (nets / name).write_text("{}")
    assert (store.folds_done(folder, one), store.folds_done(folder, more)) == (1, 1)


# --- one step ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_in_one_step_or_not_at_all(tmp_path):
    path = tmp_path / "speeds.json"
    write_json(path, {"old": 1})
    with contextlib.suppress(KeyboardInterrupt), whole_file(path) as part:
        part.write_text('{"ne')
        raise KeyboardInterrupt
    assert read_json(path) == {"old": 1}
    write_json(path, {"new": 2})
    assert read_json(path) == {"new": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["speeds.json"]


def test_what_cannot_be_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path) == {"old": 1}


def test_infinities_and_arrays_survive(tmp_path):
    write_json(tmp_path / "a.json", {"score": -np.inf})
    assert read_json(tmp_path / "a.json") == {"score": -np.inf}
    write_array(tmp_path / "a.npy", OOF)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), OOF)


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_new_and_an_empty_folder_are_opened(tmp_path):
    for name in ("new/deep", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        folder = store.open_folder(tmp_path / name)
        assert {p.name for p in folder.iterdir()} == {"trials", "cache"}
        assert not list((folder / "cache").iterdir())


def test_a_run_is_opened_again(folder):
    write_json(folder / "run.json", {"format": store.FORMAT})
    (folder / "submission.csv").write_text("id,label\n")
    assert store.open_folder(folder) == folder


def test_what_a_run_killed_in_its_first_moments_leaves_is_opened_again(folder):
    (folder / "worker.log").write_text("")
    (folder / ".part-7-run.json").write_text("{")
    assert store.open_folder(folder) == folder


def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(Mistake, match="other things"):
        store.open_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(Mistake, match="is a file"):
        store.open_folder(tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Mistake, match="cannot be written"):
        store.open_folder(tmp_path / "out")


def test_a_folder_below_a_file_is_a_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="cannot be written"):
        store.open_folder(tmp_path / "file" / "out")


def test_a_folder_without_run_json_is_no_run_yet(folder):
    assert store.read_run(folder) == {}
    assert store.read_blend(folder) is None


@pytest.mark.parametrize("text", ["", '{"format"', "[]", "null"])
def test_a_damaged_run_is_a_mistake_that_says_what_to_do(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(Mistake, match="--out"):
        store.read_run(folder)


def test_a_run_of_another_version_is_a_mistake(folder):
    write_json(folder / "run.json", {"format": store.FORMAT + 1})
    with pytest.raises(Mistake, match="another version"):
        store.read_run(folder)


# --- the blend --------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(score=numbers, tried=st.dictionaries(words, numbers, max_size=3), weights=st.lists(numbers, max_size=4))
def test_any_blend_survives_the_disk(score, tried, weights):
    members = tuple(Config(seed=i).key for i in range(len(weights)))
    blend = Blend("mean", members, tuple(weights), OOF, TEST, score, 0.02, 3, tried, {"picked": [0]})
    with tempfile.TemporaryDirectory() as temporary:
        store.save_blend(Path(temporary), blend, {"thresholds": [0.2]})
        stored = store.read_blend(Path(temporary))
    assert stored is not None
    read, rule = stored
    assert rule == {"thresholds": [0.2]}
    assert (read.method, read.members, read.weights, read.score) == ("mean", members, tuple(weights), score)
    assert (read.stderr, read.rows, read.tried, read.stacker) == (0.02, 3, tried, {"picked": [0]})
    np.testing.assert_array_equal(read.oof, OOF)
    np.testing.assert_array_equal(read.test, TEST)


def test_a_run_folder_may_be_moved(folder, tmp_path):
    saved(folder, done())
    shutil.move(folder, tmp_path / "elsewhere")
    assert len(store.all_trials(tmp_path / "elsewhere")) == 1


def test_looking_at_all_trials_reads_none_of_their_predictions(folder):
    for seed in range(3):
        saved(folder, done(Config(seed=seed)))
    for trial in store.all_trials(folder):
        assert len(trial.oof.values) == 2  # of three rows those that were predicted
        assert isinstance(trial.test, OnDisk)
        np.testing.assert_array_equal(trial.oof, OOF)


def test_a_trial_without_test_rows_is_read_back(folder):
    saved(folder, done(), test=np.zeros((0, 2), np.float32))
    read = store.recall_trial(folder, Config(seconds=4.0))
    assert read is not None
    assert read.test.shape == (0, 2)


def test_a_decision_is_taken_once_and_then_read(folder):
    path = folder / "decisions.json"
    assert store.recall(path, "a", lambda: 1) == 1
    assert store.recall(path, "a", lambda: 2) == 1
    assert store.recall(path, "b", lambda: 2) == 2


def test_what_a_run_wrote_about_itself_stays_when_more_is_written(folder):
    now = [0.0]
    clock = Clock(60.0, now=lambda: now[0], start=0.0)
    store.update_run(folder, clock, metric={"name": "accuracy"}, finished=False)
    now[0] = 7.0
    store.update_run(folder, clock, quick_blend=0.25)
    values = store.read_run(folder)
    assert (values["metric"], values["finished"], values["quick_blend"]) == ({"name": "accuracy"}, False, 0.25)
    assert (values["budget"], values["spent"]) == (60.0, 7.0)


def test_the_folds_that_a_longer_trial_had_finished_become_a_trial_of_their_own(folder):
    config = Config(folds=(0, 1, 2))
    place = store.trial_folder(folder, config)
    place.mkdir(parents=True)
    write_predictions(place / "oof", OOF)
    shorter = store.cut_short(folder, config, 2)
    assert shorter == config.vary(folds=(0, 1))
    assert not place.exists()
    assert (store.trial_folder(folder, shorter) / "oof.npy").exists()
    assert store.cut_short(folder, shorter, 2) == shorter
