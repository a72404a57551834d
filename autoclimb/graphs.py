"""What an exported graph predicts, a batch of pictures at a time, and how its ONNX file is opened; without torch."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.processors import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEY = "autoclimb"  # of the description among a file's metadata
AT_ONCE = 16  # pictures, both where a file is checked and timed and where it answers
Predict = Callable[[Sequence[np.ndarray]], np.ndarray]  # a batch for each input, in their order -> `(B, C)`


def open_session(file: Path) -> "InferenceSession":
    """An ONNX file, ready to run on the processor; raises onnxruntime's errors where it is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def by_session(session: "InferenceSession", names: Sequence[str]) -> Predict:
    """What predicts by a session whose inputs bear these names."""
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def described_in(session: "InferenceSession") -> dict[str, Any]:
    """The description that `export` wrote into the file of a session; {} where there is none."""
    try:
        about = json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "{}"))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def predictions_for(
    predict: Predict, pictures: Sequence[Any], progress: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """Predictions `(R, C)` for R pictures, `pictures` one array, or what slices to one, for each input.

    `progress(done, total)` is called after each batch.
    """
    total, predictions = len(pictures[0]), []
    for start in range(0, total, AT_ONCE):
        predictions.append(predict([np.ascontiguousarray(rows[start : start + AT_ONCE]) for rows in pictures]))
        progress(min(start + AT_ONCE, total), total)
    return np.concatenate(predictions)
