"""Frozen features under a head in closed form: hand-made ones, and those of pretrained nets.

On a card they probe the nets; on a processor they are a climb of their own, seconds each and scored over all folds.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

from autoclimb.config import Config
from autoclimb.search.capacity import fits_disk
from autoclimb.search.cost import decoding_of, full_cost, head_seconds, pictures_of
from autoclimb.search.fidelity import (
    LONG,
    PROBE_SHARE,
    Level,
    epochs_for,
    epochs_in,
    epochs_paid,
    final_seconds,
    folds_of,
    least_size,
    sizes_for,
    with_top,
    working,
)
from autoclimb.search.nets import fine_tuning, net_named, top_of
from autoclimb.search.regions import region_seconds, start_chain, try_regions
from autoclimb.search.situation import Situation
from autoclimb.search.starting import candidates, with_useful_nets
from autoclimb.types import History

# Seconds of budget below which there is time for frozen features only, if they are useful, and of a single view.
# Measured at 60 and 300; between them it is where the top of a net would get enough epochs only at 96 px (own choice).
SHORT = 150.0
# Share of a budget up to LONG for probes on a card, of a longer one no fewer seconds: over all folds they were the best
# members in three minutes of an H100 (intel_scenes .926, the nets .906 and .855; LOG.md).
SHORT_PROBE_SHARE = 0.1
FROM_HAND = ("patches", "gradients")  # hand-made features, the better and slower first
# share of the budget that the faster of them may take: nothing else says which flips are safe
LEAST_HAND_MADE = 0.15
# shares of the budget for frozen features on a processor, where they replace the search if no nets can be compared
FROZEN_SHARE = {"shortest": 0.45, "short": 0.3, "long": 0.12}  # below SHORT, below LONG, and beyond
FROZEN_SIZES = (128, 96, 64)  # pixels a side of the first frozen features: the largest that the time pays for,
HEADS = ("kernel", "linear")  # with the better head if it pays for that
LAYERS = 4  # whose features are joined under one head: on intel_scenes .906, .913, .918, .919 for 1 to 4 (LOG.md)


def features_are_all(history: History, s: Situation) -> bool:
    """Whether there is time for frozen features only, since they are worth more than a net on a single fold.

    In a minute no pretrained net sees enough pictures, and a blend of features over all folds gave no weight to a net
    trained on one of them (five sets of six; LOG.md), while it does to further features. The same holds in more minutes
    where pictures are so many that not even the top of a net could be trained over all folds.
    """
    short = s.device == "cpu" and s.budget < LONG and not s.space.backbones
    probed = any(t.config.weights for t in history.done(train="features"))
    if not (short and probed and with_useful_nets(history, s).pretrained):
        return False
    return s.budget < SHORT or not over_all_folds(s)


def seconds_for_frozen(s: Situation) -> float:
    """Seconds for frozen features of pretrained nets on a processor; from SHORT on no fewer than up to there."""
    share = FROZEN_SHARE["shortest" if s.budget < SHORT else "short" if s.budget < LONG else "long"]
    return max(share * s.budget, FROZEN_SHARE["shortest"] * min(s.budget, SHORT))


def over_all_folds(s: Situation) -> bool:
    """Whether what features leave of a short budget pays for enough epochs of the cheapest net over all folds.

    They are its top's where it can be cut, which takes less time than the full net; measuring that too would take two
    seconds. Where the rest was too short, three minutes trained a full net on one fold, for two epochs.
    """
    time = working(s) - seconds_for_frozen(s) - LEAST_HAND_MADE * s.budget
    net = candidates(s)[0]
    net = net.vary(size=least_size(net, s))
    cheapest = with_top(net, s) or net
    return epochs_paid(time, cheapest, s) >= epochs_for("enough", cheapest, s)


def of_nets(stage: Callable[..., Iterator[list[Config]]]) -> Callable[..., Iterator[list[Config]]]:
    """The stage, skipped where there is time for features only: even measuring a net's speed takes seconds."""

    @wraps(stage)
    def unless_features_are_all(history: History, s: Situation, **more: Any) -> Iterator[list[Config]]:
        if not features_are_all(history, s):
            yield from stage(history, s, **more)

    return unless_features_are_all


def frozen_features(history: History, s: Situation) -> Iterator[list[Config]]:
    """Frozen features under a head in closed form: probes of nets on a card, a climb of their own on a processor."""
    if not s.space.features:
        return
    if s.device == "cpu":
        yield from _hand_made(s, 0.12 if s.pretrained else 0.24)
        yield from _frozen_climb(history, s)
    else:
        yield from _frozen_probes(history, s)
        yield from _hand_made(s, 0.02)


def plain_features(s: Situation) -> Config:
    """The fastest hand-made features under a kernel head, over all folds."""
    every = tuple(range(s.folds))
    config = Config(train="features", backbone="gradients", size=64, tta="none", folds=every, seed=s.seed)
    return config.vary(preprocess=s.space.chains()[0])


def _hand_made(s: Situation, share: float) -> Iterator[list[Config]]:
    """The best hand-made features that take less than that share of the budget, for a first score within seconds."""
    plain = plain_features(s)
    for name in FROM_HAND:
        most = max(share, LEAST_HAND_MADE) if name == FROM_HAND[-1] and s.device == "cpu" else share
        if full_cost(plain.vary(backbone=name), s) < most * s.budget:
            yield [plain.vary(backbone=name)]
            return


def frozen_net(row: dict[str, Any], size: int, s: Situation, **changes: Any) -> Config:
    """The frozen features of a pretrained net under a kernel head, over all folds.

    On a processor the features of its lower stages are stored where the disk allows it, since features of other layers
    and the training of its top start from them.
    """
    args = tuple(sorted(row["model_args"].items()))
    net = {"backbone": row["backbone"], "weights": row["weights"], "model_args": args, "size": size}
    config = plain_features(s).vary(**net, batch=fine_tuning([row], s.device)[0].batch).vary(**changes)
    top = top_of(config.backbone)
    layers = min(LAYERS, top + 2) if top else 1
    topped = config.vary(layers=layers, top=top)
    stored = s.device == "cpu" and s.budget >= SHORT and fits_disk(topped, s)
    return topped if stored else config.vary(layers=layers)


def _frozen_probes(history: History, s: Situation) -> Iterator[list[Config]]:
    """A probe of each net, families in turn, within a share of the budget that includes downloads and decoding.

    Where rows are many a probe has one fold and a linear head. Where time is short, nets that need no download are
    probed over all folds first, with a linear head and smaller pictures if need be. Most probes share one size, so that
    pictures are decoded once.
    """
    for_regions = region_seconds(s)
    at_hand = s.budget < LONG and not any(row["weights"] == "hub" for row in s.pretrained)
    left = max(PROBE_SHARE * s.budget, SHORT_PROBE_SHARE * min(s.budget, LONG)) - for_regions
    decoded, shared = set(s.decoded), 0
    for row in _families_in_turn(s):
        own = net_named(row["backbone"]).sizes
        sizes = [n for n in sizes_for(Config(backbone=row["backbone"], weights=row["weights"]), s) if n <= 256]
        first = 224 if not own and 224 in sizes else max(sizes, default=min(own, default=224))
        smaller = sorted((n for n in sizes if n < first), reverse=True) if at_hand else []
        for config in _probes_of(row, [shared] if shared and not own else [first, *smaller], s, at_hand):
            cost = full_cost(config, s) + decoding_of(config, replace(s, decoded=decoded))
            if cost <= left / 4 or (cost <= left and config.head == "linear"):
                left -= cost
                decoded.add(pictures_of(config))
                shared = shared or (config.size if at_hand and not own else 0)
                yield [config]
                break
    yield from try_regions(history, s, left + for_regions)


def _probes_of(row: dict[str, Any], sizes: list[int], s: Situation, at_hand: bool) -> Iterator[Config]:
    """The probes of a net's frozen features at those sizes, the best first."""
    for size in sizes:
        yield frozen_net(row, size, s)
        if at_hand:
            yield frozen_net(row, size, s, head="linear")
        yield frozen_net(row, size, s, folds=(0,))
        yield frozen_net(row, size, s, folds=(0,), head="linear")


def _families_in_turn(s: Situation) -> list[dict[str, Any]]:
    """The pretrained nets, the largest affordable one of each family first, then each family's next; else the cheapest.

    In a short budget only probed nets are trained, so the probes are of nets that can be trained soundly, and of other
    families before that of the net that a short search starts from.
    """
    time = final_seconds(s) / (3 * folds_of(s))
    levels: tuple[Level, ...] = ("enough",) if s.budget >= LONG else ("sound", "enough")
    smallest = [net.vary(size=least_size(net, s)) for net in (candidates(s) if s.pretrained else [])]
    paid: list[Config] = []
    for level in levels:
        paid = paid or [net for net in smallest if epochs_in(time, net, s) >= epochs_for(level, net, s)]
    rows = [
        {"backbone": net.backbone, "weights": net.weights, "model_args": dict(net.model_args)}
        for net in paid or smallest[:1]
    ]
    last = net_named(smallest[0].backbone).family if smallest and s.budget < LONG else ""
    turns: dict[str, int] = {}
    order = []
    for row in reversed(rows):
        family = net_named(str(row["backbone"])).family
        turns[family] = turns.get(family, 0) + 1
        order.append((family == last, turns[family], row))
    return [row for *_, row in sorted(order, key=lambda entry: entry[:2])]


def first_look(row: dict[str, Any], left: float, s: Situation) -> tuple[Config, float]:
    """The first frozen features of a net that the time pays for, at the largest size, and the seconds for such trials.

    Two views take twice the time; they are preferred to one view of larger pictures, as the training of a top needs
    both. Where only tiny pictures would fit, they may take as long as in a smaller budget, so that a larger budget
    never uses smaller pictures.
    """
    short = s.budget < SHORT
    views = ("none",) if short else ("flip", "none")
    large, small = ([(size, v) for v in views for size in sizes] for sizes in (FROZEN_SIZES[:-1], FROZEN_SIZES[-1:]))
    # the rest is for heads, sizes and views of the best
    usual = left if short else 0.75 * left
    before = max(left, 0.75 * FROZEN_SHARE["short"] * min(s.budget, LONG))
    for most, looks in ((usual, large), (before, [*large, *small])):
        for size, view in looks:
            for head in HEADS:
                config = frozen_net(row, size, s, tta=view, head=head)
                if full_cost(config, s) + decoding_of(config, s) <= most:
                    return config, most - decoding_of(config, s)
    return config, before


def _frozen_climb(history: History, s: Situation) -> Iterator[list[Config]]:
    """The nets at hand that the time pays for, then sizes, heads and views of the best, scored over all folds."""
    # nets of the hub the largest first: size says most of a net's worth (starting.ranked)
    of_hub = [row for row in reversed(s.pretrained) if row["weights"] == "hub" and s.budget >= LONG]
    rows = [*(row for row in s.pretrained if row["weights"] != "hub"), *of_hub]
    if not rows:
        return
    left = seconds_for_frozen(s)
    look, most = first_look(rows[0], left, s)
    first = [frozen_net(row, look.size, s, tta=look.tta, head=look.head) for row in rows]
    for config in first:
        cost = full_cost(config, s)
        if cost <= most:
            most -= cost
            left -= cost
            yield [config]
        if s.budget < LONG and cost > most:  # larger nets cost more, and measuring their speed takes seconds
            break
        if not with_useful_nets(history, s).pretrained:
            return
    every = first[0].folds  # a trial that was cut short has fewer
    tried = [t for config in first for t in history.done() if t.config.vary(folds=every) == config]
    if not tried:
        return
    yield from try_regions(history, s, region_seconds(s))
    best = max(tried, key=lambda t: t.score)
    other = "none" if look.tta == "flip" else "flip"
    region = [{"preprocess": chain} for chain in [start_chain(history, s)] if chain != best.config.preprocess]
    changes: list[dict[str, Any]] = [*region, {"head": "linear"}, {"size": 160}, {"size": 224}]
    changes += [{"tta": other}] if s.budget >= LONG else []  # takes as long as a further net, and gains least
    seen = [trial.config for trial in tried]  # whose nets are downloaded
    for change in changes:
        config = best.config.vary(folds=every, **change)
        size = change.get("size", 0)
        near = not size or (best.config.size < size <= max(160, 2 * s.side) and not net_named(config.backbone).sizes)
        decoding = decoding_of(config, s) if size or "preprocess" in change else 0.0
        cost = head_seconds(config, s.folds, s) if "head" in change else full_cost(config, s, seen) + decoding
        if size and cost > left:  # pixels are worth more than a second view
            config = config.vary(tta="none")
            cost = full_cost(config, s) + decoding
        if near and cost <= left and config != best.config:
            left -= cost
            yield [config]
            trial = next((t for t in history.done() if t.key == config.key), None)
            best = trial if trial is not None and trial.score > best.score else best
