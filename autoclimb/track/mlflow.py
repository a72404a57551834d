"""MLflow: a sqlite store in the run folder; our run is a parent run there, each trial a child of it."""

import os
import time
from pathlib import Path

from autoclimb.track.entries import About, BlendEntry, Session, TrialEntry

LONGEST = 6000  # characters of a parameter, MLflow's own limit


def open_session(about: About) -> Session:
    """The session that writes to `mlflow.db` and `mlflow` in the run folder."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it calls home from its import on
    os.environ["DO_NOT_TRACK"] = "true"
    return _Session(about)


class _Session:
    def __init__(self, about: About) -> None:
        from mlflow.tracking import MlflowClient

        folder = about.folder.resolve()
        self.client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = self.client.get_experiment_by_name(about.name)
        self.experiment = (
            experiment.experiment_id
            if experiment
            else self.client.create_experiment(about.name, artifact_location=(folder / "mlflow").as_uri())
        )
        if "run" not in about.state:
            about.state["run"] = self._start_run(about.run, {}, dict(about.settings))
        self.run = about.state["run"]

    def log_trial(self, entry: TrialEntry) -> None:
        tags = {"mlflow.parentRunId": self.run, "status": entry.status, "note": entry.note}
        child = self._start_run(entry.name, tags, entry.parameters)
        self._log_metrics(child, entry.metrics, entry.number)
        self.client.set_terminated(child, "FINISHED" if entry.status == "done" else "FAILED")

    def log_blend(self, entry: BlendEntry) -> None:
        self._log_metrics(self.run, entry.metrics, entry.trials)

    def end(self, files: list[Path]) -> None:
        for file in files:
            self.client.log_artifact(self.run, str(file))
        self.client.set_terminated(self.run)

    def _start_run(self, name: str, tags: dict[str, str], parameters: dict) -> str:
        from mlflow.entities import Param

        run = self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
        values = [Param(key, str(value)[:LONGEST]) for key, value in parameters.items()]
        self.client.log_batch(run, params=values)
        return run

    def _log_metrics(self, run: str, metrics: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])
