"""The budget: what may be written, and how it runs down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.budget import Clock, as_budget, in_words, seconds_for_report, seconds_kept, seconds_of
from autoclimb.errors import Mistake


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("4h", 14400), ("1d12h", 129600), ("1.5h", 5400), (" 2M30S ", 150)],
)
def test_a_budget_is_numbers_with_units(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h4", "4 hours", "-5m", "4h!", "1e3s", "nan", "5s", "0h", "400d"])
def test_any_other_budget_is_a_mistake_that_shows_how_to_write_one(text):
    with pytest.raises(Mistake, match="budget") as caught:
        seconds_of(text)
    assert repr(text) in str(caught.value)
    assert "90s" in str(caught.value) or "10s" in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (-3, "0s"), (47.4, "47s"), (59.6, "1m00s"), (245, "4m05s"), (12000, "3h20m"), (129600, "1d12h")],
)
def test_durations_are_said_in_two_units_at_most(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize("text", ["10s", "59s", "1m", "1m30s", "10m", "4h", "3h20m", "1d", "1d12h", "7d"])
def test_a_budget_is_written_as_it_was_given(text):
    assert as_budget(seconds_of(text)) == text


@given(st.integers(10, 364 * 86400))
def test_what_is_said_can_be_given_as_a_budget(seconds):
    unit = 1 if seconds < 3600 else 60 if seconds < 86400 else 3600
    assert abs(seconds_of(in_words(seconds)) - seconds) <= unit


def test_a_clock_runs_down_with_the_time_it_is_given():
    now = [100.0]
    clock = Clock(60.0, now=lambda: now[0], start=90.0)
    assert (clock.spent(), clock.left()) == (10.0, 50.0)
    now[0] = 200.0
    assert clock.left() == 0.0


def test_a_cost_is_affordable_if_what_must_be_kept_stays():
    clock = Clock(60.0, now=lambda: 10.0, start=0.0)
    assert clock.affords(50.0)
    assert clock.affords(30.0, keep=20.0)
    assert not clock.affords(30.1, keep=20.0)


@pytest.mark.parametrize("quick", [0.2, 0.5])
def test_a_last_blend_without_boosting_keeps_no_time_for_its_import_but_for_itself_and_what_follows(quick):
    for budget in (120.0, 180.0, 299.0):
        reserve = seconds_kept(budget, quick) - seconds_for_report(budget)
        assert reserve == pytest.approx(min(1.5 + 10 * quick, 0.04 * budget + 0.2))  # 1.5 s follow the blend
    assert seconds_kept(300.0, quick) - seconds_for_report(300.0) == pytest.approx(2.5 + 10 * quick)
