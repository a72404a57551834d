"""What is left of the time after the finalists: the best nets again from other seeds, and further frozen features."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from autoclimb.search.cost import corrected, with_kept
from autoclimb.search.fidelity import fold_seconds, folds_of
from autoclimb.search.filling import fill
from autoclimb.search.finals import (
    LONGEST,
    beside_folds,
    chosen,
    family_heads,
    finals_of,
    fitted_in,
    least_again,
    most_epochs,
    on_fewer_folds,
    usable,
)
from autoclimb.search.frozen import features_are_all
from autoclimb.search.situation import Situation
from autoclimb.types import Config, History

LOOK_LEFT, LOOK_SHARE = 10.0, 0.1  # seconds, and share of the budget, from which a net is trained after features


def rest(history: History, s: Situation) -> Iterator[list[Config]]:
    """What is left of the time: the best nets again from other seeds, and further frozen features."""
    for i in range(1, 61):
        row = s.remember(f"rest-{i}", partial(decide_rest, i, history, s))
        if row is None:
            return
        yield [Config.from_json(row)]


def decide_rest(i: int, history: History, s: Situation) -> dict[str, Any] | None:
    """The next config for the time that is left; None where that is too little to learn anything.

    Where frozen features did better than every net, which nets had no time to, there are more of them first.
    """
    s = with_kept(history, corrected(history, s))
    finals = finals_of(history, s)
    features = [t.score for t in history.done(train="features")]
    frozen_lead = bool(features) and (not finals or max(features) > finals[0].score)
    if frozen_lead and (config := fill(history, s, usable(s))) is not None:
        return config.to_json()
    turn = (i - 1) % len(finals) if finals else 0
    nets = (again(t.config, i, 1 + (i - 1) // len(finals), s) for t in [*finals[turn:], *finals[:turn]])
    config = next((net for net in nets if net is not None), None)
    if config is None and not frozen_lead:
        config = fill(history, s, usable(s))
    if config is None and features_are_all(history, s) and not history.done(train="net"):
        config = lone_net(history, s)
    return None if config is None else config.to_json()


def lone_net(history: History, s: Situation) -> Config | None:
    """The most promising net in the time that frozen features left, over all folds if that is enough for them.

    None where even a look at its speed would take much of it.
    """
    if usable(s) < max(LOOK_LEFT, LOOK_SHARE * s.budget):
        return None
    heads = family_heads(history, s)
    over_all = chosen(heads, 1, usable(s), "enough", s)
    if not over_all:
        return on_fewer_folds(history, heads[0], s)[0]
    s.prepare(over_all[0])
    time = usable(s) - beside_folds(over_all[0], 1, s)
    if time < least_again(over_all[0], folds_of(s), s):  # getting its pictures ready took the time for all folds
        return on_fewer_folds(history, heads[0], s)[0]
    longest = folds_of(s) * fold_seconds(most_epochs(over_all[0], s), over_all[0], s)
    return fitted_in(over_all[0], min(time, longest), folds_of(s), s)


def again(source: Config, i: int, times: int, s: Situation) -> Config | None:
    """The source from another seed in the time that is left, over all of its folds if it covers all rows.

    Beside nets over all folds the blend has no use for one of some: they are shorter then, half of "enough" epochs at
    the least. The second time that it is its turn it may be trained twice as long, and so on: one more net of the same
    length gains ever less, and nobody knows that it was long enough.
    """
    s.prepare(source)
    time = usable(s, source.vary(seed=source.seed + 100 * i))
    folds = len(source.folds)
    if folds < folds_of(s):
        folds = max(1, min(folds, int(time / max(source.seconds, least_again(source, 1, s)))))
    if time < least_again(source, folds, s):
        return None
    longest = max(most_epochs(source, s), min(times * most_epochs(source, s), LONGEST))
    seconds = round(min(time / folds, fold_seconds(longest, source, s)), 1)
    return source.vary(seed=source.seed + 100 * i, seconds=seconds, folds=tuple(range(folds)))
