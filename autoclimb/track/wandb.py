"""Weights & Biases, offline: one run there, each trial a step of it; `wandb sync` uploads it if one wants that."""

import os
import secrets
from pathlib import Path
from typing import Any

from autoclimb.track.entries import About, BlendEntry, Session, TrialEntry


def open_session(about: About) -> Session:
    """The session that writes below `wandb` in the run folder."""
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_DISABLE_CODE": "true"}
    return _Session(about)


class _Session:
    def __init__(self, about: About) -> None:
        self.about = about
        self.run: Any = None

    def log_trial(self, entry: TrialEntry) -> None:
        values = {"status": entry.status, **entry.parameters, **entry.metrics}
        self._log({"trial": entry.number, **{f"trial/{name}": value for name, value in values.items()}})

    def log_blend(self, entry: BlendEntry) -> None:
        self._log({"trial": entry.trials, **{f"blend/{name}": value for name, value in entry.metrics.items()}})

    def end(self, files: list[Path]) -> None:
        if self.run is None:
            return
        for file in files:
            self.run.save(str(file), base_path=str(file.parent), policy="now")
        self.run.finish()

    def _log(self, values: dict[str, Any]) -> None:
        import wandb

        if self.run is None:  # not before there is something to log: each start makes a folder of its own
            about = self.about
            about.state.setdefault("id", secrets.token_hex(4))  # one run however often it is continued
            self.run = wandb.init(
                project=about.name,
                name=about.run,
                id=about.state["id"],
                dir=str(about.folder),
                mode="offline",
                config={**about.settings, "metric": about.metric},
                settings=wandb.Settings(x_disable_stats=True, x_disable_meta=True, disable_git=True, console="off"),
            )
        self.run.log(values)
