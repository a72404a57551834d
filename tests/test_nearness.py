"""How far test pictures lie from train pictures beside held-out ones, and what is said of it."""

import numpy as np
import pytest
from folders import task

from autoclimb.data.folds import make_folds
from autoclimb.data.nearness import distances, farther, folds_as_far, nearness_of
from autoclimb.data.pixels import Pixels
from autoclimb.disk import write_array
from autoclimb.report.doubts import nearness_words
from autoclimb.run.setup import with_folds
from autoclimb.types import Event, Task


def clips(clips: int, frames: int, seed: int = 0) -> np.ndarray:
    """Frames `(clips, frames, 32, 32, 3)` that walk away from where their clip began."""
    r = np.random.default_rng(seed)
    first = r.normal(0, 40, (clips, 1, 8, 8, 3))
    walk = np.cumsum(r.normal(0, 8, (clips, frames, 8, 8, 3)), axis=1)
    return (128 + first + walk).repeat(4, 2).repeat(4, 3).clip(0, 255).astype(np.uint8)


def measured(train: np.ndarray, test: np.ndarray) -> dict:
    pixels = np.concatenate([train.reshape(-1, 32, 32, 3), test.reshape(-1, 32, 32, 3)])
    n = train.shape[0] * train.shape[1]
    fold_of = np.random.default_rng(1).permutation(n) % 5
    fold_of[:3] = -1
    bad = np.zeros(len(pixels), bool)
    bad[[5, -1]] = True
    return nearness_of(pixels, fold_of, bad)


def test_later_frames_of_the_train_pictures_clips_lie_farther():
    frames = clips(30, 14)
    near = measured(frames[:, :8], frames[:, 8:])
    assert near["verdict"] == "farther"
    assert near["test"] > near["held_out"]
    assert "too much" in nearness_words(near)


def test_frames_dealt_by_lot_lie_as_near_as_held_out_ones():
    frames = clips(30, 14).reshape(1, -1, 32, 32, 3)[:, np.random.default_rng(2).permutation(420)]
    near = measured(frames[:, :300], frames[:, 300:])
    assert near["verdict"] == "alike"
    assert nearness_words(near) == ""


def walked(frames: np.ndarray, early: int) -> tuple[Task, Pixels]:
    """A task whose train rows are the first frames of each clip, and its pictures."""
    train, test = frames[:, :early].reshape(-1, 32, 32, 3), frames[:, early:].reshape(-1, 32, 32, 3)
    names = tuple(f"t{i}" for i in range(len(test)))
    pixels = Pixels(np.concatenate([train, test]), np.zeros(len(train) + len(test), bool), "")
    return task(target=np.arange(len(train)) % 3, test_ids=names), pixels


def test_folds_keep_clips_together_until_held_out_frames_lie_as_far_as_test_frames():
    toy, pixels = walked(clips(40, 12), 10)
    events = []

    def dealt(of: Task) -> np.ndarray:
        return make_folds(of, 5, 0)

    after, fold_of, now = folds_as_far(toy, pixels, dealt, events.append)
    assert after.groups is not None
    assert all(len(set(fold_of[after.groups == group])) == 1 for group in np.unique(after.groups))
    before, again = (nearness_of(pixels.array, f, pixels.bad) for f in (dealt(toy), fold_of))
    assert before["verdict"] == "farther"
    assert {**again, "words": events[0].text} == now
    assert now["verdict"] == "alike"
    assert "share a fold" in events[0].text
    assert [note.kind for note in after.notes] == ["nearness"]


def test_folds_of_test_pictures_that_lie_as_near_stay():
    frames = clips(60, 14).reshape(1, -1, 32, 32, 3)[:, np.random.default_rng(2).permutation(840)]
    toy, pixels = walked(frames[:, :720], 500)
    after, fold_of, _ = folds_as_far(toy, pixels, lambda of: make_folds(of, 5, 0), lambda event: None)
    assert after is toy
    assert np.array_equal(fold_of, make_folds(toy, 5, 0))


def test_copies_of_train_pictures_lie_nearer():
    frames = clips(300, 1)
    near = measured(frames, frames[:100])
    assert near["verdict"] == "nearer"
    assert "too little" in nearness_words(near)


def test_too_few_pictures_give_no_verdict():
    frames = clips(30, 2)
    assert measured(frames, frames[:5, :1]) == {}
    assert nearness_words({}) == ""


def test_the_nearest_is_looked_for_outside_a_fold():
    likeness = np.eye(3, dtype=np.float32)[[0, 0]]
    assert distances(likeness, np.array([0, 1]), np.array([0, 1, 1])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("one", "other", "chance"), [((1, 2), (0, 0), 1.0), ((1, 1), (1, 1), 0.5), ((0, 3), (1, 2), 0.5)]
)
def test_the_chance_to_lie_farther_counts_ties_half(one, other, chance):
    assert farther(np.array(one, float), np.array(other, float)) == chance


def test_a_run_that_goes_on_takes_the_groups_that_it_began_with(tmp_path):
    toy, pixels = walked(clips(40, 12), 10)

    def dealt(of: Task) -> np.ndarray:
        return make_folds(of, 5, 0)

    first, fold_of = with_folds(tmp_path, toy, pixels, dealt, lambda event: None)
    write_array(tmp_path / "groups.npy", first.groups)
    write_array(tmp_path / "fold_of.npy", fold_of)
    other = Pixels(np.zeros_like(pixels.array), pixels.bad, "")  # which would give no groups
    events: list[Event] = []
    again, same = with_folds(tmp_path, toy, other, dealt, events.append)
    assert np.array_equal(same, fold_of)
    assert np.array_equal(again.groups, first.groups)
    assert [note.text for note in again.notes] == [event.text for event in events]
