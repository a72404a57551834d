"""Running a command and measuring its wall time and memory from outside; and the machine in words."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import BinaryIO

from autoclimb.processors import allowed_cores, processor_name

MEASURE_EVERY = 1.0  # seconds between two measurements of a command's memory: one of ten processes takes 10 ms
TAIL = 65_536  # bytes of output that a last line is looked for in: a progress bar may print gigabytes
LONGEST_LINE = 200  # characters of it that are recorded
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

    Descendants that outlive it are killed too, so that the next command has the machine to itself.
    Its output goes to the file `output`. Memory is that of the process and all its descendants, measured once a second,
    shared pages counted once. Raises OSError where the command cannot be started.
    """
    with output.open("w+b") as printed:
        began = time.monotonic()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
        )
        peak, known, stopped = 0.0, {process.pid}, False
        try:
            while process.poll() is None:
                known = family(parents(), known)
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
            for pid in family(parents(), known) | ({process.pid} if process.poll() is None else set()):
                with suppress(ProcessLookupError):  # it has ended since
                    os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError, PermissionError):  # those begun since the last measurement
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Ended(process.returncode, stopped, seconds, peak, last_line(printed))


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
    """The last line of an output that is not blank, read from its end."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL))
    lines = output.read(TAIL).decode("utf-8", errors="replace").splitlines()
    return next((line.strip()[:LONGEST_LINE] for line in reversed(lines) if line.strip()), "")


def parents() -> dict[int, int]:
    """The parent of each living process of this machine, by process id; {} where there is no /proc."""
    parent_of = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name of a command, in parentheses, may hold a ")" itself
            parent_of[int(stat.parent.name)] = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:  # it has ended since
            continue
    return parent_of


def family(parent_of: Mapping[int, int], known: Collection[int]) -> set[int]:
    """The living processes of `known` and all their descendants, whatever sessions those opened.

    With the family of the last measurement as `known` it includes processes whose parent has ended since, to which the
    kernel gives another parent.
    """
    living = set(known) & parent_of.keys()
    while born := {pid for pid, parent in parent_of.items() if parent in living} - living:
        living |= born
    return living


def megabytes_of(processes: Collection[int]) -> float:
    """Megabytes (1e6 bytes) that the processes hold now, shared pages split among those that share them."""
    kilobytes = 0
    for pid in processes:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it has ended since
            continue
    return kilobytes * 1024 / 1e6


def hardware() -> str:
    """Processor, cores, memory and card, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    card = "no GPU"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")
        card = ", ".join(name for name in names if name) or card
    return f"{processor_name()}, {allowed_cores()} cores, {memory:.0f} GB, {card}"
