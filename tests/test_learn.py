"""The learn room: menus by contract, the loop on a toy, closed-form heads, weights from files."""

import json
import math
import multiprocessing
import threading
from collections import deque
from functools import partial
from itertools import islice

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import CPU, TINY, fold_over
from safetensors.torch import save_file
from timm.utils import ModelEmaV3

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn import closed_form, features, loop
from autoclimb.learn.averages import EMA_STEPS, Ema
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import (
    BatchMaker,
    endless_batches,
    epoch_batches,
    load_batches,
    loader_processes,
    prefetch,
    processes_for,
    resized,
    to_input,
)
from autoclimb.learn.closed_form import fit_head, head_predictions
from autoclimb.learn.devices import device_named, usable_memory
from autoclimb.learn.faults import OutOfTime, Unbuildable
from autoclimb.learn.features import features_of
from autoclimb.learn.handmade import CONTRAST, Dictionary, extractor_of, patch_responses
from autoclimb.learn.loop import Pace, size_at, stagnates
from autoclimb.learn.material import Material, Watch
from autoclimb.learn.moves import augmented
from autoclimb.learn.optim import OPTIMIZERS, SCHEDULES, optimizer_of
from autoclimb.learn.pipelines import pipeline_of
from autoclimb.learn.symmetry import gain_of_mirrored
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.learn.weights import find_weights
from autoclimb.processors import allowed_cores, usable_cores

FORKS = "fork" in multiprocessing.get_all_start_methods()
SMALL = TINY.vary(model_args=(("channels", (8, 8, 16, 16)),), size=32, epochs=4, batch=16)


def stripes(n: int, seed: int = 0, size: int = 32, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures of horizontal (0) or vertical (1) stripes, and which they are."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, n)
    wave = 60 * np.sin(np.arange(size) * 0.8 + draw.uniform(0, 2 * np.pi, (n, 1)))
    pictures = 128 + draw.normal(0, 15, (n, size, size, channels))
    pictures += np.where(label[:, None, None, None] == 1, wave[:, None, :, None], wave[:, :, None, None])
    return pictures.clip(0, 255).astype(np.uint8), label


def material_of(n: int = 80, m: int = 12, kind: str = "multiclass", channels: int = 3) -> Material:
    pictures, label = stripes(n + m, channels=channels)
    target = (
        np.eye(2, dtype=np.float32)[label[:n]] if kind != "regression" else 10 + 5 * label[:n, None].astype(np.float32)
    )
    return Material(kind, target.shape[1], target, np.arange(n) % 4, pictures)


def hits(material: Material, oof: np.ndarray, fold: int = 0) -> float:
    rows = material.fold_of == fold
    return float((oof[rows].argmax(1) == material.target[rows].argmax(1)).mean())


# --- menus -----------------------------------------------------------------------------------------------------------


def test_a_policy_of_the_users_own_comes_back_from_json():
    import albumentations as A

    own = {"mine": json.dumps(A.Compose([A.HorizontalFlip(p=1.0), A.RandomCrop(20, 20)]).to_dict())}
    picture = stripes(1)[0][0]
    assert augmented(pipeline_of("mine", 32, 0, own), picture).shape == (32, 32, 3)
    with pytest.raises(Mistake, match="mine"):
        pipeline_of("theirs", 32, 0, own)


@pytest.mark.parametrize("name", SCHEDULES)
@given(st.floats(0, 1))
def test_a_schedule_stays_between_zero_and_its_peak_and_ends_low(name, progress):
    schedule = SCHEDULES[name]
    assert 0 <= schedule(progress) <= 1 + 1e-9
    assert schedule(0.9999) < 0.01


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_moves_every_parameter_and_spares_norms_from_decay(name):
    built = build_net(SMALL, 2)
    optimizer = optimizer_of(built.net, built.head, SMALL.vary(backbone_lr=0.1), name)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(built.net.parameters()))
    assert all(g["weight_decay"] == 0 for g in optimizer.param_groups if g["params"][0].ndim <= 1)
    assert {round(g["peak"] / max(g["peak"] for g in optimizer.param_groups), 3) for g in optimizer.param_groups} == {
        1.0,
        0.1,
    }
    before = [p.detach().clone() for p in built.net.parameters()]
    built.net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all(p.grad is not None for p in built.net.parameters())
    assert any((p != b).any() for p, b in zip(built.net.parameters(), before, strict=True))


# --- batches ---------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_each_row_at_most_once_in_an_order_of_its_own():
    material = material_of()
    seen = [
        np.concatenate([b.rows for b in epoch_batches(material, fold_over(range(80)), SMALL, 32, 16, k)])
        for k in (0, 0, 1)
    ]
    assert sorted(seen[0]) == list(range(80))
    assert (seen[0] == seen[1]).all()
    assert (seen[0] != seen[2]).any()


@pytest.mark.skipif(not FORKS, reason="processes that prepare batches are forked")
def test_processes_prepare_the_same_batches_in_the_same_order_as_the_thread_does():
    material, config = material_of(), SMALL.vary(policy="flip-colour", scales=(0.5, 1.5), size=32)

    def first(processes):
        specs = endless_batches(material, fold_over(range(40)), config, 32, 16)
        return list(islice(load_batches(specs, material, config, CPU, processes), 7))  # over three epochs

    for (spec, pictures), (again, others) in zip(first(0), first(2), strict=True):
        assert spec.epoch == again.epoch
        assert (spec.rows == again.rows).all()
        assert pictures.shape[1] == spec.size
        assert torch.equal(pictures, others)


@pytest.mark.skipif(not FORKS, reason="processes that prepare batches are forked")
def test_what_breaks_in_a_process_that_prepares_batches_is_raised_where_they_are_used():
    material, config = material_of(), SMALL.vary(policy="unheard-of")
    with pytest.raises(Mistake, match="unheard-of"):
        next(load_batches(endless_batches(material, fold_over(range(40)), config, 32, 16), material, config, CPU, 1))


def test_one_epoch_follows_another_without_a_gap():
    material = material_of()
    specs = list(islice(endless_batches(material, fold_over(range(40)), SMALL, 32, 16, first_epoch=3), 5))
    assert [spec.epoch for spec in specs] == [3, 3, 4, 4, 5]
    fourth = epoch_batches(material, fold_over(range(40)), SMALL, 32, 16, 4)
    for spec, alone in zip(specs[2:4], fourth, strict=True):
        assert (spec.rows == alone.rows).all()
        assert spec.seed == alone.seed
    assert len({spec.seed for spec in specs}) == 5


def test_a_processor_is_fed_by_a_thread_and_a_gpu_by_the_cores_that_it_leaves_idle(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("autoclimb.learn.batches.shared_memory", lambda: 64e6)  # Docker's /dev/shm
    card = torch.device("cuda")
    assert loader_processes(CPU, 1000) == 0
    assert [loader_processes(card, n) for n in (1000, 6_000_000, 38_000_000)] == ([15, 2, 0] if FORKS else [0, 0, 0])


@pytest.mark.parametrize(("rate", "processes"), [(0.0, 15), (1e-3, 2), (1e9, 15)])
def test_no_more_processes_are_begun_than_the_net_needs_and_no_batch_is_lost(monkeypatch, rate, processes):
    begun = []

    def loaded(maker, sampler, num_workers, **how):
        begun.append(num_workers)
        return (maker[spec] for spec in sampler)

    monkeypatch.setattr("autoclimb.learn.batches.DataLoader", loaded)
    material, config, whole = material_of(), SMALL, fold_over(range(24))
    specs = [
        spec
        for spec, _ in load_batches(epoch_batches(material, whole, config, 32, 8, 0), material, config, CPU, 15, rate)
    ]
    assert begun == [processes]
    assert [spec.seed for spec in specs] == [spec.seed for spec in epoch_batches(material, whole, config, 32, 8, 0)]


def test_processes_are_counted_by_what_a_picture_takes_and_the_rate_of_the_net():
    looks = iter([0.0, 8e-4])  # a ten-thousandth of a second each
    maker = BatchMaker(material_of(), SMALL)
    spec = next(epoch_batches(material_of(), fold_over(range(24)), SMALL, 32, 8, 0))
    assert processes_for(10_000, maker, spec, lambda: next(looks)) == 4


@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_what_breaks_where_batches_are_prepared_is_raised_where_they_are_used(device):
    def broken():
        yield 1
        raise ValueError("no picture")

    things = prefetch(broken(), device)
    assert next(things) == 1
    with pytest.raises(ValueError, match="no picture"):
        next(things)


@pytest.mark.parametrize(("device", "seconds", "in_turn"), [("cpu", 0.1, 10), ("cpu", 0.5, 4), ("cuda", 0.1, 0)])
def test_a_thread_prepares_what_takes_long_and_for_a_card_everything(device, seconds, in_turn):
    time, makers, used = [0.0], [], []

    def items():
        for number in range(10):
            time[0] += seconds if number else 9.0  # the first one builds pipelines
            makers.append(threading.current_thread())
            yield number

    for item in prefetch(items(), torch.device(device), lambda: time[0]):
        time[0] += 1.0
        used.append(item)
    assert used == list(range(10))
    assert [maker is threading.current_thread() for maker in makers] == [True] * in_turn + [False] * (10 - in_turn)


def test_sizes_grow_in_the_first_half_of_training_only():
    config = Config(size=128, sizes=(64, 96))
    assert [size_at(p, config) for p in (0.0, 0.2, 0.3, 0.5, 0.99)] == [64, 64, 96, 128, 128]


def test_in_the_light_end_nothing_is_mixed_and_pictures_are_only_shifted_and_flipped(monkeypatch):
    policies, mixings = [], []

    def noted(specs, material, config, device, *how):
        for batch in load_batches(specs, material, config, device, *how):
            policies.append(config.policy)
            yield batch

    def mixed(x, y, w, config, draw):
        mixings.append((config.mixup, config.cutmix))
        return x, y, w

    monkeypatch.setattr(loop, "load_batches", noted)
    monkeypatch.setattr(loop, "mixed", mixed)
    config = SMALL.vary(policy="medium", mixup=0.2, cutmix=1.0, light_end=0.25, batch=10)
    material, fold = material_of(), fold_over(range(40))
    _, facts = loop.train(build_net(config, 2), material, config, fold, Pace(lambda: 0.0, 0.0, steps=12))
    assert facts["steps"] == 12
    assert mixings == [(0.2, 1.0)] * 9
    assert policies[:9] == ["medium"] * 9
    assert set(policies[10:]) == {"flip"}


@pytest.mark.parametrize("name", ["light_end", "retrain_head"])
def test_a_share_of_the_training_is_under_one(name, tmp_path):
    with pytest.raises(Mistake, match=name):
        run_trial(SMALL.vary(**{name: 1.5}), material_of(), tmp_path / "t", tmp_path / "t", tmp_path, CPU)


def test_stagnation_is_a_mean_that_does_not_fall():
    assert stagnates(deque(torch.ones(100)))
    assert not stagnates(deque(torch.linspace(2, 1, 100)))


def test_by_the_clock_training_ends_when_the_time_does_and_by_steps_when_they_are_done():
    now = iter([5.0, 10.0]).__next__
    pace = Pace(now, start=0.0, seconds=10.0)
    assert pace.progress(1) == 0.5
    assert pace.progress(1) == 1.0
    assert Pace(now, start=0.0, steps=4).progress(2) == 0.5


# --- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_fp32")
def test_a_net_learns_stripes_and_predicts_them_again_from_its_weights(tmp_path):
    material = material_of()
    config = SMALL.vary(folds=(0, 2), epochs=6, tta="flip")
    result = run_trial(config, material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "done"
    oof, test = np.asarray(read_predictions(tmp_path / "t" / "oof")), np.load(tmp_path / "t" / "test.npy")
    assert np.isnan(oof[material.fold_of == 1]).all()
    assert np.isfinite(oof[material.fold_of != 1][np.isin(material.fold_of[material.fold_of != 1], (0, 2))]).all()
    assert hits(material, oof) > 0.9
    new = Material("multiclass", 2, np.zeros((0, 2), np.float32), np.zeros(0, int), material.pixels[80:])
    again = predict_again(config, new, tmp_path / "t", tmp_path, CPU, lambda facts: None)
    assert np.allclose(again, test, atol=1e-5)


def test_pictures_are_answered_again_in_the_number_format_of_the_run(tmp_path, monkeypatch):
    """On a processor with bf16 predict answered sets of the demo otherwise than its submission did."""
    monkeypatch.setattr("autoclimb.learn.devices.has_bf16", lambda device: True)
    material, config = material_of(), SMALL.vary(folds=(0, 2), epochs=2)
    assert run_trial(config, material, tmp_path, tmp_path / "nets", tmp_path, CPU)["status"] == "done"
    test, ask = np.load(tmp_path / "test.npy"), partial(predict_again, config, material, tmp_path / "nets", tmp_path)
    again, exactly = (ask(CPU, lambda facts: None, exactly)[material.test_rows] for exactly in (False, True))
    assert np.abs(again - test).max() < 1e-6
    assert np.abs(exactly - test).max() > 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"ema": 0.9},
        {"sizes": (16, 24)},
        {"optimizer": "sgd", "switch_to": "adamw"},
        {"fine_stem": True},
        {"smoothing": 0.1, "dropout": 0.2, "loss": "focal", "schedule": "restarts"},
    ],
    ids=str,
)
def test_every_trick_still_gives_finite_predictions(tmp_path, change):
    material = material_of(40, 4)
    result = run_trial(SMALL.vary(epochs=2, **change), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "done"
    assert np.isfinite(np.load(tmp_path / "t" / "test.npy")).all()


def test_a_moving_average_updated_now_and_then_lags_as_one_of_every_step():
    net = torch.nn.Linear(1, 1, bias=False)
    every, rare = (kind(net, decay=0.99, use_warmup=True) for kind in (ModelEmaV3, Ema))
    for step in range(1, 801):
        with torch.no_grad():
            net.weight.fill_(step)
        every.update(net, step)
        if step % EMA_STEPS == 0:
            rare.update(net, step)
    lags = [800 - average.module.weight.item() for average in (every, rare)]
    assert lags[1] == pytest.approx(lags[0], rel=0.1)


def test_a_moving_average_of_few_steps_is_no_untrained_net():
    config = SMALL.vary(ema=0.999, lr=0.05, batch=10)
    built = build_net(config, 2)
    before = built.head.weight.detach().clone()
    net, facts = loop.train(built, material_of(), config, fold_over(range(40)), Pace(lambda: 0.0, 0.0, steps=3))
    assert facts["steps"] == 3
    assert not torch.allclose(net.get_classifier().weight, before)


def test_the_same_seed_gives_the_same_bits(tmp_path):
    material = material_of(40, 4)
    results = []
    for name in "ab":
        run_trial(
            SMALL.vary(epochs=2, policy="flip-colour", mixup=0.3),
            material,
            tmp_path / name,
            tmp_path / name,
            tmp_path,
            CPU,
        )
        results.append(np.load(tmp_path / name / "test.npy"))
    assert (results[0] == results[1]).all()


def test_a_regression_answers_in_the_targets_own_units(tmp_path):
    material = material_of(kind="regression")
    run_trial(SMALL.vary(epochs=8), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    oof = np.asarray(read_predictions(tmp_path / "t" / "oof"))[material.fold_of == 0]
    assert np.abs(oof - material.target[material.fold_of == 0]).mean() < 1.5


def test_a_learning_rate_that_explodes_is_a_status_not_a_traceback(tmp_path):
    result = run_trial(
        SMALL.vary(lr=1e9, optimizer="sgd", clip=0.0), material_of(40, 4), tmp_path / "t", tmp_path / "t", tmp_path, CPU
    )
    assert result["status"] == "failed"
    assert result["note"]


def test_folds_that_are_done_leave_the_others_no_more_than_their_own_seconds(tmp_path, monkeypatch):
    material, given = material_of(40, 4), [0.0]

    def run_fold(config, seconds, material, fold, nets, format):
        given.append(seconds)
        width = material.width
        return np.full((len(fold.valid_rows), width), 0.5), np.full((len(material.test_rows), width), 0.5), {}

    monkeypatch.setattr("autoclimb.learn.fold.run_fold", run_fold)
    config = SMALL.vary(epochs=0.0, seconds=10.0)
    for folds in ((0,), (0, 1, 2, 3)):
        run_trial(
            config.vary(folds=folds), material, tmp_path / "t", tmp_path / "n", tmp_path, CPU, now=lambda: sum(given)
        )
    assert given == [0.0] + [10.0] * 4


def test_features_of_mirrored_views_are_others_than_those_of_one_view(tmp_path):
    material = material_of(8, 4)
    for tta in ("none", "flip"):
        config = Config(train="features", backbone="test_resnet", size=32, tta=tta)
        features_of(config, material.pixels, tmp_path, CPU, Watch())
    assert len(list(tmp_path.glob("features-*.npy"))) == 2


def test_a_trial_of_features_says_how_long_the_head_of_a_fold_took(tmp_path, monkeypatch):
    clock = [0.0]

    def fit_head(*given):
        clock[0] += 2.5 + clock[0]  # the first fold's is the quickest
        return closed_form.fit_head(*given)

    monkeypatch.setattr("autoclimb.learn.trial.fit_head", fit_head)
    config = Config(train="features", backbone="gradients", size=32, folds=(0, 1))
    reply = run_trial(config, material_of(), tmp_path, tmp_path, tmp_path, CPU, now=lambda: clock[0])
    assert reply["facts"]["head_s"] == 2.5


@pytest.fixture(scope="module")
def features_of_stripes(tmp_path_factory):
    """A cache for trials of the same pictures, as in a run: it takes a second to learn a dictionary of patches."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("backbone", ["gradients", "patches"])
@pytest.mark.parametrize("head", closed_form.HEADS)
def test_closed_form_heads_learn_stripes_over_all_folds(tmp_path, features_of_stripes, backbone, head):
    material = material_of()
    config = Config(train="features", backbone=backbone, head=head, size=32, folds=(0, 1, 2, 3))
    result = run_trial(config, material, tmp_path / "t", tmp_path / "t", features_of_stripes, CPU)
    oof = np.asarray(read_predictions(tmp_path / "t" / "oof"))
    assert result["status"] == "done"
    assert np.isfinite(oof).all()
    assert [hits(material, oof, fold) for fold in config.folds] == [1.0] * 4


def test_pictures_that_are_all_alike_are_answered_alike():
    target = np.eye(2, dtype=np.float32)[[0] * 30 + [1] * 10]
    head = fit_head(Config(train="features", backbone="any"), np.zeros((40, 8), np.float32), target, "multiclass")
    p = head_predictions(head, np.zeros((3, 8), np.float32), "multiclass")
    assert np.isfinite(p).all()
    assert (p == p[0]).all()
    assert (p.argmax(1) == 0).all()


def test_stripes_are_the_same_mirrored_and_another_thing_turned(tmp_path):
    (tmp_path / "cache").mkdir()
    config = Config(train="features", backbone="gradients", size=32, folds=(0,))
    facts = run_trial(config, material_of(), tmp_path / "t", tmp_path / "t", tmp_path / "cache", CPU)["facts"]
    assert facts["mirror"] < 2 < facts["turn"]


@pytest.mark.parametrize("label", ["side", "height"])
def test_mirrored_copies_help_where_the_label_stays_and_harm_where_it_changes(tmp_path, label):
    draw = np.random.default_rng(0)
    right, low = draw.random(240) < (0.5 if label == "side" else 0.15), draw.random(240) < 0.5
    pictures = draw.integers(0, 60, (240, 32, 32, 3), dtype=np.uint8)
    for picture, x, y in zip(pictures, np.where(right, 18, 2), np.where(low, 18, 2), strict=True):
        picture[y : y + 12 : 3, x : x + 12] += 120  # a striped patch, most often on the left
    target = np.eye(2, dtype=np.float32)[(right if label == "side" else low).astype(int)]
    material = Material("multiclass", 2, target, np.arange(240) % 4, pictures)
    config = Config(train="features", backbone="gradients", size=32)
    known = features_of(config, pictures, tmp_path, CPU, Watch())
    fold = fold_over(np.arange(60), np.arange(60, 240))
    head = fit_head(config, known[fold.train_rows], target[fold.train_rows], "multiclass")
    change, stderr = gain_of_mirrored(config, known, head, extractor_of(config, pictures, tmp_path), material, fold)
    assert change + 2 * stderr < 0 if label == "height" else change - 2 * stderr > 0


def test_a_linear_head_of_few_columns_is_the_linear_kernel_machine():
    draw = np.random.default_rng(0)
    x = torch.from_numpy(draw.normal(size=(60, 12))).float()
    y = torch.from_numpy(draw.normal(size=(60, 2)))
    weights, outputs = closed_form._by_columns(x, y, 0.1)
    by_row, same_outputs = closed_form.leave_one_out((x @ x.T).double(), y, 0.1)
    assert torch.allclose(weights, x.double().T @ by_row, atol=1e-5)
    assert torch.allclose(outputs, same_outputs, atol=1e-4)


@pytest.mark.parametrize("name", closed_form.HEADS)
def test_a_head_is_right_about_how_sure_it_is_on_noise(name):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(300, 40)).astype(np.float32), np.eye(2, dtype=np.float32)[draw.integers(0, 2, 300)]
    head = fit_head(Config(train="features", backbone="any", head=name), x[:200], y[:200], "multiclass")
    p = head_predictions(head, x[200:], "multiclass")
    assert -np.log((p * y[200:]).sum(1)).mean() < 0.75  # chance is 0.693


def test_votes_are_those_of_the_nearest_rows_alone():
    weights = closed_form.votes_of_nearest(torch.tensor([[0.9, 0.2, 0.8, -1.0]]), 2, 0.1)
    assert torch.allclose(weights, torch.tensor([[1.0, 0.0, math.exp(-1), 0.0]]) / (1 + math.exp(-1)))


@pytest.mark.parametrize("rows", [2, 3, 50])
def test_neighbours_answer_from_as_many_rows_as_there_are(rows, monkeypatch):
    monkeypatch.setattr("autoclimb.learn.closed_form.REMEMBERED", 20)
    draw = np.random.default_rng(0)
    y = np.eye(2, dtype=np.float32)[np.arange(rows) % 2]
    x = (y @ [[3.0, 0.0, 1.0], [0.0, 3.0, 1.0]] + 0.1 * draw.normal(size=(rows, 3))).astype(np.float32)
    head = fit_head(Config(train="features", backbone="any", head="knn"), x, y, "multiclass")
    p = head_predictions(head, x, "multiclass")
    assert len(head["points"]) == min(rows, 20)
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    assert rows < 50 or (p.argmax(1) == np.arange(rows) % 2).all()


def test_patch_responses_equal_those_of_patches_taken_one_by_one():
    x = torch.rand(2, 3, 12, 12)
    words = Dictionary(6, torch.randn(108, 5), torch.randn(5))
    u = torch.nn.functional.unfold(x, 6).transpose(1, 2)
    u = (u - u.mean(2, keepdim=True)) / (u.var(2, keepdim=True) + CONTRAST).sqrt()
    whitened = (u @ words.whiten - words.offset).transpose(1, 2).unflatten(2, (7, 7))
    pooled = [torch.nn.functional.adaptive_avg_pool2d((s * whitened - 0.25).clamp(min=0), 2) for s in (1, -1)]
    assert torch.allclose(patch_responses(x, words), torch.cat(pooled, 1).flatten(1), atol=1e-3)


def test_features_are_computed_once(tmp_path):
    pictures, _ = stripes(6)
    passes = []
    config = Config(train="features", backbone="gradients", size=32)
    first = features_of(config, pictures, tmp_path, CPU, Watch(report=passes.append))
    again = features_of(config, pictures, tmp_path, CPU, Watch(report=passes.append))
    assert len(passes) == 1
    assert (first == again).all()


def test_features_whose_time_is_over_are_late_and_leave_the_worker_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.learn.batches.BLOCK", 4)
    pictures, _ = stripes(6)
    config = Config(train="features", backbone="gradients", size=32)
    with pytest.raises(OutOfTime, match="4 of 6"):
        features_of(config, pictures, tmp_path, CPU, Watch(now=lambda: 2.0, deadline=1.0))
    assert not list(tmp_path.glob("features-*"))
    assert len(features_of(config, pictures, tmp_path, CPU, Watch(now=lambda: 1.0, deadline=1.0))) == 6


def test_features_whose_next_block_would_end_after_the_deadline_are_late_before_it(tmp_path, monkeypatch):
    time = [0.0]

    def extract(block):
        time[0] += 3.0
        return block.reshape(len(block), -1).astype(np.float32)

    monkeypatch.setattr("autoclimb.learn.batches.BLOCK", 4)
    monkeypatch.setattr(features, "extractor_of", lambda *given: extract)
    config = Config(train="features", backbone="gradients", size=32)
    with pytest.raises(OutOfTime, match="8 of 12"):
        features_of(config, stripes(12)[0], tmp_path, CPU, Watch(now=lambda: time[0], deadline=8.0))
    assert time[0] == 6.0


# --- weights ---------------------------------------------------------------------------------------------------------


def hub_form(folder, name="resnet10t", seed=1):
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    net = build_net(Config(backbone=name), 7).net
    save_file(net.state_dict(), folder / "model.safetensors")
    cfg = {
        "architecture": name,
        "num_classes": 7,
        "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3, "num_classes": 7},
    }
    cfg["pretrained_cfg"] |= {"first_conv": "conv1.0", "classifier": "fc", "input_size": [3, 64, 64]}
    (folder / "config.json").write_text(json.dumps(cfg))
    return net


def test_a_folder_of_hub_form_folders_is_found_and_loads_with_its_own_statistics(tmp_path):
    net = hub_form(tmp_path / "weights" / "one")
    rows = find_weights(str(tmp_path / "weights"))
    assert [r["backbone"] for r in rows] == ["resnet10t"]
    assert find_weights(str(tmp_path / "weights" / "one"))[0]["weights"] == rows[0]["weights"]
    built = build_net(Config(backbone="resnet10t", weights=rows[0]["weights"]), 3)
    assert built.mean == (0.1, 0.1, 0.1)
    assert torch.equal(built.net.conv1[0].weight, net.conv1[0].weight)
    assert built.head.weight.shape[0] == 3


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_transformer_for_one_size_is_built_for_the_configs_wherever_its_weights_are_from(tmp_path, as_folder):
    name, narrow = "vit_tiny_patch16_224", {"embed_dim": 24, "depth": 1, "num_heads": 2}
    net = timm.create_model(name, num_classes=7, **narrow)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    cfg = {"num_classes": 7, "first_conv": "patch_embed.proj", "classifier": "head", "input_size": [3, 224, 224]}
    described = {"architecture": name, "num_classes": 7, "model_args": narrow, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(described))
    weights = tmp_path if as_folder else tmp_path / "model.safetensors"
    config = Config(backbone=name, weights=str(weights), model_args=tuple(sorted(narrow.items())), size=32)
    built = build_net(config, 3)
    assert built.fixed
    assert built.net(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert torch.equal(built.net.patch_embed.proj.weight, net.patch_embed.proj.weight)


def test_a_single_file_loads_what_fits_and_another_architectures_is_refused(tmp_path):
    net = hub_form(tmp_path / "one")
    file = tmp_path / "resnet10t.mine.safetensors"
    (tmp_path / "one" / "model.safetensors").rename(file)
    row = find_weights(str(file))[0]
    assert row["backbone"] == "resnet10t"
    built = build_net(Config(backbone="resnet10t", weights=row["weights"]), 3)
    assert torch.equal(built.net.conv1[0].weight, net.conv1[0].weight)
    assert "tensors" in built.note
    with pytest.raises(Unbuildable, match="another architecture"):
        build_net(Config(backbone="mobilenetv3_small_050", weights=row["weights"]), 3)


@pytest.mark.parametrize("name", ["nothing", "empty", "weights.pth", "whoknows.safetensors"])
def test_weights_that_cannot_be_used_are_a_mistake_that_says_what_to_give(tmp_path, name):
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "nothing":
        path.write_bytes(b"x")
    with pytest.raises(Mistake, match="--weights"):
        find_weights(str(path))


def test_a_hub_out_of_reach_is_no_answer_within_seconds(monkeypatch):
    import socket

    from autoclimb.learn.hub import hub_answers

    def refused(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refused)
    assert hub_answers() is False


def test_a_backbone_that_timm_does_not_know_is_a_mistake():
    with pytest.raises(Mistake, match="list_models"):
        build_net(Config(backbone="resnet9000"), 2)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "350000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": "nonsense"}, 8),
    ],
)
def test_threads_follow_the_quota_of_the_control_group(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == allowed_cores(tmp_path) == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_cores(tmp_path) == 1
    assert allowed_cores(tmp_path) == cores, "that decode"


@pytest.mark.parametrize(
    ("group", "free"),
    [
        ({}, 8e9),
        ({"memory.max": "max", "memory.current": "5", "memory.stat": ""}, 8e9),
        (
            {
                "memory.max": "3000000000",
                "memory.current": "2000000000",
                "memory.stat": "anon 1\ninactive_file 500000000",
            },
            1.5e9,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "2000000000",
                "memory/memory.usage_in_bytes": "2500000000",
                "memory/memory.stat": "total_inactive_file 100",
            },
            0.0,
        ),
    ],
    ids=["none", "no limit", "version 2", "version 1"],
)
def test_memory_is_that_of_the_machine_or_of_its_control_group(tmp_path, group, free):
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 7812500 kB\n")
    for name, text in group.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_memory(CPU, tmp_path, tmp_path / "meminfo") == free
    assert usable_memory(CPU, tmp_path / "x", tmp_path / "x") == math.inf


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_a_mistake(name):
    with pytest.raises(Mistake, match="--device"):
        device_named(name)


@pytest.mark.parametrize("name", ["auto", "cuda:0"])
def test_a_card_on_which_nothing_can_be_begun_is_a_mistake(monkeypatch, name):
    def full(device):
        raise torch.OutOfMemoryError("CUDA error: out of memory\nCUDA kernel errors might be ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    with pytest.raises(Mistake, match=r"cannot be used \(CUDA error: out of memory\); free it, or write --device cpu"):
        device_named(name)


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"policy": "flip-colour", "mixup": 0.3, "ema": 0.9}, {"optimizer": "sgd"}])
def test_on_a_gpu_a_net_learns_stripes_as_well(tmp_path, changes):
    material = material_of()
    config = SMALL.vary(epochs=12, **changes)
    result = run_trial(config, material, tmp_path / "t", tmp_path / "t", tmp_path, device_named("cuda"))
    assert result["status"] == "done"
    assert hits(material, np.asarray(read_predictions(tmp_path / "t" / "oof"))) > 0.9


# --- channels other than red, green and blue -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 21, 32, 48])
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_each_channel_is_shrunk_as_if_it_were_alone(size, channels):
    picture = stripes(1, channels=channels)[0][0]
    result = resized(picture, size)
    alone = np.stack([resized(picture[..., c : c + 1].copy(), size)[..., 0] for c in range(channels)], 2)
    assert result.shape == (size, size, channels)
    assert abs(result.astype(int) - alone).max() <= 1


@pytest.mark.usefixtures("in_fp32")
@pytest.mark.parametrize("channels", [2, 4])
def test_a_net_of_other_channels_learns_stripes_and_predicts_them_again(tmp_path, channels):
    material = material_of(channels=channels)
    config = SMALL.vary(folds=(0,), epochs=10, policy="flip-colour")
    result = run_trial(config, material, tmp_path / "out", tmp_path / "nets", tmp_path, CPU)
    assert result["status"] == "done", result
    assert hits(material, np.asarray(read_predictions(tmp_path / "out" / "oof"))) > 0.8
    again = predict_again(config, material, tmp_path / "nets", tmp_path, CPU, lambda facts: None)
    assert np.abs(again[material.test_rows] - np.load(tmp_path / "out" / "test.npy")).max() < 1e-4


@pytest.mark.parametrize("backbone", ["gradients", "patches"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_features_of_other_channels_learn_stripes(tmp_path, backbone, channels):
    config = SMALL.vary(train="features", backbone=backbone, folds=(0, 1, 2, 3), head="kernel")
    material = material_of(channels=channels)
    cache = tmp_path / "cache"
    cache.mkdir()
    result = run_trial(config, material, tmp_path / "out", tmp_path / "nets", cache, CPU)
    assert result["status"] == "done", result
    oof = np.asarray(read_predictions(tmp_path / "out" / "oof"))
    assert min(hits(material, oof, fold) for fold in config.folds) > 0.9


def test_pretrained_first_layers_are_adapted_to_other_channels(tmp_path):
    folder = tmp_path / "resnet10t"
    was = hub_form(folder).conv1[0].weight
    for weights in (folder, folder / "model.safetensors"):
        built = build_net(Config(backbone="resnet10t", weights=str(weights)), 3, 4)
        first = built.net.conv1[0].weight
        assert first.shape[1] == len(built.mean) == len(built.std) == 4
        assert torch.allclose(first[:, :3], was * 3 / 4, atol=1e-6)
        assert torch.allclose(first[:, 3], was[:, 0] * 3 / 4, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (112, np.float16)])
def test_a_nets_input_is_normalised_by_channel_whatever_its_layout_and_its_pictures_stay(channels, dtype, layout):
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (2, 6, 6, channels)).astype(dtype)
    before = pictures.copy()
    mean, std = (tuple(draw.uniform(0.1, 1.0, channels).tolist()) for _ in range(2))
    x = to_input(pictures, mean, std, CPU, layout)
    expected = (pictures.astype(np.float64) / 255 - mean) / std
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert x.is_contiguous(memory_format=layout)
    assert (pictures == before).all()
