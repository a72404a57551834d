"""The nouns, but for Config. All are frozen but `History`; what happens to them is in functions elsewhere."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from autoclimb.arrays import ByRow
from autoclimb.config import Config
from autoclimb.disk import with_tuples

Kind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]
Wants = Literal["label", "labels", "probability", "grade", "ranking", "number"]
Status = Literal["done", "failed", "late"]


@dataclass(frozen=True)
class Form:
    """How the submission must look: the sample submission's own columns, row order and cell form.

    `cell` is one of
    - "label": one class name per row in `columns[1]`
    - "labels": class names joined by `separator` in `columns[1]` (a set, or a ranking where the metric ranks)
    - "number": a number in `columns[1]`: a probability of `classes[-1]` (binary), a grade or a quantity
    - "columns": one number per class; `column_of[i]` is the class index answered by `columns[1 + i]`, -1 for a class
      that the train table lacks; where `rows` says so, each stands in a row of its own, under `columns[1]`
    """

    columns: tuple[str, ...]
    ids: tuple[str, ...]  # as text, in the sample's order and as often as there; the test items are these, each once
    cell: Literal["label", "labels", "number", "columns"]
    separator: str = " "
    column_of: tuple[int, ...] = ()
    whole_numbers: bool = False  # the sample's cells are integers
    at_most: int = 0  # most names in a "labels" cell of the sample, 0 where their number is free
    sums_to_one: bool = False  # "columns": each row of the sample sums to one, so each row of answers must
    brackets: tuple[str, str, str] = ("", "", "")  # opening and closing of a "labels" cell, and the quote about a name
    rows: tuple[tuple[str, int], ...] = ()  # (item, class index) of each row, where the file has a row for every pair
    beside: tuple[tuple[str, tuple[str, ...]], ...] = ()  # the sample's other columns with their cells; () instead of
    # cells for a column of confidences, which the answers fill
    order: tuple[str, ...] = ()  # all columns in the order of the file, () where they are just `columns`
    delimiter: str = ","
    decimal: str = "."  # in numbers
    header: bool = True
    first: tuple[str, ...] = ()  # the first cells of the sample's first row, () without a sample


@dataclass(frozen=True)
class Note:
    """An observation made while reading a folder. Code asks the kind, people read the text.

    `about` names the column, file or class concerned. `sure` says how certain the observation is: guesses are shown
    first.
    """

    kind: str  # a word chosen by the room that writes the note: "leak", "missing", "encoding", ...
    text: str  # a sentence for people
    about: str = ""
    sure: Literal["sure", "likely", "guessed"] = "sure"
    ask: str = ""  # the option that settles a guess; where it is set, a run refuses to start on the guess without --yes


def least_certain_first(notes: Iterable[Note]) -> list[Note]:
    """The notes in order of certainty: guesses, then likely ones, then sure ones."""
    return sorted(notes, key=lambda note: ("guessed", "likely", "sure").index(note.sure))


@dataclass(frozen=True, eq=False)
class Metadata:
    """The K columns that train and test tables share beside the pictures, as numbers, NaN where a cell is blank.

    A column of words holds indices into its `categories`; a column of numbers has no categories (`()`).
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    train: np.ndarray  # (N, K) float64
    test: np.ndarray  # (M, K) float64


@dataclass(frozen=True)
class Column:
    """A column of the train table and the role it was given."""

    name: str
    role: Literal["target", "group", "metadata", "leak", "unused"]
    values: int  # number of distinct values, blanks not counted
    blank: float  # share of train rows
    why: str = ""  # a sentence for people


@dataclass(frozen=True, eq=False)
class Task:
    """One competition as read. Nothing derived.

    Shapes of `target`, N train items, C classes:
    binary, multiclass, ordinal `(N,)` int64 class index; multilabel `(N, C)` uint8, arrays.LabelSets where that is too
    large; regression `(N,)` float64.
    Ordinal classes are sorted by grade, and `grades` holds their numbers. Binary has two classes, the positive last.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]  # () for regression
    train_ids: tuple[str, ...]
    train_files: tuple[str, ...]  # one source of pixels for each item (data/sources.py), "" for none
    target: np.ndarray
    test_ids: tuple[str, ...]
    test_files: tuple[str, ...]
    form: Form
    groups: np.ndarray | None = None  # (N,) int; rows of one group stay in one fold
    test_groups: np.ndarray | None = None  # (M,) int, where the test rows have the column that train rows group by
    grades: tuple[float, ...] = ()
    unreadable_train: tuple[str, ...] = ()  # ids left out of training
    unreadable_test: tuple[str, ...] = ()  # ids that stay in test_ids and are answered by the constant prediction
    notes: tuple[Note, ...] = ()  # what was read, inferred or ignored, and why
    channels: int = 3  # of a picture
    metadata: Metadata | None = None
    columns: tuple[Column, ...] = ()  # of the train table but its ids; () where labels are in no table
    other_files: tuple[tuple[str, int], ...] = ()  # (ending, number of files) of the files that nothing here reads
    soft: np.ndarray | None = None  # (N, C) float64 shares of votes, rows summing to one; `target` is then the largest

    @property
    def truth(self) -> np.ndarray:
        """The target that is learned and scored: the shares of votes where there are any, else `target`."""
        return self.target if self.soft is None else self.soft

    @property
    def width(self) -> int:
        """Columns of a prediction: one per class, 1 for regression."""
        return len(self.classes) or 1


@dataclass(frozen=True, eq=False)
class How:
    """How a rule is learned."""

    quick: bool = False  # skip the slowest steps, for use inside a search over blends
    part_of: np.ndarray | None = field(default=None, repr=False)  # (N,) parts that keep rows of one group together


@dataclass(frozen=True)
class Metric:
    """The competition's score.

    `function(truth, answers)` takes numpy arrays; `wants` is the form of `answers`, for N rows and C classes:

    - "label" `(N,)` class index; "labels" `(N, C)` 0/1; "probability" `(N, C)`; "grade" `(N,)` grade number, truth too;
      "ranking" `(N, k)` class indices, best first; "number" `(N,)` float

    and `truth` is `Task.truth` (grade numbers for "grade"). A metric that looks at labels but is defined on several
    kinds of task lists them in `kinds`.

    `decide(goal, truth, p, how)` learns the Rule that turns predictions `p` `(N, C)` into the answers of the best
    value. Where it is None, as for a user's own metric, the rule is learned by calling the function on the answers
    that `wants` allows.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float] = field(repr=False)
    wants: Wants
    greater_is_better: bool = True
    kinds: tuple[Kind, ...] = ("binary", "multiclass", "multilabel", "ordinal", "regression")
    k: int = 0  # places of a ranking
    beta: float = 0.0  # of an F-beta, 0 for every other metric
    average: str = ""  # of an F-beta: samples, macro, micro
    decide: "Callable[[Goal, np.ndarray, np.ndarray, How], Rule] | None" = field(default=None, repr=False)
    on_kind: "Callable[[Kind], Callable[[np.ndarray, np.ndarray], float]] | None" = field(default=None, repr=False)
    constant: Literal["mean", "median"] = "mean"  # of the train rows' numbers: the best answer without a picture
    by_class: tuple[Kind, ...] = ()  # kinds on which it averages over classes, so that rare ones count as much
    order_only: bool = False  # it depends on the order of the rows' answers only, not on their size
    logs: bool = False  # it compares log(1 + number)
    votes: bool = False  # where the task has shares of votes `(N, C)`, rows summing to one, it scores those

    def shown(self, score: float) -> float:
        """A higher-is-better score as the metric's own value."""
        return score if self.greater_is_better else -score


@dataclass(frozen=True)
class Rule:
    """How predictions become answers: a row of score.rules.RULES and the numbers it takes.

    Probabilities are drawn to `prior` by `share`, so that no answer is surer than the rows it was learned on allow.
    """

    name: str
    values: tuple[float, ...] = ()
    grades: tuple[float, ...] = ()
    k: int = 0
    prior: tuple[float, ...] = ()
    share: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A dict for json, which `from_json` turns back into an equal rule."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Rule":
        """The rule that `to_json` wrote."""
        return cls(**with_tuples(values))


@dataclass(frozen=True)
class Goal:
    """The competition's metric on its kind of task. `grades` are the numbers of ordinal classes."""

    metric: Metric
    kind: Kind
    grades: tuple[float, ...] = ()

    @property
    def function(self) -> Callable[[np.ndarray, np.ndarray], float]:
        """The metric's function on this kind of task: plain F1 means one thing on two classes, another on three."""
        return self.metric.on_kind(self.kind) if self.metric.on_kind else self.metric.function

    def score(self, truth: np.ndarray, answers: np.ndarray) -> float:
        """The metric's value on this kind of task, turned so that higher is better."""
        value = float(self.function(truth, answers))
        return value if self.metric.greater_is_better else -value


@dataclass(frozen=True, eq=False)
class Trial:
    """A config's result. `oof` is `(N, C)` in train-row order with NaN where not predicted, `test` `(M, C)` or None.

    C is `Task.width`; values are probabilities (rows summing to one, or one per label) or numbers in target units.
    """

    config: Config
    stage: str
    status: Status
    score: float  # higher is better, cross-fitted; -inf unless done
    stderr: float  # standard error of the score over rows
    seconds: float  # wall time
    oof: ByRow | None = field(default=None, repr=False)  # arrays.Predictions where the trial was read from disk
    test: ByRow | None = field(default=None, repr=False)
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # epochs run, img/s, parameters, peak memory, final loss

    @property
    def key(self) -> str:
        """The config's key."""
        return self.config.key

    @property
    def has_score(self) -> bool:
        """Whether it is done with a finite score: a metric may have no value on some predictions."""
        return self.status == "done" and math.isfinite(self.score)


@dataclass(eq=False)
class History:
    """The trials in the order they were asked for: the one noun that grows, so that a stage sees its own results."""

    trials: list[Trial] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Append a trial."""
        self.trials.append(trial)

    def done(self, **values: Any) -> list[Trial]:
        """The finished trials, only those whose config has these values: `history.done(train="net")`."""
        return [
            t
            for t in self.trials
            if t.status == "done" and all(getattr(t.config, name) == value for name, value in values.items())
        ]

    def best(self, **values: Any) -> Trial | None:
        """The finished trial of the highest score among those with these values, None where there is none."""
        return max(self.done(**values), key=lambda t: t.score, default=None)


@dataclass(frozen=True, eq=False)
class Blend:
    """The combined predictions of several trials, from which the submission is answered.

    `score` is cross-fitted: for each part of the rows, weights and decision rule were learned on the other parts.
    """

    method: str  # a row of blend.BLENDERS, or blend.mixture.MIXTURE of several
    members: tuple[str, ...]  # keys of trials
    weights: tuple[float, ...]  # one for each member; () where a stacker has more than weights
    oof: ByRow = field(repr=False)  # (N, C), cross-fitted, NaN where not predicted; arrays.Predictions from blend_of
    test: np.ndarray = field(repr=False)  # (M, C)
    score: float
    stderr: float
    rows: int  # train rows that the score is of
    tried: dict[str, float] = field(default_factory=dict)  # cross-fitted score of each blender compared
    stacker: dict[str, Any] = field(default_factory=dict)  # its fitted parameters as json, for new pictures
    interval: tuple[float, float] = (-float("inf"), float("inf"))  # 95 % interval of the score


@dataclass(frozen=True)
class Event:
    """A thing that happened in the run. `text` is one plain line, "" for events that only a live view shows.

    `facts` may hold: stage, trial (key), number, config (words), epoch, epochs, fold, folds, share (of the trial),
    done, total (progress counts), score, stderr, best, best_stderr, gain, seconds, left, submission (path), report
    (path), copies (`data.duplicates.duplicate_facts`), traceback (of an error that did not end the run).
    """

    name: Literal["note", "stage", "start", "epoch", "trial", "blend", "progress", "done"]
    text: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def passing(self) -> bool:
        """Whether the event reports progress only: it is frequent, and of no use once the next one is there."""
        return self.name in ("epoch", "progress")


Tell = Callable[[Event], None]
