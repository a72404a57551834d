"""Trials for the time left after the finalists: the best nets from other seeds, and further frozen features."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from autoclimb.config import Config
from autoclimb.search.corrections import corrected
from autoclimb.search.cost import with_kept
from autoclimb.search.families import beside_folds, chosen, family_heads
from autoclimb.search.fidelity import LONGEST, asked_seconds, fold_seconds, folds_of
from autoclimb.search.filling import fill
from autoclimb.search.finals import finals_of, fitted_in, least_again, most_epochs, on_fewer_folds, usable
from autoclimb.search.frozen import features_are_all
from autoclimb.search.situation import Situation
from autoclimb.search.starting import with_useful_nets
from autoclimb.types import History

MOST_AGAIN = 60  # trials of the rest: a blend of more gains nothing that their errors would show
LOOK_LEFT, LOOK_SHARE = 10.0, 0.1  # seconds left, and share of the budget, from which a net is trained after features


def rest(history: History, s: Situation) -> Iterator[list[Config]]:
    """The best nets again from other seeds, and further frozen features, while there is time."""
    for i in range(1, MOST_AGAIN + 1):
        row = s.remember(f"rest-{i}", partial(decide_rest, i, history, s))
        if row is None:
            return
        yield [Config.from_json(row)]


def decide_rest(i: int, history: History, s: Situation) -> dict[str, Any] | None:
    """The next config for the time left, as json; None where the time is too short to learn anything.

    Where frozen features did better than every net, further features come first.
    """
    before, s = s, with_kept(history, corrected(history, s))
    finals = finals_of(history, s)
    features = [t.score for t in history.done(train="features")]
    frozen_lead = bool(features) and (not finals or max(features) > finals[0].score)
    if frozen_lead and (config := fill(history, s, usable(s))) is not None:
        return config.to_json()
    filled = sum(t.stage == "rest" and t.config.train == "features" for t in history.trials)
    turns, turn = divmod(max(i - 1 - filled, 0), max(len(finals), 1))  # of nets, not of features that filled time
    nets = (again(t.config, i, 1 + turns, s) for t in [*finals[turn:], *finals[:turn]])
    config = next((net for net in nets if net is not None), None)
    if config is None and not frozen_lead:
        config = fill(history, s, usable(s))
    first = History([t for t in history.trials if t.stage != "rest"])
    if config is None and features_are_all(first, before) and not history.done(train="net"):
        config = lone_net(history, with_useful_nets(history, s))
    return None if config is None else config.to_json()


def lone_net(history: History, s: Situation) -> Config | None:
    """The most promising net in the time that frozen features left, over all folds if the time is enough for them.

    None where measuring its speed would take much of the time.
    """
    if usable(s) < max(LOOK_LEFT, LOOK_SHARE * s.budget):
        return None
    heads = family_heads(history, s)
    over_all = chosen(heads, 1, usable(s), "enough", s)
    if not over_all:
        return on_fewer_folds(history, heads[0], s)[0]
    s.prepare(over_all[0])
    time = usable(s) - beside_folds(over_all[0], 1, s)
    if time < least_again(over_all[0], folds_of(s), s):  # preparing its pictures took the time for all folds
        return on_fewer_folds(history, heads[0], s)[0]
    longest = folds_of(s) * fold_seconds(most_epochs(over_all[0], s), over_all[0], s)
    return fitted_in(over_all[0], min(time, longest), folds_of(s), s)


def again(source: Config, i: int, times: int, s: Situation) -> Config | None:
    """The source from another seed in the time left, over all folds where it covers all; None in too little time.

    The blend cannot use a net of some folds beside nets over all, so such a net is trained shorter rather than on fewer
    folds, for at least half of "enough" epochs. In its second turn (`times` 2) it may be trained twice as long, and so
    on, since one more net of the same length gains ever less, and the first one may have been too short.
    """
    source = source.vary(predict_test=True)
    s.prepare(source)
    time = usable(s, source.vary(seed=source.seed + 100 * i))
    folds = len(source.folds)
    if folds < folds_of(s):
        folds = max(1, min(folds, int(time / max(source.seconds, least_again(source, 1, s)))))
    if time < least_again(source, folds, s):
        return None
    longest = max(most_epochs(source, s), min(times * most_epochs(source, s), LONGEST))
    seconds = round(asked_seconds(min(time / folds, fold_seconds(longest, source, s)), source, s), 1)
    return source.vary(seed=source.seed + 100 * i, seconds=seconds, folds=tuple(range(folds)))
