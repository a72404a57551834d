"""Replays: the real controller on recorded trials, its solvers, and the tables that compare them."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from bank_rows import situation_for
from recordings import Record, distance, load, stand_in
from speeds import PROCESSOR, Measure

import autoclimb
from autoclimb import Config, SearchSpace, Situation, Task, Trial
from autoclimb.blend.choose import blend_of
from autoclimb.blend.pools import NETS_SHARE
from autoclimb.budget import in_words
from autoclimb.contest.marks import cells_of, truth_in
from autoclimb.contest.suite import read_suite
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.search.fidelity import epochs_in
from autoclimb.search.order import plan_of
from autoclimb.search.recipes import load_recipe
from autoclimb.search.rehearsal import on_its_own_clock
from autoclimb.types import Goal

SEEN = ("skill", "mirror", "turn", "mirrored_copies")  # facts of features that the search asks for


@dataclass(frozen=True, eq=False)
class Known:
    """A set with its bank: what every replay on it shares."""

    name: str
    task: Task
    goal: Goal
    truth: np.ndarray  # of the test rows, as the metric takes it
    records: list[Record]
    fold_of: np.ndarray
    situation: Situation = field(repr=False)

    @property
    def train(self) -> TrainRows:
        """The train rows as predictions are scored and blended on them."""
        return TrainRows(self.goal, self.task.truth, self.fold_of, self.task.groups)


@dataclass(frozen=True, eq=False)
class Replay:
    """How a solver ended: scores out of fold and on the test, higher is better, seconds, trials."""

    score: float
    stderr: float
    test: float
    seconds: float
    trials: int
    apart: float  # how unlike its nets the recordings are that played them, mean over trials; 0 where they are the same


@dataclass(frozen=True)
class Solver:
    """A plan (None for autoclimb's own), what may vary in it, and the blenders that it may use (None for all).

    `nets_share` is the largest share of the nets' own blend beside features.
    """

    plan: tuple[Any, ...] | None = None
    space: SearchSpace = field(default_factory=SearchSpace)
    blenders: Collection[str] | None = None
    nets_share: float = NETS_SHARE


def of_recipe(recipe: str | Path) -> Solver:
    """A recipe as a solver."""
    given = load_recipe(recipe, space=None, plan=None, folds=None, pretrained=True)
    return Solver(None if given.plan is None else tuple(given.plan), given.space)


ABLATIONS = Path(__file__).parent / "ablations"
SOLVERS: dict[str, Solver] = {
    "fixed": of_recipe("fixed"),
    "random": of_recipe("random-search"),
    "autoclimb": Solver(),
    "no stages": of_recipe(ABLATIONS / "no_stages.py"),
    "no probe": of_recipe(ABLATIONS / "no_probe.py"),
    "no halving": of_recipe(ABLATIONS / "no_halving.py"),
    "no blend": Solver(blenders=("best",), nets_share=0.0),
    "no share": Solver(nets_share=0.0),
}


def replay(known: Known, solver: Solver, budget: float, seed: int, measure: Measure) -> Replay | None:
    """The solver's run on that budget, every trial played by its stand-in; None where the bank has none for any."""
    goal, truth = known.goal, known.task.truth
    apart: list[float] = []

    def play(config: Config, stage: str, seconds: float, s: Situation) -> Trial:
        epochs = config.epochs or (epochs_in(config.seconds, config, s) if config.seconds else 0.0)
        record = stand_in(known.records, config, epochs)
        if record is None:
            return Trial(config, stage, "failed", -math.inf, 0.0, seconds, note="nothing like it is in the bank")
        if config.train == "net":
            apart.append(distance(record.config, config, epochs))
        oof, score, stderr = held_out(known, record, config.folds)
        facts = {name: value for name, value in record.facts.items() if name in SEEN}
        test = record.test_by(len(config.folds)) if config.predict_test else None
        return Trial(config, stage, "done", score, stderr, seconds, oof, test, facts=facts)

    @cache
    def row_losses(trial: Trial) -> np.ndarray | None:
        return None if trial.oof is None else losses_by_row(goal, truth, trial.oof)

    changes = {"budget": budget, "seed": seed, "space": solver.space, "measure": measure, "row_losses": row_losses}
    s = replace(known.situation, **changes)
    history, seconds = on_its_own_clock(s, PROCESSOR.cores, plan_of(solver.plan), play)
    if not history.done():
        return None
    blend = blend_of(history.done(), known.train, allow=solver.blenders, nets_share=solver.nets_share)
    mean_apart = float(np.mean(apart)) if apart else 0.0
    tested = test_score(known, np.asarray(blend.oof), blend.test)
    return Replay(blend.score, blend.stderr, tested, seconds, len(history.trials), mean_apart)


def test_score(known: Known, oof: np.ndarray, test: np.ndarray) -> float:
    """The score on the test, higher is better, by the decision rule that the rows out of fold teach."""
    rows = np.isfinite(oof).all(1) & (known.fold_of >= 0)
    rule = learn_rule(known.goal, known.task.truth[rows], oof[rows])
    return known.goal.score(known.truth, answer(rule, test))


@lru_cache(500)  # many trials of many replays have the same stand-in
def held_out(known: Known, record: Record, folds: tuple[int, ...]) -> tuple[np.ndarray, float, float]:
    """A record's predictions out of some folds `(N, C)`, NaN elsewhere, their score and its standard error."""
    oof = np.where(np.isin(known.fold_of, folds)[:, None], record.oof, np.nan).astype(np.float32)
    scored = cross_fitted_score(known.train, oof)
    return oof, scored.score, scored.stderr


def known_set(suite: Path, name: str, bank_file: Path) -> Known:
    """The set with its bank file, read once."""
    whole = read_suite(suite)
    one = whole.set_named(name)
    metric, data = whole.metric_of(one), whole.folder / one.data
    task = autoclimb.read_task(data, metric)
    cells = cells_of(task.form, whole.folder / one.answers)
    by_id = [cells[item] for item in task.test_ids]
    records, fold_of = load(bank_file)
    truth = truth_in(task, metric, by_id, task.classes)
    goal = Goal(metric, task.kind, task.grades)
    return Known(name, task, goal, truth, records, fold_of, situation_for(task, metric))


# --- tables ----------------------------------------------------------------------------------------------------------

Cell = tuple[str, float, str, int]  # set, budget, solver, seed
HEAD = (
    "| set | budget | solver | seed | test | out of fold | over promise | seconds | trials | apart |\n"
    + "|---" * 10
    + "|\n"
)
SUMMARY = (
    "\n| budget | solver | against | n | gain on the test | ± | error over the other's | over promise | ± | apart |\n"
    + "|---" * 10
    + "|\n"
)


def row_of(cell: Cell, ended: Replay, goal: Goal) -> str:
    """A replay's row; over promise is the test's score less the promise, below zero where it promised too much."""
    name, budget, solver, seed = cell
    test, oof = goal.metric.shown(ended.test), goal.metric.shown(ended.score)
    promised = f"{oof:.4f} ± {ended.stderr:.4f} | {ended.test - ended.score:+.4f}"
    place = f"| {name} | {in_words(budget)} | {solver} | {seed} "
    return f"{place}| {test:.4f} | {promised} | {ended.seconds:.0f} | {ended.trials} | {ended.apart:.1f} |\n"


def summary(ended: dict[Cell, Replay], goals: dict[str, Goal], against: Sequence[str]) -> Iterator[str]:
    """For each budget and solver: gains over others, paired by set and seed, with their standard errors.

    Scores of different metrics are averaged as they are, so the ratio of errors stands beside: its geometric mean.
    """
    budgets, solvers = ({cell[i]: None for cell in ended} for i in (1, 2))
    for budget in budgets:
        for solver in solvers:
            own = {(c[0], c[3]): e for c, e in ended.items() if c[1:3] == (budget, solver)}
            over = [e.test - e.score for e in own.values()]
            for other in against:
                theirs = {(c[0], c[3]): e for c, e in ended.items() if c[1:3] == (budget, other)}
                both = [(own[key], theirs[key], goals[key[0]]) for key in own if key in theirs and other != solver]
                if both:
                    gains = [a.test - b.test for a, b, _ in both]
                    ratios = [math.log(error_of(a.test, g) / error_of(b.test, g)) for a, b, g in both]
                    ratio = f"{math.exp(float(np.mean(ratios))):.3f}"
                    cells = [in_words(budget), solver, other, str(len(both)), mean_and_error(gains), ratio]
                    apart = f"{np.mean([e.apart for e in own.values()]):.1f}"
                    yield f"| {' | '.join([*cells, mean_and_error(over), apart])} |\n"


def error_of(score: float, goal: Goal) -> float:
    """What is to be small: one less the score, or the metric's own value where lower is better."""
    return max(1 - score if goal.metric.greater_is_better else -score, 1e-6)


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error, as two cells."""
    error = f"{np.std(values, ddof=1) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.4f} | {error}"
