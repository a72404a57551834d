"""A command watched from outside: its family, its memory, its end."""

import io
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from autoclimb.contest.machine import family, hardware, last_line, megabytes_of, parents, stopped_as_by_ctrl_c, watched

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def test_a_family_is_all_that_descend_from_its_first():
    assert family({1: 0, 5: 1, 6: 5, 7: 6, 8: 1}, {5}) == {5, 6, 7}


def test_a_family_keeps_a_child_whose_parent_has_ended():
    seen = family({1: 0, 5: 1, 6: 5, 7: 6}, {5})
    assert family({1: 0, 5: 1, 7: 1, 9: 7}, seen) == {5, 7, 9}  # 6 has ended, 7 is now the child of 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_a_child_with_a_session_of_its_own_counts():
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        found = family(parents(), {parent.pid})
        assert child in found
        assert os.getpid() not in found
        assert megabytes_of(found) > megabytes_of({parent.pid}) > 0
        parent.communicate("\n")


def test_a_command_is_stopped_at_its_limit_with_what_it_started(tmp_path):
    words = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"]
    ended = watched(words, 0.5, tmp_path / "output.txt")
    assert ended.stopped
    assert ended.status != 0
    assert ended.seconds < 30


def test_a_command_that_fails_says_its_last_words_and_what_it_printed_is_kept(tmp_path):
    words = [sys.executable, "-c", "print('once'); import sys; sys.exit('the disk is full')"]
    ended = watched(words, 30, tmp_path / "output.txt", tmp_path)
    assert (ended.status, ended.stopped, ended.last_line) == (1, False, "the disk is full")
    assert "once" in (tmp_path / "output.txt").read_text()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's handles of processes")
def test_what_a_command_started_ends_with_it(tmp_path):
    words = [sys.executable, "-c", "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"]
    ended = watched(words, 30, tmp_path / "output.txt")
    assert (ended.status, ended.stopped) == (0, False)
    with suppress(ProcessLookupError):  # it has ended
        handle = os.pidfd_open(int(ended.last_line))
        assert select.select([handle], [], [], 20)[0], "it lives on"
        os.close(handle)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_bench_that_is_ended_from_outside_leaves_no_command_behind(tmp_path, number):
    code = f"import os, time; print(os.getpid(), flush=True); os.kill(os.getppid(), {int(number)}); time.sleep(60)"

    def bench() -> None:
        with stopped_as_by_ctrl_c():
            assert signal.getsignal(number) is not signal.SIG_DFL  # else the signal would end the tests
            watched([sys.executable, "-c", code], 30, tmp_path / "output.txt")

    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench()
        assert signal.getsignal(number) is signal.SIG_DFL
        with pytest.raises(ProcessLookupError):  # the command was killed and waited for
            os.kill(int((tmp_path / "output.txt").read_text()), 0)
        signal.signal(number, signal.SIG_IGN)  # as under nohup
        with stopped_as_by_ctrl_c():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("code", "why"), [("os.kill(os.getpid(), 9)", "killed by SIGKILL"), ("sys.exit(5)", "exit 5")])
def test_a_command_that_ends_without_a_word_says_how(tmp_path, code, why):
    assert watched([sys.executable, "-c", f"import os, sys; {code}"], 30, tmp_path / "output.txt").why == why


def test_the_last_line_of_a_long_output_is_read_from_its_end():
    reads = []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            reads.append(super().read(size))
            return reads[-1]

    assert last_line(Counted(b"x" * 3_000_000 + b"\n\xffhalf a step\repoch 2\r\n\n")) == "epoch 2"
    assert len(last_line(Counted(b"no line ends " * 300_000))) == 200
    assert last_line(Counted(b"")) == ""
    assert max(map(len, reads)) < 100_000


def test_the_machine_is_told_in_words():
    assert "cores" in hardware()
