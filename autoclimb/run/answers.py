"""The submissions of a run: a constant one first, blends as trials predict test rows, and the last in depth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from autoclimb.arrays import LabelSets, View, predicted_rows
from autoclimb.blend.blenders import BLENDERS
from autoclimb.blend.choose import blend_of
from autoclimb.blend.grouped import by_group
from autoclimb.budget import SLACK, Clock, in_words, seconds_after_last_blend, seconds_for_report
from autoclimb.deadlines import outcome_of, outcome_within
from autoclimb.errors import no_room
from autoclimb.report.submission import constant_prediction, write_submission
from autoclimb.report.words import counted, give_or_take
from autoclimb.run import store
from autoclimb.run.cards import write_card
from autoclimb.run.gallery import fill_gallery, forget_gallery
from autoclimb.run.reporting import for_gallery, has_record, record_of, report_in_time
from autoclimb.run.result import Run, open_run
from autoclimb.run.setup import Setup
from autoclimb.score.crossfit import rule_of
from autoclimb.score.decide import MOST_LEARNED, learn_rule
from autoclimb.score.priors import LabelShift, label_shift
from autoclimb.score.rules import answer
from autoclimb.seeds import some_of
from autoclimb.types import Blend, Event, Goal, History, Metric, Rule, Task, Tell, Trial

# LightGBM's import alone takes seconds
FAST_BLENDERS = ("constant", "best", "mean", "greedy", "linear", "linear+metadata")
UNSTACKED = tuple(name for name in BLENDERS if name != "linear")  # the only stacker that a quick blend tries
TRAIN_SHARES = "submission-train-shares.csv"
MOST_SHIFTED = 3  # classes that a note names
TOO_LARGE = "there is too little memory to blend the trials"
UNBLENDED = "the budget ended before the finished trials were blended: give more time"
OUT_OF_TIME = "the budget ended before anything was learnt: give more time"


def publish_constant(task: Task, goal: Goal, folder: Path, rows: np.ndarray | None = None) -> None:
    """Writes a submission with the same answer for every row, learned from the train `rows` (by default all)."""
    if not task.test_ids:
        return
    rows = np.arange(len(task.target)) if rows is None else rows
    p = constant_prediction(task, rows, goal.metric.constant)
    sample = rows[some_of(len(rows), max(1, MOST_LEARNED // task.width), "constant")]
    rule = learn_rule(goal, task.truth[sample], np.repeat(p[:1], len(sample), 0))
    (constant,) = answer(rule, p[:1])
    answers = np.broadcast_to(constant, (len(p), *np.shape(constant)))
    write_submission(task, answers, folder / store.SUBMISSION, goal.metric, p)


def publish(setup: Setup, history: History, own_scores: dict[tuple[str, str], float] | None = None) -> None:
    """Blends the trials so far, quickly, and replaces the submission; `own_scores` is the memory of `blend_of`.

    A last trial without test predictions changes nothing. Once a blend is on disk, no error here ends the run, whether
    it is a bug or want of memory: it becomes a note.
    """
    start = setup.clock.spent()
    if history.trials and history.trials[-1].status == "done" and not history.trials[-1].config.predict_test:
        limit_nets(setup, store.blend_members(setup.folder))
        return

    def blend_and_deliver() -> Blend:
        blend = blend_trials(setup, quick=True, own_scores=own_scores)
        store.retry_with_room(setup.folder, partial(deliver, setup, blend), blend.members)
        return blend

    blend, error = outcome_of(blend_and_deliver)
    if error is not None:
        if not (isinstance(error, MemoryError) or no_room(error) or store.blend_score(setup.folder) is not None):
            raise error
        setup.tell(blend_failure(error, "", "the submission stays as it was"))
    if blend is None:
        return
    seconds = setup.clock.spent() - start
    store.update_run(setup.folder, setup.clock, quick_blend=round(0.5 * setup.quick_blend() + 0.5 * seconds, 3))
    limit_nets(setup, blend.members)


def limit_nets(setup: Setup, members: Sequence[str]) -> None:
    """Deletes nets that exceed their disk, but none of the blend's `members`; tells once if those alone exceed it."""
    size, limit = store.limit_weights(setup.folder, set(members), setup.nets_limit), setup.nets_limit
    if size > limit and not store.read_run(setup.folder).get("nets_over_limit"):
        store.update_run(setup.folder, setup.clock, nets_over_limit=True)
        setup.tell(Event("note", f"the blend's nets take {size / 1e9:.1f} GB, over nets_gb={limit / 1e9:g}"))


def blend_trials(setup: Setup, quick: bool, own_scores: dict[tuple[str, str], float] | None = None) -> Blend:
    """The blend of every trial on disk, including those of earlier calls; drawn to group means where that helps."""
    short = setup.clock.budget < (SLACK.stacking_from if quick else SLACK.boosting_from)
    allow = (UNSTACKED if quick else FAST_BLENDERS) if short else None
    blend = blend_of(store.all_trials(setup.folder), setup.train, allow=allow, quick=quick, own_scores=own_scores)
    return by_group(blend, setup.train, setup.task.test_groups)


def deliver(setup: Setup, blend: Blend, shift: LabelShift | None = None) -> None:
    """Writes the blend's answers and records the blend.

    With a `shift` the submission allows for other shares of the classes in the test rows; the answers that do not are
    written beside it, to TRAIN_SHARES.
    """
    task, metric = setup.task, setup.goal.metric
    rule = rule_of(setup.train, blend.oof)
    path, plain = setup.folder / store.SUBMISSION, setup.folder / TRAIN_SHARES
    if shift is None:
        write_answers(setup, rule, blend.test, path)
        plain.unlink(missing_ok=True)
    else:
        write_answers(setup, rule, blend.test, plain)
        write_answers(setup, shift.rule, shift.corrected(blend.test), path)
        setup.tell(Event("note", shift_words(shift, task, setup.rows)))
    store.save_blend(setup.folder, blend, rule.to_json())
    value = metric.shown(blend.score)
    facts = {"best": value, "best_stderr": blend.stderr, "submission": str(path) if task.test_ids else ""}
    text = f"blend of {len(blend.members)}: {metric.name} {give_or_take(value, blend.stderr)} out of fold"
    setup.tell(Event("blend", text, facts))


def write_answers(setup: Setup, rule: Rule, test: np.ndarray, path: Path) -> None:
    """Writes the rule's answers to test predictions `(M, C)`, the constant one for pictures that cannot be read."""
    task, metric = setup.task, setup.goal.metric
    unread = np.isin(task.test_ids, task.unreadable_test)
    if unread.any():
        test = np.array(test)
        test[unread] = constant_prediction(task, setup.rows, metric.constant)[unread]
    write_submission(task, answer(rule, test), path, metric, test)


def shift_of(setup: Setup, blend: Blend) -> LabelShift | None:
    """The shift of the test rows' classes, where the evidence for one is beyond doubt and the user allows for it."""
    task, rows = setup.task, np.flatnonzero(predicted_rows(blend.oof) & (setup.fold_of >= 0))
    if not setup.label_shift or task.soft is not None or isinstance(task.target, LabelSets):
        return None
    groups = None if task.groups is None else task.groups[rows]
    readable = np.flatnonzero(~np.isin(task.test_ids, task.unreadable_test))
    return label_shift(setup.goal, task.target[rows], View(blend.oof, rows), View(blend.test, readable), groups)


def shift_words(shift: LabelShift, task: Task, rows: np.ndarray) -> str:
    """The shift for people: which classes differ most, what that gains, and where the answers without it are."""
    train_shares = np.bincount(task.target[rows], minlength=task.width) / len(rows)
    most = np.argsort(-np.abs(shift.shares - train_shares))[:MOST_SHIFTED]
    classes = ", ".join(f"{task.classes[c]} {shift.shares[c]:.1%} instead of {train_shares[c]:.1%}" for c in most)
    gain = give_or_take(abs(shift.gain), shift.stderr)
    return (
        f"Classes are not as frequent in the test set as in train rows ({classes}): the submission allows for that, "
        f"which gains {gain} on train rows drawn with these shares; the score is for the train rows' own shares, and "
        f"{TRAIN_SHARES} holds the answers for them (--no-label-shift)"
    )


def finish(setup: Setup, plan_ended: bool, hindrance: str = "") -> Run:
    """The finished run: blended in depth if there is time for it, else with the last quick blend.

    A `hindrance` says why nothing more can be trained; the run then counts as ended early, so that the same command
    continues it.
    """
    trials = store.all_trials(setup.folder)
    done = [trial for trial in trials if trial.status == "done"]
    if not done:
        return finish_without(setup.folder, setup.goal.metric, setup.clock, setup.tell, failure_reasons(trials))
    clock = setup.clock
    if hindrance or not for_gallery(seconds_for_report(clock.budget) / 2):  # the other half goes to tables and charts
        setup.worker.end()
    if not deliver_last_blend(setup):
        return finish_without(setup.folder, setup.goal.metric, clock, setup.tell, TOO_LARGE)
    blend = open_run(setup.folder, setup.goal.metric).finished_blend()
    store.forget_weights(setup.folder, set(blend.members))
    why = "the plan is exhausted" if plan_ended and clock.left() > 0.1 * clock.budget else "the budget is used"
    why = f"no more can be trained: {hindrance}" if hindrance else why
    blend_words = f"{counted(len(done), 'trial')}, {blend.method} of {len(blend.members)}"
    words = f"{blend_words}, {in_words(clock.spent())}: {why}"
    store.update_run(setup.folder, clock, finished=True, ended_early=bool(hindrance), words=words)
    run = open_run(setup.folder, setup.goal.metric)
    setup.tell(Event("done", "", {"submission": str(run.submission) if setup.task.test_ids else ""}))
    forget_gallery(setup.folder)
    record = cache(partial(record_of, run))  # read once, for the card and the report
    write_card(run.folder, record, clock.left(), setup.tell)
    report_in_time(run, clock, setup.tell, None if hindrance else partial(fill_gallery, setup), record)
    return run


def deliver_last_blend(setup: Setup) -> bool:
    """Blends in depth and delivers it in the time before the report; False where no blend is on disk afterwards.

    Where there is no time or memory for it, the quick blend on disk stands; a bug is raised only where there is none.
    """
    clock, folder = setup.clock, setup.folder
    reserve = seconds_after_last_blend(clock.budget) + seconds_for_report(clock.budget)
    blend, error = outcome_within(clock.left() - reserve, lambda: blend_trials(setup, quick=False))
    if error is not None:
        if not isinstance(error, MemoryError) and store.read_blend(folder) is None:
            raise error
        setup.tell(blend_failure(error, " in depth", "the quick blend stands"))
    if blend is None and store.read_blend(folder) is None:  # every trial was recalled, so none was blended yet
        try:
            blend = blend_trials(setup, quick=True)
        except MemoryError:
            return False
    if blend is None:
        return True
    shift, error = outcome_within(clock.left() - reserve, partial(shift_of, setup, blend))
    if error is not None:
        text = f"the shares of classes in the test set could not be estimated ({type(error).__name__}: {error})"
        setup.tell(store.failure_note(text, error))
    try:
        store.retry_with_room(folder, partial(deliver, setup, blend, shift), blend.members)
    except MemoryError as error:
        if store.read_blend(folder) is None:
            return False
        setup.tell(blend_failure(error, " in depth", "the quick blend stands"))
    return True


def blend_failure(error: BaseException, depth: str, outcome: str) -> Event:
    """A note on why trials were not blended (`depth` is " in depth" or ""), and what stands instead."""
    why = TOO_LARGE if isinstance(error, MemoryError) else f"blending failed with {type(error).__name__}"
    return store.failure_note(f"{'the disk is full' if no_room(error) else why}{depth} ({error}); {outcome}", error)


def publish_unblended(setup: Setup) -> None:
    """Blends trials that a killed run had finished but not blended, and replaces the submission.

    This comes before anything that takes time, so that these trials count even if the budget ends before the run is
    ready to continue. It may take all the time that is left, and at least the time that every run reserves for a blend.
    """
    if len(setup.fold_of) != len(setup.task.train_ids) or not store.has_unblended(setup.folder):
        return
    recorded = replace(setup, task=task_on_record(setup.task, setup.folder))
    least = SLACK.quick_blends_at_least * setup.quick_blend()
    seconds = max(setup.clock.left() - SLACK.record_at_least, least)
    blend, error = outcome_within(seconds, partial(blend_trials, recorded, quick=True))
    if blend is not None:
        delivery = partial(deliver, recorded, blend)
        _, error = outcome_of(partial(store.retry_with_room, setup.folder, delivery, blend.members))
    if error is not None:  # the run continues, and the next trial is blended with these
        setup.tell(blend_failure(error, "", "the submission stays as it was"))


def task_on_record(task: Task, folder: Path) -> Task:
    """The task with the facts that the run recorded of its pictures: unreadable test pictures, and groups."""
    groups = store.read_groups(folder)
    return replace(
        task,
        unreadable_test=tuple(store.read_run(folder).get("unreadable_test", ())),
        groups=task.groups if groups is None else groups,
    )


def finish_without(folder: Path, metric: Metric, clock: Clock, tell: Tell, why: str = OUT_OF_TIME) -> Run:
    """The run, ended without a finished trial or in the middle of something, with the reason `why` on record.

    The submission on disk stands.
    """
    if store.blend_score(folder) is None:
        unblended = any(trial.status == "done" for trial in store.all_trials(folder))  # killed before it was blended
        why = UNBLENDED if unblended and why == OUT_OF_TIME else why
        tell(Event("note", f"{why}; the submission is a constant"))
        words = why if unblended else f"nothing was learnt: {why}"
    else:
        words = "the budget ended before the search did"
    store.update_run(folder, clock, finished=True, words=words)
    run = open_run(folder, metric)
    if has_record(folder):
        report_in_time(run, clock, tell)
    return run


def failure_reasons(trials: list[Trial]) -> str:
    """The reasons why no trial was finished, the commonest first."""
    notes = Counter(trial.note for trial in trials if trial.status == "failed")
    if not notes:
        return OUT_OF_TIME
    reasons = "; ".join(f"{note} ({count} times)" if count > 1 else note for note, count in notes.most_common(3))
    return f"no net could be trained: {reasons}"
