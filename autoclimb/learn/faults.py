"""The errors of training that are no bugs: learn.trial alone turns them into the status of a trial.

The kind of a fault tells the search what to try instead: a smaller batch, another net, or the same again.
"""

import errno
import re

import cv2
import torch
from safetensors import SafetensorError

from autoclimb.data.stored import Vanished
from autoclimb.errors import no_room
from autoclimb.learn.phases import log_error

# kinds by torch's messages, for errors that have no class of their own; the first match decides
MESSAGES = {
    "memory": r"out of memory|not enough memory|can't allocate memory|Cannot allocate memory|ALLOC_FAILED|"
    r"Insufficient memory",  # OpenCV's
    # files in /dev/shm are named /torch_PID_NUMBER
    "loader": r"^EOFError|DataLoader (worker|timed out)|"
    r"unable to (open|write|mmap|resize|allocate) .*(shm|/torch_)|bus error",
    "device": r"CUDA|cuDNN|CUDNN|CUBLAS|cublas|device-side|NCCL|AcceleratorError",
}


class Fault(Exception):
    """A reason why a training cannot continue."""

    kind = "torch"


class Diverged(Fault):
    """The loss or the predictions are not finite any more."""

    kind = "diverged"


class OutOfMemory(Fault):
    """The batch does not fit, not even in parts."""

    kind = "memory"


class Unbuildable(Fault):
    """timm cannot make this net, or its weights do not load."""

    kind = "unbuildable"


class Untaught(Fault):
    """A student's teachers have no predictions that it may learn."""

    kind = "teacher"


class OutOfTime(Fault):
    """The deadline came before there was a result."""

    kind = "late"


# most often bugs of ours; raised in a library, they mean a net that it does not support
SLIPS = (TypeError, AttributeError, LookupError, ImportError, ArithmeticError)
LIBRARIES = (
    "torch",
    "timm",
    "torchvision",
    "numpy",
    "albumentations",
    "albucore",
    "cv2",
    "safetensors",
    "huggingface_hub",
)
# torch raises RuntimeError for most failures of a net, and ValueError for a batch norm of single numbers; timm raises
# AssertionError for pictures of a wrong size; cv2.error comes from preparing pictures. A full disk or a damaged file is
# a SafetensorError in safetensors, and the loss of a process that prepares batches an EOFError.
STATUSES = (
    Fault,
    RuntimeError,
    ValueError,
    AssertionError,
    *SLIPS,
    MemoryError,
    OSError,
    EOFError,
    cv2.error,
    SafetensorError,
)


def kind_of(error: BaseException) -> str:
    """The kind of a fault: that of its class, or memory, disk, pictures, files, loader or device; torch for any other.

    Raises the error again where it is a bug: a ValueError or AssertionError raised in this room, or one of SLIPS that
    was not raised in a library.
    """
    if isinstance(error, Fault):
        return error.kind
    place = _raised_in(error)
    if isinstance(error, ValueError | AssertionError) and place.startswith("autoclimb.learn"):
        raise error
    if isinstance(error, SLIPS) and place.partition(".")[0] not in LIBRARIES:
        raise error
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "memory"
    if no_room(error):
        return "disk"
    if isinstance(error, Vanished):
        return "pictures"
    if isinstance(error, OSError | SafetensorError):
        return "files"
    text = f"{type(error).__name__}: {error}"
    return next((kind for kind, words in MESSAGES.items() if re.search(words, text)), "torch")


def logged_kind(error: BaseException) -> str:
    """`kind_of(error)`, its traceback in the worker's log unless it is a Fault of this room's own, which says all."""
    kind = kind_of(error)
    if not isinstance(error, Fault) or error.__cause__ is not None:
        log_error(error)
    return kind


def _raised_in(error: BaseException) -> str:
    """The name of the module whose line failed."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "" if at is None else str(at.tb_frame.f_globals.get("__name__", ""))
