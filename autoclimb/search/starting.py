"""The start of the search: the candidate nets, the most promising of them, and the base that moves change.

Nothing here depends on the clock, since a replay must ask for the same trials.
"""

import math
from dataclasses import replace
from typing import Any

from autoclimb.config import Config
from autoclimb.policies import SAME
from autoclimb.search.capacity import within_memory
from autoclimb.search.cost import epoch_seconds
from autoclimb.search.fidelity import (
    LONG,
    MORE_THAN_ENOUGH,
    OWN_SHARE,
    at_its_size,
    epochs_for,
    epochs_in,
    epochs_paid,
    final_seconds,
    folds_of,
    largest_for,
    scratch_beside,
    soundly,
    suits,
    with_pixels,
    with_size,
)
from autoclimb.search.nets import OTHER_SCRATCH, family_of, fine_tuning, from_scratch, net_named
from autoclimb.search.portfolio import rare_start, tta_for
from autoclimb.search.rates import LOOK, processor_cost
from autoclimb.search.regions import start_chain
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.search.space import MENUS, RANGES
from autoclimb.types import History

# Share of a constant's loss by which frozen pretrained features must reduce it for their nets to be worth minutes: .17
# on the demo's digits and .16 on counts of cells, where a net from scratch is better; .32 on solar cells, where it is
# worse.
USEFUL = 0.25
# Hand-made features that reduce a constant's loss by PLAIN, to at most NEAR times the loss of pretrained ones, suggest
# plain shapes, which a small net from scratch soon knows better: hand signs .84, 1.3 times; leaves .62, 2.1 times
# (LOG.md). Beyond NEAR it stays far behind: on cifar10, .57 and 1.4 to 1.6 times, it was .68 accurate beside .85.
PLAIN, NEAR = 0.75, 1.4
SKILL = 0.1  # share of a constant's loss by which features must reduce it for their facts on mirroring to count
FEW_ROWS = 1000  # of a fold, below which the usual batch takes too few steps (LOG.md: 640 and 555 gain, 1,104 do not)
FEWEST_LOOKS, LOOKS_SHARE = 2, 0.03  # nets that a card looks at, at least, and the share of the budget for more of them
LARGEST_BATCH = 128  # of a fine-tuned net by default, since its rates are for about that many pictures a step


def base_policy(history: History) -> str:
    """The policy to start with: flips only where features recognise flipped pictures as well, or learn from them."""
    seen = facts_on_flips(history)
    if seen is None:
        return "flip"
    if seen["skill"] < SKILL:
        return "shift"
    if max(seen["mirror"], seen["turn"]) < SAME:
        return "dihedral"
    # in trainings of 4 to 70 epochs shifts alone were as good as affine changes or better on four sets (LOG.md)
    return "flip" if may_mirror(seen) else "shift"


def facts_on_flips(history: History) -> dict[str, Any] | None:
    """The facts of the features that were tried on mirrored and turned pictures; None where none were."""
    return next((t.facts for t in history.done(train="features") if "mirror" in t.facts), None)


def may_mirror(seen: dict[str, Any]) -> bool:
    """Whether mirroring keeps the label by these facts: features recognise mirrored pictures, or learn from them."""
    change, stderr = seen.get("mirrored_copies", (0.0, 0.0))
    return seen["mirror"] < SAME or change + 2 * stderr < 0


def candidates(s: Situation) -> list[Config]:
    """The candidate nets with the values that a search starts with, cheapest first.

    From scratch they are residual nets, cheapest first, then those of other families.
    """
    nets = fine_tuning(s.pretrained, s.device) if s.pretrained else from_scratch(s.device)
    if s.space.backbones:
        by_name = {net.backbone: net for net in reversed(nets)}
        plain = Config(lr=2e-3, weight_decay=0.05)
        hub = next((row for row in s.pretrained if row["weights"] == "hub"), None)
        nets = []
        for name in s.space.backbones:
            if name in by_name:
                nets.append(by_name[name])
            elif hub:
                nets.extend(fine_tuning([{**hub, "backbone": name}], s.device))
            else:
                nets.append(plain.vary(backbone=name))
    start: dict[str, Any] = {"seed": s.seed}
    if not s.pretrained and rows_of_fold(s) < FEW_ROWS:
        start["batch"] = 32
    if s.kind == "multiclass" and s.wants != "probability":
        start["smoothing"] = 0.1  # TorchVision's recipe: +0.3 points on ImageNet; a probability metric would pay for it
    start |= {**rare_start(s), **s.space.start, "preprocess": s.space.chains()[0]}
    firsts = {own: getattr(s.space, name) for name, own in MENUS.items() if own not in ("backbone", "tta")}
    start |= {own: names[0] for own, names in firsts.items() if names}
    nets = [within_ranges(net.vary(**start), s) for net in nets]
    return nets if s.space.backbones else worth_looks([net for net in nets if suits(net, s)] or nets, s)


def worth_looks(nets: list[Config], s: Situation) -> list[Config]:
    """The pretrained nets that a card has time to look at, in their order: of each family the cheapest, then the next.

    On a processor only the cheapest are looked at in minutes.
    """
    most = max(FEWEST_LOOKS, int(LOOKS_SHARE * s.budget / LOOK[s.device]))
    if s.device == "cpu" or not s.pretrained or len(nets) <= most:
        return nets
    seen: dict[str, int] = {}
    turn = []
    for net in nets:
        family = net_named(net.backbone).family
        seen[family] = seen.get(family, 0) + 1
        turn.append(seen[family])
    return [nets[i] for i in sorted(sorted(range(len(nets)), key=lambda i: turn[i])[:most])]


def with_useful_nets(history: History, s: Situation) -> Situation:
    """The situation without pretrained nets where a small net from scratch will have learned more in minutes.

    On a processor it sees several times the pictures a second. Drawn digits, cells and the like are unlike ImageNet,
    and frozen features say little of them; plain shapes are easy, and hand-made features say nearly as much. Where
    there is time to train nets of both kinds soundly, comparisons or the blend find out.
    """
    if s.device != "cpu" or s.space.backbones or nets_are_useful(history) is not False:
        return s
    short = s.budget < LONG or not soundly(final_seconds(s) / folds_of(s), candidates(s)[0], s)
    return replace(s, pretrained=()) if short else s


def nets_are_useful(history: History) -> bool | None:
    """Whether frozen features say that pretrained nets suit the pictures; None where none were tried."""
    if not any(t.config.weights and "skill" in t.facts for t in history.done(train="features")):
        return None
    by_hand, best = skills(history)
    plain = by_hand >= PLAIN and 1 - by_hand <= NEAR * (1 - best)
    return best >= USEFUL and not plain


def skills(history: History) -> tuple[float, float]:
    """The shares of a constant's loss that the best hand-made features take off, and the best pretrained ones."""
    tried = [(bool(t.config.weights), t.facts["skill"]) for t in history.done(train="features") if "skill" in t.facts]
    by_hand, best = (max((skill for tuned, skill in tried if tuned == kind), default=0.0) for kind in (False, True))
    return by_hand, best


def far_behind(history: History) -> bool:
    """Whether hand-made features leave so much more loss than pretrained ones that a net from scratch adds little.

    On cifar10 it took 2 ± 1 % off the loss of a pretrained net that it was mixed with, another pretrained net 10 ± 2 %
    (LOG.md).
    """
    by_hand, best = skills(history)
    return by_hand > 0 and 1 - by_hand > NEAR * (1 - best)


def from_nothing(history: History, s: Situation) -> list[Config]:
    """The net without pretrained weights that is tried beside pretrained ones; on a processor not where far behind.

    A small one sees several times the pictures a second, and pictures may be unlike ImageNet's: hand signs reached .99
    on a held-out fold after 40 s from nothing on a processor (one run; benchmarks/LOG.md). On a card where minutes are
    all there is, and with more time beside nets of one family, a third kind for the blend: the largest ResNet that a
    third of the finalists' time trains soundly. Not where the user names the backbones.
    """
    if not scratch_beside(s) or (s.device == "cpu" and far_behind(history)):
        return []
    nets = candidates(replace(s, pretrained=()))
    if s.device == "cpu" or s.budget < LONG:
        return nets[:1]
    time = final_seconds(s) / 3
    sized = [with_size(net, s, time) for net in nets if family_of(net.backbone) == "resnet"]
    paid = [net for net in sized if epochs_paid(time, net, s) >= epochs_for("sound", net, s)]
    return paid[-1:] or nets[:1]


def ranked(history: History, s: Situation) -> list[Config]:
    """The candidates, most promising first: a static ranking and that of the frozen probes count equally.

    The static ranking is by size, which correlated with the fine-tuned score at .91, the best measure of features at
    .57 (arXiv 2510.06448), while the best of both rankings beats either alone (arXiv 2010.06402).
    """
    nets = candidates(s)
    standing = list(range(len(nets)))
    if {net.weights for net in nets} >= {"box", "hub"}:  # those of the box come first, whatever their size
        by_cost = sorted(standing, key=lambda i: processor_cost(net_named(nets[i].backbone)))
        standing = [by_cost.index(i) for i in standing]
    probed = {t.config.backbone: t.score for t in reversed(history.done(train="features")) if t.config.weights}
    places = sorted(probed.values(), reverse=True)

    def place(i: int, net: Config) -> float:
        static = 2.0 if is_other_scratch(net, s) else 1 - standing[i] / max(len(nets) - 1, 1)
        if net.backbone not in probed or len(places) < 2:
            return static
        return 0.5 * static + 0.5 * places.index(probed[net.backbone]) / (len(places) - 1)

    order = sorted(range(len(nets)), key=lambda i: (place(i, nets[i]), -standing[i]))
    return [nets[i] for i in order]


def within_ranges(net: Config, s: Situation) -> Config:
    """The net with rates, decay, mixing, smoothing and dropout in the user's lists and ranges, which `start` outranks.

    A rate of 0 stays, since such a net finds its own, and numbers are not smoothed like labels.
    """
    free = [name for name in RANGES if name not in s.space.start and (name, s.kind) != ("smoothing", "regression")]
    values = {name: getattr(net, name) for name in free}
    return net.vary(**{name: s.space.nearest(name, value) for name, value in values.items() if value or name != "lr"})


def is_other_scratch(net: Config, s: Situation) -> bool:
    """Whether the net is trained from scratch and of a further family, after residual ones, as nobody asked for it."""
    return not (net.weights or s.space.backbones) and net.backbone in OTHER_SCRATCH[s.device]


def dressed(net: Config, history: History, s: Situation, seconds: float) -> Config:
    """The net at the size that `seconds` for all folds pay for, with the policy and views to start with."""
    policy = (s.space.names() or [base_policy(history)])[0]
    start = {**s.space.start, "preprocess": start_chain(history, s)}
    return with_size(net.vary(policy=policy, tta=tta_for(policy, s.space)), s, seconds).vary(**start)


def base_config(history: History, s: Situation) -> Config:
    """The most promising net, in the batch that is fastest at its size."""
    return with_batch(most_promising(history, s), s)


def most_promising(history: History, s: Situation) -> Config:
    """The net that the plan would train if it could train only one, at its size.

    It is the most promising one that can be trained soundly over all folds in a third of the finalists' time, or else
    in half of it; where none can, the cheapest, at the size for which all of that time is sound or more than enough.
    """
    s = with_useful_nets(history, s)
    time = final_seconds(s)
    nets = ranked(history, s) if s.budget >= LONG else candidates(s)[:1]
    for families, own_size in ((3, True), (2, True), (3, False), (2, False)):
        for net in nets:  # most often the first is taken, and measuring a net's speed takes two seconds
            config = dressed(net, history, s, time / families)
            sound = epochs_in(time / (families * folds_of(s)), config, s) >= epochs_for("sound", config, s)
            if sound and (at_own_size(config, s) or not own_size):
                return with_pixels(config, s, time / families)
    able = (dressed(net, history, s, time / 3) for net in candidates(s))
    cheapest = next((c for c in able if epoch_seconds(c, s) < math.inf), None)
    if cheapest is None:
        return dressed(candidates(s)[0], history, s, time)
    if "size" in s.space.start:
        return cheapest
    sized = with_size(cheapest, s, time)
    if epochs_in(time / folds_of(s), sized, s) >= epochs_for("sound", sized, s):
        return with_pixels(sized, s, time)
    return with_size(cheapest, s, time, "enough", MORE_THAN_ENOUGH)


def at_own_size(config: Config, s: Situation) -> bool:
    """Whether the net has pictures about as large as it was made for, as far as the data allow.

    On a processor any size will do from scratch: half a ResNet-10 at 64 px was best there (LOG.md).
    """
    if config.weights or s.device == "cpu":
        return at_its_size(config, s)
    return config.size >= OWN_SHARE * min(net_named(config.backbone).size, largest_for(config, s))


def with_batch(config: Config, s: Situation) -> Config:
    """The config with the batch that a card was fastest with at the config's own size, within the memory.

    From scratch its rate is raised by the root of the ratio (arXiv 2205.10287); fine-tuning keeps its rates.
    """
    config = within_memory(config, s)
    if s.device == "cpu":
        return config
    batch = s.measure(config.vary(sizes=(), scales=(), test_size=0)).batch
    if config.weights:
        batch = min(batch, max(LARGEST_BATCH, config.batch))
    if batch <= config.batch or "batch" in s.space.start:
        return config
    batch = max(config.batch, within_memory(config.vary(batch=batch), s).batch)
    raised = config.lr if config.weights else round(config.lr * math.sqrt(batch / config.batch), 6)
    return within_ranges(config.vary(batch=batch, lr=raised), s)
