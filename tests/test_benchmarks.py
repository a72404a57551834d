"""The benchmarks run for minutes; that each can be begun is known at once."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1] / "benchmarks"


def test_every_benchmark_names_only_what_there_is():
    names = sorted(path.stem for path in HERE.glob("*.py"))
    command = [sys.executable, "-c", "\n".join(f"import {name}" for name in names)]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-500:]
