"""Policies by contract: shape and seed, which symmetries a row teaches, and that names can be joined."""

import itertools
import json
import subprocess
import sys
from collections import Counter

import albumentations as A
import numpy as np
import pytest

from autoclimb.errors import Mistake
from autoclimb.learn.moves import MOVES, augmented, moved
from autoclimb.learn.pipelines import TRANSFORMS, pipeline_of
from autoclimb.policies import POLICIES, SYMMETRIC, light_policy, policy_named
from autoclimb.search.portfolio import policy_moves, tta_for
from autoclimb.search.space import SearchSpace


def photo(size: int, channels: int) -> np.ndarray:
    """A picture with something at every place, nowhere symmetric."""
    plain = np.random.default_rng(5).integers(0, 256, (size // 4, size // 4, channels), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(plain, np.ones((4, 4, 1), np.uint8)))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_keeps_shape_and_type_varies_and_draws_the_same_for_the_same_seed(name, channels):
    picture = photo(32, channels)
    before = picture.copy()
    first, second = (pipeline_of(name, 32, 7, channels=channels) for _ in range(2))
    variants = [augmented(first, picture) for _ in range(12)]
    assert {(m.shape, m.dtype) for m in variants} == {((32, 32, channels), np.dtype(np.uint8))}
    assert all((m == augmented(second, picture)).all() for m in variants)
    assert (picture == before).all()
    assert any((m != picture).any() for m in variants) == (name != "none")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_draws_other_variations_for_another_seed(name):
    one, two = (
        [augmented(pipeline, photo(32, 3)) for _ in range(8)] for pipeline in (pipeline_of(name, 32, s) for s in (1, 2))
    )
    assert any((a != b).any() for a, b in zip(one, two, strict=True)) == (name != "none")


@pytest.mark.parametrize("name", [*POLICIES, "trivial-straight+clahe", "flips+cutout"])
def test_a_light_policy_keeps_the_symmetries_and_drops_what_makes_pictures_hard(name):
    heavy, light = policy_named(name, {}), policy_named(light_policy(name, {}), {})
    assert (light.mirrors, light.upends, light.turns) == (heavy.mirrors, heavy.upends, heavy.turns)
    assert set(light.transforms) <= {"shift", "mirror", "upend", "turn"}
    assert bool(light.transforms) == bool(heavy.transforms)
    own = {"mine": A.Compose([A.HorizontalFlip()]).to_dict()}
    assert light_policy("mine", {"mine": json.dumps(own["mine"])}) == "mine"


def test_joined_policies_do_what_each_does_once():
    pipeline = pipeline_of("flip+light+cutout", 32, 0)
    kinds = [type(transform).__name__ for transform in pipeline.transforms]
    assert kinds == ["PadIfNeeded", "RandomCrop", "HorizontalFlip", "RandomBrightnessContrast", "Erasing"]
    assert pipeline_of("flip+flips+flip", 32, 0).transforms == ("shift", "mirror", "upend")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("move", [(0, 0), (4, -4), (-3, 1), (0, 2)])
def test_a_picture_is_moved_with_its_border_mirrored_then_transposed_then_flipped(move, channels):
    picture, (down, right) = photo(32, channels), move
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    shifted = padded[4 - down : 36 - down, 4 - right : 36 - right]
    for mirrored, upended, transposed in itertools.product((False, True), repeat=3):
        expected = shifted.swapaxes(0, 1) if transposed else shifted
        expected = expected[:: -1 if upended else 1, :: -1 if mirrored else 1]
        assert (moved(picture, down, right, mirrored, upended, transposed) == expected).all()


@pytest.mark.parametrize(
    ("name", "outcomes"), [("shift", 81), ("flip", 162), ("vertical", 162), ("flips", 324), ("dihedral", 648)]
)
def test_what_a_policy_of_moves_makes_is_what_albumentations_makes_of_its_transforms(name, outcomes):
    """Every outcome of 9 x 9 places, flips and turns is met, each about as often as another."""
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    theirs = A.Compose([t for part in POLICIES[name].transforms for t in TRANSFORMS[part](32)], seed=3)
    ours = pipeline_of(name, 32, 3)
    assert set(ours.transforms) <= set(MOVES)
    counts = Counter(augmented(ours, picture).tobytes() for _ in range(12 * outcomes))
    assert len(counts) == outcomes
    assert max(counts.values()) < 40
    assert {augmented(theirs, picture).tobytes() for _ in range(100)} <= set(counts)


def test_policies_of_moves_need_no_albumentations():
    code = "import sys; from autoclimb.learn.moves import moves_of; moves_of('flips', 32, 0, {}); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"albumentations", "torch"} & set(modules)


@pytest.mark.parametrize("name", ["mirror", "flip+mirror", "", "flip+"])
def test_an_unknown_policy_is_answered_with_the_menu(name):
    with pytest.raises(Mistake, match=r"flips.*join"):
        pipeline_of(name, 32, 0)


def fading(axis: int) -> np.ndarray:
    """A picture whose grain fades along an axis: light and colour may change and it still shows which end was first."""
    grain = np.random.default_rng(3).normal(0, 1, (32, 32, 3)) * np.linspace(60, 2, 32).reshape((-1, 1, 1))
    picture = (128 + grain).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture if axis == 0 else picture.swapaxes(0, 1))


def flipped(name: str, axis: int) -> bool:
    """Whether the policy ever puts the grainy end last."""
    pipeline, picture = pipeline_of(name, 32, 3), fading(axis)
    for _ in range(40):
        grain = np.abs(np.diff(augmented(pipeline, picture).astype(float), axis=axis)).mean(1 - axis).mean(1)
        if np.median(grain[-8:]) > 2 * np.median(grain[:8]) + 1:
            return True
    return False


@pytest.mark.parametrize("name", POLICIES)
def test_a_row_says_whether_it_mirrors_and_its_pictures_show_it(name):
    assert flipped(name, axis=1) == POLICIES[name].mirrors
    assert flipped(name, axis=0) == POLICIES[name].upends


@pytest.mark.parametrize("name", POLICIES)
def test_predictions_are_never_averaged_over_symmetries_that_were_not_taught(name):
    policy, views = POLICIES[name], tta_for(name, SearchSpace())
    assert (views in ("flip", "flips", "dihedral")) == policy.mirrors
    assert (views in ("vertical", "flips", "dihedral")) == policy.upends
    assert (views == "dihedral") == policy.turns


def test_every_transform_is_of_a_row_and_every_row_of_transforms():
    assert {part for policy in POLICIES.values() for part in policy.transforms} == set(TRANSFORMS)


OWN = {
    "straight": [A.ColorJitter(), A.Affine(rotate=5)],
    "mirrored": [A.OneOf([A.HorizontalFlip(), A.NoOp()])],
    "upended": [A.VerticalFlip()],
    "turned": [A.RandomRotate90(), A.HorizontalFlip()],
}


@pytest.mark.parametrize(
    ("policy", "views"),
    [
        ("none", "none"),
        ("light+grid", "none"),
        ("flip", "flip"),
        ("straight", "none"),
        ("mirrored", "flip"),
        ("upended", "vertical"),
        ("turned", "dihedral"),
        ("flip+light", "flip"),
        ("vertical", "vertical"),
        ("vertical+light", "vertical"),
        ("flip+vertical", "flips"),
        ("flips", "flips"),
        ("light+dihedral", "dihedral"),
    ],
)
def test_predictions_are_averaged_over_the_views_that_the_net_was_trained_on(policy, views):
    policies = {name: A.Compose(transforms) for name, transforms in OWN.items()}
    assert tta_for(policy, SearchSpace(policies=policies)) == views
    assert tta_for(policy, SearchSpace(policies=policies, tta=["shift"])) == "shift"


def test_the_classes_that_are_read_as_symmetries_are_albumentations_own():
    assert all(issubclass(getattr(A, name), A.BasicTransform) for name in SYMMETRIC)
    assert policy_named("mine", {"mine": "{}"}).transforms == ()


@pytest.mark.parametrize("start", ["none", *POLICIES])
def test_policies_that_are_compared_keep_the_flips_and_turns_that_features_chose_but_for_the_last(start):
    own = policy_named(start, {})
    *moves, last = (policy_named(name, {}) for name in policy_moves(start, SearchSpace()))
    assert len(moves) >= 2
    for policy in moves:
        assert (policy.mirrors, policy.upends, policy.turns) == (own.mirrors, own.upends, own.turns)
    assert (last.mirrors, last.upends, last.turns) != (own.mirrors, own.upends, own.turns)
    assert policy_moves(start, SearchSpace(policies=["none", "medium"])) == ["none", "medium"]
