import io

import numpy as np
import pytest
from folders import task
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from autoclimb.data.duplicates import (
    LARGE,
    duplicate_facts,
    duplicate_words,
    find_duplicates,
    joined,
    joined_duplicates,
)
from autoclimb.data.folds import make_folds
from autoclimb.data.pixels import Pixels

SIDE = 64


def scene(seed, side=SIDE):
    """A picture of large and small soft patches, the large ones stronger, as in photographs."""
    random = np.random.default_rng(seed)
    large, little = (
        Image.fromarray(random.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        for n in (4, 9)
    )
    return Image.blend(large, little, 0.3)


def saved(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue()))


COPIES = {
    "the same": lambda image: image,
    "saved at low quality": lambda image: saved(image, 30),
    "made smaller and larger": lambda image: image.resize((40, 40)).resize((SIDE, SIDE)),
    "a little lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "moved by a pixel": lambda image: image.crop((1, 1, SIDE, SIDE)).resize((SIDE, SIDE)),
}


def stack(images):
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_among_other_pictures(copy):
    images = [scene(i) for i in range(60)]
    images += [COPIES[copy](images[i]) for i in (3, 17)]
    duplicates = find_duplicates(stack(images))
    assert duplicates.cluster_of[60:].tolist() == [3, 17]
    assert duplicates.clusters == 2


def digit(seed):
    """A thick number on white, at another place and of another size each time."""
    random = np.random.default_rng(seed)
    image = Image.new("L", (SIDE, SIDE), 255)
    at = random.uniform(4, 24, 2)
    ImageDraw.Draw(image).text(at, str(seed % 10), fill=0, font_size=float(random.uniform(24, 40)))
    return image


def cell(seed):
    """A solar cell: the same bars on every picture, spots of its own."""
    random = np.random.default_rng(seed)
    pixels = np.full((SIDE, SIDE), 150.0) + random.normal(0, 12, (16, 16)).repeat(4, 0).repeat(4, 1)
    pixels[10:14] = pixels[30:34] = pixels[50:54] = 30
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("draw", [digit, cell])
def test_pictures_of_one_making_are_not_taken_for_each_other(draw):
    pixels = stack(draw(i) for i in range(300))[..., None]
    copies = np.concatenate([pixels, pixels[:2]])
    duplicates = find_duplicates(copies)
    assert duplicates.cluster_of[-2:].tolist() == [0, 1]
    assert duplicates.clusters <= 6


def test_where_likeness_says_nothing_of_labels_only_exact_copies_count():
    random = np.random.default_rng(0)
    base = stack([scene(i) for i in range(40)]).repeat(3, 0).astype(int)
    pixels = (base + random.integers(-3, 4, base.shape)).clip(0, 255).astype(np.uint8)
    pixels[1] = pixels[0]
    labels = random.integers(0, 4, len(pixels))
    assert find_duplicates(pixels).clusters == 40
    duplicates = find_duplicates(pixels, labels=labels)
    assert duplicates.cluster_of[1] == 0
    assert duplicates.clusters == 1
    assert "look alike" in duplicates.note
    agreeing = find_duplicates(pixels, labels=np.repeat(np.arange(40) % 4, 3))
    assert (agreeing.clusters, agreeing.note) == (40, "")


def test_a_picture_that_is_everywhere_makes_no_giant_group():
    images = [scene(i) for i in range(100)]
    duplicates = find_duplicates(stack([*images, *[images[0]] * (LARGE + 30), images[1]]))
    assert np.bincount(duplicates.cluster_of).max() == 2
    assert duplicates.cluster_of[-1] == 1
    assert "not kept together" in duplicates.note


def test_blank_and_unreadable_pictures_are_no_near_duplicates():
    random = np.random.default_rng(0)
    blank = random.integers(250, 256, (20, SIDE, SIDE, 3)).astype(np.uint8)
    grey = np.full((20, SIDE, SIDE, 3), 128, np.uint8)
    bad = np.arange(60) >= 40
    duplicates = find_duplicates(np.concatenate([stack([scene(i) for i in range(20)]), blank, grey]), bad)
    assert duplicates.clusters == 0


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [16, 32, 96])
def test_any_size_and_number_of_channels_will_do(side, channels):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (30, side, side, channels), dtype=np.uint8)
    pixels[7] = pixels[2]
    assert find_duplicates(pixels).cluster_of[7] == 2


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_handful_of_pictures_will_do(rows):
    pixels = stack([scene(0)] * 2)[:rows]
    assert find_duplicates(pixels).cluster_of.tolist() == [0, 0][:rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_joining_pairs_gives_the_first_row_of_what_hangs_together(pairs):
    want = list(range(20))
    for a, b in pairs:
        low, high = sorted((want[a], want[b]))
        want = [low if w == high else w for w in want]
    assert joined(20, np.array(pairs, np.int64).reshape(-1, 2)).tolist() == want


def with_copies(kind="multiclass", groups=None):
    """A task of 40 train and 10 test pictures: train 30 is train 4 with another label, 31 is 5, test 0 is train 6."""
    images = [scene(i) for i in range(50)]
    images[30], images[31], images[40] = saved(images[4], 60), images[5], saved(images[6], 60)
    pixels = stack(images)
    target = np.arange(40) % 2
    target[31] = target[5]
    target[30] = 1 - target[4]
    names = tuple(f"t{i}" for i in range(10))
    values = {"multiclass": target, "regression": target.astype(float), "multilabel": np.eye(2, dtype=np.uint8)[target]}
    toy = task(kind, values[kind], ("a", "b"), test_ids=names, groups=groups)
    return toy, Pixels(pixels, np.zeros(50, bool), "")


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_copies_share_a_fold_and_are_told_of(kind):
    toy, pixels = with_copies(kind)
    events = []
    after = joined_duplicates(toy, pixels, events.append)
    fold_of = make_folds(after, 5, 0)
    assert fold_of[30] == fold_of[4]
    assert fold_of[31] == fold_of[5]
    assert np.bincount(fold_of).tolist() == pytest.approx([8] * 5, abs=2)
    words = " ".join(event.text for event in events)
    assert "2 train pictures" in words
    assert "1 test pictures" in words
    assert "different targets: 1 (4 = 30)" in words
    assert events[-1].facts["copies"]["conflicting"] == [["4", "30"]]
    again = joined_duplicates(toy, pixels, events.append)
    assert np.array_equal(again.groups, after.groups)


def test_copies_join_the_groups_there_were():
    toy, pixels = with_copies(groups=np.arange(40) // 4)
    after = joined_duplicates(toy, pixels, lambda event: None)
    assert len(set(after.groups[[4, 5, 6, 7, 28, 29, 30, 31]].tolist())) == 1
    assert len(np.unique(after.groups)) == 9


def test_without_copies_a_task_is_left_as_it_was():
    toy = task(target=np.arange(6) % 3)
    pixels = Pixels(stack([scene(i) for i in range(9)]), np.zeros(9, bool), "")
    events = []
    assert joined_duplicates(toy, pixels, events.append).groups is None
    assert not events
    assert duplicate_words(duplicate_facts(toy, find_duplicates(pixels.array))) == []
