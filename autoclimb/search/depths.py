"""A few nets at several depths: how many finalists a processor makes of nets that can be cut."""

from autoclimb.config import Config
from autoclimb.search.capacity import all_kept, fits_disk, fits_memory, within_memory
from autoclimb.search.cost import decoding_of, pictures_of, trunk_seconds
from autoclimb.search.families import KINDS, beside_folds
from autoclimb.search.fidelity import (
    LONG,
    MORE_THAN_ENOUGH,
    OWN_SHARE,
    WHOLE_SHARE,
    epochs_for,
    final_epochs,
    fold_seconds,
    folds_of,
    largest_for,
    one_family,
    resized,
    sizes_for,
    with_top,
)
from autoclimb.search.nets import deeper_top_of, net_named
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.search.starting import FEW_ROWS

# Which of the two best nets, and how much of it trains, cheapest list first. Against the tops of both (0 and 1), by log
# loss of their pool on cifar10, intel_scenes, elpv_defect and leaf99, known to .01 or .03: with a deeper top of the
# first -.026, -.003, -.011 and -.066, with all of it -.028, -.023, -.041 and -.016, with all of it and two deeper tops
# -.047, -.020, -.035 and -.157; with both tops from another seed -.010, -.008, -.009 and +.004 (LOG.md, "Nets at
# several depths"). With norms that keep their statistics all of it gained -.051, -.030, -.021 and +.015, the deeper top
# beside the same tops -.033, -.015, -.010 and -.072 (LOG.md, "Norms that keep their statistics"): so it comes third,
# but where rows are few, as on leaf99.
TOPS = ((0, "top"), (1, "top"))
WITH_ALL = (*TOPS, (0, "all"))
LISTS = (
    TOPS,
    (*TOPS, (0, "deeper")),
    WITH_ALL,
    (*TOPS, (0, "all"), (0, "deeper")),
    (*TOPS, (0, "all"), (0, "deeper"), (1, "deeper")),
    (*TOPS, (0, "all"), (0, "deeper"), (1, "deeper"), (1, "all")),
)
# Where time pays for two nets only: all of the first beside frozen features and a top had less loss than both tops,
# beyond its error on four sets of six, within it on two, and after .6 of the epochs on two of five and no more on the
# others (LOG.md, "A bank of six sets"; of these, elpv_defect and fod_multilabel have other folds than a run).
PAIR = ((0, "all"), (1, "top"))
PAIR_LEAST = 0.8  # times enough epochs of each of the pair: all of a net had .75 and 1.25 times as many there
SHARES = (1.0, 0.85, OWN_SHARE)  # of a net's own size: 224, 192 and 160 px of 224


def at_depths(heads: list[list[Config]], time: float, s: Situation) -> list[Config]:
    """The best nets at several depths, as many of LISTS as `time` pays for over all folds, else PAIR, else [].

    More than enough epochs of each are paid for; beyond that, larger pictures come before longer training. Nets that
    train to different depths err as differently as different nets do, while a top has learned most of what it will
    after a few epochs. A net from scratch among the heads comes along where it is paid for too. It is [] where the nets
    at hand are of several families, or the time is too short to measure each depth.
    """
    nets = [family[0] for family in heads if family[0].weights and with_top(family[0], s) is not None][:2]
    if s.budget < LONG or not one_family(s) or not nets:
        return []
    scratch = [family[0] for family in heads if not family[0].weights][:1]
    paid: list[Config] = []
    for row in (row for row in LISTS if row != WITH_ALL or rows_of_fold(s) >= FEW_ROWS):
        depths = [c for i, depth in row if i < len(nets) and (c := at_depth(nets[i], depth, s)) is not None]
        sized = largest_paid([*depths, *scratch], time, s) or largest_paid(depths, time, s)
        if not sized:  # nor is a longer list, whose other nets would each be measured for seconds
            break
        paid = sized if len(sized) >= max(len(paid), KINDS) else paid
    if paid or len(nets) < 2 or rows_of_fold(s) < FEW_ROWS:
        return paid
    pair = [c for i, depth in PAIR if (c := at_depth(nets[i], depth, s)) is not None]
    sized = [at_share(config, OWN_SHARE, s) for config in pair]
    return sized if pay(sized, OWN_SHARE, time, s, PAIR_LEAST) else []


def largest_paid(configs: list[Config], time: float, s: Situation) -> list[Config]:
    """The configs at the largest of SHARES that `time` pays for; [] where it pays for none."""
    sizings = ([at_share(config, share, s) for config in configs] for share in SHARES)
    return next((sizing for share, sizing in zip(SHARES, sizings, strict=True) if pay(sizing, share, time, s)), [])


def at_depth(net: Config, depth: str, s: Situation) -> Config | None:
    """The net with its top, a deeper one, or all of it training; None where it has no such cut."""
    if depth == "all":
        return net
    top = with_top(net.vary(seconds=0.0), s)
    if top is None or depth == "top":
        return top
    deeper = deeper_top_of(net.backbone)
    return top.vary(top=deeper) if deeper else None


def at_share(config: Config, share: float, s: Situation) -> Config:
    """The config at about `share` of its net's own size, less where all of it trains.

    A net from scratch, or one that was tried, keeps its size.
    """
    if config.seconds or not config.weights or "size" in s.space.start:
        return config
    share *= 1.0 if config.top else WHOLE_SHARE / OWN_SHARE
    own = min(net_named(config.backbone).size, largest_for(config, s))
    size = min(sizes_for(config, s), key=lambda n: abs(n - share * own))
    return within_memory(resized(config, size), s)


def pay(configs: list[Config], share: float, time: float, s: Situation, times: float = MORE_THAN_ENOUGH) -> bool:
    """Whether `time` pays for the configs over all folds, and disk and memory hold each.

    They get so many times enough epochs each, and sound ones where they are above the least share of their size.
    """
    if not all_kept(configs, s) or not all(fits_disk(config, s) and fits_memory(config, s) for config in configs):
        return False
    pictures = {pictures_of(config): decoding_of(config, s) for config in configs}
    beside = sum(beside_folds(config, len(configs), s) + trunk_seconds(config, s) for config in configs)
    each = [needs(c, s, final_epochs("sound", c, s) if share > OWN_SHARE else 0.0, times) for c in configs]
    return sum(pictures.values()) + beside + folds_of(s) * sum(each) <= time


def needs(config: Config, s: Situation, epochs: float = 0.0, times: float = MORE_THAN_ENOUGH) -> float:
    """Seconds of a fold that give the config so many times enough epochs, and at least `epochs`."""
    return fold_seconds(max(times * epochs_for("enough", config, s), epochs), config, s)
