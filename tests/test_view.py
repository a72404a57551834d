"""What a watcher sees. Nothing here waits: the time left is handed in."""

import os
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from autoclimb.report import view
from autoclimb.report.view import Scene, after, drawn, notebook_display, notebook_tell, watch
from autoclimb.report.words import give_or_take, score_words
from autoclimb.types import Event

CLIMB = [
    Event("note", "5000 pictures, 10 classes"),
    Event("stage", "baseline", {"stage": "baseline"}),
    Event("start", "trial 1: resnet18", {"trial": "a", "number": 1, "config": "resnet18 @64", "epochs": 8}),
    Event("epoch", "", {"trial": "a", "epoch": 3, "epochs": 8}),
    Event(
        "trial",
        "trial 1: 0.8123",
        {"trial": "a", "config": "resnet18 @64", "score": 0.8123, "stderr": 0.0071, "gain": 0.01, "seconds": 21.0}
        | {"best": 0.8123, "best_stderr": 0.0071},
    ),
    Event("blend", "blend: 0.83", {"best": 0.83, "best_stderr": 0.007, "submission": "runs/data/submission.csv"}),
]


def seen(scene: Scene, budget: float = 240.0, left: float = 161.0, moving: bool = True, width: int = 100) -> str:
    console = Console(width=width, record=True, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(drawn(scene, budget, left, moving))
    return console.export_text()


def scene_after(count: int) -> Scene:
    scene = Scene()
    for event in CLIMB[:count]:
        scene = after(scene, event)
    return scene


def test_before_the_first_event_the_view_says_starting():
    assert "starting" in seen(Scene())
    assert "2m41s of 4m00s left" in seen(Scene())


def test_a_running_trial_is_shown_with_its_epoch():
    text = seen(scene_after(4))
    for part in ("baseline", "trial 1", "resnet18 @64", "epoch 3/8"):
        assert part in text


def test_a_trial_of_several_folds_shows_which_one_it_is_at():
    facts = {"trial": "a", "epoch": 7, "epochs": 18, "fold": 2, "folds": 5, "share": 0.28}
    assert "fold 2/5 epoch 7/18" in seen(after(scene_after(3), Event("epoch", "", facts)))


def test_a_finished_trial_moves_to_the_table_with_its_gain():
    scene = scene_after(5)
    assert not scene.running
    for part in ("0.8123 ± 0.0071", "+0.0100", "21s"):
        assert part in seen(scene)


def test_the_path_of_the_submission_is_shown_as_soon_as_it_is_known():
    assert "submission" not in seen(scene_after(5))
    assert "runs/data/submission.csv" in seen(scene_after(6))
    assert "0.8300 ± 0.0070 out of fold" in seen(scene_after(6))


def test_trials_side_by_side_have_a_line_each():
    scene = scene_after(3)
    scene = after(scene, Event("start", "", {"trial": "b", "number": 2, "config": "resnet34 @64"}))
    assert "trial 1" in seen(scene)
    assert "trial 2" in seen(scene)


def test_only_the_last_six_trials_are_kept():
    scene = Scene()
    for i in range(9):
        scene = after(scene, Event("trial", "", {"trial": str(i), "config": f"config-{i}", "score": 0.5}))
    assert "config-2" not in seen(scene)
    assert "config-3" in seen(scene)


def test_a_failed_trial_says_so_instead_of_a_score():
    scene = after(Scene(), Event("trial", "", {"config": "big", "score": float("-inf"), "status": "failed"}))
    assert "failed" in seen(scene)
    assert "inf" not in seen(scene)


def test_a_count_is_shown_while_it_lasts():
    scene = after(Scene(), Event("progress", "decoding", {"done": 7, "total": 20}))
    assert "decoding" in seen(scene)
    assert "7/20" in seen(scene)
    assert "decoding" not in seen(after(scene, Event("progress", "", {"done": 20, "total": 20})))


def test_past_the_budget_the_view_says_finishing():
    assert "finishing" in seen(Scene(), left=-5.0)


def test_without_a_budget_there_is_no_time_bar():
    assert "left" not in seen(Scene(stage="predict"), budget=0.0, left=-9.0)


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_view_keeps_to_the_width(width):
    assert max(map(len, seen(scene_after(6), width=width).splitlines())) <= width


def test_the_last_view_shows_nothing_that_moves():
    text = seen(scene_after(6), moving=False)
    assert "left" not in text
    assert "0.8123" in text


def test_scores_keep_the_digits_that_matter():
    assert give_or_take(0.91234, 0.00612) == "0.9123 ± 0.0061"
    assert give_or_take(123.456, 0.5) == "123.5 ± 0.5000"
    assert give_or_take(0.9, float("nan")) == "0.9000"
    assert give_or_take(None, 0.5) == give_or_take(float("nan"), 0.5) == ""
    assert [score_words(value) for value in (23456.7, -1234.5, 2.5e7)] == ["23457", "-1234", "2.5e+07"]


def test_a_pipe_gets_one_line_an_event_with_the_seconds_since_the_start(capsys):
    left = iter([228.0, 10.0, -2.0])
    with watch(False, 240.0, lambda: next(left)) as tell:
        tell(Event("note", "reading"))
        tell(Event("epoch", "", {"epoch": 1}))
        tell(Event("trial", "trial 1: 0.8"))
        tell(Event("done", "printed by the command line"))
        tell(Event("note", "late"))
    assert capsys.readouterr().out == "[   12s] reading\n[ 3m50s] trial 1: 0.8\n[ 4m02s] late\n"


GOES_ON = Event("note", "this run goes on: 1m00s of 4m00s were spent before", {"spent_before": 60.0})


def test_the_time_of_a_run_that_goes_on_counts_from_its_first_call(capsys):
    with watch(False, 240.0, lambda: 230.0) as tell:
        for event in (Event("note", "reading"), GOES_ON, Event("trial", "trial 2: 0.8")):
            tell(event)
    assert [line[:8] for line in capsys.readouterr().out.splitlines()] == ["[   10s]", "[ 1m10s]", "[ 1m10s]"]


def test_on_a_terminal_the_time_left_of_a_run_that_goes_on_is_that_of_all_its_calls():
    console = Console(width=100, force_terminal=True, file=StringIO())
    with watch(False, 240.0, lambda: 230.0, console) as tell:
        for event in (GOES_ON, *CLIMB):
            tell(event)
    assert "2m50s of 4m00s left" in console.file.getvalue()


def test_a_stage_in_which_nothing_happens_gets_no_line(capsys):
    with watch(False, 60.0, lambda: 60.0) as tell:
        for name in ("resize", "loss", "finalists"):
            tell(Event("stage", name, {"stage": name}))
        tell(Event("start", "trial 1"))
        tell(Event("trial", "trial 1: 0.8"))
    assert [line.split("] ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "finalists",
        "trial 1",
        "trial 1: 0.8",
    ]


def test_quiet_prints_nothing(capsys):
    with watch(True, 240.0, lambda: 0.0) as tell:
        for event in CLIMB:
            tell(event)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_notes_scroll_and_the_table_stays():
    console = Console(width=100, record=True, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with watch(False, 240.0, lambda: 100.0, console) as tell:
        for event in CLIMB:
            tell(event)
    text = console.export_text()
    assert "5000 pictures, 10 classes" in text
    assert "runs/data/submission.csv" in text


def test_an_error_in_the_run_passes_through_the_view():
    console = Console(width=100, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115

    def stopped_run():
        with watch(False, 240.0, lambda: 100.0, console) as tell:
            tell(CLIMB[4])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_run()


def test_a_reader_that_leaves_does_not_end_the_run():
    code = (
        "import sys\nfrom autoclimb.types import Event\nfrom autoclimb.report.view import watch\n"
        "sys.stdin.read()\nwith watch(False, 9.0, lambda: 1.0) as tell:\n"
        "    for _ in range(3):\n        tell(Event('note', 'hello'))\nprint('end', file=sys.stderr)\n"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stdin.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), errors) == (0, b"end\n")


# --- in a notebook ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cell(monkeypatch):
    """What a notebook's cell shows, frame after frame."""
    frames = []

    def display(frame, display_id):
        frames.append(frame)
        return SimpleNamespace(update=frames.append)

    monkeypatch.setattr(view, "notebook_display", lambda: display)
    return frames


def test_a_notebooks_cell_shows_the_score_what_runs_and_the_time_left(cell, capsys):
    with watch(False, 240.0, lambda: 161.0) as tell:
        for event in CLIMB[:4]:
            tell(event)
        assert "trial 1 resnet18 @64 epoch 3/8" not in cell[-1]._repr_html_()  # told a moment after the last frame
        tell(CLIMB[3])
        for event in CLIMB[4:]:
            tell(event)
    html = cell[-1]._repr_html_()
    for part in ("2m41s of 4m00s left", "<b>0.8300</b> ± 0.0070", "resnet18 @64", "runs/data/submission.csv"):
        assert part in html
    assert "5000 pictures, 10 classes" in html
    assert repr(cell[-1]) == "autoclimb baseline, 0.8300 ± 0.0070 out of fold"
    assert capsys.readouterr().out == ""


def test_a_cell_is_brought_up_to_date_once_in_a_second_at_most(cell):
    left = iter([60.0, 60.0, 59.8, 59.6, 58.7, 58.6])
    tell = notebook_tell(60.0, lambda: next(left))
    tell(CLIMB[2])
    for epoch in range(4):
        tell(Event("epoch", "", {"trial": "a", "epoch": epoch, "epochs": 8}))
    assert len(cell) == 3
    assert "epoch 2/8" in cell[-1].html


def test_a_finished_run_shows_nothing_that_moves_and_hostile_words_are_text(cell):
    tell = notebook_tell(60.0, lambda: 1.0)
    for event in (*CLIMB, Event("note", "<script>alert(1)</script>"), Event("done", "")):
        tell(event)
    assert "finished" in cell[-1].html
    assert "<progress" not in cell[-1].html
    assert "<script>" not in cell[-1].html
    assert "<progress" in cell[-2].html


def test_outside_of_notebooks_fit_prints_nothing(capsys):
    assert notebook_display() is None
    notebook_tell(60.0, lambda: 1.0)(CLIMB[0])
    assert capsys.readouterr().out == ""


def test_a_kernel_is_a_notebook_and_a_terminal_is_none(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display="the display"))
    assert notebook_display() == "the display"
    del shell.kernel
    assert notebook_display() is None
