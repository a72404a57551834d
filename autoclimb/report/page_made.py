"""The page's section on how a run was made: settings, time, losses and rate sweeps of its nets, versions, notes."""

from typing import Any

import numpy as np

from autoclimb.arrays import predicted_rows
from autoclimb.budget import in_words
from autoclimb.report import charts, findings, times, training_charts
from autoclimb.report.leaderboard import net_words
from autoclimb.report.page_errors import MOST_ROWS
from autoclimb.report.parts import Facts, Part, Pen, Table, chart
from autoclimb.report.record import RunRecord
from autoclimb.types import Trial

MOST_CURVES = len(charts.COLOURS)


def made_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """Settings, the time ledger, learning curves, rate sweeps, versions and notes."""
    parts: list[Part] = [Facts([(name, str(value)) for name, value in record.settings.items()])]
    ledger = times.time_ledger(record)
    if ledger:
        total = max(sum(seconds for _, seconds in ledger), 1e-9)
        table = Table("Time", ("what", "seconds", "share"), [(w, s, f"{s / total:.0%}") for w, s in ledger])
        values = (
            [w for w, _ in ledger],
            [s for _, s in ledger],
            None,
            "seconds",
            None,
            [in_words(s) for _, s in ledger],
        )
        says = "Wall time from the command to the last file written."
        parts.append(chart("Where time went", says, "time", pen, table, charts.bars_figure, *values))
    parts += [*curve_parts(record, pen), *sweep_parts(record, pen)]
    if record.versions:
        parts.append(Table("Versions", ("package", "version"), list(record.versions.items())))
    notes = [(in_words(e["spent"]), e["text"]) for e in record.events if e["name"] == "note" and e["text"]]
    if notes:
        parts.append(Table("Notes of the run", ("at", "note"), notes[-MOST_ROWS:], shown=True))
    return parts


def trained_with(record: RunRecord, fact: str) -> list[tuple[str, Trial]]:
    """(name, trial) of at most MOST_CURVES nets that recorded this fact, members of the blend first, then by score."""
    members = record.blend.members if record.blend else ()
    known = [t for t in record.trials if len(t.facts.get(fact, ())) > 1 and t.status == "done"]
    known.sort(key=lambda t: (t.key not in members, -t.score))
    few = enumerate(known[:MOST_CURVES], 1)
    return [(f"{i}: {net_words(trial.config)}, {trial.config.policy}", trial) for i, trial in few]


def curve_values(record: RunRecord) -> tuple[list[training_charts.Line], list[float | None]]:
    """The arguments of `training_charts.curves_figure` for a run."""
    trained = trained_with(record, "loss_curve")
    lines: list[training_charts.Line] = [(name, *points_of(trial.facts["loss_curve"])) for name, trial in trained]
    return lines, [loss_out_of_fold(record, trial) for _, trial in trained]


def curve_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """The training losses of nets over time, and their losses out of fold at the end."""
    lines, ends = curve_values(record)
    if not lines:
        return []
    rows: list[tuple[str, float, float]] = []
    for (name, x, y), end in zip(lines, ends, strict=True):
        rows += [(name, epoch, loss) for epoch, loss in zip(x, y, strict=True)]
        rows += [(f"{name}: out of fold", x[-1], end)] if end is not None else []
    table = Table("Losses", ("net", "epoch", "loss"), rows)
    diamond = " A diamond is the loss out of fold, at the end." if any(end is not None for end in ends) else ""
    says = (
        "Training loss of the first fold, on augmented pictures; the nets of the blend come first."
        f"{diamond} No epoch is validated: that time goes into training."
    )
    return [chart("Learning curves", says, "curves", pen, table, training_charts.curves_figure, lines, ends)]


def loss_out_of_fold(record: RunRecord, trial: Trial) -> float | None:
    """The log loss of a trial's out-of-fold predictions, None where the net was trained on another loss."""
    classes = record.one_class and trial.config.loss in ("default", "ce") and record.goal.kind != "ordinal"
    labels = record.goal.kind == "multilabel" and trial.config.loss in ("default", "bce")
    if trial.oof is None or not (classes or labels):
        return None
    rows = findings.thinned(np.flatnonzero(predicted_rows(trial.oof)), findings.ROWS_PAIRED)
    p = np.clip(np.asarray(trial.oof[rows], np.float64), 1e-6, 1 - 1e-6)
    target = np.asarray(record.target[rows], np.float64)
    if classes:
        return float(-(target * np.log(p)).sum(1).mean())
    return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)).mean())


def sweep_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """The sweeps from which learning rates were chosen."""
    swept = trained_with(record, "lr_curve")
    if not swept:
        return []
    lines = [(name, *points_of(trial.facts["lr_curve"])) for name, trial in swept]
    rates = [trial.facts["lr"] for _, trial in swept]
    rows = [(name, f"{rate:.3g}", loss) for name, x, y in lines for rate, loss in zip(x, y, strict=True)]
    table = Table("Rate sweeps", ("net", "learning rate", "loss"), rows)
    says = "The rate rises at every step; a dot is the chosen rate, in the valley."
    return [chart("Rate sweeps", says, "sweeps", pen, table, training_charts.sweep_figure, lines, rates)]


def points_of(points: list[Any]) -> tuple[list[float], list[float]]:
    """x and y of a curve."""
    return [float(x) for x, _ in points], [float(y) for _, y in points]
