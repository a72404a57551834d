"""The worth of each change: an additive model over all trials that differ in it, paired by row.

A trial's loss is that of the base plus the effects of whatever it changes, so a trial that varies three things teaches
about each. All trials saw the same held-out rows, so most of their noise is common and falls out: the covariance of the
losses over rows says how much. Effects have a prior each, and what is reported is the posterior.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from autoclimb.search.fidelity import resized
from autoclimb.search.situation import Situation
from autoclimb.types import Config, History, Trial

SEED_NOISE = 0.03  # relative to the loss: what another seed changes (LOG.md: .003 over nine pairs at an error of .17)
ADOPTED = 0.8  # probability of helping from which a change is adopted (own choice: two to one and some against noise)
MOST_ROWS = 5_000  # that are looked at; more tell the covariance no better
# Effects on the relative loss, mean and deviation, before anything was tried here; negative is better. From short
# trainings on three sets (benchmarks/LOG.md): mixup cost .017 of accuracy at an error of .17, GeM pooling .013, other
# losses for labels sets up to .023; sizes, policies and nets go either way.
PRIORS: dict[str, tuple[float, float]] = {
    "backbone": (0.0, 0.15),
    "size": (0.0, 0.08),
    "sizes": (0.02, 0.03),
    "policy": (0.02, 0.05),
    "mixup": (0.04, 0.05),
    "cutmix": (0.04, 0.05),
    "loss": (0.03, 0.05),
    "pool": (0.03, 0.05),
    "smoothing": (-0.01, 0.03),
    "class_weights": (0.0, 0.06),
    "sampler": (0.0, 0.06),
    "preprocess": (0.0, 0.05),
    "grid": (0.0, 0.08),
    "other": (0.02, 0.04),
}
# values that come with a net, or that another change brings along, are no changes of their own
WITH_NET = ("model_args", "weights", "lr", "backbone_lr", "layer_decay", "drop_path", "batch", "whitened", "size")
IGNORED = ("backbone", "tta", "seconds", "epochs", "folds", "seed", "train", "head", "ema")
TOGETHER = ("lr", "weight_decay", "mixup", "cutmix", "smoothing", "dropout")  # what the refinement draws at once


@dataclass(frozen=True)
class Effect:
    """The worth of a change, relative to the base's loss (negative helps), and the cost of finding out."""

    change: str  # "policy=trivial"
    mean: float
    stderr: float
    trials: int  # that have it
    seconds: float  # that those trials took

    @property
    def helps(self) -> float:
        """Probability that the change lowers the loss."""
        return 0.5 * math.erfc(self.mean / (self.stderr * math.sqrt(2)))

    @property
    def adopted(self) -> bool:
        """Whether the change is sure enough to help."""
        return self.helps >= ADOPTED


def changes_of(config: Config, base: Config) -> dict[str, str]:
    """The changes of the config in the base: their names, each with the value of Config it is about."""
    changes: dict[str, str] = {}
    left = set(IGNORED)
    if (config.backbone, config.model_args) != (base.backbone, base.model_args):
        changes[f"backbone={config.backbone}{_arguments(config)}@{config.size}"] = "backbone"
        left |= set(WITH_NET)
    own = {f.name: getattr(config, f.name) for f in fields(config)}
    differing = [name for name in own if name not in left and own[name] != getattr(base, name)]
    if len([name for name in differing if name in TOGETHER]) > 2:  # a point of the refinement is one change
        point = " ".join(f"{name}={own[name]:g}" for name in differing if name in TOGETHER)
        changes[point] = "other"
        differing = [name for name in differing if name not in TOGETHER]
    return changes | {f"{name}={own[name]}": name for name in differing}


def _arguments(config: Config) -> str:
    return f" {dict(config.model_args)}" if config.model_args else ""


def posterior_effects(trials: Sequence[Trial], base: Trial, s: Situation) -> dict[str, Effect]:
    """The posterior of every change that the trials make in the base trial's config, by name.

    `trials` were scored on the same rows as `base`, which may be among them.
    """
    trials = [base, *(t for t in trials if t.key != base.key)]
    changes = [changes_of(t.config, base.config) for t in trials]
    names = sorted({name for row in changes for name in row})
    if not names:
        return {}
    loss, covariance, unit = observed(trials, s)
    design = np.array([[1.0, *(float(name in row) for name in names)] for row in changes])
    about = {name: field for row in changes for name, field in row.items()}
    priors = [PRIORS.get(about[name], PRIORS["other"]) for name in names]
    mean = np.array([0.0, *(m * unit for m, _ in priors)])
    precision = np.diag([1e-6 / unit**2, *(1 / (sd * unit) ** 2 for _, sd in priors)])
    weights = np.linalg.inv(covariance)
    posterior = np.linalg.inv(design.T @ weights @ design + precision)
    means = posterior @ (design.T @ weights @ loss + precision @ mean)
    table = {}
    for i, name in enumerate(names, 1):
        having = [t for t, row in zip(trials, changes, strict=True) if name in row]
        seconds = sum(t.seconds for t in having)
        stderr = float(np.sqrt(posterior[i, i]))
        table[name] = Effect(name, float(means[i]) / unit, stderr / unit, len(having), seconds)
    return table


def observed(trials: Sequence[Trial], s: Situation) -> tuple[np.ndarray, np.ndarray, float]:
    """The trials' losses less the first one's `(T,)`, their covariance `(T, T)`, and the size of a relative loss of 1.

    Without losses by row it is the scores, whose errors then count as independent.
    """
    rows = [s.row_losses(t) for t in trials]
    known = [row for row in rows if row is not None]
    if len(known) == len(rows):
        seen = np.flatnonzero(np.isfinite(np.stack(known)).all(0))
        seen = seen[:: max(1, len(seen) // MOST_ROWS)]
        table = np.stack([row[seen] for row in known])
        if table.shape[1] >= 2:
            unit = max(float(table[0].mean()), 1e-9)
            covariance = covariance_of_means(table, None if s.groups is None else s.groups[seen])
            noise = (SEED_NOISE * unit) ** 2 * np.eye(len(trials))
            return table.mean(1) - table[0].mean(), covariance + noise, unit
    scores = np.array([t.score for t in trials])
    errors = np.array([max(t.stderr, 1e-9) for t in trials])
    unit = float(errors[0]) / 0.05  # priors of a few hundredths are then about one standard error
    return scores[0] - scores, np.diag(errors**2), unit


def covariance_of_means(table: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """The covariance `(T, T)` of the means of losses `(T, n)` over rows, or over `groups` `(n,)` of them."""
    off = table - table.mean(1, keepdims=True)
    if groups is not None and (groups != groups[0]).any():  # a single group cannot say how groups differ
        group_of = np.unique(groups, return_inverse=True)[1]
        off = np.stack([np.bincount(group_of, row) for row in off])
    count = off.shape[1]
    return np.asarray(count / max(count - 1, 1) * (off @ off.T) / table.shape[1] ** 2)


def single_fold(history: History, base: Config) -> list[Trial]:
    """The search trials that can be compared with the base: one fold, as long as it."""
    return history.done(train="net", folds=(0,), seconds=base.seconds)


def adopted(history: History, base: Config, s: Situation) -> Config:
    """The base with every change that is likely to help: of each value of Config the most helpful one.

    Instead of the trial with the highest score, which on one fold is the luckiest.
    """
    trials = single_fold(history, base)
    first = next((t for t in trials if t.key == base.key), None)
    if first is None:
        return base
    known = posterior_effects(trials, first, s)
    best: dict[str, Effect] = {}
    source: dict[str, Config] = {}
    for trial in trials:
        for name, about in changes_of(trial.config, base).items():
            effect = known[name]
            if effect.adopted and (about not in best or effect.mean < best[about].mean):
                best[about], source[about] = effect, trial.config
    config = base
    if "backbone" in source:
        config = config.vary(backbone=source["backbone"].backbone)
        config = config.vary(**{name: getattr(source["backbone"], name) for name in WITH_NET})
    for about, giver in source.items():
        if about == "other" and " " in best[about].change:
            config = config.vary(**{name: getattr(giver, name) for name in TOGETHER})
        elif about not in ("backbone", "other") and (about != "size" or "backbone" not in source):
            config = config.vary(**{about: getattr(giver, about)})
            if about == "policy":
                config = config.vary(tta=giver.tta)
    # sizes that grow may have been adopted at a larger size than the net that was
    return resized(config, config.size)


def lift_words(effect: Effect) -> str:
    """One line of the account: what a change paid, with its error, and what it cost to find out."""
    gain, error = -100 * effect.mean, 100 * effect.stderr
    verdict = "adopted" if effect.adopted else "not adopted"
    return f"{effect.change}: loss {-gain:+.1f} ± {error:.1f} %, {effect.seconds / 60:.1f} min, {verdict}"
