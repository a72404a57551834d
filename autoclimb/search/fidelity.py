"""How long a net should be trained, at what size and on how many folds, and how much of that the budget can pay for.

It all follows from the budget and the facts of the data, never from the clock, so that a replay plans the same.
"""

import math
from typing import Literal

from autoclimb.budget import SLACK
from autoclimb.config import Config
from autoclimb.policies import policy_named
from autoclimb.search.capacity import fits_disk, fits_memory, within_memory
from autoclimb.search.cost import (
    cores_of,
    decoding_of,
    decoding_seconds,
    epoch_seconds,
    measured,
    predict_seconds,
    trunk_seconds,
)
from autoclimb.search.nets import deeper_top_of, net_named, top_of
from autoclimb.search.situation import FIRST_SIZE, Situation, rows_of_fold

Level = Literal["quick", "enough", "sound", "full"]

SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
LONG = 600.0  # seconds of budget from which every net of the portfolio is measured, at two seconds each
LADDER = [round(2 ** (i / 2), 1) for i in range(4, 40)]  # 4 s, 5.7 s, 8 s ... 8 days
SEARCH_SHARE = 0.3  # of the working time for single-fold trials; the rest is the finalists'
PROBE_SHARE = 0.05  # of the budget for frozen features of the available nets on a card
FEWEST_TRIALS = 4  # on a single fold, a base and three moves; with time for fewer, nothing is compared
MORE_THAN_ENOUGH = 1.5  # times enough epochs, from which a larger size or a second net is better (assumption)
SURPLUS = {3: 2.0, 2: 1.5, 1: 1.0}  # number of finalists -> divisor of the time that one of them may get
THIRD = 3.0  # a finalist's epochs over a search trial's, at most: shorter trials rank nets wrongly (LOG.md)
ONE_HOLDOUT = 100_000  # rows above which one held-out part stands for all folds: its standard error is small enough
LARGER_FOR_WEIGHTS = 50_000  # rows of a fold up to which small pictures are enlarged for pretrained nets
SMALLEST_FOR_WEIGHTS, LARGEST = 96, 512  # pixels a side
SMALLEST_FROM_SCRATCH = 64  # pixels a side that smaller pictures are enlarged to; cifar10 gained .1 (LOG.md)
# pixels a side, and factor on the pictures' own, up to which a pretrained net gains more by pixels than by epochs
PIXELS_FIRST, PIXELS_OF_PICTURE = 224, 1.3
ENLARGED_TO = 160  # to which smaller pictures are enlarged: cifar10's, of 32 px, gained most (LOG.md)
OWN_SHARE = 0.66  # of the size that a net was trained at, or of the pictures', below which a smaller net is better: of
# nets of fixed sizes the next smaller one is two thirds (own choice; cifar10 at 96 px was clearly worse than at 160)
# times enough epochs, and share of that size, from which a processor trains all of a net: 6 epochs at 128 px
WHOLE, WHOLE_SHARE = 1.5, 0.57
LARGE_PICTURES, SMALL_FOR_LARGE = 800, 380  # pixels a side: lesions on retinas and leaves are small
AMPLE = 1.5  # times sound epochs of a net's top, from which it is worth seconds to see how fast a deeper one trains
VARIANTS = 2  # of each picture in the stored features of a net's frozen stages: itself and its mirror image
ONE_STEP = 32  # rows of the smallest batch: an epoch of fewer is one step, however few they are
LONGEST = 200.0  # epochs, beyond which no training goes but to have enough steps
PICTURES_PAID = {True: 240_000, False: 1_000_000}  # seen by a net (fine-tuned, from scratch) before more nets pay more


def epochs_for(level: Level, config: Config, s: Situation) -> float:
    """The number of epochs of a level of training.

    "quick" is the minimum of a search trial, "enough" the least worth training, "sound" the aim for a finalist, and
    beyond "full" other nets gain more than longer training. Where rows are few an epoch is a handful of steps, so the
    number of pictures counts too (640 scenes of digits: F2 .73 after 24 epochs, .90 after 54, .95 after 73), and that
    of steps where they fill no batch; where rows are very many, a few epochs are enough.
    """
    tuned, rows = bool(config.weights), max(rows_of_fold(s), ONE_STEP)
    if level == "quick":
        return max(2.0, 2_500 / rows) if tuned else max(10.0, 10_000 / rows)
    # cifar10's top left a loss of .255 after 3.4 epochs at 128 px, .260 after 5.5, .257 after 2.2 at 160 px (LOG.md)
    enough = max(2.5 if config.top else 4.0, 5_000 / rows) if tuned else max(14.0, 30_000 / rows)
    if level == "enough":
        return enough
    paid = PICTURES_PAID[tuned] / rows
    few = min((20_000 if tuned else 100_000) / rows, LONGEST)
    full = max(min(paid, 30.0), 4.0, few) if tuned else max(min(paid, 60.0), 20.0, few, enough)
    if level == "full":
        return full
    if not tuned:
        return max(enough, full / 2)
    # a top soon learns most of what it will: .9144 after 4 epochs on intel_scenes, .9212 after 13 (LOG.md)
    return max(enough, min(full, 6.0 if config.top else max(8.0, full / 2)))


def rung(seconds: float) -> float:
    """The lowest rung of the ladder that is not below `seconds`, so that a larger budget repeats some of the trials."""
    return min((r for r in LADDER if r >= seconds), default=LADDER[-1])


# --- what the budget pays for ----------------------------------------------------------------------------------------


def working(s: Situation) -> float:
    """Seconds of the budget for trials, without those for imports, reading, the first decoding and features."""
    opening = SLACK.opening + decoding_seconds(s, cores_of(s), FIRST_SIZE)
    return max(s.budget - opening, SLACK.working_at_least * s.budget)


def final_seconds(s: Situation) -> float:
    """Seconds for the finalists, roughly."""
    return (1 - SEARCH_SHARE) * 0.9 * working(s)


def folds_of(s: Situation) -> int:
    """The number of folds that a finalist is trained over where time allows."""
    return 1 if s.rows > ONE_HOLDOUT else s.folds


def folds_for(rows: int) -> int:
    """The number of folds for so many rows: five, and more where a single smaller holdout is large enough."""
    return 5 if rows <= ONE_HOLDOUT else 10 if rows <= 5 * ONE_HOLDOUT else 20


def epochs_in(seconds: float, config: Config, s: Situation) -> float:
    """Epochs over one fold's rows that fit into the seconds, predictions included."""
    epoch = epoch_seconds(config, s)
    return max(seconds - predict_seconds(config, s) - SLACK.beside_fold, 0.0) / epoch if epoch < math.inf else 0.0


def epochs_paid(seconds: float, config: Config, s: Situation) -> float:
    """Epochs of each fold where all folds together take the seconds, features of frozen stages included."""
    return epochs_in((seconds - trunk_seconds(config, s)) / folds_of(s), config, s)


def fold_seconds(epochs: float, config: Config, s: Situation) -> float:
    """Seconds of one fold with this number of epochs, predictions included."""
    return epochs * epoch_seconds(config, s) + predict_seconds(config, s) + SLACK.beside_fold


def asked_seconds(time: float, config: Config, s: Situation) -> float:
    """Seconds to ask for, for a fold that takes `time`.

    They are fewer where predicting takes most of it: training gets its least share of what is asked for, not of what
    predicting leaves (`cost.cost_of`), so the last fold would not fit.
    """
    return min(time, max(time - predict_seconds(config, s), 0.0) / SLACK.least_training_share)


def epochs_asked(config: Config, s: Situation) -> float:
    """Epochs of a fold that a config which asks for seconds is trained for."""
    least = max(SLACK.least_training_share * config.seconds - SLACK.beside_fold, 0.0)
    return max(epochs_in(config.seconds, config, s), least / epoch_seconds(config, s))


def finalist_epochs(config: Config, s: Situation) -> float:
    """Epochs that the config would get as a finalist over all folds, at least enough and at most full.

    It may get more than an equal share, since other finalists need less.
    """
    config = config.vary(predict_test=True)
    each = final_seconds(s) / folds_of(s)
    most = kinds_at_hand(s)
    paid = [n for n in (3, 2) if n <= most and soundly(each / n, config, s)]
    epochs = epochs_in(each / SURPLUS[max(paid, default=1)], config, s)
    return min(max(epochs, epochs_for("enough", config, s)), epochs_for("full", config, s))


def one_family(s: Situation) -> bool:
    """Whether the available pretrained nets are all of one family, as those in the box are."""
    return len({net_named(row["backbone"]).family for row in s.pretrained}) == 1


def kind_of(backbone: str, s: Situation) -> str:
    """The kind by which pretrained finalists differ: the family, or the net itself where there is only one family.

    EfficientNet-Lite 0 and 2 beside frozen features, five minutes each, against the better of the two alone: .9636 and
    .9621 of F2 on fod_multilabel, .765 and .757 QWK on elpv_defect, .9312 and .9348 on intel_scenes out of fold; .9636
    and .9618, .790 and .780, .9179 and .9169 on the test (LOG.md).
    """
    return backbone if one_family(s) else net_named(backbone).family


def kinds_at_hand(s: Situation) -> int:
    """The number of kinds among finalists: the pretrained nets', and one from scratch where it is tried too."""
    if not s.pretrained or s.space.backbones:
        return len(SURPLUS)
    return len({kind_of(row["backbone"], s) for row in s.pretrained}) + scratch_beside(s)


def scratch_beside(s: Situation) -> bool:
    """Whether a net from scratch is tried beside pretrained ones, see `starting.from_nothing`."""
    few = s.device == "cpu" or s.budget < LONG or one_family(s)
    return bool(s.pretrained) and few and not s.space.backbones


def search_seconds(base: Config, s: Situation) -> float:
    """Seconds of a single-fold trial: at least a third of a finalist's epochs; more where there is time for forty."""
    least = max(finalist_epochs(base, s) / THIRD, epochs_for("quick", base, s))
    full = fold_seconds(epochs_for("full", base, s) / THIRD, base, s)
    return rung(max(fold_seconds(least, base, s), min(SEARCH_SHARE * working(s) / 40, full)))


def comparable(net: Config, s: Situation) -> bool:
    """Whether changes of the net are worth comparing: if all of it will be trained soundly over all folds.

    On a card, and where it can be cut, it shares that time with a net of another kind, and is trained at about its own
    size. With less time a few epochs of small pictures say little: five comparisons in a five-minute run on elpv_defect
    were all within two standard errors of 0, and left 47 s of 300 for finalists; three minutes of an H100, 78 s of them
    for comparisons at 96 and 128 px, gave .842 on cifar10 where 75 s without any gave .872 (LOG.md).
    """
    net = net.vary(predict_test=True)
    if s.device != "cpu" or with_top(net, s) is not None:
        time = final_seconds(s) / 2
        sized = net if "size" in s.space.start else with_size(net, s, time)
        return at_its_size(sized, s) and epochs_paid(time, sized, s) >= epochs_for("sound", sized, s)
    return soundly(final_seconds(s) / folds_of(s), net, s)


def whole_pays(net: Config, s: Situation, seconds: float) -> bool:
    """Whether a processor should train all of a net that can be cut: for WHOLE epochs or more, at WHOLE_SHARE or more.

    With less time its top, which trains four times as fast on stored features, is better: after 150 s a fold of cifar10
    the full net reached a loss of .268 at 96 px and .251 at 128, the top .235 at 128, and .235 at 160 after half of
    that time. After 300 s on another processor the full net had .226 at 128 px, the top .242 at 160; after 200 s on
    intel_scenes .126 and .136, after 120 s on elpv_defect .83 and .78 ± .09 (LOG.md).
    """
    sized = net if "size" in s.space.start else with_size(net, s, seconds, "enough", WHOLE)
    return at_its_size(sized, s, WHOLE_SHARE) and epochs_paid(seconds, sized, s) >= final_epochs("sound", sized, s)


def final_epochs(level: Level, config: Config, s: Situation) -> float:
    """Epochs that a finalist of the level gets at least: a net for which `whole_pays` counts as trained soundly."""
    instead_of_top = level == "sound" and not config.top and with_top(config, s) is not None
    if instead_of_top and at_its_size(config, s, WHOLE_SHARE):
        return min(WHOLE * epochs_for("enough", config, s), epochs_for("sound", config, s))
    return epochs_for(level, config, s)


def slots(s: Situation, base: Config) -> int:
    """The number of single-fold trials that the search's share pays for, 0 where it would be under FEWEST_TRIALS.

    It is 0, too, where changes of the net are not worth comparing (`comparable`).
    """
    if not comparable(base, s):
        return 0
    for_trials = SEARCH_SHARE * working(s) - s.measure(measured(base)).cold  # a card compiles for the base once
    for_trials -= 2 * decoding_of(base, s)  # its pictures, and those of another size
    paid = int(for_trials / search_seconds(base, s))
    return paid if paid >= FEWEST_TRIALS else 0


# --- sizes -----------------------------------------------------------------------------------------------------------


def largest_for(config: Config, s: Situation) -> int:
    """Pixels a side beyond which the net gains nothing from the pictures.

    Pretrained filters expect objects of a certain size, so small pictures are enlarged for them where rows are few;
    large pictures are worth up to 1.75 times the size that the net was made for.
    """
    near = max(SMALLEST_FROM_SCRATCH, math.floor(1.3 * s.side))
    if config.weights:
        near = max(near, 224 if rows_of_fold(s) <= LARGER_FOR_WEIGHTS else SMALLEST_FOR_WEIGHTS)
    return min(near, max(math.floor(1.75 * net_named(config.backbone).size), 256), LARGEST)


def at_its_size(config: Config, s: Situation, share: float = OWN_SHARE) -> bool:
    """Whether a pretrained net's pictures are about as large as those it was trained on, as far as the data allow."""
    return share_of_own_size(config, s) >= share


def share_of_own_size(config: Config, s: Situation) -> float:
    """Pixels a side over those that a pretrained net was trained on, as far as the data allow; 1 from scratch."""
    own = min(net_named(config.backbone).size, largest_for(config, s))
    return config.size / own if config.weights else 1.0


def pixels_first(config: Config, s: Situation) -> float:
    """Pixels a side up to which a pretrained net gains more by larger pictures than by epochs beyond enough.

    In the time of a five-minute run the top of an EfficientNet-Lite reached a loss of .161, .142 and .147 on
    intel_scenes at 96, 128 and 160 px after 8, 5 and 3 epochs, of .972, .729 and .795 on elpv_defect at 96, 160 and
    224 px after 9, 4 and 1, of .309, .260 and .247 on cifar10 at 96, 128 and 160 px after 9.8, 5.5 and 3.5 (LOG.md).
    """
    most = max(PIXELS_OF_PICTURE * s.side, ENLARGED_TO)
    return min(PIXELS_FIRST, net_named(config.backbone).size, most) if config.weights else 0.0


def least_size(config: Config, s: Situation) -> int:
    """The smallest size at which a plan may train the config's net: its own where the net or the user leaves no choice.

    A net of fixed sizes cannot even be measured at another one.
    """
    return config.size if not config.weights or "size" in s.space.start else min(sizes_for(config, s))


def sound_at_its_size(config: Config, s: Situation) -> float:
    """Sound epochs at the config's size; enough epochs count as sound at a larger size up to `pixels_first`."""
    larger = least_size(config, s) < config.size <= pixels_first(config, s)
    return epochs_for("enough" if larger else "sound", config, s)


def soundly(seconds: float, config: Config, s: Situation) -> bool:
    """Whether the seconds of a fold train the net soundly at its least size, and soundly for its own size too."""
    least = config.vary(size=least_size(config, s))
    at_least_size = epochs_in(seconds, least, s) >= epochs_for("sound", least, s)
    return at_least_size and epochs_in(seconds, config, s) >= sound_at_its_size(config, s)


def with_pixels(config: Config, s: Situation, seconds: float, most: int = LARGEST) -> Config:
    """The config at the largest size up to `pixels_first` at which memory and `seconds` allow enough epochs.

    It has at most `most` pixels a side, for a net whose sizes the search has compared.
    """
    if "size" in s.space.start or config.sizes or config.scales or config.test_size:
        return config
    most = min(most, math.floor(pixels_first(config, s)))
    larger = [config.vary(size=n) for n in sizes_for(config, s) if config.size < n <= most]
    # a full net of cifar10 was worse after 4 epochs at 160 px than after 6.5 at 128 (LOG.md)
    times = WHOLE if not config.top and with_top(config, s) is not None else 1.0
    paid = [c for c in larger if epochs_paid(seconds, c, s) >= times * epochs_for("enough", c, s)]
    fitting = [c for c in (within_memory(c, s) for c in reversed(paid)) if fits_memory(c, s)]
    return fitting[0] if fitting else config


def with_deeper_top(config: Config, s: Situation, seconds: float) -> Config:
    """The config with more of its net's stages trained, where `seconds` pay for sound epochs of them at its size.

    Single runs, the same time: on cifar10 four stages of lite0 at 160 px had .227 and two .235 of loss, ± .010, and on
    four other sets they differed by no more than their errors or 1.3 % (LOG.md).
    """
    deeper = config.vary(top=deeper_top_of(config.backbone))
    if not (config.top and deeper.top) or "top" in s.space.start:
        return config
    # measuring its speed takes seconds, so only where the smaller top would be trained for longer than pays
    ample = epochs_paid(seconds, config, s) >= AMPLE * epochs_for("sound", config, s)
    fits = ample and fits_disk(deeper, s) and fits_memory(deeper, s)
    return deeper if fits and epochs_paid(seconds, deeper, s) >= epochs_for("sound", deeper, s) else config


def suits(config: Config, s: Situation) -> bool:
    """Whether a net of fixed sizes has one neither far above the pictures' size nor far below large pictures'."""
    sizes = net_named(config.backbone).sizes if config.weights else ()
    large = s.side >= LARGE_PICTURES and rows_of_fold(s) <= LARGER_FOR_WEIGHTS
    return not sizes or (min(sizes) <= largest_for(config, s) and not (large and max(sizes) < SMALL_FOR_LARGE))


def sizes_for(config: Config, s: Situation) -> list[int]:
    """The sensible sizes for the net, the pictures and the disk, ascending; at least one."""
    most, fixed = largest_for(config, s), list(net_named(config.backbone).sizes)
    if s.space.sizes:
        sizes = sorted(s.space.sizes)
    elif not config.weights:
        sizes = [n for n in SIZES if SMALLEST_FROM_SCRATCH <= n <= most]
    else:
        sizes = [n for n in fixed or SIZES if n <= most and (fixed or n >= SMALLEST_FOR_WEIGHTS)] or fixed[:1]
    return [n for n in sizes if fits_disk(config.vary(size=n), s)] or sizes[:1]


def with_size(config: Config, s: Situation, seconds: float, level: Level = "sound", times: float = 1.0) -> Config:
    """The config at the largest sensible size at which `seconds` pay for `times` the level over all folds.

    Where they do so at none, it has the smallest size.
    """
    sizes = sizes_for(config, s)
    least = times * epochs_for(level, config, s)
    fitting = [n for n in sizes if epochs_paid(seconds, resized(config, n), s) >= least]
    return within_memory(resized(config, max(fitting, default=min(sizes))), s)


def resized(config: Config, size: int) -> Config:
    """The config at that size, without progressive sizes that are not smaller."""
    return config.vary(size=size, sizes=tuple(n for n in config.sizes if n < size))


def with_top(config: Config, s: Situation) -> Config | None:
    """The config that trains only the top of its net, on stored features of the stages below.

    A processor trains it several times as fast. None on a card, where the net cannot be cut, or where the disk is too
    small.
    """
    top = top_of(config.backbone) if config.weights and s.device == "cpu" and not config.grid else 0
    if not top or "top" in s.space.start or (s.space.tta and s.space.tta[0] not in ("none", "flip")):
        return None
    mirrors = policy_named(config.policy, s.space.pipelines()).mirrors
    views = s.space.tta[0] if s.space.tta else "flip" if mirrors else "none"
    # tops learned worse with norms that keep their statistics than with those of their batches (LOG.md)
    changed = {"sizes": (), "scales": (), "test_size": 0, "unfreeze": 0.0, "frozen_norms": False}
    topped = config.vary(top=top, variants=VARIANTS, tta=views, **changed)
    return topped if fits_disk(topped.vary(size=min(sizes_for(topped, s))), s) else None
