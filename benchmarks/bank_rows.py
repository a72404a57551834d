"""The rows of a bank: the configs that are recorded of a set, the most important first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lab import FOLDS
from recordings import Record
from speeds import PROCESSOR

from autoclimb import Config, History, Metric, SearchSpace, Situation, Task, Trial
from autoclimb.budget import in_words, seconds_of
from autoclimb.data.facts import plan_facts
from autoclimb.dry_run import situation_on
from autoclimb.search.fidelity import epochs_for, with_top
from autoclimb.search.frozen import FROM_HAND, frozen_net, plain_features
from autoclimb.search.nets import deeper_top_of, from_box
from autoclimb.search.portfolio import tta_for
from autoclimb.search.rehearsal import on_its_own_clock
from autoclimb.search.starting import base_policy, candidates

EVERY = tuple(range(FOLDS))
# Lengths, in epochs that are worth training at least (the level "enough"): plans and `fixed` ask for 1.1 to 1.9 times
# as many at 5 and 10 minutes, for 1.2 (whole nets of many rows) to 3.8 at 30. Whole nets get BRIEF ones at ten.
BRIEF, SHORT, LONG = 0.75, 1.25, 2.5
MONTH = 30 * 86400.0  # a budget that holds every recording


def situation_for(task: Task, metric: Metric) -> Situation:
    """The facts that plans of the set on two cores depend on, with a dry run's speeds."""
    facts = plan_facts(task, metric)
    changing = {"budget": seconds_of("2h"), "seed": 0, "space": SearchSpace()}
    return situation_on(
        PROCESSOR, hub=False, pretrained=True, **facts, **changing, rows=len(task.train_ids), folds=FOLDS
    )


def rows(s: Situation, records: Sequence[Record]) -> Iterator[Config]:
    """The configs of a set's bank, the most important first.

    They are what plans of 5 minutes to 2 hours ask for, and `fixed` and random search. Nets follow what the `records`
    of hand-made features say of mirrored pictures, as a plan's do: so these must be recorded by then.
    """
    yield from features(s)
    history = History([Trial(r.config, "bank", "done", 0.0, 0.0, 0.0, facts=r.facts) for r in records])
    yield from nets(s, base_policy(history))


def features(s: Situation) -> Iterator[Config]:
    """Frozen features: hand-made ones; each net's under both heads, and of larger pictures."""
    fast, good = (plain_features(s).vary(backbone=name) for name in FROM_HAND[::-1])
    small, large = ([frozen_net(row, size, s, tta="flip") for size in (128, 160, 224)] for row in from_box())
    yield from (good, small[0], large[0], large[0].vary(head="linear"), *large[1:])
    yield from (fast, small[0].vary(head="linear"), *small[1:])


def nets(s: Situation, policy: str) -> Iterator[Config]:
    """Nets: tops and whole ones of the box, and from scratch, at two lengths; then seeds and changes.

    Tops and nets from scratch are varied by `policy`, whole nets by flips, as `fixed` has them, but for one: a plan
    trains whole nets in hours only.
    """

    def varied(net: Config, policy: str) -> Config:
        return net.vary(policy=policy, tta=tta_for(policy, s.space), folds=EVERY)

    def trained(net: Config, size: int, times: float, **changes: Any) -> Config:
        return net.vary(size=size, epochs=round(times * epochs_for("enough", net, s), 1), **changes)

    small, large = candidates(s)
    tops = [with_top(varied(net, policy), s) for net in (large, small)]
    scratch = varied(candidates(replace(s, pretrained=()))[0], policy)
    flipped, larger = varied(small, "flip"), varied(large, "flip")
    base, from_nothing = trained(flipped, 128, SHORT), trained(scratch, 64, LONG)

    def tops_at(size: int, times: float, **changes: Any) -> Iterator[Config]:
        return (trained(top, size, times, **changes) for top in tops if top is not None)

    yield from tops_at(160, SHORT)
    yield from (base, from_nothing, trained(flipped, 128, BRIEF))
    yield from (top.vary(top=deeper_top_of(top.backbone)) for top in tops_at(160, SHORT))
    yield trained(larger, 160, SHORT)
    yield from (*tops_at(224, LONG), trained(larger, 160, LONG), *tops_at(128, SHORT), *tops_at(224, SHORT))
    yield from (trained(flipped, 96, SHORT), trained(scratch, 64, SHORT), *tops_at(160, SHORT, seed=1))
    yield from (varied(base, "trivial"), base.vary(mixup=0.3), varied(base, "affine"))
    yield from (base.vary(seed=1), from_nothing.vary(seed=1))
    yield from (top.vary(top=deeper_top_of(top.backbone)) for top in tops_at(224, LONG))
    yield trained(varied(small, policy), 160, LONG)
    yield from (base.vary(cutmix=1.0), varied(base, "medium"))
    yield from (trained(scratch, 128, SHORT), trained(larger, 224, LONG))


def planned(s: Situation, configs: Sequence[Config]) -> Iterator[str]:
    """A line for each config and the seconds that it is planned to take, and one for all of them."""
    lines: list[str] = []

    def play(config: Config, stage: str, seconds: float, s: Situation) -> Trial:
        lines.append(f"{words_of(config)}: {in_words(seconds)}")
        return Trial(config, stage, "done", 0.0, 0.0, seconds)

    def stage(history: History, s: Situation) -> Iterator[list[Config]]:
        yield from ([config] for config in configs)

    _, seconds = on_its_own_clock(replace(s, budget=MONTH), PROCESSOR.cores, [("record", stage)], play)
    yield from lines
    yield f"{len(lines)} trials, with storing features and decoding {in_words(seconds)}"


def words_of(config: Config) -> str:
    """The config in a few words."""
    if config.train == "features":
        return f"features of {config.backbone}@{config.size}, {config.head}"
    part = f"{config.top} stages of " if config.top else "" if config.weights else "from scratch "
    mixing = "".join(f", {name} {value:g}" for name in ("mixup", "cutmix") if (value := getattr(config, name)))
    seed = f", seed {config.seed}" if config.seed else ""
    return f"{part}{config.backbone}@{config.size}, {config.policy}{mixing}{seed}, {config.epochs:g} epochs"
