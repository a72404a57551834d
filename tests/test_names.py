"""The names in a user's search space: each is checked by its menu before anything is trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoclimb.errors import Mistake
from autoclimb.learn.names import CHECKS
from autoclimb.learn.worker import CPU, NOTHING, Setting, reply_to
from autoclimb.protocol import CheckNames
from autoclimb.search.space import MENUS


def test_every_name_in_a_space_is_checked_by_its_menu_before_anything_is_trained():
    good = {"loss": "focal-2.5", "pool": "gem", "class_weights": "effective", "sampler": "sqrt", "optimizer": "sgd"}
    good |= {"schedule": "cosine", "tta": "flip", "backbone": "resnet18"}
    assert good.keys() == CHECKS.keys() == set(MENUS.values())
    setting = Setting(replace(NOTHING, kind="multilabel"), CPU, Path())
    ask = lambda names: reply_to(CheckNames(names), setting, lambda facts: None)  # noqa: E731
    assert ask({field: [name] for field, name in good.items() if field != "loss"} | {"loss": ["asymmetric"]}) == {}
    for field in CHECKS:
        with pytest.raises(Mistake, match="nosuch"):
            ask({field: [good[field] if field != "loss" else "bce", "nosuch"]})
    with pytest.raises(Mistake, match="multilabel"):
        ask({"loss": [good["loss"]]})
