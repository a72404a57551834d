"""A run's climb: its plan followed until it is completed or the budget ends, and the seconds that deciding took."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from autoclimb.budget import Stopwatch
from autoclimb.run import store
from autoclimb.run.answers import publish
from autoclimb.run.decoded import OutOfTime
from autoclimb.run.setup import Setup
from autoclimb.run.trials import run_trial
from autoclimb.search.climb import Stage, follow
from autoclimb.search.situation import Situation
from autoclimb.search.steering import notes_after
from autoclimb.types import Event


def follow_plan(setup: Setup, situation: Situation, plan: Sequence[tuple[str, Stage]]) -> bool:
    """Whether the plan was completed; trials that were finished before the budget ended are blended all the same."""
    clock, completed = setup.clock, False
    other = Stopwatch(clock)
    begun = clock.spent()
    with suppress(OutOfTime):
        _, completed = follow(
            plan,
            replace(
                situation,
                measure=other.on(situation.measure),
                reading=other.on(situation.reading),
                prepare=other.on(situation.prepare),
            ),
            other.on(partial(run_trial, setup)),
            partial(store.recall_trial, setup.folder),
            clock,
            setup.reserve,
            other.on(partial(publish, setup, own_scores={})),
            setup.tell,
            notes_after,
        )
    tell_deciding(setup, clock.spent() - begun - other.seconds())
    return completed


def tell_deciding(setup: Setup, seconds: float) -> None:
    """Records and tells the seconds that the controller took to decide on trials, those of earlier calls included."""
    seconds += store.read_run(setup.folder).get("deciding", 0.0)
    store.update_run(setup.folder, setup.clock, deciding=round(seconds, 2))
    share = seconds / setup.clock.budget
    setup.tell(Event("note", f"deciding on trials took {seconds:.1f} s, {share:.1%} of the budget"))
