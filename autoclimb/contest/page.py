"""bench.html: a bench as one file that any browser opens, with the parts and the style of a run's page."""

import math
from collections.abc import Sequence

from autoclimb.budget import in_words
from autoclimb.contest import figures
from autoclimb.contest.cells import Answers, Outcome
from autoclimb.contest.figures import Panel
from autoclimb.contest.machine import hardware
from autoclimb.contest.standings import (
    Promise,
    Ranking,
    budgets_of,
    left_out,
    promises,
    ranking_at,
    rankings,
    summaries,
)
from autoclimb.contest.suite import Suite
from autoclimb.contest.text import (
    COST_HEAD,
    PAIR_HEAD,
    cost_rows,
    left_out_words,
    medal_rows,
    pairs_rows,
    scores_rows,
    spread_words,
)
from autoclimb.report.parts import Facts, Headline, Part, Section, Table, Words, chart, rendered, safe, unhurried
from autoclimb.report.words import counted, score_words

MOST_PANELS = 20  # sets that are drawn; the tables hold all


def bench_page(suite: Suite, outcomes: Sequence[Outcome], answers: Answers) -> str:
    """The page as HTML."""
    ranks = rankings(outcomes)
    sections = [
        Section("scores", "Scores", score_parts(suite, outcomes)),
        Section("ranks", "Ranks", rank_parts(outcomes)),
        Section("pairs", "Pair by pair", pair_parts(outcomes, answers)),
        Section("budgets", "Score against budget", budget_parts(suite, outcomes)),
        Section("costs", "Time and memory", cost_parts(outcomes)),
        Section("promises", "Promise against truth", promise_parts(promises(outcomes))),
        Section("medals", "Medals", medal_parts(suite, outcomes)),
        Section("failed", "Without a score", failed_parts(outcomes)),
        Section("made", "How it was made", made_parts(suite, outcomes)),
    ]
    footer = "Scores are on answers that no solver saw. `autoclimb bench` wrote this page beside results.json."
    filled = [section for section in sections if section.parts]
    return rendered("page.html", headline=headline(suite, outcomes, ranks), sections=filled, footer=footer)


def headline(suite: Suite, outcomes: Sequence[Outcome], ranks: Sequence[Ranking]) -> Headline:
    """The solver of the best mean rank at the largest budget."""
    sets, solvers = (len({getattr(o, name) for o in outcomes}) for name in ("set", "solver"))
    parts = [(solvers, "solver"), (sets, "set"), (len(budgets_of(outcomes)), "budget")]
    cells = f"{counted(len(outcomes), 'cell')}: {', '.join(counted(n, name) for n, name in parts)}."
    if not ranks:
        return Headline(suite.name, "no ranks yet", "", "Ranks need two solvers on the same set.", cells)
    last = ranks[-1]
    best, rank = last.mean_ranks[0]
    level = [name for name, other in last.mean_ranks[1:] if other == rank]
    without = len(left_out([o for o in outcomes if o.budget_s == last.budget]))
    over = f"{last.sets} of {last.sets + without} sets" if without else counted(last.sets, "set")
    claim = f"has the best mean rank, {rank:.2f} of {len(last.mean_ranks)} solvers, over {over} at "
    claim += in_words(last.budget)
    if level:
        claim += f"; level with {', '.join(safe(name, 30) for name in level)}"
    elif any(best in group for group in last.groups):
        others = [name for group in last.groups if best in group for name in group if name != best]
        claim += f"; not significantly better than {', '.join(safe(name, 30) for name in others)}"
    elif math.isnan(last.p_value):
        claim += "; too few solvers or sets for a test"
    return Headline(suite.name, safe(best, 24), "", claim, cells)


# --- scores ----------------------------------------------------------------------------------------------------------


def score_parts(suite: Suite, outcomes: Sequence[Outcome]) -> list[Part]:
    """Every score with its error, at the largest budget as a figure."""
    if not outcomes:
        return [Words("No cell is finished yet.", "quiet")]
    head, rows = scores_rows(outcomes)
    table = Table("Scores on the answers", head, rows, shown=True)
    budget = budgets_of(outcomes)[-1]
    panels = panels_at(suite, [o for o in outcomes if o.budget_s == budget])
    parts: list[Part] = [table, Words(spread_words(outcomes), "quiet")]
    if panels:
        known = " Dashed: known scores of others." if any(panel.known for panel in panels) else ""
        title = f"Scores at {in_words(budget)}"
        parts.append(
            chart(title, f"Right is better.{known}", "scores", unhurried(), None, figures.scores_figure, panels)
        )
    others = [(s.name, name, score_words(value)) for s in suite.sets for name, value in s.known]
    return parts + ([Table("Known scores of others", ("set", "whose", "score"), others)] if others else [])


def panels_at(suite: Suite, outcomes: Sequence[Outcome]) -> list[Panel]:
    """A panel for each set, with each solver's points (budget, score, error)."""
    rows = summaries(outcomes)
    higher = {o.set: o.higher_is_better for o in outcomes}
    metric = {o.set: o.metric for o in outcomes}
    panels = []
    for known_set in suite.sets:
        points: dict[str, list[tuple[float, float, float]]] = {}
        for row in sorted(rows, key=lambda r: r.budget):
            if row.set == known_set.name and not math.isnan(row.mean):
                error = 0.0 if math.isnan(row.error) else row.error
                points.setdefault(row.solver, []).append((row.budget, row.mean, error))
        if points:
            title = f"{known_set.name}, {metric[known_set.name]}" + ("" if higher[known_set.name] else " (lower)")
            panels.append(Panel(title, points, higher[known_set.name], known_set.known))
    return panels[:MOST_PANELS]


def budget_parts(suite: Suite, outcomes: Sequence[Outcome]) -> list[Part]:
    """Scores against the budget, where there are several budgets."""
    if len(budgets_of(outcomes)) < 2:
        return []
    panels = [p for p in panels_at(suite, outcomes) if any(len(points) > 1 for points in p.points.values())]
    if not panels:
        return []
    says = "Up is better; budgets on a log scale."
    return [chart("Score against budget", says, "budgets", unhurried(), None, figures.budgets_figure, panels)]


# --- who is better ---------------------------------------------------------------------------------------------------


def rank_parts(outcomes: Sequence[Outcome]) -> list[Part]:
    """Mean ranks at each budget, the result of the test on them, and the sets that are left out."""
    parts: list[Part] = []
    for i, budget in enumerate(budgets_of(outcomes)):
        at_budget = [o for o in outcomes if o.budget_s == budget]
        row = ranking_at(at_budget)
        without = [f"W{words[1:]}." for words in left_out_words(at_budget)]
        if row is None:
            parts += [Words(" ".join([f"No ranks at {in_words(budget)}.", *without]), "quiet")] if without else []
            continue
        title = f"Mean ranks at {in_words(budget)}, over {counted(row.sets, 'set')}"
        says = ["1 is the best."]
        if not math.isnan(row.p_value):
            says.append(f"Friedman's test of equal solvers: {row.p_words}. A bar joins solvers whose ranks differ")
            says.append(f"by less than {row.critical:.2f} (Nemenyi, 5 %).")
        says += [row.caution] if row.caution else []
        table = Table(title, ("solver", "mean rank"), list(row.mean_ranks))
        drawing = (row.mean_ranks, row.critical, row.groups)
        words = " ".join([*says, *without])
        parts.append(chart(title, words, f"r{i}", unhurried(), table, figures.ranks_figure, *drawing))
    return parts


def pair_parts(outcomes: Sequence[Outcome], answers: Answers) -> list[Part]:
    """Wins, ties and losses."""
    rows = pairs_rows(outcomes, answers)
    if not rows:
        return []
    says = "A tie is a difference within two standard errors, of the test rows (paired) and of the seeds together."
    return [Table("Sets won, level and lost", PAIR_HEAD, rows, shown=True), Words(says, "quiet")]


# --- costs and promises ----------------------------------------------------------------------------------------------


def cost_parts(outcomes: Sequence[Outcome]) -> list[Part]:
    """The share of the budget used, and memory."""
    if not outcomes:
        return []
    solvers = list(dict.fromkeys(o.solver for o in outcomes))
    shares = {s: [o.seconds / o.budget_s for o in outcomes if o.solver == s] for s in solvers}
    table = Table("By solver and budget", COST_HEAD, cost_rows(outcomes))
    parts: list[Part] = []
    says = "A dot is a cell: its wall time as a share of its budget, which ends at the line."
    label = "share of the budget"
    parts.append(chart("Budget used", says, "used", unhurried(), table, figures.dots_figure, shares, (1.0,), label))
    peaks = {s: [o.peak_mb / 1000 for o in outcomes if o.solver == s and o.peak_mb is not None] for s in solvers}
    if any(peaks.values()):
        says = "The peak of a cell's processes together, shared pages counted once, measured every second."
        parts.append(chart("Memory", says, "memory", unhurried(), None, figures.dots_figure, peaks, (), "gigabytes"))
    return parts


def promise_parts(rows: Sequence[Promise]) -> list[Part]:
    """Out-of-fold scores beside test scores, of the solvers that report any."""
    if not rows:
        return []
    head = ("solver", "set", "budget", "seed", "promised", "on the answers", "standard errors too much")
    body = [
        (r.solver, r.set, in_words(r.budget), str(r.seed), score_words(r.promised), score_words(r.score), r.sigmas)
        for r in rows
    ]
    table = Table("Every promise", head, body)
    sigmas = {
        s: [r.sigmas for r in rows if r.solver == s and not math.isnan(r.sigmas)] for s in {r.solver: 0 for r in rows}
    }
    if not any(sigmas.values()):
        return [table]
    says = "How far out-of-fold scores were above the test's, in standard errors of both; most should lie within two."
    label = "standard errors; right of 0 too much was promised"
    lines = (-2.0, 0.0, 2.0)
    return [
        chart("Promise against truth", says, "promise", unhurried(), table, figures.dots_figure, sigmas, lines, label)
    ]


def medal_parts(suite: Suite, outcomes: Sequence[Outcome]) -> list[Part]:
    """The medals that mean scores reach, where the suite gives the scores of medals."""
    head, rows = medal_rows(suite, outcomes)
    return [Table("Medals reached", ["set", *head[1:]], rows, shown=True)] if rows else []


def failed_parts(outcomes: Sequence[Outcome]) -> list[Part]:
    """The cells without a score, and why."""
    rows = [(o.solver, o.set, in_words(o.budget_s), str(o.seed), o.status) for o in outcomes if o.score is None]
    return (
        [Table("Cells without a score", ("solver", "set", "budget", "seed", "why"), rows, shown=True)] if rows else []
    )


def made_parts(suite: Suite, outcomes: Sequence[Outcome]) -> list[Part]:
    """The suite, the solvers' commands, the machine."""
    makers = list(dict.fromkeys(o.made_by for o in outcomes if o.made_by))
    times = sorted(o.when for o in outcomes if o.when)
    facts = [("suite", suite.name), *(("made by", text) for text in makers or [hardware()])]
    facts += [("cells run", f"{times[0]} to {times[-1]}")] if times else []
    commands = [(s.name, " ".join(s.command) or " ".join(["autoclimb fit", *s.options])) for s in suite.solvers]
    sets = [(s.name, s.data, s.metric) for s in suite.sets]
    return [
        Facts(facts),
        Table("Solvers", ("solver", "command"), commands, shown=True),
        Table("Sets", ("set", "data", "metric"), sets),
    ]
