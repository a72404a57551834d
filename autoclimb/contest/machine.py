"""Running a command and measuring its wall time and memory from outside; and the machine in words."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoclimb.processors import allowed_cores, processor_name

MEASURE_EVERY = 1.0  # seconds between two measurements of a command's memory: one of ten processes takes 10 ms


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status, whether it was stopped, wall seconds, peak megabytes, last line of output."""

    status: int
    stopped: bool
    seconds: float
    peak_mb: float
    last_line: str


def watched(command: Sequence[str], limit: float, output: Path, folder: Path | None = None) -> Ended:
    """Runs the command in `folder` and says how it ended; after `limit` seconds it is killed with all its descendants.

    Its output goes to the file `output`. Memory is that of the process and all its descendants, measured once a second,
    shared pages counted once. Raises OSError where the command cannot be started.
    """
    with output.open("w+", encoding="utf-8", errors="replace") as printed:
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
        finally:  # on Ctrl-C too, no process that was started outlives us
            if process.poll() is None:
                for pid in family(parents(), known) | {process.pid}:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:  # it has ended since
                        continue
                process.wait()
        printed.seek(0)
        lines = [line.strip() for line in printed if line.strip()]
    return Ended(process.returncode, stopped, seconds, peak, lines[-1][:200] if lines else "")


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
