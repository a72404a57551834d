"""Reasons why a score may promise too much or too little, in sentences for the end of a run and for its page."""

from collections.abc import Sequence
from typing import Any

from autoclimb.report import findings
from autoclimb.report.findings import Errors
from autoclimb.report.record import RunRecord
from autoclimb.report.words import drift_words, score_words


def doubts_of(record: RunRecord, errors: Errors | None) -> list[str]:
    """The doubts about a run's score that follow from its record, a sentence or two each."""
    drifted = record.drift.get("verdict") in ("clear", "strong")
    folds = folds_words(findings.fold_scores(record, errors)) if errors else ""
    drift = drift_words(record.drift) if drifted else ""
    return [text for text in (drift, nearness_words(record.nearness), folds) if text]


def nearness_words(nearness: dict[str, Any]) -> str:
    """A warning where test pictures lie farther from the train pictures than held-out ones, or nearer; "" else."""
    verdict = nearness.get("verdict", "alike")
    if verdict == "alike":
        return ""
    where, most = {"farther": ("farther from", "too much"), "nearer": ("nearer to", "too little")}[verdict]
    share = nearness["auc"] if verdict == "farther" else 1 - nearness["auc"]
    return (
        f"Test pictures lie {where} the train pictures than held-out ones do: one drawn by lot does in {share:.0%} of "
        f"pairs (± {nearness['stderr']:.1%}), where half is chance. The score may promise {most}."
    )


def folds_words(scores: Sequence[tuple[int, int, float, float]]) -> str:
    """A warning where folds (fold, rows, score, stderr) differ by more than chance; "" where they do not."""
    if not findings.folds_disagree(scores):
        return ""
    low, high = min(score for _, _, score, _ in scores), max(score for _, _, score, _ in scores)
    return (
        f"Folds disagree: {score_words(low)} to {score_words(high)}, more than their standard errors allow. Rows seem "
        "to come from several sources; test may differ as much."
    )
