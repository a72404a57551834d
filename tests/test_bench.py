"""A bench with solvers of a few lines: what is run, what is on record, what is said."""

import json
import re
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from benches import outcome, suite_file
from run_folders import HOSTILE, run_folder
from typer.testing import CliRunner

import autoclimb
from autoclimb.cli import app
from autoclimb.contest import cells
from autoclimb.contest.cells import Outcome, command_of, with_promise
from autoclimb.contest.page import bench_page
from autoclimb.contest.suite import Cell, KnownSet, Solver, Suite, read_suite, selected
from autoclimb.contest.text import medal_rows, report_text
from autoclimb.disk import lock_folder
from autoclimb.errors import Mistake
from autoclimb.score.metrics import metric_named

KEYS = [
    "solver",
    "set",
    "metric",
    "higher_is_better",
    "budget_s",
    "seed",
    "score",
    "oof",
    "seconds",
    "trials",
    "peak_mb",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    hows = {"right": "good", "half": "fair", "wrong": "bad", "broken": "crash", "mute": "mute", "lost": "lost"}
    path = suite_file(folder, hows, ("pets", "dogs"), 'budgets = ["10s"]')
    return autoclimb.bench(path, out=folder / "out", seeds=[0, 1])


def test_every_solver_is_run_on_every_set_and_scored(finished):
    rows = json.loads((finished.folder / "results.json").read_text())
    assert rows == finished.results
    assert len(rows) == 6 * 2 * 2
    by = {(r["solver"], r["set"], r["seed"]): r for r in rows}
    assert [by[s, "pets", 0]["score"] for s in ("right", "half", "wrong")] == [1.0, 0.75, 0.0]


def test_rows_have_the_keys_that_programs_rely_on(finished):
    for row in finished.results:
        assert list(row) == (KEYS if row["score"] is not None else [*KEYS, "status"])
        assert (row["oof"], row["trials"]) == (None, None)  # a command does not tell
        assert row["budget_s"] == 10
        assert 0 <= row["seconds"] < 30


def test_a_failed_cell_says_why(finished):
    status = {r["solver"]: r["status"] for r in finished.results if r["score"] is None}
    assert status["broken"] == "exit 1: no <b>memory</b> | left"
    assert status["mute"] == "it left no submission"
    assert "lacks 'b_000'" in status["lost"]


def test_the_report_tells_wins_ranks_and_failures(finished):
    text = str(finished)
    assert re.search(r"right +wrong +2 +0 +0", text)
    assert "1.00  right" in text
    assert "are few: the test is meant for" in text
    assert "broken on pets, 10s, seed 0: exit 1" in text
    page = finished.page.read_text()
    assert "&lt;b&gt;memory&lt;/b&gt;" in page
    assert "<b>memory" not in page
    assert page.count("<svg") >= 3


def test_a_cell_on_record_is_not_run_again(tmp_path, monkeypatch):
    path = suite_file(tmp_path, {"mine": "good", "broken": "crash"})
    first = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"], solvers=["mine"])
    ran = []

    def counted(command, *rest):
        ran.append(command)
        return cells.Ended(1, False, 1.0, 0.0, "no")

    monkeypatch.setattr(cells, "watched", counted)
    again = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert len(ran) == 1  # the other solver's
    assert again.results[0] == first.results[0]
    autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert len(ran) == 1
    autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"], retry=True)
    assert len(ran) == 2  # the failed one again
    path.write_text(path.read_text().replace('"good"', '"fair"'))
    changed = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert len(ran) == 3  # a changed command is another cell, and the old one is no longer the suite's
    assert [r["score"] for r in changed.results] == [None, None]


def test_what_was_interrupted_in_a_cell_never_happened(tmp_path, monkeypatch):
    path = suite_file(tmp_path, {"mine": "good", "yours": "fair"})
    real, calls = cells.watched, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            (args[2].parent / "submission.csv").write_text("half")
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(cells, "watched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert [r["solver"] for r in json.loads((tmp_path / "out" / "results.json").read_text())] == ["mine"]
    full = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert [r["score"] for r in full.results] == [1.0, 0.75]
    assert len(calls) == 3


def test_an_overrun_is_stopped_after_a_grace_and_has_no_score(tmp_path, monkeypatch):
    path = suite_file(tmp_path, {"mine": "good"})
    limits = []

    def late(command, limit, *rest):
        limits.append(limit)
        return cells.Ended(-9, True, limit, 12.0, "")

    monkeypatch.setattr(cells, "watched", late)
    row = autoclimb.bench(path, out=tmp_path / "out", budgets=["100s"]).results[0]
    assert limits == [100 + cells.GRACE + 100 * cells.GRACE_SHARE]
    assert row["score"] is None
    assert row["status"] == "stopped 1m10s after its budget had ended"


def test_a_command_that_cannot_be_started_is_a_failed_cell(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    path.write_text(path.read_text().replace(json.dumps(sys.executable), '"no/such/program"'))
    row = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"]).results[0]
    assert row["status"].startswith("exit 127: no/such/program: No such file")


def test_a_command_that_deletes_its_folder_is_a_failed_cell(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    code = "import os, shutil, sys; shutil.rmtree(os.path.dirname(sys.argv[1]))"
    words = json.dumps([sys.executable, "-c", code, "{out}"])
    path.write_text(re.sub(r"^command = .*$", lambda line: f"command = {words}", path.read_text(), flags=re.MULTILINE))
    row = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"]).results[0]
    assert row["status"] == "it left no submission"


def test_a_score_that_is_no_number_is_a_failed_cell_and_results_stay_json(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    (tmp_path / "mine.py").write_text("def mine(truth, answers, *, wants='label'):\n    return float('nan')\n")
    path.write_text(path.read_text().replace('"accuracy"', '"mine.py:mine"'))
    bench = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert [(row["score"], row["status"]) for row in bench.results] == [(None, "mine is nan on its answers")]

    def refused(constant: str) -> float:
        raise AssertionError(constant)

    json.loads((bench.folder / "results.json").read_text(), parse_constant=refused)


def test_two_benches_do_not_share_a_folder(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    (tmp_path / "out").mkdir()
    with lock_folder(tmp_path / "out", "bench"), pytest.raises(Mistake, match="another bench is running in"):
        autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])


@pytest.mark.parametrize("out", ["/proc", "/proc/new"])
def test_a_bench_whose_folder_cannot_be_written_is_refused(tmp_path, out):
    with pytest.raises(Mistake, match=f"--out {out} cannot be written"):
        autoclimb.bench(suite_file(tmp_path, {"mine": "good"}), out=out, budgets=["10s"])


@pytest.mark.parametrize(
    ("answers", "why"),
    [("id,class\nb_000,cat\n", r"answers1\.csv has no column 'label'"), ("id,label\n", r"answers1\.csv has no row")],
)
def test_a_set_that_cannot_be_read_stops_before_anything_is_run(tmp_path, monkeypatch, answers, why):
    path = suite_file(tmp_path, {"mine": "good"}, ("pets", "dogs"))
    (tmp_path / "answers1.csv").write_text(answers)
    monkeypatch.setattr(cells, "watched", lambda *args: pytest.fail("a cell was run"))
    with pytest.raises(Mistake, match=f"set 'dogs': {why}"):
        autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])


def cell_of(solver: Solver) -> tuple[Cell, Suite]:
    known_set = KnownSet("pets", "data", "answers.csv", "mine.py:half")
    cell = Cell(solver, known_set, 90.0, 3)
    return cell, Suite("s", Path("/suite"), (known_set,), (solver,), (90.0,), (3,))


def test_autoclimb_is_run_with_the_solvers_options():
    command, submission = command_of(*cell_of(Solver("s", ("--recipe", "fixed"))), Path("/out/cell"))
    assert command[1:6] == ["-P", "-m", "autoclimb", "fit", "/suite/data"]
    assert command[6:] == [
        "--metric",
        "/suite/mine.py:half",
        "--budget",
        "90s",
        "--seed",
        "3",
        "--out",
        "/out/cell/run",
        "--recipe",
        "fixed",
    ]
    assert submission == Path("/out/cell/run/submission.csv")


@pytest.mark.parametrize(("budget", "text"), [(90.0, "90"), (12.5, "12.5"), (1_234_567.0, "1234567")])
def test_budgets_are_passed_on_as_people_write_them(budget, text):
    cell, suite = cell_of(Solver("s"))
    command, _ = command_of(replace(cell, budget=budget), suite, Path("/out/cell"))
    assert command[command.index("--budget") + 1] == f"{text}s"


def test_a_commands_places_are_filled_and_other_braces_stay():
    words = ("run", "{data}:{metric}", "{budget}", "{out}", "{seed}", '{"lr": 1}', "${out} {}")
    command, submission = command_of(*cell_of(Solver("s", command=words)), Path("/out/cell"))
    assert command == ["run", "/suite/data:/suite/mine.py:half", "90", str(submission), "3", '{"lr": 1}', "${out} {}"]


def test_a_folder_named_like_a_place_is_passed_on_as_it_is():
    cell, suite = cell_of(Solver("s", command=("run", "{data}", "{out}")))
    odd = replace(cell, known_set=replace(cell.known_set, data="{seed}"))
    assert command_of(odd, suite, Path("/out/cell"))[0][1] == "/suite/{seed}"


def test_a_cells_folder_that_cannot_be_deleted_is_a_mistake(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    (cell,) = selected(read_suite(path), budgets=["10s"]).cells()
    (tmp_path / "out" / "cells").mkdir(parents=True)
    (tmp_path / "out" / "cells" / cell.folder).write_text("a file")
    with pytest.raises(Mistake, match=f"{cell.folder} cannot be deleted"):
        autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])


def test_a_run_of_autoclimb_says_its_promise_and_trials_and_keeps_no_pixels(tmp_path):
    folder = run_folder(tmp_path / "run")
    promised = with_promise(outcome("a", 0.5), folder, metric_named("accuracy"))
    assert promised.oof == autoclimb.open_run(folder).score
    assert (promised.trials, promised.oof_stderr > 0) == (3, True)
    assert not (folder / "cache").exists()
    assert with_promise(outcome("a", 0.5), tmp_path / "none", metric_named("accuracy")).oof is None


def hostile_bench(folder: Path) -> tuple[Suite, list[Outcome]]:
    """A suite whose every name is hostile, with every part of the report."""
    names = tuple(name.replace("\0", "\x07") for name in HOSTILE)
    suite = read_suite(suite_file(folder, dict.fromkeys(names, "good"), names[:2], "seeds = [0]"))
    shown = {"medals": (("gold", 0.6), ("bronze", 0.5)), "known": ((names[0], 0.4),)}
    suite = replace(suite, sets=tuple(replace(known_set, **shown) for known_set in suite.sets))
    rows = []
    for i, solver in enumerate(names):
        for j, name in enumerate(names[:2]):
            for budget in (60, 300):
                score = None if (i, budget) == (0, 60) else 0.5 + 0.05 * i + 0.01 * j
                more = {"oof": 0.6, "oof_stderr": 0.02, "peak_mb": 900.0, "trials": 4} if i == 1 else {}
                more |= {"status": names[1]} if score is None else {}
                rows.append(outcome(solver, score, name, budget_s=budget, made_by=names[0], **more))
    return suite, rows


def test_the_text_has_the_medals_where_the_suite_has_lines(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"ours": "good", "theirs": "fair"}))
    medalled = replace(suite, sets=(replace(suite.sets[0], medals=(("gold", 0.9), ("bronze", 0.7))),))
    outcomes = [outcome("ours", 0.95), outcome("theirs", 0.75), outcome("others", 0.1)]
    text = report_text(medalled, outcomes, lambda o: None, width=100)
    assert re.search(r"medals +budget +ours +theirs +others\n *pets +1m00s +gold +bronze +none", text)
    assert "medal" not in report_text(suite, outcomes, lambda o: None, width=100)


def test_a_solver_that_a_set_with_medals_lacks_has_an_empty_cell(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"ours": "good", "theirs": "fair"}))
    suite = replace(suite, sets=(replace(suite.sets[0], medals=(("gold", 0.9),)),))
    rows = [outcome("ours", 0.95), outcome("theirs", 0.95, budget_s=300), outcome("ours", None, budget_s=300)]
    assert medal_rows(suite, rows) == (
        ["medals", "budget", "ours", "theirs"],
        [["pets", "1m00s", "gold", ""], ["pets", "5m00s", "failed", "gold"]],
    )


def test_the_headline_does_not_rank_what_no_test_can_tell_apart(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"ours": "good", "theirs": "fair"}))
    page = bench_page(suite, [outcome("ours", 0.951), outcome("theirs", 0.95)], lambda o: None)
    assert "too few solvers or sets for a test" in page


def test_text_and_page_name_the_sets_that_are_left_out_of_ranks(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"ours": "good", "theirs": "fair"}, ("pets", "dogs", "cats")))
    rows = [outcome("ours", 0.9), outcome("theirs", 0.8), outcome("ours", 0.9, "dogs"), outcome("ours", 0.9, "cats")]
    text, page = report_text(suite, rows, lambda o: None, width=100), bench_page(suite, rows, lambda o: None)
    assert "  without dogs, cats: not run by theirs" in text
    assert "Without dogs, cats: not run by theirs." in page
    assert "over 1 of 3 sets" in page


def test_a_budget_without_a_set_that_all_solvers_were_run_on_has_no_ranks_and_says_why(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"ours": "good", "theirs": "fair"}, ("pets", "dogs")))
    rows = [outcome("ours", 0.9), outcome("theirs", 0.8, "dogs")]
    text, page = report_text(suite, rows, lambda o: None, width=100), bench_page(suite, rows, lambda o: None)
    assert "no ranks at 1m00s\n  without pets: not run by theirs\n  without dogs: not run by ours" in text
    assert "No ranks at 1m00s. Without pets: not run by theirs. Without dogs: not run by ours." in page


def test_hostile_names_are_shown_as_text(tmp_path):
    suite, rows = hostile_bench(tmp_path)
    page = bench_page(suite, rows, lambda o: None)
    assert "<script" not in page
    assert "onerror=alert" not in page.replace("onerror=alert(1)&gt;", "")
    assert "&lt;script&gt;" in page
    assert len(page) < 2_000_000
    text = report_text(suite, rows, lambda o: None, width=120)
    assert "\u202e" not in text
    assert "\x07" not in text


def test_a_bench_without_a_finished_cell_has_a_page_too(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"mine": "good"}))
    assert "no ranks yet" in bench_page(suite, [], lambda o: None)
    assert report_text(suite, [], lambda o: None) == "no cell is finished yet"


def test_the_command_says_what_it_does_and_where_the_page_is(tmp_path):
    path = suite_file(tmp_path, {"mine": "good", "yours": "bad"})
    words = [
        "bench",
        str(path),
        "--solvers",
        "mine, mine",
        "--budgets",
        "10s",
        "--seeds",
        "0,1",
        "--out",
        str(tmp_path / "o"),
    ]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "1/2 mine on pets, 10s, seed 0" in shown.output
    assert "accuracy 1.0000" in shown.output
    assert str(tmp_path / "o" / "bench.html") in shown.output
    wrong = CliRunner().invoke(app, ["bench", str(path), "--solvers", "his", "--budgets", "10s"])
    assert wrong.exit_code == 2
    assert "it has mine, yours" in wrong.output


@pytest.mark.parametrize("record", ["[]", "{}", "not json"])
def test_a_damaged_record_is_a_cell_that_will_be_run_again(tmp_path, record):
    suite = read_suite(suite_file(tmp_path, {"mine": "good"}))
    place = tmp_path / "cells" / "pets-mine" / cells.RECORD
    place.parent.mkdir(parents=True)
    place.write_text(record)
    assert cells.outcomes_on_disk(tmp_path, suite) == []


def test_what_a_command_printed_cannot_speak_to_the_terminal():
    failed = outcome("a", None, status="\x1b]0;owned\x07 no such file")
    assert "\x1b" not in cells.outcome_words(failed)


def record_of(folder: Path) -> Path:
    (path,) = folder.glob(f"cells/*/{cells.RECORD}")
    return path


def edited(folder: Path, /, **changes) -> None:
    path = record_of(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def recorded(tmp_path):
    """A suite of one cell, recorded in tmp_path."""
    suite = replace(read_suite(suite_file(tmp_path, {"mine": "good"})), budgets=(60.0,))
    (cell,) = suite.cells()
    row = outcome("mine", 0.75, kind="multiclass", folder=cell.folder)
    place = tmp_path / "cells" / cell.folder
    place.mkdir(parents=True)
    (place / cells.RECORD).write_text(json.dumps({"definition": cell.definition, **asdict(row)}))
    assert cells.outcomes_on_disk(tmp_path, suite) == [row]
    return suite


@pytest.mark.parametrize(
    "changes",
    [
        {"score": "0.9"},
        {"score": float("nan")},
        {"score": True},
        {"budget_s": "60"},
        {"budget_s": 0},
        {"budget_s": 600},
        {"seed": None},
        {"seed": 1},
        {"seconds": "a minute"},
        {"oof": float("inf")},
        {"peak_mb": [1]},
        {"status": None},
        {"grades": 3},
        {"grades": ["low"]},
        {"higher_is_better": "yes"},
        {"definition": ["a"]},
    ],
)
def test_a_record_that_was_edited_to_what_no_bench_writes_is_a_cell_that_will_be_run_again(tmp_path, recorded, changes):
    edited(tmp_path, **changes)
    assert cells.outcomes_on_disk(tmp_path, recorded) == []


def test_names_on_record_are_the_suites_whatever_was_edited(tmp_path, recorded):
    edited(tmp_path, solver="yours", set="dogs", folder="../elsewhere")
    (row,) = cells.outcomes_on_disk(tmp_path, recorded)
    assert (row.solver, row.set, row.folder) == ("mine", "pets", record_of(tmp_path).parent.name)


def test_a_copy_of_a_cells_folder_is_no_further_cell(tmp_path, recorded):
    place = record_of(tmp_path).parent
    shutil.copytree(place, place.with_name(f"{place.name}-before"))
    assert len(cells.outcomes_on_disk(tmp_path, recorded)) == 1


@pytest.mark.parametrize("contents", [b"", b"no array"])
def test_answers_on_disk_that_were_cut_off_are_gone(tmp_path, recorded, contents):
    (row,) = cells.outcomes_on_disk(tmp_path, recorded)
    for name in ("truth.npy", "answers.npy"):
        (tmp_path / "cells" / row.folder / name).write_bytes(contents)
    assert cells.answers_on_disk(tmp_path, recorded)(row) is None


def test_a_cell_that_was_scored_on_other_answers_stops_the_bench(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    first = autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"])
    assert autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"]).results == first.results
    answers = tmp_path / "answers0.csv"
    answers.write_text(answers.read_text().replace("cat", "dog"))
    with pytest.raises(
        Mistake, match=r"pets-mine-10s-seed0-\w+ was scored on other answers than answers0.csv now holds"
    ):
        autoclimb.bench(path, out=tmp_path / "out", budgets=["10s"], sets=["pets"])
