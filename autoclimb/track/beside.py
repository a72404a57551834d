"""The trackers of a run, seen from the run: a process beside it, notified of each trial and waited for at the end."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from autoclimb.budget import SLACK
from autoclimb.track.trackers import TRACKERS, check_trackers
from autoclimb.types import Event, Tell

FOLLOWER = [sys.executable, "-m", "autoclimb.track.following"]
CHANGES = ("trial", "blend", "done")  # events after which the run folder has something new for trackers


class Trackers:
    """The process that records a run in the trackers `names`; none is started for no names. A failure is a note."""

    def __init__(self, folder: Path, names: Sequence[str], tell: Tell) -> None:
        check_trackers(names)
        self.folder, self.names, self.tell_on = folder, list(dict.fromkeys(names)), tell
        self.process: subprocess.Popen[str] | None = None

    def tell(self, event: Event) -> None:
        """Passes the event on, and has the process read the run folder again where it changed."""
        self.tell_on(event)
        if event.name in CHANGES:
            self.update()

    def update(self) -> None:
        """Has the process, which is started if need be, read the run folder again."""
        if not self.names:
            return
        if self.process is None:
            try:
                with (self.folder / "track.log").open("ab") as log:
                    self.process = subprocess.Popen(
                        [*FOLLOWER, str(self.folder), *self.names],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        start_new_session=True,  # Ctrl-C is the run's to handle
                    )
            except OSError as error:  # most often there is no memory for another process
                names, self.names = ", ".join(self.names), []
                text = f"{names} cannot follow the run ({error.strerror}); the same command completes the record"
                self.tell_on(Event("note", text))
                return
        assert self.process.stdin is not None
        with suppress(OSError):  # the process died: its last output is read at the end
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def end(self, seconds: float) -> None:
        """Waits up to `seconds`, half a minute at most, for the process to end, and tells what was recorded."""
        if self.process is None:
            return
        try:
            out, _ = self.process.communicate(
                timeout=min(max(seconds, SLACK.trackers_at_least), SLACK.trackers_at_most)
            )
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.communicate()
            names = ", ".join(self.names)
            self.tell_on(Event("note", f"no time was left for {names}; the same command completes the record"))
            return
        failures = [json.loads(line) for line in out.splitlines()]
        for failure in failures:
            self.tell_on(Event("note", f"tracking by {failure['tracker']} failed ({failure['error']}); see track.log"))
        failed = {failure["tracker"] for failure in failures}
        for name in self.names:
            if self.process.returncode == 0 and name not in failed:
                self.tell_on(Event("note", f"tracked: {TRACKERS[name].shown_by.format(run=self.folder)}"))
        if self.process.returncode:
            self.tell_on(Event("note", f"tracking ended with status {self.process.returncode}; see track.log"))
