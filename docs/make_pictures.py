"""The pictures and the command output in README.md and docs/, made by running the commands.

    uv run python docs/make_pictures.py           # runs every command again: two minutes, most of them the demo
    uv run python docs/make_pictures.py --draw    # draws again: live.svg from live.jsonl, bench.svg from bench.json
    uv run python docs/make_pictures.py --bench BENCH    # draws bench.svg of another bench, and keeps its cells

A console block below a line `<!-- output -->` is run command by command in one temporary folder, and what they print
replaces what stood there; below `<!-- output: first 12 lines -->` or `<!-- output: last 5 lines -->` so many lines of
each command are kept. The events of `autoclimb demo` are kept in live.jsonl, one a line, and live.svg shows the
package's own view of them while the last net trains. bench.svg is the chart of scores on the page of a bench, of the
sets that every solver was run on.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from autoclimb import cli
from autoclimb.budget import in_words
from autoclimb.contest import figures
from autoclimb.contest.cells import Outcome
from autoclimb.contest.page import panels_at
from autoclimb.contest.suite import read_suite
from autoclimb.report import charts, parts, view
from autoclimb.types import Event, Tell

DOCS = Path(__file__).parent
ROOT = DOCS.parent
EVENTS, PICTURE = DOCS / "live.jsonl", DOCS / "live.svg"
CELLS, SCORES = DOCS / "bench.json", DOCS / "bench.svg"
SUITE = ROOT / "benchmarks" / "suite.toml"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
BLOCK = re.compile(r"^<!-- output(?:: (first|last) (\d+) lines)? -->\n```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COLUMNS = 100
A_MOMENT = 0.5  # seconds within which one of several epochs or counts is recorded
# GitHub's dark palette: the window has its own ground, so that it reads the same on a white and on a black page
THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
# rich's own frame without its web font, which a page may not load, but in any reader's own monospaced one
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
PLAIN_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
FRAME = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FRAME = FRAME.replace("Fira Code, monospace", FONTS)


def main() -> None:
    """Runs the commands and writes their output, or only draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="draw what is on record again, run nothing")
    parser.add_argument("--bench", type=Path, metavar="BENCH", help="draw this bench, a folder that `bench` wrote")
    asked = parser.parse_args()
    if asked.bench:
        CELLS.write_text(json.dumps(cells_of(asked.bench), indent=1) + "\n")
    SCORES.write_text(scores_drawing(json.loads(CELLS.read_text())))
    if asked.bench:
        return
    if not asked.draw:
        os.environ["COLUMNS"] = str(COLUMNS)  # of a page, as rich reads it
        with tempfile.TemporaryDirectory() as place:
            outputs: dict[str, str] = {}
            for page in PAGES:
                page.write_text(BLOCK.sub(lambda match: rerun(match, Path(place), outputs), page.read_text()))
    PICTURE.write_text(drawing([json.loads(line) for line in EVENTS.read_text().splitlines()]))


def cells_of(bench: Path) -> list[dict[str, Any]]:
    """The cells of a bench, without what names its folders, on the sets that every solver was run on."""
    cells = [json.loads(file.read_text()) for file in sorted(bench.glob("cells/*/cell.json"))]
    solvers_on: dict[str, set[str]] = {}
    for cell in cells:
        solvers_on.setdefault(cell["set"], set()).add(cell["solver"])
    most = max(map(len, solvers_on.values()))
    left_out = ("definition", "folder", "kind", "grades", "marked_with")
    return [
        {name: value for name, value in cell.items() if name not in left_out}
        for cell in cells
        if len(solvers_on[cell["set"]]) == most
    ]


def scores_drawing(cells: list[dict[str, Any]]) -> str:
    """The scores of a bench's page as an SVG file with the page's colours, light and dark, and a ground of its own."""
    outcomes = [Outcome(**cell) for cell in cells]
    suite = read_suite(SUITE)
    order = [solver.name for solver in suite.solvers]
    panels = panels_at(suite, sorted(outcomes, key=lambda o: order.index(o.solver)))
    figure = figures.scores_figure([replace(panel, known=()) for panel in panels])
    svg = charts.svg_of(figure, "bench")
    width, height = (float(value) for value in svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    budgets, seeds = {o.budget_s for o in outcomes}, {o.seed for o in outcomes}
    about = [
        f"{' and '.join(in_words(b) for b in sorted(budgets))} each, {len(seeds)} seed{'s' if len(seeds) > 1 else ''},",
        "on answers that no solver saw.",
        "Right is better; bars are ± one",
        "standard error over test rows.",
    ]
    beside = len(panels) % figures.ACROSS > 0  # the last panel leaves room
    x, y, tall = (0.6 * width, height - 62.0, height) if beside else (0.0, height + 12.0, height + 54.0)
    lines = "".join(f'<text x="{x:g}" y="{y + 13 * row:g}">{line}</text>' for row, line in enumerate(about))
    rules = f"{colours_of_pages()}text{{font-family:{PLAIN_FONTS}}}.about{{font-size:9px;fill:var(--soft)}}"
    rules += ".ground{fill:var(--card);stroke:var(--line)}"
    ground = f'<rect x="-11.5" y="-11.5" width="{width + 23:g}" height="{tall + 23:g}" rx="8" class="ground"/>'
    sides = f'viewBox="-12 -12 {width + 24:g} {tall + 24:g}" width="{2 * (width + 24):g}" height="{2 * (tall + 24):g}"'
    body = svg.split(">", 1)[1]
    start = f'<svg xmlns="{charts.SVG}" {sides} stroke-linejoin="round"><style>{rules}</style>{ground}'
    return f'{start}<g class="about">{lines}</g>{body}\n'


def colours_of_pages() -> str:
    """The rules of pages' style sheet that name colours, light and dark."""
    rules = re.findall(r":root\{[^}]*\}|@media \(prefers-color-scheme:dark\)\{:root\{[^}]*\}\}", parts.page_style())
    return "".join(rules[:2])


def rerun(block: re.Match[str], place: Path, outputs: dict[str, str]) -> str:
    """The block with what its commands print today. A command that stands in several blocks is run once."""
    text = block[0][: block[0].index("```console\n")] + "```console\n"
    for command in [line[2:] for line in block[3].splitlines() if line.startswith("$ ")]:
        if command not in outputs:
            print(command, flush=True)
            outputs[command] = output_of(command, place)
        lines = outputs[command].splitlines()
        if block[1] and len(lines) > int(block[2]):
            lines = [*lines[: int(block[2])], "..."] if block[1] == "first" else ["...", *lines[-int(block[2]) :]]
        text += "\n".join([f"$ {command}", *lines]) + "\n"
    return text + "```"


def output_of(command: str, place: Path) -> str:
    """What a command line of ours prints in that folder."""
    program, *words = shlex.split(command, comments=True)
    if program != "autoclimb":
        raise SystemExit(f"{command!r} stands below an output mark; only autoclimb's own commands are run")
    if words[0] == "demo":
        return recorded_demo(words, place)
    ran = subprocess.run([sys.executable, "-m", "autoclimb", *words], cwd=place, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{command!r} ended with status {ran.returncode}: {ran.stderr}")
    return ran.stdout


def recorded_demo(words: list[str], place: Path) -> str:
    """What the demo prints, run in this process so that its events can be kept in live.jsonl."""
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()) as printed, recorded() as rows:
        try:
            cli.main(words)
        except SystemExit as end:
            if end.code:
                raise
    if not trained(rows):
        raise SystemExit(f"{printed.getvalue()}\nno net was trained: the machine was too busy for the demo; try again")
    EVENTS.write_text("".join(json.dumps(row) + "\n" for row in thinned(rows)))
    return printed.getvalue()


@contextlib.contextmanager
def recorded() -> Iterator[list[dict[str, Any]]]:
    """A block in which the events that the view gets are put into a list too, with the seconds left at each."""
    rows: list[dict[str, Any]] = []
    own_watch = view.watch

    @contextlib.contextmanager
    def watch(quiet: bool, budget: float, left: Callable[[], float], console: Console | None = None) -> Iterator[Tell]:
        with own_watch(quiet, budget, left, console) as tell:

            def record(event: Event) -> None:
                rows.append({"budget": budget, "left": round(left(), 1), **asdict(event)})
                tell(event)

            yield record

    view.watch = watch
    try:
        yield rows
    finally:
        view.watch = own_watch


def thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events; of epochs and counts within A_MOMENT of each other the first, and the end of each count."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        over = row["facts"].get("done", 0) == row["facts"].get("total", 1)
        often = row["name"] in ("epoch", "progress") and not over
        if not (often and kept and kept[-1]["name"] == row["name"] and kept[-1]["left"] - row["left"] < A_MOMENT):
            kept.append(row)
    return kept


def trained(rows: list[dict[str, Any]]) -> list[int]:
    """The places of the events in which a net was training."""
    return [i for i, row in enumerate(rows) if row["name"] == "epoch" and "epochs" in row["facts"]]


def drawing(rows: list[dict[str, Any]]) -> str:
    """The live view as SVG, as it was when the last net was half trained."""
    last = rows[trained(rows)[-1]]["facts"]["trial"]
    moment = min(
        (i for i in trained(rows) if rows[i]["facts"]["trial"] == last),
        key=lambda i: abs(rows[i]["facts"]["share"] - 0.5),
    )
    scene = view.Scene()
    for row in rows[: moment + 1]:
        scene = view.after(scene, Event(row["name"], row["text"], row["facts"]))
    console = Console(width=COLUMNS, record=True, force_terminal=True, file=io.StringIO(), color_system="truecolor")
    console.print(view.drawn(scene, rows[moment]["budget"], rows[moment]["left"]))
    return console.export_svg(title="autoclimb demo", theme=THEME, code_format=FRAME, unique_id="live")


if __name__ == "__main__":
    main()
