"""What a choice by score owes to luck: how much better the best of several looks on the rows it was chosen on."""

from collections.abc import Sequence

import numpy as np

from autoclimb.score.crossfit import resampled_scores
from autoclimb.types import Goal


def luck_of_best(
    goal: Goal, truth: np.ndarray, answers: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> float:
    """How much too good the best of several `answers` to the same rows looks there, in units of the score.

    Each resample of the rows, or of their groups, chooses its best anew; what it scores there beyond its score on all
    rows is luck (bootstrap bias corrected: Tsamardinos et al. 2018, arXiv 1708.07180; Paraschakis et al. 2024, arXiv
    2406.08099). What a resample does to all answers alike is none, and is taken off. The scores that resamples start
    from differ by luck already, so that they are first drawn to their mean by the share of their variance that is
    noise. It is 0 at the least, and where the metric has no value on these rows. `truth` is what the metric takes.
    """
    scores = np.array([goal.score(truth, a) for a in answers])
    off = resampled_scores(goal, truth, answers, groups) - scores
    off -= off.mean(1, keepdims=True)
    noise, spread = off.var(1, ddof=1).mean(), scores.var(ddof=1)
    best = ((1 - noise / spread if spread > noise else 0.0) * scores + off).argmax(1)
    luck = float(off[np.arange(len(off)), best].mean())
    return luck if luck > 0 else 0.0  # of NaN too
