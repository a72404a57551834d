"""Replacements for a failed trial: a smaller batch, then a smaller size, then another net.

The kind of a failure is the trial's `facts["fault"]`, a word of learn.faults or of run.worker.
"""

from dataclasses import replace

from autoclimb.config import Config
from autoclimb.search.capacity import SMALLEST_BATCH, within_memory
from autoclimb.search.fidelity import SIZES
from autoclimb.search.frozen import FROZEN_SIZES
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation
from autoclimb.search.starting import candidates, is_other_scratch
from autoclimb.types import History, Trial

TOO_LARGE = ("memory", "device", "loader", "died", "hung", "disk")  # faults that a smaller batch or size may avoid
NOT_OF_THE_NET = ("unbuildable", "torch", "diverged")  # faults of a change, where the net itself was trained before
GENTLER = 0.3  # of the rate that diverged; own choice
HALF_SHARE = 0.25  # of a net's multiply-adds that remain with half the channels
TWICE = 2  # failures of the same kind that rule a net out at its size


def instead_of(trial: Trial, history: History, s: Situation) -> Config | None:
    """The config to try in place of the last trial where it failed; None where it is done or nothing is left to try.

    First comes the same net with half the batch, or with a lower rate where it diverged; once the net is ruled out at
    this size, the next smaller size; once at all sizes, the next cheaper net, at the same time and folds. Frozen
    features of pretrained nets, which have no batch, go to the next smaller size. Where pictures have vanished it is a
    size whose pixels exist.
    """
    config, kind = trial.config, trial.facts.get("fault", "")
    if trial.status != "failed" or kind == "teacher":  # the blend can do without a student
        return None
    if config.train == "features":
        return smaller_features(config, history) if kind in TOO_LARGE else None
    if kind == "unbuildable" and config.top:  # it cannot be cut
        return config.vary(top=0)
    if kind in NOT_OF_THE_NET and any(same_net(config, other) for other in history.done(train="net")):
        return None  # the net can be trained, so the change is at fault
    if kind == "pictures":
        return at_a_size_read(config, history)
    if not ruled_out(config, history):
        if kind in TOO_LARGE and config.batch > SMALLEST_BATCH:
            return config.vary(batch=max(SMALLEST_BATCH, config.batch // 2))
        if kind == "diverged":
            return config.vary(lr=GENTLER * (config.lr or Config().lr), clip=config.clip or 1.0)
    return in_the_plan(config, history, s, smaller=kind != "unbuildable")


def smaller_features(config: Config, history: History) -> Config | None:
    """Frozen features of the same net at the next smaller size; None where there is none, or of hand-made ones."""
    smaller = [n for n in own_sizes(config) or FROZEN_SIZES if n < config.size and config.weights]
    sized = (config.vary(size=size) for size in sorted(smaller, reverse=True))
    return next((config for config in sized if not failed(config, history)), None)


def at_a_size_read(config: Config, history: History) -> Config | None:
    """The net at the next smaller size of which a trial has read the pixels already; None without any.

    Where pictures have vanished nothing can be decoded anew, at whatever size.
    """
    read = {t.config.cached_size for t in history.done(preprocess=config.preprocess, grid=config.grid)}
    sizes = sorted((n for n in own_sizes(config) or SIZES if n < config.size), reverse=True)
    shrunk = (config.vary(size=size, sizes=(), test_size=0) for size in sizes)
    return next((other for other in shrunk if other.cached_size in read and not failed(other, history)), None)


def in_the_plan(config: Config, history: History, s: Situation, smaller: bool = True) -> Config | None:
    """The config at the next smaller size, else with the next cheaper net, that is not ruled out; None without any.

    Pretrained nets come before nets from scratch, and residual ones of these before other families.
    """
    if smaller:
        for size in sorted((n for n in own_sizes(config) or SIZES if n < config.size), reverse=True):
            shrunk = config.vary(size=size, sizes=(), test_size=0)
            if not ruled_out(shrunk, history):
                return shrunk
    of_the_trial = ("seconds", "epochs", "folds", "predict_test", "policy", "tta", "preprocess", "grid", "seed")
    nets = candidates(s)
    if s.pretrained and not s.space.backbones:
        nets += candidates(replace(s, pretrained=()))
    cheaper = []
    for net in nets:
        other = net.vary(**{name: getattr(config, name) for name in of_the_trial})
        other = other.vary(size=max((n for n in own_sizes(other) or [config.size] if n <= config.size), default=0))
        if other.size and gmacs(other) < gmacs(config) and not failed(other, history):
            cheaper.append(other)
    return max(cheaper, key=lambda c: (bool(c.weights), not is_other_scratch(c, s), gmacs(c)), default=None)


def gmacs(config: Config) -> float:
    """1e9 multiply-adds of the config's net for a picture, roughly: a quarter with half the channels."""
    return net_named(config.backbone).gmacs_at(config.size) * (HALF_SHARE if config.model_args else 1.0)


def own_sizes(config: Config) -> tuple[int, ...]:
    """The sizes of the config's net where they are fixed; () where it takes any size."""
    return net_named(config.backbone).sizes if config.weights else ()


def as_run(config: Config, history: History, s: Situation) -> Config:
    """The config as it is run, in a batch that has not failed and that fits the memory."""
    return within_memory(within_reach(config, history), s)


def within_reach(config: Config, history: History) -> Config:
    """The config with its batch limited to half the smallest one with which its net has failed at its size."""
    batches = [t.config.batch for t in failed(config, history) if t.facts.get("fault") in TOO_LARGE]
    if not batches or config.batch < min(batches):
        return config
    return config.vary(batch=max(SMALLEST_BATCH, min(batches) // 2))


def ruled_out(config: Config, history: History) -> bool:
    """Whether this net at this size has failed twice with the same fault and was never trained."""
    if any(same_net(config, trial) for trial in history.done(train="net")):
        return False
    kinds = [trial.facts.get("fault", "") for trial in failed(config, history)]
    return any(kinds.count(kind) >= TWICE for kind in kinds)


def failed(config: Config, history: History) -> list[Trial]:
    """The failed trials of this net at this size."""
    return [trial for trial in history.trials if trial.status == "failed" and same_net(config, trial)]


def same_net(config: Config, trial: Trial) -> bool:
    """Whether the trial is of the config's net at its size."""
    names = ("train", "backbone", "model_args", "size")
    return all(getattr(config, name) == getattr(trial.config, name) for name in names)
