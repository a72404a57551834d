"""The device to train on, its number formats, and its free memory."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from autoclimb.errors import Mistake
from autoclimb.processors import CGROUP

MEMINFO = Path("/proc/meminfo")
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")  # torch's names; those of ARM were not measured


def device_named(name: str) -> torch.device:
    """The device of that name; "auto" is the first CUDA device, else the processor.

    Raises Mistake for a device that does not exist, and for a card that cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise Mistake(f"--device {name!r} is not a device; write auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise Mistake(f"--device {name!r} is not supported; write auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise Mistake(f"--device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices here; write cpu or auto")
    if device.type == "cuda":
        try:
            torch.cuda.mem_get_info(device)  # sets the card up, which takes some of its memory
        except RuntimeError as error:
            why = str(error).strip().partition("\n")[0]
            raise Mistake(f"the card cannot be used ({why}); free it, or write --device cpu") from error
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; cards before Ampere and most processors emulate it slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.15 has it; the oldest allowed may not
    instructions: Mapping[str, Any] = capabilities()
    return any(instructions.get(name) for name in BF16_INSTRUCTIONS)


def warm_up(device: torch.device) -> None:
    """Loads the libraries that a card's first convolution and first product would wait for, which takes seconds."""
    x = torch.ones(8, 8, 8, 8, device=device).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(8, 8, 3).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with prediction_autocast(device):
        y = layer(x).flatten(1)
        (y @ y.T).float().sum().backward()
    torch.cuda.synchronize(device)


def prediction_autocast(device: torch.device, exactly: bool = False) -> torch.autocast:
    """The context that nets predict in: bfloat16 where the device computes in it, float32 elsewhere.

    On a processor also where answers shall be `exactly` those of an exported file.
    """
    enabled = has_bf16(device) and not (exactly and device.type == "cpu")
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


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
