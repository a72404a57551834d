"""Predictions drawn to the mean of their group: of a patient, a site, a sequence, where test rows' groups are known."""

from dataclasses import replace

import numpy as np

from autoclimb.arrays import LARGE, Predictions, predicted_rows
from autoclimb.score.crossfit import cross_answers, standard_error
from autoclimb.score.decide import truth_for
from autoclimb.score.intervals import interval
from autoclimb.score.metrics import best_score
from autoclimb.score.train_rows import TrainRows
from autoclimb.types import Blend

SHARES = (0.0, 0.5, 1.0)  # of the group's mean in a prediction
# Groups of pictures that look alike seem to gain by luck more easily than blends do, and a mean over rows that differ
# costs much: a whole standard error.
MARGIN = 1.0
FEWEST_GROUPS = 3  # each part is answered by what the others gain, and one group has no error to gain beyond


def drawn_to_groups(p: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """Predictions `(N, C)` with this share of the mean of their group `(N,)` in them."""
    if not share:
        return p
    place, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    total = np.zeros((len(size), p.shape[1]))
    np.add.at(total, place, p)
    return (1 - share) * p + share * (total / size[:, None])[place]


def by_group(blend: Blend, train: TrainRows, test_groups: np.ndarray | None) -> Blend:
    """The blend with predictions drawn to their groups' means where that gains beyond doubt, else the blend as it is.

    `test_groups` `(M,)` are the test rows' groups, None where they are unknown. The score is of answers for which, for
    each part, the decision and the share were learned on the others; where the blend's score was anchored in other
    rows, it moves by the gain on its own.
    """
    rows = np.flatnonzero(predicted_rows(blend.oof) & (train.part_of >= 0))
    goal, own = train.goal, train.groups_of(rows)
    if own is None or test_groups is None:
        return blend
    count, width = len(np.unique(own)), blend.test.shape[1]
    if count < FEWEST_GROUPS or count == len(rows) or max(len(rows), len(blend.test)) * width > LARGE:
        return blend
    p, truth = np.asarray(blend.oof[rows], np.float64), train.truth[rows]
    target, parts = truth_for(goal, truth), train.parts(rows)
    answers = [cross_answers(goal, truth, drawn_to_groups(p, own, share), parts, quick=True) for share in SHARES]

    def chosen(some: np.ndarray) -> int:
        scores = [goal.score(target[some], a[some]) for a in answers]
        best = int(np.nanargmax(scores))
        error = standard_error(goal, target[some], answers[best][some], own[some], answers[0][some])
        return best if scores[best] - scores[0] > MARGIN * error else 0

    share = SHARES[chosen(np.ones(len(rows), bool))]
    if not share:
        return blend
    pooled = np.array(answers[0])
    for k in np.unique(parts):
        pooled[parts == k] = answers[chosen(parts != k)][parts == k]
    gain = goal.score(target, pooled) - goal.score(target, answers[0])
    low, high = interval(goal, target, pooled, own)
    most = best_score(goal.metric)
    score, stderr = min(blend.score + gain, most), standard_error(goal, target, pooled, own)
    off = score - goal.score(target, pooled)
    # what the blend's interval allows for beside its rows' chance stands: it reaches down as many standard errors
    reach = (blend.score - blend.interval[0]) * (stderr / blend.stderr if blend.stderr else 1.0)
    return replace(
        blend,
        oof=Predictions.of(rows, drawn_to_groups(p, own, share), len(train.part_of)),
        test=drawn_to_groups(np.asarray(blend.test, np.float64), test_groups, share),
        score=score,
        stderr=stderr,
        interval=(min(low + off, score - reach), min(high + max(off, 0.0), most)),  # `high` may have met its bound
        stacker={**blend.stacker, "group_share": share},
    )
