"""The searching stages. A stage is a function from the past to what to try next; order.PLAN is their order.

Times come from a ladder and nothing here looks at the clock, so that a replay asks for the same trials, and a larger
budget for some of them.
"""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from autoclimb.search.cost import epoch_seconds, full_cost, head_seconds
from autoclimb.search.effects import WITH_NET, adopted, changes_of, lift_words, posterior_effects, single_fold
from autoclimb.search.fidelity import (
    MORE_THAN_ENOUGH,
    MOST_KEPT,
    PROBE_SHARE,
    SIZES,
    at_its_size,
    epochs_for,
    epochs_in,
    final_seconds,
    folds_of,
    kept_bytes,
    search_seconds,
    sizes_for,
    slots,
    suits,
    with_size,
    within_memory,
)
from autoclimb.search.nets import FAMILIES, OTHER_SCRATCH, fine_tuning, from_scratch, net_named, top_of
from autoclimb.search.portfolio import POLICY_MOVES, loss_moves, rare_start, tta_for
from autoclimb.search.regions import REGION_SHARE, start_chain, try_regions
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.types import Config, History

SAME = 1.15  # ratio of losses under which mirroring does not change the label
USEFUL = 0.35  # share of a constant's loss that frozen pretrained features must take off to be fine-tuned in minutes
SKILL = 0.1  # share of a constant's loss that features must take off to be believed about mirrored pictures
FROM_HAND = ("patches", "gradients")  # hand-made features, the better and slower first
SHORT = 100.0  # seconds of budget below which frozen features are made of one view
LONG = 600.0  # seconds of budget from which every net of the portfolio is looked at: a look costs two seconds
FEW_ROWS = 1000  # of a fold: below, the usual batch takes too few steps (LOG.md: 640 and 555 rows gain, 1,104 do not)
LARGEST_BATCH = 128  # that a fine-tuned net gets unasked: its rates are for about so many pictures a step
LEAST_HAND_MADE = (
    0.15  # of the budget that the quickest of them may take: without them nothing says which flips are safe
)
# of the budget for frozen features on a processor: where no nets can be compared they are the search
FROZEN_SHARE = {"shortest": 0.45, "short": 0.3, "long": 0.12}  # below SHORT, below LONG, and beyond
FROZEN_SIZES = (128, 96, 64)  # pixels a side of a first look at frozen features: the largest that the time pays for,
HEADS = ("kernel", "linear")  # with the better head if it pays for that
LAYERS = 4  # whose features come under one head: on intel_scenes .906, .913, .918, .919 for one to four (LOG.md)
SEARCHING = ("resize", "augmentation", "backbone", "loss", "refine")  # stages whose trials are compared with the base
DOZEN = 12  # moves of the searching stages; beyond them half of the slots are the refinement's


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


def candidates(s: Situation) -> list[Config]:
    """The nets that may be tried, cheapest first, all at their first values."""
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
    firsts = {
        "loss": s.space.losses,
        "pool": s.space.pools,
        "class_weights": s.space.class_weights,
        "sampler": s.space.samplers,
        "optimizer": s.space.optimizers,
        "schedule": s.space.schedules,
    }
    start |= {name: names[0] for name, names in firsts.items() if names}
    nets = [net.vary(**start) for net in nets]
    return nets if s.space.backbones else [net for net in nets if suits(net, s)] or nets


def with_useful_nets(history: History, s: Situation) -> Situation:
    """The situation without pretrained nets where their frozen features say little of the pictures.

    Drawn digits, cells and the like are unlike ImageNet; in minutes on a processor the small net from scratch, which
    sees several times the pictures a second, learns more from them. Where there is time the search finds out itself.
    """
    if s.device != "cpu" or s.budget >= LONG or s.space.backbones:
        return s
    skills = [t.facts["skill"] for t in history.done(train="features") if t.config.weights and "skill" in t.facts]
    return s if not skills or max(skills) >= USEFUL else replace(s, pretrained=())


def from_nothing(s: Situation) -> list[Config]:
    """The small net without pretrained weights that is tried beside pretrained ones on a processor.

    There it sees four times the pictures a second, and pictures may be unlike ImageNet's: hand signs reached .99 on a
    held-out fold after 40 s from nothing (one run; benchmarks/LOG.md). Not where the user names the backbones.
    """
    beside = s.pretrained and s.device == "cpu" and not s.space.backbones
    return candidates(replace(s, pretrained=()))[:1] if beside else []


def ranked(history: History, s: Situation) -> list[Config]:
    """The candidates, most promising first: the static favourites and the frozen probes count alike.

    The static order is by size: such a list correlated with the fine-tuned score at .91, the best measure of features
    at .57 (arXiv 2510.06448), and the best of both lists beats either alone (arXiv 2010.06402).
    """
    nets = candidates(s)
    probed = {t.config.backbone: t.score for t in reversed(history.done(train="features")) if t.config.weights}
    places = sorted(probed.values(), reverse=True)

    def place(i: int, net: Config) -> float:
        static = 1 - i / max(len(nets) - 1, 1) if net.backbone not in OTHER_SCRATCH else 2.0
        if net.backbone not in probed or len(places) < 2:
            return static
        return 0.5 * static + 0.5 * places.index(probed[net.backbone]) / (len(places) - 1)

    order = sorted(range(len(nets)), key=lambda i: (place(i, nets[i]), -i))
    return [nets[i] for i in order]


def dressed(net: Config, history: History, s: Situation, seconds: float) -> Config:
    """The net at the size that `seconds` for all folds pay for, with the policy and views to start with."""
    policy = (s.space.names() or [base_policy(history)])[0]
    chosen = {**s.space.start, "preprocess": start_chain(history, s)}
    return with_size(net.vary(policy=policy, tta=tta_for(policy, s.space)), s, seconds).vary(**chosen)


def base_config(history: History, s: Situation) -> Config:
    """The net that the plan would train if it could train only one, in the batch that is fastest at its size."""
    return with_batch(most_promising(history, s), s)


def most_promising(history: History, s: Situation) -> Config:
    """The net that the plan would train if it could train only one, at its size.

    The most promising one that a third of the finalists' time pays a sound training over all folds for, or else half of
    it; where it does so for none, the cheapest, at the size that all of that time is sound or enough for.
    """
    s = with_useful_nets(history, s)
    time = final_seconds(s)
    nets = ranked(history, s) if s.budget >= LONG else candidates(s)[:1]
    for families, own_size in ((3, True), (2, True), (3, False), (2, False)):
        for net in nets:  # the first is most often it, and a look at a net's speed costs two seconds
            config = dressed(net, history, s, time / families)
            sound = epochs_in(time / (families * folds_of(s)), config, s) >= epochs_for("sound", config, s)
            if sound and (at_its_size(config, s) or not own_size):
                return config
    able = (dressed(net, history, s, time / 3) for net in candidates(s))
    cheapest = next((c for c in able if epoch_seconds(c, s) < math.inf), None)
    if cheapest is None:
        return dressed(candidates(s)[0], history, s, time)
    if "size" in s.space.start:
        return cheapest
    sized = with_size(cheapest, s, time)
    if epochs_in(time / folds_of(s), sized, s) >= epochs_for("sound", sized, s):
        return sized
    return with_size(cheapest, s, time, "enough", MORE_THAN_ENOUGH)


def with_batch(config: Config, s: Situation) -> Config:
    """The config with the larger batch that a card was faster with at the config's own size, within the memory.

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
    return config.vary(batch=batch, lr=raised)


def allowed(s: Situation, base: Config, stage: str, possible: int) -> int:
    """Moves of a stage: its part of the slots, handed out in rounds so that every stage gets its first move first."""
    order = ("backbone", "augmentation", "resize", "loss")  # by what a first move was worth; benchmarks/LOG.md
    moves = max(0, slots(s, base) - 1)
    if moves > DOZEN:
        moves = DOZEN + (moves - DOZEN) // 2
    parts = dict.fromkeys(order, 0)
    for i in range(moves):
        parts[order[i % len(order)]] += 1
    return min(parts[stage], possible)


# --- frozen features -------------------------------------------------------------------------------------------------


def frozen(history: History, s: Situation) -> Iterator[list[Config]]:
    """Frozen features under a head in closed form: on a card a look at the nets, on a processor a climb of its own."""
    if not s.space.features:
        return
    if s.device == "cpu":
        yield from _hand_made(s, 0.12 if s.pretrained else 0.24)
        yield from _frozen_climb(history, s)
    else:
        yield from _frozen_probes(history, s)
        yield from _hand_made(s, 0.02)


def _plain_features(s: Situation) -> Config:
    every = tuple(range(s.folds))
    config = Config(train="features", backbone="gradients", size=64, tta="none", folds=every, seed=s.seed)
    return config.vary(preprocess=s.space.chains()[0])


def _hand_made(s: Situation, share: float) -> Iterator[list[Config]]:
    """The best hand-made features that take less than that share of the budget: an honest score within seconds."""
    plain = _plain_features(s)
    for name in FROM_HAND:
        most = max(share, LEAST_HAND_MADE) if name == FROM_HAND[-1] and s.device == "cpu" else share
        if full_cost(plain.vary(backbone=name), s) < most * s.budget:
            yield [plain.vary(backbone=name)]
            return


def frozen_net(row: dict[str, Any], size: int, s: Situation, **changes: Any) -> Config:
    """The frozen features of a pretrained net under a kernel head, over all folds.

    On a processor what its lower stages give is kept where the disk allows it: other layers and the training of its top
    begin there.
    """
    args = tuple(sorted(row["model_args"].items()))
    net = {"backbone": row["backbone"], "weights": row["weights"], "model_args": args, "size": size}
    config = _plain_features(s).vary(**net, batch=fine_tuning([row], s.device)[0].batch).vary(**changes)
    top = top_of(config.backbone)
    layers = min(LAYERS, top + 2) if top else 1
    keeps = s.device == "cpu" and s.budget >= SHORT and kept_bytes(config, s) <= min(s.pixel_bytes, MOST_KEPT)
    return config.vary(layers=layers, top=top if keeps else 0)


def _frozen_probes(history: History, s: Situation) -> Iterator[list[Config]]:
    """One probe a net, families in turn, within PROBE_SHARE of the budget, downloads included.

    One fold and a linear head where rows are many. Most share one size, so that pictures are decoded once.
    """
    for_regions = REGION_SHARE[s.device] * s.budget
    left, by_family = PROBE_SHARE * s.budget - for_regions, _families_in_turn(s)
    for row in by_family:
        own = net_named(row["backbone"]).sizes
        sizes = [n for n in sizes_for(Config(backbone=row["backbone"], weights=row["weights"]), s) if n <= 256]
        size = 224 if not own and 224 in sizes else max(sizes, default=min(own, default=224))
        for config in (
            frozen_net(row, size, s),
            frozen_net(row, size, s, folds=(0,)),
            frozen_net(row, size, s, folds=(0,), head="linear"),
        ):
            cost = full_cost(config, s)
            if cost <= left / 4 or (cost <= left and config.head == "linear"):
                left -= cost
                yield [config]
                break
    yield from try_regions(history, s, left + for_regions)


def _families_in_turn(s: Situation) -> list[dict[str, Any]]:
    """The pretrained nets, the largest affordable of each family first, then each family's next."""
    time = final_seconds(s) / (3 * folds_of(s))
    rows: list[dict[str, Any]] = []
    for net in candidates(s) if s.pretrained else []:
        smallest = net.vary(size=min(sizes_for(net, s)))
        if epochs_in(time, smallest, s) >= epochs_for("enough", smallest, s):
            rows.append({"backbone": net.backbone, "weights": net.weights, "model_args": dict(net.model_args)})
    turns: dict[str, int] = {}
    order = []
    for row in reversed(rows):
        family = net_named(row["backbone"]).family
        turns[family] = turns.get(family, 0) + 1
        order.append((turns[family], row))
    return [row for _, row in sorted(order, key=lambda pair: pair[0])]


def _frozen_climb(history: History, s: Situation) -> Iterator[list[Config]]:
    """Every net that is here, then sizes, heads and views of the best: seconds each, scored over all folds."""
    rows = [row for row in s.pretrained if row["weights"] != "hub" or s.budget >= LONG]
    if not rows:
        return
    left = FROZEN_SHARE["shortest" if s.budget < SHORT else "short" if s.budget < LONG else "long"] * s.budget
    views = "flip" if s.budget >= SHORT else "none"  # two views take twice the time
    most = left if s.budget < SHORT else 0.75 * left  # the rest is for heads, sizes and views of the best
    looks = [(size, head) for size in FROZEN_SIZES for head in HEADS]
    paid = (look for look in looks if full_cost(frozen_net(rows[0], look[0], s, tta=views, head=look[1]), s) <= most)
    size, head = next(paid, looks[-1])
    first = [frozen_net(row, size, s, tta=views, head=head) for row in rows]
    for config in first:
        cost = full_cost(config, s)
        if cost <= most:
            most -= cost
            left -= cost
            yield [config]
        if s.budget < LONG and cost > most:  # a larger net costs more, and a look at its speed seconds
            break
        if not with_useful_nets(history, s).pretrained:
            return
    tried = [t for config in first for t in history.done() if t.key == config.key]
    if not tried:
        return
    yield from try_regions(history, s, REGION_SHARE[s.device] * s.budget)
    best = max(tried, key=lambda t: t.score)
    other = "none" if views == "flip" else "flip"
    region = [{"preprocess": chain} for chain in [start_chain(history, s)] if chain != best.config.preprocess]
    changes: list[dict[str, Any]] = [*region, {"head": "linear"}, {"size": 160}, {"size": 224}]
    changes += [{"tta": other}] if s.budget >= LONG else []  # as long as a further net, and gains least
    for change in changes:
        config = best.config.vary(**change)
        size = change.get("size", 0)
        near = not size or (best.config.size < size <= max(160, 2 * s.side) and not net_named(config.backbone).sizes)
        cost = head_seconds(config, s.folds, s) if "head" in change else full_cost(config, s)
        if near and cost <= left:
            left -= cost
            yield [config]
            trial = next((t for t in history.done() if t.key == config.key), None)
            best = trial if trial is not None and trial.score > best.score else best


# --- the stages ------------------------------------------------------------------------------------------------------


def baseline(history: History, s: Situation) -> Iterator[list[Config]]:
    """Features with closed-form heads over all folds: a whole honest score within seconds; then the base net."""
    yield from frozen(history, s)
    base = base_config(history, s)
    if slots(s, base):
        yield [base.vary(seconds=search_seconds(base, s))]


def search_base(history: History, s: Situation) -> Config:
    """The net that the search's trials are compared with, at their seconds."""
    base = base_config(history, s)
    return base.vary(seconds=search_seconds(base, s))


def leader(history: History, s: Situation) -> Config:
    """The base with every change that is likely to help so far; a trial of the refinement where one is better."""
    return adopted(history, search_base(history, s), s)


def resize(history: History, s: Situation) -> Iterator[list[Config]]:
    """The user's other preprocessing, an item's pictures one by one, neighbouring sizes, progressive resizing."""
    here = leader(history, s)
    if net_named(here.backbone).sizes and here.weights:
        ladder = sizes_for(here, s)
    else:
        ladder = sorted(s.space.sizes or [n for n in SIZES if n <= 1.5 * max(64, s.side) or n in sizes_for(here, s)])
    smaller = [n for n in ladder if n < here.size]
    larger = [n for n in ladder if n > here.size]
    moves = [here.vary(preprocess=chain) for chain in s.space.chains() if chain != here.preprocess]
    if s.pictures > 1 and not here.grid:
        moves.append(here.vary(grid=math.isqrt(s.pictures - 1) + 1))
    if here.size >= 64 and not FAMILIES[net_named(here.backbone).family].one_size:
        steps = (here.size // 2, here.size * 3 // 4)
        moves.append(here.vary(sizes=steps))
    moves += [within_memory(here.vary(size=n), s) for n in (*larger[:1], *smaller[-1:], *larger[1:2])]
    base = base_config(history, s)
    for config in moves[: allowed(s, base, "resize", len(moves))]:
        yield [config]


def augmentation(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other policies, then mixing, each on top of what was adopted so far."""
    moves = s.space.names() or list(POLICY_MOVES)
    base = base_config(history, s)
    steps = allowed(s, base, "augmentation", len(moves) + 2)
    for policy in [m for m in moves if m != leader(history, s).policy][:steps]:
        yield [leader(history, s).vary(policy=policy, tta=tta_for(policy, s.space))]
    mixing: list[dict[str, float]] = [{"mixup": 0.3}, {"cutmix": 1.0, "mixup": 0.0}]
    for change in mixing[: max(0, steps - len(moves) + 1)]:
        yield [leader(history, s).vary(**change)]


def backbone(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other nets with everything else as adopted so far: the most promising of each family, then the others."""
    here = leader(history, s)
    nets = [*from_nothing(s), *ranked(history, s)]
    nets = [n for n in nets if (n.backbone, n.model_args) != (here.backbone, here.model_args)]
    base = base_config(history, s)
    moves = allowed(s, base, "backbone", len(nets))
    if s.budget >= LONG:
        nets = [n for n in nets if epoch_seconds(n, s) < math.inf]
    seen: set[str] = {net_named(here.backbone).family}
    fresh = []
    for candidate in nets:
        family = net_named(candidate.backbone).family
        fresh.append(family not in seen)
        seen.add(family)
    nets = [nets[i] for i in sorted(range(len(nets)), key=lambda i: not fresh[i])]
    for net in nets[:moves]:
        config = with_learnt(with_batch(with_size(net, s, final_seconds(s) / 3), s), here)
        if epochs_in(here.seconds, config, s) >= epochs_for("quick", config, s):
            yield [config]


def with_learnt(net: Config, learnt: Config) -> Config:
    """The net with everything that was adopted on another one, but what belongs to a net."""
    own = {*WITH_NET, "backbone", "sizes", "test_size", "scales"}
    values = {f.name: getattr(learnt, f.name) for f in fields(learnt) if f.name not in own}
    return net.vary(**values)


def loss(history: History, s: Situation) -> Iterator[list[Config]]:
    """Other losses that fit the kind of task and the metric, and what may help rare classes."""
    moves = [m for m in loss_moves(s) if leader(history, s).vary(**m) != leader(history, s)]
    for change in moves[: allowed(s, base_config(history, s), "loss", len(moves))]:
        yield [leader(history, s).vary(**change)]


def compared(history: History, s: Situation) -> bool:
    """Whether nets were compared at all."""
    return len(single_fold(history, search_base(history, s))) > 1


def account(stage: str, history: History, s: Situation) -> list[str]:
    """What the changes that a stage tried first are worth by all trials so far, a line each, the best first."""
    tried = {t.key for t in history.trials if t.stage == stage and t.config.train == "net"}
    if stage not in SEARCHING or not tried:
        return []
    base = search_base(history, s)
    trials = single_fold(history, base)
    first = next((t for t in trials if t.key == base.key), None)
    if first is None:
        return []
    before = {name for t in trials if t.stage != stage for name in changes_of(t.config, base)}
    rows = [effect for name, effect in posterior_effects(trials, first, s).items() if name not in before]
    return [lift_words(effect) for effect in sorted(rows, key=lambda effect: effect.mean)]
