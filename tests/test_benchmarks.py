"""The benchmarks run for minutes; that each can be begun is known at once."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoclimb.config import Config
from autoclimb.disk import write_json
from autoclimb.run import store
from autoclimb.search.cost import look_of, measured
from autoclimb.types import Trial

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[1] / "benchmarks"


def test_every_benchmark_names_only_what_there_is(benchmark_named):
    for path in HERE.glob("*.py"):
        benchmark_named(path.stem)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):  # within functions too
                exec(compile(ast.Module([node], []), path, "exec"), {})


def test_costs_are_compared_by_kind_from_the_records_of_runs(tmp_path):
    trials = [
        (Config(train="features"), "baseline", 10.0, 12.0),
        (Config(train="features", weights="box"), "baseline", 10.0, 9.0),
        (Config(seconds=20.0), "finalists", 20.0, 20.0),
        (Config(seconds=20.0, seed=1), "finalists", 20.0, 22.0),
        (Config(seconds=20.0, seed=2), "finalists", 0.0, 22.0),  # nobody planned it
    ]
    for config, stage, planned, taken in trials:
        facts = {"planned_s": planned} if planned else {}
        store.save_trial(tmp_path / "run", Trial(config, stage, "done", 0.5, 0.1, taken, facts=facts))
    store.save_trial(
        tmp_path / "run", Trial(Config(seed=3), "rest", "late", -np.inf, 0.0, 9.0, facts={"planned_s": 3.0})
    )
    ended = subprocess.run(
        [sys.executable, HERE / "costs.py", tmp_path, "--each"], capture_output=True, text=True, check=True
    )
    assert "| net, finalists | 2 | 5% | 9% | 40 | 42 |" in ended.stdout
    assert "| hand-made features | 1 | 20% | 20% | 10 | 12 |" in ended.stdout
    assert "| all | 4 | 10% |" in ended.stdout
    assert "run: frozen features" in ended.stdout


def test_costs_are_planned_anew_from_what_a_run_measured(tmp_path):
    run, every = tmp_path / "run", (0, 1, 2, 3, 4)
    config = Config(train="features", backbone="gradients", size=64, folds=every)
    frozen = config.vary(backbone="resnet18", weights="box")  # not measured: left out
    net = Config(size=64, seconds=20.0)  # which predicts the test rows later than the held-out rows
    for c in (config, frozen, net.vary(predict_test=False), net):
        store.save_trial(run, Trial(c, "baseline", "done", 0.5, 0.1, 30.0, facts={"planned_s": 10.0}))
    write_json(run / "speeds.json", {look_of(measured(net)): {"train": 50.0, "predict": 100.0}})
    write_json(run / "facts.json", {"sizes": {"train": [[0, 100, 120]]}})
    write_json(run / "train_ids.json", list(range(700)))
    write_json(run / "run.json", {"budget": 300.0})
    np.save(run / "blend_test.npy", np.zeros((700, 2)))
    np.save(run / "fold_of.npy", np.arange(700) % 5)
    command = [sys.executable, HERE / "costs.py", tmp_path, "--anew", "--each"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    # 4 s of imports, .8 until features come, 1.1 for 1,805 pictures, .23 for each of five heads
    assert "gradients 64 px, 5 folds: 7.1 s, took 30.0 s" in ended.stdout
    assert f"{net.backbone} 64 px, 1 folds: 20.5 s, took 30.0 s" in ended.stdout
    assert f"{net.backbone} 64 px, 1 folds: 7.5 s, took 30.0 s" in ended.stdout  # for 700 pictures
    assert "| all | 3 |" in ended.stdout


def test_costs_without_a_planned_trial_say_so(tmp_path):
    ended = subprocess.run([sys.executable, HERE / "costs.py", tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "planned seconds" in ended.stderr
