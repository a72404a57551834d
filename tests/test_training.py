"""The tricks of training, each by what would be missing without it."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import CPU, TINY, fold_over, material_of
from torch import nn

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.learn import loop
from autoclimb.learn.averages import recompute_norms
from autoclimb.learn.backbones import Built, build_net, place
from autoclimb.learn.batches import epoch_batches, scaled_size
from autoclimb.learn.faults import OutOfMemory
from autoclimb.learn.finder import HIGH, LEAST_STEPS, LOW, find_rate, smoothed, valley
from autoclimb.learn.loop import Pace, train
from autoclimb.learn.material import Format, Material
from autoclimb.learn.optim import Unfreezing, layers_of, optimizer_of
from autoclimb.learn.trial import run_trial
from autoclimb.learn.worker import setting_of
from autoclimb.protocol import Hello

pytestmark = pytest.mark.long

FORKS = "fork" in multiprocessing.get_all_start_methods()


def trained(config: Config, material: Material, steps: int, report=lambda facts: None, **changes):
    """The built net before and after so many steps over all rows, and the facts."""
    torch.manual_seed(0)
    built = replace(build_net(config, 2), **changes)
    before = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    fold = fold_over(range(len(material.target)), report=report)
    net, facts = train(built, material, config, fold, Pace(lambda: 0.0, 0.0, steps=steps))
    return before, net, facts


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto", "mobilenetv3_small_050"])
def test_rates_fall_geometrically_from_the_head_to_the_stem(backbone):
    built = build_net(Config(backbone=backbone), 3)
    optimizer = optimizer_of(built.net, built.head, Config(lr=1.0, backbone_lr=0.5, layer_decay=0.8))
    rate_of = {id(p): group["peak"] for group in optimizer.param_groups for p in group["params"]}
    layer_of = layers_of(built.net, built.head)
    top = max(layer_of.values())
    assert top >= 5
    for name, p in built.net.named_parameters():
        below = 1.0 if name.startswith(("fc.", "head.fc.", "classifier.")) else 0.5
        assert rate_of[id(p)] == pytest.approx(below * 0.8 ** (top - layer_of[name])), name
    assert min(rate_of.values()) == pytest.approx(0.5 * 0.8**top)


def test_what_a_net_names_is_not_decayed():
    built = build_net(Config(backbone="vit_tiny_patch16_224", size=32, model_args=(("depth", 1),)), 3)
    optimizer = optimizer_of(built.net, built.head, Config())
    decay_of = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay_of[id(built.net.pos_embed)] == decay_of[id(built.net.cls_token)] == 0
    assert decay_of[id(built.net.blocks[0].mlp.fc1.weight)] > 0


def test_a_net_is_unfrozen_head_first_and_frozen_batch_norms_keep_their_statistics():
    built = build_net(TINY, 2)
    built.net.train()
    unfreezing = Unfreezing(built.net, built.head, 0.5)
    stages = ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    for progress, free in ((0.0, 1), (0.09, 1), (0.11, 2), (0.45, 5), (0.5, 6), (0.99, 6)):
        unfreezing.at(progress)
        learning = {name.split(".")[0] for name, p in built.net.named_parameters() if p.requires_grad} - {"bn1"}
        assert learning == set(stages[-free:]), progress
        for name, module in built.net.named_modules():
            if isinstance(module, nn.BatchNorm2d) and not name.startswith("bn1"):
                assert module.training == (name.split(".")[0] in learning), (progress, name)


def test_the_first_steps_of_a_frozen_net_leave_all_below_its_head_as_it_was():
    halted = Pace(iter([0.0, 0.0, 0.0, 0.1, 0.1, 9.0, 9.0, 9.0, 9.0]).__next__, 0.0, seconds=1.0)
    built = build_net(TINY, 2)
    before = {name: tensor.clone() for name, tensor in built.net.state_dict().items()}
    material = material_of()
    net, facts = train(built, material, TINY.vary(unfreeze=1.0), fold_over(range(24)), halted)
    assert facts["steps"] >= 1
    changed = {name for name, tensor in net.state_dict().items() if (before[name] != tensor).any()}
    assert changed == {"fc.weight", "fc.bias"}
    before, net, _ = trained(TINY.vary(unfreeze=1.0), material, steps=6)
    assert (before["layer4.0.conv1.weight"] != net.layer4[0].conv1.weight).any()


# --- averages --------------------------------------------------------------------------------------------------------


def test_averaged_weights_are_the_mean_of_the_snapshots_and_the_rate_stays_constant(monkeypatch):
    from autoclimb.learn import loop

    seen, rates = [], []
    original = loop.optimizer_of

    def spied(net, *rest):
        optimizer = original(net, *rest)
        step = optimizer.step

        def counted(*args):
            rates.append(optimizer.param_groups[0]["lr"])
            step(*args)
            seen.append({name: p.detach().clone() for name, p in net.named_parameters()})

        optimizer.step = counted
        return optimizer

    monkeypatch.setattr(loop, "optimizer_of", spied)
    _, net, facts = trained(TINY.vary(swa=0.5), material_of(), steps=8)
    assert facts["snapshots"] == 4
    assert len(set(rates[4:])) == 1
    assert len(set(rates[:4])) == 4
    for name, p in net.named_parameters():
        mean = torch.stack([weights[name] for weights in seen[4:]]).mean(0)
        assert torch.allclose(p, mean, atol=1e-6)
        assert name.startswith("bn") or len(p) < 2 or not torch.equal(p, seen[-1][name])


def test_batch_norms_of_averaged_weights_are_measured_anew():
    built, material = build_net(TINY, 2), material_of()
    first = built.net.conv1[1]
    assert not first.running_mean.any()
    recompute_norms(built, material, TINY, fold_over(range(24)))
    assert first.running_mean.any()
    assert int(first.num_batches_tracked) == 3
    seen = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    built.net.eval()
    from autoclimb.learn.batches import to_input

    built.net(to_input(material.pixels[:24], built.mean, built.std, CPU))
    assert torch.allclose(seen[0], first.running_mean, atol=1e-4)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_scales_are_whole_steps_around_the_size():
    draw = np.random.default_rng(0)
    assert {scaled_size(64, (0.75, 1.25), draw) for _ in range(60)} == {48, 64, 80}
    assert {scaled_size(224, (0.85, 1.15), draw) for _ in range(60)} == {192, 224, 256}
    assert scaled_size(100, (), draw) == 100


def test_batches_of_several_scales_have_different_sides_and_the_same_each_time():
    material, config = material_of(size=32), TINY.vary(size=32, scales=(0.5, 1.5), policy="flip")
    sides = [[b.size for b in epoch_batches(material, fold_over(range(24)), config, 32, 2, 0)] for _ in range(2)]
    assert set(sides[0]) == {16, 32, 48}
    assert sides[0] == sides[1]


def test_pictures_are_decoded_at_the_largest_size_that_is_looked_at():
    assert Config(size=64).cached_size == 64
    assert Config(size=64, test_size=80).cached_size == 80
    assert Config(size=64, test_size=48, scales=(0.5, 1.5)).cached_size == 96


def test_predictions_are_made_at_the_test_size(tmp_path, monkeypatch):
    from autoclimb.learn import views

    material, sides = material_of(size=32), []
    original = views.to_input
    monkeypatch.setattr(
        views, "to_input", lambda block, *rest: (sides.append(block.shape[1]), original(block, *rest))[1]
    )
    result = run_trial(TINY.vary(test_size=32), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "done"
    assert set(sides) == {32}


@pytest.mark.parametrize("change", [{"scales": (0.5, 1.5)}, {"test_size": 64}, {"sizes": (16,)}], ids=str)
def test_a_net_of_one_size_refuses_several(tmp_path, change):
    config = TINY.vary(
        backbone="vit_tiny_patch16_224", model_args=(("depth", 1), ("patch_size", 16)), size=32, **change
    )
    result = run_trial(config, material_of(size=32), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "failed"
    assert "one size" in result["note"]


@pytest.mark.parametrize(
    "change",
    [
        {"layer_decay": 0.7, "backbone_lr": 0.5},
        {"unfreeze": 0.4},
        {"swa": 0.4},
        {"scales": (0.5, 1.5), "sizes": (16,), "size": 32},
        {"test_size": 32},
        {"unfreeze": 0.3, "swa": 0.3, "layer_decay": 0.8, "optimizer": "lion"},
    ],
    ids=str,
)
def test_every_trick_gives_finite_predictions(tmp_path, change):
    material = material_of(size=32)
    result = run_trial(TINY.vary(**change), material, tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "done"
    assert np.isfinite(np.load(tmp_path / "t" / "test.npy")).all()


# --- the learning rate -----------------------------------------------------------------------------------------------


def test_the_valley_is_read_off_the_middle_of_the_fall():
    rates = np.geomspace(1e-5, 1, 100)
    losses = np.concatenate([np.full(40, 2.0) + np.arange(40) * 1e-3, np.linspace(2, 1, 40), np.linspace(1.1, 5, 20)])
    rate = valley(list(zip(rates.tolist(), losses.tolist(), strict=True)))
    assert rates[50] < rate < rates[70]


def test_a_smoothed_curve_of_a_constant_is_that_constant():
    assert {loss for _, loss in smoothed([(0.1, 3.0)] * 30)} == {3.0}


def test_a_sweep_rises_exponentially_and_leaves_net_and_random_numbers_as_they_were():
    torch.manual_seed(0)
    built, material = build_net(TINY.vary(dropout=0.3), 2), material_of()
    before, drawn = {name: t.clone() for name, t in built.net.state_dict().items()}, torch.random.get_rng_state()
    pace = Pace(lambda: 0.0, 0.0, steps=40)
    rate, curve = find_rate(built, material, TINY.vary(lr=0.0), fold_over(range(24)), pace)
    rates = np.array([lr for lr, _ in curve])
    assert LEAST_STEPS <= len(curve) <= 40
    assert np.allclose(rates[1:] / rates[:-1], (HIGH / LOW) ** (1 / 40), rtol=1e-2)
    assert rates[0] < rate < rates[-1]
    assert all(torch.equal(before[name], tensor) for name, tensor in built.net.state_dict().items())
    assert torch.equal(drawn, torch.random.get_rng_state())
    again = find_rate(built, material, TINY.vary(lr=0.0), fold_over(range(24)), pace)
    assert again == (rate, curve)


def test_a_sweep_by_the_clock_ends_with_its_seconds_and_too_short_a_one_leaves_the_default():
    now = iter(range(100))
    built = build_net(TINY, 2)
    pace = Pace(lambda: float(next(now)), 0.0, seconds=8.0)
    rate, curve = find_rate(built, material_of(), TINY, fold_over(range(24)), pace)
    assert len(curve) <= 8
    assert rate == Config().lr


def test_a_config_without_a_rate_trains_as_one_with_the_rate_that_it_found(tmp_path):
    material, predictions = material_of(), []
    result = run_trial(TINY.vary(lr=0.0), material, tmp_path / "a", tmp_path / "a", tmp_path, CPU)
    assert result["facts"]["lr_curve"][0][0] == pytest.approx(1e-5)
    run_trial(TINY.vary(lr=result["facts"]["lr"]), material, tmp_path / "b", tmp_path / "b", tmp_path, CPU)
    predictions = [np.asarray(read_predictions(tmp_path / name / "oof")) for name in "ab"]
    np.testing.assert_array_equal(predictions[0], predictions[1])


def test_the_loss_is_on_record_in_few_points():
    _, _, facts = trained(TINY, material_of(), steps=400)
    curve = facts["loss_curve"]
    epochs, losses = zip(*curve, strict=True)
    assert len(curve) == 25  # 50 reads, two a point
    assert list(epochs) == sorted(epochs)
    assert epochs[-1] == pytest.approx(facts["epochs"], rel=0.05)
    assert losses[-1] < losses[0]


# --- optimisers that change, memory that ends ------------------------------------------------------------------------


def test_the_optimiser_changes_when_the_loss_stands_still_and_not_before(monkeypatch):
    from autoclimb.learn import loop

    results = []
    original = loop.optimizer_of
    monkeypatch.setattr(loop, "optimizer_of", lambda *given: results.append(given[3:]) or original(*given))
    config = TINY.vary(optimizer="sgd", switch_to="adamw", batch=24, lr=1e-9)
    _, _, facts = trained(config, material_of(), steps=130)
    assert facts["switched"]
    assert results == [(), ("adamw",)]
    results.clear()
    _, _, facts = trained(config.vary(lr=1e-3), material_of(), steps=60)
    assert not facts["switched"]
    assert results == [()]


class Hungry(nn.Module):
    """A net that has no memory for more than so many pictures at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.fc, self.seen = most, nn.Linear(3, 2), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("no memory")
        return self.fc(x.mean((2, 3)))


def hungry(most: int) -> Built:
    torch.manual_seed(0)
    net = Hungry(most)
    return Built(net, net.fc, (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(("most", "micro_batches"), [(8, 1), (4, 2), (2, 4)])
def test_without_memory_a_batch_is_cut_and_the_training_goes_on_to_the_same_weights(most, micro_batches):
    weights = []
    for built in (hungry(8), hungry(most)):
        pace = Pace(lambda: 0.0, 0.0, steps=6)
        net, facts = train(built, material_of(), TINY, fold_over(range(24)), pace)
        weights.append(net.fc.weight)
    assert facts["micro_batches"] == micro_batches
    assert facts["steps"] == 6
    assert net.seen.count(8) == (6 if most == 8 else 1), "once cut, batches stay cut"
    assert torch.allclose(*weights, atol=1e-6)


class NormedHungry(nn.Module):
    """A net with a batch norm over single numbers, which needs two pictures, and memory for so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.norm, self.fc = most, nn.BatchNorm1d(3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("no memory")
        return self.fc(self.norm(x.mean((2, 3))))


@pytest.mark.parametrize(("batch", "most", "fits"), [(10, 3, True), (6, 1, False), (2, 1, False)])
def test_no_part_of_a_batch_is_a_single_picture_which_a_batch_norm_refuses(batch, most, fits):
    net = NormedHungry(most)
    built, pace = Built(net, net.fc, (0.5,) * 3, (0.5,) * 3), Pace(lambda: 0.0, 0.0, steps=2)
    material, config = material_of(), TINY.vary(batch=batch)
    if fits:
        assert train(built, material, config, fold_over(range(24)), pace)[1]["micro_batches"] == 4
    else:
        with pytest.raises(OutOfMemory, match=f"{batch} pictures"):
            train(built, material, config, fold_over(range(24)), pace)


def test_a_training_whose_steps_take_minutes_is_not_silent_for_long():
    clock, reports = [0.0], []

    def now() -> float:
        clock[0] += 10.0
        return clock[0]

    built = hungry(8)
    fold = fold_over(range(24), report=lambda facts: reports.append(clock[0]))
    train(built, material_of(), TINY.vary(batch=24), fold, Pace(now, 0.0, steps=40))
    assert max(np.diff([0.0, *reports])) <= 2 * loop.LONGEST_SILENCE


def test_a_batch_that_does_not_fit_after_two_halvings_fails_the_trial_with_a_status(tmp_path, monkeypatch):
    from autoclimb.learn import fold

    monkeypatch.setattr(fold, "build_net", lambda *given: hungry(1))
    result = run_trial(TINY, material_of(), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert result["status"] == "failed"
    assert "8 pictures of 16 px" in result["note"]


def test_two_trainings_of_one_seed_are_equal_to_the_bit(tmp_path):
    config = TINY.vary(lr=0.0, swa=0.3, unfreeze=0.3, mixup=0.3, dropout=0.2, policy="medium", folds=(0, 1), tta="flip")
    results = []
    for name in "ab":
        run_trial(config, material_of(), tmp_path / name, tmp_path / name, tmp_path, CPU)
        results.append([np.load(tmp_path / name / f"{part}.npy") for part in ("oof", "test")])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


# --- on a card -------------------------------------------------------------------------------------------------------


def test_the_loss_is_read_every_few_steps_and_not_at_the_end_of_each_epoch(monkeypatch):
    reads, reports = [], []

    def read(losses, last=0):
        reads.append(len(losses))
        return original(losses, last)

    original = loop.mean_of
    monkeypatch.setattr(loop, "mean_of", read)
    trained(TINY, material_of(), steps=12, report=reports.append)  # epochs of three steps
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5]
    assert reads == [8, 8, 12], "a card waits at each of them"


WAITING = [
    {},
    {"mixup": 0.3, "cutmix": 1.0},
    {"clip": 1.0, "ema": 0.9},
    {"class_weights": "effective", "loss": "focal"},
]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("change", WAITING)
def test_on_a_card_no_step_waits_for_it(change, precision, monkeypatch):
    card, steps = torch.device("cuda"), []
    config, fold = TINY.vary(**change), fold_over(range(24), device=card)
    built = replace(build_net(config, 2), format=Format(precision))
    place(built, card)
    read = loop.mean_of

    def watched(losses, last=0):
        torch.cuda.set_sync_debug_mode("default")
        return read(losses, last)

    def stepping(*given):
        optimizer = optimizer_of(*given)
        step = optimizer.step

        def watched_step(*how, **more):
            done = step(*how, **more)
            steps.append(torch.cuda.set_sync_debug_mode("error" if len(steps) > 1 else "default"))
            return done

        optimizer.step = watched_step
        return optimizer

    monkeypatch.setattr(loop, "mean_of", watched)
    monkeypatch.setattr(loop, "optimizer_of", stepping)
    try:
        train(built, material_of(), config, fold, Pace(lambda: 0.0, 0.0, steps=9))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) >= 6


@pytest.mark.skipif(not FORKS, reason="processes that prepare batches are forked")
def test_a_net_fed_by_processes_becomes_the_same_as_one_fed_by_a_thread(monkeypatch):
    config = TINY.vary(policy="flip-colour", scales=(0.5, 1.0), sizes=(16,), mixup=0.2)

    def trained(processes):
        monkeypatch.setattr(loop, "loader_processes", lambda *given: processes)
        torch.manual_seed(0)
        pace = Pace(lambda: 0.0, 0.0, steps=7)
        return train(build_net(config, 2), material_of(), config, fold_over(range(24)), pace)

    (one, facts), (other, again) = trained(0), trained(2)
    assert {**facts, "img_s": 0} == {**again, "img_s": 0}
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
def test_on_a_card_a_net_learns_in_bf16(tmp_path):
    material = material_of(n=64)
    config = TINY.vary(epochs=12, batch=16)
    result = run_trial(
        config, material, tmp_path / "t", tmp_path / "t", tmp_path, torch.device("cuda"), format=Format("bf16")
    )
    oof = np.asarray(read_predictions(tmp_path / "t" / "oof"))[material.fold_of == 0]
    assert result["facts"]["precision"] == "bf16"
    assert (oof.argmax(1) == material.target[material.fold_of == 0].argmax(1)).mean() > 0.8


@pytest.mark.gpu
def test_on_a_card_that_is_full_the_batch_is_cut(monkeypatch):
    card = torch.device("cuda")
    built = hungry(4)
    _, facts = train(built, material_of(), TINY, fold_over(range(24), device=card), Pace(lambda: 0.0, 0.0, steps=4))
    assert facts["micro_batches"] == 2


@pytest.mark.gpu
def test_a_worker_trains_on_the_card_it_was_given():
    last = torch.cuda.device_count() - 1
    hello = Hello(f"cuda:{last}", "multiclass", 2, target="", fold_of="", cache="", pipelines={}, precision="float32")
    setting = setting_of(hello)
    assert setting.device == torch.device("cuda", last)
    assert torch.zeros(1, device=setting.device).get_device() == last
