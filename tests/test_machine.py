"""A command watched from outside, and its end."""

import io
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from autoclimb.contest.machine import hardware, last_line, stopped_as_by_ctrl_c, watched


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


def test_an_interrupt_amid_the_start_of_a_command_leaves_none_behind(tmp_path, monkeypatch):
    start, started = subprocess.Popen, []

    def interrupted(*args, **kwargs):
        started.append(start(*args, **kwargs))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            watched(["sleep", "60"], 30, tmp_path / "output.txt")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(("code", "why"), [("os.kill(os.getpid(), 9)", "killed by SIGKILL"), ("sys.exit(5)", "exit 5")])
def test_a_command_that_ends_without_a_word_says_how(tmp_path, code, why):
    assert watched([sys.executable, "-c", f"import os, sys; {code}"], 30, tmp_path / "output.txt").why == why


def test_the_last_line_of_a_message_in_a_frame_is_the_message():
    box = "╭─ Error ─────────╮\n│ No such option: --nosuch   │\n╰───────────────────╯\n"
    assert last_line(io.BytesIO(box.encode())) == "No such option: --nosuch"
    assert last_line(io.BytesIO(b"no room\n-----\n=====\n")) == "no room"


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


def test_a_card_without_a_driver_is_none(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert hardware().endswith("no GPU")


def test_the_machine_is_told_in_words():
    assert "cores" in hardware()
