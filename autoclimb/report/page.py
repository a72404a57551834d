"""report.html: a run as one file that any browser opens, from the answer to how it was made."""

from collections import Counter

import numpy as np

from autoclimb.budget import in_words
from autoclimb.report import charts, findings, times
from autoclimb.report.cleaner import given_words, proposal_words, suspects_in, suspects_table
from autoclimb.report.doubts import folds_words, nearness_words
from autoclimb.report.findings import Errors, Move
from autoclimb.report.leaderboard import leaderboard_frame, net_words, words_of
from autoclimb.report.page_data import data_parts
from autoclimb.report.page_errors import MOST_ROWS, error_parts
from autoclimb.report.page_made import made_parts
from autoclimb.report.parts import (
    Chart,
    Facts,
    Headline,
    Part,
    Pen,
    Picture,
    Pictures,
    Section,
    Table,
    Words,
    chart,
    rendered,
    thumbnail,
)
from autoclimb.report.record import RunRecord
from autoclimb.report.words import counted, drift_words, give_or_take, number, score_words
from autoclimb.score.suspects import REASONS
from autoclimb.types import Trial

SUSPECTS = 16  # thumbnails of the most doubtful
MOST_SUSPECTS = 100  # rows of their table


def report_page(record: RunRecord, errors: Errors | None, pen: Pen) -> str:
    """The page as HTML. `errors` are those of `findings.errors_of`.

    Sections and charts that take long are left out where the pen has no time for them, and the page says so.
    """
    in_time = pen.left() > 0
    sections = [
        Section("answer", "The answer", answer_parts(record, errors)),
        Section("climb", "The climb", climb_parts(record, pen)),
        Section("helped", "What helped", lift_parts(record, pen) if in_time else [late("the lift of each trial")]),
        Section("leaderboard", "Leaderboard", leaderboard_parts(record)),
        Section("errors", "Where it errs", error_parts(record, errors, pen)),
        Section("data", "The data", data_parts(record, pen)),
        Section("suspects", "Suspects", suspect_parts(record)),
        Section("made", "How it was made", made_parts(record, pen)),
    ]
    filled = [section for section in sections if section.parts]
    undrawn = any(isinstance(part, Chart) and not part.svg for section in filled for part in section.parts)
    footer = "Scores are out of fold: every row was predicted by nets that had not seen it."
    if undrawn:
        footer += " Some charts were left out for want of time; `autoclimb report RUN` draws them."
    return rendered("page.html", headline=headline(record), sections=filled, footer=footer)


def late(content: str) -> Part:
    """A sentence in place of content for which no time was left."""
    return Words(f"There was no time left for {content}; `autoclimb report RUN` shows it.", "quiet")


def headline(record: RunRecord) -> Headline:
    """The head of the page: the score with its error, the metric, and the state of the run."""
    better = "higher is better" if record.metric.greater_is_better else "lower is better"
    spent = f"{in_words(record.spent)} of {in_words(record.budget)}"
    state = f"{record.words}." if record.finished else f"Still running: {spent} used."
    if record.blend is None:
        return Headline(record.name, "no score yet", "", f"{record.metric.name}, {better}", state)
    return Headline(
        record.name,
        score_words(record.metric.shown(record.blend.score)),
        score_words(record.blend.stderr),
        f"{record.metric.name} out of fold, {better}; ± is a standard error over {record.blend.rows:,} rows",
        state[0].upper() + state[1:],
    )


# --- the answer ------------------------------------------------------------------------------------------------------


def answer_parts(record: RunRecord, errors: Errors | None) -> list[Part]:
    """The submission, its score's interval, the score of a constant answer, doubts, and the score of each fold."""
    rows: list[tuple[str, str]] = []
    if record.submission:
        rows.append(("submission", f"{record.submission}, {record.answered:,} rows"))
    if record.blend is not None:
        blend = record.blend
        low, high = sorted(record.metric.shown(end) for end in blend.interval)
        if np.isfinite(low) and np.isfinite(high):
            unless = ", were test pictures as near as held-out ones" if nearness_words(record.nearness) else ""
            rows.insert(0, ("95 % interval", f"{score_words(low)} to {score_words(high)}{unless}"))
        rows.append(("answered by", f"{blend.method} of {counted(len(blend.members), 'trial')}"))
    if record.groups is not None:
        groups = len(np.unique(record.groups[record.fold_of >= 0]))
        rows.append(("groups", f"{groups:,}; rows of one share a fold and count together in the error"))
    constant = findings.constant_score(record)
    if np.isfinite(constant):
        rows.append(("a constant answer", f"would score {score_words(constant)}"))
    rows.append(("budget", f"{in_words(record.spent)} of {in_words(record.budget)} used"))
    parts: list[Part] = [Facts(rows)]
    if record.blend is None:
        parts.append(Words("Nothing has been learned yet: the submission, if there is one, is a constant.", "warning"))
    if record.drift.get("auc") is not None:
        tone = {"none": "quiet", "slight": "plain"}.get(record.drift["verdict"], "warning")
        parts.append(Words(drift_words(record.drift), tone))
    if nearness := nearness_words(record.nearness):
        parts.append(Words(nearness, "warning"))
    if errors is None:
        return parts
    scores = findings.fold_scores(record, errors)
    if disagreement := folds_words(scores):
        parts.append(Words(disagreement, "warning"))
    unscored = int((record.fold_of >= 0).sum()) - len(record.predicted)
    if unscored:
        parts.append(Words(f"{unscored:,} train rows were not predicted by every member and are not in the score."))
    if len(scores) > 1:
        shown = [(f"fold {k}", n, s, e) for k, n, s, e in scores]
        parts.append(Table("Score by fold", ("fold", "rows", record.metric.name, "standard error"), shown))
    return parts


# --- the climb, and what helped --------------------------------------------------------------------------------------


def climb_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """Every trial's score by the time it ended, and the blend's score over time."""
    values = climb_values(record)
    if not values[0]:
        return [Words("No trial has ended yet.", "quiet")]
    ends = times.trial_ends(record)
    rows = [
        (in_words(ends[t.key]), t.stage, words_of(t.config), record.metric.shown(t.score), t.stderr)
        for t in sorted(record.trials, key=lambda t: ends[t.key])
        if t.has_score
    ]
    table = Table("Trials in order", ("at", "stage", "trial", record.metric.name, "standard error"), rows[:MOST_ROWS])
    says = "A dot is a trial with its standard error, filled where it is in the blend; the line is the blend's score."
    gain = [Words(blend_gain(record))] if record.blend and len(record.blend.members) > 1 else []
    return [chart("Score against time", says, "climb", pen, table, charts.climb_figure, *values), *gain]


Dots = list[tuple[float, float, float, bool]]


def climb_values(
    record: RunRecord,
) -> tuple[Dots, list[tuple[float, float]], list[tuple[float, float, str]], str, bool]:
    """The arguments of `charts.climb_figure` for a run."""
    ends = times.trial_ends(record)
    members = set(record.blend.members) if record.blend else set()
    dots = [
        (ends[t.key], record.metric.shown(t.score), t.stderr, t.key in members) for t in record.trials if t.has_score
    ]
    metric = record.metric
    return dots, times.blend_scores(record), times.stage_spans(record), metric.name, metric.greater_is_better


def blend_gain(record: RunRecord) -> str:
    """The blend's gain over the best trial, in words."""
    assert record.blend is not None
    best = max((t.score for t in record.trials if t.status == "done"), default=float("nan"))
    gain = record.blend.score - best
    return f"The blend is {score_words(abs(gain))} {'better' if gain >= 0 else 'worse'} than the best single trial."


def lift_parts(record: RunRecord, pen: Pen) -> list[Part]:
    """The lift of each trial, the loss without each member of the blend, and the blenders compared."""
    parts: list[Part] = []
    moves = pen.once("moves", lambda: findings.moves_of(record))
    if moves:
        head = ("trial", "stage", "changed", "lift", "standard error", "seconds", "lift a minute", "best so far")
        rows = [
            (m.number, m.stage, m.words, m.lift, m.stderr, m.seconds, a_minute(m), "yes" if m.adopted else "no")
            for m in moves
        ]
        table = Table("Lift of each trial", head, rows)
        says = "Against the best trial before it, on the rows that both predicted; positive is better."
        values = lift_values(moves, record.metric.name)
        parts.append(chart("Lift of each trial", says, "lifts", pen, table, charts.bars_figure, *values))
    losses = findings.ablation(record)
    if losses:
        names = member_names([trial for trial, _, _ in losses])
        loss_rows = [(name, loss, stderr) for name, (_, loss, stderr) in zip(names, losses, strict=True)]
        table = Table("The blend without each member", ("member", "loss", "standard error"), loss_rows)
        says = "The blend's loss where a member is replaced by the mean of the others."
        brief = [f"{i}: {net_words(trial.config)}" for i, (trial, _, _) in enumerate(losses, 1)]
        loss_values = (brief, [r[1] for r in loss_rows], [r[2] for r in loss_rows], "loss")
        parts.append(chart("Each member of the blend", says, "members", pen, table, charts.bars_figure, *loss_values))
    if record.blend and len(record.blend.tried) > 1:
        by_score = sorted(record.blend.tried.items(), key=lambda row: -row[1])
        blender_rows = [(name, record.metric.shown(score)) for name, score in by_score]
        metric = f"{record.metric.name}, cross-fitted"
        parts.append(Table("Ways to blend that were compared", ("blend", metric), blender_rows))
    return parts


def lift_values(moves: list[Move], metric: str) -> tuple[list[str], list[float], list[float], str, list[str]]:
    """The arguments of `charts.bars_figure` for the lifts of trials."""
    return (
        [f"{m.number}: {m.brief}" for m in moves],
        [m.lift for m in moves],
        [m.stderr for m in moves],
        f"lift of {metric} and its standard error",
        [charts.GOOD if m.adopted else charts.SOFT for m in moves],
    )


def member_names(members: list[Trial]) -> list[str]:
    """Numbered names: the first member in full, the others by their difference from it."""
    first = members[0].config
    others = [f"{i}: {words_of(t.config, against=first)}" for i, t in enumerate(members[1:], 2)]
    return [f"1: {words_of(first)}", *others]


def a_minute(move: Move) -> float:
    """Lift per minute of training."""
    return move.lift / max(move.seconds / 60, 1e-3)


def leaderboard_parts(record: RunRecord) -> list[Part]:
    """Every trial, best first, and the correlation of the members' errors."""
    frame = leaderboard_frame(record.trials, record.metric, record.blend)
    if frame.empty:
        return []
    folds_of = {t.key: len(t.config.folds) for t in record.trials}
    rows = []
    for row in frame.head(MOST_ROWS).to_dict("records"):
        weight = number(row["weight"]) if np.isfinite(row["weight"]) else "in" if row["member"] else ""
        rows.append(
            (
                str(row["rank"]) if isinstance(row["rank"], int) else "",
                give_or_take(row["score"], row["stderr"]) or row["status"],
                row["config"],
                row["stage"],
                f"{row['seconds']:,.0f}" if np.isfinite(row["seconds"]) else "",
                str(folds_of.get(row["key"], "")),
                weight,
            )
        )
    head = ("rank", record.metric.name, "trial", "stage", "seconds", "folds", "weight")
    parts: list[Part] = [Table(f"{counted(len(record.trials), 'trial')}, best first", head, rows, shown=True)]
    members, correlation = findings.member_correlation(record)
    if members:
        names = member_names(members)
        table_rows: list[list[str | float]] = [[name, *map(float, correlation[i])] for i, name in enumerate(names)]
        names_across = ["member", *(str(i) for i in range(1, len(members) + 1))]
        title = "Correlation of the members' errors: the lower, the more a blend gains"
        parts.append(Table(title, names_across, table_rows))
    return parts


# --- suspects --------------------------------------------------------------------------------------------------------


def suspect_parts(record: RunRecord) -> list[Part]:
    """The rows whose labels look wrong: a count for each reason, the most doubtful as thumbnails, and as a table."""
    suspects = suspects_in(record)
    if not suspects:
        return []
    counts = Counter(s.reason for s in suspects)
    lines = [(reason, f"{counted(n, 'row')}: {REASONS[reason]}") for reason, n in counts.items()]
    advice = f"`autoclimb suspects` makes a page of all {len(suspects):,}, to keep, drop or relabel."
    parts: list[Part] = [Words(f"A suspect is a question: nothing was changed. {advice}"), Facts(lines)]
    few = suspects[:SUSPECTS]
    if record.pictures is not None:
        shown = [
            Picture(thumbnail(record.pictures[s.row]), given_words(record, s.row), proposal_words(record, s))
            for s in few
        ]
        parts.append(Pictures("Most doubtful", "The label, and below it the nets' own answer.", shown))
    head, *rows = suspects_table(record, suspects[:MOST_SUSPECTS])
    parts.append(Table(f"The first {len(rows):,} suspects", head, rows))
    return parts
