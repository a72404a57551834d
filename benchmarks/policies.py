"""How fast each policy varies pictures: pictures a second of one core at 64 and 224 px.

    uv run python benchmarks/policies.py [--seconds 1]

A trial on a processor shares its cores with this, so a policy must be several times as fast as the net it feeds.
Prints; nothing is written.
"""

import argparse
import time

import cv2
import numpy as np

from autoclimb.learn.moves import augmented
from autoclimb.learn.pipelines import pipeline_of
from autoclimb.policies import POLICIES

SIZES = (64, 224)


def main() -> None:
    """Times every row of the menu and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="processor time a policy and size")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print("| policy | " + " | ".join(f"{size} px" for size in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for name in POLICIES:
        print(f"| {name} | " + " | ".join(f"{speed_of(name, size, options.seconds):,.0f}" for size in SIZES) + " |")


def speed_of(name: str, size: int, seconds: float) -> float:
    """Pictures a second of processor time."""
    pictures = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)
    pipeline = pipeline_of(name, size, 0)
    augmented(pipeline, pictures[0])
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        for picture in pictures:
            augmented(pipeline, picture)
        done += len(pictures)
    return done / (time.process_time() - start)


if __name__ == "__main__":
    main()
