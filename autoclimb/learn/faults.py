"""The errors of training that are no bugs: learn.trial alone turns them into the status of a trial.

The kind of a fault tells the search what to try instead: a smaller batch, another net, or the same again.
"""

import errno
import gc
import re
from collections.abc import Callable
from contextlib import suppress

import cv2
import torch
from safetensors import SafetensorError
from torch import Tensor

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
    """The kind of a fault: that of its class, else memory, disk, files, loader or device, and torch for any other.

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


def free_memory() -> None:
    """Frees memory that is no longer used, on the card too.

    After an error that broke a card's context, as a failed assertion in a kernel does, freeing fails with the same
    error. That error is already becoming a status, and the next use of the card raises it again.
    """
    gc.collect()
    if torch.cuda.is_available():
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


# Pixels of a batch on a processor, beyond which it leaves the caches. On 2 cores of an AMD EPYC a folded
# tf_efficientnet_lite0 at 128 px predicts 331 pictures a second in batches of 8, 375 in 16, 357 in 32, 207 in 128; in
# bfloat16 437, 582, 699 and 432 (medians of 4 or 5).
CACHED_PIXELS = {"fp32": 16 * 128 * 128, "bf16": 32 * 128 * 128}


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)` of pictures `(B, C, H, W)`, computed in parts of x; the function must treat each row by itself.

    On a processor the parts fit its caches; where memory runs out they are halves and quarters. Raises OutOfMemory
    where not even one row fits.
    """
    cached = CACHED_PIXELS["bf16" if torch.is_autocast_enabled("cpu") else "fp32"]
    most = max(1, cached // (x.shape[-1] * x.shape[-2])) if x.device.type == "cpu" else len(x)
    if len(x) > most:
        return torch.cat([in_parts(function, part) for part in x.split(most)])
    try:
        return function(x)
    except (torch.OutOfMemoryError, MemoryError) as error:
        if len(x) == 1:
            raise OutOfMemory(f"not even one picture of {x.shape[-1]} px fits") from error
    free_memory()  # outside of the except clause, since the error holds frames, and they hold tensors
    return torch.cat([in_parts(function, half) for half in x.chunk(2)])
