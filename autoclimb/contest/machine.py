"""Running a command and measuring its wall time and memory from outside; and the machine in words."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import BinaryIO

from autoclimb.contest.processes import (
    MARK,
    RECORD,
    Process,
    end,
    family,
    living,
    marked_with,
    megabytes_of,
    process_of,
    write_record,
)
from autoclimb.processors import allowed_cores, processor_name

MEASURE_EVERY = 1.0  # seconds between two measurements of a command's memory: one of ten processes takes 10 ms
TAIL = 65_536  # bytes of output that a last line is looked for in: a progress bar may print gigabytes
LONGEST_LINE = 200  # characters of it that are recorded
FRAME = " \t│┃║╭╮╰╯─━"  # characters around a message, such as those that rich draws about a wrong option
SIGNALS = {int(number): number.name for number in signal.Signals}


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status, whether it was stopped, wall seconds, peak megabytes, last line of output."""

    status: int
    stopped: bool
    seconds: float
    peak_mb: float
    last_line: str

    @property
    def why(self) -> str:
        """The reason for a status other than 0: the signal or the status, and the last line of output."""
        signalled = f"killed by {SIGNALS.get(-self.status, f'signal {-self.status}')}"
        how = signalled if self.status < 0 else f"exit {self.status}"
        return f"{how}: {self.last_line}" if self.last_line else how


def watched(command: Sequence[str], limit: float, output: Path, folder: Path | None = None) -> Ended:
    """Runs the command in `folder` and says how it ended; after `limit` seconds it is killed.

    Descendants that outlive it are killed too, so that the next command has the machine to itself. While it runs, its
    processes are on record beside `output`, the file of what it prints (see processes.end_recorded). Memory is that of
    the process and all its descendants, measured once a second, shared pages counted once. Raises OSError where the
    command cannot be started.
    """
    mark = secrets.token_hex(8)
    with output.open("w+b") as printed:
        began, peak, stopped = time.monotonic(), 0.0, False
        process, known = None, set[Process]()
        try:
            with held_back():  # an interrupt amid the start would leave a command behind that nobody knows
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=folder,
                    env={**os.environ, MARK: mark},
                )
            if leader := process_of(process.pid):
                known = {leader}
            write_record(output.parent, known, mark)
            while process.poll() is None:
                before, known = known, family(living(), known)
                if not known <= before:
                    write_record(output.parent, known, mark)
                peak = max(peak, megabytes_of(known))
                left = began + limit - time.monotonic()
                stopped = left <= 0
                if stopped:
                    break
                try:
                    process.wait(timeout=min(MEASURE_EVERY, left))
                except subprocess.TimeoutExpired:
                    continue
            seconds = time.monotonic() - began
        finally:  # on Ctrl-C too
            if process is not None:
                processes = living()
                end(family(processes, known) | marked_with(mark, processes))
                process.kill()  # where there is no /proc
                with suppress(ProcessLookupError, PermissionError):  # those begun since the last measurement
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                (output.parent / RECORD).unlink(missing_ok=True)
        return Ended(process.returncode, stopped, seconds, peak, last_line(printed))


@contextmanager
def held_back() -> Iterator[None]:
    """A block at whose end Ctrl-C, and what counts as it, takes effect."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if current_thread() is main_thread() else ()
    interrupting = [number for number in numbers if signal.getsignal(number) is signal.default_int_handler]
    waiting: list[int] = []
    for number in interrupting:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number in interrupting:
            signal.signal(number, signal.default_int_handler)
    if waiting:
        raise KeyboardInterrupt


@contextmanager
def stopped_as_by_ctrl_c() -> Iterator[None]:
    """A block that a batch system's or a closing terminal's signal ends as Ctrl-C does, the running command with it."""
    numbers = (signal.SIGTERM, signal.SIGHUP) if current_thread() is main_thread() else ()
    replaced = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in replaced:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def last_line(output: BinaryIO) -> str:
    """The last line of an output that has a letter or digit, without the frame around it, read from its end."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL))
    lines = output.read(TAIL).decode("utf-8", errors="replace").splitlines()
    words = (line.strip(FRAME)[:LONGEST_LINE] for line in reversed(lines) if any(map(str.isalnum, line)))
    return next(words, "")


def hardware() -> str:
    """Processor, cores, memory and card, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    card = "no GPU"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        ended = subprocess.run(query, capture_output=True, text=True, check=False)
        names = [] if ended.returncode else ended.stdout.split("\n")  # without a driver it prints why
        card = ", ".join(name for name in names if name) or card
    return f"{processor_name()}, {allowed_cores()} cores, {memory:.0f} GB, {card}"
