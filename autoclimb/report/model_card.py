"""A run as a model card: Markdown with the front matter that the Hugging Face hub reads from a README."""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from autoclimb.budget import in_words
from autoclimb.config import Config
from autoclimb.report.leaderboard import words_of
from autoclimb.report.parts import safe
from autoclimb.report.record import RunRecord
from autoclimb.report.words import give_or_take, score_words
from autoclimb.types import Trial

MOST_CLASSES = 30  # listed in the card, the first ones
LONGEST = 60  # characters of a name from the data
TAGS = {"regression": "image-to-number", "multilabel": "multi-label-image-classification"}
# Config.weights -> origin and licence; for weights that the user gave by path, the licence is not known here
LICENCES = {
    "box": "ImageNet weights of TensorFlow's EfficientNet-Lite, Apache-2.0",
    "hub": "weights from timm's hub, each under the licence that its page names",
}


def card_text(record: RunRecord) -> str:
    """The card: the model in a sentence, its score with the interval, data, training, limits and licence."""
    members = members_of(record)
    sections = [
        front_matter(record, members),
        f"# {as_markdown(record.name)}\n\n{model_section(record, members)}",
        "## Score\n\n" + score_section(record),
        "## Data\n\n" + data_section(record),
        "## Training\n\n" + training_section(record, members),
        "## Limits\n\n" + limits_section(record, members),
        "## Licence\n\n" + licence_section(members),
        "## Use\n\n" + USE,
    ]
    return "\n\n".join(sections) + "\n"


USE = """```console
$ autoclimb predict RUN IMAGES --out answers.csv
$ autoclimb export RUN --format onnx
```

The first command answers a folder of pictures, the second writes one file that answers without autoclimb."""


def members_of(record: RunRecord) -> list[Trial]:
    """The trials in the blend."""
    trials = {trial.key: trial for trial in record.trials}
    return [trials[key] for key in record.blend.members if key in trials] if record.blend else []


def front_matter(record: RunRecord, members: Sequence[Trial]) -> str:
    """The front matter that the hub reads: YAML, each value as JSON, which is YAML too."""
    values: dict[str, Any] = {
        "library_name": "autoclimb",
        "tags": ["autoclimb", "timm", TAGS.get(record.goal.kind, record.goal.kind)],
        "metrics": [record.metric.name],
    }
    if record.goal.kind != "regression":
        values["pipeline_tag"] = "image-classification"
    sources = {trial.config.weights for trial in members if is_pretrained(trial.config)}
    if sources:
        values["license"] = "apache-2.0" if sources == {"box"} else "other"
        values["base_model"] = sorted({f"timm/{t.config.backbone}" for t in members if t.config.weights in LICENCES})
    if record.blend and isfinite(record.blend.score):
        value = round(record.metric.shown(record.blend.score), 6)
        result = {
            "task": {"type": "image-classification", "name": record.goal.kind},
            "dataset": {"name": safe(record.name, LONGEST), "type": "image-folder"},
            "metrics": [{"type": record.metric.name, "value": value, "name": "cross-fitted on the train rows"}],
        }
        values["model-index"] = [{"name": safe(record.name, LONGEST), "results": [result]}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value]
    return "\n".join(["---", *lines, "---"])


def model_section(record: RunRecord, members: Sequence[Trial]) -> str:
    """The model in a sentence or two: what it predicts, and how it was made."""
    answers = {
        "regression": "a number for each picture",
        "multilabel": f"which of {len(record.classes)} labels a picture has",
        "ordinal": f"one of {len(record.classes)} grades for each picture",
    }.get(record.goal.kind, f"one of {len(record.classes)} classes for each picture")
    if record.blend is None:
        return f"A model that should predict {answers}; nothing was learnt."
    nets = sum(len(trial.config.folds) for trial in members)
    return (
        f"A blend ({record.blend.method}) of {len(members)} trials, {nets} fitted models in all, that predicts "
        f"{answers}. It was searched, trained and scored by autoclimb in {in_words(record.spent)}."
    )


def score_section(record: RunRecord) -> str:
    """The score, its error and interval, and how it was measured."""
    blend, metric = record.blend, record.metric
    if blend is None:
        return "None: nothing was learnt."
    low, high = map(score_words, sorted(metric.shown(end) for end in blend.interval))
    interval = f"{low} to {high}" if low and high else "unknown"
    direction = "higher is better" if metric.greater_is_better else "lower is better"
    score = score_words(metric.shown(blend.score))
    grouped = "groups of rows" if record.groups is not None else "rows"
    return (
        f"| metric | value | standard error | 95 % interval | train rows |\n|---|---|---|---|---|\n"
        f"| {as_markdown(metric.name)}, {direction} | {score} | {score_words(blend.stderr)} | {interval} | "
        f"{blend.rows} |\n\n"
        f"The value is cross-fitted: nets, blend and decision rule were each scored on rows that they were not learned "
        f"from. Error and interval are over {grouped} and hold for new pictures that are drawn like the train rows."
    )


def data_section(record: RunRecord) -> str:
    """The number of rows, and the rows of each class or the range of the numbers."""
    used = int((record.fold_of >= 0).sum())
    lines = [f"{len(record.target)} train rows, {used} of them learned from; {record.answered} rows answered."]
    if record.goal.kind == "regression":
        low, middle, high = np.quantile(record.target[:, 0], (0.05, 0.5, 0.95))
        lines.append(f"The target is {middle:.4g} in the middle, and {low:.4g} to {high:.4g} in nine of ten rows.")
    else:
        counts = record.target.sum(0)
        shown = [
            f"| {as_markdown(name)} | {count:.0f} |"
            for name, count in [*zip(record.classes, counts, strict=True)][:MOST_CLASSES]
        ]
        lines.append("\n".join(["| class | train rows |", "|---|---|", *shown]))
        if len(record.classes) > MOST_CLASSES:
            lines.append(f"And {len(record.classes) - MOST_CLASSES} more classes.")
    return "\n\n".join(lines)


def training_section(record: RunRecord, members: Sequence[Trial]) -> str:
    """The members, the hardware and the versions."""
    rows = []
    for t in members:
        score = give_or_take(record.metric.shown(t.score), t.stderr)
        rows.append(f"| {as_markdown(words_of(t.config), 200)} | {score} | {in_words(t.seconds)} |")
    table = "\n".join(["| member | out of fold | time |", "|---|---|---|", *rows]) if rows else "No member."
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    hardware = record.settings.get("hardware", "unknown")
    return (
        f"{table}\n\n{len(record.trials)} trials in {in_words(record.spent)} of {in_words(record.budget)} on "
        f"{hardware}, seed {record.settings.get('seed', '')}. Versions: {versions or 'not on record'}."
    )


def limits_section(record: RunRecord, members: Sequence[Trial]) -> str:
    """The cases for which the score makes no promise."""
    lines = ["- Pictures that come from elsewhere than the train rows (another camera, place or time) may score less."]
    if (record.drift.get("auc") or 0.5) > 0.6:  # None where pictures were too few to tell
        lines.append("- The test pictures differ from the train pictures: a small classifier tells them apart.")
    if record.blend is not None and record.blend.rows < int((record.fold_of >= 0).sum()):
        lines.append(f"- The score is of {record.blend.rows} rows: not every member was trained on all folds.")
    if record.groups is None:
        lines.append(
            "- No groups were found: were pictures of one subject in several folds, the score would be too high."
        )
    if any(t.config.size < 128 for t in members):
        sizes = ", ".join(map(str, sorted({t.config.seen_size for t in members})))
        lines.append(f"- Pictures are seen at {sizes} px a side: what is smaller than a pixel then is not seen.")
    lines.append("- It was not examined for bias towards people or groups, nor for deliberately changed pictures.")
    return "\n".join(lines)


def licence_section(members: Sequence[Trial]) -> str:
    """The origin and licence of the weights that training began from."""
    sources = sorted({trial.config.weights for trial in members if is_pretrained(trial.config)})
    if not sources:
        return "Trained from scratch: no weights of others are in it. The licence of the data is not on record."
    words = []
    for source in sources:
        names = sorted({t.config.backbone for t in members if t.config.weights == source})
        known = LICENCES.get(source, "weights that were given by --weights, under the licence that they came with")
        words.append(f"- {', '.join(names)}: {known}.")
    return "\n".join([*words, "", "The licence of the data is not on record."])


def is_pretrained(config: Config) -> bool:
    """Whether training began from the weights of others."""
    return bool(config.weights)


def as_markdown(text: str, longest: int = LONGEST) -> str:
    """A name from the data on one line, its Markdown and HTML escaped."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in safe(text, longest))
