"""A set made ready for single trials: read, dealt into folds, its pixels decoded, and a worker that trains on it."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb import Metric, Task
from autoclimb.arrays import read_predictions
from autoclimb.config import Config
from autoclimb.contest.suite import read_suite
from autoclimb.data.decoding import Decoding
from autoclimb.data.duplicates import joined_duplicates
from autoclimb.data.folds import make_folds
from autoclimb.data.nearness import folds_as_far
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake
from autoclimb.protocol import Hello, MeasureSpeed, RunTrial
from autoclimb.run import store
from autoclimb.run.setup import hello_of
from autoclimb.run.worker import Worker, command_of
from autoclimb.score.train_rows import TrainRows
from autoclimb.search.cost import measured
from autoclimb.search.situation import FIRST_SIZE
from autoclimb.types import Goal, Tell

SUITE = Path(__file__).parent / "suite.toml"
FOLDS = 5
LONGEST = 7200.0  # seconds of a trial whose length is in epochs
STARTING = 120.0  # seconds that a worker's imports may take beside other work


@dataclass(eq=False)
class Lab:
    """A set, the worker that trains on it, its folds, pixels by size, and how each net runs fastest."""

    task: Task
    metric: Metric
    fold_of: np.ndarray
    folder: Path
    worker: Worker
    hello: Hello  # what the worker knows of the set
    pixels: dict[Decoding, str] = field(default_factory=dict)
    speeds: dict[Config, dict[str, Any]] = field(default_factory=dict)

    @property
    def goal(self) -> Goal:
        """What the set asks for."""
        return Goal(self.metric, self.task.kind, self.task.grades)

    @property
    def train(self) -> TrainRows:
        """The train rows as predictions are scored on them."""
        return TrainRows(self.goal, self.task.truth, self.fold_of, self.task.groups)

    def pixels_of(self, config: Config) -> str:
        """Where the pixels that the config looks at lie."""
        how = Decoding(config.cached_size, config.preprocess, self.task.channels)
        if how not in self.pixels:
            files = [*self.task.train_files, *self.task.test_files]
            built = build_pixels(files, how, self.folder)
            self.pixels[how] = str(built.path)
        return self.pixels[how]

    def speed_of(self, config: Config, seconds: float = 1.0) -> dict[str, Any]:
        """Pictures a second of the config's net at the size that its speed is told by, and its fastest format."""
        plain = measured(config).vary(loss="default", policy="none", seed=0, folds=(0,))
        if plain not in self.speeds:
            request = MeasureSpeed(plain, self.pixels_of(plain), look=seconds, leisure=True, largest_batch=0)
            self.speeds[plain] = self.worker.ask(request.to_json(), STARTING)
        return self.speeds[plain]

    def trial(self, config: Config, out: Path, seconds: float, nets: Path | None = None) -> dict[str, Any]:
        """The worker's reply on a trial: status, note, facts, folds; its predictions are in `out`, as its nets are."""
        speed = {"precision": "fp32", "channels_last": True}
        if config.train == "net":
            speed = {name: self.speed_of(config)[name] for name in speed}
        request = RunTrial(
            config,
            pixels=self.pixels_of(config),
            out=str(out),
            nets=str(nets or out / "nets"),
            img_s=0.0,  # lengths in epochs keep their threads
            seconds=seconds,
            **speed,
        )
        return self.worker.ask(request.to_json(), seconds)

    def trained(self, config: Config) -> tuple[np.ndarray, float]:
        """Out-of-fold predictions `(N, C)`, NaN where not predicted, and the seconds that the trial took.

        The nets lie where those that go on from them, and students, look for them. A trial that fails ends the script.
        """
        out, start = self.folder / config.key, time.monotonic()
        reply = self.trial(config, out, LONGEST, store.nets_folder(self.folder, config))
        if reply["status"] != "done":
            sys.exit(reply["note"])
        return np.asarray(read_predictions(out / "oof")), time.monotonic() - start


def difference(losses: np.ndarray, others: np.ndarray) -> str:
    """The mean difference of losses by row `(N,)`, NaN where not predicted, with its standard error."""
    gap = (losses - others)[np.isfinite(losses)]
    return f"{gap.mean():+.4f} ± {gap.std() / np.sqrt(len(gap)):.4f}"


def dealt(task: Task, folder: Path) -> tuple[Task, np.ndarray]:
    """The task and its folds as a run of seed 0 deals them: copies together, and held-out rows as far as the test."""
    how = Decoding(FIRST_SIZE, "squash", task.channels)
    pixels = build_pixels([*task.train_files, *task.test_files], how, folder)
    quietly: Tell = lambda event: None  # noqa: E731
    deal = partial(make_folds, k=FOLDS, seed=0, bad=pixels.bad[: len(task.train_ids)])
    return folds_as_far(joined_duplicates(task, pixels, quietly), pixels, deal, quietly)[:2]


@contextmanager
def opened(
    suite: Path,
    name: str,
    folder: Path,
    device: str = "auto",
    metric: Metric | None = None,
    command: Sequence[str] = (),
) -> Iterator[Lab]:
    """A lab for one of the suite's sets, its files in `folder`; the worker ends with the block.

    `command` is the worker's where it is not the usual one.
    """
    whole = read_suite(suite)
    try:
        known_set = whole.set_named(name)
    except Mistake as mistake:
        sys.exit(str(mistake))
    metric = metric or whole.metric_of(known_set)
    task = read_folder(whole.folder / known_set.data, metric)
    folder.mkdir(parents=True, exist_ok=True)
    task, fold_of = dealt(task, folder)
    hello = hello_of(task, fold_of, folder, cache=folder, device=device, precision="float32", pipelines={})
    worker = Worker(command or command_of(), folder / "worker.log")
    try:
        worker.greet(hello.to_json(), STARTING)
        yield Lab(task, metric, fold_of, folder, worker, hello)
    finally:
        worker.end()


@contextmanager
def opened_anew(name: str, command: Sequence[str] = ()) -> Iterator[Lab]:
    """A lab for a set of suite.toml whose files, trained nets among them, are gone after the block."""
    with (
        tempfile.TemporaryDirectory(prefix="autoclimb-") as folder,
        opened(SUITE, name, Path(folder), command=command) as lab,
    ):
        yield lab
