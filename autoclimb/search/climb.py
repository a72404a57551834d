"""The controller: stages ask for trials, the record is consulted first, and the budget decides what runs."""

from collections.abc import Callable, Iterator, Sequence

from autoclimb.budget import SLACK, Clock
from autoclimb.config import Config
from autoclimb.search.capacity import fits_memory
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import asked_cost, ready_seconds, with_kept
from autoclimb.search.retreat import as_run, in_the_plan, instead_of, ruled_out
from autoclimb.search.situation import Situation
from autoclimb.types import Event, History, Tell, Trial

Stage = Callable[[History, Situation], Iterator[list[Config]]]
Run = Callable[[Config, str, float], Trial]  # with the stage and the seconds that the trial is planned to take
Recall = Callable[[Config], Trial | None]
Account = Callable[[str, History, Situation], list[str]]


def follow(
    plan: Sequence[tuple[str, Stage]],
    situation: Situation,
    run: Run,
    recall: Recall,
    clock: Clock,
    reserve: Callable[[], float],
    publish: Callable[[History], None],
    tell: Tell = lambda event: None,
    account: Account = lambda stage, history, situation: [],
) -> tuple[History, bool]:
    """The history of the trials, and whether the plan was completed, that is, nothing was left out for want of time.

    Each config that a stage asks for is recalled if it is on record. Otherwise it is run if its cost, corrected by the
    finished trials, leaves `reserve()` seconds; if it does not, it may run over fewer folds, or for less time.
    `publish` is called after every trial that was run to its end, and `account` after every stage, for lines on the
    worth of the stage's changes. A config asked for twice is run once; a smaller one is run in place of one that fails.
    """
    history = History()
    seen: set[str] = set()
    complete = True
    for name, stage in plan:
        tell(Event("stage", name, {"stage": name}))
        on_record = situation.replays(name)
        for batch in stage(history, situation) if on_record is None else [on_record]:
            waiting = list(batch)
            while waiting:
                config = as_run(waiting.pop(0), history, situation)
                if config.key in seen:
                    continue
                seen.add(config.key)
                trial = recall(config)
                if trial is None and config.train == "net" and ruled_out(config, history):
                    waiting[:0] = filter(None, [in_the_plan(config, history, situation)])
                    continue
                if trial is None and not fits_memory(config, situation, 1.0):  # not even in the smallest batches
                    smaller = in_the_plan(config, history, situation)
                    if smaller is not None:  # without a smaller one it is run, since the estimate is rough
                        waiting[:0] = [smaller]
                        continue
                if trial is None:
                    known = with_kept(history, corrected(history, situation))
                    cost = asked_cost(config, history, known)
                    if not clock.affords(cost, keep=reserve()):
                        complete = False
                        fewer = shortened(config, history, known, clock.left() - reserve(), recall)
                        # a resumed run has other seconds left
                        if fewer is not None and fewer.seconds != config.seconds:
                            json = situation.remember(f"less time for {config.key}", fewer.to_json)
                            fewer = Config.from_json(json)
                        waiting[:0] = filter(None, [fewer])  # it may be on record
                        continue
                    trial = run(config, name, cost)
                    if trial.status == "done":
                        history.add(trial)
                        publish(history)
                        continue
                history.add(trial)
                waiting[:0] = filter(None, [instead_of(trial, history, situation)])
        for line in account(name, history, situation):
            tell(Event("note", line, {"stage": name}))
    return history, complete


def shortened(config: Config, history: History, situation: Situation, seconds: float, recall: Recall) -> Config | None:
    """The config over as many of its folds as fit into `seconds`, or over one for less time; None if too little.

    A run that was killed late in its finalists is continued with less time than they were planned for. A trial over
    fewer folds that is on record, where it took the config's place before, always fits.
    """
    recalled = {trial.key for trial in history.trials}
    for n in range(len(config.folds) - 1, 0, -1):
        fewer = config.vary(folds=config.folds[:n])
        on_record = fewer.key not in recalled and recall(fewer) is not None
        if on_record or asked_cost(fewer, history, situation) <= seconds:
            return fewer
    one = config.vary(folds=config.folds[:1])
    shorter = one.vary(seconds=round(min(0.98 * seconds - 1 - ready_seconds(one, situation), config.seconds), 1))
    worthwhile = shorter.seconds >= SLACK.least_share * config.seconds > 0
    return shorter if worthwhile and asked_cost(shorter, history, situation) <= seconds else None
