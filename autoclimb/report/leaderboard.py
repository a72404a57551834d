"""The trials of a run as a table for people, and a config in words."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from autoclimb.config import Config
from autoclimb.report.words import give_or_take
from autoclimb.types import Blend, Metric, Trial

if TYPE_CHECKING:
    import pandas as pd

WIDE = 110  # columns of a terminal from which the trials' keys are shown too
START = {"": "from scratch", "hub": "pretrained", "box": "boxed weights"}  # of Config.weights; else a path
WORDS: dict[str, Callable[[Any], str]] = {
    "train": lambda v: "trained" if v == "net" else v,
    "backbone": str,
    "size": lambda v: f"@{v}",
    "policy": str,
    "weights": lambda v: START.get(v, f"weights {PurePath(v).name}"),
    "model_args": lambda v: " ".join(f"{name} {_joined(value)}" for name, value in v) or "no model args",
    "fine_stem": lambda v: "fine stem" if v else "coarse stem",
    "frozen_norms": lambda v: "norms kept" if v else "norms by batch",
    "whitened": lambda v: "whitened filters" if v else "random filters",
    "pool": lambda v: f"{v} pool" if v else "own pool",
    "head": lambda v: f"{v} head",
    "layers": lambda v: f"features of {v} layers" if v != 1 else "features of the last layer",
    "top": lambda v: f"top {v} stage{'' if v == 1 else 's'} on kept features" if v else "all stages",
    "variants": lambda v: f"{v} variants a picture",
    "sizes": lambda v: f"from {'-'.join(map(str, v))} px" if v else "one size",
    "scales": lambda v: f"scales {'-'.join(f'{factor:g}' for factor in v)}" if v else "one scale",
    "test_size": lambda v: f"seen @{v}" if v else "seen as trained",
    "grid": lambda v: f"pictures of a {v} x {v} grid one by one" if v else "pictures as one",
    "preprocess": str,
    "mixup": lambda v: f"mixup {v:g}" if v else "no mixup",
    "cutmix": lambda v: f"cutmix {v:g}" if v else "no cutmix",
    "light_end": lambda v: f"light for the last {v:.0%}" if v else "no light end",
    "loss": lambda v: f"{v} loss",
    "neighbours": lambda v: f"{v} neighbours" if v else "no neighbours",
    "smoothing": lambda v: f"smoothing {v:g}",
    "class_weights": lambda v: f"{v} class weights" if v else "no class weights",
    "sampler": lambda v: f"{v} sampler" if v else "no sampler",
    "retrain_head": lambda v: f"head retrained for {v:g}" if v else "head trained once",
    "optimizer": str,
    "switch_to": lambda v: f"then {v}" if v else "no switch",
    "schedule": str,
    "lr": lambda v: f"lr {_brief(v)}" if v else "lr by sweep",
    "backbone_lr": lambda v: f"backbone lr x{v:g}",
    "layer_decay": lambda v: f"layer decay {v:g}" if v != 1 else "no layer decay",
    "unfreeze": lambda v: f"thawing for {v:.0%}" if v else "never frozen",
    "weight_decay": lambda v: f"weight decay {v:g}",
    "batch": lambda v: f"batch {v}",
    "dropout": lambda v: f"dropout {v:g}",
    "drop_path": lambda v: f"drop path {v:g}",
    "ema": lambda v: f"ema {v:g}" if v else "no ema",
    "swa": lambda v: f"swa {v:.0%}" if v else "no swa",
    "clip": lambda v: f"clip {v:g}" if v else "no clip",
    "teachers": lambda v: f"student of {len(v)}" if v else "no student",
    "taught": lambda v: f"at most {v:.0%} taught",
    "tta": lambda v: f"tta {v}",
    "predict_test": lambda v: "test rows predicted" if v else "held-out rows only",
    "seconds": lambda v: f"{v:.0f}s a fold" if v else "no time limit",
    "epochs": lambda v: f"{v:g} epoch{'' if v == 1 else 's'}" if v else "epochs as time allows",
    "seed": lambda v: f"seed {v}",
    "folds": lambda v: f"fold{'' if len(v) == 1 else 's'} {_ranges(v)}",
}
ALWAYS_NAMED = ("train", "backbone", "size", "policy", "folds")  # in the words of every config


def net_words(config: Config) -> str:
    """The net of a config and its size: `frozen resnet18 @128`."""
    return f"{'frozen ' if config.train == 'features' else ''}{config.backbone} @{config.seen_size}"


def words_of(config: Config, against: Config | None = None) -> str:
    """A config for people: `resnet18 @64 flip+crop, mixup 0.2, lr 1e-3, fold 0`, without default values.

    With `against`, only the values that differ from that config; "the same" where none does.
    """
    reference = against or Config()
    changed = [f.name for f in fields(Config) if getattr(config, f.name) != getattr(reference, f.name)]
    if against is not None:
        return ", ".join(WORDS[name](getattr(config, name)) for name in WORDS if name in changed) or "the same"
    frozen = "frozen " if config.train == "features" else ""
    name = f"{frozen}{config.backbone} {WORDS['size'](config.size)}"
    # a head on frozen features sees every picture once and unvaried, so its default policy is not worth a word
    name += "" if frozen and config.policy == reference.policy else f" {config.policy}"
    rest = [WORDS[part](getattr(config, part)) for part in WORDS if part in changed and part not in ALWAYS_NAMED]
    return ", ".join([name, *rest, WORDS["folds"](config.folds)])


def _joined(value: Any) -> str:
    """`32-64-128` for several values, one value as it is."""
    return "-".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _brief(value: float) -> str:
    """`2e-3` for small numbers, `0.05` for others."""
    return f"{value:g}" if value >= 0.01 or value == 0 else f"{value:.2e}".replace(".00e", "e").replace("e-0", "e-")


def _ranges(numbers: Sequence[int]) -> str:
    """`0-4` for consecutive numbers, `0,2` for others."""
    ordered = sorted(numbers)
    run = len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1))
    return f"{ordered[0]}-{ordered[-1]}" if run else ",".join(map(str, numbers))


def leaderboard_frame(trials: Sequence[Trial], metric: Metric, blend: Blend | None) -> "pd.DataFrame":
    """The run as a table: the blend on top, then trials best first, then those without a score.

    Columns: rank (missing for the blend and for trials without a score), stage, config, score and stderr (of the
    metric's own value), seconds, epochs, status, member (of the blend), weight (missing where a stacker holds more
    than weights), key. A trial asked for twice is one row.
    """
    import pandas as pd

    weights = dict(zip(blend.members, blend.weights, strict=False)) if blend else {}
    members = set(blend.members) if blend else set()
    rows: list[dict[str, Any]] = []
    if blend:
        words = f"{blend.method} of {len(blend.members)}"
        top = {"stage": "blend", "config": words, "score": metric.shown(blend.score), "stderr": blend.stderr}
        rows.append({"rank": None, **top, "status": "done", "member": False, "key": ""})
    unique = list({trial.key: trial for trial in trials}.values())
    scored = sorted((t for t in unique if t.has_score), key=lambda t: -t.score)
    for rank, trial in enumerate([*scored, *(t for t in unique if not t.has_score)], start=1):
        has_score = rank <= len(scored)
        rows.append(
            {
                "rank": rank if has_score else None,
                "stage": trial.stage,
                "config": words_of(trial.config),
                "score": metric.shown(trial.score) if has_score else math.nan,
                "stderr": trial.stderr if has_score else math.nan,
                "seconds": trial.seconds,
                "epochs": trial.facts.get("epochs", trial.config.epochs or math.nan),
                "status": trial.status,
                "member": trial.key in members,
                "weight": weights.get(trial.key, math.nan),
                "key": trial.key,
            }
        )
    columns = ["rank", "stage", "config", "score", "stderr", "seconds", "epochs", "status", "member", "weight", "key"]
    frame = pd.DataFrame(rows, columns=columns)
    numbers = dict.fromkeys(("score", "stderr", "seconds", "epochs", "weight"), "float64")
    return frame.astype({"rank": "Int64", "member": bool, **numbers})


def leaderboard_text(frame: "pd.DataFrame", width: int | None = None) -> str:
    """The table as aligned text, `width` columns wide, by default the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=width, no_color=True, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("config", min_width=20, overflow="fold")
    table.add_column("score", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("epochs", justify="right", no_wrap=True)
    if console.width >= WIDE:
        table.add_column("key", no_wrap=True)
    for row in frame.to_dict("records"):
        weight = "" if math.isnan(row["weight"]) else f"{row['weight']:.2f}"
        cells = [
            f"{row['rank']}" if isinstance(row["rank"], int) else "",
            row["stage"],
            Text(row["config"]),
            give_or_take(row["score"], row["stderr"]) or row["status"],
            weight or ("in" if row["member"] else ""),
            "" if math.isnan(row["seconds"]) else f"{row['seconds']:.0f}",
            "" if math.isnan(row["epochs"]) else f"{row['epochs']:.3g}",
            row["key"],
        ]
        table.add_row(*cells[: len(table.columns)])
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
