"""How a command ends: the last lines of a run, and a line and an exit status for a mistake, a stop or a closed pipe."""

import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from autoclimb.errors import Mistake

if TYPE_CHECKING:
    from autoclimb.solve import Run

RESUMABLE = ("fit", "demo", "bench")  # commands that continue where they were stopped


class Commands(TyperGroup):
    """The commands, and how each kind of ending is shown."""

    def invoke(self, ctx: Any) -> Any:
        """The command's return value. A `Mistake` becomes one line and status 2, Ctrl-C one line and status 130."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except Mistake as mistake:
            print_error(" ".join(str(mistake).split()))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            hint = "; the same command continues from here" if ctx.invoked_subcommand in RESUMABLE else ""
            print_error(f"stopped{hint}")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            from autoclimb.report.view import discard_output

            discard_output()
            raise typer.Exit(0) from None


def print_end(run: "Run", quiet: bool) -> None:
    """Prints the last lines of a finished run: score, submission, report; unless `quiet`, what it did too."""
    if not quiet:
        print(run.words)
    from autoclimb.report.words import give_or_take

    score = give_or_take(run.score, run.stderr)
    print_named(run.metric.name, f"{score} out of fold" if score else "no score: nothing was learned")
    if run.submission.exists():
        print_named("submission", run.submission)
    else:  # the data had no test pictures
        print_named("answers", f"autoclimb predict {run.folder} IMAGES --out FILE")
    if (run.folder / "report.html").exists():
        print_named("report", run.folder / "report.html")


def print_named(name: str, value: object) -> None:
    """Prints a line of a command's result, the values of all lines below each other."""
    print(f"{name:<11} {value}")


def print_error(line: str) -> None:
    """Prints a line about an error to stderr."""
    print(f"autoclimb: {line}", file=sys.stderr)
