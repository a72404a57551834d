"""Which part of the data a folder holds: its name may say so, and the folders beside it say whether it means that."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation", "holdout"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tests", "tst", "pred", "predict", "prediction", "inference"), TEST),
}
SIDES = {TRAIN: 1, TEST: -1}
RESTS = ("set", "images", "image", "imgs", "img", "data", "pics", "jpg", "png", "a", "b")  # trainset, testimages
GENERIC = {  # words that add nothing to the name of a split
    *RESTS, *("sets", "dataset", "datasets", "pictures", "photos", "jpeg", "jpegs", "files", "folder", "dir", "split"),
    *("stage", "phase", "part", "input", "public", "private", "final", "new", "raw", "full", "all", "the", "my", "x"),
}  # fmt: skip
EVALUATION = re.compile(r"eval|hold[ _-]?out", re.IGNORECASE)  # a test where no folder is called so
UNLABELLED_NAME = re.compile(r"(.*[^a-z])?un-?labell?ed", re.IGNORECASE)
UNLABELLED = GENERIC | {"unlabelled", "unlabeled", "extra", "supplement", "supplementary", "other", "others", "rest"}


@dataclass(frozen=True)
class Saying:
    """A folder's name as a split: the part of the data, and the words around it, which other splits share."""

    part: str
    rest: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether the name says nothing else."""
        return set(self.rest) <= GENERIC


@lru_cache(100_000)
def saying(folder: str) -> Saying | None:
    """What the words of a folder's name say, told apart by case, signs and digits; None for no part or several."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder)]
    parts = {w: SPLIT_WORDS.get(w) or beginning(w) for w in words}
    named = {part for part in parts.values() if part}
    if len(named) != 1:
        return None
    return Saying(named.pop(), tuple(w for w in words if not parts[w]))


def beginning(word: str) -> str:
    """The part that a word like trainset or testimages names, "" for others."""
    for split in (TRAIN, TEST):
        if word.startswith(split) and word[len(split) :] in RESTS:
            return split
    return ""


def parts_of_folders(pictures: Iterable[str]) -> dict[str, str]:
    """The part of the data of every folder that holds pictures at some depth; folders of none are left out.

    A folder is a split where those beside it say so too: train beside test, but not train beside bus and truck, nor a
    folder that holds everything. The split nearest to the top decides for all below it.
    """
    tree: dict[str, set[str]] = defaultdict(set)
    direct: set[str] = set()
    for folder in {where.rpartition("/")[0] for where in pictures}:
        direct.add(folder)
        while folder:
            above, _, name = folder.rpartition("/")
            if name in tree[above]:
                break
            tree[above].add(name)
            folder = above
    parts: dict[str, str] = {}
    waiting = [("", "")]
    while waiting:
        folder, part = waiting.pop()
        if part:
            parts[folder] = part
        names = sorted(tree[folder]) if folder in tree else []
        splits = {} if part else splits_among(folder, names, tree, direct)
        waiting += [(f"{folder}/{name}" if folder else name, part or splits.get(name, "")) for name in names]
    return parts


def splits_among(above: str, names: Sequence[str], tree: dict[str, set[str]], direct: set[str]) -> dict[str, str]:
    """The folders of one folder that are splits, and what of; `tree` are folders in folders, `direct` hold pictures."""
    split_of = {name: what for name in names if (what := saying(name))}
    if len(names) < 2 or not (split_of or any(map(UNLABELLED_NAME.match, names))):
        return {}

    def path(name: str) -> str:
        return f"{above}/{name}" if above else name

    paired = {
        name: what
        for name, what in split_of.items()
        if what.plain or any(o.rest == what.rest and o.part != what.part for o in split_of.values())
    }
    if not paired and len(split_of) == len(names):
        paired = split_of
    if len({what.part for what in paired.values()}) > 1:
        splits = {name: what.part for name, what in paired.items()}
    else:
        others = [n for n in names if n not in paired]
        splits = {
            name: what.part
            for name, what in paired.items()
            if what.plain
            and others
            and (what.part != TRAIN or tree.get(path(name)) or all(is_unlabelled(o) for o in others))
        }
    loose = {name for name in names if name not in splits and UNLABELLED_NAME.match(name)}
    if loose and TEST not in splits.values():
        splits |= dict.fromkeys(loose, TEST)
    leaves = not any(tree.get(path(n)) for n in names)
    if leaves and len(names) == 2 and set(splits.values()) == {VALIDATION}:  # valid and invalid are two classes
        return {}
    if TEST not in splits.values():
        splits |= {n: TEST for n, part in splits.items() if part == VALIDATION and EVALUATION.search(n)}
    open_ones = [n for n, part in splits.items() if part == VALIDATION and not tree.get(path(n)) and path(n) in direct]
    if TRAIN in splits.values() and TEST not in splits.values():
        labelled = any(tree.get(path(n)) for n, part in splits.items() if part == TRAIN)
        splits |= {n: TEST for n in open_ones if labelled}  # pictures without class folders, beside some with
    return splits


def is_unlabelled(folder: str) -> bool:
    """Whether a folder's name only says that it holds pictures."""
    words = re.findall(r"[a-z]+", folder.lower())
    return set(words) <= UNLABELLED


def side(path: str) -> int:
    """1 for a path below a folder whose name says train, -1 below one that says test, by the folder nearest the top."""
    for folder in path.split("/")[:-1]:
        if (what := saying(folder)) and what.part in SIDES:
            return SIDES[what.part]
    return 0
