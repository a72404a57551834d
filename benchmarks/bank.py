"""A bank of trials, and the controller replayed against it: an hour of search in seconds, thousands a night.

    uv run python benchmarks/bank.py record --data DIR --sets intel_scenes,leaf99,elpv_defect --bank DIR
    uv run python benchmarks/bank.py replay --data DIR --answers DIR --bank DIR --budgets 5m,10m,30m,2h

`record` trains every row of ROWS over all folds of a set, through `autoclimb.fit`, and keeps out-of-fold and test
predictions, seconds and rates in one compact file a set; it goes on where it was stopped. On two cores a set of 2,500
pictures takes about two and a half hours by the plan's own rates.

`replay` runs the real controller with its real stages and blend on a clock that only trials move. A trial that is asked
for is played by the recorded one most like it, at the nearest recorded length; its seconds are what the controller was
told it would take. Solvers are rows of SOLVERS: a change of the controller is compared with `fixed` and `random` on
the same bank, set by set and seed by seed.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from record import append, heading, seconds_of
from run import METRIC, test_score

import autoclimb
from autoclimb import Config, History, Metric, Situation, Task, Trial
from autoclimb.blend.choose import blend_of
from autoclimb.budget import SLACK, Clock, seconds_for_the_end
from autoclimb.report.submission import write_submission
from autoclimb.run import store
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import answer, learn_rule
from autoclimb.search.climb import Stage, follow
from autoclimb.search.cost import cost_of
from autoclimb.search.fidelity import epochs_in
from autoclimb.search.finals import usable
from autoclimb.search.nets import fine_tuning, from_box, from_scratch
from autoclimb.search.order import plan_of
from autoclimb.search.situation import Speed
from autoclimb.search.stages import base_config
from autoclimb.types import Goal

FOLDS = 5
EVERY = tuple(range(FOLDS))
EPOCHS = {False: (15.0, 45.0), True: (4.0, 12.0)}  # from scratch and fine-tuned: a search trial's and a finalist's
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"policy": "affine"},
    {"policy": "medium"},
    {"policy": "trivial"},
    {"mixup": 0.3},
    {"cutmix": 1.0},
    {"smoothing": 0.0},
    {"loss": "focal"},
    {"seed": 1},
)
ALIKE = ("policy", "mixup", "cutmix", "smoothing", "loss", "head", "tta", "seed")  # values a stand-in should share
LONGEST = "2d"  # of recording one set, at most


def rows() -> list[Config]:
    """The configs of a bank: nets of the box and from scratch, sizes, policies, mixing, losses, lengths, features."""
    half = from_scratch("cpu")
    scratch = half[0].vary(size=64, policy="flip", tta="flip", smoothing=0.1)
    tuned = [net.vary(size=96, policy="flip", tta="flip", smoothing=0.1) for net in fine_tuning(from_box(), "cpu")]
    nets = [base.vary(**change) for base in (scratch, tuned[0]) for change in CHANGES]
    nets += [scratch.vary(size=96), tuned[0].vary(size=128), tuned[-1]]
    nets += [net.vary(size=64, policy="flip", tta="flip", smoothing=0.1) for net in (half[1], half[3])]
    lengths = [net.vary(epochs=epochs, folds=EVERY) for net in nets for epochs in EPOCHS[bool(net.weights)]]
    plain = Config(train="features", backbone="gradients", size=64, folds=EVERY)
    frozen = [plain, plain.vary(backbone="patches")]
    for row in from_box():
        own = {"backbone": row["backbone"], "weights": row["weights"], "size": 128, "tta": "flip"}
        frozen += [plain.vary(**own), plain.vary(**own, head="linear"), plain.vary(**{**own, "size": 160})]
    return frozen + lengths


def asking_for(configs: list[Config]) -> Callable[[History, Situation], Iterator[list[Config]]]:
    """A stage that asks for these configs."""

    def record(history: History, situation: Situation) -> Iterator[list[Config]]:
        for config in configs:
            yield [config]

    return record


# --- recording -------------------------------------------------------------------------------------------------------


def record_set(name: str, data: Path, bank: Path, configs: list[Config], budget: str = LONGEST) -> Path:
    """The bank file of a set, after every config was trained; what was recorded before is not trained again."""
    folder = bank / f"{name}.run"
    autoclimb.fit(data / name, metric=METRIC[name], budget=budget, out=folder, plan=[asking_for(configs)], yes=True)
    return compact(folder, bank / f"{name}.npz")


def compact(folder: Path, path: Path) -> Path:
    """One file of everything that a replay needs of a run: predictions as float16, and what each trial took."""
    trials = [t for t in store.all_trials(folder) if t.status == "done"]
    records = [{"config": t.config.to_json(), "seconds": t.seconds, "facts": t.facts} for t in trials]
    arrays = {name: np.stack([getattr(t, name) for t in trials]).astype(np.float16) for name in ("oof", "test")}
    fold_of = np.load(folder / "fold_of.npy", allow_pickle=False)
    np.savez_compressed(path, records=np.array(json.dumps(records)), fold_of=fold_of, **arrays)
    return path


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded trial: its config, what it took, and its predictions over all folds."""

    config: Config
    seconds: float
    epochs: float
    rate: float  # training pictures a second, 0 for features
    oof: np.ndarray
    test: np.ndarray


def load(path: Path) -> tuple[list[Record], np.ndarray]:
    """The records of a bank file, and the folds that they share."""
    with np.load(path, allow_pickle=False) as file:
        oof, test, fold_of = (file[name] for name in ("oof", "test", "fold_of"))
        values = json.loads(str(file["records"]))
    records = []
    for i, value in enumerate(values):
        facts = value["facts"]
        config = Config.from_json(value["config"])
        predictions = oof[i].astype(np.float32), test[i].astype(np.float32)
        records.append(
            Record(config, value["seconds"], facts.get("epochs", 0.0), facts.get("img_s", 0.0), *predictions)
        )
    return records, fold_of


# --- replaying -------------------------------------------------------------------------------------------------------


def stand_in(records: list[Record], config: Config, epochs: float) -> Record | None:
    """The recorded trial most like the config after so many epochs; None where its net was not recorded.

    A shorter recording is preferred to one that is as much longer: a replay must not be kinder than the truth.
    """
    net = (config.train, config.backbone, config.model_args, bool(config.weights))
    same = [
        r for r in records if (r.config.train, r.config.backbone, r.config.model_args, bool(r.config.weights)) == net
    ]

    def distance(record: Record) -> float:
        apart = 4 * abs(math.log2(record.config.size / config.size))
        apart += sum(getattr(record.config, name) != getattr(config, name) for name in ALIKE)
        if epochs and record.epochs:
            length = math.log2(record.epochs / epochs)
            apart += 2 * max(length, 0.0) + max(-length, 0.0)
        return apart

    return min(same, key=distance, default=None)


@dataclass(frozen=True, eq=False)
class Replay:
    """How a solver ended: its blend's out-of-fold score and promise's error, its test predictions, seconds, trials."""

    score: float
    stderr: float
    oof: np.ndarray
    test: np.ndarray
    seconds: float
    trials: int


def replay(
    records: list[Record],
    fold_of: np.ndarray,
    task: Task,
    metric: Metric,
    budget: float,
    plan: list[Any],
    seed: int = 0,
) -> Replay:
    """The solver's run on that budget, every trial played by its stand-in."""
    goal = Goal(metric, task.kind, task.grades)
    time, played, decisions = SLACK.opening / 2, {}, {}
    folds_done: dict[Config, set[int]] = {}
    end = seconds_for_the_end(budget, SLACK.first_quick_blend)
    clock = Clock(budget, now=lambda: time, start=0.0)

    def measure(config: Config) -> Speed:
        record = stand_in([r for r in records if r.rate], config, 0.0)
        rate = record.rate * (record.config.size / config.size) ** 2 if record else 0.0
        return Speed(rate, 3 * rate)

    def run(config: Config, stage: str) -> Trial:
        nonlocal time
        seconds = cost_of(config, s)
        time += seconds
        record = stand_in(
            records, config, config.epochs or (epochs_in(config.seconds, config, s) if config.seconds else 0)
        )
        if record is None:
            played[config.key] = Trial(config, stage, "failed", -math.inf, 0.0, seconds, note="not in the bank")
            return played[config.key]
        folds_done.setdefault(config.vary(folds=()), set()).update(config.folds)
        oof = np.where(np.isin(fold_of, config.folds)[:, None], record.oof, np.nan).astype(np.float32)
        scored = cross_fitted_score(goal, task.truth, oof, fold_of)
        trial = Trial(config, stage, "done", scored.score, scored.stderr, seconds, oof, record.test)
        played[config.key] = trial
        return trial

    def remember(name: str, make: Callable[[], Any]) -> Any:
        if name not in decisions:
            decisions[name] = make()
        return decisions[name]

    facts = autoclimb.plan(task, metric=metric, budget=budget, seed=seed).situation
    s = replace(
        facts,
        measure=measure,
        remember=remember,
        left=lambda: max(0.0, clock.left() - end),
        folds_done=lambda config: len(set(config.folds) & folds_done.get(config.vary(folds=()), set())),
        row_losses=lambda t: None if t.oof is None else losses_by_row(goal, task.truth, t.oof),
    )
    history, _ = follow(plan_of(plan), s, run, lambda c: played.get(c.key), clock, lambda: end, lambda history: None)
    blend = blend_of(history.done(), goal, task.truth, fold_of)
    return Replay(blend.score, blend.stderr, blend.oof, blend.test, time, len(history.trials))


def fixed(history: History, s: Situation) -> Iterator[list[Config]]:
    """One recipe for the whole budget: the plan's own base, all folds, one-cycle, flips, smoothing."""
    net = base_config(history, s)
    yield [net.vary(seconds=round(usable(s) / s.folds, 1), folds=tuple(range(s.folds)))]


def random_search(history: History, s: Situation) -> Iterator[list[Config]]:
    """Draws of net, size, policy and mixing on one fold for a third of the time, then the best over all folds."""
    draw = np.random.default_rng(s.seed)
    base = base_config(history, s)
    each = max(usable(s) / 3 / 10, 5.0)
    nets = [*fine_tuning(s.pretrained, s.device), *from_scratch(s.device)[:2]]
    for _ in range(10):
        net = nets[draw.integers(len(nets))].vary(
            tta="flip", policy=str(draw.choice(["flip", "affine", "medium", "trivial"]))
        )
        mixing = ({}, {"mixup": 0.3}, {"cutmix": 1.0})[draw.integers(3)]
        yield [net.vary(size=int(draw.choice([64, 96, 128])), seconds=round(each, 1), **mixing)]
    best = history.best(train="net")
    config = best.config if best else base
    yield [config.vary(seconds=round(usable(s) / s.folds, 1), folds=tuple(range(s.folds)))]


SOLVERS: dict[str, list[str | Stage]] = {
    "autoclimb": ["baseline", "resize", "augmentation", "backbone", "loss", "refine", "finalists", "rest"],
    "fixed": [fixed, "rest"],
    "random": [random_search, "rest"],
    "no stages": ["baseline", "finalists", "rest"],
}


def test_value(task: Task, metric: Metric, fold_of: np.ndarray, ended: Replay, answers: Path, seed: int) -> float:
    """The metric's own value on the answers, of the submission that the replay would have written."""
    goal = Goal(metric, task.kind, task.grades)
    known = np.isfinite(ended.oof).all(1) & (fold_of >= 0)
    rule = learn_rule(goal, task.truth[known], ended.oof[known])
    with tempfile.TemporaryDirectory(prefix="autoclimb-bank-") as folder:
        path = Path(folder) / "submission.csv"
        write_submission(task, answer(rule, ended.test), path, metric, ended.test)
        return test_score(metric, path, answers, seed)[0]


def replayed_rows(asked: argparse.Namespace) -> Iterator[str]:
    """A table row for each set, budget, solver and seed."""
    for path in sorted(asked.bank.glob("*.npz")):
        records, fold_of = load(path)
        metric = autoclimb.metric_named(METRIC[path.stem])
        task = autoclimb.read_task(asked.data / path.stem, metric)
        for budget in asked.budgets.split(","):
            for solver in asked.solvers.split(","):
                for seed in range(asked.seeds):
                    ended = replay(records, fold_of, task, metric, seconds_of(budget), SOLVERS[solver], seed)
                    test = ""
                    if asked.answers:
                        answers = asked.answers / f"{path.stem}.csv"
                        test = f"{test_value(task, metric, fold_of, ended, answers, seed):.4f}"
                    shown = f"{metric.shown(ended.score):.4f} ± {ended.stderr:.4f}"
                    place = f"| {path.stem} | {budget} | {solver} | {seed} "
                    yield f"{place}| {test} | {shown} | {ended.seconds:.0f} | {ended.trials} |\n"


def main() -> None:
    """Record or replay."""
    parser = argparse.ArgumentParser(description="Record a bank of trials, or replay the controller against one.")
    parser.add_argument("do", choices=("record", "replay"))
    parser.add_argument("--data", type=Path, required=True, help="folder of competitions")
    parser.add_argument("--answers", type=Path, help="folder of <set>.csv in the submission's form")
    parser.add_argument("--bank", type=Path, required=True, help="folder of bank files")
    parser.add_argument("--sets", default="intel_scenes,leaf99,elpv_defect")
    parser.add_argument("--budgets", default="5m,10m,30m,2h")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="only so many configs: to see that it works")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    if asked.do == "record":
        asked.bank.mkdir(parents=True, exist_ok=True)
        for name in asked.sets.split(","):
            path = record_set(name, asked.data, asked.bank, rows()[: asked.first or None])
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
        return
    append(asked.out, heading("the controller replayed against the bank"))
    append(
        asked.out,
        "| set | budget | solver | seed | test | out of fold | seconds | trials |\n|---|---|---|---|---|---|---|---|\n",
    )
    for row in replayed_rows(asked):
        append(asked.out, row)
        print(row, end="", flush=True)


if __name__ == "__main__":
    main()
