"""Work whose errors are for its caller to judge, and work that is given up at a deadline."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def outcome_of(make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What `make` returns and None, or None and the error it ended with; Ctrl-C goes through."""
    try:
        return make(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - handed to the caller
        return None, error


def outcome_within(seconds: float, make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What `make` returns and the error it ended with, each None where there is none in time.

    What is not done in time is left alone, and its result is not used; without any time it is not begun, for it would
    take memory and cores of what comes next.
    """
    if seconds <= 0:
        return None, None
    box: list[tuple[T | None, BaseException | None]] = []
    thread = threading.Thread(target=lambda: box.append(outcome_of(make)), daemon=True)
    thread.start()
    thread.join(seconds)
    return box[0] if box else (None, None)
