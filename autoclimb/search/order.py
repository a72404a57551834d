"""PLAN: the stages in order, by name; OTHERS: the stages of other plans."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.search.climb import Stage
from autoclimb.search.finals import finalists
from autoclimb.search.instead import one_net, random_search
from autoclimb.search.leftover import rest
from autoclimb.search.refine import JOURNAL, refinement
from autoclimb.search.situation import Situation
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


def predicting_test(stage: Stage) -> Stage:
    """The stage, whose nets all predict the test rows, those too that it makes of nets that were only compared."""

    @wraps(stage)
    def asked(history: History, s: Situation) -> Iterator[list[Config]]:
        for batch in stage(history, replace(s, finalists_follow=False)):
            yield [config.vary(predict_test=True) for config in batch]

    return asked


def plan_of(
    plan: Sequence[str | Stage | tuple[str, Stage]] | None, folder: Path | None = None
) -> list[tuple[str, Stage]]:
    """The stages to run as (name, stage): PLAN, or the user's names and functions in their order.

    With a `folder` the refinement writes its journal there. Nets predict the test rows in the user's own stages, and
    where no finalists follow the search. Raises Mistake for an unknown name.
    """
    stages: list[tuple[str, Stage]] = []
    plan = plan if plan is not None else list(PLAN)
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
            stages.append((entry, predicting_test(stage) if entry in answering else stage))
        elif isinstance(entry, tuple):
            stages.append((entry[0], predicting_test(entry[1])))
        elif callable(entry):
            stages.append((getattr(entry, "__name__", "stage"), predicting_test(entry)))
        else:
            raise Mistake(f"plan holds {entry!r}; give names of stages or functions (history, situation) -> batches")
    return stages
