"""The targets of a student beside labels: its teachers' predictions for pictures without labels (arXiv 1911.04252).

The teachers of a fold's student are the nets of that fold. They never saw the labels of its held-out rows, nor did
their own teachers, so the student's predictions for these are out of fold like any other's. It is taught on the
held-out pictures because it is also taught on the test pictures, whose score the held-out rows are to estimate.
"""

import zipfile
from pathlib import Path

import numpy as np

from autoclimb.config import Config
from autoclimb.disk import read_json
from autoclimb.errors import Mistake
from autoclimb.learn.faults import Untaught
from autoclimb.learn.material import Fold, Material, Taught
from autoclimb.seeds import rng

MOST_CELLS = 1 << 26  # rows x classes of the teachers' predictions: a quarter of a gigabyte; of more rows a sample
UNREADABLE = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile)  # what numpy raises for a damaged file


def taught_by(config: Config, material: Material, fold: Fold, nets: Path) -> Taught:
    """The fold's held-out and test rows, and the mean prediction of the config's teachers for them.

    `nets` holds the folders of the teachers' nets. Raises Untaught where a teacher has no predictions for this fold, or
    such that depend on labels of held-out rows; Mistake where `config.taught` is no share.
    """
    if not 0 < config.taught < 1:
        raise Mistake(f"taught {config.taught:g} is no share of a step; write one over 0 and under 1, like 0.5")
    rows = np.concatenate([fold.valid_rows, material.test_rows])
    chosen = np.arange(len(rows))
    if len(rows) * material.width > MOST_CELLS:
        most = max(MOST_CELLS // material.width, 1)
        chosen = np.sort(rng(config.seed, "rows taught", fold.number).choice(len(rows), most, replace=False))
    target = np.zeros((len(chosen), material.width), np.float32)
    for teacher in config.teachers:
        target += _predicted(nets / teacher, fold, len(rows), chosen)
    return Taught(rows[chosen], target / len(config.teachers))


def _predicted(teacher: Path, fold: Fold, count: int, chosen: np.ndarray) -> np.ndarray:
    """The predictions of a teacher's net of the fold for the `chosen` of its `count` held-out and test rows."""
    name, held_out = f"teacher {teacher.name}, fold {fold.number}", len(fold.valid_rows)
    try:
        if "tta" in read_json(teacher / f"fold{fold.number}.json"):
            raise Untaught(f"{name}: its views were chosen by labels of held-out rows; write another tta than auto")
        with np.load(teacher / f"fold{fold.number}.npz", allow_pickle=False) as arrays:
            oof_pred, test_pred = arrays["oof_pred"], arrays["test_pred"]
    except UNREADABLE as error:
        raise Untaught(f"{name}: its predictions cannot be read ({error})") from error
    if (len(oof_pred), len(test_pred)) != (held_out, count - held_out):
        raise Untaught(f"{name}: it predicted other rows than these")
    own = chosen < held_out
    return np.concatenate([oof_pred[chosen[own]], test_pred[chosen[~own] - held_out]]).astype(np.float32)
