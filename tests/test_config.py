"""Config: equal ones are the same trial, on disk too."""

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from autoclimb.config import Config

FULL = Config(
    model_args=(("drop_rate", 0.1), ("strides", (1, 2))), sizes=(32, 48), scales=(0.8, 1.2), epochs=3.0, folds=(0, 2, 4)
)


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, str):
        return f"{value}x"
    return (*value, 7) if isinstance(value, tuple) else not value if isinstance(value, bool) else value + 1


def test_equal_configs_have_equal_keys():
    assert Config(lr=1e-3).key == Config().vary(lr=1e-3).key
    assert len(Config().key) == 16


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_every_part_of_a_config_counts_in_its_key(name):
    assert Config().vary(**{name: changed(getattr(Config(), name))}).key != Config().key


def test_varying_leaves_the_original_alone_and_gives_what_is_equal_to_a_config_made_anew():
    before = Config()
    keys = before.key, before.nets_key  # known from now on
    varied = before.vary(size=96, folds=(1,))
    assert varied == Config(size=96, folds=(1,))
    assert (varied.key, varied.nets_key) == (Config(size=96, folds=(1,)).key, Config(size=96).nets_key)
    assert before == Config()
    assert (before.key, before.nets_key) == keys
    for config in (before, varied):
        with pytest.raises(FrozenInstanceError):
            config.size = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="sise"):
        before.vary(sise=96)


@pytest.mark.parametrize("config", [Config(), FULL])
def test_a_config_survives_json(config):
    read = Config.from_json(json.loads(json.dumps(config.to_json())))
    assert read == config
    assert read.key == config.key
    assert hash(read) == hash(config)


def test_a_config_written_by_a_later_version_is_read_without_what_is_new():
    assert Config.from_json({**FULL.to_json(), "invented_since": 3}) == FULL
