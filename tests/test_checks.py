"""The reading is shown and checked before anything is trained: rows, rules, names of files, equal pictures."""

import io
import shutil

import numpy as np
import pytest
from folders import competition, picture, table
from rich.console import Console
from typer.testing import CliRunner

from autoclimb import cli, solve
from autoclimb.data.checks import check_facts, named_otherwise, rule_of, thumbnails_of
from autoclimb.data.decoding import Decoding
from autoclimb.data.duplicates import joined_duplicates
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake
from autoclimb.report.inspection import half_blocks
from autoclimb.run.checks import check_guesses
from autoclimb.score.metrics import metric_named

ACCURACY = metric_named("accuracy")
ANIMALS = ("cat", "dog", "fox")


def in_folders_of_classes(root, label):
    """Pictures in folders called as classes, and a table of labels; `label(i)` is what row i says."""
    for i in range(30):
        picture(root / "images" / ANIMALS[i % 3] / f"x{i:02d}.jpg", seed=i)
    table(root / "labels.csv", ("file", "label"), *((f"{ANIMALS[i % 3]}/x{i:02d}.jpg", label(i)) for i in range(30)))
    return root


@pytest.mark.parametrize(
    ("name", "path", "rule"),
    [
        ("a/7.jpg", "data/a/7.jpg", "path"),
        ("a\\7", "data/a/7.jpg", "path"),
        ("7.jpg", "data/a/7.jpg", "name"),
        ("7", "data/a/7.jpg", "stem"),
        ("IMG_7.JPG", "data/img_7.jpg", "case"),
        ("7.0", "data/0007.jpg", "other"),
    ],
)
def test_it_is_said_how_an_id_names_its_file(name, path, rule):
    assert rule_of(name, path) == rule


def test_six_rows_are_drawn_at_random_and_are_the_same_again(tmp_path):
    task = read_folder(competition(tmp_path, train=40), ACCURACY)
    facts = check_facts(task)
    assert facts == check_facts(task)
    assert facts["matched"] == {"stem": 1.0}
    assert len({row["id"] for row in facts["rows"]}) == 6
    for row in facts["rows"]:
        assert row["file"] == f"train/{row['id']}.jpg"
        assert row["label"] == ANIMALS[int(row["id"][2:]) % 3]


def test_labels_that_paths_contradict_stop_a_run_unless_it_is_told_to_go_on(tmp_path):
    task = read_folder(in_folders_of_classes(tmp_path, lambda i: ANIMALS[i // 10]), ACCURACY)
    assert (check_facts(task)["named"], check_facts(task)["contradicting"]) == (30, 18)
    with pytest.raises(Mistake, match=r"18 of 30 train pictures.*another class.*--id and --target.*--yes"):
        check_guesses(task, yes=False)
    check_guesses(task, yes=True)


def test_a_few_contradictions_are_noted_and_stop_nothing(tmp_path):
    task = read_folder(in_folders_of_classes(tmp_path, lambda i: ANIMALS[(i + (i == 7)) % 3]), ACCURACY)
    assert [n.sure for n in task.notes if n.kind == "contradiction"] == ["guessed"]
    check_guesses(task, yes=False)


def test_pictures_of_no_item_are_counted_by_folder(tmp_path):
    root = competition(tmp_path)
    picture(root / "extra" / "x.jpg")
    notes = [n.text for n in read_folder(root, ACCURACY).notes if n.kind == "left"]
    assert notes == ["1 of 17 pictures are neither train nor test items: 1 in extra"]


@pytest.mark.parametrize(("every", "asks"), [(3, True), (20, False)])
def test_many_ids_with_rows_of_different_labels_ask_for_another_column(tmp_path, every, asks):
    root = competition(tmp_path, train=40)
    rows = [(f"a_{i:03d}", ANIMALS[(i + (copy and i % every == 0)) % 3]) for i in range(40) for copy in (0, 1)]
    table(root / "train.csv", ("id", "label"), *rows)
    notes = [n for n in read_folder(root, ACCURACY).notes if n.kind == "repeated"]
    assert [bool(n.ask) for n in notes] == [asks]


def test_labels_that_paths_confirm_are_not_noted(tmp_path):
    task = read_folder(in_folders_of_classes(tmp_path, lambda i: ANIMALS[i % 3]), ACCURACY)
    assert not [n for n in task.notes if n.kind == "contradiction"]


def test_a_word_before_a_number_counts_as_a_files_name(tmp_path):
    for i in range(12):
        picture(tmp_path / "images" / f"{ANIMALS[i % 3]}_{i}.jpg", seed=i)
    table(tmp_path / "t.csv", ("file", "label"), *((f"{ANIMALS[i % 3]}_{i}", ANIMALS[i % 3]) for i in range(12)))
    named, wrong = named_otherwise(read_folder(tmp_path, ACCURACY))
    assert (len(named), wrong) == (12, [])


@pytest.mark.parametrize("shuffled", [True, False])
def test_equal_pictures_of_labels_at_random_stop_a_run(tmp_path, shuffled):
    root = competition(tmp_path / "c", label=lambda i: ANIMALS[(i // (1 if shuffled else 2)) % 3], train=60)
    for i in range(60):
        picture(root / "train" / f"a_{i:03d}.jpg", size=(64, 64), seed=i // 2)
    for i in range(0, 60, 2):
        shutil.copy(root / "train" / f"a_{i:03d}.jpg", root / "train" / f"a_{i + 1:03d}.jpg")
    task = read_folder(root, ACCURACY)
    pixels = build_pixels([*task.train_files, *task.test_files], Decoding(64, "squash"), tmp_path / "cache")
    task = joined_duplicates(task, pixels, lambda event: None)
    assert bool([n for n in task.notes if n.ask]) == shuffled


def test_fit_is_told_to_go_on_by_yes(tmp_path, monkeypatch):
    given = {}

    def remember(data, **options):
        given.update(options)
        raise Mistake("enough")

    monkeypatch.setattr(solve, "fit", remember)
    for flags, yes in (([], False), (["--yes"], True)):
        CliRunner().invoke(cli.app, ["fit", str(tmp_path), "--budget", "1m", *flags])
        assert given["yes"] is yes


def test_fit_asks_before_it_trains_on_a_contradiction(tmp_path):
    root = in_folders_of_classes(tmp_path / "set", lambda i: ANIMALS[i // 10])
    with pytest.raises(Mistake, match="or add --yes"):
        solve.fit(root, metric="accuracy", budget="30s", out=tmp_path / "run")


def test_thumbnails_are_drawn_in_half_blocks(tmp_path):
    task = read_folder(competition(tmp_path, train=8), ACCURACY)
    thumbnails = thumbnails_of(task, 12)
    assert [t.shape for t in thumbnails] == [(12, 12, 3)] * 6
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=80)
    console.print(half_blocks(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)), end="")
    assert out.getvalue() == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m"
    assert half_blocks(None).plain == "cannot be\nread"


def test_rows_come_first_and_fit_into_eighty_columns(tmp_path):
    result = CliRunner().invoke(cli.app, ["inspect", str(competition(tmp_path))], env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    assert lines[2].split() == ["id", "file", "label"]
    assert "▀" not in result.stdout  # no colours here
    assert max(map(len, lines)) <= 80
