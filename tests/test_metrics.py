import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.errors import Mistake
from autoclimb.score.metrics import ALIASES, METRICS, best_score, metric_named, row_values
from autoclimb.types import Goal, Kind, Metric

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
    goal = Goal(metric, kind)
    best = goal.score(truth, answers)
    assert best == pytest.approx(BEST.get(name, 1.0 if metric.greater_is_better else 0.0), abs=1e-9)
    assert best <= best_score(metric) + 1e-9
    assert best_score(Metric("mine", metric.function, metric.wants)) == np.inf
    worse = answers.copy()
    worse[:20] = answers[:20][::-1]
    assert goal.score(truth, worse) < best or name.startswith("top-5")  # all of four classes are named


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_order_of_rows_does_not_matter(name, kind):
    goal = Goal(METRICS[name], kind)
    truth, answers = perfect(goal.metric, kind)
    answers = np.roll(answers, 7, axis=0)
    order = R.permutation(N)
    assert goal.score(truth[order], answers[order]) == pytest.approx(goal.score(truth, answers))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_values_of_rows_average_to_the_metric(name, kind):
    metric = METRICS[name]
    truth, answers = perfect(metric, kind)
    answers = np.roll(answers, 7, axis=0)
    values = row_values(Goal(metric, kind), truth, answers)
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
            theirs = sk.cohen_kappa_score(truth, said, labels=range(CLASSES), weights=weights)
            assert ours(name, truth * 1.0, said * 1.0) == pytest.approx(theirs)
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
    for most in (0.05, 0.1, 0.5, 0.9):
        theirs = sk.roc_auc_score(YES, two[:, 1], max_fpr=most)
        assert ours(f"partial-auc@{most}", YES, two) == pytest.approx(theirs)
        columns = [sk.roc_auc_score(SETS[:, c], CHANCES[:, c], max_fpr=most) for c in range(CLASSES)]
        assert ours(f"partial_auc@{most}", SETS, CHANCES) == pytest.approx(np.mean(columns))
        # ISIC 2024's own way: classes and scores turned round, then McClish's scaling undone
        turned = sk.roc_auc_score(1 - YES, -two[:, 1], max_fpr=most)
        area = most**2 / 2 + (most - most**2 / 2) * (turned - 0.5) / 0.5
        assert ours(f"pauc-above-tpr@{1 - most:g}", YES, two) == pytest.approx(area)
    count = np.bincount(HARD)
    balanced = sk.log_loss(HARD, SOFT, sample_weight=1 / count[HARD])
    assert ours("weighted-log-loss", HARD, SOFT) == pytest.approx(balanced)
    weights = np.array([2.0, 1.0, 0.5, 4.0])
    theirs = sk.log_loss(HARD, SOFT, sample_weight=weights[HARD])
    assert ours("weighted-log-loss@2,1,0.5,4", HARD, SOFT) == pytest.approx(theirs)
    each = [sk.log_loss(SETS[:, c], CHANCES[:, c]) for c in range(CLASSES)]
    assert ours("weighted-log-loss@2,1,0.5,4", SETS, CHANCES) == pytest.approx(np.average(each, weights=weights))
    even = [
        sk.log_loss(SETS[:, c], CHANCES[:, c], sample_weight=1 / np.bincount(SETS[:, c])[SETS[:, c]])
        for c in range(CLASSES)
    ]
    assert ours("weighted-log-loss", SETS, CHANCES) == pytest.approx(np.mean(even))
    assert ours("cohen-kappa", HARD, SAID) == pytest.approx(sk.cohen_kappa_score(HARD, SAID))
    assert ours("exact-match", SETS, SAID_SETS) == pytest.approx(sk.accuracy_score(SETS, SAID_SETS))
    assert ours("kl-divergence", HARD, SOFT) == pytest.approx(sk.log_loss(HARD, SOFT))
    for k in (2, 3):
        theirs = sk.top_k_accuracy_score(HARD, SOFT, k=k)
        ranked = np.argsort(-SOFT, axis=1)[:, :k]
        assert ours(f"top-{k}", HARD, ranked) == pytest.approx(theirs)
        assert ours(f"top-{k}-error", HARD, ranked) == pytest.approx(1 - theirs)
    x, y = np.abs(R.normal(size=N)), np.abs(R.normal(size=N))
    assert ours("rmse", x, y) == pytest.approx(sk.root_mean_squared_error(x, y))
    assert ours("mse", x, y) == pytest.approx(sk.mean_squared_error(x, y))
    assert ours("ordinal-mae", HARD, SAID) == pytest.approx(sk.mean_absolute_error(HARD, SAID))
    assert ours("mae", x, y) == pytest.approx(sk.mean_absolute_error(x, y))
    assert ours("rmsle", x, y) == pytest.approx(sk.root_mean_squared_log_error(x, y))
    assert ours("r2", x, y) == pytest.approx(sk.r2_score(x, y))
    assert ours("spearman", np.round(x, 1), y) == pytest.approx(spearmanr(np.round(x, 1), y).statistic)


def test_metrics_have_the_values_worked_out_by_hand():
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
    assert metric_named("error").function(truth, np.array([2, 0, 0])) == pytest.approx(1 / 3)
    assert metric_named("top-2-error").function(truth, ranked[:, :2]) == pytest.approx(1 / 3)
    # ISIC 2024: of five positives one lies below the only negative; above a TPR of 0.8 there is no area left
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.5])
    two = np.stack([1 - p, p], axis=1)
    assert metric_named("pauc").function(np.array([1, 1, 1, 1, 1, 0]), two) == pytest.approx(0.0)
    assert metric_named("pauc").function(np.array([1, 1, 1, 1, 0, 0]), two) == pytest.approx(0.2)
    # RSNA 2022: 0.8 + 0.5 of two positives, 0.3 more said: precision 1.3 / 1.6, recall 1.3 / 2
    p = np.array([0.8, 0.5, 0.3])
    two = np.stack([1 - p, p], axis=1)
    assert metric_named("pF1").function(np.array([1, 1, 0]), two) == pytest.approx(2 * 1.3 / (2 + 1.6))
    # class 0 three times as heavy: (3 * 0 + 3 * log 2 + 1 * log 4) / 7
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]])
    weighted = metric_named("weighted-log-loss@3,1").function(np.array([0, 0, 1]), p)
    assert weighted == pytest.approx((3 * np.log(2) + np.log(4)) / 7)
    # balanced: class 0 pays log 2 over two rows, class 1 log 4 over one
    balanced = metric_named("weighted-log-loss").function(np.array([0, 0, 1]), p)
    assert balanced == pytest.approx((np.log(2) / 2 + np.log(4)) / 2)
    # HMS 2024: votes 3 and 1 against even chances
    votes = metric_named("kl-divergence").function(np.array([[3, 1, 0]]), np.array([[0.5, 0.5, 0.0]]))
    assert votes == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    # grades 0, 1, 2, 4 answered one place off each time
    assert metric_named("ordinal-mae").function(np.array([0.0, 1, 2, 4]), np.array([1.0, 2, 4, 2])) == 1.5
    # half of the agreement beyond chance of two even classes
    assert metric_named("cohen-kappa").function(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])) == pytest.approx(0.5)
    assert metric_named("exact-match").function(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [1, 0]])) == 0.5
    # a label named twice counts at its first place
    assert metric_named("map@3").function(np.array([1]), np.array([[0, 1, 1]])) == 0.5


def test_micro_f_of_sets_leaves_out_labels_that_truth_never_has():
    truth, answers = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1, 0, 1], [1, 0, 1]])
    assert metric_named("micro_f1").function(truth, answers) == pytest.approx(2 * 2 / (2 + 3))
    assert metric_named("macro_f1_labels").function(truth, answers) == pytest.approx((1 + 0 + 0) / 3)


def test_macro_f_averages_over_the_classes_in_truth_or_answers():
    truth, answers = np.array([0, 0, 5]), np.array([0, 7, 5])
    assert metric_named("macro_f1").function(truth, answers) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metric_named("micro_f1_single").function(truth, answers) == pytest.approx(2 / 3)


LOWEST = {"matthews", "cohen-kappa", "qwk", "kappa-linear", "spearman"}  # down to -1
UNBOUNDED = {"r2"}


@given(st.sampled_from(CASES), st.integers(0, 10_000), st.integers(2, 30))
def test_values_stay_within_their_bounds_and_know_no_order(case, seed, n):
    metric, kind = METRICS[case[0]], case[1]
    r = np.random.default_rng(seed)
    classes = 2 if kind == "binary" else 4
    truth: np.ndarray = r.integers(0, classes, n)
    if kind == "multilabel":
        truth = r.integers(0, 2, (n, classes))
    if metric.wants in ("number", "grade"):
        truth = truth.astype(float)
    p = np.round(r.dirichlet(np.ones(classes), n), 2)
    answers: np.ndarray = {
        "label": r.integers(0, classes, n),
        "labels": r.integers(0, 2, truth.shape),
        "probability": p / p.sum(1, keepdims=True) if kind != "multilabel" else np.round(r.random((n, classes)), 1),
        "ranking": np.argsort(-p, axis=1)[:, : metric.k],
        "grade": r.integers(0, classes, n).astype(float),
        "number": r.normal(size=n) * 3,
    }[metric.wants]
    value = metric.function(truth, answers)
    best = BEST.get(metric.name, 1.0)
    low = -1.0 if metric.name in LOWEST else -np.inf if metric.name in UNBOUNDED else 0.0
    assert low - 1e-9 <= value <= (best + 1e-9 if metric.greater_is_better else np.inf)
    order = r.permutation(n)
    assert metric.function(truth[order], answers[order]) == pytest.approx(value, abs=1e-12)


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
        ("mean_auc", "roc-auc"),
        ("weighted_auc", "weighted-auc"),
        ("logloss_binary", "log-loss"),
        ("top1_error", "error"),
        ("top-5 error", "top-5-error"),
        ("micro_f1", "f1-micro"),
        ("micro_f1_single", "f1-micro"),
        ("macro_f1_labels", "f1-macro"),
        ("Probabilistic F1", "pf1"),
        ("pF2", "pf2"),
        ("partial-auc@0.05", "partial-auc@0.05"),
        ("partial AUC", "partial-auc@0.1"),
        ("pAUC above TPR 0.8", "pauc-above-tpr@0.8"),
        ("balanced_log_loss", "weighted-log-loss"),
        ("weighted_logloss@2, 1", "weighted-log-loss@2,1"),
        ("Cohen's kappa", "cohen-kappa"),
        ("KL divergence", "kl-divergence"),
        ("subset accuracy", "exact-match"),
        ("mean column-wise log loss", "log-loss"),
        ("AUC-ROC", "roc-auc"),
        ("auprc", "average-precision"),
        ("bce", "log-loss"),
        ("root mean square error", "rmse"),
        ("Spearman's rho", "spearman"),
        ("top-5 error rate", "top-5-error"),
        ("Mean F1-Score", "f1"),
        ("MeanFScore", "f1"),
        ("macro-averaged F1-score", "f1-macro"),
        ("F2 (samples average)", "f2-samples"),
        ("F-beta 2", "f2"),
        ("area under the receiver operating characteristic curve (AUC)", "roc-auc"),
        ("mean column-wise area under the ROC curve", "roc-auc"),
        ("roc_auc_score", "roc-auc"),
        ("macro-averaged ROC AUC", "roc-auc"),
        ("area under the precision-recall curve", "average-precision"),
        ("multi-class logarithmic loss", "log-loss"),
        ("categorical cross-entropy loss", "log-loss"),
        ("negative log likelihood", "log-loss"),
        ("quadratic weighted kappa (QWK)", "qwk"),
        ("Quadratic weighted Cohen's kappa", "qwk"),
        ("mean per-class accuracy", "balanced-accuracy"),
        ("macro-averaged recall", "balanced-accuracy"),
        ("Matthews correlation coefficient (MCC)", "matthews"),
        ("top-1 accuracy", "accuracy"),
        ("Acc@5", "top-5"),
        ("misclassification rate", "error"),
        ("MAPK@7", "map@7"),
        ("mean absolute error (MAE)", "mae"),
        ("R² score", "r2"),
        ("coefficient of determination", "r2"),
        ("Spearman's rank correlation coefficient", "spearman"),
    ],
)
def test_a_metric_goes_by_many_names(text, name):
    assert metric_named(text).name == name


@pytest.mark.parametrize("text", ["accuracy (balanced)", "micro AUC", "1 - accuracy", "score", "f-beta", "AUC (MAE)"])
def test_a_name_that_says_something_else_too_is_no_other_name(text):
    with pytest.raises(Mistake, match="is not known"):
        metric_named(text)


def test_no_name_belongs_to_two_metrics():
    names = [alias for aliases in ALIASES.values() for alias in aliases.split()]
    assert len(set(names)) == len(names)
    for name in METRICS:
        assert metric_named(name) is METRICS[name]


def test_an_unknown_metric_is_answered_with_near_names_and_the_list():
    with pytest.raises(Mistake, match=r"'acuracy' is not known; did you mean accuracy.*qwk"):
        metric_named("acuracy")
    for text in ("", "f0", "map@0", "f05", "macro-f1-micro", "weighted-log-loss@2", "weighted-log-loss@1,x", "pf0"):
        with pytest.raises(Mistake):
            metric_named(text)


def test_macro_f_of_sets_counts_labels_that_nobody_has_or_names():
    from sklearn import metrics as sk

    truth, answers = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1, 0, 0], [1, 1, 0]])
    assert metric_named("macro_f1").function(truth, answers) == pytest.approx(2 / 3)
    assert sk.f1_score(truth, answers, average="macro", zero_division=0) == pytest.approx(2 / 3)


def test_kappa_takes_grades_as_numbers_so_that_a_missing_one_keeps_its_place():
    truth, answers = np.array([0.0, 1, 3, 3]), np.array([0.0, 1, 3, 1])
    assert metric_named("qwk").function(truth, answers) == pytest.approx(1 - 1 / (27 / 16 + 19 / 16 + 1 / 4))
    halves = metric_named("kappa-linear").function(truth / 2, answers / 2)
    assert halves == pytest.approx(metric_named("kappa-linear").function(truth, answers))


def test_kappa_of_many_different_numbers_takes_no_table_of_all_pairs():
    x = R.normal(size=200_000)
    assert metric_named("qwk").function(x, x + 1e-9 * R.normal(size=x.size)) == pytest.approx(1)
    assert metric_named("kappa-linear").function(x, R.permutation(x)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("name", [m.name for m in METRICS.values() if m.wants in ("probability", "number", "grade")])
def test_whatever_answers_are_no_numbers_have_no_score(name):
    metric = METRICS[name]
    truth, answers = np.array([0, 1, 1, 0]), np.array([0.0, np.nan, 1, 0])
    if metric.wants == "probability":
        answers = np.stack([1 - answers, answers], axis=1)
    assert np.isnan(metric.function(truth, answers))
