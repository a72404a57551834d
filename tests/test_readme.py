"""What the README tells people to type works: commands parse, names import, files are there."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from autoclimb.cli import app

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
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


def names_used(code: str) -> Iterator[tuple[str, str]]:
    """Module and name of everything of ours that a piece of Python uses."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "autoclimb":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "autoclimb":
            yield "autoclimb", node.attr


def files_named(text: str) -> set[str]:
    """Relative links, and paths into the checkout in back quotes."""
    prose = FENCE.sub("", text)
    links = {link for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", prose) if not re.match(r"[a-z]+:|#", link)}
    sources = {link for link in re.findall(r'<img[^>]+src="([^"]+)"', prose) if not re.match(r"[a-z]+:", link)}
    quoted = re.findall(r"`((?:recipes|benchmarks|tests|docs|\.ci|autoclimb)/[\w./-]*)`", prose)
    return {name.partition("#")[0] for name in links | sources | set(quoted)}


def test_the_readme_shows_how_to_fit():
    assert [args for args in commands(TEXT) if args[:1] == ["fit"]], "no `autoclimb fit` in a fenced block of README.md"


def test_every_command_of_the_readme_is_understood():
    for args in commands(TEXT):
        parse(args)


def test_python_of_the_readme_compiles_and_its_names_are_there():
    for code in blocks(TEXT, "python", "py"):
        compile(code, "README.md", "exec")
        for module, name in names_used(code):
            assert hasattr(importlib.import_module(module), name), f"README.md uses {module}.{name}"


def test_every_file_that_the_readme_names_is_there():
    assert not [name for name in files_named(TEXT) if not (ROOT / name).exists()]


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


def test_names_and_files_are_found():
    assert set(names_used(blocks(SAMPLE, "python")[0])) == {("autoclimb", "fit"), ("autoclimb", "open_run")}
    assert files_named(SAMPLE) == {"benchmarks/RESULTS.md", "recipes/planet.py"}


def test_an_option_that_does_not_exist_is_noticed():
    parse(["fit", "./data", "--metric", "f2", "--budget", "4h"])
    for wrong in (["fit", "./data", "--metrics", "f2", "--budget", "4h"], ["fit", "./data"], ["fits"]):
        with pytest.raises(Exception, match=r"(?i)option|missing|command"):
            parse(wrong)
