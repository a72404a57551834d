"""POLICIES: how pictures are varied in training, as rows of named transforms; needs neither torch nor albumentations.

The search asks a policy for its symmetries, since predictions may be averaged over exactly those views;
learn.pipelines builds the transforms.
"""

import json
from dataclasses import dataclass

from autoclimb.errors import Mistake

# Pictures in the test of which flips keep a label (learn/symmetry.py), whose cost the search counts: held-out ones that
# are mirrored and turned, and train ones whose mirror images are learned from. These numbers settled leaves, signs and
# photographs as 600 did; on solar and blood cells neither was conclusive (benchmarks/LOG.md).
SYMMETRY_ROWS, MIRRORED_ROWS = 400, 250
SAME = 1.15  # ratio of losses below which mirrored or turned pictures are recognised as well as the originals


@dataclass(frozen=True)
class Policy:
    """The transforms of a policy (rows of learn.pipelines.TRANSFORMS), and the symmetries that follow from them."""

    transforms: tuple[str, ...] = ()

    @property
    def mirrors(self) -> bool:
        """Whether left and right may change places."""
        return "mirror" in self.transforms or self.turns

    @property
    def upends(self) -> bool:
        """Whether top and bottom may change places."""
        return "upend" in self.transforms or self.turns

    @property
    def turns(self) -> bool:
        """Whether pictures may be turned by quarters."""
        return "turn" in self.transforms

    @property
    def symmetries(self) -> str:
        """The row of POLICIES, and of learn.views.VIEWS, with just these flips and turns; "" for none of them."""
        if self.turns:
            return "dihedral"
        if self.upends:
            return "flips" if self.mirrors else "vertical"
        return "flip" if self.mirrors else ""


POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "shift": Policy(("shift",)),
    "flip": Policy(("shift", "mirror")),
    "vertical": Policy(("shift", "upend")),
    "flips": Policy(("shift", "mirror", "upend")),
    "dihedral": Policy(("shift", "turn")),
    "affine": Policy(("affine",)),  # shift, scale, rotate and a little shear
    "affine-colour": Policy(("affine", "colour")),
    "flip-affine": Policy(("affine", "mirror")),
    "flip-colour": Policy(("shift", "mirror", "colour")),
    "dihedral-colour": Policy(("wide-affine", "turn", "colour")),
    "crop": Policy(("crop-40", "mirror")),
    "medium": Policy(("crop-50", "mirror", "colour", "cutout")),
    "trivial": Policy(("shift", "mirror", "one-of-many")),
    "trivial-straight": Policy(("shift", "one-of-many")),  # where a mirrored picture means something else
    "random": Policy(("shift", "mirror", "two-of-many")),
    # a single kind of change each, for joining by "+"
    "colour": Policy(("colour",)),
    "hsv": Policy(("hsv",)),
    "light": Policy(("light",)),
    "camera": Policy(("camera",)),
    "clahe": Policy(("clahe",)),
    "cutout": Policy(("cutout",)),
    "grid": Policy(("grid",)),
}
# classes of albumentations, in a user's own pipeline, and the transform here that they correspond to
SYMMETRIC = {
    "HorizontalFlip": "mirror",
    "VerticalFlip": "upend",
    "RandomRotate90": "turn",
    "Transpose": "turn",
    "D4": "turn",
    "SquareSymmetry": "turn",
}


def policy_named(name: str, own: dict[str, str]) -> Policy:
    """The policy of that name: a row, rows joined by "+", or one of the user's `own` pipelines (json by name).

    Of a user's pipeline only the flips and quarter turns are read. Raises Mistake for an unknown name.
    """
    if name in own:
        return Policy(tuple(SYMMETRIC[transform] for transform in _symmetric_classes(json.loads(own[name]))))
    rows = name.split("+")
    unknown = [row for row in rows if row not in POLICIES]
    if unknown:
        menu = ", ".join([*POLICIES, *own])
        raise Mistake(f"policy {unknown[0]!r} is unknown; choose from {menu}, or join some by +")
    return Policy(tuple(dict.fromkeys(transform for row in rows for transform in POLICIES[row].transforms)))


def light_policy(name: str, own: dict[str, str]) -> str:
    """The policy with only the shifts, flips and turns of this one; a user's `own` policy is returned unchanged."""
    policy = policy_named(name, own)
    return name if name in own or not policy.transforms else policy.symmetries or "shift"


def _symmetric_classes(pipeline: object) -> list[str]:
    """The rows of SYMMETRIC that albumentations' json of a pipeline names, at any depth."""
    if isinstance(pipeline, list):
        return [name for part in pipeline for name in _symmetric_classes(part)]
    if not isinstance(pipeline, dict):
        return []
    name = str(pipeline.get("__class_fullname__", "")).rpartition(".")[2]
    inner = [transform for part in pipeline.values() for transform in _symmetric_classes(part)]
    return [name, *inner] if name in SYMMETRIC else inner
