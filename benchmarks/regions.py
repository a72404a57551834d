"""A set in which two thirds of every picture are useless, and whether a run finds that out without being told.

    uv run python benchmarks/regions.py --labelled DIR --landscapes DIR --answers FILE [--budget 10m]

The labelled set's pictures become the lower third of new ones, under landscapes that have nothing to do with them, as
sky and dashboard are in pictures of potholes. Two runs are compared: as it comes, and with the whole picture asked for.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from record import append, heading, show

import autoclimb
from autoclimb.budget import seconds_of
from autoclimb.contest.cells import GRACE
from autoclimb.contest.machine import watched
from autoclimb.contest.marks import marked

WIDTH, HEIGHT = 180, 270  # pixels; the lower third is the labelled picture
ENDINGS = {".jpg", ".jpeg", ".png"}
WHOLE = 'from autoclimb import SearchSpace\n\nRECIPE = {{"plan": {plan}, "space": SearchSpace({space})}}\n'
SPACES = {"as it comes": "", "the whole picture": 'preprocess=["squash"]'}
HEADER = "| pictures | test | ± | out of fold | seconds | chosen |\n|---|---|---|---|---|---|\n"


def main() -> None:
    """Makes the set, runs on it twice and appends a table."""
    options = arguments()
    append(options.out, heading(f"useless parts, {options.budget}, stages {options.stages}") + HEADER)
    with tempfile.TemporaryDirectory(prefix="autoclimb-regions-") as temporary:
        data = Path(temporary) / "data"
        compose(options.labelled, options.landscapes, data)
        for name, space in SPACES.items():
            row = result(name, space, data, Path(temporary), options)
            show(options.out, row)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labelled", type=Path, required=True, help="a competition: its pictures are what is labelled")
    parser.add_argument("--landscapes", type=Path, required=True, help="a competition whose pictures come above them")
    parser.add_argument("--answers", type=Path, required=True, help="the labelled set's answers as a submission")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--stages", default="baseline", help="of the plan, comma separated")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    return parser.parse_args()


def compose(labelled: Path, landscapes: Path, out: Path) -> None:
    """The labelled competition with each picture as the lower third of one whose upper part is a landscape."""
    above = sorted(path for path in landscapes.rglob("*") if path.suffix.lower() in ENDINGS)
    draw = np.random.default_rng(0)
    for path in sorted(path for path in labelled.rglob("*") if path.is_file()):
        place = out / path.relative_to(labelled)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() not in ENDINGS:
            shutil.copy(path, place)
            continue
        picture = Image.new("RGB", (WIDTH, HEIGHT))
        sky = Image.open(above[int(draw.integers(len(above)))]).convert("RGB")
        picture.paste(sky.resize((WIDTH, HEIGHT * 2 // 3)), (0, 0))
        picture.paste(Image.open(path).convert("RGB").resize((WIDTH, HEIGHT // 3)), (0, HEIGHT * 2 // 3))
        picture.save(place, quality=95)


def result(name: str, space: str, data: Path, temporary: Path, options: argparse.Namespace) -> str:
    """The row of one run."""
    folder, recipe = temporary / f"run {len(space)}", temporary / f"recipe{len(space)}.py"
    recipe.write_text(WHOLE.format(plan=options.stages.split(","), space=space))
    command = [sys.executable, "-m", "autoclimb", "fit", str(data), "--metric", options.metric, "--yes"]
    command += ["--budget", options.budget, "--out", str(folder), "--recipe", str(recipe)]
    ran = watched(command, seconds_of(options.budget) + GRACE, temporary / "output.txt")
    if ran.status:
        return f"| {name} | exit {ran.status}: {ran.last_line} | | | | |\n"
    climbed = autoclimb.open_run(folder)
    mark = marked(autoclimb.read_task(data, climbed.metric), climbed.metric, climbed.submission, options.answers)
    config = next(row for row in climbed.leaderboard().to_dict("records") if row["rank"] == 1)["config"]
    part = re.search(r"box:[\d.,]+", config)
    return (
        f"| {name} | {mark.score:.4f} | {mark.stderr:.4f} | {climbed.score:.4f} ± {climbed.stderr:.4f} "
        f"| {ran.seconds:.0f} | {part[0] if part else 'the whole picture'} |\n"
    )


if __name__ == "__main__":
    main()
