"""Useless parts of the pictures are found by frozen features before any net is trained, where that is cheap."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import LOCAL, SITUATIONS, check, situation, trial
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.config import Config
from autoclimb.search.cost import cores_of, decoding_seconds, download_seconds, full_cost
from autoclimb.search.frozen import frozen_net
from autoclimb.search.order import PLAN
from autoclimb.search.regions import (
    JUDGED_AT,
    REGION_SHARE,
    WHOLE,
    cuts,
    region_seconds,
    seen_at,
    start_chain,
    try_regions,
)
from autoclimb.search.situation import Situation
from autoclimb.search.space import SearchSpace
from autoclimb.search.starting import base_config
from autoclimb.types import History, Trial

HOUR = 3600.0
ROWS = 500


def seen(config: Config) -> float:
    """The loss of a picture whose lower third is all that counts: less where that third takes more of what is seen."""
    if not config.preprocess.startswith("box:"):
        return 0.6
    top, left, bottom, right = (float(n) for n in config.preprocess[4:].split("+")[0].split(","))
    down = max(min(bottom, 1) - max(top, 2 / 3), 0) * 3  # of the third's height, what is left
    shares = down * (right - left), down / 3 / (bottom - top)
    return 0.6 - 0.2 * (shares[1] - 1 / 3) + 0.5 * (1 - shares[0])


def losses(t: Trial) -> np.ndarray:
    hard = np.random.default_rng(0).gamma(2.0, 0.5, ROWS)
    return hard * seen(t.config) + np.random.default_rng(int(t.key[:8], 16)).normal(0, 0.05, ROWS)


def asked(s: Situation, stage: str = "baseline") -> tuple[list[Config], History]:
    history, configs = History(), []
    for batch in PLAN[stage](history, s):
        for config in batch:
            configs.append(config)
            done = trial(config, stage)
            history.add(replace(done, score=-seen(config) if config.train == "features" else 0.1))
    return configs, history


def judged(configs: list[Config]) -> list[str]:
    return [config.preprocess for config in configs if config.preprocess.startswith("box:")]


def large(**changes) -> Situation:
    return situation(**{"budget": HOUR, "pretrained": LOCAL, "side": 300, "row_losses": losses, **changes})


def test_the_useless_two_thirds_go_step_by_step_and_nets_never_see_them():
    s = large(budget=4 * HOUR)  # in less the tops of nets alone are trained, as finalists
    configs, history = asked(s)
    chain = start_chain(history, s)
    top, left, bottom, right = (float(n) for n in chain[4:].split("+")[0].split(","))
    assert 0.5 < top <= 0.67
    assert (left, bottom, right) == (0, 1, 1)
    assert base_config(history, s).preprocess == chain
    assert configs[-1].train == "net"
    assert configs[-1].preprocess == chain
    best = [c for c in configs if c.train == "features" and c.preprocess == chain and c.head == "kernel"]
    assert best, "the blend gets features of the part that counts"
    for config in configs:
        check(config, s)


def test_where_every_part_counts_nothing_goes():
    s = large(
        row_losses=lambda t: np.random.default_rng(1).gamma(2.0, 0.5, ROWS) * (1 + 0.1 * ("box" in t.config.preprocess))
    )
    configs, history = asked(s)
    assert len(judged(configs)) == 5
    assert start_chain(history, s) == "squash"


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 300.0},
        {"side": 100},
        {"pictures": 4},
        {"space": SearchSpace(preprocess=["squash"])},
        {"space": SearchSpace(start={"preprocess": "pad"})},
        {"space": SearchSpace(features=False)},
        {"rows": 100_000},
    ],
    ids=str,
)
def test_no_part_is_judged_where_time_is_short_pictures_small_or_the_user_says_what_is_seen(change):
    assert judged(asked(large(**change))[0]) == []


def test_where_no_part_may_be_left_out_its_share_goes_to_the_probes():
    card = {**SITUATIONS["a card, with the hub"], "budget": HOUR / 2, "row_losses": losses}

    def probed(**changes) -> float:
        s = situation(**{**card, **changes})
        return sum(full_cost(c, s) for c in asked(s)[0] if c.train == "features" and c.weights and c.size > JUDGED_AT)

    assert region_seconds(situation(**card)) == REGION_SHARE["cuda"] * HOUR / 2
    for fixed in ({"space": SearchSpace(preprocess=["squash"])}, {"side": 100}, {"pictures": 4}):
        assert region_seconds(situation(**{**card, **fixed})) == 0
    assert probed(space=SearchSpace(preprocess=["squash"])) > probed()


def test_a_card_judges_parts_after_its_probes():
    s = situation(**{**SITUATIONS["a card, with the hub"], "budget": 4 * HOUR, "row_losses": losses})
    configs, history = asked(s)
    assert judged(configs)
    assert start_chain(history, s) != "squash"


def test_a_look_at_a_part_of_the_pictures_does_not_pay_for_a_net_that_its_probe_downloaded():
    s = situation(**{**SITUATIONS["a card, with the hub"], "budget": HOUR, "row_losses": losses})
    probe = frozen_net(s.pretrained[-1], 224, s, folds=(0,), head="linear")  # of 87 million parameters
    history = History([trial(probe)])
    looks = [probe.vary(size=n, preprocess=f"box:0,0,1,.{n}+squash", layers=1) for n in (JUDGED_AT, 80, 80, 80, 80, 64)]
    decoding = sum(decoding_seconds(s, cores_of(s), look.cached_size) for look in looks)
    seconds = sum(full_cost(look, s, [probe]) for look in looks) + decoding
    assert sum(full_cost(look, s) for look in looks) > seconds + 5 * download_seconds(probe, s)
    assert download_seconds(probe, s) > 15
    assert len([c for [c] in try_regions(history, s, seconds + 1)]) >= 6


def test_judging_keeps_to_its_share():
    s = large(budget=1200.0)
    configs, _ = asked(s)
    from autoclimb.search.cost import cost_of

    assert (
        sum(cost_of(c, s) for c in configs if c.preprocess.startswith("box:") and c.size in (64, 80))
        <= REGION_SHARE[s.device] * s.budget
    )


def test_a_part_is_seen_no_larger_than_what_it_is_cut_from():
    sizes = [seen_at(part, WHOLE) for part in cuts(WHOLE)]
    assert sizes == [80, 80, 80, 80, 64]
    configs, _ = asked(large())
    rounds = [c.size for c in configs if c.layers == 1 and c.head == "linear"]
    assert rounds[:6] == [96, *sizes]


@given(st.lists(st.integers(0, 4), max_size=12))
def test_cuts_of_cuts_are_parts_of_some_size_within_the_picture(path):
    box = WHOLE
    for step in path:
        parts = cuts(box)
        if not parts:
            return
        inner = parts[step % len(parts)]
        assert 0 <= box[0] <= inner[0] < inner[2] <= box[2] <= 1
        assert 0 <= box[1] <= inner[1] < inner[3] <= box[3] <= 1
        box = inner
