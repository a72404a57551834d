"""The policies and losses that are tried by default. Sources: benchmarks/LOG.md where measured, else the papers.

A row is a dict of values of Config.
"""

from collections.abc import Callable
from typing import Any

from autoclimb.policies import light_policy, policy_named
from autoclimb.search.situation import Situation
from autoclimb.search.space import SearchSpace
from autoclimb.types import Kind

# by the flips and turns of the policy to start with, which the moves keep, since frozen features decide about those
# (search/starting.py); the last one of a row asks the data once more
POLICY_MOVES: dict[str, tuple[str, ...]] = {
    "shift": ("affine", "affine-colour", "trivial-straight", "flip"),
    "flip": ("flip-affine", "flip-colour", "medium", "trivial", "dihedral"),
    "flips": ("flips+affine", "flips+colour", "flips+cutout", "dihedral"),
    "vertical": ("vertical+affine", "vertical+colour", "vertical+cutout", "flips"),
    "dihedral": ("dihedral-colour", "dihedral+trivial", "dihedral+cutout", "flip-affine"),
}


def policy_moves(start: str, space: SearchSpace) -> list[str]:
    """The policies to compare with the one to start with: the user's, or those with the same flips and turns."""
    return space.names() or list(POLICY_MOVES[light_policy(start, {}) if start != "none" else "shift"])


def tta_for(name: str, space: SearchSpace) -> str:
    """The views to average in prediction: the symmetries that the policy teaches the net."""
    if space.tta:
        return space.tta[0]
    return policy_named(name, space.pipelines()).symmetries or "none"


def _single_label(s: Situation) -> list[dict[str, Any]]:
    moves: list[dict[str, Any]] = [{"smoothing": 0.1}, {"smoothing": 0.0}, {"loss": "focal"}]
    by_class = s.beta and s.kind == "multiclass" and s.average in ("", "macro", "weighted")
    return [*moves, {"loss": f"softmax-f{s.beta:g}-macro", "smoothing": 0.0}] if by_class else moves


def _ordinal(s: Situation) -> list[dict[str, Any]]:
    # in the order of their loss against expected-grade on elpv_defect (benchmarks/LOG.md)
    moves: list[dict[str, Any]] = [{"loss": "ce"}, {"loss": "ce", "smoothing": 0.1}]
    return [*moves, {"loss": "emd"}, {"loss": "soft-grades"}, {"loss": "corn"}]


def _multilabel(s: Situation) -> list[dict[str, Any]]:
    if not s.beta:
        return [{"loss": "asymmetric"}, {"loss": "binary-focal"}]
    form = "soft-f{:g}-macro" if s.average in ("macro", "weighted") else "soft-f{:g}"
    return [{"loss": form.format(s.beta)}, {"loss": "asymmetric"}]


def _regression(s: Situation) -> list[dict[str, Any]]:
    return [{"loss": "mse"}, {"loss": "mae"}]


LOSS_MOVES: dict[Kind, Callable[[Situation], list[dict[str, Any]]]] = {
    "binary": _single_label,
    "multiclass": _single_label,
    "ordinal": _ordinal,
    "multilabel": _multilabel,
    "regression": _regression,
}
IMBALANCED = 5.0  # rows of the most frequent class for one of the rarest; own choice, measured at 20 only


def counts_classes_alike(s: Situation) -> bool:
    """Whether some classes are rare and the metric averages over classes, so that rare ones count as much."""
    return s.kind in ("binary", "multiclass") and s.by_class and s.imbalance >= IMBALANCED


def rare_start(s: Situation) -> dict[str, Any]:
    """The first values of nets for rare classes: a head retrained on balanced classes, where the metric gains by it.

    On three sets thinned to a tail of 1 in 20 it gained .028 ± .009 of macro-F1 from scratch and .087 ± .028 with
    weights in a minute (benchmarks/LOG.md). {} where the user chose class weights or samplers.
    """
    own = s.space.class_weights or s.space.samplers
    return {"retrain_head": 0.2} if counts_classes_alike(s) and not own else {}


def rare_moves(s: Situation) -> list[dict[str, Any]]:
    """The moves for rare classes: class weights in the loss, then samplers that draw their rows more often."""
    rare = s.kind != "regression" and s.imbalance >= IMBALANCED
    weights = s.space.class_weights or (["effective"] if rare else [])
    samplers = s.space.samplers or (["sqrt"] if rare else [])
    return [{"class_weights": name} for name in weights] + [{"sampler": name} for name in samplers]


def loss_moves(s: Situation) -> list[dict[str, Any]]:
    """The moves of the loss: losses for the kind and the metric, and class weights and samplers for rare classes.

    The latter come first where the metric counts classes alike.
    """
    losses: list[dict[str, Any]] = [{"loss": name} for name in s.space.losses or []] or LOSS_MOVES[s.kind](s)
    losses = [move for move in losses if "smoothing" not in move or s.space.allows(smoothing=move["smoothing"])]
    rare = rare_moves(s)
    moves = [*rare, *losses] if counts_classes_alike(s) else [*losses, *rare]
    return moves + [{"pool": name} for name in s.space.pools or []]
