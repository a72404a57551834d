"""The device to train on, its number formats, and its free memory."""

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoclimb.errors import Mistake, first_line
from autoclimb.processors import CGROUP

MEMINFO = Path("/proc/meminfo")
DEV = Path("/dev")  # where the driver shows its cards; a container has those that were given to it
TENSOR_CORES = (7, 0)  # compute capability from which products in fp16 are several times as fast as in fp32
# torch 2.15 is built for CUDA 13, which has no kernels for cards before Turing (Kaggle's P100, V100) and needs a driver
# of 2025 or newer; up to 2.14 it is built for CUDA 12.6, too (pytorch's issues 172352 and 190385)
OTHER_TORCH = "a torch of at most 2.14 that is built for CUDA 12.6 (pytorch.org/get-started/previous-versions)"
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")  # torch's names; those of ARM were not measured


def device_named(name: str) -> torch.device:
    """The device of that name; "auto" is a CUDA device if there is one, else the processor.

    Raises Mistake for a device that does not exist, and for a card that cannot be used.
    """
    automatic = name == "auto"
    if automatic:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise Mistake(f"--device {name!r} is not a device; write auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise Mistake(f"--device {name!r} is not supported; write auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        why = why_no_card() or f"torch sees {torch.cuda.device_count()} CUDA devices here"
        raise Mistake(f"--device {name!r}: {why}; write cpu or auto")
    if device.type == "cuda":
        try:  # sets the card up, which takes some of its memory
            return _roomiest_card() if automatic else _with_room(device)
        except RuntimeError as error:
            raise Mistake(why_unusable(error, device)) from error
    return device


def _with_room(device: torch.device) -> torch.device:
    torch.cuda.mem_get_info(device)
    return device


def _roomiest_card() -> torch.device:
    """The first card, or where others use half of its memory the one with most of it left."""
    first = torch.device("cuda")
    free, total = torch.cuda.mem_get_info(first)
    if free >= total / 2 or torch.cuda.device_count() < 2:  # looking at a card takes some of its memory
        return first
    cards = range(torch.cuda.device_count())
    return torch.device("cuda", max(cards, key=lambda number: torch.cuda.mem_get_info(number)[0]))


def why_no_card(dev: Path = DEV) -> str:
    """Why torch does not use the NVIDIA card that is here, and what to do; "" where none is, or where it was hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or not any(dev.glob("nvidia[0-9]*")):
        return ""
    try:
        torch.cuda.init()  # unlike torch.cuda.is_available it says why, each time
    except (RuntimeError, AssertionError) as error:
        why = first_line(error, 300)
        other = "a torch that is built for CUDA" if "not compiled" in why else OTHER_TORCH
        return f"torch {torch.__version__} cannot use the NVIDIA card here ({why}); try {other}"
    return ""


def why_unusable(error: RuntimeError, device: torch.device) -> str:
    """What a card that refuses its first work is, in a sentence that says what to do."""
    why = first_line(error, 300)
    if "no kernel image" not in why:
        return f"the card cannot be used ({why}); free it, or write --device cpu"
    major, minor = torch.cuda.get_device_capability(device)
    card = f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"
    return (
        f"the card cannot be used: torch {torch.__version__} has no kernels for it ({card}); install {OTHER_TORCH}, "
        f"or write --device cpu"
    )


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; cards before Ampere and most processors emulate it slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.15 has it; the oldest allowed may not
    instructions: Mapping[str, Any] = capabilities()
    return any(instructions.get(name) for name in BF16_INSTRUCTIONS)


def warm_up(device: torch.device) -> None:
    """Loads the libraries that a card's first convolution and first product would wait for, which takes seconds.

    Raises RuntimeError where the card cannot train at all.
    """
    x = torch.ones(8, 8, 8, 8, device=device).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(8, 8, 3).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with prediction_autocast(device):
        y = layer(x).flatten(1)
        (y @ y.T).float().sum().backward()
    torch.cuda.synchronize(device)


def prediction_dtype(device: torch.device) -> torch.dtype:
    """The number format that nets predict in: bfloat16 where the device computes in it, else float32.

    On cards before Ampere, as Kaggle's T4, float16 if they have tensor cores (see `exact_where_needed`).
    """
    if has_bf16(device):
        return torch.bfloat16
    tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES
    return torch.float16 if tensor_cores else torch.float32


def prediction_autocast(device: torch.device, exactly: bool = False) -> torch.autocast:
    """The context that nets predict in, by `prediction_dtype`.

    On a processor in float32 where answers shall be `exactly` those of an exported file.
    """
    dtype = torch.float32 if exactly and device.type == "cpu" else prediction_dtype(device)
    low = dtype != torch.float32
    return torch.autocast(device.type, dtype if low else torch.bfloat16, enabled=low)


def exact_where_needed(forward: Callable[[], Tensor]) -> Tensor:
    """The outputs of `forward`, called again in float32 where they left the range of float16, which ends at 65,504.

    Weights that were trained in bfloat16 may do so, and so do cards that compute wrongly in float16 (GeForce 16, by
    pytorch's issue 58123).
    """
    outputs = forward()
    device = outputs.device.type
    narrow = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    if not narrow or bool(torch.isfinite(outputs).all()):
        return outputs
    with torch.autocast(device, enabled=False):
        return forward()


def usable_memory(device: torch.device, cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> float:
    """Bytes free for training: on the card, else the lower of the machine's memory and the control group's."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = math.inf
    with suppress(OSError, ValueError, IndexError):
        line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        free = 1024.0 * int(line.split()[1])
    version_2 = ("memory.max", "memory.current", "inactive_file ")
    version_1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file ")
    for limit, usage, cached in (version_2, version_1):
        with suppress(OSError, ValueError):  # "max" is no number: there is no limit
            allowed, used = (int((cgroup / name).read_text()) for name in (limit, usage))
            stat = (cgroup / limit).with_name("memory.stat").read_text().splitlines()
            used -= sum(int(line.split()[1]) for line in stat if line.startswith(cached))  # given back when needed
            free = min(free, float(allowed - used))
    return max(free, 0.0)
