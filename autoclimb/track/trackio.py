"""trackio, local: a sqlite file in the run folder; each trial is a run there, the blend another."""

import os
from pathlib import Path

from autoclimb.track.entries import About, BlendEntry, Session, TrialEntry


def open_session(about: About) -> Session:
    """The session that writes below `trackio` in the run folder."""
    for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
        del os.environ[name]  # they may name a server
    os.environ["TRACKIO_DIR"] = str((about.folder / "trackio").resolve())  # read when trackio is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    return _Session(about)


class _Session:
    def __init__(self, about: About) -> None:
        self.about = about

    def log_trial(self, entry: TrialEntry) -> None:
        self._log(entry.name, {"status": entry.status, **entry.parameters}, entry.metrics, entry.number)

    def log_blend(self, entry: BlendEntry) -> None:
        self._log("blend", dict(self.about.settings), entry.metrics, entry.trials)

    def end(self, files: list[Path]) -> None:
        pass  # every run was finished

    def _log(self, name: str, parameters: dict, metrics: dict[str, float], step: int) -> None:
        import trackio

        options = {"resume": "allow", "embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        run = trackio.init(self.about.name, name=name, config=parameters, **options)
        run.log(metrics, step=step)
        run.finish()
