import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import picture
from PIL import Image

from autoclimb.data.pixels import GREY, PREPROCESS, build_pixels, decode, open_pixels, sizes_of
from autoclimb.errors import Mistake


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def flat(mode: str, colour: object, size: tuple[int, int] = (20, 10)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


@pytest.mark.parametrize("preprocess", PREPROCESS)
@pytest.mark.parametrize("size", [(40, 20), (7, 31), (1, 1), (300, 2)])
def test_every_preprocess_makes_a_square_of_any_picture(tmp_path, preprocess, size):
    made = decode(str(picture(tmp_path / "p.png", size)), 16, preprocess)
    assert made is not None
    assert (made.shape, made.dtype) == ((16, 16, 3), np.uint8)


def halves(tmp_path) -> str:
    """A 40x20 picture: 10 red columns, 20 green, 10 blue."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :10, 0], pixels[:, 10:30, 1], pixels[:, 30:, 2] = 255, 255, 255
    return saved(tmp_path / "h.png", Image.fromarray(pixels))


def test_squash_keeps_everything_pad_the_aspect_and_crop_the_middle(tmp_path):
    file = halves(tmp_path)
    squashed, padded, cropped = (decode(file, 20, name) for name in ("squash", "pad", "crop"))
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
    made = decode(saved(tmp_path / name, image, **options), 8, "squash")
    assert made is not None
    assert abs(made.astype(int) - wanted).max() <= 2


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    file = saved(tmp_path / "r.png", Image.fromarray(pixels), exif=exif)
    made = decode(file, 8, "squash")
    assert made[0].min() == 255
    assert made[-1].max() == 0


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [flat("L", 250), flat("L", 5)]
    file = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert decode(file, 8, "squash").min() > 240


def test_fine_stripes_turn_grey_when_shrunk(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    file = saved(tmp_path / "s.png", Image.fromarray(stripes))
    for preprocess in PREPROCESS:
        assert np.ptp(decode(file, 16, preprocess).astype(int)) < 60


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
    assert decode(str(tmp_path / name), 8, "squash") is None


def test_no_file_is_no_picture(tmp_path):
    assert decode("", 8, "pad") is None
    assert decode(str(tmp_path / "absent.jpg"), 8, "pad") is None
    assert decode(str(tmp_path), 8, "pad") is None


def test_pixels_keep_the_order_and_mark_bad_rows_grey(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(30)]
    files[4], files[7] = "", str(tmp_path / "absent.png")
    calls: list[tuple[int, int]] = []
    made = build_pixels(files, 8, "squash", tmp_path / "px", lambda done, total: calls.append((done, total)), threads=4)
    assert np.flatnonzero(made.bad).tolist() == [4, 7]
    assert (made.array[4] == GREY).all()
    assert all((made.array[i] == decode(files[i], 8, "squash")).all() for i in range(30) if i not in (4, 7))
    assert calls[-1] == (30, 30)
    assert isinstance(made.array, np.memmap)
    opened = open_pixels(made.path)
    assert (opened.array == made.array).all()
    assert (opened.bad == made.bad).all()


def test_more_rows_than_a_chunk_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.data.pixels.CHUNK_BYTES", 8 * 8 * 3 * 4)
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(10)]
    made = build_pixels(files, 8, "pad", tmp_path / "px", threads=2)
    assert all((made.array[i] == decode(files[i], 8, "pad")).all() for i in range(10))


def test_pixels_are_decoded_once_and_again_when_a_file_changes(tmp_path):
    file = picture(tmp_path / "p.png", seed=0)
    first = build_pixels([str(file)], 8, "squash", tmp_path / "px")
    stamp = first.path.stat().st_mtime_ns
    assert build_pixels([str(file)], 8, "squash", tmp_path / "px").path.stat().st_mtime_ns == stamp
    assert build_pixels([str(file)], 8, "crop", tmp_path / "px").path != first.path
    picture(file, (9, 9), seed=1)
    again = build_pixels([str(file)], 8, "squash", tmp_path / "px")
    assert again.path != first.path
    assert (again.array != first.array).any()


def test_an_interrupted_build_leaves_nothing(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", seed=i)) for i in range(3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pixels(files, 8, "squash", tmp_path / "px", stop)
    assert not list((tmp_path / "px").iterdir())


def test_an_array_without_its_json_is_built_again(tmp_path):
    file = str(picture(tmp_path / "p.png"))
    made = build_pixels([file], 8, "squash", tmp_path / "px")
    made.path.with_suffix(".json").unlink()
    made.path.write_bytes(b"half")
    assert build_pixels([file], 8, "squash", tmp_path / "px").array.shape == (1, 8, 8, 3)


def test_no_files_make_no_rows(tmp_path):
    assert build_pixels([], 8, "squash", tmp_path / "px").array.shape == (0, 8, 8, 3)


def test_an_unknown_preprocess_answers_with_the_menu(tmp_path):
    with pytest.raises(Mistake, match="squash, pad, crop"):
        build_pixels([], 8, "stretch", tmp_path)


def test_a_full_disk_is_said_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(Mistake, match="do not fit"):
        build_pixels([""] * 100, 8, "squash", tmp_path / "px")


def test_sizes_are_read_from_headers(tmp_path):
    files = [str(picture(tmp_path / f"{i}.png", (10 + i, 5))) for i in range(6)]
    (tmp_path / "text.png").write_text("x")
    assert sizes_of([*files, "", str(tmp_path / "text.png")]) == [(10 + i, 5, "RGB") for i in range(6)]
    assert len(sizes_of(files, limit=3)) == 3
