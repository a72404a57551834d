"""What a report takes and weighs: of runs that are named, and of a made-up one of very many rows.

    python benchmarks/reports.py RUN... [--rows 100000 --classes 100 --trials 20]

Each report is written twice. The first time nets are asked for what there was no time for at the end of the run, if its
pictures are still in its cache; the second time they are not. The made-up run has noise around the truth as predictions
and no nets; it takes up to 2 GB of disk, below TMPDIR.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from large import REPLY, published, setup_of, trial_on_disk
from record import append, heading

from autoclimb.config import Config
from autoclimb.disk import write_array, write_json
from autoclimb.run import store
from autoclimb.run.result import Run, describe_metric, describe_task, open_run
from autoclimb.run.setup import learning_target, versions
from autoclimb.run.trials import scored
from autoclimb.types import Form, History, Task

HEADER = (
    "| run | rows | trials | first, s | again, s | again, s of a processor | kB | charts | pictures |\n"
    + "|---" * 9
    + "|\n"
)
SIDE = 16  # pixels of the made-up run's pictures


def line_of(name: str, run: Run) -> str:
    """A row of the table, the report written twice for it."""
    seconds = []
    for _ in range(2):
        start, busy = time.perf_counter(), time.process_time()
        path = run.report()
        seconds.append(time.perf_counter() - start)
        busy = time.process_time() - busy
    page = path.read_bytes()
    trials, rows = store.count_trials(run.folder), len(np.load(run.folder / "fold_of.npy", mmap_mode="r"))
    drawn, pictures = page.count(b"<svg"), page.count(b"<img")
    took = f"{seconds[0]:.1f} | {seconds[1]:.1f} | {busy:.1f}"
    return f"| {name} | {rows:,} | {trials} | {took} | {len(page) / 1000:.0f} | {drawn} | {pictures} |\n"


def made_up(folder: Path, rows: int, classes: int, trials: int) -> Run:
    """A finished run on so many rows that nothing was trained for."""
    draw = np.random.default_rng(0)
    answered = rows // 4
    ids = tuple(f"test{i:06d}" for i in range(answered))
    task = Task(
        name=f"{rows:,} rows of {classes} classes",
        kind="multiclass",
        classes=tuple(f"class{i:03d}" for i in range(classes)),
        train_ids=tuple(f"train{i:06d}" for i in range(rows)),
        train_files=("",) * rows,
        target=draw.integers(0, classes, rows),
        test_ids=ids,
        test_files=("",) * answered,
        form=Form(("image", "label"), ids, "label"),
    )
    setup, history = setup_of(task, "accuracy", 5, folder), History()
    write_array(folder / "target.npy", learning_target(task))
    write_array(folder / "fold_of.npy", setup.fold_of)
    write_json(folder / "task.json", describe_task(task))
    write_json(folder / "train_ids.json", task.train_ids)
    pixels = draw.integers(0, 256, (rows + answered, SIDE, SIDE, 3), np.uint8)
    write_array(folder / "cache" / f"squash-{SIDE}-0123456789abcdef.npy", pixels)
    facts = {"rows": len(pixels), "size": SIDE, "channels": 3, "bad": [], "preprocess": "squash", "grid": 0}
    write_json(folder / "cache" / f"squash-{SIDE}-0123456789abcdef.json", facts)
    tested = draw.integers(0, classes, (answered, 1))
    for number in range(1, trials + 1):
        config = Config(seed=number, lr=0.001 * number, folds=(0, 1, 2, 3, 4))
        trial_on_disk(setup, config, task.target[:, None], tested, 3.0 + 2 * draw.random())
        trial = scored(setup, config, "made up", REPLY, 1.0)
        store.save_trial(folder, trial)
        history.add(trial)
    about = {"metric": describe_metric(setup.goal.metric), "versions": versions()}
    store.update_run(folder, setup.clock, **about, finished=True, words="made up")
    published(setup, history, {})
    return open_run(folder)


def main() -> None:
    """Writes the reports and adds their rows to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--rows", type=int, default=0, help="of the made-up run; 0 for none")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    lines = [line_of(folder.name, open_run(folder)) for folder in options.runs]
    if options.rows:
        with tempfile.TemporaryDirectory() as temporary:
            run = made_up(Path(temporary) / "run", options.rows, options.classes, options.trials)
            lines.append(line_of(run.task["name"], run))
    print(HEADER + "".join(lines), end="")
    append(options.out, heading("reports, written by hand") + HEADER + "".join(lines))


if __name__ == "__main__":
    main()
