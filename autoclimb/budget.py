"""The clock and every reserve. Nobody else reads the time to decide anything, so a test owns time by passing `now`."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from autoclimb.errors import Mistake

T = TypeVar("T")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
CACHE_GB, NETS_GB = 3.0, 1.5  # of disk for decoded pixels and for nets, unless the user says otherwise; own choice
SHORTEST = 10.0  # below this not even the imports of a trial fit


def seconds_of(text: str | float) -> float:
    """Seconds in a budget such as `90s`, `15m`, `4h` or `1d12h`, or in a number of seconds.

    Raises Mistake for anything else, and for less than SHORTEST seconds or more than a year.
    """
    if not isinstance(text, str):
        if not SHORTEST <= text <= 365 * UNITS["d"]:  # also where it is NaN
            raise Mistake(f"a budget of {text!r} seconds cannot be kept; give {SHORTEST:g} to a year of them, or 4h")
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise Mistake(f"budget {text!r} is not numbers with units; write it like 90s, 15m, 4h or 1d12h")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not SHORTEST <= seconds <= 365 * UNITS["d"]:
        raise Mistake(f"budget {text!r} is {seconds:g} seconds; give at least {SHORTEST:g}s and at most a year")
    return seconds


def in_words(seconds: float) -> str:
    """A duration for people: `47s`, `4m05s`, `3h20m`, `1d12h`."""
    rounded = max(0, round(seconds))
    if rounded < 60:
        return f"{rounded}s"
    if rounded < 3600:
        return f"{rounded // 60}m{rounded % 60:02d}s"
    if rounded < 86400:
        return f"{rounded // 3600}h{rounded % 3600 // 60:02d}m"
    return f"{rounded // 86400}d{rounded % 86400 // 3600:02d}h"


def as_budget(seconds: float) -> str:
    """A duration as people write budgets: `47s`, `1m30s`, `5m`, `4h`."""
    return re.sub(r"(?<=[mhd])00[smh]$", "", in_words(seconds))


@dataclass(frozen=True)
class Clock:
    """A budget that started at `start` on the time source `now` (seconds, any origin)."""

    budget: float
    now: Callable[[], float] = field(default=time.monotonic, repr=False)
    start: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        """Seconds since the start."""
        return self.now() - self.start

    def left(self) -> float:
        """Seconds until the budget ends, never negative."""
        return max(0.0, self.budget - self.spent())

    def affords(self, cost: float, keep: float = 0.0) -> bool:
        """Whether `cost` seconds can be spent and `keep` seconds still be left."""
        return cost <= self.left() - keep


@dataclass(frozen=True)
class Stopwatch:
    """The seconds that some functions take, of which none calls another."""

    clock: Clock
    laps: list[float] = field(default_factory=list, repr=False)

    def on(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function, whose seconds count."""

        def watched(*values: Any, **more: Any) -> T:
            start = self.clock.spent()
            try:
                return function(*values, **more)
            finally:
                self.laps.append(self.clock.spent() - start)

        return watched

    def seconds(self) -> float:
        """The seconds of all calls so far."""
        return sum(self.laps)


@dataclass(frozen=True)
class Slack:
    """Every margin that a run sets aside, each with its reason, in seconds unless it is a share or a factor."""

    # for the end: the last blend in depth, its submission and the record
    import_for_last_blend: float = 2.5  # imports of LightGBM and scikit-learn, on two cores
    boosting_from: float = 300.0  # seconds of budget from which LightGBM's import is worth its time; own choice
    stacking_from: float = 300.0  # seconds of budget from which a stacker after each trial is, .1 to .3 s; own choice
    quick_blends_in_last: float = 10.0  # a blend in depth took up to ten times a quick one (benchmarks/LOG.md)
    share_for_last_blend: float = 0.04  # of the budget, at most, so that a short run still trains
    quick_blends_at_least: float = 2.2  # one quick blend and its writing must always fit, measured or not
    record_at_least: float = 0.5  # writing run.json, the submission and its check
    first_quick_blend: float = 0.5  # assumed until the first one is measured
    after_last_blend: float = 1.5  # the blend in depth is dropped where it leaves less; 2 % of a short budget
    share_after_last_blend: float = 0.02
    card: float = 5.0  # for a model card, at most: one of 300 rows takes hundredths of a second
    card_at_least: float = 0.2  # even of a budget that is used up
    # for report.html, after the submission is written and the run is on record as finished
    share_for_report: float = 0.02  # of the budget, at most: a page is no reason to train less
    report_at_most: float = 20.0  # a page of 100,000 rows in a hundred classes is made in a fraction of it
    report_drawing: float = 0.7  # least left for charts to be tried: eight took .3 to .6 s, matplotlib imported before
    report_drift: float = 8.0  # of report time, from which drift is measured: forests on 1,200 pictures, seconds
    report_chart: float = 0.3  # below it a section of the page shows tables instead of charts: two take .1 s
    report_looks: float = 2.5  # of report time, from which brightness, contrast and sharpness are measured: .3 s
    report_gallery_least: float = 0.35  # below it the gallery is skipped: 24 pictures and a sheet took .4 s of a core
    report_rewriting: float = 0.2  # for writing the page again with the gallery, its charts unchanged
    drift_ahead_from: float = 120.0  # budget from which drift is measured while a trial trains: 2 to 3 s of one core
    sizes_ahead: float = 1.0  # for at most 1,600 headers of pictures, read while a trial trains: .1 to .2 s of one core
    report_import_ahead: float = 6.0  # of report time, below which matplotlib (1 s) is imported while a trial trains
    # for the trackers of --track, which work beside the run and have little left to do when it ends
    trackers_at_least: float = 0.2  # even of a budget that is used up
    trackers_at_most: float = 30.0  # of one that is not: a tracker that hangs is no reason to wait for its end
    # for work in progress
    decoding_stops_at: float = 1.0  # left of the budget when decoding gives up: a constant submission still stands
    first_features_share: float = 0.65  # of the time left, for features while no trial is done: on a busy machine they
    # once took six times their estimate, and no net was trained; at .5 a slow minute cut them to two folds
    worker_deadline_share: float = 0.5  # of the reserve for the end that a trial may overrun into before it is ended
    worker_start: float = 1.0  # left for the parent while it waits for the worker's imports
    worker_reply: float = 0.7  # before its deadline at which a worker stops, to write what it has and reply
    worker_silence: float = 300.0  # without progress after which a worker counts as hung; torch.compile may take 120 s
    # for what the search plans
    opening: float = 20.0  # until the first net trains, on 2 cores: imports, reading, the first features
    working_at_least: float = 0.4  # share of a short budget that trials are planned with, whatever `opening` takes
    trial_margin: float = 1.1  # factor on the estimate of trials that count epochs or rows, which no clock ends
    first_features: float = 4.0  # added to a first trial of features: the worker is still importing (2 cores)
    beside_fold: float = 1.0  # of a planned fold beside training and predicting (assumption)
    trial_overhead: float = 0.5  # of a trial beside its folds: opening its pixels, its score and record
    misjudged: float = 0.02  # share of the time left, and of the budget up to a second, that no trial is planned into
    least_share: float = 0.4  # of its planned time below which a fold is not started late (assumption), and which it
    # gets though the folds before it ran over
    # within a fold
    predict_margin: float = 1.3  # factor on the time for predicting, which is measured on two batches only
    after_fold: float = 0.3  # writing a net and its predictions
    written: float = 2e8  # bytes of large predictions written in a second (assumption: a disk of a rented machine)
    least_training_share: float = 0.3  # of a fold's seconds, however long predicting takes
    least_fold_share: float = 0.4  # of the mean time of the folds so far; with less left, the trial ends with them


SLACK = Slack()


def seconds_kept(budget: float, quick_blend: float) -> float:
    """Seconds in which no trial runs at the end of a run: for the last blend, its submission, and the report."""
    return seconds_for_the_end(budget, quick_blend) + seconds_for_report(budget)


def seconds_for_the_end(budget: float, quick_blend: float) -> float:
    """Seconds for the last blend and its submission, where a quick blend takes `quick_blend`."""
    imports = budget >= SLACK.boosting_from
    beside = SLACK.import_for_last_blend if imports else seconds_after_last_blend(budget)
    in_depth = min(beside + SLACK.quick_blends_in_last * quick_blend, SLACK.share_for_last_blend * budget + 0.2)
    return max(in_depth, SLACK.quick_blends_at_least * quick_blend + SLACK.record_at_least)


def seconds_after_last_blend(budget: float) -> float:
    """Seconds that the blend in depth has to leave before the report; it is dropped where it leaves fewer."""
    return min(SLACK.after_last_blend, SLACK.share_after_last_blend * budget)


def seconds_until_ended(clock: Clock, reserve: float) -> float:
    """Seconds after which a trial is ended, whatever it was planned to take; `reserve` is the time kept for the end."""
    return clock.left() - SLACK.worker_deadline_share * reserve


def seconds_for_report(budget: float) -> float:
    """Seconds that writing the report may take."""
    return min(SLACK.report_at_most, SLACK.share_for_report * budget)
