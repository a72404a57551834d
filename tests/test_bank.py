"""The bank: recorded trials stand for those that the controller asks for, and never for longer ones unasked."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folders import task

import autoclimb
from autoclimb.arrays import write_predictions
from autoclimb.data.folds import make_folds
from autoclimb.disk import write_json
from autoclimb.types import Config, Goal

HERE = Path(__file__).parent.parent / "benchmarks"
N, M, FOLDS = 200, 40, 5


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
    rows = []
    for config in bank.rows():
        skill = 1.0 if config.train == "features" else 1.0 + 0.3 * np.log2(config.epochs)
        oof = predictions(config, competition.target, skill)
        test = np.stack([predictions(config.vary(seed=k), np.arange(M) % 3, skill) for k in range(FOLDS)])
        rows.append(bank.Record(config, {"skill": 0.5, "mirror": 1.0, "turn": 2.0, "img_s": 7.0}, oof, test))
    return rows


@pytest.fixture(scope="module")
def known(bank, competition, records):
    metric = autoclimb.metric_named("accuracy")
    fold_of = make_folds(competition, FOLDS, 0, np.zeros(N, bool))
    facts = autoclimb.plan(competition, metric=metric, budget="60s").situation
    goal = Goal(metric, "multiclass")
    return bank.Known("toy", competition, goal, np.arange(M) % 3, records, fold_of, facts)


def test_a_bank_has_two_dozen_trainings_of_several_nets_sizes_and_lengths(bank):
    configs = bank.rows()
    nets = [config for config in configs if config.train == "net"]
    assert len({config.key for config in configs}) == len(configs)
    assert len(nets) >= 24
    assert len({(config.backbone, config.model_args) for config in nets}) >= 5
    assert {config.folds for config in configs} == {(0, 1, 2, 3, 4)}


def test_a_bank_that_was_cut_short_has_both_starts_and_lengths(bank):
    nets = [config for config in bank.rows()[:14] if config.train == "net"]
    assert {(bool(c.weights), c.epochs) for c in nets} == {(w, e) for w, es in bank.EPOCHS.items() for e in es}


def test_the_most_similar_recording_stands_in_and_a_shorter_one_before_a_longer_one(bank, records):
    scratch = next(r.config for r in records if r.config.train == "net" and not r.config.weights)
    assert bank.stand_in(records, scratch.vary(policy="trivial", folds=(0,)), 15.0).config.policy == "trivial"
    assert bank.stand_in(records, scratch, 24.0).epochs == 15.0
    assert bank.stand_in(records, scratch, 35.0).epochs == 40.0


def test_another_net_stands_in_for_one_that_was_not_recorded_its_family_first(bank, records):
    nets = [r for r in records if r.config.train == "net"]
    assert (
        bank.stand_in(records, nets[0].config.vary(backbone="resnet18d", model_args=()), 40.0).config.backbone[:6]
        == "resnet"
    )
    tuned = next(r.config for r in nets if r.config.weights)
    assert bank.stand_in(records, tuned.vary(backbone="tf_efficientnet_lite1"), 4.0).config.weights == "box"
    assert bank.stand_in(nets, Config(train="features", backbone="gradients"), 0.0) is None


def test_seeds_take_turns_among_those_recorded(bank, records):
    base = next(r.config for r in records if r.config.train == "net" and not r.config.weights)
    seeds = [bank.stand_in(records, base.vary(seed=seed), 40.0).config.seed for seed in (0, 1, 100, 200)]
    assert seeds == [0, 1, 1, 0]


@pytest.mark.parametrize("name", ["fixed", "random", "autoclimb", "no stages", "no probe", "no halving", "no blend"])
def test_a_solver_is_replayed_within_its_budget(bank, known, name):
    ended = bank.replay(known, bank.SOLVERS[name], 300.0, 0, {})
    assert ended.seconds <= 300.0
    assert ended.trials >= 1
    assert 0.34 < ended.score <= 1.0
    assert 0.34 < ended.test <= 1.0


def test_a_replay_takes_its_times_from_the_rates_not_from_the_recording(bank, known):
    slow = [replace(record, facts={**record.facts, "img_s": 0.1}) for record in known.records]
    first, other = (bank.replay(k, bank.SOLVERS["fixed"], 300.0, 0, {}) for k in (known, replace(known, records=slow)))
    assert (first.seconds, first.test) == (other.seconds, other.test)
    config = bank.rows()[-1]
    rates = {bank.speed_key(config): {"train": 100.0, "predict": 300.0}}
    assert bank.quiet_speed(rates, None, config).train == 100.0
    assert bank.quiet_speed(rates, None, config.vary(size=2 * config.size)).train == 25.0
    assert bank.quiet_speed({}, lambda c: "a dry run's", config) == "a dry run's"


def test_a_trial_of_one_fold_answers_by_one_net(bank, known):
    def one_fold(history, s):
        yield [Config(backbone="resnet10t", folds=(2,), seconds=30.0)]

    ended = bank.replay(known, bank.Solver((one_fold,)), 300.0, 0, {})
    record = bank.stand_in(known.records, Config(backbone="resnet10t"), 0.0)
    assert ended.trials == 1
    assert ended.test != pytest.approx(known.goal.score(known.truth, record.test.mean(0).argmax(1)))


def test_the_summary_pairs_by_set_and_seed(bank):
    goal = Goal(autoclimb.metric_named("accuracy"), "multiclass")
    tests = {"fixed": (0.80, 0.70), "autoclimb": (0.90, 0.80)}
    ended = {
        ("toy", 300.0, solver, seed): bank.Replay(test + 0.05, 0.01, test, 300.0, 3)
        for solver, values in tests.items()
        for seed, test in enumerate(values)
    }
    rows = list(bank.summary(ended, {"toy": goal}, ["fixed"]))
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip(" |\n").split("|")]
    assert cells[:6] == ["5m00s", "autoclimb", "fixed", "2", "+0.1000", "0.0000"]
    assert float(cells[6]) == pytest.approx((0.1 / 0.2 * 0.2 / 0.3) ** 0.5, abs=1e-3)
    assert cells[7] == "-0.0500"


@pytest.mark.slow
def test_a_set_is_recorded_goes_on_where_it_was_stopped_and_is_replayed(bank, tmp_path, capsys):
    from benches import suite_file

    suite = suite_file(tmp_path, {})
    plain = Config(train="features", backbone="gradients", size=64, folds=(0, 1, 2, 3, 4))
    net = Config(backbone="resnet10t", model_args=(("channels", (8, 8, 8, 8)),), size=32, epochs=1.0, folds=plain.folds)
    bank.record_set(suite, "pets", tmp_path / "bank", [plain])
    path = bank.record_set(suite, "pets", tmp_path / "bank", [plain, net])
    assert capsys.readouterr().out.count("pets 1/") == 1
    known = bank.known_set(suite, "pets", path)
    assert [r.config.key for r in known.records] == sorted([plain.key, net.key])
    assert known.records[0].test.shape == (FOLDS, 24, 3)
    ended = bank.replay(known, bank.SOLVERS["autoclimb"], 300.0, 0, {})
    assert 0 <= ended.test <= 1
    rates = bank.measure_rates(suite, "pets", tmp_path / "bank" / "pets.trials", {}, [net])
    assert rates[bank.speed_key(net)]["train"] > 0


def test_a_bank_is_one_small_file_that_is_read_back(bank, records, tmp_path):
    fold_of = np.arange(N) % FOLDS
    for record in records[:3]:
        place = tmp_path / "toy.trials" / record.config.key
        (place / "nets").mkdir(parents=True)
        write_predictions(place / "oof", record.oof)
        for k in range(FOLDS):
            np.savez(place / "nets" / f"fold{k}.npz", oof_pred=record.oof[fold_of == k], test_pred=record.test[k])
        reply = {"config": record.config.to_json(), "status": "done", "folds": FOLDS, "facts": record.facts}
        write_json(place / "reply.json", reply)
    late = tmp_path / "toy.trials" / "late"
    late.mkdir()
    write_json(late / "reply.json", {"config": {}, "status": "late", "folds": 2, "facts": {}})
    read, folds = bank.load(bank.compact(tmp_path / "toy.trials", tmp_path / "toy.npz", fold_of))
    assert {r.config.key for r in read} == {r.config.key for r in records[:3]}
    assert folds.tolist() == fold_of.tolist()
    own = next(r for r in records if r.config == read[0].config)
    assert np.allclose(read[0].oof, own.oof, atol=1e-3)
    assert np.allclose(read[0].test, own.test, atol=1e-3)
    assert read[0].facts == own.facts
