"""The bank: recorded trials stand for those that the controller asks for, and never for longer ones unasked."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import task

import autoclimb
from autoclimb.data.folds import make_folds
from autoclimb.types import Config

HERE = Path(__file__).parent.parent / "benchmarks"
N, M = 200, 40


@pytest.fixture(scope="module")
def bank():
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location("bank", HERE / "bank.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bank"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(HERE))
    del sys.modules["bank"]


@pytest.fixture(scope="module")
def competition():
    return task(target=np.arange(N) % 3, test_ids=[f"t{i}" for i in range(M)])


def predictions(config: Config, target: np.ndarray, skill: float) -> np.ndarray:
    draw = np.random.default_rng(int(config.key[:8], 16))
    logits = skill * np.eye(3)[target] + draw.normal(size=(len(target), 3))
    p = np.exp(logits)
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def records(bank, competition):
    """Every row of the bank with made-up predictions: the longer the better, features worse than nets."""
    found = []
    for config in bank.rows():
        skill = 1.0 if config.train == "features" else 1.0 + 0.3 * np.log2(config.epochs)
        oof = predictions(config, competition.target, skill)
        test = predictions(config, np.arange(M) % 3, skill)
        rate = 0.0 if config.train == "features" else 800.0 * (64 / config.size) ** 2
        found.append(bank.Record(config, 10.0, config.epochs, rate, oof, test))
    return found


def test_a_bank_has_two_dozen_trainings_of_several_nets_sizes_and_lengths(bank):
    configs = bank.rows()
    nets = [config for config in configs if config.train == "net"]
    assert len({config.key for config in configs}) == len(configs)
    assert len(nets) >= 24
    assert len({(config.backbone, config.model_args) for config in nets}) >= 5
    assert {config.folds for config in configs} == {(0, 1, 2, 3, 4)}


def test_the_most_similar_recording_stands_in_and_a_shorter_one_before_a_longer_one(bank, records):
    scratch = next(r.config for r in records if r.config.train == "net" and not r.config.weights)
    assert bank.stand_in(records, scratch.vary(policy="trivial", folds=(0,)), 15.0).config.policy == "trivial"
    assert bank.stand_in(records, scratch, 26.0).epochs == 15.0
    assert bank.stand_in(records, scratch, 40.0).epochs == 45.0
    assert bank.stand_in(records, scratch.vary(backbone="convnext_nano"), 40.0) is None


@pytest.mark.parametrize("solver", ["autoclimb", "fixed", "random", "no stages"])
def test_a_solver_is_replayed_within_its_budget_and_with_its_own_predictions(bank, records, competition, solver):
    fold_of = make_folds(competition, 5, 0, np.zeros(N, bool))
    metric = autoclimb.metric_named("accuracy")
    ended = bank.replay(records, fold_of, competition, metric, 300.0, bank.SOLVERS[solver])
    assert ended.seconds <= 300.0
    assert ended.trials >= 1
    assert ended.test.shape == (M, 3)
    assert 0.34 < ended.score <= 1.0


def test_a_bank_is_one_small_file_that_is_read_back(bank, records, tmp_path):
    kept = records[:3]
    (tmp_path / "run").mkdir()
    np.save(tmp_path / "run" / "fold_of.npy", np.arange(N) % 5)
    for i, record in enumerate(kept):
        trial = autoclimb.Trial(record.config, "record", "done", 0.5, 0.1, 10.0 + i, facts={"epochs": record.epochs})
        place = bank.store.trial_folder(tmp_path / "run", record.config)
        place.mkdir(parents=True)
        np.save(place / "oof.npy", record.oof)
        np.save(place / "test.npy", record.test)
        bank.store.save_trial(tmp_path / "run", trial)
    read, fold_of = bank.load(bank.compact(tmp_path / "run", tmp_path / "set.npz"))
    assert {r.config.key for r in read} == {r.config.key for r in kept}
    assert fold_of.tolist() == (np.arange(N) % 5).tolist()
    assert np.allclose(read[0].oof, next(r.oof for r in kept if r.config == read[0].config), atol=1e-3)
