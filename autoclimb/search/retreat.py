"""What is tried in place of a trial that failed: a smaller batch, then a smaller size, then another net.

The kind of a failure is the trial's `facts["fault"]`, a word of learn.faults or of run.worker.
"""

from autoclimb.search.fidelity import SIZES
from autoclimb.search.situation import Situation
from autoclimb.search.stages import candidates
from autoclimb.types import Config, History, Trial

TOO_LARGE = ("memory", "device", "loader", "died", "hung", "disk")  # what a smaller batch or size may mend
LEAST_BATCH = 8  # below it batch norms have too few rows, and memory is the weights'
GENTLER = 0.3  # of the rate that diverged; own choice
TWICE = 2  # the same kind so often takes a net at its size out of the plan


def instead_of(trial: Trial, history: History, s: Situation) -> Config | None:
    """What to try in place of a failed trial that is the last in the history; None where nothing is left or it is done.

    First the same net with half the batch, or a gentler rate where it diverged; once the net is out of the plan at this
    size, the next smaller size; once at all sizes, the next cheaper net, at the same time and folds.
    """
    config, kind = trial.config, trial.facts.get("fault", "")
    if trial.status != "failed" or config.train != "net":
        return None
    if not ruled_out(config, history):
        if kind in TOO_LARGE and config.batch > LEAST_BATCH:
            return config.vary(batch=max(LEAST_BATCH, config.batch // 2))
        if kind == "diverged":
            return config.vary(lr=GENTLER * (config.lr or Config().lr), clip=config.clip or 1.0)
    return in_the_plan(config, history, s, smaller=kind != "unbuildable")


def in_the_plan(config: Config, history: History, s: Situation, smaller: bool = True) -> Config | None:
    """The config at the largest smaller size, else with the next cheaper net, that was not taken out of the plan."""
    if smaller:
        for size in sorted((n for n in SIZES if n < config.size), reverse=True):
            shrunk = config.vary(size=size, sizes=(), test_size=0)
            if not ruled_out(shrunk, history):
                return shrunk
    nets = candidates(s)
    names = [net.backbone for net in nets]
    cheaper = nets[: names.index(config.backbone)] if config.backbone in names else nets
    kept = ("size", "seconds", "epochs", "folds", "policy", "tta", "preprocess", "grid", "seed")
    for net in reversed(cheaper):
        other = net.vary(**{name: getattr(config, name) for name in kept})
        if other.backbone != config.backbone and not failed(other, history):
            return other
    return None


def ruled_out(config: Config, history: History) -> bool:
    """Whether this net at this size has failed twice of the same kind, or can never be built."""
    kinds = [trial.facts.get("fault", "") for trial in failed(config, history)]
    return "unbuildable" in kinds or any(kinds.count(kind) >= TWICE for kind in kinds)


def failed(config: Config, history: History) -> list[Trial]:
    """The failed trials of this net at this size."""
    return [
        trial
        for trial in history.trials
        if trial.status == "failed"
        and (trial.config.train, trial.config.backbone, trial.config.model_args, trial.config.size)
        == (config.train, config.backbone, config.model_args, config.size)
    ]
