"""A bench's report as text for a terminal."""

import math
from collections import Counter
from collections.abc import Sequence

from autoclimb.budget import in_words
from autoclimb.contest.cells import Answers, Outcome
from autoclimb.contest.standings import (
    Promise,
    Summary,
    budgets_of,
    left_out,
    medal_reached,
    pairs_at,
    promises,
    ranking_at,
    summaries,
)
from autoclimb.contest.suite import Suite
from autoclimb.report.parts import safe
from autoclimb.report.words import counted, give_or_take

PAIR_HEAD = ("budget", "solver", "against", "wins", "ties", "losses")
COST_HEAD = ("solver", "budget", "cells", "of the budget", "at most", "overran", "trials", "peak MB")


def report_text(suite: Suite, outcomes: Sequence[Outcome], answers: Answers, width: int | None = None) -> str:
    """The report: scores, ranks, pairs, time and memory, promises; `width` columns, the terminal's by default."""
    from rich.console import Console

    console = Console(width=width, no_color=True, highlight=False, markup=False)
    with console.capture() as capture:
        for table in parts_of(suite, outcomes, answers):
            console.print(table)
            console.print()
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def parts_of(suite: Suite, outcomes: Sequence[Outcome], answers: Answers) -> list[object]:
    """The parts of the report in order, rich's tables and plain text."""
    if not outcomes:
        return ["no cell is finished yet"]
    parts: list[object] = [_table(*scores_rows(outcomes)), spread_words(outcomes)]
    for budget in budgets_of(outcomes):
        if lines := rank_lines([o for o in outcomes if o.budget_s == budget]):
            parts.append("\n".join(lines))
    if pairs := pairs_rows(outcomes, answers):
        parts.append(_table(PAIR_HEAD, pairs))
    parts.append(_table(COST_HEAD, cost_rows(outcomes)))
    if promised := promises(outcomes):
        parts.append("\n".join(promise_lines(promised)))
    head, medals = medal_rows(suite, outcomes)
    parts += [_table(head, medals)] if medals else []
    failed = [f"  {cell_words(o)}: {safe(o.status, 200)}" for o in outcomes if o.score is None]
    return parts + (["\n".join(["without a score", *failed])] if failed else [])


def cell_words(o: Outcome) -> str:
    """The cell's solver, set, budget and seed."""
    return f"{safe(o.solver)} on {safe(o.set)}, {in_words(o.budget_s)}, seed {o.seed}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(Text(safe(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    return table


def spread_words(outcomes: Sequence[Outcome]) -> str:
    """A sentence on the meaning of ± in the table of scores."""
    seeds = usual_seeds(outcomes)
    over = f"the standard deviation over {seeds} seeds, with one seed " if seeds > 1 else ""
    return f"± is {over}the standard error over the test rows."


def usual_seeds(outcomes: Sequence[Outcome]) -> int:
    """The most frequent number of seeds with a score."""
    counts = Counter(row.seeds for row in summaries(outcomes) if row.seeds)
    return max(counts, key=lambda seeds: counts[seeds], default=1)


def score_cell(row: Summary | None, usual: int) -> str:
    """A solver's score on a set with its error, and its number of seeds where that is not the usual one."""
    if row is None:
        return ""
    if math.isnan(row.mean):
        return "failed"
    text = give_or_take(row.mean, row.error)
    notes = [f"n={row.seeds}"] if row.seeds != usual else []
    notes += [f"{row.failed} failed"] if row.failed else []
    return text + (f" ({', '.join(notes)})" if notes else "")


def scores_rows(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of scores: a row for each set and budget, a column for each solver."""
    solvers = list(dict.fromkeys(o.solver for o in outcomes))
    by_cell = {(row.set, row.budget, row.solver): row for row in summaries(outcomes)}
    usual = usual_seeds(outcomes)
    metric = {o.set: o.metric + ("" if o.higher_is_better else ", lower is better") for o in outcomes}
    rows = [
        [name, metric[name], in_words(budget), *(score_cell(by_cell.get((name, budget, s)), usual) for s in solvers)]
        for name, budget in dict.fromkeys((o.set, o.budget_s) for o in outcomes)
    ]
    return ["set", "metric", "budget", *solvers], rows


def rank_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """The ranks at one budget, the test on them, and the sets left out; [] where there is a single solver."""
    row, without = ranking_at(outcomes), left_out_words(outcomes)
    lines = [f"no ranks at {in_words(outcomes[0].budget_s)}"] if without else []
    if row is not None:
        lines = [f"mean ranks over {counted(row.sets, 'set')} at {in_words(row.budget)}, 1 the best"]
        lines += [f"  {rank:.2f}  {safe(name)}" for name, rank in row.mean_ranks]
        if not math.isnan(row.p_value):
            lines.append(f"  critical difference {row.critical:.2f} (Nemenyi, 5 %), Friedman {row.p_words}")
        lines += [f"  {row.caution}"] if row.caution else []
    return lines + [f"  {words}" for words in without]


def left_out_words(outcomes: Sequence[Outcome]) -> list[str]:
    """`without pets, dogs: not run by fastai`, for each reason why sets of one budget are left out of its ranks."""
    sets_of: dict[str, list[str]] = {}
    for name, reason in left_out(outcomes).items():
        sets_of.setdefault(reason, []).append(name)
    return [f"without {', '.join(map(safe, names))}: {safe(reason)}" for reason, names in sets_of.items()]


def pairs_rows(outcomes: Sequence[Outcome], answers: Answers) -> list[list[str]]:
    """Rows under PAIR_HEAD, of the pairs that share a set."""
    return [
        [in_words(budget), pair.first, pair.second, str(pair.wins), str(pair.ties), str(pair.losses)]
        for budget in budgets_of(outcomes)
        for pair in pairs_at([o for o in outcomes if o.budget_s == budget], answers)
        if pair.wins + pair.ties + pair.losses
    ]


def cost_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Rows under COST_HEAD for each solver and budget: mean and largest share of the budget, trials, peak memory."""
    rows = []
    for solver, budget in dict.fromkeys((o.solver, o.budget_s) for o in outcomes):
        cells = [o for o in outcomes if (o.solver, o.budget_s) == (solver, budget)]
        shares = [o.seconds / budget for o in cells]
        trials = [o.trials for o in cells if o.trials is not None]
        peaks = [o.peak_mb for o in cells if o.peak_mb is not None]
        rows.append(
            [
                solver,
                in_words(budget),
                str(len(cells)),
                f"{sum(shares) / len(shares):.0%}",
                f"{max(shares):.0%}",
                str(sum(share > 1 for share in shares)),
                f"{sum(trials) / len(trials):.0f}" if trials else "–",
                f"{max(peaks):,.0f}" if peaks else "–",
            ]
        )
    return rows


def medal_rows(suite: Suite, outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the medals that mean scores reach, of sets whose medals the suite gives: a column a solver."""
    medals = {s.name: s.medals for s in suite.sets if s.medals}
    higher = {o.set: o.higher_is_better for o in outcomes}
    solvers = list(dict.fromkeys(o.solver for o in outcomes if o.set in medals))
    mean = {(row.set, row.budget, row.solver): row.mean for row in summaries(outcomes)}

    def cell(name: str, budget: float, solver: str) -> str:
        score = mean.get((name, budget, solver))
        if score is None:
            return ""
        return "failed" if math.isnan(score) else medal_reached(score, medals[name], higher[name]) or "none"

    places = dict.fromkeys((o.set, o.budget_s) for o in outcomes if o.set in medals)
    rows = [[name, in_words(budget), *(cell(name, budget, s) for s in solvers)] for name, budget in places]
    return ["medals", "budget", *solvers], rows


def promise_lines(rows: Sequence[Promise]) -> list[str]:
    """The distance of out-of-fold scores from the truth, a line for each solver."""
    lines = ["promise against truth: out-of-fold score minus test score, positive where too much was promised"]
    for solver in dict.fromkeys(row.solver for row in rows):
        sigmas = [r.sigmas for r in rows if r.solver == solver and not math.isnan(r.sigmas)]
        if sigmas:
            mean, far = sum(sigmas) / len(sigmas), sum(abs(s) > 2 for s in sigmas)
            lines.append(f"  {safe(solver)}: {mean:+.2f} standard errors on the mean of {counted(len(sigmas), 'cell')}")
            lines[-1] += f", {far} beyond two"
    return lines
