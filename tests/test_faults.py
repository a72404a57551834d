"""No failure ends a run: every fault in a trial is a status of a kind, and a fold gives what it has at its deadline."""

import errno
import math
import sys
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from nets import CPU, TINY, fold_over, material_of
from safetensors import SafetensorError

from autoclimb.arrays import read_predictions
from autoclimb.budget import SLACK
from autoclimb.disk import read_json, write_json
from autoclimb.errors import Mistake
from autoclimb.learn import averages, fold, gradcam, probe, trial, trunk, views, worker
from autoclimb.learn.averages import recompute_norms
from autoclimb.learn.backbones import build_net
from autoclimb.learn.batches import to_input
from autoclimb.learn.faults import Diverged, OutOfMemory, OutOfTime, Unbuildable, kind_of
from autoclimb.learn.fold import run_fold
from autoclimb.learn.loop import Pace
from autoclimb.learn.material import StoredFeatures, Watch
from autoclimb.learn.memory import in_parts
from autoclimb.learn.phases import phase
from autoclimb.learn.probe import measure_speed
from autoclimb.learn.trial import predict_again, run_trial
from autoclimb.learn.trunk import above
from autoclimb.learn.views import VIEWS, predict_rows
from autoclimb.learn.weights import INPUT
from autoclimb.protocol import Export, KeepFeatures, MeasureSpeed, Predict, RunTrial

FAULTS = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "memory"),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to get 9 bytes"),
        "memory",
    ),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "memory"),
    (MemoryError("Unable to allocate 3.2 GiB for an array"), "memory"),
    (OutOfMemory("64 pictures of 224 px do not fit even in parts"), "memory"),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. out of shm"), "loader"),
    (RuntimeError("DataLoader worker (pid(s) 7, 9) exited unexpectedly"), "loader"),
    (
        RuntimeError("unable to open shared memory object </torch_7_9_0> in read-write mode: Too many open files"),
        "loader",
    ),
    (RuntimeError("unable to write to file </torch_7_9_0>: No space left on device (28)"), "loader"),
    (RuntimeError("unable to allocate shared memory(shm) for file </torch_7_9_0>: Success (0)"), "loader"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),  # of a fork
    (cv2.error("OpenCV: error: (-4:Insufficient memory) Failed to allocate 12582912 bytes"), "memory"),
    (cv2.error("OpenCV: error: (-215:Assertion failed) !ssize.empty() in function 'resize'"), "torch"),
    (OSError(errno.ENOSPC, "No space left on device"), "disk"),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk"),
    (SafetensorError("Error while deserializing header: header too small"), "files"),
    (FileNotFoundError(errno.ENOENT, "no such file"), "files"),
    (EOFError("Ran out of input"), "loader"),  # of a pipe whose other end has gone
    (RuntimeError("Given groups=1, weight of size [8, 3, 3, 3], expected input to have 3 channels"), "torch"),
    (ValueError("Expected more than 1 value per channel when training, got input size [1, 8, 1, 1]"), "torch"),
    (AssertionError("Input height (96) doesn't match model (224)."), "torch"),
    (Diverged("loss nan by step 8"), "diverged"),
    (Unbuildable("weights of another net"), "unbuildable"),
]
PLACES = [(fold, "train"), (fold, "_predictions"), (fold, "save_net"), (fold, "build_net"), (fold, "recompute_norms")]


def trial_in(folder, config=TINY, **how):
    return run_trial(config, material_of(), folder / "out", folder / "nets", folder, CPU, **how)


def raising(error):
    def broken(*given, **named):
        raise error

    return broken


def test_a_bug_of_our_own_is_no_status(tmp_path, monkeypatch):
    def bug(*given, **named):
        above(None, SimpleNamespace(stored=None), None)  # its assertion says that a caller is wrong

    monkeypatch.setattr(fold, "train", bug)
    with pytest.raises(AssertionError):
        trial_in(tmp_path)


@pytest.mark.parametrize(("error", "kind"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_fault_has_a_kind_and_is_a_status_with_its_reason(tmp_path, monkeypatch, error, kind):
    assert kind_of(error) == kind
    monkeypatch.setattr(fold, "train", raising(error))
    reply = trial_in(tmp_path)
    assert (reply["status"], reply["facts"]["fault"], reply["folds"]) == ("failed", kind, 0)
    assert str(error).partition("\n")[0][:40] in reply["note"]


def test_an_error_that_spoils_a_card_is_a_status_though_its_memory_cannot_be_given_back(tmp_path, monkeypatch):
    spoilt = RuntimeError("CUDA error: device-side assert triggered")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", raising(spoilt))
    monkeypatch.setattr(fold, "train", raising(spoilt))
    reply = trial_in(tmp_path)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "device")


@pytest.mark.parametrize(("module", "place"), PLACES)
def test_wherever_memory_ends_it_is_a_status_and_the_next_trial_goes_on(tmp_path, monkeypatch, module, place):
    config = TINY.vary(swa=0.3)
    with monkeypatch.context() as broken:
        broken.setattr(module, place, raising(torch.OutOfMemoryError("CUDA out of memory")))
        assert trial_in(tmp_path, config)["facts"]["fault"] == "memory"
    assert trial_in(tmp_path, config)["status"] == "done"


def test_a_full_disk_that_takes_no_line_of_the_log_either_is_a_status_all_the_same(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=raising(full), flush=raising(full)))
    monkeypatch.setattr(fold, "save_net", raising(full))
    with phase("a trial"):
        reply = trial_in(tmp_path)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "disk")


def test_frozen_features_without_memory_are_a_status(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "features_of", raising(MemoryError("host memory")))
    reply = trial_in(tmp_path, TINY.vary(train="features", backbone="gradients"))
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "memory")


def test_a_slip_in_the_code_is_no_status_but_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(fold, "train", raising(KeyError("rows")))
    with pytest.raises(KeyError):
        trial_in(tmp_path)


def test_what_a_net_lacks_that_a_library_asks_of_it_is_a_status(tmp_path, monkeypatch):
    def asked(built, *given):
        return built.net.group_matcher_of_another_net

    monkeypatch.setattr(fold, "train", asked)
    reply = trial_in(tmp_path)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "torch")
    assert "group_matcher_of_another_net" in reply["note"]


def test_the_folds_before_a_fault_are_a_trial(tmp_path, monkeypatch):
    original, asked = fold.train, []

    def second_breaks(*given, **named):
        asked.append(1)
        if len(asked) == 2:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return original(*given, **named)

    monkeypatch.setattr(fold, "train", second_breaks)
    reply = trial_in(tmp_path, TINY.vary(folds=(0, 1, 2)))
    assert (reply["status"], reply["folds"], reply["facts"]["fault"]) == ("done", 1, "device")
    assert reply["note"].startswith("ended after 1 folds: CUDA error")
    oof = np.asarray(read_predictions(tmp_path / "out" / "oof"))
    assert (np.isfinite(oof).all(1) == (material_of().fold_of == 0)).all()


def test_a_fold_on_record_that_cannot_be_read_is_trained_again(tmp_path):
    assert trial_in(tmp_path)["status"] == "done"
    record, answers = tmp_path / "nets" / "fold0.npz", np.load(tmp_path / "out" / "test.npy")
    record.write_bytes(record.read_bytes()[:200])
    assert trial_in(tmp_path)["status"] == "done"
    np.testing.assert_array_equal(np.load(record)["test_pred"], answers)


@pytest.mark.parametrize(
    "request_about",
    [
        partial(RunTrial, out="", nets="", precision="fp32", channels_last=True, img_s=0.0, seconds=9.0),
        partial(MeasureSpeed, look=0.0, leisure=False, largest_batch=0),
        partial(KeepFeatures, seconds=9.0),
    ],
    ids=["trial", "speed", "features"],
)
def test_pixels_that_cannot_be_opened_are_a_status(tmp_path, request_about):
    request = request_about(TINY, str(tmp_path / "absent.npy"))
    reply = worker.reply_to(request, worker.Setting(worker.NOTHING, CPU, tmp_path), lambda facts: None)
    assert reply.get("facts", reply)["fault"] == "files"
    assert "absent" in reply["note"]
    assert reply.get("status", "failed") == "failed"


def test_weights_that_a_run_began_from_and_that_are_gone_are_a_mistake_of_who_predicts(tmp_path):
    np.save(tmp_path / "pixels.npy", np.zeros((2, 16, 16, 3), np.uint8))
    write_json(tmp_path / "pixels.json", {"rows": 2, "size": 16, "channels": 3})
    config = TINY.vary(train="features", weights=str(tmp_path / "moved"))
    request = Predict(config, str(tmp_path / "pixels.npy"), weights=str(tmp_path), save="", exactly=False)
    setting = worker.Setting(worker.NOTHING, CPU, tmp_path)
    with pytest.raises(Mistake, match=r"moved: no such file"):
        worker.reply_to(request, setting, lambda facts: None)


@pytest.mark.parametrize(("do", "place"), [("predicting", "predict_again"), ("exporting", "write_export")])
def test_a_fault_outside_of_a_search_is_a_mistake_that_says_why(tmp_path, monkeypatch, do, place):
    np.save(tmp_path / "pixels.npy", np.zeros((2, 16, 16, 3), np.uint8))
    write_json(tmp_path / "pixels.json", {"rows": 2, "size": 16, "channels": 3})
    predicting = Predict(
        TINY, str(tmp_path / "pixels.npy"), weights="", save=str(tmp_path / "saved.npy"), exactly=False
    )
    exporting = Export([], {}, 3, inputs=[], arrays=[], description={}, file="", save="")
    request = predicting if do == "predicting" else exporting
    ask = partial(worker.reply_to, request, worker.Setting(worker.NOTHING, CPU, tmp_path), lambda facts: None)
    for error, kind in FAULTS[3], FAULTS[5], FAULTS[19]:
        monkeypatch.setattr(worker, place, raising(error))
        with pytest.raises(Mistake, match=rf"{do} failed \({kind}: {str(error)[:15]}"):
            ask()
    for error in KeyError("rows"), OSError(errno.ENOSPC, "No space left on device"):  # a bug; said with the room left
        monkeypatch.setattr(worker, place, raising(error))
        with pytest.raises(type(error)):
            ask()


def test_numbers_that_a_library_cannot_compute_with_are_a_status(tmp_path, monkeypatch):
    theirs = {"__name__": "albumentations.core"}
    exec("def divided(*given): return 1 / 0", theirs)
    monkeypatch.setattr(fold, "train", theirs["divided"])
    reply = trial_in(tmp_path)
    assert (reply["status"], reply["facts"]["fault"]) == ("failed", "torch")
    monkeypatch.setattr(fold, "train", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trial_in(tmp_path)


def test_a_net_that_no_probe_can_run_has_no_speed_but_a_reason(monkeypatch):
    from autoclimb.learn import probe

    monkeypatch.setattr(probe, "step_seconds", raising(RuntimeError("CUDA error: no kernel image")))
    reply = measure_speed(TINY, material_of(), CPU, 0.0)
    assert (reply["train"], reply["fault"]) == (0.0, "device")
    assert "no kernel image" in reply["note"]


# --- memory that is short, not gone ----------------------------------------------------------------------------------


def short_of_memory(most):
    """A net's forward that has memory for so many pictures at once."""
    seen = []

    def forward(x):
        seen.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("no memory")
        return x.mean((2, 3))

    return forward, seen


@pytest.mark.parametrize("most", [1, 3, 5, 16])
def test_predicting_in_parts_gives_what_predicting_at_once_does(most):
    x = torch.randn(13, 3, 8, 8)
    forward, seen = short_of_memory(most)
    assert torch.equal(in_parts(forward, x), x.mean((2, 3)))
    assert min(seen) <= most
    with pytest.raises(OutOfMemory, match="not even one"):
        in_parts(short_of_memory(0)[0], x)


@pytest.mark.parametrize(("bf16", "parts"), [(False, [16, 16, 8]), (True, [32, 8])])
def test_a_processor_predicts_few_large_pictures_at_once(bf16, parts):
    forward, seen = short_of_memory(99)
    x = torch.randn(40, 3, 128, 128)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert torch.equal(in_parts(forward, x), x.mean((2, 3)))
    assert seen == parts


def test_norms_are_averaged_in_smaller_batches_where_memory_is_short(monkeypatch):
    from autoclimb.learn import averages

    original, batches = averages.update_bn, []

    def picky(loader, net):
        batches.append(len(next(iter(loader))))
        if batches[-1] > 2:
            raise torch.OutOfMemoryError
        original(loader, net)

    monkeypatch.setattr(averages, "update_bn", picky)
    built = build_net(TINY, 2)
    recompute_norms(built, material_of(), TINY, fold_over(range(24)))
    assert batches == [8, 4, 2]
    assert built.net.conv1[1].running_mean.any()


# --- the deadline ----------------------------------------------------------------------------------------------------


class Slow:
    """A clock that only predicting and training move: so many seconds a batch in one view, and a step."""

    def __init__(self, monkeypatch, batch=1.0, step=0.0):
        self.time, self.batch, self.each_step = 0.0, batch, step
        built_forward, optimizer_of = views.predictions_of, fold.train.__globals__["optimizer_of"]

        def slower(*given):
            self.time += self.batch
            return built_forward(*given)

        def stepping(*given):
            optimizer = optimizer_of(*given)
            original = optimizer.step

            def counted(*rest):
                self.step()
                return original(*rest)

            optimizer.step = counted
            return optimizer

        monkeypatch.setattr(views, "predictions_of", slower)
        monkeypatch.setitem(fold.train.__globals__, "optimizer_of", stepping)
        monkeypatch.setattr(fold, "seconds_a_picture", lambda *given: 0.01)

    def step(self, times=1.0):
        self.time += times * self.each_step

    def __call__(self):
        return self.time


def test_where_the_watch_runs_out_later_pictures_are_seen_once_and_those_after_the_deadline_not_at_all(monkeypatch):
    material, built = material_of(), build_net(TINY, 2)
    clock = Slow(monkeypatch)
    rows, where = np.arange(24), (CPU, 16, "dihedral")
    full = predict_rows(built, material, rows, *where, batch=4)
    once = predict_rows(built, material, rows, CPU, 16, "none", batch=4)
    clock.time = 0.0
    some = predict_rows(built, material, rows, *where, Watch(clock, soft=7.0), batch=4)
    np.testing.assert_allclose(some, once)  # eight views would take 48 s
    assert clock.time == 6.0
    clock.time = 0.0
    hurried = Watch(lambda: clock.time if clock.time < 24 else clock.time + 100, soft=50.0)
    np.testing.assert_allclose(predict_rows(built, material, rows, *where, hurried, batch=4)[:12], full[:12])
    assert clock.time == 3 * len(VIEWS["dihedral"]) + 3
    clock.time = 0.0
    cut = predict_rows(built, material, rows, CPU, 16, "none", Watch(clock, deadline=2.5), batch=4)
    assert (np.isnan(cut).all(1) == (rows >= 10)).all(), "a batch in flight at the deadline would be lost"


def test_near_the_deadline_few_pictures_go_at_once_and_none_that_would_not_be_done_by_then(monkeypatch):
    clock = Slow(monkeypatch)
    given = (build_net(TINY, 2), material_of(), np.arange(24), CPU, 16, "none")
    p = predict_rows(*given, Watch(clock, deadline=3.5, each=0.125))
    assert (np.isfinite(p).all(1) == (np.arange(24) < 8 + 8 + 8)).all()
    assert clock.time == 3.0
    assert np.isnan(predict_rows(*given, Watch(clock, deadline=3.1, each=0.125))).all()
    assert clock.time == 3.0


def test_a_machine_that_becomes_slow_in_the_midst_of_a_batch_sees_it_in_fewer_views(monkeypatch):
    clock = Slow(monkeypatch, batch=0.1)
    original = views.predictions_of

    def slowing(*given):
        clock.batch = 5.0 if clock.time else 0.1
        return original(*given)

    monkeypatch.setattr(views, "predictions_of", slowing)
    p = predict_rows(build_net(TINY, 2), material_of(), np.arange(24), CPU, 16, "dihedral", Watch(clock, soft=2.0))
    assert np.isfinite(p).all()
    assert clock.time == pytest.approx(5.1)


def test_predictions_that_are_no_numbers_are_a_divergence_and_not_taken_for_rows_that_were_not_reached(monkeypatch):
    built = build_net(TINY, 2)
    torch.nn.init.constant_(built.head.bias, np.nan)
    with pytest.raises(Diverged):
        predict_rows(built, material_of(), np.arange(24), CPU, 16, "none", Watch(lambda: 0.0))


@pytest.mark.parametrize(("deadline", "tta", "seconds"), [(200.0, None, 28), (12.0, "none", 3)])
def test_views_are_looked_at_only_while_there_is_time_to_see_every_row_once(
    tmp_path, monkeypatch, deadline, tta, seconds
):
    clock = Slow(monkeypatch)
    part = fold_over(range(8), range(8, 64), now=clock, deadline=deadline)
    oof_pred, test_pred, facts = run_fold(TINY.vary(tta="auto"), 0.0, material_of(64), part, tmp_path)
    assert np.isfinite(oof_pred).all()
    assert np.isfinite(test_pred).all()
    assert facts["tta"] in views.CHOICES
    assert tta in (None, facts["tta"])
    assert clock.time >= seconds
    assert clock.time <= deadline


def test_a_machine_that_becomes_slow_while_views_are_looked_at_still_sees_every_row_once(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=0.1)
    original = views.predictions_of

    def slowing(*given):
        clock.batch = 3.0 if clock.time > 1.0 else 0.1
        return original(*given)

    monkeypatch.setattr(views, "predictions_of", slowing)
    part = fold_over(range(8), range(8, 64), now=clock, deadline=40.0)
    oof_pred, test_pred, facts = run_fold(TINY.vary(tta="auto"), 0.0, material_of(64), part, tmp_path)
    assert np.isfinite(oof_pred).all()
    assert np.isfinite(test_pred).all()
    assert facts["tta"] == "none"


def test_a_fold_that_predicts_slower_than_planned_still_gives_every_test_row(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=3.0, step=0.5)
    part = fold_over(range(8, 24), range(8), now=clock, deadline=17.0)
    config = TINY.vary(seconds=10.0, epochs=0.0, tta="dihedral")
    _, test_pred, facts = run_fold(config, 10.0, material_of(), part, tmp_path)
    assert np.isfinite(test_pred).all()
    assert facts["steps"] > 2


def test_views_that_would_end_after_the_deadline_are_not_begun_however_long_the_fold_was_to_take(monkeypatch):
    clock = Slow(monkeypatch)
    part = fold_over(range(8), range(8, 40), now=clock, deadline=10.0)
    config = TINY.vary(seconds=100.0, epochs=0.0, tta="dihedral")
    p = fold._predictions(build_net(TINY, 2), material_of(40, 300), config, part, 100.0, 0.0)
    assert all(np.isfinite(some).all() for some in p[:2])
    assert clock.time < 10.0


def test_folds_that_ran_over_leave_those_after_them_enough_to_be_trained(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=20.0, step=0.2)
    config = TINY.vary(folds=(0, 1, 2), seconds=8.0, epochs=0.0)
    assert trial_in(tmp_path, config, now=clock)["folds"] == 3
    steps = [read_json(tmp_path / "nets" / f"fold{number}.json")["steps"] for number in range(3)]
    assert min(steps) >= 4


def test_a_fold_whose_test_rows_cannot_be_predicted_in_time_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(views, "prefetch", lambda items, device: list(items))
    clock = Slow(monkeypatch, batch=50.0, step=0.5)
    many = replace(material_of(m=300))
    part = fold_over(range(8, 24), range(8), now=clock, deadline=20.0)
    with pytest.raises(OutOfTime, match="test rows"):
        run_fold(TINY.vary(seconds=10.0, epochs=0.0), 10.0, many, part, tmp_path)


def test_a_fold_that_reaches_no_test_row_counts_out_of_fold_where_another_folds_net_has_answered(tmp_path, monkeypatch):
    clock, train = Slow(monkeypatch), fold.train

    def slow_from_the_second_fold_on(*given):
        clock.batch = 10.0 if clock.time else 1.0
        return train(*given)

    monkeypatch.setattr(fold, "train", slow_from_the_second_fold_on)
    material, where = material_of(m=300), (tmp_path / "out", tmp_path / "nets", tmp_path, CPU)
    alone = run_trial(TINY, material, *where)
    assert (alone["status"], alone["note"]) == ("done", "")
    first = np.load(tmp_path / "out" / "test.npy")
    reply = run_trial(TINY.vary(folds=(0, 1)), material, *where, now=clock, seconds=12.0)
    assert (reply["status"], reply["folds"]) == ("done", 2)
    assert reply["note"] == "fold 1: the deadline came before 292 test rows"
    oof = np.asarray(read_predictions(tmp_path / "out" / "oof"))
    assert (np.isfinite(oof).all(1) == (material.fold_of < 2)).all()
    both = np.load(tmp_path / "out" / "test.npy")
    np.testing.assert_array_equal(both[8:], first[8:])
    assert (both[:8] != first[:8]).any(1).all()
    assert not (tmp_path / "nets" / "fold1.json").exists(), "it may be finished another time"
    assert (tmp_path / "nets" / "fold1.safetensors").exists()


def test_a_fold_alone_answers_the_test_before_its_held_out_rows(monkeypatch):
    clock = Slow(monkeypatch)
    many, part = material_of(300, 4), fold_over(range(8), range(8, 300), now=clock, deadline=2.5)
    given = (build_net(TINY, 2), many, TINY)
    oof_pred, test_pred, _ = fold._predictions(*given, part, 2.5, 0.0)
    assert np.isfinite(test_pred).all()
    reached = np.flatnonzero(np.isfinite(oof_pred).all(1))
    assert 20 <= len(reached) < 292
    assert reached.min() < 60, "of a table that is sorted by class all classes are reached"
    assert reached.max() > 230
    clock.time = 0.0
    oof_pred, test_pred, _ = fold._predictions(*given, replace(part, test_done=True), 2.5, 0.0)
    assert np.isfinite(oof_pred).all(1).sum() >= 128
    assert not np.isfinite(test_pred).any()


def test_a_fold_of_which_next_to_nothing_is_held_out_in_time_is_late(monkeypatch):
    clock = Slow(monkeypatch)
    part = fold_over(range(8), range(8, 300), now=clock, deadline=2.5)
    with pytest.raises(OutOfTime, match="4 of 4 test rows and 12 of 292 held-out rows"):
        fold._predictions(build_net(TINY, 2), material_of(300, 4), TINY, part, 2.5, 0.01)
    few = fold_over(range(8), range(8, 14), now=clock, deadline=99.0)
    assert np.isfinite(fold._predictions(build_net(TINY, 2), material_of(24, 4), TINY, few, 99.0, 0.0)[0]).all()


def test_kept_features_are_seen_in_a_second_view_only_while_that_takes_no_time_from_other_rows(monkeypatch):
    clock = Slow(monkeypatch)
    plain = material_of(300, 4)
    material = replace(plain, stored=StoredFeatures((plain.pixels, plain.pixels[:, :, ::-1]), ()))
    watch = Watch(clock, soft=3.5, deadline=20.0)
    p = fold._predict(build_net(TINY, 2), material, np.arange(300), TINY.vary(tta="flip"), fold_over(()), watch)
    assert np.isfinite(p).all()
    assert clock.time <= 4.0


def test_what_comes_between_training_and_predicting_ends_when_predicting_must_begin(monkeypatch):
    ticks = count()
    built, part = build_net(TINY, 2), fold_over(range(24), now=lambda: float(next(ticks)))
    seen = []
    monkeypatch.setattr(averages, "to_input", lambda x, *rest: seen.append(len(x)) or to_input(x, *rest))
    recompute_norms(built, material_of(), TINY, part, until=1.0)
    assert seen == [8, 8]
    config = TINY.vary(loss="arcface", neighbours=3)
    built = build_net(config, 2)
    fold.remember(built, material_of(), config, part, until=0.0, batch=5)
    assert len(built.head.known) == 5


def test_a_training_that_counts_epochs_anneals_to_be_done_by_its_deadline(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=0.0, step=0.5)
    part = fold_over(range(24), (), now=clock, deadline=21.6)
    facts = run_fold(TINY.vary(epochs=50.0), 0.0, material_of(), part, tmp_path)[2]
    assert 30 <= facts["steps"] <= 43
    clock.time = 0.0
    pace = Pace(clock, 0.0, seconds=20.0, steps=10)
    assert [pace.progress(step) for step in (0, 5, 10)] == [0.0, 0.5, 1.0]
    clock.time = 15.0
    assert pace.progress(5) == 0.75


def test_a_training_that_neighbours_slow_down_ends_while_predictions_as_slow_still_fit(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=1.0, step=0.5)
    stepping = clock.step

    def slower(*given):
        clock.batch = 12.0 if clock.time > 20 else 1.0
        stepping(5 if clock.time > 20 else 1)

    clock.step = slower
    monkeypatch.setattr(fold, "seconds_a_picture", lambda *given: 0.1)
    config, part = TINY.vary(seconds=60.0, epochs=0.0), fold_over(range(8, 24), range(8), now=clock, deadline=62.0)
    oof_pred, test_pred, facts = run_fold(config, 60.0, material_of(m=40), part, tmp_path)
    assert np.isfinite(test_pred).all()
    assert np.isfinite(oof_pred).all()
    assert 40 < facts["steps"] < 50
    assert clock.time < 62.0


def test_a_trial_leaves_the_time_to_write_what_it_predicts(tmp_path, monkeypatch):
    deadlines = []

    def late(config, seconds, material, part, *rest):
        deadlines.append(part.deadline)
        raise OutOfTime("no matter")

    monkeypatch.setattr(fold, "run_fold", late)
    for written in (math.inf, 32.0):  # bytes a second: twice ten rows of two float32
        monkeypatch.setattr(trial, "SLACK", replace(SLACK, written=written))
        assert trial_in(tmp_path, now=lambda: 100.0, seconds=30.0)["status"] == "late"
    assert deadlines == [130 - SLACK.worker_reply, 130 - SLACK.worker_reply - 5.0]


def test_a_trial_ends_after_the_folds_that_there_was_time_for(tmp_path, monkeypatch):
    clock = Slow(monkeypatch, batch=0.1, step=1.0)
    config = TINY.vary(folds=(0, 1, 2, 3), seconds=8.0, epochs=0.0)
    reply = trial_in(tmp_path, config, now=clock, seconds=19.0)
    assert reply["status"] == "done"
    assert reply["folds"] == 2
    assert "no time for another" in reply["note"]
    assert trial_in(tmp_path / "late", config, now=clock, seconds=0.5)["status"] == "late"


def test_a_net_whose_views_were_chosen_predicts_in_one_where_its_deadline_cut_them_off(tmp_path, monkeypatch):
    clock, cut = Slow(monkeypatch, batch=0.0, step=0.0), fold._predictions

    def cut_off(*given):
        oof_pred, *others = cut(*given)
        oof_pred[-2:] = np.nan
        clock.time = 99.0
        return oof_pred, *others

    monkeypatch.setattr(fold, "_predictions", cut_off)
    config = TINY.vary(tta="auto")
    assert trial_in(tmp_path, config, now=clock, seconds=20.0)["status"] == "done"
    where = (tmp_path / "nets", tmp_path, CPU, lambda facts: None)
    again = predict_again(config, material_of(), *where)
    np.testing.assert_array_equal(again, predict_again(config.vary(tta="none"), material_of(), *where))


def test_a_net_is_saved_before_it_predicts_and_knows_its_input(tmp_path, monkeypatch):
    monkeypatch.setattr(fold, "_predictions", raising(OutOfTime("the deadline came")))
    assert trial_in(tmp_path)["status"] == "late"
    from safetensors.torch import load_file

    assert INPUT in load_file(tmp_path / "nets" / "fold0.safetensors")


def test_a_slip_where_a_net_is_explained_or_its_features_are_stored_is_raised_and_a_fault_is_a_note(
    tmp_path, monkeypatch
):
    config, material = TINY.vary(train="features"), material_of()
    explained = partial(gradcam.explain, config, material, tmp_path, {}, CPU, tmp_path / "maps.npz")
    stored = partial(trunk.keep, config, material, tmp_path, CPU, print, 1.0)
    for module, place, run in ((gradcam, "_frozen_net", explained), (trunk, "stored_features", stored)):
        monkeypatch.setattr(module, place, raising(KeyError("rows")))
        with pytest.raises(KeyError):
            run()
        monkeypatch.setattr(module, place, raising(RuntimeError("shapes do not match")))
        assert run()["note"] == "shapes do not match"


def test_the_log_says_where_a_look_at_a_net_failed_unless_the_fault_says_all(monkeypatch, capsys):
    monkeypatch.setattr(probe, "build_net", raising(RuntimeError("shapes do not match")))
    assert measure_speed(TINY, material_of(), CPU, 0.1)["fault"] == "torch"
    assert "in measure_speed" in capsys.readouterr().err
    monkeypatch.setattr(probe, "build_net", raising(Unbuildable("weights of another net")))
    assert measure_speed(TINY, material_of(), CPU, 0.1)["fault"] == "unbuildable"
    assert not capsys.readouterr().err
