"""The portfolio: names that timm has, licences that allow it, rates and decays in the ranges of the field."""

import pytest

from autoclimb.search.nets import (
    BOX,
    FAMILIES,
    NETS,
    OTHER_SCRATCH,
    SCRATCH,
    channels_at_cut,
    deeper_top_of,
    family_of,
    fine_tuning,
    from_hub,
    may_use,
    net_named,
)

ROWS = [net for nets in NETS.values() for net in nets]
each_net = pytest.mark.parametrize("net", ROWS, ids=lambda net: net.backbone)


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm")


@each_net
def test_timm_has_weights_of_that_name_size_and_licence(net, timm):
    assert timm.is_model_pretrained(net.backbone)
    cfg = timm.get_pretrained_cfg(net.backbone)
    assert cfg.input_size[-1] == net.size
    assert cfg.license == net.licence
    assert bool(net.sizes) == cfg.fixed_input_size
    assert not net.sizes or net.size in net.sizes


@each_net
def test_bodies_learn_at_their_familys_rates_and_transformers_by_layer(net):
    family = FAMILIES[net.family]
    assert family.body_lr[0] <= net.body_lr <= family.body_lr[1]
    if family.transformer:
        assert 0.7 <= net.layer_decay <= 0.9


@pytest.mark.parametrize("name", FAMILIES)
def test_modern_families_learn_gently_and_by_layer(name):
    family = FAMILIES[name]
    if family.transformer or name == "convnext":
        assert 1e-5 <= family.body_lr[0] <= family.body_lr[1] <= 2e-4
        assert 0.7 <= family.layer_decay <= 0.9
    else:
        assert 1e-4 <= family.body_lr[0] <= family.body_lr[1] <= 6e-4
        assert family.layer_decay == 1


@pytest.mark.parametrize("name", [*BOX, "tf_efficientnet_b0.ns_jft_in1k", "tf_efficientnet_b2.ns_jft_in1k", "resnet18"])
def test_maps_at_a_cut_are_as_deep_as_the_disk_is_planned_for(name, timm):
    import torch

    with torch.device("meta"):  # shapes without memory
        info = timm.create_model(name.split(".")[0], features_only=True).feature_info
    deep = {row["reduction"]: row["num_chs"] for row in info.get_dicts()}
    assert deep[16] <= channels_at_cut(name) <= 1.1 * deep[16]
    if deeper := deeper_top_of(name):
        assert 4 * deep[8] <= channels_at_cut(name, deeper) <= 1.25 * 4 * deep[8]


def test_weights_that_forbid_commerce_are_never_used_unasked():
    assert all(may_use(net) for net in ROWS)
    assert not may_use(net_named("convnextv2_tiny.fcmae").__class__(**{**vars(ROWS[0]), "licence": "cc-by-nc-4.0"}))


def test_nets_from_scratch_are_known_to_timm(timm):
    assert all(timm.is_model(name) for rows in SCRATCH.values() for name, _ in rows)
    assert all(timm.is_model(name) for names in OTHER_SCRATCH.values() for name in names)


def test_a_card_has_eight_families_from_phone_to_large():
    nets = NETS["cuda"]
    assert len({net.family for net in nets}) >= 8
    assert min(net.gmacs for net in nets) < 0.5
    assert max(net.gmacs for net in nets) > 30


@pytest.mark.parametrize("row", from_hub("cuda"), ids=lambda row: row["backbone"])
def test_a_fine_tuned_config_has_the_rates_of_its_row(row):
    [config] = fine_tuning([row], "cuda")
    net = net_named(row["backbone"])
    assert config.lr * config.backbone_lr == pytest.approx(net.body_lr)
    assert config.layer_decay == net.layer_decay


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("tf_efficientnetv2_b0.in1k", "efficientnetv2"),
        ("resnext50_32x4d.a1_in1k", "resnet"),
        ("vit_base_patch16_dinov3.lvd1689m", "dinov3"),
        ("deit3_small_patch16_224.fb_in1k", "vit"),
        ("swinv2_tiny_window8_256.ms_in1k", "swin"),
        ("convnextv2_pico.fcmae_ft_in1k", "convnext"),
        ("something_new", "other"),
    ],
)
def test_any_timm_name_has_a_family_and_usual_values(name, family):
    assert family_of(name) == family
    net = net_named(name)
    assert net.family == family
    assert (FAMILIES[family].transformer or family == "convnext") == (net.layer_decay < 1)
    assert net.body_lr <= FAMILIES[family].body_lr[1]


FIRST_OF_FAMILY = {net.family: net for net in reversed(NETS["cuda"])}


@pytest.mark.parametrize("family", FIRST_OF_FAMILY)
def test_a_net_of_each_family_learns_by_layer_from_its_stem_to_its_head(family, timm):
    import torch

    from autoclimb.learn.optim import layers_of, optimizer_of

    net = FIRST_OF_FAMILY[family]
    [config] = fine_tuning([{"backbone": net.backbone, "weights": "hub", "model_args": {}}], "cuda")
    with torch.device("meta"):  # shapes without memory
        model = timm.create_model(net.backbone, num_classes=5, drop_path_rate=net.drop_path)
    head = model.get_classifier()
    for coarse, most in ((False, 100), (True, 20)):
        layers = layers_of(model, head, coarse)
        assert set(layers) == {name for name, _ in model.named_parameters()}
        assert sorted(set(layers.values())) == list(range(max(layers.values()) + 1))
        assert 4 <= max(layers.values()) < most
        first, *_, last = layers.values()
        assert (first, last) == (0, max(layers.values()))
    peaks = [group["peak"] for group in optimizer_of(model, head, config.vary(optimizer="nadamw")).param_groups]
    assert max(peaks) == pytest.approx(config.lr)
    depth = max(layers_of(model, head).values())
    assert min(peaks) == pytest.approx(config.lr * config.backbone_lr * config.layer_decay**depth)


SHALLOW = {  # of families that tests of training do not meet
    "caformer_s18": (32, {}),
    "swin_tiny_patch4_window7_224": (56, {"depths": (1, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 1, 1)}),
    "eva02_tiny_patch14_224": (28, {"depth": 1}),
    "vit_small_patch16_dinov3": (32, {"depth": 1}),
    "vit_base_patch16_siglip_224": (32, {"depth": 1, "embed_dim": 24, "num_heads": 2}),
}


@pytest.mark.parametrize("backbone", SHALLOW)
def test_a_net_of_a_modern_family_is_looked_at_frozen_and_trained(backbone, tmp_path, timm):
    from nets import CPU, material_of

    from autoclimb.learn.trial import run_trial

    size, args = SHALLOW[backbone]
    [config] = fine_tuning([{"backbone": backbone, "weights": "", "model_args": args}], "cuda")
    config = config.vary(size=size, batch=4, folds=(0,))
    material = material_of(n=12, m=2, size=size)
    for how in ({"train": "features", "head": "linear", "layers": 1}, {"epochs": 1.0, "tta": "flip", "policy": "flip"}):
        reply = run_trial(config.vary(**how), material, tmp_path / how.get("train", "net"), tmp_path, tmp_path, CPU)
        assert (reply["status"], reply["note"]) == ("done", "")


@pytest.mark.slow
@each_net
def test_a_net_can_be_built_at_every_size_that_a_plan_may_ask_for(net, timm):
    import torch

    for size in net.sizes or (96, 192, net.size):
        with torch.device("meta"):  # shapes without memory
            own = {"img_size": size} if net.sizes else {}
            model = timm.create_model(net.backbone, num_classes=5, drop_path_rate=net.drop_path, **own).eval()
            assert model(torch.zeros(1, 3, size, size)).shape == (1, 5)
