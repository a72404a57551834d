"""A rehearsal: the real controller on a clock that only its trials move, so that a plan is seen before it is run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoclimb.budget import SLACK, Clock, seconds_for_the_end
from autoclimb.search.climb import Stage, follow
from autoclimb.search.cost import cost_of, epoch_seconds, features_seconds, predict_seconds, speed_of
from autoclimb.search.fidelity import LONGEST_KNOWN, pixel_bytes
from autoclimb.search.nets import net_named
from autoclimb.search.rates import Device, memory_gb
from autoclimb.search.situation import Situation
from autoclimb.types import Config, History, Trial

FLIPS_HELP = {"skill": 0.5, "mirror": 1.0, "turn": 2.0}  # what features are taken to say: photographs, not digits
# pictures a second that one core decodes at 500 x 375 px (benchmarks/RESULTS.md, cache.py); larger ones by their area
DECODED = 508.0
DECODED_AREA = 500.0 * 375.0


@dataclass(frozen=True)
class PlannedTrial:
    """A trial as it would be asked for: what it is, and what it would cost."""

    stage: str
    config: Config
    seconds: float
    epochs: float  # of each fold, 0 for features
    pictures_a_second: float  # trained on, or predicted for features
    memory_gb: float
    pixel_gb: float  # of disk
    licence: str
    why: str


@dataclass
class _Rehearsal:
    """What a rehearsal knows while it goes on: the time, and what was tried."""

    situation: Situation
    now: float = 0.0
    trials: dict[str, Trial] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)
    folds: dict[Config, set[int]] = field(default_factory=dict)
    decoded: set[int] = field(default_factory=set)


def rehearse(situation: Situation, device: Device, plan: Sequence[tuple[str, Stage]]) -> list[PlannedTrial]:
    """The trials that the controller would ask for, in order, if every net did as well as its size promises.

    Times are what the situation's speeds say; the first trial starts when the pictures are read and decoded.
    """
    state = _Rehearsal(situation)
    rows: list[PlannedTrial] = []
    clock = Clock(situation.budget, now=lambda: state.now, start=0.0)
    end = seconds_for_the_end(situation.budget, SLACK.first_quick_blend)
    state.now += opening_seconds(situation, device)
    known = {net.backbone: i for i, net in enumerate(LONGEST_KNOWN)}

    def remember(name: str, make: Any) -> Any:
        return state.decisions.setdefault(name, make()) if name not in state.decisions else state.decisions[name]

    def folds_done(config: Config) -> int:
        return len(set(config.folds) & state.folds.get(config.vary(folds=()), set()))

    def prepare(config: Config) -> None:
        if config.cached_size not in state.decoded:
            state.decoded.add(config.cached_size)
            state.now += decoding_seconds(situation, device)

    now = replace(
        situation,
        left=lambda: max(0.0, clock.left() - end),
        remember=remember,
        folds_done=folds_done,
        prepare=prepare,
    )

    def run(config: Config, stage: str) -> Trial:
        prepare(config)
        seconds = cost_of(config, now)
        rows.append(planned(config, stage, seconds, now))
        state.now += seconds
        state.folds.setdefault(config.vary(folds=()), set()).update(config.folds)
        score = 0.5 + 0.01 * known.get(config.backbone, 0) + 0.001 * len(config.folds)
        facts = FLIPS_HELP if config.train == "features" and not config.weights else {}
        trial = Trial(config, stage, "done", score, 0.01, seconds, facts=facts)
        state.trials[config.key] = trial
        return trial

    follow(plan, now, run, state.trials.get_trial if False else _recall(state), clock, lambda: end, lambda history: None)
    return rows
