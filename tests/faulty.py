"""Runs in no time whose trials fail: faults are raised where they would be, and only trials move the clock.

Setting, controller, plan, trials, their record, statuses, retreat and blends are the real ones. What stands in is the
process that trains: it makes predictions up, in the seconds that were planned for them. Where a fault hits, the reply
is the real one: of a tiny net's trial into which the fault was put, or of a script behind the worker's line that dies,
hangs or is killed.
"""

import errno
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import speed
from folders import task
from nets import CPU, TINY, material_of
from test_workers import SCRIPT

from autoclimb.arrays import Predictions, write_predictions
from autoclimb.budget import SLACK, Clock
from autoclimb.config import Config
from autoclimb.data.folds import make_folds
from autoclimb.data.pixels import NoRoom
from autoclimb.data.stored import LazyPictures, Vanished
from autoclimb.disk import write_array
from autoclimb.learn import fold, trial
from autoclimb.learn.trial import run_trial as train_trial
from autoclimb.report.leaderboard import words_of
from autoclimb.run import store
from autoclimb.run.answers import publish, publish_constant
from autoclimb.run.setup import Setup
from autoclimb.run.trials import run_trial, situation_of
from autoclimb.run.worker import Worker
from autoclimb.score.metrics import metric_named
from autoclimb.search.climb import follow
from autoclimb.search.cost import cost_of, features_like
from autoclimb.search.nets import from_box
from autoclimb.search.order import plan_of
from autoclimb.search.situation import Situation
from autoclimb.search.space import SearchSpace
from autoclimb.types import Event, Goal, Trial

ROWS, ANSWERED = 48, 12  # of the made-up predictions; the plan is for PLANNED of them
PLANNED = {"rows": 2000, "answered": 500, "side": 150}
FAILS_EARLY = 0.2  # of its seconds, that a trial takes before a fault
TICK = 0.02  # seconds of a training whose clock moves whenever it is looked at
FEW_SECONDS = 0.2  # of a script that hangs


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises the error, whatever it is given."""

    def broken(*given: Any, **named: Any) -> Any:
        raise type(error)(*error.args)  # a new one each time: an error remembers where it has been

    return broken


# --- which trials a fault hits ---------------------------------------------------------------------------------------


def large(config: Config) -> bool:
    """Nets in batches over 32, and those over 64 px."""
    return config.train == "net" and (config.batch > 32 or config.size > 64)


def large_features(config: Config) -> bool:
    """Frozen features of pretrained nets over 64 px."""
    return config.train == "features" and bool(config.weights) and config.size > 64


def tuned(config: Config) -> bool:
    """Pretrained nets in training."""
    return config.train == "net" and bool(config.weights)


def over_64_px(config: Config) -> bool:
    """Nets over 64 px."""
    return config.train == "net" and config.size > 64


def of_several_folds(config: Config) -> bool:
    """Nets of several folds."""
    return config.train == "net" and len(config.folds) > 1


def any_net(config: Config) -> bool:
    """Every net."""
    return config.train == "net"


# --- the faults ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Injected:
    """A fault: what is put `into` a trial of a tiny net, or what a script behind the worker's line is asked to do."""

    hits: Callable[[Config], bool]
    into: tuple[ModuleType, str] | None = None
    error: Exception | None = None
    script: str = ""
    changes: dict[str, Any] = field(default_factory=dict)  # to the config that the tiny net is trained by
    pictures: Callable[[int], np.ndarray] | None = None
    decoding: Exception | None = None  # raised where the trial's pictures are decoded, before the worker is asked
    late: bool = False  # the deadline comes in the middle of a fold
    finished: int = 0  # folds that the worker had reported before it ended
    ends: str = "failed"  # the status of the trials that it hits


def unreadable(row: int) -> np.ndarray:
    """A picture that was whole when it was decoded, and is no more."""
    raise OSError(f"picture {row} of squash-64.jpegs is damaged")


CUDA = RuntimeError("CUDA error: an illegal memory access was encountered")
LOADER = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that shm is too small")
FULL = OSError(errno.ENOSPC, "No space left on device")
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
HOST = MemoryError("Unable to allocate 3.2 GiB for an array")
FAULTS: dict[str, Injected] = {
    "no memory in training": Injected(large, (fold, "train"), NO_MEMORY),
    "no memory in prediction": Injected(large, (fold, "_predictions"), NO_MEMORY),
    "no memory for frozen features": Injected(large_features, (trial, "features_of"), HOST),
    "no memory for averaged norms": Injected(large, (fold, "recompute_norms"), NO_MEMORY, changes={"swa": 0.3}),
    "no memory of the host: the worker is killed": Injected(large, script="be killed"),
    "CUDA error": Injected(over_64_px, (fold, "train"), CUDA),
    "loader that dies": Injected(large, (fold, "train"), LOADER),
    "worker that dies": Injected(over_64_px, script="leave"),
    "worker that hangs": Injected(over_64_px, script="hang"),
    "full disk": Injected(over_64_px, (fold, "save_net"), FULL),
    "full disk where features are stored": Injected(large_features, (trial, "features_of"), FULL),
    "no room for decoded pictures": Injected(over_64_px, decoding=NoRoom("700 MB of pixels do not fit")),
    "no memory to decode pictures": Injected(over_64_px, decoding=HOST),
    "pictures that vanished before they are decoded larger": Injected(over_64_px, decoding=Vanished("3 pictures")),
    "weights that do not fit": Injected(tuned, changes={"weights": "another net's"}),
    "picture that became unreadable": Injected(over_64_px, pictures=unreadable),
    "deadline in the middle of a fold": Injected(of_several_folds, late=True, ends="done"),
    "worker ended at its deadline after two folds": Injected(of_several_folds, script="hang", finished=2, ends="done"),
    "no net can be trained": Injected(any_net, (fold, "train"), NO_MEMORY),
}


# --- the process that trains -----------------------------------------------------------------------------------------


@dataclass
class Trainer:
    """Stands in for the worker: predictions made up in the seconds planned for them, and the fault where it hits."""

    fault: Injected | None
    folder: Path
    time: float = 1000.0  # any origin
    situation: Situation = field(init=False, repr=False)
    fold_of: np.ndarray = field(init=False, repr=False)
    truth: np.ndarray = field(init=False, repr=False)
    restarts: int = 0
    asked: Config | None = None  # whose trial is run now
    on_disk: set[Config] = field(default_factory=set, repr=False)  # features, as `features_like` names them
    struck: set[Config] = field(default_factory=set, repr=False)  # configs that the fault hit, without their folds
    events: list[Event] = field(default_factory=list, repr=False)

    def ask(
        self,
        request: dict[str, Any],
        seconds: float,
        watch: Callable[[dict[str, Any]], None] = lambda event: None,
        *_: float,
    ) -> dict[str, Any]:
        """What the worker would reply, and raise."""
        config = Config.from_json(request["config"])
        if request["do"] == "speed":
            measured = speed(config)
            return {"train": measured.train, "predict": measured.predict}
        if request["do"] != "trial":
            return {}
        out, nets = Path(request["out"]), Path(request["nets"])
        planned = cost_of(config, replace(self.situation, on_disk=self.on_disk))
        if self.fault is not None and self.fault.hits(config):
            self.struck.add(config.vary(folds=()))
            self.time += planned * (FAILS_EARLY if self.fault.ends == "failed" else 1.0)
            return self.failing(self.fault, config, out, nets, watch)
        self.time += planned
        self.on_disk |= {features_like(config)} if config.train == "features" else set()
        self.predict(config, config.folds, out)
        return {"status": "done", "note": "", "facts": {}, "folds": len(config.folds)}

    def pixels(self, size: int, *_: Any) -> Any:
        """The decoded pictures, which are none; raises the fault where it hits the trial that is run now."""
        config = self.asked
        decoding = self.fault.decoding if self.fault else None
        if decoding and config and self.fault.hits(config) and size == config.cached_size:
            self.struck.add(config.vary(folds=()))
            self.time += FAILS_EARLY
            raise type(decoding)(*decoding.args)
        return SimpleNamespace(path=self.folder / "none.npy")

    def run(self, setup: Setup, config: Config, stage: str, planned: float = 0.0) -> Trial:
        """The real trial."""
        self.asked = config
        try:
            return run_trial(setup, config, stage, planned)
        finally:
            self.asked = None

    def end(self) -> None:
        """The next request would start the process again."""
        self.restarts += 1

    def predict(self, config: Config, folds: tuple[int, ...], out: Path) -> None:
        """Writes predictions of the folds' rows and of the test rows, as the worker does."""
        draw = np.random.default_rng(config.seed + config.size)
        rows = np.flatnonzero(np.isin(self.fold_of, folds))
        signal = np.concatenate([self.truth[rows], np.arange(ANSWERED) % 2]) * 2.0 - 1.0
        yes = 1 / (1 + np.exp(-signal - draw.normal(0, 1.5, len(signal))))
        p = np.stack([1 - yes, yes], 1).astype(np.float32)
        out.mkdir(parents=True, exist_ok=True)
        write_predictions(out / "oof", Predictions.of(rows, p[: len(rows)], ROWS))
        write_array(out / "test.npy", p[len(rows) :])

    def failing(
        self, fault: Injected, config: Config, out: Path, nets: Path, watch: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """The reply to a trial that the fault hits; raises what the worker's line does."""
        if fault.script:
            self.restarts += 1
            if fault.finished:
                self.predict(config, config.folds[: fault.finished], out)
                watch({"folds_done": fault.finished, "facts": {}})
            worker = Worker([sys.executable, "-S", "-c", SCRIPT], self.folder / "script.log")
            try:
                silence = math.inf if fault.finished else FEW_SECONDS
                return worker.ask({"do": fault.script}, 2 * FEW_SECONDS if fault.finished else 60.0, watch, silence)
            finally:
                worker.end()
        material = replace(material_of(ROWS, ANSWERED), fold_of=self.fold_of)
        tiny = TINY.vary(train=config.train, folds=config.folds, **fault.changes)
        if tiny.train == "features":
            tiny = tiny.vary(backbone="gradients", model_args=(), epochs=0.0)
        if tiny.weights:  # a file of weights that are none of this net's
            tiny = tiny.vary(weights=str(other_weights(self.folder)))
        if fault.pictures is not None:
            shape = material.pixels.shape
            material = replace(material, pixels=LazyPictures("squash-64.jpegs", shape, fault.pictures))
        how: dict[str, Any] = {}
        if fault.late:  # folds of 4 seconds, but for the last two: of these one is cut off, and one has no time at all
            tiny = tiny.vary(epochs=0.0, seconds=4.0)
            how = {"now": ticking(), "seconds": 4.0 * (len(config.folds) - 2) + 3.5}
        with pytest.MonkeyPatch.context() as patch:
            if fault.into is not None and fault.error is not None:
                patch.setattr(*fault.into, raising(fault.error))
            return train_trial(tiny, material, out, nets, self.folder, CPU, **how)


def ticking() -> Callable[[], float]:
    """A clock that moves whenever it is looked at."""
    looks = iter(range(10**9))
    return lambda: TICK * next(looks)


def other_weights(folder: Path) -> Path:
    """A file of tensors that belong to no net here."""
    from safetensors.torch import save_file

    path = folder / "resnet10t.other.safetensors"
    if not path.exists():
        save_file({"somewhere.weight": torch.zeros(3, 3)}, path)
    return path


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How a run with a fault ended."""

    trials: list[Trial]  # as on record, in the order of their asking
    used: float  # share of the budget when the plan ended, what is kept for the end included
    restarts: int
    answers: str  # submission.csv
    constant: str  # what it was before anything was learnt
    struck: set[Config]

    @property
    def hit(self) -> list[Trial]:
        """The trials that the fault hit: those of fewer folds, which it did not, have nothing to say."""
        struck = [trial for trial in self.trials if trial.config.vary(folds=()) in self.struck]
        return [trial for trial in struck if trial.note or trial.status != "done"]

    def retreat(self) -> list[str]:
        """What was asked for in place of each failed trial, in words of what differs; each once."""
        steps = []
        for before, after in zip(self.trials, self.trials[1:], strict=False):
            if before.status == "failed":
                steps.append(step_words(before.config, after.config))
        return list(dict.fromkeys(steps))


def step_words(before: Config, after: Config) -> str:
    """What a plan turned to: `batch 16`, `@64`, `resnet10t @64`; of other features only that."""
    if after.train != before.train:
        return f"to {'features' if after.train == 'features' else 'a net'}"
    if after.backbone != before.backbone or after.model_args != before.model_args:
        return f"{after.backbone} @{after.size}"
    if after.size != before.size:
        return f"@{after.size}"
    return words_of(after.vary(seconds=before.seconds, folds=before.folds), before)


def setting_of(folder: Path, trainer: Trainer, budget: float = 900.0) -> Setup:
    """A run's setting with the trainer behind it, a constant submission on its disk."""
    about = task(
        kind="binary",
        target=np.arange(ROWS) % 2,
        classes=("along", "across"),
        test_ids=[f"t{i}" for i in range(ANSWERED)],
    )
    goal, fold_of = Goal(metric_named("accuracy"), "binary"), make_folds(about, 5, 0)
    trainer.fold_of, trainer.truth = fold_of, about.target
    clock = Clock(budget, now=lambda: trainer.time, start=trainer.time)
    decoded: Any = SimpleNamespace(
        at=trainer.pixels, reading_seconds=lambda *how: 0.0, limit=3e9, decoded_already=lambda *how: "squash-64.npy"
    )
    worker: Any = trainer
    setup = Setup(
        about, goal, fold_of, store.open_folder(folder / "run"), worker, decoded, clock, trainer.events.append
    )
    publish_constant(about, goal, setup.folder)
    situation = situation_of(setup, 0, tuple(from_box()), SearchSpace())
    trainer.situation = replace(situation, row_losses=lambda trial: None, **PLANNED)
    return setup


def faulty_run(folder: Path, fault: Injected | None = None, budget: float = 900.0) -> Ending:
    """A run of the whole plan on a processor with the box's nets, into which the fault is put."""
    trainer = Trainer(fault, folder)
    setup = setting_of(folder, trainer, budget)
    submission = setup.folder / "submission.csv"
    constant = submission.read_text()
    trainer.time += SLACK.opening / 2
    history, _ = follow(
        plan_of(None),
        trainer.situation,
        partial(trainer.run, setup),
        partial(store.recall_trial, setup.folder),
        setup.clock,
        setup.reserve,
        partial(publish, setup, own_scores={}),
        setup.tell,
    )
    used = (setup.clock.spent() + setup.reserve()) / budget
    return Ending(history.trials, used, trainer.restarts, submission.read_text(), constant, trainer.struck)
