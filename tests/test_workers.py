"""The worker's line: answers, events, deadlines, deaths, and what is said again after a restart."""

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_origin

import numpy as np
import pytest
from folders import task

from autoclimb.budget import Clock
from autoclimb.config import Config
from autoclimb.disk import write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.protocol import REQUESTS, request_of
from autoclimb.run import store
from autoclimb.run.setup import Setup, introduce
from autoclimb.run.trials import run_trial
from autoclimb.run.worker import ENVIRONMENT, Died, Late, Worker, ends_as_mistakes
from autoclimb.score.metrics import metric_named
from autoclimb.search.space import SearchSpace
from autoclimb.types import Goal

pytestmark = pytest.mark.long

LONG = 20.0
SCRIPT = """
import json, os, signal, sys
def say(**told): print(json.dumps(told), flush=True)
say(end={"ready": True})
for line in sys.stdin:
    asked = json.loads(line)
    print(asked["do"], file=sys.stderr, flush=True)
    match asked["do"]:
        case "hello": say(end={"pid": os.getpid()})
        case "echo": say(end=asked)
        case "count":
            for i in range(3): say(event={"progress": i})
            say(end={"counted": 3})
        case "environment": say(end={name: os.environ.get(name) for name in asked["names"]})
        case "hang": say(event={"hanging": True})
        case "start another":
            if os.fork() == 0: [signal.pause() for _ in "ever"]
            say(end={})
        case "leave": sys.exit(3)
        case "be killed": os.kill(os.getpid(), 9)
        case "be cut off":
            print('{"end": {"status": "do', end="", flush=True)
            os.kill(os.getpid(), 9)
        case "mistake": say(end={"mistake": "write it like this"})
        case "bug": say(end={"bug": "Traceback: ZeroDivisionError"})
"""


A_VALUE: dict[Any, Any] = {str: "a", int: 3, float: 0.5, bool: True, list: ["a"], dict: {"a": 1}}


@pytest.mark.parametrize("kind", REQUESTS.values(), ids=REQUESTS)
def test_a_request_arrives_as_it_was_sent(kind):
    values = {f.name: A_VALUE.get(get_origin(f.type) or f.type, "binary") for f in fields(kind)}
    request = kind(**values | ({"config": Config(size=48, folds=(0, 2))} if "config" in values else {}))
    assert request_of(json.loads(json.dumps(request.to_json()))) == request


@pytest.fixture
def worker(tmp_path):
    process = Worker([sys.executable, "-S", "-c", SCRIPT], tmp_path / "worker.log")
    yield process
    process.end()


def heard(worker: Worker) -> list[str]:
    """What the processes of this worker were asked, in order: the script writes it to its log."""
    return worker.log.read_text().splitlines()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_request_is_answered(worker):
    assert worker.ask({"do": "echo", "x": [1, "ä"]}, LONG) == {"do": "echo", "x": [1, "ä"]}
    assert worker.ask({"do": "echo", "x": 2}, LONG)["x"] == 2


def test_events_go_to_the_watcher_in_order_before_the_answer(worker):
    seen: list[dict] = []
    assert worker.ask({"do": "count"}, LONG, seen.append) == {"counted": 3}
    assert seen == [{"progress": i} for i in range(3)]


def test_the_greeting_is_answered_and_said_once(worker):
    assert worker.greet({"do": "hello"}, LONG)["pid"] == worker.process.pid
    worker.ask({"do": "echo"}, LONG)
    worker.ask({"do": "echo"}, LONG)
    assert heard(worker) == ["hello", "echo", "echo"]


def test_a_worker_that_does_not_answer_in_time_is_ended(worker):
    pid = worker.greet({"do": "hello"}, LONG)["pid"]
    with pytest.raises(Late):
        worker.ask({"do": "hang"}, 0.2)
    assert not alive(pid)


def test_events_do_not_put_the_deadline_off(worker):
    seen: list[dict] = []
    worker.greet({"do": "hello"}, LONG)
    with pytest.raises(Late):
        worker.ask({"do": "hang"}, 0.3, seen.append)
    assert seen == [{"hanging": True}]


@pytest.mark.parametrize("end", ["hang", "leave", "be killed", "bug"])
def test_the_next_request_starts_the_worker_again_and_greets_it_first(worker, end):
    first = worker.greet({"do": "hello"}, LONG)["pid"]
    with pytest.raises((Late, Died, RuntimeError)):
        worker.ask({"do": end}, 0.3 if end == "hang" else LONG)
    assert worker.ask({"do": "echo", "x": 1}, LONG)["x"] == 1
    assert worker.process.pid != first
    assert heard(worker) == ["hello", end, "hello", "echo"]


@pytest.mark.parametrize(("end", "says"), [("hang", "deadline"), ("leave", "exit status 3")])
def test_outside_of_a_run_a_worker_that_ends_is_a_mistake(worker, end, says):
    with pytest.raises(Mistake, match=says), ends_as_mistakes():
        worker.ask({"do": end}, 0.3 if end == "hang" else LONG)


def test_a_worker_that_ends_by_itself_has_died_and_the_log_is_named(worker):
    with pytest.raises(Died, match=r"exit status 3.*worker\.log"):
        worker.ask({"do": "leave"}, LONG)


def test_a_killed_worker_most_likely_lacked_memory(worker):
    with pytest.raises(Died, match="memory"):
        worker.ask({"do": "be killed"}, LONG)


def test_a_worker_that_is_killed_in_the_middle_of_its_reply_has_died(worker):
    with pytest.raises(Died, match="memory"):
        worker.ask({"do": "be cut off"}, LONG)
    assert worker.ask({"do": "echo", "x": 4}, LONG)["x"] == 4


def test_a_worker_that_ended_between_requests_is_started_again(worker):
    worker.greet({"do": "hello"}, LONG)
    worker.process.kill()
    worker.process.wait()
    assert worker.ask({"do": "echo", "x": 5}, LONG)["x"] == 5
    assert heard(worker) == ["hello", "hello", "echo"]


def test_what_starting_a_worker_again_takes_is_taken_off_the_seconds_of_a_request(worker):
    assert worker.ask({"do": "echo", "seconds": 9.0}, LONG)["seconds"] < 9.0
    assert worker.ask({"do": "echo", "seconds": 9.0}, LONG)["seconds"] == 9.0
    worker.end()
    assert worker.ask({"do": "echo", "seconds": 9.0}, LONG)["seconds"] < 9.0


@pytest.mark.parametrize("reply", [{"bug": "Traceback:\nRuntimeError: CUDA error: unknown"}, {"mistake": "no card"}])
def test_a_machine_on_which_no_worker_can_be_set_up_again_is_a_fault_of_the_device(tmp_path, reply):
    broken = f"say(end={reply!r} if os.path.exists({str(tmp_path / 'gone')!r}) else {{}})"
    script = SCRIPT.replace('say(end={"pid": os.getpid()})', broken)
    worker = Worker([sys.executable, "-S", "-c", script], tmp_path / "worker.log")
    try:
        worker.greet({"do": "hello"}, LONG)
        worker.end()
        (tmp_path / "gone").touch()
        with pytest.raises(Died, match=r"set up again: .*(CUDA error: unknown|no card)$") as died:
            worker.ask({"do": "echo"}, LONG)
        assert died.value.fault == "device"
        assert worker.process is None
        (tmp_path / "gone").unlink()
        assert worker.ask({"do": "echo", "x": 2}, LONG)["x"] == 2
    finally:
        worker.end()


def test_a_command_that_cannot_even_start_has_died(tmp_path):
    worker = Worker([sys.executable, "-S", "-c", "raise SystemExit(7)"], tmp_path / "log")
    with pytest.raises(Died, match="7"):
        worker.ask({"do": "echo"}, LONG)


def test_the_users_mistake_is_raised_here_and_the_worker_lives_on(worker):
    pid = worker.greet({"do": "hello"}, LONG)["pid"]
    with pytest.raises(Mistake, match="write it like this"):
        worker.ask({"do": "mistake"}, LONG)
    worker.ask({"do": "echo"}, LONG)
    assert worker.process.pid == pid


def test_a_bug_is_raised_with_its_traceback(worker):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        worker.ask({"do": "bug"}, LONG)
    assert worker.process is None


def test_an_answer_that_comes_after_the_deadline_is_never_taken_for_the_next(worker):
    with pytest.raises(Late):
        worker.ask({"do": "hang"}, 0.0)
    assert worker.ask({"do": "echo", "x": "mine"}, LONG)["x"] == "mine"


def test_the_worker_keeps_its_memory_and_asks_no_network(worker):
    assert worker.ask({"do": "environment", "names": list(ENVIRONMENT)}, LONG) == ENVIRONMENT


def test_ending_twice_is_no_fault_and_leaves_no_process(worker):
    pid = worker.greet({"do": "hello"}, LONG)["pid"]
    worker.end()
    worker.end()
    assert not alive(pid)


def test_what_the_worker_started_ends_with_it(worker):
    worker.ask({"do": "start another"}, LONG)
    lines = worker.lines
    worker.end()
    assert lines.get(timeout=LONG) is None  # the pipe that both of them held is closed


def test_what_a_library_prints_on_standard_error_is_in_the_log(tmp_path: Path):
    noisy = "import sys; print('careful', file=sys.stderr); " + "sys.stdin.readline()"
    worker = Worker([sys.executable, "-S", "-c", noisy], tmp_path / "log")
    worker.process.stdin.write(json.dumps({}) + "\n")  # type: ignore[union-attr]
    worker.process.stdin.close()  # type: ignore[union-attr]
    worker.process.wait()  # type: ignore[union-attr]
    assert worker.log.read_text() == "careful\n"


FAULTY = """
import errno, os
import cv2, torch
from autoclimb.learn import fold, loop, worker
loop.loader_processes = lambda *given: 2  # as on a card
train = fold.train
FAULTS = {
    1: torch.OutOfMemoryError("CUDA out of memory"),
    2: OSError(errno.ENOSPC, "No space left on device"),
    3: cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes"),
    4: RuntimeError("CUDA error: an illegal memory access was encountered"),
}
def faulty(built, material, config, *rest):
    if config.seed in FAULTS:
        raise FAULTS[config.seed]
    if config.seed == 5:
        os.kill(os.getpid(), 9)
    return train(built, material, config, *rest)
fold.train = faulty
worker.main()
"""


TINY = Config(backbone="resnet10t", model_args=(("channels", (4, 4, 8, 8)),), size=16, batch=8, epochs=1)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run's setting behind which the real worker trains, in trials of some seeds with a fault."""
    folder = tmp_path_factory.mktemp("real")
    draw, n, answered = np.random.default_rng(0), 20, 4
    about = task(kind="binary", target=np.arange(n) % 2, classes=("along", "across"), test_ids=list("abcd"))
    write_array(folder / "pixels.npy", draw.integers(0, 256, (n + answered, 16, 16, 3), np.uint8))
    write_json(folder / "pixels.json", {"rows": n + answered, "size": 16, "channels": 3})
    pictures = SimpleNamespace(path=folder / "pixels.npy")
    decoded: Any = SimpleNamespace(at=lambda *how: pictures, limit=3e9)
    worker = Worker([sys.executable, "-c", FAULTY], folder / "worker.log")
    clock, goal, fold_of = Clock(900.0), Goal(metric_named("accuracy"), "binary"), np.arange(n) % 2
    setup = Setup(about, goal, fold_of, store.open_folder(folder / "run"), worker, decoded, clock, lambda event: None)
    try:
        introduce(worker, about, goal, fold_of, setup.folder, "cpu", SearchSpace(), clock)
        yield setup
    finally:
        worker.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that prepare batches are forked")
def test_processes_that_prepare_batches_do_not_wait_for_the_line_that_the_worker_reads(real):
    trial = run_trial(real, TINY, "stage")
    assert (trial.status, trial.note) == ("done", "")
    log = real.worker.log.read_text()
    for phase in (
        "importing autoclimb.learn.fold: ",
        "hello: ",
        "waited for batches of 16 px: ",
        "trial net resnet10t @16: ",
    ):
        assert phase in log, "where the seconds went"


def test_in_the_real_worker_a_fault_is_a_status_and_the_next_trial_is_trained(real):
    processes, faults = [], []
    for seed in range(1, 5):
        processes.append(real.worker.process)
        trial = run_trial(real, TINY.vary(seed=seed), "stage")
        assert trial.status == "failed"
        faults.append(trial.facts["fault"])
    assert faults == ["memory", "disk", "memory", "device"]
    assert len(set(processes)) == 1
    assert real.worker.process is None, "only an error of the card takes the process with it"
    trial = run_trial(real, TINY.vary(seed=6), "stage")
    assert (trial.status, trial.note) == ("done", "")
    killed = run_trial(real, TINY.vary(seed=5), "stage")
    assert (killed.status, killed.facts["fault"]) == ("failed", "memory")
