"""PLAN: the stages in order, by name; OTHERS: the stages of other plans."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.search.climb import Stage
from autoclimb.search.finals import finalists
from autoclimb.search.instead import one_net, random_search
from autoclimb.search.leftover import rest
from autoclimb.search.refine import JOURNAL, refinement
from autoclimb.search.situation import Situation
from autoclimb.search.space import LEAST, too_small
from autoclimb.search.stages import SEARCHING, augmentation, backbone, baseline, loss, resize
from autoclimb.search.students import one_student, teaching_finalists
from autoclimb.types import History

PLAN: dict[str, Stage] = {
    "baseline": baseline,
    "resize": resize,
    "augmentation": augmentation,
    "backbone": backbone,
    "loss": loss,
    "refine": refinement,
    "finalists": finalists,
    "rest": rest,
}
OTHERS: dict[str, Stage] = {"students": one_student, "one-net": one_net, "random": random_search}


def predicting_test(stage: Stage, name: str) -> Stage:
    """The stage, whose nets all predict the test rows, those too that it makes of nets that were only compared.

    It raises Mistake for whatever cannot be a trial.
    """

    @wraps(stage)
    def asked(history: History, s: Situation) -> Iterator[list[Config]]:
        batches = stage(history, replace(s, finalists_follow=False))
        for batch in _listed(batches, f"stage {name} returned"):
            configs = list(_listed(batch, f"stage {name} yielded"))
            for config in configs:
                _check_config(config, name, s)
            yield [config.vary(predict_test=True) for config in configs]

    return asked


def _listed(values: Any, what: str) -> Iterable[Any]:
    """What a stage gave, where it can be gone through; raises Mistake where it cannot."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise Mistake(f"{what} {_shown(values)}; write a generator that yields lists of Configs")
    return values


def _check_config(config: Any, name: str, s: Situation) -> None:
    """Raises Mistake where a stage asks for something that no trial can be made of, whatever its nets."""
    if not isinstance(config, Config):
        raise Mistake(
            f"stage {name} yielded a list of {_shown(config)}; write a generator that yields lists of Configs"
        )
    if not (isinstance(config.folds, tuple) and config.folds and set(config.folds) <= set(range(s.folds))):
        raise Mistake(f"stage {name} asks for folds={config.folds!r}; this run has {tuple(range(s.folds))}")
    if wrong := too_small({field: getattr(config, field) for field in LEAST}):
        raise Mistake(f"stage {name} asks for {wrong}")
    if config.train == "net" and not (config.seconds or config.epochs):
        raise Mistake(f"stage {name} asks for a net without a length; give its Config seconds of a fold, or epochs")


def _shown(value: Any) -> str:
    return "a Config" if isinstance(value, Config) else f"{value!r:.60}"


def plan_of(
    plan: Sequence[str | Stage | tuple[str, Stage]] | None, folder: Path | None = None
) -> list[tuple[str, Stage]]:
    """The stages to run as (name, stage): PLAN, or the user's names and functions in their order.

    With a `folder` the refinement writes its journal there. Nets predict the test rows in the user's own stages, and
    where no finalists follow the search. Raises Mistake for an unknown name, and for what is no stage.
    """
    stages: list[tuple[str, Stage]] = []
    plan = plan if plan is not None else list(PLAN)
    if isinstance(plan, str):
        raise Mistake(f"plan is {plan!r}; give a list of stages, [{plan!r}]")
    search = ("baseline", *SEARCHING)
    after_search = plan[max((i + 1 for i, entry in enumerate(plan) if entry in search), default=0) :]
    names = [entry[0] if isinstance(entry, tuple) else entry for entry in after_search]
    answering = () if "finalists" in names else search
    for entry in plan:
        if isinstance(entry, str):
            menu = PLAN | OTHERS
            if entry not in menu:
                raise Mistake(f"stage {entry!r} is unknown; choose from {', '.join(menu)}, or give a function")
            stage = menu[entry]
            if entry == "refine" and folder is not None:
                stage = partial(refinement, journal=folder / JOURNAL)
            if entry == "finalists" and "students" in plan:
                stage = teaching_finalists
            stages.append((entry, predicting_test(stage, entry) if entry in answering else stage))
        elif isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str) and callable(entry[1]):
            stages.append((entry[0], predicting_test(entry[1], entry[0])))
        elif callable(entry):
            name = getattr(entry, "__name__", "stage")
            stages.append((name, predicting_test(entry, name)))
        else:
            raise Mistake(f"plan holds {entry!r}; give names of stages or functions (history, situation) -> batches")
    return stages
