"""What a look at each net of the hub's portfolio takes on this machine and says, without any weights or pictures.

    uv run python benchmarks/looks.py [--device cuda] [--nets vit_small_patch16_dinov3,...]

A look is what a run measures of a net before it plans with it: here of random weights and random pictures, at each
size that a plan may ask for. Beside it stand what `autoclimb plan` assumes of an H100, the memory that a step was
measured to take of a picture, and the fault where a net cannot be run.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import append, heading, show

from autoclimb.config import Config
from autoclimb.learn.devices import device_named, warm_up
from autoclimb.learn.material import Material
from autoclimb.learn.probe import measure_speed
from autoclimb.search.cost import measured
from autoclimb.search.nets import NETS, fine_tuning, net_named
from autoclimb.search.rates import DEVICES, speed_on
from autoclimb.search.starting import LARGEST_BATCH

ROWS, CLASSES = 4000, 10  # pictures of 64 px, enlarged as a run enlarges its first ones
LOOK = 0.8  # seconds of steps, as in a run of three minutes and more
HEADER = (
    "| net | px | seconds of the look | until kernels are ready | trained | planned for an H100 | predicted | format "
    "| batch | MB a picture | fault |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def looked_at(config: Config, material: Material, device: torch.device) -> tuple[float, dict[str, Any]]:
    """Seconds of a look at the config's net, and what it says."""
    start = time.perf_counter()
    reply = measure_speed(config, material, device, LOOK, leisure=False, largest=LARGEST_BATCH)
    return time.perf_counter() - start, reply


def in_words(config: Config, seconds: float, reply: dict[str, Any]) -> str:
    """A row of the table."""
    planned = speed_on(DEVICES["h100"], config).train
    layout = "channels last" if reply["channels_last"] else "torch's own"
    return (
        f"| {config.backbone} | {config.size} | {seconds:.1f} | {reply.get('cold', 0.0):.1f} | {reply['train']:.0f} "
        f"| {planned:.0f} | {reply['predict']:.0f} | {reply['precision']}, {layout} | {reply['batch'] or config.batch} "
        f"| {reply.get('picture_bytes', 0.0) / 1e6:.1f} | {reply.get('fault', '')} {reply.get('note', '')[:60]} |\n"
    )


def main() -> None:
    """Look at every net and append a table."""
    parser = argparse.ArgumentParser(
        description="Look at the nets of the hub's portfolio, weights and pictures random."
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--nets", default=",".join(net.backbone for net in NETS["cuda"]))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    device = device_named(asked.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        warm_up(device)
    draw = np.random.default_rng(0)
    target = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, ROWS)]
    pictures = draw.integers(0, 256, (ROWS, 64, 64, 3), np.uint8)
    material = Material("multiclass", CLASSES, target, np.arange(ROWS) % 5, pictures)
    append(asked.out, heading("looks at the nets of the hub's portfolio, weights random") + HEADER)
    for backbone in asked.nets.split(","):
        [config] = fine_tuning([{"backbone": backbone, "weights": "hub", "model_args": {}}], device.type)
        for size in net_named(backbone).sizes or (measured(config).size,):
            plain = config.vary(weights="", policy="none", size=size)
            row = in_words(plain, *looked_at(plain, material, device))
            show(asked.out, row)


if __name__ == "__main__":
    main()
