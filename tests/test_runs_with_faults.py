"""A run goes on whatever fails in its trials: the real controller, record and blends, by a clock that trials move."""

import errno
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fakes import situation
from fakes import trial as fake_trial
from faulty import FAULTS, Trainer, faulty_run, raising, setting_of

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.deadlines import outcome_within
from autoclimb.disk import write_array
from autoclimb.run import answers, store, trials
from autoclimb.run.answers import finish, finish_without, publish, publish_unblended, task_on_record
from autoclimb.run.climbing import follow_plan
from autoclimb.run.trials import (
    measure,
    remember,
    run_trial,
    situation_of,
    tell_error_of_speeds,
    with_known_speeds,
)
from autoclimb.run.worker import Died
from autoclimb.search.corrections import corrected, speed_words
from autoclimb.search.cost import speed_of
from autoclimb.search.situation import Speed
from autoclimb.search.space import SearchSpace
from autoclimb.search.starting import LARGEST_BATCH
from autoclimb.types import Event, History, Trial

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
    publish_unblended(replace(setup, fold_of=np.zeros(0, int)))
    assert (setup.folder / "submission.csv").read_text() == constant, "its folds are not known"
    publish_unblended(setup)
    run = finish_without(setup.folder, setup.goal.metric, setup.clock, setup.tell)
    assert run.blend is not None
    assert run.submission.read_text() != constant
    assert "nothing was learnt" not in run.words


def test_only_what_was_finished_after_the_last_blend_is_blended_before_a_run_goes_on(finished, monkeypatch):
    setup, *_ = finished
    blended = []
    monkeypatch.setattr(answers, "deliver", lambda setup, blend: blended.append(blend.members))
    publish_unblended(setup)
    assert len(blended) == 1
    monkeypatch.undo()
    publish_unblended(setup)
    monkeypatch.setattr(answers, "deliver", lambda setup, blend: blended.append(blend.members))
    publish_unblended(setup)
    assert len(blended) == 1
    assert run_trial(setup, FEATURES.vary(backbone="patches"), "baseline").status == "done"
    publish_unblended(setup)
    assert len(blended) == 2


def test_a_net_that_was_only_compared_leaves_nothing_to_blend_and_the_submission_as_it_is(finished):
    setup, trainer, _ = finished
    features = store.recall_trial(setup.folder, FEATURES)
    publish(setup, History([features]))
    before, told = (setup.folder / "submission.csv").read_text(), len(trainer.events)
    compared = run_trial(setup, Config(seconds=9.0, predict_test=False), "baseline")
    assert (compared.status, compared.test) == ("done", None)
    publish(setup, History([features, compared]))
    assert not [event for event in trainer.events[told:] if event.name == "blend"]
    assert not store.has_unblended(setup.folder)
    run = finish(setup, plan_ended=False)
    assert run.blend.members == (FEATURES.key,)
    assert run.words.startswith("2 trials, ")
    assert (setup.folder / "submission.csv").read_text() == before


def test_what_was_not_blended_has_the_time_that_is_left_or_what_every_blend_has(finished, monkeypatch):
    setup, trainer, constant = finished
    limits = []
    monkeypatch.setattr(answers, "outcome_within", lambda seconds, make: limits.append(seconds) or (None, None))
    store.update_run(setup.folder, setup.clock, quick_blend=2.0)
    publish_unblended(setup)
    trainer.time += 10 * setup.clock.budget
    publish_unblended(setup)
    assert limits == [pytest.approx(setup.clock.budget - SLACK.record_at_least, abs=30), 4.4]
    run = finish_without(setup.folder, setup.goal.metric, setup.clock, setup.tell)
    assert run.submission.read_text() == constant
    assert "before the finished trials were blended" in run.words


def test_unreadable_pictures_are_known_before_pictures_are_looked_at_again(finished):
    setup, *_ = finished
    publish_unblended(setup)
    answers = [line.split(",")[1] for line in (setup.folder / "submission.csv").read_text().splitlines()[1:]]
    unread = tuple(name for name, given in zip(setup.task.test_ids, answers, strict=True) if given == "across")
    assert 0 < len(unread) < len(answers)
    store.update_run(setup.folder, setup.clock, unreadable_test=unread)
    write_array(setup.folder / "groups.npy", np.arange(len(setup.fold_of)))
    known = task_on_record(setup.task, setup.folder)
    assert known.unreadable_test == unread
    assert len(known.groups) == len(setup.fold_of)
    (setup.folder / "blend.json").unlink()
    publish_unblended(setup)
    answers = [line.split(",")[1] for line in (setup.folder / "submission.csv").read_text().splitlines()[1:]]
    assert len(set(answers)) == 1, "they get the constant answer, the same for all"


# --- what a run says of its speeds -----------------------------------------------------------------------------------


def test_a_run_says_how_far_off_its_speeds_were_however_it_ended(finished):
    setup, trainer, _ = finished
    tell_error_of_speeds(setup)
    assert "planned" not in trainer.events[-1].text, "nobody had planned the trial"
    for seed, planned in ((1, 0.5), (2, 2.0)):
        trial = run_trial(setup, FEATURES.vary(seed=seed), "baseline", planned)
        store.save_trial(setup.folder, replace(trial, seconds=1.0))
    tell_error_of_speeds(setup)
    assert trainer.events[-1].text == "trials took 1.25 of the seconds planned for them, 0.50 to 2.00 in 2 trials"
    net = Config(seconds=4.0)
    trial = run_trial(setup, net, "finalists")
    rate = speed_of(net, trainer.situation).train
    store.save_trial(setup.folder, replace(trial, facts={"img_s": 0.8 * rate}))
    situation = replace(trainer.situation, measure=raising(AssertionError("there is no time to measure")))
    tell_error_of_speeds(setup, situation)
    assert trainer.events[-1].text == "nets trained at 0.80 of the speed that was measured before"


def test_a_run_says_how_long_deciding_took_beside_measuring_decoding_training_and_blending(finished):
    setup, trainer, _ = finished

    def slow(history, s):
        for number in (1, 2):
            trainer.time += 3.0
            s.prepare(Config())
            yield [FEATURES.vary(seed=number)]

    def later(config):
        trainer.time += 50.0

    situation = replace(trainer.situation, prepare=later)
    begun = trainer.time
    assert follow_plan(setup, situation, [("slow", slow)])
    assert trainer.time - begun > 100
    assert store.read_run(setup.folder)["deciding"] == pytest.approx(6.0)
    share = 6.0 / setup.clock.budget
    assert trainer.events[-1].text == f"deciding on trials took 6.0 s, {share:.1%} of the budget"
    follow_plan(setup, situation, [("slow", slow)])
    assert store.read_run(setup.folder)["deciding"] == pytest.approx(12.0), "a continued run adds to it"


# --- other hardware, and a device that was gone ----------------------------------------------------------------------


def test_a_run_that_goes_on_on_other_hardware_measures_and_decides_anew(finished):
    setup, trainer, _ = finished
    card = replace(setup, hardware="NVIDIA T4")
    net, folder = Config(backbone="resnet34"), setup.folder
    asked = []
    trainer.ask = lambda request, *rest: asked.append(request["do"]) or {"train": 5.0 * len(asked), "predict": 9.0}
    assert [measure(some, net).train for some in (card, setup, card, setup)] == [5.0, 10.0, 5.0, 10.0]
    assert remember(folder, 60.0, "cuda", "finalists", lambda: "large nets") == "large nets"
    assert remember(folder, 60.0, "cpu", "finalists", lambda: "small nets") == "small nets"
    assert remember(folder, 60.0, "cuda", "finalists", lambda: "others") == "large nets"


@pytest.mark.parametrize(("device", "looks"), [("cpu", 2), ("cuda", 1)])
def test_a_card_looks_at_a_net_once_for_its_training_and_its_features(finished, device, looks):
    setup, trainer, _ = finished
    setup, asked = replace(setup, device=device), []
    trainer.ask = lambda request, *rest: asked.append(request["config"]["train"]) or {"train": 5.0, "predict": 9.0}
    net = Config(backbone="resnet34", weights="box", size=128)
    features = net.vary(train="features", head="linear", layers=4)
    assert [measure(setup, config).predict for config in (features, net, features)] == [9.0] * 3
    assert len(asked) == looks
    assert asked[-1] == "net"
    known = with_known_speeds(setup, trainer.situation)
    assert known.measure(features).predict == known.measure(net).predict == 9.0


def test_stages_of_the_search_replay_their_record_where_the_finalists_were_decided_on_other_hardware(finished):
    setup, *_ = finished
    here, there = (replace(setup, device="cuda", hardware=card) for card in ("NVIDIA T4", "Tesla P100"))
    [on_disk] = store.all_trials(setup.folder)

    def replays(setup):
        s = situation_of(setup, 0, (), SearchSpace(), 16.0)
        return [s.replays(stage) for stage in ("baseline", "loss", "finalists", "rest")]

    assert replays(here) == replays(there) == [None] * 4, "the finalists are not decided"
    remember(setup.folder, setup.clock.budget, "cuda", "finalists", list)
    assert replays(here) == [None] * 4
    store.save_trial(setup.folder, replace(on_disk, stage="loss"))
    assert replays(there) == [[], [on_disk.config], None, None]
    longer = replace(there, clock=replace(setup.clock, budget=2 * setup.clock.budget))
    assert replays(longer) == [None] * 4, "a larger budget plans anew"


def test_trials_made_on_other_hardware_do_not_correct_the_speeds():
    s, net = situation(hardware="2 processor threads"), Config(seconds=4.0)
    rate = speed_of(net, s).train
    trials = [
        replace(fake_trial(net), facts={"img_s": 0.5 * rate, "hardware": name}) for name in ("NVIDIA T4", s.hardware)
    ]
    assert speed_of(net, corrected(History(trials[:1]), s)).train == rate
    assert speed_of(net, corrected(History(trials), s)).train == pytest.approx(0.5 * rate)
    assert speed_words(History(trials), s) == "nets trained at 0.50 of the speed that was measured before"


def test_what_failed_for_the_device_is_tried_again_when_the_run_goes_on(finished):
    setup, trainer, _ = finished
    failed = [
        Trial(Config(seed=seed), "stage", "failed", -np.inf, 0.0, 1.0, facts={"fault": fault})
        for seed, fault in ((1, "device"), (2, "memory"))
    ]
    for trial in failed:
        store.save_trial(setup.folder, trial)
    replies = [{"train": 0.0, "predict": 0.0, "fault": fault} for fault in ("device", "device", "unbuildable")]
    trainer.ask = lambda *given: replies.pop(0)
    nets = [Config(backbone=name) for name in ("resnet34", "resnet50")]
    assert [measure(setup, net).fault for net in nets] == ["device", "unbuildable"]
    store.forget_failures_of_device(setup.folder)
    assert [store.recall_trial(setup.folder, trial.config) is None for trial in failed] == [True, False]
    assert store.recall_trial(setup.folder, FEATURES).status == "done"
    replies.append({"train": 7.0, "predict": 9.0})
    assert [measure(setup, net).train for net in nets] == [7.0, 0.0]


def test_a_net_that_diverged_in_fp16_is_trained_in_fp32(finished, monkeypatch):
    setup, _, _ = finished
    net, other = Config(backbone="resnet34", size=64), Config(backbone="resnet50", size=64)
    monkeypatch.setattr(trials, "measure", lambda setup, config: Speed(9.0, 9.0, "fp16"))
    assert [trials.trial_request(setup, config).precision for config in (net, other)] == ["fp16", "fp16"]
    store.save_trial(setup.folder, Trial(net, "stage", "failed", -np.inf, 0.0, 1.0, facts={"fault": "diverged"}))
    gentler = net.vary(lr=1e-4)
    assert [trials.trial_request(setup, config).precision for config in (gentler, other)] == ["fp32", "fp16"]
    monkeypatch.setattr(trials, "measure", lambda setup, config: Speed(9.0, 9.0, "bf16"))
    assert trials.trial_request(setup, gentler).precision == "bf16"


def test_a_card_is_not_asked_about_batches_that_a_fine_tuned_net_does_not_get(finished):
    setup, trainer, _ = finished
    asked = []
    trainer.ask = lambda request, *rest: asked.append(request["largest_batch"]) or {"train": 5.0, "predict": 9.0}
    for net in (Config(backbone="resnet34", weights="hub"), Config(backbone="resnet50")):
        measure(setup, net)
    assert asked == [LARGEST_BATCH, 0]


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_when_answers_are_written_gets_the_room_of_nets_or_leaves_the_submission(
    finished, monkeypatch
):
    setup, trainer, constant = finished
    net = store.nets_folder(setup.folder, Config()) / "fold0.safetensors"
    net.parent.mkdir(parents=True)
    net.write_bytes(b"weights")
    write_submission = answers.write_submission

    def with_room(*given):
        if net.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write_submission(*given)

    with monkeypatch.context() as full:
        full.setattr(answers, "write_submission", raising(OSError(errno.ENOSPC, "No space left on device")))
        publish(setup, History())
    assert "disk is full" in trainer.events[-1].text
    assert (setup.folder / "submission.csv").read_text() == constant
    net.write_bytes(b"weights")
    monkeypatch.setattr(answers, "write_submission", with_room)
    publish(setup, History())
    assert (setup.folder / "submission.csv").read_text() != constant


@pytest.mark.parametrize("record", ["a decision", "the budget spent"])
def test_a_disk_that_is_full_between_trials_gets_the_room_of_nets_and_of_stored_features(finished, monkeypatch, record):
    setup, *_ = finished
    stored = [setup.folder / "cache" / f"{name}-1f.npy" for name in ("trunk", "features")]
    stored.append(store.nets_folder(setup.folder, Config()) / "fold0.safetensors")
    stored[-1].parent.mkdir(parents=True)
    for file in stored:
        file.write_bytes(b"numbers")
    write_json = store.write_json

    def with_room(path, values):
        if any(file.exists() for file in stored):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, values)

    monkeypatch.setattr(store, "write_json", with_room)
    if record == "a decision":
        assert remember(setup.folder, 60.0, "cpu", "finalists", lambda: 5) == 5
        assert remember(setup.folder, 60.0, "cpu", "finalists", lambda: 6) == 5
    else:
        store.update_run(setup.folder, setup.clock, words="recorded")
        assert store.read_run(setup.folder)["words"] == "recorded"


def test_a_bug_in_blending_is_raised_at_once_and_a_note_once_something_is_blended(finished, monkeypatch):
    setup, trainer, _ = finished
    blend_trials = answers.blend_trials
    monkeypatch.setattr(answers, "blend_trials", raising(IndexError("index 3 is out of bounds")))
    with pytest.raises(IndexError):
        publish(setup, History())
    publish_unblended(setup)
    assert "IndexError (index 3 is out of bounds)" in trainer.events[-1].text
    monkeypatch.setattr(answers, "blend_trials", blend_trials)
    publish(setup, History())
    answered = (setup.folder / "submission.csv").read_text()
    monkeypatch.setattr(answers, "blend_trials", raising(IndexError("index 3 is out of bounds")))
    publish(setup, History())
    assert "stays as it was" in trainer.events[-1].text
    assert (setup.folder / "submission.csv").read_text() == answered
    monkeypatch.setattr(answers, "blend_trials", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        publish(setup, History())


def test_answers_of_what_was_not_blended_that_cannot_be_written_are_a_note(finished, monkeypatch):
    setup, trainer, constant = finished
    monkeypatch.setattr(answers, "write_submission", raising(ValueError("rows of another number")))
    publish_unblended(setup)
    assert "ValueError (rows of another number)" in trainer.events[-1].text
    assert "in deliver" in trainer.events[-1].facts["traceback"], "the journal says where a bug is"
    assert (setup.folder / "submission.csv").read_text() == constant


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_what_there_is_no_time_for_is_not_begun(seconds):
    begun = []
    assert outcome_within(seconds, lambda: begun.append(1)) == (None, None)
    assert not begun
    assert outcome_within(60.0, lambda: len(begun)) == (0, None)


def test_a_line_that_a_full_disk_does_not_take_is_no_reason_to_end(finished, monkeypatch):
    setup, *_ = finished
    heard = []
    tell = store.recorded(setup.folder, setup.clock, heard.append)
    monkeypatch.setattr(store, "append_json", raising(OSError(errno.ENOSPC, "No space left on device")))
    tell(Event("note", "said all the same"))
    assert heard
    monkeypatch.setattr(store, "append_json", raising(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PermissionError):
        tell(Event("note", "said all the same"))


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


def test_a_blend_in_depth_that_fails_leaves_the_quick_one_and_the_run_is_finished(finished, monkeypatch):
    setup, trainer, constant = finished
    publish(setup, History())
    quick = (setup.folder / "submission.csv").read_text()
    missing = "libgomp.so.1: cannot open shared object file"
    monkeypatch.setattr(answers, "blend_trials", raising(OSError(missing)))
    run = finish(setup, plan_ended=True)
    assert run.finished
    assert run.submission.read_text() == quick != constant
    assert any(missing in event.text and "quick blend stands" in event.text for event in trainer.events)
    (setup.folder / "blend.json").unlink()
    with pytest.raises(OSError, match="libgomp"):
        finish(setup, plan_ended=True)


def test_shares_of_test_classes_that_cannot_be_told_are_a_note(finished, monkeypatch):
    setup, trainer, constant = finished
    monkeypatch.setattr(answers, "label_shift", raising(FloatingPointError("underflow")))
    run = finish(setup, plan_ended=True)
    assert run.submission.read_text() != constant
    assert any("FloatingPointError: underflow" in event.text for event in trainer.events)


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


def test_memory_that_is_short_while_pictures_are_decoded_fails_the_trial_alone(finished):
    setup, *_ = finished
    setup.decoded.at = raising(MemoryError("Unable to allocate 9 GiB"))
    trials.prepare(setup, FEATURES.vary(size=96))
    trial = run_trial(setup, FEATURES.vary(size=96), "resize")
    assert (trial.status, trial.facts["fault"], trial.note) == ("failed", "memory", "Unable to allocate 9 GiB")


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
