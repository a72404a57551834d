"""The worker process that trials run in: it takes requests as json lines and is ended when its time is up.

Its command is an argument, so that a test can put a script behind it.
"""

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autoclimb.errors import Mistake

# glibc returns large blocks to the kernel and asks for them again at every layer. With thresholds that keep them,
# training on a CPU ran at 1.0 to 2.7 times the speed (benchmarks/LOG.md). The variables must be set before the first
# malloc, hence in the worker's environment.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
    # OpenMP's threads spin for milliseconds before they sleep, which keeps others from working on shared cores.
    # With nine busy processes on two cores: 1.4 pictures a second by default, 3.4 passive, 3.9 with this (LOG.md)
    "GOMP_SPINCOUNT": "10000",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


def command_of(device: str = "", hub: bool = False) -> list[str]:
    """The command of the process that trains and predicts.

    With a `device` it gets that ready before the first request; with `hub` it also asks whether timm's hub answers.
    """
    return [sys.executable, "-m", "autoclimb.learn.worker", *([device] if device else []), *(["hub"] if hub else [])]


def log_of(folder: Path, place: Path) -> Path:
    """The path of a worker's log: in the run's folder, or in `place` where that is read-only, as Kaggle's input is."""
    return (folder if os.access(folder, os.W_OK) else place) / "worker.log"


class Late(Exception):
    """The worker did not reply in time and was ended."""


class Died(Exception):
    """The worker ended by itself, most often for want of memory, or hung and was ended; `fault` is the kind."""

    def __init__(self, text: str, fault: str = "died") -> None:
        super().__init__(text)
        self.fault = fault


@contextmanager
def ends_as_mistakes() -> Iterator[None]:
    """A block outside of a run, where no other trial is tried: a worker's early end becomes a Mistake."""
    try:
        yield
    except (Died, Late) as error:
        raise Mistake(f"{error}; try again with more memory, or with fewer or smaller pictures") from error


class Worker:
    """A process that replies to requests, started at once and restarted when it has died."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command, self.log = list(command), log
        self.greeting: dict[str, Any] | None = None
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.ready = False
        self.start()

    def start(self) -> None:
        """Starts the process without waiting for its imports, which take seconds while the parent reads the data."""
        self.lines, self.ready = queue.Queue(), False
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **ENVIRONMENT},
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        threading.Thread(target=_read, args=(self.process, self.lines), daemon=True).start()

    def greet(self, hello: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The worker's reply to `hello`, which is sent again to every later process of this worker."""
        self.greeting = hello
        return self.ask(hello, seconds)

    def ask(
        self,
        request: dict[str, Any],
        seconds: float,
        watch: Callable[[dict[str, Any]], None] = lambda event: None,
        silence: float = math.inf,
    ) -> dict[str, Any]:
        """The worker's reply; its events go to `watch`. After `seconds` the process is ended and Late raised.

        A request's own `seconds` count from this call too, so the time to start a process is subtracted from them.
        Raises Died where the process has ended by itself, was silent for `silence` seconds, or cannot be started again;
        Mistake for a mistake and RuntimeError for a bug that the worker reports.
        """
        begun = time.monotonic()
        until = begun + seconds
        if self.process is None or self.process.poll() is not None:
            try:
                self.start()
            except OSError as error:  # most often there is no memory for another process
                raise Died(f"the worker cannot be started: {error.strerror}", "memory") from error
        if not self.ready:
            self._answer(until, watch)  # its imports are done
            self.ready = True
            if self.greeting is not None and request is not self.greeting:
                self._greet_again(self.greeting, until, watch)
            if "seconds" in request:
                request = {**request, "seconds": request["seconds"] - (time.monotonic() - begun)}
        self._send(request)
        return self._answer(until, watch, silence)

    def _greet_again(self, hello: dict[str, Any], until: float, watch: Callable[[dict[str, Any]], None]) -> None:
        """Greets a later process; since an earlier one accepted the greeting, an error now is the machine's (Died)."""
        try:
            self._send(hello)
            self._answer(until, watch)
        except (Mistake, RuntimeError) as error:  # a card that is gone, most often
            self.end()
            reason = str(error).strip().rpartition("\n")[2]
            raise Died(f"the worker cannot be set up again: {reason}", "device") from error

    def _send(self, request: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            self.end()
            raise Died("the worker process has gone") from error

    def _answer(
        self, until: float, watch: Callable[[dict[str, Any]], None], silence: float = math.inf
    ) -> dict[str, Any]:
        while True:
            left = max(until - time.monotonic(), 0.001)
            try:
                line = self.lines.get(timeout=min(left, silence))
            except queue.Empty:
                self.end()
                if silence < left:
                    raise Died(f"the worker hung: silent for {silence:g} s", "hung") from None
                raise Late("the worker was ended at its deadline") from None
            if line is None:
                code = self.process.wait() if self.process else 0
                self.end()
                killed = code in (-signal.SIGKILL, -signal.SIGBUS)  # by the kernel, or by a full /dev/shm
                why = "killed, most likely for want of memory" if killed else f"exit status {code}"
                raise Died(f"the worker process ended ({why}); see {self.log.name}", "memory" if killed else "died")
            try:
                reply = json.loads(line)
            except ValueError:  # the process ended in the middle of a line
                continue
            if "event" in reply:
                watch(reply["event"])
            elif "mistake" in reply["end"]:
                raise Mistake(reply["end"]["mistake"])
            elif "bug" in reply["end"]:
                self.end()
                raise RuntimeError("in the worker:\n" + reply["end"]["bug"])
            else:
                return reply["end"]

    def end(self) -> None:
        """Kills the process; work that it had not finished is lost."""
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.killpg(self.process.pid, signal.SIGKILL)  # with the processes that prepare its batches
            self.process.wait()
        self.process = None


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)
