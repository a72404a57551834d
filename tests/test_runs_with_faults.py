"""A run goes on whatever fails in its trials: the real controller, record and blends, by a clock that trials move."""

import errno
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from faulty import FAULTS, Trainer, faulty_run, raising, setting_of

from autoclimb.run import answers, store, trials
from autoclimb.run.answers import finish, finish_unblended, finish_without, publish
from autoclimb.run.trials import measure, run_trial
from autoclimb.run.worker import Died
from autoclimb.types import Config, History

pytestmark = pytest.mark.long

FEATURES = Config(train="features", backbone="gradients", folds=(0, 1, 2, 3, 4))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_status_and_the_run_uses_its_budget_and_answers_what_it_learnt(name, tmp_path):
    fault = FAULTS[name]
    ending = faulty_run(tmp_path, fault)
    assert ending.hit, "the fault was never met"
    assert {trial.status for trial in ending.hit} == {fault.ends}
    assert all(trial.note for trial in ending.hit)
    nets = [trial for trial in ending.trials if trial.status == "done" and trial.config.train == "net"]
    assert bool(nets) == (name != "no net can be trained")
    assert 0.85 < ending.used <= 1.0
    assert ending.answers != ending.constant


def test_two_failures_of_a_kind_take_a_net_at_its_size_out_of_the_plan(tmp_path):
    ending = faulty_run(tmp_path, FAULTS["CUDA error"])
    failed = [(t.config.backbone, t.config.size) for t in ending.trials if t.status == "failed"]
    assert failed
    assert max(failed.count(net) for net in failed) <= 2
    assert ending.restarts == len(failed), "a process that met a CUDA error trains nothing more"


# --- what is finished is answered ------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    """A run's setting with one finished trial that was not blended yet, its trainer, and the constant submission."""
    trainer = Trainer(None, tmp_path)
    setup = setting_of(tmp_path, trainer)
    constant = (setup.folder / "submission.csv").read_text()
    store.update_run(setup.folder, setup.clock)
    assert run_trial(setup, FEATURES, "baseline").status == "done"
    return setup, trainer, constant


def test_a_finished_trial_is_answered_where_no_time_was_left_to_blend_it(finished):
    setup, trainer, constant = finished
    trainer.time += 10 * setup.clock.budget
    run = finish(setup, plan_ended=False)
    assert run.submission.read_text() != constant
    assert run.blend is not None
    assert "nothing was learnt" not in run.words


def test_a_run_that_ends_before_its_folds_are_known_again_does_not_say_that_nothing_was_learnt(finished):
    setup, trainer, _ = finished
    run = finish_without(setup.folder, setup.goal.metric, setup.clock, setup.tell)
    assert "nothing was learnt" not in run.words
    assert "before the finished trials were blended" in trainer.events[-1].text


def test_a_run_without_the_time_to_get_ready_again_answers_what_it_had_finished_when_it_was_killed(finished):
    setup, _, constant = finished
    assert finish_unblended(replace(setup, fold_of=np.zeros(0, int))).submission.read_text() == constant
    run = finish_unblended(setup)
    assert run.blend is not None
    assert run.submission.read_text() != constant
    assert "nothing was learnt" not in run.words


def test_where_memory_is_short_for_a_blend_the_submission_stays_and_the_quick_blend_stands(finished, monkeypatch):
    setup, trainer, constant = finished
    blend_trials = answers.blend_trials
    monkeypatch.setattr(answers, "blend_trials", raising(MemoryError("Unable to allocate 9 GiB")))
    publish(setup, History())
    assert (setup.folder / "submission.csv").read_text() == constant
    assert "9 GiB" in trainer.events[-1].text

    def quickly(setup, quick, **rest):
        if not quick:
            raise MemoryError("Unable to allocate 9 GiB")
        return blend_trials(setup, quick, **rest)

    monkeypatch.setattr(answers, "blend_trials", quickly)
    run = finish(setup, plan_ended=True)
    assert run.submission.read_text() != constant
    assert any("in depth" in event.text for event in trainer.events)


def test_memory_that_is_short_for_scores_or_answers_fails_the_trial_or_leaves_the_submission(finished, monkeypatch):
    setup, trainer, constant = finished
    with monkeypatch.context() as short:
        short.setattr(trials, "cross_fitted_score", raising(MemoryError("Unable to allocate 9 GiB")))
        trial = run_trial(setup, FEATURES.vary(backbone="patches"), "baseline")
    assert (trial.status, trial.facts["fault"], trial.note) == ("failed", "memory", "Unable to allocate 9 GiB")
    with monkeypatch.context() as short:
        short.setattr(answers, "rule_of", raising(MemoryError("Unable to allocate 9 GiB")))
        publish(setup, History())
        run = finish(setup, plan_ended=True)
    assert run.submission.read_text() == constant
    assert "too little memory" in run.words
    assert "9 GiB" in "".join(event.text for event in trainer.events)


@pytest.mark.parametrize("ends", ["dies", "is poisoned"])
def test_a_probe_that_ends_its_worker_once_does_not_take_the_net_out_of_the_run(finished, monkeypatch, ends):
    setup, trainer, _ = finished
    replies = [
        {"train": 0.0, "predict": 0.0, "fault": "device", "note": "CUDA error"},
        {"train": 5.0, "predict": 9.0},
    ]

    def ask(request, *rest):
        reply = replies.pop(0)
        if ends == "dies" and "fault" in reply:
            raise Died("the worker process ended", "memory")
        return reply

    monkeypatch.setattr(trainer, "ask", ask)
    assert measure(setup, Config(backbone="resnet34")).train == 5.0
    assert measure(setup, Config(backbone="resnet34")).train == 5.0, "and it is on record"
    replies += [{"train": 0.0, "predict": 0.0, "fault": "device"}] * 2
    assert measure(setup, Config(backbone="resnet50")).train == 0.0


def test_a_disk_that_fills_while_pictures_are_decoded_fails_the_trial_alone(finished):
    setup, _, _ = finished
    full = OSError(errno.ENOSPC, "No space left on device")
    run = partial(run_trial, setup, FEATURES.vary(size=96), "resize")
    setup.decoded.at = raising(full)
    trial = run()
    assert (trial.status, trial.facts["fault"]) == ("failed", "disk")
    setup.decoded.at = raising(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(PermissionError):
        run()


def test_a_worker_that_cannot_be_started_again_for_want_of_memory_is_a_status(finished, monkeypatch):
    from autoclimb.run import worker

    setup, trainer, _ = finished
    line = worker.Worker([sys.executable, "-S", "-c", ""], trainer.folder / "line.log")
    line.end()
    monkeypatch.setattr(worker.subprocess, "Popen", raising(OSError(errno.ENOMEM, "Cannot allocate memory")))
    monkeypatch.setattr(trainer, "ask", line.ask)
    trial = run_trial(setup, FEATURES.vary(backbone="patches"), "baseline")
    assert (trial.status, trial.facts["fault"]) == ("failed", "memory")
    assert "Cannot allocate memory" in trial.note
