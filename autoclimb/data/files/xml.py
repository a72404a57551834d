"""Xml -> Tables: CVAT's images with the labels of their tags and shapes."""

from io import BytesIO
from xml.etree.ElementTree import ParseError, iterparse

from autoclimb.data.files.table import Table, TableFile

LABELLED = ("tag", "box", "polygon", "polyline", "points", "mask", "ellipse", "cuboid")  # children with a label


def tables_in(file: TableFile) -> list[Table]:
    """A table with a row for each image and label, a blank label for an image without any; [] and a note for others."""
    rows: list[tuple[str, str]] = []
    try:
        for _, element in iterparse(BytesIO(file.read()), events=("end",)):
            if element.tag != "image" or "name" not in element.attrib:
                continue
            labels = dict.fromkeys(child.get("label", "") for child in element if child.tag in LABELLED)
            rows += [(element.attrib["name"], label) for label in labels or ("",)]
            element.clear()
    except ParseError as error:
        file.notes.append(f"{file.name} is no xml and is ignored ({error})")
        return []
    if not rows:
        file.notes.append(f"{file.name} is not read: of xml, only CVAT's annotations of images are; save it as csv")
        return []
    return [Table(file.name, {"name": [name for name, _ in rows], "label": [label for _, label in rows]})]
