"""plan(): what a run would do and why, without training anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from autoclimb.arrays import stored_precision
from autoclimb.budget import CACHE_GB, SLACK, in_words, seconds_kept, seconds_of
from autoclimb.config import Config
from autoclimb.data.facts import group_facts, plan_facts
from autoclimb.data.folds import folds_possible
from autoclimb.errors import Mistake
from autoclimb.reading import as_metric, read_for_metric
from autoclimb.score.propose import proposed_metric
from autoclimb.search.capacity import MOST_KEPT_IN_ALL, pixel_bytes
from autoclimb.search.climb import Stage
from autoclimb.search.cost import trunk_of
from autoclimb.search.fidelity import folds_for, folds_of
from autoclimb.search.leftover import MOST_AGAIN
from autoclimb.search.nets import from_box, with_hub
from autoclimb.search.order import plan_of
from autoclimb.search.rates import DEVICES, Device, speed_on
from autoclimb.search.recipes import load_recipe
from autoclimb.search.rehearsal import PACKED, PlannedTrial, reading_seconds, rehearse, stored_as
from autoclimb.search.situation import FIRST_SIZE, Situation
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import SEARCHING
from autoclimb.search.steering import steering_words
from autoclimb.types import History, Metric, Task

UNUSED = 0.05  # share of the budget from which a plan says why it is left
OPEN_LICENCES = ("apache-2.0", "mit", "bsd-3-clause")  # of weights, which the plan does not point out


@dataclass(frozen=True, eq=False)
class Plan:
    """The trials that a run would do, in order, and the facts that they were planned from."""

    situation: Situation
    device: Device
    trials: tuple[PlannedTrial, ...]
    seconds: float  # until the last trial ends
    grouped: str = ""  # the groups of rows that share folds, in words

    @property
    def finalists(self) -> list[PlannedTrial]:
        """The finalists over all their folds, each config once."""
        rows = [row for row in self.trials if row.stage == "finalists"]
        most_folds: dict[Config, int] = {}
        for row in rows:
            net = row.config.vary(folds=())
            most_folds[net] = max(most_folds.get(net, 0), len(row.config.folds))
        return [row for row in rows if len(row.config.folds) == most_folds[row.config.vary(folds=())]]

    @property
    def oof_gb(self) -> float:
        """Gigabytes on disk of one net's predictions for its held-out rows and the test rows."""
        s = self.situation
        each = np.dtype(stored_precision(s.wants, max(s.rows // s.folds, s.answered) * s.width)).itemsize
        return (s.rows / s.folds * folds_of(s) + s.answered) * each * s.width / 1e9

    def lines(self) -> Iterator[str]:
        """The plan as text, a line each."""
        s, device = self.situation, self.device
        yield f"{s.rows} train and {s.answered} test items of {s.side} px, {s.kind}, {s.metric}: {in_words(s.budget)}"
        yield f"on {device.name}: {device.source}; times are estimates"
        if folds_of(s) > 1:
            yield f"{s.folds} folds" + (f"; {self.grouped}" if self.grouped else "")
        if s.wants == "grade":
            yield "answers: cut points on the expected grade, learnt out of fold"
        yield from steering_words(History(), s)
        memory = max((row.memory_gb for row in self.trials), default=0.0)
        yield f"memory: at most {memory:.1f} of {device.memory_gb:g} GB to train"
        yield f"predictions: {self.oof_gb:.2f} GB a net"
        yield self.disk_words()
        yield ""
        if not self.trials:
            first = in_words(self.seconds)
            yield f"no trial fits into {in_words(s.budget)}: by these estimates the first would start after {first}"
            return
        yield f"{'stage':<13}{'net':<46}{'px':>5}{'folds':>6}{'epochs':>8}{'img/s':>8}{'GB':>6}{'time':>8}  why"
        for stage, group in groupby(self.trials, key=lambda row: row.stage):
            rows = list(group)
            yield from (_line(row) for row in (rows[:1] if stage == "refine" else rows))
            if stage == "refine" and len(rows) > 1:
                more = in_words(sum(row.seconds for row in rows[1:]))
                yield f"{stage:<13}and {len(rows) - 1} more suggestions, {more}"
        if words := self.unused_words():
            yield words
        count = "1 trial" if len(self.trials) == 1 else f"{len(self.trials)} trials"
        yield f"{count}, {in_words(self.seconds)} of {in_words(s.budget)}"

    def unused_words(self) -> str:
        """Why a twentieth of the budget or more is left, "" where it is not."""
        end = seconds_kept(self.situation.budget, SLACK.first_quick_blend)
        unused = self.situation.budget - end - self.seconds
        if unused < UNUSED * self.situation.budget:
            return ""
        again = sum(row.stage == "rest" for row in self.trials)
        reason = f"{again} further trials are the most" if again >= MOST_AGAIN else "no further trial fits"
        return f"unused: {in_words(unused)}, as {reason}"

    def disk_words(self) -> str:
        """The disk for the largest decoded pictures and for features of frozen stages, and what more would be for."""
        s, room = self.situation, f"{self.situation.pixel_bytes / 1e9:g} GB"
        size = max((row.config.cached_size for row in self.trials), default=FIRST_SIZE)
        form, stored = stored_as(size, s)
        taken, array = f"{stored / 1e9:.1f} of {room}", pixel_bytes(size, s) / 1e9
        words = {
            "array": f"{taken} for the pixels of the largest size",
            "jpegs": f"{taken} for JPEGs of {size} px; their pixels take {array:.1f} GB (--cache-gb)",
            "": f"pictures of {size} px do not fit into {room} and are read from their files; as JPEGs they take "
            f"{PACKED * array:.1f} GB (--cache-gb)",
        }[form]
        sizes = {trunk_of(row.config): row.features_gb for row in self.trials if row.features_gb}
        features = min(sum(sizes.values()), MOST_KEPT_IN_ALL / 1e9)
        return f"disk: {words}" + (f"; {features:.1f} GB for features of frozen stages" if sizes else "")

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines())


def plan(
    data: str | Path | Task,
    *,
    metric: str | Metric | None = None,
    budget: str | float,
    device: str = "cpu",
    hub: bool = False,
    pretrained: bool = True,
    folds: int | None = None,
    seed: int = 0,
    recipe: str | Path | None = None,
    space: SearchSpace | None = None,
    stages: Sequence[str | Stage | tuple[str, Stage]] | None = None,
    id_column: str | None = None,
    target: str | None = None,
    group: str | None = None,
    cache_gb: float = CACHE_GB,
) -> Plan:
    """The plan that `fit` would follow with that budget on that device; nothing is trained, decoded or written.

    The real controller is rehearsed on the device's rates: measured ones for "cpu" (two cores), published or estimated
    ones for "t4", "p100", "a100" and "h100", as the plan says. In the rehearsal each net scores as its published
    standing suggests and no variation improves on it, so a run differs where its trials do. With `hub` the pretrained
    nets are timm's, else those that come with autoclimb. `cache_gb` is the disk for decoded pixels, as of `fit`.

    Raises Mistake as `fit` does, and for an unknown device.
    """
    if device not in DEVICES:
        raise Mistake(f"device {device!r} is unknown; choose from {', '.join(DEVICES)}")
    given = load_recipe(recipe, space=space, plan=stages, folds=folds, pretrained=pretrained)
    if isinstance(data, Task):
        task, scorer = data, proposed_metric(data)[0] if metric is None else as_metric(metric)
    else:
        task, scorer, _ = read_for_metric(data, metric, id_column, target, group)
    s = situation_on(
        DEVICES[device],
        hub=hub,
        pretrained=given.pretrained,
        cache_gb=cache_gb,
        **plan_facts(task, scorer),
        rows=len(task.train_ids),
        folds=folds_possible(task, given.folds or folds_for(len(task.train_ids)), np.arange(len(task.train_ids))),
        budget=seconds_of(budget),
        seed=seed,
        space=given.space,
    )
    return replace(rehearsed(s, DEVICES[device], given.plan), grouped=group_words(task))


def group_words(task: Task) -> str:
    """The groups of rows that share folds, "" where there are none."""
    groups = group_facts(task)
    if groups is None:
        return ""
    of = f"one '{groups['column']}'" if groups["column"] else "one group"
    return f"rows of {of} share a fold ({groups['count']} groups, the largest of {groups['largest']})"


def situation_on(device: Device, *, hub: bool, pretrained: bool, cache_gb: float = CACHE_GB, **facts: Any) -> Situation:
    """The situation of those facts on a device of the table, with so much disk for decoded pixels."""
    nets: tuple[dict[str, Any], ...] = ()
    if pretrained:
        nets = with_hub(device.kind, from_box()) if hub else tuple(from_box())
    s = Situation(
        **facts,
        device=device.kind,
        pretrained=nets,
        measure=partial(speed_on, device),
        left=lambda: 0.0,
        remember=lambda name, make: make(),
        pixel_bytes=min(cache_gb, device.disk_gb) * 1e9,
        memory_gb=device.memory_gb,
        cores=device.cores,
    )
    return replace(s, reading=lambda size, preprocess, grid: reading_seconds(size, s, device.cores))


def rehearsed(s: Situation, device: Device, stages: Sequence[str | Stage | tuple[str, Stage]] | None = None) -> Plan:
    """The plan of a situation on a device."""
    trials, seconds = rehearse(s, device, plan_of(stages))
    return Plan(s, device, tuple(trials), seconds)


def _line(row: PlannedTrial) -> str:
    config = row.config
    name = config.backbone + (" half" if config.model_args else "")
    name += f", {config.head}" if config.train == "features" else ""
    epochs = f"{row.epochs:.1f}" if config.train == "net" else ""
    rate = f"{row.rate:.0f}" if row.rate else ""
    why = row.why + (f" ({row.licence})" if row.licence not in ("", *OPEN_LICENCES) else "")
    memory = f"{row.memory_gb:.1f}" if row.memory_gb else ""
    figures = f"{config.size:>5}{len(config.folds):>6}{epochs:>8}{rate:>8}{memory:>6}{in_words(row.seconds):>8}"
    trained = config.train == "net" and row.stage not in (*SEARCHING, "rest")  # those repeat what stands above
    return f"{row.stage[:12]:<13}{name[:45]:<46}{figures}  {why}" + (f"; {_training_words(config)}" if trained else "")


def _training_words(config: Config) -> str:
    """The values of a net's training that a reader asks for first."""
    words = [f"lr {config.lr:g}", f"batch {config.batch}", config.policy]
    words += [f"top {config.top}"] if config.top else []
    if config.backbone_lr != 1:
        words.insert(1, f"body {config.lr * config.backbone_lr:.1e}")
    values = {"mixup": config.mixup, "cutmix": config.cutmix, "drop-path": config.drop_path}
    values |= {"light end": config.light_end, "ema": config.ema}
    words += [f"layer decay {config.layer_decay:g}"] if config.layer_decay != 1 else []
    words += [f"{name} {value:g}" for name, value in values.items() if value]
    return ", ".join(words)
