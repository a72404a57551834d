"""Regions: parts of the pictures that may be left out, judged by frozen features before any net is trained.

"There are no potholes in the sky": a background that a camera always shows costs pixels and teaches nothing.
"""

import math
from collections.abc import Iterator

import numpy as np

from autoclimb.config import Config
from autoclimb.search.cost import cores_of, decoding_seconds, full_cost
from autoclimb.search.effects import covariance_of_means
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation
from autoclimb.types import History, Trial

Box = tuple[float, float, float, float]  # top, left, bottom, right, as shares of the picture
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
REGION_SHARE = {"cpu": 0.06, "cuda": 0.01}  # of the budget, at most; a round that does not fit is not begun
LEAST_SIDE = 128  # pixels of a picture's side below which cutting gains nothing
JUDGED_AT = 96  # pixels a side at which cuts are compared: small pictures show useless parts as well (assumption)
SURE = 2.0  # standard errors of the gain from which a part is cut: five cuts are tried, and pixels cut off are lost
LEAST_GAIN = 0.03  # of the loss: a smaller gain in small pictures says little about large ones
LEAST_SHARE = 0.1  # of a side that must remain


def region_seconds(s: Situation) -> float:
    """Seconds of the budget for the search for useless parts.

    They are 0 where no part may be cut: where the user chose the preprocessing, pictures are small, or items have
    several pictures.
    """
    own = s.space.preprocess or "preprocess" in s.space.start
    return 0.0 if own or s.side < LEAST_SIDE or s.pictures > 1 else REGION_SHARE[s.device] * s.budget


def try_regions(history: History, s: Situation, left: float) -> Iterator[list[Config]]:
    """Frozen features of the pictures without a third on one side, or without a sixth on each.

    A round compares five cuts, paired by row, with the box that they are cut from; another round follows where one was
    adopted and `left` seconds pay for it.
    """
    best = max(history.done(train="features"), key=_suits, default=None)
    if best is None or not region_seconds(s):
        return
    probe = best.config.vary(size=JUDGED_AT, head="linear", tta="none", top=0, layers=1)
    box: Box | None = WHOLE
    while box is not None:
        chains = [(cropped(part, s), seen_at(part, box)) for part in (box, *cuts(box))]
        looks = [probe.vary(preprocess=chain, size=size) for chain, size in chains]
        seconds = [full_cost(look, s, [best.config, *looks[:i]]) for i, look in enumerate(looks)]
        left -= sum(seconds) + sum(decoding_seconds(s, cores_of(s), look.cached_size) for look in looks)
        if left < 0 or len(looks) == 1:
            return
        for look in looks:
            yield [look]
        box = next_box(box, trials_of(probe, history, s), s)


def seen_at(part: Box, box: Box) -> int:
    """Pixels a side at which a part of the box is judged: as many for its area as the box has at JUDGED_AT.

    Any part would gain by being enlarged: solar cells, which fill their pictures, went from QWK .584 to .618 without
    their upper third, both at 64 px.
    """
    return 16 * round(JUDGED_AT * math.sqrt(_area(part) / _area(box)) / 16)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _suits(trial: Trial) -> tuple[bool, float]:
    """A sort key under which pretrained nets that take any size are greatest, the better the greater."""
    free = bool(trial.config.weights) and not net_named(trial.config.backbone).sizes
    return free, trial.score


def start_chain(history: History, s: Situation) -> str:
    """The preprocessing to start with: the space's first chain, after cutting the adopted region."""
    return cropped(adopted_region(history, s), s)


def adopted_region(history: History, s: Situation) -> Box:
    """The part of the pictures that all later trials see; WHOLE where no cut was adopted."""
    if not any("box:" in t.config.preprocess for t in history.trials):
        return WHOLE
    probes = [t.config for t in history.done(train="features", preprocess=s.space.chains()[0])]
    for probe in probes:
        trials = trials_of(probe, history, s)
        box, better = WHOLE, next_box(WHOLE, trials, s)
        while better is not None:
            box, better = better, next_box(better, trials, s)
        if box != WHOLE:
            return box
    return WHOLE


def trials_of(probe: Config, history: History, s: Situation) -> dict[tuple[str, int], Trial]:
    """The finished trials of the probe, by preprocessing and pixels a side."""
    same = {"preprocess": probe.preprocess, "size": probe.size}
    trials = history.done(train="features", backbone=probe.backbone, head=probe.head)  # so that few configs are varied
    return {(t.config.preprocess, t.config.size): t for t in trials if t.config.vary(**same) == probe}


def next_box(box: Box, trials: dict[tuple[str, int], Trial], s: Situation) -> Box | None:
    """The cut of this box with the largest significant gain; None where no cut has one or was tried."""
    uncut = trials.get((cropped(box, s), JUDGED_AT))
    if uncut is None:
        return None
    of_part = {part: trials.get((cropped(part, s), seen_at(part, box))) for part in cuts(box)}
    gains = {part: gain(trial, uncut, s) for part, trial in of_part.items() if trial is not None}
    sure = [part for part, (mean, stderr) in gains.items() if mean >= LEAST_GAIN and mean >= SURE * stderr]
    return max(sure, key=lambda part: gains[part][0], default=None)


def gain(trial: Trial, uncut: Trial, s: Situation) -> tuple[float, float]:
    """The trial's reduction of the loss relative to the uncut pictures' loss, and its standard error, paired by row.

    A head in closed form depends on no seed, so the rows are the only noise. Without losses by row, scores are
    compared.
    """
    loss, uncut_loss = s.row_losses(trial), s.row_losses(uncut)
    if loss is None or uncut_loss is None:
        return trial.score - uncut.score, math.hypot(trial.stderr, uncut.stderr)
    both = np.isfinite(uncut_loss) & np.isfinite(loss)
    reduction, unit = (uncut_loss - loss)[both], max(float(np.nanmean(uncut_loss)), 1e-9)
    variance = covariance_of_means(reduction[None], None if s.groups is None else s.groups[both])
    return float(reduction.mean()) / unit, math.sqrt(float(variance[0, 0])) / unit


def cuts(box: Box) -> list[Box]:
    """The box without its upper, lower, left and right third, and without a sixth on each side."""
    top, left, bottom, right = box
    down, across = bottom - top, right - left
    parts = [
        (top + down / 3, left, bottom, right),
        (top, left, bottom - down / 3, right),
        (top, left + across / 3, bottom, right),
        (top, left, bottom, right - across / 3),
        (top + down / 6, left + across / 6, bottom - down / 6, right - across / 6),
    ]
    rounded = [tuple(round(share, 3) for share in part) for part in parts]
    return [part for part in rounded if min(part[2] - part[0], part[3] - part[1]) >= LEAST_SHARE]  # type: ignore[misc]


def cropped(box: Box, s: Situation) -> str:
    """The preprocessing that crops to the box, then applies the space's first chain."""
    plain = s.space.chains()[0]
    return plain if box == WHOLE else f"box:{','.join(f'{share:g}' for share in box)}+{plain}"
