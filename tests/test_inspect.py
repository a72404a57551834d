"""`autoclimb inspect`: its facts, what people see of them, and that nothing is left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import competition, metric, picture, table
from PIL import Image
from typer.testing import CliRunner

import autoclimb
from autoclimb import cli
from autoclimb.data.decoding import size_of
from autoclimb.data.drift import drift_of, error_of
from autoclimb.data.facts import bits_of, facts_of
from autoclimb.data.glance import some_rows
from autoclimb.data.read.folder import read_folder
from autoclimb.score.metrics import metric_named

RNG = np.random.default_rng(0)


def inspected(root: Path, *options: str) -> str:
    result = CliRunner().invoke(cli.app, ["inspect", str(root), *options], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def everything(root: Path) -> Path:
    """Groups, metadata, a leak, a blank column, copies, a conflict, missing, broken and unreadable files."""
    competition(root, label=lambda i: ("cat", "dog", "fox")[i % 5 % 3], train=60, test=30)
    rows = [
        (f"a_{i:03d}", ("cat", "dog", "fox")[i % 5 % 3], f"p{i // 4}", i % 7, "" if i % 9 == 0 else "mf"[i % 2], i % 5)
        for i in range(60)
    ]
    table(root / "train.csv", ("id", "label", "patient_id", "age", "sex", "code"), *rows)
    ids = [f"b_{i:03d}" for i in range(30)]
    table(root / "test.csv", ("id", "age", "sex"), *((name, i % 8, "mf"[i % 2]) for i, name in enumerate(ids)))
    for name, seed in (("train/a_000", 5), ("train/a_001", 5), ("test/b_000", 5)):
        smooth(root / f"{name}.jpg", seed)
    (root / "train" / "a_010.jpg").unlink()
    (root / "train" / "a_011.jpg").write_bytes(b"no picture")
    (root / "test" / "b_003.jpg").unlink()
    (root / "weights.h5").write_bytes(b"0")
    return root


def smooth(path: Path, seed: int) -> None:
    """A picture of large patches, which stays itself when shrunk."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((32, 32), Image.Resampling.BICUBIC).save(path)


def state(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")}


def test_the_facts_of_a_folder_with_everything(tmp_path):
    facts = json.loads(inspected(everything(tmp_path / "set"), "--json"))
    assert (facts["kind"], facts["train"], facts["test"]) == ("multiclass", 59, 30)
    assert facts["missing"]["train"] == {"count": 1, "first": ["a_010"]}
    assert facts["missing"]["test"] == {"count": 1, "first": ["b_003"]}
    assert facts["unreadable"]["train"] == {"count": 1, "first": ["a_011"]}
    assert facts["imbalance"]["rarest"] == "fox"
    roles = {c["name"]: c["role"] for c in facts["columns"]}
    assert roles == {
        "label": "target",
        "patient_id": "group",
        "age": "metadata",
        "sex": "metadata",
        "code": "leak",
    }
    assert (facts["groups"]["column"], facts["groups"]["count"]) == ("patient_id", 15)
    assert facts["metadata"][1] == {
        "name": "sex",
        "type": "words",
        "words": 2,
        "blank_train": pytest.approx(7 / 59, abs=1e-4),
        "blank_test": 0,
    }
    assert facts["other_files"] == {".h5": 1}
    assert facts["duplicates"]["train"] == 1
    assert facts["duplicates"]["test"] == 1
    assert facts["duplicates"]["conflicting"] == [["a_000", "a_001"]]
    assert facts["pictures"]["train"]["sizes"] == {"8x6": 56, "32x32": 2}
    assert facts["pictures"]["train"]["bits"] == {"8": 58}
    assert facts["pictures_per_item"] == [1, 1, 1]
    assert facts["form"]["first"] == ["b_000", "cat"]
    assert facts["metric"] == {
        "name": "accuracy",
        "greater_is_better": True,
        "proposed": True,
        "why": "the submission's cells are one class each",
    }


def test_python_gets_the_facts_that_the_command_prints(tmp_path):
    root = everything(tmp_path / "set")
    assert autoclimb.inspect(root) == json.loads(inspected(root, "--json"))
    facts = autoclimb.inspect(root, metric_named("f1-macro"))
    assert facts == json.loads(inspected(root, "--json", "--metric", "f1-macro"))
    assert facts["metric"] == {"name": "f1-macro", "greater_is_better": True, "proposed": False, "why": ""}


def test_inspecting_needs_no_torch(tmp_path):
    code = "import sys, autoclimb\nautoclimb.inspect(sys.argv[1])\nprint({'torch', 'timm'} & set(sys.modules))"
    root = str(competition(tmp_path))
    assert subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True).stdout == "set()\n"


def test_the_page_shows_the_same_facts_in_eighty_columns(tmp_path):
    text = inspected(everything(tmp_path / "set"))
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for part in (
        "3 classes, one an item (multiclass)",
        "1 id without a picture, left out of training: a_010",
        "1 of 59 pictures cannot be read, left out of training: a_011",
        "1 id without a picture, answered by a constant: b_003",
        "8x6 (97%), 32x32 (3%)",
        "by column 'patient_id': 15 groups, 4 rows in the largest",
        "gives the label away",
        "1 pair of different targets: a_000 = a_001",
        "a small classifier tells them apart with AUC",
        "1 .h5: no pictures",
        "30 rows of id,label; one class name",
        "the sample begins b_000,cat",
        "accuracy, higher is better; proposed",
        "labels from train.csv",
    ):
        assert part in words, part


def test_inspecting_writes_nothing_and_leaves_no_temporary_folder(tmp_path, monkeypatch):
    import tempfile

    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.chdir(place)
    root = competition(tmp_path / "set")
    before = state(root)
    inspected(root)
    assert state(root) == before
    assert os.listdir(place) == []


@pytest.mark.parametrize(
    ("label", "sample", "name"),
    [
        (lambda i: i / 7, 0.5, "rmse"),
        (lambda i: ("a b", "b c", "a c", "a")[i % 4], "a b", "f1-samples"),
        (lambda i: i % 2, 0.5, "roc-auc"),
    ],
)
def test_every_kind_can_be_inspected_and_has_a_metric_proposed(tmp_path, label, sample, name):
    root = competition(tmp_path, label=label, sample=sample, train=24)
    facts = json.loads(inspected(root, "--json"))
    assert facts["metric"]["name"] == name
    assert name in inspected(root)


def test_the_keys_are_the_same_for_every_kind(tmp_path):
    keys = [
        set(facts_of(read_folder(competition(tmp_path / str(n), label=label, sample=0.5, train=24))))
        for n, label in enumerate((lambda i: i / 7, lambda i: i % 2, lambda i: ("x", "y", "z")[i % 3]))
    ]
    assert keys[0] == keys[1] == keys[2]


def test_grades_are_read_as_the_proposed_metric_reads_them(tmp_path):
    root = competition(tmp_path, label=lambda i: i % 4, sample=0, column="level", train=24)
    facts = json.loads(inspected(root, "--json"))
    assert (facts["metric"]["name"], facts["kind"]) == ("qwk", "ordinal")


def test_a_large_set_is_looked_at_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.data.glance.MOST", 12)
    monkeypatch.setattr("autoclimb.data.glance.FEWEST", 1)
    task = read_folder(competition(tmp_path, train=30, test=9), metric("label"))
    train, test = some_rows(task)
    assert (len(train), len(test)) == (8, 4)
    assert "among a sample of 8 train and 4 test items" in " ".join(inspected(tmp_path).split())


def test_large_pictures_are_looked_at_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr("autoclimb.data.glance.MOST_PIXELS", 10 * 8 * 6)
    monkeypatch.setattr("autoclimb.data.glance.FEWEST", 1)
    train, test = some_rows(read_folder(competition(tmp_path, train=30, test=9), metric("label")))
    assert len(train) + len(test) == 10


def noise(rows: int, low: int = 0) -> np.ndarray:
    return RNG.integers(low, 256, (rows, 16, 16, 3), dtype=np.uint8)


def test_pictures_of_one_source_show_no_drift_and_darker_ones_do():
    rows, tested = 120, np.arange(120) >= 80
    pixels = noise(rows)
    none = drift_of(pixels, {}, tested, np.arange(rows))
    assert none["verdict"] == "none"
    assert (none["train"], none["test"]) == (80, 40)
    pixels[tested] //= 2
    drift = drift_of(pixels, {}, tested, np.arange(rows))
    assert drift["verdict"] == "strong"
    assert drift["most"]["train"] > drift["most"]["test"]


def test_a_known_measure_that_differs_is_named():
    tested = np.arange(120) >= 80
    drift = drift_of(noise(120), {"width": np.where(tested, 64, 32)}, tested, np.arange(120))
    assert drift["most"] == {"name": "width", "auc": 1.0, "train": 32.0, "test": 64.0}


def test_drift_of_a_few_pictures_is_not_claimed():
    tested = np.arange(30) >= 20
    assert drift_of(noise(30), {}, tested, np.arange(30))["auc"] is None
    one_source = drift_of(noise(120), {}, np.arange(120) >= 60, np.repeat([0, 1], 60))
    assert (one_source["auc"], one_source["verdict"]) == (None, "too few")


def test_the_error_of_an_area_is_that_of_chance_for_an_area_of_a_half():
    # the variance of the Mann-Whitney statistic under chance: (m + n + 1) / (12 m n)
    assert error_of(0.5, 40, 60) == pytest.approx(np.sqrt(101 / (12 * 40 * 60)), rel=1e-3)


@pytest.mark.parametrize(
    ("mode", "bits"), [("RGB", 8), ("1", 1), ("I;16", 16), ("I;16B", 16), ("F", 32), ("uint16 x 4", 16), ("RGBA", 8)]
)
def test_bits_of_a_channel_follow_from_the_mode(mode, bits):
    assert bits_of(mode) == bits


def test_sixteen_bit_pictures_are_reported(tmp_path):
    root = competition(tmp_path, train=12, extension=".png")
    for path in (root / "train").iterdir():
        Image.fromarray(RNG.integers(0, 65536, (8, 8), dtype=np.uint16)).save(path)
    assert "16 bits a channel" in inspected(root)


def test_a_png_whose_size_has_a_16_in_it_is_not_taken_for_a_deep_one(tmp_path):
    Image.new("RGB", (160, 116)).save(tmp_path / "a.png")
    assert size_of(str(tmp_path / "a.png")) == (160, 116, "RGB")


def test_long_names_and_many_columns_keep_the_page_narrow(tmp_path):
    root = tmp_path
    wide = [f"measurement of the {'very ' * 8}long kind {i}" for i in range(30)]
    for i in range(24):
        picture(root / "train" / f"{i}.jpg", seed=i)
    for i in range(4):
        picture(root / "test" / f"t{i}.jpg", seed=50 + i)
    names = [f"a class whose name is {'long and ' * 9}{i}" for i in range(20)]
    rows = [(i, names[i % 20], *[(i * k) % 11 for k in range(30)]) for i in range(24)]
    table(root / "train.csv", ("id", "label", *wide), *rows)
    table(root / "sample_submission.csv", ("id", "label"), *((f"t{i}", names[0]) for i in range(4)))
    text = inspected(root)
    assert max(map(len, text.splitlines())) <= 80
    assert "... and 18 more columns" in text
