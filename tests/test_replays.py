"""Forward and backward passes recorded as graphs of a card, and replayed."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from nets import CPU, TINY, fold_over, material_of
from torch import nn

from autoclimb.learn.backbones import Built, build_net, place
from autoclimb.learn.loop import Pace, train
from autoclimb.learn.material import Format
from autoclimb.learn.replays import Launched, Replayed, Whole, replayed, shapes_of

CARD = torch.device("cuda")
SHAPE = (4, 3, 16, 16)


def test_of_a_net_of_one_size_one_shape_is_recorded_and_of_growing_pictures_each():
    assert shapes_of(TINY.vary(size=32, sizes=()), 8, 3) == [(8, 3, 32, 32)]
    assert shapes_of(TINY.vary(size=32, sizes=(16, 24)), 8, 4) == [(8, 4, 16, 16), (8, 4, 24, 24), (8, 4, 32, 32)]


@pytest.mark.parametrize("change", [{"unfreeze": 0.2}, {"scales": (0.5, 1.5)}, {"grid": 2}])
def test_what_changes_from_step_to_step_is_not_recorded(change):
    assert shapes_of(TINY.vary(**change), 8, 3) == []


@pytest.mark.parametrize(("img_s", "seconds", "late"), [(320.0, 0.2, 0.6), (64e3, 1e-3, 0.1), (0.0, 0.2, 1.8)])
def test_a_card_has_few_seconds_of_steps_waiting_when_the_time_is_over(img_s, seconds, late):
    """Python launches a step in no time; the card takes `seconds` for each, one after the other."""
    now, launched_until = [0.0], [0.0]

    class Done:
        def __init__(self):
            launched_until[0] = self.at = max(launched_until[0], now[0]) + seconds

        def synchronize(self):
            now[0] = max(now[0], self.at)

    launched, steps = Launched(64, img_s, Done), 0
    while now[0] < 10.0:
        now[0] += 1e-4
        launched.after_step()
        steps += 1
    assert launched_until[0] < 10.0 + late
    assert steps * seconds == pytest.approx(10.0, abs=late), "the card never waits for Python"


def test_without_a_card_a_net_stays_as_it_was():
    built = build_net(TINY, 2)
    assert replayed(built, [SHAPE], CPU) is built


def test_a_graph_is_replayed_for_its_shape_while_the_net_trains():
    net = nn.Conv2d(3, 2, 3)
    run = Replayed(net, net, {SHAPE: lambda x: "replayed"})
    assert run(torch.zeros(SHAPE)) == "replayed"
    assert run(torch.zeros(2, 3, 16, 16)).shape == (2, 2, 14, 14)
    net.eval()
    assert run(torch.zeros(SHAPE)).shape == (4, 2, 14, 14)


class Island(nn.Module):
    """A net whose head computes in fp32, as cosine heads do."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Parameter(torch.linspace(-1, 1, 15).reshape(3, 5))

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.body(x).float() @ self.head.T


def test_the_backward_pass_is_recorded_outside_of_autocast():
    torch.manual_seed(0)
    net, bf16 = Island(), Format("bf16")
    x, y = torch.randn(7, 6), torch.randn(7, 3)

    def gradients(run):
        outputs = run(x)
        return [outputs.dtype, *torch.autograd.grad(outputs, list(net.parameters()), y)]

    with bf16.autocast(CPU):
        outputs = net(x)
    expected = [outputs.dtype, *torch.autograd.grad(outputs, list(net.parameters()), y)]
    recorded = gradients(Whole(net, net, partial(bf16.autocast, CPU)))
    assert recorded[0] == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(recorded[1:], expected[1:], strict=True))


def test_where_memory_runs_out_graphs_are_let_go_of_and_parts_run_without(monkeypatch):
    built = build_net(TINY, 2)

    def full(x):
        raise torch.OutOfMemoryError

    run = Replayed(built.net, built.net, {(8, 3, 16, 16): full})
    _, facts = train(
        replace(built, forward=run), material_of(), TINY, fold_over(range(24)), Pace(lambda: 0.0, 0.0, steps=3)
    )
    assert facts["micro_batches"] == 2
    assert not run.graphs


class Reads(nn.Module):
    """A net that looks at a number of its own: Python has to wait for the card, which a graph cannot."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x):
        x = self.norm(x).mean((2, 3))
        return self.head(x) * (1.0 if x.sum().item() < 0 else 2.0)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "change", [{}, {"sizes": (8,), "ema": 0.9}, {"mixup": 0.3, "clip": 1.0}, {"loss": "arcface"}, {"swa": 0.5}]
)
def test_on_a_card_a_net_replayed_becomes_the_same(change, precision):
    config, fold = TINY.vary(batch=8, **change), fold_over(range(24), device=CARD)
    ended = []
    for recorded in (False, True):
        torch.manual_seed(0)
        built = replace(build_net(config, 2), format=Format(precision))
        place(built, CARD)
        if recorded:
            built = replayed(built, shapes_of(config, 8, 3), CARD)
            assert isinstance(built.forward, Replayed)
        net, _ = train(built, material_of(), config, fold, Pace(lambda: 0.0, 0.0, steps=9))
        ended.append({name: tensor.float().cpu() for name, tensor in net.state_dict().items()})
    off = max(float((ended[0][name] - ended[1][name]).abs().max()) for name in ended[0])
    assert off < (1e-3 if precision == "fp32" else 3e-2)


@pytest.mark.gpu
def test_on_a_card_recording_leaves_weights_and_statistics_as_they_were():
    built = build_net(TINY, 2)
    before = {name: tensor.clone() for name, tensor in place(built, CARD).state_dict().items()}
    replayed(built, [SHAPE], CARD)
    assert all(torch.equal(before[name], tensor) for name, tensor in built.net.state_dict().items())


@pytest.mark.gpu
def test_on_a_card_a_net_that_cannot_be_recorded_trains_as_ever():
    net = Reads()
    built = Built(net, net.head, (0.5,) * 3, (0.5,) * 3)
    same = replayed(built, [SHAPE], CARD)
    assert same.forward is None
    x = torch.randn(SHAPE, device=CARD)
    same.net(x).sum().backward()
    assert torch.isfinite(net.head.weight.grad).all()
