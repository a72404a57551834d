"""What do nets bring a blend a second time: in one view beside several, and as they were at their stages' ends?

    uv run python benchmarks/snapshots.py --sets leaf99,elpv_defect [--nets boxed,scratch] [--times 1] [--folds 5]

Each net of students.py is trained twice over the folds of a set of suite.toml, for 14 epochs: in one cycle, and in
three, the weights at the ends of the first two being kept (schedule "restarts"; snapshot ensembles, arXiv 1704.00109).
Both are predicted in several views and in one. With frozen features under a kernel head these are blended in several
ways, for the set's metric and for log loss. The table gives scores out of fold and on the set's answers, and gains over
the nets of one cycle in several views, higher is better, with the standard error of the difference by row. Lengths are
epochs, so other work on the machine changes the seconds alone.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lab import LONGEST, SUITE, Lab, opened_anew
from record import append, heading, show
from students import net_for

from autoclimb.arrays import predicted_rows
from autoclimb.blend.choose import blend_of
from autoclimb.config import Config
from autoclimb.contest.marks import cells_of, truth_in
from autoclimb.contest.suite import read_suite
from autoclimb.protocol import Predict
from autoclimb.run import store
from autoclimb.score.crossfit import cross_fitted_score, rule_of, standard_error
from autoclimb.score.decide import truth_for
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.search.nets import from_box
from autoclimb.types import Goal, Trial

EPOCHS = 14.0  # 2, 4 and 8 in the three cycles of "restarts"
ENDS = (1 / 7, 3 / 7)  # of the first two
FROZEN = Config(train="features", backbone=from_box()[0]["backbone"], weights="box", size=128, layers=4)
USUAL = ("one cycle", "in several views")  # what the rows that follow are compared with
HEADER = (
    "| set | members | out of fold | on the test | gain out of fold | on the test | gain in log loss out of fold "
    "| on the test | seconds of the first |\n|---|---|---|---|---|---|---|---|---|\n"
)


# --- in the worker: nets as they were at the ends of stages ----------------------------------------------------------


def serve() -> None:
    """The worker, which writes the weights at stages' ends beside those at the end of a training."""
    from autoclimb.learn import fold, worker

    train, save, taken = fold.train, fold.save_net, list[dict[str, Any]]()

    def train_watched(built: Any, material: Any, config: Any, of: Any, pace: Any, only_head: bool = False) -> Any:
        taken.clear()
        ends = list(ENDS) if config.schedule == "restarts" else []

        def report(facts: dict[str, Any]) -> None:
            if ends and facts["progress"] > ends[0] - 1e-6:  # at a new epoch it comes before the first step
                ends.pop(0)
                taken.append({name: tensor.detach().clone() for name, tensor in built.net.state_dict().items()})
            of.report(facts)

        return train(built, material, config, replace(of, report=report), pace, only_head)

    def save_all(tensors: dict[str, Any], built: Any, mean: float, std: float, path: Path) -> None:
        save(tensors, built, mean, std, path)
        for number, snapshot in enumerate(taken):
            place = stage_folder(path.parent, number)
            place.mkdir(exist_ok=True)
            save({**tensors, **snapshot}, built, mean, std, place / path.name)

    fold.train, fold.save_net = train_watched, save_all
    worker.main()


def stage_folder(nets: Path, number: int) -> Path:
    """The folder of a config's nets as they were at the end of a stage."""
    return nets / f"stage{number}"


# --- members ---------------------------------------------------------------------------------------------------------


def trained(lab: Lab, config: Config) -> Trial:
    """The trial of a config."""
    start, (oof, _) = time.monotonic(), lab.trained(config)
    return trial(config, oof, np.load(lab.folder / config.key / "test.npy"), time.monotonic() - start)


def trial(config: Config, oof: np.ndarray, test: np.ndarray, seconds: float) -> Trial:
    """A finished trial with these predictions."""
    return Trial(config, "made", "done", 0.0, 0.0, seconds, oof=oof, test=test)


def predicted(lab: Lab, net: Trial, tta: str, stage: int | None = None) -> Trial:
    """The trial of a trained config's nets in these views, or of its nets as they were at the end of a stage."""
    start, n = time.monotonic(), len(lab.fold_of)
    nets = store.nets_folder(lab.folder, net.config)
    nets = nets if stage is None else stage_folder(nets, stage)
    epochs = net.config.epochs if stage is None else ENDS[stage] * net.config.epochs
    config = net.config.vary(tta=tta, epochs=round(epochs, 2))
    oof, tests, saved = np.full((n, lab.task.width), np.nan), [], lab.folder / "again.npy"
    for number in config.folds:
        of_fold = config.vary(folds=(number,))
        request = Predict(of_fold, lab.pixels_of(config), weights=str(nets), save=str(saved), exactly=False)
        lab.worker.ask(request.to_json(), LONGEST)
        every = np.load(saved)
        oof[lab.fold_of == number] = every[:n][lab.fold_of == number]
        tests.append(every[n:])
    return trial(config, oof, np.mean(tests, 0), time.monotonic() - start)


def collections(lab: Lab, nets: list[Config], folds: tuple[int, ...]) -> dict[str, list[Trial]]:
    """Members by what they are, the nets of one cycle in several views first; single kinds, then what is blended."""
    once = [trained(lab, net) for net in nets]
    thrice = [trained(lab, net.vary(schedule="restarts")) for net in nets]
    plain = [predicted(lab, net, "none") for net in once]
    stages = [predicted(lab, net, net.config.tta, number) for number in range(len(ENDS)) for net in thrice]
    frozen = [trained(lab, FROZEN.vary(folds=folds))]
    singles = {}
    for number, net in enumerate(once):
        kinds = {"one cycle": net, "in one view": plain[number], "three cycles": thrice[number]}
        kinds |= {f"at the end of cycle {1 + i}": stages[i * len(nets) + number] for i in range(len(ENDS))}
        singles |= {f"{net.config.backbone}, {name}": [member] for name, member in kinds.items()}
    blends = {
        "features, nets of one cycle in several views": once,
        "features, those in one view instead": plain,
        "features, those in both": once + plain,
        "features, nets of three cycles": thrice,
        "features, those and as they were at the ends of cycles": thrice + stages,
    }
    return {**singles, "features": frozen, **{name: frozen + members for name, members in blends.items()}}


# --- what they score -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scores:
    """What members score by one goal, higher is better, with errors: out of fold, and on the test."""

    goal: Goal
    truths: tuple[np.ndarray, np.ndarray]  # as the metric takes it, of the rows predicted and of the test rows
    answers: tuple[np.ndarray, np.ndarray]
    promise: tuple[float, float]  # out of fold, with its error; of a blend the choice among blenders is nested

    @property
    def own(self) -> list[float]:
        """The scores of the answers."""
        return [self.goal.score(t, a) for t, a in zip(self.truths, self.answers, strict=True)]

    def shown(self) -> list[str]:
        """Both scores."""
        pairs = self.promise, (self.own[1], standard_error(self.goal, self.truths[1], self.answers[1]))
        return [f"{self.goal.metric.shown(own):.4f} ± {error:.4f}" for own, error in pairs]

    def over(self, other: "Scores") -> list[str]:
        """Both gains over others, with the standard errors of differences paired by row."""
        rows = zip(self.own, other.own, self.truths, self.answers, other.answers, strict=True)
        gains = ((own - usual, standard_error(self.goal, t, a, None, b)) for own, usual, t, a, b in rows)
        return [f"{gain:+.4f} ± {error:.4f}" for gain, error in gains]


def scores_of(lab: Lab, goal: Goal, members: list[Trial], test_truth: np.ndarray) -> Scores:
    """What members score by themselves or, where they are several, blended."""
    truth, oof, test = lab.task.truth, members[0].oof, members[0].test
    train = TrainRows(goal, truth, np.where(predicted_rows(oof), lab.fold_of, -1), lab.task.groups)
    if len(members) > 1:
        blend = blend_of(members, train)
        oof, test = blend.oof, blend.test
    scored = cross_fitted_score(train, oof)
    given = answer(rule_of(train, oof), np.asarray(test, np.float64))
    promise = (scored.score, scored.stderr) if len(members) == 1 else (blend.score, blend.stderr)
    truths = train.target(scored.rows), truth_for(goal, test_truth)
    return Scores(goal, truths, (scored.answers, given), promise)


def rows_of(lab: Lab, name: str, nets: list[Config], folds: tuple[int, ...]) -> Iterator[str]:
    """The table's rows for one set; single members are compared with their net of one cycle, blends with its blend."""
    test_truth, goals = known_answers(lab, name), [lab.goal]
    if lab.task.kind != "regression" and lab.metric.name != "log-loss":
        goals.append(Goal(metric_named("log-loss"), lab.task.kind))
    usual: list[Scores] = []
    for words, members in collections(lab, nets, folds).items():
        scores = [scores_of(lab, goal, members, test_truth) for goal in goals]
        usual = scores if words.endswith(USUAL) else usual
        gains = [["", ""] if words == "features" else s.over(u) for s, u in zip(scores, usual, strict=True)]
        cells = [name, words, *scores[0].shown(), *gains[0], *(gains[1] if len(goals) > 1 else ["", ""])]
        yield "| " + " | ".join(cells) + f" | {members[0].seconds:.0f} |\n"


def known_answers(lab: Lab, name: str) -> np.ndarray:
    """The truth of the set's test rows, as `Task.truth` holds that of train rows."""
    suite, task = read_suite(SUITE), lab.task
    cells = cells_of(task.form, suite.folder / suite.set_named(name).answers)
    truth = truth_in(task, lab.metric, [cells[item] for item in task.test_ids], task.classes)
    return np.searchsorted(task.grades, truth) if task.kind == "ordinal" and lab.metric.wants == "grade" else truth


def main() -> None:
    """Train every net and append a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="leaf99,elpv_defect")
    parser.add_argument("--nets", default="boxed,scratch")
    parser.add_argument("--times", type=float, default=1.0, help="factor on the 14 epochs")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    append(asked.out, heading("nets a second time: in one view, and at the ends of cycles") + HEADER)
    folds, command = tuple(range(asked.folds)), [sys.executable, __file__, "worker"]
    for name in asked.sets.split(","):
        nets = [net_for(name, net).vary(epochs=asked.times * EPOCHS, folds=folds) for net in asked.nets.split(",")]
        with opened_anew(name, command) as lab:
            for row in rows_of(lab, name, nets, folds):
                show(asked.out, row)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["worker"] else main()
