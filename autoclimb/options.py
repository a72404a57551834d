"""The arguments and options of the commands: their names, placeholders and help, each in one place."""

from pathlib import Path
from typing import Annotated

import typer

from autoclimb.errors import Mistake


def _named(text: str) -> Path:
    """The path of an argument; raises Mistake for "", as of an unset variable, which would be the current folder."""
    if not text.strip():
        raise Mistake("the name of a folder or file is empty; write . for the current folder")
    return Path(text)


# --- of several commands ----------------------------------------------------------------------------------------------

Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="The competition's folder, as downloaded.", show_default=False, parser=_named),
]
Folder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The folder of a run, as fit prints it at its end.", show_default=False, parser=_named
    ),
]
MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        "-m",
        metavar="NAME",
        help="The competition's metric: f2, qwk, auc, ... or FILE.py:FUNCTION. Default: the usual one for such data.",
    ),
]
Budget = Annotated[
    str, typer.Option("--budget", "-b", metavar="TIME", help="Wall time, start to submission: 90s, 15m, 4h.")
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="Decides folds, initial weights and the order of pictures.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:1.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print the result only.")]
Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column that names pictures.")]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="COLUMN", help="Column to predict. COLUMN=CLASS says which of two classes is positive."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="COLUMN", help="Column of groups, such as patients, whose rows share a fold; or none."
    ),
]
Folds = Annotated[
    int | None,
    typer.Option("--folds", metavar="K", help="Number of folds. Default: 5, more above 100,000 rows."),
]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", metavar="NAME", help="A name that `autoclimb recipes` lists, or a file of your own."),
]
NoPretrained = Annotated[bool, typer.Option("--no-pretrained", metavar="", help="Train from scratch only.")]

# --- of fit ----------------------------------------------------------------------------------------------------------

RunOut = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run. Default: named after DATA.")
]
WeightsPath = Annotated[
    str | None,
    typer.Option("--weights", metavar="PATH", help="Folder or file of pretrained weights, or an earlier run."),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", metavar="", help="Start even if the reading of DATA rests on a guess.")
]
Decisions = Annotated[
    Path | None,
    typer.Option("--decisions", metavar="FILE", help="Rows to keep, drop or relabel, saved from suspects.html."),
]
NoLabelShift = Annotated[
    bool,
    typer.Option(
        "--no-label-shift",
        metavar="",
        help="Do not correct for classes that are more or less frequent in the test set.",
    ),
]
CacheSize = Annotated[
    float,
    typer.Option(
        "--cache-gb",
        metavar="GB",
        min=0.0,
        help="Disk for decoded pixels; more are stored as JPEGs or decoded each time.",
    ),
]
Trackers = Annotated[
    list[str] | None,
    typer.Option("--track", metavar="NAME", help="tensorboard, mlflow, wandb or trackio, offline; may be repeated."),
]

# --- of inspect and plan ---------------------------------------------------------------------------------------------

MetricToReadFor = Annotated[
    str | None,
    typer.Option(
        "--metric", "-m", metavar="NAME", help="The metric to read for. Default: the usual one for such data."
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print the facts as JSON.")]
KnownDevice = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu (two cores), t4, p100, a100 or h100.")]
Hub = Annotated[bool, typer.Option("--hub", metavar="", help="Plan with the nets of timm's hub.")]

# --- of leaderboard, predict, export and demo ------------------------------------------------------------------------

Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="FILE", help="A csv of other teams' scores: rank, percentile and medal."),
]
Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="A folder of new pictures.", show_default=False, parser=_named)
]
CsvOut = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The csv to write.")]
ExportFormat = Annotated[str, typer.Option("--format", metavar="NAME", help="onnx, or torch (.pt2).")]
Best = Annotated[bool, typer.Option("--best", metavar="", help="The best trial alone, not the blend.")]
ExportOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="The file to write. Default: in the run's export folder."),
]
ImagesToCheckWith = Annotated[
    Path | None,
    typer.Option("--images", metavar="FOLDER", help="Pictures to check with. Default: the test pictures."),
]
DemoOut = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to put the competition.")]

# --- of bench --------------------------------------------------------------------------------------------------------

SuiteFile = Annotated[
    Path,
    typer.Argument(metavar="SUITE", help="A TOML file that names sets and solvers.", show_default=False, parser=_named),
]
Solvers = Annotated[str | None, typer.Option("--solvers", metavar="A,B", help="Only these solvers of the suite.")]
Sets = Annotated[str | None, typer.Option("--sets", metavar="A,B", help="Only these sets of the suite.")]
Budgets = Annotated[str | None, typer.Option("--budgets", metavar="60s,5m", help="Budgets instead of the suite's.")]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="0,1", help="Seeds instead of the suite's.")]
BenchOut = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the bench. Default: named after SUITE.")
]
Retry = Annotated[bool, typer.Option("--retry", metavar="", help="Run failed cells again.")]
