"""What tests of training share: a processor, and a fold made from rows."""

from typing import Any

import numpy as np
import torch

from autoclimb.learn.material import Fold

CPU = torch.device("cpu")


def fold_over(train_rows: Any, valid_rows: Any = (), number: int = 0, **changes: Any) -> Fold:
    """A fold of these rows on the processor; nobody listens to its report and its clock stands still."""
    values = {"device": CPU, "report": lambda facts: None, "now": lambda: 0.0, **changes}
    return Fold(number, np.asarray(train_rows, np.int64), np.asarray(valid_rows, np.int64), **values)
