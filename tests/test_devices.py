"""Which device a run gets, what it says of a card that it cannot use, and in which numbers nets predict there."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from folders import competition
from inside import Inside
from nets import CPU, TINY, material_of

import autoclimb
from autoclimb import solve
from autoclimb.errors import Mistake
from autoclimb.learn import devices, hub, trunk, worker
from autoclimb.learn.backbones import build_net
from autoclimb.learn.devices import device_named, prediction_autocast, prediction_dtype, why_no_card
from autoclimb.learn.features import features_of
from autoclimb.learn.material import Watch
from autoclimb.learn.phases import log, phase, seconds_alive
from autoclimb.learn.views import predict_rows
from autoclimb.protocol import Hello
from autoclimb.run.worker import command_of

CARD = torch.device("cuda")
NO_KERNELS = RuntimeError("CUDA error: no kernel image is available for execution on the device\nSearch for it")
OLD_DRIVER = RuntimeError("The NVIDIA driver on your system is too old (found version 12040). Please update")
HELLO = Hello("auto", "multiclass", 2, target="", fold_of="", cache="", pipelines={}, precision="float32")


def raising(error):
    def broken(*given, **named):
        raise error

    return broken


@pytest.fixture
def pascal(monkeypatch):
    """A card that torch sees and has no kernels for, as Kaggle's P100."""
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "mem_get_info": (15e9, 16e9),
        "get_device_capability": (6, 0),
        "get_device_name": "Tesla P100-PCIE-16GB",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *given, value=value: value)
    monkeypatch.setattr(worker, "warm_up", raising(NO_KERNELS))


def begun_on(device, error):
    """What a worker has begun ahead, which ended with the error."""
    card: Future[None] = Future()
    card.set_exception(error)
    return worker.Ahead(device, Future(), card, None)


@pytest.mark.parametrize("ahead", [None, begun_on("auto", NO_KERNELS), begun_on("cpu", Mistake("another device"))])
def test_a_card_without_kernels_is_a_mistake_before_anything_is_trained_and_says_what_helps(pascal, ahead):
    with pytest.raises(Mistake, match=r"no kernels for it \(Tesla P100.*6\.0\).*CUDA 12\.6.*--device cpu"):
        worker.setting_of(HELLO, ahead)


def test_a_card_whose_libraries_fail_is_a_mistake_with_their_words(pascal, monkeypatch):
    monkeypatch.setattr(
        worker, "warm_up", raising(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED\nat line 3"))
    )
    with pytest.raises(Mistake, match=r"CUDNN_STATUS_NOT_INITIALIZED\); free it, or write --device cpu"):
        worker.setting_of(HELLO)


def test_why_a_card_that_is_here_is_not_used_is_known_unless_it_was_hidden(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "init", raising(OLD_DRIVER))
    assert why_no_card(tmp_path) == "", "there is none"
    (tmp_path / "nvidiactl").touch()
    assert why_no_card(tmp_path) == "", "a driver, and no card that was given to this container"
    (tmp_path / "nvidia0").touch()
    assert "driver on your system is too old" in why_no_card(tmp_path)
    assert "CUDA 12.6" in why_no_card(tmp_path)
    monkeypatch.setattr(torch.cuda, "init", raising(AssertionError("Torch not compiled with CUDA enabled")))
    assert why_no_card(tmp_path).endswith("(Torch not compiled with CUDA enabled); try a torch that is built for CUDA")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert why_no_card(tmp_path) == ""


def test_a_card_asked_for_by_name_that_cannot_be_used_is_a_mistake_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "why_no_card", lambda: "torch 2.15 cannot use the NVIDIA card here (too old)")
    with pytest.raises(Mistake, match=r"--device 'cuda': torch 2.15 cannot use .*too old"):
        device_named("cuda")


def test_a_run_on_the_processor_says_why_the_card_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(solve, "Worker", Inside)
    monkeypatch.setattr(worker, "why_no_card", lambda: "torch cannot use the NVIDIA card here (too old)")
    notes: list[str] = []

    def told(device):
        notes.clear()
        out = tmp_path / device
        data = competition(tmp_path / "data") if not (tmp_path / "data").exists() else tmp_path / "data"
        how = {"metric": "accuracy", "budget": 600, "plan": [lambda history, s: iter(())], "pretrained": False}
        autoclimb.fit(data, out=out, device=device, tell=lambda event: notes.append(event.text), **how)
        return [text for text in notes if "NVIDIA" in text]

    assert told("auto") == ["torch cannot use the NVIDIA card here (too old)"]
    assert told("cpu") == []


@pytest.mark.parametrize(("free", "chosen"), [((9, 2), "cuda"), ((2, 1), "cuda:0"), ((2, 7), "cuda:1")])
def test_where_others_fill_the_first_card_the_roomiest_is_taken(monkeypatch, free, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def info(device):
        number = device if isinstance(device, int) else device.index or 0
        return free[number], 10

    monkeypatch.setattr(torch.cuda, "mem_get_info", info)
    assert device_named("auto") == torch.device(chosen)
    assert device_named("cuda") == CARD, "who names a card gets it"


# --- numbers that nets predict in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "dtype"), [((6, 1), torch.float32), ((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_a_card_predicts_in_the_numbers_that_it_has_fast_units_for(monkeypatch, capability, dtype):
    monkeypatch.setattr(devices, "has_bf16", lambda device: capability >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert prediction_dtype(CARD) == dtype


@pytest.fixture
def in_fp16(monkeypatch):
    """A processor that predicts in fp16, as a T4 does."""
    monkeypatch.setattr(devices, "prediction_dtype", lambda device: torch.float16)
    assert prediction_autocast(CPU).fast_dtype == torch.float16


def large_net():
    """A net whose first maps leave the range of fp16; a norm after them brings them back."""
    torch.manual_seed(0)
    built = build_net(TINY, 2)
    built.net.train()(torch.rand(8, 3, 16, 16))
    with torch.no_grad():
        built.net.conv1[0].weight *= 1e7
        built.net.conv1[1].running_mean *= 1e7
        built.net.conv1[1].running_var *= 1e14
    return built


def test_a_net_that_leaves_the_range_of_fp16_predicts_what_it_does_in_fp32(in_fp16):
    built, material, rows = large_net(), material_of(), np.arange(8)
    with torch.autocast("cpu", torch.float16), torch.inference_mode():
        assert not torch.isfinite(built.net.eval()(torch.rand(2, 3, 16, 16))).all()
    predictions = predict_rows(built, material, rows, CPU, 16)
    assert np.isfinite(predictions).all()
    np.testing.assert_allclose(
        predictions, predict_rows(replace(built, exactly=True), material, rows, CPU, 16), atol=1e-3
    )


def test_frozen_features_in_fp16_are_those_of_fp32(in_fp16, tmp_path, monkeypatch):
    monkeypatch.setattr(trunk, "frozen_net", lambda config, channels: large_net())
    monkeypatch.setattr(trunk, "for_prediction", lambda built, *given: built)  # as on a card
    config = TINY.vary(train="features", weights="box", layers=1)
    features = features_of(config, material_of().pixels, tmp_path, CPU, Watch())
    assert np.isfinite(features).all()


# --- what is got ready before the first request ----------------------------------------------------------------------


def test_a_hub_whose_name_is_looked_up_for_ever_is_no_answer_within_seconds(monkeypatch):
    ended = threading.Event()

    def looked_up(*given, **named):
        ended.wait(60)
        raise OSError("no network")

    monkeypatch.setattr(hub.socket, "create_connection", looked_up)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub.hub_answers(0.01) is False
    ended.set()


def test_a_worker_that_knows_its_device_begins_with_it_and_asks_the_hub_only_where_it_may(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(worker, "import_libraries", lambda device: asked.append(f"imports {device}"))
    monkeypatch.setattr(worker, "warm_up_named", lambda device: asked.append(f"card {device}"))
    monkeypatch.setattr(worker, "hub_answers", lambda: True)
    ahead = worker.begin_ahead("cuda:1", hub=True)
    assert ahead.hub is not None
    assert ahead.hub.result()
    ahead.imports.result()
    ahead.card.result()
    assert sorted(asked) == ["card cuda:1", "imports cuda:1"]
    assert worker.list_weights("", ahead.hub)["hub"] is True
    assert worker.begin_ahead("cpu").hub is None
    assert command_of("cuda", hub=True)[2:] == ["autoclimb.learn.worker", "cuda", "hub"]
    assert command_of()[2:] == ["autoclimb.learn.worker"]


@pytest.mark.parametrize(("device", "on_card"), [("cpu", False), ("cuda:1", True), ("auto", True), ("", False)])
def test_a_card_waits_for_more_libraries_than_a_processor(monkeypatch, device, on_card):
    imported: list[str] = []
    monkeypatch.setattr(worker, "importlib", SimpleNamespace(import_module=imported.append))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    worker.import_libraries(device)
    assert set(worker.LIBRARIES) <= set(imported)
    assert bool(set(worker.OF_A_CARD) & set(imported)) is on_card


def test_a_phase_is_logged_with_its_seconds_even_where_it_fails(capsys):
    log("it begins")
    with pytest.raises(ZeroDivisionError), phase("dividing"):
        1 / 0  # noqa: B018
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("  it begins")
    assert second.endswith("  dividing: 0.00 s")


def test_how_long_a_process_lives_is_read_off_the_system(tmp_path):
    assert 0 < seconds_alive() < 1e6
    assert seconds_alive(tmp_path / "absent") == 0
