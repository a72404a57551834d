"""Which device trains."""

import torch

from autoclimb.errors import Mistake


def device_named(name: str) -> torch.device:
    """The device of that name; "auto" is the first CUDA device, or the processor."""
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
    return device
