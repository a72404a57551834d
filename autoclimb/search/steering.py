"""Notes on the facts of the data that changed the plan, told once, before the search compares anything.

Drift, groups and copies are reported by the run itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autoclimb.policies import SAME
from autoclimb.search.fidelity import (
    LARGE_PICTURES,
    SMALL_FOR_LARGE,
    SMALLEST_FOR_WEIGHTS,
    SMALLEST_FROM_SCRATCH,
    epochs_for,
    folds_of,
    sizes_for,
    suits,
)
from autoclimb.search.frozen import features_are_all
from autoclimb.search.nets import fine_tuning, net_named
from autoclimb.search.portfolio import IMBALANCED, rare_moves, rare_start
from autoclimb.search.regions import LEAST_SIDE, WHOLE, adopted_region
from autoclimb.search.situation import Situation, rows_of_fold
from autoclimb.search.stages import account
from autoclimb.search.starting import (
    FEW_ROWS,
    SKILL,
    USEFUL,
    base_policy,
    candidates,
    facts_on_flips,
    may_mirror,
    nets_are_useful,
    skills,
    with_useful_nets,
)
from autoclimb.types import History, Trial

MANY = 1_000_000  # rows, of which one epoch is many pictures
CONTRADICTED = 1.5  # squared distance to a row's label above which another class has a probability over .86
NOISY = 0.03  # share of such rows from which a note says so; own choice


def steering_words(history: History, s: Situation) -> list[str]:
    """A line for each fact of the data that changed the plan; [] where none is out of the ordinary.

    Lines on nets are about those that will be trained, and are left out where none will be.
    """
    no_nets = features_are_all(history, s)
    s = with_useful_nets(history, s)
    facts = [fact for fact in FACTS.values() if not (fact.of_nets and no_nets)]
    return [words for fact in facts if (words := fact.words(history, s))]


def notes_after(stage: str, history: History, s: Situation) -> list[str]:
    """The notes after a stage: after the baseline what steers the search, after others the effects of their changes."""
    return steering_words(history, s) if stage == "baseline" else account(stage, history, s)


def many_rows(history: History, s: Situation) -> str:
    """A line on the one holdout of nets, where rows are very many."""
    if folds_of(s) == s.folds:
        return ""
    return f"many rows: nets are trained on one holdout of {1 / s.folds:.0%}, as {s.rows} rows need no more"


def few_rows(history: History, s: Situation) -> str:
    """A line on smaller batches and more epochs, where a fold has few rows."""
    net, rows = candidates(s)[0], rows_of_fold(s)
    least, usual = (epochs_for("enough", net, replace(s, rows=n)) for n in (s.rows, MANY))
    if least <= usual:
        return ""
    batch = f", in batches of {net.batch}" if not s.pretrained and rows < FEW_ROWS else ""
    return f"few rows: a fold trains on {rows}, so a net is to get {least:.0f} epochs instead of {usual:.0f}{batch}"


def tiny_pictures(history: History, s: Situation) -> str:
    """A line on enlarging, where pictures are small."""
    smallest = SMALLEST_FOR_WEIGHTS if s.pretrained else SMALLEST_FROM_SCRATCH
    if s.side >= smallest or s.space.sizes or "size" in s.space.start:
        return ""
    sizes = sizes_for(candidates(s)[0], s)
    enlarged = f"{sizes[0]} to {sizes[-1]} px" if len(sizes) > 1 else f"{sizes[0]} px"
    return f"tiny pictures: {s.side} px are enlarged to {enlarged}; below {LEAST_SIDE} px no part of them is left out"


def large_pictures(history: History, s: Situation) -> str:
    """A line on the nets that are left out because they would see large pictures too small."""
    fixed = [net for net in fine_tuning(s.pretrained, s.device) if net_named(net.backbone).sizes]
    small = [
        net.backbone for net in fixed if not suits(net, s) and max(net_named(net.backbone).sizes) < SMALL_FOR_LARGE
    ]
    if s.side < LARGE_PICTURES or s.space.backbones or not small:
        return ""
    names = ", ".join(name.split(".")[0] for name in small)
    return f"large pictures: {s.side} px; nets that take less than {SMALL_FOR_LARGE} px are left out ({names})"


def unlike_photographs(history: History, s: Situation) -> str:
    """A line on pretrained nets that no net is fine-tuned from, because of what frozen features say."""
    if s.pretrained or nets_are_useful(history) is not False:
        return ""
    by_hand, best = skills(history)
    lower = f"pretrained: their frozen features lower a constant's loss by {best:.0%}"
    why = "too little" if best < USEFUL else f"hand-made ones by {by_hand:.0%}, as of plain shapes"
    return f"{lower}, {why}; so the first nets are trained from scratch"


def region(history: History, s: Situation) -> str:
    """A line on the part of the pictures that all later trials see, where the rest was found to be of no use."""
    box = adopted_region(history, s)
    if box == WHOLE:
        return ""
    top, left, bottom, right = (f"{share:.0%}" for share in box)
    remaining = f"{top} to {bottom} of their height, {left} to {right} of their width"
    return f"region: pictures are cut to {remaining}, for frozen features do better without the rest"


def orientation(history: History, s: Situation) -> str:
    """A line on the policy to start with, where features tell the effect of turning and mirroring the pictures."""
    seen = facts_on_flips(history)
    if seen is None or s.space.names() or "policy" in s.space.start:
        return ""
    policy = base_policy(history)
    losses = f"loss x{seen['mirror']:.2f} mirrored, x{seen['turn']:.2f} turned"
    if "mirrored_copies" in seen:
        losses += f", {seen['mirrored_copies'][0]:+.0%} with mirrored copies to learn from"
    if seen["skill"] < SKILL:
        return f"orientation: features know too little of the pictures to say; policy {policy} to start with"
    allowed = [word for word, may in (("mirrored", may_mirror(seen)), ("turned", seen["turn"] < SAME)) if may]
    verdict = f"pictures may be {' and '.join(allowed)}" if allowed else "pictures are neither mirrored nor turned"
    return f"orientation: {verdict} ({losses}); policy {policy} to start with"


def imbalance(history: History, s: Situation) -> str:
    """A line on the first values and the moves for rare classes."""
    moves = [f"{name}={value}" for move in rare_moves(s) for name, value in move.items()]
    if s.imbalance < IMBALANCED or not moves:
        return ""
    start = [f"{name}={value:g}" for name, value in rare_start(s).items()]
    first = f"nets start with {', '.join(start)}" if start else "nets start as they would without"
    return (
        f"imbalance: {s.imbalance:.0f} rows of the commonest class for one of the rarest; {first}, and where nets are "
        f"compared {', '.join(moves)} are among the moves"
    )


def noise(history: History, s: Situation) -> str:
    """A line on labels that seem to be wrong, of which no row is dropped."""
    if s.kind not in ("binary", "multiclass"):
        return ""
    best = max(history.done(train="features"), key=lambda t: t.score, default=None)
    share = contradicted(best, s) if best else 0.0
    if share < NOISY:
        return ""
    return (
        f"noise: {share:.0%} of the labels are contradicted by what frozen features are sure of; all rows stay, for "
        "dropping such rows did not help (`autoclimb suspects` lists them)"
    )


def contradicted(trial: Trial, s: Situation) -> float:
    """The share of rows for which a trial's predictions hold another class much likelier than the label."""
    losses = s.row_losses(trial)
    known = losses[np.isfinite(losses)] if losses is not None else np.zeros(0)
    return float((known > CONTRADICTED).mean()) if len(known) else 0.0


@dataclass(frozen=True)
class Fact:
    """A fact of the data: its line, "" where it is ordinary, and whether it matters to nets only."""

    words: Callable[[History, Situation], str]
    of_nets: bool = True


FACTS: dict[str, Fact] = {
    "many rows": Fact(many_rows),
    "few rows": Fact(few_rows),
    "tiny pictures": Fact(tiny_pictures),
    "large pictures": Fact(large_pictures),
    "pretrained": Fact(unlike_photographs),
    "region": Fact(region, of_nets=False),
    "orientation": Fact(orientation),
    "imbalance": Fact(imbalance),
    "noise": Fact(noise, of_nets=False),
}
