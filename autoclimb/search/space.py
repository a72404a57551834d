"""SearchSpace: the choices that a search may vary, for the Python API and for recipes."""

import json
from dataclasses import dataclass, field, fields
from typing import Any

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.policies import policy_named

RANGES = ("lr", "weight_decay", "mixup", "cutmix", "smoothing", "dropout")
# names that `also` may not hold: those with a field of their own, and those that the plan sets
ELSEWHERE = (*RANGES, "policy", "loss", "optimizer", "schedule", "tta", "preprocess", "size", "backbone")
PLANNED = (
    "train", "head", "weights", "model_args", "teachers", "taught", "predict_test", "seconds", "epochs", "folds",
    "seed",
)  # fmt: skip
LEAST: dict[str, float] = {"size": 1, "batch": 1, "lr": 0, "seconds": 0, "epochs": 0}  # values that nets can have
# fields whose names are those of a menu for nets, by the field of Config that they are for
MENUS = {
    "backbones": "backbone",
    "losses": "loss",
    "class_weights": "class_weights",
    "samplers": "sampler",
    "pools": "pool",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "tta": "tta",
}
Range = tuple[float, float]  # low and high; learning rates and decays are drawn on a log scale


@dataclass(frozen=True)
class SearchSpace:
    """The choices that a search may vary: a list of values, a pair of floats as a range, or None for the plan's own.

    No net has another value than its list or range holds. `policies` is a list of names, or a dict of the user's own
    albumentations pipelines by name, whose output is resized to the trial's size. `start` holds values of `Config` that
    nets have until a comparison speaks for others, such as `{"batch": 64}`; a value that no stage varies stays. `also`
    holds ranges and lists for further values of Config, from which the refinement draws: `{"layer_decay": (0.6, 1.0),
    "swa": [0.0, 0.25]}`.

    Raises Mistake for an unknown field of Config, an empty list or a range that is not one.
    """

    backbones: list[str] | None = None
    sizes: list[int] | None = None
    preprocess: list[str] | None = None  # chains such as "trim+circle+pad"; the first is where the search starts
    policies: list[str] | dict[str, Any] | None = None
    losses: list[str] | None = None
    class_weights: list[str] | None = None
    samplers: list[str] | None = None
    pools: list[str] | None = None
    optimizers: list[str] | None = None
    schedules: list[str] | None = None
    tta: list[str] | None = None
    lr: Range | None = None
    weight_decay: Range | None = None
    mixup: list[float] | Range | None = None
    cutmix: list[float] | Range | None = None
    smoothing: list[float] | Range | None = None
    dropout: list[float] | Range | None = None
    features: bool = True  # whether frozen features with closed-form heads are tried beside nets
    start: dict[str, Any] = field(default_factory=dict)
    also: dict[str, list[Any] | Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {f.name for f in fields(Config)}
        for name in self.start:
            if name not in known:
                raise Mistake(f"SearchSpace(start=...) names {name!r}; Config has {', '.join(sorted(known))}")
            if name == "predict_test":
                raise Mistake("SearchSpace(start=...) names 'predict_test', which the search decides; leave it out")
        sizes = self.sizes if isinstance(self.sizes, (list, tuple)) else ()
        for values in (self.start, *({"size": size} for size in sizes)):
            if wrong := too_small(values):
                raise Mistake(f"SearchSpace asks for {wrong}")
        for name, value in self.also.items():
            _check_also(name, value)
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, str) and f.name != "start":
                raise Mistake(f"SearchSpace({f.name}={value!r}) is a single name; write [{value!r}]")
            if isinstance(value, (int, float)) and f.name != "features":
                raise Mistake(f"SearchSpace({f.name}={value!r}) is a single value; write [{value!r}]")
            if isinstance(value, tuple) and f.name not in RANGES:  # a range of names is impossible, so a list is meant
                value = list(value)
                object.__setattr__(self, f.name, value)
            numbers = isinstance(value, (list, tuple)) and all(isinstance(one, (int, float)) for one in value)
            if f.name in RANGES and value is not None and not numbers:
                raise Mistake(f"SearchSpace({f.name}={value!r}) holds no numbers; write a list of them, or (low, high)")
            if isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise Mistake(f"SearchSpace({f.name}={value}) is no range; write (low, high)")
            if f.name in ("lr", "weight_decay") and value is not None and min(value) <= 0:
                raise Mistake(f"SearchSpace({f.name}={value}) is drawn on a log scale; its low must be over 0")
            if isinstance(value, list) and not value:
                raise Mistake(f"SearchSpace({f.name}=[]) is empty; name something to try, or leave it out")
        own = self.policies if isinstance(self.policies, dict) else ()
        for name in (*(self.names() or []), self.start.get("policy", "none")):
            if name not in own:
                policy_named(name, {})  # raises Mistake for an unknown one

    def allows(self, **values: float) -> bool:
        """Whether the lists and ranges of RANGES allow these values."""
        return all(self.nearest(name, value) == value for name, value in values.items())

    def nearest(self, name: str, value: float) -> float:
        """The value of a field of RANGES, or where it is not allowed the bound next to it or the first of the list."""
        choices = getattr(self, name) if name in RANGES else None
        if isinstance(choices, tuple):
            return min(max(value, choices[0]), choices[1])
        return value if choices is None or value in choices else choices[0]

    def named(self) -> dict[str, list[str]]:
        """The names of menus that the space holds, by field of Config; a worker knows whether they are right."""
        by_field = {own: [*(getattr(self, name) or []), self.start.get(own)] for name, own in MENUS.items()}
        named = {own: [name for name in names if name] for own, names in by_field.items()}
        return {own: names for own, names in named.items() if names}

    def chains(self) -> list[str]:
        """The preprocessing chains to choose from, the one to start with first."""
        return self.preprocess or [self.start.get("preprocess", Config().preprocess)]

    def names(self) -> list[str] | None:
        """The policies' names, None where the plan chooses."""
        return None if self.policies is None else list(self.policies)

    def pipelines(self) -> dict[str, str]:
        """The user's own pipelines as json by name, for the worker and the fingerprint; raises Mistake for a Lambda."""
        if not isinstance(self.policies, dict):
            return {}
        pipelines = {}
        for name, pipeline in self.policies.items():
            try:
                pipelines[name] = json.dumps(pipeline.to_dict())
            except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
                raise Mistake(
                    f"policy {name!r} cannot be written as json ({error}); give an albumentations.Compose of its own "
                    "transforms (no Lambda)"
                ) from error
        return pipelines

    def to_json(self) -> dict[str, Any]:
        """The space as json, for the run's fingerprint."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "policies": self.names(), "pipelines": self.pipelines()}


def too_small(values: dict[str, Any]) -> str:
    """What is wrong with the first of the values that no net can have, "" where all are possible."""
    wrong = (name for name in LEAST if name in values and not values[name] >= LEAST[name])
    return next((f"{name}={values[name]!r}; give {LEAST[name]:g} or more" for name in wrong), "")


def _check_also(name: str, value: Any) -> None:
    """Raises Mistake unless `SearchSpace.also` may hold the name with this value."""
    plain = {f.name: getattr(Config(), f.name) for f in fields(Config)}
    if name not in plain or name in (*ELSEWHERE, *PLANNED):
        free = sorted(set(plain) - {*ELSEWHERE, *PLANNED})
        raise Mistake(f"SearchSpace(also=...) names {name!r}; it may name {', '.join(free)}")
    if isinstance(value, tuple) and isinstance(plain[name], float) and len(value) == 2 and value[0] < value[1]:
        return
    if not isinstance(value, list) or len(value) < 2:
        range_too = "a range (low, high) or " if isinstance(plain[name], float) else ""
        raise Mistake(f"SearchSpace(also={{{name!r}: {value!r}}}): give {range_too}a list of two values or more")
