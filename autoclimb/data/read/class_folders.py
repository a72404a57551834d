"""Layouts where the folder is the label: train/<class>/*.png, nested as archives leave it."""

from collections import Counter, defaultdict

from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.places import column_of, id_column, of_rows
from autoclimb.data.read.scan import Survey
from autoclimb.data.read.splits import side
from autoclimb.data.read.tables import find_sample, sample_id_column
from autoclimb.data.read.tested import test_items
from autoclimb.data.read.validation import validation_folders
from autoclimb.data.read.values import are_numbers
from autoclimb.errors import Mistake

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


def read_class_folders(found: Survey, wish: Wish) -> Found | None:
    """The competition by its class folders, or None where no folder holds two folders of pictures.

    The class root is the folder nearest to the top whose subfolders hold pictures and are not named after splits;
    one that says train is preferred.
    """
    root = class_root(found.pictures)
    if root is None:
        return None
    depth = root.count("/") + 1 if root else 0
    rows, classes = [], []
    for i, path in enumerate(found.pictures):
        parts = path.split("/")
        if "/".join(parts[:depth]) == root and len(parts) > depth + 1 and not is_split(parts[depth]):
            rows.append(i)
            classes.append(parts[depth])
    if wish.target or wish.group:
        raise Mistake("the labels are folder names here, so there is no table for --target or --group to name")
    sample = find_sample(found)
    sample_id = sample_id_column(sample, found, wish) if sample else ""
    wanted = set(sample.cells[sample_id]) if sample else set()
    test = next(
        (
            t
            for t in found.tables
            if t is not sample
            and "test" in t.name.lower()
            and "train" not in t.name.lower()
            and (not wanted or column_of(t, wanted))
        ),
        None,
    )
    test_id = (column_of(test, wanted) if wanted else id_column(test, found)[0]) if test else ""
    aside = validation_folders(found.pictures, root, set(classes))
    if wanted & {found.pictures[i].rsplit("/", 1)[-1] for i, _ in aside}:
        aside = []  # test asks for them
    rows += [i for i, _ in aside]
    classes += [name for _, name in aside]
    made = of_rows(rows, found)
    tested = test_items(found, sample, sample_id, test, test_id, set(made.files))
    names = [found.pictures[i].rsplit("/", 1)[-1] for i in rows]
    versions = None
    notes = [f"labels from the folders of {root or '.'}: {len(Counter(classes))} classes, {len(rows)} pictures"]
    if aside:
        notes.append(f"{len(aside)} of them from class folders of validation pictures, learned from too")
    if len(set(names)) < len(names):
        folders_of: dict[str, set[str]] = defaultdict(set)
        for name, folder in zip(names, classes, strict=True):
            folders_of[name].add(folder)
        several = sum(1 for folders in folders_of.values() if len(folders) > 1)
        if several > 0.5 * len(folders_of) and not all(plain_number(n) for n in folders_of):
            versions = names
            notes.append(f"{several} file names occur in several class folders: versions of one picture, kept together")
        names = [found.pictures[i] for i in rows]
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    negative = [c for c in set(classes) if c.lower() in NEGATIVES]
    if sample and versions and len(answers) == 1 and len(negative) == 1 and are_numbers(sample.cells[answers[0]]):
        classes = [str(int(c != negative[0])) for c in classes]
        notes.append(f"one number is asked for: whether a picture is other than {negative[0]!r}")
    return Found(
        train_ids=names,
        train_files=made.files,
        labels={answers[0] if len(answers) == 1 else "label": classes},
        test_ids=tested.ids,
        test_files=tested.files,
        id_name=sample_id or "id",
        sample=sample,
        sample_id=sample_id,
        channels=made.channels,
        versions=versions,
        notes=(*notes, *made.notes, *tested.notes),
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
