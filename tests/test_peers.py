"""The peers' adapters: what they read of a folder, and submissions that are marked as they were meant."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import competition

from autoclimb import metric_named, read_task
from autoclimb.contest.marks import marked

PEERS = Path(__file__).parent.parent / "benchmarks" / "peers"
NAMES = ("cat", "dog", "fox")


@pytest.fixture(scope="module")
def folder():
    spec = importlib.util.spec_from_file_location("peers_folder", PEERS / "folder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["peers_folder"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["peers_folder"]


def answers_of(data: Path, path: Path, cell) -> Path:
    table = pd.read_csv(data / "sample_submission.csv", dtype=str)
    table[table.columns[1]] = [cell(i) for i in range(len(table))]
    table.to_csv(path, index=False)
    return path


P = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.6, 0.1]])
CASES = {
    "accuracy": (lambda i: NAMES[i % 3], "cat", P, lambda i: NAMES[i % 3], 0.75),
    "map@2": (lambda i: NAMES[i % 3], "cat dog", P, lambda i: NAMES[i % 3], 3.5 / 4),
    "f2": (lambda i: ("cat dog", "dog", "cat fox", "fox", "cat")[i % 5], "cat dog", P, lambda i: NAMES[i % 3], 0.75),
    "mae": (lambda i: i / 2, "1.5", np.arange(4.0)[:, None], lambda i: i + 0.5, 0.5),
    "qwk": (lambda i: i % 3, "0", np.array([[0.2], [1.4], [1.8], [-3.0]]), lambda i: (0, 1, 2, 0)[i], 1.0),
}


@pytest.mark.parametrize("metric", CASES)
def test_a_peers_submission_is_marked_as_it_was_meant(folder, tmp_path, metric):
    label, sample, predictions, truth, value = CASES[metric]
    data = competition(tmp_path / "data", label, sample)
    seen = folder.read(data, metric)
    assert all(Path(file).is_file() for file in [*seen.train["file"], *seen.test])
    assert len(seen.train) == 12
    folder.write(seen, tmp_path / "mine.csv", predictions, NAMES)
    right = answers_of(data, tmp_path / "answers.csv", truth)
    task = read_task(data, metric=metric)
    assert marked(task, metric_named(metric), tmp_path / "mine.csv", right).score == pytest.approx(value)


def test_a_size_is_the_largest_that_leaves_enough_epochs(folder, tmp_path):
    seen = folder.read(competition(tmp_path / "data"), "accuracy")
    assert seen.side == 8
    wide = folder.Competition("accuracy", "classes", seen.train, seen.test, seen.sample, 200)
    rows = len(seen.train)
    assert folder.size_for(wide, 100.0, 64, 1e6, tuned=True) == 224
    assert folder.size_for(wide, 100.0, 64, 0.1, tuned=True) == 64
    just = folder.ENOUGH[False] * rows / 100.0 * (128 / 64) ** 2
    assert folder.size_for(wide, 100.0, 64, just * 1.01, tuned=False) == 128


def test_the_threshold_is_the_best_on_the_held_out_rows(folder):
    truth = np.array([[1, 0], [0, 1], [1, 1]])
    p = np.array([[0.4, 0.2], [0.1, 0.35], [0.5, 0.45]])
    assert 0.2 <= folder.best_threshold(truth, p, 2.0) < 0.35
