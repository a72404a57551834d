"""What is tried unasked, as rows: nets, policies, losses. Sources: benchmarks/LOG.md where measured, else the papers.

Nothing here knows torch; a row is values of a Config.
"""

from collections.abc import Callable, Sequence
from typing import Any

from autoclimb.policies import policy_named
from autoclimb.search.situation import Situation
from autoclimb.search.space import SearchSpace
from autoclimb.types import Config, Kind

POLICY_MOVES = ("affine", "flip-affine", "flip-colour", "medium", "trivial", "dihedral")
HALF = (("channels", (32, 64, 128, 256)),)  # a ResNet with half the channels: 3 times as fast on a CPU

# From scratch, cheapest first: (backbone, model_args). Residual nets learn fastest from few pictures.
SCRATCH: dict[str, Sequence[tuple[str, tuple[tuple[str, Any], ...]]]] = {
    "cpu": (("resnet10t", HALF), ("resnet14t", HALF), ("resnet10t", ()), ("resnet18", HALF), ("resnet18d", ())),
    "cuda": (("resnet18", HALF), ("resnet18", ()), ("resnet34", ()), ("resnet50d", ()), ("convnext_nano", ())),
}
# From timm's hub, cheapest first. ConvNeXt and Swin lead on pictures like ImageNet's (arXiv 2310.19909).
HUB: dict[str, Sequence[str]] = {
    "cpu": (
        "mobilenetv3_small_100.lamb_in1k",
        "resnet18.a1_in1k",
        "mobilenetv3_large_100.ra_in1k",
        "efficientnet_b0.ra_in1k",
        "convnext_nano.in12k_ft_in1k",
    ),
    "cuda": (
        "resnet18.a1_in1k",
        "resnet50.a1_in1k",
        "convnext_nano.in12k_ft_in1k",
        "convnext_tiny.in12k_ft_in1k",
        "tf_efficientnetv2_s.in21k_ft_in1k",
        "swinv2_tiny_window8_256.ms_in1k",
        "convnext_base.fb_in22k_ft_in1k",
    ),
}


def from_scratch(device: str) -> list[Config]:
    """The nets for training without pretrained weights, cheapest first."""
    batch = 64 if device == "cpu" else 128
    return [
        Config(backbone=name, model_args=args, whitened=True, lr=2e-3, weight_decay=0.05, batch=batch)
        for name, args in SCRATCH[device]
    ]


def from_hub(device: str) -> list[dict[str, Any]]:
    """Rows as `Situation.pretrained` holds them, for nets that timm would download."""
    return [{"backbone": name, "weights": "hub", "model_args": {}, "parameters": 0} for name in HUB[device]]


def fine_tuning(pretrained: Sequence[dict[str, Any]]) -> list[Config]:
    """The pretrained nets with gentle rates, in the order given (smallest first)."""
    return [
        Config(
            backbone=row["backbone"],
            weights=row["weights"],
            model_args=tuple(sorted(row["model_args"].items())),
            lr=2e-3,
            backbone_lr=0.3,
            weight_decay=0.05,
            batch=32,
        )
        for row in pretrained
    ]


def tta_for(name: str, space: SearchSpace) -> str:
    """The views to average in prediction: those that the policy teaches the net to treat alike."""
    if space.tta:
        return space.tta[0]
    policy = policy_named(name, space.pipelines())
    if policy.turns:
        return "dihedral"
    if policy.upends:
        return "flips" if policy.mirrors else "vertical"
    return "flip" if policy.mirrors else "none"


def _single_label(s: Situation) -> list[dict[str, Any]]:
    moves: list[dict[str, Any]] = [{"smoothing": 0.1}, {"smoothing": 0.0}, {"loss": "focal"}]
    by_class = s.beta and s.kind == "multiclass" and s.average in ("", "macro", "weighted")
    return [*moves, {"loss": f"softmax-f{s.beta:g}-macro", "smoothing": 0.0}] if by_class else moves


def _ordinal(s: Situation) -> list[dict[str, Any]]:
    # in the order of what they cost against expected-grade on elpv_defect (benchmarks/LOG.md)
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
    """Whether some classes are rare and the metric is a mean over classes, so that rare ones count as any other."""
    return s.kind in ("binary", "multiclass") and s.by_class and s.imbalance >= IMBALANCED


def rare_start(s: Situation) -> dict[str, Any]:
    """What the first net already does about rare classes: a head retrained on classes drawn alike, where that pays.

    On three sets thinned to a tail of 1 in 20 it gained .028 ± .009 of macro-F1 from scratch and .087 ± .028 with
    weights in a minute (benchmarks/LOG.md). Not where the user says what is done about rare classes.
    """
    own = s.space.class_weights or s.space.samplers
    return {"retrain_head": 0.2} if counts_classes_alike(s) and not own else {}


def rare_moves(s: Situation) -> list[dict[str, Any]]:
    """What is tried about rare classes: rows that weigh more in the loss, then rows drawn more often."""
    rare = s.kind != "regression" and s.imbalance >= IMBALANCED
    weights = s.space.class_weights or (["effective"] if rare else [])
    samplers = s.space.samplers or (["sqrt"] if rare else [])
    return [{"class_weights": name} for name in weights] + [{"sampler": name} for name in samplers]


def loss_moves(s: Situation) -> list[dict[str, Any]]:
    """What is tried about the loss: others that fit the kind and the metric, and rare classes made to count more.

    The latter first where the metric counts classes alike.
    """
    losses = [{"loss": name} for name in s.space.losses] if s.space.losses else LOSS_MOVES[s.kind](s)
    rare = rare_moves(s)
    moves = [*rare, *losses] if counts_classes_alike(s) else [*losses, *rare]
    return moves + [{"pool": name} for name in s.space.pools or []]
