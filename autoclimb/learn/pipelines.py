"""Albumentations pipelines of the policies, on uint8 pixels.

Policies may be joined, "flip+light+cutout": the transforms of each in that order, each transform once.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for its newest version otherwise

import json
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2

from autoclimb.learn.moves import Moves, moves_of
from autoclimb.policies import policy_named

Builder = Callable[[int], list[Any]]
REFLECT = cv2.BORDER_REFLECT_101
SMOOTHLY = {"downscale": cv2.INTER_LINEAR, "upscale": cv2.INTER_LINEAR}


def _shift(size: int) -> list[Any]:
    return [
        A.PadIfNeeded(size + size // 4, size + size // 4, border_mode=REFLECT),
        A.RandomCrop(size, size),
    ]


def _affine(turn: float) -> list[Any]:
    return [
        A.Affine(
            rotate=(-turn, turn),
            scale=(0.85, 1.15),
            translate_percent=(-0.08, 0.08),
            shear=(-5, 5),
            border_mode=REFLECT,
            p=0.9,
        )
    ]


def _colour() -> list[Any]:
    return [A.ColorJitter(brightness=(0.75, 1.25), contrast=(0.75, 1.25), saturation=(0.7, 1.3), hue=(-0.04, 0.04))]


def _cutout() -> list[Any]:
    """A black hole (Zhong et al. 2017, arXiv 1708.04896): Erasing takes 9 us a 64 px picture, CoarseDropout 20."""
    return [A.Erasing(scale=(0.02, 0.12), ratio=(0.5, 2.0), p=0.6)]


def _resized_crop(size: int, smallest: float) -> list[Any]:
    return [A.RandomResizedCrop(size=(size, size), scale=(smallest, 1.0), ratio=(0.8, 1.25))]


def _hsv() -> list[Any]:
    return [A.HueSaturationValue(hue_shift_limit=12, sat_shift_limit=35, val_shift_limit=25, p=0.8)]


def _light() -> list[Any]:
    return [A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=0.8)]


def _camera() -> list[Any]:
    """One fault of a lens, a sensor or a file, for two pictures of three."""
    faults = [
        A.GaussianBlur(blur_limit=(3, 5), p=1),
        A.MotionBlur(blur_limit=(3, 7), p=1),
        A.GaussNoise(std_range=(0.02, 0.1), p=1),
        A.ImageCompression(quality_range=(35, 90), p=1),
        A.Downscale(scale_range=(0.4, 0.9), interpolation_pair=SMOOTHLY, p=1),
    ]
    return [A.OneOf(faults, p=0.67)]


def _grid() -> list[Any]:
    return [A.GridDistortion(num_steps=5, distort_limit=(-0.25, 0.25), border_mode=REFLECT, p=0.7)]


def _operations() -> list[Any]:
    """The operations of TrivialAugment and RandAugment, each of random strength."""
    return [
        A.Affine(rotate=(-30, 30), border_mode=REFLECT, p=1),
        A.Affine(shear=(-20, 20), border_mode=REFLECT, p=1),
        A.Affine(translate_percent=(-0.2, 0.2), border_mode=REFLECT, p=1),
        A.RandomBrightnessContrast(brightness_limit=0.4, contrast_limit=0.4, p=1),
        A.HueSaturationValue(hue_shift_limit=12, sat_shift_limit=50, val_shift_limit=30, p=1),
        A.Posterize(num_bits=(3, 7), p=1),
        A.Solarize(threshold_range=(0.5, 1.0), p=1),
        A.Sharpen(alpha=(0.1, 0.7), p=1),
        A.Equalize(p=1),
        A.GaussianBlur(blur_limit=(3, 5), p=1),
        A.NoOp(p=1),
    ]


TRANSFORMS: dict[str, Builder] = {
    "shift": _shift,
    "mirror": lambda size: [A.HorizontalFlip()],
    "upend": lambda size: [A.VerticalFlip()],
    "turn": lambda size: [A.D4(p=1)],
    "affine": lambda size: _affine(turn=12),
    "wide-affine": lambda size: _affine(turn=20),
    "crop-40": lambda size: _resized_crop(size, 0.4),
    "crop-50": lambda size: _resized_crop(size, 0.5),
    # one operation, as TrivialAugment does it (Mueller and Hutter 2021, arXiv 2103.10158)
    "one-of-many": lambda size: [A.OneOf(_operations(), p=1)],
    # two operations in random order, as RandAugment with N=2 does it (Cubuk et al. 2019, arXiv 1909.13719)
    "two-of-many": lambda size: [A.SomeOf(_operations(), n=2, p=1)],
    "colour": lambda size: _colour(),
    "hsv": lambda size: _hsv(),
    "light": lambda size: _light(),
    "camera": lambda size: _camera(),
    "clahe": lambda size: [A.CLAHE(clip_limit=(1.0, 4.0), tile_grid_size=(4, 4), p=0.5)],
    "cutout": lambda size: _cutout(),
    "grid": lambda size: _grid(),
}
NEED_COLOUR = (A.ColorJitter, A.HueSaturationValue, A.CLAHE, A.Equalize)  # refuse what is neither RGB nor grey


def suited_to(transforms: list[Any], channels: int) -> list[Any]:
    """The transforms for so many channels: without three of them, changes of colour become changes of light."""
    suited: list[Any] = []
    for transform in transforms:
        if channels != 3 and isinstance(transform, NEED_COLOUR):
            suited.append(A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=transform.p))
        elif isinstance(transform, A.SomeOf):
            suited.append(A.SomeOf(suited_to(list(transform.transforms), channels), n=transform.n, p=transform.p))
        elif isinstance(transform, A.OneOf):
            suited.append(A.OneOf(suited_to(list(transform.transforms), channels), p=transform.p))
        else:
            suited.append(transform)
    return suited


def pipeline_of(
    name: str, size: int, seed: int, own: dict[str, str] | None = None, channels: int = 3
) -> A.Compose | Moves:
    """The pipeline of a policy for pictures of `size` pixels a side. `own` holds a user's pipelines as json."""
    own = own or {}
    if (moves := moves_of(name, size, seed, own)) is not None:
        return moves
    policy = policy_named(name, own)
    if name in own:
        pipeline = A.from_dict(json.loads(own[name]))
        pipeline.set_random_seed(seed)
        return A.Compose([pipeline, A.Resize(size, size)], seed=seed)
    transforms = [transform for part in policy.transforms for transform in TRANSFORMS[part](size)]
    # one picture goes in, so there are no shapes to compare: the check takes 3 us of some 60
    return A.Compose(suited_to(transforms, channels), is_check_shapes=False, seed=seed)
