"""METRICS: what competitions score by, in plain numpy that gives scikit-learn's and the graders' own numbers.

The functions live by family: classes.py counts answers, ranking.py looks at order, probabilities.py and numbers.py at
values. F-beta wants "labels" on every kind: 0/1 `(N, C)` for multilabel, class indices `(N,)` for one label a row.
A metric that is a mean over rows is a callable with a `per_row`, which gives its standard error without resampling.
A row says all that is true of its metric: the decision its answers take, what it does with votes, its constant answer.
"""

import difflib
import math
import re
import unicodedata
from functools import partial

import numpy as np

from autoclimb.errors import Mistake
from autoclimb.score.classes import (
    FBeta,
    RowMean,
    balanced_accuracy,
    cohen_kappa,
    different,
    kappa,
    matthews,
    same,
    same_set,
)
from autoclimb.score.decide import (
    as_is,
    certain,
    clipped,
    cuts,
    f_beta,
    free,
    likeliest,
    likely,
    log_number,
    middle_grade,
    middle_number,
    ranked,
    reweighted,
    weighed,
)
from autoclimb.score.numbers import absolute, r2, rmse, rmsle, spearman, squared
from autoclimb.score.probabilities import ProbabilisticF, WeightedLogLoss, kl_rows, log_loss_rows
from autoclimb.score.ranking import (
    AucAboveTpr,
    Columnwise,
    MapAt,
    PartialAuc,
    TopK,
    average_precision,
    roc_auc,
    weighted_auc,
)
from autoclimb.score.sweep import COUNTED_BALANCED, COUNTED_KAPPA, COUNTED_MATTHEWS
from autoclimb.types import Goal, Kind, Metric

ONE_LABEL: tuple[Kind, ...] = ("binary", "multiclass", "ordinal")
WITH_CLASSES: tuple[Kind, ...] = ("binary", "multiclass", "ordinal", "multilabel")
WITH_NUMBERS: tuple[Kind, ...] = ("regression", "ordinal")


def row_values(goal: Goal, truth: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
    """One value a row whose mean is the metric's value, None for a metric that is no mean over rows."""
    per_row = getattr(goal.function, "per_row", None)
    return None if per_row is None else per_row(truth, answers)


def best_score(metric: Metric) -> float:
    """The best score that there can be, higher is better; infinity for one of the user's own, which may have any."""
    if metric.decide is None and metric.name not in METRICS:
        return math.inf
    return 1.0 if metric.greater_is_better else 0.0


def _f(beta: float, average: str) -> Metric:
    name = f"f{beta:g}" + (f"-{average}" if average else "")
    kinds: tuple[Kind, ...] = ("binary",) if average == "binary" else WITH_CLASSES
    usual: dict[Kind, str] = {"binary": average or "binary", "multilabel": average or "samples"}

    def on_kind(kind: Kind) -> FBeta:
        return FBeta(beta, usual.get(kind, average or "macro"))

    return Metric(
        name,
        FBeta(beta, average),
        "labels",
        kinds=kinds,
        beta=beta,
        average=average,
        decide=f_beta,
        on_kind=on_kind,
        by_class=tuple(k for k in ONE_LABEL[:2] if on_kind(k).average == "macro"),
    )


def _pf(beta: float) -> Metric:
    return Metric(f"pf{beta:g}", ProbabilisticF(beta), "probability", kinds=("binary",), beta=beta, decide=certain)


def _map(k: int) -> Metric:
    return Metric(f"map@{k}", MapAt(k), "ranking", kinds=WITH_CLASSES, k=k, decide=ranked)


def _top(k: int) -> Metric:
    return Metric(f"top-{k}", TopK(k), "ranking", kinds=WITH_CLASSES, k=k, decide=ranked)


def _top_error(k: int) -> Metric:
    function = TopK(k, error=True)
    return Metric(f"top-{k}-error", function, "ranking", False, kinds=WITH_CLASSES, k=k, decide=ranked)


def _partial_auc(most: float) -> Metric:
    function = Columnwise(PartialAuc(most), 0.5)
    return Metric(f"partial-auc@{most:g}", function, "probability", kinds=WITH_CLASSES, decide=as_is, order_only=True)


def _auc_above(least: float) -> Metric:
    function = Columnwise(AucAboveTpr(least), (1 - least) ** 2 / 2)
    return Metric(
        f"pauc-above-tpr@{least:g}", function, "probability", kinds=WITH_CLASSES, decide=as_is, order_only=True
    )


def _weighted_log_loss(weights: tuple[float, ...] = ()) -> Metric:
    name = "weighted-log-loss" + ("@" + ",".join(f"{w:g}" for w in weights) if weights else "")
    return Metric(name, WeightedLogLoss(weights), "probability", False, kinds=WITH_CLASSES, decide=reweighted)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", RowMean(same), "label", kinds=ONE_LABEL, decide=likeliest),
        Metric("error", RowMean(different), "label", False, kinds=ONE_LABEL, decide=likeliest),
        Metric(
            "balanced-accuracy",
            balanced_accuracy,
            "label",
            kinds=ONE_LABEL,
            decide=weighed(COUNTED_BALANCED),
            by_class=("binary", "multiclass"),
        ),
        Metric("matthews", matthews, "label", kinds=ONE_LABEL, decide=weighed(COUNTED_MATTHEWS)),
        Metric("cohen-kappa", cohen_kappa, "label", kinds=ONE_LABEL, decide=weighed(COUNTED_KAPPA)),
        Metric("exact-match", RowMean(same_set), "labels", kinds=("multilabel",)),
        *(_f(beta, "") for beta in (1.0, 2.0, 0.5)),
        *(_f(1.0, average) for average in ("samples", "macro", "micro", "weighted")),
        *(_f(2.0, average) for average in ("samples", "macro", "micro")),
        _pf(1.0),
        Metric("log-loss", RowMean(log_loss_rows), "probability", False, kinds=WITH_CLASSES, decide=likely),
        _weighted_log_loss(),
        Metric("kl-divergence", RowMean(kl_rows), "probability", False, kinds=ONE_LABEL, decide=likely, votes=True),
        Metric("roc-auc", roc_auc, "probability", kinds=WITH_CLASSES, decide=as_is, order_only=True),
        Metric("weighted-auc", weighted_auc, "probability", kinds=("binary",), decide=as_is, order_only=True),
        _partial_auc(0.1),
        _auc_above(0.8),
        Metric(
            "average-precision", average_precision, "probability", kinds=WITH_CLASSES, decide=as_is, order_only=True
        ),
        Metric("qwk", kappa, "grade", kinds=WITH_NUMBERS, decide=cuts(2)),
        Metric("kappa-linear", partial(kappa, power=1), "grade", kinds=WITH_NUMBERS, decide=cuts(1)),
        Metric("ordinal-mae", RowMean(absolute), "grade", False, kinds=WITH_NUMBERS, decide=middle_grade),
        _map(3),
        _map(5),
        _top(5),
        _top_error(5),
        Metric("rmse", rmse, "number", False, kinds=WITH_NUMBERS, decide=clipped),
        Metric("mse", RowMean(squared), "number", False, kinds=WITH_NUMBERS, decide=clipped),
        Metric("mae", RowMean(absolute), "number", False, WITH_NUMBERS, decide=middle_number, constant="median"),
        Metric("rmsle", rmsle, "number", False, kinds=WITH_NUMBERS, decide=log_number, logs=True),
        Metric("r2", r2, "number", kinds=WITH_NUMBERS, decide=clipped),
        Metric("spearman", spearman, "number", kinds=WITH_NUMBERS, decide=free, order_only=True),
    )
}

ALIASES = {
    "accuracy": "acc categorizationaccuracy classificationaccuracy meanaccuracy overallaccuracy "
    "top1 top1accuracy top1acc accuracy1 acc1",
    "error": "errorrate classificationerror misclassificationerror misclassificationrate zerooneloss "
    "top1error top1errorrate",
    "balanced-accuracy": "balancedacc bacc meanrecall macrorecall recallmacro unweightedaveragerecall uar "
    "classaverageaccuracy meanclassaccuracy meanperclassaccuracy perclassaccuracy meanperclassrecall",
    "matthews": "mcc matthewscorrcoef matthewscorrelation phi",
    "cohen-kappa": "cohenskappa unweightedkappa kappaunweighted",
    "exact-match": "exactmatchratio exactmatchaccuracy subsetaccuracy",
    "f1": "fscore fmeasure meanfscore meanfmeasure",
    "f1-macro": "macrof1labels",
    "f1-micro": "microf1single microf1labels",
    "pf1": "probabilisticf1 probabilisticf probabilisticfscore",
    "log-loss": "logarithmicloss crossentropy crossentropyloss categoricalcrossentropy categoricalcrossentropyloss "
    "bce bceloss binarycrossentropy binarycrossentropyloss loglossbinary binarylogloss binarylogarithmicloss "
    "multiclassloss multiclasslogloss multiclasslogarithmicloss mlogloss multilabellogloss "
    "multilabellogarithmicloss negativeloglikelihood nll meanlogloss meanlogarithmicloss "
    "meancolumnwiselogloss columnwiselogloss meancolumnwiselogarithmicloss",
    "weighted-log-loss": "weightedlogloss weightedlogarithmicloss balancedlogloss balancedlogarithmicloss",
    "kl-divergence": "kl kldiv kullbackleibler kullbackleiblerdivergence",
    "roc-auc": "auc aucroc auroc roc areaunderroc areaundercurve areaunderroccurve "
    "areaunderreceiveroperatingcharacteristic areaunderreceiveroperatingcharacteristiccurve "
    "meanauc meanrocauc averageauc averagerocauc macroauc macrorocauc columnwiseauc columnwiserocauc "
    "meancolumnwiserocauc meancolumnwiseauc meancolumnwiseaucroc meancolumnwiseareaunderroccurve",
    "weighted-auc": "wauc alaskaweightedauc",
    "partial-auc@0.1": "partialauc partialrocauc",
    "pauc-above-tpr@0.8": "pauc isicpauc isic2024pauc pauc80 paucabove80tpr paucabovetpr",
    "average-precision": "ap map meanap meanaverageprecision macroap macroaverageprecision prauc auprc aucpr "
    "areaunderprecisionrecallcurve precisionrecallauc",
    "qwk": "kappa quadraticweightedkappa quadratickappa kappaquadratic weightedkappa quadraticcohenkappa "
    "quadraticcohenskappa quadraticweightedcohenkappa quadraticweightedcohenskappa weightedcohenkappa "
    "weightedcohenskappa",
    "kappa-linear": "linearkappa linearweightedkappa lwk",
    "ordinal-mae": "ordinalmeanabsoluteerror gradedmae",
    "rmse": "rootmeansquarederror rootmeansquareerror",
    "mse": "meansquarederror meansquareerror mseloss",
    "mae": "meanabsoluteerror l1 l1loss",
    "rmsle": "rootmeansquaredlogarithmicerror rootmeansquaredlogerror rootmeansquarelogarithmicerror",
    "r2": "rsquared determination",
    "spearman": "spearmanr spearmancorrelation spearmanscorrelation rankcorrelation spearmanrho spearmansrho "
    "spearmanrankcorrelation spearmansrankcorrelation spearmanrankordercorrelation spearmansrankordercorrelation",
}

_AVERAGES = "samples|macro|micro|weighted|binary"
_BETA = r"((?:0?\.\d*[1-9]\d*)|[1-9]\d*(?:\.\d+)?)"
_SHARE = r"(?:at|above)?(0?\.\d*[1-9]\d*)"
_F = re.compile(
    rf"(?:mean|average|({_AVERAGES})(?:average)?)?f(?:beta)?{_BETA}(?:score|measure)?(?:({_AVERAGES})(?:average)?)?"
)
_PF = re.compile(rf"(?:p|probabilistic)f{_BETA}(?:score)?")
_MAP = re.compile(r"(?:mapk?|meanaverageprecision)(?:at)?([1-9]\d*)")
_TOP = re.compile(r"top([1-9]\d*)(?:accuracy|acc)?")
_ACCURACY_AT = re.compile(r"(?:accuracy|acc)(?:at)?([1-9]\d*)")
_TOP_ERROR = re.compile(r"top([1-9]\d*)err(?:or)?(?:rate)?")
_PARTIAL_AUC = re.compile(rf"partial(?:roc)?auc{_SHARE}")
_AUC_ABOVE = re.compile(rf"pauc(?:abovetpr|tpr){_SHARE}")


# words that graders' pages add to a name and that say nothing of it
_FILLERS = re.compile(r"\b(?:the|of)\b|score|averaged|coefficient")
_SHORT_TOO = re.compile(r"\s*(.+?)\s*\(([^()]+)\)\s*")  # "quadratic weighted kappa (QWK)"


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", unicodedata.normalize("NFKC", text).lower())


_BY_NAME = {_squeezed(name): metric for name, metric in METRICS.items()} | {
    alias: METRICS[name] for name, aliases in ALIASES.items() for alias in aliases.split()
}


def metric_named(text: str) -> Metric:
    """The metric of this name: a row of METRICS, an alias, or one with a number of the user's choice.

    Those are any F-beta ("f0.5-macro", "pf2"), any map@k, top-k and top-k-error, "partial-auc@<max FPR>",
    "pauc-above-tpr@<min TPR>" and "weighted-log-loss@2,1,1" with a weight a class in the order of the classes.
    Case, spaces, hyphens and underscores do not matter. An unknown name raises Mistake with the nearest and the list.
    """
    before, _, after = text.partition("@")
    if _BY_NAME.get(_squeezed(before)) is METRICS["weighted-log-loss"] and after:
        return _weighted_log_loss(_weights(text, after))
    if metric := _known(text):
        return metric
    if (both := _SHORT_TOO.fullmatch(text)) and (metric := _known(both[1])) and _known(both[2]) == metric:
        return metric
    name = _squeezed(text)
    near = {_BY_NAME[n].name: None for n in difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.6)}
    guess = f"; did you mean {' or '.join(near)}?" if near else ";"
    raise Mistake(
        f"metric {text!r} is not known{guess} write one of {', '.join(METRICS)}, any f<beta>-<average>, map@<k>, "
        f"top-<k> or top-<k>-error, or path/to/file.py:function for one of your own"
    )


def _known(text: str) -> Metric | None:
    """The metric of this name, with or without what says nothing of it; None where there is none."""
    words = _FILLERS.sub(" ", text.lower().replace("_", " "))
    return next((metric for some in (text, words) if (metric := _spelled(_squeezed(some)))), None)


def _spelled(name: str) -> Metric | None:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if (f := _F.fullmatch(name)) and not (f[1] and f[3]):
        return _f(float(f[2]), f[1] or f[3] or "")
    if pf := _PF.fullmatch(name):
        return _pf(float(pf[1]))
    for pattern, of_places in ((_MAP, _map), (_TOP, _top), (_ACCURACY_AT, _top), (_TOP_ERROR, _top_error)):
        if match := pattern.fullmatch(name):
            return of_places(int(match[1]))
    for pattern, of_share in ((_PARTIAL_AUC, _partial_auc), (_AUC_ABOVE, _auc_above)):
        if match := pattern.fullmatch(name):
            return of_share(float(match[1]))
    return None


def _weights(text: str, after: str) -> tuple[float, ...]:
    try:
        weights = tuple(float(w) for w in after.split(","))
    except ValueError:
        weights = ()
    if len(weights) < 2 or not all(np.isfinite(weights)) or min(weights) <= 0:
        raise Mistake(f"metric {text!r} needs a positive number for each class, as in weighted-log-loss@2,1,1")
    return weights
