"""The preprocessing of a picture before it is cached: named steps joined by "+", `box:0.4,0,1,1+squash+clahe`.

Cuts come first, one fit brings the picture to the size, tones may stand anywhere; steps run in the order written.
Without a fit, squash follows the last cut. A tone before the fit works on the picture as decoded, one after it on the
small picture, which is cheaper. Steps take and return `(h, w, c)` uint8 with any number of channels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from autoclimb.data.files.stacks import Picture
from autoclimb.errors import Mistake

Step = Callable[[np.ndarray], np.ndarray]
GREY = 128  # of the space between tiles, and of pictures that cannot be read
EMPTY = 12  # grey levels by which border pixels may differ from the border's colour: JPEG noise, dust
FEW = 0.005  # share of a row whose pixels may differ more, as dust
SPARE = 4  # tiles that a picture is cut into for each one used


@dataclass(frozen=True)
class Chain:
    """The steps before the fit, the fit, and the steps after it.

    JPEGs are decoded to `decoded` times the size or larger. A `joint` chain needs all channels together.
    """

    before: tuple[Step, ...]
    fit: Callable[[Picture, int], np.ndarray]
    after: tuple[Step, ...]
    decoded: float
    joint: bool

    def applied(self, picture: Picture, size: int) -> np.ndarray:
        """The picture after all steps, `(size, size, c)`."""
        if self.before:
            array = np.asarray(picture)
            for step in self.before:
                array = step(array)
            picture = Image.fromarray(array) if array.shape[2] == 3 else array
        result = self.fit(picture, size)
        for step in self.after:
            result = step(result)
        return result


# --- cuts ------------------------------------------------------------------------------------------------------------


def box(picture: np.ndarray, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """The part between these shares of height and width, one pixel at least: a street without its sky."""
    height, width = picture.shape[:2]
    y, x = min(int(top * height), height - 1), min(int(left * width), width - 1)
    return picture[y : max(round(bottom * height), y + 1), x : max(round(right * width), x + 1)]


def trim(picture: np.ndarray) -> np.ndarray:
    """The picture without its empty borders, each of one colour; unchanged where it is empty all over."""
    height, width = picture.shape[:2]
    top, bottom = _margin(picture), _margin(picture[::-1])
    transposed = picture[top : height - bottom].swapaxes(0, 1)
    if not transposed.size:
        return picture
    left, right = _margin(transposed), _margin(transposed[::-1])
    return transposed[left : width - right].swapaxes(0, 1) if left + right < width else picture


def _margin(picture: np.ndarray) -> int:
    """The number of rows, from the first on, that have only the first row's median colour."""
    colour = np.median(picture[0], axis=0)
    for number, row in enumerate(picture):
        if (np.abs(row - colour) > EMPTY).any(1).mean() > FEW:
            return number
    return len(picture)


# --- tones: the size stays -------------------------------------------------------------------------------------------


def circle(picture: np.ndarray) -> np.ndarray:
    """The picture inside a centred circle as wide as the longer side; the rest in the colour of the corners.

    It is for retinas, after `trim`: where the camera cut off the top and the bottom, the sides are not cut.
    """
    height, width = picture.shape[:2]
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    result = picture.copy()
    corners = np.stack([picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]])
    result[y * y + x * x > (max(height, width) / 2) ** 2] = np.median(corners, axis=0).astype(np.uint8)
    return result


def local_average(picture: np.ndarray) -> np.ndarray:
    """Grey plus four times the difference of each pixel from the average colour around it.

    After Graham 2015, winner of Kaggle's diabetic retinopathy detection; the average is over a sixtieth of the side.
    """
    blurred = cv2.GaussianBlur(picture, (0, 0), max(min(picture.shape[:2]) / 60, 0.5))
    return cv2.addWeighted(picture, 4, blurred.reshape(picture.shape), -4, GREY).reshape(picture.shape)


def clahe(picture: np.ndarray) -> np.ndarray:
    """The picture with its contrast equalised locally: lightness of three channels, else each channel by itself."""
    tiles = max(1, min(8, min(picture.shape[:2]) // 8))
    equalise = cv2.createCLAHE(2.0, (tiles, tiles)).apply
    if picture.shape[2] == 3:
        lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
        lab[..., 0] = equalise(lab[..., 0])
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return np.stack([equalise(np.ascontiguousarray(picture[..., c])) for c in range(picture.shape[2])], 2)


def grey_world(picture: np.ndarray) -> np.ndarray:
    """The picture with equal means of its channels (Buchsbaum 1980); a black channel stays black."""
    means = picture.mean((0, 1))
    gain = np.divide(means[means > 0].mean() if means.any() else 0.0, means, out=np.ones_like(means), where=means > 0)
    tables = np.arange(256)[:, None] * gain
    return np.take_along_axis(tables.round().clip(0, 255).astype(np.uint8), picture.reshape(-1, len(gain)), 0).reshape(
        picture.shape
    )


# --- fits ------------------------------------------------------------------------------------------------------------


def squash(picture: Picture, size: int) -> np.ndarray:
    """The full picture, squashed to a square."""
    return shrunk(picture, size, size)


def pad(picture: Picture, size: int) -> np.ndarray:
    """The full picture in its aspect ratio, centred; the rest repeats the border pixels."""
    sides = sides_of(picture)
    width, height = (max(1, round(side * size / max(sides))) for side in sides)
    small = shrunk(picture, width, height)
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(small, ((top, size - height - top), (left, size - width - left), (0, 0)), mode="edge")


def crop(picture: Picture, size: int) -> np.ndarray:
    """The centre of the picture in its aspect ratio: the full short side, the long side cut."""
    width, height = sides_of(picture)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return shrunk(picture, size, size, (left, top, left + side, top + side))


def tiles(picture: Picture, size: int, count: float, side: float = 0) -> np.ndarray:
    """The `count` tiles that differ most from the border's colour, in reading order in a grid.

    They are for large pictures that are mostly empty (winners of Kaggle's PANDA, 2020). Tiles are `side` pixels of the
    file wide; without a side, so wide that a picture has SPARE times as many as are used.
    """
    across = min(columns_of(int(count)), size)
    used, tile = min(int(count), across * across), size // across
    width, height = sides_of(picture)
    scale = tile / side if side else math.sqrt(SPARE * used * tile * tile / (width * height))
    small = shrunk(picture, max(1, round(width * scale)), max(1, round(height * scale)))
    frame = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    colour = np.median(frame, axis=0).astype(np.uint8)
    down, right = (-(-n // tile) for n in small.shape[:2])
    canvas = np.empty((down * tile, right * tile, small.shape[2]), np.uint8)
    canvas[:] = colour
    canvas[: small.shape[0], : small.shape[1]] = small
    cut = canvas.reshape(down, tile, right, tile, -1).swapaxes(1, 2).reshape(down * right, tile, tile, -1)
    differences = np.array([cv2.absdiff(one.reshape(-1), np.tile(colour, tile * tile)).mean() for one in cut])
    best = np.sort(np.argsort(-differences, kind="stable")[:used])
    chosen = [*cut[best], *[np.full_like(cut[0], colour)] * (used - len(best))]
    return in_grid(chosen, size, small.shape[2])


# --- the menu --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preprocess:
    """A row of PREPROCESS: what a step does, and the numbers it takes behind a colon."""

    part: Literal["cut", "tone", "fit"]
    apply: Callable[..., np.ndarray]
    joint: bool = False  # it depends on the whole picture, so that it needs all channels together
    numbers: tuple[str, ...] = ()  # as `apply` names them; the last ones may be left out where `valid` says so
    valid: Callable[[Sequence[float]], bool] = lambda numbers: not numbers
    decoded: Callable[[Sequence[float]], float] = lambda numbers: 1.0  # sides needed of a JPEG, in sides of its result
    usage: str = ""


def is_box(numbers: Sequence[float]) -> bool:
    """Whether these are the edges of a box in shares of the picture."""
    if len(numbers) != 4 or not all(0 <= n <= 1 for n in numbers):
        return False
    top, left, bottom, right = numbers
    return top < bottom and left < right


def are_tiles(numbers: Sequence[float]) -> bool:
    """Whether these are a number of tiles, 64 at most, and perhaps their side in pixels."""
    return 1 <= len(numbers) <= 2 and all(n >= 1 and n % 1 == 0 for n in numbers) and numbers[0] <= 64


PREPROCESS: dict[str, Preprocess] = {
    "box": Preprocess(
        "cut",
        box,
        numbers=("top", "left", "bottom", "right"),
        valid=is_box,
        decoded=lambda numbers: 1 / min(numbers[2] - numbers[0], numbers[3] - numbers[1]),
        usage="box:top,left,bottom,right in shares of the picture",
    ),
    "trim": Preprocess("cut", trim, joint=True, decoded=lambda numbers: 2.0),  # half of each side may be empty
    "circle": Preprocess("tone", circle, joint=True),
    "local-average": Preprocess("tone", local_average),
    "clahe": Preprocess("tone", clahe),
    "grey-world": Preprocess("tone", grey_world, joint=True),
    "squash": Preprocess("fit", squash),
    "pad": Preprocess("fit", pad),
    "crop": Preprocess("fit", crop),
    "tiles": Preprocess(
        "fit",
        tiles,
        joint=True,
        numbers=("count", "side"),
        valid=are_tiles,
        # the picture that tiles are cut from has SPARE times the area; a side counts pixels of the file
        decoded=lambda numbers: math.inf if len(numbers) == 2 else 2.0,
        usage="tiles:count or tiles:count,side",
    ),
}


# --- the chain -------------------------------------------------------------------------------------------------------


@lru_cache(64)
def chain_of(preprocess: str) -> Chain:
    """The chain of a `preprocess`. Raises Mistake for unknown steps, invalid numbers and a wrong order."""
    steps = [_step_of(part) for part in preprocess.split("+")]
    parts = [PREPROCESS[name].part for name, _ in steps]
    if parts.count("fit") > 1:
        fits = ", ".join(name for name, row in PREPROCESS.items() if row.part == "fit")
        raise Mistake(f"preprocess {preprocess!r} fits the picture twice; keep one of {fits}")
    cuts = [i for i, part in enumerate(parts) if part == "cut"]
    at = parts.index("fit") if "fit" in parts else max(cuts, default=-1) + 1
    if cuts and cuts[-1] > at:
        first, second = steps[cuts[-1]][0], steps[at][0]
        raise Mistake(f"preprocess {preprocess!r} cuts after the fit; write {first} before {second}")
    if "fit" not in parts:
        steps.insert(at, ("squash", ()))
    rows = [(PREPROCESS[name], numbers) for name, numbers in steps]
    bound = [partial(row.apply, **dict(zip(row.numbers, numbers, strict=False))) for row, numbers in rows]
    decoded = math.prod(row.decoded(numbers) for row, numbers in rows)
    return Chain(tuple(bound[:at]), bound[at], tuple(bound[at + 1 :]), decoded, any(row.joint for row, _ in rows))


def _step_of(part: str) -> tuple[str, tuple[float, ...]]:
    """The name of a step and its numbers, of `box:0.4,0,1,1`."""
    name, _, text = part.strip().partition(":")
    if name not in PREPROCESS:
        raise Mistake(f"unknown preprocess {name!r}; one of {', '.join(PREPROCESS)}, joined by +")
    row = PREPROCESS[name]
    try:
        numbers = tuple(float(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise Mistake(f"preprocess {part!r} has something else than numbers; {row.usage or name}") from None
    if not row.valid(numbers):
        raise Mistake(f"preprocess {part!r} is not as it should be; write {row.usage or name}")
    return name, numbers


# --- sizes and grids -------------------------------------------------------------------------------------------------


def sides_of(picture: Picture) -> tuple[int, int]:
    """The width and the height of a picture, in pixels."""
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


def shrunk(picture: Picture, width: int, height: int, box: tuple | None = None) -> np.ndarray:
    """The picture, or a box of it, resized with antialiasing, `(height, width, c)` uint8.

    Hamming costs as much as bilinear and is nearly as sharp as bicubic, which took 1.8 times as long; Pillow's
    reducing_gap and OpenCV's INTER_AREA gained nothing (500x375 -> 224).
    """
    if isinstance(picture, np.ndarray):
        planes = [Image.fromarray(np.ascontiguousarray(picture[..., c])) for c in range(picture.shape[2])]
        return np.stack([shrunk(plane, width, height, box) for plane in planes], 2)
    left, top, right, bottom = box or (0, 0, *picture.size)
    shrinks = right - left >= width and bottom - top >= height
    filter_ = Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC
    return np.asarray(picture.resize((width, height), filter_, box=box))


def columns_of(count: int) -> int:
    """The tiles a side of a square grid for `count` pictures."""
    return math.isqrt(count - 1) + 1


def in_grid(tiles: Sequence[np.ndarray | None], size: int, channels: int, grid: int = 0) -> np.ndarray:
    """The tiles row by row in the middle of a grey square: two lie side by side.

    With `grid` tiles across, however many there are, they start at the top left and the rest stays grey.
    """
    if len(tiles) == 1 and not grid:
        assert tiles[0] is not None
        return tiles[0]
    across = grid or columns_of(len(tiles))
    side, down = size // across, grid or -(-len(tiles) // across)
    canvas = np.full((size, size, channels), GREY, np.uint8)
    top, left = (size - down * side) // 2, (size - across * side) // 2
    for i, tile in enumerate(tiles):
        if tile is not None:
            y, x = top + i // across * side, left + i % across * side
            canvas[y : y + side, x : x + side] = tile
    return canvas
