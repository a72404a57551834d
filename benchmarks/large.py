"""Does data of any size go through? Peak memory and seconds of large synthetic cases, from reading to writing.

    python benchmarks/large.py [--cases classes,sets,trials,probabilities,deep] [--scale 1]

- classes: 1,000,000 train rows of 7,000 classes and 100,000 test rows; two trials of one held-out tenth
- sets: the same with three labels of 7,000 a row, and F2
- trials: 100,000 train rows of 100 classes and 25,000 test rows; 100 trials over all rows. Publishing is timed
  after some, and all trials but the newest were published before, as in a run
- probabilities: the same with log loss, whose submission has a column a class
- deep: the blend at a run's end and its decision, of 30 trials of 100,000 rows of 50 labels, by F2

Pictures are empty members of archives, since nothing here looks at them, and predictions are noise around the truth,
made a block of rows at a time and stored as the worker stores them. Each case is a process of its own; its folder takes
up to 12 GB of disk, below TMPDIR. `--scale` makes rows, classes and trials fewer. The peak is of resident memory; of it
anonymous memory alone must be there, for pages of mapped files are given back where memory is short.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from record import append, heading, show

from autoclimb.arrays import LARGE, Predictions, write_predictions
from autoclimb.blend.choose import blend_of
from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.data.folds import make_folds
from autoclimb.data.read.folder import read_folder
from autoclimb.disk import write_array
from autoclimb.report.leaderboard import leaderboard_frame, leaderboard_text
from autoclimb.run import store
from autoclimb.run.answers import publish, publish_constant
from autoclimb.run.setup import Setup, learning_target, precision_for
from autoclimb.run.trials import scored
from autoclimb.score.crossfit import rule_of
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Form, Goal, History, Task, Trial

HEADER = "| case | step | seconds | of a processor | peak GB | of it anonymous |\n|---|---|---|---|---|---|\n"
LOOK = 0.02  # seconds between two looks at anonymous memory, whose peak the kernel does not keep
NOISES = 1000  # rows of noise, of which each row gets one: millions of rows are not worth drawing
LABELS = 3  # of a set
WIDE_TRIALS = 2
REPLY = {"status": "done", "note": "", "facts": {}}


@dataclass
class Steps:
    """What each step of a case took: a line a step, printed when it is done."""

    case: str
    peaks: list[tuple[float, float]] = field(default_factory=list)  # GB, and of them anonymous

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what is done in it, and looks at the most memory that it holds."""
        Path("/proc/self/clear_refs").write_text("5")  # from here on the peak counts anew
        looks, over = [memory_gb("RssAnon")], threading.Event()

        def look() -> None:
            while not over.wait(LOOK):
                looks.append(memory_gb("RssAnon"))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        start = now()
        yield
        wall, busy = now() - start
        over.set()
        watcher.join()
        self.peaks.append((memory_gb("VmHWM"), max(looks)))
        peak, anonymous = self.peaks[-1]
        print(f"| {self.case} | {name} | {wall:.1f} | {busy:.1f} | {peak:.2f} | {anonymous:.2f} |", flush=True)


def now() -> np.ndarray:
    """Seconds by the clock and of the processor, which neighbours do not stretch."""
    return np.array([time.perf_counter(), time.process_time()])


def memory_gb(what: str) -> float:
    """A line of /proc/self/status in GB: resident memory's peak (VmHWM), what is anonymous of it now (RssAnon)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024 / 1e9


# --- data ------------------------------------------------------------------------------------------------------------


def competition(root: Path, rows: int, answered: int, classes: int, labels: int) -> None:
    """Archives of empty pictures with a table of so many labels a row."""
    draw = np.random.default_rng(0)
    weight = 1 / np.arange(1, classes + 1) ** 0.7  # a long tail
    names = np.array([f"class{i:05d}" for i in range(classes)])
    chosen = draw.choice(classes, (rows, labels), p=weight / weight.sum())
    chosen[:classes, 0] = np.arange(classes)  # each occurs
    root.mkdir(parents=True)
    for split, count in (("train", rows), ("test", answered)):
        with zipfile.ZipFile(root / f"{split}.zip", "w") as archive:
            for i in range(count):
                archive.writestr(f"{split}{i:07d}.jpg", b"")
    with (root / "train.csv").open("w") as file:
        file.write("image,label\n")
        file.writelines(f"train{i:07d}.jpg,{' '.join(names[sorted(set(c))])}\n" for i, c in enumerate(chosen.tolist()))
    with (root / "sample_submission.csv").open("w") as file:
        file.write("image,label\n")
        file.writelines(f"test{i:07d}.jpg,{' '.join(names[:labels])}\n" for i in range(answered))


def labels_of(task: Task) -> np.ndarray:
    """The labels `(N, k)` of each train row, in short sets one of them again."""
    if task.kind != "multilabel":
        return task.target[:, None]
    ones = getattr(task.target, "ones", None)
    if ones is None:  # few rows: a byte a cell
        ones = np.argsort(-np.asarray(task.target, np.int8), axis=1, kind="stable")[:, :LABELS]
        ones = np.where(np.take_along_axis(task.target, ones, axis=1) > 0, ones, -1)
    return np.where(ones < 0, ones[:, :1], ones)


def probabilities(truth: np.ndarray, width: int, skill: float, seed: int, dtype: str) -> np.ndarray:
    """Predictions `(n, width)` around the labels `truth` `(n, k)`; of one label rows sum to about one."""
    draw = np.random.default_rng(seed)
    z = 2 * draw.normal(size=(NOISES, width)).astype(np.float32)
    noises = 1 / (1 + np.exp(7 - z)) if truth.shape[1] > 1 else np.exp(z) / np.exp(z).sum(1, keepdims=True)
    out = noises.astype(dtype)[draw.integers(0, NOISES, len(truth))]
    sure = 1 / (1 + np.exp(8 - skill - 2 * draw.normal(size=truth.shape)))
    if truth.shape[1] == 1 and out.size <= LARGE:
        out *= (1 - sure).astype(dtype)
    out[np.arange(len(out))[:, None], truth] = sure
    return out


def trial_on_disk(setup: Setup, config: Config, truth: np.ndarray, tested: np.ndarray, skill: float) -> None:
    """Stores predictions of the config's folds and of the test rows, as the worker does, and the scored trial."""
    place = store.trial_folder(setup.folder, config)
    place.mkdir(parents=True)
    dtype = precision_for(setup.goal, setup.task, setup.fold_of)
    rows = np.flatnonzero(np.isin(setup.fold_of, config.folds))
    values = probabilities(truth[rows], setup.task.width, skill, config.seed, dtype)
    write_predictions(place / "oof", Predictions.of(rows, values, len(truth)))
    write_array(place / "test.npy", probabilities(tested, setup.task.width, skill, config.seed + 1000, dtype))


def setup_of(task: Task, metric: str, folds: int, folder: Path) -> Setup:
    """The setting of a run that trains nothing."""
    goal = Goal(metric_named(metric), task.kind)
    fold_of = make_folds(task, folds, 0)
    nobody: Any = None
    return Setup(task, goal, fold_of, store.open_folder(folder), nobody, nobody, Clock(1e6), lambda event: None)


def published(setup: Setup, history: History, own_scores: dict[tuple[str, str], float]) -> None:
    """All that a run does after a trial."""
    publish(setup, history, own_scores)
    blend = store.read_blend(setup.folder)
    assert blend is not None
    leaderboard_text(leaderboard_frame(store.all_trials(setup.folder), setup.goal.metric, blend[0]), 120)


# --- cases -----------------------------------------------------------------------------------------------------------


def wide(steps: Steps, scale: float, folder: Path, labels: int, metric: str) -> None:
    """Very many rows and classes: one fold is held out, and few trials are made."""
    rows, classes, answered = (round(n * scale) for n in (1_000_000, 7000, 100_000))
    competition(folder / "data", rows, answered, classes, labels)
    with steps.step("reading"):
        task = read_folder(folder / "data", metric_named(metric))
    assert (len(task.target), task.width) == (rows, classes), task.notes
    with steps.step("folds"):
        setup = setup_of(task, metric, 10, folder / "run")
    with steps.step("targets for the worker"):
        write_array(setup.folder / "target.npy", learning_target(task))
    with steps.step("constant submission"):
        publish_constant(task, setup.goal, setup.folder, setup.rows)
    truth = labels_of(task)
    tested = np.random.default_rng(1).integers(0, classes, (answered, labels))
    history, own_scores = History(), dict[tuple[str, str], float]()
    for number in range(WIDE_TRIALS):
        config = Config(seed=number, lr=0.001 * (1 + number))
        with steps.step(f"predictions of trial {number + 1}, made and stored"):
            trial_on_disk(setup, config, truth, tested, 7.0 + number)
        with steps.step(f"score of trial {number + 1}"):
            trial = scored(setup, config, "large", REPLY, 1.0)
        store.save_trial(setup.folder, trial)
        history.add(trial)
        with steps.step(f"publishing {number + 1} trials"):
            published(setup, history, own_scores)


def many(steps: Steps, scale: float, folder: Path, metric: str) -> None:
    """Very many trials over all rows, published after the first ones and each quarter of them."""
    rows, answered, classes, trials = (max(round(n * scale), 3) for n in (100_000, 25_000, 100, 100))
    draw = np.random.default_rng(0)
    names, ids = tuple(f"class{i:03d}" for i in range(classes)), tuple(f"test{i:06d}" for i in range(answered))
    form = Form(("image", "label"), ids, "label")
    if metric == "log-loss":
        form = Form(("image", *names), ids, "columns", column_of=tuple(range(classes)), sums_to_one=True)
    task = Task(
        name="large",
        kind="multiclass",
        classes=names,
        train_ids=tuple(f"train{i:06d}" for i in range(rows)),
        train_files=("",) * rows,
        target=draw.integers(0, classes, rows),
        test_ids=ids,
        test_files=("",) * answered,
        form=form,
    )
    setup, history = setup_of(task, metric, 5, folder / "run"), History()
    tested = draw.integers(0, classes, (answered, 1))
    shown = {1, 2, trials // 4, trials // 2, 3 * trials // 4, trials}
    own_scores = dict[tuple[str, str], float]()
    for number in range(1, trials + 1):
        config = Config(seed=number, lr=0.001 * number, folds=(0, 1, 2, 3, 4))
        trial_on_disk(setup, config, task.target[:, None], tested, 3.0 + 2 * draw.random())
        trial = Trial(config, "large", "done", 0.5, 0.01, 1.0)  # a blend ranks by what it looks at itself
        if number in shown:
            with steps.step(f"scoring trial {number}"):
                trial = scored(setup, config, "large", REPLY, 1.0)
        store.save_trial(setup.folder, trial)
        history.add(trial)
        if number in shown:
            with steps.step(f"publishing {number} trials"):
                published(setup, history, own_scores)
        if number + 1 in shown:  # a run publishes after every trial: all but the newest are ranked already
            publish(setup, history, own_scores)


def deep(steps: Steps, scale: float, folder: Path) -> None:
    """The last blend of a run, with every blender: labels in part predicted by all trials, in part by each its own."""
    rows, answered, labels, trials = (max(round(n * scale), 3) for n in (100_000, 25_000, 50, 30))
    draw, goal, members = np.random.default_rng(0), Goal(metric_named("f2"), "multilabel"), []
    z = 2 * draw.normal(size=(rows + answered, labels)).astype(np.float32) - 4
    truth = (draw.random(z.shape) < 1 / (1 + np.exp(-z)))[:rows].astype(np.uint8)
    shared = draw.normal(size=z.shape).astype(np.float32)
    for number in range(trials):
        noise = draw.normal(size=z.shape).astype(np.float32)
        p = 1 / (1 + np.exp(-z - (0.7 + 0.02 * number) * (shared + noise)))
        write_array(folder / f"{number}.npy", p)
        predictions = np.load(folder / f"{number}.npy", mmap_mode="r")
        config = Config(lr=0.001 * (1 + number), folds=(0, 1, 2, 3, 4))
        oof, test = predictions[:rows], predictions[rows:]
        members.append(Trial(config, "large", "done", 0.5, 0.01, 1.0, oof=oof, test=test))
    del z, shared, noise, p
    train = TrainRows(goal, truth, np.arange(rows) % 5)
    with steps.step(f"the blend of {trials} trials"):
        blend = blend_of(members, train)
    with steps.step("the decision"):
        rule = rule_of(train, blend.oof)
    with steps.step("the answers"):
        answer(rule, blend.test)


CASES: dict[str, Callable[[Steps, float, Path], None]] = {
    "classes": lambda steps, scale, folder: wide(steps, scale, folder, 1, "accuracy"),
    "sets": lambda steps, scale, folder: wide(steps, scale, folder, LABELS, "f2"),
    "trials": lambda steps, scale, folder: many(steps, scale, folder, "accuracy"),
    "probabilities": lambda steps, scale, folder: many(steps, scale, folder, "log-loss"),
    "deep": deep,
}


def main() -> None:
    """Runs each case in a process of its own and adds its steps to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--here", action="store_true", help="in this process, printed only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    unknown = set(options.cases.split(",")) - set(CASES)
    if unknown:
        parser.error(f"unknown cases {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    if options.here:
        for case in options.cases.split(","):
            steps = Steps(case)
            with tempfile.TemporaryDirectory() as folder:
                CASES[case](steps, options.scale, Path(folder))
            peak, anonymous = (max(each) for each in zip(*steps.peaks, strict=True))
            print(f"| {case} | all | | | {peak:.2f} | {anonymous:.2f} |", flush=True)
        return
    append(options.out, heading(f"large synthetic cases, scale {options.scale:g}") + HEADER)
    for case in options.cases.split(","):
        command = [sys.executable, __file__, "--here", "--cases", case, "--scale", str(options.scale)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                show(options.out, line)
        if process.returncode:
            append(options.out, f"| {case} | ended with status {process.returncode} | | | | |\n")


if __name__ == "__main__":
    main()
