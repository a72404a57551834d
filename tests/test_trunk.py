"""Nets that train their top alone: the cut, what is kept, and a whole net at the end."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import CPU, material_of
from safetensors.torch import load_file, save_file

from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.learn import trunk
from autoclimb.learn.backbones import build_net
from autoclimb.learn.faults import OutOfTime, Unbuildable
from autoclimb.learn.features import features_of
from autoclimb.learn.material import StoredFeatures, Watch
from autoclimb.learn.probe import measure_speed
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.learn.trunk import cut, pooled, stages_of, stored_features, stored_views

SMALL = (("channels", (4, 4, 8, 8)),)
CHAINS = {"resnet10t": 4, "convnext_atto": 4, "mobilenetv3_small_050": 6, "tf_efficientnet_lite0": 7, "regnety_002": 4}


@pytest.fixture
def tiny(tmp_path) -> Config:
    """A small net with weights from a file, whose last stage trains."""
    config = Config(backbone="resnet10t", model_args=SMALL, size=32, batch=8, policy="none", lr=5e-3, epochs=3, top=1)
    torch.manual_seed(0)
    save_file(build_net(config, 2).net.state_dict(), tmp_path / "resnet10t.safetensors")
    return config.vary(weights=str(tmp_path / "resnet10t.safetensors"), tta="flip")


@pytest.mark.parametrize("backbone", CHAINS)
def test_the_upper_part_makes_of_the_trunks_maps_what_the_net_makes_of_pictures(backbone):
    built = build_net(Config(backbone=backbone), 3)
    built.net.eval()
    assert len(stages_of(built)) == CHAINS[backbone]
    below, upper = cut(built, 1, 64)
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(upper.net(below(x)), built.net(x), atol=1e-4)
    names = {name for name, _ in upper.net.named_parameters()}
    assert names < {name for name, _ in built.net.named_parameters()}
    below_ids = {id(p) for p in below.parameters()}
    assert below_ids
    assert not below_ids & {id(p) for p in upper.net.parameters()}


@pytest.mark.parametrize(("backbone", "top"), [("vit_tiny_patch16_224", 1), ("resnet10t", 5)])
def test_a_net_that_is_no_chain_of_stages_or_too_short_is_no_bug(backbone, top):
    with pytest.raises(Unbuildable):
        cut(build_net(Config(backbone=backbone, size=32), 2), top, 32)


def test_a_net_whose_top_trains_ends_as_a_whole_net_with_the_stages_below_as_they_came(tiny, tmp_path):
    material, out = material_of(size=32), tmp_path / "t"
    config = tiny.vary(folds=(0, 1), epochs=30, variants=3, policy="shift")
    reply = run_trial(config, material, out, out, tmp_path, CPU)
    assert reply["status"] == "done", reply["note"]
    before, after = load_file(tiny.weights), load_file(out / "fold0.safetensors")
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {"layer4", "fc"}, "statistics of frozen batch norms included"
    oof, test = np.asarray(read_predictions(out / "oof")), np.load(out / "test.npy")
    known = np.isin(material.fold_of, (0, 1))
    assert (oof[known].argmax(1) == material.target[known].argmax(1)).mean() > 0.9
    new = replace(material, target=material.target[:0], fold_of=material.fold_of[:0], pixels=material.pixels[24:])
    again = predict_again(config, new, out, tmp_path, CPU, lambda facts: None)
    assert np.allclose(again, test, atol=0.02), "features are kept in 16 bits"


def test_seeds_folds_and_heads_share_what_is_kept_and_views_of_it_add_to_it(tiny, tmp_path, monkeypatch):
    passes = []
    write = trunk._write
    monkeypatch.setattr(trunk, "_write", lambda path, *rest: passes.append(path) or write(path, *rest))
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, material_of(size=32).pixels)
    material = replace(material_of(size=32), pixels=np.load(pixels, mmap_mode="r"))

    def kept(config: Config) -> int:
        passes.clear()
        stored_features(config, material, tmp_path, CPU, Watch())
        return len(passes)

    assert kept(tiny.vary(tta="none", variants=1)) == 1
    assert kept(tiny) == 1
    assert kept(tiny.vary(seed=3, folds=(1,), lr=0.1, policy="shift")) == 0
    assert kept(tiny.vary(policy="shift", variants=4)) == 2
    assert kept(tiny.vary(top=2)) == 2
    features_of(tiny.vary(train="features"), material.pixels, tmp_path, CPU, Watch())
    assert len(passes) == 2


def test_features_above_what_is_kept_are_those_of_the_whole_net_of_several_layers_too(tiny, tmp_path):
    pixels = material_of(size=32).pixels
    for layers, width in ((1, 8), (2, 16), (3, 24)):
        config = tiny.vary(train="features", layers=layers)
        above, whole = (features_of(c, pixels, tmp_path, CPU, Watch()) for c in (config, config.vary(top=0)))
        assert above.shape == (len(pixels), width)
        assert np.allclose(above, whole, atol=0.02)


def test_features_of_a_net_with_a_finer_stem_are_not_those_of_the_plain_one(tiny, tmp_path):
    config = tiny.vary(train="features", top=0)
    plain, fine = (
        features_of(c, material_of(size=32).pixels, tmp_path, CPU, Watch())
        for c in (config, config.vary(fine_stem=True))
    )
    assert not np.allclose(plain, fine, atol=0.02)


def test_stages_that_give_several_maps_at_once_are_no_bug():
    built = build_net(Config(backbone="selecsls42"), 2)
    features = pooled(built.net, built, 4)
    with torch.inference_mode(), pytest.raises(Unbuildable, match="no maps"):
        features(torch.rand(1, 3, 64, 64))


def test_each_picture_of_a_batch_is_one_of_its_variants():
    views = tuple(np.full((3, 1, 1, 1), n, np.float16) for n in range(2))
    stored = StoredFeatures(views, (np.full((2, 1, 1, 1), 2, np.float16),))
    seen = np.concatenate([stored.drawn(np.array([0, 1, 1]), seed).ravel() for seed in range(40)])
    assert set(seen) == {0, 1, 2}
    assert (stored.drawn(np.array([0, 1]), 5) == stored.drawn(np.array([0, 1]), 5)).all()


@pytest.mark.parametrize(
    "change", [{"weights": ""}, {"sizes": (16,)}, {"test_size": 48}, {"tta": "auto"}, {"tta": "multi-scale"}], ids=str
)
def test_what_cannot_be_had_of_kept_features_is_a_status(tiny, tmp_path, change):
    reply = run_trial(tiny.vary(**change), material_of(size=32), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "unbuildable")


def test_a_size_in_the_test_that_is_that_of_training_is_no_other_size(tiny, tmp_path):
    config = tiny.vary(test_size=tiny.size, epochs=1)
    reply = run_trial(config, material_of(size=32), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert reply["status"] == "done", reply["note"]


def test_features_above_what_is_kept_know_the_picture_and_its_mirror_image(tiny, tmp_path):
    config = tiny.vary(train="features", tta="vertical")
    reply = run_trial(config, material_of(size=32), tmp_path / "t", tmp_path / "t", tmp_path, CPU)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "unbuildable")


def test_a_pass_that_the_deadline_ends_leaves_nothing_behind(tiny, tmp_path):
    with pytest.raises(OutOfTime):
        stored_views(tiny, material_of(size=32).pixels, tmp_path, CPU, Watch(now=lambda: 1.0, deadline=1.0))
    assert not list(tmp_path.glob("*trunk*"))


def test_old_features_make_room_for_new_ones(tiny, tmp_path, monkeypatch):
    pixels = material_of(size=32).pixels
    [plain] = stored_views(tiny.vary(tta="none"), pixels, tmp_path, CPU, Watch())
    monkeypatch.setattr(trunk, "MOST_BYTES", 1.5 * plain.nbytes)
    stored_views(tiny.vary(tta="none", size=24), pixels, tmp_path, CPU, Watch())
    assert len(list(tmp_path.glob("trunk-*.npy"))) == 1


def test_features_that_were_used_since_outlast_those_that_were_only_made_later(tiny, tmp_path, monkeypatch):
    pixels = material_of(size=32).pixels

    def kept(size):
        [features] = stored_views(tiny.vary(tta="none", size=size), pixels, tmp_path, CPU, Watch())
        return features.nbytes

    def age():
        for file in tmp_path.glob("trunk-*.npy"):
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))

    most = 0
    for size in (32, 48, 32):
        most += kept(size)
        age()
    first, second = sorted(tmp_path.glob("trunk-*.npy"), key=lambda file: file.stat().st_size)
    monkeypatch.setattr(trunk, "MOST_BYTES", most)
    kept(40)
    assert first.exists()
    assert not second.exists()


def test_the_probe_measures_the_top_by_itself(tiny):
    speed = measure_speed(tiny.vary(weights=""), material_of(size=32), CPU, 0.05)
    assert math.isfinite(speed["train"])
    assert speed["train"] > 0
    assert speed["predict"] > 0
