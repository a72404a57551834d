"""A rehearsal: the real controller on a clock that only its trials advance, to show a plan before it is run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoclimb.budget import SLACK, Clock, seconds_kept
from autoclimb.config import Config
from autoclimb.search.capacity import kept_bytes, pixel_bytes
from autoclimb.search.climb import Stage, follow
from autoclimb.search.cost import (
    decoding_seconds,
    look_of,
    looked_at,
    pictures_of,
    speed_of,
    trunk_of,
    trunk_seconds,
    variants_kept,
)
from autoclimb.search.effects import changes_of
from autoclimb.search.fidelity import epochs_asked
from autoclimb.search.finals import is_long
from autoclimb.search.nets import net_named
from autoclimb.search.rates import LOOK, Device, memory_gb
from autoclimb.search.situation import FIRST_PICTURES, FIRST_SIZE, Situation, Speed
from autoclimb.search.stages import search_base
from autoclimb.search.starting import ranked
from autoclimb.types import History, Trial

PHOTOGRAPHS = {"skill": 0.5, "mirror": 1.0, "turn": 2.0}  # assumed facts of trials of hand-made features,
PRETRAINED = {"skill": 0.8}  # and of pretrained ones
PACKED = 0.2  # bytes of JPEGs over those of an array: .15 at 224 px to .27 at 64 (data/stored.py)
# seconds of a core to open a JPEG and to decode a pixel of it: 47, 122 and 294 us at 64, 128 and 224 px (there, too)
UNPACKED = (2.5e-5, 5.4e-9)

Play = Callable[[Config, str, float, Situation], Trial]  # with the stage and the seconds that it is planned to take


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that the controller would ask for, its cost, and the reason for it."""

    stage: str
    config: Config
    seconds: float
    epochs: float  # of each fold; 0 for features
    rate: float  # pictures a second: trained on, or predicted for features
    memory_gb: float
    pixel_gb: float  # of disk
    features_gb: float  # of disk, for features at the net's cut
    licence: str  # of the pretrained weights, "" from scratch
    why: str


def rehearse(
    situation: Situation, device: Device, plan: Sequence[tuple[str, Stage]]
) -> tuple[list[PlannedTrial], float]:
    """The trials that the controller would ask for, in order, and the seconds until the last one ends.

    Scores are made up from the nets' standing, and no change helps, so nothing is adopted.
    """
    rows: list[PlannedTrial] = []
    standing = {net.backbone: i for i, net in enumerate(reversed(ranked(History(), situation)))}

    def play(config: Config, stage: str, seconds: float, s: Situation) -> Trial:
        rows.append(planned(config, stage, seconds, rows, s))
        facts: dict[str, Any] = {}
        if config.train == "features":
            facts = dict(PRETRAINED if config.weights else PHOTOGRAPHS)
        score = 0.5 + 0.01 * standing.get(config.backbone, 0)
        return Trial(config, stage, "done", score, 0.05, seconds, facts=facts)

    _, time = on_its_own_clock(situation, device.cores, plan, play)
    return rows, time


def on_its_own_clock(
    situation: Situation, cores: int, plan: Sequence[tuple[str, Stage]], play: Play
) -> tuple[History, float]:
    """The controller's trials, each as `play` returns it, and the seconds until the last one ends.

    Trials move the clock by the seconds that they are planned to take, which follow from the situation's speeds, and
    looks at nets by LOOK. The first trial starts when the pictures are read and decoded; without any trial the seconds
    are those until then.
    """
    time = ended = SLACK.opening / 2 + decoding_seconds(situation, cores, FIRST_SIZE)
    records: dict[str, Trial] = {}
    decisions: dict[str, Any] = {}
    nets_done: dict[Config, set[int]] = {}
    decoded = {FIRST_PICTURES}  # in the opening
    kept: dict[Config, int] = {}
    looks: set[str] = set()
    clock = Clock(situation.budget, now=lambda: time, start=0.0)
    end = seconds_kept(situation.budget, SLACK.first_quick_blend)

    def remember(name: str, make: Callable[[], Any]) -> Any:
        if name not in decisions:
            decisions[name] = make()
        return decisions[name]

    def measure(config: Config) -> Speed:
        nonlocal time
        look = look_of(looked_at(config, situation.device))
        time += 0.0 if look in looks else LOOK[situation.device]
        looks.add(look)
        return situation.measure(config)

    def prepare(config: Config) -> None:
        nonlocal time
        time += 0.0 if is_decoded(config) else decoding_seconds(situation, cores, config.cached_size)
        time += trunk_seconds(config, replace(s, kept=kept))
        leave(config)

    def leave(config: Config) -> None:
        decoded.add(pictures_of(config))
        if config.top:
            kept[trunk_of(config)] = max(kept.get(trunk_of(config), 0), variants_kept(config))

    def is_decoded(config: Config) -> bool:
        return pictures_of(config) in decoded

    def run(config: Config, stage: str, seconds: float) -> Trial:
        nonlocal time, ended
        time += trunk_seconds(config, replace(s, kept=kept)) if config.train == "net" else 0.0
        leave(config)
        trial = play(config, stage, seconds, replace(s, measure=situation.measure))
        time += seconds
        ended = time  # looks at nets for which no time is left may follow
        if trial.status == "done":
            for net in {config, config.vary(predict_test=False)}:
                nets_done.setdefault(net.vary(folds=()), set()).update(config.folds)
        records[config.key] = trial
        return trial

    s = replace(
        situation,
        measure=measure,
        left=lambda: max(0.0, clock.left() - end),
        remember=remember,
        prepare=prepare,
        is_decoded=is_decoded,
        folds_done=lambda config: len(set(config.folds) & nets_done.get(config.vary(folds=()), set())),
    )
    history, _ = follow(plan, s, run, lambda config: records.get(config.key), clock, lambda: end, lambda history: None)
    return history, ended


def planned(config: Config, stage: str, seconds: float, before: Sequence[PlannedTrial], s: Situation) -> PlannedTrial:
    """The row of one trial."""
    net = net_named(config.backbone)
    features = config.train == "features"
    speed = speed_of(config, s) if not features or config.weights else None
    return PlannedTrial(
        stage=stage,
        config=config,
        seconds=round(seconds, 1),
        epochs=0.0 if features else round(config.epochs or epochs_asked(config, s), 1),
        rate=0.0 if speed is None else round(speed.predict if features else speed.train, 1),
        memory_gb=0.0 if features else round(memory_gb(config), 2),
        pixel_gb=round(stored_as(config.cached_size, s)[1] / 1e9, 2),
        features_gb=kept_bytes(config, s) / 1e9 if config.top else 0.0,
        licence=net.licence if config.weights else "",
        why=reason(config, stage, before, s),
    )


def reason(config: Config, stage: str, before: Sequence[PlannedTrial], s: Situation) -> str:
    """The reason for the trial, in a few words."""
    if config.train == "features":
        if not config.weights:
            return "hand-made features: a first score within seconds, and which flips are safe"
        if "box:" in config.preprocess:
            return "the pictures without a part: is it of any use?"
        if stage == "rest":
            return "further frozen features for the blend, in the time left"
        earlier = next((row.config for row in before if row.config.backbone == config.backbone), None)
        ranking = "frozen features: ranks the nets before any is trained"
        return f"the best frozen net with {another_setting(config, earlier)}" if earlier else ranking
    if stage == "baseline":
        return "the base that moves are compared with, paired by row: a third of a finalist's epochs"
    if stage == "finalists":
        first = len(config.folds) == 1 and s.folds > 1
        words = "the long recipe" if is_long(config) else f"stands for {net_named(config.backbone).family}"
        stages = f"{config.top} stages" if config.top > 1 else "stage"
        words += f", its last {stages} on kept features" if config.top else ""
        return f"{words}: its first fold" if first else words
    if stage == "students":
        return "a student: learns the finalists' predictions for pictures without labels, too"
    if stage == "rest":
        trained = any(row.config.train == "net" and row.config.backbone == config.backbone for row in before)
        return "another seed in the time left" if trained else "a first net in the time that frozen features left"
    nets = [row.config for row in before if row.stage == "baseline" and row.config.train == "net"]
    changes = changes_of(config, nets[0] if nets else search_base(History(), s))
    return ", ".join(sorted(changes)) or f"as the stage {stage} asks"


def another_setting(config: Config, earlier: Config) -> str:
    """The values in which frozen features differ from the same net's first ones."""
    values = {
        f"{config.size} px": config.size != earlier.size,
        f"a {config.head} head": config.head != earlier.head,
        f"the features of {config.layers} layers": config.layers != earlier.layers,
        "one view" if config.tta == "none" else f"views of {config.tta}": config.tta != earlier.tta,
        f"{len(config.folds)} folds": len(config.folds) != len(earlier.folds),
    }
    return ", ".join(words for words, differs in values.items() if differs) or "another setting"


def stored_as(size: int, s: Situation) -> tuple[str, float]:
    """The form in which decoded pictures of a size are on disk ("array", "jpegs", "" for their files), and its bytes.

    It is the first one that fits beside the array of the first pictures, which a run never deletes.
    """
    array = pixel_bytes(size, s)
    room = s.pixel_bytes - (stored_as(FIRST_SIZE, s)[1] if size != FIRST_SIZE else 0.0)
    forms = {"array": array, "jpegs": PACKED * array}
    return next(((form, size) for form, size in forms.items() if size <= room), ("", 0.0))


def reading_seconds(size: int, s: Situation, cores: int) -> float:
    """Seconds that reading a picture of a size takes the cores; 0 where it is a row of an array."""
    form, _ = stored_as(size, s)
    if form == "array":
        return 0.0
    if form == "jpegs":
        return (UNPACKED[0] + UNPACKED[1] * size**2) / cores
    return decoding_seconds(s, cores, size) / (s.rows + s.answered)
