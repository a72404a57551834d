"""report.html: what it holds, that nothing in it runs or is fetched, and that it never costs the run."""

import base64
import io
import json
import os
import re
import sys
import threading
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from run_folders import HOSTILE, METRICS, run_folder, with_data_facts, with_gallery
from typer.testing import CliRunner

from autoclimb.arrays import take_rows, write_predictions
from autoclimb.blend.choose import blend_of
from autoclimb.budget import SLACK, Clock, seconds_for_report
from autoclimb.cli import app
from autoclimb.deadlines import LOWEST
from autoclimb.disk import append_json, read_lines, write_array, write_json
from autoclimb.errors import Mistake
from autoclimb.report import charts, findings, times
from autoclimb.report.page import report_page
from autoclimb.report.page_errors import class_parts
from autoclimb.report.parts import THUMBNAIL, Pen, thumbnail, unhurried, with_code
from autoclimb.run import reporting, store
from autoclimb.run.measurements import by_quarters, slices_by_size, slices_in
from autoclimb.run.reporting import record_of, report_in_time, write_report
from autoclimb.run.result import open_run
from autoclimb.run.setup import command_line
from autoclimb.score import crossfit
from autoclimb.score.crossfit import rule_of

FETCHING = {"script", "iframe", "object", "embed", "base", "form", "audio", "video", "source"}


class Page(HTMLParser):
    """The elements of a page, its text, and its sections' titles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            return
        self.texts.append(data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page_of_run(folder) -> Page:
    return Page(write_report(open_run(folder)).read_text(encoding="utf-8"))


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose charts are made, and not drawn: most of a page's second goes into its drawings."""
    monkeypatch.setattr(charts, "svg_of", lambda figure, name: f"<svg>{name}</svg>")


@pytest.mark.parametrize("kind", [kind for kind in METRICS if kind != "binary"])
def test_a_run_that_is_answered_by_a_constant_has_its_page(tmp_path, kind, undrawn):
    folder = run_folder(tmp_path / "run", kind, blended=False)
    record = record_of(open_run(folder))
    blend = blend_of(record.trials, record.train, allow=["constant"])
    rule = rule_of(record.train, blend.oof)
    store.save_blend(folder, blend, rule.to_json())
    assert "constant of 1 trial" in page_of_run(folder).text


@pytest.fixture(scope="module", params=sorted(METRICS))
def of_kind(request, tmp_path_factory):
    folder = run_folder(tmp_path_factory.mktemp("runs") / request.param, request.param)
    with_gallery(with_data_facts(folder))
    return request.param, folder, page_of_run(folder)


def test_the_page_of_each_kind_has_its_sections_in_order(of_kind):
    headings = [title for title in of_kind[2].headings if title != "Suspects"]  # where there are any
    assert headings == [
        "The answer",
        "The climb",
        "What helped",
        "Leaderboard",
        "Where it errs",
        "The data",
        "How it was made",
    ]


def test_the_score_of_the_record_is_what_the_page_shows(of_kind):
    _, folder, page = of_kind
    run = open_run(folder)
    assert f"{run.score:.4f}" in page.text
    assert f"± {run.stderr:.4f}" in page.text
    assert METRICS[of_kind[0]] in page.text
    low, high = sorted(run.metric.shown(end) for end in run.blend.interval)
    assert f"{low:.4f} to {high:.4f}" in page.text


def test_every_chart_has_its_numbers_as_a_table(of_kind):
    page = of_kind[2]
    drawings = [e for e in page.elements if e[0] == "svg"]
    assert len(drawings) >= 4
    unfolded = [e for e in page.elements if e[0] == "summary"]
    assert len(unfolded) >= len(drawings)
    assert sum(e[0] == "img" for e in page.elements) >= 8


def test_the_page_shows_losses_sweeps_sizes_copies_and_what_nets_saw(of_kind):
    _, folder, page = of_kind
    for title in ("Learning curves", "Rate sweeps", "Picture sizes", "Looks of pictures", "Copies that disagree"):
        assert title in page.text
    assert "Examples, without and with augmentation" in page.text
    assert "(Grad-CAM)" in page.text
    mistakes = [e for e in page.elements if e[0] == "ul" and e[1].get("class") == "pictures two"]
    assert len(mistakes) == 2  # the copies that disagree are pairs too
    assert (folder / "report.html").stat().st_size < 1_000_000


@pytest.mark.usefixtures("undrawn")
def test_a_page_without_maps_says_why(tmp_path):
    folder = run_folder(tmp_path / "run")
    (folder / "gallery").mkdir()
    notes = {"maps": {"note": "hand-made features have no places to look at"}, "sheet": {"note": "the blend is frozen"}}
    (folder / "gallery" / "gallery.json").write_text(json.dumps(notes))
    text = page_of_run(folder).text
    assert "Where nets looked is not shown: hand-made features have no places to look at." in text
    assert "Augmented ones are not shown: the blend is frozen." in text
    (folder / "gallery" / "gallery.json").write_text('{"maps": ')
    assert "Where nets looked is not shown: its pictures are not in the cache any more." in page_of_run(folder).text


@pytest.mark.usefixtures("undrawn")
def test_a_page_before_the_nets_were_asked_says_when_they_are(tmp_path):
    page = page_of_run(run_folder(tmp_path / "run", finished=False))
    assert "not shown: there was no time to ask the nets; on a finished run autoclimb report RUN does." in page.text


def test_nothing_is_fetched_and_nothing_runs(of_kind):
    _, folder, page = of_kind
    text = (folder / "report.html").read_text()
    assert not FETCHING & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("src", "href"):
                assert re.match(r"data:(image/jpeg;base64,|,$)|#", str(value)), value
    assert not re.findall(r"url\((?!#)|@import", text)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_ids_of_the_page_are_unique(of_kind):
    ids = [a["id"] for _, a in of_kind[2].elements if "id" in a]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_hostile_labels_ids_and_names_are_text(tmp_path, kind):
    ids = tuple(HOSTILE[i % len(HOSTILE)] + str(i) for i in range(60))
    folder = run_folder(tmp_path / "run", kind, HOSTILE, rows=60, ids=ids, name=HOSTILE[0])
    page = page_of_run(with_gallery(with_data_facts(folder)))
    assert not FETCHING & {tag for tag, _ in page.elements}
    assert all(a["src"].startswith("data:") for tag, a in page.elements if tag == "img")
    assert "<script>document.title" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "x" * 400 not in page.text  # cut in the middle, not shown at any length
    assert "\0" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_a_blend_and_one_in_progress_have_a_page(tmp_path):
    page = page_of_run(run_folder(tmp_path / "none", blended=False, trials=0))
    assert "no score yet" in page.text
    assert "Nothing has been learned yet" in page.text
    page = page_of_run(run_folder(tmp_path / "going", finished=False))
    assert "Still running" in page.text


def test_without_time_for_charts_the_tables_stand_there(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    page = Page(report_page(record, findings.errors_of(record), replace(unhurried(), dry=True)))
    assert not [e for e in page.elements if e[0] == "svg"]
    assert "Lift of each trial" in page.text
    assert "charts were left out" in page.text


def test_a_thousand_classes_and_many_trials_stay_within_two_megabytes(tmp_path):
    folder = run_folder(tmp_path / "run", classes=tuple(f"species {i}" for i in range(1000)), rows=2000, trials=2)
    size = write_report(open_run(folder)).stat().st_size
    assert size < 2_000_000


def test_pages_are_the_same_for_the_same_record(tmp_path):
    folder = run_folder(tmp_path / "run")
    first = write_report(open_run(folder)).read_bytes()
    assert write_report(open_run(folder)).read_bytes() == first


def test_a_run_that_stopped_before_its_folds_is_a_mistake(tmp_path):
    folder = run_folder(tmp_path / "run")
    (folder / "fold_of.npy").unlink()
    with pytest.raises(Mistake, match="stopped before its data were read"):
        open_run(folder).report()


def test_the_command_writes_it_at_any_time(tmp_path):
    folder = run_folder(tmp_path / "run", finished=False)
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0
    assert result.stdout.strip() == str(folder / "report.html")


@pytest.mark.usefixtures("undrawn")
def test_the_command_and_the_groups_of_a_run_are_on_its_page(tmp_path):
    folder = run_folder(tmp_path / "run")
    write_array(folder / "groups.npy", np.arange(90) // 3)
    write_json(folder / "run.json", {**json.loads((folder / "run.json").read_text()), "command": "autoclimb fit pets"})
    text = page_of_run(folder).text
    assert "groups 30; rows of one share a fold" in text
    assert "command autoclimb fit pets" in text


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["/venv/bin/autoclimb", "fit", "my pictures"], "autoclimb fit 'my pictures'"),
        (["/site-packages/autoclimb/__main__.py", "demo"], "autoclimb demo"),
        (["/usr/bin/pytest", "-x"], ""),
        (["/usr/lib/ipykernel/__main__.py", "-f"], ""),
    ],
)
def test_a_command_is_known_from_a_script(words, command):
    assert command_line(words) == command


# --- within the budget -----------------------------------------------------------------------------------------------


def test_the_report_may_take_two_percent_and_twenty_seconds():
    assert seconds_for_report(100.0) == pytest.approx(2.0)
    assert seconds_for_report(86400.0) == SLACK.report_at_most == 20.0


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), OSError(28, "No space left on device")])
def test_a_failing_report_is_a_note(tmp_path, monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr(reporting, "report_page", broken)
    events = []
    report_in_time(open_run(run_folder(tmp_path / "run")), Clock(600.0), events.append)
    assert [e.name for e in events] == ["note"]
    assert "the submission stands" in events[0].text


def test_without_time_there_is_a_note_and_no_page(tmp_path):
    events = []
    folder = run_folder(tmp_path / "run")
    report_in_time(open_run(folder), Clock(600.0, now=lambda: 600.0, start=0.0), events.append)
    assert "no time was left" in events[0].text


def test_with_time_the_page_has_charts(tmp_path):
    folder, events = run_folder(tmp_path / "run"), []
    report_in_time(open_run(folder), Clock(1e4, now=lambda: 0.0, start=0.0), events.append)
    assert events[0].facts["report"] == str(folder / "report.html")
    assert "<svg" in (folder / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_nets_show_what_they_see_after_the_charts_and_may_fail(tmp_path):
    folder, events, asked = run_folder(tmp_path / "run"), [], []

    def show(record, errors, seconds):
        asked.append((record.name, seconds))
        assert len(errors.rows) == 90
        assert "<svg" in (folder / "report.html").read_text()
        raise ValueError("no net")

    report_in_time(open_run(folder), Clock(1e4, now=lambda: 0.0, start=0.0), events.append, show)
    assert asked == [("pets", pytest.approx(20 - SLACK.report_rewriting))]
    assert "what the nets see (ValueError: no net)" in events[0].text
    assert events[1].facts["report"] == str(folder / "report.html")
    assert "<svg" in (folder / "report.html").read_text()


@pytest.mark.parametrize(("after_a_chart", "asked"), [(0.4, 0), (0.6, 1)])
def test_where_there_is_no_time_nets_are_not_asked(tmp_path, monkeypatch, after_a_chart, asked):
    folder, now, requests = run_folder(tmp_path / "run"), [0.0], []

    def slow(figure, name):
        now[0] = 20 - after_a_chart
        return "<svg></svg>"

    monkeypatch.setattr(charts, "svg_of", slow)
    clock = Clock(1e4, now=lambda: now[0], start=0.0)
    report_in_time(open_run(folder), clock, lambda event: None, lambda *request: requests.append(request))
    assert "<svg" in (folder / "report.html").read_text()
    assert len(requests) == asked


def test_what_nets_showed_is_on_the_page_whose_charts_are_drawn_once(tmp_path, monkeypatch):
    folder, drawn = run_folder(tmp_path / "run"), []
    monkeypatch.setattr(charts, "svg_of", lambda figure, name: drawn.append(name) or "<svg></svg>")
    clock = Clock(1e4, now=lambda: 0.0, start=0.0)
    report_in_time(open_run(folder), clock, lambda event: None, lambda *_: with_gallery(folder))
    assert "(Grad-CAM)" in (folder / "report.html").read_text()
    assert len(drawn) == len(set(drawn)) > 4


@pytest.mark.usefixtures("undrawn")
def test_the_record_is_read_once_for_all_pages(tmp_path, monkeypatch):
    folder, reads = run_folder(tmp_path / "run"), []
    monkeypatch.setattr(reporting, "record_of", lambda run: reads.append(run) or record_of(run))
    clock = Clock(1e4, now=lambda: 0.0, start=0.0)
    report_in_time(open_run(folder), clock, lambda event: None, lambda *_: None)
    assert len(reads) == 1


def test_short_runs_import_what_draws_while_a_trial_trains_and_take_no_core_from_it(monkeypatch):
    imported, priorities = threading.Event(), []

    def import_library():
        priorities.append(os.getpriority(os.PRIO_PROCESS, 0))  # of this thread, on Linux
        imported.set()

    monkeypatch.setattr(reporting, "import_library", import_library)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    reporting.import_ahead(3600.0)
    assert not imported.is_set()
    reporting.import_ahead(90.0)
    assert imported.wait(10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    assert priorities == [LOWEST if sys.platform == "linux" else before]


# --- the record ------------------------------------------------------------------------------------------------------


def test_events_are_on_record_but_passing_ones(tmp_path):
    from autoclimb.types import Event

    heard = []
    tell = store.recorded(tmp_path, Clock(60.0, now=lambda: 7.0, start=0.0), heard.append)
    for name in ("note", "epoch", "progress", "trial"):
        tell(Event(name, name, {"stage": "nets"}))
    assert [e.name for e in heard] == ["note", "epoch", "progress", "trial"]
    assert [(e["spent"], e["name"]) for e in store.read_events(tmp_path)] == [(7.0, "note"), (7.0, "trial")]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_lines(path) == []
    append_json(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2, "tex')
    assert read_lines(path) == [{"a": 1}]


# --- findings --------------------------------------------------------------------------------------------------------


def test_errors_of_the_blend_are_counted_right(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    errors = findings.errors_of(record)
    table = findings.confusion(record, errors)
    assert table.sum() == 90
    assert np.trace(table) / 90 == pytest.approx(open_run(tmp_path / "run").score, abs=0.06)
    rows = findings.label_rows(record, errors)
    assert [row[1:] for row in rows] == [(table[i].sum(), table[:, i].sum(), table[i, i]) for i in range(3)]
    pairs = findings.confused_pairs(record, errors)
    off = {(i, j): table[i, j] for i in range(3) for j in range(3) if i != j and table[i, j]}
    assert {(true, picked): n for true, picked, n in pairs} == off
    assert [n for *_, n in pairs] == sorted(off.values(), reverse=True)
    worst = findings.mistakes(record, errors, 5)
    assert [p for _, p in worst] == sorted((p for _, p in worst), reverse=True)
    assert all(errors.picked[row] != record.class_of[row] for row, _ in worst)


def test_rows_of_a_large_run_are_looked_at_whatever_their_order():
    of_class = np.arange(8000) % 20  # of every twentieth row errors would be those of one class
    rows = findings.thinned(np.arange(8000), 400)
    assert len(rows) == 400
    assert (np.diff(rows) > 0).all()
    assert np.bincount(of_class[rows], minlength=20).min() > 5


def test_errors_in_ten_thousand_classes_take_no_table_of_classes_by_classes(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    errors = findings.errors_of(record)
    crowded = replace(record, classes=(*record.classes, *map(str, range(9997))))
    tracemalloc.start()
    parts = class_parts(crowded, errors, Pen(lambda: 0.0, dry=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [part.title for part in parts] == ["Classes confused most", "F1 of each class"]
    assert peak < 1e8
    assert parts[0].rows == class_parts(record, errors, Pen(lambda: 0.0, dry=True))[1].rows


def test_a_lift_of_the_same_predictions_is_nothing(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    oof = np.asarray(record.trials[0].oof)
    assert findings.lift_of(record, oof, oof) == (0.0, 0.0)
    better = 0.2 * oof + 0.8 * np.asarray(record.target)
    lift, stderr = findings.lift_of(record, better, oof)
    assert lift > 2 * stderr > 0


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), ()])
def test_a_blend_loses_most_without_the_member_that_knows_most(tmp_path, weights):
    record = record_of(open_run(run_folder(tmp_path / "run", rows=300)))
    draw, truth = np.random.default_rng(0), np.asarray(record.target[:], float)
    known = [skill * truth + (1 - skill) * draw.dirichlet(np.ones(3), 300) for skill in (0.5, 0.0, 0.0)]
    trials = tuple(replace(t, oof=oof) for t, oof in zip(record.trials, known, strict=True))
    blend = replace(record.blend, members=tuple(t.key for t in trials), weights=weights)
    record = replace(record, trials=trials, blend=blend, blended=lambda p: np.mean(p, 0))
    lost = findings.ablation(record)
    assert [trial.key for trial, _, _ in lost] == [t.key for t in trials]
    assert lost[0][1] > 3 * lost[0][2] > 0
    assert lost[0][1] > max(loss for _, loss, _ in lost[1:])
    assert findings.ablation(replace(record, blended=None)) == []


def test_a_calibrated_prediction_is_not_far_off():
    draw = np.random.default_rng(0)
    p = draw.random(20_000)
    rows = [(0.05, 0.05, 0.01, 10), (0.95, 0.85, 0.01, 30)]
    assert findings.calibration_error(rows) == pytest.approx(0.075)
    assert p.mean() == pytest.approx(0.5, abs=0.02)


def test_folds_disagree_only_beyond_their_errors():
    alike = [(k, 100, 0.8 + 0.01 * (-1) ** k, 0.02) for k in range(5)]
    apart = [(k, 100, 0.8 + 0.1 * (-1) ** k, 0.02) for k in range(5)]
    assert not findings.folds_disagree(alike)
    assert findings.folds_disagree(apart)
    perfect = [(k, 20, 1.0, 0.0) for k in range(4)]
    assert findings.folds_disagree([*perfect, (4, 20, 0.5, 0.11)]), "folds without an error say what one half is"
    assert not findings.folds_disagree([*perfect, (4, 20, 0.95, 0.05)])
    assert not findings.folds_disagree(perfect)


@pytest.mark.usefixtures("undrawn")
def test_a_slice_that_is_worse_is_named_before_all_else(tmp_path):
    folder = run_folder(tmp_path / "run", rows=600)
    oof = np.load(folder / "blend_oof.npy")
    wrong = (np.load(folder / "target.npy")[:200] + 1) % oof.shape[1]
    oof[:200] = np.eye(oof.shape[1])[wrong]
    write_array(folder / "blend_oof.npy", oof)
    write_array(folder / "groups.npy", np.arange(600) // 200)
    text = page_of_run(folder).text
    assert "Worse than chance would make it: group: group 0 (0)." in text
    assert text.index("Worse than chance would make it: group") < text.index("True classes down")


def test_a_slice_is_worse_only_beyond_chance(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run", rows=600)))
    wrong = np.arange(600) < 60
    oof = np.array(record.blend.oof)
    oof[wrong] = np.roll(record.target[wrong], 1, axis=1)
    slices = {
        "camera": tuple("old" if w else "new" for w in wrong),
        "day": tuple(f"day {i % 5}" for i in range(600)),
    }
    record = replace(record, blend=replace(record.blend, oof=oof), slices=slices)
    scored = findings.slices_of(record, findings.errors_of(record))
    assert [(s.value, s.worse) for s in scored if s.worse] == [("old", True)]
    assert {s.of for s in scored} == {"camera", "day"}
    assert next(s.rows for s in scored if s.value == "old") == 60


def test_columns_and_groups_on_record_are_slices(tmp_path):
    folder = run_folder(tmp_path / "run", rows=8)
    write_array(folder / "metadata.npy", np.array([[0, 1], [1, 2], [np.nan, 3], *([0, age] for age in range(4, 9))]))
    task = {"metadata": ["site", "age"], "categories": [["north", "south"], []]}
    slices = slices_in(folder, task, np.arange(8) // 2)
    assert slices["site"][:4] == ("north", "south", "blank", "north")
    assert len(set(slices["age"])) == 4
    assert slices["group"][:3] == ("group 0", "group 0", "group 1")


def test_copies_of_a_row_in_one_group_make_no_error_smaller(tmp_path):
    """Each row thrice: counted by groups errors are those of the rows, counted by rows far too small."""
    record = record_of(open_run(run_folder(tmp_path / "run", rows=240)))
    once = replace(record, slices={"half": tuple(f"half {i % 2}" for i in range(240))})
    at = np.repeat(np.arange(240), 3)
    many = {"target": take_rows(once.target, at), "fold_of": once.fold_of[at]}
    blend = replace(record.blend, oof=np.asarray(record.blend.oof)[at])
    slices = {"half": tuple(f"half {i % 2}" for i in at)}
    thrice = replace(once, **many, blend=blend, slices=slices, groups=at)
    errors = {}
    for name, looked_at in (("once", once), ("groups", thrice), ("rows", replace(thrice, groups=None))):
        own_errors = findings.errors_of(looked_at)
        bins = findings.reliability(looked_at, own_errors, bins=2)
        slices = findings.slices_of(looked_at, own_errors)
        errors[name] = [s.stderr for s in slices], [stderr for _, _, stderr, _ in bins]
    for once_, groups, rows in zip(*(errors[name] for name in ("once", "groups", "rows")), strict=True):
        assert np.allclose(groups, once_, rtol=0.1)
        assert (np.array(rows) < 0.8 * np.array(groups)).all()


def test_answers_to_rows_of_one_fold_are_learned_from_other_groups(tmp_path, monkeypatch):
    record = record_of(open_run(run_folder(tmp_path / "run", rows=240)))
    groups, parts = np.arange(240) // 8, []
    record = replace(record, fold_of=np.zeros(240, int), groups=groups)

    cross_answers = crossfit.cross_answers

    def noted(goal, truth, p, part_of, **how):
        parts.append(part_of)
        return cross_answers(goal, truth, p, part_of, **how)

    for module in (findings, crossfit):
        monkeypatch.setattr(module, "cross_answers", noted)
    findings.errors_of(record)
    findings.lift_of(record, record.trials[0].oof, record.trials[1].oof)
    assert len(parts) == 3
    for part_of in parts:
        assert len(set(part_of)) > 1
        assert all(len(set(part_of[groups == g])) == 1 for g in range(30))


def test_pictures_of_unknown_size_are_in_no_slice(tmp_path):
    sizes = {"train": [[row, 10 + row, 10] for row in range(0, 80, 2)]}
    words = slices_by_size(sizes, 80)["picture size"]
    assert set(words[1::2]) == {""}
    assert len(set(words[::2])) == 4
    assert slices_by_size({"train": [[0, 9, 9], [1, 9, 9]]}, 2) == {}
    record = record_of(open_run(run_folder(tmp_path / "run", rows=240)))
    half = tuple("" if i % 2 else f"half {i % 4}" for i in range(240))
    scored = findings.slices_of(replace(record, slices={"half": half}), findings.errors_of(record))
    assert sorted((s.value, s.rows) for s in scored) == [("half 0", 60), ("half 2", 60)]


def test_quarters_hold_as_many_each():
    words = by_quarters(np.array([*range(100), np.nan]), "blank")
    assert words[-1] == "blank"
    assert [words.count(word) for word in dict.fromkeys(words)] == [25, 25, 25, 25, 1]
    assert len(set(by_quarters(124 + np.arange(100) / 100, ""))) == 4


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("shift", "says"), [(0, "look like train pictures"), (90, "differ strongly")])
def test_drift_is_measured_once_and_reported(tmp_path, shift, says):
    folder = run_folder(tmp_path / "run", rows=60, answered=60)
    array = next((folder / "cache").glob("*.npy"))
    pixels = np.load(array) // 2
    pixels[60:] += np.uint8(shift)
    np.save(array, pixels)
    assert f"Test pictures {says}" in page_of_run(folder).text
    assert "drift" in json.loads((folder / "facts.json").read_text())


@pytest.mark.usefixtures("undrawn")
def test_why_a_score_may_promise_too_much_is_said_at_the_end(tmp_path):
    folder, events = run_folder(tmp_path / "run", rows=300), []
    record = record_of(open_run(folder))
    wrong = np.random.default_rng(0).random(300) < np.where(record.fold_of == 0, 0.9, 0.1)
    target = np.asarray(record.target[:], float)
    write_predictions(folder / "blend_oof", np.where(wrong[:, None], np.roll(target, 1, axis=1), target))
    write_json(folder / "facts.json", {"drift": {"auc": 0.93, "stderr": 0.01, "verdict": "strong", "most": None}})
    report_in_time(open_run(folder), Clock(1e4, now=lambda: 0.0, start=0.0), events.append)
    texts = [e.text for e in events]
    assert any(text.startswith("Test pictures differ strongly from train pictures") for text in texts)
    assert any(text.startswith("Folds disagree: 0.1") for text in texts)


def test_the_ledger_adds_up_to_what_was_spent(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    assert sum(seconds for _, seconds in times.time_ledger(record)) == pytest.approx(record.spent, abs=0.5)


def test_what_follows_a_trial_that_is_not_blended_is_planning(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    names = ("stage", "start", "trial", "start", "trial", "blend", "start")
    events = [{"name": name, "spent": 10.0 * i, "facts": {"stage": "resize"}} for i, name in enumerate(names)]
    ledger = dict(times.time_ledger(replace(record, events=events, spent=70.0)))
    assert (ledger["blending"], ledger["planning and measuring"]) == (10.0, 30.0)


def test_a_move_is_no_matter_of_whether_the_test_rows_are_predicted(tmp_path):
    record = record_of(open_run(run_folder(tmp_path / "run")))
    first, *others = record.trials
    first = replace(first, config=first.config.vary(predict_test=False))
    moves = findings.moves_of(replace(record, trials=(first, *others)))
    assert moves
    assert not any("test rows" in words or "held-out" in words for m in moves for words in (m.words, m.brief))


def test_what_stands_between_backticks_is_code_and_all_of_it_is_escaped():
    assert with_code("a <b> `c < d` e") == "a &lt;b&gt; <code>c &lt; d</code> e"


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_svg_has_no_style_and_follows_the_pages_colours():
    figure = charts.bars_figure(["a", "<b>", "$x$"], [1.0, -2.0, 0.5], [0.1, 0.1, 0.1], "lift")
    svg = charts.svg_of(figure, "lifts")
    assert "style=" not in svg
    assert "var(--accent)" in svg
    assert not set(re.findall(r"#[0-9a-f]{6}", svg))
    assert "&lt;b&gt;" in svg
    assert all(name.startswith("lifts-") for name in re.findall(r'id="([^"]+)"', svg))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_thumbnails_of_any_number_of_channels_are_small_jpegs(channels):
    uri = thumbnail(np.full((300, 200, channels), 90, np.uint8))
    assert uri.startswith("data:image/jpeg;base64,/9j/")
    assert len(uri) < 4000
    assert THUMBNAIL <= 96


def test_evidence_glows_and_the_rest_is_grey():
    picture = np.full((48, 48, 3), (200, 100, 0), np.uint8)
    evidence = np.zeros((4, 4), np.uint8)
    evidence[:2] = 255
    uri = thumbnail(picture, evidence=evidence)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), int)
    glowing, dark = shown[4:16].mean((0, 1)), shown[-12:].mean((0, 1))
    assert glowing[0] > glowing[2] + 60
    assert np.ptp(dark) < 12


# --- in a notebook ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(METRICS))
def test_a_run_shows_itself_and_its_figures(tmp_path, kind):
    run = open_run(run_folder(tmp_path / "run", kind, HOSTILE[:3], name=HOSTILE[0]))
    shown = Page(run._repr_html_())
    assert f"{run.score:.4f}" in shown.text
    assert [tag for tag, _ in shown.elements if tag in ("svg", "table")] == ["svg", "table"]
    assert not FETCHING & {tag for tag, _ in shown.elements}
    for name in ("climb", "lifts", "errors", "curves"):
        assert getattr(run.plot, name)().axes
    if kind in ("regression", "multilabel"):
        with pytest.raises(Mistake, match="no confusion matrix"):
            run.plot.confusion()
    else:
        assert run.plot.confusion().axes


def test_a_run_without_a_trial_shows_itself_and_says_why_it_has_no_figures(tmp_path):
    run = open_run(run_folder(tmp_path / "run", blended=False, trials=0))
    assert "no score yet" in run._repr_html_()
    for name in ("climb", "lifts", "errors", "curves"):
        with pytest.raises(Mistake):
            getattr(run.plot, name)()


def test_a_trial_far_behind_stands_at_the_edge_of_the_climb_with_its_score_and_flattens_no_other():
    scores = [0.91, 0.05, 0.92, 0.94, 0.93]
    assert charts.worst_shown(scores, higher=True) == pytest.approx(0.94 - 3 * 0.02)
    assert charts.worst_shown([-s for s in scores], higher=False) == pytest.approx(-0.94 + 3 * 0.02)
    assert charts.worst_shown(scores[:3], higher=True) is None
    assert charts.worst_shown([0.91, 0.92, 0.94, 0.93], higher=True) is None
    assert charts.worst_shown([0.9] * 5, higher=True) is None
    trials = [(10.0 * i, score, 0.01, i == 3) for i, score in enumerate(scores, 1)]
    figure = charts.climb_figure(trials, [(50.0, 0.94)], [(0.0, 50.0, "baseline")], "accuracy", True)
    assert figure.axes[0].get_ylim()[0] == pytest.approx(0.88)
    assert "0.05" in charts.svg_of(figure, "climb")
