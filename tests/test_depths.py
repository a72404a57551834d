"""Finalists at several depths: which nets, how much of each trains, and where there are none."""

from dataclasses import replace

import pytest
from fakes import situation, speed

from autoclimb.config import Config
from autoclimb.search.capacity import MOST_KEPT_IN_ALL, kept_bytes
from autoclimb.search.depths import PAIR_LEAST, at_depths
from autoclimb.search.fidelity import epochs_for, epochs_in
from autoclimb.search.finals import decide_finalists, is_long, seconds_each
from autoclimb.search.nets import BOX, fine_tuning, from_box, from_hub
from autoclimb.types import History

BOXED = from_box()
PLENTY = 3e4  # seconds


def heads(rows=BOXED):
    return [[config] for config in fine_tuning(rows, "cpu")]


def depths(configs: list[Config]) -> list[tuple[int, int]]:
    """Of each config the place of its net, and the stages of it that train."""
    return [(list(BOX).index(config.backbone), config.top) for config in configs]


def least_time(s) -> float:
    """About the least time that pays for two nets."""
    return min(time for n in range(60) if at_depths(heads(), time := PLENTY / 1.1**n, s))


def boxed(**changes):
    return situation(budget=1800.0, pretrained=BOXED, **changes)


def test_the_tops_come_first_and_the_whole_of_the_larger_net_last():
    assert depths(at_depths(heads(), PLENTY, boxed())) == [(0, 2), (1, 2), (0, 0), (0, 4), (1, 4), (1, 0)]


def test_less_time_takes_fewer_nets_and_none_where_it_pays_for_no_two():
    s = boxed()
    lengths = [len(at_depths(heads(), PLENTY / 1.2**n, s)) for n in range(40)]
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths) == {0, 2, 3, 4, 5, 6}


def test_two_are_all_of_the_first_and_the_top_of_the_second():
    s = boxed()
    pairs = [c for n in range(60) if len(c := at_depths(heads(), PLENTY / 1.1**n, s)) == 2]
    assert {tuple(depths(pair)) for pair in pairs} == {((0, 0), (1, 2))}
    epochs = [
        epochs_in(each, c, s)
        for c, each in zip(pairs[-1], seconds_each(pairs[-1], least_time(s), s, True), strict=True)
    ]
    assert all(e >= PAIR_LEAST * epochs_for("enough", c, s) for c, e in zip(pairs[-1], epochs, strict=True))


def test_where_rows_are_few_both_tops_are_left_to_the_families():
    s = boxed(rows=700)
    assert 2 not in {len(at_depths(heads(), PLENTY / 1.1**n, s)) for n in range(60)}


def test_no_depth_is_measured_for_seconds_beyond_the_first_that_is_not_paid_for():
    looks: list[Config] = []
    s = boxed()
    s = replace(s, measure=lambda config: looks.append(config) or speed(config))
    time = max(PLENTY / 1.2**n for n in range(40) if not at_depths(heads(), PLENTY / 1.2**n, boxed()))
    assert at_depths(heads(), time, s) == []
    assert {(config.backbone, config.top) for config in looks if config.train == "net"} <= {
        (BOX[0], 2),
        (BOX[1], 2),
        (BOX[0], 4),
        (BOX[0], 0),
    }


@pytest.mark.parametrize(("rows", "third"), [(2_500, (0, 0)), (700, (0, 4))])
def test_the_third_net_is_all_of_the_first_or_its_deeper_top_where_rows_are_few(rows, third):
    s = boxed(rows=rows)
    threes = [c for n in range(60) if len(c := at_depths(heads(), PLENTY / 1.1**n, s)) == 3]
    assert depths(threes[0]) == [(0, 2), (1, 2), third]


def test_more_time_takes_larger_pictures_before_longer_trainings():
    s = boxed()
    few = next(c for n in range(40, 0, -1) if len(c := at_depths(heads(), PLENTY / 1.2**n, s)) == 6)
    many = at_depths(heads(), 10 * PLENTY, s)
    assert depths(few) == depths(many)
    assert all(a.size < b.size for a, b in zip(few, many, strict=True))


def test_features_of_all_cuts_fit_what_a_worker_leaves_on_disk():
    for rows in (2_000, 20_000, 60_000):
        s = boxed(rows=rows, answered=rows, measure=lambda config: replace(speed(config), train=1e6, predict=1e6))
        configs = at_depths(heads(), 1e6, s)
        assert sum(kept_bytes(c, s) for c in configs if c.top) <= MOST_KEPT_IN_ALL
        assert len(configs) == 6 or rows > 2_000


@pytest.mark.parametrize(
    "changes",
    [{"budget": 300.0}, {"device": "cuda"}, {"pretrained": (*BOXED, *from_hub("cpu"))}],
    ids=["too short to measure each depth", "a card trains all of a net", "nets of other families are at hand"],
)
def test_where_depths_are_no_gain_there_are_none(changes):
    s = situation(**{"budget": 1800.0, "pretrained": BOXED, **changes})
    assert at_depths(heads(s.pretrained), PLENTY, s) == []


def test_a_net_that_was_tried_keeps_its_size():
    tried = heads()[0][0].vary(seconds=60.0, size=128)
    configs = at_depths([[tried], heads()[1]], PLENTY, boxed())
    whole = next(c for c in configs if c.backbone == tried.backbone and not c.top)
    assert whole == tried
    assert all(c.seconds == 0 for c in configs if c.top)


def test_each_gets_the_same_multiple_of_the_seconds_it_needs_until_it_can_use_no_more():
    s = boxed()
    configs = at_depths(heads(), PLENTY, s)
    short, long = (seconds_each(configs, time, s, by_need=True) for time in (2000.0, 4000.0))
    assert [b / a for a, b in zip(short, long, strict=True)] == pytest.approx([2.0] * len(configs))
    assert sum(short) * s.folds == pytest.approx(2000.0)
    assert sum(seconds_each(configs, 1e9, s, by_need=True)) * s.folds < 1e6


def test_a_long_recipe_stands_beside_the_net_that_trains_whole():
    s = boxed(rows=640, answered=100, side=64, left=lambda: 1e5)
    configs = decide_finalists(History(), replace(s, budget=1e5))
    place = [is_long(config) for config in configs].index(True)
    assert not configs[place].top
    whole = configs[place - 1]
    assert (whole.backbone, whole.top) == (configs[place].backbone, 0)
