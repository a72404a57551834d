"""The plan whose finalists get all their folds at once, whatever their first fold showed.

autoclimb fit ./data --metric f2 --budget 4h --recipe benchmarks/ablations/no_halving.py
"""

from collections.abc import Iterator

from autoclimb import Config, History, Situation
from autoclimb.search.finals import decide_finalists


def at_once(history: History, s: Situation) -> Iterator[list[Config]]:
    """The finalists, each over all its folds."""
    for row in s.remember("finalists", lambda: [config.to_json() for config in decide_finalists(history, s)]):
        yield [Config.from_json(row)]


SEARCH = ["baseline", "resize", "augmentation", "backbone", "loss", "refine"]
RECIPE = {"plan": [*SEARCH, ("finalists", at_once), "rest"]}
