"""Running a function for its result or its error, giving it up at a deadline, or beside a training."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
LOWEST = 19  # priority of a thread: a core that another wants is left to it


def outcome_of(make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """`make()` and None, or None and the error that it raised; Ctrl-C is raised as always."""
    try:
        return make(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - handed to the caller
        return None, error


def outcome_within(seconds: float, make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """`make()` and None, or None and the error that it raised; None and None where it does not end in time.

    After the deadline its thread is abandoned and its result ignored. Without any time it is not started, since it
    would take memory and cores from the work that follows.
    """
    if seconds <= 0:
        return None, None
    outcomes: list[tuple[T | None, BaseException | None]] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(make)), daemon=True)
    thread.start()
    thread.join(seconds)
    return outcomes[0] if outcomes else (None, None)


def run_beside(work: Callable[[], object]) -> None:
    """Runs `work` in a thread that takes no core from the nets in training: at the lowest priority.

    Threads of a net wait for the one whose core another takes (learn/threads.py); how much this saves was not measured.
    Only on Linux does a thread have a priority of its own; threads that it starts inherit that.
    """

    def quietly() -> None:
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
        work()

    threading.Thread(target=quietly, daemon=True).start()
