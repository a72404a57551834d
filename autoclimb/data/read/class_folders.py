"""Layouts where the folder is the label: train/<class>/*.png, nested as archives leave it."""

from collections import Counter, defaultdict

from autoclimb.data.read.found import Found, Wish
from autoclimb.data.read.scan import Survey, side
from autoclimb.data.read.tables import find_sample, sample_id_column, test_items
from autoclimb.errors import Mistake

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
    test = next(
        (t for t in found.tables if t is not sample and "test" in t.name.lower() and "train" not in t.name.lower()),
        None,
    )
    test_ids, test_files, more = test_items(found, sample, sample_id, test, set(rows))
    names = [found.pictures[i].rsplit("/", 1)[-1] for i in rows]
    if len(set(names)) < len(names):
        names = [found.pictures[i] for i in rows]
    answers = [c for c in sample.columns if c != sample_id] if sample else []
    note = f"labels from the folders of {root or '.'}: {len(Counter(classes))} classes, {len(rows)} pictures"
    return Found(
        train_ids=names,
        train_files=[found.file(i) for i in rows],
        labels={answers[0] if len(answers) == 1 else "label": classes},
        test_ids=test_ids,
        test_files=test_files,
        id_name=sample_id or "id",
        sample=sample,
        sample_id=sample_id,
        notes=(note, *more),
    )


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
