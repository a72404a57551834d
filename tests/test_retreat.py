"""A plan whose trials fail goes on: smaller batches, then sizes, then nets; what failed twice is not asked again."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from fakes import BOXED, World, situation

from autoclimb.config import Config
from autoclimb.search.nets import from_hub, net_named
from autoclimb.search.retreat import TOO_LARGE, in_the_plan, instead_of, ruled_out
from autoclimb.search.starting import candidates
from autoclimb.types import History, Trial

NET = Config(backbone="resnet18", size=128, batch=64, seconds=20.0)


@dataclass
class Faulty(World):
    """A world in which `fault` says of what kind a config's trial fails, "" if it does not."""

    fault: object = field(default=lambda config: "")

    def run(self, config, stage, planned):
        kind = self.fault(config) if config.train == "net" else ""
        self.ends = lambda config: "failed" if kind else "done"
        self.overrun = lambda config: 0.2 if kind else 1.0  # it fails early
        result = super().run(config, stage, planned)
        if kind:
            self.record[config.key] = result = replace(result, facts={"fault": kind}, note=kind)
        return result


def plan(*configs):
    def stage(history, s):
        for config in configs:
            yield [config]

    return [("stage", stage)]


def faulty(fault, **changes):
    return Faulty(situation(budget=900.0, **changes), fault=fault)


def names_of(world):
    return [(c.backbone, c.size, c.batch) for c in world.ran]


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_what_does_not_fit_is_tried_with_half_the_batch_then_smaller_then_with_a_cheaper_net(kind):
    w = faulty(lambda c: kind if c.batch > 32 else "")
    history, _ = w.climb(plan(NET))
    assert names_of(w) == [("resnet18", 128, 64), ("resnet18", 128, 32)]
    w = faulty(lambda c: kind if c.size > 64 else "")
    history, _ = w.climb(plan(NET))
    assert names_of(w)[:3] == [("resnet18", 128, 64), ("resnet18", 128, 32), ("resnet18", 96, 32)]
    assert history.trials[-1].status == "done"
    assert w.ran[-1].size == 64
    w = faulty(lambda c: kind if c.backbone == "resnet18" and not c.model_args else "")
    history, _ = w.climb(plan(NET))
    assert history.trials[-1].status == "done"
    assert w.ran[-1].backbone != "resnet18"
    assert w.ran[-1].seconds == NET.seconds


def with_memory(gigabytes):
    """A world whose nets take a gigabyte, and a hundredth for each picture of 64 px, in so much memory."""
    world = faulty(lambda c: "", memory_gb=gigabytes)
    measure = world.situation.measure
    heavy = lambda config: replace(measure(config), fixed_bytes=1e9, picture_bytes=1e7)  # noqa: E731
    world.situation = replace(world.situation, measure=heavy)
    return world


def test_a_batch_that_would_not_fit_is_halved_before_its_trial_starts():
    w = with_memory(4.0)
    w.climb(plan(NET, NET.vary(size=64), NET.vary(train="features", backbone="gradients", seconds=0.0)))
    assert names_of(w) == [("resnet18", 128, 32), ("resnet18", 64, 64), ("gradients", 128, 64)]


def test_where_not_even_the_smallest_batch_fits_the_next_smaller_size_is_trained():
    w = with_memory(1.3)
    w.climb(plan(NET))
    assert names_of(w) == [("resnet18", 96, 8)]
    w = with_memory(0.1)
    w.climb(plan(NET))
    assert len(w.ran) == 1, "an estimate does not end a run without a net"


def test_the_same_kind_twice_takes_a_net_and_size_out_of_the_plan():
    w = faulty(lambda c: "memory" if c.size > 64 else "")
    others = [NET.vary(mixup=x) for x in (0.1, 0.2, 0.3)]
    history, _ = w.climb(plan(NET, *others))
    counts = Counter((c.backbone, c.size) for c in w.ran if c.size > 64)
    assert set(counts.values()) == {2}
    done = [t.config for t in history.trials if t.status == "done"]
    assert [c.size for c in done] == [64] * 4
    assert [c.mixup for c in done] == [0.0, 0.1, 0.2, 0.3]


def test_a_batch_that_did_not_fit_is_not_asked_for_again():
    w = faulty(lambda c: "memory" if c.batch > 32 else "")
    w.climb(plan(NET, NET.vary(mixup=0.1), NET.vary(mixup=0.2, batch=16)))
    assert [c.batch for c in w.ran] == [64, 32, 32, 16]


def test_a_loss_that_diverges_is_tried_at_a_gentler_rate():
    w = faulty(lambda c: "diverged" if c.lr > 1e-3 else "")
    history, _ = w.climb(plan(NET))
    assert [round(c.lr, 5) for c in w.ran] == [0.002, 0.0006]
    assert history.best() is not None


def test_a_net_that_cannot_be_built_is_replaced():
    w = faulty(lambda c: "unbuildable" if c.backbone == "resnet18" and not c.model_args else "")
    history, _ = w.climb(plan(NET, NET.vary(mixup=0.2)))
    assert names_of(w).count(("resnet18", 128, 64)) <= 2
    assert history.done()


def test_a_move_that_a_net_cannot_make_leaves_the_net_in_the_plan():
    w = faulty(lambda c: "unbuildable" if c.sizes else "")
    w.climb(plan(NET, NET.vary(sizes=(64,)), NET.vary(sizes=(96,)), NET.vary(mixup=0.2)))
    assert [(c.backbone, c.sizes, c.mixup) for c in w.ran] == [
        ("resnet18", (), 0.0),
        ("resnet18", (64,), 0.0),
        ("resnet18", (96,), 0.0),
        ("resnet18", (), 0.2),
    ]


SWIN = "swin_small_patch4_window7_224.ms_in22k_ft_in1k"
EVA = "eva02_small_patch14_336.mim_in22k_ft_in1k"


def test_a_net_of_few_sizes_retreats_to_its_own_and_takes_anothers_place_at_its_own():
    s = situation(device="cuda", pretrained=tuple(from_hub("cuda")), budget=4 * 3600.0)
    eva, swin = (Config(backbone=name, weights="hub", size=size) for name, size in ((EVA, 336), (SWIN, 224)))
    assert in_the_plan(eva, History(), s) == eva.vary(size=224)
    assert in_the_plan(swin, History(), s).backbone != SWIN
    base = Config(backbone="convnext_small.in12k_ft_in1k", weights="hub", size=192)
    tried = History()
    while (config := in_the_plan(base, tried, s, smaller=False)) is not None:
        assert not net_named(config.backbone).sizes or config.size in net_named(config.backbone).sizes
        tried.add(Trial(config, "s", "failed", 0.0, 0.0, 1.0, facts={"fault": "memory"}))
    assert len(tried.trials) > 5


def retreats(config: Config, s) -> list[tuple[str, bool]]:
    """The nets that take the config's place as one after another runs out of memory at this size, halves marked."""
    nets, tried = [], History()
    while (other := in_the_plan(config, tried, s, smaller=False)) is not None:
        nets.append((other.backbone, bool(other.model_args)))
        tried.add(Trial(other, "s", "failed", 0.0, 0.0, 1.0, facts={"fault": "memory"}))
        config = other
    return nets


def test_a_card_without_weights_retreats_to_ever_cheaper_nets_and_to_half_of_a_net_before_other_families():
    s = situation(device="cuda", budget=4 * 3600.0)
    of = {(net.backbone, bool(net.model_args)): net.vary(seconds=20.0) for net in candidates(s)}
    residual = [("resnet34", False), ("resnet18", False), ("resnet18", True)]
    others = [("regnety_004", False), ("mobilenetv4_conv_small", False)]
    assert retreats(of["resnet50d", False], s) == [*residual, *others]
    assert retreats(of["resnet18", False], s) == [*residual[2:], *others]
    assert retreats(of["mobilenetv4_conv_small", False], s) == []


def test_a_net_is_replaced_by_cheaper_ones_only_and_by_nets_from_scratch_where_no_pretrained_one_is_left():
    s = situation(pretrained=BOXED, budget=1800.0)
    lite0, lite2 = candidates(s)
    half, other = ("resnet10t", True), ("mobilenetv4_conv_small", False)
    assert retreats(lite2.vary(size=96), s) == [(lite0.backbone, False), half, other]
    assert retreats(candidates(situation())[0].vary(size=96), s) == [other], "no pretrained net is as cheap"


def test_a_plan_ends_where_no_net_can_be_trained_and_every_failure_is_on_record():
    w = faulty(lambda c: "memory")
    history, _ = w.climb(plan(NET))
    assert not history.done()
    assert 5 < len(w.ran) < 80
    assert all(count <= 2 for count in Counter((c.backbone, c.model_args, c.size) for c in w.ran).values())


@pytest.mark.parametrize("kind", ["memory", "died", "diverged", "torch"])
def test_the_plan_uses_its_budget_whatever_fails_for_the_larger_sizes(kind):
    from autoclimb.search.order import plan_of

    w = faulty(lambda c: kind if c.size > 64 or (c.batch > 32 and kind in TOO_LARGE) else "")
    history, _ = w.climb(plan_of(None))
    assert history.best(train="net") is not None
    assert w.clock.spent() + w.reserve() >= 0.8 * w.clock.budget
    assert w.clock.spent() <= w.clock.budget


def test_a_resumed_run_finds_the_failures_on_record_and_asks_for_the_same():
    w = faulty(lambda c: "memory" if c.size > 64 else "")
    first, _ = w.climb(plan(NET))
    again, _ = w.climb(plan(NET))
    assert not w.ran
    assert [t.key for t in again.trials] == [t.key for t in first.trials]


def test_frozen_features_that_do_not_fit_are_made_of_smaller_pictures():
    frozen, history = NET.vary(train="features", weights="box", size=128), History()
    sizes = []
    while frozen is not None:
        sizes.append(frozen.size)
        history.add(Trial(frozen, "s", "failed", 0.0, 0.0, 1.0, facts={"fault": "memory"}))
        frozen = instead_of(history.trials[-1], history, situation())
    assert sizes == [128, 96, 64]
    unbuildable = Trial(
        NET.vary(train="features", weights="box"), "s", "failed", 0, 0, 1, facts={"fault": "unbuildable"}
    )
    assert instead_of(unbuildable, History([unbuildable]), situation()) is None


def test_what_is_done_or_made_of_hand_made_features_is_not_replaced():
    done = Trial(NET, "s", "done", 0.5, 0.0, 1.0)
    features = Trial(NET.vary(train="features"), "s", "failed", 0.0, 0.0, 1.0, facts={"fault": "memory"})
    for trial in (done, features):
        assert instead_of(trial, History([trial]), situation()) is None
        assert not ruled_out(trial.config, History([trial]))


def test_where_pictures_have_vanished_a_net_is_tried_at_sizes_that_a_trial_has_read():
    read = [
        Trial(Config(train="features", backbone="gradients", size=64), "baseline", "done", 0.5, 0.1, 1.0),
        Trial(NET.vary(size=96), "baseline", "done", 0.5, 0.1, 1.0),
        Trial(NET.vary(size=112, preprocess="pad"), "baseline", "done", 0.5, 0.1, 1.0),
    ]

    def failed_at(size):
        return Trial(NET.vary(size=size, seed=1), "resize", "failed", 0, 0, 1, facts={"fault": "pictures"})

    s = situation()
    first = instead_of(failed_at(160), History([*read, failed_at(160)]), s)
    assert first == NET.vary(size=96, seed=1)
    second = instead_of(failed_at(96), History([*read, failed_at(160), failed_at(96)]), s)
    assert second == NET.vary(size=64, seed=1)
    assert instead_of(failed_at(64), History([*read, *map(failed_at, (160, 96, 64))]), s) is None
    w = faulty(lambda c: "pictures")
    w.climb(plan(NET))
    assert names_of(w) == [("resnet18", 128, 64)], "nothing was read at another size"
