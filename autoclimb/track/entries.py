"""The entries that a tracker gets: trials and blends as plain values, read from the run folder."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autoclimb.config import Config
from autoclimb.types import Trial

Plain = str | int | float | bool


@dataclass(frozen=True)
class About:
    """The run that is tracked. `state` is a tracker's own and outlives the process, so that it can resume."""

    folder: Path
    name: str  # of the task
    run: str  # the folder's name
    metric: str
    greater_is_better: bool
    settings: dict[str, Plain]
    state: dict[str, Any]


@dataclass(frozen=True)
class TrialEntry:
    """A trial that ended: its config as parameters; its score, in the metric's own direction, and facts as metrics."""

    number: int  # 1 for the first
    key: str
    status: str
    parameters: dict[str, Plain]
    metrics: dict[str, float]
    note: str

    @property
    def name(self) -> str:
        """The trial's name in a tracker's list."""
        return f"trial-{self.number:03d}"


@dataclass(frozen=True)
class BlendEntry:
    """The blend after `trials` trials."""

    trials: int
    metrics: dict[str, float]


class Session(Protocol):
    """An open tracker."""

    def log_trial(self, entry: TrialEntry) -> None:
        """Records a trial, once."""

    def log_blend(self, entry: BlendEntry) -> None:
        """Records the blend's score at this point."""

    def end(self, files: list[Path]) -> None:
        """Ends the record; `files` are worth keeping beside it."""


def entry_of(trial: Trial, number: int, about: About) -> TrialEntry:
    """The trial as a tracker takes it."""
    metrics = {"seconds": trial.seconds}
    if trial.status == "done":
        metrics |= {about.metric: shown(trial.score, about), "stderr": trial.stderr}
    metrics |= {k: float(v) for k, v in trial.facts.items() if isinstance(v, int | float) and math.isfinite(v)}
    parameters = {"stage": trial.stage, **parameters_of(trial.config)}
    return TrialEntry(number, trial.key, trial.status, parameters, metrics, trial.note)


def parameters_of(config: Config) -> dict[str, Plain]:
    """The config's values by name; values that are not plain become text."""
    return {k: v if isinstance(v, Plain) else repr(v) for k, v in config.to_json().items()}


def shown(score: float, about: About) -> float:
    """A higher-is-better score as the metric's own value."""
    return score if about.greater_is_better else -score
