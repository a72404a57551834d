"""The predictions of an exported graph, a batch of pictures at a time, and the session of its ONNX file; no torch."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.processors import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEY = "autoclimb"  # under which a file's metadata holds its description
AT_ONCE = 16  # pictures in a batch, when a file is checked and timed and when it predicts
Predict = Callable[[Sequence[np.ndarray]], np.ndarray]  # a batch for each input, in their order -> `(B, C)`


def open_session(file: Path) -> "InferenceSession":
    """A session of the ONNX file on the processor; raises onnxruntime's errors where the file is no ONNX."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def by_session(session: "InferenceSession", names: Sequence[str]) -> Predict:
    """A function that predicts by the session, whose inputs have these names."""
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def described_in(session: "InferenceSession") -> dict[str, Any]:
    """The description that `export` wrote into the file of a session; {} where there is none."""
    try:
        description = json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "{}"))
    except ValueError:
        return {}
    return description if isinstance(description, dict) else {}


def predictions_for(
    predict: Predict, pictures: Sequence[Any], progress: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """Predictions `(R, C)` for R pictures; `pictures` holds, for each input of the graph, an array or a sliceable of R.

    `progress(done, total)` is called after each batch.
    """
    total, predictions = len(pictures[0]), []
    for start in range(0, total, AT_ONCE):
        predictions.append(predict([np.ascontiguousarray(rows[start : start + AT_ONCE]) for rows in pictures]))
        progress(min(start + AT_ONCE, total), total)
    return np.concatenate(predictions)
