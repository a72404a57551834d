"""TensorBoard: event files in the run folder, a folder for each trial, so that its HPARAMS tab compares them."""

import time
from pathlib import Path
from typing import Any

from autoclimb.track.entries import About, BlendEntry, Session, TrialEntry


def open_session(about: About) -> Session:
    """The session that writes below `tensorboard` in the run folder."""
    return _Session(about)


class _Session:
    def __init__(self, about: About) -> None:
        self.folder = about.folder / "tensorboard"

    def log_trial(self, entry: TrialEntry) -> None:
        from tensorboard.plugins.hparams import summary_v2 as hparams

        folder = self.folder / entry.name
        for file in folder.glob("events.*"):  # written by a process that was killed before it recorded the trial
            file.unlink()
        summaries = [hparams.hparams_pb(entry.parameters, trial_id=entry.name)]
        _write(folder, [*summaries, *(_scalar(k, v) for k, v in entry.metrics.items())], entry.number)

    def log_blend(self, entry: BlendEntry) -> None:
        _write(self.folder / "blend", [_scalar(k, v) for k, v in entry.metrics.items()], entry.trials)

    def end(self, files: list[Path]) -> None:
        pass  # every write was closed


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _write(folder: Path, summaries: list[Any], step: int) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.close()
