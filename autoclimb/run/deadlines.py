"""Work that is given up at a deadline."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, make: Callable[[], T]) -> T | None:
    """What `make` returns if it does so in time; None if not: it is then left alone and its result is not used.

    An error of `make` is raised here.
    """
    value, error = outcome_within(seconds, make)
    if error is not None:
        raise error
    return value


def outcome_within(seconds: float, make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What `make` returns and the error it ended with, each None where there is none in time."""
    box: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            box.append(make())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    return (box[0] if box else None), (failed[0] if failed else None)
