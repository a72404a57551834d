"""What a row of RESULTS.md needs beside a score: how a command went, on what machine, from which commit."""

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """How a command went: exit status, wall seconds, most gigabytes its processes held at once, its last words."""

    status: int
    seconds: float
    peak: float
    words: str


def run(command: list[str], limit: float, folder: Path | None = None) -> Ran:
    """How a command went, watched once a second; stopped with everything it started after `limit` seconds."""
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)
        peak, known = 0.0, {process.pid}
        try:
            while process.poll() is None and time.monotonic() - began < limit:
                known = family(parents(), known)
                peak = max(peak, held_by(known))
                try:
                    process.wait(timeout=1.0)
                except subprocess.TimeoutExpired:
                    continue
            seconds = time.monotonic() - began
        finally:
            if process.poll() is None:
                for pid in family(parents(), known):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:  # it ended while we looked
                        continue
                process.wait()
        words.seek(0)
        lines = [line.strip() for line in words if line.strip()]
    return Ran(process.returncode, seconds, peak, lines[-1].replace("|", "/")[:120] if lines else "")


def parents() -> dict[int, int]:
    """The parent of each living process of this machine, by process id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])  # names may hold ")"
        except OSError:  # it ended while we looked
            continue
    return found


def family(parent_of: Mapping[int, int], known: Collection[int]) -> set[int]:
    """The living of `known` and all that descend from them, whatever session they opened.

    Given the family as last seen it keeps those whose parent has ended since, which the kernel gives another.
    """
    living = set(known) & parent_of.keys()
    while born := {pid for pid, parent in parent_of.items() if parent in living} - living:
        living |= born
    return living


def held_by(processes: Collection[int]) -> float:
    """Gigabytes that the processes hold now, shared pages split among those that share them."""
    total = 0
    for pid in processes:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it ended while we looked
            continue
    return total * 1024 / 1e9


def heading(title: str) -> str:
    """What a reader must know to believe or repeat the table: time, commit, versions, hardware, command."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("autoclimb", "torch", "timm", "numpy"))
    said = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {title}\n\n"
        f"- commit {commit()}; {packages}; Python {platform.python_version()}\n"
        f"- {hardware()}\n"
        f"- `{said}`\n\n"
    )


def hardware() -> str:
    """CPU, cores, memory and card, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    card = "no GPU"
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")
        card = ", ".join(name for name in names if name) or card
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB, {card}"


def commit() -> str:
    """The checkout's commit, marked where files differ from it."""
    here = Path(__file__).parent
    asked = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def append(path: Path, text: str) -> None:
    """Add text to a file, on disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def seconds_of(text: str) -> float:
    """Seconds in `5m`, for the limit; the command itself says what is wrong with a budget."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(float(number) * unit[letter] for number, letter in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text))
