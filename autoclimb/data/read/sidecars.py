"""Annotations that lie beside the pictures, a file each, and are not read: Pascal VOC's xml and YOLO's txt."""

import re
from pathlib import Path

from autoclimb.data.read.levels import shown
from autoclimb.data.read.raw import RawTask
from autoclimb.errors import Mistake

LOOKED_AT = 60  # pictures, evenly spread
READ = 1 << 16  # bytes of an annotation that are looked at
PICTURE_FOLDERS = {"images", "jpegimages", "imgs", "img"}
ANNOTATION_FOLDERS = ("labels", "Labels", "Annotations", "annotations", "Annotation", "xml", "xmls")
VOC = re.compile(r"<object>\s*(?:<(?!name)[^>]*>[^<]*</[^>]*>\s*)*<name>\s*([^<]+?)\s*</name>")
YOLO = re.compile(r"(\d{1,4})(?: +-?\d*\.?\d+){4,}\s*")


def refuse_unread_annotations(raw: RawTask) -> None:
    """Raises Mistake where labels would be taken from folders or names although annotations beside say other ones.

    They say others where pictures of one class have annotations of different classes: sites and cameras are no labels.
    """
    if len(raw.labels) != 1:
        return
    (cells,) = raw.labels.values()
    of_class: dict[str, set[str]] = {}
    example = ""
    rows = range(0, len(cells), max(1, len(cells) // LOOKED_AT))
    annotated = 0
    for i in rows:
        place, names = annotation_of(raw.train_files[i])
        if names:
            annotated += 1
            example = example or place
            of_class.setdefault(cells[i], set()).add(" ".join(sorted(names)))
    if annotated < len(rows) / 2 or max(map(len, of_class.values())) < 2:
        return
    labels = sorted({name for names in of_class.values() for name in names})
    raise Mistake(
        f"annotations beside the pictures, such as {example}, hold labels ({shown(labels)}) that are not read, while "
        f"labels would come from {shown(sorted(set(cells)))}; write their labels into a csv of file and label, or take "
        "them out of the folder"
    )


def annotation_of(source: str) -> tuple[str, set[str]]:
    """The annotation of a picture and the classes in it; ("", nothing) where there is none beside it."""
    path = Path(source)
    if not source or not path.is_file():  # a place in an archive or array
        return "", set()
    folders = [path.parent]
    for i, part in enumerate(path.parent.parts):
        if part.lower() in PICTURE_FOLDERS:
            parts = path.parent.parts
            folders += [Path(*parts[:i], other, *parts[i + 1 :]) for other in ANNOTATION_FOLDERS]
    for folder in folders:
        for ending, names_in in ((".xml", voc_names), (".txt", yolo_classes)):
            place = folder / (path.stem + ending)
            if place.is_file():
                with place.open("rb") as file:
                    names = names_in(file.read(READ).decode("utf-8", "replace"))
                if names:
                    return f"{folder.name}/{place.name}", names
    return "", set()


def voc_names(text: str) -> set[str]:
    """The names of the objects in a Pascal VOC annotation."""
    return set(VOC.findall(text)) if "<annotation" in text else set()


def yolo_classes(text: str) -> set[str]:
    """The numbers of the classes in a YOLO annotation: lines of a class and four or more coordinates."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [YOLO.fullmatch(line) for line in lines]
    return {f"class {match[1]}" for match in matches if match} if lines and all(matches) else set()
