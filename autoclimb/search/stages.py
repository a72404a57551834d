"""The moves. A stage is a function from the past to what to try next; PLAN is their order.

Times come from a ladder, so that a larger budget asks for some of the same trials and finds them on record.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from autoclimb.search.cost import cost_of, epoch_seconds, speed_of
from autoclimb.search.portfolio import (
    POLICY_MOVES,
    fine_tuning,
    from_scratch,
    loss_moves,
    rare_start,
    tta_for,
)
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.types import Config, History, Trial

LADDER = [round(2 ** (i / 2), 1) for i in range(4, 40)]  # 4 s, 5.7 s, 8 s ... 8 days
SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
SEARCH_SHARE = 0.3  # of the budget for single-fold trials; the rest is the finalists'
# epochs and pictures seen, of a fold's net that is fine-tuned or from scratch; the larger of the two counts: where rows
# are few an epoch is a handful of steps (640 scenes of digits: F2 .73 after 24 epochs, .90 after 54, .95 after 73)
ENOUGH = {True: (4.0, 5_000), False: (14.0, 30_000)}  # under which it is not worth fitting
FULL = {True: (12.0, 20_000), False: (60.0, 100_000)}  # over which more nets are fitted instead of longer ones
SAME = 1.15  # ratio of losses under which a mirrored picture counts as another of its kind
FROM_HAND = ("patches", "gradients")  # hand-made features, the better and slower first
OPENING = 20.0  # seconds until the first net trains, on 2 cores
FEWEST = 4  # single-fold trials: a base and three moves
LONG = 600.0  # seconds of budget from which every net of the portfolio is looked at
FEW_ROWS = 1000  # of a fold: below, the usual batch takes too few steps (LOG.md: 640 and 555 rows gain, 1,104 do not)
QUICK = {True: (2.0, 2_500), False: (10.0, 10_000)}  # of a search trial at least
SKILL = 0.1  # share of a constant's loss that features must take off to be believed about mirrored pictures


def rung(seconds: float) -> float:
    """The highest rung of the ladder that is not above `seconds`."""
    return max((r for r in LADDER if r <= seconds), default=LADDER[0])


# --- the base that the moves start from ------------------------------------------------------------------------------


def base_policy(history: History) -> str:
    """The variation to start with: flips only where held-out pictures were understood as well mirrored or turned."""
    seen = next((t.facts for t in history.done(train="features") if "mirror" in t.facts), None)
    if seen is None:
        return "flip"
    if seen["skill"] < SKILL:
        return "shift"
    if max(seen["mirror"], seen["turn"]) < SAME:
        return "dihedral"
    return "flip" if seen["mirror"] < SAME else "affine"


def base_config(history: History, s: Situation) -> Config:
    """The net that the plan would train if it could train only one: backbone and size by what the time allows."""
    nets = candidates(s) if s.budget >= LONG else candidates(s)[:1]  # a look at a net's speed costs two seconds
    policy = (s.space.names() or [base_policy(history)])[0]

    def dressed(net: Config) -> Config:
        chosen = {**s.space.start, "preprocess": s.space.chains()[0]}
        return with_size(with_batch(net, s).vary(policy=policy, tta=tta_for(policy, s.space)), s).vary(**chosen)

    made = [c for c in map(dressed, nets) if epoch_seconds(c, s) < math.inf]
    for net in [] if made else candidates(s)[len(nets) :]:  # the cheapest cannot be built here: the next that can
        if epoch_seconds(dressed(net), s) < math.inf:
            made = [dressed(net)]
            break
    made = made or [dressed(nets[0])]
    # the largest net that still gets enough epochs in the finalists' time; the smallest where none does
    fitting = [c for c in made if epochs_in(final_seconds(s), c, s) >= 4 * epochs_for(ENOUGH, c, s)]
    return (fitting or made[:1])[-1]


def candidates(s: Situation) -> list[Config]:
    """The nets that may be tried, cheapest first, all at their first values."""
    nets = fine_tuning(s.pretrained) if s.pretrained else from_scratch(s.device)
    if s.space.backbones:
        by_name = {net.backbone: net for net in nets}
        plain = Config(lr=2e-3, weight_decay=0.05)
        hub = next((row for row in s.pretrained if row["weights"] == "hub"), None)
        made = []
        for name in s.space.backbones:
            if name in by_name:
                made.append(by_name[name])
            else:
                made.append(fine_tuning([{**hub, "backbone": name}])[0] if hub else plain.vary(backbone=name))
        nets = made
    start: dict[str, Any] = {"seed": s.seed}
    if not s.pretrained and rows_of_fold(s) < FEW_ROWS:
        start["batch"] = 32
    if s.kind == "multiclass" and s.wants != "probability":
        start["smoothing"] = 0.1  # TorchVision's recipe: +0.3 points on ImageNet; a probability metric would pay for it
    start |= {**rare_start(s), **s.space.start, "preprocess": s.space.chains()[0]}
    if s.space.losses:
        start["loss"] = s.space.losses[0]
    if s.space.pools:
        start["pool"] = s.space.pools[0]
    if s.space.class_weights:
        start["class_weights"] = s.space.class_weights[0]
    if s.space.samplers:
        start["sampler"] = s.space.samplers[0]
    if s.space.optimizers:
        start["optimizer"] = s.space.optimizers[0]
    if s.space.schedules:
        start["schedule"] = s.space.schedules[0]
    return [net.vary(**start) for net in nets]


def from_nothing(s: Situation) -> list[Config]:
    """The small net without pretrained weights that is tried beside pretrained ones on a processor.

    There it sees four times the pictures a second, and pictures may be unlike ImageNet's: hand signs reached .99 on a
    held-out fold after 40 s from nothing (one run; benchmarks/LOG.md). Not where the user names the backbones.
    """
    wanted = s.pretrained and s.device == "cpu" and not s.space.backbones
    return candidates(replace(s, pretrained=()))[:1] if wanted else []


def with_size(config: Config, s: Situation) -> Config:
    """The config at the largest sensible size: near the pictures' own, if the time gives enough epochs there."""
    own = s.space.sizes or [n for n in SIZES if n <= max(64, 1.3 * s.side) and n >= 64]
    if config.weights:  # pretrained filters expect objects of a certain size: small pictures are enlarged for them
        own = s.space.sizes or [n for n in SIZES if 96 <= n <= max(128, 1.3 * s.side)]
    least = (1.5 if config.weights else 2) * epochs_for(ENOUGH, config, s)
    fitting = [n for n in own if epochs_in(final_seconds(s), config.vary(size=n), s) >= least]
    return config.vary(size=max(fitting, default=min(own)))


def with_batch(config: Config, s: Situation) -> Config:
    """The config with the larger batch that a card was faster with, its rate raised by the root (arXiv 2205.10287)."""
    batch = speed_of(config, s).batch
    if batch <= config.batch or "batch" in s.space.start:
        return config
    return config.vary(batch=batch, lr=round(config.lr * math.sqrt(batch / config.batch), 6))


def working(s: Situation) -> float:
    """Seconds of the budget that trials can have: imports, reading and the first features take the others."""
    return max(s.budget - OPENING, 0.4 * s.budget)


def final_seconds(s: Situation) -> float:
    """Seconds that the finalists will have, roughly; fixed by the budget, so that a replay decides alike."""
    return (1 - SEARCH_SHARE) * 0.9 * working(s)


def epochs_in(seconds: float, config: Config, s: Situation) -> float:
    """Epochs over one fold's rows that fit into these seconds."""
    return seconds / epoch_seconds(config, s)


def epochs_for(what: dict[bool, tuple[float, int]], config: Config, s: Situation) -> float:
    """Epochs of ENOUGH, FULL or QUICK training: so many, or so many pictures seen where rows are few."""
    epochs, pictures = what[bool(config.weights)]
    return max(epochs, pictures / rows_of_fold(s))


def search_seconds(base: Config, s: Situation) -> float:
    """Seconds of one single-fold trial: enough epochs to tell moves apart; with much time some forty trials."""
    share = SEARCH_SHARE * working(s)
    least = epochs_for(QUICK, base, s) * epoch_seconds(base, s) + 2
    return rung(min(max(least, share / 40), 0.25 * epochs_for(FULL, base, s) * epoch_seconds(base, s) + 2))


def slots(s: Situation, base: Config) -> int:
    """Single-fold trials that the search's share pays for; none where it pays for so few that nothing is compared."""
    paid = int(SEARCH_SHARE * working(s) / search_seconds(base, s))
    return paid if paid >= FEWEST else 0


def allowed(s: Situation, base: Config, stage: str, wanted: int) -> int:
    """Moves of a stage: its part of the slots, handed out in rounds so that every stage gets its first move first."""
    order = ("backbone", "augmentation", "resize", "loss")  # by what a first move was worth; benchmarks/LOG.md
    moves = max(0, slots(s, base) - 1)
    if moves > 12:
        moves = 12 + (moves - 12) // 2  # beyond a dozen, half of the slots are the refinement's
    given = dict.fromkeys(order, 0)
    for i in range(moves):
        given[order[i % len(order)]] += 1
    return min(given[stage], wanted)


# --- the stages ------------------------------------------------------------------------------------------------------


def baseline(history: History, s: Situation) -> Iterator[list[Config]]:
    """Features with closed-form heads over all folds: a whole honest score within seconds; then the base net."""
    every = tuple(range(s.folds))
    plain = Config(train="features", backbone="gradients", size=64, tta="none", folds=every, seed=s.seed)
    plain = plain.vary(preprocess=s.space.chains()[0])
    if s.space.features:
        shortly = 0.12 * s.budget
        most = shortly if s.pretrained else 2 * shortly
        fitting = [c for c in (plain.vary(backbone=name) for name in FROM_HAND) if cost_of(c, s) < most]
        if fitting:
            yield fitting[:1]
        for row in s.pretrained[: 2 if s.budget < 1200 else 4]:
            if row["weights"] == "hub":
                continue  # a download is worth it only for a net that is fine-tuned
            frozen = plain.vary(
                backbone=row["backbone"],
                weights=row["weights"],
                model_args=tuple(sorted(row["model_args"].items())),
                size=min(128, max(SIZES[4], s.side)),
                tta="flip",
            )
            if cost_of(frozen, s) < 2 * shortly:
                yield [frozen]
    base = base_config(history, s)
    if slots(s, base):
        yield [base.vary(seconds=search_seconds(base, s))]


def leader(history: History, s: Situation) -> Config:
    """The best single-fold net so far at search seconds; the base where there is none."""
    base = base_config(history, s)
    best = history.best(train="net", folds=(0,), seconds=search_seconds(base, s))
    return best.config if best else base.vary(seconds=search_seconds(base, s))


def resize(history: History, s: Situation) -> Iterator[list[Config]]:
    """The user's other preprocessing, an item's pictures one by one, neighbouring sizes, progressive resizing."""
    here = leader(history, s)
    ladder = sorted(s.space.sizes or [n for n in SIZES if n <= 1.5 * max(64, s.side)])
    smaller = [n for n in ladder if n < here.size]
    larger = [n for n in ladder if n > here.size]
    moves = [here.vary(preprocess=chain) for chain in s.space.chains() if chain != here.preprocess]
    if s.pictures > 1 and not here.grid:
        moves.append(here.vary(grid=math.isqrt(s.pictures - 1) + 1))
    if here.size >= 64:
        steps = (here.size // 2, here.size * 3 // 4)
        moves.append(here.vary(sizes=steps))
    moves += [here.vary(size=n) for n in (*larger[:1], *smaller[-1:], *larger[1:2])]
    base = base_config(history, s)
    for config in moves[: allowed(s, base, "resize", len(moves))]:
        yield [config]


def augmentation(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other policies, then mixing, each on top of the best so far."""
    moves = s.space.names() or list(POLICY_MOVES)
    base = base_config(history, s)
    steps = allowed(s, base, "augmentation", len(moves) + 2)
    for policy in [m for m in moves if m != leader(history, s).policy][:steps]:
        yield [leader(history, s).vary(policy=policy, tta=tta_for(policy, s.space))]
    mixing: list[dict[str, float]] = [{"mixup": 0.3}, {"cutmix": 1.0, "mixup": 0.0}]
    for change in mixing[: max(0, steps - len(moves) + 1)]:
        yield [leader(history, s).vary(**change)]


def backbone(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other nets with everything else as the best so far, nearest in cost first."""
    here = leader(history, s)
    nets = [*from_nothing(s), *candidates(s)]
    nets = [n for n in nets if (n.backbone, n.model_args) != (here.backbone, here.model_args)]
    moves = allowed(s, base_config(history, s), "backbone", len(nets))
    if s.budget >= LONG:
        cost = epoch_seconds(here, s)
        able = {net: epoch_seconds(net, s) for net in nets}
        nets = sorted((n for n in nets if able[n] < math.inf), key=lambda n: abs(math.log(able[n] / cost)))
    learnt = ("preprocess", "grid", "policy", "tta", "mixup", "cutmix", "loss", "smoothing")
    rare = ("class_weights", "sampler", "retrain_head")
    same = {name: getattr(here, name) for name in (*learnt, *rare, "seconds", "folds")}
    for net in [with_size(with_batch(n, s), s) for n in nets[:moves]]:
        if epochs_in(final_seconds(s), net, s) >= 0.5 * epochs_for(ENOUGH, net, s):
            yield [net.vary(**same)]


def loss(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other losses that fit the kind of task and the metric, and what may help rare classes."""
    moves = [m for m in loss_moves(s) if leader(history, s).vary(**m) != leader(history, s)]
    for change in moves[: allowed(s, base_config(history, s), "loss", len(moves))]:
        yield [leader(history, s).vary(**change)]


def finalists(history: History, s: Situation) -> Iterator[list[Config]]:
    """The best configs, trained longer, over as many folds as get enough epochs; the most time goes here."""
    ranked = distinct(history, s)
    compared = history.done(train="net")
    rivals = [] if compared else [base_config(history, replace(s, pretrained=())) for _ in from_nothing(s)]
    decided = s.remember("finalists", lambda: decide_finalists(ranked, rivals, s))
    for row in decided:
        yield [Config.from_json(row)]


def distinct(history: History, s: Situation) -> list[Config]:
    """The single-fold configs, best first, one of each backbone before a second of any; the base where none ran."""
    base = base_config(history, s)
    seconds = search_seconds(base, s)
    trials: list[Trial] = sorted(history.done(train="net", folds=(0,), seconds=seconds), key=lambda t: -t.score)
    ranked = [t.config for t in trials] or [base]
    first = [c for i, c in enumerate(ranked) if c.backbone not in {d.backbone for d in ranked[:i]}]
    stderr = trials[0].stderr if trials else 0.0
    near = {t.config.key for t in trials if t.score > trials[0].score - 2 * stderr}
    good = [c for c in first if c.key in near] or first[:1]
    return good + [c for c in ranked if c not in good and c.key in near]


def decide_finalists(ranked: list[Config], rivals: list[Config], s: Situation) -> list[dict]:
    """How many configs, folds and seconds: one fold's net at enough epochs first, then all folds, then more nets.

    Rivals are nets that nothing was compared with for want of time; where there is not enough time for all folds they
    share what there is with the best, and the blend finds out which was right.
    """
    best = ranked[0]
    s.prepare(best)
    time = usable(s)
    enough = epochs_for(ENOUGH, best, s) * epoch_seconds(best, s) + 2
    fits = time / enough
    if fits < s.folds:
        made = []
        for config in (best, *rivals):
            s.prepare(config)
            share = time / (1 + len(rivals))
            folds = int(share / (epochs_for(ENOUGH, config, s) * epoch_seconds(config, s) + 2))
            made.append(fitted_in(config, share - 0.5, max(1, min(s.folds, folds)), s).to_json())
        return made
    longest = max(epochs_for(FULL, best, s) * epoch_seconds(best, s) + 2, best.seconds)
    configs = int(min(max(time / (s.folds * longest), 1), 6))
    if configs == 1 and len(ranked) > 1 and time / (2 * s.folds) >= 1.5 * enough:
        configs = 2
    each = min(time / (s.folds * configs), longest)
    every = tuple(range(s.folds))
    made = []
    for i in range(configs):
        config = ranked[i % len(ranked)]
        again = i // len(ranked)
        made.append(config.vary(seconds=round(each, 1), folds=every, seed=config.seed + 1000 * again).to_json())
    return made


def usable(s: Situation) -> float:
    """Seconds left that a trial may be planned for: a fiftieth and up to a second are kept for misjudgements."""
    return 0.98 * s.left() - min(1.0, 0.02 * s.budget)


def fitted_in(config: Config, time: float, folds: int, s: Situation) -> Config:
    """The config over so many folds in so much time; fewer folds where predicting alone would not fit."""
    made = config
    for n in range(folds, 0, -1):
        made = config.vary(seconds=round(time / n, 1), folds=tuple(range(n)))
        if cost_of(made, s) <= time + 1:
            break
    return made


def rest(history: History, s: Situation) -> Iterator[list[Config]]:
    """What is left of the time: the best nets again from other seeds, one fold or all, each fitted to what is left."""
    finals = [t for t in history.done(train="net") if t.config.seconds > search_seconds(base_config(history, s), s)]
    finals.sort(key=lambda t: -t.score)
    finals = finals or history.done(train="net")
    for i in range(1, 61):
        if not finals:
            return
        source = finals[(i - 1) % len(finals)].config
        row = s.remember(f"rest-{i}", partial(decide_rest, source, i, s))
        if row is None:
            return
        yield [Config.from_json(row)]


def decide_rest(source: Config, i: int, s: Situation) -> dict | None:
    """The source from another seed, in the time that is left; None where that is too little to learn anything."""
    s.prepare(source)
    time = usable(s)
    least = 0.5 * epochs_for(ENOUGH, source, s) * epoch_seconds(source, s) + 2
    if time < max(least, 5):
        return None
    longest = epochs_for(FULL, source, s) * epoch_seconds(source, s) + 2
    folds = max(1, min(len(source.folds), int(time / max(source.seconds, least))))
    seconds = min(time / folds, longest)
    return source.vary(seed=source.seed + 100 * i, seconds=round(seconds, 1), folds=tuple(range(folds))).to_json()
