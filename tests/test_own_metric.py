"""A metric of the user's own from a file, and the metric proposed where none is named."""

from dataclasses import replace

import numpy as np
import pytest
from folders import competition

from autoclimb.data.read import folder
from autoclimb.data.read.survey import survey_of
from autoclimb.errors import Mistake
from autoclimb.score.crossfit import cross_fitted_score
from autoclimb.score.decide import learn_rule
from autoclimb.score.metrics import METRICS
from autoclimb.score.own import metric_from, source_of
from autoclimb.score.propose import proposed_metric
from autoclimb.score.rules import answer
from autoclimb.score.train_rows import TrainRows
from autoclimb.solve import metric_and_task
from autoclimb.types import Form, Goal, Kind, Metric, Task

FILE = """
from dataclasses import dataclass
import numpy as np
from autoclimb import Metric

@dataclass
class Costs:
    miss: float = 5.0

COSTS = Costs()

def cost(truth, answers, *, wants="label", greater_is_better=False):
    return np.mean(np.where(truth == answers, 0, np.where(truth == 1, COSTS.miss, 1.0)))

def first_two(truth, answers, *, wants="ranking", k=2):
    return (answers == truth[:, None]).any(1).mean()

def silent(truth, answers):
    return 0.0

def lone(truth, *, wants="label"):
    return 0.0

def endless(truth, answers, *, wants="ranking"):
    return 0.0

def odd(truth, answers, *, wants="score"):
    return 0.0

def wordy(truth, answers, *, wants="label"):
    return "good"

def turned(truth, answers, *, wants="label", greater_is_better="no"):
    return 0.0

def accuracy(truth, answers, *, wants="label"):
    return 0.0

MADE = Metric("made", cost, wants="label", greater_is_better=False, kinds=("binary",))
SEVEN = 7
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_function_in_a_file_says_by_its_keywords_what_it_wants(file):
    metric = metric_from(f"{file}:cost")
    assert (metric.name, metric.wants, metric.greater_is_better) == ("cost", "label", False)
    assert metric.kinds == ("binary", "multiclass", "ordinal")
    assert metric.function(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])) == pytest.approx(6 / 4)
    ranking = metric_from(f"{file}:first_two")
    assert (ranking.wants, ranking.k, ranking.greater_is_better) == ("ranking", 2, True)


def test_a_metric_object_in_a_file_is_taken_as_it_is(file):
    assert metric_from(f"{file}:MADE").kinds == ("binary",)


def test_a_plain_name_is_still_a_name():
    assert metric_from("f2") is METRICS["f2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (":lost", "no 'lost'; it has cost, first_two"),
        (":", "names no function; write .*mine.py:function"),
        ("", "names no function; write .*mine.py:function"),
        (":SEVEN", "'SEVEN' .* is a int, no function"),
        (":silent", "does not say which answers it wants; write def silent.*label, labels, probability"),
        (":lone", "takes 1 arguments"),
        (":endless", "add k=5"),
        (":odd", "wants 'score'; write"),
        (":turned", "greater_is_better='no'; write True or False"),
        (":accuracy", "known name for accuracy; give your metric another one"),
    ],
)
def test_a_name_in_a_file_that_is_no_metric_is_one_clear_mistake(file, name, words):
    with pytest.raises(Mistake, match=words):
        metric_from(f"{file}{name}")


def test_a_file_that_is_missing_or_broken_is_one_clear_mistake(tmp_path):
    with pytest.raises(Mistake, match=r"no Python file; write path/to/file\.py:function"):
        metric_from(f"{tmp_path / 'no.py'}:f")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "lacking.py").write_text("import autoclimb_lacks_this\n")
    for name in ("broken", "lacking"):
        with pytest.raises(Mistake, match="cannot be imported"):
            metric_from(f"{tmp_path / name}.py:f")


def test_a_value_that_is_no_number_is_a_mistake(file):
    with pytest.raises(Mistake, match="wordy returned 'good', which is no number"):
        metric_from(f"{file}:wordy").function(np.zeros(2), np.zeros(2))


def test_a_metric_that_is_nan_on_all_rows_is_a_mistake():
    metric = Metric("lost", lambda truth, answers: float("nan"), "label")
    with pytest.raises(Mistake, match="lost is NaN on 20 rows"):
        cross_fitted_score(
            TrainRows(Goal(metric, "binary"), np.arange(20) % 2, np.arange(20) % 5), np.full((20, 2), 0.5)
        )


def test_the_source_of_a_users_metric_tells_one_version_from_another(file):
    before = source_of(metric_from(f"{file}:cost"))
    assert before == source_of(metric_from(f"{file}:cost"))
    assert before == source_of(metric_from(f"{file}:MADE"))
    file.write_text(FILE.replace("miss: float = 5.0", "miss: float = 6.0"))
    assert source_of(metric_from(f"{file}:cost")) not in ("", before)


def test_our_own_metrics_and_those_without_source_have_none():
    assert all(source_of(metric) == "" for metric in METRICS.values())
    assert source_of(Metric("largest", max, "number")) == ""

    def here(truth, answers):
        return 0.0

    assert source_of(Metric("here", here, "label")) != ""


def renamed(name: str) -> Metric:
    """A metric of ours as if it were a user's: nothing is known of its formula."""
    ours = METRICS[name]
    plain = replace(ours, name="mine", average="", beta=0.0, decide=None, on_kind=None)
    return replace(plain, function=lambda truth, answers: ours.function(truth, answers))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("f1", "binary"),
        ("balanced-accuracy", "multiclass"),
        ("f1-samples", "multilabel"),
        ("exact-match", "multilabel"),
        ("log-loss", "multiclass"),
        ("qwk", "ordinal"),
        ("rmse", "regression"),
        ("map@3", "multiclass"),
    ],
)
def test_a_metric_that_can_only_be_called_is_decided_for_nearly_as_well_as_one_we_know(name, kind):
    r = np.random.default_rng(1)
    n, grades = 400, (0.0, 1.0, 2.0, 3.0) if kind == "ordinal" else ()
    if kind == "regression":
        truth = r.integers(0, 9, n).astype(float)
        p = (truth + r.normal(size=n))[:, None]
    elif kind == "multilabel":
        p = 1 / (1 + np.exp(1.5 - r.normal(size=(n, 5))))
        truth = (r.random(p.shape) < p).astype(np.uint8)
    else:
        p = r.dirichlet(np.linspace(1.5, 0.3, 2 if kind == "binary" else 4), n)
        truth = np.array([r.choice(p.shape[1], p=q) for q in p])
    part_of = np.arange(n) % 5
    known, called = (
        cross_fitted_score(TrainRows(Goal(metric, kind, grades), truth, part_of), p)
        for metric in (METRICS[name], renamed(name))
    )
    assert called.score >= known.score - known.stderr


def test_a_users_label_metric_gets_its_own_threshold_not_one_of_ours():
    r = np.random.default_rng(0)
    p = r.random(2000)
    truth = (r.random(2000) < p).astype(int)
    miss = Metric("miss", lambda t, a: float(np.where(t == a, 0, np.where(t == 1, 5, 1)).mean()), "label", False)
    rule = learn_rule(Goal(miss, "binary"), truth, np.stack([1 - p, p], axis=1))
    assert rule.values[0] == pytest.approx(1 / 6, abs=0.06)  # a miss costs five false alarms
    assert answer(rule, np.array([[0.7, 0.3]])) == [1]


def task(kind: Kind, classes: tuple[str, ...], cell: str, columns: tuple[str, ...] = ("id", "x"), **form) -> Task:
    sample = Form(columns, (), cell, **form)  # type: ignore[arg-type]
    return Task("t", kind, classes, (), (), np.zeros(0), (), (), sample)


PROPOSED = {
    "numbers": (task("regression", (), "number"), "rmse"),
    "grades": (task("ordinal", ("0", "1", "2"), "number"), "qwk"),
    "numbered classes under a column of grades": (task("multiclass", ("0", "1", "2"), "label", ("id", "level")), "qwk"),
    "numbered classes": (task("multiclass", ("0", "1", "2"), "label", ("id", "label")), "accuracy"),
    "named classes": (task("multiclass", ("a", "b", "c"), "label"), "accuracy"),
    "names under a column of grades": (task("multiclass", ("a", "b", "c"), "label", ("id", "stage")), "accuracy"),
    "a probability a class": (task("multiclass", ("a", "b", "c"), "columns", ("id", "a", "b", "c")), "log-loss"),
    "ranked names": (task("multiclass", ("a", "b", "c"), "labels", at_most=5), "map@5"),
    "ranked names, rarely so many": (task("multiclass", ("a", "b", "c"), "labels", at_most=7), "map@7"),
    "sets": (task("multilabel", ("a", "b", "c"), "labels"), "f1-samples"),
    "several probabilities": (task("multilabel", ("a", "b"), "columns", ("id", "a", "b")), "roc-auc"),
    "one probability": (task("binary", ("0", "1"), "number"), "roc-auc"),
    "two names": (task("binary", ("cat", "dog"), "label"), "accuracy"),
}


@pytest.mark.parametrize("case", PROPOSED)
def test_the_metric_proposed_fits_the_task_and_its_submission(case):
    given, name = PROPOSED[case]
    metric, why = proposed_metric(given)
    assert metric.name == name
    assert why.startswith("the ")
    assert given.kind in metric.kinds or name == "qwk"  # read once more with qwk, numbered classes are grades


def test_a_folder_without_a_metric_is_looked_through_once_and_read_as_the_proposed_metric_reads_it(
    tmp_path, monkeypatch
):
    looked = []
    monkeypatch.setattr(folder, "survey_of", lambda path: looked.append(path) or survey_of(path))
    root = competition(tmp_path, label=lambda i: i % 4, sample=0, column="level", train=24)
    events = []
    metric, task = metric_and_task(None, root, events.append, None, None, None)
    assert (metric.name, task.kind, len(looked)) == ("qwk", "ordinal", 1)
    assert "optimising qwk" in events[0].text
    assert "--metric NAME" in events[0].text
