"""Memory of the processor and of a card: what is no longer used is freed, and predicting goes in parts that fit."""

import gc
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from autoclimb.learn.faults import OutOfMemory


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
