"""TRACKERS: the experiment trackers that --track may name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from autoclimb.errors import Mistake
from autoclimb.track import mlflow, tensorboard, trackio, wandb
from autoclimb.track.entries import About, Session


@dataclass(frozen=True)
class Tracker:
    """Opens a session of a tracker; the module it needs, pip's name for that, and the command that shows its record."""

    open_session: Callable[[About], Session]
    module: str
    install: str
    shown_by: str  # {run} is the run folder


TRACKERS: dict[str, Tracker] = {
    "tensorboard": Tracker(
        tensorboard.open_session, "tensorboard", "'autoclimb[tensorboard]'", "tensorboard --logdir {run}/tensorboard"
    ),
    "mlflow": Tracker(
        mlflow.open_session, "mlflow", "'autoclimb[mlflow]'", "mlflow ui --backend-store-uri sqlite:///{run}/mlflow.db"
    ),
    "wandb": Tracker(wandb.open_session, "wandb", "'autoclimb[wandb]'", "wandb sync {run}/wandb/offline-run-*"),
    "trackio": Tracker(trackio.open_session, "trackio", "trackio", "TRACKIO_DIR={run}/trackio trackio show"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Raises Mistake for a name that is not on the menu, and for one whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise Mistake(f"--track {name!r} is unknown; choose from {', '.join(TRACKERS)}")
        if find_spec(TRACKERS[name].module) is None:
            raise Mistake(f"--track {name} needs a package that is not installed: pip install {TRACKERS[name].install}")
