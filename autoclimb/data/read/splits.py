"""Which part of the data a folder's name says: train, test, or neither."""

import re
from functools import lru_cache

SPLIT_WORDS = {"train": 1, "training": 1, "test": -1, "testing": -1, "tests": -1, "pred": -1, "predict": -1}
RESTS = ("set", "images", "image", "imgs", "img", "data", "pics", "jpg", "png", "a", "b")  # trainset, testimages


def side(path: str) -> int:
    """1 for a path below a folder that says train, -1 below one that says test, 0 where folders say neither.

    The folder nearest to the top that says one of them decides.
    """
    for folder in path.split("/")[:-1]:
        split = split_of(folder)
        if split:
            return split
    return 0


@lru_cache(100_000)
def split_of(folder: str) -> int:
    """The split that a folder's name says, its words told apart by case, signs and digits; 0 for none or both."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder)]
    splits = {SPLIT_WORDS.get(w, 0) or starts(w) for w in words} - {0}
    return splits.pop() if len(splits) == 1 else 0


def starts(word: str) -> int:
    """The split that a word like trainset or testimages says."""
    for split, value in (("train", 1), ("test", -1)):
        if word.startswith(split) and word[len(split) :] in RESTS:
            return value
    return 0
