"""The names in a user's search space, checked against the menus of nets before any is trained."""

from collections.abc import Callable, Mapping, Sequence

from autoclimb.learn.backbones import check_backbone, check_pool
from autoclimb.learn.losses import loss_named
from autoclimb.learn.optim import optimizer_named, schedule_named
from autoclimb.learn.samplers import check_class_weights, check_sampler
from autoclimb.learn.views import views_named
from autoclimb.types import Kind

CHECKS: dict[str, Callable[[str, Kind], object]] = {
    "backbone": lambda name, _: check_backbone(name),
    "loss": loss_named,
    "class_weights": lambda name, _: check_class_weights(name),
    "sampler": lambda name, _: check_sampler(name),
    "pool": lambda name, _: check_pool(name),
    "optimizer": lambda name, _: optimizer_named(name),
    "schedule": lambda name, _: schedule_named(name),
    "tta": lambda name, _: views_named(name),
}


def check_names(names: Mapping[str, Sequence[str]], kind: Kind) -> None:
    """Raises Mistake for the first name, by field of Config, that its menu does not have for the kind of task."""
    for field, values in names.items():
        for name in values:
            CHECKS[field](name, kind)
