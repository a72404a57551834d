"""What README.md and docs/ tell people to type works: commands parse, Python runs, names and files exist."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benches import suite_file
from fakes import World, situation
from folders import competition
from typer.main import get_command

import autoclimb
from autoclimb import solve
from autoclimb.cli import app
from autoclimb.config import Config
from autoclimb.data.steps import PREPROCESS, chain_of
from autoclimb.policies import policy_named
from autoclimb.score.metrics import metric_named
from autoclimb.types import Blend, Goal, Metric

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
each_page = pytest.mark.parametrize("page", PAGES)
BEFORE = ("$", "uv", "uvx", "run", "python", "-m", "time", "CUDA_VISIBLE_DEVICES")  # may stand before the command


def blocks(text: str, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(text) if language in languages]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `autoclimb ...` line; in console blocks only of lines behind a `$`."""
    for language, body in FENCE.findall(text):
        if language in ("console", "bash", "sh", "shell"):
            for line in body.replace("\\\n", " ").splitlines():
                if language != "console" or line.startswith("$ "):
                    words = shlex.split(line, comments=True) if "autoclimb" in line else []
                    while words and words[0].split("=")[0] in BEFORE:
                        words = words[1:]
                    if words and words[0] == "autoclimb":
                        stop = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))
                        yield words[1:stop]


def parse(args: list[str]) -> None:
    """Go through a command line's options without running it; raises where they are not understood."""
    front = get_command(app)
    for command in front.commands.values():  # type: ignore[attr-defined]
        command.callback = lambda **options: None
    front.main(args, prog_name="autoclimb", standalone_mode=False)


def linked_files(text: str) -> set[str]:
    """The targets of relative links and pictures."""
    prose = FENCE.sub("", text)
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", prose) + re.findall(r'<img[^>]+src="([^"]+)"', prose)
    return {link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)}


def quoted_files(text: str) -> set[str]:
    """Paths into the checkout in back quotes."""
    return set(re.findall(r"`((?:recipes|benchmarks|tests|docs|\.ci|autoclimb)/[\w./-]*)`", FENCE.sub("", text)))


class ToyRun(autoclimb.Run):
    """A run that predicts without nets."""

    def predict(self, images: Any, tell: Any = None) -> pd.DataFrame:
        return pd.DataFrame({"id": ["a"], "labels": ["1 4"]})


def toy_fit(data: Any, **options: Any) -> ToyRun:
    """What `fit` would do first: its options are bound, its plan is climbed in a made-up world, a run comes back."""
    bound = inspect.signature(solve.fit).bind(data, **options).arguments
    metric = solve.as_metric(bound["metric"])
    seconds = solve.seconds_of(bound["budget"])
    plan = solve.plan_of(bound.get("plan"))
    space = bound.get("space") or autoclimb.SearchSpace()
    history, _ = World(situation(budget=max(seconds, 3600.0), space=space)).climb(plan)
    assert history.trials
    if isinstance(bound["metric"], Metric):
        assert Goal(metric, "binary").score(np.array([0, 1]), np.array([0, 1])) == 1.0
    blend = Blend("best", ("a",), (1.0,), np.zeros((4, 3)), np.zeros((2, 3)), 0.9, 0.01, 4)
    return ToyRun(Path("run"), metric, True, "the budget is used", seconds, {}, blend, {})


def test_the_readme_shows_how_to_fit():
    assert [args for args in commands(TEXT["README.md"]) if args[:1] == ["fit"]], "README.md shows no `autoclimb fit`"


def test_the_readme_is_read_in_minutes():
    assert len(TEXT["README.md"].splitlines()) <= 130


@each_page
def test_every_command_is_understood(page):
    for args in commands(TEXT[page]):
        parse(args)


@each_page
def test_the_python_runs_on_a_toy(page, tmp_path, monkeypatch):
    competition(tmp_path / "data", lambda i: ("1 4", "4", "1 7")[i % 3], sample="1 4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(autoclimb, "fit", toy_fit)
    if "suite.toml" in TEXT[page]:
        suite_file(tmp_path, {"mine": "good"})
    for code in blocks(TEXT[page], "python", "py"):
        exec(compile(code, page, "exec"), {"__name__": "__main__"})


@each_page
def test_every_file_that_is_named_exists(page):
    here = (ROOT / page).parent
    assert not [name for name in linked_files(TEXT[page]) if not (here / name).exists()]
    assert not [name for name in quoted_files(TEXT[page]) if not (ROOT / name).exists()]


def test_every_page_is_linked_from_the_readme():
    assert {page for page in PAGES if page.startswith("docs/")} <= linked_files(TEXT["README.md"])


def rows_of(text: str) -> list[list[str]]:
    """The cells of every table row, without their back quotes."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_on_config_has_every_field_with_its_default():
    shown = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in rows_of(TEXT["docs/config.md"])[1:]}
    assert shown == {f.name: f.default for f in fields(Config)}


def test_the_menus_on_the_page_on_config_exist():
    from autoclimb.learn import heads, losses, optim, samplers, views

    menu = re.findall(r"^- `(\w+)`(, [a-z ]+)?[^:]*: ((?:.|\n  )*)", TEXT["docs/config.md"], re.MULTILINE)
    assert len(menu) > 8
    rows = {
        "optimizer": optim.OPTIMIZERS,
        "schedule": optim.SCHEDULES,
        "pool": heads.POOLS,
        "class_weights": samplers.CLASS_WEIGHTS,
        "sampler": samplers.SAMPLERS,
        "tta": views.VIEWS,
    }
    for field, _, text in menu:
        names = re.findall(r"`([^`]+)`", text)
        assert names
        if field == "policy":
            assert [policy_named(name, {}) for name in names if name != "+"]
        elif field == "loss":
            assert not [name for name in names if losses.find_loss(name) is None]
        elif field == "preprocess":
            steps = [name for name in names if name not in ("+", "box:top,left,bottom,right")]
            assert {name for name in steps if name in PREPROCESS}
            assert [chain_of(name) for name in steps if name in PREPROCESS or ":" in name or "+" in name]
        else:
            assert set(names) <= set(rows[field])


def test_the_metrics_on_their_page_are_known():
    cells = [row[0] for row in rows_of(TEXT["docs/metrics.md"])[1:] if len(row) == 2]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell) if not name.startswith("-")]
    assert len(names) > 30
    assert [metric_named(name) for name in names]


SAMPLE = """
```console
$ autoclimb fit ./data --metric f2 \\
    --budget 4h  # overnight
autoclimb said this
$ pip install autoclimb
```
```bash
CUDA_VISIBLE_DEVICES=0 uv run autoclimb leaderboard runs/data | head
```
```python
import autoclimb
from autoclimb import fit
autoclimb.open_run("runs/data")
```
See [results](benchmarks/RESULTS.md#top), [site](https://example.org) and `recipes/planet.py`.
"""


def test_commands_are_found_in_blocks():
    fit = ["fit", "./data", "--metric", "f2", "--budget", "4h"]
    assert list(commands(SAMPLE)) == [fit, ["leaderboard", "runs/data"]]


def test_files_are_found():
    assert (linked_files(SAMPLE), quoted_files(SAMPLE)) == ({"benchmarks/RESULTS.md"}, {"recipes/planet.py"})


def test_an_option_that_does_not_exist_is_noticed():
    parse(["fit", "./data", "--metric", "f2", "--budget", "4h"])
    for wrong in (["fit", "./data", "--metrics", "f2", "--budget", "4h"], ["fit", "./data"], ["fits"]):
        with pytest.raises(Exception, match=r"(?i)option|missing|command"):
            parse(wrong)
