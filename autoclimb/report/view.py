"""The live view of a run on a terminal, in a notebook or through a pipe.

With cli.py and endings.py the only file that prints. A Scene holds the state of the run, `after` adds an event to it,
`drawn` turns it into a renderable for rich, `framed` into HTML. Nothing is decided here, and the time is an argument.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoclimb.budget import in_words
from autoclimb.report.words import give_or_take, score_words

if TYPE_CHECKING:  # types.py imports numpy, which the view does not need
    from autoclimb.types import Event, Tell

ROWS = 6  # finished trials shown
SIDE_BY_SIDE = 4  # running trials shown; each device runs one
FRAMES_A_SECOND = 2  # each costs about 5 ms of a core that is needed for training
NOTES = 12  # shown in a notebook, the last ones


@dataclass(frozen=True)
class Running:
    """A trial that is running."""

    number: int = 0
    config: str = ""
    epoch: float = 0.0
    epochs: float = 0.0
    fold: int = 0
    folds: int = 0
    share: float = 0.0  # of the training over all folds that is done


@dataclass(frozen=True)
class Finished:
    """A finished trial. Where `score` is None, `note` says why."""

    stage: str
    config: str
    score: float | None = None
    stderr: float | None = None
    gain: float | None = None
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """Everything that the view shows."""

    stage: str = ""
    running: Mapping[str, Running] = field(default_factory=dict)
    finished: tuple[Finished, ...] = ()
    best: float | None = None
    best_stderr: float | None = None
    work: str = ""  # the work that `done` and `total` count: decoding, predicting
    done: float = 0.0
    total: float = 0.0
    submission: str = ""


def after(scene: Scene, event: "Event") -> Scene:
    """The scene with this event added."""
    facts = event.facts
    key = str(facts.get("trial", ""))
    running = dict(scene.running)
    if event.name in ("start", "epoch"):
        old = running.get(key, Running())
        running[key] = Running(
            number=facts.get("number", old.number),
            config=facts.get("config", old.config),
            epoch=facts.get("epoch", old.epoch),
            epochs=facts.get("epochs", old.epochs),
            fold=facts.get("fold", old.fold),
            folds=facts.get("folds", old.folds),
            share=facts.get("share", old.share),
        )
    elif event.name == "trial":
        running.pop(key, None)
    scene = replace(
        scene,
        stage=facts.get("stage") or scene.stage,
        running=running,
        best=facts.get("best", scene.best),
        best_stderr=facts.get("best_stderr", scene.best_stderr),
        submission=str(facts.get("submission") or scene.submission),
    )
    if event.name == "progress":
        done, total = facts.get("done", 0), facts.get("total", 0)
        work = "" if done >= total else event.text or scene.work or "preparing"
        return replace(scene, work=work, done=done, total=total)
    if event.name == "trial":
        row = Finished(
            stage=scene.stage,
            config=str(facts.get("config") or event.text),
            score=facts.get("score"),
            stderr=facts.get("stderr"),
            gain=facts.get("gain"),
            seconds=facts.get("seconds"),
            note=str(facts.get("status", "")),
        )
        return replace(scene, work="", finished=(*scene.finished, row)[-ROWS:])
    return replace(scene, work="")


def drawn(scene: Scene, budget: float, left: float, moving: bool = True) -> RenderableType:
    """The scene as a renderable for rich: no time bar if `budget` is 0, no running trials if not `moving`."""
    parts: list[RenderableType] = []
    if moving:
        parts.append(_head(scene, budget, left))
        running = _running(scene)
        if running.row_count:
            parts.append(running)
    if scene.finished:
        parts.append(_finished_trials(scene))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if score_words(scene.best):
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


def _running(scene: Scene) -> Table:
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(ratio=1, min_width=12)
    for trial in list(scene.running.values())[:SIDE_BY_SIDE]:
        bar = _bar(trial.share, 1.0) if trial.folds else _bar(trial.epoch, trial.epochs)
        rows.add_row(trial_words(trial), Text(trial.config), Text(epoch_words(trial), "dim"), bar)
    if scene.work:
        rows.add_row(
            "", Text(scene.work), Text(f"{scene.done:g}/{scene.total:g}", "dim"), _bar(scene.done, scene.total)
        )
    return rows


def trial_words(trial: Running) -> str:
    """`trial 3`."""
    return f"trial {trial.number}" if trial.number else "trial"


def epoch_words(trial: Running) -> str:
    """`fold 2/5 epoch 3/8`, or the part of it that is known."""
    fold = f"fold {trial.fold}/{trial.folds}" if trial.folds > 1 else ""
    epoch = f"epoch {trial.epoch:g}/{trial.epochs:g}" if trial.epochs else ""
    return " ".join(filter(None, (fold, epoch)))


def _bar(done: float, total: float) -> RenderableType:
    return ProgressBar(total=total, completed=done, complete_style="green") if total else Text("")


def _finished_trials(scene: Scene) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage", no_wrap=True, style="cyan")
    table.add_column("config", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("out of fold", no_wrap=True)
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for row in scene.finished:
        score = give_or_take(row.score, row.stderr)
        better = row.gain is not None and row.gain > 0
        table.add_row(
            row.stage,
            Text(row.config),
            Text(score) if score else Text(row.note or "no score", "yellow"),
            Text(score_words(row.gain, sign=True) if better else "·", "green" if better else "dim"),
            "" if row.seconds is None else in_words(row.seconds),
        )
    return table


@contextmanager
def watch(quiet: bool, budget: float, left: Callable[[], float], console: Console | None = None) -> Iterator["Tell"]:
    """A block with a function that shows the events it is called with.

    On a terminal the view is live and notes scroll above it; in a notebook one output is updated; a file or a pipe gets
    one line for each event with the time since the start; with `quiet` nothing is shown. The caller prints what follows
    the last event. `left()` may be negative, so that a run past its budget still shows its time; `budget` 0 stands for
    no budget. It counts from this call on: what earlier calls of a run that goes on had spent, an event says
    (`spent_before`).
    """
    if quiet:
        yield ignore
        return
    before = 0.0

    def left_of_run() -> float:
        return left() - before

    def counted_from_the_start(tell: "Tell") -> "Tell":
        def counted(event: "Event") -> None:
            nonlocal before
            before = event.facts.get("spent_before", before)
            tell(event)

        return counted

    if console is None and notebook_display() is not None:
        yield counted_from_the_start(notebook_tell(budget, left_of_run))
        return
    console = console or Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        with _live(console, budget, left_of_run) as tell:
            yield counted_from_the_start(tell)
    else:
        yield counted_from_the_start(_plain(budget, left_of_run))


def ignore(event: "Event") -> None:
    """Shows nothing."""
    return None


# --- in a notebook ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A notebook's output: HTML, and a line for frontends that show none."""

    html: str
    line: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.line


def notebook_display() -> Callable[..., Any] | None:
    """IPython's `display` where this process is a notebook's kernel, None elsewhere; does not import IPython."""
    shell = sys.modules.get("IPython.core.getipython")
    kernel = getattr(shell.get_ipython(), "kernel", None) if shell is not None else None
    return sys.modules["IPython.display"].display if kernel is not None and "IPython.display" in sys.modules else None


def notebook_tell(budget: float, left: Callable[[], float]) -> "Tell":
    """A function that shows events in a notebook's cell, in one output that is updated; elsewhere it shows nothing."""
    display = notebook_display()
    if display is None:
        return ignore
    scene, notes, drawn_at, finished = Scene(), list[str](), budget + 1, False
    handle = display(framed(scene, notes, budget, left(), False), display_id=True)

    def tell(event: "Event") -> None:
        nonlocal scene, drawn_at, finished
        scene, finished = after(scene, event), finished or event.name == "done"
        if event.name == "note" and event.text:
            notes.append(event.text)
        now = left()
        if event.passing and drawn_at - now < 1:  # a notebook is updated for such events once a second at most
            return
        drawn_at = now
        handle.update(framed(scene, notes[-NOTES:], budget, now, finished))

    return tell


def framed(scene: Scene, notes: list[str], budget: float, left: float, finished: bool) -> Frame:
    """The scene as a notebook shows it."""
    from autoclimb.report.parts import rendered  # numpy

    state = "finished" if finished else scene.stage or "starting"
    time = (
        "" if budget <= 0 or finished else "finishing" if left <= 0 else f"{in_words(left)} of {in_words(budget)} left"
    )
    running = [" ".join(filter(None, (trial_words(t), t.config, epoch_words(t)))) for t in scene.running.values()]
    if scene.work:
        running.append(f"{scene.work} {scene.done:g}/{scene.total:g}")
    trials = [
        (
            row.stage,
            row.config,
            give_or_take(row.score, row.stderr) or row.note,
            score_words(row.gain, sign=True) if row.gain and row.gain > 0 else "",
            "" if row.seconds is None else in_words(row.seconds),
        )
        for row in scene.finished
    ]
    html = rendered(
        "progress.html",
        stage=state,
        time=time,
        budget=round(budget, 1),
        spent=round(min(max(budget - left, 0.0), budget), 1),
        finished=finished,
        best=score_words(scene.best),
        best_stderr=score_words(scene.best_stderr),
        running=[] if finished else running[:SIDE_BY_SIDE],
        trials=trials,
        submission=scene.submission,
        notes=notes,
    )
    best = give_or_take(scene.best, scene.best_stderr)
    return Frame(html, f"autoclimb {state}" + (f", {best} out of fold" if best else ""))


# --- through a pipe, and on a terminal -------------------------------------------------------------------------------


def _plain(budget: float, left: Callable[[], float]) -> "Tell":
    stage = ""  # of a stage that has begun, printed with the first event in it

    def show(text: str) -> None:
        try:
            print(f"[{in_words(budget - left()):>6}] {text}", flush=True)
        except BrokenPipeError:
            discard_output()

    def tell(event: "Event") -> None:
        nonlocal stage
        if event.name == "stage":
            stage = event.text
        elif event.text and event.name != "done":
            if stage:
                show(stage)
            stage = ""
            show(event.text)

    return tell


def discard_output() -> None:
    """Discards standard output from here on: its reader is gone (`| head`), which is no reason to lose a search."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


@contextmanager
def _live(console: Console, budget: float, left: Callable[[], float]) -> Iterator["Tell"]:
    scene = Scene()

    def frame() -> RenderableType:
        return drawn(scene, budget, left())

    def tell(event: "Event") -> None:
        nonlocal scene
        scene = after(scene, event)
        if event.name == "note" and event.text:
            console.print(Text(event.text, "dim"))

    try:
        with Live(get_renderable=frame, console=console, refresh_per_second=FRAMES_A_SECOND, transient=True):
            yield tell
    finally:
        if scene.finished:
            console.print(drawn(scene, budget, left(), moving=False))
