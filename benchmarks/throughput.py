"""Pictures a second in training: from the cache, on one batch that never changes, and in a plain textbook loop.

    uv run python benchmarks/throughput.py --json FILE [--device cpu] [--models resnet18@64,convnext_atto@64]

FILE gets a list of objects with model, size, device, img_s, synthetic_img_s, textbook_img_s. The first is the real loop
(`autoclimb.learn.loop.train`) on a cache of JPEGs, varied by the policy "medium", in the number format that the
worker's own probe takes; the second the same loop fed with one batch again and again; the third decodes each picture
every epoch in a DataLoader and trains in fp32. Seconds count from the first batch. Medians of `--repeats` interleaved
parts, each in its own process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from record import append, heading, show

from autoclimb.run.worker import ENVIRONMENT

MODELS = {
    "cpu": "resnet18@64,mobilenetv2_100@128,convnext_atto@64",
    "cuda": "resnet50@224,convnext_tiny@224,efficientnet_b0@224,resnet18@64",
}
CLASSES = 10
WIDE, HIGH = 500, 375  # ImageNet's usual size
HEADER = (
    "| model | px | device | from the cache | range | same batch | range | ratio | textbook | range | times textbook "
    "| format |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main() -> None:
    """Measure every model asked for, or one part of one of them in this process."""
    options = arguments()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    device = options.device or ("cuda" if has_cuda() else "cpu")
    rows = []
    append(options.out, heading("training, pictures a second") + HEADER)
    with tempfile.TemporaryDirectory(prefix="autoclimb-throughput-") as temporary:
        folder = Path(temporary)
        make_pictures(folder / "pictures", options.rows)
        for name in (options.models or MODELS[device]).split(","):
            model, _, size = name.partition("@")
            row = measured(options, model, int(size), device, folder)
            rows.append({k: row[k] for k in ("model", "size", "device", "img_s", "synthetic_img_s", "textbook_img_s")})
            line = in_words(row)
            show(options.out, line)
            options.json.write_text(json.dumps(rows, indent=1))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Measure training throughput.")
    parser.add_argument("--json", type=Path, default=Path("throughput.json"))
    parser.add_argument("--models", default="", help="name@size, comma separated")
    parser.add_argument("--device", default="", help="cpu or cuda; default cuda where there is one")
    parser.add_argument("--rows", type=int, default=1024, help="pictures, each a JPEG of 500 x 375")
    parser.add_argument("--batch", type=int, default=0, help="default 64 on a processor, 256 on a GPU")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--compile", action="store_true", help="torch.compile the net of the first two")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def has_cuda() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def make_pictures(folder: Path, rows: int) -> None:
    """Writes so many JPEGs of smooth colour under fine noise: about as many bytes as photographs of that size."""
    for i in range(CLASSES):
        (folder / str(i)).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_picture, (folder / str(i % CLASSES) / f"{i}.jpg" for i in range(rows)), chunksize=64))


def make_picture(file: Path) -> None:
    """Writes one of them; what is drawn follows from its name."""
    from PIL import Image

    draw = np.random.default_rng(int(file.stem))
    coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize((WIDE, HIGH), Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + draw.integers(-12, 13, (HIGH, WIDE, 3), np.int16)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def measured(options: argparse.Namespace, model: str, size: int, device: str, folder: Path) -> dict[str, Any]:
    """One row: each part `repeats` times in turn, so that a slow minute of the machine hits all of them."""
    took: dict[str, list[float]] = {"img_s": [], "synthetic_img_s": [], "textbook_img_s": []}
    facts: dict[str, Any] = {}
    command = [sys.executable, __file__, "--models", f"{model}@{size}", "--device", device, "--folder", str(folder)]
    command += ["--seconds", str(options.seconds), "--batch", str(options.batch or (256 if device == "cuda" else 64))]
    command += ["--compile"] if options.compile else []
    for _ in range(options.repeats):
        for part in PARTS:
            environment = {**os.environ, **ENVIRONMENT} if part == "ours" else dict(os.environ)
            ran = subprocess.run([*command, "--part", part], env=environment, capture_output=True, text=True)
            if ran.returncode:
                sys.exit(ran.stderr)
            reply = json.loads(ran.stdout.splitlines()[-1])
            for name in took:
                if name in reply:
                    took[name].append(reply.pop(name))
            facts |= reply
    middle = {name: statistics.median(values) for name, values in took.items()}
    return {"model": model, "size": size, "device": device, **middle, "all": took, **facts}


def in_words(row: dict[str, Any]) -> str:
    """A row of the table."""

    def span(name: str) -> str:
        return f"{row[name]:.0f} | {min(row['all'][name]):.0f}-{max(row['all'][name]):.0f}"

    ratio = statistics.median(a / b for a, b in zip(row["all"]["img_s"], row["all"]["synthetic_img_s"], strict=True))
    gain = statistics.median(a / b for a, b in zip(row["all"]["img_s"], row["all"]["textbook_img_s"], strict=True))
    return (
        f"| {row['model']} | {row['size']} | {row['device']} | {span('img_s')} | {span('synthetic_img_s')} "
        f"| {ratio:.2f} | {span('textbook_img_s')} | {gain:.2f} | {row['format']} |\n"
    )


# --- the parts, each run in a process of its own ---------------------------------------------------------------------


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """The real loop from the cache, then the same loop on one batch."""
    from autoclimb.config import Config
    from autoclimb.data.decoding import Decoding
    from autoclimb.data.pixels import build_pixels
    from autoclimb.learn import loop
    from autoclimb.learn.batches import BatchMaker
    from autoclimb.learn.material import Fold, Material
    from autoclimb.learn.probe import measure_speed
    from autoclimb.learn.replays import replayed, shapes_of

    model, size = options.models.split("@")[0], int(options.models.split("@")[1])
    device = ready(options.device)
    files = [str(path) for path in sorted((options.folder / "pictures").glob("*/*.jpg"))]
    cached = build_pixels(files, Decoding(size, "squash"), options.folder / "cache")
    label = np.array([int(Path(file).parent.name) for file in files])
    folds = np.zeros(len(files), np.int64)
    material = Material("multiclass", CLASSES, np.eye(CLASSES, dtype=np.float32)[label], folds, cached.array)
    config = Config(backbone=model, size=size, policy="medium", batch=options.batch)
    chosen = measure_speed(config, material, device, 3.0)
    fold = Fold(0, np.arange(len(files)), np.arange(0), device, lambda facts: None, time.monotonic)

    built = built_for(config, chosen)
    if options.compile:
        import torch

        built = replace(built, forward=torch.compile(built.net))
    built = replayed(built, shapes_of(config, options.batch, material.channels), device)

    def trained(seconds: float) -> dict[str, Any]:
        pace = loop.Pace(time.monotonic, time.monotonic(), seconds=seconds)
        return loop.train(built, material, config, fold, pace)[1]

    trained(3.0)  # warms up
    real = trained(options.seconds)
    one = BatchMaker(material, config)[next(loop.endless_batches(material, fold, config, size, options.batch))]
    if device.type == "cuda":
        one = one[0], one[1].pin_memory()  # as loaders hand batches over
    loop.load_batches = lambda *args: repeat(one)
    same = trained(options.seconds)
    word = chosen["precision"] + (", compiled" if options.compile else "")
    return {"img_s": real["img_s"], "synthetic_img_s": same["img_s"], "format": word}


def built_for(config, chosen: dict[str, Any]):
    """A fresh net, as a fold builds it."""
    from autoclimb.learn.backbones import build_net
    from autoclimb.learn.material import Format

    return replace(build_net(config, CLASSES), format=Format(chosen["precision"], chosen["channels_last"]))


def ready(name: str):
    """The device, set up as the worker sets it up."""
    import torch

    from autoclimb.learn.devices import device_named

    device = device_named(name)
    if device.type == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    else:
        torch.set_float32_matmul_precision("high")
    return device


def textbook(options: argparse.Namespace) -> dict[str, Any]:
    """What a tutorial would write: decoded every epoch, varied by torchvision, fp32, torch's own layout and threads."""
    import timm
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    model, size = options.models.split("@")[0], int(options.models.split("@")[1])
    device = torch.device(options.device)
    vary = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.5, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.25, 0.25, 0.3, 0.04),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    workers = min(len(os.sched_getaffinity(0)), 8)
    loader = DataLoader(
        ImageFolder(str(options.folder / "pictures"), vary),
        options.batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    net = timm.create_model(model, num_classes=CLASSES).to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    seen, begun, until = 0, 0.0, time.monotonic() + 3.0 + options.seconds
    while time.monotonic() < until:
        for x, y in loader:
            loss = nn.functional.cross_entropy(net(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            now = time.monotonic()
            if begun:
                seen += len(x)
            elif now > until - options.seconds:  # the first seconds start the workers and warm up
                begun = now
            if now > until:
                break
    return {"textbook_img_s": round(seen / max(time.monotonic() - begun, 1e-6), 1)}


PARTS = {"ours": ours, "textbook": textbook}

if __name__ == "__main__":
    main()
