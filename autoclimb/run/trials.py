"""The team of a run: decodes, runs trials by the worker, scores and records them, keeps the submission up to date.

The one place where worker, store, score and blend meet; `solve` gathers it, `search` is handed its `run`.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.blend.choose import blend_of
from autoclimb.budget import Clock, in_words
from autoclimb.data.pixels import NoRoom, Pixels, build_pixels, mark_used
from autoclimb.disk import write_json
from autoclimb.report.leaderboard import words_of
from autoclimb.report.submission import constant_prediction, write_submission
from autoclimb.run import store
from autoclimb.run.worker import Died, Late, Worker
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.rules import answer
from autoclimb.search.cost import measured
from autoclimb.search.situation import Speed
from autoclimb.types import Blend, Config, Event, Goal, History, Metric, Task, Tell, Trial

FIRST_SIZE = 64  # pixels of the first cache: it also tells which pictures cannot be read
QUIET_BLENDERS = ("best", "mean", "greedy", "linear", "linear+metadata")  # lightgbm's import alone costs seconds


class OutOfTime(Exception):
    """The budget ended before anything could be learnt; the constant submission stands."""


@dataclass(eq=False)
class Record:
    """run.json, kept up to date: a killed run must know what it had spent."""

    folder: Path
    clock: Clock
    values: dict[str, Any]

    def write(self, **more: Any) -> None:
        """Writes what is known now."""
        self.values |= more
        spent = {"format": store.FORMAT, "budget": self.clock.budget, "spent": round(self.clock.spent(), 2)}
        write_json(self.folder / "run.json", {**self.values, **spent})


@dataclass(eq=False)
class Cache:
    """Decoded pixels of all items, train first, built when first asked for."""

    folder: Path
    files: list[str]
    clock: Clock
    tell: Tell
    channels: int = 3
    limit: float = 3e9  # bytes; beyond it the least recently used pixels are deleted
    built: dict[tuple[int, str, int], Pixels] = field(default_factory=dict)

    def pixels(self, size: int, preprocess: str, grid: int = 0) -> Pixels:
        """The pixels at this size; raises OutOfTime where they cannot be had within the budget."""
        kept = self.built.get((size, preprocess, grid))
        if kept is None or not kept.path.exists():
            said = [f"decoding {len(self.files)} pictures at {size} px"]
            needed = len(self.files) * size * size * self.channels
            if needed > self.limit:
                self.tell(Event("note", f"pixels at {size} px take {needed / 1e9:.1f} GB, over the limit of the cache"))

            def progress(done: int, total: int) -> None:
                self.tell(Event("progress", said.pop() if said else "", {"done": done, "total": total}))
                if self.clock.left() < 1.0:
                    raise OutOfTime

            made = build_pixels(
                self.files, size, preprocess, self.folder, progress, None, self.channels, None, self.limit, grid
            )
            if made.note:
                self.tell(Event("note", made.note))
            self.built = {key: pixels for key, pixels in self.built.items() if pixels.path.exists()}
            self.built[size, preprocess, grid] = kept = made
        mark_used(kept.path)
        return kept


@dataclass(eq=False)
class Team:
    """What running a trial takes: the one place where worker, store, score and blend meet."""

    task: Task
    metric: Metric
    fold_of: np.ndarray
    folder: Path
    worker: Worker
    cache: Cache
    clock: Clock
    record: Record
    tell: Tell
    asked: int = 0
    blend: Blend | None = None
    blending: float = 0.5  # seconds the last quick blends took, their submission written
    nets_limit: float = 1.5e9  # bytes; beyond them the weights of the worst trials outside the blend are deleted
    told_nets: bool = False  # whether it was said that the blend's own are more

    @property
    def goal(self) -> Goal:
        """What is climbed."""
        return Goal(self.metric, self.task.kind, self.task.grades)

    def reserve(self) -> float:
        """Seconds kept for the end: a full blend takes ten quick ones and an import; two quick ones at the least."""
        wanted = min(2.5 + 10 * self.blending, 0.04 * self.clock.budget + 0.2)
        return max(wanted, 2.2 * self.blending + 0.5)

    def run(self, config: Config, stage: str) -> Trial:
        """The trial of this config, run by the worker and put on record."""
        self.asked += 1
        place = store.trial_folder(self.folder, config)
        words = words_of(config)
        about = {"trial": config.key, "number": self.asked, "config": words, "stage": stage}
        self.tell(Event("start", f"trial {self.asked}: {words}", about))
        start = self.clock.spent()
        try:
            pixels = self.cache.pixels(config.cached_size, config.preprocess, config.grid)
        except NoRoom as error:
            return self.recorded(config, stage, failure(error), place, start, about)
        way = self.measure(measured(config)) if config.train == "net" else Speed(0.0, 0.0)
        request = {
            "do": "trial",
            "config": config.to_json(),
            "pixels": str(pixels.path),
            "out": str(place),
            "nets": str(store.nets_folder(self.folder, config)),
            "bf16": way.bf16,
            "channels_last": way.channels_last,
        }
        until = self.clock.left() - 0.5 * self.reserve()

        whole: dict[str, Any] = {}

        def watch(event: dict[str, Any]) -> None:
            if "folds_done" in event:
                whole.update(event)
            elif event.get("what") == "features":
                self.tell(Event("progress", "", {"done": event["progress"], "total": 1.0}))
            else:
                fold, folds, progress = event.get("fold", 1), event.get("folds", 1), event.get("progress", 0.0)
                facts = {**about, "fold": fold, "folds": folds, "share": (fold - 1 + progress) / folds}
                if "epoch" in event and progress:  # a schedule is fitted to seconds: its epochs are an estimate
                    facts |= {"epoch": event["epoch"], "epochs": round(event["epoch"] / progress)}
                self.tell(Event("epoch", "", facts))

        try:
            told = self.worker.ask(request, max(until, 0.1), watch)
        except (Late, Died) as error:
            told = failure(error)
            if whole:
                config, place = self.cut_short(config, place, whole["folds_done"])
                told = {"status": "done", "note": f"ended after {len(config.folds)} folds", "facts": whole["facts"]}
        return self.recorded(config, stage, told, place, start, about)

    def recorded(
        self, config: Config, stage: str, told: dict[str, Any], place: Path, start: float, about: dict[str, Any]
    ) -> Trial:
        """The trial scored, saved and announced."""
        trial = self.scored(config, stage, told, place, self.clock.spent() - start)
        store.save_trial(self.folder, trial)
        self.record.write()
        self.announce(trial, about)
        return trial

    def cut_short(self, config: Config, place: Path, folds: int) -> tuple[Config, Path]:
        """The config and place of the trial that the finished folds of a longer one are."""
        shorter = config.vary(folds=config.folds[:folds])
        to = store.trial_folder(self.folder, shorter)
        if to != place:
            store.move_trial(place, to)
        return shorter, to

    def scored(self, config: Config, stage: str, told: dict[str, Any], place: Path, seconds: float) -> Trial:
        """The trial with its cross-fitted score."""
        plain = Trial(
            config, stage, told["status"], -np.inf, 0.0, round(seconds, 2), None, None, told["note"], told["facts"]
        )
        if told["status"] != "done":
            return plain
        oof, test = np.load(place / "oof.npy"), np.load(place / "test.npy")
        found = cross_fitted_score(self.goal, self.task.truth, oof, self.fold_of)
        return replace(plain, score=found.score, stderr=found.stderr, oof=oof, test=test)

    def announce(self, trial: Trial, about: dict[str, Any]) -> None:
        """Tells how the trial ended, and what it bought over the best so far."""
        if trial.status != "done":
            text = f"trial {about['number']} {trial.status}: {trial.note}"
            self.tell(Event("trial", text, {**about, "seconds": trial.seconds, "status": trial.status}))
            return
        value = self.metric.shown(trial.score)
        text = (
            f"trial {about['number']}: {self.metric.name} {value:.4f} ± {trial.stderr:.4f} in {in_words(trial.seconds)}"
        )
        facts = {**about, "score": value, "stderr": trial.stderr, "seconds": trial.seconds}
        if self.blend is not None:
            facts["gain"] = trial.score - self.blend.score
        self.tell(Event("trial", text, facts))

    def prepare(self, config: Config) -> None:
        """Decodes the pixels that a config's trial will need, before its time is planned."""
        with suppress(NoRoom):  # the trial itself will say so
            self.cache.pixels(config.cached_size, config.preprocess, config.grid)

    def measure(self, config: Config) -> Speed:
        """Pictures a second of the config's net at its size, measured once a run and then read from disk."""
        known = store.read_speeds(self.folder)
        key = f"{config.backbone}|{config.model_args}|{config.size}|{config.batch}|{config.fine_stem}"
        key += f"|{config.pool}" if config.pool else ""  # not every net can be built with every pool
        key += f"|grid {config.grid}" if config.grid else ""
        if key not in known:
            plain = config.vary(weights="", policy="none") if config.weights != "hub" else config.vary(weights="")
            pixels = self.cache.pixels(FIRST_SIZE, "squash")  # enlarged for the purpose: what they show is no matter
            ask = {"do": "speed", "config": plain.to_json(), "pixels": str(pixels.path), "seconds": 0.8}
            try:
                told = self.worker.ask(ask, max(self.clock.left() - self.reserve(), 0.1))
            except Died:
                told = {"train": 0.0, "predict": 0.0}
            except Late:
                raise OutOfTime from None
            known[key] = {name: told[name] for name in told if name != "note"}
            write_json(self.folder / "speeds.json", known)
        return Speed(**known[key])

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """A decision that depended on the clock: taken once, then read from disk, so that a replay goes alike."""
        path = self.folder / "decisions.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        key = f"{name}@{self.clock.budget:g}"
        if key not in known:
            known[key] = make()
            write_json(path, known)
        return known[key]

    def rows(self) -> list[int]:
        """The train rows that are learned from."""
        return np.flatnonzero(self.fold_of >= 0).tolist()

    def publish(self, history: History) -> None:
        """Blends what there is and replaces the submission."""
        start = self.clock.spent()
        blend = self.blended(quick=True)
        self.deliver(blend)
        self.blending = 0.5 * self.blending + 0.5 * (self.clock.spent() - start)
        held = store.limit_weights(self.folder, set(blend.members), self.nets_limit)
        if held > self.nets_limit and not self.told_nets:
            self.told_nets = True
            self.tell(
                Event("note", f"the blend's nets take {held / 1e9:.1f} GB, over nets_gb={self.nets_limit / 1e9:g}")
            )

    def blended(self, quick: bool) -> Blend:
        """The blend of every trial on disk, earlier budgets' included."""
        allow = QUIET_BLENDERS if self.clock.budget < 300 else None
        return blend_of(
            store.all_trials(self.folder),
            self.goal,
            self.task.truth,
            self.fold_of,
            allow=None if quick else allow,
            quick=quick,
            metadata=self.task.metadata,
        )

    def deliver(self, blend: Blend) -> None:
        """Writes the blend's answers and records it."""
        task, metric = self.task, self.metric
        known = np.isfinite(blend.oof).all(1) & (self.fold_of >= 0)
        rule = learn_rule(self.goal, task.truth[known], blend.oof[known])
        test = np.array(blend.test, np.float64)
        unread = np.isin(task.test_ids, task.unreadable_test)
        if unread.any():
            test[unread] = constant_prediction(task, self.rows(), metric.constant)[unread]
        path = self.folder / "submission.csv"
        write_submission(task, answer(rule, test), path, metric, test)
        store.save_blend(self.folder, blend, rule.to_json())
        self.blend = blend
        value = metric.shown(blend.score)
        best = {"best": value, "best_stderr": blend.stderr, "submission": str(path) if task.test_ids else ""}
        said = f"blend of {len(blend.members)}: {metric.name} {value:.4f} ± {blend.stderr:.4f} out of fold"
        self.tell(Event("blend", said, best))


def failure(error: Exception) -> dict[str, Any]:
    """What a worker would have told, had it lived to tell of this error."""
    return {"status": "late" if isinstance(error, Late) else "failed", "note": str(error), "facts": {}}
