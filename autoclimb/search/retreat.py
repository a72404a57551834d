"""What is tried in place of a trial that failed: a smaller batch, then a smaller size, then another net.

The kind of a failure is the trial's `facts["fault"]`, a word of learn.faults or of run.worker.
"""

from autoclimb.search.fidelity import SIZES
from autoclimb.search.frozen import FROZEN_SIZES
from autoclimb.search.nets import net_named
from autoclimb.search.situation import Situation
from autoclimb.search.starting import candidates
from autoclimb.types import Config, History, Trial

TOO_LARGE = ("memory", "device", "loader", "died", "hung", "disk")  # what a smaller batch or size may mend
NOT_OF_THE_NET = ("unbuildable", "torch", "diverged")  # where the net was trained before, what was tried with it failed
LEAST_BATCH = 8  # below it batch norms have too few rows, and memory is the weights'
GENTLER = 0.3  # of the rate that diverged; own choice
TWICE = 2  # the same kind so often takes a net at its size out of the plan


def instead_of(trial: Trial, history: History, s: Situation) -> Config | None:
    """What to try in place of a failed trial that is the last in the history; None where nothing is left or it is done.

    First the same net with half the batch, or a gentler rate where it diverged; once the net is out of the plan at this
    size, the next smaller size; once at all sizes, the next cheaper net, at the same time and folds. Frozen features of
    pretrained nets have no batch: the next smaller size.
    """
    config, kind = trial.config, trial.facts.get("fault", "")
    if trial.status != "failed" or kind == "teacher":  # the blend can do without a student
        return None
    if config.train == "features":
        return smaller_features(config, history) if kind in TOO_LARGE else None
    if kind == "unbuildable" and config.top:  # it cannot be cut
        return config.vary(top=0)
    if kind in NOT_OF_THE_NET and any(same_net(config, other) for other in history.done(train="net")):
        return None  # the net can be trained: what was tried with it cannot
    if not ruled_out(config, history):
        if kind in TOO_LARGE and config.batch > LEAST_BATCH:
            return config.vary(batch=max(LEAST_BATCH, config.batch // 2))
        if kind == "diverged":
            return config.vary(lr=GENTLER * (config.lr or Config().lr), clip=config.clip or 1.0)
    return in_the_plan(config, history, s, smaller=kind != "unbuildable")


def smaller_features(config: Config, history: History) -> Config | None:
    """Frozen features of the same net at the next smaller size; None where there is none, or of hand-made ones."""
    smaller = [n for n in own_sizes(config) or FROZEN_SIZES if n < config.size and config.weights]
    sized = (config.vary(size=size) for size in sorted(smaller, reverse=True))
    return next((config for config in sized if not failed(config, history)), None)


def in_the_plan(config: Config, history: History, s: Situation, smaller: bool = True) -> Config | None:
    """The config at the largest smaller size, else with the next cheaper net, that was not taken out of the plan."""
    if smaller:
        for size in sorted((n for n in own_sizes(config) or SIZES if n < config.size), reverse=True):
            shrunk = config.vary(size=size, sizes=(), test_size=0)
            if not ruled_out(shrunk, history):
                return shrunk
    nets = candidates(s)
    names = [net.backbone for net in nets]
    cheaper = nets[: names.index(config.backbone)] if config.backbone in names else nets
    of_the_trial = ("seconds", "epochs", "folds", "policy", "tta", "preprocess", "grid", "seed")
    for net in reversed(cheaper):
        other = net.vary(**{name: getattr(config, name) for name in of_the_trial})
        other = other.vary(size=max((n for n in own_sizes(other) or [config.size] if n <= config.size), default=0))
        if other.size and other.backbone != config.backbone and not failed(other, history):
            return other
    return None


def own_sizes(config: Config) -> tuple[int, ...]:
    """The sizes that the config's net is used at where it was made for one; () where it takes any."""
    return net_named(config.backbone).sizes if config.weights else ()


def within_reach(config: Config, history: History) -> Config:
    """The config with half the smallest batch that its net has failed with at its size, where its own is no smaller."""
    batches = [t.config.batch for t in failed(config, history) if t.facts.get("fault") in TOO_LARGE]
    if not batches or config.batch < min(batches):
        return config
    return config.vary(batch=max(LEAST_BATCH, min(batches) // 2))


def ruled_out(config: Config, history: History) -> bool:
    """Whether this net at this size has failed twice of the same kind and was never trained."""
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
