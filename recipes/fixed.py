"""No search: the largest net that the budget trains soundly over all folds.

    autoclimb fit ./data --metric f2 --budget 4h --recipe fixed

This is a good single recipe, which a search has to beat: one of the available nets, flips, one cycle fitted to the
time, smoothing where labels are answered. Expect one trial over all folds; where the budget is longer than that net can
use, the same net from other seeds. `autoclimb bench` compares it with the search on sets of your own.
"""

from autoclimb import SearchSpace

SPACE = SearchSpace(policies=["flip"], features=False)

RECIPE = {"space": SPACE, "plan": ["one-net"], "folds": 5}
