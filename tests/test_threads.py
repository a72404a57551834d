"""Threads follow the neighbours: fewer where waiting costs more than they bring, all again once it is quiet."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from nets import CPU, TINY, material_of

from autoclimb.learn import features, threads, trunk
from autoclimb.learn.features import features_of
from autoclimb.learn.material import Watch
from autoclimb.learn.threads import LONGEST_WAIT, Slowing, ThreadTuner, settle_threads
from autoclimb.learn.trial import run_trial


@dataclass
class Machine:
    """A machine whose rate depends on the threads and on who else is there."""

    rates: dict[int, float]  # steps a second by threads
    building: float = 0.0  # seconds that the first step with a number of threads takes longer
    time: float = 0.0
    used: list[int] = field(default_factory=list)
    built: set[int] = field(default_factory=set)

    def tuner(self, most, usual=0.0, threads=0):
        return ThreadTuner(most, lambda: self.time, self.used.append, threads, usual)

    def train(self, tuner, seconds):
        """Steps done in so many seconds."""
        start, steps = self.time, 0
        while self.time < start + seconds:
            first = tuner.threads not in self.built
            self.built.add(tuner.threads)
            self.time += 1 / self.rates[tuner.threads] + first * self.building
            tuner.after_step(1.0)
            steps += 1
        return steps


def test_on_a_quiet_machine_all_threads_are_used_and_the_look_at_fewer_costs_next_to_nothing():
    machine = Machine({2: 20.0, 1: 11.0})
    tuner = machine.tuner(2)
    steps = machine.train(tuner, 60)
    assert tuner.threads == 2
    assert steps > 0.97 * 20 * 60
    assert len(machine.used) == 3  # all, half, all


def test_a_training_as_fast_as_its_probe_looks_at_no_other_number_of_threads():
    machine = Machine({2: 20.0, 1: 11.0})
    machine.train(machine.tuner(2, usual=24.0), 60)
    assert machine.used == [2]


def test_a_training_far_slower_than_its_probe_tries_fewer_threads_at_once():
    machine = Machine({2: 4.0, 1: 9.0})
    tuner = machine.tuner(2, usual=20.0)
    assert machine.train(tuner, 10) > 0.9 * 9 * 10 - 5
    assert tuner.threads == 1


def test_first_steps_that_libraries_get_ready_for_are_not_taken_for_a_neighbours():
    machine = Machine({2: 3.0, 1: 2.0})
    tuner = machine.tuner(2, usual=20.0)
    machine.train(tuner, 0.6)
    machine.rates = {2: 20.0, 1: 11.0}
    machine.train(tuner, 60)
    assert machine.used == [2]


def test_where_threads_wait_for_each_other_one_is_used_and_more_again_once_it_is_quiet():
    machine = Machine({2: 20.0, 1: 11.0})
    tuner = machine.tuner(2)
    machine.train(tuner, 20)
    machine.rates = {2: 0.5, 1: 8.0}
    busy = machine.train(tuner, 120)
    assert tuner.threads == 1
    assert busy > 0.8 * 8 * 120
    machine.rates = {2: 20.0, 1: 11.0}
    machine.train(tuner, 2 * LONGEST_WAIT)
    assert tuner.threads == 2


def test_all_threads_are_used_soon_where_a_busier_minute_left_one_though_kernels_are_built_for_them():
    machine = Machine({2: 24.0, 1: 17.0}, building=0.3)
    tuner = machine.tuner(2, usual=27.0, threads=1)
    machine.train(tuner, 3.0)
    assert tuner.threads == 2


def test_a_neighbours_spell_costs_threads_no_longer_than_it_lasts():
    machine = Machine({2: 24.0, 1: 17.0})
    tuner = machine.tuner(2, usual=27.0)
    machine.train(tuner, 10.0)
    machine.rates = {2: 12.0, 1: 16.0}
    machine.train(tuner, 30.0)
    assert tuner.threads == 1
    machine.rates = {2: 24.0, 1: 17.0}
    machine.train(tuner, 8.0)
    assert tuner.threads == 2


def test_tries_of_threads_that_wait_for_each_other_are_rare():
    machine = Machine({2: 0.2, 1: 2.5})
    tuner = machine.tuner(2, usual=20.0)
    machine.train(tuner, 60.0)
    machine.used.clear()
    machine.train(tuner, 240.0)
    assert machine.used.count(2) <= 5


def test_a_training_that_begins_in_a_busy_minute_finds_out_at_once():
    machine = Machine({8: 1.0, 4: 3.0, 2: 9.0, 1: 6.0})
    tuner = machine.tuner(8)
    machine.train(tuner, 20)
    assert tuner.threads == 2


def test_of_many_threads_all_are_used_again_once_it_is_quiet():
    machine = Machine({8: 3.0, 4: 5.0, 2: 7.0, 1: 5.0})
    tuner = machine.tuner(8, usual=60.0)
    assert machine.train(tuner, 64) > 0.95 * 7 * 64
    assert tuner.threads == 2
    machine.rates = {8: 60.0, 4: 32.0, 2: 17.0, 1: 9.0}
    machine.train(tuner, 6 * LONGEST_WAIT)
    assert tuner.threads == 8


def slowed(seconds_of_steps):
    """How many times slower a training is after steps of so many seconds."""
    time = [0.0]
    slowing = Slowing(lambda: time[0])
    for seconds in seconds_of_steps:
        time[0] += seconds
        slowing.after_step(1.0)
    return slowing.times()


def test_a_training_is_slower_than_it_began_only_where_several_windows_are():
    assert slowed([]) == slowed([0.1] * 5) == slowed([0.1] * 100) == pytest.approx(1.0)
    assert slowed([0.1] * 60 + [30.0]) == pytest.approx(1.0), "one step that waited long"
    assert slowed([0.1] * 60 + [0.5] * 12) == pytest.approx(5.0)
    assert slowed([0.1] * 60 + [0.5] * 12 + [0.1] * 60) == pytest.approx(1.0)
    assert slowed([0.5] * 60 + [0.1] * 60) == 1.0, "faster than it began"


@pytest.mark.parametrize("busy", [1.0, 0.7])
def test_a_neighbour_that_costs_little_changes_nothing(busy):
    machine = Machine({2: 20.0, 1: 11.0})
    tuner = machine.tuner(2)
    machine.train(tuner, 10)
    machine.used.clear()
    machine.rates = {2: 20.0 * busy, 1: 11.0 * busy}
    machine.train(tuner, 60)
    assert not machine.used


def test_one_thread_is_left_alone():
    machine = Machine({1: 5.0})
    machine.train(machine.tuner(1), 60)
    assert machine.used == [1]


@pytest.mark.parametrize(
    ("rates", "threads"), [({4: 4, 2: 2, 1: 1}, 4), ({4: 1, 2: 3, 1: 9}, 1), ({4: 1, 2: 3, 1: 3}, 2)]
)
def test_a_probe_settles_on_the_threads_that_are_quickest(rates, threads):
    before = torch.get_num_threads()
    assert settle_threads(lambda: 1 / rates[torch.get_num_threads()], 4) == threads
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)


def test_kernels_that_the_first_step_builds_or_a_burst_that_it_meets_take_no_threads_away():
    before, rates, steps = torch.get_num_threads(), {4: 4, 2: 2, 1: 1}, []

    def first_is_slow():
        steps.append(torch.get_num_threads())
        return 9.0 if len(steps) == 1 else 1 / rates[steps[-1]]

    assert settle_threads(first_is_slow, 4) == torch.get_num_threads() == 4
    assert steps == [4, 2, 4]
    torch.set_num_threads(before)


@pytest.mark.parametrize("frozen", ["features", "maps at the cut"])
def test_features_do_not_go_on_with_the_threads_that_a_busier_minute_left(tmp_path, monkeypatch, frozen):
    before = torch.get_num_threads()
    monkeypatch.setattr(features, "usable_cores", lambda: 2)
    monkeypatch.setattr(trunk, "usable_cores", lambda: 2)
    monkeypatch.setattr(threads, "settle_threads", lambda step, most: (step(), torch.set_num_threads(most)))
    material, where = material_of(size=32), (tmp_path, CPU, Watch())
    try:
        torch.set_num_threads(1)
        if frozen == "features":
            features_of(TINY.vary(train="features", backbone="gradients", model_args=()), material.pixels, *where)
        else:
            list(trunk._maps_of_blocks(TINY.vary(size=32, top=1), iter([material.pixels]), 3, CPU))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_training_by_the_clock_says_how_many_threads_it_ended_with_and_one_by_epochs_changes_none(tmp_path):
    before = torch.get_num_threads()
    reply = run_trial(TINY.vary(seconds=0.4, epochs=0.0), material_of(), tmp_path, tmp_path, tmp_path, CPU)
    assert reply["facts"]["threads"] in range(1, 1000)
    torch.set_num_threads(before)
    other = tmp_path / "epochs"
    assert "threads" not in run_trial(TINY, material_of(), other, other, other, CPU)["facts"]
    assert torch.get_num_threads() == before
    assert np.isfinite(np.load(other / "test.npy")).all()
