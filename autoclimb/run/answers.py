"""What a run answers: the constant submission, the blend after every trial, and the last blend in depth."""

from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from autoclimb.arrays import LabelSets, View, predicted_rows
from autoclimb.blend.choose import blend_of
from autoclimb.blend.grouped import by_group
from autoclimb.budget import SLACK, Clock, in_words, seconds_for_report
from autoclimb.errors import no_room
from autoclimb.report.inspection import counted
from autoclimb.report.submission import constant_prediction, write_submission
from autoclimb.run import store
from autoclimb.run.cards import write_card
from autoclimb.run.deadlines import outcome_of, outcome_within
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

QUIET_BLENDERS = ("best", "mean", "greedy", "linear", "linear+metadata")  # lightgbm's import alone costs seconds
PAYS_FOR_LIGHTGBM = 300.0  # seconds of budget from which its import is worth its time; own choice
TRAIN_SHARES = "submission-train-shares.csv"
MOST_SHIFTED = 3  # classes that a note names
TOO_LARGE = "there is too little memory to blend the trials"
UNBLENDED = "the budget ended before the finished trials were blended: give more time"
OUT_OF_TIME = "the budget ended before anything was learnt: give more time"


def publish_constant(task: Task, goal: Goal, folder: Path, rows: np.ndarray | None = None) -> None:
    """Writes a submission of the same answer everywhere, learned from `rows`: valid from the first seconds on."""
    if not task.test_ids:
        return
    rows = np.arange(len(task.target)) if rows is None else rows
    p = constant_prediction(task, rows, goal.metric.constant)
    some = rows[some_of(len(rows), max(1, MOST_LEARNED // task.width), "constant")]
    rule = learn_rule(goal, task.truth[some], np.repeat(p[:1], len(some), 0))
    (one,) = answer(rule, p[:1])
    answers = np.broadcast_to(one, (len(p), *np.shape(one)))
    write_submission(task, answers, folder / "submission.csv", goal.metric, p)


def publish(setup: Setup, history: History, own_scores: dict[tuple[str, str], float] | None = None) -> None:
    """Blends the trials so far, quickly, and replaces the submission; `own_scores` is what `blend_of` keeps of them.

    Once something is blended, what goes wrong here never costs the run, a bug no more than memory: it is a note.
    """
    start = setup.clock.spent()

    def blended_and_delivered() -> Blend:
        blend = blend_trials(setup, quick=True, own_scores=own_scores)
        store.where_room_is_made(setup.folder, partial(deliver, setup, blend), blend.members)
        return blend

    blend, failed = outcome_of(blended_and_delivered)
    if failed is not None:
        if not (isinstance(failed, MemoryError) or no_room(failed) or store.blend_score(setup.folder) is not None):
            raise failed
        setup.tell(Event("note", unblended_words(failed, "", "the submission stays as it was")))
    if blend is None:
        return
    before = store.read_run(setup.folder).get("quick_blend", SLACK.first_quick_blend)
    took = setup.clock.spent() - start
    store.update_run(setup.folder, setup.clock, quick_blend=round(0.5 * before + 0.5 * took, 3))
    size, limit = store.limit_weights(setup.folder, set(blend.members), setup.nets_limit), setup.nets_limit
    if size > limit and not store.read_run(setup.folder).get("nets_over_limit"):
        store.update_run(setup.folder, setup.clock, nets_over_limit=True)
        setup.tell(Event("note", f"the blend's nets take {size / 1e9:.1f} GB, over nets_gb={limit / 1e9:g}"))


def blend_trials(setup: Setup, quick: bool, own_scores: dict[tuple[str, str], float] | None = None) -> Blend:
    """The blend of every trial on disk, those of earlier budgets included; by groups where that helps."""
    task, goal = setup.task, setup.goal
    blend = blend_of(
        store.all_trials(setup.folder),
        goal,
        task.truth,
        setup.fold_of,
        groups=task.groups,
        allow=QUIET_BLENDERS if not quick and setup.clock.budget < PAYS_FOR_LIGHTGBM else None,
        quick=quick,
        metadata=task.metadata,
        own_scores=own_scores,
    )
    if task.groups is None or task.test_groups is None:
        return blend
    return by_group(blend, goal, task.truth, setup.fold_of, task.groups, task.test_groups)


def deliver(setup: Setup, blend: Blend, shift: LabelShift | None = None) -> None:
    """Writes the blend's answers and puts the blend on record.

    Where test classes have other shares, the submission allows for it; beside it lie the answers that do not.
    """
    task, metric = setup.task, setup.goal.metric
    rule = rule_of(setup.goal, task.truth, blend.oof, setup.fold_of, task.groups)
    path, plain = setup.folder / "submission.csv", setup.folder / TRAIN_SHARES
    if shift is None:
        write_answers(setup, rule, blend.test, path)
        plain.unlink(missing_ok=True)
    else:
        write_answers(setup, rule, blend.test, plain)
        write_answers(setup, shift.rule, shift.allowed(blend.test), path)
        setup.tell(Event("note", shift_words(shift, task, setup.rows)))
    store.save_blend(setup.folder, blend, rule.to_json())
    value = metric.shown(blend.score)
    facts = {"best": value, "best_stderr": blend.stderr, "submission": str(path) if task.test_ids else ""}
    text = f"blend of {len(blend.members)}: {metric.name} {value:.4f} ± {blend.stderr:.4f} out of fold"
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
    """What the test rows' classes are shifted by, where that is beyond doubt and the user does not forbid it."""
    task, rows = setup.task, np.flatnonzero(predicted_rows(blend.oof) & (setup.fold_of >= 0))
    if not setup.label_shift or task.soft is not None or isinstance(task.target, LabelSets):
        return None
    groups = None if task.groups is None else task.groups[rows]
    readable = np.flatnonzero(~np.isin(task.test_ids, task.unreadable_test))
    return label_shift(setup.goal, task.target[rows], View(blend.oof, rows), View(blend.test, readable), groups)


def shift_words(shift: LabelShift, task: Task, rows: np.ndarray) -> str:
    """What is different, what is done about it and where the answers without that are."""
    before = np.bincount(task.target[rows], minlength=task.width) / len(rows)
    most = np.argsort(-np.abs(shift.shares - before))[:MOST_SHIFTED]
    classes = ", ".join(f"{task.classes[c]} {shift.shares[c]:.1%} instead of {before[c]:.1%}" for c in most)
    gain = f"{abs(shift.gain):.4f} ± {shift.stderr:.4f}"
    return (
        f"Classes are not as frequent in the test set as in train rows ({classes}): the submission allows for that, "
        f"worth {gain} on train rows drawn alike; the score is for the train rows' shares, and {TRAIN_SHARES} holds "
        "the answers for them (--no-label-shift)"
    )


def finish(setup: Setup, plan_ended: bool, hindrance: str = "") -> Run:
    """The run, after a last blend in depth if there is time for it; the quick one stands otherwise.

    With a `hindrance` to training anything the run ends early: the same command goes on with it, budget or no.
    """
    trials = store.all_trials(setup.folder)
    done = [trial for trial in trials if trial.status == "done"]
    if not done:
        return finish_without(setup.folder, setup.goal.metric, setup.clock, setup.tell, why_nothing(trials))
    clock = setup.clock
    if hindrance or not for_gallery(seconds_for_report(clock.budget) / 2):  # the other half goes to tables and charts
        setup.worker.end()
    keep = min(SLACK.after_last_blend, SLACK.share_after_last_blend * clock.budget)
    keep += seconds_for_report(clock.budget)
    blend, failed = outcome_within(clock.left() - keep, lambda: blend_trials(setup, quick=False))
    if failed is not None:
        if not isinstance(failed, MemoryError) and store.read_blend(setup.folder) is None:
            raise failed
        setup.tell(Event("note", unblended_words(failed, " in depth", "the quick blend stands")))
    if blend is None and store.read_blend(setup.folder) is None:  # everything was recalled and nothing blended yet
        try:
            blend = blend_trials(setup, quick=True)
        except MemoryError:
            return finish_without(setup.folder, setup.goal.metric, clock, setup.tell, TOO_LARGE)
    if blend is not None:
        shift, failed = outcome_within(clock.left() - keep, partial(shift_of, setup, blend))
        if failed is not None:
            text = f"whether test classes have other shares could not be told ({type(failed).__name__}: {failed})"
            setup.tell(Event("note", text))
        try:
            store.where_room_is_made(setup.folder, partial(deliver, setup, blend, shift), blend.members)
        except MemoryError as error:
            if store.read_blend(setup.folder) is None:
                return finish_without(setup.folder, setup.goal.metric, clock, setup.tell, TOO_LARGE)
            setup.tell(Event("note", unblended_words(error, " in depth", "the quick blend stands")))
    run = open_run(setup.folder, setup.goal.metric)
    assert run.blend is not None
    store.forget_weights(setup.folder, set(run.blend.members))
    why = "the plan is exhausted" if plan_ended and clock.left() > 0.1 * clock.budget else "the budget is used"
    why = f"no more can be trained: {hindrance}" if hindrance else why
    how = f"{counted(len(done), 'trial')}, {run.blend.method} of {len(run.blend.members)}"
    words = f"{how}, {in_words(clock.spent())}: {why}"
    store.update_run(setup.folder, clock, finished=True, ended_early=bool(hindrance), words=words)
    setup.tell(Event("done", "", {"submission": str(run.submission) if setup.task.test_ids else ""}))
    run = open_run(setup.folder, setup.goal.metric)
    forget_gallery(setup.folder)
    record = cache(partial(record_of, run))  # read once, for both
    write_card(run.folder, record, clock.left(), setup.tell)
    report_in_time(run, clock, setup.tell, None if hindrance else partial(fill_gallery, setup), record)
    return run


def unblended_words(error: BaseException, how: str, outcome: str) -> str:
    """Why trials were not blended, and what stands instead."""
    why = TOO_LARGE if isinstance(error, MemoryError) else f"blending failed with {type(error).__name__}"
    return f"{'the disk is full' if no_room(error) else why}{how} ({error}); {outcome}"


def publish_unblended(setup: Setup) -> None:
    """Blends trials that a killed run had finished but not blended, and replaces the submission.

    It is done before anything that takes time: where the budget ends before the run is ready to go on, they are
    answered. That may take all that is left, and where next to nothing is left what every run keeps for a blend.
    """
    if len(setup.fold_of) != len(setup.task.train_ids) or not store.has_unblended(setup.folder):
        return
    known = replace(setup, task=task_on_record(setup.task, setup.folder))
    quick_blend = store.read_run(setup.folder).get("quick_blend", SLACK.first_quick_blend)
    least = SLACK.quick_blends_at_least * quick_blend
    seconds = max(setup.clock.left() - SLACK.record_at_least, least)
    blend, failed = outcome_within(seconds, partial(blend_trials, known, quick=True))
    if blend is not None:
        delivery = partial(deliver, known, blend)
        _, failed = outcome_of(partial(store.where_room_is_made, setup.folder, delivery, blend.members))
    if failed is not None:  # the run goes on, and the next trial is blended with these
        setup.tell(Event("note", unblended_words(failed, "", "the submission stays as it was")))


def task_on_record(task: Task, folder: Path) -> Task:
    """The task with what the run learnt of its pictures before: unreadable test ones, and groups that they showed."""
    groups = folder / "groups.npy"
    return replace(
        task,
        unreadable_test=tuple(store.read_run(folder).get("unreadable_test", ())),
        groups=np.load(groups, allow_pickle=False) if groups.exists() else task.groups,
    )


def finish_without(folder: Path, metric: Metric, clock: Clock, tell: Tell, why: str = OUT_OF_TIME) -> Run:
    """Ends a run without a finished trial, or whose budget ended in the middle of something; says why.

    What is on disk stands.
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


def why_nothing(trials: list[Trial]) -> str:
    """Why none of the trials was finished, the commonest reason first."""
    notes = Counter(trial.note for trial in trials if trial.status == "failed")
    if not notes:
        return OUT_OF_TIME
    reasons = "; ".join(f"{note} ({count} times)" if count > 1 else note for note, count in notes.most_common(3))
    return f"no net could be trained: {reasons}"
