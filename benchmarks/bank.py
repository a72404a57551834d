"""A bank of trials, and the controller replayed against it: an hour of search in a second, thousands a night.

    uv run python benchmarks/bank.py record --sets leaf99,elpv_defect --bank DIR [--minutes 30]
    uv run python benchmarks/bank.py rates --sets leaf99
    uv run python benchmarks/bank.py replay --bank DIR --budgets 5m,10m,30m,2h

`record` trains every config of `rows` over all folds of a set and keeps, in one compact file a set, the predictions of
each fold's net and what the trial told of itself. It goes on where it was stopped, and with `--minutes` starts no
training after so many; the file holds what is there, the most important configs first.

`rates` measures how fast the nets of the bank are, the best of several looks, on a machine that does nothing else, and
keeps that in rates.json. A replay takes its times from there, never from how long a recording took: that may have had
company.

`replay` runs the real controller with its real stages and blend on a clock that only trials move. A trial that is
asked for is played by the recorded one most like it, at the nearest recorded length; of a net that was not recorded by
another of its family. Shorter lengths are trainings of their own: half of one cycle is no short training.
Solvers are rows of SOLVERS: a change of the controller is judged against `fixed`, `random` and its own ablations on the
same bank, set by set and seed by seed.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from lab import FOLDS, SUITE, Lab, opened
from record import append, heading

import autoclimb
from autoclimb import Config, SearchSpace, Situation, Task, Trial
from autoclimb.arrays import read_predictions
from autoclimb.blend.choose import blend_of
from autoclimb.budget import SLACK, Clock, in_words, seconds_for_the_end, seconds_of
from autoclimb.contest.marks import cells_of, truth_in
from autoclimb.contest.suite import read_suite
from autoclimb.disk import read_json, write_json
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.rules import answer
from autoclimb.search.climb import follow
from autoclimb.search.cost import measured
from autoclimb.search.fidelity import epochs_in
from autoclimb.search.nets import fine_tuning, from_box, from_scratch, net_named
from autoclimb.search.order import plan_of
from autoclimb.search.rates import TOP_SHARE
from autoclimb.search.recipes import load_recipe
from autoclimb.search.situation import Speed
from autoclimb.types import Goal

EVERY = tuple(range(FOLDS))
SHORT, LONG = 0, 1  # places in EPOCHS
EPOCHS = {False: (15.0, 40.0), True: (4.0, 10.0)}  # from scratch and fine-tuned: a search trial's and a finalist's
CHANGES: dict[bool, tuple[dict[str, Any], ...]] = {  # of the base from scratch and fine-tuned, at both lengths
    False: (
        {"seed": 1},
        {"policy": "trivial"},
        {"policy": "affine"},
        {"mixup": 0.3},
        {"policy": "medium"},
        {"cutmix": 1.0},
        {"smoothing": 0.0},
    ),
    True: ({"seed": 1}, {"policy": "trivial"}, {"mixup": 0.3}, {"policy": "affine"}),
}
ALIKE = ("policy", "mixup", "cutmix", "smoothing", "loss", "head", "tta")  # values that a stand-in should share
OTHER_NET = 6.0  # how much less like it another net of its family is, in the unit of one such value
TRIAL_LIMIT = 6 * 3600.0  # seconds of one trial, far beyond what the longest takes beside other work
SEEN = ("skill", "mirror", "turn", "mirrored_copies")  # facts of features that the search asks for
LOOKS = 5  # at a net's speed, the fastest of which was least disturbed
RATES = Path(__file__).parent / "rates.json"


def rows() -> list[Config]:
    """The configs of a bank, the most important first: bases and features, other nets and sizes, then changes."""
    half = from_scratch("cpu")
    how = {"policy": "flip", "tta": "flip", "smoothing": 0.1, "folds": EVERY}
    tuned = [net.vary(size=96, **how) for net in fine_tuning(from_box(), "cpu")]
    scratch = [net.vary(size=64, **how) for net in half]

    def lengths(net: Config, *which: int) -> list[Config]:
        return [net.vary(epochs=EPOCHS[bool(net.weights)][i]) for i in which or (SHORT, LONG)]

    configs = [*frozen(), *lengths(scratch[0]), *lengths(tuned[0])]
    for i in range(max(map(len, CHANGES.values()))):
        configs += [c for change in CHANGES[False][i : i + 1] for c in lengths(scratch[0].vary(**change))]
        configs += [c for change in CHANGES[True][i : i + 1] for c in lengths(tuned[0].vary(**change))]
        if i == 1:
            configs += [*lengths(tuned[-1]), *lengths(scratch[1]), *lengths(scratch[0].vary(size=96))]
            configs += lengths(tuned[0].vary(size=128), LONG)
    return [*configs, *lengths(scratch[3])]


def frozen() -> list[Config]:
    """Frozen features: hand-made ones, and of each net in the box under two heads and at two sizes."""
    plain = Config(train="features", backbone="gradients", size=64, folds=EVERY)
    configs = [plain, plain.vary(backbone="patches")]
    for row in from_box():
        own = plain.vary(backbone=row["backbone"], weights=row["weights"], size=128, tta="flip", batch=32)
        configs += [own, own.vary(head="linear"), own.vary(size=160)]
    return configs


# --- recording -------------------------------------------------------------------------------------------------------


def record_set(suite: Path, name: str, bank: Path, configs: Sequence[Config], minutes: float = math.inf) -> Path:
    """The bank file of a set; what was recorded before is not trained again, and nothing is started after `minutes`."""
    folder, began = bank / f"{name}.trials", time.monotonic()
    with opened(suite, name, folder) as lab:
        for number, config in enumerate(configs, 1):
            out = folder / config.key
            if (out / "reply.json").exists():
                continue
            if time.monotonic() - began > 60 * minutes:
                print(f"{name}: {number - 1} of {len(configs)} configs after {minutes:g} minutes", flush=True)
                break
            start = time.monotonic()
            reply = lab.trial(config, out, TRIAL_LIMIT)
            write_json(out / "reply.json", {"config": config.to_json(), **reply})
            for weights in (out / "nets").glob("*.safetensors"):
                weights.unlink()
            words = f"{name} {number}/{len(configs)} {config.backbone}@{config.size}: {scored_words(lab, out, reply)}"
            print(f"{words} in {in_words(time.monotonic() - start)}", flush=True)
        return compact(folder, bank / f"{name}.npz", lab.fold_of)


def scored_words(lab: Lab, out: Path, reply: dict[str, Any]) -> str:
    """The out-of-fold score of a trial, or why there is none."""
    if reply["status"] != "done":
        return str(reply["note"])
    scored = cross_fitted_score(lab.goal, lab.task.truth, read_predictions(out / "oof"), lab.fold_of)
    return f"{lab.metric.name} {lab.metric.shown(scored.score):.4f}"


def compact(folder: Path, path: Path, fold_of: np.ndarray) -> Path:
    """One file of everything that a replay needs: predictions as float16, the test's of each fold's net."""
    replies = {place.parent: read_json(place) for place in sorted(folder.glob("*/reply.json"))}
    done = {place: reply for place, reply in replies.items() if (reply["status"], reply["folds"]) == ("done", FOLDS)}
    if not done:
        raise SystemExit(f"no trial in {folder} was trained over all folds")
    records = [{"config": reply["config"], "facts": reply["facts"]} for reply in done.values()]
    oof = np.stack([np.asarray(read_predictions(place / "oof")) for place in done]).astype(np.float16)
    test = np.stack([[fold_test(place, k) for k in EVERY] for place in done]).astype(np.float16)
    np.savez_compressed(path, records=np.array(json.dumps(records)), fold_of=fold_of, oof=oof, test=test)
    return path


def fold_test(place: Path, fold: int) -> np.ndarray:
    """The test predictions of one fold's net."""
    with np.load(place / "nets" / f"fold{fold}.npz", allow_pickle=False) as arrays:
        return arrays["test_pred"]


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded trial: its config, what it told of itself, its predictions out of fold and, by fold, for the test."""

    config: Config
    facts: dict[str, Any]
    oof: np.ndarray  # (N, C)
    test: np.ndarray  # (folds, M, C)

    @property
    def epochs(self) -> float:
        """Its length, 0 for features."""
        return self.config.epochs


def load(path: Path) -> tuple[list[Record], np.ndarray]:
    """The records of a bank file, and the folds that they share."""
    with np.load(path, allow_pickle=False) as file:
        oof, test, fold_of = (file[name] for name in ("oof", "test", "fold_of"))
        values = json.loads(str(file["records"]))
    records = [
        Record(Config.from_json(value["config"]), value["facts"], oof[i].astype(np.float32), test[i].astype(np.float32))
        for i, value in enumerate(values)
    ]
    return records, fold_of


# --- rates -----------------------------------------------------------------------------------------------------------


def speed_key(config: Config) -> str:
    """What a net's speed depends on, as a line of rates.json."""
    top = f"|top {config.top}" if config.top else ""
    return f"{config.backbone}|{dict(config.model_args)}|{config.size}|{config.batch}{top}"


def measure_rates(
    suite: Path, name: str, folder: Path, known: dict[str, Any], configs: Sequence[Config]
) -> dict[str, Any]:
    """Pictures a second of the configs' nets, by `speed_key`: the fastest of several looks, old ones included."""
    best = dict(known)
    nets = {speed_key(measured(c)): c for c in configs if c.train == "net"}
    with opened(suite, name, folder) as lab:
        for _ in range(LOOKS):
            for key, config in nets.items():
                lab.speeds.clear()
                reply = lab.speed_of(config, 0.8)
                if reply["train"] > best.get(key, {"train": 0.0})["train"]:
                    best[key] = {"train": round(reply["train"], 1), "predict": round(reply["predict"], 1)}
    return best


def quiet_speed(rates: dict[str, Any], otherwise: Callable[[Config], Speed], config: Config) -> Speed:
    """The net's measured speed, scaled by pixels; what a dry run takes it for where it was not measured."""
    row = rates.get(speed_key(config))
    if row is None:
        same = (config.backbone, str(dict(config.model_args)))
        near = [k.split("|") for k in rates if tuple(k.split("|")[:2]) == same and "|top" not in k]
        if not near:
            return otherwise(config)
        key = min(near, key=lambda parts: abs(math.log(int(parts[2]) / config.size)))
        scale = (int(key[2]) / config.size) ** 2
        row = {name: value * scale for name, value in rates["|".join(key)].items()}
        return Speed(row["train"] / (TOP_SHARE if config.top else 1.0), row["predict"])
    return Speed(row["train"], row["predict"])


# --- replaying -------------------------------------------------------------------------------------------------------


def stand_in(records: Sequence[Record], config: Config, epochs: float) -> Record | None:
    """The recorded trial most like the config after so many epochs; None where nothing of its kind was recorded.

    Of a net that was not recorded it is another one of its family, or else any that began as it does. A shorter
    recording is preferred to one that is as much longer: a replay must not be kinder than the truth. Seeds take turns
    among those recorded.
    """
    kind = [r for r in records if r.config.train == config.train]
    kind = [r for r in kind if bool(r.config.weights) == bool(config.weights)] or kind
    family = net_named(config.backbone).family

    def distance(record: Record) -> float:
        own = record.config
        apart = 4 * abs(math.log2(own.size / config.size))
        apart += sum(getattr(own, name) != getattr(config, name) for name in ALIKE)
        if (own.backbone, own.model_args) != (config.backbone, config.model_args):
            apart += OTHER_NET * (1 if net_named(own.backbone).family == family else 2)
        if epochs and record.epochs:
            length = math.log2(record.epochs / epochs)
            apart += 2 * max(length, 0.0) + max(-length, 0.0)
        return apart

    nearest = min(kind, key=distance, default=None)
    if nearest is None:
        return None
    twins = sorted(
        (r for r in kind if r.config.vary(seed=0) == nearest.config.vary(seed=0)), key=lambda r: r.config.seed
    )
    return twins[(config.seed // 100 + config.seed) % len(twins)]


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


@dataclass(frozen=True, eq=False)
class Replay:
    """How a solver ended: scores out of fold and on the test, higher is better, seconds, trials."""

    score: float
    stderr: float
    test: float
    seconds: float
    trials: int


@dataclass(frozen=True)
class Solver:
    """A plan (None for autoclimb's own), what may vary in it, and the blenders that it may use (None for all)."""

    plan: tuple[Any, ...] | None = None
    space: SearchSpace = field(default_factory=SearchSpace)
    blenders: Collection[str] | None = None


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
    "no blend": Solver(blenders=("best",)),
}


def replay(known: Known, solver: Solver, budget: float, seed: int, rates: dict[str, Any]) -> Replay:
    """The solver's run on that budget, every trial played by its stand-in."""
    now, played, decisions = SLACK.opening / 2, dict[str, Trial](), dict[str, Any]()
    folds_done: dict[Config, set[int]] = {}
    goal, truth, fold_of = known.goal, known.task.truth, known.fold_of
    end = seconds_for_the_end(budget, SLACK.first_quick_blend)
    clock = Clock(budget, now=lambda: now, start=0.0)

    def run(config: Config, stage: str, seconds: float) -> Trial:
        nonlocal now
        now += seconds
        epochs = config.epochs or (epochs_in(config.seconds, config, s) if config.seconds else 0.0)
        record = stand_in(known.records, config, epochs)
        if record is None:
            trial = Trial(config, stage, "failed", -math.inf, 0.0, seconds, note="nothing like it is in the bank")
        else:
            folds_done.setdefault(config.vary(folds=()), set()).update(config.folds)
            oof = np.where(np.isin(fold_of, config.folds)[:, None], record.oof, np.nan).astype(np.float32)
            test = record.test[list(config.folds)].mean(0)
            scored = cross_fitted_score(goal, truth, oof, fold_of, known.task.groups)
            facts = {name: value for name, value in record.facts.items() if name in SEEN}
            trial = Trial(config, stage, "done", scored.score, scored.stderr, seconds, oof, test, facts=facts)
        played[config.key] = trial
        return trial

    def remember(name: str, make: Callable[[], Any]) -> Any:
        if name not in decisions:
            decisions[name] = make()
        return decisions[name]

    @cache
    def row_losses(trial: Trial) -> np.ndarray | None:
        return None if trial.oof is None else losses_by_row(goal, truth, trial.oof)

    s = replace(
        known.situation,
        budget=budget,
        seed=seed,
        space=solver.space,
        measure=cache(lambda config: quiet_speed(rates, known.situation.measure, config)),
        remember=remember,
        left=lambda: max(0.0, clock.left() - end),
        folds_done=lambda config: len(set(config.folds) & folds_done.get(config.vary(folds=()), set())),
        row_losses=row_losses,
    )
    history, _ = follow(plan_of(solver.plan), s, run, lambda c: played.get(c.key), clock, lambda: end, lambda h: None)
    blend = blend_of(history.done(), goal, truth, fold_of, groups=known.task.groups, allow=solver.blenders)
    rows_known = np.isfinite(blend.oof).all(1) & (fold_of >= 0)
    rule = learn_rule(goal, truth[rows_known], blend.oof[rows_known])
    test_score = goal.score(known.truth, answer(rule, blend.test))
    return Replay(blend.score, blend.stderr, test_score, now, len(history.trials))


def known_set(suite: Path, name: str, bank_file: Path) -> Known:
    """The set with its bank file, read once."""
    whole = read_suite(suite)
    one = whole.set_named(name)
    metric, data = whole.metric_of(one), whole.folder / one.data
    task = autoclimb.read_task(data, metric)
    cells = cells_of(task.form, whole.folder / one.answers)
    by_id = [cells[item] for item in task.test_ids]
    records, fold_of = load(bank_file)
    facts = autoclimb.plan(task, metric=metric, budget="60s").situation
    truth = truth_in(task, metric, by_id, task.classes)
    return Known(name, task, Goal(metric, task.kind, task.grades), truth, records, fold_of, facts)


# --- tables ----------------------------------------------------------------------------------------------------------

Cell = tuple[str, float, str, int]  # set, budget, solver, seed
HEAD = "| set | budget | solver | seed | test | out of fold | over promise | seconds | trials |\n" + "|---" * 9 + "|\n"
SUMMARY = (
    "\n| budget | solver | against | n | gain on the test | ± | error over the other's | over promise | ± |\n"
    + "|---" * 9
    + "|\n"
)


def row_of(cell: Cell, ended: Replay, goal: Goal) -> str:
    """A replay's row; over promise is the test's score less the promise, below zero where it promised too much."""
    name, budget, solver, seed = cell
    test, oof = goal.metric.shown(ended.test), goal.metric.shown(ended.score)
    promised = f"{oof:.4f} ± {ended.stderr:.4f} | {ended.test - ended.score:+.4f}"
    place = f"| {name} | {in_words(budget)} | {solver} | {seed} "
    return f"{place}| {test:.4f} | {promised} | {ended.seconds:.0f} | {ended.trials} |\n"


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
                    yield f"| {' | '.join([*cells, mean_and_error(over)])} |\n"


def error_of(score: float, goal: Goal) -> float:
    """What is to be small: one less the score, or the metric's own value where lower is better."""
    return max(1 - score if goal.metric.greater_is_better else -score, 1e-6)


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error, as two cells."""
    error = f"{np.std(values, ddof=1) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.4f} | {error}"


def main() -> None:
    """Record, measure rates, or replay."""
    parser = argparse.ArgumentParser(description="Record a bank of trials, or replay the controller against one.")
    parser.add_argument("do", choices=("record", "rates", "replay"))
    parser.add_argument("--suite", type=Path, default=SUITE, help="names the sets, as autoclimb bench has them")
    parser.add_argument("--bank", type=Path, required=True, help="folder of bank files")
    parser.add_argument("--sets", default="", help="names, comma separated; of a replay default all in the bank")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of recording a set, start no trial after them")
    parser.add_argument("--first", type=int, default=0, help="record only so many configs: to see that it works")
    parser.add_argument("--budgets", default="5m,10m,30m,2h")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--against", default="fixed,random", help="whom the summary compares with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    options.bank.mkdir(parents=True, exist_ok=True)
    names = options.sets.split(",") if options.sets else [path.stem for path in sorted(options.bank.glob("*.npz"))]
    rates = read_json(RATES) if RATES.exists() else {}
    if options.do == "record":
        for name in names:
            path = record_set(options.suite, name, options.bank, rows()[: options.first or None], options.minutes)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    elif options.do == "rates":
        write_json(RATES, measure_rates(options.suite, names[0], options.bank / f"{names[0]}.trials", rates, rows()))
    else:
        replay_all(options, names, rates)


def replay_all(options: argparse.Namespace, names: Sequence[str], rates: dict[str, Any]) -> None:
    """Replays everything asked for and appends both tables, rows as they come."""
    ended: dict[Cell, Replay] = {}
    sets = {name: known_set(options.suite, name, options.bank / f"{name}.npz") for name in names}
    append(options.out, heading("the controller replayed against the bank") + HEAD)
    for name, known in sets.items():
        for budget in map(seconds_of, options.budgets.split(",")):
            for solver in options.solvers.split(","):
                for seed in range(options.seeds):
                    cell = (name, budget, solver, seed)
                    ended[cell] = replay(known, SOLVERS[solver], budget, seed, rates)
                    row = row_of(cell, ended[cell], known.goal)
                    append(options.out, row)
                    print(row, end="", flush=True)
    goals = {name: known.goal for name, known in sets.items()}
    table = SUMMARY + "".join(summary(ended, goals, options.against.split(",")))
    append(options.out, table)
    print(table)


if __name__ == "__main__":
    main()
