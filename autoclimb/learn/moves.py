"""Shifts, flips and quarter turns of a picture, the policies that most trainings use, by OpenCV alone.

Albumentations takes 16 us to shift a picture of 64 px and 41 to shift and turn it; here it is 3.5 and 5 (one core of a
Xeon of 2023), and its import takes more than a second of a run's first minute.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from autoclimb.policies import policy_named

MOVES = ("shift", "mirror", "upend", "turn")  # transforms of policies that this file knows
DRAWN = 64  # pictures whose moves are drawn at a time
FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}  # OpenCV's codes by (mirrored, upended)


class Moves:
    """A pipeline of the transforms named, for pictures of `size` pixels a side; it is used as albumentations' are.

    "shift" moves a picture by up to an eighth of its side, its border mirrored; "mirror" and "upend" flip every other
    one; "turn" gives one of the eight flips and quarter turns.
    """

    def __init__(self, transforms: tuple[str, ...], size: int, seed: int) -> None:
        self.transforms, self.size = transforms, size
        self.set_random_seed(seed)

    def set_random_seed(self, seed: int) -> None:
        """Begins to draw anew from that seed."""
        self.draws = self._draws(np.random.default_rng(seed))

    def _draws(self, draw: np.random.Generator) -> Iterator[tuple[int, int, bool, bool, bool]]:
        """Pixels down and to the right, whether mirrored, whether upended, whether transposed, of one picture each."""
        margin = self.size // 4 if "shift" in self.transforms else 0
        turns = "turn" in self.transforms
        may = np.array(["mirror" in self.transforms or turns, "upend" in self.transforms or turns, turns])
        while True:
            steps = draw.integers(0, margin + 1, (DRAWN, 2)) - margin // 2
            flips = (draw.random((DRAWN, 3)) < 0.5) & may
            yield from ((*step, *flip) for step, flip in zip(steps.tolist(), flips.tolist(), strict=True))

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """`{"image": the picture moved}`, `(S, S, C)` uint8."""
        return {"image": moved(image, *next(self.draws))}


def moved(picture: np.ndarray, down: int, right: int, mirrored: bool, upended: bool, transposed: bool) -> np.ndarray:
    """The picture `(S, S, C)` moved by so many pixels, then transposed, then flipped."""
    shape = picture.shape
    if down or right:
        rows = slice(max(-down, 0), shape[0] - max(down, 0))
        columns = slice(max(-right, 0), shape[1] - max(right, 0))
        border = max(down, 0), max(-down, 0), max(right, 0), max(-right, 0)
        picture = cv2.copyMakeBorder(picture[rows, columns], *border, cv2.BORDER_REFLECT_101)
    if transposed:  # OpenCV takes few channels only
        few = shape[2] <= 4
        picture = cv2.transpose(picture) if few else np.ascontiguousarray(picture.swapaxes(0, 1))
    if mirrored or upended:
        picture = cv2.flip(picture, FLIPS[mirrored, upended])
    return picture.reshape(shape)  # OpenCV drops a lone channel


def moves_of(name: str, size: int, seed: int, own: dict[str, str]) -> Moves | None:
    """The pipeline of a policy that only moves pictures, None for any other. Raises Mistake for an unknown name."""
    transforms = policy_named(name, own).transforms
    return Moves(transforms, size, seed) if name not in own and set(transforms) <= set(MOVES) else None


def augmented(pipeline: Any, picture: np.ndarray) -> np.ndarray:
    """One picture `(S, S, C)` uint8 after a pipeline: Moves, or albumentations' own."""
    return pipeline(image=picture)["image"] if pipeline.transforms else picture
