"""Does a run hold what it promises? Short runs, noise, intervals, decisions and suspects, a table each.

    python benchmarks/honesty.py promise [--draws 200] [--goals accuracy f2 ...]
    python benchmarks/honesty.py noise [--draws 40] [--goals accuracy f2 ...]
    python benchmarks/honesty.py coverage [--draws 200] [--goals accuracy f2 ...]
    python benchmarks/honesty.py clusters [--draws 200] [--goals accuracy f2 ...]
    python benchmarks/honesty.py luck [--draws 100] [--goals accuracy f2 ...]
    python benchmarks/honesty.py search [--draws 150] [--goals accuracy f2 ...]
    python benchmarks/honesty.py decisions RUN ...
    python benchmarks/honesty.py suspects RUN ... [--draws 2]
    python benchmarks/honesty.py reblend RUN ... --answers DIR

Tables go to the terminal, and with --out FILE to the end of that file. The first six are simulations; the others look
at kept runs: `decisions` at runs of sets of labels, `suspects` at any whose cache still holds frozen features, and
`reblend` at those whose answers are known, DIR/<run>.csv in the submission's form.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from blend import chances
from record import append, heading

from autoclimb.arrays import predicted_rows
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.contest.marks import cells_of, marked, truth_in
from autoclimb.report.submission import write_submission
from autoclimb.run.reporting import record_of
from autoclimb.run.result import Run, open_run
from autoclimb.score.calibrate import calibrated, platt
from autoclimb.score.crossfit import cross_answers, cross_fit, cross_fitted_score, rule_of, standard_error
from autoclimb.score.decide import learn_rule, truth_for
from autoclimb.score.expected import learnt_tilt
from autoclimb.score.intervals import interval
from autoclimb.score.luck import luck_of_best
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.score.suspects import suspects_of
from autoclimb.score.sweep import label_thresholds, row_threshold
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Form, Goal, Kind, Rule, Task, Trial

Goals = tuple[tuple[str, Kind], ...]
THREE: Goals = (("accuracy", "multiclass"), ("f2", "multilabel"), ("log-loss", "multiclass"))
EIGHT: Goals = (
    ("accuracy", "multiclass"),
    ("log-loss", "multiclass"),
    ("roc-auc", "binary"),
    ("f2", "binary"),
    ("f2", "multilabel"),
    ("f1-macro", "multilabel"),
    ("qwk", "ordinal"),
    ("rmse", "regression"),
)
WITH_R2: Goals = (*EIGHT, ("r2", "regression"))
SIMULATED: dict[str, tuple[Goals, int]] = {
    "promise": (THREE, 200),
    "noise": (EIGHT, 40),
    "coverage": (WITH_R2, 200),
    "clusters": (WITH_R2, 200),
    "luck": (WITH_R2, 100),
    "search": (EIGHT, 150),
}
NEW_ROWS = 20_000  # that say what an answer truly scores


def main() -> None:
    """Makes the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = parser.add_subparsers(dest="table", required=True)
    for name, (goals, draws) in SIMULATED.items():
        simulated, metrics = tables.add_parser(name), sorted({metric for metric, _ in goals})
        simulated.add_argument("--draws", type=int, default=draws)
        simulated.add_argument("--goals", nargs="+", choices=metrics, default=metrics)
    tables.add_parser("decisions").add_argument("runs", nargs="+", type=Path)
    suspects = tables.add_parser("suspects")
    suspects.add_argument("runs", nargs="+", type=Path)
    suspects.add_argument("--draws", type=int, default=2)
    reblended = tables.add_parser("reblend")
    reblended.add_argument("runs", nargs="+", type=Path)
    reblended.add_argument("--answers", type=Path, required=True)
    for table in tables.choices.values():
        table.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lines = TABLES[asked.table](asked)
    if asked.out:
        append(asked.out, heading(TITLES[asked.table]))
    for line in lines:
        print(line, flush=True)
        if asked.out:
            append(asked.out, line + "\n")


def row(*cells: object) -> str:
    """A line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*names: str) -> str:
    """The first two lines of a table."""
    return row(*names) + "\n" + "|" + "---|" * len(names)


def asked_for(asked: argparse.Namespace) -> Goals:
    """Those of the table's goals whose metrics were asked for."""
    return tuple((metric, kind) for metric, kind in SIMULATED[asked.table][0] if metric in asked.goals)


def mean_of(values: np.ndarray) -> str:
    """Mean ± standard error."""
    if len(values) < 2:
        return ""
    return f"{values.mean():+.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


# --- worlds ----------------------------------------------------------------------------------------------------------

WIDTHS = {"binary": 2, "multilabel": 6, "regression": 1}  # columns of a prediction, 4 of other kinds


def world(
    kind: Kind, n: int, random: np.random.Generator, shift: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Truth of n rows and the log odds (or numbers) that it was drawn from; `shift` `(n, C)` moves them by row."""
    width = WIDTHS.get(kind, 4)
    z = random.normal(size=(n, width)) * 2 + shift - (1.5 if kind == "multilabel" else 0)
    if kind == "ordinal":
        grade = random.normal(1.5, 1.2, (n, 1)) + np.atleast_1d(shift)[..., :1]
        z = -((grade - np.arange(4)) ** 2)
    if kind == "regression":
        return z[:, 0] + random.normal(size=n), z
    right = chances(z, kind)
    if kind == "multilabel":
        return (random.random(z.shape) < right).astype(np.uint8), z
    return (random.random((n, 1)) > np.cumsum(right, axis=1)[:, :-1]).sum(1), z


def goal_of(metric: str, kind: Kind) -> Goal:
    """The goal, with grades 0 to 3 for ordinal classes."""
    return Goal(metric_named(metric), kind, (0.0, 1.0, 2.0, 3.0) if kind == "ordinal" else ())


def member(number: int, oof: np.ndarray, test: np.ndarray, train: str = "features", folds: int = 5) -> Trial:
    """A finished trial with these predictions."""
    config = Config(train=train, lr=1.0 + number, folds=tuple(range(folds)))  # type: ignore[arg-type]
    return Trial(config, "made", "done", 0.0, 0.0, 1.0, oof=oof, test=test)


# --- promise: one net of one fold beside frozen features over all rows -----------------------------------------------


def promise(asked: argparse.Namespace) -> Iterator[str]:
    """What short runs promise, and what they get: 1,000 rows, three members over all, one net over the first fifth."""
    yield head(
        "goal, noise of the net",
        "taken on the fold",
        "promise - truth",
        "where taken on the fold",
        "deviation of promise - truth",
        "stated ±",
        "coverage",
        "gain over the members of all rows",
    )
    for metric, kind in asked_for(asked):
        for noise in (1.6, 1.3, 1.0):
            drawn = np.array([short_run(metric, kind, noise, seed) for seed in range(asked.draws)])
            off, stderr, covered, narrow, gain = drawn.T
            yield row(
                f"{metric}, {noise}",
                f"{narrow.mean():.2f}",
                mean_of(off),
                mean_of(off[narrow > 0]),
                f"{off.std(ddof=1):.4f}",
                f"{stderr.mean():.4f}",
                f"{covered.mean():.3f}",
                mean_of(gain),
            )


def short_run(metric: str, kind: Kind, noise: float, seed: int, n: int = 1000) -> tuple[float, ...]:
    """Promise minus truth, its stated error, whether the interval holds the truth, whether the net's fold was taken,
    and what that gained over the members that cover all rows."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n + NEW_ROWS, random)
    fold_of = random.permutation(n) % 5
    hard = np.exp(0.5 * random.normal(size=(len(truth), 1)))  # some rows are hard for whatever looks at them
    shared = random.normal(size=z.shape)
    wide = []
    for i in range(3):
        p = chances(z + 1.2 * hard * (0.8 * shared + 0.6 * random.normal(size=z.shape)), kind)
        wide.append(member(i, p[:n], p[n:]))
    p = chances(z + noise * hard * (0.4 * shared + 0.9 * random.normal(size=z.shape)), kind)
    net = member(9, np.where(fold_of[:, None] == 0, p[:n], np.nan), p[n:], "net", folds=1)
    blend, of_wide = (blend_of(some, TrainRows(goal, truth[:n], fold_of), quick=True) for some in ([*wide, net], wide))
    scores = []
    for b in (blend, of_wide):
        known = predicted_rows(b.oof)
        rule = learn_rule(goal, truth[:n][known], b.oof[known])
        scores.append(goal.score(truth_for(goal, truth[n:]), answer(rule, b.test)))
    covered = blend.interval[0] <= scores[0] <= blend.interval[1]
    return blend.score - scores[0], blend.stderr, covered, blend.rows < n, scores[0] - scores[1]


# --- noise and coverage ----------------------------------------------------------------------------------------------


def noise(asked: argparse.Namespace) -> Iterator[str]:
    """What twelve members that know nothing claim over the constant prediction of the other parts; higher is better.

    Where only order counts it is that of all parts: others, pooled, would be in an order, and a wrong one.
    """
    yield head("goal", "100 rows", "1,000 rows")
    for metric, kind in asked_for(asked):
        claims = [np.array([claimed(metric, kind, n, seed) for seed in range(asked.draws)]) for n in (100, 1000)]
        yield row(f"{metric}, {kind}", *map(mean_of, claims))


def claimed(metric: str, kind: Kind, n: int, seed: int) -> float:
    """What a blend of noise claims beyond the constant's cross-fitted score."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n, random)
    trials = []
    for i in range(12):
        p = chances(z + random.normal(size=z.shape), kind)[random.permutation(n)]  # skill dealt out by lot
        trials.append(member(i, p, p[:2]))
    parts = np.arange(n) % 5
    blend = blend_of(trials, TrainRows(goal, truth, parts), quick=True)
    others = [np.ones(n, bool) if goal.metric.order_only else parts != k for k in range(5)]
    constants = [np.atleast_1d(constant_of(goal, truth[rows], z.shape[1])) for rows in others]
    return blend.score - cross_fitted_score(TrainRows(goal, truth, parts), np.array(constants)[parts]).score


def constant_of(goal: Goal, truth: np.ndarray, width: int) -> np.ndarray:
    """The number that suits the metric, or the share of rows that have each class or label."""
    if goal.kind == "regression" and goal.metric.constant == "median":
        return np.asarray(np.median(truth))
    if goal.kind in ("regression", "multilabel"):
        return np.asarray(truth.mean(0))
    return np.bincount(truth, minlength=width) / len(truth)


def coverage(asked: argparse.Namespace) -> Iterator[str]:
    """How often 95 % intervals of cross-fitted scores hold what the rule, learned on all rows, scores on new ones."""
    yield head("goal", "100 rows", "20 groups of 5", "1,000 rows", "200 groups of 5")
    for metric, kind in asked_for(asked):
        cells = []
        for n, size in ((100, 1), (100, 5), (1000, 1), (1000, 5)):
            held = [covers(metric, kind, n, size, seed) for seed in range(asked.draws)]
            cells.append(f"{np.mean(held):.3f}")
        yield row(f"{metric}, {kind}", *cells)


def covers(metric: str, kind: Kind, n: int, size: int, seed: int) -> bool:
    """Whether the interval of n rows, each group of `size` alike, holds the score of new rows."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n // size + NEW_ROWS, random)
    p = chances(1.3 * (z + random.normal(size=z.shape)), kind)
    groups = np.repeat(np.arange(n // size), size)
    own_truth, own_p = truth[groups], p[groups]
    part_of = groups % 5
    scored = cross_fitted_score(TrainRows(goal, own_truth, part_of, groups), own_p)
    low, high = interval(goal, truth_for(goal, own_truth), scored.answers, groups if size > 1 else None)
    rule = learn_rule(goal, own_truth, own_p)
    true = goal.score(truth_for(goal, truth[n // size :]), answer(rule, p[n // size :]))
    return bool(low <= true <= high)


# --- clusters: few groups that differ in what they hold and in how hard they are -------------------------------------

GROUPS, GROUP_ROWS = (2, 3, 5, 8, 15), 20


def clusters(asked: argparse.Namespace) -> Iterator[str]:
    """How often 95 % intervals hold the score of rows of new groups, where rows come in few groups of 20 rows.

    Groups differ in the shares of their classes, in how hard their rows are, and in which way predictions lean there.
    """
    yield head("goal", *(f"{count} groups" for count in GROUPS), "median widths")
    for metric, kind in asked_for(asked):
        cells, widths = [], []
        for count in GROUPS:
            drawn = np.array([covers_new_groups(metric, kind, count, seed) for seed in range(asked.draws)])
            cells.append(f"{drawn[:, 0].mean():.3f}")
            widths.append(f"{np.median(drawn[:, 1]):.3f}")
        yield row(f"{metric}, {kind}", *cells, ", ".join(widths))


def covers_new_groups(metric: str, kind: Kind, count: int, seed: int) -> tuple[bool, float]:
    """Whether the interval of `count` groups holds the score of rows of new ones, and how wide it is."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    new = NEW_ROWS // GROUP_ROWS
    groups = np.repeat(np.arange(count + new), GROUP_ROWS)
    width, n = WIDTHS.get(kind, 4), count * GROUP_ROWS
    truth, z = world(kind, len(groups), random, 0.7 * random.normal(size=(count + new, width))[groups])
    hard = np.exp(0.4 * random.normal(size=(count + new, 1)))[groups]
    lean = 0.5 * random.normal(size=(count + new, z.shape[1]))[groups]
    p = chances(1.3 * (z + hard * random.normal(size=z.shape) + lean), kind)
    own = groups[:n]
    scored = cross_fitted_score(TrainRows(goal, truth[:n], own % 5, own), p[:n])
    low, high = interval(goal, truth_for(goal, truth[:n]), scored.answers, own)
    rule = learn_rule(goal, truth[:n], p[:n], part_of=own % 5)
    true = goal.score(truth_for(goal, truth[n:]), answer(rule, p[n:]))
    return bool(low <= true <= high), high - low


# --- luck: what the best of several owes to the rows it was chosen on ------------------------------------------------


def luck(asked: argparse.Namespace) -> Iterator[str]:
    """How much better the best of twelve nets looks on the 120 rows it was chosen on than it is, and what is estimated.

    Nets are equally good, or differ by so much in their noise.
    """
    yield head("goal", "spread of their noise", "seen", "estimated", "estimated, deviation over draws")
    for metric, kind in asked_for(asked):
        for spread in (0.0, 0.15):
            seen, claimed = np.array([luck_of(metric, kind, spread, seed) for seed in range(asked.draws)]).T
            yield row(f"{metric}, {kind}", spread, mean_of(seen), mean_of(claimed), f"{claimed.std(ddof=1):.4f}")


def luck_of(metric: str, kind: Kind, spread: float, seed: int, n: int = 120, count: int = 12) -> tuple[float, float]:
    """How much too good the best of several nets looked, less what the same rows do to all, and what is said of it."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n + NEW_ROWS // 4, random)
    shared, parts = 0.8 * random.normal(size=z.shape), random.permutation(n) % 5
    levels = 1.2 * np.exp(spread * random.normal(size=count))
    nets = [chances(z + level * (shared + 0.6 * random.normal(size=z.shape)), kind) for level in levels]
    answers = [cross_answers(goal, truth[:n], p[:n], parts, quick=True) for p in nets]
    target, new = truth_for(goal, truth[:n]), truth_for(goal, truth[n:])
    own = np.array([goal.score(target, a) for a in answers])
    rules = [learn_rule(goal, truth[:n], p[:n], quick=True, part_of=parts) for p in nets]
    true = np.array([goal.score(new, answer(rule, p[n:])) for rule, p in zip(rules, nets, strict=True)])
    off = own - true
    return float(off[own.argmax()] - off.mean()), luck_of_best(goal, target, answers)


# --- search: the best of many nets on one fold, trained over all -----------------------------------------------------


def search(asked: argparse.Namespace) -> Iterator[str]:
    """What a run promises whose net was the best of several on one fold of five, 600 rows in all.

    Nets are equally good or not: the noise in them differs by so much. What a search that takes the first one whatever
    it sees is promised comes last: there the interval allows for a choice that nobody made.
    """
    yield head(
        "goal, nets, spread of their noise",
        "promise - truth",
        "stated ±",
        "coverage",
        "without the allowance",
        "the first net taken",
    )
    for metric, kind in asked_for(asked):
        for count, spread in ((12, 0.0), (12, 0.15), (40, 0.0)):
            drawn = np.array([searched(metric, kind, count, spread, seed) for seed in range(asked.draws)])
            off, stderr, *covered = drawn.T
            cells = (f"{each.mean():.3f}" for each in covered)
            yield row(f"{metric}, {count}, {spread}", mean_of(off), f"{stderr.mean():.4f}", *cells)


def searched(metric: str, kind: Kind, count: int, spread: float, seed: int, n: int = 600) -> tuple[float, ...]:
    """Promise minus truth, its stated error, and whether the interval holds the truth: for the net that was the best on
    one fold, for the same one of which nobody knows that it was chosen, and for the first net."""
    random, goal = np.random.default_rng(seed), goal_of(metric, kind)
    truth, z = world(kind, n + NEW_ROWS, random)
    shared, fold_of = 0.8 * random.normal(size=z.shape), random.permutation(n) % 5
    levels = 1.2 * np.exp(spread * random.normal(size=count))

    def predictions(level: float, rows: slice) -> np.ndarray:
        return chances(z[rows] + level * (shared[rows] + 0.6 * random.normal(size=z[rows].shape)), kind)

    nets = [predictions(level, slice(n)) for level in levels]
    tried = [member(i, np.where(fold_of[:, None] == 0, p, np.nan), p[:2], "net", folds=1) for i, p in enumerate(nets)]
    scores = [cross_fitted_score(TrainRows(goal, truth[:n], fold_of), t.oof).score for t in tried]
    results: list[float] = []
    for taken, others in ((int(np.argmax(scores)), tried), (int(np.argmax(scores)), []), (0, tried)):
        new = predictions(levels[taken], slice(n, None))
        blend = blend_of(
            [*others, member(taken, nets[taken], new, "net")], TrainRows(goal, truth[:n], fold_of), allow=["best"]
        )
        rule = learn_rule(goal, truth[:n], blend.oof)
        true = goal.score(truth_for(goal, truth[n:]), answer(rule, new))
        results += [blend.score - true, blend.stderr] if not results else []
        results.append(blend.interval[0] <= true <= blend.interval[1])
    return tuple(results)


# --- decisions for sets of labels ------------------------------------------------------------------------------------

Learner = Callable[[Goal, np.ndarray, np.ndarray], Rule]
DECISIONS: dict[str, Learner] = {
    "0.5": lambda goal, truth, p: Rule("thresholds", (0.5,)),
    "0.5 or the likeliest": lambda goal, truth, p: Rule("threshold or top", (0.5,)),
    "one threshold": lambda goal, truth, p: Rule("threshold or top", (row_threshold(goal.function, truth, p),)),  # type: ignore[arg-type]
    "a threshold a label": lambda goal, truth, p: Rule("thresholds", label_thresholds(goal.function, truth, p)),  # type: ignore[arg-type]
    "expected F": lambda goal, truth, p: Rule("expected F", (goal.metric.beta, *platt(p, truth))),
    "expected F, sizes of sets": lambda goal, truth, p: sized(goal, truth, p),
    "as learned": lambda goal, truth, p: learn_rule(goal, truth, p),
}


def sized(goal: Goal, truth: np.ndarray, p: np.ndarray) -> Rule:
    """Expected F with the sizes of sets learned, whether or not they help."""
    line = platt(p, truth)
    return Rule("expected F", (goal.metric.beta, *line, *learnt_tilt(calibrated(p, *line), truth)))


def decisions(asked: argparse.Namespace) -> Iterator[str]:
    """Cross-fitted scores of the blend's out-of-fold predictions by each decision, and the gain over one threshold."""
    yield head("run", "rows", "decision", "score", "gain over one threshold")
    for folder in asked.runs:
        record = record_of(open_run(folder))
        rows = record.predicted
        assert record.blend is not None and record.goal.kind == "multilabel", f"{folder} is no blended run of sets"  # noqa: PT018
        truth, p, parts, groups = (
            record.truth[rows],
            record.blend.oof[rows],
            record.fold_of[rows],
            record.train.groups_of(rows),
        )
        answers = {name: decided(record.goal, truth, p, parts, learn) for name, learn in DECISIONS.items()}
        for name, given in answers.items():
            score, stderr = record.goal.score(truth, given), standard_error(record.goal, truth, given, groups)
            usual = answers["one threshold"]
            gain = score - record.goal.score(truth, usual)
            paired = standard_error(record.goal, truth, given, groups, usual)
            cells = (f"{score:.4f} ± {stderr:.4f}", f"{gain:+.4f} ± {paired:.4f}")
            yield row(record.name, len(rows), name, *cells)


def decided(goal: Goal, truth: np.ndarray, p: np.ndarray, parts: np.ndarray, learn: Learner) -> np.ndarray:
    """The answers to each part by the decision learned on the others."""
    if len(np.unique(parts)) < 2:
        parts = np.random.default_rng(0).permutation(len(p)) % 5
    return cross_fit(parts, lambda rows: learn(goal, truth[rows], p[rows]), lambda rule, rows: answer(rule, p[rows]))


# --- suspects --------------------------------------------------------------------------------------------------------

OUTER, INNER = 3, 4  # parts that are held out in turn as clean, and parts that the others' predictions are made of
MOST_ROWS = 1200  # that heads are fitted on: their time is cubic in the rows


def suspects(asked: argparse.Namespace) -> Iterator[str]:
    """Labels flipped by lot in kept runs' frozen features: how many of the suspects are, how many of those are listed,
    and what a head gains on rows held out, whose labels stay as they were, from what is done with suspects."""
    yield head("run", "flipped", "suspects", "precision", "recall", "score", "dropped", "relabelled", "half believed")
    for folder in asked.runs:
        for share in (0.0, 0.05, 0.1):
            yield row(*flipped_row(folder, share, asked.draws))


def flipped_row(folder: Path, share: float, draws: int) -> list[str]:
    """The cells of one run at one share of flipped labels."""
    record = record_of(open_run(folder))
    trial = max(
        (t for t in record.trials if t.config.train == "features" and t.status == "done"), key=lambda t: t.score
    )
    features = features_in(folder, trial, len(record.target))
    counts, scores, known = [], [], np.asarray(record.target[:], np.float64)
    for draw in range(draws):
        random = np.random.default_rng(draw)
        target, wrong = flipped(known, record.goal.kind, share, random)
        for fold in range(OUTER):
            rest = random.permutation(np.flatnonzero((record.fold_of >= 0) & (record.fold_of != fold)))[:MOST_ROWS]
            clean = np.flatnonzero(record.fold_of == fold)
            suspects, own = one_fold(record.goal, trial.config, features, target, known, rest, clean)
            counts.append((len(suspects), wrong[suspects].sum(), wrong[rest].sum()))
            scores.append(own)
    listed, hits, flips = np.sum(counts, axis=0)
    plain, *others = np.array(scores).T
    precision = f"{hits / max(listed, 1):.2f}" if share else ""
    recall = f"{hits / max(flips, 1):.2f}" if share else ""
    cells = [f"{plain.mean():.4f}", *(mean_of(other - plain) for other in others)]
    return [record.name, f"{share:.0%}", f"{listed / len(counts):.0f}", precision, recall, *cells]


def features_in(folder: Path, trial: Trial, rows: int) -> np.ndarray:
    """The train rows of frozen features in the run's cache that are as many a row as the trial's."""
    arrays = [np.load(path, mmap_mode="r") for path in sorted((folder / "cache").glob("features-*.npy"))]
    fitting = [a for a in arrays if a.shape[1] == trial.facts["features"]]
    assert fitting, f"the cache of {folder} holds no features of {trial.config.backbone}"
    return np.asarray(fitting[0][:rows])


def flipped(target: np.ndarray, kind: Kind, share: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets of which a share of rows got another class, or one label more or less, and which rows those are."""
    wrong, changed = random.random(len(target)) < share, target.copy()
    for i in np.flatnonzero(wrong):
        if kind == "multilabel":
            some = np.flatnonzero(target[i] == random.integers(0, 2))  # a label it has or one it lacks, if there is any
            j = random.choice(some if len(some) else target.shape[1])
            changed[i, j] = 1 - changed[i, j]
        else:
            changed[i] = np.roll(target[i], random.integers(1, target.shape[1]))
    return changed, wrong


def one_fold(
    goal: Goal,
    config: Config,
    features: np.ndarray,
    target: np.ndarray,
    clean_target: np.ndarray,
    rest: np.ndarray,
    clean: np.ndarray,
) -> tuple[np.ndarray, list[float]]:
    """The suspects among `rest`, and scores on `clean` rows: as it is, without them, relabelled, half believed."""
    from autoclimb.learn.closed_form import fit_head, head_predictions

    def predicted(rows: np.ndarray, labels: np.ndarray, of: np.ndarray) -> np.ndarray:
        head = fit_head(config, features[rows], np.ascontiguousarray(labels, np.float32), goal.kind)
        return head_predictions(head, features[of], goal.kind)

    part = np.arange(len(rest)) % INNER
    p = np.empty((len(rest), target.shape[1]))
    for k in range(INNER):
        p[part == k] = predicted(rest[part != k], target[rest[part != k]], rest[part == k])
    listed = [s for s in suspects_of(goal.kind, target[rest], p) if s.reason != "torn"]
    at = np.array([s.row for s in listed], int)
    relabelled = target[rest].copy()
    for s in listed:
        if goal.kind == "multilabel":
            relabelled[s.row, s.proposed] = 1 - relabelled[s.row, s.proposed]
        else:
            relabelled[s.row] = np.eye(target.shape[1])[s.proposed]
    half = target[rest].copy()
    half[at] = (half[at] + p[at]) / 2
    others = np.setdiff1d(np.arange(len(rest)), at)
    truth, known = truth_of(goal, clean_target[clean]), truth_of(goal, target[rest])
    rule = learn_rule(goal, known, p)
    scores = []
    for rows, labels in ((rest, target[rest]), (rest[others], target[rest[others]]), (rest, relabelled), (rest, half)):
        scores.append(goal.score(truth_for(goal, truth), answer(rule, predicted(rows, labels, clean))))
    return rest[at], scores


def truth_of(goal: Goal, target: np.ndarray) -> np.ndarray:
    """What is scored, of targets as heads learn them."""
    return target.astype(np.uint8) if goal.kind == "multilabel" else target.argmax(1)


# --- kept runs blended anew ------------------------------------------------------------------------------------------


def reblend(asked: argparse.Namespace) -> Iterator[str]:
    """What kept runs promised, what they would promise by the code of today, and what its answers score.

    Blends of today get the train rows' groups for their error, but neither metadata nor the test rows' groups, so a run
    that used those may be promised less now than then.
    """
    yield head(
        "run", "metric", "promised then", "promised now", "rows", "95 % interval", "test", "off, sigmas", "seconds"
    )
    for folder in asked.runs:
        run = open_run(folder)
        record, start = record_of(run), time.monotonic()
        blend = blend_of(record.trials, record.train)
        seconds, shown = time.monotonic() - start, run.metric.shown
        rule = rule_of(record.train, blend.oof)
        with tempfile.TemporaryDirectory() as temporary:
            answers = Path(temporary) / "answers.csv"
            p = np.asarray(blend.test, np.float64)
            task = answered_task(run.task)
            write_submission(task, answer(rule, p), answers, run.metric, p)
            mark = marked(task, run.metric, answers, asked.answers / f"{folder.name}.csv")
        low, high = sorted(shown(end) for end in blend.interval)
        yield row(
            folder.name,
            run.metric.name,
            f"{run.score:.4f} ± {run.stderr:.4f}",
            f"{shown(blend.score):.4f} ± {blend.stderr:.4f}",
            blend.rows,
            f"{low:.4f} to {high:.4f}",
            f"{mark.score:.4f} ± {mark.stderr:.4f}",
            f"{shown(mark.score - shown(blend.score)) / np.hypot(mark.stderr, blend.stderr):+.1f}",
            f"{seconds:.1f}",
        )


def answered_task(values: dict[str, Any]) -> Task:
    """The task of a run as far as its submission takes it, from its task.json."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    form = Form(**{name: tuples(value) for name, value in values["form"].items()})
    ids = tuple(dict.fromkeys(form.ids))
    classes, grades = tuple(values["classes"]), tuple(values["grades"])
    files = ("",) * len(ids)
    return Task(values["name"], values["kind"], classes, (), (), np.zeros(0), ids, files, form, grades=grades)


def test_truth(run: Run, answers: Path) -> np.ndarray:
    """The truth of a run's test rows as its metric takes it, from DIR/<set>.csv in the submission's form."""
    task = answered_task(run.task)
    cells = cells_of(task.form, answers / f"{task.name}.csv")
    return truth_in(task, run.metric, [cells[item] for item in task.test_ids], task.classes)


TABLES: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "promise": promise,
    "noise": noise,
    "coverage": coverage,
    "clusters": clusters,
    "luck": luck,
    "search": search,
    "decisions": decisions,
    "suspects": suspects,
    "reblend": reblend,
}
TITLES = {
    "promise": "promise and truth of short runs, simulated",
    "noise": "claims of blends of noise over a constant",
    "coverage": "coverage of 95 % intervals",
    "clusters": "coverage of 95 % intervals of few groups",
    "luck": "the luck of the best of several",
    "search": "the best net of one fold, promised over all",
    "decisions": "decisions for sets of labels",
    "suspects": "suspects among flipped labels",
    "reblend": "kept runs blended anew",
}


if __name__ == "__main__":
    main()
