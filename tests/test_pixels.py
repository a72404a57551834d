import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pydicom
import pytest
import tifffile
from folders import picture
from PIL import Image

from autoclimb.data.decoding import Decoding, decode, sizes_of
from autoclimb.data.files.dicom import pixels_in
from autoclimb.data.pixels import (
    blocks_with_threads,
    build_pixels,
    counts_to_try,
    forget_unfinished_pixels,
    open_pixels,
)
from autoclimb.data.sources import channels, inside, pictures
from autoclimb.data.steps import GREY
from autoclimb.errors import Mistake

FITTED = ("squash", "pad", "crop", "tiles:1")


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def flat(mode: str, colour: object, size: tuple[int, int] = (20, 10)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


@pytest.mark.parametrize("preprocess", FITTED)
@pytest.mark.parametrize("size", [(40, 20), (7, 31), (1, 1), (300, 2)])
def test_every_preprocess_makes_a_square_of_any_picture(tmp_path, preprocess, size):
    decoded = decode(str(picture(tmp_path / "p.png", size)), Decoding(16, preprocess))
    assert decoded is not None
    assert (decoded.shape, decoded.dtype) == ((16, 16, 3), np.uint8)


def halves(tmp_path) -> str:
    """A 40x20 picture: 10 red columns, 20 green, 10 blue."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :10, 0], pixels[:, 10:30, 1], pixels[:, 30:, 2] = 255, 255, 255
    return saved(tmp_path / "h.png", Image.fromarray(pixels))


def test_squash_keeps_everything_pad_the_aspect_and_crop_the_middle(tmp_path):
    file = halves(tmp_path)
    squashed, padded, cropped = (decode(file, Decoding(20, name)) for name in ("squash", "pad", "crop"))
    assert squashed[10, [1, 10, 18]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert padded[[0, 10, 19], 1].tolist() == [[255, 0, 0]] * 3
    assert (cropped == [0, 255, 0]).all()


@pytest.mark.parametrize(
    ("name", "image", "options", "wanted"),
    [
        ("grey.png", flat("L", 77), {}, 77),
        ("bits.png", flat("1", 1), {}, 255),
        ("palette.png", flat("RGB", (10, 10, 10)).quantize(4), {}, 10),
        ("alpha.png", flat("RGBA", (0, 0, 0, 0)), {}, 255),
        ("half.png", flat("LA", (0, 128)), {}, 127),
        ("hole.gif", flat("P", 0), {"transparency": 0}, 255),
        ("hole.png", flat("L", 9), {"transparency": 9}, 255),
        ("cmyk.jpg", flat("CMYK", (0, 0, 0, 0)), {}, 255),
        ("deep.png", Image.fromarray(np.full((10, 20), 65535, np.uint16)), {}, 255),
        ("twelve.tif", Image.fromarray(np.full((10, 20), 4095, np.uint16)), {}, 255),
        ("dark.tif", Image.fromarray(np.zeros((10, 20), np.uint16)), {}, 0),
        ("float.tif", Image.fromarray(np.zeros((10, 20), np.float32)), {}, 0),
        ("ycc.jpg", flat("YCbCr", (50, 128, 128)), {}, 50),
        ("upper.PNG", flat("RGB", (3, 3, 3)), {"format": "PNG"}, 3),
        ("web.webp", flat("RGB", (200, 200, 200)), {"lossless": True}, 200),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_all_kinds_of_pictures_become_rgb(tmp_path, name, image, options, wanted):
    decoded = decode(saved(tmp_path / name, image, **options), Decoding(8, "squash"))
    assert decoded is not None
    assert abs(decoded.astype(int) - wanted).max() <= 2


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    file = saved(tmp_path / "r.png", Image.fromarray(pixels), exif=exif)
    decoded = decode(file, Decoding(8, "squash"))
    assert decoded[0].min() == 255
    assert decoded[-1].max() == 0


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [flat("L", 250), flat("L", 5)]
    file = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert decode(file, Decoding(8, "squash")).min() > 240


def test_fine_stripes_turn_grey_when_shrunk(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    file = saved(tmp_path / "s.png", Image.fromarray(stripes))
    for preprocess in FITTED:
        assert np.ptp(decode(file, Decoding(16, preprocess)).astype(int)) < 60


def bomb() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def encoded(form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, form)
    return out.getvalue()


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"<html>404</html>",
    "half.jpg": encoded("JPEG")[:900],
    "half.png": encoded("PNG")[:900],
    "half.gif": encoded("GIF")[:300],
    "head.tif": encoded("TIFF")[:60],
    "bomb.png": bomb(),
    "crc.png": encoded("PNG").replace(b"IDAT", b"IDAX"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_no_picture(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    assert decode(str(tmp_path / name), Decoding(8, "squash")) is None


def test_no_file_is_no_picture(tmp_path):
    assert decode("", Decoding(8, "pad")) is None
    assert decode(str(tmp_path / "absent.jpg"), Decoding(8, "pad")) is None
    assert decode(str(tmp_path), Decoding(8, "pad")) is None


def test_pixels_keep_the_order_and_mark_bad_rows_grey(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(30)]
    files[4], files[7] = "", str(tmp_path / "absent.png")
    calls: list[tuple[int, int]] = []
    pixels = build_pixels(
        files, Decoding(8, "squash"), tmp_path / "px", lambda done, total: calls.append((done, total)), threads=4
    )
    assert np.flatnonzero(pixels.bad).tolist() == [4, 7]
    assert (pixels.array[4] == GREY).all()
    assert all((pixels.array[i] == decode(files[i], Decoding(8, "squash"))).all() for i in range(30) if i not in (4, 7))
    assert calls[-1] == (30, 30)
    assert isinstance(pixels.array, np.memmap)
    opened = open_pixels(pixels.path)
    assert (opened.array == pixels.array).all()
    assert (opened.bad == pixels.bad).all()


def test_more_rows_than_a_chunk_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.data.pixels.CHUNK_BYTES", 8 * 8 * 3 * 4)
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(10)]
    pixels = build_pixels(files, Decoding(8, "pad"), tmp_path / "px", threads=2)
    assert all((pixels.array[i] == decode(files[i], Decoding(8, "pad"))).all() for i in range(10))


@pytest.mark.parametrize("chunk", [8, 1000])  # pictures of 1,400 px come in blocks of 8
def test_a_large_set_is_decoded_by_as_many_threads_as_are_quickest_and_no_row_is_lost(monkeypatch, chunk):
    monkeypatch.setattr("autoclimb.data.pixels.allowed_cores", lambda: 16)
    assert counts_to_try(100) == [16], "a small set is decoded before anything was found out"
    assert counts_to_try(5000) == [16, 4, 1]
    clock, rows, used = [0.0], [], []
    for block, pool in blocks_with_threads(5000, chunk, counts_to_try(5000), lambda: clock[0]):
        used.append(pool._max_workers)
        clock[0] += len(block) * {16: 3.0, 4: 1.0, 1: 2.0}[used[-1]] + 1000 * (not rows)
        rows += block
        assert len(block) <= chunk
    assert rows == list(range(5000))
    assert used[:4] == [16, 16, 4, 1]
    assert set(used[4:]) == {4}


def test_an_array_decoded_by_several_numbers_of_threads_is_that_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.data.pixels.WORTH_TRYING", 10)
    monkeypatch.setattr("autoclimb.data.pixels.WARMING", 3)
    monkeypatch.setattr("autoclimb.data.pixels.TRIED", 4)
    monkeypatch.setattr("autoclimb.data.pixels.allowed_cores", lambda: 6)
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(23)]
    pixels = build_pixels(files, Decoding(8, "pad"), tmp_path / "px")
    assert (pixels.array == build_pixels(files, Decoding(8, "pad"), tmp_path / "one", threads=1).array).all()
    assert open_pixels(pixels.path).path == pixels.path
    assert build_pixels(files, Decoding(8, "pad"), tmp_path / "px").note == "", "each block is checked"


def test_pixels_are_decoded_once_and_again_when_a_file_changes(tmp_path):
    file = picture(tmp_path / "p.png", seed=0)
    first = build_pixels([str(file)], Decoding(8, "squash"), tmp_path / "px")
    stamp = first.path.stat().st_mtime_ns
    assert build_pixels([str(file)], Decoding(8, "squash"), tmp_path / "px").path.stat().st_mtime_ns == stamp
    assert build_pixels([str(file)], Decoding(8, "crop"), tmp_path / "px").path != first.path
    picture(file, (9, 9), seed=1)
    again = build_pixels([str(file)], Decoding(8, "squash"), tmp_path / "px")
    assert again.path != first.path
    assert (again.array != first.array).any()


def test_an_interrupted_build_leaves_nothing(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pixels(files, Decoding(8, "squash"), tmp_path / "px", stop)
    assert not list((tmp_path / "px").iterdir())


def test_an_array_without_its_json_is_built_again(tmp_path):
    file = str(picture(tmp_path / "p.png"))
    pixels = build_pixels([file], Decoding(8, "squash"), tmp_path / "px")
    pixels.path.with_suffix(".json").unlink()
    pixels.path.write_bytes(b"half")
    assert build_pixels([file], Decoding(8, "squash"), tmp_path / "px").array.shape == (1, 8, 8, 3)


@pytest.mark.parametrize("damage", ["a bit", "the end", "everything", "the json", "no numbers"])
def test_damaged_pixels_are_found_said_and_decoded_again(tmp_path, monkeypatch, damage):
    monkeypatch.setattr("autoclimb.data.pixels.CHUNK_BYTES", 8 * 8 * 3 * 4)
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(10)]
    pixels = build_pixels(files, Decoding(8, "squash"), tmp_path / "px", threads=2)
    was, path = np.array(pixels.array), pixels.path
    data = bytearray(path.read_bytes())
    if damage == "a bit":
        data[len(data) // 2] ^= 1
    path.write_bytes({"the end": data[:-50], "everything": b""}.get(damage, bytes(data)))
    if damage == "the json":
        path.with_suffix(".json").write_text("{")
    if damage == "no numbers":
        path.with_suffix(".json").write_text(path.with_suffix(".json").read_text().replace('"checks"', '"cheques"'))
    again = build_pixels(files, Decoding(8, "squash"), tmp_path / "px")
    assert (again.array == was).all()
    assert path.name in again.note
    assert not build_pixels(files, Decoding(8, "squash"), tmp_path / "px").note


def test_beyond_the_limit_the_least_recently_used_pixels_go(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(4)]
    folder, one = tmp_path / "px", 4 * 8 * 8 * 3 + 128  # bytes of pixels and of their header
    first, second, third = (build_pixels(files, Decoding(8, name), folder) for name in ("squash", "pad", "crop"))
    (folder / "features-0123456789abcdef.npy").write_bytes(bytes(10 * one))
    for age, pixels in enumerate((second, first, third)):  # the second is the oldest
        os.utime(pixels.path.with_suffix(".json"), (1000 + age, 1000 + age))
    build_pixels(files, Decoding(8, "squash"), folder)  # used now
    build_pixels(files, Decoding(8, "clahe"), folder, limit=3 * one)
    assert not second.path.exists()
    assert not second.path.with_suffix(".json").exists()
    assert first.path.exists()
    assert third.path.exists()
    assert (second.array == second.array).all(), "who holds pixels can read them on"
    build_pixels(files, Decoding(8, "trim"), folder, limit=one / 2)
    assert len(list(folder.glob("*.json"))) == 1, "pixels larger than the limit are built all the same"
    assert (folder / "features-0123456789abcdef.npy").exists()


def test_a_full_disk_is_emptied_of_other_pixels_first(tmp_path, monkeypatch):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(4)]
    other = build_pixels(files, Decoding(8, "squash"), tmp_path / "px")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0 if other.path.exists() else 10**6))
    assert build_pixels(files, Decoding(8, "pad"), tmp_path / "px").path.exists()
    assert not other.path.exists()


def test_what_a_killed_build_left_is_deleted_and_nothing_else(tmp_path):
    pixels = build_pixels([str(picture(tmp_path / "p.png"))], Decoding(8, "squash"), tmp_path / "px")
    half = pixels.path.with_name(pixels.path.name.replace("squash", "pad"))
    for left in (
        half,
        pixels.path.with_name(f".part-77-{pixels.path.name}"),
        tmp_path / "px" / "features-0123456789abcdef.npy",
    ):
        left.write_bytes(b"half")
    forget_unfinished_pixels(tmp_path / "px")
    assert sorted(p.name[:6] for p in (tmp_path / "px").iterdir()) == ["featur", "squash", "squash"]
    forget_unfinished_pixels(tmp_path / "no such folder")


def test_no_files_make_no_rows(tmp_path):
    assert build_pixels([], Decoding(8, "squash"), tmp_path / "px").array.shape == (0, 8, 8, 3)


def test_an_unknown_preprocess_answers_with_the_menu(tmp_path):
    with pytest.raises(Mistake, match="squash, pad, crop, tiles"):
        build_pixels([], Decoding(8, "stretch"), tmp_path)


def test_a_full_disk_is_said_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(Mistake, match="do not fit"):
        build_pixels([""] * 100, Decoding(8, "squash"), tmp_path / "px")


def test_sizes_are_read_from_headers(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", (10 + i, 5))) for i in range(6)]
    (tmp_path / "text.png").write_text("x")
    assert sizes_of([*files, "", str(tmp_path / "text.png")]) == [(10 + i, 5, "RGB") for i in range(6)]
    assert len(sizes_of(files, limit=3)) == 3


# --- several pictures, channels, arrays, DICOM, deep numbers ----------------------------------------------------------


def filed(tmp_path: Path, *greys: int) -> list[str]:
    """Files of 20x20 pictures of these greys."""
    return [saved(tmp_path / f"{i}-{grey}.png", flat("L", grey, (20, 20))) for i, grey in enumerate(greys)]


def test_two_pictures_of_an_item_lie_side_by_side_and_keep_their_aspect(tmp_path):
    decoded = decode(pictures(filed(tmp_path, 10, 200)), Decoding(16, "squash"))
    assert decoded.shape == (16, 16, 3)
    assert decoded[4:12, :8].max() == 10
    assert decoded[4:12, 8:].min() == 200
    assert (decoded[:4] == GREY).all()
    assert (decoded[12:] == GREY).all()


@pytest.mark.parametrize(
    ("count", "across"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4), (40, 4)]
)
def test_pictures_of_an_item_fill_a_square_grid_and_of_too_many_an_even_share(tmp_path, count, across):
    greys = [round(i * 100 / max(count - 1, 1)) for i in range(count)]
    decoded = decode(pictures(filed(tmp_path, *greys)), Decoding(48, "squash"))
    tile = 48 // across
    top = (48 - -(-min(count, 16) // across) * tile) // 2
    assert decoded[top + tile // 2, tile // 2, 0] == greys[0]
    last = min(count, 16) - 1
    assert decoded[top + last // across * tile + tile // 2, last % across * tile + tile // 2, 0] == greys[-1]


def test_an_item_is_read_while_one_of_its_pictures_is(tmp_path):
    one, two = filed(tmp_path, 10, 200)
    decoded = decode(pictures([one, "absent.png", two]), Decoding(16, "squash"))
    assert (decoded[:8, :8] == 10).all()
    assert (decoded[:8, 8:] == GREY).all()
    assert decode(pictures(["absent.png", ""]), Decoding(16, "squash")) is None


@pytest.mark.parametrize("preprocess", FITTED)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_channels_from_places_of_their_own_are_stacked_in_order(tmp_path, preprocess, count):
    decoded = decode(channels(filed(tmp_path, *range(10, 10 + count))), Decoding(8, preprocess, count))
    assert (decoded == np.arange(10, 10 + count)).all()
    assert decoded.shape == (8, 8, count)


def test_a_channel_that_is_missing_makes_a_picture_unreadable(tmp_path):
    assert decode(channels([*filed(tmp_path, 1, 2), "absent.png"]), Decoding(8, "squash", 3)) is None


def test_a_stain_saved_in_its_colour_is_as_bright_as_in_grey(tmp_path):
    blue = saved(tmp_path / "b.png", flat("RGB", (0, 0, 90)))
    assert (decode(channels([blue, *filed(tmp_path, 7)]), Decoding(8, "squash", 2)) == [90, 7]).all()


@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "I;16", "LA"])
def test_any_picture_gives_any_number_of_channels(tmp_path, wanted, mode):
    file = saved(
        tmp_path / "x.tif", flat(mode, 0 if len(mode) != 2 else (0, 255)) if mode != "P" else flat("RGB", 0).quantize(4)
    )
    assert decode(file, Decoding(8, "pad", wanted)).shape == (8, 8, wanted)


def array_file(tmp_path: Path, array: np.ndarray, name: str = "x.npy") -> str:
    np.save(tmp_path / name, array)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((20, 20), 3), ((20, 20), 1), ((20, 20, 3), 3), ((3, 20, 20), 3), ((6, 20, 20), 6), ((20, 20, 6), 6),
     ((4, 20, 20), 4), ((2, 20, 20), 2), ((400,), 1), ((1200,), 3), ((6, 27, 26), 3), ((30, 20, 20), 1),
     ((5, 20, 20, 3), 3)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.int16, np.uint16, bool])
def test_arrays_of_every_layout_and_type_become_pictures(tmp_path, shape, wanted, dtype):
    array = np.random.default_rng(0).integers(0, 2 if dtype is bool else 200, shape).astype(dtype)
    decoded = decode(array_file(tmp_path, array), Decoding(24, "squash", wanted))
    assert decoded.shape == (24, 24, wanted)
    assert np.ptp(decoded) > 50
    zipped = tmp_path / "x.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    assert (decode(inside(str(zipped), "x.npy"), Decoding(24, "squash", wanted)) == decoded).all()


def test_channels_of_an_array_stay_apart(tmp_path):
    array = np.zeros((6, 20, 20), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None] * 10
    assert (decode(array_file(tmp_path, array), Decoding(8, "crop", 6)) == np.arange(6) * 10).all()
    stacked = decode(array_file(tmp_path, array), Decoding(24, "crop", 3))  # six of one channel are six pictures
    assert stacked[8, [3, 12, 20], 0].tolist() == [0, 10, 20]


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_all_bands_of_a_tiff_are_read(tmp_path, bands, dtype, planar):
    array = np.zeros((20, 30, bands), dtype) + np.arange(bands).astype(dtype) * 10
    written = array if planar == "contig" else np.moveaxis(array, 2, 0)
    tifffile.imwrite(tmp_path / "x.tif", written, planarconfig=planar, photometric="minisblack")
    decoded = decode(str(tmp_path / "x.tif"), Decoding(8, "squash", bands, ((0.0, 255.0),)))
    assert (decoded == np.arange(bands) * 10).all()


def test_sixteen_bit_colours_keep_their_depth(tmp_path):
    array = np.zeros((20, 20, 3), np.uint16) + np.array([1000, 2000, 4000], np.uint16)  # BGR for OpenCV
    cv2.imwrite(str(tmp_path / "x.png"), array)
    tifffile.imwrite(tmp_path / "x.tif", array[..., ::-1], photometric="rgb")
    for name in ("x.png", "x.tif"):
        decoded = decode(str(tmp_path / name), Decoding(8, "squash", 3, ((0.0, 4000.0),)))
        assert decoded[0, 0].tolist() == [255, 128, 64]


def test_one_range_is_learnt_for_a_set_and_kept_for_items_to_come(tmp_path):
    draw = np.random.default_rng(0)
    rows = draw.uniform(-30, 10, (40, 12, 12)).astype(np.float32)
    rows[5] = rows[5] / 4  # a dim item stays dim
    rows[6, 0, 0] = 1e6  # a hot pixel does not darken the rest
    file = array_file(tmp_path, rows)
    sources = [inside(file, i) for i in range(40)]
    pixels = build_pixels(sources, Decoding(12, "squash", 1), tmp_path / "px")
    ((low, high),) = pixels.ranges
    assert -31 < low < -28
    assert 8 < high < 11
    assert np.ptp(pixels.array[5]) < 100
    assert np.ptp(pixels.array[7]) > 240
    assert open_pixels(pixels.path).ranges == pixels.ranges
    one = build_pixels(sources[5:6], Decoding(12, "squash", 1, ranges=pixels.ranges), tmp_path / "px2")
    assert (one.array[0] == pixels.array[5]).all()
    alone = build_pixels(sources[5:6], Decoding(12, "squash", 1), tmp_path / "px2")
    assert alone.path != one.path
    assert np.ptp(alone.array[0]) > 240


def test_each_channel_has_a_range_of_its_own(tmp_path):
    rows = [{"a": [float(i)] * 2 + [9.0] * 2, "b": [1000.0 * i] * 2 + [9000.0] * 2} for i in range(10)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    file = str(tmp_path / "t.json")
    sources = [channels([inside(file, i, "a"), inside(file, i, "b")]) for i in range(10)]
    pixels = build_pixels(sources, Decoding(8, "squash", 2), tmp_path / "px")
    assert len(pixels.ranges) == 2
    assert (pixels.array[..., 0] == pixels.array[..., 1]).all()
    assert not pixels.bad.any()


def test_plain_pictures_need_no_range(tmp_path):
    assert build_pixels(filed(tmp_path, 3, 4), Decoding(8, "squash"), tmp_path / "px").ranges == ()


def dicom_file(path: Path, array: np.ndarray, **tags: object) -> str:
    """A DICOM file of whole numbers, `(h, w)`, `(h, w, 3)` or frames `(n, h, w)`."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    coloured = array.ndim == 3 and array.shape[2] == 3
    if array.ndim == 3 and not coloured:
        dataset.NumberOfFrames = len(array)
    dataset.SamplesPerPixel = 3 if coloured else 1
    dataset.PhotometricInterpretation = "RGB" if coloured else "MONOCHROME2"
    if coloured:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = array.shape[:2] if coloured else array.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 8 * array.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


RAMP = np.linspace(0, 4000, 400).astype(np.int16).reshape(20, 20)


def test_a_dicom_window_decides_what_is_shown(tmp_path):
    window = {"WindowCenter": 40, "WindowWidth": 80, "RescaleSlope": 1, "RescaleIntercept": -1000}
    values = np.full((20, 20), 1000, np.int16)
    values[:, 10:] = 1040
    decoded = decode(dicom_file(tmp_path / "x.dcm", values, **window), Decoding(20, "squash"))
    assert decoded[0, 0, 0] < 5
    assert abs(int(decoded[0, 19, 0]) - 129) < 3


def test_inverted_dicom_is_turned_round_and_without_a_window_its_range_is_shown(tmp_path):
    plain = decode(dicom_file(tmp_path / "x.dcm", RAMP, Modality="MR"), Decoding(20, "squash"))
    inverted = decode(
        dicom_file(tmp_path / "y.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"), Decoding(20, "squash")
    )
    assert plain.min() == 0
    assert plain.max() == 255
    assert (inverted == 255 - plain).all()
    assert (
        plain == decode(dicom_file(tmp_path / "z.dcm", RAMP // 4), Decoding(20, "squash"))
    ).mean() > 0.4  # MR has no unit


def test_ct_without_a_window_gets_the_range_of_its_set(tmp_path):
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    files = [dicom_file(tmp_path / f"{i}.dcm", RAMP // (4 if i == 3 else 1), **ct) for i in range(8)]
    pixels = build_pixels(files, Decoding(20, "squash"), tmp_path / "px")
    assert len(pixels.ranges) == 1
    assert pixels.array[3].max() < 80
    assert pixels.array[4].max() == 255


def test_dicom_in_colour_in_frames_in_8_bits_and_without_an_ending(tmp_path):
    colour = np.zeros((20, 20, 3), np.uint8) + np.array([1, 20, 200], np.uint8)
    assert (decode(dicom_file(tmp_path / "c.dcm", colour), Decoding(8, "squash")) == [1, 20, 200]).all()
    frames = np.zeros((9, 20, 20), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None]
    decoded = decode(dicom_file(tmp_path / "frames", frames), Decoding(24, "squash"))
    assert decoded[4::8, 4::8, 0].ravel().tolist() == list(range(9))


def test_a_dicom_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    file = dicom_file(tmp_path / "x.dcm", RAMP)
    raw = Path(file).read_bytes()
    claimed = raw.replace(
        struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 20), struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 60000)
    )
    claimed = claimed.replace(
        struct.pack("<HH2sHH", 0x28, 0x11, b"US", 2, 20), struct.pack("<HH2sHH", 0x28, 0x11, b"US", 2, 60000)
    )
    assert claimed != raw
    with pytest.raises(ValueError, match="bomb"):
        pixels_in(claimed)
    Path(file).write_bytes(claimed)
    assert decode(file, Decoding(8, "squash")) is None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_in_an_archive_is_no_picture_either(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, BROKEN[name])
    assert decode(inside(str(tmp_path / "a.zip"), name), Decoding(8, "squash")) is None
    assert decode(inside(str(tmp_path / "a.zip"), "../x.jpg"), Decoding(8, "squash")) is None


@pytest.mark.parametrize("ending", ["npy", "npz", "dcm", "tif", "json", "bson", "zip", "7z", "tar.gz"])
@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c", b"II*\0", bytes(200)]
)
def test_a_broken_container_is_no_picture(tmp_path, ending, data):
    (tmp_path / f"x.{ending}").write_bytes(data)
    assert decode(str(tmp_path / f"x.{ending}"), Decoding(8, "squash")) is None
    assert decode(inside(str(tmp_path / f"x.{ending}"), 0, 0), Decoding(8, "squash")) is None
    assert sizes_of([inside(str(tmp_path / f"x.{ending}"), 0)]) == []


def test_the_same_picture_is_the_same_pixels_wherever_it_lies(tmp_path):
    file = picture(tmp_path / "p.jpg", (500, 375))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(file, "deep/p.jpg")
    source = inside(str(tmp_path / "a.zip"), "deep/p.jpg")
    pixels = build_pixels([str(file), source], Decoding(64, "crop"), tmp_path / "px")
    assert (pixels.array[0] == pixels.array[1]).all()
    assert sizes_of([source]) == [(500, 375, "RGB")]


def test_sizes_of_arrays_channels_and_grids_are_told_as_well(tmp_path):
    file = array_file(tmp_path, np.zeros((5, 30, 20), np.float32))
    greys = filed(tmp_path, 1, 2, 3)
    assert sizes_of([inside(file, 2)]) == [(20, 30, "float32 x 1")]
    assert sizes_of([channels(greys)]) == [(20, 20, "L x 3")]
    assert sizes_of([pictures(greys)]) == [(40, 40, "L")]
