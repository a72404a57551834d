"""Where a worker's seconds go: a line a phase in its log, with the time of day, to be read beside the run's events."""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

STAT = Path("/proc/self/stat")
T = TypeVar("T")


def log(text: str) -> None:
    """Writes a line into the worker's log; it is lost where the disk is full, since a log ends no training."""
    with suppress(OSError):
        sys.stderr.write(f"{datetime.now().time().isoformat('milliseconds')}  {text}\n")


def log_error(error: BaseException) -> None:
    """Writes an error's traceback into the worker's log."""
    log("".join(traceback.format_exception(error)))


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A context whose seconds are logged when it is left, also by an error."""
    start = time.perf_counter()
    try:
        yield
    finally:
        log(f"{name}: {time.perf_counter() - start:.2f} s")


class WaitedFor(Iterator[T]):
    """Items as they come, and the seconds that were waited for the `first` of them and for the `others`."""

    def __init__(self, items: Iterator[T]) -> None:
        self.items, self.first, self.others, self.number = items, 0.0, 0.0, 0

    def __next__(self) -> T:
        start = time.perf_counter()
        item = next(self.items)
        spent = time.perf_counter() - start
        self.first, self.others = (spent, 0.0) if not self.number else (self.first, self.others + spent)
        self.number += 1
        return item


def seconds_alive(stat: Path = STAT) -> float:
    """Seconds since this process began, imports included; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        ticks = float(stat.read_text().rpartition(")")[2].split()[19])  # the 22nd field: since the system started
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return 0.0
