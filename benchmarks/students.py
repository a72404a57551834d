"""What a student gains over the same net trained for longer, and over another seed of it, in equal pictures seen.

    uv run python benchmarks/students.py --sets sign_digits [--nets boxed,scratch] [--times 1]

A teacher is trained on some folds of a set of suite.toml. Then, each from its beginning: the net for as many pictures
as teacher and student see together (longer), the net from another seed for as many as the student alone (seed), a
student, which learns the teacher's answers for held-out and test pictures beside the labels, and a student with noise.
The table gives scores on held-out rows and two differences of losses by row, lower being better: to `longer`, of the
net alone, and to teacher and `seed`, of the mean with the teacher. Lengths are epochs, so other work on the machine
changes the seconds, not the scores.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lab import Lab, difference, opened_anew
from record import append, heading, show

from autoclimb.config import Config
from autoclimb.score.by_row import losses_by_row
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.search.nets import fine_tuning, from_box, from_scratch, top_of

# teachers as the plan trains nets on a processor: a pretrained one whose top alone trains, and a small one from nothing
_BOXED, _SCRATCH = fine_tuning(from_box(), "cpu")[0], from_scratch("cpu")[0]
NETS = {
    "boxed": _BOXED.vary(size=128, top=top_of(_BOXED.backbone), epochs=10.0),
    "scratch": _SCRATCH.vary(size=64, epochs=8.0),
}
ONE_WAY = ("sign_digits",)  # sets whose mirrored pictures mean something else
NOISE: dict[str, Any] = {"drop_path": 0.1, "dropout": 0.2}
NOISIER = {"flip": "flip-affine", "shift": "affine"}  # policies; kept features are not varied
HEADER = (
    "| set | net | cell | epochs | out of fold | loss against longer | with the teacher, against teacher and seed "
    "| seconds |\n|---|---|---|---|---|---|---|---|\n"
)
Cell = tuple[np.ndarray, float]  # out-of-fold predictions (N, C), NaN where not predicted, and the seconds it took


def net_for(name: str, net: str) -> Config:
    """The net of that name, its pictures varied and seen in views as suits the set."""
    views = "shift" if name in ONE_WAY else "flip"
    return NETS[net].vary(policy=views, tta=views)


def cells_of(teacher: Config, share: float) -> dict[str, Config]:
    """What is compared beside the teacher, by name; `share` of a student's steps is the teacher's."""
    student = teacher.vary(teachers=(teacher.nets_key,), seed=teacher.seed + 1)
    times = 1 / (1 - share)  # pictures that a student sees for each that has a label
    return {
        "longer": teacher.vary(epochs=round(teacher.epochs * (1 + times), 1)),
        "seed": teacher.vary(epochs=round(teacher.epochs * times, 1), seed=teacher.seed + 1),
        "student": student,
        "noisy student": student.vary(**NOISE, policy=NOISIER[teacher.policy]),
    }


def rows_of(lab: Lab, name: str, teacher: Config) -> Iterator[str]:
    """The table's rows for one set and net."""
    labelled = int((lab.fold_of != 0).sum())
    share = Config(teachers=("any",)).taught_share(labelled, len(lab.fold_of) - labelled + len(lab.task.test_ids))
    cells: dict[str, Cell] = {}
    for cell, config in {"teacher": teacher, **cells_of(teacher, share)}.items():
        cells[cell] = lab.trained(config)
        yield row_of(lab, f"{name} | {teacher.backbone} | {cell} | {config.epochs:g}", cells, cell)


def row_of(lab: Lab, words: str, cells: dict[str, Cell], cell: str) -> str:
    """The row of the last cell that was trained."""
    oof, seconds = cells[cell]
    truth = lab.task.truth
    scored = cross_fitted_score(lab.train, oof)
    alone, together = "", ""
    if cell not in ("teacher", "longer"):
        alone = difference(losses_by_row(lab.goal, truth, oof), losses_by_row(lab.goal, truth, cells["longer"][0]))
    if "student" in cell:
        pairs = (np.mean([cells["teacher"][0], cells[other][0]], 0) for other in (cell, "seed"))
        together = difference(*(losses_by_row(lab.goal, truth, pair) for pair in pairs))
    score = f"{lab.metric.shown(scored.score):.4f} ± {scored.stderr:.4f}"
    return f"| {words} | {score} | {alone} | {together} | {seconds:.0f} |\n"


def main() -> None:
    """Train every cell and append a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="sign_digits")
    parser.add_argument("--nets", default="boxed,scratch")
    parser.add_argument("--times", type=float, default=1.0, help="factor on the epochs of NETS")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    asked = parser.parse_args()
    append(asked.out, heading("students") + HEADER)
    for name in asked.sets.split(","):
        with opened_anew(name) as lab:
            for net in asked.nets.split(","):
                teacher = net_for(name, net).vary(folds=tuple(range(asked.folds)))
                for row in rows_of(lab, name, teacher.vary(epochs=asked.times * teacher.epochs)):
                    show(asked.out, row)


if __name__ == "__main__":
    main()
