"""Which pixels a run keeps on its disk, and how it reads those that do not fit."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_stored import photographs

from autoclimb.budget import Clock
from autoclimb.data.decoding import Decoding
from autoclimb.data.pixels import Costs, NoRoom, build_pixels
from autoclimb.data.stored import Vanished
from autoclimb.run import decoded as room
from autoclimb.run.decoded import Decoded, OutOfTime
from autoclimb.run.measurements import decoded_pictures

ROWS = 13
HEADER = 128


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tuple(photographs(tmp_path_factory.mktemp("files")))


def of(files, folder, limit, notes=None, **costs):
    """The pixels of a run within that limit; `costs` by what decoding is said to cost at any size."""
    heard = [] if notes is None else notes
    decoded = Decoded(folder, files, Clock(60), lambda e: heard.append(e.text), limit=limit)
    if costs:
        measured = Costs(**{"decode": 1e-3, "unpack": 1e-4, "packed_bytes": 300.0, **costs})
        for size in (8, 16, 24, 32, 48, 64):
            decoded.costs[Decoding(size, "squash")] = decoded.costs[Decoding(size, "pad")] = measured
    return decoded


def bytes_of(*sizes):
    return sum(ROWS * size * size * 3 + HEADER for size in sizes)


def kind(pixels):
    return pixels.path.suffix, pixels.array.shape[1]


def disk(folder):
    """Bytes of pixels; the json beside them are not counted."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".json")


def test_what_the_end_of_a_run_is_kept_for_is_not_decoded_into(files, tmp_path):
    clock = Clock(60.0, now=lambda: 50.0, start=0.0)
    decoded = Decoded(tmp_path / "px", files, clock, lambda event: None, reserve=lambda: 15.0)
    with pytest.raises(OutOfTime):
        decoded.at(16, "squash")
    assert replace(decoded, reserve=lambda: 5.0).at(16, "squash").path.exists()


def test_pictures_that_vanish_amid_a_run_are_named_and_decoded_once_they_are_back(tmp_path):
    own = tuple(photographs(tmp_path))  # one of which was never readable
    decoded = of(own, tmp_path / "px", bytes_of(16, 24))
    assert decoded.at(16, "squash").bad.sum() == 1
    Path(own[5]).rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(Vanished, match=f"1 picture can no longer be read: .*{Path(own[5]).name}"):
            decoded.at(24, "squash")
    (tmp_path / "away").rename(own[5])
    assert decoded.at(24, "squash").bad.sum() == 1
    assert decoded.at(24, "squash").array[5].std() > 0


def test_sizes_that_fit_are_arrays_and_none_takes_the_place_of_another(files, tmp_path):
    decoded = of(files, tmp_path / "px", bytes_of(16, 24))
    first, second = decoded.at(16, "squash"), decoded.at(24, "squash")
    assert (kind(first), kind(second)) == ((".npy", 16), (".npy", 24))
    third = decoded.at(32, "squash", rate=100.0)
    assert third.path.suffix != ".npy"
    assert first.path.exists()
    assert second.path.exists()
    assert decoded.at(16, "squash") is first
    assert disk(tmp_path / "px") <= bytes_of(16, 24)


def test_pixels_at_hand_are_those_that_are_opened_or_kept(files, tmp_path):
    decoded = of(files, tmp_path / "px", 1e9)
    assert decoded.decoded_already(16, "squash") is None
    first = decoded.at(16, "squash")
    assert decoded.decoded_already(16, "squash") is first
    assert kind(replace(decoded, opened={}).decoded_already(16, "squash")) == (".npy", 16)


def test_pixels_of_an_earlier_run_make_room(files, tmp_path):
    before = build_pixels(files, Decoding(24, "pad"), tmp_path / "px")
    decoded = of(files, tmp_path / "px", bytes_of(16, 24))
    assert kind(decoded.at(16, "squash")) == (".npy", 16)
    assert before.path.exists()
    assert kind(decoded.at(24, "squash")) == (".npy", 24)
    assert not before.path.exists()


@pytest.mark.parametrize(
    ("rate", "decode", "unpack", "expected"),
    [
        (10.0, 1e-3, 1e-4, ".sources"),  # 1 % of the net's work
        (1e4, 1e-3, 1e-5, ".jpegs"),  # ten times the net's work
        (0.0, 1e-3, 1e-5, ".jpegs"),  # nobody knows
    ],
)
def test_what_does_not_fit_is_read_as_suits_the_net(files, tmp_path, monkeypatch, rate, decode, unpack, expected):
    monkeypatch.setattr(room, "allowed_cores", lambda: 1)
    notes = []
    decoded = of(files, tmp_path / "px", bytes_of(16) + 60_000, notes, decode=decode, unpack=unpack)
    decoded.at(16, "squash")
    pixels = decoded.at(48, "squash", rate=rate)
    assert kind(pixels) == (expected, 48)
    seconds = {".sources": decode, ".jpegs": unpack}[expected]
    assert decoded.reading_seconds(48, "squash") == seconds
    assert decoded.reading_seconds(16, "squash") == 0
    assert any("decoded from their files" in note for note in notes) == (expected == ".sources")


def test_where_not_even_jpegs_fit_the_files_are_read_as_they_are(files, tmp_path):
    decoded = of(files, tmp_path / "px", bytes_of(16) + 100, decode=1e-3)
    decoded.at(16, "squash")
    assert decoded.reading_seconds(48, "squash") == 1e-3 / room.allowed_cores()
    assert kind(decoded.at(48, "squash", rate=1e6)) == (".sources", 48)
    assert disk(tmp_path / "px") <= bytes_of(16) + 100


def test_jpegs_that_turn_out_larger_than_a_sample_told_give_way_to_the_files(files, tmp_path):
    decoded = of(files, tmp_path / "px", bytes_of(16) + 4000, packed_bytes=10.0)
    decoded.at(16, "squash")
    assert kind(decoded.at(64, "squash", rate=1e6)) == (".sources", 64)
    assert disk(tmp_path / "px") <= bytes_of(16) + 4000


def test_a_smaller_size_is_read_from_the_pixels_of_a_larger_one(files, tmp_path):
    decoded = of(files, tmp_path / "px", bytes_of(8, 32), unpack=1e-7)
    decoded.at(8, "squash")
    larger = decoded.at(32, "squash")
    assert decoded.at(24, "squash", rate=1e6) is larger
    assert decoded.reading_seconds(24, "squash") == 0
    assert decoded.at(24, "pad", rate=10.0) is not larger


def test_the_first_look_is_kept_whatever_it_takes(files, tmp_path):
    notes = []
    first = of(files, tmp_path / "px", 10.0, notes).at(16, "squash")
    assert kind(first) == (".jpegs", 16)
    assert first.bad.sum() == 1
    assert any("even as JPEGs" in note for note in notes)
    sample_errs = of(files, tmp_path / "other", 3000.0, notes, packed_bytes=1.0).at(32, "squash")
    assert kind(sample_errs) == (".jpegs", 32)


def test_a_full_disk_is_no_room(files, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(NoRoom):
        of(files, tmp_path / "px", math.inf).at(16, "squash")


@given(
    limit=st.integers(3_000, 60_000),
    asked=st.lists(st.tuples(st.sampled_from([8, 16, 24, 32, 48]), st.sampled_from([0.0, 20.0, 1e5])), max_size=5),
)
@example(limit=bytes_of(8, 24) - 128, asked=[(24, 0.0)])
@settings(max_examples=15, deadline=None)
def test_whatever_is_asked_for_the_disk_is_not_exceeded_and_nothing_goes_that_is_in_use(
    files, tmp_path_factory, limit, asked
):
    folder = tmp_path_factory.mktemp("px")
    decoded = of(files, folder, limit)
    opened = [decoded.at(8, "squash")]
    for size, rate in asked:
        opened.append(decoded.at(size, "squash", rate=rate))
        assert opened[-1].array.shape[1] >= size
        assert disk(folder) <= limit
        assert all(pixels.path.exists() for pixels in opened)


def test_a_page_shows_pictures_from_jpegs_too(files, tmp_path):
    build_pixels(files, Decoding(16, "squash"), tmp_path / "cache", jpegs=True)
    pictures = decoded_pictures(tmp_path, ROWS - 3, 3)
    assert pictures is not None
    assert pictures[2].shape == (16, 16, 3)
    assert decoded_pictures(tmp_path, ROWS, 3) is None


def test_a_run_goes_on_with_what_it_built(files, tmp_path):
    decoded = of(files, tmp_path / "px", bytes_of(16) + 60_000)
    decoded.at(16, "squash")
    jpegs = decoded.at(48, "squash")
    stamp = jpegs.path.stat().st_mtime_ns
    again = replace(decoded, opened={})
    again.at(16, "squash")
    assert again.at(48, "squash").path.stat().st_mtime_ns == stamp
