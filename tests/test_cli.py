"""The command line, with the rooms behind it replaced by stand-ins that answer at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import autoclimb
from autoclimb import cli
from autoclimb.config import Config
from autoclimb.errors import Mistake
from autoclimb.report.leaderboard import leaderboard_frame
from autoclimb.types import Event, Metric, Trial

F2 = Metric("f2", lambda truth, answers: 0.0, "labels")
COMMANDS = sorted(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def answer(folder: Path, score: float = 0.9123) -> Any:
    """A finished run."""
    trial = Trial(Config(), "baseline", "done", 0.91, 0.006, 21.0)

    def predict(images: Path, tell: Any = None) -> pd.DataFrame:
        tell(Event("note", "predicting"))
        return pd.DataFrame({"id": ["a", "b"], "labels": ["1 2", ""]})

    return SimpleNamespace(
        folder=folder,
        metric=F2,
        score=score,
        stderr=0.0061,
        submission=folder / "submission.csv",
        words="the budget is spent",
        leaderboard=lambda: leaderboard_frame([trial], F2, None),
        predict=predict,
    )


@pytest.fixture
def rooms(monkeypatch, tmp_path):
    """Stand-ins for solve, reading and demo; the options they received are in `.received`."""
    received: dict[str, Any] = {}

    def fit(data: Path, **options: Any) -> Any:
        received.update(options, data=data)
        options["tell"](Event("note", "5000 pictures"))
        if "raises" in received:
            raise received["raises"]
        (tmp_path / "submission.csv").touch()
        return answer(tmp_path, received.get("score", 0.9123))

    def understood(folder: Path, metric: str | None, *columns: str | None) -> tuple[str, dict[str, Any]]:
        received.update(zip(("id_column", "target", "group"), columns, strict=True), data=folder, metric=metric)
        return "task", {"task": "task", "metric": {"name": metric or "f2"}}

    stands: dict[str, dict[str, Any]] = {
        "autoclimb.solve": {"fit": fit, "open_run": answer},
        "autoclimb.search.recipes": {"recipe_titles": lambda: {"planet": "Amazon tags, F2.", "own": ""}},
        "autoclimb.demo": {
            "make_demo": lambda folder, seed: folder,
            "f2_on_test_set": lambda folder, submission: (0.7778, 0.2222),
        },
        "autoclimb.reading": {"understood": understood},
        "autoclimb.report.inspection": {
            "page_of": lambda facts, thumbnails: f"{facts['task']} for {facts['metric']['name']}",
            "THUMBNAIL": 12,
        },
    }
    for name, values in stands.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return SimpleNamespace(received=received, folder=tmp_path)


def run_cli(*args: str) -> Any:
    return CliRunner().invoke(cli.app, list(args))


def test_fit_passes_the_options_on_and_counts_from_the_command(rooms):
    result = run_cli("fit", "d", "--metric", "f2", "--budget", "4h", "--id", "x", "--no-pretrained", "--folds", "4")
    assert result.exit_code == 0, result.output
    received = rooms.received
    assert (str(received["data"]), received["metric"], received["budget"]) == ("d", "f2", 14400.0)
    assert (received["id_column"], received["pretrained"], received["folds"], received["out"]) == ("x", False, 4, None)
    assert received["started"] == cli.STARTED


def test_fit_ends_with_the_score_its_standard_error_and_the_submissions_path(rooms):
    result = run_cli("fit", "d", "--metric", "f2", "--budget", "4h")
    assert "5000 pictures" in result.output
    assert "the budget is spent" in result.output
    assert "0.9123 ± 0.0061 out of fold" in result.output
    assert result.output.rstrip().endswith("submission.csv")


def test_a_run_that_learned_nothing_says_so_instead_of_a_score(rooms):
    rooms.received["score"] = float("nan")
    output = run_cli("fit", "d", "--metric", "f2", "--budget", "4h", "--quiet").stdout
    assert output.splitlines()[0] == "f2          no score: nothing was learned"
    assert "nan" not in output


def test_quiet_prints_the_result_only(rooms):
    lines = run_cli("fit", "d", "--metric", "f2", "--budget", "4h", "--quiet").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["f2", "submission"]


def test_a_mistake_is_one_line_and_status_two(rooms):
    rooms.received["raises"] = Mistake("no pictures in d;\n  give the folder that holds them")
    result = run_cli("fit", "d", "--metric", "f2", "--budget", "4h", "--quiet")
    assert result.exit_code == 2
    assert result.stderr == "autoclimb: no pictures in d; give the folder that holds them\n"


def test_a_budget_that_cannot_be_parsed_is_a_mistake_before_anything_is_read(rooms):
    result = run_cli("fit", "d", "--metric", "f2", "--budget", "soon")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "budget 'soon'" in result.stderr
    assert not rooms.received


def test_stopping_says_how_to_continue_and_is_status_130(rooms):
    rooms.received["raises"] = KeyboardInterrupt()
    result = run_cli("fit", "d", "--metric", "f2", "--budget", "4h", "--quiet")
    assert result.exit_code == 130
    assert result.stderr == "autoclimb: stopped; the same command continues from here\n"


def test_a_bug_is_not_hidden(rooms):
    rooms.received["raises"] = ZeroDivisionError()
    assert isinstance(run_cli("fit", "d", "--metric", "f2", "--budget", "4h").exception, ZeroDivisionError)


@pytest.mark.parametrize("args", [["fit"], ["fit", "d", "--metric", "f2"], ["climb"], ["fit", "d", "--seed", "x"]])
def test_a_wrong_command_line_is_status_two(args):
    assert run_cli(*args).exit_code == 2


def test_inspect_prints_a_page_for_people_and_json_for_programs(rooms):
    assert run_cli("inspect", "d").stdout == "task for f2\n"
    facts = json.loads(run_cli("inspect", "d", "--json", "--target", "y", "--metric", "accuracy").stdout)
    assert facts == {"task": "task", "metric": {"name": "accuracy"}}
    assert (rooms.received["target"], rooms.received["metric"]) == ("y", "accuracy")


def test_the_leaderboard_of_a_run_is_printed(rooms):
    assert "0.9100 ± 0.0060" in run_cli("leaderboard", "run").stdout


def test_predictions_are_written_in_the_submissions_form(rooms):
    out = rooms.folder / "new" / "answers.csv"
    result = run_cli("predict", "run", "images", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert out.read_text() == "id,labels\na,1 2\nb,\n"
    assert "2 rows" in result.output


def test_where_answers_cannot_be_written_is_said_before_they_are_made(rooms):
    result = run_cli("predict", "run", "images", "--out", str(rooms.folder))
    assert result.exit_code == 2
    assert "cannot be written (it is a folder)" in result.stderr
    assert "predicting" not in result.output


def test_the_demo_compares_the_promise_with_the_truth(rooms):
    result = run_cli("demo", "--out", str(rooms.folder / "demo"), "--budget", "20s")
    assert result.exit_code == 0, result.output
    assert rooms.received["metric"] == "f2"
    assert "0.7778 ± 0.2222 on the test set" in result.output
    assert "0.9123 ± 0.0061 out of fold" in result.output


def test_recipes_are_listed_with_the_first_line_of_their_docstring(rooms):
    assert run_cli("recipes").stdout == "planet  Amazon tags, F2.\nown\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command):
    result = run_cli(command, "--help")
    assert result.exit_code == 0
    assert "Example: autoclimb" in result.output


def test_the_help_names_every_command():
    assert all(command in run_cli("--help").output for command in COMMANDS)


def test_the_version_is_the_packages():
    assert run_cli("--version").stdout == f"autoclimb {autoclimb.__version__}\n"


def test_help_imports_neither_arrays_nor_tables_nor_nets():
    code = (
        "import sys\nimport autoclimb\nfrom autoclimb import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print({'numpy', 'pandas', 'torch', 'sklearn', 'scipy'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "autoclimb", "--version"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert b"Traceback" not in done.stderr


def test_the_front_door_names_what_it_has():
    assert autoclimb.Config is Config
    assert set(autoclimb.__all__) <= set(dir(autoclimb))
    with pytest.raises(AttributeError, match=r"it has .*open_run"):
        _ = autoclimb.opens_run
