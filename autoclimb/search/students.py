"""Students: the best finalist's net again, which also learns the finalists' predictions for pictures without labels.

The stage is not in order.PLAN: a plan that names it gets it, and finalists that leave time for it. The blend decides
by its cross-fitted score whether a student is of use.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from autoclimb.config import Config
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import with_kept
from autoclimb.search.fidelity import (
    epochs_in,
    epochs_paid,
    final_seconds,
    fold_seconds,
    folds_of,
    sound_at_its_size,
)
from autoclimb.search.finals import LONG_RECIPE, finalists, finals_of, long_recipe, most_epochs, usable
from autoclimb.search.frozen import of_nets
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.search.starting import base_config
from autoclimb.types import History, Trial

LEAST = 0.9  # share of sound epochs that a student needs, a little less than planned for when finalists were chosen
FEWEST_OTHERS = 0.2  # test pictures per train picture of a fold, below which a student learns little (own choice)
MOST_TEACHERS = 3  # own choice


@of_nets
def teaching_finalists(history: History, s: Situation) -> Iterator[list[Config]]:
    """The finalists, in a part of the time where a student is to follow them, else in all of it."""
    share = teachers_share(s)
    return finalists(history, replace(s, left=lambda: share * s.left()) if worth_teaching(history, s) else s)


def teachers_share(s: Situation) -> float:
    """The finalists' share of the time, which leaves a student as many epochs as one of them; its epochs are longer."""
    labelled = rows_of_fold(s)
    taught = Config(teachers=("a net",)).taught_share(labelled, s.answered + s.rows - labelled)
    return (1 - taught) / (2 - taught)


def worth_teaching(history: History, s: Situation) -> bool:
    """Whether there are test pictures enough to teach on, and time to train teachers and a student soundly."""
    if s.answered < FEWEST_OTHERS * rows_of_fold(s):
        return False
    base = base_config(history, s)
    paid = epochs_paid(teachers_share(s) * final_seconds(s), base, s)
    return base.tta != "auto" and paid >= sound_at_its_size(base, s)


def one_student(history: History, s: Situation) -> Iterator[list[Config]]:
    """One student over all folds, where the time left is enough for sound training."""
    row = s.remember("students", partial(decide_student, history, s))
    if row is not None:
        yield [Config.from_json(row)]


def decide_student(history: History, s: Situation) -> dict[str, Any] | None:
    """The best finalist's config with teachers in the time left, as json; None where a student is not worth it."""
    s = with_kept(history, corrected(history, s))
    finals = teachers_in(history, s)
    if not finals or s.answered < FEWEST_OTHERS * rows_of_fold(s):
        return None
    best = finals[0].config
    s.prepare(best)
    share = usable(s, best.vary(seed=best.seed + 1)) / len(best.folds)
    student = best.vary(teachers=tuple(t.config.nets_key for t in finals), seed=best.seed + 1)
    student = noisy(student, share, s)
    seconds = min(share, fold_seconds(most_epochs(student, s), student, s))
    if epochs_in(seconds, student, s) < LEAST * sound_at_its_size(student, s):
        return None
    return student.vary(seconds=round(seconds, 1)).to_json()


def teachers_in(history: History, s: Situation) -> list[Trial]:
    """The finalists over all folds within two standard errors of the best, best first.

    Those whose views were chosen on held-out rows are left out, since their predictions depend on those rows' labels.
    """
    every = tuple(range(folds_of(s)))
    finals = [t for t in finals_of(history, s) if t.config.folds == every and t.config.predict_test]
    finals = [t for t in finals if t.config.tta != "auto"]
    return [t for t in finals if t.score > finals[0].score - 2 * finals[0].stderr][:MOST_TEACHERS]


def noisy(student: Config, seconds: float, s: Situation) -> Config:
    """The student with the augmentation of a long recipe where its epochs allow that, else with its teacher's."""
    free = not (s.space.names() or student.top)
    return long_recipe(student, s) if free and epochs_in(seconds, student, s) >= LONG_RECIPE else student
