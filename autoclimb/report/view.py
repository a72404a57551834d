"""What a person sees of a run while it runs. With cli.py the only file that prints: cli.py says when, this says how.

A scene is what is known so far, `after` folds one event into it, `drawn` makes a picture of it. Nothing is decided
here, and the only time read is the one handed in.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoclimb.budget import in_words

if TYPE_CHECKING:  # types.py pays for numpy, which a view does not need
    from autoclimb.types import Event, Tell

ROWS = 6  # finished trials shown
SIDE_BY_SIDE = 4  # running trials shown; there is one a device
A_SECOND = 2  # pictures; each costs about 5 ms of a core that training wants


@dataclass(frozen=True)
class Going:
    """A trial that is running."""

    number: int = 0
    config: str = ""
    epoch: float = 0.0
    epochs: float = 0.0
    fold: int = 0
    folds: int = 0
    share: float = 0.0  # of all folds' training that is done


@dataclass(frozen=True)
class Tried:
    """A trial that is over, or a blend. `score` is None where there is none; `note` then says why."""

    stage: str
    config: str
    score: float | None = None
    stderr: float | None = None
    gain: float | None = None
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """All that is shown of a run."""

    stage: str = ""
    going: Mapping[str, Going] = field(default_factory=dict)
    tried: tuple[Tried, ...] = ()
    trials: int = 0
    best: float | None = None
    best_stderr: float | None = None
    work: str = ""  # what a count is of: decoding, predicting
    done: float = 0.0
    total: float = 0.0
    submission: str = ""


def after(scene: Scene, event: "Event") -> Scene:
    """The scene once this event has happened."""
    facts = event.facts
    key = str(facts.get("trial", ""))
    going = dict(scene.going)
    if event.name in ("start", "epoch"):
        old = going.get(key, Going())
        going[key] = Going(
            number=facts.get("number", old.number),
            config=facts.get("config", old.config),
            epoch=facts.get("epoch", old.epoch),
            epochs=facts.get("epochs", old.epochs),
            fold=facts.get("fold", old.fold),
            folds=facts.get("folds", old.folds),
            share=facts.get("share", old.share),
        )
    elif event.name == "trial":
        going.pop(key, None)
    scene = replace(
        scene,
        stage=facts.get("stage") or scene.stage,
        going=going,
        best=facts.get("best", scene.best),
        best_stderr=facts.get("best_stderr", scene.best_stderr),
        submission=str(facts.get("submission") or scene.submission),
    )
    if event.name == "progress":
        done, total = facts.get("done", 0), facts.get("total", 0)
        over = done >= total
        return replace(scene, work="" if over else event.text or scene.work or "preparing", done=done, total=total)
    if event.name == "trial" or (event.name == "blend" and facts.get("score") is not None):
        row = Tried(
            stage="blend" if event.name == "blend" else scene.stage,
            config=str(facts.get("config") or event.text),
            score=facts.get("score"),
            stderr=facts.get("stderr"),
            gain=facts.get("gain"),
            seconds=facts.get("seconds"),
            note=str(facts.get("status", "")),
        )
        return replace(scene, work="", trials=scene.trials + (event.name == "trial"), tried=(*scene.tried, row)[-ROWS:])
    return replace(scene, work="")


def number(value: float | None, sign: bool = False) -> str:
    """A score for people: four decimals, or four digits where it is ten and more; "" for None, NaN and infinity."""
    if value is None or not abs(value) < float("inf"):
        return ""
    return f"{value:{'+' if sign else ''}{'.4f' if abs(value) < 10 else '.4g'}}"


def give_or_take(value: float | None, stderr: float | None) -> str:
    """`0.9123 ± 0.0061`, as much of it as is known."""
    return number(value) + (f" ± {number(stderr)}" if number(stderr) and number(value) else "")


def drawn(scene: Scene, budget: float, left: float, going: bool = True) -> RenderableType:
    """A picture of the scene. `budget` 0 has no time bar; `going` False leaves out what moves."""
    parts: list[RenderableType] = []
    if going:
        parts.append(_head(scene, budget, left))
        moving = _moving(scene)
        if moving.row_count:
            parts.append(moving)
    if scene.tried:
        parts.append(_tried(scene))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if number(scene.best):
        facts.add_row(
            "best", Text.assemble((give_or_take(scene.best, scene.best_stderr), "bold green"), " out of fold")
        )
    if scene.submission:
        facts.add_row("submission", Text(scene.submission))
    if facts.row_count:
        parts.append(facts)
    spaced: list[RenderableType] = [Text("")]
    for part in parts:
        spaced += [part, Text("")]
    return Group(*spaced) if parts else Text("")


def _head(scene: Scene, budget: float, left: float) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    name = Text.assemble(("autoclimb", "bold"), (f"  {scene.stage or 'starting'}", "cyan"))
    if budget <= 0:
        head.add_row(name, "")
        return head
    late = left <= 0
    words = "finishing" if late else f"{in_words(left)} of {in_words(budget)} left"
    head.add_row(name, Text(words, "yellow" if late else "default"))
    spent = min(max(budget - left, 0.0), budget)
    return Group(head, ProgressBar(total=budget, completed=spent, complete_style="cyan", finished_style="yellow"))


def _moving(scene: Scene) -> Table:
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(ratio=1, min_width=12)
    for trial in list(scene.going.values())[:SIDE_BY_SIDE]:
        label = f"trial {trial.number}" if trial.number else "trial"
        words = f"fold {trial.fold}/{trial.folds} " if trial.folds > 1 else ""
        words += f"epoch {trial.epoch:g}/{trial.epochs:g}" if trial.epochs else ""
        bar = _bar(trial.share, 1.0) if trial.folds else _bar(trial.epoch, trial.epochs)
        rows.add_row(label, Text(trial.config), Text(words.strip(), "dim"), bar)
    if scene.work:
        rows.add_row(
            "", Text(scene.work), Text(f"{scene.done:g}/{scene.total:g}", "dim"), _bar(scene.done, scene.total)
        )
    return rows


def _bar(done: float, total: float) -> RenderableType:
    return ProgressBar(total=total, completed=done, complete_style="green") if total else Text("")


def _tried(scene: Scene) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage", no_wrap=True, style="cyan")
    table.add_column("tried", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("out of fold", no_wrap=True)
    table.add_column("bought", justify="right", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    for row in scene.tried:
        score = give_or_take(row.score, row.stderr)
        better = row.gain is not None and row.gain > 0
        table.add_row(
            row.stage,
            Text(row.config),
            Text(score) if score else Text(row.note or "no score", "yellow"),
            Text(number(row.gain, sign=True) if better else "·", "green" if better else "dim"),
            "" if row.seconds is None else in_words(row.seconds),
        )
    return table


@contextmanager
def watch(quiet: bool, budget: float, left: Callable[[], float], console: Console | None = None) -> Iterator["Tell"]:
    """A teller that shows what it is told for as long as the context lasts.

    A terminal gets a live picture with notes scrolling above it; a file or a pipe one line an event, with the seconds
    since the start; `quiet` gets nothing. What follows the last event is for the caller to say. `left()` may be
    negative, so that a run over its budget still shows the time it took; `budget` 0 means there is none.
    """
    if quiet:
        yield _hear_nothing
        return
    console = console or Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        with _live(console, budget, left) as tell:
            yield tell
    else:
        yield _plain(budget, left)


def _hear_nothing(event: "Event") -> None:
    return None


def _plain(budget: float, left: Callable[[], float]) -> "Tell":
    def tell(event: "Event") -> None:
        if event.text and event.name != "done":
            try:
                print(f"[{in_words(budget - left()):>6}] {event.text}", flush=True)
            except BrokenPipeError:
                speak_to_nobody()

    return tell


def speak_to_nobody() -> None:
    """Standard output goes nowhere from here on: its reader left (`| head`), which is no reason to lose a search."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def _live(console: Console, budget: float, left: Callable[[], float]) -> Iterator["Tell"]:
    scene = Scene()

    def picture() -> RenderableType:
        return drawn(scene, budget, left())

    def tell(event: "Event") -> None:
        nonlocal scene
        scene = after(scene, event)
        if event.name == "note" and event.text:
            console.print(Text(event.text, "dim"))

    try:
        with Live(get_renderable=picture, console=console, refresh_per_second=A_SECOND, transient=True):
            yield tell
    finally:
        if scene.tried:
            console.print(drawn(scene, budget, left(), going=False))
