"""Losses by contract: the menu's rows, names with numbers in them, and what they are known for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.errors import Mistake
from autoclimb.learn import grades
from autoclimb.learn.losses import (
    DEFAULTS,
    LOSSES,
    NUMBERED,
    loss_named,
    loss_value,
    predictions_of,
    sparse,
    sparsemax,
)

EVERY = [*LOSSES, *(form.format("1.5") for form in NUMBERED)]
CLASSES = 4


def kind_of(name: str):
    return next(kind for kind in ("multiclass", "ordinal", "multilabel", "regression") if fits(name, kind))


def fits(name: str, kind) -> bool:
    try:
        loss_named(name, kind)
    except Mistake:
        return False
    return True


def targets(name: str) -> torch.Tensor:
    if kind_of(name) == "regression":
        return torch.tensor([[0.5], [-1.0], [0.0], [2.0]])
    return torch.eye(CLASSES)


def outputs_for(name: str, target: torch.Tensor, sure: float) -> torch.Tensor:
    """What a net would say that is so sure of the target: -1 (of the contrary) to 1, logits beyond."""
    most = min(sure, 1)
    width = loss_named(name, kind_of(name)).outputs(CLASSES)
    if name.endswith("arcface"):
        return most * (2 * target - 1)
    if kind_of(name) == "regression":
        return target + 2 * (1 - most)
    at = target.argmax(1, keepdim=True)
    if width == 1:
        return most * at + (1 - most) * (CLASSES - 1 - at)
    if width < CLASSES:
        return sure * torch.where(at > torch.arange(width), 1.0, -1.0)
    return sure * (2 * target - 1)


@pytest.mark.parametrize("name", EVERY)
def test_a_loss_falls_as_outputs_improve(name):
    loss, target = loss_named(name, kind_of(name)), targets(name)
    steps = [float(loss_value(loss, outputs_for(name, target, sure), target)) for sure in (-1, 0, 0.5, 1)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > steps[-1] + 0.1


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", [50.0, -50.0, 0.0])
def test_a_loss_and_its_gradient_are_finite_at_the_extremes(name, value):
    loss, target = loss_named(name, kind_of(name)), targets(name)
    outputs = torch.full_like(outputs_for(name, target, 0.0), value).requires_grad_()
    for wanted in (target, 0.3 * target + 0.7 * target.flip(0)):
        loss_of_target = loss_value(loss, outputs, wanted, torch.tensor([0.5, 2.0, 0.5, 1.0]))
        loss_of_target.backward()
        assert torch.isfinite(loss_of_target)
        assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.1, 3.0, 100.0]))
def test_predictions_are_probabilities_of_every_class_or_numbers(name, seed, scale):
    kind = kind_of(name)
    outputs = scale * torch.randn(
        5, outputs_for(name, targets(name), 0.0).shape[1], generator=torch.Generator().manual_seed(seed)
    )
    p = predictions_of(outputs, kind, name, CLASSES)
    assert torch.isfinite(p).all()
    if kind == "regression":
        assert torch.equal(p, outputs)
        return
    assert p.shape == (5, CLASSES)
    assert ((p >= 0) & (p <= 1 + 1e-6)).all()
    assert kind == "multilabel" or torch.allclose(p.sum(1), torch.ones(5), atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_outputs_that_are_sure_of_the_target_predict_it(name):
    kind, target = kind_of(name), targets(name)
    p = predictions_of(outputs_for(name, target, 4.0), kind, name, CLASSES)
    assert torch.equal(p, target) if kind == "regression" else torch.equal((p > 0.5).float(), target)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_of_weight_two_counts_as_two_rows(name):
    loss, target = loss_named(name, kind_of(name)), targets(name)
    outputs = outputs_for(name, target, 0.4)
    twice = [0, 1, 1, 2, 3]
    weighted = loss_value(loss, outputs, target, torch.tensor([1.0, 2.0, 1.0, 1.0]) / 1.25)
    if loss.over_batch:  # F is a ratio: where every row weighs the same, it weighs nothing
        assert torch.allclose(loss_value(loss, outputs, target, torch.ones(4)), loss_value(loss, outputs, target))
        assert not torch.allclose(weighted, loss_value(loss, outputs, target), atol=1e-4)
    else:
        assert torch.allclose(weighted, loss_value(loss, outputs[twice], target[twice]), atol=1e-5)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_kind_of_task_has_a_loss_and_a_wrong_one_is_answered_with_the_list(kind):
    assert loss_named("default", kind) is LOSSES[DEFAULTS[kind]]
    with pytest.raises(Mistake, match=DEFAULTS[kind]):
        loss_named("no such loss", kind)


@pytest.mark.parametrize("name", ["soft-f", "soft-f-1", "soft-f2-micro", "focal-", "arcface-2", "soft-f2.", "xsoft-f2"])
def test_a_number_in_a_name_must_be_one(name):
    for kind in DEFAULTS:
        with pytest.raises(Mistake, match=name):
            loss_named(name, kind)


def test_names_with_numbers_equal_the_rows_of_the_same_number():
    outputs, target = torch.randn(6, 3), torch.eye(3)[[0, 1, 2, 0, 0, 1]]
    for form, row in (("soft-f2.0", "soft-f2"), ("soft-f1.0-macro", "soft-f1-macro"), ("focal-2", "focal")):
        kind = kind_of(row)
        one, other = (loss_value(loss_named(name, kind), outputs, target) for name in (form, row))
        assert torch.equal(one, other)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_sure_labels_make_soft_f_one_minus_f(beta):
    from sklearn.metrics import fbeta_score

    truth = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0.0]])
    answers = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0.0]])
    logits = 40 * (2 * answers - 1)
    third = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth) / 3
    rows = loss_value(loss_named(f"soft-f{beta:g}", "multilabel"), logits, truth) - third
    assert float(1 - rows) == pytest.approx(fbeta_score(truth, answers, beta=beta, average="samples"), abs=1e-4)
    labels = loss_value(loss_named(f"soft-f{beta:g}-macro", "multilabel"), logits, truth) - third
    there = fbeta_score(
        truth[:, :3], answers[:, :3], beta=beta, average="macro"
    )  # the fourth label is not in the batch
    assert float(1 - labels) == pytest.approx(there, abs=1e-4)


def test_sparsemax_is_the_nearest_probabilities_and_its_loss_has_their_difference_for_gradient():
    z = torch.tensor([[0.1, 1.2, 0.9], [3.0, 0.0, -1.0], [0.0, 0.0, 0.0]], requires_grad=True)
    p = sparsemax(z)
    assert torch.allclose(p, torch.tensor([[0, 0.65, 0.35], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]), atol=1e-6)
    target = torch.tensor([[0, 1, 0], [1, 0, 0], [0.5, 0.5, 0]])
    value = sparse(z, target)
    value.sum().backward()
    assert torch.allclose(z.grad, p - target, atol=1e-6)
    assert (value >= -1e-6).all()
    assert value[1].item() == pytest.approx(0, abs=1e-6)


def test_divergence_from_votes_is_zero_where_they_are_met_and_differs_from_cross_entropy_by_a_constant():
    votes = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    kl, ce = (loss_named(name, "multiclass") for name in ("kl", "ce"))
    assert float(kl.of(votes.clamp(min=1e-20).log(), votes).sum()) == pytest.approx(0, abs=1e-5)
    z, other = torch.randn(2, 2, 3)
    assert torch.allclose(kl.of(z, votes) - kl.of(other, votes), ce.of(z, votes) - ce.of(other, votes), atol=1e-5)


def test_corn_is_the_cross_entropy_of_the_grades_it_answers():
    outputs = torch.randn(7, 4)
    target = torch.softmax(torch.randn(7, 5), 1)
    assert torch.allclose(grades.corn(outputs, target), -(target * grades.corn_answer(outputs).log()).sum(1), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name].start is not None])
def test_a_head_starts_by_answering_with_the_shares(name):
    shares = torch.tensor([0.5, 0.3, 0.15, 0.05])
    p = predictions_of(LOSSES[name].start(shares)[None], kind_of(name), name, 4)[0]
    if name.startswith("grade-"):
        assert float((p * torch.arange(4)).sum()) == pytest.approx(float((shares * torch.arange(4)).sum()), abs=1e-5)
    else:
        assert torch.allclose(p, shares, atol=1e-3)


def test_a_number_between_two_grades_is_their_mixture():
    p = grades.number_answer(torch.tensor([[1.25], [-3.0], [9.0]]), 4)
    assert np.allclose(p, [[0, 0.75, 0.25, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["emd", "expected-grade", "soft-grades", "coral", "grade-mse"])
def test_a_grade_further_away_costs_more(name):
    loss, target = loss_named(name, "ordinal"), torch.eye(4)
    costs = [loss_value(loss, outputs_for(name, target[[j]], 1.0), target[:1]) for j in range(4)]
    assert costs == sorted(costs)
    assert len({round(float(c), 4) for c in costs}) == 4


def test_arcface_asks_for_a_smaller_angle_than_the_softmax_it_answers_with():
    cosines = torch.tensor([[0.8, 0.3, -0.2]], requires_grad=True)
    target = torch.tensor([[1.0, 0, 0]])
    loss = loss_named("arcface", "multiclass")
    plain = -predictions_of(cosines, "multiclass", "arcface", 3).log()[0, 0]
    assert loss_value(loss, cosines, target) > plain
    half = loss_value(loss, cosines, torch.tensor([[0.5, 0.5, 0]]))
    assert torch.isfinite(half)
