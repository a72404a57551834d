"""Broken folders and commands: each gives one clear line and status 2, or is gone on with and listed; nothing outside
of the run folder is touched."""

import csv
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
from broken import HANDLED, REFUSED, Broken, broken
from folders import competition, picture
from PIL import Image
from typer.testing import CliRunner

from autoclimb import cli, solve
from autoclimb.data.files.spool import stretch_of
from autoclimb.data.read.folder import read_folder
from autoclimb.disk import lock_folder
from autoclimb.errors import Mistake, full_disk, no_room
from autoclimb.report import charts
from autoclimb.run.worker import Late


class Nobody:
    """A worker that never answers: a run then ends after reading, decoding and folding, with a constant answer."""

    def __init__(self, *asked: object) -> None:
        pass

    def greet(self, hello: dict, seconds: float) -> dict:
        raise Late

    def end(self) -> None:
        pass


def everything(folder: Path, but: Path) -> dict[str, object]:
    """What lies below a folder: bytes of files, targets of links, kinds of others."""
    contents: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path == but or but in path.parents:
            continue
        name = ascii(str(path))
        if path.is_symlink():
            contents[name] = path.readlink()
        elif path.is_file():
            contents[name] = open(path, "rb").read()  # noqa: SIM115 - a test replaces Path's own
        else:
            contents[name] = path.lstat().st_mode
    return contents


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Runs a case's command; whatever it does, nothing but the run folder may change. Charts are not drawn."""
    monkeypatch.setattr(solve, "Worker", Nobody)
    monkeypatch.setattr(charts, "svg_of", lambda figure, name: f"<svg>{name}</svg>")
    monkeypatch.setattr(cli, "STARTED", time.monotonic())  # of this process: the tests before would use up the budget
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(case: Broken):
        data, out = tmp_path / "data", tmp_path / "run"
        case.make(data)
        given = [word.format(beside=tmp_path) for word in case.options]
        if "--data" in given:
            data = given.pop(given.index("--data") + 1)
            given.remove("--data")
        for name, value in (("--metric", "accuracy"), ("--budget", "1h"), ("--out", str(out))):
            if not any(word.split("=")[0] == name for word in given):
                given += [name, value]
        before = everything(tmp_path, out)
        result = CliRunner().invoke(cli.app, ["fit", str(data), *given])
        assert everything(tmp_path, out) == before
        return result, out

    return run


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_clear_line(fit, name):
    case = REFUSED[name]
    result, _ = fit(case)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    line = result.stderr
    assert line.startswith("autoclimb: ")
    assert line.count("\n") == 1
    assert len(line) < 700
    for pattern in case.patterns:
        assert re.search(pattern, line), line


@pytest.mark.parametrize("name", HANDLED)
def test_a_fault_that_can_be_read_around_is_a_note(fit, name, tmp_path):
    case = HANDLED[name]
    result, out = fit(case)
    assert result.exit_code == 0, (result.output, result.exception)
    for pattern in case.patterns:
        assert re.search(pattern, result.output), result.output
    with open(out / "submission.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert len(header) == 2
    assert rows
    assert all(row[1] for row in rows)
    assert (out / "report.html").exists(), "a page that cannot be made is a note, with which the run ends well"


def test_forms_of_the_pictures_asked_for_are_not_said_to_be_left_unanswered(tmp_path):
    for i in range(4):
        picture(competition(tmp_path / "data") / "test" / "png" / f"b_{i:03d}.png")
    assert not [note for note in read_folder(tmp_path / "data").notes if note.kind == "unasked"]


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_at_any_write_is_one_line_and_leaves_a_whole_submission(fit, tmp_path, monkeypatch):
    out, synced = tmp_path / "run", os.fsync
    for last in count(1):
        written = count(1)

        def fsync(file: int, last: int = last, written: Iterator[int] = written) -> None:
            if next(written) >= last:  # it stays full: for what one write lacks, stored features make room
                raise OSError(errno.ENOSPC, "No space left on device")
            synced(file)

        monkeypatch.setattr(os, "fsync", fsync)
        shutil.rmtree(out, ignore_errors=True)
        result, _ = fit(broken(lambda root: root.exists() or competition(root)))
        if result.exit_code == 0:
            break
        assert result.exit_code == 2, result.exception
        assert re.fullmatch(r"autoclimb: .* cannot be written .*No space left on device.*\n", result.stderr)
        if (out / "submission.csv").exists():
            assert len((out / "submission.csv").read_text().splitlines()) == 5
        assert not [p for p in out.rglob("*") if p.suffix in (".tmp", ".part")]
    assert last > 8


def test_a_limit_on_the_size_of_files_is_one_line_from_the_real_command(tmp_path):
    competition(tmp_path / "data")
    words = [sys.executable, "-m", "autoclimb", "fit", "data", "--metric", "accuracy", "--budget", "1h", "--out", "run"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))  # pixels of 16 pictures take 197 kB
    # bytecode would be cut off at the limit too, and break every later import of that module (Python 3.11)
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, timeout=300, env=settings
    )
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"autoclimb: run cannot be written to \(File too large; .*same command.*\n", done.stderr)
    assert len((tmp_path / "run" / "submission.csv").read_text().splitlines()) == 5


def test_a_failed_write_of_a_worker_is_a_full_disk_however_it_is_worded(tmp_path):
    short = OSError("25000 requested and 4096 written")  # numpy
    odd = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")  # safetensors
    assert no_room(short)
    assert no_room(odd)
    assert not no_room(OSError(errno.EACCES, "Permission denied"))
    assert "MB are free" in full_disk(tmp_path, short)


# --- reading that is refused by the system ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.csv", "a_003.jpg"])
def test_a_file_that_may_not_be_read_is_listed(fit, monkeypatch, name):
    def forbidden(original):
        def opened(path, *args, **options):
            if str(path).endswith(name):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return original(path, *args, **options)

        return opened

    monkeypatch.setattr("autoclimb.data.files.table_formats.stretch_of", forbidden(stretch_of))
    monkeypatch.setattr("autoclimb.data.files.image.Image.open", forbidden(Image.open))
    result, _ = fit(broken(competition))
    if name == "train.csv":
        assert result.exit_code == 2
        assert "train.csv could not be opened and is ignored" in result.stderr
    else:
        assert "1 unreadable pictures left out of training: a_003" in result.output


def test_a_7z_without_its_package_is_named(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    result, _ = fit(broken(lambda root: (competition(root) / "more.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))))
    assert result.exit_code == 2
    assert re.search(r"more.7z is a 7z archive; install .*autoclimb\[archives\]", result.stderr)


def test_a_run_that_goes_on_keeps_another_out_of_its_folder(fit, tmp_path):
    (tmp_path / "run").mkdir()
    with lock_folder(tmp_path / "run", "run"):
        result, _ = fit(broken(lambda root: root.exists() or competition(root)))
        assert result.exit_code == 2
        assert "another run is running in" in result.stderr
    assert fit(broken(lambda root: root.exists() or competition(root)))[0].exit_code == 0


def test_a_run_that_was_killed_keeps_none_out_although_its_worker_lives_on(tmp_path):
    text = f"""
import os, signal, subprocess
from pathlib import Path
from autoclimb.disk import lock_folder
lock = lock_folder(Path({str(tmp_path)!r}), "run")
nowhere = subprocess.DEVNULL
print(subprocess.Popen(["sleep", "60"], stdout=nowhere, stderr=nowhere).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    try:
        assert ended.returncode == -signal.SIGKILL
        lock_folder(tmp_path, "run").close()
    finally:
        os.kill(int(ended.stdout), signal.SIGKILL)


# --- other commands ---------------------------------------------------------------------------------------------------


def test_inspect_lists_what_was_odd_and_refuses_what_fit_refuses(tmp_path):
    HANDLED["latin-1"].make(tmp_path / "odd")
    shown = CliRunner().invoke(cli.app, ["inspect", str(tmp_path / "odd")])
    assert "train.csv is not UTF-8 and is read as cp1252" in shown.output
    REFUSED["one class only"].make(tmp_path / "bad")
    refused = CliRunner().invoke(cli.app, ["inspect", str(tmp_path / "bad")])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "every train row has the label 'cat'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["leaderboard", "nowhere"], "no run of autoclimb"),
        (["predict", "nowhere", "images", "--out", "new.csv"], "no run of autoclimb"),
        (["predict", "nowhere", "images", "--out", "/proc/new/new.csv"], "--out /proc/new/new.csv cannot be written"),
        (["fit", "", "--budget", "1h"], "is empty; write . for the current folder"),
        (["inspect", ""], "is empty; write . for the current folder"),
        (["plan", "", "--budget", "1h"], "is empty; write . for the current folder"),
        (["leaderboard", " "], "is empty; write . for the current folder"),
        (["predict", "run", "", "--out", "new.csv"], "is empty; write . for the current folder"),
        (["bench", ""], "is empty; write . for the current folder"),
        (["demo", "--out", "/proc/demo", "--budget", "20s"], "--out /proc/demo cannot be written"),
    ],
)
def test_other_commands_refuse_in_one_line_too(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2, result.exception
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", [0, -5, float("nan"), float("inf"), 1e12])
def test_a_budget_in_numbers_is_checked_as_one_in_words_is(budget, tmp_path):
    with pytest.raises(Mistake, match="budget of"):
        solve.fit(competition(tmp_path / "data"), metric="accuracy", budget=budget, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_may_lie_in_the_data_where_runs_lie_by_default_and_is_not_read_as_data(fit, tmp_path, monkeypatch):
    competition(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    for budget in ("1h", "2h"):  # another fingerprint of the data would be a Mistake
        run = solve.fit(".", metric="accuracy", budget=budget)
        assert run.submission.parent == Path("autoclimb-runs/data-accuracy")
        assert pd.read_csv(run.submission).id.tolist() == ["b_000", "b_001", "b_002", "b_003"]
