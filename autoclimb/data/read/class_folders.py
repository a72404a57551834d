"""Layouts without a table of labels: the folder is the label (train/<class>/*.png), or the file name begins with it."""

import re
from collections import Counter, defaultdict

from autoclimb.data.read.matching import column_of, id_column, of_rows
from autoclimb.data.read.parts import validation_folders
from autoclimb.data.read.raw import Overrides, RawTask
from autoclimb.data.read.splits import side
from autoclimb.data.read.survey import Survey
from autoclimb.data.read.tables import find_sample, sample_id_column
from autoclimb.data.read.test_set import test_items
from autoclimb.data.read.values import are_numbers
from autoclimb.errors import Mistake
from autoclimb.types import Note

NAMED = re.compile(r"([a-z][a-z _-]*?)[._ -]*\(?\d+\)?\.[^.]+$", re.IGNORECASE)
FEWEST = 3  # files a label needs; a word before a number that occurs less often is a name, not a class
NEGATIVES = {
    "cover",
    "original",
    "normal",
    "clean",
    "negative",
    "real",
    "authentic",
    "genuine",
    "healthy",
    "background",
}
SPLITS = ("train", "test", "val", "pred", "image", "img", "data", "jpg", "jpeg", "png", "sample", "submission")


def read_class_folders(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its class folders, or None where no folder holds two folders of pictures.

    The class root is the folder nearest to the top whose subfolders hold pictures and are not named after splits;
    one that says train is preferred.
    """
    root = class_root(survey.pictures)
    if root is None:
        return None
    depth = root.count("/") + 1 if root else 0
    rows, classes = [], []
    for i, path in enumerate(survey.pictures):
        parts = path.split("/")
        if "/".join(parts[:depth]) == root and len(parts) > depth + 1 and not is_split(parts[depth]):
            rows.append(i)
            classes.append(parts[depth])
    if asked_for.target or asked_for.group:
        raise Mistake("the labels are folder names here, so there is no table for --target or --group to name")
    sample = find_sample(survey)
    sample_id = sample_id_column(sample, survey, asked_for) if sample else ""
    asked_ids = set(sample.cells[sample_id]) if sample else set()
    test = next(
        (
            t
            for t in survey.tables
            if t is not sample
            and "test" in t.name.lower()
            and "train" not in t.name.lower()
            and (not asked_ids or column_of(t, asked_ids))
        ),
        None,
    )
    test_id = (column_of(test, asked_ids) if asked_ids else id_column(test, survey)[0]) if test else ""
    aside = validation_folders(survey.pictures, root, set(classes))
    if asked_ids & {survey.pictures[i].rsplit("/", 1)[-1] for i, _ in aside}:
        aside = []  # test asks for them
    rows += [i for i, _ in aside]
    classes += [name for _, name in aside]
    located = of_rows(rows, survey)
    tested = test_items(survey, sample, sample_id, test, test_id, set(located.files))
    names = [survey.pictures[i].rsplit("/", 1)[-1] for i in rows]
    versions = None
    notes = [
        Note(
            "labels",
            f"labels from the folders of {root or '.'}: {len(Counter(classes))} classes, {len(rows)} pictures",
            root,
        )
    ]
    if aside:
        notes.append(Note("split", f"{len(aside)} of them from class folders of validation pictures, learned from too"))
    if len(set(names)) < len(names):
        folders_of: dict[str, set[str]] = defaultdict(set)
        for name, folder in zip(names, classes, strict=True):
            folders_of[name].add(folder)
        several = sum(1 for folders in folders_of.values() if len(folders) > 1)
        if several > 0.5 * len(folders_of) and not all(plain_number(n) for n in folders_of):
            versions = names
            text = f"{several} file names occur in several class folders: versions of one picture, kept together"
            notes.append(Note("group", text, sure="likely"))
        names = [survey.pictures[i] for i in rows]
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    negative = [c for c in set(classes) if c.lower() in NEGATIVES]
    if sample and versions and len(answers) == 1 and len(negative) == 1 and are_numbers(sample.cells[answers[0]]):
        classes = [str(int(c != negative[0])) for c in classes]
        text = f"one number is asked for: whether a picture is other than {negative[0]!r}"
        notes.append(Note("classes", text, negative[0], "likely"))
    return RawTask(
        train_ids=names,
        train_files=located.files,
        labels={answers[0] if len(answers) == 1 else "label": classes},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=sample_id or "id",
        sample=sample,
        sample_id=sample_id,
        channels=located.channels,
        versions=versions,
        notes=(*notes, *located.notes, *tested.notes),
    )


def plain_number(name: str) -> bool:
    """Whether a file is named by a short number only, as counting anew in every folder makes them."""
    stem = name.rsplit(".", 1)[0]
    return (stem.isdigit() and len(stem.lstrip("0")) == len(stem)) or stem == "0"


def is_split(folder: str) -> bool:
    """Whether a folder's name tells a part of the data rather than a class."""
    name = folder.lower()
    return any(name == word or name.startswith(word) or name.endswith(word) for word in SPLITS[:4]) or any(
        name in (word, word + "s") for word in SPLITS[4:]
    )


def class_root(pictures: tuple[str, ...]) -> str | None:
    """The folder whose subfolders are the classes, "" for the top, None where there is none."""
    children: dict[str, Counter] = defaultdict(Counter)
    for path in pictures:
        parts = path.split("/")[:-1]
        for depth, name in enumerate(parts):
            if not is_split(name):
                children["/".join(parts[:depth])][name] += 1
    fitting = [
        (side(root + "/x"), -root.count("/") - bool(root), sum(c.values()), root)
        for root, c in children.items()
        if len(c) > 1
    ]
    fitting = [f for f in fitting if f[0] >= 0]
    return max(fitting)[-1] if fitting else None


def read_file_names(survey: Survey, asked_for: Overrides) -> RawTask | None:
    """The competition by its file names, or None where the train folder's names do not begin with two words or more."""
    rows = [i for i, path in enumerate(survey.pictures) if side(path) > 0]
    begins = [NAMED.match(survey.pictures[i].rsplit("/", 1)[-1]) for i in rows]
    words = Counter(m[1].lower() for m in begins if m)
    if not rows or len(words) < 2 or min(words.values()) < FEWEST or words.total() < len(rows):
        return None
    sample = find_sample(survey)
    sample_id = sample_id_column(sample, survey, asked_for) if sample else ""
    located = of_rows(rows, survey)
    tested = test_items(survey, sample, sample_id, None, "", set(located.files))
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    return RawTask(
        train_ids=[survey.pictures[i].rsplit("/", 1)[-1] for i in rows],
        train_files=located.files,
        labels={answers[0] if len(answers) == 1 else "label": [m[1].lower() for m in begins if m]},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=sample_id or "id",
        sample=sample,
        sample_id=sample_id,
        channels=located.channels,
        notes=(
            Note("labels", f"labels from how file names begin: {', '.join(list(words)[:5])}", sure="likely"),
            *located.notes,
            *tested.notes,
        ),
    )
