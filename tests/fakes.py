"""A run in no time: a clock that only trials move, trials with made-up scores, a record that outlives a kill."""

import ast
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from autoclimb.budget import SLACK, Clock, seconds_kept, seconds_until_ended
from autoclimb.config import Config
from autoclimb.search.climb import Stage, follow
from autoclimb.search.cost import cost_of, decoding_of, with_kept
from autoclimb.search.nets import from_hub
from autoclimb.search.situation import Situation, Speed
from autoclimb.search.space import SearchSpace
from autoclimb.types import Event, History, Trial

PACKAGE = Path(__file__).parent.parent / "autoclimb"
WEIGHT = {
    "mobilenetv3_small_100": 0.4,
    "mobilenetv4_conv_small": 0.5,
    "resnet10t": 0.5,
    "resnet14t": 0.75,
    "resnet18d": 1.15,
    "resnet18": 1.0,
    "resnet34": 2.0,
    "convnext_base": 15.0,
}  # else 3
LOCAL = tuple(
    {"backbone": name, "weights": f"/nets/{name}", "model_args": {}, "parameters": n}
    for n, name in enumerate(("mobilenetv3_small_100", "resnet18", "convnext_nano"), 1)
)
BOXED = tuple(
    {"backbone": name, "weights": "box", "model_args": {}, "parameters": n}
    for name, n in (("tf_efficientnet_lite0", 4_652_008), ("tf_efficientnet_lite2", 6_092_072))
)
SITUATIONS: dict[str, dict[str, Any]] = {
    "a processor, from scratch": {},
    "a processor, with weights": {"pretrained": LOCAL, "kind": "binary"},
    "a card, with the hub": {"pretrained": tuple(from_hub("cuda")), "device": "cuda", "rows": 20000, "side": 256},
    "a card, from scratch": {"device": "cuda", "kind": "ordinal", "rows": 20000},
    "tiny pictures": {
        "rows": 40,
        "answered": 10,
        "side": 28,
        "kind": "multilabel",
        "metric": "f2",
        "beta": 2.0,
        "wants": "labels",
    },
    "large data": {"rows": 400_000, "answered": 100_000, "side": 400, "kind": "regression", "wants": "number"},
}


class Killed(BaseException):
    """The process was ended from outside."""


def speed(config: Config, device: str = "cpu") -> Speed:
    """A made-up speed: 200 pictures a second for resnet18 at 64 px on a processor, 60 times that on a card."""
    name = config.backbone.split(".")[0]
    half = 0.35 if config.model_args else 1.0
    train = 200 * (64 / config.size) ** 2 / (WEIGHT.get(name, 3.0) * half) * (60 if device == "cuda" else 1)
    return Speed(train, 3 * train)


FACTS: dict[str, Any] = {  # of balanced classes, as a plan needs them
    "kind": "multiclass",
    "pictures": 1,
    "seed": 0,
    "metric": "accuracy",
    "wants": "label",
    "beta": 0.0,
    "average": "",
    "by_class": False,
    "imbalance": 1.0,
    "space": SearchSpace(),
}


def situation(**changes: Any) -> Situation:
    """2,000 pictures of 100 px in classes, on a processor, five minutes, all of them left."""
    values: dict[str, Any] = {
        **FACTS,
        "rows": 2000,
        "answered": 500,
        "side": 100,
        "folds": 5,
        "budget": 300.0,
        "device": "cpu",
        "pretrained": (),
        "remember": lambda name, make: make(),
        **changes,
    }
    values.setdefault("measure", lambda config: speed(config, values["device"]))
    values.setdefault("left", lambda: 0.85 * values["budget"])
    return Situation(**values)


def trial(config: Config, stage: str = "stage", status: Any = "done", seconds: float = 1.0) -> Trial:
    """A trial whose score follows from its config's key."""
    score = 0.5 + int(config.key[:6], 16) / 16**6 / 2
    facts = {"skill": 0.4, "mirror": 1.02, "turn": 1.3} if config.backbone == "gradients" else {}
    return Trial(config, stage, status, score if status == "done" else -math.inf, 0.02, seconds, facts=facts)


@dataclass
class World:
    """What a run leaves on disk, and the time of the machine it runs on.

    `overrun` multiplies the seconds of trials, `ends` their status; with `evicts` what is kept at a net's cut is gone
    when it is asked for. Trials are ended at their deadline, as a run's are. `kill_at` counts runs of trials: that one
    takes half of its seconds (`lose` of them, where given), then the process is gone; the next `climb` resumes.
    """

    situation: Situation
    opening: float = 0.0  # seconds before the first trial: reading, decoding, imports
    overrun: Callable[[Config], float] = lambda config: 1.0
    ends: Callable[[Config], str] = lambda config: "done"
    evicts: bool = False
    kill_at: int = 0
    lose: float = 0.5
    now: float = 1000.0  # any origin
    record: dict[str, Trial] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # keys, in the order the record was asked for them
    ran: list[Config] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    planned: dict[str, float] = field(default_factory=dict)  # seconds, by a config's key
    published: int = 0
    nets: dict[Config, set[int]] = field(default_factory=dict)  # folds that are trained, by the config without them

    def __post_init__(self) -> None:
        self.clock = Clock(self.situation.budget, now=lambda: self.now, start=self.now)
        self.now += self.opening

    def reserve(self) -> float:
        """As the real one where a quick blend takes half a second."""
        return seconds_kept(self.situation.budget, SLACK.first_quick_blend)

    def climb(self, plan: Sequence[tuple[str, Stage]]) -> tuple[History, bool]:
        """The whole plan, from nothing but the record."""
        self.asked, self.ran, self.stages = [], [], []
        now = replace(
            self.situation,
            left=lambda: max(0.0, self.clock.left() - self.reserve()),
            remember=self.remember,
            folds_done=self.folds_done,
            is_decoded=lambda config: config.train == "net",  # in no time
        )
        return follow(plan, now, self.run, self.recall, self.clock, self.reserve, self.publish, self.tell)

    def run(self, config: Config, stage: str, planned: float = 0.0) -> Trial:
        seconds = self.overrun(config) * self.seconds_of(config)
        self.ran.append(config)
        if self.kill_at == len(self.ran):
            self.kill_at = 0
            self.now += self.lose * seconds
            raise Killed
        most = max(seconds_until_ended(self.clock, self.reserve()), 0.0)
        self.now += min(seconds, most)
        result = trial(config, stage, self.ends(config) if seconds <= most else "late", min(seconds, most))
        self.record[config.key] = result
        self.planned[config.key] = planned
        for net in {config, config.vary(predict_test=False)}:
            self.nets.setdefault(net.vary(folds=()), set()).update(config.folds)
        return result

    def folds_done(self, config: Config) -> int:
        """Folds of the config whose nets are on disk: those of trials over fewer folds."""
        return len(set(config.folds) & self.nets.get(config.vary(folds=()), set()))

    def seconds_of(self, config: Config) -> float:
        """What is on the disk is made of no second time; margins are not used, and nets' pictures are there."""
        known = with_kept(History(list(self.record.values())), replace(self.situation, folds_done=self.folds_done))
        known = replace(known, kept={}) if self.evicts else known
        features = config.train == "features"
        seconds = cost_of(config, known) + (decoding_of(config, known) if features else 0.0)
        return seconds / (SLACK.trial_margin if features or config.epochs else 1.0)

    def recall(self, config: Config) -> Trial | None:
        self.asked.append(config.key)
        return self.record.get(config.key)

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.decisions:
            self.decisions[name] = make()
        return self.decisions[name]

    def publish(self, history: History) -> None:
        self.published += 1

    def tell(self, event: Event) -> None:
        if event.name == "stage":
            self.stages.append(event.facts["stage"])


# --- what a valid config is, without importing torch ------------------------------------------------------------------


@cache
def sources() -> tuple[str, ...]:
    """The text of every file of the package."""
    return tuple(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))


@cache
def menu(name: str) -> dict[str, ast.expr]:
    """The rows of a menu, read off its source."""
    for text in sources():
        if not re.search(rf"^{name}\b", text, re.MULTILINE):  # to parse every file takes half a second a menu
            continue
        for node in ast.parse(text).body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            value = getattr(node, "value", None)
            if [t.id for t in targets if isinstance(t, ast.Name)] == [name]:
                if isinstance(value, ast.Dict):
                    return {key.value: row for key, row in zip(value.keys, value.values, strict=True)}
                return {key.value: key for key in value.elts}
    raise AssertionError(f"there is no menu {name}")


@cache
def losses_for(kind: str) -> set[str]:
    """The losses that a kind of task may be trained on."""
    rows = {"binary", "multiclass", "ordinal"}
    found = {"default"}
    for name, row in menu("LOSSES").items():
        kinds = row.args[1]  # type: ignore[attr-defined]
        if kind in (rows if isinstance(kinds, ast.Name) else {k.value for k in kinds.elts}):
            found.add(name)
    return found


def check(config: Config, s: Situation) -> None:
    """Asserts that the config can be run in this situation."""
    assert config == Config.from_json(config.to_json())
    assert config.folds
    assert config.folds == tuple(sorted(set(config.folds) & set(range(s.folds))))
    assert config.policy in {*menu("POLICIES"), *(s.space.names() or [])}
    assert config.optimizer in menu("OPTIMIZERS")
    assert config.switch_to in {"", *menu("OPTIMIZERS")}
    assert config.schedule in menu("SCHEDULES")
    assert config.tta in menu("VIEWS")
    assert menu("PREPROCESS")[config.preprocess.split("+")[-1]].args[0].value == "fit"  # type: ignore[attr-defined]
    assert config.loss in losses_for(s.kind)
    assert config.class_weights in {"", *menu("CLASS_WEIGHTS")}
    assert config.sampler in {"", *menu("SAMPLERS")}
    assert config.pool in {"", *menu("POOLS")}
    assert all(isinstance(n, int) and 16 <= n <= 1024 for n in (config.size, *config.sizes))
    assert all(n <= config.size for n in config.sizes)
    numbers = [getattr(config, f.name) for f in fields(config) if f.type is float or f.type == "float"]
    assert all(math.isfinite(n) and n >= 0 for n in numbers)
    assert all(n < 1 for n in (config.smoothing, config.dropout, config.drop_path, config.ema))
    if config.train == "features":
        assert config.backbone in {*menu("FEATURES"), *(row["backbone"] for row in s.pretrained)}
        assert config.head in menu("HEADS")
        assert (config.seconds, config.epochs) == (0, 0)
    else:
        assert bool(config.seconds) != bool(config.epochs)
        assert config.lr > 0
        assert config.batch >= 1
        expected = {"", *(row["weights"] for row in s.pretrained)}
        assert config.weights in expected


# --- made-up nouns for hypothesis -------------------------------------------------------------------------------------

PLAIN = {
    str: st.text(max_size=12),
    int: st.integers(-(2**40), 2**40),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}


def configs() -> st.SearchStrategy[Config]:
    """Configs of any values that their types allow."""
    of_plain_types: dict[str, Any] = {
        f.name: PLAIN[type(f.default)] for f in fields(Config) if type(f.default) in PLAIN and f.name != "train"
    }
    integers = st.lists(st.integers(0, 512), max_size=4).map(tuple)
    value = PLAIN[str] | PLAIN[int] | PLAIN[bool] | integers
    return st.builds(
        Config,
        train=st.sampled_from(["net", "features"]),
        model_args=st.dictionaries(PLAIN[str], value, max_size=3).map(lambda d: tuple(sorted(d.items()))),
        sizes=integers,
        scales=st.lists(st.floats(0.1, 4), max_size=2).map(tuple),
        folds=integers,
        **of_plain_types,
    )
