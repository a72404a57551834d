"""The processes of a command: who belongs to it, and the end of those that a killed bench left behind."""

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from benches import suite_file

import autoclimb
from autoclimb.contest import cells, processes
from autoclimb.contest.machine import watched
from autoclimb.contest.processes import (
    MARK,
    RECORD,
    Process,
    end_recorded,
    family,
    living,
    marked_with,
    megabytes_of,
    process_of,
    write_record,
)
from autoclimb.contest.suite import read_suite, selected
from autoclimb.disk import write_json
from autoclimb.errors import Mistake

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's handles of processes")

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
BENCH = """
import sys
from pathlib import Path
from autoclimb.contest.machine import watched
folder = Path(sys.argv[1])
watched(["sh", "-c", "setsid sleep 60 & echo $! > begun; wait"], 60, folder / "output.txt", folder)
"""


def tree(*parents: tuple[int, int]) -> set[Process]:
    return {Process(pid, 10 * pid, parent) for pid, parent in parents}


def test_a_family_is_all_that_descend_from_its_first():
    assert family(tree((1, 0), (5, 1), (6, 5), (7, 6), (8, 1)), tree((5, 1))) == tree((5, 1), (6, 5), (7, 6))


def test_a_family_keeps_a_child_whose_parent_has_ended():
    seen = family(tree((1, 0), (5, 1), (6, 5), (7, 6)), tree((5, 1)))
    # 6 has ended, 7 is now the child of 1
    assert family(tree((1, 0), (5, 1), (7, 1), (9, 7)), seen) == tree((5, 1), (7, 1), (9, 7))


def test_a_number_that_was_given_to_another_process_is_of_no_family():
    assert family([Process(5, 99, 1), Process(6, 100, 5)], [Process(5, 50, 1)]) == set()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_a_child_with_a_session_of_its_own_counts():
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        members = family(living(), [process_of(parent.pid)])
        assert process_of(child) in members
        assert process_of(os.getpid()) not in members
        assert megabytes_of(members) > megabytes_of([process_of(parent.pid)]) > 0
        parent.communicate("\n")


def lives(process: subprocess.Popen) -> bool:
    return process.poll() is None


@contextmanager
def sleeper():
    """A process that sleeps, killed at the end if it still lives."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


def record_of_a_killed_bench(folder: Path, *rows: Process, boot: str = "", mark: str = "none") -> Path:
    """The record of a bench that was killed: its own number belongs to nobody or to another process."""
    folder.mkdir(parents=True, exist_ok=True)
    killed = Process(os.getpid(), process_of(os.getpid()).start - 1)
    pairs = [[process.pid, process.start] for process in (killed, *rows)]
    values = {"boot": boot or processes.BOOT.read_text().strip(), "mark": mark, "processes": pairs}
    write_json(folder / RECORD, values)
    return folder


def test_what_a_killed_bench_left_running_is_ended(tmp_path):
    os.mkfifo(tmp_path / "begun")
    with subprocess.Popen([sys.executable, "-c", BENCH, str(tmp_path)]) as bench:
        detached = int((tmp_path / "begun").read_text())
        while bench.poll() is None and not (tmp_path / RECORD).exists():
            pass  # the record follows within milliseconds
        bench.kill()
    handle = os.pidfd_open(detached)
    assert not select.select([handle], [], [], 0)[0], "it was to outlive its bench"
    assert end_recorded(tmp_path) == (2, set())  # the shell and its child, in a session of its own
    assert select.select([handle], [], [], 0)[0]
    os.close(handle)
    assert not (tmp_path / RECORD).exists()


DETACHES = ["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"]  # at once, so that nobody sees whose child it was


def test_what_a_command_detaches_at_once_ends_with_it(tmp_path):
    ended = watched(DETACHES, 30, tmp_path / "output.txt")
    assert ended.status == 0
    assert process_of(ended.last_line) is None


def test_a_program_that_is_just_starting_has_no_environment_yet_and_is_looked_at_again(monkeypatch):
    answers = iter([b"", f"A=b\0{MARK}=mine\0".encode()])
    monkeypatch.setattr(Path, "read_bytes", lambda path: next(answers))
    process = process_of(os.getpid())
    assert marked_with("mine", [process]) == {process}


def test_what_a_command_detached_is_ended_after_a_killed_bench_too(tmp_path):
    child = subprocess.run(DETACHES, env={**os.environ, MARK: "this cell"}, capture_output=True, check=True)
    assert process_of(child.stdout.decode().strip()) is not None
    assert end_recorded(record_of_a_killed_bench(tmp_path, mark="another cell")) == (0, set())
    assert end_recorded(record_of_a_killed_bench(tmp_path, mark="this cell")) == (1, set())
    assert end_recorded(record_of_a_killed_bench(tmp_path, mark="")) == (0, set())


def test_a_bench_that_goes_on_ends_the_processes_of_every_interrupted_cell_first(tmp_path, monkeypatch):
    suite, notes = selected(read_suite(suite_file(tmp_path, {"mine": "good"})), budgets=["10s"]), []
    monkeypatch.setattr(cells, "watched", lambda *args: cells.Ended(1, False, 1.0, 0.0, "no"))
    with sleeper() as left:
        record_of_a_killed_bench(tmp_path / "out" / "cells" / "of-another-selection", process_of(left.pid))
        next(cells.run_cells(suite, tmp_path / "out", False, lambda event: notes.append(event.text)))
        assert left.wait(10) == -signal.SIGKILL
    assert notes[0] == "ended a process of of-another-selection, which was interrupted"
    assert len(list(tmp_path.glob(f"out/cells/*/{RECORD}"))) == 0


def test_processes_that_do_not_end_stop_the_bench_by_name(tmp_path, monkeypatch):
    path = suite_file(tmp_path, {"mine": "good"})
    monkeypatch.setattr(processes, "end", lambda left: set(left))
    with sleeper() as left:
        record_of_a_killed_bench(tmp_path / "out" / "cells" / "old", process_of(left.pid))
        with pytest.raises(Mistake, match=rf"old was interrupted and its processes \({left.pid}\) do not end"):
            autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
        assert (tmp_path / "out" / "cells" / "old" / RECORD).exists()


def test_a_process_that_was_given_the_number_of_an_ended_one_is_left_alone(tmp_path):
    with sleeper() as other:
        now = process_of(other.pid)
        assert end_recorded(record_of_a_killed_bench(tmp_path, Process(now.pid, now.start - 1))) == (0, set())
        assert lives(other)


def test_a_record_of_an_earlier_boot_names_nobody(tmp_path):
    with sleeper() as other:
        assert end_recorded(record_of_a_killed_bench(tmp_path, process_of(other.pid), boot="another")) == (0, set())
        assert lives(other)
    assert not (tmp_path / RECORD).exists()


def test_the_processes_of_a_bench_that_lives_are_left_alone(tmp_path):
    with sleeper() as other:
        write_record(tmp_path, [process_of(other.pid)], "none")
        assert end_recorded(tmp_path) == (0, set())
        assert lives(other)
    assert (tmp_path / RECORD).exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"boot": 1, "processes": 1}', "half a rec"])
def test_a_damaged_record_names_nobody(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    assert end_recorded(tmp_path) == (0, set())
    assert not (tmp_path / RECORD).exists()


def test_a_command_that_deletes_its_folder_has_no_record_and_ends_as_others_do(tmp_path):
    (tmp_path / "cell").mkdir()
    code = "import shutil, sys; shutil.rmtree(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "cell")]
    assert watched(command, 30, tmp_path / "cell" / "output.txt").status == 0
