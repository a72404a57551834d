"""PLAN: the stages in order, by name; OTHERS: the stages of other plans."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from autoclimb.errors import Mistake
from autoclimb.search.climb import Stage
from autoclimb.search.finals import finalists
from autoclimb.search.instead import one_net, random_search
from autoclimb.search.leftover import rest
from autoclimb.search.refine import JOURNAL, refinement
from autoclimb.search.stages import augmentation, backbone, baseline, loss, resize
from autoclimb.search.students import one_student, teaching_finalists

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


def plan_of(
    plan: Sequence[str | Stage | tuple[str, Stage]] | None, folder: Path | None = None
) -> list[tuple[str, Stage]]:
    """The stages to run as (name, stage): PLAN, or the user's names and functions in their order.

    With a `folder` the refinement writes its journal there. Raises Mistake for an unknown name.
    """
    stages: list[tuple[str, Stage]] = []
    plan = plan if plan is not None else list(PLAN)
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
            stages.append((entry, stage))
        elif isinstance(entry, tuple):
            stages.append(entry)
        elif callable(entry):
            stages.append((getattr(entry, "__name__", "stage"), entry))
        else:
            raise Mistake(f"plan holds {entry!r}; give names of stages or functions (history, situation) -> batches")
    return stages
