"""The worth of each change: an additive model over all trials that differ in it, paired by row.

A trial's loss is modelled as that of the base plus the effects of its changes, so a trial that varies three things is
evidence on each. All trials predicted the same held-out rows, so most of their noise is common and cancels; the
covariance of the losses over rows says how much. Each effect has a prior, and the posterior is reported.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

import numpy as np

from autoclimb.config import Config
from autoclimb.search.fidelity import resized
from autoclimb.search.situation import Situation
from autoclimb.types import History, Trial

SEED_NOISE = 0.03  # standard deviation over seeds, relative to the loss (LOG.md: .003 over nine pairs at error .17)
ADOPTED = 0.8  # probability of helping above which a change is adopted (own choice: two to one and some against noise)
# Prior effects on the relative loss, mean and standard deviation; negative is better. From short trainings on three
# sets (benchmarks/LOG.md): mixup cost .017 of accuracy at an error of .17, GeM pooling .013, other losses for label
# sets up to .023; sizes, policies and nets may help or hurt.
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
# values that come with a net (WITH_NET), or with another change, are no changes of their own
WITH_NET = (
    "model_args", "weights", "lr", "backbone_lr", "layer_decay", "drop_path", "batch", "whitened", "frozen_norms",
    "size",
)  # fmt: skip
IGNORED = ("backbone", "tta", "predict_test", "seconds", "epochs", "folds", "seed", "train", "head", "ema")
TOGETHER = ("lr", "weight_decay", "mixup", "cutmix", "smoothing", "dropout")  # drawn at once by the refinement


@dataclass(frozen=True)
class Effect:
    """The effect of a change on the loss, relative to the base's (negative helps), and the cost of measuring it."""

    change: str  # "policy=trivial"
    mean: float
    stderr: float
    trials: int  # with the change
    seconds: float  # of those trials

    @property
    def helps(self) -> float:
        """Probability that the change lowers the loss."""
        return 0.5 * math.erfc(self.mean / (self.stderr * math.sqrt(2)))

    @property
    def adopted(self) -> bool:
        """Whether the change is likely enough to help."""
        return self.helps >= ADOPTED


def changes_of(config: Config, base: Config) -> dict[str, str]:
    """The config's changes against the base: the name of each, and the field of Config that it changes."""
    changes: dict[str, str] = {}
    ignored = set(IGNORED)
    if (config.backbone, config.model_args) != (base.backbone, base.model_args):
        changes[f"backbone={config.backbone}{_arguments(config)}@{config.size}"] = "backbone"
        ignored |= set(WITH_NET)
    own = {f.name: getattr(config, f.name) for f in fields(config)}
    differing = [name for name in own if name not in ignored and own[name] != getattr(base, name)]
    if len([name for name in differing if name in TOGETHER]) > 2:  # a point of the refinement is one change
        point = " ".join(f"{name}={own[name]:g}" for name in differing if name in TOGETHER)
        changes[point] = "other"
        differing = [name for name in differing if name not in TOGETHER]
    return changes | {f"{name}={own[name]}": name for name in differing}


def _arguments(config: Config) -> str:
    return f" {dict(config.model_args)}" if config.model_args else ""


def posterior_effects(trials: Sequence[Trial], base: Trial, s: Situation) -> dict[str, Effect]:
    """The posterior effect of every change that the trials make to the base trial's config, by the change's name.

    `trials` were scored on the same rows as `base`, which may be among them.
    """
    trials = [base, *(t for t in trials if t.key != base.key)]
    changes = [changes_of(t.config, base.config) for t in trials]
    names = sorted({name for row in changes for name in row})
    if not names:
        return {}
    loss, covariance, unit = observed(trials, s)
    design = np.array([[1.0, *(float(name in row) for name in names)] for row in changes])
    field_of = {name: field for row in changes for name, field in row.items()}
    priors = [PRIORS.get(field_of[name], PRIORS["other"]) for name in names]
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
    """The trials' losses less the first one's `(T,)`, their covariance `(T, T)`, and the loss that counts as 1.

    Where losses by row are missing, negative scores stand in for losses, with independent errors.
    """
    rows = [s.row_losses(t) for t in trials]
    known = [row for row in rows if row is not None]
    if len(known) == len(rows):
        shared = np.flatnonzero(np.isfinite(np.stack(known)).all(0))
        table = np.stack([row[shared] for row in known])
        if table.shape[1] >= 2:
            unit = max(float(table[0].mean()), 1e-9)
            covariance = covariance_of_means(table, None if s.groups is None else s.groups[shared])
            noise = (SEED_NOISE * unit) ** 2 * np.eye(len(trials))
            return table.mean(1) - table[0].mean(), covariance + noise, unit
    scores = np.array([t.score for t in trials])
    errors = np.array([max(t.stderr, 1e-9) for t in trials])
    unit = float(errors[0]) / 0.05  # priors of a few hundredths are then about one standard error
    return scores[0] - scores, np.diag(errors**2), unit


def stderr_against(covariance: np.ndarray, other: int) -> np.ndarray:
    """The standard errors `(T,)` of the differences of mean losses from that of the trial at index `other`."""
    variance = covariance.diagonal() + covariance[other, other] - 2 * covariance[other]
    return np.sqrt(np.maximum(variance, 0.0))


def covariance_of_means(table: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """The covariance `(T, T)` of the means of losses `(T, n)` over rows, or over `groups` `(n,)` of them."""
    residual = table - table.mean(1, keepdims=True)
    if groups is not None and (groups != groups[0]).any():  # a single group cannot say how groups differ
        group_of = np.unique(groups, return_inverse=True)[1]
        residual = np.stack([np.bincount(group_of, row) for row in residual])
    count = residual.shape[1]
    return np.asarray(count / max(count - 1, 1) * (residual @ residual.T) / table.shape[1] ** 2)


def single_fold(history: History, base: Config) -> list[Trial]:
    """The search trials that are comparable with the base: one fold, the same seconds, on the same hardware.

    On other hardware, where a run may go on, the same seconds are other epochs. A net that was compared and predicted
    the test rows later counts once; one of a user's stage, which predicted them at once, was trained a little shorter.
    """
    trials = history.done(train="net", folds=(0,), seconds=base.seconds)
    alike = [t for t in trials if t.config.predict_test == base.predict_test]
    nets = {t.config.nets_key for t in alike}
    trials = [t for t in trials if t in alike or t.config.nets_key not in nets]
    where = {t.facts.get("hardware", "") for t in trials if t.key == base.key}
    return [t for t in trials if not where or t.facts.get("hardware", "") in where]


def adopted(history: History, base: Config, s: Situation) -> Config:
    """The base with every change that is likely to help, and for each field of Config the most helpful one.

    This stands in for the trial with the highest score, which on a single fold is the luckiest.
    """
    trials = single_fold(history, base)
    first = next((t for t in trials if t.key == base.key), None)
    if first is None:
        return base
    source: dict[str, Config] = {}  # of each field, a config with the change
    best = most_helpful(posterior_effects(trials, first, s), trials, base)
    for trial in trials:
        for name, field in changes_of(trial.config, base).items():
            if field in best and best[field].change == name:
                source.setdefault(field, trial.config)
    config = base
    if "backbone" in source:
        config = config.vary(backbone=source["backbone"].backbone)
        config = config.vary(**{name: getattr(source["backbone"], name) for name in WITH_NET})
    for field, donor in source.items():
        if field == "other":
            config = config.vary(**{name: getattr(donor, name) for name in TOGETHER})
        elif field != "backbone":
            config = config.vary(**{field: getattr(donor, field)})
            if field == "policy":
                config = config.vary(tta=donor.tta)
    # progressive sizes may have been adopted from a trial at a larger size than the adopted net's
    return resized(config, config.size)


def most_helpful(effects: dict[str, Effect], trials: Sequence[Trial], base: Config) -> dict[str, Effect]:
    """The adopted effects, one of each field of Config that they change: the most helpful one.

    Another net keeps its own size, and a point of the refinement all of its values.
    """
    best: dict[str, Effect] = {}
    for trial in trials:
        for name, field in changes_of(trial.config, base).items():
            effect = effects[name]
            if effect.adopted and (field not in best or effect.mean < best[field].mean):
                best[field] = effect
    overruled = (("size",) if "backbone" in best else ()) + (TOGETHER if "other" in best else ())
    return {field: effect for field, effect in best.items() if field not in overruled}


def apart(change: str, trials: Sequence[Trial], base: Config) -> tuple[Trial, Trial] | None:
    """Two trials that differ in this change alone, first the one that has it; None where no two do."""
    rows = [(trial, changes_of(trial.config, base).keys()) for trial in trials]
    pairs = ((new, old) for new, has in rows if change in has for old, others in rows if others == has - {change})
    return next(pairs, None)


def lift_words(
    effect: Effect, taken: Collection[str], metric: str = "", lift: tuple[float, float] | None = None
) -> str:
    """One line of the account: a change's effect on loss and metric with its errors, the minutes, the loss a minute.

    `taken` are the names of the changes that were adopted: of two that are likely to help one may stand aside. The
    `lift` of the metric is that of a trial over another that differs in the change alone, without any prior.
    """
    minutes = max(effect.seconds / 60, 1e-3)
    aside = ": likely to help, but less than what was adopted instead" if effect.adopted else ""
    verdict = "adopted" if effect.change in taken else f"not adopted{aside}"
    loss = f"loss {100 * effect.mean:+.1f} ± {100 * effect.stderr:.1f} %"
    of_metric = f", lift of {metric} {lift[0]:+.4f} ± {lift[1]:.4f}" if lift else ""
    cost = f"{minutes:.1f} min ({100 * effect.mean / minutes:+.1f} % a minute)"
    return f"{effect.change}: {loss}{of_metric}, {cost}, {verdict}"
