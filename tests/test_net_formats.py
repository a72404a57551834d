"""The formats that a net may run in, and when it is compiled: rules that need no measurement."""

from dataclasses import replace

import pytest
import torch
from nets import CPU, TINY

from autoclimb.learn import formats
from autoclimb.learn.backbones import build_net
from autoclimb.learn.formats import formats_for, sound_format, worth_compiling
from autoclimb.learn.lean import for_prediction
from autoclimb.learn.material import Format

CARD = torch.device("cuda")


def test_a_net_with_depthwise_convolutions_is_looked_at_in_torchs_own_layout_first(monkeypatch):
    monkeypatch.setattr(formats, "has_bf16", lambda device: True)
    plain, seen = build_net(TINY, 2).net, build_net(TINY.vary(backbone="mobilenetv3_small_050", model_args=()), 2)
    mobile = seen.net
    assert formats_for(plain, CARD, leisure=False) == (Format("bf16"),)
    assert formats_for(mobile, CARD, leisure=False) == (Format("bf16", channels_last=False),)
    assert set(formats_for(mobile, CARD, leisure=True)) == {Format("bf16"), Format("bf16", channels_last=False)}
    monkeypatch.setattr(formats, "has_bf16", lambda device: False)
    assert {format.precision for format in formats_for(mobile, CARD)} == {"fp16", "fp32"}
    assert not any(format.channels_last for format in formats_for(mobile, CARD, leisure=False))
    assert not for_prediction(seen, CARD, 32).format.channels_last
    assert for_prediction(seen, CPU, 32).format.channels_last
    assert for_prediction(build_net(TINY, 2), CARD, 32).format.channels_last


@pytest.mark.parametrize(
    ("change", "precision"),
    [
        ({}, "fp32"),
        ({"size": 64}, "bf16"),
        ({"size": 64, "sizes": (16,)}, "fp32"),
        ({"size": 64, "scales": (0.25, 1.0)}, "fp32"),
        ({"size": 32, "scales": (0.7, 1.0)}, "fp32"),  # batches of 16 and of 32 px
    ],
    ids=str,
)
def test_bf16_is_left_where_onednn_would_leave_gradients_unwritten(change, precision):
    config = TINY.vary(**change)
    built = replace(build_net(config, 2), format=Format("bf16", channels_last=False))
    assert sound_format(built, config, 3, CPU) == Format(precision, channels_last=False)
    assert sound_format(replace(built, format=Format("fp16")), config, 3, CPU).precision == "fp16"
    depthwise = config.vary(backbone="mobilenetv3_small_050", model_args=())
    assert sound_format(replace(build_net(depthwise, 2), format=Format("bf16")), depthwise, 3, CPU).precision == "bf16"


def test_compiling_is_for_long_trainings_at_one_size_on_a_card_with_cores_beside_it(monkeypatch):
    monkeypatch.setattr(formats, "usable_cores", lambda: 16)
    smooth = torch.nn.LayerNorm(4)
    assert worth_compiling(smooth, CARD, 3600.0, TINY)
    assert not worth_compiling(smooth, CARD, 100.0, TINY)
    assert not worth_compiling(smooth, CPU, 36000.0, TINY)
    assert not worth_compiling(torch.nn.BatchNorm2d(4), CARD, 3600.0, TINY), "its graphs replayed are as fast"
    for change in ({"sizes": (8,)}, {"scales": (0.5, 1.5)}, {"unfreeze": 0.2}):
        assert not worth_compiling(smooth, CARD, 3600.0, TINY.vary(**change))
    monkeypatch.setattr(formats, "usable_cores", lambda: 8)
    assert worth_compiling(smooth, CARD, 3600.0, TINY)
    assert not worth_compiling(smooth, CARD, 300.0, TINY)
    monkeypatch.setattr(formats, "usable_cores", lambda: 4)
    assert not worth_compiling(smooth, CARD, 36000.0, TINY), "for minutes nobody would hear of it"
