"""The commands. Their options are in options.py, and endings.py says how a command ends.

Every command imports what it needs when it is called, so that `--help` imports nothing but typer.
"""

import time

# before the other imports: a budget counts from the command on, not from the end of the imports
STARTED = time.monotonic()

# ruff: noqa: E402
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoclimb import options
from autoclimb.budget import CACHE_GB, seconds_of
from autoclimb.endings import Commands, print_end, print_named
from autoclimb.errors import writing_to

if TYPE_CHECKING:
    from autoclimb.solve import Run

WIDEST = 100  # columns of a page, however wide the terminal is

app = typer.Typer(
    name="autoclimb",
    cls=Commands,
    help="A folder of images, a metric and a budget in; a searched, stacked, honestly scored submission out.",
    epilog="Start with: [bold]autoclimb demo[/bold]  (90 seconds, no download)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback means a bug, and bug reports want the plain one
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked_for: bool) -> None:
    if asked_for:
        from importlib.metadata import version

        print(f"autoclimb {version('autoclimb')}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    return None


@app.command("fit", epilog="Example: [bold]autoclimb fit ./data --metric f2 --budget 4h[/bold]")
def run_fit(
    data: options.Data,
    budget: options.Budget,
    metric: options.MetricName = None,
    out: options.RunOut = None,
    seed: options.Seed = 0,
    folds: options.Folds = None,
    recipe: options.RecipeName = None,
    weights: options.WeightsPath = None,
    no_pretrained: options.NoPretrained = False,
    device: options.Device = "auto",
    id_column: options.Id = None,
    target: options.Target = None,
    group: options.Group = None,
    yes: options.Yes = False,
    decisions: options.Decisions = None,
    no_label_shift: options.NoLabelShift = False,
    cache_gb: options.CacheSize = CACHE_GB,
    track: options.Trackers = None,
    quiet: options.Quiet = False,
) -> None:
    """Search, blend and write a submission within the budget.

    A valid submission is on disk from the first seconds on. Stop when you like: the same command continues, and a
    larger budget goes further.
    """
    seconds = seconds_of(budget)
    print_end(
        _fit_in_view(
            data,
            metric,
            seconds,
            quiet,
            out=out,
            seed=seed,
            folds=folds,
            recipe=recipe,
            weights=weights,
            pretrained=not no_pretrained,
            device=device,
            id_column=id_column,
            target=target,
            decisions=decisions,
            label_shift=not no_label_shift,
            group=group,
            yes=yes,
            cache_gb=cache_gb,
            track=track or (),
        ),
        quiet,
    )


@app.command("inspect", epilog="Example: [bold]autoclimb inspect ./data --metric f2[/bold]")
def show_facts(
    data: options.Data,
    metric: options.MetricToReadFor = None,
    json: options.Json = False,
    id_column: options.Id = None,
    target: options.Target = None,
    group: options.Group = None,
) -> None:
    """Show what is read from a folder, without training.

    Task, classes, sizes, groups, near-duplicates, drift between train and test, what is missing or ignored, and what
    the submission will look like. Nothing is written. --json is for programs; autoclimb.data.facts.facts_of explains
    its keys.
    """
    from autoclimb.reading import understood

    task, facts = understood(data, metric, id_column, target, group)
    if json:
        from json import dumps

        print(dumps(facts, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        from autoclimb.data.checks import thumbnails_of
        from autoclimb.report.inspection import THUMBNAIL, page_of

        console = Console(highlight=False, markup=False)
        colours = console.is_terminal and console.color_system == "truecolor"
        thumbnails = thumbnails_of(task, THUMBNAIL) if colours else []
        with console.capture() as page:
            console.print(page_of(facts, thumbnails), width=min(console.width, WIDEST))
        print("\n".join(line.rstrip() for line in page.get().splitlines()))


@app.command("leaderboard", epilog="Example: [bold]autoclimb leaderboard autoclimb-runs/data[/bold]")
def show_leaderboard(
    folder: options.Folder,
    against: options.Against = None,
) -> None:
    """Show every trial of a run, best first, and its weight in the blend."""
    from autoclimb.report.leaderboard import leaderboard_text
    from autoclimb.report.standing import read_scores, standing_text
    from autoclimb.solve import open_run

    run = open_run(folder)
    scores = read_scores(against) if against is not None else None
    print(leaderboard_text(run.leaderboard()))
    if scores is not None:
        print(standing_text(run.score, run.interval, scores, run.metric.greater_is_better))


@app.command("report", epilog="Example: [bold]autoclimb report autoclimb-runs/data[/bold]")
def make_report(folder: options.Folder) -> None:
    """Write a run's report.html again: one file to look at and to send. Works while the run goes on."""
    from autoclimb.solve import open_run

    print(open_run(folder).report())


@app.command("suspects", epilog="Example: [bold]autoclimb suspects autoclimb-runs/data[/bold]")
def list_suspects(folder: options.Folder) -> None:
    """Write suspects.html: train pictures whose labels look wrong, to keep, drop or relabel in a browser.

    The page saves decisions.csv, which fit takes with --decisions. suspects.csv lists the same rows.
    """
    from autoclimb.solve import open_run

    path, count = open_run(folder).suspects()
    print(f"{count} suspects: {path}")


@app.command("predict", epilog="Example: [bold]autoclimb predict autoclimb-runs/data ./new-images --out new.csv[/bold]")
def write_predictions(
    folder: options.Folder,
    images: options.Images,
    out: options.CsvOut,
    quiet: options.Quiet = False,
) -> None:
    """Predict new pictures with a run's blend, in the form of its submission."""
    from autoclimb.report.view import watch

    _check_writable(out)
    with watch(quiet, 0.0, _left(0.0, STARTED)) as tell:
        from autoclimb.solve import open_run

        answers = open_run(folder).predict(images, tell=tell)
    with writing_to(out):
        answers.to_csv(out, index=False)
    print(f"{len(answers)} rows: {out}")


@app.command("export", epilog="Example: [bold]autoclimb export autoclimb-runs/data --format onnx[/bold]")
def write_export(
    folder: options.Folder,
    format: options.ExportFormat = "onnx",
    best: options.Best = False,
    out: options.ExportOut = None,
    images: options.ImagesToCheckWith = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a run's blend as one file that answers without autoclimb, compared with predict first.

    Its description (inputs, classes, decision, score) is in the file and beside it as json.
    """
    from autoclimb.report.view import watch

    with watch(quiet, 0.0, _left(0.0, STARTED)) as tell:
        from autoclimb.solve import open_run

        exported = open_run(folder).export(format, best, out, images, tell)
    print(f"{exported.words}: {exported.path}")


@app.command("demo", epilog="Example: [bold]autoclimb demo --budget 90s[/bold]")
def run_demo(
    out: options.DemoOut = Path("autoclimb-demo"),
    budget: options.Budget = "90s",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Make a small competition, solve it, and compare the out-of-fold score with the true one.

    Each picture shows several digits, to be named as a set and scored by F2. Nothing is downloaded.
    """
    from autoclimb.demo import f2_on_test_set, make_demo
    from autoclimb.report.words import give_or_take

    seconds = seconds_of(budget)
    if not quiet:
        print(f"drawing a competition in {out}, then: autoclimb fit {out} --metric f2 --budget {budget}", flush=True)
    with writing_to(out):
        data = make_demo(out, seed)
    # drawing the competition does not count: a competitor would not pay for it
    run = _fit_in_view(data, "f2", seconds, quiet, started=time.monotonic(), seed=seed, device=device)
    print_end(run, quiet)
    value, stderr = f2_on_test_set(out, run.submission)
    print_named("f2", f"{give_or_take(value, stderr)} on the test set, whose truth only this demo knows")


@app.command("plan", epilog="Example: [bold]autoclimb plan ./data --metric f2 --budget 4h --device t4[/bold]")
def show_plan(
    data: options.Data,
    budget: options.Budget,
    metric: options.MetricName = None,
    device: options.KnownDevice = "cpu",
    hub: options.Hub = False,
    no_pretrained: options.NoPretrained = False,
    folds: options.Folds = None,
    recipe: options.RecipeName = None,
    id_column: options.Id = None,
    target: options.Target = None,
    group: options.Group = None,
    cache_gb: options.CacheSize = CACHE_GB,
) -> None:
    """Show what fit would do with a budget on a device, and why, without doing it.

    Stages, nets, sizes, folds, epochs, pictures a second, seconds, memory and disk, by measured and published speeds.
    """
    from autoclimb.dry_run import plan

    print(
        plan(
            data,
            metric=metric,
            budget=budget,
            device=device,
            hub=hub,
            pretrained=not no_pretrained,
            folds=folds,
            recipe=recipe,
            id_column=id_column,
            target=target,
            group=group,
            cache_gb=cache_gb,
        )
    )


@app.command("bench", epilog="Example: [bold]autoclimb bench suite.toml --budgets 60s,5m --seeds 0,1[/bold]")
def run_bench(
    suite: options.SuiteFile,
    solvers: options.Solvers = None,
    sets: options.Sets = None,
    budgets: options.Budgets = None,
    seeds: options.Seeds = None,
    out: options.BenchOut = None,
    retry: options.Retry = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare solvers on sets whose answers are known, and write results.json and bench.html.

    A solver is autoclimb with any options, or any command. One cell runs at a time. Stop when you like: the same
    command continues.
    """
    from autoclimb.benching import bench
    from autoclimb.types import Event

    def tell(event: Event) -> None:
        if not quiet:
            print(event.text, flush=True)

    lists = {"solvers": solvers, "sets": sets, "budgets": budgets, "seeds": seeds}
    names = {name: text and [word.strip() for word in text.split(",")] for name, text in lists.items()}
    finished = bench(suite, **names, out=out, retry=retry, tell=tell)
    print(f"\n{finished}\n")
    print_named("results", finished.folder / "results.json")
    print_named("page", finished.page)


@app.command("recipes", epilog="Example: [bold]autoclimb fit ./data --metric f2 --budget 4h --recipe NAME[/bold]")
def list_recipes() -> None:
    """List the recipes that fit takes with --recipe: for known competitions, and baselines without a search."""
    from autoclimb.search.recipes import recipe_titles

    titles = recipe_titles()
    width = max(map(len, titles), default=0)
    for name, title in titles.items():
        print(f"{name:<{width}}  {title}".rstrip())


def _fit_in_view(
    data: Path, metric: str | None, seconds: float, quiet: bool, started: float = STARTED, **settings: Any
) -> "Run":
    """The finished run of `fit`, shown in the live view while it goes on."""
    from autoclimb.report.view import watch

    with watch(quiet, seconds, _left(seconds, started)) as tell:
        from autoclimb.solve import fit  # inside the view: these imports take seconds

        return fit(data, metric=metric, budget=seconds, tell=tell, started=started, **settings)


def _check_writable(out: Path) -> None:
    """Makes the folder of a file to be written; raises Mistake where it could not be, before minutes of work for it."""
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not os.access(out if out.exists() else out.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _left(seconds: float, started: float) -> Callable[[], float]:
    """A function that returns the seconds left of a budget, negative once it is overrun."""
    return lambda: started + seconds - time.monotonic()


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit with 0 when done, 2 on a Mistake, 130 when stopped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # `±` where the terminal has no Unicode
    app(args, prog_name="autoclimb")
