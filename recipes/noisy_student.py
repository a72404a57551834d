"""A noisy student: finalists in a part of their time, then a net that also learns their predictions for test pictures.

    autoclimb fit ./data --metric f2 --budget 4h --recipe noisy-student

It is for competitions with many test pictures and few labels. Each fold's student is taught by the nets of that fold,
which never saw its held-out labels, so that its score is as honest as any, and the blend takes it only if that helps.
Expect the usual plan with one more trial after the finalists; where there are few test pictures, or the budget is too
short for teachers and student, the usual plan as it is.
"""

SEARCH = ["baseline", "resize", "augmentation", "backbone", "loss", "refine"]

RECIPE = {"plan": [*SEARCH, "finalists", "students", "rest"], "folds": 5}
