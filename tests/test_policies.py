"""Policies by contract: what every row of the menu keeps, that it varies, and that names can be joined."""

import numpy as np
import pytest

from autoclimb.errors import Mistake
from autoclimb.learn.policies import POLICIES, pipeline_of, augmented
from autoclimb.search.portfolio import POLICY_MOVES, STRAIGHT, tta_for


def photo(size: int, channels: int) -> np.ndarray:
    """A picture with something at every place, nowhere symmetric."""
    made = np.random.default_rng(5).integers(0, 256, (size // 4, size // 4, channels), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(made, np.ones((4, 4, 1), np.uint8)))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_keeps_shape_and_type_varies_and_draws_the_same_for_the_same_seed(name, channels):
    picture = photo(32, channels)
    before = picture.copy()
    first, second = (pipeline_of(name, 32, 7, channels=channels) for _ in range(2))
    made = [augmented(first, picture) for _ in range(12)]
    assert {(m.shape, m.dtype) for m in made} == {((32, 32, channels), np.dtype(np.uint8))}
    assert all((m == augmented(second, picture)).all() for m in made)
    assert (picture == before).all()
    assert any((m != picture).any() for m in made) == (name != "none")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_draws_other_variations_for_another_seed(name):
    one, two = (
        [augmented(pipeline, photo(32, 3)) for _ in range(8)] for pipeline in (pipeline_of(name, 32, s) for s in (1, 2))
    )
    assert any((a != b).any() for a, b in zip(one, two, strict=True)) == (name != "none")


def test_joined_policies_do_what_each_does_once():
    pipeline = pipeline_of("flip+light+cutout", 32, 0)
    kinds = [type(transform).__name__ for transform in pipeline.transforms]
    assert kinds == ["PadIfNeeded", "RandomCrop", "HorizontalFlip", "RandomBrightnessContrast", "Erasing"]
    again = pipeline_of("flip+flips+flip", 32, 0)
    assert [type(t).__name__ for t in again.transforms].count("HorizontalFlip") == 1


@pytest.mark.parametrize("name", ["mirror", "flip+mirror", "", "flip+"])
def test_an_unknown_policy_is_answered_with_the_menu(name):
    with pytest.raises(Mistake, match=r"flips.*join"):
        pipeline_of(name, 32, 0)


def test_a_straight_policy_never_mirrors_and_is_predicted_straight():
    """A picture of arrows stays one: nowhere is its mirror image nearer than itself."""
    ramp = np.zeros((32, 32, 3), np.uint8) + np.linspace(20, 230, 32).astype(np.uint8)[None, :, None]
    for name in sorted(STRAIGHT):
        pipeline = pipeline_of(name, 32, 3)
        for _ in range(10):
            row = augmented(pipeline, ramp).astype(float).mean((0, 2))
            assert np.corrcoef(row, np.arange(32))[0, 1] > 0 or name == "trivial-straight"
    assert set(POLICIES) >= STRAIGHT >= {"none"}


@pytest.mark.parametrize(
    ("policy", "views"),
    [
        ("none", "none"),
        ("light+grid", "none"),
        ("flip", "flip"),
        ("mine", "flip"),
        ("flip+light", "flip"),
        ("vertical", "vertical"),
        ("vertical+light", "vertical"),
        ("flip+vertical", "flips"),
        ("flips", "flips"),
        ("light+dihedral", "dihedral"),
    ],
)
def test_predictions_are_averaged_over_the_views_that_the_net_was_trained_on(policy, views):
    assert tta_for(policy) == views
    assert tta_for(policy, ["shift"]) == "shift"


def test_the_policies_that_the_plan_tries_are_there():
    assert set(POLICY_MOVES) <= set(POLICIES)
