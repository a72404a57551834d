"""The last layers of a net: pooling, and the heads that losses need."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from autoclimb.learn.faults import Unbuildable
from autoclimb.learn.losses import SCALE

POOLS = ("avg", "max", "avgmax", "catavgmax", "gem")  # timm's own, and generalised means
CENTRES = 3  # of a class, in sub-centre ArcFace; the paper's


class GeM(nn.Module):
    """Means of the p-th powers of features, p learned (Radenovic et al. 2018, arXiv 1711.02512): 1 is avg."""

    def __init__(self, mean: nn.Module) -> None:
        super().__init__()
        self.mean, self.p = mean, nn.Parameter(torch.full((1,), 3.0))  # the paper's start

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.mean(x.float().clamp(min=1e-6) ** self.p) ** (1 / self.p)


def use_gem(net: nn.Module) -> None:
    """Puts GeM around the net's averaging pool. Raises Unbuildable where there is none."""
    pools = [(name, module) for name, module in net.named_modules() if isinstance(module, SelectAdaptivePool2d)]
    if len(pools) != 1 or pools[0][1].pool_type not in ("avg", "fast", "fastavg"):
        raise Unbuildable(f"{type(net).__name__} has no averaging pool that 'gem' could replace")
    name, pool = pools[0]
    net.set_submodule(name, GeM(pool))


class Ranks(nn.Module):
    """One score from the features and a bias for each threshold, so that P(grade > k) falls with k (CORAL)."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, features) / features**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight) + self.bias


class Cosine(nn.Module):
    """Cosines of the features with each class's centre, or the nearest of its centres (Deng et al. 2020, ECCV).

    With `neighbours` and remembered features, half of a prediction is the vote of the nearest of those.
    """

    known: Tensor | None  # (R, F) float16, set after training
    known_class: Tensor | None

    def __init__(self, features: int, classes: int, centres: int = 1, neighbours: int = 0) -> None:
        super().__init__()
        self.centres, self.neighbours = nn.Parameter(torch.randn(classes, centres, features)), neighbours
        self.register_buffer("known", None)
        self.register_buffer("known_class", None)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16's 8 bits are too few for an angle's cosine
            x = F.normalize(x.float(), dim=1)
            near = F.linear(x, F.normalize(self.centres.flatten(0, 1), dim=1))
            cosines = near.unflatten(1, self.centres.shape[:2]).amax(2)
            if self.training or self.known is None or self.known_class is None:
                return cosines
            p = ((SCALE * cosines).softmax(1) + self.votes(x, self.known, self.known_class)) / 2
            return p.clamp(min=1e-12).log() / SCALE  # the cosines that scaled_softmax turns into p

    def votes(self, x: Tensor, known: Tensor, known_class: Tensor) -> Tensor:
        """Probabilities by the `neighbours` nearest remembered pictures, each voting by its scaled cosine."""
        nearest = (x @ known.float().T).topk(min(self.neighbours, len(known)), dim=1)
        share = (SCALE * nearest.values).softmax(1)
        p = x.new_zeros(x.shape[0], len(self.centres))
        return p.scatter_add(1, known_class[nearest.indices], share)

    def remember(self, features: Tensor, classes: Tensor) -> None:
        """Keeps the features `(R, F)` and classes `(R,)` of pictures to compare with."""
        self.known = F.normalize(features.float(), dim=1).half().to(self.centres.device)
        self.known_class = classes.to(self.centres.device)

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        for name in ("known", "known_class"):  # their size is the number of remembered pictures
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.centres.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


# features, outputs, neighbours -> a last layer
LAYERS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "ranks": lambda features, outputs, neighbours: Ranks(features, outputs),
    "cosine": lambda features, outputs, neighbours: Cosine(features, outputs, 1, neighbours),
    "subcentres": lambda features, outputs, neighbours: Cosine(features, outputs, CENTRES, neighbours),
}


def set_last_layer(net: nn.Module, layer: str, outputs: int, neighbours: int) -> nn.Module:
    """The last layer of the net: its own, or that row of LAYERS put in its place. Raises Unbuildable if it cannot."""
    own = net.get_classifier()  # type: ignore[operator]
    if not isinstance(own, nn.Module):  # a few distilled nets have two heads
        raise Unbuildable(f"{type(net).__name__} has no single last layer")
    if layer:
        if not isinstance(own, nn.Linear):
            raise Unbuildable(f"the last layer of {type(net).__name__} is not linear, so {layer!r} cannot replace it")
        replacement = LAYERS[layer](own.in_features, outputs, neighbours)
        net.set_submodule(next(name for name, module in net.named_modules() if module is own), replacement)
    if neighbours and not isinstance(net.get_classifier(), Cosine):  # type: ignore[operator]
        raise Unbuildable("neighbours need a loss that compares features: arcface or subcentre-arcface")
    return net.get_classifier()  # type: ignore[operator]
