"""Pictures that lie among class folders and are none of their items: masks, and copies of other folders."""

import re
from collections import defaultdict
from collections.abc import Sequence

from autoclimb.data.read.choosing import extension, size_of
from autoclimb.data.read.survey import Survey
from autoclimb.types import Note

MASK_FOLDER = re.compile(
    r"(^|[^a-z])(masks?|segmentations?|segmaps?|annotations?|labels?|ground[ _-]?truths?|gts?|thumbs?|thumbnails?|"
    r"heatmaps?|overlays?|contours?)([^a-z]|$)",
    re.IGNORECASE,
)
IMAGE_FOLDER = re.compile(
    r"^(images?|imgs?|pictures?|photos?|originals?|raw|jpe?gs?|pngs?|tiffs?|data|train|test|val)$", re.IGNORECASE
)
MASK_FILE = re.compile(
    r"[ _-]*(mask|masks|seg|segmentation|gt|ground[ _-]?truth|contour|overlay)([ _-]?\d+)?$", re.IGNORECASE
)
MASK_ENDS = ("mask", "masks", "seg", "segmentation", "gt", "truth", "contour", "overlay")
MOST_COPIED = 0.9  # share of a folder's pictures that another has too, from which it is a copy
LOOKED_AT = 20  # pictures whose sizes are compared


def without_extras(survey: Survey) -> tuple[Survey, list[Note]]:
    """The folder without masks and copies among its pictures, and notes on what was left out."""
    notes = []
    for words, extras in (("masks beside the pictures", masks_of), ("copies of other folders", copies_of)):
        out = extras(survey)
        if out:
            where = sorted({survey.pictures[i].rpartition("/")[0] or "." for i in out})
            text = f"{len(out)} {words} are left out ({', '.join(where[:3])}{' ...' if len(where) > 3 else ''})"
            notes.append(Note("files", text, where[0], "likely"))
            survey = survey.only([i for i in range(len(survey.pictures)) if i not in out])
    return survey, notes


def masks_of(survey: Survey) -> set[int]:
    """The pictures in folders of masks beside folders of images, and those named after a picture beside them."""
    children: dict[str, set[str]] = defaultdict(set)
    direct: set[str] = set()
    folders = {where.rpartition("/")[0] for where in survey.pictures}
    for folder in folders:
        direct.add(folder)
        while folder:
            above, _, name = folder.rpartition("/")
            children[above].add(name)
            folder = above
    masked = {
        f"{above}/{name}".lstrip("/")
        for above, names in children.items()
        for name in names
        if MASK_FOLDER.search(name)
        and (any(IMAGE_FOLDER.match(n) for n in names - {name}) or (above in direct and mirrors(survey, above, name)))
    }
    suspects = [
        i
        for i, where in enumerate(survey.pictures)
        if without_ending(where).lower().rstrip("0123456789_- ").endswith(MASK_ENDS)
    ]
    stems = {without_ending(where) for where in survey.pictures} if suspects else set()
    out = {i for i in suspects if MASK_FILE.sub("", stem := without_ending(survey.pictures[i])) in stems - {stem}}
    if masked:
        below = tuple(f"{m}/" for m in masked)
        out |= {i for i, where in enumerate(survey.pictures) if where.startswith(below)}
    return out if len(out) < len(survey.pictures) else set()


def mirrors(survey: Survey, above: str, name: str) -> bool:
    """Whether most pictures of a folder of masks are called as those in the folder around it are."""
    around, inside = set(), set()
    for where in survey.pictures:
        home, _, file = where.rpartition("/")
        if home == above:
            around.add(without_ending(file))
        elif home == f"{above}/{name}".lstrip("/"):
            inside.add(MASK_FILE.sub("", without_ending(file)))
    return len(inside & around) > len(inside) / 2


def without_ending(path: str) -> str:
    """A picture's path without its ending."""
    return path[: -len(extension(path))] if extension(path) else path


def copies_of(survey: Survey) -> set[int]:
    """The pictures of folders that hold what the folder around them holds, or one beside them, file by file."""
    rows_of: dict[str, list[int]] = defaultdict(list)  # every folder -> the pictures below it
    homes: dict[str, list[int]] = defaultdict(list)
    for i, where in enumerate(survey.pictures):
        homes[where.rpartition("/")[0]].append(i)
    for home, rows in homes.items():
        parts = home.split("/")
        for k in range(len(parts)):
            rows_of["/".join(parts[: k + 1])] += rows
    out: set[int] = set()
    for folder, rows in sorted(rows_of.items()):
        above, _, name = folder.rpartition("/")
        twins = [
            f"{above}/{rest}".lstrip("/")
            for home in homes
            if home.startswith(f"{folder}/")
            for rest in [home[len(folder) + 1 :]]
        ]
        if not name or not any(t in homes for t in (twins or [above])) or (not above and not twins):
            continue
        if copied(rows, folder, above, survey):
            out |= set(rows)
    beside: dict[tuple[str, int], list[str]] = defaultdict(list)
    for folder, rows in rows_of.items():
        if folder and folder not in homes and not out.issuperset(rows):
            beside[folder.rpartition("/")[0], len(rows)].append(folder)
    for folders in beside.values():
        original, *others = sorted(folders, key=lambda f: (len(f), f))
        for folder in others:
            if copied(rows_of[folder], folder, original, survey):
                out |= set(rows_of[folder])
    return out


def copied(rows: Sequence[int], folder: str, other: str, survey: Survey) -> bool:
    """Whether nearly all of these pictures of a folder lie in the other one too, by path and size."""
    index = {where: i for i, where in enumerate(survey.pictures) if not other or where.startswith(f"{other}/")}
    pairs = []
    for i in rows:
        twin = index.get(f"{other}/{survey.pictures[i][len(folder) + 1 :]}".lstrip("/"))
        if twin is not None:
            pairs.append((i, twin))
    return len(pairs) >= MOST_COPIED * len(rows) and same_files(pairs, survey)


def same_files(pairs: Sequence[tuple[int, int]], survey: Survey) -> bool:
    """Whether some of these pairs of pictures are files of one size."""
    some = pairs[:: max(1, len(pairs) // LOOKED_AT)]
    return all(size_of(survey.sources[a]) == size_of(survey.sources[b]) for a, b in some)
