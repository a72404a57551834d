"""Random search: nets, sizes, policies and mixing drawn by lot, then the best draw over all folds.

    autoclimb fit ./data --metric f2 --budget 4h --recipe random-search

Draws are trained on one fold for a third of the time, as many as can be trained quickly; the best by its score gets the
rest over all folds, and the blend is the usual one. Expect 3 to 30 draws, none where the budget is too short for three.
`autoclimb bench` compares it with the search on sets of your own.
"""

from autoclimb import SearchSpace

SPACE = SearchSpace(policies=["flip", "affine", "medium", "trivial"], features=False)

RECIPE = {"space": SPACE, "plan": ["random"], "folds": 5}
