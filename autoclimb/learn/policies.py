"""How pictures are varied while training: albumentations pipelines by name, on uint8 pixels."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for its newest version otherwise

import json
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np

from autoclimb.errors import Mistake

Builder = Callable[[int], list[Any]]
REFLECT = cv2.BORDER_REFLECT_101


def _shift(size: int) -> list[Any]:
    return [
        A.PadIfNeeded(size + size // 4, size + size // 4, border_mode=REFLECT),
        A.RandomCrop(size, size),
    ]


def _affine(size: int, turn: float = 12, zoom: float = 0.15) -> list[Any]:
    return [
        A.Affine(
            rotate=(-turn, turn),
            scale=(1 - zoom, 1 + zoom),
            translate_percent=(-0.08, 0.08),
            shear=(-5, 5),
            border_mode=REFLECT,
            p=0.9,
        )
    ]


def _colour() -> list[Any]:
    return [A.ColorJitter(brightness=(0.75, 1.25), contrast=(0.75, 1.25), saturation=(0.7, 1.3), hue=(-0.04, 0.04))]


def _cutout() -> list[Any]:
    return [A.CoarseDropout(num_holes_range=(1, 2), hole_height_range=(0.12, 0.3), hole_width_range=(0.12, 0.3), p=0.6)]


def _resized_crop(size: int, smallest: float) -> list[Any]:
    return [A.RandomResizedCrop(size=(size, size), scale=(smallest, 1.0), ratio=(0.8, 1.25))]


def _one_of_many(size: int) -> list[Any]:
    """One operation of random strength, as TrivialAugment does it (Mueller and Hutter 2021, arXiv 2103.10158)."""
    return [
        A.OneOf(
            [
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
            ],
            p=1,
        )
    ]


POLICIES: dict[str, Builder] = {
    "none": lambda size: [],
    "shift": _shift,
    "flip": lambda size: [*_shift(size), A.HorizontalFlip()],
    "dihedral": lambda size: [*_shift(size), A.D4(p=1)],
    "affine": _affine,
    "affine-colour": lambda size: [*_affine(size), *_colour()],
    "flip-affine": lambda size: [*_affine(size), A.HorizontalFlip()],
    "flip-colour": lambda size: [*_shift(size), A.HorizontalFlip(), *_colour()],
    "dihedral-colour": lambda size: [*_affine(size, turn=20), A.D4(p=1), *_colour()],
    "crop": lambda size: [*_resized_crop(size, 0.4), A.HorizontalFlip()],
    "medium": lambda size: [*_resized_crop(size, 0.5), A.HorizontalFlip(), *_colour(), *_cutout()],
    "trivial": lambda size: [*_shift(size), A.HorizontalFlip(), *_one_of_many(size)],
    "trivial-straight": lambda size: [*_shift(size), *_one_of_many(size)],  # where mirrored pictures mean else
    "blur-noise": lambda size: [
        *_shift(size),
        A.HorizontalFlip(),
        A.OneOf([A.GaussianBlur(p=1), A.GaussNoise(p=1), A.ImageCompression(quality_range=(40, 90), p=1)], p=0.5),
    ],
}


NEED_COLOUR = (A.HueSaturationValue, A.Equalize, A.ImageCompression)  # RGB or nothing


def suited(transforms: list[Any], channels: int) -> list[Any]:
    """The transforms that channels other than red, green and blue can take; jitter of colour becomes one of light."""
    made: list[Any] = []
    for transform in transforms:
        if channels != 3 and isinstance(transform, A.ColorJitter):
            made.append(A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25))
        elif channels != 3 and isinstance(transform, A.OneOf):
            made.append(A.OneOf(suited(list(transform.transforms), channels), p=transform.p))
        elif channels == 3 or not isinstance(transform, NEED_COLOUR):
            made.append(transform)
    return made


def pipeline_of(name: str, size: int, seed: int, own: dict[str, str] | None = None, channels: int = 3) -> A.Compose:
    """The pipeline of a policy for pictures of `size` pixels a side. `own` holds a user's pipelines as json."""
    own = own or {}
    if name in own:
        made = A.from_dict(json.loads(own[name]))
        made.set_random_seed(seed)
        return A.Compose([made, A.Resize(size, size)], seed=seed)
    if name not in POLICIES:
        raise Mistake(f"policy {name!r} is unknown; choose from {', '.join([*POLICIES, *own])}")
    return A.Compose(suited(POLICIES[name](size), channels), seed=seed)


def varied(pipeline: A.Compose, picture: np.ndarray) -> np.ndarray:
    """One picture `(S, S, C)` uint8 after the pipeline."""
    return pipeline(image=picture)["image"] if pipeline.transforms else picture
