"""What a table of RESULTS.md needs beside its rows: when, from which commit, by what command, on what machine."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from autoclimb.contest.machine import hardware


def heading(title: str) -> str:
    """What a reader must know to believe or repeat the table: time, commit, versions, hardware, command."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("autoclimb", "torch", "timm", "numpy"))
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {title}\n\n"
        f"- commit {commit()}; {packages}; Python {platform.python_version()}\n"
        f"- {hardware()}\n"
        f"- `{command}`\n\n"
    )


def commit() -> str:
    """The checkout's commit, marked where files differ from it."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def append(path: Path, text: str) -> None:
    """Add text to a file, on disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def show(path: Path, text: str) -> None:
    """Append text to a file and print it."""
    append(path, text)
    print(text, end="", flush=True)
