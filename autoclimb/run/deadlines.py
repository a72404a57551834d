"""Work that is given up at a deadline."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def outcome_within(seconds: float, make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What `make` returns and the error it ended with, each None where there is none in time.

    What is not done in time is left alone, and its result is not used.
    """
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
