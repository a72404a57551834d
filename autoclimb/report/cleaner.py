"""suspects.html: rows to keep, drop or relabel with mouse or keys, offline; decisions are saved as decisions.csv."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autoclimb.report.parts import rendered, safe, thumbnail
from autoclimb.report.record import RunRecord
from autoclimb.report.words import number
from autoclimb.score.suspects import REASONS, Suspect, suspects_of

MOST = 20_000  # suspects on a page, the most doubtful ones: at 2 kB a thumbnail 40 MB, which browsers still open
CHOICES = 7  # labels offered for a row, keys 3 to 9


def suspects_in(record: RunRecord) -> list[Suspect]:
    """The suspects of the blend's out-of-fold predictions, none without a blend."""
    if record.blend is None:
        return []
    rows = record.predicted
    suspects = suspects_of(record.goal.kind, record.target[rows], record.blend.oof[rows])
    return [replace(suspect, row=int(rows[suspect.row])) for suspect in suspects]


def suspects_page(record: RunRecord, suspects: Sequence[Suspect]) -> str:
    """The page as HTML: pictures and labels as json in it, drawn a screen at a time by a script of its own."""
    cards = [card(record, suspect) for suspect in suspects[:MOST]]
    data = {"run": f"{record.name}-{len(record.ids)}", "reasons": REASONS, "cards": cards}
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    counts = f"{len(cards):,} suspects of {len(record.predicted):,} predicted train rows"
    # "<" could end the element that holds the data
    return rendered("suspects.html", name=record.name, about=counts, data=text.replace("<", "\\u003c"))


def card(record: RunRecord, suspect: Suspect) -> dict[str, Any]:
    """A suspect's values for the page's script: picture, labels, doubt, and the labels that a decision may write."""
    row = suspect.row
    picture = thumbnail(record.pictures[row], 65) if record.pictures is not None else ""
    choices = choices_of(record, suspect)
    return {
        "id": record.id_of(row),
        "image": picture,
        "reason": suspect.reason,
        "given": safe(given_words(record, row), 120),
        "proposed": safe(proposal_words(record, suspect), 120),
        "doubt": round(suspect.doubt, 3),
        "choices": [{"words": safe(words, 120), "label": label} for words, label in choices],
    }


def given_words(record: RunRecord, row: int) -> str:
    """The row's label, for people."""
    if record.goal.kind == "regression":
        return number(float(record.truth[row]))
    if record.goal.kind == "multilabel":
        names = [record.classes[i] for i in np.flatnonzero(record.truth[row]).tolist()]
        return ", ".join(safe(name, 40) for name in names) or "no label"
    return record.classes[record.class_of[row]]


def proposal_words(record: RunRecord, suspect: Suspect) -> str:
    """The label proposed instead, for people."""
    if suspect.proposed < 0:
        return f"predicted {number(suspect.value)}"
    name = record.classes[suspect.proposed]
    return f"{safe(name, 60)}, p {suspect.value:.2f}"


def choices_of(record: RunRecord, suspect: Suspect) -> list[tuple[str, str]]:
    """(words, label as written in decisions.csv) of the labels that the row can be given, likeliest first."""
    row = suspect.row
    if record.goal.kind == "regression":
        return [(f"to {number(suspect.value)}", repr(float(suspect.value)))]
    assert record.blend is not None
    p = np.array(record.blend.oof[row])
    if record.goal.kind == "multilabel":
        return set_choices(record.classes, record.truth[row].astype(bool), p, suspect.proposed)
    p[record.class_of[row]] = -1.0
    p[suspect.proposed] = 2.0
    order = [int(i) for i in np.argsort(-p, kind="stable")[:CHOICES] if i != record.class_of[row]]
    return [(record.classes[i], record.classes[i]) for i in order]


def set_choices(classes: Sequence[str], has: np.ndarray, p: np.ndarray, proposed: int) -> list[tuple[str, str]]:
    """(words, label) of CHOICES sets near the row's own: the proposed label flipped, then swapped for another one.

    After these two come sets that differ in one other label, the most doubtful first. `has` `(C,)` bool is the row's
    set, `p` `(C,)` its probabilities.
    """
    doubt = np.where(has, 1 - p, p)
    changes = [[proposed]]
    opposite = np.flatnonzero(has != has[proposed])  # the labels that the proposed one may have been mistaken for
    if len(opposite):
        changes.append([proposed, int(opposite[doubt[opposite].argmax()])])
    changes += [[int(i)] for i in np.argsort(-doubt, kind="stable") if i != proposed]
    choices = []
    for change in changes[:CHOICES]:
        changed = has.copy()
        changed[change] = ~changed[change]
        words = ", ".join(f"{'without' if has[i] else 'with'} {safe(classes[i], 40)}" for i in change)
        names = [classes[j] for j in np.flatnonzero(changed).tolist()]
        choices.append((words, json.dumps(names, ensure_ascii=False)))
    return choices


def suspects_table(record: RunRecord, suspects: Sequence[Suspect]) -> list[list[str]]:
    """The rows of suspects.csv, head first: id, reason, doubt, label, proposed, probability (or predicted number)."""
    rows = [["id", "reason", "doubt", "label", "proposed", "probability"]]
    for s in suspects:
        proposed = record.classes[s.proposed] if s.proposed >= 0 else number(s.value)
        rows.append(
            [record.id_of(s.row), s.reason, f"{s.doubt:.4f}", given_words(record, s.row), proposed, f"{s.value:.4f}"]
        )
    return rows
