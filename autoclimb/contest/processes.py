"""The processes of a command: its descendants, their memory, their end, and a record that outlives the bench."""

import os
import select
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from autoclimb.disk import read_json, write_json

MARK = "AUTOCLIMB_CELL"  # environment variable of a command; what it detaches at once is known by that alone
RECORD = "processes.json"  # in a cell's folder while its command runs
# a program that is just starting has no environment for a moment, a kernel's thread never
LOOKS, STARTING = 3, 0.005  # times, and seconds between them
ENDS_WITHIN = 10.0  # seconds in which a killed process ends, unless a driver holds it
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process of this machine. Its number is given to others after its end, its number and its start are not."""

    pid: int
    start: int  # clock ticks since the machine was booted
    parent: int = field(default=0, compare=False)  # the kernel gives orphans another one


def process_of(pid: int | str) -> Process | None:
    """The living process of that number; None where there is none, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    values = stat.rpartition(")")[2].split()  # the name of a command, in parentheses, may hold a ")" itself
    return None if values[0] == "Z" else Process(int(pid), int(values[19]), int(values[1]))


def living() -> set[Process]:
    """The living processes of this machine; empty where there is no /proc."""
    processes = (process_of(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return {process for process in processes if process is not None}


def family(processes: Collection[Process], known: Collection[Process]) -> set[Process]:
    """Those of `known` that are among the `processes`, and all their descendants, whatever sessions those opened.

    With the family of the last measurement as `known` it includes processes whose parent has ended since.
    """
    members = set(processes) & set(known)
    pids = {process.pid for process in members}
    while born := {process for process in processes if process.parent in pids} - members:
        members |= born
        pids = {process.pid for process in born}
    return members


def marked_with(mark: str, processes: Iterable[Process]) -> set[Process]:
    """Those of the processes that were begun with this mark in their environment."""
    line, marked, unread = f"{MARK}={mark}".encode(), set[Process](), set(processes)
    for _ in range(LOOKS):
        blank = set()
        for process in unread:
            with suppress(OSError):  # it has ended since, or is another user's
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                if line in environment.split(b"\0"):
                    marked.add(process)
                elif not environment:
                    blank.add(process)
        if not blank:
            break
        unread = blank
        time.sleep(STARTING)
    return marked


def megabytes_of(processes: Iterable[Process]) -> float:
    """Megabytes (1e6 bytes) that the processes hold now, shared pages split among those that share them."""
    kilobytes = 0
    for process in processes:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it has ended since
            continue
    return kilobytes * 1024 / 1e6


def end(processes: Collection[Process]) -> set[Process]:
    """Kills the processes and waits for their end; returns those that live on: another user's, or held by a driver."""
    waiting, running = select.poll(), 0
    with ExitStack() as handles:
        # parents first: one that lives on could react to its child's end
        for process in sorted(processes, key=lambda process: (process.start, process.pid)):
            with suppress(OSError):  # it has ended since, or is another user's
                handle = os.pidfd_open(process.pid)
                handles.callback(os.close, handle)
                if process_of(process.pid) == process:  # a handle stays with this one, even should it end now
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    waiting.register(handle, select.POLLIN)
                    running += 1
        deadline = time.monotonic() + ENDS_WITHIN
        while running and (left := deadline - time.monotonic()) > 0:
            for handle, _ in waiting.poll(1000 * left):
                waiting.unregister(handle)
                running -= 1
    return set(processes) & living()


# --- the record ------------------------------------------------------------------------------------------------------


def write_record(folder: Path, processes: Collection[Process], mark: str) -> None:
    """Writes a command's processes to the folder, after the one that watches them; nothing where there is no /proc.

    A command may delete its folder or fill the disk; then an earlier record or none is left.
    """
    if (watcher := process_of(os.getpid())) and processes:
        rows = [[process.pid, process.start] for process in (watcher, *processes)]
        with suppress(OSError):
            write_json(folder / RECORD, {"boot": BOOT.read_text().strip(), "mark": mark, "processes": rows})


def end_recorded(folder: Path) -> tuple[int, set[Process]]:
    """Ends what is left of the processes on the folder's record, with their descendants; removes the record.

    Returns how many were ended, and those that live on. Processes are left alone while the one that watches them lives.
    A record that is damaged or older than this boot names nobody.
    """
    left: set[Process] = set()
    with suppress(OSError, ValueError, TypeError, KeyError):
        values = read_json(folder / RECORD)
        watcher, *known = (Process(int(pid), int(start)) for pid, start in values["processes"])
        processes = living()
        if values["boot"] == BOOT.read_text().strip():
            if watcher in processes:
                return 0, set()
            left = family(processes, known) | marked_with(str(values["mark"]), processes)
    stuck = end(left)
    if not stuck:
        (folder / RECORD).unlink(missing_ok=True)
    return len(left - stuck), stuck
