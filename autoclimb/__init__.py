"""The front door. Names are fetched on first use, so that `import autoclimb` costs milliseconds and no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoclimb.benching import Bench, bench
    from autoclimb.config import Config
    from autoclimb.dry_run import Plan, plan
    from autoclimb.errors import Mistake
    from autoclimb.reading import inspect, read_task
    from autoclimb.score.metrics import METRICS, metric_named
    from autoclimb.search.situation import Situation
    from autoclimb.search.space import SearchSpace
    from autoclimb.solve import Run, fit, open_run
    from autoclimb.types import History, Metric, Note, Task, Trial

    __version__: str

__all__ = [
    "METRICS",
    "Bench",
    "Config",
    "History",
    "Metric",
    "Mistake",
    "Note",
    "Plan",
    "Run",
    "SearchSpace",
    "Situation",
    "Task",
    "Trial",
    "__version__",
    "bench",
    "fit",
    "inspect",
    "metric_named",
    "open_run",
    "plan",
    "read_task",
]

_ROOMS = {
    "METRICS": "autoclimb.score.metrics",
    "Bench": "autoclimb.benching",
    "Config": "autoclimb.config",
    "History": "autoclimb.types",
    "Metric": "autoclimb.types",
    "Mistake": "autoclimb.errors",
    "Note": "autoclimb.types",
    "Plan": "autoclimb.dry_run",
    "Run": "autoclimb.solve",
    "SearchSpace": "autoclimb.search.space",
    "Situation": "autoclimb.search.situation",
    "Task": "autoclimb.types",
    "Trial": "autoclimb.types",
    "bench": "autoclimb.benching",
    "fit": "autoclimb.solve",
    "inspect": "autoclimb.reading",
    "metric_named": "autoclimb.score.metrics",
    "plan": "autoclimb.dry_run",
    "open_run": "autoclimb.solve",
    "read_task": "autoclimb.reading",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("autoclimb")
    elif name in _ROOMS:
        value = getattr(import_module(_ROOMS[name]), name)
    else:
        raise AttributeError(f"module 'autoclimb' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
