"""Folders as they should not be: each gives one clear line, or is read with what was odd in the notes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import competition, metric, picture, table

from autoclimb.data.read.folder import read_folder
from autoclimb.errors import Mistake


def train_rows(root: Path, *labels: object) -> Path:
    table(root / "train.csv", ("id", "label"), *((f"a_{i:03d}", label) for i, label in enumerate(labels)))
    return root


def sample_rows(root: Path, *rows: tuple) -> Path:
    table(root / "sample_submission.csv", *rows)
    return root


def without(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return root


def only_archives(root: Path) -> Path:
    root.mkdir()
    (root / "train.zip").write_bytes(b"PK")
    return root


def pictures_alone(root: Path) -> Path:
    return picture(root / "1.jpg").parent


def two_targets(root: Path) -> Path:
    rows = [(f"a_{i:03d}", "xy"[i % 2], "uvw"[i % 3]) for i in range(12)]
    table(root / "train.csv", ("id", "colour", "shape"), *rows)
    return sample_rows(root, ("id", "answer"), ("b_000", ""))


def empty(root: Path) -> Path:
    root.mkdir()
    return root


def ids_of_other_pictures(root: Path) -> Path:
    table(root / "train.csv", ("id", "label"), *((f"zebra{i}", "ab"[i % 2]) for i in range(12)))
    return root


def bad_flags(root: Path) -> Path:
    table(root / "train.csv", ("id", "p", "q"), *((f"a_{i:03d}", i, 1) for i in range(12)))
    return sample_rows(root, ("id", "p", "q"), ("b_000", 0, 0))


REFUSED: dict[str, tuple[Callable[[Path], Path], str, dict]] = {
    "no such folder": (lambda p: p, "does not exist", {}),
    "a file": (lambda p: picture(p.with_suffix(".jpg")), "is a file", {}),
    "nothing in it": (empty, "holds no pictures", {}),
    "only archives": (only_archives, "cannot be read as an archive", {}),
    "pictures alone": (pictures_alone, "no labels found", {}),
    "no train pictures": (lambda p: without(competition(p), "train"), "name no picture", {}),
    "no test pictures": (lambda p: without(competition(p), "test"), "ids of sample_submission.csv", {}),
    "ids of other pictures": (lambda p: ids_of_other_pictures(competition(p)), "no labels|name no picture", {}),
    "one class": (lambda p: train_rows(competition(p), *["cat"] * 12), "every train row has the label 'cat'", {}),
    "one number": (lambda p: competition(p, label=lambda i: 3, sample=1), "value 3", {"metric": metric("number")}),
    "no labels": (lambda p: train_rows(competition(p), *[""] * 12), "holds no labels", {}),
    "labels all nan": (lambda p: train_rows(competition(p), *["NaN"] * 12), "holds no labels", {}),
    "names for a number": (competition, "needs numbers, but column 'label' holds 'cat'", {"metric": metric("number")}),
    "names for a grade": (competition, "needs numbers", {"metric": metric("grade")}),
    "infinite number": (
        lambda p: train_rows(competition(p), *["1.5", "inf", "2"] * 4),
        "holds 'inf'",
        {"metric": metric("number")},
    ),
    "fractions for classes": (
        lambda p: competition(p, label=lambda i: i / 7, train=40, sample=0),
        "a quantity",
        {"metric": metric("label", "binary", "multiclass")},
    ),
    "flag columns with counts": (lambda p: bad_flags(competition(p)), "must hold 0 and 1, but 'p' holds '2'", {}),
    "sample with unknown columns": (
        lambda p: sample_rows(competition(p), ("id", "north", "south"), ("b_000", 0, 0)),
        "asks for north, south",
        {},
    ),
    "two possible targets": (lambda p: two_targets(competition(p)), "colour, shape; name it with --target", {}),
    "unknown --target": (competition, "no column 'colour'; it has label", {"target": "colour"}),
    "unknown --id": (competition, "no column 'key'", {"id_column": "key"}),
    "unknown --group": (competition, "no column 'farm' to group by", {"group": "farm"}),
    "sets for one label": (
        lambda p: competition(p, label=lambda i: ["a|b", "a", "b|c", "c"][i % 4], sample="a"),
        "multilabel.*a label metric does not score",
        {"metric": metric("label", "binary", "multiclass")},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_folder_is_refused_in_one_line(tmp_path, case):
    make, message, options = REFUSED[case]
    with pytest.raises(Mistake, match=message) as caught:
        read_folder(make(tmp_path / "c"), **{"metric": metric("label"), **options})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 320


def empty_table(root: Path) -> Path:
    (root / "notes.csv").write_text("")
    return root


def ragged_table(root: Path) -> Path:
    (root / "more.csv").write_text('a,b\n1,2\n1,2,3,4\n"unclosed,\n')
    return root


def binary_table(root: Path) -> Path:
    (root / "dump.csv").write_bytes(bytes(range(256)) * 4)
    return root


def hidden_files(root: Path) -> Path:
    picture(root / "__MACOSX" / "train" / "a_000.jpg")
    (root / "train" / "._a_000.jpg").write_bytes(b"x")
    (root / "train" / "Thumbs.db").write_bytes(b"x")
    return root


def link_upwards(root: Path) -> Path:
    (root / "train" / "loop").symlink_to(root, target_is_directory=True)
    return root


def one_missing(root: Path) -> Path:
    (root / "train" / "a_003.jpg").unlink()
    (root / "test" / "b_001.jpg").unlink()
    return root


def blanks(root: Path) -> Path:
    return train_rows(root, *["cat", "dog", "", "nan"] * 3)


def latin(root: Path) -> Path:
    rows = [f"a_{i:03d},{'fée' if i % 2 else 'elf'}" for i in range(12)]
    (root / "train.csv").write_text("\n".join(["id,label", *rows]), encoding="latin-1")
    return root


HANDLED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an empty table": (empty_table, "notes.csv"),
    "a ragged table": (ragged_table, "more.csv"),
    "a binary table": (binary_table, ""),
    "hidden files": (hidden_files, ""),
    "a link upwards": (link_upwards, ""),
    "ids without a picture": (one_missing, "1 train ids have no picture"),
    "blank labels": (blanks, "6 train rows without a label"),
    "latin-1 text": (latin, ""),
    "a sample without answers": (lambda p: sample_rows(p, ("id",), ("b_000",)), "is written as id,label"),
    "a sample of another label": (lambda p: sample_rows(p, ("id", "label"), ("b_000", "yak")), "'yak', which is no"),
}


@pytest.mark.parametrize("case", HANDLED)
def test_is_read_all_the_same_and_noted(tmp_path, case):
    make, message = HANDLED[case]
    task = read_folder(make(competition(tmp_path / "c")), metric("label"))
    assert len(task.classes) in (2, 3)
    assert len(task.train_ids) == len(task.target) == len(set(task.train_ids))
    assert any(message in note.text for note in task.notes)
    assert not any("MACOSX" in f or "loop" in f for f in task.train_files)
