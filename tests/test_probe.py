"""How a net is run: what a probe measures and decides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import CPU, TINY, material_of

from autoclimb.arrays import read_predictions
from autoclimb.learn import fold, formats, loop, probe
from autoclimb.learn.backbones import build_net
from autoclimb.learn.formats import FORMATS
from autoclimb.learn.material import Format
from autoclimb.learn.probe import (
    FEW,
    beside_pictures,
    best_batch,
    measure_speed,
)
from autoclimb.learn.trial import run_trial
from autoclimb.learn.views import predict_rows

CARD = torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "fastest"), [(name, fastest) for name in ("cpu", "cpu without bf16") for fastest in FORMATS[name]]
)
def test_the_fastest_format_is_the_reply(monkeypatch, name, fastest):
    seen = []

    def took(built, pictures, *rest):
        seen.append(built.format)
        return (0.5 if seen[-1] == fastest else 1.0), 0.0

    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "step_seconds", took)
    monkeypatch.setattr(formats, "has_bf16", lambda device: name == "cpu")
    reply = measure_speed(TINY, material_of(), CPU, 0.5)
    assert tuple(seen[:2]) == FORMATS[name]
    assert Format(reply["precision"], reply["channels_last"]) == fastest
    assert reply["train"] == 8 / 0.5
    assert reply["batch"] == 0


def test_a_format_that_was_disturbed_once_is_still_taken(monkeypatch):
    seen = []

    def took(built, *rest):
        seen.append(built.format)
        return ({FORMATS["cpu"][1]: 0.5}.get(seen[-1], 0.8) if len(seen) > 2 else 0.9), 0.0

    monkeypatch.setattr(formats, "has_bf16", lambda device: True)
    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "step_seconds", took)
    reply = measure_speed(TINY, material_of(), CPU, 0.5)
    assert Format(reply["precision"], reply["channels_last"]) == FORMATS["cpu"][1]
    assert reply["train"] == 8 / 0.5


def test_a_format_that_is_far_slower_is_measured_once(monkeypatch):
    seen = []

    def took(built, *rest):
        seen.append(built.format)
        return (4.0 if seen[-1] == FORMATS["cpu"][1] else 1.0), 0.0

    monkeypatch.setattr(formats, "has_bf16", lambda device: True)
    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "step_seconds", took)
    measure_speed(TINY, material_of(), CPU, 0.5)
    assert seen == [*FORMATS["cpu"], FORMATS["cpu"][0]]


def test_a_speed_is_measured_in_every_format_and_without_memory_there_is_none(monkeypatch):
    reply = measure_speed(TINY, material_of(), CPU, 0.0)
    assert reply["train"] > 0
    assert reply["predict"] > 0

    def full(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "step_seconds", full)
    assert measure_speed(TINY, material_of(), CPU, 0.0)["train"] == 0.0


@pytest.mark.parametrize("looked_at", [32, 16])
def test_on_a_processor_what_a_step_takes_beside_its_pictures_is_measured_too(monkeypatch, looked_at):
    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "pictures_a_step", lambda built, pictures, device: looked_at)
    monkeypatch.setattr(probe, "step_seconds", lambda built, pictures, *rest: (0.02 + 0.001 * len(pictures), 0.0))
    reply = measure_speed(TINY.vary(batch=32), material_of(n=80), CPU, 0.0)
    assert reply["step"] == pytest.approx(0.02)
    assert reply["train"] == pytest.approx(32 / 0.052)


@given(st.integers(FEW + 1, 64), st.floats(0.001, 2.0), st.floats(0.001, 2.0))
def test_a_step_takes_no_less_than_what_it_takes_beside_its_pictures(count, seconds, seconds_of_few):
    assert 0.0 <= beside_pictures(count, seconds, seconds_of_few) <= min(seconds, seconds_of_few)


def test_a_net_that_does_not_fit_at_its_batch_is_looked_at_in_a_smaller_one(monkeypatch):
    seen = []

    def hungry(built, pictures, *rest):
        seen.append(len(pictures))
        if len(pictures) > 16:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to get 9 bytes")
        return 0.5, 0.0

    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "pictures_a_step", lambda built, pictures, device: len(pictures))
    monkeypatch.setattr(probe, "step_seconds", hungry)
    reply = measure_speed(TINY.vary(batch=64), material_of(n=80), CPU, 0.0)
    assert sorted(set(seen)) == [16, 32, 64]
    assert reply["train"] == 16 / 0.5
    assert reply["picture_bytes"] > 0


@pytest.mark.parametrize("fastest", FORMATS["cuda without bf16"])
def test_on_a_card_without_bf16_the_probe_chooses_between_fp16_and_fp32(monkeypatch, fastest):
    monkeypatch.setattr(probe, "formats_for", lambda net, device, leisure: FORMATS["cuda without bf16"])
    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    monkeypatch.setattr(probe, "step_seconds", lambda built, *given: (0.5 if built.format == fastest else 1.0, 0.0))
    reply = measure_speed(TINY, material_of(), CPU, 0.0)
    assert Format(reply["precision"], reply["channels_last"]) == fastest


def test_on_a_card_memory_is_the_peak_of_the_step_that_was_timed():
    built = build_net(TINY, 2)
    weights = probe.ADAMW_BYTES * sum(p.numel() for p in built.net.parameters())
    pictures = np.zeros((8, 32, 32, 3), np.uint8)
    assert probe.memory_of(built, pictures, CARD, weights / 2 + 8e6) == (weights, 1e6)


def test_a_format_whose_first_loss_is_no_number_is_not_taken(monkeypatch):
    both = Format("fp16"), Format("fp32")
    monkeypatch.setattr(probe, "formats_for", lambda net, device, leisure: both)
    monkeypatch.setattr(probe, "settle_threads", lambda step, most: most)
    built = build_net(TINY, 2)
    with torch.no_grad():
        built.net.conv1[0].weight *= 1e7
    monkeypatch.setattr(probe, "build_net", lambda *given: built)
    monkeypatch.setattr(probe, "memory_of", lambda *given: (0.0, 0.0))
    reply = measure_speed(TINY, material_of(), CPU, 0.0)
    assert reply["train"] > 0
    assert reply["precision"] == "fp32"


@pytest.mark.parametrize(("largest", "batches"), [(0, [8, 16, 32]), (16, [8, 16])])
def test_no_larger_batch_is_looked_at_than_the_plan_would_train_in(monkeypatch, largest, batches):
    seen = []

    def took(built, pictures, *rest):
        seen.append(len(pictures))
        return 1.0, 0.0

    monkeypatch.setattr(probe, "step_seconds", took)
    for name in ("place", "to_input"):
        monkeypatch.setattr(probe, name, lambda thing, *given: thing if isinstance(thing, np.ndarray) else thing.net)
    monkeypatch.setattr(probe, "timed", lambda *given: [1.0])
    monkeypatch.setattr(probe, "prediction_autocast", lambda device: torch.autocast("cpu", enabled=False))
    monkeypatch.setattr(formats, "has_bf16", lambda device: True)
    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    reply = measure_speed(TINY, material_of(n=1200), CARD, 0.5, largest=largest)
    assert seen == batches
    assert reply["batch"] == batches[-1]


def test_memory_is_what_the_forward_pass_keeps_and_grows_with_pictures_and_their_area():
    material, built = material_of(n=64, size=32), build_net(TINY, 2)
    weights = probe.ADAMW_BYTES * sum(p.numel() for p in built.net.parameters())

    def memory(size):
        pictures = np.zeros((8, size, size, 3), np.uint8)
        return probe.memory_of(built, pictures, CPU, 0.0)

    (fixed, small), (_, large) = memory(32), memory(64)
    assert weights <= fixed < 2 * weights + 1e5
    assert 3.5 < large / small < 4.5
    assert small > 4 * 3 * 32 * 32, "more than the picture itself"
    few = np.zeros((2, 32, 32, 3), np.uint8)
    assert probe.memory_of(built, few, CPU, 0.0) == (0, 0)
    reply = measure_speed(TINY.vary(batch=16), material, CPU, 0.0)
    assert reply["picture_bytes"] > 0
    assert reply["fixed_bytes"] >= weights


@pytest.mark.parametrize("size", [16, 32])
def test_a_small_net_learns_where_bf16_was_fastest(tmp_path, size):
    material, config = material_of(n=64, size=size), TINY.vary(size=size, epochs=6, lr=1e-2)
    reply = run_trial(config, material, tmp_path, tmp_path, tmp_path, CPU, format=Format("bf16"))
    assert (reply["status"], reply["facts"].get("precision")) == ("done", "fp32" if size == 16 else "bf16"), reply
    valid = material.fold_of == 0
    oof = np.asarray(read_predictions(tmp_path / "oof"))[valid]
    assert (oof.argmax(1) == material.target[valid].argmax(1)).mean() > 0.8


@pytest.mark.parametrize("precision", ["fp32", "fp16"])  # a processor takes 11 ms a picture and epoch in fp16
def test_a_net_learns_in_fp16_with_the_scaler_as_in_fp32(tmp_path, precision):
    material, config = material_of(n=32), TINY.vary(epochs=6, batch=4, lr=1e-2, ema=0.5, swa=0.0)
    reply = run_trial(config, material, tmp_path, tmp_path, tmp_path, CPU, format=Format(precision))
    assert (reply["status"], reply["facts"].get("precision")) == ("done", precision), reply
    oof = np.asarray(read_predictions(tmp_path / "oof"))[material.fold_of == 0]
    assert (oof.argmax(1) == material.target[material.fold_of == 0].argmax(1)).mean() > 0.8


def test_gradients_too_small_for_fp16_arrive_by_the_scaler():
    """A loss of 1e-6 has gradients under fp16's least number: without a scaler they are zero."""
    weight = torch.nn.Parameter(torch.full((4, 4), 0.01))
    scaler, optimizer = Format("fp16").scaler(CPU), torch.optim.SGD([weight], lr=1.0)
    for scaled in (False, True):
        with Format("fp16").autocast(CPU):
            y = torch.nn.functional.linear(torch.ones(1, 4) * 1e-3, weight)
        loss = (y.float() * 1e-6).sum()
        (scaler.scale(loss) if scaled else loss).backward()
        assert bool(weight.grad.any()) == scaled
        if scaled:
            scaler.unscale_(optimizer)
            assert torch.allclose(weight.grad, torch.full((4, 4), 1e-9), rtol=0.1)
            assert not Format("bf16").scaler(CPU).is_enabled()
        weight.grad = None


@pytest.mark.parametrize(
    ("rates", "most", "batch"),
    [
        ({64: 180, 128: 300}, 999, 128),
        ({64: 180, 128: 190}, 999, 64),
        ({64: 105, 128: 900}, 999, 32),
        ({64: 180, 128: 0}, 999, 64),
        ({64: 180, 128: 300}, 100, 64),
    ],
)
def test_a_batch_is_doubled_while_that_pays(rates, most, batch):
    assert best_batch(rates.get, 32, most, 100.0) == (batch, {32: 100.0, **rates}[batch])


@pytest.mark.parametrize(("forward", "pictures"), [(0.001, 64), (0.01, 64), (0.05, 13), (0.4, 8), (9.0, 8)])
def test_a_slow_net_is_looked_at_in_small_steps(monkeypatch, forward, pictures):
    monkeypatch.setattr(probe, "_seconds_of", lambda net, x: forward)
    built = build_net(TINY, 2, 3)
    assert probe.pictures_a_step(built, np.zeros((64, 32, 32, 3), np.uint8), torch.device("cpu")) == pictures


def test_compiling_takes_of_the_time_but_not_the_end_of_the_schedule(tmp_path, monkeypatch):
    clock, rates = [0.0], []

    def now():
        clock[0] += 0.04
        return clock[0]

    def compiled(built, *given):
        clock[0] += 4.0
        return built

    def spied(*given):
        optimizer = original(*given)
        optimizer.register_step_pre_hook(lambda optimizer, *rest: rates.append(optimizer.param_groups[0]["lr"]))
        return optimizer

    original = loop.optimizer_of
    monkeypatch.setattr(loop, "optimizer_of", spied)
    monkeypatch.setattr(fold, "worth_compiling", lambda *given: True)
    monkeypatch.setattr(fold, "compiled", compiled)
    reply = run_trial(TINY.vary(epochs=0.0, seconds=8.0), material_of(), tmp_path, tmp_path, tmp_path, CPU, now=now)
    assert reply["facts"]["compiled"]
    assert 0 <= rates[-1] < 0.05 * max(rates)
    assert max(rates) > 0.95 * TINY.lr
    assert clock[0] < 9.0


def test_the_layout_changes_no_prediction():
    material = material_of()
    built = build_net(TINY, 2)
    results = []
    for channels_last in (True, False):
        laid = replace(built, format=Format(channels_last=channels_last))
        probe.place(laid, CPU)
        assert built.net.layer1[0].conv1.weight.is_contiguous(memory_format=laid.format.layout)
        results.append(predict_rows(laid, material, np.arange(8), CPU, 16))
    np.testing.assert_allclose(*results, atol=1e-5)


def test_a_net_in_torchs_own_layout_and_compiled_trains_to_the_same(tmp_path, monkeypatch):
    def trained(name):
        config, folder = TINY.vary(epochs=1, ema=0.9), tmp_path / name
        reply = run_trial(config, material_of(), folder, folder, tmp_path, CPU, format=Format(channels_last=False))
        assert reply["status"] == "done", reply
        return reply["facts"], np.asarray(read_predictions(tmp_path / name / "oof"))

    facts, plain = trained("plain")
    assert facts["channels_last"] is False
    compiling = torch.compile
    monkeypatch.setattr(fold, "worth_compiling", lambda *given: True)
    monkeypatch.setattr(torch, "compile", lambda net: compiling(net, backend="eager"))
    facts, compiled = trained("compiled")
    assert facts["compiled"] is True
    np.testing.assert_allclose(plain, compiled, atol=1e-4)


@pytest.mark.gpu
def test_on_a_card_a_compiled_net_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(fold, "worth_compiling", lambda *given: True)
    material = material_of(n=64)
    reply = run_trial(
        TINY.vary(epochs=12, batch=16),
        material,
        tmp_path / "t",
        tmp_path / "t",
        tmp_path,
        CARD,
        format=Format("bf16"),
    )
    oof = np.asarray(read_predictions(tmp_path / "t" / "oof"))[material.fold_of == 0]
    assert reply["facts"]["compiled"]
    assert (oof.argmax(1) == material.target[material.fold_of == 0].argmax(1)).mean() > 0.8


@pytest.mark.gpu
def test_on_a_card_the_first_step_does_not_count():
    reply = measure_speed(TINY, material_of(n=2000), CARD, 0.5)
    assert reply["train"] > 1000, "loading kernels was taken for training"
    assert reply["predict"] > 1000


@pytest.mark.gpu
def test_on_a_card_layout_and_batch_are_chosen():
    reply = measure_speed(TINY, material_of(n=2000), CARD, 0.5)
    assert reply["train"] > 0
    assert reply["batch"] in (8, 16, 32)


def test_where_features_are_all_that_is_wanted_only_the_prediction_is_timed(monkeypatch):
    monkeypatch.setattr(probe, "step_seconds", lambda *_: pytest.fail("a step of training was measured"))
    speed = probe.measure_speed(TINY.vary(train="features", size=32), material_of(), CPU, 0.5)
    assert speed["predict"] > 0
    assert speed["train"] == 0


# --- what a card takes to get ready ----------------------------------------------------------------------------------


@pytest.mark.gpu
def test_on_a_card_a_net_with_depthwise_convolutions_is_soon_ready():
    config = TINY.vary(backbone="mobilenetv3_small_050", model_args=(), size=32)
    measure_speed(config, material_of(n=200), CARD, 0.5, leisure=False)
    assert measure_speed(config.vary(size=48), material_of(n=200), CARD, 0.5, leisure=False)["cold"] < 2


def test_what_a_card_takes_to_get_ready_is_part_of_no_fold_and_of_no_schedule(tmp_path, monkeypatch):
    clock, training = [0.0], []

    def now():
        clock[0] += 0.001
        return clock[0]

    def slowly(built, shapes, device):
        clock[0] += 5.0
        return built

    def spied(built, material, config, fold, pace, *rest):
        training.append(pace.seconds)
        clock[0] += pace.seconds
        return original(built, material, config, fold, replace(pace, seconds=0.0), *rest)

    original = fold.train
    monkeypatch.setattr(fold, "replayed", slowly)
    monkeypatch.setattr(fold, "train", spied)
    config = TINY.vary(epochs=0.0, seconds=8.0, folds=(0, 1))
    reply = run_trial(config, material_of(), tmp_path, tmp_path, tmp_path, CPU, now=now)
    assert reply["status"] == "done", reply
    assert reply["facts"]["ready_s"] == pytest.approx(10, abs=0.1)
    assert training == pytest.approx([training[0]] * 2, rel=0.05)
    assert 5 < training[0] < 8
