"""A blend's graph on disk, as ONNX or as torch's exported program (.pt2), and the predictions of such a file."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoclimb.errors import Mistake, first_line
from autoclimb.graphs import KEY, Predict, by_session, open_session, predictions_for
from autoclimb.learn.graph import BlendGraph

LARGEST = 1_900_000_000  # bytes of weights that an ONNX file can hold: a protobuf ends at two gigabytes


def write_graph(graph: BlendGraph, inputs: Sequence[dict[str, Any]], path: Path, metadata: dict[str, Any]) -> None:
    """Writes the graph, with the metadata in it, in the format of the path's ending.

    `inputs` name the graph's inputs in order, with `size` and `channels`. The file is not written atomically: the
    caller moves it to its place after checking it. Raises Mistake where it cannot be written.
    """
    examples = tuple(torch.zeros(2, row["size"], row["size"], row["channels"], dtype=torch.uint8) for row in inputs)
    batch = torch.export.Dim("batch")
    shapes = {"pictures": tuple({0: batch} for _ in inputs)}
    try:
        with torch.no_grad():
            program = torch.export.export(graph, examples, dynamic_shapes=shapes)
        WRITERS[path.suffix](program, [row["name"] for row in inputs], path, json.dumps(metadata))
    except RuntimeError as error:  # of torch's exporters, for operations that they do not support
        raise Mistake(
            f"the blend cannot be written as {path.suffix} ({first_line(error, 200)}); try another --format, or --best"
        ) from error


def _write_onnx(program: torch.export.ExportedProgram, names: Sequence[str], path: Path, metadata: str) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if size > LARGEST:
        raise Mistake(f"{size / 1e9:.1f} GB of weights do not fit into an ONNX file; write --format torch, or --best")
    written = torch.onnx.export(program, (), input_names=names, output_names=["prediction"], verbose=False)
    assert written is not None
    written.model.metadata_props[KEY] = metadata
    written.save(path, external_data=False)


def _write_program(program: torch.export.ExportedProgram, names: Sequence[str], path: Path, metadata: str) -> None:
    program.example_inputs = None  # the only content of a .pt2 that would be pickled
    torch.export.save(program, path, extra_files={f"{KEY}.json": metadata})


WRITERS = {".onnx": _write_onnx, ".pt2": _write_program}


def opened(path: Path, inputs: Sequence[dict[str, Any]]) -> Predict:
    """A function that predicts by a written file: a batch of pictures for each input -> predictions `(B, C)`."""
    return READERS[path.suffix](path, [row["name"] for row in inputs])


def by_graph(graph: nn.Module) -> Predict:
    """A function that predicts by a graph in torch."""

    def predict(arrays: Sequence[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return graph(*(torch.from_numpy(array) for array in arrays)).float().numpy()

    return predict


def timed_predictions(predict: Predict, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Predictions `(R, C)` for R pictures, and the seconds for each in the better of two passes: the first warms up."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        predictions = predictions_for(predict, arrays)
        seconds.append(time.perf_counter() - start)
    return predictions, min(seconds) / len(arrays[0])


def _read_onnx(path: Path, names: Sequence[str]) -> Predict:
    return by_session(open_session(path), names)


def _read_program(path: Path, names: Sequence[str]) -> Predict:
    return by_graph(torch.export.load(path).module())


READERS = {".onnx": _read_onnx, ".pt2": _read_program}
