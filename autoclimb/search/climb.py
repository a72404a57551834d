"""The controller: stages ask, the budget answers, the record is asked before anything runs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from autoclimb.clock import Clock
from autoclimb.search.cost import cost_of
from autoclimb.types import Config, Event, History, Tell, Trial

Stage = Callable[[History, Any], Iterator[list[Config]]]
Run = Callable[[Config, str], Trial]
Recall = Callable[[Config], Trial | None]


def follow(
    plan: Sequence[tuple[str, Stage]],
    situation: Any,
    run: Run,
    recall: Recall,
    clock: Clock,
    reserve: Callable[[], float],
    publish: Callable[[History], None],
    tell: Tell = lambda event: None,
) -> tuple[History, bool]:
    """What was tried, and whether the plan was exhausted before the budget.

    For each stage in turn, each config it asks for is recalled if it is on record, otherwise run if its cost still
    leaves `reserve()` seconds; `publish` is called after every finished trial. A config asked for twice is run once.
    """
    history = History()
    seen: set[str] = set()
    whole = True
    for name, stage in plan:
        tell(Event("stage", name, {"stage": name}))
        for batch in stage(history, situation):
            for config in batch:
                if config.key in seen:
                    continue
                seen.add(config.key)
                trial = recall(config)
                if trial is None:
                    cost = cost_of(config, situation)
                    if not clock.affords(cost, keep=reserve()):
                        whole = False
                        continue
                    trial = run(config, name)
                    if trial.status == "done":
                        history.add(trial)
                        publish(history)
                        continue
                history.add(trial)
    return history, whole
