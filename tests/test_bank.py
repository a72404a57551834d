"""The bank: recorded trials stand for those that the controller asks for, and never for longer ones unasked."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import task

import autoclimb
from autoclimb.arrays import write_predictions
from autoclimb.config import Config
from autoclimb.data.folds import make_folds
from autoclimb.run import store
from autoclimb.search.cost import trunk_seconds
from autoclimb.search.nets import from_scratch
from autoclimb.search.order import plan_of
from autoclimb.search.rehearsal import rehearse
from autoclimb.types import Goal, Trial

N, M, FOLDS = 200, 40, 5
MIRROR_IMAGES_HURT = {"skill": 0.5, "mirror": 2.0, "turn": 3.0, "mirrored_copies": [0.1, 0.02]}


@pytest.fixture(scope="module")
def bench(benchmark_named):
    """The modules of the bank."""
    names = ("bank", "bank_rows", "recordings", "replays", "speeds")
    return SimpleNamespace(**{name: benchmark_named(name) for name in names})


@pytest.fixture(scope="module")
def competition():
    return task(target=np.arange(N) % 3, test_ids=[f"t{i}" for i in range(M)])


@pytest.fixture(scope="module")
def situation(bench, competition):
    return bench.bank_rows.situation_for(competition, autoclimb.metric_named("accuracy"))


def predictions(config: Config, target: np.ndarray, skill: float) -> np.ndarray:
    draw = np.random.default_rng(int(config.key[:8], 16))
    logits = skill * np.eye(3)[target] + draw.normal(size=(len(target), 3))
    p = np.exp(logits)
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def record_of(bench, config: Config) -> object:
    """A made-up record: the longer the better, features worse than nets."""
    skill = 0.5 if config.train == "features" else 0.5 + 0.15 * np.log2(config.epochs)
    oof = predictions(config, np.arange(N) % 3, skill)
    test = np.stack([predictions(config.vary(seed=100 + k), np.arange(M) % 3, skill) for k in range(FOLDS)])
    facts = {"skill": 0.5, "mirror": 1.0, "turn": 2.0, "img_s": 7.0}
    return bench.recordings.Record(config, facts, oof, test.mean(0), test[0])


@pytest.fixture(scope="module")
def records(bench, situation):
    """Every row of the bank."""
    return [record_of(bench, config) for config in bench.bank_rows.rows(situation, [])]


@pytest.fixture(scope="module")
def known(bench, competition, situation, records):
    fold_of = make_folds(competition, FOLDS, 0, np.zeros(N, bool))
    goal = Goal(autoclimb.metric_named("accuracy"), "multiclass")
    return bench.replays.Known("toy", competition, goal, np.arange(M) % 3, records, fold_of, situation)


@pytest.fixture(scope="module")
def table(bench):
    """The speeds of a dry run."""
    return bench.speeds.measure_of({})


def part_of(config: Config) -> str:
    """Which part of a net trains."""
    return (
        "features"
        if config.train == "features"
        else "top"
        if config.top
        else "whole"
        if config.weights
        else "from scratch"
    )


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_bank_has_two_dozen_trainings_of_tops_whole_nets_and_nets_from_scratch(records):
    configs = [record.config for record in records]
    nets = [config for config in configs if config.train == "net"]
    tops = [config for config in nets if config.top]
    assert len({config.key for config in configs}) == len(configs)
    assert len(nets) >= 24
    assert {config.folds for config in configs} == {(0, 1, 2, 3, 4)}
    for backbone in ("tf_efficientnet_lite0", "tf_efficientnet_lite2"):
        own = [config for config in tops if config.backbone == backbone]
        assert {config.size for config in own} == {128, 160, 224}
        assert len({config.epochs for config in own}) == len({config.seed for config in own}) == 2
    for part in ("whole", "from scratch"):
        assert len({config.epochs for config in nets if part_of(config) == part}) >= 2


def test_a_bank_that_was_cut_short_has_features_and_a_short_training_of_every_part(records):
    first = [record.config for record in records[:14]]
    assert {part_of(config) for config in first if config.train == "net"} == {"top", "whole", "from scratch"}
    assert {config.backbone for config in first if config.train == "features"} >= {"patches", "tf_efficientnet_lite2"}


def test_the_nets_of_a_bank_follow_what_the_recorded_features_say_of_mirrored_pictures(bench, situation, records):
    hand_made = replace(records[0], facts=MIRROR_IMAGES_HURT)
    nets = [config for config in bench.bank_rows.rows(situation, [hand_made]) if config.train == "net"]
    assert {config.policy for config in nets if config.top} == {"shift"}
    assert {config.tta for config in nets if config.top} == {"none"}
    plain = [c for c in nets if part_of(c) == "whole" and not c.mixup and not c.cutmix]
    assert {c.policy for c in plain} >= {"flip", "shift"}  # as `fixed` has them, and as a plan would


def test_the_seconds_of_a_recording_are_listed_by_row(bench, situation, records, table):
    *lines, last = bench.bank_rows.planned(replace(situation, measure=table), [r.config for r in records])
    assert len(lines) == len(records)
    assert lines[0].startswith("features of patches@64, kernel: ")
    assert last.startswith(f"{len(records)} trials")


# --- standing in -----------------------------------------------------------------------------------------------------


def test_the_most_similar_recording_stands_in_and_a_shorter_one_before_a_longer_one(bench, records):
    stand_in = bench.recordings.stand_in
    whole = next(r.config for r in records if part_of(r.config) == "whole")
    short, long = sorted({r.epochs for r in records if part_of(r.config) == "from scratch"})
    scratch = next(r.config for r in records if part_of(r.config) == "from scratch")
    assert stand_in(records, whole.vary(policy="trivial", folds=(0,)), whole.epochs).config.policy == "trivial"
    assert stand_in(records, scratch, 0.6 * long).epochs == short
    assert stand_in(records, scratch, 0.9 * long).epochs == long


@pytest.mark.parametrize("size", [96, 128, 160, 192, 224])
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
@pytest.mark.parametrize("part", ["top", "whole"])
def test_a_top_stands_in_for_a_top_and_a_whole_net_for_a_whole_one(bench, records, size, backbone, part):
    like = next(r.config for r in records if part_of(r.config) == part).vary(backbone=backbone, size=size)
    for epochs in (4.0, 12.0, 30.0):
        for change in ({}, {"policy": "trivial"}, {"policy": "affine", "mixup": 0.3}):
            config = bench.recordings.stand_in(records, like.vary(**change), epochs).config
            assert (part_of(config), config.backbone) == (part, backbone)


def test_another_part_of_a_net_stands_in_before_another_net(bench, records):
    top = next(r.config for r in records if part_of(r.config) == "top")
    others = [r for r in records if part_of(r.config) == "whole" or r.config.backbone != top.backbone]
    config = bench.recordings.stand_in(others, top, top.epochs).config
    assert (part_of(config), config.backbone) == ("whole", top.backbone)


def test_whether_the_maps_below_frozen_features_are_stored_is_no_difference(bench, records):
    for record in records:
        if record.config.train == "features":
            unstored = record.config.vary(top=0)
            assert bench.recordings.stand_in(records, unstored, 0.0) is record


def test_another_net_stands_in_for_one_that_was_not_recorded_its_family_first(bench, records):
    stand_in = bench.recordings.stand_in
    scratch = next(r.config for r in records if part_of(r.config) == "from scratch")
    assert stand_in(records, scratch.vary(backbone="resnet18d", model_args=()), 40.0).config.backbone[:6] == "resnet"
    tuned = next(r.config for r in records if part_of(r.config) == "whole")
    assert stand_in(records, tuned.vary(backbone="tf_efficientnet_lite1"), 4.0).config.weights == "box"


def test_nothing_that_began_otherwise_stands_in(bench, records):
    nets = [r for r in records if r.config.train == "net"]
    tuned = [r for r in nets if r.config.weights]
    assert bench.recordings.stand_in(nets, Config(train="features", backbone="gradients"), 0.0) is None
    assert bench.recordings.stand_in(tuned, from_scratch("cpu")[0], 20.0) is None


def test_seeds_take_turns_among_those_recorded(bench, records):
    base = next(r.config for r in records if part_of(r.config) == "top")
    seeds = [bench.recordings.stand_in(records, base.vary(seed=s), base.epochs).config.seed for s in (0, 1, 100, 200)]
    assert seeds == [0, 1, 1, 0]


# --- the file --------------------------------------------------------------------------------------------------------


def test_every_code_of_a_probability_is_read_back_as_itself(bench):
    codes = np.arange(bench.recordings.STEPS + 2)
    stored = np.stack([codes >> 8, codes & 255]).astype(np.uint8)
    assert np.array_equal(bench.recordings.coded(bench.recordings.decoded(stored)), stored)


def test_probabilities_are_stored_finely_near_0_and_1_and_numbers_as_they_are(bench):
    there_and_back = lambda p: bench.recordings.decoded(bench.recordings.coded(p))  # noqa: E731
    p = np.linspace(0, 1, 2001, dtype=np.float32)
    assert np.abs(there_and_back(p) - p).max() <= 0.0008
    assert np.abs(there_and_back(p) - p)[20] <= 0.00016  # of .01
    numbers = np.array([-3.0, 0.5, np.nan, 12.0], np.float32)
    assert np.array_equal(there_and_back(numbers), numbers, equal_nan=True)
    assert np.array_equal(np.isnan(there_and_back(np.array([0.2, np.nan]))), [False, True])


def test_a_bank_is_one_file_that_is_read_back_and_grows_without_loss(bench, records, tmp_path):
    fold_of, path = np.arange(N) % FOLDS, tmp_path / "toy.npz"
    bench.recordings.save(path, records[:3], fold_of)
    read, folds = bench.recordings.load(path)
    bench.recordings.save(path, [*read, records[3]], folds)
    again, folds = bench.recordings.load(path)
    assert [r.config for r in again] == [r.config for r in records[:4]]
    assert folds.tolist() == fold_of.tolist()
    for own, once, twice in zip(records[:3], read, again[:3], strict=True):
        assert np.allclose(own.oof, once.oof, atol=1e-3)
        assert np.allclose(own.test, once.test, atol=1e-3)
        assert np.array_equal(once.oof, twice.oof)
        assert np.array_equal(once.first, twice.first)
        assert own.facts == twice.facts
    with np.load(path) as file:
        assert set(file) == {"records", "fold_of", "oof", "test", "first"}  # no labels


def test_the_mean_of_fewer_nets_is_as_noisy_as_theirs(bench, records):
    nets = np.random.default_rng(0).normal(0.5, 0.1, (FOLDS, 20_000, 1)).astype(np.float32)
    record = replace(records[0], test=nets.mean(0), first=nets[0])
    assert np.allclose(record.test_by(1), nets[0], atol=1e-6)
    assert np.allclose(record.test_by(FOLDS), nets.mean(0), atol=1e-6)
    for n in range(1, FOLDS + 1):
        assert record.test_by(n).std() == pytest.approx(nets[:n].mean(0).std(), rel=0.02)


# --- recording -------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(bench, monkeypatch, tmp_path):
    """A function that records configs with made-up trials, those of 32 px fail, and the configs that were trained."""
    trained = []
    lab = SimpleNamespace(fold_of=np.arange(N) % FOLDS)

    @contextmanager
    def opened(suite, name, folder):
        yield lab

    def recorded(lab, config, out):
        out.mkdir(parents=True)
        trained.append(config)
        return (None, "failed") if config.size == 32 else (record_of(bench, config), "accuracy 0.5")

    monkeypatch.setattr(bench.bank, "opened", opened)
    monkeypatch.setattr(bench.bank, "recorded", recorded)

    def record(*configs, minutes=60.0, work="work"):
        rows = lambda lab, records: iter(configs)  # noqa: E731
        bench.bank.record_set(Path("suite"), "toy", tmp_path / "toy.npz", tmp_path / work, rows, minutes)
        return [r.config for r in bench.recordings.load(tmp_path / "toy.npz")[0]]

    return SimpleNamespace(record=record, trained=trained, lab=lab, tmp_path=tmp_path)


def test_a_recording_goes_on_from_its_file_alone(recording):
    a, b, failing = Config(epochs=2.0), Config(epochs=4.0), Config(epochs=2.0, size=32)
    assert recording.record(a) == [a]
    assert recording.record(a, failing, b, work="another machine") == [a, b]
    assert recording.record(a, failing, b) == [a, b]
    assert recording.trained == [a, failing, b, failing]
    assert not [path for path in recording.tmp_path.rglob("*") if path.name in (a.key, b.key, failing.key)]


def test_a_recording_starts_nothing_after_its_minutes_and_refuses_other_folds(recording):
    a, b = Config(epochs=2.0), Config(epochs=4.0)
    recording.record(a)
    assert recording.record(a, b, minutes=-1.0) == [a]
    recording.lab.fold_of = recording.lab.fold_of[::-1]
    with pytest.raises(SystemExit, match="other rows or folds"):
        recording.record(b)


def run_of_a_bench(bench, place: Path, config: Config, fold_of: np.ndarray) -> object:
    """A run's folder as a bench leaves it, with one trial of all folds; what is recorded of it."""
    record = record_of(bench, config.vary(seconds=0.0, epochs=config.epochs or 3.5))
    trial = Trial(config, "one-net", "done", 0.9, 0.01, 9.0, facts={**record.facts, "epochs": record.epochs})
    store.save_trial(place, trial)
    np.save(place / "fold_of.npy", fold_of)
    write_predictions(store.trial_folder(place, config) / "oof", record.oof)
    np.save(store.trial_folder(place, config) / "test.npy", record.test)
    nets = place / "nets" / "named in another version"
    nets.mkdir(parents=True)
    np.savez(nets / "fold0.npz", oof_pred=record.oof[fold_of == 0], test_pred=record.first)
    return record


def test_a_bank_adopts_the_nets_over_all_folds_of_a_bench_once_and_as_long_as_they_were(bench, tmp_path):
    fold_of = np.arange(N) % FOLDS
    own = record_of(bench, Config(epochs=2.0))
    bench.recordings.save(tmp_path / "toy.npz", [own], fold_of)
    cells = tmp_path / "bench" / "cells"
    timed = Config(backbone="resnet18", seconds=40.0, folds=tuple(range(FOLDS)))
    record = run_of_a_bench(bench, cells / "toy-fixed-600s" / "run", timed, fold_of)
    run_of_a_bench(bench, cells / "toy-random-600s" / "run", timed.vary(folds=(0,), size=96), fold_of)
    run_of_a_bench(bench, cells / "toy-other-600s" / "run", timed.vary(size=80), fold_of[::-1])
    run_of_a_bench(bench, cells / "another-fixed-600s" / "run", timed.vary(size=72), fold_of)
    gone = cells / "toy-gone-600s" / "run"
    run_of_a_bench(bench, gone, timed.vary(size=48), fold_of)
    next(gone.glob("nets/*/fold0.npz")).unlink()
    for _ in range(2):
        bench.bank.adopt(tmp_path / "bench", tmp_path / "toy.npz")
        first, adopted = bench.recordings.load(tmp_path / "toy.npz")[0]
        assert first.config == own.config
        assert adopted.config == timed.vary(seconds=0.0, epochs=3.5)
        for name in ("oof", "test", "first"):
            assert np.allclose(getattr(adopted, name), getattr(record, name), atol=2e-3)


# --- rates -----------------------------------------------------------------------------------------------------------


def test_all_seconds_of_a_replay_are_by_the_rates_of_one_machine(bench, monkeypatch):
    speeds = bench.speeds
    asked = []
    fastest = {"train": 100.0, "predict": 400.0}

    def speed_of(config, seconds):
        asked.append(config)
        return fastest if len(asked) == 3 else {"train": 90.0, "predict": 410.0}

    @contextmanager
    def opened(suite, name, folder):
        yield SimpleNamespace(speeds={}, speed_of=speed_of)

    monkeypatch.setattr(speeds, "opened", opened)
    monkeypatch.setattr(speeds, "hardware", lambda: "two cores")
    configs = speeds.nets_to_measure()
    rates = speeds.measure_rates(Path("suite"), "toy", Path("work"), {}, configs)
    assert rates["machine"] == "two cores"
    assert "two cores" in speeds.words_of_rates(rates)
    measure = speeds.measure_of(rates)
    assert (measure(configs[2]).train, measure(configs[2]).predict) == (100.0, 410.0)
    assert measure(configs[2].vary(size=2 * configs[2].size)).train == 25.0
    with pytest.raises(SystemExit, match="resnet99"):
        measure(Config(backbone="resnet99"))
    monkeypatch.setattr(speeds, "hardware", lambda: "four cores")
    with pytest.raises(SystemExit, match="is of two cores, this is four cores"):
        speeds.measure_rates(Path("suite"), "toy", Path("work"), rates, configs)


@pytest.mark.parametrize("name", ["fixed", "random", "autoclimb", "no stages"])
def test_every_net_that_a_solver_plans_is_among_those_to_measure(bench, situation, table, name):
    measured = {bench.speeds.speed_key(config) for config in bench.speeds.nets_to_measure()}
    solver, asked = bench.replays.SOLVERS[name], set()

    def measure(config):
        asked.add(bench.speeds.speed_key(config))
        return table(config)

    s = replace(situation, measure=measure, budget=7200.0, space=solver.space)
    rehearse(s, bench.speeds.PROCESSOR, plan_of(solver.plan))
    assert asked
    assert asked <= measured


# --- replaying -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fixed", "random", "autoclimb", "no stages", "no probe", "no halving", "no blend"])
def test_a_solver_is_replayed_within_its_budget(bench, known, table, name):
    ended = bench.replays.replay(known, bench.replays.SOLVERS[name], 300.0, 0, table)
    assert ended.seconds <= 300.0
    assert ended.trials >= 1
    assert 0.34 < ended.score <= 1.0
    assert 0.34 < ended.test <= 1.0


def test_a_replay_takes_its_times_from_the_rates_not_from_the_recording(bench, known, table):
    slow = [replace(record, facts={**record.facts, "img_s": 0.1}) for record in known.records]
    fixed = bench.replays.SOLVERS["fixed"]
    first, other = (bench.replays.replay(k, fixed, 300.0, 0, table) for k in (known, replace(known, records=slow)))
    assert (first.seconds, first.test) == (other.seconds, other.test)


def test_storing_the_features_that_a_top_trains_on_takes_a_replays_time_once(bench, known, table):
    top = next(r.config for r in known.records if r.config.top and r.config.train == "net")

    def seconds_of(*configs):
        solver = bench.replays.Solver((lambda history, s: iter([[config] for config in configs]),))
        return bench.replays.replay(known, solver, 3600.0, 0, table).seconds

    timed = top.vary(epochs=0.0, seconds=20.0, folds=(0,))
    once, twice, whole = seconds_of(timed), seconds_of(timed, timed.vary(seed=1)), seconds_of(timed.vary(top=0))
    stored = trunk_seconds(timed, replace(known.situation, measure=table))
    assert stored > 1.0
    assert once - whole == pytest.approx(stored)
    assert twice - once == pytest.approx(20.5)


def test_a_trial_of_one_fold_answers_by_one_net(bench, known, table):
    def one_fold(history, s):
        yield [from_scratch("cpu")[0].vary(folds=(0,), seconds=30.0)]

    ended = bench.replays.replay(known, bench.replays.Solver((one_fold,)), 300.0, 0, table)
    record = bench.recordings.stand_in(known.records, from_scratch("cpu")[0], 0.0)
    score = lambda p: known.goal.score(known.truth, p.argmax(1))  # noqa: E731
    assert ended.trials == 1
    assert ended.test != pytest.approx(score(record.test))


def test_a_solver_none_of_whose_trials_is_recorded_has_no_replay(bench, known, table):
    features = replace(known, records=[r for r in known.records if r.config.train == "features"])
    assert bench.replays.replay(features, bench.replays.SOLVERS["fixed"], 300.0, 0, table) is None
    assert bench.replays.replay(features, bench.replays.SOLVERS["autoclimb"], 300.0, 0, table).test > 0.34


def test_the_summary_pairs_by_set_and_seed(bench):
    goal = Goal(autoclimb.metric_named("accuracy"), "multiclass")
    tests = {"fixed": (0.80, 0.70), "autoclimb": (0.90, 0.80)}
    ended = {
        ("toy", 300.0, solver, seed): bench.replays.Replay(test + 0.05, 0.01, test, 300.0, 3, apart=seed)
        for solver, values in tests.items()
        for seed, test in enumerate(values)
    }
    rows = list(bench.replays.summary(ended, {"toy": goal}, ["fixed"]))
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip(" |\n").split("|")]
    assert cells[:6] == ["5m00s", "autoclimb", "fixed", "2", "+0.1000", "0.0000"]
    assert float(cells[6]) == pytest.approx((0.1 / 0.2 * 0.2 / 0.3) ** 0.5, abs=1e-3)
    assert cells[7] == "-0.0500"
    assert cells[9] == "0.5"


def test_a_replay_says_how_unlike_what_it_asked_for_its_recordings_are(bench, known, table):
    fixed = bench.replays.SOLVERS["fixed"]
    near = bench.replays.replay(known, fixed, 300.0, 0, table)
    other = replace(known, records=[replace(r, config=r.config.vary(policy="medium")) for r in known.records])
    assert bench.replays.replay(other, fixed, 300.0, 0, table).apart == pytest.approx(near.apart + 1)


@pytest.mark.slow
def test_a_set_is_recorded_goes_on_where_it_was_stopped_and_is_replayed(bench, tmp_path, capsys):
    from benches import suite_file

    suite, path = suite_file(tmp_path, {}), tmp_path / "pets.npz"
    plain = Config(train="features", backbone="gradients", size=64, folds=(0, 1, 2, 3, 4))
    net = Config(backbone="resnet10t", model_args=(("channels", (8, 8, 8, 8)),), size=32, epochs=1.0, folds=plain.folds)
    for work, configs in (("one", [plain]), ("another", [plain, net])):
        bench.bank.record_set(suite, "pets", path, tmp_path / work, lambda lab, records, rows=configs: iter(rows))
    assert capsys.readouterr().out.count("pets 1 ") == 1
    known = bench.replays.known_set(suite, "pets", path)
    assert [r.config for r in known.records] == [plain, net]
    assert known.records[1].first.shape == (24, 3)
    ended = bench.replays.replay(known, bench.replays.SOLVERS["autoclimb"], 300.0, 0, bench.speeds.measure_of({}))
    assert 0 <= ended.test <= 1
    rates = bench.speeds.measure_rates(suite, "pets", tmp_path / "work", {}, [net])
    assert rates["nets"][bench.speeds.speed_key(net)]["train"] > 0
