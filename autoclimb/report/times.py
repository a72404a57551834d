"""Where the time of a run went, in seconds of its budget: stages, trials, blends, and what was done between them."""

from itertools import pairwise

import numpy as np

from autoclimb.report.record import RunRecord


def stage_spans(record: RunRecord) -> list[tuple[float, float, str]]:
    """(start, end, name) of the stages that ran trials, in seconds of budget."""
    starts = [(e["spent"], e["facts"].get("stage") or e["text"]) for e in record.events if e["name"] == "stage"]
    ends = [*(spent for spent, _ in starts[1:]), record.spent]
    ran = {t.stage for t in record.trials}
    return [(start, end, name) for (start, name), end in zip(starts, ends, strict=False) if name in ran and end > start]


def trial_ends(record: RunRecord) -> dict[str, float]:
    """Seconds of budget at which each trial ended, by key; without its event on record, the trials' seconds so far."""
    known = {e["facts"]["trial"]: e["spent"] for e in record.events if e["name"] == "trial" and "trial" in e["facts"]}
    total, ends = 0.0, {}
    for trial in record.trials:
        total += trial.seconds
        ends[trial.key] = known.get(trial.key, total)
    return ends


def blend_scores(record: RunRecord) -> list[tuple[float, float]]:
    """(seconds of budget, the metric's own value) of each blend that was published."""
    known = [(e["spent"], e["facts"].get("best")) for e in record.events if e["name"] == "blend"]
    return [(spent, best) for spent, best in known if isinstance(best, (int, float)) and np.isfinite(best)]


def time_ledger(record: RunRecord) -> list[tuple[str, float]]:
    """(activity, seconds) in order, where each event begins an activity that lasts until the next event."""
    ledger: dict[str, float] = {}
    stage, activity = "", "reading and decoding"
    marks = [(e["spent"], e["name"], e["facts"]) for e in record.events]
    for (spent, name, facts), following in pairwise([*marks, (record.spent, "end", {})]):
        if not ledger:
            ledger[activity] = spent
        if name == "stage":
            stage, activity = facts.get("stage") or "", "planning and measuring"
        elif name == "start":
            activity = f"trials: {facts.get('stage') or stage}"
        elif name == "trial":
            # a trial that failed, or predicted no test rows, is not blended
            activity = "blending" if following[1] == "blend" else "planning and measuring"
        elif name == "blend":
            activity = "planning and measuring"
        elif name == "done":
            activity = "the report"
        elif "report" in facts:
            activity = "idle, between calls"
        ledger[activity] = ledger.get(activity, 0.0) + max(following[0] - spent, 0.0)
    return [(activity, seconds) for activity, seconds in ledger.items() if seconds >= 0.05]
