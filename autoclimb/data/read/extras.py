"""Pictures that lie among class folders and are none of their items: masks, and copies of other folders."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence

from autoclimb.data.read.choosing import size_of
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
        if MASK_FOLDER.search(name) and (above in direct or any(IMAGE_FOLDER.match(n) for n in names - {name}))
    }
    stems = {os.path.splitext(where)[0] for where in survey.pictures}
    out = set()
    for i, where in enumerate(survey.pictures):
        folder = where.rpartition("/")[0]
        stem = os.path.splitext(where)[0]
        cut = MASK_FILE.sub("", stem)
        if (cut != stem and cut in stems) or any(folder == m or folder.startswith(f"{m}/") for m in masked):
            out.add(i)
    return out if len(out) < len(survey.pictures) else set()


def copies_of(survey: Survey) -> set[int]:
    """The pictures of folders that hold what the folder around them holds, or one beside them, file by file."""
    index = {where: i for i, where in enumerate(survey.pictures)}
    inner: dict[str, list[tuple[int, int]]] = defaultdict(list)  # folder -> pictures and what they copy
    count: dict[str, int] = defaultdict(int)
    below: dict[str, int] = defaultdict(int)  # a number for what lies below a folder, whatever the order
    nested: set[str] = set()
    for i, where in enumerate(survey.pictures):
        parts = where.split("/")
        for k in range(len(parts) - 1):
            folder = "/".join(parts[: k + 1])
            rest = "/".join(parts[k + 1 :])
            count[folder] += 1
            below[folder] ^= hash(rest)
            if k < len(parts) - 2:
                nested.add(folder)
            twin = index.get("/".join((*parts[:k], rest)))
            if twin is not None:
                inner[folder].append((i, twin))
    out: set[int] = set()
    for folder, pairs in inner.items():
        if len(pairs) >= MOST_COPIED * count[folder] and same_files(pairs, survey):
            out |= {i for i, where in enumerate(survey.pictures) if where.startswith(f"{folder}/")}
    beside: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for folder in nested:
        beside[folder.rpartition("/")[0], count[folder], below[folder]].append(folder)
    for folders in beside.values():
        kept, *others = sorted(folders, key=lambda f: (len(f), f))
        for folder in others:
            pairs = [
                (i, index[kept + where.removeprefix(folder)])
                for where, i in index.items()
                if where.startswith(f"{folder}/") and kept + where.removeprefix(folder) in index
            ]
            if len(pairs) == count[folder] and same_files(pairs, survey):
                out |= {i for i, _ in pairs}
    return out


def same_files(pairs: Sequence[tuple[int, int]], survey: Survey) -> bool:
    """Whether some of these pairs of pictures are files of one size."""
    some = pairs[:: max(1, len(pairs) // LOOKED_AT)]
    return all(size_of(survey.sources[a]) == size_of(survey.sources[b]) for a, b in some)
