"""What the search knows of learn without importing it: its copies of learn's names and numbers agree with them."""

import pytest
from fakes import situation

from autoclimb.config import Config
from autoclimb.learn import closed_form, finder, trunk
from autoclimb.learn.faults import MESSAGES, Fault
from autoclimb.learn.handmade import FEATURES
from autoclimb.learn.views import CHOICES, VIEWS
from autoclimb.search import capacity, cost, frozen, retreat


def test_the_search_knows_every_hand_made_feature():
    assert set(frozen.FROM_HAND) == set(cost.HAND_MADE) == set(FEATURES)


def test_a_plan_keeps_no_more_features_than_a_worker_leaves_on_disk():
    assert capacity.MOST_KEPT < capacity.MOST_KEPT_IN_ALL == trunk.MOST_BYTES


def test_the_search_fits_heads_that_exist():
    assert set(frozen.HEADS) <= set(closed_form.HEADS)


@pytest.mark.parametrize(("tta", "count"), cost.VIEWS.items())
def test_the_search_counts_the_pictures_of_a_view_as_they_are(tta, count):
    assert len(VIEWS[tta]) == count


def test_the_search_counts_as_many_pictures_as_an_automatic_choice_may_take():
    assert max(len(VIEWS[tta]) for tta in CHOICES) == cost.MOST_VIEWS


def test_the_search_pays_for_every_step_of_a_sweep():
    assert cost.SWEEP_STEPS == finder.SWEEP_STEPS


@pytest.mark.parametrize(("head", "most"), [("kernel", closed_form.LANDMARKS), ("knn", closed_form.REMEMBERED)])
def test_the_seconds_of_a_head_grow_up_to_the_rows_that_it_uses(head, most):
    def seconds(rows: int) -> float:
        return cost.head_seconds(Config(train="features", head=head), 1, situation(rows=2 * rows, folds=2))

    assert seconds(most - 1) < seconds(most) == seconds(most + 1)


def test_a_fault_that_the_search_retreats_from_is_one_that_a_trial_may_have():
    of_the_room = {fault.kind for fault in (Fault, *Fault.__subclasses__())} | {*MESSAGES, "disk", "files"}
    of_the_line = {"died", "hung", "late"}  # of run.worker and run.trials
    assert {*retreat.TOO_LARGE, *retreat.NOT_OF_THE_NET, "teacher"} <= of_the_room | of_the_line
