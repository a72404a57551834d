"""The one error that is the user's to mend, and what else becomes one: a full disk, a slip in the user's own code."""

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no space, no quota, a limit on the size of files


class Mistake(Exception):
    """Something the user gave cannot be used; the message says what was found and what to write instead.

    The command line prints it as one line and exits with status 2.
    """


def no_room(error: BaseException) -> bool:
    """Whether an error says that the disk took no more.

    numpy reports a short write without an error number, and safetensors the system's own as a part of its text.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    said = str(error)
    return ("requested and" in said and "written" in said) or any(f"os error {number})" in said for number in FULL)


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """A block that writes to the folder: where the disk takes no more, a Mistake that says how much is free."""
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        raise Mistake(full_disk(folder, error)) from error


def full_disk(folder: Path, error: BaseException) -> str:
    """The sentence for a disk that took no more."""
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    why = error.strerror if isinstance(error, OSError) and error.strerror else "the disk takes no more"
    return (
        f"{folder} cannot be written on ({why}; {free >> 20} MB are free there): make room, then give the same command "
        f"again, which continues; what was finished is kept"
    )


@contextmanager
def in_users_code(what: str) -> Iterator[None]:
    """A block that runs code of the user's: whatever it raises is a Mistake that says where and what.

    No bytecode is left beside the user's file.
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
