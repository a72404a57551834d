"""Mistake, the one error that users can mend, and what is turned into one: a full disk, an error in the user's code."""

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no space, no quota, file too large


class Mistake(Exception):
    """Something that the user gave cannot be used. The message says what was found and what to write instead.

    The command line prints it as one line and exits with status 2.
    """


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
    """The sentence for a full disk."""
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    why = error.strerror if isinstance(error, OSError) and error.strerror else "the disk is full"
    return (
        f"{folder} cannot be written on ({why}; {free >> 20} MB are free there): make room, then give the same command "
        f"again, which continues; what was finished is kept"
    )


@contextmanager
def in_users_code(what: str) -> Iterator[None]:
    """A block that runs the user's code; whatever it raises becomes a Mistake that says where and what.

    Leaves no bytecode beside the user's file.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    except (Mistake, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Mistake(f"{what}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = before
