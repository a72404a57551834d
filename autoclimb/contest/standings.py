"""Statistics of cells: spread over seeds, mean ranks, pairs, critical differences, promises against the truth.

Ranks, the Friedman test and Nemenyi's critical difference after Demšar, "Statistical comparisons of classifiers over
multiple data sets", JMLR 7 (2006). They are taken at one budget: a set at two budgets is not two independent sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoclimb.contest.cells import Answers, Outcome
from autoclimb.report.standing import MEDALS
from autoclimb.score.crossfit import standard_error

TIE = 2.0  # standard errors of the difference within which two solvers are level
FEWEST_SETS, FEWEST_SOLVERS = 10, 5  # from which the test's approximation holds (Demšar 2006, after equation 8)
ALPHA = 0.05


@dataclass(frozen=True)
class Summary:
    """A solver on a set at a budget: the mean of its scores, and their spread."""

    solver: str
    set: str
    budget: float
    mean: float  # NaN where no cell has a score
    seeds: int  # cells with a score
    failed: int
    over_seeds: float  # standard deviation, NaN for fewer than two seeds
    over_rows: float  # standard error over the test rows, the mean of the seeds'

    @property
    def error(self) -> float:
        """The spread over seeds where there are several, else the error over rows; NaN where neither is known."""
        return self.over_rows if math.isnan(self.over_seeds) else self.over_seeds


@dataclass(frozen=True)
class Pair:
    """Two solvers at a budget: on how many sets the first wins, is level and loses."""

    first: str
    second: str
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of solvers over sets at a budget, 1 the best, with the Friedman test and the critical difference."""

    budget: float
    sets: int
    mean_ranks: tuple[tuple[str, float], ...]  # best first
    p_value: float  # that all solvers are equally good; NaN for fewer than three solvers or two sets
    critical: float  # difference of mean ranks beyond which two solvers differ (Nemenyi, 5 %); NaN where p_value is
    groups: tuple[tuple[str, ...], ...]  # of two or more solvers within the critical difference of each other

    @property
    def p_words(self) -> str:
        """The p-value for people."""
        return "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"

    @property
    def caution(self) -> str:
        """The reason not to rely on the test, "" for none."""
        if math.isnan(self.p_value):
            return "A test needs three solvers and two sets."
        few = [f"{self.sets} sets"] if self.sets < FEWEST_SETS else []
        few += [f"{len(self.mean_ranks)} solvers"] if len(self.mean_ranks) < FEWEST_SOLVERS else []
        if not few:
            return ""
        least = f"{FEWEST_SETS} sets and {FEWEST_SOLVERS} solvers"
        return f"{' and '.join(few)} are few: the test is meant for {least} or more."


@dataclass(frozen=True)
class Promise:
    """A solver's out-of-fold score and its score on the answers, and the excess of the first in standard errors."""

    solver: str
    set: str
    budget: float
    seed: int
    promised: float
    score: float
    sigmas: float  # excess in units of both standard errors together, positive where it promised too much; NaN unknown


def summaries(outcomes: Sequence[Outcome]) -> list[Summary]:
    """One row a set, budget and solver, in the order of the outcomes."""
    grouped: dict[tuple[str, float, str], list[Outcome]] = {}
    for o in outcomes:
        grouped.setdefault((o.set, o.budget_s, o.solver), []).append(o)
    return [_summary(cells) for cells in grouped.values()]


def _summary(cells: list[Outcome]) -> Summary:
    scores = [o.score for o in cells if o.score is not None]
    errors = [o.stderr for o in cells if o.stderr is not None]
    return Summary(
        cells[0].solver,
        cells[0].set,
        cells[0].budget_s,
        float(np.mean(scores)) if scores else math.nan,
        len(scores),
        len(cells) - len(scores),
        float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan,
        float(np.mean(errors)) if errors else math.nan,
    )


def budgets_of(outcomes: Sequence[Outcome]) -> list[float]:
    """The budgets, smallest first."""
    return sorted({o.budget_s for o in outcomes})


# --- ranks -----------------------------------------------------------------------------------------------------------


def rankings(outcomes: Sequence[Outcome]) -> list[Ranking]:
    """The ranking at each budget at which two solvers or more were run on the same sets."""
    rows = (ranking_at([o for o in outcomes if o.budget_s == budget]) for budget in budgets_of(outcomes))
    return [row for row in rows if row is not None]


def ranking_at(outcomes: Sequence[Outcome]) -> Ranking | None:
    """The ranking of the solvers of one budget over the sets that are not left out; None without such sets.

    A solver that failed on a set has the last rank there.
    """
    from scipy.stats import rankdata

    solvers = list(dict.fromkeys(o.solver for o in outcomes))
    mean = {(row.set, row.solver): row.mean for row in summaries(outcomes)}
    higher = {o.set: o.higher_is_better for o in outcomes}
    sets = [name for name in higher if name not in left_out(outcomes)]
    if len(solvers) < 2 or not sets:
        return None
    table = np.array([[mean[name, solver] * (1 if higher[name] else -1) for solver in solvers] for name in sets])
    ranks = rankdata(-np.where(np.isnan(table), -np.inf, table), axis=1)
    by_rank = sorted(zip(solvers, ranks.mean(0).tolist(), strict=True), key=lambda row: row[1])
    testable = len(solvers) > 2 and len(sets) > 1
    critical = critical_difference(len(solvers), len(sets)) if testable else math.nan
    return Ranking(
        outcomes[0].budget_s,
        len(sets),
        tuple(by_rank),
        friedman(ranks) if testable else math.nan,
        critical,
        indistinguishable(by_rank, critical) if testable else (),
    )


def left_out(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The sets of one budget that ranks cannot be taken on, each with the reason; none where there is one solver."""
    run: dict[str, set[str]] = {}
    for o in outcomes:
        run.setdefault(o.set, set()).add(o.solver)
    scored = {o.set for o in outcomes if o.score is not None}
    solvers = list(dict.fromkeys(o.solver for o in outcomes))
    reasons = {}
    for name, there in run.items() if len(solvers) > 1 else ():
        if lacking := [solver for solver in solvers if solver not in there]:
            reasons[name] = f"not run by {', '.join(lacking)}"
        elif name not in scored:
            reasons[name] = "no solver has a score"
    return reasons


def friedman(ranks: np.ndarray) -> float:
    """The p-value of equal solvers from ranks `(sets, solvers)`, by Iman and Davenport's F (Demšar 2006, eq. 9).

    Ties are corrected for. F makes too much of few sets that agree: the p-value is never below the share of rankings
    that agree by chance.
    """
    from scipy.stats import f

    n, k = ranks.shape
    deviations = ranks - (k + 1) / 2
    if not deviations.any():
        return 1.0
    chi2 = (k - 1) * n**2 * float((deviations.mean(0) ** 2).sum() / (deviations**2).sum())
    rest = n * (k - 1) - chi2
    by_chance = math.factorial(k) ** (1.0 - n)
    return max(by_chance, float(f.sf((n - 1) * chi2 / rest, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else 0.0)


def critical_difference(solvers: int, sets: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 % (Demšar 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - ALPHA, solvers, np.inf)) / math.sqrt(2)
    return q * math.sqrt(solvers * (solvers + 1) / (6 * sets))


def indistinguishable(by_rank: Sequence[tuple[str, float]], critical: float) -> tuple[tuple[str, ...], ...]:
    """The largest groups of two solvers or more whose mean ranks lie within the critical difference."""
    groups: list[tuple[str, ...]] = []
    for i, (_, best) in enumerate(by_rank):
        group = tuple(name for name, rank in by_rank[i:] if rank - best < critical)
        if len(group) > 1 and not any(set(group) <= set(other) for other in groups):
            groups.append(group)
    return tuple(groups)


# --- pairs -----------------------------------------------------------------------------------------------------------


def pairs_at(outcomes: Sequence[Outcome], answers: Answers) -> list[Pair]:
    """Wins, ties and losses of every two solvers of one budget, over the sets that both were run on."""
    solvers = list(dict.fromkeys(o.solver for o in outcomes))
    by_cell: dict[tuple[str, str], list[Outcome]] = {}
    for o in outcomes:
        by_cell.setdefault((o.set, o.solver), []).append(o)
    pairs = []
    for i, first in enumerate(solvers):
        for second in solvers[i + 1 :]:
            both = [name for name in dict.fromkeys(o.set for o in outcomes) if (name, first) in by_cell]
            signs = [
                _sign(by_cell[name, first], by_cell[name, second], answers)
                for name in both
                if (name, second) in by_cell
            ]
            pairs.append(Pair(first, second, signs.count(1), signs.count(0), signs.count(-1)))
    return pairs


def _sign(ours: list[Outcome], theirs: list[Outcome], answers: Answers) -> int:
    """1 where ours are better on a set, -1 where worse, 0 within the noise of seeds and rows; a missing score loses."""
    a, b = _summary(ours), _summary(theirs)
    if math.isnan(a.mean) or math.isnan(b.mean):
        return int(math.isnan(b.mean)) - int(math.isnan(a.mean))
    gain = (a.mean - b.mean) * (1 if ours[0].higher_is_better else -1)
    clear = abs(gain) > TIE * noise(ours, theirs, answers)  # never where the noise is NaN
    return 0 if not clear else 1 if gain > 0 else -1


def noise(ours: list[Outcome], theirs: list[Outcome], answers: Answers) -> float:
    """The standard error of the difference of two solvers' mean scores on a set.

    Test rows are the same for both, so their part is paired by row. Seeds are independent; a solver with a single seed
    is assumed to vary over seeds as the other does.
    """
    a, b = _summary(ours), _summary(theirs)
    known = [v for v in (a.over_seeds, b.over_seeds) if not math.isnan(v)]
    usual = max(known, default=0.0)
    of_seeds = [(usual if math.isnan(row.over_seeds) else row.over_seeds) / math.sqrt(row.seeds) for row in (a, b)]
    scored = [[o for o in cells if o.score is not None] for cells in (ours, theirs)]
    others = {o.seed: o for o in scored[1]}
    matched = [(o, others[o.seed]) for o in scored[0] if o.seed in others] or [(scored[0][0], scored[1][0])]
    return math.hypot(*of_seeds, float(np.mean([paired_error(one, other, answers) for one, other in matched])))


def paired_error(one: Outcome, other: Outcome, answers: Answers) -> float:
    """The standard error of the difference of two cells, paired by test row where both cells' answers are on disk."""
    first, second = answers(one), answers(other)
    if first is None or second is None or first[1].shape != second[1].shape:
        return math.hypot(one.stderr or 0.0, other.stderr or 0.0)
    return standard_error(first[2], first[0], first[1], None, second[1])


# --- promises --------------------------------------------------------------------------------------------------------


def promises(outcomes: Sequence[Outcome]) -> list[Promise]:
    """Each cell's reported out-of-fold score beside its score on the answers."""
    rows = []
    for o in outcomes:
        if o.oof is None or o.score is None:
            continue
        surplus = (o.oof - o.score) * (1 if o.higher_is_better else -1)
        error = math.hypot(o.stderr, o.oof_stderr) if o.stderr is not None and o.oof_stderr is not None else 0.0
        sigmas = surplus / error if error > 0 else math.nan
        rows.append(Promise(o.solver, o.set, o.budget_s, o.seed, o.oof, o.score, sigmas))
    return rows


def medal_reached(score: float, medals: Sequence[tuple[str, float]], higher_is_better: bool) -> str:
    """The best of the (medal, score it takes) that the score reaches, "" for none."""
    needed = dict(medals)
    for medal in MEDALS:
        if medal in needed and (score >= needed[medal] if higher_is_better else score <= needed[medal]):
            return medal
    return ""
