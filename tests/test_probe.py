"""How a net is run: what a probe measures and decides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import TINY, material_of

from autoclimb.learn import fold, probe
from autoclimb.learn.backbones import build_net
from autoclimb.learn.probe import WAYS, best_batch, measure_speed, worth_compiling
from autoclimb.learn.trial import run_trial
from autoclimb.learn.views import predict_rows

CPU, CARD = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("fastest", WAYS["cpu"])
def test_the_fastest_way_of_running_a_net_is_told(monkeypatch, fastest):
    seen = []

    def took(built, pictures, *rest):
        seen.append((built.bf16, built.channels_last))
        return 0.5 if seen[-1] == fastest else 1.0

    monkeypatch.setattr(probe, "step_seconds", took)
    told = measure_speed(TINY, material_of(), CPU, 0.0)
    assert tuple(seen[:3]) == WAYS["cpu"]
    assert (told["bf16"], told["channels_last"]) == fastest
    assert told["train"] == 8 / 0.5
    assert told["batch"] == 0


def test_a_way_that_was_disturbed_once_is_still_taken(monkeypatch):
    seen = []

    def took(built, *rest):
        seen.append((built.bf16, built.channels_last))
        return {WAYS["cpu"][1]: 0.5, WAYS["cpu"][2]: 4.0}.get(seen[-1], 0.8) if len(seen) > 3 else 0.9

    monkeypatch.setattr(probe, "step_seconds", took)
    told = measure_speed(TINY, material_of(), CPU, 0.0)
    assert (told["bf16"], told["channels_last"]) == WAYS["cpu"][1]
    assert told["train"] == 8 / 0.5


def test_a_way_that_is_far_slower_is_measured_once(monkeypatch):
    seen = []

    def took(built, *rest):
        seen.append((built.bf16, built.channels_last))
        return 4.0 if seen[-1] == WAYS["cpu"][2] else 1.0

    monkeypatch.setattr(probe, "step_seconds", took)
    measure_speed(TINY, material_of(), CPU, 0.0)
    assert seen == [*WAYS["cpu"], *WAYS["cpu"][:2]]


def test_a_speed_is_measured_in_every_way_and_without_memory_there_is_none(monkeypatch):
    told = measure_speed(TINY, material_of(), CPU, 0.0)
    assert told["train"] > 0
    assert told["predict"] > 0

    def full(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(probe, "step_seconds", full)
    assert measure_speed(TINY, material_of(), CPU, 0.0)["train"] == 0.0


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


def test_compiling_is_for_long_trainings_at_one_size_on_a_card():
    assert worth_compiling(CARD, 3600.0, TINY)
    assert not worth_compiling(CARD, 300.0, TINY)
    assert not worth_compiling(CPU, 36000.0, TINY)
    for change in ({"sizes": (8,)}, {"scales": (0.5, 1.5)}, {"unfreeze": 0.2}):
        assert not worth_compiling(CARD, 3600.0, TINY.vary(**change))


def test_the_layout_changes_no_prediction():
    material = material_of()
    built = build_net(TINY, 2)
    made = []
    for channels_last in (True, False):
        way = replace(built, channels_last=channels_last)
        probe.place(way, CPU)
        assert built.net.layer1[0].conv1.weight.is_contiguous(memory_format=way.layout)
        made.append(predict_rows(way, material.pixels, np.arange(8), "multiclass", CPU, 16))
    np.testing.assert_allclose(*made, atol=1e-5)


def test_a_net_in_torchs_own_layout_and_compiled_trains_to_the_same(tmp_path, monkeypatch):
    def trained(name, **how):
        told = run_trial(
            TINY.vary(epochs=1, ema=0.9), material_of(), tmp_path / name, tmp_path / name, tmp_path, CPU, **how
        )
        assert told["status"] == "done", told
        return told["facts"], np.load(tmp_path / name / "oof.npy")

    facts, plain = trained("plain", channels_last=False)
    assert facts["channels_last"] is False
    compiling = torch.compile
    monkeypatch.setattr(fold, "worth_compiling", lambda *given: True)
    monkeypatch.setattr(torch, "compile", lambda net: compiling(net, backend="eager"))
    facts, compiled = trained("compiled", channels_last=False)
    assert facts["compiled"] is True
    np.testing.assert_allclose(plain, compiled, atol=1e-4)


@pytest.mark.gpu
def test_on_a_card_a_compiled_net_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(fold, "worth_compiling", lambda *given: True)
    material = material_of(n=64)
    told = run_trial(
        TINY.vary(epochs=12, batch=16), material, tmp_path / "t", tmp_path / "t", tmp_path, CARD, bf16=True
    )
    oof = np.load(tmp_path / "t" / "oof.npy")[material.fold_of == 0]
    assert told["facts"]["compiled"]
    assert (oof.argmax(1) == material.target[material.fold_of == 0].argmax(1)).mean() > 0.8


@pytest.mark.gpu
def test_on_a_card_layout_and_batch_are_chosen():
    told = measure_speed(TINY, material_of(n=2000), CARD, 0.5)
    assert told["train"] > 0
    assert told["batch"] in (8, 16, 32)
