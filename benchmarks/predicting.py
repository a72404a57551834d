"""Pictures a second that frozen nets and trained ones predict on a processor: as they are, folded, and in bfloat16.

    uv run python benchmarks/predicting.py [--nets tf_efficientnet_lite0@128,resnet10t@64] [--repeats 5]

Each way takes its turn on the same pictures, in parts as large as it likes best of some; medians and the range.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from record import append, heading, show

from autoclimb.config import Config
from autoclimb.learn.backbones import place
from autoclimb.learn.devices import has_bf16
from autoclimb.learn.lean import folded
from autoclimb.learn.trunk import frozen_net

NETS = "tf_efficientnet_lite0@128,tf_efficientnet_lite0@224,tf_efficientnet_lite2@128,mobilenetv2_100@128,resnet10t@64"
PARTS = (4, 8, 16, 32, 64)  # pictures at once
PICTURES = 64  # a turn
CPU = torch.device("cpu")
HEADER = "| net | px | as it is | folded | folded, bf16 | times as fast |\n|---|---|---|---|---|---|\n"


def main() -> None:
    """Measure every net asked for."""
    parser = argparse.ArgumentParser(description="Measure prediction on a processor.")
    parser.add_argument("--nets", default=NETS, help="name@size, comma separated")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    bf16 = "has" if has_bf16(CPU) else "has no"
    append(options.out, heading(f"predicting, pictures a second; the processor {bf16} instructions for bf16") + HEADER)
    for name in options.nets.split(","):
        line = row(*name.split("@"), options.repeats)
        show(options.out, line)


def row(name: str, side: str, repeats: int) -> str:
    """The table's row of a net: rates of each way, and how many times as fast the last is as the first."""
    size = int(side)
    weights = "box" if name.startswith("tf_efficientnet_lite") else ""
    built = frozen_net(Config(backbone=name, weights=weights, size=size), 3)
    plain, lean = place(built, CPU).eval(), folded(built, CPU, size).net
    ways = [(plain, False), (lean, False), (lean, True)]
    parts = [max(PARTS, key=lambda part, w=way: rate(*w, size, part)) for way in ways]
    rates: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, part, of_way in zip(ways, parts, rates, strict=True):
            of_way.append(rate(*way, size, part))
    cells = " | ".join(f"{statistics.median(r):.0f} ({min(r):.0f} to {max(r):.0f})" for r in rates)
    gain = statistics.median(last / first for first, last in zip(rates[0], rates[-1], strict=True))
    return f"| {name} | {size} | {cells} | {gain:.1f} |\n"


def rate(net: torch.nn.Module, bf16: bool, size: int, part: int) -> float:
    """Pictures a second of a turn."""
    x = torch.zeros(part, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        net(x)
        begun = time.perf_counter()
        for _ in range(PICTURES // part):
            net(x)
    return PICTURES / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
