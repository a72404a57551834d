"""The search space: what may be written, and what is told where it may not."""

import json

import pytest

from autoclimb.errors import Mistake
from autoclimb.search.space import SearchSpace


def test_nothing_given_leaves_everything_to_the_plan():
    space = SearchSpace()
    assert space.names() is None
    assert space.pipelines() == {}
    assert space.to_json()["backbones"] is None


def test_an_unknown_value_of_config_is_answered_with_the_list():
    with pytest.raises(Mistake, match=r"'mix_up'.*mixup"):
        SearchSpace(start={"mix_up": 0.4})


@pytest.mark.parametrize("given", [{"lr": (0.1,)}, {"lr": (0.1, 0.01)}, {"mixup": (0.0, 0.2, 0.4)}])
def test_a_range_is_low_and_high(given):
    with pytest.raises(Mistake, match=r"\(low, high\)"):
        SearchSpace(**given)


@pytest.mark.parametrize(
    ("also", "words"),
    [
        ({"swaa": [0.0, 0.2]}, "swa"),
        ({"lr": (0.1, 0.2)}, "layer_decay"),
        ({"epochs": [1.0, 2.0]}, "may name"),
        ({"swa": [0.2]}, "two values"),
        ({"swa": (0.3, 0.2)}, "range"),
        ({"test_size": (64, 128)}, "list of two"),
    ],
)
def test_further_values_are_ranges_of_numbers_or_lists_of_two_or_more(also, words):
    with pytest.raises(Mistake, match=words):
        SearchSpace(also=also)


@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_what_is_drawn_on_a_log_scale_starts_above_zero(name):
    with pytest.raises(Mistake, match=name):
        SearchSpace(**{name: (0.0, 0.1)})


@pytest.mark.parametrize("name", ["backbones", "sizes", "policies", "losses", "mixup"])
def test_an_empty_list_is_a_mistake(name):
    with pytest.raises(Mistake, match=name):
        SearchSpace(**{name: []})


@pytest.mark.parametrize("name", ["backbones", "losses", "tta", "preprocess"])
def test_one_name_is_not_a_list_of_letters(name):
    with pytest.raises(Mistake, match=name):
        SearchSpace(**{name: "resnet18"})


@pytest.mark.parametrize("given", [{"sizes": 64}, {"lr": 0.1}, {"mixup": 0.2}])
def test_one_value_is_no_list_of_them(given):
    (value,) = given.values()
    with pytest.raises(Mistake, match=rf"write \[{value}\]"):
        SearchSpace(**given)


@pytest.mark.parametrize("name", ["lr", "dropout"])
@pytest.mark.parametrize("words", [("a", "b"), ["a"], {"a": 1}])
def test_rates_and_shares_are_numbers(name, words):
    with pytest.raises(Mistake, match="numbers"):
        SearchSpace(**{name: words})


@pytest.mark.parametrize("given", [{"start": {"batch": 0}}, {"start": {"size": -64}}, {"sizes": [64, 0]}])
def test_no_net_has_less_than_a_picture_in_a_batch_or_a_pixel(given):
    with pytest.raises(Mistake, match="1 or more"):
        SearchSpace(**given)


@pytest.mark.parametrize("given", [{"backbones": ("resnet34", "resnet18")}, {"sizes": (96, 64, 32)}])
def test_names_and_sizes_in_a_tuple_are_no_range(given):
    space = SearchSpace(**given)
    assert [tuple(value) for value in (space.backbones, space.sizes) if value] == list(given.values())


@pytest.mark.parametrize("given", [{"policies": ["flip", "flipp"]}, {"start": {"policy": "flipp"}}])
def test_an_unknown_policy_is_answered_with_the_list(given):
    with pytest.raises(Mistake, match=r"'flipp' is unknown; choose from .*flip"):
        SearchSpace(**given)
    SearchSpace(policies={"flipp": None}, start={"policy": "flipp"})


def test_names_of_menus_are_by_field_of_config():
    space = SearchSpace(losses=["focal"], tta=["flip"], start={"loss": "ce", "pool": "gem", "batch": 8})
    assert space.named() == {"loss": ["focal", "ce"], "pool": ["gem"], "tta": ["flip"]}
    assert SearchSpace(sizes=[64]).named() == {}


def test_policies_are_named_in_order():
    assert SearchSpace(policies=["flip", "medium"]).names() == ["flip", "medium"]
    assert SearchSpace(policies={"mine": None, "other": None}).names() == ["mine", "other"]


def test_a_pipeline_of_albumentations_becomes_json_and_back():
    import albumentations as A

    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.Rotate((-20, 20))])
    space = SearchSpace(policies={"mine": pipeline})
    assert A.from_dict(json.loads(space.pipelines()["mine"])).to_dict() == pipeline.to_dict()
    other = SearchSpace(policies={"mine": A.Compose([A.HorizontalFlip(p=0.6), A.Rotate((-20, 20))])})
    assert json.dumps(space.to_json()) != json.dumps(other.to_json()), "another pipeline is another search"
    with pytest.raises(Mistake, match="'mine'"):
        SearchSpace(policies={"mine": A.Compose([A.Lambda(image=lambda x, **_: x)])}).pipelines()


@pytest.mark.parametrize("thing", [3, "flip", lambda x: x, None])
def test_what_is_no_pipeline_is_a_mistake(thing):
    with pytest.raises(Mistake, match=r"'mine'.*Compose"):
        SearchSpace(policies={"mine": thing}).pipelines()


def test_a_space_is_json_all_through():
    space = SearchSpace(backbones=["resnet18"], lr=(1e-4, 1e-2), mixup=[0.0, 0.4], start={"clip": 0.5})
    assert json.loads(json.dumps(space.to_json()))["start"] == {"clip": 0.5}
