"""Suspects: rows that out-of-fold predictions contradict, and a person's decisions about them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.score.suspects import REASONS, suspects_of


def noisy_classes(flipped: float, seed: int = 0, n: int = 2000, width: int = 5):
    """True classes predicted well, labels of which a share was flipped, and which rows those are."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, width, n)
    logits = draw.normal(0, 1, (n, width))
    logits[np.arange(n), true] += 4
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = draw.random(n) < flipped
    label = np.where(wrong, (true + draw.integers(1, width, n)) % width, true)
    return np.eye(width)[label], p, wrong, true


@pytest.mark.parametrize("flipped", [0.05, 0.1])
def test_flipped_labels_are_found_and_the_true_class_is_proposed(flipped):
    target, p, wrong, true = noisy_classes(flipped)
    listed = [s for s in suspects_of("multiclass", target, p) if s.reason == "contradicted"]
    rows = np.array([s.row for s in listed])
    assert wrong[rows].mean() > 0.75  # precision
    assert wrong[rows].sum() / wrong.sum() > 0.7  # recall: rows that are predicted without confidence stay out
    assert np.mean([s.proposed == true[s.row] for s in listed if wrong[s.row]]) > 0.95


def test_the_most_doubtful_come_first_within_a_reason():
    target, p, wrong, _ = noisy_classes(0.1)
    listed = [s for s in suspects_of("multiclass", target, p) if s.reason == "contradicted"]
    doubts = [s.doubt for s in listed]
    assert doubts == sorted(doubts, reverse=True)
    assert wrong[[s.row for s in listed[:50]]].mean() > 0.95


def test_a_row_between_two_classes_is_torn():
    target = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    p = 0.9 * target + 0.1 / 3
    p[0] = (0.52, 0.46, 0.02)
    torn = [s for s in suspects_of("multiclass", target, p) if s.reason == "torn"]
    assert [(s.row, s.proposed) for s in torn] == [(0, 1)]


def test_a_label_that_lacks_and_one_too_many_are_found():
    draw = np.random.default_rng(0)
    true = draw.random((400, 4)) < 0.4
    p = np.where(true, 0.95, 0.05) + draw.uniform(-0.04, 0.04, true.shape)
    target = true.copy()
    target[3, 2], target[7, 1] = ~true[3, 2], ~true[7, 1]
    by_row = {s.row: s for s in suspects_of("multilabel", target.astype(float), p)}
    for row, label in ((3, 2), (7, 1)):
        assert by_row[row].proposed == label
        assert by_row[row].reason == ("label unlikely" if target[row, label] else "label missing")


def test_a_number_far_off_is_found():
    draw = np.random.default_rng(0)
    true = draw.normal(50, 10, 300)
    p = true + draw.normal(0, 2, 300)
    true[17] += 60
    listed = suspects_of("regression", true[:, None], p[:, None])
    assert listed[0].row == 17
    assert len(listed) < 5


@given(st.integers(0, 40), st.sampled_from(["multiclass", "multilabel", "regression", "binary", "ordinal"]))
def test_whatever_is_predicted_a_row_is_listed_once_with_a_doubt_from_0_to_1(seed, kind):
    draw = np.random.default_rng(seed)
    n, width = int(draw.integers(1, 40)), 1 if kind == "regression" else int(draw.integers(2, 5))
    p = draw.random((n, width))
    target = (draw.random((n, width)) < 0.5).astype(float) if kind in ("multilabel", "regression") else None
    target = np.eye(width)[draw.integers(0, width, n)] if target is None else target
    p = p if kind in ("multilabel", "regression") else p / p.sum(1, keepdims=True)
    p[draw.random(n) < 0.2] = np.nan
    listed = suspects_of(kind, target, p)
    assert len({s.row for s in listed}) == len(listed)
    assert all(0 <= s.doubt <= 1 and s.reason in REASONS for s in listed)
    assert not [s for s in listed if np.isnan(p[s.row]).any()]
