"""Mistake, the one error that users can mend, and the blocks that turn errors of the disk and of user code into it."""

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no space, no quota, file too large


class Mistake(Exception):
    """An input from the user that cannot be used. The message says what was found and what to write instead.

    The command line prints it as one line and exits with status 2.
    """


def first_line(error: BaseException, most: int = 80) -> str:
    """The first line of an error's message, at most so many characters; the error's type where it has none."""
    return str(error).strip().partition("\n")[0][:most] or type(error).__name__


def no_room(error: BaseException) -> bool:
    """Whether an error means that the disk is full.

    numpy reports a short write without an error number, and safetensors names the number in its text only.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    return ("requested and" in text and "written" in text) or any(f"os error {number})" in text for number in FULL)


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """A block that writes to the folder; a full disk in it becomes a Mistake that says how much is free."""
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        raise Mistake(full_disk(folder, error)) from error


def full_disk(folder: Path, error: BaseException) -> str:
    """The message for a full disk: how much is free, and what to do."""
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    why = error.strerror if isinstance(error, OSError) and error.strerror else "the disk is full"
    return (
        f"{folder} cannot be written to ({why}; {free >> 20} MB are free there): make room, then give the same command "
        f"again; it continues with everything that was finished"
    )


@contextmanager
def writing_to(out: Path, kind: str = "place") -> Iterator[None]:
    """A block that writes to what --out names; where it cannot, a Mistake says so and asks for another of that kind."""
    try:
        yield
    except OSError as error:
        raise Mistake(f"--out {out} cannot be written ({error.strerror or error}); name another {kind}") from error


@contextmanager
def in_users_code(what: str) -> Iterator[None]:
    """A block that runs the user's code, which `what` names; whatever it raises becomes a Mistake that quotes it.

    No bytecode is left beside the user's file.
    """
    setting, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    except (Mistake, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Mistake(f"{what}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = setting
