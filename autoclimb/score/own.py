"""A metric of the user's own, from a file they name: `--metric path/to/file.py:function`."""

import hashlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from autoclimb.arrays import LARGE, ByRow, LabelSets
from autoclimb.errors import Mistake, in_users_code
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.metrics import ONE_LABEL, WITH_CLASSES, WITH_NUMBERS, metric_named
from autoclimb.score.train_rows import TrainRows
from autoclimb.seeds import some_of
from autoclimb.types import Goal, Kind, Metric, Wants

MODULE = "autoclimb_metric_"  # prefix of the names of modules that such files become
KINDS: dict[Wants, tuple[Kind, ...]] = {
    "label": ONE_LABEL,
    "labels": WITH_CLASSES,
    "probability": WITH_CLASSES,
    "ranking": WITH_CLASSES,
    "grade": WITH_NUMBERS,
    "number": WITH_NUMBERS,
}
TEMPLATE = "write def {name}(truth, answers, *, wants='probability', greater_is_better=True)"


@dataclass(frozen=True)
class Checked:
    """A user's function whose value must be a number; NaN is allowed, for rows on which it is undefined."""

    function: Any
    name: str

    def __call__(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value. Raises Mistake where it is no number."""
        with in_users_code(f"metric {self.name} raised on {len(truth)} rows"):
            value = self.function(truth, answers)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise Mistake(f"metric {self.name} returned {value!r}, which is no number") from None


def metric_from(text: str) -> Metric:
    """The metric that `text` names: one of METRICS or their aliases, or `path/to/file.py:name` for one of the user's.

    In the file, `name` is a `Metric`, or a function of (truth, answers) whose keyword defaults give its properties:

        def my_score(truth, answers, *, wants="probability", greater_is_better=True):
            return ((answers[:, 1] > 0.5) == truth).mean()

    `wants` decides the form of the answers (see `Metric`); `greater_is_better` is True where it is not given; `k`, the
    places of a ranking, is needed where `wants` is "ranking". The function is called on any choice of rows, so it must
    have a value where a class is missing, NaN if need be.

    The file is imported: name only files that you would run. Raises Mistake where there is no such file or name.
    """
    path, colon, name = text.rpartition(":")
    if not colon and not text.endswith(".py"):
        return metric_named(text)
    if not colon or not path or not name:
        raise Mistake(f"metric {text!r} names no function; write {path or text.removesuffix(':')}:function")
    module = _imported(Path(path).expanduser(), text)
    value = getattr(module, name, None)
    if value is None:
        have = ", ".join(n for n, v in vars(module).items() if _defined_here(v, module)) or "no functions"
        raise Mistake(f"{path} has no {name!r}; it has {have}")
    metric = value if isinstance(value, Metric) else _of_function(value, name, path)
    try:
        namesake = metric_named(metric.name)
    except Mistake:
        return metric
    raise Mistake(f"{metric.name!r} in {path} is a known name for {namesake.name}; give your metric another one")


def check_metric(goal: Goal, target: ByRow) -> None:
    """Calls a user's function on right answers, before hours are spent on it. Raises Mistake where it has no value.

    Metrics of METRICS, and `Metric` objects of the user's, are not called.
    """
    if not isinstance(goal.metric.function, Checked):
        return
    if goal.kind == "regression":
        right = target[:][:, None].astype(np.float64)
    else:
        width = target.shape[1] if len(target.shape) == 2 else int(target[:].max()) + 1
        target = target[some_of(len(target), max(1, LARGE // width), "check")]
        right = np.asarray(target if len(target.shape) == 2 else LabelSets(target[:, None], width), np.float64)
    cross_fitted_score(TrainRows(goal, target, np.zeros(len(target), np.int64)), right)


def source_of(metric: Metric) -> str:
    """A digest of the source of a user's metric, "" for one of METRICS or where Python cannot find the source.

    It covers the whole file where `--metric` named one, else the function's own lines.
    """
    function = metric.function.function if isinstance(metric.function, Checked) else metric.function
    function = getattr(function, "func", function)  # of a functools.partial
    thing = function if inspect.isroutine(function) else type(function)
    module = thing.__module__ or ""
    if module.split(".")[0] == "autoclimb":
        return ""
    try:
        if module.startswith(MODULE):
            text = Path(inspect.getfile(thing)).read_bytes()
        else:
            text = inspect.getsource(thing).encode()
    except (OSError, TypeError):  # typed at a prompt, or built into Python
        return ""
    return hashlib.blake2b(text, digest_size=4).hexdigest()


def _imported(path: Path, text: str) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        raise Mistake(f"metric {text!r}: {path} is no Python file; write path/to/file.py:function")
    module_name = MODULE + path.stem
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up there
    with in_users_code(f"{path} cannot be imported"):
        spec.loader.exec_module(module)
    return module


def _defined_here(value: object, module: ModuleType) -> bool:
    return isinstance(value, Metric) or (inspect.isfunction(value) and value.__module__ == module.__name__)


def _of_function(function: Any, name: str, path: str) -> Metric:
    if not callable(function) or inspect.isclass(function):
        raise Mistake(f"{name!r} in {path} is a {type(function).__name__}, no function; {TEMPLATE.format(name=name)}")
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(p.kind in positional and p.default is p.empty for p in parameters)
    template = TEMPLATE.format(name=name)
    if count != 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise Mistake(f"{name} in {path} takes {count} arguments, not truth and answers; {template}")
    wants: Any = defaults.get("wants")
    k = defaults.get("k", 0)
    if wants not in get_args(Wants):
        fault = "does not say which answers it wants" if wants is None else f"wants {wants!r}"
        raise Mistake(
            f"{name} in {path} {fault}; {TEMPLATE.format(name=name)}, with one of {', '.join(get_args(Wants))}"
        )
    if wants == "ranking" and not (isinstance(k, int) and k > 0):
        raise Mistake(f"{name} in {path} wants a ranking but not how long; add k=5 to its keywords")
    better = defaults.get("greater_is_better", True)
    if not isinstance(better, bool):
        raise Mistake(f"{name} in {path} has greater_is_better={better!r}; write True or False")
    checked = Checked(function, name)
    return Metric(name, checked, wants, greater_is_better=better, kinds=KINDS[wants], k=k if wants == "ranking" else 0)
