"""Training beside other work: pictures a second of fixed threads and of the worker's own, quiet and with neighbours.

    uv run python benchmarks/neighbours.py [--seconds 10] [--repeats 3] [--backbone resnet18] [--size 64] [--only quiet]

Each cell is a process of its own with the worker's environment, trained by the clock on pictures of noise. Settings
that stay as they are come first: all threads that spin as long as torch has them (a plain loop), that sleep at once, or
that spin shortly, as the worker's do, and one thread. The last, the worker's own, probes the net first and changes
threads as it trains. Medians of `--repeats` rounds, with the range; the last column is the median over rounds of the
worker's own rate over the best fixed setting's of the same round. Takes 15 times `--seconds` a round, and 6 s a cell
for imports; appends a table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import append, heading

from autoclimb.run.worker import ENVIRONMENT

WAITING: dict[str, dict[str, str]] = {  # of threads, where it is not the worker's
    "default": {"GOMP_SPINCOUNT": ""},
    "passive": {"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": "PASSIVE"},
}
SETTINGS = (*WAITING, "short spin", "one thread", "adaptive")
NEIGHBOURS = {"quiet": [], "one at nice 0": [0], "two at nice 19": [19, 19]}
BUSY = "while True: pass"
PROBE = 0.8  # seconds, as in a run
HEADER = f"| neighbours | {' | '.join(SETTINGS)} | adaptive of the best fixed |\n{'|---' * (2 + len(SETTINGS))}|\n"


def main() -> None:
    """Prints a row for each kind of neighbours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=list(NEIGHBOURS), default=list(NEIGHBOURS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    parser.add_argument("--part", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(trained(options)))
        return
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.repeats):  # the machine changes from minute to minute: every cell sees several of them
        for name, levels in ((name, NEIGHBOURS[name]) for name in options.only):
            others = [subprocess.Popen(["nice", "-n", str(level), sys.executable, "-c", BUSY]) for level in levels]
            try:
                for setting in SETTINGS:
                    rates.setdefault((name, setting), []).append(rate_of(options, setting))
            finally:
                for other in others:
                    other.kill()
    table = heading(f"training beside other work, {options.backbone}@{options.size}, pictures a second") + HEADER
    for name in options.only:
        cells = {setting: rates[name, setting] for setting in SETTINGS}
        fixed = [max(row) for row in zip(*(cells[setting] for setting in SETTINGS[:-1]), strict=True)]
        share = statistics.median(own / best for own, best in zip(cells["adaptive"], fixed, strict=True))
        shown = (f"{statistics.median(row):.0f} ({min(row):.0f} to {max(row):.0f})" for row in cells.values())
        table += f"| {name} | {' | '.join(shown)} | {share:.2f} |\n"
    append(options.out, table)
    print(table)


def rate_of(options: argparse.Namespace, setting: str) -> float:
    """Pictures a second of one setting in a process of its own."""
    command = [sys.executable, __file__, "--part", setting, "--seconds", str(options.seconds)]
    command += ["--backbone", options.backbone, "--size", str(options.size)]
    own = {name: value for name, value in {**ENVIRONMENT, **WAITING.get(setting, {})}.items() if value}
    ran = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def trained(options: argparse.Namespace) -> float:
    """Pictures a second of a training by the clock; of fixed threads where the setting says so."""
    import torch

    from autoclimb.config import Config
    from autoclimb.learn import loop
    from autoclimb.learn.backbones import build_net
    from autoclimb.learn.material import Fold, Format, Material
    from autoclimb.learn.probe import measure_speed

    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (512, options.size, options.size, 3), np.uint8)
    target = np.eye(10, dtype=np.float32)[np.arange(512) % 10]
    material = Material("multiclass", 10, target, np.zeros(512, np.int64), pixels)
    config = Config(backbone=options.backbone, size=options.size, policy="flip", seconds=options.seconds)
    if options.part == "one thread":
        torch.set_num_threads(1)
    if options.part != "adaptive":
        config = config.vary(seconds=0.0)  # only trainings by the clock change their threads
    format, cpu = Format("bf16"), torch.device("cpu")
    if options.part == "adaptive":
        format = replace(format, img_s=measure_speed(config, material, cpu, PROBE)["train"])
    built = replace(build_net(config, 10), format=format)
    fold = Fold(0, np.arange(512), np.arange(0), cpu, lambda facts: None, time.monotonic)
    loop.train(built, material, config, fold, loop.Pace(time.monotonic, time.monotonic(), 3.0))  # imports, warms up
    pace = loop.Pace(time.monotonic, time.monotonic(), options.seconds)
    return loop.train(built, material, config, fold, pace)[1]["img_s"]


if __name__ == "__main__":
    main()
