"""Further frozen features for the blend, for the seconds in which no net can be trained any more."""

from collections.abc import Iterator

from autoclimb.config import Config
from autoclimb.search.cost import cost_of, decoding_of
from autoclimb.search.frozen import FROM_HAND, HEADS, SHORT, frozen_net, plain_features
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation
from autoclimb.types import History

FILL_SIZES = (160, 224, 96)  # pixels a side, after that of the best features so far
LEAST = 4.0  # seconds worth filling: features take 2 at least, and the blend after them 1


def fill(history: History, s: Situation, seconds: float) -> Config | None:
    """Untried frozen features over all folds that take at most `seconds`; None where there are none.

    They cover every row, so that the blend can use them beside nets over all folds, unlike a net of some folds.
    """
    if seconds < LEAST or not s.space.features:
        return None
    known = {trial.key for trial in history.trials}
    new = (config for config in fills(history, s) if config.key not in known)
    return next((config for config in new if cost_of(config, s) + decoding_of(config, s) <= seconds), None)


def fills(history: History, s: Situation) -> Iterator[Config]:
    """Candidates in order: hand-made features if there are none, since a blend gains most from unlike members.

    After them come other nets at the best features' size and head, then other sizes, then other heads.
    """
    every = history.done(train="features")
    tried = [t for t in every if t.config.weights]
    if not tried:
        return
    if len(tried) == len(every):
        names = FROM_HAND if s.budget >= SHORT else FROM_HAND[::-1]  # in a minute the quicker leave time for a net's
        yield from (plain_features(s).vary(backbone=name, head=head) for name in names for head in HEADS)
    best = max(tried, key=lambda t: t.score).config
    downloaded = {t.config.backbone for t in tried}
    rows = [row for row in s.pretrained if row["weights"] != "hub" or row["backbone"] in downloaded]
    rows.sort(key=lambda row: row["backbone"] == best.backbone)
    sizes = [best.size, *(n for n in FILL_SIZES if n != best.size and n <= max(FILL_SIZES[0], 2 * s.side))]
    for head in (best.head, *(h for h in HEADS if h != best.head)):
        for size in sizes:
            for row in rows:
                if size == best.size or not net_named(row["backbone"]).sizes:
                    yield frozen_net(row, size, s, tta=best.tta, head=head, preprocess=best.preprocess)
