"""Folders whose names are the labels: which level holds the classes, what is a split, a copy, a mask."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from folders import metric, table

from autoclimb.data.read.folder import read_folder
from autoclimb.data.read.splits import parts_of_folders
from autoclimb.errors import Mistake


@dataclass(frozen=True)
class Folders:
    """Files below a folder, and what they are read as: classes, rows, groups; or the refusal."""

    files: list[str]
    classes: list[str] = field(default_factory=list)
    train: int = 0
    test: int = 0
    groups: int | None = None
    refusal: str = ""
    target: str | None = None


def with_files(root: Path, files: list[str]) -> Path:
    """Files of different sizes, none of them a picture; twins of one path are called `path=other` and are copies."""
    sizes: dict[str, int] = {}
    for k, file in enumerate(files):
        file, _, twin = file.partition("=")
        sizes[file] = sizes[twin] if twin else k + 1
        place = root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * sizes[file])
    return root


def each(folders: str, n: int = 4, name: str = "{f}{i}.jpg") -> list[str]:
    """Some files in each of some folders, named after the folder and a number."""
    names = [folder.strip() for folder in folders.split(",")]
    return [f"{f}/{name.format(f=f.replace('/', '_'), i=i)}" for f in names for i in range(n)]


def plain(n: int = 4) -> str:
    return "{i:03d}.jpg"


LEVELS = {
    "at the top": Folders(each("cat, dog"), ["cat", "dog"], 8),
    "below a folder": Folders(each("pets/cat, pets/dog"), ["cat", "dog"], 8),
    "below archives' double folders": Folders(each("a/a/cat, a/a/dog"), ["cat", "dog"], 8),
    "a test folder beside classes": Folders(each("cat, dog, test"), ["cat", "dog"], 8, 4),
    "train and test": Folders(each("train/cat, train/dog, test"), ["cat", "dog"], 8, 4),
    "train and labelled test": Folders(each("train/cat, train/dog, test/cat, test/dog"), ["cat", "dog"], 8, 8),
    "words around splits": Folders(
        each("seg_train/seg_train/cat, seg_train/seg_train/dog, seg_test/seg_test/cat, seg_pred/seg_pred"),
        ["cat", "dog"], 8, 8,
    ),
    "the set's name around splits": Folders(
        each("ISIC_Training_Input/nv, ISIC_Training_Input/mel, ISIC_Test_Input"), ["mel", "nv"], 8, 4
    ),
    "validation folders": Folders(each("train/cat, train/dog, val/cat, val/dog, test"), ["cat", "dog"], 16, 4),
    "an evaluation folder of classes": Folders(
        each("train/cat, train/dog, evaluation/cat, evaluation/dog, test"), ["cat", "dog"], 16, 4
    ),
    "an evaluation folder without": Folders(each("training/cat, training/dog, evaluation"), ["cat", "dog"], 8, 4),
    "a holdout folder without": Folders(each("train/cat, train/dog, holdout"), ["cat", "dog"], 8, 4),
    "a folder to predict": Folders(each("train/cat, train/dog, predict"), ["cat", "dog"], 8, 4),
    "the word test in the set's name": Folders(each("covid-test-photos/pos, covid-test-photos/neg"), ["neg", "pos"], 8),
    "the word training in the set's name": Folders(each("training data/pos, training data/neg"), ["neg", "pos"], 8),
    "a class called train": Folders(each("bus, car, train, truck"), ["bus", "car", "train", "truck"], 16),
    "classes called valid and invalid": Folders(each("valid, invalid"), ["invalid", "valid"], 8),
    "a class called train below train": Folders(
        each("train/bus, train/car, train/train, test"), ["bus", "car", "train"], 12, 4
    ),
    "classes that end with a split's word": Folders(
        each("train/bullet train, train/test tube, train/sedan, test"), ["bullet train", "sedan", "test tube"], 12, 4
    ),
    "classes that all hold a split's word": Folders(
        each("bullet train, steam train, freight train"), ["bullet train", "freight train", "steam train"], 12
    ),
    "classes that begin like a split": Folders(
        each("train/valley, train/oval, train/testudo, train/predator, train/devil, train/training shoe"),
        ["devil", "oval", "predator", "testudo", "training shoe", "valley"], 24,
    ),
    "classes called as splits are, in splits": Folders(
        each("train/contest, train/protest, train/medieval, test"), ["contest", "medieval", "protest"], 12, 4
    ),
    "classes called images and data": Folders(
        each("train/data, train/jpg, train/sample"), ["data", "jpg", "sample"], 12
    ),
    "words of missing cells": Folders(each("null, none, nan, na"), ["na", "nan", "none", "null"], 16),
    "names with commas and bars": Folders(each("a|b, c d, e;f"), ["a|b", "c d", "e;f"], 12),
    "counters in every class": Folders(each("a, b, c", name=plain()), ["a", "b", "c"], 12),
    "codes": Folders(each("0, 1, 2"), ["0", "1", "2"], 12),
    "padded codes": Folders(each("00000, 00001, 00002"), ["00000", "00001", "00002"], 12),
    "patients above classes": Folders(
        each("10253/0, 10253/1, 10254/0, 10254/1, 10255/0, 10255/1"), ["0", "1"], 24, 0, 3
    ),
    "patients by words above classes": Folders(
        each("patient_1/ill, patient_1/well, patient_2/ill, patient_3/well"), ["ill", "well"], 16, 0, 3
    ),
    "patients below classes": Folders(each("ill/P01, ill/P02, well/P03, well/P04"), ["ill", "well"], 16, 0, 4),
    "few numbered patients above codes": Folders(
        each("1/0, 1/1, 2/0, 2/1, 3/0, 3/1, 4/0, 4/1, 5/0, 5/1, 6/0, 6/1"), ["0", "1"], 48, 0, 6
    ),
    "days above classes": Folders(
        each("2021-05-01/cat, 2021-05-01/dog, 2021-05-02/cat, 2021-05-03/dog"), ["cat", "dog"], 16, 0, 3
    ),
    "batches above other classes": Folders(
        each("batch1/cat, batch1/dog, batch2/cow, batch2/hen"), ["cat", "cow", "dog", "hen"], 16
    ),
    "variants above classes": Folders(
        each("color/rust, color/scab, grayscale/rust, grayscale/scab", name="x{i}.jpg"), ["rust", "scab"], 16, 0, 8
    ),
    "variants below classes": Folders(each("rust/left, rust/right, scab/left, scab/right"), ["rust", "scab"], 16),
    "images in every class": Folders(each("rust/images, scab/images"), ["rust", "scab"], 8),
    "masks in every class": Folders(each("ill/images, ill/masks, well/images, well/masks"), ["ill", "well"], 8),
    "masks of the whole": Folders(each("images/ill, images/well, masks/ill, masks/well"), ["ill", "well"], 8),
    "masks beside pictures": Folders(
        [*each("ill, well", name="{f} ({i}).png"), *each("ill, well", name="{f} ({i})_mask.png")], ["ill", "well"], 8
    ),
    "a class called mask": Folders(each("mask, no_mask", name=plain()), ["mask", "no_mask"], 8),
    "a nested copy": Folders(
        [*each("c/ill, c/well"), *(f"c/{f}=" + f for f in each("c/ill, c/well"))], ["ill", "well"], 8
    ),
    "a copy beside": Folders(
        [*each("c/ill, c/well"), *(f"c - Copy/{f[2:]}={f}" for f in each("c/ill, c/well"))], ["ill", "well"], 8
    ),
    "figures beside": Folders(each("data/cat, data/dog, figures", 4), ["cat", "dog"], 8),
    "figures beside splits": Folders(each("train/cat, train/dog, test, figures"), ["cat", "dog"], 8, 4),
    "a few pictures beside": Folders([*each("x/cat, x/dog", 30), "logo.png", "x/chart.png"], ["cat", "dog"], 60),
    "a folder in one class": Folders([*each("cat, dog"), "cat/more/m1.jpg", "cat/more/m2.jpg"], ["cat", "dog"], 10),
    "levels that the user names": Folders(each("a/x, a/y, b/x, b/y"), ["x", "y"], 16, target="x,y"),
    "the other level that the user names": Folders(each("a/x, a/y, b/x, b/y"), ["a", "b"], 16, target="a"),
    "classes in the names of splits": Folders(
        each("cats_train, dogs_train, cats_test, dogs_test"), ["cats", "dogs"], 8, 8
    ),
    "letters behind splits": Folders(each("trainA, trainB, testA, testB"), ["a", "b"], 8, 8),
    "splits in every class": Folders(each("cat/train, cat/test, dog/train, dog/test"), ["cat", "dog"], 8, 8),
    "unlabelled pictures beside": Folders(each("labeled/cat, labeled/dog, unlabeled"), ["cat", "dog"], 8, 4),
    "validation in other case": Folders(each("train/cat, train/dog, val/Cat, val/Dog"), ["cat", "dog"], 16),
    "resolutions above classes": Folders(
        each("256x256/a, 256x256/b, 512x512/a, 512x512/b", name="x{i}.jpg"), ["a", "b"], 16, 0, 8
    ),
    "magnifications below classes": Folders(each("a/40X, a/100X, b/40X, b/100X"), ["a", "b"], 16),
    "lettered sites above classes": Folders(
        each("siteA/a, siteA/b, siteB/a, siteB/b, siteC/a, siteC/b"), ["a", "b"], 24, 0, 3
    ),
    "splits in every part of a set": Folders(
        each("d1/train/a, d1/train/b, d1/test/a, d2/train/a, d2/train/b, d2/test/b"), ["a", "b"], 16, 8
    ),
    "evaluation beside validation": Folders(
        each("training/a, training/b, validation/a, validation/b, evaluation/a, evaluation/b"), ["a", "b"], 16, 8
    ),
    "a picture beside classes of masks": Folders(
        [*each("with_mask, without_mask", 40), "logo.png"], ["with_mask", "without_mask"], 80
    ),
    "sites or classes": Folders(
        each("oslo/ill, oslo/well, rome/ill, rome/well"), refusal="oslo, rome hold ill, well.*--target ill,well"
    ),
    "families or species": Folders(
        each("bird/crow, bird/gull, mammal/cat, mammal/dog"), refusal="bird, mammal hold .*--target"
    ),
    "a folder of classes beside a class": Folders(
        each("flowers/rose, flowers/tulip, dandelion"), refusal="flowers holds .* rose, tulip beside dandelion"
    ),
    "words above numbers": Folders(each("oslo/0, oslo/1, rome/0, rome/1"), refusal="oslo, rome hold 0, 1"),
    "patients alone": Folders(each("patient1, patient2, patient3"), refusal="sources of pictures"),
    "one class to learn from": Folders(each("train/good, test/good, test/bad"), refusal="'good' alone"),
    "a target of no level": Folders(each("cat, dog"), refusal="--target cow names no class", target="cow"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEVELS)
def test_the_level_of_the_classes_is_found_or_asked_for(name, tmp_path):
    case = LEVELS[name]
    with_files(tmp_path / "d", case.files)
    if case.refusal:
        with pytest.raises(Mistake, match=case.refusal):
            read_folder(tmp_path / "d", metric("label"), target=case.target)
        return
    task = read_folder(tmp_path / "d", metric("label"), target=case.target)
    assert list(task.classes) == case.classes
    assert (len(task.train_ids), len(task.test_ids)) == (case.train, case.test)
    assert (None if task.groups is None else len(set(task.groups.tolist()))) == case.groups
    for file, label in zip(task.train_files, task.target, strict=True):
        assert task.classes[label].lower() in file.removeprefix(str(tmp_path)).lower()


def test_a_sample_says_which_level_is_asked_for(tmp_path):
    files = each("oslo/ill, oslo/well, rome/ill, rome/well, test")
    for columns, classes in ((("ill", "well"), ["ill", "well"]), (("oslo", "rome"), ["oslo", "rome"])):
        root = with_files(tmp_path / columns[0], files)
        table(root / "sample_submission.csv", ("id", *columns), *((f"test{i}.jpg", 0.5, 0.5) for i in range(4)))
        assert sorted(read_folder(root, metric("probability")).classes) == classes


def test_splits_are_told_by_the_folders_beside_them():
    def parts(*folders):
        return parts_of_folders(f"{f}/1.jpg" for f in folders)

    assert parts("train", "test") == {"train": "train", "test": "test"}
    assert parts("train/train", "test") == {"train": "train", "train/train": "train", "test": "test"}
    assert parts("x-train-y/a", "x-train-y/b") == {}
    assert parts("train", "bus", "car") == {}
    assert parts("cats_train", "cats_test") == {"cats_train": "train", "cats_test": "test"}
    assert parts("train", "test tube", "car") == {}
    assert parts("train", "unlabelled") == {"train": "train", "unlabelled": "test"}
    assert parts("Training", "Testing") == {"Training": "train", "Testing": "test"}
    assert parts("trainset", "testset") == {"trainset": "train", "testset": "test"}


def test_one_number_is_asked_for_of_versions_only(tmp_path):
    """`normal` among classes of other pictures is a class; its folder is `Cover` where others are versions of it."""
    root = with_files(
        tmp_path, [*each("glioma, normal, pituitary", name="{i:04d}.jpg"), *each("test", name="t{i}.jpg")]
    )
    table(root / "sample_submission.csv", ("id", "label"), *((f"t{i}.jpg", 0) for i in range(4)))
    assert len(read_folder(root, metric("label")).classes) == 3


NAMES = {
    "words before a number": (
        each("images", 3, "cat_{i}.jpg") + each("images", 3, "great dane {i}.jpg"), ["cat", "great dane"]
    ),
    "words behind a number": (each("images", 3, "{i}_cat.jpg") + each("images", 3, "{i}_dog.jpg"), ["cat", "dog"]),
    "cameras": (each("images", 3, "IMG_{i}.jpg") + each("images", 3, "DSC_{i}.jpg"), None),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_file_names_hold_labels_unless_cameras_gave_them(name, tmp_path):
    files, classes = NAMES[name]
    with_files(tmp_path, files)
    if classes is None:
        with pytest.raises(Mistake, match="no labels found"):
            read_folder(tmp_path, metric("label"))
    else:
        task = read_folder(tmp_path, metric("label"))
        assert list(task.classes) == classes
        assert [n.sure for n in task.notes if n.kind == "labels"] == ["guessed"]


def test_names_of_files_are_no_labels_where_the_sample_shows_others(tmp_path):
    with_files(
        tmp_path, each("train", 3, "oak_{i}.jpg") + each("train", 3, "elm_{i}.jpg") + each("test", 3, "t{i}.jpg")
    )
    table(tmp_path / "sample_submission.csv", ("id", "label"), *((f"t{i}.jpg", "healthy") for i in range(3)))
    with pytest.raises(Mistake, match="no labels found"):
        read_folder(tmp_path, metric("label"))


def test_a_list_of_test_pictures_keeps_them_out_of_training(tmp_path):
    """As food and texture sets do: images/<class>/, and lists of names without endings."""
    root = with_files(tmp_path, each("images/pie, images/soup"))
    for part, numbers in (("train", (0, 1, 2)), ("test", (3,))):
        place = root / "meta" / f"{part}.txt"
        place.parent.mkdir(exist_ok=True)
        place.write_text("".join(f"{c}/images_{c}{i}\n" for c in ("pie", "soup") for i in numbers))
    task = read_folder(root, metric("label"))
    assert (list(task.classes), len(task.train_ids), len(task.test_ids)) == (["pie", "soup"], 6, 2)
    assert not set(task.train_files) & set(task.test_files)


def test_pictures_that_are_neither_train_nor_test_are_a_note(tmp_path):
    with_files(tmp_path, each("train/cat, train/dog, train_augmented/cat, test"))
    task = read_folder(tmp_path, metric("label"))
    assert (len(task.train_ids), len(task.test_ids)) == (8, 4)
    assert any("4 pictures are neither train nor test" in n.text and "train_augmented" in n.text for n in task.notes)
