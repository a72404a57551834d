import numpy as np
import pytest

from autoclimb.errors import Mistake
from autoclimb.score.metrics import METRICS, metric_named, row_values
from autoclimb.types import Kind, Metric

R = np.random.default_rng(0)
N = 60
BEST = {"pauc-above-tpr@0.8": 0.2}  # an area, not a share of one
CLASSES = 4
HARD = R.integers(0, CLASSES, N)
SAID = np.where(R.random(N) < 0.6, HARD, R.integers(0, CLASSES, N))
YES = R.integers(0, 2, N)
SAID_YES = np.where(R.random(N) < 0.7, YES, 1 - YES)
SETS = (R.random((N, CLASSES)) < 0.4).astype(np.uint8)
SETS[np.arange(N), R.integers(0, CLASSES, N)] = 1
SAID_SETS = np.where(R.random((N, CLASSES)) < 0.7, SETS, 1 - SETS)
SOFT = R.dirichlet(np.ones(CLASSES), N) * 0.5 + 0.5 * np.eye(CLASSES)[SAID]
CHANCES = np.round(np.clip(SETS * 0.4 + R.random((N, CLASSES)) * 0.6, 0.01, 0.99), 1)  # rounded: with ties


def perfect(metric: Metric, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Truth as the metric takes it, and the answers that meet it."""
    truth: np.ndarray = {"binary": YES, "multilabel": SETS, "regression": R.normal(size=N)}.get(kind, HARD)
    if metric.wants in ("number", "grade"):
        truth = np.rint(np.abs(truth) * 3).astype(float)
        return truth, truth
    if metric.wants in ("label", "labels"):
        return truth, truth
    sure = truth.astype(float) if kind == "multilabel" else np.eye(2 if kind == "binary" else CLASSES)[truth]
    return truth, np.argsort(-sure, axis=1, kind="stable")[:, : metric.k] if metric.wants == "ranking" else sure


CASES = [(name, kind) for name, metric in METRICS.items() for kind in metric.kinds]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_perfect_answers_score_best(name, kind):
    metric = METRICS[name]
    truth, answers = perfect(metric, kind)
    best = metric.score(truth, answers)
    assert best == pytest.approx(BEST.get(name, 1.0 if metric.greater_is_better else 0.0), abs=1e-9)
    worse = answers.copy()
    worse[:20] = answers[:20][::-1]
    assert metric.score(truth, worse) <= best


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_order_of_rows_does_not_matter(name, kind):
    metric = METRICS[name]
    truth, answers = perfect(metric, kind)
    answers = np.roll(answers, 7, axis=0)
    order = R.permutation(N)
    assert metric.score(truth[order], answers[order]) == pytest.approx(metric.score(truth, answers))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_values_of_rows_average_to_the_metric(name, kind):
    metric = METRICS[name]
    truth, answers = perfect(metric, kind)
    answers = np.roll(answers, 7, axis=0)
    values = row_values(metric, truth, answers)
    assert values is None or values.mean() == pytest.approx(metric.function(truth, answers))


def test_metrics_equal_those_of_scikit_learn():
    from scipy.stats import spearmanr
    from sklearn import metrics as sk

    def ours(name, truth, answers):
        return metric_named(name).function(truth, answers)

    assert ours("accuracy", HARD, SAID) == pytest.approx(sk.accuracy_score(HARD, SAID))
    assert ours("balanced-accuracy", HARD, SAID) == pytest.approx(sk.balanced_accuracy_score(HARD, SAID))
    assert ours("mcc", HARD, SAID) == pytest.approx(sk.matthews_corrcoef(HARD, SAID))
    assert ours("mcc", YES, SAID_YES) == pytest.approx(sk.matthews_corrcoef(YES, SAID_YES))
    for power, name in ((2, "qwk"), (1, "linear kappa")):
        weights = "quadratic" if power == 2 else "linear"
        for truth, said in ((HARD, SAID), (HARD[HARD != 1], np.where(SAID == 1, 3, SAID)[HARD != 1])):
            assert ours(name, truth * 1.0, said * 1.0) == pytest.approx(
                sk.cohen_kappa_score(truth, said, weights=weights)
            )
    for beta in (0.5, 1, 2):
        for average in ("macro", "micro", "weighted"):
            for truth, said in ((HARD, SAID), (SETS, SAID_SETS), (YES, SAID_YES)):
                theirs = sk.fbeta_score(truth, said, beta=beta, average=average, zero_division=0)
                assert ours(f"f{beta}-{average}", truth, said) == pytest.approx(theirs)
        empty = SAID_SETS.copy()
        empty[:5] = 0
        for name in (f"f{beta}", f"F{beta}_samples"):
            theirs = sk.fbeta_score(SETS, empty, beta=beta, average="samples", zero_division=0)
            assert ours(name, SETS, empty) == pytest.approx(theirs)
        assert ours(f"f{beta}", YES, SAID_YES) == pytest.approx(sk.fbeta_score(YES, SAID_YES, beta=beta))
        assert ours(f"f{beta}", HARD, SAID) == pytest.approx(sk.fbeta_score(HARD, SAID, beta=beta, average="macro"))
    two = np.stack([1 - CHANCES[:, 0], CHANCES[:, 0]], axis=1)
    assert ours("log_loss", HARD, SOFT) == pytest.approx(sk.log_loss(HARD, SOFT))
    assert ours("logloss", YES, two) == pytest.approx(sk.log_loss(YES, two))
    assert ours("log loss", SETS, CHANCES) == pytest.approx(
        np.mean([sk.log_loss(SETS[:, c], CHANCES[:, c]) for c in range(CLASSES)])
    )
    assert ours("auc", YES, two) == pytest.approx(sk.roc_auc_score(YES, two[:, 1]))
    assert ours("auc", HARD, SOFT) == pytest.approx(sk.roc_auc_score(HARD, SOFT, multi_class="ovr"))
    assert ours("auc", SETS, CHANCES) == pytest.approx(sk.roc_auc_score(SETS, CHANCES, average="macro"))
    assert ours("average precision", SETS, CHANCES) == pytest.approx(sk.average_precision_score(SETS, CHANCES))
    x, y = np.abs(R.normal(size=N)), np.abs(R.normal(size=N))
    assert ours("rmse", x, y) == pytest.approx(sk.root_mean_squared_error(x, y))
    assert ours("mae", x, y) == pytest.approx(sk.mean_absolute_error(x, y))
    assert ours("rmsle", x, y) == pytest.approx(sk.root_mean_squared_log_error(x, y))
    assert ours("r2", x, y) == pytest.approx(sk.r2_score(x, y))
    assert ours("spearman", np.round(x, 1), y) == pytest.approx(spearmanr(np.round(x, 1), y).statistic)


def test_metrics_worked_by_hand():
    truth = np.array([2, 0, 1])
    ranked = np.array([[2, 0, 1], [1, 0, 2], [0, 2, 3]])
    assert metric_named("map@3").function(truth, ranked) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert metric_named("top-1").function(truth, ranked[:, :1]) == pytest.approx(1 / 3)
    # two true labels at places 1 and 3 of three: (1 + 2/3) / 2
    assert metric_named("MAP@3").function(np.array([[1, 0, 1, 0]]), np.array([[0, 1, 2]])) == pytest.approx(5 / 6)
    # Planet's own: 2 hits of 3 said and 2 true: 5*2 / (4*2 + 3)
    assert metric_named("f2").function(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 1, 0]])) == pytest.approx(10 / 11)
    # ALASKA2: one positive above both negatives, one below: TPR stays at 0.5, area 2*0.4 + 0.1 of 1.4
    p = np.array([0.9, 0.1, 0.5, 0.4])
    two = np.stack([1 - p, p], axis=1)
    assert metric_named("weighted auc").function(np.array([1, 1, 0, 0]), two) == pytest.approx((0.8 + 0.1) / 1.4)
    assert metric_named("error").score(truth, np.array([2, 0, 0])) == pytest.approx(-1 / 3)


def test_a_class_that_truth_lacks_is_left_out_of_the_auc():
    truth = np.array([[1, 0], [0, 0], [1, 0]])
    assert metric_named("auc").function(truth, np.array([[0.9, 0.1], [0.2, 0.5], [0.8, 0.3]])) == 1.0
    assert metric_named("auc").function(truth[:, 1:], np.array([[0.1], [0.5], [0.3]])) == 0.5


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Acc", "accuracy"),
        ("log_loss", "log-loss"),
        ("LogLoss", "log-loss"),
        ("kappa", "qwk"),
        ("quadratic-weighted-kappa", "qwk"),
        ("ROC AUC", "roc-auc"),
        ("MAP5", "map@5"),
        ("map@12", "map@12"),
        ("macro-f1", "f1-macro"),
        ("f1_score", "f1"),
        ("Mean F2 score", "f2"),
        ("F0.5 macro", "f0.5-macro"),
        ("f2_samples", "f2-samples"),
        ("RMSE", "rmse"),
        ("MCC", "matthews"),
    ],
)
def test_a_metric_goes_by_many_names(text, name):
    assert metric_named(text).name == name


def test_an_unknown_metric_is_answered_with_near_names_and_the_list():
    with pytest.raises(Mistake, match=r"'acuracy' is not known; did you mean accuracy.*qwk"):
        metric_named("acuracy")
    for text in ("", "f0", "map@0", "f05", "macro-f1-micro"):
        with pytest.raises(Mistake):
            metric_named(text)
