"""Running a function for its result or its error, and giving it up at a deadline."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
